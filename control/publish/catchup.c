/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "kdb/reply.h"
#include "publish/catchup.h"
#include "publish/kdb_live.h"
#include "publish/publisher.h"
#include "topo.h"

#define LIVE_BUDGET (1u << 20)
#define IDLE_NS     (100 * NS_PER_MS)

struct catchup {
    struct server *server;
    struct thread thread;
    struct inbox inbox;
    int epfd;
    struct io *io;
    struct dictionary dict; /* of all jobs' fan-outs; follows the instance's tables */
    struct job *jobs;
    bool polls; /* some job waits for the journal, not for its consumer */
};

/* ---- publish threads ---- */

static void free_message_list(struct job_message *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        message_release(m[i].message);
    free(m);
}

void job_release(struct job *j)
{
    if (atomic_fetch_sub_explicit(&j->references, 1, memory_order_acq_rel) != 1)
        return;
    free_message_list(j->out, j->out_count);
    free_message_list(j->batch, j->batch_count);
    for (struct subscription *s = j->sub, *next; s; s = next) {
        next = s->next;
        subscription_free(s);
    }
    pthread_mutex_destroy(&j->lock);
    free(j);
}

struct job *job_start(struct catchup *k, struct inbox *to, uint64_t connection,
                      const struct subscription *subs, enum start_kind start, uint64_t position,
                      enum cursor_limit limit, bool conflate, bool notices)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    *j = (struct job){.k = k,
                      .day = load_relaxed(&k->server->day),
                      .to = to,
                      .connection = connection,
                      .start = start,
                      .limit = limit,
                      .conflate = conflate,
                      .notices = notices,
                      .first = position,
                      .position = position};
    atomic_init(&j->references, 2);
    pthread_mutex_init(&j->lock, NULL);
    struct subscription **last = &j->sub;
    bool ok = true;
    for (; subs && ok; subs = subs->next) {
        *last = subscription_copy(subs);
        ok = *last != NULL;
        if (ok)
            last = &(*last)->next;
    }
    struct inbox_item x = {.kind = INBOX_JOB, .fd = -1, .job = j};
    if (ok && inbox_push(&k->inbox, &x))
        return j;
    atomic_store_explicit(&j->references, 1, memory_order_relaxed);
    job_release(j);
    return NULL;
}

void job_take(struct job *j, struct job_news *out)
{
    pthread_mutex_lock(&j->lock);
    bool was_full = j->out_bytes >= JOB_WINDOW;
    *out = (struct job_news){.message = j->out,
                             .count = j->out_count,
                             .started = j->started,
                             .near = j->near,
                             .done = j->done,
                             .failed = j->failed,
                             .start = j->first,
                             .reached = j->reached,
                             .position = j->position};
    if (j->failed)
        memcpy(out->why, j->why, sizeof out->why);
    j->out = NULL;
    j->out_count = j->out_room = 0;
    j->out_bytes = 0;
    j->told = false;
    pthread_mutex_unlock(&j->lock);
    if (was_full)
        inbox_wake(&j->k->inbox);
}

void job_join(struct catchup *k, struct job *j, uint64_t at)
{
    pthread_mutex_lock(&j->lock);
    j->join = true;
    j->join_at = at;
    pthread_mutex_unlock(&j->lock);
    inbox_wake(&k->inbox);
}

bool job_unjoin(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    bool goes_on = !j->done;
    if (goes_on)
        j->join = j->near = false;
    pthread_mutex_unlock(&j->lock);
    if (goes_on)
        inbox_wake(&j->k->inbox);
    return goes_on;
}

void job_cancel(struct catchup *k, struct job *j)
{
    pthread_mutex_lock(&j->lock);
    j->cancelled = true;
    pthread_mutex_unlock(&j->lock);
    inbox_wake(&k->inbox);
    job_release(j);
}

/* ---- the catchup thread ---- */

/* News that the publish thread has not been told of: under the lock. */
static bool tell(struct job *j)
{
    bool first = !j->told;
    j->told = true;
    return first;
}

static void ring_bell(struct job *j)
{
    struct inbox_item x = {.kind = INBOX_JOB, .fd = -1, .id = j->connection};
    if (!inbox_push(j->to, &x)) { /* no memory: the next news tries again */
        pthread_mutex_lock(&j->lock);
        j->told = false;
        pthread_mutex_unlock(&j->lock);
    }
}

static void fail(struct job *j, const char *why)
{
    pthread_mutex_lock(&j->lock);
    j->failed = true;
    snprintf(j->why, sizeof j->why, "catching up: %.280s", why);
    bool bell = tell(j);
    pthread_mutex_unlock(&j->lock);
    j->closed = true;
    if (bell)
        ring_bell(j);
}

static void keep(struct job *j, struct message *m)
{
    if (j->batch_count == j->batch_room) {
        uint32_t room = j->batch_room ? j->batch_room * 2 : 16;
        struct job_message *b = realloc(j->batch, room * sizeof *b);
        if (!b) {
            fail(j, "no memory");
            return;
        }
        j->batch = b;
        j->batch_room = room;
    }
    j->batch[j->batch_count++] = (struct job_message){message_hold(m), j->before};
    j->batch_bytes += m->len;
}

static void job_sink(void *arg, void *consumer, struct message *m)
{
    (void)consumer;
    keep(arg, m);
}

static void job_failed(void *arg, void *consumer, uint64_t id, const char *why)
{
    (void)consumer;
    (void)id;
    fail(arg, why);
}

/* Everything below `position` has been given: the batch becomes visible. True: the job is done. It
 * is not when the join was taken back meanwhile. */
static bool publish_batch(struct job *j, uint64_t position, bool near, bool end)
{
    bool ok = true, news;
    pthread_mutex_lock(&j->lock);
    bool done = end && j->join && j->join_at <= position;
    if (j->out_count + j->batch_count > j->out_room) {
        uint32_t room = j->out_count + j->batch_count;
        struct job_message *o = realloc(j->out, room * sizeof *o);
        ok = o != NULL;
        if (ok) {
            j->out = o;
            j->out_room = room;
        }
    }
    if (ok && j->batch_count) {
        memcpy(j->out + j->out_count, j->batch, j->batch_count * sizeof *j->batch);
        j->out_count += j->batch_count;
        j->out_bytes += j->batch_bytes;
    }
    news = ok && (j->batch_count || (near && !j->near) || done);
    if (ok) {
        j->position = position;
        j->reached = j->cursor.position;
        j->near |= near;
        j->done |= done;
    }
    news = news && tell(j);
    pthread_mutex_unlock(&j->lock);
    if (!ok) {
        fail(j, "no memory");
        return false;
    }
    j->batch_count = 0;
    j->batch_bytes = 0;
    j->before = position;
    if (news)
        ring_bell(j);
    return done;
}

static void notice(struct job *j, const char *kind, uint64_t from, uint64_t to)
{
    struct kdb_out o = {0};
    if (!j->notices)
        return;
    bool made = kdb_notice_range(&o, kind, from, to);
    struct message *m = message_made(&o, made, MESSAGE_NOTICE);
    if (m)
        keep(j, m);
    message_release(m);
}

static const char *calendar_of(void *arg, const char *table)
{
    const struct job *j = arg;
    return publisher_calendar_of(&j->k->server->publisher[0], table);
}

/* A job begins in the past: what has ended since then is in its frames. */
static int32_t last_end(void *arg, const char *calendar)
{
    (void)arg;
    (void)calendar;
    return INT32_MIN;
}

static bool open_job(struct catchup *k, struct job *j)
{
    struct daemon *d = k->server->daemon;
    const struct config *c = d->config;
    struct cursor_config cc = {.io = k->io,
                               .dirs = {c->log_directory, c->spill_directory},
                               .prefix = c->log_prefix,
                               .instance = d->instance_id,
                               .ring = &d->ring,
                               .limit = j->limit,
                               .no_skim = true};
    struct fanout_config fc;
    struct err err;
    publisher_fanout(&k->server->publisher[0], &fc);
    fc.dict = &k->dict;
    fc.sink = job_sink;
    fc.failed = job_failed;
    fc.calendar_of = calendar_of;
    fc.last_end = last_end;
    fc.arg = j;
    lane_learn(&k->dict, &d->symbols);
    lane_learn_schemas(&k->dict, d->schemas);
    if (!cursor_open(&j->cursor, &cc, &err)) {
        fail(j, err.text);
        return false;
    }
    j->fanout = fanout_new(&fc, &err);
    if (!j->fanout) {
        cursor_close(&j->cursor);
        fail(j, err.text);
        return false;
    }
    j->open = true;
    if (j->start == START_POSITION)
        cursor_seek(&j->cursor, j->first);
    else if (j->start == START_DAY && !cursor_seek_day(&j->cursor, j->day))
        cursor_seek_end(&j->cursor);
    fanout_at(j->fanout, j->cursor.position);
    pthread_mutex_lock(&j->lock);
    j->first = j->position = j->before = j->cursor.position;
    j->started = true;
    bool bell = tell(j);
    pthread_mutex_unlock(&j->lock);
    if (bell)
        ring_bell(j);
    return true;
}

/* Subscriptions whose data begins at or below the cursor, in their order. */
static bool begin_subscriptions(struct job *j)
{
    struct subscription *s = j->standing ? j->standing->next : j->sub;
    for (; s && s->from <= j->cursor.position; s = s->next) {
        struct fanout_spec spec = s->spec;
        struct err err;
        spec.conflate |= j->conflate;
        spec.hold = j->conflate;
        if (!fanout_subscribe(j->fanout, &spec, j, &s->fanout_id, &err)) {
            fail(j, err.text);
            return false;
        }
        j->standing = s;
    }
    return true;
}

static void close_job(struct job *j)
{
    if (j->open) {
        fanout_free(j->fanout);
        cursor_close(&j->cursor);
    }
    j->open = false;
    j->closed = true;
}

/* Marks that consumers see: what is conflated goes out before them. */
static bool seen(const struct frame *f)
{
    unsigned type;
    uint32_t len;
    return f->kind == FRAME_MARK && frame_mark(f, &type, &len) &&
           (type == MARK_EOD || type == MARK_EOI || type == MARK_BUFFER_START ||
            type == MARK_BUFFER_END);
}

static void frame(struct catchup *k, struct job *j, const struct frame *f)
{
    if (symbols_count(&k->server->daemon->symbols) != k->dict.next)
        lane_learn(&k->dict, &k->server->daemon->symbols);
    if (f->kind == FRAME_SCHEMA)
        dictionary_feed(&k->dict, f);
    bool mark = j->conflate && seen(f);
    if (mark)
        fanout_settle(j->fanout, j);
    fanout_frame(j->fanout, f);
    if (mark)
        publish_batch(j, j->cursor.position, false, false);
}

static uint64_t level(const struct catchup *k, enum cursor_limit limit)
{
    const struct ring_head *h = k->server->daemon->ring.head;
    return limit == CURSOR_DURABLE     ? load_acquire(&h->durable)
           : limit == CURSOR_SUBMITTED ? load_acquire(&h->submitted)
                                       : load_acquire(&h->tail);
}

/* One step of one job. Returns whether there may be more at once. */
static bool step(struct catchup *k, struct job *j)
{
    uint64_t bytes = 0, join_at;
    bool join, full, waiting, near, waits = false;
    pthread_mutex_lock(&j->lock);
    if (j->cancelled)
        j->closed = true;
    full = j->out_bytes >= JOB_WINDOW;
    waiting = j->near && !j->join; /* the join must not lie behind it: it stands still meanwhile */
    join = j->join;
    join_at = j->join_at;
    pthread_mutex_unlock(&j->lock);
    if (j->closed || full || waiting)
        return false;
    if (!j->open && !open_job(k, j))
        return false;
    while (bytes < JOB_STEP && !waits && !j->closed) {
        struct cursor *c = &j->cursor;
        const struct frame *f;
        if (join && c->position >= join_at)
            break;
        if (!begin_subscriptions(j))
            return false;
        switch (cursor_next(c, &f)) {
        case CURSOR_FRAME:
            bytes += f->length;
            frame(k, j, f);
            break;
        case CURSOR_WAIT:
            waits = true;
            break;
        case CURSOR_LOST:
            fanout_flush_all(j->fanout);
            notice(j, "lost", c->lost_from, c->lost_to);
            fanout_at(j->fanout, c->lost_to);
            break;
        case CURSOR_REWOUND:
            fanout_flush_all(j->fanout);
            notice(j, "rewound", c->rewound_old, c->rewound_new);
            fanout_at(j->fanout, c->rewound_new);
            break;
        case CURSOR_END:
            waits = true;
            break;
        case CURSOR_ERROR:
            fail(j, c->err.text);
            return false;
        }
    }
    if (j->closed)
        return false;
    bool end = join && j->cursor.position >= join_at;
    /* One that begins above the level waits until that has come there. */
    uint64_t limit = level(k, j->limit);
    near = j->cursor.position <= limit && j->cursor.position + JOB_NEAR >= limit;
    k->polls |= waits && !end;
    if (end)
        fanout_settle(j->fanout, j);
    if (end || !j->conflate) {
        fanout_flush_all(j->fanout);
        if (publish_batch(j, j->cursor.position, near, end))
            close_job(j);
    } else if (near) {
        publish_batch(j, j->before, true, false);
    }
    return !waits && !end;
}

static int take_inbox(struct catchup *k)
{
    int n = 0;
    for (struct inbox_item *x = inbox_take(&k->inbox), *next; x; x = next, n++) {
        next = x->next;
        if (x->kind == INBOX_JOB && x->job) {
            struct job **last = &k->jobs;
            while (*last)
                last = &(*last)->next;
            *last = x->job;
        }
        free(x);
    }
    return n;
}

static int work(void *arg)
{
    struct catchup *k = arg;
    int did = take_inbox(k);
    k->polls = false;
    for (struct job **p = &k->jobs; *p;) {
        struct job *j = *p;
        did += step(k, j);
        if (!j->closed) {
            p = &j->next;
            continue;
        }
        *p = j->next;
        close_job(j);
        job_release(j);
        did++;
    }
    if (k->server->kdb_live)
        did += kdb_live_step(k->server->kdb_live, clock_monotonic(), LIVE_BUDGET);
    return did;
}

static void nap(void *arg, int64_t ns)
{
    struct catchup *k = arg;
    if (!k->polls)
        ns = k->server->kdb_live ? 10 * NS_PER_MS : 3 * IDLE_NS;
    struct epoll_event e;
    struct timespec ts = {0, ns};
    epoll_pwait2(k->epfd, &e, 1, &ts, NULL);
}

static const struct thread_ops ops = {.work = work, .sleep = nap};

bool catchup_open(struct server *s, struct err *err)
{
    struct catchup *k = s->catchup = calloc(1, sizeof *k);
    if (!k)
        return err_set(err, -ENOMEM, "publish: no memory");
    k->server = s;
    k->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (k->epfd < 0)
        return err_set(err, -errno, "publish: epoll: %s", strerror(errno));
    k->io = io_posix_create(err);
    if (!k->io || !inbox_open(&k->inbox, err) || !dictionary_init(&k->dict, err))
        return false;
    struct err why;
    s->kdb_live = kdb_live_of(s->daemon, k->io, &why);
    if (!s->kdb_live && why.code)
        return err_set(err, why.code, "%s", why.text);
    lane_learn_schemas(&k->dict, s->daemon->schemas);
    struct epoll_event e = {.events = EPOLLIN};
    return epoll_ctl(k->epfd, EPOLL_CTL_ADD, k->inbox.fd, &e) == 0 ||
           err_set(err, -errno, "publish: epoll: %s", strerror(errno));
}

bool catchup_start(struct server *s, struct err *err)
{
    struct catchup *k = s->catchup;
    const struct topo_thread *t = topo_thread("catchup");
    thread_define(&k->thread, s->daemon->status, t->name, &ops, k, &s->daemon->clock, WAIT_SLEEP,
                  t->nice, -1);
    return thread_start(&k->thread, err);
}

void catchup_stop(struct server *s)
{
    struct catchup *k = s->catchup;
    if (k && k->thread.running) {
        store_release(&k->thread.stop, true);
        inbox_wake(&k->inbox);
        thread_stop(&k->thread);
    }
}

void catchup_close(struct server *s)
{
    struct catchup *k = s->catchup;
    if (!k)
        return;
    if (k->inbox.last)
        take_inbox(k);
    while (k->jobs) {
        struct job *j = k->jobs;
        k->jobs = j->next;
        close_job(j);
        job_release(j);
    }
    if (s->kdb_live)
        kdb_live_close(s->kdb_live);
    s->kdb_live = NULL;
    if (k->dict.schemas)
        dictionary_free(&k->dict);
    inbox_close(&k->inbox);
    io_destroy(k->io);
    if (k->epfd >= 0)
        close(k->epfd);
    free(k);
    s->catchup = NULL;
}
