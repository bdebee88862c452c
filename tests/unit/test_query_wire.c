/* SPDX-License-Identifier: Apache-2.0 */
/* test_query_wire.c - messages between penstockd and a query process, good ones and hostile ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/query_wire.h"

static int sv[2];
static struct err err;
static struct wire_message m;
static bool closed;

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv);
}
static int teardown(void **state)
{
    (void)state;
    close(sv[0]);
    close(sv[1]);
    return 0;
}
static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_round_trip(void **state)
{
    (void)state;
    unsigned before = open_fds();
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), 0); /* nothing there */
    assert_false(closed);
    assert_true(wire_send(sv[0], WIRE_FAILED, 42, 7, "why", 3, NULL, 0, &err));
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), 1);
    assert_int_equal(m.head.type, WIRE_FAILED);
    assert_int_equal(m.head.id, 42);
    assert_int_equal(m.head.value, 7);
    assert_string_equal((const char *)m.body, "why"); /* with its NUL */
    wire_free(&m);
    int fd = memfd_create("x", MFD_CLOEXEC);
    assert_true(wire_send(sv[0], WIRE_QUERY, 1, 0, "{}", 2, &fd, 1, &err));
    assert_int_equal(wire_receive(sv[1], 'D', &m, &closed, &err), 1);
    assert_int_equal(m.nfds, 1);
    assert_true(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
    wire_free(&m);
    close(fd);
    assert_int_equal(open_fds(), before);
    assert_true(wire_send(sv[0], WIRE_CUT_WANTED, 3, 0, NULL, 0, NULL, 0, &err));
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), 1);
    assert_int_equal(m.head.length, 0);
    wire_free(&m);
    close(sv[0]);
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), 0);
    assert_true(closed);
}

/* A body beyond one packet comes in a memfd, and not from the process. */
static void test_large(void **state)
{
    (void)state;
    unsigned before = open_fds();
    size_t n = WIRE_INLINE * 10 + 3;
    char *body = malloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7);
    assert_true(wire_send(sv[0], WIRE_CUT, 5, 0, body, n, NULL, 0, &err));
    assert_int_equal(wire_receive(sv[1], 'D', &m, &closed, &err), 1);
    assert_int_equal(m.head.length, n);
    assert_memory_equal(m.body, body, n);
    assert_int_equal(m.nfds, 0);
    wire_free(&m);
    assert_false(wire_send(sv[0], WIRE_RESULT, 5, 0, body, n, NULL, 0, &err));
    assert_int_equal(err.code, -EMSGSIZE);
    struct wire_header h = {WIRE_MAGIC, WIRE_VERSION, WIRE_RESULT, WIRE_IN_FD, 100, 5, 0};
    assert_non_null(wire_check(&h, sizeof h, 1, 'P'));
    free(body);
    assert_int_equal(open_fds(), before);
}

/* A body in a memfd that its sender could still change, or of another size, is refused. */
static void test_body_not_sealed(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(ftruncate(fd, how == 1 ? 100 : 101), 0);
        if (how)
            assert_int_equal(
                fcntl(fd, F_ADD_SEALS,
                      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | (how == 2 ? 0 : F_SEAL_WRITE)),
                0);
        struct wire_header h = {WIRE_MAGIC, WIRE_VERSION, WIRE_CUT, WIRE_IN_FD, 100, 5, 0};
        union {
            char buf[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } u = {{0}};
        struct iovec v = {&h, sizeof h};
        struct msghdr msg = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        assert_true(sendmsg(sv[0], &msg, 0) > 0);
        assert_int_equal(wire_receive(sv[1], 'D', &m, &closed, &err), -1);
        assert_non_null(strstr(err.text, "sealed"));
        close(fd);
    }
}

static void send_raw(const void *p, size_t n)
{
    assert_int_equal(send(sv[0], p, n, 0), n);
}

static void test_hostile(void **state)
{
    (void)state;
    unsigned before = open_fds();
    const struct wire_header good = {WIRE_MAGIC, WIRE_VERSION, WIRE_LOG, 0, 4, 0, 0};
    struct {
        struct wire_header h;
        char body[8];
    } x = {good, "text"};
    assert_null(wire_check(&x, sizeof good + 4, 0, 'P'));
    static const char *const senders = "DX";
    for (int i = 0; senders[i]; i++)
        assert_non_null(wire_check(&x, sizeof good + 4, 0, senders[i]));
    for (unsigned n = 0; n < sizeof good + 8; n++)
        if (n != sizeof good + 4)
            assert_non_null(wire_check(&x, n, 0, 'P'));
    assert_non_null(wire_check(&x, sizeof good + 4, 1, 'P')); /* descriptors it has no use for */
#define BAD(field, v)                                                                              \
    do {                                                                                           \
        x.h = good;                                                                                \
        x.h.field = (v);                                                                           \
        assert_non_null(wire_check(&x, sizeof good + 4, 0, 'P'));                                  \
        send_raw(&x, sizeof good + 4);                                                             \
        assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), -1);                         \
    } while (0)
    BAD(magic, 1);
    BAD(version, 2);
    BAD(type, 0);
    BAD(type, WIRE_TYPE_END);
    BAD(type, 65535);
    BAD(type, WIRE_ATTACH);
    BAD(flags, 2);
    BAD(flags, WIRE_IN_FD);
    BAD(length, 3);
    BAD(length, 5);
    BAD(length, UINT32_MAX);
    static char huge[100000];
    memset(huge, 'x', sizeof huge);
    x.h = good;
    x.h.length = sizeof huge - sizeof x.h;
    memcpy(huge, &x.h, sizeof x.h);
    send_raw(huge, sizeof huge);
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), -1);
    /* descriptors beside garbage are closed */
    int fds[WIRE_FDS + 4];
    for (unsigned i = 0; i < PST_COUNT(fds); i++)
        fds[i] = sv[0];
    union {
        char buf[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } u = {{0}};
    struct iovec v = {huge, 64};
    struct msghdr msg = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    assert_true(sendmsg(sv[0], &msg, 0) > 0);
    assert_int_equal(wire_receive(sv[1], 'P', &m, &closed, &err), -1);
    assert_int_equal(open_fds(), before);
}

/* Nobody reads: the sender is told, it does not wait. */
static void test_full(void **state)
{
    (void)state;
    static char body[30000];
    int n = 0;
    while (n < 10000 && wire_send(sv[0], WIRE_CUT, 1, 0, body, sizeof body, NULL, 0, &err))
        n++;
    assert_true(n > 0 && n < 10000);
    assert_int_equal(err.code, -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_not_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
