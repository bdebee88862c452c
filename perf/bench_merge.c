/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_merge - index and merge of a batch beside memcpy, in the same run:
 *   build/perf/bench_merge [-n ROWS] [-f FILES] [-s among|follow|disorder] [-e ROWS] [-r RUNS]
 *                          [-m MB] [-b] [-d DIRECTORY]
 *
 * Rows of a trade table (time, sym, price float, size long, ex char, cond symbol; 41 bytes on
 * disk), 8,000 symbols of which few have most rows, as the column files of FILES read tasks: each
 * of the whole day (among), one behind the other (follow), or in no order. -e: so many of them are
 * loaded before, so that the batch is merged with an existing partition. -m: the column buffer; -b:
 * through the page cache (default: past it).
 *   index   order, place file, columns time and sym, side files
 *   merge   each other column
 *   memcpy  as many bytes as the task reads and writes, once through memory, the faults included
 * Medians of RUNS; the input is in the page cache.
 */
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "core/civil.h"
#include "hdb_sym.h"
#include "load/merge.h"
#include "load/publish.h"

#define DAY      9823
#define SYMBOLS  8000u
#define RUNS_MAX 20u
#define INSTANCE 7ull

static struct {
    uint64_t rows, before;
    unsigned files, runs;
    const char *shape, *dir;
    uint64_t memory;
    bool buffered;
} opt = {10000000, 0, 10, 3, "among", "/tmp", 0, false};

static char base[200], root[220], day[CIVIL_TEXT];
static uint64_t seed = 88172645463325252ull;
static uint32_t *popular; /* 65,536 codes, skewed */

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double used; /* CPU seconds of the last step */

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_merge: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static void clean(void)
{
    nftw(base, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

static FILE *create(const char *dir, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die(path, NULL);
    setvbuf(f, NULL, _IOFBF, 1 << 20);
    return f;
}

/* What a read task leaves of one file. */
static void make_file(unsigned number, unsigned files, uint64_t n)
{
    static const char *const columns[] = {"time", "sym", "price", "size", "ex", "cond"};
    char dir[300], path[400];
    snprintf(dir, sizeof dir, "%s/r%u", base, number);
    snprintf(path, sizeof path, "%s/%s", dir, day);
    if (mkdir(dir, 0755) || mkdir(path, 0755))
        die(dir, NULL);
    strcat(path, "/trade");
    if (mkdir(path, 0755))
        die(path, NULL);
    FILE *f[6], *sums;
    for (int i = 0; i < 6; i++)
        f[i] = create(path, columns[i]);
    bool follow = !strcmp(opt.shape, "follow"), disorder = !strcmp(opt.shape, "disorder");
    int64_t span = 23400000000000ll / (follow ? files : 1), step = 2 * span / (int64_t)(n ? n : 1);
    int64_t t = DAY * 86400000000000ll + 52200000000000ll + (follow ? (int64_t)number * span : 0);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t x = next();
        t += (int64_t)(x >> 11) % (step + 1);
        int64_t time =
            disorder ? DAY * 86400000000000ll + (int64_t)(next() % 86400000000000ull) : t;
        uint32_t code = popular[x & 0xFFFF] + 1, cond = (uint32_t)(x >> 40) % 5 + 1;
        double price = (double)(x % 100000) / 100;
        int64_t size = (int64_t)(x >> 50) * 100;
        char ex = (char)('A' + x % 16);
        fwrite(&time, 8, 1, f[0]);
        fwrite(&code, 4, 1, f[1]);
        fwrite(&price, 8, 1, f[2]);
        fwrite(&size, 8, 1, f[3]);
        fwrite(&ex, 1, 1, f[4]);
        fwrite(&cond, 4, 1, f[5]);
    }
    for (int i = 0; i < 6; i++)
        fclose(f[i]);
    sums = create(dir, "symbols");
    for (unsigned i = 0; i < SYMBOLS; i++)
        fprintf(sums, "S%04u%c", (i * 4001) % SYMBOLS, 0);
    fclose(sums);
    sums = create(dir, "result.json");
    fprintf(sums,
            "{\"format\":1,\"written\":[{\"date\":\"%s\",\"table\":\"trade\",\"rows\":%llu,"
            "\"captured\":%llu,\"sum\":\"%032d\",\"full\":\"%032d\",\"columns\":[[\"time\","
            "\"timestamp\"],[\"sym\",\"symbol\"],[\"price\",\"float\"],[\"size\",\"long\"],[\"ex\","
            "\"char\"],[\"cond\",\"symbol\"]]}]}",
            day, (unsigned long long)n, (unsigned long long)n, 0, 0);
    fclose(sums);
}

static json_t *arguments(unsigned from, unsigned files, uint64_t commit)
{
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                             {"price", PST_FLOAT},    {"size", PST_LONG},
                                             {"ex", PST_CHAR},        {"cond", PST_SYMBOL}};
    struct schema s;
    struct err err;
    char index[300], path[300];
    if (!schema_make(&s, 2, "trade", false, cols, 6, &err))
        die("schema", &err);
    char *text = schema_to_json(&s);
    json_t *list = json_array();
    for (unsigned i = from; i < from + files; i++) {
        snprintf(path, sizeof path, "%s/r%u", base, i);
        json_array_append_new(list, json_string(path));
    }
    snprintf(index, sizeof index, "%s/index", base);
    json_t *o = json_pack("{s:s,s:s,s:o,s:s,s:s,s:I,s:o,s:s,s:I,s:b}", "database", root, "date",
                          day, "table", json_loads(text, 0, NULL), "instance", "0000000000000007",
                          "batch", "bench", "commit", (json_int_t)commit, "files", list, "index",
                          index, "memory", (json_int_t)opt.memory, "buffered", opt.buffered);
    free(text);
    return o;
}

static double run_index(json_t *args, json_t **result)
{
    struct err err = {0};
    double from = now(), cpu_from = cpu();
    if (!load_index_run(args, NULL, result, &err))
        die("index", &err);
    used = cpu() - cpu_from;
    return now() - from;
}

static double run_merge(const json_t *args, const char *column)
{
    struct err err = {0};
    json_t *result;
    json_t *a = json_pack("{s:O,s:[s],s:I,s:b}", "index", json_object_get(args, "index"), "columns",
                          column, "memory", (json_int_t)opt.memory, "buffered", opt.buffered);
    double from = now(), cpu_from = cpu();
    if (!load_merge_run(a, NULL, &result, &err))
        die(column, &err);
    double took = now() - from;
    used = cpu() - cpu_from;
    json_decref(result);
    json_decref(a);
    return took;
}

static double run_memcpy(uint64_t bytes)
{
    size_t n = bytes / 2;
    uint8_t *a =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint8_t *b = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a == MAP_FAILED || b == MAP_FAILED)
        die("memory", NULL);
    madvise(b, n, MADV_HUGEPAGE);
    memset(a, 1, n);
    double from = cpu();
    memcpy(b, a, n);
    double took = cpu() - from;
    munmap(a, n);
    munmap(b, n);
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *t, unsigned n)
{
    qsort(t, n, sizeof *t, by_value);
    return t[n / 2];
}

static void line(const char *what, double took, double busy, uint64_t bytes, double copy,
                 uint64_t rows)
{
    printf("%-16s %8.3f s  cpu %8.3f s  %6.1f ns/row  %6.2f GB/s  %5.2f x memcpy\n", what, took,
           busy, busy * 1e9 / (double)rows, (double)bytes / busy / 1e9, busy / copy);
}

static void intern(void)
{
    struct err err;
    struct hdb_sym sym;
    struct io *io = io_posix_create(&err);
    if (!io || !hdb_sym_open(&sym, io, root, &err))
        die("sym", &err);
    for (unsigned i = 0; i < SYMBOLS; i++) {
        char text[16];
        if (hdb_sym_add(&sym, text, (uint32_t)sprintf(text, "S%04u", i), &err) < 0)
            die("sym", &err);
    }
    hdb_sym_close(&sym);
    io_destroy(io);
}

static void put(const json_t *result)
{
    struct err err = {0};
    struct io *io = io_posix_create(&err);
    struct hdb *h = hdb_open(root, &err);
    struct load_move_table t = {.date = DAY, .table = "trade"};
    struct load_move m = {.batch = "bench", .instance = INSTANCE, .commit = 1, .table = &t, .n = 1};
    struct load_moved moved = {0};
    bool published;
    snprintf(t.base, sizeof t.base, "%s", json_string_value(json_object_get(result, "base")));
    int lock = hdb_lock(io, root, "bench", &err);
    load_publish(io, h, &m, 1, "", NULL, 0, NULL, &published, &moved);
    if (moved.verdict != LOAD_DONE)
        die("publish", &moved.err);
    load_publish_tidy(io, h, "bench", &err);
    hdb_unlock(io, lock);
    hdb_close(h);
    io_destroy(io);
}

static void options(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "n:f:s:e:r:m:bd:")) != -1) {
        switch (c) {
        case 'n':
            opt.rows = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            opt.files = (unsigned)atoi(optarg);
            break;
        case 's':
            opt.shape = optarg;
            break;
        case 'e':
            opt.before = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            opt.runs = (unsigned)atoi(optarg);
            break;
        case 'm':
            opt.memory = strtoull(optarg, NULL, 10) << 20;
            break;
        case 'b':
            opt.buffered = true;
            break;
        case 'd':
            opt.dir = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (!opt.files || !opt.runs || opt.runs > RUNS_MAX || !opt.rows)
        exit(2);
}

int main(int argc, char **argv)
{
    static const char *const columns[] = {"price", "size", "cond", "ex"};
    static const unsigned in[] = {8, 8, 4, 1}, out[] = {8, 8, 8, 1};
    double t[6][RUNS_MAX], c[6][RUNS_MAX];
    json_t *result;
    options(argc, argv);
    civil_format(DAY, day);
    snprintf(base, sizeof base, "%.150s/bench_merge.XXXXXX", opt.dir);
    if (!mkdtemp(base))
        die(opt.dir, NULL);
    atexit(clean);
    snprintf(root, sizeof root, "%s/hdb", base);
    if (mkdir(root, 0755))
        die(root, NULL);
    intern();
    popular = malloc(65536 * sizeof *popular);
    for (unsigned i = 0; i < 65536; i++)
        popular[i] = (uint32_t)(pow((double)(i + 1) / 65536, 3) * (SYMBOLS - 1));
    uint64_t fresh = opt.rows - (opt.before < opt.rows ? opt.before : 0);
    for (unsigned i = 0; i < opt.files; i++)
        make_file(i, opt.files, fresh / opt.files);
    if (opt.rows > fresh) {
        make_file(opt.files, opt.files, opt.rows - fresh);
        json_t *args = arguments(opt.files, 1, 1);
        run_index(args, &result);
        for (unsigned i = 0; i < 4; i++)
            run_merge(args, columns[i]);
        put(result);
        json_decref(result);
        json_decref(args);
    }
    json_t *args = arguments(0, opt.files, 2);
    for (unsigned r = 0; r < opt.runs; r++) {
        t[0][r] = run_index(args, &result);
        c[0][r] = used;
        json_decref(result);
        for (unsigned i = 0; i < 4; i++) {
            t[i + 1][r] = run_merge(args, columns[i]);
            c[i + 1][r] = used;
        }
        t[5][r] = run_memcpy(opt.rows * 16);
    }
    double copy = median(t[5], opt.runs) / ((double)opt.rows * 16);
    printf("%llu rows in %u files (%s), %llu there before; %s\n", (unsigned long long)opt.rows,
           opt.files, opt.shape, (unsigned long long)(opt.rows - fresh), opt.dir);
    /* read: codes twice, times; written: places, time, sym */
    line("index", median(t[0], opt.runs), median(c[0], opt.runs), opt.rows * (16 + 20),
         copy * (double)opt.rows * 36, opt.rows);
    double all = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t bytes = opt.rows * (in[i] + out[i] + 4);
        double m = median(t[i + 1], opt.runs);
        line(columns[i], m, median(c[i + 1], opt.runs), bytes, copy * (double)bytes, opt.rows);
        all += m;
    }
    printf("%-16s %8.3f s\n%-16s %8.2f GB/s\n", "index + merges", all + median(t[0], opt.runs),
           "memcpy", 1 / copy / 1e9);
    json_decref(args);
    return 0;
}
