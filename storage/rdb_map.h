/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdb_map.h - reading the RDB: in another process from its sealed memfd, or in the daemon itself.
 *
 *     struct rdb_map m;  rdb_map_attach(&m, fd, &err)
 *     struct rdb_part_view p;  rdb_part_open(&m, slot, table, day, rows, &p, &err)   for each part
 *     for (c = 0; c < p.chunks; c++)  rdb_chunk_open(&p, c, &k): k.rows rows, k.col[i] = values
 *     rdb_list_open(&p, sym, &l); while ((n = rdb_list_next(&l, &ids)))  ids[0..n) ascending
 *
 * Which parts and how many rows of each: the query's cut (core/cut.h: slot, table, day, rows), or
 * rdb_cut_read in the daemon. Nothing at or above `rows` is ever shown. The rows stay as they are
 * while the day is pinned; without a pin a slot may be given to other rows at any time, and what is
 * read is garbage - but never a crash: every offset is checked against the memfd before it is
 * followed, lengths are clipped, chains are bounded. The memfd is sealed, so what is in bounds is
 * there.
 *
 * Threads: a map is read by any number of them; views and lists belong to their thread and hold
 * pointers into the map. Nothing here allocates but rdb_map_attach's mapping, and nothing writes.
 * Errors: false / 0 / NULL = corrupt or no such thing; `err`, where there is one, says which.
 */
#pragma once

#include "rdb_layout.h"

struct rdb_map {
    const uint8_t *base;
    uint64_t bytes, parts_at;
    uint32_t symbols_max;
    int fd; /* -1: borrowed from the owner */
};

/* Maps a memfd received from the daemon. On true the map owns fd. */
bool rdb_map_attach(struct rdb_map *m, int fd, struct err *err);
void rdb_map_close(struct rdb_map *m);

/* ---- the cut (in the daemon; a query process gets its own from control) ---- */

struct rdb_cut {
    uint64_t position, serial;
    int64_t time;
    uint32_t nparts;
    struct {
        uint32_t rows, generation; /* generation 0: no part here */
    } part[RDB_PARTS];
};
/* All tables at one position. False: the writer stood still inside its few stores (it was stopped
 * there); keep the cut before. */
bool rdb_cut_read(const struct rdb_map *m, struct rdb_cut *cut);

/* Who the part of a slot of that cut is. False: none, or it has been released since. */
struct rdb_part_name {
    uint32_t slot, generation, day_slot;
    uint16_t table, day, calendar;
    char name[SCHEMA_NAME_MAX];
};
bool rdb_part_name(const struct rdb_map *m, uint32_t slot, uint32_t generation,
                   struct rdb_part_name *out);

/* ---- a part ---- */

struct rdb_part_view {
    const struct rdb_map *map;
    const struct rdb_part *part;
    uint32_t slot, rows, chunks; /* chunks that hold rows below the cut */
    uint32_t syms;               /* symbol ids with rows lie below it */
    uint32_t keys; /* keyed tables: key numbers 0..keys-1; some may have no row below the cut */
    uint32_t qualities;    /* bit mask of enum clock_quality over its rows (or some later) */
    uint64_t string_bytes; /* at least those of its strings */
    struct schema schema;  /* a checked copy */
    uint8_t width[SCHEMA_COLUMNS_MAX];
};
/* table, day: what the cut says; false when the slot holds something else, or is corrupt. */
bool rdb_part_open(const struct rdb_map *m, uint32_t slot, uint32_t table, uint32_t day,
                   uint32_t rows, struct rdb_part_view *v, struct err *err);

/* ---- columns ---- */

struct rdb_chunk_view {
    uint32_t first, rows;       /* rows first .. first + rows - 1, all below the cut */
    int64_t time_min, time_max; /* bounds of `time`, never too narrow */
    bool ascends; /* no row's time lies below that of the row before it in the chunk */
    const void *col[SCHEMA_COLUMNS_MAX]; /* 64-byte aligned; `rows` values each */
};
bool rdb_chunk_open(const struct rdb_part_view *v, uint32_t chunk, struct rdb_chunk_view *out);
/* One value; for many rows use chunks. NULL: no such row or column. */
const void *rdb_value(const struct rdb_part_view *v, uint32_t row, unsigned column);
/* The bytes of a string value (the u64 of its column). NULL: out of bounds. */
const char *rdb_string(const struct rdb_map *m, uint64_t value, uint32_t *len);

/* ---- row lists ---- */

struct rdb_list_view {
    const struct rdb_map *map;
    uint64_t next, prev; /* block to come, forward and backward */
    uint32_t done, left; /* row numbers before them */
    uint32_t rows, seen; /* the cut; entries of the list when it was opened */
    uint32_t count;      /* of them below the cut: the number of rows of this symbol or key */
};
/* PST_NULL_SYMBOL: the rows without a symbol. A symbol without rows: true and count 0. */
bool rdb_list_open(const struct rdb_part_view *v, uint32_t sym, struct rdb_list_view *l);
bool rdb_key_open(const struct rdb_part_view *v, uint32_t key, struct rdb_list_view *l);
/* The next row numbers, ascending, from the first on; 0 at the end. */
uint32_t rdb_list_next(struct rdb_list_view *l, const uint32_t **ids);
/* The same from the end: blocks from last to first, within a block still ascending. Independent of
 * rdb_list_next. */
uint32_t rdb_list_prev(struct rdb_list_view *l, const uint32_t **ids);
/* The last row below the cut; false: none. */
bool rdb_list_last(const struct rdb_part_view *v, uint32_t sym, uint32_t *row);
/* The same of n symbols at once; UINT32_MAX: none. */
void rdb_list_lasts(const struct rdb_part_view *v, const uint32_t *sym, uint32_t n, uint32_t *row);
bool rdb_key_last(const struct rdb_part_view *v, uint32_t key, uint32_t *row);
/* Rows of a symbol without walking the list. */
uint32_t rdb_list_count(const struct rdb_part_view *v, uint32_t sym);
