/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_loader.h - the loader's tables (pst_tasks, pst_workers, pst_files, pst_batches, pst_memory)
 * inside penstock-query: views over one snapshot, which penstockd is asked for when a query first
 * names one of them, and never else. All of a query's tables are of the same moment; their `date`
 * is that moment's, in UTC.
 *
 * Owner: the runner thread.
 */
#pragma once

#include <jansson.h>
#include "storage/query/view_db.h"

struct query_loader {
    /* Asks penstockd: {"time", "tables": [{"table", "columns": [[name, type letter]…], "rows":
     * [[…]…]}…]}; a new reference, NULL: err. */
    json_t *(*ask)(void *arg, struct err *err);
    void *arg;
    /* own */
    struct query_loader_table *table;
    unsigned n;
    bool here;
    struct err why; /* here, but could not be had: code is not 0 */
};

/* The tables' names, and how view_db makes them. */
void query_loader_more(struct query_loader *q, struct view_db_more *out);
/* Before a query: what the one before saw is forgotten. No view of it may be read any more. */
void query_loader_drop(struct query_loader *q);
