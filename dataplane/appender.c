/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "core/tables.h"
#include "appender.h"
#include "batch.h"
#include "intervals.h"
#include "json_put.h"
#include "stream_cut.h"

#define STAGE_SLACK  128u
#define SOURCE_HEAD  64u   /* before a source's frame: room for the derived record */
#define ROOM_MARGIN  4096u /* frame and run headers of what is staged */
#define SYMBOL_FRAME (FRAME_HEADER + 16u)
#define CUT_SHARE    4u /* with streams: rows take at most that many times what was asked for */

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

static void put_symbols(struct appender *a)
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
                               .row = to.row};
    f = (struct frame *)((uint8_t *)f - sizeof d);
    head.length += (uint32_t)sizeof d;
    *f = head;
    memcpy(f + 1, &d, sizeof d);
    from->at = to;
    return f;
}

/* Pending symbols first: no id before its text. */
static void write_frame(struct appender *a, struct frame *f)
{
    put_symbols(a);
    if (pst_unlikely(a->from.on) && f->kind == FRAME_DATA)
        f = head_source(a, f);
    put_frame(a, f);
}

/* ---- buffering events ---- */

/* perf/bench_buffer measures what the question costs against a build that does not ask. */
#ifdef PST_NO_DIVERT
#define diverting(a) ((void)(a), false)
#else
#define diverting(a) pst_unlikely((a)->diverting)
#endif

/* One mark of an event, from its text; true: it stands in the journal at *position. */
static bool event_mark(struct appender *a, const struct divert_event *e, enum mark_type type,
                       const char *text, uint32_t len, const char *status, uint64_t *position)
{
    char json[DIVERT_TEXT + DIVERT_FACTS];
    len = divert_mark(e, text, len, status, json, sizeof json);
    struct frame *f = (struct frame *)a->small;
    if (!len || !frame_build_mark(f, type, json, len))
        return false;
    f->day = a->rows.min_day[0];
    write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    *position = f->position;
    return true;
}

static void start_event(struct appender *a, struct divert_event *e, uint64_t position)
{
    divert_start(a->cfg.divert, e, position);
    a->diverting = a->cfg.divert->nactive != 0;
}

static void event_over(struct appender *a, struct divert_event *e, uint64_t position)
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
    pst_must(event_mark(a, e, type, end ? e->end : e->text, end ? e->end_len : e->text_len, status,
                        &position));
    alarm_signal(a->cfg.status, ALARM_BUFFER_LIMIT);
    if (end)
        event_over(a, e, position);
}

static void write_part(void *arg, struct frame *f, uint32_t diverted)
{
    struct appender *a = arg;
    if (diverted)
        count_add(a->cfg.status, APPEND_DIVERTED, diverted);
    write_frame(a, f);
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
        write_frame(a, f);
}

/* What the marks of events may take in one frame, at most four of each: buffer_limit is 1 MiB at
 * least. */
pst_inline uint64_t event_room(const struct appender *a)
{
    return diverting(a) ? (uint64_t)a->cfg.divert->nactive * 4 *
                              (FRAME_HEADER + 16 + DIVERT_TEXT + DIVERT_FACTS)
                        : 0;
}

/* ---- rows ---- */

/* Rows that were checked: a frame for each stretch of one stream. */
static void write_data(struct appender *a, struct frame *f)
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

static void op_flush(struct rows *r)
{
    struct appender *a = r->owner;
    rows_close_run(r);
    if (!r->records && !r->aside.records) {
        put_symbols(a);
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
        write_data(a, f);
    stage_empty(r);
    a->published = true;
    count_add(a->cfg.status, APPEND_ROWS, r->rows_total - a->rows_counted);
    a->rows_counted = r->rows_total;
    if (pst_unlikely(r->rows_late_day != a->late_counted)) {
        count_add(a->cfg.status, APPEND_LATE_DAY, r->rows_late_day - a->late_counted);
        a->late_counted = r->rows_late_day;
    }
}

static void refuse_symbol(struct appender *a, bool full)
{
    count_add(a->cfg.status, SYMBOLS_REFUSED, 1);
    if (full)
        alarm_signal(a->cfg.status, ALARM_SYMBOLS_FULL);
}

/* A text that the table does not have yet, within a budget that the caller checked. */
static uint32_t intern_new(struct appender *a, const char *text, uint32_t len, uint32_t *new_today)
{
    uint32_t id;
    enum symbols_verdict v = symbols_intern(a->cfg.symbols, text, len, &id);
    if (v == SYMBOLS_OLD)
        return id;
    if (v != SYMBOLS_NEW) {
        refuse_symbol(a, v == SYMBOLS_FULL);
        return SYMBOL_REFUSED;
    }
    if (!a->nsyms)
        frame_symbol_begin(a->syms, id);
    if (pst_unlikely(!frame_symbol_add(a->syms, text, len))) {
        put_symbols(a);
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
        refuse_symbol(a, true);
        return SYMBOL_REFUSED;
    }
    return intern_new(a, text, len, &a->new_today);
}

static uint16_t clamp_day(const struct appender *a, unsigned calendar, uint16_t day)
{
    uint16_t open = a->rows.min_day[calendar];
    return day < open ? open : day;
}

static void op_gap(struct rows *r, const struct gap *g)
{
    struct appender *a = r->owner;
    const struct schema *s = a->gap;
    op_flush(r);
    uint32_t reason = op_intern(r, g->reason, (uint32_t)strlen(g->reason));
    struct frame *f = (struct frame *)a->small;
    uint32_t bytes = batch_gap_record(a->small + FRAME_HEADER, s, g, reason);
    *f = (struct frame){
        .length = FRAME_HEADER + bytes,
        .kind = FRAME_GAP,
        .stream = STREAM_EVERY,
        .count = 1,
        .day = clamp_day(a, r->gap_calendar, g->day),
    };
    count_add(a->cfg.status, APPEND_LATE_DAY, f->day != g->day);
    write_frame(a, f);
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

static const struct rows_ops appender_rows = {op_flush, op_intern, op_gap, op_mark, op_room};

/* ---- room ---- */

/* Bytes that flushing now would take. */
static uint64_t staged(const struct appender *a)
{
    const struct rows *r = &a->rows;
    uint64_t n = r->records ? (uint64_t)(r->at - a->stage) : 0;
    if (pst_unlikely(r->aside.records))
        n += (uint64_t)(r->aside.at - a->other);
    if (diverting(a)) /* cut at each row: by mask, stream or both */
        n = n * DIVERT_SPREAD + event_room(a);
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
    taken += event_room(a);
    uint64_t room = ring_free(a->cfg.ring, taken + (uint64_t)share * APPENDER_ROOM_EXACT);
    return room > taken ? (room - taken) / share : 0;
}

static bool fits(struct appender *a, uint64_t bytes, bool reserve)
{
    uint64_t want = staged(a) + bytes + (reserve ? 0 : RING_RESERVE);
    return ring_free(a->cfg.ring, want) >= want;
}

/* ---- dates ---- */

static unsigned calendar_of(const struct appender *a, unsigned table)
{
    return a->cfg.owners ? a->cfg.owners->calendar[table] : 0;
}

static void days_changed(struct appender *a)
{
    const uint16_t *open = a->rows.min_day;
    a->spread = false;
    a->latest_open = open[0];
    a->latest_from = INT64_MIN;
    for (unsigned c = 0; c < a->calendars; c++) {
        a->spread |= open[c] != open[0] || a->calendar[c].newest != open[c];
        if (open[c] > a->latest_open)
            a->latest_open = open[c];
        if (a->calendar[c].from > a->latest_from)
            a->latest_from = a->calendar[c].from;
        store_relaxed(&a->days.open[c], open[c]);
        store_relaxed(&a->days.newest[c], a->calendar[c].newest);
    }
    store_relaxed(&a->days.version, load_relaxed(&a->days.version) + 1);
}

static void days_start(struct appender *a)
{
    const struct appender_config *cfg = &a->cfg;
    a->calendars = cfg->owners ? cfg->owners->n : 1;
    pst_must(a->calendars >= 1 && a->calendars <= DAYS_CALENDARS);
    for (unsigned c = 0; c < a->calendars; c++) {
        uint16_t day = cfg->owners ? cfg->open[c].day : cfg->open_day;
        a->rows.min_day[c] = day;
        a->calendar[c] = (struct appender_calendar){
            .from = cfg->owners ? cfg->open[c].from : INT64_MIN, .turn = INT64_MAX, .newest = day};
    }
    a->rows.undecoded_calendar = (uint8_t)calendar_of(a, a->rows.undecoded->id);
    a->rows.gap_calendar = (uint8_t)calendar_of(a, a->gap->id);
    days_changed(a);
}

/* The date's end is reached: from here on both are open. */
static void turn_day(struct appender *a, const struct due_item *d)
{
    struct appender_calendar *k = &a->calendar[d->calendar];
    k->newest = d->next_day ? d->next_day : (uint16_t)(d->day + 1);
    k->turn = d->at;
    days_changed(a);
}

/* Its eod mark is written. ends: the instant at which the date ended (or will have). */
static void end_day(struct appender *a, unsigned c, uint16_t next, int64_t ends)
{
    struct appender_calendar *k = &a->calendar[c];
    if (next > a->rows.min_day[c])
        a->rows.min_day[c] = next;
    if (k->newest <= a->rows.min_day[c]) {
        k->newest = a->rows.min_day[c];
        k->turn = INT64_MAX;
    }
    k->from = ends;
    days_changed(a);
    if (c == 0) {
        a->new_today = 0;
        for (unsigned i = 0; i < a->nsrc; i++)
            a->src[i].new_today = 0;
    }
    appender_want_states(a);
}

/* {"calendars":{"default":9823,"tokyo":9822}}: the earliest open dates, for recovery */
static void say_calendars(struct appender *a)
{
    char text[DAYS_CALENDARS * (DAYS_NAME + 16) + 32];
    struct json_put j;
    json_put_start(&j, text, sizeof text);
    json_put_lit(&j, "{\"calendars\":{");
    for (unsigned c = 0; c < a->calendars; c++) {
        const char *name = a->cfg.owners->name[c];
        if (c)
            json_put_lit(&j, ",");
        json_put_text(&j, name, strlen(name));
        json_put_lit(&j, ":");
        json_put_u64(&j, a->rows.min_day[c]);
    }
    json_put_lit(&j, "}}");
    pst_must(!j.full);
    a->calendars_said =
        appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]);
}

/* {"buffer":{…}}: an active event as its start mark has it, for recovery and whoever begins at a
 * later file. */
static bool say_events(struct appender *a)
{
    struct divert *d = a->cfg.divert;
    char start[DIVERT_TEXT + DIVERT_FACTS], text[sizeof start + 16];
    for (unsigned i = 0; d && i < DIVERT_EVENTS; i++) {
        const struct divert_event *e = &d->event[i];
        enum divert_state state = divert_state(e);
        if (state != DIVERT_ACTIVE && state != DIVERT_PASSING)
            continue;
        uint32_t n =
            divert_mark(e, e->text, e->text_len, state == DIVERT_ACTIVE ? "active" : "passthrough",
                        start, sizeof start);
        struct json_put j;
        json_put_start(&j, text, sizeof text);
        json_put_lit(&j, "{\"buffer\":");
        json_put_raw(&j, start, n);
        json_put_lit(&j, "}");
        pst_must(n && !j.full);
        if (!appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]))
            return false;
    }
    return true;
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
    days_start(a);
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
    op_flush(&a->rows);
}

void appender_latency(struct appender *a, int64_t taken, int64_t rxtime)
{
    if (!a->published || a->cfg.clock->is_virtual)
        return;
    int64_t now = clock_now(a->cfg.clock);
    hist_add(&a->cfg.status->stage[STAGE_RX_APPEND], now - taken);
    hist_add(&a->cfg.status->stage[STAGE_NIC_APPEND], now - rxtime);
}

/* ---- marks ---- */

bool appender_mark(struct appender *a, enum mark_type type, const char *json, uint32_t len,
                   uint16_t day)
{
    if (!fits(a, pst_align8(FRAME_HEADER + 8 + (uint64_t)len), true))
        return false;
    op_flush(&a->rows);
    struct frame *f = (struct frame *)a->small;
    if (!frame_build_mark(f, type, json, len))
        return false;
    f->day = day;
    write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    return true;
}

bool appender_schema(struct appender *a, const char *json, uint32_t len)
{
    if (!fits(a, pst_align8(FRAME_HEADER + 8 + (uint64_t)len), false))
        return false;
    op_flush(&a->rows);
    struct frame *f = (struct frame *)a->small;
    if (!frame_build_schema(f, json, len))
        return false;
    f->day = a->rows.min_day[0];
    write_frame(a, f);
    return true;
}

/* One entry: marks written, -1 = no room yet. The mark's time is its instant where the journal
 * allows it, so that a replay that jumps over a night still says when the day ended. */
static int due_write(struct appender *a, const struct due_item *d)
{
    bool eod = d->kind == DUE_EOD;
    if (d->kind == DUE_INTERVALS) {
        interval_series(a, d);
        return 0;
    }
    if (d->kind == DUE_STATE) {
        appender_want_states(a);
        return 0;
    }
    if (eod || d->kind == DUE_TURN) {
        if (d->calendar >= a->calendars || d->day < a->rows.min_day[d->calendar])
            return 0; /* it was ended by hand */
        if (!interval_last(a, d))
            return -1;
        if (!eod) {
            turn_day(a, d);
            return 0;
        }
    }
    int64_t now = a->now;
    a->now = d->at;
    bool done = appender_mark(a, eod ? MARK_EOD : MARK_EOI, d->json, d->json_len,
                              eod ? d->day : a->rows.min_day[0]);
    a->now = now;
    if (done && eod)
        end_day(a, d->calendar, d->next_day ? d->next_day : (uint16_t)(d->day + 1),
                d->ends ? d->ends : d->at);
    return done ? 1 : -1;
}

static int64_t wall_minus_tsc(const struct appender *a)
{
    const struct clock *c = a->cfg.clock;
    if (c->is_virtual || !c->use_tsc)
        return 0;
    uint64_t t = clock_ticks();
    return clock_from_ticks(c, t) -
           (int64_t)((unsigned __int128)t * (unsigned __int128)a->tsc_mult >> 32);
}

/* Those that moved since the last full states, or full states when they are many. */
static void tick_sources(struct appender *a, struct json_put *j)
{
    uint32_t at = 0;
    if (a->sources->moved > SOURCES_TICK && !a->states)
        appender_want_states(a);
    json_put_lit(j, ",\"sources\":[");
    sources_say(a->sources, a->cfg.symbols, j, &at, true, 8);
    json_put_lit(j, "]");
}

/* {"sources":[…]}: where each stands, for recovery */
static void say_sources(struct appender *a)
{
    char *text = (char *)a->small + FRAME_MAX / 2; /* the frame is built in the first half */
    for (uint32_t at = 0; at < load_relaxed(&a->sources->n);) {
        struct json_put j;
        json_put_start(&j, text, FRAME_MAX / 4);
        json_put_lit(&j, "{\"sources\":[");
        sources_say(a->sources, a->cfg.symbols, &j, &at, false, 8);
        json_put_lit(&j, "]}");
        pst_must(!j.full);
        if (!appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]))
            return;
    }
    a->sources_stated = true;
    sources_said(a->sources);
}

/* {"durable":N,"wall_minus_tsc":N,"facts":N,"next":[["feed","session",N],…],"sources":[…]} */
static bool tick(struct appender *a)
{
    struct json_put j;
    op_flush(&a->rows); /* a pending symbol frame is a fact below this tick */
    char *text = (char *)a->small + FRAME_MAX / 2; /* the frame is built in the first half */
    json_put_start(&j, text, FRAME_MAX / 2 - 2 * FRAME_HEADER);
    json_put_lit(&j, "{\"durable\":");
    json_put_u64(&j, load_acquire(&a->cfg.ring->head->durable));
    json_put_lit(&j, ",\"wall_minus_tsc\":");
    json_put_i64(&j, wall_minus_tsc(a));
    json_put_lit(&j, ",\"facts\":");
    json_put_u64(&j, a->facts);
    json_put_lit(&j, ",\"next\":[");
    const struct appender_hooks *h = &a->cfg.hooks;
    const char *feed, *session;
    uint64_t next;
    int got;
    bool any = false;
    for (unsigned i = 0; h->sessions && (got = h->sessions(h->arg, i, &feed, &session, &next)) >= 0;
         i++) {
        if (!got)
            continue;
        if (any)
            json_put_lit(&j, ",");
        any = true;
        json_put_lit(&j, "[");
        json_put_text(&j, feed, strlen(feed));
        json_put_lit(&j, ",");
        json_put_text(&j, session, strlen(session));
        json_put_lit(&j, ",");
        json_put_u64(&j, next);
        json_put_lit(&j, "]");
    }
    json_put_lit(&j, "]");
    if (pst_unlikely(a->cfg.divert && a->cfg.divert->events))
        divert_say(a->cfg.divert, &j);
    if (pst_unlikely(a->sources->moved))
        tick_sources(a, &j);
    json_put_lit(&j, "}");
    uint32_t len = (uint32_t)(j.at - text);
    if (j.full || !fits(a, pst_align8(FRAME_HEADER + 8 + len), false))
        return false; /* at its reserve the ring is kept for marks that cannot wait */
    struct frame *f = (struct frame *)a->small;
    frame_build_mark(f, MARK_TICK, text, len);
    f->day = a->rows.min_day[0];
    write_frame(a, f);
    a->facts--; /* ticks are no facts */
    count_add(a->cfg.status, APPEND_MARKS, 1);
    return true;
}

void appender_want_states(struct appender *a)
{
    a->states = 2;
    a->calendars_said = a->sources_stated = false;
}

int appender_ends(struct appender *a)
{
    int n = 0;
    while (a->cfg.due) {
        const struct due_item *d = due_next(a->cfg.due, a->now);
        int64_t limit = d && d->at < a->now ? d->at : a->now;
        if (pst_unlikely(a->interval.at <= limit)) {
            if (!interval_step(a, limit))
                return n;
            n++;
            continue;
        }
        if (pst_likely(!d))
            return n;
        int wrote = due_write(a, d);
        if (wrote < 0)
            return n; /* comes again */
        due_pass(a->cfg.due, d);
        n += wrote;
    }
    return n;
}

int appender_due(struct appender *a)
{
    int n = appender_ends(a);
    if (pst_unlikely(a->now >= a->tick_at)) {
        a->tick_at = a->now - a->now % APPENDER_TICK + APPENDER_TICK;
        if (a->cfg.ticks)
            n += tick(a);
        if (!a->states)
            a->states = 1;
    }
    return n;
}

void appender_states(struct appender *a)
{
    if (pst_likely(!a->states) || appender_room(a) < APPENDER_STATE_ROOM)
        return;
    if (a->states == 2 && !a->calendars_said) {
        a->calendars_said = say_events(a);
        if (a->cfg.owners && a->calendars_said)
            say_calendars(a);
    }
    if (a->states == 2 && !a->sources_stated)
        say_sources(a);
    if (!a->cfg.hooks.states || !a->cfg.hooks.states(a->cfg.hooks.arg, &a->rows, a->states == 2))
        a->states = 0;
}

bool appender_end(struct appender *a, const char *reason)
{
    char text[256];
    struct json_put j;
    json_put_start(&j, text, sizeof text);
    json_put_lit(&j, "{\"reason\":");
    json_put_text(&j, reason, strlen(reason) > 100 ? 100 : strlen(reason));
    json_put_lit(&j, "}");
    return appender_mark(a, MARK_END, text, (uint32_t)(j.at - text), a->rows.min_day[0]);
}

/* ---- inject rings ---- */

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
                id = intern_new(a, text, *p, &s->new_today);
            } else {
                refuse_symbol(a, true);
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
            refuse_symbol(a, true);
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
    unsigned c = calendar_of(a, r->table);
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
    uint16_t open = a->rows.min_day[calendar_of(a, ((const struct record *)(p + 1))->table)];
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
        write_data(a, f);
        return;
    }
    for (uint32_t records = 0; at < end;) {
        struct record *r = (struct record *)at;
        struct packet_record *p = (struct packet_record *)r;
        uint16_t day = runs ? run_day(a, p, wish, &late) : row_day(a, r, wish, &late);
        if (records && day != f->day) {
            f->length = (uint32_t)(at - (uint8_t *)f);
            f->count = (uint16_t)records;
            write_data(a, f);
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
    write_data(a, f);
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
    write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    end_day(a, c, (uint16_t)(b->day + 1), b->time);
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
    if (!event_mark(a, e, type, json, len - 1, start ? "started" : "complete", &position))
        return INJECT_MALFORMED;
    if (start)
        start_event(a, e, position);
    else
        event_over(a, e, position);
    return INJECT_ACCEPTED;
}

bool appender_resume_event(struct appender *a, struct divert_event *e)
{
    uint64_t position;
    if (!fits(a, FRAME_HEADER + 16 + DIVERT_TEXT + DIVERT_FACTS, true))
        return false;
    op_flush(&a->rows);
    if (!event_mark(a, e, MARK_BUFFER_START, e->text, e->text_len,
                    e->passing ? "passthrough" : "resumed", &position))
        return false;
    start_event(a, e, position);
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
        write_frame(a, f);
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
        refuse_symbol(a, true);
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
    write_frame(a, f);
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
        .day = clamp_day(a, b->kind == FRAME_GAP ? a->rows.gap_calendar : 0, b->day),
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
    uint64_t need = bytes + SYMBOL_FRAME + bytes / 16 * each + event_room(a);
    if (b.kind == FRAME_MARK) /* an eod mark takes an eoi mark with it; one of an event facts */
        need += FRAME_HEADER + 8 + INTERVAL_JSON + DIVERT_FACTS;
    if (pst_unlikely(!fits(a, need, reserve))) {
        if (!a->full)
            alarm_signal(st, ALARM_RING_FULL);
        a->full = true;
        return false;
    }
    a->full = false;
    enum inject_refusal why = take_batch(a, s, &b, (const uint8_t *)(offered + 1));
    put_symbols(a); /* those of a batch that was refused after all, too */
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
            op_flush(&a->rows); /* the staging frame is used for batches */
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
