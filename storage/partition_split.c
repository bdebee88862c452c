/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_split.c - the order of large files by several threads. Where all sources ascend in
 * time, some instants cut each of them into stretches; a thread counts the symbols of its stretch
 * of all sources, and when the counts of all are known it merges that stretch by time and gives
 * places from where the earlier stretches' rows of each symbol end: the same places as one
 * thread's.
 */
#include <pthread.h>
#include "partition.h"

#define LEAST 4096u /* rows that are worth a thread */

struct stretch {
    struct split *all;
    unsigned number;
    uint64_t *from, *to; /* of each source */
    uint32_t *next;      /* counts, then where the next row of a code goes */
    bool ascends, failed;
    int64_t lo, hi;
    struct err err;
};

struct split {
    struct wd_order *order;
    const struct wd_source *source;
    unsigned nsources, threads;
    uint32_t codes;
    const struct wd_grouped *grouped;
    const _Atomic bool *cancel;
    struct stretch part[WD_THREADS];
};

static const int64_t *times(const struct wd_source *s)
{
    struct err err;
    return wd_loaded_flat(s, (unsigned)s->from[0], &err); /* it is open */
}

/* Counts the symbols of a stretch, and looks whether its times ascend. */
static void *count(void *arg)
{
    struct stretch *p = arg;
    const struct split *x = p->all;
    p->ascends = true;
    for (unsigned i = 0; i < x->nsources && p->ascends && !load_relaxed(x->cancel); i++) {
        const struct wd_source *s = &x->source[i];
        const struct wd_loaded *l = s->loaded;
        const int64_t *time = times(s);
        const uint32_t *code = wd_loaded_flat(s, (unsigned)s->from[1], &p->err);
        uint64_t from = p->from[i], to = p->to[i];
        int64_t last = from ? time[from - 1] : INT64_MIN;
        bool up = true;
        for (uint64_t r = from; r < to; r++) {
            if (pst_unlikely(code[r] >= l->codes)) {
                p->failed = !err_set(&p->err, -EBADMSG,
                                     "%s/%s: row %llu has a code that its symbols have not",
                                     l->path, l->name[s->from[1]], (unsigned long long)r);
                return NULL;
            }
            p->next[l->index[code[r]] + 1]++;
            up &= time[r] >= last;
            last = time[r];
        }
        p->ascends = up;
    }
    return NULL;
}

static void *place(void *arg)
{
    struct stretch *p = arg;
    const struct split *x = p->all;
    uint32_t *out = x->order->place;
    struct wd_merge m;
    p->lo = INT64_MAX;
    p->hi = INT64_MIN;
    if (!wd_merge_open(&m, x->source, x->nsources, p->from, p->to, &p->err)) {
        p->failed = true;
        return NULL;
    }
    while (!load_relaxed(x->cancel) && wd_merge_next(&m)) {
        int64_t lo = wd_merge_time(&m, 0), hi = wd_merge_time(&m, m.n - 1);
        p->lo = lo < p->lo ? lo : p->lo;
        p->hi = hi > p->hi ? hi : p->hi;
        for (uint32_t i = 0; i < m.n; i++) {
            uint32_t r = wd_merge_number(&m, i);
            out[m.in_row[r]] = p->next[m.in_code[r]]++;
        }
    }
    wd_merge_close(&m);
    return NULL;
}

/* False: one failed; err is set. */
static bool each(struct split *x, void *(*fn)(void *), struct err *err)
{
    pthread_t t[WD_THREADS];
    bool started[WD_THREADS] = {0};
    for (unsigned k = 1; k < x->threads; k++)
        started[k] = !pthread_create(&t[k], NULL, fn, &x->part[k]);
    for (unsigned k = 0; k < x->threads; k++)
        if (!started[k])
            fn(&x->part[k]);
    for (unsigned k = 1; k < x->threads; k++)
        if (started[k])
            pthread_join(t[k], NULL);
    for (unsigned k = 0; k < x->threads; k++)
        if (x->part[k].failed)
            return err_set(err, x->part[k].err.code, "%s", x->part[k].err.text);
    return !load_relaxed(x->cancel) || err_set(err, -ECANCELED, "cancelled");
}

static uint64_t first_from(const int64_t *time, uint64_t rows, int64_t t)
{
    uint64_t lo = 0, hi = rows;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (time[mid] < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The instants of the largest source cut all of them. */
static bool cut(struct split *x, struct err *err)
{
    unsigned most = 0;
    for (unsigned i = 0; i < x->nsources; i++) {
        const struct wd_source *s = &x->source[i];
        if (!wd_loaded_flat(s, (unsigned)s->from[0], err) ||
            !wd_loaded_flat(s, (unsigned)s->from[1], err))
            return false;
        most = s->rows > x->source[most].rows ? i : most;
    }
    for (unsigned k = 0; k < x->threads; k++) {
        struct stretch *p = &x->part[k];
        p->all = x;
        p->number = k;
        p->from = calloc(x->nsources, sizeof *p->from);
        p->to = calloc(x->nsources, sizeof *p->to);
        p->next = calloc(x->codes, sizeof *p->next);
        if (!p->from || !p->to || !p->next)
            return err_set(err, -ENOMEM, "no memory to order %u symbols", x->codes);
        const struct wd_source *b = &x->source[most];
        int64_t end = k + 1 < x->threads ? times(b)[b->rows * (k + 1) / x->threads] : 0;
        for (unsigned i = 0; i < x->nsources; i++) {
            const struct wd_source *s = &x->source[i];
            p->from[i] = k ? x->part[k - 1].to[i] : 0;
            p->to[i] = k + 1 < x->threads ? first_from(times(s), s->rows, end) : s->rows;
            p->to[i] = p->to[i] < p->from[i] ? p->from[i] : p->to[i]; /* they do not ascend */
        }
    }
    return true;
}

/* Groups, and where each stretch's rows of each code go. */
static bool starts(struct split *x, const struct wd_symbols *symbols, struct err *err)
{
    struct wd_order *o = x->order;
    uint32_t *sum = calloc(x->codes, sizeof *sum), *rank = NULL;
    for (unsigned k = 0; sum && k < x->threads; k++)
        for (uint32_t c = 0; c < x->codes; c++)
            sum[c] += x->part[k].next[c];
    int64_t n = sum ? wd_rank(symbols, sum, &rank) : -1;
    if (n >= 0) {
        o->ngroups = (uint64_t)n;
        o->group = malloc(((size_t)n + 1) * sizeof *o->group);
    }
    bool ok = n >= 0 && o->group;
    uint64_t at = 0;
    for (int64_t i = 0; ok && i < n; i++) {
        uint32_t c = rank[i];
        o->group[i] = (struct hdb_group){c ? (int64_t)c - 1 : PST_NULL_LONG, at, sum[c]};
        for (unsigned k = 0; k < x->threads; k++) {
            uint32_t rows = x->part[k].next[c];
            x->part[k].next[c] = (uint32_t)at;
            at += rows;
        }
    }
    o->placed = at;
    free(sum);
    free(rank);
    if (ok && x->grouped)
        x->grouped->begin(x->grouped->arg, o);
    return ok || err_set(err, -ENOMEM, "no memory to order %u symbols", x->codes);
}

static bool fits(const struct wd_order *o, const struct wd_source *source, unsigned nsources)
{
    if (o->keep || !nsources || nsources >= WD_LANES)
        return false;
    for (unsigned i = 0; i < nsources; i++)
        if (source[i].kind != WD_LOADED || !source[i].rows || source[i].from[0] < 0 ||
            source[i].from[1] < 0)
            return false;
    return true;
}

enum wd_split wd_order_split(struct wd_order *o, const struct wd_source *source, unsigned nsources,
                             const struct wd_symbols *symbols, unsigned threads,
                             const struct wd_grouped *grouped, const _Atomic bool *cancel,
                             struct err *err)
{
    uint64_t most = o->rows / LEAST;
    threads = threads < WD_THREADS ? threads : WD_THREADS;
    threads = threads < most ? threads : (unsigned)most;
    if (threads < 2 || !fits(o, source, nsources))
        return WD_SPLIT_NOT;
    struct split *x = calloc(1, sizeof *x);
    if (!x)
        return WD_SPLIT_NOT;
    *x = (struct split){.order = o,
                        .source = source,
                        .nsources = nsources,
                        .threads = threads,
                        .codes = symbols->codes,
                        .grouped = grouped,
                        .cancel = cancel};
    enum wd_split v = WD_SPLIT_FAILED;
    bool ok = cut(x, err) && each(x, count, err);
    for (unsigned k = 0; k < threads; k++)
        if (ok && !x->part[k].ascends)
            v = WD_SPLIT_NOT;
    if (ok && v != WD_SPLIT_NOT && starts(x, symbols, err) && each(x, place, err) &&
        wd_walk_make(o, source, nsources, err)) {
        v = WD_SPLIT_DONE;
        o->time_min = INT64_MAX;
        o->time_max = INT64_MIN;
        for (unsigned k = 0; k < threads; k++) {
            const struct stretch *p = &x->part[k];
            o->time_min = p->lo < o->time_min ? p->lo : o->time_min;
            o->time_max = p->hi > o->time_max ? p->hi : o->time_max;
        }
    }
    for (unsigned k = 0; k < threads; k++) {
        free(x->part[k].from);
        free(x->part[k].to);
        free(x->part[k].next);
    }
    free(x);
    return v;
}
