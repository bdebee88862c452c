/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet.h - from a captured frame to a UDP payload, or to the reason why not.
 *
 *     Ethernet | <= 3 VLAN tags (8100 88a8 9100), Arista d28b time header | IPv4 | UDP | payload
 *
 * Pure functions over bytes: any thread, no state, no allocation. They never read beyond
 * data + len. The payload is bounded by the UDP length and never by the frame length, because
 * short frames are padded and some carry a checksum or a time stamp after the datagram.
 * A packet from which the snaplen cut bytes is DROP_truncated: half a payload is never handed on.
 */
#pragma once

#include "core/base.h"
#include "port.h"

enum drop {
    DROP_none, /* parsed: for us, as far as the packet layer can say */
#define DROP(name, sentence) DROP_##name,
#include "drops.def"
#undef DROP
    DROP_COUNT
};

const char *drop_name(enum drop);     /* "runt" */
const char *drop_sentence(enum drop); /* "The frame ends before ..." */

#define PACKET_VLANS 3

struct udp_view {
    const uint8_t *payload;
    uint32_t dst_ip, src_ip; /* host byte order */
    uint16_t payload_len;
    uint16_t dst_port, src_port;
    uint8_t ip_off; /* of the IP header in the frame */
    uint8_t ip_hlen;
    uint8_t vlans;               /* tags seen, outermost first, the stripped one included */
    uint16_t vlan[PACKET_VLANS]; /* their ids (12 bits) */
};

/* Everything but the common shape: tags, options, errors. Called by packet_parse. */
enum drop packet_parse_slow(const struct pkt *p, struct udp_view *out);

/* From the IP header at p->data + off on. Only for packet_parse and packet_parse_slow. */
pst_inline enum drop packet_parse_plain(const struct pkt *p, uint32_t off, struct udp_view *out)
{
    const uint8_t *ip = p->data + off; /* caller checked: 28 bytes are there, version 4, IHL 5 */
    uint32_t room = p->len - off;
    uint32_t total = be16(ip + 2);
    uint32_t udp_len = be16(ip + 24);
    /* One test for all that is rare: fragment bits (flags and offset are the first half of this
     * load, TTL and protocol the second), another protocol, lengths that disagree. */
    uint32_t odd = (le32(ip + 6) & 0xff00ff3f) ^ 0x11000000;
    if (pst_unlikely(odd | (total > room) | (udp_len < 8) | (udp_len + 20 > total))) {
        return packet_parse_slow(p, out);
    }
    uint64_t to = be64(ip + 16); /* destination, source port, destination port: one load */
    out->payload = ip + 28;
    out->payload_len = (uint16_t)(udp_len - 8);
    out->src_ip = be32(ip + 12);
    out->dst_ip = (uint32_t)(to >> 32);
    out->src_port = (uint16_t)(to >> 16);
    out->dst_port = (uint16_t)to;
    out->ip_off = (uint8_t)off;
    out->ip_hlen = 20;
    return DROP_none;
}

/*
 * The parser. On DROP_none *out is filled; else *out is not to be read. Inline: the untagged and
 * the once-tagged frame with a 20-byte IP header; all else in packet_parse_slow.
 */
pst_inline enum drop packet_parse(const struct pkt *p, struct udp_view *out)
{
    const uint8_t *d = p->data;
    if (pst_likely(p->len >= 46 && !(p->flags & PKT_VLAN_STRIPPED))) {
        uint32_t type = be16(d + 12);
        if (pst_likely(type == 0x0800 && d[14] == 0x45)) {
            out->vlans = 0;
            return packet_parse_plain(p, 14, out);
        }
        if (type == 0x8100 && be16(d + 16) == 0x0800 && d[18] == 0x45) {
            out->vlans = 1;
            out->vlan[0] = be16(d + 14) & 0x0fff;
            return packet_parse_plain(p, 18, out);
        }
    }
    return packet_parse_slow(p, out);
}

/* The reason for a packet that parsed but that no route takes: ptp or wrong_group. */
enum drop packet_unrouted(const struct udp_view *v);

/*
 * Checksums of a packet that parsed: DROP_none, DROP_bad_ip_checksum or DROP_bad_udp_checksum.
 * Whether that drops it is the caller's policy (enum checksum_policy). Uses the device's verdict
 * where there is one. A UDP checksum of 0 means "none" and is right.
 */
enum drop packet_verify(const struct pkt *p, const struct udp_view *v);
