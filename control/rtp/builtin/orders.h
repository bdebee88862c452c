/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders.h - the shipped processor `orders`: ITCH order events in, the tables trade and bbo
 * (orders_tables.h) out. A plugin like any other, written against penstock/analytic.h alone.
 *
 * INPUT   itch_order and itch_trade of all feeds (Nasdaq, BX, PSX and whatever else is decoded as
 *         ITCH 5.0). Other feeds make no rows here: IEX TOPS has quotes and trades of its own
 *         (iex_quote, iex_trade).
 * TRADE   E at the order's price, C at its own with its printable, P, Q, B as a row of type break.
 *         E of an order that is not known (its add was lost, or came before capture began): a row
 *         with null price and side; size and match still count.
 * BBO     of each (feed, sym), a row when bid, bsize, ask or asize has changed after a message. A
 *         replace is one message. A break changes no book.
 * LOSS    rows after a loss carry maybe_bad_book, and so do the rows made from them, and those made
 *         after a range of the journal itself was lost. A message about an order that is not known
 *         changes nothing. Adds (and replacements) that come late are not taken into the book: most
 *         of those orders have ended in between and would stay for ever.
 * ORDER   trade first, then bbo. The same rows again give the same rows again, however they are cut
 *         into frames: nothing here depends on time, addresses or frames.
 * STREAMS sessions, resets and days: orders_stream.h.
 *
 * Function orders(): a row for each stream: what it holds, memory, what it could not use.
 * Option `orders`: how many resting orders a stream has room for at first (65,536); it grows.
 */
#ifndef PENSTOCK_ORDERS_H
#define PENSTOCK_ORDERS_H

#include <penstock/analytic.h>

extern const struct pst_rtp_plugin orders_plugin;
int orders_register(struct pst_rtp_registry *); /* 0 */

#endif
