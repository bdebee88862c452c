/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_splayed.c - kdb+ splayed tables through the loader's read task: a table that real kdb+
 * wrote, value for value; every type and the conversions; dates; where the domain is looked for;
 * files that are cut, changed, missing, of other lengths.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "kdb_file.h"
#include "load/splayed.h"
#include "support/data.h"

static char root[] = "/tmp/penstock-test.splayed.XXXXXX";
static unsigned tasks;
static struct io *io;

static const char *path_of(const char *name)
{
    static char path[4][300];
    static unsigned k;
    char *p = path[k++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void *get(const char *path, size_t *n)
{
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    char *p = malloc(1 << 20);
    *n = fread(p, 1, 1 << 20, f);
    fclose(f);
    return p;
}

static void put(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* The column of the task that ran last. */
static void *column(const char *date, const char *name, size_t *n)
{
    char path[400];
    snprintf(path, sizeof path, "%s/task%u/%s/quote/%s", root, tasks - 1, date, name);
    return get(path, n);
}

static const char *symbol(uint32_t code)
{
    static char text[4096];
    char path[400];
    size_t n;
    snprintf(path, sizeof path, "%s/task%u/symbols", root, tasks - 1);
    char *all = get(path, &n), *t = all;
    for (uint32_t k = 1; k < code; k++)
        t += strlen(t) + 1;
    snprintf(text, sizeof text, "%s", code ? t : "");
    free(all);
    return text;
}

static json_t *run(const char *file, const char *columns, const char *more, struct err *err)
{
    char dir[300], recipe[4000];
    json_t *result = NULL;
    snprintf(dir, sizeof dir, "%s/task%u", root, tasks++);
    snprintf(recipe, sizeof recipe,
             "{\"name\":\"t\",\"format\":\"splayed\",\"schemas\":[{\"id\":9,\"table\":\"quote\","
             "\"feed\":false,\"columns\":[%s],\"keys\":[]}]%s}",
             columns, more);
    json_t *r = json_loads(recipe, 0, NULL);
    assert_non_null(r);
    json_t *args = json_pack("{s:s,s:s,s:o}", "file", file, "dir", dir, "recipe", r);
    err->text[0] = 0;
    bool ok = load_read_run(args, NULL, NULL, &result, err);
    json_decref(args);
    return ok ? result : NULL;
}

static json_t *sound(const char *file, const char *columns, const char *more)
{
    struct err err;
    json_t *r = run(file, columns, more, &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static void refused(const char *file, const char *columns, const char *more, int code,
                    const char *sentence)
{
    struct err err;
    json_t *r = run(file, columns, more, &err);
    if (r || err.code != code || !strstr(err.text, sentence))
        fail_msg("%d %s, not %d %s", r ? 0 : err.code, err.text, code, sentence);
}

static long long number(json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

#define QUOTE                                                                                      \
    "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"bid\",\"float\"],[\"ask\",\"float\"],"       \
    "[\"bsize\",\"long\"],[\"asize\",\"long\"],[\"mode\",\"char\"],[\"ex\",\"char\"],"             \
    "[\"src\",\"symbol\"]"

/* ---- what kdb+ wrote ---- */

static void test_real(void **state)
{
    (void)state;
    DATA_OR_SKIP("a table of real kdb+");
    char path[PATH_MAX];
    size_t n, k;
    snprintf(path, sizeof path, "%s", data_path("kdb/hdb-2021/2021.01.04/quote"));
    json_t *r = sound(path, QUOTE, "");
    assert_int_equal(number(r, "rows"), 10);
    json_t *w = json_array_get(json_object_get(r, "written"), 0);
    assert_string_equal(json_string_value(json_object_get(w, "date")), "2021.01.04");
    static const char *const same[] = {"time", "bid", "ask", "bsize", "asize", "mode", "ex"};
    for (unsigned i = 0; i < PST_COUNT(same); i++) { /* headers of 16 bytes, then the values */
        char file[PATH_MAX + 20];
        snprintf(file, sizeof file, "%s/%s", path, same[i]);
        uint8_t *a = get(file, &n), *b = column("2021.01.04", same[i], &k);
        assert_int_equal(n - 16, k);
        assert_memory_equal(a + 16, b, k);
        free(a);
        free(b);
    }
    char file[PATH_MAX + 20];
    static const char *const names[] = {"MSFT",  "DOW", "AAPL", "IBM",  "INTC", "GOOG",
                                        "AMD",   "AIG", "HPQ",  "DELL", "BARX", "SUN",
                                        "GETGO", "DB",  "sell", "buy"};
    static const char *const symbols[] = {"sym", "src"};
    for (unsigned s = 0; s < 2; s++) {
        snprintf(file, sizeof file, "%s/%s", path, symbols[s]);
        uint8_t *a = get(file, &n), *b = column("2021.01.04", symbols[s], &k);
        assert_int_equal((n - 4096) / 8, k / 4);
        for (unsigned i = 0; i < 10; i++)
            assert_string_equal(names[le64(a + 4096 + 8 * i)], symbol(le32(b + 4 * i)));
        free(a);
        free(b);
    }
    json_decref(r);
    /* the same by the directory's date; by a domain that is named; of another domain: refused */
    r = sound(path, QUOTE, ",\"date\":\"file\"");
    assert_int_equal(number(r, "rows"), 10);
    json_decref(r);
    char more[PATH_MAX + 60];
    snprintf(more, sizeof more, ",\"sym\":\"%s\"", data_path("kdb/hdb-2021/sym"));
    r = sound(path, QUOTE, more);
    json_decref(r);
    refused(path, QUOTE, ",\"sym\":\"/dev/null\"", -EFBIG, "no file");
    /* columns: those that the table has not got */
    refused(path, "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"bid\",\"float\"]", "", -EINVAL,
            "is not in table quote; pass it over");
    r = sound(path, "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"bid\",\"float\"]",
              ",\"columns\":{\"*\":\"-\"}");
    json_decref(r);
    /* renamed, missing, constant */
    r = sound(
        path,
        "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"price\",\"float\"],"
        "[\"venue\",\"symbol\"],[\"n\",\"int\"],[\"left\",\"long\"]",
        ",\"columns\":{\"bid\":\"price\",\"*\":\"-\"},\"constants\":{\"venue\":\"X\",\"n\":7},"
        "\"optional\":[\"left\"]");
    uint8_t *v = column("2021.01.04", "venue", &k), *m = column("2021.01.04", "n", &n);
    assert_string_equal(symbol(le32(v)), "X");
    assert_int_equal(le32(m + 36), 7);
    free(v);
    free(m);
    v = column("2021.01.04", "left", &k);
    assert_int_equal(le64(v), (uint64_t)PST_NULL_LONG);
    free(v);
    json_decref(r);
    refused(path, QUOTE ",[\"more\",\"int\"]", "", -EINVAL, "more of table quote is missing");
    refused(path, "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"bid\",\"long\"]",
            ",\"columns\":{\"*\":\"-\"}", -EINVAL, "does not fit");
}

/* ---- tables made here ---- */

static void make(const char *dir, const char *name, uint8_t type, const void *values, uint64_t n,
                 const char *bytes, uint64_t nbytes)
{
    char path[400];
    struct kdb_writer w;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s/%s", root, dir, name);
    assert_true(kdb_write_open(&w, io, path, type, &err) && kdb_write_at(&w, 0, values, n, &err));
    if (bytes)
        assert_true(kdb_write_bytes(&w, 0, bytes, nbytes, &err));
    assert_true(kdb_write_close(&w, n, 0, false, &err));
}

static void names(const char *dir, const char *const *name, uint32_t n)
{
    char path[400];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s/.d", root, dir);
    assert_true(kdb_write_symbols(io, path, name, n, false, &err));
}

static void domain(const char *path, const char *const *name, uint32_t n)
{
    struct err err = {0};
    assert_true(kdb_write_symbols(io, path_of(path), name, n, false, &err));
}

static const char *const some[] = {"A", "BB", "longer than eight bytes"};

static void test_types(void **state)
{
    (void)state;
    size_t n;
    assert_true(!mkdir(path_of("db"), 0700) && !mkdir(path_of("db/t"), 0700));
    domain("db/sym", some, 3);
    static const char *const d[] = {"time", "sym", "flag", "few", "n", "r", "text", "c", "m", "id"};
    names("db/t", d, PST_COUNT(d));
    const int64_t day = 9000 * PST_DAY_NS; /* 2024.08.22 */
    const int64_t time[3] = {day + 5, day + 3, day + PST_DAY_NS};
    const int64_t sym[3] = {2, PST_NULL_LONG, 0}, ends[3] = {5, 5, 8};
    const uint8_t flag[3] = {1, 0, 1}, few[3] = {1, 2, 255}, id[48] = {1, 2, 3};
    const int16_t m[3] = {-3, PST_NULL_SHORT, 7};
    const int32_t i4[3] = {1000000, PST_NULL_INT, -1};
    const float r[3] = {0.5f, NAN, -2.25f};
    make("db/t", "time", PST_TIMESTAMP, time, 3, NULL, 0);
    make("db/t", "sym", PST_SYMBOL, sym, 3, NULL, 0);
    make("db/t", "flag", PST_BOOLEAN, flag, 3, NULL, 0);
    make("db/t", "few", PST_BYTE, few, 3, NULL, 0);
    make("db/t", "n", PST_INT, i4, 3, NULL, 0);
    make("db/t", "r", PST_REAL, r, 3, NULL, 0);
    make("db/t", "text", PST_STRING, ends, 3, "helloabc", 8);
    make("db/t", "c", PST_CHAR, "x y", 3, NULL, 0);
    make("db/t", "m", PST_SHORT, m, 3, NULL, 0);
    make("db/t", "id", PST_GUID, id, 3, NULL, 0);
    json_t *res =
        sound(path_of("db/t"),
              "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"flag\",\"boolean\"],"
              "[\"few\",\"int\"],[\"n\",\"long\"],[\"r\",\"float\"],[\"text\",\"string\"],"
              "[\"c\",\"symbol\"],[\"m\",\"long\"],[\"id\",\"guid\"]",
              "");
    assert_int_equal(number(res, "rows"), 3);
    assert_int_equal(json_array_size(json_object_get(res, "written")), 2); /* two dates */
    json_t *w = json_array_get(json_object_get(res, "written"), 0);
    assert_false(json_is_true(json_object_get(w, "time_sorted")));
    uint8_t *v = column("2024.08.22", "sym", &n);
    assert_int_equal(n, 8);
    assert_string_equal(symbol(le32(v)), some[2]);
    assert_int_equal(le32(v + 4), 0);
    free(v);
    v = column("2024.08.22", "few", &n);
    assert_true(le32(v) == 1 && le32(v + 4) == 2);
    free(v);
    v = column("2024.08.23", "few", &n);
    assert_int_equal(le32(v), 255);
    free(v);
    v = column("2024.08.22", "n", &n);
    assert_true(le64(v) == 1000000 && (int64_t)le64(v + 8) == PST_NULL_LONG);
    free(v);
    double f[2];
    v = column("2024.08.22", "r", &n);
    memcpy(f, v, sizeof f);
    assert_true(f[0] == 0.5 && isnan(f[1]));
    free(v);
    v = column("2024.08.22", "text", &n);
    assert_true(le64(v) == 5 && le64(v + 8) == 5);
    free(v);
    v = column("2024.08.22", "text#", &n);
    assert_true(n == 5 && !memcmp(v, "hello", 5));
    free(v);
    v = column("2024.08.23", "text#", &n);
    assert_true(n == 3 && !memcmp(v, "abc", 3));
    free(v);
    v = column("2024.08.22", "c", &n);
    assert_string_equal(symbol(le32(v)), "x");
    assert_int_equal(le32(v + 4), 0); /* q's null char */
    free(v);
    v = column("2024.08.22", "m", &n);
    assert_true((int64_t)le64(v) == -3 && (int64_t)le64(v + 8) == PST_NULL_LONG);
    free(v);
    json_decref(res);
}

/* A time of day needs a date: the directory's, a column's, a fixed one; in the zone said. */
static void test_dates(void **state)
{
    (void)state;
    size_t n;
    assert_true(!mkdir(path_of("db/2024.03.11"), 0700) && !mkdir(path_of("db/2024.03.11/t"), 0700));
    static const char *const d[] = {"time", "sym", "d"};
    const int32_t ms[2] = {34200000, PST_NULL_INT}, days[2] = {8836, 8837};
    const int64_t sym[2] = {0, 1};
    names("db/2024.03.11/t", d, 3);
    make("db/2024.03.11/t", "time", PST_TIME, ms, 2, NULL, 0);
    make("db/2024.03.11/t", "sym", PST_SYMBOL, sym, 2, NULL, 0); /* db/sym is two above */
    make("db/2024.03.11/t", "d", PST_DATE, days, 2, NULL, 0);
    const char *columns = "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"]";
    refused(path_of("db/2024.03.11/t"), columns, ",\"columns\":{\"*\":\"-\"}", -EINVAL,
            "is a time of day");
    json_t *r = sound(path_of("db/2024.03.11/t"), columns,
                      ",\"columns\":{\"*\":\"-\"},\"date\":\"file\",\"rejects\":1,"
                      "\"zone\":\"America/New_York\"");
    assert_int_equal(number(r, "rows"), 1); /* the null time has no partition */
    assert_int_equal(number(r, "rejected"), 1);
    uint8_t *v = column("2024.03.11", "time", &n);
    assert_int_equal(le64(v), 8836 * PST_DAY_NS + 34200 * PST_SECOND_NS + 4 * 3600 * PST_SECOND_NS);
    free(v);
    json_decref(r);
    refused(path_of("db/2024.03.11/t"), columns, ",\"columns\":{\"*\":\"-\"},\"date\":\"file\"",
            -EILSEQ, "1 row is bad");
    r = sound(path_of("db/2024.03.11/t"), columns,
              ",\"columns\":{\"*\":\"-\"},\"date\":\"column d\",\"partial\":true");
    v = column("2024.03.11", "time", &n);
    assert_int_equal(le64(v), 8836 * PST_DAY_NS + 34200 * PST_SECOND_NS);
    free(v);
    json_decref(r);
    r = sound(path_of("db/2024.03.11/t"), columns,
              ",\"columns\":{\"*\":\"-\"},\"date\":\"2020.01.02\",\"partial\":true");
    v = column("2020.01.02", "time", &n);
    free(v);
    json_decref(r);
}

/* ---- bad ---- */

static void test_bad(void **state)
{
    (void)state;
    const char *columns = "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"n\",\"int\"]";
    assert_true(!mkdir(path_of("bad"), 0700) && !mkdir(path_of("bad/t"), 0700));
    refused(path_of("bad/t"), columns, "", -EINVAL, "no file .d");
    static const char *const d[] = {"time", "sym", "n"}, *const evil[] = {"time", "../../etc"};
    const int64_t time[3] = {1, 2, 3}, sym[3] = {0, 1, 3};
    const int32_t n[3] = {1, 2, 3};
    names("bad/t", d, 3);
    refused(path_of("bad/t"), columns, "", -ENODATA, "time");
    make("bad/t", "time", PST_TIMESTAMP, time, 3, NULL, 0);
    make("bad/t", "sym", PST_SYMBOL, sym, 3, NULL, 0);
    make("bad/t", "n", PST_INT, n, 3, NULL, 0);
    refused(path_of("bad/t"), columns, "", -ENODATA, "enumerated by sym");
    domain("bad/sym", some, 3);
    refused(path_of("bad/t"), columns, "", -EBADMSG, "row 3: index 3 is not in");
    make("bad/t", "sym", PST_SYMBOL, sym, 2, NULL, 0);
    refused(path_of("bad/t"), columns, "", -EBADMSG, "has 2 rows");
    make("bad/t", "sym", PST_SYMBOL, (int64_t[]){0, 1, 2}, 3, NULL, 0);
    json_t *r = sound(path_of("bad/t"), columns, "");
    json_decref(r);
    refused(path_of("bad/t"), columns, ",\"scale\":{\"n\":2}", -EINVAL, "scale");
    names("bad/t", evil, 2);
    refused(path_of("bad/t"), columns, "", -EBADMSG, "no column file can have");
    struct err err;
    assert_null(run(path_of("bad/none"), columns, "", &err));
    assert_int_equal(err.code, -ENOENT);
    assert_false(symlink("t", path_of("bad/l"))); /* neither the table nor a column of it */
    refused(path_of("bad/l"), columns, "", -ELOOP, "links are not followed");
    names("bad/t", d, 3);
    char column[200];
    snprintf(column, sizeof column, "%s", path_of("bad/t/n"));
    assert_false(rename(column, path_of("bad/n")) || symlink("../n", column));
    refused(path_of("bad/t"), columns, "", -ELOOP, "bad/t/n: it is a symbolic link");
    /* a text that no journal and no partition takes: known here, not when it is indexed */
    static const char *const texts[] = {"time", "sym", "text"};
    static char much[LOAD_STRING_BYTES + 10];
    memset(much, 'x', sizeof much);
    assert_true(!mkdir(path_of("bad/s"), 0700));
    names("bad/s", texts, 3);
    make("bad/s", "time", PST_TIMESTAMP, time, 3, NULL, 0);
    make("bad/s", "sym", PST_SYMBOL, (int64_t[]){0, 1, 2}, 3, NULL, 0);
    make("bad/s", "text", PST_STRING, (int64_t[]){2, 3 + LOAD_STRING_BYTES, sizeof much}, 3, much,
         sizeof much);
    const char *with = "[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"text\",\"string\"]";
    refused(path_of("bad/s"), with, "", -EILSEQ,
            "row 2, column text: a text of 65536 bytes; a string has at most 65535");
    put(path_of("bad/file"), "x", 1);
    assert_null(run(path_of("bad/file"), columns, "", &err));
}

/* Every file of the table that real kdb+ wrote, cut at every byte, and each of its bytes changed:
 * an error that names the file, or a table of as many rows; never a crash. */
static void test_damaged(void **state)
{
    (void)state;
    DATA_OR_SKIP("a damaged table of real kdb+");
    char from[PATH_MAX], to[400];
    static const char *const files[] = {"time", "sym", "bid", "ex", ".d"};
    size_t n, changed = 0;
    struct err err;
    snprintf(from, sizeof from, "%s", data_path("kdb/hdb-2021"));
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "cp -r %s %s && chmod -R u+w %s", from, path_of("hdb"),
             path_of("hdb"));
    assert_int_equal(system(command), 0);
    for (unsigned i = 0; i < PST_COUNT(files); i++) {
        snprintf(to, sizeof to, "%s/hdb/2021.01.04/quote/%s", root, files[i]);
        uint8_t *bytes = get(to, &n);
        for (size_t k = 0; k < n; k += k < 24 || k + 8 > n ? 1 : k < 4072 ? 37 : 1) {
            put(to, bytes, k);
            json_t *r = run(path_of("hdb/2021.01.04/quote"), QUOTE, "", &err);
            if (r || !err.text[0])
                fail_msg("%s of %zu bytes of %zu is taken", files[i], k, n);
            tasks--;
            bytes[k] ^= 0xff;
            put(to, bytes, n);
            bytes[k] ^= 0xff;
            r = run(path_of("hdb/2021.01.04/quote"), QUOTE, ",\"partial\":true", &err);
            assert_true(r || err.text[0]);
            changed += r != NULL;
            if (r)
                assert_int_equal(number(r, "rows") + number(r, "rejected"), 10);
            json_decref(r);
            tasks--;
        }
        put(to, bytes, n);
        free(bytes);
    }
    assert_true(changed > 10); /* values are values */
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    io = io_posix_create(&err);
    return io && mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    io_destroy(io);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_real), cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_dates), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
