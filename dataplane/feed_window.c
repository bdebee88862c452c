/* SPDX-License-Identifier: Apache-2.0 */
#include "feed_window.h"

#include <errno.h>

#define NONE 0xFFFFFFFFu

bool window_open(struct window *w, uint32_t packets, uint64_t bytes, struct err *err)
{
    memset(w, 0, sizeof *w);
    w->nslots = packets;
    w->nblocks = (uint32_t)((bytes + WINDOW_BLOCK - 1) / WINDOW_BLOCK);
    w->slot = calloc(w->nslots, sizeof *w->slot);
    w->block = aligned_alloc(PST_CACHELINE, (size_t)w->nblocks * WINDOW_BLOCK);
    w->link = calloc(w->nblocks, sizeof *w->link);
    if (!w->slot || !w->block || !w->link) {
        window_close(w);
        return err_set(err, -ENOMEM,
                       "no memory for a reorder window of %u packets and %llu bytes; lower "
                       "window_count or window_bytes",
                       packets, (unsigned long long)bytes);
    }
    memset(w->block, 0, (size_t)w->nblocks * WINDOW_BLOCK); /* fault it in now, not at the burst */
    for (uint32_t i = 0; i < w->nslots; i++)
        w->slot[i].block = i + 1 < w->nslots ? i + 1 : NONE;
    for (uint32_t i = 0; i < w->nblocks; i++)
        w->link[i] = i + 1 < w->nblocks ? i + 1 : NONE;
    w->blocks_free = w->nblocks;
    return true;
}

void window_close(struct window *w)
{
    free(w->slot);
    free(w->block);
    free(w->link);
    memset(w, 0, sizeof *w);
}

static bool before(const struct window *w, uint32_t a, uint32_t b)
{
    const struct held *x = &w->slot[a], *y = &w->slot[b];
    return x->seq != y->seq ? x->seq < y->seq : x->order < y->order;
}

static void sift_up(const struct window *w, struct window_heap *h, uint32_t i)
{
    while (i) {
        uint32_t up = (i - 1) / 2;
        if (!before(w, h->at[i], h->at[up]))
            return;
        uint32_t t = h->at[i];
        h->at[i] = h->at[up];
        h->at[up] = t;
        i = up;
    }
}

static void sift_down(const struct window *w, struct window_heap *h)
{
    uint32_t i = 0;
    for (;;) {
        uint32_t least = i, l = 2 * i + 1, r = l + 1;
        if (l < h->n && before(w, h->at[l], h->at[least]))
            least = l;
        if (r < h->n && before(w, h->at[r], h->at[least]))
            least = r;
        if (least == i)
            return;
        uint32_t t = h->at[i];
        h->at[i] = h->at[least];
        h->at[least] = t;
        i = least;
    }
}

bool window_put(struct window *w, struct window_heap *h, const struct held *what,
                const uint8_t *bytes)
{
    uint32_t blocks = (what->bytes + WINDOW_BLOCK - 1) / WINDOW_BLOCK;
    if (w->free_slot == NONE || w->packets == w->nslots || blocks > w->blocks_free)
        return false;
    uint32_t i = w->free_slot;
    struct held *s = &w->slot[i];
    w->free_slot = s->block;
    *s = *what;
    s->order = w->order++;
    s->block = NONE;
    uint32_t *tail = &s->block;
    for (uint32_t left = what->bytes; left;) {
        uint32_t b = w->free_block, n = left < WINDOW_BLOCK ? left : WINDOW_BLOCK;
        w->free_block = w->link[b];
        memcpy(w->block + (size_t)b * WINDOW_BLOCK, bytes, n);
        bytes += n;
        left -= n;
        *tail = b;
        tail = &w->link[b];
        *tail = NONE;
    }
    w->blocks_free -= blocks;
    w->packets++;
    w->bytes += what->bytes;
    h->at[h->n] = i;
    sift_up(w, h, h->n++);
    return true;
}

void window_take(struct window *w, struct window_heap *h, struct held *out, uint8_t *bytes)
{
    uint32_t i = h->at[0];
    h->at[0] = h->at[--h->n];
    sift_down(w, h);
    struct held *s = &w->slot[i];
    *out = *s;
    uint32_t left = s->bytes;
    for (uint32_t b = s->block; b != NONE;) {
        uint32_t n = left < WINDOW_BLOCK ? left : WINDOW_BLOCK, next = w->link[b];
        memcpy(bytes, w->block + (size_t)b * WINDOW_BLOCK, n);
        bytes += n;
        left -= n;
        w->link[b] = w->free_block;
        w->free_block = b;
        w->blocks_free++;
        b = next;
    }
    w->packets--;
    w->bytes -= out->bytes;
    s->block = w->free_slot;
    w->free_slot = i;
}
