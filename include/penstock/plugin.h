/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plugin.h - the C interface of plugins: shared objects that bring named queries, callable by name
 * from SQL (SELECT … FROM name(args)), from the command line (penstock call name arg=value) and
 * over every later protocol.
 *
 * A plugin runs inside penstock-query processes only, never in penstockd: one that crashes, loops,
 * leaks or writes garbage ends its own query with an error. It has no file to write, no network and
 * no processes (README, "Plugins"). Everything it needs comes through the host's functions.
 *
 *     #include <penstock/plugin.h>
 *
 *     static int symbol_count(struct pst_call *call, const struct pst_value *arg, void *data)
 *     {
 *         struct pst_rows *rows;
 *         if (pst_host->sql(call, "SELECT count(*) FROM trade WHERE sym = $1", &arg[0], 1, &rows))
 *             return -1;                                  // the error is the query's already
 *         struct pst_value n = {.type = PST_LONG,
 *                               .i = ((const int64_t *)rows->column[0].values)[0]};
 *         return pst_host->append(call, &n);              // one row of the result
 *     }
 *
 *     static const struct pst_parameter parameters[] = {{"symbol", PST_SYMBOL, NULL, "which one"}};
 *     static const struct pst_column columns[] = {{"rows", PST_LONG}};
 *     static const struct pst_query query = {"trade_count", "Rows of a symbol in trade.",
 *         parameters, 1, columns, 1, symbol_count, NULL};
 *
 *     PST_PLUGIN("counts", "1.0", "Counts.")
 *     int pst_plugin_register(struct pst_registry *r)
 *     {
 *         return pst_host->add(r, &query);
 *     }
 *
 *     gcc -shared -fPIC -O2 -o counts.so counts.c
 *
 * THREADS. pst_plugin_register runs once, before any query. A query's function runs on one thread
 * of its process; a process runs one query at a time. Host functions that take a `call` are for
 * that thread and that call only. Memory that the host hands out (rows, texts, arguments) lives
 * until the function returns; what a plugin allocates itself it frees itself.
 *
 * VERSIONS. PST_PLUGIN_ABI changes when something here changes its meaning or layout; a plugin of
 * another number is refused with a sentence. New host functions are appended: a plugin built
 * against an older header goes on working, one built against a newer one is refused by an older
 * Penstock, naming both.
 */
#ifndef PENSTOCK_PLUGIN_H
#define PENSTOCK_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <penstock/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PST_PLUGIN_ABI     1u
#define PST_PARAMETERS_MAX 16u
#define PST_COLUMNS_MAX    96u

struct pst_text {
    const char *at; /* not terminated; may hold any byte */
    uint32_t len;
};

/* One value. `i`: boolean, byte, short, int, long, char and all temporal types, sign-extended, null
 * = the type's own null (PST_NULL_SHORT, PST_NULL_INT, PST_NULL_LONG, …). `f`: real and float, null
 * = NaN. `text`: symbol (null = length 0) and string. */
struct pst_value {
    uint32_t type; /* enum pst_type */
    uint32_t reserved;
    union {
        int64_t i;
        double f;
        uint8_t guid[16];
        struct pst_text text;
    };
};

struct pst_parameter {
    const char *name; /* a-z, 0-9, _ */
    uint32_t type;    /* enum pst_type */
    const char *def;  /* its default as text, as in SQL without quotes; NULL: must be given */
    const char *about;
};
struct pst_column {
    const char *name;
    uint32_t type;
};

struct pst_call;     /* one run of a named query */
struct pst_registry; /* where a plugin registers */

/* arg: every parameter in order, defaults filled in, of the declared types. Return 0: done, what
 * was appended is the result; anything else: failed, with host->error's sentence if it was called.
 */
typedef int pst_function(struct pst_call *call, const struct pst_value *arg, void *data);

struct pst_query {
    const char *name, *about;
    const struct pst_parameter *parameters;
    uint32_t nparameters;
    const struct pst_column *columns;
    uint32_t ncolumns;
    pst_function *run;
    void *data; /* handed to run */
};

/* What SQL gave. values: nrows values of the type's width (types.h), except for symbol and string,
 * whose texts host->text gives (values is then NULL). */
struct pst_rows_column {
    const char *name;
    uint32_t type;
    const void *values;
};
struct pst_rows {
    uint64_t nrows;
    uint32_t ncolumns;
    const struct pst_rows_column *column;
};

struct pst_host {
    uint32_t abi, size; /* PST_PLUGIN_ABI and sizeof(struct pst_host) of this Penstock */

    /* Registers a named query (only inside pst_plugin_register). The struct and what it points to
     * must stay. 0, or -1: the name is taken or a declaration is wrong; loading then fails. */
    int (*add)(struct pst_registry *, const struct pst_query *);

    /* Runs one SELECT with $1 … $n bound. 0 and *rows, or -1: the error is the call's already. All
     * SQL of one call sees the same cut of the data as the query that called it. */
    int (*sql)(struct pst_call *, const char *text, const struct pst_value *parameters,
               uint32_t nparameters, struct pst_rows **rows);
    struct pst_text (*text)(const struct pst_rows *, uint32_t column, uint64_t row);

    /* Appends one row: a value of the declared type for each result column; texts are copied. 0, or
     * -1: memory or row limit, or a wrong type; return -1 then. */
    int (*append)(struct pst_call *, const struct pst_value *row);

    /* True once the query was cancelled or has run out of time: return -1 soon. One that does not
     * ask is killed with its process after a grace. */
    bool (*cancelled)(const struct pst_call *);
    /* Fails the query with this sentence (printf); always returns -1. The first one counts. */
    int (*error)(struct pst_call *, const char *format, ...) __attribute__((format(printf, 2, 3)));
    /* One line into penstockd's own log, cut at 500 bytes; at most 10 a second. */
    void (*log)(const char *format, ...) __attribute__((format(printf, 1, 2)));
};

struct pst_plugin {
    uint32_t abi, host_size; /* of the header it was built with */
    const char *name, *version, *about;
};

/* Every plugin exports these three; PST_PLUGIN defines the first two. */
#define PST_PLUGIN_EXPORT __attribute__((visibility("default")))
extern PST_PLUGIN_EXPORT const struct pst_plugin pst_plugin;
extern PST_PLUGIN_EXPORT const struct pst_host *pst_host; /* set before pst_plugin_register */
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *); /* 0 = loaded */

#define PST_PLUGIN(name, version, about)                                                           \
    const struct pst_plugin pst_plugin = {PST_PLUGIN_ABI, (uint32_t)sizeof(struct pst_host), name, \
                                          version, about};                                         \
    const struct pst_host *pst_host;

#ifdef __cplusplus
}
#endif
#endif
