/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdb.h - the RDB's owner: frames of the journal become columns in shared memory (rdb_layout.h),
 * which readers of any process map (rdb_map.h).
 *
 * THREADS. rdb_create, rdb_seal, rdb_close: control, while no rdb thread runs. rdb_append,
 * rdb_publish, rdb_step, rdb_idle, rdb_rewound, rdb_lost: the rdb thread, alone. rdb_release_day,
 * rdb_days, rdb_figures, rdb_map_of: any thread of the daemon, any time. The only thing they share
 * is the memory itself: the seqlock of the cut and single-writer atomics; no locks.
 *
 * MEMORY. `bytes` is cut into 32 MiB extents after a head; the memfd has its full size from the
 * start and is sealed before it is handed out, so memory never goes back to the kernel, only to the
 * pool. Pages are faulted in a few extents ahead by rdb_idle, else as they are needed (figure
 * `cold`); never touched unless the kernel gave them: no room there is as no room in the pool. Not
 * in `bytes`: the head and part directory (up to 33 MiB, faulted as used), and private memory: 8
 * bytes a part for each 256 of symbols_max, 32 bytes a key of a keyed table. Beside the columns a
 * row costs 4 bytes in its symbol's list (and as much in its key's); a symbol's first rows cost a
 * line of 64 bytes, and each 256 ids with rows in a part 8 KiB.
 *
 * NO ROOM. The first frame with a row that does not fit makes its day slot incomplete from that
 * frame's position on: the slot then has exactly its rows of frames below it, for all its tables,
 * and takes no more, even if memory returns. Rows are counted (refused), marks still followed,
 * other days still taken if they can be.
 *
 * NEVER TWICE. A day slot skips frames below the end of the last frame that it took, so appending a
 * frame again does nothing.
 *   LOST     cursor: a range of positions stands nowhere. Every open day is flagged RDB_DAY_LOST
 *            with the bytes; reading goes on behind. (The log has not got it either: writing from
 *            memory or from the log is the same.) An EOD mark may have been in it: `take` is asked
 *            again.
 *   REWOUND  the journal was taken back to `old` by a restart and goes on at `new`. Day slots whose
 *            rows all lie below `old` stay. Those with later rows are void: closed, shown by no
 *            later cut, and the cursor is sent back to the first of their frames; the rows that are
 *            still true are taken again into fresh slots. Their memory is free when the owner
 *            releases them (a query may still hold the cut before). In the daemon this cannot
 *            happen behind a normal start, where the RDB is empty; it can to a reader of somebody
 *            else's journal.
 *
 * REBUILD is nothing special: the owner seeks the cursor to the first frame of the earliest day
 * that is not written (cursor_seek, cursor_seek_day) and steps; `take` says which days are in the
 * HDB already, their rows are skipped (skipped_rows).
 *
 * MALFORMED rows (a record too short for its schema, an unknown table, a symbol id beyond
 * symbols_max, a string outside its record) are counted in bad_rows and left out; a frame whose
 * records do not tile it is read as far as it goes.
 */
#pragma once

#include "core/record.h"
#include "cursor.h"
#include "rdb_map.h"

struct rdb;

struct rdb_closed { /* an EOD mark has been passed */
    unsigned calendar;
    uint16_t day;
    int slot;            /* day slot with its rows; -1: there are none in memory */
    uint32_t generation; /* of the slot */
    uint64_t position;   /* end of the mark: every row below is in the published cut */
    uint64_t first;      /* first position of its rows */
    uint32_t flags;      /* enum rdb_day_flag */
    uint64_t rows;
};

/* Callbacks run on the rdb thread inside rdb_append. Each may be NULL. */
struct rdb_config {
    uint64_t bytes; /* rdb_memory; at least one extent */
    uint32_t symbols_max;
    uint64_t instance;
    uint32_t ahead;        /* free extents that rdb_idle keeps faulted, at first; 0 = 2 */
    uint64_t extent_bytes; /* 0 = RDB_EXTENT; tests: 2 MiB at least, a multiple of 2 MiB */
    bool portable;         /* tests: no vector instructions beyond the machine's baseline */
    void *arg;
    /* The calendar that owns a table, 0..65535 (NULL: one calendar, 0). Asked once a part. */
    unsigned (*calendar_of)(void *arg, const struct schema *s);
    /* The number of a calendar named in an EOD mark; -1 = unknown: counted, the mark is ignored.
     * NULL: every mark is calendar 0's. */
    int (*calendar_named)(void *arg, const char *name);
    /* Is this day still to be taken from `position` on? Asked for the first frame of a (calendar,
     * day) and again behind an EOD mark of it. NULL: always. */
    bool (*take)(void *arg, unsigned calendar, uint16_t day, uint64_t position);
    /* An EOD mark: the day slot is closed and a cut with all its rows is published. */
    void (*closed)(void *arg, const struct rdb_closed *c);
    /* Every frame, behind its append: rows taken, and rows refused for want of memory; rows skipped
     * or malformed are neither. For the ledger. */
    void (*seen)(void *arg, const struct frame *f, uint32_t taken, uint32_t refused);
};

struct rdb *rdb_create(const struct rdb_config *cfg, struct err *err);
/* Forbids shrinking, growing and all further writable maps. False: never hand the fd out. */
bool rdb_seal(struct rdb *r);
void rdb_close(struct rdb *r);
int rdb_fd(const struct rdb *r); /* to be sent to readers once sealed; stays the rdb's */
/* The daemon's own map for rdb_map.h; valid until rdb_close, nothing to close. */
const struct rdb_map *rdb_map_of(const struct rdb *r);

/* ---- the rdb thread ---- */

/* Takes one frame (any kind; data and gap frames have rows, marks may end a day). Schemas must hold
 * the frame's tables: cursor->dict.schemas. Returns the rows taken; the cut does not show them
 * before rdb_publish. */
uint32_t rdb_append(struct rdb *r, const struct schema_set *schemas, const struct frame *f);
/* The cut: all frames so far. */
void rdb_publish(struct rdb *r);

enum rdb_round {
    RDB_ROUND_MORE, /* the budget is used up, there is more */
    RDB_ROUND_IDLE, /* nothing more for now (cursor: WAIT) */
    RDB_ROUND_END,  /* cursor without a ring: the files' end */
    RDB_ROUND_ERROR /* cursor->err says why; calling again retries */
};
/* One bounded round of a cursor: frames until `bytes` of them are taken, a cut each 64 KiB and at
 * the end. *frames: how many (may be NULL). */
enum rdb_round rdb_step(struct rdb *r, struct cursor *c, uint64_t bytes, uint32_t *frames);
/* When there was nothing to do: a little of faulting ahead (at most 1 MiB) and of returning what
 * was released. True: there is more of it to do. */
bool rdb_idle(struct rdb *r);
/* What rdb_step does on the two verdicts, for who drives a cursor himself. rdb_rewound returns
 * where to seek; UINT64_MAX: nowhere, go on. */
void rdb_lost(struct rdb *r, uint64_t from, uint64_t to);
uint64_t rdb_rewound(struct rdb *r, uint64_t old_end, uint64_t new_start);

/* ---- any thread ---- */

struct rdb_day_info {
    uint32_t slot, generation;
    uint16_t day, calendar;
    enum rdb_day_state state;
    uint32_t flags;
    uint64_t first_position, end_position, closed_position, incomplete_from;
    uint64_t rows, refused, lost_bytes, bytes;
    uint32_t extents;
};
/* Day slots in use, at most RDB_DAYS; returns how many. Figures may be a moment apart. */
unsigned rdb_days(const struct rdb *r, struct rdb_day_info out[RDB_DAYS]);
/* Gives a closed day's memory back. The caller vouches that no reader is left and that its cuts do
 * not name it any more; done by the rdb thread within its next rounds, also when idle. False: not
 * closed, or another generation. */
bool rdb_release_day(struct rdb *r, uint32_t slot, uint32_t generation);

struct rdb_figures {
    uint64_t position; /* journal: every frame below it has been seen */
    int64_t time;      /* of the last frame */
    uint64_t frames, bytes, rows;
    uint64_t refused_rows;  /* no memory */
    uint64_t skipped_rows;  /* of days that are in the HDB (take) */
    uint64_t repeated_rows; /* frames seen before */
    uint64_t bad_rows;
    uint64_t derived;       /* derived records passed over */
    uint64_t unknown_marks; /* EOD of a calendar nobody knows */
    uint64_t lost_ranges, lost_bytes, rewound;
    uint64_t cuts;
    uint64_t extent_bytes, memory;         /* of the pool */
    uint32_t extents, free, faulted, cold; /* faulted: ever; cold: taken before they were */
    uint64_t used;                         /* bytes of the extents in use */
    uint32_t parts, days;
};
void rdb_figures(const struct rdb *r, struct rdb_figures *out);
