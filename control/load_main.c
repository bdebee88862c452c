/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-load: runs tasks of the loader, one at a time (load_wire.h), in a sandbox
 * (load_sandbox.h), for the life of one batch.
 *
 *     penstock-load PARENT-PID            started by penstock-helper, its socket at descriptor 3
 *     penstock-load --task FILE.json      by hand: runs {"task":KIND,"args":{…}}, prints the
 *                                         result; no sandbox but the memory limit ("memory": bytes)
 *
 * Two threads of its own: the main one listens to penstockd and sends beats with the task's real
 * figures, whatever the task does; the runner runs tasks. What ends penstockd's side ends this
 * process.
 */
#include <errno.h>
#include <malloc.h>
#include <sys/poll.h> /* poll.h is the data plane's */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/clock.h"
#include "helper_wire.h"
#include "worker_sandbox.h"
#include "load_feed.h"
#include "load_plugin.h"
#include "load_sandbox.h"
#include "storage/load/index.h"
#include "storage/load/merge.h"
#include "load_wire.h"

#define LOOK_MS     100 /* memory is looked at so often; a beat is every tenth look */
#define LOOKS       10
#define LOG_LINES   10u
#define DIRECTORIES 64u

static struct load_hooks hooks = {.itch50 = &load_reader_itch50, .pcap = &load_reader_pcap};
static struct {
    char name[64];
    uint64_t memory;
    bool landlocked;
} self;

/* Between the main thread and the runner. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    json_t *run; /* the body of RUN; NULL: nothing to do */
    uint64_t id;
    bool busy;
    uint64_t peak; /* of the task */
    struct load_progress progress;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "penstock-load: ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    _exit(1);
}

/* Private memory that is there: what the limit is about, without pages of files. */
static uint64_t held(void)
{
    char line[128];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb * 1024;
}

/* ---- tasks ---- */

static bool refresh(const json_t *args, struct load_progress *progress, json_t **result,
                    struct err *err)
{
    (void)args, (void)progress, (void)err;
    *result = json_pack("{s:s,s:i,s:I,s:b,s:o}", "version", PST_VERSION, "pid", (int)getpid(),
                        "memory", (json_int_t)self.memory, "landlock", self.landlocked, "plugins",
                        load_plugins_json());
    return true;
}

static bool read_file(const json_t *args, struct load_progress *progress, json_t **result,
                      struct err *err)
{
    return load_read_run(args, &hooks, progress, result, err);
}

static const struct {
    const char *name;
    load_task_fn *run;
} tasks[] = {{"refresh", refresh},        {"read", read_file},       {"hash", load_hash_run},
             {"verify", load_verify_run}, {"index", load_index_run}, {"merge", load_merge_run}};

static void run_task(const json_t *o, struct load_progress *progress, struct load_done *d)
{
    const char *name = json_string_value(json_object_get(o, "task"));
    struct err err = {0};
    int64_t began = clock_monotonic();
    load_task_fn *run = NULL;
    memset(d, 0, sizeof *d);
    for (unsigned i = 0; name && i < PST_COUNT(tasks); i++)
        if (!strcmp(tasks[i].name, name))
            run = tasks[i].run;
    if (!run)
        err_set(&err, -EINVAL, "there is no task %s", name ? name : "without a name");
    else
        d->success = run(json_object_get(o, "args"), progress, &d->result, &err);
    if (d->success && !d->result) {
        d->success = false;
        err_set(&err, -ENOMEM, "no memory for a result");
    }
    if (!d->success) {
        d->code = err.code < 0 ? err.code : -EIO;
        d->retryable = load_retryable(d->code);
        snprintf(d->error, sizeof d->error, "%s", err.text[0] ? err.text : "it failed");
    }
    d->seconds = (double)(clock_monotonic() - began) / 1e9;
}

/* ---- the runner ---- */

static void say(enum load_wire_type type, uint64_t id, const void *body, size_t n)
{
    struct err err;
    if (!load_wire_send(HELPER_FD, type, id, body, n, &err))
        _exit(0); /* penstockd is gone */
}

/* Of functions: at most LOG_LINES in a second, the others are not told. */
static void log_line(const char *line)
{
    static int64_t second;
    static unsigned lines;
    int64_t now = clock_monotonic() / 1000000000;
    if (now != second) {
        second = now;
        lines = 0;
    }
    if (++lines > LOG_LINES)
        return;
    say(LOAD_WIRE_LOG, 0, line, strnlen(line, 500));
}

static void *run(void *arg)
{
    (void)arg;
    prctl(PR_SET_NAME, "pst-task");
    for (;;) {
        pthread_mutex_lock(&shared.lock);
        while (!shared.run)
            pthread_cond_wait(&shared.wake, &shared.lock);
        json_t *o = shared.run;
        uint64_t id = shared.id;
        pthread_mutex_unlock(&shared.lock);
        struct load_done d;
        PST_FAULT("load.task");
        run_task(o, &shared.progress, &d);
        PST_FAULT("load.done");
        json_decref(o);
        uint64_t now = held();
        pthread_mutex_lock(&shared.lock);
        d.heap = shared.peak > now ? shared.peak : now;
        shared.run = NULL;
        shared.busy = false;
        pthread_mutex_unlock(&shared.lock);
        char *text = load_done_print(&d);
        json_decref(d.result);
        if (!text)
            give_up("no memory for an answer");
        say(LOAD_WIRE_DONE, id, text, strlen(text));
        free(text);
    }
}

/* ---- the main thread ---- */

static json_t *body_of(const struct wire_message *m, const char *what)
{
    json_error_t je;
    json_t *o = json_loadb(m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(o))
        give_up("%s is no JSON object", what);
    return o;
}

static void attach(const struct wire_message *m)
{
    struct err err = {0};
    const char *directory[DIRECTORIES];
    unsigned n = 0;
    size_t i;
    json_t *o = body_of(m, "ATTACH"), *v, *failed = json_array();
    const char *name = json_string_value(json_object_get(o, "name"));
    snprintf(self.name, sizeof self.name, "%s", name ? name : "?");
    self.memory = (uint64_t)json_integer_value(json_object_get(o, "memory"));
    json_array_foreach(json_object_get(o, "directories"), i, v)
    {
        if (!json_is_string(v) || n == DIRECTORIES)
            give_up("ATTACH names no directories");
        directory[n++] = json_string_value(v);
    }
    mallopt(M_ARENA_MAX, 2); /* each would keep what it once held */
    if (!load_sandbox_limits(self.memory, &err) ||
        !load_sandbox_enter(directory, n, &self.landlocked, &err))
        give_up("%s", err.text);
    json_array_foreach(json_object_get(o, "plugins"), i, v)
    {
        const char *file = json_string_value(v);
        if (!load_plugins_add(file ? file : "?", &err))
            json_array_append_new(
                failed, json_pack("{s:s,s:s}", "file", file ? file : "?", "error", err.text));
    }
    load_plugins_hooks(&hooks, log_line);
    pthread_t t;
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 2u << 20);
    if (pthread_create(&t, &a, run, NULL))
        give_up("no thread");
    pthread_attr_destroy(&a);
    json_t *ready = json_pack("{s:o,s:o,s:b}", "plugins", load_plugins_json(), "failed", failed,
                              "landlock", self.landlocked);
    char *text = json_dumps(ready, JSON_COMPACT);
    if (!text)
        give_up("no memory");
    say(LOAD_WIRE_READY, 0, text, strlen(text));
    free(text);
    json_decref(ready);
    json_decref(o);
}

static void start(const struct wire_message *m)
{
    json_t *o = body_of(m, "RUN");
    pthread_mutex_lock(&shared.lock);
    if (shared.busy)
        give_up("a task while another one runs");
    shared.run = o;
    shared.id = m->head.id;
    shared.busy = true;
    shared.peak = 0;
    store_relaxed(&shared.progress.rows, 0);
    store_relaxed(&shared.progress.bytes, 0);
    store_relaxed(&shared.progress.total, 0);
    store_relaxed(&shared.progress.stop, 0);
    pthread_cond_signal(&shared.wake);
    pthread_mutex_unlock(&shared.lock);
}

/* Every LOOK_MS while a task runs. */
static void look(void)
{
    static unsigned looks;
    uint64_t now = held();
    pthread_mutex_lock(&shared.lock);
    bool busy = shared.busy;
    uint64_t id = shared.id;
    if (busy && now > shared.peak)
        shared.peak = now;
    pthread_mutex_unlock(&shared.lock);
    if (!busy || ++looks % LOOKS)
        return;
    char text[512];
    const struct load_beat b = {.rows = load_relaxed(&shared.progress.rows),
                                .bytes = load_relaxed(&shared.progress.bytes),
                                .total = load_relaxed(&shared.progress.total),
                                .heap = now};
    say(LOAD_WIRE_BEAT, id, text, load_beat_print(&b, text));
}

static void listen_to(void)
{
    bool attached = false;
    for (;;) {
        struct pollfd p = {HELPER_FD, POLLIN, 0};
        pthread_mutex_lock(&shared.lock);
        bool busy = shared.busy;
        pthread_mutex_unlock(&shared.lock);
        if (!poll(&p, 1, busy ? LOOK_MS : 1000)) {
            look();
            continue;
        }
        struct wire_message m;
        struct err err = {0};
        bool closed;
        int k = load_wire_receive(HELPER_FD, 'D', &m, &closed, &err);
        if (closed)
            _exit(0);
        if (k < 0)
            give_up("penstockd sent %s", err.text);
        if (!k)
            continue;
        if (attached == (m.head.type == LOAD_WIRE_ATTACH))
            give_up("a message out of turn");
        if (m.head.type == LOAD_WIRE_ATTACH)
            attach(&m);
        else if (m.head.type == LOAD_WIRE_RUN)
            start(&m);
        else
            store_relaxed(&shared.progress.stop, 1);
        attached = true;
        wire_free(&m);
    }
}

/* ---- by hand ---- */

static int by_hand(const char *file)
{
    json_error_t je;
    struct load_done d;
    struct err err = {0};
    size_t i;
    json_t *v, *o = strcmp(file, "-") ? json_load_file(file, 0, &je) : json_loadf(stdin, 0, &je);
    if (!json_is_object(o)) {
        fprintf(stderr, "penstock-load: %s: no JSON object: %s, line %d\n", file, je.text, je.line);
        return 2;
    }
    self.memory = (uint64_t)json_integer_value(json_object_get(o, "memory"));
    json_array_foreach(json_object_get(o, "plugins"), i, v)
    {
        if (!load_plugins_add(json_is_string(v) ? json_string_value(v) : "?", &err)) {
            fprintf(stderr, "penstock-load: %s\n", err.text);
            return 2;
        }
    }
    load_plugins_hooks(&hooks, NULL);
    if (self.memory && !load_sandbox_limits(self.memory, &err)) {
        fprintf(stderr, "penstock-load: %s\n", err.text);
        return 2;
    }
    run_task(o, &shared.progress, &d);
    if (d.success) {
        json_dumpf(d.result, stdout, JSON_INDENT(1));
        printf("\n");
    } else
        fprintf(stderr, "penstock-load: %s (code %d, %s)\n", d.error, d.code,
                d.retryable ? "trying again may help" : "trying again does not help");
    json_decref(d.result);
    json_decref(o);
    return d.success && !fflush(stdout) ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--task"))
        return by_hand(argv[2]);
    int code = worker_begin(argc, argv,
                            "penstock-load is started by penstock-helper; by hand: penstock-load "
                            "--task FILE.json runs one task");
    if (code >= 0)
        return code;
    say(LOAD_WIRE_HELLO, 0, PST_VERSION, strlen(PST_VERSION));
    listen_to();
}
