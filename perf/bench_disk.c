/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_disk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include "core/clock.h"
#include "core/io.h"

#define DEPTH_MAX 128

static bool failed(struct err *err, const char *what, const char *path, int64_t e)
{
    return err_set(err, (int)e, "%s %s: %s", what, path, strerror((int)-e));
}

static bool write_all(struct io *io, int fd, const char *path, uint8_t *buffer, uint64_t bytes,
                      uint32_t block, unsigned depth, uint64_t preallocate, struct err *err)
{
    static struct io_op op[DEPTH_MAX];
    struct io_op *free_op[DEPTH_MAX], *done[DEPTH_MAX];
    unsigned nfree = 0;
    uint64_t at = 0, ahead = 0;
    for (unsigned i = 0; i < depth; i++)
        free_op[nfree++] = &op[i];
    while (at < bytes || nfree < depth) {
        if (preallocate && at < bytes && at + block > ahead) {
            int e = io->ops->fallocate(io, fd, ahead, preallocate);
            if (e)
                return failed(err, "fallocate", path, e);
            ahead += preallocate;
        }
        if (at < bytes && nfree) {
            struct io_op *o = free_op[--nfree];
            *o = (struct io_op){.kind = IO_WRITE,
                                .dsync = true,
                                .fd = fd,
                                .buf = buffer + (size_t)(o - op) * block,
                                .len = block,
                                .offset = at};
            int n = io->ops->submit(io, &o, 1);
            if (n != 1)
                return failed(err, "submit", path, n);
            at += block;
        }
        int n = io->ops->reap(io, done, DEPTH_MAX, nfree && at < bytes ? 0 : NS_PER_MS);
        for (int i = 0; i < n; i++) {
            if (done[i]->result != (int32_t)block)
                return failed(err, "write", path, done[i]->result < 0 ? done[i]->result : -EIO);
            free_op[nfree++] = done[i];
        }
    }
    return true;
}

double bench_disk(const char *directory, uint64_t bytes, uint32_t block, unsigned depth,
                  uint64_t preallocate, struct err *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench_disk.tmp", directory);
    if (depth < 1 || depth > DEPTH_MAX) {
        err_set(err, -EINVAL, "depth %u: must be 1 to %d", depth, DEPTH_MAX);
        return 0;
    }
    struct io *io = io_ring_create(depth, err);
    if (!io)
        return 0;
    uint8_t *buffer = mmap(NULL, (size_t)block * depth, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pst_must(buffer != MAP_FAILED);
    for (size_t i = 0; i < (size_t)block * depth; i++)
        buffer[i] = (uint8_t)(i * 131 >> 3);
    double rate = 0;
    int fd = io->ops->open(io, path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
    if (fd < 0) {
        failed(err, "open", path, fd);
    } else {
        int64_t t0 = clock_monotonic();
        if (write_all(io, fd, path, buffer, bytes, block, depth, preallocate, err))
            rate = (double)bytes / ((double)(clock_monotonic() - t0) / 1e9);
        io->ops->close(io, fd);
        io->ops->unlink(io, path);
    }
    munmap(buffer, (size_t)block * depth);
    io_destroy(io);
    return rate;
}
