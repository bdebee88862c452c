/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "core/tables.h"
#include "appender_parts.h"
#include "batch.h"
#include "intervals.h"
#include "json_put.h"
#include "stream_cut.h"

#define STAGE_SLACK 128u
#define ROOM_MARGIN 4096u /* frame and run headers of what is staged */
#define CUT_SHARE   4u    /* with streams: rows take at most that many times what was asked for */

_Static_assert(DAYS_TABLES == TABLE_MAX, "days.h and schema.h count the same tables");

/* ---- one frame into the ring ---- */

static void put_frame(struct appender *a, struct frame *f)
{
    struct ring *r = a->cfg.ring;
    if (a->now > a->last_time)
        a->last_time = a->now;
    f->time = a->last_time;
    f->position = r->w_tail;
    frame_seal(f, r->head->seed);
    if (f->kind == FRAME_DATA && PST_FAULT_HIT("appender.drop_frame"))
        return;
    pst_must(ring_free(r, f->length) >= f->length);
    a->facts += f->kind == FRAME_SYMBOL || f->kind == FRAME_SCHEMA || f->kind == FRAME_MARK;
    ring_write(r, f, f->length);
    PST_FAULT("appender.before_publish");
    ring_publish(r);
    PST_FAULT("appender.after_publish");
    count_add(a->cfg.status, APPEND_FRAMES, 1);
    count_add(a->cfg.status, APPEND_BYTES, f->length);
}

void appender_put_symbols(struct appender *a)
{
    if (pst_likely(!a->nsyms))
        return;
    struct frame *f = (struct frame *)a->syms;
    frame_symbol_end(f);
    f->source = a->source;
    f->day = a->rows.min_day[0];
    a->nsyms = 0;
    put_frame(a, f);
}

static uint32_t frame_rows(const struct frame *f)
{
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    uint32_t rows = f->count;
    bool bad = false;
    if (at < end && ((const struct record *)at)->table == TABLE_PACKET)
        while (packet_hop(&at, end, &bad))
            rows--;
    return rows;
}

/* A frame of the source's batch gets its derived record, and its header moves in front of that. */
static struct frame *head_source(struct appender *a, struct frame *f)
{
    struct appender_from *from = &a->from;
    uint32_t rows = frame_rows(f);
    pst_must(rows <= from->left);
    from->left -= rows;
    struct source_point to = from->to;
    if (from->left) /* more frames follow */
        to = source_point(from->at.position, from->at.row + rows);
    struct frame head = *f;
    struct derived_record d = {.table = TABLE_DERIVED,
                               .bytes = sizeof d,
                               .source = from->name,
                               .after = from->at.position,
                               .position = to.position,
                               .after_row = from->at.row,
                               .row = to.row,
                               .flags = from->flags};
    f = (struct frame *)((uint8_t *)f - sizeof d);
    head.length += (uint32_t)sizeof d;
    *f = head;
    memcpy(f + 1, &d, sizeof d);
    from->at = to;
    return f;
}

/* Pending symbols first: no id before its text. */
void appender_write_frame(struct appender *a, struct frame *f)
{
    appender_put_symbols(a);
    if (pst_unlikely(a->from.on) && f->kind == FRAME_DATA)
        f = head_source(a, f);
    put_frame(a, f);
}

/* ---- buffering events ---- */

/* One mark of an event, from its text; true: it stands in the journal at *position. */
bool appender_event_mark(struct appender *a, const struct divert_event *e, enum mark_type type,
                         const char *text, uint32_t len, const char *status, uint64_t *position)
{
    char json[DIVERT_TEXT + DIVERT_FACTS];
    len = divert_mark(e, text, len, status, json, sizeof json);
    struct frame *f = (struct frame *)a->small;
    if (!len || !frame_build_mark(f, type, json, len))
        return false;
    f->day = a->rows.min_day[0];
    appender_write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    *position = f->position;
    return true;
}

void appender_event_start(struct appender *a, struct divert_event *e, uint64_t position)
{
    divert_start(a->cfg.divert, e, position);
    a->diverting = a->cfg.divert->nactive != 0;
}

void appender_event_over(struct appender *a, struct divert_event *e, uint64_t position)
{
    divert_end(a->cfg.divert, e, position);
    a->diverting = a->cfg.divert->nactive != 0;
}

/* Room for it was taken off by whoever asked (event_room). */
static void at_limit(void *arg, struct divert_event *e, enum mark_type type, const char *status)
{
    struct appender *a = arg;
    uint64_t position = 0;
    bool end = type == MARK_BUFFER_END;
    pst_must(appender_event_mark(a, e, type, end ? e->end : e->text, end ? e->end_len : e->text_len,
                                 status, &position));
    alarm_signal(a->cfg.status, ALARM_BUFFER_LIMIT);
    if (end)
        appender_event_over(a, e, position);
}

static void write_part(void *arg, struct frame *f, uint32_t diverted)
{
    struct appender *a = arg;
    if (diverted)
        count_add(a->cfg.status, APPEND_DIVERTED, diverted);
    appender_write_frame(a, f);
}

static pst_noinline void write_diverted(struct appender *a, struct frame *f)
{
    const struct divert_sink sink = {a, write_part, at_limit};
    divert_frame(a->cfg.divert, f, &sink);
    a->diverting = a->cfg.divert->nactive != 0;
}

/* Every data frame of one stream goes through here. */
pst_inline void write_one(struct appender *a, struct frame *f)
{
    if (diverting(a) && !(a->from.on && a->from.unmasked))
        write_diverted(a, f);
    else
        appender_write_frame(a, f);
}

/* ---- rows ---- */

/* Rows that were checked: a frame for each stretch of one stream. */
void appender_write_data(struct appender *a, struct frame *f)
{
    if (pst_likely(!a->cfg.stream_of)) {
        write_one(a, f);
        return;
    }
    struct stream_cut c;
    stream_cut_start(&c, a->cfg.stream_of, f);
    while ((f = stream_cut_next(&c)))
        write_one(a, f);
}

static void stage_empty(struct rows *r)
{
    r->at = r->base;
    r->head = NULL;
    r->records = 0;
    r->run_rows = 0;
}

/* What is staged, of one stream, and what was put aside for the other. */
static void write_both(struct appender *a, struct frame *f)
{
    struct rows *r = &a->rows;
    struct frame *o = (struct frame *)a->other;
    f->stream = r->home - 1;
    *o = *f; /* before an event makes its own of f */
    o->stream = f->stream ^ 1;
    if (r->records)
        write_one(a, f);
    if (!r->aside.records)
        return;
    o->length = (uint32_t)(r->aside.at - a->other);
    o->count = (uint16_t)r->aside.records;
    write_one(a, o);
    r->aside.at = r->aside.base;
    r->aside.records = 0;
    r->aside.head = NULL;
}

void appender_op_flush(struct rows *r)
{
    struct appender *a = r->owner;
    rows_close_run(r);
    if (!r->records && !r->aside.records) {
        appender_put_symbols(a);
        return;
    }
    struct frame *f = (struct frame *)a->stage;
    *f = (struct frame){
        .length = (uint32_t)(r->at - a->stage),
        .kind = FRAME_DATA,
        .stream = STREAM_DAILY,
        .count = (uint16_t)r->records,
        .day = r->frame_day,
    };
    if (pst_unlikely(r->home))
        write_both(a, f);
    else
        appender_write_data(a, f);
    stage_empty(r);
    a->published = true;
    count_add(a->cfg.status, APPEND_ROWS, r->rows_total - a->rows_counted);
    a->rows_counted = r->rows_total;
    if (pst_unlikely(r->rows_late_day != a->late_counted)) {
        count_add(a->cfg.status, APPEND_LATE_DAY, r->rows_late_day - a->late_counted);
        a->late_counted = r->rows_late_day;
    }
}

void appender_refuse_symbol(struct appender *a, bool full)
{
    count_add(a->cfg.status, SYMBOLS_REFUSED, 1);
    if (full)
        alarm_signal(a->cfg.status, ALARM_SYMBOLS_FULL);
}

/* A text that the table does not have yet, within a budget that the caller checked. */
uint32_t appender_intern_new(struct appender *a, const char *text, uint32_t len,
                             uint32_t *new_today)
{
    uint32_t id;
    enum symbols_verdict v = symbols_intern(a->cfg.symbols, text, len, &id);
    if (v == SYMBOLS_OLD)
        return id;
    if (v != SYMBOLS_NEW) {
        appender_refuse_symbol(a, v == SYMBOLS_FULL);
        return SYMBOL_REFUSED;
    }
    if (!a->nsyms)
        frame_symbol_begin(a->syms, id);
    if (pst_unlikely(!frame_symbol_add(a->syms, text, len))) {
        appender_put_symbols(a);
        frame_symbol_begin(a->syms, id);
        frame_symbol_add(a->syms, text, len);
    }
    a->nsyms++;
    ++*new_today;
    count_add(a->cfg.status, SYMBOLS_NEW, 1);
    return id;
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    struct appender *a = r->owner;
    uint32_t id = symbols_find(a->cfg.symbols, text, len);
    if (pst_likely(id != PST_NULL_SYMBOL))
        return id;
    if (a->new_today >= a->max_new) {
        appender_refuse_symbol(a, true);
        return SYMBOL_REFUSED;
    }
    return appender_intern_new(a, text, len, &a->new_today);
}

uint16_t appender_clamp_day(const struct appender *a, unsigned calendar, uint16_t day)
{
    uint16_t open = a->rows.min_day[calendar];
    return day < open ? open : day;
}

static void op_gap(struct rows *r, const struct gap *g)
{
    struct appender *a = r->owner;
    const struct schema *s = a->gap;
    appender_op_flush(r);
    uint32_t reason = op_intern(r, g->reason, (uint32_t)strlen(g->reason));
    struct frame *f = (struct frame *)a->small;
    uint32_t bytes = batch_gap_record(a->small + FRAME_HEADER, s, g, reason);
    *f = (struct frame){
        .length = FRAME_HEADER + bytes,
        .kind = FRAME_GAP,
        .stream = STREAM_EVERY,
        .count = 1,
        .day = appender_clamp_day(a, r->gap_calendar, g->day),
    };
    count_add(a->cfg.status, APPEND_LATE_DAY, f->day != g->day);
    appender_write_frame(a, f);
    count_add(a->cfg.status, APPEND_GAPS, 1);
}

static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    pst_must(appender_mark(r->owner, type, json, len, r->min_day[0]));
}

static uint64_t op_room(struct rows *r)
{
    return appender_room(r->owner);
}

static const struct rows_ops appender_rows = {appender_op_flush, op_intern, op_gap, op_mark,
                                              op_room};

/* ---- room ---- */

/* Bytes that flushing now would take. */
static uint64_t staged(const struct appender *a)
{
    const struct rows *r = &a->rows;
    uint64_t n = r->records ? (uint64_t)(r->at - a->stage) : 0;
    if (pst_unlikely(r->aside.records))
        n += (uint64_t)(r->aside.at - a->other);
    if (diverting(a)) /* cut at each row: by mask, stream or both */
        n = n * DIVERT_SPREAD + appender_event_room(a);
    else if (pst_unlikely(a->cfg.stream_of != NULL))
        n += (uint64_t)a->rows.records * STREAM_CUT_COST;
    return n + (a->nsyms ? ((const struct frame *)a->syms)->length + 8u : 0);
}

uint64_t appender_room(struct appender *a)
{
    uint64_t taken = staged(a) + RING_RESERVE + ROOM_MARGIN;
    unsigned share = diverting(a)                             ? DIVERT_SPREAD
                     : pst_unlikely(a->cfg.stream_of != NULL) ? CUT_SHARE
                                                              : 1;
    taken += appender_event_room(a);
    uint64_t room = ring_free(a->cfg.ring, taken + (uint64_t)share * APPENDER_ROOM_EXACT);
    return room > taken ? (room - taken) / share : 0;
}

bool appender_fits(struct appender *a, uint64_t bytes, bool reserve)
{
    uint64_t want = staged(a) + bytes + (reserve ? 0 : RING_RESERVE);
    return ring_free(a->cfg.ring, want) >= want;
}

/* ---- life ---- */

bool appender_init(struct appender *a, const struct appender_config *cfg, struct err *err)
{
    memset(a, 0, sizeof *a);
    a->cfg = *cfg;
    a->gap = schema_set_find(cfg->schemas, "gap");
    a->rows.undecoded = schema_set_find(cfg->schemas, "undecoded");
    if (!a->gap || !a->rows.undecoded)
        return err_set(err, -EINVAL, "appender: the tables gap and undecoded are not defined");
    a->stage = aligned_alloc(64, FRAME_MAX + STAGE_SLACK);
    a->syms = aligned_alloc(64, FRAME_MAX + STAGE_SLACK);
    a->small = aligned_alloc(64, FRAME_MAX + STAGE_SLACK);
    a->sources = calloc(1, sizeof *a->sources);
    if (cfg->stream_of)
        a->other = aligned_alloc(64, FRAME_MAX + STAGE_SLACK);
    if (!a->stage || !a->syms || !a->small || !a->sources || (cfg->stream_of && !a->other)) {
        appender_fini(a);
        return err_set(err, -ENOMEM, "appender: no memory for its staging frames");
    }
    memset(a->stage, 0, FRAME_MAX + STAGE_SLACK); /* faulted in */
    memset(a->syms, 0, FRAME_MAX + STAGE_SLACK);
    memset(a->small, 0, FRAME_MAX + STAGE_SLACK);
    if (a->other) {
        memset(a->other, 0, FRAME_MAX + STAGE_SLACK);
        a->rows.aside.base = a->rows.aside.at = a->other + FRAME_HEADER;
    }
    a->rows.ops = &appender_rows;
    a->rows.stream_of = cfg->stream_of;
    a->rows.owner = a;
    a->rows.base = a->stage + FRAME_HEADER;
    a->rows.limit = a->rows.base + ROWS_FRAME_TARGET;
    appender_days_start(a);
    stage_empty(&a->rows);
    a->max_new = cfg->max_new_symbols;
    a->last_time = a->now = cfg->last_time;
    a->tick_at = INT64_MIN;
    a->interval = (struct appender_intervals){.on = cfg->interval.on,
                                              .minute = cfg->interval.minute,
                                              .day = cfg->interval.day,
                                              .from = cfg->interval.from,
                                              .at = INT64_MAX};
    a->tsc_mult = load_relaxed(&cfg->clock->mult);
    return true;
}

void appender_fini(struct appender *a)
{
    free(a->stage);
    free(a->syms);
    free(a->small);
    free(a->sources);
    free(a->other);
    a->stage = a->syms = a->small = a->other = NULL;
    a->sources = NULL;
    for (unsigned i = 0; i < a->nsrc; i++)
        free(a->src[i].map);
    a->nsrc = 0;
}

bool appender_add_inject(struct appender *a, struct inject *q, uint16_t source,
                         const struct inject_options *opt, struct err *err)
{
    if (a->nsrc == APPENDER_SOURCES)
        return err_set(err, -E2BIG, "appender: more than %u inject rings", APPENDER_SOURCES);
    uint32_t max = opt->symbols ? opt->symbols : 1;
    uint32_t *map = malloc((size_t)max * sizeof *map);
    if (!map)
        return err_set(err, -ENOMEM, "appender: no memory for the symbol map of source %u", source);
    memset(map, 0xFF, (size_t)max * sizeof *map);
    a->src[a->nsrc++] = (struct appender_source){.q = q,
                                                 .id = source,
                                                 .lossless = opt->lossless,
                                                 .ends_days = opt->ends_days,
                                                 .sources = opt->sources,
                                                 .map = map,
                                                 .map_max = max,
                                                 .max_new = opt->max_new_symbols};
    return true;
}

void appender_flush(struct appender *a)
{
    appender_op_flush(&a->rows);
}

void appender_latency(struct appender *a, int64_t taken, int64_t rxtime)
{
    if (!a->published || a->cfg.clock->is_virtual)
        return;
    int64_t now = clock_now(a->cfg.clock);
    hist_add(&a->cfg.status->stage[STAGE_RX_APPEND], now - taken);
    hist_add(&a->cfg.status->stage[STAGE_NIC_APPEND], now - rxtime);
}
