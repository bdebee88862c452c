/* SPDX-License-Identifier: Apache-2.0 */
/* Literals of every type both ways, and what operators mean, against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <math.h>
#include "storage/query/arena.h"
#include "storage/query/literal.h"
#include "storage/query/query.h"

static struct arena *arena;

static struct scalar of(uint8_t type, const char *text)
{
    struct scalar v = {.type = type, .null = true};
    if (text && !literal_parse(type, text, strlen(text), &v)) {
        fail_msg("'%s' is refused", text);
    }
    return v;
}
static const char *text_of(const struct scalar *v)
{
    static char buf[LITERAL_TEXT + 300];
    if (v->null) {
        return "NULL";
    }
    if (v->type == PST_STRING || v->type == PST_SYMBOL) {
        snprintf(buf, sizeof buf, "%.*s", (int)v->text.len, v->text.p);
    } else {
        literal_text(v, buf);
    }
    return buf;
}

/* ---- literals ---- */

static void both_ways(uint8_t type, const char *in, const char *out)
{
    struct scalar v = of(type, in), again;
    if (strcmp(text_of(&v), out) != 0) {
        fail_msg("'%s' is read as %s, not %s", in, text_of(&v), out);
    }
    if (!v.null) { /* what is printed reads back */
        again = of(type, out);
        assert_int_equal(scalar_compare(&v, &again), 0);
    }
}
static void malformed(uint8_t type, const char *in)
{
    struct scalar v;
    if (literal_parse(type, in, strlen(in), &v)) {
        fail_msg("'%s' is read as %s", in, text_of(&v));
    }
}

static void test_literals(void **state)
{
    (void)state;
    both_ways(PST_BOOLEAN, "yes", "true");
    both_ways(PST_BOOLEAN, "0b", "false");
    both_ways(PST_LONG, " 42 ", "42");
    both_ways(PST_LONG, "-9223372036854775807", "-9223372036854775807");
    both_ways(PST_LONG, "0W", "9223372036854775807");
    both_ways(PST_LONG, "0N", "NULL");
    both_ways(PST_INT, "-0W", "-2147483647");
    both_ways(PST_SHORT, "32767", "32767");
    both_ways(PST_BYTE, "0xfF", "0xff");
    both_ways(PST_BYTE, "7", "0x07");
    both_ways(PST_FLOAT, "1e3", "1000");
    both_ways(PST_FLOAT, "0.1", "0.1");
    both_ways(PST_FLOAT, "-inf", "-0w");
    both_ways(PST_FLOAT, "nan", "NULL");
    both_ways(PST_REAL, "0.1", "0.1");
    both_ways(PST_CHAR, "x", "x");
    both_ways(PST_CHAR, " ", "NULL");
    both_ways(PST_SYMBOL, "", "NULL");
    both_ways(PST_SYMBOL, " a b", " a b");
    both_ways(PST_GUID, "8C680A015A495AAB5A65D4BFDDB6A661", "8c680a01-5a49-5aab-5a65-d4bfddb6a661");
    both_ways(PST_GUID, "00000000-0000-0000-0000-000000000000", "NULL");
    both_ways(PST_DATE, "2024-1-2", "2024.01.02");
    both_ways(PST_DATE, "20240229", "2024.02.29");
    both_ways(PST_MONTH, "2024-01", "2024.01");
    both_ways(PST_MONTH, "1999.12m", "1999.12");
    both_ways(PST_TIMESTAMP, "2024.01.02D09:30:00.5", "2024.01.02D09:30:00.500000000");
    both_ways(PST_TIMESTAMP, "2024-01-02 09:30+05:30", "2024.01.02D04:00:00.000000000");
    both_ways(PST_TIMESTAMP, "2024-01-02T09:30:00Z", "2024.01.02D09:30:00.000000000");
    both_ways(PST_TIMESTAMP, "1970/01/01", "1970.01.01D00:00:00.000000000");
    both_ways(PST_TIMESPAN, "-1D02:03", "-1D02:03:00.000000000");
    both_ways(PST_TIMESPAN, "1 day 2 hours, 3.5 s", "1D02:00:03.500000000");
    both_ways(PST_TIMESPAN, "-90 seconds", "-0D00:01:30.000000000");
    both_ways(PST_TIMESPAN, "09:30", "0D09:30:00.000000000");
    both_ways(PST_TIME, "09:30:00.1239", "09:30:00.123");
    both_ways(PST_SECOND, "-00:00:01", "-00:00:01");
    both_ways(PST_MINUTE, "25:00", "25:00");
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        const char *text;
    } bad[] = {{PST_LONG, "9223372036854775808"},
               {PST_LONG, "1.5"},
               {PST_LONG, "x"},
               {PST_LONG, "- 1"},
               {PST_INT, "2147483648"},
               {PST_SHORT, "-32768"},
               {PST_BYTE, "256"},
               {PST_BYTE, "0x100"},
               {PST_BYTE, "-1"},
               {PST_FLOAT, "1.5x"},
               {PST_FLOAT, "0x10"},
               {PST_FLOAT, "."},
               {PST_BOOLEAN, "maybe"},
               {PST_CHAR, "xy"},
               {PST_DATE, "2023.02.29"},
               {PST_DATE, "2024.01.02x"},
               {PST_DATE, "24.01.02"},
               {PST_MONTH, "2024.13"},
               {PST_TIMESTAMP, "2024.01.02D25"},
               {PST_TIMESTAMP, "2024.01.02 09:60"},
               {PST_TIMESTAMP, "3024.01.02"},
               {PST_TIMESPAN, "5 parsecs"},
               {PST_TIMESPAN, "1 month"},
               {PST_TIMESPAN, "5"},
               {PST_TIME, "9"},
               {PST_TIME, "09:30:61"},
               {PST_GUID, "8c680a01"},
               {PST_GUID, "8c680a01-5a49-5aab-5a65-d4bfddb6a66x"}};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        malformed(bad[i].type, bad[i].text);
    }
    int64_t ns, months;
    assert_true(literal_interval("1 year -2 months", 16, &ns, &months));
    assert_int_equal(months, 10);
    assert_false(literal_interval("", 0, &ns, &months));
    assert_false(literal_interval("99999999999 weeks", 17, &ns, &months));
}

/* ---- operators ---- */

static void gives(unsigned op, uint8_t type, const char *want, unsigned n, const struct scalar *arg)
{
    struct plan_expr *none[4] = {0}, first = {.type = n ? arg[0].type : 0};
    none[0] = &first;
    struct plan_expr x = {
        .op = (uint8_t)op, .type = type, .nargs = (uint16_t)n, .arg = none, .pos = 3};
    struct scalar out;
    struct query_error e = {.position = -1};
    bool ok = scalar_apply(&x, arg, arena, &out, &e);
    const char *got = ok ? text_of(&out) : "error";
    if (strcmp(got, want) != 0) {
        fail_msg("%s: %s, not %s (%s)", plan_op_name(op), got, want, e.text);
    }
    assert_true(ok || (e.position == 3 && e.code == QUERY_VALUE));
}
static void two(unsigned op, uint8_t type, const char *a, const char *b, const char *want)
{
    uint8_t out = op >= PLAN_EQ && op <= PLAN_DISTINCT_FROM ? PST_BOOLEAN : type;
    gives(op, out, want, 2, (struct scalar[]){of(type, a), of(type, b)});
}

static void test_arithmetic(void **state)
{
    (void)state;
    two(PLAN_ADD, PST_LONG, "2", "3", "5");
    two(PLAN_ADD, PST_LONG, "9223372036854775807", "1", "error");
    two(PLAN_SUB, PST_LONG, "-9223372036854775807", "1", "error"); /* would be the null */
    two(PLAN_MUL, PST_LONG, "4611686018427387904", "2", "error");
    two(PLAN_MUL, PST_LONG, NULL, "2", "NULL");
    two(PLAN_DIV, PST_LONG, "-7", "2", "-3");
    two(PLAN_DIV, PST_LONG, "7", "0", "NULL");
    two(PLAN_DIV, PST_LONG, "-9223372036854775807", "-1", "9223372036854775807");
    two(PLAN_MOD, PST_LONG, "-7", "3", "-1");
    two(PLAN_MOD, PST_LONG, "7", "-1", "0");
    two(PLAN_DIV, PST_FLOAT, "1", "0", "0w");
    two(PLAN_DIV, PST_FLOAT, "0", "0", "NULL");
    two(PLAN_SUB, PST_FLOAT, "0w", "0w", "NULL");
    two(PLAN_MOD, PST_FLOAT, "-5.5", "2", "-1.5");
    gives(PLAN_ROUND, PST_FLOAT, "-3", 1, (struct scalar[]){of(PST_FLOAT, "-2.5")});
    gives(PLAN_ROUND, PST_FLOAT, "1.24", 2,
          (struct scalar[]){of(PST_FLOAT, "1.236"), of(PST_LONG, "2")});
    gives(PLAN_SQRT, PST_FLOAT, "NULL", 1, (struct scalar[]){of(PST_FLOAT, "-1")});
    gives(PLAN_LN, PST_FLOAT, "-0w", 1, (struct scalar[]){of(PST_FLOAT, "0")});
}

static void test_compare(void **state)
{
    (void)state;
    two(PLAN_EQ, PST_FLOAT, "0", "-0", "true");
    two(PLAN_LT, PST_SYMBOL, "A", "AB", "true");
    two(PLAN_LT, PST_STRING, "\xc3\xa4", "z", "false"); /* bytes */
    two(PLAN_GE, PST_DATE, "2024.01.02", NULL, "NULL");
    two(PLAN_DISTINCT_FROM, PST_LONG, NULL, NULL, "false");
    two(PLAN_DISTINCT_FROM, PST_LONG, NULL, "1", "true");
    struct scalar t = of(PST_BOOLEAN, "true"), f = of(PST_BOOLEAN, "false"),
                  n = of(PST_BOOLEAN, NULL);
    gives(PLAN_AND, PST_BOOLEAN, "false", 3, (struct scalar[]){t, n, f});
    gives(PLAN_AND, PST_BOOLEAN, "NULL", 2, (struct scalar[]){t, n});
    gives(PLAN_OR, PST_BOOLEAN, "true", 3, (struct scalar[]){f, n, t});
    gives(PLAN_OR, PST_BOOLEAN, "NULL", 2, (struct scalar[]){f, n});
    gives(PLAN_NOT, PST_BOOLEAN, "NULL", 1, &n);
    gives(PLAN_IS_TRUE, PST_BOOLEAN, "false", 1, &n);
    gives(PLAN_IS_FALSE, PST_BOOLEAN, "false", 1, &n);
    gives(PLAN_CASE, PST_LONG, "2", 3, (struct scalar[]){n, of(PST_LONG, "1"), of(PST_LONG, "2")});
    gives(PLAN_GREATEST, PST_LONG, "2", 3,
          (struct scalar[]){of(PST_LONG, NULL), of(PST_LONG, "2"), of(PST_LONG, "1")});
}

static bool like(const char *text, const char *pattern, int escape, bool fold)
{
    struct plan_text t = {text, (uint32_t)strlen(text)}, p = {pattern, (uint32_t)strlen(pattern)};
    return scalar_like(t, p, escape, fold);
}

static void test_texts(void **state)
{
    (void)state;
    assert_true(like("abc", "a%c", -1, false));
    assert_true(like("abc", "%%%", -1, false));
    assert_false(like("abc", "a_", -1, false));
    assert_true(like("\xc3\xa4x", "_x", -1, false)); /* one character, two bytes */
    assert_false(like("\xc3\xa4x", "__x", -1, false));
    assert_true(like("a%b", "a\\%b", '\\', false));
    assert_false(like("axb", "a\\%b", '\\', false));
    assert_true(like("ABC", "%b%", -1, true));
    assert_false(like("ABC", "%b%", -1, false));
    assert_true(like("", "", -1, false));
    assert_true(like("", "%", -1, false));
    assert_true(like("aab", "%ab", -1, false));
    assert_true(like("mississippi", "m%iss%ip%", -1, false));
    char a[3000], p[400] = "";
    memset(a, 'a', sizeof a - 1);
    a[sizeof a - 1] = 0;
    for (int i = 0; i < 60; i++) {
        strcat(p, "%a%a");
    }
    strcat(p, "b");
    assert_false(like(a, p, -1, false)); /* and that quickly */
    struct scalar s = of(PST_STRING, "h\xc3\xa9llo");
    gives(PLAN_LENGTH, PST_LONG, "5", 1, &s);
    gives(PLAN_UPPER, PST_STRING, "H\xc3\xa9LLO", 1, &s);
    gives(PLAN_SUBSTR, PST_STRING, "\xc3\xa9l", 3,
          (struct scalar[]){s, of(PST_LONG, "2"), of(PST_LONG, "2")});
    gives(PLAN_SUBSTR, PST_STRING, "h", 3,
          (struct scalar[]){s, of(PST_LONG, "-1"), of(PST_LONG, "3")});
    gives(PLAN_SUBSTR, PST_STRING, "NULL", 2, (struct scalar[]){s, of(PST_LONG, "9")});
    gives(PLAN_POSITION, PST_LONG, "3", 2, (struct scalar[]){s, of(PST_STRING, "ll")});
    gives(PLAN_CONCAT, PST_STRING, "h\xc3\xa9llox", 2, (struct scalar[]){s, of(PST_STRING, "x")});
}

static void test_time(void **state)
{
    (void)state;
    struct scalar t = of(PST_TIMESTAMP, "2024.01.31D09:37:12.5");
    gives(PLAN_BUCKET, PST_TIMESTAMP, "2024.01.31D09:35:00.000000000", 3,
          (struct scalar[]){t, of(PST_TIMESPAN, "5 minutes"), of(PST_TIMESTAMP, "2000.01.03")});
    gives(PLAN_BUCKET, PST_LONG, "-10", 3,
          (struct scalar[]){of(PST_LONG, "-1"), of(PST_LONG, "10"), of(PST_LONG, "0")});
    gives(PLAN_ADD_MONTHS, PST_TIMESTAMP, "2024.02.29D09:37:12.500000000", 2,
          (struct scalar[]){t, of(PST_LONG, "1")});
    gives(PLAN_ADD_MONTHS, PST_TIMESTAMP, "2023.01.31D09:37:12.500000000", 2,
          (struct scalar[]){t, of(PST_LONG, "-12")});
    gives(PLAN_ADD_MONTHS, PST_TIMESTAMP, "error", 2,
          (struct scalar[]){t, of(PST_LONG, "99999999")});
    gives(PLAN_MONTH_BUCKET, PST_TIMESTAMP, "2023.10.01D00:00:00.000000000", 2,
          (struct scalar[]){of(PST_TIMESTAMP, "2023.12.05"), of(PST_LONG, "3")});
    gives(PLAN_MONTH_BUCKET, PST_TIMESTAMP, "1999.10.01D00:00:00.000000000", 2,
          (struct scalar[]){of(PST_TIMESTAMP, "1999.12.05"), of(PST_LONG, "3")});
}

static void cast(uint8_t from, const char *text, uint8_t to, const char *want)
{
    struct scalar v = of(from, text);
    gives(PLAN_CAST, to, want, 1, &v);
}

static void test_casts(void **state)
{
    (void)state;
    cast(PST_FLOAT, "2.5", PST_LONG, "2");
    cast(PST_FLOAT, "3.5", PST_LONG, "4");
    cast(PST_FLOAT, "9.3e18", PST_LONG, "error");
    cast(PST_FLOAT, "0w", PST_LONG, "error");
    cast(PST_FLOAT, NULL, PST_LONG, "NULL");
    cast(PST_FLOAT, "-9223372036854775808", PST_LONG, "error"); /* the null's bits */
    cast(PST_LONG, "40000", PST_SHORT, "error");
    cast(PST_LONG, "256", PST_BYTE, "error");
    cast(PST_LONG, "32", PST_CHAR, "NULL");
    cast(PST_LONG, "65", PST_CHAR, "A");
    cast(PST_BOOLEAN, "true", PST_LONG, "1");
    cast(PST_LONG, "5", PST_BOOLEAN, "true");
    cast(PST_TIMESTAMP, "1999.12.31D23:59:59.999999999", PST_DATE, "1999.12.31");
    cast(PST_TIMESTAMP, "1999.12.31D23:59:59.999", PST_MINUTE, "23:59");
    cast(PST_TIMESTAMP, "1999.12.31D23:59:59.999", PST_TIME, "23:59:59.999");
    cast(PST_TIMESTAMP, "1999.12.31D23:59", PST_MONTH, "1999.12");
    cast(PST_DATE, "2024.02.29", PST_TIMESTAMP, "2024.02.29D00:00:00.000000000");
    cast(PST_DATE, "0W", PST_TIMESTAMP, "error");
    cast(PST_MONTH, "2024.02", PST_DATE, "2024.02.01");
    cast(PST_DATE, "2024.02.29", PST_LONG, "8825");
    cast(PST_TIMESPAN, "-1 second", PST_MINUTE, "-00:01");
    cast(PST_STRING, "2024.01.02", PST_DATE, "2024.01.02");
    cast(PST_STRING, "nonsense", PST_DATE, "error");
    cast(PST_STRING, "xyz", PST_CHAR, "x");
    cast(PST_DATE, "2024.01.02", PST_STRING, "2024.01.02");
    cast(PST_FLOAT, "0.1", PST_STRING, "0.1");
    cast(PST_REAL, "0.1", PST_FLOAT, "0.10000000149011612");
    cast(PST_LONG, NULL, PST_STRING, "NULL");
}

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return !arena;
}
static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),   cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_compare),
        cmocka_unit_test(test_texts),      cmocka_unit_test(test_time),
        cmocka_unit_test(test_casts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
