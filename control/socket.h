/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - the control socket: a unix stream socket, JSON lines both ways, mode 0660 from the
 * moment it exists (umask around bind), peer credentials checked at accept.
 *
 * A line may announce bytes that follow it (cmd_tail: append): they are taken whole before the
 * request runs, into a buffer of the connection's own, for SOCKET_TAILS connections of level
 * operate and more; who does not send them within APPEND_PATIENCE_NS is disconnected.
 *
 * Limits: SOCKET_CLIENTS connections, requests of SOCKET_LINE bytes, replies queued up to
 * SOCKET_QUEUE bytes, SOCKET_IDLE_NS without a complete request closes a connection. What a client
 * sends beyond these closes that connection with one line, counted; nothing else is touched.
 *
 * Thread: control only. socket_poll waits at most timeout_ms and serves what is ready.
 */
#pragma once

#include <sys/types.h>
#include "cmd.h"

#define SOCKET_CLIENTS 256
#define SOCKET_TAILS   64
#define SOCKET_LINE    (64u * 1024)
#define SOCKET_QUEUE   (16u << 20)
#define SOCKET_IDLE_NS (600ll * 1000000000)

struct socket;
struct socket_config {
    const char *path;
    gid_t group; /* (gid_t)-1 = leave */
    struct daemon *daemon;
    enum level (*level)(struct daemon *, uid_t uid, gid_t gid, pid_t pid);
};

struct sockaddr_un;
/* Binds a unix socket, mode 0660, of `group` (-1: the process's); at no moment with wider rights.
 * errno or 0; *bound: its file is there. */
int socket_bind(int fd, const struct sockaddr_un *a, gid_t group, bool *bound);
struct socket *socket_open(const struct socket_config *, struct err *err);
void socket_close(struct socket *);
int socket_poll(struct socket *, int timeout_ms);
/* Makes socket_poll return when fd becomes readable; it is not read. For the socket's life. */
bool socket_watch(struct socket *, int fd);
/* Answers the requests that waited for the journal and whose time has come. */
int socket_finish(struct socket *);
unsigned socket_clients(const struct socket *);
/* Requests that wait for the journal: poll with a short timeout while there are any. (Those that
 * wait for a query need none: its end wakes the poll.) */
unsigned socket_waiting(const struct socket *);
