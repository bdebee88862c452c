/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_window.h - packets that arrived ahead of a gap, kept until it closes.
 *
 * One pool of slots and 256-byte blocks serves all sessions of a feed, so that the configured
 * limits (packets, bytes) hold for the feed whatever the sender does. Each session orders its
 * packets by (sequence, arrival) in a binary heap: O(log n) however hostile the order.
 *
 * Owner: the feed's lcore. All memory comes from window_open; nothing is allocated later.
 */
#pragma once

#include "core/base.h"

#define WINDOW_BLOCK 256u

struct held {
    uint64_t seq;
    uint64_t order; /* of arrival */
    int64_t rxtime;
    uint32_t seqs;  /* sequence numbers covered */
    uint32_t count; /* messages */
    uint32_t bytes;
    uint32_t block; /* first block, or the next free slot */
    uint8_t line, quality;
    bool recovered;
};

struct window {
    struct held *slot;
    uint8_t *block;
    uint32_t *link;
    uint32_t nslots, nblocks;
    uint32_t free_slot, free_block, blocks_free;
    uint32_t packets; /* held now */
    uint64_t bytes;
    uint64_t order;
};

struct window_heap {
    uint32_t *at; /* slots; nslots entries */
    uint32_t n;
};

bool window_open(struct window *w, uint32_t packets, uint64_t bytes, struct err *err);
void window_close(struct window *w);
/* Copies. False: a limit is hit; nothing changed. */
bool window_put(struct window *w, struct window_heap *h, const struct held *what,
                const uint8_t *bytes);
/* The packet with the lowest sequence; h->n > 0. */
pst_inline const struct held *window_min(const struct window *w, const struct window_heap *h)
{
    return &w->slot[h->at[0]];
}
/* Removes it; its bytes go to `bytes` (65,535 are enough). */
void window_take(struct window *w, struct window_heap *h, struct held *out, uint8_t *bytes);
