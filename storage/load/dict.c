/* SPDX-License-Identifier: Apache-2.0 */
#include "load/dict.h"

#include <errno.h>
#include "content_hash.h"

#define FIRST_SLOTS 4096u
#define FIRST_BYTES 65536u

bool load_dict_init(struct load_dict *d, struct err *err)
{
    memset(d, 0, sizeof *d);
    d->slot = calloc(FIRST_SLOTS, sizeof *d->slot);
    d->mask = FIRST_SLOTS - 1;
    d->at_room = FIRST_SLOTS;
    d->at = malloc(d->at_room * sizeof *d->at);
    d->bytes_room = FIRST_BYTES;
    d->bytes = malloc(d->bytes_room);
    if (!d->slot || !d->at || !d->bytes) {
        load_dict_free(d);
        return err_set(err, -ENOMEM, "no memory for the symbols of a file");
    }
    d->bytes[0] = 0; /* code 0: the null symbol's empty text */
    d->at[0] = 0;
    d->nbytes = 1;
    return true;
}

void load_dict_free(struct load_dict *d)
{
    free(d->slot);
    free(d->at);
    free(d->bytes);
    memset(d, 0, sizeof *d);
}

static bool more_slots(struct load_dict *d)
{
    uint32_t n = (d->mask + 1) * 2;
    struct load_dict_slot *slot = n ? calloc(n, sizeof *slot) : NULL;
    if (!slot)
        return false;
    for (uint32_t i = 0; i <= d->mask; i++) {
        const struct load_dict_slot *s = &d->slot[i];
        if (!s->code)
            continue;
        uint32_t h = load_dict_hash(s->key, s->len);
        while (slot[h & (n - 1)].code)
            h++;
        slot[h & (n - 1)] = *s;
    }
    free(d->slot);
    d->slot = slot;
    d->mask = n - 1;
    return true;
}

static bool more_texts(struct load_dict *d, uint32_t len)
{
    if (d->count + 1 >= d->at_room) {
        uint64_t *p = realloc(d->at, (size_t)d->at_room * 2 * sizeof *p);
        if (!p)
            return false;
        d->at = p;
        d->at_room *= 2;
    }
    if (d->bytes_room - d->nbytes < len + 1u) {
        char *p = realloc(d->bytes, d->bytes_room * 2);
        if (!p)
            return false;
        d->bytes = p;
        d->bytes_room *= 2;
    }
    return true;
}

uint32_t load_dict_add(struct load_dict *d, uint64_t key, const char *text, uint32_t len)
{
    if (d->count == LOAD_SYMBOLS_MAX || !more_texts(d, len))
        return LOAD_NO_CODE;
    if ((uint64_t)(d->count + 1) * 2 > d->mask && !more_slots(d)) /* at most half full */
        return LOAD_NO_CODE;
    uint32_t code = ++d->count, h = load_dict_hash(key, len);
    while (d->slot[h & d->mask].code)
        h++;
    d->slot[h & d->mask] = (struct load_dict_slot){key, code, len};
    d->at[code] = d->nbytes;
    memcpy(d->bytes + d->nbytes, text, len);
    d->bytes[d->nbytes + len] = 0;
    d->nbytes += len + 1u;
    return code;
}

uint32_t load_dict_long(struct load_dict *d, const char *text, uint32_t len)
{
    struct hash128 h128;
    hash128_of(text, len, &h128);
    for (uint32_t i = load_dict_hash(h128.lo, len);; i++) {
        const struct load_dict_slot *s = &d->slot[i & d->mask];
        if (!s->code)
            return load_dict_add(d, h128.lo, text, len);
        if (s->key == h128.lo && s->len == len && !memcmp(d->bytes + d->at[s->code], text, len))
            return s->code;
    }
}

uint32_t load_dict_code_exact(struct load_dict *d, const char *text, uint32_t len)
{
    char padded[8] = {0};
    if (len > 8)
        return load_dict_long(d, text, len);
    memcpy(padded, text, len);
    return load_dict_code(d, padded, len);
}

const char *load_dict_text(const struct load_dict *d, uint64_t code, uint32_t *len)
{
    if (!code || code > d->count) {
        *len = 0;
        return "";
    }
    uint64_t end = code == d->count ? d->nbytes : d->at[code + 1];
    *len = (uint32_t)(end - d->at[code] - 1);
    return d->bytes + d->at[code];
}
