/* SPDX-License-Identifier: Apache-2.0 */
/* What an update of a tickerplant holds, whatever shape its sender gave it. */
#include <errno.h>
#include "kdb_rows.h"

static bool take(struct kdb_update *u, const struct kdb_object *o, bool row, struct err *err)
{
    if (u->ncols == SCHEMA_COLUMNS_MAX)
        return err_set(err, -E2BIG, "more than %d columns", SCHEMA_COLUMNS_MAX);
    struct kdb_cells *c = &u->col[u->ncols++];
    *c = (struct kdb_cells){.o = *o};
    if (kdb_is_atom(o))
        c->form = KDB_FORM_ATOM;
    else if (row && (o->type == PST_CHAR || (o->type == KDB_LIST && !o->count)))
        c->form = KDB_FORM_TEXT;
    else if (row)
        return err_set(err, -EINVAL, "a row whose value %u is a %s%s", u->ncols,
                       kdb_object_type_name(o->type), kdb_is_vector(o) ? " vector" : "");
    else if (kdb_is_vector(o))
        c->form = KDB_FORM_VECTOR;
    else if (o->type == KDB_LIST)
        c->form = KDB_FORM_LIST;
    else
        return err_set(err, -EINVAL, "column %u is a %s", u->ncols, kdb_object_type_name(o->type));
    return true;
}

/* Does a list that begins with a text hold one row, texts and atoms? ("AAPL"; 1.5; 100) of clients
 * that have no symbols. */
static bool texts_and_atoms(const struct kdb_object *list)
{
    struct kdb_items i;
    bool atom = false;
    for (bool more = kdb_items(list, &i); more; more = kdb_items_next(&i)) {
        atom |= kdb_is_atom(&i.item);
        if (!kdb_is_atom(&i.item) && i.item.type != PST_CHAR &&
            (i.item.type != KDB_LIST || i.item.count))
            return false;
    }
    return atom;
}

static bool values(struct kdb_update *u, const struct kdb_object *data, struct err *err)
{
    struct kdb_items i;
    if (kdb_is_vector(data)) {
        if (data->count > SCHEMA_COLUMNS_MAX)
            return err_set(err, -E2BIG, "more than %d columns", SCHEMA_COLUMNS_MAX);
        u->rows = data->count > 0;
        for (; u->ncols < data->count; u->ncols++)
            u->col[u->ncols] =
                (struct kdb_cells){.o = *data, .form = KDB_FORM_ELEMENT, .element = u->ncols};
        return true;
    }
    if (data->type != KDB_LIST)
        return err_set(err, -EINVAL, "its rows are a %s%s", kdb_object_type_name(data->type),
                       kdb_is_atom(data) ? " atom" : "");
    if (!kdb_items(data, &i))
        return true;
    bool row = kdb_is_atom(&i.item) || (i.item.type == PST_CHAR && texts_and_atoms(data));
    int64_t rows = row ? 1 : -1;
    for (bool more = true; more; more = kdb_items_next(&i)) {
        if (!take(u, &i.item, row, err))
            return false;
        int64_t n = row || kdb_is_atom(&i.item) ? -1 : kdb_object_rows(&i.item);
        if (rows < 0)
            rows = n;
        if (n >= 0 && n != rows)
            return err_set(err, -EINVAL, "column %u has %lld values, the first has %lld", u->ncols,
                           (long long)n, (long long)rows);
    }
    u->rows = (uint32_t)(rows < 0 ? 0 : rows);
    return true;
}

struct naming {
    struct kdb_update *u;
    struct err *err;
};
static bool named_column(void *arg, uint32_t i, const char *name, uint32_t len,
                         const struct kdb_object *column)
{
    struct naming *n = arg;
    if (!take(n->u, column, false, n->err))
        return false;
    n->u->col[i].name = name;
    n->u->col[i].name_len = len;
    return true;
}

bool kdb_update_view(struct kdb_update *u, const struct kdb_object *data, struct err *err)
{
    struct kdb_table t;
    struct kdb_items i;
    struct kdb_texts name;
    u->rows = u->ncols = 0;
    u->named = data->type == KDB_TABLE || data->type == KDB_DICT || data->type == KDB_SORTED_DICT;
    if (!u->named)
        return values(u, data, err);
    kdb_items(data, &i);
    if (data->type != KDB_TABLE && i.item.type == PST_SYMBOL) { /* a row, or columns, by name */
        struct kdb_object key = i.item;
        uint32_t n = 0;
        kdb_items_next(&i);
        if (!values(u, &i.item, err))
            return false;
        if (u->ncols != key.count)
            return err_set(err, -EINVAL, "a dictionary of %u names and %u values", key.count,
                           u->ncols);
        for (bool more = kdb_texts(&key, &name); more; more = kdb_texts_next(&name), n++) {
            u->col[n].name = name.text;
            u->col[n].name_len = name.len;
        }
        return true;
    }
    struct naming n = {u, err};
    if (!kdb_table_view(&t, data, err) || !kdb_table_each(&t, named_column, &n))
        return false;
    u->rows = t.rows;
    return true;
}
