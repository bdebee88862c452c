/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: from the parse tree to typed nodes. */
#include <strings.h>
#include "core/civil.h"
#include "core/schema.h"
#include "bind.h"
#include "lex.h"

int64_t bind_pos(const struct binder *b, int64_t location)
{
    if (b->view) {
        return b->view_pos;
    }
    return location < 0 ? -1 : rewrite_position(b->rw, location);
}

int64_t bind_word(const struct binder *b, const char *word)
{
    if (b->view) {
        return b->view_pos;
    }
    struct lex l = {.text = b->q->sql, .len = (uint32_t)b->q->len};
    for (;;) {
        struct lex_token t = lex_next(&l);
        if (t.kind == LEX_END || t.kind == LEX_BROKEN) {
            return -1;
        }
        if (lex_is(&l, &t, word)) {
            return t.at;
        }
    }
}

const char *bind_string(const tree *n)
{
    return n && n->node_case == PG_QUERY__NODE__NODE_STRING ? n->string->sval : NULL;
}

/* ---- names ---- */

unsigned bind_source_columns(const struct bind_source *s)
{
    return s->column ? s->ncolumns : s->table->ncols;
}
const char *bind_source_name(const struct bind_source *s, unsigned i)
{
    return s->column ? s->column_name[i] : s->table->cols[i].name;
}
struct plan_expr *bind_source_column(struct binder *b, const struct bind_source *s, unsigned i,
                                     int64_t pos)
{
    return s->column ? s->column[i]
                     : bind_leaf(b, PLAN_COLUMN, s->table->cols[i].type, s->side, i, pos);
}

/* Exact, else the only one that is equal without case: -1 none, -2 several. */
static int find_name(const struct bind_source *s, const char *name)
{
    int like = -1;
    unsigned n = bind_source_columns(s);
    for (unsigned i = s->hide_date ? 1 : 0; i < n; i++) {
        if (!strcmp(bind_source_name(s, i), name)) {
            return (int)i;
        }
        if (!strcasecmp(bind_source_name(s, i), name)) {
            like = like == -1 ? (int)i : -2;
        }
    }
    return like;
}

static void *unknown_column(struct binder *b, const char *table, const char *name, int64_t pos)
{
    const char *names[512];
    unsigned n = 0;
    for (unsigned s = 0; s < b->nsources; s++) {
        if (table && strcmp(b->source[s].alias, table) != 0) {
            continue;
        }
        for (unsigned i = b->source[s].hide_date ? 1 : 0;
             i < bind_source_columns(&b->source[s]) && n < PST_COUNT(names); i++) {
            names[n++] = bind_source_name(&b->source[s], i);
        }
    }
    const char *near = query_nearest(name, names, n);
    if (b->nsources == 0) {
        return bind_error(b, QUERY_NAME, pos, "there is no column %.60s: the query has no FROM",
                          name);
    }
    return bind_error(b, QUERY_NAME, pos, "there is no column %.60s%s%.60s%s%s%s", name,
                      table || b->nsources == 1 ? " in " : "",
                      table              ? table
                      : b->nsources == 1 ? b->source[0].name
                                         : "",
                      near ? "; did you mean " : "; DESCRIBE lists the columns", near ? near : "",
                      near ? "?" : "");
}

struct plan_expr *bind_column(struct binder *b, const char *table, const char *name, int64_t pos,
                              bool quiet)
{
    int found = -1, in = -1;
    bool known = false;
    for (unsigned s = 0; s < b->nsources; s++) {
        if (table && strcasecmp(b->source[s].alias, table) != 0) {
            continue;
        }
        known = true;
        int i = find_name(&b->source[s], name);
        if (i == -2) {
            return bind_error(b, QUERY_NAME, pos,
                              "several columns differ from %.60s in case only; write it in double "
                              "quotes",
                              name);
        }
        if (i < 0) {
            continue;
        }
        if (found >= 0) {
            for (unsigned u = 0; u < b->using_columns; u++) {
                if (!strcasecmp(b->using_name[u], name)) {
                    return bind_source_column(b, &b->source[0], (unsigned)found, pos);
                }
            }
            return bind_error(b, QUERY_NAME, pos,
                              "%.60s is in both %s and %s; write %s.%.60s or %s.%.60s", name,
                              b->source[0].alias, b->source[1].alias, b->source[0].alias, name,
                              b->source[1].alias, name);
        }
        found = i;
        in = (int)s;
    }
    if (found >= 0) {
        return bind_source_column(b, &b->source[in], (unsigned)found, pos);
    }
    if (quiet) {
        return NULL;
    }
    if (table && !known) {
        const char *names[2] = {b->nsources ? b->source[0].alias : "",
                                b->nsources > 1 ? b->source[1].alias : ""};
        return bind_error(b, QUERY_NAME, pos, "there is no table %.60s in FROM%s%s", table,
                          b->nsources ? "; it has " : "", names[0]);
    }
    return unknown_column(b, table, name, pos);
}

static struct plan_expr *column_ref(struct binder *b, const PgQuery__ColumnRef *c)
{
    int64_t pos = bind_pos(b, c->location);
    if (c->n_fields && c->fields[c->n_fields - 1]->node_case == PG_QUERY__NODE__NODE_A_STAR) {
        return bind_error(b, QUERY_UNSUPPORTED, pos,
                          "* stands alone in the SELECT list or in count(*) only");
    }
    if (c->n_fields > 2) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "names have at most two parts: table.column");
    }
    const char *first = bind_string(c->fields[0]);
    const char *second = c->n_fields == 2 ? bind_string(c->fields[1]) : NULL;
    if (!first || (c->n_fields == 2 && !second)) {
        return bind_error(b, QUERY_SYNTAX, pos, "a column name is expected here");
    }
    bool alias =
        !second && (b->where == BIND_GROUP || b->where == BIND_HAVING || b->where == BIND_ORDER);
    struct plan_expr *x =
        bind_column(b, second ? first : NULL, second ? second : first, pos, alias);
    if (x || !alias || b->e->code) {
        return x;
    }
    for (unsigned i = 0; i < b->nnamed; i++) {
        if (!strcasecmp(b->named[i].name, first)) {
            return b->named[i].expr;
        }
    }
    return unknown_column(b, NULL, first, pos);
}

/* ---- constants ---- */

static struct plan_expr *untyped(struct binder *b, const char *text, size_t len, int64_t pos)
{
    struct scalar v = {.type = BIND_UNTYPED, .null = !text};
    v.text = (struct plan_text){text, (uint32_t)len};
    return bind_const(b, &v, pos);
}

static struct plan_expr *constant(struct binder *b, const PgQuery__AConst *c)
{
    int64_t pos = bind_pos(b, c->location);
    struct scalar v = {.type = PST_LONG};
    if (c->isnull) {
        return untyped(b, NULL, 0, pos);
    }
    switch (c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
        return bind_long(b, c->ival->ival, pos);
    case PG_QUERY__A__CONST__VAL_FVAL: { /* also an integer beyond 32 bits, as text */
        size_t n = strlen(c->fval->fval);
        if (literal_parse(PST_LONG, c->fval->fval, n, &v) ||
            literal_parse(PST_FLOAT, c->fval->fval, n, &v)) {
            return bind_const(b, &v, pos);
        }
        return bind_error(b, QUERY_SYNTAX, pos, "this is no number");
    }
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
        v = (struct scalar){.type = PST_BOOLEAN, .i = c->boolval->boolval != 0};
        return bind_const(b, &v, pos);
    case PG_QUERY__A__CONST__VAL_SVAL:
        return untyped(b, c->sval->sval, strlen(c->sval->sval), pos);
    case PG_QUERY__A__CONST__VAL__NOT_SET:
        return bind_long(b, 0, pos); /* an empty message is what protobuf makes of 0 */
    default:
        return bind_error(b, QUERY_UNSUPPORTED, pos,
                          "bit strings are not supported; write a number");
    }
}

struct plan_expr *bind_param(struct binder *b, int number, int64_t pos)
{
    char name[280];
    if (b->view) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "a view has no parameters");
    }
    if (number >= REWRITE_NAMED && (unsigned)(number - REWRITE_NAMED) < b->rw->nparams) {
        const struct rewrite_name *r = &b->rw->param[number - REWRITE_NAMED];
        snprintf(name, sizeof name, "%.*s", (int)(r->len > 256 ? 256 : r->len), b->q->sql + r->at);
    } else {
        snprintf(name, sizeof name, "%d", number);
    }
    const char *names[REWRITE_NAMES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < b->q->nparams; i++) {
        const struct query_param *p = &b->q->params[i];
        if (strcmp(p->name, name) != 0) {
            if (n < PST_COUNT(names)) {
                names[n++] = p->name;
            }
            continue;
        }
        struct scalar v;
        if (p->type == 0) {
            return untyped(b, p->text, p->text ? strlen(p->text) : 0, pos);
        }
        if (!p->text) {
            return bind_null(b, p->type, pos);
        }
        if (!literal_parse(p->type, p->text, strlen(p->text), &v)) {
            return bind_error(b, QUERY_TYPE, pos, "the value '%.60s' of parameter %.60s is no %s",
                              p->text, name, type_name(p->type));
        }
        return bind_const(b, &v, pos);
    }
    const char *near = number >= REWRITE_NAMED ? query_nearest(name, names, n) : NULL;
    return bind_error(b, QUERY_NAME, pos,
                      "parameter %s%.60s has no value; give it: -p %.60s=VALUE%s%s",
                      number >= REWRITE_NAMED ? ":" : "$", name, name,
                      near ? "; there is one named " : "", near ? near : "");
}

/* ---- types ---- */

/* The unit of INTERVAL '5' MINUTE: PostgreSQL's mask bits. */
static const char *interval_unit(const PgQuery__TypeName *t)
{
    if (t->n_typmods != 1 || t->typmods[0]->node_case != PG_QUERY__NODE__NODE_A_CONST ||
        t->typmods[0]->a_const->val_case != PG_QUERY__A__CONST__VAL_IVAL) {
        return NULL;
    }
    switch (t->typmods[0]->a_const->ival->ival) {
    case 1 << 1:
        return "month";
    case 1 << 2:
        return "year";
    case 1 << 3:
        return "day";
    case 1 << 10:
        return "hour";
    case 1 << 11:
        return "minute";
    case 1 << 12:
        return "second";
    default:
        return NULL;
    }
}

uint8_t bind_type_of(struct binder *b, const PgQuery__TypeName *t, bool *interval)
{
    int64_t pos = bind_pos(b, t->location);
    const char *name = t->n_names ? bind_string(t->names[t->n_names - 1]) : NULL;
    *interval = name && !strcmp(name, "interval");
    if (!name || t->n_array_bounds || t->setof || t->pct_type) {
        query_error_set(b->e, QUERY_UNSUPPORTED, pos, "there are no array types");
        return 0;
    }
    uint8_t type = literal_type(name);
    if (!type) {
        static const char *const names[] = {
#define X(ID, text, number, width, letter) text,
            PST_TYPES(X)
#undef X
        };
        const char *near = query_nearest(name, names, PST_COUNT(names));
        query_error_set(b->e, QUERY_NAME, pos, "there is no type %.60s%s%s%s", name,
                        near ? "; did you mean " : "; kdb+'s names and SQL's work: long, bigint",
                        near ? near : "", near ? "?" : "");
        return 0;
    }
    if (t->n_typmods && !(*interval && interval_unit(t))) {
        const tree *m = t->typmods[0];
        bool one = m->node_case == PG_QUERY__NODE__NODE_A_CONST &&
                   m->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL &&
                   m->a_const->ival->ival == 1;
        if (type == PST_CHAR && one) { /* char is char(1) */
            return type;
        }
        query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                        "types have no length or precision here; leave (...) out%s",
                        type == PST_FLOAT ? ", and round(x, n)" : "");
        return 0;
    }
    return type;
}

static struct plan_expr *interval_const(struct binder *b, struct plan_expr *x, const char *unit)
{
    char buf[128];
    int64_t ns, months;
    if (x->is_null) {
        return bind_null(b, PST_TIMESPAN, x->pos);
    }
    struct plan_text t = x->value.text;
    int n = snprintf(buf, sizeof buf, "%.*s %s", (int)(t.len > 100 ? 100 : t.len), t.p,
                     unit ? unit : "");
    if (!literal_interval(buf, (size_t)n, &ns, &months)) {
        struct scalar v;
        if (literal_parse(PST_TIMESPAN, t.p, t.len, &v)) {
            return bind_const(b, &v, x->pos);
        }
        return bind_error(b, QUERY_TYPE, x->pos,
                          "'%.*s' is no interval; one looks like 5 minutes, 1 day 2 hours, 0D00:05",
                          (int)(t.len > 60 ? 60 : t.len), t.p);
    }
    if (months && ns) {
        return bind_error(b, QUERY_UNSUPPORTED, x->pos,
                          "months and days in one interval: write two, + INTERVAL '1 month' + "
                          "INTERVAL '2 days'");
    }
    struct scalar v = {.type = months ? BIND_MONTHS : PST_TIMESPAN, .i = months ? months : ns};
    return bind_const(b, &v, x->pos);
}

static struct plan_expr *type_cast(struct binder *b, const PgQuery__TypeCast *c)
{
    int64_t pos = bind_pos(b, c->location >= 0 ? c->location : c->type_name->location);
    bool interval;
    struct plan_expr *x = bind_expr(b, c->arg);
    uint8_t type = x ? bind_type_of(b, c->type_name, &interval) : 0;
    if (!type) {
        return NULL;
    }
    if (interval && x->type == BIND_UNTYPED) {
        return interval_const(b, x, interval_unit(c->type_name));
    }
    return bind_cast(b, x, type, pos);
}

const struct tzone *bind_zone(struct binder *b, const char *name, int64_t pos)
{
    struct err err;
    unsigned n = 0;
    for (struct bind_zone *z = b->zones; z; z = z->next) {
        if (!strcmp(tzone_name(z->zone), name)) {
            return z->zone;
        }
        n++;
    }
    if (n == BIND_ZONES_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "more than %u time zones in one query",
                          BIND_ZONES_MAX);
    }
    struct tzone *zone = tzone_load(name, &err);
    if (!zone) {
        return bind_error(b, QUERY_NAME, pos,
                          "there is no time zone %.60s; one looks like America/New_York", name);
    }
    struct bind_zone *z = arena_alloc(b->a, sizeof *z);
    if (b->a->failed) {
        tzone_free(zone);
        return NULL;
    }
    *z = (struct bind_zone){b->zones, zone};
    b->zones = z;
    b->plan->zones = z;
    return zone;
}

/* ---- operators ---- */

static struct plan_expr *concat(struct binder *b, struct plan_expr *l, struct plan_expr *r,
                                int64_t pos)
{
    l = bind_cast(b, l, PST_STRING, pos);
    r = l ? bind_cast(b, r, PST_STRING, pos) : NULL;
    return r ? bind_make2(b, PLAN_CONCAT, PST_STRING, pos, l, r) : NULL;
}

static struct plan_expr *op_expr(struct binder *b, const PgQuery__AExpr *x, int64_t pos)
{
    static const struct {
        const char *name;
        uint8_t op;
        bool compare;
    } ops[] = {{"=", PLAN_EQ, true},   {"<>", PLAN_NE, true},  {"<", PLAN_LT, true},
               {"<=", PLAN_LE, true},  {">", PLAN_GT, true},   {">=", PLAN_GE, true},
               {"+", PLAN_ADD, false}, {"-", PLAN_SUB, false}, {"*", PLAN_MUL, false},
               {"/", PLAN_DIV, false}, {"%", PLAN_MOD, false}};
    const char *name = x->n_name ? bind_string(x->name[x->n_name - 1]) : "";
    name = name ? name : "";
    if (!x->lexpr) {
        struct plan_expr *r = bind_expr(b, x->rexpr);
        if (!strcmp(name, "-")) {
            return bind_negate(b, r, pos);
        }
        if (!strcmp(name, "+")) {
            return r;
        }
        return bind_error(b, QUERY_UNSUPPORTED, pos, "there is no operator %.20s before a value",
                          name);
    }
    bool known = !strcmp(name, "||");
    for (unsigned i = 0; i < PST_COUNT(ops); i++) {
        known |= !strcmp(name, ops[i].name);
    }
    if (!known) {
        bool regex = *name == '~' || (*name == '!' && name[1] == '~');
        return bind_error(b, QUERY_UNSUPPORTED, pos, "there is no operator %.20s%s", name,
                          regex          ? "; regular expressions: use LIKE or ILIKE"
                          : *name == '^' ? "; use power(x, y)"
                                         : "");
    }
    struct plan_expr *l = bind_expr(b, x->lexpr), *r = l ? bind_expr(b, x->rexpr) : NULL;
    if (!r) {
        return NULL;
    }
    for (unsigned i = 0; i < PST_COUNT(ops); i++) {
        if (!strcmp(name, ops[i].name)) {
            return ops[i].compare ? bind_compare(b, ops[i].op, l, r, pos)
                                  : bind_arith(b, ops[i].op, l, r, pos);
        }
    }
    return concat(b, l, r, pos);
}

static struct plan_expr *negated(struct binder *b, struct plan_expr *x, bool no, int64_t pos)
{
    return x && no ? bind_make1(b, PLAN_NOT, PST_BOOLEAN, pos, x) : x;
}

static struct plan_expr *in_expr(struct binder *b, const PgQuery__AExpr *x, int64_t pos)
{
    const char *name = x->n_name ? bind_string(x->name[0]) : NULL;
    if (!x->rexpr || x->rexpr->node_case != PG_QUERY__NODE__NODE_LIST) {
        return bind_error(b, QUERY_SYNTAX, pos, "IN wants a list: IN (1, 2)");
    }
    const PgQuery__List *l = x->rexpr->list;
    if (l->n_items > PLAN_ARGS_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "IN takes at most %u values", PLAN_ARGS_MAX);
    }
    struct plan_expr *v = bind_expr(b, x->lexpr);
    struct plan_expr **item = arena_alloc(b->a, (l->n_items + 1) * sizeof *item);
    if (!v || b->a->failed) {
        return NULL;
    }
    for (size_t i = 0; i < l->n_items; i++) {
        item[i] = bind_expr(b, l->items[i]);
        if (!item[i]) {
            return NULL;
        }
    }
    return negated(b, bind_in(b, v, item, (unsigned)l->n_items, pos), name && !strcmp(name, "<>"),
                   pos);
}

static struct plan_expr *like_expr(struct binder *b, const PgQuery__AExpr *x, int64_t pos)
{
    const char *name = x->n_name ? bind_string(x->name[0]) : "";
    bool fold = x->kind == PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE;
    const tree *pattern = x->rexpr, *escape = NULL;
    if (pattern && pattern->node_case == PG_QUERY__NODE__NODE_FUNC_CALL &&
        pattern->func_call->n_args == 2) {
        const PgQuery__FuncCall *f = pattern->func_call;
        const char *fname = f->n_funcname ? bind_string(f->funcname[f->n_funcname - 1]) : "";
        if (fname && !strcmp(fname, "like_escape")) {
            pattern = f->args[0];
            escape = f->args[1];
        }
    }
    struct plan_expr *v = bind_settle(b, bind_expr(b, x->lexpr));
    struct plan_expr *p = v ? bind_coerce(b, bind_expr(b, pattern), PST_STRING, "LIKE") : NULL;
    struct plan_expr *e = NULL;
    if (!p) {
        return NULL;
    }
    if (escape) {
        e = bind_coerce(b, bind_expr(b, escape), PST_STRING, "ESCAPE");
    } else {
        e = bind_const(b, &(struct scalar){.type = PST_STRING, .text = {"\\", 1}}, pos);
    }
    if (!e) {
        return NULL;
    }
    if (v->type == PST_CHAR) {
        v = bind_make1(b, PLAN_CAST, PST_STRING, v->pos, v);
    }
    if (!v || !bind_is_text(v->type)) {
        return v ? bind_error(b, QUERY_TYPE, v->pos,
                              "LIKE wants a symbol or string, not a %s; write ::text",
                              type_name(v->type))
                 : NULL;
    }
    if (p->op != PLAN_CONST || e->op != PLAN_CONST) {
        return bind_error(b, QUERY_UNSUPPORTED, p->pos, "the pattern of LIKE must be a constant");
    }
    if (!e->is_null && e->value.text.len > 1) {
        return bind_error(b, QUERY_VALUE, e->pos, "ESCAPE wants one character");
    }
    if (p->is_null) {
        return bind_null(b, PST_BOOLEAN, pos);
    }
    struct plan_expr *like = bind_make(b, fold ? PLAN_ILIKE : PLAN_LIKE, PST_BOOLEAN, pos,
                                       (struct plan_expr *[]){v, p, e}, 3, NULL);
    return negated(b, like, name && *name == '!', pos);
}

static struct plan_expr *between(struct binder *b, const PgQuery__AExpr *x, int64_t pos)
{
    bool no = x->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN;
    const PgQuery__List *l =
        x->rexpr && x->rexpr->node_case == PG_QUERY__NODE__NODE_LIST ? x->rexpr->list : NULL;
    if (!l || l->n_items != 2) {
        return bind_error(b, QUERY_SYNTAX, pos, "BETWEEN wants two values");
    }
    struct plan_expr *v = bind_expr(b, x->lexpr);
    struct plan_expr *lo = v ? bind_expr(b, l->items[0]) : NULL;
    struct plan_expr *hi = lo ? bind_expr(b, l->items[1]) : NULL;
    if (!hi) {
        return NULL;
    }
    struct plan_expr *from = bind_compare(b, PLAN_GE, v, lo, pos);
    struct plan_expr *to = from ? bind_compare(b, PLAN_LE, v, hi, pos) : NULL;
    return to ? negated(b, bind_make2(b, PLAN_AND, PST_BOOLEAN, pos, from, to), no, pos) : NULL;
}

static struct plan_expr *a_expr(struct binder *b, const PgQuery__AExpr *x)
{
    int64_t pos = bind_pos(b, x->location);
    struct plan_expr *l, *r;
    switch (x->kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
        return op_expr(b, x, pos);
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
        return in_expr(b, x, pos);
    case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
        return like_expr(b, x, pos);
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
        return between(b, x, pos);
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT: {
        l = bind_expr(b, x->lexpr);
        r = l ? bind_expr(b, x->rexpr) : NULL;
        return r ? negated(b, bind_compare(b, PLAN_DISTINCT_FROM, l, r, pos),
                           x->kind == PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT, pos)
                 : NULL;
    }
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF: { /* CASE WHEN l = r THEN NULL ELSE l END */
        l = bind_settle(b, bind_expr(b, x->lexpr));
        r = l ? bind_expr(b, x->rexpr) : NULL;
        struct plan_expr *eq = r ? bind_compare(b, PLAN_EQ, l, r, pos) : NULL;
        if (!eq) {
            return NULL;
        }
        if (l->type == PST_BYTE) {
            l = bind_make1(b, PLAN_CAST, PST_SHORT, pos, l);
        }
        return bind_make(b, PLAN_CASE, l->type, pos,
                         (struct plan_expr *[]){eq, bind_null(b, l->type, pos), l}, 3, NULL);
    }
    case PG_QUERY__A__EXPR__KIND__AEXPR_SIMILAR:
        return bind_error(b, QUERY_UNSUPPORTED, pos, "SIMILAR TO is not supported; use LIKE");
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
        return bind_error(b, QUERY_UNSUPPORTED, pos,
                          "BETWEEN SYMMETRIC is not supported; put the smaller value first");
    default:
        return bind_error(b, QUERY_UNSUPPORTED, pos, "ANY and ALL are not supported; use IN (...)");
    }
}

static struct plan_expr *bool_expr(struct binder *b, const PgQuery__BoolExpr *x)
{
    int64_t pos = bind_pos(b, x->location);
    bool no = x->boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR;
    unsigned op = x->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR ? PLAN_AND : PLAN_OR;
    const char *what = no ? "NOT" : plan_op_name(op);
    if (x->n_args > PLAN_ARGS_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "more than %u conditions joined by %s",
                          PLAN_ARGS_MAX, what);
    }
    struct plan_expr **arg = arena_alloc(b->a, (x->n_args + 1) * sizeof *arg);
    if (b->a->failed) {
        return NULL;
    }
    for (size_t i = 0; i < x->n_args; i++) {
        arg[i] = bind_boolean(b, bind_expr(b, x->args[i]), what);
        if (!arg[i]) {
            return NULL;
        }
    }
    if (no) {
        return bind_make1(b, PLAN_NOT, PST_BOOLEAN, pos, arg[0]);
    }
    /* a = 1 OR a = 2 OR a IN (3, 4) is one IN */
    unsigned n = (unsigned)x->n_args, total = 0;
    bool in = op == PLAN_OR && n > 1;
    for (unsigned i = 0; i < n && in; i++) {
        struct plan_expr *a = arg[i];
        in = (a->op == PLAN_IN || (a->op == PLAN_EQ && a->arg[1]->op == PLAN_CONST)) &&
             a->arg[0] == arg[0]->arg[0] && !a->arg[1]->is_null;
        total += in ? a->nargs - 1u : 0;
    }
    if (in && total <= PLAN_ARGS_MAX) {
        struct plan_expr **list = arena_alloc(b->a, (total + 1) * sizeof *list);
        unsigned m = 0;
        for (unsigned i = 0; i < n && !b->a->failed; i++) {
            for (unsigned j = 1; j < arg[i]->nargs; j++) {
                list[m++] = arg[i]->arg[j];
            }
        }
        return b->a->failed ? NULL : bind_in(b, arg[0]->arg[0], list, m, pos);
    }
    return bind_make(b, op, PST_BOOLEAN, pos, arg, n, NULL);
}

static struct plan_expr *case_expr(struct binder *b, const PgQuery__CaseExpr *x)
{
    int64_t pos = bind_pos(b, x->location);
    size_t n = x->n_args;
    if (n * 2 + 1 > PLAN_ARGS_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "CASE has more than %u branches",
                          PLAN_ARGS_MAX / 2);
    }
    struct plan_expr **arg = arena_alloc(b->a, (2 * n + 1) * sizeof *arg);
    struct plan_expr **result = arena_alloc(b->a, (n + 1) * sizeof *result);
    struct plan_expr *subject = x->arg ? bind_settle(b, bind_expr(b, x->arg)) : NULL;
    if (b->a->failed || (x->arg && !subject)) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (x->args[i]->node_case != PG_QUERY__NODE__NODE_CASE_WHEN) {
            return bind_error(b, QUERY_SYNTAX, pos, "CASE wants WHEN ... THEN ...");
        }
        const PgQuery__CaseWhen *w = x->args[i]->case_when;
        struct plan_expr *c = bind_expr(b, w->expr);
        c = !c        ? NULL
            : subject ? bind_compare(b, PLAN_EQ, subject, c, bind_pos(b, w->location))
                      : bind_boolean(b, c, "WHEN");
        result[i] = c ? bind_expr(b, w->result) : NULL;
        if (!result[i]) {
            return NULL;
        }
        arg[2 * i] = c;
    }
    result[n] = x->defresult ? bind_expr(b, x->defresult) : untyped(b, NULL, 0, pos);
    if (!result[n] || !bind_unify(b, result, (unsigned)n + 1, pos, "CASE")) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        arg[2 * i + 1] = result[i];
    }
    arg[2 * n] = result[n];
    return bind_make(b, PLAN_CASE, result[n]->type, pos, arg, (unsigned)(2 * n + 1), NULL);
}

static struct plan_expr *choice(struct binder *b, unsigned op, tree **args, size_t n,
                                int64_t location)
{
    int64_t pos = bind_pos(b, location);
    if (n > PLAN_ARGS_MAX || n == 0) {
        return bind_error(b, QUERY_UNSUPPORTED, pos, "%s takes 1 to %u values", plan_op_name(op),
                          PLAN_ARGS_MAX);
    }
    struct plan_expr **arg = arena_alloc(b->a, n * sizeof *arg);
    if (b->a->failed) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        arg[i] = bind_expr(b, args[i]);
        if (!arg[i]) {
            return NULL;
        }
    }
    if (!bind_unify(b, arg, (unsigned)n, pos, plan_op_name(op))) {
        return NULL;
    }
    if (op != PLAN_COALESCE && (arg[0]->type == PST_BOOLEAN || arg[0]->type == PST_GUID)) {
        return bind_error(b, QUERY_TYPE, pos, "%s has no order for a %s", plan_op_name(op),
                          type_name(arg[0]->type));
    }
    return n == 1 ? arg[0] : bind_make(b, op, arg[0]->type, pos, arg, (unsigned)n, NULL);
}

static struct plan_expr *null_test(struct binder *b, const PgQuery__NullTest *t)
{
    int64_t pos = bind_pos(b, t->location);
    struct plan_expr *x = bind_settle(b, bind_expr(b, t->arg));
    if (!x) {
        return NULL;
    }
    if (x->type == PST_BYTE) {
        x = bind_make1(b, PLAN_CAST, PST_SHORT, pos, x);
    }
    return negated(b, x ? bind_make1(b, PLAN_IS_NULL, PST_BOOLEAN, pos, x) : NULL,
                   t->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NOT_NULL, pos);
}

static struct plan_expr *boolean_test(struct binder *b, const PgQuery__BooleanTest *t)
{
    int64_t pos = bind_pos(b, t->location);
    struct plan_expr *x = bind_boolean(b, bind_expr(b, t->arg), "IS TRUE");
    if (!x) {
        return NULL;
    }
    switch (t->booltesttype) {
    case PG_QUERY__BOOL_TEST_TYPE__IS_TRUE:
    case PG_QUERY__BOOL_TEST_TYPE__IS_NOT_TRUE:
        return negated(b, bind_make1(b, PLAN_IS_TRUE, PST_BOOLEAN, pos, x),
                       t->booltesttype == PG_QUERY__BOOL_TEST_TYPE__IS_NOT_TRUE, pos);
    case PG_QUERY__BOOL_TEST_TYPE__IS_FALSE:
    case PG_QUERY__BOOL_TEST_TYPE__IS_NOT_FALSE:
        return negated(b, bind_make1(b, PLAN_IS_FALSE, PST_BOOLEAN, pos, x),
                       t->booltesttype == PG_QUERY__BOOL_TEST_TYPE__IS_NOT_FALSE, pos);
    default:
        return negated(b, bind_make1(b, PLAN_IS_NULL, PST_BOOLEAN, pos, x),
                       t->booltesttype == PG_QUERY__BOOL_TEST_TYPE__IS_NOT_UNKNOWN, pos);
    }
}

static struct plan_expr *value_function(struct binder *b, const PgQuery__SQLValueFunction *f)
{
    int64_t pos = bind_pos(b, f->location), now = b->env->now_ns, local = now;
    if (b->env->zone) {
        local +=
            tzone_offset(b->env->zone, civil_floor_div(now, PST_SECOND_NS) + PST_EPOCH_OFFSET_S) *
            PST_SECOND_NS;
    }
    switch (f->op) {
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_DATE:
        return bind_const(b, &(struct scalar){.type = PST_DATE, .i = civil_day_of(local)}, pos);
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_TIMESTAMP:
        return bind_const(b, &(struct scalar){.type = PST_TIMESTAMP, .i = now}, pos);
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIMESTAMP:
        return bind_const(b, &(struct scalar){.type = PST_TIMESTAMP, .i = local}, pos);
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_LOCALTIME:
        return bind_const(
            b,
            &(struct scalar){.type = PST_TIME, .i = civil_floor_mod(local, PST_DAY_NS) / 1000000},
            pos);
    default:
        return bind_error(
            b, QUERY_UNSUPPORTED, pos,
            "of these there are now(), current_date, current_timestamp, localtime and "
            "localtimestamp");
    }
}

static struct plan_expr *expr_of(struct binder *b, const tree *n)
{
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        return column_ref(b, n->column_ref);
    case PG_QUERY__NODE__NODE_A_CONST:
        return constant(b, n->a_const);
    case PG_QUERY__NODE__NODE_PARAM_REF:
        return bind_param(b, n->param_ref->number, bind_pos(b, n->param_ref->location));
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        return type_cast(b, n->type_cast);
    case PG_QUERY__NODE__NODE_A_EXPR:
        return a_expr(b, n->a_expr);
    case PG_QUERY__NODE__NODE_BOOL_EXPR:
        return bool_expr(b, n->bool_expr);
    case PG_QUERY__NODE__NODE_CASE_EXPR:
        return case_expr(b, n->case_expr);
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
        return choice(b, PLAN_COALESCE, n->coalesce_expr->args, n->coalesce_expr->n_args,
                      n->coalesce_expr->location);
    case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
        return choice(
            b, n->min_max_expr->op == PG_QUERY__MIN_MAX_OP__IS_LEAST ? PLAN_LEAST : PLAN_GREATEST,
            n->min_max_expr->args, n->min_max_expr->n_args, n->min_max_expr->location);
    case PG_QUERY__NODE__NODE_NULL_TEST:
        return null_test(b, n->null_test);
    case PG_QUERY__NODE__NODE_BOOLEAN_TEST:
        return boolean_test(b, n->boolean_test);
    case PG_QUERY__NODE__NODE_SQLVALUE_FUNCTION:
        return value_function(b, n->sqlvalue_function);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        return bind_function(b, n->func_call);
    case PG_QUERY__NODE__NODE_SUB_LINK:
        return bind_sub_link(b, n->sub_link);
    case PG_QUERY__NODE__NODE_COLLATE_CLAUSE:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->collate_clause->location),
                          "COLLATE is not supported; texts are ordered by their bytes");
    case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->a_array_expr->location),
                          "arrays are not supported; use IN (...)");
    case PG_QUERY__NODE__NODE_NAMED_ARG_EXPR:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->named_arg_expr->location),
                          "named arguments are for named queries in FROM only");
    case PG_QUERY__NODE__NODE_ROW_EXPR:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->row_expr->location),
                          "row values are not supported; compare the columns one by one");
    case PG_QUERY__NODE__NODE_GROUPING_SET:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->grouping_set->location),
                          "GROUPING SETS, ROLLUP and CUBE are not supported; run one query each");
    case PG_QUERY__NODE__NODE_GROUPING_FUNC:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->grouping_func->location),
                          "GROUPING() is not supported");
    case PG_QUERY__NODE__NODE_SET_TO_DEFAULT:
        return bind_error(b, QUERY_UNSUPPORTED, bind_pos(b, n->set_to_default->location),
                          "DEFAULT is not supported");
    case PG_QUERY__NODE__NODE_A_INDIRECTION: {
        const tree *of = n->a_indirection->arg;
        bool column = of && of->node_case == PG_QUERY__NODE__NODE_COLUMN_REF;
        return bind_error(b, QUERY_UNSUPPORTED, column ? bind_pos(b, of->column_ref->location) : -1,
                          "subscripts and fields of values are not supported");
    }
    case PG_QUERY__NODE__NODE_XML_EXPR:
    case PG_QUERY__NODE__NODE_XML_SERIALIZE:
        return bind_error(b, QUERY_UNSUPPORTED, -1, "XML is not supported");
    default:
        return bind_error(b, QUERY_UNSUPPORTED, -1, "an expression of this kind is not supported");
    }
}

struct plan_expr *bind_expr(struct binder *b, const tree *n)
{
    if (!n) {
        return bind_error(b, QUERY_SYNTAX, -1, "an expression is missing");
    }
    if (b->depth >= PLAN_DEPTH_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, -1,
                          "the expression is nested too deeply (over %u); split it",
                          PLAN_DEPTH_MAX);
    }
    b->depth++;
    struct plan_expr *x = expr_of(b, n);
    b->depth--;
    if (!x && !b->e->code) {
        query_error_set(b->e, QUERY_LIMIT, -1, "no memory for the plan");
    }
    return x;
}
