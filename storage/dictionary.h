/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dictionary.h - what a reader has learnt so far: table versions and symbol texts.
 *
 * Fed with every symbol and schema frame that the reader meets, be it from the journal or from the
 * start of a file (storage/log_file.h). Owner: the one thread that reads with it; nothing in it is
 * shared. Texts and schemas stay where they are until dictionary_free, so rows may keep pointers.
 *
 * An id that was never taught (its symbol frame lies in a lost range) reads as null and is counted
 * in `unresolved`. An id taught twice with different texts keeps the newer one and is counted in
 * `conflicts`: ids are never reused within an instance, so a conflict is damage.
 */
#pragma once

#include "core/frame.h"
#include "core/schema.h"
#include "core/symbols.h"

#define DICTIONARY_PAGE  4096u
#define DICTIONARY_PAGES 65536u /* 2^28 symbols, the most that symbols_create allows */

struct dictionary_entry {
    const char *text; /* NULL: not known */
    uint32_t len;
};

struct dictionary {
    struct schema_set *schemas;
    struct dictionary_entry **page; /* DICTIONARY_PAGES */
    struct dictionary_chunk *chunks;
    uint32_t known; /* texts held */
    uint32_t next;  /* highest id taught + 1 */
    uint64_t unresolved, conflicts, malformed;
};

bool dictionary_init(struct dictionary *d, struct err *err);
void dictionary_free(struct dictionary *d);

/* Takes a symbol, schema or file frame (other kinds are ignored). False: malformed, or no memory;
 * counted in `malformed`, and what could be read of it is kept. */
bool dictionary_feed(struct dictionary *d, const struct frame *f);
bool dictionary_teach(struct dictionary *d, uint32_t id, const char *text, uint32_t len);

/* Text of an id: len 0 and "" for the null symbol; NULL (and counted) when it is not known. */
const char *dictionary_text(struct dictionary *d, uint32_t id, uint32_t *len);
/* The same without counting. */
const char *dictionary_peek(const struct dictionary *d, uint32_t id, uint32_t *len);
/* The id of a text, PST_NULL_SYMBOL when unknown. Linear: for a filter given on a command line. */
uint32_t dictionary_find(const struct dictionary *d, const char *text, uint32_t len);

pst_inline const struct schema *dictionary_schema(const struct dictionary *d, unsigned table)
{
    return schema_set_get(d->schemas, table);
}
