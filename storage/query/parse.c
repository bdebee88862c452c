/* SPDX-License-Identifier: Apache-2.0 */
/* Text -> parse tree: rewrite.h, then libpg_query. */
#include "bind.h"

/* libpg_query counts characters from 1; a byte that starts none counts with the one before. */
static int64_t byte_of(const char *sql, size_t len, int cursor)
{
    size_t i = 0;
    for (int n = 1; i < len && n < cursor; n++) {
        i++;
        while (i < len && ((uint8_t)sql[i] & 0xC0) == 0x80) {
            i++;
        }
    }
    return cursor > 0 ? (int64_t)i : -1;
}

static bool syntax(struct parsed *p, const PgQueryError *pe, struct query_error *e)
{
    int64_t at = byte_of(p->rw.sql, p->rw.len, pe->cursorpos);
    const char *text = pe->message ? pe->message : "syntax error";
    const char *hint = "";
    if (strstr(text, "end of input")) {
        hint = "; the query ends too early";
    }
    static const char *const reserved[] = {
        "primary", "end",  "check",  "column", "table", "user",  "default", "foreign", "unique",
        "using",   "both", "window", "limit",  "order", "group", "desc",    "asc",     "to"};
    for (unsigned i = 0; i < PST_COUNT(reserved); i++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "near \"%s\"", reserved[i]);
        if (strstr(text, quoted)) {
            hint = "; a column of that name wants double quotes";
        }
    }
    if (p->rw.nasof) {
        hint = "; an ASOF JOIN wants USING (sym, time)";
    }
    return query_error_set(e, QUERY_SYNTAX, rewrite_position(&p->rw, at), "%s%s", text, hint);
}

bool parse_sql(const char *sql, size_t len, struct parsed *p, struct query_error *e)
{
    *p = (struct parsed){0};
    if (!rewrite_sql(sql, len, &p->rw, e)) {
        return false;
    }
    PgQueryProtobufParseResult r = pg_query_parse_protobuf(p->rw.sql);
    bool ok = !r.error;
    if (!ok) {
        syntax(p, r.error, e);
    } else {
        p->tree = pg_query__parse_result__unpack(NULL, r.parse_tree.len,
                                                 (const uint8_t *)r.parse_tree.data);
        if (!p->tree) {
            ok = query_error_set(e, QUERY_LIMIT, -1, "no memory for the query");
        } else if (p->tree->n_stmts != 1 || !p->tree->stmts[0]->stmt) {
            ok = query_error_set(e, p->tree->n_stmts ? QUERY_UNSUPPORTED : QUERY_SYNTAX, -1,
                                 p->tree->n_stmts ? "one statement at a time"
                                                  : "the query is empty");
        } else {
            p->statement = p->tree->stmts[0]->stmt;
        }
    }
    pg_query_free_protobuf_parse_result(r);
    if (!ok) {
        parse_free(p);
    }
    return ok;
}

void parse_free(struct parsed *p)
{
    if (p->tree) {
        pg_query__parse_result__free_unpacked(p->tree, NULL);
    }
    rewrite_free(&p->rw);
    *p = (struct parsed){0};
}
