/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content_hash.h - do two journals, replays or partitions hold the same rows?
 *
 * Per table and day: the sum modulo 2^128 of a 128-bit hash of every row, and the number of rows. A
 * sum does not depend on order; symbols go in as text, so it does not depend on ids; nor on
 * positions, frame boundaries, run boundaries or table ids.
 *
 * THE HASH OF A ROW is made of one or two 64-bit words a column, so that it can be computed from a
 * record (the journal) and column by column (RDB, partitions) alike:
 *
 *   word   boolean byte          the value
 *          short … timestamp     the bits, exclusive-or the bits of the type's null
 *          real float            the same, every NaN first made the null of types.h, -0 as it is
 *          char                  the byte, exclusive-or 0x20
 *          guid                  its 16 bytes as two words
 *          symbol string         MurmurHash3 x64/128 (Appleby, public domain, seed 0) of the text
 *                                as two words; empty or null: zeros
 *   key    of word j: MurmurHash3 of (column name, 0, type letter, j): a 128-bit multiplier
 *   row    finish(hash of the table's name + sum of key * word modulo 2^128), where finish is
 *          MurmurHash3's last mixing, a bijection
 *
 * So a null adds nothing: a row hashes alike before and after its table got a new column.
 *
 * What is left out, exactly:
 *   - positions, frame times, marks, symbol and schema frames, the clock quality
 *   - of a feed's table, unless the clock quality of ALL its rows of that day is CLOCK_CAPTURE (a
 *     replay's receive time is the capture's): `rxtime`; `time` where it equals the rxtime left out
 *     (the venue gave no time); `flags` bit bad_time (it speaks of that same clock)
 *   - `time` and `lines` of `gap` rows and `time` of `alarm` rows: when we noticed, not what was
 *
 * Owner: one thread. Memory: one entry a (table, day). Source: DESIGN section 11, Content hash.
 */
#pragma once

#include "core/record.h"
#include "dictionary.h"

struct hash128 {
    uint64_t lo, hi;
};

struct content_sum {
    char table[SCHEMA_NAME_MAX];
    uint16_t day;
    uint64_t rows;
    uint64_t captured;   /* rows with no clock quality (no feed's), or CLOCK_CAPTURE */
    struct hash128 sum;  /* without receive times */
    struct hash128 full; /* with them; counts when captured == rows */
};

struct content_hash {
    struct content_sum *sums; /* unsorted; content_hash_sort orders by table, day */
    uint32_t count, room;
    uint64_t skipped;           /* rows of an unknown table or with a string outside the record */
    struct content_columns **c; /* by table id: keys of a table version, made at its first row */
};

void hash128_of(const void *p, size_t n, struct hash128 *out);

bool content_hash_init(struct content_hash *h, struct err *err);
void content_hash_free(struct content_hash *h);
/* All rows of a data or gap frame; other kinds are ignored. False: a malformed frame or no memory.
 */
bool content_hash_frame(struct content_hash *h, struct dictionary *d, const struct frame *f);
/* One row. packet: its packet record or NULL; seq: the row's own sequence. */
bool content_hash_row(struct content_hash *h, struct dictionary *d, const struct schema *s,
                      uint16_t day, const struct record *r, const struct packet_record *packet,
                      int64_t seq);
void content_hash_sort(struct content_hash *h);
const struct content_sum *content_hash_find(const struct content_hash *h, const char *table,
                                            uint16_t day);
/* Adds b's rows to a. */
void content_sum_add(struct content_sum *a, const struct content_sum *b);
/* THE hash of a table and day: `full` when all rows are captured, else `sum`. */
struct hash128 content_sum_hash(const struct content_sum *s);
/* It as "3f…", 32 hex digits, most significant first. */
const char *content_hash_text(const struct content_sum *s, char out[33]);
const char *hash128_text(struct hash128 h, char out[33]);

/*
 * ---- column by column ----
 *
 * For a block of n rows: zero acc[n], add every column, end. `captured` says whether the rows count
 * with their receive times (content_sum.full) or without (content_sum.sum); who does not know asks
 * for both, one after the other, or keeps it beside the columns (.pstmeta).
 */
#define CONTENT_BLOCK 2048u /* a good n: acc stays in the first-level cache */

typedef unsigned __int128 hash_acc;

struct content_key {
    hash_acc word[2];
};

struct content_columns {
    struct schema schema;
    hash_acc table;
    struct content_key key[SCHEMA_COLUMNS_MAX];
    uint8_t rule[SCHEMA_COLUMNS_MAX]; /* private */
    int rxtime;                       /* column, -1 = none */
};

/* Text of symbol `id`: NULL or *len 0 = null. */
typedef const char *(*content_text)(void *arg, uint64_t id, uint32_t *len);

/* Hashes of symbol texts by id, each computed at its first use. Memory: 16 bytes an id, touched
 * pages only. */
struct content_symbols {
    struct hash128 *of;
    uint64_t count;
    content_text text;
    void *arg;
};

void content_columns_init(struct content_columns *c, const struct schema *s);
bool content_symbols_init(struct content_symbols *s, uint64_t count, content_text text, void *arg,
                          struct err *err);
void content_symbols_free(struct content_symbols *s);

/* Fixed-width values of one column. rxtime: the same rows' receive times, needed for the column
 * `time` of a table that has them (NULL elsewhere). Symbols and strings: see below. */
void content_columns_add(const struct content_columns *c, unsigned col, hash_acc *acc,
                         const void *values, const int64_t *rxtime, uint32_t n, bool captured);
/* Symbols as u32 ids (the null symbol and ids >= count are null), or as the i64 indexes of a
 * partition (negative is null). */
void content_columns_ids(const struct content_columns *c, unsigned col, hash_acc *acc,
                         const uint32_t *ids, uint32_t n, struct content_symbols *symbols);
void content_columns_indexes(const struct content_columns *c, unsigned col, hash_acc *acc,
                             const int64_t *indexes, uint32_t n, struct content_symbols *symbols);
/* One string. */
void content_columns_string(const struct content_columns *c, unsigned col, hash_acc *acc,
                            const void *text, uint32_t len);
/* Finishes the rows and adds them to *sum. keep: a byte a row, 0 = leave it out; NULL = all. */
void content_columns_end(const struct content_columns *c, const hash_acc *acc, const uint8_t *keep,
                         uint32_t n, struct hash128 *sum);
/* Is this column left out of `sum` or handled specially: does captured make a difference? */
bool content_columns_clocked(const struct content_columns *c);
