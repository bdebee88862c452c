/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_answer.h - inside penstock-query: the part of a QUERY request that speaks of rights, tiers
 * and kdb+ forms (query_wire.h lists the fields; publish/answer.h says what they are for).
 *
 * A request of a kdb+ client names a kind: one statement of the user's (sql, call) or statements
 * that are made here for each of its tables (count, snap, keyed, snapshot). All run in one cut,
 * under the same limits; the results become messages (query_kdb.h).
 *
 * RIGHTS. query_answer_limits goes into view_db before the cut, query_answer_env wraps the
 * environment: named queries that may not be called and configured views over tables that may not
 * be read do not exist. Without rights in the request everything is allowed.
 *
 * Owner: the runner thread. A query_answer may be run again (QUERY_RETRY): results are replaced.
 */
#pragma once

#include <jansson.h>
#include "core/cut.h"
#include "storage/query/plugin.h"
#include "storage/query/view_db.h"

enum query_answer_kind {
    QUERY_PLAIN, /* no kdb+ client's: sql or call, the result as query_result.h writes it */
    QUERY_ANSWER_SQL,
    QUERY_ANSWER_CALL,
    QUERY_ANSWER_COUNT,
    QUERY_ANSWER_SNAP,
    QUERY_ANSWER_KEYED,
    QUERY_ANSWER_SNAPSHOT
};

struct query_answer {
    enum query_answer_kind kind;
    json_t *request; /* borrowed */
    /* rights */
    json_t *may_read, *may_call; /* arrays of names; NULL: all */
    bool memory_only, database_only, local;
    bool partial; /* an answer that lacks rows is one */
    uint32_t stripe, stripes;
    /* results */
    const char *table[1024]; /* texts of the request; "" for a statement of the user's */
    struct result *result[1024];
    uint32_t nkeys[1024];
    uint32_t n;
    /* the environment of restricted users */
    struct query_functions functions;
    struct query_view *views;
};
struct query_answer_run {
    struct query_env *env;
    struct view_db *db;
    const struct cut *cut;
    struct plugins *plugins;
    const struct plan_limits *limits;
};

/* `request` must stay. False: err. */
bool query_answer_read(struct query_answer *a, json_t *request, struct err *err);
void query_answer_limits(struct query_answer *a, struct view_db_limits *l);
/* After the cut. False: no memory. */
bool query_answer_env(struct query_answer *a, struct query_env *env);
/* A kdb+ answer has no place for a note: one that would be short without a word, as memory is being
 * rebuilt or lacks rows of a day, or the database is not loaded, is an error but for users with
 * `partial`. (Statements look at their own dates: query_env.whole.) What goes on as a stream is
 * exact at its cut, or refused (snapshot). */
bool query_answer_whole(const struct query_answer *a, const struct cut *c,
                        const struct query_env *env, struct query_error *e);
/* Kinds from COUNT on: makes and runs their statements. */
bool query_answer_statements(struct query_answer *a, const struct query_answer_run *run,
                             struct query_error *e);
/* All but QUERY_PLAIN: messages into fd, sealed. max_bytes 0: any. */
bool query_answer_write(struct query_answer *a, int fd, uint64_t max_bytes,
                        const struct tzone *zone, uint64_t *bytes, json_t **facts, struct err *err);
void query_answer_clear(struct query_answer *a); /* drops the results */
void query_answer_free(struct query_answer *a);
