/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled three times: KERNELS is the table's name, and the compiler's target decides what it
 * makes of the loops. What compilers do not find (compressing places) is written out for AVX-512.
 */
#include "exec_kernels.h"

#include <math.h>

#include "penstock/types.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define WIDE 1
#include <immintrin.h>
#endif

#define LANES 8

static double add_lanes(const double *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static double sum_f64(const double *p, uint32_t n, uint64_t *count)
{
    double s[LANES] = {0};
    uint64_t c[LANES] = {0}, nulls = 0;
    uint32_t i = 0;
#ifdef WIDE
    __m512d v = _mm512_setzero_pd();
    uint64_t have = 0;
    for (; i + LANES <= n; i += LANES) {
        __m512d x = _mm512_loadu_pd(p + i);
        __mmask8 k = _mm512_cmp_pd_mask(x, x, _CMP_ORD_Q);
        v = _mm512_mask_add_pd(v, k, v, x);
        have += (unsigned)__builtin_popcount(k);
    }
    _mm512_storeu_pd(s, v);
    c[0] = have;
    nulls = i;
#else
    for (; i + LANES <= n; i += LANES)
        for (unsigned j = 0; j < LANES; j++) {
            double x = p[i + j];
            s[j] += x == x ? x : 0.0;
            c[j] += x == x;
        }
#endif
    (void)nulls;
    for (unsigned j = 0; i < n; i++, j++) {
        double x = p[i];
        s[j] += x == x ? x : 0.0;
        c[j] += x == x;
    }
    *count = c[0] + c[1] + c[2] + c[3] + c[4] + c[5] + c[6] + c[7];
    return add_lanes(s);
}

static void sum_i64(const int64_t *p, uint32_t n, struct kernel_isum *out)
{
    uint64_t low = 0, count = 0;
    int64_t high = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t x = p[i];
        bool have = x != INT64_MIN;
        x = have ? x : 0;
        low += (uint32_t)x;
        high += x >> 32;
        count += have;
    }
    *out = (struct kernel_isum){low, high, count};
}

static void wavg(const double *w, const double *x, uint32_t n, double *wx, double *sw)
{
    double a[LANES] = {0}, b[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (unsigned j = 0; j < LANES; j++) {
            double u = w[i + j], v = x[i + j];
            bool have = (u == u) & (v == v);
            double m = u * v;
            a[j] += have ? m : 0.0;
            b[j] += have ? u : 0.0;
        }
    for (unsigned j = 0; i < n; i++, j++) {
        double u = w[i], v = x[i];
        bool have = (u == u) & (v == v);
        double m = u * v;
        a[j] += have ? m : 0.0;
        b[j] += have ? u : 0.0;
    }
    *wx = add_lanes(a);
    *sw = add_lanes(b);
}

static int64_t min_i64(const int64_t *p, uint32_t n)
{
    /* as unsigned numbers above the null, which becomes the greatest */
    uint64_t m = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t u = ((uint64_t)p[i] ^ 1ull << 63) - 1;
        m = u < m ? u : m;
    }
    return (int64_t)((m + 1) ^ 1ull << 63);
}

static int64_t max_i64(const int64_t *p, uint32_t n)
{
    int64_t m = INT64_MIN;
    for (uint32_t i = 0; i < n; i++)
        m = p[i] > m ? p[i] : m;
    return m;
}

/* -0 and 0 are equal: which of them comes out is decided by place, so it is made 0 */
static double min_f64(const double *p, uint32_t n)
{
    double m = INFINITY;
    bool have = false;
    for (uint32_t i = 0; i < n; i++) {
        m = p[i] < m ? p[i] : m;
        have |= p[i] == p[i];
    }
    return have ? m + 0.0 : NAN;
}

static double max_f64(const double *p, uint32_t n)
{
    double m = -INFINITY;
    bool have = false;
    for (uint32_t i = 0; i < n; i++) {
        m = p[i] > m ? p[i] : m;
        have |= p[i] == p[i];
    }
    return have ? m + 0.0 : NAN;
}

static uint64_t count_i64(const int64_t *p, uint32_t n)
{
    uint64_t c = 0;
    for (uint32_t i = 0; i < n; i++)
        c += p[i] != INT64_MIN;
    return c;
}

static uint64_t count_f64(const double *p, uint32_t n)
{
    uint64_t c = 0;
    for (uint32_t i = 0; i < n; i++)
        c += p[i] == p[i];
    return c;
}

#ifdef WIDE
static const uint32_t first16[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#define PLACES16(mask)                                                                             \
    do {                                                                                           \
        __mmask16 m_ = (__mmask16)(mask);                                                          \
        _mm512_storeu_si512(sel + k, _mm512_maskz_compress_epi32(m_, at));                         \
        k += (unsigned)__builtin_popcount(m_);                                                     \
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));                                          \
    } while (0)
#endif

static uint32_t range_i64(const int64_t *p, uint32_t n, int64_t lo, int64_t hi, uint32_t *sel)
{
    uint32_t k = 0, i = 0;
#ifdef WIDE
    __m512i at = _mm512_loadu_si512(first16);
    __m512i l = _mm512_set1_epi64(lo), h = _mm512_set1_epi64(hi);
    for (; i + 16 <= n; i += 16) {
        __m512i a = _mm512_loadu_si512(p + i), b = _mm512_loadu_si512(p + i + 8);
        unsigned x = _mm512_mask_cmple_epi64_mask(_mm512_cmpge_epi64_mask(a, l), a, h);
        unsigned y = _mm512_mask_cmple_epi64_mask(_mm512_cmpge_epi64_mask(b, l), b, h);
        PLACES16(x | y << 8);
    }
#endif
    for (; i < n; i++) {
        sel[k] = i;
        k += (p[i] >= lo) & (p[i] <= hi);
    }
    return k;
}

static uint32_t range_f64(const double *p, uint32_t n, double lo, double hi, uint32_t *sel)
{
    uint32_t k = 0, i = 0;
#ifdef WIDE
    __m512i at = _mm512_loadu_si512(first16);
    __m512d l = _mm512_set1_pd(lo), h = _mm512_set1_pd(hi);
    for (; i + 16 <= n; i += 16) {
        __m512d a = _mm512_loadu_pd(p + i), b = _mm512_loadu_pd(p + i + 8);
        unsigned x =
            _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(a, l, _CMP_GE_OQ), a, h, _CMP_LE_OQ);
        unsigned y =
            _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(b, l, _CMP_GE_OQ), b, h, _CMP_LE_OQ);
        PLACES16(x | y << 8);
    }
#endif
    for (; i < n; i++) {
        sel[k] = i;
        k += (p[i] >= lo) & (p[i] <= hi);
    }
    return k;
}

static uint32_t equal_u32(const uint32_t *p, uint32_t n, uint32_t v, uint32_t *sel)
{
    uint32_t k = 0, i = 0;
#ifdef WIDE
    __m512i at = _mm512_loadu_si512(first16), w = _mm512_set1_epi32((int)v);
    for (; i + 16 <= n; i += 16)
        PLACES16(_mm512_cmpeq_epi32_mask(_mm512_loadu_si512(p + i), w));
#endif
    for (; i < n; i++) {
        sel[k] = i;
        k += p[i] == v;
    }
    return k;
}

static uint32_t true_u8(const uint8_t *p, uint32_t n, uint32_t *sel)
{
    uint32_t k = 0, i = 0;
#ifdef WIDE
    __m512i at = _mm512_loadu_si512(first16);
    for (; i + 16 <= n; i += 16)
        PLACES16(_mm_cmpeq_epi8_mask(_mm_loadu_si128((const __m128i *)(p + i)), _mm_set1_epi8(1)));
#endif
    for (; i < n; i++) {
        sel[k] = i;
        k += p[i] == 1;
    }
    return k;
}

static uint32_t changes_u32(const uint32_t *p, uint32_t n, uint32_t *sel)
{
    uint32_t k = 0, i = 1;
    if (n == 0)
        return 0;
    sel[k++] = 0;
#ifdef WIDE
    __m512i at = _mm512_add_epi32(_mm512_loadu_si512(first16), _mm512_set1_epi32(1));
    for (; i + 16 <= n; i += 16)
        PLACES16(
            _mm512_cmpneq_epi32_mask(_mm512_loadu_si512(p + i), _mm512_loadu_si512(p + i - 1)));
#endif
    for (; i < n; i++) {
        sel[k] = i;
        k += p[i] != p[i - 1];
    }
    return k;
}

static void widen_i32(const int32_t *p, uint32_t n, int64_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = p[i] == INT32_MIN ? INT64_MIN : p[i];
}

static void widen_i16(const int16_t *p, uint32_t n, int64_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = p[i] == INT16_MIN ? INT64_MIN : p[i];
}

static void widen_f32(const float *p, uint32_t n, double *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = p[i];
}

static void codes_i64(const int64_t *p, uint32_t n, uint64_t limit, uint32_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint64_t)p[i] < limit ? (uint32_t)p[i] : PST_NULL_SYMBOL;
}

static void int_to_float(const int64_t *p, uint32_t n, double *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = p[i] == INT64_MIN ? NAN : (double)p[i];
}

#define NAME2(x) #x
#define NAME(x)  NAME2(x)
const struct kernels KERNELS = {.name = NAME(KERNELS),
                                .sum_f64 = sum_f64,
                                .sum_i64 = sum_i64,
                                .wavg = wavg,
                                .min_i64 = min_i64,
                                .max_i64 = max_i64,
                                .min_f64 = min_f64,
                                .max_f64 = max_f64,
                                .count_i64 = count_i64,
                                .count_f64 = count_f64,
                                .range_i64 = range_i64,
                                .range_f64 = range_f64,
                                .equal_u32 = equal_u32,
                                .true_u8 = true_u8,
                                .changes_u32 = changes_u32,
                                .widen_i32 = widen_i32,
                                .widen_i16 = widen_i16,
                                .widen_f32 = widen_f32,
                                .codes_i64 = codes_i64,
                                .int_to_float = int_to_float};
