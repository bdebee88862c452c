/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tables.h"
#include "fakerows.h"

#define GROW(array, n, cap)                                                                        \
    do {                                                                                           \
        if ((n) == (cap)) {                                                                        \
            (cap) = (cap) ? 2 * (cap) : 64;                                                        \
            (array) = realloc((array), sizeof *(array) * (cap));                                   \
            pst_must(array);                                                                       \
        }                                                                                          \
    } while (0)

static void reset_frame(struct fakerows *f)
{
    f->rows.base = f->frame + FRAME_HEADER;
    f->rows.at = f->rows.base;
    f->rows.limit = f->rows.base + ROWS_FRAME_TARGET;
    f->rows.head = NULL;
    f->rows.records = 0;
}

static void keep_row(struct fakerows *f, const struct record_walk *w, const struct record *r)
{
    GROW(f->row, f->nrows, f->cap_rows);
    struct fakerow *k = &f->row[f->nrows++];
    memset(k, 0, sizeof *k);
    if (w->packet)
        k->packet = *w->packet;
    k->seq = record_walk_seq(w);
    k->schema = schema_set_get(f->schemas, r->table);
    k->record = malloc(r->bytes);
    pst_must(k->record);
    memcpy(k->record, r, r->bytes);
}

static void op_flush(struct rows *rows)
{
    struct fakerows *f = rows->owner;
    rows_close_run(rows);
    if (rows->records) {
        struct frame *h = (struct frame *)f->frame;
        memset(h, 0, sizeof *h);
        h->length = (uint32_t)(rows->at - f->frame);
        h->kind = FRAME_DATA;
        h->day = rows->frame_day;
        pst_must(h->length <= FRAME_MAX);
        struct record_walk w;
        record_walk_start(&w, h);
        for (const struct record *r; (r = record_walk_next(&w));)
            keep_row(f, &w, r);
        pst_must(!w.bad);
        f->frames++;
    }
    reset_frame(f);
}

static uint32_t op_intern(struct rows *rows, const char *text, uint32_t len)
{
    struct fakerows *f = rows->owner;
    f->interns++;
    if (len > 255 || memchr(text, 0, len))
        return SYMBOL_REFUSED;
    for (uint32_t i = 0; i < f->nsyms; i++)
        if (strlen(f->text[i]) == len && !memcmp(f->text[i], text, len))
            return i;
    if (f->nsyms >= f->syms_max)
        return SYMBOL_REFUSED;
    op_flush(rows); /* a new symbol's frame stands before the rows that use it */
    GROW(f->text, f->nsyms, f->cap_syms);
    memcpy(f->text[f->nsyms], text, len);
    f->text[f->nsyms][len] = 0;
    return f->nsyms++;
}

static void op_gap(struct rows *rows, const struct gap *g)
{
    struct fakerows *f = rows->owner;
    op_flush(rows);
    GROW(f->gap, f->ngaps, f->cap_gaps);
    f->gap[f->ngaps++].gap = *g;
}

static void op_mark(struct rows *rows, enum mark_type type, const char *json, uint32_t len)
{
    struct fakerows *f = rows->owner;
    op_flush(rows);
    GROW(f->mark, f->nmarks, f->cap_marks);
    f->mark[f->nmarks].type = type;
    f->mark[f->nmarks].json = strndup(json, len);
    f->nmarks++;
}

static uint64_t op_room(struct rows *rows)
{
    return ((struct fakerows *)rows->owner)->room;
}

static const struct rows_ops ops = {op_flush, op_intern, op_gap, op_mark, op_room};

struct fakerows *fakerows_new(void)
{
    struct fakerows *f = calloc(1, sizeof *f);
    pst_must(f);
    f->frame = aligned_alloc(64, FRAME_MAX);
    f->schemas = schema_set_new();
    pst_must(f->frame && f->schemas);
    f->rows.ops = &ops;
    f->rows.owner = f;
    f->syms_max = 1u << 20;
    f->room = UINT64_MAX;
    reset_frame(f);
    struct schema s;
    bool fresh;
    pst_must(tables_undecoded(&s, NULL));
    f->rows.undecoded = schema_set_intern(f->schemas, &s, &fresh, NULL);
    return f;
}

void fakerows_clear(struct fakerows *f)
{
    for (size_t i = 0; i < f->nrows; i++)
        free(f->row[i].record);
    for (size_t i = 0; i < f->nmarks; i++)
        free(f->mark[i].json);
    f->nrows = f->ngaps = f->nmarks = 0;
    f->rows.head = NULL;
    reset_frame(f);
}

void fakerows_free(struct fakerows *f)
{
    fakerows_clear(f);
    schema_set_free(f->schemas);
    free(f->row);
    free(f->gap);
    free(f->mark);
    free(f->text);
    free(f->frame);
    free(f);
}

const struct schema *fakerows_schema(struct fakerows *f, const char *name,
                                     const struct column_def *cols, unsigned ncols)
{
    struct schema s;
    struct err err;
    bool fresh;
    pst_must(schema_make(&s, 0, name, true, cols, ncols, &err));
    const struct schema *got = schema_set_intern(f->schemas, &s, &fresh, &err);
    pst_must(got);
    return got;
}

void fakerows_flush(struct fakerows *f)
{
    op_flush(&f->rows);
}

static const uint8_t *value(const struct fakerow *r, const char *column, uint8_t *type)
{
    pst_must(r->schema);
    int i = schema_column(r->schema, column);
    if (i < 0)
        fprintf(stderr, "no column %s in %s\n", column, r->schema->name);
    pst_must(i >= 0 && !r->schema->col[i].packet);
    *type = r->schema->col[i].type;
    return (const uint8_t *)r->record + r->schema->col[i].offset;
}

int64_t fakerow_long(const struct fakerow *r, const char *column)
{
    uint8_t type;
    const uint8_t *p = value(r, column, &type);
    switch (type_width(type)) {
    case 8:
        return (int64_t)le64(p);
    case 4:
        return (int32_t)le32(p);
    case 2:
        return (int16_t)le16(p);
    default:
        return *p;
    }
}

double fakerow_float(const struct fakerow *r, const char *column)
{
    uint8_t type;
    const uint8_t *p = value(r, column, &type);
    double v;
    pst_must(type == PST_FLOAT);
    memcpy(&v, p, sizeof v);
    return v;
}

char fakerow_char(const struct fakerow *r, const char *column)
{
    uint8_t type;
    const uint8_t *p = value(r, column, &type);
    pst_must(type == PST_CHAR);
    return (char)*p;
}

const char *fakerow_text(const struct fakerows *f, const struct fakerow *r, const char *column)
{
    uint8_t type;
    const uint8_t *p = value(r, column, &type);
    pst_must(type == PST_SYMBOL);
    uint32_t id = le32(p);
    if (id == PST_NULL_SYMBOL)
        return "";
    pst_must(id < f->nsyms);
    return f->text[id];
}

bool fakerow_null(const struct fakerow *r, unsigned column)
{
    const struct column *c = &r->schema->col[column];
    const uint8_t *p = (const uint8_t *)r->record + c->offset;
    pst_must(!c->packet);
    switch (c->type) {
    case PST_FLOAT:
        return le64(p) == PST_NULL_FLOAT_BITS;
    case PST_LONG:
    case PST_TIMESTAMP:
        return (int64_t)le64(p) == PST_NULL_LONG;
    case PST_INT:
        return (int32_t)le32(p) == PST_NULL_INT;
    case PST_SYMBOL:
        return le32(p) == PST_NULL_SYMBOL;
    case PST_CHAR:
        return *p == (uint8_t)PST_NULL_CHAR;
    default:
        return false;
    }
}
