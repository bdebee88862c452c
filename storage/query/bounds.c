/* SPDX-License-Identifier: Apache-2.0 */
/* What the conjuncts of a scan say about date, time and sym. */
#include "core/civil.h"
#include "bind.h"

static const struct plan_expr *column_of(const struct plan_expr *x, int column, unsigned side)
{
    return column >= 0 && x->op == PLAN_COLUMN && x->column == (unsigned)column && x->side == side
               ? x
               : NULL;
}

/* lo <= x <= hi by one comparison with a constant; false: it is no such comparison. */
static bool range_of(const struct plan_expr *c, int64_t min, int64_t max, int64_t *lo, int64_t *hi)
{
    int64_t v = c->arg[1]->value.i;
    *lo = min;
    *hi = max;
    switch (c->op) {
    case PLAN_EQ:
        *lo = *hi = v;
        return true;
    case PLAN_LT:
        *hi = v == min ? min : v - 1;
        *lo = v == min ? max : min; /* nothing is below the smallest */
        return true;
    case PLAN_LE:
        *hi = v;
        return true;
    case PLAN_GT:
        *lo = v == max ? max : v + 1;
        *hi = v == max ? min : max;
        return true;
    case PLAN_GE:
        *lo = v;
        return true;
    default:
        return false;
    }
}

static bool compares_const(const struct plan_expr *c)
{
    return c->nargs == 2 && c->arg[1]->op == PLAN_CONST && !c->arg[1]->is_null &&
           (c->op == PLAN_EQ || (c->op >= PLAN_LT && c->op <= PLAN_GE));
}

static void date_list(struct binder *b, struct plan_bounds *o, const struct plan_expr *c)
{
    int32_t *days = arena_alloc(b->a, c->nargs * sizeof *days);
    uint32_t n = 0;
    if (b->a->failed) {
        return;
    }
    for (unsigned i = 1; i < c->nargs; i++) {
        int32_t day = (int32_t)c->arg[i]->value.i;
        bool keep = !o->days;
        for (uint32_t k = 0; k < o->ndays && !keep; k++) {
            keep = o->days[k] == day;
        }
        if (keep) {
            days[n++] = day; /* the list is sorted */
        }
    }
    o->days = days;
    o->ndays = n;
}

static bool bound_date(struct binder *b, struct plan_bounds *o, const struct plan_expr *c)
{
    int64_t lo, hi;
    if (c->op == PLAN_IN) {
        date_list(b, o, c);
        return true;
    }
    if (!compares_const(c) || !range_of(c, INT32_MIN + 1, INT32_MAX, &lo, &hi)) {
        return false;
    }
    o->day_lo = lo > o->day_lo ? (int32_t)lo : o->day_lo;
    o->day_hi = hi < o->day_hi ? (int32_t)hi : o->day_hi;
    return true;
}

static void clip_time(struct plan_bounds *o, int64_t lo, int64_t hi)
{
    o->time_bound = true;
    if (lo != INT64_MIN + 1) { /* the smallest time there is: open */
        o->time_lo = lo > o->time_lo ? lo : o->time_lo;
    }
    o->time_hi = hi < o->time_hi ? hi : o->time_hi;
}

/* time::date = 2024.01.02 is a range of time. */
static bool bound_day_of_time(struct plan_bounds *o, const struct plan_expr *c)
{
    int64_t lo, hi, from, to;
    if (!compares_const(c) || !range_of(c, INT32_MIN + 1, INT32_MAX, &lo, &hi)) {
        return false;
    }
    if (lo > hi) {
        clip_time(o, INT64_MAX, INT64_MIN + 1);
        return true;
    }
    from =
        __builtin_mul_overflow(lo, PST_DAY_NS, &from) ? (lo < 0 ? INT64_MIN + 1 : INT64_MAX) : from;
    to = __builtin_mul_overflow(hi + 1, PST_DAY_NS, &to) ? (hi < 0 ? INT64_MIN + 1 : INT64_MAX)
                                                         : to - 1;
    clip_time(o, from, to);
    return (lo > -106000 || lo == INT32_MIN + 1) && (hi < 106000 || hi == INT32_MAX);
}

static bool bound_time(struct plan_bounds *o, const struct plan_expr *c)
{
    int64_t lo, hi;
    if (!compares_const(c) || !range_of(c, INT64_MIN + 1, INT64_MAX, &lo, &hi)) {
        return false;
    }
    clip_time(o, lo, hi);
    return true;
}

static bool bound_sym(struct binder *b, struct plan_bounds *o, const struct plan_expr *c)
{
    if (c->op != PLAN_IN && c->op != PLAN_EQ) {
        return false;
    }
    struct plan_text *syms = arena_alloc(b->a, c->nargs * sizeof *syms);
    uint32_t n = 0;
    if (b->a->failed) {
        return false;
    }
    for (unsigned i = 1; i < c->nargs; i++) {
        if (c->arg[i]->op != PLAN_CONST || c->arg[i]->is_null) {
            return false;
        }
        struct plan_text t = c->arg[i]->value.text;
        bool keep = !o->has_syms;
        for (uint32_t k = 0; k < o->nsyms && !keep; k++) {
            keep = o->syms[k].len == t.len && !memcmp(o->syms[k].p, t.p, t.len);
        }
        if (keep) {
            syms[n++] = t; /* IN's list is sorted by text */
        }
    }
    o->has_syms = true;
    o->syms = syms;
    o->nsyms = n;
    return true;
}

void bounds_find(struct binder *b, struct plan_scan *s, unsigned side)
{
    struct plan_bounds *o = &s->bounds;
    *o = (struct plan_bounds){
        .day_lo = INT32_MIN + 1, .day_hi = INT32_MAX, .time_lo = INT64_MIN, .time_hi = INT64_MAX};
    for (uint32_t i = 0; i < s->nwhere; i++) {
        const struct plan_expr *c = s->where[i].expr;
        if (c->nargs < 2) {
            continue;
        }
        const struct plan_expr *x = c->arg[0];
        uint8_t *covered = &s->where[i].covered;
        if (column_of(x, 0, side)) {
            *covered = bound_date(b, o, c) ? PLAN_COVER_DATE : PLAN_COVER_NONE;
        } else if (column_of(x, s->time_column, side)) {
            *covered = bound_time(o, c) ? PLAN_COVER_TIME : PLAN_COVER_NONE;
        } else if (x->op == PLAN_CAST && x->type == PST_DATE &&
                   column_of(x->arg[0], s->time_column, side)) {
            *covered = bound_day_of_time(o, c) ? PLAN_COVER_TIME : PLAN_COVER_NONE;
        } else if (column_of(x, s->sym_column, side)) {
            *covered = bound_sym(b, o, c) ? PLAN_COVER_SYM : PLAN_COVER_NONE;
        }
    }
    if (o->day_lo == INT32_MIN + 1) {
        o->day_lo = INT32_MIN;
    }
    if (o->days) { /* only those within the range */
        uint32_t n = 0;
        int32_t *days = arena_alloc(b->a, (o->ndays + 1) * sizeof *days);
        for (uint32_t i = 0; i < o->ndays && !b->a->failed; i++) {
            if (o->days[i] >= o->day_lo && o->days[i] <= o->day_hi) {
                days[n++] = o->days[i];
            }
        }
        o->days = days;
        o->ndays = n;
        if (n) {
            o->day_lo = days[0];
            o->day_hi = days[n - 1];
        } else {
            o->day_lo = INT32_MAX;
            o->day_hi = INT32_MIN;
        }
    }
}
