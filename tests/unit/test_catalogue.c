/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalogue.h"

static char dir[64];
static struct io *io;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/dev/shm/pstcatXXXXXX");
    io = io_posix_create(NULL);
    return !mkdtemp(dir) || !io;
}
static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    io_destroy(io);
    return system(cmd);
}

static struct catalogue_file file(unsigned i)
{
    struct catalogue_file f = {.day = 9000 + (int)i,
                               .first = 4096ull * (i + 1),
                               .last = 4096ull * (i + 2),
                               .state = CATALOGUE_OPEN};
    snprintf(f.name, sizeof f.name, "log2024.08.%02u", i + 1);
    return f;
}

static void reopen(struct catalogue *c)
{
    struct err e = {0};
    catalogue_close(c);
    if (!catalogue_open(c, io, dir, &e))
        fail_msg("%s", e.text);
}

static void round_trip(void **state)
{
    (void)state;
    struct catalogue c = {.fd = -1};
    c.io = io;
    reopen(&c);
    for (unsigned i = 0; i < 20; i++) {
        struct catalogue_file f = file(19 - i);
        assert_int_equal(catalogue_put_file(&c, &f), 0);
    }
    struct catalogue_file f = file(3);
    f.state = CATALOGUE_POISONED;
    f.last = 77;
    f.spilled = true;
    assert_int_equal(catalogue_put_file(&c, &f), 0);
    assert_int_equal(catalogue_remove_file(&c, "log2024.08.02"), 0);
    struct catalogue_day d = {"default", 9001, DAY_OPEN};
    assert_int_equal(catalogue_put_day(&c, &d), 0);
    d.state = DAY_CLOSED;
    d.eod = 1ull << 50;
    assert_int_equal(catalogue_put_day(&c, &d), 0);
    struct catalogue_day w = {"europe", 9001, DAY_WRITTEN, 12, 7, 1000, 99, true};
    assert_int_equal(catalogue_put_day(&c, &w), 0);
    assert_int_equal(catalogue_put_epoch(&c, 9, "/old"), 0);
    assert_int_equal(catalogue_put_epoch(&c, 7, "/hdb"), 0); /* another database */
    assert_int_equal(catalogue_put_epoch(&c, 5, "/hdb"), 0); /* never back */
    reopen(&c);
    assert_false(c.torn);
    assert_int_equal(c.bad_lines, 0);
    assert_int_equal(c.nfiles, 19);
    for (unsigned i = 1; i < c.nfiles; i++)
        assert_true(c.file[i].first > c.file[i - 1].first);
    assert_null(catalogue_file(&c, "log2024.08.02"));
    const struct catalogue_file *g = catalogue_file(&c, "log2024.08.04");
    assert_non_null(g);
    assert_int_equal(g->state, CATALOGUE_POISONED);
    assert_int_equal(g->last, 77);
    assert_true(g->spilled);
    assert_int_equal(catalogue_day(&c, "default", 9001)->state, DAY_CLOSED);
    assert_int_equal(catalogue_day(&c, "default", 9001)->eod, 1ull << 50);
    const struct catalogue_day *e = catalogue_day(&c, "europe", 9001);
    assert_int_equal(e->state, DAY_WRITTEN);
    assert_int_equal(e->eod, 12);
    assert_int_equal(e->epoch, 7);
    assert_int_equal(e->rows, 1000);
    assert_int_equal(e->at, 99);
    assert_true(e->database);
    assert_int_equal(c.epoch, 7);
    assert_string_equal(c.root, "/hdb");
    assert_null(catalogue_day(&c, "other", 9001));
    catalogue_close(&c);
}

/* Cut at every byte: what stood before the cut is there, and appending goes on. */
static void torn(void **state)
{
    (void)state;
    struct catalogue c = {.fd = -1};
    char path[128], text[4096];
    snprintf(path, sizeof path, "%s/catalogue", dir);
    c.io = io;
    unlink(path);
    reopen(&c);
    uint64_t ends[4] = {0};
    for (unsigned i = 0; i < 3; i++) {
        struct catalogue_file f = file(i);
        assert_int_equal(catalogue_put_file(&c, &f), 0);
        ends[i + 1] = c.size;
    }
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    assert_int_equal(size, ends[3]);
    for (ssize_t cut = 0; cut <= size; cut++) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, text, (size_t)cut), cut);
        close(fd);
        unsigned want = 0;
        while (want < 3 && (uint64_t)cut >= ends[want + 1])
            want++;
        reopen(&c);
        assert_int_equal(c.nfiles, want);
        assert_int_equal(c.torn, (uint64_t)cut != ends[want]);
        struct catalogue_file f = file(7);
        assert_int_equal(catalogue_put_file(&c, &f), 0);
        reopen(&c);
        assert_int_equal(c.nfiles, want + 1);
        assert_false(c.torn);
    }
    /* a flipped bit in the middle costs that line only */
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    text[ends[1] + 20] ^= 1;
    assert_int_equal(write(fd, text, (size_t)size), size);
    close(fd);
    reopen(&c);
    assert_int_equal(c.nfiles, 2);
    catalogue_close(&c);
}

static void compacts(void **state)
{
    (void)state;
    struct catalogue c = {.fd = -1};
    c.io = io;
    reopen(&c);
    for (unsigned i = 0; i < 1500; i++) {
        struct catalogue_file f = file(1);
        f.last = i;
        assert_int_equal(catalogue_put_file(&c, &f), 0);
    }
    uint64_t before = c.size;
    reopen(&c);
    assert_true(c.size < before / 100);
    assert_int_equal(catalogue_file(&c, "log2024.08.02")->last, 1499);
    reopen(&c);
    assert_int_equal(catalogue_file(&c, "log2024.08.02")->last, 1499);
    catalogue_close(&c);
}

/* Batches: the newest of a (date, table) counts; many of them survive the file's rewriting. */
static void loaded(void **state)
{
    (void)state;
    struct catalogue c = {.fd = -1};
    c.io = io;
    reopen(&c);
    for (unsigned round = 1; round <= 30; round++) {
        struct catalogue_loaded l[60];
        for (int i = 0; i < 60; i++) {
            l[i] = (struct catalogue_loaded){
                .date = 9000 + (i * 7) % 60 / 2, .epoch = round, .commit = round + 5};
            snprintf(l[i].table, sizeof l[i].table, "t%d", (i * 7) % 60 % 2);
            snprintf(l[i].batch, sizeof l[i].batch, "k-%u", round);
        }
        for (int i = 0; round == 1 && i < 60; i++) { /* each where it belongs from the start */
            assert_int_equal(catalogue_put_loaded(&c, &l[i], 1), 0);
            for (int k = 0; k < 60; k++) {
                const struct catalogue_loaded *x = catalogue_loaded(&c, l[k].date, l[k].table);
                assert_int_equal(x != NULL, k <= i);
                assert_true(!x || (x->epoch == 1 && x->commit == 6));
            }
            assert_int_equal(c.nloaded, i + 1);
        }
        assert_int_equal(catalogue_put_loaded(&c, l, 60), 0);
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(c.nloaded, 60);
        for (int i = 0; i < 60; i++) {
            const struct catalogue_loaded *l =
                catalogue_loaded(&c, 9000 + i / 2, i % 2 ? "t1" : "t0");
            assert_true(l && l->epoch == 30 && l->commit == 35);
            assert_string_equal(l->batch, "k-30");
        }
        assert_null(catalogue_loaded(&c, 8999, "t0"));
        assert_null(catalogue_loaded(&c, 9029, "t2"));
        reopen(&c);
    }
    assert_true(c.lines < 1000);
    assert_int_equal(catalogue_put_loaded(&c, NULL, 0), 0);
    catalogue_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(loaded),
                                       cmocka_unit_test(torn), cmocka_unit_test(compacts)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
