/* SPDX-License-Identifier: Apache-2.0 */
/* print.h - text for people: aligned tables, grouped numbers, short durations. */
#pragma once

#include <jansson.h>
#include "core/base.h"

#define TABLE_COLUMNS 96

/* Rows are collected, widths computed, then printed at once. A column whose header starts with '>'
 * is right-aligned (numbers). */
struct print_table {
    const char *head[TABLE_COLUMNS];
    unsigned ncols;
    char **cell; /* nrows * ncols */
    unsigned nrows, cap;
};
void print_table_begin(struct print_table *t, unsigned ncols, const char *const *head);
void print_table_row(struct print_table *t, ...);                       /* ncols char *, copied */
void print_table_cells(struct print_table *t, const char *const *cell); /* ncols of them, copied */
void print_table_end(struct print_table *t);                            /* prints and frees */
void print_table_free(struct print_table *t);                           /* frees without printing */

/* Text in one of a few rotating static buffers: good until 16 further calls. */
const char *print_count(int64_t n);     /* 214,882,107 */
const char *print_bytes(int64_t n);     /* 512 MiB */
const char *print_duration(int64_t ns); /* 0.4 ms, 42 s, 6h12m */
const char *print_time(int64_t ns); /* 09:31:07 UTC of an instant, or with its date if not today */

int64_t json_long(json_t *o, const char *key); /* 0 when absent */
double json_real_of(json_t *o, const char *key);
const char *json_text(json_t *o, const char *key); /* "" when absent */
