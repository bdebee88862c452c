/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of `rtp`: what must hold between their keys, and with tables. */
#include "config_check.h"
#include "config_keys.h"

#include <errno.h>
#include "core/derived.h"

#define FAIL(line, ...) return fail(c, err, line, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) static bool fail(const struct config *c, struct err *err,
                                                       int line, const char *fmt, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, -EINVAL, "%s:%d: %s", c->file, line, text);
}

const struct config_rtp *config_rtp_named(const struct config *c, const char *name)
{
    for (uint32_t i = 0; i < c->rtp.count; i++)
        if (!strcmp(c->rtp.at[i].name, name))
            return &c->rtp.at[i];
    return NULL;
}

bool config_rtp_table(const struct config *c, const char *table)
{
    for (uint32_t i = 0; i < c->rtp.count; i++)
        for (uint32_t k = 0; k < c->rtp.at[i].processors.count; k++) {
            const struct derived_processor *p = derived_processor(c->rtp.at[i].processors.at[k]);
            for (const struct derived_table *t = p ? p->tables : NULL; t && t->name; t++)
                if (!strcmp(t->name, table))
                    return true;
        }
    return false;
}

static bool shared_object(const char *path)
{
    size_t n = strlen(path);
    return *path == '/' && n > 4 && !strcmp(path + n - 3, ".so");
}

/* Tables come from decoders, from upstream and from `tables`; a name that none of them can bring is
 * a mistake. */
static bool table_known(const struct config *c, const char *table, struct config_nearest *near)
{
    static const char *const others[] = {
        "itch_order",    "itch_trade", "itch_status", "itch_imbalance", "itch_directory",
        "iex_quote",     "iex_level",  "iex_trade",   "iex_status",     "iex_auction",
        "iex_directory", "gap",        "undecoded",   "alarm",          "monCPU"};
    if (config_rtp_table(c, table) || c->subscription_channel ||
        strcmp(c->initial_state_function, "none") != 0)
        return true;
    for (uint32_t i = 0; i < c->tables.count; i++) {
        if (!strcmp(c->tables.at[i].name, table))
            return true;
        config_nearest_try(near, c->tables.at[i].name);
    }
    for (unsigned i = 0; i < PST_COUNT(others); i++) {
        if (!strcmp(others[i], table))
            return true;
        config_nearest_try(near, others[i]);
    }
    return false;
}

static bool check_table(const struct config *c, const struct config_rtp *g, const char *key,
                        const char *table, struct err *err)
{
    struct config_nearest near = {.wanted = table};
    if (table_known(c, table, &near))
        return true;
    if (near.best)
        FAIL(g->file_line, "rtp.%s.%s: there is no table %s; did you mean %s?", g->name, key, table,
             near.best);
    FAIL(g->file_line, "rtp.%s.%s: there is no table %s; declare it under tables", g->name, key,
         table);
}

static const struct config_table *declared(const struct config *c, const char *table)
{
    for (uint32_t i = 0; i < c->tables.count; i++)
        if (!strcmp(c->tables.at[i].name, table))
            return &c->tables.at[i];
    return NULL;
}

/* Rows of one declared table are to go into another: it has no column that they do not. What comes
 * from feeds and upstream, the process itself holds against its tables. */
static bool check_columns(const struct config *c, const struct config_rtp *g,
                          const struct config_rtp_insert *x, struct err *err)
{
    const struct config_table *from = declared(c, x->name), *into = declared(c, x->table);
    for (uint32_t i = 0; from && i < into->columns.count; i++) {
        const struct config_column *to = &into->columns.at[i], *had = NULL;
        for (uint32_t k = 0; k < from->columns.count && !had; k++)
            if (!strcmp(from->columns.at[k].name, to->name))
                had = &from->columns.at[k];
        if (!had || had->type != to->type)
            FAIL(x->file_line,
                 "rtp.%s.insert.%s: column %s of %s is %s in %s; give %s columns of %s", g->name,
                 x->name, to->name, x->table, had ? "of another type" : "not", x->name, x->table,
                 x->name);
    }
    return true;
}

static bool check_processors(const struct config *c, const struct config_rtp *g, struct err *err)
{
    const struct config_names *p = &g->processors;
    if (p->count && g->vanilla)
        FAIL(g->file_line,
             "rtp.%s.processors: it is vanilla, which only reads; set vanilla: false, or remove "
             "its processors",
             g->name);
    if (p->count && g->processes != 1)
        FAIL(g->file_line,
             "rtp.%s.processors: rows of a processor have one order, so it needs processes: 1, not "
             "%lld",
             g->name, (long long)g->processes);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct derived_processor *b = derived_processor(p->at[i]);
        if (!b && !g->plugins.count)
            FAIL(g->file_line,
                 "rtp.%s.processors: %.60s is not built in, and the group has no plugins", g->name,
                 p->at[i]);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(p->at[i], p->at[k]))
                FAIL(g->file_line, "rtp.%s.processors: %.60s is there twice", g->name, p->at[i]);
        for (const struct derived_table *t = b ? b->tables : NULL; t && t->name; t++)
            if (declared(c, t->name))
                FAIL(g->file_line,
                     "rtp.%s.processors: %.60s writes table %s, which `tables` declares too; "
                     "choose another name there",
                     g->name, p->at[i], t->name);
        for (const struct config_rtp *o = c->rtp.at; b && o < g; o++)
            for (uint32_t k = 0; k < o->processors.count; k++)
                if (!strcmp(o->processors.at[k], p->at[i]))
                    FAIL(g->file_line, "rtp.%s.processors: %s runs in group %s already", g->name,
                         p->at[i], o->name);
    }
    if (g->insert.count && !p->count)
        FAIL(g->file_line, "rtp.%s.insert: there is no processor that passes rows on", g->name);
    for (uint32_t i = 0; i < g->insert.count; i++) {
        const struct config_rtp_insert *x = &g->insert.at[i];
        if (!check_table(c, g, "insert", x->name, err))
            return false;
        if (!declared(c, x->table))
            FAIL(x->file_line, "rtp.%s.insert.%s: declare table %s under tables", g->name, x->name,
                 x->table);
        if (!strcmp(x->name, x->table))
            FAIL(x->file_line, "rtp.%s.insert.%s: is the same table; its rows are there already",
                 g->name, x->name);
        if (!check_columns(c, g, x, err))
            return false;
    }
    return true;
}

static bool check_group(const struct config *c, const struct config_rtp *g, struct err *err)
{
    for (uint32_t i = 0; i < g->plugins.count; i++)
        if (!shared_object(g->plugins.at[i]))
            FAIL(g->file_line, "rtp.%s.plugins: '%.200s' is no absolute path of a .so file",
                 g->name, g->plugins.at[i]);
    for (uint32_t i = 0; i < g->libraries.count; i++)
        if (!shared_object(g->libraries.at[i].file))
            FAIL(g->libraries.at[i].file_line,
                 "rtp.%s.libraries.%s: '%.200s' is no absolute path of a .so file", g->name,
                 g->libraries.at[i].name, g->libraries.at[i].file);
    if ((g->buffer_start || g->buffer_end) && !g->plugins.count)
        FAIL(g->file_line, "rtp.%s.%s: names a function of a plugin, and the group has none",
             g->name, g->buffer_start ? "buffer_start" : "buffer_end");
    for (uint32_t i = 0; i < g->subscriptions.count; i++)
        if (!check_table(c, g, "subscriptions", g->subscriptions.at[i], err))
            return false;
    return check_processors(c, g, err);
}

bool config_check_rtp(const struct config *c, struct err *err)
{
    for (uint32_t i = 0; c->mon_cpu && i < c->tables.count; i++)
        if (!strcmp(c->tables.at[i].name, "monCPU"))
            FAIL(c->tables.at[i].file_line,
                 "tables.monCPU: mon_cpu brings a table of this name; choose another one");
    for (uint32_t i = 0; i < c->rtp.count; i++)
        if (!check_group(c, &c->rtp.at[i], err))
            return false;
    return true;
}
