/* SPDX-License-Identifier: Apache-2.0 */
/* The entry: statements, parameters, views, named queries, EXPLAIN, limits, warnings; text to
 * cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include "core/tables.h"
#include "support/sqlkit.h"

static struct kit *kit;

static void answers(const char *sql, const char *want)
{
    struct result *r = kit_query(kit, sql, NULL);
    char *text = kit_text(r);
    if (strcmp(text, want) != 0) {
        fail_msg("%s\n%s\nwanted\n%s", sql, text, want);
    }
    free(text);
    result_free(r);
}

static struct result *run(const char *sql, const struct query_param *p, unsigned n,
                          struct plan_limits limits, struct query_error *e)
{
    struct query_request q = {
        .sql = sql, .len = strlen(sql), .params = p, .nparams = n, .limits = limits};
    struct result *r = NULL;
    bool ok = query_run(&kit->env, &q, &r, e);
    assert_true(ok == (r != NULL));
    return r;
}

static void test_statements(void **state)
{
    (void)state;
    answers("show tables", "name|kind\ntrade|table\nquote|table\ngap|table\nbig|view\nbought|"
                           "view\nwhole|view\nbars|named query");
    answers("\\d", "name|kind\ntrade|table\nquote|table\ngap|table\nbig|view\nbought|view\nwhole|"
                   "view\nbars|named query");
    answers(
        "DESCRIBE quote;",
        "column|type|key\ndate|date|NULL\ntime|timestamp|NULL\nsym|symbol|NULL\nbid|float|NULL");
    answers(
        "\\d \"quote\"",
        "column|type|key\ndate|date|NULL\ntime|timestamp|NULL\nsym|symbol|NULL\nbid|float|NULL");
    answers("desc big", "column|type|key\nsym|symbol|NULL\nsize|int|NULL\nvalue|float|NULL");
    answers("select 1 + 1 as two, 'x' as \"Odd name\", true", "two|Odd name|column3\n2|x|true");
    answers("SELECT count(*) FROM trade -- all of them\n;", "count\n6");
    answers("select sym, sum(size) as s from trade group by sym order by s desc nulls last",
            "sym|s\nAAA|110\nBBB|50\nNULL|NULL");
    answers("select * from quote where bid > 10 order by time",
            "date|time|sym|bid\n2024.01.02|2024.01.02D09:29:00.000000000|AAA|100\n"
            "2024.01.02|2024.01.02D09:31:30.000000000|AAA|100.5");
}

static void test_params(void **state)
{
    (void)state;
    static const struct query_param p[] = {{"1", 0, "AAA"},
                                           {"2", PST_LONG, "15"},
                                           {"day", PST_DATE, "2024.01.02"},
                                           {"none", PST_SYMBOL, NULL},
                                           {"bad", PST_DATE, "tomorrow"},
                                           {"n", 0, "2"}};
    struct query_error e;
    struct result *r =
        run("select count(*) from trade where sym = $1 and size > $2 and date = :day", p, 6,
            (struct plan_limits){0}, &e);
    assert_non_null(r);
    assert_int_equal(result_int(r, 0, 0), 1);
    result_free(r);
    r = run("select sym from trade where sym is not distinct from :none limit :n", p, 6,
            (struct plan_limits){0}, &e);
    assert_non_null(r);
    assert_int_equal(r->rows, 1);
    result_free(r);
    r = run("select count(*) from trade where sym = :none", p, 6, (struct plan_limits){0}, &e);
    assert_non_null(r);
    assert_int_equal(result_int(r, 0, 0), 0);
    result_free(r);
    assert_null(run("select :bad", p, 6, (struct plan_limits){0}, &e));
    assert_string_equal(e.text, "the value 'tomorrow' of parameter bad is no date");
    assert_int_equal(e.position, 7);
    assert_null(run("select :dai", p, 6, (struct plan_limits){0}, &e));
    assert_non_null(strstr(e.text, "there is one named day"));
    /* a parameter is a value, never text of the query */
    static const struct query_param evil[] = {{"1", 0, "x' OR true --"}};
    r = run("select count(*) from trade where sym = $1", evil, 1, (struct plan_limits){0}, &e);
    assert_non_null(r);
    assert_int_equal(result_int(r, 0, 0), 0);
    result_free(r);
}

static void test_views(void **state)
{
    (void)state;
    struct query_error e;
    answers("select sym, value from big order by value",
            "sym|value\nAAA|3030\nBBB|10000\nAAA|NULL");
    answers("select sym, count(*) as n, sum(size) from big where value is not null group by sym "
            "order by 1",
            "sym|n|sum\nAAA|1|30\nBBB|1|50");
    answers("select b.sym from bought b where double > 100", "sym\nAAA");
    /* views that double each other stay small: shared nodes are looked at once */
    struct query_view twice[9];
    char names[9][8], text[9][80];
    for (int i = 0; i < 8; i++) {
        snprintf(names[i], sizeof names[i], "v%d", i);
        snprintf(text[i], sizeof text[i],
                 "select time, sym, x + x + x + x + x + x + x + x as x from v%d", i - 1);
        twice[i] = (struct query_view){names[i], text[i]};
    }
    twice[0].sql = "select time, sym, size as x from trade";
    struct query_env deep = kit->env;
    deep.views = twice;
    deep.nviews = 8;
    struct query_request dq = {.sql = "select x from v7 where x > 0 and sym = 'BBB'", .len = 44};
    struct result *dr = NULL;
    assert_true(query_run(&deep, &dq, &dr, &e));
    assert_int_equal(dr->rows, 1);
    assert_int_equal(result_int(dr, 0, 0), 50ll << 21);
    result_free(dr);
    assert_true(query_check_views(&kit->env, &e));
    static const struct query_view wrong[] = {
        {"w", "select nosuch from trade"},
        {"g", "select sym from trade group by sym"},
        {"s", "select * from s"},
        {"j", "select * from trade t asof join quote q using (sym, time)"},
        {"a", "select sum(size) from trade"},
        {"x", "select from from"},
        {"i", "insert into trade values (1)"},
        {"p", "select $1 as p from trade"}};
    static const char *const part[] = {"view w: there is no column nosuch in trade",
                                       "view g has GROUP BY",
                                       "views stand on views too deeply",
                                       "view j: a view is SELECT",
                                       "view a: a view selects rows and cannot aggregate",
                                       "view x: syntax error",
                                       "view i: a view is SELECT",
                                       "view p: a view has no parameters"};
    struct query_env env = kit->env;
    for (unsigned i = 0; i < PST_COUNT(wrong); i++) {
        char sql[64];
        env.views = &wrong[i];
        env.nviews = 1;
        snprintf(sql, sizeof sql, "select 1, * from %s", wrong[i].name);
        struct query_request q = {.sql = sql, .len = strlen(sql)};
        struct result *r;
        assert_false(query_run(&env, &q, &r, &e));
        if (!strstr(e.text, part[i]) || (e.position != 17 && i != 2)) {
            fail_msg("%s: at %lld: %s", wrong[i].sql, (long long)e.position, e.text);
        }
        assert_false(query_check_views(&env, &e));
    }
}

/* ---- a named query: bars(sym, n) gives n rows ---- */

static const struct column_def bar_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"n", PST_LONG}};
static int calls, releases;

static const struct query_function *bars_find(void *ctx, const char *name)
{
    static const struct query_column cols[] = {
        {"date", PST_DATE}, {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"n", PST_LONG}};
    static const struct query_call_param params[] = {{"sym", PST_SYMBOL, false},
                                                     {"rows", PST_LONG, true}};
    static const struct query_function f = {
        .name = "bars", .nparams = 2, .params = params, .ncols = 4, .cols = cols};
    (void)ctx;
    return !name || !strcmp(name, "bars") ? &f : NULL;
}
static const struct query_function *bars_at(void *ctx, unsigned i)
{
    return i ? NULL : bars_find(ctx, NULL);
}
struct bars {
    struct view *view;
    int64_t time[100], n[100];
    uint32_t sym[100];
    const void *data[3];
};
static bool bars_call(void *ctx, const struct query_function *f, struct plan_expr *const *args,
                      struct query_env *env, const struct plan_limits *limits, void **source,
                      struct query_error *e)
{
    static struct bars b;
    struct err err;
    (void)ctx;
    (void)f;
    (void)env;
    (void)limits;
    calls++;
    int64_t n = args[1]->is_null ? 3 : args[1]->value.i;
    if (n > 100) {
        return query_error_set(e, QUERY_FAILED, -1, "bars: too many");
    }
    assert_int_equal(args[0]->type, PST_SYMBOL);
    for (int64_t i = 0; i < n; i++) {
        b.time[i] = i;
        b.n[i] = i * 10;
        b.sym[i] = view_sym_find(&kit->syms, args[0]->value.text.p, args[0]->value.text.len);
    }
    b.data[0] = b.time;
    b.data[1] = b.sym;
    b.data[2] = b.n;
    struct view_memory_part part = {.date = 0, .rows = (uint64_t)n, .data = b.data};
    b.view = view_from_memory("bars", bar_cols, 3, &kit->syms, &part, 1, &err);
    *source = b.view;
    return b.view != NULL;
}
static void bars_release(void *ctx, void *source)
{
    (void)ctx;
    releases++;
    view_free(source);
}

static void test_named_queries(void **state)
{
    (void)state;
    struct query_error e;
    answers("select sym, n from bars('BBB', 2)", "sym|n\nBBB|0\nBBB|10");
    answers(
        "call bars(rows => 2, sym => 'AAA')",
        "time|sym|n\n2000.01.01D00:00:00.000000000|AAA|0\n2000.01.01D00:00:00.000000001|AAA|10");
    answers("select sum(n), count(*) from bars(`AAA) b where b.n > 0", "sum|count\n30|2");
    assert_int_equal(calls, 3);
    assert_int_equal(releases, 3);
    static const struct {
        const char *sql, *part;
        int64_t at;
    } bad[] = {{"select * from bars()", "bars wants its parameter sym (symbol)", 14},
               {"select * from bars('A', 1, 2)", "at most 2 arguments, not 3", 14},
               {"select * from bars('A', rowz => 2)", "no parameter rowz; it has rows", 24},
               {"select * from bars('A', sym => 'B')", "parameter sym of bars is given twice", 14},
               {"select * from bars('A', 'x')", "'x' is no long", 24},
               {"select * from bars(sym)", "there is no column sym: the query has no FROM", 19},
               {"select date from bars('A')", "there is no column date in bars", 7},
               {"select bars('A')", "bars is a named query: it stands in FROM", 7},
               {"select * from bar('A')", "no named query bar; did you mean bars?", 14},
               {"call bars('A', 1000)", "bars: too many", -1},
               {"select * from bars(`AAA) latest by nosuch", "no column nosuch", 35}};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        struct result *r = kit_query(kit, bad[i].sql, &e);
        if (r || !strstr(e.text, bad[i].part) || e.position != bad[i].at) {
            fail_msg("%s: at %lld: %s", bad[i].sql, (long long)e.position, r ? "passed" : e.text);
        }
    }
    answers("explain select n from bars('A') where n > 5",
            "plan\ncall bars(sym => `A, rows => NULL)\nscan bars, all dates\n  filter (n > 5)\n  "
            "read n\n"
            "output n long");
    assert_int_equal(calls, 4); /* EXPLAIN does not call */
}

static void test_explain(void **state)
{
    (void)state;
    answers("explain select count(*) from trade where date = '2024-01-02' and sym = 'AAA'",
            "plan\nscan trade, date 2024.01.02, sym `AAA\n  read date sym\n"
            "  partitions 2, pruned 1; chunks 1, pruned 0; row lists 1\ngroup all rows\naggregate "
            "count(*)\noutput count long");
    struct result *r = kit_query(
        kit, "explain analyze select size from trade where date = '2024-01-03' and sym = 'AAA'",
        NULL);
    char *text = kit_text(r);
    assert_non_null(strstr(text, "partitions 2, pruned 1"));
    assert_non_null(strstr(text, "matched 1"));
    assert_non_null(strstr(text, "took "));
    free(text);
    result_free(r);
}

static void test_limits(void **state)
{
    (void)state;
    struct query_error e;
    assert_null(run("select * from trade", NULL, 0, (struct plan_limits){.rows_max = 3}, &e));
    assert_int_equal(e.code, QUERY_LIMIT);
    struct result *r =
        run("select * from trade limit 3", NULL, 0, (struct plan_limits){.rows_max = 3}, &e);
    assert_non_null(r);
    assert_int_equal(r->rows, 3);
    result_free(r);
    _Atomic int cancel = 1;
    assert_null(run("select * from trade", NULL, 0, (struct plan_limits){.cancel = &cancel}, &e));
    assert_int_equal(e.code, QUERY_CANCELLED);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t past = now.tv_sec * 1000000000ll + now.tv_nsec - 1;
    assert_null(run("select * from trade", NULL, 0, (struct plan_limits){.deadline_ns = past}, &e));
    assert_int_equal(e.code, QUERY_TIMEOUT);
    assert_null(run("select size * 1000000000000000000 from trade where sym = 'BBB'", NULL, 0,
                    (struct plan_limits){0}, &e));
    assert_int_equal(e.code, QUERY_VALUE);
    assert_int_equal(e.position, 12);
    assert_int_equal(e.column, 13);
    assert_null(run("select\n text::long from trade", NULL, 0, (struct plan_limits){0}, &e));
    assert_int_equal(e.code, QUERY_VALUE);
    assert_int_equal(e.line, 2);
    assert_int_equal(e.column, 6);
}

static unsigned gap_notes(const char *sql, const char *part)
{
    struct result *r = kit_query(kit, sql, NULL);
    unsigned n = 0;
    bool found = !*part;
    for (unsigned i = 0; i < r->nnotes; i++) {
        n += r->note[i].kind == RESULT_NOTE_GAP;
        found |= strstr(r->note[i].text, part) != NULL;
    }
    if (!found) {
        fail_msg("%s: no note has '%s'; the first is: %s", sql, part,
                 r->nnotes ? r->note[0].text : "(none)");
    }
    result_free(r);
    return n;
}

static void test_gaps(void **state)
{
    (void)state;
    kit->env.check_gaps = true;
    assert_int_equal(gap_notes("select * from trade where date = '2024-01-02'",
                               "spans 2 gaps in the feed: 61 messages"),
                     3);
    assert_int_equal(gap_notes("select * from trade where date = '2024-01-02'",
                               "gap: itch/S1 100 to 150 at 2024.01.02D09:30:30.000000000 (lost)"),
                     3);
    assert_int_equal(gap_notes("select count(*) from trade where date = '2024-01-03'", ""), 0);
    assert_int_equal(
        gap_notes("select count(*) from trade where date in ('2024-01-02', '2024-01-03')",
                  "2 gaps"),
        3);
    assert_int_equal(
        gap_notes("select count(*) from trade where time < '2024-01-02 09:30'", "1 gap in"), 2);
    assert_int_equal(gap_notes("select count(*) from trade where time > '2024-01-02 12:00'", ""),
                     0);
    assert_int_equal(gap_notes("select count(*) from big", "2 gaps"), 3);
    assert_int_equal(gap_notes("select * from gap", ""), 0);   /* they are the answer */
    assert_int_equal(gap_notes("select * from quote", ""), 0); /* no feed fills it */
    assert_int_equal(gap_notes("select 1", ""), 0);
    assert_int_equal(gap_notes("select * from trade where false", ""), 0);
    assert_int_equal(gap_notes("explain select * from trade", ""), 0);
    static const struct query_note notes[] = {{RESULT_NOTE_BEHIND, "memory is 2 s behind"}};
    kit->env.notes = notes;
    kit->env.nnotes = 1;
    struct result *r = kit_query(kit, "select 1", NULL);
    assert_int_equal(r->nnotes, 1);
    assert_int_equal(r->note[0].kind, RESULT_NOTE_BEHIND);
    assert_string_equal(r->note[0].text, "memory is 2 s behind");
    result_free(r);
    kit->env.notes = NULL;
    kit->env.nnotes = 0;
    kit->env.check_gaps = false;
}

static int setup(void **state)
{
    static const struct column_def trade[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                              {"feed", PST_SYMBOL},    {"price", PST_FLOAT},
                                              {"size", PST_INT},       {"text", PST_STRING}};
    static const struct column_def quote[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"bid", PST_FLOAT}};
    static const struct query_view views[] = {
        {"big", "select sym, size, price * size as value from trade where size >= 30"},
        {"bought",
         "select sym, value / 10 as double from big where value is not null and sym = 'AAA'"},
        {"whole",
         "select date, sym, size from trade where (date, sym) not in (select date, sym from "
         "trade where size = 10 or size = 50)"}};
    static const char *const t[][6] = {{"2024.01.02D09:30:00", "AAA", "itch", "100", "10", "a"},
                                       {"2024.01.02D09:30:30", "BBB", "itch", "200", "50", "b"},
                                       {"2024.01.02D09:31:00", "AAA", "itch", "101", "30", "c"},
                                       {"2024.01.02D09:40:00", NULL, "itch", "5", NULL, "d"},
                                       {"2024.01.02D09:41:00", "AAA", "itch", "99", "0", NULL},
                                       {"2024.01.03D10:00:00", "AAA", "itch", NULL, "70", "f"}};
    static const char *const q[][3] = {{"2024.01.02D09:29:00", "AAA", "100"},
                                       {"2024.01.02D09:31:30", "AAA", "100.5"},
                                       {"2024.01.02D09:31:40", "BBB", NULL}};
    static const char *const g[][8] = {
        {"2024.01.02D09:30:30", NULL, "itch", "S1", "100", "150", "lost", "A,B"},
        {"2024.01.02D10:30:30", NULL, "itch", "S1", "200", "209", "lost", "A,B"}};
    (void)state;
    kit = kit_new();
    struct kit_table *tt = kit_add(kit, "trade", trade, PST_COUNT(trade));
    struct kit_table *qt = kit_add(kit, "quote", quote, PST_COUNT(quote));
    struct kit_table *gt = kit_add(kit, "gap", gap_columns, PST_COUNT(gap_columns));
    for (unsigned i = 0; i < PST_COUNT(t); i++) {
        kit_row_text(kit, tt, i < 5 ? 8767 : 8768, t[i]);
    }
    for (unsigned i = 0; i < PST_COUNT(q); i++) {
        kit_row_text(kit, qt, 8767, q[i]);
    }
    for (unsigned i = 0; i < PST_COUNT(g); i++) {
        kit_row_text(kit, gt, 8767, g[i]);
    }
    kit_build(kit);
    kit->env.views = views;
    kit->env.nviews = PST_COUNT(views);
    kit->env.functions = (struct query_functions){kit, bars_find, bars_at, bars_call, bars_release};
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    kit_free(kit);
    exec_pool_stop();
    return 0;
}

/* Inner SELECTs: one value, rows of values, NULL on either side, nothing, views, depth. */
static void test_inner(void **state)
{
    (void)state;
    answers("select count(*) from trade where sym in (select sym from quote where bid > 100)",
            "count\n4");
    answers("select price from trade where sym not in (select sym from quote where bid > 100)",
            "price\n200");
    answers("select count(*) from trade where sym not in (select sym from quote where bid > 999)",
            "count\n6");
    answers("select count(*) from trade where sym in (select sym from quote where bid > 999)",
            "count\n0");
    /* SQL's rule: with a NULL inside, NOT IN is never true */
    answers("select count(*) from trade where price not in (select bid from quote)", "count\n0");
    answers("select count(*) from trade where price in (select bid from quote)", "count\n1");
    answers("select price from trade where (date, sym, size) in "
            "(select date, sym, size from trade where text in ('b', 'c')) order by price",
            "price\n101\n200");
    answers("select size from trade where (date, sym, size) not in "
            "(select date, sym, size from trade where text in ('b', 'c')) order by size",
            "size\n0\n10\n70");
    answers("select count(*) from trade where (sym, size) in (select sym, count(*) * 50 from quote "
            "group by sym)",
            "count\n1");
    answers("select size in (select size from big) as x, count(*) from trade group by x order by x",
            "x|count\nfalse|2\ntrue|3\nNULL|1");
    answers("select count(*) from trade where sym in (select sym from quote where bid in (select "
            "price from trade where size = 10))",
            "count\n4");
    answers("select sym, size from whole where size > 20 order by size", "sym|size\nAAA|70");
    static const struct query_param p[] = {{"1", 0, "b"}};
    struct query_error e;
    struct result *r = run("select price from trade where size in (select size from trade where "
                           "text = $1)",
                           p, 1, (struct plan_limits){0}, &e);
    assert_int_equal(r->rows, 1);
    result_free(r);

    static const struct {
        const char *sql, *says;
    } bad[] = {
        {"select 1 from trade where (sym, size) in (select sym from quote)", "2 values with the 1"},
        {"select 1 from trade where sym in (select bid from quote)", "sym"},
        {"select 1 from trade where sym in (select syn from quote)", "did you mean sym"},
        {"select 1 from trade where sym in (select sym from self)", "too deeply"},
        {"select sum(size) filter (where sym in (select sym from quote)) from trade", "aggregate"},
        {"select 1 from trade where size in (select size + 9223372036854775807 from trade)",
         "overflow"},
    };
    static const struct query_view self = {
        "self", "select sym from trade where sym in (select sym from self)"};
    const struct query_view *views = kit->env.views;
    unsigned nviews = kit->env.nviews;
    kit->env.views = &self;
    kit->env.nviews = 1;
    assert_false(query_check_views(&kit->env, &e));
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        r = run(bad[i].sql, NULL, 0, (struct plan_limits){0}, &e);
        if (r || !strstr(e.text, bad[i].says)) {
            fail_msg("%s\n%s", bad[i].sql, r ? "gave rows" : e.text);
        }
    }
    kit->env.views = views;
    kit->env.nviews = nviews;
    /* The inner query reads only the outer one's dates, where it compares date with date. */
    answers("select count(*) from trade where date = 2024.01.03 and (date, size) in "
            "(select date, size from trade where size + 9223372036854775737 > 0)",
            "count\n1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements), cmocka_unit_test(test_params),
        cmocka_unit_test(test_views),      cmocka_unit_test(test_named_queries),
        cmocka_unit_test(test_explain),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_gaps),       cmocka_unit_test(test_inner),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
