/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts.h - a note beside the log: copies of its symbol, schema and mark frames ("facts"; ticks are
 * none), so that a start does not have to look for them between the rows of a large file.
 *
 * <state_directory>/facts holds journal frames as they stand in the log, back to back, in order:
 *
 *   tick, fact, fact, …, tick, fact, …, tick
 *
 * A tick mark counts the facts before it in its incarnation. So the note proves itself: between its
 * first tick and a later one stand exactly as many facts as the two differ by, each with a right
 * CRC of this instance, in ascending positions. What follows the last tick for which that holds is
 * not believed (a power cut took a part of it, a bit flipped), and neither is anything of it for a
 * file whose own first tick counts otherwise (logscan_skim). It holds nothing that the log does
 * not: without it, or with a damaged one, a start is slower and finds the same.
 *
 * WRITING. One reader of the durable journal, not the log thread, hands every frame of this
 * incarnation over. Facts are written with a tick behind them, at most once a second, and synced; a
 * second's facts may be missing after a power cut, and are looked for in the log. The note begins
 * anew with each incarnation, and after an end of day once it is large. An error of the disk ends
 * the writing; so does a hole in what is handed over. Only frames below the durable position may
 * be handed over: else it would know marks that a crash took from the log.
 *
 * Owner: one thread each.
 */
#pragma once

#include "core/frame.h"
#include "core/io.h"

#define FACTS_NAME "facts"

struct facts_writer {
    struct io *io;
    char path[1200];
    int fd;
    bool off, begun, renew;
    uint64_t at;    /* bytes in the file */
    uint64_t count; /* as the next tick must say */
    uint8_t *pending;
    size_t bytes, room;
    int64_t flushed;
    int error; /* that ended it: -errno */
};
void facts_open(struct facts_writer *w, struct io *io, const char *state_directory);
/* Every frame in order; of a data frame only the header is looked at. now: monotonic. */
void facts_frame(struct facts_writer *w, const struct frame *f, int64_t now);
void facts_lost(struct facts_writer *w); /* frames were not to be had: no more is written */
void facts_close(struct facts_writer *w);

struct facts { /* what could be believed: from a tick to a tick */
    uint8_t *frames;
    size_t bytes;
    uint64_t first, last; /* positions of the two; the same when there is one */
};
/* False: there is nothing of use (then nothing is to be freed). */
bool facts_load(struct facts *k, struct io *io, const char *path, uint64_t instance);
void facts_free(struct facts *k);
/* The frame behind f; NULL behind the last. f NULL: the first. */
const struct frame *facts_next(const struct facts *k, const struct frame *f);

/* Is it a fact? Or a tick, and how many facts stand before it (false: an old writer's, that does
 * not say)? */
bool facts_is(const struct frame *f);
bool facts_before(const struct frame *tick, uint64_t *n);
