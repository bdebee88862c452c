/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox.h - small messages to a thread that sleeps in epoll: a list under a mutex that is held for
 * a push or a swap only, and an eventfd that says that something is there.
 *
 * Any thread pushes; one takes. Items are malloc'ed by the pusher and the taker's then.
 */
#pragma once

#include <pthread.h>
#include "address.h"
#include "core/base.h"

struct job;

enum inbox_kind {
    INBOX_LISTENER, /* fd: listens; port: server.h's ports. From control to publish0 */
    INBOX_ACCEPTED, /* fd: a connection for this thread */
    INBOX_KICK,     /* id: of a connection; text: by whom */
    INBOX_JOB,      /* job has news (a reference); to the catchup thread: look at it */
    INBOX_END_DAY,  /* to control: id of a connection, port: its thread; text: the date or empty */
    INBOX_ENDED,    /* the answer; text: why not, empty: done */
    INBOX_QUIET,    /* take nothing more in */
    INBOX_FINISH,   /* send what is queued, then close all; id: monotonic ns of the bound */
};

struct inbox_item {
    struct inbox_item *next;
    enum inbox_kind kind;
    int fd;
    unsigned port;
    uint64_t id;
    struct address from;
    struct job *job;
    char text[256];
};

struct inbox {
    pthread_mutex_t lock;
    struct inbox_item *first, **last;
    int fd; /* eventfd, non-blocking */
};

bool inbox_open(struct inbox *b, struct err *err);
void inbox_close(struct inbox *b); /* frees what is in it; descriptors are closed */
/* Copies. False: no memory. */
bool inbox_push(struct inbox *b, const struct inbox_item *x);
void inbox_wake(struct inbox *b); /* only the eventfd */
/* Everything that is there, in order; the caller frees each. Resets the eventfd. */
struct inbox_item *inbox_take(struct inbox *b);
