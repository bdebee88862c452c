/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "load/sources.h"

/* ---- arguments ---- */

static bool hex_number(const char *t, unsigned digits, uint64_t *v)
{
    *v = 0;
    if (!t || strlen(t) != digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = t[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0)
            return false;
        *v = *v << 4 | (uint64_t)d;
    }
    return true;
}

static bool hash_of(const json_t *o, const char *key, struct hash128 *h)
{
    const char *t = json_string_value(json_object_get(o, key));
    char hi[17] = "", lo[17] = "";
    if (!t || strlen(t) != 32)
        return false;
    memcpy(hi, t, 16);
    memcpy(lo, t + 16, 16);
    return hex_number(hi, 16, &h->hi) && hex_number(lo, 16, &h->lo);
}

static bool take_schema(struct load_unit *u, const json_t *o, struct err *err)
{
    char *text = json_is_string(o) ? strdup(json_string_value(o)) : json_dumps(o, JSON_COMPACT);
    bool ok = text ? schema_from_json(&u->schema, text, strlen(text), err)
                   : err_set(err, -EINVAL, "index: no table is named");
    free(text);
    return ok;
}

bool load_unit_args(struct load_unit *u, const json_t *args, struct err *err)
{
    const char *date = json_string_value(json_object_get(args, "date"));
    const char *instance = json_string_value(json_object_get(args, "instance"));
    const char *rule = json_string_value(json_object_get(args, "existing"));
    json_int_t commit = json_integer_value(json_object_get(args, "commit"));
    u->root = json_string_value(json_object_get(args, "database"));
    u->batch = json_string_value(json_object_get(args, "batch"));
    u->index = json_string_value(json_object_get(args, "index"));
    u->calendar = json_string_value(json_object_get(args, "calendar"));
    u->calendar = u->calendar ? u->calendar : "";
    u->supersede = json_is_true(json_object_get(args, "supersede"));
    u->buffered = json_is_true(json_object_get(args, "buffered"));
    u->memory = (uint64_t)json_integer_value(json_object_get(args, "memory"));
    u->memory = u->memory ? u->memory : LOAD_MEMORY;
    u->commit = (uint64_t)commit;
    json_int_t threads = json_integer_value(json_object_get(args, "threads"));
    u->threads = threads < 1 ? 1 : threads < WD_THREADS ? (unsigned)threads : WD_THREADS;
    u->existing_rule = rule && !strcmp(rule, "merge")       ? LOAD_MERGE
                       : rule && !strcmp(rule, "supersede") ? LOAD_SUPERSEDE
                                                            : LOAD_REFUSE;
    if (!date || !civil_parse(date, &u->date) || !u->root || !u->index || commit < 1 ||
        !hex_number(instance, 16, &u->instance))
        return err_set(err, -EINVAL,
                       "index: date, database, index, instance or commit is missing or wrong");
    if (!u->batch || !load_batch_key_good(u->batch))
        return err_set(err, -EINVAL, "index: the batch has no good key");
    if (!take_schema(u, json_object_get(args, "table"), err))
        return false;
    struct hdb *h = hdb_open(u->root, err);
    if (!h)
        return false;
    char day[CIVIL_TEXT];
    const char *disk = hdb_disk(h, hdb_disk_of(h, u->date));
    bool ok = load_merge_dir(disk, u->batch, u->date, u->schema.name, u->merge_dir) &&
              (size_t)snprintf(u->table_dir, sizeof u->table_dir, "%.1000s/%s/%s", disk,
                               civil_format(u->date, day), u->schema.name) < sizeof u->table_dir;
    hdb_close(h);
    return ok || err_set(err, -ENAMETOOLONG, "%s: the path is too long", u->root);
}

/* ---- what exists ---- */

static bool named(struct load_unit *u, struct err *err)
{
    char names[1210];
    snprintf(names, sizeof names, "%s/.d", u->table_dir);
    u->exists = !access(names, F_OK);
    if (!load_base(u->table_dir, u->base, err))
        return false;
    if (!u->exists)
        return true;
    char again[LOAD_BASE_TEXT];
    if (!wd_existing_open(&u->existing, u->table_dir, err))
        return err->code == -ENOENT ? err_set(err, -ESTALE, "%s: was replaced", u->table_dir)
                                    : false;
    /* what was opened is what the identity is of */
    if (!load_base(u->table_dir, again, err))
        return false;
    return !strcmp(again, u->base) ||
           err_set(err, -ESTALE, "%s: was replaced while it was opened", u->table_dir);
}

bool load_unit_existing(struct load_unit *u, struct err *err)
{
    const struct wd_existing *x = &u->existing;
    char day[CIVIL_TEXT];
    if (!named(u, err))
        return false;
    u->existed = u->exists ? x->rows : 0;
    if (!u->exists)
        return true;
    bool ours = x->has_meta && x->meta.nsources;
    if (!x->rows || u->supersede)
        u->replaced = true;
    else if (ours || u->existing_rule == LOAD_MERGE)
        u->merge = true;
    else if (u->existing_rule == LOAD_SUPERSEDE)
        u->replaced = true;
    else
        return err_set(err, -EEXIST,
                       "table %s of %s exists and was not written by Penstock: set "
                       "existing_partition to merge or supersede, or move it away",
                       u->schema.name, civil_format(u->date, day));
    return true;
}

/* ---- files ---- */

static bool layout_take(struct load_layout *l, const json_t *columns)
{
    const json_t *c;
    size_t i;
    memset(l, 0, sizeof *l);
    if (!json_is_array(columns) || json_array_size(columns) > SCHEMA_COLUMNS_MAX)
        return false;
    json_array_foreach(columns, i, c)
    {
        const char *name = json_string_value(json_array_get(c, 0));
        const char *type = json_string_value(json_array_get(c, 1));
        if (!name || !type || !*name || strlen(name) >= SCHEMA_NAME_MAX || strchr(name, '/') ||
            !(l->type[i] = type_by_name(type)))
            return false;
        strcpy(l->name[i], name);
        l->ncols++;
    }
    return true;
}

/* One that is known already, or a new one. */
static const struct load_layout *layout_of(struct load_unit *u, const json_t *columns)
{
    struct load_layout *l = malloc(sizeof *l);
    if (!l || !layout_take(l, columns)) {
        free(l);
        return NULL;
    }
    for (struct load_layout *k = u->layouts; k; k = k->next)
        if (k->ncols == l->ncols && !memcmp(k->type, l->type, sizeof l->type) &&
            !memcmp(k->name, l->name, sizeof l->name)) {
            free(l);
            return k;
        }
    l->next = u->layouts;
    return u->layouts = l;
}

static struct load_file *add_file(struct load_unit *u, const char *dir, const json_t *columns,
                                  uint64_t rows, struct err *err)
{
    char path[1100], day[CIVIL_TEXT];
    struct load_file *f = &u->file[u->nfiles];
    if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", dir, civil_format(u->date, day),
                         u->schema.name) >= sizeof path) {
        err_set(err, -ENAMETOOLONG, "%s: the path is too long", dir);
        return NULL;
    }
    f->layout = layout_of(u, columns);
    if (!f->layout) {
        err_set(err, -EBADMSG, "%s: its result names no good columns", dir);
        return NULL;
    }
    f->dir = strdup(dir);
    u->nfiles++;
    if (!f->dir || !wd_loaded_open(&f->loaded, path, rows, f->layout->name, f->layout->ncols, err))
        return NULL;
    return f;
}

static bool room_for(struct load_unit *u, size_t n, struct err *err)
{
    u->file = calloc(n + 1, sizeof *u->file);
    return u->file || err_set(err, -ENOMEM, "no memory for %zu files", n);
}

/* The entry of this (date, table) in a read task's result; NULL: the file has none of it. */
static const json_t *written(const struct load_unit *u, const json_t *result)
{
    char day[CIVIL_TEXT];
    const json_t *w;
    size_t i;
    civil_format(u->date, day);
    json_array_foreach(json_object_get(result, "written"), i, w)
    {
        const char *date = json_string_value(json_object_get(w, "date"));
        const char *table = json_string_value(json_object_get(w, "table"));
        if (date && table && !strcmp(date, day) && !strcmp(table, u->schema.name))
            return w;
    }
    return NULL;
}

static bool from_result(struct load_unit *u, const char *dir, struct err *err)
{
    char path[1100];
    json_error_t je;
    snprintf(path, sizeof path, "%s/result.json", dir);
    json_t *o = json_load_file(path, 0, &je);
    if (!json_is_object(o)) {
        json_decref(o);
        return access(path, F_OK) ? err_set(err, -ENOENT, "%s: there is none", path)
                                  : err_set(err, -EBADMSG, "%s: is damaged", path);
    }
    const json_t *w = written(u, o);
    json_int_t rows = json_integer_value(json_object_get(w, "rows"));
    json_int_t captured = json_integer_value(json_object_get(w, "captured"));
    bool ok = true;
    if (w && rows > 0) {
        struct load_file *f = add_file(u, dir, json_object_get(w, "columns"), (uint64_t)rows, err);
        ok = f != NULL;
        if (ok && (captured < 0 || captured > rows || !hash_of(w, "sum", &f->sum.sum) ||
                   !hash_of(w, "full", &f->sum.full)))
            ok = err_set(err, -EBADMSG, "%s: does not say what it must", path);
        if (ok) {
            f->sum.rows = (uint64_t)rows;
            f->sum.captured = (uint64_t)captured;
        }
    }
    json_decref(o);
    return ok;
}

bool load_unit_files(struct load_unit *u, const json_t *dirs, struct err *err)
{
    const json_t *d;
    size_t i;
    if (!room_for(u, json_array_size(dirs), err))
        return false;
    json_array_foreach(dirs, i, d)
    {
        const char *dir = json_string_value(d);
        if (!dir)
            return err_set(err, -EINVAL, "index: files are not the names of directories");
        if (!from_result(u, dir, err))
            return false;
        if (load_progress_stopped(u->progress))
            return err_set(err, -ECANCELED, "cancelled");
    }
    return true;
}

json_t *load_unit_save(const struct load_unit *u)
{
    json_t *layouts = json_array(), *files = json_array();
    unsigned n = 0;
    for (const struct load_layout *l = u->layouts; l; l = l->next, n++) {
        json_t *columns = json_array();
        for (unsigned c = 0; c < l->ncols; c++)
            json_array_append_new(columns, json_pack("[s,s]", l->name[c], type_name(l->type[c])));
        json_array_append_new(layouts, columns);
    }
    for (unsigned i = 0; i < u->nfiles; i++) {
        int k = 0;
        for (const struct load_layout *l = u->layouts; l != u->file[i].layout; l = l->next)
            k++;
        json_array_append_new(
            files, json_pack("[s,I,i]", u->file[i].dir, (json_int_t)u->file[i].loaded.rows, k));
    }
    return json_pack("{s:o,s:o}", "layouts", layouts, "files", files);
}

bool load_unit_saved(struct load_unit *u, const json_t *saved, struct err *err)
{
    const json_t *layouts = json_object_get(saved, "layouts"), *f;
    const json_t *files = json_object_get(saved, "files");
    size_t i;
    if (!room_for(u, json_array_size(files), err))
        return false;
    json_array_foreach(files, i, f)
    {
        const char *dir = json_string_value(json_array_get(f, 0));
        json_int_t rows = json_integer_value(json_array_get(f, 1));
        json_int_t layout = json_integer_value(json_array_get(f, 2));
        if (!dir || rows <= 0 || layout < 0)
            return err_set(err, -ESTALE, "%s/%s: is damaged", u->index, LOAD_INDEX_JSON);
        if (!add_file(u, dir, json_array_get(layouts, (size_t)layout), (uint64_t)rows, err))
            return false;
    }
    return true;
}

/* ---- columns ---- */

static void bind(struct load_unit *u, struct wd_source *s, const char *const *names,
                 const uint8_t *types, unsigned n)
{
    memcpy(s->type, types, n);
    wd_target_bind(&u->target, names, types, n, s->from);
    if (u->nsources)
        s->first = s[-1].first + s[-1].rows;
    u->nsources++;
}

static void names_of(const struct load_layout *l, const char **names)
{
    for (unsigned c = 0; c < l->ncols; c++)
        names[c] = l->name[c];
}

bool load_unit_target(struct load_unit *u, struct err *err)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    struct wd_existing *x = &u->existing;
    u->target = u->schema;
    u->source = calloc(u->nfiles + 1u, sizeof *u->source);
    if (!u->source)
        return err_set(err, -ENOMEM, "no memory for %u files", u->nfiles);
    for (unsigned c = 0; u->merge && c < x->ncols; c++)
        names[c] = x->name[c];
    if (u->merge && !wd_target_add(&u->target, names, x->type, x->ncols, err))
        return false;
    for (const struct load_layout *l = u->layouts; l; l = l->next) {
        names_of(l, names);
        if (!wd_target_add(&u->target, names, l->type, l->ncols, err))
            return false;
    }
    if (u->merge) {
        struct wd_source *s = &u->source[0];
        for (unsigned c = 0; c < x->ncols; c++)
            names[c] = x->name[c];
        s->kind = WD_EXISTING;
        s->rows = x->rows;
        s->existing = x;
        s->captured = x->has_meta && x->meta.has_hash && x->meta.captured;
        bind(u, s, names, x->type, x->ncols);
    }
    for (unsigned i = 0; i < u->nfiles; i++) {
        struct load_file *f = &u->file[i];
        struct wd_source *s = &u->source[u->nsources];
        names_of(f->layout, names);
        s->kind = WD_LOADED;
        s->rows = f->loaded.rows;
        s->loaded = &f->loaded;
        s->captured = true;
        bind(u, s, names, f->layout->type, f->layout->ncols);
    }
    return true;
}

/* ---- what reading and writing needs ---- */

bool load_unit_symbols(struct load_unit *u, struct err *err)
{
    char path[1200];
    if (!hdb_sym_read(&u->sym, u->io, u->root, err))
        return false;
    for (unsigned i = 0; i < u->nfiles; i++) {
        struct load_file *f = &u->file[i];
        snprintf(path, sizeof path, "%s/symbols", f->dir);
        if (!load_codes_read(&f->codes, &u->sym, path, err))
            return false;
        f->loaded.index = f->codes.index;
        f->loaded.codes = f->codes.count;
    }
    return wd_symbols_init(&u->symbols, &u->sym, err);
}

/* Of this process, which does one task after the other. */
static struct wd_kept kept;

bool load_unit_worker(struct load_unit *u, struct load_progress *p, struct err *err)
{
    u->progress = p;
    if (!wd_worker_init(&u->worker, u->io, u->memory, u->buffered, err))
        return false;
    u->worker_made = true;
    u->worker.threads = u->threads;
    wd_worker_keep(&u->worker, &kept);
    u->worker.reader.sort_rows = u->memory / (2 * sizeof(struct wd_key));
    if (p)
        u->worker.reader.seen = &p->bytes;
    return true;
}

const _Atomic bool *load_unit_cancel(const struct load_unit *u)
{
    return u->progress ? &u->progress->stop : &u->never;
}

void load_unit_forget(struct load_unit *u)
{
    for (unsigned i = 0; i < u->nfiles; i++)
        wd_loaded_forget(&u->file[i].loaded);
}

void load_unit_close(struct load_unit *u)
{
    if (u->worker_made)
        wd_worker_free(&u->worker);
    for (unsigned i = 0; i < u->nfiles; i++) {
        wd_loaded_close(&u->file[i].loaded);
        load_codes_free(&u->file[i].codes);
        free(u->file[i].dir);
    }
    free(u->file);
    free(u->source);
    while (u->layouts) {
        struct load_layout *l = u->layouts;
        u->layouts = l->next;
        free(l);
    }
    if (u->exists)
        wd_existing_close(&u->existing);
    wd_symbols_free(&u->symbols);
    if (u->sym.texts)
        hdb_sym_close(&u->sym);
    io_destroy(u->io);
}

bool load_unit_column(struct load_unit *u, const struct wd_order *o, unsigned col,
                      uint8_t attribute, uint64_t *bytes, struct err *err)
{
    struct wd_column c = {.fd = -1, .bytes_fd = -1};
    bool ok = wd_column_write(&u->worker, &c, u->merge_dir, &u->target, col, u->source, u->nsources,
                              o, &u->symbols, attribute, true, load_unit_cancel(u), err);
    wd_column_abandon(&u->worker, &c);
    *bytes = kdb_file_bytes(u->target.col[col].type, o->placed) + c.bytes;
    return ok;
}

static bool sync_file(struct io *io, const char *path, struct err *err)
{
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    int r = fd < 0 ? fd : io->ops->fsync(io, fd);
    if (fd >= 0)
        io->ops->close(io, fd);
    return r >= 0 || err_set(err, r, "%s: cannot be synced: %s", path, strerror(-r));
}

bool load_unit_sync(struct load_unit *u, const unsigned *cols, unsigned n, struct err *err)
{
    char path[1300];
    bool ok = wd_out_wait(&u->worker, 2, err);
    for (unsigned i = 0; ok && i < n; i++) {
        const struct column *c = &u->target.col[cols[i]];
        snprintf(path, sizeof path, "%s/%s", u->merge_dir, c->name);
        ok = sync_file(u->io, path, err);
        strncat(path, "#", sizeof path - strlen(path) - 1);
        if (ok && c->type == PST_STRING)
            ok = sync_file(u->io, path, err);
    }
    return ok;
}

bool load_make_dirs(const char *path, struct err *err)
{
    char p[1300];
    snprintf(p, sizeof p, "%s", path);
    for (char *c = p + 1;; c++) {
        if (*c && *c != '/')
            continue;
        char was = *c;
        *c = 0;
        if (mkdir(p, 0755) && errno != EEXIST)
            return err_set(err, -errno, "%s: cannot be made: %s", p, strerror(errno));
        *c = was;
        if (!was)
            return true;
    }
}

bool load_write_json(struct io *io, const char *dir, const char *name, const json_t *o,
                     struct err *err)
{
    char path[1300], fresh[1310];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    char *text = json_dumps(o, JSON_COMPACT);
    if (!text)
        return err_set(err, -ENOMEM, "%s: no memory", path);
    int fd = io->ops->open(io, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd < 0 ? fd : io_pwrite_all(io, fd, text, strlen(text), 0);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    if (r >= 0)
        r = io->ops->rename(io, fresh, path);
    free(text);
    return r >= 0 || err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
}
