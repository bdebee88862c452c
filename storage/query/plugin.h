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

#include "core/base.h"
#include "penstock/plugin.h"

#define PLUGINS_MAX        64u
#define PLUGIN_QUERIES_MAX 256u
#define PLUGIN_DEPTH_MAX   4u /* SQL in a plugin whose SQL calls a plugin … */
#define PLUGIN_NAME_MAX    64u

struct plugins;
struct plugin_query { /* a copy of what was registered: checked, terminated, stays until unload */
    char name[PLUGIN_NAME_MAX], about[256];
    const char *plugin; /* its plugin's name */
    uint32_t nparameters, ncolumns;
    struct pst_parameter parameter[PST_PARAMETERS_MAX]; /* names and texts: owned copies */
    struct pst_value def[PST_PARAMETERS_MAX];           /* parsed; where parameter[].def is set */
    struct pst_column column[PST_COLUMNS_MAX];
    pst_function *run;
    void *data;
};

struct plugins *plugins_new(void); /* NULL: no memory */
void plugins_free(struct plugins *p);
bool plugins_load(struct plugins *p, const char *path, struct err *err);
/* By plugin name or path. Its code is unmapped: no query may be running. */
bool plugins_unload(struct plugins *p, const char *name, struct err *err);
const struct plugin_query *plugins_find(const struct plugins *p, const char *name); /* or NULL */
unsigned plugins_count(const struct plugins *p);                                    /* queries */
const struct plugin_query *plugins_at(const struct plugins *p, unsigned i);
/* [{"plugin","version","about","file","queries":[{"name","about","parameters":[…],"columns":[…]}]}]
 */
struct json_t *plugins_json(const struct plugins *p);

/* ---- a run ---- */

/* Columns as the plugin filled them. values: rows * width of the type; symbol and string: struct
 * pst_text[rows]. */
struct plugin_column {
    const char *name;
    uint32_t type;
    void *values;
};
struct plugin_result {
    uint64_t nrows;
    uint32_t ncolumns;
    struct plugin_column column[PST_COLUMNS_MAX];
    struct plugin_chunk *chunks; /* what texts point into */
    uint64_t room, bytes;
};
void plugin_result_free(struct plugin_result *r);

/* Rows of host->sql: filled by the context's sql function, freed by its free function. */
struct plugin_rows {
    struct pst_rows rows; /* first: a plugin's pst_rows * is this */
    struct pst_text (*text)(const struct plugin_rows *, uint32_t column, uint64_t row);
    void *owner;
};

/* What a run may do; made by whoever runs the query (control/query_run.c; the CLI; tests). */
struct plugin_context {
    /* Runs SQL at the cut of the running query. false: err. */
    bool (*sql)(void *arg, const char *text, const struct pst_value *parameters,
                uint32_t nparameters, struct plugin_rows *out, struct err *err);
    void (*sql_free)(void *arg, struct plugin_rows *rows);
    bool (*cancelled)(void *arg);
    void *arg;
    uint64_t max_rows, max_bytes; /* of the result; 0 = no limit */
    unsigned depth;               /* runs that this one is inside of */
};

/* argument[i] with type 0: the default. Types must be the declared ones (plugin_convert helps).
 * True: *out is filled (free it). False: the plugin's own sentence, or ours. */
bool plugin_run(const struct plugin_query *q, const struct pst_value *argument,
                const struct plugin_context *context, struct plugin_result *out, struct err *err);

/* A text as a value of the type: 100, 1.5, AAPL, 2026.11.23, 09:30, 2026.11.23D09:30:00, true, a
 * guid; `null` or an empty text is the type's null. Symbols and strings keep pointing into text. */
bool plugin_value(uint32_t type, const char *text, size_t len, struct pst_value *out,
                  struct err *err);
