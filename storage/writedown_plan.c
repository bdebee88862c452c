/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>
#include "core/civil.h"
#include "writedown_job.h"

bool wd_already(const struct writedown *w, const struct wd_table *t)
{
    return t->exists && t->existing.has_meta && w->job.end &&
           hdb_meta_covers(&t->existing.meta, w->job.instance, w->job.first, w->job.end);
}

static bool open_existing(struct writedown *w, struct wd_table *t, const char *day_dir,
                          struct err *err)
{
    char path[1200], names[1210];
    struct io_stat st;
    snprintf(path, sizeof path, "%.1100s/%s", day_dir, t->schema.name);
    snprintf(names, sizeof names, "%s/.d", path);
    int r = w->cfg.io->ops->stat(w->cfg.io, names, &st);
    if (r == -ENOENT || r == -ENOTDIR)
        return true; /* without `.d` there is no table */
    if (r < 0)
        return err_set(err, r, "%s: cannot be looked at: %s", names, strerror(-r));
    t->exists = true;
    return wd_existing_open(&t->existing, path, err);
}

bool wd_plan_tables(struct writedown *w, const struct writedown_job *job, struct err *err)
{
    char dir[1024];
    bool date = hdb_date_dir(w->cfg.hdb, job->day, dir);
    w->table = calloc(job->ntables + 1, sizeof *w->table);
    w->tables = calloc(job->ntables + 1, sizeof *w->tables);
    if (!w->table || !w->tables)
        return err_set(err, -ENOMEM, "no memory for %u tables", job->ntables);
    for (unsigned i = 0; i < job->ntables; i++) {
        struct wd_table *t = &w->table[i];
        t->schema = *job->tables[i].schema;
        t->ours = job->tables[i].ours;
        for (unsigned c = 0; c < SCHEMA_COLUMNS_MAX; c++)
            t->column[c].fd = t->column[c].bytes_fd = -1;
        memcpy(w->tables[i].name, t->schema.name, SCHEMA_NAME_MAX);
        w->ntables = i + 1;
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(w->table[k].schema.name, t->schema.name))
                return err_set(err, -EINVAL, "table %s is named twice in one job", t->schema.name);
        if (date && !open_existing(w, t, dir, err))
            return false;
    }
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct rdb_part_view *x = *(struct rdb_part_view *const *)a,
                               *y = *(struct rdb_part_view *const *)b;
    uint64_t p = load_relaxed(&x->part->first_position), q = load_relaxed(&y->part->first_position);
    return p < q ? -1 : p > q ? 1 : (int)x->slot - (int)y->slot;
}

static struct wd_table *table_named(struct writedown *w, const char *name)
{
    for (unsigned i = 0; i < w->ntables; i++)
        if (!strcmp(w->table[i].schema.name, name))
            return &w->table[i];
    return NULL;
}

bool wd_plan_views(struct writedown *w, struct err *err)
{
    const struct writedown_job *j = &w->job;
    w->view = calloc(j->nparts + 1, sizeof *w->view);
    if (!w->view)
        return err_set(err, -ENOMEM, "no memory for %u parts", j->nparts);
    for (unsigned i = 0; i < j->nparts; i++) {
        struct rdb_part_view *v = malloc(sizeof *v);
        if (!v)
            return err_set(err, -ENOMEM, "no memory for %u parts", j->nparts);
        w->view[w->nviews++] = v;
        if (!rdb_part_open(j->map, j->parts[i].slot, j->parts[i].table, (uint32_t)j->day,
                           j->parts[i].rows, v, err))
            return false;
        struct wd_table *t = table_named(w, v->schema.name);
        if (t)
            t->new_rows += v->rows;
    }
    qsort(w->view, w->nviews, sizeof *w->view, by_first);
    return true;
}

static bool sources_inside(const struct writedown *w, const struct hdb_meta *m, uint64_t end)
{
    for (unsigned i = 0; i < m->nsources; i++)
        if (hdb_source_load(&m->source[i]) || m->source[i].instance != w->job.instance ||
            m->source[i].first < w->job.first || m->source[i].end > end)
            return false;
    return m->nsources > 0;
}

/* Has it rows of a batch? instance 0: of any. */
static bool loaded_by(const struct hdb_meta *m, uint64_t instance)
{
    for (unsigned i = 0; i < m->nsources; i++)
        if (hdb_source_load(&m->source[i]) && (!instance || m->source[i].instance == instance))
            return true;
    return false;
}

bool wd_plan_existing(struct writedown *w, struct err *err)
{
    char day[CIVIL_TEXT];
    civil_format(w->job.day, day);
    for (unsigned i = 0; i < w->ntables; i++) {
        struct wd_table *t = &w->table[i];
        struct writedown_table_result *r = &w->tables[i];
        const struct wd_existing *x = &t->existing;
        if (!t->exists)
            continue;
        bool already = wd_already(w, t);
        if ((already && !w->job.rebuild) || (!t->new_rows && (!w->job.rebuild || x->rows))) {
            /* in already; or nothing to add (a rebuild without a row takes nothing away) */
            t->leave = true;
            r->already = already;
            r->rows = x->rows;
            r->has_hash = x->has_meta && x->meta.has_hash;
            if (r->has_hash) {
                r->hash = x->meta.hash;
                r->captured = x->meta.captured;
            }
        } else if (!x->rows) {
            r->replaced = true;
        } else if (w->job.rebuild) {
            uint64_t end = w->job.end ? w->job.end : UINT64_MAX;
            if (w->job.policy != WRITEDOWN_SUPERSEDE &&
                !(x->has_meta && sources_inside(w, &x->meta, end)))
                return err_set(err, -EEXIST,
                               "table %s of %s holds rows that %s: a rebuild would lose them; "
                               "existing_partition: supersede allows it",
                               t->schema.name, day,
                               x->has_meta && loaded_by(&x->meta, 0) ? "were loaded from files"
                                                                     : "are not of this log");
            r->replaced = true;
        } else if (t->ours || w->job.policy == WRITEDOWN_MERGE ||
                   (x->has_meta && loaded_by(&x->meta, w->job.instance))) {
            t->merge = r->merged = true;
        } else if (w->job.policy == WRITEDOWN_SUPERSEDE) {
            r->replaced = true;
        } else {
            return err_set(err, -EEXIST,
                           "table %s of %s exists and was not written by Penstock: set "
                           "existing_partition to merge or supersede, or move it away",
                           t->schema.name, day);
        }
    }
    return true;
}

static void names_of_schema(const struct schema *s, const char **names, uint8_t *types)
{
    for (unsigned i = 0; i < s->ncols; i++) {
        names[i] = s->col[i].name;
        types[i] = s->col[i].type;
    }
}

static bool add_schema(struct wd_table *t, const struct schema *s, struct err *err)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    uint8_t types[SCHEMA_COLUMNS_MAX];
    names_of_schema(s, names, types);
    return wd_target_add(&t->target, names, types, s->ncols, err);
}

bool wd_plan_targets(struct writedown *w, struct err *err)
{
    for (unsigned i = 0; i < w->ntables; i++) {
        struct wd_table *t = &w->table[i];
        t->target = t->schema;
        if (t->merge) {
            const char *names[SCHEMA_COLUMNS_MAX];
            for (unsigned c = 0; c < t->existing.ncols; c++)
                names[c] = t->existing.name[c];
            if (!wd_target_add(&t->target, names, t->existing.type, t->existing.ncols, err))
                return false;
        }
    }
    for (unsigned i = 0; i < w->nviews; i++) {
        struct wd_table *t = table_named(w, w->view[i]->schema.name);
        if (t && w->view[i]->rows && !add_schema(t, &w->view[i]->schema, err))
            return false;
    }
    for (unsigned i = 0; w->job.log && i < w->log.versions; i++) {
        const struct schema *s = dictionary_schema(&w->log.cursor.dict, w->log.version[i]);
        struct wd_table *t = s ? table_named(w, s->name) : NULL;
        if (t && !add_schema(t, s, err))
            return false;
    }
    return true;
}

bool wd_plan_space(struct writedown *w, struct err *err)
{
    uint64_t need = 0, have = 0;
    for (unsigned i = 0; i < w->ntables; i++) {
        struct wd_table *t = &w->table[i];
        if (t->leave)
            continue;
        uint64_t width = 0, rows = t->new_rows + (t->merge ? t->existing.rows : 0);
        for (unsigned c = 0; c < t->target.ncols; c++)
            width += kdb_width(t->target.col[c].type);
        t->estimate = rows * width;
        if (!t->target.nkeys)
            need += t->estimate;
    }
    for (unsigned i = 0; i < w->nviews; i++)
        need += w->view[i]->rows ? w->view[i]->string_bytes : 0;
    const char *disk = hdb_disk(w->cfg.hdb, hdb_disk_of(w->cfg.hdb, w->job.day));
    if (w->cfg.io->ops->free_space(w->cfg.io, disk, &have) < 0 || need <= have)
        return true;
    return err_set(err, -ENOSPC,
                   "%s: the partition needs %llu MB and %llu MB are free: make room; it is tried "
                   "again",
                   disk, (unsigned long long)(need >> 20) + 1, (unsigned long long)(have >> 20));
}

static bool add_unit(struct writedown *w, const struct wd_unit *u, struct err *err)
{
    if (w->nunits == w->units_room) {
        unsigned room = w->units_room ? 2 * w->units_room : 64;
        struct wd_unit *p = realloc(w->unit, room * sizeof *p);
        if (!p)
            return err_set(err, -ENOMEM, "no memory for %u units", room);
        w->unit = p;
        w->units_room = room;
    }
    w->unit[w->nunits++] = *u;
    return true;
}

bool wd_plan_units(struct writedown *w, struct err *err)
{
    for (unsigned i = 0; i < w->ntables; i++)
        if (!w->table[i].leave && !add_unit(w, &(struct wd_unit){.table = i}, err))
            return false;
    return true;
}

/* The highest symbol id that a row in memory uses, + 1. */
uint32_t wd_plan_ids(struct writedown *w, struct err *err, bool *ok)
{
    uint32_t high = 0;
    *ok = true;
    for (unsigned i = 0; i < w->nviews; i++) {
        const struct rdb_part_view *v = w->view[i];
        struct rdb_chunk_view k;
        for (uint32_t c = 0; c < v->chunks; c++) {
            if (!rdb_chunk_open(v, c, &k)) {
                *ok = err_set(err, -EBADMSG, "the RDB's memory is damaged: chunk %u of table %s", c,
                              v->schema.name);
                return 0;
            }
            for (unsigned j = 0; j < v->schema.ncols; j++) {
                if (v->schema.col[j].type != PST_SYMBOL)
                    continue;
                const uint32_t *id = k.col[j];
                uint32_t m = high;
                for (uint32_t r = 0; r < k.rows; r++) /* id + 1: the null symbol becomes 0 */
                    m = id[r] + 1 > m ? id[r] + 1 : m;
                high = m;
            }
        }
    }
    return high;
}

/* ---- a day of the log that does not fit ---- */

struct ranges {
    struct writedown *w;
    uint64_t room, used; /* of the pass */
    unsigned pass;
};

/* Starts a pass if `bytes` more do not fit this one, or the table has a unit in it already. */
static void fit(struct ranges *r, unsigned table, uint64_t bytes)
{
    bool twice = false;
    for (unsigned i = r->w->nunits; i-- && r->w->unit[i].pass == r->pass;)
        twice |= r->w->unit[i].table == table;
    if (twice || (r->used && r->used + bytes > r->room)) {
        r->pass++;
        r->used = 0;
    }
    r->used += bytes;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* One symbol alone is too much: cut at quantiles of its times. */
static bool cut_times(struct ranges *r, struct wd_unit u, struct wd_count *c, struct err *err)
{
    uint64_t pieces = 2 * (wd_log_cost(c->rows, c->bytes) / r->room + 1);
    int64_t from = INT64_MIN;
    qsort(c->sample, c->samples, sizeof *c->sample, by_time);
    u.timed = true;
    for (uint64_t p = 1; p <= pieces; p++) {
        int64_t to = p == pieces ? INT64_MAX : c->sample[p * c->samples / pieces];
        if (p < pieces && (to <= from || to == INT64_MIN))
            continue;
        u.time_lo = from;
        u.time_hi = p == pieces ? INT64_MAX : to - 1;
        fit(r, u.table, r->room); /* alone: the quantiles are of a sample */
        u.pass = r->pass;
        if (!add_unit(r->w, &u, err))
            return false;
        from = to;
    }
    return true;
}

bool wd_plan_ranges(struct writedown *w, struct err *err)
{
    struct ranges r = {.w = w, .room = w->log.region / 4 * 3, .pass = w->log.passes};
    const struct wd_symbols *s = &w->symbols;
    uint32_t *count = calloc(s->codes, sizeof *count), *order = NULL;
    w->ranks = calloc(s->codes, sizeof *w->ranks);
    bool ok = count && w->ranks;
    if (!ok)
        err_set(err, -ENOMEM, "no memory for the ranks of %u symbols", s->codes);
    for (uint32_t i = 0; ok && i < s->codes; i++)
        count[i] = 1;
    int64_t n = ok ? wd_rank(s, count, &order) : -1;
    for (int64_t i = 0; i < n; i++)
        w->ranks[order[i]] = (uint32_t)i;
    for (unsigned i = 0; ok && i < w->ntables; i++) {
        struct wd_table *t = &w->table[i];
        struct wd_log_table *l = &w->log.table[i];
        if (t->leave)
            continue;
        struct wd_unit u = {.table = i};
        uint64_t cost = wd_log_cost(l->rows, l->bytes);
        if (cost <= r.room) {
            fit(&r, i, cost);
            u.pass = r.pass;
            ok = add_unit(w, &u, err);
            continue;
        }
        bool by_sym = !t->target.nkeys;
        for (unsigned k = 0; k < t->target.nkeys; k++)
            by_sym |= t->target.keys[k] == 1;
        if (!by_sym || (t->merge && !t->existing.meta.sorted)) {
            ok = err_set(err, -ENOMEM,
                         "table %s needs %llu MB to be ordered from the log and its keys or what "
                         "exists do not let it be cut: raise writedown memory",
                         t->schema.name, (unsigned long long)(l->bytes >> 20));
            continue;
        }
        u.ranged = true;
        uint64_t bytes = 0, rows = 0;
        u.rank_lo = 0;
        for (int64_t k = 0; ok && k <= n; k++) {
            uint32_t code = k < n ? order[k] : 0;
            struct wd_count *c = k < n && code < l->counts ? &l->count[code] : NULL;
            uint64_t more = c ? c->bytes : 0, many = c ? c->rows : 0;
            bool huge = wd_log_cost(many, more) > r.room;
            if (k == n || huge || wd_log_cost(rows + many, bytes + more) > r.room) {
                u.rank_hi = (uint32_t)k;
                if (u.rank_hi > u.rank_lo) {
                    fit(&r, i, wd_log_cost(rows, bytes));
                    u.pass = r.pass;
                    ok = add_unit(w, &u, err);
                }
                u.rank_lo = (uint32_t)k;
                bytes = rows = 0;
            }
            if (ok && huge) {
                struct wd_unit one = u;
                one.rank_lo = (uint32_t)k;
                one.rank_hi = (uint32_t)k + 1;
                if (t->target.nkeys || !c->samples)
                    ok = err_set(err, -ENOMEM,
                                 "table %s: one symbol's rows need %llu MB: raise writedown memory",
                                 t->schema.name, (unsigned long long)(more >> 20));
                else
                    ok = cut_times(&r, one, c, err);
                u.rank_lo = (uint32_t)k + 1;
            } else {
                bytes += more;
                rows += many;
            }
        }
    }
    free(count);
    free(order);
    return ok && n >= 0;
}
