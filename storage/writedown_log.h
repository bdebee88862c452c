/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writedown_log.h - reading the log for a writedown: surveys a day, collects the rows of a pass
 * into columns (struct wd_logpart, partition.h). Private to the writedown. One thread.
 */
#pragma once

#include "partition.h"
#include "writedown.h"

struct wd_unit {
    unsigned table;
    unsigned pass; /* over the log that collects its rows */
    bool ranged;   /* part of a table: symbols of rank [rank_lo, rank_hi) … */
    bool timed;    /* … and of that one symbol times [time_lo, time_hi] */
    uint32_t rank_lo, rank_hi;
    int64_t time_lo, time_hi;
};

struct wd_count { /* rows of one symbol of one table, when the day does not fit */
    uint64_t bytes;
    uint32_t rows;
    uint32_t stride; /* sampling: each stride-th time is kept */
    int64_t *sample;
    uint32_t samples, seen;
};

struct wd_log_table {
    const struct schema *schema;
    uint64_t rows, bytes;   /* over all versions, and what they need in memory */
    struct wd_count *count; /* by code (0: null); survey */
    uint32_t counts;
    const struct wd_unit *unit; /* collecting: only these rows; NULL: none of this table */
    bool all;                   /* collecting: every row */
};

enum wd_log_mode { WD_COLLECT, WD_SURVEY, WD_SAMPLE };

struct wd_log {
    struct cursor cursor;
    bool open, full; /* full: collecting has met the end of its memory */
    enum wd_log_mode mode;
    struct io *io;
    uint16_t day;
    uint16_t version[TABLE_MAX]; /* table ids with rows, in the order of their first rows */
    unsigned versions;
    bool seen[TABLE_MAX];
    uint64_t from, first, end; /* reading starts at from; rows of frames in [first, end) count */
    uint64_t reached;          /* end of the last frame read */
    uint64_t lost_bytes, bad_rows, rows, bytes;
    uint32_t ids; /* highest symbol id that a row uses + 1 */
    unsigned passes;
    uint8_t *base; /* the region: anonymous memory, bump-allocated, offsets from base */
    uint64_t region, used;
    struct wd_log_table *table;
    unsigned ntables;
    struct wd_logpart **part; /* of this pass, in the order of their first rows */
    unsigned parts, part_room;
    int16_t *by_id;        /* table id -> index in `table`; -1 not of the job, -2 not looked up */
    int32_t *part_by_id;   /* table id -> index in `part`, -1 = none yet */
    const uint32_t *ranks; /* by code, with `codes`: ranged units */
    const struct wd_symbols *codes;
};

bool wd_log_open(struct wd_log *l, struct io *io, const struct writedown_job *job, uint64_t region,
                 const struct wd_log_table *tables, unsigned ntables, struct err *err);
void wd_log_close(struct wd_log *l);
/* Memory that so many rows of one table take, `bytes` being that of their values. */
uint64_t wd_log_cost(uint64_t rows, uint64_t bytes);
/* From the start again. Collecting: set table[].unit / all first; what was collected goes. */
bool wd_log_begin(struct wd_log *l, enum wd_log_mode mode, struct err *err);
/* Some 64 MiB of frames. 1: more; 0: the end; -1: failed. */
int wd_log_step(struct wd_log *l, const _Atomic bool *cancel, struct err *err);
