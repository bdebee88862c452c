/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_run.h - one query inside penstock-query: cut, tables, SQL or named query, result.
 *
 * Owner: the runner thread; query_run_cancel may be called by any thread while a query runs.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"
#include "core/cut.h"
#include "core/symbols.h"
#include "query_loader.h"
#include "storage/query/plugin.h"
#include "storage/rdb_map.h"

struct view_db;
struct hdb;

struct query_runner {
    struct rdb_map rdb;
    struct symbols symbols;
    bool have_rdb, have_symbols;
    struct schema **schemas; /* declared tables */
    unsigned nschemas;
    struct query_view *views;
    unsigned nviews;
    bool views_checked;
    void (*log)(void *arg, const char *line);
    const struct tzone *zone;
    unsigned threads;
    uint64_t memory;
    struct plugins *plugins;
    /* Asks penstockd for a cut: malloc'd, checked with cut_ok; NULL: err. */
    struct cut *(*cut)(void *arg, struct err *err);
    struct query_loader loader; /* its `ask` NULL: there is none */
    void *arg;
    _Atomic int cancel; /* enum wire_cancel; set by another thread */
    /* own */
    struct hdb *hdb;
    struct view_db *db;
    char root[CUT_ROOT_MAX];
};

/* request: query_wire.h's QUERY. True: the result is in fd, sealed, `bytes` long, and *facts says
 * what it is. False: *error is FAILED's object. */
bool query_runner_run(struct query_runner *r, json_t *request, int fd, uint64_t *bytes,
                      json_t **facts, json_t **error);
/* The declared tables, texts as schema.h writes them. */
bool query_runner_schemas(struct query_runner *r, json_t *texts, struct err *err);
/* The configured views: [{"name","sql"}…]; o must stay. */
bool query_runner_views(struct query_runner *r, json_t *views, struct err *err);
void query_runner_free(struct query_runner *r);

/* {"sql": …} or {"call": …} with "params" as query.h wants them. Shared with the CLI, which runs
 * queries over a database without a daemon. */
struct query_texts {
    struct query_param param[64];
    char number[64][24];
    unsigned n;
};
bool query_texts_from(json_t *params, struct query_texts *out, struct err *err);
/* FAILED's object of an error. */
json_t *query_error_json(const struct query_error *e);
