/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake_symbols.h - texts of a message to the producer's own numbers (inject_rows), fast for those
 * seen before, and without side effects for those that are new: a message may yet be refused.
 *
 * A text that has a number gets it. A new one gets a mark (INTAKE_NEW | index into the list of
 * texts that this message brings); intake_symbols_commit gives it a number when the message is on
 * its way. Owner: one thread.
 */
#pragma once

#include "dataplane/inject_rows.h"

#define INTAKE_NEW        0x80000000u
#define INTAKE_CACHE_BITS 15 /* 512 KiB */
#define INTAKE_LONG_BITS  13 /* 256 KiB */

struct intake_symbols {
    struct inject_rows *w;
    struct intake_cached { /* texts of up to 8 bytes, by place */
        uint64_t text;
        uint64_t id;
    } * cache;
    struct intake_cached_long { /* of 9 to 24 bytes: option symbols */
        uint64_t word[3];
        uint32_t len, id;
    } * longer;
    struct intake_text {
        uint32_t at, len; /* in the arena */
        uint32_t id;      /* PST_NULL_SYMBOL until it has a number */
    } * text;
    uint32_t n, room;
    uint32_t unknown; /* of them, those that the instance does not know */
    uint32_t bytes;   /* of all of them with their length bytes */
    char *arena;
    uint32_t used, arena_room;
    uint32_t *hash; /* index + 1 */
    uint32_t slots;
    bool failed; /* no memory: the message must be refused */
};

bool intake_symbols_init(struct intake_symbols *s, struct inject_rows *w, struct err *err);
void intake_symbols_free(struct intake_symbols *s);
/* All numbers are void (inject_rows_restart). */
void intake_symbols_forget(struct intake_symbols *s);
/* A message begins: the list is empty. */
void intake_symbols_begin(struct intake_symbols *s);

/* len > 8, or not in the cache. */
uint32_t intake_symbols_find(struct intake_symbols *s, const char *text, uint32_t len);

/* 1 to 255 bytes without NUL; len 0 is the null symbol. `word`: the text's first 8 bytes, zeros
 * behind a shorter one. */
pst_inline uint32_t intake_symbol_word(struct intake_symbols *s, uint64_t word, const char *text,
                                       uint32_t len)
{
    if (!len)
        return PST_NULL_SYMBOL;
    const struct intake_cached *c =
        &s->cache[(word * 0x9E3779B97F4A7C15ull) >> (64 - INTAKE_CACHE_BITS)];
    return pst_likely(len <= 8 && c->text == word) ? (uint32_t)c->id
                                                   : intake_symbols_find(s, text, len);
}
pst_inline uint32_t intake_symbol(struct intake_symbols *s, const char *text, uint32_t len)
{
    uint64_t word = 0;
    memcpy(&word, text, len < 8 ? len : 8);
    return intake_symbol_word(s, word, text, len);
}

/* The number of a marked text, given now if it has none. SYMBOL_REFUSED: the table is full. The
 * caller has made room for the text (inject_rows). */
uint32_t intake_symbols_commit(struct intake_symbols *s, uint32_t mark);
