/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "lease.h"

static char dir[64], logs[80];
static struct io *io;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/dev/shm/pstleaseXXXXXX");
    io = io_posix_create(NULL);
    if (!mkdtemp(dir) || !io)
        return 1;
    snprintf(logs, sizeof logs, "%s/log", dir);
    return mkdir(logs, 0755);
}
static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    io_destroy(io);
    return system(cmd);
}

static void leases(void **state)
{
    (void)state;
    struct lease a, b;
    struct err e = {0};
    assert_true(lease_open(&a, io, dir, &e));
    assert_int_equal(lease_end(&a), 0);
    assert_true(a.instance != 0);
    assert_true(lease_renew(&a, 0, &e));
    assert_true(lease_end(&a) == LEASE_BYTES);
    assert_true(lease_renew(&a, LEASE_BYTES / 4, &e)); /* more than half left */
    assert_true(lease_end(&a) == LEASE_BYTES);
    assert_true(lease_renew(&a, LEASE_BYTES / 2, &e));
    assert_true(lease_end(&a) == LEASE_BYTES / 2 + LEASE_BYTES);
    assert_true(lease_open(&b, io, dir, &e));
    assert_true(b.instance == a.instance);
    assert_true(lease_end(&b) == lease_end(&a));
    assert_true(lease_renew(&b, lease_end(&a), &e)); /* after an unclean stop */
    assert_true(lease_end(&b) == lease_end(&a) + LEASE_BYTES);
}

static void damaged(void **state)
{
    (void)state;
    struct lease a, b;
    struct err e = {0};
    char path[128];
    assert_true(lease_open(&a, io, dir, &e));
    assert_true(lease_renew(&a, 1ull << 50, &e));
    snprintf(path, sizeof path, "%s/lease", dir);
    for (unsigned i = 0; i < 64; i++) { /* any flipped byte is noticed */
        int fd = open(path, O_RDWR);
        uint8_t c;
        assert_int_equal(pread(fd, &c, 1, i), 1);
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, i), 1);
        assert_false(lease_open(&b, io, dir, &e));
        assert_non_null(strstr(e.text, "lease"));
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, i), 1);
        close(fd);
        assert_true(lease_open(&b, io, dir, &e));
    }
    assert_int_equal(truncate(path, 63), 0);
    assert_false(lease_open(&b, io, dir, &e));
    assert_true(b.instance == a.instance);
    assert_true(lease_restore(&b, 1000, &e));
    assert_true(lease_open(&b, io, dir, &e));
    assert_true(lease_end(&b) == 1000 + 2 * LEASE_BYTES);
}

static void second_daemon(void **state)
{
    (void)state;
    struct instance_lock k, other;
    struct err e = {0};
    char want[64];
    assert_true(lock_take(&k, io, dir, logs, "nyc1", &e));
    snprintf(want, sizeof want, "pid %d (instance nyc1)", (int)getpid());
    int64_t t0 = clock_monotonic();
    assert_false(lock_take(&other, io, dir, logs, "nyc2", &e)); /* flock: another open file */
    assert_true(clock_monotonic() - t0 < 6 * NS_PER_S);
    assert_non_null(strstr(e.text, want));
    assert_non_null(strstr(e.text, "state_directory"));
    lock_beat(&k, 12345);
    lock_drop(&k);
    assert_true(lock_take(&other, io, dir, logs, "nyc2", &e));
    lock_drop(&other);
}

/* Another state directory, the same logs; the holder is killed and the lock comes free in time. */
static void shared_logs(void **state)
{
    (void)state;
    char states[96];
    snprintf(states, sizeof states, "%s/other", dir);
    assert_int_equal(mkdir(states, 0755), 0);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct instance_lock k;
        char ok = lock_take(&k, io, dir, logs, "first", NULL);
        if (write(ready[1], &ok, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char ok = 0;
    assert_int_equal(read(ready[0], &ok, 1), 1);
    assert_true(ok);
    struct instance_lock k;
    struct err e = {0};
    char want[64];
    snprintf(want, sizeof want, "pid %d", (int)pid);
    assert_false(lock_take(&k, io, states, logs, "second", &e));
    assert_non_null(strstr(e.text, "log_directory"));
    assert_non_null(strstr(e.text, want));
    kill(pid, SIGKILL);
    assert_true(lock_take(&k, io, states, logs, "second", &e));
    lock_drop(&k);
    waitpid(pid, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(leases), cmocka_unit_test(damaged),
                                       cmocka_unit_test(second_daemon),
                                       cmocka_unit_test(shared_logs)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
