/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define STEP_NS  NS_PER_MS
#define DOUBT_NS NS_PER_S

int64_t clock_system(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (ts.tv_sec - CLOCK_EPOCH_S) * NS_PER_S + ts.tv_nsec;
}

int64_t clock_monotonic(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool tsc_invariant(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
#else
    return true; /* the ARM virtual counter is architecturally constant */
#endif
}

/* A pair (ticks, utc) with little between the two reads. */
static void read_pair(uint64_t *ticks, int64_t *utc)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t a = clock_ticks();
        int64_t t = clock_system();
        uint64_t b = clock_ticks();
        if (b - a < best) {
            best = b - a;
            *ticks = a + (b - a) / 2;
            *utc = t;
        }
    }
}

static void publish(struct clock *c, uint64_t tsc0, int64_t utc0, uint64_t mult)
{
    uint32_t v = load_relaxed(&c->version);
    store_relaxed(&c->version, v + 1);
    fence_release();
    store_relaxed(&c->tsc0, tsc0);
    store_relaxed(&c->utc0, utc0);
    store_relaxed(&c->mult, mult);
    store_release(&c->version, v + 2); /* C1 */
}

void clock_init_real(struct clock *c)
{
    memset(c, 0, sizeof *c);
    store_relaxed(&c->doubtful_until, INT64_MIN);
    c->use_tsc = tsc_invariant();
    uint64_t t0 = 0, t1 = 0;
    int64_t u0 = 0, u1 = 0;
    read_pair(&t0, &u0);
    int64_t m0 = clock_monotonic();
    while (clock_monotonic() - m0 < 20 * NS_PER_MS)
        cpu_relax();
    read_pair(&t1, &u1);
    uint64_t mult = (uint64_t)(((unsigned __int128)(u1 - u0) << 32) / (t1 - t0));
    c->rate = mult;
    publish(c, t1, u1, mult);
}

void clock_init_virtual(struct clock *c, int64_t now)
{
    memset(c, 0, sizeof *c);
    store_relaxed(&c->doubtful_until, INT64_MIN);
    c->is_virtual = true;
    store_relaxed(&c->virtual_now, now);
}

/*
 * Slew: a proportional and an integral term. The proportional one meets the wall clock within about
 * a second; the integral one learns the true rate. An integral term alone would swing for ever and
 * grow: phase is itself the integral of rate.
 */
void clock_adjust(struct clock *c, uint64_t ticks, int64_t utc)
{
    int64_t ours = clock_from_ticks(c, ticks);
    int64_t off = utc - ours;
    if (off > STEP_NS || off < -STEP_NS) { /* the wall clock stepped: follow it, and say so */
        store_relaxed(&c->step, off);
        store_relaxed(&c->steps, load_relaxed(&c->steps) + 1);
        store_relaxed(&c->doubtful_until, (utc > ours ? utc : ours) + DOUBT_NS);
        publish(c, ticks, utc, c->rate);
        return;
    }
    int64_t dt = ours - load_relaxed(&c->utc0); /* since the last adjustment */
    if (dt <= 0)
        return;
    if (dt > NS_PER_S)
        dt = NS_PER_S;
    /* off is below 1 ms: off * rate * dt stays far below 2^127 */
    __int128 p = (__int128)off * (__int128)c->rate / NS_PER_S;
    c->rate = (uint64_t)((__int128)c->rate + p * dt / NS_PER_S / 4);
    __int128 limit = (__int128)c->rate / 2000; /* never more than 500 ppm beside the rate */
    p = p > limit ? limit : p < -limit ? -limit : p;
    publish(c, ticks, ours, (uint64_t)((__int128)c->rate + p));
}

void clock_calibrate(struct clock *c)
{
    if (c->is_virtual || !c->use_tsc)
        return;
    uint64_t ticks = 0;
    int64_t utc = 0;
    read_pair(&ticks, &utc);
    clock_adjust(c, ticks, utc);
}

void clock_set(struct clock *c, int64_t now)
{
    if (now > load_relaxed(&c->virtual_now))
        store_relaxed(&c->virtual_now, now);
}
