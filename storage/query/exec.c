/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"
#include "exec_asof.h"
#include "exec_int.h"

#include <time.h>

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- rows without groups ---- */

struct rows_state {
    struct outrows *out;
    uint64_t enough; /* rows after which nothing more is wanted of a unit (no order) */
    uint64_t top;    /* keep that many in order; 0: all */
};

/* LIMIT and OFFSET together, UINT64_MAX = all. */
static uint64_t rows_wanted(const struct plan *p)
{
    return p->limit > UINT64_MAX - p->offset ? UINT64_MAX : p->limit + p->offset;
}

/* As many result rows as can be used, or tell that there are too many. */
static void rows_limits(const struct plan *p, struct rows_state *s)
{
    uint64_t want = rows_wanted(p);
    s->enough = UINT64_MAX;
    s->top = 0;
    if (p->distinct)
        return;
    if (p->norder) {
        s->top = want < (1u << 20) ? want + 1 : 0;
        return;
    }
    s->enough = want;
    uint64_t max = p->limits.rows_max;
    if (max && max < UINT64_MAX - p->offset - 1 && max + p->offset + 1 < want)
        s->enough = max + p->offset + 1; /* one more: the error */
}

static void *rows_new(struct xthread *t)
{
    struct rows_state *s = x_zalloc(t, sizeof *s);
    rows_limits(t->x->p, s);
    s->out = out_new(t);
    return s;
}

static void rows_top(struct xthread *t, struct rows_state *s)
{
    if (s->top && s->out->rows >= 2 * s->top + 4 * EXEC_BATCH)
        out_top(t, s->out, s->top);
}

static bool rows_add(struct xthread *t, struct batch *b, void *state)
{
    struct rows_state *s = state;
    if (s->out->rows + b->n > s->enough) {
        /* outputs are evaluated for the rows that are wanted, no others */
        uint32_t n = (uint32_t)(s->enough - s->out->rows);
        uint32_t *sel = x_scratch(t, (uint64_t)n * sizeof *sel + 4);
        for (uint32_t i = 0; i < n; i++)
            sel[i] = i;
        struct batch some;
        batch_narrow(t, b, sel, n, &some);
        if (n)
            out_add(t, s->out, &some);
        return false;
    }
    out_add(t, s->out, b);
    rows_top(t, s);
    return s->out->rows < s->enough;
}

static void rows_unit(struct xthread *t, uint32_t unit, void *state)
{
    struct rows_state *s = state;
    scan_unit(t, &t->x->unit[unit], rows_add, state);
    if (s->top)
        out_top(t, s->out, s->top);
}

static bool rows_merge(struct xthread *t, void *arg, void *state)
{
    struct rows_state *to = arg, *from = state;
    outrows_append(t, to->out, from->out);
    rows_top(t, to);
    return to->out->rows < to->enough;
}

static void rows_recycle(struct xthread *t, void *state)
{
    struct rows_state *s = state;
    out_free(t->x, s->out);
    s->out = out_new(t);
}

static void rows_run(struct xthread *t)
{
    struct rows_state *s = rows_new(t);
    struct unit_ops ops = {rows_new, rows_unit, rows_merge, rows_recycle, s};
    units_run(t, &ops);
    out_finish(t, s->out);
}

/* SELECT without FROM. */
static void one_row(struct xthread *t)
{
    struct outrows *o = out_new(t);
    struct batch b = {.n = t->x->p->empty ? 0 : 1};
    batch_init(t, &b);
    if (b.n)
        out_add(t, o, &b);
    out_finish(t, o);
}

/* ---- groups ---- */

static void *group_new(struct xthread *t)
{
    return groups_new(t);
}

static bool group_add(struct xthread *t, struct batch *b, void *state)
{
    groups_add(t, state, b);
    return true;
}

static void group_unit(struct xthread *t, uint32_t unit, void *state)
{
    scan_unit(t, &t->x->unit[unit], group_add, state);
}

static bool group_merge(struct xthread *t, void *arg, void *state)
{
    groups_merge(t, arg, state);
    return true;
}

static void group_recycle(struct xthread *t, void *state)
{
    groups_reset(t->x, state);
}

static void group_run(struct xthread *t)
{
    struct groups *g = groups_new(t);
    struct unit_ops ops = {group_new, group_unit, group_merge, group_recycle, g};
    if (t->x->p->nscans == 0 && !t->x->p->empty) { /* SELECT count(*) without FROM */
        struct batch b = {.n = 1};
        batch_init(t, &b);
        groups_add(t, g, &b);
    }
    units_run(t, &ops);
    out_finish(t, groups_finish(t, g));
}

/* ---- the run ---- */

static bool needs_order(const struct plan *p)
{
    bool order = p->nlatest > 0;
    for (uint32_t i = 0; i < p->naggs; i++)
        order |= p->agg[i].kind == PLAN_AGG_FIRST || p->agg[i].kind == PLAN_AGG_LAST;
    return order;
}

static void run(struct xthread *t)
{
    struct exec *x = t->x;
    struct plan *p = x->p;
    eval_prepare(t, x);
    if (p->nlatest && p->explain != PLAN_EXPLAIN_ONLY && latest_quick(t))
        return;
    if (p->explain != PLAN_EXPLAIN_ONLY && syms_quick(t))
        return;
    if (p->nscans) {
        scan_prepare(t, needs_order(p));
        if (p->explain == PLAN_EXPLAIN_ONLY) {
            if (p->nscans == 2) {
                struct scan_out o = {.order = true};
                scan_pieces(t, 1, &o);
            }
            out_finish(t, out_new(t));
            return;
        }
        if (p->nscans == 2)
            asof_prepare(t);
    }
    if (p->explain == PLAN_EXPLAIN_ONLY)
        out_finish(t, out_new(t));
    else if (p->nlatest)
        latest_run(t);
    else if (p->grouped)
        group_run(t);
    else if (p->nscans == 0)
        one_row(t);
    else
        rows_run(t);
}

bool exec_run(struct plan *p, struct result **out, struct query_error *e)
{
    struct exec x = {.p = p, .out = out, .start_ns = now_ns(), .error_unit = UINT32_MAX};
    *out = NULL;
    memset(&p->facts, 0, sizeof p->facts);
    pthread_mutex_init(&x.mem.lock, NULL);
    pthread_mutex_init(&x.local.lock, NULL);
    pthread_mutex_init(&x.error_lock, NULL);
    x.mem.limit = p->limits.memory_max;
    atomic_init(&x.stop_unit, UINT32_MAX);
    x.threads = p->limits.threads ? p->limits.threads : 1;
    if (x.threads > 64)
        x.threads = 64;
    for (unsigned s = 0; s < p->nscans; s++) {
        x.view[s] = p->scan[s].table->source;
        x.syms = x.view[s]->syms;
    }
    x.sym_base = x.syms ? view_sym_count(x.syms) : 0;
    struct xthread *thread = calloc(x.threads, sizeof *thread);
    if (!thread) {
        query_error_set(e, QUERY_LIMIT, -1, "no memory");
    } else {
        x.thread = thread;
        for (unsigned i = 0; i < x.threads; i++)
            thread[i] = (struct xthread){.x = &x, .number = i, .unit = UINT32_MAX};
        if (setjmp(thread[0].base) == 0)
            run(&thread[0]);
        for (unsigned i = 0; i < x.threads; i++) {
            x_texts_free(&thread[i]);
            p->facts.scan[0].rows_read += thread[i].rows_read;
            p->facts.scan[0].rows_matched += thread[i].rows_matched;
        }
        if (x.failed)
            *e = x.error;
    }
    bool ok = thread && !x.failed;
    if (!ok) {
        result_free(*out);
        *out = NULL;
    }
    asof_end(&x);
    p->facts.memory_peak = x.mem.peak;
    plan_limits_peak(&p->limits, x.mem.peak);
    p->facts.threads = x.threads;
    x_free_all(&x);
    free(thread);
    free(x.local.text);
    free(x.local.slot);
    pthread_mutex_destroy(&x.mem.lock);
    pthread_mutex_destroy(&x.local.lock);
    pthread_mutex_destroy(&x.error_lock);
    p->facts.elapsed_ns = now_ns() - x.start_ns;
    return ok;
}
