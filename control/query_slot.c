/* SPDX-License-Identifier: Apache-2.0 */
/* The processes: starting, talking, ending, starting again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "daemon.h"
#include "helper.h"
#include "loading.h"
#include "query_pool_parts.h"
#include "query_result.h"
#include "query_sources.h"
#include "rtp/rtp.h"
#include "rtp/builtin/orders_tables.h"
#include "shown.h"

#define EVENT_HELPER     UINT32_MAX
#define MESSAGES_A_TURN  32 /* of one process, so that none keeps the loop to itself */
#define MESSAGES_A_QUERY 8
#define MESSAGES_MAX     2000 /* a second, of one process */
#define OWN_MS           1000 /* the process stops by itself so much later than we tell it to */
#define LOG_LINES        20   /* a second, of all processes */

static void loader_forget(struct query_pool *p, struct slot *s);

/* ---- ending ---- */

static void disconnect(struct slot *s)
{
    if (s->fd >= 0)
        close(s->fd); /* leaves the epoll set with it */
    s->fd = -1;
}

void slot_kill(struct query_pool *p, struct slot *s, const char *format, ...)
{
    (void)p;
    if (s->state == SLOT_ENDING || s->pidfd < 0)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->why, sizeof s->why, format, ap);
    va_end(ap);
    s->state = SLOT_ENDING;
    s->since = clock_monotonic();
    disconnect(s);
    syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}

static void overdue(void *pool, uint32_t process, const char *why)
{
    struct query_pool *p = pool;
    if (rtp_overdue(p->daemon, process, why))
        return;
    for (unsigned i = 0; i < p->nslots; i++)
        if (p->slot[i].spawn && (uint32_t)p->slot[i].spawn == process)
            slot_kill(p, &p->slot[i], "%s", why);
}

/* Its process is gone, or never was: fails its query, plans the next start. */
static void slot_ended(struct query_pool *p, struct slot *s, const char *reason)
{
    int64_t now = clock_monotonic();
    bool was_ready = s->ready_at != 0;
    struct query *q = s->query;
    disconnect(s);
    loader_forget(p, s);
    if (s->pidfd >= 0)
        close(s->pidfd);
    if (s->spawn)
        query_sources_release(p->daemon, (uint32_t)s->spawn);
    bool steady = was_ready && now - s->ready_at > SLOT_STEADY;
    int64_t most = was_ready ? 2 * NS_PER_S : SLOT_BACKOFF_MAX;
    s->backoff = steady || !s->backoff ? SLOT_BACKOFF_MIN : 2 * s->backoff;
    if (s->backoff > most)
        s->backoff = most;
    s->bad_starts = was_ready ? 0 : s->bad_starts + 1;
    s->pidfd = -1;
    s->pid = 0;
    s->spawn = 0;
    s->ready_at = 0;
    s->query = NULL;
    s->state = SLOT_OFF;
    s->since = now;
    s->due = now + s->backoff;
    s->in_op = false;
    if (!p->daemon->stopping) {
        p->figures.restarts++;
        p->figures.last_restart = now;
        snprintf(p->figures.last_reason, sizeof p->figures.last_reason, "%s", reason);
        fprintf(stderr, "penstockd: query process: %s; it is started again\n", reason);
    }
    s->why[0] = 0;
    if (!q)
        return;
    char text[400];
    if (q->cancel == WIRE_CANCEL_TIMEOUT)
        snprintf(text, sizeof text,
                 "the query ran longer than %.3g s and did not stop when it was told to: its "
                 "process was killed and restarted",
                 (double)q->timeout / 1e9);
    else
        snprintf(text, sizeof text, "query process died: %s; it was restarted", reason);
    query_end(q, NULL, text, q->cancel == WIRE_CANCEL_TIMEOUT ? -ETIMEDOUT : -EPIPE);
}

static struct slot *slot_of(struct query_pool *p, uint64_t spawn)
{
    for (unsigned i = 0; i < p->nslots; i++)
        if (p->slot[i].spawn == spawn)
            return &p->slot[i];
    return NULL;
}

void slots_event(void *pool, const struct helper_event *e)
{
    struct query_pool *p = pool;
    struct slot *s = e->id ? slot_of(p, e->id) : NULL;
    if (e->id >= LOADING_IDS || e->kind == HELPER_RESTARTED || e->kind == HELPER_GONE)
        loading_helper(p->daemon->loading, e);
    if ((e->id >= RTP_IDS && e->id < LOADING_IDS) || e->kind == HELPER_RESTARTED ||
        e->kind == HELPER_GONE)
        rtp_helper(p->daemon, e);
    if (e->id >= RTP_IDS)
        return;
    char reason[600], status[64];
    struct epoll_event ev = {.events = EPOLLIN};
    switch (e->kind) {
    case HELPER_SPAWNED:
        ev.data.u32 = s ? s->index : 0;
        if (!s || s->state != SLOT_ASKED || epoll_ctl(p->epoll, EPOLL_CTL_ADD, e->fd, &ev)) {
            syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
            close(e->fd);
            close(e->pidfd);
            return;
        }
        fcntl(e->fd, F_SETFL, O_NONBLOCK);
        s->fd = e->fd;
        s->pidfd = e->pidfd;
        s->pid = e->pid;
        s->state = SLOT_STARTED;
        break;
    case HELPER_EXITED:
        if (!s)
            return;
        snprintf(
            reason, sizeof reason, "%s%s", *s->why ? s->why : helper_status_text(e->status, status),
            !*s->why && WIFSIGNALED(e->status) && WTERMSIG(e->status) == SIGBUS
                ? ", a file of the database was cut short or cannot be read: penstock hdb verify"
                : "");
        slot_ended(p, s, reason);
        break;
    case HELPER_FAILED:
        if (s)
            slot_ended(p, s, e->text);
        break;
    case HELPER_GONE:
        p->gone = true;
        /* fall through */
    case HELPER_RESTARTED:
        for (unsigned i = 0; i < p->nslots; i++)
            if (p->slot[i].spawn)
                slot_ended(p, &p->slot[i], e->text);
        break;
    case HELPER_RAN:
        break;
    }
}

/* ---- starting ---- */

static void start(struct query_pool *p, struct slot *s, int64_t now)
{
    struct err err;
    s->spawn = p->next_spawn++;
    if (!(uint32_t)s->spawn)
        s->spawn = p->next_spawn++;
    s->since = now;
    s->state = SLOT_ASKED;
    if (!helper_spawn(p->daemon->helper, "penstock-query", s->spawn, &err)) {
        s->state = SLOT_OFF;
        s->spawn = 0;
        s->due = now + NS_PER_S;
    }
}

/* The plugins that a fresh process loads: configured, and what was done since. */
static json_t *plugin_list(struct query_pool *p)
{
    const struct config_names *c = &p->daemon->config->plugins;
    json_t *list = json_array(), *x;
    size_t i;
    for (uint32_t k = 0; k < c->count; k++)
        json_array_append_new(list, json_string(c->at[k]));
    for (unsigned k = 0; k < p->nops; k++) {
        const char *name = p->op[k].name;
        if (p->op[k].load) {
            json_array_append_new(list, json_string(name));
            continue;
        }
        json_array_foreach(list, i, x)
        {
            if (strcmp(json_string_value(x), name))
                continue;
            json_array_remove(list, i);
            break;
        }
    }
    return list;
}

static void put_view(json_t *views, const char *name, const char *sql)
{
    json_array_append_new(views, json_pack("{s:s,s:s}", "name", name, "sql", sql));
}

/* The views of the configuration, and trade_valid where the processor that fills trade runs. One of
 * the configuration's of that name goes before it. */
static json_t *view_list(const struct config *c)
{
    json_t *views = json_array();
    bool orders = false;
    for (uint32_t i = 0; i < c->rtp.count; i++)
        for (uint32_t k = 0; k < c->rtp.at[i].processors.count; k++)
            orders |= !strcmp(c->rtp.at[i].processors.at[k], "orders");
    for (uint32_t i = 0; i < c->views.count; i++) {
        put_view(views, c->views.at[i].name, c->views.at[i].sql);
        orders &= strcmp(c->views.at[i].name, orders_trade_valid) != 0;
    }
    if (orders)
        put_view(views, orders_trade_valid, orders_trade_valid_sql);
    return views;
}

static void attach(struct query_pool *p, struct slot *s)
{
    const struct config *c = p->daemon->config;
    struct err err;
    int fds[WIRE_FDS];
    json_t *names = json_array();
    unsigned n = query_sources_segments(p->daemon, names, fds, 4);
    json_t *schemas = query_sources_schemas(p->daemon), *views = view_list(c);
    s->bare = s->bad_starts >= 3 && (c->plugins.count || p->nops);
    json_t *o =
        json_pack("{s:I,s:I,s:s,s:o,s:o,s:o,s:o,s:b}", "threads", (json_int_t)c->query_threads,
                  "memory", (json_int_t)c->query_memory, "zone", c->calendar.zone, "schemas",
                  schemas, "views", views, "segments", names, "plugins",
                  s->bare ? json_array() : plugin_list(p), "loader", p->daemon->loading != NULL);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    s->ops = p->nops;
    if (!text || !wire_send(s->fd, WIRE_ATTACH, 0, 0, text, strlen(text), fds, n, &err))
        slot_kill(p, s, "%s", text ? err.text : "no memory");
    free(text);
}

/* ---- work ---- */

static void idle(struct slot *s)
{
    s->query = NULL;
    s->in_op = false;
    s->state = SLOT_READY;
    s->since = clock_monotonic();
}

static bool send_job(struct query_pool *p, struct slot *s, enum wire_type type, uint64_t id,
                     json_t *o, const int *fds, unsigned nfds)
{
    struct err err;
    char *text = json_dumps(o, JSON_COMPACT);
    bool ok = text && wire_send(s->fd, type, id, 0, text, strlen(text), fds, nfds, &err);
    if (!ok)
        slot_kill(p, s, "%s", text ? err.text : "no memory");
    free(text);
    return ok;
}

static void begin(struct query_pool *p, struct slot *s, struct query *q, int64_t now)
{
    loader_forget(p, s);
    s->state = SLOT_BUSY;
    s->since = now;
    s->cuts = 0;
    if (!q)
        return;
    s->query = q;
    q->slot = s;
    q->state = QUERY_RUNNING;
    q->started = now;
    q->deadline = now + q->timeout;
    (void)p;
}

static void run_query(struct query_pool *p, struct slot *s, struct query *q, int64_t now)
{
    begin(p, s, q, now);
    if (q->kind == QUERY_PLUGIN) {
        s->in_op = true;
        send_job(p, s, WIRE_PLUGIN, q->id, q->request, NULL, 0);
        return;
    }
    q->fd = memfd_create("pst-result", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    json_t *o = json_copy(q->request);
    json_object_set_new(o, "max_rows", json_integer((json_int_t)q->max_rows));
    json_object_set_new(o, "max_bytes", json_integer((json_int_t)q->max_bytes));
    json_object_set_new(o, "timeout_ms", json_integer(q->timeout / NS_PER_MS + OWN_MS));
    if (q->fd < 0) {
        idle(s);
        query_end(q, NULL, "no memory for a result", -ENOMEM);
    } else {
        send_job(p, s, WIRE_QUERY, q->id, o, &q->fd, 1);
    }
    json_decref(o);
}

void slot_cancel(struct slot *s, struct query *q, int why)
{
    struct err err;
    if (s && s->fd >= 0 && s->state == SLOT_BUSY &&
        !wire_send(s->fd, WIRE_CANCEL, q->id, (uint64_t)why, NULL, 0, NULL, 0, &err))
        slot_kill(q->pool, s, "it takes no messages");
}

/* ---- what a process says ---- */

static void take_plugins(struct query_pool *p, const struct wire_message *m)
{
    json_error_t je;
    json_t *o = json_loadb((const char *)m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
    json_t *plugins = json_object_get(o, "plugins"), *failed = json_object_get(o, "failed");
    if (json_is_array(plugins) && json_is_array(failed)) {
        json_decref(p->plugins);
        json_decref(p->plugins_failed);
        p->plugins = json_incref(plugins);
        p->plugins_failed = json_incref(failed);
    }
    json_decref(o);
}

static void ready(struct query_pool *p, struct slot *s, const struct wire_message *m)
{
    take_plugins(p, m);
    if (s->bare) {
        json_array_append_new(p->plugins_failed,
                              json_pack("{s:s,s:s}", "file", "(all)", "error",
                                        "query processes died three times while they loaded the "
                                        "plugins: started without any"));
    }
    s->ready_at = clock_monotonic();
    idle(s);
}

static void cut(struct query_pool *p, struct slot *s, struct query *q)
{
    struct err err = {0};
    uint32_t process = (uint32_t)s->spawn;
    query_sources_release(p->daemon, process);
    struct cut *c = s->cuts++ < SLOT_CUTS_MAX ? query_sources_cut(p->daemon, process, &err) : NULL;
    bool sent =
        c ? wire_send(s->fd, WIRE_CUT, q->id, 0, c, c->bytes, NULL, 0, &err)
          : wire_send(s->fd, WIRE_CUT_REFUSED, q->id, 0, err.text, strlen(err.text), NULL, 0, &err);
    free(c);
    if (!sent)
        slot_kill(p, s, "%s", err.text);
}

static void send_loader(struct query_pool *p, struct slot *s, json_t *o)
{
    struct err err = {0};
    char *text = json_dumps(o, JSON_COMPACT);
    s->told = true;
    if (!text || !wire_send(s->fd, WIRE_LOADER, s->query->id, 0, text, strlen(text), NULL, 0, &err))
        slot_kill(p, s, "%s", text ? err.text : "no memory");
    free(text);
    json_decref(o);
}

/* Its query names a table of the loader: once a query. */
static void loader_wanted(struct query_pool *p, struct slot *s)
{
    struct err err = {0};
    if (s->asked || s->told) {
        slot_kill(p, s, "it asked for the loader's tables twice");
        return;
    }
    s->asked = loading_ask(p->daemon->loading, json_pack("{s:s}", "ask", "snapshot"), &err);
    if (!s->asked)
        send_loader(p, s, json_pack("{s:s}", "error", err.text));
}

static void loader_answered(struct query_pool *p, struct slot *s)
{
    struct err err = {0};
    json_t *o = NULL;
    if (!loading_answer(p->daemon->loading, s->asked, &o, &err))
        return;
    s->asked = 0;
    send_loader(p, s, o ? o : json_pack("{s:s}", "error", err.text));
}

static void loader_forget(struct query_pool *p, struct slot *s)
{
    if (s->asked)
        loading_forget(p->daemon->loading, s->asked);
    s->asked = 0;
    s->told = false;
}

/* Numbers of a process that may be hostile: they are shown, and nothing follows from them. */
static int64_t number_of(json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? v : 0;
}

/* The memfd is ours: that it is sealed and as long as was said is all that is looked at. */
static void result(struct query_pool *p, struct slot *s, struct query *q,
                   const struct wire_message *m)
{
    struct stat st;
    json_error_t je;
    int seals = fcntl(q->fd, F_GET_SEALS);
    json_t *facts = json_loadb((const char *)m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
    bool ok = json_is_object(facts) && seals >= 0 &&
              (seals & QUERY_RESULT_SEALS) == QUERY_RESULT_SEALS && !fstat(q->fd, &st) &&
              (uint64_t)st.st_size == m->head.value;
    if (!ok) {
        json_decref(facts);
        slot_kill(p, s, "it sent a result that is not what it says");
        return;
    }
    q->cost.rows = number_of(facts, "rows");
    q->cost.bytes = (int64_t)m->head.value;
    q->cost.memory = number_of(facts, "memory");
    json_object_set_new(facts, "id", json_integer((json_int_t)q->id));
    json_object_set_new(facts, "bytes", json_integer((json_int_t)m->head.value));
    json_object_set_new(facts, "queued_ns", json_integer(q->started - q->submitted));
    json_t *shown = shown_json(p->daemon->config);
    if (shown)
        json_object_set_new(facts, "shown", shown);
    s->served++;
    idle(s);
    query_sources_release(p->daemon, (uint32_t)s->spawn);
    if (q->cancel) {
        json_t *late =
            json_pack("{s:s,s:i}", "error", "the query was cancelled", "code", -ECANCELED);
        json_decref(facts);
        query_end_json(q, late);
    } else {
        query_end(q, facts, NULL, 0);
    }
}

static void plugin_done(struct query_pool *p, struct slot *s, const struct wire_message *m)
{
    struct query *q = s->query;
    take_plugins(p, m);
    json_t *first = json_array_get(p->plugins_failed, 0);
    const char *why = json_string_value(json_object_get(first, "error"));
    bool failed = json_array_size(p->plugins_failed);
    if (!q) { /* one that another process has done already */
        s->ops++;
        idle(s);
        return;
    }
    char text[500];
    snprintf(text, sizeof text, "%s", why ? why : "it failed without a reason");
    bool load = json_object_get(q->request, "load") != NULL;
    const char *name = json_string_value(json_object_get(q->request, load ? "load" : "unload"));
    json_decref(p->plugins_failed);
    p->plugins_failed = json_array(); /* of an operator's try: told to them, not kept */
    if (!failed) {
        struct plugin_op *op = &p->op[p->nops++];
        op->load = load;
        snprintf(op->name, sizeof op->name, "%s", name);
        s->ops++;
    }
    idle(s);
    if (failed)
        query_end(q, NULL, text, -EINVAL);
    else
        query_end(
            q, json_pack("{s:s,s:O}", "done", load ? "loaded" : "unloaded", "plugins", p->plugins),
            NULL, 0);
}

static void log_line(struct query_pool *p, struct slot *s, const struct wire_message *m)
{
    int64_t second = clock_monotonic() / NS_PER_S;
    if (second != p->log_second) {
        p->log_second = second;
        p->log_lines = 0;
    }
    if (p->log_lines++ >= LOG_LINES)
        return;
    char text[513];
    snprintf(text, sizeof text, "%.*s", (int)m->head.length, (const char *)m->body);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    fprintf(stderr, "penstockd: query process %d: %s\n", (int)s->pid, text);
}

static void take(struct query_pool *p, struct slot *s, const struct wire_message *m)
{
    struct query *q = s->query;
    bool mine = s->state == SLOT_BUSY && q && m->head.id == q->id;
    switch (m->head.type) {
    case WIRE_HELLO:
        if (s->state == SLOT_STARTED && !s->ready_at)
            attach(p, s);
        break;
    case WIRE_READY:
        if (s->state == SLOT_STARTED)
            ready(p, s, m);
        break;
    case WIRE_CUT_WANTED:
        if (mine && q->kind == QUERY_SQL)
            cut(p, s, q);
        break;
    case WIRE_LOADER_WANTED:
        if (mine && q->kind == QUERY_SQL)
            loader_wanted(p, s);
        break;
    case WIRE_RESULT:
        if (mine && q->kind == QUERY_SQL)
            result(p, s, q, m);
        break;
    case WIRE_FAILED:
        if (mine && q->kind == QUERY_SQL) {
            json_error_t je;
            json_t *o =
                json_loadb((const char *)m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
            s->served++;
            q->cost.memory = number_of(o, "memory");
            idle(s);
            query_sources_release(p->daemon, (uint32_t)s->spawn);
            query_end_json(q, json_is_object(o) ? o : json_object());
        }
        break;
    case WIRE_PLUGIN_DONE:
        if (s->state == SLOT_BUSY && s->in_op)
            plugin_done(p, s, m);
        break;
    case WIRE_LOG:
        log_line(p, s, m);
        break;
    }
}

/* More messages than any honest process has reason for: they would only cost control its time. */
static bool floods(struct slot *s)
{
    int64_t second = clock_monotonic() / NS_PER_S;
    if (second != s->second) {
        s->second = second;
        s->messages = 0;
        s->served_before = s->served;
    }
    /* what short queries bring is honest, however many there are in a second */
    return ++s->messages > MESSAGES_MAX + MESSAGES_A_QUERY * (s->served - s->served_before);
}

static void listen_to(struct query_pool *p, struct slot *s)
{
    for (int i = 0; i < MESSAGES_A_TURN && s->fd >= 0; i++) {
        struct wire_message m;
        struct err err = {0};
        bool closed;
        int k = wire_receive(s->fd, 'P', &m, &closed, &err);
        if (closed)
            slot_kill(p, s, "%s", ""); /* it is dying already, or soon is */
        else if (k < 0)
            slot_kill(p, s, "it sent %.150s", err.text);
        if (k <= 0)
            return;
        take(p, s, &m);
        wire_free(&m);
        if (floods(s))
            slot_kill(p, s, "it floods its socket");
    }
}

/* ---- the whole ---- */

static void give_work(struct query_pool *p, struct slot *s, int64_t now)
{
    if (s->ops < p->nops && !s->bare) { /* what the others have loaded or unloaded */
        const struct plugin_op *op = &p->op[s->ops];
        json_t *o = json_pack("{s:s}", op->load ? "load" : "unload", op->name);
        begin(p, s, NULL, now);
        s->in_op = true;
        send_job(p, s, WIRE_PLUGIN, 0, o, NULL, 0);
        json_decref(o);
        return;
    }
    struct query *q = query_pool_next(p);
    if (q)
        run_query(p, s, q, now);
}

void slots_poll(struct query_pool *p, int64_t now)
{
    struct epoll_event ev[32];
    int n = epoll_wait(p->epoll, ev, 32, 0);
    for (int i = 0; i < n; i++)
        if (ev[i].data.u32 != EVENT_HELPER && ev[i].data.u32 < p->nslots &&
            p->slot[ev[i].data.u32].fd >= 0)
            listen_to(p, &p->slot[ev[i].data.u32]);
    for (unsigned i = 0; i < p->nslots; i++) {
        struct slot *s = &p->slot[i];
        if (s->state == SLOT_OFF && now >= s->due && !p->gone)
            start(p, s, now);
        else if ((s->state == SLOT_ASKED || s->state == SLOT_STARTED) &&
                 now - s->since > POOL_START_MS * NS_PER_MS)
            slot_kill(p, s, "it did not become ready within %d s", POOL_START_MS / 1000);
        else if (s->state == SLOT_BUSY && s->in_op && !s->query &&
                 now - s->since > POOL_START_MS * NS_PER_MS)
            slot_kill(p, s, "loading a plugin took longer than %d s", POOL_START_MS / 1000);
        else if (s->state == SLOT_BUSY && s->asked)
            loader_answered(p, s);
        else if (s->state == SLOT_READY)
            give_work(p, s, now);
    }
}

void slots_open(struct query_pool *p, unsigned n)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = EVENT_HELPER};
    p->nslots = n < POOL_PROCESSES_MAX ? n : POOL_PROCESSES_MAX;
    for (unsigned i = 0; i < p->nslots; i++)
        p->slot[i] = (struct slot){.index = i, .fd = -1, .pidfd = -1};
    query_sources_overdue(p->daemon, overdue, p);
    p->gone = !helper_alive(p->daemon->helper) ||
              epoll_ctl(p->epoll, EPOLL_CTL_ADD, helper_fd(p->daemon->helper), &ev);
}

void slots_close(struct query_pool *p)
{
    for (unsigned i = 0; i < p->nslots; i++) {
        struct slot *s = &p->slot[i];
        if (s->pidfd >= 0) {
            syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
            close(s->pidfd);
        }
        disconnect(s);
        if (s->spawn)
            query_sources_release(p->daemon, (uint32_t)s->spawn);
        s->query = NULL;
    }
    p->nslots = 0;
    query_sources_overdue(p->daemon, NULL, NULL);
}
