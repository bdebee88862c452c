/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_raw.c - bodies for the framings that the product captures without a decoder.
 *
 * Cboe: binary PITCH messages (time, add, execute, reduce, modify, delete, trade, status) with true
 * lengths, a name's unit fixed by its index. CME and B3: an SBE header with a plausible template
 * and a body of random bytes whose first eight are the time. A message here includes its own length
 * field(s).
 */
#include "flow.h"

void flow_cboe_next(struct flow *f, int64_t utc, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng), x = rng_below(&f->rng, 10000);
    uint64_t since = (uint64_t)(utc - f->midnight), r = rng_u64(&f->rng);
    uint32_t second = (uint32_t)(since / 1000000000) + 1;
    uint8_t *b = m->bytes;
    struct flow_order *o = NULL;
    uint32_t at = 0, kind = x < 4500 ? 0x22 : x < 8900 ? 0x29 : 0;
    if (!kind)
        kind = x < 9300 ? 0x23 : x < 9500 ? 0x26 : x < 9750 ? 0x28 : x < 9900 ? 0x2b : 0x31;
    bool of_order = kind != 0x22 && kind != 0x2b && kind != 0x31;
    if (of_order && f->resting < 16)
        kind = 0x22, of_order = false;
    if (of_order) {
        at = flow_recent(f);
        o = &f->book[at];
        i = o->name;
    }
    m->unit = i % f->units;
    m->name = i + 1;
    memset(b, 0, 48);
    if (f->unit_second[m->unit] != second) { /* the clock of this unit first */
        f->unit_second[m->unit] = second;
        m->name = 0;
        kind = 0x20;
        put32(b + 2, second - 1);
        m->len = 6;
    } else if (kind == 0x31) {
        memcpy(b + 6, f->names.text[i], 8);
        b[14] = (uint8_t) "THQR"[r & 3];
        b[15] = '0';
        m->len = 18;
    } else if (kind == 0x2b) {
        put64(b + 6, f->next_ref);
        b[14] = (r & 1) ? 'B' : 'S';
        put16(b + 15, (uint16_t)flow_shares(f));
        memcpy(b + 17, f->names.text[i], 6);
        put16(b + 23, (uint16_t)(flow_price(f, i, r & 1) / 100));
        put64(b + 25, f->next_match++);
        m->len = 33;
    } else if (kind == 0x22) {
        o = flow_add(f, i);
        put64(b + 6, o->ref);
        b[14] = o->side;
        put16(b + 15, (uint16_t)o->shares);
        memcpy(b + 17, f->names.text[i], 6);
        put16(b + 23, (uint16_t)(o->price / 100));
        b[25] = 1;
        m->len = 26;
    } else {
        put64(b + 6, o->ref);
        if (kind == 0x23) {
            put32(b + 14, o->shares);
            put64(b + 18, f->next_match++);
            m->len = 26;
        } else if (kind == 0x26) {
            put16(b + 14, (uint16_t)((o->shares + 1) / 2));
            m->len = 16;
        } else if (kind == 0x28) {
            put16(b + 14, (uint16_t)flow_shares(f));
            put16(b + 16, (uint16_t)(flow_price(f, i, true) / 100));
            b[18] = 3;
            m->len = 19;
        } else {
            m->len = 14;
        }
        if (kind == 0x23 || kind == 0x29)
            flow_remove(f, at);
    }
    b[0] = (uint8_t)m->len;
    b[1] = m->type = (uint8_t)kind;
    if (kind != 0x20)
        put32(b + 2, (uint32_t)(since % 1000000000));
}

void flow_sbe_next(struct flow *f, int64_t utc, struct flow_msg *m)
{
    static const uint16_t cme[4] = {46, 47, 48, 37}, b3[4] = {50, 51, 53, 3};
    uint64_t r = rng_u64(&f->rng);
    bool is_b3 = f->protocol == SIM_B3;
    uint32_t block = 16 + 8 * (uint32_t)(r & 7), head = is_b3 ? 4 : 2;
    uint16_t template = (is_b3 ? b3 : cme)[(r >> 8 & 15) < 12 ? 0 : r >> 12 & 3];
    uint8_t *b = m->bytes;
    m->unit = 0;
    m->name = names_pick(&f->names, &f->rng) + 1;
    m->len = head + 8 + block;
    m->type = (uint8_t) template;
    put16(b, (uint16_t)m->len);
    if (is_b3)
        put16(b + 2, 0xeb50); /* encoding type: SBE 1.0, little endian */
    put16(b + head, (uint16_t)block);
    put16(b + head + 2, template);
    put16(b + head + 4, is_b3 ? 2 : 1);
    put16(b + head + 6, is_b3 ? 9 : 13);
    put64(b + head + 8, (uint64_t)utc);
    put32(b + head + 16, m->name);
    put32(b + head + 20, (uint32_t)r);
    for (uint32_t at = 16; at < block; at += 8)
        put64(b + head + 8 + at, rng_u64(&f->rng));
}
