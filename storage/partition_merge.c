/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_merge.c - many sources of ascending times, row by row in the order of time. A window
 * takes of each source the rows below one time that all of them reach, as words of (time from the
 * window's start, number in the window): no two are equal, and the number keeps arrival order. The
 * words are merged pair by pair in the second-level cache.
 */
#include "partition.h"

#define WINDOW 8192u
#define SPAN   ((int64_t)1 << (63 - WD_NUMBER_BITS))

struct wd_lane {
    const int64_t *time;   /* NULL: all null */
    const uint32_t *code;  /* of the file; NULL: all null */
    const uint32_t *index; /* code -> index in sym */
    uint32_t codes;
    uint64_t at, rows, first;
    uint32_t taken; /* of this window */
};

static int64_t time_at(const struct wd_lane *l, uint64_t i)
{
    return l->time ? l->time[i] : PST_NULL_LONG;
}

bool wd_merge_open(struct wd_merge *m, const struct wd_source *source, unsigned nsources,
                   const uint64_t *from, const uint64_t *to, struct err *err)
{
    memset(m, 0, sizeof *m);
    m->lane = calloc(nsources + 1, sizeof *m->lane);
    size_t n = WINDOW + nsources;
    m->key = malloc(n * sizeof *m->key);
    m->spare = malloc(n * sizeof *m->spare);
    m->in_row = malloc(n * sizeof *m->in_row);
    m->in_code = malloc(n * sizeof *m->in_code);
    bool ok = m->lane && m->key && m->spare && m->in_row && m->in_code;
    if (!ok)
        err_set(err, -ENOMEM, "no memory to merge %u files", nsources);
    for (unsigned i = 0; ok && i < nsources; i++) {
        const struct wd_source *s = &source[i];
        struct wd_lane *l = &m->lane[m->lanes];
        if (from ? from[i] == to[i] : !s->rows)
            continue;
        *l = (struct wd_lane){.at = from ? from[i] : 0,
                              .rows = to ? to[i] : s->rows,
                              .first = s->first,
                              .index = s->loaded->index,
                              .codes = s->loaded->codes};
        if (s->from[0] >= 0)
            ok = (l->time = wd_loaded_flat(s, (unsigned)s->from[0], err)) != NULL;
        if (ok && s->from[1] >= 0)
            ok = (l->code = wd_loaded_flat(s, (unsigned)s->from[1], err)) != NULL;
        m->lanes++;
    }
    if (!ok)
        wd_merge_close(m);
    return ok;
}

void wd_merge_close(struct wd_merge *m)
{
    free(m->lane);
    free(m->key);
    free(m->spare);
    free(m->in_row);
    free(m->in_code);
    memset(m, 0, sizeof *m);
}

/* Codes were checked when the symbols were counted. The null symbol + 1 is code 0. */
pst_inline uint32_t code_at(const struct wd_lane *l, uint64_t i)
{
    return l->code ? l->index[l->code[i]] + 1 : 0;
}

/* Rows from `at` on, at most `most`, whose time is below `end`. */
static uint32_t below(const struct wd_lane *l, uint32_t most, int64_t end)
{
    uint64_t lo = l->at, hi = l->rows - l->at < most ? l->rows : l->at + most;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (time_at(l, mid) < end)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (uint32_t)(lo - l->at);
}

/* Rows that all have the time `t`, source by source: already in order. */
static bool ties(struct wd_merge *m, int64_t t)
{
    for (unsigned i = 0; i < m->lanes && m->n < WINDOW; i++) {
        struct wd_lane *l = &m->lane[i];
        while (l->at < l->rows && m->n < WINDOW && time_at(l, l->at) == t) {
            m->key[m->n] = m->n;
            m->in_row[m->n] = (uint32_t)(l->first + l->at);
            m->in_code[m->n++] = code_at(l, l->at);
            l->at++;
        }
    }
    return true;
}

/* Two runs become one, from both ends at once: each step waits for the one before it, the two
 * chains do not wait for each other. So many steps are safe as the shorter run has words. */
static uint64_t *merge_two(const uint64_t *a, const uint64_t *ae, const uint64_t *b,
                           const uint64_t *be, uint64_t *out)
{
    size_t n = (size_t)(ae - a) + (size_t)(be - b);
    size_t steps = (size_t)(ae - a) < (size_t)(be - b) ? (size_t)(ae - a) : (size_t)(be - b);
    uint64_t *end = out + n, *back = end;
    for (size_t i = 0; i < steps; i++) {
        uint64_t x = *a, y = *b, u = ae[-1], v = be[-1];
        bool first = x<y, last = u> v;
        *out++ = first ? x : y;
        *--back = last ? u : v;
        a += first;
        b += !first;
        ae -= last;
        be -= !last;
    }
    while (a < ae && b < be) {
        uint64_t x = *a, y = *b;
        bool first = x < y;
        *out++ = first ? x : y;
        a += first;
        b += !first;
    }
    memcpy(out, a, (size_t)((const char *)ae - (const char *)a));
    memcpy(out + (ae - a), b, (size_t)((const char *)be - (const char *)b));
    return end;
}

/* Runs that ascend, end[i] each, become one. Returns where it is. */
static const uint64_t *merge_runs(uint64_t *from, uint64_t *to, uint32_t *end, unsigned runs)
{
    while (runs > 1) {
        unsigned n = 0;
        uint32_t a = 0;
        uint64_t *out = to;
        for (unsigned i = 0; i < runs; i += 2) {
            uint32_t b = end[i], c = i + 1 < runs ? end[i + 1] : b;
            out = merge_two(from + a, from + b, from + b, from + c, out);
            end[n++] = c;
            a = c;
        }
        runs = n;
        uint64_t *t = from;
        from = to;
        to = t;
    }
    return from;
}

bool wd_merge_next(struct wd_merge *m)
{
    int64_t start = INT64_MAX, end = INT64_MAX;
    bool all = true; /* no source has more than its share */
    uint32_t ends[WD_LANES], runs = 0, n = 0;
    m->n = 0;
    unsigned left = 0;
    for (unsigned i = 0; i < m->lanes; i++) { /* what is over goes, the order stays */
        if (m->lane[i].at == m->lane[i].rows)
            continue;
        m->lane[left++] = m->lane[i];
    }
    m->lanes = left;
    if (!left)
        return false;
    uint32_t share = WINDOW / left ? WINDOW / left : 1;
    for (unsigned i = 0; i < left; i++) {
        const struct wd_lane *l = &m->lane[i];
        int64_t t = time_at(l, l->at);
        start = t < start ? t : start;
        if (l->rows - l->at <= share)
            continue;
        all = false;
        t = time_at(l, l->at + share);
        end = t < end ? t : end;
    }
    bool far = start > INT64_MAX - SPAN;
    if (!far && (all || end > start + SPAN)) {
        end = start + SPAN;
        all = false;
    }
    m->start = start;
    m->order = m->key;
    if (!all && end == start)
        return ties(m, start);
    for (unsigned i = 0; i < left; i++) {
        struct wd_lane *l = &m->lane[i];
        uint32_t k = all ? (uint32_t)(l->rows - l->at) : below(l, share, end);
        if (!k)
            continue;
        for (uint32_t r = 0; r < k; r++) {
            m->key[n + r] =
                ((uint64_t)time_at(l, l->at + r) - (uint64_t)start) << WD_NUMBER_BITS | (n + r);
            m->in_row[n + r] = (uint32_t)(l->first + l->at + r);
            m->in_code[n + r] = code_at(l, l->at + r);
        }
        n += k;
        l->at += k;
        ends[runs++] = n;
    }
    m->order = merge_runs(m->key, m->spare, ends, runs);
    m->n = n;
    return true;
}
