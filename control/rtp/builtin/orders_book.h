/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_book.h - price levels of all symbols of one stream, and their best bids and offers.
 *
 *   level   price and shares of all orders at it; an order knows its level, a level its book and
 *           side, so that an execution or a delete touches nothing else unless the level ends
 *   side    its levels' keys in ascending order, the best one last: chunks of up to 20, with a
 *           directory of chunks where there are several. The best chunk, which takes nearly all of
 *           the traffic, is found without it
 *   book    two sides and what was last told of them
 *
 * Worst case of an add or an end of a level: one directory of n / 10 entries moves up, so 100,000
 * levels on one side cost some microseconds. Memory: 32 bytes a level, 13 to 26 for its place, 128
 * a book. Prices are compared as doubles, exactly. Pools grow by moving page tables, not bytes.
 *
 * One thread. Pointers into pools are valid until the next add.
 */
#ifndef PENSTOCK_ORDERS_BOOK_H
#define PENSTOCK_ORDERS_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "orders_map.h"

#define ORDERS_CHUNK 20u

struct orders_level {
    double price;
    int64_t shares;
    uint32_t side; /* book << 1 | 1 for an ask */
    uint32_t next; /* free list */
    uint64_t reserved;
};

struct orders_chunk { /* key: price of a bid, minus the price of an ask; unused ones: infinity */
    uint32_t n, next; /* next: free list */
    double key[ORDERS_CHUNK];
    uint32_t level[ORDERS_CHUNK];
    uint64_t reserved;
};

struct orders_dir {
    double low; /* key[0] of the chunk */
    uint32_t chunk, reserved;
};

struct orders_side {
    uint32_t best; /* level; 0: empty */
    uint32_t last; /* chunk that holds it */
    uint32_t chunks, room;
    struct orders_dir *dir; /* all chunks, ascending; NULL: there never was a second one */
};

struct orders_top {
    double bid, ask; /* NaN: empty */
    int64_t bsize, asize;
};

struct orders_book {
    struct orders_side side[2];
    uint32_t sym, reserved;
    uint64_t reserved1;
    struct orders_top told; /* by the last row of bbo */
    uint64_t reserved2[4];
};
_Static_assert(sizeof(struct orders_book) == 128 && sizeof(struct orders_chunk) == 256, "lines");

struct orders_pool { /* equal things, by number from 1 */
    uint8_t *at;
    uint32_t size, used, room, free;
};
struct orders_books {
    struct orders_pool level, chunk, book;
    struct orders_pool by_sym; /* uint32_t: the book of a symbol id */
    uint32_t of_null;          /* the book of rows without symbol */
    size_t dir_bytes;
};

bool orders_books_init(struct orders_books *b);
void orders_books_free(struct orders_books *b);
size_t orders_books_bytes(const struct orders_books *b);
uint32_t orders_books_levels(const struct orders_books *b);

static inline struct orders_level *orders_level(const struct orders_books *b, uint32_t i)
{
    return (struct orders_level *)b->level.at + i;
}
static inline struct orders_chunk *orders_chunk(const struct orders_books *b, uint32_t i)
{
    return (struct orders_chunk *)b->chunk.at + i;
}
static inline struct orders_book *orders_book(const struct orders_books *b, uint32_t i)
{
    return (struct orders_book *)b->book.at + i;
}

/* The book of a symbol; 0: it has none yet. */
static inline uint32_t orders_book_find(const struct orders_books *b, uint32_t sym)
{
    if (sym < b->by_sym.used)
        return ((const uint32_t *)b->by_sym.at)[sym];
    return sym == UINT32_MAX ? b->of_null : 0;
}
uint32_t orders_book_make(struct orders_books *b, uint32_t sym); /* 0: no memory */

/* More shares at a price of a book's side: the level, 0 when there is no memory. */
uint32_t orders_book_add(struct orders_books *b, uint32_t book, uint32_t ask, double price,
                         uint32_t shares);
/* A level without shares goes. */
void orders_level_end(struct orders_books *b, uint32_t level);

/* Fewer shares at a level. True: it was the best of its side. */
static inline bool orders_book_take(struct orders_books *b, uint32_t level, uint32_t shares)
{
    struct orders_level *l = orders_level(b, level);
    bool best = orders_book(b, l->side >> 1)->side[l->side & 1].best == level;
    l->shares -= shares;
    if (l->shares == 0)
        orders_level_end(b, level);
    return best;
}

static inline void orders_book_top(const struct orders_books *b, const struct orders_book *k,
                                   struct orders_top *t)
{
    const struct orders_level *bid = orders_level(b, k->side[0].best);
    const struct orders_level *ask = orders_level(b, k->side[1].best); /* level 0: NaN and 0 */
    t->bid = bid->price;
    t->bsize = bid->shares;
    t->ask = ask->price;
    t->asize = ask->shares;
}

/* Best levels have changed: have the four numbers? Then they are told. Sizes of empty sides are 0,
 * those of others are not, so that prices of empty sides need no look. */
static inline bool orders_book_changed(const struct orders_books *b, struct orders_book *k)
{
    struct orders_top t;
    orders_book_top(b, k, &t);
    bool same = t.bsize == k->told.bsize && t.asize == k->told.asize &&
                (t.bsize == 0 || t.bid == k->told.bid) && (t.asize == 0 || t.ask == k->told.ask);
    if (!same)
        k->told = t;
    return !same;
}

/* How many keys are below: where it is, or would be. All are looked at: that needs no branch. */
static inline uint32_t orders_chunk_below(const struct orders_chunk *c, double key)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ORDERS_CHUNK; i++)
        n += c->key[i] < key;
    return n;
}

/* Ahead of an add: what it will look at, once the book itself is near. */
ORDERS_AHEAD void orders_side_prefetch(const struct orders_books *b, uint32_t book, uint32_t ask)
{
    const struct orders_side *s = &orders_book(b, book)->side[ask];
    const uint8_t *c = (const uint8_t *)orders_chunk(b, s->last);
    __builtin_prefetch(c, 1);
    __builtin_prefetch(c + 64, 1);
    __builtin_prefetch(c + 128, 1);
    __builtin_prefetch(c + 192, 1);
    __builtin_prefetch(orders_level(b, s->best), 1);
}
/* Once that is near: the level of a price, if it is one of the best chunk. */
ORDERS_AHEAD void orders_price_prefetch(const struct orders_books *b, uint32_t book, uint32_t ask,
                                        double price)
{
    const struct orders_chunk *c = orders_chunk(b, orders_book(b, book)->side[ask].last);
    double key = ask ? -price : price;
    uint32_t i = orders_chunk_below(c, key);
    if (i < c->n && c->key[i] == key)
        __builtin_prefetch(orders_level(b, c->level[i]), 1);
}

#endif
