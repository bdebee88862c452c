/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbols.h - text <-> id. Only the appender interns; anyone may look an id up, without locks, in
 * any process that has the memfd.
 *
 * Text is 1..255 bytes without NUL. Ids are dense from 0 and never change; the null symbol (empty
 * text) is PST_NULL_SYMBOL and stands in no table. The memory is one memfd with its full size from
 * the start (symbols_max entries, text_bytes of text), faulted in, sealed like the ring.
 *
 * Orders: an entry and its text are written before `count` is raised (Y1 release); a reader that
 * saw count > id (Y2 acquire) may read entry id for ever.
 */
#pragma once

#include "atomics.h"
#include "penstock/types.h"

#define SYMBOL_TEXT_MAX 255u

struct symbols_head {
    char magic[8]; /* "PSTSYMS1" */
    uint32_t max;
    uint32_t hash_slots;                               /* power of two, >= 2 * max */
    uint64_t entries_at, hash_at, text_at, text_bytes; /* offsets in the memfd */
    pst_aligned(64) _Atomic uint32_t count;
    uint64_t text_used; /* owner: appender */
};

struct symbol_entry {
    uint32_t at; /* in units of 1 byte from text_at */
    uint32_t len;
};

struct symbols {
    struct symbols_head *head;
    struct symbol_entry *entry;
    uint32_t *hash; /* id + 1; 0 = free. Relaxed atomic; written by the appender */
    char *text;
    int fd;
    uint64_t bytes;
};

bool symbols_create(struct symbols *s, uint32_t max, struct err *err);
bool symbols_seal(struct symbols *s);
bool symbols_attach(struct symbols *s, int fd, struct err *err);
void symbols_close(struct symbols *s);

enum symbols_verdict { SYMBOLS_OLD, SYMBOLS_NEW, SYMBOLS_FULL, SYMBOLS_BAD_TEXT };

/* Appender only. len 0 gives PST_NULL_SYMBOL (SYMBOLS_OLD). On SYMBOLS_FULL / BAD_TEXT *id is null.
 */
enum symbols_verdict symbols_intern(struct symbols *s, const char *text, uint32_t len,
                                    uint32_t *id);
/* Recovery only, before threads start: the next id must be exactly `id`. */
bool symbols_restore(struct symbols *s, uint32_t id, const char *text, uint32_t len);
/* Recovery only: the next id must be exactly `id`; it stays without a text, so that no new text ever
 * gets an id that surviving rows use. */
bool symbols_skip(struct symbols *s, uint32_t id);
/* Finds without interning: the id, or null. Any thread; one that is being interned at this moment
 * may be missed. */
uint32_t symbols_find(const struct symbols *s, const char *text, uint32_t len);
/* Forgets everything. Only for a table that one thread keeps for itself (inject_rows). */
void symbols_reset(struct symbols *s);

pst_inline uint32_t symbols_count(const struct symbols *s)
{
    return load_acquire(&s->head->count); /* Y2: pairs with Y1 */
}
/* Text of an id (not NUL-terminated); the null symbol and unknown ids give len 0. */
const char *symbols_text(const struct symbols *s, uint32_t id, uint32_t *len);
