/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_traffic.h - looped market data in memory: MoldUDP64/ITCH 5.0 packets of the simulator's
 * order flow, for benchmarks of everything behind a port. One thread.
 *
 * The start-of-day messages (directory, states) stand apart, so that a loop holds only the mix of
 * an open market. Packets carry up to `per_packet` messages in at most 1,472 bytes. With two lines
 * each packet comes twice, line B's copy `lag` packets behind A's. traffic_patch moves the sequence
 * numbers on from loop to loop; UDP checksums are 0, as they could not follow.
 */
#pragma once

#include "port.h"

#define TRAFFIC_GROUP_A 0xefc00101u /* 239.192.1.1 */
#define TRAFFIC_PORT    26400

struct traffic {
    struct mem_packet *start; /* directory: line A only */
    uint32_t nstart;
    struct mem_packet *loop;
    uint32_t nloop; /* packets of all lines */
    unsigned lines;
    uint64_t start_messages, loop_messages; /* of one line */
    uint64_t loop_bytes;                    /* of all lines, frames */
    uint8_t *memory;
};

/* packets: of one line in a loop. lines: 1 or 2. */
bool traffic_make(struct traffic *t, uint32_t packets, unsigned per_packet, unsigned lines,
                  unsigned lag, struct err *err);
void traffic_free(struct traffic *t);
/* For port_config.patch; arg = the traffic. */
void traffic_patch(void *t, uint8_t *data, uint32_t len, uint64_t loop);
