/* SPDX-License-Identifier: Apache-2.0 */
/* The dictionary of .pst.sub. */
#include "core/nearest.h"
#include "kdb/request_parts.h"

static const char *const fields[] = {"tables",   "syms",     "where",  "columns",
                                     "from",     "snapshot", "policy", "durable",
                                     "conflate", "stripe",   "marks",  "format"};
enum field {
    TABLES,
    SYMS,
    WHERE,
    COLUMNS,
    FROM,
    SNAPSHOT,
    POLICY,
    IS_DURABLE,
    CONFLATE,
    STRIPE,
    MARKS,
    FORMAT
};

/* Which of the words an argument is; -1: none. */
static int word_of(const struct kdb_object *o, const char *const *words, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (kdb_object_is(o, words[i]))
            return (int)i;
    return -1;
}
static bool whole(const struct kdb_object *o, int64_t *v)
{
    if (o->type != -PST_LONG && o->type != -PST_INT && o->type != -PST_SHORT)
        return false;
    *v = kdb_object_long(o, 0);
    return true;
}
static bool flag(const struct kdb_object *o, bool *v)
{
    if (o->type != -PST_BOOLEAN && o->type != -PST_LONG && o->type != -PST_INT)
        return false;
    *v = kdb_object_long(o, 0) != 0;
    return true;
}

static bool marks_of(const struct kdb_object *o, uint8_t *marks)
{
    static const struct {
        const char *word;
        uint8_t bit;
    } words[] = {{"end", KDB_MARK_END},
                 {"eoi", KDB_MARK_EOI},
                 {"buffer", KDB_MARK_BUFFER},
                 {"gap", KDB_MARK_GAP},
                 {"heartbeat", KDB_MARK_HEARTBEAT},
                 {"position", KDB_MARK_POSITION}};
    struct kdb_names n;
    struct kdb_name i;
    bool on;
    if (flag(o, &on)) {
        *marks = on ? KDB_MARKS : 0;
        return true;
    }
    if (!names_by(o, &n))
        return false;
    *marks = n.all ? KDB_MARKS : 0;
    for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i)) {
        unsigned w = 0;
        while (w < PST_COUNT(words) &&
               (strlen(words[w].word) != i.len || memcmp(words[w].word, i.text, i.len) != 0))
            w++;
        if (w == PST_COUNT(words))
            return false;
        *marks |= words[w].bit;
    }
    return true;
}

/* Names of columns are written as the text that a column list is. */
static bool columns_of(struct kdb_request *r, const struct kdb_object *o, struct kdb_text *t)
{
    struct kdb_names n;
    struct kdb_name i;
    if ((t->text = kdb_object_text(o, &t->len))) {
        t->text = t->len ? t->text : NULL;
        return o->type != KDB_ERROR;
    }
    if (!names_by(o, &n))
        return false;
    t->text = (const char *)r->made + r->made_len;
    for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i)) {
        uint8_t *p = request_made(r, i.len + 1);
        if (!p)
            return false;
        memcpy(p, i.text, i.len);
        p[i.len] = ',';
        t->len += i.len + 1;
    }
    t->len -= t->len > 0; /* the last comma */
    return true;
}

static bool stripe_of(const struct kdb_object *o, struct kdb_subscription *s)
{
    int64_t k, n;
    if ((o->type != PST_LONG && o->type != PST_INT) || o->count != 2)
        return false;
    k = kdb_object_long(o, 0);
    n = kdb_object_long(o, 1);
    if (n < 1 || n > 65536 || k < 0 || k >= n)
        return false;
    s->stripe = (uint32_t)k;
    s->stripes = (uint32_t)n;
    return true;
}

static const char *field_read(struct kdb_request *r, enum field f, const struct kdb_object *v)
{
    static const char *const froms[] = {"live", "day", "begin"};
    static const char *const policies[] = {"default", "disconnect", "catchup", "conflate", "skip"};
    static const char *const formats[] = {"kdb", "records"};
    struct kdb_subscription *s = &r->sub;
    int w;
    int64_t at;
    switch (f) {
    case TABLES:
        return names_by(v, &s->tables) ? NULL : "symbols";
    case SYMS:
        return names_by(v, &s->syms) ? NULL : "symbols";
    case WHERE:
        s->where.text = v->type == KDB_ERROR ? NULL : kdb_object_text(v, &s->where.len);
        w = s->where.text || kdb_object_null(v);
        if (!s->where.len)
            s->where.text = NULL;
        return w ? NULL : "a text such as \"price > 10\"";
    case COLUMNS:
        return kdb_object_null(v) || columns_of(r, v, &s->columns)
                   ? NULL
                   : "a text such as \"time, sym, price\"";
    case FROM:
        if (whole(v, &at) && at >= 0) {
            s->from = KDB_FROM_POSITION;
            s->position = (uint64_t)at;
            return NULL;
        }
        w = word_of(v, froms, PST_COUNT(froms));
        s->from = (uint8_t)(w < 0 ? 0 : w);
        return w < 0 ? "a position, `live, `day or `begin" : NULL;
    case SNAPSHOT:
        return flag(v, &s->snapshot) ? NULL : "a boolean";
    case POLICY:
        w = word_of(v, policies, PST_COUNT(policies));
        s->policy = (uint8_t)(w < 0 ? 0 : w);
        return w < 0 ? "`disconnect, `catchup, `conflate or `skip" : NULL;
    case IS_DURABLE:
        return flag(v, &s->durable) ? NULL : "a boolean";
    case CONFLATE:
        return flag(v, &s->conflate) ? NULL : "a boolean";
    case STRIPE:
        return stripe_of(v, s) ? NULL : "two longs: which, from 0, of how many";
    case MARKS:
        return marks_of(v, &s->marks)
                   ? NULL
                   : "a boolean, or some of `end`eoi`buffer`gap`heartbeat`position";
    case FORMAT:
        w = word_of(v, formats, PST_COUNT(formats));
        s->format = (uint8_t)(w < 0 ? 0 : w);
        return w < 0 ? "`kdb or `records" : NULL;
    }
    return NULL;
}

static void value_show(struct values *v)
{
    const struct kdb_object *o = v->of;
    if (!v->more)
        return;
    if (o->type == KDB_LIST) {
        v->item = v->items.item;
        return;
    }
    v->item = (struct kdb_object){.type = (int16_t)-o->type, .order = o->order, .count = 1};
    v->item.data = o->type == PST_SYMBOL ? (const uint8_t *)v->texts.text
                                         : o->data + (size_t)v->at * kdb_object_width(o->type);
}
void values_first(struct values *v, const struct kdb_object *of)
{
    memset(v, 0, sizeof *v);
    v->of = of;
    v->more = of->type == KDB_LIST     ? kdb_items(of, &v->items)
              : of->type == PST_SYMBOL ? kdb_texts(of, &v->texts)
                                       : of->count > 0;
    value_show(v);
}
void values_next(struct values *v)
{
    v->at++;
    v->more = v->of->type == KDB_LIST     ? kdb_items_next(&v->items)
              : v->of->type == PST_SYMBOL ? kdb_texts_next(&v->texts)
                                          : v->at < v->of->count;
    value_show(v);
}

bool subscription_read(struct kdb_request *r, const struct kdb_object *dict)
{
    static const char form[] = ".pst.sub wants a dictionary, e.g. `tables`syms!(`trade;`)";
    struct kdb_items parts;
    struct kdb_texts key;
    struct values v;
    if ((dict->type != KDB_DICT && dict->type != KDB_SORTED_DICT) || !kdb_items(dict, &parts)) {
        request_unknown(r, "type: %s", form);
        return false;
    }
    struct kdb_object keys = parts.item;
    kdb_items_next(&parts);
    if (keys.type != PST_SYMBOL || parts.item.type < 0 || parts.item.type > 19 ||
        keys.count != parts.item.count) {
        request_unknown(r, "type: %s", form);
        return false;
    }
    values_first(&v, &parts.item);
    for (bool more = kdb_texts(&keys, &key); more; more = kdb_texts_next(&key), values_next(&v)) {
        unsigned f = 0;
        while (f < PST_COUNT(fields) && strcmp(fields[f], key.text) != 0)
            f++;
        if (f == PST_COUNT(fields)) {
            const char *near = nearest_word(key.text, fields, PST_COUNT(fields));
            request_unknown(r, "domain: .pst.sub has no field %.40s%s%s", key.text,
                            near ? ", perhaps " : "", near ? near : "");
            return false;
        }
        const char *wanted = field_read(r, (enum field)f, &v.item);
        if (wanted) {
            request_unknown(r, "type: .pst.sub's %s is %s", fields[f], wanted);
            return false;
        }
    }
    return true;
}
