/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a recipe that stand for themselves, and the list of all. */
#include "load/recipe_parts.h"

static bool take_name(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->name, sizeof x->r->name);
}

static bool take_format(struct recipe_reading *x, const char *name, const json_t *v)
{
    static const char *const names[] = {"text", "itch50", "pcap", "splayed", "plugin"};
    for (unsigned i = 0; i < PST_COUNT(names); i++)
        if (json_is_string(v) && !strcmp(json_string_value(v), names[i])) {
            x->r->format = (enum load_format)i;
            return true;
        }
    return recipe_wrong(x, name, "must be text, itch50, pcap, splayed or plugin");
}

static bool take_compression(struct recipe_reading *x, const char *name, const json_t *v)
{
    return (json_is_string(v) &&
            load_compression_named(json_string_value(v), &x->r->compression)) ||
           recipe_wrong(x, name, "must be auto, plain, gzip, zstd, lz4 or zip");
}

static bool take_table(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->table, sizeof x->r->table);
}

static bool take_schemas(struct recipe_reading *x, const char *name, const json_t *v)
{
    size_t n = json_array_size(v);
    if (!n || n > LOAD_TABLES)
        return recipe_wrong(x, name, "must list 1 to %u tables", LOAD_TABLES);
    x->r->tables = calloc(n, sizeof *x->r->tables);
    if (!x->r->tables)
        return recipe_no_memory(x->err);
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        char *text = json_dumps(json_array_get(v, i), JSON_COMPACT | JSON_ENCODE_ANY);
        bool ok = text && schema_from_json(&x->r->tables[i], text, strlen(text), &e);
        free(text);
        if (!ok)
            return recipe_wrong(x, name, "%s", e.text);
        x->r->ntables++;
    }
    return true;
}

static bool take_separator(struct recipe_reading *x, const char *name, const json_t *v)
{
    struct load_recipe *r = x->r;
    if (!recipe_text(x, name, v, r->separator, sizeof r->separator))
        return false;
    if (!strcmp(r->separator, "\\t"))
        strcpy(r->separator, "\t");
    r->nseparator = (uint8_t)strlen(r->separator);
    return (r->nseparator && !strpbrk(r->separator, "\r\n")) ||
           recipe_wrong(x, name, "must be 1 to %u bytes without line ends", LOAD_SEPARATOR);
}

static bool take_comment(struct recipe_reading *x, const char *name, const json_t *v)
{
    x->r->ncomment = 0;
    if (!recipe_text(x, name, v, x->r->comment, sizeof x->r->comment))
        return false;
    x->r->ncomment = (uint8_t)strlen(x->r->comment);
    return true;
}

static bool take_quote(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_byte(x, name, v, &x->r->quote);
}

static bool take_escape(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_byte(x, name, v, &x->r->escape);
}

static bool take_decimal(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_byte(x, name, v, &x->r->decimal) &&
           (x->r->decimal == '.' || x->r->decimal == ',' ||
            recipe_wrong(x, name, "must be . or ,"));
}

static bool take_thousands(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_byte(x, name, v, &x->r->thousands);
}

static bool take_ragged(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_bool(x, name, v, &x->r->ragged);
}

static bool take_rest(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_bool(x, name, v, &x->r->rest);
}

static bool take_trim(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_bool(x, name, v, &x->r->trim);
}

static bool take_header(struct recipe_reading *x, const char *name, const json_t *v)
{
    bool yes;
    if (recipe_is_bool(v, &yes))
        x->r->header = yes ? LOAD_HEADER_YES : LOAD_HEADER_NO;
    else if (json_is_string(v) && !strcmp(json_string_value(v), "auto"))
        x->r->header = LOAD_HEADER_AUTO;
    else
        return recipe_wrong(x, name, "must be auto, true or false");
    return true;
}

static bool take_skip(struct recipe_reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!recipe_integer(x, name, v, 0, 1000000, &n))
        return false;
    x->r->skip_lines = (uint32_t)n;
    return true;
}

static bool take_nulls(struct recipe_reading *x, const char *name, const json_t *v)
{
    size_t i;
    json_t *e;
    if (!json_is_array(v) || json_array_size(v) > LOAD_NULLS)
        return recipe_wrong(x, name, "must be a list of at most %u texts", LOAD_NULLS);
    x->r->nnulls = 0;
    json_array_foreach(v, i, e)
    {
        if (!recipe_text(x, name, e, x->r->null[i], LOAD_NULL_BYTES))
            return false;
        x->r->nnulls++;
    }
    return true;
}

static bool take_rejects(struct recipe_reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!recipe_integer(x, name, v, 0, INT64_MAX, &n))
        return false;
    x->r->rejects = (uint64_t)n;
    return true;
}

static bool take_partial(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_bool(x, name, v, &x->r->partial);
}

static bool take_zone(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->zone, sizeof x->r->zone);
}

static bool take_feed_zone(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->feed_zone, sizeof x->r->feed_zone);
}

static bool take_calendar(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->calendar, sizeof x->r->calendar);
}

static bool take_calendar_zone(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->calendar_zone, sizeof x->r->calendar_zone);
}

static bool take_eod(struct recipe_reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!recipe_integer(x, name, v, -86399, 86399, &n))
        return false;
    x->r->eod_s = (int32_t)n;
    return true;
}

static bool take_date_format(struct recipe_reading *x, const char *name, const json_t *v)
{
    static const char *const names[] = {"", "dmy", "mdy", "ymd"};
    for (unsigned i = 1; i < PST_COUNT(names); i++)
        if (json_is_string(v) && !strcmp(json_string_value(v), names[i])) {
            x->r->date_format = (enum load_date_format)i;
            return true;
        }
    return recipe_wrong(x, name, "must be dmy, mdy or ymd");
}

static bool take_date(struct recipe_reading *x, const char *name, const json_t *v)
{
    struct load_recipe *r = x->r;
    const char *s = json_string_value(v);
    if (s && !strcmp(s, "time"))
        r->date = LOAD_DATE_TIME;
    else if (s && !strcmp(s, "file"))
        r->date = LOAD_DATE_FILE;
    else if (s && !strncmp(s, "column ", 7) && s[7] && strlen(s + 7) < sizeof r->date_column) {
        r->date = LOAD_DATE_COLUMN;
        strcpy(r->date_column, s + 7);
    } else if (s && civil_parse(s, &r->day) && r->day >= 0 && r->day <= CIVIL_DAY_MAX)
        r->date = LOAD_DATE_FIXED;
    else
        return recipe_wrong(x, name,
                            "must be time, file, \"column NAME\" or a date such as 2026.11.23");
    return true;
}

static bool take_pattern(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_copy(x, name, v, &x->r->file_pattern);
}

static bool take_read(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_copy(x, name, v, &x->r->read);
}

static bool take_post_read(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_copy(x, name, v, &x->r->post_read);
}

static bool take_save(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_copy(x, name, v, &x->r->save);
}

static bool take_sym(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_copy(x, name, v, &x->r->sym);
}

static bool take_options(struct recipe_reading *x, const char *name, const json_t *v)
{
    struct load_recipe *r = x->r;
    const char *key;
    json_t *e;
    if (!json_is_object(v) || json_object_size(v) > LOAD_OPTIONS)
        return recipe_wrong(x, name, "must map at most %u names to texts", LOAD_OPTIONS);
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        if (!json_is_string(e))
            return recipe_wrong(x, name, "%s must be a text", key);
        r->option[r->noptions].name = strdup(key);
        r->option[r->noptions].value = strdup(json_string_value(e));
        if (!r->option[r->noptions].name || !r->option[r->noptions].value)
            return recipe_no_memory(x->err);
        r->noptions++;
    }
    return true;
}

/* Those that need the table: taken behind all others. */
static bool take_later(struct recipe_reading *x, const char *name, const json_t *v)
{
    (void)x, (void)name, (void)v;
    return true;
}

static const struct member {
    const char *name;
    bool (*take)(struct recipe_reading *x, const char *name, const json_t *v);
} members[] = {
    {"name", take_name},
    {"format", take_format},
    {"compression", take_compression},
    {"table", take_table},
    {"schemas", take_schemas},
    {"separator", take_separator},
    {"quote", take_quote},
    {"escape", take_escape},
    {"header", take_header},
    {"skip_lines", take_skip},
    {"comment", take_comment},
    {"columns", take_later},
    {"nulls", take_nulls},
    {"decimal", take_decimal},
    {"thousands", take_thousands},
    {"ragged", take_ragged},
    {"rest", take_rest},
    {"trim", take_trim},
    {"scale", take_later},
    {"time", take_later},
    {"times", take_later},
    {"zone", take_zone},
    {"date_format", take_date_format},
    {"date", take_date},
    {"file_pattern", take_pattern},
    {"constants", take_later},
    {"optional", take_later},
    {"rejects", take_rejects},
    {"partial", take_partial},
    {"read", take_read},
    {"post_read", take_post_read},
    {"save", take_save},
    {"options", take_options},
    {"sym", take_sym},
    {"feed", recipe_take_feed},
    {"session", recipe_take_session},
    {"decoder", recipe_take_decoder},
    {"groups", recipe_take_groups},
    {"framing", recipe_take_framing},
    {"framing_bytes", recipe_take_framing_bytes},
    {"feed_zone", take_feed_zone},
    {"calendar", take_calendar},
    {"calendar_zone", take_calendar_zone},
    {"eod_s", take_eod},
};

bool recipe_member(struct recipe_reading *x, const char *name, const json_t *v)
{
    for (unsigned i = 0; i < PST_COUNT(members); i++)
        if (!strcmp(members[i].name, name))
            return members[i].take(x, name, v);
    return recipe_wrong(x, name, "is unknown");
}
