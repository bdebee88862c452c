/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of files when their batch is over; temporaries. */
#include <fcntl.h>
#include "loader.h"

/* ---- the end of a batch ---- */

bool file_stat(struct loader *l, const char *path, struct io_stat *s)
{
    l->f.io_calls++;
    return l->io->ops->stat(l->io, path, s) == 0;
}

/* Beside the file, in a directory that others write to: a link of that name must not be followed.
 */
static int write_beside(struct loader *l, const char *path, const void *bytes, size_t n)
{
    l->f.io_calls += 4;
    l->io->ops->unlink(l->io, path);
    int fd = l->io->ops->open(l->io, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
    if (fd < 0)
        return fd;
    int r = io_pwrite_all(l->io, fd, bytes, n, 0);
    l->io->ops->close(l->io, fd);
    return r;
}

void file_reason(struct loader *l, const char *path, const char *why)
{
    char reason[1300], text[LOADER_WHY + 300];
    snprintf(reason, sizeof reason, "%s.reason", path);
    const char *name = strrchr(path, '/');
    int n = snprintf(text, sizeof text, "%.250s: %s\n", name ? name + 1 : path, why);
    int r = write_beside(l, reason, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    if (r < 0)
        loader_log(l, "%s cannot be written: %s", reason, strerror(-r));
}

void file_rejects(struct loader *l, const struct bfile *f, const char *dir, uint64_t batch,
                  char *where)
{
    char from[1300], to[1400];
    struct io_stat st;
    if (where)
        *where = 0;
    snprintf(from, sizeof from, "%s/rejects", dir);
    int fd = l->io->ops->open(l->io, from, O_RDONLY | O_NOFOLLOW, 0); /* a worker's: hostile */
    l->f.io_calls += 3;
    if (fd < 0)
        return;
    int r = l->io->ops->fstat(l->io, fd, &st);
    char *bytes = r >= 0 && st.size < 64u << 20 ? malloc(st.size + 1) : NULL;
    if (bytes && st.size && io_pread_all(l->io, fd, bytes, st.size, 0) == 0) {
        if (l->c.rejects_directory)
            snprintf(to, sizeof to, "%s/%s.%llu.rejects", l->c.rejects_directory, f->name,
                     (unsigned long long)batch);
        else
            snprintf(to, sizeof to, "%s.rejects", f->path);
        r = write_beside(l, to, bytes, st.size);
        if (r < 0)
            loader_log(l, "%s cannot be written: %s", to, strerror(-r));
        else if (where)
            memcpy(where, to, sizeof to);
    }
    free(bytes);
    l->io->ops->close(l->io, fd);
}

/* To another directory; a file of that name there is not replaced. */
static int move_to(struct loader *l, const char *path, const char *name, const char *directory,
                   uint64_t batch)
{
    char to[1400];
    struct io_stat st;
    snprintf(to, sizeof to, "%s/%s", directory, name);
    if (file_stat(l, to, &st))
        snprintf(to, sizeof to, "%s/%s.%llu", directory, name, (unsigned long long)batch);
    l->f.io_calls++;
    return l->io->ops->rename(l->io, path, to);
}

bool file_unchanged(struct loader *l, const struct bfile *f)
{
    struct io_stat st;
    /* a splayed table's size and time are those of its files */
    return file_stat(l, f->path, &st) && st.ino == f->ino &&
           (st.directory || (st.size == f->size && st.modified == f->mtime));
}

static int delete (struct loader *l, const struct bfile *f, uint64_t batch)
{
    char gone[1400];
    int r = l->io->ops->unlink(l->io, f->path);
    if (r != -EISDIR && r != -EPERM)
        return r;
    /* a splayed table: out of sight first, then piece by piece */
    snprintf(gone, sizeof gone, "%.*s.%s.%llu.gone", (int)(f->name - f->path), f->path, f->name,
             (unsigned long long)batch);
    r = l->io->ops->rename(l->io, f->path, gone);
    if (r == 0)
        trash_add(l, text_of("%s", gone));
    return r;
}

/* As load.finished says. False: it is still there, as it was read. */
static bool put_away(struct loader *l, const struct bfile *f, uint64_t batch)
{
    if (!file_unchanged(l, f))
        return true;
    l->f.io_calls++;
    int r = l->c.finished == LOADER_DELETE
                ? delete (l, f, batch)
                : move_to(l, f->path, f->name, l->c.finished_directory, batch);
    if (r >= 0 || (r == -ENOENT && !file_unchanged(l, f)))
        return true;
    char text[500];
    snprintf(text, sizeof text, "%s is loaded, but cannot be %s: %s; it is tried again", f->path,
             l->c.finished == LOADER_DELETE ? "deleted" : "moved", strerror(-r));
    alarm_set(l, LOADER_ALARM_FINISH, l->c.staging[0], text);
    return false;
}

static void linger_add(struct loader *l, const struct bfile *f, uint64_t batch)
{
    struct llinger *x = calloc(1, sizeof *x);
    pst_must(x);
    x->batch = batch;
    x->f.path = text_of("%s", f->path);
    x->f.name = x->f.path + (f->name - f->path);
    x->f.size = f->size;
    x->f.mtime = f->mtime;
    x->f.ino = f->ino;
    x->next = l->linger;
    if (!l->linger)
        l->linger_due = l->mono + LOADER_LINGER;
    l->linger = x;
}

void file_finish(struct loader *l, const struct lbatch *b, const struct bfile *f)
{
    char reason[1300];
    struct io *io = l->io;
    if (f->rejected && f->dir)
        file_rejects(l, f, f->dir, b->id, NULL);
    snprintf(reason, sizeof reason, "%s.reason", f->path);
    io->ops->unlink(io, reason);
    l->f.io_calls++;
    if (l->c.finished != LOADER_KEEP && !b->by_hand && !put_away(l, f, b->id))
        linger_add(l, f, b->id);
    if (!l->linger)
        alarm_clear(l, LOADER_ALARM_FINISH, l->c.staging[0]);
}

void files_linger(struct loader *l)
{
    if (!l->linger || l->mono < l->linger_due)
        return;
    l->linger_due = l->mono + LOADER_LINGER;
    unsigned n = 0;
    for (struct llinger **at = &l->linger; *at && n < LOADER_SLICE; n++) {
        struct llinger *x = *at;
        if (!put_away(l, &x->f, x->batch)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        free(x->f.path);
        free(x);
    }
    if (!l->linger)
        alarm_clear(l, LOADER_ALARM_FINISH, l->c.staging[0]);
}

/* Its file in staging is free again. */
static void let_go(struct loader *l, struct lbatch *b, struct bfile *f, enum fstate state,
                   const char *why)
{
    if (lmap_get(&l->batched, f->path) == f)
        lmap_remove(&l->batched, f->path);
    struct sfile *s = f->s;
    f->s = NULL;
    if (!s)
        return;
    s->batch = NULL;
    (void)b;
    if (!file_same(s, f->size, f->mtime) || s->growing) { /* another delivery, meanwhile */
        file_set(s, F_GROWING, NULL);
        if (!s->growing)
            file_consider(l, s);
        l->wake = true;
        return;
    }
    file_set(s, state, why ? text_of("%s", why) : NULL);
    if (s->rule < 0)
        file_classify(l, s); /* of an earlier start */
    file_set(s, state, why ? text_of("%s", why) : NULL);
    if (s->rule >= 0 && !s->g)
        gather_attach(l, gather_of_file(l, s), s);
    file_settle(l, s);
}

/* failed: of a batch that failed, or quarantined in one that did not. */
void files_remember(struct loader *l, const struct lbatch *b, const struct bfile *f, bool failed)
{
    done_remember(l, f->path, f->size, f->mtime, failed ? "" : f->hash, b, failed,
                  f->state == B_BAD ? f->why : NULL);
    struct ldone *d = done_get(l, f->path);
    d->rows = f->rows;
    d->rejected = f->rejected;
    d->marker = f->state == B_MARKER;
    if (b->ended)
        d->at = b->ended;
    if (!failed && b->by == LOAD_BY_COUNT && b->gather) {
        d->gather = text_of("%s", b->gather);
        d->part = f->part;
        d->parts = f->parts;
        gather_get(l, d->gather, true)->loaded++;
    }
}

bool files_finish(struct loader *l, struct lbatch *b)
{
    for (unsigned i = 0; i < LOADER_SLICE && b->next_finish < b->nfiles; i++) {
        struct bfile *f = &b->file[b->next_finish++];
        if (f->state == B_BAD) {
            files_remember(l, b, f, true);
            let_go(l, b, f, F_QUARANTINED, f->why);
            continue;
        }
        file_finish(l, b, f);
        alarm_clear(l, LOADER_ALARM_QUARANTINE, f->path);
        if (f->state == B_READ || f->state == B_MARKER)
            files_remember(l, b, f, false);
        let_go(l, b, f, f->state == B_SAME ? F_SAME : F_LOADED, NULL);
    }
    return b->next_finish == b->nfiles;
}

void files_batch_ended(struct loader *l, struct lbatch *b)
{
    unsigned reasons = 0;
    bool culprit = b->nbad != 0;
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct bfile *f = &b->file[k];
        bool bad = f->state == B_BAD;
        files_remember(l, b, f, true);
        if (!bad && !culprit && f->state != B_MARKER && b->verdict == L_FAILED && f->s &&
            reasons++ < 1000)
            file_reason(l, f->path, b->why);
        let_go(l, b, f, bad ? F_QUARANTINED : F_FAILED, bad ? f->why : b->why);
    }
    struct gather *g = b->gather ? gather_get(l, b->gather, false) : NULL;
    if (g && b->by != LOAD_BY_EACH) {
        g->failed = true;
        for (struct sfile *s = g->first; s && g->failed; s = s->next)
            if (s->state == F_READY)
                gather_news(l, g); /* something came meanwhile */
    }
}

void files_adopt(struct loader *l, struct lbatch *b)
{
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct sfile *s = lmap_get(&l->files, b->file[k].path);
        if (!s)
            continue;
        if (s->check) {
            s->check->check = NULL;
            s->check = NULL;
        }
        gather_detach(l, s);
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
        s->batch = b;
        b->file[k].s = s;
        file_set(s, F_BATCHED, NULL);
    }
}

/* Verb retry: of one file, or (by its path) of all that wait with it. */
bool files_again(struct loader *l, const char *path)
{
    struct sfile *s = lmap_get(&l->files, path);
    if (!s || (s->state != F_QUARANTINED && s->state != F_FAILED && s->state != F_REFUSED &&
               s->state != F_OLD))
        return false;
    if (s->state == F_OLD)
        s->old = false;
    alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    const struct ldone *d = done_get(l, s->path);
    if (d && d->failed)
        done_remove(l, s->path);
    if (!file_classify(l, s))
        return false;
    if (!s->g)
        gather_attach(l, gather_of_file(l, s), s);
    file_set(s, F_READY, NULL);
    gather_news(l, s->g);
    return true;
}

/* ---- temporaries ---- */

void trash_add(struct loader *l, char *dir)
{
    l->trash = realloc(l->trash, (l->ntrash + 1) * sizeof *l->trash);
    pst_must(l->trash);
    l->trash[l->ntrash++] = dir;
    l->wake = true;
}

struct names {
    char **name;
    unsigned n, room;
};
static bool take_name(void *arg, const char *name)
{
    struct names *s = arg;
    s->name = room_for(s->name, s->n, &s->room, sizeof *s->name);
    s->name[s->n++] = text_of("%s", name);
    return s->n < LOADER_SLICE;
}

/* True: it is gone (or cannot be removed). Names are unlinked, never followed. */
static bool sweep(struct loader *l, const char *dir, unsigned depth, unsigned *budget)
{
    struct io *io = l->io;
    for (;;) {
        struct names list = {0};
        l->f.io_calls++;
        int r = io->ops->list(io, dir, take_name, &list);
        bool all = r >= 0, stuck = false;
        for (unsigned i = 0; i < list.n; i++) {
            char path[1400];
            bool fits =
                (size_t)snprintf(path, sizeof path, "%s/%s", dir, list.name[i]) < sizeof path;
            if (all && *budget && fits) {
                --*budget;
                l->f.io_calls++;
                int e = io->ops->unlink(io, path);
                if (e == -EISDIR || e == -EPERM) {
                    if (depth >= 8 || !sweep(l, path, depth + 1, budget))
                        all = false;
                } else if (e < 0 && e != -ENOENT)
                    stuck = true;
            } else
                all = false;
            free(list.name[i]);
        }
        free(list.name);
        if (r < 0 || stuck)
            return true;
        if (!all)
            return false;
        if (list.n < LOADER_SLICE) {
            l->f.io_calls++;
            if (io->ops->rmdir)
                io->ops->rmdir(io, dir);
            return true;
        }
    }
}

void files_trash(struct loader *l)
{
    if (!l->ntrash)
        return;
    unsigned budget = LOADER_SLICE;
    if (sweep(l, l->trash[0], 0, &budget)) {
        free(l->trash[0]);
        memmove(l->trash, l->trash + 1, --l->ntrash * sizeof *l->trash);
    }
    l->wake |= l->ntrash != 0;
}

void files_free(struct loader *l)
{
    for (uint64_t i = 0; l->files.slot && i <= l->files.mask; i++) {
        struct sfile *s = l->files.slot[i].value;
        if (s) {
            free(s->path);
            free(s->key);
            free(s->why);
            free(s);
        }
    }
    lmap_free(&l->files);
    struct gather *next;
    for (struct gather *g = l->all_gathers; g; g = next) {
        next = g->next;
        gather_free(g);
    }
    lmap_free(&l->gathers);
    lmap_free(&l->batched);
    for (unsigned i = 0; i < l->ntrash; i++)
        free(l->trash[i]);
    free(l->trash);
    for (struct llinger *x; (x = l->linger) != NULL;) {
        l->linger = x->next;
        free(x->f.path);
        free(x);
    }
    free(l->space_why);
}
