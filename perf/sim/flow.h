/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - what the market says: an endless, seeded stream of messages of one protocol.
 *
 * flow_next writes one message; the caller says at which time it happens (UTC ns since 1970, never
 * falling). The flow starts with the directory (R, then H, Y and some L for ITCH; D, H, … for IEX),
 * then one message of each rare type, then the mix of a real day. flow_restart makes it begin with
 * the directory again, as a publisher does in a new session; the book goes on.
 */
#pragma once

#include "names.h"

#define FLOW_MSG_MAX 256

enum sim_protocol {
    SIM_ITCH,
    SIM_IEX_TOPS15,
    SIM_IEX_TOPS,
    SIM_IEX_DEEP,
    SIM_CBOE,
    SIM_CME,
    SIM_B3
};

struct flow_msg {
    uint32_t len;
    uint32_t name; /* 1-based index of the name (ITCH: the locate), 0 = about none */
    uint32_t unit; /* 0-based, Cboe only */
    uint8_t type;  /* the protocol's type byte (SBE: low byte of the template id) */
    uint8_t bytes[FLOW_MSG_MAX];
};

struct flow_order {
    uint64_t ref;
    uint32_t price, shares;
    uint32_t name; /* 0-based */
    uint8_t side;
};

struct flow {
    enum sim_protocol protocol;
    struct names names;
    struct rng rng;
    int64_t midnight; /* UTC ns of the session date's midnight in the venue's zone */
    bool directory;   /* begin with the directory */
    bool closed;      /* the market close has been told */
    bool purge;       /* set by the caller: only deletes, as after the closing cross */
    uint64_t fill;    /* this many plain adds come right after the directory */
    uint32_t units;   /* Cboe */

    /* where the prologue is */
    uint32_t step, step_name, forced;
    uint64_t n, fill_left;

    uint64_t next_ref, next_match;
    struct flow_order *book; /* resting orders, newest last */
    uint32_t resting, book_cap;
    uint32_t unit_second[64]; /* Cboe: last time message of each unit */
    void (*next)(struct flow *, int64_t utc, struct flow_msg *);
};

bool flow_make(struct flow *f, enum sim_protocol p, uint32_t names, uint64_t seed, struct err *e);
void flow_restart(struct flow *f);
void flow_free(struct flow *f);
static inline void flow_next(struct flow *f, int64_t utc, struct flow_msg *m)
{
    f->next(f, utc, m);
}

/* The protocols' writers. */
void flow_itch_next(struct flow *f, int64_t utc, struct flow_msg *m);
void flow_iex_next(struct flow *f, int64_t utc, struct flow_msg *m);
void flow_cboe_next(struct flow *f, int64_t utc, struct flow_msg *m);
void flow_sbe_next(struct flow *f, int64_t utc, struct flow_msg *m);

/* Shared by them. */
struct flow_order *flow_add(struct flow *f, uint32_t name); /* a new resting order, filled in */
uint32_t flow_recent(struct flow *f); /* index of a resting order, mostly young */
void flow_remove(struct flow *f, uint32_t i);
uint32_t flow_price(struct flow *f, uint32_t name, bool buy);
uint32_t flow_shares(struct flow *f);

pst_inline void put_be16(uint8_t *p, uint16_t v)
{
    put16(p, __builtin_bswap16(v));
}
pst_inline void put_be32(uint8_t *p, uint32_t v)
{
    put32(p, __builtin_bswap32(v));
}
pst_inline void put_be64(uint8_t *p, uint64_t v)
{
    put64(p, __builtin_bswap64(v));
}
pst_inline void put_be48(uint8_t *p, uint64_t v)
{
    put_be16(p, (uint16_t)(v >> 32));
    put_be32(p + 2, (uint32_t)v);
}
