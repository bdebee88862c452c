/* SPDX-License-Identifier: Apache-2.0 */
/* Consumers, their subscriptions, and the groups that equal ones are. */
#include "publish/fanout_int.h"

#define SLOTS_LEAST 64u

/* ---- hash slots ---- */

static uint64_t who_hash(const void *who)
{
    return ((uintptr_t)who >> 4) * 0x9E3779B97F4A7C15ull >> 20;
}

static bool slots_for(struct fanout *f, uint32_t n)
{
    if (n <= f->slots)
        return true;
    uint32_t slots = f->slots ? 2 * f->slots : SLOTS_LEAST;
    struct consumer **cs = calloc(slots, sizeof(struct consumer *));
    struct group **gs = calloc(slots, sizeof(struct group *));
    if (!cs || !gs) {
        free(cs);
        free(gs);
        return f->slots > 0; /* longer chains do it too */
    }
    for (uint32_t i = 0; i < f->consumers; i++) {
        struct consumer *c = f->consumer[i], **at = &cs[who_hash(c->who) & (slots - 1)];
        c->next = *at;
        *at = c;
    }
    for (uint32_t i = 0; i < f->groups; i++) {
        struct group *g = f->group[i], **at = &gs[g->hash & (slots - 1)];
        if (!g->shared)
            continue;
        g->next = *at;
        *at = g;
    }
    free(f->consumer_slot);
    free(f->group_slot);
    f->consumer_slot = cs;
    f->group_slot = gs;
    f->slots = slots;
    return true;
}

/* Room for one more in an array of pointers. */
static bool one_more(void *array, uint32_t n, uint32_t *room, size_t width)
{
    if (n < *room)
        return true;
    uint32_t more = *room ? 2 * *room : 4;
    void *p = realloc(*(void **)array, more * width);
    if (!p)
        return false;
    *(void **)array = p;
    *room = more;
    return true;
}

/* ---- groups ---- */

static void group_hide(struct fanout *f, struct group *g)
{
    if (!g->shared)
        return;
    struct group **at = &f->group_slot[g->hash & (f->slots - 1)];
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    g->shared = false;
}

static void group_free(struct fanout *f, struct group *g)
{
    group_hide(f, g);
    while (g->streams.n)
        table_unstream(f, g->streams.s[0]);
    if (g->at < f->groups && f->group[g->at] == g) {
        f->group[g->at] = f->group[--f->groups];
        f->group[g->at]->at = g->at;
    }
    if (g->spec->rights.release)
        g->spec->rights.release(g->spec->rights.user);
    free(g->spec);
    free(g->member);
    free(g->streams.s);
    free(g);
}

void group_tell(struct fanout *f, struct group *g, const char *why)
{
    group_hide(f, g);
    for (uint32_t i = 0; i < g->members; i++) {
        struct consumer *c = g->member[i].consumer;
        if (f->cfg.failed)
            f->cfg.failed(f->cfg.arg, c->who, c->member[g->member[i].at].id, why);
    }
    f->figures.failures++;
}

/* The group of a spec, which it takes (frees on failure too). A new one has no members. */
static struct group *group_get(struct fanout *f, struct spec *s, struct err *err)
{
    uint64_t hash = spec_hash(s->key.p, s->key.len);
    hash ^= hash >> 32;
    for (struct group *g = f->slots ? f->group_slot[hash & (f->slots - 1)] : NULL; g; g = g->next)
        if (g->hash == hash && g->spec->key.len == s->key.len &&
            !memcmp(g->spec->key.p, s->key.p, s->key.len)) {
            free(s);
            return g;
        }
    struct group *g = calloc(1, sizeof *g);
    if (!g || !(g->beat = beat_of(f, s->every)) || !slots_for(f, f->groups + 1) ||
        !one_more(&f->group, f->groups, &f->group_room, sizeof(struct group *))) {
        free(s);
        free(g);
        err_set(err, -ENOMEM, "no memory for the subscription");
        return NULL;
    }
    g->spec = s;
    g->hash = hash;
    g->at = UINT32_MAX;
    if (s->rights.hold)
        s->rights.hold(s->rights.user);
    if (!tables_join(f, g, err)) {
        group_free(f, g);
        return NULL;
    }
    g->at = f->groups;
    f->group[f->groups++] = g;
    struct group **at = &f->group_slot[hash & (f->slots - 1)];
    g->next = *at;
    *at = g;
    g->shared = true;
    return g;
}

/* ---- consumers ---- */

static struct consumer *consumer_find(const struct fanout *f, const void *who)
{
    struct consumer *c = f->slots ? f->consumer_slot[who_hash(who) & (f->slots - 1)] : NULL;
    while (c && c->who != who)
        c = c->next;
    return c;
}

static struct consumer *consumer_new(struct fanout *f, void *who)
{
    struct consumer *c = calloc(1, sizeof *c);
    if (!c || !slots_for(f, f->consumers + 1) ||
        !one_more(&f->consumer, f->consumers, &f->consumer_room, sizeof(struct consumer *))) {
        free(c);
        return NULL;
    }
    c->who = who;
    c->at = f->consumers;
    f->consumer[f->consumers++] = c;
    struct consumer **at = &f->consumer_slot[who_hash(who) & (f->slots - 1)];
    c->next = *at;
    *at = c;
    return c;
}

static void consumer_free(struct fanout *f, struct consumer *c)
{
    struct consumer **at = &f->consumer_slot[who_hash(c->who) & (f->slots - 1)];
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    f->consumer[c->at] = f->consumer[--f->consumers];
    f->consumer[c->at]->at = c->at;
    free(c->member);
    free(c);
}

static void count_marks(struct fanout *f, uint8_t marks, int by)
{
    for (unsigned i = 0; i < 8; i++)
        if (marks >> i & 1)
            f->wanting[i] += (uint32_t)by;
}

/* Room for it in both lists was made before. */
static void join(struct fanout *f, struct consumer *c, struct group *g, uint64_t id, uint8_t marks,
                 bool beside)
{
    c->member[c->members] = (struct membership){g, g->members, id, marks, beside};
    g->member[g->members++] = (struct member){c, c->members++};
    f->subscriptions++;
    count_marks(f, marks, 1);
}

static void leave(struct fanout *f, struct consumer *c, uint32_t i)
{
    struct membership *m = &c->member[i];
    struct group *g = m->group;
    count_marks(f, m->marks, -1);
    f->subscriptions--;
    uint32_t at = m->at;
    g->member[at] = g->member[--g->members];
    if (at < g->members)
        g->member[at].consumer->member[g->member[at].at].at = at;
    c->member[i] = c->member[--c->members];
    if (i < c->members)
        c->member[i].group->member[c->member[i].at].at = i;
    if (!g->members)
        group_free(f, g);
}

/* ---- changing what a consumer has ---- */

struct change { /* made ready completely, then done without a way to fail */
    struct group **join;
    uint8_t *marks;
    bool *beside;
    uint64_t *id;
    uint32_t joins;
    bool *leave; /* by membership */
};

static void change_free(struct change *c)
{
    free(c->join);
    free(c->marks);
    free(c->beside);
    free(c->id);
    free(c->leave);
}

static bool change_new(struct change *c, uint32_t members)
{
    uint32_t n = 2 * members + 1;
    c->join = calloc(n, sizeof(struct group *));
    c->marks = calloc(n, 1);
    c->beside = calloc(n, sizeof *c->beside);
    c->id = calloc(n, sizeof *c->id);
    c->leave = calloc(members + 1u, sizeof *c->leave);
    return c->join && c->marks && c->beside && c->id && c->leave;
}

/* Takes spec. One without tables is nothing. */
static bool change_join(struct fanout *f, struct change *c, struct spec *spec, uint64_t id,
                        uint8_t marks, bool beside, struct err *err)
{
    if (!spec)
        return err_set(err, -ENOMEM, "no memory for the subscription");
    if (spec_empty(spec)) {
        free(spec);
        return true;
    }
    struct group *g = group_get(f, spec, err);
    if (!g)
        return false;
    c->join[c->joins] = g;
    c->id[c->joins] = id;
    c->marks[c->joins] = marks;
    c->beside[c->joins++] = beside;
    return true;
}

/* What of its other subscriptions gives way to `spec`, and what becomes of spec itself. */
static bool change_make(struct fanout *f, struct change *c, const struct consumer *who,
                        struct spec *spec, const struct fanout_spec *from, uint64_t id,
                        struct err *err)
{
    for (uint32_t i = 0; from->mode != FANOUT_BESIDE && i < who->members; i++) {
        const struct membership *m = &who->member[i];
        const struct spec *old = m->group->spec;
        if (m->beside || !spec_overlap(old, spec))
            continue;
        c->leave[i] = true;
        bool ok = change_join(f, c, spec_cut(old, spec, false, false), m->id, m->marks, false, err);
        if (ok && from->mode == FANOUT_ADD && spec_akin(old, spec)) {
            struct spec *rest = spec_cut(spec, old, false, false);
            ok = change_join(f, c, spec_cut(old, spec, true, true), id, from->marks, false, err);
            free(spec);
            spec = rest;
            if (!spec)
                return err_set(err, -ENOMEM, "no memory for the subscription");
        }
        if (!ok) {
            free(spec);
            return false;
        }
    }
    return change_join(f, c, spec, id, from->marks, from->mode == FANOUT_BESIDE, err);
}

static bool member_room(struct consumer *c, const struct change *x)
{
    while (c->room < c->members + x->joins)
        if (!one_more(&c->member, c->room, &c->room, sizeof *c->member))
            return false;
    for (uint32_t i = 0; i < x->joins; i++) {
        struct group *g = x->join[i];
        uint32_t n = g->members;
        for (uint32_t k = 0; k < x->joins; k++)
            n += x->join[k] == g;
        while (g->member_room < n)
            if (!one_more(&g->member, g->member_room, &g->member_room, sizeof *g->member))
                return false;
    }
    return true;
}

static bool tables_known(const struct fanout *f, const struct fanout_spec *spec, struct err *err)
{
    for (uint32_t i = 0; !spec->tables.all && !spec->early && i < spec->tables.n; i++) {
        const struct fanout_text *t = &spec->tables.text[i];
        char name[SCHEMA_NAME_MAX];
        if (t->len < sizeof name) {
            memcpy(name, t->p, t->len);
            name[t->len] = 0;
            if (schema_set_find(f->cfg.dict->schemas, name))
                continue;
        }
        return err_set(err, -ENOENT, "%.*s", (int)t->len, t->p);
    }
    return true;
}

static bool verbatim_add(struct fanout *f, void *who, uint64_t *id, struct err *err)
{
    if (f->verbatims == f->verbatim_room) {
        uint32_t room = f->verbatim_room ? 2 * f->verbatim_room : 4;
        struct verbatim *v = realloc(f->verbatim, room * sizeof *v);
        if (!v)
            return err_set(err, -ENOMEM, "no memory for the subscription");
        f->verbatim = v;
        f->verbatim_room = room;
    }
    *id = ++f->next_id;
    f->verbatim[f->verbatims++] = (struct verbatim){who, *id};
    return true;
}

/* Of one consumer, that id or (0) all. */
static bool verbatim_remove(struct fanout *f, const void *who, uint64_t id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->verbatims; i++)
        if (f->verbatim[i].who != who || (id && f->verbatim[i].id != id))
            f->verbatim[n++] = f->verbatim[i];
    bool found = n != f->verbatims;
    f->verbatims = n;
    return found;
}

bool fanout_subscribe(struct fanout *f, const struct fanout_spec *from, void *who, uint64_t *id,
                      struct err *err)
{
    if (from->form == FANOUT_FRAMES)
        return verbatim_add(f, who, id, err);
    if (!tables_known(f, from, err))
        return false;
    struct spec *spec = spec_make(from, &f->cfg, who, err);
    if (!spec)
        return false;
    tables_compact(f);
    struct consumer *c = consumer_find(f, who);
    struct change x = {0};
    bool fresh = !c;
    uint64_t number = f->next_id + 1;
    bool ok = (c || (c = consumer_new(f, who))) && change_new(&x, c->members);
    if (!ok) {
        free(spec);
        err_set(err, -ENOMEM, "no memory for the subscription");
    }
    ok = ok && change_make(f, &x, c, spec, from, number, err);
    if (ok && !member_room(c, &x))
        ok = err_set(err, -ENOMEM, "no memory for the subscription");
    if (ok) {
        consumer_settle(f, c); /* what came before goes by what was */
        for (uint32_t i = 0; i < x.joins; i++)
            group_send(f, x.join[i]);
        uint32_t before = c->members;
        for (uint32_t i = 0; i < x.joins; i++)
            join(f, c, x.join[i], x.id[i], x.marks[i], x.beside[i]);
        for (uint32_t i = before; i-- > 0;)
            if (x.leave[i])
                leave(f, c, i);
        f->next_id = number;
        *id = number;
    } else {
        for (uint32_t i = 0; i < x.joins; i++) {
            bool again = false;
            for (uint32_t k = 0; k < i; k++)
                again |= x.join[k] == x.join[i];
            if (!again && !x.join[i]->members)
                group_free(f, x.join[i]);
        }
    }
    change_free(&x);
    if (c && !c->members) {
        if (fresh || ok)
            consumer_free(f, c);
    }
    return ok;
}

bool fanout_unsubscribe(struct fanout *f, void *who, uint64_t id)
{
    struct consumer *c = consumer_find(f, who);
    bool found = verbatim_remove(f, who, id);
    for (uint32_t i = c ? c->members : 0; i-- > 0;)
        if (c->member[i].id == id) {
            leave(f, c, i);
            found = true;
        }
    if (c && !c->members)
        consumer_free(f, c);
    return found;
}

void fanout_drop(struct fanout *f, void *who)
{
    struct consumer *c = consumer_find(f, who);
    verbatim_remove(f, who, 0);
    if (!c)
        return;
    while (c->members)
        leave(f, c, c->members - 1);
    consumer_free(f, c);
}

void consumer_settle(struct fanout *f, struct consumer *c)
{
    for (uint32_t i = 0; i < c->members; i++)
        group_send(f, c->member[i].group);
}

void fanout_settle(struct fanout *f, void *who)
{
    struct consumer *c = consumer_find(f, who);
    if (c)
        consumer_settle(f, c);
}

void subscriptions_free(struct fanout *f)
{
    while (f->consumers)
        fanout_drop(f, f->consumer[f->consumers - 1]->who);
    free(f->verbatim);
    free(f->consumer);
    free(f->consumer_slot);
    free(f->group_slot);
    free(f->group);
}
