/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging directories on a real filesystem: which files are complete, and when. Time is ours (no
 * sleeping); inotify's events are waited for.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "load/watch.h"

static char root[64], stage[80];
static int64_t mono;
static char last[4096]; /* of each name: the letters of what was told, "name:SC " */
static char state_text[300];
static unsigned told[4];
static bool old_seen;

static void event(void *arg, const struct load_watch_event *e)
{
    (void)arg;
    told[e->kind]++;
    old_seen |= e->old;
    size_t n = strlen(last);
    snprintf(last + n, sizeof last - n, "%s%c%llu ", e->name, "SCGR"[e->kind],
             (unsigned long long)e -> size);
}
static void state_hook(void *arg, unsigned d, bool ok, const char *why)
{
    (void)arg;
    (void)d;
    snprintf(state_text, sizeof state_text, "%s", ok ? "found" : why);
}

static struct load_watch *watch(bool scan_only)
{
    static const char *dirs[1];
    struct err err = {0};
    dirs[0] = stage;
    const struct load_watch_config c = {.ndirectories = 1,
                                        .directory = dirs,
                                        .stable_after = 5 * NS_PER_S,
                                        .scan_interval = 10 * NS_PER_S,
                                        .scan_only = scan_only,
                                        .event = event,
                                        .state = state_hook};
    struct load_watch *w = load_watch_open(&c, &err);
    assert_non_null(w);
    memset(told, 0, sizeof told);
    last[0] = state_text[0] = 0;
    old_seen = false;
    return w;
}

static void step(struct load_watch *w, int64_t ns)
{
    mono += ns;
    int64_t next = load_watch_step(w, mono, clock_system());
    for (unsigned i = 0; next <= mono && i < 1000; i++)
        next = load_watch_step(w, mono, clock_system());
}
/* Steps until inotify has told it. */
static void await(struct load_watch *w, const char *word)
{
    for (unsigned i = 0; i < 200; i++) {
        struct pollfd p = {load_watch_fd(w), POLLIN, 0};
        step(w, 0);
        if (strstr(last, word))
            return;
        poll(&p, 1, 50);
    }
    fail_msg("'%s' was not told: %s", word, last);
}

static int create(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", stage, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}
static void put(const char *name, const char *text)
{
    close(create(name, text));
}
static const char *in(const char *name)
{
    static char path[2][200];
    static unsigned turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[0], "%s/%s", stage, name);
    return path[turn];
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/dev/shm/pstwatchXXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(stage, sizeof stage, "%s/in", root);
    mono = clock_monotonic();
    return mkdir(stage, 0700);
}
static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    return system(cmd);
}

/* Being written: seen. Closed: complete. Written again, renamed over, removed. */
static void closed(void **state)
{
    (void)state;
    struct load_watch *w = watch(false);
    step(w, 0);
    assert_true(load_watch_fd(w) >= 0);
    int fd = create("a.csv", "12");
    await(w, "a.csvS2");
    step(w, 3 * NS_PER_S);
    assert_null(strstr(last, "C"));
    close(fd);
    await(w, "a.csvC2");
    last[0] = 0;
    put("a.csv", "345"); /* more of it */
    await(w, "a.csvC5");
    put("b.csv.part", "1234567");
    assert_int_equal(rename(in("b.csv.part"), in("b.csv")), 0);
    await(w, "b.csvC7");
    assert_null(strstr(last, "part"));
    last[0] = 0;
    put(".c.csv.tmp", "1");
    assert_int_equal(rename(in(".c.csv.tmp"), in("b.csv")), 0); /* replaced */
    await(w, "b.csvC1");
    unlink(in("b.csv"));
    await(w, "b.csvG");
    assert_false(old_seen);
    load_watch_close(w);
    unlink(in("a.csv"));
}

/* A second writer keeps it from being complete. */
static void two_writers(void **state)
{
    (void)state;
    struct load_watch *w = watch(false);
    step(w, 0);
    int one = create("two.csv", "1"), two = create("two.csv", "2");
    close(one);
    await(w, "two.csvS2");
    step(w, 0);
    step(w, 20 * NS_PER_S); /* however long nothing happens */
    step(w, 20 * NS_PER_S);
    assert_null(strstr(last, "two.csvC"));
    close(two);
    await(w, "two.csvC2");
    load_watch_close(w);
    unlink(in("two.csv"));
}

/* Files that are there already; a hard link; and without inotify. */
static void stable(void **state)
{
    (void)state;
    for (unsigned scan_only = 0; scan_only < 2; scan_only++) {
        put("old.csv", "1");
        struct load_watch *w = watch(scan_only);
        step(w, 0);
        assert_non_null(strstr(last, "old.csvS1"));
        assert_true(old_seen);
        assert_null(strstr(last, "old.csvC"));
        put("old.csv", "2"); /* not stable yet */
        if (scan_only) {
            step(w, 10 * NS_PER_S);
            assert_null(strstr(last, "old.csvC"));
        }
        step(w, 6 * NS_PER_S);
        await(w, "old.csvC2");
        last[0] = 0;
        char path[200];
        snprintf(path, sizeof path, "%s/outside", root);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, "12", 2), 2);
        close(fd);
        assert_int_equal(link(path, in("link.csv")), 0);
        if (scan_only)
            step(w, 10 * NS_PER_S);
        await(w, "link.csvS2");
        step(w, 6 * NS_PER_S);
        step(w, 10 * NS_PER_S);
        await(w, "link.csvC2");
        unlink(path);
        unlink(in("link.csv"));
        unlink(in("old.csv"));
        step(w, 10 * NS_PER_S);
        await(w, "link.csvG");
        await(w, "old.csvG");
        struct load_watch_figures f;
        load_watch_figures(w, &f);
        assert_int_equal(f.files, 0);
        load_watch_close(w);
    }
}

/* Links and what is no file. */
static void refused(void **state)
{
    (void)state;
    put("real.csv", "1");
    assert_int_equal(symlink("/etc/passwd", in("evil.csv")), 0);
    assert_int_equal(symlink(in("real.csv"), in("alias.csv")), 0);
    assert_int_equal(mkfifo(in("pipe.csv"), 0600), 0);
    assert_int_equal(mkdir(in("dir.csv"), 0700), 0);
    struct load_watch *w = watch(false);
    step(w, 0);
    assert_non_null(strstr(last, "evil.csvR"));
    assert_non_null(strstr(last, "alias.csvR"));
    assert_non_null(strstr(last, "pipe.csvR"));
    assert_null(strstr(last, "dir.csv"));
    step(w, 20 * NS_PER_S);
    assert_int_equal(told[LOAD_REFUSED], 3); /* told once */
    load_watch_close(w);
    static const char *const names[] = {"real.csv", "evil.csv", "alias.csv", "pipe.csv"};
    for (unsigned i = 0; i < 4; i++)
        unlink(in(names[i]));
    rmdir(in("dir.csv"));
}

/* A splayed table is a directory with `.d`: complete as a whole. */
static void splayed(void **state)
{
    (void)state;
    char path[200];
    struct load_watch *w = watch(false);
    step(w, 0);
    assert_int_equal(mkdir(in("trade"), 0700), 0);
    put("trade/sym", "1234");
    put("trade/price", "12345678");
    step(w, 10 * NS_PER_S);
    assert_null(strstr(last, "trade"));
    put("trade/.d", "12");
    step(w, 10 * NS_PER_S);
    await(w, "tradeS14");
    step(w, 6 * NS_PER_S);
    step(w, 10 * NS_PER_S);
    await(w, "tradeC14");
    last[0] = 0;
    snprintf(path, sizeof path, "%s/there", root);
    assert_int_equal(rename(in("trade"), path), 0);
    await(w, "tradeG");
    assert_int_equal(rename(path, in("quote")), 0);
    await(w, "quoteC14"); /* at once: it was renamed in */
    load_watch_close(w);
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf %s/*", stage);
    assert_int_equal(system(cmd), 0);
}

/* A directory that is away for a while. */
static void vanishes(void **state)
{
    (void)state;
    char away[100];
    snprintf(away, sizeof away, "%s/away", root);
    put("v.csv", "1");
    struct load_watch *w = watch(false);
    step(w, 0);
    step(w, 6 * NS_PER_S);
    await(w, "v.csvC1");
    last[0] = 0;
    assert_int_equal(rename(stage, away), 0);
    step(w, 10 * NS_PER_S);
    assert_non_null(strstr(state_text, "No such file"));
    assert_string_equal(last, "");
    state_text[0] = 0;
    step(w, 10 * NS_PER_S);
    assert_string_equal(state_text, ""); /* said once */
    assert_int_equal(rename(away, stage), 0);
    step(w, 10 * NS_PER_S);
    assert_string_equal(state_text, "found");
    put("w.csv", "12"); /* it is watched again */
    await(w, "w.csvC2");
    assert_null(strstr(last, "v.csv"));
    /* another one of its name */
    assert_int_equal(rename(stage, away), 0);
    assert_int_equal(mkdir(stage, 0700), 0);
    put("x.csv", "123");
    step(w, 10 * NS_PER_S);
    step(w, 6 * NS_PER_S);
    await(w, "x.csvC3");
    assert_non_null(strstr(last, "v.csvG"));
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf %s %s; mkdir %s", away, stage, stage);
    load_watch_close(w);
    assert_int_equal(system(cmd), 0);
    /* not there at the start */
    rmdir(stage);
    w = watch(false);
    step(w, 0);
    assert_non_null(strstr(state_text, "No such file"));
    assert_int_equal(mkdir(stage, 0700), 0);
    step(w, 10 * NS_PER_S);
    assert_string_equal(state_text, "found");
    load_watch_close(w);
}

/* 10,000 files: a step looks at a slice; with inotify, then, at nothing. */
static void many(void **state)
{
    (void)state;
    char name[40];
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "m%05u", i);
        put(name, "");
    }
    struct load_watch *w = watch(false);
    struct load_watch_figures a, b;
    mono += NS_PER_S;
    int64_t next = load_watch_step(w, mono, clock_system());
    load_watch_figures(w, &a);
    assert_int_equal(a.stats, LOAD_WATCH_SLICE);
    assert_true(next <= mono);
    step(w, 0);
    load_watch_figures(w, &a);
    assert_int_equal(a.stats, 10000);
    step(w, 6 * NS_PER_S);
    assert_int_equal(told[LOAD_COMPLETE], 10000);
    load_watch_figures(w, &a);
    for (unsigned i = 0; i < 100; i++)
        load_watch_step(w, mono, clock_system());
    load_watch_figures(w, &b);
    assert_int_equal(a.stats, b.stats);
    assert_int_equal(a.scans, b.scans);
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf %s", stage);
    assert_int_equal(system(cmd), 0);
    mkdir(stage, 0700);
    load_watch_rescan(w);
    step(w, 0);
    step(w, 10 * NS_PER_S);
    assert_int_equal(told[LOAD_GONE], 10000);
    load_watch_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(closed),  cmocka_unit_test(two_writers),
                                       cmocka_unit_test(stable),  cmocka_unit_test(refused),
                                       cmocka_unit_test(splayed), cmocka_unit_test(vanishes),
                                       cmocka_unit_test(many)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
