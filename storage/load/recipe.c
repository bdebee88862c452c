/* SPDX-License-Identifier: Apache-2.0 */
#include "load/recipe_parts.h"

/* ---- what goes together ---- */

static bool check_text(struct recipe_reading *x)
{
    struct load_recipe *r = x->r;
    const char *s = r->separator;
    if (r->quote && memchr(s, r->quote, r->nseparator))
        return recipe_wrong(x, "quote", "is the separator");
    if (r->escape && memchr(s, r->escape, r->nseparator))
        return recipe_wrong(x, "escape", "is the separator");
    if (r->nseparator == 1 && *s == r->decimal)
        return recipe_wrong(x, "decimal", "is the separator");
    bool parted = r->nseparator == 1 && *s == r->thousands && !r->quote; /* "1,234" is one field */
    if (r->thousands && (r->thousands == r->decimal || parted))
        return recipe_wrong(x, "thousands", "is the separator or the decimal point");
    if (r->escape && r->escape == r->quote)
        r->escape = 0; /* a doubled quote is understood anyway */
    if (r->by_name && r->header == LOAD_HEADER_NO)
        return recipe_wrong(x, "columns",
                            "a mapping goes by the header's names, and header is false");
    if (r->date == LOAD_DATE_COLUMN && r->nfields && !r->by_name) {
        bool any = false;
        for (unsigned i = 0; i < r->nfields; i++)
            any |= r->fields[i].date;
        if (!any)
            return recipe_wrong(x, "date", "column %s is not among columns", r->date_column);
    }
    return true;
}

/* What stands in {} sets a column, the date, or nothing. */
static bool check_groups(struct recipe_reading *x)
{
    const char *p = x->r->file_pattern;
    while (p && (p = strchr(p, '{'))) {
        const char *end = strchr(p, '}');
        char name[SCHEMA_NAME_MAX];
        if (!end)
            return recipe_wrong(x, "match", "a { has no }");
        size_t n = (size_t)(end - p) - 1;
        snprintf(name, sizeof name, "%.*s", (int)n, p + 1);
        if (strcmp(name, "date") && strcmp(name, "i") && strcmp(name, "M") &&
            strcmp(name, "batch") && (n >= sizeof name || load_recipe_column(x->r, name) < 0))
            return recipe_wrong(x, "match", "{%s} is no column of table %s", name,
                                x->r->tables[0].name);
        p = end;
    }
    return true;
}

static bool check(struct recipe_reading *x)
{
    struct load_recipe *r = x->r;
    struct err e = {0};
    if (!r->ntables)
        return recipe_wrong(x, "table", "is missing");
    if (!*r->table)
        strcpy(r->table, r->tables[0].name);
    bool feed = r->format == LOAD_ITCH50 || r->format == LOAD_PCAP;
    if (!feed && strcmp(r->table, r->tables[0].name))
        return recipe_wrong(x, "table", "%s is not the first schema, which is %s", r->table,
                            r->tables[0].name);
    if (r->format == LOAD_PLUGIN && !r->read)
        return recipe_wrong(x, "read", "format plugin needs the name of a plugin's read function");
    if (r->date == LOAD_DATE_FILE && r->format != LOAD_SPLAYED &&
        (!r->file_pattern || !strstr(r->file_pattern, "{date}")))
        return recipe_wrong(x, "date", "file needs a file_pattern with {date}");
    if (!check_groups(x))
        return false;
    if (feed && r->date == LOAD_DATE_COLUMN)
        return recipe_wrong(x, "date", "this format has no columns");
    if (r->format == LOAD_ITCH50 && r->date == LOAD_DATE_TIME)
        return recipe_wrong(
            x, "date", "such a file does not say its date: give one, or file and a file_pattern");
    if (feed && r->ntables < 2)
        return recipe_wrong(x, "schemas", "lacks the tables gap and undecoded");
    if (r->format == LOAD_PCAP && !*r->framing && !r->nframing)
        return recipe_wrong(x, "framing", "a capture needs the framing of its feed");
    if (feed && !*r->feed)
        return recipe_wrong(x, "feed", "is missing: the value of the column feed");
    if (!(r->tz = tzone_load(r->zone, &e)))
        return recipe_wrong(x, "zone", "%s", e.text);
    if (!(r->calendar_tz = tzone_load(r->calendar_zone, &e)))
        return recipe_wrong(x, "calendar_zone", "%s", e.text);
    return true;
}

/* ---- the whole ---- */

static void defaults(struct load_recipe *r)
{
    strcpy(r->separator, ",");
    r->nseparator = 1;
    r->quote = '"';
    r->decimal = '.';
    strcpy(r->zone, "UTC");
    strcpy(r->calendar, "default");
    strcpy(r->calendar_zone, "UTC");
    strcpy(r->feed_zone, "UTC");
    strcpy(r->decoder, "none");
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        r->rule[i].multiply = r->rule[i].divide = 1;
    r->nnulls = 1; /* the empty text */
}

static bool decode(struct recipe_reading *x, const json_t *o)
{
    const char *key;
    json_t *v;
    const json_t *name = json_object_get(o, "name");
    if (name && !recipe_member(x, "name", name)) /* first: sentences begin with it */
        return false;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (!recipe_member(x, key, v))
            return false;
    }
    return check(x) && recipe_columns(x, o);
}

struct load_recipe *load_recipe_decode(const json_t *o, struct err *err)
{
    struct load_recipe *r = calloc(1, sizeof *r);
    struct recipe_reading x = {r, err};
    if (!r) {
        recipe_no_memory(err);
        return NULL;
    }
    defaults(r);
    if (!json_is_object(o))
        recipe_wrong(&x, "", "must be a mapping");
    else if (decode(&x, o) && (r->format != LOAD_TEXT || check_text(&x))) {
        if ((r->source = json_deep_copy(o)))
            return r;
        recipe_no_memory(err);
    }
    load_recipe_free(r);
    return NULL;
}

struct load_recipe *load_recipe_parse(const char *text, size_t n, struct err *err)
{
    json_error_t je;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    if (!o) {
        err_set(err, -EINVAL, "a recipe is no JSON: %s", je.text);
        return NULL;
    }
    struct load_recipe *r = load_recipe_decode(o, err);
    json_decref(o);
    return r;
}

json_t *load_recipe_encode(const struct load_recipe *r)
{
    return json_deep_copy(r->source);
}

void load_recipe_free(struct load_recipe *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        free(r->rule[i].value);
    for (unsigned i = 0; i < r->noptions; i++) {
        free(r->option[i].name);
        free(r->option[i].value);
    }
    tzone_free(r->tz);
    tzone_free(r->calendar_tz);
    json_decref(r->source);
    free(r->tables);
    free(r->fields);
    free(r->file_pattern);
    free(r->read);
    free(r->post_read);
    free(r->save);
    free(r->sym);
    free(r->framing_bytes);
    free(r->group);
    free(r);
}
