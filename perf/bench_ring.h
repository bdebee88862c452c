/* SPDX-License-Identifier: Apache-2.0 */
/* bench_ring.h - the loops of bench_ring, in C (the headers under test are C with _Atomic). */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One ring of 64 MiB and its appender; made once. */
void bench_ring_setup(void);
/* Each does one frame of `len` bytes and returns len: seal + ring_write + ring_publish, and its two
 * limits, the copy alone (to the same ring memory) and CRC-32C alone. */
uint64_t bench_ring_append(uint32_t len);
uint64_t bench_ring_memcpy(uint32_t len);
uint64_t bench_ring_crc(uint32_t len);

/* Two threads and nothing else: `rounds` bursts, each seen by a reader that polls. Median and 99th
 * percentile in ns of: one 64-bit word handed over; a frame appended (time taken before the seal)
 * until the reader has a checked copy. `len`: of the frame. */
struct bench_handover {
    double p50, p99;
};
struct bench_handover bench_word_handover(uint64_t rounds);
struct bench_handover bench_frame_handover(uint64_t rounds, uint32_t len);

/* One producer thread, the appender here: batches taken, checked, mapped and journaled in `ns`. */
struct bench_inject {
    double batches_s, rows_s, bytes_s;
};
struct bench_inject bench_inject_handover(uint64_t batches, unsigned rows_a_batch);

#ifdef __cplusplus
}
#endif
