/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_intake: publishers' messages into an inject ring, one core: each message's bytes are
 * checked as an object, taken apart, and become records in batches, as a publish thread does it.
 *   build/perf/bench_intake [-s SECONDS]      (default: 1 s each)
 *
 * The batches are taken out of the ring at once without a look (the appender's work is another
 * core's). Time is the thread's own on the processor. 8,000 symbols of 1 to 7 letters and 2,000
 * longer ones, drawn at random; a table trade (time sym price size side).
 * One line each: "intake shape=WHAT messages_s=R rows_s=R bytes_s=R".
 */
#include <time.h>
#include <unistd.h>
#include "core/tables.h"
#include "publish/intake.h"

#define SYMBOLS 10000u
#define BYTES   (8u << 20) /* of messages, more than the caches next to the core hold */

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char name[SYMBOLS][16];

struct rig {
    struct inject q;
    struct symbols known;
    struct schema_set *schemas;
    struct intake *in;
};

static void rig_open(struct rig *r)
{
    static const struct column_def trade[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"price", PST_FLOAT},
                                              {"size", PST_LONG},
                                              {"side", PST_CHAR}};
    struct err err;
    struct schema s;
    bool fresh;
    r->schemas = schema_set_new();
    pst_must(tables_gap(&s, &err) && schema_set_intern(r->schemas, &s, &fresh, &err));
    pst_must(tables_undecoded(&s, &err) && schema_set_intern(r->schemas, &s, &fresh, &err));
    pst_must(schema_make(&s, 0, "trade", false, trade, PST_COUNT(trade), &err));
    struct intake_table t = {.schema = schema_set_intern(r->schemas, &s, &fresh, &err)};
    pst_must(inject_create(&r->q, INTAKE_RING_BYTES, &err));
    pst_must(symbols_create(&r->known, 1u << 20, &err));
    struct intake_config c = {.rows = {.q = &r->q,
                                       .known = &r->known,
                                       .schemas = r->schemas,
                                       .symbols = INTAKE_SYMBOLS,
                                       .max_new_symbols = UINT32_MAX,
                                       .open_day = 9823},
                              .table = &t,
                              .ntables = 1};
    r->in = intake_open(&c, &err);
    pst_must(r->in);
}

static void drain(struct rig *r)
{
    const struct inject_batch *b;
    while ((b = inject_peek(&r->q)))
        inject_release(&r->q, b->bytes, 64);
}

/* ---- messages ---- */

enum shape { ROW, ROW_TIMESTAMP, ROW_FLOATS, COLUMNS, COLUMNS_TIMESPAN, TABLE };

static void symbols(struct kdb_out *o, uint32_t n)
{
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (uint32_t i = 0; i < n; i++) {
        const char *t = name[rnd() % SYMBOLS];
        kdb_out_bytes(o, t, strlen(t) + 1);
    }
    kdb_out_close(o, at, n);
}

static void columns(struct kdb_out *o, uint32_t n, bool span, bool time)
{
    static int64_t v[1u << 17];
    static double d[1u << 17];
    static char c[1u << 17];
    for (uint32_t i = 0; i < n; i++) {
        v[i] = (int64_t)(rnd() % 86400) * 1000000000;
        d[i] = (double)(rnd() % 100000) / 100;
        c[i] = "BS"[rnd() & 1];
    }
    if (time)
        kdb_out_vector(o, span ? PST_TIMESPAN : PST_TIMESTAMP, 0, n, v);
    symbols(o, n);
    kdb_out_vector(o, PST_FLOAT, 0, n, d);
    kdb_out_vector(o, PST_LONG, 0, n, v);
    kdb_out_vector(o, PST_CHAR, 0, n, c);
}

static void message(struct kdb_out *o, enum shape shape, uint32_t rows)
{
    static const char *const names[] = {"time", "sym", "price", "size", "side"};
    const char *t = name[rnd() % SYMBOLS];
    double price = (double)(rnd() % 100000) / 100, size_f = (double)(rnd() % 1000);
    int64_t size = (int64_t)(rnd() % 1000), stamp = 9823 * PST_DAY_NS + (int64_t)(rnd() % 1000000);
    kdb_out_list(o, 3);
    kdb_out_chars(o, ".u.upd", 6);
    kdb_out_symbol(o, "trade", 5);
    switch (shape) {
    case ROW:
    case ROW_TIMESTAMP:
    case ROW_FLOATS:
        kdb_out_list(o, 4 + (shape == ROW_TIMESTAMP));
        if (shape == ROW_TIMESTAMP)
            kdb_out_atom(o, PST_TIMESTAMP, &stamp);
        kdb_out_symbol(o, t, strlen(t));
        kdb_out_atom(o, PST_FLOAT, &price);
        if (shape == ROW_FLOATS)
            kdb_out_atom(o, PST_FLOAT, &size_f);
        else
            kdb_out_long(o, size);
        kdb_out_atom(o, PST_CHAR, "B");
        break;
    case TABLE:
        kdb_out_columns(o, names, 5);
        columns(o, rows, false, true);
        break;
    default:
        kdb_out_list(o, 4 + (shape == COLUMNS_TIMESPAN));
        columns(o, rows, true, shape == COLUMNS_TIMESPAN);
    }
}

/* One message: what a publish thread does with it. */
static size_t one(struct rig *r, const uint8_t *p, size_t n, uint64_t *ticket)
{
    struct kdb_object o;
    struct kdb_items i;
    struct err err;
    const char *why;
    size_t size;
    uint32_t len;
    pst_must(kdb_object_check(p, n, KDB_LITTLE, &size, &why) == KDB_OK);
    kdb_object_view(&o, p, KDB_LITTLE);
    kdb_items(&o, &i);
    kdb_items_next(&i);
    const char *table = kdb_object_text(&i.item, &len);
    kdb_items_next(&i);
    for (;;) {
        enum intake_verdict v = intake_update(r->in, NULL, table, len, &i.item,
                                              9823 * PST_DAY_NS + 12345, ticket, &err);
        if (v == INTAKE_TAKEN)
            return size;
        if (v == INTAKE_REFUSED) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        drain(r);
        intake_step(r->in);
    }
}

static void measure(struct rig *r, const char *what, enum shape shape, uint32_t rows,
                    double seconds)
{
    struct kdb_out o = {0};
    uint64_t messages = 0, bytes = 0, ticket = 0;
    uint32_t n = 0;
    while (o.len < BYTES) {
        message(&o, shape, rows);
        n++;
    }
    pst_must(!o.failed);
    double best = 0, best_bytes = 0;
    for (int turn = 0; turn < 5; turn++) {
        double begun = cpu_s(), took;
        messages = bytes = 0;
        do {
            size_t at = 0;
            for (uint32_t i = 0; i < n; i++) {
                at += one(r, o.data + at, o.len - at, &ticket);
                if (i % 64 == 63) { /* a read of a socket holds some */
                    intake_step(r->in);
                    drain(r);
                }
            }
            intake_flush(r->in);
            drain(r);
            messages += n;
            bytes += at;
            took = cpu_s() - begun;
        } while (took < seconds / 5);
        if ((double)messages / took > best) {
            best = (double)messages / took;
            best_bytes = (double)bytes / took;
        }
    }
    printf("intake shape=%s messages_s=%.0f rows_s=%.0f bytes_s=%.0f\n", what, best, best * rows,
           best_bytes);
    fflush(stdout);
    kdb_out_free(&o);
}

int main(int argc, char **argv)
{
    double seconds = 1;
    for (int c; (c = getopt(argc, argv, "s:")) != -1;)
        if (c != 's' || (seconds = atof(optarg)) <= 0) {
            fprintf(stderr, "usage: bench_intake [-s SECONDS]\n");
            return 2;
        }
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        uint64_t v = i;
        unsigned n = i < 8000 ? 1 + i % 7 : 12;
        for (unsigned k = 0; k < n || v; k++, v /= 26)
            name[i][k] = (char)('A' + v % 26);
    }
    static struct rig r;
    rig_open(&r);
    measure(&r, "row", ROW, 1, seconds);
    measure(&r, "row-with-time", ROW_TIMESTAMP, 1, seconds);
    measure(&r, "row-converted", ROW_FLOATS, 1, seconds);
    measure(&r, "columns-10", COLUMNS, 10, seconds);
    measure(&r, "columns-100", COLUMNS, 100, seconds);
    measure(&r, "columns-1000", COLUMNS, 1000, seconds);
    measure(&r, "columns-1000-timespan", COLUMNS_TIMESPAN, 1000, seconds);
    measure(&r, "columns-100000", COLUMNS, 100000, seconds);
    measure(&r, "table-1000", TABLE, 1000, seconds);
    return 0;
}
