/* SPDX-License-Identifier: Apache-2.0 */
/* The content hash: what it must not depend on, what it leaves out, and that every type counts. */
#include "content_hash.h"
#include "rows_kit.h"

enum { ITCH, S1, LINE_A, AAPL, LOST, TEXTS };
static const char *const texts[TEXTS] = {"itch", "S1", "A", "AAPL", "lost"};

static struct pk pk;
static struct schema all, feed, gap_table;
static uint8_t buf[FRAME_MAX] pst_aligned(64);

/* A reader whose ids are shifted by `ids` and whose tables have ids from `first`. */
struct reader {
    struct dictionary d;
    struct content_hash h;
    uint32_t ids;
    uint16_t first;
};
static void reader_open(struct reader *r, uint32_t ids, uint16_t first)
{
    assert_true(dictionary_init(&r->d, NULL) && content_hash_init(&r->h, NULL));
    r->ids = ids;
    r->first = first;
    for (uint32_t i = 0; i < TEXTS; i++)
        dictionary_teach(&r->d, i + ids, texts[i], (uint32_t)strlen(texts[i]));
    struct schema s[3] = {all, feed, gap_table};
    for (uint16_t i = 0; i < 3; i++) {
        s[i].id = (uint16_t)(first + i);
        assert_true(schema_set_add(r->d.schemas, &s[i], NULL));
    }
}
static void reader_close(struct reader *r)
{
    dictionary_free(&r->d);
    content_hash_free(&r->h);
}
static void take(struct reader *r, uint8_t kind, uint64_t position)
{
    assert_true(content_hash_frame(&r->h, &r->d, pk_make(&pk, buf, kind, position, LK_DAY)));
}
static struct hash128 sum(struct reader *r, const char *table)
{
    const struct content_sum *s = content_hash_find(&r->h, table, LK_DAY);
    assert_non_null(s);
    return content_sum_hash(s);
}
static bool same(struct hash128 a, struct hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static void feed_run(struct reader *r, uint64_t seq, uint32_t n)
{
    pk_run(&pk, ITCH + r->ids, S1 + r->ids, LINE_A + r->ids, seq, 0)->rxtime = 5;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *row =
            pk_row(&pk, (uint16_t)(r->first + 1), AAPL + r->ids, (int64_t)(seq + i), feed.fixed);
        put64(row + feed.col[8].offset, (seq + i) * 3);
    }
}

/* Other ids, tables' ids, positions, frames, runs and order: the same hash. */
static void independence(void **state)
{
    (void)state;
    struct reader a, b;
    reader_open(&a, 0, 2);
    reader_open(&b, 1000, 77);
    feed_run(&a, 1, 20);
    take(&a, FRAME_DATA, 4096);
    feed_run(&b, 11, 10);
    feed_run(&b, 1, 4);
    take(&b, FRAME_DATA, 1 << 30);
    feed_run(&b, 5, 6);
    take(&b, FRAME_DATA, 2 << 20);
    assert_true(same(sum(&a, "feed"), sum(&b, "feed")));
    assert_int_equal(content_hash_find(&b.h, "feed", LK_DAY)->rows, 20);
    assert_int_equal(a.h.skipped + b.h.skipped, 0);
    /* a doubled or a missing row is seen */
    struct hash128 before = sum(&b, "feed");
    feed_run(&b, 5, 1);
    take(&b, FRAME_DATA, 3 << 20);
    assert_false(same(before, sum(&b, "feed")));
    assert_null(content_hash_find(&b.h, "feed", LK_DAY + 1)); /* days are apart */
    char text[33];
    assert_int_equal(strlen(content_hash_text(content_hash_find(&a.h, "feed", LK_DAY), text)), 32);
    reader_close(&a);
    reader_close(&b);
}

static struct hash128 one_feed(uint8_t quality, int64_t rxtime, int64_t time, uint64_t seq,
                               uint32_t flags, uint32_t line)
{
    struct reader r;
    reader_open(&r, 0, 2);
    struct packet_record *p = pk_run(&pk, ITCH, S1, line, seq, flags);
    p->quality = quality;
    p->rxtime = rxtime;
    pk_row(&pk, 3, AAPL, time, feed.fixed);
    take(&r, FRAME_DATA, 4096);
    struct hash128 h = sum(&r, "feed");
    reader_close(&r);
    return h;
}

static void left_out(void **state)
{
    (void)state;
    struct hash128 h = one_feed(CLOCK_TSC, 5, 9, 1, 0, LINE_A);
    /* wall clock: rxtime, quality and bad_time do not count, the venue's time does */
    assert_true(same(h, one_feed(CLOCK_NIC, 6, 9, 1, 0, LINE_A)));
    assert_true(same(h, one_feed(CLOCK_DOUBTFUL, 5, 9, 1, ROW_BAD_TIME, LINE_A)));
    assert_false(same(h, one_feed(CLOCK_TSC, 5, 10, 1, 0, LINE_A)));
    assert_false(same(h, one_feed(CLOCK_TSC, 5, 9, 2, 0, LINE_A)));
    assert_false(same(h, one_feed(CLOCK_TSC, 5, 9, 1, ROW_LATE, LINE_A)));
    assert_false(same(h, one_feed(CLOCK_TSC, 5, 9, 1, 0, PST_NULL_SYMBOL)));
    /* no venue time: `time` is that same rxtime */
    assert_true(
        same(one_feed(CLOCK_TSC, 5, 5, 1, 0, LINE_A), one_feed(CLOCK_NIC, 8, 8, 1, 0, LINE_A)));
    /* a capture's clock is content */
    h = one_feed(CLOCK_CAPTURE, 5, 9, 1, 0, LINE_A);
    assert_false(same(h, one_feed(CLOCK_CAPTURE, 6, 9, 1, 0, LINE_A)));
    assert_false(same(h, one_feed(CLOCK_CAPTURE, 5, 9, 1, ROW_BAD_TIME, LINE_A)));
    /* the shape of a run is none */
    assert_true(same(h, one_feed(CLOCK_CAPTURE, 5, 9, 1, RUN_PACKET_SEQ, LINE_A)));

    /* gap: when it was noticed and who saw what do not count; the range does */
    struct hash128 g[4];
    for (int i = 0; i < 4; i++) {
        struct reader r;
        reader_open(&r, 0, 2);
        struct schema t = gap_table;
        t.id = 4;
        pk_gap(&pk, &t, ITCH, S1, 7, i == 3 ? 10 : 9, LOST);
        if (i == 1)
            ((struct record *)pk.data)->time++;
        if (i == 2) { /* lines: another text */
            put32(pk.data + t.col[GAP_LINES].offset, 8);
            put32(pk.data + t.col[GAP_LINES].offset + 4, 3);
        }
        take(&r, FRAME_GAP, 4096);
        g[i] = sum(&r, "gap");
        reader_close(&r);
    }
    assert_true(same(g[0], g[1]) && same(g[0], g[2]));
    assert_false(same(g[0], g[3]));
}

/* One byte of any column of any type changes the hash. */
static void every_type(void **state)
{
    (void)state;
    struct reader r;
    struct hash128 seen[100];
    unsigned n = 0;
    for (unsigned c = 0; c <= all.ncols; c++) {
        reader_open(&r, 0, 2);
        uint8_t *row =
            pk_row(&pk, 2, c == 1 ? AAPL : PST_NULL_SYMBOL, 5, (uint16_t)(all.fixed + 8));
        memcpy(row + all.fixed, "text", 4);
        for (unsigned i = 2; i < all.ncols; i++) {
            uint8_t *at = row + all.col[i].offset;
            if (all.col[i].type == PST_SYMBOL) {
                put32(at, i == c ? AAPL : PST_NULL_SYMBOL);
            } else if (all.col[i].type == PST_STRING) {
                put32(at, all.fixed);
                put32(at + 4, i == c ? 4 : 3);
            } else if (i == c) {
                *at ^= 1;
            }
        }
        if (c == 0)
            ((struct record *)row)->time++;
        take(&r, FRAME_DATA, 4096);
        seen[n++] = sum(&r, "all");
        reader_close(&r);
        for (unsigned i = 0; i + 1 < n; i++)
            if (same(seen[i], seen[n - 1]))
                fail_msg("columns %s and %s make no difference", all.col[i].name,
                         c < all.ncols ? all.col[c].name : "none");
    }
}

/* Every NaN is one null; -0 is not 0. */
static void floats(void **state)
{
    (void)state;
    static const uint64_t bits[] = {0x7FF8000000000000ull, 0xFFF8000000000000ull,
                                    0x7FF0000000000001ull, 0,
                                    0x8000000000000000ull, 0x7FF0000000000000ull};
    struct hash128 h[6];
    int col = schema_column(&all, "a_float");
    for (int i = 0; i < 6; i++) {
        struct reader r;
        reader_open(&r, 0, 2);
        uint8_t *row = pk_row(&pk, 2, PST_NULL_SYMBOL, 5, all.fixed);
        put64(row + all.col[col].offset, bits[i]);
        take(&r, FRAME_DATA, 4096);
        h[i] = sum(&r, "all");
        reader_close(&r);
    }
    assert_true(same(h[0], h[1]) && same(h[0], h[2]));
    for (int i = 2; i < 6; i++)
        for (int j = 2; j < i; j++)
            assert_false(same(h[i], h[j]));
}

static void refused(void **state)
{
    (void)state;
    struct reader r;
    reader_open(&r, 0, 2);
    pk_row(&pk, 50, 0, 0, 32); /* no such table */
    assert_false(content_hash_frame(&r.h, &r.d, pk_make(&pk, buf, FRAME_DATA, 4096, LK_DAY)));
    uint8_t *row = pk_row(&pk, 2, 0, 0, all.fixed);
    int col = schema_column(&all, "a_string");
    put32(row + all.col[col].offset, 60000); /* a string outside its record */
    put32(row + all.col[col].offset + 4, 9);
    assert_false(content_hash_frame(&r.h, &r.d, pk_make(&pk, buf, FRAME_DATA, 4096, LK_DAY)));
    pk_row(&pk, 2, 0, 0, 16); /* shorter than its table's rows */
    assert_false(content_hash_frame(&r.h, &r.d, pk_make(&pk, buf, FRAME_DATA, 4096, LK_DAY)));
    assert_int_equal(r.h.skipped, 3);
    assert_true(content_hash_frame(&r.h, &r.d, pk_make(&pk, buf, FRAME_MARK, 4096, LK_DAY)));
    reader_close(&r);
}

static const char *text_of(void *arg, uint64_t id, uint32_t *len)
{
    (void)arg;
    *len = (uint32_t)strlen(texts[id]);
    return texts[id];
}

/* Column by column gives what the records give: every type, with and without receive times. */
static void columns(void **state)
{
    (void)state;
    enum { N = 300 };
    static uint8_t value[SCHEMA_COLUMNS_MAX][N][16];
    const struct schema *const tables[] = {&all, &feed};
    for (unsigned t = 0; t < 2; t++)
        for (uint8_t quality = CLOCK_TSC; quality <= CLOCK_CAPTURE; quality++) {
            struct reader r;
            struct content_columns c;
            struct content_symbols syms;
            static hash_acc acc[N];
            const struct schema *s = tables[t];
            uint64_t x = 88172645463325252ull;
            reader_open(&r, 0, 2);
            pk_clear(&pk);
            for (uint32_t i = 0; i < N; i++) {
                int64_t time = i % 7 ? (int64_t)i * 1000 : PST_NULL_TIMESTAMP;
                uint32_t sym = i % 5 ? i % TEXTS : PST_NULL_SYMBOL;
                struct packet_record p = {0};
                if (s->feed) {
                    struct packet_record *run =
                        pk_run(&pk, ITCH, S1, i % 2 ? LINE_A : PST_NULL_SYMBOL, i,
                               i % 3   ? ROW_LATE | ROW_BAD_TIME
                               : i % 4 ? 0
                                       : RUN_UNSEQUENCED);
                    run->quality = quality;
                    run->rxtime = i % 2 ? time : 77 + (int64_t)i;
                    p = *run;
                }
                uint8_t *row = pk_row(&pk, s->id, sym, time, (uint16_t)(s->fixed + 8));
                memcpy(row + s->fixed, "textual!", 8);
                for (unsigned k = 0; k < s->ncols; k++) {
                    const struct column *col = &s->col[k];
                    unsigned w = type_width(col->type);
                    uint8_t *at = (col->packet ? (uint8_t *)&p : row) + col->offset;
                    if (k >= 2 && !col->packet) {
                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        for (unsigned b = 0; b < w; b++)
                            at[b] = (uint8_t)(x >> 8 * (b % 8));
                        if (col->type == PST_SYMBOL)
                            put32(at, x % 3 ? (uint32_t)(x % TEXTS) : PST_NULL_SYMBOL);
                        if (col->type == PST_STRING)
                            put32(at, s->fixed), put32(at + 4, (uint32_t)(x % 9));
                        if (col->type == PST_FLOAT && i % 4 == 0)
                            put64(at, 0x7FF8000000000000ull + i);
                        if (col->type == PST_BOOLEAN)
                            *at &= 1;
                    }
                    memcpy(value[k][i], at, w);
                    if (col->packet && !strcmp(col->name, "flags"))
                        put32(value[k][i], p.flags & ROW_FLAG_MASK);
                }
                if (pk.len > 60000 || i + 1 == N) {
                    take(&r, FRAME_DATA, 4096 + i * 65536ull);
                    pk_clear(&pk);
                }
            }
            assert_true(content_symbols_init(&syms, TEXTS, text_of, NULL, NULL));
            content_columns_init(&c, s);
            memset(acc, 0, sizeof acc);
            struct hash128 h = {0, 0};
            bool captured = !s->feed || quality == CLOCK_CAPTURE;
            static int64_t rxtime[N];
            if (c.rxtime >= 0)
                for (uint32_t i = 0; i < N; i++)
                    rxtime[i] = (int64_t)le64(value[c.rxtime][i]);
            for (unsigned k = 0; k < s->ncols; k++) {
                unsigned w = type_width(s->col[k].type);
                static uint8_t run[N * 16] pst_aligned(16);
                for (uint32_t i = 0; i < N; i++) {
                    memcpy(run + i * w, value[k][i], w);
                    if (s->col[k].type == PST_STRING)
                        content_columns_string(&c, k, &acc[i], "textual!", le32(value[k][i] + 4));
                }
                if (s->col[k].type == PST_SYMBOL && k % 2) {
                    content_columns_ids(&c, k, acc, (const uint32_t *)run, N, &syms);
                } else if (s->col[k].type == PST_SYMBOL) {
                    int64_t index[N];
                    for (uint32_t i = 0; i < N; i++)
                        index[i] = le32(run + 4 * i) == PST_NULL_SYMBOL ? PST_NULL_LONG
                                                                        : le32(run + 4 * i);
                    content_columns_indexes(&c, k, acc, index, N, &syms);
                } else if (s->col[k].type != PST_STRING) {
                    content_columns_add(&c, k, acc, run, c.rxtime < 0 ? NULL : rxtime, N, captured);
                }
            }
            content_columns_end(&c, acc, NULL, N, &h);
            const struct content_sum *sum = content_hash_find(&r.h, s->name, LK_DAY);
            assert_int_equal(sum->rows, N);
            assert_int_equal(sum->captured, captured ? N : 0);
            assert_true(same(h, content_sum_hash(sum)));
            assert_int_equal(content_columns_clocked(&c), s->feed);
            /* leaving a row out changes it */
            uint8_t keep[N];
            memset(keep, 1, N);
            keep[N / 2] = 0;
            struct hash128 less = {0, 0};
            content_columns_end(&c, acc, keep, N, &less);
            assert_false(same(h, less));
            content_symbols_free(&syms);
            reader_close(&r);
        }
}

/* A column of nulls adds nothing: the day a table gets a new column its old rows keep their hash.
 */
static void new_column(void **state)
{
    (void)state;
    static const struct column_def one[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}};
    static const struct column_def two[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},   {"size", PST_INT}, {"price", PST_FLOAT},
        {"note", PST_STRING},    {"venue", PST_SYMBOL}, {"id", PST_GUID},  {"side", PST_CHAR}};
    struct schema s[2];
    assert_true(schema_make(&s[0], 60, "t", false, one, PST_COUNT(one), NULL) &&
                schema_make(&s[1], 61, "t", false, two, PST_COUNT(two), NULL));
    struct hash128 h[2];
    for (int i = 0; i < 2; i++) {
        struct reader r;
        reader_open(&r, 0, 2);
        assert_true(schema_set_add(r.d.schemas, &s[i], NULL));
        pk_clear(&pk);
        uint8_t *row = pk_row(&pk, s[i].id, AAPL, 5, s[i].fixed);
        put64(row + s[i].col[i ? 3 : 2].offset, 0x4059000000000000ull);
        if (i) {
            put32(row + s[i].col[2].offset, (uint32_t)PST_NULL_INT);
            put32(row + s[i].col[5].offset, PST_NULL_SYMBOL);
            row[s[i].col[7].offset] = PST_NULL_CHAR;
        }
        take(&r, FRAME_DATA, 4096);
        h[i] = sum(&r, "t");
        reader_close(&r);
    }
    assert_true(same(h[0], h[1]));
}

/* Receive times count only when all rows of the day have a capture's: a mixture leaves them out. */
static void mixture(void **state)
{
    (void)state;
    struct hash128 h[2];
    for (int i = 0; i < 2; i++) {
        struct reader r;
        reader_open(&r, 0, 2);
        for (uint64_t seq = 1; seq <= 2; seq++) {
            struct packet_record *p = pk_run(&pk, ITCH, S1, LINE_A, seq, 0);
            p->quality = seq == 2 ? CLOCK_TSC : CLOCK_CAPTURE;
            p->rxtime = i;
            pk_row(&pk, 3, AAPL, 9, feed.fixed);
        }
        take(&r, FRAME_DATA, 4096);
        assert_int_equal(content_hash_find(&r.h, "feed", LK_DAY)->captured, 1);
        h[i] = sum(&r, "feed");
        reader_close(&r);
    }
    assert_true(same(h[0], h[1]));
}

/* The published test value of MurmurHash3 x64/128 ("The quick brown fox…", seed 0). */
static void known_value(void **state)
{
    (void)state;
    static const char fox[] = "The quick brown fox jumps over the lazy dog";
    struct hash128 h;
    hash128_of(fox, sizeof fox - 1, &h);
    assert_true(h.lo == 0xe34bbc7bbc071b6cull && h.hi == 0x7a433ca9c49a9347ull);
}

static int set_up(void **state)
{
    (void)state;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
#define X(ID, name, number, width, letter) {"a_" name, PST_##ID},
                                             PST_TYPES(X)
#undef X
    };
    static const struct column_def price[] = {{"price", PST_LONG}};
    return schema_make(&all, 2, "all", false, cols, PST_COUNT(cols), NULL) &&
                   schema_make(&feed, 3, "feed", true, price, 1, NULL) &&
                   tables_gap(&gap_table, NULL)
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independence), cmocka_unit_test(left_out),   cmocka_unit_test(every_type),
        cmocka_unit_test(floats),       cmocka_unit_test(refused),    cmocka_unit_test(known_value),
        cmocka_unit_test(columns),      cmocka_unit_test(new_column), cmocka_unit_test(mixture),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
