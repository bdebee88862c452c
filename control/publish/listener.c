/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "publish/listener.h"
#include "socket.h"

static int failed(int fd, struct err *err, const char *what, const char *at)
{
    int e = errno;
    if (fd >= 0)
        close(fd);
    err_set(err, -e, "%s: %s: %s", at, what, strerror(e));
    return -1;
}

int listener_tcp(const char *address, unsigned port, struct err *err)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool six = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
    char at[80];
    int on = 1;
    snprintf(at, sizeof at, six ? "[%s]:%u" : "%s:%u", address, port);
    if (!six && inet_pton(AF_INET, address, &v4.sin_addr) != 1) {
        err_set(err, -EINVAL, "%s is no IPv4 or IPv6 address", address);
        return -1;
    }
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(fd, err, "socket", at);
    /* Connections of before that are in TIME_WAIT do not keep a restart from its port. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        return failed(fd, err, "socket", at);
    const struct sockaddr *sa = six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    if (bind(fd, sa, six ? sizeof v6 : sizeof v4))
        return failed(fd, err, "cannot bind", at);
    if (listen(fd, LISTENER_BACKLOG))
        return failed(fd, err, "cannot listen", at);
    return fd;
}

/* Is somebody there? */
static bool answers(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && (!connect(fd, (const struct sockaddr *)sa, sizeof *sa) ||
                             errno == EAGAIN || errno == EINPROGRESS);
    if (fd >= 0)
        close(fd);
    return there;
}

int listener_unix(const char *path, gid_t group, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof sa.sun_path) {
        err_set(err, -ENAMETOOLONG, "%s: longer than a socket's path may be (%zu)", path,
                sizeof sa.sun_path - 1);
        return -1;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (!lstat(path, &st)) {
        if (!S_ISSOCK(st.st_mode)) {
            err_set(err, -EEXIST, "%s is there and no socket; move it away", path);
            return -1;
        }
        if (answers(&sa)) {
            err_set(err, -EADDRINUSE, "%s: another process listens there", path);
            return -1;
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(fd, err, "socket", path);
    bool bound;
    if (socket_bind(fd, &sa, group, &bound))
        return failed(fd, err, bound ? "cannot give it to socket_group" : "cannot bind", path);
    if (listen(fd, LISTENER_BACKLOG))
        return failed(fd, err, "cannot listen", path);
    return fd;
}
