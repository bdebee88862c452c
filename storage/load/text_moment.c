/* SPDX-License-Identifier: Apache-2.0 */
/* Times in the shapes that show themselves, and as numbers of a unit. */
#include "core/civil.h"
#include "core/clock.h"
#include "load/text_value.h"

#define DAYS_MAX 106751 /* of 64 bits of nanoseconds, either way from 2000-01-01 */

pst_inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}
static unsigned count_digits(const char *p, const char *end)
{
    const char *from = p;
    while (p < end && is_digit(*p))
        p++;
    return (unsigned)(p - from);
}
static int number(const char *p, unsigned n) /* n <= 9 digits that are there */
{
    int v = 0;
    while (n--)
        v = v * 10 + (*p++ - '0');
    return v;
}

int text_month(const char *p, const char *end)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    if (end - p < 3)
        return 0;
    for (int i = 0; i < 12; i++)
        if ((p[0] | 32) == names[3 * i] && (p[1] | 32) == names[3 * i + 1] &&
            (p[2] | 32) == names[3 * i + 2])
            return i + 1;
    return 0;
}

static int date_of(int y, int m, int d, int32_t *day)
{
    if (m < 1 || m > 12 || d < 1 || d > civil_month_days(y, m))
        return TEXT_DATE;
    *day = civil_days(y, m, d);
    return TEXT_OK;
}
static int year_of_two(int y)
{
    return y < 69 ? 2000 + y : 1900 + y;
}

/* Two or four digits of a year that stands last. */
static bool last_year(const char **at, const char *end, int *y)
{
    unsigned n = count_digits(*at, end);
    if (n != 2 && n != 4)
        return false;
    *y = number(*at, n);
    if (n == 2)
        *y = year_of_two(*y);
    *at += n;
    return true;
}

int text_date(const struct text_how *h, const char **at, const char *end, int32_t *day)
{
    const char *p = *at;
    unsigned n = count_digits(p, end);
    if (n == 8) {
        *at = p + 8;
        return date_of(number(p, 4), number(p + 4, 2), number(p + 6, 2), day);
    }
    if (n == 4) {
        if (end - p < 10 || (p[4] != '-' && p[4] != '.' && p[4] != '/') || p[7] != p[4] ||
            count_digits(p + 5, p + 7) != 2 || count_digits(p + 8, end) != 2)
            return TEXT_NOT;
        *at = p + 10;
        return date_of(number(p, 4), number(p + 5, 2), number(p + 8, 2), day);
    }
    if (n != 1 && n != 2)
        return TEXT_NOT;
    int first = number(p, n), y, month;
    p += n;
    if (p == end)
        return TEXT_NOT;
    char parted = *p;
    if ((month = text_month(p + (parted == '-' || parted == '/' || parted == ' '), end))) {
        p += 3 + (parted == '-' || parted == '/' || parted == ' ');
        p += p < end && *p == parted;
        if (!last_year(&p, end, &y))
            return TEXT_NOT;
        *at = p;
        return date_of(y, month, first, day);
    }
    if (parted != '-' && parted != '.' && parted != '/')
        return TEXT_NOT;
    unsigned m = count_digits(++p, end);
    if ((m != 1 && m != 2) || p + m == end || p[m] != parted)
        return TEXT_NOT;
    int second = number(p, m);
    p += m + 1;
    if (h->date_format == LOAD_DATE_YMD) {
        unsigned d = count_digits(p, end);
        if (n != 2 || (d != 1 && d != 2))
            return TEXT_NOT;
        *at = p + d;
        return date_of(year_of_two(first), second, number(p, d), day);
    }
    if (!last_year(&p, end, &y))
        return TEXT_NOT;
    if (h->date_format == LOAD_DATE_UNSAID)
        return TEXT_ORDER;
    *at = p;
    return h->date_format == LOAD_DATE_DMY ? date_of(y, second, first, day)
                                           : date_of(y, first, second, day);
}

int text_fraction(const char **at, const char *end, int64_t *ns)
{
    unsigned n = count_digits(*at, end);
    if (!n)
        return TEXT_NOT;
    if (n > 9)
        return TEXT_NANOS;
    *ns = number(*at, n) * (int64_t)text_tens[9 - n];
    *at += n;
    return TEXT_OK;
}

/* [ ]AM, [ ]PM */
static bool half_day(const char **at, const char *end, bool *afternoon)
{
    const char *p = *at;
    p += p < end && *p == ' ';
    if (end - p < 2 || ((p[0] | 32) != 'a' && (p[0] | 32) != 'p') || (p[1] | 32) != 'm')
        return false;
    *afternoon = (p[0] | 32) == 'p';
    *at = p + 2;
    return true;
}

int text_clock(const char **at, const char *end, struct text_moment *m)
{
    const char *p = *at;
    unsigned n = count_digits(p, end);
    int64_t h, minute, s = 0, f = 0;
    int r;
    if (n == 4 && (p + 4 == end || p[4] != ':')) { /* HHMM */
        h = number(p, 2);
        minute = number(p + 2, 2);
        p += 4;
    } else if (n == 6 || n == 9) { /* HHMMSS[mmm] */
        h = number(p, 2);
        minute = number(p + 2, 2);
        s = number(p + 4, 2);
        f = n == 9 ? number(p + 6, 3) * NS_PER_MS : 0;
        p += n;
    } else {
        if (!n || n > 4 || p + n == end || p[n] != ':')
            return TEXT_NOT;
        h = number(p, n);
        p += n + 1;
        if (count_digits(p, end) != 2)
            return TEXT_NOT;
        minute = number(p, 2);
        p += 2;
        if (p < end && *p == ':') {
            if (count_digits(++p, end) != 2)
                return TEXT_NOT;
            s = number(p, 2);
            p += 2;
            n = 6;
        } else {
            n = 4;
        }
    }
    if (n == 6 && p < end && (*p == '.' || *p == ',')) {
        p++;
        if ((r = text_fraction(&p, end, &f)))
            return r;
    }
    if (minute > 59 || s > 59)
        return TEXT_CLOCK;
    bool afternoon;
    if (half_day(&p, end, &afternoon)) {
        if (h < 1 || h > 12)
            return TEXT_CLOCK;
        h = h % 12 + (afternoon ? 12 : 0);
    }
    m->ns = ((h * 60 + minute) * 60 + s) * NS_PER_S + f;
    m->clocked = true;
    m->span |= h > 23;
    *at = p;
    return TEXT_OK;
}

bool text_offset(const char **at, const char *end, int32_t *seconds)
{
    const char *p = *at;
    p += p < end && *p == ' ';
    if (p == end)
        return false;
    if (*p == 'Z' || *p == 'z') {
        *seconds = 0;
        *at = p + 1;
        return true;
    }
    bool west = *p == '-';
    if (!west && *p != '+')
        return false;
    unsigned n = count_digits(++p, end);
    int h, m = 0;
    if (n == 4) {
        h = number(p, 2);
        m = number(p + 2, 2);
        p += 4;
    } else if (n == 2) {
        h = number(p, 2);
        p += 2;
        if (p < end && *p == ':') {
            if (count_digits(++p, end) != 2)
                return false;
            m = number(p, 2);
            p += 2;
        }
    } else {
        return false;
    }
    if (h > 25 || m > 59)
        return false;
    *seconds = (h * 3600 + m * 60) * (west ? -1 : 1);
    *at = p;
    return true;
}

bool text_instant(const struct tzone *zone, int32_t day, int64_t ns, int64_t *utc)
{
    if (day <= -DAYS_MAX || day >= DAYS_MAX)
        return false;
    *utc = day * PST_DAY_NS + ns;
    if (zone) {
        int64_t s = civil_floor_div(*utc, NS_PER_S), rest = *utc - s * NS_PER_S;
        *utc = (tzone_to_utc(zone, s + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S) * NS_PER_S + rest;
    }
    return true;
}

/* digits[.digits] of a unit of `unit` ns. */
static int amount(const char *p, const char *end, int64_t unit, bool sign, __int128 *ns)
{
    bool minus = sign && p < end && *p == '-';
    p += minus;
    unsigned n = count_digits(p, end);
    if (!n)
        return TEXT_NOT;
    while (n > 1 && *p == '0') {
        p++;
        n--;
    }
    if (n > 19)
        return TEXT_SPAN;
    uint64_t v = 0, f = 0;
    for (unsigned i = 0; i < n; i++)
        v = v * 10 + (uint64_t)(*p++ - '0');
    if (p < end && *p == '.') {
        n = count_digits(++p, end);
        if (!n || p + n != end)
            return TEXT_NOT;
        if (n > 9 || unit < (int64_t)text_tens[n])
            return TEXT_NANOS;
        f = (uint64_t)number(p, n) * ((uint64_t)unit / text_tens[n]);
        p += n;
    }
    if (p != end)
        return TEXT_NOT;
    *ns = (__int128)v * unit + f;
    if (minus)
        *ns = -*ns;
    return TEXT_OK;
}

static int64_t unit_of(int time)
{
    switch (time) {
    case LOAD_TIME_EPOCH_S:
    case LOAD_TIME_DAY_S:
        return NS_PER_S;
    case LOAD_TIME_EPOCH_MS:
    case LOAD_TIME_DAY_MS:
        return NS_PER_MS;
    case LOAD_TIME_EPOCH_US:
    case LOAD_TIME_DAY_US:
        return NS_PER_US;
    default:
        return 1;
    }
}

static int counted(int time, const char *p, const char *end, struct text_moment *m)
{
    bool of_day = time >= LOAD_TIME_DAY_S && time <= LOAD_TIME_DAY_NS;
    __int128 ns;
    int r = amount(p, end, unit_of(time), true, &ns);
    if (r)
        return r;
    if (!of_day && time != LOAD_TIME_KDB_NS)
        ns -= (__int128)PST_EPOCH_OFFSET_S * NS_PER_S;
    if (ns <= INT64_MIN || ns >= INT64_MAX)
        return TEXT_SPAN;
    m->ns = (int64_t)ns;
    m->instant = !of_day;
    m->clocked = true;
    m->span = of_day && (ns < 0 || ns >= NS_PER_DAY);
    return TEXT_OK;
}

/* Digits alone, and a fraction perhaps: -1 = this is something else. */
static int by_magnitude(const char *p, const char *end, struct text_moment *m)
{
    unsigned n = count_digits(p, end);
    bool fraction = p + n < end && p[n] == '.' && count_digits(p + n + 1, end) &&
                    p + n + 1 + count_digits(p + n + 1, end) == end;
    if ((p + n != end && !fraction) || !n)
        return -1;
    switch (n) {
    case 9:
    case 10:
        return counted(LOAD_TIME_EPOCH_S, p, end, m);
    case 12:
    case 13:
        return counted(LOAD_TIME_EPOCH_MS, p, end, m);
    case 15:
    case 16:
        return counted(LOAD_TIME_EPOCH_US, p, end, m);
    case 18:
    case 19:
        return counted(LOAD_TIME_EPOCH_NS, p, end, m);
    case 8:
    case 14:
    case 17:
        return -1;
    default:
        return TEXT_EPOCH;
    }
}

/* [-][nD]HH:MM[:SS[.n]] */
static int clock_alone(const char *p, const char *end, struct text_moment *m)
{
    bool minus = p < end && *p == '-';
    p += minus;
    int64_t days = 0;
    unsigned n = count_digits(p, end);
    if (n && p + n < end && p[n] == 'D' && n <= 6) {
        days = number(p, n);
        if (days > 100000)
            return TEXT_SPAN;
        p += n + 1;
        m->span = true;
    } else if (n == (unsigned)(end - p)) {
        return TEXT_EPOCH;
    }
    int r = text_clock(&p, end, m);
    if (r)
        return r;
    m->ns = (days * NS_PER_DAY + m->ns) * (minus ? -1 : 1);
    m->span |= minus;
    return p == end ? TEXT_OK : TEXT_NOT;
}

static bool of_day_type(uint8_t type)
{
    return type == PST_TIMESPAN || type == PST_TIME || type == PST_SECOND || type == PST_MINUTE;
}

static int shown(const struct text_how *h, const char *p, const char *end, struct text_moment *m)
{
    const char *from = p;
    bool compact = count_digits(p, end) >= 8;
    int r;
    if (count_digits(p, end) == 14 || count_digits(p, end) == 17) {
        m->dated = true;
        r = date_of(number(p, 4), number(p + 4, 2), number(p + 6, 2), &m->day);
        p += 8;
    } else {
        if (p < end && (*p == '-' || (end - p > 2 && (p[1] == ':' || p[2] == ':'))))
            return clock_alone(p, end, m);
        r = text_date(h, &p, end, &m->day);
        if (r == TEXT_NOT && of_day_type(h->type))
            return clock_alone(from, end, m);
        m->dated = true;
        if (!r && p < end) {
            if (*p != 'T' && *p != 't' && *p != 'D' && *p != '_' && *p != ' ' &&
                !(compact && *p == '-'))
                return TEXT_NOT;
            p++;
            if (p == end)
                return TEXT_NOT;
        }
    }
    if (r || p == end)
        return r;
    if ((r = text_clock(&p, end, m)))
        return r;
    if (m->span)
        return TEXT_CLOCK;
    int32_t offset;
    if (p < end && text_offset(&p, end, &offset)) {
        if (!text_instant(NULL, m->day, m->ns, &m->ns))
            return TEXT_SPAN;
        m->ns -= offset * NS_PER_S;
        m->instant = true;
    }
    return p == end ? TEXT_OK : TEXT_NOT;
}

int text_moment_read(const struct text_how *h, const char *p, size_t n, struct text_moment *m)
{
    const char *end = p + n;
    *m = (struct text_moment){0};
    switch (h->time) {
    case LOAD_TIME_AUTO:
        if (!of_day_type(h->type)) {
            int r = by_magnitude(p, end, m);
            if (r >= 0)
                return r;
        }
        return shown(h, p, end, m);
    case LOAD_TIME_ISO:
    case LOAD_TIME_YMD:
        return shown(h, p, end, m);
    case LOAD_TIME_CLOCK:
        return clock_alone(p, end, m);
    case LOAD_TIME_PATTERN:
        return text_pattern_read(h, p, n, m);
    default:
        return counted(h->time, p, end, m);
    }
}

/* What the clocks of the zone show at an instant. */
static void local(const struct tzone *zone, int64_t utc, int32_t *day, int64_t *ns)
{
    int64_t s = civil_floor_div(utc, NS_PER_S), rest = utc - s * NS_PER_S;
    if (zone)
        s += tzone_offset(zone, s + PST_EPOCH_OFFSET_S);
    *day = (int32_t)civil_floor_div(s, PST_DAY_S);
    *ns = civil_floor_mod(s, PST_DAY_S) * NS_PER_S + rest;
}

int text_moment_put(const struct text_how *h, const struct text_moment *m, int32_t day, void *out)
{
    struct text_moment t = *m;
    if (h->type == PST_TIMESTAMP) {
        if (!t.instant) {
            if (t.span)
                return TEXT_CLOCK;
            if (!t.dated && day == TEXT_NO_DAY)
                return TEXT_DATELESS;
            if (!text_instant(h->zone, t.dated ? t.day : day, t.ns, &t.ns))
                return TEXT_SPAN;
        }
        put64(out, (uint64_t)t.ns);
        return TEXT_OK;
    }
    if (t.instant) {
        local(h->zone, t.ns, &t.day, &t.ns);
        t.dated = t.clocked = true;
    }
    if (h->type == PST_DATE || h->type == PST_MONTH) {
        if (!t.dated)
            return TEXT_NOT;
        int y, month, d;
        civil_date(t.day, &y, &month, &d);
        put32(out, (uint32_t)(h->type == PST_DATE ? t.day : (y - 2000) * 12 + month - 1));
        return TEXT_OK;
    }
    if (!t.clocked)
        return TEXT_NOT;
    if (h->type == PST_TIMESPAN) {
        put64(out, (uint64_t)t.ns);
        return TEXT_OK;
    }
    int64_t unit = h->type == PST_MINUTE   ? 60 * NS_PER_S
                   : h->type == PST_SECOND ? NS_PER_S
                                           : NS_PER_MS;
    if (t.ns % unit)
        return TEXT_FINER;
    if (t.ns / unit > INT32_MAX || t.ns / unit <= INT32_MIN)
        return TEXT_RANGE;
    put32(out, (uint32_t)(int32_t)(t.ns / unit));
    return TEXT_OK;
}
