/* SPDX-License-Identifier: Apache-2.0 */
/* rtp_parts.h - what rtp.c, rtp_control.c, rtp_cpu.c and rtp_verbs.c share; nobody else includes
 * it.
 */
#pragma once

#include <pthread.h>
#include "core/thread.h"
#include "daemon.h"
#include "questions.h"
#include "rtp.h"
#include "rtp_pool.h"
#include "wiring_parts.h"

#define RTP_SOURCE  42 /* of its frames: after the loader's */
#define RTP_CPU_MAX (STATUS_THREADS + 64u)

/* ---- between the threads ---- */

enum rtp_news_kind { RTP_NEWS_HELPER, RTP_NEWS_CUT, RTP_NEWS_OVERDUE };
struct rtp_news { /* control -> thread */
    struct rtp_news *next;
    enum rtp_news_kind kind;
    uint64_t life; /* CUT, OVERDUE */
    struct helper_event e;
    struct cut *cut; /* NULL: why not */
    char why[300];
};
enum rtp_need_kind { RTP_NEED_SPAWN, RTP_NEED_CUT, RTP_NEED_RELEASE };
struct rtp_need { /* thread -> control */
    struct rtp_need *next;
    enum rtp_need_kind kind;
    uint64_t life;
};
/* One that uses CPU, and what it had used when last looked at. */
struct rtp_cpu {
    pid_t id; /* of the thread, or of the process */
    bool process, seen;
    uint64_t ran_ns, user, system, switches;
};

struct rtp {
    struct daemon *d;
    struct inject q;
    bool has_q;
    struct thread thread;
    bool running;
    int wake, need; /* eventfds: of the thread, of control */

    /* owner: the thread, from its start on */
    struct rtp_pool pool;
    struct rtp_rows rows;
    const struct rtp_events *events;
    struct config_rtp own; /* the default group */
    int fds[4];
    unsigned nfds;
    json_t *segments;
    uint64_t counted_started, counted_lost, counted_refused, counted_rows;
    int64_t show_at, cpu_at, cpu_before;
    struct rtp_cpu cpu[RTP_CPU_MAX];
    unsigned ncpu;

    struct questions questions; /* of verbs */

    /* under lock */
    pthread_mutex_t lock;
    struct rtp_news *news, **news_end;
    struct rtp_need *needs, **needs_end;
    json_t *shown; /* the newest, until control takes it: an object is one thread's */

    /* control's */
    json_t *taken;
};

/* rtp_verbs.c, on the thread. Done at once: the answer, or NULL and err. *later: hooks.answer tells
 * it under the question's id. */
json_t *rtp_respond(struct rtp *r, uint64_t id, json_t *ask, bool *later, struct err *err);
/* A kdb+ table as {"columns":[[name,type]…],"rows":[[text or null…]…]}. */
json_t *rtp_table_json(const void *body, size_t n, struct err *err);

/* rtp_cpu.c, on the thread: rows of monCPU when they are due. */
void rtp_cpu(struct rtp *r, int64_t now);

/* rtp.c */
void rtp_need(struct rtp *r, enum rtp_need_kind kind, uint64_t life); /* the thread */
void rtp_tell(struct rtp *r, struct rtp_news *n);                     /* control; steals */
