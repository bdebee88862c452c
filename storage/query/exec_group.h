/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_group.h - groups: numbers from the keyer, and for each group a block of states, one an
 * aggregate. A unit fills its own; merging adds them to the query's in unit order.
 *
 * Aggregates that need all their values (quantile) or a set of them (count distinct) keep pairs
 * (group, value) beside the states.
 */
#pragma once

#include "exec_int.h"

struct st_count {
    uint64_t n;
};
struct st_isum { /* 128 bits: isum_value */
    int64_t low, high;
    uint64_t n;
};
struct st_fsum {
    double sum;
    uint64_t n;
};
struct st_var { /* Welford; merged as Chan et al. */
    double mean, m2;
    uint64_t n;
};
struct st_wavg { /* no rows: w is 0, and the answer NULL as for any other sum of weights that is 0
                  */
    double wx, w;
};
/* min, max of integers and floats: the value, null at first */
struct value {
    union {
        int64_t i;
        double f;
        uint32_t code;
        struct plan_text text;
        struct guid guid;
        uint8_t b;
    };
};
struct st_value { /* min, max of texts */
    struct value v;
    bool have;
};
struct st_row { /* first, last */
    struct value v;
    int64_t time;
    int32_t date;
    bool have;
};

struct pairs { /* of QUANTILE: (group, value), in row order */
    uint32_t *group;
    int64_t *value; /* or doubles, bit for bit */
    uint64_t n, room, group_room;
};

struct agg {
    const struct plan_agg *pa;
    uint32_t at;  /* in a group's block */
    enum cls cls; /* of argument 0 */
    struct pairs pairs;
    struct keyer *set; /* COUNT_DISTINCT: (group, value) */
};

struct groups {
    struct keyer *keys;
    uint32_t naggs, stride;
    struct agg *agg;
    uint8_t *state; /* stride bytes a group */
    uint8_t *empty; /* of a new group */
    uint64_t room;  /* groups */
    uint32_t used;  /* groups whose states are set up */
    struct text_store *texts;
};

struct text_store {
    struct text_store *next;
    uint64_t used, room;
};

/* States of all groups that the keyer has numbered. */
void groups_states(struct xthread *t, struct groups *g);

static inline void copy_state(uint8_t *to, const uint8_t *from, uint32_t stride)
{
    if (pst_likely(stride == 64)) /* without a call */
        memcpy(to, from, 64);
    else
        memcpy(to, from, stride);
}

/* The sum is high * 2^64 + low, low signed. */
static inline __int128 isum_value(const struct st_isum *s)
{
    return (__int128)((unsigned __int128)(uint64_t)s->high << 64) + s->low;
}

static inline void isum_put(struct st_isum *s, __int128 v)
{
    s->low = (int64_t)(uint64_t)v;
    s->high = (int64_t)((v - s->low) >> 64);
}

static inline int value_cmp(const struct exec *x, enum cls c, const struct value *a,
                            const struct value *b)
{
    switch (c) {
    case C_I64:
        return a->i < b->i ? -1 : a->i > b->i;
    case C_F64:
        return a->f < b->f ? -1 : a->f > b->f;
    case C_SYM:
        return x_sym_cmp(x, a->code, b->code);
    case C_TEXT:
        return text_cmp(a->text.p, a->text.len, b->text.p, b->text.len);
    case C_GUID:
        return memcmp(&a->guid, &b->guid, 16);
    default:
        return (int)a->b - (int)b->b;
    }
}

static inline int64_t min_int(int64_t a, int64_t b) /* null is the greatest */
{
    return ((uint64_t)a ^ 1ull << 63) - 1 < ((uint64_t)b ^ 1ull << 63) - 1 ? a : b;
}
static inline int64_t max_int(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static inline double min_float(double a, double b) /* a may be null, b may be null */
{
    return b < a || a != a ? b : a;
}
static inline double max_float(double a, double b)
{
    return b > a || a != a ? b : a;
}
