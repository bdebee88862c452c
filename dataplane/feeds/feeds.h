/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feeds.h - what the files of this folder share: the list of decoders, and how a decoder writes
 * values. Private to dataplane/decoder.c and feeds/.
 *
 * A table's columns are one X-macro list X(name, TYPE) in the order users see. It expands into the
 * column definitions and into the offsets of the same-named members of `struct <table>`, which is
 * the record (widest members first, padding spelled out so that every byte gets written).
 * decoder_bind compares them with the schema.
 */
#pragma once

#include "../decoder.h"

extern const struct decoder_ops itch50_decoder; /* itch.c */
extern const struct decoder_ops iex_decoder;    /* iex.c */

#define FEEDS_DEF(name, TYPE)    {#name, PST_##TYPE},
#define FEEDS_OFFSET(name, TYPE) offsetof(struct FEEDS_RECORD, name),

/* The first 16 bytes of a record in two stores. */
pst_inline void feeds_head(uint8_t *p, const struct schema *s, uint16_t bytes, uint32_t sym,
                           int64_t time)
{
    put64(p, s->id | (uint64_t)bytes << 16 | (uint64_t)sym << 32);
    put64(p + 8, (uint64_t)time);
}

/* kdb+'s 0n */
pst_inline double feeds_null_float(void)
{
    uint64_t bits = PST_NULL_FLOAT_BITS;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/*
 * Scaled integer -> the nearest double. A division rounds once and so is correct as long as the
 * integer itself is exact in a double (below 2^53); multiplying by the reciprocal would round
 * twice. Larger integers go through 128 bits.
 */
double feeds_price_wide(uint64_t n, uint32_t scale);

pst_inline double feeds_price32(uint32_t n)
{
    return (double)n / 1e4;
}
pst_inline double feeds_price(uint64_t n, uint32_t scale)
{
    if (pst_unlikely(n >> 53))
        return feeds_price_wide(n, scale);
    return (double)(int64_t)n / (double)scale;
}
pst_inline double feeds_price_signed(int64_t n, uint32_t scale)
{
    return n < 0 ? -feeds_price(-(uint64_t)n, scale) : feeds_price((uint64_t)n, scale);
}
