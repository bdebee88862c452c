/* SPDX-License-Identifier: Apache-2.0 */
#include "feeds.h"

/*
 * n >= 2^53, scale < 2^32: q = floor(n * 2^32 / scale) has more than 53 bits, so the last bit of q
 * lies below the rounding position; a remainder only has to make it odd for the one conversion to
 * round correctly. Dividing by 2^32 afterwards is exact.
 */
double feeds_price_wide(uint64_t n, uint32_t scale)
{
    unsigned __int128 wide = (unsigned __int128)n << 32;
    unsigned __int128 q = wide / scale | (wide % scale != 0);
    return (double)q / 4294967296.0;
}
