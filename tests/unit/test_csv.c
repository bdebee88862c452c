/* SPDX-License-Identifier: Apache-2.0 */
/* test_csv.c - CSV to records: every type with its null, bounds and refusals; quotes, CRLF, BOM. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "csv.h"

static const struct column_def cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN}, {"g", PST_GUID},
    {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},     {"j", PST_LONG},
    {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},    {"s", PST_SYMBOL},
    {"p", PST_TIMESTAMP},    {"m", PST_MONTH},    {"d", PST_DATE},    {"n", PST_TIMESPAN},
    {"u", PST_MINUTE},       {"v", PST_SECOND},   {"t", PST_TIME},    {"str", PST_STRING},
};
static struct schema schema;
static struct csv csv;
static uint8_t record[CSV_RECORD_MAX] pst_aligned(8);
static char interned[256];
static struct err err;

static uint32_t intern(void *arg, const char *text, uint32_t len)
{
    (void)arg;
    if (len >= 4 && !memcmp(text, "FULL", 4))
        return 0xFFFFFFFEu;
    snprintf(interned, sizeof interned, "%.*s", (int)len, text);
    return 42;
}
static int setup(void **state)
{
    (void)state;
    assert_true(schema_make(&schema, 7, "trade", false, cols, PST_COUNT(cols), &err));
    return 0;
}
static void header(const char *text)
{
    if (!csv_header(&csv, &schema, text, strlen(text), &err))
        fail_msg("%s", err.text);
}
static uint32_t row_n(const char *text, size_t n)
{
    memset(record, 0xAA, sizeof record);
    return csv_row(&csv, text, n, 12345, record, intern, NULL, &err);
}
static uint32_t row(const char *text)
{
    return row_n(text, strlen(text));
}
static const uint8_t *at(const char *name)
{
    return record + schema.col[schema_column(&schema, name)].offset;
}

/* type's column, text, the value's bits; ok false: refused */
static const struct {
    const char *column, *text;
    bool ok;
    uint64_t bits;
} values[] = {
    {"b", "1", true, 1},
    {"b", "t", true, 1},
    {"b", "true", true, 1},
    {"b", "0", true, 0},
    {"b", "false", true, 0},
    {"b", "", true, 0},
    {"b", "2", false, 0},
    {"b", "yes!", false, 0},
    {"x", "0x1f", true, 31},
    {"x", "255", true, 255},
    {"x", "", true, 0},
    {"x", "256", false, 0},
    {"x", "0xgg", false, 0},
    {"x", "-1", false, 0},
    {"h", "-32767", true, 0x8001},
    {"h", "32767", true, 0x7FFF},
    {"h", "", true, 0x8000},
    {"h", "-32768", false, 0},
    {"h", "32768", false, 0},
    {"h", "1.5", false, 0},
    {"h", "x", false, 0},
    {"i", "2147483647", true, 0x7FFFFFFF},
    {"i", "", true, 0x80000000},
    {"i", "-2147483648", false, 0},
    {"i", "+7", true, 7},
    {"i", " 7", false, 0},
    {"i", "7 ", false, 0},
    {"i", "-", false, 0},
    {"j", "9223372036854775807", true, INT64_MAX},
    {"j", "", true, 1ull << 63},
    {"j", "-9223372036854775808", false, 0},
    {"j", "9223372036854775808", false, 0},
    {"e", "1.5", true, 0x3FC00000},
    {"e", "", true, PST_NULL_REAL_BITS},
    {"e", "nan", true, PST_NULL_REAL_BITS},
    {"e", "inf", true, 0x7F800000},
    {"e", "1e300", false, 0},
    {"f", "-2.5", true, 0xC004000000000000},
    {"f", "", true, PST_NULL_FLOAT_BITS},
    {"f", "1e-400", true, 0},
    {"f", "1e400", false, 0},
    {"f", "1,5", false, 0},
    {"f", "abc", false, 0},
    {"f", "-inf", true, 0xFFF0000000000000},
    {"c", "A", true, 'A'},
    {"c", "", true, PST_NULL_CHAR},
    {"c", "AB", false, 0},
    {"s", "IBM", true, 42},
    {"s", "", true, PST_NULL_SYMBOL},
    {"s", "FULL", false, 0},
    {"p", "2000-01-02T00:00:00.000000001Z", true, 86400000000001},
    {"p", "2000.01.01D00:00:01", true, 1000000000},
    {"p", "2000-01-01 00:01", true, 60000000000},
    {"p", "1999-12-31", true, (uint64_t)-86400000000000},
    {"p", "", true, 1ull << 63},
    {"p", "2000-01-01T24:00", false, 0},
    {"p", "2000-02-30", false, 0},
    {"p", "9999-12-31", false, 0},
    {"p", "0001-01-01", false, 0},
    {"p", "2000-01-01T", false, 0},
    {"p", "2000-01-01T00:00:00.1234567890", false, 0},
    {"m", "2000-02", true, 1},
    {"m", "1999.12", true, 0xFFFFFFFF},
    {"m", "", true, 0x80000000},
    {"m", "2000-13", false, 0},
    {"d", "2000-01-02", true, 1},
    {"d", "2000.01.02", true, 1},
    {"d", "20000102", true, 1},
    {"d", "", true, 0x80000000},
    {"d", "2000-1-2", false, 0},
    {"d", "2001-02-29", false, 0},
    {"n", "1D00:00:00.000000001", true, 86400000000001},
    {"n", "-00:00:01", true, (uint64_t)-1000000000},
    {"n", "", true, 1ull << 63},
    {"n", "99999D9999:59:59", true, 99999 * 86400000000000ull + 35999999000000000ull},
    {"n", "200000D00:00", false, 0},
    {"n", "00:60", false, 0},
    {"u", "09:30", true, 570},
    {"u", "", true, 0x80000000},
    {"u", "09:30:30", false, 0},
    {"v", "00:01:40", true, 100},
    {"v", "-00:01:40", true, (uint32_t)-100},
    {"v", "00:01:40.5", false, 0},
    {"t", "00:00:01.5", true, 1500},
    {"t", "00:00:01.0005", false, 0},
    {"t", "", true, 0x80000000},
};

static void test_every_type(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(values); i++) {
        char h[64], line[128];
        snprintf(h, sizeof h, "sym,%s", values[i].column);
        snprintf(line, sizeof line, "X,\"%s\"", values[i].text);
        header(h);
        uint32_t n = row(line);
        const struct column *c = &schema.col[schema_column(&schema, values[i].column)];
        if (!!n != values[i].ok)
            fail_msg("%s '%s': %s", values[i].column, values[i].text, n ? "taken" : err.text);
        if (!n) {
            assert_non_null(strstr(err.text, values[i].column));
            continue;
        }
        uint64_t bits = 0;
        memcpy(&bits, record + c->offset, type_width(c->type));
        if (bits != values[i].bits)
            fail_msg("%s '%s': %llx", values[i].column, values[i].text, (unsigned long long)bits);
        assert_int_equal(n % 8, 0);
        assert_int_equal(((struct record *)record)->bytes, n);
        assert_int_equal(((struct record *)record)->table, 7);
        assert_int_equal(((struct record *)record)->time, 12345); /* now: no time was given */
    }
}

static void test_guid(void **state)
{
    (void)state;
    static const uint8_t want[16] = {0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3,
                                     0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0xff};
    static const uint8_t null[16];
    header("sym,g");
    assert_true(row("X,123e4567-E89b-12d3-a456-4266141740ff") > 0);
    assert_memory_equal(at("g"), want, 16);
    assert_true(row("X,") > 0);
    assert_memory_equal(at("g"), null, 16);
    assert_false(row("X,123e4567"));
    assert_false(row("X,123e4567-e89b-12d3-a456-4266141740fff"));
    assert_false(row("X,123e4567-e89b-12d3-a456-4266141740fz"));
}

static void test_columns_left_out_are_null(void **state)
{
    (void)state;
    header("sym");
    assert_true(row("X") > 0);
    for (unsigned i = 2; i < PST_COUNT(cols); i++) {
        static const uint8_t zero[16];
        const struct column *c = &schema.col[i];
        bool none = c->type == PST_BOOLEAN || c->type == PST_GUID || c->type == PST_BYTE;
        if (c->type == PST_STRING) { /* empty, behind the fixed part: the appender asks for that */
            assert_int_equal(le32(record + c->offset), schema.fixed);
            assert_int_equal(le32(record + c->offset + 4), 0);
            continue;
        }
        assert_int_equal(!memcmp(record + c->offset, zero, type_width(c->type)), none);
    }
    header("time,sym");
    assert_true(row("2000-01-01D00:00:05,") > 0);
    assert_int_equal(((struct record *)record)->time, 5000000000);
    assert_int_equal(((struct record *)record)->sym, PST_NULL_SYMBOL);
    assert_true(row(",X") > 0);
    assert_int_equal(((struct record *)record)->time, 12345);
}

static void test_quotes_and_strings(void **state)
{
    (void)state;
    header("sym,str,s");
    assert_true(row("X,\"a \"\"b\"\", c\nd\",Y") > 0);
    uint32_t offset = le32(at("str")), len = le32(at("str") + 4);
    assert_int_equal(len, 10);
    assert_memory_equal(record + offset, "a \"b\", c\nd", 10);
    assert_true(row("X,5\" pipe,Y") > 0); /* a quote within a plain field is a character */
    assert_int_equal(le32(at("str") + 4), 7);
    assert_false(row("X,\"open,Y"));
    assert_non_null(strstr(err.text, "field 2"));
    assert_false(row("X,\"a\"b,Y"));
    assert_false(row("X,a"));
    assert_non_null(strstr(err.text, "fewer"));
    assert_false(row("X,a,b,c"));
    assert_non_null(strstr(err.text, "more"));
    /* records end where they must */
    static char big[70000];
    memset(big, 'z', sizeof big);
    memcpy(big, "X,", 2);
    memcpy(big + 65000, ",Y", 2);
    assert_false(row_n(big, 65002));
    memcpy(big + 50000, ",Y", 2);
    assert_int_equal(row_n(big, 50002) % 8, 0);
    assert_int_equal(le32(at("str") + 4), 49998);
    /* symbols have at most 255 bytes and no NUL */
    header("sym");
    memset(big, 'z', 256);
    assert_false(row_n(big, 256));
    assert_true(row_n(big, 255) > 0);
    assert_false(row_n("A\0B", 3));
    header("i");
    assert_false(row_n("5\0", 2));
    header("f");
    assert_false(row_n("5\0", 2));
    header("b");
    assert_false(row_n("\0", 1));
}

static void test_headers(void **state)
{
    (void)state;
    header("\xEF\xBB\xBF\"sym\",i");
    assert_int_equal(csv.nfields, 2);
    assert_false(csv_header(&csv, &schema, "sym,nope", 8, &err));
    assert_non_null(strstr(err.text, "table trade has no column 'nope'"));
    assert_false(csv_header(&csv, &schema, "sym,i,i", 7, &err));
    assert_non_null(strstr(err.text, "twice"));
    assert_false(csv_header(&csv, &schema, "sym,", 4, &err));
    assert_false(csv_header(&csv, &schema, "\"sym", 4, &err));
}

static void test_lines(void **state)
{
    (void)state;
    static const char text[] = "a,b\r\n\"x\ny\",1\n5\" pipe,2\n\"q\"\"\",3\nlast\r";
    static const char *const want[] = {"a,b", "\"x\ny\",1", "5\" pipe,2", "\"q\"\"\",3", "last"};
    size_t from = 0, len = sizeof text - 1;
    for (unsigned i = 0; i < PST_COUNT(want); i++) {
        size_t next, n = csv_line(text + from, len - from, &next);
        assert_int_equal(n, strlen(want[i]));
        assert_memory_equal(text + from, want[i], n);
        from += next;
    }
    assert_int_equal(from, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_guid),
        cmocka_unit_test(test_columns_left_out_are_null),
        cmocka_unit_test(test_quotes_and_strings),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
