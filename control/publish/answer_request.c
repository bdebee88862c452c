/* SPDX-License-Identifier: Apache-2.0 */
/* From a client's request to penstock-query's: rights, names, arguments as texts. */
#include <errno.h>
#include <math.h>
#include "answer_parts.h"
#include "core/civil.h"
#include "core/clock.h"

#define ARGUMENTS 64u
#define SYMBOLS   100000u

static json_t *text_json(const char *text, size_t len, const char *what, struct err *err)
{
    json_t *t = memchr(text, 0, len) ? NULL : json_stringn(text, len);
    if (!t)
        err_set(err, -EINVAL, "%s is no UTF-8 text", what);
    return t;
}

/* ---- values as the texts that parameters are ---- */

static void span_text(int64_t ns, char out[64], bool days)
{
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    uint64_t s = v / NS_PER_S, d = days ? s / 86400 : 0;
    char *p = out;
    s -= d * 86400;
    p += sprintf(p, "%s", ns < 0 ? "-" : "");
    if (days)
        p += sprintf(p, "%lluD", (unsigned long long)d);
    sprintf(p, "%02llu:%02llu:%02llu.%09llu", (unsigned long long)(s / 3600),
            (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60),
            (unsigned long long)(v % NS_PER_S));
}

static void number_text(const struct kdb_object *o, char out[64])
{
    int type = -o->type;
    char date[CIVIL_TEXT], stamp[CIVIL_STAMP_TEXT];
    double f;
    int64_t v =
        type == PST_REAL || type == PST_FLOAT || type == KDB_DATETIME ? 0 : kdb_object_long(o, 0);
    switch (type) {
    case PST_REAL:
    case PST_FLOAT:
        f = kdb_object_double(o, 0);
        snprintf(out, 64, isinf(f) ? f < 0 ? "-0w" : "0w" : "%.17g", f);
        break;
    case KDB_DATETIME:
        f = kdb_object_double(o, 0);
        civil_format_stamp(llround(f * 86400000.0) * NS_PER_MS, stamp);
        snprintf(out, 64, "%s", stamp);
        break;
    case PST_BOOLEAN:
        snprintf(out, 64, "%s", v ? "true" : "false");
        break;
    case PST_TIMESTAMP:
        civil_format_stamp(v, stamp);
        snprintf(out, 64, "%s", stamp);
        break;
    case PST_DATE:
        civil_format((int32_t)v, date);
        snprintf(out, 64, "%s", date);
        break;
    case PST_MONTH:
        snprintf(out, 64, "%04d.%02d", 2000 + (int)civil_floor_div(v, 12),
                 1 + (int)civil_floor_mod(v, 12));
        break;
    case PST_TIMESPAN:
        span_text(v, out, true);
        break;
    case PST_MINUTE:
        span_text(v * 60 * NS_PER_S, out, false);
        break;
    case PST_SECOND:
        span_text(v * NS_PER_S, out, false);
        break;
    case PST_TIME:
        span_text(v * NS_PER_MS, out, false);
        break;
    default:
        snprintf(out, 64, "%lld", (long long)v);
    }
}

static bool is_null(const struct kdb_object *o)
{
    switch (-o->type) {
    case PST_REAL:
    case PST_FLOAT:
    case KDB_DATETIME:
        return isnan(kdb_object_double(o, 0));
    case PST_SHORT:
        return kdb_object_long(o, 0) == INT16_MIN;
    case PST_INT:
    case PST_MONTH:
    case PST_DATE:
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        return kdb_object_long(o, 0) == INT32_MIN;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return kdb_object_long(o, 0) == INT64_MIN;
    default:
        return false;
    }
}

static void guid_text(const uint8_t *g, char out[64])
{
    char *p = out;
    for (unsigned i = 0; i < 16; i++)
        p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", g[i]);
}

/* NULL: err. A null is JSON's, which is the parameter's default. */
static json_t *value_json(const struct kdb_object *o, unsigned number, struct err *err)
{
    char text[64];
    uint32_t len;
    const char *chars = kdb_object_text(o, &len);
    if (chars)
        return text_json(chars, len, "an argument", err);
    if (kdb_object_null(o) || is_null(o))
        return json_null();
    if (!kdb_is_atom(o)) {
        err_set(
            err, -EINVAL,
            "argument %u is a %s: a named query takes single values (an atom, a symbol, a text)",
            number, kdb_object_type_name(o->type));
        return NULL;
    }
    if (-o->type == PST_GUID)
        guid_text(o->data, text);
    else
        number_text(o, text);
    return json_string(text);
}

/* Arguments by name: a dictionary with symbols as keys. */
static json_t *named_json(const struct kdb_object *dict, struct err *err)
{
    struct kdb_items i;
    struct kdb_texts t;
    json_t *o = json_object();
    bool ok = kdb_items(dict, &i);
    struct kdb_object keys = i.item, values;
    ok = ok && kdb_items_next(&i);
    values = i.item;
    if (!ok || keys.type != PST_SYMBOL || values.type != KDB_LIST || keys.count > ARGUMENTS ||
        keys.count != values.count) {
        err_set(err, -EINVAL,
                "arguments by name are a dictionary of symbols to a general list, of %u at most",
                ARGUMENTS);
        json_decref(o);
        return NULL;
    }
    ok = kdb_texts(&keys, &t);
    bool more = kdb_items(&values, &i);
    for (unsigned n = 1; ok && more; n++) {
        json_t *v = value_json(&i.item, n, err);
        if (!v || json_object_setn_new(o, t.text, t.len, v)) {
            if (v)
                err_set(err, -EINVAL, "the name of argument %u is no UTF-8 text", n);
            json_decref(o);
            return NULL;
        }
        ok = kdb_texts_next(&t);
        more = kdb_items_next(&i);
    }
    return o;
}

/* A homogeneous list of arguments arrives as a vector: its items are the arguments. */
static json_t *vector_json(const struct kdb_object *v, struct err *err)
{
    json_t *list = json_array();
    unsigned width = kdb_object_width(v->type);
    struct kdb_texts t;
    bool more = v->type == PST_SYMBOL && kdb_texts(v, &t);
    for (uint32_t i = 0; i < v->count; i++) {
        struct kdb_object atom = *v;
        json_t *x;
        if (v->type == PST_SYMBOL) {
            x = more ? text_json(t.text, t.len, "an argument", err) : NULL;
            more = more && kdb_texts_next(&t);
        } else {
            atom.type = (int16_t)-v->type;
            atom.count = 1;
            atom.data = v->data + (size_t)i * width;
            x = value_json(&atom, i + 1, err);
        }
        if (!x || json_array_append_new(list, x)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *params_json(const struct kdb_object *args, struct err *err)
{
    if (args->type == KDB_DICT)
        return named_json(args, err);
    if (args->count > ARGUMENTS && (args->type == KDB_LIST || kdb_is_vector(args)) &&
        args->type != PST_CHAR) {
        err_set(err, -E2BIG, "a named query has at most %u arguments", ARGUMENTS);
        return NULL;
    }
    if (kdb_is_vector(args) && args->type != PST_CHAR)
        return vector_json(args, err);
    if (args->type != KDB_LIST) {
        json_t *v = value_json(args, 1, err);
        return v ? json_pack("[o]", v) : NULL;
    }
    struct kdb_items i;
    bool more = kdb_items(args, &i);
    if (more && args->count == 1 && i.item.type == KDB_DICT)
        return named_json(&i.item, err);
    json_t *list = json_array();
    for (unsigned n = 1; more; n++, more = kdb_items_next(&i)) {
        json_t *v = value_json(&i.item, n, err);
        if (!v || json_array_append_new(list, v)) {
            json_decref(list);
            return NULL;
        }
    }
    /* f[] sends :: as its only argument: none */
    if (json_array_size(list) == 1 && json_is_null(json_array_get(list, 0)))
        json_array_clear(list);
    return list;
}

/* ---- the whole ---- */

static json_t *names_json(const struct user_names *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n->count; i++)
        json_array_append_new(list, json_string(n->at[i]));
    return list;
}

static bool set(json_t *o, const char *key, json_t *v)
{
    return v && !json_object_set_new(o, key, v);
}

static bool set_text(json_t *o, const char *key, struct kdb_text t, const char *what,
                     struct err *err)
{
    return !t.text || set(o, key, text_json(t.text, t.len, what, err));
}

static bool set_syms(json_t *o, const struct kdb_names *n, struct err *err)
{
    struct kdb_name i;
    json_t *list = json_array();
    if (n->count > SYMBOLS) {
        json_decref(list);
        return err_set(err, -E2BIG, "a snapshot of more than %u symbols: ask for all", SYMBOLS);
    }
    for (bool more = kdb_names_first(n, &i); more; more = kdb_names_next(&i)) {
        json_t *t = text_json(i.text, i.len, "a symbol", err);
        if (!t || json_array_append_new(list, t)) {
            json_decref(list);
            return false;
        }
    }
    return set(o, "syms", list);
}

static bool statement(json_t *o, const struct answer_request *r, const struct user *u,
                      struct err *err)
{
    if (r->kind == ANSWER_SQL) {
        if (!u->sql)
            return err_set(err, -EACCES, "you may not ask in SQL; named queries may be called");
        if (r->text.len > ANSWER_TEXT)
            return err_set(err, -E2BIG, "SQL has at most %u bytes", ANSWER_TEXT);
        return set_text(o, "sql", r->text, "the SQL", err);
    }
    if (r->kind == ANSWER_NAMED)
        return r->text.len <= USER_NAME_MAX * 4 && set_text(o, "call", r->text, "the name", err) &&
               (!r->args || set(o, "params", params_json(r->args, err)));
    json_t *tables = json_array();
    for (uint32_t i = 0; i < r->ntables; i++)
        json_array_append_new(tables, json_string(r->tables[i]));
    if (r->stripes > 1 &&
        !(set(o, "stripe", json_integer(r->stripe)) && set(o, "stripes", json_integer(r->stripes))))
        return false;
    return set(o, "tables", tables) && (!r->syms || r->syms->all || set_syms(o, r->syms, err)) &&
           set_text(o, "where", r->where, "the where clause", err) &&
           set_text(o, "columns", r->columns, "the list of columns", err);
}

json_t *answer_request_json(const struct answer_request *r, const struct user *u, struct err *err)
{
    static const char *const kinds[] = {
        [ANSWER_SQL] = "sql",   [ANSWER_NAMED] = "call",  [ANSWER_COUNT] = "count",
        [ANSWER_SNAP] = "snap", [ANSWER_KEYED] = "keyed", [ANSWER_SNAPSHOT] = "snapshot"};
    json_t *o = json_pack("{s:s}", "kind", kinds[r->kind]);
    err_set(err, -ENOMEM, "no memory for a request");
    bool ok = o && statement(o, r, u, err);
    if (r->tier != ANSWER_ALL)
        ok = ok && set(o, "tier", json_string(r->tier == ANSWER_RDB ? "rdb" : "hdb"));
    if (!u->tables.all)
        ok = ok && set(o, "may_read", names_json(&u->tables));
    if (!u->calls.all)
        ok = ok && set(o, "may_call", names_json(&u->calls));
    if (u->partial)
        ok = ok && set(o, "partial", json_true());
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}
