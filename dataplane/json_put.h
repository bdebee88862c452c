/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_put.h - JSON by hand into a caller's buffer, for the marks that the appender writes itself:
 * no allocation, no system call. A writer that ran out of space says so in `full` and keeps what it
 * had: the caller drops the text. Any thread, its own writer.
 */
#pragma once

#include "core/base.h"

struct json_put {
    char *at, *end;
    bool full;
};

pst_inline void json_put_start(struct json_put *j, char *buf, size_t bytes)
{
    *j = (struct json_put){buf, buf + bytes, false};
}
static inline void json_put_raw(struct json_put *j, const char *text, size_t n)
{
    if (j->full || (size_t)(j->end - j->at) < n) {
        j->full = true;
        return;
    }
    memcpy(j->at, text, n);
    j->at += n;
}
#define json_put_lit(j, literal) json_put_raw((j), (literal), sizeof(literal) - 1)

static inline void json_put_u64(struct json_put *j, uint64_t v)
{
    char t[20], *p = t + sizeof t;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    json_put_raw(j, p, (size_t)(t + sizeof t - p));
}
static inline void json_put_i64(struct json_put *j, int64_t v)
{
    if (v < 0)
        json_put_lit(j, "-");
    json_put_u64(j, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}
/* A quoted string. Bytes that are not printable ASCII become \u00XX: the text of a session comes
 * from the wire and need not be UTF-8. */
static inline void json_put_text(struct json_put *j, const char *text, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    json_put_lit(j, "\"");
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
            json_put_raw(j, text + i, 1);
        } else {
            char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            json_put_raw(j, u, sizeof u);
        }
    }
    json_put_lit(j, "\"");
}
