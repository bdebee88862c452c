/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions against rows kept as text (writedown_kit.h) and read back by a second reader: every
 * type with nulls and infinities, strings, feeds, ties and times that descend, keys, versions of a
 * table within a day, what exists, the log as the source, several disks.
 */
#include <dirent.h>
#include "hdb_verify.h"
#include "writedown_kit.h"

enum { ALL = 2, FEED, NARROW, KEYED, EMPTY, NARROW2, NARROW3 };
static const struct column_def all_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"a", PST_BOOLEAN}, {"b", PST_GUID},
    {"c", PST_BYTE},         {"d", PST_SHORT},    {"e", PST_INT},     {"f", PST_LONG},
    {"g", PST_REAL},         {"h", PST_FLOAT},    {"i", PST_CHAR},    {"j", PST_SYMBOL},
    {"k", PST_TIMESTAMP},    {"l", PST_MONTH},    {"m", PST_DATE},    {"n", PST_TIMESPAN},
    {"o", PST_MINUTE},       {"p", PST_SECOND},   {"q", PST_TIME},    {"r", PST_STRING},
    {"s", PST_STRING},
};
static const struct column_def narrow_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}};

struct rig {
    struct wk k;
    struct writedown_job job;
    struct writedown_table tables[16];
    struct writedown_part parts[64];
    unsigned nparts;
};

static void job_of(struct rig *r, const char *const *names, unsigned n)
{
    wk_job(&r->k, &r->job, r->tables, names, n, r->parts, &r->nparts);
}

static void same_hash(struct rig *r, const struct writedown_result *res, const char *table)
{
    const struct writedown_table_result *t = wk_result(res, table);
    const struct content_sum *s = content_hash_find(&r->k.hash, table, LK_DAY);
    assert_non_null(s);
    assert_int_equal(t->rows, s->rows);
    assert_true(t->has_hash && wk_same(t->hash, content_sum_hash(s)));
    assert_true(t->already || wk_same(content_sum_hash(&t->in), content_sum_hash(s)));
}

static const char *const both[] = {"all", "feed", "empty"};

static void every_type(void **state)
{
    (void)state;
    struct rig r;
    wk_open(&r.k);
    const struct schema *all =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    const struct schema *feed =
        wk_schema(&r.k, FEED, "feed", true, all_columns + 2, PST_COUNT(all_columns) - 2);
    wk_schema(&r.k, EMPTY, "empty", false, all_columns, PST_COUNT(all_columns));
    for (int i = 0; i < 8; i++) {
        wk_rows(&r.k, all, 700, LK_DAY);
        wk_rows(&r.k, feed, 500, LK_DAY);
        wk_rows(&r.k, all, 3, LK_DAY + 1); /* another day's */
        for (int j = 0; j < 3; j++) {      /* not of the model */
            struct wk_row *x = &r.k.row[--r.k.rows];
            for (unsigned c = 0; c < x->s->ncols; c++)
                free(x->cell[c]);
            free(x->cell);
        }
    }
    job_of(&r, both, 3);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    assert_false(res->nothing || res->already);
    assert_int_equal(wk_check(&r.k, "all", 0, r.k.rows, -1), 5600);
    assert_int_equal(wk_check(&r.k, "feed", 0, r.k.rows, -1), 4000);
    assert_int_equal(wk_check(&r.k, "empty", 0, r.k.rows, -1), 0);
    same_hash(&r, res, "all");
    same_hash(&r, res, "feed");
    assert_true(wk_result(res, "empty")->empty);
    assert_false(wk_result(res, "feed")->captured);
    /* again: it is in */
    res = wk_run_job(&r.k, &r.job);
    assert_true(res->already && wk_result(res, "all")->already);
    assert_int_equal(wk_result(res, "all")->rows, 5600);
    same_hash(&r, res, "feed");
    wk_close(&r.k);
}

/* From memory and from the log: the same bytes in every file. */
static void from_the_log(void **state)
{
    (void)state;
    struct rig r;
    wk_open(&r.k);
    const struct schema *all =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    const struct schema *feed =
        wk_schema(&r.k, FEED, "feed", true, all_columns + 2, PST_COUNT(all_columns) - 2);
    wk_schema(&r.k, EMPTY, "empty", false, all_columns, PST_COUNT(all_columns));
    r.k.quality = CLOCK_CAPTURE; /* receive times count */
    for (int i = 0; i < 6; i++) {
        wk_rows(&r.k, all, 900, LK_DAY);
        wk_rows(&r.k, feed, 1100, LK_DAY);
    }
    job_of(&r, both, 3);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    assert_int_equal(res->passes, 0);
    assert_true(wk_result(res, "feed")->captured);
    same_hash(&r, res, "feed");
    struct hash128 bytes[3], hash = wk_result(res, "feed")->hash;
    for (int i = 0; i < 3; i++)
        bytes[i] = wk_bytes(&r.k, both[i]);
    /* rebuilt */
    wk_save_log(&r.k);
    struct writedown_log log = {.dirs = {r.k.logs}, .prefix = "log"};
    r.job.log = &log;
    r.job.kind = "rebuild";
    res = wk_run_job(&r.k, &r.job);
    assert_true(res->already); /* an end of day that is in is not done again */
    r.job.rebuild = true;
    res = wk_run_job(&r.k, &r.job);
    assert_false(res->already);
    assert_int_equal(res->passes, 1);
    assert_true(wk_result(res, "all")->replaced);
    assert_true(wk_same(wk_result(res, "feed")->hash, hash));
    for (int i = 0; i < 3; i++)
        assert_true(wk_same(bytes[i], wk_bytes(&r.k, both[i])));
    /* the range is what the log holds, when the job does not say */
    r.job.first = r.job.end = 0;
    res = wk_run_job(&r.k, &r.job);
    assert_true(wk_same(wk_result(res, "feed")->hash, hash));
    wk_check(&r.k, "all", 0, r.k.rows, -1);
    /* a log that ends before the end of the day */
    struct err err;
    r.job.end = r.k.log.position + 8;
    assert_null(wk_go(&r.k, &r.job, &err));
    assert_int_equal(err.code, -ENODATA);
    wk_close(&r.k);
}

/* Halves, the second merged into the first: the same bytes as at once. */
static void halves(void **state)
{
    (void)state;
    struct rig r;
    struct hash128 bytes[2][3], hash[2];
    for (int whole = 0; whole < 2; whole++) {
        wk_open(&r.k);
        const struct schema *all =
            wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
        const struct schema *feed =
            wk_schema(&r.k, FEED, "feed", true, all_columns + 2, PST_COUNT(all_columns) - 2);
        wk_schema(&r.k, EMPTY, "empty", false, all_columns, PST_COUNT(all_columns));
        uint64_t middle = 0;
        uint32_t rows[2] = {0};
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 3; i++) {
                wk_rows(&r.k, all, 900, LK_DAY);
                wk_rows(&r.k, feed, half ? 300 : 1100, LK_DAY);
            }
            if (half == 0 && !whole) {
                job_of(&r, both, 3);
                wk_run_job(&r.k, &r.job);
                middle = r.job.end;
                for (unsigned i = 0; i < r.nparts; i++)
                    rows[i] = r.parts[i].rows;
            }
        }
        job_of(&r, both, 3);
        const struct writedown_result *res;
        struct writedown_log log;
        struct err err;
        if (!whole) {
            /* only what came since: from the log, whose range can be cut */
            wk_save_log(&r.k);
            log = (struct writedown_log){.dirs = {r.k.logs}, .prefix = "log", .from = middle};
            r.job.log = &log;
            r.job.first = middle;
            assert_null(wk_go(&r.k, &r.job, &err));
            assert_int_equal(err.code, -EEXIST); /* refused: whose is it? */
            wk_check(&r.k, "all", 0, rows[0] + rows[1], -1);
            for (int i = 0; i < 3; i++)
                r.tables[i].ours = true;
            res = wk_run_job(&r.k, &r.job);
            assert_true(wk_result(res, "all")->merged);
            assert_int_equal(wk_result(res, "all")->added, 2700);
        } else {
            res = wk_run_job(&r.k, &r.job);
        }
        assert_int_equal(wk_check(&r.k, "all", 0, r.k.rows, -1), 5400);
        assert_int_equal(wk_check(&r.k, "feed", 0, r.k.rows, -1), 4200);
        hash[whole] = wk_result(res, "feed")->hash;
        for (int i = 0; i < 3; i++)
            bytes[whole][i] = wk_bytes(&r.k, both[i]);
        if (!whole) { /* both ranges are in the marker, one behind the other */
            r.job.first = WK_FIRST;
            res = wk_run_job(&r.k, &r.job);
            assert_true(res->already);
        }
        wk_close(&r.k);
    }
    assert_true(wk_same(hash[0], hash[1]));
    for (int i = 0; i < 3; i++)
        assert_true(wk_same(bytes[0][i], bytes[1][i]));
}

/* A day that does not fit the memory for the log: by tables, by symbols, and one symbol by times.
 */
static void more_than_memory(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    wk_open(&r.k);
    const struct schema *all =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    const struct schema *narrow =
        wk_schema(&r.k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    for (int i = 0; i < 12; i++) {
        wk_rows(&r.k, all, 4000, LK_DAY); /* 7 MB, a quarter of it one symbol's */
        wk_rows(&r.k, narrow, 1000, LK_DAY);
    }
    static const char *const names[] = {"narrow", "all"};
    job_of(&r, names, 2);
    wk_run_job(&r.k, &r.job);
    struct hash128 bytes[2] = {wk_bytes(&r.k, "narrow"), wk_bytes(&r.k, "all")};
    wk_save_log(&r.k);
    struct writedown_log log = {.dirs = {r.k.logs}, .prefix = "log"};
    r.job.log = &log;
    r.job.rebuild = true;
    static const uint64_t room[] = {4 << 20, 64 << 20};
    for (int i = 0; i < 2; i++) {
        r.k.cfg.log_bytes = room[i];
        wk_open_writedown(&r.k);
        const struct writedown_result *res = wk_go(&r.k, &r.job, &err);
        if (!res)
            fail_msg("%s", err.text);
        assert_true(i ? res->passes == 1 : res->passes > 3);
        same_hash(&r, res, "all");
        same_hash(&r, res, "narrow");
        assert_true(wk_same(bytes[0], wk_bytes(&r.k, "narrow")));
        assert_true(wk_same(bytes[1], wk_bytes(&r.k, "all")));
    }
    wk_close(&r.k);
}

/* The last row of each key; again after a merge. */
static void keyed(void **state)
{
    (void)state;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                             {"key", PST_SYMBOL},     {"text", PST_STRING},
                                             {"v", PST_FLOAT},        {"n", PST_SHORT}};
    for (uint16_t key = 1; key <= 5; key++) { /* a symbol, a string, a float, a short */
        struct rig r;
        wk_open(&r.k);
        const struct schema *s =
            wk_schema_keys(&r.k, KEYED, "last", false, cols, PST_COUNT(cols), key);
        wk_rows(&r.k, s, 3000, LK_DAY);
        static const char *const names[] = {"last"};
        job_of(&r, names, 1);
        const struct writedown_result *res = wk_run_job(&r.k, &r.job);
        uint32_t n = wk_check(&r.k, "last", 0, r.k.rows, key);
        assert_true(n > 100 && n <= 3000);
        assert_int_equal(wk_result(res, "last")->rows, n);
        assert_int_equal(wk_result(res, "last")->in.rows, 3000);
        uint64_t middle = r.job.end;
        wk_rows(&r.k, s, 500, LK_DAY);
        job_of(&r, names, 1);
        wk_save_log(&r.k);
        struct writedown_log log = {.dirs = {r.k.logs}, .prefix = "log", .from = middle};
        r.job.log = &log;
        r.job.first = middle;
        r.job.policy = WRITEDOWN_MERGE;
        res = wk_run_job(&r.k, &r.job);
        wk_check(&r.k, "last", 0, r.k.rows, key);
        struct hash128 merged = wk_result(res, "last")->hash, bytes = wk_bytes(&r.k, "last");
        /* all at once */
        r.job.log = NULL;
        r.job.first = WK_FIRST;
        r.job.rebuild = true;
        res = wk_run_job(&r.k, &r.job);
        assert_true(wk_same(merged, wk_result(res, "last")->hash));
        assert_true(wk_same(bytes, wk_bytes(&r.k, "last")));
        wk_close(&r.k);
    }
}

/* A table that changes within the day: a column more, a column less, one of another type. */
static void versions(void **state)
{
    (void)state;
    static const struct column_def two[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                            {"note", PST_STRING},    {"v", PST_INT},
                                            {"px", PST_FLOAT},       {"venue", PST_SYMBOL}};
    static const struct column_def three[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"v", PST_LONG},
                                              {"note", PST_STRING},
                                              {"px", PST_LONG}};
    struct rig r;
    wk_open(&r.k);
    const struct schema *s[3];
    s[0] = wk_schema(&r.k, NARROW, "t", false, narrow_columns, PST_COUNT(narrow_columns));
    wk_rows(&r.k, s[0], 1000, LK_DAY);
    s[1] = wk_schema(&r.k, NARROW2, "t", false, two, PST_COUNT(two));
    wk_rows(&r.k, s[1], 1000, LK_DAY);
    static const char *const names[] = {"t"};
    job_of(&r, names, 1);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    assert_int_equal(wk_check(&r.k, "t", 0, r.k.rows, -1), 2000);
    same_hash(&r, res, "t"); /* nulls add nothing */
    uint64_t middle = r.job.end;

    s[2] = wk_schema(&r.k, NARROW3, "t", false, three, PST_COUNT(three));
    wk_rows(&r.k, s[2], 1000, LK_DAY);
    for (uint32_t i = 0; i < r.k.rows; i++) /* px was a float: its values go to px_float */
        if (r.k.row[i].s == s[1])
            strcpy(((struct schema *)(uintptr_t)r.k.row[i].s)->col[4].name, "px_float");
    job_of(&r, names, 1);
    r.tables[0].schema = s[2];
    r.job.rebuild = true;
    res = wk_run_job(&r.k, &r.job);
    assert_int_equal(wk_check(&r.k, "t", 0, r.k.rows, -1), 3000);
    struct hash128 bytes = wk_bytes(&r.k, "t"), hash = wk_result(res, "t")->hash;
    char dir[200], why[300];
    struct kdbread_table t;
    wk_table_dir(&r.k, "t", dir);
    assert_true(kdbread_table(r.k.root, dir, &t, why));
    static const char *const want[] = {"time", "sym", "v", "note", "px", "px_float", "venue"};
    assert_int_equal(t.ncols, 7);
    for (int i = 0; i < 7; i++)
        assert_string_equal(t.col[i].name, want[i]);
    assert_int_equal(t.col[2].kind, PST_LONG);
    kdbread_table_free(&t);

    /* the third version merged into the first two */
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
    wk_save_log(&r.k);
    struct writedown_log log = {.dirs = {r.k.logs}, .prefix = "log"};
    r.job.log = &log;
    r.job.rebuild = false;
    r.job.end = middle;
    wk_run_job(&r.k, &r.job);
    r.job.first = middle;
    r.job.end = r.k.log.position;
    r.job.policy = WRITEDOWN_MERGE;
    res = wk_run_job(&r.k, &r.job);
    assert_true(wk_result(res, "t")->merged);
    wk_check(&r.k, "t", 0, r.k.rows, -1);
    assert_true(wk_same(hash, wk_result(res, "t")->hash));
    (void)bytes; /* the order of columns differs: older ones were added in another order */
    wk_close(&r.k);
}

static void finding(void *arg, const struct hdb_finding *f)
{
    (void)arg;
    print_message("%s\n", f->sentence);
}

/* Many small tables in one job, each read from its own first chunk; a table that no day had. */
static void small_tables(void **state)
{
    (void)state;
    struct rig r;
    char name[9][8];
    const char *names[9];
    wk_open(&r.k);
    const struct schema *s[9];
    for (uint16_t i = 0; i < 9; i++) {
        snprintf(name[i], sizeof name[i], "t%u", i);
        names[i] = name[i];
        s[i] = wk_schema(&r.k, (uint16_t)(ALL + i), names[i], i % 2, all_columns + 2 * (i % 2),
                         PST_COUNT(all_columns) - 2 * (i % 2) - i);
    }
    for (int i = 0; i < 60; i++)
        if (i % 9 != 4)
            wk_rows(&r.k, s[i % 9], 1 + (uint32_t)i, LK_DAY);
    struct err err;
    for (int log = 0; log < 2; log++) {
        job_of(&r, names, 9);
        wk_save_log(&r.k);
        struct writedown_log from = {.dirs = {r.k.logs}, .prefix = "log"};
        r.job.log = log ? &from : NULL;
        r.job.rebuild = log;
        const struct writedown_result *res = wk_run_job(&r.k, &r.job);
        for (int i = 0; i < 9; i++) {
            uint32_t n = wk_check(&r.k, names[i], 0, r.k.rows, -1);
            assert_int_equal(n > 0, i != 4);
            if (n)
                same_hash(&r, res, names[i]);
        }
        /* the database's own check: files, order, index, marker, and the hash from the columns */
        struct hdb_verify v = {.hash = true, .found = finding};
        assert_true(hdb_verify(r.k.hdb, &v, &err));
        assert_int_equal(v.damages, 0);
        assert_int_equal(v.tables, 9);
        assert_int_equal(v.hashed, 9);
        assert_int_equal(v.ready, 9);
    }
    wk_close(&r.k);
}

/* Times that descend in every way: a stable sort by the test agrees. */
static void any_order(void **state)
{
    (void)state;
    struct rig r;
    static const char *const names[] = {"narrow"};
    for (int way = 0; way < 5; way++) {
        wk_open(&r.k);
        const struct schema *s =
            wk_schema(&r.k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
        for (uint32_t i = 0; i < 20000; i++) {
            uint64_t x = wk_next(&r.k);
            int64_t time = way == 0   ? -(int64_t)i            /* descends all the time */
                           : way == 1 ? (int64_t)(x % 50)      /* ties everywhere */
                           : way == 2 ? (int64_t)(x % 1000000) /* no order */
                           : way == 3 ? (int64_t)(i ^ 1)       /* pairs */
                                      : (int64_t)(i % 10000);  /* two runs */
            wk_row(&r.k, s, way == 4 ? PST_NULL_SYMBOL : (uint32_t)(x >> 40) % 3, time);
            if (r.k.pk.len > 60000 || i == 19999)
                wk_frame(&r.k, FRAME_DATA, LK_DAY);
        }
        job_of(&r, names, 1);
        const struct writedown_result *res = wk_run_job(&r.k, &r.job);
        assert_int_equal(wk_check(&r.k, "narrow", 0, r.k.rows, -1), 20000);
        same_hash(&r, res, "narrow");
        /* s# is there when it is true of the whole column, and only then */
        char dir[200], why[300];
        struct kdbread_table t;
        wk_table_dir(&r.k, "narrow", dir);
        assert_true(kdbread_table(r.k.root, dir, &t, why));
        assert_int_equal(t.col[0].attr, way == 4);
        for (size_t c = 1; c < t.ncols; c++)
            assert_int_equal(t.col[c].attr, 0);
        kdbread_table_free(&t);
        wk_close(&r.k);
    }
}

/* par.txt: the date goes to the disk that kdb+ would look on; the marker and the index are read by
 * the database's own code. */
static void disks(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    static const char *const names[] = {"all"};
    wk_open(&r.k);
    hdb_sym_close(&r.k.sym);
    hdb_close(r.k.hdb);
    char path[200];
    snprintf(path, sizeof path, "%s/par.txt", r.k.root);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 3; i++) {
        char disk[200];
        snprintf(disk, sizeof disk, "%s/disk%d", r.k.dir, i);
        assert_int_equal(mkdir(disk, 0755), 0);
        fprintf(f, "%s\n", disk);
    }
    fclose(f);
    wk_open_hdb(&r.k);
    wk_open_writedown(&r.k);
    const struct schema *s =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    wk_rows(&r.k, s, 5000, LK_DAY);
    job_of(&r, names, 1);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    same_hash(&r, res, "all");
    char day[CIVIL_TEXT];
    snprintf(path, sizeof path, "%s/disk%d/%s/all/.d", r.k.dir, LK_DAY % 3,
             civil_format(LK_DAY, day));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    const struct hdb_table *t = hdb_table_get(r.k.hdb, "all", &err);
    assert_non_null(t);
    const struct hdb_part *p = hdb_part_get(t, LK_DAY, &err);
    assert_non_null(p);
    assert_int_equal(p->rows, 5000);
    assert_non_null(p->meta);
    assert_string_equal(p->meta->calendar, "us");
    assert_true(p->meta->sorted && p->meta->has_hash && p->meta->has_times);
    assert_true(wk_same(p->meta->hash, wk_result(res, "all")->hash));
    assert_int_equal(p->meta->epoch, 1);
    assert_true(hdb_meta_covers(p->meta, LK_INSTANCE, WK_FIRST, r.job.end));
    assert_false(hdb_meta_covers(p->meta, LK_INSTANCE, WK_FIRST, r.job.end + 1));
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    for (uint32_t i = 0; i < r.k.rows; i++) {
        lo = r.k.row[i].time < lo ? r.k.row[i].time : lo;
        hi = r.k.row[i].time > hi ? r.k.row[i].time : hi;
    }
    assert_true(p->meta->time_min == lo && p->meta->time_max == hi);
    const struct hdb_index *x = hdb_part_index(p, &err);
    assert_non_null(x);
    assert_true(x->time_sorted && x->rows == 5000);
    uint64_t rows = 0;
    for (uint64_t i = 0; i < x->ngroups; i++) {
        uint32_t n = 0, len;
        const char *text = hdb_symbol_text(r.k.hdb, x->group[i].sym, &len);
        for (uint32_t k = 0; k < r.k.rows; k++)
            n += !strncmp(wk_symbol(&r.k, r.k.row[k].sym), text, len) &&
                 strlen(wk_symbol(&r.k, r.k.row[k].sym)) == len;
        assert_int_equal(x->group[i].rows, n);
        assert_int_equal(x->group[i].first, rows);
        rows += n;
    }
    assert_int_equal(rows, 5000);
    hdb_part_put(p);
    hdb_table_put(t);
    wk_close(&r.k);
}

/* What stands there already. */
static void what_exists(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    wk_open(&r.k);
    const struct schema *s =
        wk_schema(&r.k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    wk_schema(&r.k, EMPTY, "empty", false, narrow_columns, PST_COUNT(narrow_columns));
    static const char *const names[] = {"narrow", "empty"};
    /* no rows: nothing */
    job_of(&r, names, 2);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    assert_true(res->nothing);
    char dir[200];
    struct stat st;
    wk_table_dir(&r.k, "narrow", dir);
    assert_int_equal(stat(dir, &st), -1);
    wk_rows(&r.k, s, 500, LK_DAY);
    uint32_t first = r.k.rows;
    job_of(&r, names, 2);
    res = wk_run_job(&r.k, &r.job);
    uint64_t middle = r.job.end;
    /* more rows, range apart: refused, then instead of */
    wk_rows(&r.k, s, 300, LK_DAY);
    job_of(&r, names, 2);
    wk_save_log(&r.k);
    struct writedown_log log = {.dirs = {r.k.logs}, .prefix = "log", .from = middle};
    r.job.log = &log;
    r.job.first = middle;
    assert_null(wk_go(&r.k, &r.job, &err));
    assert_int_equal(err.code, -EEXIST);
    assert_non_null(strstr(err.text, "narrow"));
    /* a rebuild of that range would lose the others */
    r.job.rebuild = true;
    assert_null(wk_go(&r.k, &r.job, &err));
    assert_int_equal(err.code, -EEXIST);
    r.job.rebuild = false;
    wk_check(&r.k, "narrow", 0, first, -1);
    r.job.policy = WRITEDOWN_SUPERSEDE;
    res = wk_run_job(&r.k, &r.job);
    assert_true(wk_result(res, "narrow")->replaced);
    wk_check(&r.k, "narrow", first, r.k.rows, -1);
    /* a table named twice; a cancelled job */
    r.tables[1] = r.tables[0];
    assert_false(writedown_start(r.k.w, &r.job, &err));
    r.job.ntables = 1;
    r.job.rebuild = true;
    assert_true(writedown_start(r.k.w, &r.job, &err));
    writedown_cancel(r.k.w);
    assert_int_equal(writedown_step(r.k.w), WRITEDOWN_FAILED);
    assert_int_equal(writedown_error(r.k.w)->code, -ECANCELED);
    struct writedown_progress p;
    writedown_progress(r.k.w, &p);
    assert_string_equal(p.step, "failed");
    wk_check(&r.k, "narrow", first, r.k.rows, -1);
    /* and abandoned in the middle: nothing is left */
    assert_true(writedown_start(r.k.w, &r.job, &err));
    for (int i = 0; i < 5; i++)
        assert_int_equal(writedown_step(r.k.w), WRITEDOWN_MORE);
    writedown_abandon(r.k.w);
    char cmd[200];
    snprintf(cmd, sizeof cmd, "[ -z \"$(ls -d %s/20*\\$ 2>/dev/null)\" ]", r.k.root);
    assert_int_equal(system(cmd), 0);
    wk_check(&r.k, "narrow", first, r.k.rows, -1);
    wk_close(&r.k);
}

/* A sym file that was there before, in another order: codes are mapped, texts are the same. */
static void other_codes(void **state)
{
    (void)state;
    struct rig r;
    wk_open(&r.k);
    const struct schema *s =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    struct err err;
    for (uint32_t i = 0; i < 50; i++) {
        const char *t = r.k.text[(i * 11 + 3) % WK_SYMBOLS];
        assert_true(hdb_sym_add(&r.k.sym, t, (uint32_t)strlen(t), &err) >= 0);
    }
    assert_true(hdb_sym_add(&r.k.sym, "foreign", 7, &err) >= 0);
    for (int i = 0; i < 5; i++)
        wk_rows(&r.k, s, 800, LK_DAY);
    static const char *const names[] = {"all"};
    job_of(&r, names, 1);
    const struct writedown_result *res = wk_run_job(&r.k, &r.job);
    wk_check(&r.k, "all", 0, r.k.rows, -1);
    same_hash(&r, res, "all");
    assert_false(r.k.sym.identity);
    wk_close(&r.k);
}

/* Small buffers make several slabs and windows; the page cache or not; one thread or three: the
 * same bytes. */
static void ways_to_write(void **state)
{
    (void)state;
    struct rig r;
    wk_open(&r.k);
    const struct schema *all =
        wk_schema(&r.k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    for (int i = 0; i < 40; i++)
        wk_rows(&r.k, all, 4000, LK_DAY); /* 160,000 rows: 1.3 MB a column, 5 MB of strings */
    static const char *const names[] = {"all"};
    job_of(&r, names, 1);
    struct hash128 bytes = {0, 0};
    for (int way = 0; way < 4; way++) {
        r.k.cfg.buffered = way & 1;
        r.k.cfg.threads = way & 2 ? 3 : 1;
        r.k.cfg.buffer_bytes = way == 3 ? 64 << 20 : 1 << 20;
        wk_open_writedown(&r.k);
        r.job.rebuild = way > 0;
        wk_run_job(&r.k, &r.job);
        if (way == 0) {
            bytes = wk_bytes(&r.k, "all");
            wk_check(&r.k, "all", 0, r.k.rows, -1);
        }
        assert_true(wk_same(bytes, wk_bytes(&r.k, "all")));
    }
    wk_close(&r.k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),    cmocka_unit_test(from_the_log),
        cmocka_unit_test(halves),        cmocka_unit_test(more_than_memory),
        cmocka_unit_test(keyed),         cmocka_unit_test(versions),
        cmocka_unit_test(what_exists),   cmocka_unit_test(other_codes),
        cmocka_unit_test(ways_to_write), cmocka_unit_test(small_tables),
        cmocka_unit_test(any_order),     cmocka_unit_test(disks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
