/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content_hash.h - do two journals, replays or partitions hold the same rows?
 *
 * Per table and day: the sum modulo 2^128 of a 128-bit hash (MurmurHash3 x64/128, Appleby, public
 * domain, seed 0) of every row, and the number of rows. A sum does not depend on order; symbols go
 * in as text, so it does not depend on ids; nor on positions, frame boundaries, run boundaries or
 * table ids.
 *
 * A row is hashed as   table name, 0, then for each column that counts: column name, 0, type
 * letter, value, where the value is
 *   symbol, string   u32 length, bytes (null and empty symbol: length 0)
 *   real, float      the bits, every NaN as the quiet NaN of types.h, -0 as it is
 *   all others       their bytes, little endian
 * which is a one-to-one image of the row as typed text.
 *
 * What is left out, exactly:
 *   - positions, frame times, marks, symbol and schema frames, the clock quality
 *   - `rxtime`, unless its clock quality is CLOCK_CAPTURE (a replay's receive time is the
 * capture's)
 *   - `time` of a feed row, where it equals an rxtime that is left out (the venue gave no time)
 *   - `flags` bit bad_time, unless the quality is CLOCK_CAPTURE (it speaks of that same clock)
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
    struct hash128 sum;
};

struct content_hash {
    struct content_sum *sums; /* unsorted; content_hash_sort orders by table, day */
    uint32_t count, room;
    uint64_t skipped; /* rows of an unknown table or with a string outside the record */
    uint8_t *image;   /* scratch: one row */
    uint32_t image_room;
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
/* "3f…" 32 hex digits, most significant first. */
const char *content_hash_text(const struct content_sum *s, char out[33]);
