/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_live.h - kdb_log: the day's log in kdb+'s format, kept live beside ours, so that a stock q
 * RDB that restarts at noon gets its morning.
 *
 *   <kdb_log_directory>/<kdb_log_name>YYYY.MM.DD
 *
 * A cursor (limit durable: it is on disk outside the log) writes a message (`upd; table; columns)
 * for each run of rows of one table in a frame, column lists as tick.q writes them. Messages end
 * where frames end, so the file is a function of the journal alone: written again it is the same
 * bytes. A file holds the rows between two ends of day, as what r.q is sent between two .u.end (a
 * date has ended when all calendars have ended it); its date is the one that the next end closes.
 *
 * THE POINT is what .u.i and .u.L answer: `messages` of `path` hold exactly the day's rows below
 * `position`. A subscriber that replays them and is then sent every frame from `position` on has
 * each row once. The three change together; the file holds at least so many messages whenever
 * somebody has seen the point.
 *
 * RESTART. Beside the file `.<name>YYYY.MM.DD.pst` says (once a second, and when the file changes)
 * how far it goes: one line of JSON {"day","first","position","messages","bytes","crc","form",
 * "ended"}; first: the position where its rows begin. A start takes it, compares the crc of so many
 * bytes, cuts what is behind them and goes on at the position. Without it, when the bytes are
 * others, when the columns' form was set otherwise, or when the file went away meanwhile, it is
 * written anew from `first` under the name `.<name>YYYY.MM.DD.new` and renamed when it is complete;
 * until then there is no point. A file of that name that is not ours (no sidecar) is kept as
 * <file>.before, .before.1, ...
 *
 * A disk that is full or gone: figures.stopped (alarm kdb_log.stopped), tried again every
 * retry_ns; the point stays where the file ended. Publishing only reads the point.
 *
 * THREADS. open: before the catchup thread runs; step, close: that thread (or after its end).
 * point, figures: any thread; a mutex held for a copy.
 */
#pragma once

#include "core/days.h"
#include "core/tzone.h"
#include "storage/cursor.h"
#include "storage/kdb_log.h"

struct kdb_live;

struct kdb_live_config {
    struct io *io;                        /* of the calling thread */
    const char *dirs[CURSOR_DIRS];        /* log_directory, spill_directory */
    const char *prefix;                   /* log_prefix */
    uint64_t instance;                    /* 0: the newest file's */
    const struct ring *ring;              /* NULL: files only (tests) */
    const char *directory;                /* kdb_log_directory */
    const char *name;                     /* kdb_log_name */
    const char *calendar[DAYS_CALENDARS]; /* names; the default one first */
    unsigned calendars;
    const _Atomic uint16_t *open_day; /* of the default calendar: a file's date before any row */
    uint64_t first;           /* where the open day begins, for want of a sidecar; 0: the log's
                                 first frame */
    bool timespan;            /* column time as an offset from midnight */
    const struct tzone *zone; /* of that midnight; NULL: UTC */
    int64_t retry_ns;
};

enum kdb_live_ready {
    KDB_LIVE_OFF,  /* there is none, or none could be made: (0N; null symbol) */
    KDB_LIVE_WAIT, /* it is being read or written anew: ask again */
    KDB_LIVE_READY
};
struct kdb_live_point {
    int64_t messages; /* PST_NULL_LONG unless ready */
    uint64_t position;
    int32_t day;
    char path[KDB_LOG_PATH]; /* "" unless ready; without kdb+'s leading colon */
};

struct kdb_live_figures {
    bool on, ready;
    bool stopped; /* tries again; why */
    char why[500];
    uint64_t position;               /* of the journal: all below it is in the files */
    uint64_t messages, bytes, rows;  /* of this day's file */
    uint64_t retries, rebuilt, lost; /* lost: ranges that stand in no log file */
};

/* config and what it points to must stay. NULL: no memory. A directory that is not there is not an
 * error: kdb_live_step goes on trying. */
struct kdb_live *kdb_live_open(const struct kdb_live_config *c, struct err *err);
void kdb_live_close(struct kdb_live *k);
/* Writes what there is, at most about `budget` bytes. True: there is more at once. */
bool kdb_live_step(struct kdb_live *k, int64_t now_monotonic, uint64_t budget);
/* k may be NULL: off (kdb_live_look says so once). */
enum kdb_live_ready kdb_live_point(struct kdb_live *k, struct kdb_live_point *out);
void kdb_live_figures(struct kdb_live *k, struct kdb_live_figures *out);

/* As the daemon is configured. NULL with err->code 0: it is off. io: the catchup thread's. */
struct daemon;
struct kdb_live *kdb_live_of(struct daemon *d, struct io *io, struct err *err);
/* Control, each check_interval: the warning, once, that a client asked for .u.i or .u.L while there
 * is no log. */
void kdb_live_look(void);
