/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "append_wire.h"
#include "core/clock.h"
#include "daemon.h"
#include "socket.h"

struct client {
    int fd;
    struct peer peer;
    char *in; /* SOCKET_LINE + 1 */
    uint32_t in_len;
    char *out;
    size_t out_len, out_at, out_cap;
    int fds[4]; /* go with the byte at fds_at: the first of their reply */
    unsigned nfds;
    bool close_fds; /* ours: closed once sent */
    size_t fds_at;
    uint8_t *tail; /* APPEND_MAX, from the first request that has one */
    uint32_t tail_len, tail_need;
    json_t *tail_request; /* whose bytes are being read */
    int64_t tail_since;
    int64_t last;
    bool waiting; /* a request waits for the journal; further input is left in the kernel */
    struct cmd_request req;
    json_t *id;
    bool closing; /* close when the output is gone */
};

struct socket {
    int fd, epoll;
    struct socket_config c;
    char path[108];
    bool bound; /* the file at path is ours to remove */
    struct client *client[SOCKET_CLIENTS];
    unsigned n, tails;
};

int socket_bind(int fd, const struct sockaddr_un *a, gid_t group, bool *bound)
{
    /* No umask: it is the process's, and other threads make directories meanwhile. */
    *bound = !fchmod(fd, 0600) && !bind(fd, (const struct sockaddr *)a, sizeof *a);
    bool ok = *bound && (group == (gid_t)-1 || !chown(a->sun_path, (uid_t)-1, group)) &&
              !chmod(a->sun_path, 0660);
    return ok ? 0 : errno;
}

struct socket *socket_open(const struct socket_config *c, struct err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(c->path) >= sizeof a.sun_path) {
        err_set(err, -ENAMETOOLONG, "control socket path %s is longer than %zu bytes", c->path,
                sizeof a.sun_path - 1);
        return NULL;
    }
    strcpy(a.sun_path, c->path);
    struct socket *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, -ENOMEM, "control socket: no memory");
        return NULL;
    }
    s->c = *c;
    strcpy(s->path, c->path);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The instance lock is held: whatever lies at the path is a dead daemon's. */
    struct stat st;
    if (!lstat(c->path, &st) && S_ISSOCK(st.st_mode))
        unlink(c->path);
    int e = s->fd < 0 || s->epoll < 0 ? errno : socket_bind(s->fd, &a, c->group, &s->bound);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (!e && (listen(s->fd, 16) || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->fd, &ev)))
        e = errno;
    if (e) {
        err_set(err, -e, "control socket %s: %s; check run_directory and its owner", c->path,
                strerror(e));
        socket_close(s);
        return NULL;
    }
    return s;
}

static void fds_gone(struct client *c)
{
    for (unsigned i = 0; c->close_fds && i < c->nfds; i++)
        close(c->fds[i]);
    c->nfds = 0;
    c->close_fds = false;
}

static void client_close(struct socket *s, unsigned i)
{
    struct client *c = s->client[i];
    if (c->waiting)
        daemon_abandoned(s->c.daemon, &c->req);
    fds_gone(c);
    close(c->fd);
    json_decref(c->id);
    json_decref(c->req.later);
    json_decref(c->req.sent);
    json_decref(c->tail_request);
    s->tails -= c->tail != NULL;
    free(c->tail);
    free(c->in);
    free(c->out);
    free(c);
    s->client[i] = s->client[--s->n];
}

void socket_close(struct socket *s)
{
    if (!s)
        return;
    while (s->n)
        client_close(s, 0);
    if (s->bound)
        unlink(s->path);
    if (s->fd >= 0)
        close(s->fd);
    if (s->epoll >= 0)
        close(s->epoll);
    free(s);
}

static void client_say(struct client *c, const char *text, size_t len)
{
    if (c->out_len + len + 1 > c->out_cap) {
        size_t cap = c->out_cap ? c->out_cap : 4096;
        while (cap < c->out_len + len + 1)
            cap *= 2;
        char *p = cap <= SOCKET_QUEUE ? realloc(c->out, cap) : NULL;
        if (!p) {
            c->closing = true; /* a reader this slow gets no more */
            return;
        }
        c->out = p;
        c->out_cap = cap;
    }
    memcpy(c->out + c->out_len, text, len);
    c->out[c->out_len + len] = '\n';
    c->out_len += len + 1;
}

/* The descriptors of the request go with the reply that is said next. */
static void client_fds(struct client *c)
{
    c->nfds = c->req.nfds;
    c->close_fds = c->req.close_fds;
    c->fds_at = c->out_len;
    memcpy(c->fds, c->req.fds, sizeof c->fds);
}

static void client_reply(struct client *c, json_t *reply)
{
    char *text = json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    if (text)
        client_say(c, text, strlen(text));
    free(text);
}

/* Sends what it can; false when the peer is gone. */
static bool client_flush(struct client *c)
{
    while (c->out_at < c->out_len) {
        /* what stands before a reply with descriptors goes without them */
        bool with = c->nfds && c->out_at == c->fds_at;
        struct iovec v = {c->out + c->out_at,
                          (c->nfds && !with ? c->fds_at : c->out_len) - c->out_at};
        union {
            char buf[CMSG_SPACE(sizeof c->fds)];
            struct cmsghdr align;
        } u;
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
        if (with) {
            m.msg_control = u.buf;
            m.msg_controllen = CMSG_SPACE(c->nfds * sizeof(int));
            memset(&u, 0, sizeof u);
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(c->nfds * sizeof(int));
            memcpy(CMSG_DATA(h), c->fds, c->nfds * sizeof(int));
        }
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (with)
            fds_gone(c);
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return true;
}

static void client_refuse(struct client *c, const struct err *err)
{
    client_reply(c, cmd_reply(NULL, NULL, err));
}

static void client_run(struct socket *s, struct client *c, json_t *request, uint32_t tail)
{
    memset(&c->req, 0, sizeof c->req);
    c->req.daemon = s->c.daemon;
    c->req.peer = &c->peer;
    c->req.tail = tail ? c->tail : NULL;
    c->req.tail_bytes = tail;
    json_t *reply = cmd_run(&c->req, request);
    if (reply) {
        client_fds(c);
        client_reply(c, reply);
    } else {
        c->waiting = true;
        c->id = json_incref(json_object_get(request, "id"));
    }
}

/* The bytes behind this request's line come first. False: they are not wanted, and without them
 * nothing behind can be understood: the connection ends with one line. */
static bool tail_begin(struct socket *s, struct client *c, json_t *request, int64_t bytes)
{
    struct err err;
    bool fresh = !c->tail;
    if (bytes < 0)
        err_set(&err, -EBADMSG, "append: bytes is a multiple of 8 up to %u", APPEND_MAX);
    else if (c->peer.level < LEVEL_OPERATE)
        err_set(&err, -EACCES, "append needs level operate: see `access` in the configuration");
    else if (fresh && s->tails == SOCKET_TAILS)
        err_set(&err, -EBUSY, "append: %u connections append already", SOCKET_TAILS);
    else if (fresh && !(c->tail = aligned_alloc(64, APPEND_MAX)))
        err_set(&err, -ENOMEM, "append: no memory");
    else {
        s->tails += fresh;
        c->tail_need = (uint32_t)bytes;
        c->tail_len = 0;
        c->tail_request = json_incref(request);
        c->tail_since = clock_monotonic();
        return true;
    }
    client_refuse(c, &err);
    c->closing = true;
    return false;
}

static void client_request(struct socket *s, struct client *c, char *line, size_t len)
{
    json_error_t je;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(request)) {
        struct err err;
        err_set(&err, -EINVAL, "a request is one line of JSON: {\"cmd\": NAME, \"args\": [...]}");
        client_refuse(c, &err);
        json_decref(request);
        return;
    }
    int64_t tail = cmd_tail(request);
    if (tail)
        tail_begin(s, c, request, tail);
    else
        client_run(s, c, request, 0);
    json_decref(request);
}

static void tail_ends(struct socket *s, struct client *c)
{
    json_t *request = c->tail_request;
    c->tail_request = NULL;
    client_run(s, c, request, c->tail_len);
    json_decref(request);
}

/* Takes complete requests out of the buffer; stops at one that has to wait. */
static void client_lines(struct socket *s, struct client *c)
{
    uint32_t from = 0;
    while (!c->waiting && !c->closing && !c->nfds) {
        if (c->tail_request) {
            uint32_t n = c->in_len - from, need = c->tail_need - c->tail_len;
            n = n < need ? n : need;
            memcpy(c->tail + c->tail_len, c->in + from, n);
            c->tail_len += n;
            from += n;
            if (n < need)
                break;
            tail_ends(s, c);
        } else {
            char *nl = memchr(c->in + from, '\n', c->in_len - from);
            if (!nl)
                break;
            uint32_t len = (uint32_t)(nl - (c->in + from));
            if (len)
                client_request(s, c, c->in + from, len);
            from += len + 1;
        }
        c->last = clock_monotonic();
    }
    memmove(c->in, c->in + from, c->in_len - from);
    c->in_len -= from;
}

/* Straight into the tail: what was in the line buffer has gone there already. */
static bool tail_read(struct socket *s, struct client *c)
{
    while (c->tail_len < c->tail_need) {
        ssize_t n = recv(c->fd, c->tail + c->tail_len, c->tail_need - c->tail_len, MSG_DONTWAIT);
        if (n == 0)
            return false;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->tail_len += (uint32_t)n;
    }
    tail_ends(s, c);
    c->last = clock_monotonic();
    return true;
}

static bool client_read(struct socket *s, struct client *c)
{
    if (c->waiting || c->in_len == SOCKET_LINE) /* full: of lines that are held back */
        return true;
    if (c->tail_request)
        return tail_read(s, c);
    ssize_t n = recv(c->fd, c->in + c->in_len, SOCKET_LINE - c->in_len, MSG_DONTWAIT);
    if (n == 0)
        return false;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->in_len += (uint32_t)n;
    client_lines(s, c);
    if (c->in_len == SOCKET_LINE && !c->waiting && !c->nfds) {
        struct err err;
        err_set(&err, -E2BIG, "request longer than %u bytes", SOCKET_LINE);
        client_refuse(c, &err);
        c->closing = true;
    }
    return true;
}

static void socket_accept(struct socket *s)
{
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct ucred cred;
    socklen_t len = sizeof cred;
    struct client *c = s->n < SOCKET_CLIENTS ? calloc(1, sizeof *c) : NULL;
    if (c)
        c->in = malloc(SOCKET_LINE + 1);
    if (!c || !c->in || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
        static const char full[] = "{\"ok\":false,\"error\":\"too many connections to the control "
                                   "socket\",\"code\":-11}\n";
        if (send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            errno = 0; /* the peer is gone: nobody to tell */
        free(c ? c->in : NULL);
        free(c);
        close(fd);
        return;
    }
    c->fd = fd;
    c->peer = (struct peer){cred.uid, cred.gid, cred.pid, LEVEL_NONE};
    c->peer.level = s->c.level(s->c.daemon, cred.uid, cred.gid, cred.pid);
    c->last = clock_monotonic();
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev)) {
        close(fd);
        free(c->in);
        free(c);
        return;
    }
    s->client[s->n++] = c;
}

static void watch(struct socket *s, struct client *c)
{
    struct epoll_event ev = {.events = (c->waiting ? 0u : EPOLLIN) |
                                       (c->out_len > c->out_at ? EPOLLOUT : 0u),
                             .data.ptr = c};
    epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

int socket_poll(struct socket *s, int timeout_ms)
{
    struct epoll_event ev[32];
    int n = epoll_wait(s->epoll, ev, 32, timeout_ms);
    int64_t now = clock_monotonic();
    for (int k = 0; k < n; k++)
        if (!ev[k].data.ptr)
            socket_accept(s); /* a watched descriptor has s: the caller looks there */
    for (unsigned i = s->n; i-- > 0;) {
        struct client *c = s->client[i];
        bool alive = true;
        for (int k = 0; k < n; k++)
            if (ev[k].data.ptr == c) {
                if (ev[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                    alive = client_read(s, c);
                if (ev[k].events & (EPOLLHUP | EPOLLERR) && c->waiting)
                    alive = false;
            }
        alive = alive && client_flush(c);
        if (alive && c->in_len && !c->waiting &&
            !c->nfds) { /* lines held back behind descriptors */
            client_lines(s, c);
            alive = client_flush(c);
        }
        if (alive && c->closing && c->out_at == c->out_len)
            alive = false;
        if (alive && !c->waiting && now - c->last > SOCKET_IDLE_NS)
            alive = false;
        if (alive && c->tail_request && now - c->tail_since > APPEND_PATIENCE_NS)
            alive = false;
        if (!alive)
            client_close(s, i);
        else
            watch(s, c);
    }
    return n;
}

int socket_finish(struct socket *s)
{
    int done = 0;
    for (unsigned i = s->n; i-- > 0;) {
        struct client *c = s->client[i];
        struct err err = {0};
        if (!c->waiting || !daemon_acknowledged(s->c.daemon, &c->req, &err))
            continue;
        c->waiting = false;
        if (err.code) {
            json_decref(c->req.later);
            c->req.later = NULL;
        }
        client_fds(c);
        client_reply(c, cmd_reply(c->id, c->req.later, &err));
        c->req.later = NULL;
        json_decref(c->req.sent);
        c->req.sent = NULL;
        json_decref(c->id);
        c->id = NULL;
        c->last = clock_monotonic();
        client_lines(s, c);
        if (!client_flush(c))
            client_close(s, i);
        else
            watch(s, c);
        done++;
    }
    return done;
}

bool socket_watch(struct socket *s, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
    return !epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

unsigned socket_clients(const struct socket *s)
{
    return s->n;
}

unsigned socket_waiting(const struct socket *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++)
        n += s->client[i]->waiting && !s->client[i]->req.query;
    return n;
}
