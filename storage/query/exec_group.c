/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: numbers from the keyer, and for each group a block of states, one an aggregate. A unit
 * fills its own; merging adds them to the query's in unit order.
 *
 * Aggregates that need all their values (quantile) or a set of them (count distinct) keep pairs
 * (group, value) beside the states.
 */
#include "exec_int.h"

struct st_count {
    uint64_t n;
};
struct st_isum {
    __int128 sum;
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
struct st_wavg {
    double wx, w;
    uint64_t n;
};
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
struct st_value { /* min, max */
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
    uint64_t room;  /* groups */
    uint32_t used;  /* groups whose states are set up */
    struct text_store *texts;
};

struct text_store {
    struct text_store *next;
    uint64_t used, room;
};

static unsigned state_bytes(const struct plan_agg *a)
{
    bool f = a->nargs && cls_of(a->arg[0]->type) == C_F64;
    switch (a->kind) {
    case PLAN_AGG_COUNT_STAR:
    case PLAN_AGG_COUNT:
    case PLAN_AGG_COUNT_DISTINCT:
    case PLAN_AGG_QUANTILE:
        return sizeof(struct st_count);
    case PLAN_AGG_SUM:
    case PLAN_AGG_AVG:
        return f ? sizeof(struct st_fsum) : sizeof(struct st_isum);
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX:
        return sizeof(struct st_value);
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST:
        return sizeof(struct st_row);
    case PLAN_AGG_WAVG:
        return sizeof(struct st_wavg);
    default:
        return sizeof(struct st_var);
    }
}

struct groups *groups_new(struct xthread *t)
{
    const struct plan *p = t->x->p;
    struct groups *g = x_zalloc(t, sizeof *g);
    uint8_t types[PLAN_KEYS_MAX];
    for (uint32_t i = 0; i < p->nkeys; i++)
        types[i] = p->key[i]->type;
    g->keys = keyer_new(t, p->nkeys, types);
    g->naggs = p->naggs;
    g->agg = x_zalloc(t, (p->naggs + 1) * sizeof *g->agg);
    for (uint32_t i = 0; i < p->naggs; i++) {
        struct agg *a = &g->agg[i];
        a->pa = &p->agg[i];
        a->cls = a->pa->nargs ? cls_of(a->pa->arg[0]->type) : C_I64;
        a->at = g->stride;
        g->stride += (uint32_t)pst_align_up(state_bytes(a->pa), 16); /* 128-bit sums */
        if (a->pa->kind == PLAN_AGG_COUNT_DISTINCT) {
            uint8_t two[2] = {PST_LONG, a->pa->arg[0]->type};
            a->set = keyer_new(t, 2, two);
        }
    }
    return g;
}

static void free_texts(struct exec *x, struct groups *g)
{
    while (g->texts) {
        struct text_store *b = g->texts;
        g->texts = b->next;
        x_free(x, b);
    }
}

void groups_free(struct exec *x, struct groups *g)
{
    keyer_free(x, g->keys);
    for (uint32_t i = 0; i < g->naggs; i++) {
        x_free(x, g->agg[i].pairs.group);
        x_free(x, g->agg[i].pairs.value);
        if (g->agg[i].set)
            keyer_free(x, g->agg[i].set);
    }
    free_texts(x, g);
    x_free(x, g->agg);
    x_free(x, g->state);
    x_free(x, g);
}

void groups_reset(struct exec *x, struct groups *g)
{
    (void)x;
    keyer_reset(g->keys);
    for (uint32_t i = 0; i < g->naggs; i++) {
        g->agg[i].pairs.n = 0;
        if (g->agg[i].set)
            keyer_reset(g->agg[i].set);
    }
    g->used = 0;
    /* texts stay: merged states may point at them */
}

/* States of all groups that the keyer has numbered: zero is the empty state of every kind. */
static void make_states(struct xthread *t, struct groups *g)
{
    uint32_t n = keyer_count(g->keys);
    if (n == g->used)
        return;
    if (n > g->room) {
        uint64_t room = g->room ? g->room : 256;
        while (room < n)
            room *= 2;
        g->state = x_realloc(t, g->state, room * g->stride + 1);
        g->room = room;
    }
    memset(g->state + (uint64_t)g->used * g->stride, 0, (uint64_t)(n - g->used) * g->stride);
    g->used = n;
}

static struct plan_text keep_text(struct xthread *t, struct groups *g, struct plan_text s)
{
    if (!g->texts || g->texts->room - g->texts->used < s.len) {
        uint64_t room = s.len > 65536 ? s.len : 65536;
        struct text_store *b = x_alloc(t, sizeof *b + room);
        b->next = g->texts;
        b->used = 0;
        b->room = room;
        g->texts = b;
    }
    char *p = (char *)(g->texts + 1) + g->texts->used;
    memcpy(p, s.p, s.len);
    g->texts->used += s.len;
    return (struct plan_text){p, s.len};
}

/* ---- one batch ---- */

struct rows { /* of a batch, that count for an aggregate */
    uint32_t n;
    const uint32_t *group; /* of each */
    const uint32_t *at;    /* their places in the vectors; NULL: 0, 1 ... */
};

#define STATE(type, i) ((type *)(void *)(base + (uint64_t)r->group[i] * stride))
#define PLACE(v, i)    ((v).one ? 0 : r->at ? r->at[i] : (i))
#define EACH(i)        for (uint32_t i = 0; i < r->n; i++)

static bool value_null(enum cls c, const void *p, uint64_t i)
{
    static const struct guid zero;
    switch (c) {
    case C_BOOL:
        return ((const uint8_t *)p)[i] == PLAN_BOOL_NULL;
    case C_I64:
        return ((const int64_t *)p)[i] == INT64_MIN;
    case C_F64:
        return isnan(((const double *)p)[i]);
    case C_SYM:
        return ((const uint32_t *)p)[i] == PST_NULL_SYMBOL;
    case C_TEXT:
        return ((const struct plan_text *)p)[i].len == 0;
    default:
        return !memcmp((const struct guid *)p + i, &zero, 16);
    }
}

static struct value value_at(enum cls c, const void *p, uint64_t i)
{
    struct value v = {.i = 0};
    switch (c) {
    case C_BOOL:
        v.b = ((const uint8_t *)p)[i];
        break;
    case C_I64:
        v.i = ((const int64_t *)p)[i];
        break;
    case C_F64:
        v.f = ((const double *)p)[i];
        break;
    case C_SYM:
        v.code = ((const uint32_t *)p)[i];
        break;
    case C_TEXT:
        v.text = ((const struct plan_text *)p)[i];
        break;
    case C_GUID:
        v.guid = ((const struct guid *)p)[i];
        break;
    }
    return v;
}

static int value_cmp(const struct exec *x, enum cls c, const struct value *a, const struct value *b)
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

static void add_sum(struct agg *a, uint8_t *base, uint32_t stride, const struct rows *r,
                    struct vec v)
{
    if (a->cls == C_F64) {
        const double *p = v.p;
        EACH(i)
        {
            double f = p[PLACE(v, i)];
            if (f == f) {
                struct st_fsum *s = STATE(struct st_fsum, i);
                s->sum += f;
                s->n++;
            }
        }
        return;
    }
    const int64_t *p = v.p;
    EACH(i)
    {
        int64_t k = p[PLACE(v, i)];
        if (k != INT64_MIN) {
            struct st_isum *s = STATE(struct st_isum, i);
            s->sum += k;
            s->n++;
        }
    }
}

static void add_extreme(struct xthread *t, struct groups *g, struct agg *a, uint8_t *base,
                        uint32_t stride, const struct rows *r, struct vec v)
{
    bool max = a->pa->kind == PLAN_AGG_MAX;
    if (a->cls == C_I64) {
        const int64_t *p = v.p;
        EACH(i)
        {
            struct st_value *s = STATE(struct st_value, i);
            int64_t k = p[PLACE(v, i)];
            if (k != INT64_MIN && (!s->have || (max ? k > s->v.i : k < s->v.i))) {
                s->v.i = k;
                s->have = true;
            }
        }
        return;
    }
    if (a->cls == C_F64) {
        const double *p = v.p;
        EACH(i)
        {
            struct st_value *s = STATE(struct st_value, i);
            double k = p[PLACE(v, i)];
            if (k == k && (!s->have || (max ? k > s->v.f : k < s->v.f))) {
                s->v.f = k;
                s->have = true;
            }
        }
        return;
    }
    EACH(i)
    {
        struct st_value *s = STATE(struct st_value, i);
        uint32_t at = PLACE(v, i);
        if (value_null(a->cls, v.p, at))
            continue;
        struct value k = value_at(a->cls, v.p, at);
        if (s->have) {
            int c = value_cmp(t->x, a->cls, &k, &s->v);
            if (max ? c <= 0 : c >= 0)
                continue;
        }
        if (a->cls == C_TEXT)
            k.text = keep_text(t, g, k.text);
        s->v = k;
        s->have = true;
    }
}

static void add_row(struct xthread *t, struct groups *g, struct agg *a, uint8_t *base,
                    uint32_t stride, const struct rows *r, struct vec v, struct vec time,
                    int32_t date)
{
    bool last = a->pa->kind == PLAN_AGG_LAST;
    bool byte = a->pa->arg[0]->type == PST_BYTE;
    EACH(i)
    {
        uint32_t at = PLACE(v, i);
        if (!byte && value_null(a->cls, v.p, at))
            continue;
        struct st_row *s = STATE(struct st_row, i);
        int64_t tm = time.p ? ((const int64_t *)time.p)[PLACE(time, i)] : 0;
        if (s->have) {
            bool later = date != s->date ? date > s->date : tm >= s->time;
            if (last ? !later : (date != s->date ? date > s->date : tm >= s->time))
                continue;
        }
        s->v = value_at(a->cls, v.p, at);
        if (a->cls == C_TEXT)
            s->v.text = keep_text(t, g, s->v.text);
        s->time = tm;
        s->date = date;
        s->have = true;
    }
}

static void add_agg(struct xthread *t, struct groups *g, struct agg *a, const struct rows *r,
                    const struct vec *v, struct vec time, int32_t date)
{
    uint8_t *base = g->state + a->at;
    uint32_t stride = g->stride;
    switch (a->pa->kind) {
    case PLAN_AGG_COUNT_STAR:
        EACH(i)
        STATE(struct st_count, i)->n++;
        break;
    case PLAN_AGG_COUNT:
        if (a->pa->arg[0]->type == PST_BYTE)
            EACH(i)
        STATE(struct st_count, i)->n++;
        else EACH(i) STATE(struct st_count, i)->n += !value_null(a->cls, v[0].p, PLACE(v[0], i));
        break;
    case PLAN_AGG_SUM:
    case PLAN_AGG_AVG:
        add_sum(a, base, stride, r, v[0]);
        break;
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX:
        add_extreme(t, g, a, base, stride, r, v[0]);
        break;
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST:
        add_row(t, g, a, base, stride, r, v[0], time, date);
        break;
    case PLAN_AGG_WAVG: {
        const double *w = v[0].p, *y = v[1].p;
        EACH(i)
        {
            double wi = w[PLACE(v[0], i)], yi = y[PLACE(v[1], i)];
            if (wi == wi && yi == yi) {
                struct st_wavg *s = STATE(struct st_wavg, i);
                s->wx += wi * yi;
                s->w += wi;
                s->n++;
            }
        }
        break;
    }
    case PLAN_AGG_QUANTILE: {
        struct pairs *p = &a->pairs;
        p->group = x_grow(t, p->group, &p->group_room, p->n + r->n, sizeof *p->group);
        p->value = x_grow(t, p->value, &p->room, p->n + r->n, sizeof *p->value);
        EACH(i)
        {
            uint32_t at = PLACE(v[0], i);
            if (value_null(a->cls, v[0].p, at))
                continue;
            memcpy(&p->value[p->n], (const uint8_t *)v[0].p + at * 8ull, 8);
            p->group[p->n++] = r->group[i];
        }
        break;
    }
    case PLAN_AGG_COUNT_DISTINCT: {
        struct scratch_mark m = x_mark(t);
        unsigned w = cls_width(a->cls);
        int64_t *gid = x_scratch(t, r->n * sizeof *gid + 8);
        uint8_t *val = x_scratch(t, (uint64_t)r->n * w + 8);
        uint32_t n = 0, *id = x_scratch(t, r->n * sizeof *id + 8);
        bool byte = a->pa->arg[0]->type == PST_BYTE;
        EACH(i)
        {
            uint32_t at = PLACE(v[0], i);
            if (!byte && value_null(a->cls, v[0].p, at))
                continue;
            gid[n] = r->group[i];
            memcpy(val + (uint64_t)n * w, (const uint8_t *)v[0].p + (uint64_t)at * w, w);
            n++;
        }
        struct vec kv[2] = {{gid, false}, {val, false}};
        keyer_add(t, a->set, kv, n, id);
        x_reset(t, m);
        break;
    }
    default: { /* variances */
        const double *p = v[0].p;
        EACH(i)
        {
            double f = p[PLACE(v[0], i)];
            if (f != f)
                continue;
            struct st_var *s = STATE(struct st_var, i);
            s->n++;
            double d = f - s->mean;
            s->mean += d / (double)s->n;
            s->m2 += d * (f - s->mean);
        }
        break;
    }
    }
}

void groups_add(struct xthread *t, struct groups *g, struct batch *b)
{
    const struct plan *p = t->x->p;
    struct vec *key = x_scratch(t, (p->nkeys + 1) * sizeof *key);
    for (uint32_t i = 0; i < p->nkeys; i++)
        key[i] = eval(t, b, p->key[i]);
    uint32_t *id = x_scratch(t, (uint64_t)b->n * sizeof *id);
    keyer_add(t, g->keys, key, b->n, id);
    make_states(t, g);
    struct vec time = {NULL, true};
    int32_t date = b->nsides ? b->side[0].part->date : 0;
    for (uint32_t i = 0; i < g->naggs; i++) {
        struct agg *a = &g->agg[i];
        const struct plan_agg *pa = a->pa;
        struct rows r = {b->n, id, NULL};
        struct batch *from = b, sub;
        if (pa->filter) {
            uint32_t *sel = x_scratch(t, (uint64_t)b->n * sizeof *sel + 4);
            uint32_t n = eval_true(t, b, pa->filter, sel);
            if (n == 0)
                continue;
            if (n < b->n) {
                uint32_t *gid = x_scratch(t, (uint64_t)n * sizeof *gid);
                for (uint32_t k = 0; k < n; k++)
                    gid[k] = id[sel[k]];
                r = (struct rows){n, gid, sel};
                bool fails = false;
                for (unsigned k = 0; k < pa->nargs; k++)
                    fails |= pa->arg[k]->can_fail;
                if (fails) { /* only for the rows that the filter leaves */
                    batch_narrow(t, b, sel, n, &sub);
                    from = &sub;
                    r.at = NULL;
                }
            }
        }
        struct vec v[2] = {{NULL, true}, {NULL, true}};
        for (unsigned k = 0; k < pa->nargs; k++)
            v[k] = eval(t, from, pa->arg[k]);
        if ((pa->kind == PLAN_AGG_FIRST || pa->kind == PLAN_AGG_LAST) && b->nsides &&
            b->side[0].view->time_col >= 0)
            time = load_column(t, from, 0, (uint32_t)b->side[0].view->time_col);
        add_agg(t, g, a, &r, v, time, date);
    }
}

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
            s->sum += f->sum;
            s->n += f->n;
        }
        break;
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX: {
        struct st_value *s = to_state;
        const struct st_value *f = from_state;
        if (!f->have)
            break;
        if (s->have) {
            int c = value_cmp(t->x, a->cls, &f->v, &s->v);
            if (a->pa->kind == PLAN_AGG_MAX ? c <= 0 : c >= 0)
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
        s->n += f->n;
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
    const int64_t *g = keyer_values(from->set, 0);
    const uint8_t *val = keyer_values(from->set, 1);
    unsigned w = cls_width(from->cls);
    for (uint32_t at = 0; at < n; at += EXEC_BATCH) {
        struct scratch_mark m = x_mark(t);
        uint32_t k = n - at < EXEC_BATCH ? n - at : EXEC_BATCH;
        int64_t *gid = x_scratch(t, k * sizeof *gid);
        uint32_t *id = x_scratch(t, k * sizeof *id);
        for (uint32_t i = 0; i < k; i++)
            gid[i] = map[g[at + i]];
        struct vec kv[2] = {{gid, false}, {val + (uint64_t)at * w, false}};
        keyer_add(t, to->set, kv, k, id);
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
    make_states(t, to);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *ts = to->state + (uint64_t)map[i] * to->stride;
        const uint8_t *fs = from->state + (uint64_t)i * from->stride;
        if (map[i] >= before)
            memcpy(ts, fs, to->stride);
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

static void finish_distinct(struct groups *g, struct agg *a, int64_t *out)
{
    const int64_t *gid = keyer_values(a->set, 0);
    memset(out, 0, g->used * sizeof *out);
    for (uint32_t i = 0; i < keyer_count(a->set); i++)
        out[gid[i]]++;
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
    if (cls_of(a->pa->type) == C_F64) {
        ((double *)out)[i] = !s->n ? NAN : avg ? (double)s->sum / (double)s->n : (double)s->sum;
        return;
    }
    __int128 v = avg && s->n ? s->sum / (__int128)s->n : s->sum;
    if (v > INT64_MAX || v <= INT64_MIN)
        x_throw(t, QUERY_VALUE, a->pa->pos, "integer overflow: a sum does not fit in a %s",
                type_name(a->pa->type));
    ((int64_t *)out)[i] = s->n ? (int64_t)v : INT64_MIN;
}

static void finish_agg(struct xthread *t, struct groups *g, struct agg *a, void *out)
{
    uint8_t *base = g->state + a->at;
    if (a->pa->kind == PLAN_AGG_QUANTILE) {
        finish_quantile(t, g, a, out);
        return;
    }
    if (a->set) {
        finish_distinct(g, a, out);
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
            ((double *)out)[i] = w->n && w->w != 0 ? w->wx / w->w : NAN;
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
    make_states(t, g);
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
