/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_decode.h"
#include "core/ring.h"
#include "core/rows.h"
#include "decoder.h"

#define NAMES 8906

struct bench_decode {
    uint8_t *wire;
    size_t bytes;
    uint32_t n;
    const struct decoder_ops *ops;
    void *state;
    struct schema schema[DECODER_TABLES];
    struct decode_env env;
    struct rows rows;
    uint8_t *frame;
    struct ring ring;
    bool journal;
    uint64_t out;
    uint32_t last; /* length of the last full frame */
    uint32_t names;
};

static uint64_t seed = 88172645463325252ull;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void stage(struct bench_decode *b)
{
    b->rows.base = b->rows.at = b->frame + FRAME_HEADER;
    b->rows.limit = b->rows.base + ROWS_FRAME_TARGET;
    b->rows.records = 0;
    b->rows.head = NULL;
}

/* What the appender does with a full frame: seal, write, publish. The log is not there, so its
 * guard is moved on by hand: the ring never fills. */
static void op_flush(struct rows *r)
{
    struct bench_decode *b = r->owner;
    rows_close_run(r);
    if (r->records) {
        struct frame *f = (struct frame *)b->frame;
        uint32_t len = (uint32_t)(r->at - b->frame);
        b->out += len;
        b->last = len;
        if (b->journal) {
            *f = (struct frame){.length = len,
                                .position = b->ring.w_tail,
                                .time = r->run.rxtime,
                                .kind = FRAME_DATA,
                                .count = (uint16_t)r->records,
                                .day = r->frame_day};
            frame_seal(f, b->ring.head->seed);
            if (pst_unlikely(ring_free(&b->ring, len) < len))
                store_release(&b->ring.head->guard, b->ring.w_tail); /* G1, for the log */
            pst_must(ring_free(&b->ring, len) >= len);
            ring_write(&b->ring, f, len);
            ring_publish(&b->ring);
        }
    }
    stage(b);
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    (void)text;
    (void)len;
    return ((struct bench_decode *)r->owner)->names++; /* each text is asked for once */
}

static const struct rows_ops ops = {.flush = op_flush, .intern = op_intern};

static void be(uint8_t *p, unsigned width, uint64_t v)
{
    for (unsigned i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> 8 * (width - 1 - i));
}

static const struct {
    char type;
    uint8_t len, stock; /* offset of the stock, 0 = none */
    uint32_t upto;      /* of 100,000: the mix of 2019-12-30 (load.md) */
} mix[] = {
    {'A', 36, 24, 43590}, {'D', 19, 0, 86140},  {'U', 35, 0, 94190},  {'E', 31, 0, 96320},
    {'I', 50, 28, 97820}, {'X', 23, 0, 98860},  {'F', 40, 24, 99410}, {'P', 44, 24, 99860},
    {'L', 26, 15, 99950}, {'C', 36, 0, 100000},
};

static void make(struct bench_decode *b, uint32_t n)
{
    uint8_t *p = b->wire;
    uint64_t ns = 34200000000000ull, ref = 1000;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t roll = (uint32_t)(next() % 100000), t = 0;
        while (roll >= mix[t].upto)
            t++;
        double u = (double)(next() >> 11) / 9007199254740992.0;
        uint32_t locate = 1 + (uint32_t)(u * u * u * u * (NAMES - 1)); /* top 1,000: 58 % */
        be(p, 2, mix[t].len);
        uint8_t *m = p + 2;
        for (unsigned k = 0; k < mix[t].len; k++)
            m[k] = 0;
        m[0] = (uint8_t)mix[t].type;
        be(m + 1, 2, locate);
        be(m + 5, 6, ns += next() % 2000);
        ref += next() % 9;
        be(m + 11, 8, mix[t].type == 'L' ? 0x4D41524B20202020ull : ref);
        if (mix[t].type == 'F')
            memcpy(m + 36, "MARK", 4);
        if (mix[t].type == 'L')
            memcpy(m + 11, "MARK", 4);
        if (strchr("AFP", mix[t].type)) {
            m[19] = next() & 1 ? 'B' : 'S';
            be(m + 20, 4, 100);
            be(m + 32, 4, next() % 5000000);
        }
        if (mix[t].type == 'U') {
            be(m + 19, 8, ref + 1);
            be(m + 27, 4, 100);
            be(m + 31, 4, next() % 5000000);
        }
        if (mix[t].stock) {
            char text[16];
            snprintf(text, sizeof text, "N%-8u", locate);
            memcpy(m + mix[t].stock, text, 8);
        }
        p += 2 + mix[t].len;
    }
    b->bytes = (size_t)(p - b->wire);
    b->n = n;
}

static bool repeat_file(struct bench_decode *b, uint32_t n, const char *file)
{
    FILE *f = fopen(file, "rb");
    if (!f)
        return false;
    static uint8_t once[1 << 20];
    size_t have = fread(once, 1, sizeof once, f), at = 0;
    fclose(f);
    uint8_t *p = b->wire;
    for (uint32_t i = 0; i < n; i++) {
        if (at + 2 > have || at + 2 + be16(once + at) > have)
            at = 0;
        uint32_t len = 2u + be16(once + at);
        memcpy(p, once + at, len);
        p += len;
        at += len;
    }
    b->bytes = (size_t)(p - b->wire);
    b->n = n;
    return have > 100;
}

struct bench_decode *bench_decode_new(uint32_t n, const char *file)
{
    struct bench_decode *b = calloc(1, sizeof *b);
    struct err err;
    pst_must(b);
    b->wire = malloc((size_t)n * 52);
    b->frame = aligned_alloc(4096, FRAME_MAX);
    b->ops = decoder_find("itch50");
    b->state = malloc(b->ops->state_bytes);
    pst_must(b->wire && b->frame && b->state);
    memset(b->frame, 0, FRAME_MAX);
    if (file && !repeat_file(b, n, file)) {
        free(b->wire);
        free(b->frame);
        free(b->state);
        free(b);
        return NULL;
    }
    if (!file)
        make(b, n);
    for (unsigned i = 0; i < b->ops->ntables; i++) {
        const struct decoder_table *t = &b->ops->tables[i];
        pst_must(schema_make(&b->schema[i], (uint16_t)(TABLE_FIRST + i), t->name, true, t->cols,
                             t->ncols, &err));
        b->env.table[i] = &b->schema[i];
    }
    pst_must(decoder_bind(b->ops, b->env.table, &err));
    b->ops->init(b->state);
    b->rows.ops = &ops;
    b->rows.owner = b;
    stage(b);
    if (!ring_create(&b->ring, 512ull << 20, 4096, 1, false, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return b;
}

void bench_decode_free(struct bench_decode *b)
{
    ring_close(&b->ring);
    free(b->wire);
    free(b->frame);
    free(b->state);
    free(b);
}

uint64_t bench_decode_wire_bytes(const struct bench_decode *b)
{
    return b->bytes;
}
uint64_t bench_decode_row_bytes(const struct bench_decode *b)
{
    return b->out;
}

static void pass(struct bench_decode *b, bool journal)
{
    b->journal = journal;
    b->out = 0;
    uint64_t rows = b->rows.rows_total;
    rows_run(&b->rows, &(struct run){.seq = 1, .rxtime = 1, .day = 9000});
    const uint8_t *p = b->wire, *end = p + b->bytes;
    while (p < end) {
        uint32_t len = be16(p);
        b->ops->decode(b->state, &b->env, p + 2, len, &b->rows);
        p += 2 + len;
    }
    op_flush(&b->rows);
    pst_must(b->rows.rows_total - rows == b->n);
}

void bench_decode_only(struct bench_decode *b)
{
    pass(b, false);
}
void bench_decode_journal(struct bench_decode *b)
{
    pass(b, true);
}

void bench_limit_memcpy(struct bench_decode *b)
{
    uint64_t at = 0;
    for (uint64_t done = 0; done < b->out; done += ROWS_FRAME_TARGET) {
        memcpy(b->ring.data + at, b->frame, ROWS_FRAME_TARGET);
        __asm__ volatile("" ::: "memory");
        at = (at + ROWS_FRAME_TARGET) & b->ring.mask;
    }
}

void bench_limit_crc(struct bench_decode *b)
{
    uint32_t crc = 1;
    for (uint64_t done = 0; done < b->out; done += ROWS_FRAME_TARGET)
        crc = crc32c(crc, b->frame, ROWS_FRAME_TARGET);
    __asm__ volatile("" ::"r"(crc));
}
