/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts, however a client wrote them. */
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

bool names_by(const struct kdb_object *o, struct kdb_names *n)
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
        return names_by(&arg->object, n);
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
        return names_by(&o, n);
    }
    default:
        return false;
    }
}

bool kdb_request_text(const struct node *arg, struct kdb_text *t)
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
    if (!kdb_request_text(arg, &t) || (t.len && *t.text == '`') || !memchr(t.text, ',', t.len))
        return false;
    *n = (struct kdb_names){.form = CSV, .text = t.text, .len = t.len, .many = true};
    n->count = occurrences(t.text, t.len, ',') + 1;
    return true;
}

/* ---- literals as objects ---- */

uint8_t *request_made(struct kdb_request *r, uint32_t n)
{
    if (n > sizeof r->made - r->made_len)
        return NULL;
    r->made_len += n;
    return r->made + r->made_len - n;
}
static bool made_head(struct kdb_request *r, int type, uint32_t count)
{
    uint8_t *p = request_made(r, 6);
    if (!p)
        return false;
    p[0] = (uint8_t)type;
    p[1] = 0;
    put32(p + 2, count);
    return true;
}
static bool made_text(struct kdb_request *r, const char *text, uint32_t len)
{
    uint8_t *p = request_made(r, len + 1);
    if (!p)
        return false;
    memcpy(p, text, len);
    p[len] = 0;
    return true;
}

/* Each symbol of `a`b as an atom. */
static bool symbol_atoms(struct kdb_request *r, const struct kdb_names *n)
{
    struct kdb_name i;
    for (bool more = kdb_names_first(n, &i); more; more = kdb_names_next(&i)) {
        uint8_t *p = request_made(r, 1);
        if (!p)
            return false;
        *p = (uint8_t)-PST_SYMBOL;
        if (!made_text(r, i.text, i.len))
            return false;
    }
    return true;
}

/* keys!values: symbols and a list with as many items. */
static bool dict_of(struct kdb_request *r, const struct node *nodes, const struct node *a)
{
    const struct node *k = &nodes[a->first], *v = &nodes[k->next];
    struct kdb_names n = {.form = LITERAL, .text = k->text, .len = k->len}, x;
    struct kdb_name i;
    n.count = k->kind == NODE_SYMBOLS ? occurrences(k->text, k->len, '`') : 0;
    uint8_t *p = request_made(r, 1);
    if (!p || !made_head(r, PST_SYMBOL, n.count))
        return false;
    *p = KDB_DICT;
    for (bool more = n.count && kdb_names_first(&n, &i); more; more = kdb_names_next(&i))
        if (!made_text(r, i.text, i.len))
            return false;
    if (v->kind == NODE_LIST && v->count == n.count)
        return object_of(r, nodes, v);
    if (!made_head(r, KDB_LIST, n.count))
        return false;
    x = (struct kdb_names){.form = LITERAL, .text = v->text, .len = v->len};
    x.count = v->kind == NODE_SYMBOLS ? occurrences(v->text, v->len, '`') : 0;
    struct node one = *v; /* (enlist `a)!enlist x; leniently also `a!x */
    one.enlisted = false;
    if (n.count == 1)
        return object_of(r, nodes, &one);
    return x.count == n.count && !v->enlisted && symbol_atoms(r, &x); /* `a`b!`c`d */
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
        } else if ((p = request_made(r, 1))) {
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
            if (!(p = request_made(r, 2)))
                return false;
            p[0] = (uint8_t)-PST_CHAR;
            p[1] = (uint8_t)a->text[0];
            return true;
        }
        if (!made_head(r, PST_CHAR, a->len) || !(p = request_made(r, a->len)))
            return false;
        memcpy(p, a->text, a->len);
        return true;
    case NODE_VALUE:
        if (!(p = request_made(r, 1 + kdb_object_width(a->type))))
            return false;
        *p = (uint8_t)-a->type;
        memcpy(p + 1, a->value, kdb_object_width(a->type));
        return true;
    case NODE_NULL:
        if (!(p = request_made(r, 2)))
            return false;
        p[0] = KDB_UNARY;
        p[1] = 0;
        return true;
    case NODE_DICT:
        return dict_of(r, nodes, a);
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
