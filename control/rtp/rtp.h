/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp.h - real-time processes: streaming analytics and processors (key rtp), as the daemon sees
 * them. User code runs in penstock-rtp processes; here is who starts, feeds and watches them.
 *
 *   control ──requests──► thread rtp ──socketpair (rtp_wire.h)──► penstock-rtp of each group
 *      ▲ └─ helper: spawn        │  ▲                                │ reads the ring and the log
 *      └──── needs (spawn, pins) ┘  └── SUBSCRIBED, PUBLISH, ROWS … ─┘
 *                                └─► inject.rtp ─► appender          rows of processors, monCPU
 *
 * GROUPS. One for each entry of `rtp`, in its order; without the key one, `analytics`, which runs
 * while somebody subscribes (rtp_link.h: want). Groups are fixed for the daemon's life; plugins are
 * loaded and unloaded while it runs.
 *
 * LIVES. A process that ends, by itself or by us, is started again after 0.1 s, doubling to 30 s
 * while it does not stay up for a minute. It is ended by us when it breaks the protocol, sends rows
 * that are refused (rtp_rows.h), holds more memory than `memory`, or answers no beat for `stuck`.
 * The helper and the pins of the RDB (cuts for history) are control's: the thread asks, control
 * answers (rtp_needs.c); neither waits for the other.
 *
 * ROWS of a processor come as blocks with the points of source rtp/GROUP (append_wire.h), are
 * checked as an enemy's, and go into inject.rtp as they came: the appender takes each row once.
 * They are not rows of the wire: the ledger does not count them.
 *
 * A replay has no real-time processes, but with --derive (replay.h).
 *
 * THREAD: control, but where it is said.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct alarms;
struct daemon;
struct helper_event;
struct rtp;
struct rtp_events;
struct rtp_link;
struct schema;

#define RTP_IDS        (1ull << 61) /* the helper's ids of these processes begin here */
#define RTP_RING_BYTES (16u << 20)
#define RTP_BEHIND     (64u << 20)         /* bytes of the journal: rtp.behind */
#define RTP_RECENT_NS  (60 * 1000000000ll) /* rtp.restarts, rtp.refused last so long */

/* Before the appender runs: the inject ring. */
bool rtp_prepare(struct daemon *d, struct err *err);
/* The groups, without processes: memory is sealed. */
bool rtp_open(struct daemon *d, struct err *err);
/* Between rtp_open and rtp_start: what the Query Manager calls, and what calls it. */
const struct rtp_link *rtp_link(struct daemon *d);
void rtp_attach(struct daemon *d, const struct rtp_events *events);
bool rtp_start(struct daemon *d, struct err *err);
/* The tables that it writes: of built-in processors that a group names, monCPU. `intern` as in
 * initial.h. */
bool rtp_tables(struct daemon *d,
                bool (*intern)(struct daemon *d, struct schema *s, struct err *err),
                struct err *err);
/* Control's loop: what the thread needs. rtp_fd: readable when there is something; -1: no rtp. */
int rtp_fd(const struct daemon *d);
int rtp_poll(struct daemon *d);
void rtp_helper(struct daemon *d, const struct helper_event *e); /* of ids from RTP_IDS on, and
                                                                    RESTARTED, GONE */
/* A pin of an ended day is held for too long. False: it is not one of our processes. */
bool rtp_overdue(struct daemon *d, uint32_t process, const char *why);
/* Nothing more is taken, all processes end. Before the journal's end mark. */
void rtp_stop(struct daemon *d);
void rtp_close(struct daemon *d);

/* ---- verbs, status, alarms ---- */

json_t *rtp_status(const struct daemon *d); /* one line's worth; NULL: nothing configured or run */
void rtp_pids(const struct daemon *d, json_t *list);
json_t *rtp_writes(const struct daemon *d);      /* names of tables that its processors write */
uint64_t rtp_ring_bytes(const struct daemon *d); /* 0: nothing here writes */
void rtp_alarms(struct daemon *d, struct alarms *a, int64_t now, int64_t hold);
/* A verb for the thread: {"do": start|stop|restart|debug|call|load|unload, …}. An id under which
 * rtp_answer tells the outcome; 0: err. */
uint64_t rtp_ask(struct daemon *d, json_t *request, struct err *err);
/* True: *answer is the result (a new reference) or err says why not. False: not yet. Ask once
 * more after false only. */
bool rtp_answer(struct daemon *d, uint64_t id, json_t **answer, struct err *err);
void rtp_forget(struct daemon *d, uint64_t id); /* nobody waits any more */
