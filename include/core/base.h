/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - the words every room uses: branch hints, alignment, assertions, errors, unaligned loads.
 *
 * Error conventions, everywhere in the tree:
 *   bool verbs          true = done; on false the caller's `struct err` (if it takes one) says why
 *   int  counts         >= 0 = count, < 0 = -errno
 *   start-up            may fail with one full sentence in `struct err`; steady state never exits
 *
 * Kinds of assertion: pst_must (always on: continuing would corrupt data), pst_debug (compiled out
 * of release builds). What can be survived is neither: it is counted and dropped by reason.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define pst_likely(x)   __builtin_expect(!!(x), 1)
#define pst_unlikely(x) __builtin_expect(!!(x), 0)
#define pst_inline      static inline __attribute__((always_inline))
#define pst_noinline    __attribute__((noinline))
#define pst_unused      __attribute__((unused))
#define PST_CACHELINE   64
#define pst_aligned(n)  __attribute__((aligned(n)))
#define PST_COUNT(a)    (sizeof(a) / sizeof((a)[0]))

#define pst_must(x)                                                                                \
    do {                                                                                           \
        if (pst_unlikely(!(x))) {                                                                  \
            fprintf(stderr, "penstock: must: %s (%s:%d)\n", #x, __FILE__, __LINE__);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
#ifdef PST_DEBUG
#define pst_debug(x) pst_must(x)
#else
#define pst_debug(x) ((void)0)
#endif

pst_inline uint64_t pst_align8(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}
pst_inline uint64_t pst_align_up(uint64_t n, uint64_t a) /* a: a power of two */
{
    return (n + a - 1) & ~(a - 1);
}

/* One sentence, made where the error is found: what, where, what to do. Owner: the caller. */
struct err {
    int code; /* -errno, or -1 */
    char text[500];
};

/* Always returns false, so a verb can `return err_set(e, -EIO, "...")`. e may be NULL. */
__attribute__((format(printf, 3, 4))) static inline bool err_set(struct err *e, int code,
                                                                 const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        e->code = code;
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return false;
}

/* Unaligned loads and stores. Wire bytes are read with these, never through a cast struct. */
#define PST_LOAD(name, type, swap)                                                                 \
    pst_inline type name(const void *p)                                                            \
    {                                                                                              \
        type v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                   \
        return swap(v);                                                                            \
    }
PST_LOAD(be16, uint16_t, __builtin_bswap16)
PST_LOAD(be32, uint32_t, __builtin_bswap32)
PST_LOAD(be64, uint64_t, __builtin_bswap64)
PST_LOAD(le16, uint16_t, )
PST_LOAD(le32, uint32_t, )
PST_LOAD(le64, uint64_t, )
#undef PST_LOAD
pst_inline uint64_t be48(const void *p) /* reads 6 bytes, never more */
{
    return (uint64_t)be16(p) << 32 | be32((const uint8_t *)p + 2);
}
pst_inline void put16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
pst_inline void put32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
pst_inline void put64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "penstock's formats are little endian");

/*
 * Named fault points. PST_FAULT("log.after_submit") does nothing in a release build. In a build
 * with -Dfaults=true the environment variable PST_FAULT_AT="name:n" kills the process with SIGKILL
 * at the n-th visit of that point; PST_FAULT_DROP="name:n" makes PST_FAULT_HIT("name") true once,
 * at the n-th visit (mutation tests drop one message at a hop with it); PST_FAULT_STALL="name:FILE"
 * keeps the thread at that stall point as long as FILE exists.
 */
#ifdef PST_FAULTS
void pst_fault_visit(const char *name);
bool pst_fault_hit(const char *name);
void pst_fault_stall(const char *name);
#define PST_FAULT_STALL(name) pst_fault_stall(name)
#define PST_FAULT(name)     pst_fault_visit(name)
#define PST_FAULT_HIT(name) pst_unlikely(pst_fault_hit(name))
#else
#define PST_FAULT(name)       ((void)0)
#define PST_FAULT_HIT(name)   (false)
#define PST_FAULT_STALL(name) ((void)0)
#endif
