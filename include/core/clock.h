/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - the one place that asks the machine for the time. All times are ns since 2000-01-01
 * UTC.
 *
 * A `struct clock` is passed in everywhere:
 *   real     TSC read + a calibration (ticks -> UTC) that control renews every 100 ms under a
 *            seqlock; where the TSC is not invariant, clock_gettime
 *   virtual  a value that replay or a test sets; it never goes backwards
 *
 * clock_now: any thread, no system call with an invariant TSC. clock_calibrate: control thread
 * only. Quality: CLOCK_DOUBTFUL for one second after the wall clock was seen to step by more than 1
 * ms. Orders: C1 release / C2 acquire around the calibration (odd = being written).
 */
#pragma once

#include <time.h>
#include "atomics.h"

#define CLOCK_EPOCH_S 946684800ll /* 2000-01-01 in Unix seconds */
#define NS_PER_S      1000000000ll
#define NS_PER_MS     1000000ll
#define NS_PER_US     1000ll
#define NS_PER_DAY    (86400 * NS_PER_S)

struct clock {
    bool is_virtual;
    bool use_tsc;
    _Atomic int64_t virtual_now;
    pst_aligned(64) _Atomic uint32_t version; /* C1/C2 */
    _Atomic uint64_t tsc0;
    _Atomic int64_t utc0;
    _Atomic uint64_t mult;          /* ns per tick, 32.32 fixed point */
    uint64_t rate;                  /* owner control: the learned ns per tick, 32.32 */
    _Atomic int64_t doubtful_until; /* UTC; INT64_MIN = sound */
    _Atomic int64_t step;           /* last step seen, ns */
    _Atomic uint64_t steps;         /* number of steps seen */
};

void clock_init_real(struct clock *c); /* calibrates (about 20 ms) */
void clock_init_virtual(struct clock *c, int64_t now);
void clock_calibrate(struct clock *c); /* control thread, every 100 ms */
/* What clock_calibrate does with the pair it read; apart, so that tests can bring their own. */
void clock_adjust(struct clock *c, uint64_t ticks, int64_t utc);
void clock_set(struct clock *c, int64_t now); /* virtual only; ignores steps back */
int64_t clock_system(void);                   /* clock_gettime(CLOCK_REALTIME) */
int64_t clock_monotonic(void);                /* ns, for timeouts; never for data */

pst_inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#endif
}

pst_inline int64_t clock_from_ticks(const struct clock *c, uint64_t ticks)
{
    uint32_t v;
    int64_t t;
    do {
        v = load_acquire(&c->version); /* C2 */
        int64_t d = (int64_t)(ticks - load_relaxed(&c->tsc0));
        t = load_relaxed(&c->utc0) +
            (int64_t)((__int128)d * (__int128)load_relaxed(&c->mult) >> 32);
        fence_acquire();
    } while (pst_unlikely((v & 1) || load_relaxed(&c->version) != v));
    return t;
}

pst_inline int64_t clock_now(const struct clock *c)
{
    if (pst_unlikely(c->is_virtual))
        return load_relaxed(&c->virtual_now);
    if (pst_likely(c->use_tsc))
        return clock_from_ticks(c, clock_ticks());
    return clock_system();
}

pst_inline bool clock_doubtful(const struct clock *c, int64_t now)
{
    return now < load_relaxed(&c->doubtful_until);
}

/* days since 2000-01-01, floored */
pst_inline int32_t clock_day(int64_t t)
{
    return (int32_t)(t >= 0 ? t / NS_PER_DAY : -((-t + NS_PER_DAY - 1) / NS_PER_DAY));
}
