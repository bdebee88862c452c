/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_helper.c - penstock-helper as it is: commands with their output, environment, time limit and
 * number; workers; what dies with whom. Takes 3 s: a command that ignores SIGTERM has 2 s to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/helper.h"
#include "control/helper_wire.h"
#include "core/clock.h"

static struct helper *h;
static struct err err;
static struct helper_event ran[128], worker[16];
static unsigned nran, nworker;
static char directory[64]; /* a copy of the helper, and a script for a worker */

static void on_ran(void *arg, const struct helper_event *e)
{
    (void)arg;
    assert_true(nran < PST_COUNT(ran));
    ran[nran++] = *e;
}
static void on_worker(void *arg, const struct helper_event *e)
{
    (void)arg;
    assert_true(nworker < PST_COUNT(worker));
    worker[nworker++] = *e;
}

static bool until(bool (*done)(void))
{
    int64_t end = clock_monotonic() + 10 * NS_PER_S;
    while (clock_monotonic() < end) {
        helper_poll(h, on_worker, NULL);
        if (done())
            return true;
        struct pollfd f = {helper_fd(h), POLLIN, 0};
        poll(&f, helper_fd(h) >= 0, 10);
    }
    return false;
}
static unsigned wanted;
static bool ran_enough(void)
{
    return nran >= wanted;
}
static bool worker_enough(void)
{
    return nworker >= wanted;
}
static void wait_ran(unsigned n)
{
    wanted = n;
    assert_true(until(ran_enough));
}
static void wait_worker(unsigned n)
{
    wanted = n;
    assert_true(until(worker_enough));
}

static bool gone(pid_t pid) /* not there, or a zombie that its new parent has not reaped yet */
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(f);
    return state == 'Z' || state == 'X';
}
static bool ends(pid_t pid)
{
    for (int i = 0; i < 1000; i++) {
        if (gone(pid))
            return true;
        usleep(5000);
    }
    return false;
}

static uint64_t sh(const char *script, int timeout_ms)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const char *env[] = {"PENSTOCK_ALARM=line.silent", "PENSTOCK_TEXT=a 'b' \"c\" $(d)", NULL};
    return helper_run(h, argv, env, timeout_ms, on_ran, NULL, &err);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_helper.XXXXXX");
    assert_non_null(mkdtemp(directory));
    char command[1200];
    snprintf(command, sizeof command, "cp %s %s/", PST_HELPER, directory);
    assert_int_equal(system(command), 0);
    write_file("worker", "#!/bin/sh\nexec sleep 1000\n");
    write_file("failing", "#!/bin/sh\nexit 5\n");
    nran = nworker = 0;
    h = helper_open(directory, &err);
    if (!h)
        fail_msg("%s", err.text);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    pid_t pid = helper_pid(h);
    helper_close(h, 5000);
    assert_true(pid <= 0 || ends(pid));
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

/* ---- commands ---- */

static void test_command(void **state)
{
    (void)state;
    assert_true(sh("echo \"$PENSTOCK_ALARM|$PENSTOCK_TEXT|$0\"; echo err >&2", 5000));
    wait_ran(1);
    assert_int_equal(ran[0].kind, HELPER_RAN);
    assert_int_equal(ran[0].status, 0);
    assert_false(ran[0].timed_out);
    assert_string_equal(ran[0].text, "line.silent|a 'b' \"c\" $(d)|/bin/sh\nerr");
}

static void test_status(void **state)
{
    (void)state;
    char text[64];
    sh("exit 3", 5000);
    wait_ran(1);
    assert_string_equal(helper_status_text(ran[0].status, text), "exit code 3");
    sh("kill -9 $$", 5000);
    wait_ran(2);
    assert_string_equal(helper_status_text(ran[1].status, text), "signal 9 (Killed)");
    const char *none[] = {"/does/not/exist", NULL};
    assert_true(helper_run(h, none, NULL, 5000, on_ran, NULL, &err));
    wait_ran(3);
    assert_string_equal(helper_status_text(ran[2].status, text), "exit code 127");
    assert_string_equal(ran[2].text, "/does/not/exist: No such file or directory");
    const char *relative[] = {"sh", NULL};
    assert_false(helper_run(h, relative, NULL, 5000, on_ran, NULL, &err));
    assert_non_null(strstr(err.text, "absolute path"));
}

static void test_long_output(void **state)
{
    (void)state;
    sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 20000);
    wait_ran(1);
    assert_int_equal(ran[0].status, 0);
    size_t n = strlen(ran[0].text);
    assert_true(n > 300 && n <= HELPER_OUTPUT);
    assert_string_equal(ran[0].text + n - 10, "line 19999");
}

static void test_time_limit(void **state)
{
    (void)state;
    int64_t from = clock_monotonic();
    sh("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000", 200);
    wait_ran(1);
    assert_true(ran[0].timed_out);
    assert_int_equal(WTERMSIG(ran[0].status), SIGKILL);
    assert_true(clock_monotonic() - from < 8 * NS_PER_S);
    assert_true(ends((pid_t)atoi(ran[0].text))); /* the whole group */
    sh("sleep 1000", 100);
    wait_ran(2);
    assert_int_equal(WTERMSIG(ran[1].status), SIGTERM);
}

static void test_many(void **state)
{
    (void)state;
    char script[256];
    snprintf(script, sizeof script,
             "cd %s; touch r.$$; ls r.* 2>/dev/null | wc -l; sleep 0.03; rm r.$$", directory);
    unsigned taken = 0;
    while (taken < 200 && sh(script, 10000))
        taken++;
    assert_int_equal(taken, HELPER_RUNNING + HELPER_WAITING);
    assert_non_null(strstr(err.text, "running or waiting"));
    wait_ran(taken);
    for (unsigned i = 0; i < taken; i++) {
        assert_int_equal(ran[i].status, 0);
        int at_once = atoi(ran[i].text);
        assert_true(at_once >= 1 && at_once <= (int)HELPER_RUNNING);
    }
    assert_true(sh("true", 1000)); /* room again */
    wait_ran(taken + 1);
}

static void test_no_descriptors(void **state)
{
    (void)state;
    int secret = open("/etc/passwd", O_RDONLY); /* without CLOEXEC, as a library might */
    assert_true(secret > 3);
    helper_close(h, 5000);
    h = helper_open(directory, &err);
    assert_non_null(h);
    sh("ls /proc/self/fd | tr '\\n' ' '", 5000);
    wait_ran(1);
    assert_string_equal(ran[0].text, "0 1 2 3"); /* 3: ls's own directory */
    close(secret);
}

/* ---- workers ---- */

static void test_worker(void **state)
{
    (void)state;
    assert_true(helper_spawn(h, "worker", 7, &err));
    wait_worker(1);
    assert_int_equal(worker[0].kind, HELPER_SPAWNED);
    assert_int_equal(worker[0].id, 7);
    assert_true(worker[0].pid > 0 && worker[0].fd >= 0 && worker[0].pidfd >= 0);
    assert_true(fcntl(worker[0].fd, F_GETFD) & FD_CLOEXEC);
    assert_true(helper_kill(h, 7));
    wait_worker(2);
    assert_int_equal(worker[1].kind, HELPER_EXITED);
    assert_int_equal(worker[1].id, 7);
    assert_int_equal(WTERMSIG(worker[1].status), SIGKILL);
    char c;
    assert_int_equal(recv(worker[0].fd, &c, 1, 0), 0); /* its end is closed */
    close(worker[0].fd);
    close(worker[0].pidfd);
    assert_true(helper_spawn(h, "failing", 8, &err));
    wait_worker(4);
    assert_int_equal(worker[3].kind, HELPER_EXITED);
    assert_int_equal(WEXITSTATUS(worker[3].status), 5);
    assert_true(helper_spawn(h, "nothing", 9, &err));
    wait_worker(5);
    assert_int_equal(worker[4].kind, HELPER_FAILED);
    assert_int_equal(worker[4].id, 9);
    assert_non_null(strstr(worker[4].text, "cannot be run"));
    assert_true(helper_spawn(h, "../bin/sh", 10, &err)); /* never outside its directory */
    wait_worker(6);
    assert_int_equal(worker[5].kind, HELPER_FAILED);
}

/* ---- deaths ---- */

static pid_t parent_of(pid_t pid)
{
    char path[64];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d (%*[^)]) %*c %d", &parent), 1);
    fclose(f);
    return parent;
}

static void test_second_process_dies(void **state)
{
    (void)state;
    helper_spawn(h, "worker", 1, &err);
    wait_worker(1);
    pid_t pid = worker[0].pid, spawner = parent_of(pid);
    assert_int_equal(parent_of(spawner), helper_pid(h));
    sh("sleep 1000", 100000);
    helper_poll(h, on_worker, NULL);
    usleep(50000);
    kill(spawner, SIGKILL);
    wait_worker(2);
    assert_int_equal(worker[1].kind, HELPER_RESTARTED);
    assert_non_null(strstr(worker[1].text, "signal 9"));
    assert_true(ends(pid));
    assert_int_equal(nran, 1); /* its command did not end well */
    assert_int_equal(ran[0].kind, HELPER_FAILED);
    assert_true(helper_alive(h));
    assert_true(sh("echo again", 5000)); /* and it works on */
    wait_ran(2);
    assert_string_equal(ran[1].text, "again");
    assert_true(helper_spawn(h, "worker", 2, &err));
    wait_worker(3);
    assert_int_equal(worker[2].kind, HELPER_SPAWNED);
}

static void test_launcher_dies(void **state)
{
    (void)state;
    helper_spawn(h, "worker", 1, &err);
    wait_worker(1);
    pid_t pid = worker[0].pid, spawner = parent_of(pid);
    kill(helper_pid(h), SIGKILL);
    wait_worker(2);
    assert_int_equal(worker[1].kind, HELPER_GONE);
    assert_false(helper_alive(h));
    assert_true(ends(pid) && ends(spawner));
    assert_false(helper_spawn(h, "worker", 2, &err));
    assert_non_null(strstr(err.text, "until penstockd is restarted"));
    assert_false(sh("true", 1000));
    assert_int_equal(helper_poll(h, on_worker, NULL), 0); /* said once */
}

/* The daemon is killed: nobody is left behind. */
static void test_daemon_dies(void **state)
{
    (void)state;
    int p[2];
    pid_t pids[3];
    assert_int_equal(pipe(p), 0);
    pid_t daemon = fork();
    if (!daemon) {
        struct helper *own = helper_open(directory, &err);
        h = own;
        helper_spawn(h, "worker", 1, &err);
        wait_worker(1);
        sh("echo $$ >&2; sleep 1000", 100000);
        pids[0] = worker[0].pid;
        pids[1] = parent_of(worker[0].pid);
        pids[2] = helper_pid(h);
        if (write(p[1], pids, sizeof pids) != sizeof pids)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(p[0], pids, sizeof pids), sizeof pids);
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
    for (int i = 0; i < 3; i++)
        assert_true(ends(pids[i]));
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_process_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_launcher_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_daemon_dies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
