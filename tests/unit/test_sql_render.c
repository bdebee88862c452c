/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sql_render.c - a result as bytes (query_result.h) and as text (sql_render.h): every type,
 * nulls, infinities, texts of any bytes; and results that are not what they say.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/query_result.h"
#include "control/cli/sql_render.h"
#include "core/civil.h"

#define ROWS 3

static struct err err;

static void column(struct result *r, uint32_t i, const char *name, uint8_t type, const void *values)
{
    snprintf(r->col[i].name, sizeof r->col[i].name, "%s", name);
    r->col[i].type = type;
    size_t n = ROWS * result_width(type);
    r->col[i].data = malloc(n);
    memcpy(r->col[i].data, values, n);
}

static void strings(struct result *r, uint32_t i, const char *name, const char *const *text)
{
    snprintf(r->col[i].name, sizeof r->col[i].name, "%s", name);
    r->col[i].type = PST_STRING;
    r->col[i].at = calloc(ROWS + 1, 8);
    r->col[i].chars = calloc(1, 256);
    for (int k = 0; k < ROWS; k++) {
        memcpy(r->col[i].chars + r->col[i].at[k], text[k], strlen(text[k]));
        r->col[i].at[k + 1] = r->col[i].at[k] + strlen(text[k]);
    }
}

/* First row: ordinary; second: null; third: extreme. */
static struct result *sample(void)
{
    struct result *r = result_new(20);
    int64_t stamp = (int64_t)civil_days(2026, 11, 23) * PST_DAY_NS + 34200123456789;
    int32_t day = civil_days(2026, 11, 23), month = 12 * 26 + 10;
    r->rows = ROWS;
    column(r, 0, "b", PST_BOOLEAN, (uint8_t[]){1, RESULT_NULL_BOOL, 0});
    column(r, 1, "g", PST_GUID,
           (uint8_t[48]){[0] = 0x0a, [1] = 0xbc, [15] = 0xef, [32] = 0xff, [47] = 1});
    column(r, 2, "x", PST_BYTE, (uint8_t[]){0x1f, 0, 0xff});
    column(r, 3, "h", PST_SHORT, (int16_t[]){-7, PST_NULL_SHORT, INT16_MAX});
    column(r, 4, "i", PST_INT, (int32_t[]){100000, PST_NULL_INT, -INT32_MAX});
    column(r, 5, "j", PST_LONG, (int64_t[]){42, PST_NULL_LONG, INT64_MAX - 1});
    column(r, 6, "e", PST_REAL, (float[]){0.1f, NAN, INFINITY});
    column(r, 7, "f", PST_FLOAT, (double[]){101.5, NAN, -INFINITY});
    column(r, 8, "c", PST_CHAR, (uint8_t[]){'A', ' ', 0xff});
    column(r, 9, "s", PST_SYMBOL, (uint32_t[]){1, PST_NULL_SYMBOL, 0});
    column(r, 10, "p", PST_TIMESTAMP, (int64_t[]){stamp, PST_NULL_LONG, 0});
    column(r, 11, "m", PST_MONTH, (int32_t[]){month, PST_NULL_INT, 0});
    column(r, 12, "d", PST_DATE, (int32_t[]){day, PST_NULL_INT, 0});
    column(r, 13, "n", PST_TIMESPAN, (int64_t[]){300000000000, PST_NULL_LONG, -1});
    column(r, 14, "u", PST_MINUTE, (int32_t[]){570, PST_NULL_INT, 0});
    column(r, 15, "v", PST_SECOND, (int32_t[]){34200, PST_NULL_INT, 1});
    column(r, 16, "t", PST_TIME, (int32_t[]){34200123, PST_NULL_INT, 1});
    strings(r, 17, "C", (const char *const[]){"plain", "", "q\"u,o\nt\\e \x80"});
    strings(r, 18, "j", (const char *const[]){"\xc3\xa9t\xc3\xa9", "", "x"}); /* a second j */
    column(r, 19, "last", PST_LONG, (int64_t[]){1, 2, 3});
    r->syms.count = 2;
    r->syms.at = calloc(3, 8);
    r->syms.chars = strdup("BRK.B\x01"
                           "AAPL");
    r->syms.at[1] = 6;
    r->syms.at[2] = 10;
    result_add_note(r, RESULT_NOTE_GAP, "itch lost 5 messages");
    result_add_fact(r, "rows scanned", 12345);
    result_add_fact(r, "scan ms", 1.5);
    return r;
}

static char *text_of(const struct result *r, enum sql_format format, bool iso)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    json_t *extra = json_pack("{s:[s]}", "warnings", "w");
    assert_true(sql_render(r, format, &(struct sql_style){.iso = iso}, extra, f));
    json_decref(extra);
    fclose(f);
    return text;
}

static void golden(const struct result *r, enum sql_format format, bool iso, const char *want)
{
    char *got = text_of(r, format, iso);
    if (strcmp(got, want))
        fail_msg("got:\n%s\nwanted:\n%s", got, want);
    free(got);
}

static const char csv[] =
    "b,g,x,h,i,j,e,f,c,s,p,m,d,n,u,v,t,C,j_2,last\n"
    "true,0abc0000-0000-0000-0000-0000000000ef,0x1f,-7,100000,42,0.1,101.5,A,AAPL,"
    "2026.11.23D09:30:00.123456789,2026.11,2026.11.23,0D00:05:00.000000000,09:30,09:30:00,"
    "09:30:00.123,plain,\xc3\xa9t\xc3\xa9,1\n"
    ",,0x00,,,,,,,,,,,,,,,,,2\n"
    "false,ff000000-0000-0000-0000-000000000001,0xff,32767,-2147483647,9223372036854775806,0w,-0w,"
    "\\xff,BRK.B\\x01,2000.01.01D00:00:00.000000000,2000.01,2000.01.01,-0D00:00:00.000000001,00:00,"
    "00:00:01,00:00:00.001,\"q\"\"u,o\\x0at\\\\e \\x80\",x,3\n";

static void test_csv(void **state)
{
    (void)state;
    struct result *r = sample();
    golden(r, SQL_CSV, false, csv);
    char *iso = text_of(r, SQL_CSV, true);
    assert_non_null(strstr(iso, ",2026-11-23T09:30:00.123456789Z,2026-11,2026-11-23,0D00:05:00.0"));
    free(iso);
    result_free(r);
}

static void test_json(void **state)
{
    (void)state;
    struct result *r = sample();
    char *text = text_of(r, SQL_JSON, false);
    json_error_t je;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &je), *row, *v;
    if (!o)
        fail_msg("line %d: %s\n%s", je.line, je.text, text);
    assert_int_equal(json_integer_value(json_object_get(o, "count")), 3);
    assert_int_equal(json_array_size(json_object_get(o, "columns")), 20);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(o, "columns"), 18), "name")),
                        "j_2");
    assert_int_equal(json_array_size(json_object_get(o, "warnings")), 1);
    row = json_array_get(json_object_get(o, "rows"), 0);
    assert_true(json_is_true(json_object_get(row, "b")));
    assert_int_equal(json_integer_value(json_object_get(row, "h")), -7);
    assert_true(json_real_value(json_object_get(row, "f")) == 101.5);
    assert_string_equal(json_string_value(json_object_get(row, "s")), "AAPL");
    assert_string_equal(json_string_value(json_object_get(row, "u")), "09:30");
    assert_string_equal(json_string_value(json_object_get(row, "j_2")), "\xc3\xa9t\xc3\xa9");
    row = json_array_get(json_object_get(o, "rows"), 1);
    const char *name;
    json_object_foreach(row, name, v) if (strcmp(name, "x") && strcmp(name, "C") &&
                                          strcmp(name, "j_2") && strcmp(name, "last"))
        assert_true(json_is_null(v));
    assert_string_equal(json_string_value(json_object_get(row, "C")), "");
    row = json_array_get(json_object_get(o, "rows"), 2);
    assert_true(json_is_false(json_object_get(row, "b")));
    assert_true(json_integer_value(json_object_get(row, "j")) == INT64_MAX - 1);
    assert_string_equal(json_string_value(json_object_get(row, "e")), "0w");
    assert_string_equal(json_string_value(json_object_get(row, "f")), "-0w");
    assert_string_equal(json_string_value(json_object_get(row, "c")), "\xc3\xbf"); /* U+00FF */
    assert_string_equal(json_string_value(json_object_get(row, "s")), "BRK.B\x01");
    assert_string_equal(json_string_value(json_object_get(row, "C")), "q\"u,o\nt\\e \xc2\x80");
    json_decref(o);
    free(text);
    result_free(r);
}

static struct result *pick(const char *names)
{
    struct result *all = sample(), *r = result_new((uint32_t)strlen(names));
    r->rows = ROWS;
    for (uint32_t i = 0; names[i]; i++)
        for (uint32_t k = 0; k < all->ncols; k++)
            if (all->col[k].name[0] == names[i] && !all->col[k].name[1]) {
                r->col[i] = all->col[k];
                all->col[k] = (struct result_column){.type = PST_LONG};
                break;
            }
    r->syms = all->syms;
    all->syms = (struct result_syms){0};
    result_free(all);
    return r;
}

static void test_table(void **state)
{
    (void)state;
    struct result *r = pick("sjfuC");
    golden(r, SQL_TABLE, false,
           "s                           j     f u     C\n"
           "------------------------------------------------------------\n"
           "AAPL                       42 101.5 09:30 plain\n"
           "                                          \n"
           "BRK.B\\x01 9223372036854775806   -0w 00:00 q\"u,o\\x0at\\\\e \\x80\n");
    result_free(r);
    r = result_new(0);
    golden(r, SQL_TABLE, false, "");
    golden(r, SQL_CSV, false, "");
    result_free(r);
}

/* ---- bytes ---- */

static int memfd(const void *p, size_t n, bool seal)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, p, n), n);
    if (seal)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, QUERY_RESULT_SEALS), 0);
    return fd;
}

static void test_bytes(void **state)
{
    (void)state;
    struct result *r = sample(), *again;
    uint64_t bytes;
    int fd = memfd("", 0, false);
    if (!query_result_write(r, fd, 0, &bytes, &err))
        fail_msg("%s", err.text);
    assert_int_equal(lseek(fd, 0, SEEK_END), bytes);
    if (!query_result_open(fd, &again, &err))
        fail_msg("%s", err.text);
    golden(again, SQL_CSV, false, csv);
    query_result_close(again);
    assert_true(write(fd, "x", 1) < 0); /* nobody can change it any more */
    close(fd);
    fd = memfd("", 0, false);
    assert_false(query_result_write(r, fd, bytes - 1, &bytes, &err));
    assert_non_null(strstr(err.text, "more than"));
    close(fd);
    json_t *facts = query_result_facts(r);
    assert_int_equal(json_integer_value(json_object_get(facts, "rows")), 3);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(facts, "facts"), "rows scanned")),
        12345);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(facts, "warnings"), 0), "kind")),
                        "gap");
    json_decref(facts);
    result_free(r);
    r = result_new(2); /* no rows */
    r->col[0].type = PST_LONG;
    r->col[1].type = PST_STRING;
    fd = memfd("", 0, false);
    assert_true(query_result_write(r, fd, 0, &bytes, &err));
    assert_true(query_result_open(fd, &again, &err));
    assert_int_equal(again->rows, 0);
    query_result_close(again);
    result_free(r);
    close(fd);
}

/* Every byte of head and columns changed, every length: read within bounds or refused. */
static void test_damaged(void **state)
{
    (void)state;
    struct result *r = sample(), *again;
    uint64_t bytes;
    int fd = memfd("", 0, false);
    assert_true(query_result_write(r, fd, 0, &bytes, &err));
    uint8_t *good = malloc(bytes), *bad = malloc(bytes);
    assert_int_equal(pread(fd, good, bytes, 0), bytes);
    close(fd);
    fd = memfd(good, bytes, false);
    assert_false(query_result_open(fd, &again, &err)); /* not sealed */
    close(fd);
    unsigned refused = 0;
    size_t head = sizeof(struct query_result_head) + r->ncols * sizeof(struct query_result_column);
    for (size_t i = 0; i < bytes; i += i < head ? 1 : 5)
        for (int how = 0; how < 3; how++) {
            memcpy(bad, good, bytes);
            bad[i] = how == 0 ? bad[i] ^ 0xFF : how == 1 ? bad[i] + 1 : bad[i] | 0x80;
            fd = memfd(bad, bytes, true);
            if (query_result_open(fd, &again, &err)) {
                free(text_of(again, SQL_CSV, false));
                query_result_close(again);
            } else {
                refused++;
            }
            close(fd);
        }
    assert_true(refused > 2000);
    for (size_t n = 0; n < bytes; n += 13) {
        fd = memfd(good, n, true);
        assert_false(query_result_open(fd, &again, &err));
        close(fd);
    }
    free(good);
    free(bad);
    result_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),   cmocka_unit_test(test_json),    cmocka_unit_test(test_table),
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
