/* SPDX-License-Identifier: Apache-2.0 */
/* The upstream's connection: what stands for an answer, and what does not. The other end is a
 * socket pair's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "upstream_parts.h"

struct kit {
    struct kdb_link link;
    _Atomic bool stop;
    int peer;
};

static void open_kit(struct kit *k)
{
    static const struct kdb_limits limits = {.message = KDB_BYTES_MAX};
    struct kdb_event e;
    int fd[2];
    memset(k, 0, sizeof *k);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    k->link = (struct kdb_link){.fd = fd[0], .stop = &k->stop, .in_session = true};
    k->peer = fd[1];
    kdb_session_start(&k->link.session, KDB_CLIENT, &limits);
    assert_true(kdb_session_feed(&k->link.session, "\3", 1)); /* the login is behind us */
    assert_int_equal(kdb_session_next(&k->link.session, &e), KDB_EVENT_ACCEPTED);
}

static void close_kit(struct kit *k)
{
    kdb_link_close(&k->link);
    kdb_out_free(&k->link.out);
    close(k->peer);
}

static void say(struct kit *k, enum kdb_kind kind, int64_t value)
{
    struct kdb_out o = {0};
    size_t at = kdb_frame_begin(&o, kind);
    kdb_out_long(&o, value);
    assert_true(kdb_frame_end(&o, at));
    assert_int_equal(send(k->peer, o.data, o.len, 0), o.len);
    kdb_out_free(&o);
}

static void put_question(struct kit *k)
{
    size_t at = kdb_frame_begin(&k->link.out, KDB_SYNC);
    kdb_out_chars(&k->link.out, "?", 1);
    assert_true(kdb_frame_end(&k->link.out, at));
}

static bool answer(struct kit *k, struct kdb_received *m, int64_t wait, struct err *err)
{
    *err = (struct err){0};
    put_question(k);
    return kdb_link_answer(&k->link, "the question", m, wait, err);
}

static void an_answer_is_the_response(void **state)
{
    (void)state;
    struct kit k;
    struct kdb_received m;
    struct err err;
    uint8_t asked[64];
    open_kit(&k);
    say(&k, KDB_ASYNC, 1);
    say(&k, KDB_ASYNC, 2);
    say(&k, KDB_RESPONSE, 3);
    say(&k, KDB_ASYNC, 4);
    assert_true(answer(&k, &m, NS_PER_S, &err));
    assert_int_equal(kdb_object_long(&m.object, 0), 3);
    assert_int_equal(recv(k.peer, asked, sizeof asked, 0), 8 + 6 + 1); /* it was asked once */
    assert_int_equal(kdb_link_next(&k.link, &m, 0, &err), KDB_LINK_MESSAGE);
    assert_int_equal(kdb_object_long(&m.object, 0), 4);
    close_kit(&k);
}

static void no_answer(void **state)
{
    (void)state;
    struct kit k;
    struct kdb_received m;
    struct err err;
    open_kit(&k);
    say(&k, KDB_ASYNC, 1);
    assert_false(answer(&k, &m, 20 * NS_PER_MS, &err));
    assert_int_equal(err.code, -ETIMEDOUT);
    assert_non_null(strstr(err.text, "does not answer the question"));
    close_kit(&k);

    open_kit(&k);
    assert_int_equal(shutdown(k.peer, SHUT_WR), 0);
    assert_false(answer(&k, &m, NS_PER_S, &err));
    assert_int_equal(err.code, -EPIPE);
    close_kit(&k);

    open_kit(&k);
    assert_int_equal(send(k.peer, "no message of kdb+", 18, 0), 18);
    assert_false(answer(&k, &m, NS_PER_S, &err));
    assert_int_equal(err.code, -EBADMSG);
    close_kit(&k);
}

/* A tickerplant that closes instead of answering is no subscription. */
static void a_tickerplant_that_goes(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    struct config config = {0};
    struct daemon d = {.config = &config};
    static struct upstream u;
    open_kit(&k);
    u = (struct upstream){.d = &d, .link = k.link};
    assert_int_equal(shutdown(k.peer, SHUT_WR), 0);
    assert_false(tick_begin(&u, &err));
    assert_int_equal(err.code, -EPIPE);
    k.link = u.link;
    close_kit(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_response),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(a_tickerplant_that_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
