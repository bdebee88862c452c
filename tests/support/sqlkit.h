/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlkit.h - tables in memory for tests of SQL: rows go in value by value, a query_env over views
 * (view_memory.c) comes out. Partitions of even dates are sorted and parted like an HDB's, those of
 * odd dates keep arrival order with row lists like the RDB's; chunks are small.
 */
#pragma once

#include "storage/query/exec.h"
#include "storage/query/query.h"
#include "storage/query/scalar.h"
#include "storage/query/view.h"

#define KIT_TABLES 16
#define KIT_CHUNK  64

struct kit_row {
    int32_t day;
    uint32_t arrival;
    struct scalar *cell; /* by column without date; null: scalar.null */
};

struct kit_table {
    char name[48];
    unsigned ncols; /* without date */
    struct column_def col[SCHEMA_COLUMNS_MAX];
    struct kit_row *row;
    uint32_t rows, room;
    /* after kit_build */
    struct query_column qcol[SCHEMA_COLUMNS_MAX + 1];
    struct query_table table;
    struct view *view;
};

struct kit {
    struct kit_table table[KIT_TABLES];
    unsigned ntables;
    struct view_text *text; /* symbols: codes are indices */
    uint32_t texts, text_room;
    struct view_syms syms;
    struct query_env env;
    void **mem; /* all that is freed at the end */
    uint32_t nmem, mem_room;
};

struct kit *kit_new(void);
void kit_free(struct kit *k);
/* The first two columns are time timestamp, sym symbol. */
struct kit_table *kit_add(struct kit *k, const char *name, const struct column_def *cols,
                          unsigned ncols);
/* ncols cells; texts are copied. */
void kit_row(struct kit *k, struct kit_table *t, int32_t day, const struct scalar *cells);
/* The same from text: one literal a column (literal.h), NULL pointer or "NULL" for NULL. */
void kit_row_text(struct kit *k, struct kit_table *t, int32_t day, const char *const *cells);
void kit_build(struct kit *k);

/* One query; must succeed (prints the error and aborts the test else) unless e is given. */
struct result *kit_query(struct kit *k, const char *sql, struct query_error *e);
/* A cell as text, as `penstock sql` prints it; "NULL". */
const char *kit_cell(const struct result *r, unsigned col, uint64_t row, char *buf, size_t room);
/* The whole result: columns by |, rows by newline. malloc'd. */
char *kit_text(const struct result *r);
