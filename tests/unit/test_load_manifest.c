/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's write-ahead list: torn at every byte, damaged at every byte, disks that fail. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "load/manifest.h"

static char dir[64], path[100];
static struct io *io;
static json_t *seen; /* array of the objects in order */
static unsigned full_lines;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/dev/shm/pstmanXXXXXX");
    io = io_posix_create(NULL);
    bool ok = mkdtemp(dir) && io;
    snprintf(path, sizeof path, "%s/" LOAD_MANIFEST_NAME, dir);
    return !ok;
}
static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    io_destroy(io);
    json_decref(seen);
    seen = NULL;
    return system(cmd);
}

static bool line(void *arg, const json_t *o, struct err *err)
{
    (void)arg;
    (void)err;
    json_array_append_new(seen, json_deep_copy(o));
    return true;
}
static bool content(void *arg, struct load_manifest *m)
{
    (void)arg;
    for (unsigned i = 0; i < full_lines; i++)
        if (!load_manifest_line(m, json_pack("{s:i}", "n", (int)i)))
            return false;
    return true;
}
static bool open_it(struct load_manifest *m, struct err *err)
{
    json_decref(seen);
    seen = json_array();
    *err = (struct err){0};
    bool ok = load_manifest_open(m, io, dir, 7, line, content, NULL, err);
    if (!ok)
        load_manifest_close(m);
    return ok;
}
static void add(struct load_manifest *m, int n)
{
    assert_true(load_manifest_add(m, json_pack("{s:i}", "n", n)));
}
/* 0 … n - 1 were read, nothing else */
static void assert_numbers(unsigned n)
{
    assert_int_equal(json_array_size(seen), n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(seen, i), "n")), i);
}

static char *slurp(size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *n = (size_t)st.st_size;
    return p;
}
static void spew(const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

static void round_trip(void **state)
{
    (void)state;
    struct load_manifest m;
    struct err err;
    full_lines = 0;
    assert_true(open_it(&m, &err));
    assert_true(load_manifest_dirty(&m)); /* the first sync makes it */
    assert_int_equal(load_manifest_sync(&m), 0);
    for (int i = 0; i < 5; i++)
        add(&m, i);
    assert_int_equal(load_manifest_sync(&m), 0);
    assert_int_equal(m.syncs, 2); /* five lines, one sync */
    add(&m, 5);                   /* never synced: lost */
    load_manifest_close(&m);
    assert_true(open_it(&m, &err));
    assert_numbers(5);
    assert_false(m.torn);
    load_manifest_close(&m);
    assert_false(load_manifest_open(&m, io, dir, 8, line, content, NULL, &err));
    assert_non_null(strstr(err.text, "instance"));
    load_manifest_close(&m);
}

/* Groups of 3, 2 and 4 lines, one sync each. */
static char *nine(size_t *n, size_t group[4])
{
    struct load_manifest m;
    struct err err;
    unlink(path);
    full_lines = 0;
    assert_true(open_it(&m, &err));
    assert_int_equal(load_manifest_sync(&m), 0);
    group[0] = (size_t)m.size;
    static const unsigned lines[] = {3, 2, 4};
    for (unsigned g = 0, i = 0; g < 3; g++) {
        for (unsigned k = 0; k < lines[g]; k++)
            add(&m, (int)i++);
        assert_int_equal(load_manifest_sync(&m), 0);
        group[g + 1] = (size_t)m.size;
    }
    load_manifest_close(&m);
    return slurp(n);
}

/* Cut anywhere: whole lines before it are there, and what is added then comes behind them. */
static void torn_everywhere(void **state)
{
    (void)state;
    size_t n, group[4];
    char *p = nine(&n, group);
    for (size_t cut = 0; cut <= n; cut++) {
        struct load_manifest m;
        struct err err;
        spew(p, cut);
        if (!open_it(&m, &err))
            fail_msg("cut at %zu: %s", cut, err.text);
        unsigned have = (unsigned)json_array_size(seen);
        assert_numbers(have);
        assert_true(cut < n || have == 9);
        full_lines = have;
        add(&m, (int)have);
        assert_int_equal(load_manifest_sync(&m), 0);
        if (m.rewrites) { /* what it had, from the owner; then again */
            add(&m, (int)have);
            assert_int_equal(load_manifest_sync(&m), 0);
        }
        load_manifest_close(&m);
        assert_true(open_it(&m, &err));
        assert_numbers(have + 1);
        load_manifest_close(&m);
    }
    free(p);
}

/* A byte changed: below what a later line calls durable it is damage, and refused; in the last
 * group it is a torn tail. */
static void damaged_everywhere(void **state)
{
    (void)state;
    size_t n, group[4];
    char *p = nine(&n, group);
    for (size_t at = 0; at < n; at++) {
        struct load_manifest m;
        struct err err;
        p[at] ^= 0x10;
        spew(p, n);
        p[at] ^= 0x10;
        bool ok = open_it(&m, &err);
        if (at < group[2] && ok) /* the last group's first line vouches for all before it */
            fail_msg("a change at %zu of %zu was not noticed", at, group[2]);
        if (at >= group[2] && !ok)
            fail_msg("a change at %zu: %s", at, err.text);
        if (!ok)
            assert_non_null(strstr(err.text, path));
        else {
            assert_true(m.torn);
            assert_true(json_array_size(seen) >= 5);
            load_manifest_close(&m);
        }
    }
    free(p);
}

static void newer_format(void **state)
{
    (void)state;
    struct load_manifest m;
    struct err err;
    size_t n, group[4];
    free(nine(&n, group));
    char text[] = "00000000 {\"load\":2,\"instance\":\"0000000000000007\"}\n";
    spew(text, strlen(text)); /* a wrong checksum first: nothing is believed */
    assert_true(open_it(&m, &err));
    load_manifest_close(&m);
    extern uint32_t test_crc(const void *p, size_t size);
    snprintf(text, 9, "%08x", test_crc(text + 9, strlen(text) - 10));
    text[8] = ' ';
    spew(text, strlen(text));
    assert_false(open_it(&m, &err));
    assert_non_null(strstr(err.text, "format 2"));
    unlink(path);
}

static void compaction(void **state)
{
    (void)state;
    struct load_manifest m;
    struct err err;
    unlink(path);
    full_lines = 10;
    assert_true(open_it(&m, &err));
    assert_int_equal(load_manifest_sync(&m), 0);
    for (int i = 0; i < 20000; i++) {
        add(&m, i % 10);
        if (i % 100 == 0) {
            m.live = 10;
            assert_int_equal(load_manifest_compact(&m), 0);
        }
        assert_true(m.lines < 10000);
    }
    assert_int_equal(load_manifest_sync(&m), 0);
    assert_in_range(m.rewrites, 2, 10);
    load_manifest_close(&m);
}

#include "core/crc.h"
uint32_t test_crc(const void *p, size_t size);
uint32_t test_crc(const void *p, size_t size)
{
    return crc32c(0xFFFFFFFFu, p, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(torn_everywhere),
        cmocka_unit_test(damaged_everywhere), cmocka_unit_test(newer_format),
        cmocka_unit_test(compaction)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
