/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free memory for the loader's budget (ING-13, ING-28, GAP-11): the host's MemAvailable in bytes,
 * and what control groups of both kinds leave, the tightest above the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "control/loading_parts.h"

static char root[] = "/tmp/penstock-test.groups.XXXXXX";

static void put(const char *name, const char *text)
{
    char path[300], cmd[700];
    snprintf(path, sizeof path, "%s/%s", root, name);
    snprintf(cmd, sizeof cmd, "mkdir -p \"$(dirname '%s')\"", path);
    assert_int_equal(system(cmd), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}
static uint64_t room(void)
{
    char list[300], mount[300];
    snprintf(list, sizeof list, "%s/list", root);
    snprintf(mount, sizeof mount, "%s/groups", root);
    return loading_group_free(list, mount);
}

static void host(void **state)
{
    (void)state;
    unsigned long long available = 0, total = 0;
    char line[200];
    FILE *f = fopen("/proc/meminfo", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        sscanf(line, "MemAvailable: %llu kB", &available);
        sscanf(line, "MemTotal: %llu kB", &total);
    }
    fclose(f);
    assert_int_equal(loading_total_memory(), total * 1024);
    uint64_t got = loading_free_memory(CONFIG_MEMORY_HOST);
    /* others use memory meanwhile; not free, which is far less, nor kB */
    assert_in_range(got, available * 1024 / 2, total * 1024);
}

static void unified(void **state)
{
    (void)state;
    assert_true(room() == UINT64_MAX); /* nothing there */
    put("list", "0::/a/b\n");
    assert_true(room() == UINT64_MAX);
    put("groups/a/b/memory.max", "max\n");
    put("groups/a/b/memory.current", "1000\n");
    assert_true(room() == UINT64_MAX);
    put("groups/a/b/memory.max", "5000000\n");
    assert_int_equal(room(), 4999000);
    put("groups/a/b/memory.stat", "anon 7\ninactive_file 600\nactive_file 5\n");
    assert_int_equal(room(), 4999600); /* pages of files that are given up when asked */
    put("groups/a/b/memory.stat", "anon 7\ninactive_file 60000\n");
    assert_int_equal(room(), 5000000);
    /* one above it leaves less; then it is over its limit */
    put("groups/a/memory.max", "3000000\n");
    put("groups/a/memory.current", "2999900\n");
    assert_int_equal(room(), 100);
    put("groups/a/memory.current", "3000001\n");
    assert_int_equal(room(), 0);
    /* the mount itself, as in a container; not what is above it */
    put("list", "0::/\n");
    put("groups/memory.max", "900\n");
    put("groups/memory.current", "100\n");
    put("memory.max", "50\n");
    put("memory.current", "1\n");
    assert_int_equal(room(), 800);
}

static void separate(void **state)
{
    (void)state;
    put("list", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/z\n");
    put("groups/memory.max", "max\n");
    put("groups/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n"); /* no limit */
    put("groups/memory/x/y/memory.usage_in_bytes", "100\n");
    assert_true(room() == UINT64_MAX);
    put("groups/memory/x/memory.limit_in_bytes", "7000\n");
    put("groups/memory/x/memory.usage_in_bytes", "4000\n");
    put("groups/memory/x/memory.stat", "cache 1\ninactive_file 500\n");
    assert_int_equal(room(), 3500);
    put("groups/memory/memory.limit_in_bytes", "2000\n");
    put("groups/memory/memory.usage_in_bytes", "1000\n");
    assert_int_equal(room(), 1000);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(host), cmocka_unit_test(unified),
                                       cmocka_unit_test(separate)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
