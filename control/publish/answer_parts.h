/* SPDX-License-Identifier: Apache-2.0 */
/* answer_parts.h - what answer.c (queues, publish threads), answer_request.c (JSON),
 * answer_control.c and answer_result.c (the memfd) share. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include "answer.h"

struct query;

enum answer_state { JOB_WAITS, JOB_RUNS, JOB_HELD };

struct answer_job { /* one request, or with kind -1 the end of a connection */
    struct answer_job *next;
    bool cancels;
    unsigned thread;
    enum answer_kind kind;
    enum answer_level level;
    uint64_t connection, id;
    const struct user *user; /* held */
    json_t *request;
    int64_t submitted, timeout;
    enum answer_state state;
    struct query *query;
    struct answer *answer; /* HELD, or a failed one */
};

struct answer_list {
    struct answer_job *first, **end;
};

struct answers {
    struct daemon *daemon;
    unsigned threads;
    int wake; /* eventfd: control has work */
    pthread_mutex_t lock;
    /* under the lock */
    struct answer_list in;
    struct answer_user_count {
        char name[64];
        uint32_t waiting;
    } user[ANSWER_WAITING]; /* those with requests */
    unsigned users;
    struct answer_figures figures;
    struct answer_outbox {
        struct answer *first, **end;
        int fd;
    } out[ANSWER_THREADS];
    /* control's own */
    struct answer_list jobs;
    bool holds;
};

/* The request of penstock-query. NULL: err. */
json_t *answer_request_json(const struct answer_request *r, const struct user *u, struct err *err);

struct answer *answer_new(struct answers *a, const struct answer_job *j);
__attribute__((format(printf, 3, 4))) void answer_fail(struct answer *x, int code,
                                                       const char *format, ...);
/* Maps and checks; takes fd over in any case. False: x has failed. */
bool answer_map(struct answer *x, int fd);
void answer_unmap(struct answer *x);

void answer_job_free(struct answer_job *j);
/* Control: hands x (the job's end) to its publish thread. */
void answer_done(struct answers *a, struct answer_job *j, struct answer *x);
