/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.h - (destination IP, destination port) -> route, the first question asked of each packet.
 *
 * One `struct groups` belongs to one polling thread. Its table is a hash with at least four slots
 * an entry and a known longest probe, so a look-up is one multiplication and, nearly always, one
 * cache line. The table is read-only once published.
 *
 *   control thread                                   polling thread
 *   groups_replace: build a new table,
 *     publish it (G1) ───────────────────────────►   groups_pin, once a burst (G1), then
 *   groups_reclaim: free the old one  ◄───────────     acknowledge (G2); groups_find on it
 *     once acknowledged (G2)
 *
 * So groups are added and removed while packets flow, without a lock on either side. Until the
 * polling thread has acknowledged, a further replace answers -EAGAIN: two tables at most.
 */
#pragma once

#include "core/atomics.h"

struct group_route {
    uint32_t ip; /* host byte order */
    uint16_t port;
    uint16_t route; /* what the caller wants back; GROUP_NONE is not allowed */
};

#define GROUP_NONE 0xffff
#define GROUPS_MAX 4096 /* groups a port can take */

struct group_slot {
    uint64_t key; /* ip << 16 | port */
    uint64_t route;
};

/* Immutable after publication. */
struct group_table {
    uint64_t version;
    uint32_t shift;     /* 64 - log2(slots) */
    uint32_t mask;      /* slots - 1 */
    uint32_t probe_max; /* the longest distance of any entry from its place */
    uint16_t any;       /* route of everything that is not in the table, or GROUP_NONE */
    uint32_t used;
    struct group_slot slot[];
};

struct groups {
    struct group_table *_Atomic current; /* written by control */
    struct group_table *old;             /* control's: retired, waiting for the acknowledgement */
    uint64_t version;                    /* control's */
    pst_aligned(PST_CACHELINE) _Atomic uint64_t seen; /* written by the polling thread */
};

/* Control thread, before the polling thread starts. The same (ip, port) twice, a GROUP_NONE route
 * or more than GROUPS_MAX entries are refused. `any`: GROUP_NONE or the route of all other packets.
 */
bool groups_init(struct groups *g, const struct group_route *routes, int n, uint16_t any,
                 struct err *err);
/* Control thread, any time: the whole new set. err->code is -EAGAIN while the last replacement has
 * not been acknowledged. */
bool groups_replace(struct groups *g, const struct group_route *routes, int n, uint16_t any,
                    struct err *err);
/* Control thread, from its timer. True when no retired table is left. */
bool groups_reclaim(struct groups *g);
/* After the polling thread has ended. */
void groups_fini(struct groups *g);

/* Polling thread, at the start of each burst: the table to use until the next call. */
pst_inline const struct group_table *groups_pin(struct groups *g)
{
    const struct group_table *t = load_acquire(&g->current); /* G1: pairs with groups_replace */
    if (pst_unlikely(load_relaxed(&g->seen) != t->version)) {
        store_release(&g->seen, t->version); /* G2: pairs with groups_reclaim */
    }
    return t;
}

pst_inline uint32_t groups_place(const struct group_table *t, uint64_t key)
{
    return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> t->shift);
}

/* The route of a packet, or GROUP_NONE. */
pst_inline uint16_t groups_find(const struct group_table *t, uint32_t ip, uint16_t port)
{
    uint64_t key = (uint64_t)ip << 16 | port;
    uint32_t at = groups_place(t, key);
    for (uint32_t i = 0; i <= t->probe_max; i++) {
        const struct group_slot *s = &t->slot[(at + i) & t->mask];
        if (pst_likely(s->key == key)) {
            return (uint16_t)s->route;
        }
    }
    return t->any;
}
