/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "bench_traffic.h"
#include "sim/flow.h"
#include "sim/wire.h"

#define STRIDE  2304u /* what an mbuf of 2 KiB takes */
#define PAYLOAD 1472u
#define HEAD    42u /* Ethernet, IPv4, UDP */
#define SEQ_AT  (HEAD + 10)
#define UTC0    1795185000000000000ll /* 2026-11-20 09:30 New York */
#define APART   500                   /* ns between two messages */
#define STARTS  8192u                 /* packets the directory may take */

#define START_MESSAGES 38u /* in each of them */

struct maker {
    struct flow flow;
    struct wire_frame frame[2];
    struct flow_msg next;
    uint64_t seq;
};

static void advance(struct maker *m)
{
    flow_next(&m->flow, UTC0 + (int64_t)m->seq * APART, &m->next);
}

/* One packet, for each line a copy. Returns its messages. */
static uint32_t packet(struct maker *m, unsigned per_packet, unsigned lines, uint8_t *const out[2],
                       uint32_t *len)
{
    uint8_t b[PAYLOAD];
    uint32_t at = wire_head_size(SIM_ITCH), n = 0, first = at;
    struct wire_head h = {.session = (const uint8_t *)"0000000001", .seq = m->seq};
    while (n < per_packet && at + 2 + m->next.len <= PAYLOAD) {
        wire_prefix_put(SIM_ITCH, b + at, m->next.len);
        memcpy(b + at + 2, m->next.bytes, m->next.len);
        at += 2 + m->next.len;
        n++;
        m->seq++;
        advance(m);
    }
    pst_must(at > first);
    h.count = n;
    wire_head_put(SIM_ITCH, b, &h, at);
    for (unsigned l = 0; l < lines; l++)
        *len = wire_frame_put(&m->frame[l], out[l], b, at);
    return n;
}

static bool start_of_day(const struct flow_msg *m)
{
    return memchr("RHYLSVWJh", m->type, 9);
}

bool traffic_make(struct traffic *t, uint32_t packets, unsigned per_packet, unsigned lines,
                  unsigned lag, struct err *err)
{
    struct maker m = {.seq = 1};
    memset(t, 0, sizeof *t);
    t->lines = lines;
    t->nloop = packets * lines;
    size_t bytes = ((size_t)t->nloop + STARTS) * STRIDE;
    t->memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    t->start = calloc(STARTS, sizeof *t->start);
    t->loop = calloc(t->nloop, sizeof *t->loop);
    if (!t->memory || !t->start || !t->loop || lines < 1 || lines > 2 || lag >= packets) {
        traffic_free(t);
        return err_set(err, -ENOMEM, "traffic: %u packets on %u lines do not fit into memory",
                       packets, lines);
    }
    if (!flow_make(&m.flow, SIM_ITCH, 8906, 1, err)) {
        traffic_free(t);
        return false;
    }
    m.flow.directory = true;
    m.flow.midnight = UTC0 - 34200 * 1000000000ll; /* 09:30 */
    for (unsigned l = 0; l < 2; l++) {
        struct wire_address a = {.src = 0xc0000201,
                                 .dst = TRAFFIC_GROUP_A + l,
                                 .sport = 30000,
                                 .dport = TRAFFIC_PORT,
                                 .ttl = 16};
        wire_frame_make(&m.frame[l], &a);
        m.frame[l].udp_checksum = false;
    }
    uint8_t *p = t->memory;
    uint32_t quiet = 0; /* packets without a message of the start of the day */
    advance(&m);
    while (quiet < 16) { /* an orderly stretch: the rare types that open the flow are over too */
        pst_must(t->nstart < STARTS);
        struct mem_packet *k = &t->start[t->nstart++];
        quiet = start_of_day(&m.next) ? 0 : quiet + 1;
        k->data = p;
        t->start_messages += packet(&m, START_MESSAGES, 1, (uint8_t *[2]){p}, &k->len);
        p += STRIDE;
    }
    uint64_t first = m.seq;
    for (uint32_t i = 0; i < packets; i++) {
        /* A, then A and B in turn, then the rest of B */
        uint32_t a = lines == 1 || i < lag ? i : lag + 2 * (i - lag);
        uint32_t b = i < packets - lag ? lag + 2 * i + 1 : packets + i;
        uint8_t *out[2] = {p, p + STRIDE};
        uint32_t len = 0;
        packet(&m, per_packet, lines, out, &len);
        t->loop[a] = (struct mem_packet){out[0], len};
        if (lines == 2)
            t->loop[b] = (struct mem_packet){out[1], len};
        t->loop_bytes += (uint64_t)len * lines;
        p += (size_t)STRIDE * lines;
    }
    t->loop_messages = m.seq - first;
    flow_free(&m.flow);
    return true;
}

void traffic_free(struct traffic *t)
{
    free(t->memory);
    free(t->start);
    free(t->loop);
    memset(t, 0, sizeof *t);
}

void traffic_patch(void *arg, uint8_t *data, uint32_t len, uint64_t loop)
{
    struct traffic *t = arg;
    (void)len;
    if (loop)
        put_be64(data + SEQ_AT, be64(data + SEQ_AT) + t->loop_messages);
}
