/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdbread.h - a second reader of kdb+ table directories, for tests only. Own code from the format
 * page (sections 1.4, 4), no header, table or function shared with the product. Slow and plain:
 * whole files, one byte cursor, every cell rendered as text when asked.
 *
 * Reads shapes A, B, C, D, legacy and strings (77+10), not compressed files.
 * Errors: false, and a sentence in `why`.
 */
#ifndef KDBREAD_H
#define KDBREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kdbread_list { /* texts, may hold any bytes but NUL */
    char **text;
    size_t n;
};

struct kdbread_col {
    char name[64];
    int kind; /* q's number: 1...19; 11 also for enumerations; 87 strings */
    int attr; /* as the file says */
    size_t rows;
    size_t width; /* bytes a value in `raw` */
    unsigned char
        *raw;    /* fixed types: the values; symbols: 8-byte indexes, -1 widened from nulls */
    char **text; /* strings: each row; */
    size_t *len;
};

struct kdbread_table {
    struct kdbread_col *col;
    size_t ncols, rows;
    struct kdbread_list sym; /* of the root given */
};

bool kdbread_names(const char *path, struct kdbread_list *l, char why[300]);
void kdbread_names_free(struct kdbread_list *l);
bool kdbread_column(const char *dir, const char *name, struct kdbread_col *c, char why[300]);
void kdbread_column_free(struct kdbread_col *c);
/* root: where `sym` is (NULL: symbols stay numbers). All columns must have one length. */
bool kdbread_table(const char *root, const char *dir, struct kdbread_table *t, char why[300]);
void kdbread_table_free(struct kdbread_table *t);
const struct kdbread_col *kdbread_find(const struct kdbread_table *t, const char *name);

/* One cell as text: integers and times as their number, "0N" for null, floats with %.17g, symbols
 * and strings as they are, guid in hex, booleans and bytes as numbers. Returns its length. */
size_t kdbread_cell(const struct kdbread_table *t, size_t col, size_t row, char *out, size_t room);
int64_t kdbread_long(const struct kdbread_col *c, size_t row); /* any integer type, sign-extended */
double kdbread_double(const struct kdbread_col *c, size_t row);
const char *kdbread_symbol(const struct kdbread_table *t, const struct kdbread_col *c, size_t row);

#endif
