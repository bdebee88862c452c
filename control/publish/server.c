/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "calendar.h"
#include "publish/catchup.h"
#include "publish/kdb_live.h"
#include "publish/listener.h"
#include "publish/publisher.h"
#include "publish/stream_hub.h"
#include "rtp/rtp.h"
#include "rtp/rtp_manager.h"
#include "socket.h"
#include "topo.h"
#include "wiring_parts.h"

#define ACT_DEFAULT        (256ull << 20) /* consumer_disconnect_size 0 */
#define DESCRIPTORS_OTHERS 200u
#define IDLE_US            500
#define SLICE_US           100
#define PUBLISHER_FIRST    32 /* `source` of the first publish thread's frames; lcores stay below */

/* ---- rings ---- */

bool server_prepare(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    struct inject_options o = {.max_new_symbols = (uint32_t)d->config->max_new_symbols,
                               .symbols = INTAKE_SYMBOLS};
    for (unsigned i = 0; i < (unsigned)d->config->ipc.threads; i++)
        if (!inject_create(&w->publisher[i], INTAKE_RING_BYTES, err) ||
            !appender_add_inject(&w->appender, &w->publisher[i], (uint16_t)(PUBLISHER_FIRST + i),
                                 &o, err))
            return false;
    return true;
}

/* ---- live keys ---- */

static void limits(struct server *s)
{
    const struct config *c = s->config;
    store_relaxed(&s->alert, (uint64_t)c->consumer_alert_size);
    store_relaxed(&s->act, c->consumer_disconnect_size ? (uint64_t)c->consumer_disconnect_size
                                                       : ACT_DEFAULT);
    store_relaxed(&s->default_policy, c->consumer_policy);
    store_relaxed(&s->login_timeout, c->ipc.login_timeout);
    auth_limits(s->auth, c->ipc.auth_rate, c->ipc.login_timeout);
}

/* ---- open ---- */

/* A connection may need a descriptor for itself and one for the log that it reads; whatever comes,
 * those that the log and control want are left. */
static uint32_t affordable_connections(uint32_t wanted)
{
    struct rlimit r;
    uint64_t need = 2ull * wanted + DESCRIPTORS_OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return wanted;
    if (r.rlim_cur < need && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max < need ? r.rlim_max : need;
        if (setrlimit(RLIMIT_NOFILE, &r) && getrlimit(RLIMIT_NOFILE, &r))
            return wanted;
    }
    if (r.rlim_cur >= need)
        return wanted;
    uint64_t most = r.rlim_cur > DESCRIPTORS_OTHERS ? (r.rlim_cur - DESCRIPTORS_OTHERS) / 2 : 1;
    fprintf(stderr,
            "penstockd: ipc.connections: %u want %llu descriptors, this process may have %llu: at "
            "most %llu connections are taken; raise the limit (ulimit -n, LimitNOFILE=)\n",
            wanted, (unsigned long long)need, (unsigned long long)r.rlim_cur,
            (unsigned long long)most);
    return (uint32_t)most;
}

/* From the thread rtp. */
static void wake(void *arg, unsigned thread)
{
    struct server *s = arg;
    inbox_wake(&s->publisher[thread].inbox);
}

bool server_open(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    struct server *s = d->server = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -ENOMEM, "publish: no memory");
    s->daemon = d;
    s->config = c;
    s->threads = (unsigned)c->ipc.threads;
    s->connections_most = affordable_connections((uint32_t)c->ipc.connections);
    for (unsigned i = 0; i < DOORS; i++)
        s->port[i].fd = -1;
    s->port[DOOR_TICKERPLANT].number = c->ipc.file_line ? (int)c->ipc.tickerplant : 0;
    s->port[DOOR_RDB].number = c->ipc.file_line ? (int)c->ipc.rdb : 0;
    s->port[DOOR_HDB].number = c->ipc.file_line ? (int)c->ipc.hdb : 0;
    s->port[DOOR_UNIX].number = 1;
    pthread_mutex_init(&s->last_lock, NULL);
    store_relaxed(&s->day, d->day);
    s->access = d->access;
    s->seed = (uint32_t)(clock_ticks() ^ (uint64_t)getpid() << 16);
    s->users = users_open(c->ipc.users, err);
    if (!s->users || !inbox_open(&s->control, err))
        return false;
    if (c->ipc.tls != CONFIG_TLS_OFF && c->ipc.certificate && c->ipc.key &&
        !(s->tls = tls_open(c->ipc.certificate, c->ipc.key, err)))
        return false;
    struct auth_config ac = {.users = s->users,
                             .tls = s->tls,
                             .access = d->access,
                             .status = d->status,
                             .clock = &d->clock,
                             .rate = c->ipc.auth_rate,
                             .login_timeout = c->ipc.login_timeout,
                             .validator = c->ipc.validator,
                             .uid = d->uid};
    s->auth = auth_open(&ac, err);
    if (!s->auth)
        return false;
    auth_access(s->auth, &c->access);
    limits(s);
    s->hub = hub_open(s->threads, wake, s, err);
    s->manager = s->hub ? rtp_manager_open(s->hub, err) : NULL;
    if (!s->manager)
        return false;
    s->answers = answer_open(d, s->threads, err);
    if (!s->answers || !catchup_open(s, err))
        return false;
    for (unsigned i = 0; i < s->threads; i++)
        if (!publisher_open(s, i, err))
            return false;
    return true;
}

/* ---- listeners ---- */

static gid_t socket_group(const struct config *c)
{
    const struct group *g = c->socket_group ? getgrnam(c->socket_group) : NULL;
    return g ? g->gr_gid : (gid_t)-1;
}

static void listen_again(struct server *s, bool first)
{
    const struct config *c = s->config;
    int64_t now = clock_monotonic();
    for (unsigned i = 0; i < DOORS; i++) {
        struct err err;
        if (!s->port[i].number || s->port[i].fd >= 0 || now < s->port[i].retry_at || s->quiet)
            continue;
        if (i == DOOR_UNIX)
            s->port[i].fd = listener_unix(s->unix_path, socket_group(c), &err);
        else
            s->port[i].fd = listener_tcp(c->ipc.address, (unsigned)s->port[i].number, &err);
        if (s->port[i].fd >= 0) {
            struct inbox_item x = {.kind = INBOX_LISTENER, .fd = s->port[i].fd, .port = i};
            *s->port[i].problem = 0;
            if (inbox_push(&s->publisher[0].inbox, &x))
                continue;
            close(s->port[i].fd);
            s->port[i].fd = -1;
            err_set(&err, -ENOMEM, "no memory");
        }
        s->port[i].retry_at = now + c->retry_interval;
        if (first || strcmp(s->port[i].problem, err.text) != 0)
            fprintf(stderr, "penstockd: %s: %s; it is tried again each %lld ms\n",
                    door_name((enum door)i), err.text, (long long)(c->retry_interval / NS_PER_MS));
        snprintf(s->port[i].problem, sizeof s->port[i].problem, "%.190s", err.text);
    }
}

/* The Query Manager gets the processes, and they get it. */
static bool link_streams(struct server *s, struct err *err)
{
    const struct rtp_link *link = rtp_link(s->daemon);
    if (!link) {
        hub_end(s->hub);
        return true;
    }
    if (!rtp_manager_link(s->manager, link, err))
        return false;
    rtp_attach(s->daemon, rtp_manager_events(s->manager));
    return true;
}

bool server_start(struct daemon *d, struct err *err)
{
    struct server *s = d->server;
    const struct topo_thread *t = topo_thread("publish");
    snprintf(s->unix_path, sizeof s->unix_path, "%s/%s.ipc", d->config->run_directory,
             d->config->instance);
    if (!auth_start(s->auth, err) || !catchup_start(s, err))
        return false;
    if (!link_streams(s, err))
        return false;
    for (unsigned i = 0; i < s->threads; i++) {
        struct publisher *p = &s->publisher[i];
        enum wait_kind wait = d->config->wait == CONFIG_SPIN    ? WAIT_SPIN
                              : d->config->wait == CONFIG_SLEEP ? WAIT_SLEEP
                                                                : WAIT_ADAPTIVE;
        thread_define(&p->thread, d->status, p->name, &publisher_ops, p, &d->clock, wait, t->nice,
                      -1);
        p->thread.idle_us = IDLE_US;
        p->thread.bell = p->bell;
        p->thread.slice_us = SLICE_US;
        if (!thread_start(&p->thread, err))
            return false;
    }
    s->started = true;
    listen_again(s, true);
    return (socket_watch(d->socket, s->control.fd) &&
            socket_watch(d->socket, answer_control_fd(s->answers))) ||
           err_set(err, -errno, "control socket: %s", strerror(errno));
}

/* ---- control's part ---- */

struct ending {
    struct ending *next;
    uint64_t connection, ticket;
    unsigned thread;
};

static void ended(struct server *s, uint64_t connection, unsigned thread, const char *why)
{
    struct inbox_item x = {.kind = INBOX_ENDED, .fd = -1, .id = connection};
    snprintf(x.text, sizeof x.text, "%.250s", why);
    inbox_push(&s->publisher[thread].inbox, &x);
}

static void end_day(struct server *s, const struct inbox_item *x)
{
    struct err err;
    uint64_t ticket;
    int day = atoi(x->text);
    struct ending *e = malloc(sizeof *e);
    if (!e || !wiring_end_day(s->daemon, 0, day == (int)PST_NULL_INT ? -1 : day, "publisher",
                              &ticket, &err)) {
        ended(s, x->id, x->port, e && err.code != -EALREADY ? err.text : e ? "" : "wsfull");
        free(e);
        return;
    }
    *e = (struct ending){s->endings, x->id, ticket, x->port};
    s->endings = e;
}

void server_poll(struct server *s)
{
    if (!s || !s->started)
        return;
    for (struct inbox_item *x = inbox_take(&s->control), *next; x; x = next) {
        next = x->next;
        if (x->kind == INBOX_END_DAY)
            end_day(s, x);
        free(x);
    }
    answer_poll(s->answers);
    for (struct ending **p = &s->endings; *p;) {
        struct ending *e = *p;
        uint64_t position;
        enum wiring_ended w = wiring_day_ended(s->daemon, e->ticket, &position);
        if (w == WIRING_ENDING) {
            p = &e->next;
            continue;
        }
        ended(s, e->connection, e->thread, "");
        *p = e->next;
        free(e);
    }
}

bool server_waits(const struct server *s)
{
    return s && s->started && (s->endings || answer_waits(s->answers));
}

void server_tick(struct server *s)
{
    if (!s || !s->started)
        return;
    store_relaxed(&s->day, s->daemon->day);
    limits(s);
    listen_again(s, false);
}

bool server_reloaded(struct server *s, struct err *err)
{
    if (!s)
        return true;
    auth_access(s->auth, &s->config->access);
    limits(s);
    return users_reload(s->users, err) && (!s->tls || tls_reload(s->tls, err));
}

/* ---- stop ---- */

static void tell_all(struct server *s, enum inbox_kind kind, uint64_t id)
{
    for (unsigned i = 0; i < s->threads; i++) {
        struct inbox_item x = {.kind = kind, .fd = -1, .id = id};
        inbox_push(&s->publisher[i].inbox, &x);
    }
}

void server_quiet(struct server *s)
{
    if (!s || !s->started)
        return;
    s->quiet = true;
    tell_all(s, INBOX_QUIET, 0);
}

void server_stop(struct server *s, int64_t bound_ns)
{
    if (!s || !s->started)
        return;
    int64_t by = clock_monotonic() + bound_ns;
    tell_all(s, INBOX_FINISH, (uint64_t)by);
    for (unsigned i = 0; i < s->threads; i++)
        while (!load_acquire(&s->publisher[i].finished) && /* F2 */
               clock_monotonic() < by + NS_PER_S)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    for (unsigned i = 0; i < s->threads; i++) {
        store_release(&s->publisher[i].thread.stop, true);
        inbox_wake(&s->publisher[i].inbox);
        thread_stop(&s->publisher[i].thread);
    }
    catchup_stop(s);
    auth_stop(s->auth);
    s->started = false;
}

void server_close(struct daemon *d)
{
    struct server *s = d->server;
    if (!s)
        return;
    server_stop(s, 0);
    for (unsigned i = 0; i < s->threads; i++)
        publisher_close(&s->publisher[i]);
    for (unsigned i = 0; i < DOORS; i++)
        if (s->port[i].fd >= 0)
            close(s->port[i].fd);
    if (s->port[DOOR_UNIX].fd >= 0)
        unlink(s->unix_path);
    catchup_close(s);
    rtp_manager_close(s->manager);
    hub_close(s->hub);
    if (s->answers)
        answer_close(s->answers);
    auth_close(s->auth);
    tls_close(s->tls);
    users_close(s->users);
    inbox_close(&s->control);
    for (struct ending *e = s->endings, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    pthread_mutex_destroy(&s->last_lock);
    free(s);
    d->server = NULL;
}

/* ---- verbs, status, alarms ---- */

void server_note(struct server *s, const struct connection *c, const char *why)
{
    char from[ADDRESS_TEXT];
    if ((!c->nsubs && !c->nstreams) || !*why || c->by_peer || !strncmp(why, "closed", 6) ||
        !strcmp(why, "penstockd stops"))
        return;
    atomic_fetch_add_explicit(&s->disconnected, 1, memory_order_relaxed);
    pthread_mutex_lock(&s->last_lock);
    snprintf(s->last, sizeof s->last, "connection %llu%s%s, %s: %.120s", (unsigned long long)c->id,
             c->user && *c->user->name ? ", " : "", c->user ? c->user->name : "",
             address_text(&c->from, from), why);
    pthread_mutex_unlock(&s->last_lock);
}

static void figure(struct server_figures *f, const struct connection *c)
{
    uint32_t state = load_relaxed(&c->f_state);
    uint64_t lag = load_relaxed(&c->f_lag_bytes);
    f->connections++;
    if (state <= CLIENT_IDLE)
        return;
    f->consumers++;
    f->slow += load_relaxed(&c->f_slow);
    f->behind += state == CLIENT_CATCHUP || state == CLIENT_CONFLATING;
    if (lag < f->slowest_bytes || !lag)
        return;
    f->slowest_bytes = lag;
    f->slowest_id = c->id;
    f->slowest_ns = load_relaxed(&c->f_blocked);
}

void server_figures(struct server *s, struct server_figures *out)
{
    *out = (struct server_figures){.ports_ok = true};
    if (!s)
        return;
    for (unsigned i = 0; i < s->threads; i++) {
        pthread_mutex_lock(&s->publisher[i].registry);
        for (struct connection *c = s->publisher[i].first; c; c = c->next)
            figure(out, c);
        pthread_mutex_unlock(&s->publisher[i].registry);
    }
    out->memory = server_memory(s);
    out->refused = load_relaxed(&s->refused);
    out->hostile = load_relaxed(&s->hostile);
    out->disconnected = load_relaxed(&s->disconnected);
    for (unsigned i = 0; i < 4; i++)
        out->policy[i] = load_relaxed(&s->policy[i]);
    pthread_mutex_lock(&s->last_lock);
    memcpy(out->last, s->last, sizeof out->last);
    pthread_mutex_unlock(&s->last_lock);
    for (unsigned i = 0; i < DOORS; i++)
        if (s->port[i].number && s->port[i].fd < 0 && out->ports_ok) {
            out->ports_ok = false;
            snprintf(out->port_problem, sizeof out->port_problem, "%s: %s", door_name((enum door)i),
                     s->port[i].problem);
        }
}

json_t *server_brief(struct server *s)
{
    struct server_figures f;
    struct kdb_live_figures k = {0};
    struct rtp_manager_figures r = {0};
    server_figures(s, &f);
    if (s) {
        kdb_live_figures(s->kdb_live, &k);
        rtp_manager_figures(s->manager, &r);
    }
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:s}", "streams",
                     (json_int_t)r.streams, "stream_clients", (json_int_t)r.clients,
                     "stream_updates", (json_int_t)r.updates, "connections",
                     (json_int_t)f.connections, "consumers", (json_int_t)f.consumers, "slow",
                     (json_int_t)f.slow, "behind", (json_int_t)f.behind, "slowest_bytes",
                     (json_int_t)f.slowest_bytes, "slowest_id", (json_int_t)f.slowest_id,
                     "slowest_ns", (json_int_t)f.slowest_ns, "memory", (json_int_t)f.memory,
                     "disconnected", (json_int_t)f.disconnected, "kdb_log",
                     !k.on       ? "off"
                     : k.stopped ? "stopped"
                     : !k.ready  ? "being read"
                                 : "live",
                     "kdb_log_messages", (json_int_t)k.messages, "socket", s ? s->unix_path : "");
}

void server_alarms(struct server *s, struct alarms *a, int64_t now, int64_t hold)
{
    struct server_figures f;
    struct kdb_live_figures k = {0};
    char text[500] = "";
    if (!s || !s->started)
        return;
    server_figures(s, &f);
    alarm_check(a, now, ALARM_CONSUMER_SLOW, "", f.slow != 0, hold,
                "%u of %u consumers; %llu bytes wait for connection %llu", f.slow, f.consumers,
                (unsigned long long)f.slowest_bytes, (unsigned long long)f.slowest_id);
    alarm_check(a, now, ALARM_CONSUMER_DISCONNECTED, "", f.disconnected != s->alarmed_disconnected,
                60 * NS_PER_S, "%s", f.last);
    s->alarmed_disconnected = f.disconnected;
    alarm_check(a, now, ALARM_IPC_PORT, "", !f.ports_ok, 0, "%s", f.port_problem);
    alarm_check(a, now, ALARM_IPC_MEMORY, "", f.memory > (uint64_t)s->config->ipc.memory, hold,
                "%llu of %lld bytes", (unsigned long long)f.memory,
                (long long)s->config->ipc.memory);
    users_problem(s->users, text);
    alarm_check(a, now, ALARM_IPC_USERS, "", *text != 0, 0, "%.300s", text);
    if (s->tls)
        tls_problem(s->tls, text);
    else
        *text = 0;
    alarm_check(a, now, ALARM_IPC_CERTIFICATE, "", *text != 0, 0, "%.300s", text);
    auth_problem(s->auth, text);
    alarm_check(a, now, ALARM_IPC_VALIDATOR, "", *text != 0, 0, "%.300s", text);
    kdb_live_figures(s->kdb_live, &k);
    alarm_check(a, now, ALARM_KDB_LOG_STOPPED, "", k.stopped, 0, "%.300s", k.why);
}

static json_t *client(const struct connection *c)
{
    static const char *const states[] = {"login",   "idle",       "live",
                                         "catchup", "conflating", "skipping"};
    char from[ADDRESS_TEXT];
    uint32_t state = load_relaxed(&c->f_state);
    return json_pack("{s:I,s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "id",
                     (json_int_t)c->id, "user", c->t_user, "address", address_text(&c->from, from),
                     "port", door_name(c->port), "since", (json_int_t)c->since, "state",
                     state < PST_COUNT(states) ? states[state] : "?", "tables", c->t_tables,
                     "streams", c->t_streams, "stream", c->t_stream, "lag_bytes",
                     (json_int_t)load_relaxed(&c->f_lag_bytes), "lag_messages",
                     (json_int_t)load_relaxed(&c->f_lag_messages), "sent_messages",
                     (json_int_t)load_relaxed(&c->f_sent_messages), "sent_bytes",
                     (json_int_t)load_relaxed(&c->f_sent_bytes), "sent_rows",
                     (json_int_t)load_relaxed(&c->f_sent_rows), "peak_bytes",
                     (json_int_t)load_relaxed(&c->f_peak), "slow", load_relaxed(&c->f_slow));
}

json_t *server_clients(struct server *s)
{
    json_t *list = json_array();
    for (unsigned i = 0; s && i < s->threads; i++) {
        pthread_mutex_lock(&s->publisher[i].registry);
        for (struct connection *c = s->publisher[i].first; c; c = c->next) {
            json_t *row = client(c);
            static const char *const policy[] = {"disconnect", "catchup", "conflate", "skip"};
            uint32_t p = load_relaxed(&c->f_policy);
            json_object_set_new(row, "policy", json_string(policy[p & 3]));
            json_array_append_new(list, row);
        }
        pthread_mutex_unlock(&s->publisher[i].registry);
    }
    return list;
}

static bool has(struct publisher *p, uint64_t id)
{
    bool found = false;
    pthread_mutex_lock(&p->registry);
    for (struct connection *c = p->first; c && !found; c = c->next)
        found = c->id == id;
    pthread_mutex_unlock(&p->registry);
    return found;
}

bool server_kick(struct server *s, uint64_t id, const char *by)
{
    if (!s || !id)
        return false;
    struct publisher *p = &s->publisher[(id - 1) % s->threads];
    struct inbox_item x = {.kind = INBOX_KICK, .fd = -1, .id = id};
    snprintf(x.text, sizeof x.text, "%s", by);
    return has(p, id) && inbox_push(&p->inbox, &x);
}
