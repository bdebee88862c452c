/* SPDX-License-Identifier: Apache-2.0 */
/*
 * civil.h - dates without a time zone: days since 2000-01-01 <-> year, month, day; text forms.
 *
 * A day is an int32_t counting from 2000-01-01 = 0 (the epoch of kdb+ and of every Penstock frame;
 * a frame stores it in 16 bits, so days 0 ... 65535 = 2000.01.01 ... 2179.06.06 exist there).
 * An instant is an int64_t of UTC nanoseconds since 2000-01-01; zone files count seconds since
 * 1970-01-01, PST_EPOCH_OFFSET_S apart. The proleptic Gregorian calendar, correct for years
 * -9999 ... 9999. Everything is pure; any thread may call it.
 */
#pragma once

#include <core/base.h>

#define PST_EPOCH_OFFSET_S 946684800LL /* 2000-01-01T00:00:00Z, in seconds since 1970 */
#define PST_DAY_S          86400LL
#define PST_SECOND_NS      1000000000LL
#define PST_DAY_NS         (PST_DAY_S * PST_SECOND_NS)
#define CIVIL_DAY_MAX      65535

enum { CIVIL_MON, CIVIL_TUE, CIVIL_WED, CIVIL_THU, CIVIL_FRI, CIVIL_SAT, CIVIL_SUN };

/* Division that rounds down, so that instants before an epoch fall into the right day or second. */
pst_inline int64_t civil_floor_div(int64_t a, int64_t b) /* b > 0 */
{
    return a / b - (a % b < 0);
}
pst_inline int64_t civil_floor_mod(int64_t a, int64_t b) /* b > 0 */
{
    int64_t r = a % b;
    return r < 0 ? r + b : r;
}

/* The year is taken to start in March, so that the leap day is its last. */
static inline int32_t civil_days(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = civil_floor_div(y, 400);
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return (int32_t)(era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 730425);
}

static inline void civil_date(int32_t days, int *year, int *month, int *day)
{
    int64_t z = (int64_t)days + 730425;
    int64_t era = civil_floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp + (mp < 10 ? 3 : -9));
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

pst_inline int civil_weekday(int32_t days) /* 2000-01-01 was a Saturday */
{
    return (int)civil_floor_mod((int64_t)days + CIVIL_SAT, 7);
}

pst_inline bool civil_is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline int civil_month_days(int year, int month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && civil_is_leap(year));
}

/* The day of a UTC instant, without any zone. */
pst_inline int32_t civil_day_of(int64_t utc_ns)
{
    return (int32_t)civil_floor_div(utc_ns, PST_DAY_NS);
}

#define CIVIL_TEXT 16 /* room for a formatted date */
static inline const char *civil_format_with(int32_t days, char sep, char out[CIVIL_TEXT])
{
    int y, m, d;
    civil_date(days, &y, &m, &d);
    y = y < 0 ? 0 : y > 9999 ? 9999 : y;
    snprintf(out, CIVIL_TEXT, "%04d%c%02d%c%02d", y, sep, m & 15, sep, d & 31);
    return out;
}
static inline const char *civil_format(int32_t days, char out[CIVIL_TEXT]) /* 2026.11.23 */
{
    return civil_format_with(days, '.', out);
}
static inline const char *civil_format_iso(int32_t days, char out[CIVIL_TEXT]) /* 2026-11-23 */
{
    return civil_format_with(days, '-', out);
}

#define CIVIL_STAMP_TEXT 48 /* room for a formatted instant: 2026.11.23D09:31:07.123456789 */
static inline const char *civil_format_stamp(int64_t utc_ns, char out[CIVIL_STAMP_TEXT])
{
    char date[CIVIL_TEXT];
    int64_t rest = civil_floor_mod(utc_ns, PST_DAY_NS);
    int s = (int)(rest / PST_SECOND_NS);
    snprintf(out, CIVIL_STAMP_TEXT, "%sD%02d:%02d:%02d.%09d",
             civil_format(civil_day_of(utc_ns), date), s / 3600, s / 60 % 60, s % 60,
             (int)(rest % PST_SECOND_NS));
    return out;
}

/* Exactly `n` digits at p -> the number, else -1. Never reads past the terminating NUL. */
static inline int civil_digits(const char *p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

/* The whole text must be 2026.11.23, 2026-11-23, 2026/11/23 or 20261123, and an existing date. */
static inline bool civil_parse(const char *text, int32_t *days)
{
    int y = civil_digits(text, 4), m, d;
    if (y < 0) {
        return false;
    }
    if (text[4] == '.' || text[4] == '-' || text[4] == '/') {
        m = civil_digits(text + 5, 2);
        if (m < 0 || text[7] != text[4]) {
            return false;
        }
        d = civil_digits(text + 8, 2);
        if (d < 0 || text[10] != 0) {
            return false;
        }
    } else {
        m = civil_digits(text + 4, 2);
        if (m < 0) {
            return false;
        }
        d = civil_digits(text + 6, 2);
        if (d < 0 || text[8] != 0) {
            return false;
        }
    }
    if (m < 1 || m > 12 || d < 1 || d > civil_month_days(y, m)) {
        return false;
    }
    *days = civil_days(y, m, d);
    return true;
}

/* The whole text must be HH:MM or HH:MM:SS, 00:00 ... 24:00 (the midnight that ends the day). */
static inline bool civil_parse_time(const char *text, int32_t *seconds)
{
    int h = civil_digits(text, 2), m, s = 0;
    if (h < 0 || text[2] != ':') {
        return false;
    }
    m = civil_digits(text + 3, 2);
    if (m < 0 || (text[5] != 0 && text[5] != ':')) {
        return false;
    }
    if (text[5] == ':') {
        s = civil_digits(text + 6, 2);
        if (s < 0 || text[8] != 0) {
            return false;
        }
    }
    if (h > 24 || m > 59 || s > 59 || (h == 24 && (m || s))) {
        return false;
    }
    *seconds = h * 3600 + m * 60 + s;
    return true;
}
