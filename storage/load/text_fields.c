/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that the loops leave over, and what the loops keep of times. */
#include "core/civil.h"
#include "core/clock.h"
#include "load/text_parts.h"

void text_bad_add(struct text_batch *b, struct text_bad bad)
{
    if (b->nbad == b->room_bad) {
        uint32_t room = b->room_bad ? 2 * b->room_bad : 64;
        struct text_bad *more = realloc(b->bad, room * sizeof *more);
        if (!more) {
            b->failed = true;
            return;
        }
        b->bad = more;
        b->room_bad = room;
    }
    b->bad[b->nbad++] = bad;
}

void text_batch_bad(struct text_batch *b, const struct text_column *c, uint32_t r, int reason)
{
    if (text_batch_is_bad(b, r))
        return;
    b->marked[r / 8] |= (uint8_t)(1u << (r % 8));
    text_bad_add(b, (struct text_bad){(b->mark + b->base[r])[-1] + 1, r, c, reason});
}

bool text_is_null(const struct load_recipe *r, const char *p, size_t n)
{
    for (unsigned i = 0; i < r->nnulls; i++)
        if (strlen(r->null[i]) == n && !memcmp(r->null[i], p, n))
            return true;
    return false;
}

static void trim(const char **p, size_t *n)
{
    while (*n && (**p == ' ' || **p == '\t')) {
        ++*p;
        --*n;
    }
    while (*n && ((*p)[*n - 1] == ' ' || (*p)[*n - 1] == '\t'))
        --*n;
}

static char escaped(char c, int escape)
{
    if (escape != '\\')
        return c;
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c == '0' ? '\0' : c;
}

int text_unquote(const struct text_syntax *s, const char **p, size_t *n, char *scratch)
{
    const char *from = *p;
    size_t len = *n, i = 0, o = 0;
    bool quoted = len && (uint8_t)*from == s->quote;
    if (!quoted && (s->escape < 0 || !memchr(from, s->escape, len)))
        return TEXT_OK;
    for (i = quoted; i < len; i++) {
        if ((uint8_t)from[i] == s->escape) {
            if (++i == len)
                return TEXT_OPEN;
            scratch[o++] = escaped(from[i], s->escape);
        } else if (quoted && (uint8_t)from[i] == s->quote) {
            if (i + 1 < len && (uint8_t)from[i + 1] == s->quote)
                scratch[o++] = from[i++];
            else
                break;
        } else {
            scratch[o++] = from[i];
        }
    }
    if (quoted && i == len)
        return TEXT_OPEN;
    if (quoted && i + 1 != len)
        return TEXT_BEHIND;
    *p = scratch;
    *n = o;
    return TEXT_OK;
}

static void keep_text(struct text_column *c, const char *p, uint32_t n)
{
    char text[16] = {0}, mask[16] = {0};
    memcpy(text, p, n);
    memset(mask, 0xFF, n);
    memcpy(c->was, text, 16);
    memcpy(c->mask, mask, 16);
    c->prefix = n;
}

/* The text up to its minutes, where ":SS[.n][Z]" follows. */
static void keep_minutes(struct text_column *c, const char *p, uint32_t n, int32_t day)
{
    if (c->how.time == LOAD_TIME_PATTERN || *p == '-')
        return;
    bool zulu = p[n - 1] == 'Z';
    const char *end = p + n - zulu, *at = memrchr(p, ':', n);
    if (!at || at - p < 4 || at - p > 16 || end - at < 3 || !memchr(p, ':', (size_t)(at - p)))
        return;
    char text[24];
    int64_t first, second;
    uint32_t prefix = (uint32_t)(at - p);
    memcpy(text, p, prefix);
    memcpy(text + prefix, ":00Z", 4);
    if (text_value(&c->how, text, prefix + 3 + zulu, day, &first))
        return;
    memcpy(text + prefix, ":59Z", 4);
    if (text_value(&c->how, text, prefix + 3 + zulu, day, &second) ||
        second - first != 59 * NS_PER_S)
        return;
    keep_text(c, p, prefix);
    c->base = first;
    c->zulu = zulu;
    c->day = day;
    c->daily = prefix <= 5;
}

/* The midnight that a number counts from, where the clocks do not change on that day. */
static void keep_midnight(struct text_column *c, int32_t day)
{
    int64_t first, second;
    if (c->how.time < LOAD_TIME_DAY_S || c->how.time > LOAD_TIME_DAY_NS || day == TEXT_NO_DAY ||
        !text_instant(c->how.zone, day, 0, &first) ||
        !text_instant(c->how.zone, day, NS_PER_DAY - 1, &second) ||
        second - first != NS_PER_DAY - 1)
        return;
    c->base = first;
    c->day = day;
    c->daily = true;
    c->low = 0;
    c->high = (NS_PER_DAY - 1) / c->unit;
}

void text_field_time(struct text_batch *b, struct text_column *c, uint32_t r, const char *p,
                     uint32_t n)
{
    int32_t day = b->day ? b->day[r] : b->fixed_day;
    uint8_t *out = c->out + (size_t)r * c->width;
    int reason = text_value(&c->how, p, n, day, out);
    if (reason) {
        text_batch_bad(b, c, r, reason);
        return;
    }
    if (c->kind == TEXT_KIND_MOMENT) {
        keep_minutes(c, p, n, day);
    } else if (c->kind == TEXT_KIND_COUNT) {
        keep_midnight(c, day);
    } else if (c->kind == TEXT_KIND_CACHED && n <= 16) {
        keep_text(c, p, n);
        uint32_t v;
        memcpy(&v, out, 4);
        c->base = (int64_t)v;
    }
}

static int symbol(struct text_batch *b, uint8_t *out, const char *p, size_t n)
{
    if (n > LOAD_SYMBOL_BYTES)
        return TEXT_LONG_SYMBOL;
    if (memchr(p, 0, n))
        return TEXT_NUL;
    uint32_t code = load_dict_code_exact(b->dict, p, (uint32_t)n);
    if (code == LOAD_NO_CODE)
        return TEXT_SYMBOLS;
    put32(out, code);
    return TEXT_OK;
}

static bool string(struct text_batch *b, uint8_t *out, const char *p, size_t n)
{
    uint32_t at;
    if (!load_block_text(b->block, (uint32_t)n, &at))
        return false;
    memcpy(b->block->heap + at, p, n);
    put32(out, at);
    put32(out + 4, (uint32_t)n);
    return true;
}

void text_field_slow(struct text_batch *b, struct text_column *c, uint32_t r, const char *p,
                     int32_t signed_n)
{
    uint8_t *out = c->out + (size_t)r * c->width;
    size_t n = signed_n > 0 ? (size_t)signed_n : 0;
    int reason = TEXT_OK;
    if (b->recipe->trim)
        trim(&p, &n);
    bool null = !n || text_is_null(b->recipe, p, n);
    if (!null && (reason = text_unquote(b->syntax, &p, &n, b->scratch))) {
        text_batch_bad(b, c, r, reason);
        return;
    }
    if (!null && b->recipe->trim && c->kind != TEXT_KIND_STRING)
        trim(&p, &n);
    if (null || !n || text_is_null(b->recipe, p, n)) {
        memcpy(out, c->null, c->width);
        return;
    }
    switch (c->kind) {
    case TEXT_KIND_SYMBOL:
        reason = symbol(b, out, p, n);
        break;
    case TEXT_KIND_STRING:
        b->failed |= !string(b, out, p, n);
        break;
    case TEXT_KIND_MOMENT:
    case TEXT_KIND_COUNT:
    case TEXT_KIND_CACHED:
        text_field_time(b, c, r, p, (uint32_t)n);
        break;
    default:
        reason = text_value(&c->how, p, n, b->day ? b->day[r] : b->fixed_day, out);
    }
    if (reason)
        text_batch_bad(b, c, r, reason);
}
