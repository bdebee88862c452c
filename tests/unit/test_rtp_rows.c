/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rtp_rows.c - rows of processors as penstock-rtp sends them: blocks that append_check takes,
 * whose points form one chain; the same rows again from every point, islands left out; credit;
 * rows a row at a time with pre, insert and post; processors that fail.
 */
#include "rtp_kit.h"

#define MISBEHAVE "[\"" PST_RTP_MISBEHAVE "\"]"

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    rk_open();
    rk_spawn();
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rk_close();
    return 0;
}

/* ---- what was sent ---- */

#define MOST 40000u
static struct got {
    struct source_point from; /* the block's */
    char sym[16], tag[8];
    int64_t size;
    uint16_t day;
    bool note;
} got[MOST];
static uint32_t ngot;
static struct source_point ends[4096]; /* of blocks */
static uint32_t nends;
static uint64_t number;
static bool acknowledge;

static const char *text_at(const struct append_block *b, uint32_t i, uint32_t *len)
{
    const uint8_t *p = append_texts(b);
    assert_true(i < b->texts);
    while (i--)
        p += 1 + *p;
    *len = *p;
    return (const char *)p + 1;
}

static void copy(char *to, size_t room, const struct append_block *b, uint32_t id)
{
    uint32_t len;
    *to = 0;
    if (id == PST_NULL_SYMBOL)
        return;
    const char *t = text_at(b, id, &len);
    snprintf(to, room, "%.*s", (int)len, t);
}

static void take_block(const struct append_block *b, const struct schema *s, bool with_tag)
{
    const uint8_t *at = append_records(b), *end = at + append_record_bytes(b);
    for (; at < end; at += ((const struct record *)at)->bytes) {
        const struct record *r = (const struct record *)at;
        assert_true(ngot < MOST);
        struct got *g = &got[ngot++];
        *g = (struct got){.from = source_point(b->after, b->after_row), .day = b->day};
        assert_int_equal(r->table, s->id);
        copy(g->sym, sizeof g->sym, b, r->sym);
        memcpy(&g->size, at + s->col[2].offset, 8);
        if (with_tag)
            copy(g->tag, sizeof g->tag, b, le32(at + s->col[3].offset));
        uint32_t len;
        const char *t = record_string(r, s->col[with_tag ? 4 : 3].offset, &len);
        assert_non_null(t);
        g->note = len == 5 && !memcmp(t, "words", 5);
    }
}

/* A ROWS packet: checked as penstockd does, and its chain followed. */
static void take(const struct schema *s, bool with_tag, struct source_progress *at)
{
    static uint8_t body[RTP_BLOCK_BYTES] pst_aligned(8);
    static bool may[TABLE_MAX];
    struct append_found found;
    struct err err = {0};
    memset(may, 0, sizeof may);
    may[s->id] = true;
    struct append_rules rules = {
        .schemas = rk.k->schemas, .may = may, .admin = true, .of_source = true};
    assert_int_equal(rk.m.head.value, ++number);
    memcpy(body, rk.m.body, rk.m.head.length);
    if (!append_check(&rules, body, rk.m.head.length, &found, &err))
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < found.blocks; i++) {
        const struct append_block *b = found.block[i];
        struct source_point to = source_point(b->position, b->row);
        if (!source_fits(at, source_point(b->after, b->after_row), to))
            fail_msg("a block from %llu.%u to %llu.%u; the source stands at %llu.%u",
                     (unsigned long long)b->after, b->after_row, (unsigned long long)b->position,
                     b->row, (unsigned long long)at->at.position, at->at.row);
        source_advance(at, to);
        take_block(b, s, with_tag);
        assert_true(nends < PST_COUNT(ends));
        ends[nends++] = to;
    }
    if (acknowledge)
        rk_tell(RTP_WIRE_ROWS_DONE, 0, number, NULL, 0);
}

/* Until the process has read everything; the rows that it sent. */
static void run(const struct schema *s, bool with_tag, struct source_progress *at)
{
    struct err err = {0};
    bool closed;
    uint64_t ping = 0;
    ngot = nends = 0;
    wire_free(&rk.m);
    for (;;) {
        if (!ping)
            rk_tell(RTP_WIRE_PING, 0, ping = ++rk.ids, NULL, 0);
        struct pollfd p = {rk.fd, POLLIN, 0};
        if (poll(&p, 1, 10000) != 1)
            fail_msg("nothing comes. Log: %s", rk.log);
        assert_int_equal(rtp_wire_receive(rk.fd, 'R', &rk.m, &closed, &err), 1);
        bool done = false;
        if (rk.m.head.type == RTP_WIRE_ROWS)
            take(s, with_tag, at);
        else if (rk.m.head.type == RTP_WIRE_BEAT && rk.m.head.value == ping) {
            assert_true(rtp_beat_parse(&rk.beat, rk.m.body, rk.m.head.length));
            done = rk.beat.position == ring_tail(&rk.k->ring) && !rk.beat.waiting;
            ping = 0;
            if (!done)
                usleep(200);
        } else if (rk.m.head.type == RTP_WIRE_LOG)
            rk_note(&rk.m);
        wire_free(&rk.m);
        if (done)
            return;
    }
}

static void begin(const char *processors, const struct source_progress *at)
{
    char more[300], start[2048];
    number = 0;
    acknowledge = true;
    snprintf(more, sizeof more, ",\"processors\":[%s]", processors);
    json_decref(rk_attach(MISBEHAVE, more));
    int n = snprintf(start, sizeof start, "{\"point\":[%llu,%u],\"day\":%d,\"islands\":[",
                     (unsigned long long)at->at.position, at->at.row, KIT_DAY);
    for (uint32_t i = 0; i < at->islands; i++)
        n += snprintf(start + n, sizeof start - (size_t)n, "%s[%llu,%u,%llu,%u]", i ? "," : "",
                      (unsigned long long)at->island[i].from.position, at->island[i].from.row,
                      (unsigned long long)at->island[i].to.position, at->island[i].to.row);
    snprintf(start + n, sizeof start - (size_t)n, "]}");
    rk_tell(RTP_WIRE_START, 0, 0, start, strlen(start));
}

static void again(void)
{
    rk_kill();
    rk_spawn();
}

/* ---- the flow: frames of very different sizes ---- */

static int64_t sums[MOST];
static uint32_t ntrades;

static void flow(uint32_t frames)
{
    uint64_t x = 88172645463325252ull;
    int64_t sum = 0;
    ntrades = 0;
    for (uint32_t f = 0; f < frames; f++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint32_t n = x % 16 ? (uint32_t)(x >> 8) % 5 : 700 + (uint32_t)(x >> 8) % 300;
        for (uint32_t i = 0; i < n; i++) {
            char sym[16];
            snprintf(sym, sizeof sym, "s%u", (ntrades * 7) % 300);
            rk_trade(sym, ntrades, "", (uint16_t)(KIT_DAY + (f > frames / 2)));
            sum += ntrades;
            sums[ntrades++] = sum;
        }
        rk_journal();
    }
}

static void same_rows(uint32_t first)
{
    for (uint32_t i = 0; i < ngot; i++) {
        uint32_t n = (first + i) / 2;
        assert_true(n < ntrades);
        char sym[16];
        snprintf(sym, sizeof sym, "s%u", (n * 7) % 300);
        bool second = (first + i) % 2;
        if (got[i].size != (second ? -sums[n] : sums[n]))
            fail_msg("row %u is %lld, not %lld", first + i, (long long)got[i].size,
                     (long long)(second ? -sums[n] : sums[n]));
        assert_string_equal(got[i].sym, second ? "fresh" : sym);
        assert_string_equal(got[i].tag, second ? "tag" : "");
        assert_int_equal(got[i].note, second);
    }
    assert_int_equal(first + ngot, 2 * ntrades);
}

static void test_every_point(void **state)
{
    (void)state;
    static struct source_point point[4096];
    static uint32_t rows_to[4096];
    struct source_progress at = {0};
    flow(120);
    begin("\"test.twice\"", &at);
    run(rk.twice, true, &at);
    same_rows(0);
    assert_int_equal(rk.beat.emitted, 2 * ntrades);
    uint32_t all = ngot, n = nends;
    memcpy(point, ends, sizeof point);
    for (uint32_t e = 0, r = 0; e < n; e++) { /* rows up to each end of a block */
        while (r < all && source_cmp(got[r].from, point[e]) < 0)
            r++;
        rows_to[e] = r;
    }
    bool split = false;
    for (uint32_t e = 0; e < n; e++)
        split |= point[e].row != 0;
    assert_true(split && n > 5);
    for (uint32_t e = 0; e < n; e++) {
        again();
        at = (struct source_progress){.at = point[e]};
        begin("\"test.twice\"", &at);
        run(rk.twice, true, &at);
        same_rows(rows_to[e]);
    }
}

/* A crash has left islands: their rows are not sent, and every block ends where one begins. */
static void test_islands(void **state)
{
    (void)state;
    struct source_progress at = {0};
    flow(150);
    begin("\"test.twice\"", &at);
    run(rk.twice, true, &at);
    uint32_t n = nends, all = ngot;
    struct source_point p[4096];
    memcpy(p, ends, sizeof p);
    assert_true(n >= 8);
    static struct got whole[MOST];
    memcpy(whole, got, sizeof whole);
    for (uint32_t e = 0; e + 4 < n; e++) {
        again();
        at = (struct source_progress){.at = e ? p[e - 1] : source_point(0, 0), .islands = 2};
        at.island[0] = (struct source_range){p[e], p[e + 1]};
        at.island[1] = (struct source_range){p[e + 2], p[e + 3]};
        struct source_progress was = at;
        begin("\"test.twice\"", &at);
        run(rk.twice, true, &at);
        assert_int_equal(at.islands, 0);
        uint32_t k = 0;
        for (uint32_t r = 0; r < all; r++) {
            struct source_point from = whole[r].from;
            if (source_cmp(from, was.at) < 0 ||
                (source_cmp(from, was.island[0].from) >= 0 &&
                 source_cmp(from, was.island[0].to) < 0) ||
                (source_cmp(from, was.island[1].from) >= 0 &&
                 source_cmp(from, was.island[1].to) < 0))
                continue;
            assert_true(k < ngot);
            if (got[k].size != whole[r].size)
                fail_msg("row %u: %lld, not %lld", k, (long long)got[k].size,
                         (long long)whole[r].size);
            k++;
        }
        assert_int_equal(k, ngot);
    }
}

/* Who subscribes while the state is being rebuilt is answered when it is. */
static void test_subscribe_in_replay(void **state)
{
    (void)state;
    static const char *const well[] = {"how", "s", "well", "syms", "S", "", NULL};
    struct source_progress at = {.at = source_point(ring_tail(&rk.k->ring) + 100, 0)};
    begin("\"test.twice\"", &at);
    uint64_t id = rk_ask(RTP_WIRE_SUBSCRIBE, "test.rows", well);
    rk_ping(); /* and it is not stuck */
    assert_int_equal(rk.beat.replaying, 1);
    assert_int_equal(rk.beat.subscriptions, 0);
    while (ring_tail(&rk.k->ring) < at.at.position) {
        rk_trade("a", 1, "", KIT_DAY);
        rk_journal();
    }
    rk_expect(RTP_WIRE_SUBSCRIBED);
    assert_int_equal(rk.m.head.id, id);
    rk_ping();
    assert_int_equal(rk.beat.replaying, 0);
    assert_int_equal(rk.beat.updates, 0); /* what was before the point was told before */
    assert_int_equal(rk.beat.emitted, 0);
}

/* Without an answer it stops reading; it goes on with one. */
static void test_credit(void **state)
{
    (void)state;
    struct source_progress at = {0};
    begin("\"test.twice\"", &at);
    acknowledge = false;
    ngot = nends = 0;
    for (int i = 0; i < 200; i++) {
        rk_trade("a", i, "", KIT_DAY);
        rk_journal();
        if (i >= (int)RTP_ROWS_CREDIT)
            continue;
        rk_expect(RTP_WIRE_ROWS); /* each on its own */
        take(rk.twice, true, &at);
    }
    usleep(20000);
    rk_ping();
    assert_int_equal(rk.beat.waiting, RTP_ROWS_CREDIT);
    assert_true(rk.beat.position < ring_tail(&rk.k->ring));
    uint32_t before = ngot;
    assert_int_equal(before, 2 * RTP_ROWS_CREDIT);
    acknowledge = true;
    rk_tell(RTP_WIRE_ROWS_DONE, 0, number, NULL, 0);
    run(rk.twice, true, &at);
    assert_int_equal(before + ngot, 400);
}

/* No row outlives what it was made of: a crash may take the end of one date's file and leave that
 * of another, where the rows made of it are. Streams do not wait. */
static void test_synced_only(void **state)
{
    (void)state;
    static const char *const well[] = {"how", "s", "well", "syms", "S", "", NULL};
    struct source_progress at = {0};
    begin("\"test.twice\"", &at);
    rk_trade("a", 1, "", KIT_DAY);
    rk_journal();
    run(rk.twice, true, &at);
    assert_int_equal(ngot, 2);
    rk_trade("a", 2, "", KIT_DAY);
    rk_journal_unsynced();
    usleep(30000);
    rk_ping();
    assert_int_equal(rk.beat.emitted, 2);
    assert_true(rk.beat.position < ring_tail(&rk.k->ring));
    kit_drain(rk.k);
    run(rk.twice, true, &at);
    assert_int_equal(ngot, 2);
    again();
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    rk_subscribe("test.rows", well);
    rk_trade("a", 3, "", KIT_DAY);
    rk_journal_unsynced();
    rk_expect(RTP_WIRE_UPDATE);
    assert_int_equal(rk_long("size", 0), 3);
}

/* ---- a row at a time ---- */

static void test_pre_and_post(void **state)
{
    (void)state;
    struct source_progress at = {0};
    number = 0;
    acknowledge = true;
    json_decref(
        rk_attach(MISBEHAVE, ",\"processors\":[\"test.pre\"],\"insert\":{\"trade\":\"clean\"}"));
    static const char start[] = "{\"point\":[0,0],\"day\":9000}";
    rk_start(start);
    for (int i = 0; i < 100; i++)
        rk_trade("x", i, i % 2 ? "words" : "", KIT_DAY);
    rk_journal();
    run(rk.clean, false, &at);
    assert_int_equal(ngot, 90); /* below 10: dropped, neither inserted nor post-processed */
    for (uint32_t i = 0; i < ngot; i++) {
        assert_int_equal(got[i].size, 2 * (i + 10));
        assert_string_equal(got[i].sym, "x");
        assert_int_equal(got[i].note, i % 2);
        assert_int_equal(got[i].day, KIT_DAY);
    }
    static const char *const posts[] = {"what", "s", "posts", NULL};
    assert_int_equal(rk_call("test.try", posts), 90); /* it fails where it did not get both rows */
}

/* ---- failures ---- */

static void ends_with(const char *part)
{
    int status;
    while (rk_message())
        ;
    status = rk_status();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    if (!strstr(rk.log, part))
        fail_msg("%s", rk.log);
}

static void test_failures(void **state)
{
    (void)state;
    struct source_progress at = {0};
    begin("\"test.twice\"", &at);
    rk_trade("a", -1, "", KIT_DAY);
    rk_journal();
    ends_with("processor test.twice: a frame: a size of -1");
    again();
    /* a table that is not among the group's */
    json_decref(
        rk_attach(MISBEHAVE, ",\"processors\":[\"test.twice\"],\"subscriptions\":[\"quote\"]"));
    rk_tell(RTP_WIRE_START, 0, 0, "{\"point\":[0,0]}", 15);
    ends_with("reads the table trade: add it");
    again();
    json_decref(
        rk_attach(MISBEHAVE, ",\"processors\":[\"test.pre\"],\"insert\":{\"trade\":\"twice\"}"));
    rk_tell(RTP_WIRE_START, 0, 0, "{\"point\":[0,0],\"day\":9000}", 26);
    rk_trade("a", 50, "", KIT_DAY);
    rk_journal();
    ends_with("trade has no column tag");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_every_point), T(test_islands),      T(test_credit),  T(test_subscribe_in_replay),
        T(test_synced_only), T(test_pre_and_post), T(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
