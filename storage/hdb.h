/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb.h - a partitioned database on disk, read-only: root or par.txt, dates, tables, columns.
 * Reads what Penstock writes and what kdb+ wrote (kdb_file.h).
 *
 *   <root>/sym                                the enumeration's texts
 *   <root>/par.txt                            optional: directories (disks), one a line, relative
 *                                             to root
 *   <disk>/<YYYY.MM.DD>/<table>/.d            names of the columns in order; without it no table
 *   <disk>/<YYYY.MM.DD>/<table>/<column>      kdb_file.h
 *   <disk>/<YYYY.MM.DD>/<table>/.pstmeta .pstpart   hdb_meta.h
 * Names that end in '$' or start with '.' are never looked at (staging, backups: hdb_publish.h).
 *
 * Lazy: hdb_open reads par.txt and one directory a disk; a table's schema is read from its newest
 * date, a partition's `.d` and .pstmeta when it is first asked for, a column when it is first used.
 *
 * The schema of a table is that of its newest date (as q has it). A column that an older date lacks
 * is HDB_MISSING there: typed nulls, nothing rewritten. Where an older date has another type, it is
 * widened if that loses nothing:
 *     boolean, byte -> short, int, long, real, float     short -> int, long, real, float
 *     int -> long, float                                 real -> float
 *     date -> timestamp                                  minute -> second, time, timespan
 *     second -> time, timespan                           time -> timespan
 * (null to null; an integer's infinity is the value it is), else it is refused with a sentence
 * naming column, date and both types, as is a column of a kind that is not read, and a symbol
 * column that is enumerated over another domain than sym. Columns that only older dates have are
 * not seen (as in q).
 *
 * Threads: every call takes the database's lock for a moment and may be made from any thread;
 * what a part or column points to may be read by any thread until hdb_part_put of that reference.
 * A column that is first used after its table was replaced gives -ESTALE: run the query again.
 * hdb_refresh sees new dates and replaced tables; parts held keep the files they had open, so a
 * partition that is exchanged meanwhile stays readable, unchanged.
 *
 * Errors: one sentence; -ENOENT: no such table, or (hdb_part_get) the date has none.
 */
#pragma once

#include "core/civil.h"
#include "hdb_meta.h"
#include "kdb_file.h"

struct hdb; /* opaque */

/* A root that does not exist is an error; one without dates, par.txt or sym is an empty database.
 */
struct hdb *hdb_open(const char *root, struct err *err);
void hdb_close(struct hdb *h); /* after the last put */
/* Reads the disks' directories again. Cheap: a readdir a disk, a stat for each table that is
 * cached. */
bool hdb_refresh(struct hdb *h, struct err *err);

const char *hdb_root(const struct hdb *h);
/* Dates ascending; valid until hdb_refresh. */
uint32_t hdb_dates(struct hdb *h, const int32_t **dates);
/* Is there such a date? Its directory (<disk>/<date>) goes to `path` if that is not NULL. */
bool hdb_date_dir(struct hdb *h, int32_t date, char path[1024]);
unsigned hdb_ndisks(const struct hdb *h);
const char *hdb_disk(const struct hdb *h, unsigned i);
/* Where a date lies or, if it is new, shall lie: disk (date mod n) as q's .Q.par has it. */
unsigned hdb_disk_of(struct hdb *h, int32_t date);
/* Names of the tables of the newest date (all = false) or of any date, sorted. Free with
 * hdb_names_free. */
bool hdb_tables(struct hdb *h, bool all, char ***names, unsigned *n, struct err *err);
/* Names of the tables of one date, sorted. */
bool hdb_date_tables(struct hdb *h, int32_t date, char ***names, unsigned *n, struct err *err);
void hdb_names_free(char **names, unsigned n);

/* ---- the enumeration ---- */

/* Texts of the sym file: index -> text. A snapshot; grows only by hdb_refresh or when a partition
 * uses an index beyond it (the file is then read on). Pointers stay valid until hdb_close. */
uint64_t hdb_symbol_count(struct hdb *h);
/* "" with len 0 for null; NULL: out of range. */
const char *hdb_symbol_text(struct hdb *h, int64_t index, uint32_t *len);
/* Index of a text: PST_NULL_LONG for the empty text; -1: not in the file. */
int64_t hdb_symbol_find(struct hdb *h, const char *text, uint32_t len);

/* ---- tables ---- */

struct hdb_column_info {
    const char *name;
    uint8_t type;        /* enum pst_type; 0: a kind that is not read, see why */
    const char *refused; /* sentence when type is 0 */
};
struct hdb_table {
    const char *name;
    int32_t newest; /* the date that defines the schema */
    unsigned ncols;
    const struct hdb_column_info *col; /* `date` is virtual and not among them */
    bool feed, sorted;                 /* as the newest .pstmeta says; false without one */
    unsigned nkeys;
    uint16_t keys[8];
};
const struct hdb_table *hdb_table_get(struct hdb *h, const char *name, struct err *err);
void hdb_table_put(const struct hdb_table *t);
int hdb_table_column(const struct hdb_table *t, const char *name); /* index or -1 */

/* ---- partitions ---- */

struct hdb_part {
    const struct hdb_table *table;
    int32_t date;
    uint64_t rows;
    const struct hdb_meta *meta; /* NULL: not written by Penstock, or its .pstmeta is damaged */
    const char *path;
};
/* A reference on (table, date); NULL with -ENOENT when the date lacks the table. */
const struct hdb_part *hdb_part_get(const struct hdb_table *t, int32_t date, struct err *err);
void hdb_part_put(const struct hdb_part *p);

enum hdb_state { HDB_PRESENT, HDB_MISSING, HDB_REFUSED };
struct hdb_column {
    enum hdb_state state;
    uint8_t type;      /* the table's, never the file's older one */
    uint8_t attribute; /* the file's */
    bool converted;    /* was of a narrower type */
    uint64_t rows;
    const void *values; /* as kdb_file.h says; NULL when missing: every row is null */
    const char *bytes;  /* strings */
    uint64_t nbytes;
};
/* Column i of the table. Opens it if need be; NULL with a sentence when it is refused or damaged
 * (another length than the table's is damage too). Symbol indexes are not checked: ask
 * hdb_symbol_text, which says NULL. */
const struct hdb_column *hdb_part_column(const struct hdb_part *p, unsigned i, struct err *err);
/* The parted index over `sym`: from .pstpart, else from the column. NULL with -EINVAL when the rows
 * are not grouped by symbol, -ENOENT when the table has no symbol column `sym`. */
const struct hdb_index *hdb_part_index(const struct hdb_part *p, struct err *err);

struct hdb_figures { /* for `stat` and tests */
    uint64_t parts_open, columns_open, maps, directories_read;
};
void hdb_figures(struct hdb *h, struct hdb_figures *f);
