/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - `penstockd --check`: plans (ring seconds, memory, disk a day) and looks at the host
 * (cores, isolation, memory, devices, clock, storage, kernel), each finding with its remedy. Reads
 * only. Exit code: 0 nothing found, 1 warnings, 2 something penstockd could not start with.
 */
#pragma once

#include <stdio.h>
#include "config.h"

/* c may be NULL: the defaults. Reads only, but for half a second of writes to one unlinked file in
 * log_directory, where it exists and is writable. */
int check_run(const struct config *c, FILE *out);

/* Versions, compiler, OS, kernel, CPU: one line each, for support. Also at the daemon's start. */
void check_banner(FILE *out);
