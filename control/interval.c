/* SPDX-License-Identifier: Apache-2.0 */
#include "interval.h"

#define MINUTE_NS (60 * PST_SECOND_NS)
#define DAY_MINS  1440

/* east of UTC, ns */
static int64_t zone_offset(const struct calendar *c, int64_t utc_ns)
{
    int64_t s = civil_floor_div(utc_ns, PST_SECOND_NS) + PST_EPOCH_OFFSET_S;
    return tzone_offset(c->zone, s) * PST_SECOND_NS;
}

/* The next instant at which the local clock is changed. */
static int64_t next_change(const struct calendar *c, int64_t utc_ns)
{
    int64_t s = civil_floor_div(utc_ns, PST_SECOND_NS) + PST_EPOCH_OFFSET_S;
    int64_t at = tzone_next_change(c->zone, s);
    return at > INT64_MAX / PST_SECOND_NS ? INT64_MAX : (at - PST_EPOCH_OFFSET_S) * PST_SECOND_NS;
}

uint16_t interval_minute(const struct calendar *c, int64_t utc_ns)
{
    int64_t local = utc_ns + zone_offset(c, utc_ns);
    return (uint16_t)(civil_floor_mod(local, PST_DAY_NS) / MINUTE_NS);
}

uint32_t interval_due(const struct calendar *c, const struct interval_rule *r, int32_t day,
                      int32_t shift, struct due_item *items)
{
    int64_t start = calendar_eod(c, day + shift - 1), end = calendar_eod(c, day + shift);
    int64_t zero = (int64_t)(day + shift) * PST_DAY_NS + r->offset * MINUTE_NS; /* local */
    int64_t step = r->freq * MINUTE_NS;
    uint32_t n = 0;
    if (!r->freq)
        return 0;
    /* between two changes of the clock it is plain arithmetic */
    for (int64_t from = start, to; from < end && n < INTERVAL_DUE_MOST; from = to) {
        to = next_change(c, from);
        to = to < end ? to : end;
        int64_t east = zone_offset(c, from);
        int64_t k = -civil_floor_div(zero - (from + east), step); /* first reading at or behind */
        int64_t first = zero + k * step - east;
        if (first == start)
            first += step;
        if (first >= to)
            continue;
        items[n] = (struct due_item){.id = (uint64_t)(day + 1) << 8 | 1ull << 40 | n,
                                     .at = first,
                                     .kind = DUE_INTERVALS,
                                     .day = (uint16_t)day,
                                     .step = step,
                                     .count = (uint32_t)((to - 1 - first) / step) + 1,
                                     .minute = interval_minute(c, first)};
        n++;
    }
    return n;
}

void interval_at(const struct calendar *c, const struct interval_rule *r, int32_t shift,
                 int64_t utc_ns, struct interval *out)
{
    struct due_item items[INTERVAL_DUE_MOST];
    int32_t day = calendar_day(c, utc_ns);
    uint32_t n = interval_due(c, r, day - shift, shift, items);
    *out = (struct interval){
        .from = calendar_eod(c, day - 1), .to = calendar_eod(c, day), .day = day - shift};
    for (uint32_t i = 0; i < n; i++) {
        const struct due_item *d = &items[i];
        if (d->at > utc_ns) {
            out->to = d->at;
            break;
        }
        int64_t k = (utc_ns - d->at) / d->step;
        k = k < d->count ? k : d->count - 1;
        out->from = d->at + k * d->step;
        if (k + 1 < d->count) {
            out->to = out->from + d->step;
            break;
        }
    }
    out->minute = interval_minute(c, out->from);
}
