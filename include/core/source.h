/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - exactly once: how far a source of rows has come.
 *
 * A source is a name (a replay, a buffer's file, a processor) whose rows come in an order of its
 * own. Its point (position, row) says: everything up to its input position `position`, and the
 * first `row` rows that it makes of what follows, is in the journal. What a position counts is the
 * source's affair (of a replay: the positions of the journal that it reads); it never falls, and
 * stays below 2^63. Made again from a point, a source must give the same rows again.
 *
 * The rows of a source are in the journal behind a derived record (record.h), which holds the
 * points before and behind the rows of its frame. The appender takes rows only where the source
 * stands; so the points in the journal form a chain. A crash can tear the chain's end: a frame can
 * be lost whose successor is there. What is there beyond a hole is an island: recovery finds it,
 * and the source is asked to send what is missing up to the island, whose rows are not taken again.
 *
 * Pure functions. Points of a progress are ascending: at <= island[0].from < island[0].to < …
 */
#pragma once

#include "base.h"

#define SOURCE_NAME_MAX     64u /* bytes: letters, digits and . _ - : / @ */
#define SOURCE_ISLANDS      16u
#define SOURCE_POSITION_MAX ((uint64_t)INT64_MAX)

struct source_point {
    uint64_t position;
    uint32_t row;
};
struct source_range {
    struct source_point from, to;
};
struct source_progress {
    struct source_point at;
    uint32_t islands;
    struct source_range island[SOURCE_ISLANDS];
};

pst_inline int source_cmp(struct source_point a, struct source_point b)
{
    return a.position != b.position ? (a.position < b.position ? -1 : 1)
           : a.row != b.row         ? (a.row < b.row ? -1 : 1)
                                    : 0;
}
pst_inline struct source_point source_point(uint64_t position, uint32_t row)
{
    return (struct source_point){position, row};
}

/* A sound name? */
static inline bool source_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (!c || !strchr("._-:/@", c)))
            return false;
    }
    return len && len <= SOURCE_NAME_MAX;
}

/* Where the source stands, behind islands that it has reached. */
static inline void source_settle(struct source_progress *p)
{
    uint32_t n = 0;
    while (n < p->islands && source_cmp(p->at, p->island[n].from) >= 0) {
        if (source_cmp(p->island[n].to, p->at) > 0)
            p->at = p->island[n].to;
        n++;
    }
    p->islands -= n;
    memmove(p->island, p->island + n, p->islands * sizeof p->island[0]);
}

/* Appender: may rows that lead from `after` to `to` come now? They must begin where the source
 * stands and not reach into an island. (`to` = `after`: nothing to say, refused.) */
static inline bool source_fits(const struct source_progress *p, struct source_point after,
                               struct source_point to)
{
    return !source_cmp(after, p->at) && source_cmp(to, after) > 0 &&
           to.position <= SOURCE_POSITION_MAX &&
           (!p->islands || source_cmp(to, p->island[0].from) <= 0);
}
static inline void source_advance(struct source_progress *p, struct source_point to)
{
    p->at = to;
    source_settle(p);
}

/* Recovery: the journal holds rows that lead from `after` to `to`. False: more islands than can be
 * remembered; this one's rows would come again. */
static inline bool source_found(struct source_progress *p, struct source_point after,
                                struct source_point to)
{
    if (source_cmp(to, p->at) <= 0)
        return true; /* known, from a mark that was written behind it */
    if (source_cmp(after, p->at) <= 0) {
        source_advance(p, to);
        return true;
    }
    uint32_t i = 0;
    while (i < p->islands && source_cmp(p->island[i].to, after) < 0)
        i++;
    if (i < p->islands && source_cmp(p->island[i].from, to) <= 0) { /* touches it: one island */
        struct source_range *r = &p->island[i];
        r->from = source_cmp(after, r->from) < 0 ? after : r->from;
        r->to = source_cmp(to, r->to) > 0 ? to : r->to;
        return true;
    }
    if (p->islands == SOURCE_ISLANDS)
        return false;
    memmove(p->island + i + 1, p->island + i, (p->islands - i) * sizeof p->island[0]);
    p->island[i] = (struct source_range){after, to};
    p->islands++;
    return true;
}
