/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator does what its header says: what is durable when, and what each crash and fault
 * leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include "io_sim.h"

static struct sim *cut(const struct sim *d, uint8_t what)
{
    uint8_t choice[64];
    struct sim *copy = sim_copy(d);
    memset(choice, what, sizeof choice);
    struct sim *after = sim_power_cut(copy, choice, 1);
    sim_free(copy);
    return after;
}

/* -1: no such file */
static int64_t bytes_of(const struct sim *d, const char *path, uint8_t *first)
{
    uint64_t n;
    uint8_t *p = sim_read(d, path, &n);
    if (!p)
        return -1;
    *first = n ? p[0] : 0;
    free(p);
    return (int64_t)n;
}

static void what_is_durable(void **state)
{
    (void)state;
    struct sim *d = sim_new(1), *after;
    struct io *io = sim_io(d);
    uint8_t b[8192], first;
    memset(b, 'a', sizeof b);
    int fd = io->ops->open(io, "/f", O_RDWR | O_CREAT, 0640);
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 0), sizeof b);
    after = cut(d, SIM_DROP);
    assert_int_equal(bytes_of(after, "/f", &first), -1);
    sim_free(after);
    after = cut(d, SIM_APPLY);
    assert_int_equal(bytes_of(after, "/f", &first), sizeof b);
    sim_free(after);
    assert_int_equal(io->ops->fsync(io, fd), 0); /* the bytes, not the name */
    after = cut(d, SIM_DROP);
    assert_int_equal(bytes_of(after, "/f", &first), -1);
    sim_free(after);
    assert_int_equal(io->ops->sync_dir(io, "/"), 0);
    after = cut(d, SIM_DROP);
    assert_int_equal(bytes_of(after, "/f", &first), sizeof b);
    assert_int_equal(first, 'a');
    sim_free(after);
    /* a rename that is not synced; a truncation */
    assert_int_equal(io->ops->rename(io, "/f", "/g"), 0);
    assert_int_equal(io->ops->ftruncate(io, fd, 100), 0);
    after = cut(d, SIM_DROP);
    assert_int_equal(bytes_of(after, "/f", &first), sizeof b);
    assert_int_equal(bytes_of(after, "/g", &first), -1);
    sim_free(after);
    after = cut(d, SIM_APPLY);
    assert_int_equal(bytes_of(after, "/f", &first), -1);
    assert_int_equal(bytes_of(after, "/g", &first), 100);
    sim_free(after);
    /* a killed process: the kernel's view stays */
    struct sim *copy = sim_copy(d);
    uint8_t none[64] = {0};
    after = sim_kill(copy, none);
    assert_int_equal(bytes_of(after, "/g", &first), 100);
    sim_free(after);
    sim_free(copy);
    io->ops->close(io, fd);
    io_destroy(io);
    sim_free(d);
}

static void torn_writes(void **state)
{
    (void)state;
    struct sim *d = sim_new(2);
    struct io *io = sim_io(d);
    uint8_t b[8192], choice = SIM_TEAR;
    memset(b, 'x', sizeof b);
    int fd = io->ops->open(io, "/f", O_RDWR | O_CREAT, 0640);
    io->ops->sync_dir(io, "/");
    io->ops->pwrite(io, fd, b, sizeof b, 0);
    struct sim *copy = sim_copy(d);
    assert_int_equal(copy->npending, 1);
    assert_int_equal(sim_images(copy), 3);
    unsigned some = 0;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct sim *after = sim_power_cut(copy, &choice, seed);
        uint64_t n;
        uint8_t *p = sim_read(after, "/f", &n);
        unsigned there = 0;
        for (uint64_t s = 0; s < n; s += SIM_SECTOR) { /* a sector is whole or absent */
            for (uint64_t i = 1; i < SIM_SECTOR && s + i < n; i++)
                assert_int_equal(p[s], p[s + i]);
            there += p[s] == 'x';
        }
        some += there > 0 && there < 16;
        free(p);
        sim_free(after);
    }
    assert_true(some > 10);
    sim_free(copy);
    io->ops->close(io, fd);
    io_destroy(io);
    sim_free(d);
}

static struct io_op *reap_one(struct io *io)
{
    struct io_op *done = NULL;
    for (unsigned i = 0; i < 1000 && !done; i++)
        io->ops->reap(io, &done, 1, 1000000);
    assert_non_null(done);
    return done;
}

static void in_flight(void **state)
{
    (void)state;
    struct sim *d = sim_new(3), *after;
    struct io *io = sim_io(d);
    static _Alignas(4096) uint8_t b[4096];
    uint8_t first;
    memset(b, 'y', sizeof b);
    int fd = io->ops->open(io, "/f", O_RDWR | O_CREAT | O_DIRECT, 0640);
    io->ops->fsync(io, fd);
    io->ops->sync_dir(io, "/");
    struct io_op op = {.kind = IO_WRITE, .dsync = true, .fd = fd, .buf = b, .len = sizeof b},
                 *p = &op;
    assert_int_equal(io->ops->submit(io, &p, 1), 1);
    after = cut(d, SIM_DROP);
    assert_int_equal(bytes_of(after, "/f", &first), 0);
    sim_free(after);
    assert_ptr_equal(reap_one(io), &op);
    assert_int_equal(op.result, sizeof b);
    after = cut(d, SIM_DROP); /* completed with dsync: durable */
    assert_int_equal(bytes_of(after, "/f", &first), sizeof b);
    assert_int_equal(first, 'y');
    sim_free(after);
    assert_int_equal(d->misuse, 0);
    op.offset = 4096;
    io->ops->submit(io, &p, 1);
    b[17] = 'z'; /* not allowed */
    reap_one(io);
    assert_int_equal(d->misuse, 1);
    op.offset = 100; /* nor is that, with O_DIRECT */
    io->ops->submit(io, &p, 1);
    reap_one(io);
    assert_int_equal(op.result, -EINVAL);
    assert_int_equal(d->unaligned, 1);
    io->ops->close(io, fd);
    io_destroy(io);
    sim_free(d);
}

static void faults(void **state)
{
    (void)state;
    struct sim *d = sim_new(4), *after;
    sim_volume(d, 1, "/v");
    struct io *io = sim_io(d);
    uint8_t b[4096], first;
    memset(b, 'q', sizeof b);
    int fd = io->ops->open(io, "/v/f", O_RDWR | O_CREAT, 0640);
    io->ops->sync_dir(io, "/v");
    /* the second write fails once */
    sim_fault_add(
        d, &(struct sim_fault){.ops = 1u << SIM_PWRITE, .skip = 1, .times = 1, .error = ENOSPC});
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 0), sizeof b);
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 0), -ENOSPC);
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 0), sizeof b);
    sim_fault_clear(d);
    /* B3.1: the sync fails, then succeeds; the bytes are read, and are gone after the cut */
    sim_fault_add(
        d, &(struct sim_fault){.ops = 1u << SIM_FSYNC, .times = 1, .kind = SIM_LIE, .error = EIO});
    assert_int_equal(io->ops->fsync(io, fd), -EIO);
    assert_int_equal(io->ops->fsync(io, fd), 0);
    assert_int_equal(bytes_of(d, "/v/f", &first), sizeof b);
    after = cut(d, SIM_APPLY);
    assert_int_equal(bytes_of(after, "/v/f", &first), 0);
    sim_free(after);
    /* the volume is full: short, then not at all */
    d->limit[1] = 8192;
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 6144), 2048);
    assert_int_equal(io->ops->pwrite(io, fd, b, sizeof b, 8192), -ENOSPC);
    d->limit[1] = SIM_EVER;
    /* a stall takes simulated time */
    int64_t before = d->now;
    sim_fault_clear(d);
    sim_fault_add(d, &(struct sim_fault){
                         .ops = 1u << SIM_FSYNC, .times = 1, .kind = SIM_STALL, .arg = 5000000000});
    assert_int_equal(io->ops->fsync(io, fd), 0);
    assert_true(d->now - before >= 5000000000);
    /* a bit at rest */
    assert_true(sim_flip(d, "/v/f", 3));
    assert_int_equal(bytes_of(d, "/v/f", &first) > 0 ? first : 0, 'q' ^ 8);
    /* and of a write that is not on the device yet: what was seen is what comes to be there */
    memset(b, 'r', sizeof b);
    assert_int_equal(io->ops->pwrite(io, fd, b, 512, 0), 512);
    assert_true(sim_flip(d, "/v/f", 3));
    for (unsigned k = 0; k < 2; k++) {
        after = cut(d, SIM_APPLY);
        assert_int_equal(bytes_of(after, "/v/f", &first) > 0 ? first : 0, 'r' ^ 8);
        sim_free(after);
        assert_int_equal(io->ops->fsync(io, fd), 0);
    }
    io->ops->close(io, fd);
    io_destroy(io);
    sim_free(d);
}

static void same_seed_same_disk(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (unsigned k = 0; k < 2; k++) {
        struct sim *d = sim_new(99);
        struct io *io = sim_io(d);
        uint8_t b[3000];
        int fd = io->ops->open(io, "/f", O_RDWR | O_CREAT, 0640);
        for (unsigned i = 0; i < 50; i++) {
            sim_random_bytes(d, b, sizeof b);
            io->ops->pwrite(io, fd, b, sizeof b, sim_random(d, 100000));
        }
        io->ops->close(io, fd);
        struct sim *copy = sim_copy(d);
        uint8_t choice[64];
        sim_image_choice(copy, 12345, choice);
        struct sim *after = sim_power_cut(copy, choice, 5);
        hash[k] = sim_hash(after);
        sim_free(after);
        sim_free(copy);
        io_destroy(io);
        sim_free(d);
    }
    assert_true(hash[0] == hash[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_durable),     cmocka_unit_test(torn_writes),
        cmocka_unit_test(in_flight),           cmocka_unit_test(faults),
        cmocka_unit_test(same_seed_same_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
