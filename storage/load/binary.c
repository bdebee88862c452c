/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "load/binary.h"

#define REFUSED 0xFFFFFFFEu

enum kind { KIND_FIXED, KIND_SYMBOL, KIND_STRING, KIND_SEQ, KIND_FLAGS };

struct plan { /* a column of a table */
    uint8_t kind, width;
    bool packet;
    uint16_t offset;
};

struct load_records {
    struct load_reader_config c;
    unsigned n;
    struct schema schema[LOAD_TABLES];
    struct load_block *block[LOAD_TABLES];
    struct plan plan[LOAD_TABLES][SCHEMA_COLUMNS_MAX];
    uint64_t rows;
};

static void make_plan(struct load_records *r, unsigned t)
{
    const struct schema *s = &r->schema[t];
    for (unsigned c = 0; c < s->ncols; c++) {
        struct plan *p = &r->plan[t][c];
        uint8_t type = s->col[c].type;
        p->offset = s->col[c].offset;
        p->packet = s->col[c].packet;
        p->width = (uint8_t)type_width(type);
        p->kind = type == PST_SYMBOL ? KIND_SYMBOL : type == PST_STRING ? KIND_STRING : KIND_FIXED;
        if (p->packet && !strcmp(s->col[c].name, "seq"))
            p->kind = KIND_SEQ;
        else if (p->packet && !strcmp(s->col[c].name, "flags"))
            p->kind = KIND_FLAGS;
    }
}

struct load_records *load_records_open(const struct load_reader_config *c, struct err *err)
{
    struct load_records *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, -ENOMEM, "no memory to read %s", c->path);
        return NULL;
    }
    r->c = *c;
    r->n = c->recipe->ntables;
    for (unsigned i = 0; i < r->n; i++) {
        r->schema[i] = c->recipe->tables[i];
        r->schema[i].id = (uint16_t)(TABLE_FIRST + i);
        make_plan(r, i);
    }
    return r;
}

void load_records_close(struct load_records *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->n; i++)
        load_block_destroy(r->block[i]);
    free(r);
}

const struct schema *load_records_schema(const struct load_records *r, unsigned table)
{
    return &r->schema[table];
}

uint32_t load_records_symbol(struct load_records *r, const char *text, uint32_t len)
{
    if (!len)
        return PST_NULL_SYMBOL;
    if (len > LOAD_SYMBOL_BYTES || memchr(text, 0, len))
        return REFUSED;
    uint32_t code = load_dict_code_exact(r->c.dict, text, len);
    return code == LOAD_NO_CODE ? REFUSED : code;
}

static bool hand_on(struct load_records *r, struct load_block *b, struct err *err)
{
    if (b->rows && !r->c.sink.block(r->c.sink.arg, b, err))
        return false;
    load_block_clear(b);
    return true;
}

static bool put_string(struct load_block *b, const struct record *row, const struct plan *p,
                       struct load_string *to, bool *full)
{
    uint32_t len = 0;
    const char *text = record_string(row, p->offset, &len);
    if (!text)
        return false;
    *full = !load_block_text(b, len, &to->at);
    if (*full)
        return true;
    to->len = len;
    memcpy(b->heap + to->at, text, len);
    return true;
}

/* False: the record is none. *full: its texts find no room; nothing was added. */
static bool put_row(struct load_records *r, unsigned t, const struct record *row,
                    const struct packet_record *packet, int64_t seq, bool *full)
{
    struct load_block *b = r->block[t];
    const struct schema *s = &r->schema[t];
    *full = false;
    if (row->bytes < s->fixed)
        return false;
    for (unsigned c = 0; c < s->ncols; c++) {
        const struct plan *p = &r->plan[t][c];
        uint8_t *to = (uint8_t *)b->col[c] + (size_t)b->rows * p->width;
        const uint8_t *from = p->packet && packet ? (const uint8_t *)packet + p->offset
                                                  : (const uint8_t *)row + p->offset;
        if (p->packet && !packet)
            load_null(b, c, b->rows);
        else if (p->kind == KIND_SYMBOL)
            put32(to, le32(from) == PST_NULL_SYMBOL || le32(from) == REFUSED ? 0 : le32(from));
        else if (p->kind == KIND_SEQ)
            put64(to, (uint64_t)seq);
        else if (p->kind == KIND_FLAGS)
            put32(to, le32(from) & ROW_FLAG_MASK);
        else if (p->kind == KIND_STRING) {
            if (!put_string(b, row, p, (struct load_string *)(void *)to, full))
                return false;
            if (*full)
                return true;
        } else
            memcpy(to, from, p->width);
    }
    b->rows++;
    return true;
}

static bool one_row(struct load_records *r, const struct record *row,
                    const struct packet_record *packet, int64_t seq, int32_t day, struct err *err)
{
    unsigned t = row->table - TABLE_FIRST;
    bool full;
    if (t >= r->n)
        return err_set(err, -EPROTO, "%s: a decoder wrote a row of an unknown table: a bug",
                       r->c.path);
    if (!r->block[t] && !(r->block[t] = load_block_create(&r->c.recipe->tables[t], t, 0, err)))
        return false;
    struct load_block *b = r->block[t];
    for (unsigned tries = 0;; tries++) {
        uint32_t heap = b->heap_bytes;
        if (!put_row(r, t, row, packet, seq, &full))
            return err_set(err, -EPROTO, "%s: a decoder wrote an unsound row: a bug", r->c.path);
        if (!full)
            break;
        b->heap_bytes = heap;
        if (tries)
            return err_set(err, -ENOMEM, "%s: no memory for its texts", r->c.path);
        if (!hand_on(r, b, err))
            return false;
    }
    if (!load_block_run(b, day, 1))
        return err_set(err, -ENOMEM, "%s: no memory for its dates", r->c.path);
    r->rows++;
    load_progress_add(r->c.progress, 1, 0);
    return b->rows < b->room || hand_on(r, b, err);
}

bool load_records_take(struct load_records *r, const uint8_t *p, const uint8_t *end, int32_t day,
                       struct err *err)
{
    struct record_walk w = {.at = p, .end = end};
    const struct record *row;
    while ((row = record_walk_next(&w)))
        if (!one_row(r, row, w.packet, record_walk_seq(&w), day, err))
            return false;
    return !w.bad ||
           err_set(err, -EPROTO, "%s: a decoder wrote records that are none: a bug", r->c.path);
}

bool load_records_flush(struct load_records *r, struct err *err)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->block[i] && !hand_on(r, r->block[i], err))
            return false;
    return true;
}

uint64_t load_records_rows(const struct load_records *r)
{
    return r->rows;
}
