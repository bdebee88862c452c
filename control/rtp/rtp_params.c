/* SPDX-License-Identifier: Apache-2.0 */
#include "rtp_params.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "core/nearest.h"
#include "core/schema.h"
#include "penstock/plugin.h"
#include "storage/query/literal.h"

#define SHOWN 60 /* bytes of a client's text in a sentence */

struct declared {
    const char *of, *name, *def; /* def NULL: must be given */
    uint8_t type;
    bool list;
};

static struct declared declared_of(const char *of, const json_t *p)
{
    return (struct declared){of, json_string_value(json_object_get(p, "name")),
                             json_string_value(json_object_get(p, "default")),
                             type_by_name(json_string_value(json_object_get(p, "type"))),
                             json_is_true(json_object_get(p, "list"))};
}

/* ---- sentences ---- */

static const char *example(const struct declared *d)
{
    return d->type == PST_SYMBOL   ? "AAPL"
           : d->type == PST_STRING ? "text"
           : d->type == PST_CHAR   ? "A"
                                   : literal_example(d->type);
}

static bool wrong(const struct declared *d, struct err *err, const char *text, size_t len)
{
    char shown[SHOWN + 4];
    size_t n = len < SHOWN ? len : SHOWN;
    for (size_t i = 0; i < n; i++)
        shown[i] = text[i] >= ' ' && text[i] < 0x7F ? text[i] : '?';
    snprintf(shown + n, sizeof shown - n, "%s", len > SHOWN ? "..." : "");
    return err_set(err, -EINVAL, "type: %.64s: parameter %.64s is a %s%s such as %s, not %s", d->of,
                   d->name, type_name(d->type), d->list ? " list" : "", example(d), shown);
}
static bool wrong_type(const struct declared *d, struct err *err, const struct kdb_object *o)
{
    char text[64];
    int n = snprintf(text, sizeof text, "a %s%s", kdb_object_type_name(o->type),
                     kdb_is_vector(o) ? " vector" : "");
    return wrong(d, err, text, (size_t)n);
}

/* ---- one value out ---- */

/* As it stands in a vector of the type; symbols with their NUL; strings: a char vector. */
static bool put_value(struct kdb_out *out, uint8_t type, const struct scalar *v)
{
    int64_t i = v->i;
    double f = v->null || isnan(v->f) ? NAN : v->f + 0.0; /* -0.0 + 0.0 is 0.0 */
    float e = (float)f + 0.0f;                            /* of what is too small for a real, too */
    uint64_t bits = PST_NULL_FLOAT_BITS;
    uint32_t bits32 = PST_NULL_REAL_BITS;
    switch (type) {
    case PST_SYMBOL:
        if (!v->null) {
            if (memchr(v->text.p, 0, v->text.len) || v->text.len > 255)
                return false;
            kdb_out_bytes(out, v->text.p, v->text.len);
        }
        kdb_out_bytes(out, "", 1);
        return true;
    case PST_STRING:
        kdb_out_chars(out, v->null ? "" : v->text.p, v->null ? 0 : v->text.len);
        return true;
    case PST_GUID:
        kdb_out_bytes(out, v->null ? (const uint8_t[16]){0} : v->guid, 16);
        return true;
    case PST_FLOAT:
        if (!isnan(f))
            memcpy(&bits, &f, sizeof bits);
        kdb_out_bytes(out, &bits, 8);
        return true;
    case PST_REAL:
        if (!isnan(e))
            memcpy(&bits32, &e, sizeof bits32);
        kdb_out_bytes(out, &bits32, 4);
        return true;
    case PST_BOOLEAN:
    case PST_BYTE:
        i = v->null ? 0 : i;
        break;
    case PST_CHAR:
        i = v->null ? PST_NULL_CHAR : i;
        break;
    case PST_SHORT:
        i = v->null ? PST_NULL_SHORT : i;
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        i = v->null ? PST_NULL_LONG : i;
        break;
    default:
        i = v->null ? PST_NULL_INT : i;
    }
    kdb_out_bytes(out, &i, kdb_object_width(type)); /* little endian: the narrow ones are first */
    return true;
}

static bool put_text(const struct declared *d, const char *text, size_t len, struct kdb_out *out,
                     struct err *err)
{
    struct scalar v = {.type = d->type};
    if (d->type == PST_SYMBOL || d->type == PST_STRING) {
        v.text.p = text;
        v.text.len = (uint32_t)len;
        v.null = d->type == PST_SYMBOL && !len;
    } else if (d->type == PST_CHAR && len == 1) {
        v.i = (uint8_t)*text;
    } else if (d->type == PST_TIMESPAN && len == 1 && *text == '0') {
        v.i = 0; /* in any unit */
    } else if (!literal_parse(d->type, text, len, &v)) {
        return wrong(d, err, text, len);
    }
    return put_value(out, d->type, &v) || wrong(d, err, text, len);
}

/* ---- numbers ---- */

static bool whole(uint8_t type)
{
    return type == PST_BYTE || type == PST_SHORT || type == PST_INT || type == PST_LONG;
}
static bool clock_type(uint8_t type)
{
    return type == PST_MINUTE || type == PST_SECOND || type == PST_TIME || type == PST_TIMESPAN;
}
static int64_t null_of(uint8_t type)
{
    return type == PST_SHORT                                                   ? PST_NULL_SHORT
           : type == PST_LONG || type == PST_TIMESTAMP || type == PST_TIMESPAN ? PST_NULL_LONG
                                                                               : PST_NULL_INT;
}

/* May a value of one type stand for one of another, without loss but a real's digits? */
static bool may_stand(uint8_t from, uint8_t to)
{
    return from == to || (whole(from) && (whole(to) || to == PST_FLOAT || to == PST_REAL)) ||
           ((from == PST_FLOAT || from == PST_REAL) && (to == PST_FLOAT || to == PST_REAL)) ||
           (from == PST_BOOLEAN && whole(to)) || (whole(from) && to == PST_BOOLEAN) ||
           (from == PST_DATE && to == PST_TIMESTAMP) || (clock_type(from) && to == PST_TIMESPAN);
}

static bool in_range(uint8_t type, int64_t v)
{
    switch (type) {
    case PST_BOOLEAN:
        return v == 0 || v == 1;
    case PST_BYTE:
        return v >= 0 && v <= 255;
    case PST_SHORT:
        return v > INT16_MIN && v <= INT16_MAX;
    case PST_INT:
        return v > INT32_MIN && v <= INT32_MAX;
    default:
        return true;
    }
}

/* What one of the stored numbers is in ns, of a type that may stand for another. */
static int64_t ns_of(uint8_t type)
{
    return type == PST_DATE     ? 86400 * 1000000000ll
           : type == PST_MINUTE ? 60 * 1000000000ll
           : type == PST_SECOND ? 1000000000ll
           : type == PST_TIME   ? 1000000ll
                                : 1;
}

/* Value i of a vector or atom of numbers. */
static bool put_number(const struct declared *d, const struct kdb_object *o, uint32_t i,
                       struct kdb_out *out, struct err *err)
{
    uint8_t from = (uint8_t)(o->type < 0 ? -o->type : o->type), to = d->type;
    struct scalar v = {.type = to};
    char text[32];
    if (from == PST_REAL || from == PST_FLOAT) {
        v.f = kdb_object_double(o, i);
        return put_value(out, to, &v);
    }
    int64_t x = kdb_object_long(o, i);
    if (from == PST_BYTE || from == PST_BOOLEAN || from == PST_CHAR)
        x &= 0xFF;
    else
        v.null = x == null_of(from);
    if (to == PST_FLOAT || to == PST_REAL) {
        v.f = (double)x;
        return put_value(out, to, &v);
    }
    bool fits = v.null || from == to || (to != PST_TIMESTAMP && to != PST_TIMESPAN) ||
                !__builtin_mul_overflow(x, ns_of(from), &x);
    v.i = x;
    if (!fits || (from != to && !v.null && !in_range(to, x))) {
        int n = snprintf(text, sizeof text, "%lld", (long long)x);
        return wrong(d, err, text, (size_t)n);
    }
    if (v.null && (to == PST_BYTE || to == PST_BOOLEAN))
        return wrong(d, err, "null", 4);
    return put_value(out, to, &v);
}

/* One value of an object: an atom, a char vector, or a vector of one. */
static bool put_one(const struct declared *d, const struct kdb_object *o, struct kdb_out *out,
                    struct err *err)
{
    uint32_t len;
    struct kdb_texts t;
    int type = o->type < 0 ? -o->type : o->type;
    if (o->type == KDB_ERROR || (o->type >= 0 && o->count != 1 && o->type != PST_CHAR))
        return wrong_type(d, err, o);
    if (type == PST_SYMBOL)
        return kdb_texts(o, &t) && put_text(d, t.text, t.len, out, err);
    const char *text = kdb_object_text(o, &len);
    if (text)
        return put_text(d, text, len, out, err);
    if (type == PST_GUID && d->type == PST_GUID) {
        struct scalar v = {.type = PST_GUID};
        memcpy(v.guid, o->data, 16);
        return put_value(out, PST_GUID, &v);
    }
    bool none = d->type == PST_TIMESPAN && whole((uint8_t)type) && !kdb_object_long(o, 0);
    if (type < 1 || type > 19 || type == PST_GUID || type == KDB_DATETIME ||
        (!may_stand((uint8_t)type, d->type) && !none))
        return wrong_type(d, err, o);
    return put_number(d, o, 0, out, err);
}

/* ---- lists ---- */

static size_t open_list(const struct declared *d, struct kdb_out *out)
{
    return kdb_out_open(out, d->type == PST_STRING ? KDB_LIST : d->type, 0);
}

/* a,b\,c: two items. The empty text has none. */
static bool put_split(const struct declared *d, const char *text, size_t len, struct kdb_out *out,
                      struct err *err)
{
    char *item = malloc(len + 1);
    uint32_t count = 0;
    bool ok = item || err_set(err, -ENOMEM, "wsfull");
    size_t opened = open_list(d, out);
    for (size_t i = 0; ok && len && i <= len; i++) {
        size_t n = 0;
        for (; i < len && text[i] != ','; i++) {
            if (text[i] == '\\' && i + 1 < len)
                i++;
            item[n++] = text[i];
        }
        ok = put_text(d, item, n, out, err);
        count++;
    }
    kdb_out_close(out, opened, count);
    free(item);
    return ok;
}

static bool put_items(const struct declared *d, const struct kdb_object *o, struct kdb_out *out,
                      struct err *err)
{
    struct kdb_items i;
    struct kdb_texts t;
    uint32_t count = 0;
    bool ok = true;
    size_t opened = open_list(d, out);
    if (o->type == KDB_LIST) {
        for (bool more = kdb_items(o, &i); ok && more; more = kdb_items_next(&i), count++)
            ok = i.item.type == KDB_LIST ? wrong_type(d, err, o) : put_one(d, &i.item, out, err);
    } else if (o->type == PST_SYMBOL) {
        for (bool more = kdb_texts(o, &t); ok && more; more = kdb_texts_next(&t), count++)
            ok = put_text(d, t.text, t.len, out, err);
    } else if (o->type == PST_GUID && d->type == PST_GUID) {
        kdb_out_bytes(out, o->data, (size_t)16 * o->count);
        count = o->count;
    } else if (kdb_is_vector(o) && o->type != PST_GUID && o->type != KDB_DATETIME &&
               may_stand((uint8_t)o->type, d->type)) {
        for (; ok && count < o->count; count++)
            ok = put_number(d, o, count, out, err);
    } else {
        ok = !o->count && kdb_is_vector(o) ? true : wrong_type(d, err, o);
    }
    kdb_out_close(out, opened, count);
    return ok;
}

static bool put_list(const struct declared *d, const struct kdb_object *o, unsigned flags,
                     struct kdb_out *out, struct err *err)
{
    uint32_t len;
    bool chars = o->type == PST_CHAR;
    if (chars && (flags & RTP_PARAMS_TEXTS))
        return put_split(d, (const char *)o->data, o->count, out, err);
    if (d->type == PST_SYMBOL && o->type == -PST_SYMBOL && kdb_object_text(o, &len) && !len)
        return put_split(d, "", 0, out, err);               /* ` is all */
    if ((chars && d->type != PST_CHAR) || kdb_is_atom(o)) { /* one value */
        size_t opened = open_list(d, out);
        bool ok = put_one(d, o, out, err);
        kdb_out_close(out, opened, 1);
        return ok;
    }
    return put_items(d, o, out, err);
}

/* ---- a parameter ---- */

static bool put_atom(const struct declared *d, const struct kdb_object *o, struct kdb_out *out,
                     struct err *err)
{
    if (d->type != PST_STRING) { /* a string is an object of its own */
        int8_t type = (int8_t)-d->type;
        kdb_out_bytes(out, &type, 1);
    }
    return put_one(d, o, out, err);
}

static bool put_given(const struct declared *d, const struct kdb_object *o, unsigned flags,
                      struct kdb_out *out, struct err *err)
{
    return d->list ? put_list(d, o, flags, out, err) : put_atom(d, o, out, err);
}

static bool put_as_text(const struct declared *d, const char *text, size_t len, struct kdb_out *out,
                        struct err *err)
{
    const struct kdb_object o = {
        .data = (const uint8_t *)text, .count = (uint32_t)len, .type = PST_CHAR, .order = 1};
    return put_given(d, &o, RTP_PARAMS_TEXTS, out, err);
}

static bool put_default(const struct declared *d, struct kdb_out *out, struct err *err)
{
    if (!d->def)
        return err_set(err, -EINVAL,
                       "rank: %.64s: parameter %.64s must be given, a %s%s such as %s", d->of,
                       d->name, type_name(d->type), d->list ? " list" : "", example(d));
    return put_as_text(d, d->def, strlen(d->def), out, err);
}

static void put_head(const json_t *declared, struct kdb_out *out)
{
    size_t i, n = json_array_size(declared);
    const json_t *p;
    kdb_out_dict(out, false);
    size_t opened = kdb_out_open(out, PST_SYMBOL, 0);
    json_array_foreach(declared, i, p)
    {
        const char *name = json_string_value(json_object_get(p, "name"));
        kdb_out_bytes(out, name, strlen(name) + 1);
    }
    kdb_out_close(out, opened, (uint32_t)n);
    kdb_out_list(out, (uint32_t)n);
}

static bool end(const char *of, const struct kdb_out *out, size_t begun, struct err *err)
{
    if (out->failed)
        return err_set(err, -ENOMEM, "wsfull");
    return out->len - begun <= RTP_PARAMS_MAX ||
           err_set(err, -E2BIG, "limit: %.64s: parameters of %zu bytes; %u are the most", of,
                   out->len - begun, RTP_PARAMS_MAX);
}

static bool unknown(const char *of, const json_t *declared, const char *name, struct err *err)
{
    const char *names[PST_PARAMETERS_MAX];
    char about[300];
    unsigned n = 0;
    size_t i;
    const json_t *p;
    json_array_foreach(declared, i, p) if (n < PST_PARAMETERS_MAX) names[n++] =
        json_string_value(json_object_get(p, "name"));
    const char *near = nearest_word(name, names, n);
    char shown[SHOWN];
    snprintf(shown, sizeof shown, "%s", name);
    for (char *c = shown; *c; c++)
        *c = *c >= ' ' && *c < 0x7F ? *c : '?';
    return err_set(err, -EINVAL, "domain: %.64s has no parameter %s%s%s; %s%s", of, shown,
                   near ? ", perhaps " : "", near ? near : "", n ? "it has " : "it has none",
                   n ? rtp_params_about(declared, about, sizeof about) : "");
}

/* ---- dictionaries ---- */

static bool declares(const json_t *declared, const char *name)
{
    size_t i;
    const json_t *p;
    json_array_foreach(declared, i, p) if (!strcmp(json_string_value(json_object_get(p, "name")),
                                                   name)) return true;
    return false;
}

/* Keys are known and stand once; values are as many. */
static bool keys_sound(const char *of, const json_t *declared, const struct kdb_object *keys,
                       const struct kdb_object *values, struct err *err)
{
    struct kdb_texts k, l;
    bool nothing = !keys->count && (keys->type == PST_SYMBOL || keys->type == KDB_LIST);
    if ((keys->type != PST_SYMBOL && !nothing) || values->type < 0 || values->type > 19 ||
        values->count != keys->count)
        return err_set(err, -EINVAL,
                       "type: %.64s wants its parameters as a dictionary from symbols, e.g. "
                       "`table`syms!(`trade;`A`B); of one: (enlist `table)!enlist `trade",
                       of);
    if (nothing)
        return true;
    uint32_t at = 0;
    for (bool more = kdb_texts(keys, &k); more; more = kdb_texts_next(&k), at++) {
        if (!declares(declared, k.text))
            return unknown(of, declared, k.text, err);
        uint32_t i = 0;
        for (bool m = kdb_texts(keys, &l); m && i < at; m = kdb_texts_next(&l), i++)
            if (!strcmp(k.text, l.text))
                return err_set(err, -EINVAL, "domain: %.64s: parameter %.64s is given twice", of,
                               k.text);
    }
    return true;
}

/* Item i of what may have collapsed into a vector. */
static bool value_at(const struct kdb_object *values, uint32_t i, struct kdb_object *out)
{
    struct kdb_items it;
    struct kdb_texts t;
    if (values->type == KDB_LIST) {
        bool more = kdb_items(values, &it);
        while (more && i--)
            more = kdb_items_next(&it);
        *out = it.item;
        return more;
    }
    *out = (struct kdb_object){.type = (int16_t)-values->type, .order = values->order, .count = 1};
    if (values->type == PST_SYMBOL) {
        bool more = kdb_texts(values, &t);
        while (more && i--)
            more = kdb_texts_next(&t);
        out->data = (const uint8_t *)t.text;
        return more;
    }
    out->data = values->data + (size_t)i * kdb_object_width(values->type);
    return true;
}

static bool value_of(const struct kdb_object *keys, const struct kdb_object *values,
                     const char *name, struct kdb_object *out)
{
    struct kdb_texts k;
    uint32_t i = 0;
    if (!keys->count)
        return false;
    for (bool more = kdb_texts(keys, &k); more; more = kdb_texts_next(&k), i++)
        if (!strcmp(k.text, name))
            return value_at(values, i, out) && !kdb_object_null(out);
    return false;
}

bool rtp_params_make(const char *of, const json_t *declared, const struct kdb_object *given,
                     unsigned flags, struct kdb_out *out, struct err *err)
{
    struct kdb_object keys = {.type = KDB_LIST}, values = {.type = KDB_LIST}, v;
    struct kdb_items parts;
    size_t i, begun = out->len;
    const json_t *p;
    if (given && !kdb_object_null(given) && !(given->type == KDB_LIST && !given->count)) {
        if ((given->type != KDB_DICT && given->type != KDB_SORTED_DICT) ||
            !kdb_items(given, &parts))
            return err_set(err, -EINVAL,
                           "type: %.64s wants its parameters as a dictionary, e.g. "
                           "`table`syms!(`trade;`A`B), not a %s",
                           of, kdb_object_type_name(given->type));
        keys = parts.item;
        kdb_items_next(&parts);
        values = parts.item;
        if (!keys_sound(of, declared, &keys, &values, err))
            return false;
    }
    put_head(declared, out);
    json_array_foreach(declared, i, p)
    {
        struct declared d = declared_of(of, p);
        if (!(value_of(&keys, &values, d.name, &v) ? put_given(&d, &v, flags, out, err)
                                                   : put_default(&d, out, err)))
            return false;
    }
    return end(of, out, begun, err);
}

bool rtp_params_texts(const char *of, const json_t *declared, const json_t *given,
                      struct kdb_out *out, struct err *err)
{
    size_t i, begun = out->len;
    const char *key;
    json_t *v;
    const json_t *p;
    json_object_foreach((json_t *)given, key, v)
    {
        if (!declares(declared, key))
            return unknown(of, declared, key, err);
        if (!json_is_string(v))
            return err_set(err, -EINVAL, "type: %.64s: parameter %.64s is given as no text", of,
                           key);
    }
    put_head(declared, out);
    json_array_foreach(declared, i, p)
    {
        struct declared d = declared_of(of, p);
        const json_t *t = json_object_get(given, d.name);
        if (!(t ? put_as_text(&d, json_string_value(t), json_string_length(t), out, err)
                : put_default(&d, out, err)))
            return false;
    }
    return end(of, out, begun, err);
}

/* ---- as text ---- */

const char *rtp_params_about(const json_t *declared, char *out, size_t room)
{
    size_t i, n = 0;
    const json_t *p;
    *out = 0;
    json_array_foreach(declared, i, p)
    {
        struct declared d = declared_of("", p);
        if (n >= room)
            break;
        n += (size_t)snprintf(out + n, room - n, "%s%s %s%s", i ? ", " : "", d.name,
                              type_name(d.type), d.list ? " list" : "");
        if (n < room && d.def)
            n += (size_t)snprintf(out + n, room - n, " = %.40s", *d.def ? d.def : "none");
    }
    return out;
}

static size_t value_text(const struct kdb_object *o, char *out, size_t room)
{
    uint32_t len;
    const char *text = kdb_object_text(o, &len);
    char made[LITERAL_TEXT];
    struct scalar v = {.type = (uint8_t)(o->type < 0 ? -o->type : o->type)};
    if (!text) {
        if (v.type == PST_GUID)
            memcpy(v.guid, o->data, 16);
        else if (v.type == PST_FLOAT || v.type == PST_REAL)
            v.f = kdb_object_double(o, 0);
        else
            v.i = kdb_object_long(o, 0) & (kdb_object_width(v.type) == 1 ? 0xFF : -1);
        bool f = v.type == PST_FLOAT || v.type == PST_REAL;
        v.null = f                              ? isnan(v.f)
                 : v.type == PST_GUID           ? false
                 : kdb_object_width(v.type) > 1 ? v.i == null_of(v.type)
                                                : false;
        len = literal_text(&v, made);
        text = made;
    }
    size_t n = 0;
    for (; n < len && n < room; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7F ? text[n] : '?';
    return n;
}

const char *rtp_params_text(const void *params, size_t n, char *out, size_t room)
{
    struct kdb_object o, v, x;
    struct kdb_items parts, values;
    struct kdb_texts k;
    size_t size, at = 0;
    const char *why;
    *out = 0;
    if (kdb_object_check(params, n, KDB_LITTLE, &size, &why) != KDB_OK)
        return out;
    kdb_object_view(&o, params, KDB_LITTLE);
    if (o.type != KDB_DICT || !kdb_items(&o, &parts))
        return out;
    bool key = kdb_texts(&parts.item, &k);
    kdb_items_next(&parts);
    for (bool more = kdb_items(&parts.item, &values); more && key && at + 2 < room;
         more = kdb_items_next(&values), key = kdb_texts_next(&k)) {
        v = values.item;
        int w = snprintf(out + at, room - at, "%s%.64s=", at ? " " : "", k.text);
        at += (size_t)w < room - at ? (size_t)w : room - at - 1;
        bool one = kdb_is_atom(&v) || v.type == PST_CHAR;
        for (uint32_t i = 0; i < (one ? 1 : v.count) && at + 2 < room; i++) {
            if (i)
                out[at++] = ',';
            if (one)
                x = v;
            else if (!value_at(&v, i, &x))
                break;
            at += value_text(&x, out + at, room - at - 1);
        }
        out[at] = 0;
    }
    return out;
}
