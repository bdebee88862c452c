/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_map.h - the resting orders of one stream, by their reference: an open-addressing table of
 * 16-byte slots (four to a cache line), never more than 5/8 full: 26 to 51 bytes an order, and up
 * to 51 more from half full on.
 *
 * It doubles without a pause: from half full on the next table's pages are touched, one at a time
 * (all at once they would cost the kernel milliseconds); then the old slots stay readable, each
 * insert moves some of them, and their memory is given back piece by piece as they are passed. One
 * thread.
 */
#ifndef PENSTOCK_ORDERS_MAP_H
#define PENSTOCK_ORDERS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct orders_slot {
    int64_t ref;
    uint32_t shares;
    uint32_t level; /* where it rests (orders_book.h); 0: free slot */
};
#define ORDERS_MOVED UINT32_MAX /* of an old slot: its order is in the new table, or gone */

struct orders_map {
    struct orders_slot *slot;
    uint64_t mask;
    uint32_t shift; /* 64 - log2(slots) */
    uint32_t old_shift;
    uint64_t used, limit, soon; /* soon: half of the slots; from there the next table is made */
    struct orders_slot *next;
    size_t next_touched;       /* bytes */
    struct orders_slot *old;   /* NULL: not growing */
    uint64_t old_mask, old_at; /* slots below old_at have been moved … */
    uint64_t old_gone;         /* … and below this one given back */
};

bool orders_map_init(struct orders_map *m, uint64_t orders); /* room for so many at first */
void orders_map_free(struct orders_map *m);
size_t orders_map_bytes(const struct orders_map *m);

/* Zeroed memory that is given when it is touched, in large pages where it is large. NULL. */
void *orders_pages(size_t bytes);

/* A slow path each. */
struct orders_slot *orders_map_find_old(const struct orders_map *m, int64_t ref);
bool orders_map_full(struct orders_map *m); /* or nearly so. False: no memory */
void orders_map_move(struct orders_map *m); /* some of the old slots */

static inline uint64_t orders_hash(int64_t ref)
{
    uint64_t h = (uint64_t)ref * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}
static inline uint64_t orders_home(int64_t ref, uint32_t shift)
{
    return orders_hash(ref) * 0xff51afd7ed558ccdu >> shift;
}

/* Functions of nothing but prefetches: gcc takes them for pure and drops calls that it has not
 * inlined at once. */
#define ORDERS_AHEAD static inline __attribute__((always_inline))

/* Stage one of a lookup that comes later. */
ORDERS_AHEAD void orders_map_prefetch(const struct orders_map *m, int64_t ref)
{
    __builtin_prefetch(&m->slot[orders_home(ref, m->shift)], 1);
    if (__builtin_expect(m->old != NULL, 0)) {
        uint64_t i = orders_home(ref, m->old_shift);
        if (i >= m->old_at)
            __builtin_prefetch(&m->old[i], 1);
    }
}

/* The order's slot, or NULL. Valid until the next insert or removal. */
static inline struct orders_slot *orders_map_find(const struct orders_map *m, int64_t ref)
{
    for (uint64_t i = orders_home(ref, m->shift);; i = (i + 1) & m->mask) {
        struct orders_slot *s = &m->slot[i];
        if (s->level == 0)
            break;
        if (s->ref == ref)
            return s;
    }
    return __builtin_expect(m->old != NULL, 0) ? orders_map_find_old(m, ref) : NULL;
}

/* A reference that is not there yet; level is not 0. False: no memory. */
static inline bool orders_map_insert(struct orders_map *m, int64_t ref, uint32_t shares,
                                     uint32_t level)
{
    if (__builtin_expect(m->old != NULL, 0))
        orders_map_move(m);
    if (__builtin_expect(m->used >= m->soon, 0) && !orders_map_full(m))
        return false;
    uint64_t i = orders_home(ref, m->shift);
    while (m->slot[i].level)
        i = (i + 1) & m->mask;
    m->slot[i] = (struct orders_slot){ref, shares, level};
    m->used++;
    return true;
}

/* A slot that find gave. Slots behind it move up, so that no marks of the removed are left. */
static inline void orders_map_remove(struct orders_map *m, struct orders_slot *s)
{
    m->used--;
    if (__builtin_expect(s < m->slot || s > m->slot + m->mask, 0)) {
        s->level = ORDERS_MOVED;
        return;
    }
    uint64_t hole = (uint64_t)(s - m->slot), i = hole;
    for (;;) {
        i = (i + 1) & m->mask;
        struct orders_slot *t = &m->slot[i];
        if (t->level == 0)
            break;
        uint64_t home = orders_home(t->ref, m->shift);
        if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
            m->slot[hole] = *t;
            hole = i;
        }
    }
    m->slot[hole].level = 0;
}

#endif
