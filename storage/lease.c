/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/crc.h"
#include "lease.h"

#define LOCK_TRIES 50
#define LOCK_WAIT  (50 * NS_PER_MS)

struct lease_file {
    char magic[8]; /* "PSTLEASE" */
    uint64_t instance, end, closed;
    uint8_t pad[28];
    uint32_t crc; /* of all before it */
};
_Static_assert(sizeof(struct lease_file) == 64, "lease file is 64 bytes");

/* Writes a small file so that it is whole or absent: temporary, sync, rename, sync. */
static int replace(struct io *io, const char *dir, const char *name, const void *p, size_t n)
{
    char path[1100], fresh[1110];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = io->ops->open(io, fresh, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return fd;
    int r = io_pwrite_all(io, fd, p, n, 0);
    if (r == 0)
        r = io->ops->fsync(io, fd);
    io->ops->close(io, fd);
    if (r == 0) {
        PST_FAULT("lease.rename");
        r = io->ops->rename(io, fresh, path);
    }
    return r == 0 ? io->ops->sync_dir(io, dir) : r;
}

/* Bytes read, or -errno. */
static int64_t slurp(struct io *io, const char *dir, const char *name, void *p, size_t n)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int64_t r = io->ops->pread(io, fd, p, n, 0);
    io->ops->close(io, fd);
    return r;
}

static bool instance_id(struct lease *l, struct err *err)
{
    char text[64] = {0}, *end;
    int64_t n = slurp(l->io, l->directory, "instance", text, sizeof text - 1);
    if (n == -ENOENT) {
        while (!l->instance)
            if (getrandom(&l->instance, sizeof l->instance, 0) != sizeof l->instance)
                return err_set(err, -errno, "instance: no random numbers: %s", strerror(errno));
        snprintf(text, sizeof text, "%016llx\n", (unsigned long long)l->instance);
        n = replace(l->io, l->directory, "instance", text, strlen(text));
        return n == 0 || err_set(err, (int)n, "state_directory %s: cannot write: %s", l->directory,
                                 strerror((int)-n));
    }
    if (n < 0)
        return err_set(err, (int)n, "state_directory %s: cannot read `instance`: %s", l->directory,
                       strerror((int)-n));
    l->instance = strtoull(text, &end, 16);
    if (end != text + 16 || !l->instance)
        return err_set(err, -EBADMSG,
                       "%s/instance is damaged; write the 16 hex digits that `penstock log ls` "
                       "shows for the newest log file into it",
                       l->directory);
    return true;
}

bool lease_open(struct lease *l, struct io *io, const char *state_directory, struct err *err)
{
    memset(l, 0, sizeof *l);
    l->io = io;
    snprintf(l->directory, sizeof l->directory, "%s", state_directory);
    if (!instance_id(l, err))
        return false;
    struct lease_file f = {0};
    int64_t n = slurp(io, l->directory, "lease", &f, sizeof f);
    if (n == -ENOENT)
        return true;
    if (n != sizeof f || memcmp(f.magic, "PSTLEASE", 8) != 0 || f.instance != l->instance ||
        f.crc != crc32c(0xFFFFFFFFu, &f, offsetof(struct lease_file, crc)))
        return err_set(err, n < 0 ? (int)n : -EBADMSG,
                       "%s/lease is damaged or of another instance; the journal continues beyond "
                       "what the log files hold",
                       l->directory);
    l->end = f.end;
    l->closed = f.closed;
    return true;
}

static bool write_lease(struct lease *l, uint64_t end, uint64_t closed, struct err *err)
{
    struct lease_file f = {.instance = l->instance, .end = end, .closed = closed};
    memcpy(f.magic, "PSTLEASE", 8);
    f.crc = crc32c(0xFFFFFFFFu, &f, offsetof(struct lease_file, crc));
    int r = replace(l->io, l->directory, "lease", &f, sizeof f);
    if (r < 0)
        return err_set(err, r, "%s/lease: cannot write: %s", l->directory, strerror(-r));
    l->end = end;
    l->closed = closed;
    return true;
}

bool lease_renew(struct lease *l, uint64_t position, struct err *err)
{
    if (!l->closed && l->end > position && l->end - position > LEASE_BYTES / 2)
        return true;
    if (l->end > position && l->end - position > LEASE_BYTES / 2)
        return write_lease(l, l->end, 0, err);
    return write_lease(l, position + LEASE_BYTES, 0, err);
}

bool lease_close(struct lease *l, uint64_t position, struct err *err)
{
    return write_lease(l, l->end, position, err);
}

bool lease_restore(struct lease *l, uint64_t highest, struct err *err)
{
    return write_lease(l, highest + 2 * LEASE_BYTES, 0, err);
}

/* ---- lock ---- */

static int take_one(struct io *io, int fd)
{
    int r = -EWOULDBLOCK;
    for (int i = 0; i < LOCK_TRIES; i++) {
        r = io->ops->lock(io, fd);
        if (r != -EWOULDBLOCK && r != -EINTR)
            break;
        io->ops->sleep(io, LOCK_WAIT);
    }
    return r;
}

bool lock_take(struct instance_lock *k, struct io *io, const char *state_directory,
               const char *log_directory, const char *name, struct err *err)
{
    const char *dir[2] = {state_directory, log_directory};
    const char *key[2] = {"state_directory", "log_directory"};
    *k = (struct instance_lock){.io = io, .fd = {-1, -1}};
    snprintf(k->name, sizeof k->name, "%s", name);
    struct io_stat a, b;
    bool same = io->ops->stat(io, dir[0], &a) == 0 && io->ops->stat(io, dir[1], &b) == 0 &&
                a.ino == b.ino && a.dev == b.dev;
    for (int i = 0; i < (same ? 1 : 2); i++) {
        snprintf(k->path[i], sizeof k->path[i], "%s/lock", dir[i]);
        k->fd[i] = io->ops->open(io, k->path[i], O_RDWR | O_CREAT, 0640);
        int r = k->fd[i] < 0 ? k->fd[i] : take_one(io, k->fd[i]);
        if (r == 0)
            continue;
        char text[128] = {0};
        long pid = 0;
        char who[64] = "?";
        if (r == -EWOULDBLOCK && io->ops->pread(io, k->fd[i], text, sizeof text - 1, 0) > 0)
            sscanf(text, "%ld %63s", &pid, who);
        lock_drop(k);
        if (r == -EWOULDBLOCK)
            return err_set(err, r,
                           "%s %s is in use by penstockd pid %ld (instance %s); stop it or use "
                           "other directories",
                           key[i], dir[i], pid, who);
        return err_set(err, r, "%s %s: cannot lock %s: %s", key[i], dir[i], k->path[i],
                       strerror(-r));
    }
    lock_beat(k, clock_system());
    return true;
}

static bool still_there(struct io *io, int fd, const char *path)
{
    struct io_stat mine, there;
    return io->ops->fstat(io, fd, &mine) == 0 && io->ops->stat(io, path, &there) == 0 &&
           mine.ino == there.ino && mine.dev == there.dev;
}

int lock_beat_one(struct instance_lock *k, unsigned i, int64_t now)
{
    char text[128];
    struct io *io = k->io;
    int n = snprintf(text, sizeof text, "%-10ld %-63s %-20lld\n", (long)getpid(), k->name,
                     (long long)now);
    if (!*k->path[i])
        return -ENOENT;
    int r = k->fd[i] < 0 ? -EBADF : io_pwrite_all(io, k->fd[i], text, (size_t)n, 0);
    /* a full disk is no reason to let go: the lock holds */
    if ((r == 0 || r == -ENOSPC || r == -EDQUOT) && still_there(io, k->fd[i], k->path[i]))
        return r;
    int fd = io->ops->open(io, k->path[i], O_RDWR | O_CREAT, 0640);
    if (fd >= 0 && io->ops->lock(io, fd) < 0) {
        io->ops->close(io, fd);
        fd = -1;
    }
    if (fd < 0 && r == 0)
        return r; /* it was renamed away; the lock that we have is good where it is */
    if (k->fd[i] >= 0)
        io->ops->close(io, k->fd[i]);
    k->fd[i] = fd;
    return fd < 0 ? (r ? r : -EBADF) : io_pwrite_all(io, fd, text, (size_t)n, 0);
}

void lock_beat(struct instance_lock *k, int64_t now)
{
    for (unsigned i = 0; i < 2;
         i++) /* for people; a disk that does not take it is noticed elsewhere */
        (void)lock_beat_one(k, i, now);
}

void lock_drop(struct instance_lock *k)
{
    for (int i = 0; i < 2; i++)
        if (k->fd[i] >= 0)
            k->io->ops->close(k->io, k->fd[i]);
    k->fd[0] = k->fd[1] = -1;
}
