/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bell.h - sleeping until another thread of this process has something for one, in place of
 * polling: for machines where the polling threads would take the CPUs from each other (thread.h).
 *
 * A thread has a bell. Before it sleeps it arms it with the events that it waits for, looks once
 * more, and then sleeps; whoever makes such an event rings the board, on which all bells hang. The
 * board is reached through what both sides share, the ring (ring.h) and the inject rings; where it
 * is NULL nobody sleeps on bells, and ringing costs one untaken branch.
 *
 *   sleeper: arm (B1) -> look again -> sleep          ringer: make the event -> fence (B2) -> look
 *
 * The full fences of B1 and B2 pair: either the sleeper sees the event, or the ringer sees the
 * armed bell. A ring that comes between arm and sleep ends the sleep at once.
 *
 * bell_arm, bell_sleep and bell_disarm: the bell's thread. bell_board_ring: any thread.
 */
#pragma once

#include "atomics.h"

enum bell_event {
    BELL_BATCH = 1, /* a batch in an inject ring */
    BELL_TAKEN = 2, /* the appender has taken batches */
    BELL_TAIL = 4,  /* frames in the ring */
    BELL_LEVEL = 8, /* submitted, written or durable has moved */
};

struct bell {
    pst_aligned(64) _Atomic uint32_t armed; /* enum bell_event bits; 0: its thread is awake */
    uint32_t waits;                         /* what the thread arms; its own */
    int fd;                                 /* an eventfd that is written; -1: a futex on `armed` */
};

#define BELLS 16u
struct bell_board {
    _Atomic uint32_t n; /* B3 release: pairs with B4 */
    struct bell *bell[BELLS];
};

/* Before the bell's thread starts; one thread hangs them all. A bell hangs as long as the board. */
void bell_hang(struct bell_board *board, struct bell *b, uint32_t waits, int fd);

void bell_arm(struct bell *b);
void bell_sleep(struct bell *b, int64_t ns); /* only without fd */
pst_inline void bell_disarm(struct bell *b)
{
    store_relaxed(&b->armed, 0);
}

void bell_board_wake(struct bell_board *board, uint32_t events);
pst_inline void bell_board_ring(struct bell_board *board, uint32_t events)
{
    if (pst_unlikely(board != NULL))
        bell_board_wake(board, events);
}
