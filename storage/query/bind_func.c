/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and aggregates by name. */
#include <math.h>
#include <strings.h>
#include "core/civil.h"
#include "core/schema.h"
#include "bind.h"

/* ---- arguments ---- */

struct call {
    const PgQuery__FuncCall *tree;
    const char *name;
    int64_t pos;
    unsigned n;
    struct plan_expr *arg[8];
};

static bool is_float(uint8_t t)
{
    return t == PST_FLOAT || t == PST_REAL;
}

static struct plan_expr *to_float(struct binder *b, struct call *c, unsigned i)
{
    struct plan_expr *x = c->arg[i];
    if (x->type != BIND_UNTYPED && !bind_is_number(x->type)) {
        return bind_error(b, QUERY_TYPE, x->pos, "%s wants a number, not a %s", c->name,
                          bind_type_name(x->type));
    }
    return bind_coerce(b, x, PST_FLOAT, c->name);
}

static struct plan_expr *to_text(struct binder *b, struct call *c, unsigned i)
{
    struct plan_expr *x = bind_settle(b, c->arg[i]);
    if (x && x->type == PST_CHAR) {
        return bind_make1(b, PLAN_CAST, PST_STRING, x->pos, x);
    }
    if (x && !bind_is_text(x->type)) {
        return bind_error(b, QUERY_TYPE, x->pos,
                          "%s wants a symbol or string, not a %s; write ::text", c->name,
                          type_name(x->type));
    }
    return x;
}

/* A constant text: a unit, a zone. */
static bool const_text(struct binder *b, struct call *c, unsigned i, char *out, size_t room,
                       const char *what)
{
    struct plan_expr *x = bind_settle(b, c->arg[i]);
    if (!x) {
        return false;
    }
    if (x->op != PLAN_CONST || x->is_null || !bind_is_text(x->type) || x->value.text.len >= room) {
        return query_error_set(b->e, QUERY_TYPE, x->pos, "%s wants %s as a constant text", c->name,
                               what);
    }
    memcpy(out, x->value.text.p, x->value.text.len);
    out[x->value.text.len] = 0;
    return true;
}

/* ---- numbers ---- */

static struct plan_expr *f_abs(struct binder *b, struct call *c, unsigned op)
{
    struct plan_expr *x = c->arg[0];
    if (x->type == BIND_UNTYPED) {
        x = bind_coerce(b, x, PST_FLOAT, c->name);
    }
    if (!x) {
        return NULL;
    }
    uint8_t type = is_float(x->type)          ? PST_FLOAT
                   : bind_is_integer(x->type) ? PST_LONG
                   : bind_is_offset(x->type)  ? PST_TIMESPAN
                                              : 0;
    if (!type) {
        return bind_error(b, QUERY_TYPE, x->pos, "abs wants a number or timespan, not a %s",
                          bind_type_name(x->type));
    }
    return bind_make1(b, op, type, c->pos,
                      x->type == type ? x : bind_make1(b, PLAN_CAST, type, c->pos, x));
}

/* floor, ceil, round, trunc: an integer is its own. */
static struct plan_expr *f_round(struct binder *b, struct call *c, unsigned op)
{
    if (c->n == 1 && bind_is_integer(c->arg[0]->type)) {
        return bind_cast(b, c->arg[0], PST_LONG, c->pos);
    }
    struct plan_expr *x = to_float(b, c, 0);
    if (!x || c->n == 1) {
        return x ? bind_make1(b, op, PST_FLOAT, c->pos, x) : NULL;
    }
    struct plan_expr *n = bind_coerce(b, c->arg[1], PST_LONG, "round");
    if (!n) {
        return NULL;
    }
    if (n->op != PLAN_CONST || n->is_null || n->value.i < -15 || n->value.i > 15) {
        return bind_error(b, QUERY_TYPE, n->pos,
                          "round wants its decimals as a constant, -15 to 15");
    }
    return bind_make2(b, op, PST_FLOAT, c->pos, x, n);
}

static struct plan_expr *f_float(struct binder *b, struct call *c, unsigned op)
{
    struct plan_expr *x = to_float(b, c, 0);
    if (!x || c->n == 1) {
        return x ? bind_make1(b, op, PST_FLOAT, c->pos, x) : NULL;
    }
    struct plan_expr *y = to_float(b, c, 1);
    return y ? bind_make2(b, op, PST_FLOAT, c->pos, x, y) : NULL;
}

static struct plan_expr *f_mod(struct binder *b, struct call *c, unsigned op)
{
    return bind_arith(b, op, c->arg[0], c->arg[1], c->pos);
}

/* ---- texts ---- */

static struct plan_expr *f_text(struct binder *b, struct call *c, unsigned op)
{
    struct plan_expr *x = to_text(b, c, 0);
    uint8_t type = op == PLAN_LENGTH || op == PLAN_POSITION ? PST_LONG : PST_STRING;
    if (!x || c->n == 1) {
        return x ? bind_make1(b, op, type, c->pos, x) : NULL;
    }
    struct plan_expr *y = to_text(b, c, 1);
    return y ? bind_make2(b, op, type, c->pos, x, y) : NULL;
}

static struct plan_expr *f_substr(struct binder *b, struct call *c, unsigned op)
{
    struct plan_expr *arg[3] = {to_text(b, c, 0)};
    for (unsigned i = 1; i < c->n && arg[0]; i++) {
        arg[i] = bind_coerce(b, c->arg[i], PST_LONG, "substr");
        if (!arg[i]) {
            return NULL;
        }
    }
    return arg[0] ? bind_make(b, op, PST_STRING, c->pos, arg, c->n, NULL) : NULL;
}

/* ---- time ---- */

static struct plan_expr *f_now(struct binder *b, struct call *c, unsigned op)
{
    (void)op;
    return bind_const(b, &(struct scalar){.type = PST_TIMESTAMP, .i = b->env->now_ns}, c->pos);
}

static struct plan_expr *zoned(struct binder *b, unsigned op, struct plan_expr *x,
                               const struct tzone *zone, int64_t pos)
{
    struct plan_expr like = {.zone = zone};
    return x ? bind_make(b, op, PST_TIMESTAMP, pos, &x, 1, &like) : NULL;
}

static struct plan_expr *to_stamp(struct binder *b, struct plan_expr *x, const char *what)
{
    return bind_coerce(b, x, PST_TIMESTAMP, what);
}

/* timezone(zone, x) is x AT TIME ZONE zone; utc_time(x, zone) is the way back. */
static struct plan_expr *f_zone(struct binder *b, struct call *c, unsigned op)
{
    char name[128];
    unsigned z = op == PLAN_TO_LOCAL ? 0 : 1;
    if (!const_text(b, c, z, name, sizeof name, "the zone")) {
        return NULL;
    }
    struct plan_expr *x =
        to_stamp(b, c->arg[1 - z], op == PLAN_TO_LOCAL ? "AT TIME ZONE" : c->name);
    const struct tzone *zone = x ? bind_zone(b, name, c->pos) : NULL;
    return zone ? zoned(b, op, x, zone, c->pos) : NULL;
}

static struct plan_expr *bucket(struct binder *b, struct plan_expr *x, int64_t width,
                                int64_t origin, int64_t pos)
{
    uint8_t type = x->type;
    uint8_t wide = type == PST_LONG ? PST_LONG : PST_TIMESPAN;
    if (width == 1) {
        return x;
    }
    struct plan_expr *w = bind_const(b, &(struct scalar){.type = wide, .i = width}, pos);
    struct plan_expr *o = bind_const(b, &(struct scalar){.type = type, .i = origin}, pos);
    return bind_make(b, PLAN_BUCKET, type, pos, (struct plan_expr *[]){x, w, o}, 3, NULL);
}

static struct plan_expr *month_bucket(struct binder *b, struct plan_expr *x, int64_t months,
                                      int64_t pos)
{
    return bind_make2(b, PLAN_MONTH_BUCKET, PST_TIMESTAMP, pos, x, bind_long(b, months, pos));
}

#define MONDAY (2 * PST_DAY_NS) /* 2000-01-03: weeks start there, all shorter widths fit it */

/* x in pieces of ns (or months), on the clock of a zone if there is one. */
static struct plan_expr *bucket_stamp(struct binder *b, struct plan_expr *x, int64_t ns,
                                      int64_t months, int64_t origin, const struct tzone *zone,
                                      int64_t pos)
{
    if (zone) {
        x = zoned(b, PLAN_TO_LOCAL, x, zone, pos);
    }
    if (x) {
        x = months ? month_bucket(b, x, months, pos) : bucket(b, x, ns, origin, pos);
    }
    return zone ? zoned(b, PLAN_TO_UTC, x, zone, pos) : x;
}

/* The first argument of time_bucket and xbar. */
static struct plan_expr *width_of(struct binder *b, struct call *c)
{
    struct plan_expr *w = c->arg[0];
    int64_t ns, months;
    if (w->type == BIND_UNTYPED && !w->is_null) {
        struct plan_text t = w->value.text;
        if (literal_interval(t.p, t.len, &ns, &months) && months && !ns) {
            return bind_const(b, &(struct scalar){.type = BIND_MONTHS, .i = months}, w->pos);
        }
        w = bind_coerce(b, w, PST_TIMESPAN, c->name);
    } else if (bind_is_offset(w->type)) {
        w = bind_coerce(b, w, PST_TIMESPAN, c->name);
    }
    if (!w) {
        return NULL;
    }
    bool fine = w->op == PLAN_CONST && !w->is_null &&
                (w->type == PST_TIMESPAN || w->type == BIND_MONTHS || bind_is_number(w->type)) &&
                (is_float(w->type) ? w->value.f > 0 : w->value.i > 0);
    if (!fine) {
        return bind_error(b, QUERY_TYPE, w->pos,
                          "%s wants a constant width above 0: %s(interval '5 minutes', time)",
                          c->name, c->name);
    }
    return w;
}

static struct plan_expr *bucket_number(struct binder *b, struct call *c, struct plan_expr *w,
                                       struct plan_expr *x)
{
    if (c->n > 2) {
        return bind_error(b, QUERY_TYPE, c->arg[2]->pos,
                          "an origin or zone is for timestamps only");
    }
    if (bind_is_integer(w->type) && bind_is_integer(x->type)) {
        return bucket(b, bind_cast(b, x, PST_LONG, c->pos), w->value.i, 0, c->pos);
    }
    w = bind_cast(b, w, PST_FLOAT, c->pos);
    x = bind_cast(b, x, PST_FLOAT, c->pos);
    struct plan_expr *q = w && x ? bind_make2(b, PLAN_DIV, PST_FLOAT, c->pos, x, w) : NULL;
    q = q ? bind_make1(b, PLAN_FLOOR, PST_FLOAT, c->pos, q) : NULL;
    return q ? bind_make2(b, PLAN_MUL, PST_FLOAT, c->pos, q, w) : NULL;
}

/* time_bucket(width, x [, origin] [, zone]); xbar is kdb+'s name for it. */
static struct plan_expr *f_bucket(struct binder *b, struct call *c, unsigned op)
{
    (void)op;
    struct plan_expr *w = width_of(b, c), *x = c->arg[1];
    if (!w) {
        return NULL;
    }
    if (bind_is_number(w->type)) {
        x = x->type == BIND_UNTYPED ? bind_coerce(b, x, PST_FLOAT, c->name) : x;
        if (x && !bind_is_number(x->type)) {
            return bind_error(b, QUERY_TYPE, w->pos,
                              "the width is a number, but %s is a %s; write interval "
                              "'5 minutes'",
                              "the second argument", bind_type_name(x->type));
        }
        return x ? bucket_number(b, c, w, x) : NULL;
    }
    int64_t months = w->type == BIND_MONTHS ? w->value.i : 0, ns = months ? 0 : w->value.i;
    bool date = x->type == PST_DATE;
    if (bind_is_offset(x->type)) {
        if (months || c->n > 2) {
            return bind_error(b, QUERY_TYPE, c->pos,
                              "months, origins and zones are for timestamps only");
        }
        return bucket(b, bind_cast(b, x, PST_TIMESPAN, c->pos), ns, 0, c->pos);
    }
    int64_t origin = MONDAY;
    const struct tzone *zone = NULL;
    for (unsigned i = 2; i < c->n; i++) {
        struct plan_expr *o = c->arg[i];
        struct plan_text t = o->value.text;
        bool text = o->op == PLAN_CONST && !o->is_null &&
                    (o->type == BIND_UNTYPED || bind_is_text(o->type));
        if (text && t.len && (t.p[0] < '0' || t.p[0] > '9')) {
            char name[128];
            if (!const_text(b, c, i, name, sizeof name, "the zone") ||
                !(zone = bind_zone(b, name, o->pos))) {
                return NULL;
            }
            continue;
        }
        o = bind_coerce(b, o, PST_TIMESTAMP, "the origin of time_bucket");
        if (!o) {
            return NULL;
        }
        if (o->op != PLAN_CONST || o->is_null || months) {
            return bind_error(b, QUERY_TYPE, o->pos,
                              months ? "a width of months has no origin"
                                     : "the origin must be a constant timestamp");
        }
        origin = o->value.i;
    }
    x = to_stamp(b, x, c->name);
    x = x ? bucket_stamp(b, x, ns, months, origin, zone, c->pos) : NULL;
    return x && date && (months || ns % PST_DAY_NS == 0) && !zone
               ? bind_cast(b, x, PST_DATE, c->pos)
               : x;
}

static struct plan_expr *f_trunc_date(struct binder *b, struct call *c, unsigned op)
{
    (void)op;
    char unit[64], one[80], zone_name[128];
    int64_t ns, months;
    const struct tzone *zone = NULL;
    if (!const_text(b, c, 0, unit, sizeof unit, "its unit")) {
        return NULL;
    }
    snprintf(one, sizeof one, "1 %s", unit);
    if (!strcasecmp(unit, "decade") || !strcasecmp(unit, "century") ||
        !literal_interval(one, strlen(one), &ns, &months)) {
        return bind_error(
            b, QUERY_NAME, c->arg[0]->pos,
            "date_trunc knows microsecond, millisecond, second, minute, hour, day, week, "
            "month, quarter and year, not '%s'",
            unit);
    }
    struct plan_expr *x = c->arg[1];
    if (bind_is_offset(x->type) && !months) {
        return bucket(b, bind_cast(b, x, PST_TIMESPAN, c->pos), ns, 0, c->pos);
    }
    x = to_stamp(b, x, c->name);
    if (x && c->n == 3 &&
        (!const_text(b, c, 2, zone_name, sizeof zone_name, "the zone") ||
         !(zone = bind_zone(b, zone_name, c->pos)))) {
        return NULL;
    }
    return x ? bucket_stamp(b, x, ns, months, MONDAY, zone, c->pos) : NULL;
}

static struct plan_expr *f_extract(struct binder *b, struct call *c, unsigned op)
{
    static const struct {
        const char *name;
        uint8_t field;
    } fields[] = {{"year", PLAN_YEAR},
                  {"quarter", PLAN_QUARTER},
                  {"month", PLAN_MONTH},
                  {"week", PLAN_WEEK},
                  {"isoyear", PLAN_ISOYEAR},
                  {"day", PLAN_DAY},
                  {"dow", PLAN_DOW},
                  {"isodow", PLAN_ISODOW},
                  {"doy", PLAN_DOY},
                  {"hour", PLAN_HOUR},
                  {"minute", PLAN_MINUTE},
                  {"second", PLAN_SECOND},
                  {"millisecond", PLAN_MILLISECOND},
                  {"milliseconds", PLAN_MILLISECOND},
                  {"microsecond", PLAN_MICROSECOND},
                  {"microseconds", PLAN_MICROSECOND},
                  {"nanosecond", PLAN_NANOSECOND},
                  {"nanoseconds", PLAN_NANOSECOND},
                  {"epoch", PLAN_EPOCH}};
    char name[64];
    const char *names[PST_COUNT(fields)];
    int field = -1;
    if (!const_text(b, c, 0, name, sizeof name, "its field")) {
        return NULL;
    }
    for (unsigned i = 0; i < PST_COUNT(fields); i++) {
        names[i] = fields[i].name;
        field = strcasecmp(name, fields[i].name) ? field : fields[i].field;
    }
    if (field < 0) {
        const char *near = query_nearest(name, names, PST_COUNT(names));
        return bind_error(b, QUERY_NAME, c->arg[0]->pos, "extract has no field '%s'%s%s%s", name,
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    struct plan_expr *x = c->arg[1];
    bool offset = bind_is_offset(x->type);
    if (offset && field < PLAN_HOUR) {
        return bind_error(b, QUERY_TYPE, c->pos, "a %s has no %s", type_name(x->type), name);
    }
    x = offset ? bind_coerce(b, x, PST_TIMESPAN, c->name) : to_stamp(b, x, "extract");
    bool real = field == PLAN_SECOND || field == PLAN_MILLISECOND || field == PLAN_MICROSECOND ||
                field == PLAN_EPOCH;
    struct plan_expr like = {.field = (uint8_t)field};
    return x ? bind_make(b, op, real ? PST_FLOAT : PST_LONG, c->pos, &x, 1, &like) : NULL;
}

/* ---- the table ---- */

static const struct function {
    const char *name;
    uint8_t min, max, op;
    struct plan_expr *(*make)(struct binder *b, struct call *c, unsigned op);
} functions[] = {
    {"abs", 1, 1, PLAN_ABS, f_abs},
    {"floor", 1, 1, PLAN_FLOOR, f_round},
    {"ceil", 1, 1, PLAN_CEIL, f_round},
    {"ceiling", 1, 1, PLAN_CEIL, f_round},
    {"round", 1, 2, PLAN_ROUND, f_round},
    {"trunc", 1, 1, PLAN_TRUNC, f_round},
    {"sqrt", 1, 1, PLAN_SQRT, f_float},
    {"exp", 1, 1, PLAN_EXP, f_float},
    {"ln", 1, 1, PLAN_LN, f_float},
    {"log", 1, 1, PLAN_LOG10, f_float},
    {"log10", 1, 1, PLAN_LOG10, f_float},
    {"power", 2, 2, PLAN_POWER, f_float},
    {"pow", 2, 2, PLAN_POWER, f_float},
    {"sign", 1, 1, PLAN_SIGN, f_float},
    {"mod", 2, 2, PLAN_MOD, f_mod},
    {"length", 1, 1, PLAN_LENGTH, f_text},
    {"char_length", 1, 1, PLAN_LENGTH, f_text},
    {"lower", 1, 1, PLAN_LOWER, f_text},
    {"upper", 1, 1, PLAN_UPPER, f_text},
    {"btrim", 1, 1, PLAN_TRIM, f_text},
    {"position", 2, 2, PLAN_POSITION, f_text},
    {"strpos", 2, 2, PLAN_POSITION, f_text},
    {"substr", 2, 3, PLAN_SUBSTR, f_substr},
    {"substring", 2, 3, PLAN_SUBSTR, f_substr},
    {"now", 0, 0, 0, f_now},
    {"time_bucket", 2, 4, 0, f_bucket},
    {"xbar", 2, 4, 0, f_bucket},
    {"date_trunc", 2, 3, 0, f_trunc_date},
    {"date_part", 2, 2, PLAN_EXTRACT, f_extract},
    {"extract", 2, 2, PLAN_EXTRACT, f_extract},
    {"timezone", 2, 2, PLAN_TO_LOCAL, f_zone},
    {"utc_time", 2, 2, PLAN_TO_UTC, f_zone},
};

static const struct aggregate {
    const char *name;
    uint8_t kind, args;
} aggregates[] = {
    {"count", PLAN_AGG_COUNT, 1},
    {"sum", PLAN_AGG_SUM, 1},
    {"avg", PLAN_AGG_AVG, 1},
    {"mean", PLAN_AGG_AVG, 1},
    {"min", PLAN_AGG_MIN, 1},
    {"max", PLAN_AGG_MAX, 1},
    {"first", PLAN_AGG_FIRST, 1},
    {"any_value", PLAN_AGG_FIRST, 1},
    {"last", PLAN_AGG_LAST, 1},
    {"stddev", PLAN_AGG_STDDEV_SAMP, 1},
    {"stddev_samp", PLAN_AGG_STDDEV_SAMP, 1},
    {"stddev_pop", PLAN_AGG_STDDEV_POP, 1},
    {"variance", PLAN_AGG_VAR_SAMP, 1},
    {"var_samp", PLAN_AGG_VAR_SAMP, 1},
    {"var_pop", PLAN_AGG_VAR_POP, 1},
    {"median", PLAN_AGG_QUANTILE, 1},
    {"quantile", PLAN_AGG_QUANTILE, 2},
    {"quantile_cont", PLAN_AGG_QUANTILE, 2},
    {"percentile_cont", PLAN_AGG_QUANTILE, 2},
    {"wavg", PLAN_AGG_WAVG, 2},
    {"vwap", PLAN_AGG_WAVG, 2},
};

/* ---- aggregates ---- */

/* The argument in the type that the aggregate works on. */
static struct plan_expr *agg_arg(struct binder *b, struct call *c, unsigned kind, unsigned i)
{
    struct plan_expr *x = bind_settle(b, c->arg[i]);
    if (!x) {
        return NULL;
    }
    uint8_t t = x->type;
    bool number = bind_is_number(t) || t == PST_BOOLEAN;
    bool ok = true;
    switch (kind) {
    case PLAN_AGG_COUNT:
    case PLAN_AGG_COUNT_DISTINCT:
        return x;
    case PLAN_AGG_SUM:
    case PLAN_AGG_AVG:
        ok = number || bind_is_offset(t);
        t = is_float(t) ? PST_FLOAT : number ? PST_LONG : PST_TIMESPAN;
        break;
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX:
        ok = t != PST_BOOLEAN && t != PST_GUID;
        t = t == PST_BYTE ? PST_SHORT : t;
        break;
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST:
        t = t == PST_BYTE ? PST_SHORT : t;
        break;
    case PLAN_AGG_QUANTILE:
        ok = bind_is_number(t) || t == PST_TIMESTAMP || bind_is_offset(t);
        t = bind_is_number(t) ? PST_FLOAT : t == PST_TIMESTAMP ? t : PST_TIMESPAN;
        break;
    default:
        ok = bind_is_number(t);
        t = PST_FLOAT;
        break;
    }
    if (!ok) {
        return bind_error(b, QUERY_TYPE, x->pos, "there is no %s of a %s", c->name,
                          type_name(x->type));
    }
    return bind_cast(b, x, t, x->pos);
}

static bool agg_place(struct binder *b, struct call *c)
{
    static const char *const why[] = {
        [BIND_WHERE] = "WHERE looks at single rows; write HAVING, or FILTER (WHERE ...)",
        [BIND_GROUP] = "a group key cannot hold an aggregate",
        [BIND_LIMIT] = "LIMIT and OFFSET want constants",
        [BIND_ARGUMENT] = "an argument of a named query is a constant",
    };
    if (b->in_aggregate) {
        return query_error_set(b->e, QUERY_TYPE, c->pos, "%s stands inside another aggregate",
                               c->name);
    }
    if (b->view) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, c->pos,
                               "view %s: a view selects rows and cannot aggregate", b->view->name);
    }
    if (b->where < PST_COUNT(why) && why[b->where]) {
        return query_error_set(b->e, QUERY_TYPE, c->pos, "%s: %s", c->name, why[b->where]);
    }
    return true;
}

static bool agg_param(struct binder *b, struct plan_expr *x, const char *name, double *out)
{
    x = x ? bind_coerce(b, x, PST_FLOAT, name) : NULL;
    if (!x) {
        return false;
    }
    if (x->op != PLAN_CONST || x->is_null || !(x->value.f >= 0 && x->value.f <= 1)) {
        return query_error_set(b->e, QUERY_TYPE, x->pos,
                               "%s wants its fraction as a constant, 0 to 1", name);
    }
    *out = x->value.f;
    return true;
}

/* Its number among the plan's aggregates: an equal one is the same one. -1: no room. */
static int agg_number(struct binder *b, const struct plan_agg *g)
{
    struct plan *p = b->plan;
    for (unsigned i = 0; i < p->naggs; i++) {
        const struct plan_agg *o = &p->agg[i];
        if (o->kind == g->kind && o->arg[0] == g->arg[0] && o->arg[1] == g->arg[1] &&
            o->filter == g->filter && o->param == g->param) {
            return (int)i;
        }
    }
    if (p->naggs == PLAN_AGGS_MAX) {
        query_error_set(b->e, QUERY_UNSUPPORTED, g->pos, "more than %u aggregates", PLAN_AGGS_MAX);
        return -1;
    }
    if (p->naggs == b->agg_room) {
        unsigned room = b->agg_room ? b->agg_room * 2 : 16;
        struct plan_agg *agg = arena_alloc(b->a, room * sizeof *agg);
        if (b->a->failed) {
            return -1;
        }
        if (p->naggs) {
            memcpy(agg, p->agg, p->naggs * sizeof *agg);
        }
        p->agg = agg;
        b->agg_room = room;
    }
    p->agg[p->naggs] = *g;
    return (int)p->naggs++;
}

static struct plan_expr *aggregate(struct binder *b, struct call *c, const struct aggregate *a)
{
    const PgQuery__FuncCall *f = c->tree;
    struct plan_agg g = {.kind = a->kind, .pos = c->pos < 0 ? 0 : (uint32_t)c->pos};
    if (!agg_place(b, c)) {
        return NULL;
    }
    bool within = f->agg_within_group && !strcmp(c->name, "percentile_cont") &&
                  f->n_agg_order == 1 &&
                  f->agg_order[0]->node_case == PG_QUERY__NODE__NODE_SORT_BY && f->n_args == 1;
    if ((f->n_agg_order || f->agg_within_group) && !within) {
        return bind_error(
            b, QUERY_UNSUPPORTED, c->pos, "ORDER BY in %s is not supported%s", c->name,
            a->kind == PLAN_AGG_FIRST || a->kind == PLAN_AGG_LAST ? "; first and last go by time"
                                                                  : "");
    }
    b->in_aggregate = true;
    if (within) {
        c->n = 2;
        c->arg[0] = bind_expr(b, f->agg_order[0]->sort_by->node);
        c->arg[1] = c->arg[0] ? bind_expr(b, f->args[0]) : NULL;
    } else if (f->agg_star) {
        c->n = 0;
    } else {
        for (unsigned i = 0; i < c->n; i++) {
            c->arg[i] = bind_expr(b, f->args[i]);
            if (!c->arg[i]) {
                break;
            }
        }
    }
    b->in_aggregate = false;
    for (unsigned i = 0; i < c->n; i++) {
        if (!c->arg[i]) {
            return NULL;
        }
    }
    if (f->agg_star && a->kind != PLAN_AGG_COUNT) {
        return bind_error(b, QUERY_TYPE, c->pos, "%s wants a column, not *", c->name);
    }
    if (!f->agg_star && c->n != a->args) {
        return bind_error(b, QUERY_TYPE, c->pos, "%s wants %u argument%s%s", c->name, a->args,
                          a->args == 1 ? "" : "s", a->kind == PLAN_AGG_COUNT ? ", or *" : "");
    }
    if (f->agg_star) {
        g.kind = PLAN_AGG_COUNT_STAR;
    } else if (f->agg_distinct && a->kind == PLAN_AGG_COUNT) {
        g.kind = PLAN_AGG_COUNT_DISTINCT;
    } else if (f->agg_distinct && a->kind != PLAN_AGG_MIN && a->kind != PLAN_AGG_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, c->pos, "DISTINCT is for count only, not for %s",
                          c->name);
    }
    if (a->kind == PLAN_AGG_QUANTILE) {
        g.param = 0.5;
        if (c->n == 2 && !agg_param(b, c->arg[1], c->name, &g.param)) {
            return NULL;
        }
        c->n = 1;
    }
    if (!strcmp(c->name, "vwap")) { /* (price, size) */
        struct plan_expr *price = c->arg[0];
        c->arg[0] = c->arg[1];
        c->arg[1] = price;
    }
    g.nargs = (uint8_t)c->n;
    for (unsigned i = 0; i < c->n; i++) {
        g.arg[i] = agg_arg(b, c, g.kind, i);
        if (!g.arg[i]) {
            return NULL;
        }
    }
    if (f->agg_filter) {
        b->in_aggregate = true;
        g.filter = bind_boolean(b, bind_expr(b, f->agg_filter), "FILTER");
        b->in_aggregate = false;
        if (!g.filter) {
            return NULL;
        }
    }
    uint8_t first = g.nargs ? g.arg[0]->type : 0;
    switch (g.kind) {
    case PLAN_AGG_COUNT_STAR:
    case PLAN_AGG_COUNT:
    case PLAN_AGG_COUNT_DISTINCT:
        g.type = PST_LONG;
        break;
    case PLAN_AGG_AVG:
        g.type = first == PST_TIMESPAN ? PST_TIMESPAN : PST_FLOAT;
        break;
    case PLAN_AGG_SUM:
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX:
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST:
    case PLAN_AGG_QUANTILE:
        g.type = first;
        break;
    default:
        g.type = PST_FLOAT;
        break;
    }
    int n = agg_number(b, &g);
    return n < 0 ? NULL : bind_leaf(b, PLAN_AGG, g.type, 0, (unsigned)n, c->pos);
}

/* ---- calls ---- */

static struct plan_expr *unknown_function(struct binder *b, const struct call *c)
{
    static const struct {
        const char *name, *instead;
    } known[] = {{"concat", "use a || b"},
                 {"row_number", "window functions are not supported"},
                 {"rank", "window functions are not supported"},
                 {"lag", "window functions are not supported"},
                 {"lead", "window functions are not supported"},
                 {"first_value", "use first(x)"},
                 {"last_value", "use last(x)"},
                 {"string_agg", "it is not supported"},
                 {"array_agg", "it is not supported"},
                 {"mode", "it is not supported"},
                 {"percentile_disc", "use quantile(x, p)"},
                 {"to_char", "cast to text: x::text"},
                 {"to_timestamp", "cast the text: x::timestamp"},
                 {"to_date", "cast the text: x::date"},
                 {"date_diff", "subtract: a - b is a timespan"},
                 {"datediff", "subtract: a - b is a timespan"},
                 {"random", "it is not supported"},
                 {"generate_series", "it is not supported"}};
    const char *names[PST_COUNT(functions) + PST_COUNT(aggregates)];
    unsigned n = 0;
    for (unsigned i = 0; i < PST_COUNT(known); i++) {
        if (!strcmp(c->name, known[i].name)) {
            return bind_error(b, QUERY_UNSUPPORTED, c->pos, "there is no function %s; %s", c->name,
                              known[i].instead);
        }
    }
    for (unsigned i = 0; i < PST_COUNT(functions); i++) {
        names[n++] = functions[i].name;
    }
    for (unsigned i = 0; i < PST_COUNT(aggregates); i++) {
        names[n++] = aggregates[i].name;
    }
    if (b->env->functions.find && b->env->functions.find(b->env->functions.ctx, c->name)) {
        return bind_error(b, QUERY_UNSUPPORTED, c->pos,
                          "%.60s is a named query: it stands in FROM, SELECT * FROM %.60s(...)",
                          c->name, c->name);
    }
    const char *near = query_nearest(c->name, names, n);
    return bind_error(b, QUERY_NAME, c->pos, "there is no function %.60s%s%s%s", c->name,
                      near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

struct plan_expr *bind_function(struct binder *b, const PgQuery__FuncCall *f)
{
    struct call c = {.tree = f, .pos = bind_pos(b, f->location), .n = (unsigned)f->n_args};
    const char *schema = f->n_funcname > 1 ? bind_string(f->funcname[0]) : NULL;
    c.name = f->n_funcname ? bind_string(f->funcname[f->n_funcname - 1]) : NULL;
    if (!c.name || f->n_funcname > 2 || (schema && strcmp(schema, "pg_catalog") != 0)) {
        return bind_error(b, QUERY_UNSUPPORTED, c.pos, "functions have no schema here");
    }
    if (f->over) {
        return bind_error(b, QUERY_UNSUPPORTED, c.pos,
                          "window functions (OVER) are not supported; group by time_bucket, or use "
                          "LATEST BY");
    }
    if (f->func_variadic) {
        return bind_error(b, QUERY_UNSUPPORTED, c.pos, "VARIADIC is not supported");
    }
    for (unsigned i = 0; i < PST_COUNT(aggregates); i++) {
        if (!strcmp(c.name, aggregates[i].name)) {
            if (c.n > 2) {
                return bind_error(b, QUERY_TYPE, c.pos, "%s has too many arguments", c.name);
            }
            return aggregate(b, &c, &aggregates[i]);
        }
    }
    const struct function *fn = NULL;
    for (unsigned i = 0; i < PST_COUNT(functions); i++) {
        fn = strcmp(c.name, functions[i].name) ? fn : &functions[i];
    }
    uint8_t type = fn ? 0 : literal_type(c.name); /* date(x): a cast */
    if (!fn && (!type || c.n != 1)) {
        return unknown_function(b, &c);
    }
    if (f->agg_star || f->agg_distinct || f->agg_filter || f->n_agg_order || f->agg_within_group) {
        return bind_error(b, QUERY_TYPE, c.pos, "%s is no aggregate", c.name);
    }
    if (fn && (c.n < fn->min || c.n > fn->max)) {
        return bind_error(b, QUERY_TYPE, c.pos, "%s wants %u%s argument%s, not %u", c.name, fn->min,
                          fn->max > fn->min ? " or more" : "", fn->max == 1 ? "" : "s", c.n);
    }
    for (unsigned i = 0; i < c.n; i++) {
        c.arg[i] = bind_expr(b, f->args[i]);
        if (!c.arg[i]) {
            return NULL;
        }
    }
    return fn ? fn->make(b, &c, fn->op) : bind_cast(b, c.arg[0], type, c.pos);
}
