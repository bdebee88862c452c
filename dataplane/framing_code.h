/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framing_code.h - the one packet parser, always inlined. Included by descriptor.c (descriptor
 * known at run time) and framing_builtin.c (descriptor a constant: the compiler folds every test of
 * it away). Nobody else includes it.
 */
#pragma once

#include "descriptor.h"

pst_inline uint64_t framing_load(const uint8_t *p, unsigned width, bool little)
{
    switch (width) {
    case 1:
        return *p;
    case 2:
        return little ? le16(p) : be16(p);
    case 3:
        return little ? le16(p) | (uint64_t)p[2] << 16 : (uint64_t)p[0] << 16 | be16(p + 1);
    case 4:
        return little ? le32(p) : be32(p);
    case 6:
        return little ? le32(p) | (uint64_t)le16(p + 4) << 32 : be48(p);
    case 8:
        return little ? le64(p) : be64(p);
    default:
        return 0;
    }
}

pst_inline enum packet_kind framing_bad(struct packet_view *v, enum framing_reason why)
{
    v->kind = PACKET_MALFORMED;
    v->reason = (uint8_t)why;
    return PACKET_MALFORMED;
}

pst_inline uint32_t framing_body(const struct framing *f)
{
    return f->messages_at ? f->messages_at : f->header;
}

pst_inline bool framing_test(const struct framing *f, const struct framing_match *m,
                             const uint8_t *p, uint32_t len, uint64_t count, uint64_t seq)
{
    bool hit;
    if (m->test == TEST_FIELD) {
        if (m->offset + m->width > len)
            return false;
        hit = (framing_load(p + m->offset, m->width, f->little) & m->mask) == m->value;
    } else {
        hit = (m->test == TEST_COUNT ? count : seq) == m->value;
    }
    return hit != m->negate;
}

pst_inline void framing_header_inline(const struct framing *f, const uint8_t *p, uint32_t len,
                                      struct packet_view *v)
{
    v->reason = FRAMING_NONE;
    v->reset = v->retransmitted = v->idle = false;
    v->send_time = v->offset = 0;
    v->first = p;
    v->bytes = 0;
    v->count = v->seqs = 0;
    v->seq = 0;
    memset(v->key, 0, sizeof v->key);
    if (pst_unlikely(len < f->header)) {
        framing_bad(v, FRAMING_SHORT);
        return;
    }
    if (pst_unlikely(len > UINT16_MAX)) { /* no UDP datagram is; message starts are 16 bits */
        framing_bad(v, FRAMING_LENGTH);
        return;
    }
    if (f->length.width) {
        int64_t says = (int64_t)framing_load(p + f->length.offset, f->length.width, f->little) +
                       f->length_adds;
        if (pst_unlikely(says != (int64_t)len)) {
            framing_bad(v, FRAMING_LENGTH);
            return;
        }
    }
    uint32_t body = framing_body(f);
    uint64_t count = 0;
    if (f->count.width && f->count.offset + f->count.width <= len)
        count = framing_load(p + f->count.offset, f->count.width, f->little);
    uint32_t seq_at = f->seq.offset + (f->per_message_seq ? body : 0);
    if (pst_likely(seq_at + f->seq.width <= len))
        v->seq = framing_load(p + seq_at, f->seq.width, f->little);

    uint8_t *key = (uint8_t *)v->key;
#pragma GCC unroll 4
    for (unsigned i = 0, at = 0; i < f->nkeys; i++) {
        if (f->key[i].offset + f->key[i].width <= len)
            memcpy(key + at, p + f->key[i].offset, f->key[i].width);
        at += f->key[i].width;
    }
    if (f->send_time.width)
        v->send_time = framing_load(p + f->send_time.offset, f->send_time.width, f->little);
    if (f->send_fraction.width)
        v->send_time =
            v->send_time << 32 |
            (uint32_t)framing_load(p + f->send_fraction.offset, f->send_fraction.width, f->little);
    if (f->offset.width)
        v->offset = framing_load(p + f->offset.offset, f->offset.width, f->little);

    enum packet_kind kind = PACKET_DATA;
    bool decided = false, wants_data = false, so_far = true;
#pragma GCC unroll 12
    for (unsigned i = 0; i < FRAMING_MATCHES; i++) {
        const struct framing_match *m = &f->match[i];
        if (!m->action)
            break;
        wants_data |= m->action == MATCH_DATA;
        bool hit = so_far && framing_test(f, m, p, len, count, v->seq);
        so_far = !m->more || hit;
        if (pst_likely(!hit || m->more))
            continue;
        if (m->action == MATCH_RESET)
            v->reset = true;
        else if (m->action == MATCH_RETRANSMITTED)
            v->retransmitted = true;
        else if (m->action == MATCH_IDLE)
            v->idle = true;
        else if (!decided) {
            decided = true;
            kind = m->action == MATCH_HEARTBEAT ? PACKET_HEARTBEAT
                   : m->action == MATCH_END     ? PACKET_END
                   : m->action == MATCH_DATA    ? PACKET_DATA
                                                : PACKET_UNSEQUENCED;
        }
    }
    if (pst_unlikely(wants_data && !decided)) {
        framing_bad(v, FRAMING_KIND);
        return;
    }
    v->kind = (uint8_t)kind;
    if (pst_unlikely(kind == PACKET_HEARTBEAT || kind == PACKET_END)) {
        if (f->heartbeat == HEARTBEAT_LAST)
            v->seq += v->seq != UINT64_MAX;
        else if (f->heartbeat == HEARTBEAT_NONE && kind == PACKET_HEARTBEAT)
            v->kind = PACKET_UNSEQUENCED; /* of nothing */
        return;
    }
    if (pst_unlikely(len < body)) {
        framing_bad(v, FRAMING_SHORT);
        return;
    }
    v->first = p + body;
    v->bytes = len - body;
    v->count = (uint32_t)count;
    v->seqs = f->counts_packets ? 1 : v->count;
    if (kind == PACKET_DATA && pst_unlikely(v->seq + v->seqs < v->seq))
        framing_bad(v, FRAMING_SEQUENCE);
}

/* Walks the messages from v->first over v->bytes. */
pst_inline bool framing_walk_inline(const struct framing *f, struct packet_view *v, uint16_t *at)
{
    uint32_t end = v->bytes, pos = 0, n = 0;
    if (v->kind == PACKET_UNSEQUENCED && !v->count && !end)
        return true;
    const uint8_t *p = v->first;
    uint32_t want = f->count.width ? v->count : FRAMING_MESSAGES;
    if (f->messages == MESSAGES_OPAQUE) {
        /* One unit, whatever the header counts. */
        at[0] = 0;
        at[1] = (uint16_t)end;
        if (!f->count.width)
            v->count = 1;
        else if (v->count == 0 && end)
            return framing_bad(v, FRAMING_TAIL), false;
        if (!f->counts_packets)
            v->seqs = v->count;
        return true;
    }
    uint32_t prefix = f->mlen.offset + f->mlen.width;
    if (f->skip > prefix)
        prefix = f->skip;
    if (f->shortest > prefix)
        prefix = f->shortest;
    if (f->per_message_seq && f->seq.offset + f->seq.width > prefix)
        prefix = f->seq.offset + f->seq.width;
    while (n < want && pos < end) {
        if (pst_unlikely(end - pos < prefix))
            return framing_bad(v, FRAMING_WALK), false;
        int64_t whole = (int64_t)framing_load(p + pos + f->mlen.offset, f->mlen.width,
                                              f->little != f->mlen_swapped) +
                        f->mlen_adds;
        at[n++] = (uint16_t)pos;
        if (pst_unlikely(whole < (int64_t)prefix || whole > (int64_t)(end - pos)))
            return framing_bad(v, FRAMING_WALK), false;
        pos += (uint32_t)whole;
    }
    if (pst_unlikely(pos != end) && (end - pos > f->tail || n != want))
        return framing_bad(v, FRAMING_TAIL), false;
    if (f->count.width && pst_unlikely(n != want))
        return framing_bad(v, FRAMING_COUNT), false;
    if (f->per_message_seq && pst_unlikely(n == 0)) /* nothing says where the feed stands */
        return framing_bad(v, FRAMING_SHORT), false;
    at[n] = (uint16_t)pos;
    v->bytes = pos;
    v->count = n;
    if (!f->counts_packets)
        v->seqs = n;
    return true;
}
