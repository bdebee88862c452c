/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_pool.h - queries: those that wait, those that run, and the processes that run them.
 *
 *   client ─socket─► cmd sql ─► query_submit ─► queue ─► a free process ─► result (sealed memfd)
 *                      ▲                                   │ cut: pins_take      │
 *                      └── query_outcome <──────────────────┴─────────────────────┘
 *
 * Queue: `query_queue` queries, one queue a user, users taking turns. A process runs one query at
 * a time. A query's time runs from when its process has it; at `query_timeout` (or less, if the
 * client asked) it is cancelled, POOL_GRACE_MS later its process is killed. A client that goes away
 * cancels its query. A process that dies, at whatever moment: its query fails with the reason, its
 * pins are released, it is started again at once, with back-off (0.1 s doubling to 30 s) when it
 * keeps dying; counted, alarm query.restarts.
 *
 * A process is hostile: control reads bounded messages without blocking, checks every length, takes
 * a result only when it is sealed against writing and has the size that was said, and never maps
 * it. A process that breaks the protocol is killed.
 *
 * THREAD: control only; query_pool_poll does what is ready and returns.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"
#include "query_wire.h"

#define POOL_PROCESSES_MAX 64u
#define POOL_GRACE_MS      2000
#define POOL_START_MS      20000 /* from spawn to ready */
#define POOL_DEAD_MS       30000 /* without any process: queries that wait so long fail */

struct daemon;
struct helper;
struct query;
struct query_pool;

struct query_limits {
    int64_t timeout_ns; /* 0 = query_timeout; more than it is cut to it */
    uint64_t max_rows;  /* 0 = query_rows */
    uint64_t max_bytes; /* 0 = query_memory */
    const char *user;   /* of kdb+ IPC: whose turn it is and who is shown; NULL: the uid */
};

struct query_pool *query_pool_new(struct daemon *d, struct err *err);
void query_pool_free(struct query_pool *p); /* kills processes that still run */
/* Becomes readable when query_pool_poll has something to do (for the control loop's epoll). */
int query_pool_fd(const struct query_pool *p);
int query_pool_poll(struct query_pool *p);

/* Queues one query of the peer. `request`: {"sql": text | "call": name, "params": {name: text,…} or
 * [text,…]}, or {"kind": …} with what query_wire.h says of it. NULL: err. The handle is the
 * caller's until query_done. */
struct query *query_submit(struct query_pool *p, json_t *request, const struct query_limits *limits,
                           uid_t uid, pid_t pid, struct err *err);
/* Has it ended? False: not yet. True: *result is a new reference and *fd the result's memfd (the
 * caller closes it; -1 = none), or err says why there is none. Ask once. */
bool query_outcome(struct query *q, json_t **result, int *fd, struct err *err);
/* What an ended query cost, for the access log. */
struct query_cost {
    int64_t run_ns; /* since a process had it; 0: none had it */
    int64_t rows, bytes;
    int64_t memory; /* the most that its arena held, as the process says; 0: it died, or never ran */
};
void query_cost(const struct query *q, struct query_cost *out);
uint64_t query_id(const struct query *q); /* as in `penstock queries` */
/* Forgets the handle; a query that has not ended is cancelled. */
void query_done(struct query *q);

/* For `penstock queries`, `query-kill`, `plugin`, status, alarms. */
json_t *query_pool_json(const struct query_pool *p);
bool query_pool_kill(struct query_pool *p, uint64_t id, uid_t uid, bool any, struct err *err);
/* Every process loads or unloads it when it is free; every later one does so at its start. The
 * outcome comes like a query's. */
struct query *query_pool_plugin(struct query_pool *p, bool load, const char *name, uid_t uid,
                                struct err *err);
json_t *query_pool_plugins(const struct query_pool *p); /* as the processes reported them */
void query_pool_pids(const struct query_pool *p, json_t *list);
struct query_pool_figures {
    unsigned processes, ready, running, queued;
    uint64_t queries, failed, cancelled, timed_out, restarts;
    int64_t last_restart; /* monotonic ns, 0 = never */
    char last_reason[200];
};
void query_pool_figures(const struct query_pool *p, struct query_pool_figures *out);
