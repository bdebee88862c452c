/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>
#include "alarm_rules.h"
#include "buffer.h"
#include "calendar.h"
#include "check.h"
#include "dataplane/inject_rows.h"
#include "daemon.h"
#include "day.h"
#include "access.h"
#include "error_log.h"
#include "disks.h"
#include "figures.h"
#include "helper.h"
#include "hooks.h"
#include "house.h"
#include "ledger.h"
#include "level.h"
#include "loading.h"
#include "publish/server.h"
#include "query_pool.h"
#include "rtp/rtp.h"
#include "socket.h"
#include "start.h"
#include "topo.h"
#include "upstream.h"
#include "wiring_parts.h"

#define TICK_NS        (100 * NS_PER_MS)
#define SERVER_STOP_NS (2 * NS_PER_S)

volatile sig_atomic_t daemon_signal;

static void on_signal(int sig)
{
    daemon_signal = sig;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    a.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &a, NULL);
    sigaction(SIGXFSZ, &a, NULL); /* a file-size limit is an errno of a write */
    sigaction(SIGHUP, &a, NULL);
}

static bool make_directory(const char *path, const char *key, struct err *err)
{
    char p[1024];
    snprintf(p, sizeof p, "%s", path);
    for (char *c = p + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(p, 0755); /* parents may exist; the last step reports */
            *c = '/';
        }
    struct stat st;
    if (mkdir(p, 0750) && errno != EEXIST)
        return err_set(err, -errno, "%s %s: cannot make it: %s", key, path, strerror(errno));
    if (stat(p, &st) || !S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "%s %s is no directory", key, path);
    if (access(p, W_OK | X_OK))
        return err_set(err, -errno, "%s %s: cannot write there as uid %u: %s", key, path,
                       (unsigned)geteuid(), strerror(errno));
    return true;
}

static bool directories(const struct config *c, bool replay, struct err *err)
{
    return make_directory(c->state_directory, "state_directory", err) &&
           make_directory(c->log_directory, "log_directory", err) &&
           (!c->spill_directory || make_directory(c->spill_directory, "spill_directory", err)) &&
           (replay || make_directory(c->run_directory, "run_directory", err));
}

/* ---- alarms become rows of table `alarm` ---- */

static void journal_alarm(void *arg, const struct alarm_state *a, bool raised)
{
    struct daemon *d = arg;
    const struct schema *s = schema_set_find(d->schemas, "alarm");
    const struct alarm_info *info = &alarm_table[a->code];
    struct inject_rows *w = wiring_control_rows(d);
    if (!s || d->stopping || inject_rows_room(w) < 4096)
        return;
    uint32_t sym = rows_symbol(&w->rows, a->subject, (uint32_t)strlen(a->subject));
    uint32_t code = rows_symbol(&w->rows, info->code, (uint32_t)strlen(info->code));
    const char *sev = info->severity == SEVERITY_FAIL ? "fail" : "warn";
    uint32_t severity = rows_symbol(&w->rows, sev, 4);
    const char *st = raised ? "raised" : "cleared";
    uint32_t state = rows_symbol(&w->rows, st, (uint32_t)strlen(st));
    uint32_t len = (uint32_t)strlen(a->text);
    uint32_t bytes = (uint32_t)pst_align8(s->fixed + len);
    uint8_t *p = inject_rows_plain(w, bytes, 0);
    memset(p, 0, bytes);
    struct record r = {s->id, (uint16_t)bytes, sym, clock_now(&d->clock)};
    memcpy(p, &r, sizeof r);
    put32(p + s->col[2].offset, code);
    put32(p + s->col[3].offset, severity);
    put32(p + s->col[4].offset, state);
    put32(p + s->col[5].offset, s->fixed);
    put32(p + s->col[5].offset + 4, len);
    memcpy(p + s->fixed, a->text, len);
    inject_rows_plain_commit(w, bytes);
    inject_rows_flush(w);
}

static void on_alarm(void *arg, const struct alarm_state *a, bool raised)
{
    journal_alarm(arg, a, raised);
    hooks_alarm(arg, a, raised);
}

/* ---- who may do what ---- */

enum level daemon_level(struct daemon *d, uid_t uid, gid_t gid, pid_t pid)
{
    (void)pid;
    return level_of(&d->config->access, d->uid, uid, gid);
}

bool daemon_operator_mark(struct daemon *d, const struct peer *peer, const char *command,
                          json_t *args)
{
    json_t *o =
        json_pack("{s:I,s:s,s:O}", "uid", (json_int_t)peer->uid, "command", command, "args", args);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    struct inject_rows *w = wiring_control_rows(d);
    bool ok = text && inject_rows_mark(w, MARK_OPERATOR, text, (uint32_t)strlen(text));
    if (ok)
        inject_rows_flush(w);
    fprintf(stderr, "penstockd: uid %u pid %d: %s %s\n", (unsigned)peer->uid, (int)peer->pid,
            command, text ? text : "");
    free(text);
    return ok;
}

/* reason NULL: it has an answer. */
static void log_outcome(struct daemon *d, struct cmd_request *req, const char *reason)
{
    struct query_cost cost;
    struct address from;
    char user[32];
    if (!req->logged)
        return;
    req->logged = false;
    query_cost(req->query, &cost);
    address_local(&from, req->peer->uid, req->peer->pid);
    snprintf(user, sizeof user, "uid %u", (unsigned)req->peer->uid);
    access_log(d->access,
               &ACCESS_ENTRY(.event = reason ? ACCESS_ERROR : ACCESS_ANSWER, .user = user,
                             .from = &from, .id = (int64_t)query_id(req->query), .reason = reason,
                             .outcome = true, .duration_ns = cost.run_ns, .rows = cost.rows,
                             .bytes = cost.bytes, .memory = cost.memory));
}

/* The outcome of a query goes to its client, with the result's descriptor. */
static bool query_ended(struct daemon *d, struct cmd_request *req, struct err *err)
{
    int fd;
    if (!query_outcome(req->query, &req->later, &fd, err))
        return false;
    log_outcome(d, req, req->later ? NULL : err->text);
    query_done(req->query);
    req->query = NULL;
    if (fd >= 0) {
        req->fds[0] = fd;
        req->nfds = 1;
        req->close_fds = true;
    }
    return true;
}

void daemon_abandoned(struct daemon *d, struct cmd_request *req)
{
    if (req->query) {
        log_outcome(d, req, "the client went away");
        query_done(req->query);
    }
    req->query = NULL;
    loading_forget(d->loading, req->asked);
    rtp_forget(d, req->asked_rtp);
}

bool daemon_acknowledged(struct daemon *d, struct cmd_request *req, struct err *err)
{
    uint64_t position;
    if (req->query)
        return query_ended(d, req, err);
    if (req->asked) {
        json_decref(req->later);
        req->later = NULL;
        return loading_answer(d->loading, req->asked, &req->later, err);
    }
    if (req->asked_rtp) {
        json_decref(req->later);
        req->later = NULL;
        return rtp_answer(d, req->asked_rtp, &req->later, err);
    }
    const struct ring_head *h = d->ring.head;
    if (!inject_taken(&d->inject, req->ticket, &position))
        return false;
    if (req->opening) {
        req->later = append_opened(d, req->peer->level, req->source);
        return true;
    }
    enum inject_refusal why = inject_refused(&d->inject, req->before, req->ticket);
    if (why == INJECT_EVENT_OVER) {
        err_set(err, -ENOENT,
                "the event reached its limit and ended just before; buffer list shows");
        return true;
    }
    if (why == INJECT_NOT_NEXT) {
        err_set(err, -ESTALE, "append: the source went on meanwhile: open it anew");
        return true;
    }
    if (why) {
        struct inject_rows *w = wiring_control_rows(d);
        inject_rows_flush(w);
        inject_rows_restart(w); /* the texts of the refused batch were not kept */
        err_set(err, -ENOSPC, "%s; rows of this batch were not taken, perhaps not all of them",
                why == INJECT_SYMBOLS_LIMIT ? "the symbol table (symbols_max) or max_new_symbols "
                                              "is full"
                                            : "the appender found the batch malformed");
        if (req->sent)
            cmd_publish_refused(req, req->sent, err);
        return true;
    }
    uint64_t at = req->ack == ACK_DURABLE   ? load_acquire(&h->durable)
                  : req->ack == ACK_WRITTEN ? load_acquire(&h->written)
                                            : load_acquire(&h->submitted);
    if (at < position)
        return false;
    if (req->ready && !req->ready(d, req))
        return false;
    if (req->from && ring_lost(&d->ring, req->from, position)) {
        err_set(err, -ENOSPC,
                "the log gave up rows from positions %llu to %llu (log_full: "
                "drop_oldest), perhaps some of this request; memory has them",
                (unsigned long long)req->from, (unsigned long long)position);
        return true;
    }
    json_object_set_new(req->later, "position", json_integer((json_int_t)position));
    return true;
}

/* ---- life ---- */

bool daemon_open(struct daemon *d, const char *config_path, struct config *config, struct err *err)
{
    d->config = config;
    d->config_path = config_path;
    d->uid = geteuid();
    umask(0027);
    catch_signals();
    if (!d->replay) {
        house_enter(config);
        /* Before the EAL, hugepages and threads: the only process that this one ever starts. */
        struct err why;
        d->helper = helper_open(NULL, &why);
        if (!d->helper)
            fprintf(stderr, "penstockd: %s; there will be no queries and no commands\n", why.text);
        check_banner(stderr);
    }
    d->wiring = wiring_new();
    if (!d->wiring)
        return err_set(err, -ENOMEM, "no memory");
    if (!directories(config, d->replay, err))
        return false;
    if (!d->replay)
        clock_init_real(&d->clock);
    d->status = status_create(config->instance, err);
    d->schemas = schema_set_new();
    if (!d->status || !d->schemas ||
        !symbols_create(&d->symbols, (uint32_t)config->symbols_max, err))
        return false;
    alarms_init(&d->alarms, d->status, on_alarm, d);
    if (!wiring_enter(d, err) || !start_parts(d, err))
        return false;
    day_preload(d);
    if (!wiring_tables(d, err) || !wiring_journal(d, err) || !wiring_feeds(d, err) ||
        !wiring_ports(d, err) || !wiring_resume(d, err))
        return false;
    bool days = !d->replay || config->database;
    if (days && !(d->days = day_open(d, err)))
        return false;
    /* Our own maps exist: from here on nobody can make a writable one. */
    bool sealed = ring_seal(&d->ring);
    sealed &= symbols_seal(&d->symbols) && status_seal(d->status);
    d->ring.sealed = sealed;
    if (days)
        day_seal(d->days);
    d->ledger = ledger_open(d, wiring_first_day(d), err);
    if (!d->ledger || !wiring_start(d, err) || !ledger_start(d->ledger, err) ||
        (days && !day_start(d->days, err)))
        return false;
    d->disks = disks_open(d, err);
    if (!d->disks || !disks_start(d->disks, err))
        return false;
    if (d->replay)
        return true;
    d->access =
        access_open(config->state_directory, config->instance, config->access_log_size, err);
    if (!d->access)
        return false;
    access_tick(d->access, d->day, config->access_log_size);
    d->errors = error_log_open(d, err);
    if (!d->errors || !error_log_start(d->errors, err))
        return false;
    struct socket_config sc = {
        .path = config->control_socket, .group = (gid_t)-1, .daemon = d, .level = daemon_level};
    const struct group *g = config->socket_group ? getgrnam(config->socket_group) : NULL;
    if (config->socket_group && !g)
        return err_set(err, -EINVAL, "socket_group %s does not exist: groupadd %s",
                       config->socket_group, config->socket_group);
    if (g)
        sc.group = g->gr_gid;
    d->queries = query_pool_new(d, err);
    d->socket =
        d->queries && server_open(d, err) && rtp_open(d, err) ? socket_open(&sc, err) : NULL;
    if (d->socket && (!server_start(d, err) || !upstream_start(d, err) || !loading_start(d, err) ||
                      !rtp_start(d, err)))
        return false;
    if (d->socket && (!socket_watch(d->socket, query_pool_fd(d->queries)) ||
                      !socket_watch(d->socket, rtp_fd(d))))
        return err_set(err, -errno, "control socket: %s", strerror(errno));
    if (d->socket)
        fprintf(stderr,
                "penstockd: %s is up: %u feeds, %u ports, journal at %llu; penstock --socket %s "
                "status\n",
                config->instance, d->nfeeds, d->status->n_ports,
                (unsigned long long)ring_tail(&d->ring), config->control_socket);
    return d->socket != NULL;
}

void daemon_run(struct daemon *d)
{
    static struct alarm_rules rules;
    int64_t tick = 0, check = 0;
    bool hurry = false;
    house_control(d->config); /* all other threads run, with CPUs of their own */
    while (!daemon_signal) {
        if (d->socket) {
            socket_poll(d->socket, socket_finish(d->socket) ? 0
                                   : socket_waiting(d->socket) || server_waits(d->server) || hurry
                                       ? 1
                                       : 20);
            query_pool_poll(d->queries); /* first: what has ended is answered in the same turn */
            loading_tick(d);
            rtp_poll(d);
            server_poll(d->server);
        } else {
            nanosleep(&(struct timespec){0, 2000000}, NULL);
            if (wiring_rx_ended(d))
                break;
        }
        int64_t now = clock_monotonic();
        hurry = d->days && day_hurry(d->days, now);
        if (hurry && now - tick < TICK_NS)
            day_tick(d->days);
        if (now - tick >= TICK_NS) {
            tick = now;
            clock_calibrate(&d->clock);
            wiring_tick(d);
            error_log_tick(d->errors);
            access_tick(d->access, d->day, d->config->access_log_size);
            server_tick(d->server);
            if (d->days)
                day_tick(d->days);
            buffers_tick(d);
            rates_sample(&d->rates, d->status);
            int32_t day = load_relaxed(&d->wiring->appender.days.open[0]);
            if (day != d->day && d->ledger && !d->replay)
                ledger_certificate(d->ledger, d->day);
            d->day = day;
        }
        if (now - check >= d->config->check_interval) {
            check = now;
            alarm_rules_run(&rules, d);
        }
    }
    if (daemon_signal && !d->replay)
        fprintf(stderr, "penstockd: signal %d: draining\n", (int)daemon_signal);
}

int daemon_close(struct daemon *d)
{
    d->stopping = true;
    if (d->socket) {
        socket_poll(d->socket, 0); /* the answer to `stop` */
        socket_close(d->socket);
        d->socket = NULL;
    }
    server_quiet(d->server); /* nobody is let in, nothing more is taken */
    bool drained = false;
    loading_stop(d);
    rtp_stop(d);
    upstream_stop(d); /* before the end mark */
    if (d->wiring) {
        wiring_stop_rx(d);
        wiring_port_tick(d);
        drained = wiring_drain(d, 30 * NS_PER_S);
        bool answers = disks_close(d->disks);
        d->disks = NULL;
        if (drained && answers)
            wiring_closed(d);
        server_stop(d->server, SERVER_STOP_NS); /* consumers get what is queued */
    }
    server_close(d);
    query_pool_free(d->queries);
    d->queries = NULL;
    if (!drained)
        fprintf(stderr,
                "penstockd: the log could not be drained; recovery will say what is missing\n");
    if (d->replay && d->days && !day_finish(d->days))
        drained = false; /* the summary says why */
    day_stop(d->days, d->replay ? 60 * NS_PER_S : NS_PER_S);
    if (d->ledger) {
        ledger_settle(d->ledger, 5 * NS_PER_S);
        if (!d->replay) {
            ledger_stop(d->ledger);
            ledger_close(d->ledger);
            d->ledger = NULL;
        }
    }
    if (d->replay)
        return drained ? 0 : 1; /* replay_run prints its summary, then calls daemon_free */
    daemon_free(d);
    return drained ? 0 : 1;
}

void daemon_free(struct daemon *d)
{
    loading_stop(d);
    rtp_stop(d);
    server_close(d);
    query_pool_free(d->queries); /* before what its queries hold */
    helper_close(d->helper, 2000);
    d->queries = NULL;
    d->helper = NULL;
    day_stop(d->days, 0);
    error_log_close(d->errors);
    d->errors = NULL;
    access_close(d->access);
    d->access = NULL;
    if (d->ledger) {
        ledger_stop(d->ledger);
        ledger_close(d->ledger);
        d->ledger = NULL;
    }
    disks_close(d->disks);
    d->disks = NULL;
    day_close(d->days);
    d->days = NULL;
    if (d->upstream)
        upstream_close(d);
    loading_close(d);
    rtp_close(d);
    if (d->wiring)
        wiring_close(d);
    if (d->ring.head)
        ring_close(&d->ring);
    if (d->symbols.head)
        symbols_close(&d->symbols);
    schema_set_free(d->schemas);
    status_destroy(d->status);
    for (struct config *older; d->reloaded; d->reloaded = older) {
        older = d->reloaded->older;
        config_free(d->reloaded);
    }
    config_free(d->config);
}
