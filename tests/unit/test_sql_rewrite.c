/* SPDX-License-Identifier: Apache-2.0 */
/* The rewrite in front of libpg_query: what it changes, what it leaves alone, where things stand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "storage/query/lex.h"
#include "storage/query/rewrite.h"

static void becomes(const char *in, const char *out)
{
    struct rewrite r;
    struct query_error e = {.position = -1};
    if (!rewrite_sql(in, strlen(in), &r, &e)) {
        fail_msg("%s: %s", in, e.text);
    }
    if (strcmp(r.sql, out) != 0) {
        fail_msg("%s\n became  %s\n wanted  %s", in, r.sql, out);
    }
    for (size_t i = 0; i <= r.len; i++) { /* places never go back, nor past the end */
        assert_true(r.from[i] <= strlen(in));
        assert_true(i == 0 || r.from[i] >= r.from[i - 1]);
    }
    rewrite_free(&r);
}
static void stays(const char *in)
{
    becomes(in, in);
}
static void refused(const char *in, int64_t at, const char *part)
{
    struct rewrite r;
    struct query_error e = {.position = -1};
    assert_false(rewrite_sql(in, strlen(in), &r, &e));
    if (e.position != at || !strstr(e.text, part)) {
        fail_msg("%s: at %lld: %s", in, (long long)e.position, e.text);
    }
}

static void test_latest(void **state)
{
    (void)state;
    becomes("SELECT * FROM t LATEST BY sym", "SELECT * FROM t              ");
    becomes("SELECT * FROM t latest\nby sym, venue WHERE x",
            "SELECT * FROM t       \n              WHERE x");
    becomes("SELECT * FROM t LATEST ON time PARTITION BY a.\"B c\" LIMIT 1",
            "SELECT * FROM t                                     LIMIT 1");
    struct rewrite r;
    struct query_error e;
    const char *sql = "SELECT 1 FROM t WHERE a LATEST BY x.sym , \"Ve\"\"nue\"";
    assert_true(rewrite_sql(sql, strlen(sql), &r, &e));
    assert_int_equal(r.nlatest, 2);
    assert_int_equal(r.latest[0].at, strstr(sql, "sym") - sql);
    assert_int_equal(r.latest[0].len, 3);
    assert_int_equal(r.latest[1].len, 9);
    assert_int_equal(r.latest_at, strstr(sql, "LATEST") - sql);
    assert_true(r.latest_after_where);
    rewrite_free(&r);
    refused("SELECT * FROM t LATEST BY", 25, "LATEST BY wants column names");
    refused("SELECT * FROM t LATEST BY a, 1", 29, "LATEST BY wants column names");
    refused("SELECT * FROM t LATEST BY a LATEST BY b", 28, "twice");
    refused("SELECT * FROM t LATEST ON rxtime PARTITION BY a", 26, "largest time");
    stays("SELECT latest, by FROM t");
    stays("SELECT latest FROM t ORDER BY latest");
}

static void test_asof(void **state)
{
    (void)state;
    becomes("t ASOF JOIN q USING (sym, time)", "t LEFT JOIN q USING (sym, time)");
    becomes("t a asof left outer join q", "t a      left outer join q");
    becomes("t AsOf\n JOIN q", "t LEFT\n JOIN q");
    stays("SELECT asof FROM t asof");
    stays("SELECT asof, join_x FROM t");
    struct rewrite r;
    struct query_error e;
    const char *sql = "SELECT * FROM a ASOF JOIN b USING (x) JOIN c USING (x)";
    assert_true(rewrite_sql(sql, strlen(sql), &r, &e));
    assert_int_equal(r.nasof, 1);
    assert_int_equal(r.asof_at, 16);
    assert_int_equal(r.join_at, 38);
    rewrite_free(&r);
}

static void test_literals(void **state)
{
    (void)state;
    becomes("sym=`AAPL", "sym='AAPL'::symbol");
    becomes("sym in (`A`B.C/d`)", "sym in ('A'::symbol,'B.C/d'::symbol,NULL::symbol)");
    becomes("`x::text", "'x'::symbol::text");
    becomes("d=2024.01.02", "d='2024.01.02'::date");
    becomes("t>2024.01.02D09:30:00.123", "t>'2024.01.02D09:30:00.123'::timestamp");
    becomes("t>2024.01.02T09:30 ", "t>'2024.01.02T09:30'::timestamp ");
    becomes("(09:30,09:30:01,09:30:01.5,09:30:01.123456)",
            "('09:30'::minute,'09:30:01'::second,'09:30:01.5'::time,'09:30:01.123456'::timespan)");
    becomes("0D00:05 1D12:00:00", "'0D00:05'::timespan '1D12:00:00'::timespan");
    becomes("2024.01m", "'2024.01m'::month");
    becomes("0N,0Nd,0n,0W,-0W,0w,0Wi",
            "(NULL::long),(NULL::date),(NULL::float),'0W'::long,-'0W'::long,"
            "'0w'::float8,'0W'::int");
    stays("1.5 2024.01 2024.5 10 1e5 .5 x.y 1.2.3.4");
    stays("a[1:2]");
    stays("x::int y::minute");
    stays("2024.01.021 abc2024.01.02 12:30x");
}

static void test_params(void **state)
{
    (void)state;
    becomes("a = :name and b = :x or c = :name", "a = $1001 and b = $1002 or c = $1001");
    becomes("a = $1 and b = :x::int", "a = $1 and b = $1001::int");
    becomes("cross, CROSS, t.primary", "\"cross\", \"cross\", t.\"primary\"");
    stays("a cross join b, \"cross\", primary key, 'cross'");
    stays("x::name");
    stays("':name' \":name\" -- :name");
}

static void test_untouched(void **state)
{
    (void)state;
    stays("'LATEST BY x `A 2024.01.02 it''s'");
    stays("E'a\\' LATEST BY b' 'c'");
    stays("\"LATEST BY\" \"a\"\"b `c\"");
    stays("-- LATEST BY a `b\nx");
    stays("/* ASOF JOIN /* 2024.01.02 */ `x */ y");
    stays("$$ LATEST BY `a $$");
    stays("$tag$ LATEST BY $$ `a $tag$");
    stays("U&'d\\0061t' U&\"x\"");
    becomes("select 1;", "select 1 ");
    becomes("select 1 ; ; -- end", "select 1     -- end");
}

static void test_refused(void **state)
{
    (void)state;
    char deep[4000] = "";
    refused("select 'abc", 7, "a text that starts here does not end");
    refused("select \"abc", 7, "a quoted name");
    refused("select /* x /* y */", 7, "a comment");
    refused("select $x$ abc $y$", 7, "a text");
    refused("select 1; select 2", 10, "one statement");
    for (int i = 0; i < 1000; i++) {
        strcat(deep, "(");
    }
    refused(deep, (int64_t)REWRITE_DEPTH_MAX - 1, "nested too deeply");
    deep[0] = 0;
    for (int i = 0; i < 1000; i++) {
        strcat(deep, "1+");
    }
    refused(deep, 2 * (int64_t)REWRITE_DEPTH_MAX - 1, "nested too deeply");
    struct rewrite r;
    struct query_error e;
    assert_false(rewrite_sql("a\0b", 3, &r, &e));
    assert_int_equal(e.position, 1);
    /* long lists and chains of AND are flat */
    char *flat = calloc(1, 400000);
    for (int i = 0, n = 0; i < 10000; i++) {
        n += sprintf(flat + n, "%d,a=1 or ", i);
    }
    assert_true(rewrite_sql(flat, strlen(flat), &r, &e));
    rewrite_free(&r);
    free(flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latest),    cmocka_unit_test(test_asof),
        cmocka_unit_test(test_literals),  cmocka_unit_test(test_params),
        cmocka_unit_test(test_untouched), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
