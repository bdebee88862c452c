/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_stream.h - the books of a feed's session: orders (orders_map.h) and levels
 * (orders_book.h).
 *
 * A stream is (feed, session, day); the day is that of its first row. References and match numbers
 * mean something only within it.
 *
 *   a new day            the feed's next day begins with books of its own. A stream of the same
 *                        session is given up, without rows; others may run on over the end of their
 *                        day: they are given up when a further day begins and they had no rows
 *                        since the last one
 *   a session reset      (text "S", then "S#1", "S#2", …) the older epoch is retired: its books are
 *                        told to be empty (bbo), its orders still resolve the executions that come
 *                        late over another line; adds of a retired stream are not taken
 *   several sessions     of one feed at once, different texts: each has its books
 *   late_day             rows of a day that was closed belong to the stream they belong to; it goes
 *                        on, however long. One whose first row is such and not the session's first:
 *                        what rested before is not known, its rows say maybe_bad_book
 */
#ifndef PENSTOCK_ORDERS_STREAM_H
#define PENSTOCK_ORDERS_STREAM_H

#include "orders_book.h"
#include "orders_map.h"

#define ORDERS_STREAMS 64u
#define ORDERS_TEXT    64u /* of a session, without its epoch */

struct orders_counts {
    uint64_t rows;    /* of the two tables */
    uint64_t unknown; /* messages about an order that is not known */
    uint64_t odd;     /* doubled references, more shares than there are, no price, no side */
    uint64_t late;    /* adds that came after their gap had been declared: not taken */
};

struct orders_stream {
    uint32_t feed, session; /* symbols */
    int32_t day;
    uint32_t epoch;
    uint8_t base_len, retired, late_day; /* late_day: its first row was one */
    uint8_t idle;                        /* a day began since its last row */
    uint32_t bad_book;                   /* bit of the column flags of all its rows, or 0 */
    char base[ORDERS_TEXT];
    struct orders_map map;
    struct orders_books books;
    struct orders_counts counts;
};

/* orders: room at first. NULL: no memory. */
struct orders_stream *orders_stream_make(uint32_t feed, uint32_t session, int32_t day,
                                         const char *text, uint32_t len, uint64_t orders);
void orders_stream_free(struct orders_stream *s);
size_t orders_stream_bytes(const struct orders_stream *s);
/* Is `newer` a later epoch of the same session? */
bool orders_stream_older(const struct orders_stream *s, const struct orders_stream *newer);

/* What an order was, at the moment that a message about it came. */
struct orders_hit {
    double price;
    uint32_t book, ask;
    bool best; /* its level is the best of its side (was, or is now) */
};

/* A resting order that was not there. False: no memory, or a symbol that cannot be. */
static inline bool orders_add(struct orders_stream *s, int64_t ref, uint32_t book, uint32_t ask,
                              double price, uint32_t shares, struct orders_hit *hit)
{
    uint32_t level = orders_book_add(&s->books, book, ask, price, shares);
    if (!level || !orders_map_insert(&s->map, ref, shares, level))
        return false;
    *hit = (struct orders_hit){price, book, ask,
                               orders_book(&s->books, book)->side[ask].best == level};
    return true;
}

static inline struct orders_hit orders_look(const struct orders_stream *s,
                                            const struct orders_slot *slot)
{
    const struct orders_level *l = orders_level(&s->books, slot->level);
    return (struct orders_hit){l->price, l->side >> 1, l->side & 1, false};
}

/* Takes shares from a resting order, at most what it has; at 0 it is gone, and the slot with it.
 * True: its level was the best. */
static inline bool orders_take(struct orders_stream *s, struct orders_slot *slot, uint32_t shares)
{
    uint32_t level = slot->level;
    slot->shares -= shares;
    if (!slot->shares)
        orders_map_remove(&s->map, slot);
    return orders_book_take(&s->books, level, shares);
}

#endif
