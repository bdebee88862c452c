/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet parser on raw frames. What must hold for any input: nothing outside is read (guard
 * page, sanitizers), a parsed payload lies within the frame and the UDP length, and the quick path
 * gives the same answer as the thorough one.
 */
#include "packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int variant = 0; variant < 3; variant++) {
        struct pkt p = {.data = data, .len = (uint32_t)size, .wire_len = (uint32_t)size};
        if (variant == 1) {
            p.wire_len += 100;
        }
        if (variant == 2) {
            p.flags = PKT_VLAN_STRIPPED;
            p.vlan_tci = 0xf123;
        }
        struct udp_view v = {0}, w = {0};
        enum drop d = packet_parse(&p, &v);
        pst_must(d == packet_parse_slow(&p, &w));
        pst_must(d < DROP_COUNT && d != DROP_wrong_group);
        if (d != DROP_none) {
            continue;
        }
        pst_must(v.payload >= data && v.payload + v.payload_len <= data + size);
        pst_must(v.payload == w.payload && v.payload_len == w.payload_len);
        pst_must(v.dst_ip == w.dst_ip && v.dst_port == w.dst_port && v.src_ip == w.src_ip);
        pst_must(v.vlans == w.vlans && v.vlans <= PACKET_VLANS);
        pst_must(memcmp(v.vlan, w.vlan, v.vlans * sizeof v.vlan[0]) == 0);
        uint32_t sum = 0; /* reads all of it, so that a bad bound faults */
        for (uint32_t i = 0; i < v.payload_len; i++) {
            sum += v.payload[i];
        }
        __asm__ volatile("" ::"r"(sum));
        (void)packet_verify(&p, &v);
        (void)packet_unrouted(&v);
    }
    return 0;
}
