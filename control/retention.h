/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retention.h - log files that nobody needs any more (log_keep). A part of day.c; control.
 *
 * A file may go when all of this holds:
 *   - its date is older than asked for, and has ended in every calendar
 *   - the catalogue says of that date and of every one before it, for all calendars, that it is
 *     written to the database; without a database nothing ever goes
 *   - the date's partitions have been read back in this process, rows and content hash, and hold at
 *     least the rows that were written (by the writedown thread, when it has nothing else to do)
 *   - it is not the newest of its stream, nothing writes it, no buffering event that is active
 *     began below its end, and the ledger, the reader of the start and the RDB are behind its end
 *   - every older file is gone: what is left of the log is one stretch
 * Files of buffering events are never touched. What goes becomes the prepared next file, if there
 * is none and it is large enough, else it is unlinked; at most one file a call. It is said on
 * standard error, taken out of the catalogue and counted in log.expired.
 */
#pragma once

#include "core/base.h"

struct day;

/* From the control loop: applies log_keep. */
void retention_tick(struct day *y);
/*
 * The governor's way: the oldest file of a date before `before` (INT32_MAX: of any), whatever
 * log_keep says. Returns the bytes that it gave back; 0: none may go, and *why says what holds the
 * oldest one. *again: ask again soon, a date is being verified.
 */
uint64_t retention_free(struct day *y, int32_t before, bool *again, const char **why);
