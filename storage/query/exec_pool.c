/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads. Workers take units in ascending order; whoever finishes a unit puts its state into the
 * table of done ones, and one thread at a time merges what is due, strictly in order. So the result
 * does not depend on who ran what.
 *
 * A pool of idle threads is kept for the next query; a query takes as many as are idle and starts
 * what is missing.
 */
#include "exec_int.h"

struct run {
    const struct unit_ops *ops;
    pthread_mutex_t lock;
    pthread_cond_t change;
    void **done; /* by unit: its state, not merged yet */
    void **spare;
    uint32_t nspare, merged;
    bool merging, enough;
    _Atomic uint32_t next;
    uint32_t working; /* threads of the pool that have not come back */
};

struct pool_thread {
    pthread_t id;
    pthread_cond_t wake;
    struct pool_thread *next; /* idle list */
    struct xthread *job;
    bool end;
};
static struct {
    pthread_mutex_t lock;
    struct pool_thread *idle;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *take_spare(struct run *r)
{
    void *s = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->nspare)
        s = r->spare[--r->nspare];
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* Merges what is due. Called without the lock. */
static void merge_due(struct xthread *t, struct run *r)
{
    struct exec *x = t->x;
    pthread_mutex_lock(&r->lock);
    if (r->merging) { /* who merges looks again before it stops */
        pthread_mutex_unlock(&r->lock);
        return;
    }
    r->merging = true;
    while (r->merged < x->nunits && r->done[r->merged] && !r->enough) {
        void *state = r->done[r->merged];
        pthread_mutex_unlock(&r->lock);
        uint32_t was = t->unit;
        t->unit = r->merged; /* an error in here is that unit's */
        bool more = r->ops->merge(t, r->ops->arg, state);
        t->unit = was;
        r->ops->recycle(t, state);
        pthread_mutex_lock(&r->lock);
        r->done[r->merged++] = NULL;
        r->spare[r->nspare++] = state;
        pthread_cond_broadcast(&r->change);
        if (!more) {
            r->enough = true;
            store_relaxed(&x->stop_unit, 0);
        }
    }
    r->merging = false;
    pthread_mutex_unlock(&r->lock);
}

/* Units that wait for their turn hold memory: nobody runs far ahead. False: enough. */
static bool wait_for_turn(struct xthread *t, struct run *r, uint32_t unit)
{
    struct exec *x = t->x;
    pthread_mutex_lock(&r->lock);
    while (!r->enough && unit <= load_relaxed(&x->stop_unit) && unit > r->merged + 4 * x->threads)
        pthread_cond_wait(&r->change, &r->lock);
    bool go = !r->enough && unit <= load_relaxed(&x->stop_unit);
    pthread_mutex_unlock(&r->lock);
    return go;
}

static void work(struct xthread *t)
{
    struct exec *x = t->x;
    struct run *r = x->run;
    if (setjmp(t->base) == 0) {
        for (;;) {
            uint32_t u = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
            if (u >= x->nunits || !wait_for_turn(t, r, u))
                break;
            t->unit = u;
            void *state = take_spare(r);
            if (!state)
                state = r->ops->start(t);
            r->ops->run(t, u, state);
            pthread_mutex_lock(&r->lock);
            r->done[u] = state;
            pthread_mutex_unlock(&r->lock);
            merge_due(t, r);
        }
    }
    t->unit = UINT32_MAX;
    pthread_mutex_lock(&r->lock);
    pthread_cond_broadcast(&r->change); /* if it left early, stop_unit has changed */
    pthread_mutex_unlock(&r->lock);
}

static void *pool_main(void *arg)
{
    struct pool_thread *p = arg;
    pthread_mutex_lock(&pool.lock);
    while (!p->end) {
        if (!p->job) {
            pthread_cond_wait(&p->wake, &pool.lock);
            continue;
        }
        struct xthread *t = p->job;
        pthread_mutex_unlock(&pool.lock);
        struct run *r = t->x->run;
        work(t);
        /* back in the idle list before the run may end: then exec_pool_stop sees everyone */
        pthread_mutex_lock(&pool.lock);
        p->job = NULL;
        p->next = pool.idle;
        pool.idle = p;
        pthread_mutex_unlock(&pool.lock);
        pthread_mutex_lock(&r->lock);
        r->working--;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* False: no thread to be had; the caller's alone will do. */
static bool pool_give(struct xthread *t)
{
    pthread_mutex_lock(&pool.lock);
    struct pool_thread *p = pool.idle;
    if (p) {
        pool.idle = p->next;
        p->job = t;
        pthread_cond_signal(&p->wake);
        pthread_mutex_unlock(&pool.lock);
        return true;
    }
    pthread_mutex_unlock(&pool.lock);
    p = calloc(1, sizeof *p);
    if (!p)
        return false;
    pthread_cond_init(&p->wake, NULL);
    p->job = t;
    if (pthread_create(&p->id, NULL, pool_main, p)) {
        pthread_cond_destroy(&p->wake);
        free(p);
        return false;
    }
    return true;
}

void exec_pool_stop(void)
{
    for (;;) {
        pthread_mutex_lock(&pool.lock);
        struct pool_thread *p = pool.idle;
        if (p) {
            pool.idle = p->next;
            p->end = true;
            pthread_cond_signal(&p->wake);
        }
        pthread_mutex_unlock(&pool.lock);
        if (!p)
            return;
        pthread_join(p->id, NULL);
        pthread_cond_destroy(&p->wake);
        free(p);
    }
}

void units_run(struct xthread *t, const struct unit_ops *ops)
{
    struct exec *x = t->x;
    struct run *r = x_zalloc(t, sizeof *r);
    r->ops = ops;
    r->done = x_zalloc(t, (x->nunits + 1) * sizeof *r->done);
    r->spare = x_zalloc(t, (x->nunits + 1) * sizeof *r->spare);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    x->run = r;
    unsigned want = x->threads < x->nunits ? x->threads : x->nunits;
    for (unsigned i = 1; i < want; i++) {
        pthread_mutex_lock(&r->lock);
        r->working++;
        pthread_mutex_unlock(&r->lock);
        if (!pool_give(&x->thread[i])) {
            pthread_mutex_lock(&r->lock);
            r->working--;
            pthread_mutex_unlock(&r->lock);
            break;
        }
    }
    jmp_buf base;
    memcpy(&base, &t->base, sizeof base);
    work(t);
    memcpy(&t->base, &base, sizeof base);
    pthread_mutex_lock(&r->lock);
    while (r->working)
        pthread_cond_wait(&r->change, &r->lock);
    pthread_mutex_unlock(&r->lock);
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    if (r->enough && x->error_unit >= r->merged)
        x->failed = false; /* of a unit that nobody wanted */
    x->run = NULL;
    store_relaxed(&x->stop_unit, UINT32_MAX);
    if (x->failed)
        longjmp(t->base, 1);
}
