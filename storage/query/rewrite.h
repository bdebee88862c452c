/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.h - Penstock's SQL to PostgreSQL's, token by token, so that libpg_query reads it.
 *
 *   FROM t LATEST BY sym, venue        taken out (blanks), noted in `latest`
 *   FROM t LATEST ON time PARTITION BY sym   the same (QuestDB's words)
 *   t a ASOF [LEFT] JOIN q b USING (...)     "ASOF JOIN" becomes "LEFT JOIN", noted in `asof`
 *   `AAPL                              'AAPL'::symbol;  `A`B is a list: 'A'::symbol,'B'::symbol
 *   2024.01.02 2024.01.02D09:30:00 2024.01m 09:30 09:30:00 09:30:00.000 0D00:05:00
 *                                      '2024.01.02'::date and so on
 *   0N 0n 0W 0w, with a letter 0Nd     (NULL::date), '0W'::long
 *   :name                              $n, n from 1001 up; the names in `param`
 *   cross, primary                     "cross", "primary", columns of ITCH's tables; not before
 *                                      JOIN, KEY
 *   ; at the end                       taken out
 *
 * Texts, comments, quoted names and dollar-quoted texts are never touched. Words count only as
 * words: a quoted "latest" is a name. What else looks like LATEST or ASOF (a column `latest`, an
 * alias `asof` without JOIN behind it) stays as it is.
 *
 * Also the guard in front of the parser: length, NUL bytes, nesting (libpg_query and protobuf
 * recurse) and the number of tokens are bounded here.
 */
#pragma once

#include "plan.h"
#include "query.h"

#define REWRITE_TEXT_MAX   (1u << 20) /* bytes of SQL */
#define REWRITE_TOKENS_MAX 100000u
#define REWRITE_DEPTH_MAX  400u /* nesting plus operators in a row */
#define REWRITE_NAMED      1001 /* $n of the first :name */
#define REWRITE_NAMES_MAX  64u

struct rewrite_name {
    uint32_t at, len; /* in the user's text; with the quotes if quoted; LATEST BY a.sym: of sym */
};

struct rewrite {
    char *sql; /* for libpg_query, NUL-terminated */
    size_t len;
    uint32_t *from; /* of each byte of sql (and its end): the offset in the user's text */
    unsigned nlatest;
    struct rewrite_name latest[PLAN_KEYS_MAX];
    uint32_t latest_at; /* position of LATEST */
    bool latest_after_where;
    unsigned nasof;   /* ASOF JOINs */
    uint32_t asof_at; /* of the first */
    int64_t join_at;  /* the first JOIN that is not ASOF's, -1 = none */
    unsigned nparams;
    struct rewrite_name param[REWRITE_NAMES_MAX];
};

/* False: e, nothing to free. */
bool rewrite_sql(const char *text, size_t len, struct rewrite *out, struct query_error *e);
void rewrite_free(struct rewrite *r);
/* An offset in r->sql as one in the user's text. */
int64_t rewrite_position(const struct rewrite *r, int64_t offset);
