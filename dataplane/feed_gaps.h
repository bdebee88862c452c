/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_gaps.h - a bounded list of missing sequence ranges, ascending and disjoint: the declared
 * gaps of a session that a late message may still close, and what one line skipped.
 *
 * Owner: the feed's lcore. Memory is the caller's, given once. When the list is full the oldest
 * range is forgotten: `floor` rises above it and `forgotten` counts it. Below `floor` nothing is
 * known. Every call is O(ranges).
 */
#pragma once

#include "core/base.h"

struct gap_range {
    uint64_t first, last; /* inclusive */
};

struct gaps {
    struct gap_range *at;
    uint32_t n, cap;
    uint64_t floor;     /* sequences below are not remembered */
    uint64_t forgotten; /* ranges */
};

void gaps_init(struct gaps *g, struct gap_range *memory, uint32_t cap, uint64_t floor);
/* first > every range in the list. */
void gaps_add(struct gaps *g, uint64_t first, uint64_t last);
/* Removes the lowest piece of [first, last] that is in the list; false when none is. */
bool gaps_fill(struct gaps *g, uint64_t first, uint64_t last, struct gap_range *piece);

pst_inline bool gaps_touch(const struct gaps *g, uint64_t first, uint64_t last)
{
    return g->n && first <= g->at[g->n - 1].last && last >= g->at[0].first;
}
