/* SPDX-License-Identifier: Apache-2.0 */
/* Parts on disk: columns and parted index through hdb.h, opened when a query needs them. */
#include <errno.h>

#include "hdb.h"
#include "view_build.h"

struct disk_source {
    const struct hdb_table *table;
    const struct hdb_part *part; /* NULL: not opened, or the date has no such table */
    const struct view_hdb_codes *codes;
    uint64_t epoch; /* of the cut; UINT64_MAX none */
    struct view_run *run;
    bool indexed, beside;
    uint8_t opened[VIEW_COLUMNS_MAX];
};

/* Symbols whose names are gone would read as nulls: no answer is better than that one. */
static bool names_lost(const struct disk_source *s, uint64_t index, struct err *err)
{
    return err_set(err, -EBADMSG,
                   "%s has symbol %llu, and the sym file has %llu names: it has lost some; restore "
                   "the newest sym.DATE of the database's pst$",
                   s->part->path, (unsigned long long)index, (unsigned long long)s->codes->count);
}

static bool open_column(struct view *v, struct view_part *p, uint16_t col, struct err *err)
{
    struct disk_source *s = p->source;
    int k = hdb_table_column(s->table, v->col[col].name);
    s->opened[col] = 1;
    if (k < 0)
        return true; /* newer than the database: typed null */
    const struct hdb_column *c = hdb_part_column(s->part, (unsigned)k, err);
    if (!c)
        return false;
    if (c->state == HDB_MISSING || !c->values)
        return true;
    if (!view_converts(v->col[col].type, c->type))
        return err_set(err, -ENOTSUP,
                       "%s.%s is of type %s now and %s in %s; such a column cannot "
                       "be read as one",
                       v->name, v->col[col].name, type_name(v->col[col].type), type_name(c->type),
                       s->part->path);
    if (c->type == PST_SYMBOL && s->part->meta && s->part->meta->symbols > s->codes->count)
        return names_lost(s, s->part->meta->symbols - 1, err);
    p->stored[col] = c->type;
    p->encoding[col] = c->type == PST_SYMBOL   ? VIEW_ENUM
                       : c->type == PST_STRING ? VIEW_NESTED
                                               : VIEW_RAW;
    p->base[col] = c->values;
    p->aux[col] = c->bytes;
    p->aux_bytes[col] = c->nbytes;
    if (col == v->time_col && c->attribute == 1 && c->type == PST_TIMESTAMP)
        p->ascending = p->chunk[0].ascending = true;
    return true;
}

static bool hdb_open_part(struct view *v, struct view_part *p, const uint16_t *cols, unsigned ncols,
                          struct err *err)
{
    struct disk_source *s = p->source;
    if (!p->open) {
        struct err why = {0};
        s->part = hdb_part_get(s->table, p->date, &why);
        if (!s->part && why.code != -ENOENT)
            return err_set(err, why.code, "%s", why.text);
        if (s->part && s->part->meta && s->part->meta->epoch > s->epoch)
            return err_set(err, -ESTALE, "%s was published behind the query's cut", s->part->path);
        p->rows = s->part ? s->part->rows : 0;
        p->keyed = s->beside && v->nkeys;
        p->map = s->codes->map;
        p->map_count = s->codes->count;
        p->chunk = calloc(1, sizeof *p->chunk);
        if (!p->chunk || !view_part_columns(v, p))
            return err_set(err, -ENOMEM, "no memory to open %s of one day", v->name);
        if (s->part && s->part->meta && s->part->meta->has_times) {
            p->time_min = s->part->meta->time_min;
            p->time_max = s->part->meta->time_max;
        }
        p->nchunks = p->rows ? 1 : 0;
        p->first_shift = p->shift = 31;
        p->chunk[0].rows = p->rows > UINT32_MAX ? UINT32_MAX : (uint32_t)p->rows;
        p->chunk[0].time_min = p->time_min;
        p->chunk[0].time_max = p->time_max;
    }
    for (unsigned i = 0; s->part && p->rows && i < ncols; i++)
        if (cols[i] != VIEW_DATE && !s->opened[cols[i]] && !open_column(v, p, cols[i], err))
            return false;
    return true;
}

static bool hdb_index_part(struct view *v, struct view_part *p, struct err *err)
{
    struct disk_source *s = p->source;
    if (s->indexed || !s->part || v->sym_col < 0)
        return true;
    struct err why = {0};
    const struct hdb_index *x = hdb_part_index(s->part, &why);
    s->indexed = true;
    if (!x)
        return why.code == -EINVAL || why.code == -ENOENT || err_set(err, why.code, "%s", why.text);
    if (x->rows != p->rows || x->ngroups > UINT32_MAX)
        return true;
    s->run = malloc((x->ngroups + 1) * sizeof *s->run);
    if (!s->run)
        return err_set(err, -ENOMEM, "no memory for the parted index of %s", s->part->path);
    for (uint64_t i = 0; i < x->ngroups; i++) {
        uint64_t sym = (uint64_t)x->group[i].sym;
        if (sym >= s->codes->count && x->group[i].sym != PST_NULL_LONG)
            return names_lost(s, sym, err);
        uint32_t code = sym >= s->codes->count ? PST_NULL_SYMBOL
                        : s->codes->map        ? s->codes->map[sym]
                                               : (uint32_t)sym;
        s->run[i] =
            (struct view_run){code, (uint32_t)x->group[i].first, (uint32_t)x->group[i].rows};
    }
    p->run_ascends = x->time_sorted;
    return view_runs_set(p, s->run, (uint32_t)x->ngroups) ||
           err_set(err, -ENOMEM, "no memory for the parted index of %s", s->part->path);
}

static void hdb_release(struct view_part *p)
{
    struct disk_source *s = p->source;
    if (s->part)
        hdb_part_put(s->part);
    free(s->run);
    free(s);
    view_part_free(p);
}

static const struct view_source disk_ops = {
    .open = hdb_open_part, .index = hdb_index_part, .release = hdb_release};

bool view_add_hdb(struct view *v, const struct hdb_table *table, int32_t date,
                  const struct view_hdb_codes *codes, uint64_t epoch, bool beside)
{
    struct disk_source *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->table = table;
    s->codes = codes;
    s->epoch = epoch;
    s->beside = beside;
    v->part[v->nparts++] = (struct view_part){.date = date,
                                              .tier = VIEW_HDB,
                                              .time_min = INT64_MAX,
                                              .time_max = INT64_MIN,
                                              .ops = &disk_ops,
                                              .source = s};
    return true;
}
