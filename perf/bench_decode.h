/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_decode.h - the measured loops of bench_decode.cc, in C because the headers under test are.
 * One thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_decode;

/* `n` ITCH messages, length-prefixed as MoldUDP64 has them. file NULL: the mix, names and skew of
 * a real Nasdaq day, each type drawn independently (the hardest case for a branch predictor). Else: a
 * file of real messages, repeated until there are n. NULL: no memory, no file. */
struct bench_decode *bench_decode_new(uint32_t n, const char *file);
void bench_decode_free(struct bench_decode *);
uint64_t bench_decode_wire_bytes(const struct bench_decode *);
uint64_t bench_decode_row_bytes(const struct bench_decode *); /* frames, from the last pass */

/* Each goes over all messages once. */
void bench_decode_only(struct bench_decode *);    /* rows into a 64 KiB staging frame */
void bench_decode_journal(struct bench_decode *); /* + CRC, + ring write and publish */

/* Limits, over as many bytes of the same 64 KiB frames as the last pass produced. */
void bench_limit_memcpy(struct bench_decode *); /* into the ring's memory */
void bench_limit_crc(struct bench_decode *);

#ifdef __cplusplus
}
#endif
