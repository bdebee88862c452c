/* SPDX-License-Identifier: Apache-2.0 */
/* Where a connection's subscriptions stand: in a lane, or with a job of catchup; never in both but
 * while the job ends. */
#include <errno.h>
#include <stdlib.h>
#include "publish/catchup.h"
#include "publish/notice.h"
#include "publish/publisher.h"
#include "publish/streams.h"

#define SYMBOLS_LISTED     100000u /* of one subscription */
#define SUBSCRIPTION_COST  4u      /* a copy here, and the fan-out's with its index */
#define SUBSCRIPTION_LARGE 65536u
#define EXPRESSION_BYTES   (64u << 10)    /* of a WHERE or columns that were bound, about */
#define SUBSCRIPTIONS      1024u          /* of one connection */
#define JOB_FAR            (8 * JOB_NEAR) /* of the live stream: more is read before it joins */
#define JOB_LOW            (256u << 10)   /* bytes that wait: below it more is taken from the job */

/* ---- copies ---- */

static size_t texts_size(const struct fanout_texts *t)
{
    size_t n = t->n * sizeof *t->text;
    for (uint32_t i = 0; i < t->n; i++)
        n += t->text[i].len;
    return n;
}

static char *put_text(struct fanout_text *to, const struct fanout_text *from, char *at)
{
    if (from->len)
        memcpy(at, from->p, from->len);
    *to = (struct fanout_text){at, from->len};
    return at + from->len;
}

static char *put_texts(struct fanout_texts *to, const struct fanout_texts *from,
                       struct fanout_text **array, char *at)
{
    *to = *from;
    to->text = *array;
    for (uint32_t i = 0; i < from->n; i++)
        at = put_text(&(*array)[i], &from->text[i], at);
    *array += from->n;
    return at;
}

static void hold_user(const void *user)
{
    user_hold(user);
}

static void release_user(const void *user)
{
    user_release(user);
}

static bool may_read(const void *user, const char *table)
{
    return user_may_read(user, table);
}

void subscription_rights(struct fanout_rights *r, const struct user *u)
{
    *r = (struct fanout_rights){.id = u->tables.all ? 0 : (uint64_t)(uintptr_t)u,
                                .may_read = may_read,
                                .user = u,
                                .hold = hold_user,
                                .release = release_user};
}

struct subscription *subscription_copy(const struct subscription *s)
{
    const struct fanout_spec *x = &s->spec;
    size_t arrays = (x->tables.n + x->syms.n) * sizeof(struct fanout_text);
    size_t texts =
        texts_size(&x->tables) + texts_size(&x->syms) - arrays + x->where.len + x->columns.len;
    struct subscription *c = malloc(sizeof *c + arrays + texts);
    if (!c)
        return NULL;
    *c = *s;
    c->next = NULL;
    c->bytes = sizeof *c + arrays + texts;
    if (x->where.len || x->columns.len)
        c->bytes += EXPRESSION_BYTES / SUBSCRIPTION_COST;
    struct fanout_text *array = (struct fanout_text *)(c + 1);
    char *at = (char *)(c + 1) + arrays;
    at = put_texts(&c->spec.tables, &x->tables, &array, at);
    at = put_texts(&c->spec.syms, &x->syms, &array, at);
    at = put_text(&c->spec.where, &x->where, at);
    put_text(&c->spec.columns, &x->columns, at);
    user_hold(c->spec.rights.user);
    return c;
}

void subscription_free(struct subscription *s)
{
    if (!s)
        return;
    user_release(s->spec.rights.user);
    free(s);
}

/* ---- the list ---- */

static void relink(struct connection *c)
{
    c->sub_last = &c->sub;
    c->nsubs = 0;
    c->sub_bytes = 0;
    for (; *c->sub_last; c->sub_last = &(*c->sub_last)->next) {
        c->nsubs++;
        c->sub_bytes += SUBSCRIPTION_COST * (*c->sub_last)->bytes;
    }
}

static bool names(const struct fanout_texts *t, const struct fanout_text *x)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->text[i].len == x->len && !memcmp(t->text[i].p, x->p, x->len))
            return true;
    return false;
}

/* What s replaces is not to come back where the list is replayed. Tables of older ones that it
 * names leave them; an older one of all tables stays, and s behind it. */
static void prune(struct connection *c, const struct subscription *s)
{
    if (s->spec.mode != FANOUT_REPLACE)
        return;
    for (struct subscription **p = &c->sub; *p;) {
        struct subscription *old = *p;
        bool gone = false;
        if (old->spec.mode != FANOUT_BESIDE) {
            gone = s->spec.tables.all;
            if (!gone && !old->spec.tables.all) {
                struct fanout_text *t = (struct fanout_text *)old->spec.tables.text;
                uint32_t n = 0;
                for (uint32_t i = 0; i < old->spec.tables.n; i++)
                    if (!names(&s->spec.tables, &t[i]))
                        t[n++] = t[i];
                old->spec.tables.n = n;
                gone = !n;
            }
        }
        if (gone) {
            *p = old->next;
            subscription_free(old);
        } else {
            p = &old->next;
        }
    }
    relink(c);
}

/* By their first positions, since catchup begins them in this order; but what replaces or adds to
 * an older one stays behind it. */
static void insert(struct connection *c, struct subscription *s)
{
    struct subscription **p = &c->sub;
    bool beside = s->spec.mode == FANOUT_BESIDE;
    for (struct subscription **q = p; *q; q = &(*q)->next)
        if ((*q)->from <= s->from || (!beside && (*q)->spec.mode != FANOUT_BESIDE))
            p = &(*q)->next;
    s->next = *p;
    *p = s;
    relink(c);
}

static void show(struct connection *c)
{
    char text[sizeof c->t_tables] = "";
    size_t n = 0;
    for (struct subscription *s = c->sub; s && n < sizeof text - 8; s = s->next) {
        const struct fanout_texts *t = &s->spec.tables;
        if (t->all)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s*", n ? " " : "");
        for (uint32_t i = 0; i < t->n && n < sizeof text - 8; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", n ? " " : "",
                                  (int)(t->text[i].len < 64 ? t->text[i].len : 64), t->text[i].p);
    }
    if (n >= sizeof text - 8)
        memcpy(text + sizeof text - 9, " ...", 5);
    pthread_mutex_lock(&c->t->registry);
    memcpy(c->t_tables, text, sizeof text);
    pthread_mutex_unlock(&c->t->registry);
}

/* ---- standing in a lane ---- */

static struct lane *lane_of(struct connection *c)
{
    return &c->t->lane[c->lane];
}

static void enter(struct lane *l)
{
    if (!l->consumers++)
        lane_wake(l);
}

static void quit(struct lane *l)
{
    if (!--l->consumers)
        lane_sleep(l);
}

/* Leaves the lane with everything below the returned position in its queue. */
static uint64_t leave(struct connection *c)
{
    struct lane *l = lane_of(c);
    fanout_settle(l->fanout, c);
    fanout_drop(l->fanout, c);
    uint64_t at = l->position;
    c->live = false;
    quit(l);
    return at;
}

static void raise_from(struct connection *c, uint64_t at)
{
    for (struct subscription *s = c->sub; s; s = s->next)
        if (s->from < at)
            s->from = at;
}

static uint64_t first_from(const struct connection *c)
{
    uint64_t at = UINT64_MAX;
    for (const struct subscription *s = c->sub; s; s = s->next)
        at = s->from < at ? s->from : at;
    return at;
}

static bool start(struct connection *c, enum start_kind kind, bool conflate)
{
    struct publisher *p = c->t;
    struct lane *l = lane_of(c);
    c->job = job_start(p->server->catchup, &p->inbox, c->id, c->sub, kind, first_from(c), l->limit,
                       conflate, c->notices);
    c->conflating = conflate;
    if (!c->job) {
        connection_kill(c, "no memory to catch up");
        publisher_grave(c);
    }
    return c->job != NULL;
}

/* Gives the job up; what it made stays in the queue as far as it is begun. Returns the position. */
static void take_in(struct connection *c, struct job_news *news)
{
    for (uint32_t i = 0; i < news->count; i++) {
        if (!consumer_push(&c->out, news->message[i].message, news->message[i].before))
            connection_kill(c, "no memory for what waits");
        message_release(news->message[i].message);
    }
    free(news->message);
    if (news->count)
        connection_dirty(c);
    if (news->count && c->positions && !c->dead)
        notice_behind(c, news->position);
}

static void leave_join(struct connection *c)
{
    struct lane *l = lane_of(c);
    fanout_drop(l->fanout, c);
    quit(l);
    consumer_free(&c->hold);
    c->joining = false;
}

static uint64_t give_up(struct connection *c)
{
    struct job_news news;
    uint64_t rows;
    if (c->joining) /* also when the job has ended: the next one reads from there again */
        leave_join(c);
    job_take(c->job, &news);
    take_in(c, &news);
    uint64_t at = consumer_rewind(&c->out, news.position, &rows);
    job_cancel(c->t->server->catchup, c->job);
    c->job = NULL;
    return at;
}

void subscribe_end(struct connection *c)
{
    if (c->joining)
        leave_join(c);
    if (c->live) {
        fanout_drop(lane_of(c)->fanout, c);
        quit(lane_of(c));
        c->live = false;
    }
    if (c->job)
        job_cancel(c->t->server->catchup, c->job);
    c->job = NULL;
    for (struct subscription *s = c->sub, *next; s; s = next) {
        next = s->next;
        subscription_free(s);
    }
    c->sub = NULL;
    relink(c);
}

/* ---- begin, end ---- */

/* Would the fan-out take it? Nothing stays. */
static bool sound(struct connection *c, const struct subscription *s, struct err *err)
{
    struct fanout *f = lane_of(c)->fanout;
    uint64_t id;
    static char nobody;
    if (!fanout_subscribe(f, &s->spec, &nobody, &id, err))
        return false;
    fanout_drop(f, &nobody);
    return true;
}

static bool add_live(struct connection *c, struct subscription *s, struct err *err)
{
    struct lane *l = lane_of(c);
    enter(l);
    if (!fanout_subscribe(l->fanout, &s->spec, c, &s->fanout_id, err)) {
        quit(l);
        return false;
    }
    s->from = l->position;
    if (c->live)
        quit(l); /* it stood there already */
    c->live = true;
    prune(c, s);
    insert(c, s);
    return true;
}

static bool add_past(struct connection *c, struct subscription *s, enum start_kind kind,
                     struct err *err)
{
    struct lane *l = lane_of(c);
    if (!sound(c, s, err))
        return false;
    prune(c, s);
    if (c->live)
        raise_from(c, leave(c));
    else if (c->job)
        raise_from(c, give_up(c));
    if (kind == START_LIVE) { /* beside others that catch up */
        enter(l);
        s->from = l->position;
        quit(l);
    } else if (kind != START_POSITION) {
        s->from = 0;
    }
    insert(c, s);
    return start(c, kind == START_LIVE ? START_POSITION : kind, c->conflating && c->nsubs > 1) ||
           err_set(err, -ENOMEM, "no memory");
}

/* An eighth of ipc.memory is the most for subscriptions of one connection; one plain subscription
 * everyone may have. */
static bool affordable(const struct connection *c, const struct subscription *s)
{
    struct server *v = c->t->server;
    uint64_t own = SUBSCRIPTION_COST * s->bytes, memory = (uint64_t)v->config->ipc.memory;
    return c->sub_bytes + own <= memory / 8 &&
           (own <= SUBSCRIPTION_COST * SUBSCRIPTION_LARGE || server_memory(v) + own <= memory);
}

bool subscribe_add(struct connection *c, struct subscription *s, enum start_kind kind,
                   unsigned lane, struct err *err)
{
    bool ok;
    if (c->nsubs && c->lane != lane) {
        subscription_free(s);
        return err_set(err, -EINVAL,
                       "durable and other subscriptions want connections of their own");
    }
    if (c->nsubs >= SUBSCRIPTIONS) {
        subscription_free(s);
        return err_set(err, -E2BIG, "%u subscriptions are the most of one connection",
                       SUBSCRIPTIONS);
    }
    if (s->spec.syms.n > SYMBOLS_LISTED) { /* their index is made on the thread that serves all */
        uint32_t n = s->spec.syms.n;
        subscription_free(s);
        return err_set(
            err, -E2BIG,
            "%u symbols in one subscription; %u are the most: subscribe to all, or give a "
            "where clause",
            n, SYMBOLS_LISTED);
    }
    if (!affordable(c, s)) {
        subscription_free(s);
        return err_set(err, -ENOMEM, "wsfull: ipc.memory is used up; name fewer symbols");
    }
    c->lane = lane;
    lane_learn_schemas(&c->t->dict, c->t->server->daemon->schemas);
    if (kind == START_LIVE && !c->job)
        ok = add_live(c, s, err);
    else
        ok = add_past(c, s, kind, err);
    if (!ok) {
        bool listed = false;
        for (struct subscription *x = c->sub; x; x = x->next)
            listed |= x == s;
        if (!listed)
            subscription_free(s);
        return false;
    }
    show(c);
    return true;
}

bool subscribe_remove(struct connection *c, uint64_t id)
{
    struct subscription **p = &c->sub;
    bool found = false;
    while (*p) {
        struct subscription *s = *p;
        if (id != UINT64_MAX && s->id != id) {
            p = &s->next;
            continue;
        }
        found = true;
        if (c->live)
            fanout_unsubscribe(lane_of(c)->fanout, c, s->fanout_id);
        *p = s->next;
        subscription_free(s);
    }
    relink(c);
    if (!found)
        return false;
    if (c->job) { /* it began with all of them: anew with the rest */
        uint64_t at = give_up(c);
        raise_from(c, at);
        if (c->sub)
            start(c, START_POSITION, c->conflating);
    } else if (!c->sub && c->live) {
        leave(c);
    }
    show(c);
    return true;
}

bool subscribe_allowed(const struct connection *c)
{
    for (const struct subscription *s = c->sub; s; s = s->next)
        for (uint32_t i = 0; i < s->spec.tables.n; i++) {
            char name[SCHEMA_NAME_MAX];
            const struct fanout_text *t = &s->spec.tables.text[i];
            if (t->len >= sizeof name)
                return false;
            memcpy(name, t->p, t->len);
            name[t->len] = 0;
            if (!user_may_read(c->user, name))
                return false;
        }
    /* A subscription to all tables asks for each of them, as the user it was made by; it may go on
     * while that user's tables are a part of what may be read now. */
    for (const struct subscription *s = c->sub; s; s = s->next)
        if (s->spec.tables.all && !user_reads_all_of(c->user, s->spec.rights.user))
            return false;
    return true;
}

/* ---- data ---- */

void subscribe_sink(void *arg, void *consumer, struct message *m)
{
    struct publisher *p = arg;
    struct connection *c = consumer;
    struct server *s = p->server;
    struct consumer *to = c->joining ? &c->hold : &c->out;
    if (c->dead)
        return;
    uint64_t before = m->kind == MESSAGE_FRAMES ? m->first : p->lane[c->lane].before;
    if (!consumer_push(to, m, before)) {
        connection_kill(c, "no memory for what waits");
        publisher_grave(c);
        return;
    }
    uint64_t lag = c->out.lag_bytes + c->hold.lag_bytes, alert = load_relaxed(&s->alert),
             act = load_relaxed(&s->act);
    if ((!c->blocked && !c->joining) || (alert && lag >= alert) || (act && lag >= act))
        connection_dirty(c);
}

void subscribe_failed(void *arg, void *consumer, uint64_t id, const char *why)
{
    struct connection *c = consumer;
    (void)arg;
    (void)id;
    connection_kill(c, "a subscription failed: %s", why);
    publisher_grave(c);
}

/* ---- the end of catching up ---- */

/* The job has given everything below the join. */
static void joined(struct connection *c)
{
    notice_position(c, "replayed", c->join_at);
    for (uint32_t i = 0; i < c->hold.count; i++) {
        const struct consumer_item *x = &c->hold.item[(c->hold.head + i) & (c->hold.room - 1)];
        if (!consumer_push(&c->out, x->message, x->before)) {
            connection_kill(c, "no memory for what waits");
            publisher_grave(c);
        }
    }
    consumer_free(&c->hold);
    c->joining = false;
    c->live = true;
    c->conflating = false;
    job_release(c->job);
    c->job = NULL;
    connection_dirty(c);
}

/* False: the job had ended at the join already, and the consumer is live now. */
static bool unjoin(struct connection *c)
{
    struct job_news news;
    if (job_unjoin(c->job)) {
        leave_join(c);
        return true;
    }
    job_take(c->job, &news);
    take_in(c, &news);
    joined(c);
    return false;
}

/* ---- policies ---- */

enum consumer_policy subscribe_policy_of(const struct connection *c)
{
    return c->policy >= 0 ? (enum consumer_policy)c->policy
           : c->user && c->user->policy != USER_POLICY_UNSET
               ? (enum consumer_policy)c->user->policy
               : (enum consumer_policy)load_relaxed(&c->t->server->default_policy);
}

static void behind(struct connection *c, bool conflate)
{
    uint64_t rows, end = leave(c), at = consumer_rewind(&c->out, end, &rows);
    raise_from(c, at);
    notice_range(c, "behind", at, end);
    start(c, START_POSITION, conflate);
}

void subscribe_policy(struct connection *c)
{
    struct server *s = c->t->server;
    enum consumer_policy policy = subscribe_policy_of(c);
    char text[96];
    if (streams_policy(c))
        return;
    if (c->joining && unjoin(c)) /* it did not keep up while it joined: the job goes on */
        return;
    if (!c->live || c->out.skipping)
        return;
    snprintf(text, sizeof text, "%s: %llu bytes wait", consumer_policy_text(policy),
             (unsigned long long)c->out.lag_bytes);
    atomic_fetch_add_explicit(&s->policy[policy], 1, memory_order_relaxed);
    struct access_entry e = connection_entry(c, ACCESS_POLICY);
    e.reason = text;
    access_log(s->access, &e);
    switch (policy) {
    case CONSUMER_DISCONNECT:
        connection_kill(c, "too slow: %llu bytes wait for it (consumer_disconnect_size)",
                        (unsigned long long)c->out.lag_bytes);
        publisher_grave(c);
        break;
    case CONSUMER_CATCH_UP:
    case CONSUMER_CONFLATE:
        behind(c, policy == CONSUMER_CONFLATE);
        break;
    case CONSUMER_SKIP:
        fanout_settle(lane_of(c)->fanout, c);
        consumer_skip(&c->out, lane_of(c)->position);
        break;
    }
}

void subscribe_lapped(struct publisher *t, unsigned lane)
{
    struct lane *l = &t->lane[lane];
    for (struct connection *c = t->first; c; c = c->next) {
        if (c->dead || c->lane != lane)
            continue;
        if (c->joining && unjoin(c))
            continue;
        if (c->live)
            behind(c, false);
    }
    lane_sleep(l); /* whoever joins wakes it at the present */
    if (l->consumers)
        lane_wake(l);
}

/* ---- catching up ---- */

static void join(struct connection *c)
{
    struct lane *l = lane_of(c);
    struct err err;
    enter(l);
    c->joining = true; /* before: what the others wait for is sent first, and is none of ours */
    for (struct subscription *s = c->sub; s; s = s->next)
        if (!fanout_subscribe(l->fanout, &s->spec, c, &s->fanout_id, &err)) {
            connection_kill(c, "%s", err.text);
            publisher_grave(c);
            return;
        }
    c->join_at = l->position;
    job_join(c->t->server->catchup, c->job, l->position);
}

void subscribe_job(struct connection *c)
{
    struct job_news news;
    if (c->dead || !c->job || c->out.lag_bytes > JOB_LOW)
        return;
    job_take(c->job, &news);
    if (news.started && c->awaits_start)
        dispatch_started(c, news.start);
    take_in(c, &news);
    if (news.failed) {
        connection_kill(c, "%s", news.why);
        publisher_grave(c);
    } else if (news.done && c->joining) {
        joined(c);
    } else if (news.near && !c->joining && (!c->conflating || consumer_empty(&c->out))) {
        struct lane *l = lane_of(c);
        if (!c->conflating && lane_limit(l) - news.reached > JOB_FAR) {
            job_unjoin(c->job); /* its consumer took long to come here */
        } else if (l->awake && l->position < news.reached) {
            c->wants_join = true; /* this thread's reader comes there in a moment */
            connection_waiting(c);
        } else {
            join(c);
        }
    }
}

void subscribe_drained(struct connection *c)
{
    if (c->stalled && consumer_empty(&c->out))
        streams_drained(c);
    if (c->job && c->out.lag_bytes <= JOB_LOW)
        subscribe_job(c);
    if (!c->out.skipping || !consumer_empty(&c->out))
        return;
    struct lane *l = lane_of(c);
    fanout_settle(l->fanout, c); /* counted as skipped */
    if (consumer_resume(&c->out, l->position))
        notice_skipped(c, c->out.skipped_rows, c->out.skipped_from, c->out.skipped_to);
}
