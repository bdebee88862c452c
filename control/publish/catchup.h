/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catchup.h - the one thread of publishing that reads files: consumers that are behind the ring or
 * start in the past, and the live kdb+ log (kdb_live.h).
 *
 * A JOB serves one connection: a cursor from its position, a private fan-out with the connection's
 * subscriptions (each from its own position on), a window of JOB_WINDOW bytes of messages. When the
 * window is full the job waits for the publish thread to take some: memory is constant however far
 * behind the consumer is.
 *
 *   publish<N>                                   catchup
 *   job_start ────────────────────────────────►  cursor, fan-out; position known ─► started
 *   job_take  ◄── batches of messages ──────────  frames
 *             ◄── near: few bytes are left ─────  stands still
 *   the live stream joins: L = the lane's position; live messages from L on wait in `hold`
 *   job_join(L) ──────────────────────────────►   frames below L, what is held, done
 *   job_take  ◄── the last batch, done ─────────
 *   `hold` behind it; the consumer is live
 *
 * A batch becomes visible as a whole, with the position behind it: so a job may be given up at any
 * time (job_cancel) and the consumer's position is exact.
 *
 * CONFLATING jobs (policy conflate) hold their rows, the last of each symbol, and go on reading
 * until the consumer has nothing left to send; then join, and what was passed comes as one batch.
 *
 * EVENTS of the cursor (LOST, REWOUND) are notices in their place among the messages, for consumers
 * that know them.
 *
 * THREADS: a job has two owners, each with a reference; what both touch is under job->lock, never
 * held over I/O or the fan-out.
 */
#pragma once

#include <pthread.h>
#include "publish/connection.h"
#include "publish/inbox.h"
#include "storage/cursor.h"

#define JOB_WINDOW (1u << 20)
#define JOB_STEP   (256u << 10) /* bytes of journal a step */
#define JOB_NEAR   (256u << 10)

struct catchup;
struct daemon;
struct kdb_live;
struct server;

struct job_message {
    struct message *message;
    uint64_t before;
};
struct job {
    _Atomic uint32_t references;
    pthread_mutex_t lock;
    struct catchup *k;
    struct inbox *to; /* of the publish thread */
    uint64_t connection;
    /* constant */
    enum start_kind start;
    enum cursor_limit limit;
    bool conflate, notices;
    int32_t day; /* of START_DAY */
    /* under lock */
    struct job_message *out;
    uint32_t out_count, out_room;
    uint64_t out_bytes;
    uint64_t first;    /* where it started */
    uint64_t position; /* behind the last batch that is in `out` or was taken */
    uint64_t reached;  /* what it has read: beyond `position` while it conflates */
    bool told;         /* the publish thread knows that there is news */
    bool started, near, done, failed, cancelled;
    bool join;
    uint64_t join_at;
    char why[300]; /* failed */
    /* catchup's own */
    struct job *next;
    struct subscription *sub; /* copies, in order; those up to `standing` are in the fan-out */
    struct subscription *standing;
    struct cursor cursor;
    struct fanout *fanout;
    bool open, closed;
    uint64_t before;
    struct job_message *batch;
    uint32_t batch_count, batch_room;
    uint64_t batch_bytes;
    uint64_t read_bytes, rows;
};

bool catchup_open(struct server *s, struct err *err);
bool catchup_start(struct server *s, struct err *err);
void catchup_stop(struct server *s);
void catchup_close(struct server *s);

/* Publish thread. `subs` is copied. NULL: no memory. position: of START_POSITION. */
struct job *job_start(struct catchup *k, struct inbox *to, uint64_t connection,
                      const struct subscription *subs, enum start_kind start, uint64_t position,
                      enum cursor_limit limit, bool conflate, bool notices);
/* What has come since; the messages' references become the caller's. Returns how many (the array is
 * the caller's to free). */
struct job_news {
    struct job_message *message;
    uint32_t count;
    bool started, near, done, failed;
    uint64_t start, position, reached;
    char why[300];
};
void job_take(struct job *j, struct job_news *out);
void job_join(struct catchup *k, struct job *j, uint64_t at);
/* No join yet: it reads on, and says `near` again. False: too late, it has ended at the join. */
bool job_unjoin(struct job *j);
/* It ends; the caller's reference too. */
void job_cancel(struct catchup *k, struct job *j);
void job_release(struct job *j);
