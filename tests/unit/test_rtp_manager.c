/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Query Manager against a pool of simulated processes, which take what they are sent when the
 * test says so. A process serves one analytic, `count`: a keyed table (k -> v) of a journal in
 * which frame p sets key p * 7 % KEYS to p; parameter `odd` leaves half of the keys out. So what a
 * client must have at a position is known without any process: that is what its merged state is
 * held against, at every message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "control/rtp/rtp_manager_parts.h"
#include "control/users_load.h"
#include "core/clock.h"

#define KEYS      16
#define THREADS   2
#define GROUPS    4
#define PROCESSES 3

/* ---- processes ---- */

struct sent {
    struct sent *next;
    unsigned type;
    uint64_t id, value;
    size_t n;
    uint8_t body[];
};
struct sub {
    bool used, odd, full;
    int64_t uid;
};
struct sim {
    uint64_t life;
    struct sent *first, **last;
    struct sub sub[256];
    int64_t uids;
    uint64_t at; /* frames below it were read */
    unsigned subscribed, unsubscribed, states;
    bool deaf;
};

static struct world {
    struct rtp_group_facts group[GROUPS];
    struct sim sim[GROUPS][PROCESSES];
    bool wanted[GROUPS];
    json_t *ready[GROUPS];
    struct rtp_link link;
    struct stream_hub *hub;
    struct rtp_manager *m;
    const struct rtp_events *ev;
    uint64_t lives, journal;
    int64_t now;
    const char *refuse; /* SUBSCRIBE is answered so */
    uint32_t seed;
    char error[600];
} w;

static uint32_t rnd(uint32_t n)
{
    w.seed = w.seed * 1664525u + 1013904223u;
    return (w.seed >> 8) % n;
}

static unsigned l_groups(void *p)
{
    (void)p;
    return GROUPS;
}
static void l_group(void *p, unsigned g, struct rtp_group_facts *out)
{
    (void)p;
    *out = w.group[g];
}
static void l_process(void *p, unsigned g, unsigned k, struct rtp_process_facts *out)
{
    (void)p;
    *out = (struct rtp_process_facts){.life = w.sim[g][k].life};
}
static const json_t *l_ready(void *p, unsigned g)
{
    (void)p;
    return w.ready[g];
}
static bool l_send(void *p, unsigned g, unsigned k, unsigned type, uint64_t id, uint64_t value,
                   const void *body, size_t n)
{
    (void)p;
    struct sim *s = &w.sim[g][k];
    if (!s->life || s->deaf)
        return false;
    struct sent *x = malloc(sizeof *x + n);
    *x = (struct sent){.type = type, .id = id, .value = value, .n = n};
    if (n)
        memcpy(x->body, body, n);
    *s->last = x;
    s->last = &x->next;
    return true;
}
static void l_hold(void *p, unsigned g, unsigned k, bool hold)
{
    (void)p, (void)g, (void)k, (void)hold;
}
static void l_want(void *p, unsigned g, bool want)
{
    (void)p;
    w.wanted[g] = want;
}
static void l_kill(void *p, unsigned g, unsigned k, const char *why)
{
    (void)p, (void)g, (void)k, (void)why;
}

static json_t *analytics(void)
{
    return json_loads(
        "{\"analytics\":["
        "{\"name\":\"count\",\"about\":\"a\",\"plugin\":\"p\",\"per_user\":false,\"full\":false,"
        "\"columns\":[[\"k\",\"long\"],[\"v\",\"long\"]],\"key\":[\"k\"],\"tables\":[\"trade\"],"
        "\"parameters\":[{\"name\":\"odd\",\"type\":\"boolean\",\"list\":false,\"default\":\"0\","
        "\"about\":\"\"},{\"name\":\"n\",\"type\":\"long\",\"list\":false,\"default\":\"7\","
        "\"about\":\"\"}]},"
        "{\"name\":\"mine\",\"about\":\"a\",\"plugin\":\"p\",\"per_user\":true,\"full\":true,"
        "\"columns\":[[\"k\",\"long\"],[\"v\",\"long\"]],\"key\":[\"k\"],\"tables\":null,"
        "\"parameters\":[{\"name\":\"table\",\"type\":\"symbol\",\"list\":false,\"default\":null,"
        "\"about\":\"\"}]},"
        "{\"name\":\"any\",\"about\":\"a\",\"plugin\":\"p\",\"per_user\":false,\"full\":false,"
        "\"columns\":null,\"key\":[],\"tables\":null,\"parameters\":[{\"name\":\"text\",\"type\":"
        "\"string\",\"list\":false,\"default\":\"\","
        "\"about\":\"\"}]}],"
        "\"processors\":[],\"functions\":[]}",
        0, NULL);
}

static void up(unsigned g, unsigned k)
{
    struct sim *s = &w.sim[g][k];
    struct sent *x = s->first, *next;
    for (; s->last && x; x = next) {
        next = x->next;
        free(x);
    }
    *s = (struct sim){.life = ++w.lives, .at = w.journal, .uids = (int64_t)(100 * w.lives)};
    s->last = &s->first;
    if (!w.ready[g])
        w.ready[g] = analytics();
    w.group[g].up++;
    w.ev->up(w.ev->arg, g, k, s->life);
}

static void down(unsigned g, unsigned k)
{
    struct sim *s = &w.sim[g][k];
    uint64_t life = s->life;
    while (s->first) {
        struct sent *x = s->first;
        s->first = x->next;
        free(x);
    }
    s->last = &s->first;
    s->life = 0;
    w.group[g].up--;
    w.ev->down(w.ev->arg, g, k, life, "killed", true);
}

static bool mine(unsigned g, unsigned k, unsigned key)
{
    return w.group[g].mode != RTP_BROADCAST || key % w.group[g].processes == k;
}
static unsigned key_of(uint64_t p)
{
    return (unsigned)(p * 7 % KEYS);
}
/* What key has at a position; 0: nothing yet. */
static uint64_t value_at(uint64_t position, unsigned key)
{
    for (uint64_t p = position; p > 0; p--)
        if (key_of(p - 1) == key)
            return p - 1 ? p - 1 : 0;
    return 0;
}

static void put_table(struct kdb_out *o, const int64_t *k, const int64_t *v, uint32_t n)
{
    kdb_out_dict(o, false);
    kdb_out_columns(o, (const char *[]){"k"}, 1);
    kdb_out_vector(o, PST_LONG, 0, n, k);
    kdb_out_columns(o, (const char *[]){"v"}, 1);
    kdb_out_vector(o, PST_LONG, 0, n, v);
}

static bool says(unsigned g, unsigned k, unsigned type, uint64_t id, uint64_t value,
                 const void *body, size_t n, uint32_t rows)
{
    struct err err = {0};
    struct rtp_said said = {type, id, value, body, (uint32_t)n, rows};
    bool ok = w.ev->message(w.ev->arg, g, k, w.sim[g][k].life, &said, &err);
    if (!ok)
        snprintf(w.error, sizeof w.error, "%s", err.text);
    return ok;
}

static uint32_t state_of_sub(unsigned g, unsigned k, const struct sub *u, int64_t *key,
                             int64_t *val)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t v = value_at(w.sim[g][k].at, i);
        if (mine(g, k, i) && (!u->odd || i % 2) && v) {
            key[n] = i;
            val[n++] = (int64_t)v;
        }
    }
    return n;
}

static void says_rows(unsigned g, unsigned k, unsigned type, uint64_t id, const int64_t *key,
                      const int64_t *val, uint32_t n)
{
    struct kdb_out o = {0};
    put_table(&o, key, val, n);
    assert_true(says(g, k, type, id, w.sim[g][k].at, o.data, o.len, n));
    kdb_out_free(&o);
}

/* The process takes the next message that it was sent. False: there is none. */
static bool take(unsigned g, unsigned k)
{
    static const char said[] = "{\"columns\":[[\"k\",\"long\"],[\"v\",\"long\"]],\"key\":[\"k\"]}";
    struct sim *s = &w.sim[g][k];
    struct sent *x = s->life ? s->first : NULL;
    int64_t key[KEYS], val[KEYS];
    if (!x)
        return false;
    s->first = x->next;
    if (!s->first)
        s->last = &s->first;
    if (x->type == RTP_WIRE_SUBSCRIBE && w.refuse) {
        assert_true(says(g, k, RTP_WIRE_REFUSED, x->id, 0, w.refuse, strlen(w.refuse), 0));
    } else if (x->type == RTP_WIRE_SUBSCRIBE) {
        struct rtp_asked a;
        struct kdb_object dict, v;
        unsigned i = 0;
        assert_true(rtp_ask_view(x->body, x->n, &a));
        kdb_object_view(&dict, a.params, KDB_LITTLE);
        while (s->sub[i].used)
            i++;
        assert_true(i < PST_COUNT(s->sub));
        s->sub[i] = (struct sub){.used = true, .uid = ++s->uids, .full = !strcmp(a.name, "mine")};
        if (kdb_dict_value(&dict, "odd", &v))
            s->sub[i].odd = kdb_object_long(&v, 0) & 1;
        s->subscribed++;
        assert_true(
            says(g, k, RTP_WIRE_SUBSCRIBED, x->id, (uint64_t)s->sub[i].uid, said, strlen(said), 0));
    } else if (x->type == RTP_WIRE_UNSUBSCRIBE) {
        for (unsigned i = 0; i < PST_COUNT(s->sub); i++)
            if (s->sub[i].used && s->sub[i].uid == (int64_t)x->value) {
                s->sub[i].used = false;
                s->unsubscribed++;
            }
    } else if (x->type == RTP_WIRE_SNAPSHOT) {
        const struct sub *u = NULL;
        for (unsigned i = 0; i < PST_COUNT(s->sub); i++)
            if (s->sub[i].used && s->sub[i].uid == (int64_t)x->value)
                u = &s->sub[i];
        s->states++;
        if (u) {
            uint32_t n = state_of_sub(g, k, u, key, val);
            says_rows(g, k, RTP_WIRE_STATE, x->id, key, val, n);
        }
    }
    free(x);
    return true;
}

/* The process reads a frame, and publishes. */
static void read_frame(unsigned g, unsigned k)
{
    struct sim *s = &w.sim[g][k];
    if (!s->life || s->at >= w.journal)
        return;
    uint64_t p = s->at++;
    int64_t key[KEYS] = {(int64_t)key_of(p)}, val[KEYS] = {(int64_t)p};
    if (!p || !mine(g, k, key_of(p)))
        return;
    for (unsigned i = 0; i < PST_COUNT(s->sub); i++) {
        struct sub *u = &s->sub[i];
        if (!u->used || (u->odd && key_of(p) % 2 == 0))
            continue;
        if (u->full) {
            int64_t fk[KEYS], fv[KEYS];
            uint32_t n = state_of_sub(g, k, u, fk, fv);
            says_rows(g, k, RTP_WIRE_UPDATE, (uint64_t)u->uid, fk, fv, n);
        } else {
            says_rows(g, k, RTP_WIRE_UPDATE, (uint64_t)u->uid, key, val, 1);
        }
    }
}

static void take_all(void)
{
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned k = 0; k < PROCESSES; k++)
            while (take(g, k))
                ;
}
static void read_all(void)
{
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned k = 0; k < PROCESSES; k++)
            while (w.sim[g][k].life && w.sim[g][k].at < w.journal)
                read_frame(g, k);
}

/* ---- clients, as streams.c has them ---- */

enum { ASKED, WAITS, LIVE, REFUSED, GONE };
struct client {
    unsigned thread, g;
    uint64_t token, face;
    int state;
    bool odd, full, broadcast;
    uint64_t have[KEYS], position;
    unsigned states, updates, moved;
    char text[400];
};
#define CLIENTS 20000
static struct client *client;
static unsigned nclients;

static struct user all_user = {.name = "all", .sql = true}, some_user = {.name = "some"},
                   none_user = {.name = "none"}, late_user = {.name = "late"};

/* As if of a users file that is never given back. */
static const struct user *held(struct user *u)
{
    static struct users_load load;
    if (!u->load)
        atomic_store(&load.refs, 1u << 30);
    u->load = &load;
    return user_hold(u);
}

/* Parameters by name: a dictionary with as many of them as given. */
static struct stream_ask *open_ask(unsigned c, const char *name, int odd, int n, bool swapped)
{
    struct kdb_out o = {0};
    const char *keys[2];
    uint32_t count = 0;
    if (odd >= 0)
        keys[count++] = "odd";
    if (n >= 0)
        keys[count++] = "n";
    if (swapped && count == 2) {
        keys[0] = "n";
        keys[1] = "odd";
    }
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, keys, count);
    kdb_out_list(&o, count);
    for (uint32_t i = 0; i < count; i++) {
        if (keys[i][0] == 'o')
            kdb_out_atom(&o, PST_BOOLEAN, (uint8_t[]){(uint8_t)odd});
        else
            kdb_out_atom(&o, swapped ? PST_INT : PST_LONG, (int64_t[]){n});
    }
    struct stream_ask *a = stream_ask_new(STREAM_OPEN, o.data, (uint32_t)o.len);
    kdb_out_free(&o);
    a->order = KDB_LITTLE;
    a->thread = client[c].thread;
    a->token = client[c].token;
    a->user = held(&all_user);
    snprintf(a->name, sizeof a->name, "%s", name);
    return a;
}

static unsigned new_client(void)
{
    assert_true(nclients < CLIENTS);
    client[nclients] =
        (struct client){.thread = nclients % THREADS, .token = nclients + 1, .state = ASKED};
    return nclients++;
}

static unsigned opens(unsigned g, const char *name, int odd, int n, enum stream_want want)
{
    unsigned c = new_client();
    struct stream_ask *a = open_ask(c, name, odd, n, false);
    snprintf(a->group, sizeof a->group, "%s", w.group[g].name);
    a->want = want;
    client[c].odd = odd == 1;
    client[c].g = g;
    client[c].full = want == STREAM_FULL;
    client[c].broadcast = w.group[g].mode == RTP_BROADCAST;
    assert_true(hub_ask(w.hub, a));
    return c;
}

static void asks(unsigned c, enum stream_ask_kind kind)
{
    struct stream_ask *a = stream_ask_new(kind, NULL, 0);
    a->thread = client[c].thread;
    a->token = client[c].token;
    hub_ask(w.hub, a);
    client[c].state = kind == STREAM_CLOSE ? GONE : WAITS;
}

static void check(const struct client *c, int stripe)
{
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t want = c->odd && i % 2 == 0 ? 0 : value_at(c->position, i);
        if (c->broadcast && (stripe < 0 || i % w.group[c->g].processes != (unsigned)stripe))
            continue;
        if (c->have[i] != want)
            fail_msg("client %u: key %u is %llu, not %llu at %llu (stripe %d)",
                     (unsigned)(c - client), i, (unsigned long long)c->have[i],
                     (unsigned long long)want, (unsigned long long)c->position, stripe);
    }
}

/* A message to one client. */
static void gets(struct client *c, const struct message *m, bool state)
{
    struct kdb_object o, dict;
    struct kdb_items i, parts;
    struct kdb_table t;
    struct err err;
    kdb_object_view(&o, m->data + KDB_FRAME, KDB_LITTLE);
    assert_true(kdb_items(&o, &i) && kdb_object_is(&i.item, state ? ".sa.snap" : ".sa.upd"));
    assert_true(kdb_items_next(&i) && (uint64_t)kdb_object_long(&i.item, 0) == c->face);
    assert_true(kdb_items_next(&i));
    dict = i.item;
    assert_true(kdb_table_view(&t, &dict, &err) && t.nkeys == 1 && t.rows == m->rows);
    assert_true(kdb_items_next(&i));
    c->position = (uint64_t)kdb_object_long(&i.item, 0);
    assert_true(c->position == m->end);
    if (state || c->full)
        memset(c->have, 0, sizeof c->have);
    struct kdb_object key, val;
    assert_true(kdb_items(&t.columns[0], &parts));
    key = parts.item;
    assert_true(kdb_items(&t.columns[1], &parts));
    val = parts.item;
    int stripe = -1;
    for (uint32_t r = 0; r < t.rows; r++) {
        unsigned k = (unsigned)kdb_object_long(&key, r);
        c->have[k] = (uint64_t)kdb_object_long(&val, r);
        stripe = state ? -1 : (int)(k % w.group[c->g].processes);
    }
    c->states += state;
    c->updates += !state;
    check(c, c->full ? -1 : stripe);
}

static void events_of(unsigned thread)
{
    for (struct stream_event *e = hub_take(w.hub, thread), *next; e; e = next) {
        next = e->next;
        for (unsigned i = 0; i < nclients; i++) {
            struct client *c = &client[i];
            if (c->thread != thread || c->state == GONE || c->state == REFUSED)
                continue;
            switch (e->kind) {
            case STREAM_OPENED:
                if (c->token == e->token) {
                    assert_int_equal(c->state, ASKED);
                    c->state = WAITS;
                    c->face = e->face;
                    snprintf(c->text, sizeof c->text, "%s", e->text ? e->text : "*");
                }
                break;
            case STREAM_REFUSED:
                if (c->token == e->token) {
                    c->state = REFUSED;
                    snprintf(c->text, sizeof c->text, "%s", e->text);
                }
                break;
            case STREAM_STATED:
                if (c->face == e->face && c->state == WAITS) {
                    c->state = LIVE;
                    gets(c, e->message, true);
                    for (uint32_t b = 0; b < e->nbehind; b++)
                        gets(c, e->behind[b], false);
                }
                break;
            case STREAM_UPDATE:
                if (c->face == e->face && c->state == LIVE)
                    gets(c, e->message, false);
                break;
            case STREAM_PAUSE:
                if (c->face == e->face && c->state != ASKED) {
                    c->state = WAITS;
                    c->moved++;
                }
                break;
            case STREAM_ENDED:
                if (c->face == e->face && c->state != ASKED)
                    c->state = GONE;
                break;
            default:
                break;
            }
        }
        stream_event_free(e);
    }
}
static void events(void)
{
    for (unsigned t = 0; t < THREADS; t++)
        events_of(t);
}
static void works(void)
{
    w.now += NS_PER_MS;
    w.ev->work(w.ev->arg, w.now);
}
static void later(int64_t ns)
{
    w.now += ns;
    works();
}
static void settle(void)
{
    for (int i = 0; i < 4; i++) {
        works();
        take_all();
        read_all();
        events();
    }
}

/* ---- begin, end ---- */

static void wake(void *arg, unsigned thread)
{
    (void)arg, (void)thread;
}

static int setup(void **state)
{
    (void)state;
    struct err err;
    static const char *trade[] = {"trade"}, *late[] = {"count"};
    memset(&w, 0, sizeof w);
    all_user.tables.all = all_user.calls.all = true;
    some_user.tables = (struct user_names){false, trade, 1};
    some_user.calls.all = true;
    none_user.calls.all = true;
    late_user.tables.all = true;
    late_user.calls = (struct user_names){false, late, 1};
    w.seed = 4711;
    w.journal = 1;
    static const enum rtp_mode mode[GROUPS] = {RTP_SINGLE, RTP_ROUND_ROBIN, RTP_LEAST_LOADED,
                                               RTP_BROADCAST};
    static const char *name[GROUPS] = {"one", "turns", "least", "wide"};
    for (unsigned g = 0; g < GROUPS; g++)
        w.group[g] = (struct rtp_group_facts){
            .name = name[g], .mode = mode[g], .processes = PROCESSES, .on_demand = g == 0};
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned k = 0; k < PROCESSES; k++)
            w.sim[g][k].last = &w.sim[g][k].first;
    w.link = (struct rtp_link){NULL,   l_groups, l_group, l_process, l_ready,
                               l_send, l_hold,   l_want,  l_kill};
    w.hub = hub_open(THREADS, wake, NULL, &err);
    w.m = rtp_manager_open(w.hub, &err);
    assert_true(w.hub && w.m && rtp_manager_link(w.m, &w.link, &err));
    w.ev = rtp_manager_events(w.m);
    client = calloc(CLIENTS, sizeof *client);
    nclients = 0;
    return 0;
}

static void world_up(void)
{
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned k = 0; k < PROCESSES; k++)
            up(g, k);
}

static int teardown(void **state)
{
    (void)state;
    events();
    rtp_manager_close(w.m);
    hub_close(w.hub);
    for (unsigned g = 0; g < GROUPS; g++) {
        json_decref(w.ready[g]);
        for (unsigned k = 0; k < PROCESSES; k++)
            while (w.sim[g][k].first) {
                struct sent *x = w.sim[g][k].first;
                w.sim[g][k].first = x->next;
                free(x);
            }
    }
    free(client);
    assert_int_equal(message_bytes(), 0);
    return 0;
}

static unsigned subscribed(unsigned g)
{
    unsigned n = 0;
    for (unsigned k = 0; k < PROCESSES; k++)
        n += w.sim[g][k].subscribed;
    return n;
}

/* ---- tests ---- */

static void shared(void **state)
{
    (void)state;
    world_up();
    /* the order of keys, the width of a number, and defaults make no difference */
    unsigned a = opens(0, "count", 1, 7, STREAM_AS_IS);
    unsigned b = new_client();
    struct stream_ask *x = open_ask(b, "count", 1, 7, true);
    snprintf(x->group, sizeof x->group, "one");
    client[b].odd = true;
    hub_ask(w.hub, x);
    unsigned c = opens(0, "count", 1, -1, STREAM_AS_IS);
    unsigned d = opens(0, "count", 0, 7, STREAM_AS_IS);
    settle();
    assert_int_equal(subscribed(0), 2);
    assert_int_equal(client[a].face, client[b].face);
    assert_int_equal(client[a].face, client[c].face);
    assert_int_not_equal(client[a].face, client[d].face);
    for (unsigned i = 0; i < nclients; i++)
        assert_int_equal(client[i].state, LIVE);
    w.journal += 50;
    settle();
    assert_int_equal(client[a].updates, client[b].updates);
    assert_true(client[a].updates > 20 && client[d].updates == 50);
    /* the last to leave ends it, not the first */
    asks(a, STREAM_CLOSE);
    asks(b, STREAM_CLOSE);
    settle();
    assert_int_equal(w.sim[0][0].unsubscribed, 0);
    asks(c, STREAM_CLOSE);
    settle();
    assert_int_equal(w.sim[0][0].unsubscribed, 1);
    struct rtp_manager_figures f;
    works();
    rtp_manager_figures(w.m, &f);
    assert_int_equal(f.streams, 1);
    assert_int_equal(f.clients, 1);
    assert_int_equal(f.subscribed, 2);
    assert_int_equal(f.shared, 2);
}

static void modes(void **state)
{
    (void)state;
    world_up();
    for (int i = 0; i < 9; i++)
        for (unsigned g = 0; g < 3; g++)
            opens(g, "count", 0, i, STREAM_AS_IS);
    settle();
    for (unsigned k = 0; k < PROCESSES; k++) {
        assert_int_equal(w.sim[0][k].subscribed, k ? 0 : 9); /* single: the first */
        assert_int_equal(w.sim[1][k].subscribed, 3);         /* round robin */
        assert_int_equal(w.sim[2][k].subscribed, 3);         /* least loaded */
    }
    /* those of one process leave: the next go there */
    for (unsigned i = 0; i < nclients; i++)
        if (client[i].g == 2 && (i / 3) % 3 == 1)
            asks(i, STREAM_CLOSE);
    settle();
    for (int i = 9; i < 12; i++)
        opens(2, "count", 0, i, STREAM_AS_IS);
    settle();
    assert_int_equal(w.sim[2][1].subscribed, 6);
}

static void late_joiners(void **state)
{
    (void)state;
    world_up();
    unsigned first = opens(0, "count", 0, -1, STREAM_AS_IS);
    settle();
    for (int i = 0; i < 40; i++) {
        w.journal += rnd(4);
        /* one joins while a state of another is under way, with frames in between */
        opens(0, "count", 0, -1, STREAM_AS_IS);
        works();
        read_frame(0, 0);
        take(0, 0);
        opens(0, "count", 0, -1, STREAM_AS_IS);
        works();
        read_frame(0, 0);
        events();
    }
    settle();
    assert_int_equal(subscribed(0), 1);
    for (unsigned i = 0; i < nclients; i++) {
        assert_int_equal(client[i].state, LIVE);
        assert_int_equal(client[i].position, client[first].position);
        check(&client[i], -1);
    }
    /* .sa.snapshot: a state again, and what follows */
    unsigned had = client[first].states;
    asks(first, STREAM_STATE);
    w.journal += 3;
    settle();
    assert_int_equal(client[first].states, had + 1);
    assert_int_equal(client[first].state, LIVE);
}

static void full_states(void **state)
{
    (void)state;
    world_up();
    unsigned d = opens(0, "count", 0, -1, STREAM_DELTA), f = opens(0, "count", 0, -1, STREAM_FULL);
    settle();
    assert_int_equal(subscribed(0), 1); /* two faces of one computation */
    assert_int_not_equal(client[d].face, client[f].face);
    for (int i = 0; i < 30; i++) {
        w.journal++;
        settle();
        check(&client[f], -1);
    }
    assert_int_equal(client[d].updates, 30);
    assert_int_equal(client[f].updates, 30);
    /* a burst: as few states as it takes, the last one there */
    for (int i = 0; i < 100; i++)
        w.journal++;
    settle();
    settle();
    assert_true(client[f].updates < 60);
    assert_int_equal(client[f].position, w.journal);
    check(&client[f], -1);
    assert_int_equal(client[d].updates, 130);
}

static void broadcast_joins(void **state)
{
    (void)state;
    world_up();
    for (int round = 0; round < 300; round++) {
        if (nclients < 60 && !rnd(4))
            opens(3, "count", (int)rnd(2), -1, rnd(3) ? STREAM_AS_IS : STREAM_FULL);
        w.journal += rnd(3);
        works();
        for (unsigned k = 0; k < PROCESSES; k++) {
            if (!rnd(2))
                take(3, k);
            for (uint32_t n = rnd(4); n--;)
                read_frame(3, k);
            if (!rnd(3))
                events();
        }
    }
    settle();
    settle();
    assert_int_equal(subscribed(3), 2 * PROCESSES);
    for (unsigned i = 0; i < nclients; i++) {
        assert_int_equal(client[i].state, LIVE);
        assert_true(client[i].states == 1);
        client[i].position = w.journal;
        for (unsigned k = 0; k < PROCESSES; k++)
            check(&client[i], (int)k);
    }
}

/* Random joins, leaves, states, deaths, births, in all groups; every message is checked. */
static void storm(void **state)
{
    (void)state;
    world_up();
    for (int round = 0; round < 6000; round++) {
        unsigned g = rnd(GROUPS), k = rnd(PROCESSES), c = nclients ? rnd(nclients) : 0;
        switch (rnd(12)) {
        case 0:
        case 1:
            if (nclients < 1000)
                opens(g, "count", (int)rnd(2), (int)rnd(3), rnd(4) ? STREAM_AS_IS : STREAM_FULL);
            break;
        case 2:
            if (nclients && client[c].state != REFUSED && client[c].state != GONE)
                asks(c, STREAM_CLOSE);
            break;
        case 3:
            if (nclients && (client[c].state == LIVE || client[c].state == WAITS))
                asks(c, STREAM_STATE);
            break;
        case 4:
            if (!rnd(12)) {
                if (w.sim[g][k].life)
                    down(g, k);
                else
                    up(g, k);
            }
            break;
        case 5:
            events_of(rnd(THREADS));
            break;
        case 6:
            works();
            break;
        case 7:
            take(g, k);
            break;
        default:
            w.journal++;
            for (unsigned i = 0; i < GROUPS; i++)
                for (unsigned j = 0; j < PROCESSES; j++)
                    if (rnd(4))
                        read_frame(i, j);
        }
    }
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned k = 0; k < PROCESSES; k++)
            if (!w.sim[g][k].life)
                up(g, k);
    for (int i = 0; i < 10; i++)
        settle();
    unsigned live = 0, moved = 0;
    for (unsigned i = 0; i < nclients; i++) {
        if (client[i].state == GONE)
            continue;
        assert_int_equal(client[i].state, LIVE);
        live++;
        moved += client[i].moved;
        client[i].position = w.journal;
        for (unsigned k = 0; k < PROCESSES; k++)
            check(&client[i], (int)k);
    }
    struct rtp_manager_figures f;
    rtp_manager_figures(w.m, &f);
    assert_int_equal(f.clients, live);
    assert_true(live > 200 && moved > 50);
    for (unsigned i = 0; i < nclients; i++)
        if (client[i].state == LIVE)
            asks(i, STREAM_CLOSE);
    settle();
    works();
    rtp_manager_figures(w.m, &f);
    assert_int_equal(f.streams, 0);
    for (unsigned g = 0; g < GROUPS; g++) {
        assert_false(w.wanted[g]);
        for (unsigned k = 0; k < PROCESSES; k++)
            for (unsigned i = 0; i < 256; i++)
                assert_false(w.sim[g][k].sub[i].used); /* nothing is computed for nobody */
    }
}

/* A process dies with a stream in each state. */
static void deaths(void **state)
{
    (void)state;
    for (int at = 0; at < 5; at++) {
        if (at) {
            teardown(NULL);
            setup(NULL);
        }
        world_up();
        unsigned c = opens(0, "count", 0, -1, STREAM_AS_IS);
        w.journal += 20;
        works(); /* 0: SUBSCRIBE is on its way */
        if (at >= 1)
            take(0, 0); /* SUBSCRIBED; SNAPSHOT is on its way */
        if (at >= 2)
            take(0, 0); /* the state */
        if (at >= 3)
            events();  /* the client has it */
        if (at >= 4) { /* a state again is under way */
            read_all();
            events();
            asks(c, STREAM_STATE);
            works();
        }
        down(0, 0);
        settle();
        assert_int_equal(client[c].state, LIVE);
        assert_int_equal(w.sim[0][1].subscribed, 1); /* the next one of the group */
        assert_int_equal(client[c].moved, at >= 2);
        w.journal += 20;
        settle();
        check(&client[c], -1);
        assert_int_equal(client[c].position, w.journal);
        /* none is left: it waits for the restart */
        down(0, 1);
        down(0, 2);
        events();
        unsigned states = client[c].states;
        settle();
        assert_int_equal(client[c].states, states);
        up(0, 2);
        settle();
        assert_int_equal(client[c].states, states + 1);
        assert_int_equal(client[c].state, LIVE);
    }
}

static void refusals(void **state)
{
    (void)state;
    world_up();
    /* one that nobody has yet is refused with the process's sentence */
    w.refuse = "memory is being rebuilt";
    unsigned a = opens(0, "count", 0, -1, STREAM_AS_IS);
    settle();
    assert_int_equal(client[a].state, REFUSED);
    assert_string_equal(client[a].text, "memory is being rebuilt");
    /* one that moves is asked again each second, for a minute */
    w.refuse = NULL;
    unsigned b = opens(0, "count", 0, -1, STREAM_AS_IS);
    settle();
    w.refuse = "memory is being rebuilt";
    down(0, 0);
    settle();
    assert_int_equal(client[b].state, WAITS);
    later(2 * NS_PER_S);
    w.refuse = NULL;
    later(2 * NS_PER_S);
    settle();
    assert_int_equal(client[b].state, LIVE);
    w.refuse = "no";
    down(0, 1);
    settle();
    for (int i = 0; i < 63; i++) {
        later(NS_PER_S);
        settle();
    }
    assert_int_equal(client[b].state, GONE);
    struct rtp_manager_figures f;
    works();
    rtp_manager_figures(w.m, &f);
    assert_int_equal(f.streams, 0);
    w.refuse = NULL;
    /* of the wrong mode, group, name, parameter */
    static const struct {
        const char *name, *group, *says;
        enum stream_want want;
    } wrong[] = {{"counts", "", "domain: no streaming analytic counts; perhaps count", 0},
                 {"count", "ones", "domain: there is no group ones", 0},
                 {"mine", "one", "domain: mine has no parameter odd; it has table symbol", 0},
                 {"any", "wide", "domain: any has no parameter odd; it has text string", 0}};
    for (unsigned i = 0; i < PST_COUNT(wrong); i++) {
        unsigned c = new_client();
        struct stream_ask *x = open_ask(c, wrong[i].name, 1, -1, false);
        snprintf(x->group, sizeof x->group, "%s", wrong[i].group);
        hub_ask(w.hub, x);
        settle();
        assert_int_equal(client[c].state, REFUSED);
        if (strncmp(client[c].text, wrong[i].says, strlen(wrong[i].says)) != 0)
            fail_msg("%s, not %s", client[c].text, wrong[i].says);
    }
}

static unsigned opens_as(struct user *u, const char *name, const char *table, enum stream_want want)
{
    struct kdb_out o = {0};
    unsigned c = new_client();
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, (const char *[]){"table"}, table != NULL);
    kdb_out_list(&o, table != NULL);
    if (table)
        kdb_out_symbol(&o, table, strlen(table));
    struct stream_ask *a = stream_ask_new(STREAM_OPEN, o.data, (uint32_t)o.len);
    kdb_out_free(&o);
    a->order = KDB_LITTLE;
    a->thread = client[c].thread;
    a->token = client[c].token;
    a->user = held(u);
    a->want = want;
    snprintf(a->name, sizeof a->name, "%s", name);
    client[c].full = !strcmp(name, "mine");
    hub_ask(w.hub, a);
    return c;
}

static void rights(void **state)
{
    (void)state;
    world_up();
    unsigned a = opens_as(&all_user, "count", NULL, 0), b = opens_as(&some_user, "count", NULL, 0),
             c = opens_as(&none_user, "count", NULL, 0),
             d = opens_as(&late_user, "mine", "trade", 0),
             e = opens_as(&some_user, "mine", "quote", 0),
             f = opens_as(&some_user, "mine", "trade", 0),
             g = opens_as(&all_user, "mine", "trade", 0), h = opens_as(&some_user, "any", NULL, 0);
    settle();
    assert_int_equal(client[a].state, LIVE);
    assert_int_equal(client[a].face, client[b].face); /* entitled to the same: computed once */
    assert_string_equal(client[b].text, "trade");
    assert_string_equal(client[c].text, "access: count reads trade, and the user none may not");
    assert_string_equal(client[d].text, "access: the user late may not call mine");
    assert_string_equal(client[e].text, "access: mine reads quote, and the user some may not");
    assert_int_equal(client[f].state, LIVE);
    assert_int_equal(client[g].state, LIVE);
    assert_int_not_equal(client[f].face, client[g].face); /* per_user */
    assert_true(strstr(client[h].text, "only for users who may read all") != NULL);
    static struct user durable = {.name = "d", .durable_only = true};
    durable.tables.all = durable.calls.all = true;
    unsigned i = opens_as(&durable, "count", NULL, 0);
    settle();
    assert_true(strstr(client[i].text, "durable_only") != NULL);
    unsigned j = opens_as(&all_user, "mine", "trade", STREAM_DELTA);
    settle();
    assert_true(strstr(client[j].text, "whole state") != NULL);
}

/* A user may begin so many, and no more; joining what runs counts for nobody. */
static void limit_of_user(void **state)
{
    (void)state;
    static struct user few = {.name = "few", .streams = 2};
    few.tables.all = few.calls.all = true;
    world_up();
    unsigned other = opens_as(&all_user, "mine", "quote", 0), a = opens_as(&few, "count", NULL, 0),
             b = opens_as(&few, "mine", "trade", 0), c = opens_as(&few, "mine", "other", 0),
             d = opens_as(&few, "count", NULL, 0), e = opens_as(&all_user, "count", NULL, 0),
             f = opens_as(&all_user, "mine", "more", 0);
    settle();
    assert_int_equal(client[c].state, REFUSED);
    assert_non_null(strstr(client[c].text, "limit: 2 computations run that the user few began"));
    const unsigned live[] = {other, a, b, d, e, f};
    for (unsigned i = 0; i < PST_COUNT(live); i++)
        assert_int_equal(client[live[i]].state, LIVE);
    asks(b, STREAM_CLOSE); /* with its last client it is over */
    settle();
    unsigned again = opens_as(&few, "mine", "other", 0);
    settle();
    assert_int_equal(client[again].state, LIVE);
    asks(a, STREAM_CLOSE); /* others have it: it runs, and counts */
    asks(d, STREAM_CLOSE);
    settle();
    unsigned more = opens_as(&few, "mine", "trade", 0);
    settle();
    assert_int_equal(client[more].state, REFUSED);
    asks(e, STREAM_CLOSE);
    asks(again, STREAM_CLOSE);
    settle();
    assert_int_equal(w.m->beginners == NULL, 1);
}

static void on_demand(void **state)
{
    (void)state;
    /* nothing runs: the first subscription starts the group, the last one ends it */
    w.group[1].stopped = w.group[2].stopped = w.group[3].stopped = true;
    unsigned a = opens_as(&all_user, "count", NULL, 0);
    settle();
    assert_true(w.wanted[0]);
    assert_int_equal(client[a].state, ASKED);
    up(0, 0);
    settle();
    assert_int_equal(client[a].state, LIVE);
    asks(a, STREAM_CLOSE);
    settle();
    assert_false(w.wanted[0]);
    down(0, 0);
    /* nothing comes up: refused in time */
    unsigned b = opens_as(&all_user, "count", NULL, 0);
    settle();
    assert_int_equal(client[b].state, ASKED);
    later(RTP_OPEN_NS + NS_PER_S);
    settle();
    assert_int_equal(client[b].state, REFUSED);
    assert_true(strstr(client[b].text, "no process of the group one is up") != NULL);
    assert_false(w.wanted[0]);
    w.group[0].stopped = true;
    unsigned c = opens_as(&all_user, "count", NULL, 0);
    settle();
    assert_true(strstr(client[c].text, "penstock rtp start one") != NULL);
}

static void hostile(void **state)
{
    (void)state;
    struct kdb_out o = {0};
    world_up();
    unsigned c = opens(0, "count", 0, -1, STREAM_AS_IS);
    w.journal += 5;
    settle();
    uint64_t uid = (uint64_t)w.sim[0][0].uids;
    uint64_t at = w.sim[0][0].at;
    assert_int_equal(client[c].state, LIVE);
    static const uint8_t rubbish[] = {99, 98, 97, 0, 0, 0, 0, 1};
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at, rubbish, sizeof rubbish, 1));
    put_table(&o, (int64_t[]){1}, (int64_t[]){2}, 1);
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at - 1, o.data, o.len, 1)); /* back */
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at, o.data, o.len, 2));     /* rows */
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at, o.data, o.len - 1, 1));
    assert_true(says(0, 0, RTP_WIRE_UPDATE, uid + 99, at, o.data, o.len, 1)); /* nobody's */
    assert_true(says(0, 0, RTP_WIRE_STATE, 12345, at, rubbish, 3, 0));        /* not asked */
    o.len = 0;
    kdb_out_columns(&o, (const char *[]){"k", "v"}, 2); /* without its key */
    kdb_out_vector(&o, PST_LONG, 0, 1, (int64_t[]){1});
    kdb_out_vector(&o, PST_LONG, 0, 1, (int64_t[]){1});
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at, o.data, o.len, 1));
    o.len = 0;
    kdb_out_dict(&o, false); /* another type */
    kdb_out_columns(&o, (const char *[]){"k"}, 1);
    kdb_out_vector(&o, PST_LONG, 0, 1, (int64_t[]){1});
    kdb_out_columns(&o, (const char *[]){"v"}, 1);
    kdb_out_vector(&o, PST_INT, 0, 1, (int32_t[]){1});
    assert_false(says(0, 0, RTP_WIRE_UPDATE, uid, at, o.data, o.len, 1));
    kdb_out_free(&o);
    unsigned updates = client[c].updates;
    events();
    assert_int_equal(client[c].updates, updates);
    assert_false(says(0, 0, RTP_WIRE_SUBSCRIBED, 1 << SEQ_BITS, (uint64_t)-5, "{}", 2, 0));
    assert_false(says(0, 0, RTP_WIRE_SUBSCRIBED, 99ull << SEQ_BITS, uid, "{}", 2, 0)); /* twice */
    assert_true(says(0, 0, RTP_WIRE_REFUSED, 77ull << SEQ_BITS, 0, "no", 2, 0));
}

/* A publish thread that takes nothing: its list is bounded, and says that something is missing. */
static void thread_behind(void **state)
{
    (void)state;
    world_up();
    unsigned c = opens(0, "count", 0, -1, STREAM_AS_IS);
    settle();
    assert_int_equal(client[c].state, LIVE);
    const uint32_t n = 600000; /* rows of 16 bytes */
    int64_t *k = calloc(n, sizeof *k);
    struct kdb_out o = {0};
    put_table(&o, k, k, n);
    for (int i = 0; i < 12; i++) {
        assert_true(says(0, 0, RTP_WIRE_UPDATE, (uint64_t)w.sim[0][0].uids, w.sim[0][0].at, o.data,
                         o.len, n));
        if (i == 9) { /* somebody else joins: live from there, and then told as well */
            opens(0, "count", 0, -1, STREAM_AS_IS);
            works();
            take_all();
        }
    }
    assert_true(message_bytes() < 80u << 20);
    assert_true(hub_lost(w.hub) >= 4);
    unsigned updates = 0, lost = 0, stated = 0;
    int last = 0;
    for (struct stream_event *e = hub_take(w.hub, client[c].thread), *next; e; e = next) {
        next = e->next;
        updates += e->kind == STREAM_UPDATE;
        lost += e->kind == STREAM_LOST;
        stated += e->kind == STREAM_STATED;
        last = e->kind;
        stream_event_free(e);
    }
    assert_true(updates >= 5 && updates <= 7 && lost >= 1 && stated == 0);
    assert_int_equal(last, STREAM_LOST);
    asks(c, STREAM_STATE); /* as streams.c does */
    settle();
    assert_int_equal(client[c].state, LIVE);
    free(k);
    kdb_out_free(&o);
}

/* Parameters that are large: what a process has not answered is bounded; nobody waits for ever. */
static void large_asks(void **state)
{
    (void)state;
    world_up();
    static char text[200000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 60; i++) {
        struct kdb_out o = {0};
        unsigned c = new_client();
        kdb_out_dict(&o, false);
        kdb_out_symbols(&o, (const char *[]){"text"}, 1);
        kdb_out_list(&o, 1);
        text[0] = (char)i;
        kdb_out_chars(&o, text, sizeof text);
        struct stream_ask *a = stream_ask_new(STREAM_OPEN, o.data, (uint32_t)o.len);
        kdb_out_free(&o);
        a->order = KDB_LITTLE;
        a->thread = client[c].thread;
        a->token = client[c].token;
        a->user = held(&all_user);
        snprintf(a->name, sizeof a->name, "any");
        snprintf(a->group, sizeof a->group, "one");
        hub_ask(w.hub, a);
        if (i % 20 == 7) /* gone before it is answered */
            asks(c, STREAM_CLOSE);
    }
    works();
    assert_true(w.m->group[0].process[0].asked_bytes <= RTP_ASKED_BYTES);
    assert_true(w.m->group[0].process[0].asked_bytes > RTP_ASKED_BYTES / 2);
    for (int i = 0; i < 4; i++)
        settle();
    unsigned live = 0;
    for (unsigned i = 0; i < nclients; i++)
        live += client[i].state == LIVE;
    assert_int_equal(live, 57);
    assert_int_equal(w.m->group[0].process[0].asked_bytes, 0);
}

/* 10,000 subscriptions over 100 distinct: as many computations, one message an update. */
static void ten_thousand(void **state)
{
    (void)state;
    world_up();
    int64_t begun = clock_monotonic();
    for (int i = 0; i < 10000; i++)
        opens(0, "count", 0, i % 100, STREAM_AS_IS);
    works();
    for (int i = 0; i < 3; i++) {
        take_all();
        works();
    }
    struct rtp_manager_figures f;
    rtp_manager_figures(w.m, &f);
    int64_t joined = clock_monotonic() - begun;
    assert_int_equal(subscribed(0), 100);
    assert_int_equal(f.clients, 10000);
    assert_int_equal(f.streams, 100);
    assert_int_equal(f.shared, 9900);
    assert_int_equal(f.states, 100);
    for (unsigned t = 0; t < THREADS; t++)
        for (struct stream_event *e = hub_take(w.hub, t), *next; e; e = next) {
            next = e->next;
            stream_event_free(e);
        }
    begun = clock_monotonic();
    w.journal += 100;
    read_all();
    int64_t took = clock_monotonic() - begun;
    unsigned n = 0;
    for (unsigned t = 0; t < THREADS; t++)
        for (struct stream_event *e = hub_take(w.hub, t), *next; e; e = next) {
            next = e->next;
            n += e->kind == STREAM_UPDATE;
            stream_event_free(e);
        }
    print_message("joined in %lld ms; an update costs %lld ns\n", (long long)(joined / NS_PER_MS),
                  (long long)(took / 10000));
    assert_int_equal(n, 100 * 100); /* clients of a stream are all on one of the threads here */
    assert_true(joined < 3 * NS_PER_S && took < 2 * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shared, setup, teardown),
        cmocka_unit_test_setup_teardown(modes, setup, teardown),
        cmocka_unit_test_setup_teardown(late_joiners, setup, teardown),
        cmocka_unit_test_setup_teardown(full_states, setup, teardown),
        cmocka_unit_test_setup_teardown(broadcast_joins, setup, teardown),
        cmocka_unit_test_setup_teardown(storm, setup, teardown),
        cmocka_unit_test_setup_teardown(deaths, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(rights, setup, teardown),
        cmocka_unit_test_setup_teardown(limit_of_user, setup, teardown),
        cmocka_unit_test_setup_teardown(on_demand, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(thread_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(large_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(ten_thousand, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
