/* SPDX-License-Identifier: Apache-2.0 */
/* penstock sql --database DIR: the same engine, in this process, over the database alone. */
#include <errno.h>
#include <unistd.h>
#include "cli_sql.h"
#include "core/clock.h"
#include "query_result.h"
#include "query_run.h"
#include "storage/hdb.h"
#include "storage/query/view_db.h"

struct local {
    struct hdb *hdb;
    struct view_db *db;
    struct plugins *plugins;
};

static bool open_local(struct sql_options *o, struct err *err)
{
    struct local *l = o->local;
    if (l)
        return view_db_cut(l->db, NULL, err); /* new partitions since the last statement */
    l = o->local = calloc(1, sizeof *l);
    if (!l || !(l->plugins = plugins_new(NULL, NULL)))
        return err_set(err, -ENOMEM, "no memory");
    for (unsigned i = 0; i < o->nplugins; i++)
        if (!plugins_load(l->plugins, o->plugin[i], err))
            return false;
    l->hdb = hdb_open(o->database, err);
    l->db = l->hdb ? view_db_new(NULL, NULL, l->hdb, err) : NULL;
    return l->db && view_db_cut(l->db, NULL, err);
}

void sql_local_close(struct sql_options *o)
{
    if (!o->local)
        return;
    view_db_free(o->local->db);
    hdb_close(o->local->hdb);
    plugins_free(o->local->plugins);
    free(o->local);
    o->local = NULL;
}

struct result *sql_local(struct sql_options *o, const char *text, json_t **facts, int *code)
{
    struct err err = {0};
    struct query_error e = {.position = -1};
    struct query_texts texts;
    struct result *r = NULL;
    *code = EXIT_DEGRADED;
    if (!open_local(o, &err) || !query_texts_from(o->params, &texts, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        return NULL;
    }
    int64_t from = clock_monotonic();
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct plan_limits limits = {.rows_max = (uint64_t)o->max_rows,
                                 .deadline_ns =
                                     o->timeout_ms ? from + o->timeout_ms * NS_PER_MS : 0,
                                 .threads = o->threads ? o->threads
                                            : cpus > 0 ? (unsigned)cpus
                                                       : 1};
    struct query_env env = {
        .tables = view_db_catalogue(o->local->db), .now_ns = clock_system(), .check_gaps = true};
    plugins_functions(o->local->plugins, &env.functions);
    struct query_request q = {.sql = text,
                              .len = strlen(text),
                              .params = texts.param,
                              .nparams = texts.n,
                              .limits = limits};
    bool ok =
        o->call ? plugins_call(o->local->plugins, text, texts.param, texts.n, &env, &limits, &r, &e)
                : query_run(&env, &q, &r, &e);
    if (ok) {
        *facts = query_result_facts(r);
        json_object_set_new(*facts, "run_ns", json_integer(clock_monotonic() - from));
        *code = EXIT_HEALTHY;
        return r;
    }
    if (e.line)
        fprintf(stderr, "penstock: line %u, column %u: %s\n", e.line, e.column, e.text);
    else
        fprintf(stderr, "penstock: %s\n", e.text);
    *code = e.code == QUERY_SYNTAX || e.code == QUERY_NAME || e.code == QUERY_TYPE ||
                    e.code == QUERY_UNSUPPORTED
                ? EXIT_USAGE
                : EXIT_DEGRADED;
    return NULL;
}
