/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - delimited text to blocks of typed columns.
 *
 *   bytes ─► window ─► index ─► fields by column ─► block ─► sink
 *            64 KiB    64 bytes a step: masks of          (columns.h)
 *                      separators, line ends and quotes
 *
 * Two steps on a window that stays in the second-level cache: the index lists where fields and rows
 * end (text_index.h), then each column is read in a loop of its own (text_columns.h), which knows
 * its type. Both are built three times, portable, AVX2 and AVX-512 (PST_ISA=portable|avx2|avx512
 * in the environment chooses; default: the best that runs); they agree bit for bit. What the loops
 * do not know they hand to text_value, one text at a time. Memory: the window, which grows with the
 * longest row up to TEXT_ROW_MAX, and a block.
 *
 * ROWS end at '\n' ("\r\n" too: the '\r' before it is no part of the last field), and at the end of
 * the file. Rows without a byte are passed over, as are those that begin with `comment`. A row has
 * as many fields as the file has columns; fewer or more is a bad row (`ragged`: missing ones at the
 * end are null; `rest`: the last takes what is left of the row).
 *
 * QUOTES. A quote opens only where a field begins: 5" is a plain text. Within quotes separators and
 * line ends are text, a doubled quote is one, and the quote must be followed by the field's end.
 * With `escape`, the byte behind one is text whatever it is, in quotes and out of them; behind a
 * backslash n, r, t and 0 mean newline, return, tab and NUL.
 *
 * A STRAY QUOTE costs its line, not what follows. A quote that opens where it should not makes one
 * row of all lines up to the next quote, perhaps of the rest of the file. So a row of several lines
 * with another number of fields than the file has, or with text behind a closing quote, and one
 * that passes TEXT_ROW_MAX or does not end at all, is bad by its first line only, and reading goes
 * on behind that. (Behind a row that was too long, rows beyond TEXT_WINDOW are too long as well,
 * for as many bytes as have been read twice; each further one in a row halves that, down to 4 KiB:
 * a file of nothing else is read at tens of MB/s, not at the speed of its longest row squared.)
 * Rows of several lines whose values are wrong are bad
 * whole.
 *
 * HEADER. `yes`; `no`; `auto`: the first row is one when any of its fields is the name of a column
 * that the recipe or the table knows. Names are compared exactly, else without regard to case.
 * Every column of the file must go somewhere or be "-" (the name "*" in `columns` stands for all
 * that are not named: {"*":"-"}); every column of the table must be in the file, a constant, or
 * optional: else the file is refused (-EINVAL) with the columns' names. A UTF-8 byte order mark is
 * passed over; UTF-16 is refused by name.
 *
 * NULLS. The empty field, and the texts of `nulls`, quoted or not; a column's null (types.h). A row
 * whose `time` is null has no date and is bad, unless the date comes from elsewhere.
 *
 * DATE of a row: as the recipe's `date` says; times of day are of that date.
 *
 * BAD ROWS go to the reject sink, whole, with the number of their first line in the file, in the
 * order of the file; the first column that is wrong names the reason. What was good goes on.
 *
 * One thread.
 */
#pragma once

#include "load/save.h"

#define TEXT_WINDOW  (64u << 10)
#define TEXT_ROW_MAX (8u << 20)

struct load_text;

/* window: bytes read at a time, 0 = TEXT_WINDOW (tests take small ones: borders everywhere).
 * NULL: err. c and what it points to must stay. */
struct load_text *load_text_open(const struct load_reader_config *c, size_t window,
                                 struct err *err);
/* What can be wrong with a text recipe whatever the file: patterns of times, constants. */
bool load_text_check(const struct load_recipe *r, struct err *err);
/* n may be 0. last: nothing follows; the rows that are left go to the sink. */
bool load_text_feed(struct load_text *t, const void *bytes, size_t n, bool last, struct err *err);
void load_text_close(struct load_text *t); /* NULL is allowed */

struct load_text_facts {
    uint64_t lines;                   /* of the file, so far */
    uint64_t rows, rejected, skipped; /* skipped: comments, lines before the header, empty ones */
    bool header;                      /* the first row was one */
    unsigned columns;                 /* of the file */
};
void load_text_facts(const struct load_text *t, struct load_text_facts *f);

/* Which build runs. Tests force one; false: this machine has it not. */
enum text_isa { TEXT_PORTABLE, TEXT_AVX2, TEXT_AVX512, TEXT_ISAS };
enum text_isa load_text_isa(void);
bool load_text_force(enum text_isa isa);
