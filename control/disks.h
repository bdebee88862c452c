/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks.h - what control wants from disks while the daemon runs, on threads that may hang there:
 * one for each directory (log, spill, state, database), named disk-log … A disk that never answers
 * stops its own thread and nothing else; control asks figures and hands over jobs, and waits for
 * neither.
 *
 *   each second   free space (status->log_free too), time until full, the instance lock's heartbeat
 *                 in that directory (a write: a frozen filesystem shows here)
 *   disk-state    also what is kept in state_directory, in the order of the calls: lines of the
 *                 catalogue, the lease's renewal, certificates of the ledger
 *
 * TIME UNTIL FULL. Free bytes are remembered over up to two hours (128 samples, thinned out as the
 * time grows); what they fell by in that time is the rate, and for the log at least the rate of its
 * own writing over the same time. Space that comes back (retention, an operator) lowers the rate.
 *
 * THREADS: all calls are control's. Figures are relaxed atomics behind them; jobs pass a mutex that
 * no disk operation holds.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"
#include "daemon.h"

enum disk_role { DISK_LOG, DISK_SPILL, DISK_STATE, DISK_DATABASE, DISK_ROLES };
#define DISKS_SLOW_NS (2 * NS_PER_S) /* an answer that takes longer counts as none */

struct disks;

/* Takes over the catalogue's and the lease's writing (wiring.h) until disks_close. */
struct disks *disks_open(struct daemon *d, struct err *err);
bool disks_start(struct disks *k, struct err *err);
/* What was handed over so far is on the disk. False: it was not within ns. */
bool disks_flush(struct disks *k, int64_t ns);
/* Ends the threads; one that hangs is left behind, with what it may still touch (false). */
bool disks_close(struct disks *k);

/* A text file in state_directory, written beside and renamed; `done` follows on stderr. Both texts
 * are copied. */
void disks_write(struct disks *k, const char *path, const char *text, const char *done);

/* May control touch that disk itself (unlink an old file)? It answered a moment ago. */
bool disks_answers(const struct disks *k, enum disk_role role);
/* Each tick: below log_low_space the oldest log file that nobody needs goes, one a second, whatever
 * log_keep says (retention.h). The ballast comes next (log.h), the log itself last. */
void disks_govern(struct disks *k);
bool disks_lease_failed(const struct disks *k);
json_t *disks_json(const struct disks *k);
/* Each check: disk.filling and disk.hung. */
void disks_alarms(struct disks *k, struct alarms *a, int64_t now);
