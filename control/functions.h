/* SPDX-License-Identifier: Apache-2.0 */
/*
 * functions.h - in-process functions (include/penstock/functions.h) by name: what a configuration
 * value or a command says becomes a function that may be called.
 *
 *     NAME                         built in: functions_each lists them
 *     /dir/file.so:NAME            exported by a file; the file must be trusted (core/trusted.h)
 *     either(key=value, key=value) with arguments; a value goes to the next comma or the end,
 *                                  blanks around it are left out
 *
 * A built-in is a struct pst_daemon_function like any other; its owner lists it in functions.c's
 * table. Control thread only. A loaded file stays mapped until function_unload; a loaded function
 * is read only and may be handed to the thread that its kind names.
 */
#pragma once

#include "core/base.h"
#include "penstock/functions.h"

#define FUNCTION_ARGUMENTS 32u
#define FUNCTION_TEXT      2048u

struct function {
    const struct pst_daemon_function *f; /* NULL: nothing is loaded */
    void *handle;                        /* of the file; NULL = built in */
    struct pst_arguments args;
    char text[FUNCTION_TEXT]; /* as it was given, for people and marks */
    /* own */
    struct pst_argument arg[FUNCTION_ARGUMENTS];
    char parts[FUNCTION_TEXT];
};

/* False: err says why in one sentence, nothing is loaded. */
bool function_load(struct function *f, enum pst_function_kind kind, const char *text,
                   struct err *err);
void function_unload(struct function *f);
/* Is `text` well formed, and if it names a built-in, is there one of that kind? Loads nothing. */
bool function_check(enum pst_function_kind kind, const char *text, struct err *err);
/* May the file that it names be loaded (core/trusted.h)? Built-in ones: yes. Loads nothing. */
bool function_trusted(enum pst_function_kind kind, const char *text, struct err *err);
/* The i-th built-in of a kind, NULL past the last. */
const struct pst_daemon_function *function_built_in(enum pst_function_kind kind, unsigned i);
const char *function_kind_name(enum pst_function_kind kind); /* "buffer" … */

/* What functions get. `frame` asks for a range that storage/recovery made. */
extern const struct pst_function_host function_host;
