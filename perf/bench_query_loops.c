/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit: what each query costs as a C loop that knows the columns, the symbols and the answer's
 * shape, on one thread, over the very arrays that the engine reads.
 */
#include <math.h>

#include "bench_query.h"

static inline uint32_t sym_of(const struct loop_table *t, const struct loop_chunk *c, uint64_t i)
{
    return t->parted ? (uint32_t)((const int64_t *)c->sym)[i] : ((const uint32_t *)c->sym)[i];
}

/* The chunk of a row: sizes as rdb_layout.h has them, or one. */
static inline const struct loop_chunk *chunk_of(const struct loop_table *t, uint32_t row)
{
    if (t->parted)
        return t->chunk;
    if (row >= 65536)
        return &t->chunk[(row >> 16) + 6];
    return &t->chunk[row < 1024 ? 0 : 22 - __builtin_clz(row)];
}

/* Whole rows with the symbol's text, through the row lists' own heads (rdb_layout.h). */
struct loop_answer loop_last(const struct loop_table *t)
{
    struct loop_answer a = {0};
    struct row {
        int64_t time, size;
        double price;
        char sym[8];
    } *out = malloc(t->nsyms * sizeof *out);
    for (uint32_t s = 0; s < t->nsyms; s++) {
        uint64_t row;
        if (t->parted) {
            row = t->at[s + 1] - 1;
        } else {
            const struct loop_list *l = t->list[s];
            if (!l->count)
                continue;
            const struct loop_block *b = (const void *)(t->base + l->last);
            row = b->row[l->count - b->before - 1];
        }
        const struct loop_chunk *c = chunk_of(t, (uint32_t)row);
        struct row *r = &out[a.rows++];
        r->time = c->time[row - c->first];
        r->size = c->size[row - c->first];
        r->price = c->a[row - c->first];
        memcpy(r->sym, t->text + t->text_at[s], sizeof r->sym);
        a.sum += r->price;
    }
    free(out);
    return a;
}

struct loop_answer loop_bars_one(const struct loop_table *t, uint32_t sym, int64_t width)
{
    struct loop_answer a = {0};
    int64_t bar = INT64_MIN;
    double pv = 0, v = 0;
    for (uint64_t k = t->at[sym]; k < t->at[sym + 1]; k++) {
        uint64_t row = t->parted ? k : t->row[k];
        const struct loop_chunk *c = chunk_of(t, (uint32_t)row);
        uint64_t i = row - c->first;
        if (c->time[i] >= bar + width || bar == INT64_MIN) {
            if (bar != INT64_MIN) {
                a.rows++;
                a.sum += pv / v;
            }
            bar = c->time[i] - c->time[i] % width;
            pv = v = 0;
        }
        pv += c->a[i] * (double)c->size[i];
        v += (double)c->size[i];
    }
    if (bar != INT64_MIN) {
        a.rows++;
        a.sum += pv / v;
    }
    return a;
}

struct bar {
    int64_t start;
    double pv, v, high, low;
    int64_t size;
};

struct loop_answer loop_bars_all(const struct loop_table *t, int64_t width)
{
    struct loop_answer a = {0};
    struct bar *bar = malloc(t->nsyms * sizeof *bar), *out = NULL;
    uint64_t room = 0;
    for (uint32_t s = 0; s < t->nsyms; s++)
        bar[s].start = INT64_MIN;
    for (uint32_t k = 0; k < t->nchunks; k++) {
        const struct loop_chunk *c = &t->chunk[k];
        for (uint64_t i = 0; i < c->rows; i++) {
            struct bar *b = &bar[sym_of(t, c, i)];
            if (pst_unlikely(b->start == INT64_MIN || c->time[i] >= b->start + width)) {
                if (b->start != INT64_MIN) {
                    if (a.rows == room)
                        out = realloc(out, (room = room ? 2 * room : 4096) * sizeof *out);
                    out[a.rows++] = *b;
                }
                *b = (struct bar){c->time[i] - c->time[i] % width, 0, 0, -INFINITY, INFINITY, 0};
            }
            double p = c->a[i];
            b->pv += p * (double)c->size[i];
            b->v += (double)c->size[i];
            b->size += c->size[i];
            b->high = p > b->high ? p : b->high;
            b->low = p < b->low ? p : b->low;
        }
    }
    for (uint64_t i = 0; i < a.rows; i++)
        a.sum += out[i].pv / out[i].v;
    for (uint32_t s = 0; s < t->nsyms; s++)
        if (bar[s].start != INT64_MIN) {
            a.rows++;
            a.sum += bar[s].pv / bar[s].v;
        }
    free(bar);
    free(out);
    return a;
}

struct loop_answer loop_min_max(const struct loop_table *t)
{
    struct mm {
        double min, max;
        uint64_t n;
    } *m = calloc(t->nsyms, sizeof *m);
    struct loop_answer a = {0};
    for (uint32_t s = 0; s < t->nsyms; s++)
        m[s] = (struct mm){INFINITY, -INFINITY, 0};
    for (uint32_t k = 0; k < t->nchunks; k++) {
        const struct loop_chunk *c = &t->chunk[k];
        for (uint64_t i = 0; i < c->rows; i++) {
            struct mm *b = &m[sym_of(t, c, i)];
            double p = c->a[i];
            b->max = p > b->max ? p : b->max;
            b->min = p < b->min ? p : b->min;
            b->n++;
        }
    }
    for (uint32_t s = 0; s < t->nsyms; s++)
        if (m[s].n) {
            a.rows++;
            a.sum += m[s].min + m[s].max + (double)m[s].n;
        }
    free(m);
    return a;
}

struct loop_answer loop_ten_minutes(const struct loop_table *t, uint32_t sym, int64_t from,
                                    int64_t to)
{
    struct loop_answer a = {0};
    uint64_t lo = t->at[sym], n = t->at[sym + 1] - lo;
    while (n) { /* the first not before */
        uint64_t half = n / 2, row = t->parted ? lo + half : t->row[lo + half];
        const struct loop_chunk *c = chunk_of(t, (uint32_t)row);
        if (c->time[row - c->first] < from) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    uint64_t room = 4096;
    struct row {
        int64_t time;
        uint32_t sym;
        double price;
        int64_t size;
    } *out = malloc(room * sizeof *out);
    for (; lo < t->at[sym + 1]; lo++) {
        uint64_t row = t->parted ? lo : t->row[lo];
        const struct loop_chunk *c = chunk_of(t, (uint32_t)row);
        uint64_t i = row - c->first;
        if (c->time[i] >= to)
            break;
        if (a.rows == room)
            out = realloc(out, (room *= 2) * sizeof *out);
        out[a.rows++] = (struct row){c->time[i], sym, c->a[i], c->size[i]};
        a.sum += c->a[i];
    }
    free(out);
    return a;
}

struct loop_answer loop_sum(const struct loop_table *t)
{
    double s[8] = {0};
    for (uint32_t k = 0; k < t->nchunks; k++) {
        const double *p = t->chunk[k].a;
        uint64_t n = t->chunk[k].rows, i = 0;
        for (; i + 8 <= n; i += 8)
            for (unsigned j = 0; j < 8; j++)
                s[j] += p[i + j];
        for (; i < n; i++)
            s[0] += p[i];
    }
    return (struct loop_answer){1, s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]};
}

struct loop_answer loop_top(const struct loop_table *t)
{
    int64_t *v = calloc(t->nsyms, sizeof *v);
    for (uint32_t k = 0; k < t->nchunks; k++) {
        const struct loop_chunk *c = &t->chunk[k];
        for (uint64_t i = 0; i < c->rows; i++)
            v[sym_of(t, c, i)] += c->size[i];
    }
    struct loop_answer a = {10, 0};
    for (unsigned k = 0; k < 10; k++) {
        uint32_t best = 0;
        for (uint32_t s = 1; s < t->nsyms; s++)
            best = v[s] > v[best] ? s : best;
        a.sum += (double)v[best];
        v[best] = -1;
    }
    free(v);
    return a;
}

/* RDB: both sides by time, the last quote of each symbol on the way. HDB: symbol by symbol. */
struct loop_answer loop_asof(const struct loop_table *t, const struct loop_table *q)
{
    struct loop_answer a = {0};
    if (t->parted) {
        const struct loop_chunk *tc = t->chunk, *qc = q->chunk;
        for (uint32_t s = 0; s < t->nsyms; s++) {
            uint64_t j = q->at[s], end = q->at[s + 1];
            for (uint64_t i = t->at[s]; i < t->at[s + 1]; i++) {
                while (j < end && qc->time[j] <= tc->time[i])
                    j++;
                if (j > q->at[s]) {
                    a.rows++;
                    a.sum += tc->a[i] - qc->a[j - 1];
                }
            }
        }
        return a;
    }
    double *bid = malloc(t->nsyms * sizeof *bid);
    for (uint32_t s = 0; s < t->nsyms; s++)
        bid[s] = NAN;
    uint32_t qk = 0;
    uint64_t qi = 0;
    for (uint32_t k = 0; k < t->nchunks; k++) {
        const struct loop_chunk *c = &t->chunk[k];
        for (uint64_t i = 0; i < c->rows; i++) {
            while (qk < q->nchunks) {
                const struct loop_chunk *qc = &q->chunk[qk];
                for (; qi < qc->rows && qc->time[qi] <= c->time[i]; qi++)
                    bid[((const uint32_t *)qc->sym)[qi]] = qc->a[qi];
                if (qi < qc->rows)
                    break;
                qk++;
                qi = 0;
            }
            double b = bid[((const uint32_t *)c->sym)[i]];
            if (b == b) {
                a.rows++;
                a.sum += c->a[i] - b;
            }
        }
    }
    free(bid);
    return a;
}

struct loop_answer loop_distinct(const struct loop_table *t)
{
    uint8_t *seen = calloc(t->nsyms, 1);
    struct loop_answer a = {0};
    for (uint32_t k = 0; k < t->nchunks; k++)
        for (uint64_t i = 0; i < t->chunk[k].rows; i++)
            seen[sym_of(t, &t->chunk[k], i)] = 1;
    for (uint32_t s = 0; s < t->nsyms; s++)
        a.rows += seen[s];
    free(seen);
    return a;
}

struct loop_answer loop_distinct_price(const struct loop_table *t)
{
    uint64_t slots = 1u << 20, n = 0;
    uint64_t *set = calloc(slots, sizeof *set);
    for (uint32_t k = 0; k < t->nchunks; k++)
        for (uint64_t i = 0; i < t->chunk[k].rows; i++) {
            uint64_t v;
            memcpy(&v, &t->chunk[k].a[i], sizeof v);
            uint64_t s = (v * 0x9E3779B97F4A7C15ull) >> 32 & (slots - 1);
            while (set[s] && set[s] != v)
                s = (s + 1) & (slots - 1);
            n += !set[s];
            set[s] = v;
            if (2 * n >= slots) {
                uint64_t *old = set, was = slots;
                set = calloc(slots *= 2, sizeof *set);
                for (uint64_t j = 0; j < was; j++)
                    if (old[j]) {
                        s = (old[j] * 0x9E3779B97F4A7C15ull) >> 32 & (slots - 1);
                        while (set[s])
                            s = (s + 1) & (slots - 1);
                        set[s] = old[j];
                    }
                free(old);
            }
        }
    free(set);
    return (struct loop_answer){n, 0};
}
