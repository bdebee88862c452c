/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "view_build.h"

const char *view_sym_text(const struct view_syms *s, uint32_t code, uint32_t *len)
{
    *len = 0;
    if (code < s->journal_count)
        return symbols_text(s->journal, code, len);
    code -= s->journal_count;
    if (code >= s->extra_count)
        return "";
    *len = s->extra[code].len;
    return s->extra[code].p;
}

/* FNV-1a: the table is small and built once a cut. */
static uint32_t text_hash(const char *p, uint32_t len)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3ull;
    return (uint32_t)(h ^ h >> 32);
}

uint32_t view_sym_find(const struct view_syms *s, const char *text, uint32_t len)
{
    if (len == 0)
        return PST_NULL_SYMBOL;
    if (s->journal) {
        uint32_t id = symbols_find(s->journal, text, len);
        if (id < s->journal_count)
            return id;
    }
    if (!s->extra_count)
        return PST_NULL_SYMBOL;
    for (uint32_t slot = text_hash(text, len) & (s->extra_slots - 1);;
         slot = (slot + 1) & (s->extra_slots - 1)) {
        uint32_t i = s->extra_hash[slot];
        if (!i)
            return PST_NULL_SYMBOL;
        if (s->extra[i - 1].len == len && !memcmp(s->extra[i - 1].p, text, len))
            return s->journal_count + i - 1;
    }
}

bool view_syms_index(struct view_syms *s)
{
    free(s->extra_hash);
    s->extra_hash = NULL;
    s->extra_slots = 0;
    if (!s->extra_count)
        return true;
    uint32_t slots = 16;
    while (slots < 3 * (uint64_t)s->extra_count)
        slots *= 2;
    s->extra_hash = calloc(slots, sizeof *s->extra_hash);
    if (!s->extra_hash)
        return false;
    s->extra_slots = slots;
    for (uint32_t i = 0; i < s->extra_count; i++) {
        uint32_t slot = text_hash(s->extra[i].p, s->extra[i].len) & (slots - 1);
        while (s->extra_hash[slot])
            slot = (slot + 1) & (slots - 1);
        s->extra_hash[slot] = i + 1;
    }
    return true;
}

bool view_syms_add(struct view_syms *s)
{
    if (2 * (uint64_t)s->extra_count > s->extra_slots)
        return view_syms_index(s);
    const struct view_text *t = &s->extra[s->extra_count - 1];
    uint32_t slot = text_hash(t->p, t->len) & (s->extra_slots - 1);
    while (s->extra_hash[slot])
        slot = (slot + 1) & (s->extra_slots - 1);
    s->extra_hash[slot] = s->extra_count;
    return true;
}

int view_column(const struct view *v, const char *name)
{
    for (uint32_t i = 0; i < v->ncols; i++)
        if (!strcmp(v->col[i].name, name))
            return (int)i;
    return -1;
}

bool view_open(struct view *v, uint32_t part, const uint16_t *cols, unsigned ncols, struct err *err)
{
    struct view_part *p = &v->part[part];
    if (!p->ops->open(v, p, cols, ncols, err))
        return false;
    if (p->rows >= UINT32_MAX)
        return err_set(err, -EFBIG,
                       "%s of one day has %llu rows, more than the 4,294,967,294 that "
                       "a query can number",
                       v->name, (unsigned long long)p->rows);
    p->open = true;
    return true;
}

bool view_index(struct view *v, uint32_t part, struct err *err)
{
    struct view_part *p = &v->part[part];
    return p->parted || !p->ops->index || p->ops->index(v, p, err);
}

void view_free(struct view *v)
{
    if (!v)
        return;
    for (uint32_t i = 0; i < v->nparts; i++)
        if (v->part[i].ops && v->part[i].ops->release)
            v->part[i].ops->release(&v->part[i]);
    free(v->part);
    free(v->owner);
    free(v);
}

struct view *view_new(const char *name, uint32_t parts)
{
    struct view *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->col[0].name, sizeof v->col[0].name, "date");
    v->col[0].type = PST_DATE;
    v->ncols = 1;
    v->time_col = v->sym_col = -1;
    v->part = calloc(parts ? parts : 1, sizeof *v->part);
    if (!v->part) {
        free(v);
        return NULL;
    }
    return v;
}

bool view_add_column(struct view *v, const char *name, uint8_t type)
{
    if (v->ncols == VIEW_COLUMNS_MAX)
        return false;
    struct view_column *c = &v->col[v->ncols];
    snprintf(c->name, sizeof c->name, "%s", name);
    c->type = type;
    if (!strcmp(name, "time") && type != PST_SYMBOL && type != PST_STRING && type != PST_GUID)
        v->time_col = (int32_t)v->ncols;
    if (!strcmp(name, "sym") && type == PST_SYMBOL)
        v->sym_col = (int32_t)v->ncols;
    v->ncols++;
    return true;
}

static unsigned span_width(uint8_t encoding, uint8_t stored)
{
    return encoding == VIEW_RAW ? type_width(stored) : 8;
}

struct view_span view_span(const struct view_part *p, const struct view_chunk *c, uint32_t col)
{
    struct view_span s = {.aux = p->aux[col],
                          .aux_bytes = p->aux_bytes[col],
                          .row = c->first,
                          .encoding = p->encoding[col],
                          .stored = p->stored[col]};
    if (s.encoding == VIEW_CONST)
        s.data = p->base[col];
    else if (c->data)
        s.data = c->data[col];
    else if (p->base[col])
        s.data =
            (const uint8_t *)p->base[col] + (uint64_t)c->first * span_width(s.encoding, s.stored);
    if (!s.data)
        s.encoding = VIEW_ABSENT;
    return s;
}

const struct view_run *view_run_of(const struct view_part *p, uint32_t code)
{
    uint32_t lo = 0, hi = p->nruns;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct view_run *r = &p->run[p->run_by_code[mid]];
        if (r->code == code)
            return r;
        if (r->code < code)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

uint64_t view_list(const struct view_part *p, uint32_t code, struct view_list *l)
{
    memset(l, 0, sizeof *l);
    return p->ops->list(p, code, l);
}

bool view_list_add(struct view_list *l, const uint32_t *ids, uint32_t n)
{
    if (l->nblocks == l->room) {
        uint32_t room = l->room ? 2 * l->room : 16;
        const uint32_t **b = realloc(l->block, room * sizeof *b);
        if (!b)
            return false;
        l->block = b;
        uint32_t *c = realloc(l->count, room * sizeof *c);
        if (!c)
            return false;
        l->count = c;
        l->room = room;
    }
    l->block[l->nblocks] = ids;
    l->count[l->nblocks++] = n;
    l->rows += n;
    return true;
}

void view_list_free(struct view_list *l)
{
    free(l->block);
    free(l->count);
    memset(l, 0, sizeof *l);
}

bool view_list_last(const struct view_part *p, uint32_t code, uint32_t *row)
{
    p->ops->lasts(p, &code, 1, row);
    return *row != UINT32_MAX;
}

void view_list_lasts(const struct view_part *p, const uint32_t *code, uint32_t n, uint32_t *row)
{
    p->ops->lasts(p, code, n, row);
}

uint64_t view_list_count(const struct view_part *p, uint32_t code)
{
    return p->ops->count(p, code);
}

bool view_keyed_rows(const struct view_part *p, uint32_t **rows, uint32_t *n)
{
    return p->ops->keyed(p, rows, n);
}

static int by_code(const void *a, const void *b, void *arg)
{
    const struct view_run *r = arg;
    uint32_t x = r[*(const uint32_t *)a].code, y = r[*(const uint32_t *)b].code;
    return x < y ? -1 : x > y;
}

bool view_runs_set(struct view_part *p, const struct view_run *run, uint32_t n)
{
    p->run_by_code = malloc((n ? n : 1) * sizeof *p->run_by_code);
    if (!p->run_by_code)
        return false;
    for (uint32_t i = 0; i < n; i++)
        p->run_by_code[i] = i;
    bool sorted = true;
    for (uint32_t i = 1; i < n; i++)
        sorted &= run[i - 1].code < run[i].code;
    if (!sorted)
        qsort_r(p->run_by_code, n, sizeof *p->run_by_code, by_code, (void *)run);
    p->run = run;
    p->nruns = n;
    p->parted = true;
    return true;
}

bool view_part_columns(const struct view *v, struct view_part *p)
{
    p->base = calloc(v->ncols, sizeof *p->base);
    p->encoding = calloc(2, v->ncols);
    p->aux = calloc(v->ncols, sizeof *p->aux);
    p->aux_bytes = calloc(v->ncols, sizeof *p->aux_bytes);
    if (!p->base || !p->encoding || !p->aux || !p->aux_bytes)
        return false;
    p->stored = p->encoding + v->ncols;
    memset(p->encoding, VIEW_ABSENT, v->ncols);
    p->encoding[VIEW_DATE] = VIEW_CONST;
    p->stored[VIEW_DATE] = PST_DATE;
    p->base[VIEW_DATE] = &p->date;
    return true;
}

void view_part_free(struct view_part *p)
{
    free(p->chunk);
    free(p->base);
    free(p->encoding);
    free(p->aux);
    free(p->aux_bytes);
    free(p->run_by_code);
}

bool view_converts(uint8_t want, uint8_t have)
{
    if (want == have)
        return true;
    switch (want) {
    case PST_SHORT:
        return have == PST_BYTE || have == PST_BOOLEAN;
    case PST_INT:
        return have == PST_SHORT || view_converts(PST_SHORT, have);
    case PST_LONG:
        return have == PST_INT || view_converts(PST_INT, have);
    case PST_REAL:
        return have == PST_BYTE || have == PST_SHORT;
    case PST_FLOAT:
        return have == PST_INT || have == PST_REAL || view_converts(PST_REAL, have);
    case PST_TIMESTAMP:
        return have == PST_DATE;
    case PST_STRING:
        return have == PST_CHAR;
    default:
        return false;
    }
}
