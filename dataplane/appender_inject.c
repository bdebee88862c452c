/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that others hand over through their inject rings. */
#include <errno.h>
#include "core/tables.h"
#include "batch.h"
#include "intervals.h"
#include "json_put.h"
#include "stream_cut.h"
#include "appender_parts.h"

/* Symbols of a batch: how many texts the instance does not know. */
static uint32_t unknown_texts(const struct appender *a, const struct batch_syms *s)
{
    uint32_t n = 0;
    const uint8_t *p = s->texts;
    for (uint32_t i = 0; i < s->n; p += 1 + *p, i++)
        n += symbols_find(a->cfg.symbols, (const char *)p + 1, *p) == PST_NULL_SYMBOL;
    return n;
}

/* Numbers the texts of a batch. refuse: keep the numbering in step, intern nothing. */
static void number_texts(struct appender *a, struct appender_source *s, const struct batch_syms *t,
                         bool refuse)
{
    const uint8_t *p = t->texts;
    for (uint32_t i = 0; i < t->n; p += 1 + *p, i++) {
        const char *text = (const char *)p + 1;
        uint32_t id = refuse ? SYMBOL_REFUSED : symbols_find(a->cfg.symbols, text, *p);
        if (id == PST_NULL_SYMBOL) {
            if (s->new_today < s->max_new) {
                id = appender_intern_new(a, text, *p, &s->new_today);
            } else {
                appender_refuse_symbol(a, true);
                id = SYMBOL_REFUSED;
            }
        }
        s->map[s->map_n++] = id;
    }
}

/* Do the rows behind d go on where their source stands? */
static enum inject_refusal go_on(struct appender *a, const struct derived_record *d)
{
    static const struct source_progress fresh;
    const struct source_progress *p = sources_find(a->sources, d->source);
    a->from.name = d->source;
    a->from.flags = d->flags;
    a->from.at = source_point(d->after, d->after_row);
    a->from.to = source_point(d->position, d->row);
    uint32_t len;
    const char *name = symbols_text(a->cfg.symbols, d->source, &len);
    a->from.unmasked =
        len >= sizeof DIVERT_SOURCE - 1 && !memcmp(name, DIVERT_SOURCE, sizeof DIVERT_SOURCE - 1);
    return source_fits(p ? p : &fresh, a->from.at, a->from.to) ? INJECT_ACCEPTED : INJECT_NOT_NEXT;
}

/* at: a copy of the batch's records; what is checked is what is written. d: its derived record. */
static enum inject_refusal take_rows(struct appender *a, struct appender_source *s,
                                     const struct inject_batch *head, const uint8_t *texts,
                                     uint8_t *at, uint32_t bytes, struct derived_record *d)
{
    struct batch_syms t;
    if (head->flags & INJECT_RESTART)
        s->map_n = 0;
    if (!batch_texts(head, texts, s->map_max - s->map_n, &t))
        return INJECT_MALFORMED;
    struct batch_rows w = {
        .schemas = a->cfg.schemas,
        .gap = head->kind == FRAME_GAP ? a->gap : NULL,
        .gaps = d != NULL,
        .at = at,
        .bytes = bytes,
        .records = head->records,
        .locals = s->map_n + t.n,
        .null_refused = s->lossless,
        .owners = a->cfg.owners,
    };
    bool empty = d && !bytes && !head->records; /* only moves the source */
    if (t.n) {                                  /* all must be right before a text is interned */
        enum inject_refusal why = empty ? INJECT_ACCEPTED : batch_rows_check(&w);
        if (!why && !s->lossless && unknown_texts(a, &t) > s->max_new - s->new_today) {
            appender_refuse_symbol(a, true);
            why = INJECT_SYMBOLS_LIMIT;
        }
        a->source = s->id;
        number_texts(a, s, &t, why != INJECT_ACCEPTED);
        if (why)
            return why;
    }
    w.map = s->map;
    enum inject_refusal why = d ? batch_derived(d, s->map, s->map_n) : INJECT_ACCEPTED;
    if (!why && d)
        why = go_on(a, d);
    if (!why && !empty)
        why = batch_rows_check(&w);
    if (why)
        return why;
    /* A gap is no row that a feed or publisher handed over: the ledger would miss it as one. */
    if (head->kind == FRAME_GAP)
        count_add(a->cfg.status, APPEND_GAPS, w.rows);
    else
        count_add(a->cfg.status, APPEND_ROWS, w.rows);
    count_add(a->cfg.status, APPEND_LATE_DAY, w.late_day);
    a->oldest = w.oldest;
    a->from.left = w.rows;
    return INJECT_ACCEPTED;
}

/* The date of a plain row; wish 0: by its time. */
static uint16_t row_day(struct appender *a, const struct record *r, uint16_t wish, uint64_t *late)
{
    unsigned c = appender_calendar_of(a, r->table);
    const struct appender_calendar *k = &a->calendar[c];
    uint16_t open = a->rows.min_day[c];
    if (wish) {
        *late += wish < open;
        return wish < open ? open : wish;
    }
    int64_t t = r->time == PST_NULL_LONG ? a->now : r->time;
    *late += t < k->from;
    return t >= k->turn ? k->newest : open;
}

/* The date of a run: that of its batch, if it is still open for the run's calendar. */
static uint16_t run_day(struct appender *a, struct packet_record *p, uint16_t wish, uint64_t *late)
{
    uint16_t open =
        a->rows.min_day[appender_calendar_of(a, ((const struct record *)(p + 1))->table)];
    if (wish >= open)
        return wish;
    if (!(p->flags & ROW_LATE_DAY))
        *late += p->rows;
    p->flags |= ROW_LATE_DAY;
    return open;
}

/* Rows that were checked, behind f: one frame, or several where the date changes. The header of a
 * further one takes the place of bytes before it, which are in the ring already. */
static void write_rows(struct appender *a, struct frame *f, uint16_t wish)
{
    uint8_t *at = (uint8_t *)f + FRAME_HEADER, *end = (uint8_t *)f + f->length;
    struct frame head = *f;
    bool runs = ((const struct record *)at)->table == TABLE_PACKET;
    uint64_t late = 0;
    /* As good as always: nothing is late and there is one date. */
    if (wish ? wish >= a->latest_open : !runs && !a->spread && a->oldest >= a->latest_from) {
        f->day = wish ? wish : a->latest_open;
        appender_write_data(a, f);
        return;
    }
    for (uint32_t records = 0; at < end;) {
        struct record *r = (struct record *)at;
        struct packet_record *p = (struct packet_record *)r;
        uint16_t day = runs ? run_day(a, p, wish, &late) : row_day(a, r, wish, &late);
        if (records && day != f->day) {
            f->length = (uint32_t)(at - (uint8_t *)f);
            f->count = (uint16_t)records;
            appender_write_data(a, f);
            f = (struct frame *)(at - FRAME_HEADER);
            records = 0;
        }
        if (!records) {
            *f = head;
            f->day = day;
        }
        records += runs ? 1 + p->rows : 1;
        at += runs ? sizeof *p + p->run_bytes : r->bytes;
        f->length = (uint32_t)(at - (uint8_t *)f);
        f->count = (uint16_t)records;
    }
    appender_write_data(a, f);
    count_add(a->cfg.status, APPEND_LATE_DAY, late);
}

/* An eod mark of control, behind f. */
static enum inject_refusal end_by_hand(struct appender *a, const struct inject_batch *b,
                                       struct frame *f)
{
    unsigned c = b->flags / INJECT_CALENDAR;
    if (c >= a->calendars)
        return INJECT_MALFORMED;
    if (b->day != a->rows.min_day[c])
        return INJECT_DAY_CLOSED;
    if (c == 0 && a->interval.on && a->interval.day <= b->day)
        pst_must(interval_end(a, a->now, a->now, a->interval.minute, (uint16_t)(b->day + 1)));
    f->day = b->day;
    appender_write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    appender_end_day(a, c, (uint16_t)(b->day + 1), b->time);
    return INJECT_ACCEPTED;
}

/* A start or end of a buffering event, from control. The mark is made of the batch's text, whose
 * closing brace comes behind what only the appender knows. */
static enum inject_refusal command_event(struct appender *a, const struct inject_batch *b,
                                         const struct frame *f, unsigned type)
{
    unsigned slot = b->flags / INJECT_EVENT, ignored;
    uint32_t len = 0;
    const char *json = frame_mark(f, &ignored, &len);
    if (slot >= DIVERT_EVENTS || !len || len > DIVERT_TEXT || json[len - 1] != '}')
        return INJECT_MALFORMED;
    struct divert_event *e = &a->cfg.divert->event[slot];
    enum divert_state state = divert_state(e);
    bool start = type == MARK_BUFFER_START;
    if (start ? state != DIVERT_OFFERED : state != DIVERT_ACTIVE && state != DIVERT_PASSING)
        return INJECT_EVENT_OVER;
    uint64_t position;
    if (!appender_event_mark(a, e, type, json, len - 1, start ? "started" : "complete", &position))
        return INJECT_MALFORMED;
    if (start)
        appender_event_start(a, e, position);
    else
        appender_event_over(a, e, position);
    return INJECT_ACCEPTED;
}

bool appender_resume_event(struct appender *a, struct divert_event *e)
{
    uint64_t position;
    if (!appender_fits(a, FRAME_HEADER + 16 + DIVERT_TEXT + DIVERT_FACTS, true))
        return false;
    appender_op_flush(&a->rows);
    if (!appender_event_mark(a, e, MARK_BUFFER_START, e->text, e->text_len,
                             e->passing ? "passthrough" : "resumed", &position))
        return false;
    appender_event_start(a, e, position);
    return true;
}

/* A wish for the future would poison all that follows. */
static void wanted_time(struct appender *a, const struct inject_batch *b)
{
    if (b->time && b->time < a->now)
        a->now = b->time;
}

/* Rows of a batch: checked on a private copy, then in frames. */
static enum inject_refusal take_data(struct appender *a, struct appender_source *s,
                                     const struct inject_batch *b, const uint8_t *body,
                                     const struct frame *head)
{
    struct derived_record d;
    uint32_t bytes = head->length - FRAME_HEADER;
    const uint8_t *records = body + b->syms_bytes, *at = records;
    bool of_source = b->kind == FRAME_DATA && record_derived(&at, records + bytes);
    if (of_source) {
        if (!s->sources)
            return INJECT_MALFORMED;
        memcpy(&d, records, sizeof d);
    }
    bytes -= (uint32_t)(at - records);
    struct frame *f = (struct frame *)(a->stage + (of_source ? SOURCE_HEAD : 0));
    *f = *head;
    f->length = FRAME_HEADER + bytes;
    f->count = (uint16_t)b->records;
    memcpy(f + 1, at, bytes);
    enum inject_refusal why =
        take_rows(a, s, b, body, (uint8_t *)(f + 1), bytes, of_source ? &d : NULL);
    if (why)
        return why;
    int64_t now = a->now;
    wanted_time(a, b);
    a->from.on = of_source;
    if (b->kind == FRAME_DATA && bytes)
        write_rows(a, f, b->day);
    else
        appender_write_frame(a, f);
    a->from.on = false;
    a->now = now;
    if (of_source) {
        uint64_t forgotten = a->sources->forgotten;
        sources_advance(a->sources, a->from.name, a->from.to);
        count_add(a->cfg.status, APPEND_SOURCES_FORGOTTEN, a->sources->forgotten - forgotten);
    }
    return INJECT_ACCEPTED;
}

/* Texts alone (the loader's): all are interned, or none. */
static enum inject_refusal take_symbols(struct appender *a, struct appender_source *s,
                                        const struct inject_batch *b, const uint8_t *body)
{
    struct batch_syms t;
    if (b->flags & INJECT_RESTART)
        s->map_n = 0;
    if (!b->new_syms || b->records || b->bytes != sizeof *b + b->syms_bytes ||
        !batch_texts(b, body, s->map_max - s->map_n, &t))
        return INJECT_MALFORMED;
    const struct symbols_head *h = a->cfg.symbols->head;
    uint32_t unknown = unknown_texts(a, &t);
    bool fits = unknown <= s->max_new - s->new_today &&
                unknown <= h->max - symbols_count(a->cfg.symbols) &&
                b->syms_bytes <= h->text_bytes - h->text_used;
    if (!fits)
        appender_refuse_symbol(a, true);
    a->source = s->id;
    number_texts(a, s, &t, !fits);
    return fits ? INJECT_ACCEPTED : INJECT_SYMBOLS_LIMIT;
}

/* A mark or schema. */
static enum inject_refusal take_text(struct appender *a, struct appender_source *s,
                                     const struct inject_batch *b, const uint8_t *body,
                                     const struct frame *head)
{
    struct frame *f = (struct frame *)a->stage;
    *f = *head;
    memcpy(f + 1, body + b->syms_bytes, f->length - FRAME_HEADER);
    if (s->ends_days && batch_is_eod(b, f))
        return end_by_hand(a, b, f);
    unsigned event = s->ends_days && a->cfg.divert ? batch_event(b, f) : 0;
    if (event)
        return command_event(a, b, f, event);
    if (!batch_text_check(b, f))
        return INJECT_MALFORMED;
    count_add(a->cfg.status, APPEND_MARKS, b->kind == FRAME_MARK);
    int64_t now = a->now;
    wanted_time(a, b);
    appender_write_frame(a, f);
    a->now = now;
    return INJECT_ACCEPTED;
}

/* One batch, whole or not at all. b: a copy of its head; body: what lies behind it in the ring. */
static enum inject_refusal take_batch(struct appender *a, struct appender_source *s,
                                      const struct inject_batch *b, const uint8_t *body)
{
    if (b->syms_bytes % 8)
        return INJECT_MALFORMED;
    struct frame head = {
        .length = FRAME_HEADER + b->bytes - (uint32_t)sizeof *b - b->syms_bytes,
        .kind = b->kind,
        .stream = b->stream,
        .source = s->id,
        .day = appender_clamp_day(a, b->kind == FRAME_GAP ? a->rows.gap_calendar : 0, b->day),
    };
    bool rows = b->kind == FRAME_DATA || b->kind == FRAME_GAP;
    if (b->kind == FRAME_SYMBOL)
        return b->stream == STREAM_EVERY ? take_symbols(a, s, b, body) : INJECT_MALFORMED;
    if (rows && b->stream != (b->kind == FRAME_GAP ? STREAM_EVERY : STREAM_DAILY))
        return INJECT_MALFORMED;
    return rows ? take_data(a, s, b, body, &head) : take_text(a, s, b, body, &head);
}

/* false: nothing there, or no room. */
static bool take_one(struct appender *a, struct appender_source *s)
{
    const struct inject_batch *offered = inject_peek(s->q);
    if (!offered)
        return false;
    uint64_t ready = inject_ready(s->q);
    struct inject_batch b = {0};
    struct status *st = a->cfg.status;
    if (ready >= sizeof b)
        b = *offered; /* what is checked is what is used */
    /* Where a length lies the next batch cannot be found either: all that is offered goes. */
    bool lies = b.bytes < sizeof b || b.bytes > ready || b.bytes % 8;
    uint64_t bytes = lies ? ready : b.bytes;
    if (lies || b.syms_bytes > BATCH_SYMS_MAX || b.syms_bytes > bytes - sizeof b ||
        bytes - sizeof b - b.syms_bytes > FRAME_MAX - FRAME_HEADER) {
        count_add(st, APPEND_BAD_BATCHES, 1);
        inject_refuse(s->q, bytes, a->cfg.ring->w_tail, INJECT_MALFORMED);
        return true;
    }
    bool reserve = b.kind == FRAME_MARK || b.kind == FRAME_GAP;
    bool of_source = bytes - sizeof b - b.syms_bytes >= sizeof(struct derived_record) &&
                     le16((const uint8_t *)(offered + 1) + b.syms_bytes) == TABLE_DERIVED;
    /* With several dates open, streams or events, each record, of 16 bytes at least, may get a
     * frame of its own. */
    uint64_t each = diverting(a)       ? DIVERT_PER_ROW
                    : a->cfg.stream_of ? STREAM_CUT_COST
                    : a->spread        ? FRAME_HEADER
                                       : 0;
    if (of_source && each)
        each += sizeof(struct derived_record);
    uint64_t need = bytes + SYMBOL_FRAME + bytes / 16 * each + appender_event_room(a);
    if (b.kind == FRAME_MARK) /* an eod mark takes an eoi mark with it; one of an event facts */
        need += FRAME_HEADER + 8 + INTERVAL_JSON + DIVERT_FACTS;
    if (pst_unlikely(!appender_fits(a, need, reserve))) {
        if (!a->full)
            alarm_signal(st, ALARM_RING_FULL);
        a->full = true;
        return false;
    }
    a->full = false;
    enum inject_refusal why = take_batch(a, s, &b, (const uint8_t *)(offered + 1));
    appender_put_symbols(a); /* those of a batch that was refused after all, too */
    a->source = 0;
    if (why) {
        count_add(st, APPEND_BAD_BATCHES, why == INJECT_MALFORMED);
        inject_refuse(s->q, bytes, a->cfg.ring->w_tail, why);
        return true;
    }
    count_add(st, APPEND_BATCHES, 1);
    inject_release(s->q, bytes, a->cfg.ring->w_tail);
    return true;
}

int appender_take(struct appender *a, int budget)
{
    if (!a->nsrc)
        return 0;
    int n = 0;
    unsigned idle = 0;
    bool flushed = false;
    while (n < budget && idle < a->nsrc) {
        struct appender_source *s = &a->src[a->turn];
        a->turn = a->turn + 1 == a->nsrc ? 0 : a->turn + 1;
        if (!flushed && inject_peek(s->q)) {
            appender_op_flush(&a->rows); /* the staging frame is used for batches */
            flushed = true;
        }
        if (take_one(a, s)) {
            n++;
            idle = 0;
        } else {
            idle++;
        }
    }
    return n;
}
