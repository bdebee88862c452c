/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "content_hash.h"
#include "core/clock.h"
#include "load/digest.h"
#include "load/save.h"
#include "render.h"

#define PREVIEW_REJECTS 10u

struct preview {
    const struct load_recipe *recipe;
    const struct load_dict *dict;
    uint64_t want, nrejects;
    json_t *rows, *rejects;
    const struct schema *table;
    bool enough;
};

struct reading {
    const char *file, *dir;
    struct load_recipe *recipe;
    const struct load_reader *reader;
    const struct load_hooks *hooks;
    struct load_progress *progress;
    struct load_dict dict;
    struct load_save *save;
    struct load_sink sink;
    void *plugin, *state; /* of a plugin's sink; the reader's */
    struct load_input *input;
    struct load_digest *digest;
    struct preview preview;
    struct stat st;
    struct hash128 hash;
    uint64_t bytes, unpacked;
    int64_t began;
};

/* ---- a trial ---- */

static json_t *value_json(const struct preview *p, const struct load_block *b, unsigned c,
                          uint32_t row)
{
    uint8_t type = b->schema->col[c].type;
    const uint8_t *at = (const uint8_t *)b->col[c] + (size_t)row * load_width(type);
    char text[RENDER_VALUE];
    uint32_t len;
    json_t *v;
    if (type == PST_SYMBOL) {
        const char *t = load_dict_text(p->dict, le32(at), &len);
        v = json_stringn(t, len);
    } else if (type == PST_STRING) {
        const struct load_string *t = (const struct load_string *)at;
        v = json_stringn(t->len ? b->heap + t->at : "", t->len);
    } else
        v = json_stringn(text, render_is_null(type, at) ? 0 : render_value(type, at, text));
    return v ? v : json_string("(not UTF-8)");
}

static bool preview_block(void *arg, struct load_block *b, struct err *err)
{
    struct preview *p = arg;
    p->table = p->table ? p->table : b->schema;
    for (uint32_t i = 0; i < b->rows && json_array_size(p->rows) < p->want; i++) {
        json_t *row = json_array();
        if (b->schema != p->table)
            break;
        for (unsigned c = 0; c < b->schema->ncols; c++)
            json_array_append_new(row, value_json(p, b, c, i));
        json_array_append_new(p->rows, row);
    }
    p->enough = json_array_size(p->rows) >= p->want;
    return !p->enough || err_set(err, -ECANCELED, "enough rows for a preview");
}

static bool preview_reject(void *arg, const struct load_reject *r, struct err *err)
{
    struct preview *p = arg;
    char text[400];
    snprintf(text, sizeof text, "line %llu%s%s: %s", (unsigned long long)r->line,
             *r->column ? ", column " : "", r->column, r->reason);
    json_array_append_new(p->rejects, json_string(text));
    p->enough = ++p->nrejects >= PREVIEW_REJECTS;
    return !p->enough || err_set(err, -ECANCELED, "enough bad rows for a preview");
}

static json_t *preview_json(const struct preview *p)
{
    const struct schema *s = p->table ? p->table : &p->recipe->tables[0];
    json_t *columns = json_array();
    for (unsigned c = 0; c < s->ncols; c++)
        json_array_append_new(columns, json_string(s->col[c].name));
    return json_pack("{s:{s:s,s:o,s:O,s:O},s:b}", "preview", "table", s->name, "columns", columns,
                     "rows", p->rows, "rejects", p->rejects, "trial", 1);
}

/* ---- the file ---- */

static void tap(void *arg, const void *bytes, size_t n)
{
    struct reading *x = arg;
    load_digest_add(x->digest, bytes, n); /* a failure shows in its text */
}

static bool check_digest(struct reading *x, const char *want, struct err *err)
{
    char text[LOAD_DIGEST_TEXT];
    if (!x->digest)
        return true;
    if (!load_digest_text(x->digest, text, err))
        return false;
    return !strcmp(text, want) ||
           err_set(err, -EBADMSG, "%s: its checksum is %s, the manifest says %s; deliver it again",
                   x->file, text, want);
}

/* What lies there by that name: links are not followed (input.h). */
static bool look(const char *path, struct stat *st, struct err *err)
{
    if (lstat(path, st))
        return errno == ENOENT
                   ? err_set(err, -ENOENT, "%s: it is gone from where it lay; deliver it again",
                             path)
                   : err_set(err, -errno, "%s: cannot be looked at: %s", path, strerror(errno));
    return !S_ISLNK(st->st_mode) ||
           err_set(err, -ELOOP, "%s: it is a symbolic link: links are not followed", path);
}

/* From a first look to the next reads the file is what the orchestrator saw. */
static bool check_file(struct reading *x, const json_t *args, struct err *err)
{
    const json_t *size = json_object_get(args, "size"), *mtime = json_object_get(args, "mtime");
    if (!look(x->file, &x->st, err))
        return false;
    int64_t modified =
        (x->st.st_mtim.tv_sec - PST_EPOCH_OFFSET_S) * PST_SECOND_NS + x->st.st_mtim.tv_nsec;
    if (S_ISDIR(x->st.st_mode))
        return true;
    return ((!json_is_integer(size) || json_integer_value(size) == x->st.st_size) &&
            (!json_is_integer(mtime) || json_integer_value(mtime) == modified)) ||
           err_set(err, -EBUSY,
                   "%s: it is no longer the file that was seen (%lld bytes now); it is looked at "
                   "again",
                   x->file, (long long)x->st.st_size);
}

/* What is wrong with a file that was changed meanwhile is not what is wrong with the one that is
 * there now. */
static void changed_meanwhile(const struct reading *x, struct err *err)
{
    struct stat now;
    if (!S_ISREG(x->st.st_mode) || err->code == -ECANCELED || err->code == -EBUSY)
        return;
    if (stat(x->file, &now)) {
        if (errno == ENOENT)
            err_set(err, -ENOENT, "%s: it is gone from where it lay; deliver it again", x->file);
    } else if (now.st_size != x->st.st_size || now.st_ino != x->st.st_ino ||
               now.st_mtim.tv_sec != x->st.st_mtim.tv_sec ||
               now.st_mtim.tv_nsec != x->st.st_mtim.tv_nsec)
        err_set(err, -EBUSY,
                "%s: it was changed while it was read (%lld bytes now); it is looked at again",
                x->file, (long long)now.st_size);
}

static bool stopped(const struct reading *x, struct err *err)
{
    return load_progress_stopped(x->progress) && !err_set(err, -ECANCELED, "%s: stopped", x->file);
}

static bool read_pieces(struct reading *x, struct err *err)
{
    const uint8_t *bytes;
    size_t n, used = 0, keep = 0;
    bool last = false;
    while (!last) {
        if (!load_input_next(x->input, keep, &bytes, &n, &last, err) ||
            !x->reader->feed(x->state, bytes, n, last, &used, err))
            return false;
        keep = n - used;
        if (x->progress)
            store_relaxed(&x->progress->bytes, load_input_consumed(x->input));
        if (stopped(x, err))
            return false;
    }
    return true;
}

/* The reader takes the pieces itself; what it left is looked at too: it must be sound. */
static bool read_pulling(struct reading *x, struct err *err)
{
    const uint8_t *bytes;
    size_t n;
    bool last = false;
    if (!x->reader->feed(x->state, NULL, 0, true, &n, err))
        return false;
    while (!last)
        if (!load_input_next(x->input, 0, &bytes, &n, &last, err))
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of a splayed table's files: their names, sizes and hashes, in order of the names. */
static bool directory_hash(const char *path, uint64_t *bytes, struct hash128 *hash, struct err *err)
{
    enum { FILES = 2048 };
    char *name[FILES];
    unsigned n = 0;
    bool ok = true;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, -e, "%s: cannot be read: %s", path, strerror(e));
    }
    struct dirent *e;
    while (ok && (e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (n == FILES)
            ok = err_set(err, -EINVAL, "%s: it holds more than %d files", path, FILES);
        else if (!(name[n] = strdup(e->d_name)))
            ok = err_set(err, -ENOMEM, "no memory to read %s", path);
        else
            n++;
    }
    closedir(d);
    qsort(name, n, sizeof *name, by_name);
    struct hash128 h[3] = {{0, 0}};
    *bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        char file[1500];
        struct stat st;
        uint64_t size = 0;
        snprintf(file, sizeof file, "%s/%s", path, name[i]);
        if (ok && !look(file, &st, err))
            ok = false;
        else if (ok && S_ISREG(st.st_mode)) {
            hash128_of(name[i], strlen(name[i]), &h[1]);
            ok = load_file_hash(file, &size, &h[2], err);
            hash128_of(h, sizeof h, &h[0]);
            *bytes += size;
        }
        free(name[i]);
    }
    *hash = h[0];
    return ok;
}

static bool read_whole(struct reading *x, struct err *err)
{
    size_t used;
    if (S_ISDIR(x->st.st_mode) ? !directory_hash(x->file, &x->bytes, &x->hash, err)
                               : !load_file_hash(x->file, &x->bytes, &x->hash, err))
        return false;
    if (x->progress)
        store_relaxed(&x->progress->total, x->bytes);
    x->unpacked = x->bytes;
    return x->reader->feed(x->state, NULL, 0, true, &used, err);
}

/* ---- the task ---- */

static const struct load_reader *reader_of(const struct reading *x, struct err *err)
{
    const struct load_recipe *r = x->recipe;
    const struct load_hooks *h = x->hooks;
    const struct load_reader *reader = NULL;
    if (r->read) {
        reader = h && h->plugin_reader ? h->plugin_reader(h->arg, r->read) : NULL;
        if (!reader)
            err_set(err, -EINVAL, "%s: no plugin has the read function %s", r->name, r->read);
        return reader;
    }
    switch (r->format) {
    case LOAD_TEXT:
        return &load_reader_text;
    case LOAD_SPLAYED:
        return &load_reader_splayed;
    case LOAD_ITCH50:
        reader = h ? h->itch50 : NULL;
        break;
    case LOAD_PCAP:
        reader = h ? h->pcap : NULL;
        break;
    case LOAD_PLUGIN:
        break;
    }
    if (!reader)
        err_set(err, -ENOTSUP, "%s: this program has no reader of its format", r->name);
    return reader;
}

static bool make_sink(struct reading *x, const json_t *args, struct load_reader_config *c,
                      struct err *err)
{
    const struct load_recipe *r = x->recipe;
    json_int_t rows = json_integer_value(json_object_get(args, "rows"));
    if (rows > 0) {
        x->preview = (struct preview){.recipe = r,
                                      .dict = &x->dict,
                                      .want = (uint64_t)rows,
                                      .rows = json_array(),
                                      .rejects = json_array()};
        c->sink = (struct load_sink){preview_block, &x->preview};
        c->rejects = (struct load_rejects){preview_reject, &x->preview};
    } else {
        if (!x->dir)
            return err_set(err, -EINVAL, "a read task without a directory");
        x->save = load_save_open(x->dir, r, &x->dict, err);
        if (!x->save)
            return false;
        c->sink = load_save_sink(x->save);
        c->rejects = load_save_rejects(x->save);
    }
    if (!r->post_read && !r->save)
        return true;
    if (!x->hooks || !x->hooks->plugin_sink)
        return err_set(err, -EINVAL, "%s: post_read and save need plugins", r->name);
    struct load_sink next = c->sink;
    if (!x->hooks->plugin_sink(x->hooks->arg, c, r->post_read, r->save, x->dir, &next, &x->plugin,
                               err))
        return false;
    c->sink = next;
    return true;
}

static json_t *facts_of(struct reading *x)
{
    char hash[33];
    const char *slash = strrchr(x->file, '/');
    json_t *more = x->reader->facts ? x->reader->facts(x->state) : NULL;
    json_t *o = json_pack(
        "{s:s,s:I,s:I,s:s,s:s,s:I,s:f,s:s}", "file", slash ? slash + 1 : x->file, "bytes",
        (json_int_t)x->bytes, "unpacked", (json_int_t)x->unpacked, "compression",
        x->input ? load_compression_name(load_input_compression(x->input)) : "plain", "hash",
        hash128_text(x->hash, hash), "modified",
        (json_int_t)((x->st.st_mtim.tv_sec - PST_EPOCH_OFFSET_S) * PST_SECOND_NS +
                     x->st.st_mtim.tv_nsec),
        "seconds", (double)(clock_monotonic() - x->began) / 1e9, "reader", x->reader->name);
    if (o && more)
        json_object_update(o, more);
    json_decref(more);
    return o;
}

static bool run(struct reading *x, const json_t *args, json_t **result, struct err *err)
{
    const char *slash = strrchr(x->file, '/'),
               *checksum = json_string_value(json_object_get(args, "checksum"));
    x->recipe = load_recipe_decode(json_object_get(args, "recipe"), err);
    if (!x->recipe || !load_recipe_file(x->recipe, slash ? slash + 1 : x->file, err) ||
        !check_file(x, args, err) || !load_dict_init(&x->dict, err) ||
        !(x->reader = reader_of(x, err)))
        return false;
    if (checksum && !x->reader->whole && !(x->digest = load_digest_open(checksum, err)))
        return false;
    struct load_reader_config c = {
        .recipe = x->recipe, .dict = &x->dict, .progress = x->progress, .path = x->file};
    const struct load_input_config in = {
        .compression = x->recipe->compression,
        .threads = !json_is_false(json_object_get(args, "threads")),
        .limit = (uint64_t)json_integer_value(json_object_get(args, "limit")),
        .raw = x->digest ? tap : NULL,
        .arg = x};
    if (!make_sink(x, args, &c, err) ||
        (!x->reader->whole && !(x->input = load_input_open(x->file, &in, err))))
        return false;
    if (x->input && x->progress)
        store_relaxed(&x->progress->total, load_input_size(x->input));
    c.input = x->reader->pull ? x->input : NULL;
    if (!(x->state = x->reader->open(&c, err)))
        return false;
    bool ok = x->reader->whole  ? read_whole(x, err)
              : x->reader->pull ? read_pulling(x, err)
                                : read_pieces(x, err);
    if (ok && x->input) {
        x->hash = load_input_hash(x->input);
        x->bytes = load_input_size(x->input);
        x->unpacked = load_input_produced(x->input);
    }
    if (x->preview.rows && (ok || x->preview.enough)) {
        *result = preview_json(&x->preview);
        return true;
    }
    ok = ok && check_digest(x, checksum, err);
    if (x->plugin) {
        ok = x->hooks->plugin_sink_end(x->hooks->arg, x->plugin, ok, err) && ok;
        x->plugin = NULL;
    }
    if (!ok)
        return false;
    json_t *facts = facts_of(x);
    ok = load_save_finish(x->save, facts, result, err);
    json_decref(facts);
    return ok;
}

bool load_read_run(const json_t *args, const struct load_hooks *hooks,
                   struct load_progress *progress, json_t **result, struct err *err)
{
    struct reading x = {.hooks = hooks, .progress = progress, .began = clock_monotonic()};
    x.file = json_string_value(json_object_get(args, "file"));
    x.dir = json_string_value(json_object_get(args, "dir"));
    bool ok =
        x.file ? run(&x, args, result, err) : err_set(err, -EINVAL, "a read task without a file");
    if (!ok && x.file)
        changed_meanwhile(&x, err);
    if (x.plugin)
        hooks->plugin_sink_end(hooks->arg, x.plugin, false, NULL);
    if (x.state)
        x.reader->close(x.state);
    load_input_close(x.input); /* behind the reader: its last piece is the input's */
    load_digest_close(x.digest);
    load_save_close(x.save);
    json_decref(x.preview.rows);
    json_decref(x.preview.rejects);
    load_dict_free(&x.dict);
    load_recipe_free(x.recipe);
    return ok;
}

bool load_hash_run(const json_t *args, struct load_progress *progress, json_t **result,
                   struct err *err)
{
    const char *file = json_string_value(json_object_get(args, "file"));
    struct stat st;
    struct hash128 hash;
    uint64_t bytes = 0;
    char text[33];
    if (!file)
        return err_set(err, -EINVAL, "a hash task without a file");
    if (!look(file, &st, err))
        return false;
    if (S_ISDIR(st.st_mode) ? !directory_hash(file, &bytes, &hash, err)
                            : !load_file_hash(file, &bytes, &hash, err))
        return false;
    load_progress_add(progress, 0, bytes);
    *result = json_pack("{s:I,s:s}", "bytes", (json_int_t)bytes, "hash", hash128_text(hash, text));
    return true;
}

bool load_verify_run(const json_t *args, struct load_progress *progress, json_t **result,
                     struct err *err)
{
    const char *dir = json_string_value(json_object_get(args, "dir"));
    (void)progress;
    return dir ? load_result_check(dir, true, result, err)
               : err_set(err, -EINVAL, "a verify task without a directory");
}
