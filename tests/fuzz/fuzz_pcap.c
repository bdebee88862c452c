/* SPDX-License-Identifier: Apache-2.0 */
/* The capture reader on any bytes, and the packet parser on what comes out. */
#include "packet.h"
#include "pcap_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct pcap_reader *r = pcap_read_memory(data, size, &err);
    if (!r) {
        pst_must(err.text[0]);
        return 0;
    }
    struct pcap_packet k;
    uint64_t packets = 0;
    int rc;
    while ((rc = pcap_read_next(r, &k, &err)) == 1) {
        packets++;
        pst_must(k.wire_len >= k.len && k.len <= size + 14);
        struct pkt p = {.data = k.data, .len = k.len, .wire_len = k.wire_len, .rxtime = k.time};
        struct udp_view v;
        if (packet_parse(&p, &v) == DROP_none) {
            pst_must(v.payload + v.payload_len <= k.data + k.len);
        }
        uint32_t sum = 0;
        for (uint32_t i = 0; i < k.len; i++) {
            sum += k.data[i];
        }
        __asm__ volatile("" ::"r"(sum));
    }
    pst_must(rc == 0 || err.text[0]);
    pst_must(pcap_read_counts(r)->packets == packets);
    pst_must(pcap_read_next(r, &k, &err) <= 0); /* the end stays the end */
    (void)pcap_read_note(r);
    pcap_read_close(r);
    return 0;
}
