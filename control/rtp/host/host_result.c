/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of results, column by column, and as kdb+ tables. */
#include <errno.h>
#include "host.h"

struct pst_result *host_result_new(struct pst_rtp *r)
{
    struct pst_result *t = calloc(1, sizeof *t);
    if (t)
        t->plugin = r;
    return t;
}

static void free_columns(struct pst_result *t)
{
    for (uint32_t i = 0; i < t->ncolumns; i++)
        free(t->column[i].data);
    free(t->column);
    t->column = NULL;
    t->ncolumns = t->nkeys = t->rows = 0;
}

void host_result_free(struct pst_result *t)
{
    if (t)
        free_columns(t);
    free(t);
}

/* "server, sym": their numbers. */
static bool key_of(struct pst_result *t, const char *key, struct err *err)
{
    while (key && *key) {
        size_t n = strcspn(key, ", ");
        uint32_t i = 0;
        while (n && i < t->ncolumns && (strncmp(t->column[i].name, key, n) || t->column[i].name[n]))
            i++;
        if (n && (i == t->ncolumns || t->nkeys == PST_KEYS_MAX))
            return err_set(err, -EINVAL, "the key %.*s is not one of its columns", (int)n, key);
        for (uint32_t k = 0; n && k < t->nkeys; k++)
            if (t->key[k] == i)
                return err_set(err, -EINVAL, "the key names %.*s twice", (int)n, key);
        if (n)
            t->key[t->nkeys++] = (uint8_t)i;
        key += n + strspn(key + n, ", ");
    }
    return true;
}

bool host_result_columns(struct pst_result *t, const struct pst_column *c, uint32_t n,
                         const char *key, struct err *err)
{
    free_columns(t);
    if (!n || n > SCHEMA_COLUMNS_MAX)
        return err_set(err, -EINVAL, "a result has 1 to %u columns", SCHEMA_COLUMNS_MAX);
    t->column = calloc(n, sizeof *t->column);
    if (!t->column)
        return err_set(err, -ENOMEM, "no memory for a result");
    for (uint32_t i = 0; i < n; i++) {
        struct host_column *to = &t->column[i];
        uint8_t type = c[i].type < 256 ? (uint8_t)c[i].type : 0;
        if (!c[i].name || strlen(c[i].name) >= SCHEMA_NAME_MAX || !rtp_name_ok(c[i].name) ||
            !type_width(type))
            return err_set(err, -EINVAL, "column %u has no sound name or type", i);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(t->column[k].name, c[i].name))
                return err_set(err, -EINVAL, "there are two columns %s", c[i].name);
        snprintf(to->name, sizeof to->name, "%s", c[i].name);
        to->type = type;
        to->width = type == PST_SYMBOL || type == PST_STRING ? 0 : (uint8_t)type_width(type);
        t->ncolumns = i + 1;
    }
    return key_of(t, key, err);
}

bool host_result_like(struct pst_result *t, const struct pst_result *shape)
{
    free_columns(t);
    t->column = calloc(shape->ncolumns ? shape->ncolumns : 1, sizeof *t->column);
    if (!t->column)
        return false;
    for (uint32_t i = 0; i < shape->ncolumns; i++) {
        struct host_column *to = &t->column[i];
        memcpy(to->name, shape->column[i].name, sizeof to->name);
        to->type = shape->column[i].type;
        to->width = shape->column[i].width;
    }
    t->ncolumns = shape->ncolumns;
    t->nkeys = shape->nkeys;
    memcpy(t->key, shape->key, sizeof t->key);
    return true;
}

/* The same columns in the same order; the key is the subscription's. */
bool host_result_same(const struct pst_result *a, const struct pst_result *b)
{
    if (a->ncolumns != b->ncolumns)
        return false;
    for (uint32_t i = 0; i < a->ncolumns; i++)
        if (a->column[i].type != b->column[i].type || strcmp(a->column[i].name, b->column[i].name))
            return false;
    return true;
}

static uint8_t *room(struct host_column *c, size_t n)
{
    if (c->len + n > c->room) {
        size_t to = c->room ? 2 * c->room : 256;
        while (to < c->len + n)
            to *= 2;
        uint8_t *p = realloc(c->data, to);
        if (!p)
            return NULL;
        c->data = p;
        c->room = to;
    }
    uint8_t *at = c->data + c->len;
    c->len += n;
    return at;
}

/* Symbols: with their NUL, cut at one inside. Strings: as a char vector. */
static bool put_text(struct host_column *c, const struct pst_value *v)
{
    uint32_t n = v->text.at ? v->text.len : 0;
    if (c->type == PST_SYMBOL) {
        const char *nul = n ? memchr(v->text.at, 0, n) : NULL;
        n = nul ? (uint32_t)(nul - v->text.at) : n;
        uint8_t *to = room(c, n + 1);
        if (!to)
            return false;
        if (n)
            memcpy(to, v->text.at, n);
        to[n] = 0;
        return true;
    }
    uint8_t *to = room(c, 6 + (size_t)n);
    if (!to)
        return false;
    to[0] = PST_CHAR;
    to[1] = 0;
    memcpy(to + 2, &n, 4);
    if (n)
        memcpy(to + 6, v->text.at, n);
    return true;
}

static bool put(struct host_column *c, const struct pst_value *v)
{
    if (!c->width)
        return put_text(c, v);
    uint8_t *to = room(c, c->width);
    if (!to)
        return false;
    if (c->type == PST_GUID)
        memcpy(to, v->guid, 16);
    else if (c->type == PST_FLOAT)
        memcpy(to, &v->f, 8);
    else if (c->type == PST_REAL) {
        float f = (float)v->f;
        memcpy(to, &f, 4);
    } else
        memcpy(to, &v->i, c->width); /* little endian */
    return true;
}

bool host_result_add(struct pst_result *t, const struct pst_value *row, struct err *err)
{
    if (!t->ncolumns)
        return err_set(err, -EINVAL, "a result without columns takes no rows");
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        if (row[i].type == t->column[i].type)
            continue;
        return err_set(err, -EINVAL, "column %s is a %s, not type %u", t->column[i].name,
                       type_name(t->column[i].type), row[i].type);
    }
    size_t bytes = 0;
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        if (!put(&t->column[i], &row[i]))
            return err_set(err, -ENOMEM, "no memory for a result");
        bytes += t->column[i].len;
    }
    if (bytes > RTP_RESULT_MAX - 65536)
        return err_set(err, -E2BIG, "a result is larger than %u MiB", RTP_RESULT_MAX >> 20);
    t->rows++;
    return true;
}

void host_result_clear(struct pst_result *t)
{
    for (uint32_t i = 0; i < t->ncolumns; i++)
        t->column[i].len = 0;
    t->rows = 0;
}

static bool is_key(const struct pst_result *t, uint32_t column)
{
    for (uint32_t i = 0; i < t->nkeys; i++)
        if (t->key[i] == column)
            return true;
    return false;
}

static void column_out(const struct pst_result *t, const struct host_column *c, struct kdb_out *out)
{
    int type = c->type == PST_STRING ? KDB_LIST : c->type;
    if (type == KDB_LIST)
        kdb_out_list(out, t->rows);
    else if (c->width) {
        kdb_out_vector(out, type, 0, t->rows, c->data);
        return;
    } else
        kdb_out_close(out, kdb_out_open(out, type, 0), t->rows);
    kdb_out_bytes(out, c->data, c->len);
}

static void part_out(const struct pst_result *t, const uint8_t *order, uint32_t n,
                     struct kdb_out *out)
{
    const char *names[SCHEMA_COLUMNS_MAX] = {NULL};
    for (uint32_t i = 0; i < n; i++)
        names[i] = t->column[order[i]].name;
    kdb_out_columns(out, names, n);
    for (uint32_t i = 0; i < n; i++)
        column_out(t, &t->column[order[i]], out);
}

bool host_result_encode(const struct pst_result *t, struct kdb_out *out)
{
    uint8_t order[SCHEMA_COLUMNS_MAX];
    uint32_t n = 0;
    out->len = 0;
    out->failed = false;
    for (uint32_t i = 0; i < t->ncolumns; i++)
        if (!is_key(t, i))
            order[n++] = (uint8_t)i;
    if (t->nkeys && n) {
        kdb_out_dict(out, false);
        part_out(t, t->key, t->nkeys, out);
    } else if (t->nkeys) { /* nothing but key columns: a plain table of them */
        memcpy(order, t->key, t->nkeys);
        n = t->nkeys;
    }
    part_out(t, order, n, out);
    return !out->failed && out->len <= RTP_RESULT_MAX;
}
