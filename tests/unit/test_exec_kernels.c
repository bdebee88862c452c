/* SPDX-License-Identifier: Apache-2.0 */
/* Every build of the kernels gives the same bits, and those of a plain loop written here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "exec.h"
#include "exec_kernels.h"
#include "penstock/types.h"

#define MOST 4096

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 2685821657736338717ull;
}

static int64_t iv[MOST + 64];
static double fv[MOST + 64], gv[MOST + 64];
static uint32_t uv[MOST + 64];
static int32_t i32[MOST + 64];
static int16_t i16[MOST + 64];
static float f32[MOST + 64];
static uint8_t bv[MOST + 64];

static void fill(unsigned kind)
{
    for (unsigned i = 0; i < MOST + 64; i++) {
        uint64_t r = rnd();
        static const double odd[] = {INFINITY, -INFINITY, -0.0, 0.0, 1e300, -1e300, 1e-300};
        iv[i] = r % 7 == 0 ? INT64_MIN : kind == 1 ? (int64_t)rnd() : (int64_t)(rnd() % 1000) - 500;
        fv[i] = r % 5 == 0 || kind == 2 ? NAN
                : r % 11 == 0           ? odd[kind == 1 ? 2 + r / 11 % 5 : r / 11 % 7]
                                        : ((double)(int64_t)rnd()) / 1e12;
        gv[i] = r % 6 == 0 ? NAN : (double)(rnd() % 1000);
        uv[i] = (uint32_t)(rnd() % 3);
        i32[i] = r % 9 == 0 ? INT32_MIN : (int32_t)rnd();
        i16[i] = r % 9 == 0 ? INT16_MIN : (int16_t)rnd();
        f32[i] = r % 9 == 0 ? NAN : (float)(int32_t)rnd();
        bv[i] = (uint8_t)(rnd() % 3);
    }
}

static uint64_t bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return v == v ? u : PST_NULL_FLOAT_BITS;
}

static double lanes(const double *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void check(const struct kernels *k, uint32_t off, uint32_t n)
{
    const int64_t *p = iv + off;
    const double *f = fv + off, *g = gv + off;
    double s[8] = {0}, wx[8] = {0}, w[8] = {0};
    uint64_t c = 0, ci = 0;
    __int128 sum = 0;
    int64_t lo = INT64_MIN, hi = INT64_MIN;
    double flo = NAN, fhi = NAN;
    for (uint32_t i = 0; i < n; i++) {
        /* the last elements, less than eight, start again at lane 0 */
        if (f[i] == f[i]) {
            s[i % 8] += f[i];
            c++;
            flo = flo != flo || f[i] < flo ? f[i] : flo;
            fhi = fhi != fhi || f[i] > fhi ? f[i] : fhi;
            if (g[i] == g[i]) {
                volatile double m = g[i] * f[i];
                wx[i % 8] += m;
                w[i % 8] += g[i];
            }
        }
        if (p[i] != INT64_MIN) {
            sum += p[i];
            ci++;
            lo = lo == INT64_MIN || p[i] < lo ? p[i] : lo;
            hi = p[i] > hi ? p[i] : hi;
        }
    }
    uint64_t n1;
    double got = k->sum_f64(f, n, &n1);
    assert_int_equal(n1, c);
    assert_true(bits(got) == bits(lanes(s)));
    struct kernel_isum is;
    k->sum_i64(p, n, &is);
    assert_true((__int128)is.high * (1ll << 32) + is.low == sum);
    assert_int_equal(is.n, ci);
    assert_int_equal(k->count_i64(p, n), ci);
    assert_int_equal(k->count_f64(f, n), c);
    assert_true(k->min_i64(p, n) == lo && k->max_i64(p, n) == hi);
    assert_true(bits(k->min_f64(f, n)) == bits(flo + 0.0));
    assert_true(bits(k->max_f64(f, n)) == bits(fhi + 0.0));
    double a, b;
    k->wavg(g, f, n, &a, &b);
    assert_true(bits(a) == bits(lanes(wx)) && bits(b) == bits(lanes(w)));

    static uint32_t sel[MOST + 64], want[MOST + 64];
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++)
        if (p[i] >= -100 && p[i] <= 250)
            want[m++] = i;
    assert_int_equal(k->range_i64(p, n, -100, 250, sel), m);
    assert_memory_equal(sel, want, m * 4);
    for (uint32_t i = m = 0; i < n; i++)
        if (f[i] >= -1000 && f[i] <= 0.0)
            want[m++] = i;
    assert_int_equal(k->range_f64(f, n, -1000, 0.0, sel), m);
    assert_memory_equal(sel, want, m * 4);
    for (uint32_t i = m = 0; i < n; i++)
        if (uv[off + i] == 2)
            want[m++] = i;
    assert_int_equal(k->equal_u32(uv + off, n, 2, sel), m);
    assert_memory_equal(sel, want, m * 4);
    for (uint32_t i = m = 0; i < n; i++)
        if (bv[off + i] == 1)
            want[m++] = i;
    assert_int_equal(k->true_u8(bv + off, n, sel), m);
    assert_memory_equal(sel, want, m * 4);
    for (uint32_t i = m = 0; i < n; i++)
        if (i == 0 || uv[off + i] != uv[off + i - 1])
            want[m++] = i;
    assert_int_equal(k->changes_u32(uv + off, n, sel), m);
    assert_memory_equal(sel, want, m * 4);

    static int64_t wide[MOST];
    static double wf[MOST];
    static uint32_t codes[MOST];
    k->widen_i32(i32 + off, n, wide);
    for (uint32_t i = 0; i < n; i++)
        assert_true(wide[i] == (i32[off + i] == INT32_MIN ? INT64_MIN : i32[off + i]));
    k->widen_i16(i16 + off, n, wide);
    for (uint32_t i = 0; i < n; i++)
        assert_true(wide[i] == (i16[off + i] == INT16_MIN ? INT64_MIN : i16[off + i]));
    k->widen_f32(f32 + off, n, wf);
    for (uint32_t i = 0; i < n; i++)
        assert_true(bits(wf[i]) == bits((double)f32[off + i]));
    k->int_to_float(p, n, wf);
    for (uint32_t i = 0; i < n; i++)
        assert_true(p[i] == INT64_MIN ? isnan(wf[i]) : wf[i] == (double)p[i]);
    k->codes_i64(p, n, 200, codes);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(codes[i], p[i] >= 0 && p[i] < 200 ? (uint32_t)p[i] : PST_NULL_SYMBOL);
}

static void test_isa(void **state)
{
    enum exec_isa isa = (enum exec_isa)(uintptr_t)*state;
    if (!exec_isa_force(isa)) {
        print_message("this CPU has not got %d: skipped\n", (int)isa);
        skip();
    }
    assert_int_equal(exec_isa_now(), isa);
    for (unsigned kind = 0; kind < 3; kind++) {
        seed = 1234567 + kind;
        fill(kind);
        static const uint32_t sizes[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1000, MOST};
        for (unsigned i = 0; i < PST_COUNT(sizes); i++)
            for (uint32_t off = 0; off < 9; off += 1 + off)
                check(kernels(), off, sizes[i]);
        for (unsigned i = 0; i < 50; i++)
            check(kernels(), (uint32_t)(rnd() % 60), (uint32_t)(rnd() % 300));
    }
}

int main(void)
{
    static void *isa[] = {(void *)(uintptr_t)EXEC_PORTABLE, (void *)(uintptr_t)EXEC_AVX2,
                          (void *)(uintptr_t)EXEC_AVX512};
    const struct CMUnitTest tests[] = {
        {"portable", test_isa, NULL, NULL, isa[0]},
        {"avx2", test_isa, NULL, NULL, isa[1]},
        {"avx512", test_isa, NULL, NULL, isa[2]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
