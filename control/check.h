/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - `penstockd --check`: plans (ring seconds, memory, disk a day) and looks at the host
 * (cores, isolation, memory, devices, clock, storage, kernel), each finding with its remedy. Reads
 * only. Exit code: 0 nothing found, 1 warnings, 2 something penstockd could not start with.
 */
#pragma once

#include <stdio.h>
#include "config.h"

int check_run(const struct config *c, FILE *out);
