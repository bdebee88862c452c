/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/streams.h"

#include <errno.h>
#include <stdlib.h>
#include "publish/dispatch_parts.h"
#include "rtp/rtp_params.h"

#define BUCKETS_OF 4096u

struct streams {
    struct publisher *p;
    uint64_t tokens;
    struct stream_member *token[BUCKETS_OF], *face[BUCKETS_OF];
};

struct streams *streams_open(struct publisher *p, struct err *err)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        err_set(err, -ENOMEM, "publish: no memory");
    else
        s->p = p;
    return s;
}

void streams_close(struct streams *s)
{
    free(s);
}

/* ---- members ---- */

static struct stream_member *by_token(struct streams *s, uint64_t token)
{
    struct stream_member *x = s->token[token % BUCKETS_OF];
    while (x && x->token != token)
        x = x->by_token;
    return x;
}

static void bind_face(struct streams *s, struct stream_member *x, uint64_t face)
{
    struct stream_member **b = &s->face[face % BUCKETS_OF];
    x->face = face;
    x->since = s->p->time;
    x->by_face = *b;
    x->place = b;
    if (x->by_face)
        x->by_face->place = &x->by_face;
    *b = x;
}

/* t_streams, for `penstock clients`. */
static void show(struct connection *c)
{
    char text[sizeof c->t_streams] = "";
    size_t n = 0;
    uint32_t left = 0;
    for (const struct stream_member *x = c->streams; x; x = x->next) {
        if (!x->place)
            continue;
        if (n + strlen(x->name) + 16 > sizeof text)
            left++;
        else
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", x->name);
    }
    if (left)
        snprintf(text + n, sizeof text - n, " +%u", left);
    pthread_mutex_lock(&c->t->registry);
    memcpy(c->t_streams, text, sizeof text);
    pthread_mutex_unlock(&c->t->registry);
}

static void tell(struct connection *c, enum stream_ask_kind kind, uint64_t token)
{
    struct stream_ask *a = stream_ask_new(kind, NULL, 0);
    if (!a) { /* it would wait, or be computed, for ever */
        connection_kill(c, "no memory for a stream");
        publisher_grave(c);
        return;
    }
    a->thread = c->t->index;
    a->connection = c->id;
    a->token = token;
    hub_ask(c->t->server->hub, a); /* false: the manager has ended, nothing runs any more */
}

/* It has ended: its line in the access log, and it is no more. */
static void take_out(struct connection *c, struct stream_member *x)
{
    struct streams *s = c->t->streams;
    struct stream_member **p = &s->token[x->token % BUCKETS_OF];
    while (*p != x)
        p = &(*p)->by_token;
    *p = x->by_token;
    for (p = &c->streams; *p != x;)
        p = &(*p)->next;
    *p = x->next;
    c->nstreams--;
    if (x->place) {
        char text[128];
        *x->place = x->by_face;
        if (x->by_face)
            x->by_face->place = x->place;
        snprintf(text, sizeof text, "stream %s %llu", x->name, (unsigned long long)x->face);
        struct access_entry e = connection_entry(c, ACCESS_UNSUBSCRIBE);
        e.text = text;
        e.outcome = true;
        e.duration_ns = c->t->time - x->since;
        e.rows = (int64_t)x->rows;
        e.bytes = (int64_t)x->bytes;
        access_log(c->t->server->access, &e);
    }
    free(x->tables);
    free(x);
}

/* A message of c's that does not go out. */
static void dropped(void *arg, const struct message *m)
{
    struct connection *c = arg;
    struct stream_member *x = c->t->streams->face[m->first % BUCKETS_OF];
    while (x && (x->face != m->first || x->c != c))
        x = x->by_face;
    if (!x)
        return;
    x->messages--;
    x->rows -= m->rows;
    x->bytes -= m->len;
}

static void leave(struct connection *c, struct stream_member *x)
{
    if (x->place)
        consumer_drop(&c->out, x->face, dropped, c);
    tell(c, STREAM_CLOSE, x->token);
    take_out(c, x);
}

void streams_gone(struct connection *c)
{
    c->stream_token = 0;
    if (c->streams)
        consumer_drop(&c->out, 0, dropped, c);
    while (c->streams) {
        struct stream_member *x = c->streams;
        struct stream_ask *a = stream_ask_new(STREAM_CLOSE, NULL, 0);
        if (a) {
            a->thread = c->t->index;
            a->token = x->token;
            hub_ask(c->t->server->hub, a);
        }
        take_out(c, x);
    }
}

static bool push(struct stream_member *x, struct message *m)
{
    struct connection *c = x->c;
    struct server *s = c->t->server;
    if (c->dead || !m)
        return false;
    bool first = consumer_empty(&c->out); /* epoll is not asked when it takes more */
    if (!consumer_push_stream(&c->out, m)) {
        connection_kill(c, "no memory for what waits");
        publisher_grave(c);
        return false;
    }
    x->messages++;
    x->rows += m->rows;
    x->bytes += m->len;
    uint64_t lag = c->out.lag_bytes + c->hold.lag_bytes, alert = load_relaxed(&s->alert),
             act = load_relaxed(&s->act);
    if (first || !c->blocked || (alert && lag >= alert) || (act && lag >= act))
        connection_dirty(c);
    return true;
}

/* ---- asks ---- */

static bool ask(struct connection *c, struct stream_ask *a, struct err *err)
{
    if (!a)
        return err_set(err, -ENOMEM, "wsfull");
    a->thread = c->t->index;
    a->connection = c->id;
    a->user = user_hold(c->user);
    c->stream_token = a->token;
    if (hub_ask(c->t->server->hub, a))
        return true;
    c->stream_token = 0;
    return err_set(err, -ENOTSUP, "nyi: there are no streaming analytics here (penstock rtp)");
}

bool streams_add(struct connection *c, const struct kdb_request *r, struct err *err)
{
    struct streams *s = c->t->streams;
    if (c->nstreams >= STREAMS_OF_ONE)
        return err_set(err, -E2BIG, "limit: %u streams are the most of one connection",
                       STREAMS_OF_ONE);
    if (server_memory(c->t->server) > (uint64_t)c->t->server->config->ipc.memory)
        return err_set(
            err, -ENOMEM,
            "wsfull: ipc.memory is used up by what waits for connections; ask again later");
    const struct kdb_object *params = &r->args;
    bool none = params->type == KDB_LIST && !params->count;
    size_t len = none ? 0 : (size_t)(kdb_object_end(params) - params->at);
    if (len > RTP_PARAMS_MAX)
        return err_set(err, -E2BIG, "limit: parameters of %zu bytes; %u are the most", len,
                       RTP_PARAMS_MAX);
    struct stream_member *x = calloc(1, sizeof *x + r->function.len + 1);
    struct stream_ask *a = stream_ask_new(STREAM_OPEN, none ? NULL : params->at, (uint32_t)len);
    if (!x || !a) {
        free(x);
        stream_ask_free(a);
        return err_set(err, -ENOMEM, "wsfull");
    }
    x->c = c;
    x->token = a->token = ++s->tokens;
    memcpy(x->name, r->function.text, r->function.len);
    snprintf(a->name, sizeof a->name, "%s", x->name);
    snprintf(a->group, sizeof a->group, "%.*s",
             (int)(r->stream.group.len < 64 ? r->stream.group.len : 64),
             r->stream.group.text ? r->stream.group.text : "");
    a->order = params->order;
    a->flags = r->stream.texts ? RTP_PARAMS_TEXTS : 0;
    a->want = (enum stream_want)r->stream.mode;
    if (!ask(c, a, err)) {
        free(x);
        return false;
    }
    c->stream_ref = r->stream.ref;
    if (r->stream.policy != KDB_POLICY_DEFAULT)
        c->policy = r->stream.policy - 1;
    struct stream_member **b = &s->token[x->token % BUCKETS_OF];
    x->by_token = *b;
    *b = x;
    x->next = c->streams;
    c->streams = x;
    c->nstreams++;
    return true;
}

bool streams_ask(struct connection *c, enum stream_ask_kind kind, struct err *err)
{
    uint64_t *faces = malloc((c->nstreams + 1) * sizeof *faces);
    uint32_t n = 0;
    for (const struct stream_member *x = c->streams; faces && x; x = x->next)
        faces[n++] = x->face;
    struct stream_ask *a = stream_ask_new(kind, faces, n * (uint32_t)sizeof *faces);
    free(faces);
    if (a)
        a->token = ++c->t->streams->tokens;
    return ask(c, a, err);
}

static struct stream_member *of_face(const struct connection *c, uint64_t face)
{
    struct stream_member *x = c->streams;
    while (x && (!x->place || x->face != face))
        x = x->next;
    return x;
}

bool streams_remove(struct connection *c, int64_t face)
{
    bool found = false;
    for (struct stream_member *x = c->streams, *next; x && !c->dead; x = next) {
        next = x->next;
        if (face != PST_NULL_LONG && (!x->place || x->face != (uint64_t)face))
            continue;
        found = true;
        leave(c, x);
    }
    show(c);
    return found;
}

uint64_t streams_again(struct connection *c, int64_t face)
{
    struct stream_member *x = of_face(c, (uint64_t)face);
    if (!x)
        return 0;
    if (x->state == MEMBER_LIVE) {
        x->state = MEMBER_WAITS;
        tell(c, STREAM_STATE, x->token);
    }
    return x->token;
}

/* ---- rights ---- */

static bool allowed(const struct user *u, const struct stream_member *x)
{
    char word[256];
    if (!user_may_call(u, x->name) || u->durable_only || (!x->tables && !u->tables.all))
        return false;
    for (const char *at = x->tables; at && *at;) {
        size_t n = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        if (n >= sizeof word || !user_may_read(u, word))
            return false;
        at += n + (at[n] == ' ');
    }
    return true;
}

bool streams_allowed(const struct connection *c)
{
    for (const struct stream_member *x = c->streams; x; x = x->next)
        if (x->place && !allowed(c->user, x))
            return false;
    return true;
}

/* ---- slow consumers ---- */

static void stall(struct connection *c)
{
    consumer_drop(&c->out, 0, dropped, c);
    for (struct stream_member *x = c->streams; x; x = x->next)
        if (x->place && x->state == MEMBER_LIVE)
            x->state = MEMBER_STALLED;
    c->stalled = true;
    connection_dirty(c); /* with nothing left it is drained now */
}

bool streams_policy(struct connection *c)
{
    struct server *s = c->t->server;
    uint64_t held = c->streams ? c->out.stream_bytes : 0;
    enum consumer_policy policy = subscribe_policy_of(c);
    if (!held || (c->live && policy == CONSUMER_DISCONNECT))
        return false; /* nothing of ours waits; or subscribe_policy closes it */
    char text[96];
    snprintf(text, sizeof text, "%s: %llu bytes of streams wait",
             policy == CONSUMER_DISCONNECT ? "disconnect" : "resync", (unsigned long long)held);
    atomic_fetch_add_explicit(&s->policy[policy], 1, memory_order_relaxed);
    struct access_entry e = connection_entry(c, ACCESS_POLICY);
    e.reason = text;
    access_log(s->access, &e);
    if (policy == CONSUMER_DISCONNECT) {
        connection_kill(c, "too slow: %llu bytes wait for it (consumer_disconnect_size)",
                        (unsigned long long)c->out.lag_bytes);
        publisher_grave(c);
        return true;
    }
    stall(c);
    uint64_t act = load_relaxed(&s->act);
    return !act || c->out.lag_bytes + c->hold.lag_bytes < act;
}

void streams_drained(struct connection *c)
{
    if (!c->stalled)
        return;
    c->stalled = false;
    for (struct stream_member *x = c->streams; x && !c->dead; x = x->next)
        if (x->state == MEMBER_STALLED) {
            x->state = MEMBER_WAITS;
            x->resync = true;
            tell(c, STREAM_STATE, x->token);
        }
}

/* ---- events ---- */

/* The request that waited is answered. */
static void go_on(struct connection *c)
{
    c->stream_token = 0;
    c->answer = 0;
    c->is_held = c->held_waits = false;
    connection_ready(c);
}

static void release(void *message)
{
    message_release(message);
}

/* A whole response that others share, or nobody. */
static void reply(struct connection *c, struct message *m)
{
    if (!dispatch_is_sync(c))
        return;
    if (!m) {
        dispatch_refuse(c, "wsfull");
    } else if (!consumer_push_bytes(&c->out, m->data, m->len, release, message_hold(m))) {
        connection_kill(c, "no memory for a reply");
        publisher_grave(c);
    } else {
        connection_dirty(c);
    }
}

/* ref: null, or a fifth item. */
static void notice(struct connection *c, uint64_t face, const char *kind, const char *text,
                   int64_t ref)
{
    struct kdb_out o = {0};
    size_t begun = kdb_frame_begin(&o, KDB_ASYNC);
    kdb_out_list(&o, ref == PST_NULL_LONG ? 4 : 5);
    kdb_out_symbol(&o, ".sa.notice", 10);
    kdb_out_long(&o, face ? (int64_t)face : PST_NULL_LONG);
    kdb_out_symbol(&o, kind, strlen(kind));
    kdb_out_chars(&o, text, strlen(text));
    if (ref != PST_NULL_LONG)
        kdb_out_long(&o, ref);
    dispatch_send(c, &o, kdb_frame_end(&o, begun));
}

void streams_refused(struct connection *c, int64_t ref, const char *text)
{
    dispatch_refuse(c, "%s", text);
    if (!dispatch_is_sync(c) && !c->dead)
        notice(c, 0, "refused", text, ref);
}

static struct connection *waiting(struct publisher *p, struct stream_event *e)
{
    struct stream_member *x = by_token(p->streams, e->token);
    if (x)
        return x->c->dead || x->c->stream_token != e->token ? NULL : x->c;
    for (struct connection *c = p->first; c; c = c->next) /* LIST, SHOW: rare */
        if (!c->dead && c->stream_token == e->token)
            return c;
    return NULL;
}

static void opened(struct publisher *p, struct stream_event *e)
{
    struct connection *c = waiting(p, e);
    struct stream_member *x = by_token(p->streams, e->token), *old;
    if (!c || !x)
        return; /* it has gone: CLOSE is on its way */
    x->tables = e->text;
    e->text = NULL;
    if (!allowed(c->user, x)) { /* its rights have changed meanwhile */
        dispatch_refuse(c, "access: the user %s may not have %s any more", c->user->name, x->name);
        leave(c, x);
        go_on(c);
        return;
    }
    char text[128];
    snprintf(text, sizeof text, "stream %s %llu", x->name, (unsigned long long)e->face);
    struct access_entry entry = connection_entry(c, ACCESS_SUBSCRIBE);
    entry.text = text;
    access_log(p->server->access, &entry);
    reply(c, e->message);
    if (!dispatch_is_sync(c) && !c->dead && c->stream_ref != PST_NULL_LONG)
        notice(c, e->face, "subscribed", x->name, c->stream_ref);
    if (!c->dead && (old = of_face(c, e->face))) { /* twice on one connection: it has it already */
        leave(c, x);
        streams_again(c, (int64_t)e->face);
    } else if (!c->dead) {
        bind_face(p->streams, x, e->face);
        x->state = MEMBER_WAITS;
    }
    show(c);
    go_on(c);
}

static void refused(struct publisher *p, struct stream_event *e)
{
    struct connection *c = waiting(p, e);
    struct stream_member *x = by_token(p->streams, e->token);
    const char *text = e->text ? e->text : "wsfull";
    if (c) {
        if (!strncmp(text, "access:", 7))
            dispatch_deny(c, "stream", x ? x->name : "");
        streams_refused(c, c->stream_ref, text);
    }
    if (x)
        take_out(x->c, x);
    if (c)
        go_on(c);
}

static void replied(struct publisher *p, struct stream_event *e)
{
    struct connection *c = waiting(p, e);
    if (!c)
        return;
    reply(c, e->message);
    go_on(c);
}

/* The answer of .sa.snapshot: (id; table; position), as the state has it behind its name. */
static void answer_state(struct connection *c, const struct message *m)
{
    struct kdb_out o = {0};
    struct kdb_object list;
    struct kdb_items i;
    kdb_object_view(&list, m->data + KDB_FRAME, KDB_LITTLE);
    size_t begun = kdb_frame_begin(&o, KDB_RESPONSE);
    kdb_out_list(&o, 3);
    if (kdb_items(&list, &i) && kdb_items_next(&i))
        kdb_out_bytes(&o, i.item.at, m->len - (size_t)(i.item.at - m->data));
    dispatch_send(c, &o, kdb_frame_end(&o, begun));
}

static void stated(struct publisher *p, struct stream_event *e)
{
    for (struct stream_member *x = p->streams->face[e->face % BUCKETS_OF], *next; x; x = next) {
        struct connection *c = x->c;
        next = x->by_face;
        if (x->face != e->face || x->state != MEMBER_WAITS || c->dead)
            continue;
        bool asked = c->stream_token == x->token && c->answer;
        if (x->resync)
            notice(c, x->face, "resync",
                   "it was too slow: what waited was thrown away, the state follows",
                   PST_NULL_LONG);
        x->resync = false;
        x->state = MEMBER_LIVE;
        if (asked && dispatch_is_sync(c)) {
            answer_state(c, e->message);
            x->rows += e->message->rows;
            x->bytes += e->message->len;
        } else if (!push(x, e->message)) {
            continue;
        }
        for (uint32_t i = 0; i < e->nbehind && !c->dead; i++)
            push(x, e->behind[i]);
        if (asked && !c->dead)
            go_on(c);
    }
}

static void updated(struct publisher *p, struct stream_event *e)
{
    for (struct stream_member *x = p->streams->face[e->face % BUCKETS_OF]; x; x = x->by_face)
        if (x->face == e->face && x->state == MEMBER_LIVE)
            push(x, e->message);
}

static void paused(struct publisher *p, struct stream_event *e)
{
    for (struct stream_member *x = p->streams->face[e->face % BUCKETS_OF]; x; x = x->by_face) {
        if (x->face != e->face || x->state == MEMBER_STALLED)
            continue;
        if (x->state == MEMBER_LIVE)
            x->state = MEMBER_WAITS;
        push(x, e->message);
    }
}

static void ended(struct publisher *p, struct stream_event *e)
{
    for (struct stream_member *x = p->streams->face[e->face % BUCKETS_OF], *next; x; x = next) {
        struct connection *c = x->c;
        next = x->by_face;
        if (x->face != e->face)
            continue;
        push(x, e->message);
        bool asked = c->stream_token == x->token && c->answer;
        if (asked && !c->dead)
            dispatch_refuse(c, "the stream has ended");
        take_out(c, x);
        show(c);
        if (asked && !c->dead)
            go_on(c);
    }
}

static void lost(struct publisher *p)
{
    for (struct connection *c = p->first; c; c = c->next) {
        if (c->dead || !c->streams)
            continue;
        stall(c);
        if (consumer_empty(&c->out))
            streams_drained(c);
    }
}

int streams_take(struct publisher *p)
{
    int n = 0;
    struct stream_hub *hub = p->server->hub;
    for (struct stream_event *e = hub_take(hub, p->index), *next; e; e = next, n++) {
        next = e->next;
        switch (e->kind) {
        case STREAM_OPENED:
            opened(p, e);
            break;
        case STREAM_REFUSED:
            refused(p, e);
            break;
        case STREAM_REPLY:
            replied(p, e);
            break;
        case STREAM_STATED:
            stated(p, e);
            break;
        case STREAM_UPDATE:
            updated(p, e);
            break;
        case STREAM_PAUSE:
            paused(p, e);
            break;
        case STREAM_ENDED:
            ended(p, e);
            break;
        case STREAM_LOST:
            lost(p);
            break;
        }
        stream_event_free(e);
    }
    return n;
}
