/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_auth.c - the auth thread's work, driven by hand on a clock of its own: rate, queue,
 * timeouts, cache, unix peers, handshakes; and once with the real thread and several publish
 * threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>
#include "auth.h"
#include "core/clock.h"
#include "scram.h"
#include "tests/support/tlskit.h"
#include "validator.h"
#include "topo.h"

const struct topo_thread *topo_thread(const char *name)
{
    static const struct topo_thread t = {"auth", CORE_HOUSE, true, 5, ""};
    (void)name;
    return &t;
}

static char path[64], cert[100], key[100], good[SCRAM_TEXT], other[SCRAM_TEXT];
static struct err err;
static struct status *status;
static int64_t now;
static struct users *users;
static struct auth *auth;
static struct auth_mailbox *box;
static struct tls *tls;
static struct address from;

static int64_t clock_of(void *arg)
{
    (void)arg;
    return now;
}

static void write_users(const char *fmt, ...)
{
    char tmp[120];
    va_list ap;
    snprintf(tmp, sizeof tmp, "%s.new", path);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    fclose(f);
    assert_int_equal(chmod(tmp, 0600), 0);
    assert_int_equal(rename(tmp, path), 0);
}

static int setup(void **state)
{
    (void)state;
    status = calloc(1, sizeof *status);
    now = 1000 * NS_PER_S;
    write_users("users:\n  alice: {scram: \"%s\", tables: all}\n"
                "  near: {scram: \"%s\", networks: [10.0.0.0/8]}\n",
                good, good);
    users = users_open(path, &err);
    auth = auth_open(&(struct auth_config){.users = users,
                                           .tls = tls,
                                           .status = status,
                                           .now = clock_of,
                                           .rate = 10,
                                           .login_timeout = 5 * NS_PER_S,
                                           .uid = 4242},
                     &err);
    box = auth ? auth_mailbox(auth) : NULL;
    from = (struct address){.ip = {[10] = 0xFF, [11] = 0xFF, [12] = 192, [15] = 1}, .port = 9};
    return box ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    auth_close(auth);
    users_close(users);
    unlink(path);
    free(status);
    return 0;
}

static uint64_t counted(enum counter c)
{
    return load_relaxed(&status->counter[c]);
}

static bool login_as(uint64_t token, const char *user, const char *password)
{
    return auth_login(box, token, &from, now, user, strlen(user), password, strlen(password));
}

static void work(void)
{
    while (auth_work(auth))
        ;
}

/* The next answer must be there. */
static struct auth_result result(void)
{
    struct auth_result r;
    struct pollfd p = {.fd = auth_fd(box), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_true(auth_next(box, &r));
    if (r.verdict == AUTH_ACCEPTED && r.kind != AUTH_HANDSHAKE)
        assert_non_null(r.user);
    else
        assert_null(r.user);
    user_release(r.user);
    return r;
}

/* A login's verdict. */
static void expect(uint64_t token, const char *user, const char *password, enum auth_verdict v)
{
    assert_true(login_as(token, user, password));
    work();
    struct auth_result r = result();
    if (r.token != token || r.verdict != v)
        fail_msg("%s %s: %s, not %s", user, password, auth_verdict_text(r.verdict),
                 auth_verdict_text(v));
}

static bool nothing(void)
{
    struct auth_result r;
    struct pollfd p = {.fd = auth_fd(box), .events = POLLIN};
    return !auth_next(box, &r) && poll(&p, 1, 0) == 0;
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *user, *password;
        enum auth_verdict v;
    } cases[] = {{"alice", "pencil", AUTH_ACCEPTED},
                 {"alice", "pencils", AUTH_PASSWORD},
                 {"alice", "", AUTH_PASSWORD},
                 {"bob", "pencil", AUTH_PASSWORD},
                 {"", "", AUTH_PASSWORD},
                 {"near", "pencil", AUTH_NETWORK},
                 {"near", "wrong", AUTH_PASSWORD},
                 {"alice\n", "pencil", AUTH_PASSWORD}};
    char name[200];
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        assert_true(login_as(i, cases[i].user, cases[i].password));
        now += NS_PER_S;
        work();
        struct auth_result r = result();
        assert_true(r.token == i && r.kind == AUTH_LOGIN);
        if (r.verdict != cases[i].v)
            fail_msg("%s %s: %s", cases[i].user, cases[i].password, auth_verdict_text(r.verdict));
        assert_int_equal(*r.text != 0, r.verdict != AUTH_ACCEPTED);
    }
    /* longer than any name, though it begins like one; longer than any password */
    memset(name, 'x', sizeof name);
    memcpy(name, "alice", 5);
    assert_true(auth_login(box, 50, &from, now, name, sizeof name, "pencil", 6));
    char *big = calloc(1, 5000);
    memcpy(big, "pencil", 6);
    assert_true(auth_login(box, 51, &from, now, "alice", 5, big, 5000));
    free(big);
    now += NS_PER_S;
    work();
    now += NS_PER_S;
    work();
    assert_int_equal(result().verdict, AUTH_PASSWORD);
    assert_int_equal(result().verdict, AUTH_PASSWORD);
    assert_true(nothing());
    assert_int_equal(counted(COUNTER_AUTH_CHECKS), 10);
    assert_int_equal(counted(COUNTER_AUTH_ACCEPTED), 1);
    assert_int_equal(counted(COUNTER_AUTH_REFUSED), 9);
}

/* 10 a second, evenly; those that wait longer than login_timeout are told so; all are counted. */
static void test_rate(void **state)
{
    unsigned wrong = 0, late = 0, in_second = 0;
    uint64_t before = 0;
    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        assert_true(login_as(i, "bob", "x"));
    assert_int_equal(auth_waiting(auth), 100);
    for (int ms = 0; ms < 6000; ms++, now += NS_PER_MS) {
        work();
        if (ms % 1000 == 999) {
            uint64_t checks = counted(COUNTER_AUTH_CHECKS);
            in_second = (unsigned)(checks - before);
            before = checks;
            if (in_second > 10)
                fail_msg("%u checks in second %d", in_second, ms / 1000);
            if (ms < 5000)
                assert_int_equal(in_second, 10);
        }
        struct auth_result r;
        while (auth_next(box, &r)) {
            assert_int_equal(r.token, wrong + late); /* in the order in which they came */
            wrong += r.verdict == AUTH_PASSWORD;
            late += r.verdict == AUTH_TIMEOUT;
        }
    }
    assert_int_equal(wrong, 50);
    assert_int_equal(late, 50);
    assert_int_equal(counted(COUNTER_AUTH_TIMEOUT), 50);
    assert_int_equal(auth_waiting(auth), 0);
    assert_true(nothing());
    /* time in which nobody came is not saved up */
    now += 60 * NS_PER_S;
    for (uint64_t i = 0; i < 20; i++)
        login_as(i, "bob", "x");
    before = counted(COUNTER_AUTH_CHECKS);
    work();
    assert_int_equal(counted(COUNTER_AUTH_CHECKS) - before, 1);
}

/* One flooding address has a quarter of the queue; others still come in, and it is all counted. */
static void test_overflow(void **state)
{
    unsigned taken = 0, i;
    (void)state;
    for (i = 0; i < 2000; i++)
        taken += login_as(i, "bob", "x");
    assert_int_equal(taken, AUTH_QUEUE / 4);
    struct address flood = from;
    from.ip[15] = 2;
    assert_true(login_as(5000, "alice", "pencil"));
    struct address local;
    address_local(&local, 4242, 1);
    assert_true(auth_peer(box, 5001, &local, 1));
    work();
    assert_int_equal(counted(COUNTER_AUTH_OVERFLOW), 2000 - taken);
    /* the unix peer did not wait; what is cancelled makes room at once */
    struct auth_result r = result();
    while (r.token != 5001)
        r = result();
    assert_true(r.verdict == AUTH_ACCEPTED && r.level == LEVEL_ADMIN);
    while (auth_next(box, &r))
        user_release(r.user);
    for (i = 0; i < 2000; i++)
        auth_cancel(box, i);
    assert_int_equal(auth_waiting(auth), 1);
    now += NS_PER_S;
    work();
    assert_int_equal(result().token, 5000);
    from = flood;
    assert_true(login_as(1, "bob", "x"));
    auth_cancel(box, 1);
    now += 10 * NS_PER_S;
    work();
    assert_true(nothing());
}

/* Addresses take turns: who comes behind a flood from elsewhere is second. A /64 is one address. */
static void test_turns(void **state)
{
    (void)state;
    struct address flood = {.ip = {0x20, 1}}, elsewhere = {.ip = {0x20, 2}};
    unsigned taken = 0;
    for (unsigned i = 0; i < 1000; i++) {
        flood.ip[15] = (uint8_t)i;
        flood.ip[14] = (uint8_t)(i >> 8);
        taken += auth_login(box, i, &flood, now, "bob", 3, "x", 1);
    }
    assert_int_equal(taken, AUTH_QUEUE / 4);
    work();
    assert_int_equal(result().token, 0);
    assert_true(auth_login(box, 7000, &elsewhere, now, "alice", 5, "pencil", 6));
    assert_true(auth_login(box, 7001, &elsewhere, now, "alice", 5, "wrong", 5));
    static const uint64_t order[] = {7000, 1, 7001, 2, 3};
    for (unsigned i = 0; i < PST_COUNT(order); i++) {
        now += NS_PER_S / 10;
        work();
        assert_int_equal(result().token, order[i]);
    }
}

/* Many addresses fill the whole queue, and no more. */
static void test_full(void **state)
{
    unsigned taken = 0;
    (void)state;
    for (unsigned i = 0; i < 4 * AUTH_QUEUE; i++) {
        from.ip[14] = (uint8_t)(i >> 8);
        from.ip[15] = (uint8_t)i;
        taken += login_as(i, "bob", "x");
    }
    assert_int_equal(taken, AUTH_QUEUE);
    now += 6 * NS_PER_S;
    work();
    struct auth_result r;
    unsigned n = 0;
    while (auth_next(box, &r))
        n++;
    assert_int_equal(n, AUTH_QUEUE);
    assert_int_equal(counted(COUNTER_AUTH_TIMEOUT), AUTH_QUEUE);
    assert_true(login_as(1, "alice", "pencil"));
}

static void test_cache(void **state)
{
    (void)state;
    expect(1, "alice", "pencil", AUTH_ACCEPTED);
    /* the next hundred do not wait for the rate */
    for (uint64_t i = 0; i < 100; i++)
        assert_true(login_as(i, "alice", "pencil"));
    work();
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(result().verdict, AUTH_ACCEPTED);
    assert_int_equal(counted(COUNTER_AUTH_CHECKS), 1);
    assert_int_equal(counted(COUNTER_AUTH_CACHED), 100);
    /* from elsewhere it is another one */
    from.ip[15] = 7;
    assert_true(login_as(2, "alice", "pencil"));
    work();
    assert_true(nothing());
    now += NS_PER_S;
    work();
    assert_int_equal(result().verdict, AUTH_ACCEPTED);
    from.ip[15] = 1;
    /* three guesses, and it is gone: the right one waits like all others */
    for (uint64_t i = 0; i < 3; i++)
        assert_true(login_as(i, "alice", "guess"));
    assert_true(login_as(9, "alice", "pencil"));
    work();
    assert_true(nothing());
    for (int i = 0; i < 5; i++) {
        now += NS_PER_S / 10;
        work();
    }
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(result().verdict, AUTH_PASSWORD);
    assert_int_equal(result().verdict, AUTH_ACCEPTED);
    /* another load of the users file ends it: first the same password, then another one */
    write_users("users:\n  alice: {scram: \"%s\", tables: none}\n", good);
    assert_true(users_reload(users, &err));
    uint64_t checks = counted(COUNTER_AUTH_CHECKS);
    now += NS_PER_S;
    expect(1, "alice", "pencil", AUTH_ACCEPTED);
    assert_int_equal(counted(COUNTER_AUTH_CHECKS), checks + 1);
    write_users("users:\n  alice: {scram: \"%s\"}\n", other);
    now += NS_PER_S;
    work(); /* it looks at the file each second */
    expect(1, "alice", "pencil", AUTH_PASSWORD);
    now += NS_PER_S;
    expect(1, "alice", "brush", AUTH_ACCEPTED);
    /* and time does */
    now += AUTH_CACHE_NS;
    checks = counted(COUNTER_AUTH_CHECKS);
    expect(1, "alice", "brush", AUTH_ACCEPTED);
    assert_int_equal(counted(COUNTER_AUTH_CHECKS), checks + 1);
    write_users("users: {}\n");
    assert_true(users_reload(users, &err));
    now += NS_PER_S;
    expect(1, "alice", "brush", AUTH_PASSWORD);
}

static void test_peers(void **state)
{
    static const char *operators[] = {"root"}, *viewers[] = {"nobody"};
    struct config_access lists = {.operate = {operators, 1}, .view = {viewers, 1}};
    struct address a;
    (void)state;
    auth_access(auth, &lists);
    static const struct {
        uid_t uid;
        enum auth_verdict v;
        enum level level;
    } cases[] = {{4242, AUTH_ACCEPTED, LEVEL_ADMIN},
                 {0, AUTH_ACCEPTED, LEVEL_ADMIN},
                 {65534, AUTH_ACCEPTED, LEVEL_VIEW},
                 {31337, AUTH_LEVEL, LEVEL_NONE}};
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        address_local(&a, cases[i].uid, 1);
        assert_true(auth_peer(box, i, &a, 54321));
        work();
        struct auth_result r;
        assert_true(auth_next(box, &r));
        assert_true(r.kind == AUTH_PEER && r.verdict == cases[i].v && r.level == cases[i].level);
        if (r.user) {
            assert_true(user_may_read(r.user, "t"));
            assert_int_equal(user_may_publish(r.user, "t"), r.level >= LEVEL_OPERATE);
        }
        user_release(r.user);
    }
}

/* ---- another program says who may come in ---- */

static char socket_path[100];

static int listening(int backlog)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memcpy(a.sun_path, socket_path, sizeof socket_path);
    unlink(socket_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

/* A fresh auth with the validator, and users that it is asked about. */
static void with_validator(void)
{
    write_users("users:\n  alice: {scram: \"%s\"}\n  ext: {scram: external}\n"
                "  ext2: {scram: external, networks: [10.0.0.0/8]}\n",
                good);
    assert_true(users_reload(users, &err));
    auth_close(auth);
    auth = auth_open(&(struct auth_config){.users = users,
                                           .validator = socket_path,
                                           .status = status,
                                           .now = clock_of,
                                           .rate = 10,
                                           .login_timeout = 5 * NS_PER_S},
                     &err);
    box = auth_mailbox(auth);
}

static int ask(uint64_t token, int listener, const char *user, const char *password, char *line,
               size_t size)
{
    now += NS_PER_S / 10;
    assert_true(login_as(token, user, password));
    work();
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    ssize_t n = recv(fd, line, size - 1, 0);
    assert_true(n > 0);
    line[n] = 0;
    return fd;
}

static void test_validator(void **state)
{
    char line[8192], problem[500];
    struct auth_result r;
    static const struct {
        const char *answer;
        enum auth_verdict v;
        const char *text;
    } cases[] = {{"{\"ok\":true}\n", AUTH_ACCEPTED, ""},
                 {"{\"ok\":true,\"groups\":[1]}", AUTH_ACCEPTED, ""}, /* ended by its end */
                 {"{\"ok\":false,\"reason\":\"locked\"}\n", AUTH_EXTERNAL, "locked"},
                 {"{\"ok\":false}\n{\"ok\":true}\n", AUTH_EXTERNAL, "refused by"},
                 {"{\"ok\":1}\n", AUTH_VALIDATOR, "no object with ok"},
                 {"yes\n", AUTH_VALIDATOR, "no object with ok"},
                 {"{\"ok\":tr", AUTH_VALIDATOR, "no object with ok"},
                 {"", AUTH_VALIDATOR, "without an answer"}};
    (void)state;
    with_validator();
    int l = listening(8);
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        int fd = ask(i, l, "ext", "a \"\\\n\xC3\xA4", line, sizeof line);
        assert_string_equal(line,
                            "{\"user\":\"ext\",\"password\":\"a \\u0022\\u005c\\u000a\xC3\xA4\","
                            "\"address\":\"192.0.0.1\",\"port\":9}\n");
        assert_true(nothing());
        assert_int_equal(send(fd, cases[i].answer, strlen(cases[i].answer), 0),
                         strlen(cases[i].answer));
        close(fd);
        work();
        assert_true(auth_next(box, &r));
        if (r.verdict != cases[i].v || !strstr(r.text, cases[i].text))
            fail_msg("%s: %s, %s", cases[i].answer, auth_verdict_text(r.verdict), r.text);
        assert_int_equal(r.user != NULL, r.verdict == AUTH_ACCEPTED);
        user_release(r.user);
        auth_problem(auth, problem);
        assert_int_equal(*problem != 0, r.verdict == AUTH_VALIDATOR);
    }
    assert_int_equal(counted(COUNTER_AUTH_VALIDATED), 4);
    assert_int_equal(counted(COUNTER_AUTH_VALIDATOR_FAILED), 4);
    assert_int_equal(counted(COUNTER_AUTH_CHECKS), PST_COUNT(cases));
    /* it says nothing: others are checked beside it, and at its time it is refused */
    int slow = ask(100, l, "ext", "x", line, sizeof line);
    now += NS_PER_S / 10;
    assert_true(login_as(101, "alice", "pencil"));
    work();
    assert_int_equal(result().token, 101);
    assert_true(nothing());
    now += VALIDATOR_NS;
    work();
    assert_true(auth_next(box, &r));
    assert_true(r.token == 100 && r.verdict == AUTH_VALIDATOR && strstr(r.text, "in time"));
    close(slow);
    /* no network of the user's, no UTF-8, too long: it is not asked; nor twice at one rate's turn
     */
    now += NS_PER_S;
    expect(102, "ext2", "x", AUTH_NETWORK);
    now += NS_PER_S;
    expect(103, "ext", "\xFF\xFE", AUTH_EXTERNAL);
    memset(line, 'p', sizeof line);
    now += NS_PER_S;
    assert_true(auth_login(box, 104, &from, now, "ext", 3, line, sizeof line));
    work();
    assert_int_equal(result().verdict, AUTH_PASSWORD);
    assert_true(accept(l, NULL, NULL) < 0);
    now += NS_PER_S;
    assert_true(login_as(105, "ext", "one"));
    assert_true(login_as(106, "ext", "two"));
    work();
    int fd = accept(l, NULL, NULL);
    assert_true(fd >= 0 && accept(l, NULL, NULL) < 0); /* the rate holds */
    /* who was removed meanwhile does not come in, whatever it says */
    write_users("users:\n  ext: {scram: \"%s\"}\n", good);
    assert_true(users_reload(users, &err));
    assert_int_equal(send(fd, "{\"ok\":true}\n", 12, 0), 12);
    work();
    assert_int_equal(result().verdict, AUTH_PASSWORD);
    close(fd);
    close(l);
    unlink(socket_path);
}

/* Gone, back again with a full queue, and none at all. */
static void test_validator_gone(void **state)
{
    char line[200], problem[500];
    (void)state;
    with_validator();
    now += NS_PER_S;
    expect(1, "ext", "x", AUTH_VALIDATOR);
    auth_problem(auth, problem);
    assert_non_null(strstr(problem, "No such file"));
    int l = listening(0), fd;
    for (uint64_t i = 2; i < 6; i++) {
        now += NS_PER_S / 10;
        assert_true(login_as(i, "ext", "x"));
        work();
    }
    for (unsigned i = 0; i < 4; i++) { /* one after another, as it takes them */
        work();
        assert_true((fd = accept(l, NULL, NULL)) >= 0);
        work(); /* the next ones come to its queue */
        assert_true(recv(fd, line, sizeof line, 0) > 0);
        assert_int_equal(send(fd, "{\"ok\":true}\n", 12, 0), 12);
        close(fd);
    }
    work();
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(result().verdict, AUTH_ACCEPTED);
    auth_problem(auth, problem);
    assert_string_equal(problem, "");
    fd = ask(9, l, "ext", "x", line, sizeof line); /* one under way when all ends */
    auth_close(auth);
    auth = auth_open(&(struct auth_config){.users = users,
                                           .status = status,
                                           .now = clock_of,
                                           .rate = 10,
                                           .login_timeout = 5 * NS_PER_S},
                     &err);
    box = auth_mailbox(auth);
    expect(1, "ext", "x", AUTH_VALIDATOR);
    close(fd);
    close(l);
    unlink(socket_path);
}

static int connected(struct stream *s, int *fd, SSL **c, SSL_CTX **ctx)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    stream_open(s, pair[0]);
    *fd = pair[1];
    *c = tlskit_client(pair[1], ctx);
    SSL_do_handshake(*c);
    return stream_sniff(s);
}

static void test_handshakes(void **state)
{
    struct stream s, slow;
    int fd, slow_fd;
    SSL *c;
    SSL_CTX *ctx;
    (void)state;
    assert_int_equal(connected(&s, &fd, &c, &ctx), 0);
    assert_true(auth_handshake(box, 1, &from, now, &s));
    for (int i = 0; i < 10 && !SSL_is_init_finished(c); i++) {
        work();
        SSL_do_handshake(c);
    }
    work();
    struct auth_result r = result();
    assert_true(r.token == 1 && r.kind == AUTH_HANDSHAKE && r.verdict == AUTH_ACCEPTED && s.ready);
    assert_int_equal(counted(COUNTER_TLS_HANDSHAKES), 1);
    char buf[8];
    assert_int_equal(SSL_write(c, "hello", 5), 5);
    assert_int_equal(stream_read(&s, buf, sizeof buf), 5);
    stream_close(&s);
    SSL_free(c);
    SSL_CTX_free(ctx);
    close(fd);

    /* one that says 0x16 and no more is told after login_timeout; one that was given up at once */
    SSL *unused;
    SSL_CTX *other_ctx;
    assert_int_equal(connected(&slow, &slow_fd, &unused, &other_ctx), 0);
    assert_int_equal(connected(&s, &fd, &c, &ctx), 0);
    assert_true(auth_handshake(box, 2, &from, now, &slow));
    assert_true(auth_handshake(box, 3, &from, now, &s));
    work();
    assert_true(nothing());
    auth_cancel(box, 3);
    work();
    r = result();
    assert_true(r.token == 3 && r.verdict == AUTH_STOPPED);
    now += 5 * NS_PER_S;
    work();
    r = result();
    assert_true(r.token == 2 && r.verdict == AUTH_TIMEOUT && *r.text);
    assert_int_equal(counted(COUNTER_TLS_FAILED), 2);
    stream_close(&s);
    stream_close(&slow);
    close(fd);
    close(slow_fd);
    SSL_free(unused);
    SSL_free(c);
    SSL_CTX_free(ctx);
    SSL_CTX_free(other_ctx);
}

/* ---- with threads -----------------------------------------------------------------------------
 */

struct publisher {
    struct auth_mailbox *box;
    pthread_t id;
    unsigned asked, cancelled, answered, accepted;
};

static void *publish(void *arg)
{
    struct publisher *p = arg;
    int64_t end = clock_monotonic() + 20 * NS_PER_S;
    struct auth_result r;
    for (unsigned i = 0; i < 120; i++) {
        bool right = i % 4;
        struct address a = {.ip = {[10] = 0xFF, [11] = 0xFF, [15] = (uint8_t)i}};
        p->asked += auth_login(p->box, i, &a, clock_monotonic(), "alice", 5,
                               right ? "pencil" : "wrong", right ? 6 : 5);
        if (i % 50 == 49)
            auth_cancel(p->box, i);
    }
    while (p->answered + p->cancelled < p->asked && clock_monotonic() < end) {
        struct pollfd f = {.fd = auth_fd(p->box), .events = POLLIN};
        poll(&f, 1, 50);
        while (auth_next(p->box, &r)) {
            p->answered++;
            p->accepted += r.verdict == AUTH_ACCEPTED;
            user_release(r.user);
        }
        if (p->answered + 8 >= p->asked) /* the cancelled ones may have been answered before */
            break;
    }
    return p;
}

static void test_threads(void **state)
{
    struct publisher p[3];
    static struct clock clock;
    (void)state;
    clock_init_real(&clock);
    auth_close(auth);
    auth = auth_open(&(struct auth_config){.users = users,
                                           .status = status,
                                           .clock = &clock,
                                           .rate = 100000,
                                           .login_timeout = 20 * NS_PER_S},
                     &err);
    for (unsigned i = 0; i < 3; i++)
        p[i] = (struct publisher){.box = auth_mailbox(auth)};
    assert_true(auth_start(auth, &err));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&p[i].id, NULL, publish, &p[i]), 0);
    for (unsigned i = 0; i < 20; i++) { /* beside reloads */
        write_users("users:\n  alice: {scram: \"%s\", rows: %u}\n", good, i + 1);
        users_reload(users, NULL);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(p[i].id, NULL);
        assert_true(p[i].asked > 100 && p[i].accepted > 40);
        assert_true(p[i].answered + 8 >= p[i].asked);
    }
    auth_stop(auth);
    struct auth_result r;
    for (unsigned i = 0; i < 3; i++)
        while (auth_next(p[i].box, &r))
            user_release(r.user);
    assert_false(auth_login(p[0].box, 1, &from, 0, "a", 1, "b", 1)); /* stopped */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
        T(test_verdicts), T(test_rate),      T(test_overflow),       T(test_full),
        T(test_turns),    T(test_cache),     T(test_peers),          T(test_handshakes),
        T(test_threads),  T(test_validator), T(test_validator_gone),
    };
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "/tmp/test_auth.%d", (int)getpid());
    snprintf(socket_path, sizeof socket_path, "%s.sock", path);
    snprintf(cert, sizeof cert, "%s.cert", path);
    snprintf(key, sizeof key, "%s.key", path);
    if (!scram_make("pencil", 6, 4096, good, &err) || !scram_make("brush", 5, 4096, other, &err) ||
        !tlskit_pair(cert, key, true, 30) || !(tls = tls_open(cert, key, &err)))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    tls_close(tls);
    unlink(cert);
    unlink(key);
    return r;
}
