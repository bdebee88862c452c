/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - what penstockd's loader and a penstock-load process say to each other, over one
 * socketpair of SEQPACKET type: a message is one packet, a header of 32 bytes and a body of
 * `length` bytes of JSON. Little endian. A body of the daemon beyond LOAD_WIRE_INLINE comes as a
 * sealed memfd instead (LOAD_WIRE_IN_FD), the packet's only descriptor. The worker never sends a
 * descriptor: results that are large lie in files (save.h, index.h).
 *
 *   worker                                  penstockd
 *     HELLO  text: version           ─►
 *                                    <─  ATTACH  {"name","memory","directories","plugins",…}
 *     READY  {"plugins":[…]}         ─►
 *                                    <─  RUN     {"task":"read","args":{…}}   id = taskID
 *     BEAT   {"rows","bytes","total","mb"}   ─►  once a second while a task runs
 *                                    <─  STOP                                 ends the task soon
 *     DONE   {"success":true,"mb":n,"seconds":x,"result":{…}}
 *         or {"success":false,"mb":n,"seconds":x,"error":"…","code":n,"retryable":b}   ─►
 *     LOG    text                    ─►  at most 10 a second; the receiver limits too
 *
 * One task at a time; messages of a task that is over are ignored. THE WORKER IS HOSTILE to
 * penstockd: it runs foreign code and reads foreign files. load_wire_receive checks magic, version,
 * type, length and the number of descriptors against one table; load_beat_parse and load_done_parse
 * check every member; paths in a result are built by penstockd from its own names, never taken.
 * penstockd is trusted by the worker.
 *
 * ATTACH: {"name": "w1", "memory": bytes (RLIMIT_DATA; 0 = none), "directories": [those below which
 * it may write], "plugins": [files], "log": true}.
 *
 * Owner of a message: load_wire_receive, load_wire_free. Any thread; a socket has one sender and
 * one receiver.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

#define LOAD_WIRE_MAGIC   0x4C545350u /* "PSTL" */
#define LOAD_WIRE_VERSION 1u
#define LOAD_WIRE_INLINE  (48u * 1024)
#define LOAD_WIRE_LARGE   (64u << 20)
#define LOAD_WIRE_ERROR   1000u /* bytes of an error's sentence, at most */

/* X(ID, sender: W worker or D daemon, most body bytes) */
#define LOAD_WIRE_TYPES(X)                                                                         \
    X(HELLO, 'W', 64)                                                                              \
    X(READY, 'W', LOAD_WIRE_INLINE)                                                                \
    X(BEAT, 'W', 512)                                                                              \
    X(DONE, 'W', LOAD_WIRE_INLINE)                                                                 \
    X(LOG, 'W', 512)                                                                               \
    X(ATTACH, 'D', LOAD_WIRE_LARGE)                                                                \
    X(RUN, 'D', LOAD_WIRE_LARGE)                                                                   \
    X(STOP, 'D', 0)

enum load_wire_type {
    LOAD_WIRE_NONE,
#define X(ID, sender, most) LOAD_WIRE_##ID,
    LOAD_WIRE_TYPES(X)
#undef X
        LOAD_WIRE_END
};
enum { LOAD_WIRE_IN_FD = 1 }; /* flags */

struct load_wire_header {
    uint32_t magic;
    uint16_t version, type;
    uint32_t flags, length; /* of the body, wherever it is */
    uint64_t id;            /* taskID; 0 = of no task */
    uint64_t reserved;
};
_Static_assert(sizeof(struct load_wire_header) == 32, "a message starts with 32 bytes");

struct load_wire_message {
    struct load_wire_header head;
    const char *body; /* head.length bytes and a NUL after them */
    /* private */
    uint8_t *packet;
    void *map;
    size_t mapped;
};

/* Checks a packet with nfds descriptors from `sender` ('W', 'D'): NULL, or why it is refused. */
const char *load_wire_check(const void *packet, size_t bytes, unsigned nfds, char sender);
/* 1: *m is filled (load_wire_free it). 0: nothing there (non-blocking socket), or the peer closed
 * (*closed). -1: err says what broke the protocol: end the worker. */
int load_wire_receive(int fd, char sender, struct load_wire_message *m, bool *closed,
                      struct err *err);
void load_wire_free(struct load_wire_message *m);
/* False: err; -EAGAIN: the socket is full, -EPIPE: the peer is gone. */
bool load_wire_send(int fd, enum load_wire_type type, uint64_t id, const void *body, size_t length,
                    struct err *err);

/* ---- bodies ---- */

struct load_beat {
    uint64_t rows, bytes, total;
    uint64_t heap; /* bytes; "mb" on the wire has one decimal (LDR-01, 02: MB are 1e6 bytes) */
};
struct load_done {
    bool success, retryable;
    int code;      /* -errno, 0 when it succeeded */
    uint64_t heap; /* the most it held */
    double seconds;
    char error[LOAD_WIRE_ERROR]; /* one line, printable */
    json_t *result;              /* an object, the caller's (json_decref); NULL without success */
};
bool load_beat_parse(struct load_beat *b, const char *body, size_t n, struct err *err);
bool load_done_parse(struct load_done *d, const char *body, size_t n, struct err *err);
/* Printed into out; the length. */
size_t load_beat_print(const struct load_beat *b, char out[512]);
/* malloc'd; borrows d->result. A result too large for the wire makes it a failure that says so. */
char *load_done_print(const struct load_done *d);
