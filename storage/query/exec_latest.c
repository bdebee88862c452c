/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LATEST BY: of each combination of keys the last row (date, time, order of rows), then the outputs
 * over those rows, in row order.
 */
#include "exec_int.h"

struct best {
    int64_t time;
    uint32_t part, row;
};

struct latest {
    struct keyer *keys;
    struct best *best; /* by key number */
    uint64_t room;
    uint32_t used;
};

static void *latest_new(struct xthread *t)
{
    const struct plan *p = t->x->p;
    struct latest *l = x_zalloc(t, sizeof *l);
    uint8_t types[PLAN_KEYS_MAX];
    for (uint32_t i = 0; i < p->nlatest; i++)
        types[i] = p->latest[i]->type;
    l->keys = keyer_new(t, p->nlatest, types);
    return l;
}

static void latest_recycle(struct xthread *t, void *state)
{
    (void)t;
    struct latest *l = state;
    keyer_reset(l->keys);
    l->used = 0;
}

/* Parts stand in date order, so a later part of another day wins; of the same day, by time. */
static bool later(const struct exec *x, const struct best *a, const struct best *b)
{
    int32_t da = x->view[0]->part[a->part].date, db = x->view[0]->part[b->part].date;
    return da != db ? da > db : a->time >= b->time;
}

static void put(struct xthread *t, struct latest *l, uint32_t id, struct best b)
{
    if (id < l->used) {
        if (later(t->x, &b, &l->best[id]))
            l->best[id] = b;
        return;
    }
    l->best = x_grow(t, l->best, &l->room, id + 1ull, sizeof *l->best);
    l->best[id] = b;
    l->used = id + 1; /* numbers come in order */
}

static bool latest_add(struct xthread *t, struct batch *b, void *state)
{
    const struct plan *p = t->x->p;
    struct latest *l = state;
    struct vec *key = x_scratch(t, p->nlatest * sizeof *key);
    for (uint32_t i = 0; i < p->nlatest; i++)
        key[i] = eval(t, b, p->latest[i]);
    uint32_t *id = x_scratch(t, (uint64_t)b->n * sizeof *id);
    keyer_add(t, l->keys, key, b->n, id);
    const struct side *s = &b->side[0];
    struct vec time = {NULL, true};
    if (s->view->time_col >= 0)
        time = load_column(t, b, 0, (uint32_t)s->view->time_col);
    uint32_t part = (uint32_t)(s->part - s->view->part);
    for (uint32_t i = 0; i < b->n; i++)
        put(t, l, id[i],
            (struct best){time.p ? ((const int64_t *)time.p)[time.one ? 0 : i] : 0, part,
                          s->chunk ? s->chunk->first + s->off + i : s->rows[i]});
    return true;
}

static void latest_unit(struct xthread *t, uint32_t unit, void *state)
{
    scan_unit(t, &t->x->unit[unit], latest_add, state);
}

static bool latest_merge(struct xthread *t, void *arg, void *state)
{
    struct latest *to = arg, *from = state;
    const struct plan *p = t->x->p;
    uint32_t n = from->used;
    struct vec *kv = x_alloc(t, p->nlatest * sizeof *kv);
    uint32_t *id = x_alloc(t, EXEC_BATCH * sizeof *id);
    for (uint32_t at = 0; at < n; at += EXEC_BATCH) {
        uint32_t k = n - at < EXEC_BATCH ? n - at : EXEC_BATCH;
        for (uint32_t i = 0; i < p->nlatest; i++)
            kv[i].p = (const uint8_t *)keyer_values(from->keys, i) +
                      (uint64_t)at * cls_width(cls_of(p->latest[i]->type)),
            kv[i].one = false;
        keyer_add(t, to->keys, kv, k, id);
        for (uint32_t i = 0; i < k; i++)
            put(t, to, id[i], from->best[at + i]);
    }
    x_free(t->x, kv);
    x_free(t->x, id);
    return true;
}

static int best_cmp(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Outputs over rows given by part and number, in that order. */
static struct outrows *rows_out(struct xthread *t, const struct best *v, uint32_t n)
{
    struct outrows *o = out_new(t);
    const struct view *view = t->x->view[0];
    for (uint32_t i = 0; i < n;) {
        struct scratch_mark m = x_mark(t);
        x_check(t);
        uint32_t *rows = x_scratch(t, EXEC_BATCH * sizeof *rows), k = 0;
        uint32_t part = v[i].part;
        for (; i < n && k < EXEC_BATCH && v[i].part == part; i++)
            rows[k++] = v[i].row;
        struct batch b = {.n = k, .nsides = 1};
        b.side[0] = (struct side){.view = view, .part = &view->part[part], .rows = rows};
        batch_init(t, &b);
        out_add(t, o, &b);
        x_texts_free(t);
        x_reset(t, m);
    }
    return o;
}

void latest_run(struct xthread *t)
{
    struct latest *l = latest_new(t);
    struct unit_ops ops = {latest_new, latest_unit, latest_merge, latest_recycle, l};
    units_run(t, &ops);
    qsort(l->best, l->used, sizeof *l->best, best_cmp);
    t->x->p->facts.groups = l->used;
    out_finish(t, rows_out(t, l->best, l->used));
}
