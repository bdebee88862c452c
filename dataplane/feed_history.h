/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_history.h - the bytes and the receive time of what a session accepted last, so that a copy
 * from another line is recognised by one memcmp, told apart when it differs, and timed.
 *
 * Entries are packets (or their accepted parts) in strictly increasing sequence. The oldest are
 * overwritten. Owner: the feed's lcore; memory from history_open.
 */
#pragma once

#include "core/base.h"

struct past {
    uint64_t seq;
    uint64_t pos; /* of its bytes, counting up for ever */
    int64_t rxtime;
    uint32_t seqs;
    uint32_t bytes;
};

struct history {
    struct past *entry;
    uint8_t *ring;
    uint64_t size;  /* of ring, a power of two; 0 = no history is kept */
    uint32_t slots; /* a power of two */
    uint64_t n;     /* entries ever put; entry i is at i & (slots - 1) */
    uint64_t oldest;
    uint64_t tail; /* pos of the next byte */
};

/* bytes: rounded up to a power of two; 0 keeps nothing. */
bool history_open(struct history *h, uint64_t bytes, struct err *err);
void history_close(struct history *h);
void history_clear(struct history *h);
void history_put(struct history *h, uint64_t seq, uint32_t seqs, int64_t rxtime,
                 const uint8_t *bytes, uint32_t n);
/* The entry that covers seq, NULL when it is forgotten or never was. *hint: any value at first;
 * kept by the caller per line, it makes the usual lookup O(1). */
const struct past *history_find(const struct history *h, uint64_t seq, uint64_t *hint);

pst_inline const uint8_t *history_bytes(const struct history *h, const struct past *p)
{
    return h->ring + (p->pos & (h->size - 1));
}
