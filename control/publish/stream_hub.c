/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/stream_hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct box {
    pthread_mutex_t lock;
    struct stream_event *first, **last;
    uint64_t bytes;
    bool told; /* a LOST stands there, and no STATED behind it */
};

struct stream_hub {
    unsigned threads;
    void (*wake)(void *arg, unsigned thread);
    void *arg;
    int fd; /* asks are there */
    pthread_mutex_t lock;
    struct stream_ask *first, **last;
    bool ended;
    _Atomic uint64_t lost;
    struct box box[HUB_THREADS];
};

struct stream_ask *stream_ask_new(enum stream_ask_kind kind, const void *data, uint32_t len)
{
    struct stream_ask *a = calloc(1, sizeof *a + len);
    if (!a)
        return NULL;
    a->kind = kind;
    a->len = len;
    if (len)
        memcpy(a->data, data, len);
    return a;
}

void stream_ask_free(struct stream_ask *a)
{
    if (!a)
        return;
    user_release(a->user);
    free(a);
}

struct stream_event *stream_event_new(enum stream_event_kind kind, uint64_t face,
                                      struct message *hold)
{
    struct stream_event *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->kind = kind;
    e->face = face;
    e->message = hold ? message_hold(hold) : NULL;
    return e;
}

void stream_event_free(struct stream_event *e)
{
    if (!e)
        return;
    message_release(e->message);
    for (uint32_t i = 0; i < e->nbehind; i++)
        message_release(e->behind[i]);
    free(e->behind);
    free(e->text);
    free(e);
}

struct stream_hub *hub_open(unsigned threads, void (*wake)(void *arg, unsigned thread), void *arg,
                            struct err *err)
{
    struct stream_hub *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, -ENOMEM, "streams: no memory");
        return NULL;
    }
    h->threads = threads;
    h->wake = wake;
    h->arg = arg;
    h->last = &h->first;
    pthread_mutex_init(&h->lock, NULL);
    for (unsigned i = 0; i < HUB_THREADS; i++) {
        pthread_mutex_init(&h->box[i].lock, NULL);
        h->box[i].last = &h->box[i].first;
    }
    h->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->fd < 0) {
        err_set(err, -errno, "streams: eventfd: %s", strerror(errno));
        hub_close(h);
        return NULL;
    }
    return h;
}

static void free_asks(struct stream_ask *a)
{
    while (a) {
        struct stream_ask *next = a->next;
        stream_ask_free(a);
        a = next;
    }
}

void hub_close(struct stream_hub *h)
{
    if (!h)
        return;
    free_asks(h->first);
    pthread_mutex_destroy(&h->lock);
    for (unsigned i = 0; i < HUB_THREADS; i++) {
        for (struct stream_event *e = h->box[i].first, *next; e; e = next) {
            next = e->next;
            stream_event_free(e);
        }
        pthread_mutex_destroy(&h->box[i].lock);
    }
    if (h->fd >= 0)
        close(h->fd);
    free(h);
}

int hub_fd(const struct stream_hub *h)
{
    return h->fd;
}

bool hub_ask(struct stream_hub *h, struct stream_ask *a)
{
    a->next = NULL;
    pthread_mutex_lock(&h->lock);
    bool ended = h->ended, first = !h->first;
    if (!ended) {
        *h->last = a;
        h->last = &a->next;
    }
    pthread_mutex_unlock(&h->lock);
    if (ended) {
        stream_ask_free(a);
    } else if (first) {
        const uint64_t one = 1;
        ssize_t n = write(h->fd, &one, sizeof one); /* EAGAIN: it is readable already */
        (void)n;
    }
    return !ended;
}

struct stream_ask *hub_asked(struct stream_hub *h)
{
    uint64_t n;
    ssize_t got = read(h->fd, &n, sizeof n); /* before the swap: a later ask wakes again */
    (void)got;
    pthread_mutex_lock(&h->lock);
    struct stream_ask *all = h->first;
    h->first = NULL;
    h->last = &h->first;
    pthread_mutex_unlock(&h->lock);
    return all;
}

void hub_end(struct stream_hub *h)
{
    pthread_mutex_lock(&h->lock);
    h->ended = true;
    struct stream_ask *all = h->first;
    h->first = NULL;
    h->last = &h->first;
    pthread_mutex_unlock(&h->lock);
    free_asks(all);
}

void hub_post(struct stream_hub *h, unsigned thread, struct stream_event *e)
{
    struct box *b = &h->box[thread];
    uint64_t bytes = e->message ? e->message->len : 0;
    bool keep = true;
    e->next = NULL;
    pthread_mutex_lock(&b->lock);
    if (e->kind == STREAM_UPDATE && b->bytes + bytes > HUB_BYTES) {
        atomic_fetch_add_explicit(&h->lost, 1, memory_order_relaxed);
        bytes = 0;
        keep = !b->told;
        message_release(e->message);
        e->message = NULL;
        e->kind = STREAM_LOST;
    }
    bool first = !b->first;
    if (keep) {
        /* whoever is live behind a STATED has to be told again */
        b->told = e->kind == STREAM_LOST || (b->told && e->kind != STREAM_STATED);
        b->bytes += bytes;
        *b->last = e;
        b->last = &e->next;
    }
    pthread_mutex_unlock(&b->lock);
    if (!keep)
        stream_event_free(e);
    else if (first)
        h->wake(h->arg, thread);
}

struct stream_event *hub_take(struct stream_hub *h, unsigned thread)
{
    struct box *b = &h->box[thread];
    pthread_mutex_lock(&b->lock);
    struct stream_event *all = b->first;
    b->first = NULL;
    b->last = &b->first;
    b->bytes = 0;
    b->told = false;
    pthread_mutex_unlock(&b->lock);
    return all;
}

uint64_t hub_lost(const struct stream_hub *h)
{
    return atomic_load_explicit(&((struct stream_hub *)h)->lost, memory_order_relaxed);
}
