/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_kernels.h - loops over plain arrays, built three times from one source (exec_kernels.c):
 * portable, AVX2, AVX-512. kernels() is the table for this CPU (or the forced one, exec.h). All
 * three give the same bits: float sums are 8 striped lanes, lane j takes elements j, j + 8 ... in
 * order, and the lanes are added as ((0+4)+(2+6))+((1+5)+(3+7)); products are rounded before they
 * are added (no fused multiply-add).
 *
 * Nulls are those of the vectors of exec_int.h (INT64_MIN, NaN). Pure, any thread.
 */
#pragma once

#include "core/base.h"

struct kernel_isum { /* exact: the sum of the low halves (unsigned) and of the high ones (signed) */
    uint64_t low;
    int64_t high;
    uint64_t n;
};

struct kernels {
    const char *name;
    /* Sum and number of what is not null. */
    double (*sum_f64)(const double *p, uint32_t n, uint64_t *count);
    void (*sum_i64)(const int64_t *p, uint32_t n, struct kernel_isum *out); /* sets */
    /* sum(w * x), sum(w) where both are there */
    void (*wavg)(const double *w, const double *x, uint32_t n, double *wx, double *sw);
    /* Null if all are. */
    int64_t (*min_i64)(const int64_t *p, uint32_t n);
    int64_t (*max_i64)(const int64_t *p, uint32_t n);
    double (*min_f64)(const double *p, uint32_t n);
    double (*max_f64)(const double *p, uint32_t n);
    uint64_t (*count_i64)(const int64_t *p, uint32_t n); /* not null */
    uint64_t (*count_f64)(const double *p, uint32_t n);
    /* Places of what passes, ascending; their number. sel has room for n + 16. */
    uint32_t (*range_i64)(const int64_t *p, uint32_t n, int64_t lo, int64_t hi, uint32_t *sel);
    uint32_t (*range_f64)(const double *p, uint32_t n, double lo, double hi, uint32_t *sel);
    uint32_t (*equal_u32)(const uint32_t *p, uint32_t n, uint32_t v, uint32_t *sel);
    uint32_t (*true_u8)(const uint8_t *p, uint32_t n, uint32_t *sel); /* == 1 */
    /* Where a value differs from the one before it (0 is always one): their places, number. */
    uint32_t (*changes_u32)(const uint32_t *p, uint32_t n, uint32_t *at);
    /* Conversions to the vectors' classes, null to null. */
    void (*widen_i32)(const int32_t *p, uint32_t n, int64_t *out);
    void (*widen_i16)(const int16_t *p, uint32_t n, int64_t *out);
    void (*widen_f32)(const float *p, uint32_t n, double *out);
    void (*codes_i64)(const int64_t *p, uint32_t n, uint64_t limit, uint32_t *out); /* identity */
    void (*int_to_float)(const int64_t *p, uint32_t n, double *out);
};

const struct kernels *kernels(void);
extern const struct kernels kernels_portable, kernels_avx2, kernels_avx512;
