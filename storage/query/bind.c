/* SPDX-License-Identifier: Apache-2.0 */
/* SELECT: from its parse tree to a plan. */
#include <strings.h>
#include "core/schema.h"
#include "bind.h"

/* ---- FROM ---- */

static const char *const forms =
    "FROM takes one table, t ASOF JOIN q USING (sym, time), or a named query";

static void *unknown_table(struct binder *b, const char *name, int64_t pos)
{
    const char *names[512];
    unsigned n = 0;
    const struct query_catalogue *c = &b->env->tables;
    const struct query_table *t;
    for (unsigned i = 0; c->at && n < PST_COUNT(names) && (t = c->at(c->ctx, i)) != NULL; i++) {
        names[n++] = t->name;
    }
    for (unsigned i = 0; i < b->env->nviews && n < PST_COUNT(names); i++) {
        names[n++] = b->env->views[i].name;
    }
    const char *near = query_nearest(name, names, n);
    return bind_error(b, QUERY_NAME, pos, "there is no table %.60s%s%s%s", name,
                      near ? "; did you mean " : "; SHOW TABLES lists them", near ? near : "",
                      near ? "?" : "");
}

static const struct query_table *find_table(struct binder *b, const char *name)
{
    const struct query_catalogue *c = &b->env->tables;
    const struct query_table *t = c->find ? c->find(c->ctx, name) : NULL, *like = NULL;
    for (unsigned i = 0; !t && c->at; i++) { /* unquoted names come in lower case */
        const struct query_table *o = c->at(c->ctx, i);
        if (!o) {
            return like;
        }
        if (!strcasecmp(o->name, name)) {
            if (like) {
                return NULL;
            }
            like = o;
        }
    }
    return t;
}

static const struct query_view *find_view(struct binder *b, const char *name)
{
    for (unsigned i = 0; i < b->env->nviews; i++) {
        if (!strcasecmp(b->env->views[i].name, name)) {
            return &b->env->views[i];
        }
    }
    return NULL;
}

static int table_column(const struct query_table *t, const char *name)
{
    for (unsigned i = 0; i < t->ncols; i++) {
        if (!strcmp(t->cols[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

static void use_table(struct binder *b, const struct query_table *t, struct bind_source *s)
{
    struct plan_scan *scan = &b->plan->scan[s->side];
    s->table = t;
    scan->table = t;
    scan->alias = s->alias;
    scan->sym_column = table_column(t, "sym");
    scan->time_column = table_column(t, "time");
    if (scan->sym_column >= 0 && t->cols[scan->sym_column].type != PST_SYMBOL) {
        scan->sym_column = -1;
    }
    if (scan->time_column >= 0 && t->cols[scan->time_column].type != PST_TIMESTAMP) {
        scan->time_column = -1;
    }
}

struct pending {              /* conditions that hold for one scan or for the joined rows */
    struct plan_expr *all[3]; /* left, right, both */
};

static bool add_condition(struct binder *b, struct pending *w, unsigned slot, struct plan_expr *x)
{
    w->all[slot] = w->all[slot] ? bind_make2(b, PLAN_AND, PST_BOOLEAN, x->pos, w->all[slot], x) : x;
    return w->all[slot] != NULL;
}

static bool bind_targets(struct binder *b, const select_tree *t);
static bool use_view(struct binder *b, const struct query_view *v, struct bind_source *s,
                     struct pending *w, int64_t pos);

static bool use_name(struct binder *b, const PgQuery__RangeVar *r, struct bind_source *s,
                     struct pending *w)
{
    int64_t pos = bind_pos(b, r->location);
    if (*r->schemaname || *r->catalogname) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "tables have no schema here; write %.60s", r->relname);
    }
    if (r->alias && r->alias->n_colnames) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "column aliases of a table are not supported; rename in SELECT");
    }
    s->name = arena_text(b->a, r->relname, strlen(r->relname));
    s->alias =
        r->alias ? arena_text(b->a, r->alias->aliasname, strlen(r->alias->aliasname)) : s->name;
    const struct query_table *t = find_table(b, r->relname);
    if (t) {
        use_table(b, t, s);
        return true;
    }
    const struct query_view *v = find_view(b, r->relname);
    return v ? use_view(b, v, s, w, pos) : unknown_table(b, r->relname, pos) != NULL;
}

/* What a view may hold, by name and position of the rest. */
static bool view_shape(struct binder *b, const select_tree *t, const struct query_view *v,
                       int64_t pos)
{
    const char *what =
        t->op != PG_QUERY__SET_OPERATION__SETOP_NONE ? "UNION"
        : t->with_clause                             ? "WITH"
        : t->n_distinct_clause                       ? "DISTINCT"
        : t->n_group_clause || t->having_clause      ? "GROUP BY"
        : t->n_sort_clause                           ? "ORDER BY"
        : t->limit_count || t->limit_offset          ? "LIMIT"
        : t->n_window_clause                         ? "WINDOW"
        : t->n_values_lists                          ? "VALUES"
        : t->into_clause                             ? "INTO"
        : t->n_locking_clause                        ? "FOR UPDATE"
        : t->n_from_clause != 1 || t->from_clause[0]->node_case != PG_QUERY__NODE__NODE_RANGE_VAR
            ? "a FROM other than one table or view"
            : NULL;
    return !what ||
           query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                           "view %.60s has %s; a view is SELECT ... FROM one table or view "
                           "[WHERE ...]",
                           v->name, what);
}

static void name_view_in_error(struct binder *b, const struct query_view *v, int64_t pos)
{
    char text[sizeof b->e->text];
    if (!strncmp(b->e->text, "view ", 5)) {
        return;
    }
    memcpy(text, b->e->text, sizeof text);
    b->e->position = pos;
    snprintf(b->e->text, sizeof b->e->text, "view %.60s: %.400s", v->name, text);
}

static bool view_body(struct binder *b, const struct query_view *v, struct bind_source *s,
                      struct pending *w, int64_t pos, const struct parsed *p)
{
    const select_tree *t = p->statement->select_stmt;
    struct bind_source inner = {.side = s->side};
    struct plan_output *outputs = b->plan->output;
    uint32_t noutputs = b->plan->noutputs;
    if (!view_shape(b, t, v, pos) || !use_name(b, t->from_clause[0]->range_var, &inner, w)) {
        return false;
    }
    b->nsources = 1;
    b->source[0] = inner;
    b->plan->output = NULL;
    b->plan->noutputs = 0;
    b->where = BIND_OUTPUT;
    if (!bind_targets(b, t)) {
        return false;
    }
    uint32_t n = b->plan->noutputs;
    s->ncolumns = n;
    s->column = arena_alloc(b->a, (n + 1) * sizeof *s->column);
    s->column_name = arena_alloc(b->a, (n + 1) * sizeof *s->column_name);
    for (uint32_t i = 0; i < n && !b->a->failed; i++) {
        s->column[i] = b->plan->output[i].expr;
        s->column_name[i] = b->plan->output[i].name;
    }
    b->plan->output = outputs;
    b->plan->noutputs = noutputs;
    b->plan->scan[s->side].alias = s->alias;
    s->table = inner.table;
    if (t->where_clause) {
        b->where = BIND_WHERE;
        struct plan_expr *x = bind_boolean(b, bind_expr(b, t->where_clause), "WHERE");
        return x && add_condition(b, w, s->side, x);
    }
    return !b->a->failed;
}

static bool use_view(struct binder *b, const struct query_view *v, struct bind_source *s,
                     struct pending *w, int64_t pos)
{
    if (b->view_depth == BIND_VIEWS_MAX) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "views stand on views too deeply (over %u): %.60s", BIND_VIEWS_MAX,
                               v->name);
    }
    struct parsed p;
    struct binder saved = *b;
    if (!parse_sql(v->sql, strlen(v->sql), &p, b->e)) {
        name_view_in_error(b, v, pos);
        return false;
    }
    b->rw = &p.rw;
    b->view = v;
    b->view_pos = pos;
    b->view_depth++;
    bool ok =
        p.statement->node_case == PG_QUERY__NODE__NODE_SELECT_STMT && !p.rw.nlatest && !p.rw.nasof
            ? view_body(b, v, s, w, pos, &p)
            : query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                              "view %.60s: a view is SELECT ... FROM one table or view [WHERE ...]",
                              v->name);
    if (!ok) {
        name_view_in_error(b, v, pos);
    }
    parse_free(&p);
    b->rw = saved.rw;
    b->view = saved.view;
    b->view_pos = saved.view_pos;
    b->view_depth = saved.view_depth;
    b->nsources = saved.nsources;
    b->where = saved.where;
    memcpy(b->source, saved.source, sizeof b->source);
    return ok;
}

/* ---- named queries ---- */

static bool call_argument(struct binder *b, const struct query_function *f, unsigned i,
                          const tree *n)
{
    const struct query_call_param *p = &f->params[i];
    char what[160];
    snprintf(what, sizeof what, "parameter %.60s of %.60s", p->name, f->name);
    struct plan_expr *x = bind_expr(b, n);
    x = x ? bind_coerce(b, x, p->type, what) : NULL;
    if (!x) {
        return false;
    }
    if (x->op != PLAN_CONST) {
        return query_error_set(b->e, QUERY_TYPE, x->pos, "%s wants a constant", what);
    }
    b->plan->call_arg[i] = x;
    return true;
}

static bool use_call(struct binder *b, const PgQuery__FuncCall *c, const char *alias,
                     struct bind_source *s)
{
    int64_t pos = bind_pos(b, c->location);
    const char *name = c->n_funcname ? bind_string(c->funcname[c->n_funcname - 1]) : NULL;
    const struct query_functions *fs = &b->env->functions;
    const struct query_function *f = name && fs->find ? fs->find(fs->ctx, name) : NULL;
    if (!f) {
        const char *names[256];
        unsigned n = 0;
        const struct query_function *o;
        for (unsigned i = 0; fs->at && n < PST_COUNT(names) && (o = fs->at(fs->ctx, i)) != NULL;
             i++) {
            names[n++] = o->name;
        }
        const char *near = name ? query_nearest(name, names, n) : NULL;
        return query_error_set(b->e, QUERY_NAME, pos, "there is no named query %.60s%s%s%s",
                               name ? name : "",
                               near ? "; did you mean " : "; is its plugin loaded?",
                               near ? near : "", near ? "?" : "");
    }
    if (c->agg_star || c->agg_distinct || c->agg_filter || c->over || c->n_agg_order ||
        f->nparams > QUERY_CALL_ARGS_MAX) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos, "a named query takes plain arguments");
    }
    b->where = BIND_ARGUMENT;
    b->plan->call = f;
    b->plan->call_arg = arena_alloc(b->a, (f->nparams + 1) * sizeof *b->plan->call_arg);
    if (b->a->failed) {
        return false;
    }
    for (size_t i = 0; i < c->n_args; i++) {
        const tree *n = c->args[i];
        unsigned k = (unsigned)i;
        if (n->node_case == PG_QUERY__NODE__NODE_NAMED_ARG_EXPR) {
            const char *names[QUERY_CALL_ARGS_MAX];
            for (k = 0; k < f->nparams; k++) {
                names[k] = f->params[k].name;
                if (!strcasecmp(f->params[k].name, n->named_arg_expr->name)) {
                    break;
                }
            }
            const char *near =
                k == f->nparams ? query_nearest(n->named_arg_expr->name, names, k) : NULL;
            if (k == f->nparams) {
                return query_error_set(b->e, QUERY_NAME, bind_pos(b, n->named_arg_expr->location),
                                       "%.60s has no parameter %.60s%s%s", f->name,
                                       n->named_arg_expr->name, near ? "; it has " : "",
                                       near ? near : "");
            }
            n = n->named_arg_expr->arg;
        }
        if (k >= f->nparams) {
            return query_error_set(b->e, QUERY_TYPE, pos,
                                   "%.60s wants at most %u arguments, not %zu", f->name, f->nparams,
                                   c->n_args);
        }
        if (b->plan->call_arg[k]) {
            return query_error_set(b->e, QUERY_TYPE, pos, "parameter %.60s of %.60s is given twice",
                                   f->params[k].name, f->name);
        }
        if (!call_argument(b, f, k, n)) {
            return false;
        }
    }
    for (unsigned i = 0; i < f->nparams; i++) {
        if (b->plan->call_arg[i]) {
            continue;
        }
        if (!f->params[i].optional) {
            return query_error_set(b->e, QUERY_TYPE, pos, "%.60s wants its parameter %.60s (%s)",
                                   f->name, f->params[i].name, type_name(f->params[i].type));
        }
        b->plan->call_arg[i] = bind_null(b, f->params[i].type, pos);
        if (!b->plan->call_arg[i]) {
            return false;
        }
    }
    struct query_table *t = arena_alloc(b->a, sizeof *t);
    s->name = arena_text(b->a, f->name, strlen(f->name));
    s->alias = alias ? arena_text(b->a, alias, strlen(alias)) : s->name;
    s->hide_date = true;
    if (b->a->failed) {
        return false;
    }
    *t = (struct query_table){.name = s->name, .ncols = f->ncols, .cols = f->cols};
    use_table(b, t, s);
    return true;
}

static bool use_function(struct binder *b, const PgQuery__RangeFunction *r, struct bind_source *s)
{
    const tree *list = r->n_functions ? r->functions[0] : NULL;
    const tree *f = list && list->node_case == PG_QUERY__NODE__NODE_LIST && list->list->n_items
                        ? list->list->items[0]
                        : NULL;
    if (!f || f->node_case != PG_QUERY__NODE__NODE_FUNC_CALL || r->lateral || r->ordinality ||
        r->is_rowsfrom || r->n_coldeflist || (r->alias && r->alias->n_colnames)) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "from"),
                               "only name(arguments) [alias] of a named query can stand here");
    }
    return use_call(b, f->func_call, r->alias ? r->alias->aliasname : NULL, s);
}

/* ---- ASOF ---- */

static struct plan_expr *using_column(struct binder *b, struct bind_source *s, const char *name,
                                      int64_t pos)
{
    struct bind_source saved[2] = {b->source[0], b->source[1]};
    b->source[0] = *s;
    b->nsources = 1;
    struct plan_expr *x = bind_column(b, NULL, name, pos, false);
    memcpy(b->source, saved, sizeof saved);
    b->nsources = 2;
    if (x && x->op != PLAN_COLUMN) {
        return bind_error(b, QUERY_UNSUPPORTED, pos,
                          "USING wants plain columns; %.60s of %.60s is computed", name, s->alias);
    }
    return x;
}

static bool bind_using(struct binder *b, const PgQuery__JoinExpr *j)
{
    struct plan_asof *a = &b->plan->asof;
    int64_t pos = b->rw->asof_at;
    size_t n = j->n_using_clause;
    if (n < 1 || n > PLAN_KEYS_MAX) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "ASOF JOIN wants USING (sym, time), time as the last column");
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = bind_string(j->using_clause[i]);
        struct plan_expr *l = using_column(b, &b->source[0], name ? name : "", pos);
        struct plan_expr *r = l ? using_column(b, &b->source[1], name ? name : "", pos) : NULL;
        if (!r) {
            return false;
        }
        b->using_name[b->using_columns++] = arena_text(b->a, name, strlen(name));
        if (l->type != r->type) {
            return query_error_set(
                b->e, QUERY_TYPE, pos, "%.60s is a %s in %.60s and a %s in %.60s", name,
                type_name(l->type), b->source[0].alias, type_name(r->type), b->source[1].alias);
        }
        if (i + 1 == n) {
            if (l->column != b->plan->scan[0].time_column ||
                r->column != b->plan->scan[1].time_column) {
                return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                                       "the last column of USING must be time: USING (sym, time)");
            }
            a->left_time = l->column;
            a->right_time = r->column;
        } else if (l->column != 0) { /* date is equal anyway */
            a->left_key[a->nkeys] = l->column;
            a->right_key[a->nkeys++] = r->column;
        }
    }
    for (uint32_t i = 1; i < a->nkeys; i++) { /* sym first */
        if (a->left_key[i] == b->plan->scan[0].sym_column &&
            a->right_key[i] == b->plan->scan[1].sym_column) {
            uint16_t l = a->left_key[0], r = a->right_key[0];
            a->left_key[0] = a->left_key[i];
            a->right_key[0] = a->right_key[i];
            a->left_key[i] = l;
            a->right_key[i] = r;
        }
    }
    b->using_name[b->using_columns] = "date";
    b->using_columns += b->using_columns < PLAN_KEYS_MAX;
    return true;
}

static bool bind_asof(struct binder *b, const PgQuery__JoinExpr *j, struct pending *w)
{
    int64_t pos = b->rw->join_at >= 0 ? b->rw->join_at
                  : b->rw->nasof      ? (int64_t)b->rw->asof_at
                                      : -1;
    if (b->rw->join_at >= 0 || !b->rw->nasof || j->jointype != PG_QUERY__JOIN_TYPE__JOIN_LEFT ||
        j->is_natural) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "of joins there is only t ASOF JOIN q USING (sym, time)");
    }
    if (j->quals || j->alias || j->join_using_alias) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "ASOF JOIN wants USING (sym, time), not ON or an alias of the pair");
    }
    if (!j->larg || !j->rarg || j->larg->node_case != PG_QUERY__NODE__NODE_RANGE_VAR ||
        j->rarg->node_case != PG_QUERY__NODE__NODE_RANGE_VAR) {
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos,
                               "ASOF JOIN joins two tables or views, once");
    }
    struct bind_source l = {.side = 0}, r = {.side = 1};
    if (!use_name(b, j->larg->range_var, &l, w) || !use_name(b, j->rarg->range_var, &r, w)) {
        return false;
    }
    if (!strcasecmp(l.alias, r.alias)) {
        return query_error_set(b->e, QUERY_NAME, pos,
                               "both tables are called %.60s; give one an alias: %.60s q", l.alias,
                               r.name);
    }
    b->source[0] = l;
    b->source[1] = r;
    b->nsources = 2;
    b->plan->nscans = 2;
    return bind_using(b, j);
}

static bool bind_from(struct binder *b, const select_tree *t, struct pending *w)
{
    struct bind_source s = {.side = 0};
    if (t->n_from_clause == 0) {
        return true;
    }
    const tree *n = t->from_clause[0];
    if (t->n_from_clause > 1) {
        const tree *second = t->from_clause[1];
        int64_t pos = second->node_case == PG_QUERY__NODE__NODE_RANGE_VAR
                          ? bind_pos(b, second->range_var->location)
                          : bind_word(b, "from");
        return query_error_set(b->e, QUERY_UNSUPPORTED, pos, "a second table: %s", forms);
    }
    bool ok;
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_RANGE_VAR:
        ok = use_name(b, n->range_var, &s, w);
        break;
    case PG_QUERY__NODE__NODE_RANGE_FUNCTION:
        ok = use_function(b, n->range_function, &s);
        break;
    case PG_QUERY__NODE__NODE_JOIN_EXPR:
        return bind_asof(b, n->join_expr, w);
    case PG_QUERY__NODE__NODE_RANGE_SUBSELECT:
        return query_error_set(
            b->e, QUERY_UNSUPPORTED, bind_word(b, "from"),
            "a subquery in FROM is not supported; configure it as a view, or write "
            "one SELECT");
    case PG_QUERY__NODE__NODE_RANGE_TABLE_SAMPLE:
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "tablesample"),
                               "TABLESAMPLE is not supported; use WHERE seq %% 100 = 0");
    default:
        return query_error_set(b->e, QUERY_UNSUPPORTED, bind_word(b, "from"), "%s", forms);
    }
    if (ok) {
        b->source[0] = s;
        b->nsources = 1;
        b->plan->nscans = 1;
    }
    return ok;
}

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

static bool bind_targets(struct binder *b, const select_tree *t)
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

static bool spread(struct binder *b, struct pending *w, struct plan_expr *x)
{
    bool and = x->op == PLAN_AND;
    for (unsigned i = 0; i < (and? x->nargs : 1u); i++) {
        struct plan_expr *c = and? x->arg[i] : x;
        unsigned slot = b->nsources == 2 && (c->sides & 2) ? 2 : 0;
        if (!add_condition(b, w, slot, c)) {
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

static bool finish_where(struct binder *b, struct pending *w)
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
    struct pending w = {{NULL}};
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
