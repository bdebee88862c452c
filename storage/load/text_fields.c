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
    text_bad_add(b, (struct text_bad){
                        .start = (b->mark + b->base[r])[-1] + 1, .column = c, .reason = reason});
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
            if (i + 1 == len || (uint8_t)from[i + 1] != s->quote)
                break;
            scratch[o++] = from[i++];
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

/* Around the time of day `ns`, for how long the clocks of the zone do not change on that day; *base
 * = the instant that its midnight would be by them. */
static bool stretch(const struct tzone *zone, int32_t day, int64_t ns, int64_t *base, int64_t *low,
                    int64_t *high)
{
    int64_t at, midnight;
    if (!text_instant(zone, day, ns, &at) || !text_instant(NULL, day, 0, &midnight))
        return false;
    *base = at - ns;
    *low = 0;
    *high = NS_PER_DAY;
    if (!zone)
        return true;
    int64_t utc_s = civil_floor_div(at, NS_PER_S) + PST_EPOCH_OFFSET_S;
    int64_t offset = (midnight + ns - at) / NS_PER_S, first;
    if (tzone_offset(zone, utc_s) != offset)
        return false; /* an hour that is skipped */
    int64_t change = tzone_next_change(zone, utc_s);
    int64_t left = change - (midnight / NS_PER_S + PST_EPOCH_OFFSET_S) + offset;
    if (change != INT64_MAX && left < PST_DAY_S)
        *high = left * NS_PER_S;
    if (!text_instant(zone, day, 0, &first) || first != *base)
        *low = ns; /* it changed before */
    return true;
}

/* The date in a text, where HH:MM:SS[.n][Z] follows. */
static void keep_date(struct text_column *c, const char *p, uint32_t n, int32_t day)
{
    const char *colon = memchr(p, ':', n);
    if (c->how.time == LOAD_TIME_PATTERN || !colon || colon - p < 2 || colon - p > 18 ||
        n - (uint32_t)(colon - p) < 6 || colon[3] != ':')
        return;
    struct text_moment m;
    uint32_t prefix = (uint32_t)(colon - p) - 2;
    bool zulu = p[n - 1] == 'Z', dated = prefix != 0;
    int64_t base = 0, low = 0, high = NS_PER_DAY;
    char text[32]; /* what is kept must mean the same with any clock behind it: ask with this one */
    memcpy(text, p, prefix + 8);
    text[prefix + 8] = 'Z';
    if (text_moment_read(&c->how, text, prefix + 8 + zulu, &m) || m.span || !m.clocked ||
        m.dated != dated || m.instant != zulu)
        return;
    if (c->how.type == PST_TIMESPAN) {
        if (dated || zulu)
            return;
    } else {
        int64_t ns = zulu ? civil_floor_mod(m.ns, NS_PER_DAY) : m.ns;
        int32_t of = zulu ? civil_day_of(m.ns) : dated ? m.day : day;
        if (of == TEXT_NO_DAY || !stretch(zulu ? NULL : c->how.zone, of, ns, &base, &low, &high))
            return;
    }
    c->base = base;
    c->low = low;
    c->high = high;
    keep_text(c, p, prefix);
    c->zulu = zulu;
    c->day = day;
    c->daily = !dated && c->how.type == PST_TIMESTAMP;
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
        keep_date(c, p, n, day);
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
        if (n > LOAD_STRING_BYTES)
            reason = TEXT_LONG_STRING;
        else
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
