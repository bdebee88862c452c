/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.h - one (date, table) of a batch as its index task and its merge tasks see it: what
 * exists, the files' rows, the columns of the partition. Shared by index.c and merge.c, private to
 * them.
 *
 * The index task makes it from its arguments and writes <index>/index.json; a merge task makes it
 * from that file. Both find the same columns, because the existing partition is the same one: its
 * identity is compared.
 */
#pragma once

#include "load/index.h"
#include "load/symbols.h"
#include "partition.h"

#define LOAD_INDEX_JSON  "index.json"
#define LOAD_INDEX_PLACE "place"
#define LOAD_MEMORY      (512ull << 20)

struct load_layout { /* columns of a saved table; files mostly share one */
    char name[SCHEMA_COLUMNS_MAX][SCHEMA_NAME_MAX];
    uint8_t type[SCHEMA_COLUMNS_MAX];
    unsigned ncols;
    struct load_layout *next;
};

struct load_file { /* rows of this (date, table) in one delivered file */
    char *dir;     /* of the read task */
    struct wd_loaded loaded;
    const struct load_layout *layout;
    struct load_codes codes;
    struct content_sum sum;
};

struct load_unit {
    /* arguments */
    struct schema schema;
    int32_t date;
    uint64_t instance, commit;
    const char *root, *batch, *index, *calendar;
    bool supersede, buffered;
    unsigned threads;
    enum { LOAD_REFUSE, LOAD_MERGE, LOAD_SUPERSEDE } existing_rule;
    uint64_t memory;
    /* found */
    char base[LOAD_BASE_TEXT], merge_dir[1200], table_dir[1200];
    bool merge, replaced; /* the existing rows are a source; or are left behind */
    uint64_t existed;     /* rows that exist, merged or not */
    bool exists;
    struct wd_existing existing;
    struct load_layout *layouts;
    struct load_file *file;
    unsigned nfiles;
    struct schema target;
    struct wd_source *source;
    unsigned nsources;
    struct hdb_sym sym;
    struct wd_symbols symbols;
    struct io *io;
    struct wd_worker worker;
    bool worker_made;
    struct load_progress *progress;
    _Atomic bool never; /* cancel, where nobody watches */
};

/* Arguments of an index task. u is zeroed first; load_unit_close in any case. */
bool load_unit_args(struct load_unit *u, const json_t *args, struct err *err);
/* What exists and what is to be done with it. */
bool load_unit_existing(struct load_unit *u, struct err *err);
/* The files' rows from their results; columns; sources. */
bool load_unit_files(struct load_unit *u, const json_t *dirs, struct err *err);
/* The same from index.json's "files". */
bool load_unit_saved(struct load_unit *u, const json_t *files, struct err *err);
json_t *load_unit_save(const struct load_unit *u);
bool load_unit_target(struct load_unit *u, struct err *err);
/* `sym` and the files' codes; the worker that reads and writes columns. */
bool load_unit_symbols(struct load_unit *u, struct err *err);
bool load_unit_worker(struct load_unit *u, struct load_progress *p, struct err *err);
void load_unit_forget(struct load_unit *u); /* maps of columns */
void load_unit_close(struct load_unit *u);
const _Atomic bool *load_unit_cancel(const struct load_unit *u);

/* Column `col` of the target at the places of `o`, synced. *bytes: of its files. */
bool load_unit_column(struct load_unit *u, const struct wd_order *o, unsigned col,
                      uint8_t attribute, uint64_t *bytes, struct err *err);
/* Behind the last column: what was started lands, then each file is synced. */
bool load_unit_sync(struct load_unit *u, const unsigned *cols, unsigned n, struct err *err);
/* Makes a directory with those above it. */
bool load_make_dirs(const char *path, struct err *err);
/* A small file, whole, by rename. */
bool load_write_json(struct io *io, const char *dir, const char *name, const json_t *o,
                     struct err *err);
