/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_internal.h - the log thread's own structures, shared by log.c (journal side: lanes),
 * log_out.c (file side: writes), log_open.c (making files) and log_count.c (ledger). Owner of all
 * of it: the log thread, but where said otherwise.
 *
 * lane: one (stream, day, minute) being written: reads the ring from `cursor`, takes the frames
 *       that are its own, up to close_at; has a file (`out`) or is looking for one. Of one stream
 *       and day only one is open: an eoi mark closes those of the interval stream.
 * out:  one open file. A lane may leave it behind (closing: END frame, sync, close).
 */
#pragma once

#include "log.h"

#define LOG_BUFFER  (1u << 20)
#define LOG_LANES   16
#define LOG_OUTS    24
#define LOG_DONE    16  /* ended events whose files have their live names still */
#define LOG_KEYS    16  /* (stream, day, minute) whose last suffix is remembered */
#define LOG_WRITES  256 /* buffers at most: depth + 2 for each open file */
#define LOG_DELTAS  65536u
#define LOG_EVENTS  256u
#define LOG_NOWHERE UINT64_MAX
#define LOG_HOME    (8ull << 20) /* free in log_directory before the log leaves spill */
#define LOG_AHEAD   (4u << 20)   /* the scout reads at most this far ahead of the slowest lane */

enum write_state { WRITE_FREE, WRITE_FILLING, WRITE_QUEUED, WRITE_FLIGHT, WRITE_DONE };

struct log_out;
struct log_write { /* number i owns buffer i */
    struct io_op op;
    uint8_t *buffer;
    struct log_out *out;
    enum write_state state;
    uint64_t offset;
    uint32_t length;   /* padded to a block */
    uint32_t complete; /* bytes known written (short writes), a multiple of the block */
    uint64_t end;      /* logical file offset behind its last frame byte */
    uint64_t pos_next; /* frames of the file below it end at or before `end` */
    int64_t frame_time, queued_at, retry_at, trouble_since;
    unsigned stuck; /* short results without progress, in a row */
};

struct log_mark { /* how far one level has come in a file */
    uint64_t end; /* file offset */
    uint64_t pos; /* all frames of the file below it lie below `end` */
};

struct log_lane;
struct log_out {
    bool used, direct, failed, ending, end_written, astray, no_alloc, no_zero, spilled;
    int fd, error;
    int full; /* -ENOSPC of a write: once what was written is synced, the file is given up */
    uint32_t block;
    struct log_lane *lane; /* NULL: closing */
    char path[1200];
    char name[LOG_NAME_MAX];
    struct log_file_header header;
    /* source: preamble first, then the lane's frames */
    unsigned stage; /* enum preamble_stage */
    uint32_t stage_at, symbols;
    uint64_t copied; /* position behind the last frame that the lane looked at */
    uint64_t frames, bytes;
    int64_t last_time;
    enum log_end_reason reason;
    /* file */
    uint64_t fill;      /* logical size */
    int filling;        /* write whose buffer takes bytes, -1 = none */
    uint64_t handed;    /* fill at the last write made */
    int64_t partial_at; /* when a partial tail was last handed out */
    uint64_t alloc, zeroed;
    uint16_t queue[LOG_WRITES];
    unsigned head, count, flights;
    struct log_mark submitted, written, durable, sync_target;
    struct io_op sync_op, zero_op, grow_op;
    bool syncing, zeroing, growing;
    uint64_t grow_by;
    int64_t next_sync, synced_at; /* when one is due; when the last one was started */
};

/* Operations of it are under way: their memory and descriptor must stay. */
pst_inline bool busy_out(const struct log_out *o)
{
    return o->flights || o->syncing || o->zeroing || o->growing;
}

struct log_lane {
    bool used;
    uint8_t stream;
    int32_t day, minute;
    char event[LOG_EVENT_MAX]; /* of a buffering event: its id, and position of its start */
    uint64_t since;
    uint64_t cursor, close_at;
    uint64_t counted; /* frames below it are in the ledger's figures */
    enum log_end_reason reason;
    struct log_out *out;
    int64_t retry_at;
};

/* Is it one of the frames that this lane writes? */
static inline bool takes(const struct log_lane *n, const struct frame *f)
{
    if (f->kind == FRAME_PAD)
        return false;
    return f->stream == STREAM_EVERY ||
           (f->stream == n->stream && (f->day == n->day || stream_is_buffer(f->stream)));
}

struct log_dir {
    const char *path; /* NULL: none */
    int64_t bad_until;
    unsigned failures; /* since something became durable there */
};

enum loss_state { LOSS_NONE, LOSS_GROWING, LOSS_READY, LOSS_TOLD };

struct log_state { /* one state mark frame, whole */
    struct frame *frame;
    struct log_state *next;
};

struct log_delta {
    uint64_t end;
    uint32_t index;
    uint64_t late, unsequenced; /* sums: what is given up is taken off again, modulo 2^64 */
    uint64_t durable, gap;
};

struct log {
    struct log_config cfg;
    struct io *io;
    struct ring *ring;
    struct status *st;
    uint64_t instance, cursor /* the scout's */, durable;
    uint32_t seed;
    struct log_dir dir[2]; /* log_directory, spill_directory */
    struct log_lane lane[LOG_LANES];
    struct log_out out[LOG_OUTS];
    struct log_write write[LOG_WRITES];
    uint8_t *memory;
    unsigned nwrites, nfree, flights;
    uint16_t free[LOG_WRITES];
    int64_t now;      /* io's monotonic, read once a round */
    uint8_t *scratch; /* FRAME_MAX */
    /* what a fresh file must repeat */
    char *schema_json[TABLE_MAX];
    uint64_t schema_pos[TABLE_MAX];
    uint32_t schema_ids, symbols_known;
    struct log_state *states[2]; /* generations: newest, the one before */
    bool states_due; /* an eod or restart mark came: the next state begins a generation */
    uint16_t open_day[DAYS_CALENDARS];
    int32_t interval; /* minute of the present one (log_config.interval, then the eoi marks) */
    /* names */
    struct log_key {
        uint8_t stream;
        bool used;
        int32_t day, minute;
        char event[LOG_EVENT_MAX];
        uint32_t suffix;            /* of the file made last */
    } key[LOG_KEYS];                /* newest first */
    char previous[2][LOG_NAME_MAX]; /* of the daily and of the interval stream */
    /* buffering events, by STREAM_BUFFER - stream, as their last marks said */
    struct log_buffer {
        char event[LOG_EVENT_MAX], previous[LOG_NAME_MAX];
        uint64_t since;
    } buffer[STREAM_BUFFER - STREAM_BUFFER_LAST + 1];
    struct log_done { /* ended: its files are renamed when all are closed */
        bool used;
        char event[LOG_EVENT_MAX];
        uint64_t since;
        int64_t retry_at;
    } done[LOG_DONE];
    /* the prepared file and the ballast */
    int spare_fd;
    bool spare_direct;
    uint64_t spare_alloc, spare_zeroed;
    struct io_op spare_op;
    bool spare_busy;
    int64_t spare_at, space_at, check_at, busy_at;
    int64_t home_at, home_wait; /* log_directory is not tried again from spill before home_at */
    bool ballast;
    uint8_t *zeros;
    /* ledger */
    struct log_counts counts;
    struct schema gap;
    struct log_delta *delta;
    uint64_t delta_head, delta_tail;
    uint64_t cut; /* end of the newest write: no delta reaches across it, durable will stop there */
    uint64_t last_delta[LOG_COUNTS]; /* number + 1 */
    uint32_t last_index;
    uint16_t slot[LOG_COUNTS * 2]; /* hash: index + 1 */
    /* log_lost.c: below gone_to only what is on the shelf is still to be had; 0 = nothing is gone
     */
    uint64_t gone_to;
    struct frame **shelf; /* by position */
    uint32_t shelf_n, shelf_cap;
    uint64_t shelf_bytes;
    struct log_loss loss;        /* control reads it while READY */
    _Atomic uint32_t loss_state; /* enum loss_state; L7 */
    /* control: news and drain */
    struct log_event event[LOG_EVENTS];
    _Atomic uint64_t event_head, event_tail; /* release by the owner, acquire by the other */
    _Atomic bool drain, drained;
    bool draining;
};

/* log_out.c */
void out_start(struct log *l, struct log_out *o);
bool out_room(const struct log *l, const struct log_out *o); /* one more frame fits the buffers */
void out_append(struct log *l, struct log_out *o, const void *frame, uint32_t len, uint64_t pos,
                uint64_t after);
int out_step(struct log *l, struct log_out *o); /* submits, syncs, ends */
void out_completed(struct log *l, struct io_op *op);
void out_synced(struct log *l, struct log_out *o);
void out_fail(struct log *l, struct log_out *o, int error);
void out_drop_buffers(struct log *l, struct log_out *o);
uint64_t out_position(const struct log_out *o, const struct log_mark *m); /* LOG_NOWHERE = all */

/* log_open.c */
bool dir_hangs(const struct log *l, unsigned d); /* writes there were given up and did not end */
bool lane_open(struct log *l, struct log_lane *n, bool home_only);
bool preamble_step(struct log *l, struct log_out *o); /* false: no room; o->stage says when done */
bool preamble_done(const struct log_out *o);
void log_grow(struct log *l, struct log_out *o, uint64_t need); /* bytes of the file */
void log_grown(struct log_out *o);
void log_idle(struct log *l);                        /* spare, zeroing ahead, ballast */
void log_note(struct log *l, const struct frame *f); /* schemas, symbols, states */
void log_sentence(struct log *l, int error);         /* errno into the status */
void log_tell_renamed(struct log *l, const char *from, const char *to);
void log_tell(struct log *l, const struct log_out *o, enum log_event_type type);

/* log_event.c */
bool event_begins(struct log *l, const struct frame *f); /* the scout, before it passes the mark; */
void event_ends(struct log *l, const struct frame *f);   /* behind it */
int events_done(struct log *l);                          /* files of ended events get their names */
bool events_pending(const struct log *l);                /* any that can be renamed now */

/* log.c */
struct log_lane *lane_find(struct log *l, uint8_t stream, int32_t day);
bool lane_add(struct log *l, uint8_t stream, int32_t day, uint64_t pos);
void lane_close(struct log *l, struct log_lane *n, enum log_end_reason reason);

void states_free(struct log_state *s);

/* log_count.c */
void count_frame(struct log *l, const struct frame *f);
void count_undo(struct log *l, const struct frame *f); /* counted, and given up since */
void count_durable(struct log *l, uint64_t durable);

/* log_lost.c */
/* The first frame at or above *pos and below end that lanes can still read; *pos moves to it, or to
 * what lies behind a range that was given up. NULL: none below end. */
const struct frame *log_frame(const struct log *l, uint64_t *pos, uint64_t end);
void log_relieve(struct log *l);            /* each round: gives up what has to be */
uint64_t log_loss_cap(const struct log *l); /* no level passes it before the loss is told */
void log_shelf_done(struct log *l, uint64_t durable);
void log_lost_free(struct log *l);
