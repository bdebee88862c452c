/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output rows: collected in class values, ordered, made distinct, cut, and turned into a result.
 */
#include "exec_int.h"

struct outrows *out_new(struct xthread *t)
{
    const struct plan *p = t->x->p;
    struct outrows *o = x_zalloc(t, sizeof *o);
    o->ncols = p->noutputs;
    o->col = x_zalloc(t, (p->noutputs + 1) * sizeof *o->col);
    for (uint32_t i = 0; i < p->noutputs; i++) {
        o->col[i].type = p->output[i].expr->type;
        o->col[i].cls = cls_of(o->col[i].type);
    }
    return o;
}

void out_free(struct exec *x, struct outrows *o)
{
    for (uint32_t i = 0; i < o->ncols; i++) {
        x_free(x, o->col[i].data);
        x_free(x, o->col[i].text);
    }
    x_free(x, o->col);
    x_free(x, o);
}

/* Texts are kept as ends in `text`: 8 bytes a row. */
static unsigned col_width(const struct outcol *c)
{
    return c->cls == C_TEXT ? 8 : cls_width(c->cls);
}

static void make_room(struct xthread *t, struct outrows *o, uint64_t n)
{
    if (o->rows + n <= o->room)
        return;
    uint64_t room = o->room ? o->room : EXEC_BATCH;
    while (room < o->rows + n)
        room *= 2;
    for (uint32_t i = 0; i < o->ncols; i++)
        o->col[i].data = x_realloc(t, o->col[i].data, room * col_width(&o->col[i]));
    o->room = room;
}

static struct plan_text text_at(const struct outcol *c, uint64_t row)
{
    const uint64_t *end = (const uint64_t *)(const void *)c->data;
    uint64_t from = row ? end[row - 1] : 0;
    return (struct plan_text){c->text + from, (uint32_t)(end[row] - from)};
}

static void add_text(struct xthread *t, struct outcol *c, uint64_t row, struct plan_text s)
{
    uint64_t *end = (uint64_t *)(void *)c->data, from = row ? end[row - 1] : 0;
    c->text = x_grow(t, c->text, &c->text_room, from + s.len, 1);
    if (s.len)
        memcpy(c->text + from, s.p, s.len);
    end[row] = from + s.len;
}

void out_add(struct xthread *t, struct outrows *o, struct batch *b)
{
    const struct plan *p = t->x->p;
    make_room(t, o, b->n);
    for (uint32_t i = 0; i < o->ncols; i++) {
        struct outcol *c = &o->col[i];
        struct vec v = eval(t, b, p->output[i].expr);
        if (c->cls == C_TEXT) {
            for (uint32_t k = 0; k < b->n; k++)
                add_text(t, c, o->rows + k, ((const struct plan_text *)v.p)[v.one ? 0 : k]);
            continue;
        }
        unsigned w = cls_width(c->cls);
        const void *flat = vec_flat(t, v, c->cls, b->n);
        memcpy(c->data + o->rows * w, flat, (size_t)b->n * w);
    }
    o->rows += b->n;
}

void outrows_append(struct xthread *t, struct outrows *to, const struct outrows *from)
{
    make_room(t, to, from->rows);
    for (uint32_t i = 0; i < to->ncols; i++) {
        struct outcol *c = &to->col[i];
        const struct outcol *f = &from->col[i];
        if (from->rows == 0)
            break;
        if (c->cls == C_TEXT) {
            uint64_t *end = (uint64_t *)(void *)c->data, base = to->rows ? end[to->rows - 1] : 0;
            const uint64_t *add = (const uint64_t *)(const void *)f->data;
            uint64_t bytes = add[from->rows - 1];
            c->text = x_grow(t, c->text, &c->text_room, base + bytes, 1);
            if (bytes)
                memcpy(c->text + base, f->text, bytes);
            for (uint64_t k = 0; k < from->rows; k++)
                end[to->rows + k] = base + add[k];
            continue;
        }
        unsigned w = cls_width(c->cls);
        memcpy(c->data + to->rows * w, f->data, from->rows * w);
    }
    to->rows += from->rows;
}

/* ---- order ---- */

/*
 * A key as u64 that sorts as the plan wants it: value, direction, place of NULL. Texts and guids
 * have none (NULL): they are compared as they are.
 */
struct sort {
    struct exec *x;
    const struct outrows *o;
    uint32_t nkeys;
    const struct plan_order *by;
    uint64_t **key;
};

struct sort_item {
    uint64_t key;
    uint64_t row;
};

/* 0 .. 2^64 - 2: so that there is a place for NULL at either end */
static uint64_t i64_key(int64_t v)
{
    return ((uint64_t)v ^ 1ull << 63) - 1;
}

static uint64_t f64_key(double v)
{
    uint64_t u;
    v += 0.0;
    memcpy(&u, &v, sizeof u);
    return u >> 63 ? ~u : u | 1ull << 63;
}

static int rank_cmp(const void *a, const void *b, void *arg)
{
    return x_sym_cmp(arg, *(const uint32_t *)a, *(const uint32_t *)b);
}

/* Ranks by text of the codes that occur: rank[code + 1], null 0. */
static uint32_t *sym_ranks(struct xthread *t, const uint32_t *code, uint64_t n)
{
    uint64_t all = (uint64_t)x_sym_count(t->x) + 1;
    uint32_t *rank = x_zalloc(t, all * sizeof *rank);
    uint32_t *list = x_alloc(t, (n < all ? n + 1 : all) * sizeof *list), k = 0;
    for (uint64_t i = 0; i < n; i++)
        if (code[i] + 1u < all && !rank[code[i] + 1u]) {
            rank[code[i] + 1u] = 1;
            if (code[i] != PST_NULL_SYMBOL)
                list[k++] = code[i];
        }
    qsort_r(list, k, sizeof *list, rank_cmp, t->x);
    for (uint32_t i = 0; i < k; i++)
        rank[list[i] + 1u] = i + 2;
    x_free(t->x, list);
    return rank;
}

static uint64_t *sort_key(struct xthread *t, const struct outrows *o, const struct plan_order *by)
{
    const struct outcol *c = &o->col[by->output];
    if (c->cls == C_TEXT || c->cls == C_GUID)
        return NULL;
    uint64_t *key = x_alloc(t, (o->rows + 1) * sizeof *key);
    uint64_t null = by->nulls_first ? 0 : UINT64_MAX;
    uint32_t *rank =
        c->cls == C_SYM ? sym_ranks(t, (const uint32_t *)(const void *)c->data, o->rows) : NULL;
    for (uint64_t i = 0; i < o->rows; i++) {
        uint64_t u = 0;
        bool is_null = false;
        switch (c->cls) {
        case C_BOOL:
            is_null = c->data[i] == PLAN_BOOL_NULL;
            u = c->data[i] + 1u;
            break;
        case C_I64: {
            int64_t v = ((const int64_t *)(const void *)c->data)[i];
            is_null = v == INT64_MIN;
            u = i64_key(v);
            break;
        }
        case C_F64: {
            double v = ((const double *)(const void *)c->data)[i];
            is_null = isnan(v);
            u = f64_key(v);
            break;
        }
        default: {
            uint32_t v = ((const uint32_t *)(const void *)c->data)[i];
            is_null = v == PST_NULL_SYMBOL;
            u = rank[(uint32_t)(v + 1)];
            break;
        }
        }
        if (by->descending)
            u = UINT64_MAX - 1 - u;
        key[i] = is_null ? null : u + by->nulls_first;
    }
    x_free(t->x, rank);
    return key;
}

static int raw_cmp(const struct outcol *c, const struct plan_order *by, uint64_t a, uint64_t b)
{
    static const uint8_t zero[16];
    int r;
    bool an, bn;
    if (c->cls == C_TEXT) {
        struct plan_text x = text_at(c, a), y = text_at(c, b);
        an = x.len == 0;
        bn = y.len == 0;
        r = text_cmp(x.p, x.len, y.p, y.len);
    } else {
        const uint8_t *x = c->data + a * 16, *y = c->data + b * 16;
        an = !memcmp(x, zero, 16);
        bn = !memcmp(y, zero, 16);
        r = memcmp(x, y, 16);
    }
    if (an || bn)
        return an == bn ? 0 : an == by->nulls_first ? -1 : 1;
    return by->descending ? -r : r;
}

/* First key aside. */
static int sort_cmp(const struct sort *s, const struct sort_item *a, const struct sort_item *b)
{
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    for (uint32_t i = 0; i < s->nkeys; i++) {
        int c;
        if (!s->key[i])
            c = raw_cmp(&s->o->col[s->by[i].output], &s->by[i], a->row, b->row);
        else
            c = s->key[i][a->row] < s->key[i][b->row] ? -1 : s->key[i][a->row] > s->key[i][b->row];
        if (c)
            return c;
    }
    return a->row < b->row ? -1 : 1;
}

/* Merge sort: stable by the row number, n log n for every input. */
static void sort_items(const struct sort *s, struct sort_item *v, struct sort_item *tmp, uint64_t n)
{
    if (n <= 12) {
        for (uint64_t i = 1; i < n; i++) {
            struct sort_item x = v[i];
            uint64_t k = i;
            for (; k && sort_cmp(s, &x, &v[k - 1]) < 0; k--)
                v[k] = v[k - 1];
            v[k] = x;
        }
        return;
    }
    uint64_t half = n / 2;
    sort_items(s, v, tmp, half);
    sort_items(s, v + half, tmp, n - half);
    if (sort_cmp(s, &v[half - 1], &v[half]) < 0)
        return;
    memcpy(tmp, v, half * sizeof *v);
    uint64_t i = 0, j = half, k = 0;
    while (i < half && j < n)
        v[k++] = sort_cmp(s, &tmp[i], &v[j]) < 0 ? tmp[i++] : v[j++];
    while (i < half)
        v[k++] = tmp[i++];
}

/* Row numbers in the plan's order; x_free. */
static struct sort_item *sorted(struct xthread *t, const struct outrows *o)
{
    const struct plan *p = t->x->p;
    struct sort s = {.x = t->x, .o = o, .nkeys = p->norder, .by = p->order};
    s.key = x_zalloc(t, p->norder * sizeof *s.key);
    for (uint32_t i = 0; i < p->norder; i++)
        s.key[i] = sort_key(t, o, &p->order[i]);
    struct sort_item *v = x_alloc(t, (o->rows + 1) * sizeof *v);
    struct sort_item *tmp = x_alloc(t, (o->rows / 2 + 1) * sizeof *tmp);
    for (uint64_t i = 0; i < o->rows; i++)
        v[i] = (struct sort_item){s.key[0] ? s.key[0][i] : 0, i};
    sort_items(&s, v, tmp, o->rows);
    x_free(t->x, tmp);
    for (uint32_t i = 0; i < p->norder; i++)
        x_free(t->x, s.key[i]);
    x_free(t->x, s.key);
    return v;
}

/* Rows of o in the order of v[from ...], n of them, in place of what o held. */
static void take_rows(struct xthread *t, struct outrows *o, const struct sort_item *v, uint64_t n)
{
    for (uint32_t i = 0; i < o->ncols; i++) {
        struct outcol *c = &o->col[i], old = *c;
        c->data = x_alloc(t, (n + 1) * col_width(c));
        if (c->cls == C_TEXT) {
            c->text = NULL;
            c->text_room = 0;
            for (uint64_t k = 0; k < n; k++)
                add_text(t, c, k, text_at(&old, v[k].row));
            x_free(t->x, old.text);
        } else {
            switch (cls_width(c->cls)) {
            case 1:
                for (uint64_t k = 0; k < n; k++)
                    c->data[k] = old.data[v[k].row];
                break;
            case 4:
                for (uint64_t k = 0; k < n; k++)
                    ((uint32_t *)(void *)c->data)[k] =
                        ((const uint32_t *)(void *)old.data)[v[k].row];
                break;
            case 8:
                for (uint64_t k = 0; k < n; k++)
                    ((uint64_t *)(void *)c->data)[k] =
                        ((const uint64_t *)(void *)old.data)[v[k].row];
                break;
            default:
                for (uint64_t k = 0; k < n; k++)
                    memcpy(c->data + k * 16, old.data + v[k].row * 16, 16);
                break;
            }
        }
        x_free(t->x, old.data);
    }
    o->rows = n;
    o->room = n;
}

void out_top(struct xthread *t, struct outrows *o, uint64_t keep)
{
    if (o->rows <= keep)
        return;
    struct sort_item *v = sorted(t, o);
    take_rows(t, o, v, keep);
    x_free(t->x, v);
}

/* ---- distinct ---- */

static void make_distinct(struct xthread *t, struct outrows *o)
{
    uint8_t *types = x_alloc(t, o->ncols + 1);
    uint32_t nkeys = o->ncols - t->x->p->nhidden;
    for (uint32_t i = 0; i < nkeys; i++)
        types[i] = o->col[i].type;
    struct keyer *k = keyer_new(t, nkeys, types);
    struct sort_item *v = x_alloc(t, (o->rows + 1) * sizeof *v);
    uint64_t n = 0;
    struct vec *kv = x_alloc(t, (nkeys + 1) * sizeof *kv);
    for (uint64_t at = 0; at < o->rows; at += EXEC_BATCH) {
        struct scratch_mark m = x_mark(t);
        uint32_t rows = o->rows - at < EXEC_BATCH ? (uint32_t)(o->rows - at) : EXEC_BATCH;
        uint32_t *id = x_scratch(t, rows * sizeof *id);
        for (uint32_t i = 0; i < nkeys; i++) {
            const struct outcol *c = &o->col[i];
            if (c->cls == C_TEXT) {
                struct plan_text *s = x_scratch(t, rows * sizeof *s);
                for (uint32_t r = 0; r < rows; r++)
                    s[r] = text_at(c, at + r);
                kv[i] = (struct vec){s, false};
            } else {
                kv[i] = (struct vec){c->data + at * cls_width(c->cls), false};
            }
        }
        uint32_t before = keyer_count(k);
        keyer_add(t, k, kv, rows, id);
        for (uint32_t r = 0; r < rows; r++)
            if (id[r] == before) {
                v[n++].row = at + r;
                before++;
            }
        x_reset(t, m);
    }
    keyer_free(t->x, k);
    take_rows(t, o, v, n);
    x_free(t->x, v);
    x_free(t->x, kv);
    x_free(t->x, types);
}

/* ---- the result ---- */

static void *plain(struct xthread *t, uint64_t bytes)
{
    void *p = malloc(bytes ? bytes : 1); /* the result outlives the query's memory */
    if (!p)
        x_throw(t, QUERY_LIMIT, -1, "no memory for the result");
    return p;
}

static void narrow(const struct outcol *c, uint64_t from, uint64_t n, void *out)
{
    if (!n) /* then there may be no data either */
        return;
    const int64_t *v = (const int64_t *)(const void *)c->data + from;
    const double *f = (const double *)(const void *)c->data + from;
    switch (c->cls) {
    case C_BOOL:
        memcpy(out, c->data + from, n);
        return;
    case C_GUID:
        memcpy(out, c->data + from * 16, n * 16);
        return;
    case C_F64:
        if (c->type == PST_REAL)
            for (uint64_t i = 0; i < n; i++)
                ((float *)out)[i] = (float)f[i];
        else
            memcpy(out, f, n * 8);
        return;
    default:
        break;
    }
    if (c->type == PST_CHAR) {
        for (uint64_t i = 0; i < n; i++)
            ((uint8_t *)out)[i] = v[i] == INT64_MIN ? PST_NULL_CHAR : (uint8_t)v[i];
        return;
    }
    switch (result_width(c->type)) {
    case 1:
        for (uint64_t i = 0; i < n; i++)
            ((uint8_t *)out)[i] = (uint8_t)v[i];
        return;
    case 2:
        for (uint64_t i = 0; i < n; i++)
            ((int16_t *)out)[i] = v[i] == INT64_MIN ? INT16_MIN : (int16_t)v[i];
        return;
    case 4:
        for (uint64_t i = 0; i < n; i++)
            ((int32_t *)out)[i] = v[i] == INT64_MIN ? INT32_MIN : (int32_t)v[i];
        return;
    default:
        memcpy(out, v, n * 8);
    }
}

static void make_syms(struct xthread *t, struct outrows *o, uint64_t from, uint64_t n,
                      struct result *r)
{
    struct exec *x = t->x;
    uint64_t all = (uint64_t)x_sym_count(x) + 1, bytes = 0, room = 0;
    uint32_t *of = NULL, count = 0, *code = NULL;
    for (uint32_t i = 0; i < r->ncols; i++) {
        if (o->col[i].cls != C_SYM)
            continue;
        if (!of)
            of = x_zalloc(t, all * sizeof *of);
        uint32_t *out = r->col[i].data = plain(t, n * sizeof *out);
        const uint32_t *v = (const uint32_t *)(const void *)o->col[i].data;
        v = n ? v + from : v;
        for (uint64_t k = 0; k < n; k++) {
            if (v[k] == PST_NULL_SYMBOL || v[k] + 1ull >= all + 0u) {
                out[k] = PST_NULL_SYMBOL;
                continue;
            }
            if (!of[v[k]]) {
                code = x_grow(t, code, &room, count + 1ull, sizeof *code);
                code[count] = v[k];
                of[v[k]] = ++count;
                uint32_t len;
                x_sym_text(x, v[k], &len);
                bytes += len;
            }
            out[k] = of[v[k]] - 1;
        }
    }
    r->syms.at = plain(t, (count + 1ull) * sizeof *r->syms.at);
    r->syms.chars = plain(t, bytes);
    r->syms.count = count;
    r->syms.at[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len;
        const char *p = x_sym_text(x, code[i], &len);
        memcpy(r->syms.chars + r->syms.at[i], p, len);
        r->syms.at[i + 1] = r->syms.at[i] + len;
    }
    x_free(x, of);
    x_free(x, code);
}

void out_finish(struct xthread *t, struct outrows *o)
{
    struct exec *x = t->x;
    const struct plan *p = x->p;
    if (p->distinct)
        make_distinct(t, o);
    uint64_t from = p->offset < o->rows ? p->offset : o->rows;
    uint64_t n = o->rows - from < p->limit ? o->rows - from : p->limit;
    if (p->limits.rows_max && n > p->limits.rows_max)
        x_throw(t, QUERY_LIMIT, -1,
                "the result has more than %llu rows; add a LIMIT or raise the row limit",
                (unsigned long long)p->limits.rows_max);
    if (p->norder && o->rows > 1) {
        struct sort_item *v = sorted(t, o);
        take_rows(t, o, v + from, n);
        x_free(x, v);
        from = 0;
    }
    struct result *r = result_new(p->noutputs - p->nhidden);
    if (!r)
        x_throw(t, QUERY_LIMIT, -1, "no memory for the result");
    *x->out = r; /* from here on exec_run frees it on errors */
    r->rows = n;
    for (uint32_t i = 0; i < r->ncols; i++) {
        struct outcol *c = &o->col[i];
        struct result_column *rc = &r->col[i];
        snprintf(rc->name, sizeof rc->name, "%s", p->output[i].name);
        rc->type = c->type;
        if (c->cls == C_TEXT) {
            const uint64_t *end = (const uint64_t *)(const void *)c->data;
            uint64_t base = from && n ? end[from - 1] : 0;
            rc->at = plain(t, (n + 1) * sizeof *rc->at);
            rc->at[0] = 0;
            for (uint64_t k = 0; k < n; k++)
                rc->at[k + 1] = end[from + k] - base;
            rc->chars = plain(t, rc->at[n]);
            if (rc->at[n])
                memcpy(rc->chars, c->text + base, rc->at[n]);
        } else if (c->cls != C_SYM) {
            rc->data = plain(t, n * result_width(c->type));
            narrow(c, from, n, rc->data);
        }
    }
    make_syms(t, o, from, n, r);
    x->p->facts.rows = n;
}
