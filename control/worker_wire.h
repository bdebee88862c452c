/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_wire.h - packets between penstockd and a process that runs foreign text, files or code
 * (penstock-query: query_wire.h; penstock-load: load_wire.h), over one socketpair of SEQPACKET
 * type: a message is one packet, a header of 32 bytes and a body of `length` bytes. Little endian.
 * A body beyond WIRE_INLINE comes as a sealed memfd instead (WIRE_IN_FD), which is then the
 * message's last descriptor; only the daemon may send one.
 *
 * The process is hostile to penstockd: worker_receive checks magic, version, type, length and the
 * number of descriptors against the protocol's one table, and every other thing it says is checked
 * where it is used. penstockd is trusted by the process.
 *
 * Any thread; a socket has one sender and one receiver.
 */
#pragma once

#include "core/base.h"

#define WIRE_INLINE (48u * 1024)
#define WIRE_LARGE  (64u << 20) /* of a body in a memfd */
#define WIRE_FDS    6u
#define WIRE_DAEMON 'D' /* the sender's letter; the process's is the protocol's */

struct wire_kind {
    char sender;
    uint32_t most; /* bytes of its body */
    unsigned fewest_fds, most_fds;
};
struct wire_protocol {
    const char *process; /* "penstock-query" */
    uint32_t magic;
    uint16_t version, types; /* types: those below it exist, 0 does not */
    const struct wire_kind *kind;
};

enum { WIRE_IN_FD = 1 }; /* flags */

struct wire_header {
    uint32_t magic;
    uint16_t version, type;
    uint32_t flags, length; /* of the body, wherever it is */
    uint64_t id;            /* of the query or task; messages of one that is over are ignored */
    uint64_t value;         /* what it means is the type's */
};
_Static_assert(sizeof(struct wire_header) == 32, "a message starts with 32 bytes");

struct wire_message {
    struct wire_header head;
    const char *body; /* head.length bytes and a NUL after them */
    int fds[WIRE_FDS];
    unsigned nfds;
    /* owner: worker_receive, wire_free */
    uint8_t *packet;
    void *map;
    size_t mapped;
};

/* Checks a packet of `bytes` bytes with nfds descriptors from `sender`: NULL, or the reason it is
 * refused. Touches no descriptor. */
const char *worker_check(const struct wire_protocol *p, const void *packet, size_t bytes,
                         unsigned nfds, char sender);

/* Takes one message. 1: *m is filled (wire_free it). 0: nothing there (non-blocking socket), or the
 * peer closed (*closed). -1: err says what broke the protocol. */
int worker_receive(const struct wire_protocol *p, int fd, char sender, struct wire_message *m,
                   bool *closed, struct err *err);
void wire_free(struct wire_message *m); /* closes descriptors that are still in fds (>= 0) */

/* Sends one message; descriptors stay the caller's. False: err; -EAGAIN: the socket is full,
 * -EPIPE: the peer is gone. */
bool worker_send(const struct wire_protocol *p, int fd, unsigned type, uint64_t id, uint64_t value,
                 const void *body, size_t length, const int *fds, unsigned nfds, struct err *err);
