/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crc.h"
#include "rdb_internal.h"

#define PAGE_BYTES (RDB_LISTS * sizeof(struct rdb_list))
#define NODE_BYTES (RDB_NODE * sizeof(uint64_t))

#define AHEAD_TAIL                                                                                 \
    12u /* rows: fetched so far ahead of its use, the line of a list's next entry                  \
         */

static uint64_t take_zeroed(struct rdb *r, struct part *p, uint64_t bytes)
{
    uint64_t at = memory_take(r, p->day, bytes);
    if (at)
        memset(rdb_at(r, at), 0, bytes);
    return at;
}

/* The page of lists that holds `id`, made when it is not there; NULL: no room. */
static struct rdb_list *make_page(struct rdb *r, struct part *p, _Atomic uint64_t *root,
                                  uint32_t id)
{
    uint64_t at = load_relaxed(root);
    if (!at) {
        if (!(at = take_zeroed(r, p, NODE_BYTES)))
            return NULL;
        store_release(root, at); /* O1 */
    }
    for (int shift = 18; shift >= 8; shift -= 10) {
        _Atomic uint64_t *entry = (_Atomic uint64_t *)rdb_at(r, at) + (id >> shift) % RDB_NODE;
        at = load_relaxed(entry);
        if (!at) {
            if (!(at = take_zeroed(r, p, shift == 18 ? NODE_BYTES : PAGE_BYTES)))
                return NULL;
            store_release(entry, at); /* O1 */
        }
    }
    return rdb_at(r, at);
}

static pst_noinline bool grow(struct rdb *r, struct part *p, struct rdb_list *l)
{
    uint32_t n = load_relaxed(&l->count);
    uint64_t last = load_relaxed(&l->last);
    struct rdb_block *old = last ? rdb_at(r, last) : NULL;
    uint32_t room = old ? 2 * old->room : RDB_BLOCK_FIRST;
    if (room > RDB_BLOCK_MAX)
        room = RDB_BLOCK_MAX;
    uint64_t at = memory_take(r, p->day, sizeof(struct rdb_block) + room * sizeof(uint32_t));
    if (!at)
        return false;
    struct rdb_block *b = rdb_at(r, at);
    store_relaxed(&b->next, 0);
    b->prev = last;
    b->room = room;
    b->before = n;
    b->zero = 0;
    if (old)
        store_release(&old->next, at); /* O1 */
    else
        store_release(&l->first, at); /* O1 */
    store_release(&l->last, at);      /* O1 */
    l->tail = at + sizeof(struct rdb_block);
    l->full = n + room;
    return true;
}

pst_inline bool add(struct rdb *r, struct part *p, struct rdb_list *l, uint32_t row)
{
    uint32_t n = load_relaxed(&l->count);
    if (pst_unlikely(n == l->full) && !grow(r, p, l))
        return false;
    store_relaxed((_Atomic uint32_t *)rdb_at(r, l->tail), row);
    l->tail += sizeof(uint32_t);
    store_release(&l->count, n + 1); /* N1 */
    return true;
}

pst_inline struct rdb_list *list_of(struct part *p, uint32_t sym)
{
    return sym == PST_NULL_SYMBOL ? &p->shared->null_syms : p->page[sym >> 8] + (sym & 255);
}

/* Rows first .. first + n - 1 have these symbols (each null or below symbols_max); n <= RDB_BUCKET.
 */
bool lists_add(struct rdb *r, struct part *p, const uint32_t *sym, uint32_t first, uint32_t n)
{
    uint32_t high = load_relaxed(&p->shared->syms_high);
    struct rdb_list *list[RDB_BUCKET];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t s = sym[i];
        if (pst_unlikely(s >= high) && s != PST_NULL_SYMBOL) {
            high = s + 1;
            store_relaxed(&p->shared->syms_high, high);
        }
        if (s != PST_NULL_SYMBOL && pst_unlikely(!p->page[s >> 8]) &&
            !(p->page[s >> 8] = make_page(r, p, &p->shared->syms, s)))
            return false;
        list[i] = list_of(p, s);
        __builtin_prefetch(list[i], 1);
    }
    for (uint32_t i = 0; i < n && i < AHEAD_TAIL; i++)
        __builtin_prefetch(rdb_at(r, list[i]->tail), 1);
    uint32_t i = 0;
    for (; i + AHEAD_TAIL < n; i++) {
        __builtin_prefetch(rdb_at(r, list[i + AHEAD_TAIL]->tail), 1);
        if (!add(r, p, list[i], first + i))
            return false;
    }
    for (; i < n; i++)
        if (!add(r, p, list[i], first + i))
            return false;
    return true;
}

/* ---- keyed tables: a hash of key values to key numbers, private to this thread ---- */

struct keys {
    uint32_t *slot; /* key number + 1 */
    uint32_t slots; /* a power of two */
    uint32_t *hash; /* by key number */
    uint32_t *row;  /* by key number: its first row */
    uint32_t count, room;
    struct rdb_list **page; /* by key number >> 8 */
    uint32_t pages;
};

bool keys_open(struct part *p)
{
    struct keys *k = p->keys = calloc(1, sizeof *k);
    if (!k)
        return false;
    k->slots = 1024;
    k->slot = calloc(k->slots, sizeof *k->slot);
    return k->slot != NULL;
}

void keys_close(struct part *p)
{
    struct keys *k = p->keys;
    if (!k)
        return;
    free(k->slot);
    free(k->hash);
    free(k->row);
    free(k->page);
    free(k);
    p->keys = NULL;
}

/* A value's bytes as keys compare: one NaN, one zero. Returns the length; *at may move. */
static uint32_t key_bytes(const struct rdb *r, uint8_t type, const uint8_t **at, uint8_t word[16])
{
    unsigned w = type_width(type);
    if (type == PST_STRING) {
        uint64_t v = le64(*at);
        *at = rdb_at(r, v >> 16);
        return v & 0xFFFF;
    }
    memcpy(word, *at, w);
    if (type == PST_FLOAT) {
        uint64_t v = le64(word) & INT64_MAX;
        if (v == 0 || v > 0x7FF0000000000000ull)
            put64(word, v ? PST_NULL_FLOAT_BITS : 0);
    } else if (type == PST_REAL) {
        uint32_t v = le32(word) & INT32_MAX;
        if (v == 0 || v > 0x7F800000u)
            put32(word, v ? PST_NULL_REAL_BITS : 0);
    }
    *at = word;
    return w;
}

static const uint8_t *value_at(const struct rdb *r, const struct part *p, uint32_t row, unsigned c)
{
    uint32_t chunk = rdb_chunk_of(row);
    const uint64_t *page = rdb_at(r, load_relaxed(&p->shared->chunk_page[chunk >> 8]));
    const struct rdb_chunk *k = rdb_at(r, page[chunk & 255]);
    return (const uint8_t *)rdb_at(r, k->col[c]) +
           (uint64_t)(row - rdb_chunk_first(chunk)) * type_width(p->schema->col[c].type);
}

static uint32_t key_hash(const struct rdb *r, const struct part *p, uint32_t row)
{
    uint32_t h = 0x9E3779B9u;
    uint8_t word[16];
    for (unsigned i = 0; i < p->schema->nkeys; i++) {
        unsigned c = p->schema->keys[i];
        const uint8_t *at = value_at(r, p, row, c);
        uint32_t len = key_bytes(r, p->schema->col[c].type, &at, word);
        h = crc32c(h ^ len, at, len);
    }
    return h * 2654435761u;
}

static bool key_same(const struct rdb *r, const struct part *p, uint32_t a, uint32_t b)
{
    uint8_t wa[16], wb[16];
    for (unsigned i = 0; i < p->schema->nkeys; i++) {
        unsigned c = p->schema->keys[i];
        const uint8_t *x = value_at(r, p, a, c), *y = value_at(r, p, b, c);
        uint32_t m = key_bytes(r, p->schema->col[c].type, &x, wa);
        uint32_t n = key_bytes(r, p->schema->col[c].type, &y, wb);
        if (m != n || memcmp(x, y, m))
            return false;
    }
    return true;
}

static bool more_keys(struct keys *k)
{
    uint32_t room = k->room ? 2 * k->room : 512;
    if (room > RDB_LIST_IDS)
        return false;
    void *h = realloc(k->hash, room * sizeof *k->hash);
    if (h)
        k->hash = h;
    void *w = realloc(k->row, room * sizeof *k->row);
    if (w)
        k->row = w;
    void *g = realloc(k->page, (room >> 8) * sizeof *k->page);
    if (g)
        k->page = g;
    uint32_t *s = calloc(2 * (size_t)room, sizeof *s);
    if (!h || !w || !g || !s) {
        free(s);
        return false;
    }
    free(k->slot);
    k->slot = s;
    k->slots = 2 * room;
    for (uint32_t i = 0; i < k->count; i++) {
        uint32_t at = k->hash[i] & (k->slots - 1);
        while (s[at])
            at = (at + 1) & (k->slots - 1);
        s[at] = i + 1;
    }
    k->room = room;
    return true;
}

static bool key_add(struct rdb *r, struct part *p, uint32_t row)
{
    struct keys *k = p->keys;
    if (k->count == k->room && !more_keys(k))
        return false;
    uint32_t h = key_hash(r, p, row), at = h & (k->slots - 1), n;
    for (; (n = k->slot[at]) != 0; at = (at + 1) & (k->slots - 1))
        if (k->hash[n - 1] == h && key_same(r, p, k->row[n - 1], row))
            return add(r, p, k->page[(n - 1) >> 8] + ((n - 1) & 255), row);
    n = k->count;
    if ((n & 255) == 0 && !(k->page[n >> 8] = make_page(r, p, &p->shared->keys, n)))
        return false;
    if (!add(r, p, k->page[n >> 8] + (n & 255), row))
        return false;
    k->slot[at] = n + 1;
    k->hash[n] = h;
    k->row[n] = row;
    k->count = n + 1;
    store_relaxed(&p->shared->nkeys, n + 1);
    return true;
}

bool keys_add(struct rdb *r, struct part *p, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!key_add(r, p, first + i))
            return false;
    return true;
}
