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
 * bytes. A file holds the rows between two ends of day of the default calendar, as what r.q is sent
 * between two .u.end; its date is the day that the next one closes.
 *
 * THE POINT is what .u.i and .u.L answer: `messages` of `path` hold exactly the day's rows below
 * `position`. A subscriber that replays them and is then sent every frame from `position` on has
 * each row once. The three change together; the file holds at least so many messages whenever
 * somebody has seen the point. Where the log is off, or no file could be written yet: messages is
 * PST_NULL_LONG and path empty, position 0, which is (0N; null symbol).
 *
 * RESTART. Beside the file `.<name>YYYY.MM.DD.pst` says (once a second, and when the file changes)
 * where the journal stood: {"position","first","messages","bytes","crc"}. A start takes it, checks
 * the crc of so many bytes, cuts what is behind them and goes on at the position. Without it, or
 * when the bytes are others, the file is written anew from the day's first frame, under another
 * name until it is complete.
 *
 * A disk that is full or gone: alarm kdb_log.stopped, tried again every retry_interval; the point
 * stays where the file ended. Publishing only reads the point.
 *
 * THREADS. open, step, close: the catchup thread. point, figures: any thread.
 */
#pragma once

#include "core/base.h"
#include "core/io.h"
#include "core/ring.h"
#include "core/tzone.h"

struct kdb_live;

struct kdb_live_config {
    struct io *io;       /* of the calling thread */
    const char *dirs[4]; /* log_directory, spill_directory */
    const char *prefix;  /* log_prefix */
    uint64_t instance;   /* 0: the newest file's */
    const struct ring *ring;
    const char *directory;     /* kdb_log_directory */
    const char *name;          /* kdb_log_name */
    const char *calendar;      /* whose ends of day: the default calendar's name */
    _Atomic int32_t *open_day; /* the default calendar's open date, for a first file's name */
    bool timespan;             /* column time as an offset from midnight, as tick.q has it */
    const struct tzone *zone;  /* of that midnight; NULL: UTC */
    int64_t retry_ns;
};

struct kdb_live_point {
    int64_t messages; /* PST_NULL_LONG: none */
    uint64_t position;
    int32_t day;
    char path[1200]; /* "" none; without kdb+'s leading colon */
};

struct kdb_live_figures {
    bool on;
    bool stopped; /* tries again; why */
    char why[300];
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
/* False: off or nothing yet (out is then (0N; "")). k may be NULL: off. */
bool kdb_live_point(const struct kdb_live *k, struct kdb_live_point *out);
void kdb_live_figures(const struct kdb_live *k, struct kdb_live_figures *out);
