/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the journal's tail in memory: one memfd, its data mapped twice in a row so that no frame
 * wraps. One writer (the appender), any number of readers in any process.
 *
 *   memfd: | head (RING_HEAD or one huge page) | data (size, a power of two) |
 *   map:   | head | data | data again |
 *
 * A position is a byte offset in the endless journal; it lies at data[position & (size - 1)].
 *
 *   overwrite_below <= guard <= durable|written <= tail <= overwrite_below + size
 *
 * Writer (appender thread only): before bytes are overwritten it raises overwrite_below, then
 * writes, then publishes the tail. It never writes beyond guard + size: `guard`, set by the log
 * thread, is the position below which the log no longer needs the bytes. Readers: copy, fence, then
 * check overwrite_below; the log thread alone may read in place, between guard and tail.
 *
 * Exactly two functions touch data that another thread may be writing, and are exempt from TSan:
 * ring_write and ring_copy. tests/model checks their protocol on this header.
 *
 * Orders: W1 store overwrite_below (relaxed) + W2 release fence before the data pairs with R2
 * acquire fence + R3 load after the copy. W3 tail release pairs with R1 tail acquire. G1 guard
 * release (log has finished reading) pairs with G2 acquire (appender, before overwriting).
 *
 * Sealing: ring_seal forbids shrinking, growing and every FUTURE writable map, write() and reopen;
 * only then ring_fd may be handed to another process. Where the kernel refuses (an old hugetlbfs)
 * the fd must stay inside.
 */
#pragma once

#include "atomics.h"
#include "bell.h"
#include "frame.h"

#define RING_HEAD        65536u
#define RING_MIN         (16ull << 20)
#define RING_RESERVE     (64u * 1024) /* the end of a full ring: for marks and gaps only */
#define RING_CHECKPOINTS 4096u
#define RING_LOST        64u
#ifndef RING_SLACK
#define RING_SLACK (64u * 1024) /* overwrite_below moves in such steps */
#endif

struct ring_head {
    char magic[8]; /* "PSTRING1" */
    uint64_t size;
    uint64_t instance;
    uint32_t seed; /* frame_seed(instance) */
    uint32_t head_bytes;
    uint32_t checkpoint_step; /* bytes between two checkpoints, a power of two */
    uint32_t pad;
    uint64_t start;                        /* the journal's first position in this incarnation */
    pst_aligned(64) _Atomic uint64_t tail; /* appender */
    pst_aligned(64) _Atomic uint64_t overwrite_below; /* appender */
    pst_aligned(64) _Atomic uint64_t guard;           /* log */
    pst_aligned(64) _Atomic uint64_t submitted;       /* log: DESIGN §11 Levels */
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    /* position of the first frame starting at or after k * step, slot k % RING_CHECKPOINTS */
    pst_aligned(64) _Atomic uint64_t checkpoint[RING_CHECKPOINTS];
    /* [from, to) whose data frames and ticks the log gave up (log.h, FULL): slot n % RING_LOST.
     * They are no longer part of the journal for readers at the levels submitted and durable. A
     * slot is taken again only when nothing below its end is in the ring. Writer: the log thread.
     */
    pst_aligned(64) _Atomic uint64_t lost_n; /* X1 release: pairs with X2 */
    struct {
        _Atomic uint64_t from, to;
    } lost[RING_LOST];
};
_Static_assert(sizeof(struct ring_head) <= RING_HEAD, "ring head fits");

struct ring {
    struct ring_head *head;
    uint8_t *data; /* 2 * size bytes */
    uint64_t mask;
    int fd;
    bool writable, huge, sealed;
    /* writer's own copies; owner: appender */
    uint64_t w_tail, w_below, w_guard;
    struct bell_board *board; /* of this process's threads that sleep (bell.h); NULL: none does */
};

/* Start-up. size is rounded up to a power of two. start must be 8-aligned. Memory is faulted in. */
bool ring_create(struct ring *r, uint64_t size, uint64_t start, uint64_t instance, bool huge,
                 struct err *err);
/* Where the journal goes on, if ring_create could not know it: before anything is written or read. */
void ring_start(struct ring *r, uint64_t start);
bool ring_seal(struct ring *r); /* false: the kernel cannot; never hand the fd out */
/* Read-only map of a ring received from the daemon. On true the ring owns fd. */
bool ring_attach(struct ring *r, int fd, struct err *err);
void ring_close(struct ring *r);

pst_inline uint64_t ring_size(const struct ring *r)
{
    return r->mask + 1;
}

/* ---- writer ---- */

/* Bytes that may be written now, reserve included. Re-reads guard only when the cached one is
 * tight. */
pst_inline uint64_t ring_free(struct ring *r, uint64_t want)
{
    uint64_t room = r->w_guard + ring_size(r) - r->w_tail;
    if (pst_unlikely(room < want)) {
        r->w_guard = load_acquire(&r->head->guard); /* G2: pairs with G1 in the log thread */
        room = r->w_guard + ring_size(r) - r->w_tail;
    }
    return room;
}

/* The copy of the two exempt functions. Under TSan a call of memcpy would be checked by the runtime
 * however the caller is marked, so there the words are moved by hand. */
#if defined(__SANITIZE_THREAD__)
#define RING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#ifdef RING_TSAN
__attribute__((no_sanitize("thread"), noinline, unused)) static void
ring_bytes(void *dst, const void *src, size_t n)
{
    volatile uint8_t *d = dst;
    const volatile uint8_t *s = src;
    for (; n >= 8; n -= 8, d += 8, s += 8)
        *(volatile uint64_t *)d = *(const volatile uint64_t *)s;
    while (n--)
        *d++ = *s++;
}
#else
#define ring_bytes(dst, src, n) memcpy(dst, src, n)
#endif

/* Copies one sealed frame behind the tail; visible only after ring_publish. The caller has checked
 * ring_free. Appender only. */
__attribute__((no_sanitize("thread"))) static inline void
ring_write(struct ring *r, const void *frame, uint32_t len)
{
    uint64_t end = r->w_tail + len;
    if (pst_unlikely(end > r->w_below + ring_size(r))) {
        uint64_t below = end - ring_size(r) + RING_SLACK;
        if (below > r->w_guard)
            below = r->w_guard;
        r->w_below = below;
        store_relaxed(&r->head->overwrite_below, below); /* W1 */
        fence_release();                                 /* W2: pairs with R2 in ring_copy */
    }
    ring_bytes(r->data + (r->w_tail & r->mask), frame, len);
    uint32_t step = r->head->checkpoint_step;
    uint64_t k = (r->w_tail + step - 1) / step;
    if (pst_unlikely(k * step < end)) /* a step boundary lies in [tail, end): note this frame */
        store_relaxed(&r->head->checkpoint[k % RING_CHECKPOINTS],
                      k * step == r->w_tail ? r->w_tail : end);
    r->w_tail = end;
}

pst_inline void ring_publish(struct ring *r)
{
    store_release(&r->head->tail, r->w_tail); /* W3: pairs with R1 */
}

/* ---- readers ---- */

pst_inline uint64_t ring_tail(const struct ring *r)
{
    return load_acquire(&r->head->tail); /* R1 */
}

enum ring_read { RING_READ_OK, RING_READ_LAPPED };

/* Copies len bytes at position pos (all below a tail that the caller has seen). */
__attribute__((no_sanitize("thread"))) static inline enum ring_read
ring_copy(const struct ring *r, uint64_t pos, void *dst, uint32_t len)
{
    ring_bytes(dst, r->data + (pos & r->mask), len);
    fence_acquire();                                                     /* R2: pairs with W2 */
    return load_relaxed(&r->head->overwrite_below) <= pos ? RING_READ_OK /* R3 */
                                                          : RING_READ_LAPPED;
}

/* Copies the whole frame at pos into buf (FRAME_MAX bytes). The frame must start below tail. */
static inline enum ring_read ring_read_frame(const struct ring *r, uint64_t pos, void *buf)
{
    if (ring_copy(r, pos, buf, FRAME_HEADER) != RING_READ_OK)
        return RING_READ_LAPPED;
    uint32_t len = ((const struct frame *)buf)->length;
    if (len < FRAME_HEADER || len > FRAME_MAX)
        return RING_READ_LAPPED; /* only torn bytes look so */
    return ring_copy(r, pos + FRAME_HEADER, (uint8_t *)buf + FRAME_HEADER, len - FRAME_HEADER);
}

/* Log thread, before guard or a level is raised past it. Grows the newest range where it ends at
 * `from`. False: every slot is still needed. */
static inline bool ring_lost_add(struct ring *r, uint64_t from, uint64_t to)
{
    struct ring_head *h = r->head;
    uint64_t n = load_relaxed(&h->lost_n);
    if (n && load_relaxed(&h->lost[(n - 1) % RING_LOST].to) == from) {
        store_release(&h->lost[(n - 1) % RING_LOST].to, to); /* X1 */
        return true;
    }
    if (n >= RING_LOST &&
        load_relaxed(&h->lost[n % RING_LOST].to) > load_relaxed(&h->overwrite_below))
        return false;
    store_relaxed(&h->lost[n % RING_LOST].from, from);
    store_relaxed(&h->lost[n % RING_LOST].to, to);
    store_release(&h->lost_n, n + 1); /* X1 */
    return true;
}

/* Anyone, after a level above `to` was seen: does a lost range overlap [from, to)? Of a range below
 * what the ring holds the answer may be no: ask in time. */
static inline bool ring_lost(const struct ring *r, uint64_t from, uint64_t to)
{
    const struct ring_head *h = r->head;
    uint64_t n = load_acquire(&h->lost_n); /* X2 */
    for (uint64_t i = n > RING_LOST ? n - RING_LOST : 0; i < n; i++)
        if (load_relaxed(&h->lost[i % RING_LOST].from) < to &&
            load_acquire(&h->lost[i % RING_LOST].to) > from)
            return true;
    return false;
}

/* The latest known frame start at or below pos that is still in the ring; 0 = none known. */
uint64_t ring_checkpoint(const struct ring *r, uint64_t pos);
