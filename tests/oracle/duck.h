/* SPDX-License-Identifier: Apache-2.0 */
/*
 * duck.h - DuckDB as an oracle: its C interface, from the shared library of its npm package
 * (tests/oracle/install.sh), opened at run time so that nothing is linked or shipped.
 */
#pragma once

#include <core/base.h>

struct duck;
struct duck_rows {
    uint64_t rows, cols;
    char error[600]; /* empty: it worked */
    uint64_t result[32];
    struct duck *duck;
};

struct duck *duck_open(const char *library, char *why, size_t room); /* NULL: why */
void duck_close(struct duck *d);
/* True: rows are there (duck_free). False: out->error. */
bool duck_query(struct duck *d, const char *sql, struct duck_rows *out);
void duck_free(struct duck_rows *r);
bool duck_null(struct duck_rows *r, uint64_t col, uint64_t row);
int64_t duck_int(struct duck_rows *r, uint64_t col, uint64_t row);
double duck_double(struct duck_rows *r, uint64_t col, uint64_t row);
char *duck_text(struct duck_rows *r, uint64_t col, uint64_t row); /* malloc'd */
/* Statements that must work: else the test ends. */
void duck_must(struct duck *d, const char *sql);
