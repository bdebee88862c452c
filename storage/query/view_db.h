/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_db.h - all tables of a cut as views, and as the binder's catalogue (query.h).
 *
 *   db = view_db_new(rdb map or NULL, symbol table or NULL, hdb or NULL, &err)
 *   for each query:  view_db_cut(db, cut, &err);  env.tables = view_db_catalogue(db);
 *                    query_run(...)
 *
 * A (table, day) is read where the cut says (core/cut.h): from the RDB if one of its parts stands
 * in cut->part[], else from the HDB; from both, the partition first, when a batch was loaded into a
 * day that is still in memory. Without a cut (a database without a daemon): the HDB alone, at
 * its newest. A table's columns are those of its newest version: of the highest table id in the
 * RDB, else of the HDB's newest date. Columns that only older versions have are not seen.
 *
 * Views are made when a table is first asked for in a cut, from names and dates alone; partitions
 * are opened by the executor. view_db_cut drops the views of the cut before, so no query may run
 * then. The map of HDB symbols to codes is kept and extended; identity costs nothing.
 *
 * A partition whose epoch is above the cut's fails view_open with err->code -ESTALE, which exec_run
 * turns into QUERY_RETRY.
 *
 * Owner: one thread (the query's). The map, the symbol table and the hdb must outlive it.
 */
#pragma once

#include "core/cut.h"
#include "query.h"
#include "view.h"

struct hdb;
struct rdb_map;
struct view_db;

struct view_db *view_db_new(const struct rdb_map *rdb, const struct symbols *journal,
                            struct hdb *hdb, struct err *err);
void view_db_free(struct view_db *db);

/* Tables that exist although no row of them does: of every version (table id) that is declared. The
 * array and the schemas stay the caller's and must outlive db. */
void view_db_declare(struct view_db *db, const struct schema *const *schemas, unsigned n);
/* What the queries of the next cuts see, copied; NULL: everything. A table that may not be read
 * does not exist. */
struct view_db_limits {
    bool (*may_read)(void *arg, const char *table); /* NULL: all */
    void *arg;
    bool memory_only;   /* no rows of the database, and no table that only it has */
    bool database_only; /* no rows in memory: their (table, day) has none */
    uint64_t last;      /* of each table's rows in memory only the last so many; 0: all */
};
void view_db_limit(struct view_db *db, const struct view_db_limits *l);
/* Tables that are neither in memory nor in the database: made when they are first asked for in a
 * cut, by who knows them. m is copied, the names stay the caller's. Limits on tiers do not concern
 * them, may_read does. */
struct view_db_more {
    const char *const *names;
    unsigned n;
    struct view *(*make)(void *arg, const char *name, const struct view_syms *syms,
                         struct err *err);
    void *arg;
};
void view_db_add(struct view_db *db, const struct view_db_more *m);
/* cut NULL: HDB only. Refreshes the HDB. The cut is copied. */
bool view_db_cut(struct view_db *db, const struct cut *cut, struct err *err);

/* Names of all tables of the cut, sorted; valid until the next cut. */
uint32_t view_db_tables(struct view_db *db, const char *const **names);
/* NULL: no such table (err->code -ENOENT), or it cannot be read (err says why). */
struct view *view_db_view(struct view_db *db, const char *name, struct err *err);
/* The binder's side: find and at over view_db_view. ctx is db. */
struct query_catalogue view_db_catalogue(struct view_db *db);
