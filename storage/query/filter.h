/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - a WHERE clause and a column list, bound once to one version of a table and evaluated
 * over batches of rows that the caller holds as plain arrays: the query engine's expressions
 * without a query. The fan-out's subscriptions are its user.
 *
 *   filter_new(schema, where, columns, ...)    parses and binds: SELECT columns FROM t WHERE where
 *   filter_rows(f, &batch, sel, &n, &err)      which rows pass, and what the computed columns are
 *
 * where: conditions as SQL has them; commas between them mean AND, and IN may be followed by kdb+'s
 * `A`B, as kdb+ users write. columns: SQL's select list. Either may be empty: all rows; no outputs.
 * What is more than that (aggregates, GROUP BY, ORDER BY, LIMIT, DISTINCT, other tables) is refused
 * with a sentence. now() is the moment of binding. `date` is the batch's date.
 *
 * SYMBOLS are u32 codes of a struct filter_syms, the caller's table of texts, shared by all filters
 * of one thread. It only grows; a code never changes.
 *
 * Owner: one thread has a filter_syms and all filters over it. A filter keeps its scratch memory.
 */
#pragma once

#include "core/tzone.h"
#include "exec.h"

#define FILTER_BATCH  EXEC_BATCH
#define FILTER_MEMORY (64u << 20) /* of one filter, while it evaluates a batch */

/* ---- symbols ---- */

struct filter_syms {
    struct view_syms view; /* extra: the texts by code */
    uint32_t room;
    struct filter_chunk *chunks; /* texts never move */
};
void filter_syms_init(struct filter_syms *s);
void filter_syms_free(struct filter_syms *s);
#define FILTER_NO_CODE 0xFFFFFFFEu
/* The code of a text, which is copied. Empty: PST_NULL_SYMBOL. FILTER_NO_CODE: no memory. */
uint32_t filter_syms_code(struct filter_syms *s, const char *text, uint32_t len);

/* ---- filters ---- */

struct filter_output {
    const char *name;
    uint8_t type;
    int32_t column; /* of the schema, as it is; -1: computed; -2: the date */
};

struct filter {
    struct filter_output *output;
    uint32_t noutputs;
    bool all;      /* every row passes */
    bool never;    /* none does */
    bool computes; /* an output has column -1 */
    bool has_syms; /* only rows of these symbols can pass; nsyms 0: none */
    const struct plan_text *syms;
    uint32_t nsyms;
    uint16_t *columns; /* of the schema: the arrays that filter_rows reads */
    uint32_t ncolumns;
    struct filter_run *run; /* private */
};

struct filter_text {
    const char *p;
    size_t len;
};
/* A where clause as written for filters, as one SQL expression in parentheses. */
struct text_out;
void filter_where(struct text_out *o, struct filter_text where);

/* NULL: e. zone: of current_date and of conversions without a zone; NULL is UTC. */
struct filter *filter_new(const struct schema *s, struct filter_text where,
                          struct filter_text columns, const struct tzone *zone, int64_t now_ns,
                          struct filter_syms *syms, struct query_error *e);
void filter_free(struct filter *f); /* NULL is fine */

struct filter_batch {
    uint32_t n; /* at most FILTER_BATCH */
    int32_t date;
    /* By column of the schema, those of filter.columns: values of the type's width, 8-aligned;
     * symbols u32 codes; strings u64: offset in chars << 16 | length. */
    const void *const *data;
    const char *chars;
    uint64_t chars_bytes;
};
/* sel: room for n + 16. True: *passed rows pass, their numbers are in sel, ascending (all of them:
 * sel is not written). Then the outputs that are computed, for exactly those rows, until the next
 * call: filter_value. False: an expression failed; nothing is known of the batch. */
bool filter_rows(struct filter *f, const struct filter_batch *b, uint32_t *sel, uint32_t *passed,
                 struct query_error *e);

/* A computed output in its class: u8 0, 1, 2 (NULL) for boolean; i64, null INT64_MIN, for all other
 * integers, char and times; double; u32 code; struct plan_text; 16 bytes. one: a single value
 * stands for all rows. */
struct filter_vector {
    const void *p;
    bool one;
};
struct filter_vector filter_value(const struct filter *f, uint32_t output);
/* Text of a code, also of those that an expression made in this batch. */
const char *filter_text_of(const struct filter *f, uint32_t code, uint32_t *len);
