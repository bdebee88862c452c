/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of a window, one loop a type. Built once an instruction set, without fused arithmetic, so
 * that all builds give the same bits. A loop knows the usual shape of its type and hands everything
 * else to text_field_slow: quotes that are not a plain pair, null texts, odd numbers.
 */
#if defined(__SSE4_1__)
#include <immintrin.h>
#endif
#include "core/civil.h"
#include "core/clock.h"
#include "load/text_parts.h"

/* What a loop's fields are found by. It stays while a column is read; a copy, because a store of a
 * value might change whatever lies in memory, and all of it would be loaded anew for each row. */
struct fields {
    const uint32_t *mark, *base;
    const char *win;
    uint64_t nulls;
    uint32_t skip, rows;
    int quote;
    bool last;
};
pst_inline struct fields fields_of(const struct text_batch *b, const struct text_column *c)
{
    return (struct fields){.mark = b->mark + c->field,
                           .base = b->base,
                           .win = b->win,
                           .nulls = c->nulls,
                           .skip = c->skip,
                           .rows = b->rows,
                           .quote = c->quote,
                           .last = c->last};
}

/*
 * The next field of a loop: p, n and whether it is there and not empty. careful: look for quotes
 * within quotes; only where a quote would be as good as a letter, what else a loop takes holds
 * none.
 */
#define FIELD(f, b, c, r, careful)                                                                 \
    const uint32_t *mark = (f).mark + (f).base[r];                                                 \
    const char *p = (f).win + (uint32_t)(mark[-1] + (f).skip);                                     \
    int32_t n = (int32_t)(mark[0] - (uint32_t)(mark[-1] + (f).skip));                              \
    if ((f).last && n > 0 && p[n - 1] == '\r')                                                     \
        n--;                                                                                       \
    if (pst_unlikely(n <= 0)) {                                                                    \
        put_null(c, r);                                                                            \
        continue;                                                                                  \
    }                                                                                              \
    const char *whole = p;                                                                         \
    int32_t all = n;                                                                               \
    if ((uint8_t)*p == (f).quote) {                                                                \
        if (n < 3 || (uint8_t)p[n - 1] != (f).quote ||                                             \
            (careful && memchr(p + 1, (f).quote, (size_t)n - 2))) {                                \
            text_field_slow(b, c, r, whole, all);                                                  \
            continue;                                                                              \
        }                                                                                          \
        p++;                                                                                       \
        n -= 2;                                                                                    \
    }                                                                                              \
    if ((f).nulls >> (n < 63 ? n : 63) & 1) {                                                      \
        text_field_slow(b, c, r, whole, all);                                                      \
        continue;                                                                                  \
    }

pst_inline void put_null(const struct text_column *c, uint32_t r)
{
    memcpy(c->out + (size_t)r * c->width, c->null, c->width);
}

static pst_noinline void doubles(struct text_batch *b, struct text_column *c)
{
    double *out = (double *)(void *)c->out;
    const unsigned tens = c->tens;
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        if (pst_unlikely(!text_double_fast(p, (uint32_t)n, tens, &out[r])))
            text_field_slow(b, c, r, whole, all);
    }
}

static pst_noinline void singles(struct text_batch *b, struct text_column *c)
{
    float *out = (float *)(void *)c->out;
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        double v;
        uint64_t bits;
        bool ok = text_double_fast(p, (uint32_t)n, c->tens, &v);
        memcpy(&bits, &v, 8);
        /* halfway between two floats, or too small for a normal one: text_single knows */
        if (pst_likely(ok && (bits & 0x1FFFFFFF) != 0x10000000 &&
                       ((bits << 1 >> 53) - 900 < 240 || !(bits << 1))))
            out[r] = (float)v;
        else
            text_field_slow(b, c, r, whole, all);
    }
}

#define WHOLES(name, type)                                                                         \
    static pst_noinline void name(struct text_batch *b, struct text_column *c)                     \
    {                                                                                              \
        type *out = (type *)(void *)c->out;                                                        \
        const int64_t low = c->low, high = c->high;                                                \
        const struct fields f = fields_of(b, c);                                                   \
        for (uint32_t r = 0; r < f.rows; r++) {                                                    \
            FIELD(f, b, c, r, false)                                                               \
            int64_t v;                                                                             \
            if (pst_likely(text_whole_fast(p, (uint32_t)n, &v) && v >= low && v <= high))          \
                out[r] = (type)v;                                                                  \
            else                                                                                   \
                text_field_slow(b, c, r, whole, all);                                              \
        }                                                                                          \
    }
WHOLES(wholes1, uint8_t)
WHOLES(wholes2, int16_t)
WHOLES(wholes4, int32_t)
WHOLES(wholes8, int64_t)

static pst_noinline void chars(struct text_batch *b, struct text_column *c)
{
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, b->careful)
        if (pst_likely(n == 1))
            c->out[r] = (uint8_t)*p;
        else
            text_field_slow(b, c, r, whole, all);
    }
}

static pst_noinline void symbols(struct text_batch *b, struct text_column *c)
{
    uint32_t *out = (uint32_t *)(void *)c->out;
    struct load_dict *dict = b->dict;
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, b->careful)
        if (pst_unlikely(n > (int32_t)LOAD_SYMBOL_BYTES || b->nul)) {
            text_field_slow(b, c, r, whole, all);
            continue;
        }
        out[r] = load_dict_code(dict, p, (uint32_t)n);
        if (pst_unlikely(out[r] == LOAD_NO_CODE))
            text_field_slow(b, c, r, whole, all);
    }
}

static pst_noinline void strings(struct text_batch *b, struct text_column *c)
{
    struct load_string *out = (struct load_string *)(void *)c->out;
    uint64_t need = 0;
    for (uint32_t r = 0; r < b->rows; r++) {
        const uint32_t *mark = b->mark + b->base[r] + c->field;
        int32_t n = (int32_t)(mark[0] - (uint32_t)(mark[-1] + c->skip));
        need += n > 0 ? (uint32_t)n : 0;
    }
    uint32_t at;
    if (!load_block_text(b->block, (uint32_t)need + 32, &at)) {
        b->failed = true;
        return;
    }
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, b->careful)
        if (pst_unlikely(n > (int32_t)LOAD_STRING_BYTES)) {
            text_field_slow(b, c, r, whole, all);
            continue;
        }
        char *heap = b->block->heap; /* a slow field may have moved it */
        out[r] = (struct load_string){at, (uint32_t)n};
        if (pst_likely(n <= 32))
            memcpy(heap + at, p, 32);
        else
            memcpy(heap + at, p, (size_t)n);
        at += (uint32_t)n;
    }
}

/* HH:MM:SS -> seconds, or -1. */
pst_inline int64_t clock_seconds(uint64_t w)
{
    const uint64_t colons = 0x00003A00003A0000ull, zeros = 0x0000300000300000ull;
    bool parted = (w & 0x0000FF0000FF0000ull) == colons;
    w = w ^ colons ^ zeros;
    bool digits = text_are_digits(w);
    w &= 0x0F0F0F0F0F0F0F0Full;
    w = w * 10 + (w >> 8); /* bytes 0, 3 and 6 hold two digits each now */
    unsigned h = (uint8_t)w, m = (uint8_t)(w >> 24), s = (uint8_t)(w >> 48);
    return parted && digits && h < 24 && m < 60 && s < 60 ? (int64_t)(h * 3600 + m * 60 + s) : -1;
}

#if defined(__SSE4_1__)
/*
 * HH:MM:SS.n with up to 7 digits behind the point, sixteen characters at once: ns, or -1. They move
 * to the places of HH MM SS 00 nn nn nn n0, zeros where there are no more, and pairs are added up,
 * times ten, then pairs of those.
 */
struct clock_shape {
    __m128i zeros; /* what stands there: '0' for a digit */
    __m128i most;  /* of what is left then; 255: nothing is asked */
    __m128i order;
};
#define CLOCK_PARTS 7u
static struct clock_shape clock_shape(unsigned digits)
{
    struct clock_shape s;
    uint8_t zeros[16], most[16], order[16] = {0, 1, 3, 4, 6, 7, 128, 128};
    memcpy(zeros, "00:00:00.0000000", 16);
    for (unsigned i = 0; i < 16; i++)
        most[i] = i >= 9 + digits ? 255 : zeros[i] == '0' ? 9 : 0;
    for (unsigned i = 0; i < 8; i++)
        order[8 + i] = i < digits ? (uint8_t)(9 + i) : 128;
    memcpy(&s.zeros, zeros, 16);
    memcpy(&s.most, most, 16);
    memcpy(&s.order, order, 16);
    return s;
}
pst_inline int64_t clock_parted(const char *p, const struct clock_shape *s)
{
    __m128i x = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), s->zeros);
    __m128i more = _mm_subs_epu8(x, s->most);
    __m128i pairs = _mm_maddubs_epi16(_mm_shuffle_epi8(x, s->order), _mm_set1_epi16(1 << 8 | 10));
    __m128i late = _mm_cmpgt_epi16(pairs, _mm_setr_epi16(23, 59, 59, 0, 99, 99, 99, 99));
    __m128i sums = _mm_madd_epi16(pairs, _mm_setr_epi16(3600, 60, 1, 0, 100, 1, 100, 1));
    uint64_t seconds = (uint64_t)_mm_cvtsi128_si64(sums),
             part = (uint64_t)_mm_extract_epi64(sums, 1);
    int64_t ns = (int64_t)((uint32_t)seconds + (seconds >> 32)) * NS_PER_S +
                 (int64_t)((uint32_t)part * 10000ull + (part >> 32)) * 10;
    __m128i bad = _mm_or_si128(more, late);
    return _mm_testz_si128(bad, bad) ? ns : -1;
}
/* An eighth digit, and a ninth one. */
pst_inline int64_t clock_rest(const char *p, bool ninth, int64_t ns)
{
    unsigned a = (unsigned)(uint8_t)p[0] - '0', b = ninth ? (unsigned)(uint8_t)p[1] - '0' : 0;
    return a < 10 && b < 10 && ns >= 0 ? ns + a * 10 + b : -1;
}
#else
#define CLOCK_PARTS 0u
struct clock_shape {
    unsigned none;
};
static struct clock_shape clock_shape(unsigned digits)
{
    return (struct clock_shape){digits};
}
pst_inline int64_t clock_parted(const char *p, const struct clock_shape *s)
{
    (void)p;
    (void)s;
    return -1;
}
pst_inline int64_t clock_rest(const char *p, bool ninth, int64_t ns)
{
    (void)p;
    (void)ninth;
    return ns;
}
#endif

/* The same of any length that is known, from n characters behind the seconds on: ns, or -1. */
pst_inline int64_t clock_ns(const char *p, int32_t n)
{
    const char *s = p + 8;
    int64_t ns = clock_seconds(le64(p)) * NS_PER_S;
    if (ns < 0 || n == 0)
        return ns;
    if (s[0] != '.' || n < 2 || n > 10)
        return -1;
    unsigned digits = (unsigned)n - 1, first = 0;
    if (digits == 9) {
        digits = 8;
        first = (unsigned)(uint8_t)s[1] - '0';
    }
    uint64_t w = text_last(s + n, digits);
    if (!text_are_digits(w) || first >= 10)
        return -1;
    return ns + (int64_t)first * 100000000 +
           (int64_t)text_eight(w) * (n == 10 ? 1 : (int64_t)text_tens[10 - n]);
}

/* What a clock stands behind, as text_column keeps it. */
struct kept {
    uint64_t was[2], mask[2];
    int64_t base, low, high;
    int32_t prefix, day;
    bool zulu, daily;
};
pst_inline struct kept kept_of(const struct text_column *c)
{
    return (struct kept){.was = {c->was[0], c->was[1]},
                         .mask = {c->mask[0], c->mask[1]},
                         .base = c->base,
                         .low = c->low,
                         .high = c->high,
                         .prefix = (int32_t)c->prefix,
                         .day = c->day,
                         .zulu = c->zulu,
                         .daily = c->daily};
}

/* HH:MM:SS[.n][Z] behind a date that is known. */
static pst_noinline void moments(struct text_batch *b, struct text_column *c)
{
    int64_t *out = (int64_t *)(void *)c->out;
    const int32_t *day = b->day;
    struct kept k = kept_of(c);
    struct clock_shape shape = clock_shape(6);
    int32_t shaped = 7; /* characters behind the seconds that the shape is of */
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        bool zulu = p[n - 1] == 'Z';
        int32_t left = n - k.prefix - 8 - zulu;
        if (pst_likely(((le64(p) ^ k.was[0]) & k.mask[0]) == 0 &&
                       ((le64(p + 8) ^ k.was[1]) & k.mask[1]) == 0 && left >= 0 && zulu == k.zulu &&
                       (!k.daily || !day || day[r] == k.day))) {
            int64_t ns;
            if (pst_unlikely(left != shaped) && left >= 2 && left <= 10) {
                shape = clock_shape(left <= 8 ? (unsigned)left - 1 : CLOCK_PARTS);
                shaped = left;
            }
            if (CLOCK_PARTS && pst_likely(left == shaped)) {
                ns = clock_parted(p + k.prefix, &shape);
                if (left > 8)
                    ns = clock_rest(p + k.prefix + 16, left == 10, ns);
            } else
                ns = clock_ns(p + k.prefix, left);
            /* low and high lie on whole seconds */
            if (pst_likely(ns >= k.low && ns < k.high)) {
                out[r] = k.base + ns;
                continue;
            }
        } else if (c->how.time == LOAD_TIME_AUTO && c->how.type == PST_TIMESTAMP && n >= 9) {
            int64_t v; /* an epoch, by its number of digits */
            if (*p != '-' && text_whole_fast(p, (uint32_t)n, &v)) {
                int64_t unit = n == 19 || n == 18   ? 1
                               : n == 16 || n == 15 ? NS_PER_US
                               : n == 13 || n == 12 ? NS_PER_MS
                               : n == 10 || n == 9  ? NS_PER_S
                                                    : 0;
                int64_t ns;
                if (unit && !__builtin_mul_overflow(v, unit, &ns)) {
                    out[r] = ns - PST_EPOCH_OFFSET_S * NS_PER_S;
                    continue;
                }
            }
        }
        if ((uint8_t)*whole == f.quote || b->odd)
            text_field_slow(b, c, r, whole, all);
        else
            text_field_time(b, c, r, p, (uint32_t)n);
        k = kept_of(c);
    }
}

/* A number of a unit since 1970, 2000 or midnight. */
static pst_noinline void counts(struct text_batch *b, struct text_column *c)
{
    int64_t *out = (int64_t *)(void *)c->out;
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        int64_t v;
        if (pst_likely(text_whole_fast(p, (uint32_t)n, &v) && v >= c->low && v <= c->high &&
                       (!c->daily || !b->day || b->day[r] == c->day)))
            out[r] = v * c->unit - c->epoch + c->base;
        else
            text_field_slow(b, c, r, whole, all);
    }
}

/* Dates and the like: rows that stand together mostly say the same. */
static pst_noinline void cached(struct text_batch *b, struct text_column *c)
{
    uint32_t *out = (uint32_t *)(void *)c->out;
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        if (pst_likely((uint32_t)n == c->prefix && ((le64(p) ^ c->was[0]) & c->mask[0]) == 0 &&
                       ((le64(p + 8) ^ c->was[1]) & c->mask[1]) == 0))
            out[r] = (uint32_t)c->base;
        else if ((uint8_t)*whole == c->quote || b->odd)
            text_field_slow(b, c, r, whole, all);
        else
            text_field_time(b, c, r, p, (uint32_t)n);
    }
}

static pst_noinline void booleans(struct text_batch *b, struct text_column *c)
{
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        if (pst_likely(n == 1 && (*p | 1) == '1'))
            c->out[r] = *p & 1;
        else
            text_field_slow(b, c, r, whole, all);
    }
}

static pst_noinline void values(struct text_batch *b, struct text_column *c)
{
    const struct fields f = fields_of(b, c);
    for (uint32_t r = 0; r < f.rows; r++) {
        FIELD(f, b, c, r, false)
        (void)p;
        text_field_slow(b, c, r, whole, all);
    }
}

void TEXT_COLUMN(struct text_batch *b, struct text_column *c);
void TEXT_COLUMN(struct text_batch *b, struct text_column *c)
{
    bool text = c->kind == TEXT_KIND_SYMBOL || c->kind == TEXT_KIND_STRING ||
                c->how.type == PST_CHAR; /* where a backslash or a blank is as good as a letter */
    if (text && (b->recipe->trim || (b->careful && b->syntax->escape >= 0))) {
        values(b, c);
        return;
    }
    switch (c->kind) {
    case TEXT_KIND_DOUBLE:
        doubles(b, c);
        return;
    case TEXT_KIND_SINGLE:
        singles(b, c);
        return;
    case TEXT_KIND_WHOLE:
        if (c->how.type == PST_CHAR)
            chars(b, c);
        else if (c->how.type == PST_BOOLEAN)
            booleans(b, c);
        else if (c->width == 1)
            wholes1(b, c);
        else if (c->width == 2)
            wholes2(b, c);
        else if (c->width == 4)
            wholes4(b, c);
        else
            wholes8(b, c);
        return;
    case TEXT_KIND_MOMENT:
        moments(b, c);
        return;
    case TEXT_KIND_COUNT:
        counts(b, c);
        return;
    case TEXT_KIND_CACHED:
        cached(b, c);
        return;
    case TEXT_KIND_SYMBOL:
        symbols(b, c);
        return;
    case TEXT_KIND_STRING:
        strings(b, c);
        return;
    default:
        values(b, c);
    }
}
