/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_iex.c - IEX TOPS 1.5, TOPS 1.6 and DEEP 1.0, every type. Little endian, times in UTC ns,
 * prices in 1e-4 dollars, 64 bits.
 *
 * TOPS: mostly Q; DEEP: mostly 8 and 5, of which nearly nine in ten end their event. S E are of
 * DEEP's day as well as (S) of TOPS'; I (retail liquidity) is told by both from 1.6 on.
 */
#include "flow.h"

static void common(struct flow *f, struct flow_msg *m, uint8_t type, uint8_t flags, int64_t utc,
                   int64_t name)
{
    m->type = m->bytes[0] = type;
    m->bytes[1] = flags;
    put64(m->bytes + 2, (uint64_t)utc);
    m->name = (uint32_t)(name + 1);
    if (name >= 0)
        memcpy(m->bytes + 10, f->names.text[name], 8);
}

static void price_at(uint8_t *p, uint64_t price)
{
    put64(p, price);
}

static void quote(struct flow *f, int64_t utc, uint32_t i, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    common(f, m, 'Q', (r & 255) == 0 ? 0x80 : (r & 31) == 1 ? 0x40 : 0, utc, i);
    bool no_bid = (r >> 8 & 63) == 0, no_ask = (r >> 14 & 63) == 0;
    put32(m->bytes + 18, no_bid ? 0 : flow_shares(f));
    price_at(m->bytes + 22, no_bid ? 0 : flow_price(f, i, true));
    price_at(m->bytes + 30, no_ask ? 0 : flow_price(f, i, false));
    put32(m->bytes + 38, no_ask ? 0 : flow_shares(f));
    m->len = 42;
}

static void level(struct flow *f, int64_t utc, uint32_t i, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    bool buy = r & 1;
    common(f, m, buy ? '8' : '5', (r >> 1 & 7) != 0, utc, i);
    put32(m->bytes + 18, (r >> 8 & 3) ? flow_shares(f) : 0); /* 0 removes the level */
    price_at(m->bytes + 22, flow_price(f, i, buy));
    m->len = 30;
}

static void trade(struct flow *f, int64_t utc, uint32_t i, uint8_t type, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    static const uint8_t conditions[8] = {0, 0, 0, 0x20, 0x80, 0x40, 0x10, 0x08};
    common(f, m, type, conditions[r & 7], utc, i);
    put32(m->bytes + 18, flow_shares(f));
    price_at(m->bytes + 22, flow_price(f, i, r >> 8 & 1));
    put64(m->bytes + 30, f->next_match++);
    m->len = 38;
}

static void auction(struct flow *f, int64_t utc, uint32_t i, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng), mid = f->names.mid[i];
    uint8_t *b = m->bytes;
    common(f, m, 'A', (uint8_t) "OCIHV"[r % 5], utc, i);
    put32(b + 18, flow_shares(f) * 10);
    price_at(b + 22, mid);
    price_at(b + 30, mid + 100);
    b[42] = (uint8_t) "BSN"[(r >> 8) % 3];
    put32(b + 38, b[42] == 'N' ? 0 : flow_shares(f));
    b[43] = (uint8_t)(r >> 16 & 3);
    put32(b + 44, (uint32_t)((utc + 600000000000) / 1000000000));
    price_at(b + 48, mid + 50);
    price_at(b + 56, mid);
    price_at(b + 64, mid - mid / 10);
    price_at(b + 72, mid + mid / 10);
    m->len = 80;
}

static void status(struct flow *f, int64_t utc, int64_t i, uint8_t type, uint8_t state,
                   const char *detail, struct flow_msg *m)
{
    common(f, m, type, state, utc, i);
    m->len = i < 0 ? 10 : 18;
    if (type == 'H') {
        memcpy(m->bytes + 18, detail, 4);
        m->len = 22;
    } else if (type == 'P') {
        m->bytes[18] = (uint8_t)detail[0];
        m->len = 19;
    }
}

static void directory(struct flow *f, int64_t utc, uint32_t i, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    static const uint8_t flags[8] = {0, 0, 0, 0, 0x20, 0x20, 0x40, 0x80};
    common(f, m, 'D', flags[r & 7], utc, i);
    put32(m->bytes + 18, (r >> 8 & 63) ? 100 : 10);
    price_at(m->bytes + 22, f->names.mid[i]);
    m->bytes[30] = (uint8_t)((r >> 16) % 3);
    m->len = 31;
}

/* One of the types of which a day has few. */
static void rare(struct flow *f, int64_t utc, uint32_t i, uint8_t type, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    switch (type) {
    case 'H':
        status(f, utc, i, 'H', (uint8_t) "HOPT"[r & 3], (r & 3) == 3 ? "    " : "T1  ", m);
        return;
    case 'O':
        status(f, utc, i, 'O', (r & 1) ? 'O' : 'N', "", m);
        return;
    case 'P':
        status(f, utc, i, 'P', r & 1, &" ACDN"[(r >> 8) % 5], m);
        return;
    case 'I':
        status(f, utc, i, 'I', (uint8_t) " ABC"[r & 3], "", m);
        return;
    case 'E':
        status(f, utc, i, 'E', (r & 1) ? 'O' : 'C', "", m);
        return;
    case 'D':
        directory(f, utc, i, m);
        return;
    case 'X':
        common(f, m, 'X', (r & 1) ? 'Q' : 'M', utc, i);
        price_at(m->bytes + 18, f->names.mid[i]);
        m->len = 26;
        return;
    case 'S':
        status(f, utc, -1, 'S', (uint8_t) "OSRMEC"[r % 6], "", m);
        return;
    case 'A':
        auction(f, utc, i, m);
        return;
    default:
        trade(f, utc, i, type, m);
        return;
    }
}

void flow_iex_next(struct flow *f, int64_t utc, struct flow_msg *m)
{
    bool deep = f->protocol == SIM_IEX_DEEP;
    uint32_t n = f->names.count;
    if (f->step == 0) {
        f->step = f->directory ? 1 : 3;
        f->step_name = 0;
        status(f, utc, -1, 'S', 'O', "", m);
        return;
    }
    if (f->step == 1) {
        if (f->step_name < n) {
            directory(f, utc, f->step_name++, m);
            return;
        }
        f->step = 2;
        f->step_name = 0;
    }
    if (f->step == 2) {
        uint32_t k = f->step_name++, i = k / 3;
        if (i < n) {
            if (k % 3 == 0)
                status(f, utc, i, 'H', 'T', "    ", m);
            else if (k % 3 == 1)
                status(f, utc, i, 'P', 0, " ", m);
            else
                status(f, utc, i, 'O', 'N', "", m);
            return;
        }
        f->step = 3;
    }
    const char *once = deep                            ? "HOPIEDXSATB85"
                       : f->protocol == SIM_IEX_TOPS15 ? "HOPDXSATBQ"
                                                       : "HOPIDXSATBQ";
    uint32_t i = names_pick(&f->names, &f->rng), x = rng_below(&f->rng, 100000);
    if (++f->n % 16 == 0 && once[f->forced]) {
        uint8_t type = (uint8_t)once[f->forced++];
        if (type == 'Q')
            quote(f, utc, i, m);
        else if (type == '8' || type == '5')
            level(f, utc, i, m);
        else
            rare(f, utc, i, type, m);
        return;
    }
    if (x < 92000) {
        if (deep)
            level(f, utc, i, m);
        else
            quote(f, utc, i, m);
    } else if (x < 98500) {
        trade(f, utc, i, 'T', m);
    } else if (x < 99600) {
        auction(f, utc, i, m);
    } else {
        rare(f, utc, i, (uint8_t)once[x % (strlen(once) - (deep ? 2 : 1))], m);
    }
}
