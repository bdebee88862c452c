/* SPDX-License-Identifier: Apache-2.0 */
/* FROM: tables, views, named queries, ASOF. */
#include <strings.h>
#include "core/schema.h"
#include "bind.h"

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

bool bind_condition(struct binder *b, struct bind_pending *w, unsigned slot, struct plan_expr *x)
{
    w->all[slot] = w->all[slot] ? bind_make2(b, PLAN_AND, PST_BOOLEAN, x->pos, w->all[slot], x) : x;
    return w->all[slot] != NULL;
}

static bool use_view(struct binder *b, const struct query_view *v, struct bind_source *s,
                     struct bind_pending *w, int64_t pos);

static bool use_name(struct binder *b, const PgQuery__RangeVar *r, struct bind_source *s,
                     struct bind_pending *w)
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
                      struct bind_pending *w, int64_t pos, const struct parsed *p)
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
        return x && bind_condition(b, w, s->side, x);
    }
    return !b->a->failed;
}

static bool use_view(struct binder *b, const struct query_view *v, struct bind_source *s,
                     struct bind_pending *w, int64_t pos)
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

static bool bind_asof(struct binder *b, const PgQuery__JoinExpr *j, struct bind_pending *w)
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

bool bind_from(struct binder *b, const select_tree *t, struct bind_pending *w)
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
