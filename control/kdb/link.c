/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/atomics.h"
#include "core/clock.h"
#include "kdb/link.h"

#define READ_ROOM 65536u

/* Until fd is ready, in steps, so that a stop is heard. */
static bool wait_ready(struct kdb_link *l, short events, int64_t until)
{
    for (;;) {
        int64_t left = until - clock_monotonic();
        struct pollfd p = {.fd = l->fd, .events = events};
        if (left < 0 || (l->stop && load_relaxed(l->stop)))
            return false;
        int64_t ms = left / NS_PER_MS + 1, most = l->stop ? 50 : 60000;
        if (poll(&p, 1, (int)(ms < most ? ms : most)) > 0)
            return true;
    }
}

static bool connect_to(struct kdb_link *l, const struct sockaddr *a, socklen_t n, int64_t until,
                       struct err *err)
{
    int e = 0;
    socklen_t en = sizeof e;
    l->fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return err_set(err, -errno, "no socket: %s", strerror(errno));
    if (connect(l->fd, a, n) && errno != EINPROGRESS && errno != EAGAIN) {
        e = errno;
    } else if (!wait_ready(l, POLLOUT, until)) {
        e = ETIMEDOUT;
    } else if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &e, &en)) {
        e = errno;
    }
    if (!e)
        return true;
    close(l->fd);
    l->fd = -1;
    return err_set(err, -e, "%s", strerror(e));
}

/* A peer that died without a word is noticed within half a minute. */
static void watch(const struct kdb_link *l)
{
    int on = 1, idle = 10, every = 5, count = 4, most = 30000;
    setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof most);
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static bool same_host(const struct kdb_link *l)
{
    struct sockaddr_storage a, b;
    socklen_t n = sizeof a, m = sizeof b;
    if (getsockname(l->fd, (struct sockaddr *)&a, &n) ||
        getpeername(l->fd, (struct sockaddr *)&b, &m) || a.ss_family != b.ss_family)
        return false;
    if (a.ss_family == AF_INET)
        return ((struct sockaddr_in *)&a)->sin_addr.s_addr ==
               ((struct sockaddr_in *)&b)->sin_addr.s_addr;
    return a.ss_family == AF_INET6 && !memcmp(&((struct sockaddr_in6 *)&a)->sin6_addr,
                                              &((struct sockaddr_in6 *)&b)->sin6_addr, 16);
}

static bool open_tcp(struct kdb_link *l, const char *host, const char *port, int64_t until,
                     struct err *err)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    int e = getaddrinfo(*host ? host : "127.0.0.1", port, &want, &list);
    if (e) {
        want.ai_flags = AI_NUMERICHOST; /* a host with loopback only has no ADDRCONFIG */
        e = getaddrinfo(*host ? host : "127.0.0.1", port, &want, &list);
    }
    if (e)
        return err_set(err, -ENOENT, "%s", gai_strerror(e));
    bool ok = false;
    for (struct addrinfo *a = list; a && !ok; a = a->ai_next)
        ok = connect_to(l, a->ai_addr, a->ai_addrlen, until, err);
    freeaddrinfo(list);
    if (ok) {
        watch(l);
        l->local = same_host(l);
    }
    return ok;
}

static bool open_unix(struct kdb_link *l, const char *path, int64_t until, struct err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return err_set(err, -ENAMETOOLONG, "the path is longer than %zu bytes",
                       sizeof a.sun_path - 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    l->local = true;
    return connect_to(l, (struct sockaddr *)&a, sizeof a, until, err);
}

bool kdb_link_send(struct kdb_link *l, int64_t timeout_ns, struct err *err)
{
    int64_t until = clock_monotonic() + timeout_ns;
    bool ok = !l->out.failed;
    for (size_t at = 0; ok && at < l->out.len;) {
        ssize_t n = send(l->fd, l->out.data + at, l->out.len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR && (errno != EAGAIN || !wait_ready(l, POLLOUT, until)))
            ok = err_set(err, -errno, "cannot send: %s", strerror(errno));
    }
    l->out.len = 0;
    l->out.failed = false;
    return ok;
}

static enum kdb_link_verdict fill(struct kdb_link *l, int64_t until, struct err *err)
{
    size_t room, wants = kdb_session_wants(&l->session);
    uint8_t *to = kdb_session_room(&l->session, wants > READ_ROOM ? wants : READ_ROOM, &room);
    if (!to) {
        err_set(err, -ENOMEM, "no memory for its message");
        return KDB_LINK_GONE;
    }
    for (;;) {
        ssize_t n = recv(l->fd, to, room, 0);
        if (n > 0) {
            kdb_session_took(&l->session, (size_t)n);
            return KDB_LINK_MESSAGE;
        }
        if (!n) {
            err_set(err, -EPIPE, "it closed the connection");
            return KDB_LINK_GONE;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            err_set(err, -errno, "%s", strerror(errno));
            return KDB_LINK_GONE;
        }
        if (!wait_ready(l, POLLIN, until))
            return KDB_LINK_NOTHING;
    }
}

static enum kdb_link_verdict next_event(struct kdb_link *l, struct kdb_event *e, int64_t wait_ns,
                                        struct err *err)
{
    int64_t until = clock_monotonic() + wait_ns;
    while (kdb_session_next(&l->session, e) == KDB_EVENT_MORE) {
        enum kdb_link_verdict v = fill(l, until, err);
        if (v != KDB_LINK_MESSAGE)
            return v;
    }
    if (e->kind == KDB_EVENT_HOSTILE) {
        err_set(err, -EBADMSG, "it sent what is no kdb+ message: %s", e->why);
        return KDB_LINK_GONE;
    }
    return KDB_LINK_MESSAGE;
}

enum kdb_link_verdict kdb_link_next(struct kdb_link *l, struct kdb_received *m, int64_t wait_ns,
                                    struct err *err)
{
    struct kdb_event e;
    enum kdb_link_verdict v = next_event(l, &e, wait_ns, err);
    if (v == KDB_LINK_MESSAGE)
        *m = e.message;
    return v;
}

bool kdb_link_answer(struct kdb_link *l, const char *what, struct kdb_received *m,
                     int64_t timeout_ns, struct err *err)
{
    int64_t until = clock_monotonic() + timeout_ns;
    if (!kdb_link_send(l, timeout_ns, err))
        return false;
    do {
        enum kdb_link_verdict v = kdb_link_next(l, m, until - clock_monotonic(), err);
        if (v == KDB_LINK_GONE)
            return false;
        if (v == KDB_LINK_NOTHING)
            return err_set(err, -ETIMEDOUT, "it does not answer %s", what);
    } while (m->kind != KDB_RESPONSE);
    return true;
}

static bool login(struct kdb_link *l, const char *user, const char *password, int64_t timeout_ns,
                  struct err *err)
{
    static const struct kdb_limits limits = {.message = KDB_BYTES_MAX};
    struct kdb_event e;
    kdb_session_start(&l->session, KDB_CLIENT, &limits);
    l->in_session = true;
    l->out.len = 0;
    if (!kdb_login_write(&l->out, user, password))
        return err_set(err, -EINVAL, "user or password is no login");
    if (!kdb_link_send(l, timeout_ns, err))
        return false;
    enum kdb_link_verdict v = next_event(l, &e, timeout_ns, err);
    if (v == KDB_LINK_MESSAGE)
        return true;
    return err_set(err, -EACCES,
                   v == KDB_LINK_NOTHING ? "it does not answer the login"
                                         : "it refuses the login of user %s",
                   user);
}

bool kdb_link_open(struct kdb_link *l, const char *address, const char *user, int64_t timeout_ns,
                   struct err *err)
{
    char text[KDB_LINK_ADDRESS], *part[4] = {text};
    unsigned n = 0;
    int64_t until = clock_monotonic() + timeout_ns;
    bool ok;
    l->fd = -1;
    l->local = false;
    if (*address == '/' || !strncmp(address, "unix:", 5)) {
        ok = open_unix(l, *address == '/' ? address : address + 5, until, err);
    } else {
        snprintf(text, sizeof text, "%s", address + (*address == ':'));
        for (char *p = text; *p && n < 3; p++)
            if (*p == ':') {
                *p = 0;
                part[++n] = p + 1;
            }
        if (!n || !*part[1])
            return err_set(err, -EINVAL, "%.60s is no HOST:PORT and no /PATH", address);
        ok = open_tcp(l, part[0], part[1], until, err);
    }
    if (ok && !login(l, n >= 2 ? part[2] : user, n == 3 ? part[3] : "", timeout_ns, err)) {
        kdb_link_close(l);
        return false;
    }
    return ok;
}

void kdb_link_close(struct kdb_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (l->in_session)
        kdb_session_free(&l->session);
    l->in_session = false;
}
