/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions over the rows of a batch. A node is evaluated once a batch (plan.h: equal nodes are
 * one). What has no kernel here goes through scalar_apply, value by value.
 */
#include "arena.h"
#include "exec_int.h"
#include "exec_kernels.h"
#include "scalar.h"

void batch_init(struct xthread *t, struct batch *b)
{
    uint64_t bytes = (uint64_t)(t->x->p->nexprs + 1) * sizeof *b->cache;
    b->cache = memset(x_scratch(t, bytes), 0, bytes);
}

void batch_narrow(struct xthread *t, const struct batch *b, const uint32_t *sel, uint32_t n,
                  struct batch *out)
{
    struct batch r = *b;
    r.n = n;
    for (unsigned k = 0; k < b->nsides; k++) {
        const struct side *s = &b->side[k];
        if (!s->part && !s->refs)
            continue; /* a side without rows: before the match, or while the right one is read */
        if (s->refs) {
            uint64_t *refs = x_scratch(t, (uint64_t)n * sizeof *refs);
            for (uint32_t i = 0; i < n; i++)
                refs[i] = s->refs[sel[i]];
            r.side[k].refs = refs;
            continue;
        }
        uint32_t *rows = x_scratch(t, (uint64_t)n * sizeof *rows);
        if (s->chunk)
            for (uint32_t i = 0; i < n; i++)
                rows[i] = s->chunk->first + s->off + sel[i];
        else
            for (uint32_t i = 0; i < n; i++)
                rows[i] = s->rows[sel[i]];
        r.side[k].chunk = NULL;
        r.side[k].rows = rows;
    }
    if (b->groups) {
        struct group_vectors *g = x_scratch(t, sizeof *g);
        uint32_t *gs = x_scratch(t, (uint64_t)n * sizeof *gs);
        *g = *b->groups;
        for (uint32_t i = 0; i < n; i++)
            gs[i] = b->groups->sel ? b->groups->sel[sel[i]] : (uint32_t)b->groups->first + sel[i];
        g->sel = gs;
        r.groups = g;
    }
    batch_init(t, &r);
    *out = r;
}

const void *vec_flat(struct xthread *t, struct vec v, enum cls c, uint32_t n)
{
    if (!v.one)
        return v.p;
    unsigned w = cls_width(c);
    uint8_t *out = x_scratch(t, (uint64_t)n * w + 1);
    switch (w) {
    case 1:
        memset(out, *(const uint8_t *)v.p, n);
        break;
    case 4:
        for (uint32_t i = 0; i < n; i++)
            ((uint32_t *)out)[i] = *(const uint32_t *)v.p;
        break;
    case 8:
        for (uint32_t i = 0; i < n; i++)
            ((uint64_t *)out)[i] = *(const uint64_t *)v.p;
        break;
    default:
        for (uint32_t i = 0; i < n; i++)
            ((struct guid *)out)[i] = *(const struct guid *)v.p;
        break;
    }
    return out;
}

const void *eval_flat(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    return vec_flat(t, eval(t, b, e), cls_of(e->type), b->n);
}

uint32_t eval_true(struct xthread *t, struct batch *b, const struct plan_expr *e, uint32_t *sel)
{
    struct vec v = eval(t, b, e);
    uint32_t k = 0;
    if (v.one) {
        if (*(const uint8_t *)v.p == 1)
            for (; k < b->n; k++)
                sel[k] = k;
        return k;
    }
    return kernels()->true_u8(v.p, b->n, sel);
}

/* ---- scalars ---- */

static const struct guid null_guid;

static void to_scalar(const struct exec *x, uint8_t type, const void *p, uint64_t i,
                      struct scalar *s)
{
    *s = (struct scalar){.type = type};
    switch (cls_of(type)) {
    case C_BOOL:
        s->i = ((const uint8_t *)p)[i];
        s->null = s->i == PLAN_BOOL_NULL;
        break;
    case C_I64:
        s->i = ((const int64_t *)p)[i];
        s->null = s->i == INT64_MIN;
        break;
    case C_F64:
        s->f = ((const double *)p)[i];
        s->null = isnan(s->f);
        break;
    case C_SYM: {
        uint32_t code = ((const uint32_t *)p)[i];
        s->text.p = x_sym_text(x, code, &s->text.len);
        s->null = s->text.len == 0;
        break;
    }
    case C_TEXT:
        s->text = ((const struct plan_text *)p)[i];
        s->null = s->text.len == 0;
        break;
    case C_GUID:
        memcpy(s->guid, (const struct guid *)p + i, 16);
        s->null = !memcmp(s->guid, &null_guid, 16);
        break;
    }
}

static void from_scalar(struct xthread *t, uint8_t type, const struct scalar *s, void *p,
                        uint64_t i)
{
    switch (cls_of(type)) {
    case C_BOOL:
        ((uint8_t *)p)[i] = s->null ? PLAN_BOOL_NULL : (uint8_t)s->i;
        break;
    case C_I64:
        ((int64_t *)p)[i] = s->null ? INT64_MIN : s->i;
        break;
    case C_F64:
        ((double *)p)[i] = s->null ? NAN : s->f;
        break;
    case C_SYM:
        ((uint32_t *)p)[i] = s->null ? PST_NULL_SYMBOL : x_sym_code(t, s->text.p, s->text.len);
        break;
    case C_TEXT:
        ((struct plan_text *)p)[i] = s->null ? (struct plan_text){"", 0} : s->text;
        break;
    case C_GUID:
        if (s->null)
            memset((struct guid *)p + i, 0, 16);
        else
            memcpy((struct guid *)p + i, s->guid, 16);
        break;
    }
}

/* A constant as one value of its class. */
static struct vec constant(struct xthread *t, const struct plan_expr *e)
{
    void *p = x_scratch(t, 16);
    struct scalar s = {.type = e->type, .null = e->is_null};
    memcpy(s.guid, &e->value, sizeof s.guid); /* the same union */
    if (e->type == PST_SYMBOL)
        *(uint32_t *)p = t->x->const_code[e->id];
    else
        from_scalar(t, e->type, &s, p, 0);
    return (struct vec){p, true};
}

static struct vec by_scalar(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    uint32_t n = b->n;
    struct vec *arg = x_scratch(t, e->nargs * sizeof *arg);
    bool one = true;
    for (unsigned k = 0; k < e->nargs; k++) {
        arg[k] = eval(t, b, e->arg[k]);
        one &= arg[k].one;
    }
    if (one && n)
        n = 1;
    uint8_t *out = x_scratch(t, (uint64_t)n * cls_width(cls_of(e->type)) + 1);
    struct scalar *s = x_scratch(t, e->nargs * sizeof *s), r;
    if (!t->texts && !(t->texts = arena_new(t->x->p->limits.memory_max)))
        x_throw(t, QUERY_LIMIT, -1, "no memory");
    struct query_error err;
    for (unsigned k = 0; k < e->nargs; k++)
        if (arg[k].one)
            to_scalar(t->x, e->arg[k]->type, arg[k].p, 0, &s[k]);
    for (uint32_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < e->nargs; k++)
            if (!arg[k].one)
                to_scalar(t->x, e->arg[k]->type, arg[k].p, i, &s[k]);
        if (!scalar_apply(e, s, t->texts, &r, &err))
            x_rethrow(t, &err);
        from_scalar(t, e->type, &r, out, i);
    }
    if (t->texts->failed)
        x_throw(t, QUERY_LIMIT, e->pos, "no memory for the texts that this expression makes");
    return (struct vec){out, one};
}

/* ---- leaves of a group context ---- */

static struct vec group_leaf(struct xthread *t, const struct batch *b, const struct plan_expr *e)
{
    const struct group_vectors *g = b->groups;
    const uint8_t *p = e->op == PLAN_KEY ? g->key[e->column] : g->agg[e->column];
    unsigned w = cls_width(cls_of(e->type));
    if (!g->sel)
        return (struct vec){p + g->first * w, false};
    uint8_t *out = x_scratch(t, (uint64_t)b->n * w);
    for (uint32_t i = 0; i < b->n; i++)
        memcpy(out + (size_t)i * w, p + (uint64_t)g->sel[i] * w, w);
    return (struct vec){out, false};
}

/* ---- choice: each branch for the rows that reach it ---- */

static void scatter(uint8_t *out, const uint32_t *sel, uint32_t n, struct vec v, unsigned w)
{
    for (uint32_t i = 0; i < n; i++)
        memcpy(out + (size_t)sel[i] * w, (const uint8_t *)v.p + (v.one ? 0 : (size_t)i * w), w);
}

/* Evaluates e for the rows `sel` of b and puts them at those places of out. */
static void branch(struct xthread *t, struct batch *b, const struct plan_expr *e,
                   const uint32_t *sel, uint32_t n, uint8_t *out)
{
    unsigned w = cls_width(cls_of(e->type));
    if (n == 0)
        return;
    if (n == b->n) {
        scatter(out, sel, n, eval(t, b, e), w);
        return;
    }
    struct batch sub;
    batch_narrow(t, b, sel, n, &sub);
    scatter(out, sel, n, eval(t, &sub, e), w);
}

static struct vec eval_case(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    uint8_t *out = x_scratch(t, (uint64_t)b->n * cls_width(cls_of(e->type)) + 1);
    uint8_t *cond = x_scratch(t, b->n + 1);
    uint32_t *left = x_scratch(t, (uint64_t)b->n * 4 + 4), nleft = b->n;
    uint32_t *take = x_scratch(t, (uint64_t)b->n * 4 + 4);
    for (uint32_t i = 0; i < b->n; i++)
        left[i] = i;
    for (unsigned k = 0; k + 1 < e->nargs && nleft; k += 2) {
        branch(t, b, e->arg[k], left, nleft, cond);
        uint32_t nt = 0, nl = 0;
        for (uint32_t i = 0; i < nleft; i++)
            if (cond[left[i]] == 1)
                take[nt++] = left[i];
            else
                left[nl++] = left[i];
        nleft = nl;
        branch(t, b, e->arg[k + 1], take, nt, out);
    }
    branch(t, b, e->arg[e->nargs - 1], left, nleft, out);
    return (struct vec){out, false};
}

static struct vec eval_coalesce(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    enum cls c = cls_of(e->type);
    uint8_t *out = x_scratch(t, (uint64_t)b->n * cls_width(c) + 1);
    uint32_t *left = x_scratch(t, (uint64_t)b->n * 4 + 4), nleft = b->n;
    for (uint32_t i = 0; i < b->n; i++)
        left[i] = i;
    for (unsigned k = 0; k < e->nargs && nleft; k++) {
        branch(t, b, e->arg[k], left, nleft, out);
        uint32_t nl = 0;
        for (uint32_t i = 0; i < nleft; i++)
            if (x_null_at(c, out, left[i]))
                left[nl++] = left[i];
        nleft = nl;
    }
    return (struct vec){out, false};
}

/* ---- logic ---- */

static struct vec eval_and_or(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    /* 0, NULL = 2, 1 ordered as false < NULL < true: AND is the least, OR the greatest */
    static const uint8_t rank[4] = {0, 2, 1, 1}, back[4] = {0, PLAN_BOOL_NULL, 1, 1};
    uint8_t stop = e->op == PLAN_AND ? 0 : 2;
    uint8_t *out = x_scratch(t, b->n + 1), *v = x_scratch(t, b->n + 1);
    uint32_t *left = x_scratch(t, (uint64_t)b->n * 4 + 4), nleft = b->n;
    memset(out, 2 - stop, b->n);
    for (uint32_t i = 0; i < b->n; i++)
        left[i] = i;
    for (unsigned k = 0; k < e->nargs && nleft; k++) {
        if (!e->arg[k]->can_fail && nleft > b->n / 8) {
            /* cheaper for all rows than for some */
            struct vec a = eval(t, b, e->arg[k]);
            const uint8_t *p = a.p;
            for (uint32_t i = 0; i < b->n; i++) {
                uint8_t r = rank[p[a.one ? 0 : i] & 3];
                out[i] = e->op == PLAN_AND ? (r < out[i] ? r : out[i]) : (r > out[i] ? r : out[i]);
            }
        } else {
            branch(t, b, e->arg[k], left, nleft, v);
            for (uint32_t j = 0; j < nleft; j++) {
                uint32_t i = left[j];
                uint8_t r = rank[v[i] & 3];
                out[i] = e->op == PLAN_AND ? (r < out[i] ? r : out[i]) : (r > out[i] ? r : out[i]);
            }
        }
        uint32_t nl = 0;
        for (uint32_t j = 0; j < nleft; j++)
            if (out[left[j]] != stop)
                left[nl++] = left[j];
        nleft = nl;
    }
    for (uint32_t i = 0; i < b->n; i++)
        out[i] = back[out[i]];
    return (struct vec){out, false};
}

static struct vec eval_bool1(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]);
    uint32_t n = a.one && b->n ? 1 : b->n;
    const uint8_t *p = a.p;
    uint8_t *out = x_scratch(t, n + 1);
    for (uint32_t i = 0; i < n; i++)
        out[i] = e->op == PLAN_NOT       ? (p[i] == PLAN_BOOL_NULL ? PLAN_BOOL_NULL : !p[i])
                 : e->op == PLAN_IS_TRUE ? p[i] == 1
                                         : p[i] == 0;
    return (struct vec){out, a.one};
}

static struct vec eval_is_null(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]);
    uint32_t n = a.one && b->n ? 1 : b->n;
    enum cls c = cls_of(e->arg[0]->type);
    uint8_t *out = x_scratch(t, n + 1);
    if (e->arg[0]->type == PST_BYTE)
        memset(out, 0, n);
    else
        for (uint32_t i = 0; i < n; i++)
            out[i] = x_null_at(c, a.p, i);
    return (struct vec){out, a.one};
}

/* ---- comparison ---- */

static uint8_t compare_bool(unsigned op, int c)
{
    switch (op) {
    case PLAN_EQ:
        return c == 0;
    case PLAN_NE:
        return c != 0;
    case PLAN_LT:
        return c < 0;
    case PLAN_LE:
        return c <= 0;
    case PLAN_GT:
        return c > 0;
    default:
        return c >= 0;
    }
}

/* A loop each for vector-vector, vector-one and one-vector, so that each is a plain one. */
#define PAIRS(T, BODY)                                                                             \
    do {                                                                                           \
        const T *pa = a.p, *pb = c.p;                                                              \
        if (a.one && c.one)                                                                        \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                T u = *pa, v = *pb;                                                                \
                BODY;                                                                              \
            }                                                                                      \
        else if (a.one)                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                T u = *pa, v = pb[i];                                                              \
                BODY;                                                                              \
            }                                                                                      \
        else if (c.one)                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                T u = pa[i], v = *pb;                                                              \
                BODY;                                                                              \
            }                                                                                      \
        else                                                                                       \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                T u = pa[i], v = pb[i];                                                            \
                BODY;                                                                              \
            }                                                                                      \
    } while (0)

#define COMPARE(T, ISNULL, OP)                                                                     \
    PAIRS(T, out[i] = (ISNULL(u) | ISNULL(v)) ? (uint8_t)PLAN_BOOL_NULL : (uint8_t)(u OP v))
#define COMPARE_OPS(T, ISNULL)                                                                     \
    switch (e->op) {                                                                               \
    case PLAN_EQ:                                                                                  \
        COMPARE(T, ISNULL, ==);                                                                    \
        break;                                                                                     \
    case PLAN_NE:                                                                                  \
        COMPARE(T, ISNULL, !=);                                                                    \
        break;                                                                                     \
    case PLAN_LT:                                                                                  \
        COMPARE(T, ISNULL, <);                                                                     \
        break;                                                                                     \
    case PLAN_LE:                                                                                  \
        COMPARE(T, ISNULL, <=);                                                                    \
        break;                                                                                     \
    case PLAN_GT:                                                                                  \
        COMPARE(T, ISNULL, >);                                                                     \
        break;                                                                                     \
    default:                                                                                       \
        COMPARE(T, ISNULL, >=);                                                                    \
        break;                                                                                     \
    }

#define I64_NULL(v)  ((v) == INT64_MIN)
#define F64_NULL(v)  ((v) != (v))
#define BOOL_NULL(v) ((v) == PLAN_BOOL_NULL)
#define SYM_NULL(v)  ((v) == PST_NULL_SYMBOL)

static int cls_cmp(const struct exec *x, enum cls c, const void *a, const void *b)
{
    switch (c) {
    case C_BOOL:
        return (int)*(const uint8_t *)a - (int)*(const uint8_t *)b;
    case C_I64: {
        int64_t u = *(const int64_t *)a, v = *(const int64_t *)b;
        return u < v ? -1 : u > v;
    }
    case C_F64: {
        double u = *(const double *)a, v = *(const double *)b;
        return u < v ? -1 : u > v;
    }
    case C_SYM:
        return x_sym_cmp(x, *(const uint32_t *)a, *(const uint32_t *)b);
    case C_TEXT: {
        const struct plan_text *u = a, *v = b;
        return text_cmp(u->p, u->len, v->p, v->len);
    }
    default:
        return memcmp(a, b, 16);
    }
}

static struct vec eval_compare(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]), c = eval(t, b, e->arg[1]);
    bool one = a.one && c.one;
    uint32_t n = one && b->n ? 1 : b->n;
    uint8_t *out = x_scratch(t, n + 1);
    enum cls k = cls_of(e->arg[0]->type);
    switch (k) {
    case C_I64:
        COMPARE_OPS(int64_t, I64_NULL);
        break;
    case C_F64:
        COMPARE_OPS(double, F64_NULL);
        break;
    case C_BOOL:
        COMPARE_OPS(uint8_t, BOOL_NULL);
        break;
    case C_SYM:
        if (e->op == PLAN_EQ)
            COMPARE(uint32_t, SYM_NULL, ==);
        else if (e->op == PLAN_NE)
            COMPARE(uint32_t, SYM_NULL, !=);
        else
            PAIRS(uint32_t, out[i] = (SYM_NULL(u) | SYM_NULL(v))
                                         ? (uint8_t)PLAN_BOOL_NULL
                                         : compare_bool(e->op, x_sym_cmp(t->x, u, v)));
        break;
    default: {
        unsigned w = cls_width(k);
        for (uint32_t i = 0; i < n; i++) {
            const uint8_t *u = (const uint8_t *)a.p + (a.one ? 0 : (size_t)i * w);
            const uint8_t *v = (const uint8_t *)c.p + (c.one ? 0 : (size_t)i * w);
            out[i] = x_null_at(k, u, 0) || x_null_at(k, v, 0)
                         ? PLAN_BOOL_NULL
                         : compare_bool(e->op, cls_cmp(t->x, k, u, v));
        }
    }
    }
    return (struct vec){out, one};
}

static struct vec eval_distinct_from(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]), c = eval(t, b, e->arg[1]);
    bool one = a.one && c.one;
    uint32_t n = one && b->n ? 1 : b->n;
    uint8_t *out = x_scratch(t, n + 1);
    enum cls k = cls_of(e->arg[0]->type);
    unsigned w = cls_width(k);
    bool byte = e->arg[0]->type == PST_BYTE;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *u = (const uint8_t *)a.p + (a.one ? 0 : (size_t)i * w);
        const uint8_t *v = (const uint8_t *)c.p + (c.one ? 0 : (size_t)i * w);
        bool un = !byte && x_null_at(k, u, 0), vn = !byte && x_null_at(k, v, 0);
        out[i] = un || vn ? un != vn : cls_cmp(t->x, k, u, v) != 0;
    }
    return (struct vec){out, one};
}

static struct vec eval_in(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]);
    uint32_t n = a.one && b->n ? 1 : b->n, m = e->nargs - 1u;
    uint8_t *out = x_scratch(t, n + 1);
    enum cls k = cls_of(e->arg[0]->type);
    unsigned w = cls_width(k);
    uint8_t *list = x_scratch(t, (uint64_t)m * w + 1);
    for (uint32_t j = 0; j < m; j++)
        memcpy(list + (size_t)j * w, constant(t, e->arg[j + 1]).p, w);
    if (k == C_SYM) {
        /* by code; sorted by text, so look through all: short lists, and long ones as a set */
        const uint32_t *p = a.p, *l = (const uint32_t *)list;
        uint32_t slots = 4;
        while (slots < 2 * m)
            slots *= 2;
        uint32_t *set = memset(x_scratch(t, (uint64_t)slots * 4), 0xff, (uint64_t)slots * 4);
        for (uint32_t j = 0; j < m; j++) {
            uint32_t s = l[j] * 2654435761u & (slots - 1);
            while (set[s] != UINT32_MAX)
                s = (s + 1) & (slots - 1);
            set[s] = l[j];
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t s = p[i] * 2654435761u & (slots - 1);
            while (set[s] != UINT32_MAX && set[s] != p[i])
                s = (s + 1) & (slots - 1);
            out[i] = SYM_NULL(p[i]) ? PLAN_BOOL_NULL : set[s] == p[i];
        }
        return (struct vec){out, a.one};
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *u = (const uint8_t *)a.p + (size_t)i * w;
        if (x_null_at(k, u, 0)) {
            out[i] = PLAN_BOOL_NULL;
            continue;
        }
        uint32_t lo = 0, hi = m;
        out[i] = 0;
        while (lo < hi) {
            uint32_t mid = (lo + hi) / 2;
            int c = cls_cmp(t->x, k, u, list + (size_t)mid * w);
            if (c == 0) {
                out[i] = 1;
                break;
            }
            if (c < 0)
                hi = mid;
            else
                lo = mid + 1;
        }
    }
    return (struct vec){out, a.one};
}

/* ---- arithmetic ---- */

/* Finds the row that overflowed and says what would have come. */
__attribute__((noreturn)) static void overflow(struct xthread *t, const struct plan_expr *e)
{
    x_throw(t, QUERY_VALUE, e->pos, "integer overflow: a result of %s does not fit in a %s",
            plan_op_name(e->op), type_name(e->type));
}

static inline int64_t bucket(int64_t x, int64_t width, int64_t origin, bool *bad)
{
    int64_t d, r;
    if (__builtin_sub_overflow(x, origin, &d)) {
        *bad = true;
        return 0;
    }
    r = d % width;
    r += r < 0 ? width : 0;
    *bad |= __builtin_sub_overflow(x, r, &d) || d == INT64_MIN;
    return d;
}

static struct vec eval_arith_int(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]), c = eval(t, b, e->arg[1]);
    bool one = a.one && c.one, bad = false;
    uint32_t n = one && b->n ? 1 : b->n;
    int64_t *out = x_scratch(t, (uint64_t)n * 8 + 8);
#define INT_OP(BUILTIN)                                                                            \
    PAIRS(int64_t, {                                                                               \
        int64_t r;                                                                                 \
        bool null = (u == INT64_MIN) | (v == INT64_MIN);                                           \
        bool o = BUILTIN(u, v, &r) | (r == INT64_MIN);                                             \
        bad |= o & !null;                                                                          \
        out[i] = null ? INT64_MIN : r;                                                             \
    })
    switch (e->op) {
    case PLAN_ADD:
        INT_OP(__builtin_add_overflow);
        break;
    case PLAN_SUB:
        INT_OP(__builtin_sub_overflow);
        break;
    case PLAN_MUL:
        INT_OP(__builtin_mul_overflow);
        break;
    case PLAN_DIV:
        PAIRS(int64_t, out[i] = u == INT64_MIN || v == INT64_MIN || v == 0 ? INT64_MIN : u / v);
        break;
    default:
        PAIRS(int64_t, out[i] = u == INT64_MIN || v == INT64_MIN || v == 0 ? INT64_MIN
                                : v == -1                                  ? 0
                                                                           : u % v);
        break;
    }
    if (bad)
        overflow(t, e);
    return (struct vec){out, one};
}

static struct vec eval_arith_float(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]), c = eval(t, b, e->arg[1]);
    bool one = a.one && c.one;
    uint32_t n = one && b->n ? 1 : b->n;
    double *out = x_scratch(t, (uint64_t)n * 8 + 8);
    switch (e->op) {
    case PLAN_ADD:
        PAIRS(double, out[i] = u + v);
        break;
    case PLAN_SUB:
        PAIRS(double, out[i] = u - v);
        break;
    case PLAN_MUL:
        PAIRS(double, out[i] = u * v);
        break;
    case PLAN_DIV:
        PAIRS(double, out[i] = u / v);
        break;
    default:
        PAIRS(double, out[i] = fmod(u, v));
        break;
    }
    return (struct vec){out, one};
}

static struct vec eval_bucket(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec a = eval(t, b, e->arg[0]);
    int64_t width = e->arg[1]->value.i, origin = e->arg[2]->value.i;
    uint32_t n = a.one && b->n ? 1 : b->n;
    const int64_t *p = a.p;
    int64_t *out = x_scratch(t, (uint64_t)n * 8 + 8);
    bool bad = false;
    int64_t lo = 1, hi = 0, at = 0; /* the bucket of the row before, [lo, hi) */
    for (uint32_t i = 0; i < n; i++) {
        if (p[i] >= lo && p[i] < hi) {
            out[i] = at;
        } else if (p[i] == INT64_MIN) {
            out[i] = INT64_MIN;
        } else {
            out[i] = at = bucket(p[i], width, origin, &bad);
            lo = at;
            if (__builtin_add_overflow(at, width, &hi))
                hi = INT64_MAX;
        }
    }
    if (bad)
        overflow(t, e);
    return (struct vec){out, a.one};
}

/* ---- casts that need no scalar ---- */

static bool is_plain_int(uint8_t t)
{
    return t == PST_BYTE || t == PST_SHORT || t == PST_INT || t == PST_LONG;
}

static bool eval_cast(struct xthread *t, struct batch *b, const struct plan_expr *e,
                      struct vec *out)
{
    uint8_t from = e->arg[0]->type, to = e->type;
    bool to64 = to == PST_LONG || to == PST_TIMESTAMP || to == PST_TIMESPAN;
    if (from == to || (is_plain_int(from) && to64) ||
        (to == PST_LONG && cls_of(from) == C_I64 && from != PST_CHAR) ||
        (from == PST_BYTE && (to == PST_SHORT || to == PST_INT)) ||
        (from == PST_SHORT && to == PST_INT) || (from == PST_REAL && to == PST_FLOAT)) {
        *out = eval(t, b, e->arg[0]); /* the class holds it as it is */
        return true;
    }
    if (cls_of(from) == C_I64 && to == PST_FLOAT && from != PST_CHAR) {
        struct vec a = eval(t, b, e->arg[0]);
        uint32_t n = a.one && b->n ? 1 : b->n;
        double *r = x_scratch(t, (uint64_t)n * 8 + 8);
        kernels()->int_to_float(a.p, n, r);
        *out = (struct vec){r, a.one};
        return true;
    }
    if (from == PST_FLOAT && to == PST_REAL) {
        struct vec a = eval(t, b, e->arg[0]);
        uint32_t n = a.one && b->n ? 1 : b->n;
        double *r = x_scratch(t, (uint64_t)n * 8 + 8);
        const double *p = a.p;
        for (uint32_t i = 0; i < n; i++)
            r[i] = (double)(float)p[i];
        *out = (struct vec){r, a.one};
        return true;
    }
    if (from == PST_SYMBOL && to == PST_STRING) {
        struct vec a = eval(t, b, e->arg[0]);
        uint32_t n = a.one && b->n ? 1 : b->n;
        struct plan_text *r = x_scratch(t, (uint64_t)n * sizeof *r + 1);
        const uint32_t *p = a.p;
        for (uint32_t i = 0; i < n; i++)
            r[i].p = x_sym_text(t->x, p[i], &r[i].len);
        *out = (struct vec){r, a.one};
        return true;
    }
    return false;
}

/* ---- the node ---- */

static struct vec eval_node(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec v;
    switch (e->op) {
    case PLAN_CONST:
        return constant(t, e);
    case PLAN_COLUMN:
        return load_column(t, b, e->side, e->column);
    case PLAN_KEY:
    case PLAN_AGG:
        return group_leaf(t, b, e);
    case PLAN_CAST:
        if (eval_cast(t, b, e, &v))
            return v;
        return by_scalar(t, b, e);
    case PLAN_ADD:
    case PLAN_SUB:
    case PLAN_MUL:
    case PLAN_DIV:
    case PLAN_MOD:
        return cls_of(e->arg[0]->type) == C_F64 ? eval_arith_float(t, b, e)
                                                : eval_arith_int(t, b, e);
    case PLAN_EQ:
    case PLAN_NE:
    case PLAN_LT:
    case PLAN_LE:
    case PLAN_GT:
    case PLAN_GE:
        return eval_compare(t, b, e);
    case PLAN_DISTINCT_FROM:
        return eval_distinct_from(t, b, e);
    case PLAN_IN:
        return eval_in(t, b, e);
    case PLAN_IS_NULL:
        return eval_is_null(t, b, e);
    case PLAN_AND:
    case PLAN_OR:
        return eval_and_or(t, b, e);
    case PLAN_NOT:
    case PLAN_IS_TRUE:
    case PLAN_IS_FALSE:
        return eval_bool1(t, b, e);
    case PLAN_CASE:
        return eval_case(t, b, e);
    case PLAN_COALESCE:
        return eval_coalesce(t, b, e);
    case PLAN_BUCKET:
        return eval_bucket(t, b, e);
    default:
        return by_scalar(t, b, e);
    }
}

struct vec eval(struct xthread *t, struct batch *b, const struct plan_expr *e)
{
    struct vec *c = &b->cache[e->id];
    if (!c->p)
        *c = eval_node(t, b, e);
    return *c;
}

/* ---- constants ---- */

static void prepare(struct xthread *t, const struct plan_expr *e, uint8_t *seen)
{
    if (!e || seen[e->id])
        return;
    seen[e->id] = 1;
    if (e->op == PLAN_CONST && e->type == PST_SYMBOL)
        t->x->const_code[e->id] =
            e->is_null ? PST_NULL_SYMBOL : x_sym_code(t, e->value.text.p, e->value.text.len);
    for (unsigned i = 0; i < e->nargs; i++)
        prepare(t, e->arg[i], seen);
}

void eval_prepare(struct xthread *t, struct exec *x)
{
    const struct plan *p = x->p;
    uint8_t *seen = x_zalloc(t, p->nexprs + 1);
    x->const_code = x_zalloc(t, (p->nexprs + 1) * sizeof *x->const_code);
    for (unsigned s = 0; s < p->nscans; s++)
        for (uint32_t i = 0; i < p->scan[s].nwhere; i++)
            prepare(t, p->scan[s].where[i].expr, seen);
    for (uint32_t i = 0; i < p->nwhere; i++)
        prepare(t, p->where[i].expr, seen);
    for (uint32_t i = 0; i < p->nkeys; i++)
        prepare(t, p->key[i], seen);
    for (uint32_t i = 0; i < p->naggs; i++) {
        for (unsigned k = 0; k < p->agg[i].nargs; k++)
            prepare(t, p->agg[i].arg[k], seen);
        prepare(t, p->agg[i].filter, seen);
    }
    prepare(t, p->having, seen);
    for (uint32_t i = 0; i < p->noutputs; i++)
        prepare(t, p->output[i].expr, seen);
    for (uint32_t i = 0; i < p->nlatest; i++)
        prepare(t, p->latest[i], seen);
    x_free(x, seen);
}
