/* SPDX-License-Identifier: Apache-2.0 */
#include "questions.h"
#include <errno.h>
#include <stdlib.h>

struct question {
    struct question *next;
    uint64_t id;
    json_t *ask, *answer;
    struct err err;
    bool taken, done, forgotten;
};

static void question_free(struct question *x)
{
    if (!x)
        return;
    json_decref(x->ask);
    json_decref(x->answer);
    free(x);
}

/* Under the lock: where it hangs, or the end of the list. */
static struct question **find(struct questions *q, uint64_t id)
{
    struct question **at = &q->first;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static struct question *unhook(struct question **at)
{
    struct question *x = *at;
    *at = x->next;
    return x;
}

void questions_init(struct questions *q)
{
    *q = (struct questions){.first = NULL};
    pthread_mutex_init(&q->lock, NULL);
}

void questions_free(struct questions *q)
{
    while (q->first)
        question_free(unhook(&q->first));
    pthread_mutex_destroy(&q->lock);
}

uint64_t questions_ask(struct questions *q, json_t *ask, struct err *err)
{
    struct question *x = calloc(1, sizeof *x);
    if (!x) {
        json_decref(ask);
        err_set(err, -ENOMEM, "no memory");
        return 0;
    }
    x->ask = ask;
    pthread_mutex_lock(&q->lock);
    uint64_t id = x->id = ++q->last;
    struct question **end = &q->first;
    while (*end)
        end = &(*end)->next;
    *end = x;
    pthread_mutex_unlock(&q->lock);
    return id;
}

bool questions_next(struct questions *q, uint64_t *id, json_t **ask)
{
    pthread_mutex_lock(&q->lock);
    struct question *x = q->first;
    while (x && x->taken)
        x = x->next;
    if (x) {
        x->taken = true;
        *id = x->id;
        *ask = x->ask;
    }
    pthread_mutex_unlock(&q->lock);
    return x != NULL;
}

void questions_done(struct questions *q, uint64_t id, json_t *answer, const struct err *err)
{
    struct question *gone = NULL;
    pthread_mutex_lock(&q->lock);
    struct question **at = find(q, id);
    if (*at && (*at)->forgotten) {
        gone = unhook(at);
    } else if (*at) {
        (*at)->answer = answer;
        (*at)->err = *err;
        (*at)->done = true;
        answer = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    json_decref(answer);
    question_free(gone);
}

bool questions_answer(struct questions *q, uint64_t id, json_t **answer, struct err *err)
{
    pthread_mutex_lock(&q->lock);
    struct question **at = find(q, id), *x = *at && (*at)->done ? unhook(at) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (!x)
        return false;
    *answer = x->answer;
    x->answer = NULL;
    if (!*answer)
        err_set(err, x->err.code ? x->err.code : -EIO, "%s", x->err.text);
    question_free(x);
    return true;
}

void questions_forget(struct questions *q, uint64_t id)
{
    struct question *gone = NULL;
    pthread_mutex_lock(&q->lock);
    struct question **at = find(q, id);
    if (*at && (*at)->done)
        gone = unhook(at);
    else if (*at)
        (*at)->forgotten = true;
    pthread_mutex_unlock(&q->lock);
    question_free(gone);
}
