/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result.h - the answer of a query: columns in memory that own everything they point to, so that it
 * outlives the view it came from and can be written byte by byte into a memfd.
 *
 * VALUES of column i are rows * result_width(type) bytes, kdb+'s types with typed nulls (types.h):
 *   BOOLEAN    one byte, 0, 1 or RESULT_NULL_BOOL (an expression can be NULL, a stored column not)
 *   SYMBOL     u32 index in the result's dictionary `syms`, null PST_NULL_SYMBOL. The dictionary
 *              holds only texts that occur, each once, in the order of first appearance
 *   STRING     bytes one behind the other in `chars`; text of row r starts
 *              at at[r] and ends at at[r + 1] (at has rows + 1 entries, u64). A NULL string (SQL)
 *              and the empty string are the same, as in kdb+
 *   GUID       16 bytes as stored; null all zero
 *   BYTE       has no null (the binder widens where one could arise)
 *   REAL FLOAT null is NaN; all others kdb+'s null of the type
 *
 * NOTES are sentences for the user (a gap was spanned, the RDB is behind, an incomplete day...).
 * FACTS are what EXPLAIN and --timings show: name and number, in order (parts seen, parts opened,
 * rows scanned...). Neither is part of the values.
 *
 * Owner: whoever called result_new; not shared between threads while it is written.
 */
#pragma once

#include "core/base.h"
#include "core/schema.h"

#define RESULT_NULL_BOOL 2u /* = PLAN_BOOL_NULL */
#define RESULT_NAME_MAX  128u

struct result_column {
    char name[RESULT_NAME_MAX];
    uint8_t type; /* enum pst_type */
    void *data;   /* values; NULL for STRING */
    uint64_t *at; /* STRING only: rows + 1 offsets in chars */
    char *chars;  /* STRING only */
};

struct result_syms {
    uint32_t count;
    uint64_t *at; /* count + 1 offsets in chars */
    char *chars;
};

enum result_note {
    RESULT_NOTE_GAP,        /* the rows read span a gap in the feed */
    RESULT_NOTE_BEHIND,     /* the RDB is behind or rebuilding */
    RESULT_NOTE_INCOMPLETE, /* a day is incomplete in memory */
    RESULT_NOTE_LATE,
    RESULT_NOTE_OTHER
};

struct result_note_line {
    enum result_note kind;
    char *text; /* one sentence */
};

struct result_fact {
    char name[48]; /* "partitions opened" */
    double value;  /* counts exact up to 2^53; times in milliseconds, name ends " ms" */
};

struct result {
    uint64_t rows;
    uint32_t ncols;
    struct result_column *col;
    struct result_syms syms;
    struct result_note_line *note;
    uint32_t nnotes;
    struct result_fact *fact;
    uint32_t nfacts;
};

/* Columns without values; rows 0. NULL: no memory. */
struct result *result_new(uint32_t ncols);
void result_free(struct result *r); /* NULL is fine */

/* Bytes of one value; STRING 0. */
static inline unsigned result_width(uint8_t type)
{
    return type == PST_STRING ? 0 : type_width(type);
}

/* False: no memory. */
__attribute__((format(printf, 3, 4))) bool result_add_note(struct result *r, enum result_note kind,
                                                           const char *fmt, ...);
bool result_add_fact(struct result *r, const char *name, double value);
/* The value of a fact, or -1. */
double result_fact_value(const struct result *r, const char *name);

/* Reading one value, for renderers and tests (not a hot path). */
bool result_is_null(const struct result *r, uint32_t col, uint64_t row);
/* Any integer or temporal type, boolean, byte, char; undefined on null. */
int64_t result_int(const struct result *r, uint32_t col, uint64_t row);
/* REAL, FLOAT. */
double result_float(const struct result *r, uint32_t col, uint64_t row);
/* SYMBOL, STRING. Not NUL-terminated. Null gives len 0. */
const char *result_text(const struct result *r, uint32_t col, uint64_t row, uint32_t *len);
