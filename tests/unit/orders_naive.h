/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_naive.h - what trade and bbo must hold, the slow way: from the bytes of the messages, no
 * decoder; a list of orders for each locate, searched from the end; after each message the best
 * prices are looked for anew among all orders of the locate. One session.
 */
#pragma once

#include <math.h>
#include <stdlib.h>
#include "core/base.h"

struct naive_order {
    uint64_t ref;
    uint32_t shares, price;
    char side;
};
struct naive_row {
    bool bbo;
    char type;     /* of trade: x h c b */
    char stock[9]; /* without blanks */
    uint64_t ns, seq, match, ref, size;
    double price; /* NaN: null */
    char side, printable, cross;
    double bid, ask;
    uint64_t bsize, asize;
};
struct naive {
    struct naive_order *order[65536];
    uint32_t n[65536], room[65536];
    char stock[65536][9];
    uint32_t bid[65536], ask[65536]; /* told */
    uint64_t bsize[65536], asize[65536];
    struct naive_row *row;
    size_t rows, row_room;
};

static inline uint64_t naive_be(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | *p++;
    return v;
}

static inline struct naive_row *naive_put(struct naive *x)
{
    if (x->rows == x->row_room) {
        x->row_room = x->row_room ? 2 * x->row_room : 4096;
        x->row = realloc(x->row, x->row_room * sizeof *x->row);
        pst_must(x->row);
    }
    struct naive_row *r = &x->row[x->rows++];
    memset(r, 0, sizeof *r);
    return r;
}

static inline void naive_stock(struct naive *x, uint32_t locate, const uint8_t *text)
{
    uint32_t n = 8;
    while (n && text[n - 1] == ' ')
        n--;
    memset(x->stock[locate], 0, 9);
    memcpy(x->stock[locate], text, n);
}

static inline void naive_add(struct naive *x, uint32_t locate, uint64_t ref, char side,
                             uint32_t shares, uint32_t price)
{
    if (x->n[locate] == x->room[locate]) {
        x->room[locate] = x->room[locate] ? 2 * x->room[locate] : 16;
        x->order[locate] = realloc(x->order[locate], x->room[locate] * sizeof(struct naive_order));
        pst_must(x->order[locate]);
    }
    x->order[locate][x->n[locate]++] = (struct naive_order){ref, shares, price, side};
}
static inline int naive_find(const struct naive *x, uint32_t locate, uint64_t ref)
{
    for (int i = (int)x->n[locate] - 1; i >= 0; i--)
        if (x->order[locate][i].ref == ref)
            return i;
    return -1;
}
static inline void naive_remove(struct naive *x, uint32_t locate, int i)
{
    x->order[locate][i] = x->order[locate][--x->n[locate]];
}

static inline void naive_bbo(struct naive *x, uint32_t locate, uint64_t ns, uint64_t seq)
{
    uint32_t bid = 0, ask = 0;
    uint64_t bsize = 0, asize = 0;
    for (uint32_t i = 0; i < x->n[locate]; i++) {
        const struct naive_order *o = &x->order[locate][i];
        if (o->side == 'B' && (!bsize || o->price > bid)) {
            bid = o->price;
            bsize = 0;
        }
        if (o->side == 'S' && (!asize || o->price < ask)) {
            ask = o->price;
            asize = 0;
        }
        if (o->side == 'B' && o->price == bid)
            bsize += o->shares;
        if (o->side == 'S' && o->price == ask)
            asize += o->shares;
    }
    if (bid == x->bid[locate] && ask == x->ask[locate] && bsize == x->bsize[locate] &&
        asize == x->asize[locate])
        return;
    x->bid[locate] = bid;
    x->ask[locate] = ask;
    x->bsize[locate] = bsize;
    x->asize[locate] = asize;
    struct naive_row *r = naive_put(x);
    r->bbo = true;
    memcpy(r->stock, x->stock[locate], 9);
    r->ns = ns;
    r->seq = seq;
    r->bid = bsize ? bid / 1e4 : NAN;
    r->ask = asize ? ask / 1e4 : NAN;
    r->bsize = bsize;
    r->asize = asize;
}

static inline void naive_message(struct naive *x, uint64_t seq, const uint8_t *m)
{
    uint32_t locate = (uint32_t)naive_be(m + 1, 2), shares = 0;
    uint64_t ns = naive_be(m + 5, 6), ref = naive_be(m + 11, 8);
    struct naive_row *r;
    struct naive_order *o;
    int i;
    if (memchr("RHYKJhNO", m[0], 8)) {
        naive_stock(x, locate, m + 11);
        return;
    }
    switch (m[0]) {
    case 'L':
        naive_stock(x, locate, m + 15);
        return;
    case 'I':
        naive_stock(x, locate, m + 28);
        return;
    case 'A':
    case 'F':
        naive_stock(x, locate, m + 24);
        naive_add(x, locate, ref, (char)m[19], (uint32_t)naive_be(m + 20, 4),
                  (uint32_t)naive_be(m + 32, 4));
        break;
    case 'E':
    case 'C':
    case 'X':
    case 'D':
    case 'U':
        i = naive_find(x, locate, ref);
        o = i < 0 ? NULL : &x->order[locate][i];
        shares = m[0] == 'D' || m[0] == 'U' ? UINT32_MAX : (uint32_t)naive_be(m + 19, 4);
        if (m[0] == 'E' || m[0] == 'C') {
            r = naive_put(x);
            r->type = 'x';
            memcpy(r->stock, x->stock[locate], 9);
            r->ns = ns;
            r->seq = seq;
            r->match = naive_be(m + 23, 8);
            r->ref = ref;
            r->size = shares;
            r->price = m[0] == 'C' ? (double)naive_be(m + 32, 4) / 1e4 : o ? o->price / 1e4 : NAN;
            r->side = o ? o->side : ' ';
            r->printable = m[0] == 'E' || m[31] != 'N';
            r->cross = ' ';
        }
        if (!o)
            break;
        if (m[0] == 'U') {
            char side = o->side;
            naive_remove(x, locate, i);
            naive_add(x, locate, naive_be(m + 19, 8), side, (uint32_t)naive_be(m + 27, 4),
                      (uint32_t)naive_be(m + 31, 4));
        } else if (shares >= o->shares) {
            naive_remove(x, locate, i);
        } else {
            o->shares -= shares;
        }
        break;
    case 'P':
    case 'Q':
    case 'B':
        if (m[0] != 'B')
            naive_stock(x, locate, m[0] == 'P' ? m + 24 : m + 19);
        r = naive_put(x);
        memcpy(r->stock, x->stock[locate], 9);
        r->type = m[0] == 'P' ? 'h' : m[0] == 'Q' ? 'c' : 'b';
        r->ns = ns;
        r->seq = seq;
        r->side = m[0] == 'P' ? (char)m[19] : ' ';
        r->cross = m[0] == 'Q' ? (char)m[39] : ' ';
        r->printable = m[0] != 'B';
        r->match = naive_be(m[0] == 'P' ? m + 36 : m[0] == 'Q' ? m + 31 : m + 11, 8);
        r->ref = m[0] == 'P' ? ref : (uint64_t)INT64_MIN;
        r->size = m[0] == 'P'   ? naive_be(m + 20, 4)
                  : m[0] == 'Q' ? naive_be(m + 11, 8)
                                : (uint64_t)INT64_MIN;
        r->price = m[0] == 'P'   ? (double)naive_be(m + 32, 4) / 1e4
                   : m[0] == 'Q' ? (double)naive_be(m + 27, 4) / 1e4
                                 : NAN;
        return;
    default:
        return;
    }
    naive_bbo(x, locate, ns, seq);
}

static inline void naive_free(struct naive *x)
{
    for (uint32_t i = 0; i < 65536; i++)
        free(x->order[i]);
    free(x->row);
    free(x);
}
