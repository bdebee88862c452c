/* SPDX-License-Identifier: Apache-2.0 */
/* From YAML text to struct config. What must hold between keys is in config_check.c. */
#include "config_keys.h"
#include "config_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define PATH_TEXT      200
#define ITEM_BYTES_MAX 255
#define DATES_FILE_MAX (1u << 20)

struct loader {
    const char *file;
    yaml_document_t *doc;
    struct config *c;
    struct err *err;
    int given[512]; /* line of each key that has an alias, by its index in config_keys */
};

__attribute__((format(printf, 4, 5))) static bool fail(struct loader *l, const yaml_node_t *node,
                                                       const char *path, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(l->err, -EINVAL, "%s:%zu: %s%s%s", l->file, node->start_mark.line + 1, path,
                   *path ? ": " : "", text);
}

static bool out_of_memory(struct loader *l)
{
    return err_set(l->err, -ENOMEM, "%s: out of memory", l->file);
}

static void join(char out[PATH_TEXT], const char *path, const char *name)
{
    snprintf(out, PATH_TEXT, "%.120s%s%.70s", path, *path ? "." : "", name);
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static const char *node_kind(const yaml_node_t *n)
{
    return n->type == YAML_MAPPING_NODE    ? "a mapping"
           : n->type == YAML_SEQUENCE_NODE ? "a list"
                                           : "a single value";
}

static bool is_null(const yaml_node_t *n)
{
    const char *s = (const char *)n->data.scalar.value;
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

/* The text of a scalar without control characters; NULL with err set. */
static const char *scalar_text(struct loader *l, const yaml_node_t *n, const char *path,
                               const char *wanted)
{
    if (n->type != YAML_SCALAR_NODE) {
        fail(l, n, path, "is %s; write %s", node_kind(n), wanted);
        return NULL;
    }
    const yaml_char_t *s = n->data.scalar.value;
    for (size_t i = 0; i < n->data.scalar.length; i++) {
        if (s[i] < 0x20 || s[i] == 0x7F) {
            fail(l, n, path, "has a control character or line break in its value; remove it");
            return NULL;
        }
    }
    return (const char *)s;
}

static yaml_node_t *pair_key(struct loader *l, const yaml_node_pair_t *p)
{
    return yaml_document_get_node(l->doc, p->key);
}
static yaml_node_t *pair_value(struct loader *l, const yaml_node_pair_t *p)
{
    return yaml_document_get_node(l->doc, p->value);
}

/* ---- lists of texts and dates -----------------------------------------------------------------
 */

static uint32_t item_count(const yaml_node_t *n)
{
    if (n->type == YAML_SEQUENCE_NODE) {
        size_t count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
        return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
    }
    return is_null(n) ? 0 : 1;
}

static yaml_node_t *item_at(struct loader *l, yaml_node_t *n, uint32_t i)
{
    return n->type == YAML_SEQUENCE_NODE
               ? yaml_document_get_node(l->doc, n->data.sequence.items.start[i])
               : n;
}

static bool load_names(struct loader *l, const struct config_key *k, yaml_node_t *n,
                       struct config_names *out, const char *path)
{
    uint32_t count = item_count(n);
    if (n->type == YAML_MAPPING_NODE) {
        return fail(l, n, path, "is a mapping; write a list such as [a, b]");
    }
    if (count > (uint64_t)k->max) {
        return fail(l, n, path, "has %u items; at most %lld are allowed", count, (long long)k->max);
    }
    out->at = config_alloc(&l->c->arena, count * sizeof *out->at);
    if (!out->at) {
        return out_of_memory(l);
    }
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_t *item = item_at(l, n, i);
        const char *text = scalar_text(l, item, path, "a list such as [a, b]");
        if (!text) {
            return false;
        }
        size_t bytes = strlen(text);
        if (bytes == 0 || bytes > ITEM_BYTES_MAX) {
            return fail(l, item, path, "has an item of %zu bytes; 1 to %d are allowed", bytes,
                        ITEM_BYTES_MAX);
        }
        out->at[i] = config_strdup(&l->c->arena, text);
        if (!out->at[i]) {
            return out_of_memory(l);
        }
        out->count = i + 1;
    }
    return true;
}

struct date_buffer {
    int32_t at[8192];
    uint32_t count;
};

/* A regular file of at most `max` bytes into malloc'ed memory, with a NUL after it. */
static char *slurp(const char *path, size_t max, size_t *size, char *why, size_t why_size)
{
    struct stat st;
    char *buf = NULL;
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, why_size, "not a regular file");
        goto fail;
    }
    if ((uint64_t)st.st_size > max) {
        snprintf(why, why_size, "it has %lld bytes, at most %zu are allowed", (long long)st.st_size,
                 max);
        goto fail;
    }
    buf = malloc((size_t)st.st_size + 1);
    if (!buf) {
        snprintf(why, why_size, "out of memory");
        goto fail;
    }
    while (have < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + have, (size_t)st.st_size - have);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            snprintf(why, why_size, "%s", strerror(errno));
            goto fail;
        }
        if (n == 0) {
            break;
        }
        have += (size_t)n;
    }
    close(fd);
    buf[have] = 0;
    *size = have;
    return buf;
fail:
    free(buf);
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

/* One date a line; empty lines and what follows # are skipped. */
static bool load_dates_file(struct loader *l, const yaml_node_t *n, const char *name,
                            struct date_buffer *dates, const char *path)
{
    char full[1200], why[200];
    const char *slash = strrchr(l->file, '/');
    int directory = name[0] == '/' || !slash ? 0 : (int)(slash - l->file) + 1;
    size_t size = 0;
    if ((size_t)snprintf(full, sizeof full, "%.*s%s", directory, l->file, name) >= sizeof full) {
        return fail(l, n, path, "\"%.40s...\" is too long a path; shorten it", name);
    }
    char *text = slurp(full, DATES_FILE_MAX, &size, why, sizeof why);
    if (!text) {
        return fail(l, n, path, "\"%.100s\" is neither a date (YYYY-MM-DD) nor a readable file: %s",
                    name, why);
    }
    int line = 1;
    bool ok = true;
    for (char *p = text; ok && *p; line++) {
        char *end = p + strcspn(p, "\n"), *next = *end ? end + 1 : end;
        *end = 0;
        p[strcspn(p, "#\r")] = 0;
        p += strspn(p, " \t");
        for (char *t = p + strlen(p); t > p && (t[-1] == ' ' || t[-1] == '\t'); t--) {
            t[-1] = 0;
        }
        if (*p) {
            int32_t day;
            if (!civil_parse(p, &day) || day < 0 || day > CIVIL_DAY_MAX) {
                ok = err_set(l->err, -EINVAL,
                             "%.300s:%d: \"%.40s\" is not a date; write YYYY-MM-DD", full, line, p);
            } else if (dates->count == PST_COUNT(dates->at)) {
                ok =
                    fail(l, n, path, "more than %zu dates; remove past ones", PST_COUNT(dates->at));
            } else {
                dates->at[dates->count++] = day;
            }
        }
        p = next;
    }
    free(text);
    return ok;
}

static int by_day(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool load_dates(struct loader *l, yaml_node_t *n, struct config_dates *out, const char *path)
{
    struct date_buffer dates;
    uint32_t count = item_count(n);
    dates.count = 0;
    if (n->type == YAML_MAPPING_NODE) {
        return fail(l, n, path, "is a mapping; write a list of dates such as [2026-12-25]");
    }
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_t *item = item_at(l, n, i);
        const char *text = scalar_text(l, item, path, "a list of dates such as [2026-12-25]");
        int32_t day;
        if (!text) {
            return false;
        }
        if (!civil_parse(text, &day)) {
            if (!load_dates_file(l, item, text, &dates, path)) {
                return false;
            }
            continue;
        }
        if (day < 0 || day > CIVIL_DAY_MAX) {
            return fail(l, item, path, "%s is out of range; 2000-01-01 ... 2179-06-06 is allowed",
                        text);
        }
        if (dates.count == PST_COUNT(dates.at)) {
            return fail(l, item, path, "more than %zu dates; remove past ones",
                        PST_COUNT(dates.at));
        }
        dates.at[dates.count++] = day;
    }
    qsort(dates.at, dates.count, sizeof dates.at[0], by_day);
    out->at = config_alloc(&l->c->arena, dates.count * sizeof *out->at);
    if (!out->at) {
        return out_of_memory(l);
    }
    out->count = 0;
    for (uint32_t i = 0; i < dates.count; i++) {
        if (out->count == 0 || out->at[out->count - 1] != dates.at[i]) {
            out->at[out->count++] = dates.at[i];
        }
    }
    return true;
}

/* ---- mappings ---------------------------------------------------------------------------------
 */

static bool load_mapping(struct loader *l, int section, yaml_node_t *n, void *object,
                         const char *given_name, const char *path, int depth);
static bool load_value(struct loader *l, const struct config_key *k, yaml_node_t *n, void *object,
                       const char *path, int depth);

static bool unknown_key(struct loader *l, int section, const yaml_node_t *n, const char *name,
                        const char *path)
{
    struct config_nearest near = {.wanted = name};
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        config_nearest_try(&near, k->name);
    }
    if (near.best && near.distance <= 1) {
        return fail(l, n, path, "unknown key; did you mean %s?", near.best);
    }
    for (uint32_t i = 0; i < config_template_count; i++) {
        if (strcmp(config_templates[i].parameter, name) == 0) {
            return fail(l, n, path, "unknown key; the template's %s is %s here", name,
                        config_templates[i].key);
        }
    }
    for (uint32_t i = 0; i < config_key_count; i++) { /* the right key in the wrong place? */
        const struct config_key *k = &config_keys[i], *parent = config_keys;
        if (k->section == section || strcmp(k->name, name) != 0) {
            continue;
        }
        if (k->section == SECTION_top) {
            return fail(l, n, path, "unknown key here; it belongs to the top of the file");
        }
        while (parent->child != k->section) {
            parent++;
        }
        return fail(l, n, path, "unknown key here; it belongs under %s", parent->name);
    }
    if (near.best) {
        return fail(l, n, path, "unknown key; did you mean %s?", near.best);
    }
    return fail(l, n, path, "unknown key; remove it, or see penstockd --help-config");
}

/* What an element of a list is called in messages: its name where it has one, else its number. */
static void element_path(struct loader *l, char out[PATH_TEXT], const char *path, yaml_node_t *n,
                         uint32_t i)
{
    const char *name = NULL;
    if (n->type == YAML_SCALAR_NODE) {
        name = (const char *)n->data.scalar.value;
    } else if (n->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top;
             p++) {
            yaml_node_t *k = pair_key(l, p), *v = pair_value(l, p);
            if (k->type == YAML_SCALAR_NODE && v->type == YAML_SCALAR_NODE &&
                strcmp((const char *)k->data.scalar.value, "name") == 0) {
                name = (const char *)v->data.scalar.value;
            }
        }
    }
    if (name && *name && !strpbrk(name, "\n\r\t")) {
        join(out, path, name);
    } else {
        snprintf(out, PATH_TEXT, "%.120s[%u]", path, i);
    }
}

static bool load_element(struct loader *l, int section, yaml_node_t *n, void *object,
                         const char *given_name, const char *path, int depth)
{
    if (!config_defaults(section, object, &l->c->arena, l->err)) {
        return false;
    }
    const struct config_key *name = config_find_key(section, "name"), *other = NULL;
    bool short_form = name && n->type == YAML_SCALAR_NODE;
    if (!short_form) {
        return load_mapping(l, section, n, object, given_name, path, depth);
    }
    /* `A` in a list, `A:` or `A: retransmission` in a mapping. */
    *(int *)object = (int)n->start_mark.line + 1;
    if (!given_name) {
        if (!load_value(l, name, n, object, path, depth)) {
            return false;
        }
    } else if (!is_null(n)) {
        for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
            if (k != name && other) {
                return fail(l, n, path, "is a single value; write its keys, one a line");
            }
            other = k != name ? k : other;
        }
        return load_value(l, other, n, object, path, depth);
    }
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        if (k != name && (k->flags & CONFIG_REQUIRED)) {
            return fail(l, n, path, "%s is missing; it must be given", k->name);
        }
    }
    return true;
}

static bool load_list(struct loader *l, const struct config_key *k, yaml_node_t *n,
                      struct config_any_list *out, const char *path, int depth)
{
    const struct config_key *name_key = config_find_key(k->child, "name");
    bool by_name = n->type == YAML_MAPPING_NODE && name_key;
    size_t size = config_sections[k->child].size;
    uint64_t count;
    if (is_null(n)) {
        return true;
    }
    if (by_name) {
        count = (uint64_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
    } else if (n->type == YAML_SEQUENCE_NODE) {
        count = item_count(n);
    } else {
        return fail(l, n, path, "is %s; write a list, each item after a -", node_kind(n));
    }
    if (count > (uint64_t)k->max) {
        return fail(l, n, path, "has %llu items; at most %lld are allowed",
                    (unsigned long long)count, (long long)k->max);
    }
    out->at = config_alloc(&l->c->arena, count * size);
    if (!out->at) {
        return out_of_memory(l);
    }
    for (uint32_t i = 0; i < count; i++) {
        char *object = (char *)out->at + i * size;
        char child[PATH_TEXT];
        yaml_node_t *item, *at;
        const char *name = NULL;
        if (by_name) {
            yaml_node_pair_t *p = n->data.mapping.pairs.start + i;
            at = pair_key(l, p);
            item = pair_value(l, p);
            name = scalar_text(l, at, path, "a name before the :");
            if (!name) {
                return false;
            }
            join(child, path, name);
        } else {
            at = item = item_at(l, n, i);
            element_path(l, child, path, item, i);
        }
        if (!load_element(l, k->child, item, object, name, child, depth + 1)) {
            return false;
        }
        if (name && !load_value(l, name_key, at, object, child, depth)) {
            return false;
        }
        *(int *)object = (int)at->start_mark.line + 1;
        for (uint32_t j = 0; name_key && j < i; j++) {
            char *earlier = (char *)out->at + j * size;
            if (strcmp(*(char **)(earlier + name_key->offset),
                       *(char **)(object + name_key->offset)) == 0) {
                return fail(l, at, child, "this name is already used in line %d; choose another",
                            *(int *)earlier);
            }
        }
        out->count = i + 1;
    }
    return true;
}

static bool load_weekdays(struct loader *l, const struct config_key *k, yaml_node_t *n, void *at,
                          const char *path)
{
    char text[100] = "", why[300];
    for (uint32_t i = 0; i < item_count(n); i++) {
        yaml_node_t *item = item_at(l, n, i);
        const char *word = scalar_text(l, item, path, "weekdays such as [Sat, Sun]");
        size_t have = strlen(text);
        if (!word) {
            return false;
        }
        if (strlen(word) + have + 2 > sizeof text) {
            return fail(l, item, path, "is too long; write weekdays such as [Sat, Sun]");
        }
        snprintf(text + have, sizeof text - have, "%s%s", have ? "," : "", word);
    }
    return config_value_parse(k, *text ? text : "none", at, &l->c->arena, why, sizeof why) ||
           fail(l, n, path, "%s", why);
}

static bool load_given(struct loader *l, const struct config_key *k, yaml_node_t *n, void *object,
                       const char *path, int depth)
{
    void *at = (char *)object + k->offset;
    char why[300];
    if (depth > CONFIG_DEPTH_MAX) {
        return fail(l, n, path, "nested deeper than %d; flatten it", CONFIG_DEPTH_MAX);
    }
    switch (k->kind) {
    case KIND_SUB:
        if (is_null(n)) {
            if (k->child == SECTION_ipc || k->child == SECTION_load) {
                *(int *)at = (int)n->start_mark.line + 1; /* alone it means its defaults */
            }
            return true;
        }
        return load_mapping(l, k->child, n, at, NULL, path, depth + 1);
    case KIND_LIST:
        return load_list(l, k, n, at, path, depth + 1);
    case KIND_NAMES:
        return load_names(l, k, n, at, path);
    case KIND_DATES:
        return load_dates(l, n, at, path);
    case KIND_WEEKDAYS:
        if (n->type == YAML_SEQUENCE_NODE) {
            return load_weekdays(l, k, n, at, path);
        }
        break;
    default:
        break;
    }
    if (is_null(n)) {
        return (!k->def && !(k->flags & CONFIG_REQUIRED)) ||
               fail(l, n, path, "has no value; give one or remove the line");
    }
    const char *text = scalar_text(l, n, path, "a single value");
    if (!text) {
        return false;
    }
    return config_value_parse(k, text, at, &l->c->arena, why, sizeof why) ||
           fail(l, n, path, "%s", why);
}

static bool load_value(struct loader *l, const struct config_key *k, yaml_node_t *n, void *object,
                       const char *path, int depth)
{
#ifdef PST_FAULTS
    if (config_ignored(k)) {
        bool other = (k->flags & CONFIG_REQUIRED) || (k->kind == KIND_PATH && k->def);
        return !other || (load_given(l, k, n, object, path, depth) &&
                          config_other_value(k, (char *)object + k->offset, &l->c->arena));
    }
#endif
    return load_given(l, k, n, object, path, depth);
}

/* Such a key stands once in a file, under whichever name: no list holds it. */
static bool has_alias(const struct config_key *k)
{
    for (uint32_t i = 0; i < config_alias_count; i++) {
        if (config_aliases[i].section == k->section &&
            strcmp(config_aliases[i].key, k->name) == 0) {
            return true;
        }
    }
    return false;
}

static bool load_mapping(struct loader *l, int section, yaml_node_t *n, void *object,
                         const char *given_name, const char *path, int depth)
{
    int seen[PST_COUNT(l->given)] = {0}; /* line of each key, by its index in config_keys */
    pst_must(config_key_count <= PST_COUNT(seen));
    if (n->type != YAML_MAPPING_NODE) {
        return fail(l, n, path, "is %s; write its keys, one a line, as `key: value`", node_kind(n));
    }
    *(int *)object = (int)n->start_mark.line + 1;
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        yaml_node_t *key_node = pair_key(l, p);
        const char *name = scalar_text(l, key_node, path, "a key before each :");
        char child[PATH_TEXT];
        if (!name) {
            return false;
        }
        join(child, path, name);
        const struct config_key *k = config_find_key(section, name);
        void *target = object;
        const struct config_alias *other =
            !k && section == SECTION_top ? config_find_alias(name) : NULL;
        if (other) {
            k = config_find_key(other->section, other->key);
            target = config_alias_object(other, l->c);
        }
        if (!k) {
            return unknown_key(l, section, key_node, name, child);
        }
        int *line = has_alias(k) ? &l->given[k - config_keys] : &seen[k - config_keys];
        if (*line) {
            return fail(l, key_node, child, "already given in line %d; remove one", *line);
        }
        *line = (int)key_node->start_mark.line + 1;
        if (k->flags & CONFIG_REFUSED) {
            return fail(l, key_node, child,
                        "not effective in this version, which does not publish to consumers yet; "
                        "remove the line");
        }
        if (given_name && strcmp(name, "name") == 0) {
            return fail(l, key_node, child, "the name already stands before the :; remove this");
        }
        if (!load_value(l, k, pair_value(l, p), target, child, depth)) {
            return false;
        }
    }
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        if ((k->flags & CONFIG_REQUIRED) && !seen[k - config_keys] &&
            !(given_name && strcmp(k->name, "name") == 0)) {
            return fail(l, n, path, "%s is missing; it must be given", k->name);
        }
    }
    return true;
}

/* ---- files and texts --------------------------------------------------------------------------
 */

static bool yaml_problem(const char *file, const yaml_parser_t *p, struct err *err)
{
    if (p->error == YAML_MEMORY_ERROR) {
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    }
    size_t line = p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line;
    return err_set(err, -EINVAL, "%s:%zu: not YAML: %s%s%s; correct the line or the one above it",
                   file, line + 1, p->problem ? p->problem : "cannot be read",
                   p->context ? " " : "", p->context ? p->context : "");
}

/*
 * A pass over the events before the document is built: what the document interface would follow or
 * expand (aliases), or nest without bound, is refused here.
 */
bool config_scan(const char *file, const char *text, size_t size, struct err *err)
{
    yaml_parser_t p;
    yaml_event_t e;
    int depth = 0, documents = 0;
    bool ok = true, end = false;
    if (!yaml_parser_initialize(&p)) {
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
    while (ok && !end) {
        const char *refused = NULL;
        const yaml_char_t *anchor = NULL, *tag = NULL;
        if (!yaml_parser_parse(&p, &e)) {
            ok = yaml_problem(file, &p, err);
            break;
        }
        switch (e.type) {
        case YAML_ALIAS_EVENT:
            refused = "an alias (*name)";
            break;
        case YAML_SCALAR_EVENT:
            anchor = e.data.scalar.anchor;
            tag = e.data.scalar.tag;
            break;
        case YAML_SEQUENCE_START_EVENT:
            anchor = e.data.sequence_start.anchor;
            tag = e.data.sequence_start.tag;
            depth++;
            break;
        case YAML_MAPPING_START_EVENT:
            anchor = e.data.mapping_start.anchor;
            tag = e.data.mapping_start.tag;
            depth++;
            break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
            depth--;
            break;
        case YAML_DOCUMENT_START_EVENT:
            documents++;
            break;
        case YAML_STREAM_END_EVENT:
            end = true;
            break;
        default:
            break;
        }
        refused = anchor ? "an anchor (&name)" : tag ? "a tag (!name)" : refused;
        size_t line = e.start_mark.line + 1;
        if (refused) {
            ok = err_set(err, -EINVAL, "%s:%zu: %s is not supported; write the value itself", file,
                         line, refused);
        } else if (depth > CONFIG_DEPTH_MAX) {
            ok = err_set(err, -EINVAL, "%s:%zu: nested deeper than %d; flatten it", file, line,
                         CONFIG_DEPTH_MAX);
        } else if (documents > 1) {
            ok = err_set(err, -EINVAL, "%s:%zu: a second document; keep one and remove the ---",
                         file, line);
        }
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&p);
    return ok;
}

static bool load_document(struct config *c, const char *text, size_t size, struct err *err)
{
    yaml_parser_t p;
    yaml_document_t doc;
    bool ok = true;
    if (!config_scan(c->file, text, size, err)) {
        return false;
    }
    if (!yaml_parser_initialize(&p)) {
        return err_set(err, -ENOMEM, "%s: out of memory", c->file);
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
    if (!yaml_parser_load(&p, &doc)) {
        ok = yaml_problem(c->file, &p, err);
    } else {
        struct loader l = {.file = c->file, .doc = &doc, .c = c, .err = err};
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        if (root && !is_null(root)) {
            ok = load_mapping(&l, SECTION_top, root, c, NULL, "", 1);
        }
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&p);
    return ok;
}

bool config_parse(const char *file, const char *text, size_t size, struct config **out,
                  struct err *err)
{
    struct config_arena *arena = NULL;
    struct config *c = config_alloc(&arena, sizeof *c);
    *out = NULL;
    if (!c) {
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    }
    c->arena = arena;
    c->file = config_strdup(&c->arena, file);
    bool ok = c->file || err_set(err, -ENOMEM, "%s: out of memory", file);
    if (ok && size > CONFIG_FILE_MAX) {
        ok = err_set(err, -EFBIG, "%s: larger than 4 MiB; this cannot be a configuration", file);
    }
    ok = ok && config_defaults(SECTION_top, c, &c->arena, err) &&
         load_document(c, text, size, err) && config_check(c, err);
    if (!ok) {
        config_free(c);
        return false;
    }
    *out = c;
    return true;
}

bool config_load(const char *path, struct config **out, struct err *err)
{
    char why[200];
    size_t size = 0;
    *out = NULL;
    char *text = slurp(path, CONFIG_FILE_MAX, &size, why, sizeof why);
    if (!text) {
        return err_set(err, -EIO,
                       "%s: cannot read the configuration: %s; give a readable file with --config",
                       path, why);
    }
    bool ok = config_parse(path, text, size, out, err);
    free(text);
    return ok;
}

bool config_default(struct config **out, struct err *err)
{
    return config_parse("(defaults)", "", 0, out, err);
}
