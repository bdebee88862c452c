/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_itch.c - Nasdaq TotalView-ITCH 5.0, every type.
 *
 * Mix of the ongoing flow: the sample day 2019-12-30 (A 43.59 %, D 42.55, U 8.05, E 2.13, I 1.50,
 * X 1.04, F 0.55, P 0.45, L 0.08, C 0.04, the rest together 0.02). 95 of 100 orders end by a
 * delete.
 */
#include "flow.h"

#define COMMON(m, t, loc)                                                                          \
    do {                                                                                           \
        (m)->type = (t);                                                                           \
        (m)->name = (loc);                                                                         \
        (m)->bytes[0] = (t);                                                                       \
        put_be16((m)->bytes + 1, (uint16_t)(loc));                                                 \
    } while (0)

static void stock(struct flow *f, uint8_t *p, uint32_t name)
{
    memcpy(p, f->names.text[name], 8);
}

static void event(struct flow_msg *m, char code)
{
    COMMON(m, 'S', 0);
    m->bytes[11] = (uint8_t)code;
    m->len = 12;
}

static void directory(struct flow *f, uint32_t i, struct flow_msg *m)
{
    uint8_t *b = m->bytes;
    uint64_t r = rng_u64(&f->rng);
    COMMON(m, 'R', i + 1);
    stock(f, b + 11, i);
    b[19] = (uint8_t) "QGSNAPZV"[r & 7];
    b[20] = (r >> 3 & 63) ? 'N' : 'D';
    put_be32(b + 21, (r >> 9 & 127) ? 100 : 10);
    b[25] = (r >> 16 & 7) ? 'N' : 'Y';
    b[26] = (uint8_t) "CCCCQPWRUAVNBLOF"[r >> 19 & 15];
    memcpy(b + 27, (r >> 23 & 3) ? "Z " : (r >> 25 & 1) ? "SA" : "C ", 2);
    b[29] = 'P';
    b[30] = (uint8_t) "NNNNNNY "[r >> 26 & 7];
    b[31] = (r >> 29 & 63) ? 'N' : 'Y';
    b[32] = (uint8_t) "122 "[r >> 35 & 3];
    b[33] = (r >> 37 & 3) ? 'N' : 'Y';
    put_be32(b + 34, b[33] == 'Y' ? (uint32_t)(r >> 39 & 3) : 0);
    b[38] = b[33] == 'Y' && (r >> 41 & 7) == 0 ? 'Y' : 'N';
    m->len = 39;
}

static void action(struct flow *f, uint32_t i, char state, const char *reason, struct flow_msg *m)
{
    COMMON(m, 'H', i + 1);
    stock(f, m->bytes + 11, i);
    m->bytes[19] = (uint8_t)state;
    m->bytes[20] = ' ';
    memcpy(m->bytes + 21, reason, 4);
    m->len = 25;
}

static void regsho(struct flow *f, uint32_t i, char state, struct flow_msg *m)
{
    COMMON(m, 'Y', i + 1);
    stock(f, m->bytes + 11, i);
    m->bytes[19] = (uint8_t)state;
    m->len = 20;
}

static const char mpids[16][5] = {"NITE", "CDRG", "GSCO", "MSCO", "JPMS", "UBSS", "VIRT", "ARCX",
                                  "BARC", "CITI", "ETMM", "FBCO", "HRTF", "JNST", "SUFI", "TMBR"};

static void participant(struct flow *f, uint32_t i, struct flow_msg *m)
{
    uint64_t r = rng_u64(&f->rng);
    COMMON(m, 'L', i + 1);
    memcpy(m->bytes + 11, mpids[r & 15], 4);
    stock(f, m->bytes + 15, i);
    m->bytes[23] = (r >> 4 & 1) ? 'Y' : 'N';
    m->bytes[24] = (uint8_t) "NNNNPSRL"[r >> 5 & 7];
    m->bytes[25] = (uint8_t) "AAAAEWSD"[r >> 8 & 7];
    m->len = 26;
}

static void add(struct flow *f, bool attributed, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng);
    struct flow_order *o = flow_add(f, i);
    uint8_t *b = m->bytes;
    COMMON(m, attributed ? 'F' : 'A', i + 1);
    put_be64(b + 11, o->ref);
    b[19] = o->side;
    put_be32(b + 20, o->shares);
    stock(f, b + 24, i);
    put_be32(b + 32, o->price);
    m->len = 36;
    if (attributed) {
        memcpy(b + 36, mpids[o->ref & 15], 4);
        m->len = 40;
    }
}

static void delete_order(struct flow *f, uint32_t i, struct flow_msg *m)
{
    COMMON(m, 'D', f->book[i].name + 1);
    put_be64(m->bytes + 11, f->book[i].ref);
    m->len = 19;
    flow_remove(f, i);
}

static void replace(struct flow *f, uint32_t i, struct flow_msg *m)
{
    struct flow_order *o = &f->book[i];
    COMMON(m, 'U', o->name + 1);
    put_be64(m->bytes + 11, o->ref);
    f->next_ref += 1 + (rng_u64(&f->rng) & 1);
    o->ref = f->next_ref;
    o->price = flow_price(f, o->name, o->side == 'B');
    o->shares = flow_shares(f);
    put_be64(m->bytes + 19, o->ref);
    put_be32(m->bytes + 27, o->shares);
    put_be32(m->bytes + 31, o->price);
    m->len = 35;
}

static void execute(struct flow *f, uint32_t i, bool priced, struct flow_msg *m)
{
    struct flow_order *o = &f->book[i];
    uint64_t r = rng_u64(&f->rng);
    uint32_t n = (r & 3) && o->shares > 1 ? o->shares : (o->shares + 1) / 2;
    COMMON(m, priced ? 'C' : 'E', o->name + 1);
    put_be64(m->bytes + 11, o->ref);
    put_be32(m->bytes + 19, n);
    put_be64(m->bytes + 23, f->next_match++);
    m->len = 31;
    if (priced) {
        m->bytes[31] = (r >> 8 & 3) ? 'Y' : 'N';
        put_be32(m->bytes + 32, o->price + (o->side == 'B' ? 100 : 0));
        m->len = 36;
    }
    o->shares -= n;
    if (o->shares == 0)
        flow_remove(f, i);
}

static void cancel(struct flow *f, struct flow_msg *m)
{
    struct flow_order *o = &f->book[flow_recent(f)];
    for (int tries = 0; tries < 8 && o->shares < 2; tries++) /* one share has no part */
        o = &f->book[flow_recent(f)];
    uint32_t n = o->shares / 2;
    if (n == 0) {
        delete_order(f, (uint32_t)(o - f->book), m);
        return;
    }
    COMMON(m, 'X', o->name + 1);
    put_be64(m->bytes + 11, o->ref);
    put_be32(m->bytes + 19, n);
    m->len = 23;
    o->shares -= n;
}

static void trade(struct flow *f, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng);
    bool buy = rng_u64(&f->rng) & 1;
    COMMON(m, 'P', i + 1);
    put_be64(m->bytes + 11, 0); /* the reference of a hidden order is not told */
    m->bytes[19] = buy ? 'B' : 'S';
    put_be32(m->bytes + 20, flow_shares(f));
    stock(f, m->bytes + 24, i);
    put_be32(m->bytes + 32, flow_price(f, i, buy));
    put_be64(m->bytes + 36, f->next_match++);
    m->len = 44;
}

static void cross(struct flow *f, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng);
    uint64_t r = rng_u64(&f->rng);
    COMMON(m, 'Q', i + 1);
    put_be64(m->bytes + 11, (r & 7) ? flow_shares(f) * 50ull : 0);
    stock(f, m->bytes + 19, i);
    put_be32(m->bytes + 27, f->names.mid[i]);
    put_be64(m->bytes + 31, f->next_match++);
    m->bytes[39] = (uint8_t) "OCHO"[r >> 8 & 3];
    m->len = 40;
}

static void imbalance(struct flow *f, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng), mid = f->names.mid[i];
    uint64_t r = rng_u64(&f->rng);
    uint8_t *b = m->bytes;
    COMMON(m, 'I', i + 1);
    put_be64(b + 11, flow_shares(f) * 20ull);
    b[27] = (uint8_t) "BSNO"[r & 3];
    put_be64(b + 19, b[27] == 'B' || b[27] == 'S' ? flow_shares(f) : 0);
    stock(f, b + 28, i);
    put_be32(b + 36, mid + 200);
    put_be32(b + 40, mid + 100);
    put_be32(b + 44, mid);
    b[48] = (uint8_t) "OCHA"[r >> 2 & 3];
    b[49] = (uint8_t) "L123456789ABC   "[r >> 4 & 15];
    m->len = 50;
}

/* Types of which a day has a handful to a few thousand. */
static void rare(struct flow *f, uint8_t type, struct flow_msg *m)
{
    uint32_t i = names_pick(&f->names, &f->rng), mid = f->names.mid[i];
    uint64_t r = rng_u64(&f->rng);
    uint8_t *b = m->bytes;
    switch (type) {
    case 'H':
        action(f, i, "HPQT"[r & 3], (r & 3) == 3 ? "    " : (r & 4) ? "LUDP" : "T1  ", m);
        return;
    case 'Y':
        regsho(f, i, "012"[r % 3], m);
        return;
    case 'V':
        COMMON(m, 'V', 0);
        put_be64(b + 11, 305000000000u + r % 1000000000u);
        put_be64(b + 19, 285000000000u + r % 1000000000u);
        put_be64(b + 27, 262000000000u + r % 1000000000u);
        m->len = 35;
        return;
    case 'W':
        COMMON(m, 'W', 0);
        b[11] = (uint8_t) "123"[r % 3];
        m->len = 12;
        return;
    case 'K':
        COMMON(m, 'K', i + 1);
        stock(f, b + 11, i);
        put_be32(b + 19, 34200 + (uint32_t)(r % 20000));
        b[23] = (r >> 32 & 1) ? 'A' : 'C';
        put_be32(b + 24, mid);
        m->len = 28;
        return;
    case 'J':
        COMMON(m, 'J', i + 1);
        stock(f, b + 11, i);
        put_be32(b + 19, mid);
        put_be32(b + 23, mid + mid / 20);
        put_be32(b + 27, mid - mid / 20);
        put_be32(b + 31, (uint32_t)(r & 3));
        m->len = 35;
        return;
    case 'h':
        COMMON(m, 'h', i + 1);
        stock(f, b + 11, i);
        b[19] = (uint8_t) "QBX"[r % 3];
        b[20] = (r >> 8 & 1) ? 'H' : 'T';
        m->len = 21;
        return;
    case 'N':
        COMMON(m, 'N', i + 1);
        stock(f, b + 11, i);
        b[19] = (uint8_t) "BSAN"[r & 3];
        m->len = 20;
        return;
    case 'O':
        COMMON(m, 'O', i + 1);
        stock(f, b + 11, i);
        b[19] = (r & 1) ? 'Y' : 'N';
        put_be32(b + 20, mid - mid / 5);
        put_be32(b + 24, mid + mid / 2);
        put_be32(b + 28, mid);
        put_be64(b + 32, 34200000000000u + (r >> 8) % 1000000000000u);
        put_be32(b + 40, mid - mid / 10);
        put_be32(b + 44, mid + mid / 10);
        m->len = 48;
        return;
    case 'B':
        COMMON(m, 'B', i + 1);
        put_be64(b + 11, f->next_match > 2 ? 1 + r % (f->next_match - 1) : 1);
        m->len = 19;
        return;
    case 'Q':
        cross(f, m);
        return;
    case 'L':
        participant(f, i, m);
        return;
    default:
        imbalance(f, m);
        return;
    }
}

/* The start of a session; false when it is over. */
static bool prologue(struct flow *f, struct flow_msg *m)
{
    uint32_t n = f->names.count;
    for (;;) {
        switch (f->step) {
        case 0:
            f->step = 1;
            f->step_name = 0;
            f->fill_left = f->fill;
            event(m, 'O');
            return true;
        case 1: /* R of all names */
            if (f->step_name < n) {
                directory(f, f->step_name++, m);
                return true;
            }
            break;
        case 2: /* H and Y of each, L of every fourth */
            if (f->step_name < n * 4) {
                uint32_t k = f->step_name++, i = k >> 2;
                if ((k & 3) == 0)
                    action(f, i, 'T', "    ", m);
                else if ((k & 3) == 1)
                    regsho(f, i, i % 97 ? '0' : '1', m);
                else if ((k & 3) == 2 && (i & 3) == 0)
                    participant(f, i, m);
                else
                    continue;
                return true;
            }
            break;
        case 3:
            f->step = 4;
            event(m, 'S');
            return true;
        case 4: /* resting orders of the days before, when asked for */
            if (f->fill_left) {
                f->fill_left--;
                add(f, false, m);
                return true;
            }
            f->step = 5;
            event(m, 'Q');
            return true;
        default:
            return false;
        }
        f->step++;
        f->step_name = 0;
    }
}

static void ongoing(struct flow *f, struct flow_msg *m)
{
    /* one of each type early on, so that a short run has them all */
    static const char once[] = "VWKJhNOQBIPCFXEULHY";
    uint32_t x = rng_below(&f->rng, 100000);
    if (pst_unlikely(f->forced < sizeof once - 1 && ++f->n % 16 == 0 && f->resting > 8)) {
        static const uint32_t at[] = {['I'] = 98000, ['P'] = 99500, ['C'] = 99960, ['F'] = 99000,
                                      ['X'] = 97000, ['E'] = 95000, ['U'] = 90000, ['L'] = 99900};
        uint8_t type = (uint8_t)once[f->forced++];
        x = type < PST_COUNT(at) && at[type] ? at[type] : 99999;
        if (x == 99999) {
            rare(f, type, m);
            return;
        }
    }
    if (x < 43590 || f->resting < 64) {
        add(f, false, m);
    } else if (x < 86140) {
        delete_order(f, flow_recent(f), m);
    } else if (x < 94190) {
        replace(f, flow_recent(f), m);
    } else if (x < 95780 + 540) { /* E 2.13 % */
        execute(f, flow_recent(f), false, m);
    } else if (x < 96320 + 1040) {
        cancel(f, m);
    } else if (x < 97360 + 1500) {
        imbalance(f, m);
    } else if (x < 98860 + 550) {
        add(f, true, m);
    } else if (x < 99410 + 450) {
        trade(f, m);
    } else if (x < 99860 + 80) {
        participant(f, names_pick(&f->names, &f->rng), m);
    } else if (x < 99940 + 40) {
        execute(f, flow_recent(f), true, m);
    } else {
        rare(f, (uint8_t) "HYQBKJhNOVWHYQhH"[rng_u64(&f->rng) & 15], m);
    }
}

void flow_itch_next(struct flow *f, int64_t utc, struct flow_msg *m)
{
    if (pst_unlikely(f->step == 0 && !f->directory)) {
        f->step = 4;
        f->fill_left = f->fill;
    }
    if (pst_unlikely(f->step < 5)) {
        prologue(f, m); /* its last step writes a message too */
    } else if (pst_unlikely(f->purge && !f->closed)) {
        f->closed = true;
        event(m, 'M');
    } else if (pst_unlikely(f->purge && f->resting)) {
        delete_order(f, f->resting - 1, m);
    } else {
        ongoing(f, m);
    }
    put_be16(m->bytes + 3, (uint16_t)(rng_u64(&f->rng) & 15) * 2);
    put_be48(m->bytes + 5, (uint64_t)(utc - f->midnight));
}
