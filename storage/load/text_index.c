/* SPDX-License-Identifier: Apache-2.0 */
/* Where fields and rows end: by the byte, as it is defined. */
#include "load/text_parts.h"

static bool stands(const uint8_t *what, unsigned n, const char *p, const char *end)
{
    return (size_t)(end - p) >= n && !memcmp(what, p, n);
}

void text_index_bytes(const struct text_syntax *s, const char *p, uint32_t n, uint32_t from,
                      uint32_t to, struct text_at *at, struct text_index *x)
{
    enum text_state state = at->state;
    bool escaped = at->escaped;
    uint32_t i = from;
    for (; i < to; i++) {
        uint8_t c = (uint8_t)p[i];
        x->nul |= !c;
        x->lines += c == '\n';
        if (state == TEXT_COMMENT) {
            if (c != '\n')
                continue;
        } else if (escaped) {
            escaped = false;
            continue;
        } else if (state == TEXT_ROW && s->ncomment &&
                   stands(s->comment, s->ncomment, p + i, p + n)) {
            state = TEXT_COMMENT;
            continue;
        } else if (c == s->escape) {
            escaped = true;
            x->careful = true;
            x->behind |= state == TEXT_CLOSED;
            state = state == TEXT_QUOTED ? TEXT_QUOTED : TEXT_PLAIN;
            continue;
        } else if (c == s->quote) {
            if (state == TEXT_ROW || state == TEXT_FIELD) {
                state = TEXT_QUOTED;
            } else if (state == TEXT_QUOTED) {
                state = TEXT_CLOSED;
            } else {
                state = state == TEXT_CLOSED ? TEXT_QUOTED : TEXT_PLAIN;
                x->careful = true;
            }
            continue;
        } else if (state == TEXT_QUOTED) {
            continue;
        } else if (c == s->separator[0] && stands(s->separator, s->nseparator, p + i, p + n)) {
            x->mark[x->marks++] = i;
            state = TEXT_FIELD;
            i += s->nseparator - 1;
            continue;
        }
        if (c == '\n') {
            x->mark[x->marks++] = i;
            x->row[x->rows++] = x->marks;
            state = TEXT_ROW;
        } else {
            x->behind |= state == TEXT_CLOSED && !(c == '\r' && i + 1 < n && p[i + 1] == '\n');
            state = TEXT_PLAIN;
        }
    }
    at->state = state;
    at->escaped = escaped;
}
