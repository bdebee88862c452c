/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plugin.h - named queries of plugins (include/penstock/plugin.h): loading, checking, finding,
 * running. A registry belongs to one process; in it plugins_load and plugins_unload are called
 * while no query runs. SQL's binder finds functions here by name (SELECT … FROM name(args)); a run
 * gives plain columns, from which the caller makes its own table.
 *
 * LOADING. The file and every directory above it must belong to root or to the user that this
 * process runs as (penstockd's), and nobody else may be able to write there: whoever can replace a
 * plugin would run in every query process. A plugin of another ABI, without the three symbols,
 * whose registration fails, or whose name or query names are taken is refused with one sentence,
 * and nothing of it stays.
 *
 * What a plugin hands over is checked (counts, names, types, NULLs) before it is used; that it runs
 * in this address space is not: see control/query_sandbox.h for what bounds a hostile one.
 */
#pragma once

#include "penstock/plugin.h"
#include "query.h"

#define PLUGINS_MAX        64u
#define PLUGIN_QUERIES_MAX 256u /* of all plugins together */
#define PLUGIN_NAME_MAX    64u

struct plugins;

/* `log` gets a plugin's lines (NULL: stderr). NULL: no memory. */
struct plugins *plugins_new(void (*log)(void *arg, const char *line), void *arg);
void plugins_free(struct plugins *p);

bool plugins_load(struct plugins *p, const char *path, struct err *err);
/* By plugin name or path. Its code is unmapped: no query may be running. */
bool plugins_unload(struct plugins *p, const char *name, struct err *err);
unsigned plugins_count(const struct plugins *p); /* named queries */
/* [{"plugin","version","about","file","queries":[{"name","about","parameters":[{"name","type",
 * "default","about"}],"columns":[{"name","type"}]}]}], a new reference */
struct json_t *plugins_json(const struct plugins *p);

/* Fills env->functions: the binder finds named queries by it, and FROM name(args) runs them. */
void plugins_functions(struct plugins *p, struct query_functions *out);

/* `penstock call`: runs one by name with arguments as texts, by parameter name or, with the names
 * "1", "2" …, by place. An argument that is not given, or NULL, is the parameter's default. */
bool plugins_call(struct plugins *p, const char *name, const struct query_param *args,
                  unsigned nargs, struct query_env *env, const struct plan_limits *limits,
                  struct result **out, struct query_error *e);
