/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_memory.h - what a worker process holds of memory that is its own, for whoever watches it.
 * Reads /proc. THREADS: any.
 */
#pragma once

#include <sys/types.h>
#include "core/base.h"

/* Bytes of RssAnon: what a worker's limit is about, without pages of files. 0: it has gone. */
uint64_t worker_memory_held(pid_t pid);
