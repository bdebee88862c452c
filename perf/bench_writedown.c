/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_writedown - an end of day beside its limits, in the same run and directory:
 *   build/perf/bench_writedown [-n ROWS] [-r RUNS] [-t THREADS] [-b] [-m MB] [-d DIRECTORY]
 *                              [-q LIBDUCKDB]
 *
 * Rows of a feed's order table (12 columns, 81 bytes on disk), 8,000 symbols of which few have most
 * rows, go into an RDB; then
 *   writedown  from memory to a staged, synced partition: sorted, hashed, with marker and index
 *   raw        the same bytes written to as many files in pieces of 4 MiB, and synced
 *   log        the same partition from a log file (rebuild), once
 *   duckdb     COPY (… ORDER BY sym, time) TO Parquet of the same rows, from a table in memory;
 *              2 threads, and 1
 * -m: the column buffers' size. -b: writedown and raw go through the page cache. Medians of RUNS.
 * The partition's rows and content hash are checked against the frames'. Exit 1 when they differ.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "core/civil.h"
#include "log_file.h"
#include "rdb.h"
#include "writedown.h"

#define DAY      9823
#define SYMBOLS  8000u
#define INSTANCE 7ull
#define PACKET   38u
#define RUNS_MAX 20u

static struct {
    uint64_t rows;
    unsigned runs, threads;
    bool buffered, log;
    uint64_t memory;
    const char *dir, *duckdb;
} opt = {10000000, 3, 1, false, false, 0, "/tmp", NULL};

static char base[200], root[220], logs[220];
static char text[SYMBOLS][12];
static struct rdb *rdb;
static struct schema_set *schemas;
static const struct schema *table;
static struct dictionary dict;
static struct content_hash hash;
static uint64_t end_position;
static FILE *log_out;

static double seconds(clockid_t c)
{
    struct timespec t;
    clock_gettime(c, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

static void die(const struct err *e)
{
    fprintf(stderr, "bench_writedown: %s\n", e->text);
    exit(1);
}

/* ---- rows ---- */

static uint64_t seed = 88172645463325252ull;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static const struct column_def columns[] = {
    {"ref", PST_LONG}, {"side", PST_CHAR}, {"shares", PST_INT}, {"price", PST_FLOAT}};

static void take(uint8_t *buf, uint32_t length, uint8_t kind, uint16_t count, uint64_t *position)
{
    struct frame *f = (struct frame *)(void *)buf;
    uint32_t whole = (uint32_t)pst_align8(length);
    memset(buf + length, 0, whole - length);
    *f = (struct frame){.length = whole,
                        .position = *position,
                        .time = (int64_t)*position,
                        .kind = kind,
                        .stream = kind == FRAME_DATA ? STREAM_DAILY : STREAM_EVERY,
                        .count = count,
                        .day = DAY};
    frame_seal(f, frame_seed(INSTANCE));
    *position += whole;
    dictionary_feed(&dict, f);
    if (opt.rows <= 1000000)
        pst_must(content_hash_frame(&hash, &dict, f));
    rdb_append(rdb, schemas, f);
    if (log_out)
        pst_must(fwrite(f, 1, whole, log_out) == whole);
}

static void make_log(uint64_t first)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    struct log_file_header h = {.magic = LOG_MAGIC,
                                .format = LOG_FORMAT,
                                .instance = INSTANCE,
                                .epoch = 1,
                                .first = first,
                                .day = DAY,
                                .minute = LOG_NO_MINUTE};
    char path[300], day[CIVIL_TEXT];
    snprintf(path, sizeof path, "%s/log%s", logs, civil_format(DAY, day));
    log_out = fopen(path, "w");
    pst_must(log_out);
    for (int i = 0; i < 2; i++) {
        uint32_t n = log_file_frame(buf, &h, LOG_FILE_HEADER, &h, sizeof h, 0);
        pst_must(n && fwrite(buf, 1, n, log_out) == n);
    }
}

/* Few symbols have most rows, as in real flow: rank r is drawn like 1 / (r + 40). */
static uint32_t some_symbol(void)
{
    double u = (double)(next() >> 11) / 9007199254740992.0;
    double r = 40 * (pow((SYMBOLS + 40) / 40.0, u) - 1);
    return (uint32_t)r < SYMBOLS ? ((uint32_t)r * 2654435761u) % SYMBOLS : 0;
}

static void make_rows(void)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    uint64_t position = 4096;
    struct err e;
    struct schema s;
    struct rdb_config rc = {.bytes = opt.rows * 96 + (256ull << 20),
                            .symbols_max = SYMBOLS + 8,
                            .instance = INSTANCE,
                            .ahead = UINT32_MAX};
    rdb = rdb_create(&rc, &e);
    if (!rdb)
        die(&e);
    schemas = schema_set_new();
    pst_must(dictionary_init(&dict, &e) && content_hash_init(&hash, &e));
    pst_must(schema_make(&s, 2, "orders", true, columns, PST_COUNT(columns), &e) &&
             schema_set_add(schemas, &s, &e));
    table = schema_set_get(schemas, 2);
    if (opt.log)
        make_log(position);
    char *json = schema_to_json(table);
    uint32_t n = frame_build_schema(buf, json, strlen(json));
    free(json);
    take(buf, n, FRAME_SCHEMA, 0, &position);
    frame_symbol_begin(buf, 0);
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        snprintf(text[i], sizeof text[i], "%c%c%04u", 'A' + i * 7 % 26, 'A' + i * 11 % 26, i);
        pst_must(frame_symbol_add(buf, text[i], (uint32_t)strlen(text[i])));
    }
    take(buf, frame_symbol_end(buf), FRAME_SYMBOL, 0, &position);
    uint32_t at = FRAME_HEADER;
    uint16_t count = 0;
    for (uint64_t i = 0; i < opt.rows;) {
        struct packet_record *p = (struct packet_record *)(void *)(buf + at);
        uint32_t rows = opt.rows - i < PACKET ? (uint32_t)(opt.rows - i) : PACKET;
        *p = (struct packet_record){.bytes = sizeof *p,
                                    .sym = PST_NULL_SYMBOL,
                                    .rxtime = (int64_t)i * 1000 + 300,
                                    .seq = i + 1,
                                    .feed = 1,
                                    .session = 2,
                                    .line = i / PACKET % 2 ? 3 : 4,
                                    .rows = rows,
                                    .seqs = rows,
                                    .run_bytes = rows * table->fixed,
                                    .quality = CLOCK_TSC};
        at += sizeof *p;
        count++;
        for (uint32_t k = 0; k < rows; k++, i++) {
            uint8_t *r = buf + at;
            uint64_t x = next();
            memset(r, 0, table->fixed);
            *(struct record *)(void *)r =
                (struct record){2, table->fixed, some_symbol(), (int64_t)i * 1000};
            put64(r + table->col[8].offset, i * 3 + x % 3);
            r[table->col[9].offset] = x & 8 ? 'B' : 'S';
            put32(r + table->col[10].offset, (uint32_t)(x >> 20) % 10000);
            double price = (double)(uint32_t)(x >> 40) / 10000;
            memcpy(r + table->col[11].offset, &price, 8);
            at += table->fixed;
            count++;
        }
        if (at > 60000 || i == opt.rows) {
            take(buf, at, FRAME_DATA, count, &position);
            at = FRAME_HEADER;
            count = 0;
        }
    }
    rdb_publish(rdb);
    end_position = position;
    if (log_out)
        pst_must(!fclose(log_out));
    log_out = NULL;
}

/* ---- the ways ---- */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static void remove_all(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *symbol_text(const void *arg, uint32_t id, uint32_t *len)
{
    (void)arg;
    *len = id < SYMBOLS ? (uint32_t)strlen(text[id]) : 0;
    return id < SYMBOLS ? text[id] : "";
}

struct figures {
    double wall, cpu, step[4]; /* step: order, columns, hash, else */
    uint64_t bytes, rows;
    struct hash128 hash;
};

static struct figures write_down(bool from_log, unsigned threads)
{
    struct err e = {0};
    struct figures f = {0};
    mkdir(root, 0755);
    struct io *io = io_posix_create(&e);
    struct hdb *h = hdb_open(root, &e);
    struct hdb_sym sym;
    if (!h || !hdb_sym_open(&sym, io, root, &e))
        die(&e);
    struct writedown_config wc = {.io = io,
                                  .hdb = h,
                                  .threads = threads,
                                  .buffered = opt.buffered,
                                  .buffer_bytes = opt.memory};
    struct writedown *w = writedown_create(&wc, &e);
    struct rdb_cut *cut = malloc(sizeof *cut);
    pst_must(cut && rdb_cut_read(rdb_map_of(rdb), cut));
    struct writedown_part part = {0, cut->part[0].rows, 2};
    struct writedown_table t = {.schema = table};
    struct writedown_log log = {.dirs = {logs}, .prefix = "log"};
    struct writedown_job j = {.calendar = "us",
                              .day = DAY,
                              .instance = INSTANCE,
                              .first = 4096,
                              .end = end_position,
                              .kind = "eod",
                              .epoch = 1,
                              .tables = &t,
                              .ntables = 1,
                              .sym = &sym,
                              .map = rdb_map_of(rdb),
                              .parts = &part,
                              .nparts = 1,
                              .text = symbol_text,
                              .log = from_log ? &log : NULL};
    double from = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!writedown_start(w, &j, &e))
        die(&e);
    enum writedown_verdict v;
    struct writedown_progress p;
    do {
        double t0 = seconds(CLOCK_THREAD_CPUTIME_ID);
        v = writedown_step(w);
        double t1 = seconds(CLOCK_THREAD_CPUTIME_ID);
        writedown_progress(w, &p);
        static const char *const names[] = {"order", "columns", "hash"};
        unsigned k = 3;
        for (unsigned i = 0; i < 3; i++)
            if (!strcmp(p.step, names[i]))
                k = i;
        f.step[k] += t1 - t0;
    } while (v == WRITEDOWN_MORE);
    if (v != WRITEDOWN_STAGED)
        die(writedown_error(w));
    f.wall = seconds(CLOCK_MONOTONIC) - from;
    f.cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (!writedown_publish(w, &e))
        die(&e);
    const struct writedown_result *r = writedown_result(w);
    f.bytes = r->bytes;
    f.rows = r->rows;
    f.hash = r->table[0].hash;
    free(cut);
    writedown_destroy(w);
    hdb_sym_close(&sym);
    hdb_close(h);
    io_destroy(io);
    remove_all(root);
    return f;
}

/* The same bytes by one thread: files one behind the other, no column is ever waited for. */
static double raw_writes(uint64_t bytes, unsigned files)
{
    const uint64_t piece = 4u << 20;
    uint8_t *buf = aligned_alloc(4096, piece);
    pst_must(buf);
    memset(buf, 1, piece);
    mkdir(root, 0755);
    double from = seconds(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < files; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%u", root, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | (opt.buffered ? 0 : O_DIRECT), 0644);
        pst_must(fd >= 0);
        for (uint64_t left = bytes / files; left;) {
            uint64_t n = left < piece ? left : piece;
            ssize_t w = write(fd, buf, pst_align_up(n, 4096));
            pst_must(w > 0);
            left -= n;
        }
        close(fd);
    }
    for (unsigned i = 0; i < files; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%u", root, i);
        int fd = open(path, O_RDONLY);
        pst_must(fd >= 0 && !fsync(fd));
        close(fd);
    }
    double took = seconds(CLOCK_MONOTONIC) - from;
    free(buf);
    remove_all(root);
    return took;
}

/* ---- DuckDB (its C interface, found at run time) ---- */

struct duck {
    void *db, *con, *appender;
    int (*open)(const char *, void **);
    int (*connect)(void *, void **);
    int (*query)(void *, const char *, void *);
    const char *(*error)(void *);
    void (*destroy)(void *);
    int (*create)(void *, const char *, const char *, void **);
    int (*end_row)(void *);
    int (*int64)(void *, int64_t);
    int (*int32)(void *, int32_t);
    int (*dbl)(void *, double);
    int (*varchar)(void *, const char *);
    int (*flush)(void *);
    int (*drop)(void **);
};

static bool sql(struct duck *d, const char *q)
{
    uint64_t result[32] = {0}; /* duckdb_result is 6 words */
    int r = d->query(d->con, q, result);
    if (r)
        fprintf(stderr, "duckdb: %s\n", d->error(result));
    d->destroy(result);
    return !r;
}

static bool duck_load(struct duck *d)
{
    void *lib = dlopen(opt.duckdb, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        printf("duckdb     not compared: %s\n", dlerror());
        return false;
    }
    const struct {
        const char *name;
        void *at;
    } f[] = {{"duckdb_open", &d->open},
             {"duckdb_connect", &d->connect},
             {"duckdb_query", &d->query},
             {"duckdb_result_error", &d->error},
             {"duckdb_destroy_result", &d->destroy},
             {"duckdb_appender_create", &d->create},
             {"duckdb_appender_end_row", &d->end_row},
             {"duckdb_append_int64", &d->int64},
             {"duckdb_append_int32", &d->int32},
             {"duckdb_append_double", &d->dbl},
             {"duckdb_append_varchar", &d->varchar},
             {"duckdb_appender_flush", &d->flush},
             {"duckdb_appender_destroy", &d->drop}};
    for (unsigned i = 0; i < PST_COUNT(f); i++) {
        void *p = dlsym(lib, f[i].name);
        if (!p) {
            printf("duckdb     not compared: the library has no %s\n", f[i].name);
            return false;
        }
        memcpy(f[i].at, &p, sizeof p);
    }
    return !d->open(NULL, &d->db) && !d->connect(d->db, &d->con);
}

static void duck_rows(struct duck *d)
{
    struct rdb_part_view v;
    struct err e;
    char q[400];
    pst_must(rdb_part_open(rdb_map_of(rdb), 0, 2, DAY, (uint32_t)opt.rows, &v, &e));
    snprintf(q, sizeof q,
             "CREATE TABLE orders(time TIMESTAMP_NS, sym VARCHAR, rxtime TIMESTAMP_NS, feed "
             "VARCHAR, session VARCHAR, seq BIGINT, line VARCHAR, flags INTEGER, ref BIGINT, side "
             "VARCHAR, shares INTEGER, price DOUBLE)");
    pst_must(sql(d, "CREATE TABLE raw(time BIGINT, sym VARCHAR, rxtime BIGINT, feed VARCHAR, "
                    "session VARCHAR, seq BIGINT, line VARCHAR, flags INTEGER, ref BIGINT, side "
                    "VARCHAR, shares INTEGER, price DOUBLE)"));
    pst_must(!d->create(d->con, NULL, "raw", &d->appender));
    for (uint32_t c = 0; c < v.chunks; c++) {
        struct rdb_chunk_view k;
        pst_must(rdb_chunk_open(&v, c, &k));
        for (uint32_t i = 0; i < k.rows; i++) {
            const uint32_t *const *id = (const uint32_t *const *)k.col;
            const int64_t *const *l = (const int64_t *const *)k.col;
            char side[2] = {((const char *)k.col[9])[i], 0};
            d->int64(d->appender, l[0][i]);
            d->varchar(d->appender, text[id[1][i]]);
            d->int64(d->appender, l[2][i]);
            d->varchar(d->appender, text[id[3][i]]);
            d->varchar(d->appender, text[id[4][i]]);
            d->int64(d->appender, l[5][i]);
            d->varchar(d->appender, text[id[6][i]]);
            d->int32(d->appender, ((const int32_t *)k.col[7])[i]);
            d->int64(d->appender, l[8][i]);
            d->varchar(d->appender, side);
            d->int32(d->appender, ((const int32_t *)k.col[10])[i]);
            d->dbl(d->appender, ((const double *)k.col[11])[i]);
            pst_must(!d->end_row(d->appender));
        }
    }
    pst_must(!d->flush(d->appender));
    d->drop(&d->appender);
    pst_must(sql(d, q));
    pst_must(sql(d, "SET preserve_insertion_order = true; INSERT INTO orders SELECT "
                    "make_timestamp_ns(time + 946684800000000000), sym, "
                    "make_timestamp_ns(rxtime + 946684800000000000), feed, session, seq, line, "
                    "flags, ref, side, shares, price FROM raw; DROP TABLE raw"));
}

static double duck_time(struct duck *d, unsigned threads)
{
    char q[400], path[300];
    double took[RUNS_MAX];
    snprintf(path, sizeof path, "%s/orders.parquet", base);
    for (unsigned i = 0; i < opt.runs; i++) {
        snprintf(q, sizeof q, "SET threads = %u", threads);
        pst_must(sql(d, q));
        snprintf(q, sizeof q,
                 "COPY (SELECT * FROM orders ORDER BY sym, time) TO '%s' (FORMAT parquet)", path);
        double from = seconds(CLOCK_MONOTONIC);
        pst_must(sql(d, q));
        took[i] = seconds(CLOCK_MONOTONIC) - from;
    }
    return median(took, opt.runs);
}

static void options(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "n:r:t:d:q:m:bl")) != -1) {
        if (c == 'n')
            opt.rows = strtoull(optarg, NULL, 10);
        else if (c == 'r')
            opt.runs = (unsigned)atoi(optarg);
        else if (c == 't')
            opt.threads = (unsigned)atoi(optarg);
        else if (c == 'd')
            opt.dir = optarg;
        else if (c == 'q')
            opt.duckdb = optarg;
        else if (c == 'm')
            opt.memory = strtoull(optarg, NULL, 10) << 20;
        else if (c == 'b')
            opt.buffered = true;
        else if (c == 'l')
            opt.log = true;
        else
            exit(2);
    }
    if (!opt.rows || opt.rows > 100000000 || !opt.runs || opt.runs > RUNS_MAX || !opt.threads) {
        fprintf(stderr, "bench_writedown: 1 to 100000000 rows, 1 to %u runs\n", RUNS_MAX);
        exit(2);
    }
}

static double show(const char *name, unsigned threads, bool from_log, unsigned runs,
                   uint64_t *bytes, struct hash128 *h)
{
    double wall[RUNS_MAX], cpu[RUNS_MAX], step[4][RUNS_MAX];
    for (unsigned i = 0; i < runs; i++) {
        struct figures f = write_down(from_log, threads);
        wall[i] = f.wall;
        cpu[i] = f.cpu;
        for (unsigned k = 0; k < 4; k++)
            step[k][i] = f.step[k];
        if (f.rows != opt.rows || (h->lo && (h->lo != f.hash.lo || h->hi != f.hash.hi))) {
            fprintf(stderr, "bench_writedown: other rows or another hash\n");
            exit(1);
        }
        *h = f.hash;
        *bytes = f.bytes;
    }
    double w = median(wall, runs), gb = (double)*bytes / 1e9;
    double busy = median(cpu, runs);
    printf("%-10s %6.3f s  %5.2f GB/s  cpu %.3f s, %.2f GB/s: order %.3f, columns %.3f, hash "
           "%.3f, else %.3f  bytes_s=%.6g bytes_cpu_s=%.6g\n",
           name, w, gb / w, busy, gb / busy, median(step[0], runs), median(step[1], runs),
           median(step[2], runs), median(step[3], runs), gb * 1e9 / w, gb * 1e9 / busy);
    fflush(stdout);
    return w;
}

int main(int argc, char **argv)
{
    options(argc, argv);
    snprintf(base, sizeof base, "%.100s/bench_writedown.XXXXXX", opt.dir);
    pst_must(mkdtemp(base));
    snprintf(root, sizeof root, "%s/hdb", base);
    snprintf(logs, sizeof logs, "%s/log", base);
    mkdir(logs, 0755);
    make_rows();
    struct hash128 h = {0, 0};
    uint64_t bytes = 0;
    if (opt.rows <= 1000000)
        h = content_sum_hash(content_hash_find(&hash, "orders", DAY));
    printf("%llu rows, 12 columns, %u symbols, %s; directory %s\n", (unsigned long long)opt.rows,
           SYMBOLS, opt.buffered ? "through the page cache" : "direct", opt.dir);
    double w = show("writedown", 1, false, opt.runs, &bytes, &h);
    if (opt.threads > 1)
        show("  threads", opt.threads, false, opt.runs, &bytes, &h);
    double raw[RUNS_MAX];
    for (unsigned i = 0; i < opt.runs; i++)
        raw[i] = raw_writes(bytes, 12);
    double r = median(raw, opt.runs);
    printf("%-10s %6.3f s  %5.2f GB/s  the writedown takes %.2f times as long  raw_s=%.6g\n", "raw",
           r, (double)bytes / 1e9 / r, w / r, (double)bytes / r);
    if (opt.log)
        show("log", 1, true, 1, &bytes, &h);
    struct duck d = {0};
    if (opt.duckdb && duck_load(&d)) {
        duck_rows(&d);
        for (unsigned t = 2; t; t--) {
            double q = duck_time(&d, t);
            printf("duckdb %u   %6.3f s  the writedown is %.1f times as fast  duckdb%u=%.6g\n", t,
                   q, q / w, t, q / w);
        }
    } else if (!opt.duckdb) {
        printf("duckdb     not compared: no library given (-q; see bench_writedown.sh)\n");
    }
    remove_all(base);
    rdb_close(rdb);
    return 0;
}
