/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_kit.h - tables in memory, plans by hand, and the same plans run the slow way: row by row,
 * with scalar_apply, lists and nested loops. Shares nothing with the executor but plan.h and
 * scalar.h.
 */
#pragma once

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "arena.h"
#include "exec.h"
#include "scalar.h"

/* ---- random numbers: xorshift64* ---- */

static uint64_t kit_seed = 88172645463325252ull;
static inline uint64_t rnd(void)
{
    kit_seed ^= kit_seed >> 12;
    kit_seed ^= kit_seed << 25;
    kit_seed ^= kit_seed >> 27;
    return kit_seed * 2685821657736338717ull;
}
static inline uint32_t below(uint32_t n)
{
    return (uint32_t)((rnd() >> 32) * n >> 32);
}

/* ---- a table ---- */

enum {
    K_DATE,
    K_TIME,
    K_SYM,
    K_LONG,
    K_INT,
    K_SHORT,
    K_BYTE,
    K_BOOL,
    K_CHAR,
    K_FLOAT,
    K_REAL,
    K_STRING,
    K_GUID,
    K_SPAN,
    K_SYM2,
    K_MISSING,
    K_COLS
};
static const struct column_def kit_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},  {"j", PST_LONG},    {"i", PST_INT},
    {"h", PST_SHORT},        {"x", PST_BYTE},      {"b", PST_BOOLEAN}, {"c", PST_CHAR},
    {"f", PST_FLOAT},        {"e", PST_REAL},      {"s", PST_STRING},  {"g", PST_GUID},
    {"n", PST_TIMESPAN},     {"sym2", PST_SYMBOL}, {"miss", PST_LONG},
};

struct kit_part {
    int32_t date;
    uint32_t rows;
    void *data[K_COLS];
    char *chars;
    uint32_t nchars;
};

enum kit_shape { KIT_PLAIN, KIT_ASCENDING, KIT_LISTS, KIT_PARTED, KIT_SHAPES };

struct kit_table {
    struct view_syms syms;
    struct view_text *text;
    uint32_t nparts;
    struct kit_part part[8];
    struct view *view;
    struct query_table query;
    struct query_column qcol[K_COLS];
    uint64_t rows;
    struct scalar (*cell)[K_COLS]; /* all rows, in part order */
    int32_t *row_date;
};

static const char *const kit_names[] = {"AAPL", "MSFT", "B",   "BRK.A", "ZZ", "A",    "AA",
                                        "GOOG", "x_1",  "%pc", "IBM",   "Y",  "TSLA", "NULLS"};
#define KIT_SYMS PST_COUNT(kit_names)

static struct scalar kit_cell(const struct kit_table *t, const struct kit_part *p, unsigned col,
                              uint32_t r)
{
    static const uint8_t zero[16];
    struct scalar s = {.type = col == K_DATE ? PST_DATE : kit_cols[col - 1].type};
    switch (col) {
    case K_DATE:
        s.i = p->date;
        return s;
    case K_MISSING:
        s.null = true;
        return s;
    case K_SYM:
    case K_SYM2: {
        uint32_t c = ((uint32_t *)p->data[col])[r];
        s.null = c == PST_NULL_SYMBOL;
        if (!s.null)
            s.text = (struct plan_text){t->text[c].p, t->text[c].len};
        return s;
    }
    case K_INT:
        s.i = ((int32_t *)p->data[col])[r];
        s.null = s.i == INT32_MIN;
        return s;
    case K_SHORT:
        s.i = ((int16_t *)p->data[col])[r];
        s.null = s.i == INT16_MIN;
        return s;
    case K_BYTE:
        s.i = ((uint8_t *)p->data[col])[r];
        return s;
    case K_BOOL:
        s.i = ((uint8_t *)p->data[col])[r] != 0;
        return s;
    case K_CHAR:
        s.i = ((uint8_t *)p->data[col])[r];
        s.null = s.i == ' ';
        return s;
    case K_FLOAT:
        s.f = ((double *)p->data[col])[r];
        s.null = isnan(s.f);
        return s;
    case K_REAL:
        s.f = (double)((float *)p->data[col])[r];
        s.null = isnan(s.f);
        return s;
    case K_STRING: {
        uint64_t v = ((uint64_t *)p->data[col])[r];
        s.text = (struct plan_text){p->chars + (v >> 16), (uint32_t)(v & 0xffff)};
        s.null = s.text.len == 0;
        return s;
    }
    case K_GUID:
        memcpy(s.guid, (uint8_t *)p->data[col] + r * 16ull, 16);
        s.null = !memcmp(s.guid, zero, 16);
        return s;
    default:
        s.i = ((int64_t *)p->data[col])[r];
        s.null = s.i == INT64_MIN;
        return s;
    }
}

static struct kit_part kit_sort_rows; /* of the part being sorted */
static const struct kit_table *kit_sort_table;
static int kit_parted_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint32_t *sym = kit_sort_rows.data[K_SYM];
    if (sym[x] != sym[y]) {
        if (sym[x] == PST_NULL_SYMBOL || sym[y] == PST_NULL_SYMBOL)
            return sym[x] == PST_NULL_SYMBOL ? -1 : 1;
        return strcmp(kit_sort_table->text[sym[x]].p, kit_sort_table->text[sym[y]].p);
    }
    const int64_t *t = kit_sort_rows.data[K_TIME];
    if (t[x] != t[y])
        return t[x] < t[y] ? -1 : 1;
    return x < y ? -1 : 1;
}
static int kit_time_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const int64_t *t = kit_sort_rows.data[K_TIME];
    if (t[x] != t[y])
        return t[x] < t[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void kit_reorder(struct kit_table *t, struct kit_part *p, enum kit_shape shape)
{
    uint32_t *order = malloc((p->rows + 1) * 4ull);
    for (uint32_t i = 0; i < p->rows; i++)
        order[i] = i;
    kit_sort_rows = *p;
    kit_sort_table = t;
    qsort(order, p->rows, 4, shape == KIT_PARTED ? kit_parted_cmp : kit_time_cmp);
    for (unsigned c = 1; c < K_COLS; c++) {
        if (!p->data[c])
            continue;
        unsigned w = kit_cols[c - 1].type == PST_STRING ? 8 : type_width(kit_cols[c - 1].type);
        uint8_t *n = malloc(p->rows * w + 1ull);
        for (uint32_t i = 0; i < p->rows; i++)
            memcpy(n + (size_t)i * w, (uint8_t *)p->data[c] + (size_t)order[i] * w, w);
        free(p->data[c]);
        p->data[c] = n;
    }
    free(order);
}

static void kit_make(struct kit_table *t, enum kit_shape shape, unsigned nparts, uint32_t rows,
                     uint32_t chunk)
{
    memset(t, 0, sizeof *t);
    t->text = calloc(KIT_SYMS, sizeof *t->text);
    for (unsigned i = 0; i < KIT_SYMS; i++)
        t->text[i] = (struct view_text){kit_names[i], (uint32_t)strlen(kit_names[i])};
    t->syms = (struct view_syms){.extra = t->text, .extra_count = KIT_SYMS};
    uint32_t slots = 64;
    t->syms.extra_hash = calloc(slots, 4);
    t->syms.extra_slots = slots;
    for (uint32_t i = 0; i < KIT_SYMS; i++) { /* as view.c hashes */
        uint64_t h = 0xcbf29ce484222325ull;
        for (uint32_t k = 0; k < t->text[i].len; k++)
            h = (h ^ (uint8_t)t->text[i].p[k]) * 0x100000001b3ull;
        uint32_t s = (uint32_t)(h ^ h >> 32) & (slots - 1);
        while (t->syms.extra_hash[s])
            s = (s + 1) & (slots - 1);
        t->syms.extra_hash[s] = i + 1;
    }
    t->nparts = nparts;
    struct view_memory_part in[8];
    const void *cols[8][K_COLS];
    for (unsigned k = 0; k < nparts; k++) {
        struct kit_part *p = &t->part[k];
        p->date = 9000 + (int32_t)(shape == KIT_LISTS && k == 1 ? 0 : k); /* one day in two parts */
        p->rows = nparts > 1 && below(6) == 0 ? 0 : rows ? below(rows) + rows / 2 : 0;
        uint32_t n = p->rows;
        for (unsigned c = 1; c < K_MISSING; c++) {
            unsigned w = kit_cols[c - 1].type == PST_STRING ? 8 : type_width(kit_cols[c - 1].type);
            p->data[c] = calloc(n + 1ull, w);
        }
        p->chars = malloc(n * 8ull + 1);
        for (uint32_t i = 0; i < n; i++) {
            ((int64_t *)p->data[K_TIME])[i] = (int64_t)p->date * 86400000000000ll +
                                              (int64_t)below(2000) * 1000000000ll +
                                              (below(50) == 0 ? (int64_t)below(1000000) : 0);
            if (shape == KIT_PLAIN && below(100) == 0)
                ((int64_t *)p->data[K_TIME])[i] = INT64_MIN;
            uint32_t s = below(KIT_SYMS * 2);
            s = s >= KIT_SYMS ? below(3) : s; /* skewed */
            ((uint32_t *)p->data[K_SYM])[i] = below(20) == 0 ? PST_NULL_SYMBOL : s;
            ((uint32_t *)p->data[K_SYM2])[i] = below(10) == 0 ? PST_NULL_SYMBOL : below(KIT_SYMS);
            ((int64_t *)p->data[K_LONG])[i] =
                below(8) == 0 ? INT64_MIN : (int64_t)below(2000) - 1000;
            ((int32_t *)p->data[K_INT])[i] = below(8) == 0 ? INT32_MIN : (int32_t)below(50) - 25;
            ((int16_t *)p->data[K_SHORT])[i] =
                below(8) == 0 ? INT16_MIN : (int16_t)((int)below(10) - 5);
            ((uint8_t *)p->data[K_BYTE])[i] = (uint8_t)below(256);
            ((uint8_t *)p->data[K_BOOL])[i] = (uint8_t)below(2);
            ((uint8_t *)p->data[K_CHAR])[i] = below(4) == 0 ? ' ' : (uint8_t)('A' + below(5));
            static const double odd[] = {INFINITY, -INFINITY, -0.0, 0.0};
            ((double *)p->data[K_FLOAT])[i] = below(8) == 0    ? NAN
                                              : below(40) == 0 ? odd[2 + below(2)]
                                                               : ((int)below(400) - 200) / 4.0;
            ((float *)p->data[K_REAL])[i] =
                below(8) == 0 ? NAN : (float)((int)below(100) - 50) / 2.0f;
            uint32_t len = below(4) == 0 ? 0 : below(4);
            ((uint64_t *)p->data[K_STRING])[i] = len ? (uint64_t)p->nchars << 16 | len : 0;
            for (uint32_t q = 0; q < len; q++)
                p->chars[p->nchars++] = (char)('a' + below(3));
            if (below(4))
                ((uint8_t *)p->data[K_GUID])[i * 16 + 5] = (uint8_t)below(4);
            ((int64_t *)p->data[K_SPAN])[i] =
                below(8) == 0 ? INT64_MIN : ((int64_t)below(1000) - 500) * 1000000007ll;
        }
        if (shape != KIT_PLAIN && !(shape == KIT_LISTS && below(3) == 0))
            kit_reorder(t, p, shape);
        for (unsigned c = 1; c < K_COLS; c++)
            cols[k][c - 1] = p->data[c];
        in[k] = (struct view_memory_part){.date = p->date,
                                          .rows = n,
                                          .data = cols[k],
                                          .chars = p->chars,
                                          .chars_bytes = p->nchars,
                                          .chunk_rows = shape == KIT_PARTED ? 1u << 20 : chunk,
                                          .parted = shape == KIT_PARTED,
                                          .lists = shape == KIT_LISTS};
        t->rows += n;
    }
    /* view_from_memory keeps the parts' column lists */
    struct err err;
    const void **keep = malloc(sizeof cols);
    memcpy(keep, cols, sizeof cols);
    for (unsigned k = 0; k < nparts; k++)
        in[k].data = keep + k * K_COLS;
    t->view = view_from_memory("t", kit_cols, PST_COUNT(kit_cols), &t->syms, in, nparts, &err);
    assert_non_null(t->view);
    t->view->owner = keep; /* freed with it */
    for (unsigned c = 0; c < K_COLS; c++)
        t->qcol[c] = (struct query_column){t->view->col[c].name, t->view->col[c].type};
    t->query =
        (struct query_table){.name = "t", .ncols = K_COLS, .cols = t->qcol, .source = t->view};
    t->cell = calloc(t->rows + 1, sizeof *t->cell);
    t->row_date = calloc(t->rows + 1, sizeof *t->row_date);
    uint64_t r = 0;
    for (unsigned k = 0; k < nparts; k++)
        for (uint32_t i = 0; i < t->part[k].rows; i++, r++) {
            t->row_date[r] = t->part[k].date;
            for (unsigned c = 0; c < K_COLS; c++)
                t->cell[r][c] = kit_cell(t, &t->part[k], c, i);
        }
}

static void kit_drop(struct kit_table *t)
{
    view_free(t->view);
    for (unsigned k = 0; k < t->nparts; k++) {
        for (unsigned c = 0; c < K_COLS; c++)
            free(t->part[k].data[c]);
        free(t->part[k].chars);
    }
    free(t->text);
    free(t->syms.extra_hash);
    free(t->cell);
    free(t->row_date);
}

/* ---- plans by hand ---- */

static struct plan *kit_plan(struct kit_table *l, struct kit_table *r)
{
    struct plan *p = calloc(1, sizeof *p);
    p->arena = arena_new(0);
    p->nscans = r ? 2 : 1;
    p->limit = UINT64_MAX;
    struct kit_table *tab[2] = {l, r};
    for (unsigned s = 0; s < p->nscans; s++) {
        struct plan_scan *sc = &p->scan[s];
        sc->table = &tab[s]->query;
        sc->columns = arena_alloc(p->arena, K_COLS * sizeof *sc->columns);
        sc->ncolumns = K_COLS;
        for (uint16_t c = 0; c < K_COLS; c++)
            sc->columns[c] = c;
        sc->sym_column = K_SYM;
        sc->time_column = K_TIME;
        sc->bounds = (struct plan_bounds){
            .day_lo = INT32_MIN, .day_hi = INT32_MAX, .time_lo = INT64_MIN, .time_hi = INT64_MAX};
    }
    return p;
}

static void kit_plan_free(struct plan *p)
{
    arena_free(p->arena);
    free(p);
}

static struct plan_expr *mk(struct plan *p, uint8_t op, uint8_t type, unsigned nargs, ...)
{
    struct plan_expr *e = arena_alloc(p->arena, sizeof *e);
    e->op = op;
    e->type = type;
    e->nargs = (uint16_t)nargs;
    e->arg = arena_alloc(p->arena, (nargs + 1) * sizeof *e->arg);
    va_list ap;
    va_start(ap, nargs);
    for (unsigned i = 0; i < nargs; i++) {
        e->arg[i] = va_arg(ap, struct plan_expr *);
        e->can_fail |= e->arg[i]->can_fail;
    }
    va_end(ap);
    e->id = p->nexprs++;
    return e;
}
static pst_unused struct plan_expr *col(struct plan *p, unsigned c)
{
    struct plan_expr *e = mk(p, PLAN_COLUMN, c ? kit_cols[c - 1].type : PST_DATE, 0);
    e->column = (uint16_t)c;
    return e;
}
static pst_unused struct plan_expr *rcol(struct plan *p, unsigned c)
{
    struct plan_expr *e = col(p, c);
    e->side = 1;
    return e;
}
static pst_unused struct plan_expr *ival(struct plan *p, uint8_t type, int64_t v)
{
    struct plan_expr *e = mk(p, PLAN_CONST, type, 0);
    e->value.i = v;
    return e;
}
static pst_unused struct plan_expr *fval(struct plan *p, double v)
{
    struct plan_expr *e = mk(p, PLAN_CONST, PST_FLOAT, 0);
    e->value.f = v;
    return e;
}
static pst_unused struct plan_expr *tval(struct plan *p, uint8_t type, const char *s)
{
    struct plan_expr *e = mk(p, PLAN_CONST, type, 0);
    e->value.text = (struct plan_text){s, (uint32_t)strlen(s)};
    e->is_null = !*s;
    return e;
}
static pst_unused struct plan_expr *null_of(struct plan *p, uint8_t type)
{
    struct plan_expr *e = mk(p, PLAN_CONST, type, 0);
    e->is_null = true;
    return e;
}
static void kit_where(struct plan *p, unsigned scan, struct plan_expr *e, uint8_t covered)
{
    struct plan_scan *s = &p->scan[scan];
    struct plan_conjunct *w = arena_alloc(p->arena, (s->nwhere + 1) * sizeof *w);
    if (s->nwhere)
        memcpy(w, s->where, s->nwhere * sizeof *w);
    w[s->nwhere] = (struct plan_conjunct){e, covered};
    s->where = w;
    s->nwhere++;
}
static void kit_output(struct plan *p, struct plan_expr *e, bool hidden)
{
    struct plan_output *o = arena_alloc(p->arena, (p->noutputs + 1) * sizeof *o);
    if (p->noutputs)
        memcpy(o, p->output, p->noutputs * sizeof *o);
    o[p->noutputs++] = (struct plan_output){arena_printf(p->arena, "o%u", p->noutputs), e, hidden};
    p->nhidden += hidden;
    p->output = o;
}
static pst_unused struct plan_expr *kit_agg(struct plan *p, uint8_t kind, uint8_t type,
                                            struct plan_expr *a, struct plan_expr *b,
                                            struct plan_expr *filter, double param)
{
    struct plan_agg *g = arena_alloc(p->arena, (p->naggs + 1) * sizeof *g);
    if (p->naggs)
        memcpy(g, p->agg, p->naggs * sizeof *g);
    g[p->naggs] = (struct plan_agg){.kind = kind,
                                    .type = type,
                                    .nargs = b   ? 2
                                             : a ? 1
                                                 : 0,
                                    .arg = {a, b},
                                    .filter = filter,
                                    .param = param};
    p->agg = g;
    struct plan_expr *e = mk(p, PLAN_AGG, type, 0);
    e->column = (uint16_t)p->naggs++;
    return e;
}

/* ---- the slow way ---- */

struct naive_row {                     /* where leaves take their values */
    const struct scalar *left, *right; /* cells; right NULL: no match */
    const struct scalar *key, *agg;
};

struct naive {
    struct plan *p;
    struct arena *a;
    struct kit_table *t[2];
    struct scalar (*out)[PLAN_OUTPUTS_MAX / 8];
    uint64_t rows;
    struct query_error err;
    bool failed;
};

static struct scalar naive_eval(struct naive *n, const struct plan_expr *e,
                                const struct naive_row *r)
{
    struct scalar out = {.type = e->type, .null = true};
    switch (e->op) {
    case PLAN_CONST:
        out.null = e->is_null;
        memcpy(out.guid, &e->value, 16);
        return out;
    case PLAN_COLUMN:
        if (e->side && !r->right) {
            out.null = e->type != PST_BYTE;
            out.i = 0;
            return out;
        }
        return (e->side ? r->right : r->left)[e->column];
    case PLAN_KEY:
        return r->key[e->column];
    case PLAN_AGG:
        return r->agg[e->column];
    case PLAN_CASE:
        for (unsigned i = 0; i + 1 < e->nargs; i += 2) {
            struct scalar c = naive_eval(n, e->arg[i], r);
            if (!c.null && c.i)
                return naive_eval(n, e->arg[i + 1], r);
        }
        return naive_eval(n, e->arg[e->nargs - 1], r);
    default: {
        struct scalar *arg = arena_alloc(n->a, e->nargs * sizeof *arg);
        for (unsigned i = 0; i < e->nargs; i++)
            arg[i] = naive_eval(n, e->arg[i], r);
        if (!n->failed && !scalar_apply(e, arg, n->a, &out, &n->err))
            n->failed = true;
        return out;
    }
    }
}

static bool naive_true(struct naive *n, const struct plan_expr *e, const struct naive_row *r)
{
    struct scalar s = naive_eval(n, e, r);
    return !s.null && s.i == 1;
}

static int scalar_order(const struct scalar *a, const struct scalar *b) /* nulls first */
{
    if (a->null || b->null)
        return (int)b->null - (int)a->null;
    return scalar_compare(a, b);
}

struct naive_agg {
    uint64_t n;
    __int128 isum;
    double fsum, wsum;
    struct scalar best;
    int32_t date;
    struct scalar time;
    struct scalar *all;
    uint64_t nall;
};

static int quant_cmp(const void *a, const void *b)
{
    return scalar_compare(a, b);
}

static struct scalar naive_agg_end(struct naive *n, const struct plan_agg *g, struct naive_agg *s)
{
    struct scalar out = {.type = g->type, .null = true};
    bool f = g->nargs && (g->arg[0]->type == PST_FLOAT || g->arg[0]->type == PST_REAL);
    switch (g->kind) {
    case PLAN_AGG_COUNT_STAR:
    case PLAN_AGG_COUNT:
        out.null = false;
        out.i = (int64_t)s->n;
        break;
    case PLAN_AGG_COUNT_DISTINCT: {
        out.null = false;
        out.i = 0;
        if (s->nall)
            qsort(s->all, s->nall, sizeof *s->all, quant_cmp);
        for (uint64_t i = 0; i < s->nall; i++)
            out.i += i == 0 || scalar_compare(&s->all[i - 1], &s->all[i]) != 0;
        break;
    }
    case PLAN_AGG_SUM:
        if (s->n) {
            out.null = false;
            if (f)
                out.f = s->fsum;
            else
                out.i = (int64_t)s->isum;
        }
        break;
    case PLAN_AGG_AVG:
        if (s->n) {
            out.null = false;
            if (g->type == PST_FLOAT)
                out.f = f ? s->fsum / (double)s->n : (double)s->isum / (double)s->n;
            else
                out.i = (int64_t)(s->isum / (__int128)s->n);
        }
        break;
    case PLAN_AGG_MIN:
    case PLAN_AGG_MAX:
    case PLAN_AGG_FIRST:
    case PLAN_AGG_LAST:
        if (s->n)
            out = s->best;
        break;
    case PLAN_AGG_WAVG:
        if (s->n && s->wsum != 0) {
            out.null = false;
            out.f = s->fsum / s->wsum;
        }
        break;
    case PLAN_AGG_QUANTILE:
        if (s->nall) {
            qsort(s->all, s->nall, sizeof *s->all, quant_cmp);
            double pos = g->param * (double)(s->nall - 1);
            uint64_t k = (uint64_t)floor(pos);
            double frac = pos - (double)k;
            out.null = false;
            const struct scalar *lo = &s->all[k], *hi = k + 1 < s->nall ? lo + 1 : lo;
            if (f)
                out.f = frac > 0 ? lo->f + (hi->f - lo->f) * frac : lo->f;
            else
                out.i = lo->i + (int64_t)floorl((long double)(hi->i - lo->i) * (long double)frac);
        }
        break;
    default: {
        bool samp = g->kind == PLAN_AGG_VAR_SAMP || g->kind == PLAN_AGG_STDDEV_SAMP;
        if (s->nall < 1u + samp)
            break;
        double mean = 0, m2 = 0;
        for (uint64_t i = 0; i < s->nall; i++)
            mean += s->all[i].f;
        mean /= (double)s->nall;
        for (uint64_t i = 0; i < s->nall; i++)
            m2 += (s->all[i].f - mean) * (s->all[i].f - mean);
        out.null = false;
        out.f = m2 / (double)(s->nall - samp);
        if (g->kind == PLAN_AGG_STDDEV_SAMP || g->kind == PLAN_AGG_STDDEV_POP)
            out.f = sqrt(out.f);
    }
    }
    (void)n;
    return out;
}

static void naive_agg_add(struct naive *n, const struct plan_agg *g, struct naive_agg *s,
                          const struct naive_row *r, int32_t date)
{
    if (g->filter && !naive_true(n, g->filter, r))
        return;
    struct scalar v = {.null = false}, w = {.null = false};
    if (g->nargs)
        v = naive_eval(n, g->arg[0], r);
    if (g->nargs > 1)
        w = naive_eval(n, g->arg[1], r);
    if (v.null || w.null)
        return;
    bool f = g->nargs && (g->arg[0]->type == PST_FLOAT || g->arg[0]->type == PST_REAL);
    struct scalar time = r->left ? r->left[K_TIME] : (struct scalar){.null = true};
    bool take = s->n == 0;
    switch (g->kind) {
    case PLAN_AGG_SUM:
    case PLAN_AGG_AVG:
        if (f)
            s->fsum += v.f;
        else
            s->isum += v.i;
        break;
    case PLAN_AGG_MIN:
        take |= !take && scalar_compare(&v, &s->best) < 0;
        break;
    case PLAN_AGG_MAX:
        take |= !take && scalar_compare(&v, &s->best) > 0;
        break;
    case PLAN_AGG_FIRST:
        take |= !take && (date != s->date ? date < s->date : scalar_order(&time, &s->time) < 0);
        break;
    case PLAN_AGG_LAST:
        take |= !take && (date != s->date ? date > s->date : scalar_order(&time, &s->time) >= 0);
        break;
    case PLAN_AGG_WAVG:
        s->fsum += v.f * w.f;
        s->wsum += v.f;
        break;
    case PLAN_AGG_COUNT_STAR:
    case PLAN_AGG_COUNT:
        break;
    default:
        s->all = realloc(s->all, (s->nall + 1) * sizeof *s->all);
        s->all[s->nall++] = v;
    }
    if (take) {
        s->best = v;
        s->date = date;
        s->time = time;
    }
    s->n++;
}

static const struct plan *kit_order_plan;
static uint32_t kit_order_cols;
static int naive_row_cmp(const void *a, const void *b)
{
    const struct scalar *x = *(struct scalar *const *)a, *y = *(struct scalar *const *)b;
    for (uint32_t i = 0; i < kit_order_plan->norder; i++) {
        const struct plan_order *o = &kit_order_plan->order[i];
        const struct scalar *u = &x[o->output], *v = &y[o->output];
        int c;
        if (u->null || v->null)
            c = u->null == v->null ? 0 : u->null == o->nulls_first ? -1 : 1;
        else
            c = o->descending ? -scalar_compare(u, v) : scalar_compare(u, v);
        if (c)
            return c;
    }
    return x < y ? -1 : 1; /* they lie in one array, in row order */
}

#define NAIVE_WIDTH (PLAN_OUTPUTS_MAX / 8)

static void naive_emit(struct naive *n, const struct naive_row *r)
{
    n->out = realloc(n->out, (n->rows + 1) * sizeof *n->out);
    for (uint32_t i = 0; i < n->p->noutputs; i++)
        n->out[n->rows][i] = naive_eval(n, n->p->output[i].expr, r);
    n->rows++;
}

static bool same_scalar(const struct scalar *a, const struct scalar *b)
{
    return a->null == b->null && (a->null || scalar_compare(a, b) == 0);
}

static const struct scalar *naive_asof(struct naive *n, uint64_t lrow)
{
    const struct plan_asof *pa = &n->p->asof;
    const struct kit_table *l = n->t[0], *r = n->t[1];
    const struct scalar *best = NULL, *time = &l->cell[lrow][pa->left_time];
    if (time->null)
        return NULL;
    for (uint32_t k = 0; k < pa->nkeys; k++)
        if (l->cell[lrow][pa->left_key[k]].null)
            return NULL;
    for (uint64_t i = 0; i < r->rows; i++) {
        const struct scalar *c = r->cell[i];
        if (r->row_date[i] != l->row_date[lrow] || c[pa->right_time].null ||
            c[pa->right_time].i > time->i)
            continue;
        bool ok = true;
        for (uint32_t k = 0; k < pa->nkeys && ok; k++)
            ok = !c[pa->right_key[k]].null &&
                 scalar_compare(&c[pa->right_key[k]], &l->cell[lrow][pa->left_key[k]]) == 0;
        struct naive_row row = {.right = c};
        for (uint32_t k = 0; k < n->p->scan[1].nwhere && ok; k++)
            ok = naive_true(n, n->p->scan[1].where[k].expr, &row);
        if (ok && (!best || c[pa->right_time].i >= best[pa->right_time].i))
            best = c;
    }
    return best;
}

static void naive_run(struct naive *n)
{
    struct plan *p = n->p;
    struct kit_table *t = n->t[0];
    struct naive_row *pass = calloc(t->rows + 1, sizeof *pass);
    int32_t *date = calloc(t->rows + 1, sizeof *date);
    uint64_t npass = 0;
    for (uint64_t i = 0; i < t->rows && !p->empty; i++) {
        struct naive_row r = {.left = t->cell[i]};
        bool ok = true;
        for (uint32_t k = 0; k < p->scan[0].nwhere && ok; k++)
            ok = naive_true(n, p->scan[0].where[k].expr, &r);
        if (ok && p->nscans == 2) {
            r.right = naive_asof(n, i);
            for (uint32_t k = 0; k < p->nwhere && ok; k++)
                ok = naive_true(n, p->where[k].expr, &r);
        }
        if (ok) {
            date[npass] = t->row_date[i];
            pass[npass++] = r;
        }
    }
    if (p->nlatest) {
        for (uint64_t i = 0; i < npass; i++) {
            bool last = true;
            for (uint64_t j = 0; j < npass && last; j++) {
                if (j == i)
                    continue;
                bool same_key = true;
                for (uint32_t k = 0; k < p->nlatest && same_key; k++) {
                    struct scalar a = naive_eval(n, p->latest[k], &pass[i]),
                                  b = naive_eval(n, p->latest[k], &pass[j]);
                    same_key = same_scalar(&a, &b);
                }
                if (!same_key)
                    continue;
                int c = date[j] != date[i]
                            ? (date[j] > date[i] ? 1 : -1)
                            : scalar_order(&pass[j].left[K_TIME], &pass[i].left[K_TIME]);
                if (c > 0 || (c == 0 && j > i))
                    last = false;
            }
            if (last)
                naive_emit(n, &pass[i]);
        }
    } else if (p->grouped) {
        struct group {
            struct scalar key[8];
            struct naive_agg agg[64];
        } *g = NULL;
        uint64_t ng = 0;
        if (p->nkeys == 0) {
            g = calloc(1, sizeof *g);
            ng = 1;
        }
        for (uint64_t i = 0; i < npass; i++) {
            struct scalar key[8];
            for (uint32_t k = 0; k < p->nkeys; k++)
                key[k] = naive_eval(n, p->key[k], &pass[i]);
            uint64_t at = 0;
            for (; at < ng; at++) {
                bool eq = true;
                for (uint32_t k = 0; k < p->nkeys && eq; k++)
                    eq = same_scalar(&key[k], &g[at].key[k]);
                if (eq)
                    break;
            }
            if (at == ng) {
                g = realloc(g, ++ng * sizeof *g);
                memset(&g[at], 0, sizeof *g);
                memcpy(g[at].key, key, sizeof key);
            }
            for (uint32_t k = 0; k < p->naggs; k++)
                naive_agg_add(n, &p->agg[k], &g[at].agg[k], &pass[i], date[i]);
        }
        for (uint64_t i = 0; i < ng; i++) {
            struct scalar agg[64];
            for (uint32_t k = 0; k < p->naggs; k++) {
                agg[k] = naive_agg_end(n, &p->agg[k], &g[i].agg[k]);
                free(g[i].agg[k].all);
            }
            struct naive_row r = {.key = g[i].key, .agg = agg};
            if (!p->having || naive_true(n, p->having, &r))
                naive_emit(n, &r);
        }
        free(g);
    } else {
        for (uint64_t i = 0; i < npass; i++)
            naive_emit(n, &pass[i]);
    }
    free(pass);
    free(date);
    uint32_t visible = p->noutputs - p->nhidden;
    if (p->distinct) {
        uint64_t k = 0;
        for (uint64_t i = 0; i < n->rows; i++) {
            bool seen = false;
            for (uint64_t j = 0; j < k && !seen; j++) {
                seen = true;
                for (uint32_t c = 0; c < visible && seen; c++)
                    seen = same_scalar(&n->out[i][c], &n->out[j][c]);
            }
            if (!seen)
                memmove(n->out[k++], n->out[i], sizeof *n->out);
        }
        n->rows = k;
    }
    if (n->rows && p->norder) {
        struct scalar **v = malloc(n->rows * sizeof *v);
        for (uint64_t i = 0; i < n->rows; i++)
            v[i] = n->out[i];
        kit_order_plan = p;
        qsort(v, n->rows, sizeof *v, naive_row_cmp);
        struct scalar(*sorted)[NAIVE_WIDTH] = malloc(n->rows * sizeof *sorted);
        for (uint64_t i = 0; i < n->rows; i++)
            memcpy(sorted[i], v[i], sizeof *sorted);
        free(v);
        free(n->out);
        n->out = sorted;
    }
    uint64_t from = p->offset < n->rows ? p->offset : n->rows;
    uint64_t m = n->rows - from < p->limit ? n->rows - from : p->limit;
    if (from && m)
        memmove(n->out, n->out + from, m * sizeof *n->out);
    n->rows = m;
    (void)kit_order_cols;
}

/* ---- comparing ---- */

static bool near(double a, double b)
{
    return a == b || fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b)) + 1e-12;
}

static bool kit_same(const struct naive *n, const struct result *r, char *why, size_t room)
{
    if (r->rows != n->rows || r->ncols != n->p->noutputs - n->p->nhidden) {
        snprintf(why, room, "%llu rows, expected %llu", (unsigned long long)r->rows,
                 (unsigned long long)n->rows);
        return false;
    }
    for (uint64_t i = 0; i < r->rows; i++)
        for (uint32_t c = 0; c < r->ncols; c++) {
            const struct scalar *s = &n->out[i][c];
            bool null = result_is_null(r, c, i), ok = null == s->null;
            if (ok && !null)
                switch (r->col[c].type) {
                case PST_REAL:
                case PST_FLOAT:
                    ok = near(result_float(r, c, i), s->f);
                    break;
                case PST_SYMBOL:
                case PST_STRING: {
                    uint32_t len;
                    const char *t = result_text(r, c, i, &len);
                    ok = len == s->text.len && !memcmp(t, s->text.p, len);
                    break;
                }
                case PST_GUID:
                    ok = !memcmp((uint8_t *)r->col[c].data + i * 16, s->guid, 16);
                    break;
                default:
                    ok = result_int(r, c, i) == s->i;
                }
            if (!ok) {
                snprintf(why, room, "row %llu column %u (%s): null %d, expected null %d; %lld %g",
                         (unsigned long long)i, c, type_name(r->col[c].type), null, s->null,
                         null || !r->col[c].data ? 0ll : (long long)result_int(r, c, i),
                         s->type == PST_FLOAT ? s->f : (double)s->i);
                return false;
            }
        }
    return true;
}

/* Byte for byte. */
static bool kit_equal(const struct result *a, const struct result *b)
{
    if (a->rows != b->rows || a->ncols != b->ncols || a->syms.count != b->syms.count)
        return false;
    if (a->syms.count && memcmp(a->syms.chars, b->syms.chars, a->syms.at[a->syms.count]))
        return false;
    for (uint32_t c = 0; c < a->ncols; c++) {
        if (a->col[c].type == PST_STRING) {
            if (memcmp(a->col[c].at, b->col[c].at, (a->rows + 1) * 8) ||
                memcmp(a->col[c].chars, b->col[c].chars, a->col[c].at[a->rows]))
                return false;
        } else if (memcmp(a->col[c].data, b->col[c].data, a->rows * result_width(a->col[c].type))) {
            return false;
        }
    }
    return true;
}
