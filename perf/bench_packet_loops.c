/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_packet.h"

#include "groups.h"
#include "packet.h"

#define STRIDE 2176 /* an mbuf's: header, headroom, data */
#define SIZE   120u

struct bench_packets {
    uint32_t n;
    struct pkt *p;
    uint8_t *bytes;
    struct groups groups;
};

static void make(uint8_t *f, int vlans, uint32_t group)
{
    size_t n = 12;
    memset(f, 0, SIZE);
    memcpy(f, "\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01", 12);
    for (int i = 0; i < vlans; i++, n += 4) {
        memcpy(f + n, "\x81\x00\x00\x8d", 4);
    }
    uint32_t len = SIZE - (uint32_t)n - 2;
    memcpy(f + n, "\x08\x00\x45", 3);
    uint8_t *ip = f + n + 2;
    ip[3] = (uint8_t)len;
    ip[9] = 17;
    put32(ip + 16, __builtin_bswap32(0xe9360c00 + group / 4));
    put16(ip + 22, __builtin_bswap16((uint16_t)(26400 + group % 4)));
    ip[25] = (uint8_t)(len - 20);
}

struct bench_packets *bench_packets_new(uint32_t n, int vlans, int groups)
{
    struct bench_packets *b = aligned_alloc(64, pst_align_up(sizeof *b, 64));
    struct group_route *r = calloc((size_t)groups, sizeof *r);
    pst_must(b && r);
    b->n = n;
    b->p = calloc(n, sizeof *b->p);
    b->bytes = malloc((size_t)n * STRIDE);
    pst_must(b->p && b->bytes);
    for (int g = 0; g < groups; g++) {
        r[g] = (struct group_route){0xe9360c00 + (uint32_t)g / 4, (uint16_t)(26400 + g % 4),
                                    (uint16_t)g};
    }
    pst_must(groups_init(&b->groups, r, groups, GROUP_NONE, NULL));
    free(r);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *f = b->bytes + (size_t)i * STRIDE + 128;
        make(f, vlans, i * 2654435761u % (uint32_t)groups);
        b->p[i] = (struct pkt){.data = f, .len = SIZE, .wire_len = SIZE};
    }
    return b;
}

void bench_packets_free(struct bench_packets *b)
{
    groups_fini(&b->groups);
    free(b->p);
    free(b->bytes);
    free(b);
}

uint64_t bench_touch(struct bench_packets *b)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        sum += le64(b->p[i].data + 12) + le64(b->p[i].data + 34);
    }
    return sum;
}

uint64_t bench_parse(struct bench_packets *b)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct udp_view v;
        if (packet_parse(&b->p[i], &v) == DROP_none) {
            sum += v.payload_len + (uint64_t)v.dst_port + v.dst_ip + (uintptr_t)v.payload;
        }
    }
    return sum;
}

uint64_t bench_parse_find(struct bench_packets *b)
{
    uint64_t sum = 0;
    const struct group_table *t = NULL;
    for (uint32_t i = 0; i < b->n; i++) {
        if (i % 32 == 0) {
            t = groups_pin(&b->groups);
        }
        struct udp_view v;
        if (packet_parse(&b->p[i], &v) == DROP_none) {
            uint16_t route = groups_find(t, v.dst_ip, v.dst_port);
            pst_must(route != GROUP_NONE);
            sum += v.payload_len + (uint64_t)route + (uintptr_t)v.payload;
        }
    }
    return sum;
}

uint64_t bench_parse_verify(struct bench_packets *b)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct udp_view v;
        if (packet_parse(&b->p[i], &v) == DROP_none) {
            sum += packet_verify(&b->p[i], &v);
        }
    }
    return sum;
}
