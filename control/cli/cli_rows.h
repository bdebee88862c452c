/* SPDX-License-Identifier: Apache-2.0 */
/* cli_rows.h - tables of kdb+ messages, row by row, as text, JSON lines or CSV. */
#pragma once

#include "core/schema.h"
#include "storage/kdb_object.h"
#include "storage/render.h"

struct row_cell { /* where a column stands */
    struct kdb_object column;
    struct kdb_items items;
    struct kdb_texts texts;
    uint32_t i;
    bool more;
};
struct row_columns {
    struct row_cell cell[SCHEMA_COLUMNS_MAX];
    const char *name[SCHEMA_COLUMNS_MAX];
    uint32_t len[SCHEMA_COLUMNS_MAX], n, rows;
};

/* False (with a sentence): it is no table. */
bool rows_begin(struct row_columns *c, const struct kdb_object *table, struct err *err);
/* Text of a column's next value; NULL: null. *quoted: JSON wants quotes. */
const char *rows_next(struct row_cell *c, char buf[RENDER_VALUE], uint32_t *len, bool *quoted);
/* The next row, as text: values parted by two blanks; as JSON: members, each behind a comma; as
 * CSV: parted by commas. Without the line's end. */
enum rows_format { ROWS_TEXT, ROWS_JSON, ROWS_CSV };
void rows_print(struct row_columns *c, enum rows_format f);
/* Names in the same way (of JSON: nothing). */
void rows_head(const struct row_columns *c, enum rows_format f);
