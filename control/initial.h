/* SPDX-License-Identifier: Apache-2.0 */
/*
 * initial.h - rows before the first packet: runs initial_state_function at the start.
 *
 * The function writes through control's inject ring; the appender is run by hand (its thread has
 * not started), the log thread writes beside it. What comes of a source (a name and rising
 * positions) stands in the journal exactly once, however often the daemon starts or crashes: the
 * appender takes a source's rows only where the source stands (core/source.h).
 *
 * Built in: none; csv (functions_initial.c): <state_directory>/initial/<table>.csv for each table
 * of `tables:`, a source for each table and open date, a row's position its line.
 *
 * Control thread. initial_declare: before the tables are laid out; initial_run: after the log
 * thread's start, before the ports'.
 */
#pragma once

#include "core/schema.h"
#include "daemon.h"
#include "functions.h"

bool initial_load(struct daemon *d, struct err *err); /* the function of the configuration */
/* Calls intern for each table that the function declares. */
bool initial_declare(struct daemon *d,
                     bool (*intern)(struct daemon *d, struct schema *s, struct err *err),
                     struct err *err);
bool initial_run(struct daemon *d, struct err *err);
