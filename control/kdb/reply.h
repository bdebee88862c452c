/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - what a kdb+ client gets: answers made of facts, marks and notices. Pure functions that
 * append to a struct kdb_out, any thread; the caller supplies every fact, consistent among itself.
 *
 * Source: the kdb+ format page, 2.2-2.7; row numbers below are 2.7's.
 *
 * kdb_answer and kdb_answer_error write whole messages (response); kdb_mark_... and kdb_notice
 * whole async messages; kdb_put_... objects only, for whoever composes. False: no memory or 2 GiB
 * passed; `out` then holds no part of the message.
 */
#pragma once

#include "core/schema.h"
#include "kdb/request.h"

/* A table in an answer. Of the schema only name, columns' names and types, and keys are used, so a
 * projection may be given as a schema made for it. */
struct kdb_answer_table {
    const struct schema *schema;
    /* Keyed tables: the current rows as a serialized (keyed) table; len 0: the empty one. */
    const uint8_t *rows;
    size_t rows_len;
    int64_t count; /* TorQ: rows today; COUNT */
};

struct kdb_facts {
    const struct kdb_answer_table *tables; /* SUB, PST_SUB: those subscribed, in the order asked
                                              for; TABLES: all visible, by name; META, COLS, COUNT:
                                              one */
    uint32_t ntables;
    int64_t messages; /* .u.i; PST_NULL_LONG: no log */
    const char *log;  /* .u.L, a path without its colon; NULL or "": no log */
    const char *log_directory;
    int32_t date;
    /* ours */
    const char *instance;
    uint64_t
        position; /* PST_SUB: where the stream starts; PST_UPD: the answer; watermark: committed */
    uint64_t submitted, written, durable;
    int64_t time;
    uint64_t id; /* PST_SUB: of the subscription */
};

/* The response to a request that facts alone can answer: FLUSH, SUB, POINT, DATE, TABLES, META,
 * COLS, COUNT, TORQ_..., PYKX_..., UPD and ENDOFDAY (::), PST_SUB, PST_UNSUB, PST_UPD,
 * PST_WATERMARK, PST_WAIT; UNKNOWN gives the hint as an error. Others (SQL, NAMED, SNAP, and what
 * upstreams send) are the caller's: error nyi. */
bool kdb_answer(struct kdb_out *o, const struct kdb_request *r, const struct kdb_facts *f);
__attribute__((format(printf, 2, 3))) bool kdb_answer_error(struct kdb_out *o, const char *fmt,
                                                            ...);

/* ---- objects ---- */

/* The empty table; g# on the column sym. Keyed: keys and values. */
void kdb_put_schema(struct kdb_out *o, const struct schema *s);
void kdb_put_pair(struct kdb_out *o, const struct kdb_answer_table *t);   /* (`name; schema) */
void kdb_put_point(struct kdb_out *o, int64_t messages, const char *log); /* (i; `:L) */
void kdb_put_meta(struct kdb_out *o, const struct schema *s);             /* keyed: c | t f a */
/* An empty vector of a column's type: string: an empty general list. */
void kdb_put_empty(struct kdb_out *o, uint8_t type, uint8_t attribute);
void kdb_put_string(struct kdb_out *o, const char *text); /* symbol */

/* ---- what subscribers get beside their rows ---- */

bool kdb_mark_end(struct kdb_out *o, int32_t date);             /* (`.u.end; date) */
bool kdb_mark_eoi(struct kdb_out *o, int64_t from, int64_t to); /* (`.u.eoi; (from; to)) */
/* (`.dm.buff.start; (`id; `path; args)); args: a serialized object or NULL for :: */
bool kdb_mark_buffer(struct kdb_out *o, bool start, const char *id, const char *path,
                     const uint8_t *args, size_t args_len);

/* (`.pst.notice; dict). Begin, add fields, end:
 *     struct kdb_notice n;
 *     kdb_notice_begin(&n, out, "skipped");
 *     kdb_notice_long(&n, "rows", 17);
 *     ok = kdb_notice_end(&n);
 * At most KDB_NOTICE_FIELDS fields, `kind` among them. */
#define KDB_NOTICE_FIELDS 16u
struct kdb_notice { /* private */
    struct kdb_out *out;
    struct {
        const char *key; /* a constant */
        int64_t value;
        char text[256];
        int8_t type;
    } field[KDB_NOTICE_FIELDS];
    uint32_t count;
};
void kdb_notice_begin(struct kdb_notice *n, struct kdb_out *o, const char *kind);
void kdb_notice_long(struct kdb_notice *n, const char *key, int64_t v); /* positions too */
void kdb_notice_time(struct kdb_notice *n, const char *key, int64_t v); /* timestamp */
void kdb_notice_symbol(struct kdb_notice *n, const char *key, const char *text);
bool kdb_notice_end(struct kdb_notice *n);
/* A whole notice with `from` and `to`. */
bool kdb_notice_range(struct kdb_out *o, const char *kind, uint64_t from, uint64_t to);
