/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_options.h - what a start is told beside the configuration: one-time acts of the command
 * line. Each says beforehand what it throws away and wants --yes. Control thread, before anything
 * runs.
 *
 *   hard_reset  the log files of the open date (and any later one) are renamed *.reset: today's
 *               rows are gone from memory, queries and the partition to come. Positions, symbols,
 *               schemas, the lease and where each feed session stands are kept; what the files held
 *               of each session is declared in gap rows (reason hard_reset)
 *   no_replay   the RDB does not read what the log holds so far: queries see rows from this start
 *               on; the end of day completes the partition from the log all the same
 */
#pragma once

#include "core/base.h"

struct start_options {
    bool hard_reset, no_replay, yes;
};

struct config;
/* --yes is missing: prints what each act would throw away. The process's exit code, 2. */
int start_options_warn(const struct start_options *o, const struct config *c);
/* For the restart mark: NULL, or the acts with blanks between them. */
const char *start_options_acts(const struct start_options *o);
