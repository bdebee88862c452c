/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to columns: n rows at once, of which each column's values become one run of stores.
 *
 * A record is a row of 8-byte words, and its columns lie in them widest first, so that eight rows
 * of eight words are a square: the AVX-512 version turns it in registers (24 shuffles for 64 words)
 * and each turned word is one whole line of an 8-byte column, or is shifted and narrowed to a
 * 4-, 2- or 1-byte one. The portable version goes over the rows column by column. Strings and guids
 * are not in the plan: rdb_append.c.
 */
#include "rdb_internal.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

void columns_plan(struct columns_plan *plan, const struct schema *s)
{
    memset(plan, 0, sizeof *plan);
    for (unsigned c = 0; c < s->ncols; c++) {
        const struct column *col = &s->col[c];
        unsigned width = type_width(col->type), word = col->offset / 8;
        if (col->packet || col->type == PST_STRING || width > 8)
            continue;
        struct columns_op *op = &plan->op[plan->ops++];
        *op = (struct columns_op){.word = (uint16_t)word,
                                  .shift = (uint8_t)(col->offset % 8 * 8),
                                  .width = (uint8_t)width,
                                  .column = (uint8_t)c,
                                  .offset = col->offset};
    }
    /* by word, as the square is turned; few and once a part */
    for (unsigned i = 1; i < plan->ops; i++)
        for (unsigned j = i; j && plan->op[j].word < plan->op[j - 1].word; j--) {
            struct columns_op t = plan->op[j];
            plan->op[j] = plan->op[j - 1];
            plan->op[j - 1] = t;
        }
    plan->words = s->fixed / 8u;
    for (unsigned g = 0; g * 8 < plan->words; g++) {
        for (unsigned i = 0; i < plan->ops; i++) {
            if (plan->op[i].word / 8 != g)
                continue;
            if (!plan->group[plan->groups].ops)
                plan->group[plan->groups].first = (uint8_t)i;
            plan->group[plan->groups].ops++;
        }
        struct columns_group *group = &plan->group[plan->groups];
        if (!group->ops)
            continue;
        unsigned left = plan->words - g * 8;
        group->word = (uint16_t)(g * 8);
        group->mask = (uint8_t)(left < 8 ? (1u << left) - 1 : 0xFF);
        plan->groups++;
    }
}

#define COPY(name, type)                                                                           \
    static void name(uint8_t *to, const uint8_t *const *row, unsigned offset, uint32_t n)          \
    {                                                                                              \
        type v;                                                                                    \
        for (uint32_t i = 0; i < n; i++) {                                                         \
            memcpy(&v, row[i] + offset, sizeof v);                                                 \
            memcpy(to + i * sizeof v, &v, sizeof v);                                               \
        }                                                                                          \
    }
COPY(copy_1, uint8_t)
COPY(copy_2, uint16_t)
COPY(copy_4, uint32_t)
COPY(copy_8, uint64_t)
#undef COPY

static void columns_put_portable(const struct columns_plan *plan, uint8_t *const *col,
                                 const uint8_t *const *row, uint64_t d, uint32_t n)
{
    for (unsigned i = 0; i < plan->ops; i++) {
        const struct columns_op *op = &plan->op[i];
        uint8_t *to = col[op->column] + d * op->width;
        switch (op->width) {
        case 8:
            copy_8(to, row, op->offset, n);
            break;
        case 4:
            copy_4(to, row, op->offset, n);
            break;
        case 2:
            copy_2(to, row, op->offset, n);
            break;
        default:
            copy_1(to, row, op->offset, n);
            break;
        }
    }
}

static bool columns_descend_portable(const int64_t *t, uint32_t n)
{
    bool down = false;
    for (uint32_t i = 1; i < n; i++)
        down |= t[i] < t[i - 1];
    return down;
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx512f")))

/* Eight rows of eight words to eight words of eight rows. */
AVX512 static inline void turn(__m512i v[8])
{
    __m512i a[8], b[8];
    for (int i = 0; i < 8; i += 2) { /* pairs of rows: words 0 2 4 6 and 1 3 5 7 */
        a[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[i] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0x88);     /* rows 0-3: words i, i + 4 */
        b[i + 2] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0xdd); /* words i + 2, i + 6 */
        b[i + 4] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0x88);
        b[i + 6] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x88);
        v[i + 4] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xdd);
    }
}

AVX512 static void columns_put_avx512(const struct columns_plan *plan, uint8_t *const *col,
                                      const uint8_t *const *row, uint64_t d, uint32_t n)
{
    uint32_t i = (uint32_t)(-d & 7); /* then every column's stores are aligned */
    i = i < n ? i : n;
    if (i)
        columns_put_portable(plan, col, row, d, i);
    for (; i + 8 <= n; i += 8) {
        uint64_t at = d + i;
        for (unsigned g = 0; g < plan->groups; g++) {
            const struct columns_group *group = &plan->group[g];
            __m512i v[8];
            for (int j = 0; j < 8; j++)
                v[j] = _mm512_maskz_loadu_epi64(group->mask, row[i + j] + group->word * 8u);
            turn(v);
            __m512i turned[8];
            for (int j = 0; j < 8; j++)
                turned[j] = v[j];
            const struct columns_op *op = &plan->op[group->first];
            for (unsigned k = group->ops; k; k--, op++) {
                __m512i w = turned[op->word & 7];
                uint8_t *to = col[op->column] + at * op->width;
                if (op->width == 8) {
                    _mm512_store_si512(to, w);
                    continue;
                }
                w = _mm512_srl_epi64(w, _mm_cvtsi32_si128(op->shift));
                if (op->width == 4)
                    _mm256_store_si256((__m256i *)(void *)to, _mm512_cvtepi64_epi32(w));
                else if (op->width == 2)
                    _mm_store_si128((__m128i *)(void *)to, _mm512_cvtepi64_epi16(w));
                else
                    _mm_storel_epi64((__m128i *)(void *)to, _mm512_cvtepi64_epi8(w));
            }
        }
    }
    if (i < n)
        columns_put_portable(plan, col, row + i, d + i, n - i);
}

AVX512 static bool columns_descend_avx512(const int64_t *t, uint32_t n)
{
    uint32_t i = 1;
    unsigned down = 0;
    for (; i + 8 <= n; i += 8)
        down |= _mm512_cmplt_epi64_mask(_mm512_loadu_si512(t + i), _mm512_loadu_si512(t + i - 1));
    for (; i < n; i++)
        down |= t[i] < t[i - 1];
    return down != 0;
}
#endif

void columns_choose(struct columns_ops *ops, bool portable)
{
    *ops = (struct columns_ops){columns_put_portable, columns_descend_portable};
#if defined(__x86_64__)
    if (!portable && __builtin_cpu_supports("avx512f"))
        *ops = (struct columns_ops){columns_put_avx512, columns_descend_avx512};
#else
    (void)portable;
#endif
}
