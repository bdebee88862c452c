/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - the skeleton every thread shares (rx lcores run the same loop inside DPDK's).
 *
 *   init -> { work -> housekeeping when due -> wait } -> fini
 *
 * work() does one bounded round and returns how much it did; 0 lets the wait strategy act:
 *   spin      never waits
 *   adaptive  after 10,000 empty rounds sleeps 100 us,
 *             after a second of them idle_us (200),
 *             after five seconds without any work twice that
 *   sleep     sleeps 500 us after each empty round
 *   doze      sleeps 10 ms: for readers that nobody waits for
 *   nap       sleeps 100 ms: for what is due once a second
 * An adaptive thread with a bell sleeps after one more empty round until the bell rings, 1 ms at
 * most, or as long as it would have slept otherwise.
 *
 * A thread with a bell that always has something to do would keep the CPU, while those it works
 * for, on the same machine, wait for theirs until its slice is over (milliseconds). Where work()
 * says so (gives_way) others run before the next round. That costs the rest of the slice, so such a
 * thread has a short one (slice_us), with which it is also sooner at work where others are busy.
 *
 * The 10,000 rounds are earned: each busy round allows 100 more, so that a lone tick mark on an
 * idle machine does not cost 10,000 polls. A wake-up is dear on a virtual machine (9 to 19 us
 * measured on a bare loop of sleeps): the number of them is what an idle daemon costs.
 *
 * The loop keeps heartbeat, worst loop time, loops over 100 us and a histogram of loop times in its
 * status_thread; the time is read from the TSC, once a round. A loop goes from the end of the one
 * before (or of a sleep) to its own end, so time in which something else had the core is in it.
 * Empty loops count only where they took over 100 us: then something else did. Tests drive
 * thread_round by hand, without a thread.
 */
#pragma once

#include <pthread.h>
#include "bell.h"
#include "clock.h"
#include "status.h"

enum wait_kind { WAIT_SPIN, WAIT_ADAPTIVE, WAIT_SLEEP, WAIT_DOZE, WAIT_NAP };

struct thread_ops {
    bool (*init)(void *arg, struct err *err); /* on the caller of thread_start; may be NULL */
    int (*work)(void *arg);
    void (*housekeeping)(void *arg); /* at most every 10 ms; may be NULL */
    void (*fini)(void *arg);         /* may be NULL */
    void (*wait)(void *arg); /* after a round that did nothing, instead of the kinds above: a thread
                                that sleeps in epoll; NULL: they hold */
    /* In place of a sleep of ns: may return earlier, when there is something to do, or later, when
     * there cannot be anything before (but within a second, for the heartbeat). May be NULL. */
    void (*sleep)(void *arg, int64_t ns);
};

struct thread {
    const struct thread_ops *ops;
    void *arg;
    struct status_thread *status;
    const struct clock *clock;
    enum wait_kind wait;
    int nice, cpu;     /* cpu -1 = floats */
    int idle_us;       /* adaptive: the sleep after a second without work; 200 */
    struct bell *bell; /* NULL: none; set before the start */
    int pace_us;       /* with a bell: the sleep after work, so that a stream comes in pieces; 0 */
    int slice_us;      /* with a bell: the scheduler's slice; 0: everyone's */
    bool gives_way;    /* with a bell: work() has made work for others, who should get the CPU */
    bool armed;
    _Atomic bool stop;
    pthread_t id;
    bool running;
    /* loop state, owner: the thread */
    uint64_t last_ticks, credit; /* credit: empty rounds that may still be polled */
    bool worked;
    int64_t quiet_since, empty_since, house_at;
    double ns_per_tick;
};

/* Registers a thread in the status segment (control, before it starts). */
void thread_define(struct thread *t, struct status *st, const char *name,
                   const struct thread_ops *ops, void *arg, const struct clock *clock,
                   enum wait_kind wait, int nice, int cpu);
bool thread_start(struct thread *t, struct err *err);
void thread_stop(struct thread *t);  /* asks, then joins */
void thread_begin(struct thread *t); /* what thread_start's entry does before the loop */
/* begin, rounds until stop is set, fini: what thread_start's thread runs; a DPDK lcore calls it
 * too. */
void thread_loop(struct thread *t);
/* One round; returns what work returned. Does not wait. */
int thread_round(struct thread *t);
/* Waits by the strategy after a round that returned `did`. */
void thread_wait(struct thread *t, int did);
