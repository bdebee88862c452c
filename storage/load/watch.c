/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "core/clock.h"
#include "watch.h"

#define MASK                                                                                       \
    (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |       \
     IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define EVENT_BYTES   (64u << 10)
#define EVENTS_A_STEP 16u

struct entry {
    char *name;
    uint64_t size, dev, ino;
    int64_t mtime, ctime;
    int64_t since; /* mono: unchanged since then, as we saw it */
    uint64_t scan; /* number of the scan that listed it */
    bool complete; /* told */
    bool refused;  /* told */
    bool closed;   /* inotify saw its writer close it, or it was renamed in */
    bool old;
    bool queued; /* among those to be looked at */
};
struct directory {
    const char *path;
    int fd;     /* within a step only: an open one would keep a filesystem from being unmounted */
    bool there; /* dev, ino are those of what is watched */
    int wd;     /* inotify; -1 = none */
    uint64_t dev, ino;
    bool lost_told, scanned; /* once */
    bool remote;             /* others may write to it: scans only */
    struct entry **slot;     /* by name: open addressing, a power of two */
    uint64_t n, mask;
    struct entry **todo; /* to be looked at */
    unsigned ntodo, todo_room;
    uint64_t scan;
    bool scanning;       /* what a scan listed is being looked at */
    int64_t due;         /* mono: of the next scan */
    int64_t pending_due; /* mono: when a file may be stable; 0 = none waits */
};
struct load_watch {
    struct load_watch_config c;
    int fd;
    struct directory d[LOAD_WATCH_DIRECTORIES];
    struct load_watch_figures f;
    int64_t mono, wall;
    unsigned slice;
};

/* ---- names ---- */

static uint64_t hash_of(const char *s)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3ull;
    return h ^ h >> 29;
}

static struct entry **place(const struct directory *d, const char *name)
{
    uint64_t i = hash_of(name);
    while (d->slot[i & d->mask] && strcmp(d->slot[i & d->mask]->name, name) != 0)
        i++;
    return &d->slot[i & d->mask];
}

static struct entry *entry_get(const struct directory *d, const char *name)
{
    return d->slot ? *place(d, name) : NULL;
}

static struct entry *entry_add(struct directory *d, const char *name)
{
    if (!d->slot || d->n * 2 > d->mask) {
        struct directory old = *d;
        d->mask = old.slot ? old.mask * 2 + 1 : 255;
        d->slot = calloc(d->mask + 1, sizeof(struct entry *));
        pst_must(d->slot);
        for (uint64_t i = 0; old.slot && i <= old.mask; i++)
            if (old.slot[i])
                *place(d, old.slot[i]->name) = old.slot[i];
        free(old.slot);
    }
    struct entry *e = calloc(1, sizeof *e);
    pst_must(e);
    e->name = strdup(name);
    pst_must(e->name);
    *place(d, name) = e;
    d->n++;
    return e;
}

static void entry_remove(struct directory *d, struct entry *e)
{
    for (unsigned i = 0; e->queued && i < d->ntodo; i++)
        if (d->todo[i] == e) {
            d->todo[i] = d->todo[--d->ntodo];
            break;
        }
    uint64_t hole = (uint64_t)(place(d, e->name) - d->slot), i = hole;
    d->slot[hole] = NULL;
    for (;;) { /* those behind it move up, so that no search ends early */
        i = (i + 1) & d->mask;
        if (!d->slot[i])
            break;
        uint64_t home = hash_of(d->slot[i]->name) & d->mask;
        if (((i - home) & d->mask) >= ((i - hole) & d->mask)) {
            d->slot[hole] = d->slot[i];
            d->slot[i] = NULL;
            hole = i;
        }
    }
    d->n--;
    free(e->name);
    free(e);
}

static void look_later(struct directory *d, struct entry *e)
{
    if (e->queued)
        return;
    if (d->ntodo == d->todo_room) {
        d->todo_room = d->todo_room ? d->todo_room * 2 : 64;
        d->todo = realloc(d->todo, d->todo_room * sizeof(struct entry *));
        pst_must(d->todo);
    }
    e->queued = true;
    d->todo[d->ntodo++] = e;
}

/* ---- telling ---- */

static void tell(struct load_watch *w, const struct directory *d, const struct entry *e,
                 enum load_watch_kind kind, const char *why)
{
    struct load_watch_event v = {.kind = kind,
                                 .directory = (unsigned)(d - w->d),
                                 .name = e->name,
                                 .size = e->size,
                                 .dev = e->dev,
                                 .ino = e->ino,
                                 .mtime = e->mtime,
                                 .old = e->old,
                                 .why = why};
    w->f.events++;
    w->c.event(w->c.arg, &v);
}

static void gone(struct load_watch *w, struct directory *d, struct entry *e)
{
    tell(w, d, e, LOAD_GONE, NULL);
    entry_remove(d, e);
}

/* ---- a file ---- */

static int64_t time_of(struct timespec t)
{
    return (t.tv_sec - CLOCK_EPOCH_S) * NS_PER_S + t.tv_nsec;
}

/* Has anybody the file open for writing? 1 yes, 0 no, -1 cannot be known. Never waits: a lease that
 * would have to be waited for is the answer. */
static int has_writer(const struct directory *d, const struct entry *e)
{
    int fd = openat(d->fd, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct stat st;
    int r = -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == e->ino) {
        if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
            r = 0;
            fcntl(fd, F_SETLEASE, F_UNLCK);
        } else if (errno == EAGAIN)
            r = 1;
    }
    close(fd);
    return r;
}

struct table {
    uint64_t size;
    int64_t mtime, ctime;
};

/* A splayed table: a directory with `.d`. Its size is that of all its files, its times the latest
 * of theirs. */
static bool is_table(const struct directory *d, const char *name, struct table *t)
{
    struct stat st;
    char last[LOAD_NAME_MAX + 4];
    snprintf(last, sizeof last, "%s/.d", name);
    if (fstatat(d->fd, last, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return false;
    int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    const struct dirent *x;
    unsigned n = 0;
    while ((x = readdir(dir)) != NULL && n++ < 4096) {
        if (fstatat(fd, x->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        t->size += (uint64_t)st.st_size;
        t->mtime = time_of(st.st_mtim) > t->mtime ? time_of(st.st_mtim) : t->mtime;
        t->ctime = time_of(st.st_ctim) > t->ctime ? time_of(st.st_ctim) : t->ctime;
    }
    closedir(dir);
    return true;
}

static void look(struct load_watch *w, struct directory *d, struct entry *e)
{
    struct stat st;
    w->f.stats++;
    if (fstatat(d->fd, e->name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT)
            gone(w, d, e);
        return;
    }
    struct table table = {.mtime = INT64_MIN, .ctime = INT64_MIN};
    bool whole = S_ISDIR(st.st_mode);
    if (whole && !is_table(d, e->name, &table)) {
        e->closed = false;
        if (e->ino)
            gone(w, d, e); /* it was something */
        else
            entry_remove(d, e);
        return;
    }
    if (!S_ISREG(st.st_mode) && !whole) {
        if (!e->refused)
            tell(w, d, e, LOAD_REFUSED,
                 S_ISLNK(st.st_mode) ? "a symbolic link: links are not followed"
                                     : "not a regular file");
        e->refused = true;
        e->complete = false;
        return;
    }
    int64_t mtime = whole ? table.mtime : time_of(st.st_mtim),
            ctime = whole ? table.ctime : time_of(st.st_ctim);
    if (whole)
        st.st_size = (off_t)table.size;
    bool known = e->ino != 0, moved = e->ino != st.st_ino || e->dev != st.st_dev;
    bool changed = moved || e->size != (uint64_t)st.st_size || e->mtime != mtime;
    bool touched = changed || e->ctime != ctime;
    e->refused = false;
    e->size = (uint64_t)st.st_size;
    e->dev = st.st_dev;
    e->ino = st.st_ino;
    e->mtime = mtime;
    e->ctime = ctime;
    if (touched)
        e->since = w->mono;
    if (e->complete && !changed)
        return;
    if (known && moved && !e->closed)
        e->complete = false;
    bool quiet = w->mono - e->since >= w->c.stable_after && known;
    /* Old enough by the clock of the machine that wrote it, which is ours: need not be waited for
     */
    if (!d->remote && w->wall - ctime >= w->c.stable_after && w->wall - mtime >= w->c.stable_after)
        quiet = true;
    bool closed = e->closed;
    if ((closed || quiet) && !whole && !d->remote && has_writer(d, e) == 1) {
        e->closed = false; /* another writer: its close comes, or silence */
        closed = quiet = false;
        e->since = w->mono;
    }
    if (closed || quiet) {
        e->closed = false;
        e->complete = true;
        tell(w, d, e, LOAD_COMPLETE, NULL);
        return;
    }
    if (e->complete || !known || changed)
        tell(w, d, e, LOAD_SEEN, NULL);
    e->complete = false;
    int64_t due = e->since + w->c.stable_after;
    if (!d->pending_due || due < d->pending_due)
        d->pending_due = due > w->mono ? due : w->mono + 1;
}

/* ---- a directory ---- */

static void shut(struct directory *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static void unwatch(struct load_watch *w, struct directory *d)
{
    if (d->wd >= 0)
        inotify_rm_watch(w->fd, d->wd);
    shut(d);
    d->wd = -1;
    d->there = d->scanning = false;
    for (unsigned i = 0; i < d->ntodo; i++)
        d->todo[i]->queued = false;
    d->ntodo = 0;
}

static void lost(struct load_watch *w, struct directory *d, const char *why)
{
    unwatch(w, d);
    if (!d->lost_told)
        w->c.state(w->c.arg, (unsigned)(d - w->d), false, why);
    d->lost_told = true;
}

/* Filesystems that another machine can write to. */
static bool is_remote(int fd)
{
    static const long types[] = {0x6969 /* NFS */,
                                 0xFF534D42 /* CIFS */,
                                 0xFE534D42 /* SMB2 */,
                                 0x517B /* SMB */,
                                 0x65735546 /* FUSE */,
                                 0x01021997 /* 9P */,
                                 0x00C36400 /* Ceph */,
                                 0x5346414F /* AFS */,
                                 0x19830326 /* fhgfs */,
                                 0x0BD00BD0 /* Lustre */,
                                 0x47504653 /* GPFS */,
                                 0x01161970 /* GFS2 */,
                                 0x7461636F /* OCFS2 */};
    struct statfs s;
    if (fstatfs(fd, &s))
        return true;
    for (unsigned i = 0; i < PST_COUNT(types); i++)
        if (((unsigned long)s.f_type & 0xFFFFFFFFul) == ((unsigned long)types[i] & 0xFFFFFFFFul))
            return true;
    return false;
}

/* Opens it for this step. */
static bool opened(struct load_watch *w, struct directory *d, struct stat *st)
{
    if (d->fd < 0)
        d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd >= 0 && fstat(d->fd, st) == 0)
        return true;
    lost(w, d, strerror(errno));
    return false;
}

/* Watches it, or sees that it is another one now. False: it is not there. */
static bool attach(struct load_watch *w, struct directory *d)
{
    struct stat st;
    if (!opened(w, d, &st))
        return false;
    if (d->there && d->dev == st.st_dev && d->ino == st.st_ino &&
        (d->wd >= 0 || d->remote || w->fd < 0))
        return true;
    unwatch(w, d);
    if (!opened(w, d, &st))
        return false;
    d->there = true;
    d->dev = st.st_dev;
    d->ino = st.st_ino;
    d->remote = is_remote(d->fd);
    if (w->fd >= 0 && !d->remote) /* without a watch (their number is limited) the scans do it */
        d->wd = inotify_add_watch(w->fd, d->path, MASK);
    w->f.scan_only |= d->wd < 0;
    if (d->lost_told)
        w->c.state(w->c.arg, (unsigned)(d - w->d), true, NULL);
    d->lost_told = false;
    return true;
}

static void begin_scan(struct load_watch *w, struct directory *d)
{
    if (!attach(w, d))
        return;
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        lost(w, d, strerror(errno));
        return;
    }
    d->scan++;
    w->f.scans++;
    bool whole = false;
    for (;;) {
        errno = 0;
        const struct dirent *x = readdir(dir);
        if (!x) {
            whole = errno == 0;
            break;
        }
        if (load_name_ignored(x->d_name))
            continue;
        struct entry *e = entry_get(d, x->d_name);
        if (!e) {
            e = entry_add(d, x->d_name);
            e->old = !d->scanned;
            e->since = w->mono;
        }
        e->scan = d->scan;
        look_later(d, e);
    }
    closedir(dir);
    /* Those that were not listed: gone, if they are (look asks each). */
    for (uint64_t i = 0; whole && d->slot && i <= d->mask; i++)
        if (d->slot[i] && d->slot[i]->scan != d->scan)
            look_later(d, d->slot[i]);
    d->scanning = true;
}

static void work(struct load_watch *w, struct directory *d)
{
    struct stat st;
    if (d->ntodo && d->there && opened(w, d, &st) && (d->dev != st.st_dev || d->ino != st.st_ino)) {
        unwatch(w, d); /* another one has its name */
        d->due = w->mono;
        return;
    }
    while (d->ntodo && w->slice && d->fd >= 0) {
        struct entry *e = d->todo[--d->ntodo];
        e->queued = false;
        w->slice--;
        look(w, d, e);
    }
    if (!d->ntodo && d->scanning) {
        d->scanning = false;
        d->scanned = true;
    }
}

/* ---- inotify ---- */

static void changed(struct load_watch *w, struct directory *d, const struct inotify_event *v)
{
    if (v->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
        if (v->mask & IN_IGNORED)
            d->wd = -1;
        d->due = w->mono; /* is there another one of that name? */
        return;
    }
    if (!v->len || load_name_ignored(v->name))
        return;
    struct entry *e = entry_get(d, v->name);
    if (v->mask & (IN_DELETE | IN_MOVED_FROM)) {
        if (e)
            look_later(d, e); /* another one may have taken the name */
        return;
    }
    if (!e) {
        e = entry_add(d, v->name);
        e->since = w->mono;
        e->scan = d->scan;
    }
    if (v->mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
        e->closed = true;
    look_later(d, e);
}

static void drain(struct load_watch *w)
{
    static _Alignas(struct inotify_event) char buffer[EVENT_BYTES];
    for (unsigned turn = 0; w->fd >= 0 && turn < EVENTS_A_STEP; turn++) {
        ssize_t n = read(w->fd, buffer, sizeof buffer);
        if (n <= 0)
            return;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *v = (const struct inotify_event *)(buffer + at);
            at += (ssize_t)(sizeof *v + v->len);
            if (v->mask & IN_Q_OVERFLOW) {
                w->f.overflows++;
                load_watch_rescan(w);
                continue;
            }
            for (unsigned i = 0; i < w->c.ndirectories; i++)
                if (w->d[i].wd == v->wd && w->d[i].there)
                    changed(w, &w->d[i], v);
        }
    }
}

/* ---- life ---- */

struct load_watch *load_watch_open(const struct load_watch_config *c, struct err *err)
{
    struct load_watch *w = calloc(1, sizeof *w);
    if (!w || c->ndirectories > LOAD_WATCH_DIRECTORIES) {
        err_set(err, w ? -E2BIG : -ENOMEM, "load.staging: %s",
                w ? "more than 16 directories" : "no memory");
        free(w);
        return NULL;
    }
    w->c = *c;
    w->fd = c->scan_only ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    for (unsigned i = 0; i < c->ndirectories; i++)
        w->d[i] = (struct directory){.path = c->directory[i], .fd = -1, .wd = -1, .due = INT64_MIN};
    return w;
}

void load_watch_close(struct load_watch *w)
{
    for (unsigned i = 0; w && i < w->c.ndirectories; i++) {
        struct directory *d = &w->d[i];
        unwatch(w, d);
        for (uint64_t k = 0; d->slot && k <= d->mask; k++)
            if (d->slot[k]) {
                free(d->slot[k]->name);
                free(d->slot[k]);
            }
        free(d->slot);
        free(d->todo);
    }
    if (w && w->fd >= 0)
        close(w->fd);
    free(w);
}

int load_watch_fd(const struct load_watch *w)
{
    return w->fd;
}

int64_t load_watch_step(struct load_watch *w, int64_t mono, int64_t wall)
{
    w->mono = mono;
    w->wall = wall;
    w->slice = LOAD_WATCH_SLICE;
    drain(w);
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < w->c.ndirectories; i++) {
        struct directory *d = &w->d[i];
        if (mono >= d->due && !d->ntodo) {
            begin_scan(w, d);
            d->due = mono + w->c.scan_interval;
        }
        work(w, d);
        shut(d);
        int64_t due = d->ntodo ? mono : d->due;
        next = due < next ? due : next;
    }
    /* Files that may become stable are looked at when they may, not at the next scan. */
    for (unsigned i = 0; i < w->c.ndirectories && next > mono; i++) {
        struct directory *d = &w->d[i];
        if (d->there && d->pending_due && mono >= d->pending_due) {
            d->pending_due = 0;
            for (uint64_t k = 0; d->slot && k <= d->mask; k++) {
                struct entry *e = d->slot[k];
                if (!e || e->complete || e->refused)
                    continue;
                int64_t due = e->since + w->c.stable_after;
                if (due <= mono)
                    look_later(d, e); /* which sets pending_due anew if it must wait on */
                else if (!d->pending_due || due < d->pending_due)
                    d->pending_due = due;
            }
            if (d->ntodo)
                next = mono;
        }
        if (d->pending_due && d->pending_due < next)
            next = d->pending_due;
    }
    return next;
}

void load_watch_rescan(struct load_watch *w)
{
    for (unsigned i = 0; i < w->c.ndirectories; i++)
        w->d[i].due = INT64_MIN;
}

void load_watch_figures(const struct load_watch *w, struct load_watch_figures *f)
{
    *f = w->f;
    f->files = f->pending = 0;
    for (unsigned i = 0; i < w->c.ndirectories; i++) {
        const struct directory *d = &w->d[i];
        f->files += d->n;
        for (uint64_t k = 0; d->slot && k <= d->mask; k++)
            f->pending += d->slot[k] && !d->slot[k]->complete && !d->slot[k]->refused;
    }
}
