/* SPDX-License-Identifier: Apache-2.0 */
#include "nic_clock.h"

#define TRIES 8
/* The line goes through the newest reading and one from 16 to 32 readings ago: long enough for
 * the reading error to vanish in the slope, short enough to follow the oscillator's temperature. */
#define REBASE 32

void nic_clock_init(struct nic_clock *c, int64_t tolerance_ns)
{
    *c = (struct nic_clock){.tolerance_ns = tolerance_ns ? tolerance_ns : 100000};
}

static void publish(struct nic_clock *c, uint64_t ticks0, int64_t utc0, uint64_t rate, bool good)
{
    uint32_t s = load_relaxed(&c->seq);
    store_relaxed(&c->seq, s + 1);
    fence_release(); /* N2: pairs with the fence in nic_clock_convert */
    store_relaxed(&c->ticks0, ticks0);
    store_relaxed(&c->utc0, utc0);
    store_relaxed(&c->rate, rate);
    store_relaxed(&c->good, good);
    store_release(&c->seq, s + 2); /* N1: pairs with nic_clock_convert */
}

static bool read_pair(const struct nic_clock_source *src, uint64_t *ticks, int64_t *utc,
                      int64_t *half)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t t;
        int64_t before = src->utc(src->arg);
        if (!src->device(src->arg, &t)) {
            return false;
        }
        int64_t after = src->utc(src->arg);
        if (after >= before && after - before < best) {
            best = after - before;
            *ticks = t;
            *utc = before + best / 2;
        }
    }
    *half = best / 2;
    return best != INT64_MAX;
}

static void restart(struct nic_clock *c, uint64_t ticks, int64_t utc)
{
    c->readings = 1;
    c->base_ticks = ticks;
    c->base_utc = utc;
    publish(c, ticks, utc, 0, false);
}

bool nic_clock_update(struct nic_clock *c, const struct nic_clock_source *src)
{
    uint64_t ticks = 0;
    int64_t utc = 0, half = 0;
    if (!read_pair(src, &ticks, &utc, &half)) {
        if (c->readings) {
            c->readings = 0;
            publish(c, 0, 0, 0, false);
        }
        return false;
    }
    c->width_ns = half;
    if (c->readings == 0) {
        restart(c, ticks, utc);
        return true;
    }
    if (c->readings >= 2) {
        int64_t predicted = 0;
        bool known = nic_clock_convert(c, ticks, &predicted);
        c->error_ns = utc - predicted;
        int64_t limit = c->tolerance_ns + half;
        if (!known || c->error_ns > limit || c->error_ns < -limit) {
            restart(c, ticks, utc);
            return true;
        }
    }
    uint64_t dt = ticks - c->base_ticks;
    int64_t du = utc - c->base_utc;
    if ((int64_t)dt <= 0 || du <= 0) { /* a clock went backwards */
        restart(c, ticks, utc);
        return true;
    }
    uint64_t rate = (uint64_t)(((unsigned __int128)du << 32) / dt);
    c->readings++;
    publish(c, ticks, utc, rate, true);
    if (c->readings >= REBASE) { /* forget the older half: continue from a point on the line */
        c->base_ticks += dt / 2;
        c->base_utc += du / 2;
        c->readings = REBASE / 2;
    }
    return true;
}
