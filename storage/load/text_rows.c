/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a window to blocks: columns, constants, dates; bad rows out of them, in order. */
#include <errno.h>
#include "core/civil.h"
#include "load/text_parts.h"

static bool no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for a block of rows");
}

/* The block goes to the sink. */
static bool hand_on(struct load_text *t, struct err *err)
{
    if (!t->block->rows)
        return true;
    if (!t->c.sink.block(t->c.sink.arg, t->block, err))
        return false;
    load_block_clear(t->block);
    return true;
}

static bool fill_column(struct load_text *t, struct text_fill *f, uint32_t rows)
{
    struct load_block *b = t->block;
    uint8_t *to = (uint8_t *)b->col[f->to] + (size_t)b->rows * f->width;
    uint8_t type = b->schema->col[f->to].type;
    if (f->text && type == PST_SYMBOL) {
        uint32_t code = load_dict_code_exact(t->c.dict, f->text, (uint32_t)strlen(f->text));
        if (code == LOAD_NO_CODE)
            return false;
        memcpy(f->value, &code, 4);
    } else if (f->text) { /* all its rows in a block point to the first one's text */
        struct load_string s = {0, (uint32_t)strlen(f->text)};
        if (b->rows)
            memcpy(&s, b->col[f->to], sizeof s);
        else if (!load_block_text(b, s.len, &s.at))
            return false;
        else
            memcpy(b->heap + s.at, f->text, s.len);
        memcpy(f->value, &s, sizeof s);
    }
    memcpy(to, f->value, rows ? f->width : 0);
    for (size_t done = f->width, all = (size_t)rows * f->width; done < all;) {
        size_t n = done < all - done ? done : all - done; /* what stands there, once more */
        memcpy(to + done, to, n);
        done += n;
    }
    return true;
}

static bool room_for(struct load_text *t, uint32_t rows)
{
    struct text_batch *b = &t->batch;
    if (rows <= t->room_rows)
        return true;
    int32_t *day = realloc(t->day, rows * sizeof *day);
    if (day)
        t->day = day;
    uint8_t *marked = realloc(b->marked, rows / 8 + 1);
    if (marked)
        b->marked = marked;
    if (!day || !marked)
        return false;
    t->room_rows = rows;
    return true;
}

/* Rows without a date are bad. true: every row is of *one. */
static bool dates(struct load_text *t, int32_t *one)
{
    struct text_batch *b = &t->batch;
    struct load_days *d = &t->days;
    const struct text_column *why = NULL;
    for (unsigned i = 0; i < t->ncols; i++)
        if (!t->col[i].to)
            why = &t->col[i];
    if (t->r->date == LOAD_DATE_FILE || t->r->date == LOAD_DATE_FIXED) {
        *one = t->r->day;
        return true;
    }
    if (t->r->date == LOAD_DATE_COLUMN) {
        bool same = true;
        for (uint32_t r = 0; r < b->rows; r++)
            same &= t->day[r] == t->day[0];
        *one = t->day[0];
        return same;
    }
    const int64_t *time = (const int64_t *)t->block->col[0] + t->block->rows;
    bool same = true;
    for (uint32_t r = 0; r < b->rows; r++)
        same &= time[r] >= d->from && time[r] < d->end;
    if (pst_likely(same) && d->day >= 0 && d->day <= CIVIL_DAY_MAX) {
        *one = d->day;
        return true;
    }
    for (uint32_t r = 0; r < b->rows; r++) {
        if (text_batch_is_bad(b, r))
            continue;
        if (time[r] == PST_NULL_TIMESTAMP) {
            text_batch_bad(b, why, r, TEXT_TIMELESS);
            continue;
        }
        t->day[r] = load_day(d, time[r]);
        if (t->day[r] < 0 || t->day[r] > CIVIL_DAY_MAX)
            text_batch_bad(b, why, r, TEXT_DAY);
    }
    return false;
}

static uint32_t squeeze(const struct text_batch *b, uint8_t *at, unsigned width)
{
    uint32_t to = 0;
    for (uint32_t r = 0; r < b->rows; r++)
        if (!text_batch_is_bad(b, r)) {
            memmove(at + (size_t)to * width, at + (size_t)r * width, width);
            to++;
        }
    return to;
}

static bool one_batch(struct load_text *t, uint32_t first, uint32_t rows, struct err *err)
{
    struct text_batch *b = &t->batch;
    struct load_block *block = t->block;
    const struct text_kernels *k = text_kernels();
    b->base = t->base + first;
    b->rows = rows;
    b->day = NULL;
    memset(b->marked, 0, rows / 8 + 1);
    uint32_t before = b->nbad;
    for (unsigned i = 0; i < t->ncols; i++) {
        struct text_column *c = &t->col[i];
        c->out = c->to < 0 ? (uint8_t *)t->day
                           : (uint8_t *)block->col[c->to] + (size_t)block->rows * c->width;
        if (c->to < 0) /* what a bad row leaves is no day */
            for (uint32_t r = 0; r < rows; r++)
                t->day[r] = PST_NULL_INT;
        k->column(b, c);
        if (c->to < 0) {
            b->day = t->day;
            for (uint32_t r = 0; r < rows; r++)
                if (pst_unlikely(t->day[r] < 0 || t->day[r] > CIVIL_DAY_MAX))
                    text_batch_bad(b, c, r, t->day[r] == PST_NULL_INT ? TEXT_TIMELESS : TEXT_DAY);
        }
    }
    bool ok = !b->failed;
    for (unsigned i = 0; ok && i < t->nfill; i++)
        ok = fill_column(t, &t->fill[i], rows);
    if (!ok)
        return no_memory(err);
    int32_t one = 0;
    bool same = dates(t, &one);
    if (b->nbad > before) {
        uint32_t left = rows;
        for (unsigned i = 0; i < block->schema->ncols; i++) {
            unsigned width = load_width(block->schema->col[i].type);
            left = squeeze(b, (uint8_t *)block->col[i] + (size_t)block->rows * width, width);
        }
        if (!same)
            squeeze(b, (uint8_t *)t->day, sizeof *t->day);
        rows = left;
    }
    for (uint32_t r = 0; r < rows;) {
        uint32_t n = same ? rows : 1;
        int32_t day = same ? one : t->day[r];
        while (r + n < rows && t->day[r + n] == day)
            n++;
        if (!load_block_run(block, day, n))
            return no_memory(err);
        r += n;
    }
    block->rows += rows;
    t->facts.rows += rows;
    load_progress_add(t->c.progress, rows, 0);
    return true;
}

static int by_start(const void *a, const void *b)
{
    uint32_t x = ((const struct text_bad *)a)->start, y = ((const struct text_bad *)b)->start;
    return (x > y) - (x < y);
}

/* The end of the row that begins there: quotes may hold line ends. */
static uint32_t end_of(const struct text_index *x, uint32_t start)
{
    uint32_t low = 0, high = x->rows;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (x->mark[x->row[mid] - 1] < start)
            low = mid + 1;
        else
            high = mid;
    }
    return low < x->rows ? x->mark[x->row[low] - 1] : start;
}

static bool reject_all(struct load_text *t, struct err *err)
{
    struct text_batch *b = &t->batch;
    uint64_t line = t->line;
    uint32_t at = 0;
    if (!b->nbad)
        return true;
    qsort(b->bad, b->nbad, sizeof *b->bad, by_start);
    for (uint32_t i = 0; i < b->nbad; i++) {
        const struct text_bad *bad = &b->bad[i];
        for (; at < bad->start; at++)
            line += t->win[at] == '\n';
        char sentence[160], fields[160];
        uint32_t end = bad->end ? bad->end : end_of(&t->index, bad->start);
        end -= end > bad->start && t->win[end - 1] == '\r';
        const char *why =
            text_sentence(bad->reason, bad->column ? bad->column->how.type : 0, sentence);
        if (bad->reason == TEXT_FIELDS) {
            snprintf(fields, sizeof fields, "the row has %u fields, and the file %u columns",
                     bad->fields, t->nfields);
            why = fields;
        } else if (bad->reason == TEXT_NO_HEADER) {
            snprintf(fields, sizeof fields,
                     "the first row names no column of table %.31s, so it is no header, and it has "
                     "%u fields instead of %u",
                     t->r->tables[0].name, bad->fields, t->nfields);
            why = fields;
        }
        struct load_reject r = {.line = line,
                                .column = bad->column ? bad->column->name : "",
                                .reason = why,
                                .text = t->win + bad->start,
                                .len = end - bad->start};
        t->facts.rejected++;
        if (!t->c.rejects.reject(t->c.rejects.arg, &r, err))
            return false;
    }
    b->nbad = 0;
    return true;
}

bool text_rows(struct load_text *t, struct err *err)
{
    struct text_batch *b = &t->batch;
    struct load_block *block = t->block;
    b->win = t->win;
    b->mark = t->index.mark;
    b->careful = t->index.careful;
    b->nul = t->index.nul;
    b->odd = b->careful || t->r->trim;
    for (unsigned i = 0; i < t->r->nnulls; i++)
        b->odd |= t->r->null[i][0] != 0;
    for (uint32_t first = 0; first < t->rows;) {
        uint64_t bytes = block->heap_bytes + (uint64_t)t->used + 64ull * block->schema->ncols;
        if ((block->rows == block->room || bytes > LOAD_HEAP_MAX) && !hand_on(t, err))
            return false;
        uint32_t n = t->rows - first < block->room - block->rows ? t->rows - first
                                                                 : block->room - block->rows;
        if (!room_for(t, n))
            return no_memory(err);
        if (!one_batch(t, first, n, err))
            return false;
        first += n;
    }
    return reject_all(t, err);
}
