/* SPDX-License-Identifier: Apache-2.0 */
/* The connection: made, lost, made again; messages out, bytes in. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>
#include "client/client_int.h"

#define READ (64u << 10)

int64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : clock_monotonic() + timeout_ms * NS_PER_MS;
}

/* ---- messages ---- */

struct pending *link_pending(struct pst_client *c, uint32_t i)
{
    return &c->pending[(c->pending_head + i) & (c->pending_room - 1)];
}

int link_queue(struct pst_client *c, uint8_t *bytes, size_t len, uint64_t ticket)
{
    if (c->pending_count == c->pending_room) {
        uint32_t room = c->pending_room ? 2 * c->pending_room : 64;
        struct pending *p = malloc(room * sizeof *p);
        if (!p) {
            free(bytes);
            return client_fail(c, -ENOMEM, "no memory for a message");
        }
        for (uint32_t i = 0; i < c->pending_count; i++)
            p[i] = *link_pending(c, i);
        free(c->pending);
        c->pending = p;
        c->pending_room = room;
        c->pending_head = 0;
    }
    *link_pending(c, c->pending_count++) =
        (struct pending){.bytes = bytes, .len = len, .ticket = ticket};
    c->queued += len;
    return 0;
}

/* ---- up and down ---- */

void link_down(struct pst_client *c, int code, const char *why)
{
    char text[600]; /* why may be the error itself */
    snprintf(text, sizeof text, "%s", why);
    bool was_up = c->state == LINK_UP;
    wire_close(&c->wire);
    if (c->session_on)
        kdb_session_free(&c->session);
    c->session_on = false;
    c->state = LINK_DOWN;
    client_fail(c, code, "%s", text);
    int64_t now = clock_monotonic();
    if (was_up)
        c->attempts = 0;
    else
        c->attempts++;
    /* at once after a connection that stood, and on to the next address of a round */
    int wait = c->o.reconnect_ms ? c->o.reconnect_ms : 1000;
    bool at_once = was_up ? now - c->up_since > wait * NS_PER_MS : c->next_address != 0;
    c->attempt_at = at_once || wait < 0 ? now : now + wait * NS_PER_MS;
    if (was_up) {
        publish_lost(c, text);
        feed_lost(c, text);
        streams_lost(c, text);
    }
}

static void refused(struct pst_client *c, const struct err *err)
{
    char text[600];
    snprintf(text, sizeof text, "%s: %s", c->address[c->connected_to].text, err->text);
    link_down(c, err->code ? err->code : -ENOTCONN, text);
}

static bool tls_context(struct pst_client *c, struct err *err)
{
    if (c->tls)
        return true;
    c->tls = SSL_CTX_new(TLS_client_method());
    if (!c->tls)
        return err_set(err, -ENOMEM, "no memory for TLS");
    SSL_CTX_set_min_proto_version(c->tls, TLS1_2_VERSION);
    bool ok = c->o.ca_file ? SSL_CTX_load_verify_locations(c->tls, c->o.ca_file, NULL)
                           : SSL_CTX_set_default_verify_paths(c->tls);
    if (ok || c->o.tls_unverified)
        return true;
    SSL_CTX_free(c->tls);
    c->tls = NULL;
    return err_set(err, -EINVAL, "%s: no certificates can be read from it",
                   c->o.ca_file ? c->o.ca_file : "the system's store");
}

static void begin(struct pst_client *c)
{
    struct err err = {0};
    const struct address *a = &c->address[c->next_address];
    c->connected_to = c->next_address;
    c->next_address = (c->next_address + 1) % c->naddresses;
    c->attempt_ends =
        clock_monotonic() + (c->o.connect_ms > 0 ? c->o.connect_ms : 5000) * NS_PER_MS;
    c->state = LINK_CONNECTING;
    c->login_sent = 0;
    if (!wire_connect(&c->wire, a, &err))
        refused(c, &err);
}

static void login(struct pst_client *c)
{
    static const struct kdb_limits limits = {.message = KDB_BYTES_MAX};
    kdb_session_start(&c->session, KDB_CLIENT, &limits);
    c->session_on = true;
    c->state = LINK_LOGIN;
}

static void connecting(struct pst_client *c)
{
    struct err err = {0};
    const struct address *a = &c->address[c->connected_to];
    enum wire_verdict v = wire_connected(&c->wire, &err);
    if (v == WIRE_END) {
        refused(c, &err);
    } else if (v == WIRE_OK && !a->tls) {
        login(c);
    } else if (v == WIRE_OK) {
        c->state = LINK_TLS;
        if (!tls_context(c, &err) ||
            !wire_tls(&c->wire, c->tls, a->host, !c->o.tls_unverified, &err))
            refused(c, &err);
    }
}

static void shaking(struct pst_client *c)
{
    struct err err = {0};
    enum wire_verdict v = wire_handshake(&c->wire, &err);
    if (v == WIRE_END)
        refused(c, &err);
    else if (v == WIRE_OK)
        login(c);
}

/* Bytes into the session. False: nothing more now. */
static bool receive(struct pst_client *c)
{
    struct err err = {0};
    size_t room, n = 0, want = kdb_session_wants(&c->session);
    uint8_t *to =
        kdb_session_room(&c->session, want > READ && want < 8 * READ ? want : READ, &room);
    if (!to) {
        link_down(c, -ENOMEM, "no memory for a message");
        return false;
    }
    enum wire_verdict v = wire_read(&c->wire, to, room, &n, &err);
    if (v == WIRE_OK) {
        kdb_session_took(&c->session, n);
        return true;
    }
    if (v == WIRE_AGAIN)
        return false;
    if (c->state == LINK_LOGIN && err.code == -ENOTCONN)
        err_set(&err, -EACCES, "the daemon refused user \"%s\", or takes no more connections",
                c->o.user);
    refused(c, &err);
    return false;
}

static void logging_in(struct pst_client *c)
{
    struct err err = {0};
    struct kdb_event e;
    size_t n = 0;
    while (c->login_sent < c->login_len) {
        enum wire_verdict v =
            wire_write(&c->wire, c->login + c->login_sent, c->login_len - c->login_sent, &n, &err);
        if (v == WIRE_END) {
            refused(c, &err);
            return;
        }
        if (v == WIRE_AGAIN)
            return;
        c->login_sent += n;
    }
    if (!receive(c) || kdb_session_next(&c->session, &e) != KDB_EVENT_ACCEPTED)
        return;
    if (e.capability < 1) {
        err_set(&err, -EPROTO, "it speaks a kdb+ protocol too old for timestamps");
        refused(c, &err);
        return;
    }
    c->state = LINK_UP;
    c->up_since = clock_monotonic();
    c->attempts = 0;
    c->next_address = 0;
    c->ever = true;
    c->connections++;
}

static bool send_some(struct pst_client *c)
{
    struct err err = {0};
    while (c->sent < c->pending_count) {
        struct pending *p = link_pending(c, c->sent);
        size_t n = 0;
        if (!p->bytes) { /* could not be made: it ends in its turn */
            c->sent++;
            continue;
        }
        enum wire_verdict v =
            wire_write(&c->wire, p->bytes + c->sent_part, p->len - c->sent_part, &n, &err);
        if (v == WIRE_END) {
            refused(c, &err);
            return false;
        }
        if (v == WIRE_AGAIN)
            return true;
        c->sent_part += n;
        if (c->sent_part == p->len) {
            c->sent++;
            c->sent_part = 0;
        }
    }
    return true;
}

/* A publisher's answers. A subscriber takes its messages one by one itself. */
static void responses(struct pst_client *c)
{
    struct kdb_event e;
    while (c->state == LINK_UP && c->role != ROLE_SUBSCRIBER) {
        switch (kdb_session_next(&c->session, &e)) {
        case KDB_EVENT_MESSAGE:
            if (e.message.kind == KDB_RESPONSE)
                publish_response(c, &e.message.object);
            break;
        case KDB_EVENT_HOSTILE:
            link_down(c, -EPROTO, e.why);
            return;
        default:
            return;
        }
    }
}

/* Writable is of interest too. */
static bool to_send(const struct pst_client *c)
{
    return (c->state == LINK_UP && c->sent < c->pending_count) ||
           (c->state == LINK_LOGIN && c->login_sent < c->login_len);
}

short pst_wants(const pst_client *c)
{
    return (short)(POLLIN | c->wire.wants | (to_send(c) ? POLLOUT : 0));
}

static bool readable(struct pst_client *c)
{
    return c->wire.ssl && SSL_pending(c->wire.ssl) > 0;
}

/* True: bytes came. */
static bool progress(struct pst_client *c)
{
    bool came = false;
    switch (c->state) {
    case LINK_CONNECTING:
        connecting(c);
        break;
    case LINK_TLS:
        shaking(c);
        break;
    case LINK_LOGIN:
        logging_in(c);
        break;
    case LINK_UP:
        if (!send_some(c))
            return false;
        came = receive(c);
        if (came) {
            responses(c);
            if (c->state == LINK_UP)
                send_some(c);
        }
        break;
    default:
        break;
    }
    if (c->state != LINK_UP && c->state != LINK_DOWN && clock_monotonic() > c->attempt_ends) {
        struct err err;
        err_set(&err, -ENOTCONN, "no answer within %d ms",
                c->o.connect_ms > 0 ? c->o.connect_ms : 5000);
        refused(c, &err);
    }
    return came;
}

static bool given_up(const struct pst_client *c)
{
    return c->state == LINK_DOWN && c->ever &&
           (c->o.reconnect_ms < 0 || (c->o.reconnect_limit && c->attempts >= c->o.reconnect_limit));
}

int link_step(struct pst_client *c, int64_t until)
{
    if (given_up(c))
        return -ENOTCONN;
    int64_t now = clock_monotonic();
    if (c->state == LINK_DOWN && now >= c->attempt_at) {
        begin(c);
        if (c->state == LINK_DOWN)
            return 0;
        now = clock_monotonic();
    }
    enum link_state before = c->state;
    if (c->state != LINK_DOWN && progress(c))
        return 0; /* the caller looks at it before anyone waits */
    if (c->state != before)
        return 0;
    int64_t end = until;
    if (c->state == LINK_DOWN && c->attempt_at < end)
        end = c->attempt_at;
    if (c->state != LINK_DOWN && c->state != LINK_UP && c->attempt_ends < end)
        end = c->attempt_ends;
    struct pollfd p[2] = {{.fd = c->wake_fd, .events = POLLIN},
                          {.fd = c->wire.fd, .events = pst_wants(c)}};
    int64_t ms = end == INT64_MAX ? -1 : (end - now + NS_PER_MS - 1) / NS_PER_MS;
    int wait = readable(c) || end <= now ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
    if (poll(p, c->wire.fd >= 0 ? 2 : 1, wait) < 0 && errno != EINTR)
        return client_fail(c, -errno, "poll: %s", strerror(errno));
    if (p[0].revents) {
        uint64_t n;
        if (read(c->wake_fd, &n, sizeof n) > 0)
            return client_fail(c, -EINTR, "woken");
    }
    if (p[1].revents || readable(c))
        progress(c);
    return 0;
}
