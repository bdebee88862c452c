/* SPDX-License-Identifier: Apache-2.0 */
/*
 * columns.h - rows on their way from a reader to the column files: blocks of typed arrays.
 *
 *     reader (text.h, binary.h, splayed.h, a plugin) ─► load_block ─► post_read ─► save.h
 *
 * A block holds rows of ONE table, one array a column in the schema's order, whatever the schema:
 * the six packet columns of a feed's table are arrays like the others. Values are as in memory and
 * in the log (penstock/types.h), with two exceptions:
 *   PST_SYMBOL   uint32_t codes of the file's own dictionary (dict.h): 0 is null, 1 the first text
 *   PST_STRING   struct load_string: (offset, length) into the block's heap
 * Nulls are the types' nulls (PST_NULL_LONG …, quiet NaN, ' ' for char, zeros where a type has
 * none).
 *
 * The date of a row (its partition, DESIGN §6) is kept run-length beside the columns: usually one
 * run. `load_block_days` makes the runs from the column `time` in the calendar of the recipe; a
 * reader that knows better (a date column) calls load_block_run itself. When a block goes to the
 * sink its runs must cover its rows.
 *
 * WHO. A block belongs to the reader that made it. The sink reads (post_read may change) it during
 * the call and keeps nothing of it; afterwards the reader calls load_block_clear and fills it anew.
 * One thread. No errors but where a struct err is taken.
 *
 * How many rows. At most LOAD_ROWS. LOAD_ROWS_GOOD rows of a usual table stay in the second-level
 * cache while they are hashed and copied out: readers hand a block on when it has that many.
 */
#pragma once

#include "core/civil.h"
#include "core/schema.h"
#include "core/tzone.h"

#define LOAD_ROWS      65536u
#define LOAD_ROWS_GOOD 8192u
#define LOAD_HEAP_MAX  (16u << 20) /* bytes of texts in one block: hand it on before */
#define LOAD_SLACK     64u /* bytes behind each array that may be overwritten (vector stores) */

struct load_string {
    uint32_t at, len;
};
struct load_run {
    int32_t day; /* days since 2000-01-01, 0 … CIVIL_DAY_MAX */
    uint32_t rows;
};

struct load_block {
    const struct schema *schema;
    unsigned table; /* number of the table in the recipe */
    uint32_t rows, room;
    void *col[SCHEMA_COLUMNS_MAX]; /* room values each, 64-byte aligned, and LOAD_SLACK bytes */
    char *heap;                    /* of PST_STRING columns; grows, so it may move */
    uint32_t heap_bytes, heap_room;
    struct load_run *run;
    uint32_t nruns, run_room;
    uint32_t run_rows; /* covered by the runs */
};

/* room: 0 = LOAD_ROWS_GOOD. The schema must stay. NULL: no memory (err). */
struct load_block *load_block_create(const struct schema *s, unsigned table, uint32_t room,
                                     struct err *err);
void load_block_destroy(struct load_block *b); /* NULL is allowed */
pst_inline void load_block_clear(struct load_block *b)
{
    b->rows = b->heap_bytes = b->nruns = b->run_rows = 0;
}
/* Bytes of a value in a block's array: 4 for symbols, 8 for strings, else type_width. */
unsigned load_width(uint8_t type);
/* The null of a column in a block. */
void load_null(const struct load_block *b, unsigned col, uint32_t row);
/* Space for n bytes of text at heap + *at (n may be 0). False: no memory, or beyond LOAD_HEAP_MAX:
 * hand the block on first (a single text may be as long as the heap). */
bool load_block_text(struct load_block *b, uint32_t n, uint32_t *at);
/* The next `rows` rows are of this day. False: no memory. */
bool load_block_run(struct load_block *b, int32_t day, uint32_t rows);

/*
 * Which trading date an instant belongs to, as control/calendar.h defines it: `eod_s` is the local
 * time at which the date turns; <= 12:00 belongs to the date that ends, later to the one that
 * begins, negative counts back from midnight. One range is remembered: most calls are two compares.
 */
struct load_days {
    const struct tzone *zone;
    int32_t eod_s;
    int32_t day;       /* of [from, end) */
    int64_t from, end; /* ns */
};
void load_days_init(struct load_days *d, const struct tzone *zone, int32_t eod_s);
int32_t load_days_find(struct load_days *d, int64_t utc_ns); /* the slow half */
pst_inline int32_t load_day(struct load_days *d, int64_t utc_ns)
{
    return pst_likely(utc_ns >= d->from && utc_ns < d->end) ? d->day : load_days_find(d, utc_ns);
}
/* The local midnight that begins the civil date `day` in a zone: what a time of day counts from. */
int64_t load_midnight(const struct tzone *zone, int32_t day);

/* Adds runs for the rows that have none yet, from the column `time`. *bad = the first row that
 * cannot have one (null time, or a date outside 2000.01.01 … 2179.06.06); false then. */
bool load_block_days(struct load_block *b, struct load_days *d, uint32_t *bad);

/* Where blocks go. False: the reader stops and returns false; err is set. */
struct load_sink {
    bool (*block)(void *arg, struct load_block *b, struct err *err);
    void *arg;
};

/* Where bad rows go: one call a row that did not become one. */
struct load_reject {
    uint64_t line;      /* 1 = the first of the file, header and comments counted; 0 = none */
    const char *column; /* the file's name of it, or its number; "" = the whole row */
    const char *reason; /* one sentence without the text */
    const char *text;   /* the row's bytes (a binary reader: NULL) */
    size_t len;
};
/* False: too many (recipe.rejects): the reader stops and returns false; err is set. */
struct load_rejects {
    bool (*reject)(void *arg, const struct load_reject *r, struct err *err);
    void *arg;
};
