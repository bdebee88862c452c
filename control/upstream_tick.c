/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kdb+ tickerplant. Rows are counted by table: its log and its stream hold each table's rows in
 * the same order, however they are batched; so a count says what is here already.
 */
#include <errno.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/clock.h"
#include "upstream_parts.h"

#define ROWS_BITS           40
#define POSITION(day, rows) ((uint64_t)(day) << ROWS_BITS | (rows))

/* ---- subscribing ---- */

static void ask(struct upstream *u)
{
    static const char all[] = "(.u.sub[`;`];.u `i`L)", some[] = "{(.u.sub[;`]each x;`.u `i`L)}";
    const struct config_names *t = &u->d->config->subscription_table_list;
    struct kdb_out *o = &u->link.out;
    size_t at = kdb_frame_begin(o, KDB_SYNC);
    if (!t->count) {
        kdb_out_chars(o, all, sizeof all - 1);
    } else {
        kdb_out_list(o, 2);
        kdb_out_chars(o, some, sizeof some - 1);
        kdb_out_symbols(o, (const char *const *)t->at, t->count);
    }
    kdb_frame_end(o, at);
}

/* Types of an empty table's columns as a schema; time of any kind is a timestamp here. */
struct columns {
    struct column_def def[SCHEMA_COLUMNS_MAX];
    char name[SCHEMA_COLUMNS_MAX][SCHEMA_NAME_MAX];
    unsigned n;
    bool odd;
};
static bool is_time(int type)
{
    return type == PST_TIMESTAMP || (type >= KDB_DATETIME && type <= PST_TIME);
}
static bool column(void *arg, uint32_t i, const char *name, uint32_t len,
                   const struct kdb_object *o)
{
    struct columns *c = arg;
    if (i >= SCHEMA_COLUMNS_MAX || len >= SCHEMA_NAME_MAX)
        return !(c->odd = true);
    int type = o->type == KDB_LIST ? PST_STRING : o->type;
    type = type == KDB_DATETIME ? PST_TIMESTAMP : type;
    if (i == 0 && is_time(type))
        type = PST_TIMESTAMP;
    memcpy(c->name[i], name, len);
    c->name[i][len] = 0;
    c->def[i] = (struct column_def){c->name[i], (uint8_t)type};
    c->n = i + 1;
    return true;
}

static struct upstream_counted *counted(struct upstream *u, const char *name, uint32_t len)
{
    for (unsigned i = 0; i < u->ncounted; i++) {
        const char *t = u->counted[i].slot->schema->name;
        if (!strncmp(t, name, len) && !t[len])
            return &u->counted[i];
    }
    return NULL;
}

static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 16777619u;
    return h;
}

static bool add_table(struct upstream *u, const char *name, uint32_t len,
                      const struct kdb_object *empty, struct err *err)
{
    static struct columns c;
    struct schema s;
    struct err why;
    struct kdb_table t;
    char text[SCHEMA_NAME_MAX];
    snprintf(text, sizeof text, "%.*s", (int)len, name);
    c.n = 0;
    c.odd = false;
    if (!upstream_wants(u, text) || counted(u, name, len))
        return true;
    if (len >= sizeof text || !kdb_table_view(&t, empty, &why) || !kdb_table_each(&t, column, &c) ||
        c.odd || !schema_make(&s, 0, text, false, c.def, c.n, &why)) {
        upstream_left_out(u, text,
                          c.odd || len >= sizeof text ? "its names are too long" : why.text);
        return true;
    }
    const struct schema *here = upstream_table(u, &s, true);
    if (!here)
        return true;
    const struct intake_slot *slot = intake_table_slot(u->in, here);
    struct upstream_counted *p = slot ? realloc(u->counted, (u->ncounted + 1) * sizeof *p) : NULL;
    if (!p)
        return err_set(err, -ENOMEM, "no memory for its tables");
    u->counted = p;
    p += u->ncounted++;
    *p = (struct upstream_counted){.slot = slot};
    snprintf(p->source, sizeof p->source, "up:%08x:%.*s", hash(u->id), 50, here->name);
    upstream_where(u, p->source, &p->p);
    return true;
}

static bool pair(struct upstream *u, const struct kdb_object *o, struct err *err)
{
    struct kdb_items i;
    uint32_t len = 0;
    if (o->type != KDB_LIST || o->count != 2 || !kdb_items(o, &i))
        return err_set(err, -EBADMSG, "its answer to .u.sub holds no (table; schema)");
    const char *name = kdb_object_text(&i.item, &len);
    kdb_items_next(&i);
    return name ? add_table(u, name, len, &i.item, err)
                : err_set(err, -EBADMSG, "its answer to .u.sub names no table");
}

static bool schemas(struct upstream *u, const struct kdb_object *o, struct err *err)
{
    struct kdb_items i;
    if (o->type != KDB_LIST || !o->count || !kdb_items(o, &i))
        return err_set(err, -EBADMSG, "its answer to .u.sub is no list of tables");
    if (i.item.type == -PST_SYMBOL) /* a single pair */
        return pair(u, o, err);
    for (bool more = true; more; more = kdb_items_next(&i))
        if (!pair(u, &i.item, err))
            return false;
    return true;
}

/* ---- rows ---- */

/* One update of the tickerplant's `day`, from log or stream. */
static bool update(struct upstream *u, const char *table, uint32_t len,
                   const struct kdb_object *data, int32_t day)
{
    struct upstream_counted *t = counted(u, table, len);
    struct kdb_update *view = &u->in->update;
    struct err err;
    if (!t)
        return true;
    if (t->there >> ROWS_BITS != (uint64_t)day)
        t->there = POSITION(day, 0);
    bool sound = kdb_update_view(view, data, &err);
    uint64_t from = t->there, to = from + (sound ? view->rows : 0);
    t->there = to;
    if (to <= t->p.at.position)
        return true; /* all of it is here */
    struct intake *in = u->in;
    intake_begin(in, clock_now(&u->d->clock));
    if (sound && !intake_rows(in, t->slot, data, &err)) {
        char why[600];
        snprintf(why, sizeof why, "table %s: %s", t->slot->schema->name, err.text);
        err_set(&err, err.code, "%s", why);
        intake_refused(in, NULL, table, len, data, &err);
        store_relaxed(&u->refused, load_relaxed(&u->refused) + 1);
    }
    /* Rows that are here are left out: those below the point, and those of islands beyond it. */
    while (from < to) {
        const struct source_range *island = t->p.islands ? &t->p.island[0] : NULL;
        uint64_t end = to, at = t->p.at.position;
        if (at > from) {
            intake_drop(in, at - from);
            from = at < to ? at : to;
            continue;
        }
        if (island && island->from.position <= from) { /* reached: it moves on by itself */
            if (!upstream_records(u, t->source, &t->p, island->from.position, (uint16_t)day))
                return false;
            continue;
        }
        if (island && island->from.position < end)
            end = island->from.position;
        size_t used = in->used;
        in->used = intake_after(in, end - from);
        bool ok = upstream_records(u, t->source, &t->p, end, (uint16_t)day);
        in->used = used;
        if (!ok)
            return false;
        from = end;
    }
    in->used = in->sent = 0;
    return true;
}

static bool replay(struct upstream *u, const char *path, uint64_t messages, int32_t day,
                   struct err *err)
{
    struct kdb_log l;
    struct kdb_message m;
    enum kdb_log_verdict v = KDB_LOG_END;
    struct io *io = io_posix_create(err);
    if (!io)
        return false;
    bool ok = kdb_log_open(&l, io, path, err);
    if (!ok) {
        io_destroy(io);
        return false;
    }
    for (unsigned i = 0; i < u->ncounted; i++)
        u->counted[i].there = POSITION(day, 0);
    while (ok && l.messages < messages && (v = kdb_log_next(&l, &m)) == KDB_LOG_MESSAGE)
        if (m.update)
            ok = update(u, m.table, m.table_len, &m.data, day);
    if (ok && l.messages < messages && v != KDB_LOG_END)
        fprintf(stderr, "penstockd: upstream: %s is damaged behind message %llu: %s\n", path,
                (unsigned long long)l.messages, l.why ? l.why : strerror(-l.error));
    kdb_log_close(&l);
    io_destroy(io);
    return ok;
}

/* The log of another date beside this one. */
static bool log_of(const char *path, int32_t day, char out[KDB_LOG_PATH])
{
    size_t n = strlen(path);
    char prefix[KDB_LOG_PATH];
    if (n < 10 || n >= sizeof prefix)
        return false;
    snprintf(prefix, sizeof prefix, "%.*s", (int)n - 10, path);
    return kdb_log_name(out, prefix, day) && !access(out, R_OK);
}

static bool ended(struct upstream *u, int32_t day)
{
    for (unsigned c = 0; c < wiring_calendars(u->d); c++)
        if (!upstream_end_day(u, c, day))
            return false;
    u->day = day + 1;
    return true;
}

/* What days before this one still have in their logs, and their ends. */
static bool older_days(struct upstream *u, struct err *err)
{
    int32_t known = INT32_MAX;
    char path[KDB_LOG_PATH];
    for (unsigned i = 0; i < u->ncounted; i++) {
        int32_t day = (int32_t)(u->counted[i].p.at.position >> ROWS_BITS);
        if (day && (known == INT32_MAX || day > known))
            known = day;
    }
    for (int32_t day = known; day < u->day; day++) {
        int32_t now = u->day;
        if (log_of(u->log, day, path) && !replay(u, path, UINT64_MAX, day, err))
            return false;
        if (!ended(u, day))
            return true;
        u->day = now;
    }
    return true;
}

static bool unknown(struct upstream *u)
{
    char from[CIVIL_STAMP_TEXT], to[CIVIL_STAMP_TEXT], lines[96];
    civil_format_stamp(clock_now(&u->d->clock), to);
    if (u->lost_at)
        snprintf(lines, sizeof lines, "no log to read: away %.23s to %.23s",
                 civil_format_stamp(u->lost_at, from), to);
    else
        snprintf(lines, sizeof lines, "no log to read: what came before %.23s", to);
    upstream_where(u, u->id, &u->at);
    source_settle(&u->at);
    return upstream_gap(u, "upstream_unknown", (uint64_t)PST_NULL_LONG, (uint64_t)PST_NULL_LONG,
                        lines, u->at.at.position + 1);
}

/* (i; L): what is in the log is read as far as i, what comes live follows it exactly. */
static bool point(struct upstream *u, const struct kdb_object *o, struct err *err)
{
    struct kdb_items i;
    uint32_t len = 0;
    if (o->type != KDB_LIST || o->count != 2 || !kdb_items(o, &i))
        return err_set(err, -EBADMSG, "its answer holds no (.u.i; .u.L)");
    int64_t n = i.item.type == -PST_LONG || i.item.type == -PST_INT ? kdb_object_long(&i.item, 0)
                                                                    : PST_NULL_LONG;
    kdb_items_next(&i);
    const char *text = kdb_object_text(&i.item, &len);
    snprintf(u->log, sizeof u->log, "%.*s", text && len < sizeof u->log ? (int)len : 0,
             text ? text : "");
    if (*u->log == ':')
        memmove(u->log, u->log + 1, strlen(u->log));
    u->has_log = u->link.local && n >= 0 && *u->log && kdb_log_date(u->log, &u->day) &&
                 !access(u->log, R_OK);
    if (u->has_log)
        return older_days(u, err) && replay(u, u->log, (uint64_t)n, u->day, err);
    u->day = u->open[0];
    for (unsigned k = 0; k < u->ncounted; k++) {
        int32_t day = (int32_t)(u->counted[k].p.at.position >> ROWS_BITS);
        u->day = day > u->day ? day : u->day;
    }
    for (unsigned k = 0; k < u->ncounted; k++) { /* counting goes on where it stands */
        uint64_t at = u->counted[k].p.at.position;
        u->counted[k].there = at > POSITION(u->day, 0) ? at : POSITION(u->day, 0);
    }
    return unknown(u);
}

bool tick_begin(struct upstream *u, struct err *err)
{
    struct kdb_received m;
    struct kdb_items i;
    struct kdb_object tables, where;
    u->ncounted = 0;
    ask(u);
    if (!kdb_link_answer(&u->link, ".u.sub", &m, UPSTREAM_ANSWER_NS, err))
        return false;
    uint32_t len = 0;
    if (m.object.type == KDB_ERROR) {
        const char *text = kdb_object_text(&m.object, &len);
        return err_set(err, -EPROTO, "it answers .u.sub with '%.*s", (int)(len < 200 ? len : 200),
                       text);
    }
    if (m.object.type != KDB_LIST || m.object.count != 2 || !kdb_items(&m.object, &i))
        return err_set(err, -EBADMSG, "it does not answer .u.sub as a tickerplant does");
    tables = i.item;
    kdb_items_next(&i);
    where = i.item;
    return schemas(u, &tables, err) && point(u, &where, err);
}

/* ---- the stream ---- */

/* Printable, without quotes; a number in digits. */
static void copy_text(const struct kdb_object *o, char *out, size_t room)
{
    uint32_t len = 0, n = 0;
    const char *text = kdb_object_text(o, &len);
    if (!text && (o->type == -PST_LONG || o->type == -PST_INT)) {
        snprintf(out, room, "%lld", (long long)kdb_object_long(o, 0));
        return;
    }
    for (uint32_t i = 0; text && i < len && n + 1 < room; i++)
        if (text[i] >= ' ' && text[i] != '"' && text[i] != '\\')
            out[n++] = text[i];
    out[n] = 0;
}

bool tick_message(struct upstream *u, const struct kdb_received *m, struct err *err)
{
    static struct kdb_request r;
    struct kdb_name name;
    struct kdb_items item;
    (void)err;
    if (m->kind == KDB_RESPONSE)
        return true; /* to a question whether it is there */
    switch (kdb_request_read(&m->object, &r)) {
    case KDB_CALL_UPD: {
        bool more = kdb_names_first(&r.tables, &name);
        if (!r.tables.many)
            return !more || update(u, name.text, name.len, &r.data, u->day);
        if (r.data.type != KDB_LIST || !kdb_items(&r.data, &item))
            return true;
        for (bool also = true; more && also;
             more = kdb_names_next(&name), also = kdb_items_next(&item))
            if (!update(u, name.text, name.len, &item.item, u->day))
                return true;
        return true;
    }
    case KDB_CALL_END:
        if (r.date != PST_NULL_INT)
            ended(u, r.date);
        return true;
    case KDB_CALL_EOI: {
        char json[200], from[CIVIL_STAMP_TEXT], to[CIVIL_STAMP_TEXT], day[CIVIL_TEXT];
        int n = snprintf(json, sizeof json,
                         "{\"calendar\":\"default\",\"day\":\"%s\",\"from\":\"%s\",\"to\":\"%s\"}",
                         civil_format(u->day, day), civil_format_stamp(r.from_time, from),
                         civil_format_stamp(r.to_time, to));
        upstream_mark(u, MARK_EOI, json, (uint32_t)n);
        return true;
    }
    case KDB_CALL_BUFFER_START:
    case KDB_CALL_BUFFER_END: {
        bool start = r.call == KDB_CALL_BUFFER_START;
        char json[400], id[24] = "", path[200] = "";
        if (r.data.type == KDB_LIST && r.data.count >= 2 && kdb_items(&r.data, &item)) {
            copy_text(&item.item, id, sizeof id);
            kdb_items_next(&item);
            copy_text(&item.item, path, sizeof path);
        }
        int n = snprintf(json, sizeof json,
                         "{\"id\":%lld,\"stream\":%u,\"path\":\"%s\",\"status\":\"%s\"}", atoll(id),
                         STREAM_BUFFER, path, start ? "started" : "complete");
        upstream_mark(u, start ? MARK_BUFFER_START : MARK_BUFFER_END, json, (uint32_t)n);
        return true;
    }
    default:
        store_relaxed(&u->foreign_marks, load_relaxed(&u->foreign_marks) + 1);
        return true;
    }
}
