/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"
#include "bind.h"
#include "exec_int.h"
#include "filter.h"
#include "lex.h"
#include "view_build.h"

/* ---- symbols ---- */

#define CHUNK (64u << 10)

struct filter_chunk {
    struct filter_chunk *next;
    uint32_t used;
    char text[CHUNK];
};

void filter_syms_init(struct filter_syms *s)
{
    memset(s, 0, sizeof *s);
}

void filter_syms_free(struct filter_syms *s)
{
    for (struct filter_chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free((void *)s->view.extra);
    free(s->view.extra_hash);
    memset(s, 0, sizeof *s);
}

static bool syms_room(struct filter_syms *s, uint32_t len)
{
    struct view_syms *v = &s->view;
    if (v->extra_count == s->room) {
        uint32_t room = s->room ? 2 * s->room : 256;
        struct view_text *t = realloc((void *)v->extra, room * sizeof *t);
        if (!t)
            return false;
        v->extra = t;
        s->room = room;
    }
    if (!s->chunks || s->chunks->used + len > CHUNK) {
        struct filter_chunk *c = malloc(sizeof *c);
        if (!c)
            return false;
        c->next = s->chunks;
        c->used = 0;
        s->chunks = c;
    }
    return true;
}

uint32_t filter_syms_code(struct filter_syms *s, const char *text, uint32_t len)
{
    struct view_syms *v = &s->view;
    uint32_t code = view_sym_find(v, text, len);
    if (len == 0 || code != PST_NULL_SYMBOL)
        return code;
    if (len > CHUNK || v->extra_count == FILTER_NO_CODE || !syms_room(s, len))
        return FILTER_NO_CODE;
    char *copy = s->chunks->text + s->chunks->used;
    memcpy(copy, text, len);
    s->chunks->used += len;
    ((struct view_text *)v->extra)[v->extra_count++] = (struct view_text){copy, len};
    if (view_syms_add(v))
        return v->extra_count - 1;
    v->extra_count--;
    return FILTER_NO_CODE;
}

/* ---- text -> plan ---- */

struct filter_run {
    struct plan *plan;
    struct filter_syms *syms;
    struct view *view;
    struct view_chunk chunk;
    const void **data;
    struct query_table table;
    struct query_column *cols;
    struct exec x;
    struct xthread thread;
    bool locks;
    struct vec *value;   /* by output, of the last batch */
    uint32_t *output_at; /* by output: its number in the plan */
    /* in flight, out of reach of longjmp's rules for locals */
    uint32_t *sel;
    uint32_t passed;
};

static void put(struct text_out *o, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_put(o, "%c", p[i]);
}

/* The conditions, each in parentheses; `A`B behind IN too. */
void filter_where(struct text_out *o, struct filter_text w)
{
    struct lex l = {.text = w.p, .len = (uint32_t)w.len};
    uint32_t from = 0, end = 0;
    int depth = 0;
    bool in = false, list = false;
    text_put(o, "(");
    for (;;) {
        struct lex_token t = lex_next(&l);
        char c = t.kind == LEX_OP ? w.p[t.at] : 0;
        if (list && !(t.kind == LEX_SYMBOL && t.at == end)) {
            put(o, w.p + from, end - from);
            text_put(o, ")");
            from = end;
            list = false;
        }
        if (t.kind == LEX_END || t.kind == LEX_BROKEN)
            break;
        depth += (c == '(') - (c == ')');
        if (t.kind == LEX_SYMBOL && in) {
            put(o, w.p + from, t.at - from);
            text_put(o, "(");
            from = t.at;
            list = true;
        } else if (c == ',' && depth == 0) {
            put(o, w.p + from, t.at - from);
            text_put(o, "\n) AND (");
            from = t.at + t.len;
        }
        in = t.kind == LEX_WORD && lex_is(&l, &t, "in");
        end = t.at + t.len;
    }
    put(o, w.p + from, w.len - from);
    text_put(o, "\n)");
}

static const struct query_table *find_table(void *ctx, const char *name)
{
    const struct query_table *t = ctx;
    return strcmp(name, t->name) ? NULL : t;
}

static const struct query_table *table_at(void *ctx, unsigned i)
{
    return i ? NULL : ctx;
}

/* Is the word `date` in the text, outside of texts and comments? */
static bool says_date(struct filter_text c)
{
    struct lex l = {.text = c.p, .len = (uint32_t)c.len};
    for (struct lex_token t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BROKEN;
         t = lex_next(&l))
        if ((t.kind == LEX_WORD && lex_is(&l, &t, "date")) ||
            (t.kind == LEX_QUOTED && t.len == 6 && !memcmp(c.p + t.at, "\"date\"", 6)))
            return true;
    return false;
}

/* Only what a row by itself can answer. */
static bool plain(const struct plan *p, struct query_error *e)
{
    const char *what = p->grouped || p->having                   ? "aggregates and GROUP BY"
                       : p->nlatest                              ? "LATEST BY"
                       : p->norder || p->nhidden                 ? "ORDER BY"
                       : p->distinct                             ? "DISTINCT"
                       : p->limit != UINT64_MAX || p->offset     ? "LIMIT"
                       : p->nscans != 1 || p->call || p->explain ? "another table"
                                                                 : NULL;
    return !what || query_error_set(e, QUERY_UNSUPPORTED, -1,
                                    "a subscription has a where clause and columns of single rows, "
                                    "no %s",
                                    what);
}

static struct plan *make_plan(struct filter_run *r, const struct schema *s,
                              struct filter_text where, struct filter_text columns,
                              const struct tzone *zone, int64_t now_ns, struct query_error *e)
{
    struct text_out sql = {0};
    text_put(&sql, "SELECT ");
    if (columns.len)
        put(&sql, columns.p, columns.len);
    else
        text_put(&sql, "time");
    text_put(&sql, "\nFROM \"%s\"", s->name);
    if (where.len) {
        text_put(&sql, "\nWHERE ");
        filter_where(&sql, where);
    }
    struct plan *p = NULL;
    struct query_env env = {
        .tables = {&r->table, find_table, table_at}, .zone = zone, .now_ns = now_ns};
    struct query_request q = {
        .sql = sql.p, .len = sql.len, .limits = {.memory_max = FILTER_MEMORY, .threads = 1}};
    if (sql.failed)
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the subscription");
    else
        p = query_plan(&env, &q, e);
    free(sql.p);
    if (p && p->subquery) {
        query_error_set(e, QUERY_UNSUPPORTED, -1,
                        "a subscription's condition looks at its own row "
                        "only: IN (SELECT ...) has no place there");
        plan_free(p);
        return NULL;
    }
    if (p && !plain(p, e)) {
        plan_free(p);
        p = NULL;
    }
    return p;
}

/* ---- making one ---- */

static bool set_view(struct filter_run *r, const struct schema *s)
{
    r->cols = calloc(s->ncols + 1u, sizeof *r->cols);
    r->data = calloc(s->ncols + 1u, sizeof *r->data);
    r->view = view_new(s->name, 1);
    if (!r->cols || !r->data || !r->view)
        return false;
    r->cols[0] = (struct query_column){"date", PST_DATE};
    for (unsigned i = 0; i < s->ncols; i++) {
        if (!view_add_column(r->view, s->col[i].name, s->col[i].type))
            return false;
        r->cols[i + 1] = (struct query_column){r->view->col[i + 1].name, s->col[i].type};
    }
    r->table = (struct query_table){.name = r->view->name,
                                    .ncols = (uint16_t)(s->ncols + 1),
                                    .cols = r->cols,
                                    .source = r->view};
    struct view_part *p = &r->view->part[0];
    r->view->nparts = 1;
    r->view->syms = &r->syms->view;
    if (!view_part_columns(r->view, p))
        return false;
    p->tier = VIEW_MEMORY;
    p->open = true;
    p->nchunks = 1;
    p->chunk = &r->chunk;
    p->time_max = r->chunk.time_max = INT64_MIN;
    p->time_min = r->chunk.time_min = INT64_MAX; /* not known */
    r->chunk.data = r->data;
    for (unsigned i = 1; i <= s->ncols; i++) {
        p->stored[i] = s->col[i - 1].type;
        p->encoding[i] = p->stored[i] == PST_STRING ? VIEW_PACKED : VIEW_RAW;
    }
    return true;
}

/* Symbols of constants get their codes before the expressions are made ready. */
static bool codes_of(struct filter_syms *s, const struct plan_expr *e)
{
    if (e->op == PLAN_CONST && e->type == PST_SYMBOL && !e->is_null &&
        filter_syms_code(s, e->value.text.p, e->value.text.len) == FILTER_NO_CODE)
        return false;
    for (unsigned i = 0; i < e->nargs; i++)
        if (!codes_of(s, e->arg[i]))
            return false;
    return true;
}

static bool set_outputs(struct filter *f, struct filter_text columns)
{
    const struct plan *p = f->run->plan;
    bool date = says_date(columns);
    f->output = calloc(p->noutputs + 1, sizeof *f->output);
    f->run->value = calloc(p->noutputs + 1, sizeof *f->run->value);
    f->run->output_at = calloc(p->noutputs + 1, sizeof *f->run->output_at);
    if (!f->output || !f->run->value || !f->run->output_at)
        return false;
    for (uint32_t i = 0; i < p->noutputs && columns.len; i++) {
        const struct plan_expr *e = p->output[i].expr;
        bool column = e->op == PLAN_COLUMN;
        if (column && e->column == VIEW_DATE && !date)
            continue; /* of a star: messages do not carry it */
        f->run->output_at[f->noutputs] = i;
        f->output[f->noutputs++] = (struct filter_output){p->output[i].name, e->type,
                                                          !column                  ? -1
                                                          : e->column == VIEW_DATE ? -2
                                                                                   : e->column - 1};
        f->computes |= !column;
    }
    return true;
}

static void needs(uint8_t *need, const struct plan_expr *e)
{
    if (e->op == PLAN_COLUMN && e->column != VIEW_DATE)
        need[e->column - 1] = 1;
    for (unsigned i = 0; i < e->nargs; i++)
        needs(need, e->arg[i]);
}

/* The columns that expressions read; those that are outputs as they stand are not among them. */
static bool set_columns(struct filter *f, const struct schema *s)
{
    const struct plan *p = f->run->plan;
    uint8_t need[SCHEMA_COLUMNS_MAX] = {0};
    f->columns = calloc(s->ncols + 1u, sizeof *f->columns);
    if (!f->columns)
        return false;
    for (uint32_t i = 0; i < p->scan[0].nwhere; i++)
        needs(need, p->scan[0].where[i].expr);
    for (uint32_t i = 0; i < f->noutputs; i++)
        if (f->output[i].column == -1)
            needs(need, p->output[f->run->output_at[i]].expr);
    for (uint16_t i = 0; i < s->ncols; i++)
        if (need[i])
            f->columns[f->ncolumns++] = i;
    return true;
}

/* Memory of evaluation anew: constants have their codes. False: e. */
static bool make_ready(struct filter_run *r, struct query_error *e)
{
    struct exec *x = &r->x;
    x_free_all(x);
    memset(&r->thread.scratch, 0, sizeof r->thread.scratch);
    free(x->local.text);
    free(x->local.slot);
    x->local.text = NULL;
    x->local.slot = NULL;
    store_relaxed(&x->local.count, 0);
    x->failed = false;
    x->sym_base = view_sym_count(x->syms);
    if (setjmp(r->thread.base) == 0) {
        eval_prepare(&r->thread, x);
        return true;
    }
    *e = x->error;
    return false;
}

static bool set_exec(struct filter_run *r, struct query_error *e)
{
    struct exec *x = &r->x;
    x->p = r->plan;
    x->view[0] = r->view;
    x->syms = &r->syms->view;
    x->threads = 1;
    x->thread = &r->thread;
    x->mem.limit = FILTER_MEMORY;
    x->error_unit = UINT32_MAX;
    atomic_init(&x->stop_unit, UINT32_MAX);
    pthread_mutex_init(&x->mem.lock, NULL);
    pthread_mutex_init(&x->local.lock, NULL);
    pthread_mutex_init(&x->error_lock, NULL);
    r->locks = true;
    r->thread = (struct xthread){.x = x, .unit = UINT32_MAX};
    return make_ready(r, e);
}

struct filter *filter_new(const struct schema *s, struct filter_text where,
                          struct filter_text columns, const struct tzone *zone, int64_t now_ns,
                          struct filter_syms *syms, struct query_error *e)
{
    struct filter *f = calloc(1, sizeof *f);
    struct filter_run *r = calloc(1, sizeof *r);
    *e = (struct query_error){.position = -1};
    if (f)
        f->run = r;
    bool ok = f && r;
    if (ok) {
        r->syms = syms;
        ok = set_view(r, s);
    }
    if (!ok)
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the subscription");
    ok = ok && (r->plan = make_plan(r, s, where, columns, zone, now_ns, e)) != NULL;
    if (!ok)
        goto fail;
    const struct plan_scan *scan = &r->plan->scan[0];
    for (uint32_t i = 0; ok && i < scan->nwhere; i++)
        ok = codes_of(syms, scan->where[i].expr);
    for (uint32_t i = 0; ok && i < r->plan->noutputs; i++)
        ok = codes_of(syms, r->plan->output[i].expr);
    if (!ok || !set_outputs(f, columns) || !set_columns(f, s)) {
        query_error_set(e, QUERY_LIMIT, -1, "no memory for the subscription");
        goto fail;
    }
    if (!set_exec(r, e))
        goto fail;
    f->never = r->plan->empty;
    f->all = !f->never && scan->nwhere == 0;
    f->has_syms = scan->bounds.has_syms;
    f->syms = scan->bounds.syms;
    f->nsyms = scan->bounds.nsyms;
    return f;
fail:
    if (!f)
        free(r);
    filter_free(f);
    return NULL;
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    struct filter_run *r = f->run;
    if (r) {
        x_texts_free(&r->thread);
        x_free_all(&r->x);
        free(r->x.local.text);
        free(r->x.local.slot);
        if (r->locks) {
            pthread_mutex_destroy(&r->x.mem.lock);
            pthread_mutex_destroy(&r->x.local.lock);
            pthread_mutex_destroy(&r->x.error_lock);
        }
        if (r->view) {
            r->view->part[0].chunk = NULL; /* it is r's */
            view_part_free(&r->view->part[0]);
            view_free(r->view);
        }
        plan_free(r->plan);
        free(r->cols);
        free(r->data);
        free(r->value);
        free(r->output_at);
        free(r);
    }
    free(f->output);
    free(f->columns);
    free(f);
}

/* ---- a batch ---- */

static void run_batch(struct filter *f, const struct filter_batch *in)
{
    struct filter_run *r = f->run;
    struct xthread *t = &r->thread;
    const struct plan_scan *scan = &r->plan->scan[0];
    struct batch b = {.n = in->n, .nsides = 1};
    b.side[0] = (struct side){.view = r->view, .part = &r->view->part[0], .chunk = &r->chunk};
    batch_init(t, &b);
    for (uint32_t i = 0; i < scan->nwhere && b.n; i++) {
        uint32_t *sel = x_scratch(t, (uint64_t)b.n * sizeof *sel + 64);
        uint32_t k = eval_true(t, &b, scan->where[i].expr, sel);
        if (k == b.n)
            continue;
        if (k)
            batch_narrow(t, &b, sel, k, &b);
        b.n = k;
    }
    r->passed = b.n;
    if (b.n < in->n && b.n)
        memcpy(r->sel, b.side[0].rows, b.n * sizeof *r->sel);
    for (uint32_t i = 0; i < f->noutputs && b.n; i++)
        if (f->output[i].column == -1)
            r->value[i] = eval(t, &b, r->plan->output[r->output_at[i]].expr);
}

bool filter_rows(struct filter *f, const struct filter_batch *b, uint32_t *sel, uint32_t *passed,
                 struct query_error *e)
{
    struct filter_run *r = f->run;
    struct exec *x = &r->x;
    struct view_part *p = &r->view->part[0];
    x_texts_free(&r->thread);
    if (pst_unlikely(load_relaxed(&x->local.count) || x->failed) && !make_ready(r, e))
        return false;
    x->sym_base = view_sym_count(x->syms);
    p->date = b->date;
    p->rows = r->chunk.rows = b->n;
    for (uint32_t i = 0; i < f->ncolumns; i++) {
        uint32_t c = f->columns[i] + 1u;
        r->data[c] = b->data[c - 1];
        p->aux[c] = b->chars;
        p->aux_bytes[c] = b->chars_bytes;
    }
    r->sel = sel;
    x_reset(&r->thread, (struct scratch_mark){0});
    if (setjmp(r->thread.base)) {
        *e = x->error;
        store_relaxed(&x->stop_unit, UINT32_MAX);
        return false;
    }
    run_batch(f, b);
    *passed = r->passed;
    return true;
}

struct filter_vector filter_value(const struct filter *f, uint32_t output)
{
    struct vec v = f->run->value[output];
    return (struct filter_vector){v.p, v.one};
}

const char *filter_text_of(const struct filter *f, uint32_t code, uint32_t *len)
{
    return x_sym_text(&f->run->x, code, len);
}
