/* SPDX-License-Identifier: Apache-2.0 */
#include "query_loader.h"

#include <ctype.h>
#include <errno.h>
#include "core/clock.h"

#define STRING_MAX 65535u
#define DAY_NS     (86400ll * NS_PER_S)

struct query_loader_table {
    char name[SCHEMA_NAME_MAX];
    struct column_def col[64];
    char names[64][SCHEMA_NAME_MAX];
    unsigned ncols;
    void *data[64];
    char *chars;
    uint64_t used, room;
    struct view_memory_part part;
};

static const char *const names[] = {"pst_batches", "pst_files", "pst_memory", "pst_tasks",
                                    "pst_workers"};

static uint8_t type_of(const char *letter)
{
    switch (letter ? *letter : 0) {
    case 'j':
        return PST_LONG;
    case 'f':
        return PST_FLOAT;
    case 'b':
        return PST_BOOLEAN;
    case 'p':
        return PST_TIMESTAMP;
    case 's':
    case 'C':
        return PST_STRING;
    default:
        return 0;
    }
}

static bool add_text(struct query_loader_table *t, const char *s, uint64_t *out)
{
    size_t n = s ? strlen(s) : 0;
    n = n > STRING_MAX ? STRING_MAX : n;
    if (t->used + n > t->room) {
        uint64_t room = t->room ? 2 * t->room : 65536;
        while (room < t->used + n)
            room *= 2;
        char *p = realloc(t->chars, room);
        if (!p)
            return false;
        t->chars = p;
        t->room = room;
    }
    if (n)
        memcpy(t->chars + t->used, s, n);
    *out = t->used << 16 | n;
    t->used += n;
    return true;
}

static bool put(struct query_loader_table *t, unsigned c, size_t row, json_t *v)
{
    switch (t->col[c].type) {
    case PST_LONG:
    case PST_TIMESTAMP:
        ((int64_t *)t->data[c])[row] = json_is_integer(v) ? json_integer_value(v)
                                       : json_is_real(v)  ? (int64_t)json_real_value(v)
                                                          : PST_NULL_LONG;
        return true;
    case PST_FLOAT:
        ((double *)t->data[c])[row] = json_is_number(v) ? json_number_value(v) : __builtin_nan("");
        return true;
    case PST_BOOLEAN:
        ((uint8_t *)t->data[c])[row] = json_is_true(v);
        return true;
    default:
        return add_text(t, json_string_value(v), &((uint64_t *)t->data[c])[row]);
    }
}

static bool read_table(struct query_loader_table *t, json_t *o, int32_t date, struct err *err)
{
    json_t *columns = json_object_get(o, "columns"), *rows = json_object_get(o, "rows"), *x, *v;
    const char *name = json_string_value(json_object_get(o, "table"));
    size_t i, c, n = json_array_size(rows);
    snprintf(t->name, sizeof t->name, "%s%s", name && !strncmp(name, "pst_", 4) ? "" : "pst_",
             name ? name : "?");
    json_array_foreach(columns, i, x)
    {
        const char *column = json_string_value(json_array_get(x, 0));
        uint8_t type = type_of(json_string_value(json_array_get(x, 1)));
        if (!column || !type || i >= PST_COUNT(t->col))
            return err_set(err, -EPROTO, "%s: an unsound column", t->name);
        snprintf(t->names[i], sizeof t->names[0], "%s", column);
        for (char *p = t->names[i]; *p; p++) /* as SQL has names that are not quoted */
            *p = (char)tolower((unsigned char)*p);
        t->col[i] = (struct column_def){t->names[i], type};
        t->data[i] = calloc(n + 1, 8);
        t->ncols++;
        if (!t->data[i])
            return err_set(err, -ENOMEM, "no memory for %s", t->name);
    }
    json_array_foreach(rows, i, x)
    {
        json_array_foreach(x, c, v)
        {
            if (c < t->ncols && !put(t, (unsigned)c, i, v))
                return err_set(err, -ENOMEM, "no memory for %s", t->name);
        }
    }
    t->part = (struct view_memory_part){.date = date,
                                        .rows = n,
                                        .data = (const void *const *)t->data,
                                        .chars = t->chars ? t->chars : "",
                                        .chars_bytes = t->used};
    return true;
}

void query_loader_drop(struct query_loader *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        for (unsigned c = 0; c < q->table[i].ncols; c++)
            free(q->table[i].data[c]);
        free(q->table[i].chars);
    }
    free(q->table);
    q->table = NULL;
    q->n = 0;
    q->here = false;
}

static bool fetch(struct query_loader *q, struct err *err)
{
    json_t *o = q->ask(q->arg, err), *tables = json_object_get(o, "tables"), *x;
    size_t i, n = json_array_size(tables);
    if (!o)
        return false;
    int64_t now = json_integer_value(json_object_get(o, "time"));
    bool ok = (q->table = calloc(n + 1, sizeof *q->table)) || err_set(err, -ENOMEM, "no memory");
    json_array_foreach(tables, i, x)
    {
        if (!ok)
            break;
        q->n++;
        ok = read_table(&q->table[i], x, (int32_t)(now / DAY_NS), err);
    }
    json_decref(o);
    if (!ok)
        query_loader_drop(q);
    return ok;
}

static struct view *make(void *arg, const char *name, const struct view_syms *syms, struct err *err)
{
    struct query_loader *q = arg;
    if (!q->here) {
        q->why = (struct err){0};
        if (!fetch(q, &q->why) && !q->why.code)
            q->why.code = -EIO;
        q->here = true; /* asked once a query, whatever came of it */
    }
    if (q->why.code) {
        *err = q->why;
        return NULL;
    }
    for (unsigned i = 0; i < q->n; i++)
        if (!strcmp(q->table[i].name, name))
            return view_from_memory(name, q->table[i].col, q->table[i].ncols, syms,
                                    &q->table[i].part, q->table[i].part.rows != 0, err);
    err_set(err, -ENOENT, "there is no table %s: the instance has no loader", name);
    return NULL;
}

void query_loader_more(struct query_loader *q, struct view_db_more *out)
{
    *out = (struct view_db_more){.names = names, .n = PST_COUNT(names), .make = make, .arg = q};
}
