/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_text_value.c - one text to one value: numbers against the C library bit for bit, every
 * type's bounds and refusals, times in every format, zones; and each through the reader's loops, in
 * all builds, which must say what text_value says.
 */
#include <errno.h>
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "load/text_value.h"
#include "load_text_kit.h"

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* ---- numbers ---- */

static int number(uint8_t type, const char *text, const struct text_scale *scale, void *out)
{
    struct text_how h;
    text_how_init(&h, type);
    if (scale)
        h.scale = *scale;
    size_t n = strlen(text);
    char *exact = malloc(n ? n : 1); /* nothing behind it may be read */
    memcpy(exact, text, n);
    int r = text_value(&h, exact, n, TEXT_NO_DAY, out);
    free(exact);
    return r;
}

static void same_double(const char *text)
{
    double want = strtod(text, NULL), got = 12345;
    float single = strtof(text, NULL), float_got = 12345;
    int r = number(PST_FLOAT, text, NULL, &got);
    if (isinf(want) ? r != TEXT_RANGE : (r || memcmp(&want, &got, 8)))
        fail_msg("%s: %d %.17g, want %.17g", text, r, got, want);
    r = number(PST_REAL, text, NULL, &float_got);
    if (isinf(single) ? r != TEXT_RANGE : (r || memcmp(&single, &float_got, 4)))
        fail_msg("%s: %d %.9g, want %.9g", text, r, (double)float_got, (double)single);
}

/* Through the reader's loops: a column of floats, reals and longs. */
static const struct column_def number_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"f", PST_FLOAT}, {"e", PST_REAL}};

struct seen {
    double f[4096];
    float e[4096];
    uint32_t n;
};
static bool see(void *arg, struct load_block *b, struct err *err)
{
    (void)err;
    struct seen *s = arg;
    memcpy(s->f + s->n, b->col[2], 8 * b->rows);
    memcpy(s->e + s->n, b->col[3], 4 * b->rows);
    s->n += b->rows;
    return true;
}

static void loops_agree(char (*text)[40], unsigned n, const char *members, bool scaled)
{
    struct schema s;
    struct kit k;
    static struct seen seen;
    static char file[4096 * 90];
    size_t at = 0;
    assert_true(schema_make(&s, 7, "t", false, number_cols, 4, &k.err));
    kit_open(&k, &s, members);
    for (unsigned i = 0; i < n; i++)
        at += (size_t)sprintf(file + at, "%s,%s\n", text[i], text[i]);
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
        if (!load_text_force(isa))
            continue;
        struct load_reader_config c = kit_config(&k);
        c.sink = (struct load_sink){see, &seen};
        seen.n = 0;
        struct load_text *t = load_text_open(&c, 0, &k.err);
        assert_true(load_text_feed(t, file, at, true, &k.err));
        load_text_close(t);
        if (k.rejects.n)
            fail_msg("%s", kit_rejects(&k));
        assert_int_equal(seen.n, n);
        for (unsigned i = 0; i < n; i++) {
            char with[80];
            snprintf(with, sizeof with, "%.39s%s", text[i], scaled ? "e-4" : "");
            double f = strtod(with, NULL);
            float e = strtof(with, NULL);
            if (memcmp(&f, &seen.f[i], 8))
                fail_msg("%s: %.17g, want %.17g", with, seen.f[i], f);
            if (memcmp(&e, &seen.e[i], 4))
                fail_msg("%s: %.9g, want %.9g", with, (double)seen.e[i], (double)e);
        }
    }
    kit_close(&k);
}

static void test_floats_as_the_c_library(void **state)
{
    (void)state;
    static const char *const hard[] = {"0",
                                       "-0",
                                       "0.0",
                                       "00000000000000000000000000000.1",
                                       "1",
                                       "9007199254740993",
                                       "9007199254740992.5",
                                       "9007199254740993.0000000000000000000000001",
                                       "2.2250738585072011e-308",
                                       "2.2250738585072012e-308",
                                       "2.2250738585072014e-308",
                                       "4.9406564584124654e-324",
                                       "2.4703282292062327e-324",
                                       "2.4703282292062328e-324",
                                       "1.7976931348623157e308",
                                       "1.7976931348623158e308",
                                       "1.7976931348623159e308",
                                       "1e309",
                                       "1e-400",
                                       "123456789012345678901234567890",
                                       "0.000000000000000000000000000012345",
                                       "7.2057594037927933e16",
                                       "5e-324",
                                       "1e23",
                                       "8.5e22",
                                       "9e22",
                                       "6.02214076e23",
                                       "1.00000005960464477539",
                                       "1.00000017881393432617187499",
                                       "1.000000178813934326171875",
                                       "1.00000017881393432617187501",
                                       "16777217",
                                       "16777219",
                                       "3.4028235e38",
                                       "3.4028235677973366e38",
                                       "3.4028235677973365e38",
                                       "1.17549435e-38",
                                       "1.4e-45",
                                       "7e-46",
                                       "0.1",
                                       "0.2",
                                       "0.3",
                                       "1e22",
                                       "1e-22",
                                       "123456789012345.67",
                                       "5.",
                                       ".5",
                                       "+1.5",
                                       "1E5",
                                       "1e+5",
                                       "18446744073709551615",
                                       "18446744073709551616",
                                       "99999999999999999999",
                                       "0.30000000000000004",
                                       "179769313486231580793728971405301e275"};
    for (unsigned i = 0; i < PST_COUNT(hard); i++)
        same_double(hard[i]);
    char text[128];
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t bits = rnd();
        double d;
        memcpy(&d, &bits, 8);
        switch (i % 6) {
        case 0: /* any double, shortest or not */
            if (!isfinite(d))
                continue;
            snprintf(text, sizeof text, "%.*e", (int)(rnd() % 20), d);
            break;
        case 1: /* prices */
            snprintf(text, sizeof text, "%llu.%0*llu", (unsigned long long)(rnd() % 100000),
                     1 + (int)(rnd() % 9), (unsigned long long)(rnd() % 10));
            break;
        case 2: /* 17 digits near 1 */
            snprintf(text, sizeof text, "%.*f", (int)(rnd() % 20), (double)(bits >> 11) * 0x1p-40);
            break;
        case 3: /* halfway between two doubles, and a little off */
            bits = (bits >> 2 & 0x000FFFFFFFFFFFFFull) | (uint64_t)(1000 + rnd() % 90) << 52;
            memcpy(&d, &bits, 8);
            snprintf(text, sizeof text, "%.60f", d);
            text[18 + rnd() % 30] = (char)('0' + rnd() % 10);
            break;
        case 4: /* halfway between two floats */
            bits = (bits & ~0x1FFFFFFFull) | 0x10000000;
            bits = (bits & 0x000FFFFFFFFFFFFFull) | (uint64_t)(900 + rnd() % 240) << 52;
            memcpy(&d, &bits, 8);
            snprintf(text, sizeof text, "%.*e", (int)(rnd() % 30), d);
            break;
        default:
            snprintf(text, sizeof text, "%s%llue%d", rnd() % 2 ? "-" : "", (unsigned long long)bits,
                     (int)(rnd() % 700) - 350);
        }
        same_double(text);
    }
    static char column[4096][40];
    static const char *const shapes[] = {"%llu",        "%llu.%llu", "-%llu.%02llu", "0.%08llu%llu",
                                         "%llu.%04llu", "%llu.",     ".%llu%llu"};
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 4096; i++) {
            uint64_t a = rnd() >> rnd() % 60, b = rnd() >> (20 + rnd() % 44);
            snprintf(column[i], sizeof column[i], shapes[rnd() % PST_COUNT(shapes)],
                     (unsigned long long)(a % (round < 4 ? 1000000 : UINT64_MAX)),
                     (unsigned long long)(b % (round < 4 ? 10000 : UINT64_MAX)));
        }
        const char *fixed =
            ",\"header\":false,\"constants\":{\"time\":\"2000-01-02\",\"sym\":\"X\"}";
        loops_agree(column, 4096, fixed, false);
        char members[200];
        snprintf(members, sizeof members, "%s,\"scale\":{\"f\":0.0001,\"e\":0.0001}", fixed);
        loops_agree(column, 4096, members, true);
    }
}

static void test_scale(void **state)
{
    (void)state;
    double v;
    static const struct {
        const char *text;
        struct text_scale s;
        double want;
    } cases[] = {
        {"1674100", {1, 10000}, 167.41},
        {"1", {1, 32}, 0.03125},
        {"10", {1, 3}, 10.0 / 3},
        {"0.1", {1, 3}, 0.1 / 3}, /* replaced below where it is not the nearest */
        {"1234.5", {100, 1}, 123450},
        {"0.0001", {1, 10000}, 1e-8},
        {"1e3", {5, 1000}, 5},
        {"-7", {-1, 1}, 7},
        {"123456789012345678", {1, 1000000000}, 123456789.012345678},
        {"9007199254740993", {1, 2}, 4503599627370496.5},
        {"0", {1, 7}, 0},
    };
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        if (i == 3)
            continue;
        assert_int_equal(number(PST_FLOAT, cases[i].text, &cases[i].s, &v), TEXT_OK);
        if (v != cases[i].want)
            fail_msg("%s: %.17g, want %.17g", cases[i].text, v, cases[i].want);
    }
    /* against 113 bits: text / d for odd d, rounded once */
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t top = rnd() >> (1 + rnd() % 60);
        int64_t d = (int64_t)(3 + rnd() % 100000);
        char text[40];
        snprintf(text, sizeof text, "%llu", (unsigned long long)top);
        struct text_scale s = {1, d};
        assert_int_equal(number(PST_FLOAT, text, &s, &v), TEXT_OK);
        if (v != (double)((__float128)top / d))
            fail_msg("%s / %lld: %.17g", text, (long long)d, v);
    }
    int64_t j;
    struct text_scale cents = {100, 1}, tenth = {1, 10}, no = {1, 1};
    assert_int_equal(number(PST_LONG, "191.25", &cents, &j), TEXT_OK);
    assert_int_equal(j, 19125);
    assert_int_equal(number(PST_LONG, "191.255", &cents, &j), TEXT_FRACTION);
    assert_int_equal(number(PST_LONG, "50", &tenth, &j), TEXT_OK);
    assert_int_equal(j, 5);
    assert_int_equal(number(PST_LONG, "100.00", &no, &j), TEXT_OK);
    assert_int_equal(j, 100);
    assert_int_equal(number(PST_LONG, "1e2", &no, &j), TEXT_OK);
    assert_int_equal(j, 100);
}

static void test_point_and_thousands(void **state)
{
    (void)state;
    struct text_how h;
    double v;
    text_how_init(&h, PST_FLOAT);
    h.thousands = ',';
    static const struct {
        const char *text;
        bool ok;
        double v;
    } english[] = {{"1,234.5", true, 1234.5},   {"1,234,567", true, 1234567},
                   {"123", true, 123},          {"1234.5", true, 1234.5},
                   {"1,5", false, 0},           {"12,34", false, 0},
                   {"1,2345", false, 0},        {",123", false, 0},
                   {"1,234,56", false, 0},      {"1.234,5", false, 0},
                   {"-1,234.5", true, -1234.5}, {"1234,567", false, 0}};
    for (unsigned i = 0; i < PST_COUNT(english); i++) {
        int r = text_value(&h, english[i].text, strlen(english[i].text), TEXT_NO_DAY, &v);
        if (!r != english[i].ok || (!r && v != english[i].v))
            fail_msg("%s: %d %.17g", english[i].text, r, v);
    }
    h.point = ',';
    h.thousands = '.';
    assert_int_equal(text_value(&h, "1.234.567,25", 12, TEXT_NO_DAY, &v), TEXT_OK);
    assert_true(v == 1234567.25);
    assert_int_equal(text_value(&h, "1.5", 3, TEXT_NO_DAY, &v), TEXT_NOT);
}

/* ---- every type, text_value and the loops ---- */

static const struct {
    uint8_t type;
    const char *text;
    int reason;
    uint64_t bits;
} values[] = {
    {PST_BOOLEAN, "1", TEXT_OK, 1},
    {PST_BOOLEAN, "0", TEXT_OK, 0},
    {PST_BOOLEAN, "t", TEXT_OK, 1},
    {PST_BOOLEAN, "FALSE", TEXT_OK, 0},
    {PST_BOOLEAN, "yes", TEXT_OK, 1},
    {PST_BOOLEAN, "2", TEXT_NOT, 0},
    {PST_BYTE, "0x1F", TEXT_OK, 31},
    {PST_BYTE, "255", TEXT_OK, 255},
    {PST_BYTE, "256", TEXT_RANGE, 0},
    {PST_BYTE, "-1", TEXT_RANGE, 0},
    {PST_BYTE, "0xfg", TEXT_NOT, 0},
    {PST_SHORT, "-32767", TEXT_OK, 0x8001},
    {PST_SHORT, "32767", TEXT_OK, 0x7FFF},
    {PST_SHORT, "-32768", TEXT_RANGE, 0},
    {PST_SHORT, "32768", TEXT_RANGE, 0},
    {PST_SHORT, "0.5", TEXT_FRACTION, 0},
    {PST_SHORT, "+5", TEXT_OK, 5},
    {PST_SHORT, "--5", TEXT_NOT, 0},
    {PST_SHORT, "-", TEXT_NOT, 0},
    {PST_INT, "2147483647", TEXT_OK, INT32_MAX},
    {PST_INT, "-2147483648", TEXT_RANGE, 0},
    {PST_INT, "00000000000000000000001", TEXT_OK, 1},
    {PST_LONG, "9223372036854775807", TEXT_OK, INT64_MAX},
    {PST_LONG, "-9223372036854775807", TEXT_OK, 0x8000000000000001ull},
    {PST_LONG, "-9223372036854775808", TEXT_RANGE, 0},
    {PST_LONG, "9223372036854775808", TEXT_RANGE, 0},
    {PST_LONG, "12345678", TEXT_OK, 12345678},
    {PST_LONG, "123456789012345678", TEXT_OK, 123456789012345678},
    {PST_LONG, "1234567890123456789", TEXT_OK, 1234567890123456789},
    {PST_LONG, "12a", TEXT_NOT, 0},
    {PST_LONG, "1 2", TEXT_NOT, 0},
    {PST_FLOAT, "nan", TEXT_OK, PST_NULL_FLOAT_BITS},
    {PST_FLOAT, "-Inf", TEXT_OK, 0xFFF0000000000000ull},
    {PST_FLOAT, "infinity", TEXT_OK, 0x7FF0000000000000ull},
    {PST_FLOAT, "1.2.3", TEXT_NOT, 0},
    {PST_FLOAT, ".", TEXT_NOT, 0},
    {PST_FLOAT, "-.", TEXT_NOT, 0},
    {PST_FLOAT, "1e", TEXT_NOT, 0},
    {PST_FLOAT, "1.5x", TEXT_NOT, 0},
    {PST_FLOAT, "0x10", TEXT_NOT, 0},
    {PST_FLOAT, "1/2", TEXT_NOT, 0},
    {PST_FLOAT, "1:2", TEXT_NOT, 0},
    {PST_REAL, "1e39", TEXT_RANGE, 0},
    {PST_REAL, "nan", TEXT_OK, PST_NULL_REAL_BITS},
    {PST_CHAR, "A", TEXT_OK, 'A'},
    {PST_CHAR, "AB", TEXT_NOT, 0},
    {PST_MONTH, "2000-02", TEXT_OK, 1},
    {PST_MONTH, "1999.12", TEXT_OK, 0xFFFFFFFF},
    {PST_MONTH, "2000-13", TEXT_DATE, 0},
    {PST_MONTH, "2000-03-31", TEXT_OK, 2},
    {PST_DATE, "2000-01-02", TEXT_OK, 1},
    {PST_DATE, "20000102", TEXT_OK, 1},
    {PST_DATE, "2000/01/02", TEXT_OK, 1},
    {PST_DATE, "2-Jan-2000", TEXT_OK, 1},
    {PST_DATE, "02 JAN 00", TEXT_OK, 1},
    {PST_DATE, "2JAN2000", TEXT_OK, 1},
    {PST_DATE, "2000-02-30", TEXT_DATE, 0},
    {PST_DATE, "2000-2-3", TEXT_NOT, 0},
    {PST_DATE, "02/01/2000", TEXT_ORDER, 0},
    {PST_DATE, "31.12.99", TEXT_ORDER, 0},
    {PST_DATE, "2000-01/02", TEXT_NOT, 0},
    {PST_DATE, "2000-01-02T03:04:05", TEXT_OK, 1},
    {PST_TIMESPAN, "1D00:00:00.000000001", TEXT_OK, 86400000000001},
    {PST_TIMESPAN, "-00:00:01", TEXT_OK, (uint64_t)-1000000000},
    {PST_TIMESPAN, "99:00", TEXT_OK, 356400000000000},
    {PST_TIMESPAN, "00:60", TEXT_CLOCK, 0},
    {PST_TIMESPAN, "09:30:00.123456789", TEXT_OK, 34200123456789},
    {PST_TIMESPAN, "09:30:00.1234567890", TEXT_NANOS, 0},
    {PST_TIMESPAN, "34200", TEXT_EPOCH, 0},
    {PST_MINUTE, "09:30", TEXT_OK, 570},
    {PST_MINUTE, "09:30:30", TEXT_FINER, 0},
    {PST_SECOND, "00:01:40", TEXT_OK, 100},
    {PST_SECOND, "-00:01:40", TEXT_OK, (uint32_t)-100},
    {PST_SECOND, "00:01:40.5", TEXT_FINER, 0},
    {PST_TIME, "00:00:01.5", TEXT_OK, 1500},
    {PST_TIME, "00:00:01.0005", TEXT_FINER, 0},
    {PST_TIME, "9:30:00 PM", TEXT_OK, 77400000},
};

static void test_every_type(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(values); i++) {
        uint8_t out[16] = {0};
        int r = number(values[i].type, values[i].text, NULL, out);
        if (r != values[i].reason || (!r && le64(out) != values[i].bits))
            fail_msg("%s '%s': %d %llx", type_name(values[i].type), values[i].text, r,
                     (unsigned long long)le64(out));
        /* a column of it: quoted, plain, twice over */
        const struct column_def cols[] = {
            {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", values[i].type}};
        struct schema s;
        struct kit k;
        struct err err;
        char file[300], want[600] = "", sentence[160];
        assert_true(schema_make(&s, 7, "t", false, cols, 3, &err));
        kit_open(&k, &s, ",\"header\":false,\"constants\":{\"time\":\"2000-01-02\",\"sym\":\"X\"}");
        snprintf(file, sizeof file, "%s\n\"%s\"\n%s\n", values[i].text, values[i].text,
                 values[i].text);
        for (unsigned row = 0; row < 3 && r; row++)
            snprintf(want + strlen(want), sizeof want - strlen(want), "%u v: %s <%s%s%s>\n",
                     row + 1, text_sentence(r, values[i].type, sentence), row == 1 ? "\"" : "",
                     values[i].text, row == 1 ? "\"" : "");
        for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
            if (!load_text_force(isa))
                continue;
            assert_true(kit_read(&k, file, strlen(file), 0, 0, 0, NULL));
            assert_string_equal(kit_rejects(&k), want);
            assert_int_equal(k.nrows, r ? 0 : 3);
            if (r)
                continue;
            char *line = strdup(kit_rows(&k)), *end = strchr(line, '\n');
            *end = 0;
            char thrice[600];
            snprintf(thrice, sizeof thrice, "%s\n%s\n%s\n", line, line, line);
            assert_string_equal(kit_rows(&k), thrice);
            free(line);
        }
        kit_close(&k);
    }
    uint8_t guid[16];
    assert_int_equal(number(PST_GUID, "123e4567-E89b-12d3-a456-4266141740ff", NULL, guid), TEXT_OK);
    assert_int_equal(guid[0], 0x12);
    assert_int_equal(guid[15], 0xff);
    assert_int_equal(number(PST_GUID, "123e4567-E89b-12d3-a456-4266141740f", NULL, guid), TEXT_NOT);
}

/* ---- times ---- */

struct clock_reading {
    int y, month, d, h, m, s, ns;
};
#define T(...)                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
static int64_t instant(const struct clock_reading *t)
{
    if (!t->y)
        return INT64_MIN; /* a text that is refused */
    return (int64_t)civil_days(t->y, t->month, t->d) * PST_DAY_NS +
           ((int64_t)t->h * 3600 + t->m * 60 + t->s) * PST_SECOND_NS + t->ns;
}

static const struct {
    const char *time, *zone, *date_format; /* NULL: not said */
    const char *text;
    int reason;
    struct clock_reading want;
} times[] = {
    {0, 0, 0, "2024-08-08T09:30:00.123456789", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456789)},
    {0, 0, 0, "2024-08-08 09:30:00", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, 0, 0, "2024-08-08T09:30", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, 0, 0, "2024-08-08", TEXT_OK, T(2024, 8, 8, 0, 0, 0, 0)},
    {0, 0, 0, "2024-08-08T09:30:00Z", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, 0, 0, "2024-08-08T09:30:00+02:00", TEXT_OK, T(2024, 8, 8, 7, 30, 0, 0)},
    {0, 0, 0, "2024-08-08T09:30:00.5 -0430", TEXT_OK, T(2024, 8, 8, 14, 0, 0, 500000000)},
    {0, 0, 0, "2024-08-08T00:30:00+02", TEXT_OK, T(2024, 8, 7, 22, 30, 0, 0)},
    {0, 0, 0, "2024-08-08T09:30:00,25", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 250000000)},
    {0, 0, 0, "20240808", TEXT_OK, T(2024, 8, 8, 0, 0, 0, 0)},
    {0, 0, 0, "20140508 00:00:02.0090", TEXT_OK, T(2014, 5, 8, 0, 0, 2, 9000000)},
    {0, 0, 0, "20140508-00:00:02.009", TEXT_OK, T(2014, 5, 8, 0, 0, 2, 9000000)},
    {0, 0, 0, "20140508T093000.5", TEXT_OK, T(2014, 5, 8, 9, 30, 0, 500000000)},
    {0, 0, 0, "20140508 093000123", TEXT_OK, T(2014, 5, 8, 9, 30, 0, 123000000)},
    {0, 0, 0, "20140508093000", TEXT_OK, T(2014, 5, 8, 9, 30, 0, 0)},
    {0, 0, 0, "20140508093000123", TEXT_OK, T(2014, 5, 8, 9, 30, 0, 123000000)},
    {0, 0, 0, "2024.08.08D09:30:00.000000001", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 1)},
    {0, 0, 0, "2024.08.08", TEXT_OK, T(2024, 8, 8, 0, 0, 0, 0)},
    {0, 0, 0, "8-Aug-2024 9:30:00 PM", TEXT_OK, T(2024, 8, 8, 21, 30, 0, 0)},
    {0, 0, 0, "1723109400", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, 0, 0, "1723109400.123456789", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456789)},
    {0, 0, 0, "1723109400123", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123000000)},
    {0, 0, 0, "1723109400123.5", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123500000)},
    {0, 0, 0, "1723109400123456", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456000)},
    {0, 0, 0, "1723109400123456789", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456789)},
    {0, 0, 0, "946684799", TEXT_OK, T(1999, 12, 31, 23, 59, 59, 0)},
    {0, 0, 0, "17231094001", TEXT_EPOCH, {0}},
    {0, 0, 0, "1", TEXT_EPOCH, {0}},
    {0, 0, 0, "09:30:00", TEXT_DATELESS, {0}},
    {0, 0, 0, "2024-08-08T24:00:00", TEXT_CLOCK, {0}},
    {0, 0, 0, "2024-08-08T09:60:00", TEXT_CLOCK, {0}},
    {0, 0, 0, "2024-08-08T09:30:60", TEXT_CLOCK, {0}},
    {0, 0, 0, "2024-08-08T", TEXT_NOT, {0}},
    {0, 0, 0, "2024-08-08x09:30:00", TEXT_NOT, {0}},
    {0, 0, 0, "2024-08-08T09:30:00.", TEXT_NOT, {0}},
    {0, 0, 0, "2024-08-08T09:30:00.1234567890", TEXT_NANOS, {0}},
    {0, 0, 0, "2024-08-08T09:30:00.12345678x", TEXT_NOT, {0}},
    {0, 0, 0, "2024-08-08T0a:30:00.5", TEXT_NOT, {0}},
    {0, 0, 0, "2023-02-29", TEXT_DATE, {0}},
    {0, 0, 0, "9999-12-31", TEXT_SPAN, {0}},
    {0, 0, 0, "1677-09-21", TEXT_SPAN, {0}},
    {0, 0, 0, "08/05/2024", TEXT_ORDER, {0}},
    {0, 0, 0, "13/05/2024", TEXT_ORDER, {0}},
    {0, 0, "dmy", "08/05/2024 09:30:00", TEXT_OK, T(2024, 5, 8, 9, 30, 0, 0)},
    {0, 0, "mdy", "08/05/2024 09:30:00", TEXT_OK, T(2024, 8, 5, 9, 30, 0, 0)},
    {0, 0, "mdy", "8/5/2024 9:30:00 AM", TEXT_OK, T(2024, 8, 5, 9, 30, 0, 0)},
    {0, 0, "mdy", "8/5/24 12:00:00 AM", TEXT_OK, T(2024, 8, 5, 0, 0, 0, 0)},
    {0, 0, "dmy", "8.5.69", TEXT_OK, T(1969, 5, 8, 0, 0, 0, 0)},
    {0, 0, "ymd", "24/08/05", TEXT_OK, T(2024, 8, 5, 0, 0, 0, 0)},
    {0, 0, "dmy", "2024-08-05", TEXT_OK, T(2024, 8, 5, 0, 0, 0, 0)},
    {0, 0, "mdy", "13/05/2024", TEXT_DATE, {0}},
    {"iso", 0, 0, "1723109400", TEXT_NOT, {0}},
    {"epoch_s", 0, 0, "5", TEXT_OK, T(1970, 1, 1, 0, 0, 5, 0)},
    {"epoch_s", 0, 0, "-5", TEXT_OK, T(1969, 12, 31, 23, 59, 55, 0)},
    {"epoch_s", 0, 0, "-0.5", TEXT_OK, T(1969, 12, 31, 23, 59, 59, 500000000)},
    {"epoch_s", 0, 0, "1723109400.0000000001", TEXT_NANOS, {0}},
    {"epoch_s", 0, 0, "99999999999999", TEXT_SPAN, {0}},
    {"epoch_ms", 0, 0, "1723109400123", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123000000)},
    {"epoch_us", 0, 0, "1723109400123456", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456000)},
    {"epoch_ns", 0, 0, "1723109400123456789", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123456789)},
    {"epoch_ns", 0, 0, "0.5", TEXT_NANOS, {0}},
    {"epoch_ns", 0, 0, "x", TEXT_NOT, {0}},
    {"kdb_ns", 0, 0, "1", TEXT_OK, T(2000, 1, 1, 0, 0, 0, 1)},
    {"kdb_ns", 0, 0, "-1", TEXT_OK, T(1999, 12, 31, 23, 59, 59, 999999999)},
    {"%Y%m%d:%H%M%S%f", 0, 0, "20240808:0930001234", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 123400000)},
    {"%d %b %y %I.%M %p", 0, 0, "08 aug 24 12.30 pm", TEXT_OK, T(2024, 8, 8, 12, 30, 0, 0)},
    {"%Y-%jT%H:%M:%S%Z", 0, 0, "2024-221T09:30:00+01:00", TEXT_OK, T(2024, 8, 8, 8, 30, 0, 0)},
    {"%s[.%f][:]", 0, 0, "1618677816.8434298:", TEXT_OK, T(2021, 4, 17, 16, 43, 36, 843429800)},
    {"%s[.%f][:]", 0, 0, "1618677816", TEXT_OK, T(2021, 4, 17, 16, 43, 36, 0)},
    {"%Y/%m/%d%%", 0, 0, "2024/8/8%", TEXT_OK, T(2024, 8, 8, 0, 0, 0, 0)},
    {"%Y-%m-%d[ %H:%M[:%S[.%f]]]", 0, 0, "2024-08-08 09:30:01.5", TEXT_OK,
     T(2024, 8, 8, 9, 30, 1, 500000000)},
    {"%Y-%m-%d[ %H:%M[:%S[.%f]]]", 0, 0, "2024-08-08 09:30", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {"%Y-%m-%d[ %H:%M[:%S[.%f]]]", 0, 0, "2024-08-08", TEXT_OK, T(2024, 8, 8, 0, 0, 0, 0)},
    {"%Y-%m-%d[ %H:%M[:%S[.%f]]]", 0, 0, "2024-08-08 09", TEXT_PATTERN, {0}},
    {"%[%Y%]", 0, 0, "[2024]", TEXT_OK, T(2024, 1, 1, 0, 0, 0, 0)},
    {"%Y/%m/%d", 0, 0, "2024/8/8 ", TEXT_PATTERN, {0}},
    {"%Y/%m/%d", 0, 0, "2024/13/8", TEXT_DATE, {0}},
    {"%H:%M", 0, 0, "25:00", TEXT_CLOCK, {0}},
    {"%H:%M", 0, 0, "09:30", TEXT_DATELESS, {0}},
    /* zones: US clocks went forward on 2024-03-10 at 02:00, back on 2024-11-03 at 02:00 */
    {0, "America/New_York", 0, "2024-08-08T09:30:00", TEXT_OK, T(2024, 8, 8, 13, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-12-08T09:30:00", TEXT_OK, T(2024, 12, 8, 14, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-08-08T09:30:00Z", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-08-08T09:30:00+01:00", TEXT_OK, T(2024, 8, 8, 8, 30, 0, 0)},
    {0, "America/New_York", 0, "1723109400", TEXT_OK, T(2024, 8, 8, 9, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-03-10T01:59:59", TEXT_OK, T(2024, 3, 10, 6, 59, 59, 0)},
    {0, "America/New_York", 0, "2024-03-10T02:30:00", TEXT_OK, T(2024, 3, 10, 7, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-03-10T03:30:00", TEXT_OK, T(2024, 3, 10, 7, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-11-03T00:30:00", TEXT_OK, T(2024, 11, 3, 4, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-11-03T01:30:00", TEXT_OK, T(2024, 11, 3, 5, 30, 0, 0)},
    {0, "America/New_York", 0, "2024-11-03T02:00:00", TEXT_OK, T(2024, 11, 3, 7, 0, 0, 0)},
    {0, "America/New_York", 0, "2024-11-03T23:00:00.5", TEXT_OK,
     T(2024, 11, 4, 4, 0, 0, 500000000)},
};

static void times_kit(struct kit *k, unsigned i, const char *more)
{
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    struct schema s;
    struct err err;
    char members[400] = ",\"header\":false,\"constants\":{\"sym\":\"X\"},\"separator\":\"|\"";
    size_t n = strlen(members);
    if (times[i].time)
        n += (size_t)snprintf(members + n, sizeof members - n, ",\"time\":\"%s\"", times[i].time);
    if (times[i].zone)
        n += (size_t)snprintf(members + n, sizeof members - n, ",\"zone\":\"%s\"", times[i].zone);
    if (times[i].date_format)
        n += (size_t)snprintf(members + n, sizeof members - n, ",\"date_format\":\"%s\"",
                              times[i].date_format);
    snprintf(members + n, sizeof members - n, "%s", more);
    assert_true(schema_make(&s, 7, "t", false, cols, 2, &err));
    kit_open(k, &s, members);
}

/* Two lists of lines are the same; file: what they were made of. */
static void same_lines(const char *got, const char *want, const char *file)
{
    unsigned line = 1;
    while (*got && *want) {
        size_t g = strcspn(got, "\n"), w = strcspn(want, "\n");
        if (g != w || memcmp(got, want, g))
            fail_msg("line %u: %.*s, want %.*s; of %.300s", line, (int)g, got, (int)w, want, file);
        got += g + 1;
        want += w + 1;
        file = strchr(file, '\n') + 1;
        line++;
    }
    assert_string_equal(got, want);
}

static bool keep_times(void *arg, struct load_block *b, struct err *err)
{
    (void)err;
    struct kit_text *t = arg;
    for (uint32_t r = 0; r < b->rows; r++)
        kit_add(t, "%lld\n", (long long)((int64_t *)b->col[0])[r]);
    return true;
}

static void test_times(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(times); i++) {
        struct kit k;
        times_kit(&k, i, "");
        struct text_how h;
        text_how_init(&h, PST_TIMESTAMP);
        h.time = k.recipe->rule[0].time;
        h.pattern = k.recipe->rule[0].pattern;
        h.zone = k.recipe->tz;
        h.date_format = (uint8_t)k.recipe->date_format;
        int64_t got = 0;
        size_t n = strlen(times[i].text);
        char *exact = malloc(n);
        memcpy(exact, times[i].text, n);
        int r = text_value(&h, exact, n, TEXT_NO_DAY, &got);
        free(exact);
        int64_t want = instant(&times[i].want);
        if (r != times[i].reason || (!r && got != want))
            fail_msg("%u '%s': %d %lld, want %d %lld", i, times[i].text, r, (long long)got,
                     times[i].reason, (long long)want);
        kit_close(&k);
    }
}

/* Columns of all texts that one recipe reads, in random order: what the loops keep of one row must
 * not show in the next. */
static void test_times_in_columns(void **state)
{
    (void)state;
    for (unsigned first = 0; first < PST_COUNT(times);) {
        unsigned last = first; /* rows of the table with the same recipe stand together */
        while (last < PST_COUNT(times) && times[last].time == times[first].time &&
               times[last].zone == times[first].zone &&
               times[last].date_format == times[first].date_format)
            last++;
        struct kit k;
        times_kit(&k, first, "");
        struct kit_text file = {0}, want = {0}, bad = {0}, got = {0};
        unsigned line = 0;
        for (unsigned i = 0; i < 3000; i++) {
            unsigned a = first + (unsigned)(rnd() % (last - first)), many = 1 + rnd() % 3;
            for (unsigned m = 0; m < many; m++) {
                bool quoted = rnd() % 5 == 0;
                char sentence[160];
                kit_add(&file, "%s%s%s\n", quoted ? "\"" : "", times[a].text, quoted ? "\"" : "");
                line++;
                /* a row without a date in 2000 ... 2179 is bad for another reason */
                int64_t ns = instant(&times[a].want);
                bool dated = ns >= 0;
                if (!times[a].reason && dated)
                    kit_add(&want, "%lld\n", (long long)ns);
                else
                    kit_add(&bad, "%u time: %s <%s%s%s>\n", line,
                            text_sentence(times[a].reason ? times[a].reason : TEXT_DAY,
                                          PST_TIMESTAMP, sentence),
                            quoted ? "\"" : "", times[a].text, quoted ? "\"" : "");
            }
        }
        for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
            if (!load_text_force(isa))
                continue;
            struct load_reader_config c = kit_config(&k);
            c.sink = (struct load_sink){keep_times, &got};
            kit_clear(&k);
            got.n = 0;
            struct load_text *t = load_text_open(&c, 0, &k.err);
            if (!load_text_feed(t, file.p, file.n, true, &k.err))
                fail_msg("%s", k.err.text);
            load_text_close(t);
            same_lines(got.p ? got.p : "", want.p ? want.p : "", file.p);
            assert_string_equal(kit_rejects(&k), bad.p ? bad.p : "");
        }
        free(file.p);
        free(want.p);
        free(bad.p);
        free(got.p);
        kit_close(&k);
        first = last;
    }
}

/* Times of day of a date that stands elsewhere, by the clocks of a zone, on days with 23, 24 and 25
 * hours; against text_value. */
static void test_times_of_day(void **state)
{
    (void)state;
    static const char *const formats[] = {"clock", "day_s", "day_ms", "day_us", "day_ns"};
    static const int64_t unit[] = {0, 1000000000, 1000000, 1000, 1};
    static const char *const days[] = {"2024.03.10", "2024.08.08", "2024.11.03"};
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    struct schema s;
    struct err err;
    assert_true(schema_make(&s, 7, "t", false, cols, 2, &err));
    for (unsigned f = 0; f < PST_COUNT(formats); f++) {
        struct kit k;
        char members[400];
        snprintf(members, sizeof members,
                 ",\"constants\":{\"sym\":\"X\"},\"date\":\"column d\",\"columns\":{\"d\":\"-\","
                 "\"t\":\"time\"},\"time\":\"%s\",\"zone\":\"America/New_York\"",
                 formats[f]);
        kit_open(&k, &s, members);
        struct text_how h;
        text_how_init(&h, PST_TIMESTAMP);
        h.time = k.recipe->rule[0].time;
        h.zone = k.recipe->tz;
        struct kit_text file = {0}, want = {0}, got = {0};
        kit_add(&file, "d,t\n");
        unsigned day = 0;
        for (unsigned i = 0; i < 4000; i++) {
            char text[40];
            int64_t ns = (int64_t)(rnd() % 86400000000000ull), v;
            if (rnd() % 20 == 0)
                day = rnd() % PST_COUNT(days);
            if (f == 0)
                snprintf(text, sizeof text, "%02d:%02d:%02d.%06d", (int)(ns / 3600000000000),
                         (int)(ns / 60000000000 % 60), (int)(ns / 1000000000 % 60),
                         (int)(ns / 1000 % 1000000));
            else
                snprintf(text, sizeof text, "%lld", (long long)(ns / unit[f]));
            kit_add(&file, "%s,%s\n", days[day], text);
            int32_t d = 0;
            assert_true(civil_parse(days[day], &d));
            assert_int_equal(text_value(&h, text, strlen(text), d, &v), TEXT_OK);
            /* once more by hand */
            int64_t local = (int64_t)d * PST_DAY_S +
                            (f ? ns / unit[f] * unit[f] : ns / 1000 * 1000) / PST_SECOND_NS;
            int64_t utc = tzone_to_utc(h.zone, local + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S;
            assert_int_equal(civil_floor_div(v, PST_SECOND_NS), utc);
            kit_add(&want, "%lld\n", (long long)v);
        }
        for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
            if (!load_text_force(isa))
                continue;
            struct load_reader_config c = kit_config(&k);
            c.sink = (struct load_sink){keep_times, &got};
            kit_clear(&k);
            got.n = 0;
            struct load_text *t = load_text_open(&c, 0, &k.err);
            if (!load_text_feed(t, file.p, file.n, true, &k.err))
                fail_msg("%s", k.err.text);
            load_text_close(t);
            assert_string_equal(kit_rejects(&k), "");
            same_lines(got.p, want.p, strchr(file.p, '\n') + 1);
        }
        free(file.p);
        free(want.p);
        free(got.p);
        kit_close(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_as_the_c_library),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_point_and_thousands),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_times_in_columns),
        cmocka_unit_test(test_times_of_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
