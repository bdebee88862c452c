/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Combinations of key values -> dense numbers, in order of first appearance. One symbol key is an
 * array indexed by code; everything else an open hash table over the values, which stand in one
 * array a key.
 */
#include "exec_int.h"

#define TEXT_BLOCK (64u << 10)

struct text_block {
    struct text_block *next;
    uint64_t used, room;
};

struct keyer {
    unsigned nkeys;
    enum cls *cls;
    void **value; /* per key, by number */
    uint64_t *hash;
    uint64_t room;
    uint32_t count;
    uint32_t *slot; /* number + 1 */
    uint64_t slots;
    bool direct;    /* one symbol key */
    uint32_t *of;   /* by code + 1 (null: 0): number + 1 */
    uint64_t codes; /* entries of `of` */
    /*
     * Two keys, a symbol and an integer (bars): by code + 1, the integer that came last with that
     * symbol, their number, and the greatest integer so far. Rows in order of time hardly ever miss
     * it, and what is greater than all before is new without a look: the hash table is made only
     * for the first that is neither (`hashed` of the combinations are in it).
     */
    bool single; /* one integer key: tested against the row before */
    bool pair;
    unsigned pair_sym; /* which of the two is the symbol */
    uint32_t hashed;
    struct last_pair {
        int64_t value;
        int64_t most;
        uint64_t id; /* number + 1, 0: none */
        uint64_t pad;
    } * last; /* by code + 1; half a cache line each */
    struct text_block *text;
};

struct keyer *keyer_new(struct xthread *t, unsigned nkeys, const uint8_t *types)
{
    struct keyer *k = x_zalloc(t, sizeof *k);
    k->nkeys = nkeys;
    k->cls = x_zalloc(t, nkeys * sizeof *k->cls + 1);
    k->value = x_zalloc(t, nkeys * sizeof *k->value + 1);
    for (unsigned i = 0; i < nkeys; i++)
        k->cls[i] = cls_of(types[i]);
    k->direct = nkeys == 1 && k->cls[0] == C_SYM;
    k->pair = nkeys == 2 && ((k->cls[0] == C_SYM && k->cls[1] == C_I64) ||
                             (k->cls[0] == C_I64 && k->cls[1] == C_SYM));
    k->pair_sym = k->pair && k->cls[1] == C_SYM;
    k->single = nkeys == 1 && (k->cls[0] == C_I64 || k->cls[0] == C_F64);
    return k;
}

static void free_texts(struct exec *x, struct keyer *k)
{
    while (k->text) {
        struct text_block *b = k->text;
        k->text = b->next;
        x_free(x, b);
    }
}

void keyer_free(struct exec *x, struct keyer *k)
{
    free_texts(x, k);
    for (unsigned i = 0; i < k->nkeys; i++)
        x_free(x, k->value[i]);
    x_free(x, k->value);
    x_free(x, k->cls);
    x_free(x, k->hash);
    x_free(x, k->slot);
    x_free(x, k->of);
    x_free(x, k->last);
    x_free(x, k);
}

void keyer_reset(struct keyer *k)
{
    if (k->direct) {
        const uint32_t *code = k->value[0];
        for (uint32_t i = 0; i < k->count; i++)
            k->of[(uint32_t)(code[i] + 1)] = 0;
    } else if (k->slot && k->count && (!k->pair || k->hashed)) {
        memset(k->slot, 0, k->slots * sizeof *k->slot);
    }
    if (k->last && k->count) {
        const uint32_t *code = k->value[k->pair_sym];
        for (uint32_t i = 0; i < k->count; i++)
            k->last[(uint32_t)(code[i] + 1)].id = 0;
    }
    k->count = 0;
    k->hashed = 0;
    /* texts stay until the end: states that were merged may point at them */
}

uint32_t keyer_count(const struct keyer *k)
{
    return k->count;
}

const void *keyer_values(const struct keyer *k, unsigned i)
{
    return k->value[i];
}

/* ---- hashing: finalizer of MurmurHash3 (public domain) per value ---- */

static inline uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

static inline uint64_t float_key(double v)
{
    uint64_t u;
    if (v != v)
        return PST_NULL_FLOAT_BITS;
    v += 0.0; /* -0 is 0 */
    memcpy(&u, &v, sizeof u);
    return u;
}

static uint64_t hash_bytes(const char *p, uint32_t len)
{
    uint64_t h = len;
    while (len >= 8) {
        h = mix(h ^ le64(p));
        p += 8;
        len -= 8;
    }
    uint64_t last = 0;
    if (len)
        memcpy(&last, p, len);
    return mix(h ^ last);
}

static void hash_keys(const struct keyer *k, const struct vec *v, uint32_t n, uint64_t *h)
{
    memset(h, 0, (size_t)n * sizeof *h);
    for (unsigned j = 0; j < k->nkeys; j++) {
        bool one = v[j].one;
        uint64_t salt = j + 1;
        switch (k->cls[j]) {
        case C_BOOL:
            for (uint32_t i = 0; i < n; i++)
                h[i] = mix(h[i] * 31 + salt + ((const uint8_t *)v[j].p)[one ? 0 : i]);
            break;
        case C_I64:
            for (uint32_t i = 0; i < n; i++)
                h[i] = mix(h[i] * 31 + salt + ((const uint64_t *)v[j].p)[one ? 0 : i]);
            break;
        case C_F64:
            for (uint32_t i = 0; i < n; i++)
                h[i] = mix(h[i] * 31 + salt + float_key(((const double *)v[j].p)[one ? 0 : i]));
            break;
        case C_SYM:
            for (uint32_t i = 0; i < n; i++)
                h[i] = mix(h[i] * 31 + salt + ((const uint32_t *)v[j].p)[one ? 0 : i]);
            break;
        case C_TEXT:
            for (uint32_t i = 0; i < n; i++) {
                const struct plan_text *s = (const struct plan_text *)v[j].p + (one ? 0 : i);
                h[i] = mix(h[i] * 31 + salt + hash_bytes(s->p, s->len));
            }
            break;
        case C_GUID:
            for (uint32_t i = 0; i < n; i++) {
                const uint8_t *g = (const uint8_t *)v[j].p + (one ? 0 : (size_t)i * 16);
                h[i] = mix(h[i] * 31 + salt + le64(g) * 7 + le64(g + 8));
            }
            break;
        }
    }
}

static bool same(const struct keyer *k, uint32_t id, const struct vec *v, uint32_t i)
{
    for (unsigned j = 0; j < k->nkeys; j++) {
        uint32_t at = v[j].one ? 0 : i;
        switch (k->cls[j]) {
        case C_BOOL:
            if (((const uint8_t *)k->value[j])[id] != ((const uint8_t *)v[j].p)[at])
                return false;
            break;
        case C_I64:
            if (((const int64_t *)k->value[j])[id] != ((const int64_t *)v[j].p)[at])
                return false;
            break;
        case C_F64:
            if (float_key(((const double *)k->value[j])[id]) !=
                float_key(((const double *)v[j].p)[at]))
                return false;
            break;
        case C_SYM:
            if (((const uint32_t *)k->value[j])[id] != ((const uint32_t *)v[j].p)[at])
                return false;
            break;
        case C_TEXT: {
            const struct plan_text *a = (const struct plan_text *)k->value[j] + id,
                                   *b = (const struct plan_text *)v[j].p + at;
            if (a->len != b->len || (a->len && memcmp(a->p, b->p, a->len)))
                return false;
            break;
        }
        case C_GUID:
            if (memcmp((const uint8_t *)k->value[j] + (size_t)id * 16,
                       (const uint8_t *)v[j].p + (size_t)at * 16, 16))
                return false;
            break;
        }
    }
    return true;
}

static struct plan_text keep_text(struct xthread *t, struct keyer *k, struct plan_text s)
{
    if (!k->text || k->text->room - k->text->used < s.len) {
        uint64_t room = s.len > TEXT_BLOCK ? s.len : TEXT_BLOCK;
        struct text_block *b = x_alloc(t, sizeof *b + room);
        b->next = k->text;
        b->used = 0;
        b->room = room;
        k->text = b;
    }
    char *p = (char *)(k->text + 1) + k->text->used;
    if (s.len)
        memcpy(p, s.p, s.len);
    k->text->used += s.len;
    return (struct plan_text){p, s.len};
}

static void make_room(struct xthread *t, struct keyer *k)
{
    if (k->count < k->room)
        return;
    if (k->count >= UINT32_MAX - 2)
        x_throw(t, QUERY_LIMIT, -1, "the query makes more than 4 billion groups");
    uint64_t room = k->room ? k->room * 2 : 1024;
    for (unsigned j = 0; j < k->nkeys; j++)
        k->value[j] = x_realloc(t, k->value[j], room * cls_width(k->cls[j]));
    if (!k->direct)
        k->hash = x_realloc(t, k->hash, room * sizeof *k->hash);
    k->room = room;
}

static uint32_t new_key(struct xthread *t, struct keyer *k, const struct vec *v, uint32_t i)
{
    make_room(t, k);
    uint32_t id = k->count;
    for (unsigned j = 0; j < k->nkeys; j++) {
        unsigned w = cls_width(k->cls[j]);
        const uint8_t *from = (const uint8_t *)v[j].p + (v[j].one ? 0 : (size_t)i * w);
        if (k->cls[j] == C_TEXT)
            ((struct plan_text *)k->value[j])[id] =
                keep_text(t, k, *(const struct plan_text *)from);
        else
            memcpy((uint8_t *)k->value[j] + (size_t)id * w, from, w);
    }
    k->count++;
    return id;
}

static void rehash(struct xthread *t, struct keyer *k)
{
    uint64_t slots = k->slots ? k->slots * 2 : 4096;
    x_free(t->x, k->slot);
    k->slot = NULL;
    k->slot = x_zalloc(t, slots * sizeof *k->slot);
    k->slots = slots;
    for (uint32_t i = 0; i < k->count; i++) {
        uint64_t s = k->hash[i] & (slots - 1);
        while (k->slot[s])
            s = (s + 1) & (slots - 1);
        k->slot[s] = i + 1;
    }
}

static void grow_codes(struct xthread *t, struct keyer *k, uint32_t code)
{
    uint64_t n = (uint64_t)x_sym_count(t->x) + 1;
    if (n <= code)
        n = (uint64_t)code + 1;
    n += n / 8;
    uint64_t old = k->codes;
    k->of = x_realloc(t, k->of, n * sizeof *k->of);
    memset(k->of + old, 0, (n - old) * sizeof *k->of);
    k->codes = n;
}

/* Plain loads: a gather instruction is no faster here, on some machines slower. */
static bool all_known(const struct keyer *k, const uint32_t *code, uint32_t n, uint32_t *id)
{
    const uint32_t *of = k->of;
    uint64_t codes = k->codes;
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __builtin_prefetch(code + i + 512);
        uint32_t a = code[i] + 1, b = code[i + 1] + 1, c = code[i + 2] + 1, d = code[i + 3] + 1;
        if (pst_unlikely((a >= codes) | (b >= codes) | (c >= codes) | (d >= codes)))
            return false;
        a = of[a], b = of[b], c = of[c], d = of[d];
        if (pst_unlikely(!a | !b | !c | !d))
            return false;
        id[i] = a - 1, id[i + 1] = b - 1, id[i + 2] = c - 1, id[i + 3] = d - 1;
    }
    for (; i < n; i++) {
        uint32_t a = code[i] + 1;
        if (a >= codes || !of[a])
            return false;
        id[i] = of[a] - 1;
    }
    return true;
}

static void add_direct(struct xthread *t, struct keyer *k, struct vec v, uint32_t n, uint32_t *id)
{
    const uint32_t *p = v.p;
    if (!v.one && all_known(k, p, n, id))
        return; /* nearly every batch but the first */
    uint32_t last = 0, last_id = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t code = p[v.one ? 0 : i];
        if (code == last && last_id != UINT32_MAX) {
            id[i] = last_id;
            continue;
        }
        uint32_t at = code + 1; /* null becomes 0 */
        if (pst_unlikely(at >= k->codes))
            grow_codes(t, k, at);
        if (pst_unlikely(!k->of[at])) {
            uint32_t g = new_key(t, k, &v, i);
            k->of[at] = g + 1;
        }
        last = code;
        id[i] = last_id = k->of[at] - 1;
    }
}

static uint32_t add_hashed(struct xthread *t, struct keyer *k, const struct vec *v, uint32_t i,
                           uint64_t h)
{
    if ((uint64_t)k->count * 2 >= k->slots)
        rehash(t, k);
    for (uint64_t s = h & (k->slots - 1);; s = (s + 1) & (k->slots - 1)) {
        uint32_t g = k->slot[s];
        if (!g) {
            g = new_key(t, k, v, i);
            k->hash[g] = h;
            k->slot[s] = g + 1;
            return g;
        }
        if (k->hash[g - 1] == h && same(k, g - 1, v, i))
            return g - 1;
    }
}

static void grow_pairs(struct xthread *t, struct keyer *k, uint32_t at)
{
    uint64_t n = (uint64_t)x_sym_count(t->x) + 1;
    if (n <= at)
        n = (uint64_t)at + 1;
    n += n / 8;
    uint64_t old = k->codes;
    k->last = x_realloc(t, k->last, n * sizeof *k->last);
    memset(k->last + old, 0, (n - old) * sizeof *k->last);
    k->codes = n;
}

/* Puts what is not in the hash table yet into it. */
static void hash_pairs(struct xthread *t, struct keyer *k)
{
    for (; k->hashed < k->count; k->hashed++) {
        uint32_t i = k->hashed;
        struct vec v[2];
        for (unsigned j = 0; j < 2; j++)
            v[j] = (struct vec){(const uint8_t *)k->value[j] + (uint64_t)i * cls_width(k->cls[j]),
                                true};
        hash_keys(k, v, 1, &k->hash[i]);
        if ((uint64_t)(i + 1) * 2 >= k->slots) {
            uint32_t count = k->count;
            k->count = i; /* only those have a hash */
            rehash(t, k);
            k->count = count;
        }
        uint64_t s = k->hash[i] & (k->slots - 1);
        while (k->slot[s])
            s = (s + 1) & (k->slots - 1);
        k->slot[s] = i + 1;
    }
}

static pst_noinline uint32_t find_pair(struct xthread *t, struct keyer *k, const struct vec *v)
{
    uint64_t h;
    hash_pairs(t, k);
    hash_keys(k, v, 1, &h);
    uint32_t id = add_hashed(t, k, v, 0, h);
    k->hashed = k->count;
    return id;
}

#define PAIRS_AHEAD 24u

static void add_pairs(struct xthread *t, struct keyer *k, const struct vec *v, uint32_t n,
                      uint32_t *id)
{
    const struct vec *sv = &v[k->pair_sym], *iv = &v[!k->pair_sym];
    const uint32_t *sym = sv->p;
    const int64_t *val = iv->p;
    bool ahead = !sv->one && k->codes * sizeof *k->last > 16384;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = sym[sv->one ? 0 : i] + 1; /* null becomes 0 */
        int64_t x = val[iv->one ? 0 : i];
        if (pst_unlikely(at >= k->codes))
            grow_pairs(t, k, at);
        if (ahead && i + PAIRS_AHEAD < n)
            /* an address that may be beyond the end is fine for a prefetch */
            __builtin_prefetch(
                (const void *)((uintptr_t)k->last +
                               (uint64_t)(uint32_t)(sym[i + PAIRS_AHEAD] + 1) * sizeof *k->last),
                1);
        struct last_pair *l = &k->last[at];
        if (pst_unlikely(l->value != x || !l->id)) {
            if (!l->id || x > l->most) {
                make_room(t, k);
                ((uint32_t *)k->value[k->pair_sym])[k->count] = at - 1;
                ((int64_t *)k->value[!k->pair_sym])[k->count] = x;
                l->id = ++k->count;
                l->most = x;
            } else {
                struct vec one[2];
                one[k->pair_sym] = (struct vec){sym + (sv->one ? 0 : i), true};
                one[!k->pair_sym] = (struct vec){val + (iv->one ? 0 : i), true};
                l->id = find_pair(t, k, one) + 1ull;
            }
            l->value = x;
        }
        id[i] = (uint32_t)(l->id - 1);
    }
}

/* One key of 64 bits: the hash is of the value, and only where it is not that of the row before. */
static void add_single(struct xthread *t, struct keyer *k, struct vec v, uint32_t n, uint32_t *id)
{
    bool f = k->cls[0] == C_F64;
    uint64_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = f ? float_key(((const double *)v.p)[v.one ? 0 : i])
                       : ((const uint64_t *)v.p)[v.one ? 0 : i];
        if (i && x == last) {
            id[i] = id[i - 1];
            continue;
        }
        last = x;
        if ((uint64_t)k->count * 2 >= k->slots)
            rehash(t, k);
        uint64_t h = mix(1 + x); /* as hash_keys has it */
        for (uint64_t s = h & (k->slots - 1);; s = (s + 1) & (k->slots - 1)) {
            uint32_t g = k->slot[s];
            if (!g) {
                struct vec one = {(const uint8_t *)v.p + (v.one ? 0 : i * 8ull), true};
                g = new_key(t, k, &one, 0);
                if (f) /* as it is compared: one null, one zero */
                    ((uint64_t *)k->value[0])[g] = x;
                k->hash[g] = h;
                k->slot[s] = g + 1;
                id[i] = g;
                break;
            }
            if (((const uint64_t *)k->value[0])[g - 1] == x) {
                id[i] = g - 1;
                break;
            }
        }
    }
}

void keyer_add(struct xthread *t, struct keyer *k, const struct vec *v, uint32_t n, uint32_t *id)
{
    if (k->nkeys == 0) {
        k->count = 1;
        memset(id, 0, (size_t)n * sizeof *id);
        return;
    }
    if (k->direct) {
        add_direct(t, k, v[0], n, id);
        return;
    }
    if (k->pair) {
        add_pairs(t, k, v, n, id);
        return;
    }
    if (k->single) {
        add_single(t, k, v[0], n, id);
        return;
    }
    struct scratch_mark m = x_mark(t);
    uint64_t *h = x_scratch(t, (uint64_t)n * sizeof *h + 8);
    hash_keys(k, v, n, h);
    for (uint32_t i = 0; i < n; i++) {
        if (i && h[i] == h[i - 1] && same(k, id[i - 1], v, i)) {
            id[i] = id[i - 1];
            continue;
        }
        id[i] = add_hashed(t, k, v, i, h[i]);
    }
    x_reset(t, m);
}

void keyer_close(struct xthread *t, struct keyer *k)
{
    if (k->pair)
        hash_pairs(t, k);
}

void keyer_find(struct xthread *t, const struct keyer *k, const struct vec *v, uint32_t n,
                uint32_t *id)
{
    if (k->nkeys == 0 || k->count == 0) {
        memset(id, k->count ? 0 : 0xff, (size_t)n * sizeof *id);
        return;
    }
    if (k->direct) {
        const uint32_t *p = v[0].p;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = p[v[0].one ? 0 : i] + 1;
            id[i] = at < k->codes ? k->of[at] - 1 : UINT32_MAX;
        }
        return;
    }
    struct scratch_mark m = x_mark(t);
    uint64_t *h = x_scratch(t, (uint64_t)n * sizeof *h + 8);
    hash_keys(k, v, n, h);
    for (uint32_t i = 0; i < n; i++) {
        id[i] = UINT32_MAX;
        for (uint64_t s = h[i] & (k->slots - 1); k->slot[s]; s = (s + 1) & (k->slots - 1)) {
            uint32_t g = k->slot[s] - 1;
            if (k->hash[g] == h[i] && same(k, g, v, i)) {
                id[i] = g;
                break;
            }
        }
    }
    x_reset(t, m);
}
