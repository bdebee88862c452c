/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.h - the task `merge`: columns of one (date, table) of a batch to their places.
 *
 * Each column: the existing partition's values first, then each file's, permuted by <index>/place,
 * symbols enumerated, missing ones typed nulls, narrower types widened; written to the
 * merge directory in large aligned writes past the page cache, and synced. One column at a time:
 * several tasks may merge different columns of one table at once, and a task that is given several
 * fills one while the other is being written.
 *
 * Arguments: {"index": directory that the index task filled, "columns": [names],
 *             "memory": bytes for the column buffers (0 = 512 MiB), "buffered": b}
 * Result:    {"columns": [[name, bytes, seconds], …], "rows", "bytes", "seconds"}
 *
 * THREADS: any; a call owns what it opens. Errors: -EBADMSG a column of a file is damaged;
 * -ESTALE the index is not there or damaged, or the existing partition is no longer the one that
 * was indexed: run index and all merges of this (date, table) again.
 */
#pragma once

#include "task.h"

bool load_merge_run(const json_t *args, struct load_progress *progress, json_t **result,
                    struct err *err);
