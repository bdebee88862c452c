/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_out.c - two buffers of a worker, filled in turn, written in pieces of 4 MiB while the
 * other one is being filled. Direct writes keep the capture host's page cache out of it and cost no
 * copy; the last one of a file is padded to the disk's alignment and cut off when it has landed.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "partition.h"

#define FREE 2u

bool wd_worker_init(struct wd_worker *w, struct io *io, uint64_t bytes, bool buffered,
                    struct err *err)
{
    memset(w, 0, sizeof *w);
    w->buffered = buffered;
    w->buf[0].fd = w->buf[1].fd = -1;
    memset(w->of, FREE, sizeof w->of);
    w->bytes = bytes / 2 & ~(uint64_t)(2 * 1024 * 1024 - 1);
    if (!w->bytes)
        w->bytes = bytes / 2 & ~(uint64_t)(WD_ALIGN - 1);
    w->io = io;
    if (!io) {
        struct err why = {0};
        w->io = io_best_create(WD_DEPTH, &why);
        w->own_io = true;
        if (!w->io)
            return err_set(err, why.code, "%s", why.text);
    }
    return true;
}

void wd_worker_keep(struct wd_worker *w, struct wd_kept *k)
{
    if (k->bytes != w->bytes)
        wd_kept_free(k);
    k->bytes = w->bytes;
    for (unsigned b = 0; b < 2; b++) {
        w->buf[b].at = k->at[b];
        k->at[b] = NULL;
    }
    w->kept = k;
}

void wd_kept_free(struct wd_kept *k)
{
    for (unsigned b = 0; b < 2; b++)
        if (k->at[b])
            munmap(k->at[b], k->bytes + WD_ALIGN);
    memset(k, 0, sizeof *k);
}

bool wd_out_room(struct wd_worker *w, unsigned b, struct err *err)
{
    if (w->buf[b].at)
        return true;
    void *p = mmap(NULL, w->bytes + WD_ALIGN, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, -ENOMEM, "no memory for a column buffer of %llu bytes",
                       (unsigned long long)w->bytes);
    madvise(p, w->bytes, MADV_HUGEPAGE); /* 8,000 symbols are 8,000 places to write at once */
    w->buf[b].at = p;
    return true;
}

void wd_worker_free(struct wd_worker *w)
{
    if (w->io)
        wd_out_wait(w, 2, NULL);
    for (unsigned b = 0; b < 2; b++)
        if (w->kept)
            w->kept->at[b] = w->buf[b].at;
        else if (w->buf[b].at)
            munmap(w->buf[b].at, w->bytes + WD_ALIGN);
    if (w->own_io)
        io_destroy(w->io);
    wd_reader_free(&w->reader);
    memset(w, 0, sizeof *w);
}

int wd_out_create(struct wd_worker *w, const char *path, bool buffered, bool *direct,
                  struct err *err)
{
    const struct io_ops *ops = w->io->ops;
    int fd = -EINVAL;
    snprintf(w->path, sizeof w->path, "%s", path);
    *direct = !buffered && !w->buffered;
    if (*direct) {
        fd = ops->open(w->io, path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0644);
        int align = fd >= 0 ? ops->dio_align(w->io, fd) : 0;
        if (align > (int)WD_ALIGN) {
            ops->close(w->io, fd);
            fd = -EINVAL;
        }
    }
    if (fd == -EINVAL) { /* the filesystem has no direct I/O */
        *direct = false;
        fd = ops->open(w->io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    }
    if (fd < 0)
        err_set(err, fd, "%s: cannot be created: %s", path, strerror(-fd));
    return fd;
}

static void landed(struct wd_worker *w, struct io_op *op)
{
    unsigned i = (unsigned)(op - w->op);
    if (op->result >= 0 && (uint32_t)op->result < op->len) { /* short: the rest says why */
        int r = io_pwrite_all(w->io, op->fd, (uint8_t *)op->buf + op->result,
                              op->len - (uint32_t)op->result, op->offset + (uint32_t)op->result);
        if (r)
            op->result = r;
    }
    if (op->result < 0 && !w->failed)
        w->failed = op->result;
    w->buf[w->of[i]].flying--;
    w->of[i] = FREE;
}

static bool reap(struct wd_worker *w)
{
    struct io_op *done[WD_DEPTH];
    int n = w->io->ops->reap(w->io, done, WD_DEPTH, 1000000000ll);
    for (int i = 0; i < n; i++)
        landed(w, done[i]);
    return n >= 0;
}

static bool finish(struct wd_worker *w, struct wd_buffer *b, struct err *err)
{
    int fd = b->fd;
    b->fd = -1;
    if (fd < 0)
        return true;
    int r = w->failed ? 0 : w->io->ops->ftruncate(w->io, fd, b->size);
    int c = w->io->ops->close(w->io, fd);
    r = r < 0 ? r : c;
    if (r < 0)
        return err_set(err, r, "%s: cannot be finished: %s", w->path, strerror(-r));
    return true;
}

bool wd_out_wait(struct wd_worker *w, unsigned b, struct err *err)
{
    bool ok = true;
    for (unsigned i = 0; i < 2; i++) {
        if (b != 2 && b != i)
            continue;
        while (w->buf[i].flying)
            if (!reap(w))
                break;
        ok &= finish(w, &w->buf[i], err);
    }
    if (w->failed)
        return err_set(err, w->failed, "%s: cannot be written: %s", w->path, strerror(-w->failed));
    return ok;
}

static bool start_piece(struct wd_worker *w, unsigned b, int fd, uint8_t *at, uint32_t len,
                        uint64_t offset)
{
    unsigned i = 0;
    for (;;) {
        for (i = 0; i < WD_DEPTH && w->of[i] != FREE; i++)
            ;
        if (i < WD_DEPTH)
            break;
        if (!reap(w))
            return false;
    }
    struct io_op *op = &w->op[i];
    *op = (struct io_op){.kind = IO_WRITE, .fd = fd, .buf = at, .len = len, .offset = offset};
    w->of[i] = (uint8_t)b;
    w->buf[b].flying++;
    struct io_op *one[1] = {op};
    for (;;) {
        int n = w->io->ops->submit(w->io, one, 1);
        if (n == 1)
            return true;
        if (n != -EAGAIN && n != 0) {
            op->result = n;
            landed(w, op);
            return false;
        }
        if (!reap(w)) {
            op->result = -EIO;
            landed(w, op);
            return false;
        }
    }
}

bool wd_out_start(struct wd_worker *w, unsigned b, int fd, bool direct, uint64_t len,
                  uint64_t offset, struct err *err)
{
    uint8_t *at = w->buf[b].at;
    int r = 0;
    bump(&w->wrote, len);
    if (direct) {
        uint64_t padded = pst_align_up(len, WD_ALIGN);
        memset(at + len, 0, padded - len);
        for (uint64_t done = 0; done < padded && !w->failed;) {
            uint64_t n = padded - done < WD_PIECE ? padded - done : WD_PIECE;
            if (!start_piece(w, b, fd, at + done, (uint32_t)n, offset + done))
                break;
            done += n;
        }
        r = w->failed;
    } else {
        r = io_pwrite_all(w->io, fd, at, len, offset);
    }
    return !r || err_set(err, r, "%s: cannot be written: %s", w->path, strerror(-r));
}
