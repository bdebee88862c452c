/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of an index by their shape: names, good, bent to the columns, bad; stray quotes. */
#include <errno.h>
#include "load/text_parts.h"

static bool no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for the rows of a text");
}

bool text_room(struct load_text *t, uint32_t n)
{
    if (n <= t->room_marks)
        return true;
    uint32_t *marks = realloc(t->marks, ((size_t)n + 1) * sizeof *marks);
    if (!marks)
        return false;
    t->marks = marks;
    t->marks[0] = UINT32_MAX;
    t->index.mark = marks + 1;
    uint32_t *row = realloc(t->index.row, (size_t)n * sizeof *row);
    if (!row)
        return false;
    t->index.row = row;
    uint32_t *base = realloc(t->base, (size_t)n * sizeof *base);
    if (!base)
        return false;
    t->base = base;
    t->room_marks = n;
    return true;
}

/* The names in the first row, to text_plan. */
static bool plan(struct load_text *t, uint32_t row, bool *header, struct err *err)
{
    const struct text_index *x = &t->index;
    uint32_t from = row ? x->row[row - 1] : 0, n = x->row[row] - from;
    const char **name = calloc(n, sizeof *name);
    uint32_t *len = calloc(n, sizeof *len);
    char *room = malloc(t->used + 1), *at = room;
    bool ok = name && len && room;
    if (!ok)
        no_memory(err);
    for (uint32_t i = 0; ok && i < n; i++) {
        uint32_t start = (x->mark + from + i)[-1] + (i ? t->syntax.nseparator : 1);
        const char *p = t->win + start;
        size_t k = x->mark[from + i] - start;
        if (i + 1 == n && k && p[k - 1] == '\r')
            k--;
        while (k && (*p == ' ' || *p == '\t')) {
            p++;
            k--;
        }
        while (k && (p[k - 1] == ' ' || p[k - 1] == '\t'))
            k--;
        if (text_unquote(&t->syntax, &p, &k, t->batch.scratch))
            k = 0;
        memcpy(at, p, k);
        name[i] = at;
        len[i] = (uint32_t)k;
        at += k;
    }
    ok = ok && text_plan(t, name, len, n, header, err);
    free(name);
    free(len);
    free(room);
    return ok;
}

/* A row with another number of fields, as marks of its own behind the others. */
static bool bend(struct load_text *t, uint32_t row, uint32_t start)
{
    struct text_index *x = &t->index;
    uint32_t from = row ? x->row[row - 1] : 0, n = x->row[row] - from;
    if (x->marks + t->nfields + 1 > t->room_marks &&
        !text_room(t, 2 * (t->room_marks + t->nfields)))
        return false;
    uint32_t end = x->mark[x->row[row] - 1], *out = x->mark + x->marks;
    if (n > t->nfields) /* the last field holds what the index took for others */
        x->careful = x->behind = true;
    end -= n < t->nfields && end > start && t->win[end - 1] == '\r';
    *out++ = start - 1;
    t->base[t->rows++] = x->marks + 1;
    for (uint32_t i = 0; i < t->nfields; i++)
        *out++ = i + 1 < n && i + 1 < t->nfields ? x->mark[from + i] : end;
    x->marks += t->nfields + 1;
    return true;
}

/* The first column with text behind its quotes in the row that was listed last; NULL = none. */
static const struct text_column *broken(struct load_text *t)
{
    for (unsigned i = 0; i < t->ncols; i++) {
        const struct text_column *c = &t->col[i];
        const uint32_t *mark = t->index.mark + t->base[t->rows - 1] + c->field;
        uint32_t start = mark[-1] + c->skip;
        const char *p = t->win + start;
        size_t n = mark[0] > start ? mark[0] - start : 0;
        n -= c->last && n && p[n - 1] == '\r';
        if (text_unquote(&t->syntax, &p, &n, t->batch.scratch) == TEXT_BEHIND)
            return c;
    }
    return NULL;
}

bool text_shape(struct load_text *t, uint32_t *stop, struct err *err)
{
    struct text_index *x = &t->index;
    const struct load_recipe *r = t->r;
    const uint32_t rows = x->rows;
    t->rows = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t from = i ? x->row[i - 1] : 0, n = x->row[i] - from;
        uint32_t start = (x->mark + from)[-1] + 1, end = x->mark[x->row[i] - 1];
        struct text_bad bad = {.start = start, .end = end, .fields = n};
        if (n == 1 && (end == start || (end == start + 1 && t->win[start] == '\r'))) {
            t->facts.skipped++;
            continue;
        }
        if (r->ncomment && end - start >= r->ncomment &&
            !memcmp(t->win + start, r->comment, r->ncomment)) {
            t->facts.skipped++;
            continue;
        }
        bool first = !t->planned;
        if (pst_unlikely(first)) {
            bool header;
            if (!plan(t, i, &header, err))
                return false;
            if (header)
                continue;
        }
        if (pst_likely(n == t->nfields)) {
            t->base[t->rows++] = from;
        } else if (n < t->nfields ? r->ragged : r->rest) {
            if (!bend(t, i, start))
                return no_memory(err);
        } else {
            bad.reason = first && r->header == LOAD_HEADER_AUTO && !r->nfields ? TEXT_NO_HEADER
                                                                               : TEXT_FIELDS;
        }
        if (pst_likely(!bad.reason && !x->behind))
            continue;
        const char *line = memchr(t->win + start, '\n', end - start);
        if (!bad.reason) {
            if (!line || !(bad.column = broken(t)))
                continue;
            bad.reason = TEXT_BEHIND;
            t->rows--;
        } else if (line) {
            bad.reason = TEXT_STRAY;
        }
        if (line) {
            bad.end = (uint32_t)(line - t->win);
            *stop = bad.end + 1;
            x->rows = i;
        }
        text_bad_add(&t->batch, bad);
        if (line)
            break;
    }
    return !t->batch.failed || no_memory(err);
}
