/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x IN (SELECT ...), (x, y) IN (SELECT ...): the inner query is run first, by itself, and its rows
 * become constants: IN lists, one for each combination of the values before the last.
 *
 * Binding alone runs nothing (query.h, query_plan): the plan has a placeholder then and is marked.
 * query_run binds a marked one again, with the bounds that the first binding found: where `date` is
 * compared with `date`, the inner query reads no other dates than the outer one.
 */
#include "bind.h"
#include "exec.h"

#define SUB_DEPTH 4u
#define SUB_ROWS  100000u

struct sub {
    struct binder *b;
    int64_t pos;
    unsigned n; /* columns */
    struct plan_expr *test[PLAN_KEYS_MAX];
    const struct result *r;
    struct plan_expr **cell; /* row by row */
    uint32_t *row;           /* ordered */
};

/* ---- running it ---- */

static bool tests_of(struct sub *s, const tree *n)
{
    const PgQuery__RowExpr *row =
        n && n->node_case == PG_QUERY__NODE__NODE_ROW_EXPR ? n->row_expr : NULL;
    size_t count = row ? row->n_args : 1;
    if (count > PLAN_KEYS_MAX) {
        return query_error_set(s->b->e, QUERY_UNSUPPORTED, s->pos,
                               "a row before IN takes at most %u values", PLAN_KEYS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        s->test[i] = bind_expr(s->b, row ? row->args[i] : n);
        if (!s->test[i]) {
            return false;
        }
    }
    s->n = (unsigned)count;
    return true;
}

/* Rows of other dates cannot be equal. */
static void bound(const struct sub *s, struct plan *p)
{
    const struct plan_bounds *o = s->b->q->within;
    struct plan_bounds *i = &p->scan[0].bounds;
    bool date = false;
    for (unsigned k = 0; k < s->n && p->nscans == 1 && !p->grouped && !p->nlatest; k++) {
        const struct plan_expr *x = s->test[k], *y = p->output[k].expr;
        date |= x->op == PLAN_COLUMN && x->column == 0 && x->side == 0 && y->op == PLAN_COLUMN &&
                y->column == 0;
    }
    if (!date || p->call || p->limit != UINT64_MAX || p->offset) {
        return;
    }
    i->day_lo = o->day_lo > i->day_lo ? o->day_lo : i->day_lo;
    i->day_hi = o->day_hi < i->day_hi ? o->day_hi : i->day_hi;
    if (o->days && !i->days) {
        i->days = o->days;
        i->ndays = o->ndays;
    }
}

static bool inner_plan(struct sub *s, const select_tree *t, struct plan **out)
{
    struct binder *b = s->b;
    struct query_request q = *b->q;
    struct query_error *e = b->e;
    q.depth++;
    if (q.depth > SUB_DEPTH) {
        return query_error_set(e, QUERY_UNSUPPORTED, s->pos,
                               "SELECTs stand within SELECTs too deeply (over %u)", SUB_DEPTH);
    }
    struct plan *p = bind_select(b->env, &q, b->rw, t, e);
    if (!p) {
        return false;
    }
    uint32_t n = p->noutputs - p->nhidden;
    bool call = p->call;
    if (call || n != s->n) {
        plan_free(p);
        return query_error_set(e, QUERY_TYPE, s->pos,
                               call ? "a named query cannot stand in an inner SELECT"
                                    : "IN compares %u value%s with the %u column%s of its SELECT",
                               s->n, s->n == 1 ? "" : "s", n, n == 1 ? "" : "s");
    }
    *out = p;
    return true;
}

/* ---- its rows as constants ---- */

static struct plan_expr *constant(struct sub *s, unsigned col, uint64_t row)
{
    const struct result *r = s->r;
    uint8_t type = r->col[col].type;
    if (result_is_null(r, col, row)) {
        return bind_null(s->b, type, s->pos);
    }
    struct scalar v = {.type = type};
    uint32_t len;
    const char *text;
    switch (type) {
    case PST_SYMBOL:
    case PST_STRING:
        text = result_text(r, col, row, &len);
        v.text = (struct plan_text){arena_text(s->b->a, text, len), len};
        break;
    case PST_REAL:
    case PST_FLOAT:
        v.f = result_float(r, col, row);
        break;
    case PST_GUID:
        memcpy(v.guid, (const uint8_t *)r->col[col].data + 16 * row, 16);
        break;
    default:
        v.i = result_int(r, col, row);
    }
    return s->b->a->failed ? NULL : bind_const(s->b, &v, s->pos);
}

/* Order of rows by all columns but the last; NULL last. */
static int by_prefix(const void *x, const void *y, void *arg)
{
    const struct sub *s = arg;
    struct plan_expr *const *a = s->cell + (size_t) * (const uint32_t *)x * s->n;
    struct plan_expr *const *b = s->cell + (size_t) * (const uint32_t *)y * s->n;
    for (unsigned i = 0; i + 1 < s->n; i++) {
        if (a[i]->is_null || b[i]->is_null) {
            if (a[i]->is_null != b[i]->is_null) {
                return a[i]->is_null ? 1 : -1;
            }
            continue;
        }
        struct scalar v = bind_value(a[i]), w = bind_value(b[i]);
        int c = scalar_compare(&v, &w);
        if (c) {
            return c;
        }
    }
    return 0;
}

/* Conditions joined, in as many layers as the operator's arguments want. */
static struct plan_expr *join(struct sub *s, unsigned op, struct plan_expr **x, uint32_t n)
{
    while (n > 1 && x) {
        uint32_t m = 0;
        for (uint32_t i = 0; i < n; i += PLAN_ARGS_MAX) {
            uint32_t k = n - i < PLAN_ARGS_MAX ? n - i : PLAN_ARGS_MAX;
            x[m] = k == 1 ? x[i] : bind_make(s->b, op, PST_BOOLEAN, s->pos, x + i, k, NULL);
            if (!x[m++]) {
                return NULL;
            }
        }
        n = m;
    }
    return x ? x[0] : NULL;
}

/* The last test expression IN the last cells of rows [from, to). */
static struct plan_expr *list(struct sub *s, uint32_t from, uint32_t to)
{
    uint32_t parts = (to - from - 1) / (PLAN_ARGS_MAX - 1) + 1, m = 0;
    struct plan_expr **x = arena_alloc(s->b->a, parts * sizeof *x);
    struct plan_expr **item = arena_alloc(s->b->a, (to - from) * sizeof *item);
    for (uint32_t i = from; i < to && !s->b->a->failed;) {
        uint32_t k = 0;
        while (i < to && k < PLAN_ARGS_MAX - 1) {
            item[k++] = s->cell[(size_t)s->row[i++] * s->n + s->n - 1];
        }
        x[m] = bind_in(s->b, s->test[s->n - 1], item, k, s->pos);
        if (!x[m++]) {
            return NULL;
        }
    }
    return s->b->a->failed ? NULL : join(s, PLAN_OR, x, m);
}

/* Rows [from, to) differ in the last column only. */
static struct plan_expr *group(struct sub *s, uint32_t from, uint32_t to)
{
    struct plan_expr *x[PLAN_KEYS_MAX];
    for (unsigned i = 0; i + 1 < s->n; i++) {
        x[i] = bind_compare(s->b, PLAN_EQ, s->test[i], s->cell[(size_t)s->row[from] * s->n + i],
                            s->pos);
        if (!x[i]) {
            return NULL;
        }
    }
    x[s->n - 1] = list(s, from, to);
    return x[s->n - 1] ? join(s, PLAN_AND, x, s->n) : NULL;
}

static struct plan_expr *rows_in(struct sub *s)
{
    struct binder *b = s->b;
    uint32_t n = (uint32_t)s->r->rows, groups = 0;
    if (n == 0) {
        return bind_const(b, &(struct scalar){.type = PST_BOOLEAN}, s->pos);
    }
    s->cell = arena_alloc(b->a, (size_t)n * s->n * sizeof *s->cell);
    s->row = arena_alloc(b->a, n * sizeof *s->row);
    struct plan_expr **x = arena_alloc(b->a, n * sizeof *x);
    if (b->a->failed) {
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->row[i] = i;
        for (unsigned k = 0; k < s->n; k++) {
            s->cell[(size_t)i * s->n + k] = constant(s, k, i);
            if (!s->cell[(size_t)i * s->n + k]) {
                return NULL;
            }
        }
    }
    struct plan_expr *some = s->n > 1 ? list(s, 0, n) : NULL;
    qsort_r(s->row, n, sizeof *s->row, by_prefix, s);
    for (uint32_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && !by_prefix(&s->row[from], &s->row[to], s); to++) {
        }
        x[groups] = group(s, from, to);
        if (!x[groups++]) {
            return NULL;
        }
    }
    struct plan_expr *all = join(s, PLAN_OR, x, groups);
    if (!all || groups == 1 || !some) {
        return all;
    }
    /* Most rows are done with one look at the last column. */
    struct plan_expr *no = bind_const(b, &(struct scalar){.type = PST_BOOLEAN}, s->pos);
    struct plan_expr *when = bind_make1(b, PLAN_IS_FALSE, PST_BOOLEAN, s->pos, some);
    return no && when ? bind_make(b, PLAN_CASE, PST_BOOLEAN, s->pos,
                                  (struct plan_expr *[]){when, no, all}, 3, NULL)
                      : NULL;
}

struct plan_expr *bind_sub_link(struct binder *b, const PgQuery__SubLink *l)
{
    struct sub s = {.b = b, .pos = bind_pos(b, l->location)};
    const char *op = l->n_oper_name ? bind_string(l->oper_name[0]) : NULL;
    if (l->sub_link_type != PG_QUERY__SUB_LINK_TYPE__ANY_SUBLINK || (op && strcmp(op, "=") != 0) ||
        !l->subselect || l->subselect->node_case != PG_QUERY__NODE__NODE_SELECT_STMT) {
        return bind_error(b, QUERY_UNSUPPORTED, s.pos,
                          "of subqueries there is only x [NOT] IN (SELECT ...); run the inner "
                          "query first and give its result as a parameter");
    }
    if (b->in_aggregate || !tests_of(&s, l->testexpr)) {
        return b->in_aggregate ? bind_error(b, QUERY_UNSUPPORTED, s.pos,
                                            "an inner SELECT cannot stand within an aggregate")
                               : NULL;
    }
    struct plan *p = NULL;
    if (!inner_plan(&s, l->subselect->select_stmt, &p)) {
        return NULL;
    }
    struct plan_expr *x = NULL;
    if (!b->q->within) {
        b->plan->subquery = true;
        x = bind_make1(b, PLAN_IS_NULL, PST_BOOLEAN, s.pos, s.test[0]);
        for (unsigned i = 0; i < s.n && x; i++) { /* types, against a value of each column */
            struct plan_expr *null = bind_null(b, p->output[i].expr->type, s.pos);
            x = null && bind_compare(b, PLAN_EQ, s.test[i], null, s.pos) ? x : NULL;
        }
        plan_free(p);
        return x;
    }
    struct result *r = NULL;
    bound(&s, p);
    bool ok = exec_run(p, &r, b->e);
    plan_free(p);
    if (!ok) {
        return NULL;
    }
    s.r = r;
    x = r->rows > SUB_ROWS
            ? bind_error(b, QUERY_LIMIT, s.pos, "the inner SELECT has %llu rows, more than %u",
                         (unsigned long long)r->rows, SUB_ROWS)
            : rows_in(&s);
    result_free(r);
    return x;
}
