/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symcache.h - space-padded text of up to 8 bytes -> symbol id, without asking the sink each time.
 *
 * Lies in a decoder's session state (the feed's lcore is the only user). Open addressing over the 8
 * raw bytes as one u64, which is also the comparison. It is only a cache: when it is three quarters
 * full it starts anew, so it needs no limit on the number of names and never refuses; a text that
 * the sink refused is not kept. Ids never change within a process, so entries need no expiry.
 */
#pragma once

#include "core/rows.h"

#define SYMCACHE_BLANK 0x2020202020202020ull /* eight spaces: the null symbol */

struct symcache_slot {
    uint64_t text; /* 0 = free: NUL bytes are no symbol */
    uint32_t id;
    uint32_t pad;
};

struct symcache { /* the last member of a state: the slots follow it */
    uint32_t bits;
    uint32_t used;
    struct symcache_slot slot[];
};

#define SYMCACHE_BYTES(bits) (sizeof(struct symcache_slot) << (bits)) /* on top of its struct */

static inline void symcache_init(struct symcache *c, uint32_t bits)
{
    c->bits = bits;
    c->used = 0;
    memset(c->slot, 0, SYMCACHE_BYTES(bits));
}

/* The 8 raw bytes at p as they are compared; a field of 4 (2) bytes is padded with spaces. */
pst_inline uint64_t symcache_text8(const uint8_t *p)
{
    return le64(p);
}
pst_inline uint64_t symcache_text4(const uint8_t *p)
{
    return le32(p) | 0x2020202000000000ull;
}
pst_inline uint64_t symcache_text2(const uint8_t *p)
{
    return le16(p) | 0x2020202020200000ull;
}
/* Bytes before the trailing spaces. The last byte is the most significant one. */
pst_inline uint32_t symcache_len(uint64_t text)
{
    uint64_t x = text ^ SYMCACHE_BLANK;
    return x ? 8 - (uint32_t)__builtin_clzll(x) / 8 : 0;
}

/* Asks the sink; false = refused. May seal the sink's frame. */
static inline bool symcache_intern(uint64_t text, struct rows *out, uint32_t *id)
{
    char raw[8];
    memcpy(raw, &text, 8);
    *id = rows_symbol(out, raw, symcache_len(text));
    return *id != SYMBOL_REFUSED;
}

static pst_noinline bool symcache_miss(struct symcache *c, uint64_t text, struct rows *out,
                                       uint32_t *id)
{
    if (!symcache_intern(text, out, id))
        return false;
    if (c->used >= 3u << (c->bits - 2))
        symcache_init(c, c->bits);
    uint32_t mask = (1u << c->bits) - 1;
    uint32_t i = (uint32_t)((text * 0x9E3779B97F4A7C15ull) >> (64 - c->bits));
    while (c->slot[i].text)
        i = (i + 1) & mask;
    c->slot[i] = (struct symcache_slot){.text = text, .id = *id};
    c->used++;
    return true;
}

/* Text -> id, blank -> null. False = the sink refused it; nothing has changed. */
pst_inline bool symcache_id(struct symcache *c, uint64_t text, struct rows *out, uint32_t *id)
{
    *id = PST_NULL_SYMBOL;
    if (text == SYMCACHE_BLANK)
        return true;
    uint32_t mask = (1u << c->bits) - 1;
    uint32_t i = (uint32_t)((text * 0x9E3779B97F4A7C15ull) >> (64 - c->bits));
    for (; c->slot[i].text; i = (i + 1) & mask)
        if (pst_likely(c->slot[i].text == text)) {
            *id = c->slot[i].id;
            return true;
        }
    return symcache_miss(c, text, out, id);
}
