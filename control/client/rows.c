/* SPDX-License-Identifier: Apache-2.0 */
/* Values of rows, be they a frame's records or a kdb+ table's columns. */
#include <errno.h>
#include <math.h>
#include "client/client_int.h"
#include "core/record.h"
#include "core/schema.h"

/* ---- tables ---- */

struct table *table_make(const char *name, uint32_t len, unsigned ncolumns)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->name = strndup(name, len);
    t->column = calloc(ncolumns ? ncolumns : 1, sizeof *t->column);
    t->pub = (struct pst_table){.name = t->name, .ncolumns = ncolumns, .column = t->column};
    if (t->name && t->column)
        return t;
    tables_free(t);
    return NULL;
}

void tables_free(struct table *t)
{
    while (t) {
        struct table *next = t->next;
        for (unsigned i = 0; t->column && i < t->pub.ncolumns; i++)
            free((char *)t->column[i].name);
        free(t->column);
        free(t->name);
        free((void *)t->schema);
        free(t);
        t = next;
    }
}

int pst_column_of(const struct pst_table *t, const char *name)
{
    for (unsigned i = 0; i < t->ncolumns; i++)
        if (!strcmp(t->column[i].name, name))
            return (int)i;
    return -1;
}

/* ---- a kdb+ table ---- */

static uint8_t type_of(const struct kdb_object *column)
{
    return column->type == KDB_LIST ? PST_STRING : (uint8_t)column->type;
}

struct look {
    struct table *t;
    struct kdb_object *column;
    bool same;
};
static bool compare(void *arg, uint32_t i, const char *name, uint32_t len,
                    const struct kdb_object *column)
{
    struct look *l = arg;
    const struct pst_table_column *c = &l->t->column[i];
    l->same = c->type == type_of(column) && strlen(c->name) == len && !memcmp(c->name, name, len);
    return l->same;
}
static bool name_it(void *arg, uint32_t i, const char *name, uint32_t len,
                    const struct kdb_object *column)
{
    struct look *l = arg;
    l->t->column[i].type = type_of(column);
    l->t->column[i].name = strndup(name, len);
    return l->t->column[i].name != NULL;
}
static bool keep(void *arg, uint32_t i, const char *name, uint32_t len,
                 const struct kdb_object *column)
{
    struct look *l = arg;
    (void)name;
    (void)len;
    l->column[i] = *column;
    return true;
}

static struct table *table_like(struct table **tables, const char *name, uint32_t len,
                                const struct kdb_table *k)
{
    for (struct table *t = *tables; t; t = t->next) {
        struct look l = {.t = t, .same = true};
        if (t->schema || t->pub.ncolumns != k->ncols || strlen(t->name) != len ||
            memcmp(t->name, name, len) != 0)
            continue;
        kdb_table_each(k, compare, &l);
        if (l.same)
            return t;
    }
    struct look l = {.t = table_make(name, len, k->ncols)};
    if (!l.t)
        return NULL;
    if (!kdb_table_each(k, name_it, &l)) {
        tables_free(l.t);
        return NULL;
    }
    l.t->next = *tables;
    return *tables = l.t;
}

void rows_clear(struct pst_rows *r)
{
    for (uint32_t i = 0; r->offset && i < r->ncolumns; i++)
        free(r->offset[i]);
    free(r->offset);
    free(r->column);
    r->offset = NULL;
    r->column = NULL;
    r->ncolumns = r->nrows = r->from = 0;
    r->shared = NULL;
}

bool rows_of_table(struct pst_rows *r, struct table **tables, const char *name, uint32_t len,
                   const struct kdb_object *o, struct err *err)
{
    struct kdb_table k;
    rows_clear(r);
    if (!kdb_table_view(&k, o, err))
        return false;
    r->table = table_like(tables, name, len, &k);
    r->column = calloc(k.ncols, sizeof *r->column);
    r->offset = calloc(k.ncols, sizeof *r->offset);
    r->ncolumns = k.ncols;
    r->nrows = k.rows;
    if (!r->table || !r->column || !r->offset)
        return err_set(err, -ENOMEM, "no memory for rows");
    kdb_table_each(&k, keep, &(struct look){.column = r->column});
    return true;
}

void pst_rows_free(struct pst_rows *r)
{
    if (!r)
        return;
    rows_clear(r);
    tables_free(r->table); /* an answer's table is its own */
    free(r->bytes);
    free(r);
}

uint64_t pst_rows_count(const struct pst_rows *r)
{
    struct pst_row row;
    uint64_t n = 0;
    if (!r->shared)
        return r->nrows - r->from;
    for (bool more = shared_first(r, &row); more; more = shared_row(r, &row))
        n++;
    return n;
}

bool pst_first(struct pst_rows *r, struct pst_row *row)
{
    if (r->shared)
        return shared_first(r, row);
    *row = (struct pst_row){.table = &r->table->pub, .n = r->from};
    return r->from < r->nrows;
}
bool pst_next_row(struct pst_rows *r, struct pst_row *row)
{
    return r->shared ? shared_row(r, row) : ++row->n < r->nrows;
}

/* ---- values ---- */

/* Where each text of a column begins, beside the last one's end; made once. NULL: no memory. */
static const uint32_t *offsets(const struct pst_rows *r, unsigned i)
{
    const struct kdb_object *o = &r->column[i];
    if (r->offset[i])
        return r->offset[i];
    uint32_t *at = malloc(((size_t)o->count + 1) * sizeof *at), n = 0;
    if (!at)
        return NULL;
    if (o->type == PST_SYMBOL) {
        struct kdb_texts t;
        for (bool more = kdb_texts(o, &t); more; more = kdb_texts_next(&t))
            at[n++] = (uint32_t)((const uint8_t *)t.text - o->data);
    } else {
        struct kdb_items t;
        for (bool more = kdb_items(o, &t); more; more = kdb_items_next(&t))
            at[n++] = (uint32_t)(t.item.at - o->data);
    }
    at[n] = 0;
    return r->offset[i] = at;
}

/* The value's bytes as a record has them (symbols: the id); NULL: the column is of no fixed width.
 * Of a kdb+ table's column only if it is little endian: *value otherwise. */
static const uint8_t *fixed(const struct pst_rows *r, const struct pst_row *row, unsigned i,
                            uint8_t value[16])
{
    if (i >= row->table->ncolumns)
        return NULL;
    if (!r->shared) {
        const struct kdb_object *o = &r->column[i];
        if (!kdb_object_width(o->type))
            return NULL;
        kdb_object_copy(o, (uint32_t)row->n, 1, value);
        return value;
    }
    const struct column *c = &((const struct table *)row->table)->schema->col[i];
    if (!c->packet)
        return (const uint8_t *)row->p[0] + c->offset;
    const struct packet_record *p = row->p[1];
    if (!p) {
        type_put_null(value, c->type);
        return value;
    }
    if (c->offset == offsetof(struct packet_record, seq)) {
        uint32_t flags = p->flags;
        uint64_t seq = flags & RUN_UNSEQUENCED  ? (uint64_t)PST_NULL_LONG
                       : flags & RUN_PACKET_SEQ ? p->seq
                                                : p->seq + row->n;
        memcpy(value, &seq, sizeof seq);
        return value;
    }
    if (c->offset ==
        offsetof(struct packet_record, flags)) { /* the high ones are the run's shape */
        uint32_t flags = p->flags & ROW_FLAG_MASK;
        memcpy(value, &flags, sizeof flags);
        return value;
    }
    return (const uint8_t *)p + c->offset;
}

static int64_t whole(uint8_t type, const uint8_t *v)
{
    double f;
    float e;
    switch (type) {
    case PST_BOOLEAN:
    case PST_BYTE:
    case PST_CHAR:
        return v[0];
    case PST_SHORT:
        return (int16_t)le16(v);
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return (int64_t)le64(v);
    case PST_FLOAT:
    case KDB_DATETIME:
        memcpy(&f, v, sizeof f);
        return isnan(f) || fabs(f) > 9.2e18 ? PST_NULL_LONG : llrint(f);
    case PST_REAL:
        memcpy(&e, v, sizeof e);
        return isnan(e) || fabsf(e) > 9.2e18f ? PST_NULL_LONG : llrintf(e);
    case PST_GUID:
    case PST_SYMBOL:
    case PST_STRING:
        return PST_NULL_LONG;
    default:
        return (int32_t)le32(v);
    }
}

int64_t pst_long(const struct pst_rows *r, const struct pst_row *row, unsigned i)
{
    uint8_t value[16];
    const uint8_t *v = fixed(r, row, i, value);
    return v ? whole(row->table->column[i].type, v) : PST_NULL_LONG;
}

static bool null_of(uint8_t type, const uint8_t *v)
{
    double f;
    float e;
    static const uint8_t zero[16];
    switch (type) {
    case PST_BOOLEAN:
    case PST_BYTE:
        return false;
    case PST_CHAR:
        return v[0] == PST_NULL_CHAR;
    case PST_GUID:
        return !memcmp(v, zero, 16);
    case PST_FLOAT:
    case KDB_DATETIME:
        memcpy(&f, v, sizeof f);
        return isnan(f);
    case PST_REAL:
        memcpy(&e, v, sizeof e);
        return isnan(e);
    case PST_SHORT:
        return (int16_t)le16(v) == PST_NULL_SHORT;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return (int64_t)le64(v) == PST_NULL_LONG;
    default:
        return (int32_t)le32(v) == PST_NULL_INT;
    }
}

double pst_double(const struct pst_rows *r, const struct pst_row *row, unsigned i)
{
    uint8_t value[16];
    const uint8_t *v = fixed(r, row, i, value);
    double f;
    float e;
    uint8_t type = i < row->table->ncolumns ? row->table->column[i].type : 0;
    if (!v || type == PST_GUID || type == PST_SYMBOL || type == PST_STRING || null_of(type, v))
        return NAN;
    if (type == PST_FLOAT || type == KDB_DATETIME) {
        memcpy(&f, v, sizeof f);
        return f;
    }
    if (type == PST_REAL) {
        memcpy(&e, v, sizeof e);
        return (double)e;
    }
    return (double)whole(type, v);
}

const char *pst_text(const struct pst_rows *r, const struct pst_row *row, unsigned i, uint32_t *len)
{
    uint8_t value[16];
    *len = 0;
    if (i >= row->table->ncolumns)
        return NULL;
    uint8_t type = row->table->column[i].type;
    if (!r->shared) {
        const struct kdb_object *o = &r->column[i];
        struct kdb_object item;
        if (type == PST_CHAR) {
            *len = 1;
            return (const char *)o->data + row->n;
        }
        if (type != PST_SYMBOL && type != PST_STRING)
            return NULL;
        const uint32_t *at = offsets(r, i);
        if (!at)
            return NULL;
        if (type == PST_SYMBOL) {
            const char *text = (const char *)o->data + at[row->n];
            *len = (uint32_t)strlen(text);
            return text;
        }
        kdb_object_view(&item, o->data + at[row->n], o->order);
        const char *text = kdb_object_text(&item, len);
        return text ? text : "";
    }
    if (type == PST_SYMBOL)
        return shared_symbol(r->shared, le32(fixed(r, row, i, value)), len);
    if (type == PST_CHAR) {
        *len = 1;
        return (const char *)row->p[0] + ((const struct table *)row->table)->schema->col[i].offset;
    }
    if (type != PST_STRING)
        return NULL;
    /* record_string, with the record's length as it was when the row was found */
    const uint8_t *rec = row->p[0];
    uint16_t offset = ((const struct table *)row->table)->schema->col[i].offset;
    uint32_t at = le32(rec + offset), n = le32(rec + offset + 4);
    if (at > row->m || n > row->m - at)
        return "";
    *len = n;
    return (const char *)rec + at;
}

bool pst_guid(const struct pst_rows *r, const struct pst_row *row, unsigned i, uint8_t out[16])
{
    uint8_t value[16];
    const uint8_t *v = fixed(r, row, i, value);
    if (!v || row->table->column[i].type != PST_GUID)
        return false;
    memcpy(out, v, 16);
    return true;
}

bool pst_is_null(const struct pst_rows *r, const struct pst_row *row, unsigned i)
{
    uint8_t value[16];
    uint32_t len;
    if (i >= row->table->ncolumns)
        return true;
    uint8_t type = row->table->column[i].type;
    if (type == PST_SYMBOL || type == PST_STRING) {
        pst_text(r, row, i, &len);
        return len == 0;
    }
    const uint8_t *v = fixed(r, row, i, value);
    return !v || null_of(type, v);
}
