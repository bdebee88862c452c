/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "publish/stripe.h"

static uint64_t hash(const char *p, uint32_t n)
{
    return stripe_hash(p, n);
}

struct pst_text host_symbol(struct host *h, uint32_t id)
{
    uint32_t len = 0;
    const char *t;
    if (id == PST_NULL_SYMBOL)
        return (struct pst_text){"", 0};
    if (id >= HOST_OWN_SYMBOLS) {
        uint32_t i = id - HOST_OWN_SYMBOLS;
        return i < h->nown ? (struct pst_text){h->own[i].text, h->own[i].len}
                           : (struct pst_text){"", 0};
    }
    if (h->have_symbols && id < symbols_count(&h->symbols))
        t = symbols_text(&h->symbols, id, &len);
    else
        t = dictionary_peek(&h->cursor.dict, id, &len);
    return t ? (struct pst_text){t, len} : (struct pst_text){"", 0};
}

/* Where the text is, or would be, among the own ones. */
static uint32_t *own_slot(struct host *h, const char *text, uint32_t len)
{
    uint32_t i = (uint32_t)hash(text, len) & (h->own_slots - 1);
    for (;; i = (i + 1) & (h->own_slots - 1)) {
        uint32_t at = h->own_hash[i];
        if (!at || (h->own[at - 1].len == len && !memcmp(h->own[at - 1].text, text, len)))
            return &h->own_hash[i];
    }
}

uint32_t host_symbol_find(struct host *h, const char *text, uint32_t len)
{
    if (!len)
        return PST_NULL_SYMBOL;
    uint32_t id = h->have_symbols ? symbols_find(&h->symbols, text, len) : PST_NULL_SYMBOL;
    if (id == PST_NULL_SYMBOL && h->have_cursor && !h->have_symbols)
        id = dictionary_find(&h->cursor.dict, text, len);
    if (id == PST_NULL_SYMBOL && h->say && h->nown) { /* standalone: they are the symbols */
        uint32_t *slot = own_slot(h, text, len);
        id = *slot ? HOST_OWN_SYMBOLS + *slot - 1 : id;
    }
    return id;
}

static bool own_grow(struct host *h)
{
    uint32_t room = h->own_room ? 2 * h->own_room : 256;
    struct host_own *p = realloc(h->own, room * sizeof *p);
    if (p)
        h->own = p;
    uint32_t *slots = calloc(4ull * room, sizeof *slots);
    if (!p || !slots) {
        free(slots);
        return false;
    }
    free(h->own_hash);
    h->own_hash = slots;
    h->own_room = room;
    h->own_slots = 4 * room;
    for (uint32_t i = 0; i < h->nown; i++)
        *own_slot(h, h->own[i].text, h->own[i].len) = i + 1;
    return true;
}

/* The journal's id changes nothing for a text that is here already: an id that was given out
 * stays. */
uint32_t host_symbol_own(struct host *h, const char *text, uint32_t len)
{
    if (!len || len > SYMBOL_TEXT_MAX || memchr(text, 0, len))
        return PST_NULL_SYMBOL;
    uint32_t *slot = h->nown ? own_slot(h, text, len) : NULL;
    if (slot && *slot)
        return HOST_OWN_SYMBOLS + *slot - 1;
    uint32_t id = host_symbol_find(h, text, len);
    if (id != PST_NULL_SYMBOL)
        return id;
    if (h->nown == h->own_room && !own_grow(h))
        host_die(h, "no memory for symbols");
    char *copy = malloc(len + 1);
    if (!copy)
        host_die(h, "no memory for symbols");
    memcpy(copy, text, len);
    copy[len] = 0;
    *own_slot(h, text, len) = h->nown + 1;
    h->own[h->nown] = (struct host_own){copy, len};
    return HOST_OWN_SYMBOLS + h->nown++;
}

bool host_mine(struct host *h, uint32_t sym)
{
    if (sym >= h->nstripe_of) {
        if (sym >= HOST_OWN_SYMBOLS)
            return stripe_of("", 0, h->stripes) == h->stripe;
        uint32_t n = sym + sym / 2 + 4096;
        uint8_t *p = realloc(h->stripe_of, n);
        if (!p)
            host_die(h, "no memory for stripes");
        memset(p + h->nstripe_of, 0, n - h->nstripe_of);
        h->stripe_of = p;
        h->nstripe_of = n;
    }
    if (!h->stripe_of[sym]) {
        struct pst_text t = host_symbol(h, sym);
        bool mine = stripe_of(t.at, t.len, h->stripes) == h->stripe;
        h->stripe_of[sym] = mine ? 2 : 1;
    }
    return h->stripe_of[sym] == 2;
}
