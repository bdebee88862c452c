/* SPDX-License-Identifier: Apache-2.0 */
/*
 * types.h - column types. Numbers, widths and nulls are kdb+'s, so that a value means the same in
 * the log, in memory, in an HDB and on a kdb+ connection. Source: kdb+ datatypes reference.
 *
 * Times: timestamp = ns since 2000-01-01T00:00Z (i64); timespan = ns (i64); date = days and month =
 * months since 2000-01-01 (i32); minute, second, time (ms) count from midnight (i32).
 * A symbol is the u32 id of a text in the symbol table; null is PST_NULL_SYMBOL in memory.
 * PST_STRING is a list of char per row (kdb+ shows it as "C"): in a record (u32 offset, u32
 * length).
 */
#ifndef PENSTOCK_TYPES_H
#define PENSTOCK_TYPES_H

#include <stdint.h>

/* name, kdb+ type number, bytes in a record, letter in `meta` */
#define PST_TYPES(X)                                                                               \
    X(BOOLEAN, "boolean", 1, 1, 'b')                                                               \
    X(GUID, "guid", 2, 16, 'g')                                                                    \
    X(BYTE, "byte", 4, 1, 'x')                                                                     \
    X(SHORT, "short", 5, 2, 'h')                                                                   \
    X(INT, "int", 6, 4, 'i')                                                                       \
    X(LONG, "long", 7, 8, 'j')                                                                     \
    X(REAL, "real", 8, 4, 'e')                                                                     \
    X(FLOAT, "float", 9, 8, 'f')                                                                   \
    X(CHAR, "char", 10, 1, 'c')                                                                    \
    X(SYMBOL, "symbol", 11, 4, 's')                                                                \
    X(TIMESTAMP, "timestamp", 12, 8, 'p')                                                          \
    X(MONTH, "month", 13, 4, 'm')                                                                  \
    X(DATE, "date", 14, 4, 'd')                                                                    \
    X(TIMESPAN, "timespan", 16, 8, 'n')                                                            \
    X(MINUTE, "minute", 17, 4, 'u')                                                                \
    X(SECOND, "second", 18, 4, 'v')                                                                \
    X(TIME, "time", 19, 4, 't')                                                                    \
    X(STRING, "string", 87, 8, 'C')

enum pst_type {
#define X(ID, name, number, width, letter) PST_##ID = number,
    PST_TYPES(X)
#undef X
};

#define PST_NULL_SYMBOL    0xFFFFFFFFu
#define PST_NULL_SHORT     INT16_MIN
#define PST_NULL_INT       INT32_MIN
#define PST_NULL_LONG      INT64_MIN
#define PST_NULL_TIMESTAMP INT64_MIN
#define PST_NULL_CHAR      ' '
#define PST_INF_LONG       INT64_MAX
/* null float is any NaN (written as the quiet NaN 0xFFF8000000000000, kdb+'s 0n) */
#define PST_NULL_FLOAT_BITS 0xFFF8000000000000ull
#define PST_NULL_REAL_BITS  0xFFC00000u

#endif
