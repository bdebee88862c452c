/* SPDX-License-Identifier: Apache-2.0 */
/* test_stream.c - plain and TLS bytes over a socketpair, with a client of OpenSSL on this thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>
#include "byte_stream.h"
#include "tests/support/tlskit.h"

static char dir[64], cert[100], key[100];
static struct err err;

static void pair(int fd[2], int room)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    if (room) {
        setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
}

struct both {
    struct stream s;
    int fd;
    SSL *c;
    SSL_CTX *ctx;
};

static void meet(struct both *b, struct tls *t, int room)
{
    int fd[2], r = -EAGAIN;
    char text[128] = "";
    pair(fd, room);
    stream_open(&b->s, fd[0]);
    b->fd = fd[1];
    b->c = tlskit_client(fd[1], &b->ctx);
    assert_int_equal(stream_sniff(&b->s), -EAGAIN);
    for (int i = 0; i < 20 && (r == -EAGAIN || !SSL_is_init_finished(b->c)); i++) {
        SSL_do_handshake(b->c);
        if (b->s.kind == STREAM_UNKNOWN)
            assert_int_equal(stream_sniff(&b->s), 0);
        if (r == -EAGAIN)
            r = stream_handshake(&b->s, t, text);
    }
    if (r)
        fail_msg("%s", text);
    assert_true(b->s.ready && b->s.kind == STREAM_TLS);
}

static void part(struct both *b)
{
    stream_close(&b->s);
    SSL_free(b->c);
    SSL_CTX_free(b->ctx);
    close(b->fd);
}

static void test_plain(void **state)
{
    int fd[2];
    struct stream s;
    char buf[64], text[64];
    struct iovec v[3] = {{(char *)"ab", 2}, {(char *)"", 0}, {(char *)"cde", 3}};
    (void)state;
    pair(fd, 0);
    stream_open(&s, fd[0]);
    assert_int_equal(stream_sniff(&s), -EAGAIN);
    assert_int_equal(write(fd[1], "user:pw\3", 9), 9);
    assert_int_equal(stream_sniff(&s), 0);
    assert_true(s.kind == STREAM_PLAIN && s.ready);
    assert_int_equal(stream_read(&s, buf, sizeof buf), 9); /* the first byte is still there */
    assert_memory_equal(buf, "user:pw\3", 9);
    assert_int_equal(stream_read(&s, buf, sizeof buf), -EAGAIN);
    assert_int_equal(stream_writev(&s, v, 3), 5);
    assert_int_equal(stream_writev(&s, v, 0), 0);
    assert_int_equal(read(fd[1], buf, sizeof buf), 5);
    assert_memory_equal(buf, "abcde", 5);
    assert_int_equal(stream_events(&s, false), EPOLLIN);
    assert_int_equal(stream_events(&s, true), EPOLLIN | EPOLLOUT);
    assert_string_equal(stream_text(&s, text), "plain");
    close(fd[1]);
    assert_int_equal(stream_read(&s, buf, sizeof buf), 0);
    assert_int_equal(stream_writev(&s, v, 3), -EPIPE); /* and no SIGPIPE */
    stream_close(&s);
    pair(fd, 0);
    stream_open(&s, fd[0]);
    close(fd[1]);
    assert_int_equal(stream_sniff(&s), -EPIPE);
    stream_close(&s);
}

static void test_tls(void **state)
{
    struct both b;
    char buf[64], text[64];
    struct iovec v[3] = {{(char *)"ab", 2}, {(char *)"", 0}, {(char *)"cde", 3}};
    (void)state;
    struct tls *t = tls_open(cert, key, &err);
    meet(&b, t, 0);
    assert_non_null(strstr(stream_text(&b.s, text), "TLSv1.3"));
    assert_int_equal(SSL_write(b.c, "user:pw\3", 9), 9);
    assert_int_equal(stream_read(&b.s, buf, 4), 4);
    assert_true(stream_more(&b.s)); /* epoll does not see them */
    assert_int_equal(stream_read(&b.s, buf, sizeof buf), 5);
    assert_false(stream_more(&b.s));
    assert_int_equal(stream_read(&b.s, buf, sizeof buf), -EAGAIN);
    assert_int_equal(stream_writev(&b.s, v, 3), 5);
    assert_int_equal(SSL_read(b.c, buf, sizeof buf), 5);
    assert_memory_equal(buf, "abcde", 5);
    SSL_shutdown(b.c);
    assert_int_equal(stream_read(&b.s, buf, sizeof buf), 0);
    part(&b);
    /* one that just goes is no error either */
    meet(&b, t, 0);
    close(b.fd);
    assert_true(stream_read(&b.s, buf, sizeof buf) <= 0); /* reset, as it had not read its ticket */
    assert_true(stream_writev(&b.s, v, 3) < 0);
    SSL_free(b.c);
    SSL_CTX_free(b.ctx);
    stream_close(&b.s);
    tls_close(t);
}

/*
 * A socket that is nearly always full: what writev took comes once and in order, though what stood
 * behind it is another thing at each call.
 */
static void test_full_socket(void **state)
{
    struct both b;
    static uint8_t data[3 << 20], got[3 << 20];
    size_t taken = 0, read_n = 0;
    unsigned held = 0, again = 0, turn = 0;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    struct tls *t = tls_open(cert, key, &err);
    meet(&b, t, 4096);
    uint8_t junk[40000];
    memset(junk, 0xEE, sizeof junk);
    while (read_n < sizeof data) {
        turn++;
        if (taken < sizeof data) {
            size_t n = sizeof data - taken, a = 1 + turn * 7919 % 50000;
            a = a < n ? a : n;
            struct iovec v[4] = {{data + taken, a / 3},
                                 {data + taken + a / 3, 0},
                                 {data + taken + a / 3, a - a / 3},
                                 {junk, 0}};
            ssize_t r = stream_writev(&b.s, v, 4);
            if (r < 0) {
                assert_int_equal(r, -EAGAIN);
                again++;
            } else {
                assert_true((size_t)r <= a);
                taken += (size_t)r;
            }
        } else if (stream_held(&b.s)) {
            ssize_t r = stream_writev(&b.s, NULL, 0);
            assert_true(r == 0 || r == -EAGAIN);
        }
        held += stream_held(&b.s);
        if (stream_held(&b.s))
            assert_int_equal(stream_events(&b.s, false), EPOLLIN | EPOLLOUT);
        int n =
            SSL_read(b.c, got + read_n,
                     (int)(1 + turn * 104729 % 9000 < sizeof got - read_n ? 1 + turn * 104729 % 9000
                                                                          : sizeof got - read_n));
        read_n += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(got, data, sizeof data);
    assert_true(held > 100 && again > 100);
    assert_false(stream_held(&b.s));
    part(&b);
    tls_close(t);
}

static void test_bad_clients(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {{"\x16\x03\x01\x00\x05hello", 10},
               {"\x16\x16\x16\x16\x16\x16\x16\x16\x16\x16\x16\x16", 12},
               {"\x16\x03\x01\xff\xff\x01\x00\x00", 8},
               {"\x16", 1}};
    struct tls *t = tls_open(cert, key, &err);
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        int fd[2];
        struct stream s;
        char text[128];
        pair(fd, 0);
        stream_open(&s, fd[0]);
        assert_int_equal(write(fd[1], bad[i].bytes, bad[i].n), bad[i].n);
        assert_int_equal(stream_sniff(&s), 0);
        int r = stream_handshake(&s, t, text);
        if (r == -EAGAIN) { /* it may say more; it says nothing more */
            shutdown(fd[1], SHUT_WR);
            r = stream_handshake(&s, t, text);
        }
        assert_int_equal(r, -EPROTO);
        assert_true(*text);
        stream_close(&s);
        close(fd[1]);
    }
    tls_close(t);
}

static void old_protocol(struct tls *t, int version, bool taken)
{
    int fd[2];
    struct stream s;
    SSL_CTX *ctx;
    char text[128];
    pair(fd, 0);
    stream_open(&s, fd[0]);
    SSL *c = tlskit_client(fd[1], &ctx);
    SSL_set_security_level(c, 0);
    SSL_set_min_proto_version(c, version);
    SSL_set_max_proto_version(c, version);
    int r = -EAGAIN;
    for (int i = 0; i < 20 && r == -EAGAIN; i++) {
        SSL_do_handshake(c);
        if (!stream_sniff(&s))
            r = stream_handshake(&s, t, text);
    }
    assert_int_equal(r, taken ? 0 : -EPROTO);
    stream_close(&s);
    SSL_free(c);
    SSL_CTX_free(ctx);
    close(fd[1]);
}

/* 1.2 yes, older no; no renegotiation. */
static void test_versions(void **state)
{
    struct tls *t = tls_open(cert, key, &err);
    (void)state;
    old_protocol(t, TLS1_2_VERSION, true);
    old_protocol(t, TLS1_1_VERSION, false);
    tls_close(t);
}

static void test_files(void **state)
{
    char c2[100], k2[100], problem[500];
    int64_t expires = 0, now = (int64_t)time(NULL);
    (void)state;
    snprintf(c2, sizeof c2, "%s/c2", dir);
    snprintf(k2, sizeof k2, "%s/k2", dir);
    assert_true(tls_check_files(cert, key, &expires, &err));
    assert_true(expires > now + 29 * 86400 && expires < now + 31 * 86400);
    assert_false(tls_check_files("/nowhere/c.pem", key, NULL, &err));
    assert_non_null(strstr(err.text, "/nowhere/c.pem"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_false(tls_check_files(cert, "/nowhere/k.pem", NULL, &err));
    assert_non_null(strstr(err.text, "/nowhere/k.pem: No such file"));
    assert_true(tlskit_pair(c2, k2, true, -0));
    assert_false(tls_check_files(cert, k2, NULL, &err));
    assert_non_null(strstr(err.text, k2));
    assert_false(tls_check_files(k2, key, NULL, &err));
    chmod(k2, 0604);
    assert_false(tls_check_files(c2, k2, NULL, &err));
    assert_non_null(strstr(err.text, "can be read or changed by others (mode 604)"));
    /* a start without them: nobody gets TLS, and it is said; they come: they are used */
    unlink(c2);
    struct tls *t = tls_open(c2, k2, &err);
    tls_problem(t, problem);
    assert_non_null(strstr(problem, c2));
    assert_int_equal(tls_expires(t), 0);
    old_protocol(t, TLS1_2_VERSION, false);
    assert_true(tlskit_pair(c2, k2, true, 90));
    tls_look(t);
    tls_problem(t, problem);
    assert_string_equal(problem, "");
    assert_true(tls_expires(t) > now + 89 * 86400);
    old_protocol(t, TLS1_2_VERSION, true);
    /* a half-written pair: the one of before stays */
    FILE *f = fopen(c2, "w");
    fputs("-----BEGIN CERTIFICATE-----\nxx", f);
    fclose(f);
    tls_look(t);
    tls_problem(t, problem);
    assert_non_null(strstr(problem, "cannot be used"));
    old_protocol(t, TLS1_2_VERSION, true);
    assert_true(tls_expires(t) > now + 89 * 86400);
    tls_close(t);
    unlink(c2);
    unlink(k2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_tls),
        cmocka_unit_test(test_full_socket), cmocka_unit_test(test_bad_clients),
        cmocka_unit_test(test_versions),    cmocka_unit_test(test_files),
    };
    signal(SIGPIPE, SIG_IGN); /* as penstockd does: OpenSSL writes without MSG_NOSIGNAL */
    snprintf(dir, sizeof dir, "/tmp/test_stream.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    if (!tlskit_pair(cert, key, true, 30))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(cert);
    unlink(key);
    rmdir(dir);
    return r;
}
