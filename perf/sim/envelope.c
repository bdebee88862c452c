/* SPDX-License-Identifier: Apache-2.0 */
#include "envelope.h"

#define S(h, m, s) (((h)*3600 + (m)*60 + (s)) * INT64_C(1000000000))
#define MS(n)      ((n)*INT64_C(1000000))

/* From this time on, messages a second. Measured points (load.md), plausible ones between them. */
static const struct {
    int64_t from;
    double rate;
    bool purge;
} day[] = {
    {S(3, 0, 0), 120, false},
    {S(4, 0, 0), 1200, false},
    {S(7, 0, 0), 3000, false},
    {S(8, 30, 0), 9000, false},
    {S(9, 28, 0), 18000, false},
    {S(9, 29, 0), 23000, false},
    {S(9, 30, 0), 658000, false},
    {S(9, 30, 1), 154000, false},
    {S(9, 30, 10), 94000, false},
    {S(9, 31, 0), 62000, false},
    {S(9, 35, 0), 38000, false},
    {S(9, 40, 0), 30000, false},
    {S(10, 0, 0), 24000, false},
    {S(11, 0, 0), 19000, false},
    {S(12, 0, 0), 14000, false},
    {S(14, 0, 0), 17000, false},
    {S(15, 0, 0), 22000, false},
    {S(15, 30, 0), 33000, false},
    {S(15, 50, 0), 57000, false},
    {S(15, 59, 0), 98000, false},
    {S(16, 0, 0), 60000, false},
    {S(16, 0, 0) + MS(100), 2000000, true},
    {S(16, 0, 0) + MS(175), 1400000, true},
    {S(16, 0, 0) + MS(1400), 20000, false},
    {S(16, 0, 5), 2000, false},
    {S(17, 0, 0), 700, false},
    {S(20, 0, 0), 0, false},
};

double envelope_rate(const struct envelope *v, int64_t at, bool *purge)
{
    *purge = false;
    if (v->profile == PROFILE_FLAT)
        return v->rate;
    if (v->profile == PROFILE_BURST) {
        int64_t in_second = at % MS(1000);
        return in_second >= MS(500) && in_second < MS(550) ? v->rate * 10.0 : v->rate * 10.0 / 19.0;
    }
    if (v->profile == PROFILE_PURGE) {
        *purge = at >= v->purge_from;
        return *purge && at < v->purge_from + MS(75) ? v->rate / 0.7 : v->rate;
    }
    double rate = 0;
    for (size_t i = 0; i < PST_COUNT(day) && day[i].from <= at; i++) {
        rate = day[i].rate;
        *purge = day[i].purge;
    }
    return rate * v->rate;
}

bool envelope_next(struct envelope *v, struct slot *s)
{
    if (v->now >= v->end)
        return false;
    double mean = envelope_rate(v, v->now, &s->purge) / 1000.0, x = mean;
    if (!v->smooth && !s->purge) {
        /* xm so that the mean of the batch, cut at ten times the mean, is the mean */
        double u = 1.0 - rng_unit(&v->rng);
        x = mean / 3.15 * pow(u, -1.0 / 1.3);
        x = x > mean * 10 ? mean * 10 : x;
    }
    s->count = (uint32_t)(x + rng_unit(&v->rng));
    s->width = 20000 + rng_below(&v->rng, 480000);
    if (s->count > 400 || s->purge || v->smooth)
        s->width = 999000;
    s->start = v->now + rng_below(&v->rng, (uint32_t)(999001 - s->width));
    v->now += ENVELOPE_SLOT_NS;
    return true;
}
