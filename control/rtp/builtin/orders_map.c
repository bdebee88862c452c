/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>
#include "orders_map.h"

#define SLOT          sizeof(struct orders_slot)
#define STEP          32u /* old slots that an insert moves: done long before the next growth */
#define PIECE         (2u << 20) /* a large page; the old table is given back in such pieces */
#define PIECE_INSERTS 4096u /* of half full to full there are so many twice for each large page */
#define ROOM(n)       ((n) / 8 * 5)

void *orders_pages(size_t bytes)
{
    size_t more = bytes >= PIECE ? PIECE : 0; /* to begin at a large page */
    uint8_t *p = mmap(NULL, bytes + more, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (!more)
        return p;
    size_t head = (PIECE - (uintptr_t)p % PIECE) % PIECE;
    if (head)
        munmap(p, head);
    if (head < more)
        munmap(p + head + bytes, more - head);
    madvise(p + head, bytes, MADV_HUGEPAGE);
    return p + head;
}

static void table_set(struct orders_map *m, struct orders_slot *slot, uint64_t n)
{
    m->slot = slot;
    m->mask = n - 1;
    m->shift = (uint32_t)__builtin_clzll(n) + 1;
    m->limit = ROOM(n);
    m->soon = n / 2;
    m->next = NULL;
    m->next_touched = 0;
}

bool orders_map_init(struct orders_map *m, uint64_t orders)
{
    memset(m, 0, sizeof *m);
    uint64_t n = 1024;
    while (ROOM(n) < orders)
        n *= 2;
    struct orders_slot *s = orders_pages(n * SLOT);
    if (!s)
        return false;
    table_set(m, s, n);
    return true;
}

static void old_free(struct orders_map *m)
{
    if (m->old)
        munmap((uint8_t *)m->old + m->old_gone * SLOT, (m->old_mask + 1 - m->old_gone) * SLOT);
    m->old = NULL;
}

void orders_map_free(struct orders_map *m)
{
    old_free(m);
    if (m->next)
        munmap(m->next, (m->mask + 1) * 2 * SLOT);
    if (m->slot)
        munmap(m->slot, (m->mask + 1) * SLOT);
    memset(m, 0, sizeof *m);
}

size_t orders_map_bytes(const struct orders_map *m)
{
    return (m->mask + 1) * SLOT + m->next_touched +
           (m->old ? (m->old_mask + 1 - m->old_gone) * SLOT : 0);
}

/* Slots below old_at are empty of orders whatever they hold: a search that would pass through them
 * goes on behind them, one that comes round to the beginning ends there. */
struct orders_slot *orders_map_find_old(const struct orders_map *m, int64_t ref)
{
    uint64_t i = orders_home(ref, m->old_shift);
    if (i < m->old_at)
        i = m->old_at;
    for (; i <= m->old_mask; i++) {
        struct orders_slot *s = &m->old[i];
        if (s->level == 0)
            return NULL;
        if (s->level != ORDERS_MOVED && s->ref == ref)
            return s;
    }
    return NULL;
}

static void put(struct orders_map *m, const struct orders_slot *s)
{
    uint64_t i = orders_home(s->ref, m->shift);
    while (m->slot[i].level)
        i = (i + 1) & m->mask;
    m->slot[i] = *s;
}

void orders_map_move(struct orders_map *m)
{
    uint64_t to = m->old_at + STEP;
    if (to > m->old_mask + 1)
        to = m->old_mask + 1;
    for (; m->old_at < to; m->old_at++) {
        const struct orders_slot *s = &m->old[m->old_at];
        if (s->level && s->level != ORDERS_MOVED)
            put(m, s);
    }
    while ((m->old_at - m->old_gone) * SLOT >= PIECE) {
        munmap((uint8_t *)m->old + m->old_gone * SLOT, PIECE);
        m->old_gone += PIECE / SLOT;
    }
    if (m->old_at > m->old_mask)
        old_free(m);
}

/* Touches as much of the next table as is due: all of it before the limit is reached. */
static bool prepare(struct orders_map *m)
{
    size_t bytes = (m->mask + 1) * 2 * SLOT;
    if (!m->next && !(m->next = orders_pages(bytes)))
        return false;
    uint64_t due = (m->used - m->soon) / PIECE_INSERTS + 1;
    while (m->next_touched < bytes && m->next_touched / PIECE < due) {
        *(volatile uint32_t *)&m->next[m->next_touched / SLOT].level = 0;
        m->next_touched += bytes - m->next_touched < PIECE ? bytes - m->next_touched : PIECE;
    }
    return true;
}

bool orders_map_full(struct orders_map *m)
{
    if (!prepare(m))
        return false;
    if (m->used < m->limit)
        return true;
    while (m->old)
        orders_map_move(m);
    uint64_t n = (m->mask + 1) * 2;
    m->old = m->slot;
    m->old_mask = m->mask;
    m->old_shift = m->shift;
    m->old_at = m->old_gone = 0;
    table_set(m, m->next, n);
    /* The run that begins at slot 0 may have come round from the end: moved now, whole, so that a
     * search never has to come round. */
    while (m->old_at <= m->old_mask && m->old[m->old_at].level) {
        if (m->old[m->old_at].level != ORDERS_MOVED)
            put(m, &m->old[m->old_at]);
        m->old_at++;
    }
    if (m->old_at == 0)
        m->old_at = 1;
    return true;
}
