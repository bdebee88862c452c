/* SPDX-License-Identifier: Apache-2.0 */
#include "sources.h"

#define ONE_SAID (SOURCE_NAME_MAX * 6 + 64 + SOURCE_ISLANDS * 64) /* bytes of JSON at most */

static uint16_t *hash_of(struct sources *s, uint32_t name)
{
    uint32_t mask = PST_COUNT(s->hash) - 1;
    for (uint32_t i = name * 0x9E3779B1u >> 12;; i++) {
        uint16_t *h = &s->hash[i & mask];
        if (!*h || s->slot[*h - 1].name == name)
            return h;
    }
}

static struct source_slot *slot_of(struct sources *s, uint32_t name)
{
    uint16_t h = *hash_of(s, name);
    return h ? &s->slot[h - 1] : NULL;
}

struct source_progress *sources_find(struct sources *s, uint32_t name)
{
    struct source_slot *x = slot_of(s, name);
    return x ? &x->p : NULL;
}

/* The one that has not moved for the longest time makes room. */
static struct source_slot *oldest(struct sources *s)
{
    struct source_slot *x = &s->slot[0];
    for (uint32_t i = 1; i < SOURCES_MAX; i++)
        if (s->slot[i].turn < x->turn)
            x = &s->slot[i];
    s->moved -= x->moved;
    s->forgotten++;
    return x;
}

static void rehash(struct sources *s)
{
    memset(s->hash, 0, sizeof s->hash);
    for (uint32_t i = 0; i < load_relaxed(&s->n); i++)
        *hash_of(s, s->slot[i].name) = (uint16_t)(i + 1);
}

static void show(struct sources *s, struct source_slot *x)
{
    uint64_t word[SOURCE_WORDS];
    memcpy(word, &x->p, sizeof word);
    uint64_t v = load_relaxed(&s->version);
    store_relaxed(&s->version, v + 1);
    fence_release(); /* the odd version first: pairs with the acquire fence in sources_where */
    store_relaxed(&x->shown_name, x->name);
    for (unsigned i = 0; i < 3 + 4 * x->p.islands && i < SOURCE_WORDS; i++)
        store_relaxed(&x->shown[i], word[i]);
    store_release(&s->version, v + 2); /* S1: pairs with S2 */
}

static struct source_slot *make(struct sources *s, uint32_t name)
{
    struct source_slot *x = slot_of(s, name);
    if (x)
        return x;
    uint32_t n = load_relaxed(&s->n);
    bool full = n == SOURCES_MAX;
    x = full ? oldest(s) : &s->slot[n];
    x->name = name;
    x->moved = false;
    x->p = (struct source_progress){0};
    show(s, x);
    if (full) {
        rehash(s);
    } else {
        *hash_of(s, name) = (uint16_t)(n + 1);
        store_release(&s->n, n + 1);
    }
    return x;
}

void sources_advance(struct sources *s, uint32_t name, struct source_point to)
{
    struct source_slot *x = make(s, name);
    source_advance(&x->p, to);
    s->moved += !x->moved;
    x->moved = true;
    x->turn = ++s->turn;
    show(s, x);
}

void sources_restore(struct sources *s, uint32_t name, const struct source_progress *p)
{
    struct source_slot *x = make(s, name);
    x->p = *p;
    x->turn = ++s->turn;
    show(s, x);
}

static void put_point(struct json_put *j, struct source_point p)
{
    json_put_u64(j, p.position);
    json_put_lit(j, ",");
    json_put_u64(j, p.row);
}

static void put_one(const struct source_slot *x, const struct symbols *symbols, struct json_put *j)
{
    uint32_t len;
    const char *name = symbols_text(symbols, x->name, &len);
    json_put_lit(j, "[");
    json_put_text(j, name, len);
    json_put_lit(j, ",");
    put_point(j, x->p.at);
    for (uint32_t i = 0; i < x->p.islands; i++) {
        json_put_raw(j, i ? ",[" : ",[[", i ? 2 : 3);
        put_point(j, x->p.island[i].from);
        json_put_lit(j, ",");
        put_point(j, x->p.island[i].to);
        json_put_lit(j, "]");
    }
    if (x->p.islands)
        json_put_lit(j, "]");
    json_put_lit(j, "]");
}

void sources_say(const struct sources *s, const struct symbols *symbols, struct json_put *j,
                 uint32_t *at, bool only_moved, size_t spare)
{
    bool any = false;
    for (; *at < load_relaxed(&s->n); ++*at) {
        const struct source_slot *x = &s->slot[*at];
        if (only_moved && !x->moved)
            continue;
        if ((size_t)(j->end - j->at) < ONE_SAID + spare)
            return;
        if (any)
            json_put_lit(j, ",");
        any = true;
        put_one(x, symbols, j);
    }
}

void sources_said(struct sources *s)
{
    for (uint32_t i = 0; s->moved && i < load_relaxed(&s->n); i++)
        s->slot[i].moved = false;
    s->moved = 0;
}

void sources_where(const struct sources *s, uint32_t name, struct source_progress *out)
{
    for (;;) {
        uint64_t v = load_acquire(&s->version); /* S2: pairs with S1 */
        uint64_t word[SOURCE_WORDS] = {0};
        uint32_t n = load_acquire(&s->n);
        for (uint32_t i = 0; i < n; i++) {
            const struct source_slot *x = &s->slot[i];
            if (load_relaxed(&x->shown_name) != name)
                continue;
            for (unsigned k = 0; k < SOURCE_WORDS; k++)
                word[k] = load_relaxed(&x->shown[k]);
            break;
        }
        fence_acquire();
        if (!(v & 1) && load_relaxed(&s->version) == v) {
            memcpy(out, word, sizeof *out);
            return;
        }
        cpu_relax();
    }
}
