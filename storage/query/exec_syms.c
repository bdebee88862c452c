/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count(DISTINCT sym) over whole days: which symbols a part has is known from its row lists or its
 * parted index, no row is read.
 */
#include "exec_int.h"

static bool sym_column(const struct exec *x, const struct plan_expr *e)
{
    return e->op == PLAN_COLUMN && e->side == 0 && (int32_t)e->column == x->view[0]->sym_col;
}

static bool syms_plan(const struct exec *x)
{
    const struct plan *p = x->p;
    if (p->nscans != 1 || !p->grouped || p->nkeys || !p->naggs || p->nlatest || p->nwhere ||
        p->empty || p->scan[0].bounds.has_syms || x->view[0]->sym_col < 0)
        return false;
    for (uint32_t i = 0; i < p->naggs; i++)
        if (p->agg[i].kind != PLAN_AGG_COUNT_DISTINCT || p->agg[i].filter ||
            !sym_column(x, p->agg[i].arg[0]))
            return false;
    for (uint32_t i = 0; i < p->scan[0].nwhere; i++)
        if (p->scan[0].where[i].covered != PLAN_COVER_DATE)
            return false;
    return true;
}

/* Does every part know its symbols? */
static bool syms_parts(struct xthread *t, const struct scan_out *parts)
{
    struct view *v = t->x->view[0];
    for (uint32_t i = 0; i < parts->nparts; i++) {
        struct view_part *p = &v->part[parts->part[i]];
        struct err err = {0};
        if (p->rows == 0)
            continue;
        if (p->keyed)
            return false;
        if (!p->lists && !view_index(v, parts->part[i], &err))
            x_throw(t, QUERY_FAILED, -1, "%s", err.text);
        if (!p->lists && !p->parted)
            return false;
    }
    return true;
}

/* code[i] stands in row[i]: the aggregates see those rows, with the symbol column there. */
static void add_codes(struct xthread *t, struct groups *g, const struct view_part *p,
                      const uint32_t *code, const uint32_t *row, uint32_t n)
{
    const struct plan *plan = t->x->p;
    struct batch b = {.n = n, .nsides = 1};
    b.side[0] = (struct side){.view = t->x->view[0], .part = p, .rows = row};
    batch_init(t, &b);
    for (uint32_t i = 0; i < plan->naggs; i++)
        b.cache[plan->agg[i].arg[0]->id] = (struct vec){code, false};
    groups_add(t, g, &b);
}

static void add_part(struct xthread *t, struct groups *g, const struct view_part *p)
{
    uint32_t n = p->lists ? view_sym_count(t->x->syms) : p->nruns;
    for (uint32_t at = 0; at < n;) {
        struct scratch_mark m = x_mark(t);
        uint32_t *code = x_scratch(t, EXEC_BATCH * sizeof *code);
        uint32_t *row = x_scratch(t, EXEC_BATCH * sizeof *row);
        uint32_t k = 0, have = 0;
        x_check(t);
        for (; at < n && k < EXEC_BATCH; at++, k++) {
            code[k] = p->lists ? at : p->run[at].code;
            row[k] = p->lists ? 0 : p->run[at].first;
        }
        if (p->lists)
            view_list_lasts(p, code, k, row);
        for (uint32_t i = 0; i < k; i++)
            if (row[i] != UINT32_MAX) { /* else no row below the cut */
                code[have] = code[i];
                row[have++] = row[i];
            }
        if (have)
            add_codes(t, g, p, code, row, have);
        x_reset(t, m);
    }
}

bool syms_quick(struct xthread *t)
{
    struct exec *x = t->x;
    if (!syms_plan(x))
        return false;
    struct scan_out parts = {0};
    struct plan_scan_facts *f = &x->p->facts.scan[0], before = *f;
    scan_parts(t, 0, &parts);
    if (!syms_parts(t, &parts)) {
        *f = before;
        return false;
    }
    struct groups *g = groups_new(t);
    for (uint32_t i = 0; i < parts.nparts; i++) {
        const struct view_part *p = &x->view[0]->part[parts.part[i]];
        if (p->rows == 0)
            continue;
        add_part(t, g, p);
        if (p->lists)
            f->row_lists += view_sym_count(x->syms);
        else
            f->parted += p->nruns;
    }
    struct outrows *o = groups_finish(t, g);
    x->p->facts.method = "symbols by index";
    out_finish(t, o);
    return true;
}
