/* SPDX-License-Identifier: Apache-2.0 */
/* The entry: statements, named queries, EXPLAIN, warnings. */
#include <strings.h>
#include "core/civil.h"
#include "core/schema.h"
#include "bind.h"
#include "exec.h"
#include "lex.h"

/* ---- results made here ---- */

static bool result_texts(struct result *r, unsigned col, const char *const *text, uint64_t rows)
{
    struct result_column *c = &r->col[col];
    size_t total = 0;
    for (uint64_t i = 0; i < rows; i++) {
        total += strlen(text[i]);
    }
    c->type = PST_STRING;
    c->at = calloc(rows + 1, sizeof *c->at);
    c->chars = malloc(total + 1);
    if (!c->at || !c->chars) {
        return false;
    }
    for (uint64_t i = 0; i < rows; i++) {
        size_t n = strlen(text[i]);
        memcpy(c->chars + c->at[i], text[i], n);
        c->at[i + 1] = c->at[i] + n;
    }
    return true;
}

/* A result of texts: names and cells by column. NULL: no memory (e). */
static struct result *table_of_texts(unsigned ncols, const char *const *names,
                                     const char *const *const *cells, uint64_t rows,
                                     struct query_error *e)
{
    struct result *r = result_new(ncols);
    bool ok = r != NULL;
    for (unsigned i = 0; i < ncols && ok; i++) {
        snprintf(r->col[i].name, sizeof r->col[i].name, "%s", names[i]);
        ok = result_texts(r, i, cells[i], rows);
    }
    if (!ok) {
        result_free(r);
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the result");
        return NULL;
    }
    r->rows = rows;
    return r;
}

static bool lines_result(char *text, struct result **out, struct query_error *e)
{
    uint64_t n = 0, room = 0;
    const char **line = NULL;
    for (char *save = NULL, *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (n == room) {
            room = room ? room * 2 : 32;
            const char **more = realloc(line, room * sizeof *line);
            if (!more) {
                free(line);
                return query_error_set(e, QUERY_LIMIT, -1, "no memory for the result");
            }
            line = more;
        }
        line[n++] = l;
    }
    *out = table_of_texts(1, (const char *[]){"plan"}, (const char *const *[]){line}, n, e);
    free(line);
    return *out != NULL;
}

/* ---- SHOW TABLES, DESCRIBE ---- */

struct word { /* a statement's words, lower case unless quoted */
    char text[128];
    uint32_t at;
};

static unsigned words_of(const struct query_request *q, struct word *w, unsigned max)
{
    struct lex l = {.text = q->sql, .len = (uint32_t)q->len};
    unsigned n = 0;
    bool slash = false;
    for (;;) {
        struct lex_token t = lex_next(&l);
        if (t.kind == LEX_END || n == max) {
            return t.kind == LEX_END ? n : max + 1;
        }
        if (t.kind == LEX_OP && l.text[t.at] == ';') {
            continue;
        }
        if (t.kind == LEX_OP && l.text[t.at] == '\\' && n == 0 && !slash) { /* \d */
            slash = true;
            continue;
        }
        if ((t.kind != LEX_WORD && t.kind != LEX_QUOTED) || t.len > 120) {
            return max + 1;
        }
        bool quoted = t.kind == LEX_QUOTED;
        uint32_t k = 0;
        if (slash) {
            w[n].text[k++] = '\\';
        }
        for (uint32_t i = quoted; i < t.len - quoted; i++) {
            char c = l.text[t.at + i];
            w[n].text[k++] = !quoted && c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
        }
        w[n].text[k] = 0;
        w[n++].at = t.at;
        slash = false;
    }
}

static bool show_tables(struct query_env *env, struct result **out, struct query_error *e)
{
    enum { MAX = 4096 };
    const char **name = calloc(MAX, sizeof *name), **kind = calloc(MAX, sizeof *kind);
    const struct query_table *t;
    unsigned n = 0;
    for (unsigned i = 0; name && kind && n < MAX && env->tables.at &&
                         (t = env->tables.at(env->tables.ctx, i)) != NULL;
         i++) {
        name[n] = t->name;
        kind[n++] = t->nkeys ? "keyed table" : "table";
    }
    for (unsigned i = 0; name && kind && n < MAX && i < env->nviews; i++) {
        name[n] = env->views[i].name;
        kind[n++] = "view";
    }
    const struct query_function *f;
    for (unsigned i = 0; name && kind && n < MAX && env->functions.at &&
                         (f = env->functions.at(env->functions.ctx, i)) != NULL;
         i++) {
        name[n] = f->name;
        kind[n++] = "named query";
    }
    if (name && kind) {
        *out = table_of_texts(2, (const char *[]){"name", "kind"},
                              (const char *const *[]){name, kind}, n, e);
    } else {
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the result");
    }
    free(name);
    free(kind);
    return *out != NULL;
}

/* The columns of a table, or of a view: by binding SELECT * FROM it. */
static bool describe(struct query_env *env, const struct query_request *q, const struct word *w,
                     struct result **out, struct query_error *e)
{
    struct text_out sql = {0};
    text_put(&sql, "SELECT * FROM \"");
    for (const char *p = w->text; *p; p++) {
        text_put(&sql, *p == '"' ? "\"\"" : "%c", *p);
    }
    text_put(&sql, "\"");
    struct query_request r = {.sql = sql.p, .len = sql.len, .limits = q->limits};
    struct plan *p = sql.failed ? NULL : query_plan(env, &r, e);
    if (!p) {
        e->position = w->at;
        free(sql.p);
        return sql.failed ? query_error_set(e, QUERY_LIMIT, -1, "no memory for the result") : false;
    }
    const char *name[PLAN_OUTPUTS_MAX], *type[PLAN_OUTPUTS_MAX], *key[PLAN_OUTPUTS_MAX];
    const struct query_table *t = p->scan[0].table;
    for (uint32_t i = 0; i < p->noutputs; i++) {
        const struct plan_expr *x = p->output[i].expr;
        name[i] = p->output[i].name;
        type[i] = type_name(x->type);
        key[i] = "";
        for (unsigned k = 0; k < t->nkeys; k++) {
            key[i] = x->op == PLAN_COLUMN && t->keys[k] == x->column ? "key" : key[i];
        }
    }
    *out = table_of_texts(3, (const char *[]){"column", "type", "key"},
                          (const char *const *[]){name, type, key}, p->noutputs, e);
    plan_free(p);
    free(sql.p);
    return *out != NULL;
}

/* True: it was such a statement, *ok says how it went. */
static bool own_statement(struct query_env *env, const struct query_request *q, struct result **out,
                          struct query_error *e, bool *ok)
{
    struct word w[4];
    unsigned n = words_of(q, w, 3);
    if (n == 0 || n > 3) {
        return false;
    }
    bool desc =
        !strcmp(w[0].text, "describe") || !strcmp(w[0].text, "desc") || !strcmp(w[0].text, "\\d");
    if (n == 2 && !strcmp(w[0].text, "show") && !strcmp(w[1].text, "tables")) {
        *ok = show_tables(env, out, e);
    } else if (n == 1 && !strcmp(w[0].text, "\\d")) {
        *ok = show_tables(env, out, e);
    } else if (desc && n == 2) {
        *ok = describe(env, q, &w[1], out, e);
    } else if (desc && n == 3 && !strcmp(w[1].text, "table")) {
        *ok = describe(env, q, &w[2], out, e);
    } else if (n == 3 && !strcmp(w[0].text, "show") && !strcmp(w[1].text, "columns")) {
        *ok = query_error_set(e, QUERY_UNSUPPORTED, w[0].at, "write DESCRIBE table");
    } else if (desc) {
        *ok = query_error_set(e, QUERY_SYNTAX, w[0].at, "write DESCRIBE table");
    } else {
        return false;
    }
    return true;
}

/* ---- statements ---- */

static bool explain_options(const PgQuery__ExplainStmt *x, uint8_t *how, struct query_error *e,
                            const struct parsed *p)
{
    *how = PLAN_EXPLAIN_ONLY;
    for (size_t i = 0; i < x->n_options; i++) {
        const PgQuery__DefElem *d = x->options[i]->node_case == PG_QUERY__NODE__NODE_DEF_ELEM
                                        ? x->options[i]->def_elem
                                        : NULL;
        if (!d || strcmp(d->defname, "analyze") != 0) {
            return query_error_set(
                e, QUERY_UNSUPPORTED, d ? rewrite_position(&p->rw, d->location) : -1,
                "EXPLAIN takes ANALYZE only, not %.40s", d ? d->defname : "this");
        }
        const char *off = d->arg ? bind_string(d->arg) : NULL;
        *how = off && (!strcmp(off, "off") || !strcmp(off, "false")) ? PLAN_EXPLAIN_ONLY
                                                                     : PLAN_EXPLAIN_ANALYZE;
    }
    return true;
}

/* The first word of a statement that is not ours, by name. */
static void *refuse_statement(const struct query_request *q, struct query_error *e)
{
    struct lex l = {.text = q->sql, .len = (uint32_t)q->len};
    struct lex_token t = lex_next(&l);
    char word[32];
    size_t n = t.kind == LEX_WORD ? t.len : 0;
    n = n < sizeof word ? n : sizeof word - 1;
    for (size_t i = 0; i < n; i++) {
        char c = q->sql[t.at + i];
        word[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    word[n] = 0;
    query_error_set(
        e, QUERY_UNSUPPORTED, t.at,
        "%s is not supported: SQL only reads here (SELECT, EXPLAIN, SHOW TABLES, DESCRIBE, "
        "CALL); tables are filled by feeds and publishers",
        n ? word : "this statement");
    return NULL;
}

/* CALL name(args) is SELECT * FROM name(args). */
static struct plan *plan_call(struct query_env *env, const struct query_request *q,
                              const struct parsed *p, struct query_error *e)
{
    tree star = {.base.descriptor = &pg_query__node__descriptor}, ref = star, target = star,
         call = star, list = star, function = star;
    PgQuery__AStar a_star = PG_QUERY__A__STAR__INIT;
    PgQuery__ColumnRef column = PG_QUERY__COLUMN_REF__INIT;
    PgQuery__ResTarget res = PG_QUERY__RES_TARGET__INIT;
    PgQuery__List items = PG_QUERY__LIST__INIT;
    PgQuery__RangeFunction range = PG_QUERY__RANGE_FUNCTION__INIT;
    PgQuery__SelectStmt s = PG_QUERY__SELECT_STMT__INIT;
    star.node_case = PG_QUERY__NODE__NODE_A_STAR;
    star.a_star = &a_star;
    column.n_fields = 1;
    column.fields = (tree *[]){&star};
    ref.node_case = PG_QUERY__NODE__NODE_COLUMN_REF;
    ref.column_ref = &column;
    res.val = &ref;
    target.node_case = PG_QUERY__NODE__NODE_RES_TARGET;
    target.res_target = &res;
    call.node_case = PG_QUERY__NODE__NODE_FUNC_CALL;
    call.func_call = p->statement->call_stmt->funccall;
    items.n_items = 1;
    items.items = (tree *[]){&call};
    list.node_case = PG_QUERY__NODE__NODE_LIST;
    list.list = &items;
    range.n_functions = 1;
    range.functions = (tree *[]){&list};
    function.node_case = PG_QUERY__NODE__NODE_RANGE_FUNCTION;
    function.range_function = &range;
    s.n_target_list = 1;
    s.target_list = (tree *[]){&target};
    s.n_from_clause = 1;
    s.from_clause = (tree *[]){&function};
    return bind_select(env, q, &p->rw, &s, e);
}

static struct plan *plan_statement(struct query_env *env, const struct query_request *q,
                                   const struct parsed *p, struct query_error *e)
{
    const tree *n = p->statement;
    uint8_t how = PLAN_RUN;
    if (n->node_case == PG_QUERY__NODE__NODE_EXPLAIN_STMT) {
        if (!explain_options(n->explain_stmt, &how, e, p)) {
            return NULL;
        }
        n = n->explain_stmt->query;
    }
    if (n && n->node_case == PG_QUERY__NODE__NODE_CALL_STMT && how == PLAN_RUN &&
        n->call_stmt->funccall) {
        return plan_call(env, q, p, e);
    }
    if (!n || n->node_case != PG_QUERY__NODE__NODE_SELECT_STMT) {
        return refuse_statement(q, e);
    }
    struct plan *plan = bind_select(env, q, &p->rw, n->select_stmt, e);
    if (plan) {
        plan->explain = how;
    }
    return plan;
}

struct plan *query_plan(struct query_env *env, const struct query_request *q, struct query_error *e)
{
    struct parsed p;
    *e = (struct query_error){.position = -1};
    struct plan *plan = NULL;
    if (parse_sql(q->sql, q->len, &p, e)) {
        plan = plan_statement(env, q, &p, e);
        parse_free(&p);
    }
    if (!plan) {
        query_error_locate(e, q->sql, q->len);
    }
    return plan;
}

/* ---- warnings ---- */

/* A gap row's time is when the loss was declared, which may be later than what was lost. */
#define GAP_MARGIN (60 * PST_SECOND_NS)

static bool spans_feed(const struct plan *p)
{
    for (unsigned s = 0; s < p->nscans; s++) {
        const struct query_table *t = p->scan[s].table;
        for (unsigned i = 0; t && i < t->ncols && !p->call; i++) {
            if (!strcmp(t->cols[i].name, "feed") && strcmp(t->name, "gap") != 0 &&
                strcmp(t->name, "undecoded") != 0) {
                return true;
            }
        }
    }
    return false;
}

/* The rows of `gap` in the dates and times of the query. NULL: none to ask, or the asking failed.
 */
static struct result *ask_gaps(struct query_env *env, const struct plan *p, const char *select,
                               const char *tail)
{
    const struct plan_bounds *b = &p->scan[0].bounds;
    struct text_out sql = {0};
    struct query_error e;
    struct result *r = NULL;
    text_put(&sql, "SELECT %s FROM gap WHERE true", select);
    if (b->day_lo != INT32_MIN) {
        text_put(&sql, " AND date >= %d::date", b->day_lo);
    }
    if (b->day_hi != INT32_MAX) {
        text_put(&sql, " AND date <= %d::date", b->day_hi);
    }
    for (uint32_t i = 0; b->days && i < b->ndays && i < 1000; i++) {
        text_put(&sql, "%s%d::date%s", i ? "," : " AND date IN (", b->days[i],
                 i + 1 == b->ndays || i + 1 == 1000 ? ")" : "");
    }
    if (b->time_lo != INT64_MIN) {
        text_put(&sql, " AND time >= %lld::timestamp", (long long)b->time_lo);
    }
    if (b->time_hi < INT64_MAX - GAP_MARGIN) {
        text_put(&sql, " AND time <= %lld::timestamp", (long long)(b->time_hi + GAP_MARGIN));
    }
    text_put(&sql, " %s", tail);
    struct query_request q = {.sql = sql.p, .len = sql.len, .limits = p->limits};
    struct plan *ask = sql.failed ? NULL : query_plan(env, &q, &e);
    if (ask && !exec_run(ask, &r, &e)) {
        r = NULL;
    }
    plan_free(ask);
    free(sql.p);
    return r;
}

static const char *cell(const struct result *r, unsigned col, uint64_t row, char *buf, size_t room)
{
    uint32_t n;
    const char *t = result_text(r, col, row, &n);
    snprintf(buf, room, "%.*s", (int)n, t ? t : "");
    return buf;
}

static void warn_gaps(struct query_env *env, const struct plan *p, struct result *out)
{
    bool table = env->tables.find && env->tables.find(env->tables.ctx, "gap");
    if (!env->check_gaps || !table || p->empty || !spans_feed(p)) {
        return;
    }
    struct result *sum = ask_gaps(env, p, "count(*), sum(last - first + 1)", "");
    int64_t n = sum ? result_int(sum, 0, 0) : 0;
    if (n > 0) {
        int64_t lost = result_is_null(sum, 1, 0) ? 0 : result_int(sum, 1, 0);
        result_add_note(out, RESULT_NOTE_GAP,
                        "the answer spans %lld gap%s in the feed: %lld messages missing",
                        (long long)n, n == 1 ? "" : "s", (long long)lost);
        struct result *worst = ask_gaps(env, p, "feed, session, first, last, reason, time",
                                        "ORDER BY last - first DESC NULLS LAST, time LIMIT 3");
        for (uint64_t i = 0; worst && i < worst->rows; i++) {
            char feed[300], session[300], reason[300], when[CIVIL_STAMP_TEXT] = "an unknown time";
            if (!result_is_null(worst, 5, i)) {
                civil_format_stamp(result_int(worst, 5, i), when);
            }
            result_add_note(out, RESULT_NOTE_GAP, "gap: %s/%s %lld to %lld at %s (%s)",
                            cell(worst, 0, i, feed, sizeof feed),
                            cell(worst, 1, i, session, sizeof session),
                            (long long)result_int(worst, 2, i), (long long)result_int(worst, 3, i),
                            when, cell(worst, 4, i, reason, sizeof reason));
        }
        result_free(worst);
    }
    result_free(sum);
}

/* ---- run ---- */

static bool run_plan(struct query_env *env, struct plan *p, struct result **out,
                     struct query_error *e)
{
    void *source = NULL;
    struct query_table called;
    const struct query_table *table = p->nscans ? p->scan[0].table : NULL;
    if (p->call && p->explain != PLAN_EXPLAIN_ONLY) {
        if (!env->functions.call(env->functions.ctx, p->call, p->call_arg, env, &p->limits, &source,
                                 e)) {
            return false;
        }
        called = *p->scan[0].table;
        called.source = source;
        p->scan[0].table = &called;
    }
    bool ok = p->call && p->explain == PLAN_EXPLAIN_ONLY ? true : exec_run(p, out, e);
    if (ok && p->explain) {
        struct text_out text = {0};
        result_free(*out);
        *out = NULL;
        plan_text_lines(&text, p, !(p->call && p->explain == PLAN_EXPLAIN_ONLY));
        ok = text.failed ? query_error_set(e, QUERY_LIMIT, -1, "no memory for the result")
                         : lines_result(text.p, out, e);
        free(text.p);
    }
    if (source) {
        p->scan[0].table = table; /* the plan outlives `called` */
        if (env->functions.release) {
            env->functions.release(env->functions.ctx, source);
        }
    }
    return ok;
}

static int by_day(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static bool spans_day(const struct plan *p, int32_t day)
{
    if (p->empty || p->explain == PLAN_EXPLAIN_ONLY) {
        return false;
    }
    for (unsigned s = 0; s < p->nscans && !p->call; s++) {
        const struct plan_bounds *b = &p->scan[s].bounds;
        if (day >= b->day_lo && day <= b->day_hi &&
            (!b->days || bsearch(&day, b->days, b->ndays, sizeof day, by_day))) {
            return true;
        }
    }
    return p->call != NULL; /* who knows what it reads */
}

/* No day in the answer's span lacks rows, or that may be. */
static bool whole(const struct query_env *env, const struct plan *p, struct query_error *e)
{
    for (unsigned i = 0; env->whole && i < env->nnotes; i++) {
        if (env->notes[i].of_day && spans_day(p, env->notes[i].day)) {
            return query_error_set(e, QUERY_FAILED, -1, QUERY_NOT_WHOLE, env->notes[i].text);
        }
    }
    return true;
}

bool query_run(struct query_env *env, const struct query_request *q, struct result **out,
               struct query_error *e)
{
    bool ok;
    *out = NULL;
    *e = (struct query_error){.position = -1};
    if (own_statement(env, q, out, e, &ok)) {
        if (!ok) {
            query_error_locate(e, q->sql, q->len);
        }
        return ok;
    }
    struct plan *p = query_plan(env, q, e);
    if (!p) {
        return false;
    }
    if (p->subquery && p->explain != PLAN_EXPLAIN_ONLY) {
        struct plan_bounds open = {.day_lo = INT32_MIN, .day_hi = INT32_MAX};
        struct query_request run = *q;
        run.within = p->nscans == 1 && !p->empty ? &p->scan[0].bounds : &open;
        struct plan *again = query_plan(env, &run, e);
        plan_free(p);
        if (!again) {
            return false;
        }
        p = again;
    }
    ok = whole(env, p, e) && run_plan(env, p, out, e);
    if (ok && p->explain != PLAN_EXPLAIN_ONLY && *out) {
        warn_gaps(env, p, *out);
        for (unsigned i = 0; i < env->nnotes; i++) {
            result_add_note(*out, env->notes[i].kind, "%s", env->notes[i].text);
        }
    }
    if (!ok) {
        result_free(*out);
        *out = NULL;
        if (!e->code) {
            query_error_set(e, QUERY_FAILED, -1, "the query failed");
        }
        query_error_locate(e, q->sql, q->len);
    }
    plan_free(p);
    return ok;
}

bool query_check_views(struct query_env *env, struct query_error *e)
{
    for (unsigned i = 0; i < env->nviews; i++) {
        struct text_out sql = {0};
        text_put(&sql, "SELECT * FROM \"%s\"", env->views[i].name);
        struct query_request q = {.sql = sql.p, .len = sql.len};
        struct plan *p = sql.failed ? NULL : query_plan(env, &q, e);
        free(sql.p);
        if (!p) {
            e->position = -1;
            return false;
        }
        plan_free(p);
    }
    return true;
}
