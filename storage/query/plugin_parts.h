/* SPDX-License-Identifier: Apache-2.0 */
/* plugin_parts.h - what plugin.c (loading, names) and plugin_run.c (one run) share. */
#pragma once

#include "plugin.h"

#define PLUGIN_DEPTH_MAX  4u     /* named queries whose SQL calls named queries … */
#define PLUGIN_STRING_MAX 65528u /* bytes of one string value, as everywhere in Penstock */

struct named {
    struct query_function function; /* first: what the binder holds; impl points back here */
    const struct plugin *plugin;
    char name[PLUGIN_NAME_MAX], about[256];
    struct query_call_param param[PST_PARAMETERS_MAX];
    struct named_parameter {
        char name[PLUGIN_NAME_MAX], about[160], text[128];
        struct pst_value def;
    } parameter[PST_PARAMETERS_MAX];
    struct named_column {
        char name[PLUGIN_NAME_MAX];
        uint32_t type;
    } column[PST_COLUMNS_MAX];
    uint32_t ncolumns;
    struct query_column shown[PST_COLUMNS_MAX + 1]; /* as the binder wants them: `date` first */
    pst_function *run;
    void *data;
};

struct plugin {
    char name[PLUGIN_NAME_MAX], version[32], about[256], path[1024];
    void *handle;
};

struct plugins {
    struct plugin *plugin[PLUGINS_MAX];
    unsigned nplugins;
    struct named *query[PLUGIN_QUERIES_MAX];
    unsigned nqueries;
    void (*log)(void *arg, const char *line);
    void *arg;
};

struct pst_registry {
    struct plugins *all;
    struct plugin *plugin;
    struct err *err;
};

/* One run: arguments in order, defaults filled in. False: e. */
bool plugin_run(struct plugins *p, const struct named *n, const struct pst_value *args,
                struct query_env *env, const struct plan_limits *limits, struct result **out,
                struct query_error *e);
/* A result as a table of the executor's (struct view); takes the result over. NULL: e. */
void *plugin_source(const struct named *n, struct result *r, int32_t date, struct query_error *e);
void plugin_source_free(void *source);
struct pst_value plugin_null(uint8_t type);
/* The functions that plugins are given, but for `add`. */
void plugin_host_fill(struct pst_host *host);
