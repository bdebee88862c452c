/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tzone.h - IANA time zones: what offset a place had, has, or will have from UTC.
 *
 * The C library's TZ is one per process and not thread-safe; feeds and calendars each have their
 * own zone, so the compiled zone files are read here. A zone is loaded once (may allocate and read
 * a file: start-up and control only), is constant from then on, and any thread may ask it, without
 * locks, allocation or system calls, until its owner calls tzone_free.
 *
 * Source of the format: TZif, RFC 8536 and RFC 9636 (versions 1, 2, 3 and 4), from the directory
 * /usr/share/zoneinfo or, when set, the environment variable TZDIR. The 64-bit block is used where
 * there is one. After the last transition the POSIX TZ rule of the footer holds: it is unrolled at
 * load into a table of 400 years, the period after which the Gregorian calendar repeats itself, so
 * that a look-up is one binary search at any time. Before the first transition local time type 0
 * holds. "right/" zones (they count leap seconds) are refused: Penstock's time is POSIX time.
 * "UTC" needs no file.
 *
 * Units: seconds since 1970-01-01 on the UTC or on the local clock; offsets in seconds east of UTC.
 * Instants asked for must lie within +-2^59 s.
 */
#pragma once

#include <core/base.h>

#define TZONE_FILE_MAX (1u << 20)

struct tzone;

/*
 * name: a name such as "America/New_York". Absolute names and parts that are "." or ".." are
 * refused. NULL with one sentence in err on failure.
 */
struct tzone *tzone_load(const char *name, struct err *err);

/* The same from a TZif image in memory; reads data[0 ... size) only. */
struct tzone *tzone_parse(const char *name, const void *data, size_t size, struct err *err);

void tzone_free(struct tzone *z); /* NULL is allowed */
const char *tzone_name(const struct tzone *z);

/* The offset in force at a UTC instant: local = utc + offset. */
int32_t tzone_offset(const struct tzone *z, int64_t utc_s);

/*
 * The UTC instant of a local clock reading. A reading that occurs twice (clocks go back) means its
 * first occurrence, the one with the earlier offset. A reading that is skipped (clocks go forward)
 * is moved forward by the length of the gap: 02:30 in a gap from 02:00 to 03:00 means 03:30.
 */
int64_t tzone_to_utc(const struct tzone *z, int64_t local_s);

/*
 * The first instant after utc_s at which the offset changes, or INT64_MAX when it never does again
 * (as far as the table of 400 years after the file's last transition goes).
 */
int64_t tzone_next_change(const struct tzone *z, int64_t utc_s);

/*
 * How a time is shown: as the clocks of `zone` (NULL: UTC) read, and so many nanoseconds later.
 * time_shown takes and returns ns since 2000-01-01; infinities, and what would overflow, stay.
 */
struct time_shown {
    const struct tzone *zone;
    int64_t offset;
};
int64_t time_shown(const struct time_shown *s, int64_t utc_ns); /* s may be NULL */
