/* SPDX-License-Identifier: Apache-2.0 */
/*
 * temporal.h - texts of dates and times, for plugins of penstock/analytic.h: a header alone. The
 * same texts as in SQL, with the same values (tests/unit/test_temporal.c holds them together):
 *
 *   date       2024.01.02 2024-01-02 2024/01/02 20240102      month  2024.01 2024-01 2024.01m
 *   timestamp  date, then 'D', 'T' or blanks, then HH:MM[:SS[.up to 9 digits]], then nothing (UTC),
 *              Z, +HH, +HH:MM or +HHMM; or a date alone
 *   minute second time   [-]HH:MM[:SS[.digits]]; hours may pass 24
 *   timespan   [-]nDHH:MM[:SS[.digits]], [-]HH:MM[:SS[.digits]], or words: "1 day 2 hours",
 *              "5 min", "90s"; not months and years, which have no length
 *
 * Values are those of types.h. No infinities and no null: there is nothing to compare with them.
 */
#ifndef PENSTOCK_TEMPORAL_H
#define PENSTOCK_TEMPORAL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <penstock/types.h>

#define PST_SECOND_ INT64_C(1000000000)
#define PST_DAY_    (86400 * PST_SECOND_)

struct pst_scan { /* nothing here needs a terminating NUL */
    const char *p, *end;
};
static inline bool pst_scan_digit(const struct pst_scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}
static inline bool pst_scan_char(struct pst_scan *s, char c)
{
    bool is = s->p < s->end && *s->p == c;
    s->p += is;
    return is;
}
static inline bool pst_scan_blanks(struct pst_scan *s)
{
    const char *from = s->p;
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
    return s->p > from;
}
static inline bool pst_scan_digits(struct pst_scan *s, int min, int max, int64_t *v)
{
    int n = 0;
    for (*v = 0; n < max && pst_scan_digit(s); n++)
        *v = *v * 10 + (*s->p++ - '0');
    return n >= min;
}

/* Days since 2000-01-01 of a civil date (Gregorian; the year is taken to begin in March). */
static inline int32_t pst_days(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y < 0 ? y - 399 : y) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return (int32_t)(era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730425);
}
static inline bool pst_scan_date(struct pst_scan *s, int32_t *days)
{
    static const uint8_t length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t y, m, d;
    if (!pst_scan_digits(s, 4, 4, &y))
        return false;
    if (s->p < s->end && (*s->p == '.' || *s->p == '-' || *s->p == '/')) {
        char sep = *s->p++;
        if (!pst_scan_digits(s, 1, 2, &m) || !pst_scan_char(s, sep) ||
            !pst_scan_digits(s, 1, 2, &d))
            return false;
    } else if (!pst_scan_digits(s, 2, 2, &m) || !pst_scan_digits(s, 2, 2, &d)) {
        return false;
    }
    bool leap = y % 4 == 0 && (y % 100 || y % 400 == 0);
    if (m < 1 || m > 12 || d < 1 || d > length[m - 1] || (m == 2 && d == 29 && !leap))
        return false;
    *days = pst_days(y, m, d);
    return true;
}

/* HH:MM[:SS[.digits]] */
static inline bool pst_scan_clock(struct pst_scan *s, int64_t *ns)
{
    int64_t h, m, sec = 0, part = 0;
    if (!pst_scan_digits(s, 1, 5, &h) || !pst_scan_char(s, ':') || !pst_scan_digits(s, 2, 2, &m) ||
        m > 59)
        return false;
    if (pst_scan_char(s, ':')) {
        if (!pst_scan_digits(s, 2, 2, &sec) || sec > 59)
            return false;
        if (pst_scan_char(s, '.')) {
            const char *from = s->p;
            pst_scan_digits(s, 0, 9, &part);
            for (ptrdiff_t n = s->p - from; n < 9; n++)
                part *= 10;
        }
    }
    *ns = ((h * 60 + m) * 60 + sec) * PST_SECOND_ + part;
    return true;
}

static inline bool pst_scan_stamp(struct pst_scan *s, int64_t *out)
{
    int32_t day;
    int64_t clock = 0, h, m = 0;
    if (!pst_scan_date(s, &day))
        return false;
    if (pst_scan_char(s, 'D') || pst_scan_char(s, 'T') || pst_scan_blanks(s)) {
        if (!pst_scan_clock(s, &clock) || clock > PST_DAY_)
            return false;
        pst_scan_blanks(s);
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) {
            int64_t sign = *s->p++ == '-' ? -1 : 1;
            if (!pst_scan_digits(s, 2, 2, &h))
                return false;
            pst_scan_char(s, ':');
            if (pst_scan_digit(s) && !pst_scan_digits(s, 2, 2, &m))
                return false;
            clock -= sign * (h * 60 + m) * 60 * PST_SECOND_;
        } else {
            pst_scan_char(s, 'Z');
        }
    }
    /* 1707 … 2292 is what 64 bits of nanoseconds hold */
    return !__builtin_mul_overflow((int64_t)day, PST_DAY_, out) &&
           !__builtin_add_overflow(*out, clock, out) && *out != PST_NULL_LONG;
}

/* The length of a unit's word, 0: none. */
static inline int64_t pst_unit(const char *word, size_t n)
{
    static const struct {
        const char *name;
        int64_t ns;
    } unit[] = {{"nanosecond", 1},
                {"ns", 1},
                {"microsecond", 1000},
                {"us", 1000},
                {"millisecond", 1000000},
                {"ms", 1000000},
                {"second", PST_SECOND_},
                {"sec", PST_SECOND_},
                {"s", PST_SECOND_},
                {"minute", 60 * PST_SECOND_},
                {"min", 60 * PST_SECOND_},
                {"m", 60 * PST_SECOND_},
                {"hour", 3600 * PST_SECOND_},
                {"h", 3600 * PST_SECOND_},
                {"day", PST_DAY_},
                {"d", PST_DAY_},
                {"week", 7 * PST_DAY_},
                {"w", 7 * PST_DAY_}};
    for (unsigned i = 0; i < sizeof unit / sizeof *unit; i++) {
        size_t len = strlen(unit[i].name), k = 0;
        while (k < len && k < n && (word[k] | 32) == unit[i].name[k])
            k++;
        if (k == len && (n == len || (n == len + 1 && len > 2 && (word[len] | 32) == 's')))
            return unit[i].ns;
    }
    return 0;
}
static inline bool pst_scan_words(struct pst_scan *s, int64_t *ns)
{
    int64_t sign = pst_scan_char(s, '-') ? -1 : 1, whole, part = 0, scale = 1, v;
    if (sign > 0)
        pst_scan_char(s, '+');
    pst_scan_blanks(s);
    const char *from = s->p;
    pst_scan_digits(s, 0, 18, &whole);
    if (pst_scan_char(s, '.')) {
        const char *digits = s->p;
        if (!pst_scan_digits(s, 1, 9, &part))
            return false;
        for (ptrdiff_t n = s->p - digits; n > 0; n--)
            scale *= 10;
    }
    if (s->p == from)
        return false;
    pst_scan_blanks(s);
    const char *word = s->p;
    while (s->p < s->end && (*s->p | 32) >= 'a' && (*s->p | 32) <= 'z')
        s->p++;
    int64_t unit = pst_unit(word, (size_t)(s->p - word));
    /* what is left of a unit: unit / scale of each of `part`, without passing 64 bits */
    int64_t rest =
        part / scale * unit + part % scale * (unit / scale) + part % scale * (unit % scale) / scale;
    return unit && !__builtin_mul_overflow(whole, unit, &v) &&
           !__builtin_add_overflow(v, rest, &v) && !__builtin_mul_overflow(v, sign, &v) &&
           !__builtin_add_overflow(*ns, v, ns);
}
static inline bool pst_scan_span(struct pst_scan *s, int64_t *ns)
{
    *ns = 0;
    for (bool any = false;; any = true) {
        pst_scan_blanks(s);
        if (s->p == s->end)
            return any && *ns != PST_NULL_LONG;
        struct pst_scan words = *s;
        int64_t sign = pst_scan_char(s, '-') ? -1 : 1, days = 0, clock, v;
        if (sign > 0)
            pst_scan_char(s, '+');
        struct pst_scan number = *s;
        if (!pst_scan_digits(s, 1, 6, &days) || !pst_scan_char(s, 'D') || !pst_scan_digit(s)) {
            *s = number;
            days = 0;
        }
        struct pst_scan at = *s;
        if (pst_scan_digits(&at, 1, 5, &v) && at.p < at.end && *at.p == ':') {
            if (!pst_scan_clock(s, &clock) || __builtin_mul_overflow(days, PST_DAY_, &days) ||
                __builtin_add_overflow(clock, days, &clock) ||
                __builtin_add_overflow(*ns, sign * clock, ns))
                return false;
        } else {
            *s = words;
            if (!pst_scan_words(s, ns))
                return false;
        }
        pst_scan_blanks(s);
        pst_scan_char(s, ',');
    }
}

static inline bool pst_is_temporal(uint32_t type)
{
    return type >= PST_TIMESTAMP && type <= PST_TIME && type != 15;
}

/* False: the text is none of the type's. */
static inline bool pst_temporal(uint32_t type, const char *text, size_t n, int64_t *out)
{
    struct pst_scan s = {text, text + n};
    int32_t day;
    int64_t y, m, ns, unit;
    bool minus;
    pst_scan_blanks(&s);
    while (s.end > s.p && (s.end[-1] == ' ' || s.end[-1] == '\t' || s.end[-1] == '\n'))
        s.end--;
    switch (type) {
    case PST_DATE:
        if (!pst_scan_date(&s, &day))
            return false;
        *out = day;
        break;
    case PST_MONTH:
        if (!pst_scan_digits(&s, 4, 4, &y) ||
            !(pst_scan_char(&s, '.') || pst_scan_char(&s, '-') || pst_scan_char(&s, '/')) ||
            !pst_scan_digits(&s, 1, 2, &m) || m < 1 || m > 12)
            return false;
        pst_scan_char(&s, 'm');
        *out = (y - 2000) * 12 + m - 1;
        break;
    case PST_TIMESTAMP:
        if (!pst_scan_stamp(&s, out))
            return false;
        break;
    case PST_TIMESPAN:
        if (!pst_scan_span(&s, out))
            return false;
        break;
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        unit = type == PST_MINUTE   ? 60 * PST_SECOND_
               : type == PST_SECOND ? PST_SECOND_
                                    : PST_SECOND_ / 1000;
        minus = pst_scan_char(&s, '-');
        if (!pst_scan_clock(&s, &ns))
            return false;
        ns = minus ? -ns : ns;
        *out = ns / unit - (ns % unit < 0);
        if (*out > INT32_MAX || *out < -INT32_MAX)
            return false;
        break;
    default:
        return false;
    }
    return s.p == s.end;
}

#endif
