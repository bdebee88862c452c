/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - the log thread: makes the journal durable. It reads committed frames in place from the
 * ring (it alone may: head->guard keeps them), copies them into aligned commit buffers of 1 MiB and
 * writes those to the files of log_file.h, one for each (stream, day) and interval.
 *
 * WRITES. O_DIRECT with RWF_DSYNC, so that an error belongs to a write. While a write of a file is
 * in flight only full buffers follow it, up to log_depth; with none in flight the partial tail goes
 * out, zero-padded to a block; the next write begins at that block and waits for it, so that
 * overlapping writes are never in flight together. Each write owns its buffer: bytes in flight do
 * not change. Without O_DIRECT (filesystem, or cfg.buffered): buffered write, then fdatasync.
 *
 * LEVELS, published in the ring's head (release: pairs with the readers' acquire): over all files,
 * every byte below `submitted` is in an SQE, below `written` completed, below `durable` synced.
 * guard = durable, but at the levels below it written where more than half of the ring is not
 * durable. At async and written files are synced each second and when they close.
 *
 * FAILURE (log_policy.c). Short writes are continued, EINTR, EAGAIN, ECANCELED and ENOMEM tried
 * again. Any other failed write or sync poisons its file: nothing of it that was not known durable
 * is believed, no second sync is tried, and those frames are copied again from the ring into a
 * fresh file (next suffix), in log_directory or else spill_directory, at once or each
 * retry_interval while the ring holds them. A fresh file that fails before anything in it is
 * durable is removed. From spill the log returns by itself when log_directory takes a new file;
 * after each return that failed it waits twice as long, up to 64 times retry_interval. A
 * file whose path vanished is still written while a fresh one is tried; when it was deleted it
 * counts as poisoned. At the levels async and written what a failed sync concerns may have left the
 * ring already where that is more than half full: it stays in the poisoned file, unproven.
 *
 * FULL. When the ring is full because nothing takes writes: BLOCK leaves it so (the appender stops,
 * NICs count the loss, which becomes a gap). FAILOVER and DROP also take a write that has not
 * answered within hang_ns for a failed one: its file is poisoned, its directory is not touched
 * again before all its writes have come back, and the log goes on in the other directory. When
 * neither takes a file, DROP gives up the oldest eighth of the ring whenever less than an eighth is
 * free: data frames and ticks; symbols, schemas, gaps and all other marks are kept aside and
 * written when a file takes them. No level passes such a range before control has journaled it: gap
 * rows of reason lost_log for every sequence, and a `lost` mark (log_loss, log_loss_told). It gives
 * nothing up across an end of day whose files are not closed.
 *
 * ROLL. The eod mark with which the last calendar closes day D is the last frame of D's file; the
 * next frame opens the file of its own day (state marks after eod carry the new day). Until then
 * the files of several days may be open: a calendar that has turned writes into the next one. The
 * marks of dates without a file, missed ones, stand in the file of what comes next. Likewise an eoi
 * mark is the last frame of the interval stream's files; the next frame of that stream opens the
 * file of the interval that the mark names. Other stream-255 frames go into every open file, and
 * into the daily file of their day when no daily file is open: so the daily files alone hold all of
 * them. A closed file gives back what was allocated and not written.
 *
 * EVENTS (core/event.h). A buffer_start mark opens the file of its event, whose frames may be of
 * any day; one with status spilled turns to the next file; buffer_end is the file's last frame.
 * When it and all others of the event are closed, END written and synced, they are renamed to
 * .complete and the directory is synced; what fails is tried again each retry_interval,
 * and at the start.
 *
 * THREADS. log_create, log_destroy: control, while the thread does not run. log_work,
 * log_housekeeping, log_fini: the log thread, or a test by hand; the io belongs to that thread.
 * log_drain, log_event_next: one control thread. log_counts: anyone. The thread never exits on an
 * error and allocates only at rolls, restarts and for new schemas.
 *
 * Ledger: log_counts counts per (feed, session) what was really copied into files, once, whatever
 * is rewritten later; `durable` follows the durable position and is exact when nothing is in
 * flight.
 */
#pragma once

#include "core/days.h"
#include "core/io.h"
#include "core/ring.h"
#include "core/schema.h"
#include "core/status.h"
#include "core/symbols.h"
#include "core/thread.h"
#include "log_file.h"

enum log_level { LOG_ASYNC, LOG_WRITTEN, LOG_DURABLE };
enum log_full { LOG_FULL_BLOCK, LOG_FULL_DROP, LOG_FULL_FAILOVER }; /* as in FULL above */

struct log_config {
    struct io *io; /* the log thread's own */
    struct ring *ring;
    const struct symbols *symbols;    /* texts for new files */
    const struct schema_set *schemas; /* live at the start; may be NULL */
    const struct clock *clock;
    struct status *status;
    const char *directory, *spill; /* spill may be NULL */
    const char *prefix;
    const char *instance_name;
    enum log_level level;
    uint32_t depth;       /* writes in flight per file, 1..128 */
    uint64_t preallocate; /* bytes; 0 = grow by writing */
    uint64_t low_space;   /* alarm log.space below it; 0 = never */
    uint64_t ballast;     /* bytes given up when the disk is full; 0 = none */
    int64_t retry_ns;
    int64_t
        pace_ns; /* least time between two writes of partial blocks; 0 = at once (lowest latency) */
    const struct days_owner *calendars; /* NULL: there is one, every eod mark closes its day */
    uint16_t open_day[DAYS_CALENDARS];  /* of each at the start */
    uint32_t symbols_known;             /* ids that recovery restored */
    const void *states; /* state mark frames that recovery found, back to back; may be NULL */
    size_t states_bytes;
    int32_t interval;     /* minute at which the present interval began; any when there are none */
    const char *previous; /* name of the daily stream's last file; NULL = none */
    bool buffered;        /* never O_DIRECT */
    enum log_full full;
    int64_t hang_ns; /* with DROP and FAILOVER: a write that takes longer has failed; 0 = never */
    /* Frames at or above it are not given up: somebody who counts has not seen them. NULL = all may
     * be (tests). Control stores it with release: L6. */
    const _Atomic uint64_t *passed;
};

struct log;
struct log *log_create(const struct log_config *cfg, struct err *err);
void log_destroy(struct log *log); /* after log_fini, or instead of a crash: writes nothing */

extern const struct thread_ops log_thread_ops; /* arg: struct log * */
int log_work(struct log *log);                 /* one bounded round; 0 = nothing to do */
void log_housekeeping(struct log *log);
void log_fini(struct log *log); /* closes what is open, without an END frame */

/* Everything up to the present tail durable, END frames written, files closed. The appender must
 * have stopped. log_drain waits for the running thread, at most until `ns` have passed (false: the
 * disk does not take it). log_drain_start and log_drained are its halves, for tests by hand. */
void log_drain_start(struct log *log);
bool log_drained(const struct log *log);
bool log_drain(struct log *log, int64_t ns);

/* ---- figures ---- */
#define LOG_COUNTS 8192u /* sessions since the start: a month of 128 feeds' days and more */
struct log_count {
    uint32_t feed, session;       /* symbols */
    _Atomic uint64_t submitted;   /* sequences copied into a file, late ones excluded */
    _Atomic uint64_t durable;     /* of those, durable */
    _Atomic uint64_t late;        /* durable sequences of runs flagged late */
    _Atomic uint64_t unsequenced; /* durable rows without sequence */
    _Atomic uint64_t gap;         /* sequences that durable gap rows declare lost */
};
struct log_counts {
    _Atomic uint32_t n;        /* release: an entry's symbols are written before n covers it */
    _Atomic uint64_t overflow; /* sequences of sessions for which the table had no room */
    struct log_count entry[LOG_COUNTS];
};
const struct log_counts *log_counts(const struct log *log);

/* ---- news for the catalogue (control is its only writer) ---- */
enum log_event_type { LOG_OPENED = 1, LOG_CLOSED, LOG_GAVE_UP, LOG_REMOVED, LOG_RENAMED };
struct log_event {
    enum log_event_type type;
    char name[LOG_NAME_MAX];
    uint8_t stream;
    bool spilled;
    int32_t day;
    uint64_t first, last;  /* last: behind the last durable frame; 0 while open */
    int error;             /* -errno that poisoned it */
    char to[LOG_NAME_MAX]; /* renamed: its name now */
};
/* False: no news. Events beyond 256 unread ones are dropped: the catalogue is rebuildable. */
bool log_event_next(struct log *log, struct log_event *e);

/* ---- what was given up, for control to journal ---- */
struct log_lost_range {
    uint32_t feed, session; /* symbols */
    uint64_t first, last;   /* sequences */
    uint16_t day;
};
struct log_lost_session {
    uint32_t feed, session;
    uint64_t on_time, late, rows; /* sequences, sequences, rows of every kind */
    uint32_t newest;              /* its last range, + 1 */
};
struct log_loss {
    uint64_t from, to; /* positions */
    int64_t since;
    uint64_t frames, bytes, rows;
    struct log_lost_range *range;
    uint32_t n_ranges;
    struct log_lost_session *session;
    uint32_t n_sessions;
};
/* NULL: nothing is to be told. What it points to is control's until log_loss_told, which says that
 * the gap rows and the mark have been taken by the appender. */
const struct log_loss *log_loss(const struct log *log);
void log_loss_told(struct log *log);

/*
 * Makes an expired, closed file the prepared next one (renamed to the spare, not cleared: its stale
 * frames lie below any later file's first position). The log thread picks it up; false when there
 * already is a spare. Any thread with its own io; `log` is not touched.
 */
bool log_recycle(struct io *io, const char *directory, const char *prefix, const char *name,
                 struct err *err);

/* ---- log_event.c: names of buffering events' files ---- */

/*
 * Renames the live files of events that are over to their .complete names, in one directory, and
 * syncs it. `over`: is the event of that file over? header NULL: it cannot be read. `renamed` is
 * told of each, may be NULL. 0 or -errno (what can be renamed is). Any thread with its own io.
 */
struct log_completion {
    struct io *io;
    const char *directory, *instance_name;
    uint64_t instance;
    bool (*over)(void *arg, const char *event, const struct log_file_header *header);
    void (*renamed)(void *arg, const char *from, const char *to);
    void *arg;
};
int log_events_complete(const struct log_completion *c);

/* ---- log_policy.c: what a result means (reliability B5) ---- */
enum log_action {
    LOG_ACT_AGAIN,   /* transient: submit again */
    LOG_ACT_BACKOFF, /* kernel pressure: again, later, for a bounded time; then as DEVICE */
    LOG_ACT_SKIPPED, /* never attempted */
    LOG_ACT_FULL,    /* no space: fresh file, after retry_interval or elsewhere */
    LOG_ACT_LIMIT,   /* this file may not grow: fresh file at once */
    LOG_ACT_DEVICE,  /* fresh file, elsewhere first */
    LOG_ACT_BUG      /* ours: as DEVICE, and the errno stands in the status */
};
enum log_action log_policy(int error); /* -errno */
