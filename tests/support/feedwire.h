/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feedwire.h - builds packets of several framings, written from the venues' layouts and not from our
 * descriptors. The content of a message follows from its number, so that tests know what to expect.
 */
#pragma once

#include "core/base.h"

struct wire_packet {
    uint8_t b[65536];
    uint32_t n;
};

/* Message `seq` of stream `salt`: 5 … 27 bytes, the first one its type. */
static inline uint32_t wire_message(uint64_t seq, uint32_t salt, uint8_t *out)
{
    uint32_t n = 5 + (uint32_t)((seq * 7 + salt) % 23);
    uint64_t x = (seq + 1) * 0x9E3779B97F4A7C15ull ^ salt;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint8_t)(x >> (8 * (i % 8))) ^ (uint8_t)i;
    out[0] = (uint8_t)('A' + seq % 26);
    return n;
}

static inline void wire_put(uint8_t *p, uint64_t v, unsigned width, bool little)
{
    for (unsigned i = 0; i < width; i++)
        p[little ? i : width - 1 - i] = (uint8_t)(v >> (8 * i));
}

/* count 0 = heartbeat, 0xFFFF = end of session */
static inline void wire_mold(struct wire_packet *p, const char *session, uint64_t seq,
                             unsigned count, uint32_t salt)
{
    memset(p->b, ' ', 10);
    memcpy(p->b, session, strlen(session));
    wire_put(p->b + 10, seq, 8, false);
    wire_put(p->b + 18, count, 2, false);
    p->n = 20;
    for (unsigned i = 0; count != 0xFFFF && i < count; i++) {
        uint32_t len = wire_message(seq + i, salt, p->b + p->n + 2);
        wire_put(p->b + p->n, len, 2, false);
        p->n += 2 + len;
    }
}

static inline void wire_iex(struct wire_packet *p, uint32_t session, uint64_t seq, unsigned count,
                            uint64_t offset, uint64_t send_time)
{
    memset(p->b, 0, 40);
    p->b[0] = 1;
    wire_put(p->b + 2, 0x8003, 2, true);
    wire_put(p->b + 4, 1, 4, true);
    wire_put(p->b + 8, session, 4, true);
    wire_put(p->b + 14, count, 2, true);
    wire_put(p->b + 16, offset, 8, true);
    wire_put(p->b + 24, seq, 8, true);
    wire_put(p->b + 32, send_time, 8, true);
    p->n = 40;
    for (unsigned i = 0; i < count; i++) {
        uint32_t len = wire_message(seq + i, session, p->b + p->n + 2);
        wire_put(p->b + p->n, len, 2, true);
        p->n += 2 + len;
    }
    wire_put(p->b + 12, p->n - 40, 2, true);
}

static inline void wire_cboe(struct wire_packet *p, unsigned unit, uint32_t seq, unsigned count)
{
    p->n = 8;
    for (unsigned i = 0; i < count; i++) {
        uint32_t len = wire_message(seq + i, unit, p->b + p->n + 1);
        p->b[p->n] = (uint8_t)(len + 1);
        p->n += len + 1;
    }
    wire_put(p->b, p->n, 2, true);
    p->b[2] = (uint8_t)count;
    p->b[3] = (uint8_t)unit;
    wire_put(p->b + 4, seq, 4, true);
}

/* CME: `count` messages with a size of their own; template of the first */
static inline void wire_cme(struct wire_packet *p, uint32_t seq, unsigned count, unsigned template,
                            uint64_t send_time)
{
    wire_put(p->b, seq, 4, true);
    wire_put(p->b + 4, send_time, 8, true);
    p->n = 12;
    for (unsigned i = 0; i < count; i++) {
        memset(p->b + p->n, 0, 16);
        wire_put(p->b + p->n, 16, 2, true);
        wire_put(p->b + p->n + 4, template, 2, true);
        wire_put(p->b + p->n + 10, seq, 4, true);
        p->n += 16;
    }
}

static inline void wire_b3(struct wire_packet *p, unsigned channel, unsigned version, uint32_t seq,
                           unsigned count)
{
    memset(p->b, 0, 16);
    p->b[0] = (uint8_t)channel;
    wire_put(p->b + 2, version, 2, true);
    wire_put(p->b + 4, seq, 4, true);
    p->n = 16;
    for (unsigned i = 0; i < count; i++) {
        memset(p->b + p->n, (int)(seq + i), 20);
        wire_put(p->b + p->n, 20, 2, true);
        p->n += 20;
    }
}
