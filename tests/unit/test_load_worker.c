/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_worker.c - the program penstock-load over its socket: attach, tasks, beats, stop, its
 * memory limit and its sandbox; load functions of plugins, the example of the documentation and
 * some that misbehave: each costs its own task or its own process.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/clock.h"
#include "core/sanitized.h"
#include "load_wire.h"

#define SCHEMA                                                                                     \
    "{\"id\":7,\"table\":\"trade\",\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],"          \
    "[\"sym\",\"symbol\"],[\"price\",\"float\"],[\"size\",\"long\"],[\"value\",\"float\"]],"       \
    "\"keys\":[]}"

static char root[] = "/tmp/penstock-test.load.XXXXXX";
static pid_t worker;
static int sock = -1;

static void put_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static char *get_file(const char *name)
{
    static char text[4096];
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* ---- the worker ---- */

static void spawn(void)
{
    int sv[2];
    char parent[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    worker = fork();
    assert_true(worker >= 0);
    if (!worker) {
        dup2(sv[1], 3);
        if (sv[1] == 3)
            fcntl(3, F_SETFD, 0);
        execl(PST_LOADER, PST_LOADER, parent, (char *)NULL);
        _exit(127);
    }
    close(sv[1]);
    sock = sv[0];
}

/* The next message; 0 = the worker is gone. */
static int message(struct wire_message *m, int seconds)
{
    struct pollfd p = {sock, POLLIN, 0};
    struct err err = {0};
    bool closed;
    assert_int_equal(poll(&p, 1, seconds * 1000), 1);
    int k = load_wire_receive(sock, 'W', m, &closed, &err);
    if (k < 0)
        fail_msg("%s", err.text);
    return k == 1 ? m->head.type : 0;
}

static void tell(enum load_wire_type type, uint64_t id, const char *text)
{
    struct err err = {0};
    if (!load_wire_send(sock, type, id, text, text ? strlen(text) : 0, &err))
        fail_msg("%s", err.text);
}

static void attach(unsigned long long memory)
{
    struct wire_message m;
    char text[1024];
    spawn();
    assert_int_equal(message(&m, 10), LOAD_WIRE_HELLO);
    assert_string_equal(m.body, PST_VERSION);
    wire_free(&m);
    snprintf(text, sizeof text,
             "{\"name\":\"w1\",\"memory\":%llu,\"directories\":[\"%s/work\"],"
             "\"plugins\":[\"%s\",\"%s\"]}",
             memory, root, PST_LOAD_EXAMPLE, PST_LOAD_MISBEHAVE);
    tell(LOAD_WIRE_ATTACH, 0, text);
    assert_int_equal(message(&m, 10), LOAD_WIRE_READY);
    if (!strstr(m.body, "\"failed\":[]") || !strstr(m.body, "with_value"))
        fail_msg("%s", m.body);
    wire_free(&m);
}

static int ended(void)
{
    int status = 0;
    int64_t end = clock_monotonic() + 10 * NS_PER_S;
    while (clock_monotonic() < end) {
        if (waitpid(worker, &status, WNOHANG) == worker)
            break;
        usleep(1000);
        assert_true(clock_monotonic() < end);
    }
    close(sock);
    worker = 0;
    return status;
}

static void end(void)
{
    close(sock);
    sock = -1;
    assert_int_equal(ended(), 0); /* it ends when its socket does */
}

/* Runs a task to its end; beats are counted. */
static unsigned run(uint64_t id, const char *text, struct load_done *d)
{
    struct wire_message m;
    struct err err = {0};
    struct load_beat b;
    unsigned beats = 0;
    tell(LOAD_WIRE_RUN, id, text);
    for (;;) {
        int type = message(&m, 20);
        assert_true(type == LOAD_WIRE_BEAT || type == LOAD_WIRE_DONE || type == LOAD_WIRE_LOG);
        if (type == LOAD_WIRE_BEAT && !load_beat_parse(&b, m.body, m.head.length, &err))
            fail_msg("%s", err.text);
        beats += type == LOAD_WIRE_BEAT;
        if (type == LOAD_WIRE_DONE) {
            assert_int_equal(m.head.id, id);
            if (!load_done_parse(d, m.body, m.head.length, &err))
                fail_msg("%s", err.text);
            wire_free(&m);
            return beats;
        }
        wire_free(&m);
    }
}

static const char *read_task(const char *file, const char *more)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "{\"task\":\"read\",\"args\":{\"file\":\"%s/%s\",\"dir\":\"%s/work/0\",\"recipe\":"
             "{\"name\":\"t\",\"schemas\":[" SCHEMA "],\"optional\":[\"value\"]%s}}}",
             root, file, root, more);
    return text;
}

/* ---- tasks ---- */

static void test_tasks(void **state)
{
    struct load_done d;
    (void)state;
    put_file("a.csv", "time,sym,price,size\n2024-08-05T09:30:00Z,AAPL,209.5,100\n"
                      "2024-08-05T09:30:01Z,MSFT,400,7\n");
    attach(1ull << 30);
    run(1, "{\"task\":\"refresh\",\"args\":{}}", &d);
    assert_true(d.success);
    assert_int_equal(json_integer_value(json_object_get(d.result, "memory")), 1 << 30);
    json_decref(d.result);
    run(2, read_task("a.csv", ""), &d);
    if (!d.success)
        fail_msg("%s", d.error);
    assert_int_equal(json_integer_value(json_object_get(d.result, "rows")), 2);
    assert_true(d.heap > 0 && d.seconds > 0);
    json_decref(d.result);
    assert_non_null(get_file("work/0/result.json"));
    run(3, read_task("none.csv", ""), &d); /* a failure leaves the worker as good as new */
    assert_false(d.success);
    assert_int_equal(d.code, -ENOENT);
    assert_non_null(strstr(d.error, "none.csv"));
    run(4, "{\"task\":\"dance\",\"args\":{}}", &d);
    assert_false(d.success || d.retryable);
    run(5, read_task("a.csv", ""), &d);
    assert_true(d.success);
    json_decref(d.result);
    end();
}

/* A result that is too large for a message lies in its file. */
static void test_large_result(void **state)
{
    struct load_done d;
    char *text = malloc(40000), *at = text;
    (void)state;
    at += sprintf(at, "time,sym,price,size\n");
    for (unsigned y = 2001; y < 2031; y++)
        for (unsigned m = 1; m < 13; m++)
            at += sprintf(at, "%u-%02u-15T09:30:00Z,AAPL,1,1\n", y, m);
    put_file("years.csv", text);
    free(text);
    attach(0);
    run(1, read_task("years.csv", ""), &d);
    if (!d.success)
        fail_msg("%s", d.error);
    assert_null(d.result);
    char path[256];
    snprintf(path, sizeof path, "%s/work/0/result.json", root);
    json_t *o = json_load_file(path, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(o, "written")), 360);
    assert_int_equal(json_integer_value(json_object_get(o, "rows")), 360);
    json_decref(o);
    end();
}

/* read, post_read and save of control/etc/examples/load_trades.c. */
static void test_example(void **state)
{
    struct load_done d;
    (void)state;
    put_file("b.kv",
             "t=1722848400000000000 s=AAPL p=200 q=3\nt=1722848401000000000 s=ZVZZT p=1 q=1\n"
             "t=1722848402000000000 s=AAPL p=201 q=4\nt=x s=AAPL p=1 q=1\n"
             "t=1722848403000000000 s=MSFT p=400 q=5");
    attach(0);
    const char *how = ",\"format\":\"plugin\",\"read\":\"key_value\",\"post_read\":\"with_value\","
                      "\"save\":\"volumes\",\"options\":{\"skip\":\"ZVZ\"},\"rejects\":1";
    run(1, read_task("b.kv", how), &d);
    if (!d.success)
        fail_msg("%s", d.error);
    assert_int_equal(json_integer_value(json_object_get(d.result, "rows")), 3);
    assert_int_equal(json_integer_value(json_object_get(d.result, "rejected")), 1);
    json_decref(d.result);
    assert_string_equal(get_file("work/0/volumes.csv"), "sym,size\nAAPL,7\nMSFT,5\n");
    assert_non_null(strstr(get_file("work/0/rejects"), "4\tt\tno time\tt=x s=AAPL p=1 q=1"));
    double value[3];
    memcpy(value, get_file("work/0/2024.08.05/trade/value"), sizeof value);
    assert_true(value[0] == 600 && value[1] == 804 && value[2] == 2000);
    /* without the limit of one the file fails, with what was wrong */
    run(2, read_task("b.kv", ",\"read\":\"" PST_LOAD_EXAMPLE ":key_value\""), &d);
    assert_false(d.success || d.retryable);
    assert_non_null(strstr(d.error, "no time"));
    run(3, read_task("b.kv", ",\"format\":\"plugin\",\"read\":\"key_values\""), &d);
    assert_false(d.success);
    assert_non_null(strstr(d.error, "key_values"));
    run(4, read_task("b.kv", ",\"read\":\"" PST_LOAD_MISBEHAVE ":key_value\""), &d);
    assert_false(d.success);
    end();
}

static const char *misbehave(const char *how, const char *path)
{
    char more[400];
    snprintf(more, sizeof more,
             ",\"post_read\":\"misbehave\",\"options\":{\"how\":\"%s\",\"path\":\"%s\"}", how,
             path);
    return read_task("a.csv", more);
}

/* Errors of a function are its file's. */
static void test_refusals(void **state)
{
    struct load_done d;
    (void)state;
    attach(256ull << 20);
    run(1, misbehave("silent", ""), &d);
    assert_false(d.success);
    assert_non_null(strstr(d.error, "without a reason"));
    run(2, misbehave("untimely", ""), &d);
    assert_false(d.success);
    run(3, misbehave("drop", ""), &d);
    assert_true(d.success); /* no row is left: no partition, no directory of one */
    assert_int_equal(json_integer_value(json_object_get(d.result, "rows")), 0);
    assert_int_equal(json_array_size(json_object_get(d.result, "written")), 0);
    json_decref(d.result);
    if (!PST_SANITIZED) { /* the limit makes malloc fail, the process goes on */
        run(4, misbehave("memory", ""), &d);
        assert_false(d.success);
        assert_non_null(strstr(d.error, "no memory after"));
        assert_true(d.heap > 100e6 && d.heap < 300e6);
    }
    char path[256];
    snprintf(path, sizeof path, "%s/work/0/mine", root);
    run(5, misbehave("write", path), &d);
    assert_non_null(strstr(d.error, "wrote"));
    end();
}

/* Names are made only below the directories that the worker was given, where the kernel helps. */
static void test_landlock(void **state)
{
    struct load_done d;
    char path[256];
    (void)state;
    attach(0);
    run(1, "{\"task\":\"refresh\",\"args\":{}}", &d);
    bool have = json_is_true(json_object_get(d.result, "landlock"));
    json_decref(d.result);
    snprintf(path, sizeof path, "%s/outside", root);
    run(2, misbehave("write", path), &d);
    if (have)
        assert_non_null(strstr(d.error, "refused"));
    else
        printf("skipped: this kernel has no Landlock\n");
    end();
}

/* A function that never ends: beats go on, their figures do not; the daemon ends the process. */
static void test_endless(void **state)
{
    struct wire_message m;
    struct load_done d;
    struct load_beat b;
    struct err err = {0};
    (void)state;
    attach(0);
    tell(LOAD_WIRE_RUN, 1, misbehave("loop", ""));
    assert_int_equal(message(&m, 5), LOAD_WIRE_BEAT);
    assert_true(load_beat_parse(&b, m.body, m.head.length, &err));
    assert_true(b.heap > 0);
    wire_free(&m);
    kill(worker, SIGKILL);
    assert_int_equal(message(&m, 5), 0);
    assert_true(WIFSIGNALED(ended()));
    attach(0); /* one that listens ends when it is told to */
    tell(LOAD_WIRE_RUN, 2, misbehave("polite", ""));
    tell(LOAD_WIRE_STOP, 2, NULL);
    int type;
    while ((type = message(&m, 10)) == LOAD_WIRE_BEAT)
        wire_free(&m);
    assert_int_equal(type, LOAD_WIRE_DONE);
    assert_true(load_done_parse(&d, m.body, m.head.length, &err));
    assert_false(d.success);
    assert_int_equal(d.code, -ECANCELED);
    wire_free(&m);
    end();
}

/* What a function may not do ends its process, and only that. */
static void test_deaths(void **state)
{
    static const struct {
        const char *how;
        int signal;
    } deaths[] = {{"crash", SIGSEGV}, {"socket", SIGSYS}, {"fork", SIGSYS}};
    struct wire_message m;
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(deaths); i++) {
        if (PST_SANITIZED)
            continue; /* no seccomp there, and its own handler of SIGSEGV */
        attach(0);
        tell(LOAD_WIRE_RUN, 1, misbehave(deaths[i].how, ""));
        assert_int_equal(message(&m, 5), 0);
        int status = ended();
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), deaths[i].signal);
    }
}

/* Messages out of turn and bytes that are none end the worker with a sentence, never a crash. */
static void test_protocol(void **state)
{
    struct wire_message m;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        spawn();
        assert_int_equal(message(&m, 10), LOAD_WIRE_HELLO);
        wire_free(&m);
        if (i == 0)
            tell(LOAD_WIRE_RUN, 1, "{}");
        else if (i == 1)
            assert_int_equal(send(sock, "nonsense", 8, 0), 8);
        else
            tell(LOAD_WIRE_ATTACH, 0, "[]");
        assert_int_equal(message(&m, 10), 0);
        int status = ended();
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    }
}

/* By hand, as operators debug a recipe. */
static void test_by_hand(void **state)
{
    char command[2048], text[512] = "";
    (void)state;
    put_file("task.json", read_task("a.csv", ""));
    snprintf(command, sizeof command, "%s --task %s/task.json", PST_LOADER, root);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    bool rows = false;
    while (fgets(text, sizeof text, f))
        rows |= strstr(text, "\"rows\": 2") != NULL;
    assert_int_equal(pclose(f), 0);
    assert_true(rows);
}

static int setup(void **state)
{
    (void)state;
    char path[256];
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(root))
        return -1;
    snprintf(path, sizeof path, "%s/work", root);
    return mkdir(path, 0700);
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    if (worker > 0) {
        kill(worker, SIGKILL);
        waitpid(worker, NULL, 0);
    }
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks),    cmocka_unit_test(test_large_result),
        cmocka_unit_test(test_example),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_landlock), cmocka_unit_test(test_endless),
        cmocka_unit_test(test_deaths),   cmocka_unit_test(test_protocol),
        cmocka_unit_test(test_by_hand)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
