/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage in older parts of the log, found by the ledger's thread behind the start. What it cost is
 * journaled by control; when that is durable the range goes to quarantine, which is how later
 * starts know that it is accounted for.
 */
#include <pthread.h>
#include "wiring_parts.h"

#define LATE_MAX 1024u

struct late {
    uint32_t index; /* in recovery.damage */
    enum { LATE_NEW, LATE_SENT, LATE_DURABLE } state;
    uint64_t ticket;
    struct recovery_gap *gap;
    uint32_t gaps;
};

struct wiring_late {
    pthread_mutex_t lock;
    struct late list[LATE_MAX];
    uint32_t n;
};

bool wiring_late_open(struct wiring *w, struct err *err)
{
    w->late = calloc(1, sizeof *w->late);
    if (!w->late)
        return err_set(err, -ENOMEM, "no memory");
    pthread_mutex_init(&w->late->lock, NULL);
    return true;
}

void wiring_late_close(struct wiring *w)
{
    if (!w->late)
        return;
    for (uint32_t i = 0; i < w->late->n; i++)
        free(w->late->list[i].gap);
    pthread_mutex_destroy(&w->late->lock);
    free(w->late);
    w->late = NULL;
}

bool wiring_late_found(struct daemon *d, uint32_t index)
{
    struct wiring_late *l = d->wiring->late;
    const struct recovery_damage *x = &d->wiring->recovery->damage[index];
    struct recovery_gap *gap = x->gaps ? malloc(x->gaps * sizeof *gap) : NULL;
    if (!l || (x->gaps && !gap))
        return false;
    if (gap)
        memcpy(gap, x->gap, x->gaps * sizeof *gap);
    pthread_mutex_lock(&l->lock);
    bool ok = l->n < LATE_MAX;
    if (ok)
        l->list[l->n++] = (struct late){.index = index, .gap = gap, .gaps = x->gaps};
    pthread_mutex_unlock(&l->lock);
    if (!ok)
        free(gap);
    return ok;
}

bool wiring_late_done(struct daemon *d, uint32_t *index)
{
    struct wiring_late *l = d->wiring->late;
    bool any = false;
    if (!l)
        return false;
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < l->n && !any; i++) {
        if (l->list[i].state != LATE_DURABLE)
            continue;
        any = true;
        *index = l->list[i].index;
        free(l->list[i].gap);
        l->list[i] = l->list[--l->n];
    }
    pthread_mutex_unlock(&l->lock);
    return any;
}

void wiring_journal_gap(struct daemon *d, struct rows *rows, const struct recovery_gap *g)
{
    struct gap x = {.first = g->first,
                    .last = g->last,
                    .reason = g->reason ? g->reason : "lost_log",
                    .time = clock_now(&d->clock),
                    .day = g->day};
    x.feed = rows_symbol(rows, g->feed, (uint32_t)strlen(g->feed));
    x.session = rows_symbol(rows, g->session, (uint32_t)strlen(g->session));
    rows->ops->gap(rows, &x);
}

void wiring_late_tick(struct daemon *d)
{
    struct wiring_late *l = d->wiring->late;
    struct inject_rows *w = &d->wiring->control_rows;
    uint64_t position;
    if (!l || !l->n) /* a new one is seen next time */
        return;
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < l->n; i++) {
        struct late *x = &l->list[i];
        if (x->state == LATE_NEW) {
            if (inject_rows_room(w) < (uint64_t)x->gaps * 1024 + 65536)
                break;
            inject_rows_flush(w);
            for (uint32_t k = 0; k < x->gaps; k++)
                wiring_journal_gap(d, &w->rows, &x->gap[k]);
            x->ticket = inject_rows_flush(w);
            x->state = LATE_SENT;
        } else if (x->state == LATE_SENT && inject_taken(&d->inject, x->ticket, &position) &&
                   load_acquire(&d->ring.head->durable) >= position) {
            x->state = LATE_DURABLE;
        }
    }
    pthread_mutex_unlock(&l->lock);
}
