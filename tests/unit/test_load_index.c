/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index task where something is wrong or extreme: symbols, damaged and missing results, many
 * tiny files, two dates at once, a task that is told to stop; and the union of symbols.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "batch_kit.h"
#include "load/place.h"

static const struct column_def columns[] = {{"time", PST_TIMESTAMP},
                                            {"sym", PST_SYMBOL},
                                            {"v", PST_INT},
                                            {"other", PST_SYMBOL},
                                            {"text", PST_STRING}};

static const struct schema *table(struct kit *t)
{
    return wk_schema(&t->k, 2, "t", false, columns, PST_COUNT(columns));
}

static void rows(struct kit *t, const struct schema *s, uint32_t n)
{
    uint32_t from = t->k.rows;
    for (uint32_t i = 0; i < n; i++)
        wk_row(&t->k, s, (uint32_t)(wk_next(&t->k) % 20), (int64_t)i * 1000);
    wk_frame(&t->k, FRAME_DATA, LK_DAY);
    kit_file(t, from, t->k.rows);
}

static void command(const char *fmt, ...)
{
    char cmd[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    assert_int_equal(system(cmd), 0);
}

static int failure(struct kit *t, const struct schema *s, const char *words)
{
    struct err err = {0};
    json_t *r = kit_merge(t, s, "bad", 1, &err);
    assert_null(r);
    if (!strstr(err.text, words))
        fail_msg("'%s' is not said by: %s", words, err.text);
    return err.code;
}

static void damage(void **state)
{
    (void)state;
    struct kit t;
    struct err err = {0};
    char day[CIVIL_TEXT];
    kit_open(&t);
    const struct schema *s = table(&t);
    rows(&t, s, 50);
    civil_format(LK_DAY, day);
    const char *dir = t.dir[0];
    command("cp -r %s %s/whole", dir, t.tmp);
#define AGAIN command("rm -rf %s && cp -r %s/whole %s", dir, t.tmp, dir)
    command("rm %s/result.json", dir);
    assert_int_equal(failure(&t, s, "result.json: there is none"), -ENOENT);
    command("echo nonsense >%s/result.json", dir);
    assert_int_equal(failure(&t, s, "is damaged"), -EBADMSG);
    AGAIN;
    command("rm %s/%s/t/v", dir, day);
    assert_int_equal(failure(&t, s, "/v: cannot be read"), -ENOENT);
    AGAIN;
    command("truncate -s 10 %s/%s/t/time", dir, day);
    assert_int_equal(failure(&t, s, "it has not the bytes"), -EBADMSG);
    AGAIN;
    command("printf '\\377\\377\\377\\377' | dd of=%s/%s/t/other conv=notrunc 2>/dev/null", dir,
            day);
    assert_int_equal(failure(&t, s, "a code that its symbols have not"), -EBADMSG);
    AGAIN;
    command("printf '\\377\\377\\377\\377\\377\\377' | dd of=%s/%s/t/text conv=notrunc 2>/dev/null",
            dir, day);
    assert_int_equal(failure(&t, s, "is no string"), -EBADMSG);
    AGAIN;
    command("truncate -s 1 '%s/%s/t/text#'", dir, day);
    assert_int_equal(failure(&t, s, "is shorter than its strings"), -EBADMSG);
    AGAIN;
    command("printf 'Q' >>%s/symbols", dir); /* a text without its end */
    assert_int_equal(failure(&t, s, "no list of symbols"), -EBADMSG);
    AGAIN;
    command("printf 'never.interned\\0' >>%s/symbols", dir);
    assert_int_equal(failure(&t, s, "never.interned is not in"), -ENOKEY);
    assert_true(hdb_sym_add(&t.sym, "never.interned", 14, &err) >= 0);
    json_t *r = kit_merge(&t, s, "bad", 1, &err);
    if (!r)
        fail_msg("%s", err.text);
    json_decref(r);
    /* the index is lost or damaged before the merges */
    json_t *args = kit_args(&t, s, "bad", 1), *out = NULL;
    const char *index = json_string_value(json_object_get(args, "index"));
    json_t *m = json_pack("{s:s,s:[s]}", "index", index, "columns", "v");
    command("truncate -s 3 %s/place", index);
    assert_false(load_merge_run(m, NULL, &out, &err));
    assert_int_equal(err.code, -ESTALE);
    command("echo x >%s/index.json", index);
    assert_false(load_merge_run(m, NULL, &out, &err));
    assert_int_equal(err.code, -ESTALE);
    json_decref(m);
    m = json_pack("{s:s,s:[s]}", "index", index, "columns", "sym");
    assert_true(load_index_run(args, NULL, &out, &err));
    json_decref(out);
    assert_false(load_merge_run(m, NULL, &out, &err)); /* the index task has written it */
    assert_int_equal(err.code, -EINVAL);
    json_decref(m);
    /* told to stop */
    struct load_progress p = {0};
    store_relaxed(&p.stop, true);
    assert_false(load_index_run(args, &p, &out, &err));
    assert_int_equal(err.code, -ECANCELED);
    store_relaxed(&p.stop, false);
    assert_true(load_index_run(args, &p, &out, &err));
    assert_int_equal(load_relaxed(&p.rows), 50);
    assert_true(load_relaxed(&p.bytes) > 50 * 12);
    json_decref(out);
    json_decref(args);
    kit_close(&t);
}

/* A file that has nothing of the date is no error; none that has is. */
static void nothing_of_it(void **state)
{
    (void)state;
    struct kit t;
    struct err err = {0};
    kit_open(&t);
    const struct schema *s = table(&t), *other = wk_schema(&t.k, 3, "u", false, columns, 3);
    rows(&t, s, 20);
    rows(&t, other, 20);
    json_t *r = kit_merge(&t, s, "one", 1, &err);
    assert_non_null(r);
    assert_int_equal(json_integer_value(json_object_get(r, "rows")), 20);
    assert_int_equal(json_integer_value(json_object_get(r, "width")), 1);
    assert_string_equal(json_string_value(json_object_get(r, "base")), "absent");
    json_decref(r);
    t.files = 1;
    assert_int_equal(failure(&t, other, "none of the files has a row of table u"), -EINVAL);
    kit_close(&t);
}

/* Thousands of files of a few rows: no more maps or descriptors than fit. */
static void tiny_files(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct kit t;
    struct err err = {0};
    kit_open(&t);
    const struct schema *s = table(&t);
    rows(&t, s, 3);
    json_t *args = kit_args(&t, s, "many", 1), *out, *files = json_array();
    for (unsigned i = 0; i < MANY; i++)
        json_array_append_new(files, json_string(t.dir[0]));
    json_object_set_new(args, "files", files);
    if (!load_index_run(args, NULL, &out, &err))
        fail_msg("%s", err.text);
    assert_int_equal(json_integer_value(json_object_get(out, "rows")), 3 * MANY);
    assert_int_equal(json_integer_value(json_object_get(out, "width")), 2);
    json_decref(out);
    json_t *m = json_pack("{s:O,s:[sss]}", "index", json_object_get(args, "index"), "columns", "v",
                          "other", "text");
    if (!load_merge_run(m, NULL, &out, &err))
        fail_msg("%s", err.text);
    assert_int_equal(json_array_size(json_object_get(out, "columns")), 3);
    json_decref(out);
    json_decref(m);
    json_decref(args);
    kit_close(&t);
}

/* LDR-05: the smallest integers that hold the places; what is dropped stays so. */
static void widths(void **state)
{
    (void)state;
    static const struct {
        uint64_t rows;
        unsigned width;
    } at[] = {{127, 1},       {128, 2},        {32767, 2},         {32768, 4},
              {INT32_MAX, 4}, {1ull << 31, 8}, {WD_DROPPED - 1, 8}};
    for (unsigned i = 0; i < PST_COUNT(at); i++)
        for (unsigned width = 1; width <= 8; width *= 2) {
            struct load_place_file f;
            json_t *o = json_pack("{s:i,s:I,s:I,s:s}", "width", (int)width, "rows",
                                  (json_int_t)at[i].rows, "crc", (json_int_t)0, "boot", "b");
            assert_int_equal(load_place_take(&f, o), width == at[i].width);
            json_decref(o);
        }
    char dir[] = "/dev/shm/place.XXXXXX";
    struct err err = {0};
    struct io *io = io_posix_create(NULL);
    assert_non_null(mkdtemp(dir));
    for (unsigned i = 0; i < 4; i++) {
        uint32_t n = (uint32_t)at[i].rows, *place = malloc(n * sizeof *place);
        for (uint32_t k = 0; k < n; k++)
            place[k] = k % 7 == 3 ? WD_DROPPED : n - 1 - k;
        const struct wd_order o = {.rows = n, .place = place};
        struct load_place_file f;
        struct stat st;
        char path[60];
        void *map;
        assert_true(load_place_write(io, dir, &o, &f, &err));
        assert_int_equal(f.width, at[i].width);
        snprintf(path, sizeof path, "%s/place", dir);
        assert_false(stat(path, &st));
        assert_int_equal(st.st_size, n * f.width);
        const uint32_t *again = load_place_open(&f, dir, &map, &err);
        assert_non_null(again);
        assert_memory_equal(again, place, n * sizeof *place);
        load_place_close(&f, map);
        free(place);
        unlink(path);
    }
    rmdir(dir);
    io_destroy(io);
}

/* ---- symbols ---- */

static void union_of_symbols(void **state)
{
    (void)state;
    struct load_symbols s;
    struct err err = {0};
    char dir[] = "/tmp/symbols.XXXXXX", path[64], longest[300];
    uint32_t len;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/symbols", dir);
    load_symbols_init(&s);
    assert_false(load_symbols_file(&s, path, 0, &err));
    assert_int_equal(err.code, -ENOENT);
    for (int file = 0; file < 3; file++) {
        FILE *f = fopen(path, "w");
        for (int i = 0; i < 3000; i++)
            fprintf(f, "S%d%c", (i * 7 + file * 1000) % 4000, 0);
        fclose(f);
        assert_true(load_symbols_file(&s, path, 0, &err));
    }
    assert_int_equal(s.count, 4000);
    assert_true(load_symbols_find(&s, "S17", 3) >= 0);
    assert_int_equal(load_symbols_find(&s, "S4000", 5), -1);
    memset(longest, 'x', sizeof longest);
    assert_true(load_symbols_add(&s, longest, 255, 0, &err));
    assert_false(load_symbols_add(&s, longest, 256, 0, &err));
    assert_false(load_symbols_add(&s, "", 0, 0, &err));
    assert_false(load_symbols_add(&s, "a\0b", 3, 0, &err));
    assert_int_equal(err.code, -EINVAL);
    assert_true(load_symbols_add(&s, "S1", 2, 10, &err)); /* it is in */
    assert_false(load_symbols_add(&s, "new", 3, 4001, &err));
    assert_int_equal(err.code, -E2BIG);
    assert_true(load_symbols_add(&s, "\xFF", 1, 0, &err));
    assert_true(load_symbols_add(&s, "S", 1, 0, &err));
    FILE *f = fopen(path, "w"); /* an empty one among them */
    fwrite("ok\0\0more", 1, 9, f);
    fclose(f);
    assert_false(load_symbols_file(&s, path, 0, &err));
    assert_int_equal(err.code, -EBADMSG);
    uint64_t n = s.count;
    assert_true(load_symbols_sort(&s, &err));
    assert_int_equal(s.count, n);
    for (uint64_t i = 1; i < n; i++) {
        const char *a = load_symbols_text(&s, i - 1, &len), *b = load_symbols_text(&s, i, &len);
        assert_int_equal(strlen(b), len);
        assert_true(strcmp(a, b) < 0); /* as unsigned bytes */
    }
    assert_string_equal(load_symbols_text(&s, 0, &len), "S");
    assert_string_equal(load_symbols_text(&s, n - 1, &len), "\xFF");
    load_symbols_free(&s);
    unlink(path);
    rmdir(dir);
}

static void names(void **state)
{
    (void)state;
    char dir[1200];
    assert_true(load_batch_key_good("00ff-12"));
    assert_false(load_batch_key_good(""));
    assert_false(load_batch_key_good(".."));
    assert_false(load_batch_key_good("a/b"));
    assert_false(load_batch_key_good("a$"));
    assert_true(load_merge_dir("/db", "k-1", 0, "t", dir));
    assert_string_equal(dir, "/db/pst$/load/k-1/2000.01.01/t");
    assert_true(load_merge_dir("/db", "k-1", 0, NULL, dir));
    assert_string_equal(dir, "/db/pst$/load/k-1");
}

int main(void)
{
    setenv("PST_TEST_DIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage), cmocka_unit_test(nothing_of_it),    cmocka_unit_test(tiny_files),
        cmocka_unit_test(widths), cmocka_unit_test(union_of_symbols), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
