/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sql_render.h - a result for people and their tools: an aligned table, CSV or JSON.
 *
 * Values look as in kdb+ (storage/query/literal.h): timestamp 2026.11.23D09:30:00.000000000, date
 * 2026.11.23, timespan 0D00:05:00.000000000, time 09:30:00.000, byte 0x1f, floats the shortest text
 * that reads back as the same value, 0w and -0w. With `iso`: 2026-11-23T09:30:00.000000000Z,
 * 2026-11-23, 2026-11. Nulls are blank in a table, empty in CSV, null in JSON (a string's null is
 * the empty string, as in kdb+).
 *
 * Table: a header, a line of dashes, one line a row; numbers right-aligned. A text that is no
 * printable UTF-8: \xHH a byte, and then a backslash is \\ (table, CSV); \u00HH (JSON).
 * CSV: RFC 4180. JSON: one object; its "rows" are objects by column name (an equal name of a later
 * column gets _2, _3 … in every format), infinities the strings "0w", "-0w".
 */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include "core/tzone.h"
#include "storage/query/result.h"

enum sql_format { SQL_TABLE, SQL_CSV, SQL_JSON };
struct sql_style {
    bool iso;
    const struct time_shown *shown; /* of timestamps, without iso; NULL: UTC */
};

/* style: NULL is all 0. extra: members that JSON gets after "rows" (warnings, cut, facts …); may be
 * NULL. False: the output failed. */
bool sql_render(const struct result *r, enum sql_format format, const struct sql_style *style,
                json_t *extra, FILE *out);
