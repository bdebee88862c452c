/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_asof.h"

/* The right rows of one day, by key number and time. */
struct asof_day {
    int32_t date;
    struct keyer *keys;
    uint64_t n, room;
    uint32_t *key; /* while reading */
    int64_t *time;
    uint64_t *ref;
    uint64_t *at; /* by key number: where its rows start; one more at the end */
};

struct asof {
    struct asof_day *day;
    uint32_t ndays;
    uint64_t room;
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
    scan_pieces(t, 1, &o);
    for (uint32_t i = 0; i < o.npieces; i++) {
        const struct piece *pc = &o.piece[i];
        const struct view_part *part = &right->part[pc->part];
        struct asof_day *d = new_day(t, a, part->date);
        for (uint32_t at = 0; at < pc->rows;) {
            struct scratch_mark m = x_mark(t);
            x_check(t);
            struct batch b = {.nsides = 2, .n = pc->rows - at}, out;
            /* the left side has no rows here: conjuncts of the right scan read side 1 only */
            b.side[0] = (struct side){.view = x->view[0]};
            b.side[1] = (struct side){.view = right, .part = part};
            if (pc->ids) {
                b.side[1].rows = pc->ids + at;
            } else {
                const struct view_chunk *c = &part->chunk[view_chunk_of(part, pc->first + at)];
                b.side[1].chunk = c;
                b.side[1].off = pc->first + at - c->first;
                if (b.n > c->rows - b.side[1].off)
                    b.n = c->rows - b.side[1].off;
            }
            if (b.n > EXEC_BATCH)
                b.n = EXEC_BATCH;
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
