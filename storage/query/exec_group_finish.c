/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: those of units into the query's, in row order; then their rows. */
#include "exec_group.h"

/* ---- merging: `to` comes before `from` in row order ---- */

static void merge_agg(struct xthread *t, struct groups *to, struct agg *a, void *to_state,
                      const void *from_state)
{
    switch (a->pa->kind) {
    case PLAN_AGG_COUNT_STAR:
    case PLAN_AGG_COUNT:
        ((struct st_count *)to_state)->n += ((const struct st_count *)from_state)->n;
        break;
    case PLAN_AGG_COUNT_DISTINCT:
    case PLAN_AGG_QUANTILE:
        break;
    case PLAN_AGG_SUM:
    case PLAN_AGG_AVG:
        if (a->cls == C_F64) {
            struct st_fsum *s = to_state;
            const struct st_fsum *f = from_state;
            s->sum += f->sum;
            s->n += f->n;
        } else {
            struct st_isum *s = to_state;
            const struct st_isum *f = from_state;
            isum_put(s, isum_value(s) + isum_value(f));
            s->n += f->n;
        }
        break;
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX: {
        bool max = a->pa->kind == PLAN_AGG_MAX;
        if (a->cls == C_I64) {
            int64_t *s = to_state, f = *(const int64_t *)from_state;
            *s = max ? max_int(*s, f) : min_int(*s, f);
            break;
        }
        if (a->cls == C_F64) {
            double *s = to_state, f = *(const double *)from_state;
            *s = max ? max_float(*s, f) : min_float(*s, f);
            break;
        }
        struct st_value *s = to_state;
        const struct st_value *f = from_state;
        if (!f->have)
            break;
        if (s->have) {
            int c = value_cmp(t->x, a->cls, &f->v, &s->v);
            if (max ? c <= 0 : c >= 0)
                break;
        }
        *s = *f;
        break;
    }
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST: {
        struct st_row *s = to_state;
        const struct st_row *f = from_state;
        if (!f->have)
            break;
        if (s->have) {
            bool later = f->date != s->date ? f->date > s->date : f->time >= s->time;
            if (later != (a->pa->kind == PLAN_AGG_LAST))
                break;
        }
        *s = *f;
        break;
    }
    case PLAN_AGG_WAVG: {
        struct st_wavg *s = to_state;
        const struct st_wavg *f = from_state;
        s->wx += f->wx;
        s->w += f->w;
        break;
    }
    default: {
        struct st_var *s = to_state;
        const struct st_var *f = from_state;
        if (!f->n)
            break;
        if (!s->n) {
            *s = *f;
            break;
        }
        double n = (double)s->n + (double)f->n, d = f->mean - s->mean;
        s->m2 += f->m2 + d * d * ((double)s->n * (double)f->n / n);
        s->mean += d * ((double)f->n / n);
        s->n += f->n;
        break;
    }
    }
    (void)to;
}

static void merge_pairs(struct xthread *t, struct agg *to, const struct agg *from,
                        const uint32_t *map)
{
    struct pairs *p = &to->pairs;
    const struct pairs *f = &from->pairs;
    p->group = x_grow(t, p->group, &p->group_room, p->n + f->n, sizeof *p->group);
    p->value = x_grow(t, p->value, &p->room, p->n + f->n, sizeof *p->value);
    for (uint64_t i = 0; i < f->n; i++) {
        p->group[p->n] = map[f->group[i]];
        p->value[p->n++] = f->value[i];
    }
}

static void merge_set(struct xthread *t, struct agg *to, const struct agg *from,
                      const uint32_t *map)
{
    uint32_t n = keyer_count(from->set);
    bool grouped = t->x->p->nkeys > 0;
    const int64_t *g = grouped ? keyer_values(from->set, 0) : NULL;
    const uint8_t *val = keyer_values(from->set, grouped);
    unsigned w = cls_width(from->cls);
    for (uint32_t at = 0; at < n; at += EXEC_BATCH) {
        struct scratch_mark m = x_mark(t);
        uint32_t k = n - at < EXEC_BATCH ? n - at : EXEC_BATCH;
        int64_t *gid = x_scratch(t, k * sizeof *gid);
        uint32_t *id = x_scratch(t, k * sizeof *id);
        for (uint32_t i = 0; grouped && i < k; i++)
            gid[i] = map[g[at + i]];
        struct vec kv[2] = {{gid, false}, {val + (uint64_t)at * w, false}};
        keyer_add(t, to->set, grouped ? kv : kv + 1, k, id);
        x_reset(t, m);
    }
}

void groups_merge(struct xthread *t, struct groups *to, struct groups *from)
{
    uint32_t n = keyer_count(from->keys), nkeys = t->x->p->nkeys;
    if (n == 0)
        return;
    uint32_t *map = x_alloc(t, (uint64_t)n * sizeof *map);
    struct vec *kv = x_alloc(t, (nkeys + 1) * sizeof *kv);
    uint32_t before = to->used;
    for (uint32_t at = 0; at < n; at += EXEC_BATCH) {
        uint32_t k = n - at < EXEC_BATCH ? n - at : EXEC_BATCH;
        for (uint32_t i = 0; i < nkeys; i++) {
            unsigned w = cls_width(cls_of(t->x->p->key[i]->type));
            kv[i] = (struct vec){(const uint8_t *)keyer_values(from->keys, i) + (uint64_t)at * w,
                                 false};
        }
        keyer_add(t, to->keys, kv, k, map + at);
    }
    groups_states(t, to);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *ts = to->state + (uint64_t)map[i] * to->stride;
        const uint8_t *fs = from->state + (uint64_t)i * from->stride;
        if (map[i] >= before)
            copy_state(ts, fs, to->stride);
        else
            for (uint32_t a = 0; a < to->naggs; a++)
                merge_agg(t, to, &to->agg[a], ts + to->agg[a].at, fs + to->agg[a].at);
    }
    for (uint32_t a = 0; a < to->naggs; a++) {
        if (to->agg[a].pa->kind == PLAN_AGG_QUANTILE)
            merge_pairs(t, &to->agg[a], &from->agg[a], map);
        if (to->agg[a].set)
            merge_set(t, &to->agg[a], &from->agg[a], map);
    }
    x_free(t->x, kv);
    x_free(t->x, map);
}

/* ---- finishing ---- */

/* k-th smallest of v[0..n), everything before it not larger (Hoare's quickselect). */
#define SELECT(NAME, T)                                                                            \
    static T NAME(T *v, uint64_t n, uint64_t k)                                                    \
    {                                                                                              \
        uint64_t lo = 0, hi = n - 1;                                                               \
        while (hi > lo) {                                                                          \
            T a = v[lo], b = v[lo + (hi - lo) / 2], c = v[hi];                                     \
            T pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);           \
            uint64_t i = lo, j = hi;                                                               \
            for (;;) {                                                                             \
                while (v[i] < pivot)                                                               \
                    i++;                                                                           \
                while (pivot < v[j])                                                               \
                    j--;                                                                           \
                if (i >= j)                                                                        \
                    break;                                                                         \
                T s = v[i];                                                                        \
                v[i++] = v[j];                                                                     \
                v[j--] = s;                                                                        \
            }                                                                                      \
            if (k <= j)                                                                            \
                hi = j;                                                                            \
            else                                                                                   \
                lo = j + 1;                                                                        \
        }                                                                                          \
        return v[k];                                                                               \
    }
SELECT(select_f64, double)
SELECT(select_i64, int64_t)

static void finish_quantile(struct xthread *t, struct groups *g, struct agg *a, void *out)
{
    uint32_t n = g->used;
    struct pairs *p = &a->pairs;
    uint64_t *at = x_zalloc(t, (n + 2ull) * sizeof *at);
    int64_t *v = x_alloc(t, (p->n + 1) * sizeof *v);
    for (uint64_t i = 0; i < p->n; i++)
        at[p->group[i] + 2]++;
    for (uint32_t i = 0; i < n; i++)
        at[i + 2] += at[i + 1];
    for (uint64_t i = 0; i < p->n; i++)
        v[at[p->group[i] + 1]++] = p->value[i];
    for (uint32_t i = 0; i < n; i++) {
        uint64_t m = at[i + 1] - at[i];
        int64_t *iv = v + at[i];
        double *fv = (double *)(void *)iv;
        if (m == 0) {
            if (a->cls == C_F64)
                ((double *)out)[i] = NAN;
            else
                ((int64_t *)out)[i] = INT64_MIN;
            continue;
        }
        double pos = a->pa->param * (double)(m - 1);
        uint64_t k = (uint64_t)floor(pos);
        if (k >= m)
            k = m - 1;
        double frac = pos - (double)k;
        if (a->cls == C_F64) {
            double lo = select_f64(fv, m, k), hi = lo;
            if (frac > 0 && k + 1 < m) {
                hi = INFINITY;
                for (uint64_t j = k + 1; j < m; j++)
                    hi = fv[j] < hi ? fv[j] : hi;
            }
            ((double *)out)[i] = frac > 0 ? lo + (hi - lo) * frac : lo;
        } else {
            int64_t lo = select_i64(iv, m, k), hi = lo;
            if (frac > 0 && k + 1 < m) {
                hi = INT64_MAX;
                for (uint64_t j = k + 1; j < m; j++)
                    hi = iv[j] < hi ? iv[j] : hi;
            }
            long double d = (long double)((__int128)hi - lo) * (long double)frac;
            ((int64_t *)out)[i] = (int64_t)(lo + (__int128)floorl(d));
        }
    }
    x_free(t->x, v);
    x_free(t->x, at);
}

static void finish_distinct(struct xthread *t, struct groups *g, struct agg *a, int64_t *out)
{
    bool grouped = t->x->p->nkeys > 0, byte = a->pa->arg[0]->type == PST_BYTE;
    const int64_t *gid = grouped ? keyer_values(a->set, 0) : NULL;
    const void *val = keyer_values(a->set, grouped);
    memset(out, 0, g->used * sizeof *out);
    for (uint32_t i = 0; i < keyer_count(a->set); i++)
        out[grouped ? gid[i] : 0] += byte || !x_null_at(a->cls, val, i);
}

static void put_value(enum cls c, void *out, uint32_t i, const struct value *v, bool have)
{
    switch (c) {
    case C_BOOL:
        ((uint8_t *)out)[i] = have ? v->b : PLAN_BOOL_NULL;
        break;
    case C_I64:
        ((int64_t *)out)[i] = have ? v->i : INT64_MIN;
        break;
    case C_F64:
        ((double *)out)[i] = have ? v->f : NAN;
        break;
    case C_SYM:
        ((uint32_t *)out)[i] = have ? v->code : PST_NULL_SYMBOL;
        break;
    case C_TEXT:
        ((struct plan_text *)out)[i] = have ? v->text : (struct plan_text){"", 0};
        break;
    case C_GUID:
        ((struct guid *)out)[i] = have ? v->guid : (struct guid){{0}};
        break;
    }
}

static void finish_sum(struct xthread *t, struct agg *a, const void *state, void *out, uint32_t i)
{
    bool avg = a->pa->kind == PLAN_AGG_AVG;
    if (a->cls == C_F64) {
        const struct st_fsum *s = state;
        ((double *)out)[i] = !s->n ? NAN : avg ? s->sum / (double)s->n : s->sum;
        return;
    }
    const struct st_isum *s = state;
    __int128 sum = isum_value(s);
    if (cls_of(a->pa->type) == C_F64) {
        ((double *)out)[i] = !s->n ? NAN : avg ? (double)sum / (double)s->n : (double)sum;
        return;
    }
    __int128 v = avg && s->n ? sum / (__int128)s->n : sum;
    if (v > INT64_MAX || v <= INT64_MIN)
        x_throw(t, QUERY_VALUE, a->pa->pos, "integer overflow: a sum does not fit in a %s",
                type_name(a->pa->type));
    ((int64_t *)out)[i] = s->n ? (int64_t)v : INT64_MIN;
}

static void finish_agg(struct xthread *t, struct groups *g, struct agg *a, void *out)
{
    uint8_t *base = g->state ? g->state + a->at : NULL; /* no group at all */
    if (a->pa->kind == PLAN_AGG_QUANTILE) {
        finish_quantile(t, g, a, out);
        return;
    }
    if (a->set) {
        finish_distinct(t, g, a, out);
        return;
    }
    for (uint32_t i = 0; i < g->used; i++) {
        const void *s = base + (uint64_t)i * g->stride;
        switch (a->pa->kind) {
        case PLAN_AGG_COUNT_STAR:
        case PLAN_AGG_COUNT:
            ((int64_t *)out)[i] = (int64_t)((const struct st_count *)s)->n;
            break;
        case PLAN_AGG_SUM:
        case PLAN_AGG_AVG:
            finish_sum(t, a, s, out, i);
            break;
        case PLAN_AGG_MIN:
        case PLAN_AGG_MAX:
            if (a->cls == C_I64 || a->cls == C_F64) {
                memcpy((uint64_t *)out + i, s, 8);
                break;
            }
            put_value(a->cls, out, i, &((const struct st_value *)s)->v,
                      ((const struct st_value *)s)->have);
            break;
        case PLAN_AGG_FIRST:
        case PLAN_AGG_LAST:
            put_value(a->cls, out, i, &((const struct st_row *)s)->v,
                      ((const struct st_row *)s)->have);
            break;
        case PLAN_AGG_WAVG: {
            const struct st_wavg *w = s;
            ((double *)out)[i] = w->w != 0 ? w->wx / w->w : NAN;
            break;
        }
        default: {
            const struct st_var *v = s;
            bool samp = a->pa->kind == PLAN_AGG_VAR_SAMP || a->pa->kind == PLAN_AGG_STDDEV_SAMP;
            bool dev = a->pa->kind == PLAN_AGG_STDDEV_SAMP || a->pa->kind == PLAN_AGG_STDDEV_POP;
            double r = v->n < 1u + samp ? NAN : v->m2 / (double)(v->n - samp);
            ((double *)out)[i] = dev ? sqrt(r) : r;
            break;
        }
        }
    }
}

struct outrows *groups_finish(struct xthread *t, struct groups *g)
{
    const struct plan *p = t->x->p;
    if (p->nkeys == 0 && keyer_count(g->keys) == 0) { /* no row: one group all the same */
        uint32_t id;
        keyer_add(t, g->keys, NULL, 1, &id);
    }
    groups_states(t, g);
    const void **key = x_zalloc(t, (p->nkeys + 1) * sizeof *key);
    const void **agg = x_zalloc(t, (p->naggs + 1) * sizeof *agg);
    for (uint32_t i = 0; i < p->nkeys; i++)
        key[i] = keyer_values(g->keys, i);
    for (uint32_t i = 0; i < p->naggs; i++) {
        void *out = x_alloc(t, (g->used + 1ull) * cls_width(cls_of(p->agg[i].type)));
        finish_agg(t, g, &g->agg[i], out);
        agg[i] = out;
    }
    struct outrows *o = out_new(t);
    t->x->p->facts.groups = g->used;
    for (uint64_t at = 0; at < g->used; at += EXEC_BATCH) {
        struct scratch_mark m = x_mark(t);
        x_check(t);
        struct group_vectors gv = {.key = key, .agg = agg, .first = at};
        struct batch b = {.groups = &gv,
                          .n = g->used - at < EXEC_BATCH ? (uint32_t)(g->used - at) : EXEC_BATCH};
        batch_init(t, &b);
        struct plan_conjunct having = {.expr = p->having};
        struct batch f = b;
        if (!p->having || filter(t, &b, &having, 1, false, false, &f))
            out_add(t, o, &f);
        x_texts_free(t);
        x_reset(t, m);
    }
    return o;
}
