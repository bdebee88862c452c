/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "dictionary.h"
#include "log_file.h"

#define CHUNK_BYTES 65536u

struct dictionary_chunk {
    struct dictionary_chunk *next;
    uint32_t used;
    char text[CHUNK_BYTES];
};

bool dictionary_init(struct dictionary *d, struct err *err)
{
    memset(d, 0, sizeof *d);
    d->schemas = schema_set_new();
    d->page = calloc(DICTIONARY_PAGES, sizeof *d->page);
    if (d->schemas && d->page)
        return true;
    dictionary_free(d);
    return err_set(err, -ENOMEM, "no memory for a dictionary of symbols and schemas");
}

void dictionary_free(struct dictionary *d)
{
    schema_set_free(d->schemas);
    for (unsigned i = 0; d->page && i < DICTIONARY_PAGES; i++)
        free(d->page[i]);
    free(d->page);
    for (struct dictionary_chunk *c = d->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    memset(d, 0, sizeof *d);
}

static const char *keep(struct dictionary *d, const char *text, uint32_t len)
{
    if (!d->chunks || d->chunks->used + len + 1 > CHUNK_BYTES) {
        struct dictionary_chunk *c = malloc(sizeof *c);
        if (!c)
            return NULL;
        c->next = d->chunks;
        c->used = 0;
        d->chunks = c;
    }
    char *p = d->chunks->text + d->chunks->used;
    memcpy(p, text, len);
    p[len] = 0;
    d->chunks->used += len + 1;
    return p;
}

bool dictionary_teach(struct dictionary *d, uint32_t id, const char *text, uint32_t len)
{
    if (!len || len > SYMBOL_TEXT_MAX || id >= DICTIONARY_PAGE * DICTIONARY_PAGES)
        return false;
    struct dictionary_entry **page = &d->page[id / DICTIONARY_PAGE];
    if (!*page && !(*page = calloc(DICTIONARY_PAGE, sizeof **page)))
        return false;
    struct dictionary_entry *e = &(*page)[id % DICTIONARY_PAGE];
    if (e->text && e->len == len && !memcmp(e->text, text, len))
        return true;
    const char *copy = keep(d, text, len);
    if (!copy)
        return false;
    if (e->text)
        d->conflicts++;
    else
        d->known++;
    *e = (struct dictionary_entry){copy, len};
    if (id >= d->next)
        d->next = id + 1;
    return true;
}

static bool teach(void *arg, uint32_t id, const char *text, uint32_t len)
{
    return dictionary_teach(arg, id, text, len);
}

static bool learn_schema(struct dictionary *d, const char *json, uint32_t len)
{
    struct schema s;
    return schema_from_json(&s, json, len, NULL) && schema_set_add(d->schemas, &s, NULL);
}

/* The body of a SYMBOLS file frame: laid out as a symbol frame's payload. An id whose text was lost
 * in an earlier crash stands there without one: it stays taken, and those behind it count. */
static bool learn_symbols(struct dictionary *d, const uint8_t *p, uint32_t len)
{
    const uint8_t *end = p + len;
    if (len < 8)
        return false;
    uint32_t id = le32(p), n = le32(p + 4);
    for (p += 8; n; n--, id++, p += 1 + *p) {
        if (p >= end || end - p - 1 < *p)
            return false;
        if (!*p && id < DICTIONARY_PAGE * DICTIONARY_PAGES)
            d->next = id >= d->next ? id + 1 : d->next;
        else if (!dictionary_teach(d, id, (const char *)p + 1, *p))
            return false;
    }
    return true;
}

bool dictionary_feed(struct dictionary *d, const struct frame *f)
{
    bool ok = true;
    if (f->kind == FRAME_SYMBOL) {
        ok = frame_symbols_each(f, teach, d);
    } else if (f->kind == FRAME_SCHEMA) {
        uint32_t len;
        const char *json = frame_schema_json(f, &len);
        ok = json && learn_schema(d, json, len);
    } else if (f->kind == FRAME_FILE) {
        unsigned type;
        uint32_t len;
        const uint8_t *body = log_file_body(f, &type, &len);
        if (!body)
            ok = false;
        else if (type == LOG_FILE_SCHEMA)
            ok = learn_schema(d, (const char *)body, len);
        else if (type == LOG_FILE_SYMBOLS)
            ok = learn_symbols(d, body, len);
    }
    d->malformed += !ok;
    return ok;
}

const char *dictionary_peek(const struct dictionary *d, uint32_t id, uint32_t *len)
{
    *len = 0;
    if (id == PST_NULL_SYMBOL)
        return "";
    if (id >= DICTIONARY_PAGE * DICTIONARY_PAGES)
        return NULL;
    const struct dictionary_entry *page = d->page[id / DICTIONARY_PAGE];
    if (!page || !page[id % DICTIONARY_PAGE].text)
        return NULL;
    *len = page[id % DICTIONARY_PAGE].len;
    return page[id % DICTIONARY_PAGE].text;
}

const char *dictionary_text(struct dictionary *d, uint32_t id, uint32_t *len)
{
    const char *t = dictionary_peek(d, id, len);
    d->unresolved += !t;
    return t;
}

uint32_t dictionary_find(const struct dictionary *d, const char *text, uint32_t len)
{
    for (uint32_t id = 0; id < d->next; id++) {
        uint32_t n;
        const char *t = dictionary_peek(d, id, &n);
        if (t && n == len && !memcmp(t, text, len))
            return id;
    }
    return PST_NULL_SYMBOL;
}
