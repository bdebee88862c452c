/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_wire.h - what penstockd and a penstock-query process say to each other, over one socketpair
 * of SEQPACKET type: a message is one packet, a header of 32 bytes and a body of `length` bytes.
 * Little endian. A body beyond WIRE_INLINE comes as a sealed memfd instead (WIRE_IN_FD), which is
 * then the message's last descriptor.
 *
 *   process                                 penstockd
 *     HELLO  version, pid            ─►
 *                                    <─  ATTACH  JSON: limits, plugins, database; descriptors
 *     READY  JSON: plugins loaded    ─►
 *                                    <─  QUERY   JSON; descriptor: an empty memfd for the result
 *     CUT_WANTED                     ─►                                       any number of times
 *                                    <─  CUT     struct cut (core/cut.h), or CUT_REFUSED
 *     LOADER_WANTED                  ─►                                       when it names pst_…
 *                                    <─  LOADER  JSON: the loader's tables, or {"error"}
 *                                    <─  CANCEL  u32: enum wire_cancel        at any time
 *     RESULT JSON: facts; u64 bytes  ─►       | FAILED  JSON: error
 *                                    <─  PLUGIN  JSON: load or unload (between queries)
 *     PLUGIN_DONE JSON               ─►
 *     LOG    text                    ─►       rate-limited by the receiver
 *
 * `id` is the query's; messages of a query that has ended are ignored. The process is hostile to
 * penstockd: wire_receive checks magic, version, type, length and the number of descriptors against
 * one table, and every other thing it says is checked where it is used. penstockd is trusted by the
 * process.
 *
 * QUERY: {"sql": TEXT or "call": NAME, "params": {NAME: TEXT…} or [TEXT…],
 * "max_rows": n, "max_bytes": n, "timeout_ms": n}. For kdb+ clients also "kind": "sql", "call",
 * "count", "snap", "keyed" or "snapshot", the last four with "tables", "syms": [TEXT…], "where":
 * SQL, "columns": SQL, "stripe", "stripes": n instead of sql and call; "tier": "rdb" or "hdb";
 * "may_read" and "may_call": [NAME…], absent: everything; "local": timestamps as ATTACH's zone has
 * them. The result is then kdb+ messages (query_kdb.h). FAILED: {"error": sentence, "code": -errno,
 * "line": n, "column": n (both from 1, absent when it has no place in the text)}. RESULT: the facts
 * of query_result.h beside the memfd, which the process has filled and sealed. Both have "memory":
 * the most bytes that the query's arena held at once.
 */
#pragma once

#include "worker_wire.h"

#define WIRE_MAGIC   0x51545350u /* "PSTQ" */
#define WIRE_VERSION 1u

/* X(ID, sender: P process or D daemon, most body bytes, least and most descriptors) */
#define WIRE_TYPES(X)                                                                              \
    X(HELLO, 'P', 64, 0, 0)                                                                        \
    X(READY, 'P', WIRE_INLINE, 0, 0)                                                               \
    X(LOADER_WANTED, 'P', 0, 0, 0)                                                                 \
    X(CUT_WANTED, 'P', 0, 0, 0)                                                                    \
    X(RESULT, 'P', WIRE_INLINE, 0, 0)                                                              \
    X(FAILED, 'P', 8192, 0, 0)                                                                     \
    X(PLUGIN_DONE, 'P', WIRE_INLINE, 0, 0)                                                         \
    X(LOG, 'P', 512, 0, 0)                                                                         \
    X(ATTACH, 'D', WIRE_LARGE, 0, 5)                                                               \
    X(QUERY, 'D', WIRE_LARGE, 1, 2)                                                                \
    X(CUT, 'D', WIRE_LARGE, 0, 1)                                                                  \
    X(LOADER, 'D', WIRE_LARGE, 0, 1)                                                               \
    X(CUT_REFUSED, 'D', 1024, 0, 0)                                                                \
    X(CANCEL, 'D', 64, 0, 0)                                                                       \
    X(PLUGIN, 'D', WIRE_INLINE, 0, 0)

enum wire_type {
    WIRE_NONE,
#define X(ID, sender, most, fewest_fds, most_fds) WIRE_##ID,
    WIRE_TYPES(X)
#undef X
        WIRE_TYPE_END
};
enum wire_cancel { WIRE_CANCEL_CLIENT = 1, WIRE_CANCEL_TIMEOUT, WIRE_CANCEL_KILL };

extern const struct wire_protocol query_wire; /* the process is 'P' */

static inline const char *wire_check(const void *packet, size_t bytes, unsigned nfds, char sender)
{
    return worker_check(&query_wire, packet, bytes, nfds, sender);
}
static inline int wire_receive(int fd, char sender, struct wire_message *m, bool *closed,
                               struct err *err)
{
    return worker_receive(&query_wire, fd, sender, m, closed, err);
}
static inline bool wire_send(int fd, enum wire_type type, uint64_t id, uint64_t value,
                             const void *body, size_t length, const int *fds, unsigned nfds,
                             struct err *err)
{
    return worker_send(&query_wire, fd, type, id, value, body, length, fds, nfds, err);
}
