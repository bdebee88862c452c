/* SPDX-License-Identifier: Apache-2.0 */
/* database.h - what the oracle does with a database instead of made-up rows. Parts of oracle.c. */
#pragma once

#include "support/sqlkit.h"
#include "duck.h"

struct tally {
    unsigned count[3]; /* equal, fail in both, differ */
};

/* In oracle.c: */
extern bool raw_times; /* timestamps are BIGINTs of ns in DuckDB */
const char *duck_type(uint8_t type);
void put_value(FILE *f, const struct scalar *v);
void run_file(struct kit *k, struct duck *d, const char *path, struct tally *t);

/* Exit code of the program. */
int run_database(struct duck *d, const char *root, const char *queries);
