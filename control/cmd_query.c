/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of queries and plugins. */
#include <errno.h>
#include "access.h"
#include "cmd.h"
#include "core/clock.h"
#include "daemon.h"
#include "query_pool.h"

/* What it cost goes in when it ends (daemon.c). The name is publish threads' for the same peer. */
static void log_query(struct cmd_request *req, const char *text, const struct err *err)
{
    bool runs = req->query;
    struct address from;
    char user[32];
    address_local(&from, req->peer->uid, req->peer->pid);
    snprintf(user, sizeof user, "uid %u", (unsigned)req->peer->uid);
    access_log(req->daemon->access,
               &ACCESS_ENTRY(.event = runs ? ACCESS_QUERY : ACCESS_ERROR, .user = user,
                             .from = &from, .id = runs ? (int64_t)query_id(req->query) : 0,
                             .text = text, .reason = runs ? NULL : err->text, .outcome = !runs));
    req->logged = runs;
}

/* args: the text or name, then one object: {"params": …, "timeout_ms": n, "max_rows": n}. */
static json_t *submit(struct cmd_request *req, const char *what, struct err *err)
{
    const char *text = cmd_arg(req, 0);
    json_t *options = json_array_get(req->args, 1);
    if (!text || (options && !json_is_object(options)) || json_array_size(req->args) > 2) {
        err_set(err, -EINVAL,
                "%s takes a text and one object of options: params, timeout_ms, "
                "max_rows",
                !strcmp(what, "sql") ? "sql" : "call");
        return NULL;
    }
    json_int_t ms = json_integer_value(json_object_get(options, "timeout_ms"));
    json_int_t rows = json_integer_value(json_object_get(options, "max_rows"));
    struct query_limits limits = {.timeout_ns =
                                      ms > 0 && ms < INT64_MAX / NS_PER_MS ? ms * NS_PER_MS : 0,
                                  .max_rows = rows > 0 ? (uint64_t)rows : 0};
    json_t *request = json_pack("{s:s}", what, text), *params = json_object_get(options, "params");
    if (params)
        json_object_set(request, "params", params);
    req->query =
        query_submit(req->daemon->queries, request, &limits, req->peer->uid, req->peer->pid, err);
    req->wait = req->query != NULL;
    log_query(req, text, err);
    json_decref(request);
    return NULL;
}

json_t *cmd_sql(struct cmd_request *req, struct err *err)
{
    return submit(req, "sql", err);
}

json_t *cmd_call(struct cmd_request *req, struct err *err)
{
    return submit(req, "call", err);
}

json_t *cmd_queries(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0), *id = cmd_arg(req, 1);
    if (!d->queries) {
        err_set(err, -ENOSYS, "this penstockd runs no queries");
        return NULL;
    }
    if (!verb)
        return query_pool_json(d->queries);
    char *end;
    unsigned long long n = id ? strtoull(id, &end, 10) : 0;
    if (strcmp(verb, "kill") || !id || *end) {
        err_set(err, -EINVAL, "queries, or queries kill ID");
        return NULL;
    }
    if (!query_pool_kill(d->queries, n, req->peer->uid, req->peer->level >= LEVEL_OPERATE, err))
        return NULL;
    daemon_operator_mark(d, req->peer, "queries", req->args);
    return json_pack("{s:s}", "done", "stopping it");
}

json_t *cmd_plugin(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0), *name = cmd_arg(req, 1);
    if (!d->queries) {
        err_set(err, -ENOSYS, "this penstockd runs no queries");
        return NULL;
    }
    if (!verb || !strcmp(verb, "ls"))
        return query_pool_plugins(d->queries);
    bool load = !strcmp(verb, "load");
    if ((!load && strcmp(verb, "unload")) || !name) {
        err_set(err, -EINVAL, "plugin ls, plugin load FILE, or plugin unload NAME");
        return NULL;
    }
    if (!cmd_need(req, LEVEL_ADMIN, err))
        return NULL;
    req->query = query_pool_plugin(d->queries, load, name, req->peer->uid, err);
    req->wait = req->query != NULL;
    if (req->wait)
        daemon_operator_mark(d, req->peer, "plugin", req->args);
    return NULL;
}
