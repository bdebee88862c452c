/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in words: EXPLAIN, and the tests of the binder. */
#include <ctype.h>
#include "core/civil.h"
#include "core/schema.h"
#include "bind.h"

void text_put(struct text_out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || o->failed) {
        return;
    }
    if (o->len + (size_t)n + 1 > o->room) {
        size_t room = (o->len + (size_t)n + 1) * 2;
        char *p = realloc(o->p, room);
        if (!p) {
            o->failed = true;
            return;
        }
        o->p = p;
        o->room = room;
    }
    va_start(ap, fmt);
    vsnprintf(o->p + o->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    o->len += (size_t)n;
}

static void put_lower(struct text_out *o, const char *name)
{
    char buf[64];
    size_t i = 0;
    for (; name[i] && i < sizeof buf - 1; i++) {
        buf[i] = (char)tolower((unsigned char)name[i]);
    }
    buf[i] = 0;
    text_put(o, "%s", buf);
}

static void put_const(struct text_out *o, const struct plan_expr *x)
{
    char buf[LITERAL_TEXT];
    struct scalar v = bind_value(x);
    if (v.null) {
        text_put(o, "NULL");
    } else if (x->type == PST_SYMBOL) {
        text_put(o, "`%.*s", (int)v.text.len, v.text.p);
    } else if (x->type == PST_STRING || x->type == BIND_UNTYPED) {
        text_put(o, "'%.*s'", (int)v.text.len, v.text.p);
    } else if (x->type == PST_CHAR) {
        text_put(o, "'%c'", (int)v.i);
    } else {
        literal_text(&v, buf);
        text_put(o, "%s", buf);
    }
}

static const char *infix(unsigned op)
{
    switch (op) {
    case PLAN_ADD:
        return "+";
    case PLAN_SUB:
        return "-";
    case PLAN_MUL:
        return "*";
    case PLAN_DIV:
        return "/";
    case PLAN_MOD:
        return "%";
    case PLAN_EQ:
        return "=";
    case PLAN_NE:
        return "<>";
    case PLAN_LT:
        return "<";
    case PLAN_LE:
        return "<=";
    case PLAN_GT:
        return ">";
    case PLAN_GE:
        return ">=";
    case PLAN_AND:
        return "AND";
    case PLAN_OR:
        return "OR";
    case PLAN_DISTINCT_FROM:
        return "IS DISTINCT FROM";
    case PLAN_CONCAT:
        return "||";
    default:
        return NULL;
    }
}

static const char *const field_names[PLAN_FIELD_COUNT] = {
    "year", "quarter", "month",  "week",   "isoyear",     "day",         "dow",        "isodow",
    "doy",  "hour",    "minute", "second", "millisecond", "microsecond", "nanosecond", "epoch"};

static void put_args(struct text_out *o, const struct plan *p, const struct plan_expr *x,
                     unsigned from)
{
    for (unsigned i = from; i < x->nargs; i++) {
        if (i - from == 10 && x->nargs > 14) {
            text_put(o, ", ... %u more", x->nargs - i);
            return;
        }
        text_put(o, "%s", i > from ? ", " : "");
        plan_text_expr(o, p, x->arg[i]);
    }
}

static void put_agg(struct text_out *o, const struct plan *p, unsigned i)
{
    const struct plan_agg *g = &p->agg[i];
    if (g->kind == PLAN_AGG_COUNT_STAR) {
        text_put(o, "count(*)");
    } else {
        put_lower(o, plan_agg_name(g->kind));
        text_put(o, "(");
        for (unsigned k = 0; k < g->nargs; k++) {
            text_put(o, "%s", k ? ", " : "");
            plan_text_expr(o, p, g->arg[k]);
        }
        if (g->kind == PLAN_AGG_QUANTILE) {
            text_put(o, ", %g", g->param);
        }
        text_put(o, ")");
    }
    if (g->filter) {
        text_put(o, " FILTER (");
        plan_text_expr(o, p, g->filter);
        text_put(o, ")");
    }
}

void plan_text_expr(struct text_out *o, const struct plan *p, const struct plan_expr *x)
{
    if (o->len > 1u << 20) { /* shared nodes can make a text that is longer than any plan */
        return;
    }
    switch (x->op) {
    case PLAN_CONST:
        put_const(o, x);
        return;
    case PLAN_COLUMN:
        if (p->nscans == 2) {
            text_put(o, "%s.", p->scan[x->side].alias);
        }
        text_put(o, "%s", p->scan[x->side].table->cols[x->column].name);
        return;
    case PLAN_KEY:
        plan_text_expr(o, p, p->key[x->column]);
        return;
    case PLAN_AGG:
        put_agg(o, p, x->column);
        return;
    case PLAN_CAST:
        plan_text_expr(o, p, x->arg[0]);
        text_put(o, "::%s", bind_type_name(x->type));
        return;
    case PLAN_NEG:
        text_put(o, "-");
        plan_text_expr(o, p, x->arg[0]);
        return;
    case PLAN_NOT:
        text_put(o, "NOT ");
        plan_text_expr(o, p, x->arg[0]);
        return;
    case PLAN_IS_NULL:
    case PLAN_IS_TRUE:
    case PLAN_IS_FALSE:
        text_put(o, "(");
        plan_text_expr(o, p, x->arg[0]);
        text_put(o, " IS %s)",
                 x->op == PLAN_IS_NULL   ? "NULL"
                 : x->op == PLAN_IS_TRUE ? "TRUE"
                                         : "FALSE");
        return;
    case PLAN_IN:
    case PLAN_LIKE:
    case PLAN_ILIKE:
        text_put(o, "(");
        plan_text_expr(o, p, x->arg[0]);
        text_put(o, " %s %s", plan_op_name(x->op), x->op == PLAN_IN ? "(" : "");
        if (x->op == PLAN_IN) {
            put_args(o, p, x, 1);
        } else {
            plan_text_expr(o, p, x->arg[1]);
        }
        text_put(o, "%s", x->op == PLAN_IN ? "))" : ")");
        return;
    case PLAN_CASE:
        text_put(o, "CASE");
        for (unsigned i = 0; i + 1 < x->nargs; i += 2) {
            text_put(o, " WHEN ");
            plan_text_expr(o, p, x->arg[i]);
            text_put(o, " THEN ");
            plan_text_expr(o, p, x->arg[i + 1]);
        }
        text_put(o, " ELSE ");
        plan_text_expr(o, p, x->arg[x->nargs - 1]);
        text_put(o, " END");
        return;
    case PLAN_EXTRACT:
        text_put(o, "extract(%s from ", field_names[x->field % PLAN_FIELD_COUNT]);
        plan_text_expr(o, p, x->arg[0]);
        text_put(o, ")");
        return;
    default:
        break;
    }
    const char *sign = infix(x->op);
    if (sign) {
        text_put(o, "(");
        for (unsigned i = 0; i < x->nargs; i++) {
            if (i) {
                text_put(o, " %s ", sign);
            }
            plan_text_expr(o, p, x->arg[i]);
        }
        text_put(o, ")");
        return;
    }
    put_lower(o, plan_op_name(x->op));
    text_put(o, "(");
    put_args(o, p, x, 0);
    if (x->zone) {
        text_put(o, ", '%s'", tzone_name(x->zone));
    }
    text_put(o, ")");
}

/* ---- EXPLAIN ---- */

static void put_count(struct text_out *o, uint64_t n) /* 1,234,567 */
{
    char raw[32];
    int len = snprintf(raw, sizeof raw, "%llu", (unsigned long long)n);
    for (int i = 0; i < len; i++) {
        text_put(o, "%s%c", i && (len - i) % 3 == 0 ? "," : "", raw[i]);
    }
}

static void put_bounds(struct text_out *o, const struct plan_scan *s)
{
    const struct plan_bounds *b = &s->bounds;
    char lo[CIVIL_STAMP_TEXT], hi[CIVIL_STAMP_TEXT];
    if (b->day_lo > b->day_hi) {
        text_put(o, ", no date");
    } else if (b->days) {
        text_put(o, ", %u date%s of %s ... ", b->ndays, b->ndays == 1 ? "" : "s",
                 civil_format(b->day_lo, lo));
        text_put(o, "%s", civil_format(b->day_hi, hi));
    } else if (b->day_lo != INT32_MIN && b->day_hi == b->day_lo) {
        text_put(o, ", date %s", civil_format(b->day_lo, lo));
    } else if (b->day_lo != INT32_MIN || b->day_hi != INT32_MAX) {
        text_put(o, ", date %s ... %s", b->day_lo == INT32_MIN ? "" : civil_format(b->day_lo, lo),
                 b->day_hi == INT32_MAX ? "" : civil_format(b->day_hi, hi));
    } else {
        text_put(o, ", all dates");
    }
    if (b->has_syms) {
        text_put(o, ", sym ");
        for (uint32_t i = 0; i < b->nsyms && i < 5; i++) {
            text_put(o, "`%.*s", (int)b->syms[i].len, b->syms[i].p);
        }
        if (b->nsyms > 5) {
            text_put(o, " and %u more", b->nsyms - 5);
        } else if (!b->nsyms) {
            text_put(o, "none");
        }
    }
    if (b->time_bound) {
        text_put(o, ", time %s ... %s",
                 b->time_lo == INT64_MIN ? "" : civil_format_stamp(b->time_lo, lo),
                 b->time_hi == INT64_MAX ? "" : civil_format_stamp(b->time_hi, hi));
    }
}

static void put_scan(struct text_out *o, const struct plan *p, unsigned side, bool facts)
{
    const struct plan_scan *s = &p->scan[side];
    const struct plan_scan_facts *f = &p->facts.scan[side];
    text_put(o, "scan %s", s->table->name);
    if (strcmp(s->alias, s->table->name) != 0) {
        text_put(o, " as %s", s->alias);
    }
    put_bounds(o, s);
    text_put(o, "\n");
    for (uint32_t i = 0; i < s->nwhere; i++) {
        if (s->where[i].covered == PLAN_COVER_NONE && s->where[i].expr->op != PLAN_CONST) {
            text_put(o, "  filter ");
            plan_text_expr(o, p, s->where[i].expr);
            text_put(o, "\n");
        }
    }
    text_put(o, "  read");
    for (unsigned i = 0; i < s->ncolumns; i++) {
        text_put(o, " %s", s->table->cols[s->columns[i]].name);
    }
    text_put(o, "%s\n", s->ncolumns ? "" : " no column");
    if (!facts) {
        return;
    }
    text_put(o, "  partitions ");
    put_count(o, f->partitions);
    text_put(o, ", pruned ");
    put_count(o, f->partitions_pruned);
    text_put(o, "; chunks ");
    put_count(o, f->chunks);
    text_put(o, ", pruned ");
    put_count(o, f->chunks_pruned);
    if (f->row_lists) {
        text_put(o, "; row lists ");
        put_count(o, f->row_lists);
    }
    if (f->parted) {
        text_put(o, "; parted index ");
        put_count(o, f->parted);
    }
    if (p->explain != PLAN_EXPLAIN_ONLY) {
        text_put(o, "; rows ");
        put_count(o, f->rows_known);
        text_put(o, ", read ");
        put_count(o, f->rows_read);
        text_put(o, ", matched ");
        put_count(o, f->rows_matched);
    }
    text_put(o, "\n");
}

static void put_list(struct text_out *o, const struct plan *p, const char *title,
                     struct plan_expr *const *x, uint32_t n)
{
    text_put(o, "%s ", title);
    for (uint32_t i = 0; i < n; i++) {
        text_put(o, "%s", i ? ", " : "");
        plan_text_expr(o, p, x[i]);
    }
    text_put(o, "\n");
}

void plan_text_lines(struct text_out *o, const struct plan *p, bool facts)
{
    if (p->call) {
        text_put(o, "call %s(", p->call->name);
        for (unsigned i = 0; i < p->call->nparams; i++) {
            text_put(o, "%s%s => ", i ? ", " : "", p->call->params[i].name);
            plan_text_expr(o, p, p->call_arg[i]);
        }
        text_put(o, ")\n");
    }
    if (p->empty) {
        text_put(o, "WHERE is never true: no row is read\n");
    }
    for (unsigned s = 0; s < p->nscans; s++) {
        put_scan(o, p, s, facts && !p->empty);
    }
    if (p->nscans == 2) {
        text_put(o, "asof join on date");
        for (uint32_t i = 0; i < p->asof.nkeys; i++) {
            text_put(o, ", %s", p->scan[0].table->cols[p->asof.left_key[i]].name);
        }
        text_put(o, ", time\n");
    }
    for (uint32_t i = 0; i < p->nwhere; i++) {
        put_list(o, p, "  filter", &p->where[i].expr, 1);
    }
    if (p->nlatest) {
        put_list(o, p, "latest by", p->latest, p->nlatest);
    }
    if (p->grouped && p->nkeys) {
        put_list(o, p, "group by", p->key, p->nkeys);
    } else if (p->grouped) {
        text_put(o, "group all rows\n");
    }
    if (p->naggs) {
        text_put(o, "aggregate ");
        for (uint32_t i = 0; i < p->naggs; i++) {
            text_put(o, "%s", i ? ", " : "");
            put_agg(o, p, i);
        }
        text_put(o, "\n");
    }
    if (p->having) {
        put_list(o, p, "having", &p->having, 1);
    }
    text_put(o, "output ");
    for (uint32_t i = 0; i < p->noutputs - p->nhidden; i++) {
        text_put(o, "%s%s ", i ? ", " : "", p->output[i].name);
        text_put(o, "%s", type_name(p->output[i].expr->type));
    }
    text_put(o, "%s\n", p->distinct ? "; distinct" : "");
    if (p->norder) {
        text_put(o, "order by ");
        for (uint32_t i = 0; i < p->norder; i++) {
            const struct plan_order *d = &p->order[i];
            text_put(o, "%s", i ? ", " : "");
            plan_text_expr(o, p, p->output[d->output].expr);
            text_put(o, "%s%s", d->descending ? " desc" : "",
                     d->nulls_first == d->descending ? ""
                     : d->nulls_first                ? " nulls first"
                                                     : " nulls last");
        }
        text_put(o, "\n");
    }
    if (p->limit != UINT64_MAX || p->offset) {
        text_put(o, "limit ");
        if (p->limit == UINT64_MAX) {
            text_put(o, "none");
        } else {
            put_count(o, p->limit);
        }
        text_put(o, p->offset ? " offset %llu\n" : "\n", (unsigned long long)p->offset);
    }
    if (facts && p->explain != PLAN_EXPLAIN_ONLY) {
        text_put(o, "took %.3f ms, %u thread%s, ", (double)p->facts.elapsed_ns / 1e6,
                 p->facts.threads, p->facts.threads == 1 ? "" : "s");
        put_count(o, p->facts.memory_peak);
        text_put(o, " bytes; ");
        if (p->grouped) {
            put_count(o, p->facts.groups);
            text_put(o, " groups%s%s; ", p->facts.method ? " by " : "",
                     p->facts.method ? p->facts.method : "");
        }
        put_count(o, p->facts.rows);
        text_put(o, " rows\n");
    }
}
