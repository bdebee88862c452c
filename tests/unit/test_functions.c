/* SPDX-License-Identifier: Apache-2.0 */
/* In-process functions by name: what loads and what does not, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/functions.h"

static struct function f;
static struct err err;
static char directory[] = "/tmp/test_functions.XXXXXX";

static const char *so(const char *file, const char *name)
{
    static char text[1200];
    snprintf(text, sizeof text, "%s/%s.so:%s", directory, file, name);
    return text;
}
static void refused(enum pst_function_kind kind, const char *text, const char *words)
{
    err = (struct err){0};
    if (function_load(&f, kind, text, &err))
        fail_msg("%s loads", text);
    assert_null(f.f);
    assert_true(err.code < 0);
    assert_null(strchr(err.text, '\n'));
    if (!strstr(err.text, words))
        fail_msg("%s: '%s' lacks '%s'", text, err.text, words);
}
static void loads(enum pst_function_kind kind, const char *text)
{
    if (!function_load(&f, kind, text, &err))
        fail_msg("%s: %s", text, err.text);
    assert_non_null(f.f);
    assert_int_equal(f.f->kind, kind);
    assert_string_equal(f.text, text);
}

static void built_in(void **state)
{
    (void)state;
    static const char *const names[] = {"salvage", "truncate", "refuse"};
    for (unsigned i = 0; i < 3; i++) {
        loads(PST_FUNCTION_RECOVERY, names[i]);
        assert_string_equal(f.f->name, names[i]);
        assert_null(f.handle);
        function_unload(&f);
        assert_null(f.f);
    }
    loads(PST_FUNCTION_INITIAL, "none");
    loads(PST_FUNCTION_INITIAL, "csv");
    loads(PST_FUNCTION_INITIAL, " csv ( directory = /a b/c , x=1,y = ) ");
    assert_int_equal(f.args.n, 3);
    assert_string_equal(pst_argument(&f.args, "directory"), "/a b/c");
    assert_string_equal(pst_argument(&f.args, "x"), "1");
    assert_string_equal(pst_argument(&f.args, "y"), "");
    assert_null(pst_argument(&f.args, "z"));
    unsigned n = 0;
    while (function_built_in(PST_FUNCTION_RECOVERY, n))
        n++;
    assert_int_equal(n, 3);
    refused(PST_FUNCTION_RECOVERY, "salvge", "did you mean salvage?");
    refused(PST_FUNCTION_RECOVERY, "csv", "is no recovery function");
    refused(PST_FUNCTION_INITIAL, "salvage", "is no initial function");
    refused(PST_FUNCTION_RECOVERY, "salvage(x=1)", "takes no arguments");
    refused(PST_FUNCTION_INITIAL, "csv(x", "not closed");
    refused(PST_FUNCTION_INITIAL, "csv(x)", "key=value");
    refused(PST_FUNCTION_INITIAL, "", "NAME");
    refused(PST_FUNCTION_INITIAL, "a b", "NAME");
    refused(PST_FUNCTION_INITIAL, "./x.so:f", "NAME");
    static char longest[4000];
    memset(longest, 'a', sizeof longest - 1);
    refused(PST_FUNCTION_INITIAL, longest, "more than");
    /* function_check loads nothing: a file need not be there yet */
    assert_true(function_check(PST_FUNCTION_RECOVERY, "/nowhere/x.so:f", &err));
    assert_false(function_check(PST_FUNCTION_RECOVERY, "/nowhere/x.so", &err));
    assert_false(function_check(PST_FUNCTION_RECOVERY, "nothing", &err));
}

static void files(void **state)
{
    (void)state;
    loads(PST_FUNCTION_RECOVERY, so("from_copy", "from_copy"));
    assert_non_null(f.handle);
    function_unload(&f);
    loads(PST_FUNCTION_INITIAL, so("from_copy", "reference(text=a, b=c)"));
    assert_int_equal(f.args.n, 2);
    assert_non_null(f.f->initial.declare);
    function_unload(&f);
    refused(PST_FUNCTION_INITIAL, so("from_copy", "from_copy"),
            "is a recovery function, wanted is a initial");
    refused(PST_FUNCTION_RECOVERY, so("from_copy", "nosuch"), "exports no such name");
    refused(PST_FUNCTION_RECOVERY, so("nosuch", "f"), "No such file");
    refused(PST_FUNCTION_RECOVERY, so("misbehave", "newer"), "built for function interface 2");
    refused(PST_FUNCTION_RECOVERY, so("misbehave", "larger"), "build it against");
    refused(PST_FUNCTION_RECOVERY, so("misbehave", "hollow"), "has no code");
    refused(PST_FUNCTION_RECOVERY, so("misbehave", "number"), "PST_RECOVERY_FUNCTION");
    char path[1200];
    snprintf(path, sizeof path, "%s/text.so", directory);
    FILE *t = fopen(path, "w");
    assert_non_null(t);
    fputs("no shared object", t);
    fclose(t);
    refused(PST_FUNCTION_RECOVERY, so("text", "f"), "cannot be loaded");
    /* what others can write is not run */
    snprintf(path, sizeof path, "%s/from_copy.so", directory);
    assert_int_equal(chmod(path, 0666), 0);
    refused(PST_FUNCTION_RECOVERY, so("from_copy", "from_copy"), "can be changed by others");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chmod(directory, 0777), 0);
    refused(PST_FUNCTION_RECOVERY, so("from_copy", "from_copy"), "can be changed by others");
    assert_int_equal(chmod(directory, 0700), 0);
    loads(PST_FUNCTION_RECOVERY, so("from_copy", "from_copy"));
    function_unload(&f);
}

static void host(void **state)
{
    (void)state;
    int64_t t;
    assert_true(function_host.timestamp("2000-01-01T00:00:01.5Z", &t));
    assert_int_equal(t, 1500000000);
    assert_true(function_host.timestamp("2026.11.23D09:30", &t));
    assert_true(function_host.timestamp("2026-11-23", &t));
    assert_false(function_host.timestamp("yesterday", &t));
    assert_false(function_host.timestamp("", &t));
    assert_int_equal(function_host.abi, PST_FUNCTIONS_ABI);
    assert_int_equal(function_host.size, sizeof(struct pst_function_host));
}

static int begin(void **state)
{
    (void)state;
    char command[2400];
    if (!mkdtemp(directory))
        return -1;
    snprintf(command, sizeof command,
             "cp %s/from_copy.so %s/; cp %s/misbehaving.so %s/misbehave.so", PST_FUNCTIONS_DIR,
             directory, PST_FUNCTIONS_DIR, directory);
    return system(command);
}
static int end(void **state)
{
    (void)state;
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(built_in), cmocka_unit_test(files),
                                       cmocka_unit_test(host)};
    return cmocka_run_group_tests(tests, begin, end);
}
