/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rx loop with real feeds (MoldUDP64, no decoder: every message is a row of `undecoded`), on a
 * port that hands out what the test put there, driven by hand.
 */
#include "journal_kit.h"
#include "poll.h"

#define GROUP 0xEF010100u /* 239.1.1.0: line A; .1: line B */
#define UDP   26400

/* ---- a port of packets made here ---- */

#define PACKETS 512u
struct hand_port {
    struct port port;
    uint8_t data[PACKETS][1600];
    struct pkt pkt[PACKETS];
    unsigned n, at;
    bool end; /* PORT_END behind the last */
    unsigned polls;
};

static int hand_rx(struct port *port, struct pkt *out, int max)
{
    struct hand_port *p = (struct hand_port *)port;
    p->polls++;
    int n = 0;
    for (; n < max && p->at < p->n; n++)
        out[n] = p->pkt[p->at++];
    return n || !p->end ? n : PORT_END;
}
static const struct port_ops hand_ops = {.rx = hand_rx};

static uint8_t *headers(uint8_t *d, uint32_t ip, uint16_t port, uint32_t payload)
{
    static const uint8_t head[42] = {0x01, 0, 0x5e, 1, 1, 0, 2, 2, 2,  2, 2, 2,  0x08, 0x00, 0x45,
                                     0,    0, 0,    0, 0, 0, 0, 9, 17, 0, 0, 10, 0,    0,    1};
    memcpy(d, head, sizeof head);
    put16(d + 16, __builtin_bswap16((uint16_t)(28 + payload)));
    put32(d + 30, __builtin_bswap32(ip));
    put16(d + 34, __builtin_bswap16(1000));
    put16(d + 36, __builtin_bswap16(port));
    put16(d + 38, __builtin_bswap16((uint16_t)(8 + payload)));
    put16(d + 40, 0);
    return d + 42;
}

static void add_pkt(struct hand_port *p, uint32_t len, int64_t t)
{
    assert_true(p->n < PACKETS);
    p->pkt[p->n] = (struct pkt){p->data[p->n], len, len, t, 0, CLOCK_CAPTURE, 0};
    p->n++;
}

/* count messages of 20 bytes, the first numbered seq; each begins with its number. */
static void mold(struct hand_port *p, unsigned line, uint64_t seq, unsigned count, int64_t t)
{
    uint32_t payload = 20 + count * 22;
    uint8_t *d = headers(p->data[p->n], GROUP + line, UDP, payload);
    memcpy(d, "SESSION001", 10);
    put64(d + 10, __builtin_bswap64(seq));
    put16(d + 18, __builtin_bswap16((uint16_t)count));
    for (unsigned i = 0; i < count; i++) {
        uint8_t *m = d + 20 + i * 22;
        put16(m, __builtin_bswap16(20));
        memset(m + 2, 'm', 20);
        put64(m + 2, seq + i);
    }
    add_pkt(p, 42 + payload, t);
}

/* ---- a lcore ---- */

struct lcore {
    struct kit *k;
    struct hand_port *port;
    struct groups groups;
    struct feed *feed;
    struct rx rx;
};

static struct lcore *lcore_new(struct kit *k, unsigned index, struct inject_rows *inject)
{
    struct err e;
    struct lcore *l = aligned_alloc(64, pst_align_up(sizeof *l, 64));
    memset(l, 0, sizeof *l);
    l->k = k;
    l->port = calloc(1, sizeof *l->port);
    l->port->port = (struct port){&hand_ops, PORT_MEM, "hand"};
    struct group_route r[2] = {{GROUP, UDP, RX_ROUTE(index, 0)},
                               {GROUP + 1, UDP, RX_ROUTE(index, 1)}};
    assert_true(groups_init(&l->groups, r, 2, GROUP_NONE, &e));
    struct feed_config fc = {.name = index ? "second" : "first",
                             .framing = framing_find("moldudp64"),
                             .nlines = 2,
                             .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}},
                             .reorder_ns = -1,
                             .room_reserve = rx_worst(0),
                             .fixed_date = KIT_DAY};
    assert_non_null(fc.framing);
    l->feed = feed_open(&fc, k->status, index, &e);
    assert_non_null(l->feed);
    struct rx_config rc = {.status = k->status,
                           .clock = &k->clock,
                           .appender = inject ? NULL : &k->app,
                           .inject = inject,
                           .symbols = &k->symbols,
                           .days = &k->app.days};
    assert_true(rx_init(&l->rx, &rc, &e));
    assert_true(rx_add_port(&l->rx, &l->port->port, &l->groups, &k->status->ports[index],
                            CHECKSUM_OFF, 0, &e));
    rx_add_feed(&l->rx, l->feed, index);
    k->app.cfg.hooks = (struct appender_hooks){&l->rx, rx_states, rx_sessions};
    return l;
}

static void lcore_free(struct lcore *l)
{
    feed_close(l->feed);
    groups_fini(&l->groups);
    free(l->port);
    free(l);
}

static uint64_t counter(struct kit *k, enum counter c)
{
    return load_relaxed(&k->status->counter[c]);
}

/* Reads on: rows must be numbered from *seq on without a hole, each holding its own number. */
static unsigned read_rows(struct kit *k, uint64_t *seq)
{
    unsigned rows = 0;
    const struct frame *f;
    while ((f = kit_next(k)))
        if (f->kind == FRAME_DATA) {
            struct record_walk w;
            record_walk_start(&w, f);
            const struct record *r;
            while ((r = record_walk_next(&w))) {
                uint32_t n;
                const char *b =
                    record_string(r, k->undecoded->col[SCHEMA_FEED_COLUMNS + 2].offset, &n);
                assert_int_equal(n, 20);
                assert_true(record_walk_seq(&w) == (int64_t)*seq && le64(b) == *seq);
                ++*seq;
                rows++;
            }
        }
    return rows;
}

/* ---- tests ---- */

static void test_two_lines_become_one_stream(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct lcore *l = lcore_new(k, 0, NULL);
    int64_t t = k->app.now;
    uint64_t seq = 1;
    for (unsigned i = 0; i < 100; i++) {
        if (i != 30) /* A loses one, B another */
            mold(l->port, 0, seq, 3, t + i * 1000);
        if (i != 60)
            mold(l->port, 1, seq, 3, t + i * 1000 + 10);
        seq += 3;
    }
    uint8_t *d = headers(l->port->data[l->port->n], GROUP + 9, UDP, 30);
    memset(d, 0, 30);
    add_pkt(l->port, 72, t + 200000);
    memset(l->port->data[l->port->n], 0, 60);
    put16(l->port->data[l->port->n] + 12, 0x0608); /* ARP */
    add_pkt(l->port, 60, t + 200000);
    add_pkt(l->port, 5, t + 200000); /* a runt */
    unsigned rounds = 0;
    while (rx_round(&l->rx))
        assert_true(++rounds < 100);
    uint64_t next = 1;
    assert_int_equal(read_rows(k, &next), 300);
    assert_int_equal(counter(k, COUNTER_RX_PACKETS), 201);
    assert_true(counter(k, COUNTER_RX_BURSTS) >= 201 / PORT_BURST);
    assert_int_equal(load_relaxed(&k->status->ports[0].taken), 201);
    assert_int_equal(load_relaxed(&k->status->drop[DROP_wrong_group]), 1);
    assert_int_equal(load_relaxed(&k->status->drop[DROP_arp]), 1);
    assert_int_equal(load_relaxed(&k->status->drop[DROP_runt]), 1);
    assert_int_equal(counter(k, COUNTER_APPEND_ROWS), 300);
    assert_int_equal(counter(k, COUNTER_APPEND_GAPS), 0);
    const char *feed, *session;
    uint64_t at;
    assert_int_equal(rx_sessions(&l->rx, 0, &feed, &session, &at), 1);
    assert_string_equal(feed, "first");
    assert_string_equal(session, "SESSION001");
    assert_int_equal(at, 301);
    assert_int_equal(rx_sessions(&l->rx, 1, &feed, &session, &at), -1);
    lcore_free(l);
    kit_free(k);
}

static void test_a_full_ring_stops_polling_and_names_the_gap(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct lcore *l = lcore_new(k, 0, NULL);
    int64_t t = k->app.now;
    uint64_t seq = 1, next = 1;
    unsigned polls;
    for (;;) { /* until the loop refuses to poll */
        l->port->n = l->port->at = 0;
        for (unsigned i = 0; i < 32; i++, seq += 60)
            mold(l->port, 0, seq, 60, t += 1000);
        polls = l->port->polls;
        rx_round(&l->rx);
        if (l->port->polls == polls || l->port->at < l->port->n)
            break;
    }
    uint64_t left = ring_free(&k->ring, UINT64_MAX);
    assert_true(left > RING_RESERVE && left < RING_RESERVE + rx_worst(0) +
                                                  PORT_BURST * RX_REPLAY_ROOM + ROWS_FRAME_TARGET);
    do { /* smaller bursts to the end */
        polls = l->port->polls;
        if (l->port->at == l->port->n) {
            l->port->n = l->port->at = 0;
            mold(l->port, 0, seq, 60, t += 1000);
            seq += 60;
        }
        rx_round(&l->rx);
    } while (l->port->polls > polls);
    uint64_t stalls = counter(k, COUNTER_RX_STALLS);
    polls = l->port->polls;
    for (unsigned i = 0; i < 10; i++)
        rx_round(&l->rx);
    assert_int_equal(l->port->polls, polls);
    assert_int_equal(counter(k, COUNTER_RX_STALLS), stalls + 10);
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_RING_FULL]), 1);
    /* the NIC loses packets meanwhile; the log catches up */
    uint64_t first_lost = seq - (l->port->n - l->port->at) * 60ull;
    read_rows(k, &next);
    assert_int_equal(next, first_lost);
    kit_drain(k);
    l->port->n = l->port->at = 0;
    mold(l->port, 0, seq + 600, 10, t += 1000);
    mold(l->port, 1, seq + 600, 10, t += 1000);
    mold(l->port, 0, seq + 610, 10, t += 50 * NS_PER_MS); /* the window has passed */
    while (rx_round(&l->rx))
        ;
    const struct frame *f = kit_find(k, FRAME_GAP);
    assert_non_null(f);
    struct record_walk w;
    record_walk_start(&w, f);
    const uint8_t *r = (const uint8_t *)record_walk_next(&w);
    assert_int_equal(le64(r + k->gap->col[GAP_FIRST].offset), first_lost);
    assert_int_equal(le64(r + k->gap->col[GAP_LAST].offset), seq + 599);
    uint32_t n;
    const char *reason = symbols_text(&k->symbols, le32(r + k->gap->col[GAP_REASON].offset), &n);
    assert_int_equal(n, 9);
    assert_memory_equal(reason, "ring_full", 9);
    next = seq + 600;
    assert_int_equal(read_rows(k, &next), 20);
    lcore_free(l);
    kit_free(k);
}

static void test_replay_puts_the_end_of_day_between_two_packets(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct lcore *l = lcore_new(k, 0, NULL);
    k->app.cfg.ticks = true;
    int64_t eod = (KIT_DAY + 1) * NS_PER_DAY;
    for (unsigned i = 0; i < 20; i++) /* one burst; the day ends before packet 13 */
        mold(l->port, 0, 1 + i, 1, eod + ((int64_t)i - 13) * NS_PER_MS);
    l->port->end = true;
    struct due_item d = {
        .id = 1, .at = eod, .kind = DUE_EOD, .day = KIT_DAY, .json_len = 2, .json = "{}"};
    assert_true(due_publish(&k->due, &d, 1, NULL));
    unsigned rounds = 0;
    while (!load_acquire(&l->rx.finished)) {
        rx_round(&l->rx);
        assert_true(++rounds < 10);
    }
    uint64_t rows_before = 0, rows_after = 0;
    bool seen = false;
    unsigned states = 0;
    const struct frame *f;
    while ((f = kit_next(k))) {
        unsigned type = 0;
        uint32_t n;
        if (f->kind == FRAME_MARK) {
            frame_mark(f, &type, &n);
            if (type == MARK_EOD) {
                seen = true;
                assert_true(f->time == eod);
            }
            states += type == MARK_STATE;
        }
        if (f->kind == FRAME_DATA) {
            struct record_walk w;
            record_walk_start(&w, f);
            while (record_walk_next(&w)) {
                rows_before += !seen;
                rows_after += seen;
                /* rows of the closed day that come after its end say so */
                assert_true(!(w.packet->flags & ROW_LATE_DAY) == !seen);
            }
            assert_true((f->time < eod) == !seen);
        }
    }
    assert_true(seen);
    assert_int_equal(rows_before, 13);
    assert_int_equal(rows_after, 7);
    assert_true(clock_now(&k->clock) == eod + 6 * NS_PER_MS);
    for (int i = 0; i < 3; i++)
        rx_round(&l->rx);
    while ((f = kit_next(k))) {
        unsigned type = 0;
        uint32_t n;
        if (f->kind == FRAME_MARK && frame_mark(f, &type, &n))
            states += type == MARK_STATE;
    }
    assert_true(states >= 1); /* the roll wrote where the session stands */
    lcore_free(l);
    kit_free(k);
}

static void test_a_second_lcore_goes_through_its_inject_ring(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct err e;
    struct inject q;
    assert_true(inject_create(&q, RX_INJECT_MIN, &e));
    struct inject_options o = {100, 1024, true};
    assert_true(appender_add_inject(&k->app, &q, 1, &o, &e));
    struct inject_rows w;
    struct inject_rows_config c = {&q, &k->symbols, k->schemas, k->status, 1024, 100, KIT_DAY};
    assert_true(inject_rows_init(&w, &c, &e));
    struct lcore *two = lcore_new(k, 1, &w);
    struct lcore *one = lcore_new(k, 0, NULL);
    int64_t t = k->app.now;
    uint64_t seq = 1;
    for (unsigned i = 0; i < 200; i++, seq += 40)
        mold(two->port, i & 1, seq, 40, t + i * 1000);
    for (unsigned i = 0; i < 40; i++) {
        rx_round(&two->rx);
        rx_round(&one->rx);
    }
    uint64_t next = 1;
    assert_int_equal(read_rows(k, &next), 8000);
    assert_int_equal(counter(k, COUNTER_APPEND_BAD_BATCHES), 0);
    assert_int_equal(load_relaxed(&k->status->ports[1].taken), 200);

    /* the appender stands still: the second lcore fills its ring and stops, losing nothing itself
     */
    unsigned rounds = 0;
    do {
        two->port->n = two->port->at = 0;
        for (unsigned i = 0; i < 32; i++, seq += 60)
            mold(two->port, 0, seq, 60, t += 1000);
        while (rx_round(&two->rx))
            ;
        assert_true(++rounds < 200);
    } while (two->port->at == two->port->n);
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_INJECT_FULL]), 1);
    assert_int_equal(load_relaxed(&k->status->alarm_signal[ALARM_RING_FULL]), 0);
    for (unsigned i = 0; i < 400; i++) {
        rx_round(&one->rx);
        read_rows(k, &next);
        kit_drain(k);
        rx_round(&two->rx);
    }
    rx_round(&one->rx);
    read_rows(k, &next);
    assert_int_equal(next, seq);
    lcore_free(one);
    lcore_free(two);
    inject_rows_fini(&w);
    inject_destroy(&q);
    kit_free(k);
}

static void test_commands(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct lcore *l = lcore_new(k, 0, NULL);
    struct command_ring *r = &l->rx.commands;
    struct command c = {.feed = 0, .line = 1, .what = FEED_LINE_OFF};
    bool ok = false;
    uint64_t t1 = command_send(r, &c);
    c.feed = 5;
    uint64_t t2 = command_send(r, &c);
    assert_false(command_done(r, t1, &ok));
    rx_round(&l->rx);
    assert_true(command_done(r, t1, &ok));
    assert_true(ok);
    assert_int_equal(load_relaxed(&k->status->feeds[0].line[1].state), LINE_OFF);
    assert_true(command_done(r, t2, &ok));
    assert_false(ok); /* no such feed on this lcore */
    for (unsigned i = 0; i < COMMAND_SLOTS; i++)
        assert_true(command_send(r, &c));
    assert_int_equal(command_send(r, &c), 0);
    rx_round(&l->rx);
    assert_true(command_send(r, &c));
    lcore_free(l);
    kit_free(k);
}

static void test_a_sink_that_cannot_take_one_packet_is_refused(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct lcore *l = lcore_new(k, 0, NULL);
    struct err e = {0};
    assert_false(rx_add_port(&l->rx, &l->port->port, &l->groups, &k->status->ports[1], CHECKSUM_OFF,
                             1u << 20, &e));
    assert_non_null(strstr(e.text, "hand"));
    lcore_free(l);
    kit_free(k);
}

/* No port: a plain tickerplant's appender. */
static void test_without_ports(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 100);
    struct err e;
    struct inject q;
    assert_true(inject_create(&q, INJECT_MIN, &e));
    struct inject_options o = {100, 1024, false};
    assert_true(appender_add_inject(&k->app, &q, 1, &o, &e));
    struct inject_rows w;
    struct inject_rows_config c = {&q, &k->symbols, k->schemas, k->status, 1024, 100, KIT_DAY};
    assert_true(inject_rows_init(&w, &c, &e));
    struct rx *rx = calloc(1, sizeof *rx);
    struct rx_config rc = {
        .status = k->status, .clock = &k->clock, .appender = &k->app, .symbols = &k->symbols};
    assert_true(rx_init(rx, &rc, &e));
    kit_trade_row(k, &w, "A", "note", 0);
    inject_rows_flush(&w);
    assert_int_equal(rx_round(rx), 1);
    assert_int_equal(rx_round(rx), 0);
    assert_non_null(kit_find(k, FRAME_DATA));
    free(rx);
    inject_rows_fini(&w);
    inject_destroy(&q);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_lines_become_one_stream),
        cmocka_unit_test(test_a_full_ring_stops_polling_and_names_the_gap),
        cmocka_unit_test(test_replay_puts_the_end_of_day_between_two_packets),
        cmocka_unit_test(test_a_second_lcore_goes_through_its_inject_ring),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_a_sink_that_cannot_take_one_packet_is_refused),
        cmocka_unit_test(test_without_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
