/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include "writedown_job.h"

/* ---- sources of a unit ---- */

static void bind(struct wd_source *s, const struct schema *target, const struct schema *from)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    for (unsigned i = 0; i < from->ncols; i++) {
        names[i] = from->col[i].name;
        s->type[i] = from->col[i].type;
    }
    wd_target_bind(target, names, s->type, from->ncols, s->from);
}

static bool captured(uint32_t qualities)
{
    return !(qualities & ~(1u << CLOCK_CAPTURE));
}

static struct wd_source *next_source(struct writedown *w, enum wd_kind kind, uint64_t rows,
                                     struct err *err)
{
    if (w->nsources == WD_SOURCES) {
        err_set(err, -E2BIG, "table %s has more than %u versions in one day",
                w->table[w->unit[w->next].table].schema.name, WD_SOURCES - 1);
        return NULL;
    }
    struct wd_source *s = &w->source[w->nsources];
    *s = (struct wd_source){.kind = kind, .rows = rows};
    if (w->nsources)
        s->first = s[-1].first + s[-1].rows;
    w->nsources++;
    return s;
}

/* The value of one row of the existing partition; col: of its own. */
static bool peek(struct writedown *w, struct wd_existing *x, const int16_t *from, unsigned target,
                 uint64_t row, int64_t *out, struct err *err)
{
    struct wd_source one = {.kind = WD_EXISTING, .rows = 1, .existing = x, .slice = row};
    struct wd_values v;
    *out = PST_NULL_LONG;
    if (from[target] < 0)
        return true;
    memcpy(one.type, x->type, sizeof one.type);
    if (!wd_values(&w->worker[0].reader, 0, &one, 0, (unsigned)from[target], false, &v, err))
        return false;
    *out = *(const int64_t *)v.values;
    return true;
}

/* The first row whose (rank, time) is not below the given one; the rows are in that order. */
static bool lower_bound(struct writedown *w, struct wd_existing *x, const int16_t *from,
                        uint32_t rank, bool timed, int64_t time, uint64_t *out, struct err *err)
{
    uint64_t lo = 0, hi = x->rows;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int64_t sym, t = 0;
        if (!peek(w, x, from, 1, mid, &sym, err) || (timed && !peek(w, x, from, 0, mid, &t, err)))
            return false;
        uint32_t r = w->ranks[wd_code_index(&w->symbols, sym)];
        if (r < rank || (timed && r == rank && t < time))
            lo = mid + 1;
        else
            hi = mid;
    }
    *out = lo;
    return true;
}

static bool existing_source(struct writedown *w, struct wd_table *t, const struct wd_unit *u,
                            struct err *err)
{
    struct wd_existing *x = &t->existing;
    const char *names[SCHEMA_COLUMNS_MAX];
    int16_t from[SCHEMA_COLUMNS_MAX];
    uint64_t a = 0, b = x->rows;
    for (unsigned c = 0; c < x->ncols; c++)
        names[c] = x->name[c];
    wd_target_bind(&t->target, names, x->type, x->ncols, from);
    if (u->ranged) {
        if (!lower_bound(w, x, from, u->rank_lo, u->timed, u->time_lo, &a, err))
            return false;
        if (u->timed && u->time_hi < INT64_MAX
                ? !lower_bound(w, x, from, u->rank_lo, true, u->time_hi + 1, &b, err)
                : !lower_bound(w, x, from, u->rank_hi, false, 0, &b, err))
            return false;
    }
    struct wd_source *s = b > a ? next_source(w, WD_EXISTING, b - a, err) : NULL;
    if (!s)
        return b <= a;
    memcpy(s->from, from, sizeof from);
    memcpy(s->type, x->type, sizeof x->type);
    s->existing = x;
    s->slice = a;
    s->captured = x->has_meta && x->meta.has_hash && x->meta.captured;
    return true;
}

bool wd_unit_sources(struct writedown *w, const struct wd_unit *u, struct err *err)
{
    struct wd_table *t = &w->table[u->table];
    struct wd_source *s;
    w->nsources = 0;
    w->unit_new = 0;
    for (unsigned i = 0; i < WRITEDOWN_THREADS; i++)
        w->worker[i].reader.source = NULL; /* source[] is used again: not the chunk it knew */
    if (t->merge && !existing_source(w, t, u, err))
        return false;
    for (unsigned i = 0; i < w->nviews; i++) {
        struct rdb_part_view *v = w->view[i];
        if (!v->rows || strcmp(v->schema.name, t->schema.name) != 0)
            continue;
        if (!(s = next_source(w, WD_RDB, v->rows, err)))
            return false;
        s->view = v;
        s->captured = captured(v->qualities);
        bind(s, &t->target, &v->schema);
        w->unit_new += v->rows;
    }
    for (unsigned i = 0; w->job.log && i < w->log.parts; i++) {
        struct wd_logpart *p = w->log.part[i];
        if (p->table != u->table || !p->rows)
            continue;
        if (!(s = next_source(w, WD_LOG, p->rows, err)))
            return false;
        s->log = p;
        s->captured = captured(p->qualities);
        bind(s, &t->target, &p->schema);
        w->unit_new += p->rows;
    }
    return true;
}

/* ---- columns of a unit ---- */

struct task {
    struct writedown *w;
    struct wd_worker *worker;
    unsigned col;
    bool ok;
    pthread_t thread;
    bool started;
};

static bool single_unit(const struct writedown *w)
{
    return !w->unit[w->next].ranged;
}

/* s# of `time` is true when all rows have one symbol. */
static uint8_t attribute(const struct writedown *w, const struct wd_table *t, unsigned col)
{
    return col == 0 && t->target.col[0].type == PST_TIMESTAMP && single_unit(w) &&
           w->order.ngroups == 1;
}

static void *run(void *arg)
{
    struct task *k = arg;
    struct writedown *w = k->w;
    struct wd_table *t = &w->table[w->unit[w->next].table];
    k->ok = wd_column_write(k->worker, &t->column[k->col], t->dir, &t->target, k->col, w->source,
                            w->nsources, &w->order, &w->symbols, attribute(w, t, k->col),
                            single_unit(w), &w->cancel, &k->worker->err);
    if (k->worker != &w->worker[0] && k->ok)
        k->ok = wd_out_wait(k->worker, 2, &k->worker->err);
    return NULL;
}

bool wd_unit_columns(struct writedown *w, struct err *err)
{
    const struct wd_table *t = &w->table[w->unit[w->next].table];
    struct task task[WRITEDOWN_THREADS];
    unsigned n = 0;
    for (; n < w->workers && w->column < t->target.ncols; n++)
        task[n] = (struct task){.w = w, .worker = &w->worker[n], .col = w->column++};
    for (unsigned i = 1; i < n; i++)
        task[i].started = !pthread_create(&task[i].thread, NULL, run, &task[i]);
    run(&task[0]);
    bool ok = task[0].ok;
    if (!ok)
        *err = w->worker[0].err;
    for (unsigned i = 1; i < n; i++) {
        if (task[i].started)
            pthread_join(task[i].thread, NULL);
        else
            run(&task[i]);
        if (ok && !task[i].ok) {
            *err = task[i].worker->err;
            ok = false;
        }
    }
    return ok;
}

void wd_unit_end(struct writedown *w)
{
    wd_order_free(&w->order);
    if (w->hashing)
        wd_hash_free(&w->hash);
    w->hashing = false;
}

/* ---- a table ---- */

bool wd_table_begin(struct writedown *w, struct wd_table *t, struct err *err)
{
    t->begun = true;
    t->started = w->cfg.io->ops->monotonic(w->cfg.io);
    return hdb_stage_table(&w->stage, t->schema.name, t->dir, err);
}

static bool fill_meta(const struct writedown *w, const struct wd_table *t, struct hdb_meta *m,
                      struct err *err)
{
    const struct wd_facts f = {.date = w->job.day,
                               .calendar = w->job.calendar,
                               .producer = w->cfg.producer,
                               .rows = t->rows,
                               .epoch = w->job.epoch,
                               .symbols = w->job.sym->count,
                               .sum = &t->out,
                               .time_min = t->time_min,
                               .time_max = t->time_max};
    struct hdb_source s = {.instance = w->job.instance, .first = w->job.first, .end = w->job.end};
    snprintf(s.kind, sizeof s.kind, "%s", w->job.kind);
    wd_meta_make(m, &t->target, &f);
    return wd_meta_sources(m, t->merge && t->existing.has_meta ? &t->existing.meta : NULL, &s, err);
}

bool wd_table_finish(struct writedown *w, struct wd_table *t, struct err *err)
{
    struct io *io = w->cfg.io;
    struct writedown_table_result *r = &w->tables[t - w->table];
    struct wd_worker *k = &w->worker[0];
    struct hdb_meta *m = malloc(sizeof *m);
    if (!m)
        return err_set(err, -ENOMEM, "no memory for a marker");
    bool ok = wd_out_wait(k, 2, err);
    ok = ok && fill_meta(w, t, m, err);
    if (ok && !t->rows) {
        r->empty = true;
        ok = hdb_stage_empty(&w->stage, &t->target, m, err);
    } else if (ok) {
        const char *names[SCHEMA_COLUMNS_MAX];
        uint64_t bytes = 0;
        for (unsigned c = 0; ok && c < t->target.ncols; c++) {
            names[c] = t->target.col[c].name;
            bytes += kdb_file_bytes(t->target.col[c].type, t->rows) + t->column[c].bytes;
            if (t->column[c].fd >= 0)
                ok = wd_column_close(
                    k, &t->column[c], &t->target, c,
                    c == 0 && t->ngroups == 1 && t->target.col[0].type == PST_TIMESTAMP, err);
        }
        r->bytes = bytes;
        ok = ok && hdb_index_write(io, t->dir, t->group, t->ngroups, t->rows, true, false, err) &&
             hdb_meta_write(m, io, t->dir, false, false, err) &&
             hdb_stage_names(&w->stage, t->schema.name, names, t->target.ncols, err);
    }
    r->rows = t->rows;
    r->added = t->in.rows;
    r->in = t->in;
    memcpy(r->in.table, t->schema.name, SCHEMA_NAME_MAX);
    r->in.day = (uint16_t)w->job.day;
    r->hash = m->hash;
    r->captured = m->captured;
    r->has_hash = true;
    r->seconds = (double)(io->ops->monotonic(io) - t->started) / 1e9;
    free(m);
    free(t->group);
    t->group = NULL;
    return ok;
}
