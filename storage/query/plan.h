/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - the bound query: what the binder (bind.h) makes and the executor (exec.h) runs.
 *
 *   FROM  one scan, or an ASOF pair of scans
 *   WHERE conjuncts -> LATEST BY -> GROUP BY keys + aggregates -> HAVING
 *         -> outputs -> DISTINCT -> ORDER BY -> OFFSET, LIMIT
 *
 * Every name is resolved, every type is known, every conversion is an explicit PLAN_CAST, constants
 * are folded, parameters are constants. Equal sub-expressions of one context are ONE node (the
 * pointers are equal), so an executor may evaluate a node once per batch. A plan is immutable once
 * bound (but for `facts`); any number of threads may read it. It lives in its arena: plan_free.
 *
 * VALUES. Types are kdb+'s (penstock/types.h). A value of a type lies in memory as:
 *   boolean              u8 0, 1; in expressions and results also PLAN_BOOL_NULL
 *   byte, char           u8          short i16       int i32        long i64
 *   real float           float, double
 *   symbol               u32 code of the query's code space (view.h); in a constant: its text
 *   timestamp, timespan  i64 ns      date, month, minute, second, time  i32
 *   guid                 16 bytes    string           bytes + length
 *
 * NULL is the typed null of kdb+, there is no mask beside the values:
 *   short int long and the temporal types   their minimum (INT16_MIN, INT32_MIN, INT64_MIN)
 *   real, float     any NaN             symbol   PST_NULL_SYMBOL (the empty symbol)
 *   char            ' '                 guid     16 zero bytes
 *   string          length 0: the empty text and NULL are the same thing, as for symbols; the
 *                   binder refuses to compare with '' and names IS NULL
 *   boolean         PLAN_BOOL_NULL; a boolean COLUMN holds none (any byte but 0 is true)
 *   byte            none: a byte column is only ever read whole (output, key, count); in every
 *                   other expression the binder casts it to short
 * A column that a partition does not have reads as NULL (boolean: false, byte: 0).
 * Infinities of float and real are values. Integer and temporal infinities (0W) are ordinary
 * numbers: the type's maximum, and minus it.
 *
 * ERRORS AT RUN TIME. An integer result outside [-max, max] of its type is an error, never a wrap
 * ("integer overflow"), so is a cast out of range or of a malformed text; `pos` of the node says
 * where. Sub-expressions are evaluated only for rows that need them: a conjunct only for rows that
 * the conjuncts before it let pass or in any order when it cannot fail (plan_expr.can_fail);
 * branches of CASE, COALESCE only for the rows that reach them; outputs only for the rows that are
 * left.
 *
 * NULL LOGIC. An operator or function with a NULL argument gives NULL, except where said. A row
 * passes WHERE, HAVING, FILTER, WHEN only if the condition is true (1).
 *
 * scalar.h is the reference implementation of every node but the leaves, value by value; the
 * binder folds constants with it, an executor may call it for what it has no kernel for, and tests
 * hold the kernels against it.
 */
#pragma once

#include <core/base.h>
#include <core/tzone.h>
#include "penstock/types.h"

#define PLAN_BOOL_NULL   2u    /* a boolean that is neither */
#define PLAN_ARGS_MAX    4096u /* arguments of one node (IN lists) */
#define PLAN_DEPTH_MAX   200u  /* nesting of expressions; deeper text is refused */
#define PLAN_KEYS_MAX    64u   /* group keys, order keys, latest-by keys */
#define PLAN_OUTPUTS_MAX 512u
#define PLAN_AGGS_MAX    512u

/*
 * The operators. "same" = all arguments have one type, the binder has cast them.
 * I64 = long, timestamp or timespan (the node's type is the result's; physically all are i64).
 */
#define PLAN_OPS(X)                                                                                \
    /* leaves */                                                                                   \
    X(CONST)  /* value (NULL if is_null) */                                                        \
    X(COLUMN) /* row context: column `column` of scan `side` (0 left or only, 1 right of ASOF);    \
                 right side without a match: NULL                                                  \
                 (a boolean too; a byte: 0) */                                                     \
    X(KEY)    /* group context: group key `column` */                                              \
    X(AGG)    /* group context: aggregate `column` */                                              \
    X(CAST)   /* one argument of any type to `type`; table of meanings in scalar.h */              \
    /* arithmetic: both I64 (overflow is an error) or both float (IEEE; NaN is NULL) */            \
    X(ADD)                                                                                         \
    X(SUB)                                                                                         \
    X(MUL)                                                                                         \
    X(DIV) /* I64: truncates toward zero, by 0 is NULL; float: IEEE, 1/0 is infinity, 0/0 NULL */  \
    X(MOD) /* sign of the dividend (C's %, fmod); by 0 is NULL */                                  \
    X(NEG)                                                                                         \
    X(ABS)                                                                                         \
    /* comparisons: same type, any; boolean result. Symbols by id for EQ NE IN, by TEXT else;      \
       texts bytewise; guids bytewise; -0.0 = 0.0; false < true */                                 \
    X(EQ)                                                                                          \
    X(NE)                                                                                          \
    X(LT)                                                                                          \
    X(LE)                                                                                          \
    X(GT)                                                                                          \
    X(GE)                                                                                          \
    X(DISTINCT_FROM) /* NE that takes NULL as a value: never NULL itself */                        \
    X(IN) /* arg[0] in the constants arg[1...], same type, none NULL, no repeats, sorted by value  \
             (numbers) or text; never true for NULL: NULL. A NULL in the user's list: the binder   \
             writes (x IN (...)) OR NULL */                                                        \
    X(IS_NULL) /* any type; never NULL */                                                          \
    X(AND)     /* two or more booleans: false if any is false, else NULL if any is NULL */         \
    X(OR)      /* two or more: true if any is true, else NULL if any is NULL */                    \
    X(NOT)                                                                                         \
    X(IS_TRUE)  /* never NULL */                                                                   \
    X(IS_FALSE) /* never NULL */                                                                   \
    X(LIKE)     /* (symbol or string, pattern constant string, escape constant string of 0 or 1    \
                   byte): % any, _ one character (UTF-8) */                                        \
    X(ILIKE)    /* the same, ASCII letters without case */                                         \
    /* choice: all results and the node have one type */                                           \
    X(CASE)     /* when, then, when, then, ..., else (always there; maybe a NULL constant) */      \
    X(COALESCE) /* first that is not NULL */                                                       \
    X(GREATEST) /* of those not NULL; symbols by text */                                           \
    X(LEAST)                                                                                       \
    /* float to float */                                                                           \
    X(FLOOR)                                                                                       \
    X(CEIL)                                                                                        \
    X(ROUND) /* half away from zero; arg[1], if there, a constant long: decimals -15 ... 15 */     \
    X(TRUNC)                                                                                       \
    X(SQRT) /* of a negative: NULL */                                                              \
    X(EXP)                                                                                         \
    X(LN) /* 0: -infinity, negative: NULL */                                                       \
    X(LOG10)                                                                                       \
    X(POWER) /* two */                                                                             \
    X(SIGN)  /* -1, 0, 1 */                                                                        \
    /* text: symbol or string in, string out (LENGTH, POSITION: long); characters are UTF-8's */   \
    X(LENGTH)                                                                                      \
    X(LOWER) /* ASCII letters */                                                                   \
    X(UPPER)                                                                                       \
    X(SUBSTR)   /* text, from (1 = first), optionally count: SQL's rules for from < 1 */           \
    X(CONCAT)   /* two or more strings (||) */                                                     \
    X(POSITION) /* of arg[1] in arg[0], 1 = first, 0 = not there */                                \
    X(TRIM)     /* blanks at both ends */                                                          \
    /* temporal */                                                                                 \
    X(BUCKET)       /* (x, width, origin): x - floormod(x - origin, width); x any I64,             \
                       width > 0 and origin constants; all of one I64 type but the width,          \
                       which is a long or timespan */                                              \
    X(MONTH_BUCKET) /* (x timestamp, n constant long > 0): start of its span of n months, counted  \
                       from 2000-01 */                                                             \
    X(ADD_MONTHS)   /* (x timestamp, n long): same day and time n months on, the last day of the   \
                       month where that day does not exist */                                      \
    X(EXTRACT)  /* `field` of a timestamp or (hour ... nanosecond, epoch) timespan; type long, or  \
                   float for second, millisecond, microsecond, epoch */                            \
    X(TO_LOCAL) /* UTC timestamp to the wall clock of `zone` */                                    \
    X(TO_UTC)   /* wall clock of `zone` to UTC (tzone_to_utc's rule for skipped and doubled) */

enum plan_op {
#define X(name) PLAN_##name,
    PLAN_OPS(X) PLAN_OP_COUNT
#undef X
};

/* PLAN_EXTRACT, as PostgreSQL: week and isoyear ISO's, dow Sunday = 0, isodow Monday = 1; second,
 * millisecond and microsecond are the seconds with their fraction in that unit; nanosecond = of
 * the second, 0 ... 999,999,999; epoch = seconds since 1970-01-01, of a timespan its seconds */
enum plan_field {
    PLAN_YEAR,
    PLAN_QUARTER,
    PLAN_MONTH,
    PLAN_WEEK,
    PLAN_ISOYEAR,
    PLAN_DAY,
    PLAN_DOW,
    PLAN_ISODOW,
    PLAN_DOY,
    PLAN_HOUR,
    PLAN_MINUTE,
    PLAN_SECOND,
    PLAN_MILLISECOND,
    PLAN_MICROSECOND,
    PLAN_NANOSECOND,
    PLAN_EPOCH,
    PLAN_FIELD_COUNT
};

struct plan_text {
    const char *p; /* not NUL-terminated */
    uint32_t len;
};

struct plan_expr {
    uint8_t op;     /* enum plan_op */
    uint8_t type;   /* enum pst_type */
    uint8_t side;   /* COLUMN */
    uint8_t field;  /* EXTRACT */
    bool is_null;   /* CONST */
    bool can_fail;  /* evaluation may end in an error (overflow, cast), here or below */
    uint8_t sides;  /* of which scans columns stand below: bit 0 left or only, bit 1 right */
    bool aggregate; /* an AGG stands below (row context, while binding) */
    uint16_t nargs;
    uint16_t column; /* COLUMN, KEY, AGG */
    uint32_t id;     /* 0 ... plan.nexprs-1, unique per node; children have smaller ids */
    uint32_t pos;    /* byte offset in the user's text */
    struct plan_expr **arg;
    const struct tzone *zone; /* TO_LOCAL, TO_UTC */
    union {
        int64_t i;             /* boolean, byte, char, short ... long, all temporal types */
        double f;              /* float; real: exactly a float */
        struct plan_text text; /* symbol, string */
        uint8_t guid[16];
    } value; /* CONST */
};

/*
 * Aggregates skip rows whose argument (wavg, quantile: any argument) is NULL and rows that fail
 * the filter. Over no rows count gives 0, all others NULL.
 * ROW ORDER, for first, last and LATEST BY, is (date, time, arrival): the row with the smallest or
 * largest time of the table's `time` column (NULL first), ties by arrival order, in both tiers
 * (in a partition arrival order within equal sym and time is the file's order).
 * For equal (date, time) of DIFFERENT symbols arrival is not on disk: the order is then (sym text)
 * in a partition. After an ASOF the left row's order counts.
 */
#define PLAN_AGGS(X)                                                                               \
    X(COUNT_STAR)     /* no argument -> long */                                                    \
    X(COUNT)          /* any -> long */                                                            \
    X(COUNT_DISTINCT) /* any -> long; floats: -0 = 0 */                                            \
    X(SUM)            /* long, timespan: exact, error if the TOTAL overflows; float */             \
    X(AVG) /* long -> float: (exact sum)/n in double; float; timespan: sum/n toward zero */        \
    X(MIN) /* any but boolean, byte, guid; symbol, string by text */                               \
    X(MAX)                                                                                         \
    X(FIRST) /* any but byte */                                                                    \
    X(LAST)                                                                                        \
    X(VAR_SAMP) /* float -> float; n < 2: NULL */                                                  \
    X(VAR_POP)                                                                                     \
    X(STDDEV_SAMP)                                                                                 \
    X(STDDEV_POP)                                                                                  \
    X(QUANTILE) /* float -> float: continuous (linear between the two nearest ranks), p = param;   \
                   a timestamp or timespan argument keeps its type, rounded down */                \
    X(WAVG)     /* (w, x) both float -> sum(w*x)/sum(w); sum(w) = 0: NULL. vwap(price, size) is    \
                   WAVG(size, price) */

enum plan_agg_kind {
#define X(name) PLAN_AGG_##name,
    PLAN_AGGS(X)
#undef X
        PLAN_AGG_KINDS
};

struct plan_agg {
    uint8_t kind;
    uint8_t type; /* of the result */
    uint8_t nargs;
    struct plan_expr *arg[2]; /* row context */
    struct plan_expr *filter; /* row context, boolean; NULL = all rows */
    double param;             /* QUANTILE: 0 ... 1 */
    uint32_t pos;
};

/* What the conjuncts of a scan say about date, time and sym, for pruning: a row outside cannot
 * pass. A conjunct that says nothing else has `covered` set. */
enum plan_cover { PLAN_COVER_NONE, PLAN_COVER_DATE, PLAN_COVER_TIME, PLAN_COVER_SYM };

struct plan_conjunct {
    struct plan_expr *expr; /* boolean, row context, COLUMNs of this scan only */
    uint8_t covered; /* enum plan_cover: rows inside that bound satisfy it; no need to evaluate */
};

struct plan_bounds {
    int32_t day_lo, day_hi; /* inclusive; INT32_MIN, INT32_MAX = open. lo > hi: no row */
    const int32_t *days;    /* sorted; within lo ... hi; NULL = every day there */
    uint32_t ndays;
    int64_t time_lo, time_hi;     /* inclusive, on the column `time`; INT64_MIN = open (NULL times
                                     pass only if both ends are open), INT64_MAX = open */
    bool time_bound;              /* either end is bound: rows with a NULL time do not pass */
    bool has_syms;                /* column `sym` is one of syms[] (nsyms 0: no row) */
    const struct plan_text *syms; /* sorted by text, distinct, none empty */
    uint32_t nsyms;
};

struct query_table;    /* query.h */
struct query_function; /* query.h */

struct plan_scan {
    const struct query_table *table;
    const char *alias;
    struct plan_conjunct *where;
    uint32_t nwhere;
    struct plan_bounds bounds;
    uint16_t *columns; /* the columns that the plan reads, ascending (0 = date) */
    uint16_t ncolumns;
    int32_t sym_column, time_column; /* their indices, -1 = the table has none */
};

/*
 * left ASOF right: every left row that passes left.where, once, with the LAST right row (row order)
 * that passes right.where and has the same date, equal keys, and time <= the left row's time; or
 * with none (right columns NULL). NULL keys or times match nothing. plan.where are the conjuncts
 * over the joined rows that need a right column.
 */
struct plan_asof {
    uint32_t nkeys; /* equality columns; the first is sym whenever both tables have it */
    uint16_t left_key[PLAN_KEYS_MAX], right_key[PLAN_KEYS_MAX]; /* same types */
    uint16_t left_time, right_time;                             /* timestamp columns */
};

struct plan_output {
    const char *name;       /* of the result's column */
    struct plan_expr *expr; /* group context if plan.grouped, else row context */
    uint32_t pos;           /* in the user's text */
    bool hidden;            /* only for ORDER BY; comes after all visible outputs */
};

struct plan_order {
    uint16_t output;
    bool descending;
    bool nulls_first;
};

enum plan_explain { PLAN_RUN, PLAN_EXPLAIN_ONLY, PLAN_EXPLAIN_ANALYZE };

struct plan_limits {           /* 0 = none */
    uint64_t rows_max;         /* more result rows are an error that says so */
    uint64_t memory_max;       /* bytes of the query's arena */
    int64_t deadline_ns;       /* CLOCK_MONOTONIC */
    const _Atomic int *cancel; /* becomes non-zero: stop. NULL = none */
    unsigned threads;          /* 0 = 1 */
    uint64_t *memory_peak;     /* raised to the most bytes that a run held at once. NULL = none */
};

static inline void plan_limits_peak(const struct plan_limits *l, uint64_t bytes)
{
    if (l->memory_peak && bytes > *l->memory_peak)
        *l->memory_peak = bytes;
}

/* What happened: exec fills it, also for PLAN_EXPLAIN_ONLY (then nothing is read beyond what
 * pruning needs and the row counts stay 0). Index 0 the left or only scan, 1 the right. */
struct plan_facts {
    struct plan_scan_facts {
        uint64_t partitions,
            partitions_pruned;          /* (day, tier) parts known / left out by date, sym */
        uint64_t chunks, chunks_pruned; /* of the partitions that were not pruned */
        uint64_t row_lists;             /* symbols looked up in RDB row lists */
        uint64_t parted;                /* symbol runs looked up in parted indices */
        uint64_t rows_known;            /* rows in all partitions at the cut */
        uint64_t rows_read;             /* rows that filters looked at */
        uint64_t rows_matched;          /* rows that passed WHERE */
    } scan[2];
    uint64_t groups;
    uint64_t rows; /* of the result */
    uint64_t memory_peak;
    unsigned threads;
    int64_t elapsed_ns;
    const char *method; /* how keys were grouped or joined: a word or two, static */
};

struct plan {
    struct plan_scan scan[2];
    unsigned nscans; /* 0: SELECT without FROM: one row, no columns. 2: ASOF */
    struct plan_asof asof;
    struct plan_conjunct *where; /* ASOF only: conjuncts over the joined rows */
    uint32_t nwhere;
    bool empty; /* WHERE is constant and not true: no row passes (a global aggregate still gives
                   its one row) */

    struct plan_expr *latest[PLAN_KEYS_MAX]; /* LATEST BY: COLUMNs; of the rows that passed WHERE
                   the last (row order) of each combination; NULL is a key value like others.
                   Never together with grouped or ASOF. */
    uint32_t nlatest;

    bool grouped; /* GROUP BY or an aggregate: one row a combination of keys; nkeys = 0: one row */
    struct plan_expr *key[PLAN_KEYS_MAX]; /* row context; NULL is one key value */
    uint32_t nkeys;
    struct plan_agg *agg;
    uint32_t naggs;
    struct plan_expr *having; /* group context; NULL = none */

    struct plan_output *output; /* visible ones first */
    uint32_t noutputs, nhidden; /* noutputs counts the hidden ones too */
    bool distinct; /* over the visible outputs; then there are no hidden ones. (SELECT DISTINCT
                      without aggregates comes as GROUP BY, distinct false.) */
    struct plan_order order[PLAN_KEYS_MAX];
    uint32_t norder; /* 0: rows come in (date, partition or arrival) order, groups as they come */
    uint64_t limit, offset; /* limit UINT64_MAX = none */

    /* FROM name(args): before exec_run, query_run has the named query make scan[0].table->source.
     * One argument a parameter, constants of the parameters' types. */
    const struct query_function *call;
    struct plan_expr **call_arg;

    uint8_t explain; /* enum plan_explain */
    bool subquery;   /* x IN (SELECT ...) stands somewhere, and has not been run: a placeholder */
    struct plan_limits limits;
    uint32_t nexprs;
    struct plan_facts facts;
    struct bind_zone *zones; /* the binder's: what plan_free frees */
    struct arena *arena;     /* the plan's own memory (arena.h) */
};

void plan_free(struct plan *p); /* NULL is allowed */
const char *plan_op_name(unsigned op);
const char *plan_agg_name(unsigned kind);
