/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_temporal.c - penstock/temporal.h reads what SQL reads (storage/query/literal.h), and gives
 * the same values: each form by hand, then texts that are changed at random. Nulls and infinities
 * are SQL's alone.
 */
#include <penstock/temporal.h>
#include "storage/query/literal.h"
#include "core/base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t types[] = {PST_TIMESTAMP, PST_MONTH,  PST_DATE, PST_TIMESPAN,
                                PST_MINUTE,    PST_SECOND, PST_TIME};

static const char *const texts[] = {"2026.11.23",
                                    "2026-11-23",
                                    "2026/1/2",
                                    "20261123",
                                    "2024.02.29",
                                    "2023.02.29",
                                    "1900.02.29",
                                    "2000.02.29",
                                    "2026.13.01",
                                    "1600.01.01",
                                    "1800.12.31D23:59:59.999999999",
                                    "9999.12.31",
                                    "0000.01.01",
                                    "2026.11.23D14:30",
                                    "2026-11-23T14:30:05.123456789Z",
                                    "2026-11-23 14:30:05+01:00",
                                    "2026-11-23  14:30:05 -0530",
                                    "2026-11-23 14:30:05+01",
                                    "2026.11.23D24:00",
                                    "2026.11.23D24:00:01",
                                    "2026.11.23D",
                                    "2292.04.11",
                                    "1707.09.22",
                                    "2026.11",
                                    "2026-11",
                                    "2026.11m",
                                    "2026.1m",
                                    "2026.11.m",
                                    "09:30",
                                    "-09:30:15.5",
                                    "27:00:00.123",
                                    "99999:59",
                                    "9:60",
                                    "0D00:05",
                                    "-1D00:05:00.000000001",
                                    "999999D00:00",
                                    "5 min",
                                    "90s",
                                    "1.5 hours",
                                    "250 ms, 3us",
                                    "1 day 2 hours",
                                    "2 weeks -1d",
                                    "1 month",
                                    "3 fortnights",
                                    "0.000000001 h",
                                    "99999999999 weeks",
                                    ".5s",
                                    "5",
                                    "5.",
                                    "secs",
                                    "1 D",
                                    "1d10:00",
                                    "1D10:00 5 min"};

static uint64_t state = 88172645463325252ull;
static uint64_t rnd(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

/* 1: both read it, alike. */
static int alike(uint8_t type, const char *text, size_t n)
{
    struct scalar sql = {0};
    int64_t v = 0;
    char copy[100]; /* not terminated: a sanitizer sees who looks further */
    char *exact = malloc(n + !n);
    assert_non_null(exact);
    memcpy(exact, text, n);
    bool here = pst_temporal(type, exact, n, &v);
    bool there = literal_parse(type, exact, n, &sql) && !sql.null;
    free(exact);
    snprintf(copy, sizeof copy, "%.*s", (int)n, text);
    if (memmem(text, n, "0W", 2))
        return 0;
    bool years = memchr(text, 'y', n) || memmem(text, n, "mon", 3); /* SQL takes none of them */
    if (type == PST_TIMESPAN && years && there && !here)
        return 0;
    if (here != there)
        fail_msg("type %u: '%s' is read by %s only", type, copy, here ? "temporal.h" : "SQL");
    if (here && v != sql.i)
        fail_msg("type %u: '%s' is %lld, in SQL %lld", type, copy, (long long)v, (long long)sql.i);
    return here;
}

static void forms(void **s)
{
    (void)s;
    int read = 0;
    for (unsigned t = 0; t < PST_COUNT(types); t++)
        for (unsigned i = 0; i < PST_COUNT(texts); i++)
            read += alike(types[t], texts[i], strlen(texts[i]));
    assert_true(read > 40);
    int64_t v;
    assert_true(pst_temporal(PST_TIMESTAMP, "2000.01.02D00:00:01", 19, &v));
    assert_int_equal(v, 86401 * INT64_C(1000000000));
    assert_false(pst_temporal(PST_LONG, "2000.01.02", 10, &v));
    assert_false(pst_temporal(PST_DATE, "0N", 2, &v));
    assert_false(pst_temporal(PST_DATE, "", 0, &v));
}

static void days(void **s)
{
    (void)s;
    char text[16];
    int read = 0;
    for (int y = 0; y < 10000; y += 1 + (y % 7 == 0))
        for (int m = 1; m <= 12; m++) {
            static const int last[] = {1, 28, 29, 30, 31};
            for (unsigned d = 0; d < PST_COUNT(last); d++) {
                snprintf(text, sizeof text, "%04d.%02d.%02d", y, m, last[d]);
                read += alike(PST_DATE, text, 10);
            }
        }
    assert_true(read > 300000);
}

static void changed(void **s)
{
    static const char letters[] = "0123456789:.-/DTZ +sminhoudayW,m\t";
    (void)s;
    int read = 0;
    for (unsigned i = 0; i < 400000; i++) {
        char text[80];
        const char *from = texts[rnd(PST_COUNT(texts))];
        size_t n = strlen(from);
        memcpy(text, from, n);
        for (uint64_t k = rnd(3) + 1; k; k--) {
            size_t at = (size_t)rnd(n + 1);
            uint64_t how = rnd(3);
            if (how == 0 && at < n) {
                text[at] = letters[rnd(sizeof letters - 1)];
            } else if (how == 1 && at < n) {
                memmove(text + at, text + at + 1, n - at - 1);
                n--;
            } else if (n < sizeof text - 1) {
                memmove(text + at + 1, text + at, n - at);
                text[at] = letters[rnd(sizeof letters - 1)];
                n++;
            }
        }
        read += alike(types[rnd(PST_COUNT(types))], text, n);
    }
    assert_true(read > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(days),
                                       cmocka_unit_test(changed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
