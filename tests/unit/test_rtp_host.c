/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_rtp_host.c - the program penstock-rtp: subscriptions, snapshots and updates in order and at
 * positions, parameters, history at a cut, functions before the start, plugins at run time, timers,
 * marks, debugging; plugins that crash, loop, leak or publish what they must not; its sandbox.
 */
#include "rtp_kit.h"

#define MISBEHAVE "[\"" PST_RTP_MISBEHAVE "\"]"
#define CPU       "[\"" PST_RTP_CPU "\"]"

static const char *const well[] = {"how", "s", "well", "syms", "S", "", NULL};

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    rk_open();
    rk_spawn();
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rk_close();
    return 0;
}

static json_t *of(json_t *ready, const char *list, const char *name)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(ready, list), i, o)
    {
        if (!strcmp(json_string_value(json_object_get(o, "name")), name))
            return o;
    }
    fail_msg("%s is not among the %s", name, list);
    return NULL;
}

/* ---- the textbook: three servers, deltas, a late joiner, full state ---- */

static void test_textbook(void **state)
{
    (void)state;
    json_t *ready = rk_attach(CPU, "");
    json_t *a = of(ready, "analytics", ".cpu.sub");
    assert_int_equal(json_array_size(json_object_get(a, "parameters")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(a, "key"), 0)), "sym");
    json_decref(ready);
    rk_load("alpha", 1);
    rk_journal(); /* before the start: not seen */
    rk_start("{}");
    rk_load("alpha", 10);
    rk_load("beta", 20);
    rk_load("gamma", 30);
    rk_journal();
    rk_settle();
    static const char *const two[] = {"syms", "S", "alpha,gamma", "full", "b", "0", NULL};
    uint64_t uid = rk_subscribe(".cpu.sub", two);
    json_t *shape = rtp_subscribed_check(rk.m.body, rk.m.head.length, &(struct err){0});
    assert_false(json_is_true(json_object_get(shape, "full")));
    json_decref(shape);
    rk_tell(RTP_WIRE_SNAPSHOT, 77, uid, NULL, 0);
    rk_expect(RTP_WIRE_STATE);
    assert_int_equal(rk.whole.id, 77);
    assert_int_equal(rk.whole.rows, 2);
    assert_int_equal(rk.whole.value, ring_tail(&rk.k->ring)); /* behind all that was journaled */
    assert_string_equal(rk_symbol("sym", 1), "gamma");
    struct kdb_object o;
    kdb_object_view(&o, rk.whole.data, KDB_LITTLE);
    assert_int_equal(o.type, KDB_DICT); /* keyed */
    rk_load("beta", 21);                /* filtered: nothing is sent */
    rk_journal();
    rk_load("gamma", 31);
    rk_journal();
    rk_expect(RTP_WIRE_UPDATE);
    assert_int_equal(rk.whole.id, uid);
    assert_int_equal(rk.whole.rows, 1);
    assert_int_equal(rk.whole.value, ring_tail(&rk.k->ring));
    assert_string_equal(rk_symbol("sym", 0), "gamma");
    struct kdb_object load = rk_column("load");
    assert_true(kdb_object_double(&load, 0) == 31);
    /* one that comes late and wants full states of all */
    static const char *const all[] = {"syms", "S", "", "full", "b", "1", NULL};
    uint64_t late = rk_subscribe(".cpu.sub", all);
    assert_true(late != uid);
    shape = rtp_subscribed_check(rk.m.body, rk.m.head.length, &(struct err){0});
    assert_true(json_is_true(json_object_get(shape, "full")));
    json_decref(shape);
    rk_tell(RTP_WIRE_SNAPSHOT, 78, late, NULL, 0);
    rk_expect(RTP_WIRE_STATE);
    assert_int_equal(rk.whole.rows, 3);
    rk_load("beta", 22);
    rk_journal();
    rk_expect(RTP_WIRE_UPDATE); /* the first is not told of beta */
    assert_int_equal(rk.whole.id, late);
    assert_int_equal(rk.whole.rows, 3);
    rk_tell(RTP_WIRE_UNSUBSCRIBE, 0, late, NULL, 0);
    rk_tell(RTP_WIRE_UNSUBSCRIBE, 0, 4711, NULL, 0); /* unknown: no error */
    rk_tell(RTP_WIRE_SNAPSHOT, 79, late, NULL, 0);
    rk_expect(RTP_WIRE_REFUSED);
    assert_int_equal(rk.m.head.id, 79);
    rk_load("alpha", 11);
    rk_journal();
    rk_expect(RTP_WIRE_UPDATE);
    assert_int_equal(rk.whole.id, uid);
    rk_ping();
    assert_int_equal(rk.beat.subscriptions, 1);
    assert_int_equal(rk.beat.subscribed, 2);
    assert_int_equal(rk.beat.snapshots, 2);
    rk_tell(RTP_WIRE_STOP, 0, 0, NULL, 0);
    rk_expect(0);
    assert_int_equal(rk_status(), 0);
}

/* ---- refusals ---- */

static void refused(const char *name, const char *const *params, const char *part)
{
    uint64_t id = rk_ask(RTP_WIRE_SUBSCRIBE, name, params);
    rk_expect(RTP_WIRE_REFUSED);
    assert_int_equal(rk.m.head.id, id);
    if (!strstr(rk.m.body, part))
        fail_msg("%s", rk.m.body);
}

static void test_refusals(void **state)
{
    (void)state;
    json_decref(rk_attach(MISBEHAVE, ""));
    refused("test.rows", well, "not started");
    rk_start("{}");
    refused("nobody", NULL, "no analytic nobody");
    refused("test.rows", NULL, "parameter how");
    static const char *const wrong[] = {"how", "j", "5", "syms", "S", "", NULL};
    refused("test.rows", wrong, "is not a symbol");
    static const char *const one[] = {"how", "s", "well", "syms", "s", "a", NULL};
    refused("test.rows", one, "is not a symbol list");
    static const char *const refuse[] = {"how", "s", "refuse", "syms", "S", "", NULL};
    refused("test.rows", refuse, "not today");
    static const char *const silent[] = {"how", "s", "silent", "syms", "S", "", NULL};
    refused("test.rows", silent, "no reason");
    static const char *const same[] = {"how", "s", "same", "syms", "S", "", NULL};
    rk_subscribe("test.rows", same);
    refused("test.rows", same, "twice");
    rk_ping();
    assert_int_equal(rk.beat.subscriptions, 1);
}

/* ---- events: each row once, in order, strings and symbols ---- */

static void test_events(void **state)
{
    (void)state;
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    rk_subscribe("test.rows", well);
    const int n = 5000;
    for (int i = 0; i < n; i++) {
        char sym[16];
        snprintf(sym, sizeof sym, "s%d", i % 100);
        rk_trade(sym, i, i % 3 ? "" : "a note", KIT_DAY);
        if (i % 500 == 499)
            rk_journal();
    }
    uint64_t position = 0;
    for (int i = 0; i < n; i++) {
        char sym[16];
        snprintf(sym, sizeof sym, "s%d", i % 100);
        rk_expect(RTP_WIRE_UPDATE);
        assert_int_equal(rk_long("size", 0), i);
        assert_string_equal(rk_symbol("sym", 0), sym);
        struct kdb_object note = rk_column("note");
        struct kdb_items it;
        assert_true(kdb_items(&note, &it));
        uint32_t len;
        kdb_object_text(&it.item, &len);
        assert_int_equal(len, i % 3 ? 0 : 6);
        assert_true(rk.whole.value >= position);
        position = rk.whole.value;
    }
    assert_int_equal(position, ring_tail(&rk.k->ring));
    rk_ping();
    assert_int_equal(rk.beat.updates, n);
    assert_int_equal(rk.beat.update_rows, n);
}

/* What is published before a snapshot's answer is in it; what is behind it is not. */
static void test_snapshot_order(void **state)
{
    (void)state;
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    uint64_t uid = rk_subscribe("test.rows", well);
    int64_t updates = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 7; i++)
            rk_trade("a", round * 7 + i, "", KIT_DAY);
        rk_tell(RTP_WIRE_SNAPSHOT, 5, uid, NULL, 0);
        rk_journal();
        for (bool state_came = false; !state_came || updates < (round + 1) * 7;) {
            int type = rk_message();
            if (type == RTP_WIRE_UPDATE)
                updates++;
            else {
                assert_int_equal(type, RTP_WIRE_STATE);
                assert_int_equal(rk_long("size", 0), updates); /* rows seen */
                state_came = true;
            }
        }
    }
}

/* ---- what plugins may get wrong ---- */

static void test_wrong_results(void **state)
{
    (void)state;
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    static const char *const columns[] = {"how", "s", "columns", "syms", "S", "", NULL};
    static const char *const type[] = {"how", "s", "type", "syms", "S", "", NULL};
    rk_subscribe("test.rows", columns);
    rk_subscribe("test.rows", type);
    rk_trade("a", 1, "", KIT_DAY);
    rk_journal();
    rk_settle();
    rk_subscribe("test.rows", well);
    rk_trade("a", 2, "", KIT_DAY);
    rk_journal();
    rk_expect(RTP_WIRE_UPDATE); /* of the sound one */
    assert_int_equal(rk_long("size", 0), 2);
    rk_ping();
    assert_true(rk.beat.errors >= 2);
    if (!strstr(rk.log, "other columns"))
        fail_msg("%s", rk.log);
}

static void dies(const char *how, int signal_or_0)
{
    const char *const params[] = {"how", "s", how, "syms", "S", "", NULL};
    rk_ask(RTP_WIRE_SUBSCRIBE, "test.rows", params);
    if (!strcmp(how, "crash_later")) {
        rk_expect(RTP_WIRE_SUBSCRIBED);
        rk_trade("a", 1, "", KIT_DAY);
        rk_journal();
    }
    rk_expect(0);
    int status = rk_status();
    if (!PST_SANITIZED)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal_or_0);
}

static void test_crashes(void **state)
{
    (void)state;
    static const struct {
        const char *how;
        int signal;
    } cases[] = {{"crash", SIGSEGV}, {"abort", SIGABRT}, {"crash_later", SIGSEGV}};
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        json_decref(rk_attach(MISBEHAVE, ""));
        rk_start("{}");
        dies(cases[i].how, cases[i].signal);
        rk_kill();
        if (i + 1 < PST_COUNT(cases))
            rk_spawn();
    }
}

/* No beat comes while a plugin loops: nothing is said that is not so. And it says who it is. */
static void test_loop(void **state)
{
    (void)state;
    int err[2];
    char line[300] = "";
    rk_kill();
    assert_int_equal(pipe(err), 0);
    rk_stderr = err[1];
    rk_spawn();
    rk_stderr = -1;
    close(err[1]);
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    rk_ping();
    const char *const params[] = {"how", "s", "loop", "syms", "S", "", NULL};
    rk_ask(RTP_WIRE_SUBSCRIBE, "test.rows", params);
    rk_tell(RTP_WIRE_PING, 0, 99, NULL, 0);
    struct pollfd p = {rk.fd, POLLIN, 0}, e = {err[0], POLLIN, 0};
    assert_int_equal(poll(&p, 1, 1300), 0); /* longer than a beat's second */
    assert_int_equal(poll(&e, 1, 5000), 1);
    assert_true(read(err[0], line, sizeof line - 1) > 0);
    if (!strstr(line, "not done") || !strstr(line, "in subscribe of plugin misbehave, test.rows"))
        fail_msg("%s", line);
    close(err[0]);
}

static void test_leak(void **state)
{
    (void)state;
    if (PST_SANITIZED)
        skip();
    json_decref(rk_attach(MISBEHAVE, ",\"memory\":33554432"));
    rk_start("{}");
    const char *const params[] = {"how", "s", "leak", "syms", "S", "", NULL};
    refused("test.rows", params, "the memory has an end");
}

static void test_sandbox(void **state)
{
    (void)state;
    if (PST_SANITIZED)
        skip();
    static const char *const write_[] = {"what", "s", "write", NULL};
    static const char *const read_[] = {"what", "s", "read", NULL};
    static const char *const socket_[] = {"what", "s", "socket", NULL};
    static const char *const fork_[] = {"what", "s", "fork", NULL};
    json_decref(rk_attach(MISBEHAVE, ""));
    assert_int_equal(rk_call("test.try", write_), -EPERM);
    assert_int_equal(rk_call("test.try", read_), 0);
    rk_ask(RTP_WIRE_CALL, "test.try", socket_);
    rk_expect(0);
    int status = rk_status();
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    rk_kill();
    rk_spawn();
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_ask(RTP_WIRE_CALL, "test.try", fork_);
    rk_expect(0);
}

/* ---- functions, also before the start; options; libraries ---- */

static int64_t try(const char *what)
{
    const char *const params[] = {"what", "s", what, NULL};
    return rk_call("test.try", params);
}
static void try_refused(const char *what, const char *part)
{
    const char *const params[] = {"what", "s", what, NULL};
    rk_ask(RTP_WIRE_CALL, "test.try", params);
    rk_expect(RTP_WIRE_REFUSED);
    if (!strstr(rk.m.body, part))
        fail_msg("%s", rk.m.body);
}

static void test_functions(void **state)
{
    (void)state;
    static const char *const sum[] = {"a", "j", "40", "b", "j", "2", NULL};
    json_t *ready = rk_attach(MISBEHAVE, ",\"options\":{\"depth\":\"17\"},\"libraries\":{\"mine\":"
                                         "\"" PST_RTP_CPU "\"}");
    json_t *f = of(ready, "functions", "test.add");
    json_t *b = json_array_get(json_object_get(f, "parameters"), 1);
    assert_string_equal(json_string_value(json_object_get(b, "default")), "1");
    json_decref(ready);
    assert_int_equal(rk_call("test.add", sum), 42); /* CTL-03: not started */
    assert_int_equal(try("option"), 17);
    assert_int_equal(try("library"), 1);
    try_refused("what", "what?");
    try_refused("history", "only while subscribing");
    try_refused("emit", "only processors");
    rk_start("{}");
    assert_int_equal(rk_call("test.add", sum), 42);
    rk_ask(RTP_WIRE_CALL, "test.none", NULL);
    rk_expect(RTP_WIRE_REFUSED);
    rk_ping();
    assert_int_equal(rk.beat.calls, 7);
}

/* A group whose library is not there does not begin. */
static void test_missing_library(void **state)
{
    (void)state;
    static const char attach[] =
        "{\"group\":\"test\",\"segments\":[],\"log\":{\"directories\":[],\"prefix\":\"log\"},"
        "\"plugins\":[],\"schemas\":[],\"libraries\":{\"mine\":\"/nowhere/x.so\"}}";
    rk_tell(RTP_WIRE_ATTACH, 0, 0, attach, sizeof attach - 1);
    rk_expect(0);
    int status = rk_status();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    if (!strstr(rk.log, "library") || !strstr(rk.log, "/nowhere/x.so"))
        fail_msg("%s", rk.log);
}

static void test_debugging(void **state)
{
    (void)state;
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    assert_int_equal(try("debug"), 0);
    assert_null(strstr(rk.log, "for debugging"));
    rk_tell(RTP_WIRE_DEBUG, 0, 1, NULL, 0);
    assert_int_equal(try("debug"), 1);
    assert_non_null(strstr(rk.log, "for debugging"));
    uint64_t uid = rk_subscribe("test.rows", well);
    rk_tell(RTP_WIRE_UNSUBSCRIBE, 0, uid, NULL, 0);
    try("debug");
    assert_non_null(strstr(rk.log, "subscribe test.rows how=well"));
    assert_non_null(strstr(rk.log, "unsubscribe test.rows"));
    rk_tell(RTP_WIRE_DEBUG, 0, 0, NULL, 0);
    rk.log[0] = 0;
    assert_int_equal(try("debug"), 0);
    assert_string_equal(rk.log, "");
}

/* ---- plugins at run time ---- */

static void plugin(const char *verb, const char *file, const char *part)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"%s\":\"%s\"}", verb, file);
    rk_tell(RTP_WIRE_PLUGIN, 9, 0, text, strlen(text));
    rk_expect(RTP_WIRE_PLUGIN_DONE);
    char done[RTP_SENTENCE + 1];
    snprintf(done, sizeof done, "%s", rk.m.body);
    rk_expect(RTP_WIRE_READY);
    if (*part ? !strstr(done, part) : *done)
        fail_msg("%s", done);
}

static void test_plugins(void **state)
{
    (void)state;
    json_decref(rk_attach("[]", ""));
    rk_start("{}");
    refused("test.rows", well, "no analytic");
    plugin("load", "/nowhere/x.so", "/nowhere/x.so");
    plugin("load", PST_RTP_CPU, "");
    assert_non_null(strstr((const char *)rk.whole.data, ".cpu.sub"));
    plugin("load", PST_RTP_CPU, "loaded already");
    static const char *const all[] = {"syms", "S", "", "full", "b", "0", NULL};
    uint64_t uid = rk_subscribe(".cpu.sub", all);
    rk_load("alpha", 5);
    rk_journal();
    rk_expect(RTP_WIRE_UPDATE);
    plugin("unload", "cpu_stream", "serves 1 subscription");
    rk_tell(RTP_WIRE_UNSUBSCRIBE, 0, uid, NULL, 0);
    plugin("unload", "cpu_stream", "");
    assert_null(strstr((const char *)rk.whole.data, ".cpu.sub"));
    plugin("unload", "cpu_stream", "is not loaded");
    refused(".cpu.sub", all, "no analytic");
    rk_load("alpha", 6);
    rk_journal();
    plugin("load", PST_RTP_MISBEHAVE, ""); /* its processors are not run: nobody chose them */
    plugin("load", PST_RTP_CPU, "");
    rk_subscribe(".cpu.sub", all);
}

/* ---- history: what is in memory and what comes, each once ---- */

static uint64_t answer_cut(void)
{
    rk_expect(RTP_WIRE_CUT_WANTED);
    uint64_t wanted = rk.m.head.value;
    rk_trade("late", 1000, "", KIT_DAY); /* the cut lies farther than the process has read */
    rk_journal();
    struct cut *c = rk_cut();
    assert_true(c->position >= wanted);
    rk_tell(RTP_WIRE_CUT, 0, 0, c, c->bytes);
    uint64_t at = c->position;
    free(c);
    rk_expect(RTP_WIRE_CUT_DONE);
    return at;
}

static void held(const char *syms, const char *last, int64_t sum)
{
    const char *const params[] = {"syms", "S", syms, "last", "b", last, NULL};
    rk_ask(RTP_WIRE_SUBSCRIBE, "test.held", params);
    uint64_t at = answer_cut();
    rk_expect(RTP_WIRE_SUBSCRIBED);
    rk_tell(RTP_WIRE_SNAPSHOT, 3, rk.m.head.value, NULL, 0);
    rk_expect(RTP_WIRE_STATE);
    assert_int_equal(rk_long("rows", 0), sum);
    assert_int_equal(rk.whole.value, at);
}

static void test_history(void **state)
{
    (void)state;
    rk_trade("a", 1, "x", KIT_DAY);
    rk_trade("b", 2, "", KIT_DAY);
    rk_trade("a", 3, "some text", KIT_DAY);
    rk_trade("c", 4, "", KIT_DAY);
    rk_journal();
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    held("", "0", 1010); /* with each cut another 1000 */
    held("a,b,a,nobody", "0", 6);
    held("a,b", "1", 5);
    held("", "1", 3 + 2 + 4 + 1000);
    static const char *const all[] = {"syms", "S", "", "last", "b", "0", NULL};
    rk_ask(RTP_WIRE_SUBSCRIBE, "test.held", all);
    rk_expect(RTP_WIRE_CUT_WANTED);
    rk_tell(RTP_WIRE_PING, 0, 5, NULL, 0); /* answered while it waits */
    rk_tell(RTP_WIRE_CUT_REFUSED, 0, 0, "the rdb is away", 15);
    rk_expect(RTP_WIRE_REFUSED);
    assert_non_null(strstr(rk.m.body, "the rdb is away"));
    /* memory was full: a state out of it would not be that of its position */
    for (unsigned closed = 0; closed < 2; closed++) {
        rk_ask(RTP_WIRE_SUBSCRIBE, "test.held", all);
        rk_expect(RTP_WIRE_CUT_WANTED);
        struct cut *c = rk_cut();
        struct cut_day d = {.day = KIT_DAY - (int)closed,
                            .flags = CUT_DAY_INCOMPLETE | (closed ? CUT_DAY_CLOSED : 0)};
        memcpy(c->part + c->nparts, &d, sizeof d);
        c->flags |= CUT_INCOMPLETE;
        rk_tell(RTP_WIRE_CUT, 0, 0, c, c->bytes);
        free(c);
        rk_expect(RTP_WIRE_CUT_DONE);
        rk_expect(closed ? RTP_WIRE_SUBSCRIBED : RTP_WIRE_REFUSED);
        if (!closed)
            assert_non_null(strstr(rk.m.body, "memory lacks rows of the day"));
    }
}

/* ---- timers, marks ---- */

static void test_timers_and_marks(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "b", "1", NULL}, *const off[] = {"on", "b", "0", NULL};
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_start("{}");
    const int64_t day = KIT_DAY * NS_PER_DAY;
    kit_at(rk.k, day + 5 * NS_PER_S / 2);
    rk_trade("a", 1, "", KIT_DAY);
    rk_journal();
    rk_settle();
    rk_ask(RTP_WIRE_CALL, "test.timers", on); /* also one that is too fast: refused */
    rk_expect(RTP_WIRE_REFUSED);
    for (int i = 3; i < 8; i += 2) { /* the multiples that were passed over come once */
        kit_at(rk.k, day + i * NS_PER_S + NS_PER_S / 4);
        rk_trade("a", i, "", KIT_DAY);
        rk_journal();
        rk_settle();
    }
    usleep(10000);
    rk_ask(RTP_WIRE_CALL, "test.timers", off);
    rk_expect(RTP_WIRE_CALLED);
    assert_true(rk_long("x", 0) >= 1);
    assert_int_equal(rk_long("x", 1), 3);
    assert_int_equal(rk_long("x", 2), day + 7 * NS_PER_S);
    static const char eod[] = "{\"calendar\":\"default\",\"day\":\"2024.08.22\"}";
    static const char up[] = "{\"mark\":\"buffer_start\",\"is\":{\"id\":1}}";
    assert_true(appender_mark(&rk.k->app, MARK_EOD, eod, sizeof eod - 1, KIT_DAY));
    assert_true(appender_mark(&rk.k->app, MARK_UPSTREAM, up, sizeof up - 1, KIT_DAY));
    rk_journal();
    int64_t got = 0;
    for (int i = 0; i < 1000 && got != 110; i++) {
        got = try("marks");
        usleep(500);
    }
    assert_int_equal(got, 110);
}

/* BUF-10, 11, 12: functions at the marks of a buffering event; none where none is named. */
static void test_buffer_functions(void **state)
{
    (void)state;
    static const char start[] = "{\"id\":10,\"stream\":254}", end[] = "{\"id\":10,\"over\":true}";
    json_decref(rk_attach(MISBEHAVE, ",\"buffer_start\":\"test.event\",\"buffer_end\":\"\""));
    rk_start("{}");
    assert_int_equal(try("event"), 0);
    assert_true(appender_mark(&rk.k->app, MARK_BUFFER_START, start, sizeof start - 1, KIT_DAY));
    assert_true(appender_mark(&rk.k->app, MARK_BUFFER_END, end, sizeof end - 1, KIT_DAY));
    rk_journal();
    rk_settle();
    try_refused("event", start);
    assert_string_equal(rk.log, "");
}

/* ---- broadcast: two processes share the rows ---- */

static void test_stripes(void **state)
{
    (void)state;
    int n[2] = {0, 0};
    for (int stripe = 0; stripe < 2; stripe++) {
        char more[64];
        snprintf(more, sizeof more, ",\"stripe\":%d,\"stripes\":2", stripe);
        json_decref(rk_attach(MISBEHAVE, more));
        rk_start("{}");
        rk_subscribe("test.rows", well);
        for (int i = 0; i < 100; i++) {
            char sym[16];
            snprintf(sym, sizeof sym, "s%d", i);
            rk_trade(sym, i, "", KIT_DAY);
        }
        rk_journal();
        n[stripe] = rk_settle();
        rk_tell(RTP_WIRE_STOP, 0, 0, NULL, 0);
        rk_expect(0);
        rk_status();
        rk_kill();
        if (!stripe)
            rk_spawn();
    }
    assert_true(n[0] > 20 && n[1] > 20);
    assert_int_equal(n[0] + n[1], 100);
}

/* ---- hostile or broken penstockds are not to be feared, but a broken one must be noticed ---- */

static void test_protocol(void **state)
{
    (void)state;
    rk_tell(RTP_WIRE_PING, 0, 0, NULL, 0); /* before ATTACH */
    rk_expect(0);
    assert_true(WIFEXITED(rk_status()));
    rk_kill();
    rk_spawn();
    json_decref(rk_attach(MISBEHAVE, ""));
    rk_tell(RTP_WIRE_START, 0, 0, "[]", 2);
    rk_expect(0);
    int status = rk_status();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_non_null(strstr(rk.log, "START is no JSON object"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_textbook),
        T(test_refusals),
        T(test_events),
        T(test_snapshot_order),
        T(test_wrong_results),
        T(test_crashes),
        T(test_loop),
        T(test_leak),
        T(test_sandbox),
        T(test_functions),
        T(test_missing_library),
        T(test_debugging),
        T(test_plugins),
        T(test_history),
        T(test_timers_and_marks),
        T(test_stripes),
        T(test_buffer_functions),
        T(test_protocol)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
