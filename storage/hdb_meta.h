/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_meta.h - the two side files that Penstock keeps in each table directory of a partition.
 * q does not look at them (they are not in `.d`); both can be made again from the columns, except
 * for the sources, without which a partition counts as not ours.
 *
 * .pstmeta   one line of JSON, then a line "crc32c XXXXXXXX" of the first line's bytes:
 *   {"format":1,"table":"trade","date":"2026.11.23","calendar":"us","rows":123,
 *    "columns":[["time","timestamp"],…],"feed":true,"keys":["sym"],
 *    "sorted":"sym,time","hash":"32 hex digits","captured":false,
 *    "sources":[{"instance":"16 hex digits","kind":"eod","first":0,"end":8812},…],
 *    "epoch":17,"symbols":5003,"time_min":…,"time_max":…,"written":…,"producer":"penstock 0.1.0"}
 *   unknown members are ignored; a higher format is refused by name. Integers beyond 2^53 never
 *   occur but in instance (hex), times and positions, which jansson keeps as 64-bit integers.
 *
 * .pstpart   the parted index: where each symbol's rows lie.
 *   head 32 bytes: magic "PSTPART1", groups u64, rows u64, flags u32 (bit 0: time ascends in every
 *   group), crc u32 (CRC-32C, seed 0, of the whole file with these 4 bytes zero);
 *   then groups times struct hdb_group in file order; then groups times u32: numbers of the groups
 *   by ascending sym index (null first), for the binary search; then zero to a multiple of 8.
 *
 * Threads: plain values. Errors: one sentence naming the file.
 */
#pragma once

#include "core/io.h"
#include "core/schema.h"
#include "content_hash.h"

#define HDB_META_NAME   ".pstmeta"
#define HDB_PART_NAME   ".pstpart"
#define HDB_META_FORMAT 1
#define HDB_SOURCES_MAX 64
#define HDB_META_BYTES  (256u << 10) /* a file may not be larger */

/* Rows of the journal [first, end) of an instance are in this partition. Kind "load": those of its
 * batches first … end - 1 instead, counted in the order of publication; they are always one range
 * and no journal positions. */
struct hdb_source {
    uint64_t instance;
    uint64_t first, end;
    char kind[16]; /* "eod", "rebuild", "load", "publish" */
};

struct hdb_meta {
    char table[SCHEMA_NAME_MAX];
    char calendar[SCHEMA_NAME_MAX];
    int32_t date;
    bool feed;      /* starts with the eight feed columns (the content hash leaves rxtime out) */
    bool sorted;    /* by symbol text (null first), then time, then arrival */
    bool has_hash;  /* absent after add-column until recomputed */
    bool has_times; /* time_min and time_max are set; a partition without rows has none */
    uint64_t rows;
    struct hash128 hash; /* content_hash.h: THE hash of the rows as they stand here */
    bool captured;       /* all rows count with their receive times: it is content_sum.full */
    uint64_t epoch;      /* catalogue epoch it was published with */
    uint64_t symbols;    /* names that sym had then: its indexes lie below; 0 = not noted */
    int64_t time_min, time_max; /* of column `time` */
    int64_t written;            /* wall clock, ns since 2000-01-01 */
    char producer[48];
    uint16_t ncols, nkeys;
    struct {
        char name[SCHEMA_NAME_MAX];
        uint8_t type;
    } col[SCHEMA_COLUMNS_MAX];
    uint16_t keys[8];
    uint16_t nsources;
    struct hdb_source source[HDB_SOURCES_MAX];
};

/* Columns, keys, feed and table from a schema; the rest zero. */
void hdb_meta_init(struct hdb_meta *m, const struct schema *s, int32_t date);
/* Adds a range; one that touches or overlaps another of the same instance and kind is joined with
 * it. False: no room (merge the partition's history by rebuilding it). */
bool hdb_meta_add_source(struct hdb_meta *m, const struct hdb_source *s, struct err *err);
bool hdb_source_load(const struct hdb_source *s);
/* Is the whole journal range [first, end) of this instance already in (whatever its kind)? */
bool hdb_meta_covers(const struct hdb_meta *m, uint64_t instance, uint64_t first, uint64_t end);

char *hdb_meta_encode(const struct hdb_meta *m, size_t *len); /* malloc'd; NULL: no memory */
bool hdb_meta_decode(struct hdb_meta *m, const void *text, size_t len, const char *path,
                     struct err *err);
/* err->code -ENOENT: there is none (not ours, or its file was lost); -EBADMSG: damaged. */
bool hdb_meta_read(struct hdb_meta *m, int dir, const char *path, struct err *err);
/* Writes <table_dir>/.pstmeta, synced if asked; only into a staged directory, or through a new file
 * and rename when `replace`. */
bool hdb_meta_write(const struct hdb_meta *m, struct io *io, const char *table_dir, bool replace,
                    bool sync, struct err *err);

/* ---- parted index ---- */

struct hdb_group {
    int64_t sym; /* index in the sym file; null PST_NULL_LONG */
    uint64_t first, rows;
};
struct hdb_index {
    const struct hdb_group *group; /* in file order */
    uint64_t ngroups, rows;
    const uint32_t *by_sym; /* group numbers by ascending sym */
    bool time_sorted;       /* time ascends in every group */
    void *memory;           /* free */
};

/* groups in file order, without gaps, each symbol once. */
bool hdb_index_write(struct io *io, const char *table_dir, const struct hdb_group *groups,
                     uint64_t ngroups, uint64_t rows, bool time_sorted, bool sync, struct err *err);
bool hdb_index_decode(struct hdb_index *x, const void *bytes, size_t len, const char *path,
                      struct err *err); /* copies */
/* dir: the table's directory, `path` only for sentences; or AT_FDCWD and the file's path. */
bool hdb_index_read(struct hdb_index *x, int dir, const char *path, struct err *err);
/* From the columns. time may be NULL (time_sorted is then false). False with -EINVAL: a symbol has
 * two runs of rows, so there is no parted index. */
bool hdb_index_compute(struct hdb_index *x, const int64_t *sym, const int64_t *time, uint64_t rows,
                       struct err *err);
void hdb_index_free(struct hdb_index *x);
/* The group of a symbol, or NULL. */
const struct hdb_group *hdb_index_find(const struct hdb_index *x, int64_t sym);
