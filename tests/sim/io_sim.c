/* SPDX-License-Identifier: Apache-2.0 */
#include "io_sim.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"

#define PAGE     4096u
#define NONE     UINT32_MAX
#define FIRST_FD 1000

const char *const sim_op_name[SIM_OPS] = {
    "open",      "create",    "close", "pread",      "pwrite",    "fsync",  "fdatasync",
    "fallocate", "ftruncate", "fstat", "stat",       "rename",    "unlink", "mkdir",
    "rmdir",     "sync_dir",  "list",  "free_space", "dio_align", "lock",   "submit",
    "write",     "read",      "sync",  "exchange"};

struct sim_page {
    uint32_t refs;
    uint8_t bytes[PAGE];
};
struct sim_data {
    uint32_t refs, n;
    uint64_t size;
    struct sim_page **page; /* NULL = zeros */
};
struct sim_entry {
    char name[120];
    uint32_t inode;
};
struct sim_names {
    uint32_t refs, n, room;
    struct sim_entry *entry;
};
struct sim_blob {
    uint32_t refs;
    uint64_t len;
    uint8_t bytes[];
};
struct io_of {
    struct io io;
    struct sim *d;
};

/* ---- chance ---- */

uint64_t sim_random(struct sim *d, uint64_t n)
{
    d->rng += 0x9E3779B97F4A7C15ull;
    uint64_t z = d->rng;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return n ? z % n : z;
}

void sim_random_bytes(struct sim *d, void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)sim_random(d, 256);
}

/* ---- bytes ---- */

static void *need(void *p)
{
    pst_must(p);
    return p;
}

static void page_drop(struct sim_page *p)
{
    if (p && !--p->refs)
        free(p);
}

static struct sim_data *data_new(void)
{
    struct sim_data *x = need(calloc(1, sizeof *x));
    x->refs = 1;
    return x;
}

static void data_drop(struct sim_data *x)
{
    if (!x || --x->refs)
        return;
    for (uint32_t i = 0; i < x->n; i++)
        page_drop(x->page[i]);
    free(x->page);
    free(x);
}

static struct sim_data *data_share(struct sim_data *x)
{
    x->refs++;
    return x;
}

static struct sim_data *data_own(struct sim_data **at)
{
    struct sim_data *x = *at;
    if (x->refs == 1)
        return x;
    struct sim_data *y = data_new();
    y->size = x->size;
    y->n = x->n;
    y->page = x->n ? need(malloc(x->n * sizeof *y->page)) : NULL;
    for (uint32_t i = 0; i < x->n; i++)
        if ((y->page[i] = x->page[i]))
            y->page[i]->refs++;
    x->refs--;
    return *at = y;
}

static uint8_t *page_own(struct sim_data *x, uint32_t i)
{
    if (i >= x->n) {
        uint32_t n = i + 1 + i / 4;
        x->page = need(realloc(x->page, n * sizeof *x->page));
        memset(x->page + x->n, 0, (n - x->n) * sizeof *x->page);
        x->n = n;
    }
    struct sim_page *p = x->page[i];
    if (!p || p->refs > 1) {
        struct sim_page *q = need(malloc(sizeof *q));
        q->refs = 1;
        if (p)
            memcpy(q->bytes, p->bytes, PAGE);
        else
            memset(q->bytes, 0, PAGE);
        page_drop(p);
        x->page[i] = p = q;
    }
    return p->bytes;
}

/* from NULL: zeros */
static void data_put(struct sim_data **at, uint64_t offset, const uint8_t *from, uint64_t len)
{
    struct sim_data *x = data_own(at);
    if (len && offset + len > x->size)
        x->size = offset + len;
    while (len) {
        uint32_t i = (uint32_t)(offset / PAGE), o = (uint32_t)(offset % PAGE);
        uint32_t n = PAGE - o < len ? PAGE - o : (uint32_t)len;
        if (from) {
            memcpy(page_own(x, i) + o, from, n);
            from += n;
        } else if (i < x->n && x->page[i]) {
            if (n == PAGE) {
                page_drop(x->page[i]);
                x->page[i] = NULL;
            } else {
                memset(page_own(x, i) + o, 0, n);
            }
        }
        offset += n;
        len -= n;
    }
}

static void data_get(const struct sim_data *x, uint64_t offset, uint8_t *to, uint64_t len)
{
    while (len) {
        uint32_t i = (uint32_t)(offset / PAGE), o = (uint32_t)(offset % PAGE);
        uint32_t n = PAGE - o < len ? PAGE - o : (uint32_t)len;
        if (i < x->n && x->page[i])
            memcpy(to, x->page[i]->bytes + o, n);
        else
            memset(to, 0, n);
        to += n;
        offset += n;
        len -= n;
    }
}

static void data_size(struct sim_data **at, uint64_t size)
{
    if ((*at)->size == size)
        return;
    if (size < (*at)->size) {
        uint64_t old = (*at)->size;
        data_put(at, size, NULL, old - size);
    }
    data_own(at)->size = size;
}

static bool zeros(const uint8_t *p, uint64_t n)
{
    return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

static struct sim_blob *blob_new(const void *p, uint64_t n)
{
    if (zeros(p, n))
        return NULL;
    struct sim_blob *b = need(malloc(sizeof *b + n));
    b->refs = 1;
    b->len = n;
    memcpy(b->bytes, p, n);
    return b;
}

static void blob_drop(struct sim_blob *b)
{
    if (b && !--b->refs)
        free(b);
}

static struct sim_blob *blob_share(struct sim_blob *b)
{
    if (b)
        b->refs++;
    return b;
}

/* ---- names ---- */

static struct sim_names *names_new(void)
{
    struct sim_names *x = need(calloc(1, sizeof *x));
    x->refs = 1;
    return x;
}

static void names_drop(struct sim_names *x)
{
    if (!x || --x->refs)
        return;
    free(x->entry);
    free(x);
}

static struct sim_names *names_share(struct sim_names *x)
{
    x->refs++;
    return x;
}

static uint32_t names_find(const struct sim_names *x, const char *name)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (!strcmp(x->entry[i].name, name))
            return x->entry[i].inode;
    return NONE;
}

/* inode NONE: the name goes */
static void names_set(struct sim_names **at, const char *name, uint32_t inode)
{
    struct sim_names *x = *at;
    if (x->refs > 1) {
        struct sim_names *y = names_new();
        y->n = y->room = x->n;
        y->entry = x->n ? need(malloc(x->n * sizeof *y->entry)) : NULL;
        if (x->n)
            memcpy(y->entry, x->entry, x->n * sizeof *y->entry);
        x->refs--;
        *at = x = y;
    }
    uint32_t i = 0;
    while (i < x->n && strcmp(x->entry[i].name, name))
        i++;
    if (inode == NONE) {
        if (i < x->n) {
            memmove(x->entry + i, x->entry + i + 1, (x->n - i - 1) * sizeof *x->entry);
            x->n--;
        }
        return;
    }
    if (i == x->n) {
        if (x->n == x->room) {
            x->room = x->room ? 2 * x->room : 8;
            x->entry = need(realloc(x->entry, x->room * sizeof *x->entry));
        }
        x->n++;
        snprintf(x->entry[i].name, sizeof x->entry[i].name, "%s", name);
    }
    x->entry[i].inode = inode;
}

/* ---- inodes and paths ---- */

static uint32_t inode_new(struct sim *d, bool directory, uint8_t volume)
{
    if (d->inodes == d->inode_room) {
        d->inode_room = d->inode_room ? 2 * d->inode_room : 64;
        d->inode = need(realloc(d->inode, d->inode_room * sizeof *d->inode));
    }
    uint32_t i = d->inodes++;
    struct sim_inode *x = &d->inode[i];
    memset(x, 0, sizeof *x);
    x->used = true;
    x->directory = directory;
    x->volume = volume;
    x->lock = -1;
    x->modified = d->now;
    if (directory) {
        x->names_live = names_new();
        x->names_durable = names_new();
    } else {
        x->live = data_new();
        x->durable = data_new();
    }
    return i;
}

static void inode_drop(struct sim_inode *x)
{
    if (!x->used)
        return;
    data_drop(x->live);
    data_drop(x->durable);
    names_drop(x->names_live);
    names_drop(x->names_durable);
    memset(x, 0, sizeof *x);
}

/* The directory that holds the last part of the path, and that part. NONE: no such directory. */
static uint32_t parent_of(const struct sim *d, const char *path, char name[120])
{
    uint32_t at = 0;
    for (;;) {
        while (*path == '/')
            path++;
        const char *end = strchrnul(path, '/');
        size_t n = (size_t)(end - path);
        if (n >= 120)
            return NONE;
        memcpy(name, path, n);
        name[n] = 0;
        while (*end == '/')
            end++;
        if (!d->inode[at].directory)
            return NONE;
        if (!*end)
            return at;
        at = names_find(d->inode[at].names_live, name);
        if (at == NONE)
            return NONE;
        path = end;
    }
}

static uint32_t lookup(const struct sim *d, const char *path)
{
    char name[120];
    uint32_t dir = parent_of(d, path, name);
    if (dir == NONE)
        return NONE;
    return *name ? names_find(d->inode[dir].names_live, name) : dir;
}

static uint32_t count_links(const struct sim *d, uint32_t inode)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->inodes; i++) {
        const struct sim_inode *x = &d->inode[i];
        for (uint32_t k = 0; x->used && x->directory && k < x->names_live->n; k++)
            n += x->names_live->entry[k].inode == inode;
    }
    return n;
}

uint64_t sim_used(const struct sim *d, unsigned volume)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < d->inodes; i++) {
        const struct sim_inode *x = &d->inode[i];
        if (x->used && !x->directory && x->volume == volume && (x->opens || count_links(d, i)))
            sum += pst_align_up(x->live->size, PAGE);
    }
    return sum;
}

/* ---- pending changes ---- */

static void torn(struct sim_data **at, const struct sim_change *c, uint64_t *rng)
{
    struct sim chance = {.rng = *rng};
    uint64_t end = c->offset + c->len;
    bool grows = sim_random(&chance, 2); /* the size may be there without the bytes */
    for (uint64_t s = c->offset; s < end;) {
        uint64_t next = s / SIM_SECTOR * SIM_SECTOR + SIM_SECTOR;
        next = next < end ? next : end;
        if (sim_random(&chance, 2))
            data_put(at, s, c->blob ? c->blob->bytes + (s - c->offset) : NULL, next - s);
        s = next;
    }
    if (grows && end > (*at)->size)
        data_size(at, end);
    *rng = chance.rng;
}

static void apply(struct sim *d, const struct sim_change *c)
{
    struct sim_inode *x = &d->inode[c->inode];
    switch (c->kind) {
    case SIM_BYTES:
        data_put(&x->durable, c->offset, c->blob ? c->blob->bytes : NULL, c->len);
        break;
    case SIM_SIZE:
        if (c->offset || c->len > x->durable->size)
            data_size(&x->durable, c->len);
        break;
    case SIM_NAMES:
        for (unsigned i = 0; i < c->nnames; i++)
            names_set(&d->inode[c->name[i].dir].names_durable, c->name[i].name, c->name[i].inode);
        break;
    }
}

static void forget(struct sim *d, uint32_t i)
{
    blob_drop(d->pending[i].blob);
    memmove(d->pending + i, d->pending + i + 1, (d->npending - i - 1) * sizeof *d->pending);
    d->npending--;
}

static void pending_add(struct sim *d, const struct sim_change *c)
{
    if (d->npending == SIM_PENDING) {
        apply(d, &d->pending[0]);
        forget(d, 0);
    }
    if (d->npending == d->pending_room) {
        d->pending_room = d->pending_room ? 2 * d->pending_room : 64;
        d->pending = need(realloc(d->pending, d->pending_room * sizeof *d->pending));
    }
    d->pending[d->npending++] = *c;
}

/* A truncation that is durable: older bytes behind it never come. */
static void clip(struct sim *d, uint32_t upto, uint32_t inode, uint64_t size)
{
    for (uint32_t i = 0; i < upto; i++) {
        struct sim_change *c = &d->pending[i];
        if (c->kind != SIM_BYTES || c->inode != inode || c->offset + c->len <= size)
            continue;
        c->len = c->offset < size ? size - c->offset : 0;
    }
}

static bool names_touch(const struct sim_change *c, uint32_t dir)
{
    for (unsigned i = 0; i < c->nnames; i++)
        if (c->name[i].dir == dir)
            return true;
    return false;
}

/* What a sync takes along: of a file its bytes and size, of a directory its names; `drop`: they are
 * gone for ever instead. */
static void settle(struct sim *d, uint32_t inode, bool drop)
{
    bool dir = d->inode[inode].directory;
    for (uint32_t i = 0; i < d->npending;) {
        struct sim_change *c = &d->pending[i];
        bool mine = c->kind == SIM_NAMES ? dir && names_touch(c, inode) : c->inode == inode;
        if (d->ordered && !drop && c->kind != SIM_BYTES)
            mine = true;
        if (!mine) {
            i++;
            continue;
        }
        if (!drop || c->settled) {
            if (c->kind == SIM_SIZE && c->offset)
                clip(d, i, c->inode, c->len);
            apply(d, c);
        }
        forget(d, i);
    }
}

static void change_names(struct sim *d, const struct sim_name_change *a,
                         const struct sim_name_change *b)
{
    struct sim_change c = {.kind = SIM_NAMES, .inode = a->inode, .nnames = b ? 2 : 1};
    c.name[0] = *a;
    if (b)
        c.name[1] = *b;
    for (unsigned i = 0; i < c.nnames; i++)
        names_set(&d->inode[c.name[i].dir].names_live, c.name[i].name, c.name[i].inode);
    pending_add(d, &c);
}

static struct sim_name_change named(uint32_t dir, const char *name, uint32_t inode)
{
    struct sim_name_change c = {.dir = dir, .inode = inode};
    snprintf(c.name, sizeof c.name, "%s", name);
    return c;
}

static void change_size(struct sim *d, uint32_t inode, uint64_t size, bool truncate)
{
    struct sim_inode *x = &d->inode[inode];
    if (truncate || size > x->live->size)
        data_size(&x->live, size);
    pending_add(
        d, &(struct sim_change){.kind = SIM_SIZE, .inode = inode, .offset = truncate, .len = size});
}

static void change_bytes(struct sim *d, uint32_t inode, uint64_t offset, struct sim_blob *blob,
                         uint64_t len, bool durable)
{
    struct sim_inode *x = &d->inode[inode];
    x->modified = d->now;
    data_put(&x->live, offset, blob ? blob->bytes : NULL, len);
    struct sim_change c = {.kind = SIM_BYTES,
                           .inode = inode,
                           .offset = offset,
                           .len = len,
                           .blob = blob_share(blob),
                           .settled = durable};
    bool below = false;
    for (uint32_t i = 0; durable && i < d->npending && !below; i++) {
        const struct sim_change *o = &d->pending[i];
        below = o->inode == inode &&
                ((o->kind == SIM_SIZE && o->offset) ||
                 (o->kind == SIM_BYTES && o->offset < offset + len && offset < o->offset + o->len));
    }
    if (durable && !below) {
        apply(d, &c);
        blob_drop(c.blob);
    } else {
        pending_add(d, &c);
    }
    if (durable && d->ordered)
        for (uint32_t i = 0; i < d->npending;) {
            if (d->pending[i].kind == SIM_BYTES) {
                i++;
                continue;
            }
            if (d->pending[i].kind == SIM_SIZE && d->pending[i].offset)
                clip(d, i, d->pending[i].inode, d->pending[i].len);
            apply(d, &d->pending[i]);
            forget(d, i);
        }
}

/* ---- faults ---- */

struct sim_fault *sim_fault_add(struct sim *d, const struct sim_fault *f)
{
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        if (!d->fault[i].ops) {
            d->fault[i] = *f;
            d->fault[i].seen = d->fault[i].hit = 0;
            return &d->fault[i];
        }
    pst_must(!"sim: too many faults");
    return NULL;
}

void sim_fault_clear(struct sim *d)
{
    memset(d->fault, 0, sizeof d->fault);
}

/* Every operation passes here first. The fault that hits it, or NULL. */
static struct sim_fault *enter(struct sim *d, enum sim_op op, const char *path, unsigned volume)
{
    static struct sim_fault dead = {.kind = SIM_FAIL, .error = EIO};
    d->count[op]++;
    if (SIM_CHANGES >> op & 1) {
        d->changes++;
        if (d->hook)
            d->hook(d->hook_arg, d, op);
    }
    struct sim_fault *hit = NULL;
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        struct sim_fault *f = &d->fault[i];
        if (!(f->ops >> op & 1) || (f->path && strncmp(path ? path : "", f->path, strlen(f->path))))
            continue;
        uint64_t n = f->seen++;
        if (hit || n < f->skip || f->hit >= f->times)
            continue;
        f->hit++;
        hit = f;
    }
    if (!hit && volume < SIM_VOLUMES && d->dead[volume] && op != SIM_CLOSE)
        hit = &dead;
    d->failed += hit != NULL;
    if (hit && hit->kind == SIM_STALL && op != SIM_WRITE && op != SIM_SYNC && op != SIM_READ) {
        d->now += (int64_t)hit->arg;
        return NULL;
    }
    return hit;
}

static bool fails(const struct sim_fault *f)
{
    return f && (f->kind == SIM_FAIL || f->kind == SIM_LIE);
}

static void misuse(struct sim *d, const char *what)
{
    if (!d->misuse++)
        snprintf(d->misused, sizeof d->misused, "%s", what);
}

/* ---- the backend ---- */

static struct sim *of(struct io *io)
{
    return ((struct io_of *)io)->d;
}

static struct sim_fd *fd_of(struct sim *d, int fd)
{
    for (uint32_t i = 0; i < d->fds; i++)
        if (d->fd[i].used && (d->fd[i].real >= 0 ? d->fd[i].real : FIRST_FD + (int)i) == fd)
            return &d->fd[i];
    misuse(d, "a descriptor that is not open");
    return NULL;
}

static unsigned volume_of(const struct sim *d, const char *path)
{
    char name[120];
    uint32_t i = lookup(d, path);
    if (i == NONE)
        i = parent_of(d, path, name);
    return i == NONE ? SIM_VOLUMES : d->inode[i].volume;
}

static int fd_new(struct sim *d, uint32_t inode, int flags)
{
    uint32_t i = 0;
    while (i < d->fds && d->fd[i].used)
        i++;
    if (i == d->fds) {
        d->fds = d->fds ? 2 * d->fds : 64;
        d->fd = need(realloc(d->fd, d->fds * sizeof *d->fd));
        memset(d->fd + i, 0, (d->fds - i) * sizeof *d->fd);
    }
    d->fd[i] = (struct sim_fd){.inode = inode,
                               .used = true,
                               .direct = flags & O_DIRECT,
                               .writable = (flags & O_ACCMODE) != O_RDONLY,
                               .real = -1};
    if (d->real_fds) {
        d->fd[i].real = memfd_create("sim", MFD_CLOEXEC);
        pst_must(d->fd[i].real >= 0);
    }
    d->inode[inode].opens++;
    return d->fd[i].real >= 0 ? d->fd[i].real : FIRST_FD + (int)i;
}

static int op_open(struct io *io, const char *path, int flags, unsigned mode)
{
    struct sim *d = of(io);
    (void)mode;
    char name[120];
    uint32_t dir = parent_of(d, path, name), i = lookup(d, path);
    bool makes = (flags & O_CREAT && i == NONE) || (flags & O_TRUNC && i != NONE);
    struct sim_fault *f = enter(d, makes ? SIM_CREATE : SIM_OPEN, path, volume_of(d, path));
    if (fails(f))
        return -f->error;
    if (dir == NONE)
        return -ENOENT;
    if (i == NONE && !(flags & O_CREAT))
        return -ENOENT;
    if (i != NONE && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (i != NONE && d->inode[i].directory)
        return -EISDIR;
    if (i == NONE) {
        i = inode_new(d, false, d->inode[dir].volume);
        struct sim_name_change c = named(dir, name, i);
        change_names(d, &c, NULL);
    } else if (flags & O_TRUNC) {
        change_size(d, i, 0, true);
    }
    if (flags & O_DIRECT && d->no_direct)
        return -EINVAL; /* the file may be there now, as with open(2) */
    snprintf(d->inode[i].path, sizeof d->inode[i].path, "%s", path);
    return fd_new(d, i, flags);
}

static int op_close(struct io *io, int fd)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_fault *f = enter(d, SIM_CLOSE, d->inode[x->inode].path, SIM_VOLUMES);
    for (uint32_t i = 0; i < d->flights; i++)
        if (d->flight[i].op->fd == fd)
            misuse(d, "a descriptor closed with an operation in flight");
    struct sim_inode *o = &d->inode[x->inode];
    o->opens--;
    if (o->lock == fd)
        o->lock = -1;
    if (x->real >= 0)
        close(x->real);
    x->used = false; /* an error of close(2) closes too */
    return fails(f) ? -f->error : 0;
}

static bool unaligned(struct sim *d, const struct sim_fd *x, const void *buf, uint64_t len,
                      uint64_t offset)
{
    if (!x->direct || !(((uintptr_t)buf | len | offset) % d->align))
        return false;
    d->unaligned++;
    return true;
}

static int64_t op_pread(struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    struct sim_fault *f = enter(d, SIM_PREAD, o->path, o->volume);
    if (fails(f))
        return -f->error;
    if (unaligned(d, x, buf, len, offset))
        return -EINVAL;
    uint64_t n = offset >= o->live->size ? 0 : o->live->size - offset;
    n = n < len ? n : len;
    if (f && f->kind == SIM_SHORT && f->arg < n)
        n = f->arg;
    data_get(o->live, offset, buf, n);
    return (int64_t)n;
}

/* What happens of a write, now; the result of the call. */
static int64_t write_now(struct sim *d, struct sim_inode *o, uint32_t inode,
                         const struct sim_fault *f, struct sim_blob *blob, uint64_t offset,
                         uint64_t len, bool dsync)
{
    uint64_t take = len;
    if (fails(f)) {
        if (f->error == ENOSPC || f->error == EDQUOT || f->error == EBADF || f->error == EINVAL ||
            f->error == EROFS || f->error == EINTR || f->error == EAGAIN || sim_random(d, 2))
            return -f->error;
        /* it failed half way: some sectors are there */
        for (uint64_t s = offset; s < offset + len; s += SIM_SECTOR)
            if (sim_random(d, 2)) {
                uint64_t n = offset + len - s < SIM_SECTOR ? offset + len - s : SIM_SECTOR;
                struct sim_blob *part = blob ? blob_new(blob->bytes + (s - offset), n) : NULL;
                change_bytes(d, inode, s, part, n, false);
                blob_drop(part);
            }
        return -f->error;
    }
    if (f && f->kind == SIM_SHORT && f->arg < take)
        take = f->arg;
    uint64_t limit = d->limit[o->volume], grown = pst_align_up(offset + take, PAGE);
    if (limit != SIM_EVER && grown > pst_align_up(o->live->size, PAGE)) {
        uint64_t used = sim_used(d, o->volume), mine = pst_align_up(o->live->size, PAGE);
        uint64_t most = mine + (limit > used ? (limit - used) / PAGE * PAGE : 0);
        if (most <= offset)
            return -ENOSPC;
        if (offset + take > most)
            take = most - offset;
    }
    if (f && f->kind == SIM_MISDIRECT) { /* a block further, or before */
        uint64_t other = offset >= PAGE && sim_random(d, 2) ? offset - PAGE : offset + PAGE;
        change_bytes(d, inode, other, blob, take, dsync);
        return (int64_t)take;
    }
    if (take)
        change_bytes(d, inode, offset, blob, take, dsync);
    return (int64_t)take;
}

static int64_t op_pwrite(struct io *io, int fd, const void *buf, size_t len, uint64_t offset)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    struct sim_fault *f = enter(d, SIM_PWRITE, o->path, o->volume);
    if (!x->writable)
        return -EBADF;
    if (unaligned(d, x, buf, len, offset))
        return -EINVAL;
    struct sim_blob *b = blob_new(buf, len);
    int64_t r = write_now(d, o, x->inode, f, b, offset, len, false);
    blob_drop(b);
    return r;
}

static int sync_now(struct sim *d, uint32_t inode, const struct sim_fault *f)
{
    if (fails(f)) {
        if (f->kind == SIM_LIE)
            settle(d, inode, true);
        return -f->error;
    }
    settle(d, inode, false);
    return 0;
}

static int op_sync(struct io *io, int fd, enum sim_op op)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    return sync_now(d, x->inode, enter(d, op, o->path, o->volume));
}
static int op_fsync(struct io *io, int fd)
{
    return op_sync(io, fd, SIM_FSYNC);
}
static int op_fdatasync(struct io *io, int fd)
{
    return op_sync(io, fd, SIM_FDATASYNC);
}

static int op_fallocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    struct sim_fault *f = enter(d, SIM_FALLOCATE, o->path, o->volume);
    if (fails(f))
        return -f->error;
    uint64_t now = pst_align_up(o->live->size, PAGE), want = pst_align_up(offset + len, PAGE);
    if (want > now && d->limit[o->volume] != SIM_EVER &&
        sim_used(d, o->volume) + want - now > d->limit[o->volume])
        return -ENOSPC;
    change_size(d, x->inode, offset + len, false);
    return 0;
}

static int op_ftruncate(struct io *io, int fd, uint64_t size)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    struct sim_fault *f = enter(d, SIM_FTRUNCATE, o->path, o->volume);
    if (fails(f))
        return -f->error;
    change_size(d, x->inode, size, true);
    return 0;
}

static int stat_of(const struct sim *d, uint32_t i, struct io_stat *st)
{
    const struct sim_inode *o = &d->inode[i];
    *st = (struct io_stat){.size = o->directory ? 0 : o->live->size,
                           .dev = 1u + o->volume,
                           .ino = i + 1u,
                           .links = count_links(d, i),
                           .directory = o->directory,
                           .modified = o->modified};
    return 0;
}

static int op_fstat(struct io *io, int fd, struct io_stat *st)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_fault *f = enter(d, SIM_FSTAT, d->inode[x->inode].path, d->inode[x->inode].volume);
    return fails(f) ? -f->error : stat_of(d, x->inode, st);
}

static int op_stat(struct io *io, const char *path, struct io_stat *st)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_STAT, path, volume_of(d, path));
    if (fails(f))
        return -f->error;
    uint32_t i = lookup(d, path);
    return i == NONE ? -ENOENT : stat_of(d, i, st);
}

static void moved(struct sim *d, uint32_t inode, const char *path)
{
    snprintf(d->inode[inode].path, sizeof d->inode[inode].path, "%s", path);
}

static int op_rename(struct io *io, const char *from, const char *to)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_RENAME, from, volume_of(d, from));
    if (fails(f))
        return -f->error;
    char a[120], b[120];
    uint32_t da = parent_of(d, from, a), db = parent_of(d, to, b);
    uint32_t i = da == NONE ? NONE : names_find(d->inode[da].names_live, a);
    if (i == NONE || db == NONE)
        return -ENOENT;
    uint32_t old = names_find(d->inode[db].names_live, b);
    if (old != NONE && d->inode[old].directory && d->inode[old].names_live->n)
        return -ENOTEMPTY;
    if (old == i)
        return 0;
    struct sim_name_change out = named(da, a, NONE), in = named(db, b, i);
    change_names(d, &out, &in);
    moved(d, i, to);
    return 0;
}

static int op_exchange(struct io *io, const char *a, const char *b)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_EXCHANGE, a, volume_of(d, a));
    if (fails(f))
        return -f->error;
    if (d->no_exchange)
        return -EINVAL;
    char na[120], nb[120];
    uint32_t da = parent_of(d, a, na), db = parent_of(d, b, nb);
    uint32_t ia = lookup(d, a), ib = lookup(d, b);
    if (ia == NONE || ib == NONE)
        return -ENOENT;
    struct sim_name_change x = named(da, na, ib), y = named(db, nb, ia);
    change_names(d, &x, &y);
    moved(d, ia, b);
    moved(d, ib, a);
    return 0;
}

static int remove_name(struct io *io, const char *path, bool directory)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, directory ? SIM_RMDIR : SIM_UNLINK, path, volume_of(d, path));
    if (fails(f))
        return -f->error;
    char name[120];
    uint32_t dir = parent_of(d, path, name), i = lookup(d, path);
    if (i == NONE)
        return -ENOENT;
    if (d->inode[i].directory != directory)
        return directory ? -ENOTDIR : -EISDIR;
    if (directory && d->inode[i].names_live->n)
        return -ENOTEMPTY;
    struct sim_name_change c = named(dir, name, NONE);
    change_names(d, &c, NULL);
    return 0;
}
static int op_unlink(struct io *io, const char *path)
{
    return remove_name(io, path, false);
}
static int op_rmdir(struct io *io, const char *path)
{
    return remove_name(io, path, true);
}

static int op_mkdir(struct io *io, const char *path, unsigned mode)
{
    struct sim *d = of(io);
    (void)mode;
    struct sim_fault *f = enter(d, SIM_MKDIR, path, volume_of(d, path));
    if (fails(f))
        return -f->error;
    char name[120];
    uint32_t dir = parent_of(d, path, name);
    if (dir == NONE)
        return -ENOENT;
    if (names_find(d->inode[dir].names_live, name) != NONE)
        return -EEXIST;
    uint32_t i = inode_new(d, true, d->inode[dir].volume);
    moved(d, i, path);
    struct sim_name_change c = named(dir, name, i);
    change_names(d, &c, NULL);
    return 0;
}

static int op_sync_dir(struct io *io, const char *path)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_SYNC_DIR, path, volume_of(d, path));
    uint32_t i = lookup(d, path);
    if (!fails(f) && i == NONE)
        return -ENOENT;
    if (!fails(f) && d->lying_dir)
        return 0;
    return i == NONE ? -f->error : sync_now(d, i, f);
}

static int op_list(struct io *io, const char *path, bool (*fn)(void *, const char *), void *arg)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_LIST, path, volume_of(d, path));
    if (fails(f))
        return -f->error;
    uint32_t i = lookup(d, path);
    if (i == NONE)
        return -ENOENT;
    if (!d->inode[i].directory)
        return -ENOTDIR;
    struct sim_names *names = names_share(d->inode[i].names_live); /* fn may change the directory */
    for (uint32_t k = 0; k < names->n && fn(arg, names->entry[k].name); k++)
        ;
    names_drop(names);
    return 0;
}

static int op_free_space(struct io *io, const char *path, uint64_t *bytes)
{
    struct sim *d = of(io);
    unsigned v = volume_of(d, path);
    struct sim_fault *f = enter(d, SIM_FREE_SPACE, path, v);
    if (fails(f))
        return -f->error;
    if (v >= SIM_VOLUMES)
        return -ENOENT;
    uint64_t used = d->limit[v] == SIM_EVER ? 0 : sim_used(d, v);
    *bytes = d->limit[v] == SIM_EVER ? 1ull << 40 : d->limit[v] > used ? d->limit[v] - used : 0;
    return 0;
}

static int op_dio_align(struct io *io, int fd)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_fault *f =
        enter(d, SIM_DIO_ALIGN, d->inode[x->inode].path, d->inode[x->inode].volume);
    return fails(f) ? -f->error : (int)d->align;
}

static int op_lock(struct io *io, int fd)
{
    struct sim *d = of(io);
    struct sim_fd *x = fd_of(d, fd);
    if (!x)
        return -EBADF;
    struct sim_inode *o = &d->inode[x->inode];
    struct sim_fault *f = enter(d, SIM_LOCK, o->path, o->volume);
    if (fails(f))
        return -f->error;
    if (o->lock >= 0 && o->lock != fd)
        return -EWOULDBLOCK;
    o->lock = fd;
    return 0;
}

/* ---- asynchronous operations ---- */

static bool start(struct sim *d, struct io *io, struct io_op *op)
{
    unsigned mine = 0;
    for (uint32_t i = 0; i < d->flights; i++)
        mine += d->flight[i].io == io;
    if (mine >= d->depth)
        return false;
    struct sim_fd *x = fd_of(d, op->fd);
    if (d->flights == d->flight_room) {
        d->flight_room = d->flight_room ? 2 * d->flight_room : 32;
        d->flight = need(realloc(d->flight, d->flight_room * sizeof *d->flight));
    }
    bool write = op->kind == IO_WRITE, read = op->kind == IO_READ;
    struct sim_inode *o = x ? &d->inode[x->inode] : NULL;
    struct sim_fault *f = enter(d,
                                write  ? SIM_WRITE
                                : read ? SIM_READ
                                       : SIM_SYNC,
                                o ? o->path : NULL, o ? o->volume : SIM_VOLUMES);
    struct sim_flight n = {
        .io = io,
        .op = op,
        .inode = x ? x->inode : NONE,
        .done_at = d->now + d->latency_min +
                   (int64_t)sim_random(d, (uint64_t)(d->latency_max - d->latency_min + 1)),
        .dsync = op->dsync,
        .offset = op->offset,
        .len = op->len};
    if (f && f->kind == SIM_STALL)
        n.done_at += (int64_t)f->arg;
    else if (f) {
        n.faulty = true;
        n.kind = f->kind;
        n.result = f->kind == SIM_SHORT ? (int32_t)f->arg : -f->error;
    }
    if (!x || (write && !x->writable)) {
        n.faulty = true;
        n.result = -EBADF;
    } else if (!n.faulty && (read || write) && unaligned(d, x, op->buf, op->len, op->offset)) {
        n.faulty = true;
        n.kind = SIM_FAIL;
        n.result = -EINVAL;
    }
    if (write) {
        for (uint32_t i = 0; i < d->flights; i++) {
            const struct sim_flight *a = &d->flight[i];
            if (a->inode == n.inode && a->op->kind == IO_WRITE && a->offset < n.offset + n.len &&
                n.offset < a->offset + a->len)
                misuse(d, "two writes in flight overlap");
        }
        n.blob = blob_new(op->buf, op->len);
    }
    d->flight[d->flights++] = n;
    return true;
}

static int op_submit(struct io *io, struct io_op **ops, unsigned n)
{
    struct sim *d = of(io);
    struct sim_fault *f = enter(d, SIM_SUBMIT, NULL, SIM_VOLUMES);
    if (fails(f))
        return -f->error;
    for (unsigned i = 0; i < n; i++)
        if (!start(d, io, ops[i]))
            return i ? (int)i : -EAGAIN;
    return (int)n;
}

static void complete(struct sim *d, struct sim_flight *n)
{
    struct io_op *op = n->op;
    op->result = n->result;
    struct sim_fault f = {.kind = n->kind, .error = n->faulty ? -n->result : 0};
    if (n->kind == SIM_SHORT)
        f.arg = (uint64_t)n->result;
    if (n->kind == SIM_MISDIRECT)
        f.error = 0;
    if (n->inode == NONE) {
        op->result = -EBADF;
    } else if (op->kind == IO_WRITE) {
        bool same = n->blob ? !memcmp(n->blob->bytes, op->buf, n->len) : zeros(op->buf, n->len);
        if (!same)
            misuse(d, "the bytes of a write changed in flight");
        op->result = (int32_t)write_now(d, &d->inode[n->inode], n->inode, n->faulty ? &f : NULL,
                                        n->blob, n->offset, n->len, n->dsync && !d->lying_dsync);
    } else if (op->kind == IO_READ) {
        const struct sim_data *x = d->inode[n->inode].live;
        uint64_t left = n->offset < x->size ? x->size - n->offset : 0;
        uint64_t take = left < n->len ? left : n->len;
        if (n->faulty && n->kind == SIM_SHORT && f.arg < take)
            take = f.arg;
        if (!n->faulty || n->kind == SIM_SHORT) {
            data_get(x, n->offset, op->buf, take);
            op->result = (int32_t)take;
        }
    } else {
        op->result = sync_now(d, n->inode, n->faulty ? &f : NULL);
    }
    blob_drop(n->blob);
}

static int op_reap(struct io *io, struct io_op **done, unsigned room, int64_t wait_ns)
{
    struct sim *d = of(io);
    int64_t first = INT64_MAX;
    for (uint32_t i = 0; i < d->flights; i++)
        if (d->flight[i].io == io && d->flight[i].done_at < first)
            first = d->flight[i].done_at;
    if (first == INT64_MAX)
        return 0;
    if (first > d->now && wait_ns > 0)
        d->now = first < d->now + wait_ns ? first : d->now + wait_ns;
    unsigned n = 0;
    while (n < room) {
        uint32_t best = NONE;
        for (uint32_t i = 0; i < d->flights; i++) {
            const struct sim_flight *x = &d->flight[i];
            if (x->io == io && x->done_at <= d->now &&
                (best == NONE || x->done_at < d->flight[best].done_at))
                best = i;
        }
        if (best == NONE)
            break;
        struct sim_flight x = d->flight[best];
        memmove(d->flight + best, d->flight + best + 1,
                (d->flights - best - 1) * sizeof *d->flight);
        d->flights--;
        complete(d, &x);
        done[n++] = x.op;
    }
    return (int)n;
}

static int64_t op_monotonic(struct io *io)
{
    struct sim *d = of(io);
    return d->now += d->tick;
}

static void op_sleep(struct io *io, int64_t ns)
{
    of(io)->now += ns;
}

static void op_destroy(struct io *io)
{
    struct sim *d = of(io);
    for (uint32_t i = 0; i < d->flights;)
        if (d->flight[i].io == io) { /* the kernel finishes it */
            struct sim_flight x = d->flight[i];
            memmove(d->flight + i, d->flight + i + 1, (d->flights - i - 1) * sizeof *d->flight);
            d->flights--;
            blob_drop(x.blob);
        } else {
            i++;
        }
    free(io);
}

static const struct io_ops ops = {.name = "sim",
                                  .open = op_open,
                                  .close = op_close,
                                  .pread = op_pread,
                                  .pwrite = op_pwrite,
                                  .fsync = op_fsync,
                                  .fdatasync = op_fdatasync,
                                  .fallocate = op_fallocate,
                                  .ftruncate = op_ftruncate,
                                  .fstat = op_fstat,
                                  .stat = op_stat,
                                  .rename = op_rename,
                                  .unlink = op_unlink,
                                  .mkdir = op_mkdir,
                                  .sync_dir = op_sync_dir,
                                  .list = op_list,
                                  .free_space = op_free_space,
                                  .dio_align = op_dio_align,
                                  .lock = op_lock,
                                  .submit = op_submit,
                                  .reap = op_reap,
                                  .monotonic = op_monotonic,
                                  .sleep = op_sleep,
                                  .destroy = op_destroy,
                                  .exchange = op_exchange,
                                  .rmdir = op_rmdir};

/* ---- life of a disk ---- */

struct sim *sim_new(uint64_t seed)
{
    struct sim *d = need(calloc(1, sizeof *d));
    d->seed = d->rng = seed;
    d->now = 1000000000;
    d->tick = 1000;
    d->align = SIM_SECTOR;
    d->depth = 64;
    d->latency_min = 20000;
    d->latency_max = 400000;
    for (unsigned i = 0; i < SIM_VOLUMES; i++)
        d->limit[i] = SIM_EVER;
    inode_new(d, true, 0);
    return d;
}

void sim_free(struct sim *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->inodes; i++)
        inode_drop(&d->inode[i]);
    for (uint32_t i = 0; i < d->npending; i++)
        blob_drop(d->pending[i].blob);
    for (uint32_t i = 0; i < d->flights; i++)
        blob_drop(d->flight[i].blob);
    for (uint32_t i = 0; i < d->fds; i++)
        if (d->fd[i].used && d->fd[i].real >= 0)
            close(d->fd[i].real);
    free(d->inode);
    free(d->pending);
    free(d->flight);
    free(d->fd);
    free(d);
}

struct io *sim_io(struct sim *d)
{
    struct io_of *x = need(calloc(1, sizeof *x));
    x->io.ops = &ops;
    x->io.depth = d->depth;
    x->d = d;
    return &x->io;
}

void sim_volume(struct sim *d, unsigned volume, const char *path)
{
    pst_must(volume < SIM_VOLUMES);
    char name[120];
    uint32_t dir = parent_of(d, path, name);
    pst_must(dir != NONE && names_find(d->inode[dir].names_live, name) == NONE);
    uint32_t i = inode_new(d, true, (uint8_t)volume);
    moved(d, i, path);
    names_set(&d->inode[dir].names_live, name, i);
    names_set(&d->inode[dir].names_durable, name, i);
}

/* ---- crashes ---- */

struct sim *sim_copy(const struct sim *d)
{
    struct sim *c = need(malloc(sizeof *c));
    *c = *d;
    c->inode = need(malloc(d->inodes * sizeof *c->inode));
    c->inode_room = d->inodes;
    memcpy(c->inode, d->inode, d->inodes * sizeof *c->inode);
    for (uint32_t i = 0; i < c->inodes; i++) {
        struct sim_inode *x = &c->inode[i];
        x->opens = 0;
        x->lock = -1;
        if (!x->used)
            continue;
        if (x->directory) {
            names_share(x->names_live);
            names_share(x->names_durable);
        } else {
            data_share(x->live);
            data_share(x->durable);
        }
    }
    c->pending_room = d->npending + d->flights;
    c->pending = c->pending_room ? need(malloc(c->pending_room * sizeof *c->pending)) : NULL;
    c->npending = 0;
    for (uint32_t i = 0; i < d->npending; i++) {
        c->pending[c->npending] = d->pending[i];
        blob_share(c->pending[c->npending++].blob);
    }
    for (uint32_t i = 0; i < d->flights; i++) {
        const struct sim_flight *x = &d->flight[i];
        if (x->op->kind == IO_WRITE && x->inode != NONE && !x->faulty)
            c->pending[c->npending++] = (struct sim_change){.kind = SIM_BYTES,
                                                            .flight = true,
                                                            .inode = x->inode,
                                                            .offset = x->offset,
                                                            .len = x->len,
                                                            .blob = blob_share(x->blob)};
    }
    c->flight = NULL;
    c->flights = c->flight_room = 0;
    c->fd = NULL;
    c->fds = 0;
    c->hook = NULL;
    memset(c->fault, 0, sizeof c->fault);
    for (unsigned i = 0; i < SIM_VOLUMES; i++) { /* looked at on a sound disk */
        c->limit[i] = SIM_EVER;
        c->dead[i] = false;
    }
    return c;
}

static bool meta(const struct sim_change *c)
{
    return c->kind != SIM_BYTES;
}

unsigned sim_choices(const struct sim *copy, uint32_t i)
{
    const struct sim_change *c = &copy->pending[i];
    if (c->settled || (c->kind == SIM_BYTES && !c->len))
        return 1;
    if (meta(c))
        return 2;
    return c->offset / SIM_SECTOR == (c->offset + c->len - 1) / SIM_SECTOR ? 2 : 3;
}

uint64_t sim_images(const struct sim *copy)
{
    uint64_t n = 1, names = 0;
    for (uint32_t i = 0; i < copy->npending; i++) {
        if (copy->ordered && meta(&copy->pending[i]))
            names++;
        else
            n *= sim_choices(copy, i);
        if (n > 1000000000)
            return SIM_EVER;
    }
    n *= names + 1;
    return n > 1000000000 ? SIM_EVER : n;
}

void sim_image_choice(const struct sim *copy, uint64_t n, uint8_t *choice)
{
    uint64_t names = 0;
    for (uint32_t i = 0; copy->ordered && i < copy->npending; i++)
        names += meta(&copy->pending[i]);
    uint64_t keep = names ? n % (names + 1) : 0;
    if (names)
        n /= names + 1;
    for (uint32_t i = 0; i < copy->npending; i++) {
        if (copy->ordered && meta(&copy->pending[i])) {
            choice[i] = keep ? SIM_APPLY : SIM_DROP;
            keep -= keep > 0;
            continue;
        }
        unsigned k = sim_choices(copy, i);
        choice[i] = k == 1 ? SIM_APPLY : (uint8_t)(n % k);
        n /= k;
    }
}

static void reach(const struct sim *d, uint32_t i, bool *seen)
{
    if (seen[i])
        return;
    seen[i] = true;
    const struct sim_inode *x = &d->inode[i];
    for (uint32_t k = 0; x->directory && k < x->names_durable->n; k++)
        reach(d, x->names_durable->entry[k].inode, seen);
}

struct sim *sim_power_cut(const struct sim *copy, const uint8_t *choice, uint64_t seed)
{
    struct sim *d = sim_copy(copy);
    uint64_t rng = seed;
    for (uint32_t i = 0; i < d->npending; i++) {
        const struct sim_change *c = &d->pending[i];
        if (!c->settled && choice[i] == SIM_DROP)
            continue;
        if (choice[i] == SIM_TEAR && !c->settled && c->kind == SIM_BYTES)
            torn(&d->inode[c->inode].durable, c, &rng);
        else if (c->kind != SIM_BYTES || c->len)
            apply(d, c);
    }
    for (uint32_t i = 0; i < d->npending; i++)
        blob_drop(d->pending[i].blob);
    d->npending = 0;
    bool *seen = need(calloc(d->inodes, 1));
    reach(d, 0, seen);
    for (uint32_t i = 0; i < d->inodes; i++) {
        struct sim_inode *x = &d->inode[i];
        if (!seen[i]) {
            inode_drop(x);
        } else if (x->directory) {
            names_drop(x->names_live);
            x->names_live = names_share(x->names_durable);
        } else {
            data_drop(x->live);
            x->live = data_share(x->durable);
        }
    }
    while (d->inodes && !d->inode[d->inodes - 1].used)
        d->inodes--;
    free(seen);
    d->now += 1000000000;
    return d;
}

struct sim *sim_kill(const struct sim *copy, const uint8_t *choice)
{
    struct sim *d = sim_copy(copy);
    for (uint32_t i = 0, k = 0; i < d->npending; k++) { /* k: its number in the copy */
        struct sim_change *c = &d->pending[i];
        if (c->flight && choice[k] == SIM_DROP) {
            forget(d, i);
            continue;
        }
        if (c->flight) {
            c->flight = false;
            data_put(&d->inode[c->inode].live, c->offset, c->blob ? c->blob->bytes : NULL, c->len);
        }
        i++;
    }
    d->now += 1000000000;
    return d;
}

/* ---- looking at it ---- */

static bool same_data(const struct sim_data *a, const struct sim_data *b)
{
    static const uint8_t empty[PAGE];
    if (a == b)
        return true;
    if (a->size != b->size)
        return false;
    uint32_t n = a->n > b->n ? a->n : b->n;
    for (uint32_t i = 0; i < n; i++) {
        const struct sim_page *x = i < a->n ? a->page[i] : NULL, *y = i < b->n ? b->page[i] : NULL;
        if (x != y && memcmp(x ? x->bytes : empty, y ? y->bytes : empty, PAGE))
            return false;
    }
    return true;
}

static bool same_tree(const struct sim *a, uint32_t ia, const struct sim *b, uint32_t ib,
                      const char *path, char what[200])
{
    const struct sim_inode *x = &a->inode[ia], *y = &b->inode[ib];
    if (x->directory != y->directory)
        return (void)snprintf(what, 200, "%s is a directory in one only", path), false;
    if (!x->directory) {
        if (same_data(x->live, y->live))
            return true;
        snprintf(what, 200, "%s differs (%llu and %llu bytes)", path,
                 (unsigned long long)x->live->size, (unsigned long long)y->live->size);
        return false;
    }
    for (uint32_t k = 0; k < y->names_live->n; k++)
        if (names_find(x->names_live, y->names_live->entry[k].name) == NONE)
            return (void)snprintf(what, 200, "%s/%s is only in the second", path,
                                  y->names_live->entry[k].name),
                   false;
    for (uint32_t k = 0; k < x->names_live->n; k++) {
        const struct sim_entry *e = &x->names_live->entry[k];
        uint32_t other = names_find(y->names_live, e->name);
        char below[160];
        if (snprintf(below, sizeof below, "%s/%s", path, e->name) >= (int)sizeof below)
            return false;
        if (other == NONE)
            return (void)snprintf(what, 200, "%s is only in the first", below), false;
        if (!same_tree(a, e->inode, b, other, below, what))
            return false;
    }
    return true;
}

bool sim_same(const struct sim *a, const struct sim *b, char what[200])
{
    return same_tree(a, 0, b, 0, "", what);
}

static uint64_t hash_tree(const struct sim *d, uint32_t i)
{
    static const uint8_t empty[PAGE];
    const struct sim_inode *x = &d->inode[i];
    uint64_t h = 0;
    if (!x->directory) {
        uint32_t crc = 0;
        for (uint64_t at = 0; at < x->live->size; at += PAGE) {
            const struct sim_page *p = at / PAGE < x->live->n ? x->live->page[at / PAGE] : NULL;
            crc = crc32c(crc, p ? p->bytes : empty, PAGE);
        }
        return (uint64_t)crc << 32 ^ x->live->size * 0x9E3779B97F4A7C15ull;
    }
    for (uint32_t k = 0; k < x->names_live->n; k++) { /* a sum: the order of names does not count */
        const struct sim_entry *e = &x->names_live->entry[k];
        h += (hash_tree(d, e->inode) + 1) * (0x100000001ull + crc32c(7, e->name, strlen(e->name)));
    }
    return h ^ 0xD1;
}

uint64_t sim_hash(const struct sim *d)
{
    return hash_tree(d, 0);
}

uint8_t *sim_read(const struct sim *d, const char *path, uint64_t *size)
{
    uint32_t i = lookup(d, path);
    if (i == NONE || d->inode[i].directory)
        return NULL;
    const struct sim_data *x = d->inode[i].live;
    uint8_t *p = need(malloc(x->size + 8));
    data_get(x, 0, p, x->size);
    *size = x->size;
    return p;
}

void sim_write(struct sim *d, const char *path, const void *p, uint64_t n)
{
    char name[120];
    uint32_t dir = parent_of(d, path, name), i = lookup(d, path);
    pst_must(dir != NONE);
    if (i == NONE) {
        i = inode_new(d, false, d->inode[dir].volume);
        names_set(&d->inode[dir].names_live, name, i);
        names_set(&d->inode[dir].names_durable, name, i);
        moved(d, i, path);
    }
    struct sim_inode *x = &d->inode[i];
    data_size(&x->live, 0);
    data_put(&x->live, 0, p, n);
    data_drop(x->durable);
    x->durable = data_share(x->live);
}

/* In the bytes of a write that is still under way: what the cache shows is what reaches the device.
 */
static void flip_pending(struct sim_change *c, uint64_t bit)
{
    uint64_t at = bit / 8 - c->offset;
    uint8_t *p = need(calloc(1, c->len));
    if (c->blob)
        memcpy(p, c->blob->bytes, c->len);
    p[at] ^= (uint8_t)(1u << bit % 8);
    blob_drop(c->blob);
    c->blob = blob_new(p, c->len);
    free(p);
}

bool sim_flip(struct sim *d, const char *path, uint64_t bit)
{
    uint32_t i = lookup(d, path);
    if (i == NONE)
        return false;
    struct sim_data **both[2] = {&d->inode[i].live, &d->inode[i].durable};
    bool any = false;
    for (unsigned k = 0; k < 2; k++)
        if (bit / 8 < (*both[k])->size) {
            struct sim_data *x = data_own(both[k]);
            page_own(x, (uint32_t)(bit / 8 / PAGE))[bit / 8 % PAGE] ^= (uint8_t)(1u << bit % 8);
            any = true;
        }
    for (uint32_t k = 0; k < d->npending; k++) {
        struct sim_change *c = &d->pending[k];
        if (c->kind == SIM_BYTES && c->inode == i && bit / 8 >= c->offset &&
            bit / 8 < c->offset + c->len)
            flip_pending(c, bit);
    }
    return any;
}

void sim_each(const struct sim *d, const char *path, void (*fn)(void *, const char *), void *arg)
{
    uint32_t i = lookup(d, path);
    if (i == NONE || !d->inode[i].directory)
        return;
    struct sim_names *names = names_share(d->inode[i].names_live);
    for (uint32_t k = 0; k < names->n; k++)
        fn(arg, names->entry[k].name);
    names_drop(names);
}

static bool export_tree(const struct sim *d, uint32_t i, const char *path)
{
    const struct sim_inode *x = &d->inode[i];
    if (!x->directory) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        uint8_t *p = need(malloc(x->live->size + 8));
        data_get(x->live, 0, p, x->live->size);
        bool ok = fd >= 0 && write(fd, p, x->live->size) == (ssize_t)x->live->size;
        free(p);
        return fd >= 0 && !close(fd) && ok;
    }
    bool ok = !mkdir(path, 0755) || errno == EEXIST;
    for (uint32_t k = 0; ok && k < x->names_live->n; k++) {
        const struct sim_entry *e = &x->names_live->entry[k];
        char below[400];
        ok = snprintf(below, sizeof below, "%s/%s", path, e->name) < (int)sizeof below &&
             export_tree(d, e->inode, below);
    }
    return ok;
}

bool sim_export(const struct sim *d, const char *path)
{
    uint32_t i = lookup(d, path);
    return i != NONE && export_tree(d, i, path);
}

static void dump_tree(const struct sim *d, uint32_t i, const char *path, FILE *out)
{
    const struct sim_inode *x = &d->inode[i];
    if (!x->directory) {
        fprintf(out, "  %-48s inode %u size %llu durable %llu\n", path, i,
                (unsigned long long)x->live->size, (unsigned long long)x->durable->size);
        return;
    }
    for (uint32_t k = 0; k < x->names_live->n; k++) {
        char below[400];
        if (snprintf(below, sizeof below, "%s/%s", path, x->names_live->entry[k].name) <
            (int)sizeof below)
            dump_tree(d, x->names_live->entry[k].inode, below, out);
    }
}

void sim_dump(const struct sim *d, const char *path, FILE *out)
{
    static const char *const kinds[] = {"bytes", "size", "names"};
    uint32_t i = lookup(d, path);
    if (i != NONE)
        dump_tree(d, i, path, out);
    for (uint32_t k = 0; k < d->npending; k++) {
        const struct sim_change *c = &d->pending[k];
        fprintf(out, "  pending %u: %s inode %u at %llu, %llu bytes%s%s", k, kinds[c->kind],
                c->inode, (unsigned long long)c->offset, (unsigned long long)c->len,
                c->flight ? ", in flight" : "", c->settled ? ", durable" : "");
        for (unsigned n = 0; n < c->nnames; n++)
            fprintf(out, " %s:=%d", c->name[n].name, (int)c->name[n].inode);
        fputc('\n', out);
    }
}
