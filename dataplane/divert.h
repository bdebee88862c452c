/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divert.h - buffering events in the appender: while one is active, a pure mask
 * (penstock/functions.h) picks rows of each data frame before it is sealed, and those go,
 * in frames of the event's own stream, into the same journal: as durable as any, but no part of the
 * day until they are replayed (stream_is_buffer).
 *
 *   control                              appender
 *   event_take: fills a free slot
 *   mark batch, flags EVENT*slot ──────► mark buffer_start; rows behind it pass the mask
 *                                        figures, limit reached: marks      (V1 ──► V2)
 *   mark batch ────────────────────────► mark buffer_end; the slot is ENDED (V1)
 *   state ENDED (V2): event_free
 *
 * THE CUT. The start mark stands before the first row that the mask saw, the end mark behind the
 * last one; both come through control's inject ring, so that they are as ordered as rows are.
 *
 * SPLITTING. Rows keep their order: a frame is cut where the stream of its rows changes, so the
 * journal's order stays the order of arrival over all streams, and of a range that a crash loses
 * the neighbours still tell the sequences. A run that is cut gets a packet record in each part:
 *   message-sequenced  seq of the part's first row, seqs = its rows
 *   packet-sequenced   seq of the packet; seqs stands in the first part, 0 in the others
 *   unsequenced        as it was
 * Rows of a source get their derived records behind this, each part its own (appender.c); those of
 * the sources buffer:… are not shown to masks: they were buffered once. Nothing is copied:
 * the header of a further part takes the place of bytes before it, which are in the ring already.
 *
 * SEVERAL EVENTS. Masks are asked in the order in which the events were started; the first that
 * takes a row gets it. Each sees all rows of the frame.
 *
 * LIMIT, in bytes of frames in one file. Before a frame would pass it:
 *   spill   a buffer_start mark with status "spilled" and the number of the next file; the log
 *           turns to it there
 *   pass    a buffer_start mark with status "passthrough"; the event's rows are left alone from
 *           there on (the mask is asked no more), the event stays until it is ended
 *   end     a buffer_end mark with status "limit"
 * No row is ever dropped. What control gets is the alarm buffer.limit.
 *
 * COST. Inactive: one branch, never taken, at the seal of a data frame (appender.c). Nothing here
 * allocates after divert_create, locks or makes a system call; masks must not either.
 *
 * THREADS. divert_create, divert_free, event_take, event_free: control. divert_frame and what the
 * appender calls: its thread. Figures: anyone.
 */
#pragma once

#include "core/atomics.h"
#include "core/frame.h"
#include "core/schema.h"
#include "core/symbols.h"
#include "penstock/functions.h"

#define DIVERT_EVENTS  8u    /* active at once */
#define DIVERT_TEXT    6144u /* JSON of a mark: the event's arguments and what stands beside them */
#define DIVERT_FACTS   192u  /* what the appender adds to it */
#define DIVERT_PER_ROW 144u  /* a row in a frame of its own: header, derived and packet record */
#define DIVERT_SPREAD                                                                              \
    7u /* so many times as much may a frame of a feed become: rows of 16 bytes                     \
        * each with header and packet record */
#define DIVERT_SOURCE "buffer:" /* of rows that were buffered once */

enum divert_policy { DIVERT_SPILL, DIVERT_PASS, DIVERT_END };

enum divert_state {
    DIVERT_FREE,    /* control's */
    DIVERT_OFFERED, /* control's: its start mark is on the way */
    DIVERT_ACTIVE,  /* the appender's from here on */
    DIVERT_PASSING, /* at its limit: rows are left alone */
    DIVERT_ENDED    /* control's again */
};

struct divert_event {
    /* as control filled it in; constant while the appender has it */
    int64_t id;
    uint8_t stream;
    enum divert_policy policy;
    uint64_t limit; /* bytes of a file; 0 = none */
    void (*mask)(const void *state, const struct pst_batch *batch, uint64_t *bits);
    const void *mask_state;
    char text[DIVERT_TEXT]; /* start mark without its closing brace: {"id":…,"stream":…,… */
    uint32_t text_len;
    char end[DIVERT_TEXT]; /* end mark, for a limit, ditto */
    uint32_t end_len;
    uint64_t since;     /* position of its first start mark; 0 = starts now */
    bool resumed;       /* it was active when the last incarnation ended */
    bool passing;       /* and at its limit */
    uint64_t order;     /* events are asked in this order */
    uint64_t file_base; /* of a resumed one: files that it has already */
    /* figures: the appender's, relaxed but for the state */
    _Atomic uint32_t state;         /* V1/V2: enum divert_state */
    _Atomic uint64_t start, end_at; /* positions of its first start mark and its end mark */
    _Atomic uint64_t rows, frames, bytes, files;
    _Atomic bool limited; /* the limit was reached */
    /* own */
    uint64_t file_bytes; /* in the file at hand */
};

struct divert_table; /* a schema as masks see it */

struct divert {
    const struct symbols *symbols;
    struct divert_event event[DIVERT_EVENTS];
    struct divert_table *table[TABLE_MAX];
    struct divert_table *unknown;
    uint64_t starts; /* control: the next event's order */
    /* the appender's */
    unsigned active[DIVERT_EVENTS]; /* slots, in the order of their start */
    unsigned nactive;
    unsigned events;     /* that have neither ended nor not begun */
    struct pst_row *row; /* of the frame at hand */
    uint8_t *owner;      /* of each row: 0 = passes, else slot + 1 */
    uint64_t *bits;
};

/* For all tables of the set; memory is touched here, not in the first frame. NULL: no memory. */
struct divert *divert_create(const struct symbols *symbols, const struct schema_set *schemas,
                             struct err *err);
void divert_free(struct divert *d);

/* ---- control ---- */

/* A free slot, zeroed but for its order; NULL: all are taken. */
struct divert_event *divert_take(struct divert *d);
/* Of an event that the appender does not have: FREE again. */
void divert_release(struct divert_event *e);
pst_inline enum divert_state divert_state(const struct divert_event *e)
{
    return (enum divert_state)load_acquire(&e->state); /* V2 */
}

/* ---- the appender ---- */

struct divert_sink {
    void *arg;
    /* A part, complete but for position, time and CRC; its bytes are free afterwards. diverted:
     * rows of an event, 0 = it passes. */
    void (*frame)(void *arg, struct frame *f, uint32_t diverted);
    /* The event is at its limit: writes the mark (divert_mark). */
    void (*mark)(void *arg, struct divert_event *e, enum mark_type type, const char *status);
};

/* One data frame with its records, header filled in as for a frame that passes whole. At least one
 * event is active. In front of f nothing is touched. */
void divert_frame(struct divert *d, struct frame *f, const struct divert_sink *sink);

/* The appender wrote the mark: takes the event up, or gives it back. `position` is the mark's. */
void divert_start(struct divert *d, struct divert_event *e, uint64_t position);
void divert_end(struct divert *d, struct divert_event *e, uint64_t position);

/* For the tick mark: ,"buffers":[[stream,rows,bytes],…], so that a start goes on counting. */
struct json_put;
void divert_say(const struct divert *d, struct json_put *j);

/* JSON of a mark: `text` (without its closing brace) and what is known here. Its length; 0: it does
 * not fit. */
uint32_t divert_mark(const struct divert_event *e, const char *text, uint32_t len,
                     const char *status, char *out, uint32_t room);
