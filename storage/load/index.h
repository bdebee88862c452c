/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - the task `index`: the order of the rows of one (date, table) of a batch.
 *
 *   existing partition ┐
 *   file 1, file 2, …  ┴─► order by symbol TEXT (null first), time (null first), arrival
 *                          ├─► <index>/place, <index>/index.json     for the merge tasks
 *                          └─► columns `time` and `sym`, .pstpart, .pstmeta
 *                                                                 in the merge directory
 *
 * Order, columns, keyed tables and bytes are those of writedown.h: the same code makes them.
 * Existing rows arrive before the files', files in the order given.
 *
 * MERGE DIRECTORY: <disk>/pst$/load/<batch>/<date>/<table> on the disk where the date lies or
 * belongs, so that publishing is a rename (publish.h; q and hdb.h never look into names that end in
 * `$`). What an earlier run left there is removed. `.d` is missing until the batch is published.
 *
 * PLACE: the permutation as its inverse: integer r says where row r goes, rows
 * counted through the existing partition and then the files; all ones: nowhere (a keyed table's row
 * that a later one replaced). Width: 1 byte below 128 rows, 2 below 32,768, 4 below 2^31, else 8.
 * No header. Scattering by it reads and writes every cache line once where gathering by the grade
 * would read one a value.
 *
 * SPEED. Files whose times ascend are merged by time in windows that stay in the second-level cache
 * while their rows are counted out to the symbols' places; only symbols whose times descend then
 * (an existing partition with later rows, files out of order) are sorted.
 *
 * MEMORY: 4 bytes a row, and a buffer for the column that is being written (args.memory; a column
 * that does not fit is written in several passes); 16 to 32 more for rows that are sorted, at most
 * args.memory, or one symbol's, at a time; 9 to 17 in keyed tables.
 *
 * CONTENT HASH: the existing partition's and the sums of the files' results, where
 * that is exact: no keys, no converted column, no mix of rows with and without receive times. Else
 * it is computed again from all columns here.
 *
 * Arguments:
 *   {"database": root, "date": "2024.01.02", "table": schema as schema_to_json makes it,
 *    "calendar": "us", "instance": "16 hex", "batch": key, "commit": n,
 *    "files": [directory of each read task, in the order of arrival],
 *    "index": directory for place and index.json (made; below the load's temporary directory),
 *    "existing": "refuse" | "merge" | "supersede"      key existing_partition
 *    "supersede": true                                 a correction: what exists is replaced
 *    "memory": bytes for the column buffer (0 = 512 MiB), "buffered": b (default false),
 *    "threads": n (default 1; more where other workers have nothing to do meanwhile)}
 *
 * A table that exists is merged when Penstock wrote it (its .pstmeta names a source) or has no rows
 * (then it is replaced), else as `existing` says; refuse is -EEXIST, not retryable.
 *
 * Result:
 *   {"date","table","rows": in the partition, "added": rows of the files, "existing": rows,
 *    "merged": b, "replaced": b, "base": identity for load_move_table,
 *    "hash","time_min","time_max", "sorted": rows that had to be sorted, "width": 4,
 *    "bytes": written, "seconds",
 *    "columns": [[name, type, bytes], …]}    those left for merge tasks, the largest first
 *
 * Errors besides the disk's: -ENOENT a file's result is missing, -EBADMSG damaged (run that read
 * again), -ENOKEY a symbol is not in `sym` (intern first), -ESTALE the partition was replaced while
 * it was read (run index again), -EEXIST as above, -EFBIG 2^32 - 1 rows or more.
 */
#pragma once

#include "task.h"

#define LOAD_INDEX_FORMAT 1
#define LOAD_SIDE_DIR     "pst$/load" /* below each disk */
#define LOAD_BATCH_MAX    64u         /* bytes of a batch's key: letters, digits, '-', '_', '.' */
#define LOAD_BASE_TEXT    80u

bool load_index_run(const json_t *args, struct load_progress *progress, json_t **result,
                    struct err *err);

/* "absent", or what tells this table directory from any other that ever has its name: device,
 * inode, when it was made what it is, CRC of its .pstmeta. */
bool load_base(const char *table_dir, char out[LOAD_BASE_TEXT], struct err *err);
/* Letters, digits, '-', '_', '.', not starting with '.', 1 … LOAD_BATCH_MAX bytes. */
bool load_batch_key_good(const char *batch);
/* <disk>/pst$/load/<batch>, and below it <date>/<table> when table is not NULL. */
bool load_merge_dir(const char *disk, const char *batch, int32_t date, const char *table,
                    char out[1200]);
