/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - SQL in, a result or one sentence out.
 *
 *   text -> rewrite.h (LATEST BY, ASOF JOIN, kdb+ literals) -> libpg_query -> bind.h -> plan.h
 *        -> exec.h -> result.h
 *
 * penstock-query, `penstock sql --database DIR` and tests call query_run. One thread runs one
 * query; several threads may run queries at once on one env if its tables are not changed meanwhile
 * (libpg_query keeps its state per thread; parsing recurses, a thread wants 8 MiB of stack). Zone
 * files are read at binding. Nothing here logs, exits or keeps state between queries.
 */
#pragma once

#include "plan.h"

struct result; /* result.h */
struct query_env;

/* Where and why. position: byte offset in the user's text, -1 = none; line and column count from 1
 * (0 = none), column in bytes. */
enum query_errno {
    QUERY_OK,
    QUERY_SYNTAX,      /* the text is not SQL */
    QUERY_UNSUPPORTED, /* SQL that Penstock does not run; the sentence says what to do instead */
    QUERY_NAME,        /* unknown or ambiguous table, column, function, parameter */
    QUERY_TYPE,        /* types that do not fit */
    QUERY_VALUE,       /* at run time: overflow, malformed cast */
    QUERY_LIMIT,       /* rows, memory */
    QUERY_TIMEOUT,
    QUERY_CANCELLED,
    QUERY_RETRY,  /* the cut is older than a partition that was opened: take a new cut, run again */
    QUERY_FAILED, /* reading data failed, or a named query said so */
};
struct query_error {
    int code; /* enum query_errno */
    int64_t position;
    uint32_t line, column;
    char text[500];
};
/* Always false. */
__attribute__((format(printf, 4, 5))) bool query_error_set(struct query_error *e, int code,
                                                           int64_t position, const char *fmt, ...);
const char *query_errno_name(int code); /* "syntax", "unsupported", ... for JSON */
/* Fills line and column from position. */
void query_error_locate(struct query_error *e, const char *sql, size_t len);

/* A column of a table as SQL sees it. */
struct query_column {
    const char *name;
    uint8_t type; /* enum pst_type */
};

/*
 * A table: cols[0] is always the virtual `date` (PST_DATE, the trading date of the partition); then
 * the table's own, of the newest schema version (a partition's column that is missing, or has
 * another type in an older version, is the executor's affair: NULL, or a cast). source: the
 * executor's.
 */
struct query_table {
    const char *name;
    uint16_t ncols; /* with date */
    uint16_t nkeys; /* keyed table */
    const struct query_column *cols;
    const uint16_t *keys; /* indices into cols */
    void *source;         /* view.h's table */
};

/* Tables are asked for by a small function table, so that tests can give tables in memory. */
struct query_catalogue {
    void *ctx;
    /* NULL = no such table. The answer lives as long as the env. Name: exact. */
    const struct query_table *(*find)(void *ctx, const char *name);
    /* i-th table, NULL after the last; for SHOW TABLES and the nearest name. */
    const struct query_table *(*at)(void *ctx, unsigned i);
};

/* A configured view: a named SELECT over one table or view, with WHERE, without more. */
struct query_view {
    const char *name;
    const char *sql;
};

/* $1 and :name. type 0: a text whose type the place decides, like a literal in quotes. */
struct query_param {
    const char *name; /* "1" for $1, else the name */
    uint8_t type;     /* 0 or enum pst_type; text is read as that type */
    const char *text; /* NULL = NULL */
};

/*
 * Named queries (plugins): FROM name(args) and CALL name(args). The binder checks names and types
 * by the signature and passes one constant of exactly its type for each parameter (is_null for
 * optional ones that were left out). Its rows are then a table like others.
 */
#define QUERY_CALL_ARGS_MAX 64
struct query_call_param {
    const char *name;
    uint8_t type;
    bool optional;
};
struct query_function {
    const char *name;
    const char *help;
    unsigned nparams;
    const struct query_call_param *params;
    /* The columns of its answer; cols[0] is a `date` that SQL does not show (any date will do). */
    uint16_t ncols;
    const struct query_column *cols;
    void *impl;
};
struct query_functions {
    void *ctx;
    const struct query_function *(*find)(void *ctx, const char *name); /* NULL: no named queries */
    const struct query_function *(*at)(void *ctx, unsigned i);         /* NULL after the last */
    /* Runs it and gives its rows as the executor's table (view.h). */
    bool (*call)(void *ctx, const struct query_function *f, struct plan_expr *const *args,
                 struct query_env *env, const struct plan_limits *limits, void **source,
                 struct query_error *e);
    void (*release)(void *ctx, void *source);
};

struct query_note {
    int kind; /* enum result_note */
    const char *text;
    bool of_day; /* rows of `day` are missing */
    int32_t day;
};

struct query_env {
    struct query_catalogue tables;
    struct query_functions functions; /* find NULL = none */
    const struct query_view *views;
    unsigned nviews;
    const struct tzone *zone; /* of current_date and zone-less conversions; NULL = UTC */
    int64_t now_ns;           /* now(): fixed for the query, UTC ns since 2000-01-01 */
    /* Where the table `gap` is asked for losses in the scanned days (NULL catalogue entry: no
     * warning). */
    bool check_gaps;

    /* Facts of the cut that warnings are made of (control's answer to the cut). */
    const struct query_note *notes; /* sentences to pass on: RDB behind, rebuilding, incomplete */
    unsigned nnotes;
    /* An answer whose dates include a note's day is an error, not a result with the note. */
    bool whole;
    void *user;
};
/* The error of `whole`, of a note's text. */
#define QUERY_NOT_WHOLE "%s: ask for other dates, or as a user with partial: true"

struct query_request {
    const char *sql;
    size_t len;
    const struct query_param *params;
    unsigned nparams;
    struct plan_limits limits;
    /* Of query_run: inner SELECTs are run while binding, this being what their query reads. NULL:
     * they are not, see plan.subquery. */
    const struct plan_bounds *within;
    unsigned depth; /* of inner SELECTs */
};

/*
 * True: *out is the result (result_free), its warnings filled (gaps in the span, notes of the env).
 * False: e says what, where and what to do; *out is NULL.
 */
bool query_run(struct query_env *env, const struct query_request *q, struct result **out,
               struct query_error *e);

/* Parses and binds only; a plan marked `subquery` cannot be run. NULL: e. Statements without a plan (SHOW, DESCRIBE, FROM name(args)) are
 * refused here; query_run takes them. */
struct plan *query_plan(struct query_env *env, const struct query_request *q,
                        struct query_error *e);

/* Checks configured views once, at start: each must bind. */
bool query_check_views(struct query_env *env, struct query_error *e);

/*
 * A view's or a table's name that is nearest to a misspelt one, or NULL. Shared by all messages.
 */
const char *query_nearest(const char *name, const char *const *names, unsigned n);
