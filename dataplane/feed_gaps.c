/* SPDX-License-Identifier: Apache-2.0 */
#include "feed_gaps.h"

void gaps_init(struct gaps *g, struct gap_range *memory, uint32_t cap, uint64_t floor)
{
    *g = (struct gaps){.at = memory, .cap = cap, .floor = floor};
}

static void forget_oldest(struct gaps *g)
{
    g->floor = g->at[0].last + 1;
    g->forgotten++;
    memmove(g->at, g->at + 1, (--g->n) * sizeof *g->at);
}

void gaps_add(struct gaps *g, uint64_t first, uint64_t last)
{
    pst_debug(first <= last && (!g->n || first > g->at[g->n - 1].last));
    if (g->n == g->cap)
        forget_oldest(g);
    g->at[g->n++] = (struct gap_range){first, last};
}

bool gaps_fill(struct gaps *g, uint64_t first, uint64_t last, struct gap_range *piece)
{
    if (!gaps_touch(g, first, last))
        return false;
    uint32_t lo = 0, hi = g->n; /* the first range that ends at or behind `first` */
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (g->at[mid].last < first)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == g->n || g->at[lo].first > last)
        return false;
    struct gap_range *r = &g->at[lo];
    piece->first = r->first > first ? r->first : first;
    piece->last = r->last < last ? r->last : last;
    if (piece->first == r->first && piece->last == r->last) {
        memmove(r, r + 1, (--g->n - lo) * sizeof *r);
    } else if (piece->first == r->first) {
        r->first = piece->last + 1;
    } else if (piece->last == r->last) {
        r->last = piece->first - 1;
    } else if (g->n < g->cap || lo > 0) {
        if (g->n == g->cap) {
            forget_oldest(g);
            r--;
            lo--;
        }
        memmove(r + 1, r, (g->n++ - lo) * sizeof *r);
        r[0].last = piece->first - 1;
        r[1].first = piece->last + 1;
    } else { /* full, and the oldest is the one to split: its lower part is forgotten */
        g->floor = piece->first;
        g->forgotten++;
        r->first = piece->last + 1;
    }
    return true;
}
