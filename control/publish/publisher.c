/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "calendar.h"
#include "error_log.h"
#include "publish/catchup.h"
#include "publish/notice.h"
#include "publish/publisher.h"
#include "publish/streams.h"
#include "storage/dictionary.h"
#include "wiring_parts.h"

#define TURN_BYTES  (8u << 20) /* of messages, unpacked, before what else a turn does */
#define ACCEPT_TURN 64
#define READ_TURN   (1u << 20) /* bytes of journal that a turn reads */
#define SETTLE_NS   (50 * NS_PER_MS)
/* PACE. What a flush and the writes behind it cost grows with the consumers, not with the rows. So
 * when that took long, twice as much time goes to reading before the next flush: rows gather, and a
 * thousand consumers with work for more than one core get larger messages instead of a growing
 * backlog. A flush that costs little is followed by the next at once. */
#define PACE_FROM  (100 * NS_PER_US)
#define PACE_MOST  (10 * NS_PER_MS)
#define PACE_BYTES (8u << 20) /* of journal read since the last flush: enough */
#define OWED_STILL (1 * NS_PER_S)
#define OWED_LONG  (10 * NS_PER_S)
#define HOUSE_NS   (100 * NS_PER_MS)
#define DEEP_NS    (500 * NS_PER_MS) /* below thread.stuck's two seconds */

uint64_t server_memory(struct server *s)
{
    return message_bytes() + load_relaxed(&s->session_bytes) + load_relaxed(&s->own_bytes);
}

void publisher_grave(struct connection *c)
{
    if (c->is_grave)
        return;
    c->is_grave = true;
    c->grave = c->t->graves;
    c->t->graves = c;
}

static void bury(struct publisher *p)
{
    while (p->graves) {
        struct connection *c = p->graves;
        p->graves = c->grave;
        server_note(p->server, c, c->why);
        connection_bury(c);
    }
}

/* ---- accepting ---- */

static bool watch(struct publisher *p, struct watch *w, enum watch_kind kind, int fd)
{
    *w = (struct watch){.kind = kind, .fd = fd};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = w};
    return epoll_ctl(p->epfd, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* Who has not logged in yet counts for its address: one host alone must not take all places. */
bool server_stranger(struct server *s, const struct address *from)
{
    int64_t most = s->config->ipc.connections / 4;
    most = most > STRANGERS_LEAST ? most : STRANGERS_LEAST;
    _Atomic uint32_t *n = &s->stranger[address_class(from, s->seed)];
    if (from->local || atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < most)
        return true;
    server_known(s, from);
    return false;
}

void server_known(struct server *s, const struct address *from)
{
    if (!from->local)
        atomic_fetch_sub_explicit(&s->stranger[address_class(from, s->seed)], 1,
                                  memory_order_relaxed);
}

static void turned_away(struct server *s, int fd, const struct address *from, const char *why)
{
    access_log(s->access, &ACCESS_ENTRY(.event = ACCESS_REFUSE, .from = from, .reason = why));
    atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    close(fd);
}

static unsigned least_busy(struct server *s)
{
    unsigned best = 0;
    for (unsigned i = 1; i < s->threads; i++)
        if (load_relaxed(&s->on_thread[i]) < load_relaxed(&s->on_thread[best]))
            best = i;
    return best;
}

/* Whoever shares an address with many that say nothing gets in: the oldest of them goes. */
static bool replace_stranger(struct publisher *p, const struct address *from)
{
    struct server *s = p->server;
    if (!connection_evict(p, from))
        return false;
    atomic_fetch_add_explicit(&s->stranger[address_class(from, s->seed)], 1, memory_order_relaxed);
    return true;
}

static void hand_over(struct publisher *p, int fd, enum door port, const struct address *from,
                      gid_t gid)
{
    struct server *s = p->server;
    if (!server_stranger(s, from) && !replace_stranger(p, from)) {
        turned_away(s, fd, from, "too many connections of its address have not logged in");
        return;
    }
    if (atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed) >=
            s->connections_most &&
        !connection_evict(p, NULL)) {
        atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
        server_known(s, from);
        turned_away(s, fd, from, "ipc.connections are open");
        return;
    }
    unsigned to = least_busy(s);
    atomic_fetch_add_explicit(&s->on_thread[to], 1, memory_order_relaxed);
    if (to == p->index) {
        connection_open(p, fd, port, from, gid);
        return;
    }
    struct inbox_item x = {
        .kind = INBOX_ACCEPTED, .fd = fd, .port = port, .from = *from, .id = gid};
    if (!inbox_push(&s->publisher[to].inbox, &x)) {
        close(fd);
        server_known(s, from);
        atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&s->on_thread[to], 1, memory_order_relaxed);
    }
}

static int accept_some(struct publisher *p, struct watch *w)
{
    int n = 0;
    for (; n < ACCEPT_TURN; n++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        int fd = accept4(w->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                /* level-triggered it would turn for ever: looked at again each 100 ms */
                epoll_ctl(p->epfd, EPOLL_CTL_DEL, w->fd, NULL);
                p->starved |= 1u << w->port;
            }
            break;
        }
        struct address from = {0};
        struct ucred u = {.gid = (gid_t)-1};
        socklen_t ul = sizeof u;
        if (w->port == DOOR_UNIX) {
            if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &ul)) {
                close(fd);
                continue;
            }
            address_local(&from, u.uid, u.pid);
        } else if (!address_from(&from, (struct sockaddr *)&sa)) {
            close(fd);
            continue;
        }
        if (p->quiet)
            close(fd);
        else
            hand_over(p, fd, (enum door)w->port, &from, u.gid);
    }
    return n;
}

static void listeners_again(struct publisher *p)
{
    for (unsigned i = 0; i < DOORS; i++)
        if (p->starved & 1u << i) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = &p->listener[i]};
            epoll_ctl(p->epfd, EPOLL_CTL_ADD, p->listener[i].fd, &e);
        }
    p->starved = 0;
}

/* ---- what others say ---- */

struct connection *publisher_find(struct publisher *p, uint64_t id)
{
    struct connection *c = p->bucket[id % BUCKETS];
    while (c && c->id != id)
        c = c->bucket;
    return c;
}

static struct connection *by_id(struct publisher *p, uint64_t id)
{
    struct connection *c = publisher_find(p, id);
    return c && !c->dead ? c : NULL;
}

static void item(struct publisher *p, struct inbox_item *x)
{
    struct connection *c;
    switch (x->kind) {
    case INBOX_LISTENER:
        if (watch(p, &p->listener[x->port], WATCH_LISTENER, x->fd))
            p->listener[x->port].port = x->port;
        x->fd = -1; /* control keeps and closes it */
        break;
    case INBOX_ACCEPTED:
        connection_open(p, x->fd, (enum door)x->port, &x->from, (gid_t)x->id);
        x->fd = -1;
        break;
    case INBOX_KICK:
        if ((c = by_id(p, x->id))) {
            struct access_entry e = connection_entry(c, ACCESS_KICK);
            e.text = x->text;
            access_log(p->server->access, &e);
            connection_kill(c, "kicked by %s", x->text);
            publisher_grave(c);
        }
        break;
    case INBOX_JOB:
        if ((c = by_id(p, x->id)) && c->job)
            subscribe_job(c);
        break;
    case INBOX_ENDED:
        if ((c = by_id(p, x->id)))
            dispatch_ended(c, x->text);
        break;
    case INBOX_END_DAY:
        break; /* control's */
    case INBOX_QUIET:
        p->quiet = true;
        break;
    case INBOX_FINISH:
        p->finishing = true;
        p->finish_by = (int64_t)x->id;
        break;
    }
}

static int inbox(struct publisher *p)
{
    int n = 0;
    for (struct inbox_item *x = inbox_take(&p->inbox), *next; x; x = next, n++) {
        next = x->next;
        item(p, x);
        if (x->fd >= 0)
            close(x->fd);
        free(x);
    }
    return n + streams_take(p);
}

static int logins(struct publisher *p)
{
    struct auth_result r;
    int n = 0;
    while (n < 64 && auth_next(p->auth, &r)) {
        connection_authenticated(p, &r);
        n++;
    }
    return n;
}

static int answers(struct publisher *p)
{
    struct answer *a;
    int n = 0;
    while (n < 64 && (a = answer_next(p->server->answers, p->index))) {
        struct connection *c = by_id(p, a->connection);
        if (c && c->answer == a->id)
            dispatch_answered(c, a);
        else
            answer_free(a);
        n++;
    }
    return n;
}

/* A large message takes its time to be unpacked and read: the others come before the next one. */
static bool turn_over(const struct publisher *p)
{
    return p->turn_bytes > TURN_BYTES;
}

static int events(struct publisher *p)
{
    bool one = false;
    struct epoll_event *ev = p->event;
    int n = p->came >= 0      ? p->came
            : p->thread.armed ? 0 /* the sleep asks */
                              : epoll_wait(p->epfd, ev, PUBLISHER_EVENTS, 0);
    p->came = -1;
    for (int i = 0; i < n; i++) {
        enum watch_kind kind = *(enum watch_kind *)ev[i].data.ptr;
        uint32_t e = ev[i].events;
        struct connection *c = ev[i].data.ptr;
        switch (kind) {
        case WATCH_INBOX:
            inbox(p);
            break;
        case WATCH_LISTENER:
            accept_some(p, ev[i].data.ptr);
            break;
        case WATCH_AUTH:
            logins(p);
            break;
        case WATCH_ANSWERS:
            answers(p);
            break;
        case WATCH_BELL:
            break; /* it is watched by edges: nothing to be read */
        case WATCH_CONNECTION:
            if (c->dead || (one && turn_over(p)))
                break; /* epoll says so again */
            one = true;
            if (e & EPOLLOUT) {
                c->blocked = false;
                connection_dirty(c);
            }
            if (e & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
                connection_event(c, e);
            break;
        }
    }
    return n < 0 ? 0 : n;
}

/* ---- the turn ---- */

static int inputs(struct publisher *p)
{
    int n = 0;
    struct connection *list = p->ready;
    p->ready = NULL;
    while (list) {
        struct connection *c = list;
        if (n && turn_over(p)) { /* the rest is first in the next turn */
            struct connection **end = &list;
            while (*end)
                end = &(*end)->ready;
            *end = p->ready;
            p->ready = list;
            break;
        }
        list = c->ready;
        c->is_ready = false;
        connection_input(c);
        n++;
    }
    return n;
}

/* What publishers sent in this turn becomes frames, so that this turn's consumers get it. */
static void append(struct publisher *p)
{
    intake_flush(p->intake);
    wiring_append(p->server->daemon, p->index);
}

void publisher_settle(struct publisher *p)
{
    int64_t until = clock_monotonic() + SETTLE_NS;
    append(p);
    while (wiring_offers(p->server->daemon, p->index) && clock_monotonic() < until) {
        nanosleep(&(struct timespec){0, 20 * NS_PER_US}, NULL);
        append(p);
    }
}

static int read_lanes(struct publisher *p)
{
    int n = 0;
    for (unsigned i = 0; i < LANES; i++) {
        struct lane *l = &p->lane[i];
        uint32_t frames;
        if (!l->awake)
            continue;
        enum lane_verdict v = lane_read(l, READ_TURN, &frames);
        if (frames || fanout_due(l->fanout) <= p->now) {
            if (p->now >= p->flush_after || l->position - l->before > PACE_BYTES) {
                lane_flush(l, p->now);
                p->flushed = true;
            } else {
                p->soon = true;
            }
        }
        n += (int)frames;
        if (v == LANE_LAPPED) {
            atomic_fetch_add_explicit(&p->server->daemon->status->counter[COUNTER_PUBLISH_LAPPED],
                                      1, memory_order_relaxed);
            subscribe_lapped(p, i);
            n++;
        }
    }
    return n;
}

/* Updates that wait for room, acknowledgements that are due. */
static int updates(struct publisher *p)
{
    int n = 0;
    p->intake_busy = intake_step(p->intake);
    struct connection *list = p->waiting;
    p->waiting = NULL;
    while (list) {
        struct connection *c = list;
        list = c->waiting;
        c->is_waiting = false;
        if (c->dead)
            continue;
        bool more = dispatch_acks(c);
        if (c->wants_join) {
            c->wants_join = false;
            subscribe_job(c);
            more |= c->wants_join;
        }
        if (!c->dead && c->is_held && (!c->held_waits || (!c->ack_count && !c->answer))) {
            connection_input(c);
            n++;
        }
        if (!c->dead && (more || (c->is_held && !c->held_waits)))
            connection_waiting(c);
        if (!c->dead && c->eof && !c->is_held && !dispatch_acks_open(c)) {
            connection_kill(c, "closed by the client");
            publisher_grave(c);
        }
    }
    return n;
}

static int outputs(struct publisher *p)
{
    int n = 0;
    struct connection *list = p->dirty;
    p->dirty = NULL;
    while (list) {
        struct connection *c = list;
        list = c->dirty;
        c->is_dirty = c->again = false;
        connection_output(c);
        if (c->again)
            connection_dirty(c);
        n++;
    }
    return n;
}

/* A peer that answers neither data nor probes: half-open. A stopped process still answers. */
static bool half_open(struct connection *c, int64_t patience)
{
    struct tcp_info ti;
    socklen_t len = sizeof ti;
    if (c->port == DOOR_UNIX || !c->blocked_or_unacked ||
        getsockopt(c->stream.fd, IPPROTO_TCP, TCP_INFO, &ti, &len))
        return false;
    return (int64_t)ti.tcpi_last_ack_recv * NS_PER_MS > patience &&
           (ti.tcpi_retransmits >= 3 || ti.tcpi_probes >= 3);
}

/* Where nothing is held back for anyone, a live consumer has all below that place in its queue and
 * nothing above: from there it may go on after a lost connection. Once data has come since. */
static void tell_position(struct connection *c)
{
    const struct lane *l = &c->t->lane[c->lane];
    uint64_t data = c->out.sent_messages + c->out.lag_messages;
    if (!c->positions || !c->live || c->job || c->out.skipping || l->before != l->position ||
        data == c->told)
        return;
    notice_behind(c, l->before);
    c->told = c->out.sent_messages + c->out.lag_messages;
}

static void look_at(struct publisher *p, struct connection *c)
{
    int64_t beat = p->server->config->ipc.heartbeat;
    if (c->dead)
        return;
    if (c->state != CONNECTION_OPEN && c->state != CONNECTION_HANDSHAKE && p->now > c->deadline) {
        connection_kill(c, "did not log in within login_timeout");
    } else if (c->state == CONNECTION_OPEN) {
        c->blocked_or_unacked = c->port != DOOR_UNIX && p->now - c->sent_at < 4 * beat;
        c->blocked_or_unacked |= c->blocked;
        if (half_open(c, 3 * beat))
            connection_kill(c, "half-open: it has answered nothing for %lld s",
                            (long long)(3 * beat / NS_PER_S));
        else if (c->heartbeats && !c->job && p->now - c->sent_at >= beat && consumer_empty(&c->out))
            notice_heartbeat(c);
        tell_position(c);
        if (!c->is_held && kdb_session_held(&c->session) > READ_KEPT)
            connection_trim(c);
    }
    connection_figures(c);
    if (c->dead)
        publisher_grave(c);
}

static uint64_t holds(const struct connection *c)
{
    return c->out.lag_bytes + c->hold.lag_bytes + c->out.owed;
}

/* Over ipc.memory: of those that do not take what waits for them the one that holds most is dealt
 * with. Answers have no policy: one that nobody reads costs its connection; one that is read
 * slowly may stay for OWED_LONG, since what others ask is refused meanwhile. */
static void over_memory(struct publisher *p)
{
    struct connection *worst = NULL;
    for (struct connection *c = p->first; c; c = c->next)
        if (!c->dead && c->blocked && (!worst || holds(c) > holds(worst)))
            worst = c;
    if (!worst)
        return;
    if (worst->out.owed <= worst->out.lag_bytes + worst->hold.lag_bytes) {
        subscribe_policy(worst);
    } else if (p->now - worst->blocked_since > OWED_STILL || p->now - p->over_since > OWED_LONG) {
        connection_kill(worst, "%llu bytes of answers wait for it, and ipc.memory is used up",
                        (unsigned long long)worst->out.owed);
        publisher_grave(worst);
    }
}

static void users_changed(struct publisher *p)
{
    struct server *s = p->server;
    uint64_t g = users_generation(s->users);
    if (g == p->users_generation)
        return;
    p->users_generation = g;
    for (struct connection *c = p->first; c; c = c->next) {
        char why[160];
        if (c->dead || !c->user)
            continue;
        const struct user *u = users_again(s->users, c->user, &c->from, why);
        c->user = u ? u : c->user;
        if (!u)
            connection_kill(c, "%s", why);
        else if (!subscribe_allowed(c) || !streams_allowed(c))
            connection_kill(c, "the user's rights have changed");
        if (c->dead)
            publisher_grave(c);
    }
}

static void house(struct publisher *p)
{
    struct server *s = p->server;
    if (p->now - p->house_at < HOUSE_NS)
        return;
    p->house_at = p->now;
    if (p->starved)
        listeners_again(p);
    users_changed(p);
    for (struct connection *c = p->first; c; c = c->next)
        look_at(p, c);
    if (server_memory(s) > (uint64_t)s->config->ipc.memory) {
        p->over_since = p->over_since ? p->over_since : p->now;
        over_memory(p);
    } else {
        p->over_since = 0;
    }
}

/* Stopping: has everything gone out that will? */
static void finish(struct publisher *p)
{
    bool over = p->now >= p->finish_by, rest = false;
    for (unsigned i = 0; i < LANES; i++)
        if (p->lane[i].awake) {
            rest |= p->lane[i].position < ring_tail(p->lane[i].ring);
            if (!rest)
                fanout_flush_all(p->lane[i].fanout);
        }
    if (rest && !over)
        return;
    outputs(p);
    for (struct connection *c = p->first; c; c = c->next)
        rest |= !c->dead && (!consumer_empty(&c->out) || stream_held(&c->stream));
    if (rest && !over)
        return;
    for (struct connection *c = p->first; c; c = c->next)
        if (!c->dead) {
            connection_kill(c, "penstockd stops");
            publisher_grave(c);
        }
    bury(p);
    store_release(&p->finished, true); /* F1 */
}

/* What may end the next sleep, beside epoll. */
static uint32_t wanted(const struct publisher *p)
{
    uint32_t w = p->waiting ? BELL_LEVEL | BELL_TAKEN : p->intake_busy ? BELL_TAKEN : 0;
    for (unsigned i = 0; i < LANES; i++)
        if (p->lane[i].awake)
            w |= p->lane[i].limit == CURSOR_COMMITTED ? BELL_TAIL : BELL_LEVEL;
    return w;
}

int publisher_work(void *arg)
{
    struct publisher *p = arg;
    p->turn_bytes = 0;
    p->now = clock_monotonic();
    p->time = clock_now(&p->server->daemon->clock);
    int did = events(p);
    did += inputs(p);
    append(p);
    p->flushed = p->soon = false;
    did += read_lanes(p);
    did += updates(p);
    append(p); /* what waited for room */
    int64_t from = p->flushed ? clock_monotonic() : 0;
    int sent = outputs(p);
    did += sent;
    if (p->flushed) {
        int64_t now = clock_monotonic(), took = now - from;
        p->flush_after = took < PACE_FROM ? 0 : now + (2 * took < PACE_MOST ? 2 * took : PACE_MOST);
        p->thread.gives_way = sent && now - p->now < PACE_FROM;
    }
    house(p);
    bury(p);
    if (p->finishing && !load_relaxed(&p->finished))
        finish(p);
    if (p->thread.bell)
        p->thread.bell->waits = wanted(p);
    return did;
}

/* ---- waiting ---- */

/* In place of thread.h's sleep: epoll ends it early, and where nothing can come but through epoll
 * it lasts. */
static void publisher_sleep(void *arg, int64_t ns)
{
    struct publisher *p = arg;
    bool polls = p->waiting || p->intake_busy || p->finishing;
    for (unsigned i = 0; i < LANES; i++)
        polls |= p->lane[i].awake;
    if (!polls)
        ns = p->count ? HOUSE_NS : DEEP_NS;
    if (p->soon) { /* PACE ends it */
        int64_t left = p->flush_after - clock_monotonic();
        ns = left < 0 ? 0 : left < ns ? left : ns;
    }
    struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
    p->came = epoll_pwait2(p->epfd, p->event, PUBLISHER_EVENTS, &ts, NULL);
}

const struct thread_ops publisher_ops = {.work = publisher_work, .sleep = publisher_sleep};

/* ---- open and close ---- */

const char *publisher_calendar_of(struct publisher *p, const char *table)
{
    const struct daemon *d = p->server->daemon;
    return d->wiring->owners.name[wiring_calendar_of(d, table)];
}

static const char *calendar_of(void *arg, const char *table)
{
    return publisher_calendar_of(arg, table);
}

static int32_t last_end(void *arg, const char *calendar)
{
    const struct publisher *p = arg;
    struct daemon *d = p->server->daemon;
    for (unsigned i = 0; i < d->wiring->owners.n; i++)
        if (!strcmp(d->wiring->owners.name[i], calendar))
            return (int32_t)load_relaxed(&d->wiring->appender.days.open[i]) - 1;
    return INT32_MIN;
}

void publisher_fanout(struct publisher *p, struct fanout_config *out)
{
    const struct config *c = p->server->config;
    *out =
        (struct fanout_config){.dict = &p->dict,
                               .sink = subscribe_sink,
                               .failed = subscribe_failed,
                               .calendar_of = calendar_of,
                               .last_end = last_end,
                               .arg = p,
                               .every = c->pub_freq,
                               .multi_publish = c->multi_publish,
                               .zone = c->time_type == CONFIG_LOCAL ? c->main_calendar.zone : NULL};
}

static const char *user_name(const struct user *u)
{
    return u->name;
}

/* Tables that publishers can name: what takes rows, and why others do not. */
static bool open_intake(struct publisher *p, struct err *err)
{
    struct daemon *d = p->server->daemon;
    struct wiring *w = d->wiring;
    struct intake_table *t = calloc(TABLE_MAX, sizeof *t);
    if (!t)
        return err_set(err, -ENOMEM, "publish: no memory");
    struct intake_config c = {.rows = {.q = &w->publisher[p->index],
                                       .known = &d->symbols,
                                       .schemas = d->schemas,
                                       .status = d->status,
                                       .symbols = INTAKE_SYMBOLS,
                                       .max_new_symbols = (uint32_t)d->config->max_new_symbols,
                                       .days = &w->appender.days,
                                       .owners = &w->owners},
                              .table = t,
                              .may = user_may_publish,
                              .name = user_name,
                              .errors = d->errors,
                              .head = d->ring.head};
    for (unsigned i = 0; i < config_calendars(d->config); i++)
        c.calendar[i] = config_calendar(d->config, i);
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        if (!s || s != schema_set_find(d->schemas, s->name))
            continue;
        const char *why = NULL;
        if (s->feed)
            why = "is filled by a feed";
        else if (!strcmp(s->name, "gap") || !strcmp(s->name, "alarm"))
            why = "is written by penstockd itself";
        else if (!wiring_table_live(d, id))
            why = "is not in the configuration (tables) any more";
        t[c.ntables++] = (struct intake_table){s, why};
    }
    p->intake = intake_open(&c, err);
    free(t);
    return p->intake != NULL;
}

/* The descriptor stays with the bell, which others may ring when this thread has ended. */
static bool open_bell(struct publisher *p, struct err *err)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->w_bell = (struct watch){.kind = WATCH_BELL, .fd = fd};
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = &p->w_bell};
    if (fd < 0 || epoll_ctl(p->epfd, EPOLL_CTL_ADD, fd, &e))
        return err_set(err, -errno, "publish: eventfd: %s", strerror(errno));
    p->bell =
        wiring_bell(p->server->daemon, &p->server->daemon->wiring->publish_bell[p->index], 0, fd);
    return true;
}

bool publisher_open(struct server *s, unsigned index, struct err *err)
{
    struct publisher *p = &s->publisher[index];
    struct daemon *d = s->daemon;
    *p = (struct publisher){.server = s,
                            .came = -1,
                            .mute_last = &p->mute,
                            .index = index,
                            .epfd = epoll_create1(EPOLL_CLOEXEC)};
    pthread_mutex_init(&p->registry, NULL);
    snprintf(p->name, sizeof p->name, "publish%u", index);
    if (p->epfd < 0)
        return err_set(err, -errno, "publish: epoll: %s", strerror(errno));
    p->auth = auth_mailbox(s->auth);
    struct fanout_config fc;
    publisher_fanout(p, &fc);
    p->streams = streams_open(p, err);
    if (!p->streams)
        return false;
    if (!p->auth || !inbox_open(&p->inbox, err) || !dictionary_init(&p->dict, err))
        return p->auth ? false : err_set(err, -ENOMEM, "publish: no memory");
    enum cursor_limit normal = d->config->publish_first ? CURSOR_COMMITTED : CURSOR_SUBMITTED;
    if (!lane_init(&p->lane[LANE_NORMAL], &fc, &d->ring, &d->symbols, d->schemas, normal, err) ||
        !lane_init(&p->lane[LANE_DURABLE], &fc, &d->ring, &d->symbols, d->schemas, CURSOR_DURABLE,
                   err) ||
        !open_intake(p, err))
        return false;
    lane_learn_schemas(&p->dict, d->schemas);
    lane_learn(&p->dict, &d->symbols);
    p->users_generation = users_generation(s->users);
    if (d->wiring->bells && !open_bell(p, err))
        return false;
    return (watch(p, &p->w_inbox, WATCH_INBOX, p->inbox.fd) &&
            watch(p, &p->w_auth, WATCH_AUTH, auth_fd(p->auth)) &&
            watch(p, &p->w_answers, WATCH_ANSWERS, answer_fd(s->answers, index))) ||
           err_set(err, -errno, "publish: epoll: %s", strerror(errno));
}

/* Its thread has ended. */
void publisher_close(struct publisher *p)
{
    if (!p->server)
        return;
    for (struct connection *c = p->first; c; c = c->next) {
        connection_kill(c, "penstockd stops");
        publisher_grave(c);
    }
    bury(p);
    for (unsigned i = 0; i < LANES; i++)
        lane_fini(&p->lane[i]);
    if (p->intake)
        intake_close(p->intake);
    if (p->dict.schemas)
        dictionary_free(&p->dict);
    streams_close(p->streams);
    inbox_close(&p->inbox);
    if (p->epfd >= 0)
        close(p->epfd);
    pthread_mutex_destroy(&p->registry);
    p->server = NULL;
}
