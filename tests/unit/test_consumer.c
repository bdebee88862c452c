/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer's queue: order, lag, hysteresis, batches, what each policy keeps and says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include "publish/consumer.h"

/* A message of one row whose bytes are `c`. */
static void push(struct consumer *c, char byte, size_t len, uint64_t before)
{
    struct message *m = message_new(len);
    assert_non_null(m);
    m->rows = 1;
    memset(m->data, byte, len);
    assert_true(consumer_push(c, m, before));
    message_release(m);
}

/* Sends up to n bytes; what went out is appended to text. */
static void send_some(struct consumer *c, uint64_t n, char *text)
{
    while (n && !consumer_empty(c)) {
        struct iovec iov[4];
        int k = consumer_next(c, iov, 4, n);
        uint64_t sent = 0;
        assert_true(k > 0);
        for (int i = 0; i < k && sent < n; i++) {
            size_t take = iov[i].iov_len < n - sent ? iov[i].iov_len : n - sent;
            strncat(text, iov[i].iov_base, take);
            sent += take;
        }
        consumer_sent(c, sent);
        n -= sent;
    }
}

static unsigned freed;
static void on_free(void *arg)
{
    (void)arg;
    freed++;
}

static void test_order_and_lag(void **state)
{
    (void)state;
    struct consumer c;
    char text[100] = "";
    consumer_init(&c);
    freed = 0;
    push(&c, 'a', 3, 10);
    assert_true(consumer_push_bytes(&c, "RR", 2, on_free, NULL));
    for (int i = 0; i < 20; i++) /* the ring grows while it is wrapped */
        push(&c, (char)('b' + i), 2, 10 + (uint64_t)i);
    assert_int_equal(c.lag_bytes, 43);
    assert_int_equal(c.lag_messages, 21);
    assert_int_equal(c.owed, 2);
    send_some(&c, 4, text);
    assert_string_equal(text, "aaaR");
    assert_int_equal(freed, 0);
    assert_int_equal(c.lag_bytes, 40);
    send_some(&c, 1, text);
    assert_int_equal(freed, 1);
    send_some(&c, 1000, text);
    assert_string_equal(text, "aaaRRbbccddeeffgghhiijjkkllmmnnooppqqrrssttuu");
    assert_true(consumer_empty(&c));
    assert_int_equal(c.lag_bytes + c.lag_messages + c.owed, 0);
    assert_int_equal(c.sent_rows, 21);
    assert_int_equal(c.peak, 43);
    consumer_free(&c);
    assert_int_equal(message_bytes(), 0);
}

static void test_hysteresis(void **state)
{
    (void)state;
    struct consumer c;
    char text[300] = "";
    struct consumer_limits l = {100, 200};
    consumer_init(&c);
    push(&c, 'a', 99, 0);
    assert_false(consumer_check(&c, &l, 0));
    assert_false(c.slow);
    push(&c, 'b', 1, 1);
    assert_false(consumer_check(&c, &l, 0));
    assert_true(c.slow); /* at the limit */
    send_some(&c, 50, text);
    consumer_check(&c, &l, 0);
    assert_true(c.slow); /* 50 is half of it: not below */
    send_some(&c, 1, text);
    consumer_check(&c, &l, 0);
    assert_false(c.slow);
    push(&c, 'c', 50, 2);
    consumer_check(&c, &l, 0);
    assert_false(c.slow);                     /* 99: it has to reach it again */
    assert_true(consumer_check(&c, &l, 101)); /* what waits beside counts */
    assert_true(c.slow);
    l.act = 0;
    assert_false(consumer_check(&c, &l, 1 << 30)); /* 0: never */
    l.alert = 0;
    consumer_check(&c, &l, 1 << 30);
    assert_false(c.slow);
    consumer_free(&c);
}

/* What is dropped begins with a batch of which nothing was sent; the position is where it began. */
static void test_rewind(void **state)
{
    (void)state;
    struct consumer c;
    char text[100] = "";
    uint64_t rows;
    consumer_init(&c);
    freed = 0;
    push(&c, 'a', 2, 100);
    push(&c, 'b', 2, 100);
    push(&c, 'c', 2, 200);
    assert_true(consumer_push_bytes(&c, "R", 1, on_free, NULL));
    push(&c, 'd', 2, 300);
    send_some(&c, 1, text); /* half of a: its batch stays */
    assert_int_equal(consumer_rewind(&c, 400, &rows), 200);
    assert_int_equal(rows, 2);
    assert_int_equal(c.lag_messages, 2);
    send_some(&c, 100, text);
    assert_string_equal(text, "aabbR"); /* the reply stays where it is */
    /* Everything was sent: nothing to drop, it stands at the end. */
    assert_int_equal(consumer_rewind(&c, 400, &rows), 400);
    /* A batch whose first message is out and whose second is not begun. */
    push(&c, 'e', 2, 400);
    push(&c, 'f', 2, 400);
    push(&c, 'g', 2, 500);
    send_some(&c, 2, text);
    assert_int_equal(consumer_rewind(&c, 600, &rows), 500);
    send_some(&c, 100, text);
    assert_string_equal(text, "aabbReeff");
    /* None has begun. */
    push(&c, 'h', 2, 700);
    push(&c, 'i', 2, 800);
    assert_int_equal(consumer_rewind(&c, 900, &rows), 700);
    assert_int_equal(rows, 2);
    assert_true(consumer_empty(&c));
    consumer_free(&c);
    assert_int_equal(message_bytes(), 0);
}

static void test_skip(void **state)
{
    (void)state;
    struct consumer c;
    char text[100] = "";
    consumer_init(&c);
    push(&c, 'a', 4, 100);
    push(&c, 'b', 4, 200);
    push(&c, 'c', 4, 300);
    send_some(&c, 1, text);
    consumer_skip(&c, 400);
    assert_int_equal(c.skipped_rows, 2);
    assert_int_equal(c.skipped_from, 200);
    push(&c, 'd', 4, 400); /* only counted */
    assert_int_equal(c.lag_bytes, 3);
    assert_false(consumer_resume(&c, 450)); /* a is not out yet */
    send_some(&c, 3, text);
    push(&c, 'e', 4, 450);
    assert_true(consumer_resume(&c, 500));
    assert_int_equal(c.skipped_rows, 4);
    assert_int_equal(c.skipped_to, 500);
    assert_int_equal(c.skipped_bytes, 16);
    push(&c, 'f', 4, 500);
    send_some(&c, 100, text);
    assert_string_equal(text, "aaaaffff");
    assert_int_equal(c.dropped_rows, 4);
    assert_false(consumer_resume(&c, 600));
    consumer_free(&c);
    assert_int_equal(message_bytes(), 0);
}

/* A random life against a plain list: bytes out are those pushed, in order, without the batches
 * that rewinds took, each of which was whole. */
static void push_stream(struct consumer *c, char byte, size_t len, uint64_t face)
{
    struct message *m = message_new(len);
    assert_non_null(m);
    m->kind = MESSAGE_STREAM;
    m->first = face;
    m->rows = 1;
    memset(m->data, byte, len);
    assert_true(consumer_push_stream(c, m));
    message_release(m);
}
static void count_it(void *arg, const struct message *m)
{
    *(uint64_t *)arg += m->len;
}

/* Streams' messages between a subscription's: neither is in the other's way. */
static void test_streams(void **state)
{
    (void)state;
    struct consumer c;
    char text[100] = "";
    uint64_t rows, dropped = 0;
    consumer_init(&c);
    push(&c, 'a', 3, 10);
    push_stream(&c, 'S', 3, 1);
    push(&c, 'b', 2, 20);
    push_stream(&c, 'T', 2, 2);
    push(&c, 'c', 2, 30);
    assert_int_equal(c.lag_bytes, 12);
    assert_int_equal(c.stream_bytes, 5);
    send_some(&c, 4, text); /* the first of face 1 has begun */
    assert_string_equal(text, "aaaS");
    push_stream(&c, 'U', 4, 1);
    consumer_drop(&c, 1, count_it, &dropped);
    assert_int_equal(dropped, 4); /* the one that is not begun */
    assert_int_equal(c.stream_bytes, 4);
    /* the batches that are not begun: b and c; the streams' stay */
    assert_int_equal(consumer_rewind(&c, 99, &rows), 20);
    assert_int_equal(rows, 2);
    send_some(&c, 100, text);
    assert_string_equal(text, "aaaSSSTT");
    assert_int_equal(c.lag_bytes, 0);
    assert_int_equal(c.stream_bytes, 0);
    /* what is skipped is a subscription's only */
    push(&c, 'd', 2, 40);
    consumer_skip(&c, 50);
    push(&c, 'e', 2, 50);
    push_stream(&c, 'V', 2, 1);
    send_some(&c, 100, text);
    assert_string_equal(text, "aaaSSSTTVV");
    assert_true(consumer_resume(&c, 60));
    assert_int_equal(c.skipped_rows, 2);
    push_stream(&c, 'W', 2, 1);
    dropped = 0;
    consumer_drop(&c, 0, count_it, &dropped);
    assert_int_equal(dropped, 2);
    assert_true(consumer_empty(&c));
    consumer_free(&c);
    assert_int_equal(message_bytes(), 0);
}

static void test_model(void **state)
{
    (void)state;
    struct consumer c;
    uint32_t seed = 1;
    uint64_t before = 0, begun = UINT64_MAX, sent = 0, rows;
    static struct {
        uint64_t before, len;
    } list[10000];
    unsigned head = 0, tail = 0;
    consumer_init(&c);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525 + 1013904223;
        unsigned what = seed >> 24, n = (seed >> 8) % 50 + 1;
        if (what < 110 && tail < PST_COUNT(list)) {
            before += what % 3 == 0;
            push(&c, 'x', n, before);
            list[tail].before = before;
            list[tail++].len = n;
        } else if (what < 240 && head < tail) {
            struct iovec iov[2];
            int k = consumer_next(&c, iov, 2, 30);
            uint64_t len = 0;
            for (int i = 0; i < k; i++)
                len += iov[i].iov_len;
            len = len * (what % 4 + 1) / 4;
            consumer_sent(&c, len);
            for (; len;) {
                uint64_t left = list[head].len - sent, m = len < left ? len : left;
                begun = list[head].before;
                sent += m;
                len -= m;
                if (sent == list[head].len) {
                    head++;
                    sent = 0;
                }
            }
        } else if (what >= 250) {
            unsigned keep = head;
            while (keep < tail && list[keep].before == begun)
                keep++;
            uint64_t expect = keep < tail ? list[keep].before : before + 1;
            assert_int_equal(consumer_rewind(&c, before + 1, &rows), expect);
            assert_int_equal(rows, tail - keep);
            tail = keep;
            before++;
        }
        uint64_t lag = 0;
        for (unsigned i = head; i < tail; i++)
            lag += list[i].len;
        assert_int_equal(c.lag_bytes, lag - sent);
        assert_int_equal(c.lag_messages, tail - head);
    }
    consumer_free(&c);
    assert_int_equal(message_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_lag), cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_rewind),        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_streams),       cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
