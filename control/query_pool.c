/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/crc.h"
#include "daemon.h"
#include "helper.h"
#include "query_pool_parts.h"

struct query_pool *query_pool_new(struct daemon *d, struct err *err)
{
    struct query_pool *p = calloc(1, sizeof *p);
    if (!p || (p->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        err_set(err, -ENOMEM, "queries: %s", strerror(errno));
        free(p);
        return NULL;
    }
    p->daemon = d;
    p->next_id = 1;
    p->next_spawn = 1;
    p->alive = clock_monotonic();
    p->plugins = json_array();
    p->plugins_failed = json_array();
    slots_open(p, (unsigned)d->config->query_processes);
    return p;
}

void query_pool_free(struct query_pool *p)
{
    if (!p)
        return;
    slots_close(p);
    while (p->queries) { /* their clients are gone with the socket */
        struct query *q = p->queries;
        q->forgotten = true;
        query_end(q, NULL, "penstockd is stopping", -ESHUTDOWN);
    }
    json_decref(p->plugins);
    json_decref(p->plugins_failed);
    close(p->epoll);
    free(p);
}

int query_pool_fd(const struct query_pool *p)
{
    return p->epoll;
}

/* ---- the life of a query ---- */

static void unlink_query(struct query *q)
{
    struct query **at = &q->pool->queries;
    while (*at && *at != q)
        at = &(*at)->next;
    if (*at)
        *at = q->next;
    if (q->fd >= 0)
        close(q->fd);
    json_decref(q->request);
    json_decref(q->result);
    free(q);
}

void query_end(struct query *q, json_t *result, const char *error, int code)
{
    struct query_pool_figures *f = &q->pool->figures;
    q->state = QUERY_ENDED;
    q->cost.run_ns = q->started ? clock_monotonic() - q->started : 0;
    q->slot = NULL;
    q->result = result;
    if (!result) {
        err_set(&q->err, code, "%s", error);
        f->failed++;
        f->cancelled += q->cancel == WIRE_CANCEL_CLIENT || q->cancel == WIRE_CANCEL_KILL;
        f->timed_out += q->cancel == WIRE_CANCEL_TIMEOUT;
    }
    f->queries++;
    if (q->forgotten)
        unlink_query(q);
}

void query_end_json(struct query *q, json_t *failed)
{
    const char *text = json_string_value(json_object_get(failed, "error"));
    json_int_t line = json_integer_value(json_object_get(failed, "line"));
    char place[500];
    snprintf(place, sizeof place, "%s", text ? text : "the query failed without a reason");
    if (q->cancel == WIRE_CANCEL_TIMEOUT)
        snprintf(place, sizeof place,
                 "the query ran longer than %.3g s and was stopped (query_timeout, --timeout)",
                 (double)q->timeout / 1e9);
    else if (q->cancel == WIRE_CANCEL_KILL)
        snprintf(place, sizeof place, "the query was stopped by an operator");
    else if (line > 0)
        snprintf(place, sizeof place, "line %lld, column %lld: %.400s", (long long)line,
                 (long long)json_integer_value(json_object_get(failed, "column")),
                 text ? text : "?");
    json_int_t code = json_integer_value(json_object_get(failed, "code"));
    query_end(q, NULL, place,
              q->cancel == WIRE_CANCEL_TIMEOUT ? -ETIMEDOUT
              : q->cancel                      ? -ECANCELED
              : code < 0 && code > -4096       ? (int)code
                                               : -EIO);
    json_decref(failed);
}

static struct query *query_new(struct query_pool *p, json_t *request, uid_t uid, pid_t pid,
                               struct err *err)
{
    if (!p || !p->nslots) {
        err_set(err, -ENOSYS, "this penstockd runs no queries: query_processes is 0");
        return NULL;
    }
    if (p->gone) {
        err_set(err, -EPIPE,
                "penstock-helper is gone, so queries cannot run until penstockd is restarted; "
                "capture goes on");
        return NULL;
    }
    struct query_pool_figures f;
    query_pool_figures(p, &f);
    if (f.queued >= (uint64_t)p->daemon->config->query_queue) {
        err_set(err, -EAGAIN,
                "%u queries are waiting already (query_queue): try again, or see penstock queries",
                f.queued);
        return NULL;
    }
    struct query *q = calloc(1, sizeof *q);
    if (!q) {
        err_set(err, -ENOMEM, "no memory for a query");
        return NULL;
    }
    q->pool = p;
    q->id = p->next_id++;
    q->uid = uid;
    q->turn = uid;
    q->pid = pid;
    q->fd = -1;
    q->request = json_incref(request);
    q->submitted = clock_monotonic();
    struct query **end = &p->queries;
    while (*end)
        end = &(*end)->next;
    *end = q;
    return q;
}

struct query *query_submit(struct query_pool *p, json_t *request, const struct query_limits *limits,
                           uid_t uid, pid_t pid, struct err *err)
{
    json_t *params = json_object_get(request, "params");
    bool stated = json_is_string(json_object_get(request, "sql")) !=
                  json_is_string(json_object_get(request, "call"));
    if (stated == json_is_array(json_object_get(request, "tables")) ||
        (params && !json_is_object(params) && !json_is_array(params))) {
        err_set(err, -EINVAL,
                "a query is {\"sql\": TEXT or \"call\": NAME, \"params\": {NAME: TEXT}}");
        return NULL;
    }
    struct query *q = query_new(p, request, uid, pid, err);
    if (!q)
        return NULL;
    const struct config *c = p->daemon->config;
    q->timeout = limits->timeout_ns > 0 && limits->timeout_ns < c->query_timeout
                     ? limits->timeout_ns
                     : c->query_timeout;
    q->max_rows = limits->max_rows && limits->max_rows < (uint64_t)c->query_rows
                      ? limits->max_rows
                      : (uint64_t)c->query_rows;
    q->max_bytes = limits->max_bytes && limits->max_bytes < (uint64_t)c->query_memory
                       ? limits->max_bytes
                       : (uint64_t)c->query_memory;
    if (limits->user) {
        snprintf(q->user, sizeof q->user, "%s", limits->user);
        q->turn = 1ull << 32 | crc32c(0, q->user, strlen(q->user));
    }
    query_pool_poll(p);
    return q;
}

struct query *query_pool_plugin(struct query_pool *p, bool load, const char *name, uid_t uid,
                                struct err *err)
{
    if (p && p->nops == PLUGIN_OPS_MAX) {
        err_set(err, -ENOSPC, "%u plugins were loaded and unloaded: restart penstockd to do more",
                PLUGIN_OPS_MAX);
        return NULL;
    }
    if (strlen(name) >= sizeof p->op[0].name || (load && *name != '/')) {
        err_set(err, -EINVAL, "name a plugin by the absolute path of its .so file");
        return NULL;
    }
    json_t *o; /* by its file, so that a process that starts later knows which one is not wanted */
    size_t i;
    json_array_foreach(load || !p ? NULL : p->plugins, i, o)
    {
        const char *called = json_string_value(json_object_get(o, "plugin"));
        const char *file = json_string_value(json_object_get(o, "file"));
        if (called && file && !strcmp(called, name) && strlen(file) < sizeof p->op[0].name) {
            name = file;
            break;
        }
    }
    json_t *request = json_pack("{s:s}", load ? "load" : "unload", name);
    struct query *q = request ? query_new(p, request, uid, 0, err) : NULL;
    json_decref(request);
    if (!q)
        return NULL;
    q->kind = QUERY_PLUGIN;
    q->timeout = 20 * NS_PER_S;
    query_pool_poll(p);
    return q;
}

bool query_outcome(struct query *q, json_t **result, int *fd, struct err *err)
{
    if (q->state != QUERY_ENDED)
        return false;
    *result = q->result;
    *fd = q->result ? q->fd : -1;
    if (q->result)
        q->fd = -1;
    else
        *err = q->err;
    q->result = NULL;
    return true;
}

void query_cost(const struct query *q, struct query_cost *out)
{
    *out = q->cost;
    if (q->state == QUERY_RUNNING)
        out->run_ns = clock_monotonic() - q->started;
}

uint64_t query_id(const struct query *q)
{
    return q->id;
}

static void stop(struct query *q, int why)
{
    if (q->state == QUERY_QUEUED) {
        q->cancel = why;
        query_end(q, NULL, "the query was stopped before it ran", -ECANCELED);
    } else if (q->state == QUERY_RUNNING && !q->cancel && q->kind == QUERY_SQL) {
        q->cancel = why;
        slot_cancel(q->slot, q, why);
        q->kill_at = clock_monotonic() + POOL_GRACE_MS * NS_PER_MS;
    }
}

void query_done(struct query *q)
{
    q->forgotten = true;
    if (q->state == QUERY_ENDED)
        unlink_query(q);
    else
        stop(q, WIRE_CANCEL_CLIENT);
}

/* The oldest of the user that comes after the last one served: users take turns. */
struct query *query_pool_next(struct query_pool *p)
{
    struct query *after = NULL, *lowest = NULL;
    for (struct query *q = p->queries; q; q = q->next) {
        if (q->state != QUERY_QUEUED)
            continue;
        if (q->turn > p->last_turn && (!after || q->turn < after->turn))
            after = q;
        if (!lowest || q->turn < lowest->turn)
            lowest = q;
    }
    struct query *q = after ? after : lowest;
    if (q)
        p->last_turn = q->turn;
    return q;
}

static void no_process(struct query_pool *p, struct query *q)
{
    char text[400];
    snprintf(text, sizeof text, "no query process comes up%s%s; see penstock queries",
             *p->figures.last_reason ? ", the last one: " : "", p->figures.last_reason);
    query_end(q, NULL, text, -EAGAIN);
}

int query_pool_poll(struct query_pool *p)
{
    int64_t now = clock_monotonic();
    helper_poll(p->daemon->helper, slots_event, p);
    slots_poll(p, now);
    for (unsigned i = 0; i < p->nslots; i++)
        if (p->slot[i].state == SLOT_READY || p->slot[i].state == SLOT_BUSY)
            p->alive = now;
    for (struct query *q = p->queries, *next; q; q = next) {
        next = q->next;
        if (p->gone && q->state != QUERY_ENDED)
            query_end(q, NULL, "penstock-helper is gone, so the query did not end", -EPIPE);
        else if (q->state == QUERY_QUEUED && now - p->alive > POOL_DEAD_MS * NS_PER_MS &&
                 now - q->submitted > POOL_DEAD_MS * NS_PER_MS)
            no_process(p, q);
        else if (q->state == QUERY_RUNNING && !q->cancel && now > q->deadline) {
            stop(q, WIRE_CANCEL_TIMEOUT);
            if (q->kind == QUERY_PLUGIN)
                slot_kill(p, q->slot, "loading or unloading took longer than 20 s");
        } else if (q->state == QUERY_RUNNING && q->cancel && now > q->kill_at)
            slot_kill(p, q->slot, "it did not stop when it was told to");
    }
    return 0;
}

/* ---- what operators see ---- */

void query_pool_figures(const struct query_pool *p, struct query_pool_figures *out)
{
    *out = p->figures;
    out->processes = p->nslots;
    out->ready = out->running = out->queued = 0;
    for (unsigned i = 0; i < p->nslots; i++)
        out->ready += p->slot[i].state == SLOT_READY || p->slot[i].state == SLOT_BUSY;
    for (const struct query *q = p->queries; q; q = q->next) {
        out->running += q->state == QUERY_RUNNING;
        out->queued += q->state == QUERY_QUEUED;
    }
}

static json_t *query_json(const struct query *q, int64_t now)
{
    static const char *const states[] = {"queued", "running", "ended"};
    const struct passwd *pw = *q->user ? NULL : getpwuid(q->uid);
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)q->uid);
    const char *text = json_string_value(json_object_get(q->request, "sql"));
    text = text ? text : json_string_value(json_object_get(q->request, "call"));
    text =
        text ? text : json_string_value(json_array_get(json_object_get(q->request, "tables"), 0));
    const char *kind = json_string_value(json_object_get(q->request, "kind"));
    return json_pack("{s:I,s:s,s:s,s:i,s:I,s:I,s:I,s:s,s:s,s:i}", "id", (json_int_t)q->id, "state",
                     q->cancel ? "stopping" : states[q->state], "user",
                     *q->user ? q->user
                     : pw     ? pw->pw_name
                              : number,
                     "pid", (int)q->pid, "age_ns", (json_int_t)(now - q->submitted), "run_ns",
                     (json_int_t)(q->state == QUERY_RUNNING ? now - q->started : 0), "timeout_ns",
                     (json_int_t)q->timeout, "kind",
                     kind                                  ? kind
                     : q->kind == QUERY_PLUGIN             ? "plugin"
                     : json_object_get(q->request, "call") ? "call"
                                                           : "sql",
                     "sql", text ? text : "", "process", q->slot ? (int)q->slot->pid : 0);
}

json_t *query_pool_json(const struct query_pool *p)
{
    static const char *const states[] = {"down", "starting", "starting", "ready", "busy", "ending"};
    json_t *queries = json_array(), *processes = json_array();
    int64_t now = clock_monotonic();
    struct query_pool_figures f;
    query_pool_figures(p, &f);
    for (const struct query *q = p->queries; q; q = q->next)
        if (q->state != QUERY_ENDED)
            json_array_append_new(queries, query_json(q, now));
    for (unsigned i = 0; i < p->nslots; i++) {
        const struct slot *s = &p->slot[i];
        json_array_append_new(processes,
                              json_pack("{s:i,s:s,s:I,s:I}", "pid", (int)s->pid, "state",
                                        states[s->state], "age_ns", (json_int_t)(now - s->since),
                                        "served", (json_int_t)s->served));
    }
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:s}", "queries", queries, "processes",
                     processes, "total", (json_int_t)f.queries, "failed", (json_int_t)f.failed,
                     "cancelled", (json_int_t)f.cancelled, "timed_out", (json_int_t)f.timed_out,
                     "restarts", (json_int_t)f.restarts, "last_restart", f.last_reason);
}

void query_pool_pids(const struct query_pool *p, json_t *list)
{
    for (unsigned i = 0; i < p->nslots; i++)
        if (p->slot[i].pid)
            json_array_append_new(list, json_integer(p->slot[i].pid));
}

bool query_pool_kill(struct query_pool *p, uint64_t id, uid_t uid, bool any, struct err *err)
{
    for (struct query *q = p ? p->queries : NULL; q; q = q->next) {
        if (q->id != id || q->state == QUERY_ENDED)
            continue;
        if (q->uid != uid && !any)
            return err_set(err, -EACCES, "query %llu is uid %u's: stopping it needs level operate",
                           (unsigned long long)id, (unsigned)q->uid);
        stop(q, WIRE_CANCEL_KILL);
        return true;
    }
    return err_set(err, -EINVAL, "no query %llu is waiting or running; penstock queries lists them",
                   (unsigned long long)id);
}

json_t *query_pool_plugins(const struct query_pool *p)
{
    return json_pack("{s:O,s:O}", "plugins", p->plugins, "failed", p->plugins_failed);
}
