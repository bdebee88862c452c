/* SPDX-License-Identifier: Apache-2.0 */
/* test_day_file.c - a file a date: whole lines, a bound, what is no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "day_file.h"

#define MANY (1 << 20)

static char dir[64];

static const char *contents(const char *name)
{
    static char text[256];
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static bool write_text(struct day_file *f, int32_t day, const char *text, int64_t most)
{
    return day_file_write(f, day, text, strlen(text), most);
}

static void test_dates(void **state)
{
    struct day_file f;
    char path[200];
    struct stat st;
    (void)state;
    day_file_init(&f, "test", dir, "nyc", "told");
    assert_string_equal(f.path, "");
    assert_true(write_text(&f, 0, "one\n", MANY));
    assert_true(write_text(&f, 0, "two\n", MANY));
    snprintf(path, sizeof path, "%s/nyc.told.2000.01.01", dir);
    assert_string_equal(f.path, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(write_text(&f, 1, "three\n", MANY));
    assert_true(write_text(&f, 0, "four\n", MANY)); /* goes on behind what is there */
    day_file_close(&f);
    assert_string_equal(contents("nyc.told.2000.01.01"), "one\ntwo\nfour\n");
    assert_string_equal(contents("nyc.told.2000.01.02"), "three\n");
}

/* The bound counts what was there before, and the file is never longer. */
static void test_bound(void **state)
{
    struct day_file f;
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        day_file_init(&f, "test", dir, "bound", "told");
        assert_int_equal(write_text(&f, 0, "12345\n", 10), !pass);
        assert_false(write_text(&f, 0, "12345\n", 10));
        day_file_close(&f);
    }
    day_file_init(&f, "test", dir, "bound", "told");
    assert_true(write_text(&f, 0, "123\n", 10)); /* a shorter one fits */
    day_file_close(&f);
    assert_string_equal(contents("bound.told.2000.01.01"), "12345\n123\n");
}

/* A file system that takes half a line has none of it. */
static void test_half(void **state)
{
    struct day_file f;
    struct rlimit old, small = {.rlim_cur = 8};
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    day_file_init(&f, "test", dir, "half", "told");
    assert_true(write_text(&f, 0, "12345\n", MANY));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool half = write_text(&f, 0, "67890\n", MANY);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_false(half);
    assert_string_equal(contents("half.told.2000.01.01"), "12345\n");
    assert_true(write_text(&f, 0, "abc\n", MANY));
    day_file_close(&f);
    assert_string_equal(contents("half.told.2000.01.01"), "12345\nabc\n");
}

/* What stands in the way: a FIFO (which would block), a link, nothing to write to. */
static void test_no_file(void **state)
{
    struct day_file f;
    char path[200], other[200];
    (void)state;
    snprintf(path, sizeof path, "%s/odd.told.2000.01.01", dir);
    snprintf(other, sizeof other, "%s/elsewhere", dir);
    day_file_init(&f, "test", dir, "odd", "told");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(write_text(&f, 0, "x\n", MANY));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_false(write_text(&f, 0, "x\n", MANY));
    assert_int_not_equal(access(other, F_OK), 0);
    assert_string_equal(f.path, "");
    assert_int_equal(unlink(path), 0);
    assert_true(write_text(&f, 0, "y\n", MANY)); /* each line tries again */
    assert_string_equal(f.path, path);
    day_file_close(&f);
    assert_string_equal(contents("odd.told.2000.01.01"), "y\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_no_file),
    };
    snprintf(dir, sizeof dir, "%s/test_day_file.XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char rm[100];
    snprintf(rm, sizeof rm, "rm -rf %s", dir);
    return system(rm) || failed;
}
