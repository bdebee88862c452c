/* SPDX-License-Identifier: Apache-2.0 */
/*
 * questions.h - what control asks of a thread that answers between two rounds of its own work
 * (loading.h, rtp/rtp.h): control never waits, its client is answered when the thread has answered.
 *
 * Life of one: questions_ask (control) -> questions_next (the thread has it, until it says
 * questions_done, at once or later) -> questions_answer (control; the question is gone). A client
 * that goes away before: questions_forget, and it ends with its answer.
 *
 * THREADS: control asks, fetches and forgets; the other thread takes and answers. A lock of its own
 * covers the list and is never held over a call to anyone. Ringing the thread's bell, or control's,
 * is the caller's part. init and free: while no other thread knows of it.
 *
 * OWNERSHIP: what is asked and what is answered are handed over (stolen), also on errors.
 */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include "core/base.h"

struct question;
struct questions {
    pthread_mutex_t lock;
    struct question *first; /* in the order in which they were asked */
    uint64_t last;          /* id given last */
};

void questions_init(struct questions *q);
void questions_free(struct questions *q); /* those without an answer, too */

/* control. The id, never 0; 0: no memory. */
uint64_t questions_ask(struct questions *q, json_t *ask, struct err *err);
/* The thread: the oldest that it has not had. *ask is its own until questions_done. */
bool questions_next(struct questions *q, uint64_t *id, json_t **ask);
/* The thread. answer NULL: err says why. An id that is not there: only answer is given up. */
void questions_done(struct questions *q, uint64_t id, json_t *answer, const struct err *err);
/* control. False: not answered yet. True: *answer is the caller's, or NULL with err. */
bool questions_answer(struct questions *q, uint64_t id, json_t **answer, struct err *err);
void questions_forget(struct questions *q, uint64_t id); /* control */
