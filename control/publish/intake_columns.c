/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way that nearly all messages take: a row of atoms, or columns that are vectors, of the types
 * that the table has, little endian. Straight from the message's bytes into records; what is not
 * like that is left to intake_rows.c, with nothing done.
 */
#include <errno.h>
#include <math.h>
#include "intake_parts.h"

#define BLOCK (32u << 10) /* bytes of records that are filled column by column: they stay in L1 */

/* ---- a row ---- */

/* A value of type `type` (positive) at p into the record. False: not of the column's type. */
static bool put_atom(struct intake *in, unsigned calendar, const struct column *c, bool time,
                     uint8_t *rec, int type, const uint8_t *p)
{
    static const int64_t unit[20] = {[PST_TIMESPAN] = 1,
                                     [PST_TIME] = 1000000,
                                     [PST_SECOND] = PST_SECOND_NS,
                                     [PST_MINUTE] = 60 * PST_SECOND_NS};
    uint8_t *to = rec + c->offset;
    if (pst_likely(type == c->type)) {
        uint64_t v;
        switch (type_width(c->type)) {
        case 8:
            v = le64(p);
            if (type == PST_FLOAT && (v & INT64_MAX) > 0x7FF0000000000000ull)
                v = PST_NULL_FLOAT_BITS;
            put64(to, v);
            return true;
        case 4:
            v = le32(p);
            if (type == PST_REAL && (v & INT32_MAX) > 0x7F800000u)
                v = PST_NULL_REAL_BITS;
            put32(to, (uint32_t)v);
            return true;
        default:
            memcpy(to, p, type_width(c->type));
            return true;
        }
    }
    if (!time || type > 19 || !unit[type])
        return false;
    int64_t v = type == PST_TIMESPAN ? (int64_t)le64(p) : (int32_t)le32(p), utc;
    if (type != PST_TIMESPAN && (v == INT32_MIN || v == INT32_MAX || v == -INT32_MAX))
        return false; /* null and infinities: the other path knows them */
    if (v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX ||
        !intake_of_day(in, calendar, v * unit[type], &utc))
        return false;
    put64(to, (uint64_t)utc);
    return true;
}

static bool is_time(int type)
{
    return type == PST_TIMESTAMP || (type >= KDB_DATETIME && type <= PST_TIME);
}

enum intake_fast intake_fast_row(struct intake *in, const struct intake_slot *t,
                                 const struct kdb_object *data, struct err *err)
{
    const struct schema *s = t->schema;
    const uint8_t *p = data->data;
    if (data->type != KDB_LIST || data->order != KDB_LITTLE || !data->count || *p < 128)
        return INTAKE_OTHER;
    unsigned lead = data->count + 1 == s->ncols && !is_time(-(int8_t)*p);
    if (data->count + lead != s->ncols)
        return INTAKE_OTHER;
    uint8_t *rec = intake_room(in, s->fixed);
    if (!rec) {
        err_set(err, -ENOMEM, "no memory for the message");
        return INTAKE_WRONG;
    }
    size_t begun = in->used;
    unsigned calendar = in->cfg.rows.owners ? in->cfg.rows.owners->calendar[s->id] : 0;
    uint32_t bytes = s->fixed;
    memcpy(rec, t->blank, s->fixed);
    if (lead)
        put64(rec + s->col[0].offset, (uint64_t)in->now);
    for (unsigned i = lead; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        int type = (int8_t)*p++;
        if (type == -PST_SYMBOL) {
            uint32_t len = (uint32_t)strlen((const char *)p);
            if (c->type != PST_SYMBOL || len > SYMBOL_TEXT_MAX)
                return INTAKE_OTHER;
            put32(rec + c->offset, intake_symbol(&in->symbols, (const char *)p, len));
            p += len + 1;
        } else if (c->type == PST_STRING) {
            uint32_t len;
            if (type == -PST_CHAR) {
                len = 1;
            } else if (type == PST_CHAR || (type == KDB_LIST && !le32(p + 1))) {
                len = le32(p + 1);
                p += 5;
            } else {
                return INTAKE_OTHER;
            }
            if (len > RECORD_MAX - 8 - bytes || !intake_room(in, pst_align8(bytes + len)))
                return INTAKE_OTHER;
            rec = in->rec + begun;
            put32(rec + c->offset, bytes);
            put32(rec + c->offset + 4, len);
            memcpy(rec + bytes, p, len);
            bytes += len;
            p += len;
        } else {
            if (type >= 0 || -type > 19 || !put_atom(in, calendar, c, i == 0, rec, -type, p))
                return INTAKE_OTHER;
            p += kdb_object_width(-type);
        }
    }
    uint32_t whole = (uint32_t)pst_align8(bytes);
    memset(rec + bytes, 0, whole - bytes);
    ((struct record *)(void *)rec)->bytes = (uint16_t)whole;
    in->used = begun + whole;
    in->rows++;
    return INTAKE_FAST;
}

/* ---- columns ---- */

struct columns {
    const struct schema *s;
    uint32_t rows, n;
    struct source {
        struct kdb_object o;
        const struct column *to;
        const uint8_t *at; /* of the next value; symbols */
    } col[SCHEMA_COLUMNS_MAX];
};

static bool take(struct columns *c, const struct kdb_object *o, const struct column *to)
{
    bool fits = o->type == to->type || (to == &c->s->col[0] && o->type == PST_TIMESPAN);
    if (c->n == SCHEMA_COLUMNS_MAX || !fits || o->order != KDB_LITTLE ||
        (c->n && o->count != c->rows))
        return false;
    c->rows = o->count;
    c->col[c->n++] = (struct source){*o, to, o->data};
    return true;
}

static bool listed(struct columns *c, const struct kdb_object *data)
{
    struct kdb_items i;
    const struct schema *s = c->s;
    if (!kdb_items(data, &i))
        return false;
    unsigned lead = data->count + 1 == s->ncols && !is_time(i.item.type);
    if (data->count + lead != s->ncols)
        return false;
    bool more = true;
    for (unsigned k = lead; more; more = kdb_items_next(&i), k++)
        if (!take(c, &i.item, &s->col[k]))
            return false;
    return true;
}

static bool named(void *arg, uint32_t i, const char *name, uint32_t len,
                  const struct kdb_object *column)
{
    struct columns *c = arg;
    const struct schema *s = c->s;
    (void)i;
    /* most often in the table's order */
    unsigned k = c->n + (c->n < s->ncols && c->n && c->col[0].to != &s->col[0]);
    if (k >= s->ncols || strncmp(s->col[k].name, name, len) || s->col[k].name[len])
        for (k = 0; k < s->ncols && (strncmp(s->col[k].name, name, len) || s->col[k].name[len]);)
            k++;
    if (k == s->ncols)
        return false;
    for (unsigned j = 0; j < c->n; j++)
        if (c->col[j].to == &s->col[k])
            return false;
    return take(c, column, &s->col[k]);
}

static void put8(uint8_t *to, const uint8_t *from, uint32_t n, size_t step)
{
    for (uint32_t i = 0; i < n; i++, to += step)
        memcpy(to, from + 8 * (size_t)i, 8);
}
static void put_floats(uint8_t *to, const uint8_t *from, uint32_t n, size_t step)
{
    for (uint32_t i = 0; i < n; i++, to += step) {
        uint64_t v = le64(from + 8 * (size_t)i);
        put64(to, (v & INT64_MAX) > 0x7FF0000000000000ull ? PST_NULL_FLOAT_BITS : v);
    }
}
static void put4(uint8_t *to, const uint8_t *from, uint32_t n, size_t step)
{
    for (uint32_t i = 0; i < n; i++, to += step)
        memcpy(to, from + 4 * (size_t)i, 4);
}
static void put_reals(uint8_t *to, const uint8_t *from, uint32_t n, size_t step)
{
    for (uint32_t i = 0; i < n; i++, to += step) {
        uint32_t v = le32(from + 4 * (size_t)i);
        put32(to, (v & INT32_MAX) > 0x7F800000u ? PST_NULL_REAL_BITS : v);
    }
}
/* Times of day. False: one is null, infinite or far off: the other path knows. */
static bool put_spans(struct intake *in, const struct schema *s, uint8_t *to, const uint8_t *from,
                      uint32_t n, size_t step)
{
    unsigned calendar = in->cfg.rows.owners ? in->cfg.rows.owners->calendar[s->id] : 0;
    for (uint32_t i = 0; i < n; i++, to += step) {
        int64_t v = (int64_t)le64(from + 8 * (size_t)i), utc;
        if (v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX ||
            !intake_of_day(in, calendar, v, &utc))
            return false;
        put64(to, (uint64_t)utc);
    }
    return true;
}
static void put_others(uint8_t *to, const uint8_t *from, uint32_t n, size_t step, unsigned width)
{
    if (width == 1)
        for (uint32_t i = 0; i < n; i++, to += step)
            *to = from[i];
    else if (width == 2)
        for (uint32_t i = 0; i < n; i++, to += step)
            memcpy(to, from + 2 * (size_t)i, 2);
    else
        for (uint32_t i = 0; i < n; i++, to += step)
            memcpy(to, from + 16 * (size_t)i, 16);
}

/* left: values from here to the vector's end, so that as many bytes are there at least. False: a
 * text is longer than a symbol may be. */
static bool put_symbols(struct intake_symbols *s, struct source *c, uint8_t *to, uint32_t n,
                        uint32_t left, size_t step)
{
    const uint8_t *p = c->at;
    for (uint32_t i = 0; i < n; i++, to += step) {
        uint64_t word = 0;
        uint32_t len;
        if (pst_likely(left - i >= 8)) {
            uint64_t v = le64(p);
            uint64_t zero = (v - 0x0101010101010101ull) & ~v & 0x8080808080808080ull;
            if (pst_likely(zero != 0)) {
                len = (uint32_t)__builtin_ctzll(zero) >> 3;
                word = v & ((1ull << (8 * len)) - 1);
            } else {
                len = 8 + (uint32_t)strlen((const char *)p + 8);
                word = v;
            }
        } else {
            len = (uint32_t)strlen((const char *)p);
            memcpy(&word, p, len < 8 ? len : 8);
        }
        if (len > SYMBOL_TEXT_MAX)
            return false;
        put32(to, intake_symbol_word(s, word, (const char *)p, len));
        p += len + 1;
    }
    c->at = p;
    return true;
}

static bool fill(struct intake *in, struct columns *c, uint8_t *rec, uint32_t from, uint32_t n)
{
    size_t step = c->s->fixed;
    for (unsigned k = 0; k < c->n; k++) {
        struct source *x = &c->col[k];
        uint8_t *to = rec + x->to->offset;
        unsigned width = type_width(x->to->type);
        const uint8_t *at = x->o.data + (size_t)from * width;
        if (x->to->type == PST_SYMBOL) {
            if (!put_symbols(&in->symbols, x, to, n, c->rows - from, step))
                return false;
        } else if (x->o.type != x->to->type) {
            if (!put_spans(in, c->s, to, at, n, step))
                return false;
        } else if (x->to->type == PST_FLOAT) {
            put_floats(to, at, n, step);
        } else if (x->to->type == PST_REAL) {
            put_reals(to, at, n, step);
        } else if (width == 8) {
            put8(to, at, n, step);
        } else if (width == 4) {
            put4(to, at, n, step);
        } else {
            put_others(to, at, n, step, width);
        }
    }
    return true;
}

enum intake_fast intake_fast_columns(struct intake *in, const struct intake_slot *t,
                                     const struct kdb_object *data, struct err *err)
{
    const struct schema *s = t->schema;
    struct columns c;
    struct kdb_table table;
    c.s = s;
    c.rows = c.n = 0;
    if (s->nstrings || data->order != KDB_LITTLE)
        return INTAKE_OTHER;
    if (data->type == KDB_LIST ? !data->count || *data->data >= 128 || !listed(&c, data)
                               : data->type != KDB_TABLE || !kdb_table_view(&table, data, NULL) ||
                                     !kdb_table_each(&table, named, &c))
        return INTAKE_OTHER;
    bool time = false;
    for (unsigned k = 0; k < c.n; k++)
        time |= c.col[k].to == &s->col[0];
    size_t bytes = (size_t)c.rows * s->fixed, step = s->fixed;
    uint8_t *rec = c.rows ? intake_room(in, bytes) : NULL;
    if (!rec && c.rows) {
        err_set(err, -E2BIG, "%u rows of %u bytes are more than one message may hold: send fewer",
                c.rows, s->fixed);
        return INTAKE_WRONG;
    }
    uint32_t block = BLOCK / s->fixed ? BLOCK / s->fixed : 1;
    pst_aligned(8) struct record blank;
    memcpy(&blank, t->blank, sizeof blank);
    blank.time = time ? blank.time : in->now;
    for (uint32_t from = 0, n; from < c.rows; from += n, rec += n * step) {
        n = c.rows - from < block ? c.rows - from : block;
        for (uint32_t i = 0; i < n; i++) {
            memcpy(rec + i * step, t->blank, step);
            memcpy(rec + i * step, &blank, sizeof blank);
        }
        if (!fill(in, &c, rec, from, n))
            return INTAKE_OTHER; /* it will name row and column */
    }
    in->used += bytes;
    in->rows += c.rows;
    return INTAKE_FAST;
}
