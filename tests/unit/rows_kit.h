/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_kit.h - for tests of the reading side: payloads of runs, rows and gap rows built by hand,
 * byte by byte as record.h says, independent of core/rows.c.
 */
#pragma once

#include "log_kit.h"

struct pk { /* a payload under construction */
    uint8_t data[FRAME_MAX - FRAME_HEADER];
    uint32_t len;
    uint16_t count;
    uint32_t run; /* offset of the open packet record + 1; 0 = none */
};

static inline void pk_clear(struct pk *p)
{
    p->len = p->run = p->count = 0;
}

/* Opens a run; rows, seqs and run_bytes follow as rows are put. */
static inline struct packet_record *pk_run(struct pk *p, uint32_t feed, uint32_t session,
                                           uint32_t line, uint64_t seq, uint32_t flags)
{
    struct packet_record *r = (struct packet_record *)(p->data + p->len);
    *r = (struct packet_record){.table = TABLE_PACKET,
                                .bytes = sizeof *r,
                                .sym = PST_NULL_SYMBOL,
                                .rxtime = 1000 + (int64_t)seq,
                                .seq = flags & RUN_UNSEQUENCED ? (uint64_t)PST_NULL_LONG : seq,
                                .feed = feed,
                                .session = session,
                                .line = line,
                                .flags = flags,
                                .seqs = flags & RUN_PACKET_SEQ ? 1 : 0,
                                .quality = CLOCK_CAPTURE};
    p->run = p->len + 1;
    p->len += (uint32_t)sizeof *r;
    p->count++;
    return r;
}

/* A row of `bytes` (a multiple of 8), zeros behind its head. */
static inline uint8_t *pk_row(struct pk *p, uint16_t table, uint32_t sym, int64_t time,
                              uint16_t bytes)
{
    uint8_t *at = p->data + p->len;
    assert_true(p->len + bytes <= sizeof p->data);
    memset(at, 0, bytes);
    *(struct record *)at = (struct record){table, bytes, sym, time};
    p->len += bytes;
    p->count++;
    if (p->run) {
        struct packet_record *r = (struct packet_record *)(p->data + p->run - 1);
        r->rows++;
        r->run_bytes += bytes;
        if (!(r->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)))
            r->seqs++;
    }
    return at;
}

/* A run of n rows of 32 bytes each. */
static inline void pk_rows(struct pk *p, uint16_t table, uint32_t feed, uint32_t session,
                           uint64_t seq, uint32_t n, uint32_t flags)
{
    pk_run(p, feed, session, PST_NULL_SYMBOL, seq, flags);
    for (uint32_t i = 0; i < n; i++)
        pk_row(p, table, PST_NULL_SYMBOL, (int64_t)(seq + i), 32);
}

static inline void pk_gap(struct pk *p, const struct schema *gap, uint32_t feed, uint32_t session,
                          uint64_t first, uint64_t last, uint32_t reason)
{
    uint8_t *at = pk_row(p, gap->id, PST_NULL_SYMBOL, 77, gap->fixed);
    put32(at + gap->col[GAP_FEED].offset, feed);
    put32(at + gap->col[GAP_SESSION].offset, session);
    put64(at + gap->col[GAP_FIRST].offset, first);
    put64(at + gap->col[GAP_LAST].offset, last);
    put32(at + gap->col[GAP_REASON].offset, reason);
    put32(at + gap->col[GAP_LINES].offset, gap->fixed);
}

/* Into a log file; returns the frame's offset. */
static inline size_t pk_frame(struct pk *p, struct lk *k, uint8_t kind)
{
    size_t at =
        lk_frame(k, kind, kind == FRAME_GAP ? STREAM_EVERY : k->stream, p->count, p->data, p->len);
    pk_clear(p);
    return at;
}

/* As a frame in memory, sealed for LK_INSTANCE; valid until the next call with this buffer. */
static inline const struct frame *pk_make(struct pk *p, void *buf, uint8_t kind, uint64_t position,
                                          uint16_t day)
{
    struct frame *f = buf;
    *f = (struct frame){.length = (uint32_t)pst_align8(FRAME_HEADER + p->len),
                        .position = position,
                        .time = (int64_t)position,
                        .kind = kind,
                        .count = p->count,
                        .day = day};
    memcpy((uint8_t *)buf + FRAME_HEADER, p->data, p->len);
    frame_seal(f, frame_seed(LK_INSTANCE));
    pk_clear(p);
    return f;
}
