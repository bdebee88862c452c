/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mortal_io.h - real files behind an io that dies: operation number `die_at` (of those that change
 * something) and every one after it fails, as if the process had been killed before it. What is on
 * disk then is what a kill leaves. With `fail_once` only that one operation fails, with fail_code.
 */
#pragma once

#include "core/io.h"

struct mortal_io {
    struct io io;
    struct io *real;
    unsigned changes, die_at; /* 0 = never */
    bool fail_once;
    int fail_code; /* 0: -EIO */
    struct io_ops ops;
    struct io_op *done[64]; /* asynchronous writes run at once, by its own pwrite */
    unsigned ndone;
};

static inline struct mortal_io *mortal_of(struct io *io)
{
    return (struct mortal_io *)io;
}
static inline bool mortal_dead(struct io *io)
{
    struct mortal_io *m = mortal_of(io);
    m->changes++;
    return m->die_at && (m->fail_once ? m->changes == m->die_at : m->changes >= m->die_at);
}
static inline int mortal_code(struct io *io)
{
    return mortal_of(io)->fail_code ? mortal_of(io)->fail_code : -EIO;
}
#define MORTAL(ret, name, params, args)                                                            \
    static inline ret mortal_##name params                                                         \
    {                                                                                              \
        if (mortal_dead(io))                                                                       \
            return mortal_code(io);                                                                \
        return mortal_of(io)->real->ops->name args;                                                \
    }
MORTAL(int64_t, pwrite, (struct io * io, int fd, const void *b, size_t n, uint64_t at),
       (mortal_of(io)->real, fd, b, n, at))
MORTAL(int, fsync, (struct io * io, int fd), (mortal_of(io)->real, fd))
MORTAL(int, ftruncate, (struct io * io, int fd, uint64_t n), (mortal_of(io)->real, fd, n))
MORTAL(int, rename, (struct io * io, const char *a, const char *b), (mortal_of(io)->real, a, b))
MORTAL(int, unlink, (struct io * io, const char *a), (mortal_of(io)->real, a))
MORTAL(int, mkdir, (struct io * io, const char *a, unsigned mode), (mortal_of(io)->real, a, mode))
MORTAL(int, rmdir, (struct io * io, const char *a), (mortal_of(io)->real, a))
MORTAL(int, sync_dir, (struct io * io, const char *a), (mortal_of(io)->real, a))
MORTAL(int, exchange, (struct io * io, const char *a, const char *b), (mortal_of(io)->real, a, b))
#undef MORTAL
static inline int mortal_open(struct io *io, const char *path, int flags, unsigned mode)
{
    if ((flags & (O_CREAT | O_TRUNC)) && mortal_dead(io))
        return mortal_code(io);
    return mortal_of(io)->real->ops->open(mortal_of(io)->real, path, flags, mode);
}

static inline int mortal_submit(struct io *io, struct io_op **ops, unsigned n)
{
    struct mortal_io *m = mortal_of(io);
    for (unsigned i = 0; i < n; i++) {
        if (m->ndone == 64)
            return i ? (int)i : -EAGAIN;
        ops[i]->result =
            (int32_t)mortal_pwrite(io, ops[i]->fd, ops[i]->buf, ops[i]->len, ops[i]->offset);
        m->done[m->ndone++] = ops[i];
    }
    return (int)n;
}
static inline int mortal_reap(struct io *io, struct io_op **done, unsigned n, int64_t wait)
{
    struct mortal_io *m = mortal_of(io);
    unsigned k = m->ndone < n ? m->ndone : n;
    (void)wait;
    for (unsigned i = 0; i < k; i++)
        done[i] = m->done[i];
    for (unsigned i = k; i < m->ndone; i++)
        m->done[i - k] = m->done[i];
    m->ndone -= k;
    return (int)k;
}

/* Everything else is the real one's. Writes that are submitted count like any other. */
static inline struct io *mortal_make(struct mortal_io *m, struct io *real, unsigned die_at)
{
    *m = (struct mortal_io){.real = real, .die_at = die_at, .ops = *real->ops};
    m->io.depth = real->depth;
    m->io.ops = &m->ops;
    m->ops.open = mortal_open;
    m->ops.pwrite = mortal_pwrite;
    m->ops.fsync = mortal_fsync;
    m->ops.ftruncate = mortal_ftruncate;
    m->ops.rename = mortal_rename;
    m->ops.unlink = mortal_unlink;
    m->ops.mkdir = mortal_mkdir;
    m->ops.rmdir = mortal_rmdir;
    m->ops.sync_dir = mortal_sync_dir;
    m->ops.exchange = mortal_exchange;
    m->ops.submit = mortal_submit;
    m->ops.reap = mortal_reap;
    return &m->io;
}
