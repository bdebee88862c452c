/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream.h"

#include <errno.h>
#include <unistd.h>
#include "calendar_due.h"
#include "core/civil.h"
#include "core/clock.h"
#include "error_log.h"
#include "topo.h"
#include "upstream_parts.h"

#define CONNECT_NS  (5 * NS_PER_S)
#define ROUND_NS    (100 * NS_PER_MS)
#define SILENT_NS   (20 * NS_PER_S) /* then it is asked whether it is there */
#define REGISTER_NS (30 * NS_PER_S)
#define RECORDS_MAX 60000u /* bytes of a batch of rows */

bool upstream_chained(const struct daemon *d)
{
    return d->config->subscription_channel && !d->config->feeds.count && !d->replay;
}

bool upstream_stopping(struct upstream *u)
{
    return load_relaxed(&u->stop);
}

bool upstream_wants(const struct upstream *u, const char *table)
{
    const struct config_names *t = &u->d->config->subscription_table_list;
    for (uint32_t i = 0; i < t->count; i++)
        if (!strcmp(t->at[i], table))
            return true;
    return !t->count;
}

/* ---- into the ring ---- */

bool upstream_room(struct upstream *u, uint64_t n)
{
    while (inject_rows_room(&u->in->w) < n + 4096) {
        if (upstream_stopping(u))
            return false;
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    return !upstream_stopping(u);
}

/* The numbering begins anew where it must. What was handed out before is void then. */
static void numbering(struct upstream *u)
{
    struct inject_rows *w = &u->in->w;
    uint32_t max = w->local.head->max;
    if (symbols_count(&w->local) < max - max / 16 && w->syms_bytes <= BATCH_SYMS_MAX / 2)
        return;
    inject_rows_restart(w);
    intake_symbols_forget(&u->in->symbols);
    if (u->map)
        memset(u->map, 0, u->map_room * sizeof *u->map);
}

uint32_t upstream_symbol(struct upstream *u, const char *text, uint32_t len)
{
    uint32_t id = rows_symbol(&u->in->w.rows, text, len);
    return id == SYMBOL_REFUSED ? PST_NULL_SYMBOL : id;
}

bool upstream_block(struct upstream *u, const char *source, const void *records, uint32_t bytes,
                    uint32_t n, uint16_t day, struct source_point from, struct source_point to)
{
    struct inject_rows *w = &u->in->w;
    struct derived_record head = {.table = TABLE_DERIVED,
                                  .bytes = sizeof head,
                                  .after = from.position,
                                  .position = to.position,
                                  .after_row = from.row,
                                  .row = to.row};
    if (!upstream_room(u, bytes + sizeof head + BATCH_SYMS_MAX))
        return false;
    head.source = rows_symbol(&w->rows, source, (uint32_t)strlen(source));
    if (head.source == SYMBOL_REFUSED)
        return true; /* the symbol table is full: alarmed; nothing more can come of this */
    return inject_rows_block(w, records, bytes, n, day, &head);
}

bool upstream_records(struct upstream *u, const char *source, struct source_progress *p,
                      uint64_t to, uint16_t day)
{
    struct intake *in = u->in;
    do {
        uint32_t n = 0, bytes = 0;
        intake_numbered(in, RECORDS_MAX, &n, &bytes);
        bool last = in->sent + bytes == in->used;
        uint64_t stands = p->at.position;
        /* rows of the present day count from its beginning */
        struct source_point end = source_point(to, 0);
        if (!last) {
            uint64_t left = 0;
            for (size_t at = in->sent + bytes; at < in->used; left++)
                at += ((const struct record *)(const void *)(in->rec + at))->bytes;
            end.position = to - left;
        }
        if (end.position <= stands)
            return true;
        if (!upstream_block(u, source, in->rec + in->sent, bytes, n, day, p->at, end))
            return false;
        in->sent += bytes;
        source_advance(p, end);
        store_relaxed(&u->rows, load_relaxed(&u->rows) + n);
        if (last)
            return true;
    } while (in->sent < in->used);
    return true;
}

bool upstream_end_day(struct upstream *u, unsigned c, int32_t day)
{
    char json[DUE_JSON];
    struct inject_rows *w = &u->in->w;
    const struct calendar *k = config_calendar(u->d->config, c);
    if (!u->chained) {
        store_relaxed(&u->foreign_marks, load_relaxed(&u->foreign_marks) + 1);
        return true;
    }
    int32_t open = load_relaxed(&u->d->wiring->appender.days.open[c]);
    u->open[c] = u->open[c] > open ? u->open[c] : open; /* by hand, meanwhile */
    for (; u->open[c] <= day; u->open[c]++) {
        uint32_t n = calendar_eod_json(k, u->open[c], 0, "upstream", json);
        if (!upstream_room(u, 4096) ||
            !inject_rows_eod(w, json, n, c, (uint16_t)u->open[c], calendar_eod(k, u->open[c])))
            return false;
    }
    return true;
}

bool upstream_mark(struct upstream *u, enum mark_type type, const char *json, uint32_t len)
{
    if (!u->chained) {
        store_relaxed(&u->foreign_marks, load_relaxed(&u->foreign_marks) + 1);
        return true;
    }
    static char text[32768];
    if (type == MARK_UPSTREAM)
        return upstream_room(u, len + 4096) && inject_rows_mark(&u->in->w, type, json, len);
    int n =
        snprintf(text, sizeof text, "{\"mark\":%u,\"is\":%.*s}", (unsigned)type, (int)len, json);
    if (n >= (int)sizeof text)
        return true; /* longer than any of ours */
    return upstream_room(u, (uint64_t)n + 4096) &&
           inject_rows_mark(&u->in->w, MARK_UPSTREAM, text, (uint32_t)n);
}

void upstream_where(struct upstream *u, const char *source, struct source_progress *out)
{
    struct daemon *d = u->d;
    uint32_t id = symbols_find(&d->symbols, source, (uint32_t)strlen(source));
    *out = (struct source_progress){0};
    if (id != PST_NULL_SYMBOL)
        sources_where(d->wiring->appender.sources, id, out);
}

bool upstream_gap(struct upstream *u, const char *reason, uint64_t first, uint64_t last,
                  const char *lines, uint64_t to)
{
    pst_aligned(8) uint8_t record[BATCH_GAP_MAX];
    struct gap g = {.feed = upstream_symbol(u, u->id, (uint32_t)strlen(u->id)),
                    .session = PST_NULL_SYMBOL,
                    .first = first,
                    .last = last,
                    .reason = reason,
                    .time = clock_now(&u->d->clock)};
    snprintf(g.lines, sizeof g.lines, "%s", lines);
    uint32_t bytes = batch_gap_record(record, u->in->w.gap, &g,
                                      upstream_symbol(u, reason, (uint32_t)strlen(reason)));
    struct source_point end = source_point(to, 0);
    if (source_cmp(end, u->at.at) <= 0)
        end.position = u->at.at.position + 1;
    if (!upstream_block(u, u->id, record, bytes, 1, (uint16_t)u->open[0], u->at.at, end))
        return false;
    source_advance(&u->at, end);
    return true;
}

/* ---- tables ---- */

void upstream_left_out(struct upstream *u, const char *table, const char *why)
{
    pthread_mutex_lock(&u->lock);
    size_t n = strlen(u->left_out);
    if (!strstr(u->left_out, table))
        snprintf(u->left_out + n, sizeof u->left_out - n, "%s%s: %s", n ? "; " : "", table, why);
    pthread_mutex_unlock(&u->lock);
    fprintf(stderr, "penstockd: upstream: table %s is left out: %s\n", table, why);
}

static bool declared(const struct upstream *u, const char *table)
{
    for (unsigned i = 0; i < u->d->config->tables.count; i++)
        if (!strcmp(u->d->config->tables.at[i].name, table))
            return true;
    return false;
}

static bool alike(const struct schema *here, const struct schema *there, char why[200])
{
    if (here->feed != there->feed)
        return snprintf(why, 200, "it is filled by %s there", there->feed ? "feeds" : "publishers"),
               false;
    for (unsigned i = 0; i < here->ncols || i < there->ncols; i++) {
        const struct column *a = &here->col[i], *b = &there->col[i];
        if (i >= here->ncols || i >= there->ncols)
            return snprintf(why, 200, "it has %u columns there and %u here", there->ncols,
                            here->ncols),
                   false;
        if (strcmp(a->name, b->name) || a->type != b->type)
            return snprintf(why, 200, "column %u is %s %s there and %s %s here", i + 1, b->name,
                            type_name(b->type), a->name, type_name(a->type)),
                   false;
    }
    return true;
}

/* A table that nobody declared, as it is there. */
static const struct schema *take_over(struct upstream *u, const struct schema *there)
{
    struct schema s = *there;
    struct err err;
    bool fresh = false;
    s.id = 0;
    const struct schema *here = schema_set_intern(u->d->schemas, &s, &fresh, &err);
    char *json = here ? schema_to_json(here) : NULL;
    if (!json) {
        upstream_left_out(u, there->name, here ? "no memory" : err.text);
        return NULL;
    }
    bool ok = !fresh || (upstream_room(u, strlen(json) + 4096) &&
                         inject_rows_schema(&u->in->w, json, (uint32_t)strlen(json)));
    free(json);
    return ok ? here : NULL;
}

const struct schema *upstream_table(struct upstream *u, const struct schema *there, bool loose)
{
    char why[200];
    const struct schema *here = schema_set_find(u->d->schemas, there->name);
    (void)loose;
    bool built_in = !strcmp(there->name, "gap") || !strcmp(there->name, "undecoded");
    if (config_rtp_table(u->d->config, there->name)) {
        upstream_left_out(u, there->name, "processors write it here (rtp)");
        return NULL;
    }
    if (here && (declared(u, there->name) || built_in)) {
        if (alike(here, there, why))
            return here;
        upstream_left_out(u, there->name, why);
        return NULL;
    }
    for (unsigned i = 0; here && i < u->d->nfeeds; i++)
        if (here->feed)
            return alike(here, there, why) ? here : (upstream_left_out(u, there->name, why), NULL);
    if (!there->feed && (there->ncols < 2 || strcmp(there->col[0].name, "time") ||
                         strcmp(there->col[1].name, "sym"))) {
        upstream_left_out(u, there->name, "it does not start time, sym");
        return NULL;
    }
    return take_over(u, there);
}

/* ---- the connection ---- */

static void set_mode(struct upstream *u, enum upstream_mode mode)
{
    u->mode = mode;
    store_relaxed(&u->shown_mode, (int)mode);
}

static void down(struct upstream *u, const struct err *err)
{
    char text[sizeof u->problem];
    int64_t now = clock_monotonic();
    snprintf(text, sizeof text, "%.299s", err->text);
    if (u->mode != UPSTREAM_DOWN || strcmp(text, u->problem))
        fprintf(stderr, "penstockd: upstream %s: %s\n", u->d->config->subscription_channel, text);
    if (u->mode != UPSTREAM_DOWN) {
        u->lost_at = clock_now(&u->d->clock);
        store_relaxed(&u->down_since, now);
    }
    pthread_mutex_lock(&u->lock);
    memcpy(u->problem, text, sizeof text);
    pthread_mutex_unlock(&u->lock);
    set_mode(u, UPSTREAM_DOWN);
    kdb_link_close(&u->link);
    u->retry_at = now + u->d->config->retry_interval;
}

/* All that was sent before is in the journal, or refused: what the sources say is true. */
static bool settled(struct upstream *u)
{
    inject_rows_flush(&u->in->w);
    while (load_acquire(&u->q.head) != load_relaxed(&u->q.tail)) {
        if (upstream_stopping(u))
            return false;
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    return true;
}

static void attempt(struct upstream *u)
{
    const struct config *c = u->d->config;
    const char *channel = c->subscription_channel;
    char address[CHANNEL_TEXT];
    struct err err = {0};
    bool is = false;
    snprintf(address, sizeof address, "%s", channel);
    if (!channels_is_address(channel) &&
        !(c->messaging_server ? channels_find(c->messaging_server, channel, address, &err)
                              : err_set(&err, -EINVAL,
                                        "channel %s is no address, and messaging_server is not "
                                        "set",
                                        channel))) {
        down(u, &err);
        return;
    }
    pthread_mutex_lock(&u->lock);
    snprintf(u->address, sizeof u->address, "%.*s", (int)sizeof u->address - 1, address);
    /* credentials are not shown */
    char *p = *address == '/' ? NULL : strchr(u->address + (*u->address == ':'), ':');
    if (p && (p = strchr(p + 1, ':')))
        *p = 0;
    pthread_mutex_unlock(&u->lock);
    if (!settled(u))
        return;
    if (!kdb_link_open(&u->link, address, c->instance, CONNECT_NS, &err)) {
        down(u, &err);
        return;
    }
    pthread_mutex_lock(&u->lock);
    *u->left_out = 0;
    pthread_mutex_unlock(&u->lock);
    bool ok = penstock_begin(u, &is, &err);
    if (!ok && !is) {
        ok = tick_begin(u, &err);
        if (ok)
            set_mode(u, UPSTREAM_KDB);
    } else if (ok) {
        set_mode(u, UPSTREAM_PENSTOCK);
    }
    if (upstream_stopping(u))
        return;
    if (!ok) {
        down(u, &err);
        return;
    }
    pthread_mutex_lock(&u->lock);
    *u->problem = 0;
    pthread_mutex_unlock(&u->lock);
    store_relaxed(&u->connects, load_relaxed(&u->connects) + 1);
    u->heard_at = clock_monotonic();
    u->asked_at = 0;
    fprintf(stderr, "penstockd: upstream %s: subscribed to a %s at %s\n", channel,
            u->mode == UPSTREAM_KDB ? "kdb+ tickerplant" : "Penstock", u->address);
}

/* Silence: is it still there? */
static bool alive(struct upstream *u, struct err *err)
{
    int64_t now = clock_monotonic();
    if (now - u->heard_at < SILENT_NS)
        return true;
    if (!u->asked_at) {
        size_t at = kdb_frame_begin(&u->link.out, KDB_SYNC);
        kdb_out_chars(&u->link.out, "", 0);
        kdb_frame_end(&u->link.out, at);
        u->asked_at = now;
        return kdb_link_send(&u->link, UPSTREAM_ANSWER_NS, err);
    }
    return now - u->asked_at < UPSTREAM_ANSWER_NS ||
           err_set(err, -ETIMEDOUT, "it has been silent for %lld s",
                   (long long)((now - u->heard_at) / NS_PER_S));
}

static int receive(struct upstream *u)
{
    struct kdb_received m;
    struct err err = {0};
    int did = 0;
    for (int64_t wait = ROUND_NS; did < 256; did++, wait = 0) {
        enum kdb_link_verdict v = kdb_link_next(&u->link, &m, wait, &err);
        if (v == KDB_LINK_NOTHING)
            break;
        bool ok = v == KDB_LINK_MESSAGE;
        if (ok) {
            u->heard_at = clock_monotonic();
            u->asked_at = 0;
            numbering(u);
            ok =
                u->mode == UPSTREAM_KDB ? tick_message(u, &m, &err) : penstock_message(u, &m, &err);
        }
        if (upstream_stopping(u))
            return 1;
        if (!ok) {
            down(u, &err);
            return 1;
        }
    }
    if (!alive(u, &err))
        down(u, &err);
    else if (u->mode == UPSTREAM_PENSTOCK)
        penstock_idle(u);
    return 1;
}

/* ---- registration ---- */

static void register_channel(struct upstream *u)
{
    const struct config *c = u->d->config;
    char address[CHANNEL_TEXT];
    struct err err = {0};
    bool changed = false;
    u->register_at = clock_monotonic() + REGISTER_NS;
    if (c->ipc.file_line && c->ipc.tickerplant)
        snprintf(address, sizeof address, "%s:%lld", c->ipc.address, (long long)c->ipc.tickerplant);
    else
        snprintf(address, sizeof address, "%s/%s.ipc", c->run_directory, c->instance);
    bool ok = channels_register(c->messaging_server, c->publish_channel, address, NS_PER_S,
                                &changed, &err);
    if (!ok)
        u->register_at = clock_monotonic() + c->retry_interval;
    if (changed)
        fprintf(stderr, "penstockd: channel %s is published at %s (%s)\n", c->publish_channel,
                address, c->messaging_server);
    pthread_mutex_lock(&u->lock);
    snprintf(u->channel_problem, sizeof u->channel_problem, "%.299s", ok ? "" : err.text);
    pthread_mutex_unlock(&u->lock);
}

/* ---- the thread ---- */

static int work(void *arg)
{
    struct upstream *u = arg;
    const struct config *c = u->d->config;
    int64_t now = clock_monotonic();
    if (u->in)
        inject_rows_days(&u->in->w, &u->d->wiring->appender.days);
    if (c->publish_channel && c->messaging_server && now >= u->register_at)
        register_channel(u);
    if (upstream_stopping(u) || !c->subscription_channel) {
        nanosleep(&(struct timespec){0, ROUND_NS}, NULL);
        return 0;
    }
    if (u->mode != UPSTREAM_DOWN)
        return receive(u);
    if (now >= u->retry_at)
        attempt(u);
    else
        nanosleep(&(struct timespec){0, 10 * NS_PER_MS}, NULL);
    return 1;
}

static const struct thread_ops ops = {.work = work};

/* ---- life ---- */

static void name_source(struct upstream *u, const char *channel)
{
    char text[CHANNEL_TEXT];
    snprintf(text, sizeof text, "upstream:%.400s", channel);
    if (!channels_is_address(channel) || *channel == '/' || !strncmp(channel, "unix:", 5)) {
        /* as it is */
    } else { /* without credentials */
        char *p = strchr(text + 9 + (*channel == ':'), ':');
        if (p && (p = strchr(p + 1, ':')))
            *p = 0;
    }
    if (source_name(text, strlen(text))) {
        memcpy(u->id, text, strlen(text) + 1);
        return;
    }
    uint64_t h = 0xCBF29CE484222325ull;
    for (const char *p = text; *p; p++)
        h = (h ^ (uint8_t)*p) * 0x100000001B3ull;
    snprintf(u->id, sizeof u->id, "upstream:%016llx", (unsigned long long)h);
}

static const char *no_name(const struct user *user)
{
    (void)user;
    return "upstream";
}

bool upstream_prepare(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    struct wiring *w = d->wiring;
    if (d->replay || (!c->subscription_channel && !c->publish_channel))
        return true;
    struct upstream *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, -ENOMEM, "upstream: no memory");
    d->upstream = u;
    u->d = d;
    u->link.fd = -1;
    u->link.stop = &u->stop;
    u->chained = upstream_chained(d);
    pthread_mutex_init(&u->lock, NULL);
    store_relaxed(&u->down_since, clock_monotonic());
    if (!c->subscription_channel)
        return true;
    if (u->chained && c->intraday_freq)
        return err_set(err, -EINVAL,
                       "intraday_freq: a chained instance (subscription_channel, no feeds) has no "
                       "intervals of its own; remove it here, its consumers get the ends of the "
                       "upstream's");
    name_source(u, c->subscription_channel);
    /* exempt from max_new_symbols: the other end has limits of its own, and its rows are to be kept
     * whatever symbols they bring */
    uint32_t numbers =
        c->symbols_max < UPSTREAM_SYMBOLS ? (uint32_t)c->symbols_max + 4096 : UPSTREAM_SYMBOLS;
    struct inject_options io = {.max_new_symbols = UINT32_MAX,
                                .symbols = numbers,
                                .lossless = true,
                                .sources = true,
                                .ends_days = u->chained};
    return inject_create(&u->q, UPSTREAM_RING_BYTES, err) &&
           appender_add_inject(&w->appender, &u->q, UPSTREAM_SOURCE, &io, err);
}

bool upstream_start(struct daemon *d, struct err *err)
{
    struct upstream *u = d->upstream;
    struct wiring *w = d->wiring;
    if (!u)
        return true;
    if (d->config->subscription_channel) {
        uint32_t numbers = d->config->symbols_max < UPSTREAM_SYMBOLS
                               ? (uint32_t)d->config->symbols_max + 4096
                               : UPSTREAM_SYMBOLS;
        struct intake_config ic = {.rows = {.q = &u->q,
                                            .known = &d->symbols,
                                            .schemas = d->schemas,
                                            .status = d->status,
                                            .symbols = numbers,
                                            .max_new_symbols = UINT32_MAX,
                                            .days = &w->appender.days,
                                            .owners = &w->owners},
                                   .name = no_name,
                                   .errors = d->errors,
                                   .log = error_log_put_from,
                                   .head = d->ring.head};
        for (unsigned i = 0; i < wiring_calendars(d); i++) {
            ic.calendar[i] = config_calendar(d->config, i);
            u->open[i] = load_relaxed(&w->appender.days.open[i]);
        }
        u->in = intake_open(&ic, err);
        if (!u->in)
            return false;
    }
    thread_define(&u->thread, d->status, "upstream", &ops, u, &d->clock, WAIT_SPIN, 0, -1);
    u->running = thread_start(&u->thread, err);
    return u->running;
}

void upstream_stop(struct daemon *d)
{
    struct upstream *u = d->upstream;
    if (!u || !u->running)
        return;
    store_relaxed(&u->stop, true);
    thread_stop(&u->thread);
    u->running = false;
}

void upstream_close(struct daemon *d)
{
    struct upstream *u = d->upstream;
    if (!u)
        return;
    upstream_stop(d);
    kdb_link_close(&u->link);
    kdb_out_free(&u->link.out);
    if (u->in)
        intake_close(u->in);
    if (u->q.data)
        inject_destroy(&u->q);
    if (u->has_dict)
        dictionary_free(&u->dict);
    for (unsigned i = 0; i < TABLE_MAX; i++)
        free(u->plan[i]);
    free(u->map);
    free(u->counted);
    pthread_mutex_destroy(&u->lock);
    free(u);
    d->upstream = NULL;
}

/* ---- for control ---- */

static const char *const modes[] = {"down", "kdb+", "penstock"};

json_t *upstream_status(const struct daemon *d)
{
    struct upstream *u = d->upstream;
    const struct config *c = d->config;
    if (!u)
        return NULL;
    json_t *o = json_object();
    if (c->publish_channel)
        json_object_set_new(o, "publishes", json_string(c->publish_channel));
    if (!c->subscription_channel)
        return o;
    int mode = load_relaxed(&u->shown_mode);
    pthread_mutex_lock(&u->lock);
    json_t *more = json_pack(
        "{s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s}", "channel", c->subscription_channel,
        "state", modes[mode], "address", u->address, "chained", u->chained, "rows",
        (json_int_t)load_relaxed(&u->rows), "frames", (json_int_t)load_relaxed(&u->frames),
        "refused", (json_int_t)load_relaxed(&u->refused), "connects",
        (json_int_t)load_relaxed(&u->connects), "marks_ignored",
        (json_int_t)load_relaxed(&u->foreign_marks), "position",
        (json_int_t)load_relaxed(&u->position), "problem", u->problem, "left_out", u->left_out);
    pthread_mutex_unlock(&u->lock);
    json_object_update(o, more);
    json_decref(more);
    if (mode == UPSTREAM_DOWN)
        json_object_set_new(
            o, "down_for_ns",
            json_integer((json_int_t)(clock_monotonic() - load_relaxed(&u->down_since))));
    return o;
}

void upstream_trouble(const struct daemon *d, struct upstream_trouble *out)
{
    struct upstream *u = d->upstream;
    *out = (struct upstream_trouble){0};
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    out->configured = d->config->subscription_channel != NULL;
    out->down = out->configured && load_relaxed(&u->shown_mode) == UPSTREAM_DOWN;
    out->since = load_relaxed(&u->down_since);
    snprintf(out->why, sizeof out->why, "%s", u->problem);
    snprintf(out->tables, sizeof out->tables, "%s", u->left_out);
    snprintf(out->channel, sizeof out->channel, "%s", u->channel_problem);
    pthread_mutex_unlock(&u->lock);
}
