/* SPDX-License-Identifier: Apache-2.0 */
/* One text to one value, whatever the column's type. */
#include <float.h>
#include <math.h>
#include <strings.h>
#include "load/text_value.h"

void text_how_init(struct text_how *h, uint8_t type)
{
    *h = (struct text_how){.type = type,
                           .time = LOAD_TIME_AUTO,
                           .date_format = LOAD_DATE_UNSAID,
                           .point = '.',
                           .scale = {1, 1}};
}

const char *text_sentence(int reason, uint8_t type, char out[160])
{
    static const char *const sentence[] = {
#define X(ID, text) text,
        TEXT_REASONS(X)
#undef X
    };
    const char *s = reason >= 0 && (size_t)reason < PST_COUNT(sentence) ? sentence[reason] : "";
    const char *at = strstr(s, "%s");
    if (!at)
        return s;
    const char *name = type_name(type);
    snprintf(out, 160, "%.*s%s%s", (int)(at - s), s, name ? name : "value", at + 2);
    return out;
}

static int hex(char c)
{
    return (unsigned char)(c - '0') < 10         ? c - '0'
           : (unsigned char)((c | 32) - 'a') < 6 ? (c | 32) - 'a' + 10
                                                 : -1;
}

static int boolean(const char *p, size_t n, uint8_t *out)
{
    static const struct {
        char text[6];
        bool value;
    } words[] = {{"0", false},     {"1", true}, {"t", true},  {"f", false},  {"true", true},
                 {"false", false}, {"y", true}, {"n", false}, {"yes", true}, {"no", false}};
    for (unsigned i = 0; i < PST_COUNT(words); i++)
        if (strlen(words[i].text) == n && !strncasecmp(words[i].text, p, n)) {
            *out = words[i].value;
            return TEXT_OK;
        }
    return TEXT_NOT;
}

static int guid(const char *p, size_t n, uint8_t *out)
{
    uint8_t g[16];
    unsigned digits = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '-')
            continue;
        int v = hex(p[i]);
        if (v < 0 || digits == 32)
            return TEXT_NOT;
        g[digits / 2] = (uint8_t)(digits % 2 ? g[digits / 2] | v : v << 4);
        digits++;
    }
    if (digits != 32)
        return TEXT_NOT;
    memcpy(out, g, 16);
    return TEXT_OK;
}

static int whole(const struct text_how *h, const char *p, size_t n, void *out)
{
    int64_t high = h->type == PST_BYTE    ? UINT8_MAX
                   : h->type == PST_SHORT ? INT16_MAX
                   : h->type == PST_INT   ? INT32_MAX
                                          : INT64_MAX;
    int64_t low = h->type == PST_BYTE ? 0 : -high, v;
    int r = text_whole(p, n, h->point, h->thousands, &h->scale, low, high, &v);
    if (r)
        return r;
    memcpy(out, &v, type_width(h->type));
    return TEXT_OK;
}

int text_value(const struct text_how *h, const char *p, size_t n, int32_t day, void *out)
{
    int r;
    switch (h->type) {
    case PST_BOOLEAN:
        return boolean(p, n, out);
    case PST_GUID:
        return guid(p, n, out);
    case PST_CHAR:
        if (n != 1)
            return TEXT_NOT;
        *(char *)out = *p;
        return TEXT_OK;
    case PST_BYTE:
        if (n > 2 && n <= 4 && p[0] == '0' && (p[1] | 32) == 'x') {
            int a = n == 4 ? hex(p[2]) : 0, b = hex(p[n - 1]);
            if (a < 0 || b < 0)
                return TEXT_NOT;
            *(uint8_t *)out = (uint8_t)(a << 4 | b);
            return TEXT_OK;
        }
        return whole(h, p, n, out);
    case PST_SHORT:
    case PST_INT:
    case PST_LONG:
        return whole(h, p, n, out);
    case PST_FLOAT: {
        double v;
        if ((r = text_double(p, n, h->point, h->thousands, &h->scale, &v)))
            return r;
        if (isnan(v))
            put64(out, PST_NULL_FLOAT_BITS);
        else
            memcpy(out, &v, 8);
        return TEXT_OK;
    }
    case PST_REAL: {
        float v;
        if ((r = text_single(p, n, h->point, h->thousands, &h->scale, &v)))
            return r;
        if (isnan(v))
            put32(out, PST_NULL_REAL_BITS);
        else
            memcpy(out, &v, 4);
        return TEXT_OK;
    }
    case PST_MONTH:
        if (n == 7 && (p[4] == '-' || p[4] == '.' || p[4] == '/') &&
            h->time != LOAD_TIME_PATTERN) { /* 2000-02 */
            char date[10];
            memcpy(date, p, 7);
            memcpy(date + 7, p + 4, 1);
            memcpy(date + 8, "01", 2);
            const char *at = date;
            int32_t first;
            if ((r = text_date(h, &at, date + 10, &first)))
                return r;
            struct text_moment m = {.day = first, .dated = true};
            return text_moment_put(h, &m, day, out);
        }
        /* fall through */
    default: {
        struct text_moment m;
        r = text_moment_read(h, p, n, &m);
        return r ? r : text_moment_put(h, &m, day, out);
    }
    }
}
