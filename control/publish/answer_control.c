/* SPDX-License-Identifier: Apache-2.0 */
/* Control's side: requests into the query pool, results out of it. */
#include <errno.h>
#include <unistd.h>
#include "answer_parts.h"
#include "core/atomics.h"
#include "core/clock.h"
#include "daemon.h"
#include "query_pool.h"

static void unlink_job(struct answers *a, struct answer_job **at)
{
    struct answer_job *j = *at;
    *at = j->next;
    if (!*at)
        a->jobs.end = at;
    answer_job_free(j);
}

/* The end of a job, told to its thread. */
static void finish(struct answers *a, struct answer_job **at, struct answer *x)
{
    struct answer_job *j = *at;
    if (j->query)
        query_done(j->query);
    j->query = NULL;
    if (j->answer == x)
        j->answer = NULL;
    answer_done(a, j, x);
    unlink_job(a, at);
}

static void fail(struct answers *a, struct answer_job **at, int code, const char *text)
{
    struct answer *x = answer_new(a, *at);
    if (x) {
        x->queued_ns = clock_monotonic() - (*at)->submitted;
        answer_fail(x, code, "%s", text);
    }
    finish(a, at, x);
}

/* What the publish threads have sent since: requests behind the others, ends of connections. */
static void take(struct answers *a)
{
    uint64_t n;
    if (read(a->wake, &n, sizeof n) != sizeof n)
        errno = 0;
    pthread_mutex_lock(&a->lock);
    struct answer_job *j = a->in.first;
    a->in.first = NULL;
    a->in.end = &a->in.first;
    pthread_mutex_unlock(&a->lock);
    while (j) {
        struct answer_job *next = j->next;
        j->next = NULL;
        if (!j->cancels) {
            *a->jobs.end = j;
            a->jobs.end = &j->next;
        } else {
            for (struct answer_job **at = &a->jobs.first; *at;)
                if ((*at)->thread == j->thread && (*at)->connection == j->connection)
                    finish(a, at, NULL);
                else
                    at = &(*at)->next;
            answer_job_free(j);
        }
        j = next;
    }
}

static int64_t timeout_of(const struct answers *a, const struct answer_job *j)
{
    int64_t most = a->daemon->config->query_timeout;
    return j->user->timeout > 0 && j->user->timeout < most ? j->user->timeout : most;
}

/* False: the pool has no room for now. */
static bool start(struct answers *a, struct answer_job **at)
{
    struct answer_job *j = *at;
    struct err err = {0};
    struct query_limits limits = {.timeout_ns = j->user->timeout,
                                  .max_rows = (uint64_t)j->user->rows,
                                  .max_bytes = (uint64_t)j->user->bytes,
                                  .user = j->user->name};
    if (a->daemon->config->time_type == CONFIG_LOCAL)
        json_object_set_new(j->request, "local", json_true());
    j->query = query_submit(a->daemon->queries, j->request, &limits, (uid_t)-1, 0, &err);
    if (j->query)
        j->state = JOB_RUNS;
    else if (err.code == -EAGAIN)
        return false;
    else
        fail(a, at, err.code, err.text);
    return true;
}

static uint64_t fact(json_t *facts, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(facts, key));
    return v > 0 ? (uint64_t)v : 0;
}

static void ended(struct answers *a, struct answer_job **at, json_t *facts, int fd,
                  const struct err *err)
{
    struct answer_job *j = *at;
    struct answer *x = answer_new(a, j);
    struct query_cost cost;
    query_cost(j->query, &cost);
    if (x)
        x->memory = cost.memory;
    if (x && !facts) {
        x->query = query_id(j->query);
        x->run_ns = cost.run_ns;
        x->queued_ns = clock_monotonic() - j->submitted - cost.run_ns;
        answer_fail(x, err->code, "%s", err->text);
    } else if (x) {
        x->rows = fact(facts, "rows");
        x->query = fact(facts, "id");
        x->run_ns = (int64_t)fact(facts, "run_ns");
        x->queued_ns = (int64_t)fact(facts, "queued_ns");
        x->position = fact(json_object_get(facts, "cut"), "position");
        answer_map(x, fd);
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
    json_decref(facts);
    if (x && x->ok && j->kind == ANSWER_SNAPSHOT && j->level != ANSWER_COMMITTED) {
        query_done(j->query);
        j->query = NULL;
        j->answer = x;
        j->state = JOB_HELD;
        return;
    }
    finish(a, at, x);
}

static bool reached(const struct answers *a, const struct answer_job *j)
{
    const struct ring_head *h = a->daemon->ring.head;
    uint64_t now =
        j->level == ANSWER_DURABLE ? load_acquire(&h->durable) : load_acquire(&h->submitted);
    return now >= j->answer->position;
}

/* True: requests were started, and with them the pool was polled: others may have ended. */
static bool pass(struct answers *a)
{
    int64_t now = clock_monotonic();
    struct answer_figures f;
    answer_figures(a, &f);
    bool room = f.bytes_held < ANSWER_BYTES, started = false;
    a->holds = false;
    for (struct answer_job **at = &a->jobs.first, *j; (j = *at);) {
        json_t *facts = NULL;
        struct err err = {0};
        int fd = -1;
        if (j->state == JOB_WAITS) {
            if (room)
                started |= room = start(a, at);
            if (*at == j && j->state == JOB_WAITS && now - j->submitted > timeout_of(a, j))
                fail(a, at, -ETIMEDOUT,
                     "no query process was free within your time limit: try again");
        } else if (j->state == JOB_RUNS && query_outcome(j->query, &facts, &fd, &err)) {
            ended(a, at, facts, fd, &err);
        } else if (j->state == JOB_HELD && reached(a, j)) {
            finish(a, at, j->answer);
        }
        if (*at == j) {
            a->holds |= j->state == JOB_HELD;
            at = &j->next;
        }
    }
    return started;
}

void answer_poll(struct answers *a)
{
    take(a);
    for (unsigned i = 0; i < 4 && pass(a); i++)
        ;
}

bool answer_waits(const struct answers *a)
{
    return a && a->holds;
}
