/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv.h - comma-separated text to records, for `penstock publish`. Pure: no I/O, no allocation.
 *
 * Header: column names of the table, any order; columns left out are null, except that `time` left
 * out (or empty) takes `now`. Fields: quoted "a ""b""" or plain; CRLF allowed. Values as everywhere
 * (storage/load/text_value.h): numbers exactly, times by what they show, UTC where no offset stands.
 * Empty is null in every type (boolean, byte and char have none: false, 0x00, a blank). Integers out
 * of their type's range, and the values that would read back as null, are errors, not surprises.
 */
#pragma once

#include "core/record.h"
#include "core/schema.h"

#define CSV_RECORD_MAX 60000u

struct csv {
    const struct schema *schema;
    int16_t column[SCHEMA_COLUMNS_MAX]; /* of field i */
    unsigned nfields;
};

typedef uint32_t csv_symbol(void *arg, const char *text, uint32_t len); /* ~0-1: refused */

bool csv_header(struct csv *c, const struct schema *s, const char *line, size_t len,
                struct err *err);
/* One line to one record in `out` (CSV_RECORD_MAX bytes, 8-aligned). 0 with err when it is refused;
 * err says the column. */
uint32_t csv_row(const struct csv *c, const char *line, size_t len, int64_t now, uint8_t *out,
                 csv_symbol *symbol, void *arg, struct err *err);
/* One value of a timestamp column, as above. */
bool csv_timestamp(const char *text, size_t len, int64_t *ns);
/* Length of the first record of text (a quoted field may hold newlines), its newline excluded;
 * *next = where the next begins. */
size_t csv_line(const char *text, size_t len, size_t *next);
