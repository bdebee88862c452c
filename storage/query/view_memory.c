/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "view_build.h"

struct memory {
    struct view_memory_part in;
    const void **data; /* nchunks * ncols */
    struct view_run *run;
    uint32_t ncodes;     /* lists by code; the last is the null symbol's */
    uint32_t *list_at;   /* ncodes + 2 */
    uint32_t *list_rows; /* all lists, one behind the other */
    int32_t sym, time;   /* view columns */
    uint8_t time_type;
};

static int64_t int_at(const void *data, uint8_t type, uint64_t row)
{
    switch (type_width(type)) {
    case 1:
        return ((const uint8_t *)data)[row];
    case 2:
        return ((const int16_t *)data)[row];
    case 4:
        return ((const int32_t *)data)[row];
    default:
        return ((const int64_t *)data)[row];
    }
}

static bool memory_open(struct view *v, struct view_part *p, const uint16_t *cols, unsigned ncols,
                        struct err *err)
{
    (void)v, (void)p, (void)cols, (void)ncols, (void)err;
    return true;
}

static bool memory_index(struct view *v, struct view_part *p, struct err *err)
{
    struct memory *m = p->source;
    if (!m->in.parted || p->rows == 0 || m->sym < 0)
        return true;
    const uint32_t *sym = m->in.data[m->sym - 1];
    uint32_t n = 1;
    for (uint64_t i = 1; i < p->rows; i++)
        n += sym[i] != sym[i - 1];
    m->run = calloc(n, sizeof *m->run);
    if (!m->run)
        return err_set(err, -ENOMEM, "no memory for the index of %s", v->name);
    p->run_ascends = m->time >= 0 && m->in.data[m->time - 1];
    for (uint64_t i = 0, k = 0; i < p->rows; k++) {
        uint64_t from = i;
        for (i++; i < p->rows && sym[i] == sym[from]; i++)
            if (p->run_ascends && int_at(m->in.data[m->time - 1], m->time_type, i) <
                                      int_at(m->in.data[m->time - 1], m->time_type, i - 1))
                p->run_ascends = false;
        m->run[k] = (struct view_run){sym[from], (uint32_t)from, (uint32_t)(i - from)};
    }
    return view_runs_set(p, m->run, n) || err_set(err, -ENOMEM, "no memory");
}

static uint64_t memory_list(const struct view_part *p, uint32_t code, struct view_list *l)
{
    const struct memory *m = p->source;
    uint32_t k = code == PST_NULL_SYMBOL ? m->ncodes : code;
    if (k > m->ncodes)
        return 0;
    /* in blocks of 1,000, as a list in the RDB has many */
    for (uint32_t i = m->list_at[k]; i < m->list_at[k + 1]; i += 1000) {
        uint32_t n = m->list_at[k + 1] - i;
        pst_must(view_list_add(l, m->list_rows + i, n < 1000 ? n : 1000));
    }
    return l->rows;
}

static uint64_t memory_count(const struct view_part *p, uint32_t code)
{
    const struct memory *m = p->source;
    uint32_t k = code == PST_NULL_SYMBOL ? m->ncodes : code;
    return k > m->ncodes ? 0 : m->list_at[k + 1] - m->list_at[k];
}

static void memory_lasts(const struct view_part *p, const uint32_t *code, uint32_t n, uint32_t *row)
{
    const struct memory *m = p->source;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = code[i] == PST_NULL_SYMBOL ? m->ncodes : code[i];
        row[i] = memory_count(p, code[i]) ? m->list_rows[m->list_at[k + 1] - 1] : UINT32_MAX;
    }
}

static void memory_release(struct view_part *p)
{
    struct memory *m = p->source;
    if (m) {
        free(m->data);
        free(m->run);
        free(m->list_at);
        free(m->list_rows);
        free(m);
    }
    view_part_free(p);
}

static const struct view_source memory_source = {.open = memory_open,
                                                 .index = memory_index,
                                                 .list = memory_list,
                                                 .lasts = memory_lasts,
                                                 .count = memory_count,
                                                 .release = memory_release};

static bool make_lists(struct view *v, struct view_part *p, struct memory *m)
{
    const uint32_t *sym = m->in.data[m->sym - 1];
    m->ncodes = view_sym_count(v->syms);
    m->list_at = calloc(m->ncodes + 2, sizeof *m->list_at);
    m->list_rows = malloc((p->rows ? p->rows : 1) * sizeof *m->list_rows);
    if (!m->list_at || !m->list_rows)
        return false;
    for (uint64_t i = 0; i < p->rows; i++)
        m->list_at[(sym[i] == PST_NULL_SYMBOL ? m->ncodes : sym[i]) + 1]++;
    for (uint32_t k = 0; k <= m->ncodes; k++)
        m->list_at[k + 1] += m->list_at[k];
    uint32_t *next = malloc((m->ncodes + 1) * sizeof *next);
    if (!next)
        return false;
    memcpy(next, m->list_at, (m->ncodes + 1) * sizeof *next);
    for (uint64_t i = 0; i < p->rows; i++)
        m->list_rows[next[sym[i] == PST_NULL_SYMBOL ? m->ncodes : sym[i]]++] = (uint32_t)i;
    free(next);
    p->lists = true;
    return true;
}

static bool make_part(struct view *v, struct view_part *p, const struct view_memory_part *in)
{
    struct memory *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    p->ops = &memory_source;
    p->source = m;
    p->tier = VIEW_MEMORY;
    p->date = in->date;
    p->rows = in->rows;
    m->in = *in;
    m->sym = v->sym_col;
    m->time = v->time_col;
    uint32_t size = in->chunk_rows ? in->chunk_rows : 65536;
    pst_must((size & (size - 1)) == 0);
    p->first_shift = p->shift = (uint32_t)__builtin_ctz(size);
    p->nchunks = (uint32_t)((in->rows + size - 1) / size);
    p->chunk = calloc(p->nchunks + 1, sizeof *p->chunk);
    m->data = calloc((uint64_t)(p->nchunks + 1) * v->ncols, sizeof *m->data);
    if (!p->chunk || !m->data || !view_part_columns(v, p))
        return false;
    for (uint32_t c = 1; c < v->ncols; c++) {
        p->stored[c] = in->stored ? in->stored[c - 1] : v->col[c].type;
        p->encoding[c] = p->stored[c] == PST_STRING ? VIEW_PACKED : VIEW_RAW;
        p->aux[c] = in->chars;
        p->aux_bytes[c] = in->chars_bytes;
    }
    m->time_type = m->time >= 0 ? p->stored[m->time] : 0;
    p->time_min = INT64_MAX;
    p->time_max = INT64_MIN;
    p->ascending = true;
    for (uint32_t k = 0; k < p->nchunks; k++) {
        struct view_chunk *c = &p->chunk[k];
        c->first = k * size;
        c->rows = in->rows - c->first < size ? (uint32_t)(in->rows - c->first) : size;
        c->data = m->data + (uint64_t)k * v->ncols;
        for (uint32_t i = 1; i < v->ncols; i++)
            if (in->data[i - 1])
                m->data[(uint64_t)k * v->ncols + i] =
                    (const uint8_t *)in->data[i - 1] +
                    (uint64_t)c->first *
                        (p->stored[i] == PST_STRING ? 8 : type_width(p->stored[i]));
        c->time_min = INT64_MAX;
        c->time_max = INT64_MIN;
        if (m->time < 0 || !in->data[m->time - 1]) {
            p->ascending = false;
            continue;
        }
        c->ascending = true;
        int64_t last = INT64_MIN;
        for (uint32_t i = 0; i < c->rows; i++) {
            int64_t t = int_at(in->data[m->time - 1], m->time_type, (uint64_t)c->first + i);
            if (t < last)
                c->ascending = false;
            last = t;
            if (t < c->time_min)
                c->time_min = t;
            if (t > c->time_max)
                c->time_max = t;
        }
        if (!c->ascending || c->time_min < p->time_max)
            p->ascending = false;
        if (c->time_min < p->time_min)
            p->time_min = c->time_min;
        if (c->time_max > p->time_max)
            p->time_max = c->time_max;
    }
    return !in->lists || m->sym < 0 || make_lists(v, p, m);
}

struct view *view_from_memory(const char *name, const struct column_def *cols, unsigned ncols,
                              const struct view_syms *syms, const struct view_memory_part *parts,
                              unsigned nparts, struct err *err)
{
    struct view *v = view_new(name, nparts);
    bool ok = v != NULL;
    if (v)
        v->syms = syms;
    for (unsigned i = 0; ok && i < ncols; i++)
        ok = view_add_column(v, cols[i].name, cols[i].type);
    for (unsigned i = 0; ok && i < nparts; i++) {
        v->nparts++;
        ok = make_part(v, &v->part[i], &parts[i]);
    }
    if (ok)
        return v;
    err_set(err, -ENOMEM, "no memory for the view %s", name);
    view_free(v);
    return NULL;
}
