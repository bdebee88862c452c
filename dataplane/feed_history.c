/* SPDX-License-Identifier: Apache-2.0 */
#include "feed_history.h"

#include <errno.h>

bool history_open(struct history *h, uint64_t bytes, struct err *err)
{
    memset(h, 0, sizeof *h);
    if (!bytes)
        return true;
    h->size = 65536; /* a whole datagram always fits */
    while (h->size < bytes)
        h->size *= 2;
    h->slots = (uint32_t)(h->size / 128);
    h->ring = aligned_alloc(PST_CACHELINE, h->size);
    h->entry = calloc(h->slots, sizeof *h->entry);
    if (!h->ring || !h->entry) {
        history_close(h);
        return err_set(err, -ENOMEM, "no memory for %llu bytes of history; lower history_bytes",
                       (unsigned long long)bytes);
    }
    memset(h->ring, 0, h->size);
    memset(h->entry, 0, h->slots * sizeof *h->entry);
    return true;
}

void history_close(struct history *h)
{
    free(h->ring);
    free(h->entry);
    memset(h, 0, sizeof *h);
}

void history_clear(struct history *h)
{
    h->oldest = h->n;
}

void history_put(struct history *h, uint64_t seq, uint32_t seqs, int64_t rxtime,
                 const uint8_t *bytes, uint32_t n)
{
    if (!h->size || n > h->size)
        return;
    uint64_t pos = h->tail, mask = h->size - 1;
    if ((pos & mask) + n > h->size)
        pos = (pos | mask) + 1; /* an entry's bytes never wrap */
    memcpy(h->ring + (pos & mask), bytes, n);
    h->tail = pos + n;
    h->entry[h->n & (h->slots - 1)] = (struct past){seq, pos, rxtime, seqs, n};
    h->n++;
    if (h->n - h->oldest > h->slots)
        h->oldest = h->n - h->slots;
    while (h->entry[h->oldest & (h->slots - 1)].pos + h->size < h->tail)
        h->oldest++;
}

const struct past *history_find(const struct history *h, uint64_t seq, uint64_t *hint)
{
    uint64_t i = *hint;
    if (i >= h->oldest && i < h->n) {
        const struct past *p = &h->entry[i & (h->slots - 1)];
        if (seq - p->seq < p->seqs) {
            *hint = i + 1;
            return p;
        }
    }
    uint64_t lo = h->oldest, hi = h->n; /* the last entry that starts at or before seq */
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (h->entry[mid & (h->slots - 1)].seq <= seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == h->oldest)
        return NULL;
    const struct past *p = &h->entry[(lo - 1) & (h->slots - 1)];
    *hint = lo;
    return seq - p->seq < p->seqs ? p : NULL;
}
