/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_verify.h - is a database what it says it is? Reads every byte that can be wrong and changes
 * nothing; also on a database of real kdb+, where what only Penstock promises is a note, not
 * damage.
 *
 * Per table of a date:
 *   names        `.d` is a list of distinct names; a directory without it, a file that it does not
 *                name
 *   file         every column's file is there and well formed; nothing behind its last value
 *   length       all columns have the same number of rows
 *   type         a type that a query cannot read as the table's newest one; booleans are 0 or 1
 *   enumeration  indexes lie in sym (or are null)
 *   order        by symbol text, null first, then time (if .pstmeta says sorted); attribute s is
 *                true
 *   parted       each symbol's rows are together: q can apply p# ("p# ready"). Else a note
 *   meta         .pstmeta: checksum, format, date, table, rows, columns, times
 *   index        .pstpart: checksum, and equal to what the columns say
 *   hash         (asked for) the content hash of the rows equals the one noted when they were
 *                written
 *   missing      a table that other dates have (a note; `hdb fill` writes it empty)
 * and of the database: sym (a torn tail, a text that stands twice), dates on two disks.
 *
 * Owner: one thread. Cost: every page once; with the hash about 20 ns a row and column.
 */
#pragma once

#include "hdb.h"

enum hdb_severity { HDB_NOTE, HDB_DAMAGE };

struct hdb_finding {
    enum hdb_severity severity;
    int32_t date;       /* INT32_MIN: the database's */
    const char *table;  /* "" */
    const char *column; /* "" */
    const char *what;   /* the word of the list above */
    const char *sentence;
};

/* A table of a date that was looked at. */
struct hdb_checked {
    int32_t date;
    const char *table;
    uint64_t rows, bytes;
    unsigned columns, damages, notes;
    bool ours;    /* has a right .pstmeta */
    bool ordered; /* by symbol text, then time */
    bool parted;  /* p# ready */
    bool hashed;  /* the hash was computed; same says whether it is the noted one */
    bool same;
    struct hash128 hash;
};

struct hdb_verify {
    bool hash;
    bool one_date; /* only `date`, and only `table` if it is not NULL */
    int32_t date;
    const char *table;
    void (*found)(void *arg, const struct hdb_finding *f);   /* may be NULL */
    void (*checked)(void *arg, const struct hdb_checked *c); /* may be NULL */
    void *arg;
    /* results */
    uint64_t dates, tables, rows, bytes, damages, notes, ready, hashed, unhashed;
};

/* False: could not look (no such date or table, no memory). Damage is not false: see v->damages. */
bool hdb_verify(struct hdb *h, struct hdb_verify *v, struct err *err);
