/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.h - where each source stands (core/source.h): the appender's table, by the symbol of the
 * source's name.
 *
 * Owner: the appender. Anyone may ask sources_where: a copy under a sequence count (S1 release of
 * `version` pairs with S2 acquire; odd = being written). Nothing allocates.
 *
 * The table stands in the journal: a tick mark carries the sources that moved since the last full
 * states, {"sources":[["name",position,row,[[p,r,p2,r2],…]],…]} with the islands only where there
 * are any; state marks of the same form carry all of them. When more than SOURCES_TICK moved, full
 * states are written. Where the table is full, the source that has not moved for the longest time
 * is forgotten, counted in append.sources_forgotten: should it come back, it begins at 0.
 */
#pragma once

#include "core/atomics.h"
#include "core/source.h"
#include "core/symbols.h"
#include "json_put.h"

#define SOURCES_MAX  1024u
#define SOURCES_TICK 64u

struct source_slot {
    uint32_t name; /* symbol */
    bool moved;    /* since the last full states */
    uint64_t turn; /* when it moved last */
    struct source_progress p;
};

struct sources {
    pst_aligned(64) _Atomic uint64_t version; /* S1/S2 */
    uint32_t n, moved;
    uint64_t turn, forgotten;
    struct source_slot slot[SOURCES_MAX];
    uint16_t hash[4 * SOURCES_MAX]; /* index + 1 */
};

/* Appender, or control before it runs. */
struct source_progress *sources_find(struct sources *s, uint32_t name); /* NULL = at (0, 0) */
/* Moves it, making it known. */
void sources_advance(struct sources *s, uint32_t name, struct source_point to);
void sources_restore(struct sources *s, uint32_t name, const struct source_progress *p);
/* JSON of the members of the list, from *at on, as many as fit into j (NULL texts: all are written
 * when *at reaches s->n). only_moved: those alone. */
void sources_say(const struct sources *s, const struct symbols *symbols, struct json_put *j,
                 uint32_t *at, bool only_moved);
/* Full states were written. */
void sources_said(struct sources *s);

/* Any thread: where the source of that name stands. */
void sources_where(const struct sources *s, uint32_t name, struct source_progress *out);
