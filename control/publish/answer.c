/* SPDX-License-Identifier: Apache-2.0 */
/* The queues between publish threads and control, and the publish threads' side of them. */
#include "answer.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "answer_parts.h"
#include "core/clock.h"

static void ring_bell(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one)
        errno = 0; /* it is rung already */
}

static void hush(int fd)
{
    uint64_t n;
    if (read(fd, &n, sizeof n) != sizeof n)
        errno = 0;
}

struct answers *answer_open(struct daemon *d, unsigned threads, struct err *err)
{
    struct answers *a = calloc(1, sizeof *a);
    if (!a) {
        err_set(err, -ENOMEM, "no memory for the answers");
        return NULL;
    }
    a->daemon = d;
    a->threads = threads < ANSWER_THREADS ? threads : ANSWER_THREADS;
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&a->lock, NULL);
    a->in.end = &a->in.first;
    a->jobs.end = &a->jobs.first;
    bool ok = a->wake >= 0;
    for (unsigned i = 0; i < ANSWER_THREADS; i++) {
        a->out[i].end = &a->out[i].first;
        a->out[i].fd = i < a->threads ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
        ok = ok && (i >= a->threads || a->out[i].fd >= 0);
    }
    if (ok)
        return a;
    err_set(err, -errno, "eventfd: %s", strerror(errno));
    answer_close(a);
    return NULL;
}

void answer_close(struct answers *a)
{
    if (!a)
        return;
    while (a->in.first) {
        struct answer_job *j = a->in.first;
        a->in.first = j->next;
        answer_job_free(j);
    }
    while (a->jobs.first) {
        struct answer_job *j = a->jobs.first;
        a->jobs.first = j->next;
        answer_job_free(j);
    }
    for (unsigned i = 0; i < a->threads; i++) {
        while (a->out[i].first) {
            struct answer *x = a->out[i].first;
            a->out[i].first = x->next;
            answer_free(x);
        }
        if (a->out[i].fd >= 0)
            close(a->out[i].fd);
    }
    if (a->wake >= 0)
        close(a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int answer_fd(const struct answers *a, unsigned thread)
{
    return a->out[thread].fd;
}

int answer_control_fd(const struct answers *a)
{
    return a->wake;
}

/* ---- submitting ---- */

static struct answer_user_count *count_of(struct answers *a, const char *name, bool make)
{
    for (unsigned i = 0; i < a->users; i++)
        if (!strcmp(a->user[i].name, name))
            return &a->user[i];
    if (!make || a->users == ANSWER_WAITING)
        return NULL;
    struct answer_user_count *u = &a->user[a->users++];
    snprintf(u->name, sizeof u->name, "%s", name);
    u->waiting = 0;
    return u;
}

/* Under the lock. */
static bool admit(struct answers *a, const struct user *u, struct err *err)
{
    struct answer_user_count *c =
        a->figures.waiting < ANSWER_WAITING ? count_of(a, u->name, true) : NULL;
    if (!c || c->waiting >= ANSWER_USER) {
        a->figures.refused++;
        return err_set(err, -EAGAIN, "%u queries%s are waiting already: try again",
                       c ? c->waiting : a->figures.waiting, c ? " of yours" : "");
    }
    c->waiting++;
    a->figures.waiting++;
    a->figures.requests++;
    return true;
}

static void release(struct answers *a, const char *user)
{
    struct answer_user_count *c = count_of(a, user, false);
    if (c && !--c->waiting)
        *c = a->user[--a->users];
    a->figures.waiting--;
}

static void append(struct answer_list *l, struct answer_job *j)
{
    j->next = NULL;
    *l->end = j;
    l->end = &j->next;
}

bool answer_submit(struct answers *a, unsigned thread, const struct answer_request *r,
                   const struct user *u, struct err *err)
{
    struct answer_job *j = calloc(1, sizeof *j);
    if (!j || !(j->request = answer_request_json(r, u, err))) {
        if (!j)
            err_set(err, -ENOMEM, "no memory for a request");
        free(j);
        pthread_mutex_lock(&a->lock);
        a->figures.refused++;
        pthread_mutex_unlock(&a->lock);
        return false;
    }
    j->thread = thread;
    j->kind = r->kind;
    j->level = r->level;
    j->connection = r->connection;
    j->id = r->id;
    j->user = user_hold(u);
    j->submitted = clock_monotonic();
    pthread_mutex_lock(&a->lock);
    bool ok = admit(a, u, err);
    if (ok)
        append(&a->in, j);
    pthread_mutex_unlock(&a->lock);
    if (ok)
        ring_bell(a->wake);
    else
        answer_job_free(j);
    return ok;
}

void answer_cancel(struct answers *a, unsigned thread, uint64_t connection)
{
    struct answer_job *j = calloc(1, sizeof *j);
    struct answer *dropped = NULL;
    pthread_mutex_lock(&a->lock);
    struct answer_outbox *o = &a->out[thread];
    for (struct answer **at = &o->first; *at;) {
        struct answer *x = *at;
        if (x->connection != connection) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        x->next = dropped;
        dropped = x;
    }
    for (o->end = &o->first; *o->end;)
        o->end = &(*o->end)->next;
    bool asks = j && a->figures.waiting; /* else there is nothing to stop; without memory it runs */
    if (asks) {
        j->cancels = true;
        j->thread = thread;
        j->connection = connection;
        append(&a->in, j);
    }
    pthread_mutex_unlock(&a->lock);
    if (asks)
        ring_bell(a->wake);
    else
        free(j);
    while (dropped) {
        struct answer *x = dropped;
        dropped = x->next;
        answer_free(x);
    }
}

/* ---- answers ---- */

struct answer *answer_new(struct answers *a, const struct answer_job *j)
{
    struct answer *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->connection = j->connection;
    x->id = j->id;
    x->kind = j->kind;
    x->fd = -1;
    x->owner = a;
    return x;
}

void answer_job_free(struct answer_job *j)
{
    if (!j)
        return;
    json_decref(j->request);
    user_release(j->user);
    if (j->answer)
        answer_free(j->answer);
    free(j);
}

void answer_done(struct answers *a, struct answer_job *j, struct answer *x)
{
    struct answer_outbox *o = &a->out[j->thread];
    pthread_mutex_lock(&a->lock);
    release(a, j->user->name);
    if (x) {
        a->figures.answered += x->ok;
        a->figures.failed += !x->ok;
        a->figures.bytes_held += x->ok ? x->bytes : 0;
        x->counted = x->ok && x->bytes;
        x->next = NULL;
        *o->end = x;
        o->end = &x->next;
    } else {
        a->figures.cancelled++;
    }
    pthread_mutex_unlock(&a->lock);
    if (x)
        ring_bell(o->fd);
}

struct answer *answer_next(struct answers *a, unsigned thread)
{
    struct answer_outbox *o = &a->out[thread];
    pthread_mutex_lock(&a->lock);
    struct answer *x = o->first;
    if (x) {
        o->first = x->next;
        if (!o->first)
            o->end = &o->first;
    } else {
        hush(o->fd);
    }
    pthread_mutex_unlock(&a->lock);
    return x;
}

void answer_free(struct answer *x)
{
    struct answers *a = x->owner;
    bool counted = x->counted;
    if (counted) {
        pthread_mutex_lock(&a->lock);
        a->figures.bytes_held -= x->bytes;
        pthread_mutex_unlock(&a->lock);
    }
    answer_unmap(x);
    free(x);
    if (counted)
        ring_bell(a->wake); /* somebody may wait for the room */
}

void answer_figures(struct answers *a, struct answer_figures *out)
{
    pthread_mutex_lock(&a->lock);
    *out = a->figures;
    pthread_mutex_unlock(&a->lock);
}
