/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_link.h - between the pool of penstock-rtp processes (rtp_pool.h: starts, feeds and watches
 * them) and the Query Manager (rtp_manager.h: subscriptions, who shares one, where it runs).
 *
 * Two tables of functions, so that each is tested without the other: the pool fills a struct
 * rtp_link and calls a struct rtp_events; the manager fills the events and calls the link. A
 * process is named by its group's index, its own index in the group, and `life`: a number that is
 * never used twice. What was sent to one life is never answered by another.
 *
 * The pool keeps to itself: starting, restarting with back-off, HELLO/ATTACH/START, beats, cuts for
 * history, rows of processors, calls, plugins, logs, memory. It gives the manager, in the order in
 * which they came and put together from their parts: SUBSCRIBED, REFUSED, STATE, UPDATE
 * (rtp_wire.h). All a process says is hostile: header, sizes and parts are checked, the body is not
 * (rtp_result_check, rtp_subscribed_check).
 *
 * IDS of SUBSCRIBE and SNAPSHOT are the manager's, below RTP_CALL_ID; a REFUSED of one of them is
 * given to it.
 *
 * ORDER. What one process sent reaches `message` in the order in which it sent it; what is sent to
 * it arrives in the order of the calls. `down` comes once for each `up`, behind its last message.
 *
 * PRESSURE. To a process: sends are queued by the pool (RTP_LINK_QUEUE bytes); one that does not
 * take them is ended as stuck. From a process: hold(true) stops reading its socket, which blocks
 * it in the end (it then publishes nothing: the journal waits for it in the log); its beats are not
 * read either, so a held process is not called stuck. A message that is being handled when hold is
 * called was the last one. Rows of processors stop with it: hold only briefly, and resync consumers
 * that are slow instead.
 *
 * THREAD: rtp, both ways. Neither side calls the other from inside a call of the other but where it
 * is said. No function blocks.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

#define RTP_GROUPS_MAX    32u
#define RTP_PROCESSES_MAX 16u /* of a group */
#define RTP_LINK_QUEUE    (16u << 20)
#define RTP_CALL_ID       (1ull << 63)        /* and above: ids of calls, the pool's own */
#define RTP_LINGER_NS     (60 * 1000000000ll) /* the default group outlives its last subscription */

enum rtp_mode {                  /* where a group's subscriptions go */
                RTP_SINGLE,      /* its first process that is up, all of them */
                RTP_ROUND_ROBIN, /* one process after the other */
                RTP_LEAST_LOADED,
                RTP_BROADCAST /* every process, each sees its stripe of the rows */
};

struct rtp_group_facts {
    const char *name;
    enum rtp_mode mode;
    unsigned processes; /* as configured */
    unsigned up;        /* READY ones */
    bool on_demand;     /* the default group: runs while it is wanted */
    bool stopped;       /* by hand (penstock rtp stop), or `start: manual` */
    char why[200];      /* up 0: why its process ended last; "" */
};
struct rtp_process_facts {
    uint64_t life; /* 0: not up */
    pid_t pid;
    uint64_t position; /* of the journal, as its last beat said */
    uint32_t busy;     /* share of the last second's time that it worked, in 1/1000 */
    uint32_t subscriptions;
    uint64_t heap; /* bytes */
    bool held;
};

/* What a process said; the body is the pool's, until the function returns. */
struct rtp_said {
    unsigned type; /* enum rtp_wire_type */
    uint64_t id, value;
    const uint8_t *body;
    uint32_t length, rows; /* rows: of a STATE or UPDATE, as its parts said */
};

/* The pool's, for the manager. */
struct rtp_link {
    void *pool;
    unsigned (*groups)(void *pool);
    void (*group)(void *pool, unsigned g, struct rtp_group_facts *out);
    void (*process)(void *pool, unsigned g, unsigned k, struct rtp_process_facts *out);
    /* The analytics, processors and functions of a group as its last process that became READY said
     * them (rtp_wire.h); borrowed until the next up or plugins. NULL: none was READY yet. */
    const json_t *(*ready)(void *pool, unsigned g);
    /* Queues one message to a process that is up. False: it is not (any more), or the queue is full
     * and it is ended; `down` then comes by itself, later. May be called from events. */
    bool (*send)(void *pool, unsigned g, unsigned k, unsigned type, uint64_t id, uint64_t value,
                 const void *body, size_t length);
    /* Stops, or goes on, reading what it says. May be called from events. */
    void (*hold)(void *pool, unsigned g, unsigned k, bool hold);
    /* The manager has subscriptions for the group, or waits to know its analytics: an on_demand
     * group is started; with false it ends RTP_LINGER_NS later. Nothing for the others. */
    void (*want)(void *pool, unsigned g, bool want);
    /* It broke what only the manager can check: ended, restarted with back-off, counted. `down`
     * comes by itself, later. May be called from events. */
    void (*kill)(void *pool, unsigned g, unsigned k, const char *why);
};

/* The manager's, for the pool. All but fd and work may be NULL. */
struct rtp_events {
    void *arg;
    /* It is READY and was told to START: it takes subscriptions. */
    void (*up)(void *arg, unsigned g, unsigned k, uint64_t life);
    /* It has ended: all that it held is gone. again: it is started again. */
    void (*down)(void *arg, unsigned g, unsigned k, uint64_t life, const char *why, bool again);
    /* SUBSCRIBED, REFUSED, STATE or UPDATE. False: err says how it broke the protocol, and the
     * process is ended. */
    bool (*message)(void *arg, unsigned g, unsigned k, uint64_t life, const struct rtp_said *m,
                    struct err *err);
    /* Plugins of a group were loaded or unloaded: ready() says what it has now. */
    void (*plugins)(void *arg, unsigned g);
    /* Readable when the manager has work (its inbox): an eventfd that `work` resets. */
    int (*fd)(void *arg);
    /* Each round of the thread. Returns how much it did. */
    int (*work)(void *arg, int64_t now);
    /* The thread ends: no process is left. Clients are told by their publish threads. */
    void (*stop)(void *arg);
    /* What `penstock rtp list` says of a group's subscriptions: members are added to the object.
     */
    void (*show)(void *arg, unsigned g, json_t *into);
};
