/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of plugins. One of the journal is due when a frame's time has come to a multiple of its
 * interval that no earlier frame had come to: so it comes again in a replay where it came before.
 */
#include <errno.h>
#include "core/clock.h"
#include "host.h"

#define TIMERS 64u

static int64_t multiple(int64_t time, int64_t interval)
{
    int64_t m = time / interval * interval;
    return m > time ? m - interval : m;
}

int host_timer_add(struct pst_rtp *r, int64_t interval, bool journal, pst_timer *fn, void *data)
{
    struct host_timer *t = NULL;
    if (interval < NS_PER_MS || !fn)
        return host_fail(r, -EINVAL, "a timer's interval is a millisecond at least");
    for (uint32_t i = 0; i < r->timers && !t; i++)
        if (r->timer[i].dead && r->host->in != HOST_IN_TIMER)
            t = &r->timer[i];
    if (!t) {
        struct host_timer *p = realloc(r->timer, (r->timers + 1) * sizeof *p);
        if (!p || r->timers == TIMERS)
            return host_fail(r, -E2BIG, "a plugin has at most %u timers", TIMERS);
        r->timer = p;
        t = &p[r->timers++];
    }
    *t = (struct host_timer){.id = r->next_timer++,
                             .journal = journal,
                             .interval = interval,
                             .due = journal ? INT64_MIN : clock_monotonic() + interval,
                             .fn = fn,
                             .data = data};
    if (journal && r->host->time != INT64_MIN)
        t->due = multiple(r->host->time, interval) + interval;
    return t->id;
}

int host_timer_stop(struct pst_rtp *r, int id)
{
    for (uint32_t i = 0; i < r->timers; i++)
        if (r->timer[i].id == id && !r->timer[i].dead) {
            r->timer[i].dead = true;
            return 0;
        }
    return -1;
}

static void run(struct host *h, struct pst_rtp *r, uint32_t i, int64_t now)
{
    struct host_timer t = r->timer[i]; /* the list may move */
    host_enter(h, r, HOST_IN_TIMER, r->name);
    t.fn(r, now, t.data);
    if (!host_leave(h, r))
        host_log(h, "%s: timer: %s", r->name, r->err.text);
}

int64_t host_timers_wall(struct host *h, int64_t now)
{
    int64_t next = INT64_MAX;
    for (unsigned p = 0; p < h->nplugins; p++) {
        struct pst_rtp *r = h->plugin[p];
        for (uint32_t i = 0; i < r->timers; i++) {
            if (r->timer[i].dead || r->timer[i].journal)
                continue;
            if (r->timer[i].due <= now) {
                /* late ones are not made up for */
                int64_t behind = now - r->timer[i].due;
                r->timer[i].due += (behind / r->timer[i].interval + 1) * r->timer[i].interval;
                run(h, r, i, clock_system());
            }
            next = r->timer[i].due < next ? r->timer[i].due : next;
        }
    }
    return next == INT64_MAX ? next : next - now;
}

void host_timers_journal(struct host *h, int64_t time)
{
    for (unsigned p = 0; p < h->nplugins; p++) {
        struct pst_rtp *r = h->plugin[p];
        for (uint32_t i = 0; i < r->timers; i++) {
            struct host_timer *t = &r->timer[i];
            if (t->dead || !t->journal)
                continue;
            int64_t m = multiple(time, t->interval);
            bool due = t->due != INT64_MIN && time >= t->due;
            if (due || t->due == INT64_MIN)
                t->due = m + t->interval;
            if (due)
                run(h, r, i, m);
        }
    }
}
