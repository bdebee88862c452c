/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>
#include "core/clock.h"
#include "hdb_publish.h"
#include "hdb_sym.h"
#include "load/publish.h"

#define OLD_SUFFIX                                                                                 \
    ".old$" /* a table that was moved aside where directories cannot be exchanged                  \
             */

static bool failed(struct err *err, int r, const char *path, const char *what)
{
    return err_set(err, r, "%s: cannot be %s: %s", path, what, strerror(-r));
}

/* ---- directories ---- */

struct names {
    char **name;
    unsigned n;
    bool bad;
};

static bool take_name(void *arg, const char *name)
{
    struct names *l = arg;
    char **more = realloc(l->name, (l->n + 1) * sizeof *more), *copy = strdup(name);
    if (more)
        l->name = more;
    if (!more || !copy) {
        free(copy);
        l->bad = true;
        return false;
    }
    l->name[l->n++] = copy;
    return true;
}

/* Names first, then work: entries change while we go. */
static int names_of(struct io *io, const char *dir, struct names *l)
{
    *l = (struct names){0};
    int r = io->ops->list(io, dir, take_name, l);
    if (r >= 0 && l->bad)
        r = -ENOMEM;
    if (r < 0) {
        hdb_names_free(l->name, l->n);
        *l = (struct names){0};
    }
    return r;
}

static bool exists(struct io *io, const char *path)
{
    struct io_stat st;
    return io->ops->stat(io, path, &st) >= 0;
}

static bool join(char *out, size_t room, const char *dir, const char *name, const char *more,
                 struct err *err)
{
    return (size_t)snprintf(out, room, "%s/%s%s", dir, name, more) < room ||
           err_set(err, -ENAMETOOLONG, "%s: the path is too long", dir);
}

bool hdb_remove_tree(struct io *io, const char *dir, struct err *err)
{
    struct names l;
    char path[1400];
    int r = names_of(io, dir, &l);
    if (r == -ENOENT)
        return true;
    if (r < 0)
        return failed(err, r, dir, "listed");
    bool ok = true;
    for (unsigned i = 0; ok && i < l.n; i++) {
        ok = join(path, sizeof path, dir, l.name[i], "", err);
        r = ok ? io->ops->unlink(io, path) : 0;
        if (r == -EISDIR || r == -EPERM)
            ok = hdb_remove_tree(io, path, err);
        else if (r < 0 && r != -ENOENT)
            ok = failed(err, r, path, "deleted");
    }
    hdb_names_free(l.name, l.n);
    r = ok ? (io->ops->rmdir ? io->ops->rmdir(io, dir) : -ENOSYS) : 0;
    return ok && (r >= 0 || failed(err, r, dir, "deleted"));
}

static bool sync_file(struct io *io, const char *path, struct err *err)
{
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    int r = fd < 0 ? fd : io->ops->fsync(io, fd);
    if (fd >= 0)
        io->ops->close(io, fd);
    return r >= 0 || failed(err, r, path, "synced");
}

/* All files are on their way before the first one is waited for: the others are then mostly done
 * with it. Errors come back from the sync. */
static void sync_soon(struct io *io, const char *dir)
{
    struct names l;
    struct io_stat st;
    char path[1400];
    if (!io->ops->fsync_soon || names_of(io, dir, &l) < 0)
        return;
    for (unsigned i = 0; i < l.n; i++) {
        struct err ignored;
        if (!join(path, sizeof path, dir, l.name[i], "", &ignored) ||
            io->ops->stat(io, path, &st) < 0)
            continue;
        int fd = st.directory ? -1 : io->ops->open(io, path, O_RDONLY, 0);
        if (st.directory)
            sync_soon(io, path);
        if (fd >= 0) {
            io->ops->fsync_soon(io, fd);
            io->ops->close(io, fd);
        }
    }
    hdb_names_free(l.name, l.n);
}

/* Files (if asked) and all directories, the deepest first. */
static bool sync_below(struct io *io, const char *dir, bool files, struct err *err)
{
    struct names l;
    struct io_stat st;
    char path[1400];
    int r = names_of(io, dir, &l);
    if (r < 0)
        return failed(err, r, dir, "listed");
    bool ok = true;
    for (unsigned i = 0; ok && i < l.n; i++) {
        ok = join(path, sizeof path, dir, l.name[i], "", err);
        r = ok ? io->ops->stat(io, path, &st) : 0;
        if (r < 0)
            ok = failed(err, r, path, "synced");
        else if (ok && st.directory)
            ok = sync_below(io, path, files, err);
        else if (ok && files)
            ok = sync_file(io, path, err);
    }
    hdb_names_free(l.name, l.n);
    r = ok ? io->ops->sync_dir(io, dir) : 0;
    return ok && (r >= 0 || failed(err, r, dir, "synced"));
}

void hdb_sync_soon(struct io *io, const char *dir)
{
    sync_soon(io, dir);
}

bool hdb_sync_tree(struct io *io, const char *dir, struct err *err)
{
    sync_soon(io, dir);
    return sync_below(io, dir, true, err);
}

static bool write_file(struct io *io, const char *path, const char *text, bool sync,
                       struct err *err)
{
    int fd = io->ops->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd < 0 ? fd : io_pwrite_all(io, fd, text, strlen(text), 0);
    if (!r && sync)
        r = io->ops->fsync(io, fd);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    return r >= 0 || failed(err, r, path, "written");
}

static bool make_dir(struct io *io, const char *path, struct err *err)
{
    int r = io->ops->mkdir(io, path, 0755);
    return r >= 0 || r == -EEXIST || failed(err, r, path, "made");
}

/* ---- the lock ---- */

int hdb_lock(struct io *io, const char *root, const char *who, struct err *err)
{
    char path[1200], text[200] = "";
    snprintf(path, sizeof path, "%.1000s/%s", root, HDB_SIDE_DIR);
    if (!make_dir(io, path, err))
        return err ? err->code : -EIO;
    snprintf(path, sizeof path, "%.1000s/%s/lock", root, HDB_SIDE_DIR);
    int fd = io->ops->open(io, path, O_RDWR | O_CREAT, 0644);
    if (fd < 0) {
        failed(err, fd, path, "opened");
        return fd;
    }
    int r = io->ops->lock(io, fd);
    if (r < 0) {
        int64_t n = io->ops->pread(io, fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        io->ops->close(io, fd);
        if (r == -EWOULDBLOCK)
            err_set(err, r, "%s: is being changed by %s; try again when it is done", root,
                    *text ? text : "another program");
        else
            failed(err, r, path, "locked");
        return r;
    }
    snprintf(text, sizeof text, "%.150s (pid %d)\n", who, (int)getpid());
    (void)!io->ops->ftruncate(io, fd, 0); /* the text is for people only */
    (void)!io->ops->pwrite(io, fd, text, strlen(text), 0);
    return fd;
}

void hdb_unlock(struct io *io, int fd)
{
    if (fd >= 0)
        io->ops->close(io, fd);
}

bool hdb_lockfile_make(struct io *io, const char *path, struct err *err)
{
    char text[40];
    snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (!path || !*path || write_file(io, path, text, false, err))
        return true;
    hdb_lockfile_remove(io, path); /* what is half made would keep readers out for nothing */
    return false;
}

void hdb_lockfile_remove(struct io *io, const char *path)
{
    if (path && *path)
        (void)!io->ops->unlink(io,
                               path); /* advisory; the next publish makes and removes it again */
}

/* ---- cleaning ---- */

/* <date>$ and its mark on one disk. With a mark it is ours: what is in it is not, or no longer,
 * part of the database, except a table that was moved aside and whose successor did not arrive. */
static bool clean_stage(struct io *io, const char *disk, const char *day, struct hdb_cleaned *done,
                        void (*fn)(void *, const char *), void *arg, struct err *err)
{
    char dir[1200], mark[1200], from[1400], to[1400], text[1500];
    struct names l;
    snprintf(dir, sizeof dir, "%.1024s/%s$", disk, day);
    snprintf(mark, sizeof mark, "%.1024s/%s.mark$", disk, day);
    if (!exists(io, mark)) {
        int r = io->ops->rmdir ? io->ops->rmdir(io, dir) : -ENOSYS; /* only if it is empty */
        if (r >= 0 || r == -ENOENT)
            return true;
        if (r != -ENOTEMPTY && r != -EEXIST && r != -ENOTDIR)
            return failed(err, r, dir, "deleted");
        done->foreign++;
        snprintf(text, sizeof text, "%s: is not ours (no %s.mark$ beside it); left alone", dir,
                 day);
        if (fn)
            fn(arg, text);
        return true;
    }
    int r = names_of(io, dir, &l);
    if (r < 0 && r != -ENOENT)
        return failed(err, r, dir, "listed");
    bool ok = true;
    for (unsigned i = 0; ok && r >= 0 && i < l.n; i++) {
        size_t n = strlen(l.name[i]), s = strlen(OLD_SUFFIX);
        if (n <= s || strcmp(l.name[i] + n - s, OLD_SUFFIX) != 0)
            continue;
        snprintf(from, sizeof from, "%s/%.180s", dir, l.name[i]);
        snprintf(to, sizeof to, "%.1024s/%s/%.*s", disk, day, (int)(n - s), l.name[i]);
        if (exists(io, to))
            continue;
        int moved = io->ops->rename(io, from, to);
        ok = moved >= 0 || failed(err, moved, from, "put back");
        done->restored++;
        snprintf(text, sizeof text, "%s: put back; a publish was interrupted while it was aside",
                 to);
        if (ok && fn)
            fn(arg, text);
    }
    if (r >= 0)
        hdb_names_free(l.name, l.n);
    if (ok && r >= 0) {
        snprintf(to, sizeof to, "%.1024s/%s", disk, day);
        (void)!io->ops->sync_dir(io, to); /* it may not exist */
        ok = hdb_remove_tree(io, dir, err);
        done->deleted++;
        snprintf(text, sizeof text, "%s: deleted; it was staged and never published", dir);
        if (ok && fn)
            fn(arg, text);
    }
    if (ok) {
        r = io->ops->unlink(io, mark);
        ok = r >= 0 || r == -ENOENT || failed(err, r, mark, "deleted");
    }
    return ok;
}

bool hdb_clean(struct io *io, struct hdb *h, struct hdb_cleaned *done,
               void (*fn)(void *arg, const char *sentence), void *arg, struct err *err)
{
    struct hdb_cleaned mine = {0};
    bool ok = load_publish_finish(io, h, true, &mine.loading, fn, arg, err);
    for (unsigned d = 0; ok && d < hdb_ndisks(h); d++) {
        struct names l;
        int r = names_of(io, hdb_disk(h, d), &l);
        if (r < 0)
            return failed(err, r, hdb_disk(h, d), "listed");
        for (unsigned i = 0; ok && i < l.n; i++) {
            char day[11];
            int32_t date;
            snprintf(day, sizeof day, "%.10s", l.name[i]);
            const char *rest = strlen(l.name[i]) > 10 ? l.name[i] + 10 : "";
            if (civil_parse(day, &date) && (!strcmp(rest, "$") || !strcmp(rest, ".mark$")))
                ok = clean_stage(io, hdb_disk(h, d), day, &mine, fn, arg, err);
        }
        hdb_names_free(l.name, l.n);
        if (ok && (mine.deleted || mine.restored))
            (void)!io->ops->sync_dir(io, hdb_disk(h, d)); /* a crash here cleans once more */
    }
    if (done)
        *done = mine;
    return ok;
}

/* ---- the stage ---- */

static bool write_mark(struct io *io, const char *path, const char *who, struct err *err)
{
    char stamp[CIVIL_STAMP_TEXT];
    json_t *o = json_pack("{s:i,s:s,s:s,s:i}", "format", 1, "who", who, "since",
                          civil_format_stamp(clock_system(), stamp), "pid", (int)getpid());
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    bool ok = text ? write_file(io, path, text, true, err)
                   : err_set(err, -EINVAL, "%s: who stages it is no text", path);
    free(text);
    return ok;
}

bool hdb_stage_withdraw(struct io *io, const char *disk, int32_t date, const char *who,
                        struct err *err)
{
    char day[CIVIL_TEXT], dir[1200], aside[1200], mark[1200];
    struct hdb_cleaned done = {0};
    civil_format(date, day);
    snprintf(dir, sizeof dir, "%.1024s/%s", disk, day);
    snprintf(aside, sizeof aside, "%.1024s/%s$", disk, day);
    snprintf(mark, sizeof mark, "%.1024s/%s.mark$", disk, day);
    if (!clean_stage(io, disk, day, &done, NULL, NULL, err))
        return false;
    if (done.foreign)
        return err_set(err, -EEXIST, "%s: exists and is not ours; move it away", aside);
    if (!write_mark(io, mark, who, err))
        return false;
    int r = io->ops->sync_dir(io, disk);
    PST_FAULT("withdraw.marked");
    if (r >= 0)
        r = io->ops->rename(io, dir, aside);
    if (r >= 0)
        r = io->ops->sync_dir(io, disk);
    if (r < 0)
        return failed(err, r, dir, "taken out");
    PST_FAULT("withdraw.renamed");
    bool ok = clean_stage(io, disk, day, &done, NULL, NULL, err);
    (void)!io->ops->sync_dir(io, disk); /* a crash here deletes once more */
    return ok;
}

bool hdb_stage_begin(struct hdb_stage *s, struct io *io, struct hdb *h, int32_t date,
                     const char *who, struct err *err)
{
    char day[CIVIL_TEXT];
    struct hdb_cleaned cleaned = {0};
    struct io_stat st;
    memset(s, 0, sizeof *s);
    s->io = io;
    s->date = date;
    civil_format(date, day);
    snprintf(s->disk, sizeof s->disk, "%s", hdb_disk(h, hdb_disk_of(h, date)));
    snprintf(s->dir, sizeof s->dir, "%.1000s/%s$", s->disk, day);
    snprintf(s->final, sizeof s->final, "%.1000s/%s", s->disk, day);
    snprintf(s->mark, sizeof s->mark, "%.1000s/%s.mark$", s->disk, day);
    if (!clean_stage(io, s->disk, day, &cleaned, NULL, NULL, err))
        return false;
    if (cleaned.foreign)
        return err_set(err, -EEXIST, "%s: exists and is not ours; move it away", s->dir);
    int r = io->ops->stat(io, s->final, &st);
    if (r < 0 && r != -ENOENT)
        return failed(err, r, s->final, "looked at");
    s->fresh = r == -ENOENT;
    if (!write_mark(io, s->mark, who, err))
        return false;
    r = io->ops->sync_dir(io, s->disk);
    PST_FAULT("stage.marked");
    return (r >= 0 || failed(err, r, s->disk, "synced")) && make_dir(io, s->dir, err);
}

bool hdb_stage_table(struct hdb_stage *s, const char *table, char dir[1200], struct err *err)
{
    return join(dir, 1200, s->dir, table, "", err) && make_dir(s->io, dir, err);
}

bool hdb_stage_names(struct hdb_stage *s, const char *table, const char *const *names, unsigned n,
                     struct err *err)
{
    char path[1300];
    return join(path, sizeof path, s->dir, table, "/.d", err) &&
           kdb_write_symbols(s->io, path, names, n, s->files_synced, err);
}

bool hdb_stage_empty(struct hdb_stage *s, const struct schema *schema, const struct hdb_meta *from,
                     struct err *err)
{
    char dir[1200], path[1300];
    const char *names[SCHEMA_COLUMNS_MAX];
    struct kdb_writer w;
    if (!hdb_stage_table(s, schema->name, dir, err))
        return false;
    for (unsigned i = 0; i < schema->ncols; i++) {
        names[i] = schema->col[i].name;
        if (!join(path, sizeof path, dir, names[i], "", err) ||
            !kdb_write_open(&w, s->io, path, schema->col[i].type, err) ||
            !kdb_write_close(&w, 0, 0, s->files_synced, err))
            return false;
    }
    struct hdb_meta *m = malloc(sizeof *m);
    if (!m)
        return err_set(err, -ENOMEM, "%s: no memory", dir);
    hdb_meta_init(m, schema, s->date);
    m->sorted = m->has_hash = true; /* of no rows: zero */
    m->captured = schema->feed;
    m->written = clock_system();
    if (from) {
        memcpy(m->calendar, from->calendar, sizeof m->calendar);
        memcpy(m->source, from->source, sizeof m->source);
        m->nsources = from->nsources;
        m->epoch = from->epoch;
    }
    bool ok = hdb_index_write(s->io, dir, NULL, 0, 0, true, s->files_synced, err) &&
              hdb_meta_write(m, s->io, dir, false, s->files_synced, err) &&
              hdb_stage_names(s, schema->name, names, schema->ncols, err);
    free(m);
    return ok;
}

bool hdb_stage_fill(struct hdb_stage *s, const struct schema *const *schemas, unsigned n,
                    const struct hdb_meta *meta, struct err *err)
{
    char staged[1300], final[1300];
    for (unsigned i = 0; i < n; i++) {
        if (!join(staged, sizeof staged, s->dir, schemas[i]->name, "/.d", err) ||
            !join(final, sizeof final, s->final, schemas[i]->name, "/.d", err))
            return false;
        if (!exists(s->io, staged) && !exists(s->io, final) &&
            !hdb_stage_empty(s, schemas[i], meta, err))
            return false;
    }
    return true;
}

/* One table of a date that exists: the new one in, the old one (if any) into the stage. */
bool hdb_stage_put_table(struct hdb_stage *s, const char *table, struct err *err)
{
    struct io *io = s->io;
    char from[1300], to[1300], aside[1300];
    if (!join(from, sizeof from, s->dir, table, "", err) ||
        !join(to, sizeof to, s->final, table, "", err) ||
        !join(aside, sizeof aside, s->dir, table, OLD_SUFFIX, err))
        return false;
    if (!exists(io, to)) {
        int r = io->ops->rename(io, from, to);
        s->added++;
        return r >= 0 || failed(err, r, to, "put in place");
    }
    s->exchanged++;
    int r = io->ops->exchange ? io->ops->exchange(io, from, to) : -ENOSYS;
    if (r >= 0)
        return true;
    if (r != -EINVAL && r != -ENOSYS && r != -EOPNOTSUPP)
        return failed(err, r, to, "exchanged");
    snprintf(s->note, sizeof s->note,
             "The filesystem of %.150s cannot exchange directories: readers may miss %.48s for a "
             "moment.",
             s->disk, table);
    r = io->ops->rename(io, to, aside);
    if (r < 0)
        return failed(err, r, to, "moved aside");
    PST_FAULT("publish.aside");
    r = io->ops->rename(io, from, to);
    if (r >= 0)
        return true;
    (void)!io->ops->rename(io, aside, to); /* if this fails too, hdb_clean puts it back */
    return failed(err, r, to, "put in place");
}

static bool put_tables(struct hdb_stage *s, struct err *err)
{
    struct names l;
    int r = names_of(s->io, s->dir, &l);
    if (r < 0)
        return failed(err, r, s->dir, "listed");
    bool ok = true;
    for (unsigned i = 0; ok && i < l.n; i++) {
        size_t n = strlen(l.name[i]);
        if (l.name[i][n - 1] == '$' || *l.name[i] == '.')
            continue;
        ok = hdb_stage_put_table(s, l.name[i], err);
        PST_FAULT("publish.table");
    }
    hdb_names_free(l.name, l.n);
    if (!ok)
        return false;
    r = s->io->ops->sync_dir(s->io, s->final);
    if (r >= 0)
        r = s->io->ops->sync_dir(s->io, s->dir);
    return r >= 0 || failed(err, r, s->final, "synced");
}

bool hdb_stage_publish(struct hdb_stage *s, struct err *err)
{
    struct io *io = s->io;
    if (!sync_below(io, s->dir, !s->files_synced, err))
        return false;
    int r = io->ops->sync_dir(io, s->disk);
    if (r < 0)
        return failed(err, r, s->disk, "synced");
    PST_FAULT("publish.synced");
    if (!s->fresh) {
        if (!put_tables(s, err))
            return false;
    } else {
        r = io->ops->rename(io, s->dir, s->final);
        if (r < 0)
            return failed(err, r, s->final, "put in place");
    }
    PST_FAULT("publish.renamed");
    r = io->ops->sync_dir(io, s->disk);
    if (r < 0)
        return failed(err, r, s->disk, "synced");
    PST_FAULT("publish.durable");
    /* What follows only tidies up: a crash or an error leaves it to hdb_clean. */
    hdb_stage_abandon(s);
    return true;
}

void hdb_stage_abandon(struct hdb_stage *s)
{
    struct err ignored;
    struct hdb_cleaned done = {0};
    char day[CIVIL_TEXT];
    clean_stage(s->io, s->disk, civil_format(s->date, day), &done, NULL, NULL, &ignored);
    (void)!s->io->ops->sync_dir(s->io, s->disk);
}
