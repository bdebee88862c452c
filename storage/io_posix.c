/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "core/clock.h"
#include "io_sys.h"

struct io_posix {
    struct io io;
    struct io_op **done; /* completed, not yet reaped: a FIFO of io.depth */
    unsigned head, count;
};

static int neg(int r)
{
    return r < 0 ? -errno : r;
}

static int sys_open(struct io *io, const char *path, int flags, unsigned mode)
{
    (void)io;
    if ((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT)
        return neg(open(path, flags | O_CLOEXEC, (mode_t)mode));
    /* A pipe that somebody put between the files would hold its reader up for ever. */
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
        close(fd);
        return -EINVAL;
    }
    return fd;
}
static int sys_close(struct io *io, int fd)
{
    (void)io;
    return neg(close(fd));
}
static int64_t sys_pread(struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
    (void)io;
    ssize_t n = pread(fd, buf, len, (off_t)offset);
    return n < 0 ? -errno : n;
}
static int64_t sys_pwrite(struct io *io, int fd, const void *buf, size_t len, uint64_t offset)
{
    (void)io;
    ssize_t n = pwrite(fd, buf, len, (off_t)offset);
    return n < 0 ? -errno : n;
}
static int sys_fsync(struct io *io, int fd)
{
    (void)io;
    return neg(fsync(fd));
}
static int sys_fdatasync(struct io *io, int fd)
{
    (void)io;
    return neg(fdatasync(fd));
}
static int sys_fallocate(struct io *io, int fd, uint64_t offset, uint64_t len)
{
    (void)io;
    return neg(fallocate(fd, 0, (off_t)offset, (off_t)len));
}
static int sys_ftruncate(struct io *io, int fd, uint64_t size)
{
    (void)io;
    return neg(ftruncate(fd, (off_t)size));
}

static void fill_stat(struct io_stat *out, const struct stat *st)
{
    *out = (struct io_stat){.size = (uint64_t)st->st_size,
                            .dev = st->st_dev,
                            .ino = st->st_ino,
                            .links = (uint32_t)st->st_nlink,
                            .directory = S_ISDIR(st->st_mode),
                            .modified = (st->st_mtim.tv_sec - CLOCK_EPOCH_S) * NS_PER_S +
                                        st->st_mtim.tv_nsec};
}
static int sys_fstat(struct io *io, int fd, struct io_stat *out)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    fill_stat(out, &st);
    return 0;
}
static int sys_stat(struct io *io, const char *path, struct io_stat *out)
{
    (void)io;
    struct stat st;
    if (stat(path, &st))
        return -errno;
    fill_stat(out, &st);
    return 0;
}
static int sys_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return neg(rename(from, to));
}
static int sys_unlink(struct io *io, const char *path)
{
    (void)io;
    return neg(unlink(path));
}
static int sys_mkdir(struct io *io, const char *path, unsigned mode)
{
    (void)io;
    return neg(mkdir(path, (mode_t)mode));
}
static int sys_exchange(struct io *io, const char *a, const char *b)
{
    (void)io;
    return neg(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}
static int sys_rmdir(struct io *io, const char *path)
{
    (void)io;
    return neg(rmdir(path));
}
static void sys_ahead(struct io *io, int fd, uint64_t offset, uint64_t len)
{
    (void)io;
    posix_fadvise(fd, (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
}
static void sys_fsync_soon(struct io *io, int fd)
{
    (void)io;
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}
static int sys_sync_dir(struct io *io, const char *path)
{
    (void)io;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = neg(fsync(fd));
    close(fd);
    return r;
}
static int sys_list(struct io *io, const char *path, bool (*fn)(void *arg, const char *name),
                    void *arg)
{
    (void)io;
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    int r = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            r = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !fn(arg, e->d_name))
            break;
    }
    closedir(d);
    return r;
}
static int sys_free_space(struct io *io, const char *path, uint64_t *bytes)
{
    (void)io;
    struct statvfs v;
    if (statvfs(path, &v))
        return -errno;
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return 0;
}
static int sys_dio_align(struct io *io, int fd)
{
    (void)io;
    return io_dio_align(fd);
}
static int sys_lock(struct io *io, int fd)
{
    (void)io;
    return neg(flock(fd, LOCK_EX | LOCK_NB));
}
static int64_t sys_monotonic(struct io *io)
{
    (void)io;
    return clock_monotonic();
}
static void sys_sleep(struct io *io, int64_t ns)
{
    (void)io;
    struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
    nanosleep(&ts, NULL);
}

static int32_t run(const struct io_op *op)
{
    struct iovec v = {op->buf, op->len};
    ssize_t n;
    switch ((enum io_kind)op->kind) {
    case IO_WRITE:
        n = pwritev2(op->fd, &v, 1, (off_t)op->offset, op->dsync ? RWF_DSYNC : 0);
        break;
    case IO_READ:
        n = pread(op->fd, op->buf, op->len, (off_t)op->offset);
        break;
    case IO_FDATASYNC:
        n = fdatasync(op->fd);
        break;
    case IO_FSYNC:
        n = fsync(op->fd);
        break;
    default:
        return -EINVAL;
    }
    return n < 0 ? -errno : (int32_t)n;
}

static int posix_submit(struct io *io, struct io_op **ops, unsigned n)
{
    struct io_posix *p = (struct io_posix *)io;
    unsigned i = 0;
    for (; i < n && p->count < io->depth; i++) {
        ops[i]->result = run(ops[i]);
        p->done[(p->head + p->count++) % io->depth] = ops[i];
    }
    return i ? (int)i : -EAGAIN;
}

static int posix_reap(struct io *io, struct io_op **done, unsigned n, int64_t wait_ns)
{
    struct io_posix *p = (struct io_posix *)io;
    (void)wait_ns;
    unsigned i = 0;
    for (; i < n && p->count; i++, p->count--) {
        done[i] = p->done[p->head];
        p->head = (p->head + 1) % io->depth;
    }
    return (int)i;
}

static void posix_destroy(struct io *io)
{
    free(((struct io_posix *)io)->done);
    free(io);
}

const struct io_ops io_posix_ops = {
    .name = "posix",
    .open = sys_open,
    .close = sys_close,
    .pread = sys_pread,
    .pwrite = sys_pwrite,
    .fsync = sys_fsync,
    .fdatasync = sys_fdatasync,
    .fallocate = sys_fallocate,
    .ftruncate = sys_ftruncate,
    .fstat = sys_fstat,
    .stat = sys_stat,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .mkdir = sys_mkdir,
    .sync_dir = sys_sync_dir,
    .exchange = sys_exchange,
    .rmdir = sys_rmdir,
    .ahead = sys_ahead,
    .fsync_soon = sys_fsync_soon,
    .list = sys_list,
    .free_space = sys_free_space,
    .dio_align = sys_dio_align,
    .lock = sys_lock,
    .submit = posix_submit,
    .reap = posix_reap,
    .monotonic = sys_monotonic,
    .sleep = sys_sleep,
    .destroy = posix_destroy,
};

struct io *io_posix_create(struct err *err)
{
    struct io_posix *p = calloc(1, sizeof *p);
    struct io_op **done = calloc(64, sizeof *done);
    if (!p || !done) {
        free(p);
        free(done);
        err_set(err, -ENOMEM, "io: no memory");
        return NULL;
    }
    p->io.ops = &io_posix_ops;
    p->io.depth = 64;
    p->done = done;
    return &p->io;
}

struct io *io_best_create(unsigned depth, struct err *err)
{
    if (err)
        *err = (struct err){0};
    struct io *io = io_ring_create(depth, err);
    return io ? io : io_posix_create(NULL);
}
