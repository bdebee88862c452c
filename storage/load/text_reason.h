/* SPDX-License-Identifier: Apache-2.0 */
/* text_reason.h - why a text, or a row, was refused: the words of the reject file. */
#pragma once

/* X(ID, "sentence"); %s is the type's name; %u of FIELDS are the reader's to fill in */
#define TEXT_REASONS(X)                                                                            \
    X(OK, "")                                                                                      \
    X(NOT, "it is no %s")                                                                          \
    X(RANGE, "it lies outside the range of %s")                                                    \
    X(FRACTION, "it is not a whole number, which %s wants")                                        \
    X(DIGITS, "it has too many digits to be turned into a %s exactly")                             \
    X(DATE, "there is no such date")                                                               \
    X(CLOCK, "there is no such time of day")                                                       \
    X(ORDER, "day and month could stand either way round: set date_format")                        \
    X(NANOS, "it has more digits than nanoseconds")                                                \
    X(EPOCH, "a number of so many digits shows no unit: set the column's format in `times`")       \
    X(SPAN, "it lies outside 1707 ... 2292, which is what 64 bits of nanoseconds hold")            \
    X(DATELESS, "a time of day without a date: set `date`")                                        \
    X(FINER, "it is finer than a %s")                                                              \
    X(PATTERN, "it does not look like the column's pattern")                                       \
    X(LONG_SYMBOL, "a symbol has at most 255 bytes")                                               \
    X(LONG_STRING, "a string has at most 65535 bytes")                                             \
    X(NUL, "a symbol holds no NUL")                                                                \
    X(SYMBOLS, "the file has too many distinct symbols")                                           \
    X(OPEN, "the quotes do not close")                                                             \
    X(BEHIND, "there is text behind the closing quote")                                            \
    X(STRAY, "a quote in it closes on a later line, and that makes no row")                        \
    X(FIELDS, "the row has %u fields, and the file %u columns")                                    \
    X(NO_HEADER, "the row has %u fields, and the table %u columns to be filled")                   \
    X(LONG_ROW, "the row is too long, or a quote in it never closes")                              \
    X(TIMELESS, "a row without a time belongs to no date")                                         \
    X(DAY, "its date lies outside 2000.01.01 ... 2179.06.06")

enum text_reason {
#define X(ID, sentence) TEXT_##ID,
    TEXT_REASONS(X)
#undef X
};
