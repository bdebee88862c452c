/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_wire.h - what penstockd's loader and a penstock-load process say to each other, in the
 * packets of worker_wire.h; bodies are JSON. The worker never sends a descriptor: results that are
 * large lie in files (save.h, index.h).
 *
 *   worker                                  penstockd
 *     HELLO  text: version           ─►
 *                                    <─  ATTACH  {"name","memory","directories","plugins",…}
 *     READY  {"plugins":[…]}         ─►
 *                                    <─  RUN     {"task":"read","args":{…}}   id = taskID
 *     BEAT   {"rows","bytes","total","mb"}   ─►  once a second while a task runs
 *                                    <─  STOP                                 ends the task soon
 *     DONE   {"success":true,"mb":n,"seconds":x,"result":{…}}          ─►  "in_file":true instead
 *                                              of a result that is too large: <dir>/result.json
 *     DONE   {"success":false,"mb":n,"seconds":x,"error":"…","code":n,"retryable":b}  ─►
 *     LOG    text                    ─►  at most 10 a second; the receiver limits too
 *
 * One task at a time; messages of a task that is over are ignored. THE WORKER IS HOSTILE to
 * penstockd: it runs foreign code and reads foreign files. load_beat_parse and load_done_parse
 * check every member; paths in a result are built by penstockd from its own names, never taken.
 * penstockd is trusted by the worker. THREADS: as worker_wire.h.
 *
 * ATTACH: {"name": "w1", "memory": bytes (RLIMIT_DATA; 0 = none), "directories": [those below which
 * it may write], "plugins": [files], "log": true}.
 */
#pragma once

#include <jansson.h>
#include "worker_wire.h"

#define LOAD_WIRE_MAGIC   0x4C545350u /* "PSTL" */
#define LOAD_WIRE_VERSION 1u
#define LOAD_WIRE_ERROR   1000u /* bytes of an error's sentence, at most */

/* X(ID, sender: W worker or D daemon, most body bytes, most descriptors) */
#define LOAD_WIRE_TYPES(X)                                                                         \
    X(HELLO, 'W', 64, 0)                                                                           \
    X(READY, 'W', WIRE_INLINE, 0)                                                                  \
    X(BEAT, 'W', 512, 0)                                                                           \
    X(DONE, 'W', WIRE_INLINE, 0)                                                                   \
    X(LOG, 'W', 512, 0)                                                                            \
    X(ATTACH, 'D', WIRE_LARGE, 1)                                                                  \
    X(RUN, 'D', WIRE_LARGE, 1)                                                                     \
    X(STOP, 'D', 0, 0)

enum load_wire_type {
    LOAD_WIRE_NONE,
#define X(ID, sender, most, fds) LOAD_WIRE_##ID,
    LOAD_WIRE_TYPES(X)
#undef X
        LOAD_WIRE_END
};

extern const struct wire_protocol
    load_wire; /* the worker is 'W'; an id is a taskID, 0 = of no task */

static inline const char *load_wire_check(const void *packet, size_t bytes, unsigned nfds,
                                          char sender)
{
    return worker_check(&load_wire, packet, bytes, nfds, sender);
}
static inline int load_wire_receive(int fd, char sender, struct wire_message *m, bool *closed,
                                    struct err *err)
{
    return worker_receive(&load_wire, fd, sender, m, closed, err);
}
static inline bool load_wire_send(int fd, enum load_wire_type type, uint64_t id, const void *body,
                                  size_t length, struct err *err)
{
    return worker_send(&load_wire, fd, type, id, 0, body, length, NULL, 0, err);
}

/* ---- bodies ---- */

struct load_beat {
    uint64_t rows, bytes, total;
    uint64_t heap; /* bytes; "mb" on the wire has one decimal (MB are 1e6 bytes) */
};
struct load_done {
    bool success, retryable;
    int code;      /* -errno, 0 when it succeeded */
    uint64_t heap; /* the most it held */
    double seconds;
    char error[LOAD_WIRE_ERROR]; /* one line, printable */
    json_t
        *result; /* an object, the caller's (json_decref); NULL without success, or in its file */
};
bool load_beat_parse(struct load_beat *b, const char *body, size_t n, struct err *err);
bool load_done_parse(struct load_done *d, const char *body, size_t n, struct err *err);
/* Printed into out; the length. */
size_t load_beat_print(const struct load_beat *b, char out[512]);
/* malloc'd; borrows d->result, which it leaves out when it is too large for the wire. */
char *load_done_print(const struct load_done *d);
