/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates in the data plane: two calendars over one journal, late windows with two open dates, late
 * rows, ends by hand, missed dates; and a model that says of every row where it must stand.
 *
 * Tables: trade, undecoded and gap belong to calendar 0 ("default"), bond (plain) and quote (of a
 * feed) to calendar 1 ("tokyo").
 */
#include "journal_kit.h"
#include <jansson.h>

#define HOUR (3600 * NS_PER_S)

static struct days_owner owners;
static const struct schema *bond;

static const struct column_def bond_columns[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};

static int64_t midnight(int32_t day)
{
    return (int64_t)day * NS_PER_DAY;
}

/* The kit's appender anew, with two calendars that both begin at KIT_DAY. */
static struct kit *two_calendars(uint16_t open0, uint16_t open1)
{
    struct err e = {0};
    struct schema s;
    struct kit *k = kit_new(4096, 4000);
    assert_true(schema_make(&s, 0, "bond", false, bond_columns, PST_COUNT(bond_columns), &e));
    bond = kit_table(k, &s);
    memset(&owners, 0, sizeof owners);
    owners.n = 2;
    strcpy(owners.name[0], "default");
    strcpy(owners.name[1], "tokyo");
    owners.calendar[bond->id] = owners.calendar[k->quote->id] = 1;
    struct appender_open open[2] = {{open0, midnight(open0)}, {open1, midnight(open1)}};
    struct appender_config c = k->app.cfg;
    appender_fini(&k->app);
    c.owners = &owners;
    c.open = open;
    c.open_day = 0;
    assert_true(appender_init(&k->app, &c, &e));
    k->app.cfg.open = NULL; /* read at the start only */
    kit_at(k, midnight(KIT_DAY));
    return k;
}

struct source {
    struct inject q;
    struct inject_rows w;
};
static void add_source(struct kit *k, struct source *s, bool ends_days, bool lossless)
{
    struct err e;
    assert_true(inject_create(&s->q, INJECT_MIN, &e));
    struct inject_options o = {
        .max_new_symbols = 1000, .symbols = 1024, .lossless = lossless, .ends_days = ends_days};
    assert_true(appender_add_inject(&k->app, &s->q, 1, &o, &e));
    struct inject_rows_config c = {.q = &s->q,
                                   .known = &k->symbols,
                                   .schemas = k->schemas,
                                   .status = k->status,
                                   .symbols = 1024,
                                   .max_new_symbols = UINT32_MAX,
                                   .days = &k->app.days,
                                   .owners = &owners};
    assert_true(inject_rows_init(&s->w, &c, &e));
}
static void drop(struct kit *k, struct source *s)
{
    inject_rows_fini(&s->w);
    inject_destroy(&s->q);
    kit_free(k);
}

static uint64_t counter(struct kit *k, enum counter c)
{
    return load_relaxed(&k->status->counter[c]);
}

static struct due_item turn(uint64_t id, unsigned calendar, int32_t day, int64_t at)
{
    return (struct due_item){
        .id = id, .at = at, .kind = DUE_TURN, .calendar = (uint8_t)calendar, .day = (uint16_t)day};
}
static struct due_item end(uint64_t id, unsigned calendar, int32_t day, int64_t at, int64_t ends)
{
    struct due_item d = {.id = id,
                         .at = at,
                         .kind = DUE_EOD,
                         .calendar = (uint8_t)calendar,
                         .day = (uint16_t)day,
                         .ends = ends};
    d.json_len = (uint32_t)snprintf(d.json, sizeof d.json, "{\"calendar\":\"%s\",\"day\":\"x\"}",
                                    owners.name[calendar]);
    return d;
}

/* A plain row; `size` tells rows apart in trade, in bond its bytes do not. */
static void plain(struct kit *k, struct inject_rows *w, const struct schema *s, int64_t time,
                  uint16_t day, int64_t tag)
{
    uint8_t *p = inject_rows_plain(w, s->fixed, day);
    memset(p, 0, s->fixed);
    *(struct record *)p = (struct record){s->id, s->fixed, PST_NULL_SYMBOL, time};
    if (s == k->trade) {
        put64(p + s->col[3].offset, (uint64_t)tag);
        put32(p + s->col[4].offset, PST_NULL_SYMBOL);
        put32(p + s->col[5].offset, s->fixed);
    }
    inject_rows_plain_commit(w, s->fixed);
}

static void feed_run(struct rows *r, uint64_t seq, uint32_t flags, uint16_t day)
{
    struct run n = {.seq = seq,
                    .rxtime = 5,
                    .feed = rows_symbol(r, "itch", 4),
                    .session = rows_symbol(r, "S1", 2),
                    .line = rows_symbol(r, "A", 1),
                    .flags = flags,
                    .day = day,
                    .calendar = 1};
    rows_run(r, &n);
}

static const struct frame *next_mark(struct kit *k, enum mark_type want)
{
    const struct frame *f;
    unsigned type = 0;
    uint32_t n;
    while ((f = kit_find(k, FRAME_MARK)))
        if (frame_mark(f, &type, &n) && type == want)
            return f;
    return NULL;
}

static void open_is(struct kit *k, unsigned c, int32_t open, int32_t newest)
{
    assert_int_equal(load_relaxed(&k->app.days.open[c]), open);
    assert_int_equal(load_relaxed(&k->app.days.newest[c]), newest);
}

/* ---- marks ---- */

static void test_calendar_of_an_eod_mark(void **state)
{
    (void)state;
    static uint8_t buf[1024] pst_aligned(64);
    static const struct {
        const char *json, *name;
    } cases[] = {
        {"{\"calendar\":\"default\",\"day\":\"2026.11.23\"}", "default"},
        {"{\"calendar\":\"x\"}", "x"},
        {"{\"day\":\"2026.11.23\"}", NULL},
        {"{\"calendar\":\"\"}", NULL},
        {"{\"calendar\":\"abc", NULL},
        {"{\"calendar\":\"a234567890123456789012345678901\"}", "a234567890123456789012345678901"},
        {"{\"calendar\":\"a2345678901234567890123456789012\"}", NULL},
    };
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        char name[DAYS_NAME];
        frame_build_mark(buf, MARK_EOD, cases[i].json, strlen(cases[i].json));
        const struct frame *f = (const struct frame *)buf;
        assert_int_equal(days_eod(f, name), cases[i].name != NULL);
        if (cases[i].name)
            assert_string_equal(name, cases[i].name);
        frame_build_mark(buf, MARK_EOI, cases[i].json, strlen(cases[i].json));
        assert_false(days_eod(f, name));
    }
}

/* Each calendar ends by itself; its tables turn, the others do not; the open dates are said. */
static void test_each_calendar_ends_by_itself(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source s;
    add_source(k, &s, true, false);
    int64_t at = midnight(KIT_DAY) + 9 * HOUR;
    struct due_item d[2] = {end(1, 1, KIT_DAY, at, 0), end(2, 0, KIT_DAY, at + 5 * HOUR, 0)};
    assert_true(due_publish(&k->due, d, 2, NULL));
    kit_at(k, at);
    assert_int_equal(appender_due(&k->app), 1);
    open_is(k, 0, KIT_DAY, KIT_DAY);
    open_is(k, 1, KIT_DAY + 1, KIT_DAY + 1);
    appender_states(&k->app);
    plain(k, &s.w, k->trade, at + 1, 0, 1);
    plain(k, &s.w, bond, at + 1, 0, 0);
    plain(k, &s.w, k->trade, at + 2, 0, 2);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 5), 1);
    kit_at(k, at + 5 * HOUR);
    assert_int_equal(appender_due(&k->app), 1);
    open_is(k, 0, KIT_DAY + 1, KIT_DAY + 1);
    plain(k, &s.w, k->trade, at + 5 * HOUR, 0, 3);
    plain(k, &s.w, bond, at + 5 * HOUR, 0, 0);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 5), 1);

    const struct frame *f = next_mark(k, MARK_EOD);
    char name[DAYS_NAME];
    assert_int_equal(f->day, KIT_DAY);
    assert_true(f->time == at);
    assert_true(days_eod(f, name));
    assert_string_equal(name, "tokyo");
    f = next_mark(k, MARK_STATE);
    uint32_t n;
    unsigned type;
    const char *said = frame_mark(f, &type, &n);
    static const char want[] = "{\"calendars\":{\"default\":9000,\"tokyo\":9001}}";
    assert_int_equal(n, sizeof want - 1);
    assert_memory_equal(said, want, n);
    for (int i = 0; i < 3; i++) {
        f = kit_next(k);
        assert_int_equal(f->kind, FRAME_DATA);
        assert_int_equal(f->count, 1);
        assert_int_equal(f->day, KIT_DAY + (i == 1));
        assert_int_equal(f->source, 1);
    }
    f = kit_next(k);
    assert_true(days_eod(f, name));
    assert_string_equal(name, "default");
    f = kit_next(k);
    assert_int_equal(f->kind, FRAME_DATA);
    assert_int_equal(f->count, 2);
    assert_int_equal(f->day, KIT_DAY + 1);
    assert_null(kit_next(k));
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 5);
    assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY), 0);
    drop(k, &s);
}

/* ---- the late window ---- */

static void test_two_dates_in_the_late_window(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source s;
    add_source(k, &s, true, false);
    int64_t t = midnight(KIT_DAY + 1);
    struct due_item d[2] = {turn(1, 0, KIT_DAY, t), end(2, 0, KIT_DAY, t + HOUR, t)};
    assert_true(due_publish(&k->due, d, 2, NULL));
    static const struct {
        int64_t time;
        int before, within, after; /* date - KIT_DAY; + 10: counted late */
    } rows[] = {
        {-1, 0, 0, 11},            /* of the date that ends */
        {0, 0, 1, 1},              /* its end is the next one's first instant */
        {-3600, 0, 0, 11},         /* an hour before */
        {40 * 86400, 0, 1, 1},     /* from the future: today's */
        {-40 * 86400, 10, 10, 11}, /* older than the open one */
        {INT64_MIN, 0, 1, 1},      /* no time: now */
        {INT64_MAX, 0, 1, 1},      /* infinity */
    };
    for (int phase = 0; phase < 3; phase++) {
        kit_at(k, phase == 0 ? t - 1 : phase == 1 ? t : t + HOUR);
        assert_int_equal(appender_due(&k->app), phase == 2);
        open_is(k, 0, KIT_DAY + (phase == 2), KIT_DAY + (phase > 0));
        open_is(k, 1, KIT_DAY, KIT_DAY);
        for (unsigned i = 0; i < PST_COUNT(rows); i++) {
            int64_t at = rows[i].time;
            bool special = at == INT64_MIN || at == INT64_MAX;
            uint64_t late = counter(k, COUNTER_APPEND_LATE_DAY);
            plain(k, &s.w, k->trade, special ? at : t + at * NS_PER_S - (at == -1), 0, i);
            inject_rows_flush(&s.w);
            assert_int_equal(appender_take(&k->app, 5), 1);
            int want = phase == 0 ? rows[i].before : phase == 1 ? rows[i].within : rows[i].after;
            const struct frame *f = kit_find(k, FRAME_DATA);
            if (f->day != KIT_DAY + want % 10)
                fail_msg("row %u, phase %d: date %+d", i, phase, f->day - KIT_DAY);
            assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY) - late, want / 10);
        }
        /* the other calendar's rows do not care */
        plain(k, &s.w, bond, t + 5, 0, 0);
        inject_rows_flush(&s.w);
        assert_int_equal(appender_take(&k->app, 5), 1);
        assert_int_equal(kit_find(k, FRAME_DATA)->day, KIT_DAY);
    }
    drop(k, &s);
}

/* A feed's row follows its session's date; `undecoded` beside it has a calendar of its own. */
static void test_feed_rows_of_two_calendars(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct rows *r = &k->app.rows;
    struct due_item d = end(1, 1, KIT_DAY, midnight(KIT_DAY + 1), 0);
    assert_true(due_publish(&k->due, &d, 1, NULL));
    for (int closed = 0; closed < 2; closed++) {
        if (closed) {
            kit_at(k, midnight(KIT_DAY + 1));
            assert_int_equal(appender_due(&k->app), 1);
        }
        feed_run(r, 10, 0, KIT_DAY);
        kit_quote_row(k, r, "X", 10);
        rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
        rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
        kit_quote_row(k, r, "X", 13);
        kit_quote_row(k, r, "X", 14);
        appender_flush(&k->app);
        int64_t seq = 10;
        const struct frame *f;
        unsigned frames = 0;
        while ((f = kit_next(k))) {
            if (f->kind != FRAME_DATA)
                continue;
            frames++;
            struct record_walk w;
            const struct record *rec;
            record_walk_start(&w, f);
            while ((rec = record_walk_next(&w))) {
                bool quote = rec->table == k->quote->id;
                assert_int_equal(quote, seq < 11 || seq > 12);
                assert_int_equal(f->day, KIT_DAY + (closed && quote));
                assert_int_equal(w.packet->flags, closed && quote ? ROW_LATE_DAY : 0);
                assert_int_equal(record_walk_seq(&w), seq++);
            }
        }
        assert_int_equal(seq, 15);
        assert_int_equal(frames, closed ? 3 : 1);
        assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY), closed ? 3 : 0);
    }
    kit_free(k);
}

/* Numbers are counted once, however many runs a packet's rows fall into. */
static void test_packet_sequence_over_two_calendars(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY + 1);
    struct rows *r = &k->app.rows;
    feed_run(r, 77, RUN_PACKET_SEQ, KIT_DAY);
    for (int i = 0; i < 3; i++) {
        kit_quote_row(k, r, "X", i);
        rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
    }
    appender_flush(&k->app);
    const struct frame *f;
    unsigned seqs = 0, rows = 0;
    while ((f = kit_next(k))) {
        if (f->kind != FRAME_DATA)
            continue;
        const uint8_t *at = frame_payload(f);
        const struct packet_record *p;
        bool bad = false;
        while ((p = packet_hop(&at, frame_payload(f) + frame_payload_bytes(f), &bad))) {
            assert_int_equal(p->seq, 77);
            seqs += p->seqs;
            rows += p->rows;
        }
        assert_false(bad);
    }
    assert_int_equal(seqs, 1);
    assert_int_equal(rows, 6);
    kit_free(k);
}

/* An rx lcore's batch was cut for the dates that were open when it was made. */
static void test_batches_of_a_lcore_behind_an_end(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source s;
    add_source(k, &s, false, true);
    struct rows *r = &s.w.rows;
    feed_run(r, 1, 0, KIT_DAY);
    kit_quote_row(k, r, "X", 1);
    rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
    kit_quote_row(k, r, "X", 3);
    inject_rows_flush(&s.w);
    struct gap g = {
        .feed = 0, .session = 1, .first = 4, .last = 5, .reason = "lost", .day = KIT_DAY};
    r->ops->gap(r, &g);
    feed_run(r, 6, 0, KIT_DAY + 1);
    kit_quote_row(k, r, "X", 6);
    inject_rows_flush(&s.w);
    struct due_item d = end(1, 1, KIT_DAY, k->app.now, 0);
    assert_true(due_publish(&k->due, &d, 1, NULL));
    assert_int_equal(appender_due(&k->app), 1);
    assert_int_equal(appender_take(&k->app, 9), 3);
    inject_rows_days(&s.w, &k->app.days);
    feed_run(r, 7, 0, KIT_DAY); /* the lcore knows by now */
    kit_quote_row(k, r, "X", 7);
    rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 9), 2);
    static const struct {
        uint64_t seq;
        int day;
        bool late;
    } want[] = {{1, 1, true},  {2, 0, false}, {3, 1, true},
                {6, 1, false}, {7, 1, true},  {8, 0, false}};
    unsigned i = 0;
    const struct frame *f;
    while ((f = kit_next(k))) {
        if (f->kind == FRAME_GAP)
            assert_int_equal(f->day, KIT_DAY); /* gap is the default calendar's */
        if (f->kind != FRAME_DATA)
            continue;
        struct record_walk w;
        record_walk_start(&w, f);
        while (record_walk_next(&w)) {
            assert_true(i < PST_COUNT(want));
            assert_int_equal(record_walk_seq(&w), want[i].seq);
            assert_int_equal(f->day, KIT_DAY + want[i].day);
            assert_int_equal(w.packet->flags, want[i].late ? ROW_LATE_DAY : 0);
            i++;
        }
    }
    assert_int_equal(i, PST_COUNT(want));
    assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY), 3);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    /* a run over two calendars has no date: refused */
    r->undecoded_calendar = 1;
    feed_run(r, 8, 0, KIT_DAY + 1);
    kit_quote_row(k, r, "X", 8);
    rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 9), 1);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 1);
    drop(k, &s);
}

/* ---- ends by hand ---- */

static void test_an_end_by_hand(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source s, other;
    add_source(k, &s, true, false);
    add_source(k, &other, false, false);
    int64_t t = midnight(KIT_DAY + 1);
    uint64_t pos = 0, ticket;
    struct due_item d[4] = {turn(1, 0, KIT_DAY, t), end(2, 0, KIT_DAY, t + HOUR, t),
                            turn(3, 0, KIT_DAY + 1, t + 24 * HOUR),
                            end(4, 0, KIT_DAY + 1, t + 25 * HOUR, t + 24 * HOUR)};
    assert_true(due_publish(&k->due, d, 4, NULL));
    kit_at(k, t - 5 * HOUR);
    static const char json[] = "{\"calendar\":\"default\",\"day\":\"x\",\"by\":\"operator\"}";
    plain(k, &s.w, k->trade, t - 6 * HOUR, 0, 1); /* published before the command */
    assert_true(inject_rows_eod(&s.w, json, sizeof json - 1, 0, KIT_DAY, t));
    ticket = inject_rows_flush(&s.w);
    plain(k, &s.w, k->trade, t - 6 * HOUR, 0, 2); /* and behind it */
    plain(k, &s.w, bond, t - 6 * HOUR, 0, 0);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 9), 3);
    assert_true(inject_taken(&s.q, ticket, &pos));
    assert_int_equal(inject_verdict(&s.q, ticket), INJECT_ACCEPTED);
    open_is(k, 0, KIT_DAY + 1, KIT_DAY + 1);
    open_is(k, 1, KIT_DAY, KIT_DAY);
    const struct frame *f = kit_find(k, FRAME_DATA);
    assert_int_equal(f->day, KIT_DAY);
    f = kit_next(k);
    char name[DAYS_NAME];
    assert_true(days_eod(f, name));
    assert_int_equal(f->day, KIT_DAY);
    assert_int_equal(f->source, 1);
    assert_true(f->time == t - 5 * HOUR); /* when it was done, not when it was due */
    assert_true(pos == f->position + f->length || pos > f->position);
    f = kit_next(k);
    assert_int_equal(f->day, KIT_DAY + 1);
    assert_int_equal(f->count, 1);
    assert_int_equal(kit_next(k)->day, KIT_DAY); /* the bond */
    assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY), 1);
    /* once more: done already. One ahead: not the open one */
    for (int32_t day = KIT_DAY; day < KIT_DAY + 3; day += 2) {
        assert_true(inject_rows_eod(&s.w, json, sizeof json - 1, 0, (uint16_t)day, t));
        ticket = inject_rows_flush(&s.w);
        assert_int_equal(appender_take(&k->app, 9), 1);
        assert_int_equal(inject_verdict(&s.q, ticket), INJECT_DAY_CLOSED);
    }
    /* its scheduled turn and end pass without a mark; the next date's come */
    kit_at(k, t);
    assert_int_equal(appender_due(&k->app), 0);
    open_is(k, 0, KIT_DAY + 1, KIT_DAY + 1);
    kit_at(k, t + 2 * HOUR);
    assert_int_equal(appender_due(&k->app), 0);
    assert_true(due_done(&k->due, 1) && due_done(&k->due, 2));
    /* within its window: both turn */
    kit_at(k, t + 24 * HOUR);
    assert_int_equal(appender_due(&k->app), 0);
    open_is(k, 0, KIT_DAY + 1, KIT_DAY + 2);
    assert_true(inject_rows_eod(&s.w, json, sizeof json - 1, 0, KIT_DAY + 1, t + 24 * HOUR));
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 9), 1);
    open_is(k, 0, KIT_DAY + 2, KIT_DAY + 2);
    kit_at(k, t + 26 * HOUR);
    assert_int_equal(appender_due(&k->app), 0);
    unsigned eods = 0;
    while ((f = kit_next(k)))
        eods += days_eod(f, name);
    assert_int_equal(eods, 1);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    /* no calendar of that number; and nobody but control ends a date */
    assert_true(inject_rows_eod(&s.w, json, sizeof json - 1, 2, KIT_DAY + 2, t));
    inject_rows_flush(&s.w);
    assert_true(inject_rows_eod(&other.w, json, sizeof json - 1, 0, KIT_DAY + 2, t));
    inject_rows_flush(&other.w);
    assert_true(inject_rows_mark(&s.w, MARK_END, "{}", 2));
    assert_int_equal(appender_take(&k->app, 9), 3);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 3);
    open_is(k, 0, KIT_DAY + 2, KIT_DAY + 2);
    assert_null(kit_next(k));
    inject_rows_fini(&other.w);
    inject_destroy(&other.q);
    drop(k, &s);
}

/* ---- missed dates ---- */

/* A year passed while nothing ran: each date of each calendar ends once, in the order in which they
 * were due, with the instant of its own end, over as many lists as it takes. */
static void test_a_missed_year(void **state)
{
    (void)state;
    enum { DAYS = 365 };
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    static struct due_item items[DUE_MAX];
    int64_t now = midnight(KIT_DAY + DAYS) + 12 * HOUR;
    kit_at(k, midnight(KIT_DAY) + 1);
    k->app.last_time = k->app.now;
    kit_at(k, now);
    unsigned lists = 0;
    for (uint32_t before = 0; before != load_relaxed(&k->app.days.version); lists++) {
        before = load_relaxed(&k->app.days.version);
        uint32_t n = 0;
        for (unsigned c = 0; c < 2; c++) {
            int32_t open = load_relaxed(&k->app.days.open[c]);
            for (int32_t day = open; day < open + 32; day++) {
                int64_t at = midnight(day + 1) + (c ? 9 * HOUR : 0), window = c ? HOUR : 0;
                uint64_t id = (uint64_t)day << 8 | c << 1;
                if (window)
                    items[n++] = turn(id, c, day, at);
                items[n++] = end(id | 1, c, day, at + window, at);
            }
        }
        assert_true(due_publish(&k->due, items, n, NULL));
        appender_due(&k->app);
    }
    assert_true(lists > 11 && lists < 16);
    open_is(k, 0, KIT_DAY + DAYS, KIT_DAY + DAYS);
    open_is(k, 1, KIT_DAY + DAYS, KIT_DAY + DAYS);
    int32_t day[2] = {KIT_DAY, KIT_DAY};
    const struct frame *f;
    char name[DAYS_NAME];
    while ((f = next_mark(k, MARK_EOD))) {
        assert_true(days_eod(f, name));
        unsigned c = name[0] == 't';
        assert_int_equal(f->day, day[c]);
        assert_true(f->time == midnight(day[c] + 1) + (c ? 10 * HOUR : 0));
        day[c]++;
        assert_true(day[0] - day[1] == 0 || day[0] - day[1] == 1);
    }
    assert_int_equal(day[0], KIT_DAY + DAYS);
    assert_int_equal(day[1], KIT_DAY + DAYS);
    kit_free(k);
}

/* A date of no length (Samoa left 2011-12-30 out) ends where its predecessor does, once. */
static void empty_date(bool by_hand)
{
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source s;
    add_source(k, &s, true, false);
    int64_t t = midnight(KIT_DAY + 1);
    struct due_item d[4] = {turn(1, 0, KIT_DAY, t), end(2, 0, KIT_DAY, t + HOUR, t),
                            turn(3, 0, KIT_DAY + 1, t), end(4, 0, KIT_DAY + 1, t + HOUR, t)};
    assert_true(due_publish(&k->due, d, 4, NULL));
    kit_at(k, t);
    assert_int_equal(appender_due(&k->app), 0);
    open_is(k, 0, KIT_DAY, KIT_DAY + 2);
    plain(k, &s.w, k->trade, t, 0, 1);
    plain(k, &s.w, k->trade, t - 1, 0, 2);
    inject_rows_flush(&s.w);
    assert_int_equal(appender_take(&k->app, 9), 1);
    if (by_hand) { /* the first of the two: the window of the other goes on */
        assert_true(inject_rows_eod(&s.w, "{\"calendar\":\"default\"}", 22, 0, KIT_DAY, t));
        plain(k, &s.w, k->trade, t, 0, 3);
        plain(k, &s.w, k->trade, t - 1, 0, 4);
        inject_rows_flush(&s.w);
        assert_int_equal(appender_take(&k->app, 9), 2);
        open_is(k, 0, KIT_DAY + 1, KIT_DAY + 2);
    }
    kit_at(k, t + HOUR);
    assert_int_equal(appender_due(&k->app), by_hand ? 1 : 2);
    open_is(k, 0, KIT_DAY + 2, KIT_DAY + 2);
    assert_int_equal(kit_find(k, FRAME_DATA)->day, KIT_DAY + 2);
    assert_int_equal(kit_next(k)->day, KIT_DAY);
    if (by_hand) {
        assert_int_equal(next_mark(k, MARK_EOD)->day, KIT_DAY);
        assert_int_equal(kit_next(k)->day, KIT_DAY + 2);
        assert_int_equal(kit_next(k)->day, KIT_DAY + 1); /* late */
        assert_int_equal(next_mark(k, MARK_EOD)->day, KIT_DAY + 1);
        assert_null(next_mark(k, MARK_EOD));
        drop(k, &s);
        return;
    }
    assert_int_equal(next_mark(k, MARK_EOD)->day, KIT_DAY);
    assert_int_equal(next_mark(k, MARK_EOD)->day, KIT_DAY + 1);
    assert_null(next_mark(k, MARK_EOD));
    drop(k, &s);
}

static void test_an_empty_date(void **state)
{
    (void)state;
    empty_date(false);
    empty_date(true);
}

/* ---- everything at once, against a model ---- */

static uint64_t rng = 0x9E3779B97F4A7C15ull;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

struct model_calendar {
    int32_t open, newest;
    int64_t from, turn, end_at, turn_at;
};
struct expected { /* a row, in arrival order */
    uint16_t table, day;
    bool late;
    uint64_t seq; /* of a feed's row; else 0 */
};
static struct expected want[1u << 18];
static unsigned wanted, met;

static void expect_plain(const struct model_calendar *m, const struct schema *t, int64_t time,
                         int64_t now, uint64_t *late)
{
    int64_t at = time == PST_NULL_LONG ? now : time;
    want[wanted++] =
        (struct expected){.table = t->id, .day = (uint16_t)(at >= m->turn ? m->newest : m->open)};
    *late += at < m->from;
}
static void expect_run(const struct model_calendar *m, const struct schema *t, int32_t day,
                       uint64_t seq, uint64_t *late)
{
    bool is_late = day < m->open;
    want[wanted++] = (struct expected){
        .table = t->id, .day = (uint16_t)(is_late ? m->open : day), .late = is_late, .seq = seq};
    *late += is_late;
}

static void compare(struct kit *k, uint64_t *marks)
{
    const struct frame *f;
    while ((f = kit_next(k))) {
        char name[DAYS_NAME];
        *marks += days_eod(f, name);
        if (f->kind != FRAME_DATA)
            continue;
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while ((r = record_walk_next(&w))) {
            assert_true(met < wanted);
            const struct expected *x = &want[met++];
            assert_int_equal(r->table, x->table);
            assert_int_equal(f->day, x->day);
            if (!w.packet)
                continue;
            assert_int_equal(record_walk_seq(&w), x->seq);
            assert_int_equal(!!(w.packet->flags & ROW_LATE_DAY), x->late);
        }
    }
    kit_drain(k);
}

static void test_model(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY);
    struct source pub, lcore;
    add_source(k, &pub, true, false);
    add_source(k, &lcore, false, true);
    int64_t offset[2] = {0, 9 * HOUR}, window[2] = {2 * HOUR, 0}, now = midnight(KIT_DAY) + 1;
    struct model_calendar m[2];
    uint64_t late = 0, marks = 0, ends = 0, seq = 1, rows = 0;
    static struct due_item items[DUE_MAX];
    wanted = met = 0;
    for (unsigned c = 0; c < 2; c++)
        m[c] = (struct model_calendar){KIT_DAY,
                                       KIT_DAY,
                                       midnight(KIT_DAY),
                                       INT64_MAX,
                                       midnight(KIT_DAY + 1) + offset[c] + window[c],
                                       midnight(KIT_DAY + 1) + offset[c]};
    for (unsigned step = 0; step < 12000; step++) {
        now += (int64_t)rnd(20) * 60 * NS_PER_S;
        kit_at(k, now);
        uint32_t n = 0;
        for (unsigned c = 0; c < 2; c++)
            for (int32_t day = m[c].open; day < m[c].open + 3; day++) {
                int64_t at = midnight(day + 1) + offset[c];
                uint64_t id = (uint64_t)day << 8 | c << 1;
                if (window[c])
                    items[n++] = turn(id, c, day, at);
                items[n++] = end(id | 1, c, day, at + window[c], at);
            }
        due_publish(&k->due, items, n, NULL);
        appender_due(&k->app);
        for (unsigned c = 0; c < 2; c++) {
            for (; now >= m[c].end_at; ends++) {
                m[c].open++;
                m[c].from = m[c].turn_at;
                m[c].turn_at = midnight(m[c].open + 1) + offset[c];
                m[c].end_at = m[c].turn_at + window[c];
            }
            bool both = now >= m[c].turn_at;
            m[c].newest = m[c].open + both;
            m[c].turn = both ? m[c].turn_at : INT64_MAX;
        }
        appender_states(&k->app);
        /* rows of the appender's own feed */
        struct rows *r = &k->app.rows;
        for (unsigned i = rnd(4); i; i--) {
            int32_t day = m[1].newest - 1 + (int32_t)rnd(3);
            feed_run(r, seq, 0, (uint16_t)day);
            for (unsigned j = 1 + rnd(4); j; j--, rows++) {
                bool odd = rnd(3) == 0;
                if (odd)
                    rows_undecoded(r, 'u', PST_NULL_SYMBOL, (const uint8_t *)"abc", 3);
                else
                    kit_quote_row(k, r, "X", 1);
                expect_run(&m[!odd], odd ? k->undecoded : k->quote, day, seq++, &late);
            }
        }
        appender_flush(&k->app);
        /* a publisher's batches */
        if (rnd(2)) {
            for (unsigned i = 1 + rnd(30); i; i--, rows++) {
                const struct schema *t = rnd(2) ? bond : k->trade;
                int64_t time = rnd(20) == 0 ? PST_NULL_LONG
                                            : now - (int64_t)rnd(30) * HOUR / (1 + rnd(8)) +
                                                  (int64_t)rnd(2) * HOUR;
                plain(k, &pub.w, t, time, 0, (int64_t)i);
                expect_plain(&m[t == bond], t, time, now, &late);
            }
            inject_rows_flush(&pub.w);
            while (appender_take(&k->app, 4))
                ;
        }
        /* a further lcore, whose knowledge of the dates is old at times */
        if (rnd(3) == 0)
            inject_rows_days(&lcore.w, &k->app.days);
        if (rnd(2)) {
            int32_t day = m[1].newest - 2 + (int32_t)rnd(4);
            feed_run(&lcore.w.rows, seq, 0, (uint16_t)day);
            for (unsigned j = 1 + rnd(9); j; j--, rows++) {
                bool odd = rnd(3) == 0;
                if (odd)
                    rows_undecoded(&lcore.w.rows, 'u', PST_NULL_SYMBOL, (const uint8_t *)"ab", 2);
                else
                    kit_quote_row(k, &lcore.w.rows, "X", 1);
                expect_run(&m[!odd], odd ? k->undecoded : k->quote, day, seq++, &late);
            }
            inject_rows_flush(&lcore.w);
            while (appender_take(&k->app, 4))
                ;
        }
        compare(k, &marks);
    }
    assert_int_equal(met, wanted);
    assert_int_equal(rows, wanted);
    assert_int_equal(marks, ends);
    assert_true(ends > 100);
    assert_true(late > 1000 && late < rows / 2);
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), rows);
    assert_int_equal(counter(k, COUNTER_APPEND_LATE_DAY), late);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    inject_rows_fini(&lcore.w);
    inject_destroy(&lcore.q);
    drop(k, &pub);
}

/* The largest batch, every row in a date of its own: it waits for room, and then is whole. */
static void test_a_batch_that_falls_apart(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY + 1);
    struct source s;
    add_source(k, &s, true, false);
    unsigned rows = 2000;
    for (unsigned i = 0; i < rows; i++)
        plain(k, &s.w, i & 1 ? bond : k->trade, k->app.now, 0, (int64_t)i);
    inject_rows_flush(&s.w);
    /* the ring is full but for a little: nothing of it is taken */
    static char big[100000];
    memset(big, ' ', sizeof big);
    while (ring_free(&k->ring, UINT64_MAX) > RING_RESERVE + 2 * sizeof big)
        assert_true(appender_schema(&k->app, big, sizeof big));
    while (appender_take(&k->app, 1))
        assert_true(inject_peek(&s.q)); /* a first part of it may fit */
    uint64_t before = counter(k, COUNTER_APPEND_ROWS);
    assert_true(before < rows);
    while (kit_next(k))
        ;
    kit_drain(k);
    while (appender_take(&k->app, 1))
        ;
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), rows);
    const struct frame *f;
    unsigned frames = 0;
    while ((f = kit_next(k))) {
        assert_int_equal(f->kind, FRAME_DATA);
        assert_int_equal(f->count, 1);
        const struct record *r = (const struct record *)frame_payload(f);
        assert_int_equal(f->day, KIT_DAY + (r->table == bond->id));
        frames++;
    }
    assert_int_equal(frames, rows - before);
    drop(k, &s);
}

/* Damaged batches while several dates are open: refused or taken, never a bad frame. */
static void test_damaged_batches(void **state)
{
    (void)state;
    struct kit *k = two_calendars(KIT_DAY, KIT_DAY + 1);
    struct source s;
    add_source(k, &s, true, true);
    struct due_item d = turn(1, 0, KIT_DAY, k->app.now);
    assert_true(due_publish(&k->due, &d, 1, NULL));
    appender_due(&k->app);
    unsigned data = 0, mixed = 0;
    for (unsigned i = 0; i < 4000; i++) {
        inject_rows_restart(&s.w);
        if (i & 1) {
            feed_run(&s.w.rows, 1, 0, (uint16_t)(KIT_DAY + i % 3 - 1));
            for (unsigned j = 0; j < 3; j++) {
                kit_quote_row(k, &s.w.rows, "A", j);
                rows_undecoded(&s.w.rows, 1, PST_NULL_SYMBOL, (const uint8_t *)"xyz", 3);
            }
        } else {
            for (unsigned j = 0; j < 6; j++)
                plain(k, &s.w, j & 1 ? k->trade : bond, k->app.now - 3 + (int64_t)j, 0, j);
        }
        uint64_t tail = load_relaxed(&s.q.tail);
        inject_rows_flush(&s.w);
        uint64_t n = load_relaxed(&s.q.tail) - tail;
        for (unsigned j = 0; j < 1 + i % 3; j++) {
            uint8_t *at = s.q.data + ((tail + rnd((uint32_t)n)) & s.q.mask);
            *at = (uint8_t)(i % 4 ? *at ^ 1u << rnd(8) : rnd(256));
        }
        while (appender_take(&k->app, 4)) /* a length that lies may make many of one */
            ;
        unsigned frames = 0;
        const struct frame *f;
        while ((f = kit_next(k))) { /* checks every frame */
            frames += f->kind == FRAME_DATA;
            assert_true(f->kind != FRAME_DATA || f->day >= KIT_DAY);
        }
        data += frames;
        mixed += frames > 1;
        kit_drain(k);
        assert_null(inject_peek(&s.q));
    }
    assert_true(data > 500 && mixed > 200 && mixed < 4000);
    drop(k, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calendar_of_an_eod_mark),
        cmocka_unit_test(test_each_calendar_ends_by_itself),
        cmocka_unit_test(test_two_dates_in_the_late_window),
        cmocka_unit_test(test_feed_rows_of_two_calendars),
        cmocka_unit_test(test_packet_sequence_over_two_calendars),
        cmocka_unit_test(test_batches_of_a_lcore_behind_an_end),
        cmocka_unit_test(test_an_end_by_hand),
        cmocka_unit_test(test_a_missed_year),
        cmocka_unit_test(test_an_empty_date),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_a_batch_that_falls_apart),
        cmocka_unit_test(test_damaged_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
