/* SPDX-License-Identifier: Apache-2.0 */
#include "rtp_union.h"

#include <errno.h>
#include "core/schema.h"

/* Columns of a table or keyed table, side by side. */
struct columns {
    struct kdb_object at[SCHEMA_COLUMNS_MAX];
    const char *name[SCHEMA_COLUMNS_MAX];
    uint32_t len[SCHEMA_COLUMNS_MAX], n, nkeys, rows;
};

static bool one(void *arg, uint32_t i, const char *name, uint32_t len,
                const struct kdb_object *column)
{
    struct columns *c = arg;
    if (i >= SCHEMA_COLUMNS_MAX)
        return false;
    c->at[i] = *column;
    c->name[i] = name;
    c->len[i] = len;
    c->n = i + 1;
    return true;
}

static bool columns_of(struct columns *c, const void *body, struct err *err)
{
    struct kdb_object o;
    struct kdb_table t;
    c->n = 0;
    kdb_object_view(&o, body, KDB_LITTLE);
    if (!kdb_table_view(&t, &o, err) || !kdb_table_each(&t, one, c))
        return err_set(err, -EPROTO, "a result that is no table");
    c->nkeys = t.nkeys;
    c->rows = t.rows;
    return true;
}

static bool same_name(const struct columns *c, uint32_t i, const char *name)
{
    return name && strlen(name) == c->len[i] && !memcmp(name, c->name[i], c->len[i]);
}

bool rtp_result_fits(const void *body, size_t n, const json_t *columns, const json_t *key,
                     struct err *err)
{
    struct columns c;
    if (!n || !columns_of(&c, body, err))
        return n || err_set(err, -EPROTO, "an empty result");
    uint32_t nkeys = (uint32_t)json_array_size(key);
    /* with nothing but key columns it is a plain table of them */
    if (c.n != json_array_size(columns) || c.nkeys != (nkeys < c.n ? nkeys : 0))
        return err_set(err, -EPROTO, "a result of %u columns, %u of them keys, not %zu and %zu",
                       c.n, c.nkeys, json_array_size(columns), json_array_size(key));
    for (uint32_t i = 0, plain = 0; i < c.n; i++) {
        /* key columns first, in the key's order; the others as declared */
        const json_t *d = NULL;
        const char *name = json_string_value(json_array_get(key, i));
        for (uint32_t k = 0; i < nkeys && k < c.n; k++)
            if (name &&
                !strcmp(name, json_string_value(json_array_get(json_array_get(columns, k), 0))))
                d = json_array_get(columns, k);
        for (; i >= nkeys && plain < c.n && !d; plain++) {
            const json_t *x = json_array_get(columns, plain);
            size_t k;
            const json_t *kn;
            bool is_key = false;
            json_array_foreach(key, k, kn) is_key |= json_equal(kn, json_array_get(x, 0)) != 0;
            d = is_key ? NULL : x;
        }
        uint8_t type = type_by_name(json_string_value(json_array_get(d, 1)) ?: "");
        int16_t stands = type == PST_STRING ? KDB_LIST : type;
        if (!d || !same_name(&c, i, json_string_value(json_array_get(d, 0))) ||
            c.at[i].type != stands)
            return err_set(err, -EPROTO, "a result whose column %u is not among those declared",
                           i + 1);
    }
    return true;
}

/* ---- putting together ---- */

static void put_names(struct kdb_out *out, const struct columns *c, uint32_t from, uint32_t to)
{
    size_t opened = kdb_out_open(out, PST_SYMBOL, 0);
    for (uint32_t i = from; i < to; i++) {
        kdb_out_bytes(out, c->name[i], c->len[i]);
        kdb_out_bytes(out, "", 1);
    }
    kdb_out_close(out, opened, to - from);
}

static void put_column(struct kdb_out *out, struct columns *c, unsigned n, uint32_t i)
{
    uint32_t rows = 0;
    size_t opened = kdb_out_open(out, c[0].at[i].type, 0);
    for (unsigned k = 0; k < n; k++) {
        const struct kdb_object *o = &c[k].at[i];
        const uint8_t *end = kdb_object_end(o);
        if (o->count)
            kdb_out_bytes(out, o->data, (size_t)(end - o->data));
        rows += o->count;
    }
    kdb_out_close(out, opened, rows);
}

static void put_part(struct kdb_out *out, struct columns *c, unsigned n, uint32_t from, uint32_t to)
{
    kdb_out_table(out, 0);
    kdb_out_dict(out, false);
    put_names(out, &c[0], from, to);
    kdb_out_list(out, to - from);
    for (uint32_t i = from; i < to; i++)
        put_column(out, c, n, i);
}

bool rtp_union_put(struct kdb_out *out, const struct rtp_result *part, unsigned n)
{
    struct err err;
    uint64_t bytes = 0;
    for (unsigned k = 0; k < n; k++)
        bytes += part[k].len;
    if (bytes > KDB_BYTES_MAX / 2)
        return false;
    if (n == 1) {
        kdb_out_bytes(out, part[0].data, part[0].len);
        return !out->failed;
    }
    struct columns *c = malloc(n * sizeof *c);
    bool ok = c != NULL;
    for (unsigned k = 0; ok && k < n; k++)
        ok = columns_of(&c[k], part[k].data, &err) && c[k].n == c[0].n && c[k].nkeys == c[0].nkeys;
    if (ok && c[0].nkeys) {
        kdb_out_dict(out, false);
        put_part(out, c, n, 0, c[0].nkeys);
        put_part(out, c, n, c[0].nkeys, c[0].n);
    } else if (ok) {
        put_part(out, c, n, 0, c[0].n);
    }
    free(c);
    return ok && !out->failed;
}
