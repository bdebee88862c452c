/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_number.h - decimal texts to numbers, exactly: integers are checked against their range,
 * floats are the double (or float) nearest to what the text says, ties to even, as strtod rounds.
 *
 * How: the digits become one u64 and a power of ten. Where both are small one division is exact
 * (W. Clinger, "How to read floating point numbers accurately", 1990); else 128 bits of 5^q decide
 * (D. Lemire, "Number parsing at a gigabyte per second", 2021); what neither decides, strtod does.
 * No locale is asked: strtod only ever sees a text whose point the C locale knows, and Penstock's
 * programs do not call setlocale.
 *
 * The inline readers are for text in a window: TEXT_PAD_BEFORE bytes before and TEXT_PAD_BEHIND
 * bytes behind it must be readable, whatever they hold. They take the common shapes only (at most
 * 16 characters, no exponent) and return false for everything else, which the functions below then
 * judge: a false is not a verdict. Those in text_number.c read p[0 ... n) and nothing else.
 *
 * Pure; any thread.
 */
#pragma once

#include "core/base.h"

#define TEXT_PAD_BEFORE 16u
#define TEXT_PAD_BEHIND 64u

/* |value| = digits * 10^power */
struct text_decimal {
    uint64_t digits;
    int32_t power;
    bool negative;
    bool cut; /* it has more than 19 significant digits: `digits` is not all of it */
};

extern const double text_ten[23];    /* 10^0 ... 10^22: exact */
extern const uint64_t text_tens[20]; /* 10^0 ... 10^19 */

/*
 * [+-]digits[.digits][e[+-]digits], a digit at least; `point` stands for the '.', `thousands` (0 =
 * none) may part the digits before it into groups of three. False: no such text.
 */
bool text_decimal_read(const char *p, size_t n, char point, char thousands, struct text_decimal *d);
/* digits * 10^power correctly rounded; false: not decided (the caller asks strtod). */
bool text_decimal_double(uint64_t digits, int32_t power, double *v);

/* v * multiply / divide, correctly rounded; what load_recipe's `scale` became. */
struct text_scale {
    int64_t multiply, divide; /* divide > 0 */
};
/* nan, inf, infinity (any case, a sign) too where the scale is 1. TEXT_… of text_value.h: 0 = done.
 */
int text_double(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
                double *v);
int text_single(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
                float *v);
/* A whole number, in low ... high; 100.0 and 1e2 are whole. */
int text_whole(const char *p, size_t n, char point, char thousands, const struct text_scale *s,
               int64_t low, int64_t high, int64_t *v);

#define TEXT_ZEROS 0x3030303030303030ull

/* Eight characters, the first in the lowest byte. */
pst_inline bool text_are_digits(uint64_t w)
{
    return !(((w + 0x4646464646464646ull) | (w - TEXT_ZEROS)) & 0x8080808080808080ull);
}
pst_inline uint32_t text_eight(uint64_t w)
{
    w = (w & 0x0F0F0F0F0F0F0F0Full) * 2561 >> 8;
    w = (w & 0x00FF00FF00FF00FFull) * 6553601 >> 16;
    return (uint32_t)((w & 0x0000FFFF0000FFFFull) * 42949672960001ull >> 32);
}
/* The n (1 ... 8) characters before `end`, zeros in front of them. */
pst_inline uint64_t text_last(const char *end, unsigned n)
{
    uint64_t keep = ~0ull << (64 - 8 * n);
    return (le64(end - 8) & keep) | (TEXT_ZEROS & ~keep);
}
/* The first byte of w that is c, as its highest bit; 0 = none. Bits above the first may lie. */
pst_inline uint64_t text_byte(uint64_t w, char c)
{
    uint64_t x = w ^ 0x0101010101010101ull * (uint8_t)c;
    return (x - 0x0101010101010101ull) & ~x & 0x8080808080808080ull;
}

/* Digits and one '.' perhaps, no sign, n <= 16: digits and how many of them follow the point. */
pst_inline bool text_plain(const char *p, unsigned n, uint64_t *digits, unsigned *fraction)
{
    const char *end = p + n;
    if (pst_likely(n - 1 < 8)) {
        uint64_t w = text_last(end, n), dot = text_byte(w, '.');
        uint64_t below = ((dot & -dot) >> 7) - 1; /* the bytes before the point */
        uint64_t without = (w & ~(below << 8 | 0xFF)) | (w & below) << 8 | '0';
        w = dot ? without : w;
        *fraction = dot ? 7 - ((unsigned)__builtin_ctzll(dot) >> 3) : 0;
        *digits = text_eight(w);
        return text_are_digits(w) && n > (dot != 0);
    }
    if (n - 9 >= 8)
        return false;
    uint64_t high = text_last(end - 8, n - 8), low = le64(end - 8);
    uint64_t dot = text_byte(low, '.');
    if (dot) {
        uint64_t below = ((dot & -dot) >> 7) - 1;
        low = (low & ~(below << 8 | 0xFF)) | (low & below) << 8 | high >> 56;
        high = high << 8 | '0';
        *fraction = 7 - ((unsigned)__builtin_ctzll(dot) >> 3);
    } else if ((dot = text_byte(high, '.'))) {
        uint64_t below = ((dot & -dot) >> 7) - 1;
        high = (high & ~(below << 8 | 0xFF)) | (high & below) << 8 | '0';
        *fraction = 15 - ((unsigned)__builtin_ctzll(dot) >> 3);
    } else {
        *fraction = 0;
    }
    *digits = text_eight(high) * 100000000ull + text_eight(low);
    return text_are_digits(high) && text_are_digits(low);
}

/* text * 10^-tens, tens <= 6 */
pst_inline bool text_double_fast(const char *p, uint32_t n, unsigned tens, double *v)
{
    uint64_t digits;
    unsigned fraction, minus = *p == '-';
    if (!text_plain(p + minus, n - minus, &digits, &fraction) || digits >> 53)
        return false;
    double d = (double)(int64_t)digits / text_ten[fraction + tens];
    *v = minus ? -d : d;
    return true;
}
/* A whole number without a point; its range is the caller's. */
pst_inline bool text_whole_fast(const char *p, uint32_t n, int64_t *v)
{
    unsigned minus = *p == '-';
    const char *end = p + n;
    n -= minus;
    uint64_t digits;
    if (pst_likely(n - 1 < 8)) {
        uint64_t w = text_last(end, n);
        digits = text_eight(w);
        if (!text_are_digits(w))
            return false;
    } else if (n - 9 < 11) { /* 9 ... 19, so that nothing overflows */
        unsigned first = n > 16 ? n - 16 : 0;
        uint64_t w = text_last(end - 8, first ? 8 : n - 8), low = le64(end - 8);
        digits = text_eight(w) * 100000000ull + text_eight(low);
        if (!text_are_digits(w) || !text_are_digits(low))
            return false;
        for (unsigned i = 0; i < first; i++) {
            unsigned c = (unsigned)(uint8_t)(end - n)[i] - '0';
            if (c > 9)
                return false;
            digits += c * text_tens[n - 1 - i];
        }
        if (digits > INT64_MAX)
            return false;
    } else {
        return false;
    }
    *v = minus ? -(int64_t)digits : (int64_t)digits;
    return true;
}
