/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_buffer: what buffering events cost the appender, per row.
 *
 *   build/perf/bench_buffer [SECONDS]
 *
 * plain     the appender compiled without the question (bench_buffer_plain.c)
 * inactive  the product, buffer_enabled, no event: its ratio to plain is the price of the hook
 * none      an event is active, its mask (`late`, one compare a row) takes no row
 * 1 %, half, all   it takes that many, evenly spread: the frame is cut at each change
 *
 * The variants take turns of a millisecond, and of each one's turns the quickest tenth counts, so
 * that what else the machine does meets all of them alike or none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "appender.h"
#include "core/tables.h"

#define TURN 1000000 /* ns */
#define MAX  20000

void plain_flush(struct appender *a);
bool plain_init(struct appender *a, const struct appender_config *cfg, struct err *err);

static const struct column_def columns[] = {
    {"bid", PST_FLOAT}, {"ask", PST_FLOAT}, {"size", PST_LONG}};
enum variant { PLAIN, INACTIVE, NONE, HUNDREDTH, HALF, ALL, VARIANTS };
static const char *const names[] = {"plain", "inactive", "none", "1 %", "half", "all"};

struct bench {
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct status *status;
    struct clock clock;
    struct appender app;
    struct divert *divert;
    const struct schema *quote;
    uint32_t feed, session, line, sym;
    int64_t stamp;
    uint64_t seq;
};

/* As `late`: rows older than the cutoff. */
static void mask(const void *state, const struct pst_batch *b, uint64_t *bits)
{
    int64_t cutoff = *(const int64_t *)state;
    for (uint32_t i = 0; i < b->rows; i++)
        if (pst_row_time(&b->row[i]) < cutoff)
            bits[i / 64] |= 1ull << i % 64;
}

static void setup(struct bench *b, enum variant v)
{
    static const int64_t cutoff = 0;
    struct err e = {0};
    struct schema s;
    bool fresh;
    pst_must(ring_create(&b->ring, 64ull << 20, 4096, 77, false, &e));
    memset(b->ring.data, 0, 64u << 20); /* touched before anything is measured */
    pst_must(symbols_create(&b->symbols, 1024, &e));
    b->schemas = schema_set_new();
    b->status = status_create("bench", &e);
    pst_must(tables_gap(&s, &e) && schema_set_intern(b->schemas, &s, &fresh, &e));
    pst_must(tables_undecoded(&s, &e) && schema_set_intern(b->schemas, &s, &fresh, &e));
    pst_must(schema_make(&s, 0, "quote", true, columns, PST_COUNT(columns), &e));
    b->quote = schema_set_intern(b->schemas, &s, &fresh, &e);
    clock_init_virtual(&b->clock, 9000 * NS_PER_DAY);
    b->divert = divert_create(&b->symbols, b->schemas, &e);
    pst_must(b->quote && b->divert);
    struct appender_config c = {.ring = &b->ring,
                                .symbols = &b->symbols,
                                .schemas = b->schemas,
                                .status = b->status,
                                .clock = &b->clock,
                                .divert = b->divert,
                                .open_day = 9000,
                                .last_time = INT64_MIN,
                                .max_new_symbols = 1000};
    pst_must(v == PLAIN ? plain_init(&b->app, &c, &e) : appender_init(&b->app, &c, &e));
    appender_begin(&b->app, clock_now(&b->clock));
    struct rows *r = &b->app.rows;
    b->feed = rows_symbol(r, "f", 1);
    b->session = rows_symbol(r, "s", 1);
    b->line = rows_symbol(r, "A", 1);
    b->sym = rows_symbol(r, "X", 1);
    if (v < NONE)
        return;
    struct divert_event *ev = divert_take(b->divert);
    ev->stream = STREAM_BUFFER;
    ev->mask = mask;
    ev->mask_state = &cutoff;
    ev->text_len = (uint32_t)snprintf(ev->text, sizeof ev->text, "{\"id\":1,\"stream\":254");
    pst_must(appender_resume_event(&b->app, ev));
}

static void burst(struct bench *b, enum variant v, uint32_t rows)
{
    struct rows *r = &b->app.rows;
    struct run n = {.seq = b->seq,
                    .rxtime = b->stamp,
                    .feed = b->feed,
                    .session = b->session,
                    .line = b->line,
                    .day = 9000};
    rows_run(r, &n);
    uint32_t every = v == HUNDREDTH ? 100 : v == HALF ? 2 : v == ALL ? 1 : 0;
    for (uint32_t i = 0; i < rows; i++, b->seq++) {
        uint8_t *p = rows_reserve(r, b->quote->fixed);
        memset(p + sizeof(struct record), 1, b->quote->fixed - sizeof(struct record));
        *(struct record *)p = (struct record){b->quote->id, b->quote->fixed, b->sym,
                                              every && b->seq % every == 0 ? -1 : ++b->stamp};
        rows_commit(r, b->quote->fixed);
    }
    if (v == PLAIN)
        plain_flush(&b->app);
    else
        appender_flush(&b->app);
    uint64_t t = ring_tail(&b->ring);
    store_release(&b->ring.head->durable, t);
    store_release(&b->ring.head->guard, t); /* a log that keeps up */
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static struct bench bench[VARIANTS];
    static double turn[VARIANTS][MAX];
    static const uint32_t bursts[] = {1, 8, 64, 512};
    int64_t run = (int64_t)((argc > 1 ? atof(argv[1]) : 2) * 1e9);
    for (enum variant v = 0; v < VARIANTS; v++)
        setup(&bench[v], v);
    printf("%-12s", "rows a frame");
    for (enum variant v = 0; v < VARIANTS; v++)
        printf("%12s", names[v]);
    printf("%18s\n", "inactive/plain");
    for (unsigned k = 0; k < PST_COUNT(bursts); k++) {
        uint32_t turns = 0;
        for (int64_t end = clock_monotonic() + run; clock_monotonic() < end && turns < MAX; turns++)
            for (enum variant i = 0; i < VARIANTS; i++) {
                enum variant v = (enum variant)((i + turns) % VARIANTS); /* nobody always first */
                uint64_t rows = 0;
                int64_t t0 = clock_monotonic(), t1 = t0;
                for (; t1 - t0 < TURN; t1 = clock_monotonic())
                    for (int j = 0; j < 64; j++, rows += bursts[k])
                        burst(&bench[v], v, bursts[k]);
                turn[v][turns] = (double)(t1 - t0) / (double)rows;
            }
        printf("%-12u", bursts[k]);
        double quiet[VARIANTS];
        for (enum variant v = 0; v < VARIANTS; v++) {
            qsort(turn[v], turns, sizeof(double), compare);
            quiet[v] = turn[v][turns / 10];
            printf("%9.1f ns", quiet[v]);
        }
        printf("%18.3f\n", quiet[INACTIVE] / quiet[PLAIN]);
    }
    return 0;
}
