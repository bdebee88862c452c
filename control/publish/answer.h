/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.h - requests of kdb+ clients that need data, from a publish thread to a penstock-query
 * process and back as bytes that are sent as they are.
 *
 *   publish<N> ─answer_submit─► queue ─► control (answer_poll) ─► query_pool ─► penstock-query
 *        ▲                                    │                                     │ encodes
 *        └── eventfd, answer_next ◄── queue ◄─┴──────── sealed memfd ◄──────────────┘
 *
 * WHAT COMES BACK is a memfd that penstock-query has filled with whole kdb+ messages and sealed
 * (write, shrink, grow), mapped read-only by answer_next, which checks the seals, the size and
 * every message's head: kind, order, no compression, and that the lengths add up to the file's. So
 * nothing that a broken query process writes can put a connection out of step; what an object says
 * inside is not looked at.
 *
 *   ANSWER_SQL, NAMED, COUNT, SNAP   one response: a table; COUNT a long; SNAP of several tables a
 *                                    dictionary
 *   ANSWER_KEYED                     an async message for each table, its object the keyed table:
 *                                    answer_object gives the object's bytes, to be put into the
 *                                    reply where an empty schema stands otherwise (kdb/reply.h)
 *   ANSWER_SNAPSHOT                  async messages (`upd; table; rows), to be sent behind the
 *                                    reply of .pst.sub; then the stream starts at `position`
 * All tables of one request are of one cut: of `position`, below which every row is in it and above
 * which none is.
 *
 * WHO SEES WHAT. Tables that the user may not read do not exist for the query: not in tables,
 * views, named queries or SHOW TABLES. The tier says which of the two stores it sees. Rows beyond
 * the user's limit and time beyond theirs end it with an error. All of this stands in the request
 * that control writes; penstock-query enforces it where a query finds its tables (view_db.h).
 *
 * Names, SQL and arguments must be UTF-8.
 *
 * LIMITS. ANSWER_WAITING requests of all clients, ANSWER_USER of one user, wait or run at once:
 * more are refused with a sentence. Results that were not freed yet count: while they hold more
 * than ANSWER_BYTES, no further request starts (it waits, and its timeout runs).
 *
 * THREADS. answer_submit, answer_cancel, answer_next, answer_free, answer_fd: publish thread
 * `thread` only. open, close, poll, control_fd, figures: control. The queues between are under one
 * mutex that is never held over a system call but the eventfd's write.
 */
#pragma once

#include "kdb/request.h"
#include "users.h"

struct daemon;
struct answers;

#define ANSWER_THREADS   8u
#define ANSWER_WAITING   1024u
#define ANSWER_USER      64u
#define ANSWER_TEXT      (1u << 20) /* longest SQL */
#define ANSWER_TABLES    1024u      /* of one request */
#define ANSWER_BYTES     (8ull << 30)
#define ANSWER_SNAP_ROWS 1000u /* rows of .u.snap */

enum answer_kind {
    ANSWER_SQL,
    ANSWER_NAMED,    /* text: the name; args */
    ANSWER_COUNT,    /* rows of one table */
    ANSWER_SNAP,     /* the latest rows in memory that pass, oldest first; the named query `snap`
                      * instead when a plugin has one */
    ANSWER_KEYED,    /* keyed tables' current rows in memory, as .u.sub answers them */
    ANSWER_SNAPSHOT, /* rows of the open days in memory (keyed: the last of each key) */
};
enum answer_tier { ANSWER_ALL, ANSWER_RDB, ANSWER_HDB };
enum answer_level { ANSWER_COMMITTED, ANSWER_SUBMITTED, ANSWER_DURABLE };

struct answer_request {
    enum answer_kind kind;
    enum answer_tier tier;
    uint64_t connection, id; /* the caller's: come back with the answer */
    struct kdb_text text;
    const struct kdb_object *args; /* NAMED: a list, or one value; NULL: none */
    /* COUNT (one), SNAP, KEYED, SNAPSHOT: names of tables; one that the user may not read is an
     * error as one that does not exist. Rows of syms (NULL: all) that pass `where` (as
     * filter.h has it), as `columns` (SQL's select list); text NULL: none. */
    const char *const *tables;
    uint32_t ntables;
    const struct kdb_names *syms;
    struct kdb_text where, columns;
    uint32_t stripe, stripes; /* SNAPSHOT: symbols of one stripe (fanout.h); 0, 1: all */
    enum answer_level level;  /* SNAPSHOT: waits until the journal has come so far with its cut */
};

struct answer {
    uint64_t connection, id;
    enum answer_kind kind;
    bool ok;
    char error[500];     /* not ok: the sentence for the client */
    int code;            /* -errno */
    const uint8_t *data; /* whole messages */
    uint64_t bytes;
    uint32_t messages;
    uint64_t position; /* of the cut */
    uint64_t rows;
    int64_t queued_ns, run_ns, memory; /* memory: most bytes of the query's arena */
    uint64_t query;                    /* its number in `penstock queries`; 0: it never ran */
    int fd;                            /* the memfd, for sendfile: [0, bytes) */
    struct answer *next;               /* private, as what follows */
    struct answers *owner;
    bool counted;
};

/* threads: of publishing. NULL: err. Before the publish threads start. */
struct answers *answer_open(struct daemon *d, unsigned threads, struct err *err);
/* After the publish threads have ended and freed what they took. */
void answer_close(struct answers *a);

/* Readable while answer_next has something. */
int answer_fd(const struct answers *a, unsigned thread);
/* Everything is copied, u is held. False: err is the sentence for the client; nothing comes back.
 */
bool answer_submit(struct answers *a, unsigned thread, const struct answer_request *r,
                   const struct user *u, struct err *err);
/* The connection is gone: its requests are stopped. An answer that was on its way may still come:
 * look the connection up. */
void answer_cancel(struct answers *a, unsigned thread, uint64_t connection);
/* The next that is done; NULL: none. The caller's until answer_free. */
struct answer *answer_next(struct answers *a, unsigned thread);
void answer_free(struct answer *x);
/* Message i of an answer, its eight bytes of head included. */
const uint8_t *answer_message(const struct answer *x, uint32_t i, uint32_t *bytes);
/* The object inside it. */
const uint8_t *answer_object(const struct answer *x, uint32_t i, uint32_t *bytes);

/* Control: readable when answer_poll has something to do. */
int answer_control_fd(const struct answers *a);
void answer_poll(struct answers *a);
/* Is an answer held back until the journal has come to its position? Then poll each ms. */
bool answer_waits(const struct answers *a);

struct answer_figures {
    uint64_t requests, answered, failed, refused, cancelled;
    uint32_t waiting;    /* not answered yet */
    uint64_t bytes_held; /* results not freed yet */
};
void answer_figures(struct answers *a, struct answer_figures *out);
