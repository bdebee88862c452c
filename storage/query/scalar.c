/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <strings.h>
#include "core/civil.h"
#include "core/schema.h"
#include "arena.h"
#include "literal.h"
#include "query.h"

/* ---- helpers ---- */

static bool is_float(uint8_t t)
{
    return t == PST_FLOAT || t == PST_REAL;
}
static bool is_text(uint8_t t)
{
    return t == PST_SYMBOL || t == PST_STRING;
}

static int64_t int_max(uint8_t type) /* the null is its minimum, -max - 1 */
{
    switch (type) {
    case PST_BOOLEAN:
        return 1;
    case PST_BYTE:
    case PST_CHAR:
        return UINT8_MAX;
    case PST_SHORT:
        return INT16_MAX;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return INT64_MAX;
    default:
        return INT32_MAX;
    }
}

static bool set_int(struct scalar *out, int64_t v)
{
    out->i = v;
    out->null = false;
    return true;
}
static bool set_bool(struct scalar *out, bool v)
{
    return set_int(out, v);
}
static bool set_null(struct scalar *out)
{
    uint8_t type = out->type;
    *out = (struct scalar){.type = type, .null = true};
    return true;
}
static bool set_float(struct scalar *out, double v)
{
    out->f = out->type == PST_REAL ? (double)(float)v : v;
    out->null = isnan(v);
    return true;
}
static bool set_text(struct scalar *out, const char *p, uint32_t len)
{
    out->text = (struct plan_text){p, len};
    out->null = len == 0;
    return true;
}
static bool overflow(struct query_error *e, uint8_t type, uint32_t pos)
{
    return query_error_set(e, QUERY_VALUE, pos,
                           "%s overflow: the result does not fit; cast an operand to float first",
                           type_name(type));
}

/* ---- comparisons ---- */

static int text_compare(struct plan_text a, struct plan_text b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? (c < 0 ? -1 : 1) : (a.len > b.len) - (a.len < b.len);
}

int scalar_compare(const struct scalar *a, const struct scalar *b)
{
    if (is_float(a->type)) {
        return (a->f > b->f) - (a->f < b->f);
    }
    if (is_text(a->type)) {
        return text_compare(a->text, b->text);
    }
    if (a->type == PST_GUID) {
        int c = memcmp(a->guid, b->guid, 16);
        return (c > 0) - (c < 0);
    }
    return (a->i > b->i) - (a->i < b->i);
}

static bool compare(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    if (n->op == PLAN_DISTINCT_FROM) {
        return set_bool(out, v[0].null || v[1].null ? v[0].null != v[1].null
                                                    : scalar_compare(&v[0], &v[1]) != 0);
    }
    if (v[0].null || (n->op != PLAN_IN && v[1].null)) {
        return set_null(out);
    }
    if (n->op == PLAN_IN) {
        bool in = false;
        for (unsigned i = 1; i < n->nargs && !in; i++) {
            in = !v[i].null && scalar_compare(&v[0], &v[i]) == 0;
        }
        return set_bool(out, in);
    }
    int c = scalar_compare(&v[0], &v[1]);
    switch (n->op) {
    case PLAN_EQ:
        return set_bool(out, c == 0);
    case PLAN_NE:
        return set_bool(out, c != 0);
    case PLAN_LT:
        return set_bool(out, c < 0);
    case PLAN_LE:
        return set_bool(out, c <= 0);
    case PLAN_GT:
        return set_bool(out, c > 0);
    default:
        return set_bool(out, c >= 0);
    }
}

/* ---- arithmetic ---- */

static bool arithmetic(const struct plan_expr *n, const struct scalar *v, struct scalar *out,
                       struct query_error *e)
{
    bool two = n->nargs == 2;
    if (v[0].null || (two && v[1].null)) {
        return set_null(out);
    }
    if (is_float(n->type)) {
        double a = v[0].f, b = two ? v[1].f : 0;
        switch (n->op) {
        case PLAN_ADD:
            return set_float(out, a + b);
        case PLAN_SUB:
            return set_float(out, a - b);
        case PLAN_MUL:
            return set_float(out, a * b);
        case PLAN_DIV:
            return set_float(out, a / b);
        case PLAN_MOD:
            return set_float(out, fmod(a, b));
        case PLAN_NEG:
            return set_float(out, -a);
        default:
            return set_float(out, fabs(a));
        }
    }
    int64_t a = v[0].i, b = two ? v[1].i : 0, r = 0;
    bool bad = false;
    switch (n->op) {
    case PLAN_ADD:
        bad = __builtin_add_overflow(a, b, &r);
        break;
    case PLAN_SUB:
        bad = __builtin_sub_overflow(a, b, &r);
        break;
    case PLAN_MUL:
        bad = __builtin_mul_overflow(a, b, &r);
        break;
    case PLAN_DIV:
        if (b == 0) {
            return set_null(out);
        }
        r = a / b; /* a is never INT64_MIN: that is NULL */
        break;
    case PLAN_MOD:
        if (b == 0) {
            return set_null(out);
        }
        r = b == -1 ? 0 : a % b;
        break;
    case PLAN_NEG:
        r = -a;
        break;
    default:
        r = a < 0 ? -a : a;
        break;
    }
    if (bad || r == INT64_MIN) {
        return overflow(e, n->type, n->pos);
    }
    return set_int(out, r);
}

/* The double that is nearest to x with that many decimals; halves go away from zero. */
static double round_to(double x, int64_t decimals)
{
    double scale = pow(10, (double)(decimals < 0 ? -decimals : decimals));
    double r = decimals < 0 ? round(x / scale) * scale : round(x * scale) / scale;
    return isfinite(r) ? r : x;
}

static bool math(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    for (unsigned i = 0; i < n->nargs; i++) {
        if (v[i].null) {
            return set_null(out);
        }
    }
    double x = v[0].f;
    switch (n->op) {
    case PLAN_FLOOR:
        return set_float(out, floor(x));
    case PLAN_CEIL:
        return set_float(out, ceil(x));
    case PLAN_ROUND:
        return set_float(out, n->nargs == 2 ? round_to(x, v[1].i) : round(x));
    case PLAN_TRUNC:
        return set_float(out, trunc(x));
    case PLAN_SQRT:
        return set_float(out, sqrt(x));
    case PLAN_EXP:
        return set_float(out, exp(x));
    case PLAN_LN:
        return set_float(out, log(x));
    case PLAN_LOG10:
        return set_float(out, log10(x));
    case PLAN_POWER:
        return set_float(out, pow(x, v[1].f));
    default:
        return set_float(out, (x > 0) - (x < 0));
    }
}

/* ---- logic and choice ---- */

static bool logic(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    bool stop = n->op == PLAN_OR, unknown = false;
    for (unsigned i = 0; i < n->nargs; i++) {
        if (v[i].null) {
            unknown = true;
        } else if ((v[i].i != 0) == stop) {
            return set_bool(out, stop);
        }
    }
    return unknown ? set_null(out) : set_bool(out, !stop);
}

static bool choose(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    const struct scalar *best = NULL;
    if (n->op == PLAN_CASE) {
        unsigned i = 0;
        while (i + 1 < n->nargs && (v[i].null || !v[i].i)) {
            i += 2;
        }
        best = i + 1 < n->nargs ? &v[i + 1] : &v[n->nargs - 1];
    }
    for (unsigned i = 0; n->op != PLAN_CASE && i < n->nargs; i++) {
        if (v[i].null) {
            continue;
        }
        if (!best) {
            best = &v[i];
            if (n->op == PLAN_COALESCE) {
                break;
            }
            continue;
        }
        int c = scalar_compare(&v[i], best);
        if (n->op == PLAN_GREATEST ? c > 0 : c < 0) {
            best = &v[i];
        }
    }
    if (!best) {
        return set_null(out);
    }
    uint8_t type = out->type;
    *out = *best;
    out->type = type;
    return true;
}

/* ---- texts ---- */

static uint32_t char_bytes(const char *p, const char *end) /* of the character at p < end */
{
    const char *q = p + 1;
    while (q < end && ((uint8_t)*q & 0xC0) == 0x80) {
        q++;
    }
    return (uint32_t)(q - p);
}
static int64_t chars(struct plan_text t)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < t.len; i++) {
        n += ((uint8_t)t.p[i] & 0xC0) != 0x80;
    }
    return n;
}
static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

/* Greedy with one point to come back to, the last %: never more than |text| * |pattern| steps. */
bool scalar_like(struct plan_text text, struct plan_text pattern, int escape, bool fold_case)
{
    const char *t = text.p, *te = t + text.len, *p = pattern.p, *pe = p + pattern.len;
    const char *back_p = NULL, *back_t = NULL;
    for (;;) {
        bool literal = p < pe && escape >= 0 && (uint8_t)*p == escape && p + 1 < pe;
        if (!literal && p < pe && *p == '%') {
            back_p = ++p;
            back_t = t;
            continue;
        }
        if (t == te) {
            if (p == pe) {
                return true;
            }
            return false;
        }
        if (!literal && p < pe && *p == '_') {
            p++;
            t += char_bytes(t, te);
            continue;
        }
        const char *c = p + literal;
        if (p < pe && (*c == *t || (fold_case && fold(*c) == fold(*t)))) {
            p = c + 1;
            t++;
            continue;
        }
        if (!back_p) {
            return false;
        }
        back_t += char_bytes(back_t, te);
        t = back_t;
        p = back_p;
        if (t > te) {
            return false;
        }
    }
}

static bool substring(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    int64_t from = v[1].i, to = INT64_MAX; /* characters [from, to), from 1 */
    if (n->nargs == 3 && (v[2].i < 0 || __builtin_add_overflow(from, v[2].i, &to))) {
        to = v[2].i < 0 ? from : INT64_MAX;
    }
    const char *p = v[0].text.p, *end = p + v[0].text.len;
    int64_t at = 1;
    while (p < end && at < from) {
        p += char_bytes(p, end);
        at++;
    }
    const char *q = p;
    while (q < end && at < to) {
        q += char_bytes(q, end);
        at++;
    }
    return set_text(out, p, (uint32_t)(q - p));
}

static bool text(const struct plan_expr *n, const struct scalar *v, struct arena *a,
                 struct scalar *out)
{
    size_t total = 0;
    for (unsigned i = 0; i < n->nargs; i++) {
        if (v[i].null && !(i == 2 && (n->op == PLAN_LIKE || n->op == PLAN_ILIKE))) {
            return set_null(out);
        }
        total += is_text(v[i].type) ? v[i].text.len : 0;
    }
    struct plan_text t = v[0].text;
    switch (n->op) {
    case PLAN_LIKE:
    case PLAN_ILIKE: {
        int escape = n->nargs < 3 ? '\\' : v[2].text.len == 1 ? (uint8_t)v[2].text.p[0] : -1;
        return set_bool(out, scalar_like(t, v[1].text, escape, n->op == PLAN_ILIKE));
    }
    case PLAN_LENGTH:
        return set_int(out, chars(t));
    case PLAN_SUBSTR:
        return substring(n, v, out);
    case PLAN_TRIM:
        while (t.len && *t.p == ' ') {
            t.p++;
            t.len--;
        }
        while (t.len && t.p[t.len - 1] == ' ') {
            t.len--;
        }
        return set_text(out, t.p, t.len);
    case PLAN_POSITION: {
        const char *at = memmem(t.p, t.len, v[1].text.p, v[1].text.len);
        return set_int(out, at ? chars((struct plan_text){t.p, (uint32_t)(at - t.p)}) + 1 : 0);
    }
    default:
        break;
    }
    char *made = arena_alloc(a, total);
    if (a->failed || total > UINT32_MAX) {
        return set_null(out); /* the owner looks at arena.failed */
    }
    size_t at = 0;
    for (unsigned i = 0; i < n->nargs; i++) {
        memcpy(made + at, v[i].text.p, v[i].text.len);
        at += v[i].text.len;
    }
    for (size_t i = 0; n->op != PLAN_CONCAT && i < at; i++) {
        char c = made[i];
        made[i] = n->op == PLAN_LOWER ? fold(c) : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    return set_text(out, made, (uint32_t)at);
}

/* ---- time ---- */

static int64_t add_months(int64_t ns, int64_t months, bool *bad)
{
    int y, m, d;
    civil_date(civil_day_of(ns), &y, &m, &d);
    int64_t total;
    if (__builtin_add_overflow((int64_t)y * 12 + m - 1, months, &total) || total < 1600 * 12 ||
        total > 2400 * 12) {
        *bad = true;
        return 0;
    }
    int ny = (int)(total / 12), nm = (int)(total % 12) + 1;
    int last = civil_month_days(ny, nm);
    int64_t r;
    *bad =
        __builtin_mul_overflow((int64_t)civil_days(ny, nm, d < last ? d : last), PST_DAY_NS, &r) ||
        __builtin_add_overflow(r, civil_floor_mod(ns, PST_DAY_NS), &r) || r == INT64_MIN;
    return r;
}

static int iso_week(int32_t day, int *year)
{
    int y, m, d;
    int32_t thursday = day - civil_weekday(day) + CIVIL_THU;
    civil_date(thursday, &y, &m, &d);
    *year = y;
    return (thursday - civil_days(y, 1, 1)) / 7 + 1;
}

static bool extract(const struct plan_expr *n, const struct scalar *v, struct scalar *out)
{
    if (v[0].null) {
        return set_null(out);
    }
    int64_t ns = v[0].i;
    int32_t day = civil_day_of(ns);
    int y, m, d, iso;
    civil_date(day, &y, &m, &d);
    int64_t clock = civil_floor_mod(ns, PST_DAY_NS);
    if (n->arg[0]->type == PST_TIMESPAN) { /* hours of a timespan pass 24, and all have its sign */
        clock = ns;
    }
    int64_t sec = clock % (60 * PST_SECOND_NS);
    switch (n->field) {
    case PLAN_YEAR:
        return set_int(out, y);
    case PLAN_QUARTER:
        return set_int(out, (m + 2) / 3);
    case PLAN_MONTH:
        return set_int(out, m);
    case PLAN_WEEK:
        return set_int(out, iso_week(day, &iso));
    case PLAN_ISOYEAR:
        iso_week(day, &iso);
        return set_int(out, iso);
    case PLAN_DAY:
        return set_int(out, d);
    case PLAN_DOW:
        return set_int(out, (civil_weekday(day) + 1) % 7);
    case PLAN_ISODOW:
        return set_int(out, civil_weekday(day) + 1);
    case PLAN_DOY:
        return set_int(out, day - civil_days(y, 1, 1) + 1);
    case PLAN_HOUR:
        return set_int(out, clock / (3600 * PST_SECOND_NS));
    case PLAN_MINUTE:
        return set_int(out, clock / (60 * PST_SECOND_NS) % 60);
    case PLAN_SECOND:
        return set_float(out, (double)sec / 1e9);
    case PLAN_MILLISECOND:
        return set_float(out, (double)sec / 1e6);
    case PLAN_MICROSECOND:
        return set_float(out, (double)sec / 1e3);
    case PLAN_NANOSECOND:
        return set_int(out, clock % PST_SECOND_NS);
    default: {
        int64_t from = n->arg[0]->type == PST_TIMESPAN ? 0 : PST_EPOCH_OFFSET_S;
        int64_t whole = civil_floor_div(ns, PST_SECOND_NS);
        return set_float(out,
                         (double)(whole + from) + (double)civil_floor_mod(ns, PST_SECOND_NS) / 1e9);
    }
    }
}

static bool temporal(const struct plan_expr *n, const struct scalar *v, struct scalar *out,
                     struct query_error *e)
{
    for (unsigned i = 0; i < n->nargs; i++) {
        if (v[i].null) {
            return set_null(out);
        }
    }
    int64_t x = v[0].i, r = 0, shift;
    bool bad = false;
    switch (n->op) {
    case PLAN_BUCKET:
        bad = v[1].i <= 0 || __builtin_sub_overflow(x, v[2].i, &r) ||
              __builtin_sub_overflow(x, civil_floor_mod(r, v[1].i), &r);
        break;
    case PLAN_MONTH_BUCKET: {
        int y, m, d;
        civil_date(civil_day_of(x), &y, &m, &d);
        int64_t months = (int64_t)(y - 2000) * 12 + m - 1;
        months -= v[1].i > 0 ? civil_floor_mod(months, v[1].i) : 0;
        bad = v[1].i <= 0 || months < -12 * 400;
        y = (int)(2000 + civil_floor_div(months, 12));
        bad = bad ||
              __builtin_mul_overflow(
                  (int64_t)civil_days(y, (int)civil_floor_mod(months, 12) + 1, 1), PST_DAY_NS, &r);
        break;
    }
    case PLAN_ADD_MONTHS:
        r = add_months(x, v[1].i, &bad);
        break;
    case PLAN_TO_LOCAL:
        shift = tzone_offset(n->zone, civil_floor_div(x, PST_SECOND_NS) + PST_EPOCH_OFFSET_S);
        bad = __builtin_add_overflow(x, shift * PST_SECOND_NS, &r);
        break;
    default: {
        int64_t local = civil_floor_div(x, PST_SECOND_NS) + PST_EPOCH_OFFSET_S;
        shift = tzone_to_utc(n->zone, local) - local;
        bad = __builtin_add_overflow(x, shift * PST_SECOND_NS, &r);
        break;
    }
    }
    if (bad || r == INT64_MIN) {
        return overflow(e, n->type, n->pos);
    }
    return set_int(out, r);
}

/* ---- casts ---- */

static bool is_offset(uint8_t t) /* a time of day, or a length of time */
{
    return t == PST_TIMESPAN || t == PST_MINUTE || t == PST_SECOND || t == PST_TIME;
}
static int64_t offset_unit(uint8_t t) /* ns */
{
    return t == PST_MINUTE   ? 60 * PST_SECOND_NS
           : t == PST_SECOND ? PST_SECOND_NS
           : t == PST_TIME   ? PST_SECOND_NS / 1000
                             : 1;
}
static int32_t month_first(int64_t month)
{
    return civil_days((int)(2000 + civil_floor_div(month, 12)), (int)civil_floor_mod(month, 12) + 1,
                      1);
}

/* Between temporal types; false in *ok: there is no such cast (it is the stored number then). */
static bool temporal_cast(int64_t v, uint8_t from, uint8_t to, int64_t *r, bool *bad)
{
    int y, m, d;
    *bad = false;
    if (from == PST_TIMESTAMP && (to == PST_DATE || to == PST_MONTH)) {
        int32_t day = civil_day_of(v);
        civil_date(day, &y, &m, &d);
        *r = to == PST_DATE ? day : (int64_t)(y - 2000) * 12 + m - 1;
        return true;
    }
    if (from == PST_TIMESTAMP && is_offset(to)) {
        *r = civil_floor_mod(v, PST_DAY_NS) / offset_unit(to);
        return true;
    }
    if (from == PST_DATE && to == PST_MONTH) {
        if (v > 3000000 || v < -3000000) {
            *bad = true;
            return true;
        }
        civil_date((int32_t)v, &y, &m, &d);
        *r = (int64_t)(y - 2000) * 12 + m - 1;
        return true;
    }
    if (from == PST_MONTH && (to == PST_DATE || to == PST_TIMESTAMP)) {
        if (v > 90000 || v < -90000) {
            *bad = true;
            return true;
        }
        v = month_first(v);
        *r = v;
        *bad = to == PST_TIMESTAMP && __builtin_mul_overflow(v, PST_DAY_NS, r);
        return true;
    }
    if (from == PST_DATE && to == PST_TIMESTAMP) {
        *bad = __builtin_mul_overflow(v, PST_DAY_NS, r);
        return true;
    }
    if (is_offset(from) && is_offset(to)) {
        *bad = __builtin_mul_overflow(v, offset_unit(from), r);
        *r = civil_floor_div(*r, offset_unit(to));
        return true;
    }
    return false;
}

static bool malformed(struct query_error *e, const struct scalar *v, uint8_t type)
{
    return query_error_set(e, QUERY_VALUE, -1, "'%.*s' is no %s; one looks like %s",
                           (int)(v->text.len > 60 ? 60 : v->text.len), v->text.p, type_name(type),
                           literal_example(type));
}

bool scalar_cast(const struct scalar *v, uint8_t type, struct arena *a, struct scalar *out,
                 struct query_error *e)
{
    struct scalar from = *v;
    *out = (struct scalar){.type = type, .null = true};
    if (from.null) {
        return true;
    }
    if (from.type == type) {
        *out = from;
        return true;
    }
    if (type == PST_STRING || type == PST_SYMBOL) {
        if (is_text(from.type)) {
            return set_text(out, from.text.p, from.text.len);
        }
        char buf[LITERAL_TEXT];
        uint32_t n = literal_text(&from, buf);
        char *copy = arena_text(a, buf, n);
        return set_text(out, copy, a->failed ? 0 : n);
    }
    if (is_text(from.type)) {
        if (type == PST_CHAR) { /* its first byte */
            return literal_parse(type, from.text.p, 1, out);
        }
        return literal_parse(type, from.text.p, from.text.len, out) || malformed(e, &from, type);
    }
    if (type == PST_GUID || from.type == PST_GUID) {
        return query_error_set(e, QUERY_TYPE, -1, "a guid is cast from and to text only");
    }
    if (is_float(type)) {
        return set_float(out, is_float(from.type) ? from.f : (double)from.i);
    }
    int64_t r = from.i, max = int_max(type);
    bool bad = false;
    if (is_float(from.type)) {
        if (type == PST_BOOLEAN) {
            return set_bool(out, from.f != 0);
        }
        double x = nearbyint(from.f);
        bad = !(x >= -9223372036854775808.0 && x < 9223372036854775808.0);
        r = bad ? 0 : (int64_t)x;
    } else if (type == PST_BOOLEAN) {
        return set_bool(out, from.i != 0);
    } else if (!temporal_cast(from.i, from.type, type, &r, &bad)) {
        r = from.i;
    }
    bool bytes = type == PST_BYTE || type == PST_CHAR;
    if (bad || r > max || r < (bytes ? 0 : -max)) {
        return query_error_set(e, QUERY_VALUE, -1, "out of range: the %s does not fit a %s",
                               type_name(from.type), type_name(type));
    }
    if (type == PST_CHAR && r == ' ') {
        return true;
    }
    return set_int(out, r);
}

bool scalar_apply(const struct plan_expr *n, const struct scalar *v, struct arena *a,
                  struct scalar *out, struct query_error *e)
{
    *out = (struct scalar){.type = n->type};
    switch (n->op) {
    case PLAN_CAST:
        if (scalar_cast(v, n->type, a, out, e)) {
            return true;
        }
        if (e) {
            e->position = n->pos;
        }
        return false;
    case PLAN_ADD:
    case PLAN_SUB:
    case PLAN_MUL:
    case PLAN_DIV:
    case PLAN_MOD:
    case PLAN_NEG:
    case PLAN_ABS:
        return arithmetic(n, v, out, e);
    case PLAN_EQ:
    case PLAN_NE:
    case PLAN_LT:
    case PLAN_LE:
    case PLAN_GT:
    case PLAN_GE:
    case PLAN_DISTINCT_FROM:
    case PLAN_IN:
        return compare(n, v, out);
    case PLAN_IS_NULL:
        return set_bool(out, v[0].null);
    case PLAN_AND:
    case PLAN_OR:
        return logic(n, v, out);
    case PLAN_NOT:
        return v[0].null ? set_null(out) : set_bool(out, !v[0].i);
    case PLAN_IS_TRUE:
        return set_bool(out, !v[0].null && v[0].i);
    case PLAN_IS_FALSE:
        return set_bool(out, !v[0].null && !v[0].i);
    case PLAN_CASE:
    case PLAN_COALESCE:
    case PLAN_GREATEST:
    case PLAN_LEAST:
        return choose(n, v, out);
    case PLAN_FLOOR:
    case PLAN_CEIL:
    case PLAN_ROUND:
    case PLAN_TRUNC:
    case PLAN_SQRT:
    case PLAN_EXP:
    case PLAN_LN:
    case PLAN_LOG10:
    case PLAN_POWER:
    case PLAN_SIGN:
        return math(n, v, out);
    case PLAN_LIKE:
    case PLAN_ILIKE:
    case PLAN_LENGTH:
    case PLAN_LOWER:
    case PLAN_UPPER:
    case PLAN_SUBSTR:
    case PLAN_CONCAT:
    case PLAN_POSITION:
    case PLAN_TRIM:
        return text(n, v, a, out);
    case PLAN_EXTRACT:
        return extract(n, v, out);
    case PLAN_BUCKET:
    case PLAN_MONTH_BUCKET:
    case PLAN_ADD_MONTHS:
    case PLAN_TO_LOCAL:
    case PLAN_TO_UTC:
        return temporal(n, v, out, e);
    default:
        pst_must(!"a leaf has no value of its own");
        return false;
    }
}
