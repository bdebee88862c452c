/* SPDX-License-Identifier: Apache-2.0 */
#include "lex.h"
#include "rewrite.h"

#include "core/schema.h"

struct maker {
    const char *text;
    struct rewrite *r;
    size_t room;
    uint32_t done; /* user's text copied up to here */
    bool failed;
};

static void put(struct maker *m, const char *p, size_t n, uint32_t from, bool moving)
{
    struct rewrite *r = m->r;
    if (r->len + n + 1 > m->room) {
        size_t room = (r->len + n + 1) * 2;
        char *sql = realloc(r->sql, room);
        r->sql = sql ? sql : r->sql;
        uint32_t *at = sql ? realloc(r->from, room * sizeof *at) : NULL;
        r->from = at ? at : r->from;
        if (!sql || !at) {
            m->failed = true;
            return;
        }
        m->room = room;
    }
    for (size_t i = 0; i < n; i++) {
        r->from[r->len + i] = from + (moving ? (uint32_t)i : 0);
    }
    memcpy(r->sql + r->len, p, n);
    r->len += n;
}
static void copy_to(struct maker *m, uint32_t to)
{
    put(m, m->text + m->done, to - m->done, m->done, true);
    m->done = to;
}
static void replace(struct maker *m, uint32_t at, uint32_t len, const char *by)
{
    copy_to(m, at);
    put(m, by, strlen(by), at, false);
    m->done = at + len;
}
static void blank(struct maker *m, uint32_t at, uint32_t end)
{
    copy_to(m, at);
    while (at < end) {
        put(m, m->text[at] == '\n' ? "\n" : " ", 1, at, true);
        at++;
    }
    m->done = end;
}

static struct lex_token peek(const struct lex *l, struct lex *after)
{
    *after = *l;
    return lex_next(after);
}
static bool is_op(const struct lex *l, const struct lex_token *t, char c)
{
    return t->kind == LEX_OP && t->len == 1 && l->text[t->at] == c;
}

/* name[.name][, name[.name]]... from l on: notes the names, returns the end of the last. */
static uint32_t name_list(struct lex *l, struct rewrite *r, struct query_error *e)
{
    uint32_t end = 0;
    for (;;) {
        struct lex_token t = lex_next(l);
        struct lex after;
        struct lex_token dot = peek(l, &after);
        if (is_op(l, &dot, '.')) {
            *l = after;
            t = lex_next(l);
        }
        if (t.kind != LEX_WORD && t.kind != LEX_QUOTED) {
            query_error_set(e, QUERY_SYNTAX, t.at,
                            "LATEST BY wants column names: LATEST BY sym, or LATEST BY sym, venue");
            return 0;
        }
        if (r->nlatest == PLAN_KEYS_MAX) {
            query_error_set(e, QUERY_UNSUPPORTED, t.at, "LATEST BY takes at most %u columns",
                            PLAN_KEYS_MAX);
            return 0;
        }
        r->latest[r->nlatest++] = (struct rewrite_name){t.at, t.len};
        end = t.at + t.len;
        struct lex_token comma = peek(l, &after);
        if (!is_op(l, &comma, ',')) {
            return end;
        }
        *l = after;
    }
}

/* At the word LATEST: is it the clause? Then it is taken out. 0 no, 1 yes, -1 error. */
static int latest_clause(struct maker *m, struct lex *l, const struct lex_token *word,
                         struct query_error *e)
{
    struct lex a, b;
    struct lex_token t = peek(l, &a);
    if (lex_is(l, &t, "on")) { /* LATEST ON time PARTITION BY */
        struct lex_token time = lex_next(&a);
        if (time.kind != LEX_WORD && time.kind != LEX_QUOTED) {
            return 0;
        }
        t = peek(&a, &b);
        if (!lex_is(l, &t, "partition")) {
            return 0;
        }
        if (!lex_is(l, &time, "time")) {
            query_error_set(e, QUERY_UNSUPPORTED, time.at,
                            "the latest row is the one with the largest time: LATEST BY sym");
            return -1;
        }
        a = b;
        t = lex_next(&a);
    }
    if (!lex_is(l, &t, "by")) {
        return 0;
    }
    if (m->r->nlatest) {
        query_error_set(e, QUERY_SYNTAX, word->at, "LATEST BY stands twice");
        return -1;
    }
    *l = a;
    uint32_t end = name_list(l, m->r, e);
    if (!end) {
        return -1;
    }
    m->r->latest_at = word->at;
    blank(m, word->at, end);
    return 1;
}

/* At the word ASOF: followed by [LEFT [OUTER]] JOIN? */
static bool asof_clause(struct maker *m, struct lex *l, const struct lex_token *word)
{
    struct lex a;
    struct lex_token t = peek(l, &a), left = {0};
    if (lex_is(l, &t, "left")) {
        left = t;
        t = lex_next(&a);
        if (lex_is(l, &t, "outer")) {
            t = lex_next(&a);
        }
    }
    if (!lex_is(l, &t, "join")) {
        return false;
    }
    if (left.len) {
        blank(m, word->at, word->at + word->len);
    } else {
        replace(m, word->at, word->len, "LEFT");
    }
    if (!m->r->nasof++) {
        m->r->asof_at = word->at;
    }
    *l = a;
    return true;
}

static void kdb_literal(struct maker *m, const struct lex_token *t)
{
    char buf[96];
    if (t->null) {
        snprintf(buf, sizeof buf, "(NULL::%s)", type_name(t->type));
    } else if (m->text[t->at] == '0' && (m->text[t->at + 1] == 'W' || m->text[t->at + 1] == 'w')) {
        bool real = t->type == PST_FLOAT || t->type == PST_REAL;
        snprintf(buf, sizeof buf, "'%s'::%s", real ? "0w" : "0W",
                 t->type == PST_FLOAT  ? "float8"
                 : t->type == PST_REAL ? "float4"
                                       : type_name(t->type));
    } else {
        snprintf(buf, sizeof buf, "'%.*s'::%s", (int)(t->len > 60 ? 60 : t->len), m->text + t->at,
                 t->type == PST_TIME ? "time" : type_name(t->type));
    }
    replace(m, t->at, t->len, buf);
}

static void symbol_literal(struct maker *m, const struct lex_token *t, bool list)
{
    char buf[300];
    if (t->len == 1) {
        snprintf(buf, sizeof buf, "%sNULL::symbol", list ? "," : "");
    } else {
        snprintf(buf, sizeof buf, "%s'%.*s'::symbol", list ? "," : "",
                 (int)(t->len > 256 ? 256 : t->len) - 1, m->text + t->at + 1);
    }
    replace(m, t->at, t->len, buf);
}

static bool named_param(struct maker *m, const struct lex_token *t, struct query_error *e)
{
    struct rewrite *r = m->r;
    unsigned i = 0;
    for (; i < r->nparams; i++) {
        if (r->param[i].len == t->len - 1 &&
            !memcmp(m->text + r->param[i].at, m->text + t->at + 1, t->len - 1)) {
            break;
        }
    }
    if (i == REWRITE_NAMES_MAX) {
        return query_error_set(e, QUERY_UNSUPPORTED, t->at, "more than %u named parameters",
                               REWRITE_NAMES_MAX);
    }
    if (i == r->nparams) {
        r->param[r->nparams++] = (struct rewrite_name){t->at + 1, t->len - 1};
    }
    char buf[32];
    snprintf(buf, sizeof buf, "$%u", REWRITE_NAMED + i);
    replace(m, t->at, t->len, buf);
    return true;
}

/*
 * How deep may the parse tree become? Brackets nest; operators, casts and prefix words in a row
 * make it deeper one by one, until a comma, AND or OR (whose chains are flat) starts anew.
 */
struct depth {
    uint16_t saved[REWRITE_DEPTH_MAX + 1]; /* by bracket: operators seen before it */
    unsigned level, run, below;            /* below: sum of saved */
};

static bool depth_token(struct depth *d, const struct lex *l, const struct lex_token *t)
{
    char c = t->kind == LEX_OP ? l->text[t->at] : 0;
    if (c == '(' || c == '[') {
        if (d->level == REWRITE_DEPTH_MAX) {
            return false;
        }
        d->saved[d->level++] = (uint16_t)d->run;
        d->below += d->run + 1;
        d->run = 0;
    } else if (c == ')' || c == ']') {
        if (d->level) {
            d->run = d->saved[--d->level];
            d->below -= d->run + 1;
        }
    } else if (c == ',' || lex_is(l, t, "and") || lex_is(l, t, "or")) {
        d->run = 0;
    } else if (t->kind == LEX_OP || lex_is(l, t, "not") || lex_is(l, t, "case") ||
               lex_is(l, t, "is") || lex_is(l, t, "at") || lex_is(l, t, "collate") ||
               lex_is(l, t, "join") || lex_is(l, t, "union") || lex_is(l, t, "except") ||
               lex_is(l, t, "intersect") || lex_is(l, t, "in") || lex_is(l, t, "like") ||
               lex_is(l, t, "between") || lex_is(l, t, "else") || lex_is(l, t, "explain") ||
               lex_is(l, t, "isnull") || lex_is(l, t, "notnull") || lex_is(l, t, "ilike")) {
        d->run++;
    }
    return d->below + d->run < REWRITE_DEPTH_MAX;
}

/* Columns of our own tables that are words of PostgreSQL's: ITCH has cross and primary. */
static bool reserved_column(const struct lex *l, const struct lex_token *t)
{
    struct lex after;
    struct lex_token next = peek(l, &after);
    return (lex_is(l, t, "cross") && !lex_is(l, &next, "join")) ||
           (lex_is(l, t, "primary") && !lex_is(l, &next, "key"));
}

static bool walk(struct maker *m, struct lex *l, struct query_error *e)
{
    struct depth d = {0};
    bool where = false, symbol_before = false;
    for (unsigned n = 0;; n++) {
        struct lex_token t = lex_next(l);
        if (t.kind == LEX_END) {
            return true;
        }
        if (t.kind == LEX_BROKEN) {
            return query_error_set(e, QUERY_SYNTAX, t.at, "%s that starts here does not end",
                                   m->text[t.at] == '"'   ? "a quoted name"
                                   : m->text[t.at] == '/' ? "a comment"
                                                          : "a text");
        }
        if (n == REWRITE_TOKENS_MAX) {
            return query_error_set(e, QUERY_UNSUPPORTED, t.at, "the query has more than %u words",
                                   REWRITE_TOKENS_MAX);
        }
        if (!depth_token(&d, l, &t)) {
            return query_error_set(e, QUERY_UNSUPPORTED, t.at,
                                   "the expression is nested too deeply (over %u); split it",
                                   REWRITE_DEPTH_MAX);
        }
        bool symbol = t.kind == LEX_SYMBOL;
        if (symbol) {
            symbol_literal(m, &t, symbol_before && m->done == t.at);
        } else if (t.kind == LEX_KDB) {
            kdb_literal(m, &t);
        } else if (t.kind == LEX_NAMED) {
            if (!named_param(m, &t, e)) {
                return false;
            }
        } else if (reserved_column(l, &t)) {
            char quoted[16];
            snprintf(quoted, sizeof quoted, "\"%s\"", lex_is(l, &t, "cross") ? "cross" : "primary");
            replace(m, t.at, t.len, quoted);
        } else if (lex_is(l, &t, "where")) {
            where = true;
        } else if (lex_is(l, &t, "latest")) {
            int r = latest_clause(m, l, &t, e);
            if (r < 0) {
                return false;
            }
            m->r->latest_after_where |= r && where;
        } else if (lex_is(l, &t, "asof")) {
            asof_clause(m, l, &t);
        } else if (lex_is(l, &t, "join") && m->r->join_at < 0) {
            m->r->join_at = t.at;
        } else if (is_op(l, &t, ';')) {
            struct lex after;
            struct lex_token end = peek(l, &after);
            if (end.kind != LEX_END && !is_op(l, &end, ';')) {
                return query_error_set(e, QUERY_UNSUPPORTED, end.at, "one statement at a time");
            }
            blank(m, t.at, t.at + 1);
        }
        symbol_before = symbol;
    }
}

bool rewrite_sql(const char *text, size_t len, struct rewrite *r, struct query_error *e)
{
    *r = (struct rewrite){.join_at = -1};
    if (len > REWRITE_TEXT_MAX) {
        return query_error_set(e, QUERY_UNSUPPORTED, -1, "the query is longer than %u bytes",
                               REWRITE_TEXT_MAX);
    }
    const char *nul = memchr(text, 0, len);
    if (nul) {
        return query_error_set(e, QUERY_SYNTAX, nul - text, "the query holds a NUL byte");
    }
    struct maker m = {.text = text, .r = r};
    struct lex l = {.text = text, .len = (uint32_t)len};
    bool ok = walk(&m, &l, e);
    if (ok) {
        copy_to(&m, (uint32_t)len);
        put(&m, "", 1, (uint32_t)len, false);
        if (m.failed) {
            ok = query_error_set(e, QUERY_LIMIT, -1, "no memory for the query's text");
        }
    }
    if (!ok) {
        rewrite_free(r);
        return false;
    }
    r->len--;
    return true;
}

void rewrite_free(struct rewrite *r)
{
    free(r->sql);
    free(r->from);
    *r = (struct rewrite){.join_at = -1};
}

int64_t rewrite_position(const struct rewrite *r, int64_t offset)
{
    return offset < 0 || (uint64_t)offset > r->len ? -1 : (int64_t)r->from[offset];
}
