/* SPDX-License-Identifier: Apache-2.0 */
/* What a file's name says: patterns of names, and constants of a recipe out of them. */
#include "load/recipe_parts.h"

typedef bool group_fn(void *arg, const char *group, size_t group_len, const char *text,
                      size_t text_len);

/* {date} is a date, {i} and {M} are digits: so {sym}_{date} finds both in BRK_B_20240805. */
static bool group_fits(const char *name, size_t len, const char *text, size_t n)
{
    char date[16];
    int32_t day;
    if (len == 4 && !memcmp(name, "date", 4)) {
        snprintf(date, sizeof date, "%.*s", (int)(n < 15 ? n : 15), text);
        return n < 15 && civil_parse(date, &day);
    }
    for (size_t i = 0; len == 1 && (*name == 'i' || *name == 'M') && i < n; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

/* Groups and * are as short as they can be; `steps` bounds the work on hostile names. */
static bool match(const char *p, const char *s, group_fn *fn, void *arg, unsigned *steps)
{
    for (;; p++, s++) {
        if (++*steps > 100000)
            return false;
        if (*p == '*' || *p == '{') {
            const char *name = p + 1, *end = *p == '*' ? p : strchr(p, '}');
            if (!end)
                return false;
            bool group = *p == '{';
            for (size_t n = group; n <= strlen(s); n++)
                if ((!group || group_fits(name, (size_t)(end - name), s, n)) &&
                    match(end + 1, s + n, NULL, NULL, steps)) {
                    if (group && fn && !fn(arg, name, (size_t)(end - name), s, n))
                        return false;
                    return match(end + 1, s + n, fn, arg, steps);
                }
            return false;
        }
        if (*p != *s && !(*p == '?' && *s))
            return false;
        if (!*p)
            return true;
    }
}

bool load_pattern_match(const char *pattern, const char *name, group_fn *fn, void *arg)
{
    unsigned steps = 0;
    return match(pattern, name, fn, arg, &steps);
}

struct binding {
    struct recipe_reading x;
    bool failed;
};

static bool bind_group(void *arg, const char *group, size_t group_len, const char *text, size_t n)
{
    struct binding *b = arg;
    struct load_recipe *r = b->x.r;
    char name[SCHEMA_NAME_MAX];
    if (group_len == 1 && (*group == 'i' || *group == 'M'))
        return true;
    snprintf(name, sizeof name, "%.*s", (int)group_len, group);
    if (!strcmp(name, "batch"))
        return true;
    if (!strcmp(name, "date")) {
        char date[16];
        snprintf(date, sizeof date, "%.*s", (int)n, text);
        if (n >= sizeof date || !civil_parse(date, &r->day) || r->day < 0 ||
            r->day > CIVIL_DAY_MAX) {
            b->failed = true;
            return recipe_wrong(&b->x, "file_pattern", "\"%.40s\" is no date", text);
        }
        return true;
    }
    int col = load_recipe_column(r, name);
    if (col < 0 || group_len >= sizeof name) {
        b->failed = true;
        return recipe_wrong(&b->x, "file_pattern", "{%s} is no column of table %s", name,
                            r->tables[0].name);
    }
    if (!recipe_constant(r, col, text, n)) {
        b->failed = true;
        return recipe_no_memory(b->x.err);
    }
    return true;
}

bool load_recipe_file(struct load_recipe *r, const char *name, struct err *err)
{
    struct binding b = {.x = {r, err}};
    if (!r->file_pattern)
        return true;
    if (load_pattern_match(r->file_pattern, name, bind_group, &b))
        return true;
    return !b.failed &&
           recipe_wrong(&b.x, "file_pattern", "%s does not match %s", name, r->file_pattern);
}
