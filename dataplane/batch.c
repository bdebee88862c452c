/* SPDX-License-Identifier: Apache-2.0 */
#include "core/source.h"
#include "core/tables.h"
#include "batch.h"

bool batch_texts(const struct inject_batch *b, const uint8_t *section, uint32_t room,
                 struct batch_syms *out)
{
    const uint8_t *p = section, *end = section + b->syms_bytes;
    *out = (struct batch_syms){section, b->new_syms};
    if (b->new_syms > room)
        return false;
    for (uint32_t i = 0; i < b->new_syms; i++) {
        if (p >= end || !*p || end - p - 1 < *p || memchr(p + 1, 0, *p))
            return false;
        p += 1 + *p;
    }
    if (end - p >= 8)
        return false;
    for (; p < end; p++)
        if (*p)
            return false;
    return true;
}

/* One symbol field. False: no such local id, or refused. */
static bool map_symbol(const struct batch_rows *w, uint8_t *field, enum inject_refusal *why)
{
    uint32_t id = le32(field);
    if (id == PST_NULL_SYMBOL)
        return true;
    if (pst_unlikely(id >= w->locals)) {
        *why = INJECT_MALFORMED;
        return false;
    }
    if (!w->map)
        return true;
    uint32_t global = w->map[id];
    if (pst_unlikely(global == SYMBOL_REFUSED)) {
        if (!w->null_refused) {
            *why = INJECT_SYMBOLS_LIMIT;
            return false;
        }
        global = PST_NULL_SYMBOL;
    }
    put32(field, global);
    return true;
}

static bool strings_inside(const struct schema *s, const struct record *r)
{
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        uint32_t len;
        if (c->type == PST_STRING &&
            (!record_string(r, c->offset, &len) || le32((const uint8_t *)r + c->offset) < s->fixed))
            return false;
    }
    return true;
}

struct run_left {
    const uint8_t *end; /* of the open run; NULL = plain rows */
    uint32_t rows;
    unsigned calendar; /* of its first row */
};

static bool begin_run(struct batch_rows *w, struct record *r, const uint8_t *end,
                      struct run_left *run, enum inject_refusal *why)
{
    struct packet_record *p = (struct packet_record *)r;
    *why = INJECT_MALFORMED;
    if (w->gap || p->bytes != sizeof *p || p->sym != PST_NULL_SYMBOL || !p->rows ||
        p->run_bytes > (size_t)(end - (uint8_t *)r) - sizeof *p)
        return false;
    /* record.h: of a packet only the first run counts, an opaque block of several is one row */
    bool several = p->flags & RUN_PACKET_SEQ && (!p->seqs || p->rows == 1);
    uint32_t seqs = p->flags & RUN_UNSEQUENCED ? 0 : p->flags & RUN_PACKET_SEQ ? 1 : p->rows;
    if (p->seqs != seqs && !several)
        return false;
    run->end = (uint8_t *)r + sizeof *p + p->run_bytes;
    run->rows = p->rows;
    run->calendar = DAYS_CALENDARS;
    if (p->flags & ROW_LATE_DAY)
        w->late_day += p->rows;
    return map_symbol(w, (uint8_t *)&p->feed, why) && map_symbol(w, (uint8_t *)&p->session, why) &&
           map_symbol(w, (uint8_t *)&p->line, why);
}

static bool check_row(struct batch_rows *w, struct record *r, struct run_left *run,
                      enum inject_refusal *why)
{
    const struct schema *s = schema_set_get(w->schemas, r->table);
    *why = INJECT_MALFORMED;
    if (run->end && w->owners && s) {
        unsigned c = w->owners->calendar[r->table];
        if (run->calendar != DAYS_CALENDARS && run->calendar != c)
            return false;
        run->calendar = c;
    }
    if (!s || s->feed != (run->end != NULL) || r->bytes < s->fixed || (w->gap && s != w->gap) ||
        (!w->gap && !w->gaps && !strcmp(s->name, "gap")))
        return false;
    if (s->nstrings && !strings_inside(s, r))
        return false;
    w->oldest = r->time < w->oldest ? r->time : w->oldest;
    if (!map_symbol(w, (uint8_t *)&r->sym, why))
        return false;
    for (unsigned i = 0; i < s->nsyms; i++)
        if (!map_symbol(w, (uint8_t *)r + s->sym_offset[i], why))
            return false;
    return true;
}

enum inject_refusal batch_rows_check(struct batch_rows *w)
{
    uint8_t *at = w->at, *end = at + w->bytes;
    struct run_left run = {0};
    w->late_day = 0;
    w->oldest = INT64_MAX;
    uint32_t records = 0, rows = 0;
    enum inject_refusal why = INJECT_MALFORMED;
    while (at < end) {
        struct record *r = (struct record *)at;
        if ((size_t)(end - at) < sizeof *r || r->bytes < sizeof *r || r->bytes % 8 ||
            r->bytes > end - at)
            return INJECT_MALFORMED;
        if (r->table == TABLE_PACKET) {
            bool runs = records == 0 || (run.end == at && !run.rows);
            if (!runs || !begin_run(w, r, end, &run, &why))
                return runs ? why : INJECT_MALFORMED;
        } else {
            if (run.end && !run.rows--)
                return INJECT_MALFORMED;
            if (!check_row(w, r, &run, &why))
                return why;
            if (run.end && at + r->bytes > run.end)
                return INJECT_MALFORMED;
            rows++;
        }
        records++;
        at += r->bytes;
    }
    if (!records || records != w->records || (run.end && (run.rows || run.end != end)))
        return INJECT_MALFORMED;
    w->rows = rows;
    return INJECT_ACCEPTED;
}

enum inject_refusal batch_derived(struct derived_record *d, const uint32_t *map, uint32_t locals)
{
    static const uint8_t zero[sizeof d->pad];
    if (d->source >= locals || d->after > SOURCE_POSITION_MAX ||
        d->position > SOURCE_POSITION_MAX || d->flags & ~(uint32_t)DERIVED_AS_LOGGED ||
        memcmp(d->pad, zero, sizeof zero))
        return INJECT_MALFORMED;
    d->source = map[d->source];
    return d->source == SYMBOL_REFUSED ? INJECT_SYMBOLS_LIMIT : INJECT_ACCEPTED;
}

/* A mark's type; 0: no sound mark. */
static unsigned mark_type(const struct inject_batch *b, const struct frame *f)
{
    uint32_t len = 0;
    unsigned type = 0;
    const char *json = b->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    bool sound = b->stream == STREAM_EVERY && !b->records && !b->new_syms && !b->syms_bytes &&
                 json && pst_align8(8 + (uint64_t)len) == frame_payload_bytes(f) &&
                 strcmp(mark_name(type), "?");
    return sound ? type : 0;
}

bool batch_text_check(const struct inject_batch *b, const struct frame *f)
{
    if (b->kind == FRAME_SCHEMA) {
        uint32_t len = 0;
        const char *json = frame_schema_json(f, &len);
        return b->stream == STREAM_EVERY && !b->records && !b->new_syms && !b->syms_bytes && json &&
               len && pst_align8(8 + (uint64_t)len) == frame_payload_bytes(f);
    }
    unsigned type = mark_type(b, f);
    return type && type != MARK_EOD && type != MARK_EOI && type != MARK_END &&
           type != MARK_BUFFER_START && type != MARK_BUFFER_END;
}

bool batch_is_eod(const struct inject_batch *b, const struct frame *f)
{
    return mark_type(b, f) == MARK_EOD;
}

unsigned batch_event(const struct inject_batch *b, const struct frame *f)
{
    unsigned type = mark_type(b, f);
    return type == MARK_BUFFER_START || type == MARK_BUFFER_END ? type : 0;
}

uint32_t batch_gap_record(uint8_t *p, const struct schema *s, const struct gap *g, uint32_t reason)
{
    uint32_t n = (uint32_t)strnlen(g->lines, sizeof g->lines);
    uint32_t bytes = (uint32_t)pst_align8(s->fixed + n);
    pst_must(bytes <= BATCH_GAP_MAX);
    memset(p, 0, bytes);
    *(struct record *)p = (struct record){s->id, (uint16_t)bytes, PST_NULL_SYMBOL, g->time};
    put32(p + s->col[GAP_FEED].offset, g->feed);
    put32(p + s->col[GAP_SESSION].offset, g->session);
    put64(p + s->col[GAP_FIRST].offset, g->first);
    put64(p + s->col[GAP_LAST].offset, g->last);
    put32(p + s->col[GAP_REASON].offset, reason == SYMBOL_REFUSED ? PST_NULL_SYMBOL : reason);
    put32(p + s->col[GAP_LINES].offset, s->fixed);
    put32(p + s->col[GAP_LINES].offset + 4, n);
    memcpy(p + s->fixed, g->lines, n);
    return bytes;
}
