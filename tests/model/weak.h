/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weak.h - a small model checker for the lock-free headers, compiled unchanged: include this first,
 * then core/ring.h or core/inject.h. Atomic operations and memcpy inside those headers then run on
 * a model of memory instead of the machine's.
 *
 * The model is C11's release/acquire fragment, operationally: every location keeps the history of
 * its values; a thread has a view (the oldest value of each location that it may still read), and a
 * load may return ANY value not older than that, so late stores, store buffers and reordered loads
 * are all there. Release stores and release fences attach the writer's view to what is written,
 * acquire loads and fences take it over. (Loads never see values from the future; what that could
 * hide, a read overtaken by a later write of its own thread, is caught as a data race instead.)
 *
 * Every combination of (which thread goes on, which value a load returns) is tried, with at most
 * `preemptions` switches away from a thread that could have gone on. It needs no randomness and no
 * time: two runs try the same executions in the same order.
 *
 *   plain accesses (weak_read, weak_write, memcpy into a region with `plain`) must be ordered by
 *   happens-before; two that are not are reported as a race, whatever values they saw.
 *
 * Mutants: weak_mutant changes the meaning of one operation, so that the same header is checked
 * with that mistake in it; a checker that cannot find them proves nothing.
 */
#pragma once

#include "core/atomics.h"
#include "core/crc.h"
#include "core/frame.h"

enum weak_mutant {
    MUTANT_NONE,
    MUTANT_NO_RELEASE_FENCE,
    MUTANT_NO_ACQUIRE_FENCE,
    MUTANT_RELAXED_STORE, /* store_release of weak_mutant_at is relaxed */
    MUTANT_RELAXED_LOAD,  /* load_acquire of weak_mutant_at is relaxed */
    MUTANT_LATE_STORE     /* a relaxed store to weak_mutant_at happens at the next release store */
};
extern enum weak_mutant weak_mutant;
extern const void *weak_mutant_at;

struct weak_result {
    uint64_t executions;
    const char *failure; /* NULL: every execution was right */
    bool complete;       /* false: stopped at the limit of executions */
};

/* Sets a fresh world up for one execution; threads are the bodies. */
struct weak_test {
    void (*setup)(void *arg);
    void (*thread[3])(void *arg); /* NULL = fewer */
    void *arg;
    unsigned preemptions;
    uint64_t limit;
};
struct weak_result weak_explore(const struct weak_test *t);

/* In setup: `bytes` of shared data at p (seen once more behind, if mirrored), in 8-byte words. */
void weak_region(void *p, size_t bytes, bool mirrored, bool plain);
/* In a thread: fails this execution, and with it the exploration. */
void weak_fail(const char *why);
#define weak_check(x, why)                                                                         \
    do {                                                                                           \
        if (!(x))                                                                                  \
            weak_fail(why);                                                                        \
    } while (0)
uint64_t weak_read(const void *word); /* plain, checked for races */

enum weak_order { WEAK_RELAXED, WEAK_SYNC };
uint64_t weak_load(const void *p, size_t width, enum weak_order o);
void weak_store(void *p, size_t width, uint64_t v, enum weak_order o);
void weak_fence(bool release);
void *weak_memcpy(void *dst, const void *src, size_t n);

#ifndef WEAK_IMPLEMENTATION
#undef load_relaxed
#undef load_acquire
#undef store_relaxed
#undef store_release
#undef fence_acquire
#undef fence_release
#define load_relaxed(p)     weak_load((const void *)(p), sizeof *(p), WEAK_RELAXED)
#define load_acquire(p)     weak_load((const void *)(p), sizeof *(p), WEAK_SYNC)
#define store_relaxed(p, v) weak_store((void *)(p), sizeof *(p), (uint64_t)(v), WEAK_RELAXED)
#define store_release(p, v) weak_store((void *)(p), sizeof *(p), (uint64_t)(v), WEAK_SYNC)
#define fence_acquire()     weak_fence(false)
#define fence_release()     weak_fence(true)
#undef memcpy
#define memcpy weak_memcpy
#endif
