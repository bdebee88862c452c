/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: frame by frame to processors, then to the hooks of plugins. */
#include <errno.h>
#include "core/clock.h"
#include "core/days.h"
#include "host.h"

#define ROUND_NS NS_PER_MS

/* Facts of a feed that a row lacks: what pst_row.packet is where no packet record came. */
static const struct packet_record no_packet = {.bytes = sizeof no_packet,
                                               .sym = PST_NULL_SYMBOL,
                                               .rxtime = PST_NULL_TIMESTAMP,
                                               .seq = (uint64_t)PST_NULL_LONG,
                                               .feed = PST_NULL_SYMBOL,
                                               .session = PST_NULL_SYMBOL,
                                               .line = PST_NULL_SYMBOL};

/* ---- opening ---- */

/* Processors see only what a crash cannot take while it leaves their rows. */
static enum cursor_limit limit_of(const struct host *h, const json_t *log)
{
    if (!json_array_size(json_object_get(h->config, "processors")))
        return CURSOR_COMMITTED;
    return json_is_false(json_object_get(log, "synced")) ? CURSOR_WRITTEN : CURSOR_DURABLE;
}

bool host_journal_open(struct host *h, struct err *err)
{
    const json_t *log = json_object_get(h->config, "log"), *v;
    size_t i;
    const char *prefix = json_string_value(json_object_get(log, "prefix"));
    h->io = io_posix_create(err);
    if (!h->io)
        return false;
    struct cursor_config c = {.io = h->io,
                              .prefix = prefix ? prefix : "log",
                              .ring = h->have_ring ? &h->ring : NULL,
                              .limit = limit_of(h, log),
                              .headers_only = true, /* room for it; switched below */
                              .no_skim = h->have_symbols};
    json_array_foreach(json_object_get(log, "directories"), i, v)
    {
        if (i < CURSOR_DIRS)
            c.dirs[i] = json_string_value(v);
    }
    const char *id = json_string_value(json_object_get(h->config, "instance_id"));
    c.instance = id ? strtoull(id, NULL, 16) : 0;
    if (!cursor_open(&h->cursor, &c, err))
        return false;
    h->have_cursor = true;
    h->cursor.cfg.headers_only = false;
    h->time = INT64_MIN;
    return true;
}

/* The trading date of the first frame of rows at or behind a position; INT32_MIN: none there. */
static int32_t day_at(struct host *h, uint64_t position)
{
    const struct frame *f;
    cursor_seek(&h->cursor, position);
    for (unsigned i = 0; i < 10000; i++) {
        enum cursor_verdict v = cursor_next(&h->cursor, &f);
        if (v == CURSOR_FRAME && f->kind == FRAME_DATA && !stream_is_buffer(f->stream))
            return f->day;
        if (v == CURSOR_WAIT || v == CURSOR_END || v == CURSOR_ERROR)
            break;
    }
    return INT32_MIN;
}

static void seek_first(struct host *h)
{
    if (h->cursor.files)
        cursor_seek(&h->cursor, h->cursor.file[0]->header.first);
    else if (h->have_ring)
        cursor_seek(&h->cursor, h->ring.head->start);
}

bool host_journal_start(struct host *h, const json_t *start, struct err *err)
{
    const json_t *day = json_object_get(start, "day");
    if (!host_emit_start(h, start, err))
        return false;
    cursor_refresh(&h->cursor);
    if (!h->emit.on) {
        cursor_seek_end(&h->cursor);
    } else {
        int32_t from = json_is_integer(day) ? (int32_t)json_integer_value(day) : INT32_MAX;
        if (h->replay_to) {
            int32_t of_point = day_at(h, h->replay_to);
            from = of_point != INT32_MIN && of_point < from ? of_point : from;
        }
        /* no file of that day: all there is, or for a new source what is still to come */
        if (cursor_seek_day(&h->cursor, from)) {
            host_sessions_seek(h, start, from);
        } else {
            if (h->replay_to || !h->cursor.files)
                seek_first(h);
            else
                cursor_seek_end(&h->cursor);
        }
    }
    h->position = h->cursor.position;
    h->replaying = h->position < h->replay_to;
    host_tables_learn(h);
    return true;
}

/* ---- one frame ---- */

struct found { /* what a frame holds */
    uint16_t id[16];
    unsigned n;
    bool more; /* than these tables */
    uint32_t rows;
};

static bool strings_fit(const struct schema *s, const uint8_t *r)
{
    for (unsigned i = 0; i < s->ncols; i++) {
        uint32_t len;
        if (s->col[i].type == PST_STRING && !s->col[i].packet &&
            !record_string((const struct record *)r, s->col[i].offset, &len))
            return false;
    }
    return true;
}

/* Each record once: lengths, the fixed parts, strings. The journal is penstockd's, but a plugin
 * that is handed a torn row would be blamed for it. */
static bool sound(struct host *h, const uint8_t *p, const uint8_t *end, struct found *out)
{
    unsigned last = 0;
    memset(out, 0, sizeof *out);
    while (p < end) {
        if (pst_unlikely(end - p < (ptrdiff_t)sizeof(struct record)))
            return false;
        unsigned id = le16(p), bytes = le16(p + 2);
        if (pst_unlikely(bytes < sizeof(struct record) || bytes & 7 || bytes > end - p))
            return false;
        if (id > TABLE_DERIVED) {
            if (pst_unlikely(id >= TABLE_MAX))
                return false;
            if (pst_unlikely(!h->shape[id].fixed))
                host_table_of(h, id);
            const struct host_shape *s = &h->shape[id];
            if (pst_unlikely(bytes < s->fixed))
                return false;
            if (s->strings && !strings_fit(h->table[id]->schema, p))
                return false;
            if (id != last) {
                unsigned k = 0;
                while (k < out->n && out->id[k] != id)
                    k++;
                if (k == out->n && k < PST_COUNT(out->id))
                    out->id[out->n++] = (uint16_t)id;
                else if (k == out->n)
                    out->more = true;
                last = id;
            }
            out->rows++;
        } else if (bytes != (id == TABLE_PACKET ? sizeof(struct packet_record)
                                                : sizeof(struct derived_record)))
            return false;
        p += bytes;
    }
    return true;
}

static bool any_wanted(const struct host_wants *w, const struct found *in)
{
    if (!w->wanted)
        return false;
    for (unsigned i = 0; i < in->n; i++)
        if (w->by_id[in->id[i]])
            return true;
    return in->more;
}

/* Only the rows of this process's stripe, as one frame. A run whose rows are not consecutive any
 * more is headed anew; so it may grow. */
static void stripe(struct host *h, struct pst_frame *f)
{
    const size_t most = FRAME_MAX / sizeof(struct record) * (sizeof(struct packet_record) + 16);
    if (!h->striped && !(h->striped = aligned_alloc(64, pst_align_up(most, 64))))
        host_die(h, "no memory");
    uint8_t *to = h->striped;
    const struct packet_record *packet = NULL;
    bool headed = false, counted = false;
    uint64_t seq = 0;
    for (const uint8_t *r = f->records; r < f->records_end; r += le16(r + 2)) {
        unsigned id = le16(r), bytes = le16(r + 2);
        if (id == TABLE_PACKET) {
            packet = (const struct packet_record *)r;
            seq = packet->seq;
            counted = !(packet->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED));
            headed = false;
        } else if (id != TABLE_DERIVED) {
            bool mine = host_mine(h, le32(r + 4));
            if (mine && packet && !headed) {
                memcpy(to, packet, sizeof *packet);
                memcpy(to + offsetof(struct packet_record, seq), &seq, sizeof seq);
                to += sizeof *packet;
            }
            if (mine) {
                memcpy(to, r, bytes);
                to += bytes;
            }
            headed = mine || (headed && !counted);
            seq += counted;
        }
    }
    f->records = h->striped;
    f->records_end = to;
}

/* pre, insert and post of one processor for one row. */
static bool one_row(struct host *h, struct host_processor *p, const struct pst_row *came)
{
    struct pst_rtp *r = p->plugin;
    struct pst_row passed = *came;
    if (p->p->pre) {
        int pass = p->p->pre(r, &passed, p->p->data);
        if (pst_unlikely(r->err.code))
            return false;
        if (pass == PST_DROP)
            return true;
        uint16_t bytes, was;
        memcpy(&was, came->record + 2, 2);
        memcpy(&bytes, passed.record + 2, 2);
        if (passed.record != came->record && (passed.record != h->emit.edited || bytes != was))
            return !host_fail(r, -EINVAL, "pre may change the record that edit gave, only");
        passed.packet = came->packet;
        passed.table = came->table;
    }
    const struct host_copy *c = NULL;
    if (h->inserts && !host_copy_of(h, came->table->id, &c, &r->err))
        return false;
    if (c)
        host_copy_row(h, &passed, c);
    if (p->p->post && p->p->post(r, came, &passed, p->p->data) && !r->err.code)
        return !host_fail(r, -EIO, "post failed");
    return !r->err.code;
}

static void processor_died(struct host *h, struct host_processor *p, const char *what)
{
    host_die(h, "processor %s: %s: %s", p->p->name, what,
             p->plugin->err.code ? p->plugin->err.text : "it failed, and said no reason");
}

static void to_processor(struct host *h, struct host_processor *p, struct pst_frame *f)
{
    f->table = p->wants->by_id;
    host_enter(h, p->plugin, HOST_IN_PROCESSOR, p->p->name);
    bool ok;
    if (p->p->frame) {
        ok = !p->p->frame(p->plugin, f, p->p->data);
    } else {
        struct pst_row row;
        ok = true;
        for (struct pst_walk w = pst_walk(f); ok && pst_next(&w, &row);)
            ok = one_row(h, p, &row);
    }
    if (!host_leave(h, p->plugin) || !ok)
        processor_died(h, p, "a frame");
}

static void rows(struct host *h, const struct frame *in)
{
    const uint8_t *at = frame_payload(in), *end = at + frame_payload_bytes(in);
    struct found found;
    const struct derived_record *derived = record_derived(&at, end);
    bool as_logged = derived && derived->flags & DERIVED_AS_LOGGED; /* not for processors */
    if (!sound(h, at, end, &found)) {
        h->beat.bad++;
        return;
    }
    struct pst_frame f = {.position = in->position,
                          .end = in->position + in->length,
                          .time = in->time,
                          .day = in->day,
                          .replay = h->replaying,
                          .records = at,
                          .records_end = end,
                          .no_packet = (const uint8_t *)&no_packet};
    h->beat.rows += found.rows;
    for (unsigned i = 0; i < h->nprocessors && !as_logged; i++)
        if (h->processor[i].chosen && any_wanted(h->processor[i].wants, &found))
            to_processor(h, &h->processor[i], &f);
    bool striped = h->stripes < 2;
    for (unsigned i = 0; i < h->nplugins; i++) {
        struct pst_rtp *r = h->plugin[i];
        if (!r->have_hooks || !r->hooks.rows || !any_wanted(r->wants, &found))
            continue;
        f.table = r->wants->by_id;
        struct pst_frame mine = f;
        if (!striped) {
            stripe(h, &mine);
            if (mine.records == mine.records_end)
                continue;
        }
        host_enter(h, r, HOST_IN_ROWS, r->name);
        r->hooks.rows(r, &mine, r->hooks.data);
        if (!host_leave(h, r))
            host_log(h, "%s: rows: %s", r->name, r->err.text);
    }
}

/* ---- marks ---- */

static void to_all(struct host *h, struct pst_mark_facts *m)
{
    m->size = sizeof *m;
    m->replay = h->replaying;
    for (unsigned i = 0; i < h->nprocessors; i++) {
        struct host_processor *p = &h->processor[i];
        if (!p->chosen || !p->p->mark)
            continue;
        host_enter(h, p->plugin, HOST_IN_PROCESSOR, p->p->name);
        int code = p->p->mark(p->plugin, m, p->p->data);
        if (!host_leave(h, p->plugin) || code)
            processor_died(h, p, "a mark");
    }
    for (unsigned i = 0; i < h->nplugins; i++) {
        struct pst_rtp *r = h->plugin[i];
        if (!r->have_hooks || !r->hooks.mark)
            continue;
        host_enter(h, r, HOST_IN_MARK, r->name);
        r->hooks.mark(r, m, r->hooks.data);
        if (!host_leave(h, r))
            host_log(h, "%s: mark: %s", r->name, r->err.text);
    }
}

/* The function that the group names for this mark: buffer_start, buffer_end. */
static void function_of_mark(struct host *h, const struct pst_mark_facts *m)
{
    const char *key = m->mark == PST_MARK_BUFFER_START ? "buffer_start"
                      : m->mark == PST_MARK_BUFFER_END ? "buffer_end"
                                                       : NULL;
    const char *name = key ? json_string_value(json_object_get(h->config, key)) : NULL;
    const struct host_function *f = name ? host_function_find(h, name) : NULL;
    struct err err = {0};
    if (!name || !*name || h->replaying)
        return;
    struct pst_result *t = f ? host_result_new(f->plugin) : NULL;
    if (!f || !t || !host_result_columns(t, f->f->columns, f->f->ncolumns, NULL, &err)) {
        host_log(h, "%s: there is no function %s", key, name);
        host_result_free(t);
        return;
    }
    /* the event's JSON to its first parameter, if it has one of text */
    struct pst_value v = {.type = f->f->nparameters ? f->f->parameters[0].type & 0xFF : 0,
                          .text = m->json};
    struct pst_list list = {f->f->nparameters ? f->f->parameters[0].name : "", v.type, 1, 1, 0, &v};
    bool text = v.type == PST_STRING || v.type == PST_SYMBOL;
    struct pst_map map = {text && f->f->nparameters == 1 ? 1 : 0, 0, &list, ""};
    if (f->f->nparameters && !map.n) {
        host_log(h, "%s: %s wants other parameters than one text", key, name);
    } else {
        host_enter(h, f->plugin, HOST_IN_CALL, name);
        int code = f->f->run(f->plugin, &map, t, f->f->data);
        h->beat.calls++;
        if (!host_leave(h, f->plugin) || code)
            host_log(h, "%s: %s: %s", key, name, f->plugin->err.text);
    }
    host_result_free(t);
}

static void tell(struct host *h, struct pst_mark_facts *m)
{
    to_all(h, m);
    function_of_mark(h, m);
}

static unsigned mark_of(unsigned type)
{
    switch (type) {
    case MARK_EOD:
        return PST_MARK_EOD;
    case MARK_EOI:
        return PST_MARK_EOI;
    case MARK_BUFFER_START:
        return PST_MARK_BUFFER_START;
    case MARK_BUFFER_END:
        return PST_MARK_BUFFER_END;
    case MARK_RESTART:
        return PST_MARK_RESTART;
    case MARK_SESSION:
        return PST_MARK_SESSION;
    default:
        return 0;
    }
}

/* {"mark":"eoi","is":{…}}: a mark of the instance that this one is chained to. */
static unsigned upstream_mark(const char *json, uint32_t len, struct pst_text *is, char **keep)
{
    json_t *o = json_loadb(json, len, 0, NULL), *body = json_object_get(o, "is");
    const char *name = json_string_value(json_object_get(o, "mark"));
    unsigned type = 0;
    for (unsigned t = 1; name && t <= MARK_UPSTREAM; t++)
        if (!strcmp(mark_name(t), name))
            type = t;
    *keep = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (*keep)
        *is = (struct pst_text){*keep, (uint32_t)strlen(*keep)};
    json_decref(o);
    return mark_of(type);
}

static void mark(struct host *h, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *json = frame_mark(f, &type, &len);
    char name[DAYS_NAME] = "", *keep = NULL;
    if (!json)
        return;
    struct pst_mark_facts m = {.mark = mark_of(type),
                               .position = f->position,
                               .time = f->time,
                               .day = f->day,
                               .json = {json, len}};
    if (type == MARK_UPSTREAM)
        m.mark = upstream_mark(json, len, &m.json, &keep);
    if (type == MARK_EOD && days_eod(f, name))
        m.calendar = (struct pst_text){name, (uint32_t)strlen(name)};
    if (m.mark)
        tell(h, &m);
    free(keep);
}

static void lost(struct host *h)
{
    struct pst_mark_facts m = {.mark = PST_MARK_LOST,
                               .position = h->cursor.lost_to,
                               .time = h->time,
                               .day = h->day,
                               .first = h->cursor.lost_from,
                               .last = h->cursor.lost_to};
    h->beat.lost += m.last - m.first;
    to_all(h, &m);
    host_debug(h, "positions %llu to %llu of the journal are lost", (unsigned long long)m.first,
               (unsigned long long)m.last);
}

/* ---- the loop ---- */

void host_frame(struct host *h, const struct frame *f)
{
    uint64_t end = f->position + f->length;
    h->replaying = end <= h->replay_to;
    h->position = end;
    h->beat.frames++;
    if (pst_unlikely(h->cursor.have_runs)) { /* nobody wants rows: it is a bare header */
        h->time = f->time;
        return;
    }
    host_emit_frame(h, f);
    host_timers_journal(h, f->time);
    h->time = f->time;
    h->day = f->day;
    if (f->kind == FRAME_DATA || f->kind == FRAME_GAP) {
        if (!stream_is_buffer(f->stream))
            rows(h, f);
    } else if (f->kind == FRAME_SCHEMA) {
        host_tables_learn(h);
    } else if (f->kind == FRAME_MARK) {
        mark(h, f);
    }
    host_emit_done(h, end);
    if (f->kind == FRAME_MARK && h->emit.on && !h->replaying) {
        unsigned type;
        uint32_t len;
        if (frame_mark(f, &type, &len) && type == MARK_EOD)
            host_emit_flush(h, true);
    }
    if (pst_unlikely(h->replaying && end >= h->replay_to)) {
        h->replaying = false;
        host_debug(h, "the state is rebuilt, up to %llu", (unsigned long long)end);
    }
}

bool host_journal_idle(const struct host *h)
{
    for (unsigned i = 0; i < h->nprocessors; i++)
        if (h->processor[i].chosen)
            return false;
    for (unsigned i = 0; i < h->nplugins; i++) {
        const struct pst_rtp *r = h->plugin[i];
        if (r->have_hooks && r->hooks.rows && r->wants->wanted)
            return false;
        for (uint32_t k = 0; k < r->timers; k++)
            if (!r->timer[k].dead && r->timer[k].journal)
                return false;
    }
    return true;
}

unsigned host_journal_step(struct host *h, uint64_t to)
{
    struct cursor *c = &h->cursor;
    int64_t end = clock_monotonic() + ROUND_NS;
    c->cfg.headers_only = host_journal_idle(h);
    for (unsigned n = 0;; n++) {
        const struct frame *f;
        if (c->position >= to || (h->emit.on && !host_emit_credit(h)) ||
            (n && n % 8 == 0 && clock_monotonic() >= end))
            return n;
        switch (cursor_next(c, &f)) {
        case CURSOR_FRAME:
            host_frame(h, f);
            break;
        case CURSOR_LOST:
            lost(h);
            break;
        case CURSOR_REWOUND:
            h->position = c->position;
            break;
        case CURSOR_ERROR:
            host_die(h, "the journal cannot be read: %s", c->err.text);
        case CURSOR_WAIT:
        case CURSOR_END:
            h->position = c->position > h->position ? c->position : h->position;
            host_emit_flush(h, false);
            h->beat.limit = c->position;
            return n;
        }
    }
}
