/* SPDX-License-Identifier: Apache-2.0 */
/* ranges.h - a growing list of inclusive sequence ranges, merged when they touch the last one. */
#pragma once

#include <core/base.h>

struct range {
    uint64_t lo, hi;
};

struct ranges {
    struct range *r;
    uint32_t n, cap;
};

static inline void ranges_add(struct ranges *a, uint64_t lo, uint64_t hi)
{
    if (a->n && a->r[a->n - 1].hi + 1 == lo) {
        a->r[a->n - 1].hi = hi;
        return;
    }
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->r = realloc(a->r, a->cap * sizeof *a->r);
        pst_must(a->r);
    }
    a->r[a->n++] = (struct range){lo, hi};
}

/* Lists given by the user are short: a scan. */
static inline bool ranges_touch(const struct ranges *a, uint64_t lo, uint64_t hi)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (lo <= a->r[i].hi && hi >= a->r[i].lo)
            return true;
    return false;
}

static inline uint64_t ranges_total(const struct ranges *a)
{
    uint64_t t = 0;
    for (uint32_t i = 0; i < a->n; i++)
        t += a->r[i].hi - a->r[i].lo + 1;
    return t;
}
