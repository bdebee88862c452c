/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.h - <state_directory>/load.manifest: the loader's write-ahead list. What is written here
 * and synced has happened or will be done again; what is not, never happened.
 *
 * FORMAT: append-only lines `CCCCCCCC {json}\n`, CCCCCCCC = CRC-32C (as the catalogue's) of the
 * JSON text, in hex. What the objects mean is the orchestrator's (store.c says it); this module
 * knows three:
 *   {"load":1,"instance":"16 hex digits"}   the first line: format and whose it is
 *   {"synced":N}                            everything below byte N was durable when it was written
 *   {"whole":N}                             the last of the lines of a compacted file: N lines
 *
 * DAMAGE. A line that is not whole ends the file: it and what follows were not synced (a torn tail)
 * and are cut off. If a later line says that the place was durable, the file is damaged: opening
 * says so and refuses, because a batch that is forgotten would be loaded twice; the sentence says
 * what can be done. A format number above ours is refused by name (DESIGN §13).
 *
 * WRITING. load_manifest_add only collects; load_manifest_sync writes what was collected with one
 * write and one fdatasync, and reports durable only then. After an error nothing in that file is
 * believed: the next sync rewrites it whole from `content` (temporary, synced, renamed). So any
 * number of state changes in one round cost one sync.
 *
 * Owner: the loader thread. All through struct io.
 */
#pragma once

#include <jansson.h>
#include "core/io.h"

#define LOAD_MANIFEST_NAME   "load.manifest"
#define LOAD_MANIFEST_FORMAT 1
#define LOAD_MANIFEST_BYTES  (1ull << 30) /* a file may not be larger */

struct load_manifest {
    struct io *io;
    char path[1100], directory[1024];
    uint64_t instance;
    int fd; /* -1: the next sync rewrites */
    uint64_t size;
    uint64_t lines, live; /* in the file; those that the owner says still count */
    bool torn;            /* a tail was cut off at opening */
    char *pending;
    size_t npending, room;
    uint64_t npending_lines;
    uint64_t syncs, rewrites, failed; /* figures */
    int error;                        /* of the last sync: 0 or -errno */
    /* Adds (load_manifest_line) every line that still counts, for a rewrite. */
    bool (*content)(void *arg, struct load_manifest *m);
    void *arg;
    bool rewriting;
};

/* Opens or creates; calls `line` for every object in order (false: err is set, opening fails). */
bool load_manifest_open(struct load_manifest *m, struct io *io, const char *state_directory,
                        uint64_t instance,
                        bool (*line)(void *arg, const json_t *o, struct err *err),
                        bool (*content)(void *arg, struct load_manifest *m), void *arg,
                        struct err *err);
void load_manifest_close(struct load_manifest *m); /* what was not synced is lost */
/* Takes o (NULL: no memory). Collected, not written. False: no memory; the next sync rewrites. */
bool load_manifest_add(struct load_manifest *m, json_t *o);
/* Within `content` only: the same, into the new file. */
bool load_manifest_line(struct load_manifest *m, json_t *o);
/* 0: all that was added is durable. -errno: nothing of it is known to be; call again. */
int load_manifest_sync(struct load_manifest *m);
bool load_manifest_dirty(const struct load_manifest *m);
/* Rewrites when most lines are stale. */
int load_manifest_compact(struct load_manifest *m);
