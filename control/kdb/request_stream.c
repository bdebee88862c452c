/* SPDX-License-Identifier: Apache-2.0 */
/* Streaming analytics: .sa.sub and its kin, and what their clients get. */
#include "core/nearest.h"
#include "kdb/request_parts.h"

#define FORM ".sa.sub[`last;`table`syms!(`trade;`A`B)], or (\".sa.sub\"; `last; params; options)"

static bool nothing(const struct node *n)
{
    return n->kind == NODE_HOLE || n->kind == NODE_NULL ||
           (n->kind == NODE_OBJECT &&
            (kdb_object_null(&n->object) || (n->object.type == KDB_LIST && !n->object.count)));
}

static bool is_dict(const struct node *n)
{
    return n->kind == NODE_DICT || (n->kind == NODE_OBJECT && (n->object.type == KDB_DICT ||
                                                               n->object.type == KDB_SORTED_DICT));
}

/* An argument as an object. False: hint says why. */
static bool dict_at(struct args *a, unsigned i, struct kdb_object *out)
{
    const struct node *n = a->n > i ? a->arg[i] : NULL;
    uint32_t at = a->r->made_len;
    *out = (struct kdb_object){.type = KDB_LIST, .order = KDB_LITTLE};
    if (!n || nothing(n))
        return true;
    if (!is_dict(n)) {
        request_wants(a, FORM);
        return false;
    }
    if (n->kind == NODE_OBJECT) {
        *out = n->object;
        return true;
    }
    if (!object_of(a->r, a->nodes, n)) {
        request_unknown(a->r, "type: send the parameters in a list: (\".sa.sub\"; `name; "
                              "`key1`key2!(value1; value2)), as many values as keys");
        return false;
    }
    kdb_object_view(out, a->r->made + at, KDB_LITTLE);
    return true;
}

/* ---- options ---- */

static int word_of(const struct kdb_object *o, const char *const *words, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (kdb_object_is(o, words[i]))
            return (int)i;
    return -1;
}

static const char *option_read(struct kdb_stream *s, unsigned option, const struct kdb_object *v)
{
    static const char *const modes[] = {"", "delta", "full"};
    static const char *const policies[] = {"default", "disconnect", "resync"};
    int w = -1;
    switch (option) {
    case 0:
        w = word_of(v, modes, PST_COUNT(modes));
        s->mode = (uint8_t)(w < 0 ? 0 : w);
        return w < 0 ? "`delta or `full" : NULL;
    case 1:
        s->group.text = v->type == KDB_ERROR ? NULL : kdb_object_text(v, &s->group.len);
        return s->group.text ? NULL : "a group's name, a symbol";
    case 2:
        w = word_of(v, policies, PST_COUNT(policies));
        s->policy = (uint8_t)(w < 0 ? 0 : w == 2 ? KDB_POLICY_SKIP : w);
        return w < 0 ? "`disconnect or `resync" : NULL;
    case 3:
        if (v->type != -PST_BOOLEAN)
            return "a boolean";
        s->texts = kdb_object_long(v, 0) != 0;
        return NULL;
    default:
        if (v->type != -PST_LONG && v->type != -PST_INT)
            return "a number of your own";
        s->ref = kdb_object_long(v, 0);
        return NULL;
    }
}

static bool options_read(struct kdb_request *r, const struct kdb_object *dict)
{
    static const char *const options[] = {"mode", "group", "policy", "texts", "ref"};
    struct kdb_items parts;
    struct kdb_texts key;
    struct values v;
    if (dict->type == KDB_LIST)
        return true;
    bool sound = kdb_items(dict, &parts);
    struct kdb_object keys = parts.item;
    sound = sound && kdb_items_next(&parts);
    if (!sound || (keys.count && keys.type != PST_SYMBOL) || parts.item.type < 0 ||
        parts.item.type > 19 || keys.count != parts.item.count) {
        request_unknown(r, "type: .sa.sub's options are a dictionary, e.g. "
                           "`mode`policy!`full`resync");
        return false;
    }
    if (!keys.count)
        return true;
    values_first(&v, &parts.item);
    for (bool more = kdb_texts(&keys, &key); more; more = kdb_texts_next(&key), values_next(&v)) {
        unsigned f = 0;
        while (f < PST_COUNT(options) && strcmp(options[f], key.text) != 0)
            f++;
        const char *near = nearest_word(key.text, options, PST_COUNT(options));
        const char *wanted = f < PST_COUNT(options) ? option_read(&r->stream, f, &v.item) : NULL;
        if (f == PST_COUNT(options))
            request_unknown(r,
                            "domain: .sa.sub has no option %.40s%s%s; it has mode, group, "
                            "policy, texts and ref",
                            key.text, near ? ", perhaps " : "", near ? near : "");
        else if (wanted)
            request_unknown(r, "type: .sa.sub's option %s is %s", options[f], wanted);
        if (f == PST_COUNT(options) || wanted)
            return false;
    }
    return true;
}

/* ---- requests ---- */

enum kdb_call stream_call(struct args *a, const char *name, uint32_t len)
{
    struct kdb_object options;
    struct kdb_request *r = a->r;
    unsigned first = name ? 0 : 1;
    if (!name) {
        struct kdb_text t;
        if (!a->n || a->n > 3 || !kdb_request_text(a->arg[0], &t) || !t.len)
            return request_wants(a, FORM);
        name = t.text;
        len = t.len;
    }
    if (len > 64)
        return request_unknown(r, "length: an analytic's name has at most 64 letters");
    r->function = (struct kdb_text){.text = name, .len = len};
    r->stream.ref = PST_NULL_LONG;
    if (!dict_at(a, first, &r->args) || !dict_at(a, first + 1, &options) ||
        !options_read(r, &options))
        return r->call;
    return request_done(r, KDB_CALL_SA_SUB);
}

enum kdb_call stream_sub(struct args *a)
{
    return stream_call(a, NULL, 0);
}

static bool begins(const char *name, uint32_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && !memcmp(name, with, n);
}

bool stream_direct(const struct args *a, const char *name, uint32_t len, bool word)
{
    static const char *const others[] = {".pst.",  ".ps.",      ".sa.", ".dm.",
                                         ".proc.", ".servers.", ".log", ".gw."};
    if (a->n > 2 || len > 64 || (!word && !memchr(name, '.', len)))
        return false;
    /* q's and kx's own: one letter */
    if (len > 2 && name[0] == '.' && (name[2] == '.' || len == 2))
        return false;
    for (unsigned i = 0; i < PST_COUNT(others); i++)
        if (begins(name, len, others[i]))
            return false;
    for (uint32_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && c != '.' && c != '_' && !(i && c >= '0' && c <= '9'))
            return false;
    }
    if (a->n && is_dict(a->arg[0]))
        return true;
    return !word && name[len - 1] != '.' && (!a->n || nothing(a->arg[0]));
}

static bool id_of(const struct node *n, int64_t *id)
{
    if (n->kind == NODE_VALUE && n->type == PST_LONG) {
        memcpy(id, n->value, sizeof *id);
        return true;
    }
    if (n->kind != NODE_OBJECT || (n->object.type != -PST_LONG && n->object.type != -PST_INT))
        return false;
    *id = kdb_object_long(&n->object, 0);
    return true;
}

enum kdb_call stream_unsub(struct args *a)
{
    struct kdb_stream *s = &a->r->stream;
    s->id = PST_NULL_LONG;
    if (a->n > 1 || (a->n == 1 && !nothing(a->arg[0]) && !id_of(a->arg[0], &s->id)))
        return request_wants(a, ".sa.unsub[id], id from .sa.sub's answer; of all: .sa.unsub[]");
    return request_done(a->r, KDB_CALL_SA_UNSUB);
}

enum kdb_call stream_snapshot(struct args *a)
{
    if (a->n != 1 || !id_of(a->arg[0], &a->r->stream.id))
        return request_wants(a, ".sa.snapshot[id], id from .sa.sub's answer");
    return request_done(a->r, KDB_CALL_SA_SNAPSHOT);
}

enum kdb_call stream_list(struct args *a)
{
    return request_done(a->r, KDB_CALL_SA_LIST);
}
enum kdb_call stream_streams(struct args *a)
{
    return request_done(a->r, KDB_CALL_SA_STREAMS);
}

/* ---- what clients get ---- */

static enum kdb_call rows(struct args *a, enum kdb_call call)
{
    struct kdb_request *r = a->r;
    int64_t position = 0;
    if (a->bare || a->n != 3 || !id_of(a->arg[0], &r->stream.id) || !id_of(a->arg[2], &position))
        return request_wants(a, "(`.sa.upd; id; table; position)");
    r->data = a->arg[1]->object;
    r->position = (uint64_t)position;
    return request_done(r, call);
}

enum kdb_call stream_state(struct args *a)
{
    return rows(a, KDB_CALL_SA_STATE);
}
enum kdb_call stream_update(struct args *a)
{
    return rows(a, KDB_CALL_SA_UPDATE);
}

enum kdb_call stream_notice(struct args *a)
{
    struct kdb_request *r = a->r;
    if (a->bare || a->n != 3 || !id_of(a->arg[0], &r->stream.id) ||
        !kdb_request_text(a->arg[1], &r->function) || !kdb_request_text(a->arg[2], &r->text))
        return request_wants(a, "(`.sa.notice; id; kind; text)");
    return request_done(r, KDB_CALL_SA_NOTICE);
}
