/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h - where feeds and decoders put what they make: rows, gaps, marks.
 *
 * The same calls serve the appender (rows go into its staging frame, then the ring) and further rx
 * lcores (rows go into a batch of their inject ring). Owner: the one thread that runs the feed.
 * Nothing here blocks, allocates or fails: the poll loop takes a burst only when `room` says that
 * its largest possible output fits, and a feed drains its window only while rows_room allows.
 *
 * How a feed writes (and why the order matters):
 *   rows_run(r, &run)                     facts of the rows to come; extends the open run if it can
 *   for each message: decoder:
 *       id = rows_symbol(r, text, len)    FIRST every symbol: a new one may seal the frame
 *       p  = rows_reserve(r, bytes)       then the record, filled completely (padding zeroed)
 *       rows_commit(r, bytes)             exactly one record per message
 * In a message-sequenced run each commit advances the sequence by one, which is what readers
 * reconstruct; a message without a row would shift all that follow.
 *
 * Streams. Where tables have different ones (stream_of), a feed whose decoder names its frequent
 * tables says in run.home which stream they have; the few rows of other tables are committed with
 * rows_commit_other, which puts those of the other stream aside at once, behind a packet record of
 * their own: two frames come of it at the seal, without a look at the rows in between. Each keeps
 * its order; the order of both is told by the sequences. Where run.home is not known the seal cuts
 * frames at each change (dataplane/stream_cut.h).
 *
 * All rows of a run belong to tables of one calendar, so that a run has one day: a feed's own
 * tables have run.calendar, and a row of `undecoded`, where that has another one, is a run by
 * itself.
 */
#pragma once

#include "record.h"
#include "schema.h"
#include "clock.h"
#include "days.h"

#define ROWS_FRAME_TARGET                                                                          \
    (64u * 1024)                   /* a frame is sealed here: it still sits in L2 for the CRC      \
                                    */
#define SYMBOL_REFUSED 0xFFFFFFFEu /* symbol table or max_new_symbols full, or bad text */

struct run {
    uint64_t seq; /* of the first row (any value when unsequenced) */
    int64_t rxtime;
    uint32_t feed, session, line; /* symbols, as rows_symbol gave them */
    uint32_t flags;               /* enum row_flag incl. RUN_* */
    uint16_t day;
    uint8_t quality;
    uint8_t calendar; /* that owns the tables of its rows, but `undecoded` */
    uint8_t home;     /* stream + 1 of all rows but those of rows_commit_other; 0 = not known */
    uint32_t seqs; /* RUN_PACKET_SEQ: numbers that the run covers; 0 means 1. An opaque block that
                    * carries several numbered messages in one row says how many */
};

struct gap {
    uint32_t feed, session; /* symbols */
    uint64_t first, last;   /* inclusive */
    const char *reason;     /* "lost" "down" "before_start" "inject_full" "ring_full" … */
    char lines[96];         /* who saw what, for people: "A lost, B silent since 09:31:07" */
    int64_t time;
    uint16_t day;
};

/* Rows of the other stream than the staging frame's. */
struct rows_aside {
    uint8_t *base, *at;
    uint32_t records;
    struct packet_record *head; /* of the run that may go on; NULL = none */
};
#define ROWS_ASIDE_MOST (128u * 1024) /* sealed beyond it */

struct rows;
struct rows_ops {
    /* Seals what is staged (if anything) and gives an empty frame of r->run.day. */
    void (*flush)(struct rows *r);
    uint32_t (*intern)(struct rows *r, const char *text, uint32_t len);
    void (*gap)(struct rows *r, const struct gap *g);
    void (*mark)(struct rows *r, enum mark_type type, const char *json, uint32_t len);
    uint64_t (*room)(struct rows *r); /* bytes of output that certainly fit */
};

struct rows {
    uint8_t *at;    /* where the next record goes */
    uint8_t *limit; /* soft end of the staging frame */
    uint8_t *base;  /* first record of the staging frame; base + FRAME_MAX - 64 is hard */
    struct packet_record *head; /* of the open run, NULL = none open */
    uint64_t seq;               /* of the next row */
    uint32_t run_rows;
    uint32_t records;   /* in the staging frame, packet records included */
    uint16_t frame_day; /* of the staging frame; meaningful when records > 0 */
    struct run run;
    uint32_t run_parts; /* packet records written for `run`: frames and flags may split it */
    const struct rows_ops *ops;
    void *owner;
    const struct schema *undecoded; /* the built-in table, for rows_undecoded */
    uint8_t undecoded_calendar;     /* the calendars that own it and the table gap */
    uint8_t gap_calendar;
    uint16_t min_day[DAYS_CALENDARS]; /* earliest open day of each calendar: what is older goes
                                       * there, with ROW_LATE_DAY */
    uint64_t rows_total;              /* rows committed since start */
    uint64_t rows_late_day;           /* of those, with ROW_LATE_DAY */
    const uint8_t *stream_of;         /* by table id; NULL = one stream */
    uint8_t home;                     /* run.home of the staging frame */
    struct rows_aside aside;          /* with stream_of */
};

/* Closes the open run: patches its packet record. */
pst_inline void rows_close_run(struct rows *r)
{
    struct packet_record *h = r->head;
    if (!h)
        return;
    if (pst_unlikely(!r->run_rows)) { /* reserved, never committed: no run without rows */
        r->at = (uint8_t *)h;
        r->records--;
        r->run_parts--;
        r->head = NULL;
        return;
    }
    h->rows = r->run_rows;
    if (pst_unlikely(h->flags & ROW_LATE_DAY))
        r->rows_late_day += r->run_rows;
    if (r->run.flags & RUN_UNSEQUENCED)
        h->seqs = 0;
    else if (r->run.flags & RUN_PACKET_SEQ) /* counted once, however many parts it falls into */
        h->seqs = r->run_parts > 1 ? 0 : r->run.seqs ? r->run.seqs : 1;
    else
        h->seqs = r->run_rows;
    h->run_bytes = (uint32_t)(r->at - (uint8_t *)h) - (uint32_t)sizeof *h;
    r->head = NULL;
}

/* Facts of the rows that follow. Cheap when nothing changed but the sequence going on. */
pst_inline void rows_run(struct rows *r, const struct run *n)
{
    struct run *o = &r->run;
    if (r->head && !(n->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)) && n->seq == r->seq &&
        n->rxtime == o->rxtime && n->feed == o->feed && n->session == o->session &&
        n->line == o->line && n->flags == o->flags && n->day == o->day && n->quality == o->quality)
        return;
    rows_close_run(r);
    *o = *n;
    r->seq = n->seq;
    r->run_parts = 0;
}

/* Changes the row flags from the next row on (a new run begins only if they differ). */
pst_inline void rows_flags(struct rows *r, uint32_t flags)
{
    uint32_t f = (r->run.flags & ~(uint32_t)ROW_FLAG_MASK) | (flags & ROW_FLAG_MASK);
    if (pst_unlikely(f != r->run.flags)) {
        rows_close_run(r);
        r->run.flags = f;
    }
}

void rows_open(struct rows *r, uint32_t bytes); /* the slow half of rows_reserve */

/* Space for one record of `bytes` (multiple of 8, <= RECORD_MAX). */
pst_inline uint8_t *rows_reserve(struct rows *r, uint32_t bytes)
{
    if (pst_unlikely(!r->head || r->at + bytes > r->limit))
        rows_open(r, bytes);
    return r->at;
}

pst_inline void rows_commit(struct rows *r, uint32_t bytes)
{
    r->at += bytes;
    r->run_rows++;
    r->records++;
    r->rows_total++;
    r->seq += !(r->run.flags & RUN_PACKET_SEQ);
}

void rows_put_aside(struct rows *r, uint32_t bytes);

/* The same for a row of a table that is not among those of run.home. */
pst_inline void rows_commit_other(struct rows *r, uint32_t bytes)
{
    rows_commit(r, bytes);
    if (pst_unlikely(r->stream_of != NULL))
        rows_put_aside(r, bytes);
}

/* Text -> id in this sink's numbering. PST_NULL_SYMBOL for empty text, SYMBOL_REFUSED when refused.
 */
pst_inline uint32_t rows_symbol(struct rows *r, const char *text, uint32_t len)
{
    return len ? r->ops->intern(r, text, len) : PST_NULL_SYMBOL;
}

pst_inline uint64_t rows_room(struct rows *r)
{
    return r->ops->room(r);
}

/* The row of a message that no decoder could place: kept whole in `undecoded`. type: the message's
 * type byte or template, PST_NULL_INT when unknown. reason: a symbol already interned (null is
 * fine). Bytes beyond what one record can hold are cut, never overread; the cut is counted by the
 * caller (return value: bytes kept). */
uint32_t rows_undecoded(struct rows *r, int32_t type, uint32_t reason, const uint8_t *bytes,
                        uint32_t len);
