/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes into the control socket, in pieces whose sizes the first byte chooses: whatever comes
 * back is lines of JSON with an `ok`, and the server lives on.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include "tests/support/cmd_double.h"

static struct socket *server;

static void finish(void)
{
    socket_close(server);
}

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pst_must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

/* Reads what is there; true while the connection lives. */
static bool drain(int fd, char *buf, size_t *n)
{
    for (;;) {
        ssize_t k = recv(fd, buf + *n, (1 << 20) - *n, MSG_DONTWAIT);
        if (k <= 0)
            return k < 0 && errno == EAGAIN;
        *n += (size_t)k;
        char *nl;
        while ((nl = memchr(buf, '\n', *n))) {
            json_t *r = json_loadb(buf, (size_t)(nl - buf), 0, NULL);
            pst_must(r && json_is_boolean(json_object_get(r, "ok")));
            json_decref(r);
            *n -= (size_t)(nl - buf) + 1;
            memmove(buf, nl + 1, *n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64], answers[1 << 20];
    struct err err;
    if (!server) {
        snprintf(path, sizeof path, "/tmp/fuzz_socket.%d", (int)getpid());
        atexit(finish);
        server = socket_open(
            &(struct socket_config){.path = path, .group = (gid_t)-1, .level = double_level_of},
            &err);
        pst_must(server);
    }
    size_t piece = size ? 1 + data[0] * 16u : 1, n = 0;
    double_acknowledged = size & 1;
    int fd = dial(path);
    bool alive = true;
    for (size_t at = 1; alive && at < size; at += piece) {
        size_t k = size - at < piece ? size - at : piece;
        if (send(fd, data + at, k, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        socket_poll(server, 0);
        socket_poll(server, 0);
        socket_finish(server);
        alive = drain(fd, answers, &n);
    }
    close(fd);
    for (int i = 0; i < 4; i++)
        socket_poll(server, 0);
    pst_must(socket_clients(server) == 0);
    return 0;
}
