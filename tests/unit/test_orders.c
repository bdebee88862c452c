/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor `orders`: every row of trade and bbo against a slow, separate reference
 * (orders_naive.h) over the simulator's flow and over the real ITCH slice; sessions, days, losses
 * and odd messages; the order map and the price levels by themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "orders_double.h"
#include "orders_naive.h"
#include "control/rtp/builtin/orders_stream.h"
#include "perf/sim/flow.h"
#include "support/data.h"

#define MIDNIGHT 848448000000000000ll

/* ---- rows that came out ---- */

struct came { /* a row of either table */
    const uint8_t *at;
    bool bbo;
};
static size_t came_at; /* the next row's place in od.emitted */

static bool came_next(struct came *c)
{
    if (came_at == od.emitted_bytes)
        return false;
    c->at = od.emitted + came_at;
    c->bbo = le16(c->at) == od.out[ORDERS_BBO].schema.id;
    came_at += le16(c->at + 2);
    return true;
}
static const uint8_t *column(const struct came *c, const char *name)
{
    const struct schema *s = &od.out[c->bbo ? ORDERS_BBO : ORDERS_TRADE].schema;
    int i = schema_column(s, name);
    assert_true(i >= 0);
    return c->at + s->col[i].offset;
}
static int64_t whole(const struct came *c, const char *name)
{
    return (int64_t)le64(column(c, name));
}
static double number(const struct came *c, const char *name)
{
    double v;
    memcpy(&v, column(c, name), 8);
    return v;
}
static const char *text(const struct came *c, const char *name)
{
    uint32_t id = le32(column(c, name));
    return id == PST_NULL_SYMBOL ? "" : od.symbol[id].text;
}
static uint32_t flags(const struct came *c)
{
    return le32(column(c, "flags"));
}

static bool same_number(double a, double b)
{
    return a == b || (a != a && b != b);
}
static bool same_bbo(const struct came *c, const struct naive_row *r)
{
    return same_number(number(c, "bid"), r->bid) && same_number(number(c, "ask"), r->ask) &&
           whole(c, "bsize") == (int64_t)r->bsize && whole(c, "asize") == (int64_t)r->asize;
}
static bool same_trade(const struct came *c, const struct naive_row *r)
{
    const char *type = r->type == 'x'   ? "exec"
                       : r->type == 'h' ? "hidden"
                       : r->type == 'c' ? "cross"
                                        : "break";
    return !strcmp(text(c, "type"), type) && same_number(number(c, "price"), r->price) &&
           whole(c, "size") == (int64_t)r->size && whole(c, "match") == (int64_t)r->match &&
           whole(c, "ref") == (int64_t)r->ref && *column(c, "side") == (uint8_t)r->side &&
           *column(c, "printable") == (uint8_t)r->printable &&
           *column(c, "cross") == (uint8_t)r->cross && !strcmp(text(c, "session"), "S");
}
static void same_rows(const struct naive *x)
{
    struct came c = {0};
    came_at = 0;
    for (size_t i = 0; i < x->rows; i++) {
        const struct naive_row *r = &x->row[i];
        if (!came_next(&c))
            fail_msg("row %zu of %zu did not come (seq %llu)", i, x->rows,
                     (unsigned long long)r->seq);
        uint32_t sym = le32(c.at + 4);
        const char *stock = sym == PST_NULL_SYMBOL ? "" : od.symbol[sym].text;
        if (c.bbo != r->bbo || strcmp(stock, r->stock) ||
            (int64_t)le64(c.at + 8) != MIDNIGHT + (int64_t)r->ns ||
            whole(&c, "seq") != (int64_t)r->seq || strcmp(text(&c, "feed"), "itch") || flags(&c) ||
            !(c.bbo ? same_bbo(&c, r) : same_trade(&c, r)))
            fail_msg("row %zu (%s of %s, seq %llu) is not the reference's (seq %llu)", i,
                     c.bbo ? "bbo" : "trade", stock, (unsigned long long)whole(&c, "seq"),
                     (unsigned long long)r->seq);
    }
    assert_false(came_next(&c));
}

/* ---- whole days ---- */

/* Rows of a flow, in frames of at most so many rows (0: as full as the appender makes them). */
static void sim_frames(uint32_t names, uint64_t fill, uint32_t messages, uint32_t per_frame,
                       struct naive *x)
{
    struct flow f;
    struct flow_msg m;
    struct err err;
    int64_t utc = 0;
    assert_true(flow_make(&f, SIM_ITCH, names, 7, &err));
    f.fill = fill;
    for (uint64_t seq = 1; seq <= messages; seq++) {
        f.purge = seq > messages - messages / 8;
        flow_next(&f, utc += 700, &m);
        od_run("itch", "S", seq, 0, OD_DAY);
        od_message(m.bytes, m.len);
        if (per_frame && seq % per_frame == 0)
            od_flush(&od.rows);
        if (x)
            naive_message(x, seq, m.bytes);
    }
    od_flush(&od.rows);
    flow_free(&f);
}

static void sim(void **s)
{
    (void)s;
    od_open(MIDNIGHT);
    struct naive *x = calloc(1, sizeof *x);
    assert_non_null(x);
    sim_frames(300, 10000, 200000, 0, x);
    od_begin();
    od_give_all();
    if (x->rows < 30000)
        fail_msg("only %zu rows", x->rows);
    same_rows(x);
    const struct pst_value *v = od_counts();
    assert_true(v[4].i < 1000);   /* orders: the closing purge */
    assert_int_equal(v[9].i, 0);  /* unknown */
    assert_int_equal(v[10].i, 0); /* odd */
    naive_free(x);
    od_close();
}

/* The same rows come out, however the input is cut into frames, and again after a new beginning. */
static void cuts(void **s)
{
    (void)s;
    static const uint32_t per_frame[] = {0, 1, 3, 64, 500};
    uint8_t *first = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < PST_COUNT(per_frame); i++) {
        od_open(MIDNIGHT);
        sim_frames(50, 500, 30000, per_frame[i], NULL);
        od_begin();
        od_give_all();
        if (!first) {
            bytes = od.emitted_bytes;
            first = malloc(bytes);
            assert_non_null(first);
            memcpy(first, od.emitted, bytes);
            od_begin();
            od_give_all();
        }
        assert_int_equal(od.emitted_bytes, bytes);
        assert_memory_equal(od.emitted, first, bytes);
        od_close();
    }
    free(first);
}

static void real(void **s)
{
    (void)s;
    if (!data_present()) {
        printf("left out: the real ITCH slice (no %s)\n", data_root());
        skip();
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/itch50/itch_runk_locate13_10k.bin", data_root());
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    static uint8_t bytes[400000];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    struct naive *x = calloc(1, sizeof *x);
    assert_non_null(x);
    od_open(MIDNIGHT);
    uint64_t seq = 0;
    for (size_t at = 0; at + 2 <= n && be16(bytes + at); at += 2u + be16(bytes + at)) {
        od_run("itch", "S", ++seq, 0, OD_DAY);
        od_message(bytes + at + 2, be16(bytes + at));
        naive_message(x, seq, bytes + at + 2);
    }
    od_flush(&od.rows);
    assert_int_equal(seq, 10000);
    od_begin();
    od_give_all();
    same_rows(x);
    assert_int_equal(od_counts()[9].i, 0); /* the book starts empty: every order is known */
    size_t trades = 0;
    for (size_t i = 0; i < x->rows; i++)
        trades += !x->row[i].bbo;
    assert_int_equal(trades, 849 + 240); /* MANIFEST: E and P */
    naive_free(x);
    od_close();
}

/* ---- single messages ---- */

static uint64_t next_seq;

static void be(uint8_t *p, unsigned width, uint64_t v)
{
    for (unsigned i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> 8 * (width - 1 - i));
}
static struct {
    const char *session;
    uint32_t flags;
    int32_t day;
} where;

static uint8_t *message(uint8_t *m, char type, uint64_t ref)
{
    memset(m, 0, 64);
    m[0] = (uint8_t)type;
    be(m + 1, 2, 5);
    be(m + 11, 8, ref);
    return m;
}
/* Gives it at once, as a frame of one row. */
static void give(const uint8_t *m, uint32_t len)
{
    od_run("itch", where.session, next_seq++, where.flags, where.day);
    od_message(m, len);
    od_flush(&od.rows);
    assert_int_equal(od_give(&od.frame[od.frames - 1]), 0);
}
static void add(uint64_t ref, char side, uint32_t shares, uint32_t price)
{
    uint8_t m[64];
    message(m, 'A', ref);
    m[19] = (uint8_t)side;
    be(m + 20, 4, shares);
    memcpy(m + 24, "AAPL    ", 8);
    be(m + 32, 4, price);
    give(m, 36);
}
static void executed(uint64_t ref, uint32_t shares, uint64_t match)
{
    uint8_t m[64];
    message(m, 'E', ref);
    be(m + 19, 4, shares);
    be(m + 23, 8, match);
    give(m, 31);
}
static void executed_at(uint64_t ref, uint32_t shares, uint64_t match, char printable,
                        uint32_t price)
{
    uint8_t m[64];
    message(m, 'C', ref);
    be(m + 19, 4, shares);
    be(m + 23, 8, match);
    m[31] = (uint8_t)printable;
    be(m + 32, 4, price);
    give(m, 36);
}
static void deleted(uint64_t ref)
{
    uint8_t m[64];
    give(message(m, 'D', ref), 19);
}
static void replaced(uint64_t ref, uint64_t newref, uint32_t shares, uint32_t price)
{
    uint8_t m[64];
    message(m, 'U', ref);
    be(m + 19, 8, newref);
    be(m + 27, 4, shares);
    be(m + 31, 4, price);
    give(m, 35);
}

static void bbo_is(double bid, int64_t bsize, double ask, int64_t asize)
{
    struct came c = {0};
    assert_true(came_next(&c));
    assert_true(c.bbo);
    struct naive_row r = {
        .bid = bid, .bsize = (uint64_t)bsize, .ask = ask, .asize = (uint64_t)asize};
    if (!same_bbo(&c, &r))
        fail_msg("%g %lld %g %lld", number(&c, "bid"), (long long)whole(&c, "bsize"),
                 number(&c, "ask"), (long long)whole(&c, "asize"));
}
static struct came trade_is(const char *type, double price, int64_t size, uint64_t match)
{
    struct came c = {0};
    assert_true(came_next(&c));
    assert_false(c.bbo);
    assert_string_equal(text(&c, "type"), type);
    assert_true(same_number(number(&c, "price"), price));
    assert_int_equal(whole(&c, "size"), size);
    assert_int_equal(whole(&c, "match"), match);
    return c;
}
static void nothing(void)
{
    struct came c = {0};
    assert_false(came_next(&c));
}
static void start(void)
{
    od_open(MIDNIGHT);
    od_begin();
    where.session = "S";
    where.flags = 0;
    where.day = OD_DAY;
    next_seq = 1;
    came_at = 0;
}

static void by_hand(void **s)
{
    (void)s;
    uint8_t m[64];
    start();
    add(1, 'B', 100, 1000000);
    bbo_is(100, 100, NAN, 0);
    add(2, 'S', 50, 1000500);
    bbo_is(100, 100, 100.05, 50);
    add(3, 'B', 70, 999900);
    nothing(); /* behind the best */
    executed(1, 40, 900);
    struct came c = trade_is("exec", 100, 40, 900);
    assert_int_equal(*column(&c, "side"), 'B');
    assert_int_equal(*column(&c, "printable"), 1);
    assert_int_equal(whole(&c, "ref"), 1);
    bbo_is(100, 60, 100.05, 50);
    executed_at(2, 50, 901, 'N', 1000200);
    c = trade_is("exec", 100.02, 50, 901);
    assert_int_equal(*column(&c, "printable"), 0);
    assert_int_equal(*column(&c, "side"), 'S');
    bbo_is(100, 60, NAN, 0);
    replaced(1, 4, 60, 1000000); /* nothing changed */
    nothing();
    replaced(4, 5, 60, 999900);
    bbo_is(99.99, 130, NAN, 0);
    message(m, 'X', 5);
    be(m + 19, 4, 10);
    give(m, 23);
    bbo_is(99.99, 120, NAN, 0);
    deleted(5);
    bbo_is(99.99, 70, NAN, 0);
    deleted(3);
    bbo_is(NAN, 0, NAN, 0);
    message(m, 'B', 901);
    give(m, 19);
    c = trade_is("break", NAN, PST_NULL_LONG, 901);
    assert_int_equal(*column(&c, "printable"), 0);
    assert_int_equal(whole(&c, "ref"), PST_NULL_LONG);
    nothing();
    od_close();
}

static void odd(void **s)
{
    (void)s;
    start();
    executed(77, 10, 1); /* the order was never seen: a print without a price */
    struct came c = trade_is("exec", NAN, 10, 1);
    assert_int_equal(*column(&c, "side"), ' ');
    executed_at(77, 10, 2, 'Y', 50000);
    trade_is("exec", 5, 10, 2);
    deleted(77);
    replaced(77, 78, 10, 10000);
    deleted(78);
    nothing();
    assert_int_equal(od_counts()[9].i, 5); /* unknown: replaced's new order is not known either */
    assert_int_equal(od_counts()[10].i, 0);
    add(1, 'B', 100, 10000);
    bbo_is(1, 100, NAN, 0);
    add(1, 'B', 30, 20000); /* the same reference again: the newer one counts */
    bbo_is(2, 30, NAN, 0);
    executed(1, 50, 3); /* more than there is */
    trade_is("exec", 2, 50, 3);
    bbo_is(NAN, 0, NAN, 0);
    add(2, 'B', 0, 10000);  /* no shares */
    add(3, 'Z', 10, 10000); /* no side */
    nothing();
    add(4, 'S', 10, 10000);
    bbo_is(NAN, 0, 1, 10);
    add(5, 'S', 10, 10000);
    bbo_is(NAN, 0, 1, 20);
    replaced(4, 5, 7, 10000); /* onto one that is there */
    bbo_is(NAN, 0, 1, 7);
    executed(5, 0, 4);
    trade_is("exec", 1, 0, 4);
    nothing();
    assert_int_equal(od_counts()[10].i, 5);
    assert_int_equal(od_counts()[4].i, 1);
    od_close();
}

static void losses(void **s)
{
    (void)s;
    start();
    add(1, 'B', 100, 10000);
    bbo_is(1, 100, NAN, 0);
    where.flags = ROW_MAYBE_BAD_BOOK | ROW_AFTER_GAP;
    add(2, 'B', 100, 10000);
    struct came c = {od.emitted + came_at, true};
    assert_int_equal(flags(&c), ROW_MAYBE_BAD_BOOK | ROW_AFTER_GAP);
    bbo_is(1, 200, NAN, 0);
    where.flags = ROW_MAYBE_BAD_BOOK | ROW_LATE; /* arrive after their gap was declared lost */
    add(3, 'B', 100, 20000);
    nothing();
    executed(1, 100, 5);
    trade_is("exec", 1, 100, 5);
    bbo_is(1, 100, NAN, 0);
    replaced(2, 4, 10, 30000);
    bbo_is(NAN, 0, NAN, 0);
    assert_int_equal(od_counts()[11].i, 2);
    where.flags = 0;
    add(6, 'B', 1, 10000);
    bbo_is(1, 1, NAN, 0);
    struct pst_mark_facts lost = {.size = sizeof lost, .mark = PST_MARK_LOST};
    assert_int_equal(od.processor->mark(&od.r, &lost, NULL), 0);
    add(7, 'B', 1, 20000);
    c = (struct came){od.emitted + came_at, true};
    assert_int_equal(flags(&c), ROW_MAYBE_BAD_BOOK);
    od_close();
}

static uint32_t streams(void)
{
    od_counts();
    return od.nshown;
}

static void sessions(void **s)
{
    (void)s;
    start();
    add(1, 'B', 100, 10000);
    add(2, 'S', 100, 20000);
    bbo_is(1, 100, NAN, 0);
    bbo_is(1, 100, 2, 100);
    where.session = "T"; /* another one beside it: its own books and references */
    add(1, 'B', 5, 10500);
    bbo_is(1.05, 5, NAN, 0);
    where.session = "S#2"; /* a reset of S: its books are empty from here on */
    add(1, 'S', 7, 30000);
    bbo_is(NAN, 0, NAN, 0);
    bbo_is(NAN, 0, 3, 7);
    where.session = "S"; /* a straggler of the other line: no book, but its order's price */
    executed(2, 10, 8);
    struct came c = trade_is("exec", 2, 10, 8);
    assert_string_equal(text(&c, "session"), "S");
    add(9, 'B', 100, 15000);
    nothing();
    where.session = "T";
    deleted(1);
    bbo_is(NAN, 0, NAN, 0);
    od.nshown = 0;
    assert_int_equal(od_counts()[4].i, 2);
    assert_int_equal(od.nshown, 3);
    assert_true(od.shown[0][3].i && !od.shown[1][3].i && !od.shown[2][3].i);

    where.session = "S#2"; /* its day is closed, it goes on */
    where.flags = ROW_LATE_DAY;
    where.day++;
    executed(1, 3, 9);
    trade_is("exec", 3, 3, 9);
    bbo_is(NAN, 0, 3, 4);
    where.session = "U"; /* the next day's: those of the day before may still run on */
    where.flags = 0;
    add(1, 'B', 1, 10000);
    bbo_is(1, 1, NAN, 0);
    assert_int_equal(streams(), 4);
    where.session = "S#2"; /* and this one does: its order is known */
    where.flags = ROW_LATE_DAY;
    executed(1, 1, 10);
    trade_is("exec", 3, 1, 10);
    bbo_is(NAN, 0, 3, 3);
    where.session = "V"; /* beside U, of the same day: nothing ends */
    where.flags = 0;
    add(1, 'B', 1, 10000);
    bbo_is(1, 1, NAN, 0);
    assert_int_equal(streams(), 5);
    where.session = "U"; /* the same name on the next day: S and T were idle since the last one */
    where.day++;
    add(1, 'B', 3, 20000);
    bbo_is(2, 3, NAN, 0);
    assert_int_equal(streams(), 3);
    where.session =
        "W"; /* a day later S#2 was idle, too: its order is forgotten, the print stays */
    where.day++;
    add(1, 'B', 1, 10000);
    bbo_is(1, 1, NAN, 0);
    assert_int_equal(streams(), 2);
    where.session = "S#2";
    where.flags = ROW_LATE_DAY;
    executed(1, 1, 10);
    struct came unknown = trade_is("exec", NAN, 1, 10);
    assert_int_equal(flags(&unknown), ROW_LATE_DAY | ROW_MAYBE_BAD_BOOK);
    where.session = "U";
    where.flags = 0;
    where.day--;
    where.day--; /* and one of the day before, of that name */
    deleted(1);
    executed(1, 1, 11);
    trade_is("exec", NAN, 1, 11);
    nothing();
    od_close();
}

static void refusals(void **s)
{
    (void)s;
    od_open(MIDNIGHT);
    assert_int_equal(orders_register(NULL), 0);
    od.orders = "many";
    assert_int_equal(od.processor->begin(&od.r, NULL), -1);
    assert_non_null(strstr(od.error, "wants a number"));
    od.orders = "5000";
    assert_int_equal(od.processor->begin(&od.r, NULL), 0);
    od.orders = NULL;
    od.in[0].column[8].type = PST_LONG; /* a table of that name, with other columns */
    where.session = "S";
    uint8_t m[64];
    od_run("itch", "S", 1, 0, OD_DAY);
    od_message(message(m, 'D', 1), 19);
    od_flush(&od.rows);
    assert_int_equal(od_give(&od.frame[0]), 0);
    assert_non_null(strstr(od.error, "other columns"));
    assert_int_equal(od.emits, 0);
    assert_int_equal(od.processor->begin(&od.r, NULL), 0);
    od.out[ORDERS_BBO].table.name = "other";
    assert_int_equal(od_give(&od.frame[0]), -1);
    assert_non_null(strstr(od.error, "no table bbo"));
    od.out[ORDERS_BBO].table.name = "bbo";
    od_close();
}

/* ---- the order map ---- */

static uint64_t rnd_state = 88172645463325252ull;
static uint64_t rnd(void)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    return rnd_state ^= rnd_state << 17;
}

/* References as they are: growing, not dense. Grows from 1,024 slots over many times its size, and
 * is looked into at every moment of the moves. */
static void map_model(void **s)
{
    (void)s;
    enum { N = 150000 };
    struct orders_map m;
    static int64_t ref[N];
    static uint32_t level[N];
    assert_true(orders_map_init(&m, 1));
    uint32_t n = 0;
    int64_t next = 1000;
    uint64_t steps = 0, growing = 0;
    while (n < N) {
        growing += m.old != NULL;
        if (rnd() % 8 < 5 || n < 10) {
            next += 1 + (int64_t)(rnd() % 7);
            ref[n] = next;
            level[n] = 1 + (uint32_t)(rnd() % 1000000);
            assert_null(orders_map_find(&m, next));
            assert_true(orders_map_insert(&m, next, (uint32_t)next, level[n]));
            n++;
        } else {
            uint32_t i = (uint32_t)(rnd() % n);
            struct orders_slot *x = orders_map_find(&m, ref[i]);
            assert_non_null(x);
            assert_int_equal(x->level, level[i]);
            assert_int_equal(x->shares, (uint32_t)ref[i]);
            orders_map_remove(&m, x);
            assert_null(orders_map_find(&m, ref[i]));
            ref[i] = ref[--n];
            level[i] = level[n];
        }
        for (int k = 0; k < 3 && n; k++) {
            uint32_t i = (uint32_t)(rnd() % n);
            const struct orders_slot *x = orders_map_find(&m, ref[i]);
            assert_non_null(x);
            assert_int_equal(x->level, level[i]);
        }
        assert_int_equal(m.used, n);
        steps++;
    }
    for (uint32_t i = 0; i < n; i++)
        assert_non_null(orders_map_find(&m, ref[i]));
    assert_true(growing > 1000);
    assert_true(orders_map_bytes(&m) - m.next_touched <= 52u * N);
    while (n)
        orders_map_remove(&m, orders_map_find(&m, ref[--n]));
    for (uint64_t i = 0; i <= m.mask; i++)
        assert_int_equal(m.slot[i].level, 0);
    orders_map_free(&m);
}

/* ---- price levels ---- */

/* Many levels on few books against a plain array of (price, shares). */
static void book_model(void **s)
{
    (void)s;
    enum { PRICES = 3000, BOOKS = 3 };
    static int64_t shares[BOOKS][2][PRICES];
    static uint32_t level[BOOKS][2][PRICES];
    struct orders_books b;
    assert_true(orders_books_init(&b));
    uint32_t book[BOOKS] = {orders_book_make(&b, 12), orders_book_make(&b, 70000),
                            orders_book_make(&b, PST_NULL_SYMBOL)};
    assert_int_equal(orders_book_find(&b, 70000), book[1]);
    assert_int_equal(orders_book_find(&b, PST_NULL_SYMBOL), book[2]);
    assert_int_equal(orders_book_find(&b, 13), 0);
    assert_int_equal(orders_book_find(&b, 1u << 30), 0);
    for (uint32_t i = 0; i < 400000; i++) {
        uint32_t k = (uint32_t)(rnd() % BOOKS), side = rnd() & 1, p = (uint32_t)(rnd() % PRICES);
        bool fill = i < 200000; /* first it grows, then it empties */
        if (rnd() % 8 < (fill ? 6 : 2)) {
            uint32_t n = 1 + (uint32_t)(rnd() % 500);
            uint32_t l = orders_book_add(&b, book[k], side, p / 100.0, n);
            assert_true(l);
            if (shares[k][side][p])
                assert_int_equal(l, level[k][side][p]);
            level[k][side][p] = l;
            shares[k][side][p] += n;
        } else if (shares[k][side][p]) {
            uint32_t best = orders_book(&b, book[k])->side[side].best;
            uint32_t n = rnd() & 1 ? (uint32_t)shares[k][side][p] : 1;
            shares[k][side][p] -= n;
            assert_int_equal(orders_book_take(&b, level[k][side][p], n), best == level[k][side][p]);
        }
        if (i % 64)
            continue;
        struct orders_top t;
        orders_book_top(&b, orders_book(&b, book[k]), &t);
        int bid = PRICES - 1, ask = 0;
        while (bid >= 0 && !shares[k][0][bid])
            bid--;
        while (ask < PRICES && !shares[k][1][ask])
            ask++;
        assert_int_equal(t.bsize, bid < 0 ? 0 : shares[k][0][bid]);
        assert_int_equal(t.asize, ask == PRICES ? 0 : shares[k][1][ask]);
        assert_true(same_number(t.bid, bid < 0 ? NAN : bid / 100.0));
        assert_true(same_number(t.ask, ask == PRICES ? NAN : ask / 100.0));
    }
    uint32_t n = 0;
    for (uint32_t k = 0; k < BOOKS; k++)
        for (uint32_t side = 0; side < 2; side++)
            for (uint32_t p = 0; p < PRICES; p++)
                if (shares[k][side][p]) {
                    n++;
                    orders_book_take(&b, level[k][side][p], (uint32_t)shares[k][side][p]);
                }
    assert_int_equal(orders_books_levels(&b), 0);
    assert_true(n > 1000);
    orders_books_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),    cmocka_unit_test(odd),      cmocka_unit_test(losses),
        cmocka_unit_test(sessions),   cmocka_unit_test(refusals), cmocka_unit_test(map_model),
        cmocka_unit_test(book_model), cmocka_unit_test(sim),      cmocka_unit_test(cuts),
        cmocka_unit_test(real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
