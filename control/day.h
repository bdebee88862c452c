/* SPDX-License-Identifier: Apache-2.0 */
/*
 * day.h - the day in the daemon: rows in memory while it is open, a partition on disk when it has
 * ended. Owns the RDB and its thread, the writedown thread, the database and what pins them.
 *
 *   journal ─► rdb thread ─► EOD mark ─► control: closed ─► writedown thread, behind the durable
 *   position: sym, stage, sync, publish ─► control: written, epoch (between two cuts) ─► post_save
 *   ─► the RDB's day is released when the last pin is gone
 *
 * A (calendar, day) is open, closed or written; the catalogue keeps it. Open: rows still come.
 * Closed: its EOD mark is in the journal; the partition may or may not be there already - its own
 * marker says (source range), so a crash at any step is resumed by doing that step again. Written:
 * the partition is published and every later cut reads it. After a start the RDB is rebuilt from
 * the log of all days that are not written, while capture runs; EOD marks met on the way close
 * their days again, which changes nothing.
 *
 * A failed writedown leaves the day queryable in the RDB, raises writedown.failed and is tried
 * again after eod_retry, doubling up to ten minutes; `eod retry` tries at once, `eod cancel` stops
 * trying until `eod retry` or a restart. Without a database a day is written when it is closed: its
 * memory is freed, its log stays. A database that cannot be read is "not loaded" (hdb.not_loaded);
 * opening is tried again, capture and RDB go on.
 *
 * The offline replay uses the same parts with one thread of each kind.
 *
 * THREADS. Every function: control, unless it says otherwise. The rdb thread owns `struct rdb`, the
 * writedown thread everything under storage/writedown.h and the sym file; they hand events to
 * control through small rings (E1/E2 in day_parts.h).
 */
#pragma once

#include <jansson.h>
#include "core/base.h"
#include "pins.h"

struct daemon;
struct day;
struct rdb;

/* Between recovery and the journal: an empty symbol table starts with the database's `sym`. */
void day_preload(struct daemon *d);
/* After the ring, symbols and schemas exist and before the segments are sealed: RDB memory,
 * database, days from the catalogue. False: the configuration cannot work (one sentence). */
struct day *day_open(struct daemon *d, struct err *err);
bool day_seal(struct day *y); /* false: the RDB is not handed out to other processes */
bool day_start(struct day *y, struct err *err); /* threads; behind wiring_start */
void day_tick(struct day *y); /* control loop, each 100 ms; each 1 ms while day_hurry */
/* Workers of the loader wait for the writedown thread: of a batch for a moment, not for ever. */
bool day_hurry(const struct day *y, int64_t now);
/* Replay: until every ended date is written or has failed. False: one has. */
bool day_finish(struct day *y);
/* Stops after the journal's end: the rdb thread reads to it (deadline), a writedown in progress is
 * asked to stop between two steps; the next start resumes it. */
void day_stop(struct day *y, int64_t deadline_ns);
void day_close(struct day *y); /* NULL is allowed */

struct pins *day_pins(struct day *y);
const struct rdb *day_rdb(const struct day *y); /* for its memfd and size; rows: map it (rdb.h) */
const char *day_root(const struct day *y);      /* absolute; "" = no database, or not loaded */
uint64_t day_epoch(const struct day *y);        /* of the HDB: how many publications were counted */

/* The trading dates and what state they are in; RDB figures. For `status`, `eod status`. */
json_t *day_json(struct day *y);
json_t *day_brief(struct day *y); /* rdb lag, rows, memory; days in progress */
json_t *day_rdb_json(struct day *y);
/* A date that was ended: its state and result. NULL: it was not. */
json_t *day_state(struct day *y, const char *calendar, int32_t day);

void day_rdb_pause(struct day *y, bool pause); /* an operator's */
/* Verbs (cmd_day.c). calendar NULL: all calendars that have that day. False: one sentence. */
bool day_retry(struct day *y, const char *calendar, int32_t day, struct err *err);
bool day_cancel(struct day *y, const char *calendar, int32_t day, struct err *err);
/* A partition again from the log, beside the old one, then swapped. The job's id, 0 = err. */
struct day_rebuild {
    int32_t day;
    const char *table;        /* NULL: all of the day */
    const char *const *files; /* NULL: the instance's own log */
    unsigned nfiles;
    bool dry_run, supersede; /* supersede: whatever the partition was made of */
};
uint64_t day_rebuild(struct day *y, const struct day_rebuild *r, struct err *err);
/* The job's outcome: NULL while it runs; else a new reference, its "error" set when it failed. */
json_t *day_job(struct day *y, uint64_t id);

/* Condition and ledger figures (alarm_rules.c, ledger.c). */
struct alarms;
void day_alarms(struct day *y, struct alarms *a, int64_t now);
struct day_rdb_figures {
    uint64_t position;       /* all rows below it were taken or refused */
    uint64_t taken, refused; /* rows since this process's first position */
    uint64_t behind;         /* bytes of journal not yet read */
    int64_t lag_ns;          /* age of the oldest of them */
    uint64_t memory, used;   /* bytes */
    uint64_t rebuild_to;     /* 0 = not rebuilding */
};
/* The ledger thread: asks for the rows below `at`, a position that the RDB has not passed; answered
 * at the first frame at or behind it. day_probed: false = not yet. */
struct day_probe {
    uint64_t position, taken, refused; /* of that frame; rows below it, of this process */
};
void day_probe(struct day *y, uint64_t at);
bool day_probed(struct day *y, struct day_probe *out);
/* The ledger's lines of the days written last. False: one does not balance. */
bool day_ledger(struct day *y, json_t *lines);
void day_rdb_figures(const struct day *y, struct day_rdb_figures *out); /* any thread */
