/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h - one message to consumers: the bytes of a whole kdb+ IPC message (header and object,
 * KDB_ASYNC), shared by all consumers that get the same, and what a queue wants to know of it.
 *
 * Immutable from the moment it is handed to the first consumer; any thread may read it while it
 * holds a reference. References are atomic: the last release frees it, on whatever thread that is.
 * Order: every drop is acquire and release (M1, its own pair), so that no read of another holder
 * comes after the free.
 *
 * MEMORY. message_bytes() is what all messages of the process hold now, headers included: what the
 * server's budget is checked against, and what shows a leak.
 */
#pragma once

#include "core/atomics.h"
#include "core/base.h"

enum message_kind {
    MESSAGE_ROWS,   /* upd: rows of one table, or of several (multi_publish) */
    MESSAGE_MARK,   /* .u.end, .u.eoi, .dm.buff.start, .dm.buff.end */
    MESSAGE_NOTICE, /* .pst.notice */
    MESSAGE_FRAMES, /* .pst.frames: one frame; a consumer stands exactly at `first` before it */
    MESSAGE_REPLY,  /* a response; not the fan-out's */
    MESSAGE_STREAM  /* of a streaming analytic: `first` is the face's number (stream_hub.h) */
};

struct message {
    _Atomic uint32_t references;
    uint8_t kind;  /* enum message_kind */
    uint32_t rows; /* in all its tables */
    uint32_t len;  /* of data */
    /* Its rows stand in frames from `first` on; all that its consumer is to get below `end` has
     * come with it (the frame at `end` may have begun to come: versions of a table change in it).
     */
    uint64_t first, end;
    int64_t time; /* of the last of those frames, UTC ns since 2000 */
    pst_aligned(8) uint8_t data[];
};

/* With one reference, len set, data not; the rest is zero. NULL: no memory. */
struct message *message_new(size_t len);
/* The bytes of a finished object or message, copied. NULL: no memory. */
struct message *message_copy(const void *data, size_t len, enum message_kind kind);
struct kdb_out;
/* A whole message of `o` (made: it went well); o is freed. NULL: it did not, or no memory. */
struct message *message_made(struct kdb_out *o, bool made, enum message_kind kind);

pst_inline struct message *message_hold(struct message *m)
{
    atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
    return m;
}
void message_release(struct message *m); /* NULL is fine */

uint64_t message_bytes(void);
