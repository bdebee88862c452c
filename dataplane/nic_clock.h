/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic_clock.h - from a network card's free-running clock to UTC.
 *
 * A card stamps packets in ticks of its own clock, whose rate is known roughly and drifts. The
 * control thread reads the card's clock and UTC together now and then (nic_clock_update, about once
 * a second); the polling thread converts each stamp with the line through the last readings.
 *
 *   utc = utc0 + (ticks - ticks0) * ns_per_tick      ns_per_tick in 32.32 fixed point
 *
 * A reading is three clock reads: UTC, card, UTC; the narrowest of several tries is used, its half
 * width is the error. A new reading that lies further from the prediction than `tolerance_ns` makes
 * stamps doubtful until two readings in a row agree again, and the line starts anew: the card was
 * reset, or UTC was stepped.
 *
 * Threads: update by one thread (control); convert by any. Published through a sequence lock
 * (N1 with N2), so neither waits for long and conversion is a handful of instructions.
 */
#pragma once

#include "core/atomics.h"

struct nic_clock_source {
    bool (*device)(void *arg, uint64_t *ticks);
    int64_t (*utc)(void *arg); /* ns since 2000-01-01 */
    void *arg;
};

struct nic_clock {
    _Atomic uint32_t seq; /* odd while being written */
    _Atomic uint64_t ticks0;
    _Atomic int64_t utc0;
    _Atomic uint64_t rate; /* ns per tick, 32.32 */
    _Atomic bool good;

    /* the updating thread's */
    int readings; /* since the line was started */
    uint64_t base_ticks;
    int64_t base_utc;
    int64_t error_ns; /* distance of the last reading from the prediction */
    int64_t width_ns; /* half width of the last reading */
    int64_t tolerance_ns;
};

/* tolerance_ns: 0 = 100 µs. */
void nic_clock_init(struct nic_clock *c, int64_t tolerance_ns);
/* False when the device's clock cannot be read. */
bool nic_clock_update(struct nic_clock *c, const struct nic_clock_source *src);

/* True and UTC ns since 2000-01-01; false while the line is not known (use the host's clock). */
pst_inline bool nic_clock_convert(struct nic_clock *c, uint64_t ticks, int64_t *utc)
{
    for (int tries = 0; tries < 16; tries++) {
        uint32_t a = load_acquire(&c->seq); /* N1: pairs with publish in nic_clock.c */
        uint64_t t0 = load_relaxed(&c->ticks0), rate = load_relaxed(&c->rate);
        int64_t u0 = load_relaxed(&c->utc0);
        bool good = load_relaxed(&c->good);
        fence_acquire(); /* N2: the loads above stay above the second look at seq */
        if (!(a & 1) && a == load_relaxed(&c->seq)) {
            if (!good) {
                return false;
            }
            __int128 d = (__int128)(int64_t)(ticks - t0) * (__int128)rate;
            *utc = u0 + (int64_t)(d >> 32);
            return true;
        }
        cpu_relax();
    }
    return false; /* the writer was preempted in the middle: this burst gets the host's clock */
}
