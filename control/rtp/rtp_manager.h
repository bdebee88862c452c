/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_manager.h - the Query Manager: clients' subscriptions to streaming analytics. It recognises
 * equal ones, places each on a process of its group, and sees to it that every client has a state
 * and then exactly what follows.
 *
 *   publish threads ══ stream_hub.h ══► THE MANAGER ══ rtp_link.h ══► processes
 *
 * A STREAM is a computation: (analytic, canonical parameters, group, user). user counts only for an
 * analytic that is per_user: who may read the tables that an analytic reads may see what it makes
 * of them, whoever asked first, so entitlement is checked for each client (below) and not shared.
 * It runs as one INSTANCE on one process, or in a group of mode broadcast as one on each process,
 * every one with its stripe of the rows. It begins with its first client and ends with its last.
 *
 * FACES. A stream has two: what its clients merge by key (delta), and its whole state in every
 * message (full). An analytic that publishes full states has only the first. The second of a keyed
 * stream is made here: behind an update the state is asked for (one at a time), and sent to all.
 *
 * JOINING. Whoever joins waits for a state; one that is under way is as good as a new one, since a
 * process says things in order: what it published before a state is in it, what it publishes
 * afterwards is not. Of n processes the states are put together; what one publishes while the
 * others' are still missing goes to the new ones behind the state.
 *
 * POSITIONS. Of a state and of an update: the journal's position behind the last frame that it is
 * made from. Of a state of several processes: the lowest of theirs.
 *
 * A PROCESS DIES: its streams' clients are told (PAUSE, notice `moved`), the streams go to another
 * process that is up, or wait for one; then comes a new state. A process that refuses a stream that
 * has clients (memory is being rebuilt, …) is asked again each second for a minute; then the stream
 * ends (notice `stopped`). One that nobody has got yet is refused at once, with the sentence.
 *
 * One whose process ends five times (with clients: ten) while it begins or makes a state is given
 * up: it would take the group's other streams along again and again.
 *
 * PLACES. single: the first process that is up. round_robin: the next. least_loaded: the least busy
 * in tenths (its last beat), then the one with fewest streams. A stream stays where it is.
 *
 * RIGHTS, of each client: it may call the analytic (users.h: calls), and read every table that it
 * reads; where that is not known, every table there is. Users of durable_only get none: streams are
 * made of what is committed.
 *
 * THREAD: rtp, but open and close. Cost: an update costs one message whatever the number of
 * clients, and one event for each publish thread that has some.
 */
#pragma once

#include "rtp_link.h"

struct rtp_manager;
struct stream_hub;

#define RTP_STREAMS_MAX 65536u
#define RTP_CLIENTS_MAX 1000000u
#define RTP_PARAMS_ALL  (256u << 20) /* bytes of the parameters of all streams */
#define RTP_ASKED_BYTES (4u << 20)   /* of SUBSCRIBEs that a process has not answered: no more */
#define RTP_OPEN_NS     (20 * 1000000000ll) /* how long a client waits for a process */
#define RTP_RETRY_NS    (1 * 1000000000ll)
#define RTP_GIVE_UP_NS  (60 * 1000000000ll)

/* hub stays the caller's. */
struct rtp_manager *rtp_manager_open(struct stream_hub *hub, struct err *err);
/* Once, before anything else. */
bool rtp_manager_link(struct rtp_manager *m, const struct rtp_link *link, struct err *err);
void rtp_manager_close(struct rtp_manager *m); /* NULL is allowed */
/* What the pool calls. */
const struct rtp_events *rtp_manager_events(struct rtp_manager *m);

struct rtp_manager_figures {
    uint32_t streams, clients, waiting; /* waiting: for a state */
    uint64_t subscribed;                /* computations begun */
    uint64_t shared;                    /* clients that joined one that was there */
    uint64_t states, updates, rows, bytes, moved;
};
/* Any thread; figures of a moment ago. */
void rtp_manager_figures(const struct rtp_manager *m, struct rtp_manager_figures *out);
