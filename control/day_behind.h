/* SPDX-License-Identifier: Apache-2.0 */
/*
 * day_behind.h - how much journal there is between a position and the tail. Positions are no
 * measure: behind an unclean stop they go on a lease (2^40) further. Pure; any thread.
 */
#pragma once

#include "core/base.h"

/* The journal before this start: where a file begins, up to where its positions go. */
struct day_piece {
    uint64_t first, end;
};

/* A file's, of what is known of it. next: where the one behind it begins, or the old end; bytes:
 * its size. Files that follow one another within half a lease leave no hole. */
static inline struct day_piece day_piece(uint64_t first, uint64_t next, uint64_t bytes)
{
    bool jump = next - first > 1ull << 39;
    return (struct day_piece){first, next <= first ? first : jump ? first + bytes : next};
}

/* Bytes to read from `position` on; start: where this process's journal begins. */
static inline uint64_t day_behind(const struct day_piece *piece, uint32_t n, uint64_t start,
                                  uint64_t position, uint64_t tail)
{
    uint64_t from = position > start ? position : start, sum = tail > from ? tail - from : 0;
    for (uint32_t i = 0; i < n; i++) {
        from = position > piece[i].first ? position : piece[i].first;
        sum += piece[i].end > from ? piece[i].end - from : 0;
    }
    return sum;
}
