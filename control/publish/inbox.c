/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "publish/inbox.h"

bool inbox_open(struct inbox *b, struct err *err)
{
    *b = (struct inbox){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    pthread_mutex_init(&b->lock, NULL);
    b->last = &b->first;
    return b->fd >= 0 || err_set(err, -errno, "eventfd: %s", strerror(errno));
}

void inbox_close(struct inbox *b)
{
    if (!b->last)
        return;
    for (struct inbox_item *x = b->first, *next; x; x = next) {
        next = x->next;
        if (x->fd >= 0)
            close(x->fd);
        free(x);
    }
    if (b->fd >= 0)
        close(b->fd);
    pthread_mutex_destroy(&b->lock);
    *b = (struct inbox){.fd = -1};
}

void inbox_wake(struct inbox *b)
{
    const uint64_t one = 1;
    ssize_t n = write(b->fd, &one, sizeof one); /* EAGAIN: it is readable already */
    (void)n;
}

bool inbox_push(struct inbox *b, const struct inbox_item *x)
{
    struct inbox_item *copy = malloc(sizeof *copy);
    if (!copy)
        return false;
    *copy = *x;
    copy->next = NULL;
    pthread_mutex_lock(&b->lock);
    bool first = !b->first;
    *b->last = copy;
    b->last = &copy->next;
    pthread_mutex_unlock(&b->lock);
    if (first)
        inbox_wake(b);
    return true;
}

struct inbox_item *inbox_take(struct inbox *b)
{
    uint64_t n;
    ssize_t got = read(b->fd, &n, sizeof n); /* before the swap: a later push wakes again */
    (void)got;
    pthread_mutex_lock(&b->lock);
    struct inbox_item *all = b->first;
    b->first = NULL;
    b->last = &b->first;
    pthread_mutex_unlock(&b->lock);
    return all;
}
