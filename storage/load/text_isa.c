/* SPDX-License-Identifier: Apache-2.0 */
/* Which build of the loops runs here. */
#include "core/atomics.h"
#include "load/text_parts.h"

static _Atomic int chosen = -1; /* any thread may choose first: all choose the same */

static bool has(enum text_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
                __builtin_cpu_supports("pclmul");
    if (isa == TEXT_AVX2)
        return avx2;
    if (isa == TEXT_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2");
#endif
    return isa == TEXT_PORTABLE;
}

enum text_isa load_text_isa(void)
{
    int c = load_relaxed(&chosen);
    if (c >= 0)
        return (enum text_isa)c;
    static const char *const name[TEXT_ISAS] = {"portable", "avx2", "avx512"};
    const char *want = getenv("PST_ISA");
    enum text_isa best = TEXT_AVX512;
    for (unsigned i = 0; want && i < TEXT_ISAS; i++)
        if (!strcmp(want, name[i]))
            best = (enum text_isa)i;
    while (!has(best))
        best = (enum text_isa)(best - 1);
    store_relaxed(&chosen, (int)best);
    return best;
}

bool load_text_force(enum text_isa isa)
{
    if (!has(isa))
        return false;
    store_relaxed(&chosen, (int)isa);
    return true;
}

const struct text_kernels *text_kernels(void)
{
#if defined(__x86_64__)
    enum text_isa isa = load_text_isa();
    if (isa != TEXT_PORTABLE)
        return isa == TEXT_AVX2 ? &text_kernels_avx2 : &text_kernels_avx512;
#endif
    return &text_kernels_portable;
}
