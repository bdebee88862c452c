/* SPDX-License-Identifier: Apache-2.0 */
/* Updates of a tickerplant to records. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include "core/civil.h"
#include "core/rows.h"
#include "kdb_rows.h"

#define WHOLE (1ll << 53) /* integers up to here are exact as float */

/* ---- one value ---- */

static const int64_t clock_ns[20] = {[PST_TIMESPAN] = 1,
                                     [PST_TIME] = 1000000,
                                     [PST_SECOND] = PST_SECOND_NS,
                                     [PST_MINUTE] = 60 * PST_SECOND_NS};
static const uint8_t integer_bytes[20] = {
    [PST_BOOLEAN] = 1, [PST_BYTE] = 1, [PST_SHORT] = 2, [PST_INT] = 4, [PST_LONG] = 8};

static int64_t null_of(uint8_t type)
{
    unsigned w = type_width(type);
    return w == 2 ? INT16_MIN : w == 4 ? INT32_MIN : INT64_MIN;
}
static int64_t inf_of(uint8_t type)
{
    unsigned w = type_width(type);
    return w == 2 ? INT16_MAX : w == 4 ? INT32_MAX : INT64_MAX;
}
static bool has_null(uint8_t type)
{
    return type != PST_BOOLEAN && type != PST_BYTE && type != PST_CHAR;
}
static void store(uint8_t type, uint8_t *to, int64_t v)
{
    memcpy(to, &v, type_width(type)); /* little endian */
}
static void store_float(uint8_t type, uint8_t *to, double v)
{
    float real = (float)v;
    if (isnan(v) && type == PST_REAL)
        put32(to, PST_NULL_REAL_BITS);
    else if (isnan(v))
        put64(to, PST_NULL_FLOAT_BITS);
    else
        memcpy(to, type == PST_REAL ? (void *)&real : (void *)&v, type_width(type));
}

static int64_t shift(const struct kdb_target *t, int64_t v) /* local ns -> UTC ns */
{
    if (!t->zone || v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX)
        return v;
    int64_t s = civil_floor_div(v, PST_SECOND_NS);
    int64_t utc = tzone_to_utc(t->zone, s + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S;
    int64_t there;
    return __builtin_add_overflow(v, (utc - s) * PST_SECOND_NS, &there) ? v : there;
}

/* A whole value v of type `from` into type `to` of the same family, in units of unit ns each. */
static const char *whole(uint8_t to, uint8_t *out, uint8_t from, int64_t v, int64_t unit_from,
                         int64_t unit_to)
{
    bool null = has_null(from) && v == null_of(from);
    bool inf = has_null(from) && (v == inf_of(from) || v == -inf_of(from));
    if ((null || inf) && !has_null(to))
        return "has no place for a null or infinity";
    if (null) {
        store(to, out, null_of(to));
    } else if (inf) {
        store(to, out, v > 0 ? inf_of(to) : -inf_of(to));
    } else {
        __int128 ns = (__int128)v * unit_from;
        __int128 r = ns / unit_to;
        int64_t max = to == PST_BOOLEAN ? 1 : to == PST_BYTE ? 255 : inf_of(to) - 1;
        if (ns % unit_to || r > max || r < (has_null(to) ? -max : 0))
            return "does not hold that value";
        store(to, out, (int64_t)r);
    }
    return NULL;
}

static const char *timestamp(const struct kdb_target *t, uint8_t *out, const struct kdb_object *o,
                             uint32_t i, uint8_t from)
{
    if (from == PST_TIMESTAMP) {
        store(PST_TIMESTAMP, out, shift(t, kdb_object_long(o, i)));
        return NULL;
    }
    if (from == KDB_DATETIME) {
        double d = kdb_object_double(o, i);
        if (isnan(d) || isinf(d)) {
            store(PST_TIMESTAMP, out, isnan(d) ? INT64_MIN : d > 0 ? INT64_MAX : -INT64_MAX);
            return NULL;
        }
        double ms = round(d * 86400000.0);
        if (fabs(ms) > 9e12 || fabs(ms / 86400000.0 - d) > 4 * DBL_EPSILON * fabs(d))
            return "is a datetime between milliseconds";
        store(PST_TIMESTAMP, out, shift(t, (int64_t)ms * 1000000));
        return NULL;
    }
    if (from != PST_DATE && !clock_ns[from])
        return "cannot be a timestamp";
    int64_t v = kdb_object_long(o, i), day = t->date;
    if (v == null_of(from) || v == inf_of(from) || v == -inf_of(from)) {
        whole(PST_TIMESTAMP, out, from, v, 1, 1);
        return NULL;
    }
    if (from == PST_DATE) {
        day = v;
        v = 0;
    } else if (t->of_day) {
        int64_t offset, utc;
        if (__builtin_mul_overflow(v, clock_ns[from], &offset) ||
            !t->of_day(t->of_day_arg, offset, &utc))
            return "lies outside the years of timestamps";
        store(PST_TIMESTAMP, out, utc);
        return NULL;
    } else if (day == KDB_NO_DATE) {
        return "has no date: the file's name does not tell one, give --date";
    }
    int64_t midnight, ns, span;
    if (__builtin_mul_overflow(day, PST_DAY_NS, &midnight) ||
        __builtin_mul_overflow(v, from == PST_DATE ? 1 : clock_ns[from], &span) ||
        __builtin_add_overflow(shift(t, midnight), span, &ns))
        return "lies outside the years of timestamps";
    store(PST_TIMESTAMP, out, ns);
    return NULL;
}

/* Value i of `o` as a value of type `to` that is neither symbol nor string. NULL, or why not. */
static const char *convert(const struct kdb_target *t, uint8_t to, uint8_t *out,
                           const struct kdb_object *o, uint32_t i)
{
    int from = o->type < 0 ? -o->type : o->type;
    bool floats = from == PST_REAL || from == PST_FLOAT;
    if (to == PST_TIMESTAMP)
        return from < 20 ? timestamp(t, out, o, i, (uint8_t)from) : "cannot be a timestamp";
    if (from == to && !floats) {
        kdb_object_copy(o, i, 1, out);
        return NULL;
    }
    if (to == PST_REAL || to == PST_FLOAT) {
        double v;
        if (floats) {
            v = kdb_object_double(o, i);
            if (to == PST_REAL && !isnan(v) && (double)(float)v != v)
                return "would lose digits as a real";
        } else if (from < 20 && integer_bytes[from]) {
            int64_t n = kdb_object_long(o, i);
            uint8_t f = (uint8_t)from;
            v = !has_null(f)      ? (double)n
                : n == null_of(f) ? (double)NAN
                : n == inf_of(f)  ? (double)INFINITY
                : n == -inf_of(f) ? -(double)INFINITY
                                  : (double)n;
            if (!isnan(v) && !isinf(v) &&
                (n > WHOLE || n < -WHOLE || (to == PST_REAL && (double)(float)v != v)))
                return "would lose digits as a float";
        } else {
            return "is no number";
        }
        store_float(to, out, v);
        return NULL;
    }
    if (from >= 20)
        return "is no value";
    if (integer_bytes[to]) {
        if (floats) {
            double v = kdb_object_double(o, i);
            if (isnan(v) || isinf(v))
                return whole(to, out, PST_LONG,
                             isnan(v) ? INT64_MIN
                             : v > 0  ? INT64_MAX
                                      : -INT64_MAX,
                             1, 1);
            if (v != rint(v) || fabs(v) > (double)WHOLE)
                return "is no whole number";
            return whole(to, out, PST_LONG, (int64_t)v, 1, 1);
        }
        if (!integer_bytes[from])
            return "is no number";
        return whole(to, out, (uint8_t)from, kdb_object_long(o, i), 1, 1);
    }
    if (clock_ns[to] && clock_ns[from])
        return whole(to, out, (uint8_t)from, kdb_object_long(o, i), clock_ns[from], clock_ns[to]);
    return "is of another type";
}

/* ---- rows ---- */

#define PACKET_COLUMNS 6u /* rxtime, feed, session, seq, line, flags */

bool kdb_in_begin(struct kdb_in *in, const struct kdb_target *t, const struct kdb_update *u,
                  struct err *err)
{
    const struct schema *s = t->schema;
    bool taken[SCHEMA_COLUMNS_MAX] = {false};
    bool bare = !u->named && s->feed && u->ncols + PACKET_COLUMNS == s->ncols;
    in->target = t;
    in->update = u;
    in->row = 0;
    in->last_day = t->date;
    if (!u->rows)
        return true;
    if (!u->named && u->ncols != s->ncols && !bare)
        return err_set(err, -EINVAL, "it has %u columns, table %s has %u", u->ncols, s->name,
                       s->ncols);
    for (unsigned i = 0, place = 0; i < u->ncols; i++, place++) {
        int to;
        if (u->named) {
            char name[SCHEMA_NAME_MAX];
            snprintf(name, sizeof name, "%.*s",
                     u->col[i].name_len < sizeof name ? (int)u->col[i].name_len : 0,
                     u->col[i].name);
            to = schema_column(s, name);
            if (to < 0)
                return err_set(err, -EINVAL, "table %s has no column '%.*s'", s->name,
                               u->col[i].name_len < 60 ? (int)u->col[i].name_len : 60,
                               u->col[i].name);
            if (taken[to])
                return err_set(err, -EINVAL, "column %s stands twice", name);
        } else {
            while (bare && s->col[place].packet)
                place++;
            to = t->ordered ? t->position[place] : (int)place;
        }
        taken[to] = true;
        in->col[i].to = (int16_t)to;
        in->col[i].want = s->col[to].type;
        if (u->col[i].form == KDB_FORM_LIST)
            kdb_items(&u->col[i].o, &in->col[i].items);
        else if (u->col[i].o.type == PST_SYMBOL)
            kdb_texts(&u->col[i].o, &in->col[i].texts);
        for (uint32_t k = 0; u->col[i].form == KDB_FORM_ELEMENT && k < u->col[i].element &&
                             u->col[i].o.type == PST_SYMBOL;
             k++)
            kdb_texts_next(&in->col[i].texts);
    }
    return true;
}

/* The text of column i in the present row; NULL: it is none. */
static const char *cell_text(const struct kdb_in *in, unsigned i, uint32_t *len)
{
    const struct kdb_cells *c = &in->update->col[i];
    if (c->form == KDB_FORM_LIST) {
        const struct kdb_object *o = &in->col[i].items.item;
        *len = 0;
        return o->type == KDB_LIST && !o->count ? "" : kdb_object_text(o, len);
    }
    if (c->form == KDB_FORM_ATOM)
        return kdb_object_text(&c->o, len);
    if (c->form == KDB_FORM_TEXT) {
        *len = 0;
        return c->o.type == KDB_LIST ? "" : kdb_object_text(&c->o, len);
    }
    if (c->o.type == PST_SYMBOL) {
        *len = in->col[i].texts.len;
        return in->col[i].texts.text;
    }
    if (c->o.type != PST_CHAR)
        return NULL;
    *len = 1;
    return (const char *)c->o.data + (c->form == KDB_FORM_ELEMENT ? c->element : in->row);
}

/* Nulls of a row before its values come. */
static void blank(struct kdb_in *in)
{
    const struct schema *s = in->target->schema;
    memset(in->record, 0, s->fixed);
    in->packet = (struct packet_record){.bytes = sizeof in->packet,
                                        .sym = PST_NULL_SYMBOL,
                                        .rxtime = PST_NULL_TIMESTAMP,
                                        .seq = (uint64_t)PST_NULL_LONG,
                                        .feed = PST_NULL_SYMBOL,
                                        .session = PST_NULL_SYMBOL,
                                        .line = PST_NULL_SYMBOL,
                                        .flags = (uint32_t)PST_NULL_INT,
                                        .quality = in->target->quality};
    for (unsigned i = 0; i < s->ncols; i++) {
        uint8_t type = s->col[i].type, *to = in->record + s->col[i].offset;
        if (s->col[i].packet)
            continue;
        if (type == PST_SYMBOL)
            put32(to, PST_NULL_SYMBOL);
        else if (type == PST_REAL || type == PST_FLOAT)
            store_float(type, to, (double)NAN);
        else if (type == PST_CHAR)
            *to = PST_NULL_CHAR;
        else if (type == PST_STRING)
            put32(to, s->fixed); /* empty, inside the record */
        else if (type != PST_GUID && has_null(type))
            store(type, to, null_of(type));
    }
}

static const char *cell(struct kdb_in *in, unsigned i, uint32_t *bytes)
{
    const struct schema *s = in->target->schema;
    const struct kdb_cells *c = &in->update->col[i];
    const struct column *k = &s->col[in->col[i].to];
    uint8_t *to = (k->packet ? (uint8_t *)&in->packet : in->record) + k->offset;
    uint32_t len = 0;
    const char *text = cell_text(in, i, &len);
    if (k->type == PST_SYMBOL) {
        if (!text)
            return "is no symbol";
        if (len > 255)
            return "is longer than the 255 bytes of a symbol";
        if (memchr(text, 0, len))
            return "holds a NUL byte, which no symbol can";
        if (len)
            in->symbol[in->symbols++] = (struct kdb_in_symbol){text, len, (uint32_t *)(void *)to};
        return NULL;
    }
    if (k->type == PST_STRING) {
        if (!text)
            return "is no text";
        if (len > RECORD_MAX || *bytes + (uint64_t)len > RECORD_MAX - 8)
            return "makes the row longer than 65,528 bytes";
        put32(to, *bytes);
        put32(to + 4, len);
        memcpy(in->record + *bytes, text, len);
        *bytes += len;
        return NULL;
    }
    if (k->type == PST_CHAR && text) {
        if (len != 1)
            return "is a text, not one character";
        *to = (uint8_t)*text;
        return NULL;
    }
    if (c->form == KDB_FORM_LIST) {
        const struct kdb_object *o = &in->col[i].items.item;
        return kdb_is_atom(o) ? convert(in->target, k->type, to, o, 0) : "is a list of its own";
    }
    if (c->form == KDB_FORM_TEXT)
        return "is a text";
    return convert(in->target, k->type, to, &c->o,
                   c->form == KDB_FORM_VECTOR    ? in->row
                   : c->form == KDB_FORM_ELEMENT ? c->element
                                                 : 0);
}

static void advance(struct kdb_in *in)
{
    const struct kdb_update *u = in->update;
    for (unsigned i = 0; i < u->ncols; i++)
        if (u->col[i].form == KDB_FORM_LIST)
            kdb_items_next(&in->col[i].items);
        else if (u->col[i].form == KDB_FORM_VECTOR && u->col[i].o.type == PST_SYMBOL)
            kdb_texts_next(&in->col[i].texts);
    in->row++;
}

static bool date_row(struct kdb_in *in, struct err *err)
{
    const struct kdb_target *t = in->target;
    int64_t time = ((const struct record *)(const void *)in->record)->time;
    if (t->date != KDB_NO_DATE) {
        in->day = t->date;
    } else if (time == INT64_MIN || time == INT64_MAX || time == -INT64_MAX) {
        in->day = in->last_day;
        if (in->day == KDB_NO_DATE)
            return err_set(err, -EINVAL, "row %u has no time and so no date: give --date", in->row);
    } else {
        int64_t s = civil_floor_div(time, PST_SECOND_NS);
        if (t->zone)
            s += tzone_offset(t->zone, s + PST_EPOCH_OFFSET_S);
        in->day = (int32_t)civil_floor_div(s, PST_DAY_S);
    }
    if (in->day < 0 || in->day > CIVIL_DAY_MAX)
        return err_set(err, -EINVAL, "row %u lies outside the years 2000 to 2179", in->row);
    in->last_day = in->day;
    return true;
}

int kdb_in_next(struct kdb_in *in, struct err *err)
{
    const struct schema *s = in->target->schema;
    const struct kdb_update *u = in->update;
    if (in->row >= u->rows)
        return 0;
    uint32_t bytes = s->fixed;
    const char *why = NULL;
    unsigned i;
    in->symbols = 0;
    blank(in);
    for (i = 0; i < u->ncols && !why; i++)
        why = cell(in, i, &bytes);
    bool ok = !why;
    if (why)
        err_set(err, -EINVAL, "row %u: column %s (%s) %s", in->row, s->col[in->col[i - 1].to].name,
                type_name(in->col[i - 1].want), why);
    ok = ok && date_row(in, err);
    if (ok) {
        uint32_t whole_bytes = (uint32_t)pst_align8(bytes);
        memset(in->record + bytes, 0, whole_bytes - bytes);
        struct record *r = (struct record *)(void *)in->record;
        r->table = s->id;
        r->bytes = (uint16_t)whole_bytes;
        in->nsymbols = in->symbols;
        struct packet_record *p = &in->packet;
        in->has_packet =
            s->feed && (p->flags != (uint32_t)PST_NULL_INT || p->seq != (uint64_t)PST_NULL_LONG ||
                        p->rxtime != PST_NULL_TIMESTAMP);
        p->flags = p->flags == (uint32_t)PST_NULL_INT ? 0 : p->flags & ROW_FLAG_MASK;
        if (p->seq == (uint64_t)PST_NULL_LONG)
            p->flags |= RUN_UNSEQUENCED;
    }
    advance(in);
    return ok ? 1 : -1;
}

bool kdb_in_symbols(struct kdb_in *in, bool packet,
                    uint32_t (*fn)(void *arg, const char *text, uint32_t len), void *arg)
{
    const uint8_t *facts = (const uint8_t *)&in->packet;
    for (uint32_t i = 0; i < in->symbols; i++) {
        const uint8_t *to = (const uint8_t *)in->symbol[i].to;
        if (!packet && to >= facts && to < facts + sizeof in->packet)
            continue;
        uint32_t id = fn(arg, in->symbol[i].text, in->symbol[i].len);
        if (id == SYMBOL_REFUSED)
            return false;
        put32(in->symbol[i].to, id);
    }
    return true;
}

const char *kdb_in_text(const struct kdb_in *in, const void *place, uint32_t *len)
{
    for (uint32_t i = 0; i < in->symbols; i++)
        if (in->symbol[i].to == place) {
            *len = in->symbol[i].len;
            return in->symbol[i].text;
        }
    *len = 0;
    return "";
}

const char *kdb_in_sym(const struct kdb_in *in, uint32_t *len)
{
    return kdb_in_text(in, in->record + offsetof(struct record, sym), len);
}
