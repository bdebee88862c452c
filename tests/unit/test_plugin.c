/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_plugin.c - plugins through storage/query/plugin.h: which load and which do not, and why;
 * named queries by name and FROM name(args), their parameters, results of every type, limits.
 */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/clock.h"
#include "storage/query/plugin.h"
#include "storage/query/result.h"

static struct plugins *p;
static struct err err;
static struct query_error e;
static struct query_env env;
static struct plan_limits limits;
static _Atomic int cancel;
static unsigned logged;
static char directory[64];

static void on_log(void *arg, const char *line)
{
    (void)arg;
    assert_true(strlen(line) < 500 && !strchr(line, '\n') && !strchr(line, 27));
    logged++;
}
static const struct query_table *no_table(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return NULL;
}
static const struct query_table *no_table_at(void *ctx, unsigned i)
{
    (void)ctx;
    (void)i;
    return NULL;
}

static char *file(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s.so", directory, name);
    return path;
}
static void copy(const char *name) /* out of the build directory, which may be anybody's */
{
    char command[1200];
    snprintf(command, sizeof command, "cp %s/%s.so %s/", PST_PLUGINS, name, directory);
    if (system(command))
        fail_msg("%s", command);
}

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_plugin.XXXXXX");
    assert_non_null(mkdtemp(directory));
    copy("misbehave");
    copy("types");
    for (int i = 1; i <= 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "bad%d", i);
        copy(name);
    }
    p = plugins_new(on_log, NULL);
    env = (struct query_env){.tables = {.find = no_table, .at = no_table_at}};
    limits = (struct plan_limits){.cancel = &cancel, .threads = 1};
    plugins_functions(p, &env.functions);
    cancel = 0;
    logged = 0;
    return p ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    plugins_free(p);
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void load(const char *name)
{
    if (!plugins_load(p, file(name), &err))
        fail_msg("%s", err.text);
}
static void refused(const char *path, const char *why)
{
    unsigned before = plugins_count(p);
    assert_false(plugins_load(p, path, &err));
    if (!strstr(err.text, why))
        fail_msg("'%s' lacks '%s'", err.text, why);
    assert_int_equal(plugins_count(p), before);
}

static struct result *call(const char *name, unsigned n, const struct query_param *args)
{
    struct result *r = NULL;
    e = (struct query_error){.position = -1};
    bool ok = plugins_call(p, name, args, n, &env, &limits, &r, &e);
    assert_true(ok == (r != NULL));
    return r;
}
static struct result *sql(const char *text)
{
    struct result *r = NULL;
    struct query_request q = {.sql = text, .len = strlen(text), .limits = limits};
    query_run(&env, &q, &r, &e);
    return r;
}
static void said(struct result *r, const char *want)
{
    uint32_t len;
    if (!r)
        fail_msg("%s", e.text);
    assert_int_equal(r->rows, 1);
    const char *s = result_text(r, 0, 0, &len);
    if (len != strlen(want) || memcmp(s, want, len))
        fail_msg("'%.*s' is not '%s'", (int)len, s, want);
    result_free(r);
}
static void wrong(struct result *r, int code, const char *why)
{
    assert_null(r);
    if (e.code != code || !strstr(e.text, why))
        fail_msg("%d '%s' lacks '%s'", e.code, e.text, why);
}

static void test_refused(void **state)
{
    (void)state;
    load("misbehave");
    assert_int_equal(plugins_count(p), 21);
    refused(file("misbehave"), "is loaded already");
    refused(file("bad1"),
            "was built for plugin interface 2, this Penstock (" PST_VERSION ") has 1");
    refused(file("bad2"), "was built for a newer Penstock than this one");
    refused(file("bad3"), "has no pst_plugin, pst_host and pst_plugin_register");
    refused(file("bad4"), "two columns a");
    refused(file("bad5"), "a name is a-z, 0-9, _");
    refused(file("bad6"), "the default of p is no value of its type");
    refused(file("bad7"), "another plugin brings a query of this name");
    refused(file("bad8"), "no function, no columns");
    refused(file("bad10"), "registration failed with code -7");
    refused(file("nothere"), "No such file");
    refused("misbehave.so", "absolute path");
    char text[1200];
    snprintf(text, sizeof text, "%s/text.so", directory);
    FILE *f = fopen(text, "w");
    fputs("not a shared object\n", f);
    fclose(f);
    refused(text, "cannot be loaded");
}

static void test_whose_file(void **state)
{
    (void)state;
    assert_int_equal(chmod(file("misbehave"), 0777), 0);
    refused(file("misbehave"), "misbehave.so can be changed by others");
    assert_int_equal(chmod(file("misbehave"), 0755), 0);
    assert_int_equal(chmod(directory, 0777), 0);
    refused(file("misbehave"), "can be changed by others");
    assert_int_equal(chmod(directory, 0755), 0);
    load("misbehave");
    char link[1200];
    snprintf(link, sizeof link, "%s/link.so", directory);
    assert_int_equal(symlink(file("types"), link), 0);
    assert_true(plugins_load(p, link, &err)); /* what counts is where it leads */
    if (getuid() == 0) {
        copy("bad10");
        assert_int_equal(chown(file("bad10"), 12345, 0), 0);
        refused(file("bad10"), "can be changed by others");
    }
}

static void test_unload(void **state)
{
    (void)state;
    load("misbehave");
    load("types");
    assert_int_equal(plugins_count(p), 22);
    json_t *list = plugins_json(p);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    assert_true(plugins_unload(p, "misbehave", &err));
    assert_int_equal(plugins_count(p), 1);
    wrong(call("echo", 0, NULL), QUERY_NAME, "no named query 'echo' is loaded");
    assert_false(plugins_unload(p, "misbehave", &err));
    assert_non_null(strstr(err.text, "no plugin misbehave is loaded"));
    load("misbehave"); /* again */
    said(call("echo", 1, &(struct query_param){"text", 0, "x"}), "x 7 0.5");
    assert_true(plugins_unload(p, file("types"), &err));
}

static void test_parameters(void **state)
{
    (void)state;
    load("misbehave");
    struct query_param two[] = {{"f", 0, "-2.5"}, {"text", 0, "a b"}};
    said(call("echo", 2, two), "a b 7 -2.5");
    struct query_param place[] = {{"1", 0, ""}, {"2", 0, "12"}};
    said(call("echo", 2, place), " 12 0.5");
    struct query_param null[] = {{"text", 0, "t"}, {"n", 0, NULL}};
    said(call("echo", 2, null), "t 7 0.5"); /* NULL is the default */
    wrong(call("echo", 0, NULL), QUERY_VALUE, "echo needs text=");
    struct query_param bad[] = {{"text", 0, "t"}, {"n", 0, "seven"}};
    wrong(call("echo", 2, bad), QUERY_TYPE, "'seven' is no long for n");
    struct query_param twice[] = {{"text", 0, "t"}, {"1", 0, "u"}};
    wrong(call("echo", 2, twice), QUERY_NAME, "given twice");
    struct query_param none[] = {{"txt", 0, "t"}};
    wrong(call("echo", 1, none), QUERY_NAME, "echo has no parameter txt");
    wrong(call("ecko", 1, none), QUERY_NAME, "did you mean echo?");
    said(sql("SELECT * FROM echo('hello')"), "hello 7 0.5");
    said(sql("SELECT * FROM echo('hello', f => 3, n => 2 + 3)"), "hello 5 3");
    said(sql("SELECT upper(said) FROM echo('hello') WHERE said LIKE 'h%'"), "HELLO 7 0.5");
    wrong(sql("SELECT * FROM echo()"), QUERY_TYPE, "text");
    wrong(sql("SELECT * FROM echo('a', 'b')"), QUERY_TYPE, "");
    wrong(sql("SELECT * FROM echa('a')"), QUERY_NAME, "did you mean echo");
}

/* Every type through a result and through the executor. */
static void test_types(void **state)
{
    (void)state;
    load("types");
    static const char *const from[] = {"", "SELECT * FROM types() WHERE true",
                                       "SELECT * FROM types() ORDER BY byte_ DESC"};
    for (int how = 0; how < 3; how++) {
        struct result *r = how ? sql(from[how]) : call("types", 0, NULL);
        if (!r)
            fail_msg("%s", e.text);
        assert_int_equal(r->ncols, 18);
        assert_int_equal(r->rows, 2);
        uint32_t len;
        for (uint32_t c = 0; c < r->ncols; c++) {
            bool can = r->col[c].type != PST_BOOLEAN && r->col[c].type != PST_BYTE;
            assert_true(result_is_null(r, c, 1) == can);
            assert_false(result_is_null(r, c, 0));
        }
        assert_int_equal(result_int(r, 3, 0), -3);
        assert_int_equal(result_int(r, 5, 0), 1ll << 40);
        assert_true(result_float(r, 6, 0) == 1.5);
        assert_true(result_float(r, 7, 0) == 0.1);
        assert_memory_equal(result_text(r, 9, 0, &len), "AAPL", 4);
        assert_memory_equal(result_text(r, 17, 0, &len), "a text", 6);
        assert_int_equal(len, 6);
        result_free(r);
    }
    struct result *r = sql(
        "SELECT symbol_, count(*) AS n, max(long_) AS j FROM types() GROUP BY symbol_ ORDER BY n");
    if (!r)
        fail_msg("%s", e.text);
    assert_int_equal(r->rows, 2);
    result_free(r);
}

static void test_limits(void **state)
{
    (void)state;
    load("misbehave");
    limits.rows_max = 1000;
    wrong(call("endless_rows", 0, NULL), QUERY_LIMIT, "more than 1000 rows");
    limits.rows_max = 0;
    limits.memory_max = 1 << 20;
    wrong(call("endless_rows", 0, NULL), QUERY_LIMIT, "larger than the query's memory");
    limits.memory_max = 0;
    wrong(call("wrong_type", 0, NULL), QUERY_FAILED, "column said of row 0 is no string");
    wrong(call("fails", 0, NULL), QUERY_FAILED, "fails: as it was told to");
    wrong(sql("SELECT * FROM fails()"), QUERY_FAILED, "fails: as it was told to");
    cancel = 1;
    wrong(call("polite", 0, NULL), QUERY_CANCELLED, "");
    wrong(call("endless_rows", 0, NULL), QUERY_CANCELLED, "");
    cancel = 0;
    limits.deadline_ns = clock_monotonic() + 50 * NS_PER_MS;
    wrong(call("polite", 0, NULL), QUERY_CANCELLED, "");
    limits.deadline_ns = 0;
    result_free(call("logs", 0, NULL));
    assert_true(logged > 0 && logged <= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whose_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
