/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"
#include "load/merge.h"
#include "load/place.h"
#include "load/sources.h"

static bool stale(struct err *err, const char *dir, const char *why)
{
    return err_set(err, -ESTALE, "%s: %s: the index is made again", dir, why);
}

/* The unit that the index task described, checked against what is there now. */
static bool prepare(struct load_unit *u, const json_t *d, struct load_place_file *f,
                    struct wd_order *o, struct err *err)
{
    const char *base = json_string_value(json_object_get(d, "base"));
    bool merged = json_is_true(json_object_get(d, "merged"));
    if (!load_unit_args(u, d, err) || !load_unit_existing(u, err))
        return false;
    if (!base || strcmp(base, u->base) != 0 || merged != u->merge)
        return stale(err, u->table_dir, "was replaced since it was indexed");
    if (!load_unit_saved(u, json_object_get(d, "files"), err) || !load_unit_target(u, err))
        return false;
    const struct wd_source *last = &u->source[u->nsources];
    o->placed = (uint64_t)json_integer_value(json_object_get(d, "placed"));
    o->rows = u->nsources ? last[-1].first + last[-1].rows : 0;
    if (!load_place_take(f, json_object_get(d, "place")) || f->rows != o->rows || !o->placed ||
        o->placed > o->rows)
        return stale(err, u->index, "does not fit its files");
    u->io = io_best_create(WD_DEPTH, err);
    if (!u->io)
        return false;
    err->code = 0;
    return load_unit_worker(u, u->progress, err);
}

/* The columns named, as numbers of the target. */
static bool columns(struct load_unit *u, const json_t *names, unsigned *col, unsigned *n,
                    struct err *err)
{
    const json_t *name;
    size_t i;
    *n = 0;
    json_array_foreach(names, i, name)
    {
        const char *t = json_string_value(name);
        int c = t ? schema_column(&u->target, t) : -1;
        if (c < 2 || *n == SCHEMA_COLUMNS_MAX)
            return err_set(err, -EINVAL, "merge: table %s has no column %.48s to be merged",
                           u->schema.name, t ? t : "?");
        col[(*n)++] = (unsigned)c;
    }
    return true;
}

static bool needs_symbols(const struct load_unit *u, const unsigned *col, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (u->target.col[col[i]].type == PST_SYMBOL)
            return true;
    return false;
}

static bool move_columns(struct load_unit *u, const json_t *d, const json_t *names,
                         struct wd_order *o, json_t **result, struct err *err)
{
    unsigned col[SCHEMA_COLUMNS_MAX], n;
    json_t *done = json_array();
    uint64_t bytes = 0;
    int64_t from = clock_monotonic();
    bool ok =
        columns(u, names, col, &n, err) && (!needs_symbols(u, col, n) || load_unit_symbols(u, err));
    if (ok && json_is_true(json_object_get(d, "walk")))
        ok = load_walk_read(u->index, o, u->source, u->nsources, err);
    for (unsigned i = 0; ok && i < n; i++) {
        int64_t begun = clock_monotonic();
        uint64_t one;
        ok = load_unit_column(u, o, col[i], 0, &one, err);
        load_unit_forget(u);
        load_progress_add(u->progress, o->placed, 0);
        bytes += one;
        json_array_append_new(done,
                              json_pack("[s,I,f]", u->target.col[col[i]].name, (json_int_t)one,
                                        (double)(clock_monotonic() - begun) / 1e9));
    }
    ok = ok && load_unit_sync(u, col, n, err);
    if (!ok) {
        json_decref(done);
        return false;
    }
    *result =
        json_pack("{s:o,s:I,s:I,s:f}", "columns", done, "rows", (json_int_t)o->placed, "bytes",
                  (json_int_t)bytes, "seconds", (double)(clock_monotonic() - from) / 1e9);
    return *result || err_set(err, -ENOMEM, "no memory for a result");
}

static json_t *read_index(const char *dir, struct err *err)
{
    char path[1300];
    json_error_t je;
    snprintf(path, sizeof path, "%s/%s", dir, LOAD_INDEX_JSON);
    json_t *d = json_load_file(path, 0, &je);
    json_int_t format = json_integer_value(json_object_get(d, "format"));
    if (json_is_object(d) && format == LOAD_INDEX_FORMAT)
        return d;
    if (format > LOAD_INDEX_FORMAT)
        err_set(err, -ENOTSUP, "%s: is of format %lld, this program reads up to %d", path,
                (long long)format, LOAD_INDEX_FORMAT);
    else
        stale(err, path, "is not there or damaged");
    json_decref(d);
    return NULL;
}

/* A partition that is gone while it is read was replaced. */
static void gone_is_stale(const struct load_unit *u, struct err *err)
{
    char base[LOAD_BASE_TEXT];
    struct err why = {0};
    if (u->merge && err->code != -ECANCELED &&
        (!load_base(u->table_dir, base, &why) || strcmp(base, u->base) != 0))
        err->code = -ESTALE;
}

bool load_merge_run(const json_t *args, struct load_progress *progress, json_t **result,
                    struct err *err)
{
    const char *dir = json_string_value(json_object_get(args, "index"));
    *result = NULL;
    if (!dir)
        return err_set(err, -EINVAL, "merge: no index is named");
    json_t *d = read_index(dir, err);
    if (!d)
        return false;
    struct load_unit *u = calloc(1, sizeof *u);
    struct wd_order o = {0};
    struct load_place_file f;
    void *map = NULL;
    bool ok = u != NULL || err_set(err, -ENOMEM, "no memory for a merge");
    if (ok) {
        static const char *const own[] = {"memory", "buffered", "index"};
        for (unsigned i = 0; i < PST_COUNT(own); i++) { /* of this task, not the index's */
            json_t *v = json_object_get(args, own[i]);
            if (v)
                json_object_set(d, own[i], v);
        }
        u->progress = progress;
        ok = prepare(u, d, &f, &o, err);
    }
    if (ok) {
        union { /* mapped read-only; nobody writes through it */
            const uint32_t *c;
            uint32_t *p;
        } place = {.c = load_place_open(&f, u->index, &map, err)};
        o.place = place.p;
        ok = o.place && move_columns(u, d, json_object_get(args, "columns"), &o, result, err);
    }
    if (map)
        load_place_close(&f, map);
    free(o.walk);
    if (!ok && u)
        gone_is_stale(u, err);
    if (u)
        load_unit_close(u);
    free(u);
    json_decref(d);
    return ok;
}
