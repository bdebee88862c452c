/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"
#include "query.h"
#include "core/nearest.h"

bool query_error_set(struct query_error *e, int code, int64_t position, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        *e = (struct query_error){.code = code, .position = position};
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return false;
}

const char *query_errno_name(int code)
{
    static const char *const names[] = {
        [QUERY_OK] = "ok",       [QUERY_SYNTAX] = "syntax",   [QUERY_UNSUPPORTED] = "unsupported",
        [QUERY_NAME] = "name",   [QUERY_TYPE] = "type",       [QUERY_VALUE] = "value",
        [QUERY_LIMIT] = "limit", [QUERY_TIMEOUT] = "timeout", [QUERY_CANCELLED] = "cancelled",
        [QUERY_RETRY] = "retry", [QUERY_FAILED] = "failed",
    };
    return code >= 0 && (unsigned)code < PST_COUNT(names) ? names[code] : "failed";
}

void query_error_locate(struct query_error *e, const char *sql, size_t len)
{
    e->line = e->column = 0;
    if (e->position < 0 || (uint64_t)e->position > len) {
        e->position = -1;
        return;
    }
    e->line = e->column = 1;
    for (int64_t i = 0; i < e->position; i++) {
        e->column++;
        if (sql[i] == '\n') {
            e->line++;
            e->column = 1;
        }
    }
}

const char *plan_op_name(unsigned op)
{
    static const char *const names[] = {
#define X(name) #name,
        PLAN_OPS(X)
#undef X
    };
    return op < PST_COUNT(names) ? names[op] : "?";
}

const char *plan_agg_name(unsigned kind)
{
    static const char *const names[] = {
#define X(name) #name,
        PLAN_AGGS(X)
#undef X
    };
    return kind < PST_COUNT(names) ? names[kind] : "?";
}

/* ---- the nearest name ---- */

const char *query_nearest(const char *name, const char *const *names, unsigned n)
{
    const char *best = NULL;
    size_t len = strlen(name);
    unsigned limit = len <= 3 ? 2 : len <= 6 ? 3 : 4; /* fewer edits than that */
    for (unsigned i = 0; i < n; i++) {
        unsigned d = nearest_edits(name, names[i]);
        size_t other = strlen(names[i]);
        /* itch_executed for "executed": one holds the other */
        if (d >= limit && len >= 4 && other > len && strcasestr(names[i], name)) {
            d = limit - 1;
        }
        if (d < limit) {
            limit = d;
            best = names[i];
        }
    }
    return best;
}
