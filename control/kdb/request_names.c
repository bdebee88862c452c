/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts, however a client wrote them; the dictionary of .pst.sub. */
#include "core/nearest.h"
#include "kdb/request_parts.h"

enum form { NONE, ONE, LITERAL, CSV, SYMBOLS, TEXTS };

/* ---- iteration ---- */

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next of `a`b or a, b from i->rest. */
static void cut(struct kdb_name *i)
{
    const char *end;
    if (i->form == LITERAL) {
        i->rest++; /* the backtick */
        i->rest_len--;
    }
    end = memchr(i->rest, i->form == LITERAL ? '`' : ',', i->rest_len);
    i->text = i->rest;
    i->len = end ? (uint32_t)(end - i->rest) : i->rest_len;
    uint32_t step = i->len + (end && i->form == CSV);
    i->rest += step;
    i->rest_len -= step;
    while (i->form == CSV && i->len && blank(*i->text)) {
        i->text++;
        i->len--;
    }
    while (i->form == CSV && i->len && blank(i->text[i->len - 1]))
        i->len--;
}

static void item(struct kdb_name *i)
{
    i->text = kdb_object_text(&i->items.item, &i->len);
}

bool kdb_names_first(const struct kdb_names *n, struct kdb_name *i)
{
    if (!n->count)
        return false;
    memset(i, 0, sizeof *i);
    i->form = n->form;
    i->left = n->count - 1;
    i->text = i->rest = n->text;
    i->len = i->rest_len = n->len;
    if (n->form == SYMBOLS) {
        kdb_texts(&n->object, &i->texts);
        i->text = i->texts.text;
        i->len = i->texts.len;
    } else if (n->form == TEXTS) {
        kdb_items(&n->object, &i->items);
        item(i);
    } else if (n->form != ONE) {
        cut(i);
    }
    return true;
}
bool kdb_names_next(struct kdb_name *i)
{
    if (!i->left)
        return false;
    i->left--;
    if (i->form == SYMBOLS) {
        kdb_texts_next(&i->texts);
        i->text = i->texts.text;
        i->len = i->texts.len;
    } else if (i->form == TEXTS) {
        kdb_items_next(&i->items);
        item(i);
    } else {
        cut(i);
    }
    return true;
}

/* ---- what an argument names ---- */

static uint32_t occurrences(const char *text, uint32_t len, char c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < len; i++)
        n += text[i] == c;
    return n;
}

static bool everything(struct kdb_names *n)
{
    *n = (struct kdb_names){.all = true};
    return true;
}
static bool literal(struct kdb_names *n, const char *text, uint32_t len, bool enlisted)
{
    if (len == 1 && !enlisted)
        return everything(n);
    *n = (struct kdb_names){.form = LITERAL, .text = text, .len = len};
    n->count = occurrences(text, len, '`');
    n->many = enlisted || n->count > 1;
    return true;
}
static bool plain(struct kdb_names *n, const char *text, uint32_t len, bool enlisted)
{
    if (!enlisted && (!len || (len == 1 && *text == ' ')))
        return everything(n);
    if (len && *text == '`')
        return literal(n, text, len, enlisted);
    *n = (struct kdb_names){.form = ONE, .text = text, .len = len, .count = 1, .many = enlisted};
    return true;
}

static bool named_by(const struct kdb_object *o, struct kdb_names *n)
{
    uint32_t len;
    const char *text = kdb_object_text(o, &len);
    struct kdb_items i;
    if (kdb_object_null(o))
        return everything(n);
    if (o->type == KDB_ERROR)
        return false;
    if (text && o->type == -PST_SYMBOL && !len)
        return everything(n);
    if (text && o->type == -PST_SYMBOL) {
        *n = (struct kdb_names){.form = ONE, .text = text, .len = len, .count = 1};
        return true;
    }
    if (text)
        return plain(n, text, len, false);
    if (o->type == PST_SYMBOL) {
        *n = (struct kdb_names){.form = SYMBOLS, .many = true, .count = o->count, .object = *o};
        return true;
    }
    if (o->type != KDB_LIST)
        return false;
    for (bool more = kdb_items(o, &i); more; more = kdb_items_next(&i))
        if (i.item.type == KDB_ERROR || !kdb_object_text(&i.item, &len))
            return false;
    *n = (struct kdb_names){.form = TEXTS, .many = true, .count = o->count, .object = *o};
    return true;
}

bool names_of(struct kdb_request *r, const struct node *nodes, const struct node *arg,
              struct kdb_names *n)
{
    switch (arg->kind) {
    case NODE_OBJECT:
        return named_by(&arg->object, n);
    case NODE_SYMBOLS:
        return literal(n, arg->text, arg->len, arg->enlisted);
    case NODE_STRING:
    case NODE_NAME:
        return plain(n, arg->text, arg->len, arg->enlisted);
    case NODE_NULL:
        return everything(n);
    case NODE_LIST: {
        struct kdb_object o;
        uint32_t at = r->made_len;
        if (!object_of(r, nodes, arg))
            return false;
        kdb_object_view(&o, r->made + at, KDB_LITTLE);
        return named_by(&o, n);
    }
    default:
        return false;
    }
}

bool text_of(const struct node *arg, struct kdb_text *t)
{
    if (arg->kind == NODE_OBJECT && arg->object.type != KDB_ERROR) {
        t->text = kdb_object_text(&arg->object, &t->len);
        return t->text != NULL;
    }
    if (arg->kind != NODE_STRING &&
        !(arg->kind == NODE_SYMBOLS && occurrences(arg->text, arg->len, '`') == 1))
        return false;
    uint32_t skip = arg->kind == NODE_SYMBOLS;
    *t = (struct kdb_text){.text = arg->text + skip, .len = arg->len - skip};
    return true;
}

bool names_csv(const struct node *arg, struct kdb_names *n)
{
    struct kdb_text t;
    if (!text_of(arg, &t) || (t.len && *t.text == '`') || !memchr(t.text, ',', t.len))
        return false;
    *n = (struct kdb_names){.form = CSV, .text = t.text, .len = t.len, .many = true};
    n->count = occurrences(t.text, t.len, ',') + 1;
    return true;
}

/* ---- literals as objects ---- */

static uint8_t *made(struct kdb_request *r, uint32_t n)
{
    if (n > sizeof r->made - r->made_len)
        return NULL;
    r->made_len += n;
    return r->made + r->made_len - n;
}
static bool made_head(struct kdb_request *r, int type, uint32_t count)
{
    uint8_t *p = made(r, 6);
    if (!p)
        return false;
    p[0] = (uint8_t)type;
    p[1] = 0;
    put32(p + 2, count);
    return true;
}
static bool made_text(struct kdb_request *r, const char *text, uint32_t len)
{
    uint8_t *p = made(r, len + 1);
    if (!p)
        return false;
    memcpy(p, text, len);
    p[len] = 0;
    return true;
}

bool object_of(struct kdb_request *r, const struct node *nodes, const struct node *a)
{
    struct kdb_names n;
    struct kdb_name i;
    uint8_t *p;
    switch (a->kind) {
    case NODE_SYMBOLS: /* `a is an atom, also the null symbol; `a`b a vector */
        n = (struct kdb_names){.form = LITERAL, .text = a->text, .len = a->len};
        n.count = occurrences(a->text, a->len, '`');
        if (n.count > 1 || a->enlisted) {
            if (!made_head(r, PST_SYMBOL, n.count))
                return false;
        } else if ((p = made(r, 1))) {
            *p = (uint8_t)-PST_SYMBOL;
        } else {
            return false;
        }
        for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i))
            if (!made_text(r, i.text, i.len))
                return false;
        return true;
    case NODE_STRING:
        if (a->len == 1 && !a->enlisted) { /* as q has it */
            if (!(p = made(r, 2)))
                return false;
            p[0] = (uint8_t)-PST_CHAR;
            p[1] = (uint8_t)a->text[0];
            return true;
        }
        if (!made_head(r, PST_CHAR, a->len) || !(p = made(r, a->len)))
            return false;
        memcpy(p, a->text, a->len);
        return true;
    case NODE_VALUE:
        if (!(p = made(r, 1 + kdb_object_width(a->type))))
            return false;
        *p = (uint8_t)-a->type;
        memcpy(p + 1, a->value, kdb_object_width(a->type));
        return true;
    case NODE_NULL:
        if (!(p = made(r, 2)))
            return false;
        p[0] = KDB_UNARY;
        p[1] = 0;
        return true;
    case NODE_LIST:
        if (!made_head(r, KDB_LIST, a->count))
            return false;
        for (unsigned c = a->first; c; c = nodes[c].next)
            if (!object_of(r, nodes, &nodes[c]))
                return false;
        return true;
    default:
        return false;
    }
}

/* ---- .pst.sub ---- */

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
    if (!named_by(o, &n))
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
    if (!named_by(o, &n))
        return false;
    t->text = (const char *)r->made + r->made_len;
    for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i)) {
        uint8_t *p = made(r, i.len + 1);
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
        return named_by(v, &s->tables) ? NULL : "symbols";
    case SYMS:
        return named_by(v, &s->syms) ? NULL : "symbols";
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

/* Value after value of a dictionary, whose values may have collapsed into a vector. */
struct values {
    const struct kdb_object *of;
    struct kdb_items items;
    struct kdb_texts texts;
    struct kdb_object item;
    uint32_t at;
    bool more;
};
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
static void values_first(struct values *v, const struct kdb_object *of)
{
    memset(v, 0, sizeof *v);
    v->of = of;
    v->more = of->type == KDB_LIST     ? kdb_items(of, &v->items)
              : of->type == PST_SYMBOL ? kdb_texts(of, &v->texts)
                                       : of->count > 0;
    value_show(v);
}
static void values_next(struct values *v)
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
