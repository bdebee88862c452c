/* SPDX-License-Identifier: Apache-2.0 */
/* nytime.h - New York dates without a zone file: US rules since 2007 (clocks change at 02:00, so
 * the offset of a midnight is that of the day before's evening). */
#pragma once

#include <core/base.h>

static inline int64_t ny_days(int y, int m, int d) /* days since 1970-01-01 */
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400,
            doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* UTC ns since 1970 of the midnight with which the date begins in New York. */
static inline int64_t ny_midnight(int y, int m, int d)
{
    int64_t day = ny_days(y, m, d), march = ny_days(y, 3, 1), november = ny_days(y, 11, 1);
    /* 1970-01-01 was a Thursday: (days + 4) % 7 = 0 on Sundays */
    int64_t from = march + (7 - (march + 4) % 7) % 7 + 7,
            to = november + (7 - (november + 4) % 7) % 7;
    int offset = day > from && day <= to ? 4 : 5;
    return (day * 24 + offset) * INT64_C(3600000000000);
}
