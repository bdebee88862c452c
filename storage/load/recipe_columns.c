/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a recipe that speak of the table's columns. */
#include "load/recipe_parts.h"

static bool column_of(struct recipe_reading *x, const char *member, const char *name, int *col)
{
    *col = load_recipe_column(x->r, name);
    return *col >= 0 ||
           recipe_wrong(x, member, "%s is no column of table %s", name, x->r->tables[0].name);
}

bool recipe_is_time(uint8_t type)
{
    return type == PST_TIMESTAMP || type == PST_TIMESPAN || type == PST_TIME ||
           type == PST_SECOND || type == PST_MINUTE || type == PST_DATE || type == PST_MONTH;
}

static bool time_named(struct recipe_reading *x, const char *member, const json_t *v,
                       struct load_rule *rule)
{
    const char *s = json_string_value(v);
    if (s && strchr(s, '%')) {
        rule->time = LOAD_TIME_PATTERN;
        return recipe_text(x, member, v, rule->pattern, sizeof rule->pattern);
    }
    for (unsigned i = 0; s && i < LOAD_TIME_PATTERN; i++)
        if (!strcmp(s, load_time_name((enum load_time)i))) {
            rule->time = (uint8_t)i;
            return true;
        }
    return recipe_wrong(
        x, member,
        "%s is no time format; see auto, iso, ymd, epoch_s, epoch_ms, epoch_us, "
        "epoch_ns, clock, day_s, day_ms, day_us, day_ns, kdb_ns or a pattern with %%",
        s ? s : "it");
}

static bool times_of(struct recipe_reading *x, const json_t *o)
{
    struct load_recipe *r = x->r;
    const json_t *all = json_object_get(o, "time"), *each = json_object_get(o, "times");
    const char *key;
    json_t *e;
    struct load_rule rule = {0};
    int col;
    if (all && !time_named(x, "time", all, &rule))
        return false;
    for (unsigned i = 0; all && i < r->tables[0].ncols; i++)
        if (recipe_is_time(r->tables[0].col[i].type)) {
            r->rule[i].time = rule.time;
            memcpy(r->rule[i].pattern, rule.pattern, sizeof rule.pattern);
        }
    if (each && !json_is_object(each))
        return recipe_wrong(x, "times", "must map columns to formats");
    json_object_foreach((json_t *)(uintptr_t)each, key, e)
    {
        if (!column_of(x, "times", key, &col))
            return false;
        if (!recipe_is_time(r->tables[0].col[col].type))
            return recipe_wrong(x, "times", "column %s is no time", key);
        if (!time_named(x, "times", e, &r->rule[col]))
            return false;
    }
    return true;
}

/* A decimal number as multiply / divide, exactly as it is written. */
static bool decimal_factor(const char *s, int64_t *multiply, int64_t *divide)
{
    int64_t m = 0, d = 1;
    bool point = false, any = false, minus = *s == '-';
    for (s += minus; *s && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.' && !point) {
            point = true;
            continue;
        }
        if (*s < '0' || *s > '9' || m > (INT64_MAX - 9) / 10 || (point && d > INT64_MAX / 10))
            return false;
        m = m * 10 + (*s - '0');
        d *= point ? 10 : 1;
        any = true;
    }
    if (!any || !m)
        return false;
    long e = 0;
    if (*s) {
        char *end;
        e = strtol(s + 1, &end, 10);
        if (*end || end == s + 1 || e < -18 || e > 18)
            return false;
    }
    for (; e > 0; e--) {
        if (d > 1)
            d /= 10;
        else if (m > INT64_MAX / 10)
            return false;
        else
            m *= 10;
    }
    for (; e < 0; e++) {
        if (d > INT64_MAX / 10)
            return false;
        d *= 10;
    }
    while (d > 1 && m % 10 == 0) {
        m /= 10;
        d /= 10;
    }
    *multiply = minus ? -m : m;
    *divide = d;
    return true;
}

static bool scales_of(struct recipe_reading *x, const json_t *v)
{
    const char *key;
    json_t *e;
    if (v && !json_is_object(v))
        return recipe_wrong(x, "scale", "must map columns to factors");
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        int col;
        char text[64];
        if (!column_of(x, "scale", key, &col))
            return false;
        uint8_t t = x->r->tables[0].col[col].type;
        if (t != PST_FLOAT && t != PST_REAL && t != PST_LONG && t != PST_INT && t != PST_SHORT)
            return recipe_wrong(x, "scale", "column %s is no number", key);
        if (json_is_real(e)) /* as it was written: no double has more than 15 sure digits */
            snprintf(text, sizeof text, "%.15g", json_real_value(e));
        else if (json_is_integer(e))
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(e));
        else if (!recipe_text(x, "scale", e, text, sizeof text))
            return false;
        if (!decimal_factor(text, &x->r->rule[col].multiply, &x->r->rule[col].divide))
            return recipe_wrong(x, "scale", "%s of column %s is no decimal factor", text, key);
    }
    return true;
}

bool recipe_constant(struct load_recipe *r, int col, const char *text, size_t n)
{
    char *copy = strndup(text, n);
    if (!copy)
        return false;
    free(r->rule[col].value);
    r->rule[col].value = copy;
    r->rule[col].constant = true;
    return true;
}

static bool constants_of(struct recipe_reading *x, const json_t *v)
{
    const char *key;
    json_t *e;
    int col;
    if (v && !json_is_object(v))
        return recipe_wrong(x, "constants", "must map columns to texts");
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        char number[64], *s = number;
        if (!column_of(x, "constants", key, &col))
            return false;
        if (json_is_string(e))
            s = (char *)(uintptr_t)json_string_value(e);
        else if (json_is_integer(e))
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(e));
        else if (json_is_real(e))
            snprintf(number, sizeof number, "%.17g", json_real_value(e));
        else
            return recipe_wrong(x, "constants", "%s must be a text or a number", key);
        if (!recipe_constant(x->r, col, s, strlen(s)))
            return recipe_no_memory(x->err);
    }
    return true;
}

static bool optionals_of(struct recipe_reading *x, const json_t *v)
{
    size_t i;
    json_t *e;
    int col;
    if (v && !json_is_array(v))
        return recipe_wrong(x, "optional", "must list columns");
    json_array_foreach(v, i, e)
    {
        const char *s = json_string_value(e);
        if (s && !strcmp(s, "*")) {
            for (unsigned c = 2; c < x->r->tables[0].ncols; c++)
                x->r->rule[c].optional = true;
            continue;
        }
        if (!s || !column_of(x, "optional", s, &col))
            return s ? false : recipe_wrong(x, "optional", "must list columns");
        if (!col)
            return recipe_wrong(x, "optional",
                                "time must be there: it says which partition a row is in");
        x->r->rule[col].optional = true;
    }
    return true;
}

static bool one_field(struct recipe_reading *x, const char *file, const char *to, bool *taken)
{
    struct load_recipe *r = x->r;
    struct load_field *f = &r->fields[r->nfields];
    if (file && strlen(file) >= sizeof f->name)
        return recipe_wrong(x, "columns", "a name is longer than %u bytes", LOAD_FIELD_NAME - 1);
    if (file)
        strcpy(f->name, file);
    f->to = strcmp(to, "-") ? load_recipe_column(r, to) : LOAD_TO_NOTHING;
    f->date = r->date == LOAD_DATE_COLUMN && !strcmp(file ? file : to, r->date_column);
    if (f->to < 0 && strcmp(to, "-") && !f->date)
        return recipe_wrong(x, "columns", "%s is no column of table %s; \"-\" passes a column over",
                            to, r->tables[0].name);
    if (f->to >= 0 && taken[f->to])
        return recipe_wrong(x, "columns", "column %s is given twice", to);
    if (f->to >= 0)
        taken[f->to] = true;
    r->nfields++;
    return true;
}

static bool fields_of(struct recipe_reading *x, const json_t *v)
{
    struct load_recipe *r = x->r;
    bool taken[SCHEMA_COLUMNS_MAX] = {false};
    size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v), i;
    const char *key;
    json_t *e;
    if (!v)
        return true;
    if (!n || n > LOAD_COLUMNS)
        return recipe_wrong(x, "columns", "must be a list or a mapping of 1 to %u columns",
                            LOAD_COLUMNS);
    r->fields = calloc(n, sizeof *r->fields);
    if (!r->fields)
        return recipe_no_memory(x->err);
    r->by_name = json_is_object(v);
    json_array_foreach(v, i, e)
    {
        if (!json_is_string(e))
            return recipe_wrong(x, "columns", "must be texts");
        if (!one_field(x, NULL, json_string_value(e), taken))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        if (!json_is_string(e))
            return recipe_wrong(x, "columns", "must be texts");
        if (!strcmp(key, "*")) {
            if (strcmp(json_string_value(e), "-"))
                return recipe_wrong(x, "columns", "\"*\" can only be passed over: \"*\": \"-\"");
            r->others = true;
        } else if (!one_field(x, key, json_string_value(e), taken))
            return false;
    }
    return true;
}

bool recipe_columns(struct recipe_reading *x, const json_t *o)
{
    return times_of(x, o) && scales_of(x, json_object_get(o, "scale")) &&
           constants_of(x, json_object_get(o, "constants")) &&
           optionals_of(x, json_object_get(o, "optional")) &&
           fields_of(x, json_object_get(o, "columns"));
}
