/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polling is the fastest way to learn of work as long as each polling thread has a CPU. Where the
 * appender, the log, the rdb and the publish threads share fewer CPUs than that, one that polls
 * takes the time from the one that it waits for, and from its own clients; there each sleeps until
 * another rings its bell. Daemons with ports, pinned threads or another `wait` do as they were
 * told.
 *
 * There, too, the appender's rounds are taken in turns: a publish thread that has offered rows runs
 * one itself instead of waking the appender and being woken by it, two switches of the only CPU
 * that both have. One thread at a time holds the turn (T1, T2), so there is one appender still; its
 * own thread keeps the ticks, the other inject rings and whatever a publish thread found the turn
 * taken for.
 */
#include <sched.h>
#include <time.h>
#include <unistd.h>
#include "wiring_parts.h"

#define CLIENTS 2u /* a publisher and a subscriber on this machine want to run, too */
#define ROUNDS  8u /* of the appender, in a turn of a publish thread */

enum turn { TURN_CLOSED, TURN_FREE, TURN_TAKEN, TURN_WANTED };

static unsigned allowed_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? UINT32_MAX : (unsigned)CPU_COUNT(&set);
}

void wiring_bells(struct daemon *d)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    unsigned polling = 3 + (unsigned)c->ipc.threads;
    w->bells = c->wait == CONFIG_ADAPTIVE && !w->nports && !d->replay && c->cpus.log < 0 &&
               c->cpus.rdb < 0 && allowed_cpus() < polling + CLIENTS;
    if (!w->bells)
        return;
    d->ring.board = &w->board;
    for (unsigned i = 0; i < w->appender.nsrc; i++) {
        struct inject *q = w->appender.src[i].q;
        bool publisher = q >= w->publisher && q < w->publisher + PST_COUNT(w->publisher);
        q->board = publisher ? NULL : &w->board; /* wiring_append */
    }
}

struct bell *wiring_bell(struct daemon *d, struct bell *b, uint32_t waits, int fd)
{
    if (!d->wiring->bells)
        return NULL;
    bell_hang(&d->wiring->board, b, waits, fd);
    return b;
}

/* ---- the appender's turn ---- */

static bool turn_take(struct wiring *w)
{
    uint32_t free = TURN_FREE;
    return atomic_compare_exchange_strong_explicit(&w->turn, &free, TURN_TAKEN, /* T1 */
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Whoever came in between has been told to come again. */
static void turn_leave(struct wiring *w)
{
    if (atomic_exchange_explicit(&w->turn, TURN_FREE, memory_order_release) == TURN_WANTED) /* T2 */
        bell_board_ring(&w->board, BELL_BATCH);
}

static bool turn_want(struct wiring *w)
{
    uint32_t taken = TURN_TAKEN;
    return turn_take(w) ||
           (!atomic_compare_exchange_strong_explicit(&w->turn, &taken, TURN_WANTED,
                                                     memory_order_relaxed, memory_order_relaxed) &&
            turn_take(w));
}

static int appender_round(void *arg)
{
    struct wiring *w = arg;
    if (!turn_want(w))
        return 0;
    int did = rx_round(&w->lcore[0].rx);
    turn_leave(w);
    return did;
}

const struct thread_ops wiring_appender_ops = {.work = appender_round};

void wiring_turn_open(struct wiring *w)
{
    store_release(&w->turn, TURN_FREE); /* T2 */
}

void wiring_turn_close(struct wiring *w)
{
    if (!w->bells)
        return;
    while (load_relaxed(&w->turn) != TURN_CLOSED && !turn_take(w))
        nanosleep(&(struct timespec){0, 50000}, NULL);
    store_relaxed(&w->turn, TURN_CLOSED);
}

static bool offers(const struct inject *q)
{
    return load_relaxed(&q->head) != load_relaxed(&q->tail);
}

bool wiring_offers(struct daemon *d, unsigned publisher)
{
    return offers(&d->wiring->publisher[publisher]);
}

void wiring_append(struct daemon *d, unsigned publisher)
{
    struct wiring *w = d->wiring;
    const struct inject *q = &w->publisher[publisher];
    if (!w->bells || !offers(q))
        return;
    if (!turn_take(w)) {
        bell_board_ring(&w->board, BELL_BATCH);
        return;
    }
    for (unsigned n = 0; n < ROUNDS && rx_round(&w->lcore[0].rx) && offers(q); n++)
        ;
    turn_leave(w);
}

/* ---- the end ---- */

void wiring_bells_close(struct wiring *w)
{
    for (unsigned i = 0; i < load_relaxed(&w->board.n); i++)
        if (w->board.bell[i]->fd >= 0)
            close(w->board.bell[i]->fd);
}
