/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writedown that dies before any of its operations on the disk, and one whose disk refuses any of
 * them once: each table is old or new, never between; the job again makes it new, with every row
 * exactly once.
 */
#include <fcntl.h>
#include "writedown_kit.h"
#include "hdb_publish.h"
#include "mortal_io.h"

static const struct column_def columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}, {"text", PST_STRING}};
static const char *const names[] = {"one", "two", "empty"};

struct rig {
    struct wk k;
    struct writedown_job job;
    struct writedown_table tables[3];
    struct writedown_part parts[8];
    unsigned nparts;
    struct writedown_log log;
    struct mortal_io mortal;
    struct hash128 old[3], new[3]; /* bytes of the tables */
    bool was[3];
};

static bool stage_left(struct rig *r)
{
    bool left = false;
    DIR *d = opendir(r->k.root);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        left |= e->d_name[0] == '2' && e->d_name[strlen(e->d_name) - 1] == '$';
    closedir(d);
    return left;
}

static bool there(struct rig *r, const char *table)
{
    char dir[200], names_file[210];
    struct stat st;
    wk_table_dir(&r->k, table, dir);
    snprintf(names_file, sizeof names_file, "%s/.d", dir);
    return !stat(names_file, &st);
}

/* A process starts: database, sym and writedown are opened over this io. */
static void process_start(struct rig *r, struct io *io)
{
    struct err err;
    writedown_destroy(r->k.w);
    r->k.w = NULL;
    hdb_sym_close(&r->k.sym);
    hdb_close(r->k.hdb);
    r->k.hdb = hdb_open(r->k.root, &err);
    assert_non_null(r->k.hdb);
    struct writedown_config wc = {.io = io, .column_io = {io}, .hdb = r->k.hdb};
    r->k.w = writedown_create(&wc, &err);
    assert_non_null(r->k.w);
}

/* NULL: it failed or died. */
static const struct writedown_result *attempt(struct rig *r, struct io *io, struct err *err)
{
    struct hdb_cleaned done;
    process_start(r, io);
    if (!hdb_clean(io, r->k.hdb, &done, NULL, NULL, err))
        return NULL;
    if (!hdb_sym_open(&r->k.sym, io, r->k.root, err)) {
        r->k.sym.io = r->k.io;
        return NULL;
    }
    const struct writedown_result *res = wk_go(&r->k, &r->job, err);
    hdb_sym_close(&r->k.sym);
    return res;
}

static void rig_open(struct rig *r)
{
    memset(r, 0, sizeof *r);
    wk_open(&r->k);
    const struct schema *one = wk_schema(&r->k, 2, "one", false, columns, PST_COUNT(columns));
    const struct schema *two = wk_schema(&r->k, 3, "two", true, columns + 2, 2);
    wk_schema(&r->k, 4, "empty", false, columns, PST_COUNT(columns));
    wk_rows(&r->k, one, 400, LK_DAY);
    wk_rows(&r->k, two, 300, LK_DAY);
    hdb_sym_close(&r->k.sym);
    wk_job(&r->k, &r->job, r->tables, names, 3, r->parts, &r->nparts);
}

static void remember(struct rig *r, struct hash128 *bytes)
{
    for (int i = 0; i < 3; i++)
        if ((r->was[i] = there(r, names[i])))
            bytes[i] = wk_bytes(&r->k, names[i]);
}

/* Old or new; no stage and no mark once cleaned. `fresh`: there was nothing before. */
static void check_whole(struct rig *r, bool fresh)
{
    for (int i = 0; i < 3; i++) {
        bool is = there(r, names[i]);
        if (fresh && !is)
            continue;
        struct hash128 b = wk_bytes(&r->k, names[i]);
        if (!wk_same(b, r->new[i]) && (fresh || !wk_same(b, r->old[i])))
            fail_msg("table %s is neither old nor new", names[i]);
    }
}

static void check_new(struct rig *r)
{
    for (int i = 0; i < 3; i++)
        assert_true(there(r, names[i]) && wk_same(wk_bytes(&r->k, names[i]), r->new[i]));
    assert_false(stage_left(r));
}

/* Every operation, by death (die) or by one refusal. keep: what the database is before. */
static void every_operation(struct rig *r, const char *keep, bool die, bool fresh)
{
    struct err err = {0};
    unsigned n = 1, died = 0;
    for (;; n++) {
        char cmd[400];
        snprintf(cmd, sizeof cmd, "rm -rf %s && cp -r %s %s", r->k.root, keep, r->k.root);
        assert_int_equal(system(cmd), 0);
        struct io *io = mortal_make(&r->mortal, r->k.io, n);
        r->mortal.fail_once = !die;
        r->mortal.fail_code = -ENOSPC;
        const struct writedown_result *res = attempt(r, io, &err);
        bool reached = r->mortal.changes >= n;
        died += res == NULL;
        if (!res)
            assert_true(strlen(err.text) > 10);
        if (!die && !res) { /* a process that lives has cleaned up behind itself */
            assert_false(stage_left(r));
        }
        check_whole(r, fresh);
        /* the next start */
        res = attempt(r, r->k.io, &err);
        if (!res)
            fail_msg("operation %u: %s", n, err.text);
        check_new(r);
        if (!reached)
            break;
    }
    assert_true(n > 40 && died > 30);
    print_message("%u operations, %u attempts failed\n", n, died);
}

static void keep_root(struct rig *r, char keep[100])
{
    char cmd[400];
    snprintf(keep, 100, "%s/keep", r->k.dir);
    snprintf(cmd, sizeof cmd, "rm -rf %s && cp -r %s %s", keep, r->k.root, keep);
    assert_int_equal(system(cmd), 0);
}

static void fresh_date(void **state)
{
    bool die = *(bool *)*state;
    struct rig r;
    struct err err;
    char keep[100];
    rig_open(&r);
    keep_root(&r, keep);
    assert_non_null(attempt(&r, r.k.io, &err));
    remember(&r, r.new);
    wk_check(&r.k, "one", 0, r.k.rows, -1);
    wk_check(&r.k, "two", 0, r.k.rows, -1);
    every_operation(&r, keep, die, true);
    wk_close(&r.k);
}

/* More rows for a date that is there: table after table is exchanged. */
static void merged_date(void **state)
{
    bool die = *(bool *)*state;
    struct rig r;
    struct err err;
    char keep[100];
    rig_open(&r);
    assert_non_null(attempt(&r, r.k.io, &err));
    remember(&r, r.old);
    keep_root(&r, keep);
    uint64_t middle = r.job.end;
    wk_rows(&r.k, schema_set_get(r.k.set, 2), 100, LK_DAY);
    wk_rows(&r.k, schema_set_get(r.k.set, 3), 100, LK_DAY);
    wk_rows(&r.k, schema_set_get(r.k.set, 4), 10, LK_DAY);
    wk_save_log(&r.k);
    wk_job(&r.k, &r.job, r.tables, names, 3, r.parts, &r.nparts);
    r.log = (struct writedown_log){.dirs = {r.k.logs}, .prefix = "log", .from = middle};
    r.job.log = &r.log;
    r.job.first = middle;
    for (int i = 0; i < 3; i++)
        r.tables[i].ours = true;
    const struct writedown_result *res = attempt(&r, r.k.io, &err);
    if (!res)
        fail_msg("%s", err.text);
    remember(&r, r.new);
    for (int i = 0; i < 3; i++) {
        assert_false(wk_same(r.old[i], r.new[i]));
        wk_check(&r.k, names[i], 0, r.k.rows, -1);
    }
    every_operation(&r, keep, die, false);
    wk_close(&r.k);
}

int main(void)
{
    static bool die = true, refuse = false;
    setenv("PST_TEST_DIR", "/dev/shm", 0); /* hundreds of end of days; nothing here is durable */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(fresh_date, &die),
        cmocka_unit_test_prestate(fresh_date, &refuse),
        cmocka_unit_test_prestate(merged_date, &die),
        cmocka_unit_test_prestate(merged_date, &refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
