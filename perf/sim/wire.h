/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - bytes around messages: the venue's packet header, and Ethernet, VLAN, IPv4 and UDP below
 * it. Layouts: MoldUDP64, IEX-TP, Cboe sequenced unit, CME MDP 3.0, B3 binary UMDF.
 */
#pragma once

#include "flow.h"

#define WIRE_PAYLOAD_MAX 8972
#define WIRE_FRAME_MAX   (WIRE_PAYLOAD_MAX + 14 + 4 * 4 + 20 + 8)
#define WIRE_END         0xffffu /* as count: MoldUDP64's end of session */

/* What a packet header says. */
struct wire_head {
    const uint8_t *session; /* MoldUDP64: 10 characters */
    uint32_t number;        /* IEX: session id; B3: sequence version */
    uint32_t unit;          /* Cboe unit, IEX and B3 channel */
    uint64_t seq, offset;   /* offset: IEX stream offset */
    uint32_t count;
    int64_t utc;
};

uint32_t wire_head_size(enum sim_protocol p);
uint32_t
wire_prefix_size(enum sim_protocol p); /* length bytes before a message that are not part of it */
uint32_t wire_count_max(enum sim_protocol p);
bool wire_counts_packets(enum sim_protocol p); /* the sequence counts packets, not messages */
const char *wire_name(enum sim_protocol p);

/* Writes the header at p[0]; total = length of the UDP payload. */
void wire_head_put(enum sim_protocol p, uint8_t *out, const struct wire_head *h, uint32_t total);
void wire_prefix_put(enum sim_protocol p, uint8_t *out, uint32_t len);
/* True when the payload is a well-formed packet: walking it lands on its end. */
bool wire_walk(enum sim_protocol p, const uint8_t *b, uint32_t len);

/* The constant part of a line's frames. */
struct wire_frame {
    uint8_t head[14 + 4 * 4 + 20 + 8];
    uint32_t len, ip_at;
    uint16_t ip_id;
    bool udp_checksum;
};

struct wire_address {
    uint8_t mac[6];    /* source */
    uint32_t src, dst; /* host order */
    uint16_t sport, dport;
    uint8_t ttl;
    uint16_t vlan[3];
    uint32_t vlans;
};

void wire_frame_make(struct wire_frame *w, const struct wire_address *a);
/* Head and payload into out; returns the frame's length (60 at least, zero padded). */
uint32_t wire_frame_put(struct wire_frame *w, uint8_t *out, const uint8_t *payload, uint32_t len);
/* Both checksums of the frame at f again, after an edit. */
void wire_checksums(uint8_t *f, uint32_t ip_at, bool udp);
