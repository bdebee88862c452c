/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"
#include "query.h"

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

#define NEAR_MAX 64

/* Edits (insert, delete, change, swap of neighbours) between two names, without case. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[3][NEAR_MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAR_MAX || m > NEAR_MAX) {
        return NEAR_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[1][j] = (unsigned)j;
    }
    unsigned *before = row[0], *last = row[1], *now = row[2];
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int ca = a[i - 1] | 32, cb = b[j - 1] | 32;
            unsigned v = last[j - 1] + (ca != cb);
            v = last[j] + 1 < v ? last[j] + 1 : v;
            v = now[j - 1] + 1 < v ? now[j - 1] + 1 : v;
            if (i > 1 && j > 1 && ca == (b[j - 2] | 32) && (a[i - 2] | 32) == cb &&
                before[j - 2] + 1 < v) {
                v = before[j - 2] + 1;
            }
            now[j] = v;
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

const char *query_nearest(const char *name, const char *const *names, unsigned n)
{
    const char *best = NULL;
    size_t len = strlen(name);
    unsigned limit = len <= 3 ? 2 : len <= 6 ? 3 : 4; /* fewer edits than that */
    for (unsigned i = 0; i < n; i++) {
        unsigned d = distance(name, names[i]);
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
