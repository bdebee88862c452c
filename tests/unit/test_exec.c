/* SPDX-License-Identifier: Apache-2.0 */
/* The executor against row-by-row evaluation: random tables, random plans, every number of threads.
 */
#include "exec_kit.h"

#include <pthread.h>
#include <time.h>

extern uint64_t exec_unit_rows;
extern uint32_t exec_block_rows;

/* ---- random expressions; none of them can fail ---- */

static struct plan_expr *number(struct plan *p, unsigned side, unsigned depth);

static struct plan_expr *colx(struct plan *p, unsigned side, unsigned c)
{
    return side ? rcol(p, c) : col(p, c);
}

static struct plan_expr *long_of(struct plan *p, struct plan_expr *e)
{
    return e->type == PST_LONG ? e : mk(p, PLAN_CAST, PST_LONG, 1, e);
}
static struct plan_expr *float_of(struct plan *p, struct plan_expr *e)
{
    return e->type == PST_FLOAT ? e : mk(p, PLAN_CAST, PST_FLOAT, 1, e);
}

static struct plan_expr *condition(struct plan *p, unsigned side, unsigned depth)
{
    static const uint8_t cmp[] = {PLAN_EQ, PLAN_NE, PLAN_LT, PLAN_LE, PLAN_GT, PLAN_GE};
    uint8_t op = cmp[below(6)];
    switch (below(depth ? 17 : 13)) {
    case 0:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_LONG),
                  ival(p, PST_LONG, (int64_t)below(2000) - 1000));
    case 1:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_INT),
                  ival(p, PST_INT, (int64_t)below(50) - 25));
    case 2:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_FLOAT),
                  fval(p, ((int)below(400) - 200) / 4.0));
    case 3:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_SYM),
                  tval(p, PST_SYMBOL, kit_names[below(KIT_SYMS)]));
    case 4:
        return mk(p, PLAN_IS_NULL, PST_BOOLEAN, 1, colx(p, side, 1 + below(K_COLS - 1)));
    case 5: {
        struct plan_expr *pat = tval(p, PST_STRING, below(2) ? "A%" : "%S%"),
                         *esc = tval(p, PST_STRING, "");
        esc->is_null = false;
        return mk(p, below(2) ? PLAN_LIKE : PLAN_ILIKE, PST_BOOLEAN, 3, colx(p, side, K_SYM), pat,
                  esc);
    }
    case 6:
        return mk(p, PLAN_IN, PST_BOOLEAN, 4, colx(p, side, K_LONG), ival(p, PST_LONG, -10),
                  ival(p, PST_LONG, 3), ival(p, PST_LONG, 500));
    case 7:
        return mk(p, PLAN_IN, PST_BOOLEAN, 4, colx(p, side, K_SYM2), tval(p, PST_SYMBOL, "A"),
                  tval(p, PST_SYMBOL, "GOOG"), tval(p, PST_SYMBOL, "not there"));
    case 8:
        return colx(p, side, K_BOOL);
    case 9:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_STRING), tval(p, PST_STRING, "ab"));
    case 10:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_CHAR),
                  ival(p, PST_CHAR, 'A' + (int)below(5)));
    case 11:
        return mk(p, PLAN_DISTINCT_FROM, PST_BOOLEAN, 2, colx(p, side, K_INT),
                  below(2) ? null_of(p, PST_INT) : ival(p, PST_INT, 3));
    case 12:
        return mk(p, op, PST_BOOLEAN, 2, colx(p, side, K_SYM), colx(p, side, K_SYM2));
    case 13:
        return mk(p, PLAN_AND, PST_BOOLEAN, 2, condition(p, side, depth - 1),
                  condition(p, side, depth - 1));
    case 14:
        return mk(p, PLAN_OR, PST_BOOLEAN, 3, condition(p, side, depth - 1),
                  condition(p, side, depth - 1), condition(p, side, depth - 1));
    case 15:
        return mk(p, PLAN_NOT, PST_BOOLEAN, 1, condition(p, side, depth - 1));
    default: {
        struct plan_expr *a = float_of(p, number(p, side, depth - 1));
        return mk(p, op, PST_BOOLEAN, 2, a, float_of(p, number(p, side, depth - 1)));
    }
    }
}

static struct plan_expr *number(struct plan *p, unsigned side, unsigned depth)
{
    static const uint8_t ar[] = {PLAN_ADD, PLAN_SUB, PLAN_MUL, PLAN_DIV, PLAN_MOD};
    switch (below(depth ? 10 : 4)) {
    case 0:
        return colx(p, side, K_LONG);
    case 1:
        return colx(p, side, K_FLOAT);
    case 2:
        return long_of(p, colx(p, side, below(2) ? K_INT : K_SHORT));
    case 3:
        return below(2) ? ival(p, PST_LONG, (int64_t)below(20) - 10) : fval(p, below(9) / 2.0);
    case 4:
    case 5: {
        struct plan_expr *a = long_of(p, colx(p, side, below(2) ? K_LONG : K_SHORT));
        return mk(p, ar[below(5)], PST_LONG, 2, a, long_of(p, colx(p, side, K_INT)));
    }
    case 6:
        return mk(p, ar[below(5)], PST_FLOAT, 2, float_of(p, number(p, side, depth - 1)),
                  float_of(p, number(p, side, depth - 1)));
    case 7:
        return mk(p, PLAN_CASE, PST_FLOAT, 5, condition(p, side, depth - 1),
                  float_of(p, number(p, side, depth - 1)), condition(p, side, depth - 1),
                  float_of(p, number(p, side, depth - 1)), null_of(p, PST_FLOAT));
    case 8:
        return mk(p, PLAN_COALESCE, PST_FLOAT, 2, float_of(p, number(p, side, depth - 1)),
                  float_of(p, number(p, side, depth - 1)));
    default:
        return mk(p, below(2) ? PLAN_ABS : PLAN_NEG, PST_LONG, 1, colx(p, side, K_LONG));
    }
}

static struct plan_expr *anything(struct plan *p, unsigned side)
{
    switch (below(8)) {
    case 0:
        return number(p, side, 2);
    case 1:
        return condition(p, side, 1);
    case 2:
        return mk(p, PLAN_UPPER, PST_STRING, 1, colx(p, side, K_STRING));
    case 3:
        return mk(p, PLAN_BUCKET, PST_TIMESTAMP, 3, colx(p, side, K_TIME),
                  ival(p, PST_TIMESPAN, 60000000000ll), ival(p, PST_TIMESTAMP, 7));
    default:
        return colx(p, side, below(K_COLS));
    }
}

static void random_where(struct plan *p, unsigned scan, const struct kit_table *t)
{
    struct plan_bounds *b = &p->scan[scan].bounds;
    if (below(3) == 0) {
        b->day_lo = b->day_hi = 9000 + (int32_t)below(4);
        kit_where(
            p, scan,
            mk(p, PLAN_EQ, PST_BOOLEAN, 2, colx(p, scan, K_DATE), ival(p, PST_DATE, b->day_lo)),
            PLAN_COVER_DATE);
    }
    if (below(3) == 0) {
        int64_t day = (9000 + (int64_t)below(t->nparts)) * 86400000000000ll;
        b->time_bound = true;
        b->time_lo = day + below(2000) * 1000000000ll;
        kit_where(p, scan,
                  mk(p, PLAN_GE, PST_BOOLEAN, 2, colx(p, scan, K_TIME),
                     ival(p, PST_TIMESTAMP, b->time_lo)),
                  PLAN_COVER_TIME);
        if (below(2)) {
            b->time_hi = b->time_lo + below(1000) * 1000000000ll;
            kit_where(p, scan,
                      mk(p, PLAN_LE, PST_BOOLEAN, 2, colx(p, scan, K_TIME),
                         ival(p, PST_TIMESTAMP, b->time_hi)),
                      PLAN_COVER_TIME);
        }
    }
    if (below(3) == 0) {
        static const char *const one[] = {"AAPL", "B", "MSFT", "Y", "nowhere"};
        struct plan_text *l = arena_alloc(p->arena, 2 * sizeof *l);
        const char *a = one[below(5)];
        l[0] = (struct plan_text){a, (uint32_t)strlen(a)};
        b->has_syms = true;
        b->syms = l;
        b->nsyms = 1;
        struct plan_expr *in;
        if (below(2)) {
            l[1] = (struct plan_text){"ZZ", 2};
            if (strcmp(a, "nowhere") == 0) { /* sorted by text */
                l[1] = l[0];
                l[0] = (struct plan_text){"ZZ", 2};
            }
            b->nsyms = 2;
            in = mk(p, PLAN_IN, PST_BOOLEAN, 3, colx(p, scan, K_SYM),
                    tval(p, PST_SYMBOL, arena_text(p->arena, l[0].p, l[0].len)),
                    tval(p, PST_SYMBOL, arena_text(p->arena, l[1].p, l[1].len)));
        } else {
            in = mk(p, PLAN_EQ, PST_BOOLEAN, 2, colx(p, scan, K_SYM), tval(p, PST_SYMBOL, a));
        }
        kit_where(p, scan, in, PLAN_COVER_SYM);
    }
    for (unsigned n = below(3); n; n--)
        kit_where(p, scan, condition(p, scan, 2), PLAN_COVER_NONE);
}

static struct plan_expr *random_agg(struct plan *p, unsigned side)
{
    struct plan_expr *f = below(4) ? NULL : condition(p, side, 1);
    static const uint8_t any[] = {PLAN_AGG_MIN, PLAN_AGG_MAX, PLAN_AGG_FIRST, PLAN_AGG_LAST};
    static const uint8_t cols[] = {K_TIME,  K_SYM,  K_LONG,   K_INT,  K_SHORT, K_CHAR,
                                   K_FLOAT, K_REAL, K_STRING, K_SPAN, K_SYM2};
    switch (below(12)) {
    case 0:
        return kit_agg(p, PLAN_AGG_COUNT_STAR, PST_LONG, NULL, NULL, f, 0);
    case 1:
        return kit_agg(p, PLAN_AGG_COUNT, PST_LONG, colx(p, side, below(K_COLS)), NULL, f, 0);
    case 2:
        return kit_agg(p, PLAN_AGG_COUNT_DISTINCT, PST_LONG, colx(p, side, below(K_COLS)), NULL, f,
                       0);
    case 3:
        return kit_agg(p, PLAN_AGG_SUM, PST_LONG, long_of(p, colx(p, side, K_INT)), NULL, f, 0);
    case 4:
        return kit_agg(p, PLAN_AGG_SUM, PST_FLOAT, colx(p, side, K_FLOAT), NULL, f, 0);
    case 5:
        return kit_agg(p, PLAN_AGG_AVG, PST_FLOAT, colx(p, side, K_LONG), NULL, f, 0);
    case 6:
        return kit_agg(p, PLAN_AGG_AVG, PST_TIMESPAN, colx(p, side, K_SPAN), NULL, f, 0);
    case 7:
        return kit_agg(p, PLAN_AGG_VAR_SAMP + (uint8_t)below(4), PST_FLOAT,
                       float_of(p, colx(p, side, K_INT)), NULL, f, 0);
    case 8: {
        bool span = below(2);
        return kit_agg(p, PLAN_AGG_QUANTILE, span ? PST_TIMESPAN : PST_FLOAT,
                       colx(p, side, span ? K_SPAN : K_FLOAT), NULL, f, below(5) / 4.0);
    }
    case 9:
        return kit_agg(p, PLAN_AGG_WAVG, PST_FLOAT, float_of(p, colx(p, side, K_LONG)),
                       colx(p, side, K_FLOAT), f, 0);
    default: {
        unsigned c = cols[below(PST_COUNT(cols))];
        return kit_agg(p, any[below(4)], kit_cols[c - 1].type, colx(p, side, c), NULL, f, 0);
    }
    }
}

static void random_order(struct plan *p, bool total)
{
    uint32_t n = 1 + below(3);
    for (uint32_t i = 0; i < n && i < p->noutputs; i++)
        p->order[p->norder++] = (struct plan_order){.output = (uint16_t)below(p->noutputs),
                                                    .descending = below(2),
                                                    .nulls_first = below(2)};
    (void)total;
}

static void random_plan(struct plan *p, struct kit_table *l, struct kit_table *r)
{
    random_where(p, 0, l);
    if (r) {
        if (below(2))
            kit_where(p, 1, condition(p, 1, 1), PLAN_COVER_NONE);
        p->asof.nkeys = 1;
        p->asof.left_key[0] = p->asof.right_key[0] = K_SYM;
        if (below(3) == 0) {
            p->asof.nkeys = 2;
            p->asof.left_key[1] = p->asof.right_key[1] = K_INT;
        }
        p->asof.left_time = p->asof.right_time = K_TIME;
        if (below(3) == 0) {
            p->where = arena_alloc(p->arena, sizeof *p->where);
            p->where[0].expr = condition(p, 1, 1);
            p->nwhere = 1;
        }
    }
    unsigned kind = r ? below(2) : below(4);
    if (kind == 0) { /* rows */
        for (unsigned n = 1 + below(5); n; n--)
            kit_output(p, anything(p, r ? below(2) : 0), false);
        if (below(4) == 0) {
            p->distinct = true;
        } else if (below(2)) {
            kit_output(p, anything(p, 0), true);
        }
        if (below(2))
            random_order(p, true);
    } else if (kind == 1) {
        p->grouped = true;
        unsigned nkeys = below(4);
        for (unsigned k = 0; k < nkeys; k++)
            p->key[p->nkeys++] = below(2) ? col(p, K_SYM) : anything(p, r ? below(2) : 0);
        for (unsigned k = 0; k < nkeys; k++) {
            struct plan_expr *e = mk(p, PLAN_KEY, p->key[k]->type, 0);
            e->column = (uint16_t)k;
            kit_output(p, e, false);
        }
        for (unsigned n = 1 + below(5); n; n--)
            kit_output(p, random_agg(p, r ? below(2) : 0), false);
        if (below(3) == 0) {
            struct plan_expr *c = kit_agg(p, PLAN_AGG_COUNT_STAR, PST_LONG, NULL, NULL, NULL, 0);
            p->having = mk(p, PLAN_GT, PST_BOOLEAN, 2, c, ival(p, PST_LONG, below(5)));
        }
        if (below(2))
            random_order(p, false);
    } else {
        static const uint8_t k1[] = {K_SYM, K_SYM, K_SYM2, K_INT, K_STRING, K_FLOAT, K_DATE};
        p->latest[p->nlatest++] = col(p, kind == 2 ? K_SYM : k1[below(7)]);
        if (below(3) == 0)
            p->latest[p->nlatest++] = col(p, K_SHORT);
        for (unsigned n = 1 + below(5); n; n--)
            kit_output(p, anything(p, 0), false);
        if (below(3) == 0)
            random_order(p, true);
    }
    if (below(3) == 0)
        p->limit = below(40);
    if (below(5) == 0)
        p->offset = below(20);
}

static void check_plan(struct plan *p, struct kit_table *l, struct kit_table *r, unsigned number)
{
    struct naive n = {.p = p, .a = arena_new(0), .t = {l, r}};
    naive_run(&n);
    assert_false(n.failed);
    struct result *first = NULL;
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct query_error e = {0};
        struct result *out;
        p->limits.threads = threads;
        exec_isa_force((enum exec_isa)((number + threads) % 3)); /* what there is */
        if (!exec_run(p, &out, &e))
            fail_msg("plan %u, %u threads: %s", number, threads, e.text);
        if (!first) {
            char why[300];
            if (!kit_same(&n, out, why, sizeof why))
                fail_msg("plan %u (seed state %llu): %s", number, (unsigned long long)kit_seed,
                         why);
            first = out;
        } else {
            if (!kit_equal(first, out))
                fail_msg("plan %u: %u threads give other bytes than one", number, threads);
            result_free(out);
        }
    }
    result_free(first);
    free(n.out);
    arena_free(n.a);
}

static void random_shape(enum kit_shape shape, unsigned tables, unsigned plans, bool asof)
{
    kit_seed = 0x9E3779B97F4A7C15ull + shape * 77 + asof;
    const char *more = getenv("EXEC_TABLES"); /* a longer run by hand */
    if (more)
        tables = (unsigned)atoi(more);
    for (unsigned k = 0; k < tables; k++) {
        struct kit_table l, r;
        static const uint32_t sizes[] = {0, 1, 7, 60, 200, 400};
        uint32_t rows = sizes[below(PST_COUNT(sizes))];
        kit_make(&l, shape, 1 + below(4), rows, 1u << (3 + below(6)));
        if (asof)
            kit_make(&r, (enum kit_shape)below(KIT_SHAPES), 1 + below(4), rows, 64);
        exec_unit_rows = below(3) ? 16 + below(200) : 0;
        exec_block_rows = below(3) ? 1 + below(20) : 0;
        for (unsigned i = 0; i < plans; i++) {
            struct plan *p = kit_plan(&l, asof ? &r : NULL);
            random_plan(p, &l, asof ? &r : NULL);
            check_plan(p, &l, asof ? &r : NULL, k * plans + i);
            kit_plan_free(p);
        }
        kit_drop(&l);
        if (asof)
            kit_drop(&r);
    }
    exec_unit_rows = 0;
    exec_block_rows = 0;
}

static void test_plain(void **s)
{
    (void)s;
    random_shape(KIT_PLAIN, 12, 40, false);
}
static void test_ascending(void **s)
{
    (void)s;
    random_shape(KIT_ASCENDING, 12, 40, false);
}
static void test_lists(void **s)
{
    (void)s;
    random_shape(KIT_LISTS, 12, 40, false);
}
static void test_parted(void **s)
{
    (void)s;
    random_shape(KIT_PARTED, 12, 40, false);
}
static void test_asof(void **s)
{
    (void)s;
    random_shape(KIT_ASCENDING, 6, 20, true);
    random_shape(KIT_LISTS, 6, 20, true);
    random_shape(KIT_PARTED, 6, 20, true);
    random_shape(KIT_PLAIN, 4, 20, true);
}

/* ---- errors and limits ---- */

static struct plan *sum_of_product(struct kit_table *t, int64_t by)
{
    struct plan *p = kit_plan(t, NULL);
    struct plan_expr *m = mk(p, PLAN_MUL, PST_LONG, 2, col(p, K_LONG), ival(p, PST_LONG, by));
    m->can_fail = true;
    m->pos = 17;
    kit_output(p, m, false);
    return p;
}

static void expect_error(struct plan *p, int code, const char *words)
{
    struct query_error e = {0};
    struct result *r = (struct result *)1;
    assert_false(exec_run(p, &r, &e));
    assert_null(r);
    if (e.code != code || !strstr(e.text, words))
        fail_msg("code %d, '%s'; expected %d, '%s'", e.code, e.text, code, words);
}

static void test_overflow(void **s)
{
    (void)s;
    kit_seed = 5;
    struct kit_table t;
    kit_make(&t, KIT_PLAIN, 2, 400, 64);
    struct plan *p = sum_of_product(&t, INT64_MAX / 500);
    p->limits.threads = 3;
    exec_unit_rows = 50;
    expect_error(p, QUERY_VALUE, "overflow");
    struct query_error e = {0};
    struct result *r;
    assert_false(exec_run(p, &r, &e));
    assert_int_equal(e.position, 17);
    kit_plan_free(p);
    /* the same, for rows that a conjunct before leaves out: no error */
    p = sum_of_product(&t, INT64_MAX / 500);
    kit_where(p, 0,
              mk(p, PLAN_LT, PST_BOOLEAN, 2, mk(p, PLAN_ABS, PST_LONG, 1, col(p, K_LONG)),
                 ival(p, PST_LONG, 400)),
              PLAN_COVER_NONE);
    assert_true(exec_run(p, &r, &e));
    result_free(r);
    kit_plan_free(p);
    /* and inside a CASE that asks first */
    p = kit_plan(&t, NULL);
    struct plan_expr *m =
        mk(p, PLAN_MUL, PST_LONG, 2, col(p, K_LONG), ival(p, PST_LONG, INT64_MAX / 500));
    m->can_fail = true;
    kit_output(p,
               mk(p, PLAN_CASE, PST_LONG, 3,
                  mk(p, PLAN_LT, PST_BOOLEAN, 2, mk(p, PLAN_ABS, PST_LONG, 1, col(p, K_LONG)),
                     ival(p, PST_LONG, 400)),
                  m, null_of(p, PST_LONG)),
               false);
    assert_true(exec_run(p, &r, &e));
    result_free(r);
    kit_plan_free(p);
    /* a sum over the border */
    p = kit_plan(&t, NULL);
    p->grouped = true;
    kit_output(p,
               kit_agg(p, PLAN_AGG_SUM, PST_LONG,
                       mk(p, PLAN_ADD, PST_LONG, 2, mk(p, PLAN_ABS, PST_LONG, 1, col(p, K_LONG)),
                          ival(p, PST_LONG, INT64_MAX / 100)),
                       NULL, NULL, 0),
               false);
    expect_error(p, QUERY_VALUE, "overflow");
    kit_plan_free(p);
    /* LIMIT ends before the row that would fail, whatever other threads meet */
    p = sum_of_product(&t, 1);
    p->output[0].expr->arg[1]->value.i = 1;
    p->limit = 3;
    for (unsigned n = 1; n <= 4; n++) {
        p->limits.threads = n;
        assert_true(exec_run(p, &r, &e));
        assert_int_equal(r->rows, 3);
        result_free(r);
    }
    exec_unit_rows = 0;
    kit_plan_free(p);
    kit_drop(&t);
}

static void test_limits(void **s)
{
    (void)s;
    kit_seed = 9;
    struct kit_table t;
    kit_make(&t, KIT_PLAIN, 1, 4000, 64);
    struct plan *p = kit_plan(&t, NULL);
    kit_output(p, col(p, K_LONG), false);
    p->limits.rows_max = 100;
    expect_error(p, QUERY_LIMIT, "more than 100 rows");
    p->limit = 100;
    struct query_error e;
    struct result *r;
    assert_true(exec_run(p, &r, &e));
    assert_int_equal(r->rows, 100);
    result_free(r);
    p->limit = UINT64_MAX;
    p->limits.rows_max = 0;
    p->limits.memory_max = 1u << 16;
    expect_error(p, QUERY_LIMIT, "memory");
    p->limits.memory_max = 0;
    p->limits.deadline_ns = 1;
    expect_error(p, QUERY_TIMEOUT, "longer");
    p->limits.deadline_ns = 0;
    _Atomic int cancel = 1;
    p->limits.cancel = &cancel;
    p->limits.threads = 4;
    expect_error(p, QUERY_CANCELLED, "cancelled");
    kit_plan_free(p);
    kit_drop(&t);
}

struct canceller {
    _Atomic int *flag;
};
static void *cancel_soon(void *arg)
{
    struct canceller *c = arg;
    struct timespec ts = {0, 20000000};
    nanosleep(&ts, NULL);
    store_relaxed(c->flag, 1);
    return NULL;
}

static void test_cancel_running(void **s)
{
    (void)s;
    kit_seed = 11;
    struct kit_table t;
    kit_make(&t, KIT_PLAIN, 4, 60000, 1u << 12);
    struct plan *p = kit_plan(&t, NULL);
    p->grouped = true;
    kit_output(p,
               kit_agg(p, PLAN_AGG_COUNT_DISTINCT, PST_LONG,
                       mk(p, PLAN_CONCAT, PST_STRING, 2, col(p, K_STRING),
                          mk(p, PLAN_CAST, PST_STRING, 1, col(p, K_TIME))),
                       NULL, NULL, 0),
               false);
    _Atomic int flag = 0;
    p->limits.cancel = &flag;
    p->limits.threads = 3;
    exec_unit_rows = 5000;
    struct canceller c = {&flag};
    pthread_t id;
    assert_int_equal(pthread_create(&id, NULL, cancel_soon, &c), 0);
    /* again and again until the flag is up: it must end one of them, or the first that starts */
    struct query_error e = {0};
    struct result *r;
    while (exec_run(p, &r, &e))
        result_free(r);
    assert_int_equal(e.code, QUERY_CANCELLED);
    pthread_join(id, NULL);
    exec_unit_rows = 0;
    kit_plan_free(p);
    kit_drop(&t);
}

static void test_facts(void **s)
{
    (void)s;
    kit_seed = 21;
    struct kit_table t;
    kit_make(&t, KIT_ASCENDING, 4, 400, 64);
    struct plan *p = kit_plan(&t, NULL);
    p->grouped = true;
    kit_output(p, kit_agg(p, PLAN_AGG_COUNT_STAR, PST_LONG, NULL, NULL, NULL, 0), false);
    p->scan[0].bounds.day_lo = p->scan[0].bounds.day_hi = 9001;
    struct query_error e;
    struct result *r;
    p->explain = PLAN_EXPLAIN_ONLY;
    assert_true(exec_run(p, &r, &e));
    assert_int_equal(r->rows, 0);
    assert_int_equal(p->facts.scan[0].rows_read, 0);
    assert_int_equal(p->facts.scan[0].partitions, 4);
    assert_int_equal(p->facts.scan[0].partitions_pruned, 3);
    result_free(r);
    p->explain = PLAN_RUN;
    assert_true(exec_run(p, &r, &e));
    assert_int_equal(result_int(r, 0, 0), t.part[1].rows);
    assert_int_equal(p->facts.rows, 1);
    assert_int_equal(p->facts.groups, 1);
    result_free(r);
    assert_false(t.view->part[0].open || t.view->part[2].open || t.view->part[3].open);
    kit_plan_free(p);
    kit_drop(&t);
}

/* count(DISTINCT sym), without a look at the rows wherever lists or runs tell. */
static void test_syms(void **s)
{
    (void)s;
    kit_seed = 33;
    for (unsigned shape = 0; shape < KIT_SHAPES; shape++)
        for (unsigned day = 0; day < 2; day++) {
            struct kit_table t;
            kit_make(&t, shape, 4, 300, 64);
            struct plan *p = kit_plan(&t, NULL);
            p->grouped = true;
            struct plan_expr *sym = col(p, K_SYM);
            kit_output(p, kit_agg(p, PLAN_AGG_COUNT_DISTINCT, PST_LONG, sym, NULL, NULL, 0), false);
            if (day) {
                p->scan[0].bounds.day_lo = p->scan[0].bounds.day_hi = 9002;
                kit_where(p, 0,
                          mk(p, PLAN_EQ, PST_BOOLEAN, 2, col(p, K_DATE), ival(p, PST_DATE, 9002)),
                          PLAN_COVER_DATE);
            }
            check_plan(p, &t, NULL, shape);
            assert_int_equal(p->facts.scan[0].rows_read == 0, shape == KIT_LISTS ||
                                                                  shape == KIT_PARTED ||
                                                                  (day && t.part[2].rows == 0));
            kit_plan_free(p);
            kit_drop(&t);
        }
}

static void test_no_from(void **s)
{
    (void)s;
    struct plan *p = calloc(1, sizeof *p);
    p->arena = arena_new(0);
    p->limit = UINT64_MAX;
    kit_output(p, mk(p, PLAN_ADD, PST_LONG, 2, ival(p, PST_LONG, 40), ival(p, PST_LONG, 2)), false);
    kit_output(p, tval(p, PST_SYMBOL, "new"), false);
    struct query_error e;
    struct result *r;
    assert_true(exec_run(p, &r, &e));
    assert_int_equal(r->rows, 1);
    assert_int_equal(result_int(r, 0, 0), 42);
    uint32_t len;
    assert_memory_equal(result_text(r, 1, 0, &len), "new", 3);
    assert_int_equal(len, 3);
    result_free(r);
    kit_plan_free(p);
}

static int stop_pool(void **s)
{
    (void)s;
    exec_pool_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_ascending),
        cmocka_unit_test(test_lists),   cmocka_unit_test(test_parted),
        cmocka_unit_test(test_asof),    cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_cancel_running),
        cmocka_unit_test(test_facts),   cmocka_unit_test(test_syms),
        cmocka_unit_test(test_no_from),
    };
    return cmocka_run_group_tests(tests, NULL, stop_pool);
}
