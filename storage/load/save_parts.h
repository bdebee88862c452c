/* SPDX-License-Identifier: Apache-2.0 */
/* save_parts.h - what save.c and save_result.c share. */
#pragma once

#include "content_hash.h"
#include "load/save.h"

struct save_file { /* a column's file being written */
    int fd;        /* -1 = closed */
    uint8_t *buf;
    uint32_t used;
    uint64_t bytes; /* written and buffered */
    uint32_t crc;   /* of what was written */
};

struct save_part { /* a (date, table) */
    int32_t day;
    unsigned table;
    uint64_t rows, first;
    int64_t time_min, time_max, time_last;
    bool has_times, sorted, open;
    struct hash128 sum, full;
    uint64_t used_at; /* save.clock when it was last written to */
    unsigned nfiles;
    struct save_file *file; /* ncols, then a second one for each string column */
};

struct save_table {
    const struct schema *schema;
    struct content_columns *hash;
    bool clocked;
    uint64_t rows;
    struct save_part *last;
    unsigned nfiles;
    int16_t second[SCHEMA_COLUMNS_MAX]; /* of a string column: its `#`; -1 */
};

struct load_save {
    char dir[1024];
    const struct load_recipe *recipe;
    struct load_dict *dict;
    struct content_symbols symbols;
    struct save_table table[LOAD_TABLES];
    struct save_part **part; /* in order of their first row */
    uint32_t nparts, part_room;
    uint32_t *slot; /* hash of (day, table): part + 1 */
    uint64_t clock, rows;
    unsigned open_files;
    uint32_t buffer; /* bytes of each file's */
    FILE *rejects;
    uint64_t rejected;
    char first_reject[300];
    hash_acc acc[CONTENT_BLOCK];
};

bool save_disk(struct err *err, const char *path, const char *doing);
void save_part_path(const struct load_save *s, const struct save_part *p, char out[1200]);
/* The name of its file k: "price", "text#". */
void save_file_name(const struct save_table *t, unsigned k, char out[SCHEMA_NAME_MAX + 2]);
bool save_parts_flush(struct load_save *s, struct err *err); /* flushes and closes all files */
