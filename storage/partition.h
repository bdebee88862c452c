/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition.h - how rows from several sources become the files of one table of one date. The
 * writedown and the loader's index and merge tasks use it: order, bytes and hashes are the same
 * because the code is.
 *
 *   partition_source.c  where rows come from: RDB parts, rows of the log, the existing partition
 *   partition_loaded.c  and column files of a read task
 *   partition_target.c  the columns of the partition, which source column goes where
 *   partition_order.c   symbol ranks, the place of every row, times that descend, keys
 *   partition_merge.c   sources whose times ascend, row by row in the order of time
 *   partition_hash.c    the content hash of a unit's rows
 *   partition_column.c  moves one column's values to their places and writes them
 *   partition_out.c     aligned asynchronous writes
 *   partition_meta.c    the marker of what was written
 *
 * UNIT: the rows of one table that are put in order at once: a whole table but for a day from the
 * log that does not fit its memory. The sources of a unit stand one behind the other and a row's
 * NUMBER counts through them (u32: fewer than 2^32 - 1 rows a unit). place[number] is its row in
 * the unit's output, or WD_DROPPED.
 *
 * Names begin with wd_, as those of the writedown do.
 */
#pragma once

#include "hdb_meta.h"
#include "hdb_publish.h"
#include "hdb_sym.h"
#include "kdb_file.h"
#include "rdb_map.h"

#define WD_DROPPED 0xFFFFFFFFu
#define WD_SLICE   4096u /* rows of a chunk of the existing partition; of a block to be hashed */
#define WD_ALIGN   4096u
#define WD_PIECE   (4u << 20) /* bytes of one write */
#define WD_DEPTH   8u         /* writes in flight, a worker */
#define WD_SOURCES 64u        /* a unit: versions of a table, and what exists */

/* ---- rows of the log (collected by writedown_log.c) ---- */

struct wd_logpart { /* one table version in one pass */
    struct schema schema;
    unsigned table; /* of the job */
    uint64_t rows;
    uint64_t **chunk; /* by rdb_chunk_of: offsets of its columns in the region */
    uint32_t chunks, chunk_room;
    uint32_t qualities; /* mask of enum clock_quality */
    const uint8_t *base;
};

/* ---- sources (partition_source.c) ---- */

enum wd_kind { WD_RDB, WD_LOG, WD_EXISTING, WD_LOADED };

struct wd_existing {
    bool has_meta;
    struct hdb_meta meta;
    char path[1200];
    int dir;
    uint64_t rows;
    unsigned ncols;
    char name[SCHEMA_COLUMNS_MAX][SCHEMA_NAME_MAX];
    uint8_t type[SCHEMA_COLUMNS_MAX];
    struct wd_file_in {
        bool open, plain;         /* plain: read piece by piece, never mapped */
        int fd, bytes_fd;         /* plain */
        struct kdb_column column; /* else */
    } file[SCHEMA_COLUMNS_MAX];
};

/* What a read task saved of one (date, table) (load/save.h): raw column files, mapped when they are
 * first asked for. Only workers read such files: one that is cut short under a map kills no daemon.
 */
struct wd_loaded {
    char path[1100];
    uint64_t rows;
    unsigned ncols;
    const char (*name)[SCHEMA_NAME_MAX]; /* [ncols]; the owner's */
    const uint32_t *index;               /* by code of the file: index in `sym`, 0: null symbol */
    uint32_t codes;
    struct wd_loaded_file { /* [2 * ncols]: column i at 2i, its texts at 2i + 1 */
        const uint8_t *at;
        uint64_t bytes;
        bool mapped;
    } * file;
};

struct wd_source {
    enum wd_kind kind;
    uint64_t first, rows;             /* numbers of its rows in the unit */
    bool captured;                    /* receive times of all its rows are a capture's */
    int16_t from[SCHEMA_COLUMNS_MAX]; /* target column -> source column, -1: null */
    uint8_t type[SCHEMA_COLUMNS_MAX]; /* of the source's columns */
    struct rdb_part_view *view;       /* RDB */
    const struct wd_logpart *log;     /* LOG */
    struct wd_existing *existing;     /* EXISTING: rows slice … slice + rows - 1 of it */
    uint64_t slice;
    struct wd_loaded *loaded; /* LOADED */
};

struct wd_reader { /* scratch of one thread that reads sources */
    void *buf[2], *bytes;
    size_t room[2], bytes_room;
    const struct wd_source *source; /* RDB: whose chunk `rdb` is */
    uint32_t chunk;
    struct rdb_chunk_view rdb;
    _Atomic uint64_t *seen; /* bytes read so far, for who watches; may be NULL */
    uint64_t sort_rows;     /* sorted by time at once, a symbol at least; 0: 32 Mi (1 GiB) */
};
void wd_reader_free(struct wd_reader *r);

struct wd_values {  /* of one column in one chunk of a source */
    uint64_t first; /* row number */
    uint32_t rows;
    uint8_t type;
    bool disk; /* as on disk: symbols are i64 indexes, strings i64 ends; else u32 ids, and u64
                * offset << 16 | length */
    const void *values;
    const uint8_t *bytes; /* strings: where offsets count from; disk: the bytes from end `start` */
    uint64_t nbytes;
    int64_t start;
};
uint32_t wd_chunks(const struct wd_source *s);
/* Row numbers of chunk k. */
void wd_chunk_rows(const struct wd_source *s, uint32_t k, uint64_t *first, uint32_t *rows);
/* Column `col` of the source, in its chunk k, held in the reader's buffer `slot` (0 or 1) until the
 * next use of that slot. texts: the bytes of strings are wanted too. */
bool wd_values(struct wd_reader *r, unsigned slot, const struct wd_source *s, uint32_t k,
               unsigned col, bool texts, struct wd_values *out, struct err *err);
/* Strings as on disk: do their ends ascend, none longer than a record takes? */
bool wd_ends_check(const struct wd_values *v, const char *path, const char *name, uint64_t row,
                   struct err *err);
/* The text of string i; NULL: out of bounds. */
static inline const uint8_t *wd_text(const struct wd_values *v, uint32_t i, uint32_t *len)
{
    uint64_t at;
    if (v->disk) {
        const int64_t *end = v->values;
        int64_t from = i ? end[i - 1] : v->start;
        *len = (uint32_t)(end[i] - from);
        at = (uint64_t)(from - v->start);
    } else {
        uint64_t x = ((const uint64_t *)v->values)[i];
        *len = (uint32_t)(x & 0xFFFF);
        at = x >> 16;
    }
    return *len <= v->nbytes && at <= v->nbytes - *len ? v->bytes + at : NULL;
}

/* The table directory `path` as it is: columns of `.d`, types, marker. */
bool wd_existing_open(struct wd_existing *x, const char *path, struct err *err);
void wd_existing_close(struct wd_existing *x);

/* ---- partition_loaded.c ---- */

bool wd_loaded_open(struct wd_loaded *x, const char *path, uint64_t rows,
                    const char (*names)[SCHEMA_NAME_MAX], unsigned ncols, struct err *err);
void wd_loaded_forget(struct wd_loaded *x); /* unmaps: the next column */
void wd_loaded_close(struct wd_loaded *x);
/* A whole column as the file has it (symbols: codes); NULL: err. Empty ones are not NULL. */
const void *wd_loaded_flat(const struct wd_source *s, unsigned col, struct err *err);
bool wd_loaded_values(struct wd_reader *r, unsigned slot, const struct wd_source *s, uint32_t k,
                      unsigned col, bool texts, struct wd_values *out, struct err *err);
/* Room for `want` bytes, what was there is lost; NULL: no memory. */
void *wd_room(void **p, size_t *have, size_t want);

/* ---- target (partition_target.c) ---- */

/* Adds a source's columns that the target lacks. Call it for all sources, then bind each. */
bool wd_target_add(struct schema *target, const char *const *names, const uint8_t *types,
                   unsigned n, struct err *err);
/* For each target column the source column that goes there, -1 = none. */
void wd_target_bind(const struct schema *target, const char *const *names, const uint8_t *types,
                    unsigned n, int16_t from[SCHEMA_COLUMNS_MAX]);
bool wd_converts(uint8_t from, uint8_t to); /* without loss */
/* Values of a narrower type as those of the wider one. */
void wd_convert(uint8_t from, uint8_t to, const void *values, void *out, uint32_t n);

/* ---- order (partition_order.c) ---- */

struct wd_symbols { /* ids of the job and indexes of the sym file -> code: index + 1, null 0 */
    struct hdb_sym *sym;
    uint32_t *code; /* by id; NULL: code = id + 1 */
    uint32_t ids;   /* below which codes are known */
    uint32_t codes; /* all codes lie below */
};
bool wd_symbols_init(struct wd_symbols *s, struct hdb_sym *sym, struct err *err);
void wd_symbols_free(struct wd_symbols *s);
pst_inline uint32_t wd_code_id(const struct wd_symbols *s, uint32_t id)
{
    if (pst_unlikely(id >= s->ids)) /* the null symbol among them */
        return 0;
    return s->code ? s->code[id] : id + 1;
}
pst_inline uint32_t wd_code_index(const struct wd_symbols *s, int64_t index)
{
    return index >= 0 && index < (int64_t)s->codes - 1 ? (uint32_t)index + 1 : 0;
}
/* Codes whose count is not 0, in the order of their texts, null first. Returns how many; *out is
 * malloc'd. -1: no memory. */
int64_t wd_rank(const struct wd_symbols *s, const uint32_t *count, uint32_t **out);

struct wd_order {
    uint32_t *place;
    uint64_t rows;   /* numbers */
    uint64_t placed; /* rows that stay */
    uint8_t *keep;   /* keyed tables: a byte a row; NULL = all */
    struct hdb_group *group;
    uint64_t ngroups;
    int64_t time_min, time_max; /* of rows that stay; placed > 0 */
    uint64_t sorted;            /* rows of symbols whose times descended */
    /* Sources whose times lie among each other (LOADED): a column is moved chunk by chunk in the
     * order of time, so that the places of neighbours are written while they are in the cache. */
    struct wd_step {
        uint32_t source, chunk;
    } * walk; /* NULL: as they stand */
    uint64_t nwalk;
};
/* The next chunk; at: 0 at first. False: the end. */
pst_inline bool wd_walk_next(const struct wd_order *o, const struct wd_source *source,
                             unsigned nsources, struct wd_step *at, uint64_t *n)
{
    if (o->walk) {
        if (*n == o->nwalk)
            return false;
        *at = o->walk[(*n)++];
        return true;
    }
    if (!(*n)++)
        *at = (struct wd_step){0, UINT32_MAX};
    at->chunk++;
    while (at->source < nsources && at->chunk == wd_chunks(&source[at->source])) {
        at->source++;
        at->chunk = 0;
    }
    return at->source < nsources;
}
/* Who wants to know the groups before the places: they are all that the column of symbols needs. */
struct wd_grouped {
    /* group, ngroups, rows and placed stay from here on until wd_order_free. */
    void (*begin)(void *arg, const struct wd_order *o);
    void (*end)(void *arg); /* it failed after all: they go when this returns */
    void *arg;
};
/* grouped: may be NULL. */
bool wd_order_make(struct wd_order *o, const struct schema *target, const struct wd_source *source,
                   unsigned nsources, const struct wd_symbols *symbols, struct wd_reader *reader,
                   unsigned threads, const struct wd_grouped *grouped, const _Atomic bool *cancel,
                   struct err *err);
void wd_order_free(struct wd_order *o);
/* Makes `walk` of an order whose places are known. */
bool wd_walk_make(struct wd_order *o, const struct wd_source *source, unsigned nsources,
                  struct err *err);
/* wd_order_make's way for large LOADED sources, with threads (partition_split.c). NOT: they are not
 * like that, nothing was done that matters. */
#define WD_THREADS 16u
enum wd_split { WD_SPLIT_NOT, WD_SPLIT_DONE, WD_SPLIT_FAILED };
enum wd_split wd_order_split(struct wd_order *o, const struct wd_source *source, unsigned nsources,
                             const struct wd_symbols *symbols, unsigned threads,
                             const struct wd_grouped *grouped, const _Atomic bool *cancel,
                             struct err *err);
/* Stable sort by time; spare: room for n. */
struct wd_key {
    int64_t time;
    uint32_t row, zero;
};
void wd_sort(struct wd_key *key, uint64_t n, struct wd_key *spare);

/* ---- rows in the order of time (partition_merge.c) ---- */

/* LOADED sources whose times ascend, merged: stable, the first source first. A window of rows at a
 * time: order[i] is the i-th row's number in the window (its low bits) and its time from `start`.
 */
#define WD_LANES       4096u
#define WD_NUMBER_BITS 16u
struct wd_merge {
    struct wd_lane *lane;
    unsigned lanes;
    uint64_t *key, *spare;
    uint32_t n;
    int64_t start;
    const uint64_t *order;
    uint32_t *in_row, *in_code; /* by number in the window: of the row, code of its symbol */
};
pst_inline uint32_t wd_merge_number(const struct wd_merge *m, uint32_t i)
{
    return (uint32_t)m->order[i] & ((1u << WD_NUMBER_BITS) - 1);
}
pst_inline int64_t wd_merge_time(const struct wd_merge *m, uint32_t i)
{
    return (int64_t)((uint64_t)m->start + (m->order[i] >> WD_NUMBER_BITS));
}
/* from, to: rows of each source that are meant; NULL: all. */
bool wd_merge_open(struct wd_merge *m, const struct wd_source *source, unsigned nsources,
                   const uint64_t *from, const uint64_t *to, struct err *err);
bool wd_merge_next(struct wd_merge *m); /* false: no more */
void wd_merge_close(struct wd_merge *m);

/* ---- hash (partition_hash.c) ---- */

struct wd_hash {
    struct content_columns columns;
    struct content_symbols ids, indexes;
    const struct wd_symbols *symbols;
    hash_acc *acc;
    uint8_t *converted;
};
bool wd_hash_init(struct wd_hash *h, const struct schema *target, const struct wd_symbols *symbols,
                  struct err *err);
void wd_hash_free(struct wd_hash *h);
/* One source. in: all its rows; out: those that stay. Both are added to. */
bool wd_hash_source(struct wd_hash *h, const struct wd_source *s, const uint8_t *keep,
                    struct wd_reader *reader, struct content_sum *in, struct content_sum *out,
                    const _Atomic bool *cancel, struct err *err);

/* ---- the marker (partition_meta.c) ---- */

struct wd_facts {
    int32_t date;
    const char *calendar, *producer; /* producer NULL: this program */
    uint64_t rows, epoch, symbols;
    const struct content_sum *sum; /* of those rows */
    int64_t time_min, time_max;
};
void wd_meta_make(struct hdb_meta *m, const struct schema *target, const struct wd_facts *f);
/* from: the marker of the rows that were merged, or NULL. */
bool wd_meta_sources(struct hdb_meta *m, const struct hdb_meta *from, const struct hdb_source *add,
                     struct err *err);

/* ---- writing (partition_out.c, partition_column.c) ---- */

/* Memory of buffers that outlives a worker, for a process that writes one unit after the other:
 * pages that a kernel has to find anew cost more than what is stored in them. All zeros at first;
 * one thread. */
struct wd_kept {
    uint8_t *at[2];
    uint64_t bytes;
};
void wd_kept_free(struct wd_kept *k);

struct wd_worker {
    struct io *io;
    bool own_io, buffered;
    struct wd_reader reader;
    struct wd_buffer {
        uint8_t *at;     /* `bytes` and WD_ALIGN more; NULL: not needed yet */
        unsigned flying; /* writes from it */
        int fd;          /* -1, or to be cut to `size` and closed when they have landed */
        uint64_t size;
    } buf[2];
    uint64_t bytes;
    struct wd_kept *kept; /* NULL: freed with the worker */
    unsigned which;       /* the buffer used last */
    unsigned threads;     /* that fill a column of LOADED sources; 0: this one */
    struct io_op op[WD_DEPTH];
    uint8_t of[WD_DEPTH]; /* buffer of each, 2 = free */
    char path[1300];      /* file being written, for sentences */
    struct err err;
    int failed;             /* -errno of a write that landed badly */
    _Atomic uint64_t wrote; /* bytes */
};
bool wd_worker_init(struct wd_worker *w, struct io *io, uint64_t bytes, bool buffered,
                    struct err *err);
void wd_worker_free(struct wd_worker *w);
/* From now on its buffers come from there and go back. Before the first column. */
void wd_worker_keep(struct wd_worker *w, struct wd_kept *k);
/* Buffer b is there afterwards. */
bool wd_out_room(struct wd_worker *w, unsigned b, struct err *err);
/* A new file; direct or not as the disk can. -errno and a sentence. */
int wd_out_create(struct wd_worker *w, const char *path, bool buffered, bool *direct,
                  struct err *err);
/* Waits until nothing is in flight from buffer b (2: from any) and finishes its file. */
bool wd_out_wait(struct wd_worker *w, unsigned b, struct err *err);
/* Starts writing buffer b's first len bytes at `offset`; both aligned, or the last piece of the
 * file: then it is padded with zeros and cut off later. */
bool wd_out_start(struct wd_worker *w, unsigned b, int fd, bool direct, uint64_t len,
                  uint64_t offset, struct err *err);

struct wd_column { /* one column's file, over the units of its table */
    int fd, bytes_fd;
    bool direct;
    uint64_t rows, bytes; /* so far */
};
/* Writes target column `col` of a unit: rows behind c->rows. whole: the unit is the table. */
bool wd_column_write(struct wd_worker *w, struct wd_column *c, const char *dir,
                     const struct schema *target, unsigned col, const struct wd_source *source,
                     unsigned nsources, const struct wd_order *order,
                     const struct wd_symbols *symbols, uint8_t attribute, bool whole,
                     const _Atomic bool *cancel, struct err *err);
/* Behind the last unit of several: header, close. */
bool wd_column_close(struct wd_worker *w, struct wd_column *c, const struct schema *target,
                     unsigned col, uint8_t attribute, struct err *err);
void wd_column_abandon(struct wd_worker *w, struct wd_column *c);
