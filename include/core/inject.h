/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inject.h - how everything but the appender's own port reaches the journal: one SPSC ring of
 * unsealed batches per producer (a further rx lcore, control, later publish threads and
 * processors).
 *
 * A batch is what will become one frame (or one command to the appender):
 *
 *   struct inject_batch | new symbol texts { u8 length, text }… padded to 8 | records
 *
 * Symbols: a producer numbers texts itself, from 0, in the order it first used them
 * (inject_intern); new texts travel in the batch that first uses them, so that the appender's map
 * local -> global is a plain array. Every u32 symbol inside the records of a batch is a local id
 * (or null).
 *
 * Memory: producer's, allocated at creation. Orders: I1 release of `tail` by the producer pairs
 * with I2 acquire by the appender; I3 release of `head` by the appender pairs with I4 acquire by
 * the producer. A full ring is the producer's problem: inject_reserve returns NULL.
 */
#pragma once

#include "atomics.h"
#include "bell.h"
#include "frame.h"

#define INJECT_MIN (1u << 20)

struct inject_batch {
    uint32_t bytes;   /* whole batch, a multiple of 8 */
    uint8_t kind;     /* enum frame_kind: data, gap, mark, schema; symbol: texts and nothing else */
    uint8_t stream;   /* 0 or 255 */
    uint16_t day;     /* 0: the appender puts the open day of each row's calendar, by its time */
    uint32_t records; /* rows and packet records; the derived record is not counted */
    uint32_t new_syms;
    uint32_t syms_bytes; /* padded */
    uint32_t flags;      /* enum inject_flag */
    int64_t time;        /* wanted frame time; 0 = the appender's clock */
};
_Static_assert(sizeof(struct inject_batch) == 32, "inject batch head is 32 bytes");

enum inject_flag {
    INJECT_RESTART =
        1, /* the producer forgot its numbering: local ids begin at 0 with this batch */
    INJECT_CALENDAR = 256, /* an eod mark of control: times the calendar's number */
    INJECT_EVENT = 256 /* a buffer_start or buffer_end mark of control: times the event's slot */
};

/* Why the appender refused a batch, whole. */
enum inject_refusal {
    INJECT_ACCEPTED,
    INJECT_MALFORMED,    /* a bug of the producer; counter append.bad_batches */
    INJECT_DAY_CLOSED,   /* an eod mark, but that date is not the open one (any more) */
    INJECT_NOT_NEXT,     /* of a source: it does not go on where the source stands (appender.h) */
    INJECT_EVENT_OVER,   /* a buffer_end mark, but the event is not active (any more) */
    INJECT_SYMBOLS_LIMIT /* max_new_symbols or the symbol table is full. The producer must restart
                            its numbering, since the texts of this batch were not kept */
};
#define INJECT_REFUSALS                                                                            \
    64u /* remembered: a producer waits for answers before it has more in flight */

struct inject {
    uint8_t *data; /* size bytes, then a mirror: no batch wraps */
    uint64_t size, mask;
    int fd;
    struct bell_board *board; /* NULL: the appender does not sleep on a bell */
    pst_aligned(64) _Atomic uint64_t tail; /* producer: bytes offered */
    uint64_t p_head;                       /* producer's cached head */
    pst_aligned(64) _Atomic uint64_t head; /* appender: bytes taken */
    _Atomic uint64_t position;             /* journal position behind the last batch taken (I3) */
    uint64_t c_tail;                       /* appender's cached tail */
    _Atomic uint32_t refused;              /* batches refused (appender; I3) */
    _Atomic uint64_t refusal[INJECT_REFUSALS]; /* ticket | enum inject_refusal, ditto */
};

bool inject_create(struct inject *q, uint64_t size, struct err *err);
void inject_destroy(struct inject *q);

/* Producer: room for a batch of up to `bytes`, or NULL when full. Not visible before inject_commit.
 */
pst_inline uint8_t *inject_reserve(struct inject *q, uint32_t bytes)
{
    uint64_t tail = load_relaxed(&q->tail);
    if (pst_unlikely(tail + bytes > q->p_head + q->size)) {
        q->p_head = load_acquire(&q->head); /* I4: pairs with I3 */
        if (tail + bytes > q->p_head + q->size)
            return NULL;
    }
    return q->data + (tail & q->mask);
}
pst_inline uint64_t inject_room(struct inject *q)
{
    q->p_head = load_acquire(&q->head); /* I4 */
    return q->p_head + q->size - load_relaxed(&q->tail);
}
/* Producer: offers the batch built at inject_reserve; its head's `bytes` is final. Returns the
 * ticket with which inject_taken answers. */
pst_inline uint64_t inject_commit(struct inject *q, uint32_t bytes)
{
    uint64_t t = load_relaxed(&q->tail) + bytes;
    store_release(&q->tail, t); /* I1: pairs with I2 */
    bell_board_ring(q->board, BELL_BATCH);
    return t;
}
/* Producer: has the appender taken the batch of this ticket? *position: the journal is at least
 * this far behind it (wait for durable >= position to acknowledge durably). */
pst_inline bool inject_taken(struct inject *q, uint64_t ticket, uint64_t *position)
{
    if (load_acquire(&q->head) < ticket) /* I4 */
        return false;
    *position = load_relaxed(&q->position);
    return true;
}

/* Producer, after inject_taken said yes: was the batch of this ticket refused, and why? */
static inline enum inject_refusal inject_verdict(const struct inject *q, uint64_t ticket)
{
    uint32_t n = load_relaxed(&q->refused); /* ordered by I4 */
    for (uint32_t i = 0; i < n && i < INJECT_REFUSALS; i++) {
        uint64_t v = load_relaxed(&q->refusal[i]);
        if ((v & ~7ull) == ticket)
            return (enum inject_refusal)(v & 7);
    }
    return INJECT_ACCEPTED;
}

/* The same for all batches behind ticket `after` up to `ticket`: the first refusal found. */
static inline enum inject_refusal inject_refused(const struct inject *q, uint64_t after,
                                                 uint64_t ticket)
{
    uint32_t n = load_relaxed(&q->refused);
    for (uint32_t i = 0; i < n && i < INJECT_REFUSALS; i++) {
        uint64_t v = load_relaxed(&q->refusal[i]), t = v & ~7ull;
        if (t > after && t <= ticket)
            return (enum inject_refusal)(v & 7);
    }
    return INJECT_ACCEPTED;
}

/* Appender: the next batch, or NULL. */
pst_inline const struct inject_batch *inject_peek(struct inject *q)
{
    uint64_t head = load_relaxed(&q->head);
    if (head == q->c_tail) {
        q->c_tail = load_acquire(&q->tail); /* I2: pairs with I1 */
        if (head == q->c_tail)
            return NULL;
    }
    return (const struct inject_batch *)(q->data + (head & q->mask));
}
/* Appender: bytes that are certainly there behind inject_peek's batch, itself included. No batch
 * may claim more. */
pst_inline uint64_t inject_ready(const struct inject *q)
{
    return q->c_tail - load_relaxed(&q->head);
}
/* Appender: gives `bytes` (of one batch) back; it was journaled below `position`. */
pst_inline void inject_release(struct inject *q, uint64_t bytes, uint64_t position)
{
    store_relaxed(&q->position, position);
    store_release(&q->head, load_relaxed(&q->head) + bytes); /* I3: pairs with I4 */
}
/* Appender: the same for a batch that it refuses. */
static inline void inject_refuse(struct inject *q, uint64_t bytes, uint64_t position,
                                 enum inject_refusal why)
{
    uint32_t n = load_relaxed(&q->refused);
    store_relaxed(&q->refusal[n % INJECT_REFUSALS], (load_relaxed(&q->head) + bytes) | why);
    store_relaxed(&q->refused, n + 1);
    inject_release(q, bytes, position);
}
