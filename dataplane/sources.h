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

#define SOURCE_WORDS (sizeof(struct source_progress) / 8)
_Static_assert(sizeof(struct source_progress) % 8 == 0, "copied in words");

struct source_slot {
    uint32_t name; /* symbol */
    bool moved;    /* since the last full states */
    uint64_t turn; /* when it moved last */
    struct source_progress p;
    _Atomic uint32_t shown_name;
    _Atomic uint64_t shown[SOURCE_WORDS]; /* p, for others */
};

struct sources {
    pst_aligned(64) _Atomic uint64_t version; /* S1/S2 */
    _Atomic uint32_t n;
    uint32_t moved;
    uint64_t turn, forgotten;
    struct source_slot slot[SOURCES_MAX];
    uint16_t hash[4 * SOURCES_MAX]; /* index + 1 */
};

/* Appender, or control before it runs. */
struct source_progress *sources_find(struct sources *s, uint32_t name); /* NULL = at (0, 0) */
/* Moves it, making it known. */
void sources_advance(struct sources *s, uint32_t name, struct source_point to);
void sources_restore(struct sources *s, uint32_t name, const struct source_progress *p);
/* The members of the list, from slot *at on, as many as j takes with `spare` bytes left for what
 * the caller puts behind them; *at is the slot to go on at. */
void sources_say(const struct sources *s, const struct symbols *symbols, struct json_put *j,
                 uint32_t *at, bool only_moved, size_t spare);
/* Full states were written. */
void sources_said(struct sources *s);

/* Any thread: where the source of that name stands. */
void sources_where(const struct sources *s, uint32_t name, struct source_progress *out);
