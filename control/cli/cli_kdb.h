/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_kdb.h - what `penstock log export` and `log import` share: which rows are meant.
 */
#pragma once

#include "cli.h"
#include "core/base.h"
#include "core/tzone.h"

#define CLI_NAMES_MAX 64u

struct cli_names { /* a,b,c */
    const char *at[CLI_NAMES_MAX];
    uint32_t len[CLI_NAMES_MAX];
    unsigned n;
};
/* Points into `text`. False: too many. */
bool cli_names_parse(struct cli_names *n, const char *text);
bool cli_names_has(const struct cli_names *n, const char *text, size_t len); /* none given: all */

struct cli_rows {
    struct cli_names tables, syms;
    int32_t date;     /* KDB_NO_DATE: all */
    int64_t from, to; /* row times [from, to); INT64_MIN, INT64_MAX: open */
    const char *from_text, *to_text;
    bool to_is_place;         /* --to means an instance: the end of the times is --until only */
    const struct tzone *zone; /* of from, to and of kdb+'s times; NULL: UTC */
};
void cli_rows_init(struct cli_rows *r);
/* Takes argv[*i] (and its value) if it is one of --tables --sym --date --from --until (or --to). 1:
 * taken, 0: not one of them, -1: wrong, said so. */
int cli_rows_option(struct cli_rows *r, int argc, char **argv, int *i);
/* Reads --from and --until, once zone and date are known: 2026.11.23D09:30:00.5, 2026-11-23T09:30,
 * a date, or with a date given 09:30[:SS[.n]]. False: said so. */
bool cli_rows_times(struct cli_rows *r);
bool cli_rows_time(const struct cli_rows *r, int64_t time);

/* The zone of --zone, NULL for UTC. False: unknown, said so. */
bool cli_kdb_zone(struct cli *c, struct tzone **zone);

void cli_kdb_help(void);
int cli_log_export(struct cli *c, int argc, char **argv);
int cli_log_import(struct cli *c, int argc, char **argv);
