/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LATEST BY: of each combination of keys the last row (date, time, order of rows), then the outputs
 * over those rows, in row order.
 */
#include "exec_int.h"

struct best {
    int64_t time; /* quick: the symbol's code */
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

/* By part and row: radix sort, 11 bits a pass, passes without a difference left out. */
static struct best *best_sort(struct xthread *t, struct best *v, uint32_t n)
{
    uint32_t in = 1; /* a partition's runs come in order */
    while (in < n &&
           (v[in - 1].part != v[in].part ? v[in - 1].part < v[in].part : v[in - 1].row < v[in].row))
        in++;
    if (in >= n)
        return v;
    struct best *tmp = x_alloc(t, (n + 1ull) * sizeof *tmp), *from = v, *to = tmp;
    uint32_t *count = x_alloc(t, 2048 * sizeof *count);
    for (unsigned pass = 0; pass < 6; pass++) {
        unsigned shift = pass % 3 * 11;
        memset(count, 0, 2048 * sizeof *count);
        for (uint32_t i = 0; i < n; i++)
            count[(pass < 3 ? from[i].row : from[i].part) >> shift & 2047]++;
        if (n == 0 || count[(pass < 3 ? from[0].row : from[0].part) >> shift & 2047] == n)
            continue;
        uint32_t sum = 0;
        for (unsigned k = 0; k < 2048; k++) {
            uint32_t c = count[k];
            count[k] = sum;
            sum += c;
        }
        for (uint32_t i = 0; i < n; i++)
            to[count[(pass < 3 ? from[i].row : from[i].part) >> shift & 2047]++] = from[i];
        struct best *x = from;
        from = to;
        to = x;
    }
    x_free(t->x, count);
    return from; /* v or the other: both go with the query */
}

/* Outputs over rows given by part and number, in that order. sym: known, not to be read. */
static struct outrows *rows_out(struct xthread *t, const struct best *v, uint32_t n,
                                const struct plan_expr *sym)
{
    struct outrows *o = out_new(t);
    const struct view *view = t->x->view[0];
    for (uint32_t i = 0; i < n;) {
        struct scratch_mark m = x_mark(t);
        x_check(t);
        uint32_t *rows = x_scratch(t, EXEC_BATCH * sizeof *rows), k = 0;
        uint32_t part = v[i].part, from = i;
        for (; i < n && k < EXEC_BATCH && v[i].part == part; i++)
            rows[k++] = v[i].row;
        struct batch b = {.n = k, .nsides = 1};
        b.side[0] = (struct side){.view = view, .part = &view->part[part], .rows = rows};
        batch_init(t, &b);
        if (sym) {
            uint32_t *code = x_scratch(t, k * sizeof *code);
            for (uint32_t j = 0; j < k; j++)
                code[j] = (uint32_t)v[from + j].time;
            b.cache[sym->id] = (struct vec){code, false};
        }
        out_add(t, o, &b);
        x_texts_free(t);
        x_reset(t, m);
    }
    return o;
}

/* ---- by symbol: row lists and parted indices know the last rows ---- */

struct quick {
    struct exec *x;
    uint32_t *code; /* NULL: all */
    uint32_t ncodes;
    int64_t lo, hi;
    bool timed;
    uint8_t *seen; /* by code + 1: a later day had it */
    struct best *best;
    uint64_t n, room;
};

/* Can every conjunct be answered by bounds, and is the key the symbol? */
static bool quick_plan(const struct exec *x)
{
    const struct plan *p = x->p;
    const struct plan_scan *s = &p->scan[0];
    const struct view *v = x->view[0];
    if (p->nlatest != 1 || p->latest[0]->op != PLAN_COLUMN || v->sym_col < 0 ||
        p->latest[0]->column != v->sym_col || v->time_col < 0 ||
        v->col[v->time_col].type != PST_TIMESTAMP)
        return false;
    for (uint32_t i = 0; i < s->nwhere; i++)
        if (s->where[i].covered == PLAN_COVER_NONE)
            return false;
    return true;
}

static const int64_t *part_times(const struct view *v, const struct view_part *p, uint32_t chunk)
{
    struct view_span s = view_span(p, &p->chunk[chunk], (uint32_t)v->time_col);
    return s.encoding == VIEW_RAW && s.stored == PST_TIMESTAMP ? s.data : NULL;
}

static void quick_put(struct xthread *t, struct quick *q, uint32_t code, uint32_t part,
                      uint32_t row)
{
    q->seen[(uint32_t)(code + 1)] = 1;
    q->best = x_grow(t, q->best, &q->room, q->n + 1, sizeof *q->best);
    q->best[q->n++] = (struct best){code, part, row};
}

static void quick_lists(struct xthread *t, struct quick *q, uint32_t part)
{
    const struct view *v = q->x->view[0];
    const struct view_part *p = &v->part[part];
    uint32_t n = q->code ? q->ncodes : view_sym_count(v->syms) + 1;
    struct scratch_mark m = x_mark(t);
    uint32_t *code = x_scratch(t, EXEC_BATCH * sizeof *code);
    uint32_t *row = x_scratch(t, EXEC_BATCH * sizeof *row);
    for (uint32_t at = 0; at < n;) {
        uint32_t k = 0;
        x_check(t);
        for (; at < n && k < EXEC_BATCH; at++) {
            code[k] = q->code ? q->code[at] : at - 1; /* null first */
            k += !q->seen[(uint32_t)(code[k] + 1)];
        }
        view_list_lasts(p, code, k, row);
        for (uint32_t i = 0; i < k; i++) {
            if (row[i] == UINT32_MAX)
                continue;
            if (q->timed) {
                uint32_t c = view_chunk_of(p, row[i]);
                if (part_times(v, p, c)[row[i] - p->chunk[c].first] < q->lo)
                    continue; /* the last is the latest: none passes */
            }
            quick_put(t, q, code[i], part, row[i]);
        }
    }
    x_reset(t, m);
}

static void quick_part(struct xthread *t, struct quick *q, uint32_t part)
{
    const struct view *v = q->x->view[0];
    const struct view_part *p = &v->part[part];
    if (p->lists) {
        quick_lists(t, q, part);
        return;
    }
    const int64_t *time = part_times(v, p, 0);
    for (uint32_t i = 0; i < (q->code ? q->ncodes : p->nruns); i++) {
        const struct view_run *r = q->code ? view_run_of(p, q->code[i]) : &p->run[i];
        if (!r || q->seen[(uint32_t)(r->code + 1)])
            continue;
        uint32_t end = r->rows; /* the first behind the bound */
        if (q->timed && q->hi != INT64_MAX) {
            uint32_t lo = 0, n = r->rows;
            while (n) {
                uint32_t half = n / 2;
                if (time[r->first + lo + half] <= q->hi) {
                    lo += half + 1;
                    n -= half + 1;
                } else {
                    n = half;
                }
            }
            end = lo;
        }
        if (end == 0 || (q->timed && time[r->first + end - 1] < q->lo))
            continue;
        quick_put(t, q, r->code, part, r->first + end - 1);
    }
}

/* The day's parts one by one: is there an answer without a scan in each? */
static bool quick_parts(struct xthread *t, const struct scan_out *parts, struct quick *q)
{
    const struct exec *x = t->x;
    struct view *v = x->view[0];
    for (uint32_t i = 0; i < parts->nparts; i++) {
        struct view_part *p = &v->part[parts->part[i]];
        struct err err = {0};
        if (i && v->part[parts->part[i - 1]].date == p->date)
            return false; /* two parts of one day: which is later? */
        if (p->rows == 0)
            continue;
        if (p->keyed || !part_times(v, p, 0))
            return false;
        if (p->lists) { /* the last of a list is the latest only where times ascend */
            if (!p->ascending || (q->timed && q->hi < p->time_max))
                return false;
            continue;
        }
        if (!view_index(v, parts->part[i], &err))
            x_throw(t, QUERY_FAILED, -1, "%s", err.text);
        if (!p->parted || !p->run_ascends)
            return false;
    }
    return true;
}

bool latest_quick(struct xthread *t)
{
    struct exec *x = t->x;
    const struct plan_bounds *b = &x->p->scan[0].bounds;
    if (!quick_plan(x))
        return false;
    struct scan_out parts = {.order = true};
    struct plan_scan_facts before = x->p->facts.scan[0];
    scan_parts(t, 0, &parts);
    struct quick q = {.x = x, .lo = b->time_lo, .hi = b->time_hi, .timed = b->time_bound};
    if (!quick_parts(t, &parts, &q)) {
        x->p->facts.scan[0] = before;
        return false;
    }
    struct plan_scan_facts *f = &x->p->facts.scan[0];
    if (b->has_syms)
        q.code = scan_codes(t, 0, &q.ncodes);
    q.seen = x_zalloc(t, x_sym_count(x) + 2ull);
    for (uint32_t i = parts.nparts; i--;) {
        struct view_part *p = &x->view[0]->part[parts.part[i]];
        x_check(t);
        if (p->rows)
            quick_part(t, &q, parts.part[i]);
        if (p->lists)
            f->row_lists += q.code ? q.ncodes : view_sym_count(x->syms);
        else
            f->parted += q.code ? q.ncodes : p->nruns;
    }
    q.best = best_sort(t, q.best, (uint32_t)q.n);
    f->rows_read += q.n;
    f->rows_matched += q.n;
    x->p->facts.groups = q.n;
    x->p->facts.method = "last rows by index";
    out_finish(t, rows_out(t, q.best, (uint32_t)q.n, x->p->latest[0]));
    return true;
}

void latest_run(struct xthread *t)
{
    struct latest *l = latest_new(t);
    struct unit_ops ops = {latest_new, latest_unit, latest_merge, latest_recycle, l};
    units_run(t, &ops);
    l->best = best_sort(t, l->best, l->used);
    t->x->p->facts.groups = l->used;
    out_finish(t, rows_out(t, l->best, l->used, NULL));
}
