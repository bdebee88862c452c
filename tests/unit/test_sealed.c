/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process without privilege gets each memfd that the daemon hands out, and tries everything to
 * write through it: write, truncate, allocate, punch, a writable map, mprotect of a read-only map,
 * and opening /proc/self/fd/N anew. The daemon itself writes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pwd.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/ring.h"
#include "core/status.h"
#include "core/symbols.h"

enum { CAN_READ = 0, ATTEMPTS = 9 };
static const char *const attempt[ATTEMPTS] = {"write",
                                              "ftruncate down",
                                              "ftruncate up",
                                              "fallocate",
                                              "punch a hole",
                                              "map writable",
                                              "mprotect a map",
                                              "reopen for writing and write",
                                              "reopen for writing and truncate"};

/* In the child. Bit i set: attempt i went through. */
static unsigned try_all(int fd)
{
    unsigned got = 0;
    struct stat st;
    if (fstat(fd, &st))
        return ~0u;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    got |= (unsigned)(pwrite(fd, "x", 1, 100) == 1) << 0;
    got |= (unsigned)(ftruncate(fd, 4096) == 0) << 1;
    got |= (unsigned)(ftruncate(fd, st.st_size + 4096) == 0) << 2;
    got |= (unsigned)(fallocate(fd, 0, st.st_size, 4096) == 0) << 3;
    got |= (unsigned)(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) << 4;
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    got |= (unsigned)(m != MAP_FAILED) << 5;
    m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        return ~0u; /* reading must work */
    got |= (unsigned)(mprotect(m, 4096, PROT_READ | PROT_WRITE) == 0) << 6;
    int again = open(path, O_RDWR);
    if (again >= 0) {
        got |= (unsigned)(pwrite(again, "x", 1, 100) == 1 ||
                          mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED)
               << 7;
        got |= (unsigned)(ftruncate(again, 0) == 0) << 8;
        close(again);
    }
    again = open(path, O_RDWR | O_TRUNC);
    if (again >= 0) {
        struct stat now;
        got |= (unsigned)(fstat(again, &now) == 0 && now.st_size != st.st_size) << 8;
        close(again);
    }
    return got;
}

static unsigned in_child(int fd)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        if (geteuid() == 0) {
            struct passwd *nobody = getpwnam("nobody");
            uid_t uid = nobody ? nobody->pw_uid : 65534;
            gid_t gid = nobody ? nobody->pw_gid : 65534;
            if (setgroups(0, NULL) || setgid(gid) || setuid(uid) || geteuid() == 0)
                _exit(3);
        }
        unsigned got = try_all(fd);
        _exit(write(out[1], &got, sizeof got) == sizeof got ? 0 : 4);
    }
    close(out[1]);
    unsigned got = ~0u;
    int status;
    assert_int_equal(read(out[0], &got, sizeof got), sizeof got);
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return got;
}

static void nothing_works(const char *what, int fd)
{
    unsigned got = in_child(fd);
    for (unsigned i = 0; i < ATTEMPTS; i++)
        if (got >> i & 1)
            fail_msg("%s: an unprivileged process could %s", what, attempt[i]);
}

static void test_ring(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    assert_true(ring_create(&r, RING_MIN, 0, 1, false, &e));
    assert_true(ring_seal(&r));
    assert_true(r.sealed);
    nothing_works("ring", r.fd);
    struct frame f = {.length = sizeof f, .kind = FRAME_PAD};
    ring_write(&r, &f, sizeof f);
    ring_publish(&r);
    assert_true(ring_tail(&r) == sizeof f);
    assert_true(fcntl(r.fd, F_ADD_SEALS, F_SEAL_WRITE) < 0); /* nor may anybody add a seal */
    ring_close(&r);
}

static void test_symbols(void **state)
{
    (void)state;
    struct symbols s;
    struct err e;
    uint32_t id;
    assert_true(symbols_create(&s, 100, &e));
    assert_true(symbols_seal(&s));
    nothing_works("symbols", s.fd);
    assert_int_equal(symbols_intern(&s, "still", 5, &id), SYMBOLS_NEW);
    symbols_close(&s);
}

static void test_status(void **state)
{
    (void)state;
    struct err e;
    struct status *s = status_create("x", &e);
    assert_non_null(s);
    assert_true(status_seal(s));
    nothing_works("status", s->fd);
    count_add(s, RX_BURSTS, 3);
    const struct status *o = status_attach(s->fd, &e);
    assert_non_null(o);
    assert_int_equal(load_relaxed(&o->counter[COUNTER_RX_BURSTS]), 3);
    munmap((void *)(uintptr_t)o, sizeof *o);
    status_destroy(s);
}

/* The attempts themselves work where nothing is sealed: this test can fail. */
static void test_the_attempts_are_real(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    assert_true(ring_create(&r, RING_MIN, 0, 1, false, &e));
    unsigned got = in_child(r.fd);
    assert_true(got & 1u << 0);
    assert_true(got & 1u << 1);
    assert_true(got & 1u << 5);
    /* the daemon's maps of the truncated memfd must not be touched any more */
    r.head = NULL;
    close(r.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_symbols),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_the_attempts_are_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
