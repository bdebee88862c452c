/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring backend: the only file that knows liburing. The ring is made twice: once at creation
 * to learn whether the kernel lets us (then closed), and for good at the first submit, because with
 * SINGLE_ISSUER it belongs to the thread that makes it. It may only write, read, sync and
 * allocate.
 */
#include <liburing.h>
#include "core/clock.h"
#include "io_sys.h"

struct io_ring {
    struct io io;
    struct io_ops ops;
    struct io_uring ring;
    bool made;
    unsigned in_flight;
};

static int make(struct io_uring *ring, unsigned depth)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                         IORING_SETUP_R_DISABLED};
    int r = io_uring_queue_init_params(depth, ring, &p);
    if (r == -EINVAL) { /* before Linux 6.1 */
        p = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED};
        r = io_uring_queue_init_params(depth, ring, &p);
    }
    if (r < 0)
        return r;
    struct io_uring_restriction allow[8] = {0};
    unsigned n = 0;
    static const uint8_t ops[] = {IORING_OP_WRITE, IORING_OP_READ, IORING_OP_FSYNC,
                                  IORING_OP_FALLOCATE, IORING_OP_NOP};
    for (unsigned i = 0; i < PST_COUNT(ops); i++)
        allow[n++] =
            (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i]};
    /* liburing 2.3 declares wrappers for these two calls but does not export them */
    r = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allow, n);
    if (r >= 0)
        r = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r < 0) {
        io_uring_queue_exit(ring);
        return r;
    }
    /* Syncs and allocating writes run there. As many as there may be writes: those that hang on one
     * disk must not keep those to another one waiting. */
    unsigned workers[2] = {depth, depth};
    io_uring_register_iowq_max_workers(ring, workers); /* refused before 5.15: then unlimited */
    return 0;
}

static void fill(struct io_uring_sqe *s, struct io_op *op)
{
    switch ((enum io_kind)op->kind) {
    case IO_WRITE:
        io_uring_prep_write(s, op->fd, op->buf, op->len, op->offset);
        s->rw_flags = op->dsync ? RWF_DSYNC : 0;
        break;
    case IO_READ:
        io_uring_prep_read(s, op->fd, op->buf, op->len, op->offset);
        break;
    case IO_FDATASYNC:
        io_uring_prep_fsync(s, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_FSYNC:
        io_uring_prep_fsync(s, op->fd, 0);
        break;
    case IO_ALLOCATE:
        io_uring_prep_fallocate(s, op->fd, 0, (off_t)op->offset, (off_t)op->len);
        break;
    default:
        io_uring_prep_nop(s);
    }
    io_uring_sqe_set_data(s, op);
}

static int ring_submit(struct io *io, struct io_op **ops, unsigned n)
{
    struct io_ring *u = (struct io_ring *)io;
    if (!u->made) {
        int r = make(&u->ring, io->depth);
        if (r < 0)
            return r;
        u->made = true;
    }
    unsigned i = 0;
    for (; i < n && u->in_flight < io->depth; i++) {
        struct io_uring_sqe *s = io_uring_get_sqe(&u->ring);
        if (!s)
            break;
        fill(s, ops[i]);
        u->in_flight++;
    }
    /* What the kernel does not take now (-EAGAIN, -EBUSY) stays in the queue; reap submits again.
     */
    if (i)
        io_uring_submit(&u->ring);
    return i ? (int)i : -EAGAIN;
}

static int ring_reap(struct io *io, struct io_op **done, unsigned n, int64_t wait_ns)
{
    struct io_ring *u = (struct io_ring *)io;
    if (!u->in_flight)
        return 0;
    struct io_uring_cqe *cqe = NULL;
    if (io_uring_peek_cqe(&u->ring, &cqe) != 0 || !cqe) {
        if (wait_ns > 0) {
            struct __kernel_timespec ts = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};
            io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
        } else {
            if (io_uring_sq_ready(&u->ring))
                io_uring_submit(&u->ring);
            io_uring_get_events(&u->ring);
        }
    }
    unsigned i = 0;
    while (i < n && io_uring_peek_cqe(&u->ring, &cqe) == 0 && cqe) {
        struct io_op *op = io_uring_cqe_get_data(cqe);
        op->result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        u->in_flight--;
        done[i++] = op;
    }
    return (int)i;
}

static void ring_destroy(struct io *io)
{
    struct io_ring *u = (struct io_ring *)io;
    struct io_op *done[16];
    for (int i = 0; u->in_flight && i < 100; i++)
        ring_reap(io, done, PST_COUNT(done), 100 * NS_PER_MS);
    if (u->made)
        io_uring_queue_exit(&u->ring);
    free(u);
}

struct io *io_ring_create(unsigned depth, struct err *err)
{
    struct io_uring probe;
    int r = make(&probe, 8);
    if (r < 0) {
        err_set(err, r,
                "io_uring is not available (%s): the log uses plain system calls; see "
                "kernel.io_uring_disabled",
                strerror(-r));
        return NULL;
    }
    io_uring_queue_exit(&probe);
    struct io_ring *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, -ENOMEM, "io_uring: no memory");
        return NULL;
    }
    u->ops = io_posix_ops;
    u->ops.name = "io_uring";
    u->ops.submit = ring_submit;
    u->ops.reap = ring_reap;
    u->ops.destroy = ring_destroy;
    u->io.ops = &u->ops;
    u->io.depth = depth < 8 ? 8 : depth;
    u->io.allocates = true;
    return &u->io;
}
