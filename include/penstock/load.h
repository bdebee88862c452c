/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - the C interface of load functions: shared objects that take part in loading files
 * (load.files, as FILE.so:NAME).
 *
 *   read_function        bytes of a delivered file become rows
 *   post_read_function   rows that were read are changed, derived or dropped
 *   save_function        rows as they will be saved are seen, and may be refused; the function may
 *                        write files of its own into the task's directory
 *
 * They run inside penstock-load processes only: one that crashes, loops or eats memory costs its
 * task, which is tried again and then quarantines its file, and nothing else. The process has no
 * network, starts nothing, and writes only below the loader's directories.
 *
 *     #include <penstock/load.h>
 *
 *     static int only_large(struct pst_load *l, void *state, struct pst_load_rows *rows)
 *     {
 *         int size = pst_load_host->column(l, "size");
 *         if (size < 0)
 *             return pst_load_host->error(l, "the table has no column size");
 *         const int64_t *v = rows->column[size].values;
 *         for (uint32_t i = 0; i < rows->nrows; i++)
 *             rows->keep[i] = v[i] >= 100;
 *         return 0;
 *     }
 *     static const struct pst_load_function f = {.name = "only_large", .kind = PST_LOAD_POST_READ,
 *         .about = "Trades of at least 100.", .rows = only_large};
 *     PST_LOAD_PLUGIN("large", "1.0", "An example.")
 *     PST_PLUGIN_EXPORT int pst_load_register(struct pst_load_registry *r)
 *     {
 *         return pst_load_host->add(r, &f);
 *     }
 *
 *     gcc -shared -fPIC -O2 -o large.so large.c
 *
 * LIFE. For each file: begin (may be NULL) gives *state; then read or rows, any number of times;
 * then end with ok = 1 when all went well (a post_read cannot add rows any more), else 0. One
 * thread. Texts and rows that the host hands out live until the function returns.
 *
 * ORDER AND CONSTANT MEMORY. Rows come in blocks of some thousand, in the file's order; a function
 * sees each once. It must not depend on where blocks end. Tasks are tried again after a crash:
 * the same bytes must give the same rows.
 *
 * VERSIONS. As plugin.h: PST_LOAD_ABI changes when something here changes its meaning; new host
 * functions are appended.
 */
#ifndef PENSTOCK_LOAD_H
#define PENSTOCK_LOAD_H

#include <penstock/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PST_LOAD_ABI 1u

struct pst_load; /* one file that is being loaded */
struct pst_load_registry;

/* Values of the table's columns in its order. values: nrows values of the type's width (types.h),
 * except for symbol and string, whose texts host->text gives and host->set_text sets (values is
 * then NULL). */
struct pst_load_column {
    const char *name;
    uint32_t type;
    void *values;
};
struct pst_load_rows {
    uint32_t nrows, ncolumns;
    struct pst_load_column *column;
    uint8_t *keep; /* a byte a row, 1 at first: 0 drops it. post_read only */
};

enum pst_load_kind { PST_LOAD_READ = 1, PST_LOAD_POST_READ, PST_LOAD_SAVE };

struct pst_load_function {
    const char *name, *about;
    uint32_t kind; /* enum pst_load_kind */
    uint32_t reserved;
    void *data; /* handed to begin */
    /* Each returns 0, or anything else: the file fails, with host->error's sentence. */
    int (*begin)(struct pst_load *, void *data, void **state);
    /* READ: n bytes (decompressed); *used of them were dealt with, the others come again in front
     * of more. With last all must be used. Rows by host->append. */
    int (*read)(struct pst_load *, void *state, const uint8_t *bytes, uint64_t n, int last,
                uint64_t *used);
    /* POST_READ: may change values and keep. SAVE: must not. */
    int (*rows)(struct pst_load *, void *state, struct pst_load_rows *rows);
    int (*end)(struct pst_load *, void *state, int ok);
};

struct pst_load_host {
    uint32_t abi, size; /* PST_LOAD_ABI and sizeof(struct pst_load_host) of this Penstock */

    /* Registers a function (only inside pst_load_register). The struct must stay. 0, or -1. */
    int (*add)(struct pst_load_registry *, const struct pst_load_function *);

    const char *(*file)(const struct pst_load *); /* its path */
    const char *(*option)(const struct pst_load *,
                          const char *name);           /* load.files: options; NULL */
    const char *(*directory)(const struct pst_load *); /* the task's; NULL in a trial */
    uint32_t (*columns)(const struct pst_load *, const struct pst_column **); /* of the table */
    int (*column)(const struct pst_load *, const char *name); /* its number, -1: none such */

    /* READ: one row, a value of the declared type for each column; texts are copied. time must not
     * be null. 0, or -1: return -1 then. */
    int (*append)(struct pst_load *, const struct pst_value *row);
    /* READ: a piece of the file that is no row. 0, or -1: too many; return -1 then. */
    int (*reject)(struct pst_load *, uint64_t line, const char *column, const char *reason,
                  struct pst_text text);

    /* Of a symbol or string column. set_text: 0, or -1 (a symbol longer than 255 bytes or with a
     * NUL, no memory); the empty text is null. */
    struct pst_text (*text)(const struct pst_load_rows *, uint32_t column, uint32_t row);
    int (*set_text)(struct pst_load_rows *, uint32_t column, uint32_t row, struct pst_text text);

    /* The task shall end: return -1 soon. */
    bool (*stopped)(const struct pst_load *);
    /* Fails the file with this sentence (printf); always returns -1. The first one counts. */
    int (*error)(struct pst_load *, const char *format, ...) __attribute__((format(printf, 2, 3)));
    /* One line into penstockd's own log, cut at 500 bytes. */
    void (*log)(const char *format, ...) __attribute__((format(printf, 1, 2)));
};

struct pst_load_plugin {
    uint32_t abi, host_size; /* of the header it was built with */
    const char *name, *version, *about;
};

/* Every such plugin exports these three; PST_LOAD_PLUGIN defines the first two. */
extern const struct pst_load_plugin pst_load_plugin;
extern const struct pst_load_host *pst_load_host;  /* set before pst_load_register is called */
int pst_load_register(struct pst_load_registry *); /* 0 = loaded */

#define PST_LOAD_PLUGIN(name, version, about)                                                      \
    PST_PLUGIN_EXPORT const struct pst_load_plugin pst_load_plugin = {                             \
        PST_LOAD_ABI, (uint32_t)sizeof(struct pst_load_host), name, version, about};               \
    PST_PLUGIN_EXPORT const struct pst_load_host *pst_load_host;

#ifdef __cplusplus
}
#endif
#endif
