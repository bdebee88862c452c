/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_duck - the files of load_data to one Parquet file sorted by sym and time with DuckDB: read,
 * sort and write in one statement, as its manual advises.
 *   build/perf/load_duck [-t THREADS] LIBDUCKDB DIRECTORY OUT
 * LIBDUCKDB: as tests/oracle/install.sh prints it. Not synced: DuckDB does not.
 */
#include <dlfcn.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int threads = 2, o;
    while ((o = getopt(argc, argv, "t:")) != -1) {
        if (o != 't')
            return 2;
        threads = atoi(optarg);
    }
    if (optind + 3 != argc) {
        fprintf(stderr, "load_duck [-t THREADS] LIBDUCKDB DIRECTORY OUT\n");
        return 2;
    }
    void *lib = dlopen(argv[optind], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        fprintf(stderr, "load_duck: %s\n", dlerror());
        return 77;
    }
    int (*open)(const char *, void **) = NULL, (*connect)(void *, void **) = NULL,
                                   (*query)(void *, const char *, void *) = NULL;
    const char *(*error)(void *) = NULL;
    uint64_t (*count)(void *, uint64_t, uint64_t) = NULL;
    *(void **)&open = dlsym(lib, "duckdb_open");
    *(void **)&connect = dlsym(lib, "duckdb_connect");
    *(void **)&query = dlsym(lib, "duckdb_query");
    *(void **)&error = dlsym(lib, "duckdb_result_error");
    *(void **)&count = dlsym(lib, "duckdb_value_int64");
    void *db = NULL, *con = NULL;
    uint64_t result[32] = {0}; /* duckdb_result is 6 words */
    if (!open || !connect || !query || !error || !count || open(NULL, &db) || connect(db, &con)) {
        fprintf(stderr, "load_duck: the library does not open a database\n");
        return 1;
    }
    char sql[2048];
    snprintf(sql, sizeof sql, "SET threads=%d; SET preserve_insertion_order=false", threads);
    if (query(con, sql, result)) {
        fprintf(stderr, "load_duck: %s\n", error(result));
        return 1;
    }
    snprintf(sql, sizeof sql,
             "COPY (SELECT * FROM read_csv('%s/trades.*.csv', header=true, columns={'time':'TIME', "
             "'sym':'VARCHAR', 'price':'DOUBLE', 'size':'INTEGER', 'exchange':'VARCHAR', "
             "'conditions':'VARCHAR'}) ORDER BY sym, time) TO '%s/duck.parquet' (FORMAT parquet)",
             argv[optind + 1], argv[optind + 2]);
    double from = seconds();
    if (query(con, sql, result)) {
        fprintf(stderr, "load_duck: %s\n", error(result));
        return 1;
    }
    double took = seconds() - from;
    uint64_t rows = count(result, 0, 0);
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("duckdb threads=%d rows=%llu seconds=%.3f peak_mb=%ld cpu=%.3f\n", threads,
           (unsigned long long)rows, took, r.ru_maxrss >> 10,
           (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
               (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6);
    return 0;
}
