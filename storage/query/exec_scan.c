/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a table has to be read: parts by date, rows by time and symbol, cut into pieces (rows of
 * one part, in order) and those into units.
 */
#include "exec_asof.h"
#include "exec_int.h"

#define UNIT_LEAST (64u << 10)
#define UNIT_MOST  (1u << 20)
#define UNITS_WISH 16u
/* Below so many rows a symbol, time bounds are tested row by row and not searched symbol by symbol.
 */
#define RUN_SEARCH 256u

uint64_t exec_unit_rows;

struct range { /* of rows; all inside the time bounds if ok */
    uint32_t from, to;
    bool ok;
};

struct keep { /* rows of a part of a keyed table */
    uint32_t *ids, n;
};

struct scan {
    struct xthread *t;
    struct exec *x;
    unsigned number;
    const struct plan_scan *ps;
    const struct plan_bounds *b;
    struct plan_scan_facts *f;
    struct view *v;
    int64_t lo, hi; /* time */
    bool timed;     /* bounds on a timestamp column `time` */
    uint32_t *code; /* of bounds.syms that exist, ascending */
    uint32_t ncodes;
    struct scan_out *out;
    uint32_t least;      /* first row to be read of the part at hand */
    struct range *range; /* of the part at hand */
    uint32_t nranges;
    uint64_t range_room;
    struct keep *keep; /* by part; ids NULL: not yet */
};

/* ---- time ---- */

static const int64_t *times(const struct scan *s, const struct view_part *p,
                            const struct view_chunk *c)
{
    struct view_span sp = view_span(p, c, (uint32_t)s->v->time_col);
    return sp.encoding == VIEW_RAW && sp.stored == PST_TIMESTAMP ? sp.data : NULL;
}

static uint32_t first_not_below(const int64_t *v, uint32_t n, int64_t least)
{
    uint32_t lo = 0;
    while (n) {
        uint32_t half = n / 2;
        if (v[lo + half] < least) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

static uint32_t first_above(const int64_t *v, uint32_t n, int64_t most)
{
    return most == INT64_MAX ? n : first_not_below(v, n, most + 1);
}

static void add_range(struct scan *s, uint32_t from, uint32_t to, bool ok)
{
    from = from < s->least ? s->least : from;
    if (from >= to)
        return;
    if (s->nranges && s->range[s->nranges - 1].to == from && s->range[s->nranges - 1].ok == ok) {
        s->range[s->nranges - 1].to = to;
        return;
    }
    s->range = x_grow(s->t, s->range, &s->range_room, s->nranges + 1, sizeof *s->range);
    s->range[s->nranges++] = (struct range){from, to, ok};
}

static void time_ranges(struct scan *s, const struct view_part *p)
{
    s->nranges = 0;
    s->least = p->from;
    s->f->chunks += p->nchunks;
    if (!s->timed) {
        add_range(s, 0, (uint32_t)p->rows, true);
        return;
    }
    for (uint32_t i = 0; i < p->nchunks; i++) {
        const struct view_chunk *c = &p->chunk[i];
        const int64_t *v = times(s, p, c);
        bool known = c->time_min <= c->time_max;
        if (known && (c->time_max < s->lo || c->time_min > s->hi)) {
            s->f->chunks_pruned++;
        } else if (known && c->time_min >= s->lo && c->time_max <= s->hi) {
            add_range(s, c->first, c->first + c->rows, true);
        } else if (c->ascending && v) {
            uint32_t a = first_not_below(v, c->rows, s->lo), z = first_above(v, c->rows, s->hi);
            add_range(s, c->first + a, c->first + z, true);
        } else {
            add_range(s, c->first, c->first + c->rows, false);
        }
    }
}

/* ---- pieces ---- */

static void add_piece(struct scan *s, uint32_t part, uint32_t first, uint32_t rows,
                      const uint32_t *ids, bool time_ok, bool sym_ok)
{
    struct scan_out *o = s->out;
    if (!rows)
        return;
    o->piece = x_grow(s->t, o->piece, &o->room, o->npieces + 1, sizeof *o->piece);
    o->piece[o->npieces++] = (struct piece){part, first, rows, ids, time_ok, sym_ok};
    o->rows += rows;
}

static uint32_t id_not_below(const uint32_t *v, uint32_t n, uint32_t least)
{
    uint32_t lo = 0;
    while (n) {
        uint32_t half = n / 2;
        if (v[lo + half] < least) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

static void add_ids(struct scan *s, uint32_t part, const uint32_t *ids, uint32_t n, bool sym_ok)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->nranges && at < n; i++) {
        at += id_not_below(ids + at, n - at, s->range[i].from);
        uint32_t end = at + id_not_below(ids + at, n - at, s->range[i].to);
        add_piece(s, part, 0, end - at, ids + at, s->range[i].ok, sym_ok);
        at = end;
    }
}

static int cmp_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Rows of the symbols by their row lists. False: they are so many that a scan is as good. */
static bool by_lists(struct scan *s, uint32_t part, const struct view_part *p)
{
    uint64_t total = 0;
    for (uint32_t k = 0; k < s->ncodes; k++)
        total += view_list_count(p, s->code[k]);
    s->f->row_lists += s->ncodes;
    if (s->ncodes > 1 && total > p->rows / 4)
        return false;
    uint32_t *ids = x_alloc(s->t, (total + 1) * sizeof *ids);
    uint64_t n = 0;
    for (uint32_t k = 0; k < s->ncodes; k++) {
        struct view_list l;
        view_list(p, s->code[k], &l);
        for (uint32_t i = 0; i < l.nblocks && n < total; i++) {
            uint64_t take = l.count[i] < total - n ? l.count[i] : total - n;
            memcpy(ids + n, l.block[i], take * sizeof *ids);
            n += take;
        }
        view_list_free(&l);
    }
    if (s->ncodes > 1)
        qsort(ids, n, sizeof *ids, cmp_u32);
    add_ids(s, part, ids, (uint32_t)n, true);
    return true;
}

/* The rows of a run (rows of one symbol in a partition) inside the time bounds. */
static void add_run(struct scan *s, uint32_t part, const struct view_part *p,
                    const struct view_run *r, bool sym_ok)
{
    uint32_t a = 0, z = r->rows;
    bool ok = !s->timed;
    const int64_t *v =
        s->timed && p->run_ascends && p->nchunks == 1 ? times(s, p, &p->chunk[0]) : NULL;
    if (v) {
        a = first_not_below(v + r->first, r->rows, s->lo);
        z = first_above(v + r->first, r->rows, s->hi);
        ok = true;
    }
    if (a < z)
        add_piece(s, part, r->first + a, z - a, NULL, ok, sym_ok);
}

static int run_by_row(const void *a, const void *b)
{
    const struct view_run *x = *(const struct view_run *const *)a,
                          *y = *(const struct view_run *const *)b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void by_runs(struct scan *s, uint32_t part, const struct view_part *p)
{
    const struct view_run **run = x_alloc(s->t, (s->ncodes + 1) * sizeof *run);
    uint32_t n = 0;
    s->f->parted += s->ncodes;
    for (uint32_t k = 0; k < s->ncodes; k++)
        if ((run[n] = view_run_of(p, s->code[k])))
            n++;
    if (n > 1)
        qsort(run, n, sizeof *run, run_by_row);
    for (uint32_t k = 0; k < n; k++)
        add_run(s, part, p, run[k], true);
    x_free(s->x, run);
}

static void open_part(struct scan *s, uint32_t part, const uint16_t *cols, unsigned ncols)
{
    struct err err = {0};
    if (!view_open(s->v, part, cols, ncols, &err))
        x_throw(s->t, err.code == -ESTALE ? QUERY_RETRY : QUERY_FAILED, -1, "%s", err.text);
}

static void index_part(struct scan *s, uint32_t part)
{
    struct err err = {0};
    if (!view_index(s->v, part, &err))
        x_throw(s->t, QUERY_FAILED, -1, "%s", err.text);
}

/* ---- keyed tables ---- */

/* The rows of a part that may be the last of their key, ascending. */
static struct keep own_keys(struct scan *s, const struct view_part *p)
{
    struct keep k = {0};
    if (!p->key_index) {
        k.n = (uint32_t)p->rows;
        k.ids = x_alloc(s->t, (k.n + 1ull) * sizeof *k.ids);
        for (uint32_t i = 0; i < k.n; i++)
            k.ids[i] = i;
        return k;
    }
    uint32_t *rows;
    if (!view_keyed_rows(p, &rows, &k.n))
        x_throw(s->t, QUERY_LIMIT, -1, "no memory for the keys of %s", s->v->name);
    k.ids = x_alloc(s->t, (k.n + 1ull) * sizeof *k.ids);
    memcpy(k.ids, rows, (uint64_t)k.n * sizeof *k.ids);
    free(rows);
    return k;
}

/* Leaves of k the rows whose key has not been seen, from the last row to the first. */
static void keep_unseen(struct scan *s, const struct view_part *p, struct keyer *seen,
                        struct keep *k)
{
    struct xthread *t = s->t;
    uint32_t left = k->n; /* those kept stand at [left, k->n) */
    for (uint32_t end = k->n; end;) {
        struct scratch_mark m = x_mark(t);
        x_check(t);
        uint32_t n = end < EXEC_BATCH ? end : EXEC_BATCH;
        uint32_t *rows = x_scratch(t, n * sizeof *rows), *id = x_scratch(t, n * sizeof *id);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = k->ids[end - 1 - i];
        end -= n;
        struct batch b = {.n = n, .nsides = 1};
        b.side[0] = (struct side){.view = s->v, .part = p, .rows = rows};
        struct vec key[PST_COUNT(s->v->key)];
        for (uint32_t i = 0; i < s->v->nkeys; i++)
            key[i] = load_column(t, &b, 0, s->v->key[i]);
        uint32_t known = keyer_count(seen);
        keyer_add(t, seen, key, n, id);
        for (uint32_t i = 0; i < n; i++)
            if (id[i] == known) { /* new ones are numbered as they come */
                known++;
                k->ids[--left] = rows[i];
            }
        x_reset(t, m);
    }
    memmove(k->ids, k->ids + left, (uint64_t)(k->n - left) * sizeof *k->ids);
    k->n -= left;
}

/* view.h: what a keyed table shows of a day, here of one of its parts. */
static struct keep keyed_rows(struct scan *s, uint32_t part)
{
    struct view *v = s->v;
    int32_t date = v->part[part].date;
    uint32_t first = part, end = part + 1;
    while (first && v->part[first - 1].date == date)
        first--;
    while (end < v->nparts && v->part[end].date == date)
        end++;
    if (end - first == 1 && v->part[part].key_index)
        return own_keys(s, &v->part[part]);
    if (!s->keep)
        s->keep = x_zalloc(s->t, v->nparts * sizeof *s->keep);
    if (s->keep[part].ids)
        return s->keep[part];
    uint16_t cols[PST_COUNT(v->key)];
    uint8_t types[PST_COUNT(v->key)];
    for (uint32_t i = 0; i < v->nkeys; i++) {
        cols[i] = (uint16_t)v->key[i];
        types[i] = v->col[v->key[i]].type;
    }
    struct keyer *seen = keyer_new(s->t, v->nkeys, types);
    for (uint32_t i = end; i-- > first;) {
        open_part(s, i, cols, v->nkeys);
        if (!v->part[i].keyed)
            continue;
        s->keep[i] = own_keys(s, &v->part[i]);
        keep_unseen(s, &v->part[i], seen, &s->keep[i]);
    }
    keyer_free(s->x, seen);
    return s->keep[part];
}

static bool date_passes(const struct plan_bounds *b, int32_t date)
{
    if (date < b->day_lo || date > b->day_hi)
        return false;
    if (!b->days)
        return true;
    uint32_t lo = 0, hi = b->ndays;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (b->days[mid] == date)
            return true;
        if (b->days[mid] < date)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static void scan_part(struct scan *s, uint32_t part, const uint16_t *cols, unsigned ncols)
{
    struct view_part *p = &s->v->part[part];
    open_part(s, part, cols, ncols);
    s->f->rows_known += p->rows;
    if (p->rows == 0)
        return;
    bool known = p->time_min <= p->time_max;
    if (s->timed && known && (p->time_max < s->lo || p->time_min > s->hi)) {
        s->f->chunks += p->nchunks;
        s->f->chunks_pruned += p->nchunks;
        return;
    }
    if (p->keyed) {
        struct keep k = keyed_rows(s, part);
        time_ranges(s, p);
        add_ids(s, part, k.ids, k.n, false);
        return;
    }
    if (s->b->has_syms && p->lists) {
        time_ranges(s, p);
        if (by_lists(s, part, p))
            return;
    }
    if (s->out->runs && p->tier == VIEW_HDB && s->v->sym_col >= 0)
        index_part(s, part);
    bool searched = s->timed && !p->lists && !p->ascending;
    if (!p->lists && s->v->sym_col >= 0 && (s->b->has_syms || searched)) {
        index_part(s, part);
        if (p->parted && s->b->has_syms) {
            s->f->chunks += p->nchunks;
            by_runs(s, part, p);
            return;
        }
        if (p->parted && p->run_ascends && p->rows / (p->nruns + 1) >= RUN_SEARCH) {
            s->f->chunks += p->nchunks;
            for (uint32_t k = 0; k < p->nruns; k++)
                add_run(s, part, p, &p->run[k], false);
            return;
        }
    }
    time_ranges(s, p);
    for (uint32_t i = 0; i < s->nranges; i++)
        add_piece(s, part, s->range[i].from, s->range[i].to - s->range[i].from, NULL,
                  s->range[i].ok, false);
}

uint32_t *scan_codes(struct xthread *t, unsigned number, uint32_t *n)
{
    const struct plan_bounds *b = &t->x->p->scan[number].bounds;
    const struct view *v = t->x->view[number];
    uint32_t *code = x_alloc(t, (b->nsyms + 1u) * sizeof *code);
    *n = 0;
    for (uint32_t i = 0; i < b->nsyms; i++) {
        uint32_t c =
            v->syms ? view_sym_find(v->syms, b->syms[i].p, b->syms[i].len) : PST_NULL_SYMBOL;
        if (c != PST_NULL_SYMBOL)
            code[(*n)++] = c;
    }
    return code;
}

static void scan_all(struct xthread *t, unsigned number, struct scan_out *out, bool whole)
{
    struct exec *x = t->x;
    const struct plan_scan *ps = &x->p->scan[number];
    struct scan s = {.t = t,
                     .x = x,
                     .number = number,
                     .ps = ps,
                     .b = &ps->bounds,
                     .f = &x->p->facts.scan[number],
                     .v = x->view[number],
                     .out = out};
    s.lo = s.b->time_lo == INT64_MIN ? INT64_MIN + 1 : s.b->time_lo;
    s.hi = s.b->time_hi;
    s.timed =
        s.b->time_bound && s.v->time_col >= 0 && s.v->col[s.v->time_col].type == PST_TIMESTAMP;
    if (s.b->has_syms)
        s.code = scan_codes(t, number, &s.ncodes);
    uint16_t *cols = x_alloc(t, (ps->ncolumns + 2u) * sizeof *cols);
    unsigned ncols = 0;
    bool have_time = s.v->time_col < 0;
    for (unsigned i = 0; i < ps->ncolumns; i++) {
        cols[ncols++] = ps->columns[i];
        have_time |= ps->columns[i] == s.v->time_col;
    }
    if (!have_time && out->order)
        cols[ncols++] = (uint16_t)s.v->time_col;
    for (uint32_t i = 0; i < s.v->nparts; i++) {
        struct view_part *p = &s.v->part[i];
        s.f->partitions++;
        if (x->p->empty || (s.b->has_syms && s.ncodes == 0) || !date_passes(s.b, p->date) ||
            (out->dates && !out->dates(out->arg, p->date))) {
            s.f->partitions_pruned++;
            s.f->rows_known += p->rows;
            continue;
        }
        x_check(t);
        if (!whole) {
            scan_part(&s, i, cols, ncols);
            continue;
        }
        open_part(&s, i, cols, ncols);
        s.f->rows_known += p->rows;
        out->part = x_grow(t, out->part, &out->part_room, out->nparts + 1, sizeof *out->part);
        out->part[out->nparts++] = i;
    }
    x_free(x, s.range);
    x_free(x, s.code);
    x_free(x, cols);
}

void scan_pieces(struct xthread *t, unsigned number, struct scan_out *out)
{
    scan_all(t, number, out, false);
}

void scan_parts(struct xthread *t, unsigned number, struct scan_out *out)
{
    scan_all(t, number, out, true);
}

void scan_prepare(struct xthread *t, bool order)
{
    struct exec *x = t->x;
    struct scan_out o = {.order = order};
    for (uint32_t i = 0; i < x->p->nkeys; i++) /* groups by symbol: the index knows them */
        o.runs |= x->p->key[i]->op == PLAN_COLUMN && x->p->key[i]->side == 0 &&
                  x->p->key[i]->column == x->view[0]->sym_col;
    for (uint32_t i = 0; i < x->p->naggs; i++)
        o.runs |= x->p->agg[i].kind == PLAN_AGG_COUNT_DISTINCT &&
                  x->p->agg[i].arg[0]->op == PLAN_COLUMN && x->p->agg[i].arg[0]->side == 0 &&
                  x->p->agg[i].arg[0]->column == x->view[0]->sym_col;
    scan_pieces(t, 0, &o);
    uint64_t size = o.rows / UNITS_WISH;
    size = size < UNIT_LEAST ? UNIT_LEAST : size > UNIT_MOST ? UNIT_MOST : size;
    if (exec_unit_rows)
        size = exec_unit_rows;
    /* pieces that straddle a unit's end are cut */
    uint64_t room = 0, uroom = 0;
    uint64_t fill = 0;
    for (uint32_t i = 0; i < o.npieces; i++) {
        struct piece p = o.piece[i];
        while (p.rows) {
            if (x->nunits == 0 || fill == size) {
                x->unit = x_grow(t, x->unit, &uroom, x->nunits + 1, sizeof *x->unit);
                x->unit[x->nunits++] = (struct unit){.piece = x->npieces};
                fill = 0;
            }
            struct piece take = p;
            if (take.rows > size - fill)
                take.rows = (uint32_t)(size - fill);
            x->piece = x_grow(t, x->piece, &room, x->npieces + 1, sizeof *x->piece);
            x->piece[x->npieces++] = take;
            struct unit *u = &x->unit[x->nunits - 1];
            u->pieces++;
            u->rows += take.rows;
            fill += take.rows;
            p.rows -= take.rows;
            if (p.ids)
                p.ids += take.rows;
            else
                p.first += take.rows;
        }
    }
    x->scan_rows = o.rows;
    x_free(x, o.piece);
}

uint32_t filter(struct xthread *t, struct batch *b, const struct plan_conjunct *c, uint32_t n,
                bool time_ok, bool sym_ok, struct batch *out)
{
    *out = *b;
    for (uint32_t i = 0; i < n && out->n; i++) {
        if (c[i].covered == PLAN_COVER_DATE || (c[i].covered == PLAN_COVER_TIME && time_ok) ||
            (c[i].covered == PLAN_COVER_SYM && sym_ok))
            continue;
        uint32_t *sel = x_scratch(t, (uint64_t)out->n * sizeof *sel + 64);
        uint32_t k = eval_true(t, out, c[i].expr, sel);
        if (k == out->n)
            continue;
        if (k == 0)
            return out->n = 0;
        batch_narrow(t, out, sel, k, out);
    }
    return out->n;
}

static bool one_batch(struct xthread *t, const struct piece *p, struct batch *b, batch_fn fn,
                      void *arg)
{
    const struct exec *x = t->x;
    const struct plan *plan = x->p;
    struct batch in, out;
    bool more = true;
    x_check(t);
    t->rows_read += b->n;
    batch_init(t, b);
    if (filter(t, b, plan->scan[0].where, plan->scan[0].nwhere, p->time_ok, p->sym_ok, &in)) {
        if (x->asof) {
            asof_match(t, x->asof, &in);
            batch_init(t, &in); /* the right side's columns exist now */
        }
        if (plan->nwhere == 0 || filter(t, &in, plan->where, plan->nwhere, false, false, &out)) {
            if (plan->nwhere)
                in = out;
            t->rows_matched += in.n;
            more = fn(t, &in, arg);
        }
    }
    x_texts_free(t);
    return more;
}

void x_slice(struct batch *b, unsigned side, const struct view *v, const struct piece *p,
             uint32_t at)
{
    const struct view_part *part = &v->part[p->part];
    struct side *x = &b->side[side];
    b->n = p->rows - at;
    *x = (struct side){.view = v, .part = part};
    if (p->ids) {
        x->rows = p->ids + at;
    } else {
        const struct view_chunk *c = &part->chunk[view_chunk_of(part, p->first + at)];
        x->chunk = c;
        x->off = p->first + at - c->first;
        if (b->n > c->rows - x->off)
            b->n = c->rows - x->off;
    }
    if (b->n > EXEC_BATCH)
        b->n = EXEC_BATCH;
}

bool scan_unit(struct xthread *t, const struct unit *u, batch_fn fn, void *arg)
{
    const struct exec *x = t->x;
    for (uint32_t i = 0; i < u->pieces; i++) {
        const struct piece *p = &x->piece[u->piece + i];
        for (uint32_t at = 0; at < p->rows;) {
            struct scratch_mark m = x_mark(t);
            struct batch b = {.nsides = x->p->nscans};
            b.side[1].view = x->view[1];
            x_slice(&b, 0, x->view[0], p, at);
            at += b.n;
            bool more = one_batch(t, p, &b, fn, arg);
            x_reset(t, m);
            if (!more)
                return false;
        }
    }
    return true;
}
