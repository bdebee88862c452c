/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <glob.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "socket_client.h"

#define REPLY_MAX (64u << 20)

bool client_open(struct client_conn *c, const char *path, struct err *err)
{
    memset(c, 0, sizeof *c);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    c->fd = -1;
    if (strlen(path) >= sizeof a.sun_path)
        return err_set(err, -ENAMETOOLONG, "socket path %s is too long", path);
    strcpy(a.sun_path, path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a)) {
        int e = errno;
        if (c->fd >= 0)
            close(c->fd);
        c->fd = -1;
        if (e == EACCES)
            return err_set(err, -e, "not allowed to use %s: join the group that owns it (ls -l)",
                           path);
        return err_set(err, -e,
                       "no penstockd answers at %s (%s): is it running? --socket names another",
                       path, strerror(e));
    }
    struct timeval tv = {60, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return true;
}

void client_patience(struct client_conn *c, int seconds)
{
    struct timeval tv = {seconds, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

void client_close_conn(struct client_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->buf);
    c->fd = -1;
    c->buf = NULL;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static ssize_t receive(struct client_conn *c)
{
    if (c->len == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 65536;
        char *p = cap <= REPLY_MAX ? realloc(c->buf, cap) : NULL;
        if (!p)
            return -1;
        c->buf = p;
        c->cap = cap;
    }
    struct iovec v = {c->buf + c->len, c->cap - c->len};
    union {
        char buf[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } u;
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
    ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n;
    c->len += (size_t)n;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
            c->nfds = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(c->fds, CMSG_DATA(h), c->nfds * sizeof(int));
        }
    return n;
}

bool client_send(struct client_conn *c, const char *cmd, json_t *args, const void *tail,
                 size_t tail_bytes, struct err *err)
{
    json_t *request = json_pack("{s:s,s:o}", "cmd", cmd, "args", args);
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    size_t n = text ? strlen(text) : 0;
    if (text)
        text[n] = '\n';
    bool sent = text && send_all(c->fd, text, n + 1) && send_all(c->fd, tail, tail_bytes);
    free(text);
    c->len = 0;
    c->nfds = 0;
    return sent ||
           err_set(err, -EPIPE, "penstockd closed the connection without an answer to '%s'", cmd);
}

json_t *client_receive(struct client_conn *c, const char *cmd, struct err *err)
{
    char *nl;
    while (!(nl = c->len ? memchr(c->buf, '\n', c->len) : NULL)) {
        ssize_t k = receive(c);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
    }
    json_error_t je;
    json_t *reply = nl ? json_loadb(c->buf, (size_t)(nl - c->buf), 0, &je) : NULL;
    if (!reply)
        err_set(err, -EPIPE, "penstockd closed the connection without an answer to '%s'", cmd);
    return reply;
}

json_t *client_call(struct client_conn *c, const char *cmd, json_t *args, struct err *err)
{
    return client_send(c, cmd, args, NULL, 0, err) ? client_receive(c, cmd, err) : NULL;
}

void client_socket_of(const char *to, const char *own, char *buf, size_t cap)
{
    const char *slash = strrchr(own, '/');
    if (strchr(to, '/'))
        snprintf(buf, cap, "%s", to);
    else
        snprintf(buf, cap, "%.*s%s.sock", slash ? (int)(slash - own) + 1 : 0, own, to);
}

bool client_unknown_instance(const char *to, const char *socket, struct err *err)
{
    if (!to || strchr(to, '/') || (err->code != -ENOENT && err->code != -ECONNREFUSED) ||
        !access(socket, F_OK))
        return false;
    const char *slash = strrchr(socket, '/');
    char dir[200];
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - socket) : 1, slash ? socket : ".");
    err_set(err, err->code,
            "no penstockd answers at %s, which is not there: an instance named %s is looked for in "
            "%s, beside the socket used else; if its control_socket is another, give its path: "
            "--to /dir/file.sock",
            socket, to, dir);
    return true;
}

const char *client_default_socket(char *buf, size_t cap)
{
    glob_t g;
    snprintf(buf, cap, "/run/penstock/penstock.sock");
    if (!glob("/run/penstock/*.sock", 0, NULL, &g)) {
        if (g.gl_pathc == 1)
            snprintf(buf, cap, "%s", g.gl_pathv[0]);
        globfree(&g);
    }
    return buf;
}
