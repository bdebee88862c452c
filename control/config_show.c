/* SPDX-License-Identifier: Apache-2.0 */
/* Help, documentation, the configuration in force, and what a reload would change. */
#include "config_keys.h"

#include <inttypes.h>
#include <jansson.h>

/* ---- help -------------------------------------------------------------------------------------
 */

static const char *default_text(const struct config_key *k)
{
    if (k->flags & CONFIG_REQUIRED) {
        return "required";
    }
    return k->def ? k->def : "unset";
}

/* "choice async|written|durable", "size 0 ... 1T", "list of port". */
static const char *type_text(const struct config_key *k, char buf[400])
{
    char range[160];
    config_range_text(k, range);
    if (k->kind == KIND_SUB) {
        snprintf(buf, 400, "mapping, see %s", config_sections[k->child].name);
    } else if (k->kind == KIND_LIST) {
        snprintf(buf, 400, "list of %s, %s", config_sections[k->child].name, range);
    } else if (k->kind == KIND_ENUM) {
        snprintf(buf, 400, "%s", k->unit);
    } else {
        snprintf(buf, 400, "%s%s%s%s%s", config_kind_name(k->kind), *k->unit ? ", " : "", k->unit,
                 *range ? ", " : "", range);
    }
    return buf;
}

void config_help(FILE *out)
{
    char type[400];
    fputs("Configuration: one YAML file; what it does not say has the default given here.\n"
          "Sizes: k M G T = 1024, 1024^2 ... bytes. Counts: k M G = 1000 ... Durations: ns us ms s "
          "m h.\n",
          out);
    for (int s = 0; s < SECTION_COUNT; s++) {
        fprintf(out, "\n%s: %s\n", s == SECTION_top ? "(top)" : config_sections[s].name,
                config_sections[s].sentence);
        for (const struct config_key *k = NULL; (k = config_next_key(s, k));) {
            fprintf(out, "  %s  (%s", k->name, type_text(k, type));
            if (k->kind != KIND_SUB && k->kind != KIND_LIST) {
                fprintf(out, "; %s%s", k->flags & CONFIG_REQUIRED ? "" : "default ",
                        default_text(k));
            }
            fprintf(out, "%s%s)\n      %s\n", k->flags & CONFIG_LIVE ? "; live" : "",
                    k->flags & CONFIG_REFUSED ? "; not effective in this version: refused" : "",
                    k->sentence);
        }
    }
    fputs("\nOther names at the top of the file:\n", out);
    for (uint32_t i = 0; i < config_alias_count; i++) {
        const struct config_alias *a = &config_aliases[i];
        fprintf(out, "  %s  is %s%s%s\n", a->name,
                a->section == SECTION_top ? "" : config_sections[a->section].name,
                a->section == SECTION_top ? "" : ".", a->key);
    }
    fputs("\nThe parameters of a tickerplant template and the keys for them:\n", out);
    for (uint32_t i = 0; i < config_template_count; i++) {
        const struct config_template *t = &config_templates[i];
        fprintf(out, "  %-24s%s%s%s\n", t->parameter, t->key, *t->note ? ": " : "", t->note);
    }
}

/* A | would end a cell. */
static void put_cell(FILE *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '|') {
            fputs(" \\| ", out);
        } else if (*s == '<') {
            fputs("&lt;", out);
        } else {
            fputc(*s, out);
        }
    }
}

void config_markdown(FILE *out)
{
    char type[400];
    for (int s = 0; s < SECTION_COUNT; s++) {
        fprintf(out, "### %s\n\n%s\n\n| key | type | default | reload | |\n|---|---|---|---|---|\n",
                s == SECTION_top ? "Top level" : config_sections[s].name,
                config_sections[s].sentence);
        for (const struct config_key *k = NULL; (k = config_next_key(s, k));) {
            fprintf(out, "| `%s` | ", k->name);
            put_cell(out, type_text(k, type));
            bool has_default = k->kind != KIND_SUB && k->kind != KIND_LIST;
            fprintf(out, " | %s | %s | ", has_default ? default_text(k) : "",
                    k->flags & CONFIG_LIVE      ? "live"
                    : k->flags & CONFIG_REFUSED ? "refused in this version"
                                                : "");
            put_cell(out, k->sentence);
            fputs(" |\n", out);
        }
        fputc('\n', out);
    }
    fputs("### Parameters of a tickerplant template\n\n| parameter | key | |\n|---|---|---|\n",
          out);
    for (uint32_t i = 0; i < config_template_count; i++) {
        const struct config_template *t = &config_templates[i];
        fprintf(out, "| `%s` | `%s` | ", t->parameter, t->key);
        put_cell(out, t->note);
        fputs(" |\n", out);
    }
}

/* ---- the configuration in force ---------------------------------------------------------------
 */

static json_t *section_json(int section, const void *object);

static json_t *list_json(const struct config_key *k, const struct config_any_list *list)
{
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < list->count; i++) {
        const void *item = (const char *)list->at + i * config_sections[k->child].size;
        if (json_array_append_new(array, section_json(k->child, item)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *texts_json(const struct config_key *k, const void *at)
{
    json_t *array = json_array();
    const struct config_names *names = at;
    const struct config_dates *dates = at;
    uint32_t count = k->kind == KIND_NAMES ? names->count : dates->count;
    char buf[CIVIL_TEXT];
    for (uint32_t i = 0; array && i < count; i++) {
        const char *text =
            k->kind == KIND_NAMES ? names->at[i] : civil_format_iso(dates->at[i], buf);
        if (json_array_append_new(array, json_string(text)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *value_json(const struct config_key *k, const void *at)
{
    char buf[64];
    const char *text;
    switch (k->kind) {
    case KIND_SUB:
        return section_json(k->child, at);
    case KIND_LIST:
        return list_json(k, at);
    case KIND_NAMES:
    case KIND_DATES:
        return texts_json(k, at);
    case KIND_BOOL:
        return json_boolean(*(const bool *)at);
    case KIND_INT:
    case KIND_COUNT:
        return json_integer(*(const int64_t *)at);
    default:
        text = config_value_text(k, at, buf);
        return text ? json_string(text) : json_null();
    }
}

static json_t *section_json(int section, const void *object)
{
    json_t *map = json_object();
    for (const struct config_key *k = NULL; map && (k = config_next_key(section, k));) {
        /* Shown, they would open ports, or start a loader, where it is loaded again. */
        const int *line = (const void *)((const char *)object + k->offset);
        bool absent =
            k->kind == KIND_SUB && !*line && (k->child == SECTION_ipc || k->child == SECTION_load);
        if (!(k->flags & CONFIG_REFUSED) && !absent &&
            json_object_set_new(map, k->name, value_json(k, (const char *)object + k->offset)) !=
                0) {
            json_decref(map);
            map = NULL;
        }
    }
    return map;
}

json_t *config_show_json(const struct config *c)
{
    return section_json(SECTION_top, c);
}

/* Words that YAML or we would take for something else are quoted, and so is all punctuation. */
static bool put_scalar(const json_t *v, FILE *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.";
    const char *s = json_string_value(v);
    if (s && *s && strspn(s, plain) == strlen(s) && strcmp(s, "null") != 0) {
        return fputs(s, out) >= 0;
    }
    return json_dumpf(v, out, JSON_ENCODE_ANY | JSON_COMPACT) == 0;
}

static bool put_yaml(const json_t *v, int indent, FILE *out)
{
    bool ok = true, first = true;
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, item)
        {
            if (!first || indent == 0) {
                fprintf(out, "%*s", indent, "");
            }
            first = false;
            fprintf(out, "%s:", key);
            bool flat = (json_is_object(item) && json_object_size(item) == 0) ||
                        (json_is_array(item) &&
                         (json_array_size(item) == 0 || !json_is_object(json_array_get(item, 0))));
            if ((json_is_object(item) || json_is_array(item)) && !flat) {
                fprintf(out, "\n%*s", json_is_object(item) ? indent + 2 : 0, "");
                ok = ok && put_yaml(item, indent + 2, out);
            } else {
                fputc(' ', out);
                ok = ok && (flat && json_is_array(item) ? put_yaml(item, -1, out)
                                                        : put_scalar(item, out));
                fputc('\n', out);
            }
        }
    } else if (indent < 0) { /* a list of texts, on one line */
        fputc('[', out);
        json_array_foreach((json_t *)v, i, item)
        {
            fputs(i ? ", " : "", out);
            ok = ok && put_scalar(item, out);
        }
        fputc(']', out);
    } else {
        json_array_foreach((json_t *)v, i, item)
        {
            fprintf(out, "%*s- ", indent, "");
            ok = ok && put_yaml(item, indent + 2, out);
        }
    }
    return ok;
}

bool config_show_yaml(const struct config *c, FILE *out)
{
    json_t *all = config_show_json(c);
    bool ok = all && put_yaml(all, 0, out) && !ferror(out);
    json_decref(all);
    return ok;
}

/* ---- reload -----------------------------------------------------------------------------------
 */

struct diff {
    struct config_change *out;
    uint32_t count, max;
};

static void note(struct diff *d, const char *path, bool live)
{
    if (d->count < d->max) {
        snprintf(d->out[d->count].key, sizeof d->out[d->count].key, "%s", path);
        d->out[d->count].live = live;
    }
    d->count++;
}

static void diff_section(struct diff *d, int section, const void *a, const void *b,
                         const char *path);

static const char *element_name(const struct config_key *name, const void *item)
{
    return *(const char *const *)((const char *)item + name->offset);
}

static const void *element_find(const struct config_any_list *list, size_t size,
                                const struct config_key *name, const char *wanted)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->at + i * size;
        if (strcmp(element_name(name, item), wanted) == 0) {
            return item;
        }
    }
    return NULL;
}

/* Elements with names are matched by name; others, and a changed order, by place. */
static void diff_list(struct diff *d, const struct config_key *k, const struct config_any_list *a,
                      const struct config_any_list *b, const char *path)
{
    const struct config_key *name = config_find_key(k->child, "name");
    size_t size = config_sections[k->child].size;
    char child[160];
    bool moved = false;
    for (uint32_t i = 0; i < a->count || (!name && i < b->count); i++) {
        const char *x = i < a->count ? (const char *)a->at + i * size : NULL;
        const char *y = i < b->count ? (const char *)b->at + i * size : NULL;
        if (name) {
            y = element_find(b, size, name, element_name(name, x));
            snprintf(child, sizeof child, "%.100s.%.50s", path, element_name(name, x));
            moved |= y && y != (const char *)b->at + i * size;
        } else {
            snprintf(child, sizeof child, "%.140s[%u]", path, i);
        }
        if (x && y) {
            diff_section(d, k->child, x, y, child);
        } else {
            note(d, child, false);
        }
    }
    for (uint32_t i = 0; name && i < b->count; i++) {
        const char *y = (const char *)b->at + i * size;
        if (!element_find(a, size, name, element_name(name, y))) {
            snprintf(child, sizeof child, "%.100s.%.50s", path, element_name(name, y));
            note(d, child, false);
        }
    }
    if (moved && a->count == b->count && k->child == SECTION_column) {
        note(d, path, false); /* only columns have a meaning in their order */
    }
}

static bool same_value(const struct config_key *k, const void *a, const void *b)
{
    char x[64], y[64];
    if (k->kind == KIND_NAMES) {
        const struct config_names *m = a, *n = b;
        for (uint32_t i = 0; i < m->count && i < n->count; i++) {
            if (strcmp(m->at[i], n->at[i]) != 0) {
                return false;
            }
        }
        return m->count == n->count;
    }
    if (k->kind == KIND_DATES) {
        const struct config_dates *m = a, *n = b;
        return m->count == n->count &&
               (m->count == 0 || memcmp(m->at, n->at, m->count * sizeof *m->at) == 0);
    }
    const char *s = config_value_text(k, a, x), *t = config_value_text(k, b, y);
    return s && t ? strcmp(s, t) == 0 : s == t;
}

static void diff_section(struct diff *d, int section, const void *a, const void *b,
                         const char *path)
{
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        const void *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;
        char child[160];
        snprintf(child, sizeof child, "%.100s%s%s", path, *path ? "." : "", k->name);
        if (k->kind == KIND_SUB) {
            diff_section(d, k->child, x, y, child);
        } else if (k->kind == KIND_LIST) {
            diff_list(d, k, x, y, child);
        } else if (!same_value(k, x, y)) {
            note(d, child, k->flags & CONFIG_LIVE);
        }
    }
}

uint32_t config_diff(const struct config *before, const struct config *after,
                     struct config_change *out, uint32_t max)
{
    struct diff d = {.out = out, .max = max};
    diff_section(&d, SECTION_top, before, after, "");
    return d.count;
}

static void take_section(int section, char *to, const char *from)
{
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        if (k->kind == KIND_SUB) {
            take_section(k->child, to + k->offset, from + k->offset);
        } else if (k->flags & CONFIG_LIVE) {
            memcpy(to + k->offset, from + k->offset, k->size);
        }
    }
}

void config_take_live(struct config *c, const struct config *after)
{
    take_section(SECTION_top, (char *)c, (const char *)after);
}
