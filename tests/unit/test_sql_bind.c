/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused, by which words and where; what plans look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "support/sqlkit.h"
#include "storage/query/bind.h"

static struct kit *kit;

static struct plan *plan_of(const char *sql, struct query_error *e)
{
    struct query_request q = {.sql = sql, .len = strlen(sql)};
    return query_plan(&kit->env, &q, e);
}

/* ^ in the text stands before the place of the error; it is taken out. No ^: no place. */
struct refusal {
    const char *sql;
    int code;
    const char *part; /* of the sentence */
};

static void check_refusals(const struct refusal *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char sql[2000];
        int64_t at = -1;
        const char *mark = strchr(r[i].sql, '^');
        snprintf(sql, sizeof sql, "%s", r[i].sql);
        if (mark) {
            at = mark - r[i].sql;
            memmove(sql + at, sql + at + 1, strlen(sql + at));
        }
        struct query_error e;
        struct query_request q = {.sql = sql, .len = strlen(sql)};
        struct result *out = NULL;
        bool ok = query_run(&kit->env, &q, &out, &e);
        if (ok || e.code != r[i].code || e.position != at || !strstr(e.text, r[i].part)) {
            result_free(out);
            fail_msg("%s\n  %s at %lld (wanted %lld): %s", sql,
                     ok ? "passed" : query_errno_name(e.code), (long long)e.position, (long long)at,
                     e.text);
        }
        assert_null(out);
        assert_true(strchr(e.text, '\n') == NULL && strlen(e.text) > 10); /* one sentence */
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct refusal r[] = {
        {"select ^foo from trade", QUERY_NAME, "there is no column foo in trade"},
        {"select ^prise from trade", QUERY_NAME, "did you mean price?"},
        {"select price from ^trad", QUERY_NAME, "there is no table trad; did you mean trade?"},
        {"select ^x.price from trade t", QUERY_NAME, "there is no table x in FROM; it has t"},
        {"select ^t.prise from trade t", QUERY_NAME,
         "there is no column prise in t; did you mean price?"},
        {"select ^avrg(price) from trade", QUERY_NAME, "did you mean avg?"},
        {"select price::^lonng from trade", QUERY_NAME, "did you mean long?"},
        {"select extract(^minite from time) from trade", QUERY_NAME, "did you mean minute?"},
        {"select date_trunc(^'eon', time) from trade", QUERY_NAME, "date_trunc knows"},
        {"select time ^at time zone 'Mars/Olympus' from trade", QUERY_NAME,
         "no time zone Mars/Olympus"},
        {"select * from trade order by ^99", QUERY_NAME, "no column number 99"},
        {"select ^$1", QUERY_NAME, "$1 has no value; give it: -p 1=VALUE"},
        {"select ^:abc", QUERY_NAME, "-p abc=VALUE"},
        {"select * from trade latest by ^foo", QUERY_NAME, "no column foo"},
        {"select * from ^nosuch(1)", QUERY_NAME, "no named query nosuch"},
        {"describe ^trde", QUERY_NAME, "did you mean trade?"},
        {"select ^venue from trade t asof join quote q using (sym, time)", QUERY_NAME,
         "is in both t and q"},
    };
    check_refusals(r, PST_COUNT(r));
}

static void test_unsupported(void **state)
{
    (void)state;
    static const struct refusal r[] = {
        {"select price from trade, ^quote", QUERY_UNSUPPORTED, "a second table"},
        {"select * from trade t ^join quote q on true", QUERY_UNSUPPORTED, "only t ASOF JOIN q"},
        {"select * from trade natural ^join quote", QUERY_UNSUPPORTED, "only t ASOF JOIN q"},
        {"select * from trade a asof join quote b using (sym, time) ^join quote c using (sym)",
         QUERY_UNSUPPORTED, "only t ASOF JOIN q"},
        {"select * from trade ^asof join quote on true", QUERY_UNSUPPORTED, "wants USING"},
        {"select * from trade t ^asof join quote q using (time, sym)", QUERY_UNSUPPORTED,
         "must be time"},
        {"select * from trade ^asof join trade using (sym, time)", QUERY_NAME, "give one an alias"},
        {"select * ^from (select 1) x", QUERY_UNSUPPORTED, "a subquery in FROM"},
        {"^with x as (select 1) select * from x", QUERY_UNSUPPORTED, "WITH is not supported"},
        {"select 1 ^union select 2", QUERY_UNSUPPORTED, "UNION is not supported"},
        {"select 1 ^except select 2", QUERY_UNSUPPORTED, "EXCEPT is not supported"},
        {"^insert into trade values (1)", QUERY_UNSUPPORTED,
         "INSERT is not supported: SQL only reads"},
        {"^UPDATE trade SET price = 1", QUERY_UNSUPPORTED, "UPDATE is not supported"},
        {"^drop table trade", QUERY_UNSUPPORTED, "DROP is not supported"},
        {"^copy trade to '/tmp/x'", QUERY_UNSUPPORTED, "COPY is not supported"},
        {"select ^row_number() over () from trade", QUERY_UNSUPPORTED, "window functions"},
        {"select ^sum(price) over (partition by sym) from trade", QUERY_UNSUPPORTED,
         "window functions"},
        {"select * from trade where ^exists (select 1)", QUERY_UNSUPPORTED, "subqueries"},
        {"select * from trade where price ^> any (select bid from quote)", QUERY_UNSUPPORTED,
         "subqueries"},
        {"select * from trade where text ^~ 'x'", QUERY_UNSUPPORTED, "use LIKE"},
        {"select * from trade where text ^similar to 'x'", QUERY_UNSUPPORTED, "use LIKE"},
        {"select ^distinct on (sym) * from trade", QUERY_UNSUPPORTED,
         "LATEST BY takes the last row"},
        {"select sym, count(*) from trade ^latest by sym group by sym", QUERY_UNSUPPORTED,
         "cannot be grouped"},
        {"select * from trade a asof join quote b using (sym, time) ^latest by sym",
         QUERY_UNSUPPORTED, "on one table"},
        {"select * from ^public.trade", QUERY_UNSUPPORTED, "no schema"},
        {"select price::^varchar(10) from trade", QUERY_UNSUPPORTED, "no length"},
        {"select price::^numeric(10,2) from trade", QUERY_UNSUPPORTED, "round(x, n)"},
        {"select ^array[1,2]", QUERY_UNSUPPORTED, "arrays"},
        {"select ^(1,2) = (1,2)", QUERY_UNSUPPORTED, "row values"},
        {"select ^price[1] from trade", QUERY_UNSUPPORTED, "subscripts"},
        {"select count(*) from trade group by ^rollup (sym)", QUERY_UNSUPPORTED, "ROLLUP"},
        {"select * from trade ^for update", QUERY_UNSUPPORTED, "FOR UPDATE"},
        {"select * from trade ^tablesample system (10)", QUERY_UNSUPPORTED, "TABLESAMPLE"},
        {"explain (^verbose) select 1", QUERY_UNSUPPORTED, "ANALYZE only"},
        {"select ^current_user", QUERY_UNSUPPORTED, "current_date"},
        {"select ^string_agg(text, ',') from trade", QUERY_UNSUPPORTED, "no function string_agg"},
        {"select ^sum(distinct size) from trade", QUERY_UNSUPPORTED, "DISTINCT is for count"},
        {"select ^last(price order by time) from trade", QUERY_UNSUPPORTED,
         "first and last go by time"},
        {"select interval ^'1 month 2 days'", QUERY_UNSUPPORTED, "write two"},
        {"select 1; ^select 2", QUERY_UNSUPPORTED, "one statement"},
        {"select * from trade where sym like ^text", QUERY_UNSUPPORTED, "must be a constant"},
        {"select distinct sym from trade order by ^price", QUERY_UNSUPPORTED,
         "columns of SELECT only"},
    };
    check_refusals(r, PST_COUNT(r));
}

static void test_types(void **state)
{
    (void)state;
    static const struct refusal r[] = {
        {"select * from trade where ^price", QUERY_TYPE, "WHERE wants a condition, not a float"},
        {"select * from trade where price > 1 and ^size", QUERY_TYPE, "AND wants a condition"},
        {"select * from trade where side = ^''", QUERY_TYPE, "the empty text is NULL here"},
        {"select * from trade where side = ^' '", QUERY_TYPE, "a blank char is NULL"},
        {"select * from trade where sym <> ^''", QUERY_TYPE, "write IS NULL or IS NOT NULL"},
        {"select * from trade where price = ^'abc'", QUERY_TYPE,
         "'abc' is no float; one looks like 1.5"},
        {"select * from trade where time > ^'yesterday'", QUERY_TYPE,
         "one looks like 2024.01.02D09:30:00"},
        {"select * from trade where date = ^'2024.13.01'", QUERY_TYPE, "is no date"},
        {"select * from trade where price ^= sym", QUERY_TYPE,
         "a float and a symbol cannot be compared"},
        {"select * from trade where time ^> 09:30", QUERY_TYPE, "take the time of day first"},
        {"select size ^+ sym from trade", QUERY_TYPE, "there is no int + symbol"},
        {"select date ^* 2 from trade", QUERY_TYPE, "there is no date * long"},
        {"select ^-sym from trade", QUERY_TYPE, "a symbol has no sign"},
        {"select sqrt(^sym) from trade", QUERY_TYPE, "sqrt wants a number, not a symbol"},
        {"select lower(^price) from trade", QUERY_TYPE, "write ::text"},
        {"select case when ok then 1 else ^sym end from trade", QUERY_TYPE,
         "CASE has a long and a symbol"},
        {"select case when ^1 then 2 end", QUERY_TYPE, "WHEN wants a condition"},
        {"select sum(^sym) from trade", QUERY_TYPE, "there is no sum of a symbol"},
        {"select max(^ok) from trade", QUERY_TYPE, "there is no max of a boolean"},
        {"select sum(^sum(size)) from trade", QUERY_TYPE, "inside another aggregate"},
        {"select * from trade where ^sum(size) > 1", QUERY_TYPE, "write HAVING"},
        {"select count(*) from trade group by ^sum(size)", QUERY_TYPE, "group key"},
        {"select sym, ^price from trade group by sym", QUERY_TYPE, "price must stand in GROUP BY"},
        {"select ^* from trade group by sym", QUERY_TYPE, "must stand in GROUP BY"},
        {"select sym from trade group by sym having ^price > 1", QUERY_TYPE,
         "must stand in GROUP BY"},
        {"select sum(size) from trade order by ^price", QUERY_TYPE, "must stand in GROUP BY"},
        {"select quantile(price, ^2) from trade", QUERY_TYPE, "0 to 1"},
        {"select quantile(price, ^price) from trade", QUERY_TYPE, "constant, 0 to 1"},
        {"select time_bucket(^size, time) from trade", QUERY_TYPE, "a constant width"},
        {"select time_bucket(^5, time) from trade", QUERY_TYPE, "write interval"},
        {"select ^count() from trade", QUERY_TYPE, "count wants 1 argument, or *"},
        {"select ^round(price, 1, 2) from trade", QUERY_TYPE,
         "round wants 1 or more arguments, not 3"},
        {"select round(price, ^size) from trade", QUERY_TYPE, "decimals as a constant"},
        {"select * from trade limit ^-1", QUERY_TYPE, "LIMIT wants a constant number"},
        {"select * from trade limit ^size", QUERY_TYPE, "LIMIT wants a constant number"},
        {"select ok^::date from trade", QUERY_TYPE, "cannot be cast"},
        {"select price^::date from trade", QUERY_TYPE, "cast to long first"},
        {"select interval ^'1 month'", QUERY_TYPE, "only added to a date or timestamp"},
        {"select 9223372036854775807 ^+ 1", QUERY_VALUE, "long overflow"},
        {"select 300^::byte", QUERY_VALUE, "out of range"},
    };
    check_refusals(r, PST_COUNT(r));
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct refusal r[] = {
        {"^selec 1", QUERY_SYNTAX, "syntax error at or near \"selec\""},
        {"select 1 +^", QUERY_SYNTAX, "ends too early"},
        {"select 'abc' || 'd\xc3\xa9\xc3\xa9' fro ^trade x", QUERY_SYNTAX, "syntax error"},
        {"select ^'abc", QUERY_SYNTAX, "does not end"},
        {"select sym = `A, `B, ^) from trade", QUERY_SYNTAX, "syntax error at or near \")\""},
        {"^select from trade", QUERY_SYNTAX, "SELECT wants columns"},
    };
    check_refusals(r, PST_COUNT(r));
    struct query_error e;
    assert_null(plan_of("", &e));
    assert_int_equal(e.code, QUERY_SYNTAX);
    assert_null(plan_of("select 1,\n  sym\n from trade where\n  prise > 1", &e));
    assert_int_equal(e.line, 4);
    assert_int_equal(e.column, 3);
}

/* ---- plans ---- */

static void plan_is(const char *sql, const char *want)
{
    struct query_error e;
    struct plan *p = plan_of(sql, &e);
    struct text_out o = {0};
    if (!p) {
        fail_msg("%s: %s", sql, e.text);
    }
    plan_text_lines(&o, p, false);
    if (strcmp(o.p, want) != 0) {
        fail_msg("%s\n%s\nwanted\n%s", sql, o.p, want);
    }
    free(o.p);
    plan_free(p);
}

static void test_bounds(void **state)
{
    (void)state;
    plan_is("select price from trade where date = '2024-01-02' and sym = 'A'",
            "scan trade, date 2024.01.02, sym `A\n  read date sym price\noutput price float\n");
    plan_is("select size from trade where date >= 2024.01.02 and date < 2024.01.05 and sym in "
            "(`B`A`B) and sym <> 'B'",
            "scan trade, date 2024.01.02 ... 2024.01.04, sym `A`B\n  filter (sym <> `B)\n  read "
            "date sym size\n"
            "output size int\n");
    plan_is(
        "select size from trade where date in ('2024-01-02','2024-01-09','2023-01-01') and date > "
        "'2024-01-01'",
        "scan trade, 2 dates of 2024.01.02 ... 2024.01.09\n  read date size\noutput size int\n");
    plan_is("select size from trade where time between '2024.01.02D09:30' and '2024.01.02D10:00' "
            "and size > 5",
            "scan trade, all dates, time 2024.01.02D09:30:00.000000000 ... "
            "2024.01.02D10:00:00.000000000\n"
            "  filter (size > 5)\n  read time size\noutput size int\n");
    plan_is("select size from trade where time::date = 2024.01.02",
            "scan trade, all dates, time 2024.01.02D00:00:00.000000000 ... "
            "2024.01.02D23:59:59.999999999\n"
            "  read time size\noutput size int\n");
    plan_is("select size from trade where sym = 'A' or sym = 'B' or sym in ('C')",
            "scan trade, all dates, sym `A`B`C\n  read sym size\noutput size int\n");
    plan_is("select size from trade where sym = 'A' and sym = 'B'",
            "scan trade, all dates, sym none\n  read sym size\noutput size int\n");
    plan_is("select size from trade where date > 2024.01.05 and date < 2024.01.05",
            "scan trade, no date\n  read date size\noutput size int\n");
    plan_is("select size from trade where date = 2024.01.02 + 1 and 1 = 1",
            "scan trade, date 2024.01.03\n  read date size\noutput size int\n");
    plan_is("select count(*) from trade where 1 = 2",
            "WHERE is never true: no row is read\nscan trade, all dates\n  read no column\ngroup "
            "all rows\n"
            "aggregate count(*)\noutput count long\n");
}

static void test_shapes(void **state)
{
    (void)state;
    plan_is(
        "select sym, time_bucket('5 min', time) as bar, vwap(price, size), count(*) from trade "
        "where size > 2.5 "
        "group by sym, bar having count(*) > 1 order by 1 desc nulls last, bar limit 10 offset 5",
        "scan trade, all dates\n  filter (size::float > 2.5)\n  read time sym price size\n"
        "group by sym, bucket(time, 0D00:05:00.000000000, 2000.01.03D00:00:00.000000000)\n"
        "aggregate wavg(size::float, price), count(*)\nhaving (count(*) > 1)\n"
        "output sym symbol, bar timestamp, vwap float, count long\n"
        "order by sym desc nulls last, bucket(time, 0D00:05:00.000000000, "
        "2000.01.03D00:00:00.000000000)\n"
        "limit 10 offset 5\n");
    plan_is("select distinct sym from trade",
            "scan trade, all dates\n  read sym\ngroup by sym\noutput sym symbol\n");
    plan_is(
        "select sym, price from trade where size > 1 latest by sym order by size",
        "scan trade, all dates\n  filter (size > 1)\n  read time sym price size\nlatest by sym\n"
        "output sym symbol, price float\norder by size\n");
    plan_is("select t.sym, price - bid as edge from trade t asof join quote q using (sym, time) "
            "where date = 2024.01.02 "
            "and sym = `A and bid > 1 and price > 2",
            "scan trade as t, date 2024.01.02, sym `A\n  filter (t.price > 2)\n  read date time "
            "sym price\n"
            "scan quote as q, date 2024.01.02, sym `A\n  read time sym bid\nasof join on date, "
            "sym, time\n"
            "  filter (q.bid > 1)\noutput sym symbol, edge float\n");
    plan_is("select size + 1 as a, sum(size + 1) from trade group by size + 1",
            "scan trade, all dates\n  read size\ngroup by (size::long + 1)\naggregate "
            "sum((size::long + 1))\n"
            "output a long, sum long\n");
    plan_is("select twice from big where sym = 'A'",
            "scan trade as big, all dates, sym `A\n  filter (size > 100)\n  read sym size\noutput "
            "twice long\n");
    plan_is(
        "select not (price > 1 or price is null), side in ('A', null), text like 'a%' from trade",
        "scan trade, all dates\n  read price side text\n"
        "output column1 boolean, column2 boolean, column3 boolean\n");
    plan_is("select b + 1, min(b) from trade group by b",
            "scan trade, all dates\n  read b\ngroup by b\naggregate min(b::short)\noutput column1 "
            "long, min short\n");
}

static void test_types_of(void **state)
{
    (void)state;
    static const struct {
        const char *expr;
        uint8_t type;
    } t[] = {{"size", PST_INT},
             {"size + 1", PST_LONG},
             {"size / 2", PST_LONG},
             {"price * size", PST_FLOAT},
             {"-size", PST_LONG},
             {"b", PST_BYTE},
             {"coalesce(b, 1)", PST_LONG},
             {"sum(size)", PST_LONG},
             {"avg(size)", PST_FLOAT},
             {"sum(price)", PST_FLOAT},
             {"min(size)", PST_INT},
             {"max(sym)", PST_SYMBOL},
             {"last(b)", PST_SHORT},
             {"median(time)", PST_TIMESTAMP},
             {"count(distinct sym)", PST_LONG},
             {"time - time", PST_TIMESPAN},
             {"date - date", PST_LONG},
             {"date + 1", PST_DATE},
             {"date + interval '1 hour'", PST_TIMESTAMP},
             {"date + interval '1 month'", PST_TIMESTAMP},
             {"time::month + 1", PST_MONTH},
             {"time::time + time::time", PST_TIMESPAN},
             {"interval '1 s' * 2.5", PST_TIMESPAN},
             {"interval '1 s' / interval '1 ms'", PST_FLOAT},
             {"sym || side", PST_STRING},
             {"coalesce(sym, 'x')", PST_STRING},
             {"coalesce(sym, sym)", PST_SYMBOL},
             {"'A'::symbol", PST_SYMBOL},
             {"case when ok then price else size end", PST_FLOAT},
             {"nullif(size, 1)", PST_INT},
             {"extract(hour from time)", PST_LONG},
             {"extract(second from time)", PST_FLOAT},
             {"time at time zone 'Asia/Tokyo'", PST_TIMESTAMP},
             {"time_bucket('1 day', date)", PST_DATE},
             {"time_bucket('1 min', time::time)", PST_TIMESPAN},
             {"length(text)", PST_LONG},
             {"round(size)", PST_LONG},
             {"price > 1", PST_BOOLEAN},
             {"null", PST_STRING},
             {"1.5", PST_FLOAT},
             {"99999999999", PST_LONG},
             {"99999999999999999999", PST_FLOAT},
             {"current_date", PST_DATE},
             {"now() - interval '1 day'", PST_TIMESTAMP}};
    for (unsigned i = 0; i < PST_COUNT(t); i++) {
        char sql[200];
        struct query_error e;
        snprintf(sql, sizeof sql, "select %s from trade", t[i].expr);
        struct plan *p = plan_of(sql, &e);
        if (!p) {
            fail_msg("%s: %s", sql, e.text);
        }
        if (p->output[0].expr->type != t[i].type) {
            fail_msg("%s is a %s, not a %s", t[i].expr, type_name(p->output[0].expr->type),
                     type_name(t[i].type));
        }
        plan_free(p);
    }
}

/* Equal expressions are one node; arguments come before what uses them. */
static void test_nodes(void **state)
{
    (void)state;
    struct query_error e;
    struct plan *p = plan_of(
        "select price * size, price * size + 1, size from trade where price * size > 5", &e);
    assert_non_null(p);
    assert_ptr_equal(p->output[0].expr, p->output[1].expr->arg[0]);
    assert_ptr_equal(p->output[0].expr, p->scan[0].where[0].expr->arg[0]);
    assert_true(p->output[0].expr->id < p->output[1].expr->id);
    assert_false(p->output[0].expr->can_fail); /* float */
    plan_free(p);
    p = plan_of("select size + 1, size, size > 1, size::short from trade", &e);
    assert_non_null(p);
    assert_true(p->output[0].expr->can_fail);
    assert_false(p->output[1].expr->can_fail);
    assert_false(p->output[2].expr->can_fail);
    assert_true(p->output[3].expr->can_fail);
    assert_int_equal(p->output[2].expr->arg[1]->type,
                     PST_INT); /* the constant took the column's type */
    plan_free(p);
}

static int setup(void **state)
{
    static const struct column_def trade[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT},
        {"size", PST_INT},       {"side", PST_CHAR},  {"text", PST_STRING},
        {"ok", PST_BOOLEAN},     {"b", PST_BYTE},     {"venue", PST_SYMBOL}};
    static const struct column_def quote[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"bid", PST_FLOAT},
                                              {"ask", PST_FLOAT},
                                              {"venue", PST_SYMBOL}};
    static const struct query_view views[] = {
        {"big", "select sym, time, size * 2 as twice from trade where size > 100"}};
    (void)state;
    kit = kit_new();
    kit_add(kit, "trade", trade, PST_COUNT(trade));
    kit_add(kit, "quote", quote, PST_COUNT(quote));
    kit_build(kit);
    kit->env.views = views;
    kit->env.nviews = 1;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    kit_free(kit);
    exec_pool_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_types),    cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_bounds),   cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_types_of), cmocka_unit_test(test_nodes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
