/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "core/thread.h"

#define EMPTY_ROUNDS 10000u
#define EARNED       100u
#define BELL_US      1000
#define HOUSE_NS     (10 * NS_PER_MS)
#define QUIET_NS     (5 * NS_PER_S)

void thread_define(struct thread *t, struct status *st, const char *name,
                   const struct thread_ops *ops, void *arg, const struct clock *clock,
                   enum wait_kind wait, int nice, int cpu)
{
    memset(t, 0, sizeof *t);
    pst_must(st->n_threads < STATUS_THREADS);
    t->status = &st->threads[st->n_threads++];
    snprintf(t->status->name, sizeof t->status->name, "%s", name);
    t->status->cpu = cpu;
    t->ops = ops;
    t->arg = arg;
    t->clock = clock;
    t->wait = wait;
    t->idle_us = 200;
    t->nice = nice;
    t->cpu = cpu;
}

/* The fields of Linux's struct sched_attr as of its first version. */
struct fair_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* Linux 6.12 and later; before, and where it is refused, slices are as long as everyone's. */
static void set_slice(const struct thread *t)
{
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    struct fair_attr a = {.size = sizeof a, .nice = nice, .runtime = (uint64_t)t->slice_us * 1000};
    if (!errno && sched_getscheduler(0) == SCHED_OTHER)
        syscall(SYS_sched_setattr, 0, &a, 0);
}

void thread_begin(struct thread *t)
{
    pid_t tid = (pid_t)syscall(SYS_gettid);
    store_relaxed(&t->status->tid, (uint32_t)tid);
    pthread_setname_np(pthread_self(), t->status->name);
    if (t->nice)
        setpriority(PRIO_PROCESS, (id_t)tid, t->nice); /* may be refused: then it runs as it is */
    if (t->bell && t->slice_us)
        set_slice(t);
    if (t->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(t->cpu, &set);
        sched_setaffinity(tid, sizeof set, &set);
    }
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t t0 = clock_ticks();
    do
        clock_gettime(CLOCK_MONOTONIC, &b);
    while ((b.tv_sec - a.tv_sec) * NS_PER_S + b.tv_nsec - a.tv_nsec < NS_PER_MS);
    t->ns_per_tick = (double)((b.tv_sec - a.tv_sec) * NS_PER_S + b.tv_nsec - a.tv_nsec) /
                     (double)(clock_ticks() - t0);
    t->last_ticks = clock_ticks();
    store_relaxed(&t->status->heartbeat, clock_monotonic());
    store_relaxed(&t->status->state, THREAD_RUN);
}

static pst_noinline void long_loop(struct status_thread *s, int64_t ns, int did)
{
    bump(&s->over_100us, 1);
    if (!did)
        bump(&s->loop[hist_index((uint64_t)ns)], 1);
    if (ns > load_relaxed(&s->worst_ns))
        store_relaxed(&s->worst_ns, ns);
}

int thread_round(struct thread *t)
{
    struct status_thread *s = t->status;
    int did = t->ops->work(t->arg);
    uint64_t now = clock_ticks();
    int64_t ns = (int64_t)((double)(now - t->last_ticks) * t->ns_per_tick);
    t->last_ticks = now;
    bump(&s->loops, 1);
    if (did) {
        bump(&s->busy, 1);
        bump(&s->loop[hist_index((uint64_t)ns)], 1);
    }
    if (pst_unlikely(ns > 100 * NS_PER_US))
        long_loop(s, ns, did);
    t->house_at += ns;
    if (pst_unlikely(t->house_at >= HOUSE_NS)) {
        t->house_at = 0;
        store_relaxed(&s->heartbeat, clock_monotonic());
        if (t->ops->housekeeping)
            t->ops->housekeeping(t->arg);
        t->last_ticks = clock_ticks();
    }
    return did;
}

static void give_way(struct thread *t)
{
    t->gives_way = false;
    sched_yield();
    uint64_t now = clock_ticks();
    t->house_at += (int64_t)((double)(now - t->last_ticks) * t->ns_per_tick);
    t->last_ticks = now;
}

void thread_wait(struct thread *t, int did)
{
    if (pst_unlikely(t->gives_way) && t->bell)
        give_way(t);
    if (pst_unlikely(t->armed && did)) {
        t->armed = false;
        bell_disarm(t->bell);
    }
    if (did) {
        t->worked = true;
        t->credit = t->credit + EARNED < EMPTY_ROUNDS ? t->credit + EARNED : EMPTY_ROUNDS;
        if (t->credit > EMPTY_ROUNDS / 2) /* work that goes on, not a tick now and then */
            t->empty_since = 0;
        return;
    }
    if (t->wait == WAIT_SPIN) {
        cpu_relax();
        return;
    }
    if (t->bell && t->pace_us && t->worked) {
        t->worked = false;
        t->house_at += t->pace_us * NS_PER_US;
        nanosleep(&(struct timespec){0, t->pace_us * 1000}, NULL);
        t->last_ticks = clock_ticks();
        return;
    }
    if (t->bell && !t->armed) { /* one more round, which sees what came before it was armed */
        t->armed = true;
        bell_arm(t->bell);
        return;
    }
    if (t->wait == WAIT_ADAPTIVE && t->credit && !t->bell) {
        t->credit--;
        cpu_relax();
        return;
    }
    int64_t now = clock_monotonic();
    if (t->ops->wait) {
        t->ops->wait(t->arg);
        t->house_at += clock_monotonic() - now;
        t->last_ticks = clock_ticks();
        return;
    }
    if (!t->empty_since)
        t->empty_since = now;
    if (t->worked || !t->quiet_since) {
        t->worked = false;
        t->quiet_since = now;
    }
    bool long_empty = now - t->empty_since > NS_PER_S;
    int deep = now - t->quiet_since > QUIET_NS ? 2 : 1;
    long us = t->wait == WAIT_NAP     ? 100000
              : t->wait == WAIT_DOZE  ? 10000
              : t->wait == WAIT_SLEEP ? 500
              : long_empty            ? t->idle_us * deep
                                      : 100;
    if (t->bell && us < BELL_US)
        us = BELL_US;
    struct timespec ts = {0, us * 1000};
    if (t->ops->sleep)
        t->ops->sleep(t->arg, us * NS_PER_US);
    else if (t->bell)
        bell_sleep(t->bell, us * NS_PER_US);
    else
        nanosleep(&ts, NULL);
    if (t->armed) {
        t->armed = false;
        bell_disarm(t->bell);
    }
    t->house_at += clock_monotonic() - now;
    t->last_ticks = clock_ticks(); /* a sleep is not a long loop */
}

void thread_loop(struct thread *t)
{
    thread_begin(t);
    while (!load_acquire(&t->stop))
        thread_wait(t, thread_round(t));
    if (t->ops->fini)
        t->ops->fini(t->arg);
    store_relaxed(&t->status->state, THREAD_HALT);
}

static void *entry(void *arg)
{
    thread_loop(arg);
    return NULL;
}

bool thread_start(struct thread *t, struct err *err)
{
    if (t->ops->init && !t->ops->init(t->arg, err))
        return false;
    int e = pthread_create(&t->id, NULL, entry, t);
    if (e)
        return err_set(err, -e, "thread %s: %s", t->status->name, strerror(e));
    t->running = true;
    return true;
}

void thread_stop(struct thread *t)
{
    store_release(&t->stop, true);
    if (t->running)
        pthread_join(t->id, NULL);
    t->running = false;
}
