/* SPDX-License-Identifier: Apache-2.0 */
/* Marks and notices: behind all rows before them, before all behind them. */
#include <jansson.h>
#include "core/civil.h"
#include "core/days.h"
#include "core/event.h"
#include "core/tables.h"
#include "kdb/reply.h"
#include "publish/fanout_int.h"
#include "storage/cursor.h"

static uint8_t wants(const struct consumer *c)
{
    uint8_t marks = 0;
    for (uint32_t i = 0; i < c->members; i++)
        marks |= c->member[i].marks;
    return marks;
}

static bool anyone(const struct fanout *f, uint8_t mark)
{
    return f->wanting[__builtin_ctz(mark)] > 0;
}

static struct message *finished(struct fanout *f, struct kdb_out *o, bool ok,
                                enum message_kind kind, uint64_t first)
{
    struct message *m = message_made(o, ok, kind);
    if (m) {
        m->first = first;
        m->end = f->position;
        m->time = f->time;
    }
    return m;
}

static void give(struct fanout *f, struct consumer *c, struct message *m)
{
    consumer_settle(f, c);
    f->figures.deliveries++;
    f->figures.bytes += m->len;
    f->cfg.sink(f->cfg.arg, c->who, m);
}

/* To all that want it. Takes m, which may be NULL: no memory. */
static void spread(struct fanout *f, uint8_t mark, struct message *m)
{
    for (uint32_t i = 0; m && i < f->consumers; i++)
        if (wants(f->consumer[i]) & mark)
            give(f, f->consumer[i], m);
    f->figures.messages += m != NULL;
    message_release(m);
}

void fanout_notice(struct fanout *f, struct message *m)
{
    spread(f, FANOUT_NOTICE, m);
}

/* ---- ends of days ---- */

static const char *calendar_of(const struct fanout *f, const char *table)
{
    const char *c = f->cfg.calendar_of ? f->cfg.calendar_of(f->cfg.arg, table) : NULL;
    return c ? c : "";
}

/* The last date that a calendar has ended; at first as the caller knows it. */
static struct calendar_end *end_of(struct fanout *f, const char *name)
{
    for (uint32_t i = 0; i < f->ends; i++)
        if (!strcmp(f->end[i].name, name))
            return &f->end[i];
    if (f->ends == PST_COUNT(f->end))
        return NULL;
    struct calendar_end *e = &f->end[f->ends++];
    snprintf(e->name, sizeof e->name, "%s", name);
    e->day = f->cfg.last_end && *name ? f->cfg.last_end(f->cfg.arg, name) : INT32_MIN;
    return e;
}

/* Calendars of a consumer's tables when `which` ends `day`: is it one of them, and the last date
 * that all others have ended. One whose ends are not known has ended the date before. */
static bool others(struct fanout *f, const struct consumer *c, const struct calendar_end *which,
                   int32_t day, int32_t *least)
{
    bool own = false;
    *least = INT32_MAX;
    for (uint32_t i = 0; i < c->members; i++) {
        const struct stream_list *l = &c->member[i].group->streams;
        for (uint32_t k = 0; k < l->n; k++) {
            const struct calendar_end *e = end_of(f, calendar_of(f, l->s[k]->table->schema->name));
            int32_t last = !e || e->day == INT32_MIN ? day - 1 : e->day;
            if (e == which)
                own = true;
            else if (last < *least)
                *least = last;
        }
    }
    return own;
}

/* The date that every calendar of its tables has ended, when this is the one that was missing. */
static void end_of_day(struct fanout *f, const struct frame *frame)
{
    char name[DAYS_NAME];
    if (!days_eod(frame, name))
        return;
    struct calendar_end *e = end_of(f, f->cfg.calendar_of ? name : "");
    struct message *m = NULL;
    int32_t day = frame->day, made = INT32_MIN, least;
    for (uint32_t i = 0; e && i < f->consumers; i++) {
        struct consumer *c = f->consumer[i];
        if (!(wants(c) & FANOUT_END) || !others(f, c, e, day, &least))
            continue;
        int32_t before = e->day != INT32_MIN && e->day < day - 1 ? e->day : day - 1, now = day;
        before = least < before ? least : before;
        now = least < now ? least : now;
        if (now <= before)
            continue;
        if (made != now) {
            struct kdb_out o = {0};
            bool ok = kdb_mark_end(&o, now);
            message_release(m);
            m = finished(f, &o, ok, MESSAGE_MARK, frame->position);
            if (!m)
                break;
            f->figures.messages++;
            made = now;
        }
        give(f, c, m);
    }
    message_release(m);
    if (e && day > e->day)
        e->day = day;
}

/* ---- intervals, buffering events ---- */

static bool stamp_of(json_t *o, const char *key, int64_t *ns)
{
    const char *s = json_string_value(json_object_get(o, key));
    int32_t day, h, m, sec;
    if (!s || strlen(s) < 19)
        return false;
    char date[11];
    snprintf(date, sizeof date, "%.10s", s);
    if (!civil_parse(date, &day) || sscanf(s + 11, "%2d:%2d:%2d", &h, &m, &sec) != 3)
        return false;
    *ns = day * PST_DAY_NS + ((h * 60 + m) * 60 + sec) * PST_SECOND_NS;
    if (s[19] == '.') {
        int64_t unit = PST_SECOND_NS / 10;
        for (const char *p = s + 20; *p >= '0' && *p <= '9' && unit; p++, unit /= 10)
            *ns += (*p - '0') * unit;
    }
    return true;
}

static void end_of_interval(struct fanout *f, const struct frame *frame, const char *json,
                            uint32_t len)
{
    json_t *o = json_loadb(json, len, 0, NULL);
    int64_t from, to;
    if (stamp_of(o, "from", &from) && stamp_of(o, "to", &to)) {
        struct kdb_out out = {0};
        bool ok = kdb_mark_eoi(&out, from, to);
        spread(f, FANOUT_EOI, finished(f, &out, ok, MESSAGE_MARK, frame->position));
    }
    json_decref(o);
}

/* {"symbol":"text",...} as a dictionary of symbols to texts. */
static void put_args(struct kdb_out *o, json_t *args)
{
    const char *key;
    json_t *value;
    uint32_t n = (uint32_t)json_object_size(args);
    kdb_out_dict(o, false);
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    json_object_foreach(args, key, value) kdb_out_bytes(o, key, strlen(key) + 1);
    kdb_out_close(o, at, n);
    kdb_out_list(o, n);
    json_object_foreach(args, key, value)
    {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        const char *s = text ? text : json_string_value(value);
        kdb_out_chars(o, s ? s : "", s ? strlen(s) : 0);
        free(text);
    }
}

static void buffering(struct fanout *f, const struct frame *frame, bool start, const char *json,
                      uint32_t len)
{
    struct event_mark e;
    if (!event_json(&e, json, len, frame->position))
        return;
    if (start && e.status != EVENT_STARTED)
        return; /* it goes on */
    json_t *o = json_loadb(json, len, 0, NULL);
    const char *path = json_string_value(json_object_get(o, "path"));
    struct kdb_out args = {0}, out = {0};
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)e.id);
    put_args(&args, json_object_get(o, "args"));
    bool ok =
        !args.failed && kdb_mark_buffer(&out, start, id, path ? path : "", args.data, args.len);
    spread(f, FANOUT_BUFFER, finished(f, &out, ok, MESSAGE_MARK, frame->position));
    kdb_out_free(&args);
    json_decref(o);
}

/* A mark of the instance that we follow, for those who follow us. */
static void of_upstream(struct fanout *f, const struct frame *frame, const char *json, uint32_t len)
{
    json_t *o = json_loadb(json, len, 0, NULL);
    json_int_t type = json_integer_value(json_object_get(o, "mark"));
    char *is = json_dumps(json_object_get(o, "is"), JSON_COMPACT); /* in the order that it had */
    if (is && type == MARK_EOI && anyone(f, FANOUT_EOI))
        end_of_interval(f, frame, is, (uint32_t)strlen(is));
    if (is && (type == MARK_BUFFER_START || type == MARK_BUFFER_END) && anyone(f, FANOUT_BUFFER))
        buffering(f, frame, type == MARK_BUFFER_START, is, (uint32_t)strlen(is));
    free(is);
    json_decref(o);
}

/* ---- notices ---- */

static const char *text_of(const struct fanout *f, uint32_t id, char *buf, size_t room)
{
    uint32_t len = 0;
    const char *text = dictionary_peek(f->cfg.dict, id, &len);
    snprintf(buf, room, "%.*s", text ? (int)len : 0, text ? text : "");
    return buf;
}

void marks_gap(struct fanout *f, const struct frame *frame)
{
    struct record_walk w;
    const struct record *r;
    record_walk_start(&w, frame);
    while ((r = record_walk_next(&w)) != NULL) {
        const struct schema *s = dictionary_schema(f->cfg.dict, r->table);
        if (!s || strcmp(s->name, "gap") != 0 || s->ncols < PST_COUNT(gap_columns) ||
            r->bytes < s->fixed)
            continue;
        const uint8_t *p = (const uint8_t *)r;
        struct kdb_out o = {0};
        struct kdb_notice n;
        char text[256];
        uint32_t len;
        const char *lines = record_string(r, s->col[GAP_LINES].offset, &len);
        kdb_notice_begin(&n, &o, "gap");
        kdb_notice_time(&n, "time", r->time);
        kdb_notice_long(&n, "position", (int64_t)frame->position);
        kdb_notice_symbol(&n, "feed",
                          text_of(f, le32(p + s->col[GAP_FEED].offset), text, sizeof text));
        kdb_notice_symbol(&n, "session",
                          text_of(f, le32(p + s->col[GAP_SESSION].offset), text, sizeof text));
        kdb_notice_long(&n, "first", (int64_t)le64(p + s->col[GAP_FIRST].offset));
        kdb_notice_long(&n, "last", (int64_t)le64(p + s->col[GAP_LAST].offset));
        kdb_notice_symbol(&n, "reason",
                          text_of(f, le32(p + s->col[GAP_REASON].offset), text, sizeof text));
        snprintf(text, sizeof text, "%.*s", lines ? (int)len : 0, lines ? lines : "");
        kdb_notice_symbol(&n, "lines", text);
        bool ok = kdb_notice_end(&n);
        spread(f, FANOUT_GAP, finished(f, &o, ok, MESSAGE_NOTICE, frame->position));
    }
}

/* The daemon was restarted: whatever a subscriber has of positions from `from` on that did not come
 * again before this is void (a crash lost it). */
static void restarted(struct fanout *f, const struct frame *frame)
{
    uint64_t old_end, start;
    struct kdb_out o = {0};
    if (!cursor_restart_mark(frame, &old_end, &start))
        return;
    bool ok = kdb_notice_range(&o, "restart", old_end, start);
    spread(f, FANOUT_NOTICE, finished(f, &o, ok, MESSAGE_NOTICE, frame->position));
}

/* A version of a table that is new to this fan-out's readers. */
void marks_schema(struct fanout *f, const struct schema *s)
{
    struct kdb_out o = {0};
    struct kdb_notice n;
    kdb_notice_begin(&n, &o, "schema");
    kdb_notice_symbol(&n, "table", s->name);
    kdb_notice_long(&n, "version", s->id);
    kdb_notice_long(&n, "position", (int64_t)f->position);
    bool ok = kdb_notice_end(&n);
    spread(f, FANOUT_NOTICE, finished(f, &o, ok, MESSAGE_NOTICE, f->position));
}

static void schema_frame(struct fanout *f, const struct frame *frame)
{
    uint32_t len;
    const char *json = frame_schema_json(frame, &len);
    struct schema s;
    struct err err;
    if (!f->subscriptions || !json || !schema_from_json(&s, json, len, &err) || s.id >= TABLE_MAX ||
        f->table[s.id])
        return;
    const struct table *t = table_meet(f, s.id);
    if (t && anyone(f, FANOUT_NOTICE))
        marks_schema(f, t->schema);
}

void marks_frame(struct fanout *f, const struct frame *frame)
{
    unsigned type;
    uint32_t len;
    const char *json;
    if (pst_likely(frame->kind == FRAME_DATA))
        return;
    if (frame->kind == FRAME_GAP && !stream_is_buffer(frame->stream)) {
        if (anyone(f, FANOUT_GAP))
            marks_gap(f, frame);
    } else if (frame->kind == FRAME_SCHEMA) {
        schema_frame(f, frame);
    } else if (frame->kind == FRAME_MARK && (json = frame_mark(frame, &type, &len)) != NULL) {
        if (type == MARK_EOD)
            end_of_day(f, frame);
        else if (type == MARK_EOI && anyone(f, FANOUT_EOI))
            end_of_interval(f, frame, json, len);
        else if ((type == MARK_BUFFER_START || type == MARK_BUFFER_END) && anyone(f, FANOUT_BUFFER))
            buffering(f, frame, type == MARK_BUFFER_START, json, len);
        else if (type == MARK_UPSTREAM)
            of_upstream(f, frame, json, len);
        else if (type == MARK_RESTART && anyone(f, FANOUT_NOTICE))
            restarted(f, frame);
    }
}
