/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_journal.h - the CLI's view of a journal: the daemon's ring and symbols, attached read-only,
 * with the log files behind them; or only the files of a directory. One cursor over both.
 */
#pragma once

#include "cli.h"
#include "core/ring.h"
#include "core/symbols.h"
#include "storage/cursor.h"

struct cli_journal {
    struct io *io;
    struct ring ring; /* attached; data NULL without a daemon */
    struct symbols symbols;
    struct cursor cursor;
    char dir[2][CURSOR_PATH], prefix[64];
    const struct time_shown *shown; /* how rows' times are printed; NULL: UTC */
    bool attached;
};

/*
 * The reply of `attach`, with the log directories of the instance that log_streamer names in place
 * of the daemon's own; if that one does not answer, one line says so and they stay.
 */
json_t *cli_attach(struct cli *c, int *code);

/* Through the daemon. *code is the CLI's exit code on failure (the error is printed). */
bool cli_journal_attach(struct cli *c, struct cli_journal *j, int *code);
/* These files alone, whatever their names; NULL-terminated, kept. */
bool cli_journal_paths(struct cli_journal *j, const char *const *paths, struct err *err);
/* A directory's files; prefix NULL = "log". */
bool cli_journal_files(struct cli_journal *j, const char *dir, const char *prefix, struct err *err);
/* The files of an attached journal alone, of both its directories. */
bool cli_journal_files_of(struct cli_journal *j, const struct cli_journal *attached,
                          struct err *err);
void cli_journal_close(struct cli_journal *j);

struct cli_filter {
    const char *table; /* NULL = all */
    const char *sym;   /* NULL = all */
    bool buffered;     /* rows of buffering events instead of the others */
    const char *feed;  /* NULL = all; by the packet record, or a column `feed` */
};
/* Prints the last n matching rows; follow: and then those that come. */
int cli_journal_print(struct cli_journal *j, const struct cli_filter *f, uint64_t n, bool follow,
                      bool json);
