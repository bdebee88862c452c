/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include "appender.h"
#include "bench_ring.h"
#include "core/tables.h"
#include "inject_rows.h"

#define RING_BYTES (64ull << 20)

static struct ring ring;
static uint8_t stage[FRAME_MAX] pst_aligned(64);
static uint32_t sum;

void bench_ring_setup(void)
{
    if (ring.head)
        return;
    struct err e;
    pst_must(ring_create(&ring, RING_BYTES, 0, 1, false, &e));
    for (unsigned i = FRAME_HEADER; i < sizeof stage; i++)
        stage[i] = (uint8_t)(i * 7);
}

uint64_t bench_ring_append(uint32_t len)
{
    struct frame *f = (struct frame *)stage;
    *f = (struct frame){.length = len, .position = ring.w_tail, .kind = FRAME_DATA, .count = 1};
    frame_seal(f, ring.head->seed);
    if (ring_free(&ring, len) < len) {
        store_release(&ring.head->guard, ring.w_tail); /* a log that keeps up */
        ring_free(&ring, len);
    }
    ring_write(&ring, f, len);
    ring_publish(&ring);
    return len;
}

uint64_t bench_ring_memcpy(uint32_t len)
{
    static uint64_t at;
    memcpy(ring.data + (at & ring.mask), stage, len);
    at += len;
    return len;
}

uint64_t bench_ring_crc(uint32_t len)
{
    sum ^= crc32c(1, stage, len);
    return len;
}

/* ---- hand-over ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double ns_per_tick(void)
{
    static double v;
    if (v > 0)
        return v;
    int64_t m0 = clock_monotonic();
    uint64_t t0 = clock_ticks();
    while (clock_monotonic() - m0 < 50 * NS_PER_MS)
        cpu_relax();
    v = (double)(clock_monotonic() - m0) / (double)(clock_ticks() - t0);
    return v;
}

static struct bench_handover quantiles(uint64_t *ticks, uint64_t n)
{
    qsort(ticks, n, sizeof *ticks, compare);
    double k = ns_per_tick();
    return (struct bench_handover){(double)ticks[n / 2] * k, (double)ticks[n * 99 / 100] * k};
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

struct handover {
    pst_aligned(64) _Atomic uint64_t word;
    pst_aligned(64) _Atomic uint64_t seen;
    uint64_t rounds;
    uint64_t *ticks;
};

/* Between two hand-overs the reader has gone back to polling. */
static void pause_a_little(void)
{
    uint64_t t = clock_ticks();
    while (clock_ticks() - t < 2000)
        cpu_relax();
}

static void *word_reader(void *arg)
{
    struct handover *h = arg;
    pin(1);
    uint64_t last = 0;
    for (uint64_t i = 0; i < h->rounds; i++) {
        uint64_t v;
        while ((v = load_acquire(&h->word)) == last)
            ;
        h->ticks[i] = clock_ticks() - v;
        last = v;
        store_release(&h->seen, i + 1);
    }
    return NULL;
}

struct bench_handover bench_word_handover(uint64_t rounds)
{
    struct handover *h = aligned_alloc(64, sizeof *h);
    memset(h, 0, sizeof *h);
    h->rounds = rounds;
    h->ticks = calloc(rounds, sizeof *h->ticks);
    pthread_t t;
    pthread_create(&t, NULL, word_reader, h);
    pin(0);
    for (uint64_t i = 0; i < rounds; i++) {
        pause_a_little();
        store_release(&h->word, clock_ticks());
        while (load_acquire(&h->seen) <= i)
            ;
    }
    pthread_join(t, NULL);
    struct bench_handover r = quantiles(h->ticks, rounds);
    free(h->ticks);
    free(h);
    return r;
}

static void *frame_reader(void *arg)
{
    struct handover *h = arg;
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    pin(1);
    uint64_t pos = ring_tail(&ring), n = 0;
    store_release(&h->seen, 1); /* ready */
    while (n < h->rounds) {
        if (ring_tail(&ring) == pos)
            continue;
        pst_must(ring_read_frame(&ring, pos, buf) == RING_READ_OK);
        const struct frame *f = (const struct frame *)buf;
        pos += f->length;
        h->ticks[n++] = clock_ticks() - (uint64_t)f->time;
        store_release(&h->seen, n + 1);
    }
    return NULL;
}

struct bench_handover bench_frame_handover(uint64_t rounds, uint32_t len)
{
    bench_ring_setup();
    struct handover *h = aligned_alloc(64, sizeof *h);
    memset(h, 0, sizeof *h);
    h->rounds = rounds;
    h->ticks = calloc(rounds, sizeof *h->ticks);
    pthread_t t;
    pthread_create(&t, NULL, frame_reader, h);
    pin(0);
    while (!load_acquire(&h->seen))
        ;
    for (uint64_t i = 0; i < rounds; i++) {
        pause_a_little();
        struct frame *f = (struct frame *)stage;
        *f = (struct frame){.length = len, .position = ring.w_tail, .kind = FRAME_DATA};
        f->time = (int64_t)clock_ticks();
        frame_seal(f, ring.head->seed);
        if (ring_free(&ring, len) < len) {
            store_release(&ring.head->guard, ring.w_tail);
            ring_free(&ring, len);
        }
        ring_write(&ring, f, len);
        ring_publish(&ring);
        while (load_acquire(&h->seen) <= i + 1)
            ;
    }
    pthread_join(t, NULL);
    struct bench_handover r = quantiles(h->ticks, rounds);
    free(h->ticks);
    free(h);
    return r;
}

/* ---- inject ---- */

static const struct column_def trade_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_LONG}};

struct feeder {
    struct inject_rows w;
    const struct schema *trade;
    uint64_t batches;
    unsigned rows;
};

static void *feed_batches(void *arg)
{
    struct feeder *f = arg;
    pin(1);
    char sym[16];
    uint64_t n = 0;
    for (uint64_t i = 0; i < f->batches; i++) {
        while (inject_rows_room(&f->w) < 128 * 1024)
            cpu_relax();
        for (unsigned j = 0; j < f->rows; j++) {
            uint32_t id = (uint32_t)(n & 1023);
            if (n < 1024)
                id = rows_symbol(&f->w.rows, sym, (uint32_t)sprintf(sym, "S%u", id));
            n++;
            uint8_t *p = inject_rows_plain(&f->w, f->trade->fixed, 0);
            *(struct record *)p = (struct record){f->trade->id, f->trade->fixed, id, (int64_t)n};
            put64(p + 16, n);
            put64(p + 24, n);
            inject_rows_plain_commit(&f->w, f->trade->fixed);
        }
        inject_rows_flush(&f->w);
    }
    return NULL;
}

struct bench_inject bench_inject_handover(uint64_t batches, unsigned rows_a_batch)
{
    static struct appender a;
    static struct feeder f;
    static struct inject q;
    struct err e;
    struct ring r;
    struct symbols symbols;
    struct clock clock;
    struct schema s;
    bool fresh;
    clock_init_real(&clock);
    struct status *st = status_create("bench", &e);
    struct schema_set *set = schema_set_new();
    pst_must(st && set && ring_create(&r, RING_BYTES, 0, 1, false, &e));
    pst_must(symbols_create(&symbols, 4096, &e) && inject_create(&q, 4u << 20, &e));
    pst_must(tables_gap(&s, &e) && schema_set_intern(set, &s, &fresh, &e));
    pst_must(tables_undecoded(&s, &e) && schema_set_intern(set, &s, &fresh, &e));
    pst_must(schema_make(&s, 0, "trade", false, trade_columns, PST_COUNT(trade_columns), &e));
    memset(&f, 0, sizeof f);
    f.trade = schema_set_intern(set, &s, &fresh, &e);
    f.batches = batches;
    f.rows = rows_a_batch;
    struct appender_config c = {.ring = &r,
                                .symbols = &symbols,
                                .schemas = set,
                                .status = st,
                                .clock = &clock,
                                .open_day = 9000,
                                .last_time = INT64_MIN,
                                .max_new_symbols = 4096};
    pst_must(appender_init(&a, &c, &e));
    struct inject_options o = {4096, 4096, false};
    pst_must(appender_add_inject(&a, &q, 1, &o, &e));
    struct inject_rows_config ic = {&q, &symbols, set, st, 4096, 4096, 9000};
    pst_must(inject_rows_init(&f.w, &ic, &e));
    pin(0);
    pthread_t t;
    int64_t t0 = clock_monotonic();
    pthread_create(&t, NULL, feed_batches, &f);
    uint64_t taken = 0;
    while (taken < batches) {
        appender_begin(&a, clock_now(&clock));
        taken += (uint64_t)appender_take(&a, 64);
        store_release(&r.head->guard, r.w_tail);
    }
    double sec = (double)(clock_monotonic() - t0) / 1e9;
    pthread_join(t, NULL);
    pst_must(load_relaxed(&st->counter[COUNTER_APPEND_BAD_BATCHES]) == 0);
    struct bench_inject out = {(double)batches / sec,
                               (double)load_relaxed(&st->counter[COUNTER_APPEND_ROWS]) / sec,
                               (double)load_relaxed(&st->counter[COUNTER_APPEND_BYTES]) / sec};
    inject_rows_fini(&f.w);
    appender_fini(&a);
    inject_destroy(&q);
    symbols_close(&symbols);
    ring_close(&r);
    schema_set_free(set);
    status_destroy(st);
    return out;
}
