/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.h - the file `penstock-sim --truth FILE` writes: every message generated, in the order of
 * each session's sequence, whether or not any line carried it. Little endian, unaligned.
 *
 *   magic     9 bytes "PSTTRUTH1", no NUL; then records:
 *   session   u32  index into the report's "sessions"
 *   len       u32  bytes that follow the 32-byte head
 *   seq       u64  sequence number; CME, B3: of the packet; 0 = unsequenced
 *   sent      i64  UTC ns since 1970: market time at which its packet was made, before a line's
 *                  delay
 *   lines     u32  bit n: line n (in --line order) really carried it, intact
 *   flags     u32  TRUTH_...
 *   bytes          the message: without its length prefix for MoldUDP64 and IEX-TP, with its own
 *                  length field(s) for Cboe, CME and B3
 *
 * Records of several streams (Cboe units) are interleaved; within a session seq never falls. CME
 * and B3 idle packets appear as records only where they take a sequence number (CME template 12).
 */
#pragma once

#include <core/base.h>

#define TRUTH_MAGIC     "PSTTRUTH1"
#define TRUTH_MAGIC_LEN 9
#define TRUTH_HEAD      32

#define TRUTH_DIVERGENT 1u /* some line carried altered bytes for it; these are the true ones */
#define TRUTH_REPACKED  2u /* lines cut packets differently: `sent` is that of the first one */

/*
 * The report's "checksum": the sum modulo 2^64, over all messages, of this. Independent of order; a
 * message lost, doubled, altered or moved to another sequence changes it.
 */
static inline uint64_t truth_hash(uint64_t seq, const uint8_t *p, uint32_t len)
{
    uint64_t h = (seq + 1) * 0x9e3779b97f4a7c15u + len;
    while (len >= 8) {
        h = (h ^ le64(p)) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        p += 8;
        len -= 8;
    }
    uint64_t w = 0;
    memcpy(&w, p, len);
    h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}
