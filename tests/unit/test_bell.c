/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include "core/thread.h"

#define ROUNDS 20000u

/* Two threads that hand a number to and fro, each asleep on its bell in between: a ring that were
 * lost would cost a second each time. */
static struct bell_board board;
static _Atomic uint32_t there, back;

static void wait_for(struct bell *b, _Atomic uint32_t *at, uint32_t value)
{
    while (load_acquire(at) != value) {
        bell_arm(b);
        if (load_acquire(at) != value)
            bell_sleep(b, NS_PER_S);
        bell_disarm(b);
    }
}

static void *echo(void *arg)
{
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        wait_for(arg, &there, i);
        store_release(&back, i);
        bell_board_ring(&board, BELL_TAKEN);
    }
    return NULL;
}

static void no_ring_is_lost(void **state)
{
    (void)state;
    static struct bell mine, other;
    pthread_t t;
    bell_hang(&board, &mine, BELL_TAKEN, -1);
    bell_hang(&board, &other, BELL_BATCH, -1);
    int64_t from = clock_monotonic();
    assert_int_equal(pthread_create(&t, NULL, echo, &other), 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        store_release(&there, i);
        bell_board_ring(&board, BELL_BATCH);
        wait_for(&mine, &back, i);
    }
    pthread_join(t, NULL);
    assert_true(clock_monotonic() - from < ROUNDS / 200 * NS_PER_S);
}

static void only_what_is_waited_for(void **state)
{
    (void)state;
    static struct bell_board own;
    struct bell futex = {0}, fd = {0};
    bell_board_ring(NULL, BELL_TAIL); /* nobody sleeps on bells */
    bell_hang(&own, &futex, BELL_TAIL, -1);
    bell_hang(&own, &fd, BELL_LEVEL, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    struct pollfd p = {.fd = fd.fd, .events = POLLIN};

    bell_board_ring(&own, BELL_TAIL | BELL_LEVEL); /* both are awake */
    assert_int_equal(poll(&p, 1, 0), 0);

    bell_arm(&futex);
    bell_arm(&fd);
    bell_board_ring(&own, BELL_BATCH);
    assert_int_equal(load_relaxed(&futex.armed), BELL_TAIL);
    assert_int_equal(load_relaxed(&fd.armed), BELL_LEVEL);
    assert_int_equal(poll(&p, 1, 0), 0);

    bell_board_ring(&own, BELL_LEVEL);
    assert_int_equal(load_relaxed(&futex.armed), BELL_TAIL);
    assert_int_equal(load_relaxed(&fd.armed), 0);
    assert_int_equal(poll(&p, 1, 0), 1);

    /* rung between arm and sleep: the sleep does not begin */
    bell_board_ring(&own, BELL_TAIL);
    int64_t from = clock_monotonic();
    bell_sleep(&futex, 20 * NS_PER_S);
    assert_true(clock_monotonic() - from < 10 * NS_PER_S);
    close(fd.fd);
}

/* ---- a thread with a bell ---- */

static _Atomic uint32_t work_left, worked;

static int work(void *arg)
{
    (void)arg;
    uint32_t n = atomic_exchange_explicit(&work_left, 0, memory_order_acq_rel);
    bump(&worked, n);
    return (int)n;
}
static int64_t slept;
static void sleeps(void *arg, int64_t ns)
{
    (void)arg;
    slept = ns;
}

static void a_thread_looks_again_before_it_sleeps(void **state)
{
    (void)state;
    static struct status st;
    static struct clock clock;
    struct thread_ops ops = {.work = work, .sleep = sleeps};
    static struct bell_board own;
    struct bell bell = {0};
    struct thread t;
    thread_define(&t, &st, "bell", &ops, NULL, &clock, WAIT_ADAPTIVE, 0, -1);
    bell_hang(&own, &bell, BELL_TAIL, -1);
    t.bell = &bell;
    thread_begin(&t);

    thread_wait(&t, thread_round(&t)); /* arms */
    assert_int_equal(load_relaxed(&bell.armed), BELL_TAIL);
    assert_int_equal(slept, 0);
    store_relaxed(&work_left, 3); /* came between the look and the arming */
    thread_wait(&t, thread_round(&t));
    assert_int_equal(load_relaxed(&worked), 3);
    assert_int_equal(load_relaxed(&bell.armed), 0); /* it is awake again */
    assert_int_equal(slept, 0);

    thread_wait(&t, thread_round(&t));
    assert_int_equal(slept, 0);
    thread_wait(&t, thread_round(&t)); /* nothing came: it sleeps, for a millisecond at least */
    assert_true(slept >= NS_PER_MS);
    assert_int_equal(load_relaxed(&bell.armed), 0);

    /* with a pace, work is followed by a nap without the bell, so that a stream comes in pieces */
    t.pace_us = 50;
    slept = 0;
    store_relaxed(&work_left, 1);
    thread_wait(&t, thread_round(&t));
    int64_t from = clock_monotonic();
    thread_wait(&t, thread_round(&t));
    assert_true(clock_monotonic() - from >= 50 * NS_PER_US);
    assert_false(t.armed);
    thread_wait(&t, thread_round(&t));
    assert_true(t.armed);
    assert_int_equal(slept, 0);
}

static void a_thread_gives_way_once(void **state)
{
    (void)state;
    static struct status st;
    static struct clock clock;
    struct thread_ops ops = {.work = work, .sleep = sleeps};
    static struct bell_board own;
    struct bell bell = {0};
    struct thread t;
    int nice = getpriority(PRIO_PROCESS, 0);
    thread_define(&t, &st, "polite", &ops, NULL, &clock, WAIT_ADAPTIVE, 0, -1);
    bell_hang(&own, &bell, BELL_TAIL, -1);
    t.bell = &bell;
    t.slice_us = 100;
    thread_begin(&t); /* a short slice changes neither its policy nor its nice value */
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);

    slept = 0;
    t.gives_way = true;
    thread_wait(&t, 1); /* there is more to do: no sleep */
    assert_false(t.gives_way);
    assert_false(t.armed);
    assert_int_equal(slept, 0);
    int64_t house = t.house_at;
    t.gives_way = true; /* others' time counts for what is due */
    uint64_t from = t.last_ticks;
    thread_wait(&t, 1);
    assert_true(t.last_ticks > from);
    assert_true(t.house_at > house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_ring_is_lost),
        cmocka_unit_test(only_what_is_waited_for),
        cmocka_unit_test(a_thread_looks_again_before_it_sleeps),
        cmocka_unit_test(a_thread_gives_way_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
