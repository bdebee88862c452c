/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_socket.c - the control socket against peers of every kind. Server and clients run in turn on
 * one thread: socket_poll is called until the condition holds or the deadline has passed.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>
#include "core/clock.h"
#include "tests/support/cmd_double.h"

static char path[64];
static struct socket *server;
static struct err err;

static struct socket *start(void)
{
    return socket_open(
        &(struct socket_config){.path = path, .group = (gid_t)-1, .level = double_level_of}, &err);
}
static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_socket.%d", (int)getpid());
    server = start();
    double_acknowledged = false;
    double_big = 0;
    double_fd = -1;
    double_level = LEVEL_ADMIN;
    return server ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    socket_close(server);
    return access(path, F_OK) == 0; /* it takes its file along */
}

static int dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}
static void put(int fd, const char *text, size_t n)
{
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT), n);
}
static void say(int fd, const char *text)
{
    put(fd, text, strlen(text));
}
static void pump(int rounds)
{
    while (rounds-- > 0)
        socket_poll(server, 0);
}

/* The next line from the server; NULL: it closed the connection (or the deadline passed). */
static const char *hear_with(int fd, int *passed)
{
    static char line[SOCKET_LINE * 4];
    size_t n = 0;
    int64_t deadline = clock_monotonic() + 5 * NS_PER_S;
    while (clock_monotonic() < deadline) {
        char c;
        struct iovec v = {&c, 1};
        union {
            char buf[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } u;
        struct msghdr m = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
        ssize_t k = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (k == 0 || (k < 0 && errno != EAGAIN))
            return NULL;
        if (k < 0) {
            socket_poll(server, 1);
            continue;
        }
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (h && passed)
            memcpy(passed, CMSG_DATA(h), sizeof *passed);
        if (c == '\n') {
            line[n] = 0;
            return line;
        }
        line[n++] = c;
        pst_must(n < sizeof line);
    }
    return NULL;
}
static const char *hear(int fd)
{
    return hear_with(fd, NULL);
}
static bool closed(int fd)
{
    bool gone = hear(fd) == NULL;
    close(fd);
    return gone;
}
#define EXPECT(line, text)                                                                         \
    do {                                                                                           \
        const char *got_ = (line);                                                                 \
        if (!got_ || !strstr(got_, text))                                                          \
            fail_msg("'%s' is not in '%s'", text, got_ ? got_ : "(closed)");                       \
    } while (0)

static void test_mode_from_the_first_moment(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    /* whatever the caller's umask is, and it is given back */
    socket_close(server);
    mode_t old = umask(0);
    server = start();
    assert_int_equal(umask(old), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    /* a dead daemon's socket is replaced; a file that is none is not */
    socket_close(server);
    server = NULL;
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    close(fd);
    assert_null(start());
    EXPECT(err.text, path);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    server = start();
    assert_non_null(server);
}

static void test_partial_frames(void **state)
{
    (void)state;
    static const char text[] = "{\"cmd\":\"status\",\"id\":7}\n";
    int fd = dial();
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        put(fd, text + i, 1);
        pump(2);
        char c;
        if (i + 2 < sizeof text)
            assert_true(recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    }
    EXPECT(hear(fd), "\"id\":7,\"ok\":true,\"result\":{\"verb\":\"status\"}");
    /* several in one packet, and an empty line between */
    say(fd, "{\"cmd\":\"feeds\",\"id\":1}\n\n{\"cmd\":\"topo\",\"id\":2}\n{\"cmd\":\"led");
    EXPECT(hear(fd), "\"id\":1");
    EXPECT(hear(fd), "\"id\":2");
    say(fd, "ger\",\"id\":3}\n");
    EXPECT(hear(fd), "\"verb\":\"ledger\"");
    close(fd);
    pump(3);
    assert_int_equal(socket_clients(server), 0);
}

static void test_garbage_gets_one_line_each(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"hello\n", "a request is one line of JSON"},
        {"[1,2]\n", "a request is one line of JSON"},
        {"{}\n", "a request is"},
        {"{\"cmd\":7}\n", "a request is"},
        {"{\"cmd\":\"status\",\"cmd\":\"stop\"}\n", "a request is one line of JSON"},
        {"{\"cmd\":\"status\",\"args\":{}}\n", "args is an array"},
        {"{\"cmd\":\"statsu\"}\n", "no command 'statsu', did you mean status?"},
        {"{\"cmd\":\"xyzzyxyzzy\"}\n", "`commands` lists them"},
        {"{\"cmd\":\"stop\"}\n", "stop: not now"},
        {"\xff\xfe\n", "a request is one line of JSON"},
        /* a name cut within a character must still be answered */
        {"{\"cmd\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3\xBC\"}\n", "no command 'aaaaa"},
    };
    int fd = dial();
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        say(fd, bad[i][0]);
        const char *got = hear(fd);
        EXPECT(got, bad[i][1]);
        EXPECT(got, "\"ok\":false");
    }
    say(fd, "{\"cmd\":\"status\"}\n"); /* still served */
    EXPECT(hear(fd), "\"ok\":true");
    char deep[4096];
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\n';
    put(fd, deep, sizeof deep);
    EXPECT(hear(fd), "\"ok\":false");
    close(fd);
}

static void test_oversize_line_closes(void **state)
{
    (void)state;
    static char big[SOCKET_LINE];
    memset(big, 'x', sizeof big);
    int fd = dial(), other = dial();
    put(fd, big, sizeof big);
    EXPECT(hear(fd), "request longer than 65536 bytes");
    assert_true(closed(fd));
    /* the longest that fits is served */
    memset(big, ' ', sizeof big);
    memcpy(big, "{\"cmd\":\"status\"}", 16);
    big[sizeof big - 1] = '\n';
    put(other, big, sizeof big);
    EXPECT(hear(other), "\"ok\":true");
    close(other);
}

static void test_too_many_connections(void **state)
{
    (void)state;
    enum { MANY = SOCKET_CLIENTS + 36 };
    int fd[MANY];
    unsigned served = 0, refused = 0;
    for (unsigned i = 0; i < MANY; i++) {
        fd[i] = dial();
        pump(2);
    }
    assert_int_equal(socket_clients(server), SOCKET_CLIENTS);
    for (unsigned i = 0; i < MANY; i++) {
        /* the refused ones are closed already */
        send(fd[i], "{\"cmd\":\"status\"}\n", 17, MSG_NOSIGNAL | MSG_DONTWAIT);
        const char *got = hear(fd[i]);
        served += got && strstr(got, "\"ok\":true");
        refused += got && strstr(got, "too many connections");
    }
    assert_int_equal(served, SOCKET_CLIENTS);
    assert_int_equal(refused, MANY - SOCKET_CLIENTS);
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    pump(40);
    assert_int_equal(socket_clients(server), 0);
    int again = dial(); /* places are given back */
    say(again, "{\"cmd\":\"status\"}\n");
    EXPECT(hear(again), "\"ok\":true");
    close(again);
}

/* One that sends a byte at a time and one that never reads hold up nobody. */
static void test_slow_peers(void **state)
{
    (void)state;
    int slow = dial(), deaf = dial(), quick = dial();
    double_big = 1 << 20;
    for (unsigned i = 0; i < 40; i++) { /* 40 MiB of answers to one that does not read */
        if (send(deaf, "{\"cmd\":\"tables\"}\n", 17, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        say(slow, i ? "x" : "{");
        pump(1);
        say(quick, "{\"cmd\":\"status\"}\n");
        EXPECT(hear(quick), "\"verb\":\"status\"");
    }
    /* what the deaf one may queue is bounded: it loses its connection when it has read the rest */
    int64_t deadline = clock_monotonic() + 5 * NS_PER_S;
    static char sink[1 << 16];
    uint64_t total = 0;
    ssize_t k;
    while ((k = recv(deaf, sink, sizeof sink, MSG_DONTWAIT)) != 0 && clock_monotonic() < deadline) {
        total += k > 0 ? (uint64_t)k : 0;
        if (k < 0)
            socket_poll(server, 1);
    }
    assert_int_equal(k, 0);
    assert_true(total < 2 * SOCKET_QUEUE);
    assert_int_equal(socket_clients(server), 2);
    close(slow);
    close(deaf);
    close(quick);
}

static void test_descriptors_come_with_their_reply(void **state)
{
    (void)state;
    int fd = dial(), got = -1, pipes[2];
    char c;
    assert_int_equal(pipe(pipes), 0);
    double_fd = pipes[0];
    /* in the middle of others: with its own line, not with an earlier one */
    say(fd, "{\"cmd\":\"status\"}\n{\"cmd\":\"attach\"}\n{\"cmd\":\"topo\"}\n");
    EXPECT(hear_with(fd, &got), "\"verb\":\"status\"");
    assert_int_equal(got, -1);
    EXPECT(hear_with(fd, &got), "\"verb\":\"attach\"");
    assert_true(got >= 0);
    int first = got;
    EXPECT(hear_with(fd, &got), "\"verb\":\"topo\"");
    assert_int_equal(got, first);
    assert_int_equal(write(pipes[1], "!", 1), 1);
    assert_int_equal(read(first, &c, 1), 1);
    assert_int_equal(c, '!');
    assert_int_equal(write(pipes[1], "?", 1), 1); /* the daemon's own is still open */
    assert_int_equal(read(pipes[0], &c, 1), 1);
    close(first);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

static void test_waiting_requests(void **state)
{
    (void)state;
    int fd = dial(), gone = dial();
    say(fd, "{\"cmd\":\"publish\",\"id\":\"p\"}\n{\"cmd\":\"status\",\"id\":2}\n");
    say(gone, "{\"cmd\":\"publish\"}\n");
    pump(4);
    char c;
    assert_true(recv(fd, &c, 1, MSG_DONTWAIT) < 0); /* not yet, and what follows waits too */
    assert_int_equal(socket_finish(server), 0);
    close(gone); /* who leaves while waiting is let go */
    pump(4);
    assert_int_equal(socket_clients(server), 1);
    double_acknowledged = true;
    assert_int_equal(socket_finish(server), 1);
    EXPECT(hear(fd), "\"id\":\"p\",\"ok\":true");
    EXPECT(hear(fd), "\"id\":2");
    close(fd);
}

static void test_levels(void **state)
{
    (void)state;
    double_level = LEVEL_VIEW;
    int fd = dial();
    unsigned before = double_calls;
    say(fd, "{\"cmd\":\"stop\"}\n");
    const char *got = hear(fd);
    EXPECT(got, "this needs level admin");
    EXPECT(got, "has view");
    say(fd, "{\"cmd\":\"publish\",\"args\":[\"t\",\"-\"]}\n");
    EXPECT(hear(fd), "this needs level operate");
    assert_int_equal(double_calls, before);
    say(fd, "{\"cmd\":\"status\"}\n");
    EXPECT(hear(fd), "\"ok\":true");
    say(fd, "{\"cmd\":\"commands\"}\n");
    EXPECT(hear(fd), "\"name\":\"ledger\"");
    close(fd);
}

static void append_line(char *line, size_t room, unsigned bytes)
{
    snprintf(line, room, "{\"cmd\":\"append\",\"args\":[{\"bytes\":%u}]}\n", bytes);
}

/* Bytes behind a line, newlines among them, in pieces of every size, and the next request at once.
 */
static void test_bytes_behind_a_line(void **state)
{
    (void)state;
    static char bytes[65536 + 8], line[128], want[128];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251 == 10 ? '\n' : i * 7);
    static const unsigned sizes[] = {8, 4096, 65536};
    for (unsigned k = 0; k < PST_COUNT(sizes); k++)
        for (size_t piece = 1; piece < 70000; piece = piece * 7 + 1) {
            if (sizes[k] / piece > 3000)
                continue;
            uint64_t sum = 0;
            for (unsigned i = 0; i < sizes[k]; i++)
                sum = sum * 31 + (uint8_t)bytes[i];
            snprintf(want, sizeof want, "\"tail\":%u,\"sum\":%llu", sizes[k],
                     (unsigned long long)(sum & INT32_MAX));
            int fd = dial();
            append_line(line, sizeof line, sizes[k]);
            say(fd, line);
            for (size_t at = 0; at < sizes[k]; at += piece) {
                put(fd, bytes + at, sizes[k] - at < piece ? sizes[k] - at : piece);
                pump(2);
            }
            say(fd, "{\"cmd\":\"feeds\"}\n");
            EXPECT(hear(fd), want);
            EXPECT(hear(fd), "feeds");
            close(fd);
            pump(4);
        }
    /* all in one piece, several of them */
    int fd = dial();
    char all[512];
    append_line(all, sizeof all, 16);
    size_t n = strlen(all);
    memcpy(all + n, "0123456\n89012345", 16);
    memcpy(all + n + 16, all, n + 16);
    put(fd, all, 2 * (n + 16));
    EXPECT(hear(fd), "\"tail\":16");
    EXPECT(hear(fd), "\"tail\":16");
    close(fd);
}

static void test_bytes_that_are_not_taken(void **state)
{
    (void)state;
    static const char *const bad[] = {"7", "0", "-8", "1048584", "8.0", "\"8\"", "true"};
    char line[128];
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        int fd = dial();
        snprintf(line, sizeof line, "{\"cmd\":\"append\",\"args\":[{\"bytes\":%s}]}\n", bad[i]);
        say(fd, line);
        EXPECT(hear(fd), "multiple of 8");
        assert_true(closed(fd)); /* what follows could not be told from a line */
    }
    double_level = LEVEL_VIEW;
    int fd = dial();
    append_line(line, sizeof line, 1024);
    say(fd, line);
    EXPECT(hear(fd), "needs level operate");
    assert_true(closed(fd));
    double_level = LEVEL_OPERATE;
    int many[SOCKET_TAILS];
    for (unsigned i = 0; i < SOCKET_TAILS; i++) {
        many[i] = dial();
        say(many[i], line);
        pump(4);
    }
    fd = dial();
    say(fd, line);
    EXPECT(hear(fd), "append already");
    assert_true(closed(fd));
    close(many[0]); /* one that left makes room, in the middle of its bytes */
    pump(4);
    fd = dial();
    say(fd, line);
    for (unsigned i = 0; i < 1024; i += 64)
        put(fd, "0123456789012345678901234567890123456789012345678901234567890123", 64);
    EXPECT(hear(fd), "\"tail\":1024");
    close(fd);
    for (unsigned i = 1; i < SOCKET_TAILS; i++)
        close(many[i]);
    pump(8);
    assert_int_equal(socket_clients(server), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mode_from_the_first_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partial_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_gets_one_line_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize_line_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_come_with_their_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_behind_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_that_are_not_taken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
