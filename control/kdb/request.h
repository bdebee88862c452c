/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - what a kdb+ client asks for: every expression that a tickerplant's clients are known
 * to send, and our own `.pst.` functions, read from one message's object. Never evaluates.
 *
 * Source: the kdb+ format page, 1.6, 2.2-2.7 (row numbers below are 2.7's); tests/unit/
 * test_kdb_request.c has the bytes of each row.
 *
 * Pure function, any thread, no allocation. Everything in a request is a view into the message's
 * bytes (or into the request's own `made`), so it stays as long as both; a request is handed on by
 * pointer, not copied.
 *
 * HOW LENIENT. Blanks are free in text forms. A function's name may be a char vector, a symbol, or
 * where clients send one a lambda. A table or symbol may be a symbol, a char vector ("trade"), a
 * single char, or either written with its backtick ("`trade", "`a`b", "`"). A list of them may be a
 * symbol vector or a general list of any of these.
 *
 * ALL OR SOME. `names.all`: the null symbol, "", "`" or `::` stood there. An empty symbol vector is
 * not all, it is none, as in q; so is ().
 *
 * UNKNOWN carries a sentence for the client in `hint` (also of a known function with arguments of
 * the wrong number or type): what was not understood and the nearest form to send.
 */
#pragma once

#include "kdb_object.h"

enum kdb_call {
    KDB_CALL_UNKNOWN,
    KDB_CALL_FLUSH, /* "", ::, (): row 8; answer :: */
    /* a tickerplant's */
    KDB_CALL_SUB,      /* rows 1-4, 6, 7, 9-14, 19: `sub`, `shape` */
    KDB_CALL_UPD,      /* row 16: `function`, `tables`, `data` */
    KDB_CALL_ENDOFDAY, /* row 17: `date` when one was given (null int otherwise) */
    KDB_CALL_POINT,    /* row 5: `parts` of .u.i and .u.L, one or the pair */
    KDB_CALL_DATE,     /* .u.d */
    KDB_CALL_TABLES,   /* row 5: tables[], .u.t; row 14: tablelist, key `.u.w. Symbols */
    KDB_CALL_META,     /* meta trade, meta[`trade], (`meta; `trade): `tables` has one */
    KDB_CALL_COLS,
    KDB_CALL_COUNT,
    KDB_CALL_SNAP,      /* .u.snap[`trade], (".u.snap"; `trade[; syms]): `sub` tables and syms */
    KDB_CALL_SQL,       /* s)select ..., .s.e "select ...": `text` */
    KDB_CALL_NAMED,     /* any other name of letters, digits and _: `function`, `args` (a list) */
    KDB_CALL_TORQ_TYPE, /* row 14: answer `segmented */
    KDB_CALL_TORQ_ATTRIBUTES, /* row 15: an error is tolerated */
    KDB_CALL_PYKX_CONTEXT,    /* row 18: `_pykx_ctx_marker */
    KDB_CALL_PYKX_KEYS,       /* row 18: an empty symbol vector */
    /* ours */
    KDB_CALL_PST_SUB,   /* (".pst.sub"; dict): `sub` */
    KDB_CALL_PST_UNSUB, /* (".pst.unsub"; id): `position` holds the id; without one, all: null */
    KDB_CALL_PST_UPD,   /* (".pst.upd"; table; data; level): `tables`, `data`, `level` */
    KDB_CALL_PST_WATERMARK, /* ".pst.watermark[]" */
    KDB_CALL_PST_WAIT,      /* (".pst.wait"; position; level) */
    /* streaming analytics */
    KDB_CALL_SA_SUB,      /* .sa.sub[name; params; options], NAME[params; options]: `stream`,
                           * `function` the name, `args` the parameters, a dictionary or nothing */
    KDB_CALL_SA_UNSUB,    /* .sa.unsub[id]: `stream`.id; null: all */
    KDB_CALL_SA_SNAPSHOT, /* .sa.snapshot[id] */
    KDB_CALL_SA_LIST,     /* .sa.list[] */
    KDB_CALL_SA_STREAMS,  /* .sa.streams[] */
    /* what a tickerplant sends its subscribers; an upstream connection receives these */
    KDB_CALL_END,          /* (`.u.end; date), (`endofday; date; ...) of TorQ: `date` */
    KDB_CALL_EOI,          /* (`.u.eoi; (from; to)), TorQ's endofperiod: `from_time`, `to_time` */
    KDB_CALL_BUFFER_START, /* (`.dm.buff.start; (id; path; args)): `data` is the argument */
    KDB_CALL_BUFFER_END,
    KDB_CALL_NOTICE, /* (`.pst.notice; dict): `data` */
    /* what a streaming analytic's clients get */
    KDB_CALL_SA_STATE,  /* (`.sa.snap; id; table; position): `stream`.id, `data`, `position` */
    KDB_CALL_SA_UPDATE, /* (`.sa.upd; id; table; position) */
    KDB_CALL_SA_NOTICE  /* (`.sa.notice; id; kind; text): `stream`.id, `function`, `text` */
};
const char *kdb_call_name(enum kdb_call call); /* "sub", "upd", ... for logs and counters */

/* Names of tables, symbols, columns: one, some, or all. */
struct kdb_names {
    bool all;       /* everything; count is 0 */
    bool many;      /* a list stood there, if of one or none: answers are lists then */
    uint32_t count; /* how many names follow */
    /* private */
    uint8_t form;
    const char *text; /* literal */
    uint32_t len;
    struct kdb_object object;
};
struct kdb_name {
    const char *text; /* not NUL-terminated */
    uint32_t len;
    /* private */
    uint32_t left;
    uint8_t form;
    const char *rest;
    uint32_t rest_len;
    union {
        struct kdb_items items;
        struct kdb_texts texts;
    };
};
/* for (bool more = kdb_names_first(&names, &i); more; more = kdb_names_next(&i)) use i.text */
bool kdb_names_first(const struct kdb_names *n, struct kdb_name *i);
bool kdb_names_next(struct kdb_name *i);

struct kdb_text { /* of a where clause, a column list, SQL; NULL: not given */
    const char *text;
    uint32_t len;
};

/* What the answer to SUB looks like. */
enum kdb_reply_shape {
    KDB_SHAPE_PLAIN,       /* a pair (table; schema); a list of pairs when `all` or `many` */
    KDB_SHAPE_POINT_AFTER, /* (plain; (.u.i; .u.L)): rows 1, 4, 6, 12 */
    KDB_SHAPE_POINT_FIRST, /* (.u.i; .u.L; list of pairs): row 13 */
    KDB_SHAPE_TORQ,        /* dictionary schemalist ... date: row 14, standard */
    KDB_SHAPE_SEGMENTED    /* the same and logdir: row 14, subdetails */
};

enum kdb_from { KDB_FROM_LIVE, KDB_FROM_DAY, KDB_FROM_BEGIN, KDB_FROM_POSITION };
enum kdb_policy {
    KDB_POLICY_DEFAULT, /* the user's, else the configuration's */
    KDB_POLICY_DISCONNECT,
    KDB_POLICY_CATCHUP,
    KDB_POLICY_CONFLATE,
    KDB_POLICY_SKIP
};
enum kdb_level { KDB_SUBMITTED, KDB_WRITTEN, KDB_DURABLE };
enum kdb_format { KDB_FORMAT_KDB, KDB_FORMAT_RECORDS };
enum { /* marks and notices; bits */
       KDB_MARK_END = 1,
       KDB_MARK_EOI = 2,
       KDB_MARK_BUFFER = 4,
       KDB_MARK_GAP = 8,
       KDB_MARK_HEARTBEAT = 16,
       KDB_MARKS = 31,        /* what true says */
       KDB_MARK_POSITION = 64 /* a notice `position` behind data, some times a second */
};

/* A subscription as it was asked for: .u.sub sets tables and syms, .ps.subtablefiltered where and
 * columns too, .pst.sub anything. What was not said holds the value in brackets. */
struct kdb_subscription {
    struct kdb_names tables, syms; /* [all] */
    struct kdb_text where, columns;
    bool adds;                /* .u.add: unites with what the connection has, does not replace */
    bool snapshot;            /* [false] */
    bool durable;             /* [false: the listener's level] */
    bool conflate;            /* [false] */
    uint8_t from;             /* enum kdb_from [live] */
    uint8_t policy;           /* enum kdb_policy [default] */
    uint8_t marks;            /* bits [KDB_MARKS] */
    uint8_t format;           /* enum kdb_format [kdb] */
    uint64_t position;        /* of KDB_FROM_POSITION */
    uint32_t stripe, stripes; /* this one of how many [0 of 1] */
};

enum kdb_stream_mode { KDB_STREAM_AS_IS, KDB_STREAM_DELTA, KDB_STREAM_FULL };
struct kdb_stream {
    struct kdb_text group; /* NULL: any */
    uint8_t mode;          /* enum kdb_stream_mode */
    uint8_t policy;        /* enum kdb_policy */
    bool texts;            /* char vectors are texts as on a command line */
    int64_t id;            /* null: none given */
    int64_t ref;           /* of SUB: the client's own number of it; null: none */
};

struct kdb_request {
    enum kdb_call call;
    uint8_t shape; /* enum kdb_reply_shape */
    uint8_t parts; /* of POINT: KDB_POINT_I | KDB_POINT_L */
    uint8_t level; /* enum kdb_level */
    bool enlisted; /* POINT: the pair stood in a list, (.u.i;.u.L) or .u `i`L; not one item */
    int32_t date;  /* days since 2000-01-01, PST_NULL_INT: none given */
    uint64_t position;
    int64_t from_time, to_time; /* timestamps, ns since 2000 */
    struct kdb_subscription sub;
    struct kdb_stream stream;
    struct kdb_names tables; /* UPD: the null symbol never; `many`: `data` is a list of as many */
    struct kdb_text function, text;
    struct kdb_object data, args; /* of no item: type KDB_LIST, count 0 */
    char hint[200];
    uint8_t made[2048]; /* private: literals of a text request as objects */
    uint32_t made_len;
};
enum { KDB_POINT_I = 1, KDB_POINT_L = 2 };

/* Reads an object that kdb_object_check found sound. Returns r->call. */
enum kdb_call kdb_request_read(const struct kdb_object *o, struct kdb_request *r);

/* The sentence for a name that no function and no named query has. */
void kdb_request_nearest(const char *name, uint32_t len, char *hint, size_t size);
