/* SPDX-License-Identifier: Apache-2.0 */
#include "query_answer.h"

#include <errno.h>
#include "core/civil.h"
#include "query_kdb.h"
#include "storage/query/bind.h"
#include "storage/query/filter.h"

#define SNAP_ROWS  1000u        /* = ANSWER_SNAP_ROWS */
#define SNAP_FIRST (64u * 1024) /* rows that a snap with symbols looks through first */

/* ---- the request ---- */

static bool named(json_t *names, const char *name)
{
    json_t *v;
    size_t i;
    json_array_foreach(names, i, v) if (!strcmp(json_string_value(v), name)) return true;
    return false;
}

static bool texts(json_t *array)
{
    json_t *v;
    size_t i;
    if (array && !json_is_array(array))
        return false;
    json_array_foreach(array, i, v) if (!json_is_string(v)) return false;
    return true;
}

bool query_answer_read(struct query_answer *a, json_t *request, struct err *err)
{
    static const char *const kinds[] = {"", "sql", "call", "count", "snap", "keyed", "snapshot"};
    const char *kind = json_string_value(json_object_get(request, "kind"));
    const char *tier = json_string_value(json_object_get(request, "tier"));
    json_t *tables = json_object_get(request, "tables"), *v;
    size_t i;
    memset(a, 0, sizeof *a);
    a->request = request;
    a->may_read = json_object_get(request, "may_read");
    a->may_call = json_object_get(request, "may_call");
    a->memory_only = tier && !strcmp(tier, "rdb");
    a->database_only = tier && !strcmp(tier, "hdb");
    a->local = json_is_true(json_object_get(request, "local"));
    a->partial = json_is_true(json_object_get(request, "partial"));
    a->stripe = (uint32_t)json_integer_value(json_object_get(request, "stripe"));
    a->stripes = (uint32_t)json_integer_value(json_object_get(request, "stripes"));
    for (unsigned k = 1; kind && k < PST_COUNT(kinds); k++)
        if (!strcmp(kind, kinds[k]))
            a->kind = (enum query_answer_kind)k;
    if ((kind && !a->kind) || !texts(a->may_read) || !texts(a->may_call) || !texts(tables) ||
        !texts(json_object_get(request, "syms")) || json_array_size(tables) > PST_COUNT(a->table))
        return err_set(err, -EPROTO, "a request without sense");
    if (a->kind == QUERY_ANSWER_SQL || a->kind == QUERY_ANSWER_CALL) {
        a->table[0] = "";
        a->n = 1;
    }
    json_array_foreach(tables, i, v) a->table[a->n++] = json_string_value(v);
    return true;
}

static bool may_read(void *arg, const char *table)
{
    const struct query_answer *a = arg;
    return named(a->may_read, table);
}

void query_answer_limits(struct query_answer *a, struct view_db_limits *l)
{
    *l = (struct view_db_limits){.may_read = a->may_read ? may_read : NULL,
                                 .arg = a,
                                 .memory_only = a->memory_only,
                                 .database_only = a->database_only};
    if (a->kind == QUERY_ANSWER_SNAP || a->kind == QUERY_ANSWER_KEYED ||
        a->kind == QUERY_ANSWER_SNAPSHOT) {
        l->memory_only = true;
        l->database_only = false;
    }
}

/* ---- what a restricted user's environment lacks ---- */

static const struct query_function *find_function(void *ctx, const char *name)
{
    struct query_answer *a = ctx;
    return !named(a->may_call, name) ? NULL : a->functions.find(a->functions.ctx, name);
}

static const struct query_function *function_at(void *ctx, unsigned i)
{
    struct query_answer *a = ctx;
    const struct query_function *f;
    for (unsigned k = 0; (f = a->functions.at(a->functions.ctx, k)); k++)
        if (named(a->may_call, f->name) && !i--)
            return f;
    return NULL;
}

static bool call_function(void *ctx, const struct query_function *f, struct plan_expr *const *args,
                          struct query_env *env, const struct plan_limits *limits, void **source,
                          struct query_error *e)
{
    struct query_answer *a = ctx;
    return a->functions.call(a->functions.ctx, f, args, env, limits, source, e);
}

static void release_source(void *ctx, void *source)
{
    struct query_answer *a = ctx;
    a->functions.release(a->functions.ctx, source);
}

/* Does the view bind, in an environment whose tables are the user's? */
static bool binds(struct query_env *env, const struct query_view *v)
{
    char *sql = NULL;
    struct query_error e = {.position = -1};
    if (asprintf(&sql, "SELECT * FROM \"%s\"", v->name) < 0)
        return false;
    struct query_request q = {.sql = sql, .len = strlen(sql)};
    struct plan *p = query_plan(env, &q, &e);
    bool ok = p != NULL;
    plan_free(p);
    free(sql);
    return ok;
}

/* Where it would have no place for a note. */
static bool must_be_whole(const struct query_answer *a)
{
    return a->kind && !a->partial && !a->database_only;
}

bool query_answer_env(struct query_answer *a, struct query_env *env)
{
    env->whole = must_be_whole(a);
    if (a->may_call && env->functions.find) {
        a->functions = env->functions;
        env->functions =
            (struct query_functions){.ctx = a,
                                     .find = find_function,
                                     .at = a->functions.at ? function_at : NULL,
                                     .call = call_function,
                                     .release = a->functions.release ? release_source : NULL};
    }
    if (!a->may_read || !env->nviews)
        return true;
    free(a->views);
    a->views = calloc(env->nviews, sizeof *a->views);
    unsigned n = 0;
    for (unsigned i = 0; a->views && i < env->nviews; i++)
        if (binds(env, &env->views[i]))
            a->views[n++] = env->views[i];
    env->views = a->views;
    env->nviews = n;
    return a->views != NULL;
}

/* ---- statements ---- */

static void put_quoted(FILE *f, const char *text, char quote)
{
    putc(quote, f);
    for (const char *c = text; *c; c++) {
        if (*c == quote)
            putc(quote, f);
        putc(*c, f);
    }
    putc(quote, f);
}

static void put_name(FILE *f, const char *name)
{
    put_quoted(f, name, '"');
}

static const char *field(const struct query_answer *a, const char *name)
{
    return json_string_value(json_object_get(a->request, name));
}

/* The first date of which the cut has no end. */
static int32_t open_from(const struct cut *c)
{
    int32_t open = INT32_MAX, last = INT32_MIN;
    for (uint32_t i = 0; i < c->ndays; i++) {
        const struct cut_day *d = &cut_days(c)[i];
        if (d->flags & CUT_DAY_CLOSED)
            last = d->day > last ? d->day : last;
        else
            open = d->day < open ? d->day : open;
    }
    return open != INT32_MAX ? open : last == INT32_MIN ? INT32_MIN : last + 1;
}

static void put_columns(FILE *f, const struct query_answer *a, const struct view *v)
{
    const char *columns = field(a, "columns");
    bool keyed = a->kind == QUERY_ANSWER_KEYED;
    if (columns) {
        fprintf(f, "%s\n", columns);
        return;
    }
    const char *comma = "";
    for (uint32_t k = 0; keyed && k < v->nkeys; k++, comma = ", ") {
        fputs(comma, f);
        put_name(f, v->col[v->key[k]].name);
    }
    for (uint32_t i = 1; i < v->ncols; i++) {
        bool key = false;
        for (uint32_t k = 0; keyed && k < v->nkeys; k++)
            key |= v->key[k] == i;
        if (key)
            continue;
        fputs(comma, f);
        put_name(f, v->col[i].name);
        comma = ", ";
    }
}

static char *statement(const struct query_answer *a, const struct view *v, const struct cut *c)
{
    char *sql = NULL;
    size_t len;
    FILE *f = open_memstream(&sql, &len);
    json_t *syms = json_object_get(a->request, "syms"), *s;
    const char *where = field(a, "where"), *glue = " WHERE ";
    size_t i;
    if (!f)
        return NULL;
    fputs("SELECT ", f);
    put_columns(f, a, v);
    if (a->stripes > 1) /* taken out again by keep_stripe */
        fputs(", sym", f);
    fputs(" FROM ", f);
    put_name(f, v->name);
    if (a->kind == QUERY_ANSWER_SNAPSHOT && open_from(c) > INT32_MIN) {
        char date[CIVIL_TEXT];
        civil_format(open_from(c), date);
        fprintf(f, "%sdate >= '%s'", glue, date);
        glue = " AND ";
    }
    if (syms) {
        fprintf(f, json_array_size(syms) ? "%ssym IN (" : "%s1 = 0", glue);
        json_array_foreach(syms, i, s)
        {
            fputs(i ? ", " : "", f);
            put_quoted(f, json_string_value(s), '\'');
        }
        fputs(json_array_size(syms) ? ")" : "", f);
        glue = " AND ";
    }
    if (where) {
        struct text_out conditions = {0};
        filter_where(&conditions, (struct filter_text){where, strlen(where)});
        fprintf(f, "%s%s", glue, conditions.failed ? "?" : conditions.p);
        free(conditions.p);
    }
    for (uint32_t k = 0; a->kind != QUERY_ANSWER_SNAP && k < v->nkeys; k++) {
        fputs(k ? ", " : " LATEST BY ", f);
        put_name(f, v->col[v->key[k]].name);
    }
    bool failed = ferror(f);
    if (fclose(f) || failed) {
        free(sql);
        return NULL;
    }
    return sql;
}

static bool run_sql(const struct query_answer_run *run, const char *sql, struct result **out,
                    struct query_error *e)
{
    struct query_request q = {.sql = sql, .len = strlen(sql), .limits = *run->limits};
    return query_run(run->env, &q, out, e);
}

static struct view *table_of(const struct query_answer_run *run, const char *name,
                             struct query_error *e)
{
    struct err err = {0};
    struct view *v = view_db_view(run->db, name, &err);
    if (v || err.code != -ENOENT) {
        if (!v)
            query_error_set(e, QUERY_FAILED, -1, "%s", err.text);
        return v;
    }
    const char *const *names;
    unsigned n = view_db_tables(run->db, &names);
    const char *near = query_nearest(name, names, n);
    query_error_set(e, QUERY_NAME, -1, "there is no table %.60s%s%s", name,
                    near ? "; did you mean " : "; tables[] lists them", near ? near : "");
    return NULL;
}

/* fanout_stripe_of: FNV-1a of the text, modulo n. */
static uint32_t stripe_of(const char *text, uint32_t len, uint32_t n)
{
    uint64_t h = 0xCBF29CE484222325ull;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 0x100000001B3ull;
    return (uint32_t)(h % n);
}

/* Rows whose symbol, in the last column, is of the stripe; without that column. */
static void keep_stripe(struct result *r, uint32_t stripe, uint32_t stripes)
{
    struct result_column *sym = &r->col[r->ncols - 1];
    uint64_t n = 0;
    for (uint64_t row = 0; row < r->rows; row++) {
        uint32_t len = 0;
        const char *text = result_text(r, r->ncols - 1, row, &len);
        if (stripe_of(text, len, stripes) != stripe)
            continue;
        for (uint32_t i = 0; i + 1 < r->ncols; i++) {
            struct result_column *c = &r->col[i];
            unsigned width = result_width(c->type);
            if (c->type != PST_STRING) {
                memmove((char *)c->data + n * width, (char *)c->data + row * width, width);
                continue;
            }
            uint64_t bytes = c->at[row + 1] - c->at[row], to = n ? c->at[n] : 0;
            memmove(c->chars + to, c->chars + c->at[row], bytes);
            c->at[n] = to;
            c->at[n + 1] = to + bytes;
        }
        n++;
    }
    r->rows = n;
    r->ncols--;
    free(sym->data);
    sym->data = NULL;
}

static bool one(struct query_answer *a, const struct query_answer_run *run, uint32_t i,
                struct query_error *e)
{
    struct view *v = table_of(run, a->table[i], e);
    if (!v)
        return false;
    char *sql = NULL;
    if (a->kind == QUERY_ANSWER_COUNT) {
        if (asprintf(&sql, "SELECT count(*) FROM \"%s\"", v->name) < 0)
            sql = NULL;
    } else {
        sql = statement(a, v, run->cut);
    }
    a->nkeys[i] = a->kind == QUERY_ANSWER_KEYED ? v->nkeys : 0;
    bool ok = sql ? run_sql(run, sql, &a->result[i], e)
                  : query_error_set(e, QUERY_LIMIT, -1, "no memory for a statement");
    if (ok && a->stripes > 1)
        keep_stripe(a->result[i], a->stripe, a->stripes);
    free(sql);
    return ok;
}

/* Keeps the last `n` rows. The arrays stay where they are. */
static void keep_last(struct result *r, uint64_t n)
{
    uint64_t skip = r->rows > n ? r->rows - n : 0;
    r->rows -= skip;
    for (uint32_t i = 0; skip && i < r->ncols; i++) {
        struct result_column *c = &r->col[i];
        unsigned width = result_width(c->type);
        if (c->type != PST_STRING)
            memmove(c->data, (char *)c->data + skip * width, r->rows * width);
        else
            memmove(c->at, c->at + skip, (r->rows + 1) * sizeof *c->at);
    }
}

/* The latest rows that pass, looked for in ever more of the table's last rows. */
static bool snap(struct query_answer *a, const struct query_answer_run *run, uint32_t i,
                 struct query_error *e)
{
    bool all = !json_object_get(a->request, "syms") && !field(a, "where");
    struct view_db_limits limits;
    struct err err = {0};
    query_answer_limits(a, &limits);
    uint64_t most = run->limits->rows_max && run->limits->rows_max < SNAP_ROWS
                        ? run->limits->rows_max
                        : SNAP_ROWS;
    for (limits.last = all ? most : SNAP_FIRST;; limits.last *= 16) {
        view_db_limit(run->db, &limits);
        if (!view_db_cut(run->db, run->cut, &err))
            return query_error_set(e, QUERY_FAILED, -1, "%s", err.text);
        struct view *v = table_of(run, a->table[i], e);
        uint64_t rows = 0;
        for (uint32_t p = 0; v && p < v->nparts; p++)
            rows += v->part[p].rows;
        struct query_answer_run inner = *run;
        struct plan_limits wide = *run->limits;
        wide.rows_max = 0; /* of what is looked through; what is answered is at most `most` */
        inner.limits = &wide;
        result_free(a->result[i]);
        a->result[i] = NULL;
        if (!v || !one(a, &inner, i, e))
            return false;
        if (all || a->result[i]->rows >= most || rows <= limits.last)
            break;
    }
    keep_last(a->result[i], most);
    return true;
}

/* A named query: nobody knows what it reads. */
static bool call_whole(const struct query_env *env, struct query_error *e)
{
    for (unsigned i = 0; env->whole && i < env->nnotes; i++)
        if (env->notes[i].of_day)
            return query_error_set(e, QUERY_FAILED, -1, QUERY_NOT_WHOLE, env->notes[i].text);
    return true;
}

bool query_answer_whole(const struct query_answer *a, const struct cut *c,
                        const struct query_env *env, struct query_error *e)
{
    if (a->kind == QUERY_PLAIN || a->partial || a->kind == QUERY_ANSWER_SNAPSHOT ||
        a->kind == QUERY_ANSWER_KEYED)
        return true;
    if (!a->database_only && c->flags & CUT_REBUILDING)
        return query_error_set(e, QUERY_FAILED, -1,
                               "memory is still being rebuilt from the log: it has come to journal "
                               "position %llu of %llu; ask again",
                               (unsigned long long)c->position, (unsigned long long)c->rebuild_to);
    if (!a->memory_only && c->flags & (CUT_HDB_AWAY | CUT_HDB_LOADING))
        return query_error_set(e, QUERY_FAILED, -1,
                               "the database is not loaded (penstock explain hdb.not_loaded); the "
                               "rdb port answers from memory");
    return a->kind != QUERY_ANSWER_CALL || call_whole(env, e);
}

bool query_answer_statements(struct query_answer *a, const struct query_answer_run *run,
                             struct query_error *e)
{
    const struct query_functions *f = &run->env->functions;
    bool own = a->kind == QUERY_ANSWER_SNAP && f->find && f->find(f->ctx, "snap");
    query_answer_clear(a);
    if (a->kind == QUERY_ANSWER_SNAPSHOT && run->cut->flags & CUT_INCOMPLETE)
        return query_error_set(e, QUERY_FAILED, -1,
                               "no snapshot: memory lacks rows of the day (rdb_memory); subscribe "
                               "from `day instead");
    for (uint32_t i = 0; i < a->n; i++) {
        bool ok;
        if (own) {
            struct query_param table = {.name = "1", .text = a->table[i]};
            const struct query_function *q = f->find(f->ctx, "snap");
            ok = call_whole(run->env, e) &&
                 plugins_call(run->plugins, "snap", &table, q->nparams ? 1 : 0, run->env,
                              run->limits, &a->result[i], e);
        } else {
            ok = a->kind == QUERY_ANSWER_SNAP ? snap(a, run, i, e) : one(a, run, i, e);
        }
        if (!ok)
            return false;
    }
    return true;
}

/* ---- messages ---- */

bool query_answer_write(struct query_answer *a, int fd, uint64_t max_bytes,
                        const struct tzone *zone, uint64_t *bytes, json_t **facts, struct err *err)
{
    struct query_kdb k;
    uint64_t rows = 0;
    uint32_t messages = 0;
    if (!query_kdb_begin(&k, fd, max_bytes, a->local ? zone : NULL, err))
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        rows += a->result[i]->rows;
        if (a->kind == QUERY_ANSWER_KEYED)
            query_kdb_object(&k, a->result[i], a->nkeys[i]);
        else if (a->kind == QUERY_ANSWER_SNAPSHOT)
            query_kdb_updates(&k, a->table[i], a->result[i]);
    }
    if (a->kind == QUERY_ANSWER_COUNT)
        query_kdb_atom(&k, a->result[0]);
    else if (a->kind == QUERY_ANSWER_SNAP && a->n != 1)
        query_kdb_tables(&k, a->table, a->result, a->n);
    else if (a->kind <= QUERY_ANSWER_SNAP)
        query_kdb_table(&k, a->result[0], 0);
    if (!query_kdb_finish(&k, bytes, &messages, err))
        return false;
    *facts = json_pack("{s:I,s:I}", "rows", (json_int_t)rows, "messages", (json_int_t)messages);
    return true;
}

void query_answer_clear(struct query_answer *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        result_free(a->result[i]);
        a->result[i] = NULL;
    }
}

void query_answer_free(struct query_answer *a)
{
    query_answer_clear(a);
    free(a->views);
    a->views = NULL;
}
