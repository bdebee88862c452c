/* SPDX-License-Identifier: Apache-2.0 */
/* The workers: asked for at control, spoken to over their sockets, watched in /proc, ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "hdb.h"
#include "load_wire.h"
#include "loading_parts.h"
#include "worker_memory.h"

#define START_NS      (30 * NS_PER_S)
#define CLOSED_NS     (NS_PER_S) /* for a process to end that has closed its socket */
#define LOOK_NS       (NS_PER_S / 2)
#define A_TURN        64   /* messages of one worker in one round */
#define A_SECOND      2000 /* more breaks the protocol */
#define LOG_A_SECOND  20   /* lines, of all workers */
#define GRACE_PERCENT 110  /* of its memory: what an allocator keeps beside what is in use */

static struct loading_worker *by_id(struct loading *l, uint64_t id)
{
    for (unsigned i = 0; i < l->nworkers; i++)
        if (l->worker[i].id == id && l->worker[i].state != LW_NONE)
            return &l->worker[i];
    return NULL;
}

static void told_pid(struct loading *l, const struct loading_worker *w)
{
    pthread_mutex_lock(&l->lock);
    l->pids[w->index] = w->pid;
    pthread_mutex_unlock(&l->lock);
}

static void forget(struct loading *l, struct loading_worker *w)
{
    if (w->fd >= 0)
        close(w->fd); /* leaves the epoll set with it */
    if (w->pidfd >= 0)
        close(w->pidfd);
    *w = (struct loading_worker){.index = w->index, .fd = -1, .pidfd = -1};
    told_pid(l, w);
}

static void down(struct loading *l, struct loading_worker *w, const char *why)
{
    char text[400];
    unsigned index = w->index;
    snprintf(text, sizeof text, "%s", *w->why ? w->why : why);
    forget(l, w);
    l->news = true;
    loader_worker_down(l->loader, index, text);
}

/* ---- starting ---- */

void workers_spawn(struct loading *l, unsigned w, uint64_t memory)
{
    struct loading_request *r = calloc(1, sizeof *r);
    struct loading_worker *x = &l->worker[w];
    pst_must(r);
    if (x->state != LW_NONE) { /* nothing could be sent to it: it is as good as gone */
        workers_kill(l, w, "another one takes its place");
        forget(l, x); /* what the helper says of it later is about nobody */
    }
    *x = (struct loading_worker){.state = LW_ASKED,
                                 .index = w,
                                 .id = l->next_id++,
                                 .memory = memory,
                                 .fd = -1,
                                 .pidfd = -1,
                                 .since = clock_monotonic()};
    *r = (struct loading_request){.kind = LR_SPAWN, .id = x->id};
    loading_request(l, r);
}

/* Below what it may write: the directory of tasks, and the database's merge directories. */
static json_t *directories(struct loading *l)
{
    const struct config *c = l->d->config;
    struct err err;
    json_t *list = json_array();
    json_array_append_new(list, json_string(loading_plan_temporary(l->plan)));
    if (c->load.rejects_directory)
        json_array_append_new(list, json_string(c->load.rejects_directory));
    struct hdb *h = hdb_open(c->database, &err);
    for (unsigned i = 0; h && i < hdb_ndisks(h); i++)
        json_array_append_new(list, json_string(hdb_disk(h, i)));
    if (!h)
        json_array_append_new(list, json_string(c->database));
    else
        hdb_close(h);
    return list;
}

/* The .so files that recipes name. */
static json_t *plugins(const struct config *c)
{
    json_t *list = json_array(), *x;
    size_t k;
    for (uint32_t i = 0; i < c->load.files.count; i++) {
        const struct config_load_file *f = &c->load.files.at[i];
        const char *const functions[] = {f->read_function, f->post_read_function, f->save_function};
        for (unsigned n = 0; n < PST_COUNT(functions); n++) {
            const char *colon = functions[n] ? strrchr(functions[n], ':') : NULL;
            bool there = false;
            if (!colon)
                continue;
            json_t *file = json_stringn(functions[n], (size_t)(colon - functions[n]));
            json_array_foreach(list, k, x) there |= json_equal(x, file);
            if (!there)
                json_array_append(list, file);
            json_decref(file);
        }
    }
    return list;
}

static bool attach(struct loading *l, struct loading_worker *w, struct err *err)
{
    char name[16];
    snprintf(name, sizeof name, "w%u", w->index);
    json_t *o =
        json_pack("{s:s,s:I,s:o,s:o,s:b}", "name", name, "memory", (json_int_t)w->memory,
                  "directories", directories(l), "plugins", plugins(l->d->config), "log", 1);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    bool ok = text ? load_wire_send(w->fd, LOAD_WIRE_ATTACH, 0, text, strlen(text), err)
                   : err_set(err, -ENOMEM, "no memory");
    free(text);
    return ok;
}

/* ---- ending ---- */

void workers_kill(struct loading *l, unsigned index, const char *why)
{
    struct loading_worker *w = &l->worker[index];
    if (w->state == LW_NONE || w->state == LW_ENDING)
        return;
    snprintf(w->why, sizeof w->why, "%s", why);
    w->since = clock_monotonic();
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->state = LW_ENDING; /* ASKED: killed as soon as it is there */
    if (w->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
    (void)l;
}

void workers_event(struct loading *l, const struct helper_event *e)
{
    struct loading_worker *w = e->id ? by_id(l, e->id) : NULL;
    char status[64];
    switch (e->kind) {
    case HELPER_SPAWNED: {
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = w ? w->index : 0};
        if (!w || w->state != LW_ASKED || epoll_ctl(l->epoll, EPOLL_CTL_ADD, e->fd, &ev)) {
            syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
            close(e->fd);
            close(e->pidfd);
            if (w && w->state == LW_ASKED)
                snprintf(w->why, sizeof w->why, "its socket could not be watched");
            return; /* EXITED follows */
        }
        fcntl(e->fd, F_SETFL, O_NONBLOCK);
        w->fd = e->fd;
        w->pidfd = e->pidfd;
        w->pid = e->pid;
        w->state = LW_STARTED;
        w->looked = clock_monotonic();
        told_pid(l, w);
        break;
    }
    case HELPER_EXITED:
        if (w)
            down(l, w, helper_status_text(e->status, status));
        break;
    case HELPER_FAILED:
        if (w)
            down(l, w, e->text);
        break;
    case HELPER_RESTARTED:
    case HELPER_GONE:
        for (unsigned i = 0; i < l->nworkers; i++)
            if (l->worker[i].state != LW_NONE)
                down(l, &l->worker[i], e->text);
        break;
    case HELPER_RAN:
        break;
    }
}

/* ---- talking ---- */

bool workers_send(struct loading *l, unsigned index, uint64_t task, const char *json, size_t len)
{
    struct loading_worker *w = &l->worker[index];
    struct err err = {0};
    if (w->state != LW_READY || !load_wire_send(w->fd, LOAD_WIRE_RUN, task, json, len, &err)) {
        if (w->state == LW_READY)
            workers_kill(l, index, err.text);
        return false;
    }
    return true;
}

static void log_line(struct loading *l, const struct loading_worker *w,
                     const struct wire_message *m)
{
    int64_t second = clock_monotonic() / NS_PER_S;
    if (second != l->log_second) {
        l->log_second = second;
        l->log_lines = 0;
    }
    if (l->log_lines++ >= LOG_A_SECOND)
        return;
    char text[520];
    snprintf(text, sizeof text, "%.*s", (int)m->head.length, m->body);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    fprintf(stderr, "penstockd: load worker w%u (pid %d): %s\n", w->index, (int)w->pid, text);
}

/* False: it broke the protocol, err says how. */
static bool take(struct loading *l, struct loading_worker *w, const struct wire_message *m,
                 struct err *err)
{
    struct load_beat b;
    struct load_done d;
    switch (m->head.type) {
    case LOAD_WIRE_HELLO:
        return w->state == LW_STARTED ? attach(l, w, err) : err_set(err, -EPROTO, "HELLO twice");
    case LOAD_WIRE_READY:
        if (w->state != LW_STARTED)
            return err_set(err, -EPROTO, "READY twice");
        w->state = LW_READY;
        l->news = true;
        loader_worker_up(l->loader, w->index, (int)w->pid);
        return true;
    case LOAD_WIRE_BEAT:
        if (!load_beat_parse(&b, m->body, m->head.length, err))
            return false;
        loader_worker_beat(l->loader, w->index, m->head.id, b.rows, b.bytes, b.heap);
        return true;
    case LOAD_WIRE_DONE:
        if (!load_done_parse(&d, m->body, m->head.length, err))
            return false;
        l->news = true;
        loader_worker_done(l->loader, w->index, m->head.id,
                           d.success ? 0
                           : d.code  ? d.code
                                     : -1,
                           d.retryable, d.result, d.error, d.heap);
        json_decref(d.result);
        return true;
    case LOAD_WIRE_LOG:
        log_line(l, w, m);
        return true;
    default:
        return err_set(err, -EPROTO, "a message of type %u", m->head.type);
    }
}

int workers_listen(struct loading *l, unsigned index)
{
    struct loading_worker *w = &l->worker[index];
    int64_t second = clock_monotonic() / NS_PER_S;
    int n = 0;
    for (; n < A_TURN && w->fd >= 0; n++) {
        struct wire_message m;
        struct err err = {0};
        bool closed = false;
        int k = load_wire_receive(w->fd, 'W', &m, &closed, &err);
        if (k == 0 && !closed)
            break;
        if (closed) { /* it ends: how, the helper says */
            close(w->fd);
            w->fd = -1;
            w->since = clock_monotonic();
            w->state = LW_ENDING;
            break;
        }
        if (w->second != second) {
            w->second = second;
            w->messages = 0;
        }
        bool ok = k > 0 && w->messages++ < A_SECOND;
        if (k > 0 && !ok)
            err_set(&err, -EPROTO, "more than %d messages a second", A_SECOND);
        ok = ok && take(l, w, &m, &err);
        if (k > 0)
            wire_free(&m);
        if (!ok) {
            char why[300];
            snprintf(why, sizeof why, "it broke the protocol: %.250s", err.text);
            workers_kill(l, index, why);
            break;
        }
    }
    return n;
}

/* ---- watching ---- */

void workers_watch(struct loading *l, int64_t now)
{
    char why[200];
    for (unsigned i = 0; i < l->nworkers; i++) {
        struct loading_worker *w = &l->worker[i];
        bool starts = w->state == LW_ASKED || w->state == LW_STARTED;
        if (starts && now - w->since > START_NS) {
            workers_kill(l, i, "it was not ready within 30 s");
            if (w->pidfd < 0) /* the helper never answered: an answer that still comes is ended */
                down(l, w, w->why);
            continue;
        }
        if (w->state == LW_ENDING && now - w->since > CLOSED_NS && w->pidfd >= 0)
            syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
        if (w->state == LW_ENDING && now - w->since > START_NS) { /* nobody says that it has gone */
            down(l, w, "it did not end");
            continue;
        }
        if (w->state != LW_READY || !w->memory || now - w->looked < LOOK_NS)
            continue;
        w->looked = now;
        w->heap = worker_memory_held(w->pid);
        if (w->heap > w->memory / 100 * GRACE_PERCENT) {
            snprintf(why, sizeof why, "it held %.1f MB of memory and may use %.1f (worker_memory)",
                     (double)w->heap / 1e6, (double)w->memory / 1e6);
            workers_kill(l, i, why);
        }
    }
}

void workers_close(struct loading *l)
{
    for (unsigned i = 0; i < l->nworkers; i++) {
        struct loading_worker *w = &l->worker[i];
        if (w->pidfd >= 0)
            syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
        if (w->state != LW_NONE)
            forget(l, w);
    }
}
