/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "intake_symbols.h"

#define KEEP (1u << 20) /* bytes of lists that stay for the next message */

bool intake_symbols_init(struct intake_symbols *s, struct inject_rows *w, struct err *err)
{
    *s = (struct intake_symbols){.w = w};
    s->cache = calloc(1u << INTAKE_CACHE_BITS, sizeof *s->cache);
    s->longer = calloc(1u << INTAKE_LONG_BITS, sizeof *s->longer);
    return (s->cache && s->longer) || err_set(err, -ENOMEM, "intake: no memory for symbols");
}

void intake_symbols_free(struct intake_symbols *s)
{
    free(s->cache);
    free(s->longer);
    free(s->text);
    free(s->arena);
    free(s->hash);
    *s = (struct intake_symbols){0};
}

void intake_symbols_forget(struct intake_symbols *s)
{
    memset(s->cache, 0, sizeof *s->cache << INTAKE_CACHE_BITS);
    memset(s->longer, 0, sizeof *s->longer << INTAKE_LONG_BITS);
}

void intake_symbols_begin(struct intake_symbols *s)
{
    if (pst_likely(!s->n && !s->failed))
        return;
    if (s->arena_room > KEEP || s->room * sizeof *s->text > KEEP) {
        free(s->text);
        free(s->arena);
        free(s->hash);
        s->text = NULL;
        s->arena = NULL;
        s->hash = NULL;
        s->room = s->arena_room = s->slots = 0;
    }
    if (s->hash)
        memset(s->hash, 0, s->slots * sizeof *s->hash);
    s->n = s->used = s->unknown = s->bytes = 0;
    s->failed = false;
}

static uint32_t hash_of(const char *text, uint32_t len)
{
    uint64_t h = 0xCBF29CE484222325ull;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 0x100000001B3ull;
    return (uint32_t)(h ^ h >> 32);
}

static uint32_t *place(struct intake_symbols *s, const char *text, uint32_t len)
{
    uint32_t at = hash_of(text, len) & (s->slots - 1);
    for (; s->hash[at]; at = (at + 1) & (s->slots - 1)) {
        const struct intake_text *t = &s->text[s->hash[at] - 1];
        if (t->len == len && !memcmp(s->arena + t->at, text, len))
            break;
    }
    return &s->hash[at];
}

static bool larger(struct intake_symbols *s)
{
    uint32_t room = s->room ? s->room * 2 : 64;
    struct intake_text *text = realloc(s->text, room * sizeof *text);
    s->text = text ? text : s->text;
    uint32_t *hash = text ? calloc(room * 2, sizeof *hash) : NULL;
    if (!hash)
        return false;
    free(s->hash);
    s->hash = hash;
    s->slots = room * 2;
    s->room = room;
    for (uint32_t i = 0; i < s->n; i++)
        *place(s, s->arena + s->text[i].at, s->text[i].len) = i + 1;
    return true;
}

static bool more_text(struct intake_symbols *s, uint32_t len)
{
    if (s->used + len <= s->arena_room)
        return true;
    uint32_t room = s->arena_room ? s->arena_room * 2 : 4096;
    char *p = s->arena_room < 1u << 30 ? realloc(s->arena, room) : NULL;
    if (!p)
        return false;
    s->arena = p;
    s->arena_room = room;
    return true;
}

static uint32_t fresh(struct intake_symbols *s, const char *text, uint32_t len)
{
    if ((s->n == s->room && !larger(s)) || !more_text(s, len)) {
        s->failed = true;
        return PST_NULL_SYMBOL;
    }
    uint32_t *at = place(s, text, len);
    if (!*at) {
        const struct symbols *known = s->w->cfg.known;
        memcpy(s->arena + s->used, text, len);
        s->text[s->n] = (struct intake_text){.at = s->used, .len = len, .id = PST_NULL_SYMBOL};
        s->used += len;
        s->bytes += 1 + len;
        s->unknown += !known || symbols_find(known, text, len) == PST_NULL_SYMBOL;
        *at = ++s->n;
    }
    return INTAKE_NEW | (*at - 1);
}

/* The place of a text of 9 to 24 bytes; *key is what stands there when it is this one's. */
static struct intake_cached_long *place_of(const struct intake_symbols *s, const char *text,
                                           uint32_t len, struct intake_cached_long *key)
{
    *key = (struct intake_cached_long){
        .word = {le64(text), len > 16 ? le64(text + 8) : 0, le64(text + len - 8)}, .len = len};
    uint64_t h = (key->word[0] * 0x9E3779B97F4A7C15ull) ^ (key->word[1] * 0xC2B2AE3D27D4EB4Full);
    h = (h ^ h >> 29 ^ key->word[2]) * 0x165667B19E3779F9ull;
    return &s->longer[h >> (64 - INTAKE_LONG_BITS)];
}

static void remember(struct intake_symbols *s, const char *text, uint32_t len, uint32_t id)
{
    uint64_t word = 0;
    struct intake_cached_long key;
    if (len > 24)
        return;
    if (len > 8) {
        struct intake_cached_long *to = place_of(s, text, len, &key);
        *to = key;
        to->id = id;
        return;
    }
    memcpy(&word, text, len);
    s->cache[(word * 0x9E3779B97F4A7C15ull) >> (64 - INTAKE_CACHE_BITS)] =
        (struct intake_cached){word, id};
}

uint32_t intake_symbols_find(struct intake_symbols *s, const char *text, uint32_t len)
{
    struct intake_cached_long key;
    if (len > 8 && len <= 24) {
        const struct intake_cached_long *c = place_of(s, text, len, &key);
        if (pst_likely(c->len == len && c->word[0] == key.word[0] && c->word[1] == key.word[1] &&
                       c->word[2] == key.word[2]))
            return c->id;
    }
    uint32_t id = symbols_find(&s->w->local, text, len);
    if (id == PST_NULL_SYMBOL)
        return fresh(s, text, len);
    remember(s, text, len, id);
    return id;
}

uint32_t intake_symbols_commit(struct intake_symbols *s, uint32_t mark)
{
    struct intake_text *t = &s->text[mark & ~INTAKE_NEW];
    if (t->id == PST_NULL_SYMBOL) {
        t->id = rows_symbol(&s->w->rows, s->arena + t->at, t->len);
        if (t->id != SYMBOL_REFUSED)
            remember(s, s->arena + t->at, t->len, t->id);
    }
    return t->id;
}
