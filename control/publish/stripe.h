/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stripe.h - which stripe of n a symbol belongs to: subscriptions (`k of n`), processes of a
 * broadcast group. FNV-1a of its text; the null symbol is the empty text. Clients may know it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint64_t stripe_hash(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3ull;
    return h;
}
static inline uint32_t stripe_of(const char *text, uint32_t len, uint32_t n)
{
    return n > 1 ? (uint32_t)(stripe_hash(text, len) % n) : 0;
}
