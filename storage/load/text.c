/* SPDX-License-Identifier: Apache-2.0 */
/* The window: bytes come in, whole rows go through index and columns, the rest stays. */
#include <errno.h>
#include "load/text_parts.h"

#define WINDOW_MIN 64u
#define ROW_LEAST                                                                                  \
    4096u /* row after row that does not end: so much of each is looked at, at least */
#define WARY 512u

/* ---- the window ---- */

static bool no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for the text that is read");
}

/* Room bytes of text, a newline more, and what is readable around them. */
static bool window(struct load_text *t, uint32_t room)
{
    size_t bytes = (size_t)TEXT_PAD_BEFORE + room + 1 + TEXT_PAD_BEHIND;
    char *memory = calloc(1, bytes), *scratch = malloc(room + 1);
    if (!memory || !scratch) {
        free(memory);
        free(scratch);
        return false;
    }
    if (t->memory)
        memcpy(memory + TEXT_PAD_BEFORE, t->win, t->used);
    free(t->memory);
    free(t->batch.scratch);
    t->memory = memory;
    t->batch.scratch = scratch;
    t->win = memory + TEXT_PAD_BEFORE;
    t->room = room;
    return true;
}

struct load_text *load_text_open(const struct load_reader_config *c, size_t bytes, struct err *err)
{
    const struct load_recipe *r = c->recipe;
    struct load_text *t = calloc(1, sizeof *t);
    if (!t) {
        no_memory(err);
        return NULL;
    }
    t->c = *c;
    t->r = r;
    memcpy(t->syntax.separator, r->separator, r->nseparator);
    t->syntax.nseparator = r->nseparator;
    memcpy(t->syntax.comment, r->comment, r->ncomment);
    t->syntax.ncomment = r->ncomment;
    t->syntax.quote = r->quote ? (uint8_t)r->quote : -1;
    t->syntax.escape = r->escape && r->escape != r->quote ? (uint8_t)r->escape : -1;
    load_days_init(&t->days, r->calendar_tz, r->eod_s);
    t->line = 1;
    t->to_skip = r->skip_lines;
    t->limit = TEXT_ROW_MAX;
    t->batch.recipe = r;
    t->batch.syntax = &t->syntax;
    t->batch.dict = c->dict;
    bool dated = r->date == LOAD_DATE_FILE || r->date == LOAD_DATE_FIXED;
    t->batch.fixed_day = dated ? r->day : TEXT_NO_DAY;
    t->block = t->batch.block = load_block_create(&r->tables[0], 0, 0, err);
    bytes = bytes ? bytes : TEXT_WINDOW;
    bytes = bytes < WINDOW_MIN ? WINDOW_MIN : bytes > TEXT_ROW_MAX ? TEXT_ROW_MAX : bytes;
    t->piece = t->wary = (uint32_t)bytes;
    if (!t->block || !window(t, t->piece)) {
        if (t->block)
            no_memory(err);
        load_text_close(t);
        return NULL;
    }
    return t;
}

void load_text_close(struct load_text *t)
{
    if (!t)
        return;
    load_block_destroy(t->block);
    free(t->memory);
    free(t->batch.scratch);
    free(t->batch.bad);
    free(t->batch.marked);
    free(t->marks);
    free(t->index.row);
    free(t->base);
    free(t->col);
    free(t->day);
    free(t);
}

void load_text_facts(const struct load_text *t, struct load_text_facts *f)
{
    *f = t->facts;
    f->lines = t->line - 1;
}

/* The window's first n bytes have been dealt with; so many '\n' were among them. */
static void drop(struct load_text *t, uint32_t n, uint32_t lines)
{
    t->win += n;
    t->used -= n;
    t->line += lines;
    if (t->narrow) { /* the stretch that a quote without end made us read twice */
        t->narrow -= n < t->narrow ? n : t->narrow;
        if (!t->narrow)
            t->limit = TEXT_ROW_MAX;
    }
}

static uint32_t count_lines(const char *p, uint32_t n)
{
    uint32_t lines = 0;
    for (uint32_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* Lines that are passed over whole. True: the window's beginning is the beginning of a row. */
static bool pass_lines(struct load_text *t)
{
    while (t->to_skip || t->discard) {
        const char *end = memchr(t->win, '\n', t->used);
        if (!end) {
            drop(t, t->used, 0);
            return false;
        }
        if (t->discard)
            t->discard = false;
        else {
            t->to_skip--;
            t->facts.skipped++;
        }
        drop(t, (uint32_t)(end - t->win) + 1, 1);
    }
    return true;
}

static bool begin(struct load_text *t, struct err *err)
{
    const uint8_t *p = (const uint8_t *)t->win;
    t->begun = true;
    if (t->used >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3))
        drop(t, 3, 0);
    else if (t->used >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF)))
        return err_set(err, -EINVAL,
                       "%s: this is UTF-16 (its first bytes say so); deliver it as UTF-8",
                       t->c.path ? t->c.path : "text");
    return true;
}

/* The window's first line is bad and does not end as a row should. */
static bool reject_line(struct load_text *t, int reason, struct err *err)
{
    const char *end = memchr(t->win, '\n', t->used);
    uint32_t n = end ? (uint32_t)(end - t->win) : t->used;
    char sentence[160];
    struct load_reject r = {.line = t->line,
                            .column = "",
                            .reason = text_sentence(reason, 0, sentence),
                            .text = t->win,
                            .len = n && t->win[n - 1] == '\r' ? n - 1 : n};
    t->facts.rejected++;
    if (!t->c.rejects.reject(t->c.rejects.arg, &r, err))
        return false;
    t->narrow = t->used;
    t->limit = t->limit > TEXT_WINDOW ? TEXT_WINDOW
               : t->limit > ROW_LEAST ? t->limit / 2
                                      : t->limit;
    t->discard = !end;
    drop(t, n + (end != NULL), end != NULL);
    return true;
}

/* What the window holds, a piece at a time that fits the cache; with `last`, all of it. */
static bool run(struct load_text *t, bool last, struct err *err)
{
    const struct text_kernels *k = text_kernels();
    uint32_t piece = t->wary;
    if (!t->begun && !begin(t, err))
        return false;
    while (pass_lines(t) && t->used) {
        uint32_t n = piece < t->limit ? piece : t->limit;
        n = n < t->used ? n : t->used;
        const bool whole = n == t->used, added = whole && last && t->win[n - 1] != '\n';
        if (added)
            t->win[n++] = '\n';
        if (!text_room(t, TEXT_MARKS(n)))
            return no_memory(err);
        struct text_index *x = &t->index;
        k->index(&t->syntax, t->win, n, x);
        if (!x->rows) {
            if (n < t->limit && !whole) {
                piece *= 2;
                continue;
            }
            if (n < t->limit && !last)
                return t->used < t->room ||
                       window(t, 2 * t->room < t->limit ? 2 * t->room : t->limit) || no_memory(err);
            if (!reject_line(t, n < t->limit ? TEXT_OPEN : TEXT_LONG_ROW, err))
                return false;
            piece = t->wary;
            continue;
        }
        uint32_t done = x->mark[x->row[x->rows - 1] - 1] + 1, stop = 0;
        if (!text_shape(t, &stop, err) || (t->planned && !text_rows(t, err)))
            return false;
        done = stop ? stop : done;
        drop(t, done < t->used ? done : t->used, x->lines - count_lines(t->win + done, n - done));
        if (stop)
            t->wary = t->piece < WARY ? t->piece : WARY;
        else {
            t->wary = t->wary < t->piece / 2 ? t->wary * 2 : t->piece;
            t->limit = t->limit < TEXT_WINDOW ? TEXT_WINDOW : t->limit;
        }
        if (whole && !last && !stop)
            return true;
        piece = t->wary;
    }
    return true;
}

bool load_text_feed(struct load_text *t, const void *bytes, size_t n, bool last, struct err *err)
{
    const char *p = bytes;
    char *start = t->memory + TEXT_PAD_BEFORE;
    while (n) {
        if (t->win != start)
            memmove(start, t->win, t->used);
        t->win = start;
        size_t take = n < t->room - t->used ? n : t->room - t->used;
        memcpy(t->win + t->used, p, take);
        t->used += (uint32_t)take;
        p += take;
        n -= take;
        if (t->used == t->room && !run(t, false, err))
            return false;
        start = t->memory + TEXT_PAD_BEFORE;
    }
    if (!last)
        return true;
    if (!run(t, true, err))
        return false;
    if (t->block->rows && !t->c.sink.block(t->c.sink.arg, t->block, err))
        return false;
    load_block_clear(t->block);
    return true;
}

/* ---- as a reader of the read task ---- */

static void *reader_open(const struct load_reader_config *c, struct err *err)
{
    return load_text_open(c, 0, err);
}
static bool reader_feed(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                        struct err *err)
{
    *used = n;
    return load_text_feed(reader, bytes, n, last, err);
}
static void reader_close(void *reader)
{
    load_text_close(reader);
}
static json_t *reader_facts(void *reader)
{
    struct load_text_facts f;
    load_text_facts(reader, &f);
    return json_pack("{s:I, s:I, s:b, s:I}", "lines", (json_int_t)f.lines, "skipped",
                     (json_int_t)f.skipped, "header", f.header, "columns", (json_int_t)f.columns);
}

const struct load_reader load_reader_text = {
    .name = "text",
    .open = reader_open,
    .feed = reader_feed,
    .close = reader_close,
    .facts = reader_facts,
};
