/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writedown.h - makes a partition of a (calendar, day) and publishes it: from the RDB's memory, or
 * from the log (an incomplete day, a rebuild). The bytes are the same whatever the source.
 *
 *     w = writedown_create(&config, &err)
 *     writedown_start(w, &job, &err)              plans; nothing is on disk yet
 *     while ((v = writedown_step(w)) == WRITEDOWN_MORE)   bounded steps
 *     v == WRITEDOWN_STAGED: writedown_publish(w, &err), then writedown_result(w)
 *     v == WRITEDOWN_DONE:   there was nothing to publish (no rows, or all of it is in already)
 *     v == WRITEDOWN_FAILED: writedown_error(w); the stage is removed; start again when it suits
 *     writedown_abandon(w)                        at any time: cancels, removes the stage
 *
 * ORDER of the rows: text of the symbol (bytes, null first), then time (null first), then arrival.
 * Arrival: rows of the partition that exists, then parts in the order of their first frames.
 *
 * WHICH TABLES. job.tables, by name; rows of others are not looked at. Tables without rows are
 * written empty. When none has a row nothing is written at all (result.nothing).
 *
 * COLUMNS. Those of the table's schema in the job; then those that only older versions of the day
 * or the existing partition have. Where a version lacks a column its rows are null there; where its
 * type is another one and no value is lost by it (boolean byte short int -> a wider integer, real
 * -> float) the values are converted; else the old values stand in a column of their own, NAME_TYPE
 * (price_int).
 *
 * KEYED TABLES: the last row of each key, by arrival.
 *
 * WHAT EXISTS. Per table of the date:
 *   its marker covers the journal range of the job: it is in already; result says `already`, and
 *   its rows and hash are the marker's (mode REBUILD does it again all the same)
 *   it has no rows                                 replaced
 *   mode REBUILD                                   replaced, if its sources all lie in the job's
 *                                                  range; else refused (policy SUPERSEDE: replaced)
 *   table.ours (the catalogue says that Penstock wrote it), or its marker says that this instance
 *   has loaded a batch into it, or policy MERGE
 *                                                  merged: existing rows and new ones in one order
 *   policy SUPERSEDE                               replaced
 *   policy REFUSE                                  an error that names the table
 *
 * A CRASH anywhere leaves each table old or new. Doing the job again does what is missing: tables
 * that were published have the range in their marker (hdb_publish.h cleans the stage).
 *
 * MEMORY: 4 bytes a row of the largest table, 16 to 32 more for rows of symbols whose times
 * descend (at most for 32 Mi rows, or one symbol's, at a time), 9 to 17 more in keyed tables; for the column that is being
 * written twice its bytes, at most config.buffer_bytes a thread; from the log config.log_bytes for
 * the rows of one pass: a day that does not fit is read again for each further part of it (tables,
 * then ranges of symbols, then ranges of time).
 *
 * DURABILITY. The caller starts a job only when the journal is durable up to job.end. `sym` is
 * extended and synced first, up to the highest id that the rows use, and backed up; then files,
 * then `.d`, then directories; then the renames. WRITEDOWN_STAGED means: all synced.
 *
 * THREADS. create … abandon: one thread (the writedown thread). writedown_progress and
 * writedown_cancel: any thread. config.threads - 1 more threads are started inside a step and
 * joined before it returns. It never exits and takes no lock of others; who holds hdb_lock is the
 * caller. In the RDB's memory it reads below the given rows only; the day must stay pinned.
 */
#pragma once

#include "core/atomics.h"
#include "content_hash.h"
#include "cursor.h"
#include "hdb.h"
#include "hdb_sym.h"
#include "rdb_map.h"

#define WRITEDOWN_THREADS 4u
#define WRITEDOWN_TABLES  1024u

struct writedown_config {
    struct io *io; /* the writedown thread's own: names, small files, synchronous calls */
    /* One backend each for column files, all different; NULL: made (io_best_create). */
    struct io *column_io[WRITEDOWN_THREADS];
    struct hdb *hdb;
    unsigned threads;      /* 0 = 1 */
    uint64_t buffer_bytes; /* 0 = 1/16 of the machine's memory, 64 MiB to 1 GiB; at least 1 MiB */
    uint64_t log_bytes;    /* 0 = 1 GiB; at least 4 MiB */
    bool buffered;         /* through the page cache; default: O_DIRECT where the disk has it */
    const char *producer;  /* "penstock 0.1.0" */
};

enum writedown_policy { WRITEDOWN_REFUSE, WRITEDOWN_MERGE, WRITEDOWN_SUPERSEDE };

struct writedown_table {
    const struct schema *schema; /* the newest; copied */
    bool ours;                   /* the catalogue: Penstock wrote this table of this date */
};
struct writedown_part { /* of the RDB, as in the cut behind the day's end */
    uint32_t slot, rows;
    uint16_t table;
};
struct writedown_log {
    const char *dirs[CURSOR_DIRS]; /* log_directory, spill_directory; or those of copied files */
    const char *prefix;
    uint64_t from; /* where reading starts: job.first, or below; 0 = at the first file of the day */
};

struct writedown_job {
    const char *calendar;
    int32_t day;
    uint64_t instance, first,
        end;          /* the journal range [first, end) whose rows of `day` these are */
    const char *kind; /* in the marker: "eod", "rebuild" */
    bool rebuild;     /* mode REBUILD */
    uint64_t epoch;
    enum writedown_policy policy;
    const struct writedown_table *tables;
    unsigned ntables;
    struct hdb_sym *sym; /* of this journal's ids */
    /* Source: parts in the RDB's memory; or, when log is not NULL, the log. */
    const struct rdb_map *map;
    const struct writedown_part *parts;
    unsigned nparts;
    hdb_sym_source text; /* ids of the parts -> text; not asked when log is set */
    const void *text_arg;
    const struct writedown_log *log;
};

/* Plain values are copied, names too; what map, sym, text and the config's pointers lead to must
 * stay until the job is over. */
struct writedown *writedown_create(const struct writedown_config *cfg, struct err *err);
void writedown_destroy(struct writedown *w); /* abandons */

bool writedown_start(struct writedown *w, const struct writedown_job *job, struct err *err);
enum writedown_verdict { WRITEDOWN_MORE, WRITEDOWN_STAGED, WRITEDOWN_DONE, WRITEDOWN_FAILED };
/* At most one column of one table, some 64 MiB of the log, or one sync. A cancel is seen within
 * milliseconds. */
enum writedown_verdict writedown_step(struct writedown *w);
/* The renames. False: nothing or some whole tables are published; start the job again. */
bool writedown_publish(struct writedown *w, struct err *err);
void writedown_abandon(struct writedown *w);
/* The next step fails with -ECANCELED. */
void writedown_cancel(struct writedown *w);
/* After FAILED: code and sentence. -ENOSPC and -EDQUOT: the volume is full; -ECANCELED;
 * -EEXIST: policy REFUSE; else the disk's or -EBADMSG (what exists or the log is damaged). */
const struct err *writedown_error(const struct writedown *w);

struct writedown_table_result {
    char name[SCHEMA_NAME_MAX];
    bool already, merged, replaced, empty;
    uint64_t rows;  /* in the partition */
    uint64_t added; /* of them from this source */
    struct content_sum
        in;              /* the rows of this source, all of them (keyed: before the last counts) */
    struct hash128 hash; /* of the partition's rows: the marker's */
    bool captured;       /* receive times count in it (content_hash.h) */
    bool has_hash;       /* false: `already`, and the marker has none */
    uint64_t bytes;      /* written */
    double seconds;
};
struct writedown_result {
    bool nothing; /* no rows: no partition */
    bool already; /* every table was in already */
    uint64_t rows, bytes;
    double seconds; /* from start to staged */
    double publish_seconds;
    unsigned passes;     /* over the log; 0 = from memory */
    uint64_t lost_bytes; /* of the journal's range that the log has not got: rows may be missing */
    char note[300];      /* the publisher's, see hdb_publish.h */
    unsigned ntables;
    const struct writedown_table_result *table;
};
/* After DONE or publish; valid until the next start. */
const struct writedown_result *writedown_result(const struct writedown *w);

struct writedown_progress {
    char step[24]; /* "idle" "plan" "log" "sym" "order" "columns" "hash" "sync" "staged" "publish"
                      "done" "failed" */
    char table[SCHEMA_NAME_MAX];
    unsigned tables, tables_done;
    uint64_t rows, rows_done, bytes; /* rows: known after planning (from the log: as it is read) */
};
void writedown_progress(const struct writedown *w, struct writedown_progress *out);
