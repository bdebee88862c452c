/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdb_layout.h - the RDB's shared memory, byte by byte. rdb.h writes it (one thread), rdb_map.h
 * reads it in any process. Source: DESIGN section 7.
 *
 * One memfd, little endian, offsets from its first byte, 0 = nothing:
 *
 *   0                 struct rdb_head
 *   head.parts_at     head.part_slots x head.part_stride bytes: struct rdb_part
 *   head.extents_at   head.extents x head.extent_bytes: everything else, bump-allocated; an extent
 *                     belongs to one day slot and no allocation crosses its end
 *
 * DAY SLOT = one (calendar, trading day) in memory; it owns extents. PART = the rows of one table
 * version in one day slot. A day has a part more for each schema change; and after rows of a closed
 * day, a second day slot (enum rdb_day_state).
 *
 * ROWS of a part are numbered from 0 in the order of the journal (u32) and cut into chunks:
 *   chunk 0 rows [0, 1024), chunk c = 1..6 rows [512 << c, 1024 << c), chunk c >= 7 the 65,536 rows
 *   from (c - 6) << 16. So chunk of a row: row < 1024: 0; row < 65,536: floor(log2(row)) - 9;
 *   else (row >> 16) + 6.
 * Chunk c is found at   u64 page = part.chunk_page[c >> 8];  u64 chunk = ((u64 *)page)[c & 255],
 * a struct rdb_chunk with one offset a column: its values, 64-byte aligned, one behind the other,
 * in the widths of penstock/types.h:
 *   symbol   u32 id of the symbol table (core/symbols.h), 0xFFFFFFFF = null
 *   string   u64 = offset << 16 | length of its bytes; 0 = empty
 *   others   as in a record; nulls are kdb+'s
 * All columns of the schema are there; for a feed table the eight feed columns too (core/schema.h).
 * A feed row that came outside a packet record has them null.
 *
 * ROW LISTS: for each symbol the numbers of its rows, ascending. part.syms is the root of a tree of
 * three levels:  u64 node = ((u64 *)root)[id >> 18]; u64 page = ((u64 *)node)[id >> 8 & 1023];
 * struct rdb_list list = ((struct rdb_list *)page)[id & 255]. Rows whose sym is null:
 * part.null_syms. The list's blocks form a chain from `first` by `next` (and back from `last` by
 * `prev`), each a struct rdb_block followed by `room` u32 row numbers, of which those behind the
 * list's `count` are not written yet. `before` = row numbers in the blocks before it. Blocks hold
 * 8, 16, … 4,096. KEYED TABLES: the same tree at part.keys by key number; numbers 0, 1, 2… in order
 * of first use, part.nkeys of them. A key's row is the last of its list below the cut. Null keys
 * are keys.
 *
 * Bytes of what is not plain from the structs below: cut.seq is at 64, cut.nparts 68, cut.position
 * 72, cut.part[] 128, day[] 32,896 (88 each); in a part: chunk_page[] at 104, schema 2,160, its
 * columns at 142 of it, 54 bytes each (core/schema.h).
 *
 * WHAT A READER MAY SEE. A cut (struct rdb_cut_lock) says how many rows of each part exist. Below
 * it nothing changes until the day slot is released. Above it anything may: chunk time bounds and
 * list counts may already speak of later rows, so bounds are to be taken as "at least as wide", and
 * a row number >= the cut's rows is to be ignored wherever it stands; nkeys and syms_high alike.
 *
 * Orders: everything below a row is written before the cut that shows it (Q1: release, even seq;
 * Q2: acquire). An offset is stored with release (O1) behind what it leads to, loaded with acquire
 * (O2); a list's count with release (N1) behind the row number, loaded with acquire (N2). A part's
 * generation is stored with release (P1) behind its other fields, loaded with acquire (P2).
 */
#pragma once

#include "core/atomics.h"
#include "core/schema.h"

#define RDB_MAGIC       "PSTRDB1" /* 8 bytes with its NUL */
#define RDB_PARTS       4096u
#define RDB_DAYS        64u
#define RDB_EXTENT      (32u << 20)
#define RDB_CHUNK_FIRST 1024u
#define RDB_CHUNK_ROWS  65536u
#define RDB_CHUNK_PAGES 257u /* of 256 chunks: rows are u32 */
#define RDB_LISTS       256u /* lists in a page */
#define RDB_NODE        1024u
#define RDB_LIST_IDS    (RDB_NODE * RDB_NODE * RDB_LISTS) /* 2^28 symbols or keys */
#define RDB_BLOCK_FIRST 8u
#define RDB_BLOCK_MAX   4096u

/* Seqlock: odd while it is being written. Copy it with rdb_cut_read. */
struct rdb_cut_lock {
    _Atomic uint32_t seq;
    _Atomic uint32_t nparts;   /* slots in use lie below it */
    _Atomic uint64_t position; /* all frames below it were taken or refused */
    _Atomic uint64_t serial;   /* publications since the start */
    _Atomic int64_t time;      /* of the last frame below position */
    pst_aligned(64) _Atomic uint64_t part[RDB_PARTS]; /* generation << 32 | rows */
};

enum rdb_day_state {
    RDB_DAY_FREE,
    RDB_DAY_OPEN,   /* takes rows */
    RDB_DAY_CLOSED, /* its end of day was passed: never another row. Rows that still come for that
                       (calendar, day) open another slot */
    RDB_DAY_LEAVING /* rdb_release_day was called: in no cut; its memory returns to the pool */
};
enum rdb_day_flag {
    RDB_DAY_INCOMPLETE = 1, /* memory was full: has exactly the rows below incomplete_from */
    RDB_DAY_LOST = 2,       /* the journal lost a range while it was open: lost_bytes */
    RDB_DAY_VOID = 4,       /* a restart took back some of its frames: closed, in no cut; its rows
                               were taken again into another slot */
    RDB_DAY_AGAIN = 8       /* rows that came behind the end of that day */
};

/* All fields are written by the rdb thread; state also by rdb_release_day (CLOSED -> LEAVING). */
struct rdb_day {
    _Atomic uint32_t state;
    _Atomic uint32_t generation; /* raised when the slot is given out: never 0 in use */
    _Atomic uint16_t day;        /* days since 2000-01-01 */
    _Atomic uint16_t calendar;   /* the owner's number of it */
    _Atomic uint32_t flags;
    _Atomic uint64_t first_position;  /* of the first frame with a row of it */
    _Atomic uint64_t end_position;    /* end of the last one */
    _Atomic uint64_t closed_position; /* of the EOD mark's end, 0 = open */
    _Atomic uint64_t incomplete_from; /* position of the first frame that is missing */
    _Atomic uint64_t rows, refused;   /* refused: rows that had no room */
    _Atomic uint64_t lost_bytes;
    _Atomic uint64_t bytes; /* allocated from its extents */
    _Atomic uint32_t extents;
};

struct rdb_head {
    char magic[8];
    uint64_t bytes; /* of the memfd */
    uint64_t instance;
    uint64_t parts_at, extents_at, extent_bytes;
    uint32_t part_slots, part_stride, extents, symbols_max;
    pst_aligned(64) struct rdb_cut_lock cut;
    pst_aligned(64) struct rdb_day day[RDB_DAYS];
};

struct rdb_list {
    _Atomic uint64_t first, last; /* blocks */
    uint64_t tail;                /* writer's: where the next row number goes */
    _Atomic uint32_t count;
    uint32_t full; /* writer's: the count at which the last block is full */
};
_Static_assert(sizeof(struct rdb_list) == 32, "a row list is 32 bytes");

struct rdb_block {
    _Atomic uint64_t next;
    uint64_t prev;
    uint32_t room, before;
    uint64_t zero;
    _Atomic uint32_t row[];
};
_Static_assert(sizeof(struct rdb_block) == 32, "a block's head is 32 bytes");

struct rdb_chunk {
    _Atomic int64_t time_min, time_max; /* of column `time`, its null (the least number) included */
    _Atomic uint32_t descends;          /* 1: some row's time lies below the row's before it here */
    uint32_t room;                      /* rows */
    uint64_t zero;
    uint64_t col[]; /* ncols offsets */
};

struct rdb_part {
    _Atomic uint32_t
        generation; /* that of the cut; 0 while the slot is being given to another part */
    uint32_t day_slot;
    uint16_t table; /* id, one version of a table */
    uint16_t day, calendar;
    uint16_t ncols;
    _Atomic uint32_t qualities;    /* bit mask of the clock qualities (core/record.h) of its rows */
    _Atomic uint32_t syms_high;    /* highest symbol id with a list + 1 */
    _Atomic uint32_t nkeys;        /* keyed tables: keys seen */
    _Atomic uint64_t syms, keys;   /* roots */
    _Atomic uint64_t string_bytes; /* of all strings, for who makes room for them */
    _Atomic uint64_t first_position; /* of the first frame with a row of it */
    _Atomic uint64_t end_position;
    struct rdb_list null_syms;
    _Atomic uint64_t chunk_page[RDB_CHUNK_PAGES];
    struct schema schema;
};
#define RDB_PART_STRIDE 8192u
_Static_assert(sizeof(struct rdb_part) <= RDB_PART_STRIDE, "a part fits its slot");
_Static_assert(offsetof(struct rdb_head, cut) == 64 && offsetof(struct rdb_head, day) == 32896 &&
                   offsetof(struct rdb_cut_lock, part) == 64 && sizeof(struct rdb_day) == 88 &&
                   offsetof(struct rdb_part, chunk_page) == 104 &&
                   offsetof(struct rdb_part, schema) == 2160 &&
                   offsetof(struct schema, col) == 142 && sizeof(struct column) == 54,
               "the bytes named above");

pst_inline uint32_t rdb_chunk_of(uint32_t row)
{
    if (row >= RDB_CHUNK_ROWS)
        return (row >> 16) + 6;
    return row < RDB_CHUNK_FIRST ? 0 : 22u - (uint32_t)__builtin_clz(row);
}
pst_inline uint64_t rdb_chunk_first(uint32_t chunk)
{
    return chunk > 6 ? (uint64_t)(chunk - 6) << 16 : chunk ? 512u << chunk : 0;
}
pst_inline uint32_t rdb_chunk_room(uint32_t chunk)
{
    return chunk > 6 ? RDB_CHUNK_ROWS : chunk ? 512u << chunk : RDB_CHUNK_FIRST;
}
