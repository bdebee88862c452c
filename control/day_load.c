/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's requests: control's side of them, and what the writedown thread does. */
#include <errno.h>
#include <limits.h>
#include "core/clock.h"
#include "day_parts.h"
#include "wiring.h"

#define HURRY_NS (2000ll * 1000000) /* a request that takes longer has other reasons to wait */

/* ---- a request of its own ---- */

void day_load_work_free(struct day_load_work *w)
{
    if (!w)
        return;
    for (unsigned i = 0; w->keep && i < w->request.nkeep; i++)
        free(w->keep[i]);
    free(w->keep);
    free(w->prefix);
    free(w->table);
    free(w->stale);
    free(w);
}

static bool copy(struct day_load_work *w, const struct day_load_request *r)
{
    struct day_load_request *q = &w->request;
    bool ok = true;
    *q = *r;
    q->keep = NULL;
    q->nkeep = 0;
    if (r->kind == DAY_LOAD_MOVE) {
        w->table = calloc(r->move.n + 1, sizeof *w->table);
        w->stale = calloc(r->move.n + 1, sizeof *w->stale);
        ok = w->table && w->stale;
        if (ok && r->move.n)
            memcpy(w->table, r->move.table, r->move.n * sizeof *w->table);
        q->move.table = w->table;
    } else if (r->kind == DAY_LOAD_SWEEP) {
        w->prefix = strdup(r->prefix);
        w->keep = calloc(r->nkeep + 1, sizeof *w->keep);
        ok = w->prefix && w->keep;
        for (; ok && q->nkeep < r->nkeep; q->nkeep++)
            ok = (w->keep[q->nkeep] = strdup(r->keep[q->nkeep])) != NULL;
        q->prefix = w->prefix;
    }
    return ok;
}

/* ---- any thread ---- */

void day_load_listen(struct day *y, void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&y->load.lock);
    y->load.wake = wake;
    y->load.wake_arg = arg;
    pthread_mutex_unlock(&y->load.lock);
}

bool day_load_give(struct day *y, const struct day_load_request *r, struct err *err)
{
    struct day_load *l = &y->load;
    if (!y->write)
        return err_set(err, -ENODEV, "no database is configured");
    struct day_load_work *w = calloc(1, sizeof *w);
    if (!w || !copy(w, r)) {
        day_load_work_free(w);
        return err_set(err, -ENOMEM, "no memory for a request of the loader");
    }
    pthread_mutex_lock(&l->lock);
    bool free_now = !l->given && !l->running;
    if (free_now) {
        l->given = w;
        store_relaxed(&l->hurry, clock_monotonic() + HURRY_NS);
    }
    pthread_mutex_unlock(&l->lock);
    if (!free_now)
        day_load_work_free(w);
    return free_now || err_set(err, -EBUSY, "a request of the loader is under way");
}

bool day_load_take(struct day *y, struct day_load_answer *out)
{
    struct day_load *l = &y->load;
    struct day_load_work *w = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->answered) {
        w = l->given;
        l->given = NULL;
        l->answered = false;
        store_relaxed(&l->hurry, 0);
    }
    pthread_mutex_unlock(&l->lock);
    if (!w)
        return false;
    *out = w->answer;
    out->moved.stale = w->stale;
    w->stale = NULL;
    day_load_work_free(w);
    return true;
}

void day_load_answer_free(struct day_load_answer *a)
{
    free(a->moved.stale);
    a->moved.stale = NULL;
}

bool day_load_withdraw(struct day *y)
{
    struct day_load *l = &y->load;
    pthread_mutex_lock(&l->lock);
    struct day_load_work *w = l->answered ? NULL : l->given;
    if (w)
        l->given = NULL;
    pthread_mutex_unlock(&l->lock);
    day_load_work_free(w);
    return w != NULL;
}

void day_load_hold(struct day *y, bool hold)
{
    pthread_mutex_lock(&y->load.lock);
    y->load.hold = hold;
    y->load.hold_until = clock_monotonic() + DAY_LOAD_HOLD_NS;
    pthread_mutex_unlock(&y->load.lock);
}

uint64_t day_load_commits(struct day *y)
{
    return load_relaxed(&y->load.commits);
}

bool day_load_ready(struct day *y, struct err *why)
{
    uint64_t epoch;
    if (!y->write)
        return err_set(why, -ENODEV, "no database is configured");
    return day_write_loaded(y->write, why, &epoch);
}

/* ---- control ---- */

bool day_hurry(const struct day *y, int64_t now)
{
    return now < load_relaxed(&y->load.hurry);
}

void day_load_init(struct day *y)
{
    uint64_t commits = 0;
    pthread_mutex_init(&y->load.lock, NULL);
    for (unsigned i = 0; i < y->catalogue->nloaded; i++)
        commits =
            y->catalogue->loaded[i].commit > commits ? y->catalogue->loaded[i].commit : commits;
    store_relaxed(&y->load.commits, commits);
}

void day_load_fini(struct day *y)
{
    day_load_work_free(y->load.given);
    pthread_mutex_destroy(&y->load.lock);
}

bool day_load_held(struct day *y)
{
    pthread_mutex_lock(&y->load.lock);
    bool held = y->load.hold && clock_monotonic() < y->load.hold_until;
    pthread_mutex_unlock(&y->load.lock);
    return held;
}

struct day_job *day_load_job(struct day *y)
{
    struct day_load *l = &y->load;
    uint64_t durable = load_acquire(&y->d->ring.head->durable);
    struct wiring_calendar first;
    pthread_mutex_lock(&l->lock);
    bool due = l->given && !l->running && !l->answered && l->given->request.position <= durable;
    pthread_mutex_unlock(&l->lock);
    struct day_job *j = due ? calloc(1, sizeof *j) : NULL;
    if (!j)
        return NULL;
    wiring_calendar(y->d, 0, &first);
    snprintf(j->calendar, sizeof j->calendar, "%s", first.calendar->name);
    j->calendar_index = UINT_MAX; /* tables of all */
    j->slot = -1;
    if (!day_job_tables(y, j, NULL)) {
        day_job_free(j);
        return NULL;
    }
    pthread_mutex_lock(&l->lock);
    j->load = l->answered ? NULL : l->given; /* it may have been withdrawn meanwhile */
    l->running = j->load != NULL;
    if (j->load)
        l->given = NULL;
    pthread_mutex_unlock(&l->lock);
    if (j->load)
        return j;
    day_job_free(j);
    return NULL;
}

static void hand_back(struct day *y, struct day_job *j, bool answered)
{
    struct day_load *l = &y->load;
    pthread_mutex_lock(&l->lock);
    l->given = j->load;
    l->running = false;
    l->answered = answered;
    void (*wake)(void *) = answered ? l->wake : NULL;
    void *arg = l->wake_arg;
    pthread_mutex_unlock(&l->lock);
    j->load = NULL;
    if (wake)
        wake(arg);
}

void day_load_undo(struct day *y, struct day_job *j)
{
    hand_back(y, j, false);
    day_job_free(j);
}

/* Their tables are ours from now on. */
static void note_tables(struct day *y, const struct load_move *m, uint64_t epoch)
{
    struct catalogue_loaded *l = calloc(m->n + 1, sizeof *l);
    pst_must(l);
    for (unsigned i = 0; i < m->n; i++) {
        l[i].date = m->table[i].date;
        l[i].epoch = epoch;
        l[i].commit = m->commit;
        snprintf(l[i].table, sizeof l[i].table, "%s", m->table[i].table);
        snprintf(l[i].batch, sizeof l[i].batch, "%s", m->batch);
    }
    if (m->commit > load_relaxed(&y->load.commits))
        store_relaxed(&y->load.commits, m->commit);
    int r = catalogue_put_loaded(y->catalogue, l, m->n);
    if (r < 0)
        fprintf(stderr,
                "penstockd: catalogue: %s; that batch %s was loaded is known from the database "
                "alone\n",
                strerror(-r), m->batch);
    free(l);
}

void day_load_done(struct day *y, struct day_outcome *o)
{
    struct day_load_work *w = o->job->load;
    struct day_load_answer *a = &w->answer;
    a->kind = w->request.kind;
    a->err = o->err;
    if (a->kind == DAY_LOAD_MOVE) {
        if (o->err.code && a->moved.verdict != LOAD_STALE) {
            a->moved.verdict = LOAD_FAILED;
            a->moved.err = o->err;
        }
        if (o->published) {
            a->epoch = o->job->epoch;
            note_tables(y, &w->request.move, a->epoch);
        }
    }
    json_decref(o->result);
    hand_back(y, o->job, true);
}

/* ---- the writedown thread ---- */

static bool run_sym(struct day_write *w, struct day_load_work *k, struct err *err)
{
    uint32_t before = w->sym.count;
    if (!hdb_sym_backup(&w->sym, k->request.date, err) ||
        !hdb_sym_extend(&w->sym, hdb_sym_from_symbols, &w->d->symbols, k->request.ids, err))
        return false;
    k->answer.symbols = w->sym.count;
    k->answer.fresh = w->sym.count - before;
    return true;
}

static void beat(void *arg)
{
    struct day_write *w = arg;
    store_relaxed(&w->thread.status->heartbeat, clock_monotonic());
}

static bool run_move(struct day_write *w, struct day_outcome *out)
{
    struct day_job *j = out->job;
    struct day_load_work *k = j->load;
    struct load_move *m = &k->request.move;
    m->beat = beat;
    m->beat_arg = w;
    struct load_moved *moved = &k->answer.moved;
    bool intent;
    if (m->discard)
        return load_publish_tidy(w->io, w->hdb, m->batch, &out->err);
    const struct schema **s = calloc(j->ntables + 1, sizeof(struct schema *));
    if (!s)
        return err_set(&out->err, -ENOMEM, "no memory for the list of tables");
    for (unsigned i = 0; i < j->ntables; i++)
        s[i] = &j->schema[i];
    moved->stale = k->stale;
    PST_FAULT("load.move");
    load_publish(w->io, w->hdb, m, j->epoch, j->calendar, s, j->ntables, w->d->config->hdb_lockfile,
                 &intent, moved);
    PST_FAULT("load.moved");
    free(s);
    if (moved->verdict == LOAD_DONE) {
        out->published = true;
        out->rows = moved->rows;
        return true;
    }
    out->err = moved->err;
    return false;
}

bool day_load_run(struct day_write *w, struct day_outcome *out)
{
    struct day_load_work *k = out->job->load;
    unsigned deleted;
    switch (k->request.kind) {
    case DAY_LOAD_SYM:
        return run_sym(w, k, &out->err);
    case DAY_LOAD_MOVE:
        return run_move(w, out);
    default:
        return load_publish_sweep(w->io, w->hdb, k->request.prefix, (const char *const *)k->keep,
                                  k->request.nkeep, &deleted, &out->err);
    }
}
