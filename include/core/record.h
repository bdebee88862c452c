/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - rows inside a data or gap frame.
 *
 * record (every table):  table u16, bytes u16, sym u32, time i64, then the other columns widest
 * first (schema.h gives offsets), strings as (offset u32, length u32) into the record's end.
 * `bytes` is the whole record, a multiple of 8, at most 65,528.
 *
 * packet record (table 0): heads each run of rows that share feed, session, line, receive time and
 * flags and have consecutive sequences. It also says how many rows and bytes follow, so that a
 * counter (ledger) can hop from run to run without touching the rows.
 *
 *   message-sequenced feeds: seqs == rows, row i has sequence seq + i
 *   packet-sequenced feeds (RUN_PACKET_SEQ): seqs is 1, all rows have sequence seq; 0 in further
 *                     runs of the same packet; more than 1 for an opaque block of several messages,
 *                     which is one row with the first of their numbers
 *   unsequenced content (RUN_UNSEQUENCED): seqs is 0, seq is null
 *
 * derived record (table 1): heads the rows of a source, at most one, first in its frame: how far
 * these rows bring the source. Readers of rows pass over it; a frame's `count` leaves it out.
 *
 * Nothing here allocates. Records are read with memcpy-style loads; a record starts 8-aligned.
 */
#pragma once

#include <errno.h>
#include "base.h"
#include "frame.h"
#include "penstock/types.h"

#define RECORD_MAX 65528u

struct record {
    uint16_t table;
    uint16_t bytes;
    uint32_t sym;
    int64_t time;
};
_Static_assert(sizeof(struct record) == 16, "record head is 16 bytes");

/* Row flags (column `flags`, FH-07). The low 16 are the row's, the high ones the run's shape. */
#define ROW_FLAGS(X)                                                                               \
    X(LATE, 0x1, "late", "arrived after its gap had been declared")                                \
    X(LATE_DAY, 0x2, "late_day", "belongs to a day that was already closed")                       \
    X(END_OF_EVENT, 0x4, "end_of_event", "last message of its venue event")                        \
    X(RECOVERED, 0x8, "recovered", "came by retransmission or snapshot")                           \
    X(BAD_TIME, 0x10, "bad_time", "the receive time is doubtful")                                  \
    X(AFTER_GAP, 0x20, "after_gap", "first after a gap")                                           \
    X(MAYBE_BAD_BOOK, 0x40, "maybe_bad_book", "something of this session was lost before")         \
    X(DIVERGENT, 0x80, "divergent", "a copy whose bytes differ from the accepted one")
enum row_flag {
#define X(ID, bit, name, sentence) ROW_##ID = bit,
    ROW_FLAGS(X)
#undef X
        RUN_PACKET_SEQ = 0x10000,
    RUN_UNSEQUENCED = 0x20000,
    RUN_REPLAYED = 0x40000, /* of a source (table 1): journaled before, here or elsewhere, so not
                             * counted as this instance's (feed, session) */
    ROW_FLAG_MASK = 0xFFFF
};

enum clock_quality {
    CLOCK_NIC = 0,     /* stamped by the device */
    CLOCK_TSC = 1,     /* TSC, calibrated to UTC, read once a burst */
    CLOCK_CAPTURE = 2, /* the capture file's */
    CLOCK_DOUBTFUL = 3 /* the wall clock stepped, or no calibration yet */
};

struct packet_record { /* table TABLE_PACKET */
    uint16_t table;
    uint16_t bytes; /* 64 */
    uint32_t sym;   /* null */
    int64_t rxtime; /* stands where `time` stands */
    uint64_t seq;   /* of the first row; PST_NULL_LONG when unsequenced */
    uint32_t feed;  /* symbols */
    uint32_t session;
    uint32_t line;
    uint32_t flags;     /* enum row_flag */
    uint32_t rows;      /* records of this run, this one excluded */
    uint32_t seqs;      /* sequence numbers the run covers */
    uint32_t run_bytes; /* bytes of those records */
    uint8_t quality;    /* enum clock_quality */
    uint8_t pad[11];
};
_Static_assert(sizeof(struct packet_record) == 64, "packet record is 64 bytes");
_Static_assert(offsetof(struct packet_record, rxtime) == offsetof(struct record, time), "rxtime");

/* How far the rows behind it bring their source: points as in source.h. */
enum derived_flag {
    DERIVED_AS_LOGGED = 1 /* of a replay that brings what processors made of these rows, too: no
                           * processor runs over them again */
};
struct derived_record { /* table TABLE_DERIVED */
    uint16_t table;
    uint16_t bytes;    /* 48 */
    uint32_t source;   /* symbol */
    uint64_t after;    /* from (after, after_row) … */
    uint64_t position; /* … to (position, row) */
    uint32_t after_row, row;
    uint32_t flags; /* enum derived_flag; 0 in files of before there were any */
    uint8_t pad[12];
};
_Static_assert(sizeof(struct derived_record) == 48, "derived record is 48 bytes");

/* The derived record at the head of a frame's records, NULL where there is none; *at moves behind
 * it. */
static inline const struct derived_record *record_derived(const uint8_t **at, const uint8_t *end)
{
    const struct derived_record *d = (const struct derived_record *)*at;
    if ((size_t)(end - *at) < sizeof *d || d->table != 1 || d->bytes != sizeof *d)
        return NULL;
    *at += sizeof *d;
    return d;
}

/* Walks the records of a data or gap frame. Bounds are checked against the frame, not trusted. */
struct record_walk {
    const uint8_t *at, *end;
    const struct packet_record *packet;   /* of the current row; NULL outside a run */
    const struct derived_record *derived; /* of the frame; NULL = its rows have no source */
    uint64_t row;                         /* index of the current row in its run */
    bool bad;                             /* a record's length did not fit: the walk stopped */
};

static inline void record_walk_start(struct record_walk *w, const struct frame *f)
{
    w->at = frame_payload(f);
    w->end = w->at + frame_payload_bytes(f);
    w->derived = record_derived(&w->at, w->end);
    w->packet = NULL;
    w->row = 0;
    w->bad = false;
}

/* The next row (packet records are absorbed into w->packet), or NULL at the end. */
static inline const struct record *record_walk_next(struct record_walk *w)
{
    for (;;) {
        if ((size_t)(w->end - w->at) < sizeof(struct record)) {
            w->bad |= w->at != w->end;
            return NULL;
        }
        const struct record *r = (const struct record *)w->at;
        if (r->bytes < sizeof(struct record) || r->bytes % 8 || r->bytes > w->end - w->at) {
            w->bad = true;
            return NULL;
        }
        w->at += r->bytes;
        if (r->table != 0) {
            w->row++;
            return r;
        }
        if (r->bytes != sizeof(struct packet_record)) {
            w->bad = true;
            return NULL;
        }
        w->packet = (const struct packet_record *)r;
        w->row = (uint64_t)-1;
    }
}

/* Sequence of the row last returned by record_walk_next. */
static inline int64_t record_walk_seq(const struct record_walk *w)
{
    const struct packet_record *p = w->packet;
    if (!p || p->flags & RUN_UNSEQUENCED)
        return PST_NULL_LONG;
    return (int64_t)(p->flags & RUN_PACKET_SEQ ? p->seq : p->seq + w->row);
}

/* Hops from run to run, for counting. Returns NULL at the end; sets *bad when the frame lies.
 * *at starts as frame_payload(f). */
static inline const struct packet_record *packet_hop(const uint8_t **at, const uint8_t *end,
                                                     bool *bad)
{
    if ((size_t)(end - *at) < sizeof(struct packet_record)) {
        *bad |= *at != end;
        return NULL;
    }
    const struct packet_record *p = (const struct packet_record *)*at;
    if (p->table != 0 || p->bytes != sizeof *p || p->run_bytes % 8 ||
        p->run_bytes > (size_t)(end - *at) - sizeof *p) {
        *bad = true;
        return NULL;
    }
    *at += sizeof *p + p->run_bytes;
    return p;
}

/* A string column's bytes; NULL when offset or length point outside the record. */
static inline const char *record_string(const struct record *r, unsigned offset, uint32_t *len)
{
    uint32_t at = le32((const uint8_t *)r + offset);
    *len = le32((const uint8_t *)r + offset + 4);
    return at <= r->bytes && *len <= r->bytes - at ? (const char *)r + at : NULL;
}
