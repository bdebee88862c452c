/* SPDX-License-Identifier: Apache-2.0 */
/* auth_parts.h - what auth.c (mailboxes, queue, handshakes, the thread) and auth_login.c
 * (passwords: the cache, users, the validator) share. */
#pragma once

#include "auth.h"
#include "core/thread.h"
#include "level.h"
#include "scram.h"
#include "validator.h"

#define CALL_MS 20 /* a validator whose queue is full is tried again */
#define RESULTS (AUTH_QUEUE + AUTH_HANDSHAKES)
#define NONE    UINT16_MAX

struct job {
    struct auth_mailbox *box;
    uint64_t token;
    struct address from;
    int64_t came;
    enum auth_kind kind;
    gid_t gid;
    enum { JOB_FREE, JOB_FRESH, JOB_HANDLED, JOB_WAITS } state;
    bool cancelled; /* while it was being handled */
    uint16_t next, prev, class;
    uint16_t user_len, password_len; /* user_len 0: no user can have that name */
    char user[USER_NAME_MAX + 1], password[SCRAM_PASSWORD_MAX];
};

struct handshake {
    struct auth_mailbox *box;
    uint64_t token;
    struct stream *stream;
    int64_t came;
    uint16_t class;
    enum { HAND_FREE, HAND_NEW, HAND_RUNS } state;
    bool cancelled;
    uint32_t events;
};

struct call { /* of the validator; its job is JOB_HANDLED all the while */
    struct validator_call v;
    struct job *job;
    int64_t deadline;
    uint32_t events; /* in epoll; 0: not yet */
};

struct auth_mailbox {
    struct auth *auth;
    int fd;
    pthread_mutex_t lock;              /* guards head, count, result */
    uint32_t head, count, outstanding; /* outstanding: asked and not yet taken; auth->lock */
    struct auth_result result[RESULTS];
};

struct entry { /* of the cache */
    uint8_t id[16], proof[32];
    int64_t until; /* 0: free */
    unsigned misses;
};

struct auth {
    struct auth_config c;
    struct thread thread;
    int epfd, wake;
    pthread_mutex_t lock; /* guards all to the next blank line */
    struct job job[AUTH_QUEUE];
    uint64_t token[AUTH_QUEUE]; /* of job[i], close together to be searched */
    uint16_t free;              /* a list by next */
    struct jobs {
        uint16_t first, last;
    } fresh, waits;
    unsigned waiting; /* of either list */
    uint16_t of_class[ADDRESS_CLASSES], hand_of_class[ADDRESS_CLASSES];
    uint64_t turn_of_class[ADDRESS_CLASSES], turn; /* when it had a check last */
    struct handshake hand[AUTH_HANDSHAKES];
    unsigned hands;
    bool hand_new, stopped;
    struct config_access access;
    char validator_problem[128];

    struct auth_mailbox *box[AUTH_MAILBOXES];
    unsigned boxes;
    _Atomic int64_t rate, login_timeout;
    _Atomic uint64_t overflow;
    /* the thread's */
    uint8_t secret[32];
    uint32_t seed;
    int64_t next_at, looked_at, swept_at;
    uint64_t overflow_seen, generation_seen;
    char problem_seen[500];
    struct entry cache[AUTH_CACHE];
    struct call call[VALIDATOR_CALLS];
    unsigned calls;
};

#define COUNT(a, id)                                                                               \
    do {                                                                                           \
        if ((a)->c.status)                                                                         \
            count_add((a)->c.status, id, 1);                                                       \
    } while (0)

/* ---- auth.c ---- */

int64_t auth_now(struct auth *a);
void auth_answer(struct auth_mailbox *m, const struct auth_result *r);
/* The queue; a->lock is held. */
void auth_link_job(struct auth *a, struct job *j, int state);
void auth_unlink_job(struct auth *a, struct job *j);
void auth_free_job(struct auth *a, struct job *j); /* it is on no list */

/* ---- auth_login.c; the thread ---- */

int auth_calls(struct auth *a, int64_t now); /* of the validator that are over time */
void auth_step_call(struct auth *a, struct call *k);
int auth_logins(struct auth *a);
void auth_refuse_all(struct auth *a); /* it ends: whoever waits is told so */
