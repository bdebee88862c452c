/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_value.h - one text to one value of a column: what delimited files (text.h) and the values of
 * `penstock publish` (control/csv.h) have in common.
 *
 * NUMBERS  integers in decimal, 100.0 and 1e2 too where that is a whole number; out of range, or
 *   the value that would read back as null: refused. float, real: correctly rounded; nan, inf.
 *   `point` and `thousands` as configured; `scale` is applied to the decimal, not to a rounded
 *   double: 1674100 * 0.0001 is the double nearest to 167.41.
 * OTHERS   boolean 0 1 t f true false yes no y n (any case) · byte 0x1f or decimal · char one byte
 *   · guid 32 hex digits, hyphens anywhere between them.
 *
 * TIMES are read by the column's format (enum load_time of recipe.h):
 *   auto, iso, ymd
 *     dates    2024-08-05 2024.08.05 2024/08/05 20240805 5-Aug-2024; 05/08/2024 and 5.8.24 only
 *              with `date_format` (dmy, mdy; ymd for 24/08/05): which of day and month comes first
 *              cannot be seen, and a file that is read the wrong way round looks right on 12 days a
 *              month. Years of two digits: 69 ... 99 are 1969 ... 1999, the others 20xx (POSIX).
 *     clock    09:30 09:30:00 09:30:00.123456789 (or a comma), 093000[.n] 093000123 behind a date,
 *              9:30:00 PM. Between date and clock: T t D _ a blank, a '-' too behind 20240805.
 *     offset   Z +02 +02:00 -0500, behind a clock: then the zone is not asked.
 *   auto, digits alone: by their number, a fraction allowed where there is a unit:
 *     8   YYYYMMDD             14  YYYYMMDDHHMMSS           17  YYYYMMDDHHMMSSmmm
 *     9, 10 seconds, 12, 13 milliseconds, 15, 16 microseconds, 18, 19 nanoseconds since 1970:
 *     1973-03-03 to 2286-11-20 in each. Any other number is refused: set the format.
 *   epoch_*, day_*, kdb_ns, clock as their names say. Digits finer than a nanosecond are refused.
 *   pattern  strptime's letters (recipe.h).
 * A time of day in a timestamp column is of the row's `day` (the partition's date).
 *
 * ZONES. Without an offset of its own a text is read by the clocks of `zone`. An hour that the
 * clocks show twice means its first occurrence; an hour that they skip is moved forward by the
 * skipped time (tzone_to_utc). Epochs are UTC. In date, month and time-of-day columns an instant is
 * shown by the clocks of `zone`.
 *
 * Nothing here looks at null texts: the empty text and those of `nulls` are the caller's.
 *
 * Pure; any thread. Reads p[0 ... n) only, unless said otherwise.
 */
#pragma once

#include "load/recipe.h"
#include "load/text_number.h"
#include "load/text_reason.h"

#define TEXT_NO_DAY INT32_MIN

struct text_how {
    uint8_t type; /* enum pst_type */
    uint8_t time; /* enum load_time */
    uint8_t date_format;
    char point, thousands;
    struct text_scale scale;
    const char *pattern;
    const struct tzone *zone; /* NULL = UTC */
};

/* Of a column that nothing was said about. */
void text_how_init(struct text_how *h, uint8_t type);

/*
 * Every type but symbol and string. n >= 1; `day`: of a time of day, or TEXT_NO_DAY. *out:
 * type_width bytes, untouched unless TEXT_OK comes back (enum text_reason).
 */
int text_value(const struct text_how *h, const char *p, size_t n, int32_t day, void *out);

/* A reason as a sentence for a column of this type. */
const char *text_sentence(int reason, uint8_t type, char out[160]);

/* What a text says about a time, before the column's type is asked. */
struct text_moment {
    int64_t ns; /* instant: UTC since 2000-01-01; else of the day (a span may pass it, or be < 0) */
    int32_t day;
    bool instant, dated, clocked;
    bool span; /* it had days, a sign, or more than 23 hours: no time of a day */
};
int text_moment_read(const struct text_how *h, const char *p, size_t n, struct text_moment *m);
int text_pattern_read(const struct text_how *h, const char *p, size_t n, struct text_moment *m);
/* Letters that are known, brackets that close. */
bool text_pattern_valid(const char *pattern);
/* `day` as text_value's. */
int text_moment_put(const struct text_how *h, const struct text_moment *m, int32_t day, void *out);

/* Dates, clocks and offsets at *at (moved behind what was taken). Not TEXT_OK: *at may have moved.
 */
int text_date(const struct text_how *h, const char **at, const char *end, int32_t *day);
int text_clock(const char **at, const char *end, struct text_moment *m);
bool text_offset(const char **at, const char *end, int32_t *seconds);
/* 1 ... 9 digits of a fraction as nanoseconds. */
int text_fraction(const char **at, const char *end, int64_t *ns);
/* "jan" ... "dec" in any case -> 1 ... 12; 0 = none. */
int text_month(const char *p, const char *end);
/* The instant that a local day and time mean; false: beyond 64 bits. */
bool text_instant(const struct tzone *zone, int32_t day, int64_t ns, int64_t *utc);
