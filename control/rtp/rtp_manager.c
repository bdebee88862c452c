/* SPDX-License-Identifier: Apache-2.0 */
/* Asks of clients, streams and their members, time. */
#include <errno.h>
#include <stdlib.h>
#include "core/clock.h"
#include "core/nearest.h"
#include "rtp_manager_parts.h"

#define LOOK_NS (100 * NS_PER_MS)

void manager_count(struct rtp_manager *m, unsigned f, int64_t n)
{
    atomic_fetch_add_explicit(&m->f[f], (uint64_t)n, memory_order_relaxed);
}

void manager_refuse(struct rtp_manager *m, unsigned thread, uint64_t token, const char *text)
{
    struct stream_event *e = stream_event_new(STREAM_REFUSED, 0, NULL);
    if (!e)
        return; /* the client waits until it goes: there is no memory for anything else either */
    e->token = token;
    e->text = strdup(text);
    hub_post(m->hub, thread, e);
}

/* ---- members ---- */

static void list_in(struct member **list, struct member *x)
{
    x->next = *list;
    x->at = list;
    if (x->next)
        x->next->at = &x->next;
    *list = x;
}
static void list_out(struct member *x)
{
    *x->at = x->next;
    if (x->next)
        x->next->at = x->at;
}

void member_live(struct member *x)
{
    list_out(x);
    x->live = true;
    list_in(&x->s->live, x);
}
void member_wait(struct member *x)
{
    list_out(x);
    x->live = false;
    list_in(&x->s->waiting, x);
}

static unsigned member_bucket(unsigned thread, uint64_t token)
{
    return (unsigned)((token * HUB_THREADS + thread) % MEMBER_BUCKETS);
}

static struct member *member_find(struct rtp_manager *m, unsigned thread, uint64_t token)
{
    struct member *x = m->member[member_bucket(thread, token)];
    while (x && (x->token != token || x->thread != thread))
        x = x->bucket;
    return x;
}

void member_free(struct rtp_manager *m, struct member *x)
{
    struct member **p = &m->member[member_bucket(x->thread, x->token)];
    while (*p != x)
        p = &(*p)->bucket;
    *p = x->bucket;
    list_out(x);
    x->s->members--;
    m->members--;
    if (x->opened) {
        struct face *f = &x->s->face[x->face];
        f->members--;
        f->on_thread[x->thread]--;
        x->s->nopened--;
    } else {
        m->unopened--;
    }
    user_release(x->user);
    free(x);
}

static struct member *member_new(struct rtp_manager *m, struct rtp_stream *s, struct stream_ask *a)
{
    struct member *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    *x = (struct member){.s = s,
                         .user = user_hold(a->user),
                         .token = a->token,
                         .connection = a->connection,
                         .deadline = m->now + RTP_OPEN_NS,
                         .thread = a->thread,
                         .want = a->want};
    struct member **b = &m->member[member_bucket(x->thread, x->token)];
    x->bucket = *b;
    *b = x;
    list_in(&s->waiting, x);
    s->members++;
    m->members++;
    m->unopened++;
    return x;
}

/* ---- streams ---- */

static uint32_t hash_of(unsigned g, const char *name, const char *user, const uint8_t *params,
                        uint32_t n)
{
    uint64_t h = 1469598103934665603ull + g; /* FNV-1a */
    for (const char *c = name; *c; c++)
        h = (h ^ (uint8_t)*c) * 1099511628211ull;
    for (const char *c = user; *c; c++)
        h = (h ^ (uint8_t)*c) * 1099511628211ull;
    for (uint32_t i = 0; i < n; i++)
        h = (h ^ params[i]) * 1099511628211ull;
    return (uint32_t)(h ^ h >> 32);
}

static struct rtp_stream *stream_find(struct rtp_manager *m, unsigned g, const char *name,
                                      const char *user, const struct kdb_out *params, uint32_t hash)
{
    struct rtp_stream *s = m->by_key[hash % STREAM_BUCKETS];
    while (s &&
           (s->hash != hash || s->g != g || s->nparams != params->len || strcmp(s->name, name) ||
            strcmp(s->user, user) || memcmp(s->params, params->data, s->nparams)))
        s = s->by_key;
    return s;
}

struct rtp_stream *stream_of(struct rtp_manager *m, uint64_t wire_id)
{
    uint64_t number = wire_id >> SEQ_BITS;
    struct rtp_stream *s = m->by_number[number % STREAM_BUCKETS];
    while (s && s->number != number)
        s = s->by_id;
    return s;
}

/* ---- who began how many ---- */

static struct beginner **beginner(struct rtp_manager *m, const struct user *u)
{
    struct beginner **b = &m->beginners;
    while (*b && strcmp((*b)->name, u->name) != 0)
        b = &(*b)->next;
    return b;
}

static bool begins(struct rtp_manager *m, struct rtp_stream *s, const struct user *u)
{
    if (!u->streams)
        return true;
    struct beginner **b = beginner(m, u);
    if (!*b && !(*b = calloc(1, sizeof **b)))
        return false;
    snprintf((*b)->name, sizeof(*b)->name, "%s", u->name);
    (*b)->streams++;
    s->by = *b;
    return true;
}

static void begun_ends(struct rtp_manager *m, struct rtp_stream *s)
{
    if (!s->by || --s->by->streams)
        return;
    struct beginner **b = &m->beginners;
    while (*b != s->by)
        b = &(*b)->next;
    *b = s->by->next;
    free(s->by);
}

static void stream_free(struct rtp_stream *s)
{
    stream_drop_state(s);
    for (unsigned i = 0; s->instance && i < s->n; i++)
        free((void *)s->instance[i].last.data);
    json_decref(s->columns);
    json_decref(s->key);
    free(s->instance);
    free(s->params);
    free(s->tables);
    free(s->doom);
    free(s);
}

static struct rtp_stream *stream_new(struct rtp_manager *m, unsigned g, const char *name,
                                     const char *user, struct kdb_out *params, uint32_t hash,
                                     const json_t *analytic, const char *tables,
                                     const struct user *by)
{
    struct group *grp = &m->group[g];
    struct rtp_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->n = grp->mode == RTP_BROADCAST ? grp->processes : 1;
    s->instance = calloc(s->n, sizeof *s->instance);
    s->tables = tables ? strdup(tables) : NULL;
    if (!s->instance || (tables && !s->tables) || !begins(m, s, by)) {
        stream_free(s);
        return NULL;
    }
    for (unsigned i = 0; i < s->n; i++)
        s->instance[i] = (struct instance){.s = s, .k = i};
    s->number = ++m->next_number;
    s->g = g;
    s->hash = hash;
    s->params = params->data;
    s->nparams = (uint32_t)params->len;
    *params = (struct kdb_out){0};
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->user, sizeof s->user, "%s", user);
    s->full = json_is_true(json_object_get(analytic, "full"));
    s->since = m->now;
    s->face[FACE_DELTA].id = ++m->next_face;
    s->face[FACE_FULL].id = ++m->next_face;
    struct rtp_stream **b = &m->by_number[s->number % STREAM_BUCKETS];
    s->by_id = *b;
    *b = s;
    b = &m->by_key[hash % STREAM_BUCKETS];
    s->by_key = *b;
    *b = s;
    s->next = grp->streams;
    s->link = &grp->streams;
    if (s->next)
        s->next->link = &s->next;
    grp->streams = s;
    grp->nstreams++;
    m->streams++;
    m->params_bytes += s->nparams;
    manager_count(m, F_SUBSCRIBED, 1);
    return s;
}

void stream_end(struct rtp_manager *m, struct rtp_stream *s)
{
    struct group *grp = &m->group[s->g];
    stream_unplace(m, s);
    stream_retried(m, s);
    struct rtp_stream **b = &m->by_number[s->number % STREAM_BUCKETS];
    while (*b != s)
        b = &(*b)->by_id;
    *b = s->by_id;
    b = &m->by_key[s->hash % STREAM_BUCKETS];
    while (*b != s)
        b = &(*b)->by_key;
    *b = s->by_key;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    grp->nstreams--;
    m->streams--;
    m->params_bytes -= s->nparams;
    unsigned g = s->g;
    begun_ends(m, s);
    stream_free(s);
    manager_want(m, g);
}

void stream_stop(struct rtp_manager *m, struct rtp_stream *s, const char *kind, const char *why)
{
    for (unsigned f = 0; f < FACES; f++) {
        struct message *n = show_notice(s->face[f].id, kind, why);
        face_post(m, &s->face[f], STREAM_ENDED, n);
        message_release(n);
    }
    struct member *x;
    while ((x = s->waiting ? s->waiting : s->live)) {
        if (!x->opened)
            manager_refuse(m, x->thread, x->token, why);
        member_free(m, x);
    }
    stream_end(m, s);
}

/* ---- groups ---- */

void manager_want(struct rtp_manager *m, unsigned g)
{
    struct group *grp = &m->group[g];
    bool want = grp->nstreams || grp->npending;
    if (want == grp->wanted || !m->link)
        return;
    grp->wanted = want;
    m->link->want(m->link->pool, g, want);
}

const json_t *manager_analytic(struct rtp_manager *m, unsigned g, const char *name)
{
    size_t i;
    const json_t *a, *ready = m->link->ready(m->link->pool, g);
    json_array_foreach(json_object_get(ready, "analytics"), i, a)
    {
        if (!strcmp(json_string_value(json_object_get(a, "name")), name))
            return a;
    }
    return NULL;
}

/* Analytics of the group are not known yet, but will be. */
static bool unknown_yet(struct rtp_manager *m, unsigned g)
{
    struct rtp_group_facts f;
    if (m->link->ready(m->link->pool, g))
        return false;
    m->link->group(m->link->pool, g, &f);
    return !f.stopped;
}

static int group_by_name(const struct rtp_manager *m, const char *name)
{
    for (unsigned g = 0; g < m->ngroups; g++)
        if (!strcmp(m->group[g].name, name))
            return (int)g;
    return -1;
}

static void no_such(struct rtp_manager *m, const struct stream_ask *a)
{
    const char *names[256];
    unsigned n = 0;
    char text[400];
    for (unsigned g = 0; g < m->ngroups; g++) {
        size_t i;
        const json_t *x, *ready = m->link->ready(m->link->pool, g);
        json_array_foreach(json_object_get(ready, "analytics"), i, x) if (n < PST_COUNT(names))
            names[n++] = json_string_value(json_object_get(x, "name"));
    }
    const char *near = nearest_word(a->name, names, n);
    snprintf(text, sizeof text,
             "domain: no streaming analytic %.64s%s%.64s%s%.64s; .sa.list[] shows what there is",
             a->name, *a->group ? " in the group " : "", a->group, near ? "; perhaps " : "",
             near ? near : "");
    manager_refuse(m, a->thread, a->token, text);
}

/* ---- opening ---- */

/* Names of what it reads, for rights; *all: not known. False: no memory. */
static bool tables_of(const json_t *analytic, const struct kdb_out *params, char **out)
{
    const json_t *list = json_object_get(analytic, "tables"), *t;
    struct kdb_out text = {0};
    size_t i;
    bool found = json_is_array(list);
    json_array_foreach(list, i, t)
    {
        if (text.len)
            kdb_out_bytes(&text, " ", 1);
        kdb_out_bytes(&text, json_string_value(t), json_string_length(t));
    }
    struct kdb_object dict, v;
    kdb_object_view(&dict, params->data, KDB_LITTLE);
    static const char *const keys[] = {"table", "tables"};
    for (unsigned k = 0; !json_is_array(list) && k < PST_COUNT(keys); k++) {
        struct kdb_texts x;
        if (!kdb_dict_value(&dict, keys[k], &v) ||
            (v.type != PST_SYMBOL && v.type != -PST_SYMBOL) || !v.count)
            continue;
        for (bool more = kdb_texts(&v, &x); more; more = kdb_texts_next(&x)) {
            found |= x.len != 0;
            if (text.len && x.len)
                kdb_out_bytes(&text, " ", 1);
            kdb_out_bytes(&text, x.text, x.len);
        }
    }
    kdb_out_bytes(&text, "", 1);
    *out = found ? (char *)text.data : NULL;
    if (!found)
        kdb_out_free(&text);
    return !text.failed;
}

/* A sentence, or nothing: this user may have it. */
static bool denied(const struct user *u, const char *name, const char *tables, char *why,
                   size_t room)
{
    *why = 0;
    if (!user_may_call(u, name)) {
        snprintf(why, room, "access: the user %s may not call %s", u->name, name);
    } else if (u->durable_only) {
        snprintf(why, room,
                 "access: streams show what is committed, and the user %s sees only what is synced "
                 "(durable_only)",
                 u->name);
    } else if (!tables && !u->tables.all) {
        snprintf(why, room,
                 "access: which tables %s reads is not known: only for users who may read all of "
                 "them",
                 name);
    } else if (tables && !u->tables.all) {
        char word[256];
        for (const char *at = tables; *at;) {
            size_t n = strcspn(at, " ");
            snprintf(word, sizeof word, "%.*s", (int)n, at);
            if (n >= sizeof word || !user_may_read(u, word)) {
                snprintf(why, room, "access: %s reads %s, and the user %s may not", name, word,
                         u->name);
                break;
            }
            at += n + (at[n] == ' ');
        }
    }
    return *why != 0;
}

static void join(struct rtp_manager *m, struct rtp_stream *s, struct stream_ask *a, bool fresh)
{
    struct member *x = member_new(m, s, a);
    if (!x) {
        manager_refuse(m, a->thread, a->token, "wsfull");
        if (!s->members)
            stream_end(m, s);
        return;
    }
    if (fresh) {
        stream_place(m, s);
    } else {
        manager_count(m, F_SHARED, 1);
        stream_ask_state(m, s);
    }
}

static void open_in(struct rtp_manager *m, unsigned g, const json_t *analytic, struct stream_ask *a)
{
    struct kdb_out params = {0};
    struct err err = {0};
    struct kdb_object given;
    struct rtp_group_facts facts;
    struct beginner **by;
    char why[400], *tables = NULL;
    const char *user = json_is_true(json_object_get(analytic, "per_user")) ? a->user->name : "";
    if (a->len)
        kdb_object_view(&given, a->data, a->order);
    if (!user_may_call(a->user, a->name)) { /* before it learns anything of its parameters */
        denied(a->user, a->name, "", why, sizeof why);
        manager_refuse(m, a->thread, a->token, why);
        return;
    }
    if (!rtp_params_make(a->name, json_object_get(analytic, "parameters"), a->len ? &given : NULL,
                         a->flags, &params, &err) ||
        !tables_of(analytic, &params, &tables)) {
        manager_refuse(m, a->thread, a->token, *err.text ? err.text : "wsfull");
        kdb_out_free(&params);
        free(tables);
        return;
    }
    m->link->group(m->link->pool, g, &facts);
    uint32_t hash = hash_of(g, a->name, user, params.data, (uint32_t)params.len);
    struct rtp_stream *s = stream_find(m, g, a->name, user, &params, hash);
    *why = 0;
    if (denied(a->user, a->name, tables, why, sizeof why))
        ;
    else if (!s && facts.stopped)
        snprintf(why, sizeof why,
                 "the group %s is stopped; an operator starts it: penstock rtp start %s",
                 facts.name, facts.name);
    else if (m->members >= RTP_CLIENTS_MAX || (!s && m->streams >= RTP_STREAMS_MAX))
        snprintf(why, sizeof why, "limit: %u streams and %u clients of them are the most",
                 RTP_STREAMS_MAX, RTP_CLIENTS_MAX);
    else if (!s && a->user->streams && *(by = beginner(m, a->user)) &&
             (*by)->streams >= a->user->streams)
        snprintf(why, sizeof why,
                 "limit: %u computations run that the user %s began, the most that it may (streams "
                 "in the users file); join one that runs, or leave one",
                 (*by)->streams, a->user->name);
    else if (!s && m->params_bytes + params.len > RTP_PARAMS_ALL)
        snprintf(why, sizeof why, "limit: the parameters of all streams hold %u MiB",
                 RTP_PARAMS_ALL >> 20);
    bool fresh = !s;
    if (!*why && !s &&
        !(s = stream_new(m, g, a->name, user, &params, hash, analytic, tables, a->user)))
        snprintf(why, sizeof why, "wsfull");
    if (*why) {
        manager_refuse(m, a->thread, a->token, why);
    } else {
        manager_want(m, g);
        join(m, s, a, fresh);
    }
    kdb_out_free(&params);
    free(tables);
}

/* Where it runs: the group named, else the first that has it and is up, else the first that has it.
 * *waits: bits of groups of which that is not known yet. -1: none (yet). */
static int group_for(struct rtp_manager *m, const struct stream_ask *a, uint32_t *waits)
{
    int best = -1;
    *waits = 0;
    for (unsigned g = 0; g < m->ngroups; g++) {
        struct rtp_group_facts f;
        if (*a->group && strcmp(m->group[g].name, a->group) != 0)
            continue;
        if (!manager_analytic(m, g, a->name)) {
            *waits |= (uint32_t)unknown_yet(m, g) << g;
            continue;
        }
        m->link->group(m->link->pool, g, &f);
        if (f.up)
            return (int)g;
        best = best < 0 ? (int)g : best;
    }
    return best;
}

static void pend(struct rtp_manager *m, struct stream_ask *a, uint32_t groups)
{
    struct pending *p = calloc(1, sizeof *p);
    if (!p) {
        manager_refuse(m, a->thread, a->token, "wsfull");
        stream_ask_free(a);
        return;
    }
    *p = (struct pending){.ask = a, .deadline = m->now + RTP_OPEN_NS, .groups = groups};
    *m->pending_last = p;
    m->pending_last = &p->next;
    for (unsigned g = 0; g < m->ngroups; g++)
        if (groups >> g & 1) {
            m->group[g].npending++;
            manager_want(m, g);
        }
}

/* True: a is done with. False: *waits says for which groups. */
static bool open_try(struct rtp_manager *m, struct stream_ask *a, uint32_t *waits)
{
    int g = group_for(m, a, waits);
    if (g >= 0) {
        open_in(m, (unsigned)g, manager_analytic(m, (unsigned)g, a->name), a);
        return true;
    }
    if (*waits)
        return false;
    if (*a->group && group_by_name(m, a->group) < 0) {
        char text[200];
        snprintf(text, sizeof text, "domain: there is no group %s (key rtp)", a->group);
        manager_refuse(m, a->thread, a->token, text);
    } else {
        no_such(m, a);
    }
    return true;
}

static void list_reply(struct rtp_manager *m, const struct stream_ask *a)
{
    struct stream_event *e = stream_event_new(STREAM_REPLY, 0, NULL);
    if (!e)
        return;
    e->message = show_analytics(m, a->user);
    e->token = a->token;
    hub_post(m->hub, a->thread, e);
}

static bool list_try(struct rtp_manager *m, struct stream_ask *a, uint32_t *waits)
{
    *waits = 0;
    for (unsigned g = 0; g < m->ngroups; g++)
        *waits |= (uint32_t)unknown_yet(m, g) << g;
    if (!*waits)
        list_reply(m, a);
    return !*waits;
}

static bool try_it(struct rtp_manager *m, struct stream_ask *a, uint32_t *waits)
{
    return a->kind == STREAM_OPEN ? open_try(m, a, waits) : list_try(m, a, waits);
}

static void unpend(struct rtp_manager *m, struct pending **p)
{
    struct pending *x = *p;
    *p = x->next;
    if (m->pending_last == &x->next)
        m->pending_last = p;
    for (unsigned g = 0; g < m->ngroups; g++)
        if (x->groups >> g & 1) {
            m->group[g].npending--;
            manager_want(m, g);
        }
    stream_ask_free(x->ask);
    free(x);
}

void manager_again(struct rtp_manager *m, unsigned g)
{
    uint32_t waits;
    for (struct pending **p = &m->pending; *p;)
        if ((*p)->groups >> g & 1 && try_it(m, (*p)->ask, &waits))
            unpend(m, p);
        else
            p = &(*p)->next;
}

/* ---- what clients ask ---- */

static void close_member(struct rtp_manager *m, const struct stream_ask *a)
{
    for (struct pending **p = &m->pending; *p; p = &(*p)->next)
        if ((*p)->ask->thread == a->thread && (*p)->ask->token == a->token) {
            unpend(m, p);
            return;
        }
    struct member *x = member_find(m, a->thread, a->token);
    if (!x)
        return;
    struct rtp_stream *s = x->s;
    member_free(m, x);
    if (!s->members)
        stream_end(m, s);
}

static void ask_state(struct rtp_manager *m, const struct stream_ask *a)
{
    struct member *x = member_find(m, a->thread, a->token);
    if (!x || !x->opened)
        return;
    if (x->live)
        member_wait(x);
    stream_ask_state(m, x->s);
}

static void take(struct rtp_manager *m, struct stream_ask *a)
{
    uint32_t waits;
    struct stream_event *e;
    switch (a->kind) {
    case STREAM_OPEN:
    case STREAM_LIST:
        if (!try_it(m, a, &waits)) {
            pend(m, a, waits);
            return;
        }
        break;
    case STREAM_STATE:
        ask_state(m, a);
        break;
    case STREAM_CLOSE:
        close_member(m, a);
        break;
    case STREAM_SHOW:
        e = stream_event_new(STREAM_REPLY, 0, NULL);
        if (e) {
            e->message = show_streams(m, a);
            e->token = a->token;
            hub_post(m->hub, a->thread, e);
        }
        break;
    }
    stream_ask_free(a);
}

/* ---- time ---- */

/* Why it is not answered. */
static void too_long(struct rtp_manager *m, unsigned g, char *text, size_t room)
{
    struct rtp_group_facts f;
    m->link->group(m->link->pool, g, &f);
    if (f.stopped)
        snprintf(text, room, "the group %s is stopped (penstock rtp start %s)", f.name, f.name);
    else if (!f.up)
        snprintf(text, room, "no process of the group %s is up%s%.150s; ask again later", f.name,
                 *f.why ? ": " : "", f.why);
    else
        snprintf(text, room, "the group %s did not answer within %lld s; ask again later", f.name,
                 RTP_OPEN_NS / NS_PER_S);
}

static void overdue_members(struct rtp_manager *m, struct rtp_stream *s)
{
    char text[300];
    for (struct member *x = s->waiting, *next; x; x = next) {
        next = x->next;
        if (x->opened || m->now < x->deadline)
            continue;
        too_long(m, s->g, text, sizeof text);
        manager_refuse(m, x->thread, x->token, text);
        member_free(m, x);
    }
}

static void overdue(struct rtp_manager *m)
{
    char text[300];
    for (struct pending **p = &m->pending; *p;) {
        if (m->now < (*p)->deadline) {
            p = &(*p)->next;
            continue;
        }
        unsigned g = 0;
        while (g + 1 < m->ngroups && !((*p)->groups >> g & 1))
            g++;
        too_long(m, g, text, sizeof text);
        if ((*p)->ask->kind == STREAM_LIST)
            list_reply(m, (*p)->ask); /* of the others */
        else
            manager_refuse(m, (*p)->ask->thread, (*p)->ask->token, text);
        unpend(m, p);
    }
    for (unsigned g = 0; g < m->ngroups && m->unopened; g++)
        for (struct rtp_stream *s = m->group[g].streams, *next; s; s = next) {
            next = s->next;
            overdue_members(m, s);
            if (!s->members)
                stream_end(m, s);
        }
}

static void retries(struct rtp_manager *m)
{
    for (unsigned g = 0; g < m->ngroups && m->retrying; g++)
        for (struct rtp_stream *s = m->group[g].streams, *next; s; s = next) {
            next = s->next;
            if (!s->retry_at || m->now < s->retry_at)
                continue;
            s->retry_at = m->now + RTP_RETRY_NS;
            if (s->doom)
                stream_stop(m, s, "stopped", s->doom);
            else if (stream_placed(s))
                stream_ask_state(m, s);
            else
                stream_place(m, s);
        }
}

static uint32_t waiting(const struct rtp_manager *m)
{
    uint32_t n = m->unopened;
    for (const struct pending *p = m->pending; p; p = p->next)
        n++;
    return n;
}

static int work(void *arg, int64_t now)
{
    struct rtp_manager *m = arg;
    int did = 0;
    m->now = now;
    for (struct stream_ask *a = hub_asked(m->hub), *next; a; a = next, did++) {
        next = a->next;
        take(m, a);
    }
    if (now - m->looked_at >= LOOK_NS) {
        m->looked_at = now;
        overdue(m);
        retries(m);
    }
    place_deferred(m);
    store_relaxed(&m->f[F_STREAMS], m->streams);
    store_relaxed(&m->f[F_CLIENTS], m->members);
    store_relaxed(&m->f[F_WAITING], waiting(m));
    return did;
}

static void plugins(void *arg, unsigned g)
{
    manager_again(arg, g);
}

static int fd(void *arg)
{
    return hub_fd(((struct rtp_manager *)arg)->hub);
}

static void stop(void *arg)
{
    struct rtp_manager *m = arg;
    hub_end(m->hub);
    while (m->pending) {
        manager_refuse(m, m->pending->ask->thread, m->pending->ask->token, "penstockd stops");
        unpend(m, &m->pending);
    }
    for (unsigned g = 0; g < m->ngroups; g++)
        while (m->group[g].streams) {
            struct rtp_stream *s = m->group[g].streams;
            struct member *x;
            while ((x = s->waiting ? s->waiting : s->live)) {
                if (!x->opened) /* the others' connections are closed: they come again */
                    manager_refuse(m, x->thread, x->token, "penstockd stops");
                member_free(m, x);
            }
            stream_end(m, s);
        }
}

/* ---- begin and end ---- */

struct rtp_manager *rtp_manager_open(struct stream_hub *hub, struct err *err)
{
    struct rtp_manager *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, -ENOMEM, "streams: no memory");
        return NULL;
    }
    m->hub = hub;
    m->pending_last = &m->pending;
    m->events = (struct rtp_events){.arg = m,
                                    .up = place_up,
                                    .down = place_down,
                                    .message = state_message,
                                    .plugins = plugins,
                                    .fd = fd,
                                    .work = work,
                                    .stop = stop,
                                    .show = show_group};
    return m;
}

bool rtp_manager_link(struct rtp_manager *m, const struct rtp_link *link, struct err *err)
{
    m->link = link;
    m->ngroups = link->groups(link->pool);
    m->group = calloc(m->ngroups + 1, sizeof *m->group);
    if (!m->group)
        return err_set(err, -ENOMEM, "streams: no memory");
    for (unsigned g = 0; g < m->ngroups; g++) {
        struct rtp_group_facts f;
        link->group(link->pool, g, &f);
        m->group[g].mode = f.mode;
        m->group[g].processes = f.processes;
        snprintf(m->group[g].name, sizeof m->group[g].name, "%s", f.name);
    }
    return true;
}

void rtp_manager_close(struct rtp_manager *m)
{
    if (!m)
        return;
    m->link = NULL;
    while (m->pending)
        unpend(m, &m->pending);
    for (unsigned g = 0; g < m->ngroups; g++)
        while (m->group[g].streams) {
            struct rtp_stream *s = m->group[g].streams;
            struct member *x;
            while ((x = s->waiting ? s->waiting : s->live))
                member_free(m, x);
            stream_end(m, s);
        }
    if (m->group)
        place_close(m);
    free(m->group);
    free(m);
}

const struct rtp_events *rtp_manager_events(struct rtp_manager *m)
{
    return &m->events;
}

void rtp_manager_figures(const struct rtp_manager *m, struct rtp_manager_figures *out)
{
    uint64_t v[F_MOVED + 1];
    for (unsigned i = 0; i < PST_COUNT(v); i++)
        v[i] = load_relaxed(&m->f[i]);
    *out = (struct rtp_manager_figures){
        .streams = (uint32_t)v[F_STREAMS],
        .clients = (uint32_t)v[F_CLIENTS],
        .waiting = (uint32_t)v[F_WAITING],
        .subscribed = v[F_SUBSCRIBED],
        .shared = v[F_SHARED],
        .states = v[F_STATES],
        .updates = v[F_UPDATES],
        .rows = v[F_ROWS],
        .bytes = v[F_BYTES],
        .moved = v[F_MOVED],
    };
}
