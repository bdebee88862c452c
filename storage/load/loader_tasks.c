/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks and the workers that they are given to. */
#include <inttypes.h>
#include <limits.h>
#include "core/civil.h"
#include "loader.h"

#define START_TIMEOUT   (30 * NS_PER_S)
#define START_WAIT_MOST (60 * NS_PER_S)

const char *const task_kind_name[T_KINDS] = {"refresh", "read", "hash", "verify", "index", "merge"};
const char *const task_state_name[T_STATES] = {"queued", "processing", "complete",
                                               "failed", "retrying",   "quarantined"};

/* ---- the table ---- */

struct ltask *task_add(struct loader *l, enum tkind kind, struct lbatch *b, uint64_t size,
                       char *what)
{
    struct ltask *t = calloc(1, sizeof *t);
    pst_must(t);
    *t = (struct ltask){.id = l->next_task++,
                        .kind = kind,
                        .batch = b,
                        .batch_id = b ? b->id : 0,
                        .size = size,
                        .what = what,
                        .pattern = -1,
                        .fixed = -1,
                        .worker = -1};
    t->next = l->tasks;
    if (t->next)
        t->next->prev = t;
    l->tasks = t;
    l->f.tasks++;
    return t;
}

void task_free(struct ltask *t)
{
    free(t->column);
    free(t->what);
    free(t->dir);
    free(t->error);
    free(t);
}

void task_queue(struct loader *l, struct ltask *t)
{
    t->state = T_QUEUED;
    l->wake = true;
    if (t->batch) {
        batch_ready_add(t->batch, t);
        return;
    }
    l->loose = room_for(l->loose, l->nloose, &l->loose_room, sizeof *l->loose);
    memmove(l->loose + 1, l->loose, l->nloose * sizeof *l->loose);
    l->loose[0] = t;
    for (unsigned i = 1; i <= l->nloose && l->loose[i]->size <= t->size; i++) {
        l->loose[i - 1] = l->loose[i];
        l->loose[i] = t;
    }
    l->nloose++;
}

static void unqueue(struct loader *l, struct ltask *t)
{
    struct ltask **list = t->batch ? t->batch->ready : l->loose;
    unsigned *n = t->batch ? &t->batch->nready : &l->nloose;
    for (unsigned i = *n; i--;)
        if (list[i] == t) {
            memmove(&list[i], &list[i + 1], (--*n - i) * sizeof *list);
            return;
        }
}

/* Takes it out of whatever it is in and keeps it for show. */
void task_end(struct loader *l, struct ltask *t, enum tstate state, const char *error)
{
    pst_must(!t->end_wall);
    if (t->state == T_QUEUED)
        unqueue(l, t);
    else if (t->state == T_RETRYING) {
        l->nwaiting--;
        if (t->batch)
            t->batch->nwaiting--;
    }
    t->state = state;
    t->end_wall = l->wall;
    if (error)
        text_set(&t->error, text_of("%s", error));
    if (t->file && t->file->task == t)
        t->file->task = NULL;
    if (t->check)
        t->check->check = NULL;
    t->check = NULL;
    t->batch = NULL;
    t->file = NULL;
    t->part = NULL;
    if (t->prev)
        t->prev->next = t->next;
    else
        l->tasks = t->next;
    if (t->next)
        t->next->prev = t->prev;
    struct ltask **at = &l->ended[l->nended++ % LOADER_ENDED_TASKS];
    if (*at) {
        for (unsigned w = 0; w < l->c.workers; w++)
            if (l->work[w].last == *at)
                l->work[w].last = NULL;
        task_free(*at);
    }
    *at = t;
    l->wake = true;
}

static void kill_worker(struct loader *l, unsigned w, const char *why)
{
    struct lwork *k = &l->work[w];
    if (k->state == W_ABSENT || k->state == W_STOPPING)
        return;
    k->state = W_STOPPING;
    k->since = l->mono;
    snprintf(k->why, sizeof k->why, "%s", why);
    action_add(l, A_KILL, w, 0);
}

/* Of a batch, or of one of its parts: queued ones go, running ones lose their worker. */
void tasks_drop(struct loader *l, struct lbatch *b, const struct lpart *p)
{
    struct ltask *next;
    for (struct ltask *t = l->tasks; t; t = next) {
        next = t->next;
        if (t->batch != b || (p && t->part != p))
            continue;
        if (t->state == T_PROCESSING) {
            t->part = NULL; /* its answer means nothing any more */
            if (t->file && t->file->task == t)
                t->file->task = NULL;
            t->file = NULL;
            kill_worker(l, (unsigned)t->worker, "its batch does not need it any more");
        } else
            task_end(l, t, T_FAILED, "not needed any more");
    }
}

/* ---- answers ---- */

static void leave(struct loader *l, struct lwork *k, struct ltask *t, uint64_t heap)
{
    unsigned w = (unsigned)(k - l->work);
    l->in_flight -= t->size;
    l->nrunning--;
    if (t->batch)
        t->batch->nrunning--;
    k->task = NULL;
    k->heap = heap ? heap : k->heap;
    k->last_task = t->id;
    t->heap = heap > t->heap ? heap : t->heap;
    t->worker = (int)w;
    l->history[l->nhistory++ % LOADER_HISTORY] =
        (struct lhistory){t->id, t->size, t->heap, w, t->kind, t->start_wall, l->wall};
    l->wake = true;
}

static void retry_at(struct loader *l, struct ltask *t, int64_t due, const char *why)
{
    t->state = T_RETRYING;
    t->due = due;
    text_set(&t->error, text_of("%s", why));
    l->nwaiting++;
    if (t->batch)
        t->batch->nwaiting++;
    if (due < l->next_due)
        l->next_due = due;
    l->f.retries++;
}

static int64_t backoff(const struct loader *l, unsigned fails)
{
    int64_t d = l->c.retry_backoff;
    for (unsigned i = 1; i < fails && d < 600 * NS_PER_S; i++)
        d *= 2;
    return d;
}

static void give_up(struct loader *l, struct ltask *t, const char *why)
{
    struct lbatch *b = t->batch;
    struct bfile *f = t->file;
    char text[LOADER_WHY], rejects[1400];
    switch (t->kind) {
    case T_REFRESH:
        task_end(l, t, T_FAILED, why);
        break;
    case T_HASH:
        file_checked(l, t, false, NULL, why);
        task_end(l, t, T_QUARANTINED, why);
        break;
    case T_VERIFY: /* its result is lost: it is read again */
        task_end(l, t, T_FAILED, why);
        f->verify = false;
        batch_queue_read(l, b, (unsigned)(f - b->file));
        break;
    case T_READ:
        *rejects = 0;
        if (t->dir)
            file_rejects(l, f, t->dir, b->id, rejects);
        snprintf(text, sizeof text, "%.*s%s%s", *rejects ? 250 : (int)sizeof text, why,
                 *rejects ? "; see " : "", rejects);
        task_end(l, t, T_QUARANTINED, text);
        batch_file_bad(l, b, (unsigned)(f - b->file), text);
        break;
    default:
        snprintf(text, sizeof text, "%s %.100s: %.250s", task_kind_name[t->kind], t->what, why);
        task_end(l, t, T_FAILED, why);
        batch_fail(l, b, L_FAILED, text);
        break;
    }
}

/* It is no longer with a worker. */
static void failed(struct loader *l, struct ltask *t, int code, bool retryable, const char *why)
{
    struct lbatch *b = t->batch;
    if (t->kind == T_REFRESH) { /* the next dispatch makes another one */
        task_end(l, t, T_FAILED, why);
        return;
    }
    bool orphan = t->kind == T_HASH                          ? !t->check
                  : t->kind == T_READ || t->kind == T_VERIFY ? !t->file
                                                             : !t->part;
    if (orphan || (b && b->state >= L_FINISHING)) {
        task_end(l, t, T_FAILED, why);
        return;
    }
    if (code == -ENOSPC || code == -EDQUOT) { /* waits for people; costs no attempt */
        l->space_wait = l->space_wait ? l->space_wait * 2 : l->c.retry_backoff;
        if (l->space_wait > LOADER_SPACE_WAIT)
            l->space_wait = LOADER_SPACE_WAIT;
        l->space_until = l->mono + l->space_wait;
        text_set(&l->space_why, text_of("%s", why));
        alarm_set(l, LOADER_ALARM_SPACE, "task", why);
        retry_at(l, t, l->space_until, why);
        return;
    }
    if (t->kind == T_INDEX || t->kind == T_MERGE) {
        bool lost = code == -ENOENT || code == -EBADMSG;
        struct lpart *p = t->part;
        char text[LOADER_WHY];
        snprintf(text, sizeof text, "%s", why);
        if (code == -ESTALE || (lost && t->kind == T_MERGE && ++p->lost <= 1 + l->c.retries)) {
            task_end(l, t, T_FAILED, why);
            part_again(l, b, p, text);
            return;
        }
        if (code == -ENOKEY || (lost && t->kind == T_INDEX)) {
            task_end(l, t, T_FAILED, why);
            if (code == -ENOKEY)
                batch_intern_again(l, b, text);
            else
                batch_verify_reads(l, b, text);
            return;
        }
    }
    if (!retryable || t->fails >= l->c.retries) {
        char text[LOADER_WHY];
        snprintf(text, sizeof text, "%s", why);
        give_up(l, t, text);
        return;
    }
    t->fails++;
    if (t->kind == T_READ && t->file) {
        t->file->fails = t->fails;
        store_fails(l, b, (unsigned)(t->file - b->file));
    }
    retry_at(l, t, l->mono + backoff(l, t->fails), why);
}

static void succeeded(struct loader *l, struct ltask *t, struct lwork *k, const json_t *result)
{
    struct lbatch *b = t->batch;
    struct err err = {0};
    json_t *own = NULL;
    if (t->kind == T_REFRESH) {
        task_end(l, t, T_COMPLETE, NULL);
        k->symbols = l->symbols + 1;
        return;
    }
    bool wanted = t->kind == T_HASH ? t->check != NULL
                  : t->kind == T_READ || t->kind == T_VERIFY
                      ? t->file != NULL && b->state == L_READING
                      : t->part != NULL && b->state == L_BUILDING;
    if (!wanted) {
        task_end(l, t, T_COMPLETE, "not needed any more");
        return;
    }
    if (!result && t->dir && t->kind != T_MERGE) {
        if (l->h.result && l->h.result(l->h.arg, t->dir, &own, &err))
            result = own;
        if (!result) {
            failed(l, t, -EBADMSG, true,
                   *err.text ? err.text : "its worker says that it is done, but left no result");
            return;
        }
    }
    json_int_t rows = json_integer_value(json_object_get(result, "rows")),
               bytes = json_integer_value(json_object_get(result, "bytes"));
    t->rows = rows > 0 ? (uint64_t)rows : t->rows; /* a short task has sent no beat */
    t->bytes = bytes > 0 ? (uint64_t)bytes : t->bytes;
    double s = (double)(l->mono - t->start) / 1e9;
    if (t->kind == T_READ && s > 0.01)
        l->read_rate = l->read_rate > 0 ? 0.8 * l->read_rate + 0.2 * (double)t->file->size / s
                                        : (double)t->file->size / s;
    if (l->space_wait) {
        l->space_wait = 0;
        l->space_until = 0;
        alarm_clear(l, LOADER_ALARM_SPACE, "task");
    }
    if (t->kind == T_HASH) {
        const char *hash = json_string_value(json_object_get(result, "hash"));
        if (hash)
            file_checked(l, t, true, hash, NULL);
        else
            file_checked(l, t, false, NULL, "its worker gave no hash");
        task_end(l, t, T_COMPLETE, NULL);
    } else if (t->kind == T_READ || t->kind == T_VERIFY) {
        unsigned number = (unsigned)(t->file - b->file);
        char *dir = text_of("%s", t->dir);
        task_end(l, t, T_COMPLETE, NULL);
        batch_read_done(l, b, number, result, dir);
        free(dir);
    } else {
        struct lpart *p = t->part;
        if (t->kind == T_INDEX) {
            text_set(&p->dir, text_of("%s", t->dir));
            task_end(l, t, T_COMPLETE, NULL);
            json_t *copy = json_deep_copy(result);
            json_decref(p->index);
            p->index = json_incref(copy);
            store_index(l, b, p);
            part_indexed(l, b, p, copy);
            json_decref(copy);
        } else {
            char *column = text_of("%s", t->column);
            b->commit_done += t->size;
            task_end(l, t, T_COMPLETE, NULL);
            part_merged(l, b, p, column);
            free(column);
        }
    }
    json_decref(own);
}

static uint64_t memory_of(const struct loader *l, unsigned worker)
{
    return l->c.large_worker && worker == 0 && l->c.large_worker_memory ? l->c.large_worker_memory
                                                                        : l->c.worker_memory;
}

void loader_worker_done(struct loader *l, unsigned worker, uint64_t task, int code, bool retryable,
                        const json_t *result, const char *text, uint64_t heap)
{
    struct lwork *k = worker < l->c.workers ? &l->work[worker] : NULL;
    struct ltask *t = k ? k->task : NULL;
    if (!t || t->id != task || k->state != W_LIVE)
        return;
    leave(l, k, t, heap);
    k->processed++;
    k->failures = 0;
    if (code == -ENOMEM) /* what filled it is still there: the next attempt is another process's */
        k->stale = true;
    if (code == 0)
        succeeded(l, t, k, result);
    else {
        char why[LOADER_WHY];
        text = text && *text ? text : strerror(-code);
        if (code == -ENOMEM && memory_of(l, worker))
            snprintf(why, sizeof why,
                     "%.250s; a worker may use %" PRIu64 " MB: raise worker_memory", text,
                     load_plan_megabytes(memory_of(l, worker)));
        else
            snprintf(why, sizeof why, "%s", text);
        failed(l, t, code, retryable, why);
    }
}

void loader_worker_beat(struct loader *l, unsigned worker, uint64_t task, uint64_t rows,
                        uint64_t bytes, uint64_t heap)
{
    struct lwork *k = worker < l->c.workers ? &l->work[worker] : NULL;
    struct ltask *t = k ? k->task : NULL;
    if (!t || t->id != task)
        return;
    if (t->rows != rows || t->bytes != bytes)
        k->progress = l->mono;
    t->rows = rows;
    t->bytes = bytes;
    if (heap > t->heap)
        t->heap = heap;
    k->heap = heap;
    uint64_t limit = memory_of(l, worker);
    if (limit && heap > limit && k->state == W_LIVE) {
        char why[200];
        snprintf(why, sizeof why,
                 "it held %" PRIu64 " MB, its limit is %" PRIu64 " MB (worker_memory)",
                 load_plan_megabytes(heap), load_plan_megabytes(limit));
        kill_worker(l, worker, why);
    }
}

void loader_worker_up(struct loader *l, unsigned worker, int pid)
{
    struct lwork *k = worker < l->c.workers ? &l->work[worker] : NULL;
    if (!k || k->state != W_STARTING)
        return;
    k->state = W_LIVE;
    k->since = l->mono;
    k->up_wall = l->wall;
    k->pid = pid;
    k->symbols = 0;
    k->heap = 0;
    k->stale = false;
    l->wake = true;
}

void loader_worker_down(struct loader *l, unsigned worker, const char *why)
{
    struct lwork *k = worker < l->c.workers ? &l->work[worker] : NULL;
    if (!k || k->state == W_ABSENT)
        return;
    bool meant = k->state == W_STOPPING, idle = !k->task, starting = k->state == W_STARTING;
    char text[LOADER_WHY];
    if (meant) /* ours is the better reason */
        snprintf(text, sizeof text, "worker w%u was killed: %.180s", worker, k->why);
    else
        snprintf(text, sizeof text, "worker w%u ended: %.300s", worker, why ? why : "?");
    k->state = W_ABSENT;
    k->since = l->mono;
    k->stale = false;
    k->pid = 0;
    k->heap = 0;
    l->wake = true;
    struct ltask *t = k->task;
    if (t) {
        leave(l, k, t, 0);
        if (t->error)
            text_set(&t->error, NULL);
        failed(l, t, -1, true, text);
    }
    if (!meant || !idle || starting) {
        if (!meant)
            snprintf(k->why, sizeof k->why, "%.190s", why ? why : "?");
        l->f.workers_lost++;
        if (starting || (idle && !meant))
            k->failures++;
        if (k->failures) {
            unsigned n = k->failures < 7 ? k->failures - 1 : 6;
            int64_t wait = NS_PER_S << n;
            k->due = l->mono + (wait < START_WAIT_MOST ? wait : START_WAIT_MOST);
        }
        char subject[16];
        snprintf(subject, sizeof subject, "w%u", worker);
        if (k->failures >= 3)
            alarm_set(l, LOADER_ALARM_WORKER, subject, text);
        loader_log(l, "%s", text);
    }
}

void workers_recycle(struct loader *l)
{
    for (unsigned w = 0; w < l->c.workers; w++)
        if (l->work[w].state == W_LIVE || l->work[w].state == W_STARTING)
            l->work[w].stale = true;
    l->wake = true;
}

/* ---- time ---- */

void tasks_due(struct loader *l)
{
    if (!l->nwaiting)
        return;
    int64_t next = INT64_MAX;
    struct ltask *after;
    for (struct ltask *t = l->tasks; t; t = after) {
        after = t->next;
        if (t->state != T_RETRYING)
            continue;
        if (t->due > l->mono) {
            next = t->due < next ? t->due : next;
            continue;
        }
        l->nwaiting--;
        if (t->batch)
            t->batch->nwaiting--;
        task_queue(l, t);
    }
    if (next < l->next_due)
        l->next_due = next;
}

void tasks_house(struct loader *l)
{
    for (unsigned w = 0; w < l->c.workers; w++) {
        struct lwork *k = &l->work[w];
        char text[200], subject[16];
        snprintf(subject, sizeof subject, "w%u", w);
        int64_t start = l->c.start_timeout ? l->c.start_timeout : START_TIMEOUT;
        if (k->state == W_STARTING && l->mono - k->since > start) {
            snprintf(text, sizeof text, "it did not start within %lld s",
                     (long long)(start / NS_PER_S));
            kill_worker(l, w, text);
        } else if (k->state == W_LIVE && k->task && l->c.stuck_after &&
                   l->mono - k->progress > l->c.stuck_after) {
            snprintf(text, sizeof text, "its task did not move for %lld s",
                     (long long)(l->c.stuck_after / NS_PER_S));
            kill_worker(l, w, text);
        } else if (!l->nactive && !l->nloose && k->state == W_ABSENT)
            k->failures = 0; /* nobody needs it now */
        if (!k->failures)
            alarm_clear(l, LOADER_ALARM_WORKER, subject);
    }
}

/* ---- what is sent ---- */

json_t *task_args(struct loader *l, const struct ltask *t, struct err *err)
{
    const struct lbatch *b = t->batch;
    json_t *o = NULL;
    char date[CIVIL_TEXT];
    switch (t->kind) {
    case T_REFRESH:
        return json_pack("{s:s}", "batch", b ? b->key : "");
    case T_HASH:
        return t->check ? json_pack("{s:s}", "file", t->check->path) : NULL;
    case T_VERIFY:
        return json_pack("{s:s}", "dir", t->dir);
    case T_READ: {
        const struct bfile *f = t->file;
        if (f->pattern < 0 || (unsigned)f->pattern >= l->c.nfiles) {
            err_set(err, -EINVAL, "no entry of load.files matches its name any more");
            return NULL;
        }
        json_error_t e;
        json_t *recipe = json_loads(l->c.file[f->pattern].recipe, 0, &e);
        if (!recipe) {
            err_set(err, -EINVAL, "recipe %s: %s", l->c.file[f->pattern].name, e.text);
            return NULL;
        }
        o = json_pack("{s:s,s:s,s:s,s:o,s:I,s:I}", "batch", b->key, "file", f->path, "dir", t->dir,
                      "recipe", recipe, "size", (json_int_t)f->size, "mtime", (json_int_t)f->mtime);
        if (o && f->digest)
            json_object_set_new(o, "checksum", json_string(f->digest));
        return o;
    }
    default:
        break;
    }
    const struct lpart *p = t->part;
    if (l->h.part_args)
        o = l->h.part_args(l->h.arg, p->table, err);
    else
        o = json_object();
    if (!o)
        return NULL;
    civil_format(p->date, date);
    if (t->kind == T_MERGE) {
        json_object_set_new(o, "index", json_string(p->dir));
        json_object_set_new(o, "columns", json_pack("[s]", t->column));
        return o;
    }
    json_t *files = json_array();
    for (unsigned i = 0; i < p->ninputs; i++)
        json_array_append_new(files, json_string(b->file[p->input[i]].dir));
    json_object_set_new(o, "files", files);
    json_object_set_new(o, "date", json_string(date));
    json_object_set_new(o, "batch", json_string(b->key));
    json_object_set_new(o, "commit", json_integer((json_int_t)b->commit));
    json_object_set_new(o, "index", json_string(t->dir));
    /* a batch's index tasks stand alone: others wait for them */
    json_object_set_new(o, "threads", json_integer(l->c.workers / (b->nparts ? b->nparts : 1)));
    if (b->supersede)
        json_object_set_new(o, "supersede", json_true());
    return o;
}

static void send(struct loader *l, unsigned w, struct ltask *t, bool alone)
{
    struct lwork *k = &l->work[w];
    struct lbatch *b = t->batch;
    if (t->state == T_QUEUED)
        unqueue(l, t);
    t->state = T_PROCESSING;
    t->alone = alone;
    t->worker = (int)w;
    t->attempt++;
    t->start = l->mono;
    t->start_wall = l->wall;
    t->rows = t->bytes = 0;
    k->task = t;
    k->progress = l->mono;
    l->in_flight += t->size;
    l->nrunning++;
    if (b)
        b->nrunning++;
    if (t->kind == T_READ)
        text_set(&t->dir, text_of("%s/%s/r%u.%" PRIu64 ".%u", l->c.temporary, b->key,
                                  (unsigned)(t->file - b->file), l->start, ++t->file->attempt));
    else if (t->kind == T_INDEX) {
        char date[CIVIL_TEXT];
        civil_format(t->part->date, date);
        text_set(&t->dir, text_of("%s/%s/i.%s.%s.%" PRIu64 ".%u", l->c.temporary, b->key, date,
                                  t->part->table, l->start, ++t->part->attempt));
        b->indexed = true;
    }
    action_add(l, A_SEND, w, t->id);
}

/* ---- who gets what ---- */

static void spawn(struct loader *l, unsigned w)
{
    struct lwork *k = &l->work[w];
    k->state = W_STARTING;
    k->since = l->mono;
    k->starts++;
    l->f.workers_started++;
    action_add(l, A_SPAWN, w, 0);
}

struct queue {
    struct lbatch *batch; /* NULL: loose */
    struct ltask **task;
    unsigned n;
    bool read;
    unsigned *skipped;
};

static unsigned queues(struct loader *l, struct queue *q)
{
    unsigned n = 0, ahead = 0;
    if (l->slot && l->slot->state != L_READING && l->slot->nready && !l->slot->paused)
        q[n++] = (struct queue){l->slot, l->slot->ready, l->slot->nready, false, &l->slot->skipped};
    if (l->nloose)
        q[n++] = (struct queue){NULL, l->loose, l->nloose, false, &l->loose_skipped};
    for (const struct lbatch *b = l->first; b; b = b->next)
        ahead += b->state == L_READY;
    bool enough = ahead >= LOADER_AHEAD && l->slot;
    for (struct lbatch *b = l->first; b; b = b->next) {
        if (b->state != L_READING || !b->nready || b->paused || (enough && b != l->slot))
            continue;
        unsigned at = n;
        while (at && q[at - 1].read && q[at - 1].batch != l->slot &&
               (b == l->slot || batch_rank(l, b, q[at - 1].batch) < 0))
            at--;
        if (at >= LOAD_PLAN_GROUPS)
            continue;
        if (n == LOAD_PLAN_GROUPS)
            n--;
        memmove(&q[at + 1], &q[at], (n - at) * sizeof *q);
        q[at] = (struct queue){b, b->ready, b->nready, true, &b->skipped};
        n++;
    }
    return n;
}

/* Live and up to date, or on its way to it. */
static void prepare(struct loader *l, unsigned queued, struct lbatch *first)
{
    unsigned usable = 0;
    for (unsigned w = 0; w < l->c.workers; w++) {
        struct lwork *k = &l->work[w];
        if (k->state == W_LIVE && !k->task && k->stale)
            kill_worker(l, w, "recycled");
        usable += (k->state == W_LIVE && !k->stale && !k->task) || k->state == W_STARTING;
    }
    for (unsigned w = 0; w < l->c.workers && (usable < queued || (l->c.fixed && queued)); w++) {
        struct lwork *k = &l->work[w];
        if (k->state != W_ABSENT)
            continue;
        if (k->due > l->mono) {
            l->next_due = k->due < l->next_due ? k->due : l->next_due;
            continue;
        }
        spawn(l, w);
        usable++;
    }
    for (unsigned w = 0; w < l->c.workers && queued; w++) {
        struct lwork *k = &l->work[w];
        if (k->state != W_LIVE || k->task || k->stale || k->symbols == l->symbols + 1)
            continue;
        struct ltask *t = task_add(l, T_REFRESH, first, 0, text_of("w%u", w));
        send(l, w, t, false);
    }
}

static bool can_run(const struct lwork *k)
{
    return k->state == W_LIVE && !k->task && !k->stale;
}

/* Static allocation: each worker its own files, in their order. */
static void dispatch_fixed(struct loader *l, struct queue *q, unsigned nq)
{
    for (unsigned w = 0; w < l->c.workers; w++) {
        struct ltask *best = NULL;
        for (unsigned i = 0; i < nq && !best && can_run(&l->work[w]); i++) {
            unsigned n = q[i].batch ? q[i].batch->nready : l->nloose;
            struct ltask **list = q[i].batch ? q[i].batch->ready : l->loose;
            for (unsigned k = 0; k < n; k++)
                if ((list[k]->fixed < 0 || list[k]->fixed == (int)w) &&
                    (!best || list[k]->id < best->id))
                    best = list[k];
        }
        if (best &&
            (best->size < l->budget - (l->in_flight < l->budget ? l->in_flight : l->budget) ||
             !l->nrunning))
            send(l, w, best, false);
    }
}

/* Windows are as wide as there are workers, so mostly the largest few decide; where they do not,
 * all are looked at. */
static bool plan(struct loader *l, const struct queue *q, unsigned nq, struct load_plan_in *in,
                 unsigned most, struct load_plan_out *out)
{
    struct load_plan_group group[LOAD_PLAN_GROUPS];
    unsigned skip[LOAD_PLAN_GROUPS], total = 0;
    bool cut = false;
    for (unsigned g = 0; g < nq; g++) {
        skip[g] = q[g].n > most ? q[g].n - most : 0;
        cut |= skip[g] != 0;
        total += q[g].n - skip[g];
    }
    uint64_t *size = malloc((total + 1) * sizeof *size), *at = size;
    pst_must(size);
    for (unsigned g = 0; g < nq; g++) {
        group[g] = (struct load_plan_group){at, q[g].n - skip[g], q[g].read, *q[g].skipped};
        for (unsigned i = skip[g]; i < q[g].n; i++)
            *at++ = q[g].task[i]->size;
    }
    in->ngroups = nq;
    in->group = group;
    load_plan(in, out);
    free(size);
    bool sure = !cut || out->n || out->why != LOAD_PLAN_NO_ROOM;
    for (unsigned i = 0; i < out->n; i++) {
        unsigned g = out->given[i].group;
        /* a window that the cut made shorter than it is */
        sure &= !skip[g] || out->given[i].alone || out->given[i].pinned ||
                out->given[i].task >= l->c.workers;
        out->given[i].task += skip[g];
    }
    return sure;
}

static void dispatch_planned(struct loader *l, struct queue *q, unsigned nq)
{
    struct load_plan_worker worker[LOAD_PLAN_WORKERS];
    struct load_plan_out out;
    for (unsigned w = 0; w < l->c.workers; w++) {
        bool large = l->c.large_worker && w == 0;
        worker[w] = (struct load_plan_worker){.free = can_run(&l->work[w]),
                                              .large = large,
                                              .memory = large && l->c.large_worker_memory
                                                            ? l->c.large_worker_memory
                                                            : l->c.worker_memory};
    }
    struct load_plan_in in = {.limit = l->limit,
                              .free = l->memory_known ? l->free_memory : UINT64_MAX / 2,
                              .buffer = l->c.memory_buffer,
                              .throttle = l->c.throttle,
                              .in_flight = l->in_flight,
                              .running = l->nrunning,
                              .nworkers = l->c.workers,
                              .worker = worker};
    if (!plan(l, q, nq, &in, 4 * l->c.workers + 16, &out))
        plan(l, q, nq, &in, UINT_MAX, &out);
    l->why = out.why;
    l->budget = load_plan_budget(l->limit, in.free, in.buffer);
    struct ltask *given[LOAD_PLAN_WORKERS];
    for (unsigned i = 0; i < out.n; i++)
        given[i] = q[out.given[i].group].task[out.given[i].task];
    for (unsigned g = 0; g < nq && out.n; g++)
        *q[g].skipped = out.over[g] ? *q[g].skipped + 1 : 0;
    for (unsigned i = 0; i < out.n; i++)
        send(l, out.given[i].worker, given[i], out.given[i].alone);
    if (out.n && l->c.compounding)
        l->limit = load_plan_compound(l->limit, in.free, in.buffer, l->c.limit_min,
                                      l->c.limit_max ? l->c.limit_max : UINT64_MAX);
}

void tasks_dispatch(struct loader *l)
{
    struct queue q[LOAD_PLAN_GROUPS + 1];
    bool blocked = l->paused || l->space_until > l->mono;
    unsigned nq = blocked ? 0 : queues(l, q), queued = 0;
    for (unsigned i = 0; i < nq; i++)
        queued += q[i].n;
    if (l->space_until > l->mono && l->space_until < l->next_due)
        l->next_due = l->space_until;
    l->why = LOAD_PLAN_NOTHING;
    if (queued && l->memory_known && l->free_memory < l->c.throttle) {
        char text[200];
        snprintf(text, sizeof text,
                 "%" PRIu64 " MB of memory are free, load.throttle is %" PRIu64
                 " MB: no new tasks until there are more",
                 load_plan_megabytes(l->free_memory), load_plan_megabytes(l->c.throttle));
        alarm_set(l, LOADER_ALARM_THROTTLE, "", text);
        l->why = LOAD_PLAN_THROTTLED;
        queued = 0;
        nq = 0;
    } else
        alarm_clear(l, LOADER_ALARM_THROTTLE, "");
    prepare(l, queued, nq ? q[0].batch : NULL);
    if (!queued)
        return;
    if (l->c.fixed) {
        l->budget = load_plan_budget(l->limit, l->memory_known ? l->free_memory : UINT64_MAX / 2,
                                     l->c.memory_buffer);
        dispatch_fixed(l, q, nq);
    } else
        dispatch_planned(l, q, nq);
}
