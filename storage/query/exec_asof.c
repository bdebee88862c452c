/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_asof.h"

/* The right rows of one day, by key number and time. */
struct asof_day {
    int32_t date;
    /* quick: one part whose own order and index are used where they lie */
    const struct view_part *part;
    uint32_t part_number;
    uint32_t *run_of; /* by code + 1: number of its run + 1 */
    uint32_t nulls;   /* rows without a time stand first: so many (lists) */

    struct keyer *keys;
    uint64_t n, room;
    uint32_t *key; /* while reading */
    int64_t *time;
    uint64_t *ref;
    uint64_t *at; /* by key number: where its rows start; one more at the end */
};

#define UNKNOWN UINT32_MAX

/* What a thread remembers between batches: the right rows of a symbol are walked once. */
struct walk {
    const struct asof_day *day;
    /* by runs */
    uint32_t code, pos; /* pos: rows of the code's run that are not later than `time` */
    const struct view_run *run;
    int64_t time;
    /* by lists */
    uint32_t end;   /* right rows that are not later than `time` */
    uint32_t from;  /* `end` where the walk started */
    uint32_t *last; /* by code + 1: last right row + 1 below `end`, 0 none, or UNKNOWN */
    struct known_list {
        struct view_list l;
        uint32_t block; /* where the last look ended */
    } * list;           /* by code + 1; block lists are made when first needed */
};

struct asof {
    struct asof_day *day;
    uint32_t ndays;
    uint64_t room;
    bool quick;
    struct walk *walk; /* by thread */
    uint32_t codes;    /* entries of the arrays by code + 1 */
};

struct dates {
    const struct view *left;
    const struct exec *x;
    bool *used; /* by left part */
};

/* Does a left row of that date have to be matched? */
static bool date_wanted(void *arg, int32_t date)
{
    const struct dates *d = arg;
    for (uint32_t i = 0; i < d->left->nparts; i++)
        if (d->used[i] && d->left->part[i].date == date)
            return true;
    return false;
}

static struct asof_day *day_of(const struct asof *a, int32_t date)
{
    uint32_t lo = 0, hi = a->ndays;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (a->day[mid].date == date)
            return &a->day[mid];
        if (a->day[mid].date < date)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* Rows whose keys and time are all there: places in sel. */
static uint32_t without_nulls(const struct vec *key, const enum cls *cls, unsigned nkeys,
                              const int64_t *time, uint32_t n, uint32_t *sel)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool null = time[i] == INT64_MIN;
        for (unsigned j = 0; j < nkeys && !null; j++) {
            uint32_t at = key[j].one ? 0 : i;
            switch (cls[j]) {
            case C_I64:
                null = ((const int64_t *)key[j].p)[at] == INT64_MIN;
                break;
            case C_F64:
                null = isnan(((const double *)key[j].p)[at]);
                break;
            case C_SYM:
                null = ((const uint32_t *)key[j].p)[at] == PST_NULL_SYMBOL;
                break;
            case C_TEXT:
                null = ((const struct plan_text *)key[j].p)[at].len == 0;
                break;
            case C_GUID:
                null = !memcmp((const struct guid *)key[j].p + at, &(struct guid){{0}}, 16);
                break;
            case C_BOOL:
                null = ((const uint8_t *)key[j].p)[at] == PLAN_BOOL_NULL;
                break;
            }
        }
        sel[k] = i;
        k += !null;
    }
    return k;
}

static void key_vectors(struct xthread *t, struct batch *b, unsigned side, const uint16_t *col,
                        struct vec *key, enum cls *cls)
{
    const struct plan_asof *pa = &t->x->p->asof;
    for (uint32_t i = 0; i < pa->nkeys; i++) {
        key[i] = load_column(t, b, side, col[i]);
        cls[i] = cls_of(b->side[side].view->col[col[i]].type);
    }
}

static void add_right(struct xthread *t, struct asof_day *d, struct batch *b, uint32_t part)
{
    const struct plan_asof *pa = &t->x->p->asof;
    struct vec key[PLAN_KEYS_MAX];
    enum cls cls[PLAN_KEYS_MAX];
    key_vectors(t, b, 1, pa->right_key, key, cls);
    const int64_t *time = vec_flat(t, load_column(t, b, 1, pa->right_time), C_I64, b->n);
    uint32_t *sel = x_scratch(t, (uint64_t)b->n * sizeof *sel + 4);
    uint32_t n = without_nulls(key, cls, pa->nkeys, time, b->n, sel);
    struct batch some = *b;
    if (n < b->n) {
        batch_narrow(t, b, sel, n, &some);
        key_vectors(t, &some, 1, pa->right_key, key, cls);
        time = vec_flat(t, load_column(t, &some, 1, pa->right_time), C_I64, n);
    }
    if (d->n + n > d->room) {
        uint64_t room = d->room ? d->room : 1u << 16;
        while (room < d->n + n)
            room *= 2;
        d->key = x_realloc(t, d->key, room * sizeof *d->key);
        d->time = x_realloc(t, d->time, room * sizeof *d->time);
        d->ref = x_realloc(t, d->ref, room * sizeof *d->ref);
        d->room = room;
    }
    keyer_add(t, d->keys, key, n, d->key + d->n);
    const struct side *s = &some.side[1];
    for (uint32_t i = 0; i < n; i++) {
        d->time[d->n + i] = time[i];
        d->ref[d->n + i] =
            (uint64_t)part << 32 | (s->chunk ? s->chunk->first + s->off + i : s->rows[i]);
    }
    d->n += n;
}

struct at_time {
    int64_t time;
    uint64_t ref;
};

static int at_time_cmp(const void *a, const void *b)
{
    const struct at_time *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->ref < y->ref ? -1 : x->ref > y->ref; /* parts and rows stand in order of arrival */
}

/* By key, each key's rows by time. */
static void close_day(struct xthread *t, struct asof_day *d)
{
    keyer_close(t, d->keys);
    uint32_t nkeys = keyer_count(d->keys);
    d->at = x_zalloc(t, (nkeys + 2ull) * sizeof *d->at);
    int64_t *time = x_alloc(t, (d->n + 1) * sizeof *time);
    uint64_t *ref = x_alloc(t, (d->n + 1) * sizeof *ref);
    for (uint64_t i = 0; i < d->n; i++)
        d->at[d->key[i] + 2]++;
    for (uint32_t k = 0; k < nkeys; k++)
        d->at[k + 2] += d->at[k + 1];
    for (uint64_t i = 0; i < d->n; i++) {
        uint64_t to = d->at[d->key[i] + 1]++;
        time[to] = d->time[i];
        ref[to] = d->ref[i];
    }
    for (uint32_t k = 0; k < nkeys; k++) {
        uint64_t from = d->at[k], n = d->at[k + 1] - from;
        bool ordered = true;
        for (uint64_t i = 1; i < n && ordered; i++)
            ordered = time[from + i] >= time[from + i - 1];
        if (ordered)
            continue;
        struct at_time *v = x_alloc(t, n * sizeof *v);
        for (uint64_t i = 0; i < n; i++)
            v[i] = (struct at_time){time[from + i], ref[from + i]};
        qsort(v, n, sizeof *v, at_time_cmp);
        for (uint64_t i = 0; i < n; i++) {
            time[from + i] = v[i].time;
            ref[from + i] = v[i].ref;
        }
        x_free(t->x, v);
    }
    x_free(t->x, d->key);
    x_free(t->x, d->time);
    x_free(t->x, d->ref);
    d->key = NULL;
    d->time = time;
    d->ref = ref;
}

static struct asof_day *new_day(struct xthread *t, struct asof *a, int32_t date)
{
    const struct exec *x = t->x;
    const struct plan_asof *pa = &x->p->asof;
    if (a->ndays && a->day[a->ndays - 1].date == date)
        return &a->day[a->ndays - 1];
    a->day = x_grow(t, a->day, &a->room, a->ndays + 1, sizeof *a->day);
    struct asof_day *d = &a->day[a->ndays++];
    *d = (struct asof_day){.date = date};
    uint8_t types[PLAN_KEYS_MAX];
    for (uint32_t i = 0; i < pa->nkeys; i++)
        types[i] = x->view[1]->col[pa->right_key[i]].type;
    d->keys = keyer_new(t, pa->nkeys, types);
    return d;
}

/* ---- the right side where it lies ---- */

static const int64_t *chunk_times(const struct view *v, const struct view_part *p, uint32_t chunk)
{
    struct view_span s = view_span(p, &p->chunk[chunk], (uint32_t)v->time_col);
    return s.encoding == VIEW_RAW && s.stored == PST_TIMESTAMP ? s.data : NULL;
}

static uint32_t above(const int64_t *v, uint32_t n, int64_t time)
{
    uint32_t lo = 0;
    while (n) {
        uint32_t half = n / 2;
        if (v[lo + half] <= time) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

/* Rows of a part in ascending time that are not later. */
static uint32_t rows_until(const struct view *v, const struct view_part *p, int64_t time)
{
    uint32_t lo = 0, hi = p->nchunks; /* the first chunk that begins later */
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (chunk_times(v, p, mid)[0] <= time)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return 0;
    const struct view_chunk *c = &p->chunk[lo - 1];
    return c->first + above(chunk_times(v, p, lo - 1), c->rows, time);
}

static bool quick_plan(const struct exec *x)
{
    const struct plan *p = x->p;
    const struct plan_asof *pa = &p->asof;
    const struct view *l = x->view[0], *r = x->view[1];
    for (uint32_t i = 0; i < p->scan[1].nwhere; i++)
        if (p->scan[1].where[i].covered != PLAN_COVER_DATE)
            return false;
    return pa->nkeys == 1 && pa->left_key[0] == l->sym_col && pa->right_key[0] == r->sym_col &&
           pa->right_time == r->time_col && r->col[r->time_col].type == PST_TIMESTAMP &&
           l->col[pa->left_time].type == PST_TIMESTAMP;
}

/* False: some day of the right side has no order to go by. */
static bool quick_prepare(struct xthread *t, struct asof *a, struct scan_out *o)
{
    struct exec *x = t->x;
    struct view *v = x->view[1];
    for (uint32_t i = 0; i < o->nparts; i++) {
        struct view_part *p = &v->part[o->part[i]];
        struct err err = {0};
        if (p->rows == 0)
            continue;
        if (p->keyed || !chunk_times(v, p, 0) || (a->ndays && a->day[a->ndays - 1].date == p->date))
            return false;
        if (!p->lists && !view_index(v, o->part[i], &err))
            x_throw(t, QUERY_FAILED, -1, "%s", err.text);
        if (p->lists ? !p->ascending : !p->parted || !p->run_ascends)
            return false;
        a->day = x_grow(t, a->day, &a->room, a->ndays + 1, sizeof *a->day);
        struct asof_day *d = &a->day[a->ndays++];
        *d = (struct asof_day){.date = p->date, .part = p, .part_number = o->part[i]};
        if (p->lists) {
            d->nulls = rows_until(v, p, INT64_MIN);
        } else {
            d->run_of = x_zalloc(t, (uint64_t)a->codes * sizeof *d->run_of);
            for (uint32_t k = 0; k < p->nruns; k++)
                if (p->run[k].code + 1 < a->codes)
                    d->run_of[p->run[k].code + 1] = k + 1;
        }
    }
    return true;
}

static void match_runs(struct xthread *t, const struct asof_day *d, struct walk *w,
                       const uint32_t *code, const int64_t *time, uint32_t n, uint32_t codes,
                       uint64_t *refs)
{
    const struct view_part *p = d->part;
    const int64_t *right = chunk_times(t->x->view[1], p, 0);
    uint64_t part = (uint64_t)d->part_number << 32;
    for (uint32_t i = 0; i < n; i++) {
        if (code[i] != w->code || !w->run || time[i] < w->time) {
            uint32_t at = code[i] + 1;
            if (code[i] == PST_NULL_SYMBOL || at >= codes || !d->run_of[at])
                continue;
            w->code = code[i];
            w->run = &p->run[d->run_of[at] - 1];
            w->pos = above(right + w->run->first, w->run->rows, time[i]);
        }
        const int64_t *v = right + w->run->first;
        uint32_t pos = w->pos, end = w->run->rows;
        if (pos + 16 < end && v[pos + 16] <= time[i]) { /* far: gallop */
            uint32_t step = 32;
            while (step < end - pos && v[pos + step] <= time[i])
                step *= 2;
            pos += above(v + pos, step < end - pos ? step : end - pos, time[i]);
        }
        while (pos < end && v[pos] <= time[i])
            pos++;
        w->pos = pos;
        w->time = time[i];
        if (pos && v[pos - 1] != INT64_MIN && time[i] != INT64_MIN)
            refs[i] = part | (w->run->first + pos - 1);
    }
}

/* The last row of a symbol below `end`, + 1; 0 none. */
static uint32_t last_below(const struct asof_day *d, struct walk *w, uint32_t code, uint32_t end)
{
    struct known_list *k = &w->list[code + 1];
    if (!k->l.block)
        view_list(d->part, code, &k->l);
    uint32_t lo = 0, hi = k->l.nblocks; /* the first block that begins at or above end */
    uint32_t b = k->block;
    if (b < hi && k->l.block[b][0] < end) {
        lo = b + 1; /* mostly that one, or the next */
        if (lo < hi && k->l.block[lo][0] >= end)
            hi = lo;
    }
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (k->l.block[mid][0] < end)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return 0;
    k->block = lo - 1;
    const uint32_t *v = k->l.block[lo - 1];
    uint32_t n = k->l.count[lo - 1], at = 0;
    while (n) {
        uint32_t half = n / 2;
        if (v[at + half] < end) {
            at += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return v[at - 1] + 1;
}

static void match_lists(struct xthread *t, const struct asof_day *d, struct walk *w,
                        const uint32_t *code, const int64_t *time, uint32_t n, uint32_t codes,
                        uint64_t *refs)
{
    const struct view *v = t->x->view[1];
    const struct view_part *p = d->part;
    uint64_t part = (uint64_t)d->part_number << 32;
    bool ascend = true;
    for (uint32_t i = 1; i < n; i++)
        ascend &= time[i] >= time[i - 1];
    uint32_t rows = (uint32_t)p->rows;
    bool dense = ascend && time[0] != INT64_MIN;
    if (dense) {
        uint32_t upto = rows_until(v, p, time[n - 1]);
        uint32_t from = rows_until(v, p, time[0]);
        dense = upto - from <= 16 * n;
        /* a new walk, if the gap is wider than what looking every symbol up would cost */
        if (dense && (w->time > time[0] || from - w->end > (codes < 16 ? 16 : codes) * 256ull)) {
            memset(w->last, 0xff, codes * sizeof *w->last);
            w->from = w->end = from;
        }
    }
    if (!dense) { /* few left rows, or in no order: a search each */
        uint32_t end = 0;
        int64_t was = INT64_MIN;
        for (uint32_t i = 0; i < n; i++) {
            if (code[i] == PST_NULL_SYMBOL || code[i] + 1 >= codes || time[i] == INT64_MIN)
                continue;
            if (i == 0 || time[i] != was)
                end = rows_until(v, p, time[i]);
            was = time[i];
            uint32_t r = last_below(d, w, code[i], end);
            if (r > d->nulls)
                refs[i] = part | (r - 1);
        }
        return;
    }
    uint32_t pos = w->end, *last = w->last;
    const int64_t *rt = NULL; /* of the chunk at hand, by row of the part */
    const uint32_t *rs = NULL;
    uint32_t end = pos;
    for (uint32_t i = 0; i < n;) {
        if (pos == end && pos < rows) {
            uint32_t k = view_chunk_of(p, pos);
            const struct view_chunk *c = &p->chunk[k];
            rt = chunk_times(v, p, k) - c->first;
            rs = (const uint32_t *)view_span(p, c, (uint32_t)v->sym_col).data - c->first;
            end = c->first + c->rows;
        }
        for (; i < n; i++) {
            for (int64_t tm = time[i]; pos < end && rt[pos] <= tm;) {
                uint32_t c = rs[pos] + 1; /* null at 0: never asked for */
                pos++;
                if (pst_likely(c < codes))
                    last[c] = pos;
            }
            if (pst_unlikely(pos == end && pos < rows))
                break; /* the next chunk may have more for this row */
            uint32_t c = code[i] + 1;
            if (code[i] == PST_NULL_SYMBOL || c >= codes)
                continue;
            if (pst_unlikely(last[c] == UNKNOWN))
                last[c] = last_below(d, w, code[i], w->from);
            if (last[c] > d->nulls)
                refs[i] = part | (last[c] - 1);
        }
    }
    w->end = pos;
    w->time = time[n - 1];
}

static void match_quick(struct xthread *t, const struct asof *a, const struct asof_day *d,
                        struct batch *b, uint64_t *refs)
{
    struct walk *w = &a->walk[t->number];
    const uint32_t *code =
        vec_flat(t, load_column(t, b, 0, (uint32_t)t->x->view[0]->sym_col), C_SYM, b->n);
    const int64_t *time = vec_flat(t, load_column(t, b, 0, t->x->p->asof.left_time), C_I64, b->n);
    if (w->day != d) {
        if (d->part->lists) {
            if (!w->last) {
                w->last = x_alloc(t, (uint64_t)a->codes * sizeof *w->last);
                w->list = x_zalloc(t, (uint64_t)a->codes * sizeof *w->list);
            }
            for (uint32_t i = 0; i < a->codes; i++) {
                view_list_free(&w->list[i].l);
                w->list[i].block = 0;
            }
        }
        w->time = INT64_MAX;
        w->run = NULL;
        w->day = d;
    }
    if (d->part->lists)
        match_lists(t, d, w, code, time, b->n, a->codes, refs);
    else
        match_runs(t, d, w, code, time, b->n, a->codes, refs);
}

void asof_end(struct exec *x)
{
    struct asof *a = x->asof;
    for (unsigned i = 0; a && a->walk && i < x->threads; i++)
        for (uint32_t k = 0; a->walk[i].list && k < a->codes; k++)
            view_list_free(&a->walk[i].list[k].l);
}

void asof_prepare(struct xthread *t)
{
    struct exec *x = t->x;
    const struct plan *p = x->p;
    const struct view *right = x->view[1];
    struct asof *a = x_zalloc(t, sizeof *a);
    struct dates dates = {.left = x->view[0], .x = x};
    dates.used = x_zalloc(t, x->view[0]->nparts + 1);
    for (uint32_t i = 0; i < x->npieces; i++)
        dates.used[x->piece[i].part] = true;
    struct scan_out o = {.order = true, .dates = date_wanted, .arg = &dates};
    a->codes = x_sym_count(x) + 2;
    if (quick_plan(x)) {
        struct plan_scan_facts before = x->p->facts.scan[1];
        scan_parts(t, 1, &o);
        if (quick_prepare(t, a, &o)) {
            a->quick = true;
            a->walk = x_zalloc(t, x->threads * sizeof *a->walk);
            for (unsigned i = 0; i < x->threads; i++)
                a->walk[i].time = INT64_MAX;
            x->asof = a;
            x->p->facts.method = "asof along both sides' order";
            return;
        }
        x->p->facts.scan[1] = before;
        a->ndays = 0;
    }
    scan_pieces(t, 1, &o);
    for (uint32_t i = 0; i < o.npieces; i++) {
        const struct piece *pc = &o.piece[i];
        const struct view_part *part = &right->part[pc->part];
        struct asof_day *d = new_day(t, a, part->date);
        for (uint32_t at = 0; at < pc->rows;) {
            struct scratch_mark m = x_mark(t);
            x_check(t);
            struct batch b = {.nsides = 2}, out;
            /* the left side has no rows here: conjuncts of the right scan read side 1 only */
            b.side[0] = (struct side){.view = x->view[0]};
            x_slice(&b, 1, right, pc, at);
            at += b.n;
            batch_init(t, &b);
            x->p->facts.scan[1].rows_read += b.n;
            if (filter(t, &b, p->scan[1].where, p->scan[1].nwhere, pc->time_ok, pc->sym_ok, &out)) {
                x->p->facts.scan[1].rows_matched += out.n;
                add_right(t, d, &out, pc->part);
            }
            x_texts_free(t);
            x_reset(t, m);
        }
    }
    for (uint32_t i = 0; i < a->ndays; i++)
        close_day(t, &a->day[i]);
    x_free(x, o.piece);
    x->asof = a;
    x->p->facts.method = "asof by key and time";
}

void asof_match(struct xthread *t, const struct asof *a, struct batch *b)
{
    const struct plan_asof *pa = &t->x->p->asof;
    uint64_t *refs = x_scratch(t, (uint64_t)b->n * sizeof *refs);
    const struct asof_day *d = day_of(a, b->side[0].part->date);
    for (uint32_t i = 0; i < b->n; i++)
        refs[i] = NO_MATCH;
    b->side[1] = (struct side){.view = t->x->view[1], .refs = refs};
    if (!d)
        return;
    if (a->quick) {
        match_quick(t, a, d, b, refs);
        return;
    }
    struct vec key[PLAN_KEYS_MAX];
    enum cls cls[PLAN_KEYS_MAX];
    key_vectors(t, b, 0, pa->left_key, key, cls);
    const int64_t *time = vec_flat(t, load_column(t, b, 0, pa->left_time), C_I64, b->n);
    uint32_t *id = x_scratch(t, (uint64_t)b->n * sizeof *id);
    keyer_find(t, d->keys, key, b->n, id);
    for (uint32_t i = 0; i < b->n; i++) {
        if (id[i] == UINT32_MAX || time[i] == INT64_MIN)
            continue;
        const int64_t *v = d->time + d->at[id[i]];
        uint64_t n = d->at[id[i] + 1] - d->at[id[i]], lo = 0;
        while (n) { /* the first above */
            uint64_t half = n / 2;
            if (v[lo + half] <= time[i]) {
                lo += half + 1;
                n -= half + 1;
            } else {
                n = half;
            }
        }
        if (lo)
            refs[i] = d->ref[d->at[id[i]] + lo - 1];
    }
}
