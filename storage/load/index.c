/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/crc.h"
#include "load/place.h"
#include "load/sources.h"

#define KEYS_BUFFER                                                                                \
    (16u << 20) /* bytes of the two buffers that the column of symbols goes through */

/* ---- content hash ---- */

/* Do the values of a source stand in the partition as they are: no column converted or renamed? */
static bool unconverted(const struct load_unit *u, const struct wd_source *s,
                        const char *const *names, unsigned n)
{
    unsigned same = 0;
    for (unsigned c = 0; c < u->target.ncols; c++) {
        int from = s->from[c];
        if (from < 0)
            continue;
        if (u->target.col[c].type != s->type[from] ||
            strcmp(u->target.col[c].name, names[from]) != 0)
            return false;
        same++;
    }
    return same == n;
}

/* The sums of what exists and of the files, where they add up to the partition's. */
static bool add_up(const struct load_unit *u, bool clocked, struct content_sum *out)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    const struct wd_existing *x = &u->existing;
    bool fresh_captured = true;
    if (u->target.nkeys)
        return false;
    for (unsigned i = 0; i < u->nfiles; i++) {
        const struct load_file *f = &u->file[i];
        for (unsigned c = 0; c < f->layout->ncols; c++)
            names[c] = f->layout->name[c];
        if (!unconverted(u, &u->source[i + u->merge], names, f->layout->ncols))
            return false;
        fresh_captured &= f->sum.captured == f->sum.rows;
        content_sum_add(out, &f->sum);
    }
    if (!u->merge)
        return true;
    for (unsigned c = 0; c < x->ncols; c++)
        names[c] = x->name[c];
    if (!x->has_meta || !x->meta.has_hash || x->meta.rows != x->rows ||
        !unconverted(u, &u->source[0], names, x->ncols) ||
        (clocked && x->meta.captured && !fresh_captured))
        return false;
    const struct content_sum old = {.rows = x->rows,
                                    .captured = !clocked || x->meta.captured ? x->rows : 0,
                                    .sum = x->meta.hash,
                                    .full = x->meta.hash};
    content_sum_add(out, &old);
    return true;
}

static bool content(struct load_unit *u, const struct wd_order *o, struct content_sum *out,
                    struct err *err)
{
    struct wd_hash h;
    struct content_sum in;
    if (!wd_hash_init(&h, &u->target, &u->symbols, err))
        return false;
    memset(out, 0, sizeof *out);
    bool ok = true;
    if (!add_up(u, content_columns_clocked(&h.columns), out)) {
        memset(out, 0, sizeof *out);
        for (unsigned i = 0; ok && i < u->nsources; i++) {
            memset(&in, 0, sizeof in);
            ok = wd_hash_source(&h, &u->source[i], o->keep, &u->worker.reader, &in, out,
                                load_unit_cancel(u), err);
            if (i >= u->merge)
                wd_loaded_forget(u->source[i].loaded);
        }
    }
    wd_hash_free(&h);
    return ok;
}

/* ---- side files ---- */

static bool write_meta(struct load_unit *u, const struct wd_order *o, const struct content_sum *sum,
                       struct hash128 *hash, struct err *err)
{
    struct hdb_meta *m = malloc(sizeof *m);
    if (!m)
        return err_set(err, -ENOMEM, "no memory for a marker");
    const struct wd_facts f = {.date = u->date,
                               .calendar = u->calendar,
                               .rows = o->placed,
                               .symbols = u->sym.count,
                               .sum = sum,
                               .time_min = o->time_min,
                               .time_max = o->time_max};
    const struct hdb_source load = {
        .instance = u->instance, .first = u->commit, .end = u->commit + 1, .kind = "load"};
    wd_meta_make(m, &u->target, &f);
    bool ok =
        wd_meta_sources(m, u->merge && u->existing.has_meta ? &u->existing.meta : NULL, &load,
                        err) &&
        hdb_index_write(u->io, u->merge_dir, o->group, o->ngroups, o->placed, true, true, err) &&
        hdb_meta_write(m, u->io, u->merge_dir, false, true, err);
    *hash = m->hash;
    free(m);
    return ok;
}

static int larger_first(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_array_get(*(json_t *const *)a, 2));
    json_int_t y = json_integer_value(json_array_get(*(json_t *const *)b, 2));
    return x > y ? -1 : x < y;
}

/* Columns that are left, the largest first. */
static json_t *columns_left(const struct load_unit *u, const struct wd_order *o)
{
    json_t *one[SCHEMA_COLUMNS_MAX], *all = json_array();
    unsigned n = 0;
    for (unsigned c = 2; c < u->target.ncols; c++) {
        uint64_t bytes = kdb_file_bytes(u->target.col[c].type, o->placed);
        for (unsigned i = u->merge; i < u->nsources && u->target.col[c].type == PST_STRING; i++) {
            char path[1300];
            struct io_stat st;
            if (u->source[i].from[c] < 0)
                continue;
            snprintf(path, sizeof path, "%s/%s#", u->source[i].loaded->path,
                     u->source[i].loaded->name[u->source[i].from[c]]);
            bytes += u->io->ops->stat(u->io, path, &st) < 0 ? 0 : st.size;
        }
        one[n++] = json_pack("[s,s,I]", u->target.col[c].name, type_name(u->target.col[c].type),
                             (json_int_t)bytes);
    }
    qsort(one, n, sizeof *one, larger_first);
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(all, one[i]);
    return all;
}

/* ---- the task ---- */

struct made {
    struct wd_order order;
    struct content_sum sum;
    struct hash128 hash;
    uint64_t bytes, added;
    struct load_place_file place;
};

static bool prepare(struct load_unit *u, const json_t *args, struct err *err)
{
    if (!load_unit_args(u, args, err) || !load_unit_existing(u, err) ||
        !load_unit_files(u, json_object_get(args, "files"), err) || !load_unit_target(u, err))
        return false;
    u->io = io_best_create(WD_DEPTH, err);
    if (!u->io)
        return false;
    err->code = 0;
    if (!load_unit_worker(u, u->progress, err) || !load_unit_symbols(u, err))
        return false;
    if (!hdb_remove_tree(u->io, u->merge_dir, err) || !load_make_dirs(u->merge_dir, err) ||
        !load_make_dirs(u->index, err))
        return false;
    return true;
}

/* The column of symbols is known as soon as they are counted: a thread writes it while the places
 * are found. */
struct keys {
    struct load_unit *u;
    const struct wd_order *order;
    pthread_t thread;
    bool running, ok;
    uint64_t bytes;
    struct err err;
};

static void *keys_write(void *arg)
{
    struct keys *k = arg;
    struct load_unit *u = k->u;
    struct wd_worker w;
    struct wd_column c = {.fd = -1, .bytes_fd = -1};
    k->ok = wd_worker_init(&w, NULL, KEYS_BUFFER, u->buffered, &k->err);
    if (!k->ok)
        return NULL;
    k->ok = wd_column_write(&w, &c, u->merge_dir, &u->target, 1, u->source, u->nsources, k->order,
                            &u->symbols, 0, true, load_unit_cancel(u), &k->err);
    wd_column_abandon(&w, &c);
    k->ok = k->ok && wd_out_wait(&w, 2, &k->err);
    wd_worker_free(&w);
    k->bytes = kdb_file_bytes(u->target.col[1].type, k->order->placed);
    return NULL;
}

static void keys_begin(void *arg, const struct wd_order *o)
{
    struct keys *k = arg;
    k->order = o;
    if (o->placed && k->u->target.col[1].type == PST_SYMBOL)
        k->running = !pthread_create(&k->thread, NULL, keys_write, k);
}

static void keys_end(void *arg)
{
    struct keys *k = arg;
    if (k->running)
        pthread_join(k->thread, NULL);
    k->running = false;
}

/* The column of symbols is there, by the thread or now. */
static bool keys_done(struct keys *k, struct err *err)
{
    bool threaded = k->running;
    keys_end(k);
    if (!threaded)
        return load_unit_column(k->u, k->order, 1, 0, &k->bytes, err);
    return k->ok || err_set(err, k->err.code, "%s", k->err.text);
}

/* While the disk takes a column the processor does what needs no disk. */
static bool make_files(struct load_unit *u, struct made *m, struct keys *k, struct err *err)
{
    static const unsigned keys[] = {0, 1};
    struct wd_order *o = &m->order;
    uint64_t bytes;
    load_progress_add(u->progress, o->rows, 0);
    bool ok = load_unit_column(u, o, 0, o->ngroups == 1, &bytes, err) &&
              load_place_write(u->io, u->index, o, &m->place, err) &&
              load_walk_write(u->io, u->index, o, err) && content(u, o, &m->sum, err) &&
              keys_done(k, err) && load_unit_sync(u, keys, 2, err) &&
              write_meta(u, o, &m->sum, &m->hash, err);
    m->bytes = ok ? bytes + k->bytes : 0;
    return ok;
}

static bool make(struct load_unit *u, struct made *m, struct err *err)
{
    struct keys k = {.u = u};
    const struct wd_grouped grouped = {keys_begin, keys_end, &k};
    if (!wd_order_make(&m->order, &u->target, u->source, u->nsources, &u->symbols,
                       &u->worker.reader, u->threads, &grouped, load_unit_cancel(u), err))
        return false;
    struct wd_order *o = &m->order;
    if (!o->placed)
        return err_set(err, -EINVAL, "index: none of the files has a row of table %s",
                       u->schema.name);
    bool ok = make_files(u, m, &k, err);
    keys_end(&k);
    return ok;
}

/* What the merge tasks need, and who looks. */
static json_t *describe(const struct load_unit *u, const struct made *m, const json_t *args)
{
    const struct wd_order *o = &m->order;
    json_t *d = json_copy((json_t *)(uintptr_t)args); /* jansson counts references of const, too */
    if (!d)
        return NULL;
    json_object_set_new(d, "format", json_integer(LOAD_INDEX_FORMAT));
    json_object_set_new(d, "files", load_unit_save(u));
    json_object_set_new(d, "rows", json_integer((json_int_t)o->rows));
    json_object_set_new(d, "placed", json_integer((json_int_t)o->placed));
    json_object_set_new(d, "merged", json_boolean(u->merge));
    json_object_set_new(d, "base", json_string(u->base));
    json_object_set_new(d, "walk", json_boolean(o->walk != NULL));
    json_object_set_new(d, "place", load_place_json(&m->place));
    return d;
}

static json_t *outcome(const struct load_unit *u, const struct made *m, int64_t from)
{
    const struct wd_order *o = &m->order;
    char day[CIVIL_TEXT], hash[33];
    uint64_t added = 0;
    for (unsigned i = 0; i < u->nfiles; i++)
        added += u->file[i].loaded.rows;
    return json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:b,s:b,s:s,s:s,s:b,s:I,s:I,s:I,s:i,s:I,s:f,s:o}", "date",
        civil_format(u->date, day), "table", u->schema.name, "rows", (json_int_t)o->placed, "added",
        (json_int_t)added, "existing", (json_int_t)u->existed, "merged", u->merge, "replaced",
        u->replaced, "base", u->base, "hash", hash128_text(m->hash, hash), "captured",
        u->target.feed && m->sum.captured == m->sum.rows, "time_min", (json_int_t)o->time_min,
        "time_max", (json_int_t)o->time_max, "sorted", (json_int_t)o->sorted, "width",
        (int)m->place.width, "bytes", (json_int_t)m->bytes, "seconds",
        (double)(clock_monotonic() - from) / 1e9, "columns", columns_left(u, o));
}

bool load_index_run(const json_t *args, struct load_progress *progress, json_t **result,
                    struct err *err)
{
    int64_t from = clock_monotonic();
    struct load_unit *u = calloc(1, sizeof *u);
    struct made *m = calloc(1, sizeof *m);
    bool ok = u && m;
    *result = NULL;
    if (!ok)
        err_set(err, -ENOMEM, "no memory for an index");
    if (ok) {
        u->progress = progress;
        ok = prepare(u, args, err) && make(u, m, err);
    }
    if (ok) {
        json_t *d = describe(u, m, args);
        ok = d ? load_write_json(u->io, u->index, LOAD_INDEX_JSON, d, err)
               : err_set(err, -ENOMEM, "no memory for %s", LOAD_INDEX_JSON);
        json_decref(d);
    }
    if (ok && !(*result = outcome(u, m, from)))
        ok = err_set(err, -ENOMEM, "no memory for a result");
    ok = ok && load_write_json(u->io, u->index, "result.json", *result, err);
    if (!ok) {
        json_decref(*result);
        *result = NULL;
    }
    if (m)
        wd_order_free(&m->order);
    if (u)
        load_unit_close(u);
    free(m);
    free(u);
    return ok;
}
