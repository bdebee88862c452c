/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdbread.h - the second reader of the RDB's shared memory: written from the text of
 * storage/rdb_layout.h and penstock/types.h, with numbers of its own; it shares no code, header or
 * table with the product. It is slow and literal. For tests, in any process.
 *
 * The writer stands still while it reads (it takes the cut without asking for the seqlock). What is
 * out of bounds ends the program: a test that reads a sound memory never sees that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rdbread {
    const uint8_t *p;
    uint64_t n;
    uint64_t position, serial;
    int64_t time;
    unsigned parts;
};

struct rdbread_column {
    char name[48];
    unsigned type, width;
};

struct rdbread_part {
    unsigned slot, day_slot, table, day, calendar, columns;
    uint32_t rows, keys, syms_high;
    char name[48];
    struct rdbread_column col[96];
};

bool rdbread_open(struct rdbread *r, int fd); /* maps it; the descriptor stays the caller's */
void rdbread_close(struct rdbread *r);
/* What the cut shows in a slot; false: nothing. Slots are 0 … parts - 1. */
bool rdbread_part(const struct rdbread *r, unsigned slot, struct rdbread_part *out);
/* The value's bytes; of a string its text. NULL: no such row. */
const uint8_t *rdbread_value(const struct rdbread *r, const struct rdbread_part *p, uint32_t row,
                             unsigned column, uint32_t *len);
/* Bounds of time and the flag of the chunk of a row. */
void rdbread_bounds(const struct rdbread *r, const struct rdbread_part *p, uint32_t row,
                    int64_t *min, int64_t *max, bool *ascends);
/* The rows of a symbol (0xFFFFFFFF: null) or key below the cut, at most `room`; how many there are.
 */
uint32_t rdbread_list(const struct rdbread *r, const struct rdbread_part *p, uint32_t sym,
                      uint32_t *rows, uint32_t room);
uint32_t rdbread_key(const struct rdbread *r, const struct rdbread_part *p, uint32_t key,
                     uint32_t *rows, uint32_t room);
