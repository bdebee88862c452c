/* SPDX-License-Identifier: Apache-2.0 */
/* Which build of the kernels runs here. */
#include "core/atomics.h"
#include "exec.h"
#include "exec_kernels.h"

static bool has(enum exec_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == EXEC_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    if (isa == EXEC_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    return isa == EXEC_PORTABLE;
}

static const struct kernels *table(enum exec_isa isa)
{
#if defined(__x86_64__)
    if (isa != EXEC_PORTABLE)
        return isa == EXEC_AVX2 ? &kernels_avx2 : &kernels_avx512;
#endif
    (void)isa;
    return &kernels_portable;
}

static _Atomic int chosen = -1; /* any thread may choose first: all choose the same */

enum exec_isa exec_isa_now(void)
{
    int c = load_relaxed(&chosen);
    if (c >= 0)
        return (enum exec_isa)c;
    static const char *const name[] = {"portable", "avx2", "avx512"};
    const char *want = getenv("PST_ISA");
    enum exec_isa best = EXEC_AVX512;
    for (unsigned i = 0; want && i < 3; i++)
        if (!strcmp(want, name[i]))
            best = (enum exec_isa)i;
    while (!has(best))
        best = (enum exec_isa)(best - 1);
    store_relaxed(&chosen, (int)best);
    return best;
}

bool exec_isa_force(enum exec_isa isa)
{
    if (!has(isa))
        return false;
    store_relaxed(&chosen, (int)isa);
    return true;
}

const struct kernels *kernels(void)
{
    return table(exec_isa_now());
}
