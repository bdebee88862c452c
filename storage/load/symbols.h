/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbols.h - the symbols of a batch: the union of its files' distinct texts, and the
 * database's `sym` as index and merge tasks read it.
 *
 * UNION, in penstockd (thread `loader`). Each read task leaves <dir>/symbols (save.h: texts with
 * their NUL). The worker that wrote it is hostile: every text is checked (1 … 255 bytes), the
 * file's size is bounded, no more texts are taken than asked for.
 *
 *     load_symbols_init(&s)
 *     load_symbols_file(&s, "<dir>/symbols", limit, &err)      each file; -E2BIG beyond the limit
 *     load_symbols_sort(&s, &err)                              by text, as bytes
 *     for (i = 0; i < s.count; i++) load_symbols_text(&s, i, &len) → the appender
 *     load_symbols_free(&s)
 *
 * When the frames with the new ones are durable, day_load_sym (control/day_load.h) makes the
 * writedown thread back `sym` up and extend it in one synced append; then index tasks may run.
 *
 * TRANSLATION, in a worker: load_codes maps the codes of one file to indexes of `sym`, once a
 * distinct text. `sym` is opened read-only (hdb_sym_read): no lock, never repaired; it is read on
 * when a text is not found, and a text that is still missing is an error: interning comes first.
 *
 * One thread.
 */
#pragma once

#include "hdb_sym.h"

struct load_symbols {
    uint64_t count; /* distinct texts; numbers below */
    struct load_symbols_text {
        uint64_t at;
        uint32_t len;
    } * text;
    char *bytes; /* each text with its NUL */
    uint64_t used, room, text_room;
    uint32_t *hash; /* number + 1; gone after sorting */
    uint64_t slots;
};

void load_symbols_init(struct load_symbols *s);
void load_symbols_free(struct load_symbols *s);
/* -EINVAL: no symbol; -E2BIG: `limit` distinct ones are in already (0 = 2^28); -ENOMEM. */
bool load_symbols_add(struct load_symbols *s, const char *text, size_t len, uint64_t limit,
                      struct err *err);
/* -ENOENT: there is no such file; -EBADMSG: it is damaged. */
bool load_symbols_file(struct load_symbols *s, const char *path, uint64_t limit, struct err *err);
/* Number of a text, -1: not in. Before sorting only. */
int64_t load_symbols_find(const struct load_symbols *s, const char *text, size_t len);
/* Nothing is added afterwards. */
bool load_symbols_sort(struct load_symbols *s, struct err *err);
pst_inline const char *load_symbols_text(const struct load_symbols *s, uint64_t i, uint32_t *len)
{
    *len = s->text[i].len;
    return s->bytes + s->text[i].at;
}

/* What a file's codes are in `sym`: index[code]; code 0 is PST_NULL_SYMBOL. malloc'd. */
struct load_codes {
    uint32_t *index;
    uint32_t count; /* codes are 0 … count - 1 */
};
/* path: <dir>/symbols; count: what result.json says, + 1 with the null. */
bool load_codes_read(struct load_codes *c, struct hdb_sym *sym, const char *path, struct err *err);
void load_codes_free(struct load_codes *c);
