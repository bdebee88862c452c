/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - what control asks of an rx lcore: a small SPSC ring of fixed slots. Control never
 * touches a feed that a lcore owns.
 *
 * Producer: control. Consumer: the lcore, between two bursts. Orders: K1 release of `tail` pairs
 * with K2; K3 release of `head`, after the slot's result was written, pairs with K4. A full ring is
 * control's problem (command_send returns 0: try again in a moment).
 */
#pragma once

#include "core/atomics.h"

#define COMMAND_SLOTS 64u

struct command {
    uint16_t feed; /* index in status.feeds */
    uint8_t line;
    uint8_t what; /* enum feed_command */
    bool ok;      /* answer */
};

struct command_ring {
    struct command slot[COMMAND_SLOTS];
    pst_aligned(64) _Atomic uint64_t tail; /* control */
    pst_aligned(64) _Atomic uint64_t head; /* lcore */
};

/* Control. The ticket (> 0) with which command_done answers; 0 = full. */
pst_inline uint64_t command_send(struct command_ring *r, const struct command *c)
{
    uint64_t t = load_relaxed(&r->tail);
    if (t - load_acquire(&r->head) == COMMAND_SLOTS) /* K4: pairs with K3 */
        return 0;
    r->slot[t % COMMAND_SLOTS] = *c;
    store_release(&r->tail, t + 1); /* K1: pairs with K2 */
    return t + 1;
}
/* Control: was it carried out? *ok: with success. Ask before COMMAND_SLOTS further commands. */
pst_inline bool command_done(struct command_ring *r, uint64_t ticket, bool *ok)
{
    if (load_acquire(&r->head) < ticket) /* K4 */
        return false;
    *ok = r->slot[(ticket - 1) % COMMAND_SLOTS].ok;
    return true;
}

/* Lcore: the next command, or NULL. */
pst_inline struct command *command_peek(struct command_ring *r)
{
    uint64_t h = load_relaxed(&r->head);
    if (h == load_acquire(&r->tail)) /* K2: pairs with K1 */
        return NULL;
    return &r->slot[h % COMMAND_SLOTS];
}
pst_inline void command_finish(struct command_ring *r, struct command *c, bool ok)
{
    c->ok = ok;
    store_release(&r->head, load_relaxed(&r->head) + 1); /* K3: pairs with K4 */
}
