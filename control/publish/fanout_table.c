/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of tables and which streams a row of one goes to. */
#include "publish/fanout_int.h"

#define COMPACT_AFTER 20000u

bool list_add(struct stream_list *l, struct stream *s)
{
    if (l->n == l->room) {
        uint32_t room = l->room ? 2 * l->room : 2;
        struct stream **p = realloc(l->s, room * sizeof(struct stream *));
        if (!p)
            return false;
        l->s = p;
        l->room = room;
    }
    l->s[l->n++] = s;
    return true;
}

void list_remove(struct stream_list *l, struct stream *s)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->s[i] == s) {
            l->s[i] = l->s[--l->n];
            return;
        }
}

/* ---- shapes ---- */

static bool same(const struct fanout_text *a, const struct fanout_text *b)
{
    return a->len == b->len && (a->len == 0 || !memcmp(a->p, b->p, a->len));
}

static void shape_free(struct shape *h)
{
    layout_close(&h->layout);
    filter_free(h->filter);
    free((char *)h->where.p);
    free(h);
}

static bool shape_open(struct fanout *f, const struct schema *s, struct shape *h,
                       const struct spec *spec, struct err *err)
{
    char *text = malloc(spec->where.len + spec->columns.len + 1u);
    if (!text)
        return err_set(err, -ENOMEM, "no memory for the subscription");
    memcpy(text, spec->where.p, spec->where.len);
    memcpy(text + spec->where.len, spec->columns.p, spec->columns.len);
    h->where = (struct fanout_text){text, spec->where.len};
    h->columns = (struct fanout_text){text + spec->where.len, spec->columns.len};
    h->timespan = spec->timespan;
    h->columns_form = spec->columns_form;
    if (spec->where.len || spec->columns.len) {
        struct query_error e;
        h->filter = filter_new(s, (struct filter_text){h->where.p, h->where.len},
                               (struct filter_text){h->columns.p, h->columns.len}, f->cfg.zone,
                               f->time, &f->syms, &e);
        if (!h->filter)
            return err_set(err, e.code == QUERY_LIMIT ? -ENOMEM : -EINVAL, "%s: %s", s->name,
                           e.text);
    }
    return layout_open(&h->layout, s, h->filter, spec->timespan, f->cfg.zone != NULL,
                       !spec->columns_form, err);
}

struct shape *shape_take(struct fanout *f, struct table *t, const struct spec *s, struct err *err)
{
    for (struct shape *h = t->shapes; h; h = h->next)
        if (h->timespan == s->timespan && h->columns_form == s->columns_form &&
            same(&h->where, &s->where) && same(&h->columns, &s->columns)) {
            h->users++;
            return h;
        }
    struct shape *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, -ENOMEM, "no memory for the subscription");
        return NULL;
    }
    if (!shape_open(f, t->schema, h, s, err)) {
        shape_free(h);
        return NULL;
    }
    h->users = 1;
    h->next = t->shapes;
    t->shapes = h;
    return h;
}

void shape_give(struct table *t, struct shape *h)
{
    if (--h->users)
        return;
    struct shape **at = &t->shapes;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    shape_free(h);
}

/* ---- the index ---- */

uint64_t table_stripe_hash(struct fanout *f, uint32_t code)
{
    if (code >= f->syms.view.extra_count)
        return spec_hash("", 0);
    if (code >= f->stripe_hashes) {
        uint32_t n = f->syms.room;
        uint64_t *p = realloc(f->stripe_hash, n * sizeof *p);
        if (!p) {
            const struct view_text *t = &f->syms.view.extra[code];
            return spec_hash(t->p, t->len);
        }
        memset(p + f->stripe_hashes, 0, (n - f->stripe_hashes) * sizeof *p);
        f->stripe_hash = p;
        f->stripe_hashes = n;
    }
    if (!f->stripe_hash[code]) {
        const struct view_text *t = &f->syms.view.extra[code];
        f->stripe_hash[code] = spec_hash(t->p, t->len);
    }
    return f->stripe_hash[code];
}

static struct stripes *stripes_of(struct table *t, uint32_t n, bool make)
{
    for (uint32_t i = 0; i < t->nstripes; i++)
        if (t->stripes[i].n == n)
            return &t->stripes[i];
    if (!make)
        return NULL;
    struct stripes *p = realloc(t->stripes, (t->nstripes + 1) * sizeof *p);
    if (!p)
        return NULL;
    t->stripes = p;
    p = &t->stripes[t->nstripes];
    *p = (struct stripes){.n = n, .by = calloc(n, sizeof *p->by)};
    if (!p->by)
        return NULL;
    t->nstripes++;
    return p;
}

static struct stream_list *symbol_list(struct table *t, uint32_t code, bool make)
{
    if (code < t->symbols && t->by_symbol[code])
        return &t->list[t->by_symbol[code] - 1];
    if (!make)
        return NULL;
    if (code >= t->symbols) {
        uint32_t n = t->symbols ? t->symbols : 256;
        while (n <= code)
            n *= 2;
        uint32_t *p = realloc(t->by_symbol, n * sizeof *p);
        if (!p)
            return NULL;
        memset(p + t->symbols, 0, (n - t->symbols) * sizeof *p);
        t->by_symbol = p;
        t->symbols = n;
    }
    if (t->lists == t->list_room) {
        uint32_t n = t->list_room ? 2 * t->list_room : 16;
        struct stream_list *p = realloc(t->list, n * sizeof *p);
        if (!p)
            return NULL;
        t->list = p;
        t->list_room = n;
    }
    t->list[t->lists] = (struct stream_list){0};
    t->by_symbol[code] = ++t->lists;
    return &t->list[t->lists - 1];
}

static void stripes_free(struct stripes *p)
{
    for (uint32_t k = 0; k < p->n; k++)
        free(p->by[k].s);
    free(p->by);
}

static bool index_stripe(struct stream *s, bool add)
{
    struct table *t = s->table;
    const struct spec *spec = s->group->spec;
    struct stripes *p = stripes_of(t, spec->stripes, add);
    if (!p)
        return !add;
    struct stream_list *l = &p->by[spec->stripe];
    uint32_t before = l->n;
    if (add && !list_add(l, s))
        return false;
    if (!add)
        list_remove(l, s);
    p->users += l->n - before;
    if (!p->users) {
        stripes_free(p);
        *p = t->stripes[--t->nstripes];
    }
    return true;
}

static bool put_in(struct stream_list *l, struct stream *s, bool add)
{
    if (!l)
        return !add;
    if (add)
        return list_add(l, s);
    list_remove(l, s);
    return true;
}

static bool index_symbol(struct fanout *f, struct stream *s, const char *p, uint32_t len, bool add)
{
    f->left_syms += !add;
    const struct spec *spec = s->group->spec;
    if (len == 0 || fanout_stripe_of(p, len, spec->stripes) != spec->stripe)
        return true;
    uint32_t code = filter_syms_code(&f->syms, p, len);
    return code != FILTER_NO_CODE && put_in(symbol_list(s->table, code, add), s, add);
}

/* Into the lists, or out of them. */
static bool index_stream(struct fanout *f, struct stream *s, bool add)
{
    const struct spec *spec = s->group->spec;
    const struct filter *filter = s->shape->filter;
    const struct names *syms = &spec->syms;
    bool ok = true;
    if (filter && filter->never)
        return true;
    if (filter && filter->has_syms) {
        for (uint32_t i = 0; i < filter->nsyms && ok; i++) {
            const struct plan_text *t = &filter->syms[i];
            if (names_has(syms, t->p, t->len))
                ok = index_symbol(f, s, t->p, t->len, add);
        }
        return ok;
    }
    if (!syms->but) {
        for (uint32_t i = 0; i < syms->n && ok; i++)
            ok = index_symbol(f, s, syms->text[i].p, syms->text[i].len, add);
        return ok;
    }
    if (spec->stripes > 1)
        return index_stripe(s, add);
    return put_in(&s->table->all, s, add);
}

static void index_free(struct table *t)
{
    for (uint32_t i = 0; i < t->nstripes; i++)
        stripes_free(&t->stripes[i]);
    for (uint32_t i = 0; i < t->lists; i++)
        free(t->list[i].s);
    free(t->stripes);
    free(t->list);
    free(t->by_symbol);
    free(t->all.s);
    t->stripes = NULL;
    t->list = NULL;
    t->by_symbol = NULL;
    t->all = (struct stream_list){0};
    t->nstripes = t->symbols = t->lists = t->list_room = 0;
}

/* ---- compaction ---- */

/* Codes have changed: constants of expressions are found anew. */
static bool shape_again(struct fanout *f, const struct table *t, struct shape *h)
{
    struct query_error e;
    struct filter *fresh = filter_new(t->schema, (struct filter_text){h->where.p, h->where.len},
                                      (struct filter_text){h->columns.p, h->columns.len},
                                      f->cfg.zone, f->time, &f->syms, &e);
    filter_free(h->filter);
    h->filter = fresh; /* NULL: all streams of it fail */
    return fresh != NULL;
}

void tables_compact(struct fanout *f)
{
    /* texts that the journal has are no burden: they would come back */
    if (f->left_syms < COMPACT_AFTER ||
        f->syms.view.extra_count < f->cfg.dict->known + f->kept_syms + COMPACT_AFTER / 2)
        return;
    f->left_syms = 0;
    for (uint32_t id = 0; id < TABLE_MAX; id++)
        if (f->table[id])
            index_free(f->table[id]);
    filter_syms_free(&f->syms);
    if (f->encoder.slots)
        memset(f->encoder.code, 0, f->encoder.slots * sizeof *f->encoder.code);
    free(f->stripe_hash);
    f->stripe_hash = NULL;
    f->stripe_hashes = 0;
    for (uint32_t id = 0; id < TABLE_MAX; id++) {
        struct table *t = f->table[id];
        for (struct shape *h = t ? t->shapes : NULL; h; h = h->next)
            if (h->filter)
                shape_again(f, t, h);
        for (uint32_t i = 0; t && i < t->streams.n; i++) {
            struct stream *s = t->streams.s[i];
            bool lost = !s->shape->filter && (s->shape->where.len || s->shape->columns.len);
            if (!s->failed && (lost || !index_stream(f, s, true)))
                stream_fail(f, s, "no memory for the subscription");
        }
    }
    f->kept_syms = f->syms.view.extra_count;
}

/* ---- streams ---- */

bool table_stream(struct fanout *f, struct table *t, struct group *g, struct err *err)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -ENOMEM, "no memory for the subscription");
    s->group = g;
    s->table = t;
    s->shape = shape_take(f, t, g->spec, err);
    if (!s->shape) {
        free(s);
        return false;
    }
    if ((!g->spec->conflate || (s->last = last_new(t->schema))) && list_add(&t->streams, s) &&
        list_add(&g->streams, s) && index_stream(f, s, true)) {
        t->wanted = true;
        return true;
    }
    table_unstream(f, s);
    return err_set(err, -ENOMEM, "no memory for the subscription");
}

void table_unindex(struct fanout *f, struct stream *s)
{
    index_stream(f, s, false);
}

void table_unstream(struct fanout *f, struct stream *s)
{
    stream_discard(f, s);
    index_stream(f, s, false);
    list_remove(&s->table->streams, s);
    list_remove(&s->group->streams, s);
    s->table->wanted = s->table->streams.n > 0;
    folded_free(&s->folded, s->shape->layout.ncols);
    shape_give(s->table, s->shape);
    last_free(s->last);
    free(s->row);
    free(s);
}

bool tables_join(struct fanout *f, struct group *g, struct err *err)
{
    for (uint32_t id = TABLE_FIRST; id < f->cfg.dict->schemas->count; id++) {
        const struct schema *s = dictionary_schema(f->cfg.dict, id);
        if (!s || !spec_wants(g->spec, s->name))
            continue;
        struct table *t = f->table[id] ? f->table[id] : table_meet(f, id);
        if (!t) {
            err_set(err, -ENOMEM, "no memory for the subscription");
            goto fail;
        }
        /* an old version may lack what the newest has: its rows are no longer made */
        bool newest = schema_set_find(f->cfg.dict->schemas, s->name) == s;
        struct err own;
        if (!table_stream(f, t, g, &own) && newest) {
            if (err)
                *err = own;
            goto fail;
        }
    }
    return true;
fail:
    while (g->streams.n)
        table_unstream(f, g->streams.s[0]);
    return false;
}

struct table *table_open(struct fanout *f, unsigned id)
{
    const struct schema *s = id < TABLE_MAX ? dictionary_schema(f->cfg.dict, id) : NULL;
    struct table *t = s ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    t->schema = s;
    f->table[id] = t;
    return t;
}

/* Has it failed on another version? It was told so. */
static bool gave_up(const struct group *g, const char *table)
{
    for (uint32_t i = 0; i < g->streams.n; i++)
        if (g->streams.s[i]->failed && !strcmp(g->streams.s[i]->table->schema->name, table))
            return true;
    return false;
}

struct table *table_meet(struct fanout *f, unsigned id)
{
    struct table *t = table_open(f, id);
    struct err err;
    if (!t)
        return NULL;
    for (uint32_t i = 0; i < f->groups; i++) {
        struct group *g = f->group[i];
        if (spec_wants(g->spec, t->schema->name) && !gave_up(g, t->schema->name) &&
            !table_stream(f, t, g, &err))
            group_tell(f, g, err.text);
    }
    return t;
}

void table_close(struct fanout *f, struct table *t)
{
    while (t->streams.n)
        table_unstream(f, t->streams.s[0]);
    index_free(t);
    free(t->streams.s);
    free(t);
}
