/* SPDX-License-Identifier: Apache-2.0 */
/* Times by a pattern of strptime's letters. */
#include "core/civil.h"
#include "core/clock.h"
#include "load/text_value.h"

struct parts {
    int year, month, day, of_year, hour, half; /* half: 1 = AM, 2 = PM */
    int32_t offset;
    int64_t ns; /* of the minute and below; of 1970 with %s */
    bool dated, clocked, zoned, epoch;
};

/* 1 ... most digits, as many as there are. */
static bool digits(const char **at, const char *end, unsigned most, int64_t *v)
{
    const char *p = *at;
    for (*v = 0; p < end && (unsigned)(p - *at) < most && (unsigned char)(*p - '0') < 10; p++)
        *v = *v * 10 + (*p - '0');
    bool any = p > *at;
    *at = p;
    return any;
}

static int letter(char c, const char **at, const char *end, struct parts *t)
{
    int64_t v;
    switch (c) {
    case 'Y':
        if (!digits(at, end, 4, &v))
            return TEXT_PATTERN;
        t->year = (int)v;
        t->dated = true;
        return TEXT_OK;
    case 'y':
        if (!digits(at, end, 2, &v))
            return TEXT_PATTERN;
        t->year = (int)(v < 69 ? 2000 + v : 1900 + v);
        t->dated = true;
        return TEXT_OK;
    case 'm':
        if (!digits(at, end, 2, &v))
            return TEXT_PATTERN;
        t->month = (int)v;
        t->dated = true;
        return v ? TEXT_OK : TEXT_DATE;
    case 'b':
        if (!(t->month = text_month(*at, end)))
            return TEXT_PATTERN;
        *at += 3;
        t->dated = true;
        return TEXT_OK;
    case 'd':
        if (!digits(at, end, 2, &v))
            return TEXT_PATTERN;
        t->day = (int)v;
        t->dated = true;
        return v ? TEXT_OK : TEXT_DATE;
    case 'j':
        if (!digits(at, end, 3, &v))
            return TEXT_PATTERN;
        t->of_year = (int)v;
        t->dated = true;
        return v ? TEXT_OK : TEXT_DATE;
    case 'H':
    case 'I':
        if (!digits(at, end, 2, &v))
            return TEXT_PATTERN;
        t->hour = (int)v;
        t->clocked = true;
        return v > 23 || (c == 'I' && (v < 1 || v > 12)) ? TEXT_CLOCK : TEXT_OK;
    case 'M':
    case 'S':
        if (!digits(at, end, 2, &v))
            return TEXT_PATTERN;
        t->ns += v * NS_PER_S * (c == 'M' ? 60 : 1);
        t->clocked = true;
        return v > 59 ? TEXT_CLOCK : TEXT_OK;
    case 's':
        if (!digits(at, end, 11, &v))
            return TEXT_PATTERN;
        if (v > INT64_MAX / NS_PER_S / 2)
            return TEXT_SPAN;
        t->ns += v * NS_PER_S;
        t->epoch = true;
        return TEXT_OK;
    case 'f': {
        int r = text_fraction(at, end, &v);
        t->ns += r ? 0 : v;
        return r == TEXT_NOT ? TEXT_PATTERN : r;
    }
    case 'p':
        if (end - *at < 2 || ((**at | 32) != 'a' && (**at | 32) != 'p') || ((*at)[1] | 32) != 'm')
            return TEXT_PATTERN;
        t->half = (**at | 32) == 'p' ? 2 : 1;
        *at += 2;
        return TEXT_OK;
    case 'Z':
        t->zoned = true;
        return text_offset(at, end, &t->offset) ? TEXT_OK : TEXT_PATTERN;
    default:
        return TEXT_PATTERN;
    }
}

/* The ']' of the '[' at f, or NULL. */
static const char *closing(const char *f, const char *stop)
{
    for (unsigned depth = 0; f < stop; f++) {
        if (*f == '%')
            f++;
        else if (*f == '[')
            depth++;
        else if (*f == ']' && !--depth)
            return f;
    }
    return NULL;
}

bool text_pattern_valid(const char *pattern)
{
    const char *stop = pattern + strlen(pattern);
    unsigned open = 0;
    for (const char *f = pattern; f < stop; f++) {
        if (*f == '[') {
            open++;
            if (!closing(f, stop))
                return false;
        } else if (*f == ']') {
            if (!open--)
                return false;
        } else if (*f == '%' && !strchr("YymbdjHIMSsfpZ%[]", *++f)) {
            return false;
        } else if (!*f) { /* a '%' at the end */
            return false;
        }
    }
    return true;
}

/* The pattern from `f` to `stop`. */
static int match(const char *f, const char *stop, const char **at, const char *end, struct parts *t)
{
    while (f < stop) {
        int r;
        if (*f == '[') { /* may be missing as a whole */
            const char *close = closing(f, stop);
            if (!close)
                return TEXT_PATTERN;
            struct parts before = *t;
            const char *from = *at;
            if (match(f + 1, close, at, end, t)) {
                *t = before;
                *at = from;
            }
            f = close + 1;
            continue;
        }
        if (*f == '%' && f + 1 < stop && !strchr("%[]", f[1])) {
            if ((r = letter(f[1], at, end, t)))
                return r;
            f += 2;
            continue;
        }
        f += *f == '%' && f + 1 < stop;
        if (*at == end || **at != *f)
            return TEXT_PATTERN;
        ++*at;
        f++;
    }
    return TEXT_OK;
}

int text_pattern_read(const struct text_how *h, const char *p, size_t n, struct text_moment *m)
{
    struct parts t = {0};
    const char *end = p + n;
    int r = match(h->pattern, h->pattern + strlen(h->pattern), &p, end, &t);
    if (r || p != end)
        return r ? r : TEXT_PATTERN;
    if (t.epoch) {
        m->ns = t.ns - PST_EPOCH_OFFSET_S * NS_PER_S;
        m->instant = true;
        return TEXT_OK;
    }
    if (t.half) {
        if (t.hour < 1 || t.hour > 12)
            return TEXT_CLOCK;
        t.hour = t.hour % 12 + (t.half == 2 ? 12 : 0);
    }
    m->ns = t.hour * 3600 * NS_PER_S + t.ns;
    m->clocked = t.clocked;
    if (t.dated) {
        int month = t.month ? t.month : 1, day = t.day ? t.day : 1;
        if (day > civil_month_days(t.year, month > 12 ? 12 : month) || month > 12 ||
            t.of_year > 365 + civil_is_leap(t.year))
            return TEXT_DATE;
        m->day =
            t.of_year ? civil_days(t.year, 1, 1) + t.of_year - 1 : civil_days(t.year, month, day);
        m->dated = true;
    }
    if (t.zoned) {
        if (!t.dated)
            return TEXT_DATELESS;
        if (!text_instant(NULL, m->day, m->ns, &m->ns))
            return TEXT_SPAN;
        m->ns -= t.offset * NS_PER_S;
        m->instant = true;
    }
    return TEXT_OK;
}
