/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdb_internal.h - what the files of the RDB's owner share. Everything here belongs to the rdb
 * thread unless it says otherwise; what readers see is in rdb_layout.h.
 *
 *   rdb.c         life, cut, figures, rounds
 *   rdb_memory.c  extents and the bump allocation of a day slot
 *   rdb_day.c     day slots, parts, marks, rewinds
 *   rdb_append.c  the rows of a frame
 *   rdb_columns.c records to columns
 *   rdb_lists.c   row lists and keys
 */
#pragma once

#include "rdb.h"

#define RDB_BUCKET  256u /* rows of a part that are written in one go; 20 KiB of records */
#define RDB_CACHES  4u   /* days whose table -> part is remembered */
#define RDB_VERDICT 64u
#define RDB_GAP     320u /* between two columns: equal rows of several columns share no cache set */
#define NO_EXTENT   UINT32_MAX

struct seg {                            /* rows of a bucket under the same packet record */
    const struct packet_record *packet; /* NULL: none */
    uint32_t rows;
};

/* Rows of one part in the frame at hand, not written yet. */
struct bucket {
    uint32_t rows, segs;
    uint32_t run; /* number of the run that the last segment belongs to */
    const uint8_t *row[RDB_BUCKET];
    int64_t seq[RDB_BUCKET + 8];
    struct seg seg[RDB_BUCKET];
};

/* How the fixed columns of a table's records become columns in memory (rdb_columns.c). */
struct columns_op {
    uint16_t word, offset; /* 8-byte word of the record, byte in the record */
    uint8_t shift;         /* bits within the word */
    uint8_t width, column;
};
struct columns_group { /* eight words of a record */
    uint16_t word;
    uint8_t mask, first, ops;
};
#define COLUMNS_GROUPS 26u /* 96 columns of 16 bytes and the head */
struct columns_plan {
    unsigned words, ops, groups;
    struct columns_op op[SCHEMA_COLUMNS_MAX];
    struct columns_group group[COLUMNS_GROUPS];
};
struct columns_ops {
    /* Rows row[0..n) become rows d … of the columns col[] (each 64-byte aligned at row 0). */
    void (*put)(const struct columns_plan *plan, uint8_t *const *col, const uint8_t *const *row,
                uint64_t d, uint32_t n);
    bool (*descend)(const int64_t *t, uint32_t n); /* any value below the one before it? */
};
void columns_plan(struct columns_plan *plan, const struct schema *s);
void columns_choose(struct columns_ops *ops, bool portable);

enum part_state { PART_TAKES, PART_REFUSES, PART_SKIPS, PART_REPEATS };

struct keys;

struct part {
    enum part_state state;
    uint32_t slot, table;
    struct slot *day;
    struct rdb_part *shared;
    const struct schema *schema;
    uint32_t fixed;                 /* shortest record */
    uint32_t rows, base, published; /* now; before this frame; in the cut */
    uint32_t chunk_first, chunk_end;
    struct rdb_chunk *chunk;
    int64_t last_time;                /* of the chunk's last row */
    uint8_t *col[SCHEMA_COLUMNS_MAX]; /* of the current chunk */
    struct columns_plan plan;
    uint16_t slow[SCHEMA_COLUMNS_MAX], nslow; /* strings and guids */
    struct bucket *bucket;
    bool touched, dirty;
    uint32_t refused; /* rows of this frame that had no room */
    uint8_t qualities;
    struct rdb_list **page; /* by symbol id >> 8 */
    uint64_t *node;         /* offsets of the tree's nodes: syms */
    uint32_t string_block;
    uint64_t string_at, string_end;
    struct keys *keys;
    struct part *next; /* of the same day slot */
};

struct slot {
    struct rdb_day *shared; /* NULL: free */
    uint32_t index;
    bool used, open, touched;
    struct part *parts;
    struct part refuser; /* stands for tables that got no part */
    uint64_t at, end;    /* bump: free bytes of the current extent */
    uint32_t extent;     /* the current one; the others follow by extent_next */
};

struct verdict { /* what `take` said */
    bool known, take;
    uint16_t day, calendar;
};

struct day_cache {
    bool used;
    uint16_t day;
    struct part *part[TABLE_MAX];
};

struct rdb {
    struct rdb_config cfg;
    uint8_t *base;
    uint64_t bytes;
    int fd;
    struct rdb_map map;
    struct rdb_head *head;
    /* pool */
    uint64_t extent_bytes;
    uint32_t *free_list, nfree; /* a stack: the last one goes out next */
    uint32_t ahead;             /* extents that idle time faults ahead */
    uint32_t *extent_next;
    uint64_t *faulted; /* bytes of each extent, from its start, that the kernel has given */
    /* days and parts */
    struct slot slot[RDB_DAYS];
    struct rdb_part fresh; /* a part in the making */
    struct part **part;    /* RDB_PARTS */
    uint32_t *part_generation;
    uint32_t nparts;
    struct verdict verdict[RDB_VERDICT];
    uint32_t next_verdict;
    struct day_cache *cache; /* RDB_CACHES */
    uint32_t next_cache;
    struct part skipper, repeater, refuser;
    /* the frame at hand */
    const struct frame *frame;
    struct columns_ops columns;
    struct part **touched;
    uint32_t ntouched;
    struct bucket **bucket;
    uint32_t nbuckets, buckets_used;
    /* the cut */
    uint32_t *dirty; /* part slots */
    uint32_t ndirty;
    bool cut_due;
    uint64_t position, high; /* high: frames below it may have been seen before */
    int64_t time;
    uint64_t serial;
    _Atomic uint32_t release_asked; /* any thread raises it */
    uint32_t release_done;
    /* figures: one writer, read by any thread */
    _Atomic uint64_t f_position, f_frames, f_bytes, f_rows, f_refused, f_skipped, f_repeated, f_bad,
        f_derived, f_unknown_marks, f_lost_ranges, f_lost_bytes, f_rewound, f_cuts;
    _Atomic int64_t f_time;
    _Atomic uint32_t f_free, f_faulted, f_cold, f_parts, f_days;
};

/* rdb_memory.c */
bool memory_open(struct rdb *r, struct err *err);
void memory_close(struct rdb *r);
/* 64-byte aligned, not zeroed; 0 = no room. */
uint64_t memory_take(struct rdb *r, struct slot *s, uint64_t bytes);
void memory_release(struct rdb *r, struct slot *s); /* all extents of a day slot */
bool memory_ahead(struct rdb *r);                   /* one step; true: more to do */
/* Pages that lie outside the extents (head, part directory). */
bool memory_populate(struct rdb *r, uint64_t at, uint64_t bytes);

/* rdb_day.c */
struct part *day_part(struct rdb *r, const struct schema_set *schemas, const struct frame *f,
                      unsigned table); /* NULL: unknown table */
void day_full(struct rdb *r, struct slot *s);
void day_mark(struct rdb *r, const struct frame *f);
bool day_service(struct rdb *r); /* what was released; true: something was done */
void day_free_part(struct rdb *r, struct part *p);
void day_forget(struct rdb *r); /* the caches of table -> part */

/* rdb_append.c */
void append_rows(struct rdb *r, const struct schema_set *schemas, const struct frame *f,
                 uint32_t *taken, uint32_t *refused);

/* rdb_lists.c: false = no room */
bool lists_add(struct rdb *r, struct part *p, const uint32_t *sym, uint32_t first, uint32_t n);
bool keys_open(struct part *p);
void keys_close(struct part *p);
bool keys_add(struct rdb *r, struct part *p, uint32_t first, uint32_t n);

/* rdb.c */
void rdb_mark_dirty(struct rdb *r, struct part *p);

pst_inline void *rdb_at(const struct rdb *r, uint64_t offset)
{
    return r->base + offset;
}
