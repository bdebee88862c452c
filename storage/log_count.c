/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's figures of the log. A frame is counted when it is copied; its sums wait in a FIFO
 * until the durable position passes it. Sums of one session within one step of the journal share an
 * entry unless a write ends between them (there the durable position may stop), so the FIFO stays
 * small whatever the message rate.
 */
#include "core/record.h"
#include "core/tables.h"
#include "log_internal.h"

static int index_of(struct log *l, uint32_t feed, uint32_t session)
{
    struct log_counts *c = &l->counts;
    uint32_t n = load_relaxed(&c->n);
    if (l->last_index < n && c->entry[l->last_index].feed == feed &&
        c->entry[l->last_index].session == session)
        return (int)l->last_index;
    uint32_t mask = LOG_COUNTS * 2 - 1;
    uint32_t at = (feed * 0x9E3779B1u ^ session * 0x85EBCA77u) >> 7 & mask;
    for (; l->slot[at]; at = (at + 1) & mask) {
        const struct log_count *e = &c->entry[l->slot[at] - 1];
        if (e->feed == feed && e->session == session)
            return (int)(l->last_index = l->slot[at] - 1u);
    }
    if (n == LOG_COUNTS)
        return -1;
    c->entry[n].feed = feed;
    c->entry[n].session = session;
    l->slot[at] = (uint16_t)(n + 1);
    store_release(&c->n, n + 1); /* L1: pairs with the readers' acquire of n */
    return (int)(l->last_index = n);
}

static struct log_delta *delta_of(struct log *l, uint32_t index, uint64_t position, uint64_t end)
{
    uint64_t step = ring_size(l->ring) / 4096;
    if (l->last_delta[index] > l->delta_head) {
        struct log_delta *d = &l->delta[(l->last_delta[index] - 1) % LOG_DELTAS];
        bool full = l->delta_tail - l->delta_head >= LOG_DELTAS - LOG_COUNTS;
        bool crosses = d->end <= l->cut && end > l->cut;
        if (full || (d->end / step == position / step && !crosses)) {
            d->end = end > d->end ? end : d->end;
            return d;
        }
    }
    struct log_delta *d = &l->delta[l->delta_tail % LOG_DELTAS];
    *d = (struct log_delta){.end = end, .index = index};
    l->last_delta[index] = ++l->delta_tail;
    return d;
}

static void count_gap(struct log *l, const struct frame *f)
{
    struct record_walk w;
    record_walk_start(&w, f);
    const struct record *r;
    while ((r = record_walk_next(&w))) {
        const uint8_t *p = (const uint8_t *)r;
        if (r->bytes < l->gap.fixed)
            continue;
        int64_t first = (int64_t)le64(p + l->gap.col[GAP_FIRST].offset);
        int64_t last = (int64_t)le64(p + l->gap.col[GAP_LAST].offset);
        int i = index_of(l, le32(p + l->gap.col[GAP_FEED].offset),
                         le32(p + l->gap.col[GAP_SESSION].offset));
        if (i < 0 || first < 0 || last < first)
            continue;
        delta_of(l, (uint32_t)i, f->position, f->position + f->length)->gap +=
            (uint64_t)(last - first) + 1;
    }
}

void count_frame(struct log *l, const struct frame *f)
{
    if (f->kind == FRAME_GAP)
        count_gap(l, f);
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    record_derived(&at, end);
    if (f->kind != FRAME_DATA || at == end || le16(at) != TABLE_PACKET)
        return; /* published rows have no sequences */
    bool bad = false;
    const struct packet_record *p;
    while ((p = packet_hop(&at, end, &bad))) {
        if (p->flags & RUN_REPLAYED)
            continue;
        int i = index_of(l, p->feed, p->session);
        if (i < 0) {
            bump(&l->counts.overflow, p->seqs);
            continue;
        }
        struct log_delta *d = delta_of(l, (uint32_t)i, f->position, f->position + f->length);
        if (p->flags & RUN_UNSEQUENCED)
            d->unsequenced += p->rows;
        else if (p->flags & ROW_LATE)
            d->late += p->seqs;
        else {
            d->durable += p->seqs;
            bump(&l->counts.entry[i].submitted, p->seqs);
        }
    }
}

void count_undo(struct log *l, const struct frame *f)
{
    if (!frame_payload_bytes(f))
        return;
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    bool bad = false;
    const struct packet_record *p;
    while ((p = packet_hop(&at, end, &bad))) {
        int i = index_of(l, p->feed, p->session);
        if (i < 0)
            continue;
        struct log_delta *d = delta_of(l, (uint32_t)i, f->position, f->position + f->length);
        if (p->flags & RUN_UNSEQUENCED)
            d->unsequenced -= p->rows;
        else if (p->flags & ROW_LATE)
            d->late -= p->seqs;
        else {
            d->durable -= p->seqs;
            bump(&l->counts.entry[i].submitted, -(uint64_t)p->seqs);
        }
    }
}

void count_durable(struct log *l, uint64_t durable)
{
    for (; l->delta_head < l->delta_tail; l->delta_head++) {
        const struct log_delta *d = &l->delta[l->delta_head % LOG_DELTAS];
        if (d->end > durable)
            return;
        struct log_count *c = &l->counts.entry[d->index];
        bump(&c->durable, d->durable);
        bump(&c->late, d->late);
        bump(&c->unsequenced, d->unsequenced);
        bump(&c->gap, d->gap);
    }
}

const struct log_counts *log_counts(const struct log *log)
{
    return &log->counts;
}
