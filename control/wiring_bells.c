/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polling is the fastest way to learn of work as long as each polling thread has a CPU. Where the
 * appender, the log, the rdb and the publish threads share fewer CPUs than that, one that polls
 * takes the time from the one that it waits for, and from its own clients; there each sleeps until
 * another rings its bell. Daemons with ports, pinned threads or another `wait` do as they were
 * told.
 */
#include <sched.h>
#include <unistd.h>
#include "wiring_parts.h"

#define CLIENTS 2u /* a publisher and a subscriber on this machine want to run, too */

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
    for (unsigned i = 0; i < w->appender.nsrc; i++)
        w->appender.src[i].q->board = &w->board;
}

struct bell *wiring_bell(struct daemon *d, struct bell *b, uint32_t waits, int fd)
{
    if (!d->wiring->bells)
        return NULL;
    bell_hang(&d->wiring->board, b, waits, fd);
    return b;
}

void wiring_bells_close(struct wiring *w)
{
    for (unsigned i = 0; i < load_relaxed(&w->board.n); i++)
        if (w->board.bell[i]->fd >= 0)
            close(w->board.bell[i]->fd);
}
