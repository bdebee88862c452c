/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values.h - values, parameters, columns and rows that are kept, for plugins of
 * penstock/analytic.h: a header alone. All of it is for the thread that makes the plugin's calls.
 * Out of memory ends the process, as a crash does.
 */
#ifndef PENSTOCK_VALUES_H
#define PENSTOCK_VALUES_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <penstock/analytic.h>

/* ---- small things ---- */

static inline void *pst_room(void *array, uint32_t n, uint32_t *room, size_t each)
{
    if (n < *room)
        return array;
    *room = *room ? *room * 2 : 4;
    array = realloc(array, *room * each);
    if (!array)
        abort();
    return array;
}
static inline void *pst_zeroed(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p)
        abort();
    return p;
}
static inline char *pst_copy(const char *text, size_t n)
{
    char *p = (char *)pst_zeroed(n + 1);
    memcpy(p, text, n);
    return p;
}
static inline struct pst_value pst_symbol_value(const char *text, uint32_t len)
{
    struct pst_value v;
    memset(&v, 0, sizeof v);
    v.type = PST_SYMBOL;
    v.text.at = text;
    v.text.len = len;
    return v;
}
static inline struct pst_value pst_int_value(uint32_t type, int64_t i)
{
    struct pst_value v;
    memset(&v, 0, sizeof v);
    v.type = type;
    v.i = i;
    return v;
}
static inline struct pst_value pst_float_value(double f)
{
    struct pst_value v;
    memset(&v, 0, sizeof v);
    v.type = PST_FLOAT;
    v.f = f;
    return v;
}
static inline struct pst_value pst_null_value(uint32_t type)
{
    struct pst_value v = pst_int_value(type, 0);
    uint64_t nan = PST_NULL_FLOAT_BITS;
    switch (type) {
    case PST_REAL:
    case PST_FLOAT:
        memcpy(&v.f, &nan, 8);
        break;
    case PST_SYMBOL:
    case PST_STRING:
        v.text.at = "";
        v.text.len = 0;
        break;
    case PST_BOOLEAN:
    case PST_BYTE:
    case PST_GUID:
        break;
    case PST_CHAR:
        v.i = PST_NULL_CHAR;
        break;
    case PST_SHORT:
        v.i = PST_NULL_SHORT;
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        v.i = PST_NULL_LONG;
        break;
    default:
        v.i = PST_NULL_INT;
    }
    return v;
}
/* A row's value as a result takes it: symbols as text. */
static inline struct pst_value pst_row_result(struct pst_rtp *r, const struct pst_row *row,
                                              uint32_t column)
{
    struct pst_value v = pst_row_value(row, column);
    if (v.type == PST_SYMBOL) {
        uint32_t id = (uint32_t)v.i;
        v.text.at = "";
        v.text.len = 0;
        if (id != PST_NULL_SYMBOL)
            v.text = pst_rtp_host->symbol(r, id);
    }
    return v;
}
/* Numbers that can be compared and summed. */
static inline bool pst_is_whole(uint32_t type)
{
    return type == PST_SHORT || type == PST_INT || type == PST_LONG || type == PST_BYTE;
}
static inline bool pst_is_number(uint32_t type)
{
    return pst_is_whole(type) || type == PST_FLOAT || type == PST_REAL;
}
static inline bool pst_is_null(const struct pst_value *v)
{
    if (v->type == PST_FLOAT || v->type == PST_REAL)
        return v->f != v->f;
    return v->i == pst_null_value(v->type).i && v->type != PST_BYTE;
}
static inline double pst_as_double(const struct pst_value *v)
{
    return v->type == PST_FLOAT || v->type == PST_REAL ? v->f : (double)v->i;
}

/* ---- parameters ---- */

static inline struct pst_value pst_given(const struct pst_map *m, const char *name)
{
    const struct pst_list *l = pst_map_get(m, name);
    return l && l->n ? l->value[0] : pst_null_value(PST_LONG);
}
/* The table that a parameter names; NULL: error, and host->error has said which. */
static inline const struct pst_table *pst_given_table(struct pst_rtp *r, const struct pst_map *m)
{
    struct pst_value v = pst_given(m, "table");
    char name[64];
    if (v.text.len < sizeof name) {
        memcpy(name, v.text.at, v.text.len);
        name[v.text.len] = 0;
        const struct pst_table *t = v.text.len ? pst_rtp_host->table(r, name) : NULL;
        if (t)
            return t;
    }
    pst_rtp_host->error(r, "There is no table %.*s.", (int)v.text.len, v.text.at);
    return NULL;
}
/* A column by a text that is not terminated; -1. */
static inline int32_t pst_text_column(const struct pst_table *t, struct pst_text name)
{
    for (uint32_t i = 0; i < t->ncolumns; i++)
        if (strlen(t->column[i].name) == name.len && !memcmp(t->column[i].name, name.at, name.len))
            return (int32_t)i;
    return -1;
}
/* A column as a topic keeps it, over the versions of its table. */
struct pst_field {
    char name[64];
    uint32_t type;
    int32_t at; /* in the version at hand; -1: it has none of this name and type */
};
static inline void pst_field_set(struct pst_field *f, const struct pst_table *t, int32_t column)
{
    snprintf(f->name, sizeof f->name, "%s", t->column[column].name);
    f->type = t->column[column].type;
    f->at = column;
}
static inline bool pst_bind(struct pst_field *f, const struct pst_table *t)
{
    f->at = pst_table_find(t, f->name);
    if (f->at >= 0 && t->column[f->at].type != f->type)
        f->at = -1;
    return f->at >= 0;
}
/* The column of numbers that a parameter names. False: error. */
static inline bool pst_given_number(struct pst_rtp *r, const struct pst_map *m,
                                    const struct pst_table *t, const char *parameter,
                                    struct pst_field *f)
{
    struct pst_text name = pst_given(m, parameter).text;
    int32_t c = pst_text_column(t, name);
    if (c < 0)
        pst_rtp_host->error(r, "Table %s has no column %.*s (parameter %s).", t->name,
                            (int)name.len, name.at, parameter);
    else if (!pst_is_number(t->column[c].type))
        pst_rtp_host->error(r, "Column %s of %s is no number (parameter %s).", t->column[c].name,
                            t->name, parameter);
    else
        pst_field_set(f, t, c);
    return c >= 0 && pst_is_number(t->column[c].type);
}

/* ---- columns that a subscription asks for, and rows that are kept ---- */

struct pst_shape {
    struct pst_field field[PST_COLUMNS_MAX];
    struct pst_column column[PST_COLUMNS_MAX];
    uint32_t n;
    const struct pst_table *bound;
};
static inline bool pst_shape_has(const struct pst_shape *s, const char *name)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!strcmp(s->field[i].name, name))
            return true;
    return false;
}
static inline void pst_shape_add(struct pst_shape *s, const struct pst_table *t, int32_t column)
{
    if (s->n == PST_COLUMNS_MAX || pst_shape_has(s, t->column[column].name))
        return;
    struct pst_field *f = &s->field[s->n];
    pst_field_set(f, t, column);
    s->column[s->n].name = f->name;
    s->column[s->n++].type = f->type;
}
/* The columns that a parameter lists, behind those that the shape has already; none: all of the
 * table. False: error. */
static inline bool pst_given_columns(struct pst_rtp *r, const struct pst_map *m,
                                     const struct pst_table *t, const char *parameter,
                                     struct pst_shape *s)
{
    const struct pst_list *l = pst_map_get(m, parameter);
    for (uint32_t i = 0; l && i < l->n; i++) {
        struct pst_text name = l->value[i].text;
        int32_t c = pst_text_column(t, name);
        if (c < 0) {
            pst_rtp_host->error(r, "Table %s has no column %.*s (parameter %s).", t->name,
                                (int)name.len, name.at, parameter);
            return false;
        }
        pst_shape_add(s, t, c);
    }
    for (uint32_t i = 0; (!l || !l->n) && i < t->ncolumns; i++)
        pst_shape_add(s, t, (int32_t)i);
    return true;
}
/* Adds a row's columns to a result; what its version of the table does not have is null. */
static inline void pst_shape_row(struct pst_rtp *r, struct pst_shape *s, const struct pst_row *row,
                                 struct pst_result *out)
{
    struct pst_value v[PST_COLUMNS_MAX];
    if (s->bound != row->table)
        for (uint32_t i = 0; i < s->n; i++)
            pst_bind(&s->field[i], row->table);
    s->bound = row->table;
    for (uint32_t i = 0; i < s->n; i++)
        v[i] = s->field[i].at < 0 ? pst_null_value(s->field[i].type)
                                  : pst_row_result(r, row, (uint32_t)s->field[i].at);
    pst_rtp_host->add(r, out, v);
}

/* A row beyond its frame: free() it. */
struct pst_kept {
    struct pst_row row;
    uint64_t bytes[];
};
static inline struct pst_kept *pst_keep(const struct pst_row *row)
{
    uint16_t record, packet = 0;
    memcpy(&record, row->record + 2, 2);
    if (row->packet)
        memcpy(&packet, row->packet + 2, 2);
    struct pst_kept *k = (struct pst_kept *)pst_zeroed(sizeof *k + record + packet);
    uint8_t *at = (uint8_t *)k->bytes;
    k->row = *row;
    k->row.record = (uint8_t *)memcpy(at, row->record, record);
    if (row->packet)
        k->row.packet = (uint8_t *)memcpy(at + record, row->packet, packet);
    return k;
}

#endif
