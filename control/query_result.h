/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_result.h - a result (storage/query/result.h) as bytes in a memfd: written by
 * penstock-query, read by penstock. Little endian, every array at an offset that is a multiple of
 * 8:
 *
 *   head | columns[ncols] | per column: values (rows * width; symbols u32 index in the dictionary)
 *        |                              or, for strings, u64 offsets[rows + 1] and their chars
 *        | dictionary of symbols: u64 offsets[count + 1] and their chars
 *
 * The writer seals the memfd (SEAL, SHRINK, GROW, WRITE), so that a reader's checks stay true. The
 * reader believes nothing: every offset, length and code is checked against the size of the file.
 *
 * What is said about a result (notes, facts, timings) travels as JSON beside it
 * (query_result_facts): {"rows": n, "columns": [{"name","type"}…], "warnings": [{"kind","text"}…],
 * "facts": {name: number…}}.
 */
#pragma once

#include "storage/query/result.h"

#define QUERY_RESULT_MAGIC   0x3153455254535050ull /* "PPSTRES1" */
#define QUERY_RESULT_VERSION 1u
#define QUERY_RESULT_COLUMNS 4096u
#define QUERY_RESULT_SEALS   (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct query_result_head {
    uint64_t magic;
    uint32_t version, ncols;
    uint64_t rows, bytes; /* bytes: of the whole file */
    uint64_t syms, syms_at, syms_chars, syms_bytes;
};
struct query_result_column {
    char name[RESULT_NAME_MAX];
    uint32_t type, width;
    uint64_t at, bytes;            /* values, or a string column's offsets */
    uint64_t chars_at, chars_size; /* strings */
};
_Static_assert(sizeof(struct query_result_head) == 64, "head");
_Static_assert(sizeof(struct query_result_column) == 168, "column");

/* Into an empty memfd, which is then sealed. False: err (-EFBIG: more than max_bytes; 0 = any). */
bool query_result_write(const struct result *r, int fd, uint64_t max_bytes, uint64_t *bytes,
                        struct err *err);
/* Maps a sealed memfd. The result's arrays lie in the map: query_result_close, not result_free. */
bool query_result_open(int fd, struct result **out, struct err *err);
void query_result_close(struct result *r);

/* A new reference. At most 64 warnings; more are counted. */
struct json_t *query_result_facts(const struct result *r);
