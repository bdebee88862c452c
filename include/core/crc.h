/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc.h - CRC-32C (Castagnoli), by ISA-L. `seed` chains: crc32c(crc32c(s, a), b) = crc32c(s, ab).
 * ISA-L takes and returns the inverted register; callers see the plain value.
 */
#pragma once

#include <isa-l/crc.h>
#include "base.h"

pst_inline uint32_t crc32c(uint32_t seed, const void *p, size_t n)
{
    uint32_t crc = seed;
    const uint8_t *b = p;
    while (pst_unlikely(n > 1u << 30)) { /* ISA-L's length is an int */
        crc = crc32_iscsi((unsigned char *)(uintptr_t)b, 1 << 30, crc);
        b += 1u << 30;
        n -= 1u << 30;
    }
    return crc32_iscsi((unsigned char *)(uintptr_t)b, (int)n, crc);
}
