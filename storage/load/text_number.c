/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal texts of any shape; the double of 64 bits and a power of ten. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include "load/text_number.h"
#include "load/text_power.h"
#include "load/text_reason.h"

#define DIGITS_MAX 400u /* of a text that strtod has to judge */

typedef unsigned __int128 u128;

const double text_ten[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
const uint64_t text_tens[20] = {1ull,
                                10ull,
                                100ull,
                                1000ull,
                                10000ull,
                                100000ull,
                                1000000ull,
                                10000000ull,
                                100000000ull,
                                1000000000ull,
                                10000000000ull,
                                100000000000ull,
                                1000000000000ull,
                                10000000000000ull,
                                100000000000000ull,
                                1000000000000000ull,
                                10000000000000000ull,
                                100000000000000000ull,
                                1000000000000000000ull,
                                10000000000000000000ull};

pst_inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* The digits before the point, in groups of three where `thousands` stands between them. */
static bool groups(const char *p, const char *end, char thousands)
{
    unsigned n = 0;
    for (bool first = true; p < end; p++)
        if (*p != thousands) {
            n++;
        } else {
            if (first ? n < 1 || n > 3 : n != 3)
                return false;
            first = false;
            n = 0;
        }
    return n == 3;
}

bool text_decimal_read(const char *p, size_t n, char point, char thousands, struct text_decimal *d)
{
    const char *end = p + n;
    *d = (struct text_decimal){0};
    if (p < end && (*p == '-' || *p == '+'))
        d->negative = *p++ == '-';
    const char *whole = p;
    bool any = false, grouped = false, behind = false;
    int32_t significant = 0, power = 0;
    for (; p < end; p++) {
        if (*p == point && !behind) {
            if (grouped && !groups(whole, p, thousands))
                return false;
            behind = true;
            continue;
        }
        if (thousands && *p == thousands && !behind) {
            grouped = true;
            continue;
        }
        if (!is_digit(*p))
            break;
        any = true;
        power -= behind;
        if (!significant && *p == '0')
            continue;
        if (significant < 19) {
            d->digits = d->digits * 10 + (uint64_t)(*p - '0');
            significant++;
        } else {
            d->cut |= *p != '0'; /* zeros that are dropped only move the point */
            power++;
        }
        if (power > 1 << 20 || power < -(1 << 20))
            return false;
    }
    if (!any || (grouped && !behind && !groups(whole, p, thousands)))
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool minus = ++p < end && *p == '-';
        p += minus || (p < end && *p == '+');
        if (p == end)
            return false;
        int32_t e = 0;
        for (; p < end && is_digit(*p); p++)
            e = e > 100000 ? e : e * 10 + (*p - '0');
        power += minus ? -e : e;
    }
    d->power = power;
    return p == end;
}

/* Eisel and Lemire; see text_power.h. power within the table, digits not 0. */
static double nearest(uint64_t digits, int32_t power)
{
    int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    const uint64_t *five = text_power[power - TEXT_POWER_LOW];
    u128 product = (u128)digits * five[0];
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1FF) == 0x1FF) { /* the upper 55 bits may still change */
        uint64_t more = (uint64_t)((u128)digits * five[1] >> 64);
        low += more;
        high += low < more;
    }
    int top = (int)(high >> 63);
    int shift = top + 64 - 52 - 3;
    uint64_t mantissa = high >> shift;
    int32_t exponent = ((217706 * power) >> 16) + 63 + top - zeros + 1023;
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << shift == high)
        mantissa &= ~1ull; /* exactly between two doubles: to the even one */
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> 53) {
        mantissa = 1ull << 52;
        exponent++;
    }
    uint64_t bits = (mantissa & ~(1ull << 52)) | (uint64_t)exponent << 52;
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

bool text_decimal_double(uint64_t digits, int32_t power, double *v)
{
    if (!digits) {
        *v = 0;
        return true;
    }
    if (digits >> 53 == 0 && power >= -22 && power <= 22) {
        double d = (double)(int64_t)digits;
        *v = power < 0 ? d / text_ten[-power] : d * text_ten[power];
        return true;
    }
    if (power < TEXT_POWER_LOW || power > TEXT_POWER_HIGH)
        return false;
    *v = nearest(digits, power);
    return true;
}

/* |text| * 10^extra for the C library. False: too long. */
static bool for_c(const char *p, size_t n, char point, char thousands, const struct text_decimal *d,
                  int32_t extra, char out[DIGITS_MAX + 32])
{
    if (!d->cut) {
        snprintf(out, 32, "%llue%ld", (unsigned long long)d->digits, (long)d->power + extra);
        return true;
    }
    size_t o = 0, i = *p == '-' || *p == '+';
    for (; i < n && p[i] != 'e' && p[i] != 'E'; i++) {
        if (thousands && p[i] == thousands)
            continue;
        if (o == DIGITS_MAX)
            return false;
        out[o++] = p[i] == point ? '.' : p[i];
    }
    char written[16] = "0";
    if (i++ < n) {
        size_t left = n - i < 15 ? n - i : 15;
        memcpy(written, p + i, left);
        written[left] = 0;
    }
    snprintf(out + o, 32, "e%ld", strtol(written, NULL, 10) + extra);
    return true;
}

/* nan, inf, infinity in any case, with a sign. */
static bool word(const char *p, size_t n, double *v)
{
    bool minus = n && *p == '-';
    if (n && (*p == '-' || *p == '+')) {
        p++;
        n--;
    }
    if (n == 3 && !strncasecmp(p, "nan", 3))
        *v = (double)NAN;
    else if ((n == 3 && !strncasecmp(p, "inf", 3)) || (n == 8 && !strncasecmp(p, "infinity", 8)))
        *v = minus ? -(double)INFINITY : (double)INFINITY;
    else
        return false;
    return true;
}

/* The power of ten that v is, or -1. */
static int ten_of(int64_t v)
{
    for (int i = 0; i < 19; i++)
        if ((uint64_t)v == text_tens[i])
            return i;
    return -1;
}

/* digits * 10^power * |multiply| / divide as top / bottom. False: beyond 64 bits. */
static bool fraction_of(const struct text_decimal *d, const struct text_scale *s, uint64_t *top,
                        uint64_t *bottom)
{
    uint64_t digits = d->digits;
    int32_t power = d->power;
    *top = 0;
    *bottom = 1;
    if (!digits)
        return true;
    for (; power < 0 && digits % 10 == 0; power++)
        digits /= 10;
    uint64_t m = s->multiply < 0 ? -(uint64_t)s->multiply : (uint64_t)s->multiply;
    if (power > 19 || power < -19)
        return false;
    uint64_t up = text_tens[power > 0 ? power : 0], down = text_tens[power < 0 ? -power : 0];
    u128 t = (u128)digits * m, b = (u128)(uint64_t)s->divide * down;
    if (t >> 64 || b >> 64 || (t = (u128)(uint64_t)t * up) >> 64)
        return false;
    *top = (uint64_t)t;
    *bottom = (uint64_t)b;
    return true;
}

/* top / bottom = *quotient * 2^*power to more than 55 bits, the lowest set when there is a rest: it
 * rounds as the fraction does. */
static u128 ratio(uint64_t top, uint64_t bottom, int *power)
{
    int zeros = __builtin_clzll(top);
    u128 t = (u128)(top << zeros) << 64, q = t / bottom;
    *power = -64 - zeros;
    return q | (t % bottom != 0);
}

/* -1: read as a decimal, scaled by 10^*extra only; else a verdict (TEXT_OK: *v is the value). */
static int scaled(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
                  struct text_decimal *d, int32_t *extra, u128 *q, int *power)
{
    *extra = 0;
    *q = 0;
    if (!text_decimal_read(p, n, point, thousands, d))
        return TEXT_NOT;
    int tens = ten_of(s->divide);
    if (s->multiply == 1 && tens >= 0) {
        *extra = -tens;
        return -1;
    }
    u128 whole =
        (u128)d->digits * (s->multiply < 0 ? -(uint64_t)s->multiply : (uint64_t)s->multiply);
    if (s->multiply < 0)
        d->negative = !d->negative;
    if (d->cut)
        return TEXT_DIGITS;
    if (tens >= 0 && !(whole >> 64)) {
        d->digits = (uint64_t)whole;
        *extra = -tens;
        return -1;
    }
    uint64_t top, bottom;
    if (!fraction_of(d, s, &top, &bottom))
        return TEXT_DIGITS;
    if (top)
        *q = ratio(top, bottom, power);
    return TEXT_OK;
}

int text_double(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
                double *v)
{
    struct text_decimal d;
    int32_t extra;
    u128 q;
    int power = 0, r = scaled(p, n, point, thousands, s, &d, &extra, &q, &power);
    if (r == TEXT_NOT)
        return s->multiply == 1 && s->divide == 1 && word(p, n, v) ? TEXT_OK : TEXT_NOT;
    if (r == TEXT_OK) {
        *v = q ? ldexp((double)q, power) : 0;
    } else if (r >= 0) {
        return r;
    } else if (d.cut || !text_decimal_double(d.digits, d.power + extra, v)) {
        char text[DIGITS_MAX + 32];
        if (!for_c(p, n, point, thousands, &d, extra, text))
            return TEXT_DIGITS;
        *v = strtod(text, NULL);
        if (isinf(*v))
            return TEXT_RANGE;
    }
    if (d.negative)
        *v = -*v;
    return TEXT_OK;
}

int text_single(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
                float *v)
{
    struct text_decimal d;
    int32_t extra;
    u128 q;
    int power = 0, r = scaled(p, n, point, thousands, s, &d, &extra, &q, &power);
    double f;
    if (r == TEXT_NOT) {
        if (s->multiply != 1 || s->divide != 1 || !word(p, n, &f))
            return TEXT_NOT;
        *v = (float)f;
        return TEXT_OK;
    }
    if (r == TEXT_OK) {
        *v = q ? ldexpf((float)q, power) : 0;
    } else if (r >= 0) {
        return r;
    } else {
        /* A double halfway between two floats may itself have been rounded: then the text decides,
         * as it does near the ends of the range. */
        uint64_t bits = 0x10000000;
        if (!d.cut && text_decimal_double(d.digits, d.power + extra, &f))
            memcpy(&bits, &f, 8);
        bool sure = (bits & 0x1FFFFFFF) != 0x10000000 &&
                    ((f >= (double)FLT_MIN && f < (double)FLT_MAX) || !d.digits);
        *v = sure ? (float)f : 0;
        if (!sure) {
            char text[DIGITS_MAX + 32];
            if (!for_c(p, n, point, thousands, &d, extra, text))
                return TEXT_DIGITS;
            *v = strtof(text, NULL);
            if (isinf(*v))
                return TEXT_RANGE;
        }
    }
    if (d.negative)
        *v = -*v;
    return TEXT_OK;
}

int text_whole(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
               int64_t low, int64_t high, int64_t *v)
{
    struct text_decimal d;
    if (!text_decimal_read(p, n, point, thousands, &d))
        return TEXT_NOT;
    if (s->multiply < 0)
        d.negative = !d.negative;
    uint64_t top, bottom;
    if (d.cut || !fraction_of(&d, s, &top, &bottom))
        return d.power > 0 ? TEXT_RANGE : TEXT_DIGITS;
    if (top % bottom)
        return TEXT_FRACTION;
    top /= bottom;
    if (top > INT64_MAX)
        return TEXT_RANGE;
    *v = d.negative ? -(int64_t)top : (int64_t)top;
    return *v < low || *v > high ? TEXT_RANGE : TEXT_OK;
}
