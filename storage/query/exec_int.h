/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_int.h - what the files of the executor share. exec.h is the manual.
 *
 *   exec.c        the run: prepare, units, merge, finish
 *   exec_mem.c    counted memory, the scratch of a thread, errors
 *   exec_pool.c   threads
 *   exec_scan.c   pruning: parts and chunks -> pieces -> units
 *   exec_load.c   columns of a batch -> vectors
 *   exec_eval.c   expressions over vectors
 *   exec_rows.c   output rows: collecting, order, distinct, the result
 *   exec_group.c  keys -> group numbers; exec_agg.c aggregate states
 *   exec_latest.c LATEST BY; exec_asof.c ASOF JOIN; exec_syms.c count(DISTINCT sym) by index
 *
 * VECTORS. A value of any type is, inside the executor, one of six classes:
 *   C_BOOL u8 0, 1, PLAN_BOOL_NULL    C_I64 i64, null INT64_MIN (byte, char, short ... timespan)
 *   C_F64 double, null NaN            C_SYM u32 code            C_TEXT struct plan_text
 *   C_GUID 16 bytes
 * so that a kernel exists once per class; the loader widens, the output narrows.
 *
 * ERRORS leave by longjmp to the worker's start (x_throw): every allocation belongs to the query
 * (x_alloc), is on its list and is given back at its end, so nothing leaks. What holds other
 * resources (arenas of texts) hangs at the thread and is freed there.
 */
#pragma once

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>

#include "core/atomics.h"
#include "exec.h"

enum cls { C_BOOL, C_I64, C_F64, C_SYM, C_TEXT, C_GUID };

static inline enum cls cls_of(uint8_t type)
{
    switch (type) {
    case PST_BOOLEAN:
        return C_BOOL;
    case PST_REAL:
    case PST_FLOAT:
        return C_F64;
    case PST_SYMBOL:
        return C_SYM;
    case PST_STRING:
        return C_TEXT;
    case PST_GUID:
        return C_GUID;
    default:
        return C_I64;
    }
}
static inline unsigned cls_width(enum cls c)
{
    static const uint8_t w[] = {1, 8, 8, 4, 16, 16};
    return w[c];
}

struct guid {
    uint8_t b[16];
};

struct vec { /* one: p points at one value that stands for all */
    const void *p;
    bool one;
};

/* ---- memory ---- */

struct xmem {
    pthread_mutex_t lock;
    struct xblock *list;
    uint64_t used, peak, limit; /* under lock */
};
struct xblock {
    struct xblock *next, *prev;
    uint64_t bytes;
    uint64_t pad[5]; /* the caller's bytes start on a cache line */
};

struct scratch_block {
    struct scratch_block *next;
    uint64_t room;
    uint64_t pad[6];
};
struct scratch {
    struct scratch_block *first, *at;
    uint64_t used;
};
struct scratch_mark {
    struct scratch_block *at;
    uint64_t used;
};

/* ---- the query, a thread of it ---- */

struct exec;
struct unit;

struct xthread {
    struct exec *x;
    unsigned number;
    jmp_buf base;
    struct scratch scratch;
    struct arena *texts; /* of scalar_apply; freed at the end of the batch */
    uint32_t unit;       /* number of the unit at work; UINT32_MAX outside */
    uint64_t rows_read, rows_matched;
};

struct local_syms { /* texts that the query itself made symbols of */
    pthread_mutex_t lock;
    _Atomic uint32_t count;
    struct view_text *text; /* never moves: read without the lock by who was given the code */
    uint32_t *slot;
    uint32_t slots;
};

struct exec {
    struct plan *p;
    struct result **out;
    struct view *view[2];
    const struct view_syms *syms;
    uint32_t sym_base; /* view_sym_count(syms): local codes follow */
    struct local_syms local;
    struct xmem mem;
    unsigned threads;
    struct xthread *thread; /* threads of them; [0] is the caller's */
    uint32_t *const_code;   /* by expr id: code of a symbol constant */
    struct memo **memo;     /* by expr id: what an expression over one symbol gives, by code */
    int64_t start_ns;

    /* the first error by unit */
    pthread_mutex_t error_lock;
    struct query_error error;
    uint32_t error_unit;
    bool failed;
    _Atomic uint32_t stop_unit; /* units above it need not run any more */

    /* the scan */
    struct piece *piece;
    uint32_t npieces;
    struct unit *unit;
    uint32_t nunits;
    uint64_t scan_rows; /* in all units */
    struct asof *asof;

    struct run *run; /* exec_pool.c, while units run */
};

void *x_alloc(struct xthread *t, uint64_t bytes);
void *x_zalloc(struct xthread *t, uint64_t bytes);
void *x_realloc(struct xthread *t, void *p, uint64_t bytes);
void x_free(struct exec *x, void *p); /* NULL is fine */
void x_free_all(struct exec *x);
/* For arrays that grow: room for n elements of `width`. */
void *x_grow(struct xthread *t, void *p, uint64_t *room, uint64_t n, unsigned width);

/* 64-byte aligned, gone at the reset of its mark; not zeroed. */
void *x_scratch(struct xthread *t, uint64_t bytes);
static inline struct scratch_mark x_mark(const struct xthread *t)
{
    return (struct scratch_mark){t->scratch.at, t->scratch.used};
}
static inline void x_reset(struct xthread *t, struct scratch_mark m)
{
    t->scratch.at = m.at ? m.at : t->scratch.first;
    t->scratch.used = m.at ? m.used : 0;
}

/* Texts that expressions made in this batch. */
void x_texts_free(struct xthread *t);

__attribute__((noreturn, format(printf, 4, 5))) void x_throw(struct xthread *t, int code,
                                                             int64_t pos, const char *fmt, ...);
__attribute__((noreturn)) void x_rethrow(struct xthread *t, const struct query_error *e);
/* Cancelled, late, or another unit's error: does not return. Once a batch. */
void x_check(struct xthread *t);

const char *x_sym_text(const struct exec *x, uint32_t code, uint32_t *len);
uint32_t x_sym_code(struct xthread *t, const char *text, uint32_t len); /* interns */
static inline uint32_t x_sym_count(const struct exec *x)
{
    return x->sym_base + load_relaxed(&x->local.count);
}
static inline int text_cmp(const char *a, uint32_t an, const char *b, uint32_t bn)
{
    int c = an && bn ? memcmp(a, b, an < bn ? an : bn) : 0;
    return c ? c : an < bn ? -1 : an > bn;
}
/* By text; nulls (empty) first. */
static inline int x_sym_cmp(const struct exec *x, uint32_t a, uint32_t b)
{
    if (a == b)
        return 0;
    uint32_t an, bn;
    const char *ap = x_sym_text(x, a, &an), *bp = x_sym_text(x, b, &bn);
    return text_cmp(ap, an, bp, bn);
}

/* ---- batches ---- */

#define NO_MATCH UINT64_MAX

struct side {
    const struct view *view;
    const struct view_part *part;
    const struct view_chunk *chunk; /* dense: rows off, off + 1 ... of the chunk */
    uint32_t off;
    const uint32_t *rows; /* else: rows of the part */
    const uint64_t *refs; /* right side: part << 32 | row, NO_MATCH */
};

struct group_vectors { /* what KEY and AGG mean in a group context */
    const void **key, **agg;
    uint64_t first;
    const uint32_t *sel; /* NULL: first, first + 1 ... */
};

/* Is value i of an array of class c null? */
static inline bool x_null_at(enum cls c, const void *p, uint64_t i)
{
    static const struct guid zero;
    switch (c) {
    case C_BOOL:
        return ((const uint8_t *)p)[i] == PLAN_BOOL_NULL;
    case C_I64:
        return ((const int64_t *)p)[i] == INT64_MIN;
    case C_F64:
        return isnan(((const double *)p)[i]);
    case C_SYM:
        return ((const uint32_t *)p)[i] == PST_NULL_SYMBOL;
    case C_TEXT:
        return ((const struct plan_text *)p)[i].len == 0;
    default:
        return !memcmp((const struct guid *)p + i, &zero, 16);
    }
}

struct batch {
    uint32_t n;
    unsigned nsides;
    struct side side[2];
    const struct group_vectors *groups;
    const struct batch *parent; /* of a narrowed batch, with `sel`: leaves may come from it */
    const uint32_t *sel;
    struct vec *cache; /* by expr id; p NULL: not yet */
};

/* cache of nexprs entries, cleared. */
void batch_init(struct xthread *t, struct batch *b);
/* The rows sel[0..n) of b. */
void batch_narrow(struct xthread *t, const struct batch *b, const uint32_t *sel, uint32_t n,
                  struct batch *out);

/* exec_load.c: column `col` of a side, in its class. */
struct vec load_column(struct xthread *t, const struct batch *b, unsigned side, uint32_t col);
/* `time` of one row as i64. */
int64_t load_int(const struct view *v, const struct view_part *p, uint32_t row, uint32_t col);

/* exec_eval.c */
struct vec eval(struct xthread *t, struct batch *b, const struct plan_expr *e);
const void *eval_flat(struct xthread *t, struct batch *b, const struct plan_expr *e);
const void *vec_flat(struct xthread *t, struct vec v, enum cls c, uint32_t n);
/* Rows of b where e is true: their number, positions in sel (room for b->n + 16). */
uint32_t eval_true(struct xthread *t, struct batch *b, const struct plan_expr *e, uint32_t *sel);
void eval_prepare(struct xthread *t, struct exec *x); /* constants */

/* ---- scanning ---- */

struct piece { /* rows of one part, in order */
    uint32_t part;
    uint32_t first, rows; /* ids NULL: rows first ...; else ids[0 .. rows) */
    const uint32_t *ids;
    bool time_ok, sym_ok; /* all of them satisfy those bounds */
};
/* The batch of at most EXEC_BATCH rows that begins `at` rows into a piece: b->n and side `side`. */
void x_slice(struct batch *b, unsigned side, const struct view *v, const struct piece *p,
             uint32_t at);
struct unit {
    uint32_t piece, pieces; /* first, number: consecutive in x->piece */
    uint64_t rows;
};

struct scan_out {
    struct piece *piece;
    uint32_t npieces;
    uint64_t rows, room;
    uint32_t *part; /* scan_parts: numbers of the parts that date leaves, opened */
    uint32_t nparts;
    uint64_t part_room;
    bool runs;                           /* a parted index serves, if there is one */
    bool order;                          /* `time` is needed for row order */
    bool (*dates)(void *arg, int32_t d); /* NULL: all */
    void *arg;
};
/* What is to be read of a scan, in row order. */
void scan_pieces(struct xthread *t, unsigned scan, struct scan_out *out);
/* Only the parts: out->part. */
void scan_parts(struct xthread *t, unsigned scan, struct scan_out *out);
/* Codes of bounds.syms that exist. */
uint32_t *scan_codes(struct xthread *t, unsigned scan, uint32_t *n);
/* Rows of a unit; 0: by the size of the scan. Tests set it, so that little data has many units. */
extern uint64_t exec_unit_rows;
/* x->piece, x->unit of the left (or only) scan. */
void scan_prepare(struct xthread *t, bool order);
/* Calls fn for each batch of the rows of a unit that pass the scan's WHERE (and, with ASOF, the
 * match and plan.where). fn false: enough, the rest of the unit is not wanted; then false. */
typedef bool (*batch_fn)(struct xthread *t, struct batch *b, void *arg);
bool scan_unit(struct xthread *t, const struct unit *u, batch_fn fn, void *arg);
/* Conjuncts over a batch; out may be b itself. Returns the rows left. */
uint32_t filter(struct xthread *t, struct batch *b, const struct plan_conjunct *c, uint32_t n,
                bool time_ok, bool sym_ok, struct batch *out);

/* ---- output rows ---- */

struct outcol {
    uint8_t type;
    enum cls cls;
    uint8_t *data; /* values of the class; texts: u64 ends in `text` */
    char *text;
    uint64_t room, text_room;
};
struct outrows {
    uint64_t rows, room;
    uint32_t ncols;
    struct outcol *col;
};
struct outrows *out_new(struct xthread *t);
void out_free(struct exec *x, struct outrows *o);
/* Evaluates the outputs over b and adds n rows; group or row context. */
void out_add(struct xthread *t, struct outrows *o, struct batch *b);
void outrows_append(struct xthread *t, struct outrows *to, const struct outrows *from);
/* Keeps the first `keep` rows in the plan's order (stable). */
void out_top(struct xthread *t, struct outrows *o, uint64_t keep);
/* DISTINCT, ORDER BY, OFFSET, LIMIT, rows_max -> *x->out. */
void out_finish(struct xthread *t, struct outrows *o);

/* ---- keys -> numbers ---- */

struct keyer; /* exec_keys.c */
struct keyer *keyer_new(struct xthread *t, unsigned nkeys, const uint8_t *types);
void keyer_free(struct exec *x, struct keyer *k);
void keyer_reset(struct keyer *k);
uint32_t keyer_count(const struct keyer *k);
/* Numbers of n combinations, new ones numbered as they come. */
void keyer_add(struct xthread *t, struct keyer *k, const struct vec *v, uint32_t n, uint32_t *id);
/* Nothing more is added: from here on keyer_find. */
void keyer_close(struct xthread *t, struct keyer *k);
/* The same without adding: UINT32_MAX for unknown. Any number of threads, while nobody adds. */
void keyer_find(struct xthread *t, const struct keyer *k, const struct vec *v, uint32_t n,
                uint32_t *id);
/* Values of key `i`, by number, in its class. */
const void *keyer_values(const struct keyer *k, unsigned i);

/* ---- groups ---- */

struct groups; /* exec_group.c */
struct groups *groups_new(struct xthread *t);
void groups_reset(struct exec *x, struct groups *g);
void groups_free(struct exec *x, struct groups *g);
void groups_add(struct xthread *t, struct groups *g, struct batch *b);
/* Rows that all aggregates pass over before the next; 0: by the size of the states. Tests set it. */
extern uint32_t exec_block_rows;
void groups_merge(struct xthread *t, struct groups *to, struct groups *from);
/* Aggregates to values, HAVING, outputs. */
struct outrows *groups_finish(struct xthread *t, struct groups *g);

/* ---- running units ---- */

struct unit_ops {
    void *(*start)(struct xthread *t); /* an empty state */
    void (*run)(struct xthread *t, uint32_t unit, void *state);
    bool (*merge)(struct xthread *t, void *arg, void *state); /* in unit order; false: enough */
    void (*recycle)(struct xthread *t, void *state);          /* empty again */
    void *arg;
};
/* All units, by x->threads threads. Leaves by x_throw if one failed. */
void units_run(struct xthread *t, const struct unit_ops *ops);

/* exec_latest.c */
void latest_run(struct xthread *t);
/* Without a scan, where indices know the last rows. Before scan_prepare. False: not here. */
bool latest_quick(struct xthread *t);
/* exec_syms.c: the same for count(DISTINCT sym). */
bool syms_quick(struct xthread *t);
