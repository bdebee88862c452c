/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-query: runs queries for penstockd, one at a time (query_wire.h), in a sandbox
 * (query_sandbox.h). Started by penstock-helper only: penstock-query PARENT-PID, its socket at
 * descriptor 3.
 *
 * Two threads of its own: the main one listens to penstockd, so that a cancel is heard whatever the
 * query does; the runner runs queries, and the engine's threads help it. What ends penstockd's side
 * ends this process.
 */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/status.h"
#include "core/tzone.h"
#include "helper_wire.h"
#include "worker_sandbox.h"
#include "query_run.h"
#include "query_sandbox.h"
#include "query_wire.h"

#ifdef PST_JEMALLOC
/* Few arenas, freed memory given back at once: the process's limit counts what is mapped. */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:4,retain:false,dirty_decay_ms:1000,muzzy_decay_ms:0";
#endif

static struct query_runner runner;

/* Between the main thread and the runner. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    struct wire_message job; /* QUERY or PLUGIN; head.type WIRE_NONE: none */
    bool busy;
    uint64_t id; /* of the query that runs */
    struct cut *cut;
    char cut_refused[400];
    bool cut_here;
    json_t *loader;
    bool loader_here;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER,
            .wake = PTHREAD_COND_INITIALIZER,
            .idle = PTHREAD_COND_INITIALIZER};

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "penstock-query: ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    _exit(1);
}

static void say(enum wire_type type, uint64_t id, uint64_t value, const void *body, size_t n)
{
    struct err err;
    if (!wire_send(HELPER_FD, type, id, value, body, n, NULL, 0, &err))
        _exit(0); /* penstockd is gone */
}

/* A JSON body; `plain` instead when it is too long. Steals o. */
static void say_json(enum wire_type type, uint64_t id, uint64_t value, json_t *o, const char *plain,
                     size_t most)
{
    char *text = json_dumps(o, JSON_COMPACT);
    size_t n = text ? strlen(text) : most + 1;
    if (n <= most)
        say(type, id, value, text, n);
    else
        say(type, id, value, plain, strlen(plain));
    free(text);
    json_decref(o);
}

static void log_line(void *arg, const char *line)
{
    (void)arg;
    say(WIRE_LOG, 0, 0, line, strnlen(line, 500));
}

/* ---- the runner ---- */

static struct cut *ask_cut(void *arg, struct err *err)
{
    (void)arg;
    say(WIRE_CUT_WANTED, shared.id, 0, NULL, 0);
    pthread_mutex_lock(&shared.lock);
    while (!shared.cut_here)
        pthread_cond_wait(&shared.wake, &shared.lock);
    struct cut *c = shared.cut;
    shared.cut = NULL;
    shared.cut_here = false;
    if (!c)
        err_set(err, -EAGAIN, "%s", shared.cut_refused);
    pthread_mutex_unlock(&shared.lock);
    return c;
}

static json_t *ask_loader(void *arg, struct err *err)
{
    (void)arg;
    pthread_mutex_lock(&shared.lock);
    json_decref(shared.loader);
    shared.loader = NULL;
    shared.loader_here = false;
    pthread_mutex_unlock(&shared.lock);
    say(WIRE_LOADER_WANTED, shared.id, 0, NULL, 0);
    pthread_mutex_lock(&shared.lock);
    while (!shared.loader_here)
        pthread_cond_wait(&shared.wake, &shared.lock);
    json_t *o = shared.loader;
    shared.loader = NULL;
    pthread_mutex_unlock(&shared.lock);
    const char *why = json_string_value(json_object_get(o, "error"));
    if (o && !why)
        return o;
    err_set(err, -EAGAIN, "%s", why ? why : "the loader's tables are no JSON");
    json_decref(o);
    return NULL;
}

static void run_query(const struct wire_message *m)
{
    json_error_t je;
    json_t *request = json_loadb((const char *)m->body, m->head.length, 0, &je);
    json_t *facts = NULL, *error = NULL;
    uint64_t bytes = 0;
    if (!request) {
        error = json_pack("{s:s,s:i}", "error", "the request is no JSON", "code", -EINVAL);
    } else if (query_runner_run(&runner, request, m->fds[0], &bytes, &facts, &error)) {
        say_json(WIRE_RESULT, m->head.id, bytes, facts, "{\"rows\":-1}", WIRE_INLINE);
    }
    if (error)
        say_json(WIRE_FAILED, m->head.id, 0, error, "{\"error\":\"failed\",\"code\":-5}", 8192);
    json_decref(request);
}

static json_t *loaded(json_t *failed)
{
    return json_pack("{s:o,s:o}", "plugins", plugins_json(runner.plugins), "failed", failed);
}

static json_t *load(const char *file, json_t *failed)
{
    struct err err = {0};
    if (!plugins_load(runner.plugins, file, &err))
        json_array_append_new(failed, json_pack("{s:s,s:s}", "file", file, "error", err.text));
    return failed;
}

static void run_plugin(const struct wire_message *m)
{
    json_error_t je;
    struct err err = {0};
    json_t *request = json_loadb((const char *)m->body, m->head.length, 0, &je);
    json_t *failed = json_array();
    const char *file = json_string_value(json_object_get(request, "load")),
               *name = json_string_value(json_object_get(request, "unload"));
    if (file)
        load(file, failed);
    else if (!name || !plugins_unload(runner.plugins, name, &err))
        json_array_append_new(failed,
                              json_pack("{s:s,s:s}", "file", name ? name : "?", "error", err.text));
    say_json(WIRE_PLUGIN_DONE, m->head.id, 0, loaded(failed), "{}", WIRE_INLINE);
    json_decref(request);
}

static void *run(void *arg)
{
    (void)arg;
    prctl(PR_SET_NAME, "pst-run");
    pthread_mutex_lock(&shared.lock);
    for (;;) {
        while (shared.job.head.type == WIRE_NONE)
            pthread_cond_wait(&shared.wake, &shared.lock);
        struct wire_message m = shared.job;
        pthread_mutex_unlock(&shared.lock);
        if (m.head.type == WIRE_QUERY)
            run_query(&m);
        else
            run_plugin(&m);
        wire_free(&m);
        pthread_mutex_lock(&shared.lock);
        shared.job = (struct wire_message){0};
        shared.busy = false;
        pthread_cond_signal(&shared.idle);
    }
    return NULL;
}

/* ---- the main thread ---- */

static bool attach_one(const char *what, int fd, struct err *err)
{
    if (!strcmp(what, "rdb"))
        return runner.have_rdb = rdb_map_attach(&runner.rdb, fd, err);
    if (!strcmp(what, "symbols"))
        return runner.have_symbols = symbols_attach(&runner.symbols, fd, err);
    return err_set(err, -EPROTO, "unknown segment %s", what);
}

static void attach(struct wire_message *m)
{
    json_error_t je;
    struct err err = {0};
    json_t *o = json_loadb((const char *)m->body, m->head.length, 0, &je), *v;
    size_t i;
    if (!o)
        give_up("ATTACH is no JSON");
    runner.threads = (unsigned)json_integer_value(json_object_get(o, "threads"));
    runner.memory = (uint64_t)json_integer_value(json_object_get(o, "memory"));
    const char *zone = json_string_value(json_object_get(o, "zone"));
    if (!(runner.zone = tzone_load(zone ? zone : "UTC", &err)))
        give_up("%s", err.text);
    if (!query_runner_schemas(&runner, json_object_get(o, "schemas"), &err))
        give_up("schemas: %s", err.text);
    if (!query_runner_views(&runner, json_object_get(o, "views"), &err))
        give_up("%s", err.text);
    runner.log = log_line;
    json_array_foreach(json_object_get(o, "segments"), i, v)
    {
        if (i >= m->nfds || !attach_one(json_string_value(v), m->fds[i], &err))
            give_up("segment %zu: %s", i, err.text);
        m->fds[i] = -1; /* the map owns it */
    }
    runner.plugins = plugins_new(log_line, NULL);
    runner.cut = ask_cut;
    if (json_is_true(json_object_get(o, "loader")))
        runner.loader.ask = ask_loader;
    if (!runner.plugins)
        give_up("no memory");
    if (!sandbox_limits(runner.memory, runner.threads + 2, &err))
        give_up("%s", err.text);
    if (!sandbox_enter(&err))
        give_up("%s", err.text);
    json_t *failed = json_array();
    json_array_foreach(json_object_get(o, "plugins"), i, v) load(json_string_value(v), failed);
    pthread_t t;
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 8u << 20);
    if (pthread_create(&t, &a, run, NULL))
        give_up("no thread");
    pthread_attr_destroy(&a);
    say_json(WIRE_READY, 0, 0, loaded(failed), "{}", WIRE_INLINE); /* o stays: texts of the views */
}

static void take_cut(const struct wire_message *m)
{
    struct cut *c = NULL;
    if (m->head.type == WIRE_CUT) {
        c = malloc(m->head.length + 1);
        if (c)
            memcpy(c, m->body, m->head.length);
        if (!c || !cut_ok(c, m->head.length))
            give_up("an unsound cut");
    }
    pthread_mutex_lock(&shared.lock);
    if (shared.busy && m->head.id == shared.id) {
        free(shared.cut);
        shared.cut = c;
        c = NULL;
        snprintf(shared.cut_refused, sizeof shared.cut_refused, "%s", (const char *)m->body);
        shared.cut_here = true;
        pthread_cond_signal(&shared.wake);
    }
    pthread_mutex_unlock(&shared.lock);
    free(c);
}

static void take_loader(const struct wire_message *m)
{
    json_error_t je;
    json_t *o = json_loadb((const char *)m->body, m->head.length, 0, &je);
    pthread_mutex_lock(&shared.lock);
    if (shared.busy && m->head.id == shared.id) {
        json_decref(shared.loader);
        shared.loader = o;
        o = NULL;
        shared.loader_here = true;
        pthread_cond_signal(&shared.wake);
    }
    pthread_mutex_unlock(&shared.lock);
    json_decref(o);
}

static void dispatch(struct wire_message *m)
{
    switch (m->head.type) {
    case WIRE_QUERY:
    case WIRE_PLUGIN:
        pthread_mutex_lock(&shared.lock);
        while (shared.busy) /* the runner has answered and is about to say that it is idle */
            pthread_cond_wait(&shared.idle, &shared.lock);
        shared.job = *m;
        shared.busy = true;
        shared.id = m->head.id;
        atomic_store(&runner.cancel, 0);
        pthread_cond_signal(&shared.wake);
        pthread_mutex_unlock(&shared.lock);
        *m = (struct wire_message){0}; /* the runner frees it */
        break;
    case WIRE_CANCEL:
        pthread_mutex_lock(&shared.lock);
        if (shared.busy && shared.id == m->head.id)
            atomic_store(&runner.cancel, (int)m->head.value);
        pthread_mutex_unlock(&shared.lock);
        break;
    case WIRE_LOADER:
        take_loader(m);
        break;
    default:
        take_cut(m);
    }
}

int main(int argc, char **argv)
{
    int code = worker_begin(argc, argv,
                            "penstock-query is started by penstock-helper only; for a query "
                            "without a daemon: penstock sql --database DIR");
    if (code >= 0)
        return code;
    char hello[64];
    snprintf(hello, sizeof hello, "%s", PST_VERSION);
    say(WIRE_HELLO, 0, WIRE_VERSION, hello, strlen(hello));
    bool attached = false;
    for (;;) {
        struct wire_message m;
        struct err err = {0};
        bool closed;
        int k = wire_receive(HELPER_FD, 'D', &m, &closed, &err);
        if (closed)
            _exit(0);
        if (k < 0)
            give_up("penstockd sent %s", err.text);
        if (!k)
            continue;
        if (attached == (m.head.type == WIRE_ATTACH))
            give_up("a message out of turn");
        if (attached)
            dispatch(&m);
        else
            attach(&m);
        attached = true;
        wire_free(&m);
    }
}
