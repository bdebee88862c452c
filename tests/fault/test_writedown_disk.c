/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's volume is full (a tmpfs and an ext4 of a few MB, mounted in a namespace of this
 * process alone): before the first byte, and while columns are being written. One sentence, nothing
 * left behind, the day stays in memory; with room again the same job succeeds. Needs root (mounts);
 * says what it skips.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include "../unit/writedown_kit.h"

static const struct column_def columns[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                            {"a", PST_LONG},         {"b", PST_FLOAT},
                                            {"c", PST_SYMBOL},       {"text", PST_STRING}};
static const char *const names[] = {"t"};

static bool run(const char *cmd)
{
    return system(cmd) == 0;
}

static void ballast(const struct wk *k, uint64_t leave)
{
    char path[120];
    uint64_t have;
    struct io_stat st = {0};
    snprintf(path, sizeof path, "%s/ballast", k->root);
    (void)k->io->ops->stat(k->io, path, &st);
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_true(k->io->ops->free_space(k->io, k->root, &have) >= 0);
    for (int r = ENOSPC; have > leave && r == ENOSPC; leave += 4096) {
        r = posix_fallocate(fd, (off_t)st.size, (off_t)(have - leave));
        assert_true(!r || r == ENOSPC);
    }
    close(fd);
}

static void no_ballast(const struct wk *k)
{
    char path[120];
    snprintf(path, sizeof path, "%s/ballast", k->root);
    unlink(path);
}

static void nothing_left(const struct wk *k)
{
    DIR *d = opendir(k->root);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] == '2')
            fail_msg("%s is left", e->d_name);
    closedir(d);
}

static void full(bool ext4)
{
    struct wk k;
    struct err err = {0};
    char cmd[400];
    struct writedown_job job;
    struct writedown_table tables[1];
    struct writedown_part parts[8];
    unsigned nparts;
    wk_open(&k);
    hdb_sym_close(&k.sym);
    hdb_close(k.hdb);
    if (ext4)
        snprintf(cmd, sizeof cmd,
                 "truncate -s 64M %s/img && mkfs.ext4 -q -F -m 0 %s/img && mount -o loop %s/img %s "
                 "2>/dev/null",
                 k.dir, k.dir, k.dir, k.root);
    else
        snprintf(cmd, sizeof cmd, "mount -t tmpfs -o size=24M none %s", k.root);
    if (!run(cmd)) {
        print_message("skipped: no loop device here\n");
        wk_open_hdb(&k);
        wk_close(&k);
        return;
    }
    wk_open_hdb(&k);
    k.cfg.buffer_bytes = 1 << 20;
    wk_open_writedown(&k);
    const struct schema *s = wk_schema(&k, 2, "t", false, columns, PST_COUNT(columns));
    wk_rows(&k, s, 100000, LK_DAY);
    wk_job(&k, &job, tables, names, 1, parts, &nparts);

    /* known before */
    ballast(&k, 2 << 20);
    assert_null(wk_go(&k, &job, &err));
    assert_int_equal(err.code, -ENOSPC);
    assert_non_null(strstr(err.text, "MB are free"));
    nothing_left(&k);
    no_ballast(&k);

    /* met while writing, at several places */
    for (int steps = 3; steps < 8; steps++) {
        if (!writedown_start(k.w, &job, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < steps; i++)
            assert_int_equal(writedown_step(k.w), WRITEDOWN_MORE);
        ballast(&k, 64 << 10);
        enum writedown_verdict v;
        while ((v = writedown_step(k.w)) == WRITEDOWN_MORE)
            ;
        assert_int_equal(v, WRITEDOWN_FAILED);
        assert_int_equal(writedown_error(k.w)->code, -ENOSPC);
        assert_non_null(strstr(writedown_error(k.w)->text, k.root));
        nothing_left(&k);
        no_ballast(&k);
    }
    const struct writedown_result *res = wk_go(&k, &job, &err);
    if (!res)
        fail_msg("%s", err.text);
    assert_int_equal(wk_check(&k, "t", 0, k.rows, -1), 100000);
    writedown_destroy(k.w);
    k.w = NULL;
    hdb_sym_close(&k.sym);
    hdb_close(k.hdb);
    assert_int_equal(umount2(k.root, MNT_DETACH), 0);
    wk_open_hdb(&k);
    wk_close(&k);
}

static void full_tmpfs(void **state)
{
    (void)state;
    full(false);
}
static void full_ext4(void **state)
{
    (void)state;
    full(true);
}

int main(void)
{
    if (geteuid() || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        printf("skipped: mounting filesystems needs root\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_tmpfs), cmocka_unit_test(full_ext4)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
