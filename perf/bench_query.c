/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_query - SQL over trades and quotes, in the RDB (appended from frames) and in the HDB
 * (written down from it), against C loops over the same arrays (bench_query_loops.c) and, by
 * bench_query_duckdb.sh, DuckDB on the same rows.
 *
 * Both tables have `rows` rows over 6.5 hours and 8,000 symbols of Zipf frequency (exponent 1);
 * prices walk in cents. Each query runs RUNS times on THREADS threads, each loop RUNS times on one;
 * the figures are medians, ratio = query / loop. The answers of both must agree. `first` is the
 * first query over a database of 1,000 dates, with a predicate that leaves one, that leaves all.
 *
 *   bench_query [--rows N] [--quick] [--runs N] [--threads N] [--dir DIR] [--duckdb LIB]
 *               [--only NAME]
 * Exit 1 when an answer differs or a ratio is above its limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench_query.h"
#include "core/civil.h"
#include "core/cut.h"
#include "core/frame.h"
#include "core/record.h"
#include "hdb.h"
#include "hdb_publish.h"
#include "hdb_sym.h"
#include "rdb.h"
#include "rdb_map.h"
#include "exec.h"
#include "view_db.h"
#include "writedown.h"
#include "../tests/oracle/duck.h"

#define SYMS     8000u
#define DAY      9823 /* 2026.11.23 */
#define NS       1000000000ll
#define OPEN     ((int64_t)DAY * 86400 * NS + 52200 * NS) /* 14:30 UTC */
#define LONG_DAY (23400 * NS)

static struct {
    uint64_t rows;
    unsigned runs, threads;
    const char *dir, *csv, *only, *duckdb;
    bool no_first;
} opt = {50000000, 5, 2, "/var/tmp/penstock-bench-query", NULL, NULL, NULL, false};

static void die(const struct err *e)
{
    fprintf(stderr, "bench_query: %s\n", e->text);
    exit(1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this thread: others on the machine take turns, not time from these figures. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double process_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- rows ---- */

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 2685821657736338717ull;
}

/* Zipf by an alias table (Walker, Vose). */
static uint32_t alias[SYMS];
static double keep[SYMS];
static void zipf_make(void)
{
    double p[SYMS], sum = 0;
    uint32_t small[SYMS], large[SYMS], ns = 0, nl = 0;
    for (uint32_t i = 0; i < SYMS; i++)
        sum += p[i] = 1.0 / (i + 1);
    for (uint32_t i = 0; i < SYMS; i++) {
        p[i] *= SYMS / sum;
        if (p[i] < 1)
            small[ns++] = i;
        else
            large[nl++] = i;
    }
    while (ns && nl) {
        uint32_t s = small[--ns], l = large[nl - 1];
        keep[s] = p[s];
        alias[s] = l;
        p[l] -= 1 - p[s];
        if (p[l] < 1) {
            nl--;
            small[ns++] = l;
        }
    }
    while (nl)
        keep[large[--nl]] = 1;
    while (ns)
        keep[small[--ns]] = 1;
}
static uint32_t zipf(void)
{
    uint64_t r = rnd();
    uint32_t i = (uint32_t)((r >> 32) * SYMS >> 32);
    return (double)(r & 0xffffff) / 16777216.0 < keep[i] ? i : alias[i];
}

static struct symbols syms;
static uint32_t order[SYMS]; /* rank -> id: frequent symbols are not the first ones */

static void make_symbols(void)
{
    struct err e = {0};
    if (!symbols_create(&syms, 65536, &e))
        die(&e);
    for (uint32_t i = 0; i < SYMS; i++) {
        char text[8];
        uint32_t id, v = (uint32_t)((uint64_t)i * 2654435761u % 456976u);
        int n = snprintf(text, sizeof text, "%c%c%c%c", 'A' + v / 17576, 'A' + v / 676 % 26,
                         'A' + v / 26 % 26, 'A' + v % 26);
        pst_must(symbols_intern(&syms, text, (uint32_t)n, &id) == SYMBOLS_NEW && id == i);
        order[i] = i;
    }
    for (uint32_t i = SYMS - 1; i; i--) {
        uint32_t j = (uint32_t)((rnd() >> 32) * (i + 1) >> 32), x = order[i];
        order[i] = order[j];
        order[j] = x;
    }
    zipf_make();
}

static const struct schema *trade, *quote;
static struct schema_set *schemas;

static void make_schemas(void)
{
    static const struct column_def tc[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_LONG}};
    static const struct column_def qc[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                           {"bid", PST_FLOAT},      {"ask", PST_FLOAT},
                                           {"bsize", PST_INT},      {"asize", PST_INT}};
    struct err e = {0};
    struct schema s;
    schemas = schema_set_new();
    if (!schema_make(&s, 2, "trade", false, tc, 4, &e) || !schema_set_add(schemas, &s, &e) ||
        !schema_make(&s, 3, "quote", false, qc, 6, &e) || !schema_set_add(schemas, &s, &e))
        die(&e);
    trade = schema_set_get(schemas, 2);
    quote = schema_set_get(schemas, 3);
}

static struct rdb *rdb;
static uint64_t position = 64;

static void put(const struct schema *s, const char *name, uint8_t *r, const void *v)
{
    const struct column *c = &s->col[schema_column(s, name)];
    memcpy(r + c->offset, v, type_width(c->type));
}

/* Frames of up to 1,000 rows, appended as they are made. */
static void fill(const struct schema *s, FILE *csv)
{
    static pst_aligned(64) uint8_t buf[FRAME_MAX];
    struct frame *f = (struct frame *)buf;
    int32_t *cents = malloc(SYMS * sizeof *cents);
    for (uint32_t i = 0; i < SYMS; i++)
        cents[i] = 1000 + (int32_t)(rnd() % 40000);
    bool is_trade = s == trade;
    double t0 = seconds();
    for (uint64_t i = 0; i < opt.rows;) {
        uint64_t n = opt.rows - i < 1000 ? opt.rows - i : 1000;
        *f = (struct frame){
            .kind = FRAME_DATA, .day = DAY, .position = position, .count = (uint16_t)n};
        uint8_t *at = buf + FRAME_HEADER;
        for (uint64_t k = 0; k < n; k++, i++, at += s->fixed) {
            uint32_t sym = order[zipf()];
            uint64_t r = rnd();
            /* trades and quotes interleave; times may repeat */
            int64_t time =
                OPEN + (int64_t)((double)i / (double)opt.rows * (double)LONG_DAY) / 1000 * 1000 +
                (is_trade ? 500 : 0);
            cents[sym] += (int32_t)(r % 3) - 1;
            if (cents[sym] < 100)
                cents[sym] = 100;
            *(struct record *)at = (struct record){s->id, s->fixed, sym, time};
            double price = cents[sym] / 100.0;
            if (is_trade) {
                int64_t size = 1 + (int64_t)(r >> 20 & 1023);
                put(s, "price", at, &price);
                put(s, "size", at, &size);
                if (csv)
                    fprintf(csv, "%lld,%u,%d,%lld\n", (long long)time, sym, cents[sym],
                            (long long)size);
            } else {
                int32_t b = 1 + (int32_t)(r >> 20 & 1023), a = 1 + (int32_t)(r >> 32 & 1023);
                double ask = (cents[sym] + 1) / 100.0;
                put(s, "bid", at, &price);
                put(s, "ask", at, &ask);
                put(s, "bsize", at, &b);
                put(s, "asize", at, &a);
                if (csv)
                    fprintf(csv, "%lld,%u,%d,%d,%d\n", (long long)time, sym, cents[sym], b, a);
            }
        }
        f->length = (uint32_t)(at - buf);
        pst_must(f->length <= FRAME_MAX);
        rdb_append(rdb, schemas, f);
        position += f->length;
    }
    rdb_publish(rdb);
    free(cents);
    fprintf(stderr, "%s: %llu rows in %.1f s\n", s->name, (unsigned long long)opt.rows,
            seconds() - t0);
}

static FILE *csv_open(const char *name)
{
    if (!opt.csv)
        return NULL;
    char path[1100];
    mkdir(opt.csv, 0755);
    snprintf(path, sizeof path, "%s/%s.csv", opt.csv, name);
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "bench_query: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    setvbuf(f, NULL, _IOFBF, 1 << 20);
    return f;
}

static void make_rdb(void)
{
    struct err e = {0};
    struct rdb_config c = {.bytes = pst_align_up(opt.rows * 92 + (600ull << 20), RDB_EXTENT),
                           .symbols_max = 65536,
                           .ahead = 4};
    rdb = rdb_create(&c, &e);
    if (!rdb)
        die(&e);
    FILE *f = csv_open("trade");
    fill(trade, f);
    if (f)
        fclose(f);
    f = csv_open("quote");
    fill(quote, f);
    if (f)
        fclose(f);
    f = csv_open("sym");
    for (uint32_t i = 0; f && i < SYMS; i++) {
        uint32_t len;
        const char *p = symbols_text(&syms, i, &len);
        fprintf(f, "%u,%.*s\n", i, (int)len, p);
    }
    if (f)
        fclose(f);
}

/* ---- tiers ---- */

struct tier {
    const char *name;
    struct view_db *db;
    struct loop_table trade, quote;
};

static struct cut *cut_of(void)
{
    struct rdb_cut *rc = malloc(sizeof *rc);
    struct rdb_part_name n;
    pst_must(rc && rdb_cut_read(rdb_map_of(rdb), rc));
    struct cut *c = calloc(1, CUT_BYTES(rc->nparts, 0));
    c->magic = CUT_MAGIC;
    for (uint32_t i = 0; i < rc->nparts; i++)
        if (rdb_part_name(rdb_map_of(rdb), i, rc->part[i].generation, &n))
            c->part[c->nparts++] = (struct cut_part){i, n.table, n.day, rc->part[i].rows};
    c->bytes = (uint32_t)CUT_BYTES(c->nparts, 0);
    free(rc);
    return c;
}

static void loop_texts(struct loop_table *t)
{
    t->text = calloc(SYMS, 8);
    t->text_at = calloc(SYMS, sizeof *t->text_at);
    for (uint32_t s = 0; s < SYMS; s++) {
        uint32_t len;
        const char *p = symbols_text(&syms, s, &len);
        t->text_at[s] = s * 8;
        memcpy(t->text + s * 8ull, p, len);
    }
}

static void rdb_loop_table(const struct cut_part *cp, struct loop_table *t)
{
    struct err e = {0};
    struct rdb_part_view v;
    if (!rdb_part_open(rdb_map_of(rdb), cp->slot, cp->table, (uint32_t)cp->day, cp->rows, &v, &e))
        die(&e);
    t->rows = v.rows;
    t->nchunks = v.chunks;
    t->nsyms = SYMS;
    t->chunk = calloc(v.chunks, sizeof *t->chunk);
    for (uint32_t i = 0; i < v.chunks; i++) {
        struct rdb_chunk_view k;
        pst_must(rdb_chunk_open(&v, i, &k));
        t->chunk[i] =
            (struct loop_chunk){k.rows, k.first, k.col[0], k.col[1], k.col[2], k.col[3], k.col[3]};
    }
    t->base = rdb_map_of(rdb)->base;
    t->list = calloc(SYMS, sizeof *t->list);
    loop_texts(t);
    const uint8_t *root = t->base + load_relaxed(&v.part->syms);
    for (uint32_t s = 0; s < SYMS; s++) {
        const uint64_t *node =
            (const void *)(t->base + ((const uint64_t *)(const void *)root)[s >> 18]);
        const uint8_t *page = t->base + node[s >> 8 & 1023];
        t->list[s] = (const void *)(page + (s & 255) * sizeof(struct loop_list));
    }
    t->at = calloc(SYMS + 1, sizeof *t->at);
    t->row = malloc(v.rows * sizeof *t->row);
    for (uint32_t s = 0; s < SYMS; s++) {
        struct rdb_list_view l;
        const uint32_t *ids;
        t->at[s + 1] = t->at[s];
        pst_must(rdb_list_open(&v, s, &l));
        for (uint32_t n; (n = rdb_list_next(&l, &ids)); t->at[s + 1] += n)
            memcpy(t->row + t->at[s + 1], ids, n * sizeof *ids);
    }
}

static void hdb_loop_table(struct hdb *h, const char *name, struct loop_table *t)
{
    struct err e = {0};
    const struct hdb_table *table = hdb_table_get(h, name, &e);
    const struct hdb_part *p = table ? hdb_part_get(table, DAY, &e) : NULL;
    const struct hdb_index *x = p ? hdb_part_index(p, &e) : NULL;
    const void *v[4];
    if (!x)
        die(&e);
    for (unsigned i = 0; i < 4; i++) {
        const struct hdb_column *c = hdb_part_column(p, i, &e);
        if (!c)
            die(&e);
        v[i] = c->values;
    }
    t->rows = p->rows;
    t->nchunks = 1;
    t->nsyms = SYMS;
    t->parted = true;
    loop_texts(t); /* in another order than the groups: only the copying counts */
    t->chunk = calloc(1, sizeof *t->chunk);
    t->chunk[0] = (struct loop_chunk){(uint32_t)p->rows, 0, v[0], v[1], v[2], v[3], v[3]};
    t->at = calloc(SYMS + 1, sizeof *t->at);
    /* ranges by symbol id: at[s], at[s + 1] of a symbol need not touch those of the next; the loops
     * take symbols in file order, so number them by it */
    int64_t *renumbered = malloc(p->rows * sizeof *renumbered);
    for (uint64_t g = 0; g < x->ngroups; g++) {
        t->at[g] = x->group[g].first;
        t->at[g + 1] = x->group[g].first + x->group[g].rows;
        for (uint64_t i = 0; i < x->group[g].rows; i++)
            renumbered[x->group[g].first + i] = (int64_t)g;
    }
    t->nsyms = (uint32_t)x->ngroups;
    t->chunk[0].sym = renumbered;
}

static void write_down(const struct cut *c)
{
    struct err e = {0};
    char cmd[2400];
    snprintf(cmd, sizeof cmd, "rm -rf '%s' && mkdir -p '%s/db'", opt.dir, opt.dir);
    pst_must(system(cmd) == 0);
    char root[1100];
    snprintf(root, sizeof root, "%s/db", opt.dir);
    struct io *io = io_posix_create(&e);
    struct hdb *h = io ? hdb_open(root, &e) : NULL;
    struct hdb_sym sym;
    if (!h || !hdb_sym_open(&sym, io, root, &e))
        die(&e);
    struct writedown_config wc = {
        .io = io, .hdb = h, .threads = 2, .buffered = true, .producer = "bench"};
    struct writedown *w = writedown_create(&wc, &e);
    struct writedown_table tables[2] = {{trade, false}, {quote, false}};
    struct writedown_part parts[2];
    unsigned n = 0;
    for (uint32_t i = 0; i < c->nparts && n < 2; i++)
        parts[n++] =
            (struct writedown_part){c->part[i].slot, c->part[i].rows, (uint16_t)c->part[i].table};
    struct writedown_job job = {.calendar = "default",
                                .day = DAY,
                                .instance = 1,
                                .first = 64,
                                .end = position,
                                .kind = "eod",
                                .epoch = 1,
                                .tables = tables,
                                .ntables = 2,
                                .sym = &sym,
                                .map = rdb_map_of(rdb),
                                .parts = parts,
                                .nparts = n,
                                .text = hdb_sym_from_symbols,
                                .text_arg = &syms};
    double t = seconds();
    if (!w || !writedown_start(w, &job, &e))
        die(&e);
    enum writedown_verdict v;
    while ((v = writedown_step(w)) == WRITEDOWN_MORE)
        ;
    if (v != WRITEDOWN_STAGED)
        die(writedown_error(w));
    if (!writedown_publish(w, &e))
        die(&e);
    fprintf(stderr, "written down in %.1f s\n", seconds() - t);
    writedown_destroy(w);
    hdb_sym_close(&sym);
    hdb_close(h);
    io_destroy(io);
}

/* ---- runs ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static struct result *query(struct view_db *db, const char *sql, unsigned threads, double *time)
{
    struct query_env env = {.tables = view_db_catalogue(db)};
    struct query_request q = {.sql = sql, .len = strlen(sql), .limits = {.threads = threads}};
    struct query_error e = {0};
    struct result *r;
    double t = threads == 1 ? cpu_seconds() : seconds();
    if (!query_run(&env, &q, &r, &e)) {
        fprintf(stderr, "bench_query: %s\n  %s\n", sql, e.text);
        exit(1);
    }
    *time = (threads == 1 ? cpu_seconds() : seconds()) - t;
    return r;
}

struct item {
    const char *name, *sql;
    int sum_col; /* of the result, added up for the check; -1 none */
    double limit;
};

static char hot[8];     /* the symbol of rank 10 */
static uint32_t hot_id; /* its id; in the HDB the number of its group */

static const struct item items[] = {
    {"last", "SELECT sym, time, price, size FROM trade LATEST BY sym", 2, 2},
    {"bars_one",
     "SELECT time_bucket('5 minutes', time) AS bar, vwap(price, size) AS vwap FROM trade WHERE sym "
     "= "
     "'%s' GROUP BY bar",
     1, 2},
    {"bars_all",
     "SELECT sym, time_bucket('5 minutes', time) AS bar, vwap(price, size) AS vwap, max(price) AS "
     "high, min(price) AS low, sum(size) AS volume FROM trade GROUP BY sym, bar",
     2, 2},
    {"min_max",
     "SELECT sym, min(price) AS a, max(price) AS b, count(*) AS n FROM trade GROUP BY sym", -2, 2},
    {"ten_minutes",
     "SELECT * FROM trade WHERE sym = '%s' AND time >= timestamp '2026-11-23 16:00:00' AND time < "
     "timestamp '2026-11-23 16:10:00'",
     3, 2},
    {"sum", "SELECT sum(price) AS s FROM trade", 0, 2},
    {"top", "SELECT sym, sum(size) AS v FROM trade GROUP BY sym ORDER BY v DESC LIMIT 10", 1, 2},
    {"asof",
     "SELECT sum(t.price - q.bid) AS s, count(q.bid) AS n FROM trade t ASOF JOIN quote q USING "
     "(sym, "
     "time)",
     0, 2},
    {"distinct", "SELECT count(DISTINCT sym) AS n FROM trade", -1, 2},
    {"distinct_price", "SELECT count(DISTINCT price) AS n FROM trade", -1, 2},
};

static struct loop_answer loop(const struct item *it, const struct tier *t, double *time,
                               double *cpu)
{
    struct loop_answer a;
    const int64_t bar = 300 * NS;
    uint32_t id = hot_id;
    double s = seconds(), c = cpu_seconds();
    if (!strcmp(it->name, "last"))
        a = loop_last(&t->trade);
    else if (!strcmp(it->name, "bars_one"))
        a = loop_bars_one(&t->trade, id, bar);
    else if (!strcmp(it->name, "bars_all"))
        a = loop_bars_all(&t->trade, bar);
    else if (!strcmp(it->name, "min_max"))
        a = loop_min_max(&t->trade);
    else if (!strcmp(it->name, "ten_minutes"))
        a = loop_ten_minutes(&t->trade, id, (int64_t)DAY * 86400 * NS + 57600 * NS,
                             (int64_t)DAY * 86400 * NS + 58200 * NS);
    else if (!strcmp(it->name, "sum"))
        a = loop_sum(&t->trade);
    else if (!strcmp(it->name, "top"))
        a = loop_top(&t->trade);
    else if (!strcmp(it->name, "asof"))
        a = loop_asof(&t->trade, &t->quote);
    else if (!strcmp(it->name, "distinct"))
        a = loop_distinct(&t->trade);
    else
        a = loop_distinct_price(&t->trade);
    *time = seconds() - s;
    *cpu = cpu_seconds() - c;
    return a;
}

static bool agrees(const struct item *it, const struct result *r, const struct loop_answer *a)
{
    uint64_t rows = r->rows;
    double sum = 0;
    if (it->sum_col == -1)
        rows = (uint64_t)result_int(r, 0, 0);
    if (!strcmp(it->name, "asof"))
        rows = (uint64_t)result_int(r, 1, 0);
    if (it->sum_col == -2)
        for (uint64_t i = 0; i < r->rows; i++)
            sum += result_float(r, 1, i) + result_float(r, 2, i) + (double)result_int(r, 3, i);
    for (uint64_t i = 0; it->sum_col >= 0 && i < r->rows; i++)
        sum += r->col[it->sum_col].type == PST_FLOAT
                   ? result_float(r, (uint32_t)it->sum_col, i)
                   : (double)result_int(r, (uint32_t)it->sum_col, i);
    if (rows == a->rows && fabs(sum - a->sum) <= 1e-6 * (fabs(sum) + fabs(a->sum)) + 1e-6)
        return true;
    fprintf(stderr, "bench_query: %s: %llu rows, sum %.10g; the loop %llu, %.10g\n", it->name,
            (unsigned long long)rows, sum, (unsigned long long)a->rows, a->sum);
    return false;
}

/* Medians of both tiers, for the comparison with DuckDB. */
static struct median {
    double wall, cpu;
} ours[2][16];

static bool run_tier(const struct tier *t)
{
    bool ok = true;
    for (unsigned i = 0; i < PST_COUNT(items); i++) {
        const struct item *it = &items[i];
        if (opt.only && strcmp(opt.only, it->name))
            continue;
        char sql[600];
        snprintf(sql, sizeof sql, it->sql, hot);
        double q[100], q1[100], l[100], l1[100];
        for (unsigned k = 0; k < opt.runs; k++) {
            struct result *r = query(t->db, sql, opt.threads, &q[k]);
            struct loop_answer a = loop(it, t, &l[k], &l1[k]);
            if (k == 0)
                ok &= agrees(it, r, &a);
            result_free(r);
            result_free(query(t->db, sql, 1, &q1[k]));
        }
        qsort(q, opt.runs, sizeof *q, by_value);
        qsort(q1, opt.runs, sizeof *q, by_value);
        qsort(l, opt.runs, sizeof *l, by_value);
        qsort(l1, opt.runs, sizeof *l, by_value);
        double qm = q[opt.runs / 2], lm = l[opt.runs / 2], q1m = q1[opt.runs / 2];
        printf(
            "result %-4s %-14s query_ms=%-9.3f one_thread_cpu_ms=%-9.3f loop_ms=%-9.3f ratio=%.2f "
            "cpu_ratio=%.2f\n",
            t->name, it->name, qm * 1e3, q1m * 1e3, lm * 1e3, qm / lm, q1m / l1[opt.runs / 2]);
        fflush(stdout);
        ours[t->trade.parted][i] = (struct median){qm, q1m};
        ok &= qm <= it->limit * lm || qm < 0.001; /* below a millisecond parsing counts most */
    }
    return ok;
}

/* ---- DuckDB, in this process, on the same rows in its memory ---- */

static const struct {
    const char *name, *sql;
    double least; /* times slower than ours */
} duck_items[] = {
    {"last",
     "SELECT sym, max(time), arg_max(price, time), arg_max(size, time) FROM trade GROUP BY sym", 6},
    {"bars_one",
     "SELECT time_bucket(INTERVAL '5 minutes', time) AS bar, sum(price * size) / sum(size) FROM "
     "trade "
     "WHERE sym = '%s' GROUP BY bar",
     6},
    {"bars_all",
     "SELECT sym, time_bucket(INTERVAL '5 minutes', time) AS bar, sum(price * size) / sum(size), "
     "max(price), min(price), sum(size) FROM trade GROUP BY sym, bar",
     6},
    {"min_max", "SELECT sym, min(price), max(price), count(*) FROM trade GROUP BY sym", 6},
    {"ten_minutes",
     "SELECT * FROM trade WHERE sym = '%s' AND time >= TIMESTAMP '2026-11-23 16:00:00' AND time < "
     "TIMESTAMP '2026-11-23 16:10:00'",
     1},
    {"sum", "SELECT sum(price) FROM trade", 1.5},
    {"top", "SELECT sym, sum(size) AS v FROM trade GROUP BY sym ORDER BY v DESC LIMIT 10", 6},
    {"asof",
     "SELECT sum(t.price - q.bid), count(q.bid) FROM trade t ASOF LEFT JOIN quote q ON t.sym = "
     "q.sym "
     "AND t.time >= q.time",
     20},
    {"distinct", "SELECT count(DISTINCT sym) FROM trade", 1},
    {"distinct_price", "SELECT count(DISTINCT price) FROM trade", 1},
};

static void duck_say(struct duck *d, const char *fmt, ...)
{
    char sql[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    duck_must(d, sql);
}

static bool against_duckdb(const char *library)
{
    char why[600];
    struct duck *d = duck_open(library, why, sizeof why);
    if (!d) {
        fprintf(stderr, "bench_query: DuckDB: %s\n", why);
        return false;
    }
    double t0 = seconds();
    duck_say(d, "SET threads = %u", opt.threads);
    duck_say(
        d,
        "CREATE TABLE names AS FROM read_csv('%s/sym.csv', columns = {'id': 'INTEGER', 'text': "
        "'VARCHAR'})",
        opt.csv);
    /* an enumeration: as good as our symbols, better than texts */
    duck_say(d, "CREATE TYPE symbol AS ENUM (SELECT text FROM names ORDER BY id)");
    duck_say(
        d,
        "CREATE TABLE trade AS SELECT make_timestamp(t // 1000 + 946684800000000) AS time, "
        "enum_range(NULL::symbol)[s + 1]::symbol AS sym, c / 100.0::DOUBLE AS price, size FROM "
        "read_csv('%s/trade.csv', columns = {'t': 'BIGINT', 's': 'INTEGER', 'c': 'INTEGER', "
        "'size': 'BIGINT'})",
        opt.csv);
    duck_say(d,
             "CREATE TABLE quote AS SELECT make_timestamp(t // 1000 + 946684800000000) AS time, "
             "enum_range(NULL::symbol)[s + 1]::symbol AS sym, c / 100.0::DOUBLE AS bid, (c + 1) / "
             "100.0::DOUBLE AS ask, b AS bsize, a AS asize FROM read_csv('%s/quote.csv', columns = "
             "{'t': 'BIGINT', 's': 'INTEGER', 'c': 'INTEGER', 'b': 'INTEGER', 'a': 'INTEGER'})",
             opt.csv);
    fprintf(stderr, "DuckDB loaded in %.1f s\n", seconds() - t0);
    bool ok = true;
    for (unsigned i = 0; i < PST_COUNT(duck_items); i++) {
        if (opt.only && strcmp(opt.only, duck_items[i].name))
            continue;
        char sql[600];
        snprintf(sql, sizeof sql, duck_items[i].sql, hot);
        double wall[100], cpu[100];
        for (unsigned k = 0; k < opt.runs; k++) {
            struct duck_rows r;
            double w = seconds(), c = process_seconds();
            if (!duck_query(d, sql, &r)) {
                fprintf(stderr, "bench_query: DuckDB: %s\n", r.error);
                return false;
            }
            wall[k] = seconds() - w;
            cpu[k] = process_seconds() - c;
            duck_free(&r);
        }
        qsort(wall, opt.runs, sizeof *wall, by_value);
        qsort(cpu, opt.runs, sizeof *cpu, by_value);
        double w = wall[opt.runs / 2], c = cpu[opt.runs / 2];
        printf("result duckdb %-14s ms=%-9.3f cpu_ms=%-9.3f", duck_items[i].name, w * 1e3, c * 1e3);
        for (unsigned tier = 0; tier < 2; tier++) {
            double by = w / ours[tier][i].wall;
            printf(" %s: %.1fx (cpu %.1fx)", tier ? "hdb" : "rdb", by, c / ours[tier][i].cpu);
            ok &= by >= duck_items[i].least;
        }
        printf(" wanted %.1fx\n", duck_items[i].least);
        fflush(stdout);
    }
    duck_close(d);
    return ok;
}

/* ---- 1,000 dates ---- */

static void write_column(struct io *io, const char *dir, const char *name, uint8_t type,
                         const void *v, uint64_t n)
{
    struct kdb_writer w;
    struct err e = {0};
    char path[2400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!kdb_write_open(&w, io, path, type, &e) || !kdb_write_at(&w, 0, v, n, &e) ||
        !kdb_write_close(&w, n, 0, false, &e))
        die(&e);
}

static bool thousand(void)
{
    enum { DATES = 1000, ROWS = 10000, NSYM = 100 };
    struct err e = {0};
    char root[1100], dir[1200], path[2400];
    snprintf(root, sizeof root, "%s/thousand", opt.dir);
    snprintf(path, sizeof path, "rm -rf '%s' && mkdir -p '%s'", root, root);
    pst_must(system(path) == 0);
    struct io *io = io_posix_create(&e);
    if (!io)
        die(&e);
    const char *names[NSYM];
    char texts[NSYM][8];
    for (unsigned i = 0; i < NSYM; i++) {
        snprintf(texts[i], sizeof texts[i], "S%03u", i);
        names[i] = texts[i];
    }
    snprintf(path, sizeof path, "%s/sym", root);
    if (!kdb_write_symbols(io, path, names, NSYM, false, &e))
        die(&e);
    int64_t *time = malloc(ROWS * 8), *sym = malloc(ROWS * 8), *size = malloc(ROWS * 8);
    double *price = malloc(ROWS * 8);
    static const struct column_def tc[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_LONG}};
    struct schema s;
    pst_must(schema_make(&s, 2, "trade", false, tc, 4, &e));
    for (int32_t d = 0; d < DATES; d++) {
        int32_t date = 8000 + d;
        for (unsigned i = 0; i < ROWS; i++) {
            sym[i] = i / (ROWS / NSYM);
            time[i] = (int64_t)date * 86400 * NS + (int64_t)(i % (ROWS / NSYM)) * NS;
            price[i] = i;
            size[i] = 1;
        }
        char day[16];
        int y, mo, dd;
        civil_date(date, &y, &mo, &dd);
        snprintf(day, sizeof day, "%04u.%02u.%02u", (unsigned)y % 10000, (unsigned)mo % 100,
                 (unsigned)dd % 100);
        snprintf(dir, sizeof dir, "%s/%s/trade", root, day);
        snprintf(path, sizeof path, "%s/%s", root, day);
        mkdir(path, 0755);
        mkdir(dir, 0755);
        write_column(io, dir, "time", PST_TIMESTAMP, time, ROWS);
        write_column(io, dir, "sym", PST_SYMBOL, sym, ROWS);
        write_column(io, dir, "price", PST_FLOAT, price, ROWS);
        write_column(io, dir, "size", PST_LONG, size, ROWS);
        static const char *const cols[] = {"time", "sym", "price", "size"};
        snprintf(path, sizeof path, "%s/.d", dir);
        if (!kdb_write_symbols(io, path, cols, 4, false, &e))
            die(&e);
        struct hdb_index x;
        if (!hdb_index_compute(&x, sym, time, ROWS, &e) ||
            !hdb_index_write(io, dir, x.group, x.ngroups, ROWS, true, false, &e))
            die(&e);
        hdb_index_free(&x);
        struct hdb_meta *m = calloc(1, sizeof *m);
        hdb_meta_init(m, &s, date);
        m->rows = ROWS;
        m->sorted = true;
        m->has_times = true;
        m->time_min = time[0];
        m->time_max = time[ROWS - 1];
        if (!hdb_meta_write(m, io, dir, false, false, &e))
            die(&e);
        free(m);
    }
    io_destroy(io);
    static const struct {
        const char *name, *sql;
        int64_t expect;
    } q[] = {
        {"one_date", "SELECT count(*) AS n FROM trade WHERE date = date '2023-01-01'", 10000},
        {"all_dates", "SELECT count(*) AS n, sum(price) AS s FROM trade WHERE sym = 'S042'",
         100000},
        {"all_rows", "SELECT count(*) AS n, sum(price) AS s FROM trade", 10000000},
    };
    bool ok = true;
    for (unsigned i = 0; i < PST_COUNT(q); i++) {
        double best[5], cpu[5];
        for (unsigned k = 0; k < 5; k++) { /* each time a database that was just opened */
            double t, t0 = seconds(), c0 = process_seconds();
            struct hdb *h = hdb_open(root, &e);
            struct view_db *db = h ? view_db_new(NULL, NULL, h, &e) : NULL;
            if (!db || !view_db_cut(db, NULL, &e))
                die(&e);
            struct result *r = query(db, q[i].sql, opt.threads, &t);
            best[k] = seconds() - t0;
            cpu[k] = process_seconds() - c0;
            if (result_int(r, 0, 0) != q[i].expect) {
                fprintf(stderr, "bench_query: %s: %lld rows\n", q[i].name,
                        (long long)result_int(r, 0, 0));
                ok = false;
            }
            result_free(r);
            view_db_free(db);
            hdb_close(h);
        }
        qsort(best, 5, sizeof *best, by_value);
        qsort(cpu, 5, sizeof *cpu, by_value);
        printf("result first %-14s ms=%.1f cpu_ms=%.1f\n", q[i].name, best[2] * 1e3, cpu[2] * 1e3);
        ok &= i == 2 || best[2] <= 0.1;
    }
    free(time);
    free(sym);
    free(size);
    free(price);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"rows", 1, 0, 'r'},   {"quick", 0, 0, 'q'},
                                          {"runs", 1, 0, 'n'},   {"threads", 1, 0, 't'},
                                          {"dir", 1, 0, 'd'},    {"csv", 1, 0, 'c'},
                                          {"only", 1, 0, 'o'},   {"no-first", 0, 0, 'f'},
                                          {"duckdb", 1, 0, 'D'}, {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'r')
            opt.rows = strtoull(optarg, NULL, 10);
        else if (c == 'q')
            opt.rows = 5000000;
        else if (c == 'n')
            opt.runs = (unsigned)atoi(optarg);
        else if (c == 't')
            opt.threads = (unsigned)atoi(optarg);
        else if (c == 'd')
            opt.dir = optarg;
        else if (c == 'c')
            opt.csv = optarg;
        else if (c == 'o')
            opt.only = optarg;
        else if (c == 'D')
            opt.duckdb = optarg;
        else if (c == 'f')
            opt.no_first = true;
        else
            return 2;
    }
    if (!opt.rows || opt.rows > 500000000 || !opt.runs || opt.runs > 99 || !opt.threads)
        return 2;
    char csv[1100];
    if (opt.duckdb && !opt.csv) {
        snprintf(csv, sizeof csv, "%s.csv", opt.dir);
        opt.csv = csv;
    }
    struct err e = {0};
    if (opt.only && !strcmp(opt.only, "first"))
        return !thousand();
    make_symbols();
    make_schemas();
    make_rdb();
    struct cut *cut = cut_of();
    hot_id = order[10];
    uint32_t len;
    const char *p = symbols_text(&syms, hot_id, &len);
    snprintf(hot, sizeof hot, "%.*s", (int)len, p);

    struct tier r = {.name = "rdb"}, h = {.name = "hdb"};
    r.db = view_db_new(rdb_map_of(rdb), &syms, NULL, &e);
    if (!r.db || !view_db_cut(r.db, cut, &e))
        die(&e);
    for (uint32_t i = 0; i < cut->nparts; i++)
        rdb_loop_table(&cut->part[i], cut->part[i].table == 2 ? &r.trade : &r.quote);
    bool ok = run_tier(&r);
    write_down(cut);
    view_db_free(r.db);
    free(r.trade.row);
    free(r.quote.row);
    rdb_close(rdb);
    char root[1100];
    snprintf(root, sizeof root, "%s/db", opt.dir);
    struct hdb *db = hdb_open(root, &e);
    h.db = db ? view_db_new(NULL, &syms, db, &e) : NULL;
    if (!h.db || !view_db_cut(h.db, NULL, &e))
        die(&e);
    hdb_loop_table(db, "trade", &h.trade);
    hdb_loop_table(db, "quote", &h.quote);
    /* the hot symbol's group number */
    {
        const struct hdb_table *t = hdb_table_get(db, "trade", &e);
        const struct hdb_part *part = hdb_part_get(t, DAY, &e);
        const struct hdb_index *x = hdb_part_index(part, &e);
        int64_t sym = hdb_symbol_find(db, hot, (uint32_t)strlen(hot));
        for (uint64_t g = 0; g < x->ngroups; g++)
            if (x->group[g].sym == sym)
                hot_id = (uint32_t)g;
    }
    ok &= run_tier(&h);
    view_db_free(h.db);
    hdb_close(db);
    if (opt.duckdb)
        ok &= against_duckdb(opt.duckdb);
    if (!opt.no_first)
        ok &= thousand();
    char cmd[2400];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", opt.dir);
    pst_must(system(cmd) == 0);
    if (opt.duckdb) { /* they were for it alone */
        snprintf(cmd, sizeof cmd, "rm -rf '%s'", opt.csv);
        pst_must(system(cmd) == 0);
    }
    exec_pool_stop();
    return !ok;
}
