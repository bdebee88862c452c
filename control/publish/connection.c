/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "publish/catchup.h"
#include "publish/publisher.h"
#include "publish/streams.h"

#define INPUT_TURN    (256u << 10) /* bytes that one connection may bring in a turn */
#define REQUEST_TURN  256u
#define OUTPUT_TURN   (1u << 20)
#define OUTPUT_WRITE  (256u << 10)
#define OWED_MOST     (1u << 20) /* bytes of answers that wait: beyond it no request is read */
#define EVICT_LOOKS   256u
#define READ_LEAST    4096u
#define SESSION_LARGE (64u << 10) /* of unfinished requests: what counts as one that grows */

const char *door_name(enum door p)
{
    static const char *const name[] = {"tickerplant", "rdb", "hdb", "unix"};
    return (unsigned)p < DOORS ? name[p] : "?";
}

struct access_entry connection_entry(const struct connection *c, int event)
{
    struct access_entry e = ACCESS_ENTRY(.event = (enum access_event_kind)event);
    e.connection = c->id;
    e.user = c->user ? c->user->name : NULL;
    e.from = &c->from;
    return e;
}

/* ---- lists of the thread ---- */

void connection_dirty(struct connection *c)
{
    if (c->is_dirty || c->dead)
        return;
    c->is_dirty = true;
    c->dirty = c->t->dirty;
    c->t->dirty = c;
}

void connection_ready(struct connection *c)
{
    if (c->is_ready || c->dead)
        return;
    c->is_ready = true;
    c->ready = c->t->ready;
    c->t->ready = c;
}

void connection_waiting(struct connection *c)
{
    if (c->is_waiting || c->dead)
        return;
    c->is_waiting = true;
    c->waiting = c->t->waiting;
    c->t->waiting = c;
}

/* ---- who said nothing yet ---- */

static void mute(struct connection *c)
{
    struct publisher *t = c->t;
    c->later = NULL;
    c->earlier = t->mute_last;
    *t->mute_last = c;
    t->mute_last = &c->later;
}

static void unmute(struct connection *c)
{
    if (!c->earlier)
        return;
    *c->earlier = c->later;
    if (c->later)
        c->later->earlier = c->earlier;
    else
        c->t->mute_last = c->earlier;
    c->earlier = NULL;
}

bool connection_evict(struct publisher *t, const struct address *from)
{
    struct connection *c = t->mute;
    uint32_t seed = t->server->seed, looks = EVICT_LOOKS;
    if (from)
        while (c && looks-- &&
               (c->from.local || address_class(&c->from, seed) != address_class(from, seed)))
            c = c->later;
    if (!c || !looks)
        return false;
    unmute(c);
    connection_kill(c, "did not log in, and others wait for its place (ipc.connections)");
    publisher_grave(c);
    return true;
}

/* ---- epoll ---- */

/* What the descriptor is asked for: input only while it can be used. */
void connection_events(struct connection *c)
{
    if (c->dead || c->state == CONNECTION_HANDSHAKE)
        return;
    bool output = !consumer_empty(&c->out) || stream_held(&c->stream);
    uint32_t want = stream_events(&c->stream, output && c->blocked);
    if (c->is_held || c->state == CONNECTION_AUTH || c->eof || c->choked)
        want &= ~(uint32_t)EPOLLIN;
    if (c->is_held && c->held_waits) /* a client that asked and went: its query is stopped */
        want |= EPOLLRDHUP;
    if (c->registered && want == c->events)
        return;
    struct epoll_event e = {.events = want, .data.ptr = c};
    if (epoll_ctl(c->t->epfd, c->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->stream.fd, &e)) {
        connection_kill(c, "epoll: %s", strerror(errno));
        return;
    }
    c->registered = true;
    c->events = want;
}

static void unregister(struct connection *c)
{
    if (c->registered)
        epoll_ctl(c->t->epfd, EPOLL_CTL_DEL, c->stream.fd, NULL);
    c->registered = false;
}

/* ---- begin and end ---- */

static void options(int fd, const struct config *config)
{
    int on = 1, s = (int)(config->ipc.heartbeat / NS_PER_S), count = 2;
    s = s < 1 ? 1 : s;
    /* Refused by unix sockets, which need none of it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &s, sizeof s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &s, sizeof s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void connection_open(struct publisher *t, int fd, enum door port, const struct address *from,
                     gid_t gid)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        server_known(t->server, from);
        atomic_fetch_sub_explicit(&t->server->connections, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&t->server->on_thread[t->index], 1, memory_order_relaxed);
        return;
    }
    *c = (struct connection){.watch = WATCH_CONNECTION,
                             .t = t,
                             .id = t->next_id++ * t->server->threads + t->index + 1,
                             .port = port,
                             .from = *from,
                             .since = t->time,
                             .sent_at = t->now,
                             .deadline = t->now + load_relaxed(&t->server->login_timeout),
                             .gid = gid,
                             .policy = -1};
    c->sub_last = &c->sub;
    options(fd, t->server->config);
    stream_open(&c->stream, fd);
    consumer_init(&c->out);
    consumer_init(&c->hold);
    pthread_mutex_lock(&t->registry);
    c->next = t->first;
    if (t->first)
        t->first->prev = c;
    t->first = c;
    t->count++;
    c->bucket = t->bucket[c->id % BUCKETS];
    t->bucket[c->id % BUCKETS] = c;
    pthread_mutex_unlock(&t->registry);
    mute(c);
    connection_events(c);
    connection_input(c);
}

void connection_kill(struct connection *c, const char *fmt, ...)
{
    if (c->dead)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->dead = true;
}

static void unlist(struct connection **list, struct connection *c, size_t next)
{
    for (struct connection **p = list; *p; p = (struct connection **)((char *)*p + next))
        if (*p == c) {
            *p = *(struct connection **)((char *)c + next);
            return;
        }
}

void connection_bury(struct connection *c)
{
    struct publisher *t = c->t;
    struct server *s = t->server;
    unmute(c);
    if (c->state == CONNECTION_HANDSHAKE &&
        s->started) { /* its stream is auth's until it answers */
        auth_cancel(t->auth, c->id);
        c->is_grave = false;
        return;
    }
    if (c->is_dirty)
        unlist(&t->dirty, c, offsetof(struct connection, dirty));
    if (c->is_ready)
        unlist(&t->ready, c, offsetof(struct connection, ready));
    if (c->is_waiting)
        unlist(&t->waiting, c, offsetof(struct connection, waiting));
    streams_gone(c); /* their lines of the access log before its own */
    struct access_entry e = connection_entry(c, c->user ? ACCESS_CLOSE : ACCESS_REFUSE);
    e.user = c->user ? c->user->name : *c->tried ? c->tried : NULL;
    e.reason = *c->why ? c->why : "closed by the client";
    e.outcome = c->user;
    e.duration_ns = t->time - c->since;
    e.rows = (int64_t)c->out.sent_rows;
    e.bytes = (int64_t)(c->received + c->out.sent_bytes);
    access_log(s->access, &e);
    if (!c->user) {
        atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
        server_known(s, &c->from);
    }
    subscribe_end(c);
    unlist(&t->bucket[c->id % BUCKETS], c, offsetof(struct connection, bucket));
    if (c->answer)
        answer_cancel(s->answers, t->index, c->id);
    if (c->state == CONNECTION_AUTH)
        auth_cancel(t->auth, c->id);
    for (uint32_t i = 0; i < c->ack_count; i++)
        free(c->ack[(c->ack_head + i) & (c->ack_room - 1)].text);
    free(c->ack);
    atomic_fetch_sub_explicit(&s->session_bytes, c->session_bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->own_bytes, c->own_bytes, memory_order_relaxed);
    kdb_session_free(&c->session);
    unregister(c);
    pthread_mutex_lock(&t->registry);
    if (c->prev)
        c->prev->next = c->next;
    else
        t->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    t->count--;
    pthread_mutex_unlock(&t->registry);
    consumer_free(&c->out);
    consumer_free(&c->hold);
    stream_close(&c->stream);
    user_release(c->user);
    atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->on_thread[t->index], 1, memory_order_relaxed);
    free(c);
}

/* ---- memory ---- */

static void count_memory(struct connection *c)
{
    struct server *s = c->t->server;
    uint64_t session = kdb_session_held(&c->session);
    uint64_t own = consumer_memory(&c->out) + consumer_memory(&c->hold) + c->sub_bytes;
    if (session != c->session_bytes)
        atomic_fetch_add_explicit(&s->session_bytes, session - c->session_bytes,
                                  memory_order_relaxed);
    if (own != c->own_bytes)
        atomic_fetch_add_explicit(&s->own_bytes, own - c->own_bytes, memory_order_relaxed);
    c->session_bytes = session;
    c->own_bytes = own;
}

/* ---- input ---- */

static void login(struct connection *c, const struct kdb_login *l)
{
    struct publisher *t = c->t;
    unmute(c);
    c->capability = kdb_capability(l->capability);
    c->state = CONNECTION_AUTH;
    snprintf(c->tried, sizeof c->tried, "%s", c->port == DOOR_UNIX ? "" : l->user);
    bool asked = true;
    if (c->port == DOOR_UNIX)
        asked = auth_peer(t->auth, c->id, &c->from, c->gid);
    else
        asked = auth_login(t->auth, c->id, &c->from, t->now, l->user, strlen(l->user), l->password,
                           strlen(l->password));
    if (!asked)
        connection_kill(c, "too many logins wait");
}

static void handshake(struct connection *c)
{
    struct publisher *t = c->t;
    unmute(c);
    unregister(c);
    c->state = CONNECTION_HANDSHAKE;
    if (!auth_handshake(t->auth, c->id, &c->from, t->now, &c->stream)) {
        c->state = CONNECTION_LOGIN;
        connection_kill(c, "too many TLS handshakes wait");
    }
}

static bool sniff(struct connection *c)
{
    struct server *s = c->t->server;
    int e = stream_sniff(&c->stream);
    if (e == -EAGAIN)
        return false;
    if (e) {
        connection_kill(c, "closed before it logged in");
        return false;
    }
    if (c->stream.kind == STREAM_TLS) {
        if (!s->tls || c->port == DOOR_UNIX)
            connection_kill(c, "TLS is not offered here");
        else
            handshake(c);
        return false;
    }
    if (c->port != DOOR_UNIX && s->config->ipc.tls == CONFIG_TLS_REQUIRED) {
        connection_kill(c, "TLS is required (ipc.tls)");
        return false;
    }
    c->state = CONNECTION_LOGIN;
    return true;
}

static void accepted(struct connection *c, const struct auth_result *r)
{
    char text[128], stream[64];
    struct publisher *t = c->t;
    uint8_t *byte = malloc(1);
    if (!byte) {
        connection_kill(c, "no memory");
        return;
    }
    c->user = r->user;
    server_known(t->server, &c->from);
    c->level = r->level;
    c->state = CONNECTION_OPEN;
    *byte = c->capability;
    stream_text(&c->stream, stream);
    pthread_mutex_lock(&t->registry);
    snprintf(c->t_user, sizeof c->t_user, "%s", c->user->name);
    snprintf(c->t_stream, sizeof c->t_stream, "%s", stream);
    pthread_mutex_unlock(&t->registry);
    snprintf(text, sizeof text, "%s %s", door_name(c->port), stream);
    struct access_entry e = connection_entry(c, ACCESS_LOGIN);
    e.text = text;
    access_log(t->server->access, &e);
    connection_send(c, byte, 1);
    connection_output(c); /* the byte is alone in its write */
    connection_figures(c);
    connection_ready(c);
}

void connection_authenticated(struct publisher *t, struct auth_result *r)
{
    struct connection *c = publisher_find(t, r->token);
    if (!c) {
        user_release(r->user);
        return;
    }
    if (r->kind == AUTH_HANDSHAKE) {
        c->state = CONNECTION_LOGIN; /* the stream is ours again */
        if (r->verdict != AUTH_ACCEPTED) {
            connection_kill(c, "%s", r->text);
        } else if (!c->dead) { /* kicked in the meantime */
            mute(c);
            connection_events(c);
            connection_ready(c);
        }
    } else if (c->state != CONNECTION_AUTH || c->dead) {
        user_release(r->user);
    } else if (r->verdict != AUTH_ACCEPTED) {
        c->state = CONNECTION_LOGIN;
        connection_kill(c, "%s", r->text);
    } else {
        accepted(c, r);
    }
    if (c->dead && !c->is_grave)
        publisher_grave(c);
}

/* False: nothing more to be had now. */
static bool take(struct connection *c, size_t *bytes)
{
    struct server *s = c->t->server;
    size_t want = kdb_session_wants(&c->session), room;
    if (c->drained) /* the last read got less than it could take: epoll says when there is more */
        return c->drained = false;
    if (c->session_bytes > SESSION_LARGE && server_memory(s) > (uint64_t)s->config->ipc.memory) {
        size_t unfinished = kdb_session_unfinished(&c->session);
        if (unfinished > SESSION_LARGE) {
            connection_kill(c, "an unfinished request of %zu bytes, and ipc.memory is used up",
                            unfinished);
            return false;
        }
        c->read_most = 0; /* many small ones: they go on, in small pieces */
    }
    want = want < READ_LEAST ? READ_LEAST : want;
    want = want < c->read_most ? c->read_most : want;
    want = want > INPUT_TURN ? INPUT_TURN : want;
    uint8_t *to = kdb_session_room(&c->session, want, &room);
    if (!to) {
        connection_kill(c, "no memory for a request");
        return false;
    }
    room = room < INPUT_TURN ? room : INPUT_TURN;
    ssize_t n = stream_read(&c->stream, to, room);
    if (n == -EAGAIN) {
        kdb_session_took(&c->session, 0);
        return false;
    }
    if (n <= 0) {
        kdb_session_took(&c->session, 0);
        c->eof = true;
        c->by_peer = true;
        if (n < 0)
            connection_kill(c, "%s", strerror((int)-n));
        else if (!c->ack_count) /* what it sent is done; acknowledgements go out first */
            connection_kill(c, "closed by the client");
        return false;
    }
    kdb_session_took(&c->session, (size_t)n);
    /* one that sends much is read in large pieces */
    c->read_most = (size_t)n < room ? (size_t)n : 2 * room;
    c->drained = (size_t)n < room && c->stream.kind != STREAM_TLS;
    c->received += (uint64_t)n;
    *bytes += (size_t)n;
    return true;
}

static void hostile(struct connection *c, const char *why)
{
    atomic_fetch_add_explicit(&c->t->server->hostile, 1, memory_order_relaxed);
    connection_kill(c, "hostile bytes: %s", why);
}

static void input(struct connection *c)
{
    size_t bytes = 0;
    unsigned requests = 0;
    c->drained = false;
    if (c->state == CONNECTION_SNIFF && sniff(c)) {
        struct kdb_limits l = {.message = (size_t)c->t->server->config->ipc.message_max};
        kdb_session_start(&c->session, KDB_SERVER, &l);
        c->started = true;
    } else if (c->state == CONNECTION_LOGIN && c->stream.ready && !c->started) {
        struct kdb_limits l = {.message = (size_t)c->t->server->config->ipc.message_max};
        kdb_session_start(&c->session, KDB_SERVER, &l);
        c->started = true;
    }
    while (!c->dead && (c->state == CONNECTION_LOGIN || c->state == CONNECTION_OPEN)) {
        if (c->out.owed > OWED_MOST) { /* whoever does not read answers asks no further */
            c->choked = true;
            return;
        }
        if (c->is_held) {
            if (!dispatch_request(c))
                return;
            c->is_held = c->held_waits = false;
            requests++;
        }
        if (bytes >= INPUT_TURN || requests >= REQUEST_TURN) {
            connection_ready(c);
            return;
        }
        struct kdb_event e;
        switch (kdb_session_next(&c->session, &e)) {
        case KDB_EVENT_MORE:
            if (c->eof || !take(c, &bytes))
                return;
            break;
        case KDB_EVENT_LOGIN:
            login(c, &e.login);
            return;
        case KDB_EVENT_MESSAGE:
            c->t->turn_bytes += e.message.size;
            c->held = e;
            c->is_held = true;
            break;
        case KDB_EVENT_ACCEPTED:
        case KDB_EVENT_HOSTILE:
            hostile(c, e.kind == KDB_EVENT_HOSTILE ? e.why : "");
            return;
        }
    }
}

void connection_input(struct connection *c)
{
    if (c->dead)
        return;
    input(c);
    count_memory(c);
    if (c->dead)
        publisher_grave(c);
    else
        connection_events(c);
}

void connection_event(struct connection *c, uint32_t events)
{
    bool gone = events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP);
    if (gone && c->state == CONNECTION_AUTH) {
        connection_kill(c, "closed while it logged in");
        publisher_grave(c);
    } else if (gone && (c->choked || (c->is_held && c->held_waits))) {
        connection_kill(c, "closed by the client");
        publisher_grave(c);
    } else if (gone && (c->is_held || c->eof)) {
        unregister(c); /* what it sent before is still taken; epoll would say so for ever */
    } else {
        connection_input(c);
    }
}

void connection_trim(struct connection *c)
{
    kdb_session_trim(&c->session);
    count_memory(c);
}

/* ---- output ---- */

void connection_send(struct connection *c, uint8_t *bytes, size_t len)
{
    if (!bytes || !consumer_push_bytes(&c->out, bytes, len, free, bytes)) {
        connection_kill(c, "no memory for a reply");
        publisher_grave(c);
        return;
    }
    connection_dirty(c);
}

static void output(struct connection *c)
{
    uint64_t total = 0;
    struct iovec iov[64];
    while (!consumer_empty(&c->out) || stream_held(&c->stream)) {
        int n = consumer_next(&c->out, iov, PST_COUNT(iov), OUTPUT_WRITE);
        ssize_t r = stream_writev(&c->stream, iov, n);
        if (r == -EAGAIN) {
            c->blocked = true;
            return;
        }
        if (r < 0) {
            c->by_peer = true;
            connection_kill(c, "%s", strerror((int)-r));
            return;
        }
        consumer_sent(&c->out, (uint64_t)r);
        c->sent_at = c->t->now;
        total += (uint64_t)r;
        if (!n && stream_held(&c->stream)) {
            c->blocked = true;
            return;
        }
        if (total >= OUTPUT_TURN && !consumer_empty(&c->out)) {
            c->again = true; /* the others first */
            return;
        }
    }
}

void connection_output(struct connection *c)
{
    struct server *s = c->t->server;
    if (c->dead)
        return;
    if (!c->blocked) { /* else epoll says when it takes something again */
        output(c);
        if (c->blocked)
            c->blocked_since = c->t->now;
    }
    if (!c->dead) {
        struct consumer_limits l = {load_relaxed(&s->alert), load_relaxed(&s->act)};
        /* Of one that still reads, what waits only waits for its turn. */
        bool act = consumer_check(&c->out, &l, c->hold.lag_bytes);
        if (act && c->blocked)
            subscribe_policy(c);
        subscribe_drained(c);
        if (c->choked && c->out.owed <= OWED_MOST / 2) {
            c->choked = false;
            connection_ready(c);
        }
    }
    if (!c->dead)
        count_memory(c);
    if (c->dead)
        publisher_grave(c);
    else
        connection_events(c);
}

void connection_figures(struct connection *c)
{
    const struct consumer *o = &c->out;
    store_relaxed(&c->f_lag_bytes, o->lag_bytes + c->hold.lag_bytes);
    store_relaxed(&c->f_lag_messages, o->lag_messages + c->hold.lag_messages);
    store_relaxed(&c->f_sent_messages, o->sent_messages);
    store_relaxed(&c->f_sent_bytes, o->sent_bytes);
    store_relaxed(&c->f_sent_rows, o->sent_rows);
    store_relaxed(&c->f_peak, o->peak);
    store_relaxed(&c->f_slow, o->slow);
    enum client_state state = c->state != CONNECTION_OPEN ? CLIENT_LOGIN
                              : o->skipping               ? CLIENT_SKIPPING
                              : c->job && c->conflating   ? CLIENT_CONFLATING
                              : c->job                    ? CLIENT_CATCHUP
                              : c->live || c->nstreams    ? CLIENT_LIVE
                                                          : CLIENT_IDLE;
    store_relaxed(&c->f_state, state);
    store_relaxed(&c->f_policy, (uint32_t)subscribe_policy_of(c));
    store_relaxed(&c->f_blocked, c->blocked ? c->t->now - c->blocked_since : 0);
}
