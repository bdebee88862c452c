/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - the listed names: made-up tickers in alphabetical order (locate = index + 1), a price
 * each, and a draw that is skewed as on a real day.
 *
 * The skew: cumulative shares of adds by rank, measured on Nasdaq's 2019-12-30 sample (8,906 names:
 * first 0.87 %, 10 5.8 %, 100 23.2 %, 1,000 68.4 %, 4,000 96.6 %; 14 names without an add), between
 * those points a power of the rank each, about -0.9 over the middle, flatter first, steeper in the
 * tail. With another number of names ranks are scaled. Which name has which rank is drawn from the
 * seed.
 */
#pragma once

#include "rng.h"

#define NAMES_DEFAULT 8906
#define NAMES_MAX     65535

struct names {
    uint32_t count;
    char (*text)[8]; /* space padded, as on the wire */
    uint32_t *mid;   /* price now, 1e-4 dollars; moved by the flow */
    uint32_t *rank;  /* 0 = the busiest */
    uint32_t *alias_cut;
    uint16_t *alias_to;
};

bool names_make(struct names *n, uint32_t count, uint64_t seed, struct err *e);
void names_free(struct names *n);
/* Share of the flow that the first `rank` names take, 0 … 1, in units of the 8,906-name day. */
double names_cumulative(double rank);

pst_inline uint32_t names_pick(const struct names *n, struct rng *r)
{
    uint64_t x = rng_u64(r);
    uint32_t i = (uint32_t)(((x >> 32) * n->count) >> 32);
    return (uint32_t)x < n->alias_cut[i] ? i : n->alias_to[i];
}
