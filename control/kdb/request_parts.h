/* SPDX-License-Identifier: Apache-2.0 */
/* request_parts.h - what the files of request.h share; private to them. */
#pragma once

#include "kdb/request.h"

#define NODES 64u /* of one text request */
#define ARGS  8u  /* of one call that is no named query */

/* An argument, or an expression of a text request. */
enum node_kind {
    NODE_OBJECT,  /* `object`, of a list request */
    NODE_SYMBOLS, /* `a`b as it stood: `text` begins with a backtick */
    NODE_STRING,  /* what stood between quotes */
    NODE_NAME,    /* a bare name */
    NODE_VALUE,   /* a number, date, time: `type`, `value` */
    NODE_NULL,    /* :: */
    NODE_HOLE,    /* nothing between ; and ; */
    NODE_CALL,    /* text[arguments] or text argument */
    NODE_LIST,    /* (a; b) */
    NODE_EACH,    /* its first child each its second */
    NODE_PAIR,    /* an expression known to give (.u.i; .u.L) */
    NODE_DICT     /* its first child!its second: symbols and values */
};
struct node {
    uint8_t kind;
    uint8_t type;  /* VALUE */
    uint8_t first; /* child: index, 0 = none */
    uint8_t next;  /* sibling */
    uint8_t count; /* of children */
    bool enlisted; /* SYMBOLS, STRING behind `enlist` */
    const char *text;
    uint32_t len;
    uint8_t value[8];
    struct kdb_object object;
};

/* Reads a text as one expression: false when it is none of the few kinds known here. nodes[0] is
 * not used, the expression is nodes[*root]. */
bool text_parse(const char *text, uint32_t len, struct node nodes[NODES], uint8_t *root);
/* Equal but for blanks. */
bool text_same(const char *text, uint32_t len, const char *known);
bool text_begins(const char *text, uint32_t len, const char *known);

/* The names that an argument gives; `nodes` for the children of a list. False: it gives none. */
bool names_of(struct kdb_request *r, const struct node *nodes, const struct node *arg,
              struct kdb_names *n);
bool names_by(const struct kdb_object *o, struct kdb_names *n);
bool names_csv(const struct node *arg, struct kdb_names *n); /* false: no text with commas */
bool kdb_request_text(const struct node *arg,
                      struct kdb_text *t);                /* char vector, string or one symbol */
uint8_t *request_made(struct kdb_request *r, uint32_t n); /* room in r->made; NULL: no more */
/* Text requests' literals as an object in r->made: false when there is no room. */
bool object_of(struct kdb_request *r, const struct node *nodes, const struct node *arg);

/* .pst.sub's dictionary into r->sub. False: r->hint says why. */
bool subscription_read(struct kdb_request *r, const struct kdb_object *dict);

__attribute__((format(printf, 2, 3))) enum kdb_call request_unknown(struct kdb_request *r,
                                                                    const char *fmt, ...);

/* A dictionary's values one by one, also those that have collapsed into a vector. */
struct values {
    const struct kdb_object *of;
    struct kdb_items items;
    struct kdb_texts texts;
    struct kdb_object item;
    uint32_t at;
    bool more;
};
void values_first(struct values *v, const struct kdb_object *of);
void values_next(struct values *v);

/* ---- request_calls.c ---- */

struct args {
    struct kdb_request *r;
    const struct node *nodes, *arg[ARGS];
    unsigned n; /* may be more than ARGS: those are not in arg[] */
    bool bare;  /* arguments are no objects: a text, or a list that collapsed into symbols */
};

enum kdb_call request_done(struct kdb_request *r, enum kdb_call call);
enum kdb_call request_point(struct kdb_request *r, unsigned parts, bool enlisted);
enum kdb_call request_sql(struct kdb_request *r, const char *text, uint32_t len);
/* A function by its name. Leaves `args` of a named query to the caller: NAMED says it is one. */
enum kdb_call request_call(struct args *a, const char *name, uint32_t len);
enum kdb_call request_wants(struct args *a, const char *form);
/* ---- request_stream.c ---- */
enum kdb_call stream_sub(struct args *a);
enum kdb_call stream_unsub(struct args *a);
enum kdb_call stream_snapshot(struct args *a);
enum kdb_call stream_list(struct args *a);
enum kdb_call stream_streams(struct args *a);
enum kdb_call stream_state(struct args *a);
enum kdb_call stream_update(struct args *a);
enum kdb_call stream_notice(struct args *a);
/* A name that may be a streaming analytic's, called like one; word: it is one of q's own. */
bool stream_direct(const struct args *a, const char *name, uint32_t len, bool word);
enum kdb_call stream_call(struct args *a, const char *name, uint32_t len);

/* ---- request_calls.c ---- */
/* A function's text, one of those that clients send; what may be such a text. */
enum kdb_call request_source(struct args *a, const char *text, uint32_t len);
bool request_is_source(const char *text, uint32_t len);
