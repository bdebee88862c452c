/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error_log.h - updates that could not be processed are kept, with the reason, instead of lost:
 * batches that publishers sent and that were refused, and messages that a decoder could not place
 * (which also stand in the table `undecoded`).
 *
 * One JSON object a line in <state_directory>/<instance>.error.YYYY.MM.DD (mode 0640; the date is
 * the open trading date):
 *   {"time":"2026.11.20D14:30:00.000000000","kind":"publish","from":"uid 1000","table":"trade",
 *    "reason":"line 3: …","bytes":61,"header":"time,sym,price","data":"…"}
 *   {…,"kind":"message","from":"itch 0000000001","table":"undecoded","reason":"length","seq":17,
 *    "bytes":4,"hex":"53000000"}
 * Bounded: a day's file by error_log_size (0: no error log), what waits to be written by 4 MiB.
 * What does not fit or cannot be written is counted as errors.lost, the rest as errors.logged;
 * alarm update.error names the file. With log_update_error the same goes to the daemon's own
 * log, at most ERROR_LOG_TOLD lines a second of at most 300 bytes of data, counted as errors.told.
 *
 * Threads: error_log_put: control; error_log_put_from: any. Files are written by a thread of its own ("errors"), so that a
 * disk that hangs stops nothing else; it also follows the journal, at no cost while the feeds'
 * counters of undecodable messages stand still. open, start, stop, close: control.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

#define ERROR_LOG_TOLD 10

struct daemon;
struct error_log;

struct error_log *error_log_open(struct daemon *d, struct err *err);
bool error_log_start(struct error_log *e, struct err *err);
/* Writes what waits (a second at most), then ends the thread. */
void error_log_stop(struct error_log *e);
void error_log_close(struct error_log *e); /* NULL is allowed */

/* A refused batch. data: an object with what was sent (its texts); borrowed. e may be NULL. */
void error_log_put(struct error_log *e, const char *kind, unsigned uid, const char *table,
                   const char *reason, json_t *data);
/* The same from any thread, by whoever `from` names ("user alice"). */
void error_log_put_from(struct error_log *e, const char *kind, const char *from, const char *table,
                        const char *reason, json_t *data);
/* Each tick: takes over the live key log_update_error and the open date. */
void error_log_tick(struct error_log *e);
/* The newest file's path, "" before the first entry; control. */
void error_log_path(struct error_log *e, char *out, size_t size);
