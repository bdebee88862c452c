/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "orders_book.h"

#define FIRST   (8u << 20) /* bytes that a pool has room for at first; given when touched */
#define SYM_MAX (1u << 27)

/* ---- pools ---- */

/* A pool that grows keeps its numbers; its address changes: pages move, bytes do not. */
static bool pool_room(struct orders_pool *p, uint64_t n)
{
    if (n <= p->room)
        return true;
    uint64_t room = p->room ? p->room : FIRST / p->size;
    while (room < n)
        room *= 2;
    void *at = room <= UINT32_MAX ? orders_pages(room * p->size) : NULL;
    if (!at)
        return false;
    if (p->room && mremap(p->at, (size_t)p->room * p->size, (size_t)p->room * p->size,
                          MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
        munmap(at, room * p->size);
        return false;
    }
    p->at = at;
    p->room = (uint32_t)room;
    return true;
}
static bool pool_init(struct orders_pool *p, uint32_t size)
{
    *p = (struct orders_pool){.size = size, .used = 1};
    return pool_room(p, 1);
}
static void pool_free(struct orders_pool *p)
{
    if (p->room)
        munmap(p->at, (size_t)p->room * p->size);
    memset(p, 0, sizeof *p);
}

bool orders_books_init(struct orders_books *b)
{
    memset(b, 0, sizeof *b);
    if (!pool_init(&b->level, sizeof(struct orders_level)) ||
        !pool_init(&b->chunk, sizeof(struct orders_chunk)) ||
        !pool_init(&b->book, sizeof(struct orders_book)) ||
        !pool_init(&b->by_sym, sizeof(uint32_t))) {
        orders_books_free(b);
        return false;
    }
    orders_level(b, 0)->price = NAN;
    return true;
}

void orders_books_free(struct orders_books *b)
{
    for (uint32_t i = 1; i < b->book.used; i++) {
        free(orders_book(b, i)->side[0].dir);
        free(orders_book(b, i)->side[1].dir);
    }
    pool_free(&b->level);
    pool_free(&b->chunk);
    pool_free(&b->book);
    pool_free(&b->by_sym);
    memset(b, 0, sizeof *b);
}

static size_t pool_bytes(const struct orders_pool *p)
{
    return (size_t)p->used * p->size;
}
size_t orders_books_bytes(const struct orders_books *b)
{
    return pool_bytes(&b->level) + pool_bytes(&b->chunk) + pool_bytes(&b->book) +
           pool_bytes(&b->by_sym) + b->dir_bytes;
}

uint32_t orders_books_levels(const struct orders_books *b)
{
    uint32_t n = b->level.used - 1;
    for (uint32_t i = b->level.free; i; i = orders_level(b, i)->next)
        n--;
    return n;
}

uint32_t orders_book_make(struct orders_books *b, uint32_t sym)
{
    if (sym != UINT32_MAX && (sym >= SYM_MAX || !pool_room(&b->by_sym, (uint64_t)sym + 1)))
        return 0;
    if (!pool_room(&b->book, (uint64_t)b->book.used + 1))
        return 0;
    uint32_t i = b->book.used++;
    struct orders_book *k = orders_book(b, i);
    memset(k, 0, sizeof *k);
    k->sym = sym;
    k->told.bid = k->told.ask = NAN;
    if (sym == UINT32_MAX) {
        b->of_null = i;
        return i;
    }
    if (b->by_sym.used <= sym)
        b->by_sym.used = sym + 1; /* pages of the pool are zero until they are written */
    ((uint32_t *)b->by_sym.at)[sym] = i;
    return i;
}

/* ---- chunks ---- */

static uint32_t chunk_make(struct orders_books *b)
{
    uint32_t i = b->chunk.free;
    if (i) {
        b->chunk.free = orders_chunk(b, i)->next;
    } else {
        if (!pool_room(&b->chunk, (uint64_t)b->chunk.used + 1))
            return 0;
        i = b->chunk.used++;
    }
    struct orders_chunk *c = orders_chunk(b, i);
    c->n = c->next = 0;
    for (uint32_t k = 0; k < ORDERS_CHUNK; k++)
        c->key[k] = INFINITY;
    return i;
}
static void chunk_drop(struct orders_books *b, uint32_t i)
{
    orders_chunk(b, i)->next = b->chunk.free;
    b->chunk.free = i;
}

static void chunk_put(struct orders_chunk *c, uint32_t at, double key, uint32_t level)
{
    memmove(c->key + at + 1, c->key + at, (c->n - at) * sizeof *c->key);
    memmove(c->level + at + 1, c->level + at, (c->n - at) * sizeof *c->level);
    c->key[at] = key;
    c->level[at] = level;
    c->n++;
}
static void chunk_take(struct orders_chunk *c, uint32_t at)
{
    c->n--;
    memmove(c->key + at, c->key + at + 1, (c->n - at) * sizeof *c->key);
    memmove(c->level + at, c->level + at + 1, (c->n - at) * sizeof *c->level);
    c->key[c->n] = INFINITY;
}

/* ---- sides ---- */

/* The number in the directory of the chunk whose range holds the key. */
static uint32_t dir_find(const struct orders_side *s, double key)
{
    uint32_t lo = 0, n = s->chunks;
    while (n > 1) { /* the last one whose low is not above the key, or the first */
        uint32_t half = n / 2;
        if (s->dir[lo + half].low <= key)
            lo += half;
        n -= half;
    }
    return lo;
}

/* The chunk of a key; *at: its number in the directory (only where there are several). */
static inline uint32_t side_chunk(const struct orders_books *b, const struct orders_side *s,
                                  double key, uint32_t *at)
{
    *at = s->chunks - 1;
    if (s->chunks == 1 || orders_chunk(b, s->last)->key[0] <= key)
        return s->last;
    *at = dir_find(s, key);
    return s->dir[*at].chunk;
}

static bool dir_room(struct orders_books *b, struct orders_side *s)
{
    if (s->dir && s->chunks < s->room)
        return true;
    uint32_t room = s->room ? 2 * s->room : 4;
    struct orders_dir *d = realloc(s->dir, room * sizeof *d);
    if (!d)
        return false;
    b->dir_bytes += (room - s->room) * sizeof *d;
    s->dir = d;
    s->room = room;
    return true;
}

/* The chunk number `at` is full: its upper half becomes the next one. */
static bool side_split(struct orders_books *b, struct orders_side *s, uint32_t at, uint32_t full)
{
    if (!dir_room(b, s))
        return false;
    uint32_t made = chunk_make(b);
    if (!made)
        return false;
    struct orders_chunk *c = orders_chunk(b, full), *d = orders_chunk(b, made);
    uint32_t half = ORDERS_CHUNK / 2;
    memcpy(d->key, c->key + half, half * sizeof *d->key);
    memcpy(d->level, c->level + half, half * sizeof *d->level);
    c->n = d->n = half;
    for (uint32_t i = half; i < ORDERS_CHUNK; i++)
        c->key[i] = INFINITY;
    if (s->chunks == 1)
        s->dir[0] = (struct orders_dir){c->key[0], full, 0};
    memmove(s->dir + at + 2, s->dir + at + 1, (s->chunks - at - 1) * sizeof *s->dir);
    s->dir[at + 1] = (struct orders_dir){d->key[0], made, 0};
    if (at + 1 == s->chunks)
        s->last = made;
    s->chunks++;
    return true;
}

static uint32_t level_make(struct orders_books *b, double price, uint32_t shares, uint32_t side)
{
    uint32_t i = b->level.free;
    if (i) {
        b->level.free = orders_level(b, i)->next;
    } else {
        if (!pool_room(&b->level, (uint64_t)b->level.used + 1))
            return 0;
        i = b->level.used++;
    }
    struct orders_level *l = orders_level(b, i);
    l->price = price;
    l->shares = shares;
    l->side = side;
    return i;
}
static void level_drop(struct orders_books *b, uint32_t i)
{
    orders_level(b, i)->next = b->level.free;
    b->level.free = i;
}

uint32_t orders_book_add(struct orders_books *b, uint32_t book, uint32_t ask, double price,
                         uint32_t shares)
{
    struct orders_side *s = &orders_book(b, book)->side[ask];
    double key = ask ? -price : price;
    uint32_t at = 0;
    if (!s->chunks) {
        s->last = chunk_make(b);
        if (!s->last)
            return 0;
        s->chunks = 1;
        if (s->dir)
            s->dir[0] = (struct orders_dir){key, s->last, 0};
    }
    uint32_t chunk = side_chunk(b, s, key, &at);
    struct orders_chunk *c = orders_chunk(b, chunk);
    uint32_t i = orders_chunk_below(c, key);
    if (i < c->n && c->key[i] == key) {
        orders_level(b, c->level[i])->shares += shares;
        return c->level[i];
    }
    uint32_t level = level_make(b, price, shares, book << 1 | ask);
    if (!level)
        return 0;
    if (c->n == ORDERS_CHUNK) {
        if (!side_split(b, s, at, chunk)) {
            level_drop(b, level);
            return 0;
        }
        c = orders_chunk(b, chunk);
        if (i > ORDERS_CHUNK / 2) { /* at half itself the lower one takes it, as its last */
            i -= ORDERS_CHUNK / 2;
            at++;
            c = orders_chunk(b, s->dir[at].chunk);
        }
    }
    chunk_put(c, i, key, level);
    if (i == 0 && s->dir)
        s->dir[at].low = key;
    if (at == s->chunks - 1 && i == c->n - 1)
        s->best = level;
    return level;
}

static void side_lose(struct orders_books *b, struct orders_side *s, uint32_t at, uint32_t chunk)
{
    chunk_drop(b, chunk);
    s->chunks--;
    if (!s->chunks) {
        s->last = 0;
        return;
    }
    memmove(s->dir + at, s->dir + at + 1, (s->chunks - at) * sizeof *s->dir);
    s->last = s->dir[s->chunks - 1].chunk;
}

void orders_level_end(struct orders_books *b, uint32_t level)
{
    const struct orders_level *l = orders_level(b, level);
    struct orders_side *s = &orders_book(b, l->side >> 1)->side[l->side & 1];
    double key = l->side & 1 ? -l->price : l->price;
    uint32_t at;
    uint32_t chunk = side_chunk(b, s, key, &at);
    struct orders_chunk *c = orders_chunk(b, chunk);
    uint32_t i = orders_chunk_below(c, key);
    chunk_take(c, i);
    if (!c->n)
        side_lose(b, s, at, chunk);
    else if (i == 0 && s->dir)
        s->dir[at].low = c->key[0];
    if (s->best == level) {
        c = orders_chunk(b, s->last); /* chunk 0, of an empty side, is all zeros */
        s->best = s->chunks ? c->level[c->n - 1] : 0;
    }
    level_drop(b, level);
}
