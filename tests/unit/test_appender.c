/* SPDX-License-Identifier: Apache-2.0 */
/* The appender: frames, symbols, gaps, marks, days, room, and what it refuses from inject rings. */
#include "journal_kit.h"
#include <jansson.h>

static uint64_t counter(struct kit *k, enum counter c)
{
    return load_relaxed(&k->status->counter[c]);
}

/* ---- its own rows ---- */

static void test_rows_become_one_frame_with_symbols_first(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    kit_run(r, 41, 0, KIT_DAY);
    for (int i = 0; i < 10; i++)
        kit_quote_row(k, r, i % 2 ? "AAPL" : "MSFT", i);
    assert_null(kit_next(k)); /* nothing before the flush */
    appender_flush(&k->app);
    const struct frame *f = kit_next(k);
    assert_int_equal(f->kind, FRAME_SYMBOL);
    assert_int_equal(k->read_symbols, 5);
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_DATA);
    assert_int_equal(f->count, 11);
    assert_int_equal(f->day, KIT_DAY);
    assert_int_equal(f->source, 0);
    struct record_walk w;
    record_walk_start(&w, f);
    for (int i = 0; i < 10; i++) {
        const struct record *row = record_walk_next(&w);
        assert_non_null(row);
        assert_int_equal(record_walk_seq(&w), 41 + i);
    }
    assert_null(record_walk_next(&w));
    assert_null(kit_next(k));
    appender_flush(&k->app); /* nothing staged: nothing written */
    assert_null(kit_next(k));
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 10);
    assert_int_equal(counter(k, COUNTER_APPEND_FRAMES), 2);
    assert_int_equal(counter(k, COUNTER_SYMBOLS_NEW), 5);
    kit_free(k);
}

static void test_frames_end_at_target_and_at_day_change(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    kit_run(r, 1, 0, KIT_DAY);
    for (int i = 0; i < 5000; i++)
        kit_quote_row(k, r, "X", i);
    kit_run(r, 1, 0, KIT_DAY + 1);
    kit_quote_row(k, r, "X", 1);
    appender_flush(&k->app);
    uint64_t seq = 1, rows = 0;
    const struct frame *f;
    unsigned days[2] = {0, 0};
    while ((f = kit_next(k)))
        if (f->kind == FRAME_DATA) {
            assert_true(f->length <= ROWS_FRAME_TARGET + FRAME_HEADER);
            days[f->day - KIT_DAY]++;
            struct record_walk w;
            record_walk_start(&w, f);
            while (record_walk_next(&w)) {
                assert_int_equal(record_walk_seq(&w), f->day == KIT_DAY ? (int64_t)seq++ : 1);
                rows++;
            }
        }
    assert_int_equal(rows, 5001);
    assert_true(days[0] >= 2);
    assert_int_equal(days[1], 1);
    kit_free(k);
}

static void test_largest_record(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    static uint8_t bytes[70000];
    memset(bytes, 0xAB, sizeof bytes);
    kit_run(r, 1, 0, KIT_DAY);
    for (int i = 0; i < 4; i++)
        assert_true(rows_undecoded(r, 'x', PST_NULL_SYMBOL, bytes, sizeof bytes) < sizeof bytes);
    appender_flush(&k->app);
    unsigned n = 0;
    const struct frame *f;
    while ((f = kit_next(k)))
        n += f->kind == FRAME_DATA;
    assert_int_equal(n, 4);
    kit_free(k);
}

static void test_symbol_limit_and_new_day(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 3);
    struct rows *r = &k->app.rows;
    assert_int_equal(rows_symbol(r, "a", 1), 0);
    assert_int_equal(rows_symbol(r, "b", 1), 1);
    assert_int_equal(rows_symbol(r, "c", 1), 2);
    assert_int_equal(rows_symbol(r, "d", 1), SYMBOL_REFUSED);
    assert_int_equal(rows_symbol(r, "b", 1), 1); /* known ones go on */
    assert_int_equal(rows_symbol(r, "", 0), PST_NULL_SYMBOL);
    assert_int_equal(counter(k, COUNTER_SYMBOLS_REFUSED), 1);
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_SYMBOLS_FULL]), 1);
    struct due_item d = {
        .id = 1, .at = k->app.now, .kind = DUE_EOD, .day = KIT_DAY, .json_len = 2, .json = "{}"};
    assert_true(due_publish(&k->due, &d, 1, NULL));
    assert_int_equal(appender_due(&k->app), 1);
    assert_int_equal(rows_symbol(r, "d", 1), 3);
    assert_int_equal(rows_symbol(r, "e\0f", 3), SYMBOL_REFUSED); /* NUL inside */
    appender_flush(&k->app);
    while (kit_next(k))
        ;
    assert_int_equal(k->read_symbols, 4);
    kit_free(k);
}

static void test_table_full(void **state)
{
    (void)state;
    struct kit *k = kit_new(16, UINT32_MAX);
    char t[8];
    for (unsigned i = 0; i < 20; i++) {
        uint32_t len = (uint32_t)snprintf(t, sizeof t, "s%u", i);
        assert_int_equal(rows_symbol(&k->app.rows, t, len), i < 16 ? i : SYMBOL_REFUSED);
    }
    assert_int_equal(counter(k, COUNTER_SYMBOLS_REFUSED), 4);
    kit_free(k);
}

static void test_gap_follows_rows(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    kit_run(r, 1, 0, KIT_DAY);
    kit_quote_row(k, r, "X", 1);
    struct gap g = {.feed = rows_symbol(r, "itch", 4),
                    .session = rows_symbol(r, "S1", 2),
                    .first = 2,
                    .last = 9,
                    .reason = "lost",
                    .lines = "A lost, B lost",
                    .time = 4711,
                    .day = KIT_DAY};
    r->ops->gap(r, &g);
    assert_int_equal(kit_next(k)->kind, FRAME_SYMBOL);
    assert_int_equal(kit_next(k)->kind, FRAME_DATA);
    assert_int_equal(kit_next(k)->kind, FRAME_SYMBOL); /* "lost" */
    const struct frame *f = kit_next(k);
    assert_int_equal(f->kind, FRAME_GAP);
    assert_int_equal(f->stream, STREAM_EVERY);
    struct record_walk w;
    record_walk_start(&w, f);
    const struct record *row = record_walk_next(&w);
    assert_int_equal(row->table, k->gap->id);
    assert_int_equal(row->time, 4711);
    assert_int_equal(le64((const uint8_t *)row + k->gap->col[GAP_FIRST].offset), 2);
    assert_int_equal(le64((const uint8_t *)row + k->gap->col[GAP_LAST].offset), 9);
    uint32_t n = 0;
    const char *t = record_string(row, k->gap->col[GAP_LINES].offset, &n);
    assert_int_equal(n, 14);
    assert_memory_equal(t, "A lost, B lost", 14);
    t = symbols_text(&k->symbols, le32((const uint8_t *)row + k->gap->col[GAP_REASON].offset), &n);
    assert_int_equal(n, 4);
    assert_memory_equal(t, "lost", 4);
    assert_int_equal(counter(k, COUNTER_APPEND_GAPS), 1);
    kit_free(k);
}

static void test_time_never_goes_back(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    int64_t t0 = k->app.now;
    appender_mark(&k->app, MARK_OPERATOR, "{}", 2, KIT_DAY);
    appender_begin(&k->app, t0 - 50);
    appender_mark(&k->app, MARK_OPERATOR, "{}", 2, KIT_DAY);
    assert_true(kit_next(k)->time == t0);
    assert_true(kit_next(k)->time == t0);
    kit_free(k);
}

/* ---- due instants ---- */

static void test_end_of_day_falls_in_place(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    int64_t eod = (KIT_DAY + 1) * NS_PER_DAY;
    struct due_item d[3] = {{.id = 9, .at = eod + 5, .kind = DUE_EOI, .json_len = 2, .json = "{}"},
                            {.id = 8,
                             .at = eod,
                             .kind = DUE_EOD,
                             .day = KIT_DAY,
                             .next_day = KIT_DAY + 3,
                             .json_len = 7,
                             .json = "{\"d\":1}"},
                            {.id = 7, .at = eod - 5, .kind = DUE_EOI, .json_len = 2, .json = "{}"}};
    struct err e;
    assert_true(due_publish(&k->due, d, 3, &e));
    assert_false(due_publish(&k->due, d, 3, &e)); /* not taken up yet */
    assert_int_equal(e.code, -EAGAIN);
    kit_at(k, eod - 6);
    assert_int_equal(appender_due(&k->app), 0);
    kit_run(r, 1, 0, KIT_DAY);
    kit_quote_row(k, r, "X", 1);
    appender_flush(&k->app);
    /* a new list that repeats what is about to pass */
    kit_at(k, eod - 1);
    assert_int_equal(appender_due(&k->app), 1);
    assert_true(due_done(&k->due, 7));
    assert_false(due_done(&k->due, 8));
    assert_true(due_publish(&k->due, d, 3, &e));
    kit_at(k, eod + 100);
    assert_int_equal(appender_due(&k->app), 2);
    assert_int_equal(appender_due(&k->app), 0);
    assert_true(due_done(&k->due, 8) && due_done(&k->due, 9));
    assert_int_equal(load_relaxed(&k->app.days.open[0]), KIT_DAY + 3);
    kit_run(r, 2, 0, KIT_DAY); /* a late one */
    kit_quote_row(k, r, "X", 2);
    appender_flush(&k->app);

    const struct frame *f;
    unsigned type = 0;
    uint32_t n = 0;
    assert_int_equal(kit_next(k)->kind, FRAME_SYMBOL);
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_DATA);
    assert_int_equal(f->day, KIT_DAY);
    f = kit_next(k);
    frame_mark(f, &type, &n);
    assert_int_equal(type, MARK_EOI);
    assert_true(f->time == eod - 5);
    f = kit_next(k);
    assert_memory_equal(frame_mark(f, &type, &n), "{\"d\":1}", 7);
    assert_int_equal(type, MARK_EOD);
    assert_int_equal(f->day, KIT_DAY);
    assert_true(f->time == eod);
    f = kit_next(k);
    frame_mark(f, &type, &n);
    assert_int_equal(type, MARK_EOI);
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_DATA);
    assert_int_equal(f->day, KIT_DAY + 3);
    struct record_walk w;
    record_walk_start(&w, f);
    record_walk_next(&w);
    assert_true(w.packet->flags & ROW_LATE_DAY);
    assert_null(kit_next(k));
    kit_free(k);
}

static int two_sessions(void *arg, unsigned i, const char **feed, const char **session,
                        uint64_t *next)
{
    (void)arg;
    *feed = "itch";
    *session = i == 0 ? "S\"1\x80" : "-";
    *next = 1000 + i;
    return i == 1 ? 0 : i == 2 ? 1 : i > 2 ? -1 : 1;
}

static unsigned states_calls[2];
static bool count_states(void *arg, struct rows *rows, bool all)
{
    (void)arg;
    (void)rows;
    states_calls[all]++;
    return states_calls[1] == 1; /* the first full call is not done */
}

static void test_ticks_and_states(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    k->app.cfg.ticks = true;
    k->app.cfg.hooks = (struct appender_hooks){NULL, count_states, two_sessions};
    memset(states_calls, 0, sizeof states_calls);
    appender_want_states(&k->app);
    assert_int_equal(appender_due(&k->app), 1);
    appender_states(&k->app);
    assert_int_equal(states_calls[1], 1);
    kit_drain(k);
    appender_due(&k->app);
    appender_states(&k->app);
    assert_int_equal(states_calls[1], 2);
    appender_due(&k->app);
    appender_states(&k->app);
    assert_int_equal(states_calls[1], 2);
    kit_at(k, k->app.now + APPENDER_TICK - 1);
    assert_int_equal(appender_due(&k->app), 0);
    appender_states(&k->app);
    kit_at(k, k->app.now + 1);
    assert_int_equal(appender_due(&k->app), 1);
    appender_states(&k->app);
    assert_int_equal(states_calls[0], 1);
    const struct frame *f = kit_next(k);
    f = kit_next(k);
    unsigned type = 0;
    uint32_t n = 0;
    const char *t = frame_mark(f, &type, &n);
    assert_int_equal(type, MARK_TICK);
    json_t *o = json_loadb(t, n, 0, NULL);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_object_get(o, "durable")),
                     KIT_START + (k->ring.head->durable - KIT_START));
    json_t *next = json_object_get(o, "next");
    assert_int_equal(json_array_size(next), 2);
    assert_string_equal(json_string_value(json_array_get(json_array_get(next, 0), 1)),
                        "S\"1\xc2\x80");
    assert_int_equal(json_integer_value(json_array_get(json_array_get(next, 1), 2)), 1002);
    json_decref(o);
    kit_free(k);
}

/* ---- room ---- */

static void test_data_leaves_the_reserve_to_marks(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    k->app.cfg.ticks = true;
    struct rows *r = &k->app.rows;
    uint64_t room;
    kit_run(r, 1, 0, KIT_DAY);
    while ((room = rows_room(r)) >= 4096)
        kit_quote_row(k, r, "X", 1);
    appender_flush(&k->app);
    uint64_t left = ring_free(&k->ring, UINT64_MAX);
    assert_true(left >= RING_RESERVE && left < RING_RESERVE + 16384);
    kit_at(k, k->app.now + APPENDER_TICK);
    static char json[RING_RESERVE / 4];
    memset(json, ' ', sizeof json);
    struct due_item d = {
        .id = 3, .at = k->app.now, .kind = DUE_EOD, .day = KIT_DAY, .json_len = 2, .json = "{}"};
    assert_true(due_publish(&k->due, &d, 1, NULL));
    assert_true(appender_due(&k->app) >= 1); /* the end of day is written, */
    assert_true(due_done(&k->due, 3));
    unsigned marks = 0;
    while (appender_mark(&k->app, MARK_OPERATOR, json, sizeof json, KIT_DAY))
        marks++;
    assert_true(marks >= 3 && marks <= 5); /* and marks go on to the very end, never beyond */
    assert_true(ring_tail(&k->ring) <= k->ring.head->guard + ring_size(&k->ring));
    struct due_item d2 = {.id = 4, .at = k->app.now, .kind = DUE_EOI, .json_len = DUE_JSON};
    memset(d2.json, ' ', DUE_JSON);
    while (appender_mark(&k->app, MARK_OPERATOR, "{}", 2, KIT_DAY))
        ;
    assert_true(due_publish(&k->due, &d2, 1, NULL));
    appender_due(&k->app);
    assert_false(due_done(&k->due, 4)); /* no room: it stays due */
    while (kit_next(k))
        ;
    kit_drain(k);
    appender_due(&k->app);
    assert_true(due_done(&k->due, 4));
    kit_free(k);
}

/* ---- inject rings ---- */

struct source {
    struct inject q;
    struct inject_rows w;
};

static void add_source(struct kit *k, struct source *s, uint16_t id, uint32_t max_new,
                       bool lossless)
{
    struct err e;
    assert_true(inject_create(&s->q, INJECT_MIN, &e));
    struct inject_options o = {max_new, 1024, lossless};
    assert_true(appender_add_inject(&k->app, &s->q, id, &o, &e));
    struct inject_rows_config c = {&s->q, &k->symbols, k->schemas, k->status,
                                   1024,  UINT32_MAX,  KIT_DAY};
    assert_true(inject_rows_init(&s->w, &c, &e));
}
static void drop_source(struct source *s)
{
    inject_rows_fini(&s->w);
    inject_destroy(&s->q);
}

static uint32_t sym_at(const struct frame *f, unsigned row, uint32_t *table)
{
    struct record_walk w;
    record_walk_start(&w, f);
    const struct record *r = NULL;
    for (unsigned i = 0; i <= row; i++)
        r = record_walk_next(&w);
    assert_non_null(r);
    *table = r->table;
    return r->sym;
}

static void assert_text(struct kit *k, uint32_t id, const char *want)
{
    uint32_t n = 0;
    const char *t = symbols_text(&k->symbols, id, &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(t, want, n);
}

static void test_two_sources_share_symbols(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a, b;
    add_source(k, &a, 1, 100, false);
    add_source(k, &b, 2, 100, true);
    rows_symbol(&k->app.rows, "zero", 4); /* global 0 is something else */
    kit_trade_row(k, &a.w, "IBM", "first", 0);
    kit_trade_row(k, &a.w, "GE", "", 0);
    uint64_t ta = inject_rows_flush(&a.w);
    kit_run(&b.w.rows, 5, 0, KIT_DAY);
    kit_quote_row(k, &b.w.rows, "GE", 1);
    kit_quote_row(k, &b.w.rows, "IBM", 1);
    uint64_t tb = inject_rows_flush(&b.w), pos;
    assert_false(inject_taken(&a.q, ta, &pos));
    assert_int_equal(appender_take(&k->app, 10), 2);
    assert_true(inject_taken(&a.q, ta, &pos));
    assert_true(inject_taken(&b.q, tb, &pos));
    assert_true(pos == ring_tail(&k->ring));
    assert_int_equal(inject_verdict(&a.q, ta), INJECT_ACCEPTED);
    uint32_t table;
    const struct frame *f = kit_find(k, FRAME_DATA);
    assert_int_equal(f->source, 1);
    assert_int_equal(f->day, KIT_DAY);
    assert_text(k, sym_at(f, 0, &table), "IBM");
    assert_int_equal(table, k->trade->id);
    f = kit_find(k, FRAME_DATA);
    assert_int_equal(f->source, 2);
    assert_text(k, sym_at(f, 0, &table), "GE");
    assert_text(k, sym_at(f, 1, &table), "IBM");
    assert_int_equal(table, k->quote->id);
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 4);
    assert_int_equal(counter(k, COUNTER_APPEND_BATCHES), 2);
    drop_source(&a);
    drop_source(&b);
    kit_free(k);
}

/* A batch of texts alone: {u8 length, text}..., padded. */
static uint64_t offer_texts(struct inject *q, const char *const *text, unsigned n, uint32_t flags)
{
    uint8_t buf[512] pst_aligned(8) = {0};
    struct inject_batch *b = (void *)buf;
    uint32_t at = sizeof *b;
    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(text[i]);
        buf[at] = (uint8_t)len;
        memcpy(buf + at + 1, text[i], len);
        at += 1 + (uint32_t)len;
    }
    *b = (struct inject_batch){.bytes = (uint32_t)pst_align8(at),
                               .kind = FRAME_SYMBOL,
                               .stream = STREAM_EVERY,
                               .new_syms = n,
                               .syms_bytes = (uint32_t)(pst_align8(at) - sizeof *b),
                               .flags = flags};
    memcpy(inject_reserve(q, b->bytes), buf, b->bytes);
    return inject_commit(q, b->bytes);
}

static void test_texts_alone(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 4);
    struct source a;
    uint64_t pos, t[4];
    add_source(k, &a, 1, 4, false);
    t[0] = offer_texts(&a.q, (const char *const[]){"b", "a"}, 2, INJECT_RESTART);
    t[1] = offer_texts(&a.q, (const char *const[]){"a", "c", "d", "e"}, 4, INJECT_RESTART);
    t[2] = offer_texts(&a.q, (const char *const[]){"a", "c", "d"}, 3, INJECT_RESTART);
    t[3] = offer_texts(&a.q, (const char *const[]){""}, 1, INJECT_RESTART);
    assert_int_equal(appender_take(&k->app, 10), 4);
    assert_true(inject_taken(&a.q, t[3], &pos));
    assert_int_equal(inject_verdict(&a.q, t[0]), INJECT_ACCEPTED);
    assert_int_equal(inject_verdict(&a.q, t[1]), INJECT_SYMBOLS_LIMIT); /* 5 of 4: none of it */
    assert_int_equal(inject_verdict(&a.q, t[2]), INJECT_ACCEPTED);
    assert_int_equal(inject_verdict(&a.q, t[3]), INJECT_MALFORMED);
    assert_int_equal(symbols_count(&k->symbols), 4);
    assert_true(pos == ring_tail(&k->ring));
    const struct frame *f = kit_find(k, FRAME_SYMBOL);
    assert_non_null(f);
    assert_int_equal(f->source, 1);
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 0);
    drop_source(&a);
    kit_free(k);
}

static void test_publisher_over_its_limit_is_refused_whole(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a;
    add_source(k, &a, 1, 2, false);
    uint64_t pos, t[4];
    kit_trade_row(k, &a.w, "A", "", 0);
    t[0] = inject_rows_flush(&a.w);
    kit_trade_row(k, &a.w, "B", "", 0);
    kit_trade_row(k, &a.w, "C", "", 0); /* B and C: one too many */
    t[1] = inject_rows_flush(&a.w);
    kit_trade_row(k, &a.w, "B", "", 0); /* in flight behind it, with a number that was refused */
    t[2] = inject_rows_flush(&a.w);
    kit_trade_row(k, &a.w, "A", "", 0);
    t[3] = inject_rows_flush(&a.w);
    assert_int_equal(appender_take(&k->app, 10), 4);
    assert_true(inject_taken(&a.q, t[3], &pos));
    assert_int_equal(inject_verdict(&a.q, t[0]), INJECT_ACCEPTED);
    assert_int_equal(inject_verdict(&a.q, t[1]), INJECT_SYMBOLS_LIMIT);
    assert_int_equal(inject_verdict(&a.q, t[2]), INJECT_SYMBOLS_LIMIT);
    assert_int_equal(inject_verdict(&a.q, t[3]), INJECT_ACCEPTED);
    assert_int_equal(symbols_count(&k->symbols), 1); /* nothing of it was interned */
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 2);
    inject_rows_restart(&a.w); /* what the owner must do */
    kit_trade_row(k, &a.w, "B", "", 0);
    t[0] = inject_rows_flush(&a.w);
    assert_int_equal(appender_take(&k->app, 10), 1);
    assert_int_equal(inject_verdict(&a.q, t[0]), INJECT_ACCEPTED);
    uint32_t table;
    kit_find(k, FRAME_DATA);
    kit_find(k, FRAME_DATA);
    assert_text(k, sym_at(kit_find(k, FRAME_DATA), 0, &table), "B");
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    drop_source(&a);
    kit_free(k);
}

static void test_lossless_source_keeps_the_row(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a;
    add_source(k, &a, 1, 3, true);     /* itch, S1, A */
    kit_run(&a.w.rows, 1, 0, KIT_DAY); /* three symbols */
    kit_quote_row(k, &a.w.rows, "A", 1);
    kit_quote_row(k, &a.w.rows, "B", 1);
    inject_rows_flush(&a.w);
    assert_int_equal(appender_take(&k->app, 10), 1);
    uint32_t table;
    const struct frame *f = kit_find(k, FRAME_DATA);
    assert_text(k, sym_at(f, 0, &table), "A");
    assert_int_equal(sym_at(f, 1, &table), PST_NULL_SYMBOL);
    assert_int_equal(counter(k, COUNTER_SYMBOLS_REFUSED), 1);
    drop_source(&a);
    kit_free(k);
}

static void test_late_day_and_marks_of_a_source(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a;
    add_source(k, &a, 3, 100, true);
    kit_run(&a.w.rows, 1, 0, KIT_DAY);
    kit_quote_row(k, &a.w.rows, "A", 1);
    inject_rows_flush(&a.w);
    struct gap g = {.feed = 0,
                    .session = 1,
                    .first = 2,
                    .last = 3,
                    .reason = "lost",
                    .time = 1,
                    .day = KIT_DAY};
    a.w.rows.ops->gap(&a.w.rows, &g);
    assert_true(inject_rows_mark(&a.w, MARK_OPERATOR, "{\"uid\":0}", 9));
    char *json = schema_to_json(k->trade);
    assert_true(inject_rows_schema(&a.w, json, (uint32_t)strlen(json)));
    struct due_item d = {
        .id = 1, .at = k->app.now, .kind = DUE_EOD, .day = KIT_DAY, .json_len = 2, .json = "{}"};
    assert_true(due_publish(&k->due, &d, 1, NULL));
    assert_int_equal(appender_due(&k->app), 1); /* the day ends before the batch is taken */
    assert_int_equal(appender_take(&k->app, 10), 4);
    const struct frame *f = kit_find(k, FRAME_DATA);
    assert_int_equal(f->day, KIT_DAY + 1);
    struct record_walk w;
    record_walk_start(&w, f);
    record_walk_next(&w);
    assert_true(w.packet->flags & ROW_LATE_DAY);
    f = kit_find(k, FRAME_GAP);
    assert_int_equal(f->source, 3);
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_MARK);
    unsigned type = 0;
    uint32_t n = 0;
    assert_memory_equal(frame_mark(f, &type, &n), "{\"uid\":0}", 9);
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_SCHEMA);
    struct schema s;
    const char *j = frame_schema_json(f, &n);
    assert_true(schema_from_json(&s, j, n, NULL));
    assert_true(schema_equal(&s, k->trade));
    free(json);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    drop_source(&a);
    kit_free(k);
}

static void test_full_ring_leaves_batches(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a;
    add_source(k, &a, 1, 100, false);
    static char note[60000];
    memset(note, 'n', sizeof note - 1);
    unsigned sent = 0, taken = 0;
    for (;;) {
        kit_trade_row(k, &a.w, "A", note, 0);
        inject_rows_flush(&a.w);
        sent++;
        int n = appender_take(&k->app, 1);
        taken += (unsigned)n;
        if (!n)
            break;
    }
    uint64_t left = ring_free(&k->ring, UINT64_MAX);
    assert_true(left >= RING_RESERVE && left < RING_RESERVE + 70000);
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_RING_FULL]), 1);
    assert_int_equal(appender_take(&k->app, 1), 0); /* again: no second signal */
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_RING_FULL]), 1);
    assert_int_equal(sent, taken + 1);
    while (kit_next(k))
        ;
    kit_drain(k);
    assert_int_equal(appender_take(&k->app, 10), 1);
    assert_non_null(kit_find(k, FRAME_DATA));
    drop_source(&a);
    kit_free(k);
}

static void test_round_robin(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source a, b;
    add_source(k, &a, 1, 100, false);
    add_source(k, &b, 2, 100, false);
    for (int i = 0; i < 20; i++) {
        kit_trade_row(k, &a.w, "A", "", 0);
        inject_rows_flush(&a.w);
    }
    kit_trade_row(k, &b.w, "B", "", 0);
    inject_rows_flush(&b.w);
    assert_int_equal(appender_take(&k->app, 4), 4);
    unsigned from_b = 0;
    const struct frame *f;
    while ((f = kit_next(k)))
        from_b += f->kind == FRAME_DATA && f->source == 2;
    assert_int_equal(from_b, 1); /* a flood on one ring does not starve another */
    drop_source(&a);
    drop_source(&b);
    kit_free(k);
}

/* Puts raw bytes in as a batch. */
static uint64_t raw(struct inject *q, const struct inject_batch *b, const void *body, uint32_t n)
{
    uint8_t *p = inject_reserve(q, (uint32_t)sizeof *b + n);
    assert_non_null(p);
    memcpy(p, b, sizeof *b);
    memcpy(p + sizeof *b, body, n);
    return inject_commit(q, (uint32_t)sizeof *b + n);
}

static void refused(struct kit *k, struct source *s, struct inject_batch b, const void *body,
                    uint32_t n)
{
    uint64_t before = ring_tail(&k->ring), bad = counter(k, COUNTER_APPEND_BAD_BATCHES), pos;
    uint64_t t = raw(&s->q, &b, body, n);
    assert_int_equal(appender_take(&k->app, 5), 1);
    assert_true(inject_taken(&s->q, t, &pos));
    assert_int_equal(inject_verdict(&s->q, t), INJECT_MALFORMED);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), bad + 1);
    assert_true(ring_tail(&k->ring) == before);
}

static void test_malformed_batches(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source s;
    add_source(k, &s, 1, 100, false);
    uint8_t rec[256] pst_aligned(8);
    memset(rec, 0, sizeof rec);
    uint16_t fixed = k->trade->fixed;
    struct record *r = (struct record *)rec;
    *r = (struct record){k->trade->id, fixed, PST_NULL_SYMBOL, 1};
    put32(rec + k->trade->col[4].offset, PST_NULL_SYMBOL);
    put32(rec + k->trade->col[5].offset, fixed);
    struct inject_batch ok = {.bytes = 32u + fixed, .kind = FRAME_DATA, .records = 1}, b;
    uint64_t pos, t = raw(&s.q, &ok, rec, fixed);
    assert_int_equal(appender_take(&k->app, 5), 1); /* the model of all that follows is good */
    assert_true(inject_taken(&s.q, t, &pos));
    assert_int_equal(inject_verdict(&s.q, t), INJECT_ACCEPTED);

    b = ok, b.bytes = 0;
    refused(k, &s, b, rec, fixed);
    b = ok, b.bytes = 36;
    refused(k, &s, b, rec, fixed);
    b = ok, b.bytes = 1u << 30;
    refused(k, &s, b, rec, fixed);
    b = ok, b.kind = FRAME_SYMBOL;
    refused(k, &s, b, rec, fixed);
    b = ok, b.kind = FRAME_FILE;
    refused(k, &s, b, rec, fixed);
    b = ok, b.kind = FRAME_PAD;
    refused(k, &s, b, rec, fixed);
    b = ok, b.stream = STREAM_EVERY;
    refused(k, &s, b, rec, fixed);
    b = ok, b.records = 2;
    refused(k, &s, b, rec, fixed);
    b = ok, b.syms_bytes = 1u << 31;
    refused(k, &s, b, rec, fixed);
    b = ok, b.syms_bytes = fixed;
    refused(k, &s, b, rec, fixed); /* no rows left */
    b = ok, b.new_syms = 1;
    refused(k, &s, b, rec, fixed);
    b = ok, b.kind = FRAME_GAP, b.stream = STREAM_EVERY;
    refused(k, &s, b, rec, fixed); /* not the gap table */
#define BAD(change, undo)                                                                          \
    do {                                                                                           \
        change;                                                                                    \
        refused(k, &s, ok, rec, fixed);                                                            \
        undo;                                                                                      \
    } while (0)
    BAD(r->bytes = 8, r->bytes = fixed);
    BAD(r->bytes = (uint16_t)(fixed + 8), r->bytes = fixed);
    BAD(r->bytes = (uint16_t)(fixed - 8), r->bytes = fixed);
    BAD(r->table = 4000, r->table = k->trade->id);
    BAD(r->table = 65535, r->table = k->trade->id);
    BAD(r->table = TABLE_DERIVED, r->table = k->trade->id);
    BAD(r->table = TABLE_PACKET, r->table = k->trade->id);
    BAD(r->table = k->quote->id, r->table = k->trade->id); /* a feed's table without a run */
    BAD(r->table = k->gap->id, r->table = k->trade->id);
    BAD(r->sym = 0, r->sym = PST_NULL_SYMBOL); /* no such local id */
    BAD(put32(rec + k->trade->col[4].offset, 7), put32(rec + k->trade->col[4].offset, ~0u));
    BAD(put32(rec + k->trade->col[5].offset, fixed + 1),
        put32(rec + k->trade->col[5].offset, fixed));
    BAD(put32(rec + k->trade->col[5].offset, 8), put32(rec + k->trade->col[5].offset, fixed));
    BAD(put32(rec + k->trade->col[5].offset + 4, 1), put32(rec + k->trade->col[5].offset + 4, 0));

    /* runs that lie */
    uint32_t qf = k->quote->fixed, len = 64 + qf;
    struct packet_record *p = (struct packet_record *)rec;
    memset(rec, 0, sizeof rec);
    *p = (struct packet_record){.bytes = 64,
                                .sym = ~0u,
                                .seq = 1,
                                .feed = ~0u,
                                .session = ~0u,
                                .line = ~0u,
                                .rows = 1,
                                .seqs = 1,
                                .run_bytes = qf};
    r = (struct record *)(rec + 64);
    *r = (struct record){k->quote->id, (uint16_t)qf, PST_NULL_SYMBOL, 1};
    put32(rec + 64 + k->quote->col[9].offset, PST_NULL_SYMBOL);
    ok = (struct inject_batch){.bytes = 32 + len, .kind = FRAME_DATA, .records = 2};
    fixed = (uint16_t)len;
    t = raw(&s.q, &ok, rec, len);
    assert_int_equal(appender_take(&k->app, 5), 1);
    assert_int_equal(inject_verdict(&s.q, t), INJECT_ACCEPTED);
    BAD(p->rows = 2, p->rows = 1);
    BAD(p->rows = 0, p->rows = 1);
    BAD(p->seqs = 2, p->seqs = 1);
    BAD(p->run_bytes = qf - 8, p->run_bytes = qf);
    BAD(p->run_bytes = qf + 8, p->run_bytes = qf);
    BAD(p->run_bytes = UINT32_MAX, p->run_bytes = qf);
    BAD(p->feed = 3, p->feed = ~0u);
    BAD(p->session = 3, p->session = ~0u);
    BAD(p->line = 3, p->line = ~0u);
    BAD(p->sym = 0, p->sym = ~0u);
    BAD(p->flags = RUN_UNSEQUENCED, p->flags = 0);
    BAD(r->table = k->trade->id, r->table = k->quote->id);

    /* marks that lie, and the one kind of mark that must not come this way */
    uint8_t m[24] pst_aligned(8) = {MARK_OPERATOR, 0, 0, 0, 2, 0, 0, 0, '{', '}'};
    b = (struct inject_batch){.bytes = 48, .kind = FRAME_MARK, .stream = STREAM_EVERY};
    t = raw(&s.q, &b, m, 16);
    assert_int_equal(appender_take(&k->app, 5), 1);
    assert_int_equal(inject_verdict(&s.q, t), INJECT_ACCEPTED);
    m[4] = 200;
    refused(k, &s, b, m, 16);
    m[4] = 2, m[0] = MARK_EOD;
    refused(k, &s, b, m, 16);
    m[0] = 99;
    refused(k, &s, b, m, 16);
    b.stream = 0, m[0] = MARK_OPERATOR;
    refused(k, &s, b, m, 16);

    /* texts that lie */
    memset(rec, 0, sizeof rec);
    rec[0] = 3, memcpy(rec + 1, "a\0b", 3);
    b = (struct inject_batch){.bytes = 32 + 8, .kind = FRAME_DATA, .new_syms = 1, .syms_bytes = 8};
    refused(k, &s, b, rec, 8);
    rec[0] = 9;
    refused(k, &s, b, rec, 8);
    rec[0] = 0;
    refused(k, &s, b, rec, 8);
    while (kit_next(k))
        ;
    drop_source(&s);
    kit_free(k);
}

/* Good batches with random damage: nothing crashes, and whatever is accepted is a sound frame. */
static void test_damaged_batches_never_crash(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct source s;
    add_source(k, &s, 1, UINT32_MAX, true);
    uint64_t rng = 12345;
    unsigned accepted = 0;
    for (int i = 0; i < 4000; i++) {
        bool runs = i & 1;
        inject_rows_restart(&s.w);
        if (runs) {
            kit_run(&s.w.rows, 1, 0, KIT_DAY);
            for (int j = 0; j < 3; j++)
                kit_quote_row(k, &s.w.rows, j & 1 ? "A" : "B", j);
            rows_undecoded(&s.w.rows, 1, PST_NULL_SYMBOL, (const uint8_t *)"xyz", 3);
        } else {
            for (int j = 0; j < 3; j++)
                kit_trade_row(k, &s.w, j & 1 ? "A" : "B", "note", 0);
        }
        uint64_t tail = load_relaxed(&s.q.tail);
        inject_rows_flush(&s.w);
        uint64_t n = load_relaxed(&s.q.tail) - tail;
        for (int j = 0; j < 1 + i % 3; j++) {
            rng = rng * 6364136223846793005ull + 1442695040888963407ull;
            uint8_t *at = s.q.data + ((tail + (rng >> 33) % n) & s.q.mask);
            *at = (uint8_t)(i % 4 ? *at ^ 1u << (rng >> 20 & 7) : rng >> 40);
        }
        uint64_t before = ring_tail(&k->ring);
        appender_take(&k->app, 4);
        const struct frame *f;
        while ((f = kit_next(k))) /* checks every frame */
            accepted += f->kind == FRAME_DATA;
        if (ring_tail(&k->ring) - before)
            kit_drain(k);
        assert_null(inject_peek(&s.q));
    }
    assert_true(accepted > 500 && accepted < 4000);
    drop_source(&s);
    kit_free(k);
}

#ifdef PST_FAULTS
static void test_dropped_frame_keeps_positions(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct rows *r = &k->app.rows;
    setenv("PST_FAULT_DROP", "appender.drop_frame:2", 1);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        kit_run(r, seq, 0, KIT_DAY);
        kit_quote_row(k, r, "X", 1);
        appender_flush(&k->app);
    }
    unsetenv("PST_FAULT_DROP");
    uint64_t seen = 0;
    const struct frame *f;
    while ((f = kit_next(k)))
        if (f->kind == FRAME_DATA) {
            struct record_walk w;
            record_walk_start(&w, f);
            record_walk_next(&w);
            seen = seen * 10 + (uint64_t)record_walk_seq(&w);
        }
    assert_int_equal(seen, 134);
    kit_free(k);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_become_one_frame_with_symbols_first),
        cmocka_unit_test(test_frames_end_at_target_and_at_day_change),
        cmocka_unit_test(test_largest_record),
        cmocka_unit_test(test_symbol_limit_and_new_day),
        cmocka_unit_test(test_table_full),
        cmocka_unit_test(test_gap_follows_rows),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_end_of_day_falls_in_place),
        cmocka_unit_test(test_ticks_and_states),
        cmocka_unit_test(test_data_leaves_the_reserve_to_marks),
        cmocka_unit_test(test_two_sources_share_symbols),
        cmocka_unit_test(test_texts_alone),
        cmocka_unit_test(test_publisher_over_its_limit_is_refused_whole),
        cmocka_unit_test(test_lossless_source_keeps_the_row),
        cmocka_unit_test(test_late_day_and_marks_of_a_source),
        cmocka_unit_test(test_full_ring_leaves_batches),
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_malformed_batches),
        cmocka_unit_test(test_damaged_batches_never_crash),
#ifdef PST_FAULTS
        cmocka_unit_test(test_dropped_frame_keeps_positions),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
