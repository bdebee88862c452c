/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "flow.h"

bool flow_make(struct flow *f, enum sim_protocol p, uint32_t names, uint64_t seed, struct err *e)
{
    *f =
        (struct flow){.protocol = p, .directory = true, .next_ref = 1, .next_match = 1, .units = 1};
    if (!names_make(&f->names, names, seed, e))
        return false;
    rng_seed(&f->rng, seed, 2);
    f->book_cap = 1u << 16;
    f->book = malloc(f->book_cap * sizeof *f->book);
    if (!f->book)
        return err_set(e, -ENOMEM, "no memory for the book");
    f->next = p == SIM_ITCH                 ? flow_itch_next
              : p == SIM_CBOE               ? flow_cboe_next
              : p == SIM_CME || p == SIM_B3 ? flow_sbe_next
                                            : flow_iex_next;
    return true;
}

void flow_restart(struct flow *f)
{
    f->step = f->step_name = f->forced = 0;
    f->n = 0;
    memset(f->unit_second, 0, sizeof f->unit_second);
}

void flow_free(struct flow *f)
{
    names_free(&f->names);
    free(f->book);
    f->book = NULL;
}

uint32_t flow_shares(struct flow *f)
{
    static const uint16_t lots[16] = {100, 100, 100, 100,  100, 100, 200, 200,
                                      300, 400, 500, 1000, 50,  10,  1,   25};
    uint64_t r = rng_u64(&f->rng);
    return lots[r & 15] * ((r >> 8 & 31) == 0 ? 7u : 1u);
}

/* Near the middle, which walks by a cent now and then; below a dollar, ticks of a hundredth of a
 * cent. */
uint32_t flow_price(struct flow *f, uint32_t name, bool buy)
{
    uint64_t r = rng_u64(&f->rng);
    uint32_t mid = f->names.mid[name], tick = mid >= 10000 ? 100 : 1;
    if ((r & 31) == 0) {
        mid += (r & 32) ? tick : mid > 100 * tick ? -tick : 0;
        f->names.mid[name] = mid;
    }
    uint32_t away = (uint32_t)(r >> 8 & 15) >> (r >> 16 & 3);
    away = (away + 1) * tick;
    return buy ? (mid > away ? mid - away : tick) : mid + away;
}

struct flow_order *flow_add(struct flow *f, uint32_t name)
{
    if (f->resting == f->book_cap) {
        f->book_cap *= 2;
        f->book = realloc(f->book, f->book_cap * sizeof *f->book);
        pst_must(f->book);
    }
    uint64_t r = rng_u64(&f->rng);
    struct flow_order *o = &f->book[f->resting++];
    f->next_ref += 1 + ((r & 7) == 0) * (r >> 3 & 15); /* growing, not dense */
    o->ref = f->next_ref;
    o->name = name;
    o->side = r >> 63 ? 'B' : 'S';
    o->price = flow_price(f, name, o->side == 'B');
    o->shares = flow_shares(f);
    return o;
}

/* Log-uniform age: most orders that go are young, some are very old. */
uint32_t flow_recent(struct flow *f)
{
    uint64_t r = rng_u64(&f->rng);
    uint32_t bits = 32 - (uint32_t)__builtin_clz(f->resting);
    uint32_t age = (uint32_t)(((r >> 32) * f->resting) >> 32) >> ((r & 0xffff) * bits >> 16);
    return f->resting - 1 - age;
}

void flow_remove(struct flow *f, uint32_t i)
{
    f->book[i] = f->book[--f->resting];
}
