/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.h - a batch becomes part of the database: all its dates and tables
 * under one epoch, or none of them.
 *
 *   <disk>/pst$/load/<batch>/<date>/<table>/   what index and merge made: synced columns, .pstmeta
 *   <root>/pst$/publishing                     the intent: written and synced before the first
 *                                              rename. With it, publishing is always finished;
 *                                              without it, nothing of the batch is visible
 *
 * load_publish, with the database's lock held and hdb_clean done:
 *   already    every table's marker has this commit: nothing is done; one that has it is left as
 *              it is
 *   stale      a table that exists is not the one that was merged (load_base): nothing is done, the
 *              tables are named; index and merge them again
 *   else       epoch and time into each .pstmeta, `.d` (the last file of a table); a date that is
 *              new gets the declared tables that the batch does not have, empty; all is synced; the
 *              intent is written; then a new date is renamed into place, and in a date that exists
 *              each table is exchanged (or renamed in, if it is new there); directories are synced
 *
 * load_publish_finish does the renames that a crash or an error left undone. hdb_clean calls it, so
 * whoever takes the lock next - the daemon at its start, an end of day, a verb - finishes first. A
 * table in the merge directory is still to be exchanged exactly if its .pstmeta has the intent's
 * epoch: the one that it replaced has a lower one. Doing it twice changes nothing.
 *
 * QUERIES see all or nothing: a partition whose epoch is above a query's cut makes it take a new
 * one, and control counts the epoch only when the last rename is done.
 *
 * Then load_publish_tidy deletes the batch's merge directories with the tables that were replaced.
 * The intent stays until the next batch's: a start learns from it which epoch to count at least.
 *
 * MARKER: .pstmeta's source {instance, "load", first, end}, commits counted from 1 in the order of
 * publication, joined into one range. They are no journal positions (hdb_meta.h).
 *
 * THREADS: that of whoever holds the database's lock, which owns all of it; all through struct io.
 */
#pragma once

#include "hdb_publish.h"
#include "index.h"

struct load_move_table {
    int32_t date;
    char table[SCHEMA_NAME_MAX];
    char base[LOAD_BASE_TEXT]; /* of the index task's result */
};
struct load_move {
    char batch[LOAD_BATCH_MAX + 1];
    uint64_t instance, commit; /* commit: from 1, ascending, the same when it is tried again */
    const struct load_move_table *table;
    unsigned n;
    bool discard; /* nothing is published: the batch's merge directories go (cancelled, failed) */
    void (*beat)(void *arg); /* called for each date while it is made ready; may be NULL */
    void *beat_arg;
};

enum load_verdict { LOAD_DONE, LOAD_STALE, LOAD_FAILED };

struct load_moved {
    enum load_verdict verdict;
    bool already; /* DONE: it was in before */
    bool *stale;  /* [n] of the move; the caller's memory, may be NULL */
    unsigned tables, exchanged;
    uint64_t rows;  /* in the partitions that it went into */
    double seconds; /* of the renames: how long names changed */
    char note[300]; /* the filesystem cannot exchange directories */
    struct err err; /* STALE: which; FAILED: why; -ENOSPC, -EIO …: try again */
};

/* epoch: above all counted ones. schemas: the declared tables, for dates that are new. lockfile:
 * key hdb_lockfile, NULL = none: it is there before the intent and goes when the last name is as it
 * will be; where an error or a crash comes between it stays, for who calls hdb_clean to remove
 * behind it. *published: the intent is written: the epoch is used, whatever the
 * verdict. */
void load_publish(struct io *io, struct hdb *h, const struct load_move *m, uint64_t epoch,
                  const char *calendar, const struct schema *const *schemas, unsigned nschemas,
                  const char *lockfile, bool *published, struct load_moved *out);
/* Merge directories of a batch that is published or given up. */
bool load_publish_tidy(struct io *io, struct hdb *h, const char *batch, struct err *err);
/* The intent, if there is one: *epoch = its epoch, else 0. finish: does what is undone. fn gets a
 * sentence when there was something. */
bool load_publish_finish(struct io *io, struct hdb *h, bool finish, uint64_t *epoch,
                         void (*fn)(void *arg, const char *sentence), void *arg, struct err *err);
/* Deletes merge directories of batches that are not among `keep`. Only keys that begin with
 * `prefix`: those of this instance. The intent's too, once all of it is in place (a stop between
 * the last rename and load_publish_tidy left them). */
bool load_publish_sweep(struct io *io, struct hdb *h, const char *prefix, const char *const *keep,
                        unsigned n, unsigned *deleted, struct err *err);
