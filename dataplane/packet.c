/* SPDX-License-Identifier: Apache-2.0 */
#include "packet.h"

static const char *const names[DROP_COUNT] = {
    "none",
#define DROP(name, sentence) #name,
#include "drops.def"
#undef DROP
};
static const char *const sentences[DROP_COUNT] = {
    "The packet was given to a feed.",
#define DROP(name, sentence) sentence,
#include "drops.def"
#undef DROP
};

const char *drop_name(enum drop d)
{
    return (unsigned)d < DROP_COUNT ? names[d] : "?";
}

const char *drop_sentence(enum drop d)
{
    return (unsigned)d < DROP_COUNT ? sentences[d] : "?";
}

/* The bytes up to `need` are not there: did the capture cut them, or were they never sent? */
static enum drop short_of(const struct pkt *p, uint32_t need)
{
    return p->wire_len >= need && p->wire_len > p->len ? DROP_truncated : DROP_runt;
}

static bool is_vlan(uint32_t type)
{
    return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

static enum drop no_ipv4(uint32_t type)
{
    switch (type) {
    case 0x86dd:
        return DROP_ipv6;
    case 0x0806:
        return DROP_arp;
    case 0x88f7:
        return DROP_ptp;
    default:
        return DROP_not_ip;
    }
}

/*
 * Length of an Arista 7280 time header, its ethertype not counted; 0 = a form that is not known.
 *   subtype u16 = 1 | timescale u8 | format nibble, hardware nibble | seconds and ns | ethertype
 * Format 1: 32 + 32 bits, format 2: 16 + 32 bits. (protocols.md section 15; the tcpdump capture
 * tcpdump_arista_ether.pcap has both.)
 */
static uint32_t arista_len(const uint8_t *h)
{
    if (be16(h) != 1) {
        return 0;
    }
    switch (h[3] >> 4) {
    case 1:
        return 4 + 8;
    case 2:
        return 4 + 6;
    default:
        return 0;
    }
}

static enum drop parse_ipv4(const struct pkt *p, uint32_t off, struct udp_view *out)
{
    if (p->len - off < 20) {
        return short_of(p, off + 20);
    }
    const uint8_t *ip = p->data + off;
    uint32_t room = p->len - off;
    uint32_t hlen = (uint32_t)(ip[0] & 15) * 4;
    if (ip[0] >> 4 != 4 || hlen < 20) {
        return DROP_bad_ihl;
    }
    uint32_t total = be16(ip + 2);
    if (total < hlen) {
        return DROP_bad_ip_length;
    }
    if (total > room && p->wire_len < off + total) {
        return DROP_bad_ip_length; /* not even the frame on the wire was that long */
    }
    if (be16(ip + 6) & 0x3fff) {
        return DROP_fragment; /* the first one too: its payload is not whole */
    }
    if (ip[9] == 2) {
        return DROP_igmp;
    }
    if (ip[9] != 17) {
        return DROP_not_udp;
    }
    if (total - hlen < 8) {
        return DROP_bad_udp_length;
    }
    if (room < hlen + 8) {
        return DROP_truncated;
    }
    const uint8_t *udp = ip + hlen;
    uint32_t udp_len = be16(udp + 4);
    if (udp_len < 8 || udp_len > total - hlen) {
        return DROP_bad_udp_length;
    }
    if (udp_len > room - hlen) {
        return DROP_truncated;
    }
    out->payload = udp + 8;
    out->payload_len = (uint16_t)(udp_len - 8);
    out->src_ip = be32(ip + 12);
    out->dst_ip = be32(ip + 16);
    out->src_port = be16(udp);
    out->dst_port = be16(udp + 2);
    out->ip_off = (uint8_t)off;
    out->ip_hlen = (uint8_t)hlen;
    return DROP_none;
}

enum drop packet_parse_slow(const struct pkt *p, struct udp_view *out)
{
    const uint8_t *d = p->data;
    uint32_t off = 12; /* of the ethertype */
    bool arista = false;
    out->vlans = 0;
    if (p->flags & PKT_VLAN_STRIPPED) {
        out->vlan[out->vlans++] = p->vlan_tci & 0x0fff;
    }
    for (;;) {
        if (p->len < off + 2) {
            return short_of(p, off + 2);
        }
        uint32_t type = be16(d + off);
        if (type == 0x0800) {
            return parse_ipv4(p, off + 2, out);
        }
        if (is_vlan(type)) {
            if (out->vlans == PACKET_VLANS) {
                return DROP_vlan_depth;
            }
            if (p->len < off + 4) {
                return short_of(p, off + 4);
            }
            out->vlan[out->vlans++] = be16(d + off + 2) & 0x0fff;
            off += 4;
        } else if (type == 0xd28b && !arista) {
            arista = true;
            if (p->len < off + 6) {
                return short_of(p, off + 6);
            }
            uint32_t skip = arista_len(d + off + 2);
            if (!skip) {
                return DROP_not_ip;
            }
            off += 2 + skip;
        } else {
            return no_ipv4(type);
        }
    }
}

enum drop packet_unrouted(const struct udp_view *v)
{
    /* IEEE 1588: event messages on 319, general ones on 320, to two well-known groups. */
    bool port = v->dst_port == 319 || v->dst_port == 320;
    bool group = v->dst_ip == 0xe0000181 || v->dst_ip == 0xe000006b;
    return port && group ? DROP_ptp : DROP_wrong_group;
}

/* Internet checksum (RFC 1071): sums are kept little endian, which changes nothing but the order of
 * the bytes of the result, and 0xffff reads the same both ways. */
static uint64_t csum_add(uint64_t sum, const uint8_t *b, uint32_t n)
{
    for (; n >= 4; b += 4, n -= 4) {
        sum += le32(b);
    }
    if (n >= 2) {
        sum += le16(b);
        b += 2;
        n -= 2;
    }
    if (n) {
        sum += *b;
    }
    return sum;
}

static uint32_t csum_fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint32_t)sum;
}

enum drop packet_verify(const struct pkt *p, const struct udp_view *v)
{
    const uint8_t *ip = p->data + v->ip_off, *udp = v->payload - 8;
    if (p->flags & PKT_IP_CSUM_BAD) {
        return DROP_bad_ip_checksum;
    }
    if (p->flags & PKT_UDP_CSUM_BAD) {
        return DROP_bad_udp_checksum;
    }
    if (p->flags & PKT_CSUM_CHECKED) {
        return DROP_none;
    }
    if (csum_fold(csum_add(0, ip, v->ip_hlen)) != 0xffff) {
        return DROP_bad_ip_checksum;
    }
    if (le16(udp + 6) == 0) {
        return DROP_none;
    }
    uint32_t n = v->payload_len + 8u;
    uint64_t sum = csum_add(0, ip + 12, 8); /* pseudo header: addresses, protocol, UDP length */
    sum += __builtin_bswap16(17) + (uint64_t)__builtin_bswap16((uint16_t)n);
    return csum_fold(csum_add(sum, udp, n)) == 0xffff ? DROP_none : DROP_bad_udp_checksum;
}
