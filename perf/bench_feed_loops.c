/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_feed.h"

#include "core/tables.h"
#include "feed.h"

#define PACKETS 2048u /* of each line and round */
#define STRIDE  1600u

struct bench_feed {
    struct feed *feed;
    struct status *status;
    struct rows rows;
    struct schema undecoded, tables[DECODER_TABLES];
    uint8_t *stage, *line[2], copy[STRIDE];
    uint32_t len[PACKETS];
    unsigned messages, lines;
    int lossy;
    uint64_t seq, packets, bytes, rounds, differ;
    int64_t now;
};

/* The smallest honest decoder: one record with head and eight bytes a message. */
static enum decode null_decode(void *state, const struct decode_env *env, const uint8_t *m,
                               uint32_t len, struct rows *out)
{
    (void)state;
    (void)env;
    uint8_t *p = rows_reserve(out, 24);
    *(struct record *)p = (struct record){3, 24, len, 0};
    memcpy(p + 16, m, 8);
    rows_commit(out, 24);
    return DECODE_ROW;
}
static const struct decoder_ops null_ops = {.name = "null", .decode = null_decode};

static void op_flush(struct rows *r)
{
    rows_close_run(r);
    r->at = r->base;
    r->records = 0;
}
static uint32_t op_intern(struct rows *r, const char *t, uint32_t n)
{
    (void)r;
    return (uint32_t)t[0] * 31 + n;
}
static void op_gap(struct rows *r, const struct gap *g)
{
    (void)r;
    (void)g;
}
static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    (void)r;
    (void)type;
    (void)json;
    (void)len;
}
static uint64_t op_room(struct rows *r)
{
    (void)r;
    return 1ull << 32;
}
static const struct rows_ops ops = {op_flush, op_intern, op_gap, op_mark, op_room};

/* Adds and deletes in the mix of a real day (load page), or deletes only where 38 must fit. */
static uint32_t message(uint8_t *p, unsigned i, unsigned per_packet)
{
    bool add = per_packet < 30 && i % 2;
    uint32_t n = add ? 36 : 19;
    memset(p, 0, n);
    p[0] = add ? 'A' : 'D';
    p[2] = (uint8_t)(1 + i % 200);
    put32(p + 7, i * 2654435761u);
    put32(p + 14, i);
    if (add) {
        p[19] = 'B';
        memcpy(p + 24, "PENSTOCK", 8);
        p[24] = (uint8_t)('A' + i % 26);
    }
    return n;
}

struct bench_feed *bench_feed_new(int messages, int lines, int decoder, int lossy)
{
    struct bench_feed *b = calloc(1, sizeof *b);
    pst_must(b);
    struct err e = {0};
    b->messages = (unsigned)messages;
    b->lines = (unsigned)lines;
    b->lossy = lossy;
    b->seq = 1;
    b->now = 9000 * NS_PER_DAY;
    b->status = status_create("bench", &e);
    pst_must(b->status && tables_undecoded(&b->undecoded, NULL));
    b->undecoded.id = 2;
    struct feed_config c = {.name = "bench",
                            .framing = framing_find("moldudp64"),
                            .nlines = b->lines,
                            .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}},
                            .reorder_ns = -1,
                            .fixed_date = 9000};
    if (decoder == BENCH_NULL)
        c.decoder = &null_ops;
    if (decoder == BENCH_ITCH) {
        c.decoder = decoder_find("itch50");
        pst_must(c.decoder);
        for (unsigned i = 0; i < c.decoder->ntables; i++) {
            const struct decoder_table *t = &c.decoder->tables[i];
            pst_must(schema_make(&b->tables[i], (uint16_t)(10 + i), t->name, true, t->cols,
                                 t->ncols, &e));
            c.tables[i] = &b->tables[i];
        }
    }
    b->feed = feed_open(&c, b->status, 0, &e);
    pst_must(b->feed);
    b->stage = aligned_alloc(64, FRAME_MAX);
    b->rows = (struct rows){.base = b->stage + 64,
                            .at = b->stage + 64,
                            .limit = b->stage + ROWS_FRAME_TARGET,
                            .ops = &ops,
                            .owner = b,
                            .undecoded = &b->undecoded};
    for (unsigned l = 0; l < 2; l++) {
        b->line[l] = aligned_alloc(64, (size_t)PACKETS * STRIDE);
        pst_must(b->line[l] && b->stage);
        for (unsigned i = 0, m = 0; i < PACKETS; i++) {
            uint8_t *p = b->line[l] + (size_t)i * STRIDE;
            memcpy(p, "000010059B", 10);
            p[18] = 0;
            p[19] = (uint8_t)messages;
            uint32_t n = 20;
            for (int k = 0; k < messages; k++) {
                uint32_t len = message(p + n + 2, m++, b->messages);
                p[n] = 0;
                p[n + 1] = (uint8_t)len;
                n += 2 + len;
            }
            pst_must(n <= STRIDE);
            b->len[i] = n;
        }
    }
    for (unsigned i = 0; i < PACKETS; i++) {
        b->packets += b->lines;
        b->bytes += b->len[i] * b->lines;
    }
    return b;
}

void bench_feed_free(struct bench_feed *b)
{
    feed_close(b->feed);
    status_destroy(b->status);
    free(b->line[0]);
    free(b->line[1]);
    free(b->stage);
    free(b);
}

uint64_t bench_feed_packets(const struct bench_feed *b)
{
    return b->packets;
}
uint64_t bench_feed_messages(const struct bench_feed *b)
{
    return b->packets * b->messages;
}
uint64_t bench_feed_bytes(const struct bench_feed *b)
{
    return b->bytes;
}

void bench_feed_round(struct bench_feed *b)
{
    b->rounds++;
    for (unsigned i = 0; i < PACKETS; i++) {
        uint64_t wire = __builtin_bswap64(b->seq);
        b->seq += b->messages;
        b->now += 100;
        for (unsigned l = 0; l < b->lines; l++) {
            /* A misses 3 packets of 128, B 3 others: each fills the other's holes. */
            if (b->lossy && i % 128 - (l ? 64 : 16) < 3)
                continue;
            uint8_t *p = b->line[l] + (size_t)i * STRIDE;
            memcpy(p + 10, &wire, 8);
            feed_packet(b->feed, l, p, b->len[i], b->now, CLOCK_TSC, &b->rows);
        }
    }
}

void bench_feed_touch(struct bench_feed *b)
{
    for (unsigned i = 0; i < PACKETS; i++) {
        memcpy(b->copy, b->line[0] + (size_t)i * STRIDE, b->len[i]);
        __asm__ volatile("" ::: "memory");
        if (b->lines > 1)
            b->differ +=
                (uint64_t)(memcmp(b->copy, b->line[1] + (size_t)i * STRIDE, b->len[i]) != 0);
    }
}

void bench_feed_check(const struct bench_feed *b)
{
    const struct status_feed *f = &b->status->feeds[0];
    uint64_t all = b->rounds * PACKETS * b->messages;
    pst_must(f->messages == all && f->gaps == 0 && f->divergent == 0);
    pst_must(f->line[0].messages + f->line[1].messages ==
             all + f->line[0].duplicate + f->line[1].duplicate);
    pst_must(b->lines == 1 || b->lossy || f->line[1].lag_n == b->rounds * PACKETS);
}
