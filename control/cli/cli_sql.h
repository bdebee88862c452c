/* SPDX-License-Identifier: Apache-2.0 */
/* cli_sql.h - what cli_sql.c (verbs, output), sql_local.c (a database without a daemon) and
 * sql_shell.c share. */
#pragma once

#include "cli.h"
#include "sql_render.h"

#define SQL_PLUGINS 16

struct local; /* sql_local.c: the open database */
struct sql_options {
    enum sql_format format;
    bool iso, explain, quiet, call;
    const char *text; /* SQL, or the named query; NULL: none was given */
    char *owned;
    json_t *params;
    int64_t timeout_ms, max_rows;
    const char *database; /* NULL: ask the daemon */
    const char *plugin[SQL_PLUGINS];
    unsigned nplugins, threads;
    struct local *local;
};

int sql_help(void);
/* Runs one text (with --explain: explains it) and prints the answer. The exit code. */
int sql_one(struct cli *c, struct sql_options *o, const char *text);
/* Runs it here, over o->database, which stays open until sql_local_close. NULL: printed, *code. */
struct result *sql_local(struct sql_options *o, const char *text, json_t **facts, int *code);
void sql_local_close(struct sql_options *o);
/* Reads statements, each up to a ';', from a terminal until its end. */
int sql_shell(struct cli *c, struct sql_options *o);
