/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_packet.h - the measured loops of bench_packet.cc, in C because the headers under test are.
 * One thread.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_packets;

/* `n` frames of 120 bytes with `vlans` tags, spread over `groups` groups. NULL: no memory. */
struct bench_packets *bench_packets_new(uint32_t n, int vlans, int groups);
void bench_packets_free(struct bench_packets *);

/* Each goes over all packets once and returns a sum that depends on every result. */
uint64_t bench_touch(struct bench_packets *); /* the limit: reads the two header words and adds */
uint64_t bench_parse(struct bench_packets *);
uint64_t bench_parse_find(struct bench_packets *);
uint64_t bench_parse_verify(struct bench_packets *);

#ifdef __cplusplus
}
#endif
