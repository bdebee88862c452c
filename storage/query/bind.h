/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bind.h - from libpg_query's parse tree to a plan: names, types, shapes. Internal to the front
 * end.
 *
 *   parse.h    text -> tree            bind.c       SELECT: WHERE, GROUP BY ... -> plan
 *   bind_from.c  FROM
 *   bind_node.c  nodes, folding        bind_expr.c  expressions
 *   bind_type.c  types and casts       bind_func.c  functions and aggregates
 *   bind_sub.c   x IN (SELECT ...)
 *   bounds.c   what WHERE says about date, time, sym
 *   bind_from.c  FROM: tables, views, named queries, ASOF
 *
 * While an expression is bound its type may be one that no plan has:
 *   BIND_UNTYPED  a literal in quotes, NULL or a parameter without type: the place decides.
 *                 A CONST with value.text (the text) or is_null
 *   BIND_MONTHS   an interval of months, CONST with value.i
 */
#pragma once

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include "arena.h"
#include "literal.h"
#include "query.h"
#include "rewrite.h"

#define BIND_UNTYPED   0u
#define BIND_MONTHS    254u
#define BIND_VIEWS_MAX 8u /* views over views */
#define BIND_ZONES_MAX 16u
#define BIND_NODES_MAX 200000u

typedef PgQuery__Node tree;
typedef PgQuery__SelectStmt select_tree;

/* What names of FROM mean: a table's columns, or a view's expressions over them. */
struct bind_source {
    const char *alias; /* as said in the query: alias, else name */
    const char *name;
    uint8_t side;
    const struct query_table *table; /* columns by number ... */
    uint32_t ncolumns;               /* ... or, of a view, these */
    const char **column_name;
    struct plan_expr **column;
    bool hide_date; /* a named query's rows have none */
};

struct bind_zone {
    struct bind_zone *next;
    struct tzone *zone;
};

enum bind_where {
    BIND_OUTPUT,
    BIND_WHERE,
    BIND_GROUP,
    BIND_HAVING,
    BIND_ORDER,
    BIND_LIMIT,
    BIND_ARGUMENT
};

struct binder {
    struct query_env *env;
    const struct query_request *q;
    const struct rewrite *rw; /* of the text that is being bound */
    struct arena *a;
    struct plan *plan;
    struct query_error *e;

    struct bind_source source[2];
    unsigned nsources;
    unsigned using_columns; /* ASOF: names that both sides have and that mean the left one */
    const char *using_name[PLAN_KEYS_MAX];

    enum bind_where where;
    bool in_aggregate;
    unsigned depth;

    /* outputs by name, for GROUP BY, HAVING, ORDER BY */
    unsigned nnamed;
    struct plan_output *named;

    struct plan_expr **nodes; /* open addressing, by structure */
    uint32_t nodes_room, nodes_used;
    unsigned agg_room;

    const struct query_view *view; /* whose text is being bound; NULL = the user's */
    int64_t view_pos;              /* where the user names it */
    unsigned view_depth;
    struct bind_zone *zones;
};

/* ---- errors: always false / NULL ---- */
#define bind_error(b, code, pos, ...) (query_error_set((b)->e, code, pos, __VA_ARGS__), NULL)
int64_t bind_pos(const struct binder *b, int64_t location);
/* Where a word stands in the text that is bound, outside of texts and comments; -1: nowhere. */
int64_t bind_word(const struct binder *b, const char *word);

/* ---- bind_node.c ---- */
struct plan_expr *bind_make(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                            struct plan_expr *const *arg, unsigned nargs,
                            const struct plan_expr *like); /* field, zone, column, side; or NULL */
struct plan_expr *bind_make1(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                             struct plan_expr *x);
struct plan_expr *bind_make2(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                             struct plan_expr *x, struct plan_expr *y);
struct plan_expr *bind_const(struct binder *b, const struct scalar *v, int64_t pos);
struct plan_expr *bind_long(struct binder *b, int64_t v, int64_t pos);
struct plan_expr *bind_null(struct binder *b, uint8_t type, int64_t pos);
struct plan_expr *bind_leaf(struct binder *b, unsigned op, uint8_t type, unsigned side,
                            unsigned column, int64_t pos);
struct scalar bind_value(const struct plan_expr *c); /* of a CONST with a real type */

/* ---- bind_type.c ---- */
const char *bind_type_name(uint8_t type);
bool bind_is_integer(uint8_t t);
bool bind_is_number(uint8_t t);
bool bind_is_offset(uint8_t t); /* timespan minute second time */
bool bind_is_text(uint8_t t);   /* symbol string */
/* An untyped constant becomes a string; byte becomes short if `wide`. */
struct plan_expr *bind_settle(struct binder *b, struct plan_expr *x);
/* Implicit: an untyped literal, or a widening; else an error that names `what`. */
struct plan_expr *bind_coerce(struct binder *b, struct plan_expr *x, uint8_t type,
                              const char *what);
/* CAST(x AS type). */
struct plan_expr *bind_cast(struct binder *b, struct plan_expr *x, uint8_t type, int64_t pos);
/* All to one type (CASE, COALESCE ...). */
bool bind_unify(struct binder *b, struct plan_expr **x, unsigned n, int64_t pos, const char *what);
struct plan_expr *bind_compare(struct binder *b, unsigned op, struct plan_expr *l,
                               struct plan_expr *r, int64_t pos);
struct plan_expr *bind_in(struct binder *b, struct plan_expr *x, struct plan_expr **list,
                          unsigned n, int64_t pos);
struct plan_expr *bind_arith(struct binder *b, unsigned op, struct plan_expr *l,
                             struct plan_expr *r, int64_t pos);
struct plan_expr *bind_negate(struct binder *b, struct plan_expr *x, int64_t pos);
struct plan_expr *bind_boolean(struct binder *b, struct plan_expr *x, const char *what);

/* ---- bind_sub.c ---- */
struct plan_expr *bind_sub_link(struct binder *b, const PgQuery__SubLink *l);

/* ---- bind_expr.c ---- */
struct plan_expr *bind_expr(struct binder *b, const tree *n);
/* Type 0: error is set. months: the type is an interval. */
uint8_t bind_type_of(struct binder *b, const PgQuery__TypeName *t, bool *interval);
const char *bind_string(const tree *n); /* of a String node, else NULL */
struct plan_expr *bind_column(struct binder *b, const char *table, const char *name, int64_t pos,
                              bool quiet); /* quiet: unknown is NULL without an error */
struct plan_expr *bind_source_column(struct binder *b, const struct bind_source *s, unsigned i,
                                     int64_t pos);
unsigned bind_source_columns(const struct bind_source *s);
const char *bind_source_name(const struct bind_source *s, unsigned i);
/* The n-th parameter ($n) as a constant. */
struct plan_expr *bind_param(struct binder *b, int number, int64_t pos);
const struct tzone *bind_zone(struct binder *b, const char *name, int64_t pos);

/* ---- bind_func.c ---- */
struct plan_expr *bind_function(struct binder *b, const PgQuery__FuncCall *f);

/* ---- bounds.c ---- */
void bounds_find(struct binder *b, struct plan_scan *s, unsigned side);

/* ---- bind.c ---- */
struct plan *bind_select(struct query_env *env, const struct query_request *q,
                         const struct rewrite *rw, const select_tree *t, struct query_error *e);

/* ---- parse.c ---- */
struct parsed {
    struct rewrite rw;
    PgQuery__ParseResult *tree;
    const tree *statement;
};
/* One statement. False: e, nothing to free. */
bool parse_sql(const char *sql, size_t len, struct parsed *out, struct query_error *e);
void parse_free(struct parsed *p);

/* ---- plan_text.c ---- */
struct text_out { /* grows; NUL-terminated */
    char *p;
    size_t len, room;
    bool failed;
};
__attribute__((format(printf, 2, 3))) void text_put(struct text_out *o, const char *fmt, ...);
void plan_text_expr(struct text_out *o, const struct plan *p, const struct plan_expr *x);
/* Lines of EXPLAIN: what will be done; with facts, what was. */
void plan_text_lines(struct text_out *o, const struct plan *p, bool facts);

/* ---- bind_from.c ---- */
struct bind_pending {         /* conditions that hold for one scan or for the joined rows */
    struct plan_expr *all[3]; /* left, right, both */
};
/* A conjunct of WHERE, or of a view's, for the scan `slot`. */
bool bind_condition(struct binder *b, struct bind_pending *w, unsigned slot, struct plan_expr *x);
bool bind_from(struct binder *b, const select_tree *t, struct bind_pending *w);

/* ---- bind.c ---- */
bool bind_targets(struct binder *b, const select_tree *t);
