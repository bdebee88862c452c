/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "kdb_object.h"

#define ITEM_MIN 2u /* bytes of the smallest item of a list: type and one more */

const uint8_t kdb_object_widths[20] = {
    [1] = 1,  [2] = 16, [4] = 1,  [5] = 2,  [6] = 4,  [7] = 8,  [8] = 4,  [9] = 8, [10] = 1,
    [12] = 8, [13] = 4, [14] = 4, [15] = 8, [16] = 8, [17] = 4, [18] = 4, [19] = 4};

const char *kdb_object_type_name(int type)
{
    static const char *const names[20] = {"list",     "boolean",  "guid",      "?",      "byte",
                                          "short",    "int",      "long",      "real",   "float",
                                          "char",     "symbol",   "timestamp", "month",  "date",
                                          "datetime", "timespan", "minute",    "second", "time"};
    if (type == KDB_ERROR)
        return "error";
    if (type > -20 && type < 20)
        return names[type < 0 ? -type : type];
    if (type == KDB_TABLE)
        return "table";
    if (type == KDB_DICT || type == KDB_SORTED_DICT)
        return "dictionary";
    return type >= KDB_LAMBDA && type <= 112 ? "function" : "?";
}

static uint32_t load32(const uint8_t *p, enum kdb_order order)
{
    return order == KDB_LITTLE ? le32(p) : be32(p);
}

/* ---- the walk ---- */

struct walk {
    const uint8_t *p;
    size_t n, at;
    enum kdb_order order;
    size_t need;
    const char *why;
};

static enum kdb_verdict bad(struct walk *w, const char *why)
{
    w->why = why;
    return KDB_BAD;
}
static enum kdb_verdict take(struct walk *w, uint64_t bytes)
{
    if (bytes <= w->n - w->at) {
        w->at += bytes;
        return KDB_OK;
    }
    w->need = w->at + bytes;
    return w->need > KDB_BYTES_MAX ? bad(w, "longer than 2 GiB") : KDB_SHORT;
}
static enum kdb_verdict text(struct walk *w)
{
    const uint8_t *end = w->at < w->n ? memchr(w->p + w->at, 0, w->n - w->at) : NULL;
    if (!end) {
        w->at = w->n;
        return take(w, 1);
    }
    w->at = (size_t)(end - w->p) + 1;
    return KDB_OK;
}

/* Attribute (if it has one) and count. */
static enum kdb_verdict head(struct walk *w, bool attribute, uint32_t *count)
{
    size_t at = w->at + attribute;
    enum kdb_verdict v = take(w, 4u + attribute);
    if (v)
        return v;
    if (attribute && w->p[at - 1] > 4)
        return bad(w, "unknown attribute");
    *count = load32(w->p + at, w->order);
    return *count > INT32_MAX ? bad(w, "a negative count") : KDB_OK;
}

/* Zero bytes of eight. */
static unsigned zeros(uint64_t v)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7Full;
    uint64_t z = ~(((v & low) + low) | v | low);
    return (unsigned)((z >> 7) * 0x0101010101010101ull >> 56);
}

/* One object without its items: *items is how many follow. */
static enum kdb_verdict one(struct walk *w, bool whole, bool after_table, uint32_t *items)
{
    *items = 0;
    enum kdb_verdict v = take(w, 1);
    if (v)
        return v;
    int type = (int8_t)w->p[w->at - 1];
    uint32_t count;
    if (after_table && type != KDB_DICT)
        return bad(w, "a table without a dictionary");
    if (type < 0 && type > -20 && kdb_object_width(type))
        return take(w, kdb_object_width(type));
    if (type == -PST_SYMBOL)
        return text(w);
    if (type == KDB_ERROR)
        return whole ? text(w) : bad(w, "an error inside an object");
    if (type > 0 && type < 20 && kdb_object_width(type)) {
        if ((v = head(w, true, &count)))
            return v;
        return take(w, (uint64_t)count * kdb_object_width(type));
    }
    if (type == PST_SYMBOL) {
        if ((v = head(w, true, &count)))
            return v;
        if (count > w->n - w->at) /* a byte a symbol at least */
            return take(w, count);
        for (; count > 8 && w->n - w->at >= 8; w->at += 8)
            count -= zeros(le64(w->p + w->at));
        while (!v && count--)
            v = text(w);
        return v;
    }
    switch (type) {
    case KDB_LIST:
    case KDB_PROJECTION:
    case KDB_COMPOSITION:
        if ((v = head(w, type == KDB_LIST, items)))
            return v;
        if ((uint64_t)*items * ITEM_MIN > w->n - w->at)
            return take(w, (uint64_t)*items * ITEM_MIN);
        return KDB_OK;
    case KDB_TABLE:
        *items = 1;
        if ((v = take(w, 1)))
            return v;
        return w->p[w->at - 1] > 4 ? bad(w, "unknown attribute") : KDB_OK;
    case KDB_DICT:
    case KDB_SORTED_DICT:
        *items = 2;
        return KDB_OK;
    case KDB_LAMBDA: {
        size_t chars;
        if ((v = text(w)))
            return v;
        chars = w->at;
        if ((v = take(w, 1)))
            return v;
        if (w->p[chars] != PST_CHAR)
            return bad(w, "a lambda without a text");
        if ((v = head(w, true, &count)))
            return v;
        return take(w, count);
    }
    case KDB_UNARY:
    case KDB_OPERATOR:
    case KDB_ITERATOR:
        return take(w, 1);
    default:
        if (type >= KDB_DERIVED && type <= KDB_DERIVED + 5) {
            *items = 1;
            return KDB_OK;
        }
        return bad(w, type >= 20 && type <= 76   ? "an enumeration, which cannot be sent"
                      : type >= 77 && type <= 97 ? "a mapped list, which cannot be sent"
                      : type == 112              ? "loaded code, which cannot be sent"
                                                 : "unknown type");
    }
}

static enum kdb_verdict walk(struct walk *w)
{
    uint32_t left[KDB_DEPTH], items;
    unsigned depth = 0;
    bool table = false;
    for (;;) {
        size_t at = w->at;
        enum kdb_verdict v = one(w, depth == 0, table, &items);
        if (v)
            return v;
        table = items && w->p[at] == KDB_TABLE;
        if (items) {
            if (depth == KDB_DEPTH)
                return bad(w, "nested too deeply");
            left[depth++] = items;
        }
        while (depth && !left[depth - 1])
            depth--;
        if (!depth)
            break;
        left[depth - 1]--;
    }
    return w->at > KDB_BYTES_MAX ? bad(w, "longer than 2 GiB") : KDB_OK;
}

enum kdb_verdict kdb_object_check(const void *p, size_t n, enum kdb_order order, size_t *size,
                                  const char **why)
{
    struct walk w = {.p = p, .n = n, .order = order, .why = "the bytes run out"};
    enum kdb_verdict v = walk(&w);
    *size = v == KDB_SHORT ? w.need : w.at;
    if (why)
        *why = v ? w.why : "";
    return v;
}

/* ---- views ---- */

void kdb_object_view(struct kdb_object *o, const void *p, enum kdb_order order)
{
    const uint8_t *b = p;
    *o = (struct kdb_object){.at = b, .order = (uint8_t)order, .type = (int8_t)b[0], .count = 1};
    if ((o->type >= 0 && o->type < 20)) {
        o->attribute = b[1];
        o->count = load32(b + 2, order);
        o->data = b + 6;
    } else if (o->type == KDB_PROJECTION || o->type == KDB_COMPOSITION) {
        o->count = load32(b + 1, order);
        o->data = b + 5;
    } else if (o->type == KDB_TABLE) {
        o->attribute = b[1];
        o->data = b + 2;
    } else {
        o->count = o->type == KDB_DICT || o->type == KDB_SORTED_DICT ? 2 : 1;
        o->data = b + 1;
    }
}

const uint8_t *kdb_object_end(const struct kdb_object *o)
{
    if (kdb_object_width(o->type) && o->type != KDB_LIST)
        return o->data + (size_t)o->count * kdb_object_width(o->type);
    struct walk w = {.p = o->at, .n = KDB_BYTES_MAX, .order = o->order};
    pst_must(walk(&w) == KDB_OK);
    return o->at + w.at;
}

bool kdb_items(const struct kdb_object *list, struct kdb_items *i)
{
    bool has = list->type == KDB_LIST || list->type == KDB_TABLE || list->type == KDB_DICT ||
               list->type == KDB_SORTED_DICT || list->type == KDB_PROJECTION ||
               list->type == KDB_COMPOSITION ||
               (list->type >= KDB_DERIVED && list->type <= KDB_DERIVED + 5);
    if (!has || !list->count)
        return false;
    kdb_object_view(&i->item, list->data, list->order);
    i->left = list->count - 1;
    return true;
}
bool kdb_items_next(struct kdb_items *i)
{
    if (!i->left)
        return false;
    i->left--;
    kdb_object_view(&i->item, kdb_object_end(&i->item), i->item.order);
    return true;
}

bool kdb_texts(const struct kdb_object *symbols, struct kdb_texts *t)
{
    if ((symbols->type != PST_SYMBOL && symbols->type != -PST_SYMBOL) || !symbols->count)
        return false;
    t->text = (const char *)symbols->data;
    t->len = (uint32_t)strlen(t->text);
    t->left = symbols->count - 1;
    return true;
}
bool kdb_texts_next(struct kdb_texts *t)
{
    if (!t->left)
        return false;
    t->left--;
    t->text += t->len + 1;
    t->len = (uint32_t)strlen(t->text);
    return true;
}

static void swapped(uint8_t *to, const uint8_t *from, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        to[i] = from[width - 1 - i];
}

void kdb_object_copy(const struct kdb_object *o, uint32_t first, uint32_t n, void *to)
{
    unsigned width = kdb_object_width(o->type);
    const uint8_t *from = o->data + (size_t)first * width;
    int type = o->type < 0 ? -o->type : o->type;
    if (o->order == KDB_LITTLE || width == 1 || type == PST_GUID) {
        memcpy(to, from, (size_t)n * width); /* a guid's bytes are text order in any message */
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        swapped((uint8_t *)to + (size_t)i * width, from + (size_t)i * width, width);
}

int64_t kdb_object_long(const struct kdb_object *o, uint32_t i)
{
    uint8_t v[16] = {0};
    unsigned width = kdb_object_width(o->type);
    kdb_object_copy(o, i, 1, v);
    int type = o->type < 0 ? -o->type : o->type;
    return type == PST_BOOLEAN || type == PST_BYTE || type == PST_CHAR ? v[0]
           : width == 2                                                ? (int16_t)le16(v)
           : width == 4                                                ? (int32_t)le32(v)
                                                                       : (int64_t)le64(v);
}

double kdb_object_double(const struct kdb_object *o, uint32_t i)
{
    uint8_t v[16];
    kdb_object_copy(o, i, 1, v);
    float real;
    double wide;
    memcpy(&real, v, sizeof real);
    memcpy(&wide, v, sizeof wide);
    return kdb_object_width(o->type) == 4 ? (double)real : wide;
}

const char *kdb_object_text(const struct kdb_object *o, uint32_t *len)
{
    if (o->type == -PST_SYMBOL || o->type == KDB_ERROR)
        *len = (uint32_t)strlen((const char *)o->data);
    else if (o->type == PST_CHAR || o->type == -PST_CHAR)
        *len = o->count;
    else
        return NULL;
    return (const char *)o->data;
}
bool kdb_object_is(const struct kdb_object *o, const char *text)
{
    uint32_t len;
    const char *t = kdb_object_text(o, &len);
    return t && strlen(text) == len && !memcmp(t, text, len);
}

bool kdb_dict_value(const struct kdb_object *o, const char *key, struct kdb_object *value)
{
    struct kdb_items parts, values;
    struct kdb_texts keys;
    if (o->type != KDB_DICT || !kdb_items(o, &parts) || parts.item.type != PST_SYMBOL ||
        !kdb_texts(&parts.item, &keys) || !kdb_items_next(&parts) || parts.item.type != KDB_LIST ||
        !kdb_items(&parts.item, &values))
        return false;
    do
        if (!strcmp(keys.text, key)) {
            *value = values.item;
            return true;
        }
    while (kdb_texts_next(&keys) && kdb_items_next(&values));
    return false;
}
bool kdb_object_null(const struct kdb_object *o)
{
    return o->type == KDB_UNARY && !o->data[0];
}

int64_t kdb_object_rows(const struct kdb_object *o)
{
    return o->type >= 0 && o->type < 20 ? (int64_t)o->count : -1;
}

/* ---- tables ---- */

struct checked {
    const struct kdb_table *t;
    int64_t rows;
    uint32_t columns;
    struct err *err;
    bool ok;
};

static bool part(struct kdb_table *t, const struct kdb_object *table, struct err *err)
{
    struct kdb_object dict;
    struct kdb_items i;
    kdb_object_view(&dict, table->data, table->order);
    kdb_items(&dict, &i);
    t->names[t->parts] = i.item;
    kdb_items_next(&i);
    t->columns[t->parts] = i.item;
    if (t->names[t->parts].type != PST_SYMBOL)
        return err_set(err, -EBADMSG, "a table's column names are %s, no symbols",
                       kdb_object_type_name(t->names[t->parts].type));
    if (i.item.type != KDB_LIST || i.item.count != t->names[t->parts].count || !i.item.count)
        return err_set(err, -EBADMSG, "a table names %u columns and has %s of %u",
                       t->names[t->parts].count, kdb_object_type_name(i.item.type), i.item.count);
    t->ncols += i.item.count;
    t->parts++;
    return true;
}

static bool same_rows(void *arg, uint32_t i, const char *name, uint32_t len,
                      const struct kdb_object *column)
{
    struct checked *c = arg;
    int64_t rows = kdb_object_rows(column);
    if (rows >= 0 && i == 0)
        c->rows = rows;
    c->ok = rows >= 0 && rows == c->rows;
    int shown = len < 60 ? (int)len : 60;
    if (rows < 0)
        err_set(c->err, -EBADMSG, "a table's column %.*s is a %s", shown, name,
                kdb_object_type_name(column->type));
    else if (!c->ok)
        err_set(c->err, -EBADMSG, "a table's column %.*s has %lld rows, the first has %lld", shown,
                name, (long long)rows, (long long)c->rows);
    return c->ok;
}

bool kdb_table_view(struct kdb_table *t, const struct kdb_object *o, struct err *err)
{
    struct kdb_items i;
    memset(t, 0, sizeof *t);
    if (o->type == KDB_TABLE) {
        if (!part(t, o, err))
            return false;
    } else if (o->type == KDB_DICT || o->type == KDB_SORTED_DICT) {
        kdb_items(o, &i);
        struct kdb_object key = i.item;
        kdb_items_next(&i);
        if (key.type != KDB_TABLE || i.item.type != KDB_TABLE)
            return err_set(err, -EBADMSG, "a dictionary that is no keyed table");
        if (!part(t, &key, err))
            return false;
        t->nkeys = t->ncols;
        if (!part(t, &i.item, err))
            return false;
    } else {
        return err_set(err, -EBADMSG, "a %s is no table", kdb_object_type_name(o->type));
    }
    struct checked c = {.t = t, .rows = -1, .err = err};
    kdb_table_each(t, same_rows, &c);
    t->rows = c.ok ? (uint32_t)c.rows : 0;
    return c.ok;
}

bool kdb_table_each(const struct kdb_table *t,
                    bool (*fn)(void *arg, uint32_t i, const char *name, uint32_t len,
                               const struct kdb_object *column),
                    void *arg)
{
    uint32_t n = 0;
    for (unsigned p = 0; p < t->parts; p++) {
        struct kdb_texts name;
        struct kdb_items col;
        bool more = kdb_texts(&t->names[p], &name) && kdb_items(&t->columns[p], &col);
        for (; more; more = kdb_texts_next(&name) && kdb_items_next(&col))
            if (!fn(arg, n++, name.text, name.len, &col.item))
                return false;
    }
    return true;
}
