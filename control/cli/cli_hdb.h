/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_hdb.h - `penstock hdb`: the database's files, with or without a daemon. cli_hdb.c finds the
 * database and the verb; cli_hdb_show.c looks; cli_hdb_change.c changes.
 */
#pragma once

#include "cli.h"
#include "storage/hdb.h"

struct cli_hdb {
    struct cli *cli;
    const char *database; /* --database; NULL: the daemon's */
    char found[1024];
    bool dry_run, yes, hash;
    int argc; /* what is left behind the options */
    char *argv[8];
    struct hdb *hdb; /* open while a verb runs */
};

int cli_hdb_ls(struct cli_hdb *a);
int cli_hdb_stat(struct cli_hdb *a);
int cli_hdb_verify(struct cli_hdb *a);
int cli_hdb_add_column(struct cli_hdb *a);
int cli_hdb_drop_before(struct cli_hdb *a);
int cli_hdb_fill(struct cli_hdb *a);

/* Bytes of all files below a directory. */
uint64_t cli_hdb_size(const char *dir);
/* Prints `penstock: …`; returns the exit code. */
int cli_hdb_fail(const struct err *err);
