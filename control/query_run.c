/* SPDX-License-Identifier: Apache-2.0 */
#include "query_run.h"

#include <errno.h>
#include <time.h>
#include "core/civil.h"
#include "core/clock.h"
#include "query_answer.h"
#include "query_result.h"
#include "query_wire.h"
#include "storage/hdb.h"
#include "storage/query/view_db.h"

#define NOTES_MAX (CUT_DAYS_MAX + 2) /* no day is left out */

bool query_texts_from(json_t *params, struct query_texts *out, struct err *err)
{
    const char *name;
    json_t *v;
    size_t i;
    out->n = 0;
    if (params && json_object_size(params) + json_array_size(params) > PST_COUNT(out->param))
        return err_set(err, -E2BIG, "a query has at most %zu parameters", PST_COUNT(out->param));
    json_array_foreach(params, i, v)
    {
        snprintf(out->number[i], sizeof out->number[i], "%zu", i + 1);
        out->param[out->n++] =
            (struct query_param){.name = out->number[i], .text = json_string_value(v)};
        if (!json_is_string(v) && !json_is_null(v))
            return err_set(err, -EINVAL, "parameter %zu is no text: write it as a string", i + 1);
    }
    json_object_foreach(params, name, v)
    {
        out->param[out->n++] = (struct query_param){.name = name, .text = json_string_value(v)};
        if (!json_is_string(v) && !json_is_null(v))
            return err_set(err, -EINVAL, "parameter %.60s is no text: write it as a string", name);
    }
    return true;
}

static json_t *text_json(const char *text)
{
    json_t *t = json_string(text);
    char plain[sizeof((struct query_error *)0)->text];
    if (t)
        return t;
    snprintf(plain, sizeof plain, "%s", text); /* cut within a character, or no UTF-8 at all */
    for (char *p = plain; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(plain);
}

json_t *query_error_json(const struct query_error *e)
{
    static const int codes[] = {
        [QUERY_SYNTAX] = -EINVAL,     [QUERY_UNSUPPORTED] = -EINVAL,  [QUERY_NAME] = -EINVAL,
        [QUERY_TYPE] = -EINVAL,       [QUERY_VALUE] = -ERANGE,        [QUERY_LIMIT] = -E2BIG,
        [QUERY_TIMEOUT] = -ETIMEDOUT, [QUERY_CANCELLED] = -ECANCELED, [QUERY_RETRY] = -EAGAIN,
        [QUERY_FAILED] = -EIO};
    int code = e->code > 0 && e->code < (int)PST_COUNT(codes) ? codes[e->code] : -EIO;
    json_t *o = json_pack("{s:o,s:i,s:s}", "error", text_json(e->text), "code", code, "kind",
                          query_errno_name(e->code));
    if (e->line) {
        json_object_set_new(o, "line", json_integer(e->line));
        json_object_set_new(o, "column", json_integer(e->column));
        json_object_set_new(o, "position", json_integer(e->position));
    }
    return o;
}

/* ---- the cut ---- */

struct notes {
    char text[NOTES_MAX][200];
    struct query_note line[NOTES_MAX];
    unsigned n;
};

__attribute__((format(printf, 3, 4))) static void note(struct notes *n, enum result_note kind,
                                                       const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(n->text[n->n], sizeof n->text[0], format, ap);
    va_end(ap);
    n->line[n->n] = (struct query_note){(int)kind, n->text[n->n]};
    n->n++;
}

/* The note says that rows of a day are missing. */
static void of_day(struct notes *n, int32_t day)
{
    n->line[n->n - 1].of_day = true;
    n->line[n->n - 1].day = day;
}

static void cut_notes(const struct cut *c, struct notes *n)
{
    n->n = 0;
    if (c->flags & (CUT_HDB_AWAY | CUT_HDB_LOADING))
        note(n, RESULT_NOTE_INCOMPLETE,
             "the database is not loaded: the answer lacks all dates but those in memory (penstock "
             "explain hdb.not_loaded)");
    if (c->flags & CUT_REBUILDING)
        note(n, RESULT_NOTE_BEHIND,
             "memory is still being rebuilt from the log: it has come to journal position %llu of "
             "%llu",
             (unsigned long long)c->position, (unsigned long long)c->rebuild_to);
    else if (c->flags & CUT_BEHIND)
        note(n, RESULT_NOTE_BEHIND,
             "memory is %.1f s behind the journal: the newest rows are missing",
             (double)c->lag_ns / 1e9);
    for (uint32_t i = 0; i < c->ndays; i++) {
        const struct cut_day *d = &cut_days(c)[i];
        char date[CIVIL_TEXT];
        if (!(d->flags & CUT_DAY_INCOMPLETE))
            continue;
        if (!d->refused) {
            note(n, RESULT_NOTE_INCOMPLETE,
                 "%s is incomplete: what came before this start is in the log only (--no-replay)",
                 civil_format(d->day, date));
            of_day(n, d->day);
            continue;
        }
        note(n, RESULT_NOTE_INCOMPLETE,
             "%s is incomplete: %llu rows, from journal position %llu on, are in the log only "
             "(rdb_memory was full)",
             civil_format(d->day, date), (unsigned long long)d->refused,
             (unsigned long long)d->incomplete_from);
        of_day(n, d->day);
    }
}

static json_t *cut_json(const struct cut *c)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:b,s:b,s:b}", "position", (json_int_t)c->position, "tail",
                     (json_int_t)c->tail, "lag_ns", (json_int_t)c->lag_ns, "epoch",
                     (json_int_t)c->epoch, "behind", (c->flags & CUT_BEHIND) != 0, "rebuilding",
                     (c->flags & CUT_REBUILDING) != 0, "incomplete",
                     (c->flags & (CUT_INCOMPLETE | CUT_HDB_AWAY | CUT_HDB_LOADING)) != 0);
}

/* Opens what the cut names and what is not open yet. */
static bool tables(struct query_runner *r, const struct cut *c, struct query_answer *a,
                   struct err *err)
{
    struct view_db_limits limits;
    if (!r->db || strcmp(r->root, c->root)) {
        view_db_free(r->db);
        hdb_close(r->hdb);
        r->db = NULL;
        r->hdb = NULL;
        if (*c->root && !(r->hdb = hdb_open(c->root, err)))
            return false;
        r->db = view_db_new(r->have_rdb ? &r->rdb : NULL, r->have_symbols ? &r->symbols : NULL,
                            r->hdb, err);
        if (!r->db)
            return false;
        view_db_declare(r->db, (const struct schema *const *)r->schemas, r->nschemas);
        if (r->loader.ask) {
            struct view_db_more more;
            query_loader_more(&r->loader, &more);
            view_db_add(r->db, &more);
        }
        snprintf(r->root, sizeof r->root, "%s", c->root);
    }
    query_answer_limits(a, &limits);
    view_db_limit(r->db, &limits);
    return view_db_cut(r->db, c, err);
}

/* ---- one run ---- */

struct run {
    struct query_runner *r;
    struct plan_limits limits;
    struct query_texts texts;
    const char *sql, *call;
    uint64_t max_bytes;
    struct query_answer answer;
};

static bool attempt(struct run *q, const struct cut *c, struct result **out, struct query_error *e)
{
    struct query_runner *r = q->r;
    struct err err = {0};
    static struct notes notes;
    if (!tables(r, c, &q->answer, &err))
        return query_error_set(e, QUERY_FAILED, -1, "%s", err.text);
    cut_notes(c, &notes);
    struct query_env env = {.tables = view_db_catalogue(r->db),
                            .zone = r->zone,
                            .views = r->views,
                            .nviews = r->nviews,
                            .now_ns = c->time,
                            .check_gaps = true,
                            .notes = notes.line,
                            .nnotes = notes.n};
    plugins_functions(r->plugins, &env.functions);
    if (!r->views_checked) {
        struct query_error bad = {.position = -1};
        char line[480];
        r->views_checked = true;
        if (!query_check_views(&env, &bad)) {
            snprintf(line, sizeof line, "views: %.400s", bad.text);
            r->log(NULL, line);
        }
    }
    if (!query_answer_env(&q->answer, &env))
        return query_error_set(e, QUERY_LIMIT, -1, "no memory for the views");
    if (!query_answer_whole(&q->answer, c, &env, e))
        return false;
    if (q->answer.kind > QUERY_ANSWER_CALL) {
        struct query_answer_run run = {&env, r->db, c, r->plugins, &q->limits};
        return query_answer_statements(&q->answer, &run, e);
    }
    if (q->call && q->answer.may_call && !env.functions.find(env.functions.ctx, q->call))
        return query_error_set(e, QUERY_NAME, -1, "there is no named query %.60s", q->call);
    if (q->call)
        return plugins_call(r->plugins, q->call, q->texts.param, q->texts.n, &env, &q->limits, out,
                            e);
    struct query_request request = {.sql = q->sql,
                                    .len = strlen(q->sql),
                                    .params = q->texts.param,
                                    .nparams = q->texts.n,
                                    .limits = q->limits};
    return query_run(&env, &request, out, e);
}

static int64_t integer(json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

bool query_runner_run(struct query_runner *r, json_t *request, int fd, uint64_t *bytes,
                      json_t **facts, json_t **error)
{
    struct query_error e = {.position = -1};
    struct err err = {0};
    static struct run q;
    uint64_t memory = 0;
    int64_t from = clock_monotonic();
    q = (struct run){.r = r,
                     .sql = json_string_value(json_object_get(request, "sql")),
                     .call = json_string_value(json_object_get(request, "call")),
                     .max_bytes = (uint64_t)integer(request, "max_bytes")};
    q.limits =
        (struct plan_limits){.rows_max = (uint64_t)integer(request, "max_rows"),
                             .memory_max = r->memory,
                             .deadline_ns = from + integer(request, "timeout_ms") * NS_PER_MS,
                             .cancel = &r->cancel,
                             .threads = r->threads,
                             .memory_peak = &memory};
    struct result *result = NULL;
    struct cut *cut = NULL;
    query_loader_drop(&r->loader);
    bool ok = query_texts_from(json_object_get(request, "params"), &q.texts, &err);
    ok = query_answer_read(&q.answer, request, &err) && ok;
    if (!ok)
        query_error_set(&e, QUERY_VALUE, -1, "%s", err.text);
    for (unsigned i = 0; ok && i < CUT_RERUNS; i++) {
        free(cut);
        cut = r->cut(r->arg, &err);
        ok = cut || query_error_set(&e, QUERY_FAILED, -1, "%s", err.text);
        bool wait = ok && cut->flags & CUT_HDB_LOADING && i + 1 < CUT_RERUNS;
        ok = ok && !wait && attempt(&q, cut, &result, &e);
        if (!wait && (ok || e.code != QUERY_RETRY))
            break;
        /* A partition was published behind the cut: control counts it in a moment. */
        ok = i + 1 < CUT_RERUNS;
        nanosleep(&(struct timespec){0, 5000000 << i}, NULL);
    }
    bool ran = ok;
    if (ok && q.answer.kind) {
        if (result)
            q.answer.result[0] = result;
        result = NULL;
        ok = query_answer_write(&q.answer, fd, q.max_bytes, r->zone, bytes, facts, &err);
    } else if (ok) {
        ok = query_result_write(result, fd, q.max_bytes, bytes, &err);
        *facts = ok ? query_result_facts(result) : NULL;
    }
    if (ran && !ok)
        query_error_set(&e, err.code == -EFBIG ? QUERY_LIMIT : QUERY_FAILED, -1, "%s", err.text);
    if (ok) {
        json_object_set_new(*facts, "cut", cut_json(cut));
        json_object_set_new(*facts, "run_ns", json_integer(clock_monotonic() - from));
    } else {
        *error = query_error_json(&e);
    }
    json_object_set_new(ok ? *facts : *error, "memory", json_integer((json_int_t)memory));
    result_free(result);
    query_answer_free(&q.answer);
    free(cut);
    return ok;
}

bool query_runner_schemas(struct query_runner *r, json_t *texts, struct err *err)
{
    json_t *text;
    size_t i;
    r->schemas = calloc(json_array_size(texts) + 1, sizeof *r->schemas);
    json_array_foreach(texts, i, text)
    {
        struct schema *s = r->schemas ? calloc(1, sizeof *s) : NULL;
        if (!s)
            return err_set(err, -ENOMEM, "no memory for the schemas");
        r->schemas[r->nschemas++] = s;
        if (!schema_from_json(s, json_string_value(text), json_string_length(text), err))
            return false;
    }
    return true;
}

bool query_runner_views(struct query_runner *r, json_t *views, struct err *err)
{
    json_t *v;
    size_t i;
    r->views = calloc(json_array_size(views) + 1, sizeof *r->views);
    if (!r->views)
        return err_set(err, -ENOMEM, "no memory for the views");
    json_array_foreach(views, i, v) r->views[r->nviews++] =
        (struct query_view){json_string_value(json_object_get(v, "name")),
                            json_string_value(json_object_get(v, "sql"))};
    return true;
}

void query_runner_free(struct query_runner *r)
{
    view_db_free(r->db);
    query_loader_drop(&r->loader);
    hdb_close(r->hdb);
    plugins_free(r->plugins);
    for (unsigned i = 0; i < r->nschemas; i++)
        free(r->schemas[i]);
    free(r->schemas);
    free(r->views);
    if (r->have_rdb)
        rdb_map_close(&r->rdb);
    if (r->have_symbols)
        symbols_close(&r->symbols);
}
