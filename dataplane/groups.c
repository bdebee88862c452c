/* SPDX-License-Identifier: Apache-2.0 */
#include "groups.h"

#include <errno.h>

/* No packet can have it: keys are 48 bits. */
#define EMPTY UINT64_MAX

static bool insert(struct group_table *t, const struct group_route *r, struct err *err)
{
    uint64_t key = (uint64_t)r->ip << 16 | r->port;
    uint32_t at = groups_place(t, key);
    for (uint32_t i = 0;; i++) { /* ends: at most a quarter of the slots is used */
        struct group_slot *s = &t->slot[(at + i) & t->mask];
        if (s->key == key) {
            return err_set(err, -EEXIST,
                           "group %u.%u.%u.%u:%u is listed twice on one port; a packet can have "
                           "only one route: remove one of them",
                           r->ip >> 24, r->ip >> 16 & 255, r->ip >> 8 & 255, r->ip & 255, r->port);
        }
        if (s->key == EMPTY) {
            s->key = key;
            s->route = r->route;
            t->used++;
            if (i > t->probe_max) {
                t->probe_max = i;
            }
            return true;
        }
    }
}

static struct group_table *build(const struct group_route *routes, int n, uint16_t any,
                                 uint64_t version, struct err *err)
{
    if (n < 0 || n > GROUPS_MAX) {
        err_set(err, -E2BIG, "%d groups on one port, at most %d are possible: use several ports", n,
                GROUPS_MAX);
        return NULL;
    }
    uint32_t bits = 3;
    while ((1u << bits) < (uint32_t)n * 4) {
        bits++;
    }
    size_t slots = (size_t)1 << bits;
    size_t bytes =
        pst_align_up(sizeof(struct group_table) + slots * sizeof(struct group_slot), PST_CACHELINE);
    struct group_table *t = aligned_alloc(PST_CACHELINE, bytes);
    if (!t) {
        err_set(err, -ENOMEM, "no memory for a table of %d groups (%zu bytes)", n, bytes);
        return NULL;
    }
    *t = (struct group_table){
        .version = version, .shift = 64 - bits, .mask = (uint32_t)slots - 1, .any = any};
    for (size_t i = 0; i < slots; i++) {
        t->slot[i] = (struct group_slot){.key = EMPTY, .route = GROUP_NONE};
    }
    for (int i = 0; i < n; i++) {
        if (routes[i].route == GROUP_NONE) {
            err_set(err, -EINVAL, "group number %d has no route (%d is reserved)", i, GROUP_NONE);
            free(t);
            return NULL;
        }
        if (!insert(t, &routes[i], err)) {
            free(t);
            return NULL;
        }
    }
    return t;
}

bool groups_init(struct groups *g, const struct group_route *routes, int n, uint16_t any,
                 struct err *err)
{
    struct group_table *t = build(routes, n, any, 1, err);
    if (!t) {
        return false;
    }
    g->old = NULL;
    g->version = 1;
    store_relaxed(&g->seen, 0);
    store_release(&g->current, t);
    return true;
}

bool groups_reclaim(struct groups *g)
{
    if (g->old && load_acquire(&g->seen) == g->version) { /* G2: pairs with groups_pin */
        free(g->old);
        g->old = NULL;
    }
    return !g->old;
}

bool groups_replace(struct groups *g, const struct group_route *routes, int n, uint16_t any,
                    struct err *err)
{
    if (!groups_reclaim(g)) {
        return err_set(err, -EAGAIN,
                       "the port has not yet taken up the last change of its groups: try again");
    }
    struct group_table *t = build(routes, n, any, g->version + 1, err);
    if (!t) {
        return false;
    }
    g->old = load_relaxed(&g->current);
    g->version = t->version;
    store_release(&g->current, t); /* G1: pairs with groups_pin */
    return true;
}

void groups_fini(struct groups *g)
{
    free(g->old);
    free(load_relaxed(&g->current));
    g->old = NULL;
    store_relaxed(&g->current, NULL);
}
