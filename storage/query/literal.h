/* SPDX-License-Identifier: Apache-2.0 */
/*
 * literal.h - texts that stand for values, both ways, for literals, parameters and casts.
 *
 *   boolean    true false t f yes no on off 1 0
 *   integers   decimal digits with a sign; 0x.. for byte; 0N null, 0W -0W infinities of the type
 *   float real decimal, exponent; 0n nan, 0w -0w inf -inf infinity
 *   char       one byte           symbol, string   the text itself
 *   guid       32 hex digits, dashes anywhere between bytes
 *   date       2024.01.02 2024-01-02 2024/01/02 20240102      month  2024.01 2024-01 2024.01m
 *   timestamp  date, then 'D', 'T' or blanks, then HH:MM[:SS[.up to 9 digits]], then nothing (UTC),
 *              Z, +HH, +HH:MM or +HHMM; or a date alone
 *   minute second time   [-]HH:MM[:SS[.digits]]; hours may pass 24
 *   timespan   [-]nDHH:MM[:SS[.digits]], [-]HH:MM[:SS[.digits]], or words: "1 day 2 hours",
 *              "5 min", "90s", "250 ms", units ns us ms s min h day week and their long names
 * Blanks at either end are ignored for all but text. 0N, null (as a parameter's text: not at all)
 * and the empty text are NULL except for a string. Pure; any thread.
 */
#pragma once

#include "scalar.h"

/* False: the text is not one of the type's. Symbols and strings keep pointing into text. */
bool literal_parse(uint8_t type, const char *text, size_t len, struct scalar *out);

/* A timespan in words may count months too ("1 month", "1 year 3 months"): *months. */
bool literal_interval(const char *text, size_t len, int64_t *ns, int64_t *months);

/* The value as `penstock sql` prints it; 0 for NULL. Not for symbol and string. */
#define LITERAL_TEXT 64
uint32_t literal_text(const struct scalar *v, char out[LITERAL_TEXT]);

/* What a literal of the type looks like, for messages: "2024.01.02". */
const char *literal_example(uint8_t type);

/* A type by any of its names: kdb+'s and SQL's (bigint, double precision, varchar, interval ...). 0
 * = none.
 */
uint8_t literal_type(const char *name);
