/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict.h - the symbols of one file: text -> code, dense from 1 in order of first use; 0 is null.
 *
 * A read task never touches the database's `sym`: its codes mean something only beside its own file
 * `symbols` (save.h). Codes are translated once, when the whole batch is interned.
 *
 * Texts of at most 8 bytes, nearly all of them, are found through one table of 16-byte entries by
 * one multiplication and, usually, one compare; longer ones by their hash and bytes.
 *
 * Texts are 1 … 255 bytes without NUL; who calls checks that (the reader can say which line it
 * was). At most LOAD_SYMBOLS_MAX; memory is what they need, and grows by doubling.
 *
 * One thread.
 */
#pragma once

#include "core/base.h"

#define LOAD_SYMBOLS_MAX  (1u << 28)
#define LOAD_SYMBOL_BYTES 255u
#define LOAD_STRING_BYTES 65535u      /* of a value of type string, as in the journal */
#define LOAD_NO_CODE      0xFFFFFFFFu /* no memory, or LOAD_SYMBOLS_MAX reached */

struct load_dict_slot {
    uint64_t key;  /* the bytes of a short text, zero padded; the hash of a long one */
    uint32_t code; /* 0 = free */
    uint32_t len;
};
struct load_dict {
    struct load_dict_slot *slot;
    uint32_t mask;  /* slots - 1 */
    uint32_t count; /* codes are 1 … count */
    uint64_t *at;   /* [code]: where its text begins in `bytes` */
    uint32_t at_room;
    char *bytes; /* the texts one after the other, each with its NUL */
    uint64_t nbytes, bytes_room;
};

bool load_dict_init(struct load_dict *d, struct err *err);
void load_dict_free(struct load_dict *d);
uint32_t load_dict_long(struct load_dict *d, const char *text, uint32_t len); /* the slow half */
uint32_t load_dict_add(struct load_dict *d, uint64_t key, const char *text, uint32_t len);

pst_inline uint32_t load_dict_hash(uint64_t key, uint32_t len)
{
    uint64_t h = (key ^ len) * 0x9E3779B97F4A7C15ull;
    return (uint32_t)(h >> 32);
}

/*
 * The code of a text, given one when it is new; 0 for the empty text. 8 bytes from `text` on must
 * be readable (input.h pads what it hands out). LOAD_NO_CODE: see above.
 */
pst_inline uint32_t load_dict_code(struct load_dict *d, const char *text, uint32_t len)
{
    if (pst_unlikely(len > 8))
        return load_dict_long(d, text, len);
    if (pst_unlikely(!len))
        return 0;
    uint64_t key = le64(text) << (64 - 8 * len) >> (64 - 8 * len);
    for (uint32_t i = load_dict_hash(key, len);; i++) {
        const struct load_dict_slot *s = &d->slot[i & d->mask];
        if (pst_likely(s->key == key && s->len == len))
            return s->code;
        if (!s->code)
            return load_dict_add(d, key, text, len);
    }
}
/* The same for a text behind which nothing may be read. */
uint32_t load_dict_code_exact(struct load_dict *d, const char *text, uint32_t len);

/* NUL-terminated; "" and length 0 for null and for what is no code. */
const char *load_dict_text(const struct load_dict *d, uint64_t code, uint32_t *len);
