/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_tables.h - the derived tables of the shipped processor `orders`: the daemon declares them
 * (a group with `processors: [orders]`), the process fills them. Constants; any thread.
 *
 * trade   one row for each execution, non-displayed trade, cross and break of an ITCH feed
 *   time       the venue's, of the message             sym        the order's symbol
 *   feed, session, seq   the message that it was made from
 *   type       exec (E, C: an order of the book), hidden (P), cross (Q), break (B)
 *   price      E: the order's; C, P, Q: the message's own. Null: break, or an order that is not
 *              known
 *   size       shares; null: break
 *   side       of the resting order, B or S (P: as the venue says it); blank: cross, break, unknown
 *   match      the venue's number of the match, unique in a session; of a break: of what is broken
 *   printable  false: not to be counted (C with N: a cross counts it), and breaks
 *   cross      of crosses: O opening, C closing, H halt or IPO, I intraday; else blank
 *   ref        reference of the order; null: cross, break
 *   flags      of the message (core/record.h): 64, maybe_bad_book, once something was lost
 *
 * bbo     one row whenever one of the four numbers of a book changed, a book being (feed, sym)
 *   time, sym, feed, seq   of the message that changed it
 *   bid, ask          best prices; null: that side is empty
 *   bsize, asize      shares at them; 0: that side is empty
 *   flags             as above
 *
 * trade_valid, a built-in view: the rows of trade that count, see orders_trade_valid.
 */
#ifndef PENSTOCK_ORDERS_TABLES_H
#define PENSTOCK_ORDERS_TABLES_H

#include <penstock/analytic.h>

enum orders_table { ORDERS_TRADE, ORDERS_BBO, ORDERS_TABLES };

/* Columns in the order of these enums. */
#define ORDERS_TRADE_COLUMNS(X)                                                                    \
    X(time, TIMESTAMP)                                                                             \
    X(sym, SYMBOL)                                                                                 \
    X(feed, SYMBOL)                                                                                \
    X(session, SYMBOL)                                                                             \
    X(seq, LONG)                                                                                   \
    X(type, SYMBOL)                                                                                \
    X(price, FLOAT)                                                                                \
    X(size, LONG)                                                                                  \
    X(side, CHAR) X(match, LONG) X(printable, BOOLEAN) X(cross, CHAR) X(ref, LONG) X(flags, INT)
#define ORDERS_BBO_COLUMNS(X)                                                                      \
    X(time, TIMESTAMP)                                                                             \
    X(sym, SYMBOL)                                                                                 \
    X(feed, SYMBOL)                                                                                \
    X(seq, LONG) X(bid, FLOAT) X(bsize, LONG) X(ask, FLOAT) X(asize, LONG) X(flags, INT)

extern const struct pst_derived orders_derived[ORDERS_TABLES];

/* The view's name and text: prints that count and have not been broken, on that day, in that
 * session. */
extern const char orders_trade_valid[], orders_trade_valid_sql[];

#endif
