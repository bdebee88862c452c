/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>
#include "penstock/types.h"
#include "lex.h"

static int at(const struct lex *l, uint32_t i) /* 0 past the end */
{
    return i < l->len ? (uint8_t)l->text[i] : 0;
}
static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}
static bool is_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}
static bool is_word(int c)
{
    return is_start(c) || is_digit(c) || c == '$';
}

/* Returns the offset behind the blanks and comments; UINT32_MAX: a comment does not end, *open is
 * where it starts. */
static uint32_t skip(const struct lex *l, uint32_t i, uint32_t *open)
{
    for (;;) {
        int c = at(l, i);
        if (i < l->len && (c == ' ' || (c >= '\t' && c <= '\r'))) {
            i++;
        } else if (c == '-' && at(l, i + 1) == '-') {
            while (i < l->len && at(l, i) != '\n' && at(l, i) != '\r') {
                i++;
            }
        } else if (c == '/' && at(l, i + 1) == '*') {
            *open = i;
            unsigned depth = 1;
            for (i += 2; depth; i++) {
                if (i >= l->len) {
                    return UINT32_MAX;
                }
                if (at(l, i) == '/' && at(l, i + 1) == '*') {
                    depth++;
                    i++;
                } else if (at(l, i) == '*' && at(l, i + 1) == '/') {
                    depth--;
                    i++;
                }
            }
        } else {
            return i;
        }
    }
}

/* From the opening quote; the offset behind the closing one, 0: there is none. */
static uint32_t quoted(const struct lex *l, uint32_t i, int quote, bool backslash)
{
    for (i++; i < l->len; i++) {
        if (backslash && at(l, i) == '\\') {
            i++;
        } else if (at(l, i) == quote) {
            if (at(l, i + 1) != quote) {
                return i + 1;
            }
            i++;
        }
    }
    return 0;
}

/* $tag$ ... $tag$; 0: not one, UINT32_MAX: does not end. */
static uint32_t dollar(const struct lex *l, uint32_t from)
{
    uint32_t i = from + 1;
    if (is_start(at(l, i))) {
        while ((is_word(at(l, i)) && at(l, i) != '$')) {
            i++;
        }
    }
    if (at(l, i) != '$') {
        return 0;
    }
    uint32_t tag = i + 1 - from;
    const char *body = l->text + i + 1;
    const char *end = memmem(body, l->len - i - 1, l->text + from, tag);
    return end ? (uint32_t)(end - l->text) + tag : UINT32_MAX;
}

static unsigned digit_run(const struct lex *l, uint32_t i)
{
    unsigned n = 0;
    while (n < 32 && is_digit(at(l, i + n))) {
        n++;
    }
    return n;
}

/* HH:MM[:SS[.digits]] at i: its length, 0 = none; *type by its form. */
static uint32_t clock_length(const struct lex *l, uint32_t i, uint8_t *type)
{
    if (digit_run(l, i) != 2 || at(l, i + 2) != ':' || digit_run(l, i + 3) != 2) {
        return 0;
    }
    *type = PST_MINUTE;
    if (at(l, i + 5) != ':' || digit_run(l, i + 6) != 2) {
        return 5;
    }
    *type = PST_SECOND;
    unsigned frac = at(l, i + 8) == '.' ? digit_run(l, i + 9) : 0;
    if (frac == 0) {
        return 8;
    }
    *type = frac <= 3 ? PST_TIME : PST_TIMESPAN;
    return 9 + frac;
}

static uint8_t letter_type(int c)
{
    switch (c) {
#define X(ID, name, number, width, letter)                                                         \
    case letter:                                                                                   \
        return PST_##ID;
        PST_TYPES(X)
#undef X
    default:
        return 0;
    }
}

/* kdb+'s literals that start with a digit; 0: none. */
static uint32_t kdb_length(const struct lex *l, uint32_t i, struct lex_token *t)
{
    unsigned n = digit_run(l, i);
    uint8_t clock;
    uint32_t c, len = 0;
    if (n == 4 && at(l, i + 4) == '.' && digit_run(l, i + 5) == 2) {
        if (at(l, i + 7) == '.' && digit_run(l, i + 8) == 2) {
            t->type = PST_DATE;
            len = 10;
            if ((at(l, i + 10) == 'D' || at(l, i + 10) == 'T') &&
                (c = clock_length(l, i + 11, &clock)) != 0) {
                t->type = PST_TIMESTAMP;
                len = 11 + c;
            }
        } else if (at(l, i + 7) == 'm') {
            t->type = PST_MONTH;
            len = 8;
        }
    } else if (n && at(l, i + n) == 'D' && (c = clock_length(l, i + n + 1, &clock)) != 0) {
        t->type = PST_TIMESPAN;
        len = n + 1 + c;
    } else if (n == 2 && (c = clock_length(l, i, &clock)) != 0) {
        t->type = clock;
        len = c;
    } else if (n == 1 && at(l, i) == '0' && strchr("NnWw", at(l, i + 1)) && at(l, i + 1)) {
        int k = at(l, i + 1);
        t->null = k == 'N' || k == 'n';
        t->type = k == 'N' || k == 'W' ? PST_LONG : PST_FLOAT;
        len = 2;
        uint8_t by_letter = letter_type(at(l, i + 2));
        if (by_letter && by_letter != PST_BOOLEAN && by_letter != PST_BYTE &&
            by_letter != PST_SYMBOL && by_letter != PST_CHAR && (k == 'N' || k == 'W')) {
            t->type = by_letter;
            len = 3;
        }
    }
    int after = len ? at(l, i + len) : 0;
    return len && (is_word(after) || after == ':' || (after == '.' && is_digit(at(l, i + len + 1))))
               ? 0
               : len;
}

static uint32_t number_length(const struct lex *l, uint32_t i)
{
    uint32_t from = i;
    while (is_digit(at(l, i))) {
        i++;
    }
    if (at(l, i) == '.' && at(l, i + 1) != '.') {
        for (i++; is_digit(at(l, i));) {
            i++;
        }
    }
    if (at(l, i) == 'e' || at(l, i) == 'E') {
        uint32_t x = i + 1;
        x += at(l, x) == '+' || at(l, x) == '-';
        if (is_digit(at(l, x))) {
            for (i = x; is_digit(at(l, i));) {
                i++;
            }
        }
    }
    return i - from;
}

static struct lex_token make(struct lex *l, enum lex_kind kind, uint32_t from, uint32_t end)
{
    l->at = end;
    return (struct lex_token){.kind = kind, .at = from, .len = end - from};
}
static struct lex_token broken(struct lex *l, uint32_t from)
{
    return make(l, LEX_BROKEN, from, l->len);
}
static struct lex_token text_token(struct lex *l, uint32_t from, uint32_t end)
{
    return end ? make(l, LEX_TEXT, from, end) : broken(l, from);
}

struct lex_token lex_next(struct lex *l)
{
    uint32_t open = 0, i = skip(l, l->at, &open), end;
    if (i == UINT32_MAX) {
        return broken(l, open);
    }
    if (i >= l->len) {
        return make(l, LEX_END, l->len, l->len);
    }
    int c = at(l, i), next = at(l, i + 1);
    if (c == '\'') {
        return text_token(l, i, quoted(l, i, '\'', false));
    }
    if (next == '\'' && strchr("eEbBxXnN", c) && c) {
        return text_token(l, i, quoted(l, i + 1, '\'', c == 'e' || c == 'E'));
    }
    if ((c == 'u' || c == 'U') && next == '&' && (at(l, i + 2) == '\'' || at(l, i + 2) == '"')) {
        end = quoted(l, i + 2, at(l, i + 2), false);
        return !end                  ? broken(l, i)
               : at(l, i + 2) == '"' ? make(l, LEX_QUOTED, i, end)
                                     : make(l, LEX_TEXT, i, end);
    }
    if (c == '"') {
        end = quoted(l, i, '"', false);
        return end ? make(l, LEX_QUOTED, i, end) : broken(l, i);
    }
    if (is_start(c)) {
        for (end = i + 1; is_word(at(l, end)) && end < l->len;) {
            end++;
        }
        return make(l, LEX_WORD, i, end);
    }
    if (c == '$') {
        if (is_digit(next)) {
            for (end = i + 1; is_digit(at(l, end));) {
                end++;
            }
            return make(l, LEX_PARAM, i, end);
        }
        end = dollar(l, i);
        return end == UINT32_MAX ? broken(l, i)
                                 : make(l, end ? LEX_TEXT : LEX_OP, i, end ? end : i + 1);
    }
    if (is_digit(c) || (c == '.' && is_digit(next))) {
        struct lex_token k = {0};
        uint32_t n = is_digit(c) ? kdb_length(l, i, &k) : 0;
        if (n) {
            struct lex_token t = make(l, LEX_KDB, i, i + n);
            t.type = k.type;
            t.null = k.null;
            return t;
        }
        return make(l, LEX_NUMBER, i, i + number_length(l, i));
    }
    if (c == '`') {
        for (end = i + 1;
             end < l->len && ((is_word(at(l, end)) && at(l, end) != '$') || at(l, end) == '.' ||
                              at(l, end) == '/' || at(l, end) == ':' || at(l, end) == '-');) {
            if (at(l, end) == ':' && at(l, end + 1) == ':') {
                break; /* a cast */
            }
            end++;
        }
        return make(l, LEX_SYMBOL, i, end);
    }
    if (c == ':' && next == ':') {
        return make(l, LEX_OP, i, i + 2);
    }
    if (c == ':' && next == '=') {
        return make(l, LEX_OP, i, i + 2);
    }
    if (c == ':' && is_start(next)) {
        for (end = i + 1; is_word(at(l, end)) && end < l->len;) {
            end++;
        }
        return make(l, LEX_NAMED, i, end);
    }
    return make(l, LEX_OP, i, i + 1);
}

bool lex_is(const struct lex *l, const struct lex_token *t, const char *word)
{
    return t->kind == LEX_WORD && strlen(word) == t->len &&
           !strncasecmp(l->text + t->at, word, t->len);
}
