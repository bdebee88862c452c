/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams in the appender: random feeds and publishers through two appenders, one of which has a
 * table in the interval stream. Every row is there once, as it was, in the order of its stream;
 * runs say the same sequences; a frame has one stream. And the ends of intervals.
 */
#include "journal_kit.h"

static uint64_t rng;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

static uint8_t streams[TABLE_MAX];

struct source {
    struct inject q;
    struct inject_rows w;
};

static struct kit *kit_of(bool with, struct source *s)
{
    struct kit *k = kit_new(1024, 1000);
    struct err e;
    struct appender_config c = k->app.cfg;
    appender_fini(&k->app);
    c.stream_of = with ? streams : NULL;
    assert_true(appender_init(&k->app, &c, &e));
    appender_begin(&k->app, clock_now(&k->clock));
    assert_true(inject_create(&s->q, INJECT_MIN, &e));
    struct inject_options o = {1000, 1024, false};
    assert_true(appender_add_inject(&k->app, &s->q, 1, &o, &e));
    struct inject_rows_config ic = {&s->q, &k->symbols, k->schemas, k->status,
                                    1024,  UINT32_MAX,  KIT_DAY};
    assert_true(inject_rows_init(&s->w, &ic, &e));
    return k;
}

/* What a reader sees of a row. */
struct seen {
    uint16_t table, bytes;
    uint8_t stream;
    uint32_t flags;
    int64_t rxtime, seq; /* -1: none */
    uint64_t sum;        /* of the record */
};
struct all {
    struct seen row[40000];
    uint32_t n;
    uint64_t seqs, packets; /* as counters count them */
};

static void read_all(struct kit *k, struct all *a)
{
    const struct frame *f;
    while ((f = kit_next(k))) {
        if (f->kind != FRAME_DATA)
            continue;
        const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
        const struct packet_record *p;
        bool bad = false;
        uint32_t records = 0;
        if (le16(at) == TABLE_PACKET)
            while ((p = packet_hop(&at, end, &bad))) {
                assert_true(p->rows > 0);
                a->seqs += p->seqs;
                records += 1 + p->rows;
                if (!(p->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)))
                    assert_int_equal(p->seqs, p->rows);
            }
        assert_false(bad);
        assert_true(!records || records == f->count);
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while ((r = record_walk_next(&w))) {
            struct seen *x = &a->row[a->n++];
            assert_true(a->n < PST_COUNT(a->row));
            int64_t seq = -1;
            if (w.packet && !(w.packet->flags & RUN_UNSEQUENCED))
                seq = (int64_t)w.packet->seq +
                      (w.packet->flags & RUN_PACKET_SEQ ? 0 : (int64_t)w.row - 1);
            *x = (struct seen){r->table,
                               r->bytes,
                               f->stream,
                               w.packet ? w.packet->flags : 0,
                               w.packet ? w.packet->rxtime : 0,
                               seq,
                               0};
            for (uint32_t i = 0; i < r->bytes; i++)
                x->sum = x->sum * 31 + ((const uint8_t *)r)[i];
        }
        assert_false(w.bad);
    }
}

/* One row of `undecoded` or of quote, as one script for both appenders. */
static void play(struct kit *k, struct source *s, uint64_t seed, unsigned home, bool other)
{
    struct rows *r = &k->app.rows;
    uint64_t seq = 1;
    rng = seed;
    for (unsigned step = 0; step < 300; step++) {
        switch (rnd(8)) {
        case 0:
            appender_flush(&k->app);
            break;
        case 1:
            for (unsigned i = rnd(4); i; i--)
                kit_trade_row(k, &s->w, "T", rnd(2) ? "note" : "", 0);
            inject_rows_flush(&s->w);
            appender_take(&k->app, 4);
            break;
        case 2:
            kit_at(k, k->app.now + rnd(1000));
            break;
        default: {
            uint32_t flags = rnd(5) == 0 ? RUN_PACKET_SEQ : rnd(9) == 0 ? RUN_UNSEQUENCED : 0;
            flags |= rnd(12) == 0 ? ROW_RECOVERED : 0;
            struct run n = {.seq = seq,
                            .rxtime = 1000 + step,
                            .feed = rows_symbol(r, "itch", 4),
                            .session = rows_symbol(r, "S1", 2),
                            .line = rows_symbol(r, "A", 1),
                            .flags = flags,
                            .day = (uint16_t)(KIT_DAY + (rnd(40) == 0)),
                            .home = (uint8_t)home};
            rows_run(r, &n);
            uint32_t rows = 1 + rnd(rnd(10) ? 12 : 400);
            for (uint32_t i = 0; i < rows; i++) {
                if (other && rnd(4) == 0)
                    rows_undecoded(r, (int32_t)i, PST_NULL_SYMBOL, (const uint8_t *)"abcdefghij",
                                   rnd(11));
                else
                    kit_quote_row(k, r, rnd(3) ? "A" : "B", (double)rnd(100));
            }
            seq += flags & RUN_UNSEQUENCED ? 0 : flags & RUN_PACKET_SEQ ? 1 : rows;
        }
        }
    }
    appender_flush(&k->app);
}

static void test_same_rows(void **state)
{
    (void)state;
    static struct all plain, both;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct source s[2];
        struct kit *k = kit_of(false, &s[0]);
        memset(streams, 0, sizeof streams);
        bool swap = seed % 2; /* which of the two is in the interval stream */
        streams[swap ? k->undecoded->id : k->quote->id] = STREAM_INTERVAL;
        if (seed % 3 == 0)
            streams[k->trade->id] = STREAM_INTERVAL;
        /* home of quote known, or not */
        unsigned home = seed % 4 ? 1u + streams[k->quote->id] : 0;
        struct kit *m = kit_of(true, &s[1]);
        memset(&plain, 0, sizeof plain);
        memset(&both, 0, sizeof both);
        play(k, &s[0], seed * 7919, home, true);
        play(m, &s[1], seed * 7919, home, true);
        read_all(k, &plain);
        read_all(m, &both);
        assert_true(plain.n > 500);
        assert_int_equal(plain.n, both.n);
        assert_true(plain.seqs == both.seqs);
        for (unsigned stream = 0; stream < 2; stream++) {
            uint32_t i = 0;
            for (uint32_t n = 0; n < both.n; n++) {
                const struct seen *x = &both.row[n];
                assert_int_equal(x->stream, streams[x->table]);
                if (x->stream != stream)
                    continue;
                while (i < plain.n && streams[plain.row[i].table] != stream)
                    i++;
                struct seen want = plain.row[i++];
                want.stream = (uint8_t)stream;
                assert_memory_equal(x, &want, sizeof want);
            }
        }
        struct kit *const kits[2] = {k, m};
        for (unsigned i = 0; i < 2; i++) {
            appender_fini(&kits[i]->app);
            inject_rows_fini(&s[i].w);
            inject_destroy(&s[i].q);
            kit_free(kits[i]);
        }
    }
}

/* ---- intervals ---- */

static struct kit *interval_kit(int64_t from, uint16_t minute)
{
    struct kit *k = kit_new(1024, 100);
    struct err e;
    struct appender_config c = k->app.cfg;
    appender_fini(&k->app);
    c.interval = (struct appender_interval){true, from, minute, KIT_DAY};
    assert_true(appender_init(&k->app, &c, &e));
    return k;
}

static void next_eoi(struct kit *k, int64_t time, const char *from, const char *to,
                     const char *next)
{
    unsigned type = 0;
    uint32_t len = 0;
    char want[400];
    const struct frame *f = kit_next(k);
    assert_non_null(f);
    const char *json = frame_mark(f, &type, &len);
    assert_int_equal(type, MARK_EOI);
    assert_true(f->time == time);
    int n = snprintf(want, sizeof want,
                     "{\"calendar\":\"default\",\"day\":\"%.10s\",\"from\":\"%s\",\"to\":\"%s\","
                     "\"next\":\"%s\"}",
                     next, from, to, next);
    if (n != (int)len || memcmp(want + 50, json + 50, len - 50))
        fail_msg("%.*s, expected %s", (int)len, json, want);
    int32_t minute = -1;
    assert_true(days_eoi(f, &minute));
    assert_int_equal(minute, atoi(next + 11) / 100 * 60 + atoi(next + 11) % 100);
}

#define MIN (60 * NS_PER_S)

/* KIT_DAY is 2024.08.22 */
static void test_ends(void **state)
{
    (void)state;
    int64_t day = KIT_DAY * NS_PER_DAY;
    struct kit *k = interval_kit(day, 0);
    struct due_item d[3] = {{.id = 1,
                             .at = day + 30 * MIN,
                             .kind = DUE_INTERVALS,
                             .day = KIT_DAY,
                             .step = 30 * MIN,
                             .count = 47,
                             .minute = 30},
                            {.id = 2,
                             .at = day + NS_PER_DAY,
                             .kind = DUE_EOD,
                             .day = KIT_DAY,
                             .json_len = 2,
                             .json = "{}"},
                            {.id = 3,
                             .at = day + NS_PER_DAY + 30 * MIN,
                             .kind = DUE_INTERVALS,
                             .day = KIT_DAY + 1,
                             .step = 30 * MIN,
                             .count = 47,
                             .minute = 30}};
    assert_true(due_publish(&k->due, d, 3, NULL));
    kit_at(k, day + 30 * MIN - 1);
    assert_int_equal(appender_due(&k->app), 0);
    kit_at(k, day + 30 * MIN);
    assert_true(appender_is_due(&k->app, k->app.now));
    assert_int_equal(appender_due(&k->app), 1);
    next_eoi(k, day + 30 * MIN, "2024.08.22D00:00:00.000000000", "2024.08.22D00:30:00.000000000",
             "2024.08.22.0030");
    assert_int_equal(appender_due(&k->app), 0);
    /* the clock jumps over several ends: one mark, of the interval that was; next is that of now */
    kit_at(k, day + 200 * MIN);
    assert_int_equal(appender_due(&k->app), 1);
    next_eoi(k, day + 60 * MIN, "2024.08.22D00:30:00.000000000", "2024.08.22D01:00:00.000000000",
             "2024.08.22.0300");
    /* and over the end of the date: the interval ends first */
    kit_at(k, day + NS_PER_DAY + 61 * MIN);
    assert_true(appender_due(&k->app) >= 3);
    next_eoi(k, day + 210 * MIN, "2024.08.22D03:00:00.000000000", "2024.08.22D03:30:00.000000000",
             "2024.08.22.2330");
    next_eoi(k, day + NS_PER_DAY, "2024.08.22D23:30:00.000000000", "2024.08.23D00:00:00.000000000",
             "2024.08.23.0000");
    unsigned type = 0;
    uint32_t len = 0;
    frame_mark(kit_next(k), &type, &len);
    assert_int_equal(type, MARK_EOD);
    next_eoi(k, day + NS_PER_DAY + 30 * MIN, "2024.08.23D00:00:00.000000000",
             "2024.08.23D00:30:00.000000000", "2024.08.23.0100");
    assert_null(kit_next(k));
    kit_free(k);
}

/* A start in the middle: what ended before is not ended again. */
static void test_start_within(void **state)
{
    (void)state;
    int64_t day = KIT_DAY * NS_PER_DAY;
    struct kit *k = interval_kit(day + 90 * MIN, 90);
    struct due_item d = {.id = 1,
                         .at = day + 30 * MIN,
                         .kind = DUE_INTERVALS,
                         .day = KIT_DAY,
                         .step = 30 * MIN,
                         .count = 4,
                         .minute = 30};
    assert_true(due_publish(&k->due, &d, 1, NULL));
    kit_at(k, day + 119 * MIN);
    assert_int_equal(appender_due(&k->app), 0);
    kit_at(k, day + 500 * MIN);
    assert_int_equal(appender_due(&k->app), 1);
    next_eoi(k, day + 120 * MIN, "2024.08.22D01:30:00.000000000", "2024.08.22D02:00:00.000000000",
             "2024.08.22.0200");
    assert_null(kit_next(k)); /* the series is over */
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_start_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
