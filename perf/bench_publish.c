/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_publish - frames of the journal to the messages of subscriptions, on one core, without
 * sockets: what the fan-out itself costs (control/publish/fanout.h).
 *   build/perf/bench_publish [-n RUNS] [-s SYMBOLS] [-r ROWS]
 *
 * The journal is in memory: rows of a table time, sym, price, size, side, venue (56 bytes a
 * record), symbols at random, frames of 64 KiB as the appender seals them. Subscriptions:
 *   none      nobody
 *   all       every consumer takes the whole table: one encoding, shared
 *   one       consumer k takes symbol k (mod SYMBOLS)
 *   other     every consumer takes a symbol that never comes
 *   where     every consumer takes price > x, another x each: evaluated for each
 *   columns   every consumer takes time, sym, price * size: one encoding, computed once
 * flush: frames between two flushes (a row's way ends with its message's).
 * Each figure is the median of RUNS; ns are of one row of the journal.
 * Every run checks the rows that came out.
 */
#include <getopt.h>
#include <time.h>
#include "core/record.h"
#include "core/rows.h"
#include "publish/fanout.h"

static unsigned runs = 5, symbols = 1000;
static uint64_t nrows = 1u << 20;

static const struct column_def trade[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                          {"price", PST_FLOAT},    {"size", PST_LONG},
                                          {"side", PST_CHAR},      {"venue", PST_SYMBOL}};
static struct dictionary dict;
static const struct schema *schema;
static uint8_t *journal;
static uint64_t journal_bytes;
static uint64_t above[100]; /* rows whose price is above i + 0.5 */
static uint64_t of_symbol[65536];

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_publish: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
    exit(1);
}

static void make(void)
{
    struct err err;
    struct schema s;
    bool fresh;
    if (!dictionary_init(&dict, &err) || !schema_make(&s, 0, "trade", false, trade, 6, &err))
        die("schema", &err);
    schema = schema_set_intern(dict.schemas, &s, &fresh, &err);
    for (unsigned i = 0; i < symbols; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "S%05u", i);
        dictionary_teach(&dict, i, name, (uint32_t)n);
    }
    dictionary_teach(&dict, symbols, "XNAS", 4);
    journal = aligned_alloc(64, nrows * 64 + FRAME_MAX);
    if (!schema || !journal)
        die("no memory", NULL);
    uint64_t row = 0;
    uint32_t fixed = schema->fixed;
    while (row < nrows) {
        struct frame *f = (struct frame *)(journal + journal_bytes);
        uint8_t *at = (uint8_t *)(f + 1);
        uint16_t count = 0;
        for (; row < nrows && at + fixed < (uint8_t *)f + ROWS_FRAME_TARGET; count++, row++) {
            struct record *r = (struct record *)at;
            uint32_t sym = (uint32_t)(rnd() % symbols);
            uint64_t cents = rnd() % 10000;
            double price = (double)cents / 100;
            memset(at, 0, fixed);
            *r = (struct record){schema->id, (uint16_t)fixed, sym, (int64_t)row};
            memcpy(at + schema->col[2].offset, &price, 8);
            put64(at + schema->col[3].offset, row);
            at[schema->col[4].offset] = row % 2 ? 'B' : 'S';
            put32(at + schema->col[5].offset, symbols);
            of_symbol[sym]++;
            for (unsigned i = 0; i < 100 && price > i + 0.5; i++)
                above[i]++;
            at += fixed;
        }
        *f = (struct frame){.length = (uint32_t)(at - (uint8_t *)f),
                            .position = 4096 + journal_bytes,
                            .time = (int64_t)row,
                            .kind = FRAME_DATA,
                            .count = count,
                            .day = 9000};
        journal_bytes += f->length;
    }
}

static uint64_t got_rows, got_bytes, got_messages;
static void sink(void *arg, void *consumer, struct message *m)
{
    (void)arg, (void)consumer;
    got_rows += m->rows;
    got_bytes += m->len;
    got_messages++;
}

enum kind { NONE, ALL, ONE, OTHER, WHERE, COLUMNS };
static const char *const kind_name[] = {"none", "all", "one", "other", "where", "columns"};

static double run(enum kind kind, unsigned consumers, unsigned flush)
{
    struct err err;
    struct fanout_config cfg = {.dict = &dict, .sink = sink};
    struct fanout *f = fanout_new(&cfg, &err);
    uint64_t want = 0, id;
    if (!f)
        die("fanout", &err);
    for (unsigned c = 0; c < consumers; c++) {
        char sym[16], where[40];
        struct fanout_text table = {"trade", 5}, one = {sym, 0};
        struct fanout_spec s = {
            .tables = {.n = 1, .text = &table},
            .syms = {.all = kind != ONE && kind != OTHER, .n = 1, .text = &one}};
        one.len = (uint32_t)snprintf(sym, sizeof sym, kind == ONE ? "S%05u" : "X%05u", c % symbols);
        if (kind == WHERE)
            s.where = (struct fanout_text){
                where, (uint32_t)snprintf(where, sizeof where, "price > %u.5", c % 100)};
        if (kind == COLUMNS)
            s.columns = (struct fanout_text){"time, sym, price * size as notional", 35};
        if (!fanout_subscribe(f, &s, (void *)(uintptr_t)(c + 1), &id, &err))
            die("subscribe", &err);
        want += kind == ONE     ? of_symbol[c % symbols]
                : kind == WHERE ? above[c % 100]
                : kind == OTHER ? 0
                                : nrows;
    }
    got_rows = got_bytes = got_messages = 0;
    unsigned n = 0;
    int64_t now = 1;
    double start = seconds();
    for (uint64_t at = 0; at < journal_bytes;) {
        const struct frame *fr = (const struct frame *)(journal + at);
        fanout_frame(f, fr);
        at += fr->length;
        if (++n % flush == 0)
            fanout_flush(f, now++);
    }
    fanout_flush(f, now);
    double took = seconds() - start;
    if (got_rows != want) {
        fprintf(stderr, "bench_publish: %s: %llu rows instead of %llu\n", kind_name[kind],
                (unsigned long long)got_rows, (unsigned long long)want);
        exit(1);
    }
    fanout_free(f);
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(enum kind kind, unsigned consumers, unsigned flush)
{
    double t[99];
    for (unsigned i = 0; i < runs; i++)
        t[i] = run(kind, consumers, flush);
    qsort(t, runs, sizeof *t, by_value);
    double m = t[runs / 2];
    printf("%-8s %6u %6u %10.2f %8.1f %12.2f %10llu %10.1f\n", kind_name[kind], consumers, flush,
           (double)nrows / m / 1e6, m / (double)nrows * 1e9, (double)got_rows / m / 1e6,
           (unsigned long long)got_messages,
           got_messages ? (double)got_bytes / (double)got_messages : 0.0);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "n:s:r:")) != -1) {
        if (o == 'n')
            runs = (unsigned)atoi(optarg);
        else if (o == 's')
            symbols = (unsigned)atoi(optarg);
        else if (o == 'r')
            nrows = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (!runs || runs > 99 || !symbols || symbols > 65000 || !nrows)
        return 2;
    make();
    printf("%-8s %6s %6s %10s %8s %12s %10s %10s\n", "what", "subs", "flush", "M rows/s", "ns/row",
           "M given/s", "messages", "bytes");
    show(NONE, 0, 1);
    for (unsigned n = 1; n <= 1000; n *= 10)
        show(ALL, n, 1);
    show(ALL, 1, 16);
    for (unsigned n = 1; n <= 1000; n *= 10)
        show(ONE, n, 1);
    show(ONE, 1000, 16);
    show(ONE, 1000, 64);
    show(OTHER, 1000, 1);
    show(WHERE, 1, 1);
    show(WHERE, 100, 1);
    show(COLUMNS, 1, 1);
    show(COLUMNS, 1000, 1);
    return 0;
}
