/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches against an end of day of the same rows (bytes and content hash) and against texts put in
 * order by the test: every type, files that follow each other in time, lie among each other or are
 * in no order, onto nothing and onto what is there.
 */
#include <fcntl.h>
#include "batch_kit.h"

static const struct column_def every[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},    {"boolean", PST_BOOLEAN},
    {"byte", PST_BYTE},      {"short", PST_SHORT},   {"int", PST_INT},
    {"long", PST_LONG},      {"real", PST_REAL},     {"float", PST_FLOAT},
    {"char", PST_CHAR},      {"guid", PST_GUID},     {"other", PST_SYMBOL},
    {"text", PST_STRING},    {"span", PST_TIMESPAN}, {"date", PST_DATE},
    {"ms", PST_TIME},        {"month", PST_MONTH},   {"minute", PST_MINUTE},
    {"note", PST_STRING}};

enum shape { FOLLOW, AMONG, DISORDER, TIES };

/* n rows of a file that is number i of `files`. */
static void rows(struct kit *t, const struct schema *s, uint32_t n, unsigned i, enum shape shape)
{
    struct wk *k = &t->k;
    uint32_t from = k->rows;
    int64_t at = shape == FOLLOW ? (int64_t)i * 1000000 : 0;
    for (uint32_t r = 0; r < n; r++) {
        uint64_t x = wk_next(k);
        uint32_t sym = x % 13 == 0 ? PST_NULL_SYMBOL
                       : x % 3     ? (uint32_t)(x >> 20) % 5
                                   : (uint32_t)(x >> 20) % WK_SYMBOLS;
        at += shape == TIES ? (int64_t)(x >> 40) % 500 == 0 : (int64_t)(x >> 40) % 300;
        int64_t time = shape == DISORDER ? (int64_t)(x >> 30) % 500000 : at;
        if (r < 5 && shape != FOLLOW)
            time = INT64_MIN;
        if (s->feed && r == 0)
            wk_run(k, x % 100000, 0, time + 5);
        wk_row(k, s, sym, time);
        if (k->pk.len > 60000 || r + 1 == n) {
            wk_frame(k, FRAME_DATA, LK_DAY);
            if (s->feed && r + 1 < n)
                wk_run(k, x % 100000, 0, time + 5);
        }
    }
    kit_file(t, from, k->rows);
}

static void one_batch_by(enum shape shape, unsigned files, uint32_t n, uint64_t memory, int threads)
{
    static const char *const names[] = {"t"};
    struct kit t;
    kit_open(&t);
    t.memory = memory;
    t.threads = threads;
    const struct schema *s = wk_schema(&t.k, 2, "t", false, every, PST_COUNT(every));
    for (unsigned i = 0; i < files; i++)
        rows(&t, s, n + i * 7, i, shape);
    kit_load(&t, &s, 1);
    kit_eod(&t, names, 1);
    kit_same(&t, "t", -1);
    kit_close(&t);
}

static void one_batch(enum shape shape, unsigned files, uint32_t n, uint64_t memory)
{
    one_batch_by(shape, files, n, memory, 1);
}

static void shapes(void **state)
{
    (void)state;
    one_batch(FOLLOW, 1, 40, 0); /* 1 byte a place */
    one_batch(FOLLOW, 4, 900, 0);
    one_batch(AMONG, 2, 5000, 0);
    one_batch(AMONG, 5, 7000, 0); /* 4 bytes, several windows */
    one_batch(DISORDER, 3, 700, 0);
    one_batch(TIES, 3, 9000, 0);
}

/* Where the order is made by several threads: 4096 rows each at least. */
static void several_threads(void **state)
{
    (void)state;
    one_batch_by(AMONG, 3, 4200, 0, 3);
    one_batch_by(FOLLOW, 4, 2100, 0, 2);
    one_batch_by(TIES, 2, 4200, 0, 2);
    one_batch_by(DISORDER, 2, 4200, 0, 2); /* they cannot, and do it as before */
}

static void several_passes_over_a_column(void **state)
{
    (void)state;
    one_batch(AMONG, 3, 25000, 1 << 20);
    one_batch(DISORDER, 3, 15000, 1 << 20); /* nor are all symbols sorted at once */
}

/* Batches one after the other give what one end of day gives. */
static void onto_what_is_there(void **state)
{
    (void)state;
    static const char *const names[] = {"t", "f"};
    struct kit t;
    kit_open(&t);
    t.k.quality = CLOCK_CAPTURE; /* loaded receive times are data */
    const struct schema *two[] = {wk_schema(&t.k, 2, "t", false, every, PST_COUNT(every)),
                                  wk_schema(&t.k, 3, "f", true, every + 2, PST_COUNT(every) - 2)};
    for (unsigned b = 0; b < 3; b++) {
        for (unsigned i = 0; i < 3; i++) {
            rows(&t, two[0], 300 + 50 * b, i + 3 * b, b == 1 ? FOLLOW : AMONG);
            rows(&t, two[1], 200, i + 3 * b, b == 2 ? DISORDER : AMONG);
        }
        kit_load(&t, two, 2);
        kit_check(&t, "t", 0, t.k.rows, -1);
    }
    kit_eod(&t, names, 2);
    kit_same(&t, "t", -1);
    kit_same(&t, "f", -1);
    /* a rebuild from the log would lose what was loaded */
    struct writedown_job j;
    struct writedown_table tables[1];
    struct writedown_part parts[64];
    struct err err = {0};
    unsigned nparts;
    struct writedown_config wc = {.io = t.k.io, .hdb = t.hdb};
    struct writedown *w = writedown_create(&wc, &err);
    wk_job(&t.k, &j, tables, names, 1, parts, &nparts);
    tables[0].ours = j.rebuild = true;
    j.sym = &t.sym;
    assert_non_null(w);
    assert_false(writedown_start(w, &j, &err) && writedown_step(w) != WRITEDOWN_FAILED);
    const char *why = err.code ? err.text : writedown_error(w)->text;
    if (!strstr(why, "holds rows that were loaded from files"))
        fail_msg("%s", why);
    writedown_destroy(w);
    const struct hdb_meta *m = kit_meta(&t, t.root, "t");
    assert_int_equal(m->nsources, 1);
    assert_string_equal(m->source[0].kind, "load");
    assert_true(m->source[0].first == 1 && m->source[0].end == 4);
    kit_close(&t);
}

/* GAP-15: columns that came or went, and wider ones; the last row of each key. */
static void columns_and_keys(void **state)
{
    (void)state;
    static const struct column_def old[] = {{"time", PST_TIMESTAMP},
                                            {"sym", PST_SYMBOL},
                                            {"a", PST_INT},
                                            {"gone", PST_STRING},
                                            {"odd", PST_LONG}},
                                   now[] = {{"time", PST_TIMESTAMP},
                                            {"sym", PST_SYMBOL},
                                            {"a", PST_LONG},
                                            {"more", PST_FLOAT},
                                            {"odd", PST_SYMBOL}};
    static const char *const names[] = {"t", "k"};
    struct kit t;
    kit_open(&t);
    const struct schema *v1 = wk_schema(&t.k, 2, "t", false, old, PST_COUNT(old));
    const struct schema *keyed = wk_schema_keys(&t.k, 4, "k", false, every, PST_COUNT(every), 1);
    const struct schema *before[] = {v1, keyed};
    for (unsigned i = 0; i < 2; i++) {
        rows(&t, v1, 500, i, AMONG);
        rows(&t, keyed, 700, i, AMONG);
    }
    kit_load(&t, before, 2);
    const struct schema *v2 = wk_schema(&t.k, 3, "t", false, now, PST_COUNT(now));
    const struct schema *after[] = {v2, keyed};
    for (unsigned i = 0; i < 2; i++) {
        rows(&t, v2, 400, i, DISORDER);
        rows(&t, keyed, 300, i, DISORDER);
    }
    kit_load(&t, after, 2);
    kit_eod(&t, names, 2);
    kit_same(&t, "k", 1);
    const struct hdb_meta *a = kit_meta(&t, t.k.root, "t"), *b = kit_meta(&t, t.root, "t");
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->ncols, b->ncols);
    assert_true(wk_same(a->hash, b->hash));
    assert_true(wk_same(wk_bytes(&t.k, "t"), kit_bytes(&t, "t")));
    kit_close(&t);
}

/* A replaced partition is noticed before and between; a foreign one is not touched. */
static void replaced_meanwhile(void **state)
{
    (void)state;
    struct kit t;
    struct err err = {0};
    json_t *result, *merged;
    kit_open(&t);
    const struct schema *s = wk_schema(&t.k, 2, "t", false, every, PST_COUNT(every));
    rows(&t, s, 100, 0, AMONG);
    kit_load(&t, &s, 1);
    rows(&t, s, 100, 1, AMONG);
    json_t *args = kit_args(&t, s, "late", 2);
    assert_true(load_index_run(args, NULL, &result, &err));
    struct load_move_table m;
    kit_move_table(&t, &m, s, result);
    t.files = 0;
    rows(&t, s, 100, 2, AMONG);
    kit_load(&t, &s, 1); /* another batch is first */
    json_t *ma =
        json_pack("{s:O,s:[s]}", "index", json_object_get(args, "index"), "columns", "int");
    assert_false(load_merge_run(ma, NULL, &merged, &err));
    assert_int_equal(err.code, -ESTALE);
    struct load_move move = {
        .batch = "late", .instance = KIT_INSTANCE, .commit = 3, .table = &m, .n = 1};
    struct load_moved moved = {0};
    bool stale = false, published;
    moved.stale = &stale;
    int lock = hdb_lock(t.k.io, t.root, "kit", &err);
    load_publish(t.k.io, t.hdb, &move, 9, "us", &s, 1, NULL, &published, &moved);
    assert_true(moved.verdict == LOAD_STALE && stale && !published);
    hdb_unlock(t.k.io, lock);
    json_decref(result);
    json_decref(args);
    json_decref(ma);

    char dir[300], day[CIVIL_TEXT];
    snprintf(dir, sizeof dir, "%s/%s/t/.pstmeta", t.root, civil_format(LK_DAY, day));
    assert_false(unlink(dir));
    t.files = 0;
    rows(&t, s, 10, 3, AMONG);
    assert_null(kit_merge(&t, s, "foreign", 4, &err));
    assert_int_equal(err.code, -EEXIST);
    t.existing = "merge";
    uint32_t n = t.k.rows;
    result = kit_merge(&t, s, "foreign", 4, &err);
    assert_non_null(result);
    assert_int_equal(json_integer_value(json_object_get(result, "rows")), n - 100);
    json_decref(result);
    t.supersede = true;
    result = kit_merge(&t, s, "foreign", 4, &err);
    assert_int_equal(json_integer_value(json_object_get(result, "rows")), 10);
    assert_true(json_is_true(json_object_get(result, "replaced")));
    json_decref(result);
    kit_close(&t);
}

int main(void)
{
    setenv("PST_TEST_DIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(several_threads),
        cmocka_unit_test(several_passes_over_a_column),
        cmocka_unit_test(onto_what_is_there),
        cmocka_unit_test(columns_and_keys),
        cmocka_unit_test(replaced_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
