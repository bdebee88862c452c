/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_standalone.c - streaming analytics in a program of one's own (penstock/standalone.h): the
 * textbook example, close handlers that are wrapped, the switch that leaves them alone, plugins
 * that clean up themselves; and the program penstock-rtp --standalone, over a pipe.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <penstock/standalone.h>

static struct {
    unsigned states, updates, results, lines;
    int64_t connection, id;
    uint32_t rows;
    uint8_t table[4096];
    uint64_t bytes;
} got;

static void on_message(void *arg, const struct pst_sa_message *m)
{
    assert_ptr_equal(arg, &got);
    assert_int_equal(m->size, sizeof *m);
    if (m->kind >= PST_SA_LOG) {
        got.lines++;
        assert_non_null(m->text);
        return;
    }
    got.states += m->kind == PST_SA_STATE;
    got.updates += m->kind == PST_SA_UPDATE;
    got.results += m->kind == PST_SA_RESULT;
    got.connection = m->connection;
    got.id = m->id;
    got.rows = m->rows;
    got.bytes = m->bytes;
    assert_true(m->bytes <= sizeof got.table);
    memcpy(got.table, m->table, m->bytes);
}

/* ---- the program's own close handler ---- */

static pst_sa_closed *handler;
static int64_t own_closes;
static struct pst_sa *sa;

static void on_close(int64_t connection)
{
    (void)connection;
    own_closes++;
}
static void on_close_by_hand(int64_t connection)
{
    own_closes++;
    pst_sa_disconnect(sa, connection);
}

static void open_sa(pst_sa_closed *own, bool zpc)
{
    char error[500] = "";
    static const char *const options[] = {"depth", "3", NULL};
    struct pst_sa_config c = {.size = sizeof c,
                              .zpc = zpc,
                              .closed = &handler,
                              .message = on_message,
                              .arg = &got,
                              .options = options};
    handler = own;
    own_closes = 0;
    memset(&got, 0, sizeof got);
    sa = pst_sa_open(&c, error, sizeof error);
    if (!sa)
        fail_msg("%s", error);
    assert_null(pst_sa_open(&c, error, sizeof error)); /* one in a process */
    static const struct pst_column cpu[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"load", PST_FLOAT}};
    static const struct pst_column trade[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"size", PST_LONG}, {"note", PST_STRING}};
    assert_int_equal(pst_sa_table(sa, "cpu", cpu, 3), 0);
    assert_int_equal(pst_sa_table(sa, "trade", trade, 4), 0);
    assert_int_equal(pst_sa_table(sa, "bad", cpu + 1, 2), -1);
}

static void load(const char *file)
{
    if (pst_sa_load(sa, file))
        fail_msg("%s", pst_sa_error(sa));
}

static void row(const char *sym, double value)
{
    struct pst_value v[3] = {{.type = PST_TIMESTAMP, .i = 5},
                             {.type = PST_SYMBOL, .text = {sym, (uint32_t)strlen(sym)}},
                             {.type = PST_FLOAT, .f = value}};
    assert_int_equal(pst_sa_row(sa, "cpu", v), 0);
}

static void trade(int64_t size)
{
    struct pst_value v[4] = {{.type = PST_TIMESTAMP, .i = 5},
                             {.type = PST_SYMBOL, .text = {"a", 1}},
                             {.type = PST_LONG, .i = size},
                             {.type = PST_STRING, .text = {"some words", 10}}};
    assert_int_equal(pst_sa_row(sa, "trade", v), 0);
    pst_sa_flush(sa);
}

static bool holds(const char *text)
{
    return memmem(got.table, got.bytes, text, strlen(text)) != NULL;
}

static void test_textbook(void **state)
{
    (void)state;
    open_sa(NULL, false);
    load(PST_RTP_CPU);
    row("alpha", 1);
    row("beta", 2);
    row("gamma", 3);
    static const char *const two[] = {"syms", "alpha,gamma", NULL};
    int64_t id = pst_sa_subscribe(sa, 7, ".cpu.sub", two);
    assert_true(id > 0);
    assert_int_equal(got.updates, 0);
    assert_int_equal(pst_sa_snapshot(sa, id), 0);
    assert_int_equal(got.states, 1);
    assert_int_equal(got.connection, 7);
    assert_int_equal(got.rows, 2);
    assert_true(holds("gamma") && !holds("beta"));
    row("beta", 4);
    pst_sa_flush(sa);
    assert_int_equal(got.updates, 0); /* filtered: nothing is sent */
    row("gamma", 5);
    pst_sa_flush(sa);
    assert_int_equal(got.updates, 1);
    assert_int_equal(got.id, id);
    assert_int_equal(got.rows, 1);
    static const char csv[] = "sym,load\nalpha,6\n\ngamma,7\n";
    assert_int_equal(pst_sa_csv(sa, "cpu", csv, sizeof csv - 1), 2);
    pst_sa_flush(sa);
    assert_int_equal(got.rows, 2);
    assert_int_equal(pst_sa_csv(sa, "cpu", "nothing\n1\n", 10), -1);
    assert_int_equal(pst_sa_unsubscribe(sa, id), 0);
    assert_int_equal(pst_sa_unsubscribe(sa, id), -1);
    assert_int_equal(pst_sa_snapshot(sa, id), -1);
    static const char *const wrong[] = {"full", "perhaps", NULL};
    assert_int_equal(pst_sa_subscribe(sa, 7, ".cpu.sub", wrong), -1);
    assert_non_null(strstr(pst_sa_error(sa), "full"));
    assert_int_equal(pst_sa_subscribe(sa, 7, "nobody", NULL), -1);
    char *list = pst_sa_list(sa);
    assert_non_null(strstr(list, ".cpu.sub"));
    assert_non_null(strstr(list, "\"vwap\""));
    free(list);
    pst_sa_close(sa);
    assert_null(handler);
}

static int64_t closes(void)
{
    static const char *const what[] = {"what", "closes", NULL};
    assert_int_equal(pst_sa_call(sa, 1, "test.try", what), 0);
    int64_t v;
    memcpy(&v, got.table + got.bytes - 8, 8);
    return v; /* 100 * calls of the hook + subscriptions */
}

/* A handler that is there runs first, then the plugins' hooks, then subscriptions end. */
static void test_wrapped(void **state)
{
    (void)state;
    open_sa(on_close, false);
    assert_ptr_not_equal(handler, on_close);
    load(PST_RTP_MISBEHAVE);
    assert_true(pst_sa_subscribe(sa, 1, "test.rows", NULL) > 0);
    assert_true(pst_sa_subscribe(sa, 2, "test.rows", NULL) > 0);
    trade(5);
    assert_int_equal(got.updates, 2);
    assert_int_equal(closes(), 2);
    handler(1);
    assert_int_equal(own_closes, 1);
    assert_int_equal(closes(), 101);
    trade(6);
    assert_int_equal(got.updates, 3);
    assert_int_equal(got.connection, 2);
    assert_true(holds("some words"));
    pst_sa_close(sa);
    assert_ptr_equal(handler, on_close);
}

/* With zpc the handler is left alone: nothing is cleaned up until pst_sa_disconnect. */
static void test_zpc(void **state)
{
    (void)state;
    open_sa(on_close, true);
    assert_ptr_equal(handler, on_close);
    load(PST_RTP_MISBEHAVE);
    assert_true(pst_sa_subscribe(sa, 1, "test.rows", NULL) > 0);
    handler(1);
    assert_int_equal(own_closes, 1);
    assert_int_equal(closes(), 1);
    handler = on_close_by_hand;
    handler(1);
    assert_int_equal(closes(), 100);
    pst_sa_close(sa);
    assert_ptr_equal(handler, on_close_by_hand);
}

/* No handler: the clean-up becomes it. A plugin with own_close cleans up itself, or not. */
static void test_own_close(void **state)
{
    (void)state;
    open_sa(NULL, false);
    assert_non_null(handler);
    load(PST_RTP_OWN_CLOSE);
    assert_true(pst_sa_subscribe(sa, 1, "test.rows", NULL) > 0);
    assert_true(pst_sa_subscribe(sa, 77, "test.rows", NULL) > 0);
    handler(77);
    assert_int_equal(closes(), 102); /* it was told, and keeps it */
    handler(1);
    assert_int_equal(closes(), 201);
    pst_sa_close(sa);
}

static void test_timers_and_debugging(void **state)
{
    (void)state;
    open_sa(NULL, false);
    load(PST_RTP_MISBEHAVE);
    assert_true(pst_sa_timers(sa) == INT64_MAX);
    static const char *const debug[] = {"on", "1", NULL};
    assert_int_equal(pst_sa_call(sa, 1, ".sa.log.setDebug", debug), 0);
    assert_int_equal(got.table[got.bytes - 1], 0); /* it was off */
    assert_true(pst_sa_subscribe(sa, 1, "test.rows", NULL) > 0);
    assert_true(got.lines > 0);
    static const char *const held[] = {"syms", "a", NULL};
    assert_int_equal(pst_sa_subscribe(sa, 1, "test.held", held), -1); /* no memory to ask */
    pst_sa_close(sa);
}

/* ---- the program ---- */

static void program(const char *requests, const char *const *answers)
{
    char command[2048], line[4096];
    snprintf(command, sizeof command,
             "printf '%%s' '%s' | %s --standalone --no-built-in --plugin %s --table "
             "'cpu: time timestamp, sym symbol, load float' 2>&1",
             requests, PST_RTP, PST_RTP_CPU);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    for (; *answers; answers++) {
        if (!fgets(line, sizeof line, f))
            fail_msg("no %s", *answers);
        json_t *want = json_loads(*answers, 0, NULL), *have = json_loads(line, 0, NULL);
        if (!want || !json_equal(want, have))
            fail_msg("%s is not %s", line, *answers);
        json_decref(want);
        json_decref(have);
    }
    if (fgets(line, sizeof line, f))
        fail_msg("more: %s", line);
    assert_int_equal(pclose(f), 0);
}

static void test_program(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{\"id\":1}",
        "{\"id\":1,\"state\":[]}",
        "{\"id\":1,\"update\":[{\"sym\":\"alpha\",\"time\":\"2024.08.05D09:30:00.000000000\","
        "\"load\":1.5}]}",
        "{\"ok\":true,\"rows\":2}",
        "{\"id\":1,\"state\":[{\"sym\":\"alpha\",\"time\":\"2024.08.05D09:30:00.000000000\","
        "\"load\":1.5}]}",
        "{\"ok\":true}",
        "{\"error\":\"there is no subscription 1\"}",
        "{\"ok\":true,\"rows\":1}",
        NULL};
    program("{\"sub\":\".cpu.sub\",\"params\":{\"syms\":\"alpha\"}}\n"
            "{\"rows\":\"cpu\",\"csv\":\"time,sym,load\\n2024-08-05T09:30:00Z,alpha,1.5\\n,beta,2"
            "\\n\"}\n{\"snapshot\":1}\n{\"unsub\":1}\n{\"unsub\":1}\n"
            "{\"rows\":\"cpu\",\"csv\":\"sym,load\\nalpha,9\\n\"}\n",
            answers);
}

/* Mistakes on its command line: one line that says what, and no answer to anybody. */
static void test_program_mistakes(void **state)
{
    static const struct {
        const char *arguments, *says;
        int code;
    } cases[] = {
        {"--help", "penstock-rtp --standalone: streaming analytics without penstockd", 0},
        {"--table 't: time timestamp, sym symbol, x flat'",
         "penstock-rtp: --table t: column x: there is no type 'flat'", 2},
        {"--table 't: time timestamp, sym'", "penstock-rtp: --table t: a column is a name", 2},
        {"--table t", "penstock-rtp: --table t: no colon behind its name", 2},
        {"--table 't: sym symbol'", "penstock-rtp: --table t: table t: every table starts", 2},
        {"--csv t=/dev/null", "penstock-rtp: --csv t: there is no table t", 1},
        {"--table 't: time timestamp, sym symbol' --csv t=/nowhere/x.csv",
         "penstock-rtp: --csv /nowhere/x.csv: No such file or directory", 1},
        {"--journal /nowhere", "penstock-rtp: journal /nowhere: No such file or directory", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[1024], line[1024] = "";
        snprintf(command, sizeof command, "%s --standalone %s 2>&1 </dev/null", PST_RTP,
                 cases[i].arguments);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        if (!fgets(line, sizeof line, f) || strncmp(line, cases[i].says, strlen(cases[i].says)))
            fail_msg("%s: %s", cases[i].arguments, line);
        bool more = fgets(line, sizeof line, f);
        while (fgets(line, sizeof line, f))
            ;
        assert_int_equal(more, !cases[i].code);
        assert_int_equal(WEXITSTATUS(pclose(f)), cases[i].code);
    }
}

/* The interface from C++, with hidden symbols. */
static void test_cpp(void **state)
{
    char error[500];
    struct pst_sa_config c = {.size = sizeof c, .no_builtin = 1};
    (void)state;
    sa = pst_sa_open(&c, error, sizeof error);
    assert_non_null(sa);
    if (pst_sa_load(sa, PST_RTP_CPP))
        fail_msg("%s", pst_sa_error(sa));
    pst_sa_close(sa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_textbook),
                                       cmocka_unit_test(test_wrapped),
                                       cmocka_unit_test(test_zpc),
                                       cmocka_unit_test(test_own_close),
                                       cmocka_unit_test(test_timers_and_debugging),
                                       cmocka_unit_test(test_program),
                                       cmocka_unit_test(test_program_mistakes),
                                       cmocka_unit_test(test_cpp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
