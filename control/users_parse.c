/* SPDX-License-Identifier: Apache-2.0 */
/* The users file: from YAML to users with the rules of their groups. */
#include "users_load.h"

#include <errno.h>
#include <yaml.h>
#include "config_keys.h"
#include "core/clock.h"
#include "scram.h"

#define NAMES_MAX    1000000u /* table names of all users together */
#define LIST_MAX     10000u   /* items of one list */
#define NETWORKS_MAX 256u

enum kind { IS_SCRAM = 100, IS_GROUPS, IS_SET, IS_NETS, IS_MARKS };
#define KIND_SCRAM  IS_SCRAM
#define KIND_GROUPS IS_GROUPS
#define KIND_SET    IS_SET
#define KIND_NETS   IS_NETS
#define KIND_MARKS  IS_MARKS

enum key {
#define X(name, kind, min, max, unit, sentence) KEY_##name,
#include "users.def"
#undef X
    KEYS
};
static const struct config_key keys[KEYS] = {
#define X(key, kind_, min_, max_, unit_, sentence_)                                                \
    {.name = #key,                                                                                 \
     .kind = KIND_##kind_,                                                                         \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .unit = unit_,                                                                                \
     .sentence = sentence_},
#include "users.def"
#undef X
};

/* What the file says of one user or group. */
struct rules {
    const char *name;
    int line;
    bool has[KEYS];
    const char *scram;
    size_t scram_line, scram_column, scram_end_line, scram_end_column;
    uint32_t *groups, n_groups; /* indices */
    struct yaml_node_s *group_names;
    struct user_names set[3]; /* tables, publish, calls */
    bool sql, durable_only, partial, marks[3], has_mark[3];
    int64_t rows, bytes, timeout, streams;
    int policy;
    struct network *networks;
    uint32_t n_networks;
    uint32_t seen; /* groups: number of the user that it was applied to last, + 1 */
    int state;     /* groups: 0 not looked at, 1 being looked at, 2 sound */
    int levels;    /* groups: of groups within it, itself counted */
};

struct reader {
    const char *file;
    yaml_document_t *doc;
    struct config_arena **arena;
    struct err *err;
    struct rules *groups, *users;
    uint32_t n_groups, n_users;
    uint64_t names; /* given out so far */
};

__attribute__((format(printf, 4, 5))) static bool fail(struct reader *r, int line, const char *path,
                                                       const char *fmt, ...)
{
    char text[360];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->err, -EINVAL, "%s:%d: %s%s%s", r->file, line, path, *path ? ": " : "", text);
}

static bool no_memory(struct reader *r)
{
    return err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
}

static int line_of(const yaml_node_t *n)
{
    return (int)n->start_mark.line + 1;
}

static yaml_node_t *node(struct reader *r, int id)
{
    return yaml_document_get_node(r->doc, id);
}

static bool is_null(const yaml_node_t *n)
{
    const char *s = (const char *)n->data.scalar.value;
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}

/* NULL with err set. */
static const char *scalar(struct reader *r, const yaml_node_t *n, const char *path,
                          const char *wanted)
{
    const char *text = n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
    if (!text || is_null(n)) {
        fail(r, line_of(n), path, "%s; write %s",
             text                            ? "has no value"
             : n->type == YAML_SEQUENCE_NODE ? "is a list"
                                             : "is a mapping",
             wanted);
        return NULL;
    }
    for (size_t i = 0; i < n->data.scalar.length; i++)
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7F) {
            fail(r, line_of(n), path, "has a control character or line break; remove it");
            return NULL;
        }
    return text;
}

static uint32_t items(const yaml_node_t *n)
{
    return n->type == YAML_SEQUENCE_NODE
               ? (uint32_t)(n->data.sequence.items.top - n->data.sequence.items.start)
               : 1;
}

static yaml_node_t *item(struct reader *r, yaml_node_t *n, uint32_t i)
{
    return n->type == YAML_SEQUENCE_NODE ? node(r, n->data.sequence.items.start[i]) : n;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(struct user_names *s)
{
    uint32_t n = 0;
    if (s->count)
        qsort(s->at, s->count, sizeof *s->at, by_text);
    for (uint32_t i = 0; i < s->count; i++)
        if (!n || strcmp(s->at[n - 1], s->at[i]))
            s->at[n++] = s->at[i];
    s->count = n;
}

static bool more_names(struct reader *r, uint64_t n)
{
    r->names += n;
    return r->names <= NAMES_MAX ||
           err_set(r->err, -E2BIG,
                   "%s: users and groups name more than %u tables and queries in "
                   "all; write `all`, or one group for many users",
                   r->file, NAMES_MAX);
}

/* ---- values -----------------------------------------------------------------------------------
 */

static bool read_set(struct reader *r, yaml_node_t *n, const char *path, struct user_names *out)
{
    uint32_t count = items(n);
    *out = (struct user_names){0};
    if (n->type == YAML_MAPPING_NODE)
        return fail(r, line_of(n), path, "is a mapping; write all, none or a list such as [a, b]");
    if (count > LIST_MAX)
        return fail(r, line_of(n), path, "has %u items; at most %u are allowed", count, LIST_MAX);
    out->at = config_alloc(r->arena, (count + 1) * sizeof *out->at);
    if (!out->at || !more_names(r, count))
        return out->at ? false : no_memory(r);
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_t *x = item(r, n, i);
        const char *text = scalar(r, x, path, "all, none or a list such as [a, b]");
        if (!text)
            return false;
        if (!*text || strlen(text) > 255)
            return fail(r, line_of(x), path, "has an item of %zu bytes; 1 to 255 are allowed",
                        strlen(text));
        bool all = !strcmp(text, "all"), none = !strcmp(text, "none");
        if ((all || none) && n->type == YAML_SEQUENCE_NODE)
            return fail(r, line_of(x), path, "%s stands alone: write %s, without [ ]", text, text);
        out->all = all;
        if (!all && !none && !(out->at[out->count++] = config_strdup(r->arena, text)))
            return no_memory(r);
    }
    sort_names(out);
    return true;
}

static bool read_networks(struct reader *r, yaml_node_t *n, const char *path, struct rules *x)
{
    uint32_t count = items(n);
    if (n->type == YAML_MAPPING_NODE || !count || count > NETWORKS_MAX)
        return fail(r, line_of(n), path, "write a list of 1 to %u networks such as [10.1.0.0/16]",
                    NETWORKS_MAX);
    x->networks = config_alloc(r->arena, count * sizeof *x->networks);
    if (!x->networks)
        return no_memory(r);
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_t *at = item(r, n, i);
        const char *text = scalar(r, at, path, "networks such as [10.1.0.0/16, 127.0.0.1]");
        if (!text)
            return false;
        if (!network_parse(text, &x->networks[i]))
            return fail(r, line_of(at), path,
                        "\"%.60s\" is no network; write e.g. 10.1.0.0/16, 10.1.2.3 or "
                        "2001:db8::/32, with no bits set beyond the length",
                        text);
        x->n_networks = i + 1;
    }
    return true;
}

static bool read_marks(struct reader *r, yaml_node_t *n, const char *path, struct rules *x)
{
    static const char *const names[] = {"eod", "eoi", "buffer"};
    static const struct config_key as_bool = {.name = "", .kind = KIND_BOOL};
    char why[300];
    if (n->type != YAML_MAPPING_NODE)
        return fail(r, line_of(n), path, "write a mapping such as {eod: true, eoi: false}");
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key), *v = node(r, p->value);
        const char *name = scalar(r, k, path, "eod, eoi or buffer"), *text;
        unsigned i = 0;
        while (name && i < PST_COUNT(names) && strcmp(name, names[i]))
            i++;
        if (!name || i == PST_COUNT(names))
            return name && fail(r, line_of(k), path,
                                "there is no mark \"%.40s\"; eod, eoi and "
                                "buffer are known",
                                name);
        if (x->has_mark[i])
            return fail(r, line_of(k), path, "%s is given twice; remove one", name);
        text = scalar(r, v, path, "true or false");
        if (!text)
            return false;
        if (!config_value_parse(&as_bool, text, &x->marks[i], r->arena, why, sizeof why))
            return fail(r, line_of(v), path, "%s: %s", name, why);
        x->has_mark[i] = true;
    }
    return true;
}

static bool read_scram(struct reader *r, const yaml_node_t *n, const char *path, struct rules *x)
{
    struct scram unused;
    char why[200];
    const char *text = scalar(r, n, path, "a verifier, as penstock user passwd makes it");
    if (!text)
        return false;
    if (strcmp(text, USER_EXTERNAL) != 0 && !scram_parse(text, &unused, why, sizeof why))
        return fail(r, line_of(n), path, "%s; make one with: penstock user passwd %s", why,
                    x->name);
    x->scram = config_strdup(r->arena, text);
    x->scram_line = n->start_mark.line;
    x->scram_column = n->start_mark.column;
    x->scram_end_line = n->end_mark.line;
    x->scram_end_column = n->end_mark.column;
    return x->scram || no_memory(r);
}

static bool read_value(struct reader *r, enum key k, yaml_node_t *n, const char *path,
                       struct rules *x)
{
    void *at = k == KEY_rows           ? (void *)&x->rows
               : k == KEY_bytes        ? (void *)&x->bytes
               : k == KEY_timeout      ? (void *)&x->timeout
               : k == KEY_streams      ? (void *)&x->streams
               : k == KEY_policy       ? (void *)&x->policy
               : k == KEY_durable_only ? (void *)&x->durable_only
               : k == KEY_partial      ? (void *)&x->partial
                                       : (void *)&x->sql;
    char why[300];
    switch (keys[k].kind) {
    case IS_SCRAM:
        return read_scram(r, n, path, x);
    case IS_GROUPS:
        x->group_names = n; /* resolved when all groups are known */
        return true;
    case IS_SET:
        return read_set(r, n, path, &x->set[k - KEY_tables]);
    case IS_NETS:
        return read_networks(r, n, path, x);
    case IS_MARKS:
        return read_marks(r, n, path, x);
    default: {
        const char *text = scalar(r, n, path, "a single value");
        if (!text)
            return false;
        return config_value_parse(&keys[k], text, at, r->arena, why, sizeof why) ||
               fail(r, line_of(n), path, "%s", why);
    }
    }
}

static bool unknown(struct reader *r, const yaml_node_t *n, const char *path, const char *name,
                    bool group)
{
    struct config_nearest near = {.wanted = name};
    for (unsigned i = group; i < KEYS; i++)
        config_nearest_try(&near, keys[i].name);
    return near.best
               ? fail(r, line_of(n), path, "unknown key; did you mean %s?", near.best)
               : fail(r, line_of(n), path, "unknown key; remove it, or see penstock user help");
}

static bool read_rules(struct reader *r, yaml_node_t *n, struct rules *x, bool group)
{
    char path[200];
    snprintf(path, sizeof path, "%s.%.63s", group ? "groups" : "users", x->name);
    if (n->type != YAML_MAPPING_NODE)
        return fail(r, line_of(n), path, "write its keys, one a line, as `key: value`");
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key), *v = node(r, p->value);
        char at[300];
        const char *name = scalar(r, k, path, "a key before each :");
        unsigned i = 0;
        if (!name)
            return false;
        snprintf(at, sizeof at, "%s.%.60s", path, name);
        while (i < KEYS && strcmp(keys[i].name, name))
            i++;
        if (i == KEYS)
            return unknown(r, k, at, name, group);
        if (group && i == KEY_scram)
            return fail(r, line_of(k), at, "a group has no password; give one to each user");
        if (x->has[i])
            return fail(r, line_of(k), at, "is given twice; remove one");
        x->has[i] = true;
        if (!read_value(r, (enum key)i, v, at, x))
            return false;
    }
    return group || x->has[KEY_scram] ||
           fail(r, x->line, path, "scram is missing; penstock user passwd %s makes one", x->name);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static bool name_fits(struct reader *r, const yaml_node_t *n, const char *name)
{
    size_t len = strlen(name);
    if (!len || len > USER_NAME_MAX)
        return fail(r, line_of(n), "", "a name of %zu bytes; 1 to %u are allowed", len,
                    USER_NAME_MAX);
    if (strchr(name, ':') || name[0] == ' ' || name[len - 1] == ' ')
        return fail(r, line_of(n), "",
                    "the name \"%.63s\" has a colon, or a blank at its end; "
                    "clients send name:password",
                    name);
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct rules *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

static bool read_all(struct reader *r, yaml_node_t *n, bool group)
{
    const char *what = group ? "groups" : "users";
    uint32_t max = group ? USERS_GROUPS_MAX : USERS_MAX;
    if (is_null(n))
        return true;
    if (n->type != YAML_MAPPING_NODE)
        return fail(r, line_of(n), what, "write one a line, as `name: {…}`");
    size_t count = (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
    if (count > max)
        return fail(r, line_of(n), what, "there are %zu; at most %u are allowed", count, max);
    struct rules *all = config_alloc(r->arena, (count + 1) * sizeof *all);
    if (!all)
        return no_memory(r);
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_pair_t *p = n->data.mapping.pairs.start + i;
        yaml_node_t *k = node(r, p->key);
        const char *name = scalar(r, k, what, "a name before the :");
        if (!name || !name_fits(r, k, name))
            return false;
        all[i].name = config_strdup(r->arena, name);
        all[i].line = line_of(k);
        if (!all[i].name)
            return no_memory(r);
        if (!read_rules(r, node(r, p->value), &all[i], group))
            return false;
    }
    qsort(all, count, sizeof *all, by_name);
    for (uint32_t i = 1; i < count; i++)
        if (!strcmp(all[i - 1].name, all[i].name))
            return fail(r, all[i].line, what, "%s is already there in line %d; remove one",
                        all[i].name, all[i - 1].line);
    *(group ? &r->groups : &r->users) = all;
    *(group ? &r->n_groups : &r->n_users) = (uint32_t)count;
    return true;
}

static bool read_top(struct reader *r, yaml_node_t *root)
{
    bool had[2] = {0};
    if (root->type != YAML_MAPPING_NODE)
        return fail(r, line_of(root), "", "write `users:` and, if wanted, `groups:`");
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++) {
        yaml_node_t *k = node(r, p->key);
        const char *name = scalar(r, k, "", "users or groups before the :");
        if (!name)
            return false;
        bool group = !strcmp(name, "groups");
        if (!group && strcmp(name, "users"))
            return fail(r, line_of(k), name, "unknown key; users and groups are known here");
        if (had[group])
            return fail(r, line_of(k), name, "is given twice; remove one");
        had[group] = true;
        if (!read_all(r, node(r, p->value), group))
            return false;
    }
    return true;
}

/* ---- groups -----------------------------------------------------------------------------------
 */

static int by_group(const void *name, const void *rules)
{
    return strcmp(name, ((const struct rules *)rules)->name);
}

static struct rules *group_named(struct reader *r, const char *name)
{
    return r->n_groups ? bsearch(name, r->groups, r->n_groups, sizeof *r->groups, by_group) : NULL;
}

static bool resolve(struct reader *r, struct rules *x, bool group)
{
    char path[200];
    snprintf(path, sizeof path, "%s.%.63s.groups", group ? "groups" : "users", x->name);
    yaml_node_t *n = x->group_names;
    if (!n)
        return true;
    uint32_t count = items(n);
    if (n->type == YAML_MAPPING_NODE || count > USERS_GROUPS_MAX)
        return fail(r, line_of(n), path, "write a list of groups such as [readers]");
    x->groups = config_alloc(r->arena, (count + 1) * sizeof *x->groups);
    if (!x->groups)
        return no_memory(r);
    for (uint32_t i = 0; i < count; i++) {
        yaml_node_t *at = item(r, n, i);
        const char *name = scalar(r, at, path, "a list of groups such as [readers]");
        if (!name)
            return false;
        struct rules *g = group_named(r, name);
        if (!g) {
            struct config_nearest near = {.wanted = name};
            for (uint32_t k = 0; k < r->n_groups; k++)
                config_nearest_try(&near, r->groups[k].name);
            return fail(r, line_of(at), path, "there is no group %.63s%s%s%s", name,
                        near.best ? "; did you mean " : "; write it under groups:",
                        near.best ? near.best : "", near.best ? "?" : "");
        }
        x->groups[x->n_groups++] = (uint32_t)(g - r->groups);
    }
    return true;
}

/* Post-order: a group's levels are known when those of its groups are. */
static bool sound(struct reader *r, struct rules *g)
{
    if (g->state == 2)
        return true;
    if (g->state == 1)
        return fail(r, g->line, "groups",
                    "%s contains itself, through its groups; break the circle", g->name);
    g->state = 1;
    g->levels = 1;
    for (uint32_t i = 0; i < g->n_groups; i++) {
        struct rules *below = &r->groups[g->groups[i]];
        if (!sound(r, below))
            return false;
        if (below->levels >= g->levels)
            g->levels = below->levels + 1;
    }
    g->state = 2;
    return g->levels <= USERS_DEPTH ||
           fail(r, g->line, "groups",
                "%s has more than %d levels of groups within groups; flatten "
                "them",
                g->name, USERS_DEPTH);
}

/* ---- users ------------------------------------------------------------------------------------
 */

struct gathered {
    const struct rules *from[1 + USERS_GROUPS_MAX]; /* itself, then its groups, depth first */
    uint32_t n;
};

static void gather(struct reader *r, struct rules *x, struct gathered *g, uint32_t number)
{
    g->from[g->n++] = x;
    for (uint32_t i = 0; i < x->n_groups; i++) {
        struct rules *next = &r->groups[x->groups[i]];
        if (next->seen != number) {
            next->seen = number;
            gather(r, next, g, number);
        }
    }
}

static bool union_of(struct reader *r, const struct gathered *g, unsigned which, bool otherwise,
                     struct user_names *out)
{
    const struct user_names *only = NULL;
    uint64_t total = 0;
    unsigned lists = 0;
    bool any = false;
    *out = (struct user_names){0};
    for (uint32_t i = 0; i < g->n; i++) {
        const struct user_names *s = &g->from[i]->set[which];
        if (!g->from[i]->has[KEY_tables + which])
            continue;
        any = true;
        out->all |= s->all;
        if (s->count) {
            only = s;
            lists++;
            total += s->count;
        }
    }
    if (!any)
        out->all = otherwise;
    if (out->all || !lists)
        return true;
    if (lists == 1) {
        out->at = only->at;
        out->count = only->count;
        return true;
    }
    if (!more_names(r, total))
        return false;
    out->at = config_alloc(r->arena, total * sizeof *out->at);
    if (!out->at)
        return no_memory(r);
    for (uint32_t i = 0; i < g->n; i++) {
        const struct user_names *s = &g->from[i]->set[which];
        for (uint32_t k = 0; g->from[i]->has[KEY_tables + which] && k < s->count; k++)
            out->at[out->count++] = s->at[k];
    }
    sort_names(out);
    return true;
}

static const struct rules *first(const struct gathered *g, enum key k)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (g->from[i]->has[k])
            return g->from[i];
    return NULL;
}

static bool mark(const struct gathered *g, unsigned which)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (g->from[i]->has_mark[which])
            return g->from[i]->marks[which];
    return true;
}

static bool make_user(struct reader *r, struct rules *x, uint32_t number, struct user *u)
{
    struct gathered g = {.n = 0};
    const struct rules *f;
    gather(r, x, &g, number);
    *u = (struct user){.name = x->name,
                       .scram = x->scram,
                       .external = !strcmp(x->scram, USER_EXTERNAL),
                       .sql = true,
                       .bytes = INT32_MAX,
                       .streams = USER_STREAMS,
                       .policy = USER_POLICY_UNSET,
                       .marks_eod = mark(&g, 0),
                       .marks_eoi = mark(&g, 1),
                       .marks_buffer = mark(&g, 2)};
    if ((f = first(&g, KEY_sql)))
        u->sql = f->sql;
    if ((f = first(&g, KEY_rows)))
        u->rows = f->rows;
    if ((f = first(&g, KEY_bytes)))
        u->bytes = f->bytes;
    if ((f = first(&g, KEY_timeout)))
        u->timeout = f->timeout;
    if ((f = first(&g, KEY_streams)))
        u->streams = f->streams;
    if ((f = first(&g, KEY_policy)))
        u->policy = f->policy;
    if ((f = first(&g, KEY_durable_only)))
        u->durable_only = f->durable_only;
    if ((f = first(&g, KEY_partial)))
        u->partial = f->partial;
    if ((f = first(&g, KEY_networks))) {
        u->networks = f->networks;
        u->n_networks = f->n_networks;
    }
    return union_of(r, &g, 0, false, &u->tables) && union_of(r, &g, 1, false, &u->publish) &&
           union_of(r, &g, 2, true, &u->calls);
}

static bool make_load(struct reader *r, struct users_load *l)
{
    for (uint32_t i = 0; i < r->n_groups; i++)
        if (!resolve(r, &r->groups[i], true))
            return false;
    for (uint32_t i = 0; i < r->n_groups; i++)
        if (!sound(r, &r->groups[i]))
            return false;
    l->user = config_alloc(r->arena, (r->n_users + 1) * sizeof *l->user);
    l->at = config_alloc(r->arena, (r->n_users + 1) * sizeof *l->at);
    if (!l->user || !l->at)
        return no_memory(r);
    l->cost = r->n_users ? SCRAM_ITERATIONS : 0;
    for (uint32_t i = 0; i < r->n_users; i++) {
        struct rules *x = &r->users[i];
        struct scram s;
        char why[100];
        if (!resolve(r, x, false) || !make_user(r, x, i + 1, &l->user[i]))
            return false;
        l->user[i].load = l;
        l->at[i] = (struct users_place){x->scram_line, x->scram_column, x->scram_end_line,
                                        x->scram_end_column};
        if (scram_parse(x->scram, &s, why, sizeof why) && s.iterations > l->cost)
            l->cost = s.iterations;
        l->count = i + 1;
    }
    return true;
}

bool users_parse(const char *file, const char *text, size_t size, struct users_load **out,
                 struct err *err)
{
    yaml_parser_t p;
    yaml_document_t doc;
    *out = NULL;
    if (size > USERS_FILE_MAX)
        return err_set(err, -EFBIG, "%s: larger than 4 MiB; this cannot be a users file", file);
    if (!config_scan(file, text, size, err))
        return false;
    struct users_load *l = calloc(1, sizeof *l);
    if (!l || !yaml_parser_initialize(&p)) {
        free(l);
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    }
    store_relaxed(&l->refs, 1);
    struct reader r = {.file = file, .doc = &doc, .arena = &l->arena, .err = err};
    yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
    bool ok = yaml_parser_load(&p, &doc) || no_memory(&r);
    if (ok) {
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        ok = (!root || is_null(root) || read_top(&r, root)) && make_load(&r, l);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&p);
    if (!ok) {
        users_load_free(l);
        return false;
    }
    *out = l;
    return true;
}

void users_help(FILE *out)
{
    for (unsigned i = 0; i < KEYS; i++)
        fprintf(out, "  %-13s %s\n", keys[i].name, keys[i].sentence);
}
