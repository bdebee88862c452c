/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/crc.h"
#include "hdb_sym.h"
#include "load/publish.h"

#define INTENT        "publishing"
#define INTENT_FORMAT 1
#define INTENT_BYTES  (64u << 20)

static bool failed(struct err *err, int r, const char *path, const char *what)
{
    return err_set(err, r, "%s: cannot be %s: %s", path, what, strerror(-r));
}

/* ---- names ---- */

bool load_batch_key_good(const char *batch)
{
    size_t n = strlen(batch);
    return n && n <= LOAD_BATCH_MAX && *batch != '.' &&
           strspn(batch, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

bool load_merge_dir(const char *disk, const char *batch, int32_t date, const char *table,
                    char out[1200])
{
    char day[CIVIL_TEXT];
    int n = table ? snprintf(out, 1200, "%s/%s/%s/%s/%s", disk, LOAD_SIDE_DIR, batch,
                             civil_format(date, day), table)
                  : snprintf(out, 1200, "%s/%s/%s", disk, LOAD_SIDE_DIR, batch);
    return n > 0 && n < 1200;
}

bool load_base(const char *table_dir, char out[LOAD_BASE_TEXT], struct err *err)
{
    struct stat st;
    uint32_t crc = 0;
    uint8_t *text = malloc(HDB_META_BYTES);
    int dir = open(table_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = dir < 0 || fstat(dir, &st) ? errno : 0;
    if (dir < 0 && e == ENOENT) {
        snprintf(out, LOAD_BASE_TEXT, "absent");
        free(text);
        return true;
    }
    int fd = e ? -1 : openat(dir, HDB_META_NAME, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 || !text ? 0 : pread(fd, text, HDB_META_BYTES, 0);
    if (n > 0)
        crc = crc32c(0, text, (size_t)n);
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    bool have = text != NULL;
    free(text);
    if (e || !have)
        return err_set(err, e ? -e : -ENOMEM, "%s: cannot be looked at: %s", table_dir,
                       strerror(e ? e : ENOMEM));
    snprintf(out, LOAD_BASE_TEXT, "%llx.%llx.%llx.%08x", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino,
             (unsigned long long)st.st_mtim.tv_sec * 1000000000ull +
                 (unsigned long long)st.st_mtim.tv_nsec,
             crc);
    return true;
}

/* ---- the intent ---- */

struct date { /* of a publication */
    struct hdb_stage stage;
    unsigned first, n; /* of plan.name */
};
struct plan {
    char batch[LOAD_BATCH_MAX + 1];
    uint64_t instance, commit, epoch;
    struct date *date;
    unsigned ndates;
    char (*name)[SCHEMA_NAME_MAX]; /* tables, by date */
    unsigned ntables;
};

static void plan_free(struct plan *p)
{
    free(p->date);
    free(p->name);
    memset(p, 0, sizeof *p);
}

/* The batch's directory of a date, as a stage that is renamed from. */
static bool stage_of(struct hdb_stage *s, struct io *io, struct hdb *h, const char *batch,
                     int32_t date, struct err *err)
{
    char day[CIVIL_TEXT], dir[1200];
    struct io_stat st;
    memset(s, 0, sizeof *s);
    s->io = io;
    s->date = date;
    s->files_synced = true; /* what is written here is synced at once */
    snprintf(s->disk, sizeof s->disk, "%s", hdb_disk(h, hdb_disk_of(h, date)));
    if (!load_merge_dir(s->disk, batch, date, ".", dir) || strlen(dir) >= sizeof s->dir + 2)
        return err_set(err, -ENAMETOOLONG, "%s: the path is too long", s->disk);
    snprintf(s->dir, sizeof s->dir, "%.*s", (int)strlen(dir) - 2, dir);
    snprintf(s->final, sizeof s->final, "%.1000s/%s", s->disk, civil_format(date, day));
    int r = io->ops->stat(io, s->final, &st);
    if (r < 0 && r != -ENOENT)
        return failed(err, r, s->final, "looked at");
    s->fresh = r == -ENOENT;
    return true;
}

static char *intent_encode(const struct plan *p, size_t *len)
{
    char hex[20], day[CIVIL_TEXT];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)p->instance);
    json_t *dates = json_array();
    for (unsigned i = 0; i < p->ndates; i++) {
        const struct date *d = &p->date[i];
        json_t *tables = json_array();
        for (unsigned k = 0; k < d->n; k++)
            json_array_append_new(tables, json_string(p->name[d->first + k]));
        json_array_append_new(dates, json_pack("{s:s,s:o}", "date",
                                               civil_format(d->stage.date, day), "tables", tables));
    }
    json_t *o = json_pack("{s:i,s:s,s:s,s:I,s:I,s:o}", "format", INTENT_FORMAT, "batch", p->batch,
                          "instance", hex, "commit", (json_int_t)p->commit, "epoch",
                          (json_int_t)p->epoch, "dates", dates);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL, *out = NULL;
    json_decref(o);
    if (text && (out = malloc(strlen(text) + 32)))
        *len = strlen(text) +
               (size_t)sprintf(stpcpy(out, text), "\ncrc32c %08x\n", crc32c(0, text, strlen(text)));
    free(text);
    return out;
}

static void intent_path(struct hdb *h, char out[1200], const char *more)
{
    snprintf(out, 1200, "%.1000s/%s/%s%s", hdb_root(h), HDB_SIDE_DIR, INTENT, more);
}

/* *named: it is there under its name, though perhaps not for good. */
static bool intent_write(struct io *io, struct hdb *h, const struct plan *p, bool *named,
                         struct err *err)
{
    char path[1200], fresh[1200], dir[1200];
    size_t len = 0;
    char *text = intent_encode(p, &len);
    intent_path(h, path, "");
    intent_path(h, fresh, ".new");
    snprintf(dir, sizeof dir, "%.1000s/%s", hdb_root(h), HDB_SIDE_DIR);
    if (!text)
        return err_set(err, -ENOMEM, "%s: no memory", path);
    int fd = io->ops->open(io, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd < 0 ? fd : io_pwrite_all(io, fd, text, len, 0);
    if (!r)
        r = io->ops->fsync(io, fd);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    free(text);
    if (r >= 0)
        r = io->ops->rename(io, fresh, path);
    *named = r >= 0;
    if (r >= 0)
        r = io->ops->sync_dir(io, dir);
    return r >= 0 || failed(err, r, path, "written");
}

static bool hex64(const char *t, uint64_t *v)
{
    char *end;
    if (!t || strlen(t) != 16)
        return false;
    *v = strtoull(t, &end, 16);
    return !*end;
}

static bool name_good(const char *t)
{
    return t && *t && *t != '.' && strlen(t) < SCHEMA_NAME_MAX && !strchr(t, '/') &&
           t[strlen(t) - 1] != '$';
}

static bool plan_take(struct plan *p, struct io *io, struct hdb *h, const json_t *o,
                      struct err *err)
{
    const json_t *dates = json_object_get(o, "dates"), *d, *t;
    const char *batch = json_string_value(json_object_get(o, "batch"));
    size_t i, k, tables = 0;
    if (!batch || !load_batch_key_good(batch) ||
        !hex64(json_string_value(json_object_get(o, "instance")), &p->instance))
        return false;
    snprintf(p->batch, sizeof p->batch, "%s", batch);
    p->commit = (uint64_t)json_integer_value(json_object_get(o, "commit"));
    p->epoch = (uint64_t)json_integer_value(json_object_get(o, "epoch"));
    json_array_foreach(dates, i, d) tables += json_array_size(json_object_get(d, "tables"));
    p->date = calloc(json_array_size(dates) + 1, sizeof *p->date);
    p->name = calloc(tables + 1, sizeof *p->name);
    if (!p->date || !p->name)
        return false;
    json_array_foreach(dates, i, d)
    {
        const char *day = json_string_value(json_object_get(d, "date"));
        struct date *x = &p->date[p->ndates];
        int32_t date;
        if (!day || !civil_parse(day, &date) || !stage_of(&x->stage, io, h, p->batch, date, err))
            return false;
        x->first = p->ntables;
        p->ndates++;
        json_array_foreach(json_object_get(d, "tables"), k, t)
        {
            if (!name_good(json_string_value(t)))
                return false;
            strcpy(p->name[p->ntables++], json_string_value(t));
            x->n++;
        }
    }
    return p->epoch && p->commit;
}

/* 1: there is one; 0: none; -1: err. */
static int intent_read(struct io *io, struct hdb *h, struct plan *p, struct err *err)
{
    char path[1200], crc[32];
    struct io_stat st;
    memset(p, 0, sizeof *p);
    intent_path(h, path, "");
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    if (fd == -ENOENT)
        return 0;
    int r = fd < 0 ? fd : io->ops->fstat(io, fd, &st);
    char *b = NULL;
    if (r >= 0 && st.size > INTENT_BYTES)
        r = -EBADMSG;
    if (r >= 0 && !(b = malloc(st.size + 1)))
        r = -ENOMEM;
    if (r >= 0)
        r = io_pread_all(io, fd, b, st.size, 0);
    if (fd >= 0)
        io->ops->close(io, fd);
    if (r < 0) {
        free(b);
        failed(err, r, path, "read");
        return -1;
    }
    b[st.size] = 0;
    const char *nl = strchr(b, '\n');
    size_t n = nl ? (size_t)(nl - b) : 0;
    snprintf(crc, sizeof crc, "\ncrc32c %08x\n", crc32c(0, b, n));
    json_t *o = nl && !strcmp(nl, crc) ? json_loadb(b, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_int_t format = json_integer_value(json_object_get(o, "format"));
    free(b);
    struct err why = {0};
    bool ok = false;
    if (format > INTENT_FORMAT)
        err_set(err, -ENOTSUP,
                "%s: is of format %lld, this program reads up to %d; use a newer one", path,
                (long long)format, INTENT_FORMAT);
    else if (o && format == INTENT_FORMAT && plan_take(p, io, h, o, &why))
        ok = true;
    else if (why.code)
        err_set(err, why.code, "%s", why.text);
    else
        err_set(err, -EBADMSG,
                "%s: is damaged; a batch may be in the database only in part: move the file away "
                "and load the batch again",
                path);
    json_decref(o);
    if (!ok)
        plan_free(p);
    return ok ? 1 : -1;
}

/* ---- markers ---- */

static bool meta_of(const char *dir, struct hdb_meta *m, struct err *err)
{
    char path[1400];
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/%s", dir, HDB_META_NAME);
    if (fd < 0)
        return failed(err, -errno, dir, "opened");
    bool ok = hdb_meta_read(m, fd, path, err);
    close(fd);
    return ok;
}

static bool has_commit(const struct hdb_meta *m, uint64_t instance, uint64_t commit)
{
    for (unsigned i = 0; i < m->nsources; i++)
        if (m->source[i].instance == instance && hdb_source_load(&m->source[i]) &&
            m->source[i].end > commit)
            return true;
    return false;
}

/* Every file that the marker names, with its rows: merge tasks ran in other processes. */
static bool complete(const char *dir, const struct hdb_meta *m, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(err, -errno, dir, "opened");
    bool ok = true;
    for (unsigned i = 0; ok && i < m->ncols; i++) {
        struct kdb_column c;
        struct stat st;
        if (!kdb_open_head(&c, fd, m->col[i].name, err)) {
            ok = false;
            break;
        }
        if (c.rows != m->rows || c.type != m->col[i].type || fstatat(fd, m->col[i].name, &st, 0) ||
            (uint64_t)st.st_size != kdb_file_bytes(c.type, c.rows))
            ok = err_set(err, -EBADMSG, "%s/%s: is not what was merged", dir, m->col[i].name);
        kdb_close(&c);
    }
    close(fd);
    return ok;
}

/* ---- renames ---- */

static void path_of(char out[1200], const char *dir, const char *table)
{
    snprintf(out, 1200, "%.1100s/%.47s", dir, table);
}

/* The tables of a date that exists; those that are in already lie here as what they replaced. */
static bool put_date(const struct plan *p, struct date *d, struct hdb_meta *m, struct err *err)
{
    struct hdb_stage *s = &d->stage;
    struct io *io = s->io;
    struct io_stat st;
    int r = io->ops->stat(io, s->dir, &st);
    if (r == -ENOENT)
        return true; /* the whole date is in, or it was tidied up */
    if (r < 0)
        return failed(err, r, s->dir, "looked at");
    if (s->fresh) {
        r = io->ops->rename(io, s->dir, s->final);
        if (r < 0)
            return failed(err, r, s->final, "put in place");
        s->added = d->n;
        PST_FAULT("load.date");
        return true;
    }
    for (unsigned i = 0; i < d->n; i++) {
        char staged[1200];
        struct err why = {0};
        path_of(staged, s->dir, p->name[d->first + i]);
        if (!meta_of(staged, m, &why) || m->epoch != p->epoch)
            continue;
        if (!hdb_stage_put_table(s, p->name[d->first + i], err))
            return false;
        PST_FAULT("load.table");
    }
    r = io->ops->sync_dir(io, s->final);
    if (r >= 0)
        r = io->ops->sync_dir(io, s->dir);
    return r >= 0 || failed(err, r, s->final, "synced");
}

static bool put(const struct plan *p, struct err *err)
{
    struct hdb_meta *m = malloc(sizeof *m);
    bool ok = m || err_set(err, -ENOMEM, "no memory for a marker");
    for (unsigned i = 0; ok && i < p->ndates; i++)
        ok = put_date(p, &p->date[i], m, err);
    PST_FAULT("load.renamed");
    for (unsigned i = 0; ok && i < p->ndates; i++) {
        struct hdb_stage *s = &p->date[i].stage;
        char batch[1200];
        int r = s->io->ops->sync_dir(s->io, s->disk);
        if (r >= 0 && s->fresh && load_merge_dir(s->disk, p->batch, 0, NULL, batch))
            r = s->io->ops->sync_dir(s->io, batch);
        ok = r >= 0 || r == -ENOENT || failed(err, r, s->disk, "synced");
    }
    free(m);
    return ok;
}

bool load_publish_finish(struct io *io, struct hdb *h, bool finish, uint64_t *epoch,
                         void (*fn)(void *arg, const char *sentence), void *arg, struct err *err)
{
    struct plan p;
    *epoch = 0;
    int there = intent_read(io, h, &p, err);
    if (there <= 0)
        return there == 0;
    *epoch = p.epoch;
    bool ok = !finish || put(&p, err);
    unsigned moved = 0;
    for (unsigned i = 0; i < p.ndates; i++)
        moved += (unsigned)(p.date[i].stage.added + p.date[i].stage.exchanged);
    if (ok && moved && fn) {
        char text[200];
        snprintf(text, sizeof text,
                 "batch %s: %u tables put in place; its publication was interrupted", p.batch,
                 moved);
        fn(arg, text);
    }
    plan_free(&p);
    return ok;
}

/* ---- publishing ---- */

static int by_date(const void *a, const void *b)
{
    const struct load_move_table *const *x = a, *const *y = b;
    if ((*x)->date != (*y)->date)
        return (*x)->date < (*y)->date ? -1 : 1;
    return strcmp((*x)->table, (*y)->table);
}

/* in: tables of the move that are in already, by number. */
static bool plan_move(struct plan *p, struct io *io, struct hdb *h, const struct load_move *m,
                      const bool *in, uint64_t epoch, struct err *err)
{
    memset(p, 0, sizeof *p);
    snprintf(p->batch, sizeof p->batch, "%s", m->batch);
    p->instance = m->instance;
    p->commit = m->commit;
    p->epoch = epoch;
    p->date = calloc(m->n + 1, sizeof *p->date);
    p->name = calloc(m->n + 1, sizeof *p->name);
    const struct load_move_table **t = calloc(m->n + 1, sizeof(struct load_move_table *));
    bool ok = p->date && p->name && t;
    if (!ok)
        err_set(err, -ENOMEM, "no memory for a batch of %u tables", m->n);
    unsigned n = 0;
    for (unsigned i = 0; ok && i < m->n; i++)
        if (!in[i])
            t[n++] = &m->table[i];
    if (ok)
        qsort(t, n, sizeof(struct load_move_table *), by_date);
    for (unsigned i = 0; ok && i < n; i++) {
        struct date *d = &p->date[p->ndates];
        if (!name_good(t[i]->table)) {
            ok = err_set(err, -EINVAL, "a batch names a table that cannot be");
            break;
        }
        strcpy(p->name[p->ntables], t[i]->table);
        if (!i || t[i]->date != t[i - 1]->date) {
            ok = stage_of(&d->stage, io, h, p->batch, t[i]->date, err);
            d->first = p->ntables;
            p->ndates++;
        }
        p->date[p->ndates - 1].n++;
        p->ntables++;
    }
    free(t);
    return ok;
}

/* Is it in, and does each table stand on what exists? */
static bool look(struct hdb *h, const struct load_move *m, struct load_moved *out, bool *in,
                 bool *already, struct err *err)
{
    struct hdb_meta *meta = malloc(sizeof *meta);
    unsigned nin = 0, stale = 0;
    char day[CIVIL_TEXT], final[1200], base[LOAD_BASE_TEXT], which[120] = "";
    bool ok = meta || err_set(err, -ENOMEM, "no memory for a marker");
    for (unsigned i = 0; ok && i < m->n; i++) {
        const struct load_move_table *t = &m->table[i];
        struct err why = {0};
        snprintf(final, sizeof final, "%.1000s/%s/%.47s", hdb_disk(h, hdb_disk_of(h, t->date)),
                 civil_format(t->date, day), t->table);
        if (out->stale)
            out->stale[i] = false;
        if (meta_of(final, meta, &why) && has_commit(meta, m->instance, m->commit)) {
            out->rows += meta->rows;
            in[i] = true;
            nin++;
            continue;
        }
        ok = load_base(final, base, err);
        if (!ok || !strcmp(base, t->base))
            continue;
        if (out->stale)
            out->stale[i] = true;
        if (!stale++)
            snprintf(which, sizeof which, "%.60s of %s", t->table, day);
    }
    free(meta);
    if (!ok)
        return false;
    *already = nin == m->n;
    if (stale) {
        out->verdict = LOAD_STALE;
        return err_set(err, -ESTALE, "%u tables were replaced since they were merged: %s%s", stale,
                       which, stale > 1 ? " …" : "");
    }
    return true;
}

/* The last files of a table: the marker with the epoch, then `.d`. */
static bool complete_table(const struct plan *p, const struct date *d, const char *table,
                           struct hdb_meta *m, uint64_t *rows, struct err *err)
{
    struct hdb_stage s = d->stage;
    char dir[1200];
    const char *names[SCHEMA_COLUMNS_MAX];
    path_of(dir, s.dir, table);
    if (!meta_of(dir, m, err))
        return false;
    if (strcmp(m->table, table) != 0 || m->date != s.date ||
        !has_commit(m, p->instance, p->commit) || !m->ncols)
        return err_set(err, -EBADMSG, "%s: its marker is another batch's", dir);
    if (!complete(dir, m, err))
        return false;
    m->epoch = p->epoch;
    m->written = clock_system();
    for (unsigned i = 0; i < m->ncols; i++)
        names[i] = m->col[i].name;
    *rows += m->rows;
    if (!hdb_meta_write(m, s.io, dir, true, true, err) ||
        !hdb_stage_names(&s, table, names, m->ncols, err))
        return false;
    int r = s.io->ops->sync_dir(s.io, dir);
    return r >= 0 || failed(err, r, dir, "synced");
}

static bool stage_date(const struct plan *p, struct date *d, const char *calendar,
                       const struct schema *const *schemas, unsigned nschemas, uint64_t *rows,
                       struct err *err)
{
    struct hdb_meta *m = calloc(1, sizeof *m);
    bool ok = m || err_set(err, -ENOMEM, "no memory for a marker");
    for (unsigned i = 0; ok && i < d->n; i++)
        ok = complete_table(p, d, p->name[d->first + i], m, rows, err);
    if (ok && d->stage.fresh) {
        memset(m, 0, sizeof *m);
        snprintf(m->calendar, sizeof m->calendar, "%s", calendar ? calendar : "");
        m->epoch = p->epoch;
        m->source[0] = (struct hdb_source){
            .instance = p->instance, .first = p->commit, .end = p->commit + 1, .kind = "load"};
        m->nsources = 1;
        d->stage.files_synced = false; /* sync_dates does, all together */
        ok = hdb_stage_fill(&d->stage, schemas, nschemas, m, err);
        d->stage.files_synced = true;
        if (ok)
            hdb_sync_soon(d->stage.io, d->stage.dir);
    }
    free(m);
    return ok;
}

/* A new date has a few files of every table that is declared: they are many, and small. */
static bool sync_dates(const struct plan *p, const struct load_move *m, struct err *err)
{
    for (unsigned i = 0; i < p->ndates; i++) {
        const struct hdb_stage *s = &p->date[i].stage;
        if (m->beat)
            m->beat(m->beat_arg);
        if (s->fresh && !hdb_sync_tree(s->io, s->dir, err))
            return false;
        int r = s->io->ops->sync_dir(s->io, s->dir);
        if (r < 0)
            return failed(err, r, s->dir, "synced");
    }
    return true;
}

/* The directories above the stages: what is in them was made by workers. */
static bool sync_above(const struct plan *p, struct err *err)
{
    for (unsigned i = 0; i < p->ndates; i++) {
        const struct hdb_stage *s = &p->date[i].stage;
        char path[1200];
        static const char *const above[] = {"/" LOAD_SIDE_DIR, "/" HDB_SIDE_DIR, ""};
        int r = load_merge_dir(s->disk, p->batch, 0, NULL, path) ? s->io->ops->sync_dir(s->io, path)
                                                                 : -ENAMETOOLONG;
        for (unsigned k = 0; r >= 0 && k < PST_COUNT(above); k++) {
            snprintf(path, sizeof path, "%.1000s%s", s->disk, above[k]);
            r = s->io->ops->sync_dir(s->io, path);
        }
        if (r < 0)
            return failed(err, r, path, "synced");
    }
    return true;
}

static bool publish(struct plan *p, struct io *io, struct hdb *h, const struct load_move *m,
                    const char *calendar, const struct schema *const *schemas, unsigned nschemas,
                    const char *lockfile, bool *published, struct load_moved *out, struct err *err)
{
    for (unsigned i = 0; i < p->ndates; i++) {
        if (m->beat)
            m->beat(m->beat_arg);
        if (!stage_date(p, &p->date[i], calendar, schemas, nschemas, &out->rows, err))
            return false;
    }
    if (!sync_dates(p, m, err) || !sync_above(p, err))
        return false;
    PST_FAULT("load.staged");
    bool named = false;
    if (!hdb_lockfile_make(io, lockfile, err)) {
        if (err->code != -ENOSPC && err->code != -EDQUOT)
            err->code = -EIO; /* people mend it; the batch waits */
        return false;
    }
    if (!intent_write(io, h, p, &named, err)) {
        if (!named)
            hdb_lockfile_remove(io, lockfile);
        return false;
    }
    *published = true;
    PST_FAULT("load.intent");
    int64_t from = io->ops->monotonic(io);
    bool ok = put(p, err);
    out->seconds = (double)(io->ops->monotonic(io) - from) / 1e9;
    if (ok) /* else names are between old and new until somebody has finished */
        hdb_lockfile_remove(io, lockfile);
    out->tables = p->ntables;
    for (unsigned i = 0; i < p->ndates; i++) {
        out->exchanged += (unsigned)p->date[i].stage.exchanged;
        if (*p->date[i].stage.note)
            memcpy(out->note, p->date[i].stage.note, sizeof out->note);
    }
    return ok;
}

void load_publish(struct io *io, struct hdb *h, const struct load_move *m, uint64_t epoch,
                  const char *calendar, const struct schema *const *schemas, unsigned nschemas,
                  const char *lockfile, bool *published, struct load_moved *out)
{
    struct plan p = {0};
    struct err err = {0};
    bool already = false, *stale = out->stale;
    memset(out, 0, sizeof *out);
    out->stale = stale;
    out->verdict = LOAD_FAILED;
    *published = false;
    bool ok = (m->n && m->commit && load_batch_key_good(m->batch)) ||
              err_set(&err, -EINVAL, "a batch without tables, number or key");
    bool *in = ok ? calloc(m->n, sizeof *in) : NULL;
    if (ok && !in)
        ok = err_set(&err, -ENOMEM, "no memory for a batch of %u tables", m->n);
    ok = ok && look(h, m, out, in, &already, &err);
    if (ok && !already) {
        ok = plan_move(&p, io, h, m, in, epoch, &err) &&
             publish(&p, io, h, m, calendar, schemas, nschemas, lockfile, published, out, &err);
    }
    plan_free(&p);
    free(in);
    if (ok)
        out->verdict = LOAD_DONE;
    else if (*published) /* it will be finished: trying again finds it done */
        err.code = -EIO;
    out->already = ok && already;
    out->err = err;
}

/* ---- tidying ---- */

bool load_publish_tidy(struct io *io, struct hdb *h, const char *batch, struct err *err)
{
    char dir[1200];
    bool ok = load_batch_key_good(batch) || err_set(err, -EINVAL, "a batch without a good key");
    for (unsigned d = 0; ok && d < hdb_ndisks(h); d++)
        ok = load_merge_dir(hdb_disk(h, d), batch, 0, NULL, dir) && hdb_remove_tree(io, dir, err);
    return ok;
}

struct swept {
    const char *prefix;
    const char *const *keep;
    unsigned n, found, room;
    char (*name)[LOAD_BATCH_MAX + 1];
};

static bool see_batch(void *arg, const char *name)
{
    struct swept *s = arg;
    if (strncmp(name, s->prefix, strlen(s->prefix)) != 0 || !load_batch_key_good(name))
        return true;
    for (unsigned i = 0; i < s->n; i++)
        if (!strcmp(name, s->keep[i]))
            return true;
    if (s->found == s->room) {
        unsigned room = s->room ? 2 * s->room : 16;
        void *more = realloc(s->name, room * sizeof *s->name);
        if (!more)
            return false; /* the rest another time */
        s->name = more;
        s->room = room;
    }
    strcpy(s->name[s->found++], name);
    return true;
}

bool load_publish_sweep(struct io *io, struct hdb *h, const char *prefix, const char *const *keep,
                        unsigned n, unsigned *deleted, struct err *err)
{
    uint64_t epoch;
    *deleted = 0;
    /* What an intent still needs is put in place first: then its directories are like others. */
    if (!load_publish_finish(io, h, true, &epoch, NULL, NULL, err))
        return false;
    bool ok = *prefix || err_set(err, -EINVAL, "a sweep needs a prefix");
    for (unsigned d = 0; ok && d < hdb_ndisks(h); d++) {
        struct swept s = {.prefix = prefix, .keep = keep, .n = n};
        char dir[1200];
        snprintf(dir, sizeof dir, "%.1000s/%s", hdb_disk(h, d), LOAD_SIDE_DIR);
        int r = io->ops->list(io, dir, see_batch, &s);
        if (r < 0 && r != -ENOENT)
            ok = failed(err, r, dir, "listed");
        for (unsigned i = 0; ok && i < s.found; i++) {
            ok = load_merge_dir(hdb_disk(h, d), s.name[i], 0, NULL, dir) &&
                 hdb_remove_tree(io, dir, err);
            *deleted += ok;
        }
        free(s.name);
    }
    return ok;
}
