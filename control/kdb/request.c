/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as calls: a function and its arguments, whether they came as text or as a list. */
#include "kdb/request_parts.h"

const char *kdb_call_name(enum kdb_call call)
{
    static const char *const names[] = {
        [KDB_CALL_UNKNOWN] = "unknown",
        [KDB_CALL_FLUSH] = "flush",
        [KDB_CALL_SUB] = "sub",
        [KDB_CALL_UPD] = "upd",
        [KDB_CALL_ENDOFDAY] = "endofday",
        [KDB_CALL_POINT] = "point",
        [KDB_CALL_DATE] = "date",
        [KDB_CALL_TABLES] = "tables",
        [KDB_CALL_META] = "meta",
        [KDB_CALL_COLS] = "cols",
        [KDB_CALL_COUNT] = "count",
        [KDB_CALL_SNAP] = "snap",
        [KDB_CALL_SQL] = "sql",
        [KDB_CALL_NAMED] = "named",
        [KDB_CALL_TORQ_TYPE] = "torq-type",
        [KDB_CALL_TORQ_ATTRIBUTES] = "torq-attributes",
        [KDB_CALL_PYKX_CONTEXT] = "pykx-context",
        [KDB_CALL_PYKX_KEYS] = "pykx-keys",
        [KDB_CALL_PST_SUB] = "pst-sub",
        [KDB_CALL_PST_UNSUB] = "pst-unsub",
        [KDB_CALL_PST_UPD] = "pst-upd",
        [KDB_CALL_PST_WATERMARK] = "pst-watermark",
        [KDB_CALL_PST_WAIT] = "pst-wait",
        [KDB_CALL_END] = "end",
        [KDB_CALL_EOI] = "eoi",
        [KDB_CALL_BUFFER_START] = "buffer-start",
        [KDB_CALL_BUFFER_END] = "buffer-end",
        [KDB_CALL_NOTICE] = "notice",
        [KDB_CALL_SA_SUB] = "sa-sub",
        [KDB_CALL_SA_UNSUB] = "sa-unsub",
        [KDB_CALL_SA_SNAPSHOT] = "sa-snapshot",
        [KDB_CALL_SA_LIST] = "sa-list",
        [KDB_CALL_SA_STREAMS] = "sa-streams",
        [KDB_CALL_SA_STATE] = "sa-snap",
        [KDB_CALL_SA_UPDATE] = "sa-upd",
        [KDB_CALL_SA_NOTICE] = "sa-notice",
    };
    return call < PST_COUNT(names) ? names[call] : "unknown";
}

enum kdb_call request_unknown(struct kdb_request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->hint, sizeof r->hint, fmt, ap);
    va_end(ap);
    for (char *c = r->hint; *c; c++) /* it may quote the client */
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = '?';
    return r->call = KDB_CALL_UNKNOWN;
}

/* ---- texts ---- */

static enum kdb_call tree(struct args *a, const struct node *n);

static bool is_point(struct kdb_request *r, const struct node *nodes, const struct node *n,
                     unsigned parts)
{
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    if (n->kind == NODE_PAIR)
        return parts == (KDB_POINT_I | KDB_POINT_L);
    return tree(&a, n) == KDB_CALL_POINT && r->parts == parts && r->enlisted == (parts == 3);
}

/* (subscription; pair), (i; L), (i; L; subscription) */
static enum kdb_call list(struct args *a, const struct node *n)
{
    struct kdb_request *r = a->r;
    const struct node *item[3];
    unsigned k = 0;
    for (unsigned c = n->first; c && k < 3; c = a->nodes[c].next)
        item[k++] = &a->nodes[c];
    if (n->count == 0)
        return request_done(r, KDB_CALL_FLUSH);
    if (n->count == 2 && is_point(r, a->nodes, item[0], KDB_POINT_I) &&
        is_point(r, a->nodes, item[1], KDB_POINT_L))
        return request_point(r, KDB_POINT_I | KDB_POINT_L, true);
    if (n->count == 2 && is_point(r, a->nodes, item[1], KDB_POINT_I | KDB_POINT_L) &&
        tree(a, item[0]) == KDB_CALL_SUB && r->shape == KDB_SHAPE_PLAIN) {
        r->shape = KDB_SHAPE_POINT_AFTER;
        return r->call;
    }
    if (n->count == 3 && is_point(r, a->nodes, item[0], KDB_POINT_I) &&
        is_point(r, a->nodes, item[1], KDB_POINT_L) && tree(a, item[2]) == KDB_CALL_SUB &&
        r->shape == KDB_SHAPE_PLAIN) {
        r->shape = KDB_SHAPE_POINT_FIRST;
        return r->call;
    }
    return request_unknown(r, "nyi: lists of expressions are not evaluated here, but for "
                              "(.u.sub[`;`];.u `i`L) and (.u.i;.u.L)");
}

/* .u.sub[;syms] each tables */
static enum kdb_call over_each(struct args *a, const struct node *n)
{
    const struct node *f = &a->nodes[n->first], *x = &a->nodes[f->next];
    const struct node *hole = f->first ? &a->nodes[f->first] : NULL;
    struct kdb_request *r = a->r;
    if (f->count != 2 || hole->kind != NODE_HOLE || f->len != 6 || memcmp(f->text, ".u.sub", 6) ||
        !names_of(r, a->nodes, x, &r->sub.tables) ||
        !names_of(r, a->nodes, &a->nodes[hole->next], &r->sub.syms))
        return request_unknown(r, "nyi: each is read only in .u.sub[;`] each `trade`quote");
    r->function = (struct kdb_text){.text = f->text, .len = f->len};
    return request_done(r, KDB_CALL_SUB);
}

static enum kdb_call tree(struct args *a, const struct node *n)
{
    static const char *const prefix = ".u.";
    struct kdb_request *r = a->r;
    if (n->kind == NODE_LIST)
        return list(a, n);
    if (n->kind == NODE_EACH)
        return over_each(a, n);
    if (n->kind == NODE_NULL || (n->kind == NODE_STRING && !n->len))
        return request_done(r, KDB_CALL_FLUSH);
    if (n->kind == NODE_PAIR)
        return request_point(r, KDB_POINT_I | KDB_POINT_L, true);
    if (n->kind == NODE_NAME && n->len == 4 && !memcmp(n->text, prefix, 3)) {
        r->function = (struct kdb_text){.text = n->text, .len = n->len};
        switch (n->text[3]) {
        case 'i':
            return request_point(r, KDB_POINT_I, false);
        case 'L':
            return request_point(r, KDB_POINT_L, false);
        case 'd':
            return request_done(r, KDB_CALL_DATE);
        case 't':
            return request_done(r, KDB_CALL_TABLES);
        default:
            break;
        }
    }
    if (n->kind == NODE_NAME)
        return request_unknown(r,
                               "nyi: variables have no value here; for a table's rows send "
                               "s)select * from %.*s",
                               n->len < 40 ? (int)n->len : 40, n->text);
    if (n->kind != NODE_CALL)
        return request_unknown(r, "nyi: q is not evaluated here; send .u.sub, .u.upd, s)select "
                                  "... or a query's name");
    a->n = 0;
    for (unsigned c = n->first; c; c = a->nodes[c].next) {
        if (a->n < ARGS)
            a->arg[a->n] = &a->nodes[c];
        a->n++;
    }
    if (request_call(a, n->text, n->len) == KDB_CALL_NAMED) {
        struct node whole = {.kind = NODE_LIST, .first = n->first, .count = n->count};
        uint32_t at = r->made_len;
        if (!object_of(r, a->nodes, &whole))
            return request_unknown(r, "type: send %.*s's arguments as a list: (`%.*s; ...)",
                                   n->len < 40 ? (int)n->len : 40, n->text,
                                   n->len < 40 ? (int)n->len : 40, n->text);
        kdb_object_view(&r->args, r->made + at, KDB_LITTLE);
    }
    return r->call;
}

static bool begins_with_word(const char *text, uint32_t len, const char *word)
{
    size_t n = strlen(word);
    return len > n && !strncasecmp(text, word, n) && strchr(" \t\r\n", text[n]);
}

static enum kdb_call text_request(struct kdb_request *r, const char *text, uint32_t len)
{
    struct node nodes[NODES];
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    uint8_t root;
    while (len && memchr(" \t\r\n;", text[len - 1], 5))
        len--;
    while (len && memchr(" \t\r\n", *text, 4)) {
        text++;
        len--;
    }
    if (!len)
        return request_done(r, KDB_CALL_FLUSH);
    if (len >= 2 && text[0] == 's' && text[1] == ')')
        return request_sql(r, text + 2, len - 2);
    if (request_is_source(text, len))
        return request_source(&a, text, len);
    if (begins_with_word(text, len, "select") || begins_with_word(text, len, "exec") ||
        begins_with_word(text, len, "with"))
        return request_unknown(r, "nyi: q-sql is not evaluated here; send SQL: s)select * from "
                                  "trade where sym = 'AAPL'");
    if (begins_with_word(text, len, "update") || begins_with_word(text, len, "delete") ||
        begins_with_word(text, len, "insert"))
        return request_unknown(r, "nyi: tables are changed by publishing: send (\".u.upd\"; "
                                  "`table; data) as a list");
    if (text_begins(text, len, ".u.upd[") || text_begins(text, len, "upd["))
        return request_unknown(r, "type: send (\".u.upd\"; `table; data) as a list, not as text");
    if (!text_parse(text, len, nodes, &root))
        return request_unknown(r, "nyi: q is not evaluated here; send .u.sub, .u.upd, s)select "
                                  "... or a query's name");
    return tree(&a, &nodes[root]);
}

/* ---- lists ---- */

static enum kdb_call headed(struct kdb_request *r, struct args *a, const struct kdb_object *head)
{
    uint32_t len;
    const char *text;
    if (head->type == KDB_LAMBDA) {
        struct kdb_object body;
        kdb_object_view(&body, head->data + strlen((const char *)head->data) + 1, head->order);
        text = kdb_object_text(&body, &len);
        return request_source(a, text, len);
    }
    text = head->type == KDB_ERROR ? NULL : kdb_object_text(head, &len);
    if (!text)
        return request_unknown(r, "type: a list request begins with a function's name, not a %s",
                               kdb_object_type_name(head->type));
    if (head->type != -PST_SYMBOL && request_is_source(text, len))
        return request_source(a, text, len);
    return request_call(a, text, len);
}

static enum kdb_call list_request(struct kdb_request *r, const struct kdb_object *o)
{
    struct node nodes[ARGS];
    struct args a = {.r = r, .nodes = nodes};
    struct kdb_items i;
    kdb_items(o, &i);
    struct kdb_object head = i.item, rest = {.type = KDB_LIST, .order = o->order};
    rest.count = o->count - 1;
    for (a.n = 0; a.n < rest.count && a.n < ARGS; a.n++) {
        kdb_items_next(&i);
        if (!a.n)
            rest.data = i.item.at;
        nodes[a.n].kind = NODE_OBJECT;
        nodes[a.n].object = i.item;
        a.arg[a.n] = &nodes[a.n];
    }
    a.n = rest.count;
    if (headed(r, &a, &head) == KDB_CALL_NAMED)
        r->args = rest;
    return r->call;
}

/* A list of symbols only arrives as a vector of them. */
static enum kdb_call symbols_request(struct kdb_request *r, const struct kdb_object *o)
{
    struct node nodes[ARGS];
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    struct kdb_texts t;
    kdb_texts(o, &t);
    const char *name = t.text;
    uint32_t len = t.len;
    while (kdb_texts_next(&t)) {
        if (a.n < ARGS) {
            nodes[a.n].kind = NODE_OBJECT;
            nodes[a.n].object = (struct kdb_object){.data = (const uint8_t *)t.text,
                                                    .count = 1,
                                                    .type = -PST_SYMBOL,
                                                    .order = o->order};
            a.arg[a.n] = &nodes[a.n];
        }
        a.n++;
    }
    if (request_call(&a, name, len) == KDB_CALL_NAMED) {
        uint8_t *p = r->made;
        const char *text = name + len + 1;
        if (kdb_object_end(o) - (const uint8_t *)text + a.n + 6 > (ptrdiff_t)sizeof r->made)
            return request_unknown(r, "type: too many symbols for a named query");
        memset(p, 0, 6);
        put32(p + 2, a.n);
        p += 6;
        for (unsigned k = 0; k < a.n; k++, text += strlen(text) + 1) {
            *p++ = (uint8_t)-PST_SYMBOL;
            p = (uint8_t *)stpcpy((char *)p, text) + 1;
        }
        r->made_len = (uint32_t)(p - r->made);
        kdb_object_view(&r->args, r->made, KDB_LITTLE);
    }
    return r->call;
}

enum kdb_call kdb_request_read(const struct kdb_object *o, struct kdb_request *r)
{
    uint32_t len;
    const char *text;
    memset(r, 0, offsetof(struct kdb_request, hint));
    r->hint[0] = 0;
    r->made_len = 0;
    r->date = PST_NULL_INT;
    r->sub.marks = KDB_MARKS;
    r->sub.stripes = 1;
    r->sub.tables.all = r->sub.syms.all = true;
    if (kdb_object_null(o) || (o->type == KDB_LIST && !o->count))
        return request_done(r, KDB_CALL_FLUSH);
    if (o->type == KDB_LIST)
        return list_request(r, o);
    if (o->type == PST_SYMBOL && o->count)
        return symbols_request(r, o);
    if (o->type == KDB_ERROR || !(text = kdb_object_text(o, &len)))
        return request_unknown(r, "type: a request is a text or a list, not a %s",
                               kdb_object_type_name(o->type));
    return text_request(r, text, len);
}
