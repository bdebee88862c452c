/* SPDX-License-Identifier: Apache-2.0 */
/* The processes' lives: started, ended, started again; what the manager calls. */
#include "rtp_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/cut.h"
#include "worker_memory.h"

#define LOOK_NS       (NS_PER_S / 2)
#define CLOSED_NS     NS_PER_S /* for a process to end that has closed its socket */
#define GRACE_PERCENT 110      /* of its memory: what an allocator keeps beside what is in use */
#define ROUND_NS      (100 * NS_PER_MS)
#define ROWS_NS       (NS_PER_MS / 5) /* between two looks at what is with the appender */

static struct rtp_process *by_life(struct rtp_pool *p, uint64_t life)
{
    for (unsigned g = 0; life && g < p->groups; g++)
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
            if (p->group[g].process[k].life == life)
                return &p->group[g].process[k];
    return NULL;
}

/* ---- ending ---- */

static void disconnect(struct rtp_process *x)
{
    if (x->fd >= 0)
        close(x->fd); /* leaves the epoll set with it */
    x->fd = -1;
    x->polls = false;
    while (x->out) {
        struct rtp_out *o = x->out;
        x->out = o->next;
        free(o);
    }
    x->out_end = &x->out;
    x->out_bytes = 0;
    free(x->pending);
    x->pending = NULL;
    rtp_whole_free(&x->whole);
}

void rtp_process_kill(struct rtp_pool *p, struct rtp_process *x, const char *format, ...)
{
    va_list ap;
    if (x->state == RTP_OFF || x->state == RTP_ENDING)
        return;
    va_start(ap, format);
    vsnprintf(x->why, sizeof x->why, format, ap);
    va_end(ap);
    x->since = p->now;
    x->state = RTP_ENDING; /* ASKED: killed as soon as it is there */
    disconnect(x);
    if (x->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, x->pidfd, SIGKILL, NULL, 0);
}

static bool wants_processes(const struct rtp_pool *p, const struct rtp_group *g)
{
    if (g->off || p->closing)
        return false;
    return !g->on_demand || g->wanted || (g->unwanted_at && p->now < g->unwanted_at);
}

static void say_end(struct rtp_pool *p, const struct rtp_group *g, const struct rtp_process *x,
                    const char *why, bool again)
{
    char line[500];
    snprintf(line, sizeof line, "%s/%u: %s%s", g->c->name, x->k, why,
             again ? "; it is started again" : "");
    p->hooks.log(p->hooks.arg, line);
}

/* It is gone, or never was: tells who waits, plans the next start. */
static void ended(struct rtp_pool *p, struct rtp_process *x, const char *how)
{
    struct rtp_group *g = &p->group[x->g];
    char why[300];
    uint64_t life = x->life;
    bool told = x->told, wanted = !x->stopping && !p->closing, steady;
    /* one that ends itself has said why; a signal has no words */
    bool words = !*x->why && *x->last && !strncmp(how, "exit", 4);
    snprintf(why, sizeof why, "%.160s%s%.130s", *x->why ? "" : how, words ? ": " : "",
             words ? x->last : "");
    if (*x->why)
        snprintf(why, sizeof why, "%s", x->why);
    if (words && !x->up_at) /* it could not begin: what it lacks is its plugins' affair */
        snprintf(g->trouble, sizeof g->trouble, "%s", x->last);
    disconnect(x);
    if (x->pidfd >= 0)
        close(x->pidfd);
    if (x->cut)
        p->hooks.release(p->hooks.arg, life);
    steady = x->up_at && p->now - x->up_at > RTP_STEADY_NS;
    int64_t backoff = steady || !x->backoff ? RTP_BACKOFF_MIN : 2 * x->backoff;
    uint64_t restarts = x->restarts + wanted, refused = x->refused;
    *x = (struct rtp_process){.g = x->g,
                              .k = x->k,
                              .fd = -1,
                              .pidfd = -1,
                              .op = x->op,
                              .restarts = restarts,
                              .refused = refused,
                              .backoff = wanted ? backoff : 0,
                              .out_end = &x->out};
    if (x->backoff > RTP_BACKOFF_MAX)
        x->backoff = RTP_BACKOFF_MAX;
    x->due = p->now + x->backoff;
    if (x->op)
        rtp_op_answered(p, x, x->op, why);
    rtp_calls_ended(p, life, why);
    if (wanted) {
        g->restarts++;
        p->lost++;
        snprintf(g->why, sizeof g->why, "%s", why);
        g->why_at = p->now;
    }
    bool again = wants_processes(p, g) && !p->gone;
    p->news = true;
    if (!p->closing)
        say_end(p, g, x, why, again);
    if (told && p->events && p->events->down)
        p->events->down(p->events->arg, x->g, x->k, life, why, again);
}

static void process_stop(struct rtp_pool *p, struct rtp_process *x)
{
    if (x->state == RTP_OFF || x->stopping)
        return;
    x->stopping = true;
    x->since = p->now;
    if (x->state == RTP_READY || x->state == RTP_RUNNING)
        rtp_process_send(p, x, RTP_WIRE_STOP, 0, 0, NULL, 0);
    else
        rtp_process_kill(p, x, "stopped");
}

/* ---- starting ---- */

static void start(struct rtp_pool *p, struct rtp_process *x)
{
    x->life = p->next_life++;
    x->since = p->now;
    x->state = RTP_ASKED;
    p->started++;
    p->hooks.spawn(p->hooks.arg, x->life);
}

/* Processes that are up or on their way: each looks at the ring by itself. */
static int neighbours(const struct rtp_pool *p)
{
    int n = 0;
    for (unsigned g = 0; g < p->groups; g++)
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
            n += p->group[g].process[k].state != RTP_OFF;
    return n;
}

void rtp_process_attach(struct rtp_pool *p, struct rtp_process *x)
{
    struct rtp_group *g = &p->group[x->g];
    const struct config_rtp *c = g->c;
    int fds[WIRE_FDS];
    unsigned n = 0;
    struct err err = {0};
    x->attach_due = false;
    json_t *o = p->hooks.attach(p->hooks.arg, fds, &n);
    json_t *processors = json_array(), *insert = json_object(), *libraries = json_object(),
           *options = json_object();
    for (uint32_t i = 0; i < c->processors.count; i++)
        json_array_append_new(processors, json_string(c->processors.at[i]));
    for (uint32_t i = 0; i < c->insert.count; i++)
        json_object_set_new(insert, c->insert.at[i].name, json_string(c->insert.at[i].table));
    for (uint32_t i = 0; i < c->libraries.count; i++)
        json_object_set_new(libraries, c->libraries.at[i].name,
                            json_string(c->libraries.at[i].file));
    for (uint32_t i = 0; i < c->options.count; i++)
        json_object_set_new(options, c->options.at[i].name, json_string(c->options.at[i].value));
    if (c->subscriptions.count) {
        json_t *tables = json_array();
        for (uint32_t i = 0; i < c->subscriptions.count; i++)
            json_array_append_new(tables, json_string(c->subscriptions.at[i]));
        json_object_set_new(o, "subscriptions", tables);
    }
    bool striped = c->mode == CONFIG_RTP_BROADCAST;
    json_t *own =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:b,s:O,s:o,s:o,s:o,s:o,s:I,s:s,s:s,s:b}", "group", c->name,
                  "instance", (int)x->k, "stripe", striped ? (int)x->k : 0, "stripes",
                  striped ? (int)c->processes : 1, "neighbours", neighbours(p), "built_in", 1,
                  "plugins", g->plugins, "processors", processors, "insert", insert, "libraries",
                  libraries, "options", options, "memory", (json_int_t)c->memory, "buffer_start",
                  c->buffer_start ? c->buffer_start : "", "buffer_end",
                  c->buffer_end ? c->buffer_end : "", "debug", g->debug);
    json_object_update(o, own);
    json_decref(own);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!text || !rtp_wire_send(x->fd, RTP_WIRE_ATTACH, 0, 0, text, strlen(text), fds, n, &err))
        rtp_process_kill(p, x, "%s", text ? err.text : "no memory");
    free(text);
}

static json_t *islands(const struct source_progress *at)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < at->islands; i++) {
        const struct source_range *r = &at->island[i];
        json_array_append_new(list,
                              json_pack("[I,i,I,i]", (json_int_t)r->from.position, (int)r->from.row,
                                        (json_int_t)r->to.position, (int)r->to.row));
    }
    return list;
}

void rtp_process_go(struct rtp_pool *p, struct rtp_process *x)
{
    struct rtp_group *g = &p->group[x->g];
    if (x->state != RTP_READY || !g->go)
        return;
    json_t *o = p->hooks.start(p->hooks.arg);
    if (g->derives) {
        rtp_rows_begin(p->rows, &g->source);
        const struct source_progress *at = &g->source.at;
        json_object_set_new(o, "point",
                            json_pack("[I,i]", (json_int_t)at->at.position, (int)at->at.row));
        json_object_set_new(o, "islands", islands(at));
    } else {
        json_object_del(o, "day");
    }
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    x->state = RTP_RUNNING;
    p->news = true;
    x->beat_at = p->now;
    bool ok = text && rtp_process_send(p, x, RTP_WIRE_START, 0, 0, text, strlen(text));
    free(text);
    if (!ok)
        return;
    x->told = true;
    if (p->events && p->events->up)
        p->events->up(p->events->arg, x->g, x->k, x->life);
}

/* ---- what control answered ---- */

static void spawned(struct rtp_pool *p, struct rtp_process *x, const struct helper_event *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = x ? x->g << 8 | x->k : 0};
    if (!x || x->state != RTP_ASKED || epoll_ctl(p->epoll, EPOLL_CTL_ADD, e->fd, &ev)) {
        if (e->pidfd >= 0)
            syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
        close(e->fd);
        if (e->pidfd >= 0)
            close(e->pidfd);
        if (x && x->state == RTP_ASKED)
            snprintf(x->why, sizeof x->why, "its socket could not be watched");
        return; /* EXITED follows */
    }
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    x->fd = e->fd;
    x->pidfd = e->pidfd;
    x->pid = e->pid;
    x->polls = true;
    x->state = RTP_STARTED;
    x->looked = x->beat_at = p->now;
}

void rtp_pool_event(struct rtp_pool *p, const struct helper_event *e)
{
    struct rtp_process *x = by_life(p, e->id);
    char status[64];
    switch (e->kind) {
    case HELPER_SPAWNED:
        spawned(p, x, e);
        break;
    case HELPER_EXITED:
        if (x)
            ended(p, x, helper_status_text(e->status, status));
        break;
    case HELPER_FAILED:
        if (x)
            ended(p, x, e->text);
        break;
    case HELPER_GONE:
        p->gone = true;
        /* fall through */
    case HELPER_RESTARTED:
        for (unsigned g = 0; g < p->groups; g++)
            for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
                if (p->group[g].process[k].life)
                    ended(p, &p->group[g].process[k], e->text);
        break;
    case HELPER_RAN:
        break;
    }
}

void rtp_pool_cut(struct rtp_pool *p, uint64_t life, const struct cut *cut, const char *why)
{
    struct rtp_process *x = by_life(p, life);
    if (!x || x->fd < 0 || !x->cut) {
        p->hooks.release(p->hooks.arg, life);
        return;
    }
    size_t n = cut ? cut->bytes : strlen(why);
    if (!cut)
        x->cut = false;
    rtp_process_send(p, x, cut ? RTP_WIRE_CUT : RTP_WIRE_CUT_REFUSED, 0, 0,
                     cut ? (const void *)cut : why, cut || n < 1024 ? n : 1024);
}

void rtp_pool_overdue(struct rtp_pool *p, uint64_t life, const char *why)
{
    struct rtp_process *x = by_life(p, life);
    if (x)
        rtp_process_kill(p, x, "%s", why);
}

/* ---- talking to it ---- */

static void watch_writing(struct rtp_pool *p, struct rtp_process *x)
{
    bool reads = !x->held && !x->pending;
    struct epoll_event ev = {.events = (reads ? EPOLLIN : 0u) | (x->out ? EPOLLOUT : 0u),
                             .data.u32 = x->g << 8 | x->k};
    if (x->fd >= 0 && epoll_ctl(p->epoll, EPOLL_CTL_MOD, x->fd, &ev))
        rtp_process_kill(p, x, "its socket cannot be watched: %s", strerror(errno));
}

bool rtp_process_flush(struct rtp_pool *p, struct rtp_process *x)
{
    bool had = x->out != NULL;
    while (x->out) {
        struct rtp_out *o = x->out;
        struct err err = {0};
        if (!rtp_wire_send(x->fd, (enum rtp_wire_type)o->type, o->id, o->value, o->body, o->length,
                           NULL, 0, &err)) {
            if (err.code != -EAGAIN) {
                if (err.code != -EPIPE)
                    rtp_process_kill(p, x, "it takes no messages: %.200s", err.text);
                return false; /* -EPIPE: its end comes by itself */
            }
            break;
        }
        x->out = o->next;
        x->out_bytes -= sizeof *o + o->length;
        free(o);
    }
    if (!x->out)
        x->out_end = &x->out;
    if (had)
        watch_writing(p, x);
    return true;
}

bool rtp_process_send(struct rtp_pool *p, struct rtp_process *x, unsigned type, uint64_t id,
                      uint64_t value, const void *body, size_t n)
{
    struct err err = {0};
    if (x->fd < 0 || (x->state != RTP_STARTED && x->state != RTP_READY && x->state != RTP_RUNNING))
        return false;
    if (!x->out) {
        if (rtp_wire_send(x->fd, (enum rtp_wire_type)type, id, value, body, n, NULL, 0, &err))
            return true;
        if (err.code == -EPIPE)
            return false; /* its end comes by itself */
        if (err.code != -EAGAIN) {
            rtp_process_kill(p, x, "it takes no messages: %.200s", err.text);
            return false;
        }
    }
    if (x->out_bytes + n > RTP_LINK_QUEUE) {
        rtp_process_kill(p, x, "it does not take what it is sent");
        return false;
    }
    struct rtp_out *o = malloc(sizeof *o + n);
    if (!o) {
        rtp_process_kill(p, x, "no memory");
        return false;
    }
    *o = (struct rtp_out){.type = type, .id = id, .value = value, .length = n};
    if (n)
        memcpy(o->body, body, n);
    bool first = !x->out;
    *x->out_end = o;
    x->out_end = &o->next;
    x->out_bytes += sizeof *o + n;
    if (first)
        watch_writing(p, x);
    return true;
}

int rtp_pool_ready(struct rtp_pool *p, uint32_t data)
{
    unsigned g = data >> 8, k = data & 255;
    if (g >= p->groups || k >= RTP_PROCESSES_MAX)
        return 0;
    struct rtp_process *x = &p->group[g].process[k];
    if (x->fd < 0)
        return 0;
    if (x->out)
        rtp_process_flush(p, x);
    if (x->held || x->pending || x->fd < 0)
        return 1;
    int n = rtp_process_listen(p, x);
    if (x->pending)
        watch_writing(p, x);
    return n;
}

/* ---- watching ---- */

static void watch_memory(struct rtp_pool *p, const struct rtp_group *g, struct rtp_process *x)
{
    if (p->now - x->looked < LOOK_NS || !x->pid)
        return;
    x->looked = p->now;
    x->heap = worker_memory_held(x->pid);
    if (x->heap > (uint64_t)g->c->memory / 100 * GRACE_PERCENT)
        rtp_process_kill(p, x, "it held %.1f MB of memory and may use %.1f (rtp.%s.memory)",
                         (double)x->heap / 1e6, (double)g->c->memory / 1e6, g->c->name);
}

static void watch_ending(struct rtp_pool *p, struct rtp_process *x)
{
    if (p->now - x->since < CLOSED_NS)
        return;
    if (x->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, x->pidfd, SIGKILL, NULL, 0);
    if (p->now - x->since > RTP_START_NS) /* nobody says that it has gone */
        ended(p, x, "it did not end");
}

static void watch_process(struct rtp_pool *p, struct rtp_group *g, struct rtp_process *x)
{
    bool wanted = x->k < (unsigned)g->c->processes && wants_processes(p, g);
    switch (x->state) {
    case RTP_OFF:
        if (wanted && p->now >= x->due && !p->gone)
            start(p, x);
        return;
    case RTP_ENDING:
        watch_ending(p, x);
        return;
    case RTP_ASKED:
    case RTP_STARTED:
        if (p->now - x->since > RTP_START_NS) {
            bool answered = x->pidfd >= 0;
            rtp_process_kill(p, x, "it was not ready within %d s", (int)(RTP_START_NS / NS_PER_S));
            if (!answered)
                ended(p, x, ""); /* an answer that still comes is ended */
            return;
        }
        break;
    default:
        break;
    }
    if (!wanted)
        process_stop(p, x);
    if (x->state == RTP_ENDING)
        return;
    if (x->stopping && p->now - x->since > RTP_STOP_NS) {
        rtp_process_kill(p, x, "stopped");
        return;
    }
    if (x->state == RTP_READY || x->state == RTP_RUNNING) {
        if (x->held || x->pending)
            x->beat_at = p->now; /* it cannot be heard */
        else if (p->now - x->beat_at > g->c->stuck)
            rtp_process_kill(p, x, "it was stuck: no sign of life for %.3g s (rtp.%s.stuck)",
                             (double)g->c->stuck / 1e9, g->c->name);
    }
    if (x->state != RTP_ENDING)
        watch_memory(p, g, x);
}

/* Rows that the appender took, or refused. */
static int rows_done(struct rtp_pool *p, struct rtp_group *g)
{
    struct rtp_process *x = &g->process[0]; /* a group with processors has one */
    struct err err = {0};
    uint64_t done, before = g->source.rows;
    if (!g->derives || !g->source.begun || !g->source.packets)
        return 0;
    bool ok = rtp_rows_step(p->rows, &g->source, &done, &err);
    p->rows_taken += g->source.rows - before;
    if (!ok) {
        g->refused++;
        g->refused_at = p->now;
        x->refused++;
        p->refused++;
        rtp_process_kill(p, x, "its rows were refused: %.200s", err.text);
        return 1;
    }
    if (x->state != RTP_RUNNING || done == x->rows_done)
        return 0;
    x->rows_done = done;
    rtp_process_send(p, x, RTP_WIRE_ROWS_DONE, 0, done, NULL, 0);
    return 1;
}

static int work_process(struct rtp_pool *p, struct rtp_group *g, struct rtp_process *x)
{
    watch_process(p, g, x);
    if (x->attach_due && (!g->derives || rtp_rows_settled(p->rows, &g->source))) {
        rtp_process_attach(p, x);
        return 1;
    }
    if (x->attach_due)
        x->since = p->now; /* it waits for us */
    if (x->pending && rtp_process_rows(p, x)) {
        watch_writing(p, x);
        return 1;
    }
    return 0;
}

int rtp_pool_work(struct rtp_pool *p, int64_t now)
{
    int did = 0;
    p->now = now;
    for (unsigned g = 0; g < p->groups; g++) {
        did += rows_done(p, &p->group[g]);
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
            if (p->group[g].process[k].life || k < (unsigned)p->group[g].c->processes)
                did += work_process(p, &p->group[g], &p->group[g].process[k]);
    }
    return did + rtp_calls_late(p);
}

int64_t rtp_pool_due(const struct rtp_pool *p, int64_t now)
{
    bool any = p->calls != NULL;
    for (unsigned g = 0; g < p->groups; g++) {
        const struct rtp_group *x = &p->group[g];
        if (x->source.packets)
            return now + ROWS_NS;
        any |= wants_processes(p, x);
        for (unsigned k = 0; k < RTP_PROCESSES_MAX && !any; k++)
            any = x->process[k].state != RTP_OFF;
    }
    return now + (any ? ROUND_NS : NS_PER_S);
}

/* ---- the manager's side ---- */

static struct rtp_process *process_of(struct rtp_pool *p, unsigned g, unsigned k)
{
    return g < p->groups && k < RTP_PROCESSES_MAX ? &p->group[g].process[k] : NULL;
}

static unsigned link_groups(void *pool)
{
    return ((struct rtp_pool *)pool)->groups;
}

static void link_group(void *pool, unsigned g, struct rtp_group_facts *out)
{
    struct rtp_pool *p = pool;
    const struct rtp_group *x = &p->group[g];
    *out = (struct rtp_group_facts){.name = x->c->name,
                                    .mode = (enum rtp_mode)x->c->mode,
                                    .processes = (unsigned)x->c->processes,
                                    .on_demand = x->on_demand,
                                    .stopped = x->off || !x->go};
    for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
        out->up += x->process[k].told && x->process[k].state == RTP_RUNNING;
    if (!out->up)
        snprintf(out->why, sizeof out->why, "%s", x->why);
}

static void link_process(void *pool, unsigned g, unsigned k, struct rtp_process_facts *out)
{
    const struct rtp_process *x = process_of(pool, g, k);
    *out = (struct rtp_process_facts){0};
    if (!x || x->state != RTP_RUNNING)
        return;
    *out = (struct rtp_process_facts){.life = x->life,
                                      .pid = x->pid,
                                      .position = x->beat.position,
                                      .busy = x->busy,
                                      .subscriptions = (uint32_t)x->beat.subscriptions,
                                      .heap = x->heap,
                                      .held = x->held};
}

static const json_t *link_ready(void *pool, unsigned g)
{
    return ((struct rtp_pool *)pool)->group[g].ready;
}

static bool link_send(void *pool, unsigned g, unsigned k, unsigned type, uint64_t id,
                      uint64_t value, const void *body, size_t length)
{
    struct rtp_process *x = process_of(pool, g, k);
    return x && x->state == RTP_RUNNING && !x->stopping &&
           rtp_process_send(pool, x, type, id, value, body, length);
}

static void link_hold(void *pool, unsigned g, unsigned k, bool hold)
{
    struct rtp_process *x = process_of(pool, g, k);
    if (!x || x->held == hold || x->state != RTP_RUNNING)
        return;
    x->held = hold;
    watch_writing(pool, x);
}

static void link_want(void *pool, unsigned g, bool want)
{
    struct rtp_pool *p = pool;
    struct rtp_group *x = &p->group[g];
    if (x->wanted && !want)
        x->unwanted_at = p->now + RTP_LINGER_NS;
    x->wanted = want;
}

static void link_kill(void *pool, unsigned g, unsigned k, const char *why)
{
    struct rtp_process *x = process_of(pool, g, k);
    if (x)
        rtp_process_kill(pool, x, "%s", why);
}

/* ---- life ---- */

static bool open_group(struct rtp_pool *p, struct rtp_group *g, const struct config_rtp *c,
                       struct err *err)
{
    unsigned i = (unsigned)(g - p->group);
    g->c = c;
    g->on_demand = !c->file_line;
    g->go = c->start == CONFIG_RTP_AUTO;
    g->derives = c->processors.count;
    g->plugins = json_array();
    snprintf(g->source.name, sizeof g->source.name, "rtp/%.31s", c->name);
    for (uint32_t k = 0; k < c->plugins.count; k++)
        json_array_append_new(g->plugins, json_string(c->plugins.at[k]));
    for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++) {
        g->process[k] = (struct rtp_process){.g = i, .k = k, .fd = -1, .pidfd = -1};
        g->process[k].out_end = &g->process[k].out;
    }
    return g->plugins != NULL || err_set(err, -ENOMEM, "real-time processes: no memory");
}

bool rtp_pool_open(struct rtp_pool *p, const struct config_rtp *groups, unsigned n,
                   const struct rtp_hooks *hooks, struct rtp_rows *rows, uint64_t first_life,
                   struct err *err)
{
    *p = (struct rtp_pool){.hooks = *hooks, .rows = rows, .next_life = first_life};
    p->link = (struct rtp_link){.pool = p,
                                .groups = link_groups,
                                .group = link_group,
                                .process = link_process,
                                .ready = link_ready,
                                .send = link_send,
                                .hold = link_hold,
                                .want = link_want,
                                .kill = link_kill};
    p->next_call = RTP_CALL_ID;
    p->now = clock_monotonic();
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (p->epoll < 0)
        return err_set(err, -errno, "real-time processes: %s", strerror(errno));
    p->groups = n;
    for (unsigned i = 0; i < n; i++) {
        pst_must(rows || !groups[i].processors.count);
        if (!open_group(p, &p->group[i], &groups[i], err))
            return false;
    }
    return true;
}

void rtp_pool_close(struct rtp_pool *p)
{
    p->closing = true;
    for (unsigned g = 0; g < p->groups; g++) {
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++) {
            struct rtp_process *x = &p->group[g].process[k];
            if (x->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, x->pidfd, SIGKILL, NULL, 0);
            if (x->life)
                ended(p, x, "penstockd stops");
        }
        json_decref(p->group[g].plugins);
        json_decref(p->group[g].ready);
    }
    if (p->epoll >= 0)
        close(p->epoll);
    p->epoll = -1;
    p->groups = 0;
}

void rtp_pool_pids(const struct rtp_pool *p, json_t *list)
{
    for (unsigned g = 0; g < p->groups; g++)
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
            if (p->group[g].process[k].pid)
                json_array_append_new(list, json_integer(p->group[g].process[k].pid));
}
