/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in buffer function `late`: rows whose time is older than a cutoff.
 *
 *   cutoff   an instant; or age: so long before the event was started (90s, 30m, 2h, 1d)
 *   tables   only these, by name; separated by , or |. Unset: all
 *   syms     only symbols of these ranges: A..M (from A to M and what begins with M), or one
 *            symbol; separated by , or |. Unset: all, the null symbol too
 *
 * Rows without a time are not late. Other arguments describe the event to those who follow it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "core/base.h"
#include "functions_built_in.h"

#define LIST_MAX 64u
#define TEXT_MAX 1024u

struct range {
    struct pst_text first, last; /* last.at NULL: exactly `first` */
};

struct late {
    int64_t cutoff;
    uint32_t tables, ranges; /* 0 = all */
    struct pst_text table[LIST_MAX];
    struct range range[LIST_MAX];
    char text[2][TEXT_MAX];
};

static bool age_parse(const char *text, int64_t *ns)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    int64_t unit = !strcmp(end, "s")   ? 1000000000ll
                   : !strcmp(end, "m") ? 60000000000ll
                   : !strcmp(end, "h") ? 3600000000000ll
                   : !strcmp(end, "d") ? 86400000000000ll
                                       : 0;
    return end != text && unit && n >= 0 && !__builtin_mul_overflow((int64_t)n, unit, ns);
}

/* Cuts a list into texts; false: too long. */
static bool list_parse(const char *list, char *copy, struct pst_text *out, uint32_t *n)
{
    *n = 0;
    if (!list)
        return true;
    if (strlen(list) >= TEXT_MAX)
        return false;
    strcpy(copy, list);
    char *rest = copy;
    for (char *t; (t = strtok_r(rest, ",| ", &rest));) {
        if (*n == LIST_MAX)
            return false;
        out[(*n)++] = (struct pst_text){t, (uint32_t)strlen(t)};
    }
    return *n > 0;
}

static int32_t fail(struct late *l, char *error, uint32_t room, const char *text)
{
    free(l);
    snprintf(error, room, "%s", text);
    return -1;
}

static int32_t prepare(const struct pst_function_host *host, const struct pst_arguments *args,
                       void **state, char *error, uint32_t room)
{
    const char *cutoff = pst_argument(args, "cutoff"), *age = pst_argument(args, "age"),
               *started = pst_argument(args, "started");
    struct late *l = calloc(1, sizeof *l);
    struct pst_text syms[LIST_MAX];
    int64_t ago = 0;
    if (!l)
        return fail(l, error, room, "no memory");
    if ((cutoff != NULL) == (age != NULL))
        return fail(l, error, room, "say cutoff=2026-11-23T11:00:00Z, or age=30m, one of them");
    if (cutoff && !host->timestamp(cutoff, &l->cutoff))
        return fail(l, error, room, "cutoff is no instant: write 2026-11-23T11:00:00Z");
    if (age && (!age_parse(age, &ago) || !started || !host->timestamp(started, &l->cutoff)))
        return fail(l, error, room, "age is no duration: write 90s, 30m, 2h or 1d");
    l->cutoff -= ago;
    if (!list_parse(pst_argument(args, "tables"), l->text[0], l->table, &l->tables) ||
        !list_parse(pst_argument(args, "syms"), l->text[1], syms, &l->ranges))
        return fail(l, error, room, "tables and syms are lists of 1 to 64 names: a,b or A..M,X..Z");
    for (uint32_t i = 0; i < l->ranges; i++) {
        char *dots = strstr((char *)(uintptr_t)syms[i].at, "..");
        struct range *r = &l->range[i];
        r->first = syms[i];
        if (!dots)
            continue;
        r->first.len = (uint32_t)(dots - syms[i].at);
        r->last = (struct pst_text){dots + 2, (uint32_t)strlen(dots + 2)};
        if (!r->first.len || !r->last.len)
            return fail(l, error, room, "a range of syms has two ends: A..M");
    }
    *state = l;
    return 0;
}

static int order(struct pst_text a, struct pst_text b)
{
    int c = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static bool in_range(const struct range *r, struct pst_text t)
{
    if (!r->last.at)
        return !order(t, r->first);
    struct pst_text head = {t.at, t.len < r->last.len ? t.len : r->last.len};
    return order(t, r->first) >= 0 && order(head, r->last) <= 0;
}

static bool wanted_table(const struct late *l, const struct pst_table *t)
{
    size_t n = strlen(t->name);
    for (uint32_t i = 0; i < l->tables; i++)
        if (l->table[i].len == n && !memcmp(l->table[i].at, t->name, n))
            return true;
    return !l->tables;
}

static bool wanted_sym(const struct late *l, const struct pst_batch *b, uint32_t sym)
{
    struct pst_text t = b->symbol(b, sym);
    for (uint32_t i = 0; t.len && i < l->ranges; i++)
        if (in_range(&l->range[i], t))
            return true;
    return false;
}

static void mask(const void *state, const struct pst_batch *b, uint64_t *bits)
{
    const struct late *l = state;
    const struct pst_table *last = NULL;
    bool table = true;
    for (uint32_t i = 0; i < b->rows; i++) {
        const struct pst_row *r = &b->row[i];
        int64_t time = pst_row_time(r);
        if (pst_likely(time >= l->cutoff) || time == PST_NULL_LONG)
            continue;
        if (l->tables && r->table != last) {
            last = r->table;
            table = wanted_table(l, last);
        }
        if (table && (!l->ranges || wanted_sym(l, b, pst_row_sym(r))))
            bits[i / 64] |= 1ull << i % 64;
    }
}

const struct pst_daemon_function function_late = {
    PST_FUNCTION_HEAD(PST_FUNCTION_BUFFER, "late",
                      "Rows older than cutoff (or age), of tables and syms if given."),
    .buffer = {.prepare = prepare, .mask = mask, .release = free}};
