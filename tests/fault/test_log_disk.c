/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log on real filesystems that fail: full, lying, read-only, gone. Each case must return to
 * normal without a restart, with every byte of the journal in some file and every position that was
 * published as durable believed by a reader. Needs root (mounts); says what it skips.
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "../unit/log_fixture.h"

static bool root_or_skip(void)
{
    if (geteuid() == 0)
        return true;
    print_message("skipped: mounting filesystems needs root\n");
    return false;
}

static int run(const char *fmt, ...)
{
    char cmd[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    return system(cmd);
}

struct disk {
    char base[64], mount[96];
    bool image; /* a loop device on base/disk.img, itself on a tmpfs when lying */
    bool lying;
};

/* size_mb: of the filesystem; under_mb: of the tmpfs that holds the image (0 = large enough). */
static bool disk_make(struct disk *d, bool image, unsigned size_mb, unsigned under_mb)
{
    *d = (struct disk){.image = image, .lying = under_mb != 0};
    strcpy(d->base, "/tmp/pstdiskXXXXXX");
    assert_non_null(mkdtemp(d->base));
    snprintf(d->mount, sizeof d->mount, "%s/m", d->base);
    assert_int_equal(mkdir(d->mount, 0755), 0);
    if (!image)
        return run("mount -t tmpfs -o size=%uM none %s", size_mb, d->mount) == 0;
    if (under_mb) {
        assert_int_equal(
            run("mkdir %s/u && mount -t tmpfs -o size=%uM none %s/u", d->base, under_mb, d->base),
            0);
    } else
        assert_int_equal(run("mkdir %s/u", d->base), 0);
    assert_int_equal(run("truncate -s %uM %s/u/disk.img && mkfs.ext4 -q -F -m 0 %s/u/disk.img",
                         size_mb, d->base, d->base),
                     0);
    if (run("mount -o loop %s/u/disk.img %s 2>/dev/null", d->base, d->mount) != 0) {
        print_message("skipped: no loop device here\n");
        run("umount %s/u 2>/dev/null; rm -rf %s", d->base, d->base);
        return false;
    }
    return true;
}

static void disk_drop(struct disk *d)
{
    run("umount %s 2>/dev/null || umount -l %s", d->mount, d->mount);
    if (d->lying)
        run("umount %s/u || umount -l %s/u", d->base, d->base);
    run("rm -rf %s", d->base);
}

static void pump(struct fix *x, int64_t ms)
{
    for (int64_t until = clock_monotonic() + ms * NS_PER_MS; clock_monotonic() < until;)
        if (!fix_round(x))
            usleep(200);
}

/* Until the log says this error, however slow the machine; 0 = any. */
static void expect_errno(struct fix *x, int want)
{
    int have = 0;
    for (int64_t until = clock_monotonic() + 10000 * NS_PER_MS; clock_monotonic() < until;) {
        pump(x, 1);
        have = load_relaxed(&x->st->log_errno);
        if (want ? have == want : have != 0)
            return;
    }
    fail_msg("the log says errno %d, expected was %d", have, want);
}

static void settle_or_fail(struct fix *x)
{
    if (!fix_settle(x, 60000))
        fail_msg("does not return to normal: durable %llu of %llu, errno %d",
                 (unsigned long long)(fix_durable(x) - x->start),
                 (unsigned long long)(ring_tail(&x->ring) - x->start), x->st->log_errno);
    fix_data(x, 4096, 0, FIX_DAY); /* and goes on */
    assert_true(fix_settle(x, 60000));
    assert_int_equal(load_relaxed(&x->st->log_errno), 0);
}

/* Fills the filesystem with the log until it stalls, frees a filler, sees it return. */
static void full_case(bool image, bool uring, bool buffered, uint64_t preallocate)
{
    struct disk d;
    if (!root_or_skip() || !disk_make(&d, image, 24, 0))
        return;
    struct fix *x = fix_new(d.mount, LOG_DURABLE, uring, buffered);
    x->cfg.preallocate = preallocate;
    char filler[300];
    snprintf(filler, sizeof filler, "%s/filler", d.mount);
    assert_int_equal(run("head -c 12M /dev/zero > %s && sync %s", filler, filler), 0);
    fix_start(x);
    for (unsigned i = 0; i < 14 * 16; i++) { /* 14 MiB into less than 12 */
        fix_data(x, 65536, 0, FIX_DAY);
        fix_round(x);
    }
    pump(x, 100);
    assert_true(fix_durable(x) < ring_tail(&x->ring));
    expect_errno(x, ENOSPC);
    assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_NOSPACE]) > 0);
    assert_true(load_relaxed(&x->st->log_oldest) != 0);
    uint64_t durable = fix_durable(x);
    fix_files_free(fix_read(x, durable)); /* what is durable is readable while the disk is full */
    assert_int_equal(unlink(filler), 0);
    settle_or_fail(x);
    fix_drain(x);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_true(f->n >= 2);
    assert_true(f->file[f->n - 1].ended);
    fix_files_free(f);
    fix_free(x);
    disk_drop(&d);
}

static void full_tmpfs(void **state)
{
    (void)state;
    full_case(false, false, false, 0);
    full_case(false, true, true, 4 << 20);
}
static void full_ext4(void **state)
{
    (void)state;
    full_case(true, true, false, 0);
    full_case(true, true, false, 4 << 20);
    full_case(true, false, true, 64 << 20);
}

/* reliability B3.1: the image has no room behind it; buffered sync fails, then lies. */
static void lying_fsync_case(bool buffered)
{
    struct disk d;
    if (!root_or_skip() || !disk_make(&d, true, 64, 24))
        return;
    struct fix *x = fix_new(d.mount, LOG_DURABLE, true, buffered);
    x->cfg.preallocate = 0;
    char spill[100];
    snprintf(spill, sizeof spill, "%s/spill", d.base);
    mkdir(spill, 0755);
    snprintf(x->spill, sizeof x->spill, "%s", spill);
    x->cfg.spill = x->spill;
    fix_start(x);
    for (unsigned i = 0; i < 40 * 16; i++) { /* 40 MiB into what holds less than 24 */
        fix_data(x, 65536, 0, FIX_DAY);
        fix_round(x);
    }
    assert_true(fix_settle(x, 20000));
    assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_POISONED]) > 0);
    assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_SPILLED]) > 0);
    /* drop the page cache: only what really is on the device counts */
    run("echo 3 > /proc/sys/vm/drop_caches");
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_true(f->n >= 2);
    fix_files_free(f);
    fix_free(x);
    disk_drop(&d);
}
static void lying_fsync(void **state)
{
    (void)state;
    lying_fsync_case(true);
    lying_fsync_case(false);
}

/*
 * What a sparse image really confirms (6.18: a short write to the image counts as a whole one, with
 * and without direct I/O): the write in which room ends may succeed, its flush too, with only its
 * first part there. Nothing before it is touched, and what follows fails: so with one write in
 * flight at most one confirmed write can be lost.
 */
static void lying_device(void **state)
{
    (void)state;
    enum { PIECE = 24576, PIECES = 64 };
    char base[] = "/tmp/pstdiskXXXXXX", loop[64] = "";
    if (!root_or_skip())
        return;
    assert_non_null(mkdtemp(base));
    assert_int_equal(run("mount -t tmpfs -o size=1M none %s && truncate -s 8M %s/i", base, base),
                     0);
    char cmd[100];
    snprintf(cmd, sizeof cmd, "losetup -f --show %s/i 2>/dev/null", base);
    FILE *p = popen(cmd, "r");
    assert_non_null(p);
    bool there = fgets(loop, sizeof loop, p) != NULL;
    pclose(p);
    if (!there) {
        print_message("skipped: no loop device here\n");
        run("umount %s; rmdir %s", base, base);
        return;
    }
    loop[strcspn(loop, "\n")] = 0;
    int fd = open(loop, O_RDWR | O_DIRECT);
    uint8_t *b = aligned_alloc(4096, PIECE);
    assert_true(fd >= 0 && b);
    unsigned confirmed = 0, lost = 0, last_lost = 0;
    memset(b, 0x55, PIECE);
    struct iovec v = {b, PIECE};
    while (confirmed < PIECES && pwritev2(fd, &v, 1, (off_t)confirmed * PIECE, RWF_DSYNC) == PIECE)
        confirmed++;
    int error = errno;
    bool flushed = fdatasync(fd) == 0;
    for (unsigned i = 0; i < confirmed; i++) {
        assert_int_equal(pread(fd, b, PIECE, (off_t)i * PIECE), PIECE);
        unsigned bad = 0;
        for (unsigned k = 0; k < PIECE; k++)
            bad += b[k] != 0x55;
        if (bad) {
            lost++;
            last_lost = i;
            print_message("write %u was confirmed%s: %u of its %u bytes are not there\n", i,
                          flushed ? ", and flushed" : "", bad, (unsigned)PIECE);
        }
    }
    free(b);
    close(fd);
    run("losetup -d %s; umount %s; rmdir %s", loop, base, base);
    assert_true(confirmed > 0 && confirmed < PIECES); /* it is full, and said so */
    assert_int_equal(error, ENOSPC);
    assert_true(lost == 0 || (lost == 1 && last_lost == confirmed - 1));
}

static void read_only(void **state)
{
    (void)state;
    struct disk d;
    if (!root_or_skip() || !disk_make(&d, true, 24, 0))
        return;
    struct fix *x = fix_new(d.mount, LOG_DURABLE, true, false);
    x->cfg.preallocate = 0;
    fix_start(x);
    fix_data(x, 65536, 0, FIX_DAY);
    assert_true(fix_settle(x, 5000));
    /* the kernel's own reaction to a dying disk: the journal is aborted, it is read-only now */
    assert_int_equal(run("mount -o remount,abort %s", d.mount), 0);
    for (unsigned i = 0; i < 32; i++) {
        fix_data(x, 65536, 0, FIX_DAY);
        fix_round(x);
    }
    pump(x, 100);
    uint64_t durable = fix_durable(x);
    assert_true(durable < ring_tail(&x->ring));
    expect_errno(x, 0);
    assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_IO_ERROR]) > 0);
    /* the operator mounts a sound disk there, with what the old one holds */
    assert_int_equal(run("cp -a %s/. %s/keep 2>/dev/null || (mkdir %s/keep && cp -a %s/. %s/keep)",
                         d.mount, d.base, d.base, d.mount, d.base),
                     0);
    assert_int_equal(run("umount -l %s && mount -t tmpfs -o size=64M none %s && cp -a %s/keep/. %s",
                         d.mount, d.mount, d.base, d.mount),
                     0);
    settle_or_fail(x);
    fix_drain(x);
    fix_files_free(fix_read(x, ring_tail(&x->ring)));
    fix_free(x);
    disk_drop(&d);
}

static void renamed_away(void **state)
{
    (void)state;
    struct fix *x = fix_new("/tmp", LOG_DURABLE, true, false);
    fix_start(x);
    fix_data(x, 65536, 0, FIX_DAY);
    assert_true(fix_settle(x, 5000));
    char away[300];
    snprintf(away, sizeof away, "%s/away", x->root);
    assert_int_equal(rename(x->dir, away), 0);
    for (unsigned i = 0; i < 16; i++) {
        fix_data(x, 65536, 0, FIX_DAY);
        pump(x, 10);
    }
    expect_errno(x, ENOENT);
    assert_int_equal(rename(away, x->dir), 0);
    pump(x, 60);
    settle_or_fail(x);
    /* now another directory stands there: the log moves into it */
    assert_int_equal(rename(x->dir, away), 0);
    assert_int_equal(mkdir(x->dir, 0755), 0);
    pump(x, 100);
    settle_or_fail(x);
    fix_drain(x);
    assert_int_equal(run("cp %s/log2* %s/", away, x->dir), 0);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_int_equal(f->n, 2);
    assert_int_equal(f->file[0].end.reason, LOG_END_MOVED);
    fix_files_free(f);
    fix_free(x);
}

static void deleted(void **state)
{
    (void)state;
    struct fix *x = fix_new("/tmp", LOG_DURABLE, true, false);
    fix_start(x);
    fix_data(x, 65536, 0, FIX_DAY);
    assert_true(fix_settle(x, 5000));
    assert_int_equal(run("rm -rf %s", x->dir), 0);
    uint64_t lost = ring_tail(&x->ring);
    pump(x, 60);
    for (unsigned i = 0; i < 8; i++)
        fix_data(x, 65536, 0, FIX_DAY);
    pump(x, 60);
    assert_true(fix_durable(x) <= lost);
    assert_int_equal(mkdir(x->dir, 0755), 0);
    settle_or_fail(x);
    fix_drain(x);
    struct fix_files *f = fix_read(x, 0);
    for (uint64_t p = lost; p < ring_tail(&x->ring); p += 8)
        assert_true(f->seen[(p - x->start) / 8]);
    fix_files_free(f);
    fix_free(x);
}

static void file_size_limit(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, lim;
    getrlimit(RLIMIT_FSIZE, &old);
    struct fix *x = fix_new("/tmp", LOG_DURABLE, true, false);
    x->cfg.preallocate = 0;
    fix_start(x);
    lim = old;
    lim.rlim_cur = 3000 * 1000; /* not a multiple of the block */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
    for (unsigned i = 0; i < 160; i++) {
        fix_data(x, 65536, 0, FIX_DAY);
        fix_round(x);
    }
    bool ok = fix_settle(x, 10000);
    lim.rlim_cur = old.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
    assert_true(ok);
    settle_or_fail(x);
    fix_drain(x);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_true(f->n >= 4);
    fix_files_free(f);
    fix_free(x);
}

/* The log directory fills, the spill takes over, the log goes home by itself. */
static void spill_and_home(void **state)
{
    (void)state;
    struct disk d;
    if (!root_or_skip() || !disk_make(&d, true, 24, 0))
        return;
    struct fix *x = fix_new(d.mount, LOG_DURABLE, true, false);
    x->cfg.preallocate = 1 << 20;
    snprintf(x->spill, sizeof x->spill, "%s/spill", d.base);
    assert_int_equal(mkdir(x->spill, 0755), 0);
    x->cfg.spill = x->spill;
    char filler[300];
    snprintf(filler, sizeof filler, "%s/filler", d.mount);
    assert_int_equal(run("head -c 17M /dev/zero > %s && sync %s", filler, filler), 0);
    fix_start(x);
    for (unsigned i = 0; i < 12 * 16; i++) {
        fix_data(x, 65536, 0, FIX_DAY);
        fix_round(x);
    }
    assert_true(fix_settle(x, 10000));
    assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_SPILLED]) > 0);
    assert_int_equal(unlink(filler), 0);
    for (int64_t until = clock_monotonic() + 5 * NS_PER_S;
         strncmp(x->st->log_file, x->dir, strlen(x->dir)) != 0;) {
        fix_data(x, 256, 0, FIX_DAY);
        pump(x, 5);
        if (clock_monotonic() > until)
            fail_msg("the log does not leave the spill directory");
    }
    settle_or_fail(x);
    fix_drain(x);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    bool spilled = false;
    for (unsigned i = 0; i < f->n; i++)
        spilled |= f->file[i].spilled;
    assert_true(spilled);
    fix_files_free(f);
    fix_free(x);
    disk_drop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_tmpfs),     cmocka_unit_test(full_ext4),
        cmocka_unit_test(lying_fsync),    cmocka_unit_test(lying_device),
        cmocka_unit_test(read_only),      cmocka_unit_test(renamed_away),
        cmocka_unit_test(deleted),        cmocka_unit_test(file_size_limit),
        cmocka_unit_test(spill_and_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
