/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

uint64_t load_plan_budget(uint64_t limit, uint64_t free, uint64_t buffer)
{
    bool one = free > buffer;
    bool two = one && (free >> 1 > buffer || ((free & 1) && free >> 1 == buffer));
    unsigned percent = one ? two ? 105 : 100 : 95;
    unsigned __int128 v = ((unsigned __int128)limit * percent + 50) / 100;
    return v > INT64_MAX ? (uint64_t)INT64_MAX : (uint64_t)v;
}

uint64_t load_plan_compound(uint64_t limit, uint64_t free, uint64_t buffer, uint64_t low,
                            uint64_t high)
{
    uint64_t next = load_plan_budget(limit, free, buffer);
    return next < low ? low : next > high ? high : next;
}

unsigned load_plan_static(unsigned k, unsigned nfiles, unsigned nworkers)
{
    return nfiles ? (unsigned)((uint64_t)k * nworkers / nfiles) : 0;
}

uint64_t load_plan_megabytes(uint64_t bytes)
{
    return bytes / 1000000 + (bytes % 1000000 >= 500000);
}

struct round {
    const struct load_plan_in *in;
    struct load_plan_out *out;
    uint64_t left; /* of the budget */
    uint64_t given_bytes;
    unsigned pinned;
    bool taken[LOAD_PLAN_WORKERS];
    unsigned used[LOAD_PLAN_GROUPS]; /* given from the top of the group: pinned, alone, aged */
};

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The free worker with the most memory; large: only that one. -1: none. */
static int worker_of(const struct round *r, bool read, bool large)
{
    int best = -1;
    for (unsigned i = 0; i < r->in->nworkers; i++) {
        const struct load_plan_worker *w = &r->in->worker[i];
        if (!w->free || w->reserved || r->taken[i] || (large && !w->large) ||
            (!large && read && w->large))
            continue;
        if (best < 0)
            best = (int)i;
        else {
            uint64_t a = w->memory - 1, b = r->in->worker[best].memory - 1; /* 0: without limit */
            if (a > b)
                best = (int)i;
        }
    }
    return best;
}

static void give(struct round *r, unsigned group, unsigned task, unsigned worker, bool alone,
                 bool pinned)
{
    uint64_t size = r->in->group[group].size[task];
    r->out->given[r->out->n++] = (struct load_plan_given){
        .group = group, .task = task, .worker = worker, .alone = alone, .pinned = pinned};
    r->taken[worker] = true;
    r->left = r->left > size ? r->left - size : 0;
    r->given_bytes = add(r->given_bytes, size);
}

static void pin(struct round *r)
{
    const struct load_plan_in *in = r->in;
    for (unsigned i = 0; i < in->nworkers; i++)
        if (in->worker[i].large && !in->worker[i].free)
            r->pinned = 1;
    int w = worker_of(r, true, true);
    for (unsigned g = 0; w >= 0 && g < in->ngroups; g++) {
        const struct load_plan_group *p = &in->group[g];
        if (!p->read || !p->n)
            continue;
        uint64_t size = p->size[p->n - 1];
        bool fits = size < r->left;
        if (fits || !in->running) {
            give(r, g, p->n - 1, (unsigned)w, !fits, true);
            r->used[g] = 1;
            r->pinned = 1;
            if (!fits)
                r->left = 0;
        }
        return;
    }
}

static uint64_t window(const uint64_t *size, unsigned last, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n && i <= last; i++)
        sum = add(sum, size[last - i]);
    return sum;
}

static unsigned free_workers(const struct round *r, bool read)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->in->nworkers; i++) {
        const struct load_plan_worker *w = &r->in->worker[i];
        n += w->free && !w->reserved && !r->taken[i] && !(read && w->large);
    }
    return n;
}

/* False: nothing less urgent may be given out. */
static bool serve(struct round *r, unsigned g)
{
    const struct load_plan_group *p = &r->in->group[g];
    unsigned n = p->n - r->used[g];
    if (!n)
        return true;
    int w = worker_of(r, p->read, false);
    if (p->skipped >= LOAD_PLAN_PATIENCE && !r->used[g]) {
        if (p->size[n - 1] < r->left && w >= 0) {
            give(r, g, n - 1, (unsigned)w, false, false);
            r->used[g] = 1;
            return true; /* the others of this group: in the next round */
        }
        if (w < 0 && p->size[n - 1] < r->left)
            return true; /* it has the room, and waits for its worker like all */
        r->out->why = LOAD_PLAN_DRAINING;
        return false;
    }
    unsigned width = r->in->nworkers - r->pinned;
    unsigned given = r->out->n > r->pinned ? r->out->n - r->pinned : 0;
    width = width > given ? width - given : 0;
    if (w < 0 || !width)
        return true;
    /* Windowed sums do not fall: the last one below the budget, by bisection. */
    if (window(p->size, 0, width) >= r->left) {
        if (r->out->why == LOAD_PLAN_NO_WORKER)
            r->out->why = LOAD_PLAN_NO_ROOM;
        return true;
    }
    unsigned low = 0, high = n - 1;
    while (low < high) {
        unsigned mid = low + (high - low + 1) / 2;
        if (window(p->size, mid, width) < r->left)
            low = mid;
        else
            high = mid - 1;
    }
    unsigned can = free_workers(r, p->read), count = low + 1 < width ? low + 1 : width;
    if (count > can)
        count = can;
    for (unsigned i = 0; i < count; i++) {
        w = worker_of(r, p->read, false);
        give(r, g, low - i, (unsigned)w, false, false);
    }
    return true;
}

void load_plan(const struct load_plan_in *in, struct load_plan_out *out)
{
    memset(out, 0, sizeof *out);
    pst_must(in->nworkers <= LOAD_PLAN_WORKERS && in->ngroups <= LOAD_PLAN_GROUPS);
    struct round r = {.in = in, .out = out};
    uint64_t budget = load_plan_budget(in->limit, in->free, in->buffer);
    out->budget = r.left = budget > in->in_flight ? budget - in->in_flight : 0;
    unsigned queued = 0;
    for (unsigned g = 0; g < in->ngroups; g++)
        queued += in->group[g].n;
    out->why = LOAD_PLAN_NOTHING;
    if (!queued)
        return;
    out->why = LOAD_PLAN_THROTTLED;
    if (in->free < in->throttle)
        return;
    out->why = LOAD_PLAN_NO_WORKER;
    if (!free_workers(&r, false))
        return;
    /* Who waited too long comes before the large worker's next file, too. */
    bool draining = false;
    for (unsigned g = 0; g < in->ngroups; g++)
        draining |= in->group[g].n && in->group[g].skipped >= LOAD_PLAN_PATIENCE;
    if (!draining || !in->running)
        pin(&r);
    for (unsigned g = 0; g < in->ngroups && serve(&r, g); g++)
        ;
    if (!out->n && !in->running)
        for (unsigned g = 0; g < in->ngroups; g++) {
            const struct load_plan_group *p = &in->group[g];
            int w = p->n ? worker_of(&r, p->read, false) : -1;
            if (w < 0)
                continue;
            give(&r, g, p->n - 1, (unsigned)w, true, false);
            r.used[g] = 1;
            break;
        }
    if (out->n)
        out->why = LOAD_PLAN_GIVEN;
    for (unsigned g = 0; out->n && g < in->ngroups; g++) {
        bool top = !in->group[g].n;
        for (unsigned i = 0; i < out->n && !top; i++)
            top = out->given[i].group == g && out->given[i].task == in->group[g].n - 1;
        out->over[g] = !top;
    }
}
