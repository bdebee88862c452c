/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_disk.h - what the disk gives to somebody who does nothing else: the same system calls,
 * block size, depth and file state as the log's (O_DIRECT, RWF_DSYNC, fallocated a step ahead), one
 * buffer written again and again.
 */
#pragma once

#include "core/base.h"

/* Bytes a second over `bytes`; 0 with err. The file is made in `directory` and removed. */
double bench_disk(const char *directory, uint64_t bytes, uint32_t block, unsigned depth,
                  uint64_t preallocate, struct err *err);
