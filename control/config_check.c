/* SPDX-License-Identifier: Apache-2.0 */
#include "address.h"
#include "config_check.h"
#include "config_keys.h"
#include "functions.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

static const char *const builtin_framings[] = {"moldudp64", "iex-tp", "cboe", "cme", "b3"};
/* Tables that the instance itself or a decoder writes. */
static const char *const builtin_tables[] = {
    "gap",         "undecoded",      "alarm",          "itch_order",   "itch_trade",
    "itch_status", "itch_imbalance", "itch_directory", "iex_quote",    "iex_level",
    "iex_trade",   "iex_status",     "iex_auction",    "iex_directory"};

#define FAIL(line, ...) return fail(c, err, line, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) static bool fail(const struct config *c, struct err *err,
                                                       int line, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return line ? err_set(err, -EINVAL, "%s:%d: %s", c->file, line, text)
                : err_set(err, -EINVAL, "%s: %s", c->file, text);
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

const struct config_feed *config_feed_named(const struct config *c, const char *name)
{
    for (uint32_t i = 0; i < c->feeds.count; i++) {
        if (strcmp(c->feeds.at[i].name, name) == 0) {
            return &c->feeds.at[i];
        }
    }
    return NULL;
}

const struct config_framing *config_framing_named(const struct config *c, const char *name)
{
    for (uint32_t i = 0; i < c->framings.count; i++) {
        if (strcmp(c->framings.at[i].name, name) == 0) {
            return &c->framings.at[i];
        }
    }
    return NULL;
}

/* "; did you mean x?" when something is near, else `otherwise`. */
static const char *hint(const struct config_nearest *n, const char *otherwise, char buf[100])
{
    if (n->best) {
        snprintf(buf, 100, "did you mean %s?", n->best);
        return buf;
    }
    return otherwise;
}

/* ---- ports and feeds --------------------------------------------------------------------------
 */

static bool check_group(const struct config *c, const struct config_port *p,
                        const struct config_group *g, struct err *err)
{
    char at[100], buf[100];
    const struct config_feed *f = config_feed_named(c, g->feed);
    snprintf(at, sizeof at, "ports.%s.groups", p->name);
    if (!f) {
        struct config_nearest near = {.wanted = g->feed};
        for (uint32_t i = 0; i < c->feeds.count; i++) {
            config_nearest_try(&near, c->feeds.at[i].name);
        }
        FAIL(g->file_line, "%s: there is no feed %s; %s", at, g->feed,
             hint(&near, "add it under feeds", buf));
    }
    bool known = f->lines.count == 0;
    struct config_nearest near = {.wanted = g->line};
    for (uint32_t i = 0; i < f->lines.count; i++) {
        known |= strcmp(f->lines.at[i].name, g->line) == 0;
        config_nearest_try(&near, f->lines.at[i].name);
    }
    if (!known) {
        FAIL(g->file_line, "%s: feed %s lists no line %s; %s", at, f->name, g->line,
             hint(&near, "add it to the feed's lines", buf));
    }
    if (g->group.address >> 28 == 14 || !g->source) {
        return true;
    }
    FAIL(g->file_line, "%s: source with an address that is not multicast; remove source", at);
}

static bool check_port(const struct config *c, const struct config_port *p, struct err *err)
{
    if (p->membership == CONFIG_JOIN_KERNEL && !p->interface) {
        FAIL(p->file_line,
             "ports.%s: membership: kernel needs the network interface; give interface: NAME",
             p->name);
    }
    for (uint32_t i = 0; i < p->groups.count; i++) {
        const struct config_group *g = &p->groups.at[i];
        if (!check_group(c, p, g, err)) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            const struct config_group *h = &p->groups.at[j];
            if (h->group.address != g->group.address || h->group.port != g->group.port) {
                continue;
            }
            if (h->source == g->source || !h->source || !g->source) {
                FAIL(g->file_line,
                     "ports.%s.groups: this group is already taken in line %d; remove one", p->name,
                     h->file_line);
            }
            if (strcmp(h->feed, g->feed) != 0 || strcmp(h->line, g->line) != 0) {
                FAIL(g->file_line,
                     "ports.%s.groups: line %d gives this group to another feed or line, and "
                     "senders do not tell them apart; make feed and line the same",
                     p->name, h->file_line);
            }
        }
    }
    return true;
}

static bool check_feed(struct config *c, struct config_feed *f, struct err *err)
{
    struct err why;
    char zone[64] = "", buf[100];
    if (!is_one_of(f->framing, builtin_framings, PST_COUNT(builtin_framings)) &&
        !config_framing_named(c, f->framing)) {
        struct config_nearest near = {.wanted = f->framing};
        for (size_t i = 0; i < PST_COUNT(builtin_framings); i++) {
            config_nearest_try(&near, builtin_framings[i]);
        }
        for (uint32_t i = 0; i < c->framings.count; i++) {
            config_nearest_try(&near, c->framings.at[i].name);
        }
        FAIL(f->file_line, "feeds.%s.framing: there is no framing %s; %s", f->name, f->framing,
             hint(&near, "describe it under framings", buf));
    }
    static const char *const first_table[] = {[CONFIG_DECODE_NONE] = "undecoded",
                                              [CONFIG_DECODE_ITCH50] = "itch_order",
                                              [CONFIG_DECODE_IEX] = "iex_quote"};
    f->calendar = config_calendar_of(c, first_table[f->decoder]);
    const struct calendar *own = config_calendar(c, f->calendar);
    f->tz = own->zone;
    if (f->zone) {
        f->tz = tzone_load(f->zone, &why);
        if (!f->tz) {
            FAIL(f->file_line, "feeds.%s.zone: %s", f->name, why.text);
        }
    }
    f->open_hours.zone = f->tz;
    if (f->hours && !hours_parse(f->hours, &f->open_hours, zone, &why)) {
        FAIL(f->file_line, "feeds.%s.hours: %s", f->name, why.text);
    }
    f->open_hours.zone = f->tz;
    if (zone[0]) {
        f->open_hours.zone = tzone_load(zone, &why);
        if (!f->open_hours.zone) {
            f->open_hours.zone = f->tz;
            FAIL(f->file_line, "feeds.%s.hours: %s", f->name, why.text);
        }
    }
    f->open_hours.holidays = f->holidays.count ? f->holidays.at : own->holidays;
    f->open_hours.holiday_count = f->holidays.count ? f->holidays.count : own->holiday_count;
    return true;
}

/* ---- framings ---------------------------------------------------------------------------------
 */

struct framing_check {
    const struct config *c;
    const struct config_framing *f;
    struct err *err;
};

/* A number of the packet must lie in the part that every packet (or message) has. */
static bool check_field(const struct framing_check *x, const struct config_field *d,
                        const char *key, int64_t max_width, int64_t within)
{
    const struct config *c = x->c;
    struct err *err = x->err;
    int64_t size = d->in == CONFIG_IN_MESSAGE ? x->f->message.header : within;
    if (d->width > max_width) {
        FAIL(d->file_line, "framings.%s.%s: width %" PRId64 "; at most %" PRId64 " are allowed",
             x->f->name, key, d->width, max_width);
    }
    if (d->at + d->width > size && d->width > 0) {
        FAIL(d->file_line,
             "framings.%s.%s: ends at byte %" PRId64 ", but the %s header has %" PRId64
             "; correct at, width or header",
             x->f->name, key, d->at + d->width, d->in == CONFIG_IN_MESSAGE ? "message" : "packet",
             size);
    }
    return true;
}

static bool check_matches(const struct framing_check *x, const struct config_match_list *m,
                          const char *key)
{
    const struct config *c = x->c;
    struct err *err = x->err;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct config_match *t = &m->at[i];
        uint64_t all = t->width == 8 ? UINT64_MAX : (1ULL << (8 * t->width)) - 1;
        if (t->value & ~all) {
            FAIL(t->file_line,
                 "framings.%s.%s: value 0x%" PRIx64 " does not fit in %" PRId64
                 " bytes; correct width or value",
                 x->f->name, key, t->value, t->width);
        }
        if (t->value & ~t->mask) {
            FAIL(t->file_line,
                 "framings.%s.%s: value 0x%" PRIx64 " has bits outside mask 0x%" PRIx64
                 " and can never hold; correct one",
                 x->f->name, key, t->value, t->mask);
        }
    }
    return true;
}

static bool check_framing(const struct config *c, const struct config_framing *f, struct err *err)
{
    struct framing_check x = {c, f, err};
    int64_t body = f->body < 0 ? f->header : f->body;
    if (is_one_of(f->name, builtin_framings, PST_COUNT(builtin_framings))) {
        FAIL(f->file_line, "framings.%s: this framing is built in; choose another name", f->name);
    }
    if (body < f->header) {
        FAIL(f->file_line,
             "framings.%s.body: %" PRId64 " lies within the header of %" PRId64
             " bytes; correct one",
             f->name, f->body, f->header);
    }
    if (f->seq.width == 0) {
        FAIL(f->file_line, "framings.%s.seq: is missing; give its at and width", f->name);
    }
    struct config_field length = {
        .file_line = f->length.file_line, .at = f->length.at, .width = f->length.width};
    struct config_field stamp = {
        .file_line = f->send_time.file_line, .at = f->send_time.at, .width = f->send_time.width};
    struct config_field fraction = {.file_line = f->send_time.file_line,
                                    .at = f->send_time.fraction_at,
                                    .width = f->send_time.fraction_at < 0 ? 0 : 4};
    /* The count may lie beyond the header of idle packets, before the messages (MEMOIR). */
    if (!check_field(&x, &f->seq, "seq", 8, f->header) ||
        !check_field(&x, &f->count, "count", 8, body) ||
        !check_field(&x, &length, "length", 8, f->header) ||
        !check_field(&x, &f->offset, "offset", 8, f->header) ||
        !check_field(&x, &stamp, "send_time", 8, f->header) ||
        !check_field(&x, &fraction, "send_time.fraction_at", 4, f->header)) {
        return false;
    }
    for (uint32_t i = 0; i < f->stream_key.count; i++) {
        const struct config_stream_key *k = &f->stream_key.at[i];
        struct config_field part = {
            .file_line = k->file_line, .at = k->at, .width = k->width, .in = k->in};
        if (!check_field(&x, &part, "stream_key", k->as == CONFIG_AS_NUMBER ? 8 : 16, f->header)) {
            return false;
        }
    }
    const struct config_message_length *m = &f->message.length;
    if (f->message.header < m->at + m->width && m->width > 0 && f->message.header > 0) {
        FAIL(f->message.file_line,
             "framings.%s.message.header: %" PRId64
             " bytes do not hold the length field; correct one",
             f->name, f->message.header);
    }
    if (f->header == 0 && m->width == 0) {
        FAIL(f->file_line, "framings.%s: header 0 and no message.length; give one of them",
             f->name);
    }
    return check_matches(&x, &f->data, "data") && check_matches(&x, &f->heartbeat, "heartbeat") &&
           check_matches(&x, &f->end_of_session, "end_of_session") &&
           check_matches(&x, &f->reset, "reset") &&
           check_matches(&x, &f->unsequenced, "unsequenced") &&
           check_matches(&x, &f->retransmitted, "retransmitted");
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static const struct config_column *column_named(const struct config_table *t, const char *name)
{
    for (uint32_t i = 0; i < t->columns.count; i++) {
        if (strcmp(t->columns.at[i].name, name) == 0) {
            return &t->columns.at[i];
        }
    }
    return NULL;
}

static bool identifier(const char *s)
{
    if (!isalpha((unsigned char)*s)) {
        return false;
    }
    for (; *s; s++) {
        if (!isalnum((unsigned char)*s) && *s != '_') {
            return false;
        }
    }
    return true;
}

static bool check_table(const struct config *c, const struct config_table *t, struct err *err)
{
    const struct config_column *cols = t->columns.at;
    char buf[100];
    if (!identifier(t->name)) {
        FAIL(t->file_line,
             "tables.%s: a table's name is a letter, then letters, digits and _; "
             "rename it",
             t->name);
    }
    if (is_one_of(t->name, builtin_tables, PST_COUNT(builtin_tables))) {
        FAIL(t->file_line, "tables.%s: this table is built in; choose another name", t->name);
    }
    if (!strncmp(t->name, "pst_", 4)) {
        FAIL(t->file_line, "tables.%s: names that begin with pst_ are our own; rename it", t->name);
    }
    if (t->columns.count < 2 || strcmp(cols[0].name, "time") != 0 ||
        strcmp(cols[1].name, "sym") != 0 || cols[0].type != CONFIG_TIMESTAMP ||
        cols[1].type != CONFIG_SYMBOL) {
        FAIL(t->file_line,
             "tables.%s.columns: every table starts time (timestamp), sym (symbol); "
             "put these two first",
             t->name);
    }
    for (uint32_t i = 0; i < t->columns.count; i++) {
        if (!identifier(cols[i].name)) {
            FAIL(cols[i].file_line,
                 "tables.%s.columns.%s: a column's name is a letter, then "
                 "letters, digits and _; rename it",
                 t->name, cols[i].name);
        }
        if (strcmp(cols[i].name, "date") == 0) {
            FAIL(cols[i].file_line,
                 "tables.%s.columns.date: this name is the partition's date; "
                 "rename the column",
                 t->name);
        }
    }
    for (uint32_t i = 0; i < t->key.count; i++) {
        if (!column_named(t, t->key.at[i])) {
            struct config_nearest near = {.wanted = t->key.at[i]};
            for (uint32_t j = 0; j < t->columns.count; j++) {
                config_nearest_try(&near, cols[j].name);
            }
            FAIL(t->file_line, "tables.%s.key: there is no column %.40s; %s", t->name, t->key.at[i],
                 hint(&near, "name columns of this table", buf));
        }
    }
    return true;
}

/* ---- what is derived --------------------------------------------------------------------------
 */

static bool resolve_names(struct config *c, struct err *err)
{
    char host[64] = "", path[200];
    if (!c->instance) {
        if (gethostname(host, sizeof host - 1) != 0) {
            host[0] = 0;
        }
        host[strcspn(host, ".")] = 0;
        for (char *p = host; *p; p++) {
            if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_') {
                *p = '_';
            }
        }
        c->instance = config_strdup(&c->arena, isalnum((unsigned char)host[0]) ? host : "penstock");
    }
    if (c->instance && !c->control_socket) {
        int n = snprintf(path, sizeof path, "%s/%s.sock", c->run_directory, c->instance);
        if (n > 107) {
            FAIL(0,
                 "control_socket: the path %.60s... is longer than the 107 bytes of a unix "
                 "socket; shorten run_directory or instance",
                 path);
        }
        c->control_socket = config_strdup(&c->arena, path);
    }
    return (c->instance && c->control_socket) ||
           err_set(err, -ENOMEM, "%s: out of memory", c->file);
}

static bool resolve_calendar(struct config *c, struct err *err)
{
    struct err why;
    struct calendar *m = &c->main_calendar;
    snprintf(m->name, sizeof m->name, "default");
    m->zone = tzone_load(c->calendar.zone, &why);
    if (!m->zone) {
        FAIL(c->calendar.file_line, "calendar.zone: %s", why.text);
    }
    m->eod_s = (int32_t)c->calendar.eod_time;
    m->weekend = (uint32_t)c->calendar.weekend;
    m->holidays = c->calendar.holidays.at;
    m->holiday_count = c->calendar.holidays.count;
    m->late_window_ns = c->calendar.late_window;
    return true;
}

/* Commands and plugins: what is run or loaded is named from the root, never searched for. */
static bool check_processes(const struct config *c, struct err *err)
{
    static const char *const keys[] = {"alarm_exec", "post_save_exec"};
    const struct config_names *commands[] = {&c->alarm_exec, &c->post_save_exec};
    for (unsigned i = 0; i < PST_COUNT(keys); i++) {
        if (commands[i]->count && commands[i]->at[0][0] != '/') {
            FAIL(0, "%s: '%.200s' is no absolute path; write [/path/to/command, argument, ...]",
                 keys[i], commands[i]->at[0]);
        }
    }
    for (uint32_t i = 0; i < c->plugins.count; i++) {
        const char *p = c->plugins.at[i];
        size_t n = strlen(p);
        if (*p != '/' || n < 5 || strcmp(p + n - 3, ".so") != 0) {
            FAIL(0, "plugins: '%.200s' is no absolute path of a .so file", p);
        }
    }
    struct err why;
    if (!function_check(PST_FUNCTION_RECOVERY, c->log_recovery_function, &why)) {
        FAIL(0, "log_recovery_function: %s", why.text);
    }
    if (!function_check(PST_FUNCTION_BUFFER, c->buffer_function, &why)) {
        FAIL(0, "buffer_function: %s", why.text);
    }
    if (c->buffer_limit && c->buffer_limit < 1 << 20) {
        FAIL(0, "buffer_limit: %lld bytes is less than 1 MB", (long long)c->buffer_limit);
    }
    if (!function_check(PST_FUNCTION_INITIAL, c->initial_state_function, &why)) {
        FAIL(0, "initial_state_function: %s", why.text);
    }
    return true;
}

uint32_t config_calendars(const struct config *c)
{
    return 1 + (c->named ? c->calendars.count : 0);
}

const struct calendar *config_calendar(const struct config *c, uint32_t i)
{
    return i ? &c->named[i - 1] : &c->main_calendar;
}

uint32_t config_calendar_of(const struct config *c, const char *table)
{
    for (uint32_t i = 0; i < c->calendars.count; i++) {
        const struct config_names *t = &c->calendars.at[i].tables;
        if (is_one_of(table, t->at, t->count)) {
            return i + 1;
        }
    }
    return 0;
}

static bool resolve_named(struct config *c, uint32_t i, struct err *err)
{
    const struct config_named_calendar *n = &c->calendars.at[i];
    struct calendar *m = &c->named[i];
    struct err why;
    if (strcmp(n->name, c->main_calendar.name) == 0) {
        FAIL(n->file_line,
             "calendars.%s: this is the name of the default calendar, under calendar; choose "
             "another",
             n->name);
    }
    snprintf(m->name, sizeof m->name, "%s", n->name);
    m->zone = c->main_calendar.zone;
    if (n->zone && !(m->zone = tzone_load(n->zone, &why))) {
        m->zone = c->main_calendar.zone;
        FAIL(n->file_line, "calendars.%s.zone: %s", n->name, why.text);
    }
    m->eod_s = (int32_t)n->eod_time;
    m->weekend = (uint32_t)n->weekend;
    m->holidays = n->holidays.at;
    m->holiday_count = n->holidays.count;
    m->late_window_ns = n->late_window;
    return true;
}

static bool is_table(const struct config *c, const char *name)
{
    bool known = is_one_of(name, builtin_tables, PST_COUNT(builtin_tables));
    for (uint32_t i = 0; i < c->tables.count && !known; i++) {
        known = strcmp(c->tables.at[i].name, name) == 0;
    }
    return known;
}

static const char *nearest_table(const struct config *c, const char *name, char buf[100])
{
    struct config_nearest near = {.wanted = name};
    for (size_t t = 0; t < PST_COUNT(builtin_tables); t++) {
        config_nearest_try(&near, builtin_tables[t]);
    }
    for (uint32_t t = 0; t < c->tables.count; t++) {
        config_nearest_try(&near, c->tables.at[t].name);
    }
    return hint(&near, "declare it under tables", buf);
}

/* The interval log: tables that exist, once each; and nothing that would have no effect. */
static bool check_intervals(const struct config *c, struct err *err)
{
    char buf[100];
    const struct config_names *t = &c->intraday_tables;
    if (!c->intraday_freq && (t->count || c->eoi_offset)) {
        FAIL(c->file_line,
             "intraday_freq: is 0, so there are no intervals; set it to their length in minutes, "
             "or remove %s",
             t->count ? "intraday_tables" : "eoi_offset");
    }
    for (uint32_t i = 0; i < t->count; i++) {
        if (!strcmp(t->at[i], "gap")) {
            FAIL(c->file_line,
                 "intraday_tables: gap stands in the files of both streams; remove it");
        }
        if (!is_table(c, t->at[i])) {
            FAIL(c->file_line, "intraday_tables: there is no table %.40s; %s", t->at[i],
                 nearest_table(c, t->at[i], buf));
        }
        if (is_one_of(t->at[i], t->at, i)) {
            FAIL(c->file_line, "intraday_tables: names %.40s twice; remove one", t->at[i]);
        }
    }
    return true;
}

struct interval_rule config_intervals(const struct config *c)
{
    return (struct interval_rule){(int32_t)c->intraday_freq, (int32_t)c->eoi_offset};
}

/* Each table that a calendar names exists, and no other calendar names it. */
static bool check_owned(const struct config *c, uint32_t i, struct err *err)
{
    const struct config_named_calendar *n = &c->calendars.at[i];
    char buf[100];
    if (!n->tables.count) {
        FAIL(n->file_line, "calendars.%s.tables: names none; name its tables, or remove it",
             n->name);
    }
    for (uint32_t k = 0; k < n->tables.count; k++) {
        const char *name = n->tables.at[k];
        if (!is_table(c, name)) {
            FAIL(n->file_line, "calendars.%s.tables: there is no table %.40s; %s", n->name, name,
                 nearest_table(c, name, buf));
        }
        if (is_one_of(name, n->tables.at, k)) {
            FAIL(n->file_line, "calendars.%s.tables: names %.40s twice; remove one", n->name, name);
        }
        for (uint32_t j = 0; j < i; j++) {
            const struct config_named_calendar *o = &c->calendars.at[j];
            if (is_one_of(name, o->tables.at, o->tables.count)) {
                FAIL(n->file_line,
                     "calendars.%s.tables: %.40s belongs to calendar %s already, in line %d; a "
                     "table has one calendar",
                     n->name, name, o->name, o->file_line);
            }
        }
    }
    return true;
}

/* A packet's messages become rows of all of a decoder's tables: they share their dates. */
static bool check_together(const struct config *c, struct err *err)
{
    for (size_t t = 1; t < PST_COUNT(builtin_tables); t++) {
        const char *a = builtin_tables[t - 1], *b = builtin_tables[t];
        size_t prefix = strcspn(a, "_") + 1;
        uint32_t x = config_calendar_of(c, a), y = config_calendar_of(c, b);
        if (a[prefix - 1] != '_' || strncmp(a, b, prefix) != 0 || x == y) {
            continue;
        }
        uint32_t named = x ? x : y;
        FAIL(c->calendars.at[named - 1].file_line,
             "calendars.%s.tables: names %s but not %s, which comes from the same decoder; name "
             "all tables %.*s...",
             c->calendars.at[named - 1].name, x == named ? a : b, x == named ? b : a, (int)prefix,
             a);
    }
    return true;
}

static bool resolve_calendars(struct config *c, struct err *err)
{
    if (c->calendars.count) {
        c->named = config_alloc(&c->arena, c->calendars.count * sizeof *c->named);
        if (!c->named) {
            return err_set(err, -ENOMEM, "%s: out of memory", c->file);
        }
        for (uint32_t i = 0; i < c->calendars.count; i++) {
            c->named[i].zone = c->main_calendar.zone; /* config_free asks all of them */
        }
    }
    for (uint32_t i = 0; i < c->calendars.count; i++) {
        if (!resolve_named(c, i, err) || !check_owned(c, i, err)) {
            return false;
        }
    }
    return check_together(c, err);
}

static bool check_view(const struct config *c, const struct config_view *v, struct err *err)
{
    bool table = is_one_of(v->name, builtin_tables, PST_COUNT(builtin_tables));
    for (uint32_t i = 0; i < c->tables.count; i++) {
        table |= strcmp(c->tables.at[i].name, v->name) == 0;
    }
    if (!identifier(v->name)) {
        FAIL(v->file_line,
             "views.%s: a view's name is a letter, then letters, digits and _; rename it", v->name);
    }
    if (!strncmp(v->name, "pst_", 4)) {
        FAIL(v->file_line, "views.%s: names that begin with pst_ are our own; rename it", v->name);
    }
    if (table) {
        FAIL(v->file_line, "views.%s: there is a table of this name; rename the view", v->name);
    }
    return true;
}

/* Who may come from another machine must have a password, and a way to say it unheard. */
static bool check_ipc(const struct config *c, struct err *err)
{
    const struct config_ipc *x = &c->ipc;
    const int64_t port[] = {x->tickerplant, x->rdb, x->hdb};
    struct network at;
    struct address a = {.port = 0};
    if (!x->file_line)
        return true;
    if (strchr(x->address, '/') || !network_parse(x->address, &at))
        FAIL(x->file_line,
             "ipc.address: \"%.45s\" is no address; write e.g. 127.0.0.1, 0.0.0.0 or "
             "::1",
             x->address);
    memcpy(a.ip, at.ip, sizeof a.ip);
    for (unsigned i = 0; i < PST_COUNT(port); i++)
        for (unsigned k = 0; k < i; k++)
            if (port[i] && port[i] == port[k])
                FAIL(x->file_line,
                     "ipc: two of tickerplant, rdb and hdb are port %lld; give each "
                     "its own, or 0 for none",
                     (long long)port[i]);
    if (!x->certificate != !x->key)
        FAIL(x->file_line, "ipc: certificate and key go together; %s is missing",
             x->key ? "certificate" : "key");
    if (x->validator && !x->users)
        FAIL(x->file_line, "ipc.validator: says who may come in, and nothing says what they may; "
                           "give ipc.users, with scram: external for those it checks");
    if (x->tls == CONFIG_TLS_REQUIRED && !x->certificate)
        FAIL(x->file_line, "ipc.tls: required needs a certificate and its key");
    if (address_loopback(&a))
        return true;
    if (!x->users)
        FAIL(x->file_line,
             "ipc.address: %s can be reached from other machines, where everyone could "
             "read and publish everything; give a users file (ipc.users, penstock "
             "user add), or listen on 127.0.0.1",
             x->address);
    if (!x->certificate || x->tls == CONFIG_TLS_OFF)
        FAIL(x->file_line,
             "ipc.address: %s can be reached from other machines, and passwords would "
             "cross the network in the clear; give ipc.certificate and ipc.key%s, or "
             "listen on 127.0.0.1",
             x->address, x->tls == CONFIG_TLS_OFF ? ", and tls: required" : "");
    return true;
}

bool config_check(struct config *c, struct err *err)
{
    if (!check_ipc(c, err))
        return false;
    if (c->log_full == CONFIG_FULL_FAILOVER && !c->spill_directory)
        FAIL(c->file_line, "log_full: failover needs a spill_directory, on another disk");
    if (c->spill_directory && strcmp(c->spill_directory, c->log_directory) == 0) {
        FAIL(c->file_line, "spill_directory: is the log_directory; give one on another disk");
    }
    if (c->kdb_log_directory &&
        (!strcmp(c->kdb_log_directory, c->log_directory) ||
         (c->spill_directory && !strcmp(c->kdb_log_directory, c->spill_directory))))
        FAIL(c->file_line, "kdb_log_directory: is a directory of our own log; give it another one");
    if (!resolve_names(c, err) || !resolve_calendar(c, err) || !resolve_calendars(c, err) ||
        !check_intervals(c, err) || !check_processes(c, err)) {
        return false;
    }
    for (uint32_t i = 0; i < c->framings.count; i++) {
        if (!check_framing(c, &c->framings.at[i], err)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->feeds.count; i++) {
        if (!check_feed(c, &c->feeds.at[i], err)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->ports.count; i++) {
        if (!check_port(c, &c->ports.at[i], err)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->tables.count; i++) {
        if (!check_table(c, &c->tables.at[i], err)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->views.count; i++) {
        if (!check_view(c, &c->views.at[i], err)) {
            return false;
        }
    }
    return config_check_load(c, err) && config_check_rtp(c, err);
}

uint64_t config_rdb_bytes(const struct config *c, uint64_t ram)
{
    const uint64_t extent = 32u << 20;
    uint64_t want = c->rdb_memory ? (uint64_t)c->rdb_memory : ram / 2;
    want = want < 4 * extent ? 4 * extent : want;
    return (want + extent - 1) / extent * extent;
}

uint64_t config_ring_bytes(const struct config *c)
{
    /* 80 bytes: an order message as a record. */
    uint64_t want = (uint64_t)c->ring_size;
    if (want == 0) {
        want = 2 * 80 * (uint64_t)c->peak_rate;
        want = want < 512u << 20 ? 512u << 20 : want;
    }
    uint64_t bytes = 1u << 20;
    while (bytes < want) {
        bytes <<= 1;
    }
    return bytes;
}

int config_kdb_type(int column_type)
{
    static const uint8_t types[] = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 0};
    _Static_assert(PST_COUNT(types) == CONFIG_STRING + 1, "one number a type");
    return types[column_type];
}
