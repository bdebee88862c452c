/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: made, filled row by row. exec_group_finish.c merges and finishes them. */
#include "exec_group.h"
#include "exec_kernels.h"

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
        return f || cls_of(a->arg[0]->type) == C_I64 ? 8 : sizeof(struct st_value);
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
        g->stride += (uint32_t)pst_align8(state_bytes(a->pa));
        if (a->pa->kind == PLAN_AGG_COUNT_DISTINCT) {
            uint8_t two[2] = {PST_LONG, a->pa->arg[0]->type};
            a->set = p->nkeys ? keyer_new(t, 2, two) : keyer_new(t, 1, two + 1);
        }
    }
    if (g->stride > 32 && g->stride < 64)
        g->stride = 64; /* a cache line a group */
    g->empty = x_zalloc(t, g->stride + 1);
    for (uint32_t i = 0; i < p->naggs; i++) {
        const struct agg *a = &g->agg[i];
        if (a->pa->kind != PLAN_AGG_MIN && a->pa->kind != PLAN_AGG_MAX)
            continue;
        if (a->cls == C_I64)
            *(int64_t *)(void *)(g->empty + a->at) = INT64_MIN;
        else if (a->cls == C_F64)
            *(double *)(void *)(g->empty + a->at) = NAN;
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
    x_free(x, g->empty);
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

void groups_states(struct xthread *t, struct groups *g)
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
    for (; g->used < n; g->used++)
        copy_state(g->state + (uint64_t)g->used * g->stride, g->empty, g->stride);
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
    const uint32_t
        *run; /* places where the group changes, 0 first; NULL: too many to be worth it */
    uint32_t nruns;
    bool fresh; /* many of the groups are new */
};

#define STATE(type, i) ((type *)(void *)(base + (uint64_t)r->group[i] * stride))
#define PLACE(v, i)    ((v).one ? 0 : r->at ? r->at[i] : (i))
/* Elements: pages are small, and the hardware does not look over their ends. */
#define AHEAD   256
#define EACH(i) for (uint32_t i = 0, end_ = r->n; i < end_; i++)
/* Rows one behind the other in a vector, whole runs of them in one group: kernels. */
#define RUNS(v)  (r->run && !r->at && !(v).one)
#define DENSE(v) (!r->at && !(v).one)
#define EACH_RUN(k, from, len)                                                                     \
    for (uint32_t k = 0, from, len;                                                                \
         k < r->nruns &&                                                                           \
         (from = r->run[k], len = (k + 1 < r->nruns ? r->run[k + 1] : r->n) - from, true);         \
         k++)

/* The value is high * 2^64 + low, low signed: nearly always one addition. */
static inline void isum_add(struct st_isum *s, int64_t v)
{
    int64_t low;
    if (pst_unlikely(__builtin_add_overflow(s->low, v, &low)))
        s->high += v < 0 ? -1 : 1;
    s->low = low;
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

static void add_sum(struct agg *a, uint8_t *base, uint32_t stride, const struct rows *r,
                    struct vec v)
{
    const struct kernels *kn = kernels();
    if (a->cls == C_F64) {
        const double *p = v.p;
        if (RUNS(v)) {
            EACH_RUN(k, from, len)
            {
                struct st_fsum *s = STATE(struct st_fsum, from);
                uint64_t n;
                s->sum += kn->sum_f64(p + from, len, &n);
                s->n += n;
            }
        } else if (DENSE(v)) {
            EACH(i)
            {
                __builtin_prefetch(p + i + AHEAD);
                struct st_fsum *s = STATE(struct st_fsum, i);
                s->sum += p[i] == p[i] ? p[i] : 0.0;
                s->n += p[i] == p[i];
            }
        } else {
            EACH(i)
            {
                double f = p[PLACE(v, i)];
                struct st_fsum *s = STATE(struct st_fsum, i);
                s->sum += f == f ? f : 0.0;
                s->n += f == f;
            }
        }
        return;
    }
    const int64_t *p = v.p;
    if (RUNS(v)) {
        EACH_RUN(k, from, len)
        {
            struct st_isum *s = STATE(struct st_isum, from);
            struct kernel_isum o;
            kn->sum_i64(p + from, len, &o);
            isum_put(s, isum_value(s) + (__int128)o.high * (1ll << 32) + o.low);
            s->n += o.n;
        }
        return;
    }
    if (DENSE(v)) {
        EACH(i)
        {
            __builtin_prefetch(p + i + AHEAD);
            int64_t x = p[i];
            struct st_isum *s = STATE(struct st_isum, i);
            if (pst_likely(x != INT64_MIN)) {
                s->n++;
                isum_add(s, x);
            }
        }
        return;
    }
    EACH(i)
    {
        int64_t x = p[PLACE(v, i)];
        if (x != INT64_MIN) {
            struct st_isum *s = STATE(struct st_isum, i);
            isum_add(s, x);
            s->n++;
        }
    }
}

/* The same without a branch. */
static inline double pick_float(bool second, double a, double b)
{
    uint64_t x, y, mask = -(uint64_t)second;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & ~mask) | (y & mask);
    memcpy(&a, &x, sizeof a);
    return a;
}
static inline double min_float_fresh(double a, double b)
{
    return pick_float((b < a) | (a != a), a, b);
}
static inline double max_float_fresh(double a, double b)
{
    return pick_float((b > a) | (a != a), a, b);
}

/*
 * Row by row a new extreme is rare: the store is behind a branch that is hardly ever taken (BETTER
 * is also true where either is null; FN then decides). Not so in groups of few rows: while they
 * come up fresh all the time there is no branch (FRESH, the same as FN).
 */
#define EXTREME(T, FN, FRESH, BETTER, KERNEL)                                                      \
    do {                                                                                           \
        const T *p = v.p;                                                                          \
        if (RUNS(v))                                                                               \
            EACH_RUN(k, from, len)                                                                 \
            {                                                                                      \
                T *s = STATE(T, from);                                                             \
                *s = FN(*s, kn->KERNEL(p + from, len));                                            \
            }                                                                                      \
        else if (DENSE(v) && r->fresh)                                                             \
            EACH(i)                                                                                \
            {                                                                                      \
                T *s = STATE(T, i);                                                                \
                *s = FRESH(*s, p[i]);                                                              \
            }                                                                                      \
        else if (DENSE(v))                                                                         \
            EACH(i)                                                                                \
            {                                                                                      \
                __builtin_prefetch(p + i + AHEAD);                                                 \
                T *s = STATE(T, i), x = p[i];                                                      \
                if (pst_unlikely(BETTER(x, *s)))                                                   \
                    *s = FN(*s, x);                                                                \
            }                                                                                      \
        else                                                                                       \
            EACH(i)                                                                                \
            {                                                                                      \
                T *s = STATE(T, i);                                                                \
                *s = FN(*s, p[PLACE(v, i)]);                                                       \
            }                                                                                      \
    } while (0)
#define INT_MORE(x, s)   ((x) > (s))
#define INT_LESS(x, s)   ((x) < (s) || (s) == INT64_MIN)
#define FLOAT_MORE(x, s) (!((x) <= (s)))
#define FLOAT_LESS(x, s) (!((x) >= (s)))

static void add_extreme(struct xthread *t, struct groups *g, struct agg *a, uint8_t *base,
                        uint32_t stride, const struct rows *r, struct vec v)
{
    bool max = a->pa->kind == PLAN_AGG_MAX;
    const struct kernels *kn = kernels();
    if (a->cls == C_I64) {
        if (max)
            EXTREME(int64_t, max_int, max_int, INT_MORE, max_i64);
        else
            EXTREME(int64_t, min_int, min_int, INT_LESS, min_i64);
        return;
    }
    if (a->cls == C_F64) {
        if (max)
            EXTREME(double, max_float, max_float_fresh, FLOAT_MORE, max_f64);
        else
            EXTREME(double, min_float, min_float_fresh, FLOAT_LESS, min_f64);
        return;
    }
    EACH(i)
    {
        struct st_value *s = STATE(struct st_value, i);
        uint32_t at = PLACE(v, i);
        if (x_null_at(a->cls, v.p, at))
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
        if (!byte && x_null_at(a->cls, v.p, at))
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

static void add_distinct(struct xthread *t, struct agg *a, const struct rows *r, struct vec v)
{
    struct scratch_mark m = x_mark(t);
    unsigned w = cls_width(a->cls);
    uint32_t n = 0, *id = x_scratch(t, r->n * sizeof *id + 8);
    if (t->x->p->nkeys == 0 && DENSE(v)) { /* NULL is kept as a value, and left out at the end */
        keyer_add(t, a->set, &v, r->n, id);
        x_reset(t, m);
        return;
    }
    int64_t *gid = x_scratch(t, r->n * sizeof *gid + 8);
    uint8_t *val = x_scratch(t, (uint64_t)r->n * w + 8);
    EACH(i)
    {
        uint32_t at = PLACE(v, i);
        gid[n] = r->group[i];
        memcpy(val + (uint64_t)n * w, (const uint8_t *)v.p + (uint64_t)at * w, w);
        n++;
    }
    struct vec kv[2] = {{gid, false}, {val, false}};
    keyer_add(t, a->set, t->x->p->nkeys ? kv : kv + 1, n, id);
    x_reset(t, m);
}

static void add_count(uint8_t *base, uint32_t stride, const struct rows *r)
{
    if (r->run)
        EACH_RUN(k, from, len)
    STATE(struct st_count, from)->n += len;
    else EACH(i) STATE(struct st_count, i)->n++;
}

static void add_agg(struct xthread *t, struct groups *g, struct agg *a, const struct rows *r,
                    const struct vec *v, struct vec time, int32_t date)
{
    uint8_t *base = g->state + a->at;
    uint32_t stride = g->stride;
    switch (a->pa->kind) {
    case PLAN_AGG_COUNT_STAR:
        add_count(base, stride, r);
        break;
    case PLAN_AGG_COUNT:
        if (a->pa->arg[0]->type == PST_BYTE) {
            add_count(base, stride, r);
        } else if (RUNS(v[0]) && (a->cls == C_I64 || a->cls == C_F64)) {
            const struct kernels *kn = kernels();
            EACH_RUN(k, from, len)
            STATE(struct st_count, from)->n +=
                a->cls == C_I64 ? kn->count_i64((const int64_t *)v[0].p + from, len)
                                : kn->count_f64((const double *)v[0].p + from, len);
        } else {
            EACH(i)
            STATE(struct st_count, i)->n += !x_null_at(a->cls, v[0].p, PLACE(v[0], i));
        }
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
        if (RUNS(v[0]) && !v[1].one) {
            const struct kernels *kn = kernels();
            EACH_RUN(k, from, len)
            {
                struct st_wavg *s = STATE(struct st_wavg, from);
                double wx, sw;
                kn->wavg(w + from, y + from, len, &wx, &sw);
                s->wx += wx;
                s->w += sw;
            }
        } else if (DENSE(v[0]) && !v[1].one) {
            EACH(i)
            {
                __builtin_prefetch(w + i + AHEAD);
                __builtin_prefetch(y + i + AHEAD);
                double wi = w[i], yi = y[i], m = wi * yi;
                bool have = (wi == wi) & (yi == yi);
                struct st_wavg *s = STATE(struct st_wavg, i);
                if (pst_likely(have)) {
                    s->wx += m;
                    s->w += wi;
                }
            }
        } else {
            EACH(i)
            {
                double wi = w[PLACE(v[0], i)], yi = y[PLACE(v[1], i)], m = wi * yi;
                bool have = (wi == wi) & (yi == yi);
                struct st_wavg *s = STATE(struct st_wavg, i);
                s->wx += have ? m : 0.0;
                s->w += have ? wi : 0.0;
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
            if (x_null_at(a->cls, v[0].p, at))
                continue;
            memcpy(&p->value[p->n], (const uint8_t *)v[0].p + at * 8ull, 8);
            p->group[p->n++] = r->group[i];
        }
        break;
    }
    case PLAN_AGG_COUNT_DISTINCT:
        add_distinct(t, a, r, v[0]);
        break;
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

/*
 * Rows of many groups: aggregate after aggregate over a block so short that the states it touches
 * stay in the first level of the cache, while those of the next block are on their way.
 */
#define BLOCK_ROWS   128u
#define BLOCK_STATES (256u << 10) /* bytes of all states from which on it is worth it */

uint32_t exec_block_rows;

struct blocked {
    struct agg *a;
    struct vec v[2], time;
};

static inline struct vec vec_from(struct vec v, unsigned width, uint32_t row)
{
    if (!v.one)
        v.p = (const uint8_t *)v.p + (uint64_t)row * width;
    return v;
}

static void add_blocked(struct xthread *t, struct groups *g, const struct blocked *b, uint32_t nb,
                        const uint32_t *id, uint32_t n, bool fresh, int32_t date)
{
    const uint8_t *state = g->state;
    const uint64_t stride = g->stride;
    /* states that are near in any case, or are gone through once: the whole batch at a time */
    const bool far = exec_block_rows || (nb > 1 && g->used * stride > BLOCK_STATES);
    const uint32_t rows = exec_block_rows ? exec_block_rows : far ? BLOCK_ROWS : n;
    for (uint32_t at = 0, fetched = 0; at < n; at += rows) {
        struct rows r = {n - at < rows ? n - at : rows, id + at, NULL, NULL, 0, fresh};
        uint32_t fetch = n - at < 2 * rows ? n : at + 2 * rows;
        for (; far && fetched < fetch; fetched++)
            __builtin_prefetch(state + id[fetched] * stride, 1);
        for (uint32_t i = 0; i < nb; i++) {
            const struct plan_agg *pa = b[i].a->pa;
            struct vec v[2] = {b[i].v[0], b[i].v[1]};
            for (unsigned k = 0; k < pa->nargs; k++)
                v[k] = vec_from(v[k], cls_width(cls_of(pa->arg[k]->type)), at);
            add_agg(t, g, b[i].a, &r, v, vec_from(b[i].time, 8, at), date);
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
    bool fresh = keyer_count(g->keys) - g->used > b->n / 256;
    groups_states(t, g);
    uint32_t *run = x_scratch(t, (b->n + 16ull) * sizeof *run), nruns;
    if (p->nkeys == 0) {
        run[0] = 0;
        nruns = 1;
    } else {
        nruns = kernels()->changes_u32(id, b->n, run);
        if (nruns > b->n / 16 + 1)
            run = NULL;
    }
    struct vec time = {NULL, true};
    int32_t date = b->nsides ? b->side[0].part->date : 0;
    struct blocked *block = x_scratch(t, (g->naggs + 1) * sizeof *block);
    uint32_t nblocked = 0;
    for (uint32_t i = 0; i < g->naggs; i++) {
        struct agg *a = &g->agg[i];
        const struct plan_agg *pa = a->pa;
        struct rows r = {b->n, id, NULL, run, nruns, fresh};
        struct batch *from = b, sub;
        if (pa->filter) {
            uint32_t *sel = x_scratch(t, (uint64_t)b->n * sizeof *sel + 64);
            uint32_t n = eval_true(t, b, pa->filter, sel);
            if (n == 0)
                continue;
            if (n < b->n) {
                uint32_t *gid = x_scratch(t, (uint64_t)n * sizeof *gid);
                for (uint32_t k = 0; k < n; k++)
                    gid[k] = id[sel[k]];
                r = (struct rows){n, gid, sel, NULL, 0, fresh};
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
        if (!run && r.group == id && pa->kind != PLAN_AGG_QUANTILE && !a->set)
            block[nblocked++] = (struct blocked){a, {v[0], v[1]}, time};
        else
            add_agg(t, g, a, &r, v, time, date);
    }
    if (nblocked)
        add_blocked(t, g, block, nblocked, id, b->n, fresh, date);
}
