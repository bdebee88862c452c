/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_feed;
enum { BENCH_NULL, BENCH_ITCH, BENCH_WHOLE };

/* lines: 1 or 2. lossy: each line misses a run of packets now and then, never the same. */
struct bench_feed *bench_feed_new(int messages, int lines, int decoder, int lossy);
void bench_feed_free(struct bench_feed *b);
uint64_t bench_feed_packets(const struct bench_feed *b);  /* handed over by one round */
uint64_t bench_feed_messages(const struct bench_feed *b); /* in them, on all lines */
uint64_t bench_feed_bytes(const struct bench_feed *b);
void bench_feed_round(struct bench_feed *b); /* through the feed */
/* The least that arbitration with comparison can cost: copy line A's bytes, compare line B's. */
void bench_feed_touch(struct bench_feed *b);
/* Aborts unless every message of one line became a row and every copy was recognised. */
void bench_feed_check(const struct bench_feed *b);

#ifdef __cplusplus
}
#endif
