/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomics.h - every memory order in the tree goes through these names.
 *
 * At each use write the label of its pair, e.g.
 *     store_release(&h->tail, t);      // A1: pairs with R1 in ring_tail
 * Operands are plain C11 _Atomic objects. Single-writer counters use `bump`, which is a relaxed
 * load and store: never a locked instruction on the hot path.
 */
#pragma once

#include <stdatomic.h>
#include "base.h"

#define load_relaxed(p)     atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p)     atomic_load_explicit((p), memory_order_acquire)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define fence_acquire()     atomic_thread_fence(memory_order_acquire)
#define fence_release()     atomic_thread_fence(memory_order_release)
#define fence_full()        atomic_thread_fence(memory_order_seq_cst)
/* Only the one thread that owns the counter may call this. */
#define bump(p, n) store_relaxed((p), load_relaxed(p) + (n))

pst_inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield" ::: "memory");
#endif
}
