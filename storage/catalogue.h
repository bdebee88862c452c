/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue.h - <state_directory>/catalogue: what files there are and how far each day is, so that
 * a start does not read every file. Rebuildable: losing it costs time, never data.
 *
 * FORMAT: append-only lines `CCCCCCCC {json}\n`, CCCCCCCC = CRC-32C of the JSON text in hex. A
 * later line of the same key replaces the earlier one. Objects:
 *   {"file":NAME,"spilled":B,"stream":N,"day":N,"first":N,"last":N,"state":"open|closed|poisoned"}
 *   {"removed":NAME}
 *   {"day":N,"calendar":NAME,"state":"open|closed|written","eod":P,"epoch":E,"rows":N,"at":NS,
 *    "database":B}                        all but the first three may be missing (version 1)
 *   {"epoch":E,"root":PATH}               publications counted so far in that database
 *   {"loaded":{"date":N,"table":NAME,"epoch":E,"batch":KEY,"commit":C}}   a batch of the loader
 *                                         went into it: it is ours
 *   anything else is ignored
 * A torn or damaged last line is cut off at the next append; damaged lines elsewhere are skipped
 * and counted. When more than half of many lines is stale, opening rewrites the file (temporary,
 * synced, renamed).
 *
 * THREADS: control only (and recovery before threads start). Appends are synced before they return,
 * unless `post` is set: then the lines are handed to it, and one other thread writes them with
 * catalogue_file_append and catalogue_file_replace; path, fd and size are that thread's from then
 * on. When it fails it sets `failed`, and the next change hands over the whole content.
 */
#pragma once

#include "core/atomics.h"
#include "core/io.h"
#include "log_file.h"

enum catalogue_file_state { CATALOGUE_OPEN = 1, CATALOGUE_CLOSED, CATALOGUE_POISONED };
enum catalogue_day_state { DAY_OPEN = 1, DAY_CLOSED, DAY_WRITTEN };

struct catalogue_file {
    char name[LOG_NAME_MAX];
    bool spilled;
    uint8_t stream;
    int32_t day;
    uint64_t first, last; /* last: behind the last known durable frame, 0 = unknown */
    enum catalogue_file_state state;
};
struct catalogue_day {
    char calendar[32];
    int32_t day;
    enum catalogue_day_state state;
    uint64_t eod; /* closed: position of its EOD mark, 0 = not known */
    uint64_t
        epoch; /* written: of its publication, 0 = nothing was published (no database, no rows) */
    uint64_t rows; /* written: in its partitions, all tables of the calendar */
    int64_t at;    /* UTC ns when this state was reached, 0 = not known */
    bool database; /* written: to the database; else the log alone holds it */
};

struct catalogue_loaded {
    int32_t date;
    char table[48];
    uint64_t epoch, commit; /* of the newest batch's publication */
    char batch[68];
};

struct catalogue {
    struct io *io;
    char path[1024], directory[1000];
    int fd;
    uint64_t size;               /* of the sound lines */
    struct catalogue_file *file; /* by first position, then suffix (order of appearance) */
    unsigned nfiles, cap_files;
    struct catalogue_day *day;
    unsigned ndays, cap_days;
    struct catalogue_loaded *loaded; /* by date, table */
    unsigned nloaded, cap_loaded;
    uint64_t epoch;  /* of the HDB */
    char root[1024]; /* whose it is; "" = of none yet */
    unsigned lines, bad_lines;
    bool torn; /* a damaged tail was found and cut */
    /* Takes malloc'd text; whole: it replaces what the file holds. NULL: written here and now. */
    void (*post)(void *arg, char *text, size_t len, bool whole);
    void *post_arg;
    _Atomic bool failed; /* the writer; relaxed: a line too many in a broken file harms nobody */
};

/* Opens or creates. False: the directory cannot be used (err says why); a damaged content is not an
 * error. */
bool catalogue_open(struct catalogue *c, struct io *io, const char *state_directory,
                    struct err *err);
void catalogue_close(struct catalogue *c);
/* 0 or -errno; the memory is updated in either case, and a failed append is repeated whole by the
 * next one (which rewrites the file). */
int catalogue_put_file(struct catalogue *c, const struct catalogue_file *f);
int catalogue_remove_file(struct catalogue *c, const char *name);
int catalogue_put_day(struct catalogue *c, const struct catalogue_day *d);
int catalogue_put_loaded(struct catalogue *c, const struct catalogue_loaded *l, unsigned n);
const struct catalogue_loaded *catalogue_loaded(const struct catalogue *c, int32_t date,
                                                const char *table);
/* A lower epoch of the same root changes nothing. */
int catalogue_put_epoch(struct catalogue *c, uint64_t epoch, const char *root);
/* The writer: 0 or -errno. After a failed append only a replacement is taken. */
int catalogue_file_append(struct catalogue *c, const char *text, size_t len);
int catalogue_file_replace(struct catalogue *c, const char *text, size_t len);
const struct catalogue_file *catalogue_file(const struct catalogue *c, const char *name);
const struct catalogue_day *catalogue_day(const struct catalogue *c, const char *calendar,
                                          int32_t day);
