/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_load - the tasks of a batch by hand, without daemon and orchestrator: what each step of
 * loading the files of load_data costs, with worker processes that share them out.
 *   build/perf/bench_load [-w WORKERS] [-m MIB] [-k] DIRECTORY OUT
 * MIB: of column buffers a worker. OUT: an empty directory; what the tasks make stays there with
 * -k. Steps: read (a task a file), union and `sym`, index, merge (a task a column, the largest
 * first); of each the time, the CPU time of user and system, what came from the disk.
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/schema.h"
#include "load/index.h"
#include "load/merge.h"
#include "load/save.h"
#include "load/symbols.h"

#define FILES 256u

static struct schema schema;
static json_t *schema_json;
static char file[FILES][512];
static unsigned files, workers = 2;
static int memory = 1024; /* MiB of column buffers a worker */
static const char *out;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
__attribute__((noreturn)) static void die(const char *why)
{
    fprintf(stderr, "bench_load: %s\n", why);
    exit(1);
}

static void find(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        die("no such directory");
    unsigned long long i, m;
    for (struct dirent *e; (e = readdir(d));)
        if (sscanf(e->d_name, "trades.%lluof%llu.csv", &i, &m) == 2 && i && i <= FILES) {
            snprintf(file[i - 1], sizeof file[0], "%.250s/%.250s", dir, e->d_name);
            files = files < i ? (unsigned)i : files;
        }
    closedir(d);
    if (!files)
        die("no trades.1of… there");
}

static json_t *recipe(void)
{
    return json_pack("{s:s,s:s,s:[O],s:s,s:b,s:s}", "name", "trades", "table", "trade", "schemas",
                     schema_json, "date", "2024.01.02", "header", 1, "time", "clock");
}

/* ---- workers: processes that take the next task each ---- */

static struct share {
    _Atomic unsigned next;
    _Atomic bool failed;
    _Atomic long peak_kb; /* the largest worker */
} * share;

static double together(void (*task)(unsigned i), unsigned n)
{
    pid_t pid[64];
    store_relaxed(&share->next, 0);
    double from = seconds();
    fflush(stdout);
    for (unsigned w = 0; w < workers; w++) {
        if ((pid[w] = fork()) != 0)
            continue;
        for (unsigned i; (i = atomic_fetch_add(&share->next, 1)) < n;)
            task(i);
        struct rusage r;
        getrusage(RUSAGE_SELF, &r);
        if (r.ru_maxrss > load_relaxed(&share->peak_kb))
            store_relaxed(&share->peak_kb, r.ru_maxrss);
        _exit(0);
    }
    for (unsigned w = 0; w < workers; w++) {
        int status;
        if (waitpid(pid[w], &status, 0) < 0 || status)
            die("a worker failed");
    }
    return seconds() - from;
}

struct phase {
    double seconds, user, sys;
    long blocks_in; /* of 512 bytes, from the disk */
};
static double of(struct timeval a, struct timeval b)
{
    return (double)(a.tv_sec - b.tv_sec) + (double)(a.tv_usec - b.tv_usec) / 1e6;
}
static struct phase phase(void (*task)(unsigned i), unsigned n)
{
    struct rusage was, now;
    getrusage(RUSAGE_CHILDREN, &was);
    struct phase p = {.seconds = together(task, n)};
    getrusage(RUSAGE_CHILDREN, &now);
    p.user = of(now.ru_utime, was.ru_utime);
    p.sys = of(now.ru_stime, was.ru_stime);
    p.blocks_in = now.ru_inblock - was.ru_inblock;
    return p;
}

static void done(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "bench_load: %s\n", err->text);
    _exit(1);
}

static void read_task(unsigned i)
{
    const struct load_hooks hooks = {0};
    char dir[600];
    struct err err = {0};
    json_t *result;
    snprintf(dir, sizeof dir, "%.500s/tmp/%u", out, i);
    json_t *args = json_pack("{s:s,s:s,s:o,s:b}", "file", file[i], "dir", dir, "recipe", recipe(),
                             "threads", getenv("T") != NULL);
    done(load_read_run(args, &hooks, NULL, &result, &err), &err);
}

static json_t *index_args(void)
{
    char db[600], index[600];
    json_t *dirs = json_array();
    for (unsigned i = 0; i < files; i++) {
        char dir[600];
        snprintf(dir, sizeof dir, "%.500s/tmp/%u", out, i);
        json_array_append_new(dirs, json_string(dir));
    }
    snprintf(db, sizeof db, "%.500s/db", out);
    snprintf(index, sizeof index, "%.500s/tmp/index", out);
    return json_pack("{s:s,s:s,s:O,s:s,s:s,s:s,s:i,s:o,s:s,s:s,s:b,s:I,s:i}", "database", db,
                     "date", "2024.01.02", "table", schema_json, "calendar", "default", "instance",
                     "0011223344556677", "batch", "bench", "commit", 1, "files", dirs, "index",
                     index, "existing", "refuse", "supersede", 0, "memory",
                     (json_int_t)memory << 20, "threads", workers);
}

static void index_task(unsigned i)
{
    struct err err = {0};
    json_t *result;
    char path[600];
    (void)i;
    done(load_index_run(index_args(), NULL, &result, &err), &err);
    snprintf(path, sizeof path, "%.500s/tmp/index.result", out);
    if (json_dump_file(result, path, 0))
        die("index.result");
}

static json_t *columns;
static void merge_task(unsigned i)
{
    struct err err = {0};
    json_t *result;
    char index[600];
    snprintf(index, sizeof index, "%.500s/tmp/index", out);
    json_t *args = json_pack("{s:s,s:[O],s:I}", "index", index, "columns",
                             json_array_get(json_array_get(columns, i), 0), "memory",
                             (json_int_t)memory << 20);
    done(load_merge_run(args, NULL, &result, &err), &err);
}

static const char *text_of(const void *symbols, uint32_t id, uint32_t *len)
{
    return load_symbols_text(symbols, id, len);
}

static double intern(void)
{
    double from = seconds();
    struct load_symbols s;
    struct err err = {0};
    char path[600];
    load_symbols_init(&s);
    for (unsigned i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%.500s/tmp/%u/symbols", out, i);
        if (!load_symbols_file(&s, path, 0, &err))
            die(err.text);
    }
    struct hdb_sym sym;
    struct io *io = io_posix_create(&err);
    snprintf(path, sizeof path, "%.500s/db", out);
    if (!io || !load_symbols_sort(&s, &err) || !hdb_sym_open(&sym, io, path, &err))
        die(err.text);
    if (!hdb_sym_extend(&sym, text_of, &s, (uint32_t)s.count, &err))
        die(err.text);
    hdb_sym_close(&sym);
    load_symbols_free(&s);
    return seconds() - from;
}

static int gone(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    return at->level ? remove(path) : 0;
}

int main(int argc, char **argv)
{
    bool keep = false;
    int o;
    while ((o = getopt(argc, argv, "w:m:k")) != -1) {
        if (o == 'w')
            workers = (unsigned)atoi(optarg);
        else if (o == 'm')
            memory = atoi(optarg);
        else if (o == 'k')
            keep = true;
        else
            return 2;
    }
    if (optind + 2 != argc || !workers || workers > 64) {
        fprintf(stderr, "bench_load [-w WORKERS] [-m MIB] [-k] DIRECTORY OUT\n");
        return 2;
    }
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},  {"sym", PST_SYMBOL},
                                             {"price", PST_FLOAT},     {"size", PST_INT},
                                             {"exchange", PST_SYMBOL}, {"conditions", PST_SYMBOL}};
    struct err err = {0};
    char path[600];
    out = argv[optind + 1];
    find(argv[optind]);
    if (!schema_make(&schema, 10, "trade", false, cols, PST_COUNT(cols), &err))
        die(err.text);
    char *text = schema_to_json(&schema);
    schema_json = json_loads(text, 0, NULL);
    share = mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.500s/%s", out, i ? "db" : "tmp");
        if (mkdir(path, 0755) && errno != EEXIST)
            die(strerror(errno));
    }
    struct phase read = phase(read_task, files);
    double interned = intern();
    struct phase index = phase(index_task, 1);
    snprintf(path, sizeof path, "%.500s/tmp/index.result", out);
    json_t *r = json_load_file(path, 0, NULL);
    columns = json_object_get(r, "columns");
    struct phase merge = phase(merge_task, (unsigned)json_array_size(columns));
    const struct phase *all[] = {&read, &index, &merge};
    static const char *const name[] = {"read", "index", "merge"};
    double took = interned, cpu = 0;
    for (unsigned i = 0; i < 3; i++) {
        took += all[i]->seconds;
        cpu += all[i]->user + all[i]->sys;
    }
    printf("load workers=%u rows=%lld seconds=%.3f intern=%.3f peak_mb=%ld cpu=%.3f", workers,
           (long long)json_integer_value(json_object_get(r, "rows")), took, interned,
           load_relaxed(&share->peak_kb) >> 10, cpu);
    for (unsigned i = 0; i < 3; i++)
        printf(" %s=%.3f %s_user=%.3f %s_sys=%.3f %s_read_mb=%ld", name[i], all[i]->seconds,
               name[i], all[i]->user, name[i], all[i]->sys, name[i], all[i]->blocks_in >> 11);
    printf("\n");
    if (!keep)
        nftw(out, gone, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
