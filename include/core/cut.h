/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut.h - what one query sees: every row below one journal position, each in exactly one place.
 *
 * Control makes it (control/pins.h), sends it over the query process's socketpair as one message of
 * `bytes` bytes, and holds what it names until the query's end. Plain memory, little endian, no
 * pointers; a receiver checks it with cut_ok before anything else.
 *
 * WHERE A ROW IS READ. A (table, day) whose parts stand in part[] is read from the RDB: of each
 * part its first `rows` rows and nothing above. Every other (table, day) is read from the HDB. So a
 * day that was published but whose switch lies behind this cut is still read from the RDB, and
 * never from both. Table names: the part's own schema (rdb.h); several versions of one table are
 * several parts, and one of them in part[] moves the whole (table, day) to the RDB.
 *
 * HDB EPOCH. Each publication has a number, in its partition's marker. A partition whose epoch is
 * above `epoch` was published behind this cut: the query takes a new cut and starts again
 * (CUT_RERUNS times, a few ms apart: control counts the publication a moment after the rename).
 * So it does while the database is being loaded (after a start): its dates are not missing, only
 * late.
 *
 * HOW FAR IT GOES. position: the journal up to which the RDB has all rows. tail: the journal's end
 * when the cut was made. CUT_BEHIND and the others say what an answer has to admit (CUT_HDB_AWAY:
 * dates are missing). Gaps are rows of the table `gap`, of the same cut: who answers looks there
 * for the days and feeds it has read.
 */
#pragma once

#include "base.h"

#define CUT_MAGIC     0x0031545543545350ull /* "PSTCUT1" */
#define CUT_PARTS_MAX 16384u
#define CUT_DAYS_MAX  512u
#define CUT_ROOT_MAX  1024u
#define CUT_RERUNS    8u

enum cut_flags {
    CUT_BEHIND = 1,       /* the RDB is further behind the journal than alarms.rdb_lag */
    CUT_REBUILDING = 2,   /* the RDB still reads the log of before the start, up to rebuild_to */
    CUT_INCOMPLETE = 4,   /* some day in the RDB lacks rows: memory was full (day[]) */
    CUT_NO_HDB = 8,       /* no database is configured, or it is not loaded: root is "" */
    CUT_HDB_LOADING = 16, /* with CUT_NO_HDB: it is being loaded, ask again in a moment */
    CUT_HDB_AWAY = 32,    /* with CUT_NO_HDB: it is configured, but could not be loaded */
};

struct cut_part {
    uint32_t slot;  /* of the RDB's part directory */
    uint32_t table; /* table id, one version of a table */
    int32_t day;
    uint32_t rows;
};
enum cut_day_flags {
    CUT_DAY_CLOSED = 1, /* its end of day is in the journal, for every calendar with rows in it */
    CUT_DAY_INCOMPLETE = 2,
};
struct cut_day { /* a day that the RDB holds */
    int32_t day;
    uint32_t flags;
    uint64_t incomplete_from; /* journal position of the first row that is missing, 0 = none */
    uint64_t refused;         /* rows that are in the log but not in memory */
};

struct cut {
    uint64_t magic;
    uint32_t bytes; /* the whole, arrays included */
    uint32_t flags;
    uint64_t pin; /* whom to release; 0 = holds nothing */
    uint64_t position, tail, serial;
    uint64_t rebuild_to; /* CUT_REBUILDING: the RDB is complete when position has reached it */
    uint64_t epoch;
    int64_t lag_ns; /* age of the oldest frame that is not in the RDB, 0 = none */
    int64_t time;   /* UTC ns since 2000-01-01 when the cut was made */
    uint32_t nparts, ndays;
    char root[CUT_ROOT_MAX]; /* database root, absolute; "" = none */
    struct cut_part part[];  /* nparts; then struct cut_day day[ndays] */
};

#define CUT_BYTES(parts, days)                                                                     \
    (sizeof(struct cut) + (parts) * sizeof(struct cut_part) + (days) * sizeof(struct cut_day))

pst_inline const struct cut_day *cut_days(const struct cut *c)
{
    return (const struct cut_day *)(const void *)(c->part + c->nparts);
}

/* `bytes` were received at c (8-aligned): is it a whole cut? */
static inline bool cut_ok(const struct cut *c, size_t bytes)
{
    return bytes >= sizeof *c && c->magic == CUT_MAGIC && c->nparts <= CUT_PARTS_MAX &&
           c->ndays <= CUT_DAYS_MAX && c->bytes == bytes &&
           bytes == CUT_BYTES(c->nparts, c->ndays) && memchr(c->root, 0, sizeof c->root);
}
