/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lex.h - SQL's tokens, as PostgreSQL sees them, and kdb+'s literals. Enough to find words outside
 * of texts, comments and quoted names; never reads past the end; any bytes are allowed.
 */
#pragma once

#include <core/base.h>

enum lex_kind {
    LEX_END,
    LEX_WORD,    /* identifier or keyword without quotes */
    LEX_QUOTED,  /* "name", with its quotes */
    LEX_TEXT,    /* '...', E'...', B'', X'', N'', U&'', $tag$...$tag$ */
    LEX_NUMBER,  /* as PostgreSQL's */
    LEX_KDB,     /* a temporal literal of kdb+ without quotes: 2024.01.02, 09:30, 0D00:05, 0N ... */
    LEX_SYMBOL,  /* `AAPL, ` */
    LEX_PARAM,   /* $1 */
    LEX_NAMED,   /* :name */
    LEX_OP,      /* any other run that belongs together (::, <=) or single character */
    LEX_COMMENT, /* -- or nested slash-star; only if asked for */
    LEX_BROKEN,  /* a text, comment or quoted name that does not end */
};

struct lex_token {
    enum lex_kind kind;
    uint32_t at, len;
    uint8_t type; /* LEX_KDB: enum pst_type */
    bool null;    /* LEX_KDB: 0N and its kin */
};

struct lex {
    const char *text;
    uint32_t len, at;
};

/* The next token; blanks and comments are skipped. */
struct lex_token lex_next(struct lex *l);

/* Is a WORD token this one, without case? */
bool lex_is(const struct lex *l, const struct lex_token *t, const char *word);
