/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hist.h - latency histograms: 16 linear steps in each power of two of nanoseconds (error <= 6 %).
 * One writer thread each; any reader, relaxed (a figure on a screen, not a protocol).
 */
#pragma once

#include "atomics.h"

#define HIST_SUB     16u
#define HIST_BUCKETS (41u * HIST_SUB)

struct hist {
    _Atomic uint64_t n;
    _Atomic uint64_t max;
    _Atomic uint64_t bucket[HIST_BUCKETS];
};

pst_inline unsigned hist_index(uint64_t ns)
{
    if (ns < HIST_SUB)
        return (unsigned)ns;
    unsigned p = 63u - (unsigned)__builtin_clzll(ns); /* >= 4 */
    unsigned i = (p - 3) * HIST_SUB + (unsigned)(ns >> (p - 4) & (HIST_SUB - 1));
    return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

pst_inline void hist_add(struct hist *h, int64_t ns)
{
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    bump(&h->bucket[hist_index(v)], 1);
    bump(&h->n, 1);
    if (pst_unlikely(v > load_relaxed(&h->max)))
        store_relaxed(&h->max, v);
}

/* Upper edge of a bucket, ns. */
static inline uint64_t hist_edge(unsigned i)
{
    if (i < HIST_SUB)
        return i;
    unsigned p = i / HIST_SUB + 3;
    return (uint64_t)(HIST_SUB + i % HIST_SUB + 1) << (p - 4);
}

/* q in 0..1; 0 when n values are not in the buckets (yet). */
static inline uint64_t hist_buckets_quantile(const _Atomic uint64_t *bucket, uint64_t n, double q)
{
    uint64_t want = (uint64_t)(q * (double)n), seen = 0;
    for (unsigned i = 0; n && i < HIST_BUCKETS; i++) {
        seen += load_relaxed(&bucket[i]);
        if (seen > want)
            return hist_edge(i);
    }
    return 0;
}

static inline uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t at = hist_buckets_quantile(h->bucket, load_relaxed(&h->n), q);
    return at ? at : load_relaxed(&h->max);
}
