/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_render.h"

#include <math.h>
#include "storage/query/literal.h"

struct text { /* one cell; grows, is reused */
    char *at;
    size_t len, room;
};

static void put(struct text *t, const char *p, size_t n)
{
    if (t->len + n + 1 > t->room) {
        size_t room = 2 * (t->len + n + 64);
        t->at = realloc(t->at, room);
        pst_must(t->at);
        t->room = room;
    }
    memcpy(t->at + t->len, p, n);
    t->len += n;
    t->at[t->len] = 0;
}

/* Bytes of the UTF-8 character at p, 0 = there is none that may be printed. */
static unsigned utf8(const uint8_t *p, size_t n)
{
    if (*p < 0x80)
        return *p >= ' ' && *p != 127;
    unsigned k = *p >= 0xC2 && *p < 0xE0   ? 2
                 : (*p & 0xF0) == 0xE0     ? 3
                 : *p >= 0xF0 && *p < 0xF5 ? 4
                                           : 0;
    if (!k || k > n)
        return 0;
    for (unsigned i = 1; i < k; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] >= 0xA0) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] >= 0x90) ||
        (p[0] == 0xC2 && p[1] < 0xA0))
        return 0;
    return k;
}

static bool printable(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned k = utf8((const uint8_t *)s + i, n - i);
        if (!k)
            return false;
        i += k;
    }
    return true;
}

static void put_text(struct text *t, const char *s, size_t n)
{
    if (printable(s, n)) {
        put(t, s, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        char hex[8];
        if (c == '\\')
            put(t, "\\\\", 2);
        else if (c >= ' ' && c < 127)
            put(t, s + i, 1);
        else
            put(t, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", c));
    }
}

static void put_json(struct text *t, const char *s, size_t n)
{
    bool ok = printable(s, n);
    put(t, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        char hex[8];
        if (c == '"' || c == '\\')
            put(t, c == '"' ? "\\\"" : "\\\\", 2);
        else if ((c >= ' ' && c < 127) || (c >= 0x80 && ok))
            put(t, s + i, 1);
        else
            put(t, hex, (size_t)snprintf(hex, sizeof hex, "\\u%04x", c));
    }
    put(t, "\"", 1);
}

/* 2026.11.23D09:30:00.0 -> 2026-11-23T09:30:00.0Z */
static void to_iso(uint8_t type, char *s, uint32_t *n)
{
    if (type != PST_TIMESTAMP && type != PST_DATE && type != PST_MONTH)
        return;
    unsigned dots = 0;
    for (uint32_t i = 0; i < *n && s[i] != 'D'; i++)
        if (s[i] == '.' && dots++ < 2)
            s[i] = '-';
    char *d = type == PST_TIMESTAMP ? memchr(s, 'D', *n) : NULL;
    if (d) {
        *d = 'T';
        s[(*n)++] = 'Z';
    }
}

/* A value that is neither null nor text. */
static uint32_t value(const struct result *r, uint32_t col, uint64_t row,
                      const struct sql_style *style, char out[LITERAL_TEXT + 2])
{
    struct scalar s = {.type = r->col[col].type};
    if (s.type == PST_GUID)
        memcpy(s.guid, (const uint8_t *)r->col[col].data + 16 * row, 16);
    else if (s.type == PST_FLOAT || s.type == PST_REAL)
        s.f = result_float(r, col, row);
    else
        s.i = result_int(r, col, row);
    if (s.type == PST_TIMESTAMP && style && !style->iso)
        s.i = time_shown(style->shown, s.i);
    uint32_t n = literal_text(&s, out);
    if (style && style->iso)
        to_iso(s.type, out, &n);
    return n;
}

static bool is_text(uint8_t type)
{
    return type == PST_SYMBOL || type == PST_STRING || type == PST_CHAR;
}

static bool is_number(uint8_t type)
{
    return type >= PST_SHORT && type <= PST_FLOAT;
}

static void cell(const struct result *r, uint32_t col, uint64_t row, const struct sql_style *style,
                 struct text *t)
{
    char buf[LITERAL_TEXT + 2];
    uint32_t n;
    t->len = 0;
    put(t, "", 0);
    if (result_is_null(r, col, row))
        return;
    if (r->col[col].type == PST_CHAR) {
        buf[0] = (char)result_int(r, col, row);
        put_text(t, buf, 1);
    } else if (is_text(r->col[col].type)) {
        const char *s = result_text(r, col, row, &n);
        put_text(t, s, n);
    } else {
        n = value(r, col, row, style, buf);
        put(t, buf, n);
    }
}

static uint32_t width(const char *s, size_t n)
{
    uint32_t w = 0;
    for (size_t i = 0; i < n; i++)
        w += ((uint8_t)s[i] & 0xC0) != 0x80;
    return w;
}

/* Column names, equal ones told apart. */
static char (*names(const struct result *r))[RESULT_NAME_MAX + 12]
{
    char(*name)[RESULT_NAME_MAX + 12] = calloc(r->ncols + 1, sizeof *name);
    pst_must(name);
    for (uint32_t i = 0; i < r->ncols; i++) {
        unsigned same = 1;
        for (uint32_t k = 0; k < i; k++)
            same += !strcmp(r->col[k].name, r->col[i].name);
        if (same > 1)
            snprintf(name[i], sizeof *name, "%s_%u", r->col[i].name, same);
        else
            snprintf(name[i], sizeof *name, "%s", r->col[i].name);
    }
    return name;
}

static void pad(FILE *out, uint32_t n, char c)
{
    while (n--)
        putc(c, out);
}

static void table(const struct result *r, char (*name)[RESULT_NAME_MAX + 12],
                  const struct sql_style *style, FILE *out)
{
    uint32_t *w = calloc(r->ncols + 1, sizeof *w), total = 0;
    struct text t = {0};
    pst_must(w);
    for (uint32_t c = 0; c < r->ncols; c++) {
        w[c] = width(name[c], strlen(name[c]));
        for (uint64_t row = 0; row < r->rows; row++) {
            cell(r, c, row, style, &t);
            uint32_t n = width(t.at, t.len);
            w[c] = n > w[c] ? n : w[c];
        }
        total += w[c] + (c > 0);
    }
    for (uint64_t row = 0; row <= r->rows; row++) {
        for (uint32_t c = 0; c < r->ncols; c++) {
            bool right = is_number(r->col[c].type), last = c + 1 == r->ncols;
            t.len = 0;
            if (row)
                cell(r, c, row - 1, style, &t);
            else
                put(&t, name[c], strlen(name[c]));
            uint32_t space = w[c] - width(t.at, t.len);
            pad(out, right ? space : 0, ' ');
            fwrite(t.at, 1, t.len, out);
            pad(out, right || last ? 0 : space, ' ');
            putc(last ? '\n' : ' ', out);
        }
        if (!row && r->ncols) {
            pad(out, total, '-');
            putc('\n', out);
        }
    }
    free(t.at);
    free(w);
}

static void csv_field(FILE *out, const char *s, size_t n)
{
    bool quote = false;
    for (size_t i = 0; i < n; i++)
        quote |= s[i] == ',' || s[i] == '"' || s[i] == '\n' || s[i] == '\r';
    if (quote)
        putc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            putc('"', out);
        putc(s[i], out);
    }
    if (quote)
        putc('"', out);
}

static void csv(const struct result *r, char (*name)[RESULT_NAME_MAX + 12],
                const struct sql_style *style, FILE *out)
{
    struct text t = {0};
    for (uint32_t c = 0; c < r->ncols; c++) {
        csv_field(out, name[c], strlen(name[c]));
        putc(c + 1 < r->ncols ? ',' : '\n', out);
    }
    for (uint64_t row = 0; row < r->rows; row++)
        for (uint32_t c = 0; c < r->ncols; c++) {
            cell(r, c, row, style, &t);
            csv_field(out, t.at, t.len);
            putc(c + 1 < r->ncols ? ',' : '\n', out);
        }
    free(t.at);
}

static void json_cell(const struct result *r, uint32_t c, uint64_t row,
                      const struct sql_style *style, struct text *t)
{
    char buf[LITERAL_TEXT + 2];
    uint8_t type = r->col[c].type;
    uint32_t n;
    if (type == PST_STRING || (is_text(type) && !result_is_null(r, c, row))) {
        buf[0] = type == PST_CHAR ? (char)result_int(r, c, row) : 0;
        const char *s = type == PST_CHAR ? (n = 1, buf) : result_text(r, c, row, &n);
        put_json(t, s, n);
        return;
    }
    if (result_is_null(r, c, row)) {
        put(t, "null", 4);
        return;
    }
    n = value(r, c, row, style, buf);
    bool bare = type == PST_BOOLEAN || (is_number(type) && type != PST_REAL && type != PST_FLOAT) ||
                ((type == PST_REAL || type == PST_FLOAT) && isfinite(result_float(r, c, row)));
    if (bare && *buf == '.') /* JSON wants a digit there */
        put(t, "0", 1);
    put(t, bare ? "" : "\"", !bare);
    put(t, buf, n);
    put(t, bare ? "" : "\"", !bare);
}

static void json(const struct result *r, char (*name)[RESULT_NAME_MAX + 12],
                 const struct sql_style *style, json_t *extra, FILE *out)
{
    struct text t = {0};
    const char *key;
    json_t *v;
    fputs("{\"columns\":[", out);
    for (uint32_t c = 0; c < r->ncols; c++) {
        t.len = 0;
        put_json(&t, name[c], strlen(name[c]));
        fprintf(out, "%s{\"name\":%s,\"type\":\"%s\"}", c ? "," : "", t.at,
                type_name(r->col[c].type));
    }
    fputs("],\n \"rows\":[", out);
    for (uint64_t row = 0; row < r->rows; row++) {
        t.len = 0;
        put(&t, row ? ",\n  {" : "\n  {", row ? 5 : 4);
        for (uint32_t c = 0; c < r->ncols; c++) {
            put(&t, ",", c > 0);
            put_json(&t, name[c], strlen(name[c]));
            put(&t, ":", 1);
            json_cell(r, c, row, style, &t);
        }
        put(&t, "}", 1);
        fwrite(t.at, 1, t.len, out);
    }
    fprintf(out, "],\n \"count\":%llu", (unsigned long long)r->rows);
    json_object_foreach(extra, key, v)
    {
        char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
        fprintf(out, ",\n \"%s\":%s", key, text ? text : "null");
        free(text);
    }
    fputs("}\n", out);
    free(t.at);
}

bool sql_render(const struct result *r, enum sql_format format, const struct sql_style *style,
                json_t *extra, FILE *out)
{
    char(*name)[RESULT_NAME_MAX + 12] = names(r);
    if (format == SQL_TABLE)
        table(r, name, style, out);
    else if (format == SQL_CSV)
        csv(r, name, style, out);
    else
        json(r, name, style, extra, out);
    free(name);
    return !fflush(out) && !ferror(out);
}
