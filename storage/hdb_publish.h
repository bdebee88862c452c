/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_publish.h - how a partition becomes visible: staged beside, synced, then one rename.
 *
 *   <disk>/<date>.mark$        says that <date>$ is ours: JSON line with who and when. Written and
 *                              synced before the stage, removed after it is gone
 *   <disk>/<date>$/<table>/    the stage: complete table directories, not seen by any reader
 *   <root>/pst$/lock           flock of whoever changes the database (daemon or verb)
 *
 * Publishing: every file and directory of the stage is synced, then
 *   a date that is new   <date>$ is renamed to <date>: all tables appear at once
 *   a date that exists   table by table: a table that is new there is renamed into it, one that
 *                        exists is exchanged (renameat2 RENAME_EXCHANGE), so that readers see the
 *                        old or the new one, never neither; the old one, now in the stage, is
 *                        deleted
 *   where the filesystem cannot exchange: old -> <date>$/<table>.old$, new -> <date>/<table>; a
 *                        reader may miss the table for that moment, and `note` says so in one
 *                        sentence
 * then the parent directories are synced and the stage removed.
 *
 * A crash at any point leaves old or new; hdb_clean (at start, before each publish) deletes stages
 * whose mark is there, finishes an interrupted exchange without RENAME_EXCHANGE (puts the old table
 * back when the new one did not get in place), and leaves foreign `$` names alone. Who wrote a
 * partition twice finds its source range in .pstmeta (hdb_meta_covers) and skips it.
 *
 * Owner: one thread at a time per database, held by hdb_lock. All through struct io (ops exchange
 * and rmdir included), so that tests stop it at every step.
 */
#pragma once

#include "core/io.h"
#include "core/schema.h"
#include "hdb.h"

/* The lock of the database: a descriptor, or -EWOULDBLOCK / -errno with a sentence naming its
 * holder. Never waits. The lock ends with the descriptor. */
int hdb_lock(struct io *io, const char *root, const char *who, struct err *err);
void hdb_unlock(struct io *io, int fd);

struct hdb_stage {
    struct io *io;
    int32_t date;
    bool fresh;        /* the date does not exist yet */
    bool files_synced; /* set by who synced every file it wrote: publish syncs directories only */
    char disk[1024];
    char dir[1100];            /* <disk>/<date>$ */
    char final[1100];          /* <disk>/<date> */
    char mark[1100];           /* <disk>/<date>.mark$ */
    char note[300];            /* "" or the fallback's sentence */
    uint64_t exchanged, added; /* tables, after publish */
};

/* Creates mark and stage on the disk where the date lies or belongs. A leftover of ours is deleted
 * first; a foreign one is an error. */
bool hdb_stage_begin(struct hdb_stage *s, struct io *io, struct hdb *h, int32_t date,
                     const char *who, struct err *err);
/* Creates the table's directory in the stage and gives its path. */
bool hdb_stage_table(struct hdb_stage *s, const char *table, char dir[1200], struct err *err);
/* Writes `.d`, LAST of all files of a table. */
bool hdb_stage_names(struct hdb_stage *s, const char *table, const char *const *names, unsigned n,
                     struct err *err);
/* An empty table of that schema, complete with `.d` and .pstmeta (from `meta` if not NULL: sources,
 * calendar, epoch). */
bool hdb_stage_empty(struct hdb_stage *s, const struct schema *schema, const struct hdb_meta *meta,
                     struct err *err);
/* Fills: an empty table in the stage for each schema whose table neither the date nor the stage
 * has. */
bool hdb_stage_fill(struct hdb_stage *s, const struct schema *const *schemas, unsigned n,
                    const struct hdb_meta *meta, struct err *err);
/* Syncs what was not synced when written (every file: cheap when it was), then publishes all tables
 * of the stage and removes stage and mark. False: see the sentence; nothing, or some whole tables
 * of an existing date are published, and doing it again is right. */
bool hdb_stage_publish(struct hdb_stage *s, struct err *err);
/* One table of the stage into a date that exists: renamed in, or exchanged with the one that is
 * there. Nothing is synced. */
bool hdb_stage_put_table(struct hdb_stage *s, const char *table, struct err *err);
/* Deletes the stage and its mark. */
void hdb_stage_abandon(struct hdb_stage *s);

/* Takes a whole date out of the database at once (renamed to <date>$, marked), then deletes it. */
bool hdb_stage_withdraw(struct io *io, const char *disk, int32_t date, const char *who,
                        struct err *err);

/* What a crash left, on every disk: a batch of the loader whose publication had begun is put in
 * place (load/publish.h), stages go. fn (may be NULL) gets a sentence for each thing done or left
 * alone. Call with the lock held, on a database that was opened or refreshed with it. */
struct hdb_cleaned {
    unsigned deleted, restored, foreign;
    uint64_t loading; /* the epoch of the batch that was published last, if its intent is there */
};
bool hdb_clean(struct io *io, struct hdb *h, struct hdb_cleaned *done,
               void (*fn)(void *arg, const char *sentence), void *arg, struct err *err);

/* The optional lockfile for external readers (key hdb_lockfile): exists while a publish changes
 * names. Advisory, for shops whose loaders wait for one. NULL or "" path: nothing. */
bool hdb_lockfile_make(struct io *io, const char *path, struct err *err);
void hdb_lockfile_remove(struct io *io, const char *path);

/* Helpers of verbs and tests. */
bool hdb_sync_tree(struct io *io, const char *dir, struct err *err); /* files, then directories */
void hdb_sync_soon(struct io *io,
                   const char *dir); /* where several trees are to be synced: first */
bool hdb_remove_tree(struct io *io, const char *dir, struct err *err); /* an absent one is fine */
