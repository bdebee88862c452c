/* SPDX-License-Identifier: Apache-2.0 */
#include "load/recipe.h"

#include <ctype.h>
#include <errno.h>

struct reading {
    struct load_recipe *r;
    struct err *err;
};

static bool wrong(struct reading *x, const char *member, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool wrong(struct reading *x, const char *member, const char *format, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return err_set(x->err, -EINVAL, "load.files: %s%s%s: %s",
                   x->r->name[0] ? x->r->name : "(unnamed)", *member ? ": " : "", member, text);
}

static bool no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for a recipe");
}

const char *load_time_name(enum load_time t)
{
    static const char *const names[LOAD_TIME_END] = {
#define X(ID, name, sentence) name,
        LOAD_TIMES(X)
#undef X
    };
    return t < LOAD_TIME_END ? names[t] : "?";
}

/* ---- values; YAML gives texts where JSON has numbers and booleans ---- */

static bool is_bool(const json_t *v, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    if (json_is_boolean(v)) {
        *out = json_is_true(v);
        return true;
    }
    const char *s = json_string_value(v);
    for (unsigned i = 0; s && i < PST_COUNT(yes); i++)
        if (!strcmp(s, yes[i]) || !strcmp(s, no[i])) {
            *out = !strcmp(s, yes[i]);
            return true;
        }
    return false;
}

static bool get_bool(struct reading *x, const char *name, const json_t *v, bool *out)
{
    return is_bool(v, out) || wrong(x, name, "must be true or false");
}

static bool get_integer(struct reading *x, const char *name, const json_t *v, int64_t least,
                        int64_t most, int64_t *out)
{
    const char *s = json_string_value(v);
    char *end;
    errno = 0;
    if (json_is_integer(v))
        *out = json_integer_value(v);
    else if (s && *s && (*out = strtoll(s, &end, 10), !*end && !errno))
        ;
    else
        return wrong(x, name, "must be a whole number");
    return (*out >= least && *out <= most) ||
           wrong(x, name, "must be between %lld and %lld", (long long)least, (long long)most);
}

static bool get_text(struct reading *x, const char *name, const json_t *v, char *out, size_t room)
{
    const char *s = json_string_value(v);
    if (!s)
        return wrong(x, name, "must be a text");
    if (json_string_length(v) != strlen(s))
        return wrong(x, name, "holds a NUL byte");
    if (strlen(s) >= room)
        return wrong(x, name, "is longer than %zu bytes", room - 1);
    memcpy(out, s, strlen(s) + 1);
    return true;
}

static bool get_copy(struct reading *x, const char *name, const json_t *v, char **out)
{
    const char *s = json_string_value(v);
    if (!s || !*s || json_string_length(v) != strlen(s))
        return wrong(x, name, "must be a text");
    free(*out);
    *out = strdup(s);
    return *out || no_memory(x->err);
}

static bool get_byte(struct reading *x, const char *name, const json_t *v, char *out)
{
    char text[8];
    if (!get_text(x, name, v, text, sizeof text))
        return false;
    if (strlen(text) > 1 || (*text && ((uint8_t)*text >= 0x80 || *text == '\n' || *text == '\r')))
        return wrong(x, name, "must be one ASCII character, or \"\" for none");
    *out = *text;
    return true;
}

/* ---- members ---- */

static bool take_name(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->name, sizeof x->r->name);
}

static bool take_format(struct reading *x, const char *name, const json_t *v)
{
    static const char *const names[] = {"text", "itch50", "pcap", "splayed", "plugin"};
    for (unsigned i = 0; i < PST_COUNT(names); i++)
        if (json_is_string(v) && !strcmp(json_string_value(v), names[i])) {
            x->r->format = (enum load_format)i;
            return true;
        }
    return wrong(x, name, "must be text, itch50, pcap, splayed or plugin");
}

static bool take_compression(struct reading *x, const char *name, const json_t *v)
{
    return (json_is_string(v) &&
            load_compression_named(json_string_value(v), &x->r->compression)) ||
           wrong(x, name, "must be auto, plain, gzip, zstd, lz4 or zip");
}

static bool take_table(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->table, sizeof x->r->table);
}

static bool take_schemas(struct reading *x, const char *name, const json_t *v)
{
    size_t n = json_array_size(v);
    if (!n || n > LOAD_TABLES)
        return wrong(x, name, "must list 1 to %u tables", LOAD_TABLES);
    x->r->tables = calloc(n, sizeof *x->r->tables);
    if (!x->r->tables)
        return no_memory(x->err);
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        char *text = json_dumps(json_array_get(v, i), JSON_COMPACT | JSON_ENCODE_ANY);
        bool ok = text && schema_from_json(&x->r->tables[i], text, strlen(text), &e);
        free(text);
        if (!ok)
            return wrong(x, name, "%s", e.text);
        x->r->ntables++;
    }
    return true;
}

static bool take_separator(struct reading *x, const char *name, const json_t *v)
{
    struct load_recipe *r = x->r;
    if (!get_text(x, name, v, r->separator, sizeof r->separator))
        return false;
    if (!strcmp(r->separator, "\\t"))
        strcpy(r->separator, "\t");
    r->nseparator = (uint8_t)strlen(r->separator);
    return (r->nseparator && !strpbrk(r->separator, "\r\n")) ||
           wrong(x, name, "must be 1 to %u bytes without line ends", LOAD_SEPARATOR);
}

static bool take_comment(struct reading *x, const char *name, const json_t *v)
{
    x->r->ncomment = 0;
    if (!get_text(x, name, v, x->r->comment, sizeof x->r->comment))
        return false;
    x->r->ncomment = (uint8_t)strlen(x->r->comment);
    return true;
}

static bool take_quote(struct reading *x, const char *name, const json_t *v)
{
    return get_byte(x, name, v, &x->r->quote);
}

static bool take_escape(struct reading *x, const char *name, const json_t *v)
{
    return get_byte(x, name, v, &x->r->escape);
}

static bool take_decimal(struct reading *x, const char *name, const json_t *v)
{
    return get_byte(x, name, v, &x->r->decimal) &&
           (x->r->decimal == '.' || x->r->decimal == ',' || wrong(x, name, "must be . or ,"));
}

static bool take_thousands(struct reading *x, const char *name, const json_t *v)
{
    return get_byte(x, name, v, &x->r->thousands);
}

static bool take_ragged(struct reading *x, const char *name, const json_t *v)
{
    return get_bool(x, name, v, &x->r->ragged);
}

static bool take_rest(struct reading *x, const char *name, const json_t *v)
{
    return get_bool(x, name, v, &x->r->rest);
}

static bool take_trim(struct reading *x, const char *name, const json_t *v)
{
    return get_bool(x, name, v, &x->r->trim);
}

static bool take_header(struct reading *x, const char *name, const json_t *v)
{
    bool yes;
    if (is_bool(v, &yes))
        x->r->header = yes ? LOAD_HEADER_YES : LOAD_HEADER_NO;
    else if (json_is_string(v) && !strcmp(json_string_value(v), "auto"))
        x->r->header = LOAD_HEADER_AUTO;
    else
        return wrong(x, name, "must be auto, true or false");
    return true;
}

static bool take_skip(struct reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!get_integer(x, name, v, 0, 1000000, &n))
        return false;
    x->r->skip_lines = (uint32_t)n;
    return true;
}

static bool take_nulls(struct reading *x, const char *name, const json_t *v)
{
    size_t i;
    json_t *e;
    if (!json_is_array(v) || json_array_size(v) > LOAD_NULLS)
        return wrong(x, name, "must be a list of at most %u texts", LOAD_NULLS);
    x->r->nnulls = 0;
    json_array_foreach(v, i, e)
    {
        if (!get_text(x, name, e, x->r->null[i], LOAD_NULL_BYTES))
            return false;
        x->r->nnulls++;
    }
    return true;
}

static bool take_rejects(struct reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!get_integer(x, name, v, 0, INT64_MAX, &n))
        return false;
    x->r->rejects = (uint64_t)n;
    return true;
}

static bool take_partial(struct reading *x, const char *name, const json_t *v)
{
    return get_bool(x, name, v, &x->r->partial);
}

static bool take_zone(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->zone, sizeof x->r->zone);
}

static bool take_feed_zone(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->feed_zone, sizeof x->r->feed_zone);
}

static bool take_calendar(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->calendar, sizeof x->r->calendar);
}

static bool take_calendar_zone(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->calendar_zone, sizeof x->r->calendar_zone);
}

static bool take_eod(struct reading *x, const char *name, const json_t *v)
{
    int64_t n = 0;
    if (!get_integer(x, name, v, -86399, 86399, &n))
        return false;
    x->r->eod_s = (int32_t)n;
    return true;
}

static bool take_date_format(struct reading *x, const char *name, const json_t *v)
{
    static const char *const names[] = {"", "dmy", "mdy", "ymd"};
    for (unsigned i = 1; i < PST_COUNT(names); i++)
        if (json_is_string(v) && !strcmp(json_string_value(v), names[i])) {
            x->r->date_format = (enum load_date_format)i;
            return true;
        }
    return wrong(x, name, "must be dmy, mdy or ymd");
}

static bool take_date(struct reading *x, const char *name, const json_t *v)
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
        return wrong(x, name, "must be time, file, \"column NAME\" or a date such as 2026.11.23");
    return true;
}

static bool take_pattern(struct reading *x, const char *name, const json_t *v)
{
    return get_copy(x, name, v, &x->r->file_pattern);
}

static bool take_read(struct reading *x, const char *name, const json_t *v)
{
    return get_copy(x, name, v, &x->r->read);
}

static bool take_post_read(struct reading *x, const char *name, const json_t *v)
{
    return get_copy(x, name, v, &x->r->post_read);
}

static bool take_save(struct reading *x, const char *name, const json_t *v)
{
    return get_copy(x, name, v, &x->r->save);
}

static bool take_sym(struct reading *x, const char *name, const json_t *v)
{
    return get_copy(x, name, v, &x->r->sym);
}

static bool take_options(struct reading *x, const char *name, const json_t *v)
{
    struct load_recipe *r = x->r;
    const char *key;
    json_t *e;
    if (!json_is_object(v) || json_object_size(v) > LOAD_OPTIONS)
        return wrong(x, name, "must map at most %u names to texts", LOAD_OPTIONS);
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        if (!json_is_string(e))
            return wrong(x, name, "%s must be a text", key);
        r->option[r->noptions].name = strdup(key);
        r->option[r->noptions].value = strdup(json_string_value(e));
        if (!r->option[r->noptions].name || !r->option[r->noptions].value)
            return no_memory(x->err);
        r->noptions++;
    }
    return true;
}

static bool take_feed(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->feed, sizeof x->r->feed);
}

static bool take_session(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->session, sizeof x->r->session);
}

static bool take_decoder(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->decoder, sizeof x->r->decoder);
}

static bool take_framing(struct reading *x, const char *name, const json_t *v)
{
    return get_text(x, name, v, x->r->framing, sizeof x->r->framing);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_framing_bytes(struct reading *x, const char *name, const json_t *v)
{
    const char *s = json_string_value(v);
    size_t n = s ? strlen(s) : 0;
    if (!n || n % 2 || n > 1u << 16)
        return wrong(x, name, "must be an even number of hexadecimal digits");
    free(x->r->framing_bytes);
    x->r->framing_bytes = malloc(n / 2);
    if (!x->r->framing_bytes)
        return no_memory(x->err);
    x->r->nframing = n / 2;
    for (size_t i = 0; i < n / 2; i++) {
        int a = hex(s[2 * i]), b = hex(s[2 * i + 1]);
        if (a < 0 || b < 0)
            return wrong(x, name, "must be hexadecimal digits");
        x->r->framing_bytes[i] = (uint8_t)(a << 4 | b);
    }
    return true;
}

static bool address(const char *s, size_t n, uint32_t *out)
{
    uint32_t v = 0;
    unsigned part = 0, digits = 0, number = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && s[i] >= '0' && s[i] <= '9' && digits < 3) {
            number = number * 10 + (unsigned)(s[i] - '0');
            digits++;
        } else if ((i == n || s[i] == '.') && digits && number < 256 && part < 4) {
            v = v << 8 | number;
            part++;
            digits = number = 0;
        } else
            return false;
    }
    *out = v;
    return part == 4;
}

static bool one_group(struct reading *x, const char *name, const json_t *v, struct load_group *g)
{
    const char *key;
    json_t *e;
    bool has_group = false;
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        const char *s = json_string_value(e), *colon = s ? strrchr(s, ':') : NULL;
        if (!strcmp(key, "group") && s && !strcmp(s, "any"))
            has_group = true;
        else if (!strcmp(key, "group") && colon && address(s, (size_t)(colon - s), &g->group)) {
            char *end;
            unsigned long port = strtoul(colon + 1, &end, 10);
            if (!port || port > 65535 || *end || !isdigit((unsigned char)colon[1]))
                return wrong(x, name, "%s has no port of 1 to 65535", s);
            g->port = (uint16_t)port;
            has_group = true;
        } else if (!strcmp(key, "source") && s && address(s, strlen(s), &g->source))
            ;
        else if (!strcmp(key, "line")) {
            if (!get_text(x, name, e, g->line, sizeof g->line))
                return false;
        } else
            return wrong(x, name,
                         "%s is wrong; an entry is {group: ADDRESS:PORT or any, source: ADDRESS, "
                         "line: NAME}",
                         key);
    }
    return has_group || wrong(x, name, "an entry has no group");
}

static bool take_groups(struct reading *x, const char *name, const json_t *v)
{
    size_t i;
    json_t *e;
    if (!json_array_size(v) || json_array_size(v) > LOAD_GROUPS)
        return wrong(x, name, "must list 1 to %u groups", LOAD_GROUPS);
    x->r->group = calloc(json_array_size(v), sizeof *x->r->group);
    if (!x->r->group)
        return no_memory(x->err);
    json_array_foreach(v, i, e)
    {
        if (!json_is_object(e))
            return wrong(x, name, "each must be a mapping");
        if (!one_group(x, name, e, &x->r->group[i]))
            return false;
        x->r->ngroups++;
    }
    return true;
}

/* Those that need the table: taken behind all others. */
static bool take_later(struct reading *x, const char *name, const json_t *v)
{
    (void)x, (void)name, (void)v;
    return true;
}

static const struct member {
    const char *name;
    bool (*take)(struct reading *x, const char *name, const json_t *v);
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
    {"feed", take_feed},
    {"session", take_session},
    {"decoder", take_decoder},
    {"groups", take_groups},
    {"framing", take_framing},
    {"framing_bytes", take_framing_bytes},
    {"feed_zone", take_feed_zone},
    {"calendar", take_calendar},
    {"calendar_zone", take_calendar_zone},
    {"eod_s", take_eod},
};

/* ---- members that speak of the table's columns ---- */

static bool column_of(struct reading *x, const char *member, const char *name, int *col)
{
    *col = load_recipe_column(x->r, name);
    return *col >= 0 || wrong(x, member, "%s is no column of table %s", name, x->r->tables[0].name);
}

static bool is_time(uint8_t type)
{
    return type == PST_TIMESTAMP || type == PST_TIMESPAN || type == PST_TIME ||
           type == PST_SECOND || type == PST_MINUTE || type == PST_DATE || type == PST_MONTH;
}

static bool time_named(struct reading *x, const char *member, const json_t *v,
                       struct load_rule *rule)
{
    const char *s = json_string_value(v);
    if (s && strchr(s, '%')) {
        rule->time = LOAD_TIME_PATTERN;
        return get_text(x, member, v, rule->pattern, sizeof rule->pattern);
    }
    for (unsigned i = 0; s && i < LOAD_TIME_PATTERN; i++)
        if (!strcmp(s, load_time_name((enum load_time)i))) {
            rule->time = (uint8_t)i;
            return true;
        }
    return wrong(x, member,
                 "%s is no time format; see auto, iso, ymd, epoch_s, epoch_ms, epoch_us, "
                 "epoch_ns, clock, day_s, day_ms, day_us, day_ns, kdb_ns or a pattern with %%",
                 s ? s : "it");
}

static bool times_of(struct reading *x, const json_t *o)
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
        if (is_time(r->tables[0].col[i].type)) {
            r->rule[i].time = rule.time;
            memcpy(r->rule[i].pattern, rule.pattern, sizeof rule.pattern);
        }
    if (each && !json_is_object(each))
        return wrong(x, "times", "must map columns to formats");
    json_object_foreach((json_t *)(uintptr_t)each, key, e)
    {
        if (!column_of(x, "times", key, &col))
            return false;
        if (!is_time(r->tables[0].col[col].type))
            return wrong(x, "times", "column %s is no time", key);
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

static bool scales_of(struct reading *x, const json_t *v)
{
    const char *key;
    json_t *e;
    if (v && !json_is_object(v))
        return wrong(x, "scale", "must map columns to factors");
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        int col;
        char text[64];
        if (!column_of(x, "scale", key, &col))
            return false;
        uint8_t t = x->r->tables[0].col[col].type;
        if (t != PST_FLOAT && t != PST_REAL && t != PST_LONG && t != PST_INT && t != PST_SHORT)
            return wrong(x, "scale", "column %s is no number", key);
        if (json_is_real(e)) /* as it was written: no double has more than 15 sure digits */
            snprintf(text, sizeof text, "%.15g", json_real_value(e));
        else if (json_is_integer(e))
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(e));
        else if (!get_text(x, "scale", e, text, sizeof text))
            return false;
        if (!decimal_factor(text, &x->r->rule[col].multiply, &x->r->rule[col].divide))
            return wrong(x, "scale", "%s of column %s is no decimal factor", text, key);
    }
    return true;
}

static bool set_constant(struct load_recipe *r, int col, const char *text, size_t n)
{
    char *copy = strndup(text, n);
    if (!copy)
        return false;
    free(r->rule[col].value);
    r->rule[col].value = copy;
    r->rule[col].constant = true;
    return true;
}

static bool constants_of(struct reading *x, const json_t *v)
{
    const char *key;
    json_t *e;
    int col;
    if (v && !json_is_object(v))
        return wrong(x, "constants", "must map columns to texts");
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
            return wrong(x, "constants", "%s must be a text or a number", key);
        if (!set_constant(x->r, col, s, strlen(s)))
            return no_memory(x->err);
    }
    return true;
}

static bool optionals_of(struct reading *x, const json_t *v)
{
    size_t i;
    json_t *e;
    int col;
    if (v && !json_is_array(v))
        return wrong(x, "optional", "must list columns");
    json_array_foreach(v, i, e)
    {
        const char *s = json_string_value(e);
        if (s && !strcmp(s, "*")) {
            for (unsigned c = 2; c < x->r->tables[0].ncols; c++)
                x->r->rule[c].optional = true;
            continue;
        }
        if (!s || !column_of(x, "optional", s, &col))
            return s ? false : wrong(x, "optional", "must list columns");
        if (!col)
            return wrong(x, "optional", "time must be there: it says which partition a row is in");
        x->r->rule[col].optional = true;
    }
    return true;
}

static bool one_field(struct reading *x, const char *file, const char *to, bool *taken)
{
    struct load_recipe *r = x->r;
    struct load_field *f = &r->fields[r->nfields];
    if (file && strlen(file) >= sizeof f->name)
        return wrong(x, "columns", "a name is longer than %u bytes", LOAD_FIELD_NAME - 1);
    if (file)
        strcpy(f->name, file);
    f->to = strcmp(to, "-") ? load_recipe_column(r, to) : LOAD_TO_NOTHING;
    f->date = r->date == LOAD_DATE_COLUMN && !strcmp(file ? file : to, r->date_column);
    if (f->to < 0 && strcmp(to, "-") && !f->date)
        return wrong(x, "columns", "%s is no column of table %s; \"-\" passes a column over", to,
                     r->tables[0].name);
    if (f->to >= 0 && taken[f->to])
        return wrong(x, "columns", "column %s is given twice", to);
    if (f->to >= 0)
        taken[f->to] = true;
    r->nfields++;
    return true;
}

static bool fields_of(struct reading *x, const json_t *v)
{
    struct load_recipe *r = x->r;
    bool taken[SCHEMA_COLUMNS_MAX] = {false};
    size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v), i;
    const char *key;
    json_t *e;
    if (!v)
        return true;
    if (!n || n > LOAD_COLUMNS)
        return wrong(x, "columns", "must be a list or a mapping of 1 to %u columns", LOAD_COLUMNS);
    r->fields = calloc(n, sizeof *r->fields);
    if (!r->fields)
        return no_memory(x->err);
    r->by_name = json_is_object(v);
    json_array_foreach(v, i, e)
    {
        if (!json_is_string(e))
            return wrong(x, "columns", "must be texts");
        if (!one_field(x, NULL, json_string_value(e), taken))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        if (!json_is_string(e))
            return wrong(x, "columns", "must be texts");
        if (!strcmp(key, "*")) {
            if (strcmp(json_string_value(e), "-"))
                return wrong(x, "columns", "\"*\" can only be passed over: \"*\": \"-\"");
            r->others = true;
        } else if (!one_field(x, key, json_string_value(e), taken))
            return false;
    }
    return true;
}

/* ---- what goes together ---- */

static bool check_text(struct reading *x)
{
    struct load_recipe *r = x->r;
    const char *s = r->separator;
    if (r->quote && memchr(s, r->quote, r->nseparator))
        return wrong(x, "quote", "is the separator");
    if (r->escape && memchr(s, r->escape, r->nseparator))
        return wrong(x, "escape", "is the separator");
    if (r->nseparator == 1 && *s == r->decimal)
        return wrong(x, "decimal", "is the separator");
    bool parted = r->nseparator == 1 && *s == r->thousands && !r->quote; /* "1,234" is one field */
    if (r->thousands && (r->thousands == r->decimal || parted))
        return wrong(x, "thousands", "is the separator or the decimal point");
    if (r->escape && r->escape == r->quote)
        r->escape = 0; /* a doubled quote is understood anyway */
    if (r->by_name && r->header == LOAD_HEADER_NO)
        return wrong(x, "columns", "a mapping goes by the header's names, and header is false");
    if (r->date == LOAD_DATE_COLUMN && r->nfields && !r->by_name) {
        bool any = false;
        for (unsigned i = 0; i < r->nfields; i++)
            any |= r->fields[i].date;
        if (!any)
            return wrong(x, "date", "column %s is not among columns", r->date_column);
    }
    return true;
}

/* What stands in {} sets a column, the date, or nothing. */
static bool check_groups(struct reading *x)
{
    const char *p = x->r->file_pattern;
    while (p && (p = strchr(p, '{'))) {
        const char *end = strchr(p, '}');
        char name[SCHEMA_NAME_MAX];
        if (!end)
            return wrong(x, "match", "a { has no }");
        size_t n = (size_t)(end - p) - 1;
        snprintf(name, sizeof name, "%.*s", (int)n, p + 1);
        if (strcmp(name, "date") && strcmp(name, "i") && strcmp(name, "M") &&
            strcmp(name, "batch") && (n >= sizeof name || load_recipe_column(x->r, name) < 0))
            return wrong(x, "match", "{%s} is no column of table %s", name, x->r->tables[0].name);
        p = end;
    }
    return true;
}

static bool check(struct reading *x)
{
    struct load_recipe *r = x->r;
    struct err e = {0};
    if (!r->ntables)
        return wrong(x, "table", "is missing");
    if (!*r->table)
        strcpy(r->table, r->tables[0].name);
    bool feed = r->format == LOAD_ITCH50 || r->format == LOAD_PCAP;
    if (!feed && strcmp(r->table, r->tables[0].name))
        return wrong(x, "table", "%s is not the first schema, which is %s", r->table,
                     r->tables[0].name);
    if (r->format == LOAD_PLUGIN && !r->read)
        return wrong(x, "read", "format plugin needs the name of a plugin's read function");
    if (r->date == LOAD_DATE_FILE && r->format != LOAD_SPLAYED &&
        (!r->file_pattern || !strstr(r->file_pattern, "{date}")))
        return wrong(x, "date", "file needs a file_pattern with {date}");
    if (!check_groups(x))
        return false;
    if (feed && r->date == LOAD_DATE_COLUMN)
        return wrong(x, "date", "this format has no columns");
    if (r->format == LOAD_ITCH50 && r->date == LOAD_DATE_TIME)
        return wrong(x, "date",
                     "such a file does not say its date: give one, or file and a file_pattern");
    if (feed && r->ntables < 2)
        return wrong(x, "schemas", "lacks the tables gap and undecoded");
    if (r->format == LOAD_PCAP && !*r->framing && !r->nframing)
        return wrong(x, "framing", "a capture needs the framing of its feed");
    if (feed && !*r->feed)
        return wrong(x, "feed", "is missing: the value of the column feed");
    if (!(r->tz = tzone_load(r->zone, &e)))
        return wrong(x, "zone", "%s", e.text);
    if (!(r->calendar_tz = tzone_load(r->calendar_zone, &e)))
        return wrong(x, "calendar_zone", "%s", e.text);
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

static bool decode(struct reading *x, const json_t *o)
{
    const char *key;
    json_t *v;
    unsigned i;
    const json_t *name = json_object_get(o, "name");
    if (name && !take_name(x, "name", name)) /* first: sentences begin with it */
        return false;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        for (i = 0; i < PST_COUNT(members) && strcmp(members[i].name, key); i++)
            ;
        if (i == PST_COUNT(members))
            return wrong(x, key, "is unknown");
        if (!members[i].take(x, key, v))
            return false;
    }
    return check(x) && times_of(x, o) && scales_of(x, json_object_get(o, "scale")) &&
           constants_of(x, json_object_get(o, "constants")) &&
           optionals_of(x, json_object_get(o, "optional")) &&
           fields_of(x, json_object_get(o, "columns"));
}

struct load_recipe *load_recipe_decode(const json_t *o, struct err *err)
{
    struct load_recipe *r = calloc(1, sizeof *r);
    struct reading x = {r, err};
    if (!r) {
        no_memory(err);
        return NULL;
    }
    defaults(r);
    if (!json_is_object(o))
        wrong(&x, "", "must be a mapping");
    else if (decode(&x, o) && (r->format != LOAD_TEXT || check_text(&x))) {
        if ((r->source = json_deep_copy(o)))
            return r;
        no_memory(err);
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

/* ---- names of files ---- */

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
    struct reading x;
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
            return wrong(&b->x, "file_pattern", "\"%.40s\" is no date", text);
        }
        return true;
    }
    int col = load_recipe_column(r, name);
    if (col < 0 || group_len >= sizeof name) {
        b->failed = true;
        return wrong(&b->x, "file_pattern", "{%s} is no column of table %s", name,
                     r->tables[0].name);
    }
    if (!set_constant(r, col, text, n)) {
        b->failed = true;
        return no_memory(b->x.err);
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
    return !b.failed && wrong(&b.x, "file_pattern", "%s does not match %s", name, r->file_pattern);
}
