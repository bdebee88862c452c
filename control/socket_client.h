/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket_client.h - the command line's end of the control socket. Blocking, with a deadline; one
 * thread.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct client_conn {
    int fd;
    char *buf;
    size_t len, cap;
    int fds[4]; /* descriptors that came with the last reply; the caller closes them */
    unsigned nfds;
};

/* False with err->code -ENOENT/-ECONNREFUSED when no daemon answers there. */
bool client_open(struct client_conn *c, const char *path, struct err *err);
/* How long client_call waits for bytes, in seconds; 0 = for ever. 60 at first. */
void client_patience(struct client_conn *c, int seconds);
void client_close_conn(struct client_conn *c);
/* Sends {"cmd","args"} and waits for the reply. Steals args. Returns the whole reply (new
 * reference), NULL when the daemon went away. */
json_t *client_call(struct client_conn *c, const char *cmd, json_t *args, struct err *err);

/* The halves of client_call: a line with what follows it, and the reply. One under way. */
bool client_send(struct client_conn *c, const char *cmd, json_t *args, const void *tail,
                 size_t tail_bytes, struct err *err);
json_t *client_receive(struct client_conn *c, const char *cmd, struct err *err);

/* The socket of an instance named `to`: a path as it is (there is a / in it), a name beside the
 * socket that would be used else. */
void client_socket_of(const char *to, const char *own, char *buf, size_t cap);
/* Behind a client_open of that socket that failed: where it was looked for and what to say instead.
 * True: err is that now. */
bool client_unknown_instance(const char *to, const char *socket, struct err *err);
/* The only *.sock in /run/penstock, or /run/penstock/penstock.sock when there is none or several.
 */
const char *client_default_socket(char *buf, size_t cap);
