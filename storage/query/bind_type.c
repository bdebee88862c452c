/* SPDX-License-Identifier: Apache-2.0 */
/* Types: what may be compared, added, cast, and the one type that several values share. */
#include <math.h>
#include "core/civil.h"
#include "core/schema.h"
#include "bind.h"

const char *bind_type_name(uint8_t type)
{
    return type == BIND_UNTYPED  ? "text"
           : type == BIND_MONTHS ? "interval of months"
                                 : type_name(type);
}
bool bind_is_integer(uint8_t t)
{
    return t == PST_LONG || t == PST_INT || t == PST_SHORT || t == PST_BYTE;
}
bool bind_is_number(uint8_t t)
{
    return bind_is_integer(t) || t == PST_FLOAT || t == PST_REAL;
}
bool bind_is_offset(uint8_t t)
{
    return t == PST_TIMESPAN || t == PST_TIME || t == PST_SECOND || t == PST_MINUTE;
}
bool bind_is_text(uint8_t t)
{
    return t == PST_SYMBOL || t == PST_STRING;
}
static bool is_float(uint8_t t)
{
    return t == PST_FLOAT || t == PST_REAL;
}
static bool is_calendar(uint8_t t)
{
    return t == PST_TIMESTAMP || t == PST_DATE || t == PST_MONTH;
}
static bool is_const(const struct plan_expr *x)
{
    return x->op == PLAN_CONST && !x->is_null;
}

static struct plan_expr *parse_literal(struct binder *b, struct plan_expr *x, uint8_t type)
{
    struct scalar v;
    struct plan_text t = x->value.text;
    if (x->is_null) {
        return bind_null(b, type, x->pos);
    }
    if (!literal_parse(type, t.p, t.len, &v)) {
        return bind_error(b, QUERY_TYPE, x->pos, "'%.*s' is no %s; one looks like %s",
                          (int)(t.len > 60 ? 60 : t.len), t.p, bind_type_name(type),
                          literal_example(type));
    }
    return bind_const(b, &v, x->pos);
}

struct plan_expr *bind_settle(struct binder *b, struct plan_expr *x)
{
    if (!x) {
        return NULL;
    }
    if (x->type == BIND_MONTHS) {
        return bind_error(b, QUERY_TYPE, x->pos,
                          "an interval of months is only added to a date or timestamp, or a width "
                          "of time_bucket");
    }
    return x->type == BIND_UNTYPED ? parse_literal(b, x, PST_STRING) : x;
}

/* Byte has no null: whatever is computed from one is a short. */
static struct plan_expr *widen_byte(struct binder *b, struct plan_expr *x)
{
    return x && x->type == PST_BYTE ? bind_make1(b, PLAN_CAST, PST_SHORT, x->pos, x) : x;
}

static int rank(uint8_t t) /* numbers: a higher one holds the lower */
{
    switch (t) {
    case PST_BYTE:
        return 1;
    case PST_SHORT:
        return 2;
    case PST_INT:
        return 3;
    case PST_LONG:
        return 4;
    case PST_REAL:
        return 5;
    case PST_FLOAT:
        return 6;
    default:
        return 0;
    }
}

/* The type that two share; 0 = none. */
static uint8_t common(uint8_t a, uint8_t b)
{
    if (a == b) {
        return a == PST_BYTE ? PST_SHORT : a;
    }
    if (rank(a) && rank(b)) {
        uint8_t high = rank(a) > rank(b) ? a : b;
        return high == PST_REAL ? PST_FLOAT : high == PST_BYTE ? PST_SHORT : high;
    }
    bool text_a = bind_is_text(a) || a == PST_CHAR, text_b = bind_is_text(b) || b == PST_CHAR;
    if (text_a && text_b) {
        return PST_STRING;
    }
    if (is_calendar(a) && is_calendar(b)) {
        return a == PST_TIMESTAMP || b == PST_TIMESTAMP ? PST_TIMESTAMP : PST_DATE;
    }
    if (bind_is_offset(a) && bind_is_offset(b)) {
        return PST_TIMESPAN;
    }
    return 0;
}

static bool castable(uint8_t from, uint8_t to)
{
    if (from == to || bind_is_text(from) || bind_is_text(to)) {
        return true;
    }
    if (from == PST_GUID || to == PST_GUID) {
        return false;
    }
    if (bind_is_number(from) || from == PST_BOOLEAN) {
        bool number = bind_is_number(to) || to == PST_BOOLEAN;
        return number || (bind_is_integer(from) && to != PST_GUID);
    }
    if (from == PST_CHAR || to == PST_CHAR) {
        return bind_is_integer(to) || bind_is_integer(from);
    }
    if (bind_is_number(to)) {
        return bind_is_integer(to) || bind_is_offset(from);
    }
    if (to == PST_BOOLEAN) {
        return false;
    }
    return is_calendar(from) ? is_calendar(to) || (from == PST_TIMESTAMP) : bind_is_offset(to);
}

struct plan_expr *bind_cast(struct binder *b, struct plan_expr *x, uint8_t type, int64_t pos)
{
    if (!x) {
        return NULL;
    }
    if (x->type == BIND_UNTYPED) {
        if (type == PST_CHAR && !x->is_null && x->value.text.len > 1) {
            x = bind_settle(b, x);
        } else {
            return parse_literal(b, x, type);
        }
    }
    if (!(x = bind_settle(b, x)) || x->type == type) {
        return x;
    }
    if (!castable(x->type, type)) {
        return bind_error(
            b, QUERY_TYPE, pos, "a %s cannot be cast to %s%s", type_name(x->type), type_name(type),
            bind_is_offset(x->type) && is_calendar(type) ? "; add it to a date: date + time"
            : is_float(x->type)                          ? "; cast to long first"
                                                         : "");
    }
    if (is_float(type) && !bind_is_number(x->type) && !bind_is_text(x->type)) {
        x = bind_make1(b, PLAN_CAST, PST_LONG, pos, x); /* its stored number */
    }
    return bind_make1(b, PLAN_CAST, type, pos, x);
}

struct plan_expr *bind_coerce(struct binder *b, struct plan_expr *x, uint8_t type, const char *what)
{
    if (!x) {
        return NULL;
    }
    if (x->type == BIND_UNTYPED) {
        return parse_literal(b, x, type);
    }
    if (!(x = bind_settle(b, x)) || x->type == type) {
        return x;
    }
    bool integers = bind_is_integer(x->type) && bind_is_integer(type);
    if (common(x->type, type) == type || (is_float(type) && bind_is_number(x->type)) ||
        (integers && rank(type) >= rank(x->type))) {
        return bind_make1(b, PLAN_CAST, type, x->pos, x);
    }
    return bind_error(b, QUERY_TYPE, x->pos, "%s wants a %s, not a %s%s%s", what, type_name(type),
                      type_name(x->type), castable(x->type, type) ? "; write ::" : "",
                      castable(x->type, type) ? type_name(type) : "");
}

struct plan_expr *bind_boolean(struct binder *b, struct plan_expr *x, const char *what)
{
    if (!x) {
        return NULL;
    }
    if (x->type == BIND_UNTYPED && x->is_null) {
        return bind_null(b, PST_BOOLEAN, x->pos);
    }
    if (x->type == BIND_UNTYPED) {
        return parse_literal(b, x, PST_BOOLEAN);
    }
    if (x->type != PST_BOOLEAN) {
        return bind_error(b, QUERY_TYPE, x->pos, "%s wants a condition, not a %s; compare it: <> 0",
                          what, bind_type_name(x->type));
    }
    return x;
}

bool bind_unify(struct binder *b, struct plan_expr **x, unsigned n, int64_t pos, const char *what)
{
    uint8_t type = 0;
    bool literal_text = false;
    for (unsigned i = 0; i < n; i++) {
        if (!x[i]) {
            return false;
        }
        if (x[i]->type == BIND_UNTYPED) {
            literal_text |= !x[i]->is_null;
            continue;
        }
        if (!bind_settle(b, x[i])) {
            return false;
        }
        uint8_t t = type ? common(type, x[i]->type) : x[i]->type;
        if (!t) {
            return query_error_set(b->e, QUERY_TYPE, x[i]->pos,
                                   "%s has a %s and a %s; cast one to the other", what,
                                   type_name(type), type_name(x[i]->type));
        }
        type = t;
    }
    if (type == 0 || ((type == PST_SYMBOL || type == PST_CHAR) && literal_text)) {
        type = PST_STRING; /* a new text is no symbol of the table */
    }
    type = type == PST_BYTE ? PST_SHORT : type;
    for (unsigned i = 0; i < n; i++) {
        x[i] = bind_coerce(b, x[i], type, what);
        if (!x[i]) {
            return false;
        }
    }
    (void)pos;
    return true;
}

/* ---- comparisons ---- */

/* The constant as exactly the same value of another type, or NULL (quiet). */
static struct plan_expr *exact(struct binder *b, struct plan_expr *c, uint8_t type)
{
    struct scalar v = bind_value(c), back, to;
    struct query_error quiet;
    if (c->type == type) {
        return c;
    }
    bool numbers = bind_is_number(c->type) && bind_is_number(type);
    bool day = c->type == PST_TIMESTAMP && type == PST_DATE;
    if (!numbers && !day) {
        return NULL;
    }
    if (is_float(v.type) && !isfinite(v.f) && !is_float(type)) {
        return NULL;
    }
    if (bind_is_integer(v.type) && is_float(type) && (v.i > 1LL << 53 || v.i < -(1LL << 53))) {
        return NULL;
    }
    if (is_float(v.type) && bind_is_integer(type) && fabs(v.f) > 9007199254740992.0) {
        return NULL;
    }
    if (!scalar_cast(&v, type, b->a, &to, &quiet) || to.null ||
        !scalar_cast(&to, c->type, b->a, &back, &quiet) || scalar_compare(&v, &back) != 0) {
        return NULL;
    }
    return bind_const(b, &to, c->pos);
}

/* '' (and ' ' beside a char) can never be equal to anything: it is NULL. */
static bool refuse_empty(struct binder *b, const struct plan_expr *c, const struct plan_expr *other)
{
    if (c->op != PLAN_CONST || c->type != BIND_UNTYPED || c->is_null ||
        !(bind_is_text(other->type) || other->type == PST_CHAR)) {
        return true;
    }
    struct plan_text t = c->value.text;
    if (t.len == 0) {
        return query_error_set(b->e, QUERY_TYPE, c->pos,
                               "the empty text is NULL here, nothing equals it; write IS NULL or "
                               "IS NOT NULL");
    }
    if (other->type == PST_CHAR && t.len == 1 && *t.p == ' ') {
        return query_error_set(b->e, QUERY_TYPE, c->pos,
                               "a blank char is NULL, nothing equals it; write IS NULL or IS NOT "
                               "NULL");
    }
    return true;
}

/* Both sides of a comparison get one type. */
static bool align(struct binder *b, struct plan_expr **l, struct plan_expr **r, int64_t pos)
{
    struct plan_expr *x = *l, *y = *r;
    if (!x || !y) {
        return false;
    }
    if (!refuse_empty(b, x, y) || !refuse_empty(b, y, x)) {
        return false;
    }
    if (x->type == BIND_UNTYPED || y->type == BIND_UNTYPED) {
        bool left = x->type == BIND_UNTYPED;
        struct plan_expr *c = left ? x : y, *other = left ? y : x;
        if (other->type == BIND_UNTYPED) {
            other = bind_settle(b, other);
        }
        if (!other || !(other = bind_settle(b, other))) {
            return false;
        }
        uint8_t type = other->type;
        if (!c->is_null && type == PST_CHAR && c->value.text.len > 1) {
            type = PST_STRING;
            other = bind_make1(b, PLAN_CAST, type, other->pos, other);
        }
        /* beside an integer, '1.5' is a float */
        struct scalar v;
        if (!c->is_null && bind_is_integer(type) &&
            !literal_parse(type, c->value.text.p, c->value.text.len, &v)) {
            type = literal_parse(PST_LONG, c->value.text.p, c->value.text.len, &v) ? PST_LONG
                                                                                   : PST_FLOAT;
        }
        if (!c->is_null && type == PST_DATE &&
            !literal_parse(type, c->value.text.p, c->value.text.len, &v) &&
            literal_parse(PST_TIMESTAMP, c->value.text.p, c->value.text.len, &v)) {
            type = PST_TIMESTAMP;
        }
        c = parse_literal(b, c, type);
        if (!c) {
            return false;
        }
        *l = x = left ? c : other;
        *r = y = left ? other : c;
    }
    x = widen_byte(b, bind_settle(b, x));
    y = widen_byte(b, bind_settle(b, y));
    if (!x || !y) {
        return false;
    }
    if (x->type != y->type) { /* a constant takes the column's type if it loses nothing */
        struct plan_expr *c;
        if (is_const(y) && (c = exact(b, y, x->type)) != NULL) {
            y = c;
        } else if (is_const(x) && (c = exact(b, x, y->type)) != NULL) {
            x = c;
        }
    }
    if (x->type == PST_SYMBOL && y->type == PST_STRING && is_const(y) && y->value.text.len < 256) {
        y = bind_cast(b, y, PST_SYMBOL, y->pos);
    } else if (y->type == PST_SYMBOL && x->type == PST_STRING && is_const(x) &&
               x->value.text.len < 256) {
        x = bind_cast(b, x, PST_SYMBOL, x->pos);
    }
    if (!x || !y) {
        return false;
    }
    uint8_t type = common(x->type, y->type);
    if (!type) {
        bool clock = (bind_is_offset(x->type) && is_calendar(y->type)) ||
                     (bind_is_offset(y->type) && is_calendar(x->type));
        return query_error_set(b->e, QUERY_TYPE, pos, "a %s and a %s cannot be compared%s",
                               type_name(x->type), type_name(y->type),
                               clock ? "; take the time of day first: time::timespan"
                                     : "; cast one of them");
    }
    *l = x->type == type ? x : bind_make1(b, PLAN_CAST, type, x->pos, x);
    *r = y->type == type ? y : bind_make1(b, PLAN_CAST, type, y->pos, y);
    return *l && *r;
}

static unsigned mirrored(unsigned op)
{
    switch (op) {
    case PLAN_LT:
        return PLAN_GT;
    case PLAN_LE:
        return PLAN_GE;
    case PLAN_GT:
        return PLAN_LT;
    case PLAN_GE:
        return PLAN_LE;
    default:
        return op;
    }
}

struct plan_expr *bind_compare(struct binder *b, unsigned op, struct plan_expr *l,
                               struct plan_expr *r, int64_t pos)
{
    if (!align(b, &l, &r, pos)) {
        return NULL;
    }
    if (l->op == PLAN_CONST && r->op != PLAN_CONST) { /* constants stand right */
        struct plan_expr *x = l;
        l = r;
        r = x;
        op = mirrored(op);
    }
    return bind_make2(b, op, PST_BOOLEAN, pos, l, r);
}

static int by_value(const void *x, const void *y)
{
    struct scalar a = bind_value(*(struct plan_expr *const *)x);
    struct scalar c = bind_value(*(struct plan_expr *const *)y);
    return scalar_compare(&a, &c);
}

struct plan_expr *bind_in(struct binder *b, struct plan_expr *x, struct plan_expr **list,
                          unsigned n, int64_t pos)
{
    if (n > PLAN_ARGS_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "IN takes at most %u values", PLAN_ARGS_MAX);
    }
    /* each beside x first: literals take x's type; then the widest of all types for all */
    struct plan_expr **arg = arena_alloc(b->a, (n + 1) * sizeof *arg);
    if (b->a->failed || !x) {
        return NULL;
    }
    bool null = false, constant = true;
    unsigned m = 1;
    uint8_t type = 0;
    for (int pass = 0; pass < 2; pass++) {
        m = 1;
        for (unsigned i = 0; i < n; i++) {
            struct plan_expr *l = pass ? arg[0] : x, *r = list[i];
            if (r && r->op == PLAN_CONST && r->is_null) {
                null = true;
                continue;
            }
            if (!align(b, &l, &r, r ? r->pos : pos)) {
                return NULL;
            }
            constant &= r->op == PLAN_CONST;
            if (type == 0 || common(type, l->type) != type) {
                type = l->type;
                arg[0] = l;
            }
            arg[m++] = r;
        }
        bool same = true;
        for (unsigned i = 1; i < m; i++) {
            same &= arg[i]->type == type;
        }
        if (same) {
            break;
        }
    }
    struct plan_expr *in;
    if (m == 1) {
        return bind_null(b, PST_BOOLEAN, pos);
    }
    if (!constant) {
        struct plan_expr **any = arena_alloc(b->a, m * sizeof *any);
        if (b->a->failed) {
            return NULL;
        }
        for (unsigned i = 1; i < m; i++) {
            any[i - 1] = bind_compare(b, PLAN_EQ, x, arg[i], pos);
        }
        in = m == 2 ? any[0] : bind_make(b, PLAN_OR, PST_BOOLEAN, pos, any, m - 1, NULL);
    } else {
        for (unsigned i = 1; i < m; i++) {
            if (arg[i]->type != arg[0]->type) {
                return bind_error(b, QUERY_TYPE, pos,
                                  "the values of IN have different types; cast them");
            }
        }
        qsort(arg + 1, m - 1, sizeof *arg, by_value);
        unsigned k = 1;
        for (unsigned i = 1; i < m; i++) {
            if (i == 1 || by_value(&arg[i], &arg[k - 1]) != 0) {
                arg[k++] = arg[i];
            }
        }
        in = k == 2 ? bind_make2(b, PLAN_EQ, PST_BOOLEAN, pos, arg[0], arg[1])
                    : bind_make(b, PLAN_IN, PST_BOOLEAN, pos, arg, k, NULL);
    }
    return null ? bind_make2(b, PLAN_OR, PST_BOOLEAN, pos, in, bind_null(b, PST_BOOLEAN, pos)) : in;
}

/* ---- arithmetic ---- */

static struct plan_expr *to(struct binder *b, struct plan_expr *x, uint8_t type)
{
    return !x || x->type == type ? x : bind_make1(b, PLAN_CAST, type, x->pos, x);
}

static const char *op_sign(unsigned op)
{
    return op == PLAN_ADD   ? "+"
           : op == PLAN_SUB ? "-"
           : op == PLAN_MUL ? "*"
           : op == PLAN_DIV ? "/"
                            : "%";
}

/* A literal in quotes beside the other operand. */
static struct plan_expr *literal_operand(struct binder *b, struct plan_expr *c, unsigned op,
                                         uint8_t other)
{
    struct scalar v;
    struct plan_text t = c->value.text;
    if (c->is_null) {
        bool span = (is_calendar(other) || bind_is_offset(other)) && other != PST_MONTH;
        return bind_null(b,
                         span ? (op == PLAN_SUB && is_calendar(other) ? other : PST_TIMESPAN)
                         : other == PST_MONTH ? PST_LONG
                                              : other,
                         c->pos);
    }
    if (bind_is_number(other)) {
        return parse_literal(b, c, literal_parse(PST_LONG, t.p, t.len, &v) ? PST_LONG : PST_FLOAT);
    }
    if (is_calendar(other) && literal_parse(PST_TIMESTAMP, t.p, t.len, &v) && op == PLAN_SUB) {
        return parse_literal(b, c, other);
    }
    int64_t ns, months;
    if (literal_interval(t.p, t.len, &ns, &months) && months && !ns) {
        return bind_const(b, &(struct scalar){.type = BIND_MONTHS, .i = months}, c->pos);
    }
    return parse_literal(b, c, PST_TIMESPAN);
}

static struct plan_expr *add_months(struct binder *b, unsigned op, struct plan_expr *x,
                                    struct plan_expr *m, int64_t pos)
{
    int64_t n = op == PLAN_SUB ? -m->value.i : m->value.i;
    struct plan_expr *count = bind_long(b, n, m->pos);
    if (x->type == PST_MONTH) {
        return to(b, bind_make2(b, PLAN_ADD, PST_LONG, pos, to(b, x, PST_LONG), count), PST_MONTH);
    }
    return bind_make2(b, PLAN_ADD_MONTHS, PST_TIMESTAMP, pos, to(b, x, PST_TIMESTAMP), count);
}

/* A float number of ns as a timespan. */
static struct plan_expr *as_span(struct binder *b, struct plan_expr *x)
{
    return to(b, to(b, x, PST_LONG), PST_TIMESPAN);
}

static struct plan_expr *temporal_arith(struct binder *b, unsigned op, struct plan_expr *l,
                                        struct plan_expr *r, int64_t pos)
{
    uint8_t x = l->type, y = r->type;
    bool add = op == PLAN_ADD, sub = op == PLAN_SUB;
    if (add && ((bind_is_integer(x) && (y == PST_DATE || y == PST_MONTH)) ||
                (bind_is_offset(x) && is_calendar(y)))) { /* commutes */
        struct plan_expr *s = l;
        l = r;
        r = s;
        x = l->type;
        y = r->type;
    }
    if ((x == PST_DATE || x == PST_MONTH) && (add || sub) && bind_is_integer(y)) {
        struct plan_expr *n =
            bind_make2(b, op, PST_LONG, pos, to(b, l, PST_LONG), to(b, r, PST_LONG));
        return to(b, n, x);
    }
    if (sub && x == y && (x == PST_DATE || x == PST_MONTH)) {
        return bind_make2(b, op, PST_LONG, pos, to(b, l, PST_LONG), to(b, r, PST_LONG));
    }
    if (sub && is_calendar(x) && is_calendar(y)) {
        return bind_make2(b, op, PST_TIMESPAN, pos, to(b, l, PST_TIMESTAMP),
                          to(b, r, PST_TIMESTAMP));
    }
    if ((add || sub) && is_calendar(x) && bind_is_offset(y)) {
        return bind_make2(b, op, PST_TIMESTAMP, pos, to(b, l, PST_TIMESTAMP),
                          to(b, r, PST_TIMESPAN));
    }
    if (bind_is_offset(x) && bind_is_offset(y) && op != PLAN_MUL) {
        l = to(b, l, PST_TIMESPAN);
        r = to(b, r, PST_TIMESPAN);
        if (op == PLAN_DIV) {
            return bind_make2(b, op, PST_FLOAT, pos, to(b, to(b, l, PST_LONG), PST_FLOAT),
                              to(b, to(b, r, PST_LONG), PST_FLOAT));
        }
        return bind_make2(b, op, PST_TIMESPAN, pos, l, r);
    }
    if (op == PLAN_MUL && bind_is_number(x) && bind_is_offset(y)) {
        struct plan_expr *s = l;
        l = r;
        r = s;
        x = l->type;
        y = r->type;
    }
    if ((op == PLAN_MUL || op == PLAN_DIV) && bind_is_offset(x) && bind_is_number(y)) {
        l = to(b, l, PST_TIMESPAN);
        if (bind_is_integer(y)) {
            return bind_make2(b, op, PST_TIMESPAN, pos, l, to(b, r, PST_LONG));
        }
        return as_span(b, bind_make2(b, op, PST_FLOAT, pos, to(b, to(b, l, PST_LONG), PST_FLOAT),
                                     to(b, r, PST_FLOAT)));
    }
    return bind_error(b, QUERY_TYPE, pos, "there is no %s %s %s", bind_type_name(x), op_sign(op),
                      bind_type_name(y));
}

struct plan_expr *bind_arith(struct binder *b, unsigned op, struct plan_expr *l,
                             struct plan_expr *r, int64_t pos)
{
    if (!l || !r) {
        return NULL;
    }
    if (l->type == BIND_UNTYPED && r->type == BIND_UNTYPED) {
        l = bind_coerce(b, l, PST_FLOAT, op_sign(op));
        r = l ? bind_coerce(b, r, PST_FLOAT, op_sign(op)) : NULL;
    } else if (l->type == BIND_UNTYPED) {
        l = literal_operand(b, l, op, r->type);
    } else if (r->type == BIND_UNTYPED) {
        r = literal_operand(b, r, op, l->type);
    }
    if (!l || !r) {
        return NULL;
    }
    if ((op == PLAN_ADD || op == PLAN_SUB) && r->type == BIND_MONTHS && is_calendar(l->type)) {
        return add_months(b, op, l, r, pos);
    }
    if (op == PLAN_ADD && l->type == BIND_MONTHS && is_calendar(r->type)) {
        return add_months(b, op, r, l, pos);
    }
    if (bind_is_number(l->type) && bind_is_number(r->type)) {
        uint8_t type = is_float(l->type) || is_float(r->type) ? PST_FLOAT : PST_LONG;
        return bind_make2(b, op, type, pos, to(b, l, type), to(b, r, type));
    }
    return temporal_arith(b, op, l, r, pos);
}

struct plan_expr *bind_negate(struct binder *b, struct plan_expr *x, int64_t pos)
{
    if (x && x->type == BIND_UNTYPED) {
        x = literal_operand(b, x, PLAN_MUL, PST_FLOAT);
    }
    if (!x) {
        return NULL;
    }
    if (x->type == BIND_MONTHS) {
        return bind_const(b, &(struct scalar){.type = BIND_MONTHS, .i = -x->value.i}, pos);
    }
    if (!bind_is_number(x->type) && !bind_is_offset(x->type)) {
        return bind_error(b, QUERY_TYPE, pos, "a %s has no sign", bind_type_name(x->type));
    }
    uint8_t type = is_float(x->type)         ? PST_FLOAT
                   : bind_is_offset(x->type) ? PST_TIMESPAN
                                             : PST_LONG;
    return bind_make1(b, PLAN_NEG, type, pos, to(b, x, type));
}
