/* SPDX-License-Identifier: Apache-2.0 */
/* SELECT: from its parse tree to a plan. */
#include <strings.h>
#include "core/schema.h"
#include "bind.h"

/* ---- outputs ---- */

static bool add_output(struct binder *b, unsigned *room, const char *name, struct plan_expr *x,
                       int64_t pos)
{
    struct plan *p = b->plan;
    if (p->noutputs == PLAN_OUTPUTS_MAX) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, x->pos, "more than %u columns",
                               PLAN_OUTPUTS_MAX);
    }
    if (p->noutputs == *room) {
        unsigned more = *room ? *room * 2 : 16;
        struct plan_output *o = arena_alloc(b->a, more * sizeof *o);
        if (b->a->failed) {
            return false;
        }
        if (p->noutputs) {
            memcpy(o, p->output, p->noutputs * sizeof *o);
        }
        p->output = o;
        *room = more;
    }
    p->output[p->noutputs++] =
        (struct plan_output){.name = name, .expr = x, .pos = pos < 0 ? 0 : (uint32_t)pos};
    return true;
}

static bool is_using(const struct binder *b, const char *name)
{
    for (unsigned i = 0; i < b->using_columns; i++) {
        if (!strcasecmp(b->using_name[i], name)) {
            return true;
        }
    }
    return false;
}

/* * and t.*: the right side of an ASOF without what USING joined; its doubles as alias_name. */
static bool expand_star(struct binder *b, unsigned *room, const char *table, int64_t pos)
{
    bool any = false;
    for (unsigned k = 0; k < b->nsources; k++) {
        const struct bind_source *s = &b->source[k];
        if (table && strcasecmp(s->alias, table) != 0) {
            continue;
        }
        any = true;
        for (unsigned i = s->hide_date ? 1 : 0; i < bind_source_columns(s); i++) {
            const char *name = bind_source_name(s, i);
            if (k == 1 && !table) {
                if (is_using(b, name)) {
                    continue;
                }
                for (unsigned j = 0; j < bind_source_columns(&b->source[0]); j++) {
                    if (!strcmp(bind_source_name(&b->source[0], j), name)) {
                        name = arena_printf(b->a, "%s_%s", s->alias, name);
                        break;
                    }
                }
            }
            struct plan_expr *x = bind_source_column(b, s, i, pos);
            if (!x || !add_output(b, room, name, x, pos)) {
                return false;
            }
        }
    }
    if (!any) {
        return query_error_set(b->e, QUERY_NAME, pos,
                               table ? "there is no table %.60s in FROM" : "* wants a FROM%.0s",
                               table ? table : "");
    }
    return true;
}

/* What PostgreSQL would call it, or a word that says what it is. */
static const char *derived_name(const tree *n)
{
    const char *s;
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        s = bind_string(n->column_ref->fields[n->column_ref->n_fields - 1]);
        return s ? s : "column";
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        s = bind_string(n->func_call->funcname[n->func_call->n_funcname - 1]);
        return s ? s : "column";
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        if (n->type_cast->arg && n->type_cast->arg->node_case != PG_QUERY__NODE__NODE_A_CONST) {
            return derived_name(n->type_cast->arg);
        }
        s = bind_string(n->type_cast->type_name->names[n->type_cast->type_name->n_names - 1]);
        return s && literal_type(s) ? type_name(literal_type(s)) : "column";
    case PG_QUERY__NODE__NODE_CASE_EXPR:
        return "case";
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
        return "coalesce";
    case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
        return n->min_max_expr->op == PG_QUERY__MIN_MAX_OP__IS_LEAST ? "least" : "greatest";
    default:
        return NULL;
    }
}

static const char *output_name(struct binder *b, const tree *n, const char *given)
{
    if (*given) {
        return arena_text(b->a, given, strlen(given));
    }
    const char *name = derived_name(n);
    char made[128];
    if (!name) {
        snprintf(made, sizeof made, "column%u", b->plan->noutputs + 1);
        name = made;
    }
    /* unnamed ones get unique names, so that JSON and CSV can tell them apart */
    char unique[160];
    snprintf(unique, sizeof unique, "%.120s", name);
    for (unsigned k = 2, i = 0; i < b->plan->noutputs; i++) {
        if (!strcmp(b->plan->output[i].name, unique)) {
            snprintf(unique, sizeof unique, "%.120s_%u", name, k++);
            i = UINT32_MAX; /* from the start */
        }
    }
    return arena_text(b->a, unique, strlen(unique));
}

bool bind_targets(struct binder *b, const select_tree *t)
{
    unsigned room = 0;
    if (t->n_target_list == 0) {
        return query_error_set(b->e, QUERY_SYNTAX, bind_word(b, "select"),
                               "SELECT wants columns, or *");
    }
    for (size_t i = 0; i < t->n_target_list; i++) {
        const tree *n = t->target_list[i];
        if (n->node_case != PG_QUERY__NODE__NODE_RES_TARGET || !n->res_target->val) {
            return query_error_set(b->e, QUERY_SYNTAX, -1, "a column is expected in SELECT");
        }
        const PgQuery__ResTarget *r = n->res_target;
        const tree *v = r->val;
        int64_t pos = bind_pos(b, r->location);
        if (v->node_case == PG_QUERY__NODE__NODE_COLUMN_REF && v->column_ref->n_fields &&
            v->column_ref->fields[v->column_ref->n_fields - 1]->node_case ==
                PG_QUERY__NODE__NODE_A_STAR) {
            const PgQuery__ColumnRef *c = v->column_ref;
            if (c->n_fields > 2 ||
                !expand_star(b, &room, c->n_fields == 2 ? bind_string(c->fields[0]) : NULL, pos)) {
                return b->e->code ? false
                                  : query_error_set(b->e, QUERY_UNSUPPORTED, pos, "write t.* or *");
            }
            continue;
        }
        struct plan_expr *x = bind_expr(b, v);
        /* in a view a literal keeps no type of its own: it becomes a string */
        x = x ? bind_settle(b, x) : NULL;
        if (!x || !add_output(b, &room, output_name(b, v, r->name), x, pos)) {
            return false;
        }
    }
    return !b->a->failed;
}

/* ---- GROUP BY, ORDER BY ---- */

static bool ordinal(struct binder *b, const tree *n, unsigned *out)
{
    if (n->node_case != PG_QUERY__NODE__NODE_A_CONST || n->a_const->isnull ||
        (n->a_const->val_case != PG_QUERY__A__CONST__VAL_IVAL &&
         n->a_const->val_case != PG_QUERY__A__CONST__VAL__NOT_SET)) {
        return false;
    }
    int v = n->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL ? n->a_const->ival->ival : 0;
    if (v < 1 || (unsigned)v > b->plan->noutputs) {
        query_error_set(b->e, QUERY_NAME, bind_pos(b, n->a_const->location),
                        "there is no column number %d in SELECT; it has %u", v, b->plan->noutputs);
    }
    *out = (unsigned)v - 1;
    return true;
}

static bool bind_group(struct binder *b, const select_tree *t)
{
    struct plan *p = b->plan;
    b->where = BIND_GROUP;
    if (t->group_distinct) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "group"),
                               "GROUP BY DISTINCT is not supported");
    }
    for (size_t i = 0; i < t->n_group_clause; i++) {
        const tree *n = t->group_clause[i];
        unsigned at;
        struct plan_expr *x = ordinal(b, n, &at) ? (b->e->code ? NULL : p->output[at].expr)
                                                 : bind_settle(b, bind_expr(b, n));
        if (!x) {
            return false;
        }
        bool have = false;
        for (uint32_t k = 0; k < p->nkeys; k++) {
            have |= p->key[k] == x;
        }
        if (have) {
            continue;
        }
        if (p->nkeys == PLAN_KEYS_MAX) {
            return query_error_set(b->e, QUERY_UNSUPPORTED, x->pos, "more than %u group keys",
                                   PLAN_KEYS_MAX);
        }
        p->key[p->nkeys++] = x;
    }
    return true;
}

struct order_item {
    struct plan_expr *expr; /* NULL: an output by number */
    unsigned output;
    int64_t pos;
};

static bool bind_order_item(struct binder *b, const PgQuery__SortBy *s, struct order_item *o)
{
    const tree *n = s->node;
    struct plan *p = b->plan;
    o->expr = NULL;
    if (ordinal(b, n, &o->output)) {
        return !b->e->code;
    }
    if (n->node_case == PG_QUERY__NODE__NODE_COLUMN_REF && n->column_ref->n_fields == 1) {
        const char *name = bind_string(n->column_ref->fields[0]);
        int found = -1;
        for (unsigned i = 0; name && i < p->noutputs; i++) {
            if (!strcasecmp(p->output[i].name, name)) {
                if (found >= 0 && p->output[i].expr != p->output[found].expr) {
                    return query_error_set(
                        b->e, QUERY_NAME, bind_pos(b, n->column_ref->location),
                        "several columns of SELECT are called %.60s; use a number", name);
                }
                found = found < 0 ? (int)i : found;
            }
        }
        if (found >= 0) {
            o->output = (unsigned)found;
            return true;
        }
    }
    o->expr = bind_settle(b, bind_expr(b, n));
    if (!o->expr) {
        return false;
    }
    o->pos = o->expr->pos;
    for (unsigned i = 0; i < p->noutputs; i++) {
        if (p->output[i].expr == o->expr) {
            o->output = i;
            o->expr = NULL;
            return true;
        }
    }
    return true;
}

static bool bind_order(struct binder *b, const select_tree *t, struct order_item *item)
{
    struct plan *p = b->plan;
    b->where = BIND_ORDER;
    if (t->n_sort_clause > PLAN_KEYS_MAX) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "order"),
                               "more than %u order keys", PLAN_KEYS_MAX);
    }
    for (size_t i = 0; i < t->n_sort_clause; i++) {
        const tree *n = t->sort_clause[i];
        if (n->node_case != PG_QUERY__NODE__NODE_SORT_BY) {
            return query_error_set(b->e, QUERY_SYNTAX, bind_word(b, "order"),
                                   "ORDER BY wants expressions");
        }
        const PgQuery__SortBy *s = n->sort_by;
        if (s->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING) {
            return query_error_set(b->e, QUERY_UNSUPPORTED, bind_pos(b, s->location),
                                   "ORDER BY ... USING is not supported; write ASC or DESC");
        }
        if (!bind_order_item(b, s, &item[i])) {
            return false;
        }
        bool desc = s->sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
        struct plan_order *o = &p->order[p->norder++];
        o->descending = desc;
        o->nulls_first = s->sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST ||
                         (s->sortby_nulls != PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST && desc);
    }
    return true;
}

/* ---- from row context to group context ---- */

struct lift {
    struct plan_expr **memo; /* by id of the node before */
    uint32_t room;
};

static struct plan_expr *lift(struct binder *b, struct lift *l, struct plan_expr *x)
{
    struct plan *p = b->plan;
    if (x->id < l->room && l->memo[x->id]) {
        return l->memo[x->id];
    }
    struct plan_expr *out = NULL;
    for (uint32_t k = 0; k < p->nkeys; k++) {
        if (p->key[k] == x) {
            out = bind_leaf(b, PLAN_KEY, x->type, 0, k, x->pos);
        }
    }
    if (out || x->op == PLAN_CONST || x->op == PLAN_AGG) {
        out = out ? out : x;
    } else if (x->op == PLAN_COLUMN) {
        const struct query_table *t = p->scan[x->side].table;
        return bind_error(b, QUERY_TYPE, x->pos,
                          "%.60s must stand in GROUP BY or in an aggregate: last(%.60s)",
                          t->cols[x->column].name, t->cols[x->column].name);
    } else {
        struct plan_expr **arg = arena_alloc(b->a, (x->nargs + 1u) * sizeof *arg);
        if (b->a->failed) {
            return NULL;
        }
        for (unsigned i = 0; i < x->nargs; i++) {
            arg[i] = lift(b, l, x->arg[i]);
            if (!arg[i]) {
                return NULL;
            }
        }
        out = bind_make(b, x->op, x->type, x->pos, arg, x->nargs, x);
    }
    if (out && x->id < l->room) {
        l->memo[x->id] = out;
    }
    return out;
}

static bool lift_all(struct binder *b, struct order_item *item)
{
    struct plan *p = b->plan;
    struct lift l = {.room = p->nexprs};
    l.memo = arena_alloc(b->a, (l.room + 1) * sizeof *l.memo);
    if (b->a->failed) {
        return false;
    }
    for (uint32_t k = 0; k < p->nkeys; k++) {
        if (p->key[k]->aggregate) {
            return query_error_set(b->e, QUERY_TYPE, p->key[k]->pos,
                                   "a group key cannot hold an aggregate");
        }
    }
    for (uint32_t i = 0; i < p->noutputs; i++) {
        if (p->output[i].expr->op == PLAN_COLUMN) {
            p->output[i].expr->pos = p->output[i].pos; /* it may stand in many places */
        }
        p->output[i].expr = lift(b, &l, p->output[i].expr);
        if (!p->output[i].expr) {
            return false;
        }
    }
    if (p->having && !(p->having = lift(b, &l, p->having))) {
        return false;
    }
    for (uint32_t i = 0; i < p->norder; i++) {
        if (item[i].expr && !(item[i].expr = lift(b, &l, item[i].expr))) {
            return false;
        }
    }
    return true;
}

/* ORDER BY of what SELECT does not have: hidden outputs. */
static bool place_order(struct binder *b, struct order_item *item)
{
    struct plan *p = b->plan;
    unsigned room = p->noutputs;
    for (uint32_t i = 0; i < p->norder; i++) {
        struct order_item *o = &item[i];
        for (unsigned k = 0; o->expr && k < p->noutputs; k++) {
            if (p->output[k].expr == o->expr) {
                o->output = k;
                o->expr = NULL;
            }
        }
        if (o->expr) {
            o->output = p->noutputs;
            if (!add_output(b, &room, "", o->expr, o->pos)) {
                return false;
            }
            p->output[o->output].hidden = true;
            p->nhidden++;
        }
        p->order[i].output = (uint16_t)o->output;
    }
    return true;
}

/* ---- WHERE ---- */

static bool spread(struct binder *b, struct bind_pending *w, struct plan_expr *x)
{
    bool and = x->op == PLAN_AND;
    for (unsigned i = 0; i < (and? x->nargs : 1u); i++) {
        struct plan_expr *c = and? x->arg[i] : x;
        unsigned slot = b->nsources == 2 && (c->sides & 2) ? 2 : 0;
        if (!bind_condition(b, w, slot, c)) {
            return false;
        }
    }
    return true;
}

/* For the right side of an ASOF (slot 1) a condition that never holds leaves it without rows; for
 * all others it leaves the query without. */
static bool conjuncts(struct binder *b, unsigned slot, struct plan_expr *x,
                      struct plan_conjunct **list, uint32_t *n)
{
    *n = 0;
    if (!x || (x->op == PLAN_CONST && !x->is_null && x->value.i)) {
        return true;
    }
    unsigned count = x->op == PLAN_AND ? x->nargs : 1;
    *list = arena_alloc(b->a, count * sizeof **list);
    if (b->a->failed) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        struct plan_expr *c = x->op == PLAN_AND ? x->arg[i] : x;
        bool never = c->op == PLAN_CONST && (c->is_null || !c->value.i);
        b->plan->empty |= never && slot != 1;
        (*list)[i].expr = c;
    }
    *n = count;
    return true;
}

/* The same date and sym on both sides of an ASOF: one side's bounds are the other's. */
static void share_bounds(struct plan *p)
{
    struct plan_bounds *l = &p->scan[0].bounds, *r = &p->scan[1].bounds;
    r->day_lo = l->day_lo > r->day_lo ? l->day_lo : r->day_lo;
    r->day_hi = l->day_hi < r->day_hi ? l->day_hi : r->day_hi;
    if (l->days && !r->days) {
        r->days = l->days;
        r->ndays = l->ndays;
    }
    bool sym = p->asof.nkeys && p->asof.left_key[0] == p->scan[0].sym_column &&
               p->asof.right_key[0] == p->scan[1].sym_column;
    if (sym && l->has_syms && !r->has_syms) {
        r->has_syms = true;
        r->syms = l->syms;
        r->nsyms = l->nsyms;
    }
    if (l->time_bound && l->time_hi < r->time_hi) {
        r->time_hi = l->time_hi; /* nothing later than the last left row is needed */
        r->time_bound = true;
    }
}

static bool finish_where(struct binder *b, struct bind_pending *w)
{
    struct plan *p = b->plan;
    for (unsigned s = 0; s < 2; s++) {
        if (!conjuncts(b, s, w->all[s], &p->scan[s].where, &p->scan[s].nwhere)) {
            return false;
        }
        bounds_find(b, &p->scan[s], s);
    }
    if (p->nscans == 2) {
        share_bounds(p);
    }
    return conjuncts(b, 2, w->all[2], &p->where, &p->nwhere);
}

/* ---- LATEST BY, LIMIT, the columns that are read ---- */

static bool bind_latest(struct binder *b)
{
    struct plan *p = b->plan;
    int64_t pos = b->rw->latest_at;
    if (!b->rw->nlatest) {
        return true;
    }
    if (p->nscans != 1) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "LATEST BY works on one table, not on an ASOF pair");
    }
    if (p->grouped) {
        return query_error_set(
            b->e, QUERY_UNSUPPORTED, pos,
            "LATEST BY selects rows and cannot be grouped; GROUP BY with last(x) does");
    }
    if (p->scan[0].time_column < 0) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "LATEST BY wants a table with a column time");
    }
    for (unsigned i = 0; i < b->rw->nlatest; i++) {
        const struct rewrite_name *r = &b->rw->latest[i];
        char name[256];
        uint32_t n = 0;
        const char *t = b->q->sql + r->at;
        bool quoted = *t == '"';
        for (uint32_t k = quoted; k < r->len - quoted && n < sizeof name - 1; k++) {
            name[n++] = quoted || t[k] < 'A' || t[k] > 'Z' ? t[k] : (char)(t[k] | 32);
            k += quoted && t[k] == '"';
        }
        name[n] = 0;
        struct plan_expr *x = bind_column(b, NULL, name, r->at, false);
        if (!x) {
            return false;
        }
        if (x->op != PLAN_COLUMN) {
            return query_error_set(b->e, QUERY_UNSUPPORTED, r->at,
                                   "LATEST BY wants plain columns; %.60s is computed", name);
        }
        p->latest[p->nlatest++] = x;
    }
    return true;
}

static bool bind_count(struct binder *b, const tree *n, const char *what, uint64_t *out)
{
    if (!n) {
        return true;
    }
    b->where = BIND_LIMIT;
    struct plan_expr *x = bind_expr(b, n);
    x = x ? bind_coerce(b, x, PST_LONG, what) : NULL;
    if (!x) {
        return false;
    }
    if (x->op != PLAN_CONST || (!x->is_null && x->value.i < 0)) {
        return query_error_set(b->e, QUERY_TYPE, x->pos, "%s wants a constant number, 0 or more",
                               what);
    }
    if (!x->is_null) {
        *out = (uint64_t)x->value.i;
    }
    return true;
}

struct marks {
    uint8_t *seen; /* by node id */
    bool column[2][SCHEMA_COLUMNS_MAX * 4];
};

static void mark_columns(struct marks *m, const struct plan_expr *x)
{
    if (!x || m->seen[x->id]) {
        return;
    }
    m->seen[x->id] = 1;
    if (x->op == PLAN_COLUMN && x->column < PST_COUNT(m->column[0])) {
        m->column[x->side & 1][x->column] = true;
    }
    for (unsigned i = 0; i < x->nargs; i++) {
        mark_columns(m, x->arg[i]);
    }
}

static bool collect_columns(struct binder *b)
{
    struct plan *p = b->plan;
    struct marks *m = arena_alloc(b->a, sizeof *m);
    uint8_t *seen = arena_alloc(b->a, p->nexprs + 1);
    if (b->a->failed) {
        return false;
    }
    m->seen = seen;
    for (unsigned s = 0; s < p->nscans; s++) {
        for (uint32_t i = 0; i < p->scan[s].nwhere; i++) {
            mark_columns(m, p->scan[s].where[i].expr);
        }
    }
    for (uint32_t i = 0; i < p->nwhere; i++) {
        mark_columns(m, p->where[i].expr);
    }
    for (uint32_t i = 0; i < p->nkeys; i++) {
        mark_columns(m, p->key[i]);
    }
    for (uint32_t i = 0; i < p->nlatest; i++) {
        mark_columns(m, p->latest[i]);
    }
    for (uint32_t i = 0; i < p->naggs; i++) {
        mark_columns(m, p->agg[i].filter);
        for (unsigned k = 0; k < p->agg[i].nargs; k++) {
            mark_columns(m, p->agg[i].arg[k]);
        }
        bool ordered = p->agg[i].kind == PLAN_AGG_FIRST || p->agg[i].kind == PLAN_AGG_LAST;
        if (ordered && p->scan[0].time_column >= 0 && p->nscans) {
            m->column[0][p->scan[0].time_column] = true;
        }
    }
    for (uint32_t i = 0; i < p->noutputs; i++) {
        mark_columns(m, p->output[i].expr);
    }
    if (p->nlatest) {
        m->column[0][p->scan[0].time_column] = true;
    }
    if (p->nscans == 2) {
        for (uint32_t i = 0; i < p->asof.nkeys; i++) {
            m->column[0][p->asof.left_key[i]] = true;
            m->column[1][p->asof.right_key[i]] = true;
        }
        m->column[0][p->asof.left_time] = true;
        m->column[1][p->asof.right_time] = true;
    }
    for (unsigned s = 0; s < p->nscans; s++) {
        struct plan_scan *scan = &p->scan[s];
        scan->columns = arena_alloc(b->a, (scan->table->ncols + 1u) * sizeof *scan->columns);
        for (unsigned i = 0; i < scan->table->ncols && i < PST_COUNT(m->column[0]) && !b->a->failed;
             i++) {
            if (m->column[s][i]) {
                scan->columns[scan->ncolumns++] = (uint16_t)i;
            }
        }
    }
    return !b->a->failed;
}

/* ---- all together ---- */

static bool refused(struct binder *b, const select_tree *t)
{
    static const struct {
        const char *word, *text;
    } sets[] = {{"union", "UNION is not supported; run the queries one by one"},
                {"intersect", "INTERSECT is not supported; use WHERE ... IN"},
                {"except", "EXCEPT is not supported; use WHERE NOT ..."}};
    if (t->op != PG_QUERY__SET_OPERATION__SETOP_NONE &&
        t->op != PG_QUERY__SET_OPERATION__SET_OPERATION_UNDEFINED) {
        unsigned k = t->op == PG_QUERY__SET_OPERATION__SETOP_UNION       ? 0
                     : t->op == PG_QUERY__SET_OPERATION__SETOP_INTERSECT ? 1
                                                                         : 2;
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, sets[k].word), "%s",
                               sets[k].text);
    }
    if (t->with_clause) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "with"),
                               "WITH is not supported; configure the inner query as a view");
    }
    if (t->n_values_lists) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "values"),
                               "VALUES is not supported");
    }
    if (t->into_clause) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "into"),
                               "INTO is not supported: SQL only reads here");
    }
    if (t->n_window_clause) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "window"),
                               "WINDOW is not supported; group by time_bucket, or use LATEST BY");
    }
    if (t->n_locking_clause) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "for"),
                               "FOR UPDATE is not supported");
    }
    if (t->limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "ties"),
                               "WITH TIES is not supported");
    }
    if (t->n_distinct_clause && t->distinct_clause[0]->node_case != PG_QUERY__NODE__NODE__NOT_SET) {
        return query_error_set(
            b->e, QUERY_UNSUPPORTED, bind_word(b, "distinct"),
            "DISTINCT ON is not supported; LATEST BY takes the last row of each");
    }
    return true;
}

/* SELECT DISTINCT of plain expressions is GROUP BY them. */
static bool distinct_to_group(struct binder *b)
{
    struct plan *p = b->plan;
    if (p->grouped || p->nlatest || p->noutputs > PLAN_KEYS_MAX || p->nscans == 0) {
        p->distinct = true;
        return true;
    }
    for (uint32_t i = 0; i < p->noutputs; i++) {
        bool have = p->output[i].expr->op == PLAN_CONST;
        for (uint32_t k = 0; k < p->nkeys; k++) {
            have |= p->key[k] == p->output[i].expr;
        }
        if (!have) {
            p->key[p->nkeys++] = p->output[i].expr;
        }
    }
    if (p->nkeys == 0) { /* constants only: a global group would give a row over nothing */
        p->distinct = true;
        return true;
    }
    p->grouped = true;
    return true;
}

static bool select_body(struct binder *b, const select_tree *t, struct order_item *item)
{
    struct plan *p = b->plan;
    struct bind_pending w = {{NULL}};
    bool distinct = t->n_distinct_clause > 0;
    if (!refused(b, t) || !bind_from(b, t, &w)) {
        return false;
    }
    if (b->rw->nasof > 1 || (b->rw->nasof && p->nscans != 2)) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, b->rw->asof_at,
                               "one ASOF JOIN of two tables in FROM");
    }
    b->where = BIND_OUTPUT;
    if (!bind_targets(b, t)) {
        return false;
    }
    b->named = p->output;
    b->nnamed = p->noutputs;
    if (t->where_clause) {
        b->where = BIND_WHERE;
        struct plan_expr *x = bind_boolean(b, bind_expr(b, t->where_clause), "WHERE");
        if (!x || !spread(b, &w, x)) {
            return false;
        }
    }
    if (!bind_group(b, t)) {
        return false;
    }
    if (t->having_clause) {
        b->where = BIND_HAVING;
        p->having = bind_boolean(b, bind_expr(b, t->having_clause), "HAVING");
        if (!p->having) {
            return false;
        }
    }
    if (!bind_order(b, t, item)) {
        return false;
    }
    p->grouped = p->nkeys || p->naggs || p->having;
    if (!bind_latest(b)) {
        return false;
    }
    for (uint32_t i = 0; distinct && i < p->norder; i++) {
        if (item[i].expr) {
            return query_error_set(b->e, QUERY_UNSUPPORTED, item[i].pos,
                                   "with DISTINCT, ORDER BY takes columns of SELECT only");
        }
    }
    if (distinct && !distinct_to_group(b)) {
        return false;
    }
    if ((p->grouped && !lift_all(b, item)) || !place_order(b, item)) {
        return false;
    }
    if (p->nscans == 0 && t->where_clause == NULL && p->nkeys) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "group"),
                               "GROUP BY wants a FROM");
    }
    return bind_count(b, t->limit_count, "LIMIT", &p->limit) &&
           bind_count(b, t->limit_offset, "OFFSET", &p->offset) && finish_where(b, &w) &&
           collect_columns(b);
}

struct plan *bind_select(struct query_env *env, const struct query_request *q,
                         const struct rewrite *rw, const select_tree *t, struct query_error *e)
{
    struct arena *a = arena_new(64u << 20);
    struct plan *p = a ? arena_alloc(a, sizeof *p) : NULL;
    struct order_item *item = a ? arena_alloc(a, PLAN_KEYS_MAX * sizeof *item) : NULL;
    *e = (struct query_error){.position = -1};
    if (!p || a->failed) {
        arena_free(a);
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the plan");
        return NULL;
    }
    p->arena = a;
    p->limit = UINT64_MAX;
    p->limits = q->limits;
    struct binder b = {.env = env, .q = q, .rw = rw, .a = a, .plan = p, .e = e};
    bool ok = select_body(&b, t, item);
    if (ok && !a->failed) {
        return p;
    }
    if (!e->code) {
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the plan");
    }
    plan_free(p);
    return NULL;
}

void plan_free(struct plan *p)
{
    if (!p) {
        return;
    }
    for (struct bind_zone *z = p->zones; z; z = z->next) {
        tzone_free(z->zone);
    }
    arena_free(p->arena);
}
