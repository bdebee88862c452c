/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_hash.h - the content hash (content_hash.h) of rows that stand in columns.
 *
 * The same sum that content_hash_row makes of the same rows in the journal, with one rule in place
 * of the packet's clock quality, which columns do not hold: receive times are always left out. So
 * it equals the journal's sum for everything but replays of capture files (CLOCK_CAPTURE), where
 * the journal's sum includes rxtime. feed tables: column rxtime, column time where it equals
 * rxtime, bit bad_time of flags are left out; a row whose feed symbol is null stood outside a run:
 * its six packet columns are null gap, alarm:  as content_hash.h
 *
 * The sum is independent of order, so pieces of a partition may be hashed in any order and by
 * several threads, each with its own struct, and added with hdb_hash_add. Owner: one thread each.
 * Costs about as much as building the image: ~60-100 ns a row.
 */
#pragma once

#include "content_hash.h"

/* A piece of a column as hdb_column or the RDB has it. */
struct hdb_hash_column {
    const char *name;
    uint8_t type;
    const void *values; /* NULL: every row is null. Symbols: int64_t if wide, else uint32_t.
                           Strings: int64_t cumulative ends (wide) */
    const char *bytes;  /* strings */
    int64_t base;       /* strings: end of the row before the first (0 at the file's start) */
};
struct hdb_hash {
    struct hash128 sum;
    uint64_t rows;
    uint8_t *image; /* private */
    size_t room;
};
/* Text of a symbol code; len 0: null. */
typedef const char *(*hdb_hash_text)(const void *arg, int64_t code, uint32_t *len);

bool hdb_hash_init(struct hdb_hash *h, struct err *err);
void hdb_hash_free(struct hdb_hash *h);
/* wide: symbol columns are int64_t (null PST_NULL_LONG); else uint32_t ids (null PST_NULL_SYMBOL).
 */
bool hdb_hash_rows(struct hdb_hash *h, const char *table, bool feed,
                   const struct hdb_hash_column *cols, unsigned ncols, uint64_t rows, bool wide,
                   hdb_hash_text text, const void *arg, struct err *err);
void hdb_hash_add(struct hash128 *sum, const struct hash128 *other);
