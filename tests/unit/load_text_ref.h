/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_text_ref.h - what delimited text means, read slowly: the whole text at once, a byte at a
 * time, strings only. It shares nothing with the reader; what it says of a text is compared with
 * what the kit (load_text_kit.h) says of the reader's rows.
 */
#pragma once

#include "load_text_kit.h"

struct ref_syntax {
    const char *separator;
    char quote, escape; /* 0 = none */
    const char *comment;
    unsigned columns;
    bool ragged, rest;
};

struct ref {
    const struct ref_syntax *s;
    const char *p, *end; /* the text; a '\n' is added where there is none */
    struct kit_text rows, rejects;
    const char *prefix; /* of every row */
};

/* From p: where the field ends (a separator or '\n'), or NULL: it never does. */
static inline const char *ref_field(const struct ref *r, const char *p)
{
    const struct ref_syntax *s = r->s;
    size_t sep = strlen(s->separator);
    bool quoted = s->quote && *p == s->quote;
    if (quoted)
        p++;
    while (quoted) {
        if (p >= r->end)
            return NULL;
        if (s->escape && *p == s->escape) {
            p += 2;
        } else if (*p == s->quote && p + 1 < r->end && p[1] == s->quote) {
            p += 2;
        } else {
            quoted = *p != s->quote;
            p++;
        }
    }
    for (; p < r->end; p++) {
        if (s->escape && *p == s->escape) {
            p++;
            continue;
        }
        if (*p == '\n' || ((size_t)(r->end - p) >= sep && !memcmp(p, s->separator, sep)))
            return p;
    }
    return NULL;
}

/* The meaning of a field into out; NULL or what is wrong. */
static inline const char *ref_meaning(const struct ref *r, const char *p, const char *end,
                                      struct kit_text *out)
{
    const struct ref_syntax *s = r->s;
    bool quoted = p < end && s->quote && *p == s->quote, closed = false;
    char *text = malloc((size_t)(end - p) + 1);
    size_t n = 0;
    const char *wrong = NULL;
    for (p += quoted; p < end && !wrong; p++) {
        if (s->escape && *p == s->escape) {
            if (closed) {
                wrong = "there is text behind the closing quote";
            } else if (++p == end) {
                wrong = "the quotes do not close";
            } else {
                static const char from[] = "nrt0", to[] = "\n\r\t";
                const char *at = s->escape == '\\' && *p ? strchr(from, *p) : NULL;
                text[n++] = at ? to[at - from] : *p;
            }
        } else if (closed) {
            wrong = "there is text behind the closing quote";
        } else if (quoted && *p == s->quote) {
            if (p + 1 < end && p[1] == s->quote)
                text[n++] = *p++;
            else
                closed = true;
        } else {
            text[n++] = *p;
        }
    }
    if (!wrong && quoted && !closed)
        wrong = "the quotes do not close";
    if (!wrong && n)
        kit_bytes(out, text, n);
    else if (!wrong)
        kit_add(out, ".");
    free(text);
    return wrong;
}

static inline void ref_reject(struct ref *r, unsigned line, unsigned column, const char *why,
                              const char *p, const char *end)
{
    static const char *const names[] = {"", "a", "b", "c"};
    kit_add(&r->rejects, "%u %s: %s ", line, names[column], why);
    kit_bytes(&r->rejects, p, (size_t)(end - (end > p && end[-1] == '\r') - p));
    kit_add(&r->rejects, "\n");
}

static inline void ref_read(struct ref *r, const struct ref_syntax *s, const char *prefix,
                            const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    memcpy(copy, text, n);
    copy[n] = '\n';
    *r = (struct ref){.s = s, .p = copy, .end = copy + n, .prefix = prefix};
    if (n && text[n - 1] != '\n')
        r->end++;
    unsigned line = 1;
    for (const char *row = copy, *next; row < r->end; row = next) {
        const char *field[64], *stop[64];
        unsigned fields = 0;
        const char *first = memchr(row, '\n', (size_t)(r->end - row));
        size_t comment = s->comment ? strlen(s->comment) : 0;
        next = first + 1;
        if (comment && (size_t)(first - row) >= comment && !memcmp(row, s->comment, comment)) {
            line++;
            continue;
        }
        const char *p = row, *e;
        while ((e = ref_field(r, p))) {
            pst_must(fields < 64);
            field[fields] = p;
            stop[fields++] = e;
            if (*e == '\n')
                break;
            p = e + strlen(s->separator);
        }
        if (!e) { /* one line of it is bad */
            ref_reject(r, line++, 0, "the quotes do not close", row, first);
            continue;
        }
        next = e + 1;
        unsigned at = line;
        for (const char *q = row; q < next; q++)
            line += *q == '\n';
        if (fields == 1 && (e == row || (e == row + 1 && *row == '\r')))
            continue;
        stop[fields - 1] -= e > field[fields - 1] && e[-1] == '\r';
        unsigned seen = fields;
        if (fields > s->columns && s->rest) {
            stop[s->columns - 1] = stop[fields - 1];
            fields = s->columns;
        }
        if (fields > s->columns || (fields < s->columns && !s->ragged)) {
            char why[80];
            snprintf(why, sizeof why, "the row has %u fields, and the file %u columns", seen,
                     s->columns);
            bool lines = first < e; /* quotes are wrong: the next line is a row */
            ref_reject(r, at, 0,
                       lines ? "a quote in it closes on a later line, and that makes no row" : why,
                       row, lines ? first : e);
            next = lines ? first + 1 : next;
            line = lines ? at + 1 : line;
            continue;
        }
        struct kit_text out = {0};
        kit_add(&out, "%s", prefix);
        unsigned i = 0, stray = 0; /* text behind a quote that came from the line before */
        for (unsigned c = 0; c < s->columns && c < fields && first < e && !stray; c++) {
            struct kit_text none = {0};
            const char *wrong = ref_meaning(r, field[c], stop[c], &none);
            stray = wrong && strstr(wrong, "behind") ? c + 1 : 0;
            free(none.p);
        }
        if (stray) {
            ref_reject(r, at, stray, "there is text behind the closing quote", row, first);
            next = first + 1;
            line = at + 1;
            i = s->columns + 1;
        }
        for (; i < s->columns; i++) {
            kit_add(&out, "|");
            const char *wrong = NULL;
            if (i < fields)
                wrong = ref_meaning(r, field[i], stop[i], &out);
            else
                kit_add(&out, ".");
            if (wrong) {
                ref_reject(r, at, i + 1, wrong, row, e);
                break;
            }
        }
        if (i == s->columns)
            kit_add(&r->rows, "%s\n", out.p);
        free(out.p);
    }
    free(copy);
}
static inline void ref_close(struct ref *r)
{
    free(r->rows.p);
    free(r->rejects.p);
}
