/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.h - every file operation of storage goes through a `struct io *` that is passed in: io_uring
 * for the log thread, plain system calls elsewhere and as the fallback, a simulator in tests.
 *
 * Threads: one struct io belongs to one thread (io_uring binds to the thread that submits first);
 * make one each. The blocking calls of the posix backend hold no state and may be shared.
 *
 * Errors: every call returns >= 0, or -errno. Paths are absolute or relative to the process's
 * directory. Flags are open(2)'s; backends add O_CLOEXEC. Memory of an async op belongs to the
 * backend from submit until reap hands it back.
 *
 * Order: async ops run in any order; nothing is linked. Who needs order waits for the first.
 * A short write is a result, not an error. -ECANCELED = not attempted.
 */
#pragma once

#include <errno.h>
#include "base.h"

/* IO_ALLOCATE: space for len bytes at offset, the file grows; only where io->allocates. */
enum io_kind { IO_WRITE, IO_READ, IO_FDATASYNC, IO_FSYNC, IO_ALLOCATE };

/* One asynchronous operation. Owner of the memory: the caller; it must stay until reaped. */
struct io_op {
    uint8_t kind; /* enum io_kind */
    bool dsync;   /* IO_WRITE: complete only when the bytes are durable (RWF_DSYNC) */
    int fd;
    void *buf;
    uint32_t len;
    uint64_t offset;
    void *user;     /* the caller's */
    int32_t result; /* after reap: bytes (read, write), 0, or -errno */
    void *backend;  /* the backend's, between submit and reap */
};

struct io_stat {
    uint64_t size;
    uint64_t dev, ino;
    uint32_t links;
    bool directory;
    int64_t modified; /* UTC ns since 2000-01-01 */
};

struct io;
struct io_ops {
    const char *name; /* "io_uring", "posix", ... */
    int (*open)(struct io *, const char *path, int flags, unsigned mode); /* fd */
    int (*close)(struct io *, int fd);
    int64_t (*pread)(struct io *, int fd, void *buf, size_t len, uint64_t offset);
    int64_t (*pwrite)(struct io *, int fd, const void *buf, size_t len, uint64_t offset);
    int (*fsync)(struct io *, int fd);
    int (*fdatasync)(struct io *, int fd);
    int (*fallocate)(struct io *, int fd, uint64_t offset, uint64_t len); /* grows the size */
    int (*ftruncate)(struct io *, int fd, uint64_t size);
    int (*fstat)(struct io *, int fd, struct io_stat *);
    int (*stat)(struct io *, const char *path, struct io_stat *); /* follows links */
    int (*rename)(struct io *, const char *from, const char *to); /* replaces */
    int (*unlink)(struct io *, const char *path);
    int (*mkdir)(struct io *, const char *path, unsigned mode);
    int (*sync_dir)(struct io *, const char *path); /* fsync of a directory */
    /* calls fn for each entry but . and .. until it says false */
    int (*list)(struct io *, const char *path, bool (*fn)(void *arg, const char *name), void *arg);
    int (*free_space)(struct io *, const char *path, uint64_t *bytes); /* for unprivileged users */
    /* Alignment of offset, length and memory for O_DIRECT; 0 = unknown (use 4096). */
    int (*dio_align)(struct io *, int fd);
    int (*lock)(struct io *, int fd); /* exclusive flock, never waits: -EWOULDBLOCK */
    /* Starts n ops. Returns how many were taken, in order (the rest: again later), or -errno when
     * none. */
    int (*submit)(struct io *, struct io_op **ops, unsigned n);
    /* Completed ops, at most n. Waits up to wait_ns for the first one when something is in flight
     * (0 = never waits). */
    int (*reap)(struct io *, struct io_op **done, unsigned n, int64_t wait_ns);
    int64_t (*monotonic)(struct io *); /* ns; every timeout of storage */
    void (*sleep)(struct io *, int64_t ns);
    void (*destroy)(struct io *); /* waits for what is in flight */
    /* Those below may be NULL: the backend cannot. */
    int (*exchange)(struct io *, const char *a, const char *b); /* swaps two names atomically */
    int (*rmdir)(struct io *, const char *path);
    /* Bytes that will be read soon: a hint, never waits. */
    void (*ahead)(struct io *, int fd, uint64_t offset, uint64_t len);
    /* What the file holds is on its way to the disk: a hint before an fsync of many files, which
     * then share what the disk does for one. Never waits for the disk. */
    void (*fsync_soon)(struct io *, int fd);
};

struct io {
    const struct io_ops *ops;
    unsigned depth; /* most ops in flight */
    bool allocates; /* IO_ALLOCATE does not block the caller */
};

/* The plain backend: submit runs the op at once. */
struct io *io_posix_create(struct err *err);
/* depth = most ops in flight. False errno cases (kernel.io_uring_disabled, seccomp, old kernel) are
 * named in err; the caller falls back to io_posix. */
struct io *io_ring_create(unsigned depth, struct err *err);
/* io_uring, else posix with the reason on err->text (err->code 0 when io_uring is in use). */
struct io *io_best_create(unsigned depth, struct err *err);

static inline void io_destroy(struct io *io)
{
    if (io)
        io->ops->destroy(io);
}

/* Whoever reads what cannot be had again asks again, before an error of the device counts as
 * damage: a path that failed over or a reset took one request with it. *tries: 0 at first. */
#define IO_READ_TRIES 3u
static inline bool io_read_again(int64_t rc, unsigned *tries)
{
    return rc == -EINTR || (rc == -EIO && ++*tries < IO_READ_TRIES);
}

/* Reads or writes everything (posix semantics of short results); 0, -errno, or -ENODATA at an early
 * end of file. */
static inline int io_pread_all(struct io *io, int fd, void *buf, size_t len, uint64_t offset)
{
    for (size_t at = 0; at < len;) {
        int64_t n = io->ops->pread(io, fd, (uint8_t *)buf + at, len - at, offset + at);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -ENODATA;
        at += (size_t)n;
    }
    return 0;
}
static inline int io_pwrite_all(struct io *io, int fd, const void *buf, size_t len, uint64_t offset)
{
    for (size_t at = 0; at < len;) {
        int64_t n = io->ops->pwrite(io, fd, (const uint8_t *)buf + at, len - at, offset + at);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        at += (size_t)n;
    }
    return 0;
}
