/* SPDX-License-Identifier: Apache-2.0 */
/*
 * day_load.h - what the thread `loader` asks of the day: the writedown thread is the database's one
 * writer, so it extends `sym` and publishes batches, between ends of day.
 *
 *   loader: day_load_give(y, &request)   one at a time; copied
 *     control (day_tick): when the journal is durable up to request.position, the database is
 *       loaded and the writedown thread is idle, the request is given to it. Before rebuilds,
 *       behind ends of day that wait, unless the loader holds them (day_load_hold)
 *       writedown thread: under the database's lock
 *     control: MOVE that is DONE: the epoch is counted (queries see the batch from here on), a
 *       `loaded` line for each (date, table) goes to the catalogue: such partitions are ours
 *   loader: woken, day_load_take(y, &answer)
 *
 * THREADS. Every function: any thread; one lock, held for moments. `wake` is called by control.
 */
#pragma once

#include "storage/load/publish.h"

struct day;

enum day_load_kind {
    DAY_LOAD_SYM = 1, /* `sym` backed up, then extended up to `ids` in one append */
    DAY_LOAD_MOVE,    /* publish.h; with move.discard: the merge directories go */
    DAY_LOAD_SWEEP,   /* once after a start: merge directories of batches that nobody claims go */
};

struct day_load_request {
    enum day_load_kind kind;
    uint64_t position;     /* the journal must be durable up to here */
    uint32_t ids;          /* SYM: journal ids below this */
    int32_t date;          /* SYM: names the backup: the batch's newest date */
    struct load_move move; /* MOVE: table[] is copied too */
    const char *prefix;    /* SWEEP: keys of this instance begin with it */
    const char *const *keep;
    unsigned nkeep;
};
struct day_load_answer {
    enum day_load_kind kind;
    struct err err; /* SYM, SWEEP; code 0: done. A database that is not loaded is waited for */
    uint32_t symbols, fresh; /* SYM: names in `sym` now; how many of them are new */
    struct load_moved moved; /* MOVE; .stale: the answer's own, free it with day_load_answer_free */
    uint64_t epoch;          /* MOVE that is DONE */
};

/* Called by control whenever there is an answer. Set it before the first request. */
void day_load_listen(struct day *y, void (*wake)(void *arg), void *arg);
/* False: one is under way (or an answer was not taken), no database is configured, or no memory. */
bool day_load_give(struct day *y, const struct day_load_request *r, struct err *err);
/* False: not yet. */
bool day_load_take(struct day *y, struct day_load_answer *out);
void day_load_answer_free(struct day_load_answer *a);
/* A request that the writedown thread has not begun is taken back: true. */
bool day_load_withdraw(struct day *y);
/* The writedown thread begins nothing else until it is released (ends of day, rebuilds, checks of
 * retention), at most DAY_LOAD_HOLD_NS: for a batch that was stale again and again. */
#define DAY_LOAD_HOLD_NS (600ll * 1000000000)
void day_load_hold(struct day *y, bool hold);
/* The highest commit number of a batch that the catalogue knows to be in: a loader whose manifest
 * was lost must not give it out again, as the markers would say that such a batch is in already. */
uint64_t day_load_commits(struct day *y);
/* Is the database open? False: *why is the sentence. */
bool day_load_ready(struct day *y, struct err *why);
