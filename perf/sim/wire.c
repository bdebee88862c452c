/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

static bool is_iex(enum sim_protocol p)
{
    return p == SIM_IEX_TOPS15 || p == SIM_IEX_TOPS || p == SIM_IEX_DEEP;
}

uint32_t wire_head_size(enum sim_protocol p)
{
    return p == SIM_ITCH ? 20 : p == SIM_CBOE ? 8 : p == SIM_CME ? 12 : p == SIM_B3 ? 16 : 40;
}

uint32_t wire_prefix_size(enum sim_protocol p)
{
    return p == SIM_ITCH || is_iex(p) ? 2 : 0;
}

uint32_t wire_count_max(enum sim_protocol p)
{
    return p == SIM_CBOE ? 255 : 1024;
}

bool wire_counts_packets(enum sim_protocol p)
{
    return p == SIM_CME || p == SIM_B3;
}

const char *wire_name(enum sim_protocol p)
{
    static const char *const names[] = {"itch", "iex-tops15", "iex-tops", "iex-deep",
                                        "cboe", "cme",        "b3"};
    return names[p];
}

void wire_head_put(enum sim_protocol p, uint8_t *b, const struct wire_head *h, uint32_t total)
{
    static const uint16_t iex_proto[] = {
        [SIM_IEX_TOPS15] = 0x8002, [SIM_IEX_TOPS] = 0x8003, [SIM_IEX_DEEP] = 0x8004};
    switch (p) {
    case SIM_ITCH:
        memcpy(b, h->session, 10);
        put_be64(b + 10, h->seq);
        put_be16(b + 18, (uint16_t)h->count);
        break;
    case SIM_CBOE:
        put16(b, (uint16_t)total);
        b[2] = (uint8_t)h->count;
        b[3] = (uint8_t)h->unit;
        put32(b + 4, (uint32_t)h->seq);
        break;
    case SIM_CME:
        put32(b, (uint32_t)h->seq);
        put64(b + 4, (uint64_t)h->utc);
        break;
    case SIM_B3:
        b[0] = (uint8_t)h->unit;
        b[1] = 0;
        put16(b + 2, (uint16_t)h->number);
        put32(b + 4, (uint32_t)h->seq);
        put64(b + 8, (uint64_t)h->utc);
        break;
    default:
        b[0] = 1;
        b[1] = 0;
        put16(b + 2, iex_proto[p]);
        put32(b + 4, h->unit);
        put32(b + 8, h->number);
        put16(b + 12, (uint16_t)(total - 40));
        put16(b + 14, (uint16_t)h->count);
        put64(b + 16, h->offset);
        put64(b + 24, h->seq);
        put64(b + 32, (uint64_t)h->utc);
        break;
    }
}

void wire_prefix_put(enum sim_protocol p, uint8_t *out, uint32_t len)
{
    if (p == SIM_ITCH)
        put_be16(out, (uint16_t)len);
    else if (is_iex(p))
        put16(out, (uint16_t)len);
}

bool wire_walk(enum sim_protocol p, const uint8_t *b, uint32_t len)
{
    uint32_t at = wire_head_size(p), n = 0, count = 0;
    if (len < at)
        return false;
    if (p == SIM_ITCH)
        count = be16(b + 18);
    else if (p == SIM_CBOE)
        count = b[2];
    else if (is_iex(p))
        count = le16(b + 14);
    if ((p == SIM_CBOE && le16(b) != len) || (is_iex(p) && le16(b + 12) != len - at))
        return false;
    if (p == SIM_ITCH && count == WIRE_END)
        return at == len;
    while (at < len) {
        uint32_t step = 1, left = len - at;
        if (p != SIM_CBOE && left < 2)
            return false;
        switch (p) {
        case SIM_ITCH:
            step = 2u + be16(b + at);
            break;
        case SIM_CBOE:
            step = b[at] < 2 ? left + 1 : b[at];
            break;
        case SIM_CME:
            step = le16(b + at) < 10 ? left + 1 : le16(b + at);
            break;
        case SIM_B3:
            step = le16(b + at) < 12 ? left + 1 : le16(b + at);
            break;
        default:
            step = 2u + le16(b + at);
            break;
        }
        if (step > left)
            return false;
        at += step;
        n++;
    }
    return wire_counts_packets(p) || n == count;
}

/* ---- frames ---- */

void wire_frame_make(struct wire_frame *w, const struct wire_address *a)
{
    bool udp_checksum = w->udp_checksum;
    *w = (struct wire_frame){.udp_checksum = udp_checksum};
    uint8_t *p = w->head;
    if (a->dst >> 28 == 14) { /* 01:00:5e and the low 23 bits of the group */
        p[0] = 0x01, p[1] = 0x00, p[2] = 0x5e;
        p[3] = (uint8_t)(a->dst >> 16 & 0x7f), p[4] = (uint8_t)(a->dst >> 8),
        p[5] = (uint8_t)a->dst;
    } else {
        memset(p, 0xff, 6);
    }
    memcpy(p + 6, a->mac, 6);
    p += 12;
    for (uint32_t i = 0; i < a->vlans; i++, p += 4) {
        put_be16(p, a->vlans > 1 && i == 0 ? 0x88a8 : 0x8100);
        put_be16(p + 2, a->vlan[i]);
    }
    put_be16(p, 0x0800);
    p += 2;
    w->ip_at = (uint32_t)(p - w->head);
    p[0] = 0x45;
    put_be16(p + 6, 0x4000); /* do not fragment */
    p[8] = a->ttl;
    p[9] = 17;
    put_be32(p + 12, a->src);
    put_be32(p + 16, a->dst);
    put_be16(p + 20, a->sport);
    put_be16(p + 22, a->dport);
    w->len = w->ip_at + 28;
}

/* One's complement sum of 16-bit words in memory order; 32 bits at a time vectorises. */
static uint64_t sum(const uint8_t *p, uint32_t len)
{
    uint64_t s = 0;
    uint32_t i = 0;
    for (; i + 4 <= len; i += 4)
        s += le32(p + i);
    if (i + 2 <= len) {
        s += le16(p + i);
        i += 2;
    }
    if (i < len)
        s += p[i];
    return s;
}

static uint16_t fold(uint64_t s)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)~s;
}

void wire_checksums(uint8_t *f, uint32_t ip_at, bool udp)
{
    uint8_t *ip = f + ip_at;
    put16(ip + 10, 0);
    put16(ip + 10, fold(sum(ip, 20)));
    put16(ip + 26, 0);
    if (udp) {
        uint32_t len = be16(ip + 24);
        uint64_t s = sum(ip + 12, 8) + sum(ip + 20, len);
        s += (uint64_t)__builtin_bswap16((uint16_t)(17 + len));
        uint16_t c = fold(s);
        put16(ip + 26, c ? c : 0xffff);
    }
}

uint32_t wire_frame_put(struct wire_frame *w, uint8_t *out, const uint8_t *payload, uint32_t len)
{
    uint32_t total = w->len + len;
    uint8_t *ip = out + w->ip_at;
    memcpy(out, w->head, w->len);
    memcpy(out + w->len, payload, len);
    put_be16(ip + 2, (uint16_t)(28 + len));
    put_be16(ip + 4, w->ip_id++);
    put_be16(ip + 24, (uint16_t)(8 + len));
    wire_checksums(out, w->ip_at, w->udp_checksum);
    if (total < 60) {
        memset(out + total, 0, 60 - total);
        total = 60;
    }
    return total;
}
