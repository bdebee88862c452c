/* SPDX-License-Identifier: Apache-2.0 */
/* test_access.c - the access log: lines that nobody can forge, files of a date, their bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "access.h"

static char dir[64], line[ACCESS_LINE];
static struct err err;

static json_t *parsed(const struct access_entry *e)
{
    json_error_t je;
    size_t n = access_line(e, 0, line, sizeof line);
    assert_int_equal(strlen(line), n);
    assert_ptr_equal(strchr(line, '\n'), line + n - 1); /* one line, whatever the texts hold */
    json_t *o = json_loads(line, 0, &je);
    if (!o)
        fail_msg("%s: %s", je.text, line);
    return o;
}

static void test_line(void **state)
{
    struct address from;
    (void)state;
    address_local(&from, 1000, 77);
    access_line(&ACCESS_ENTRY(.event = ACCESS_ANSWER, .connection = 7, .user = "alice",
                              .from = &from, .id = 41, .outcome = true, .duration_ns = 12400000,
                              .rows = 100, .bytes = 5120, .memory = 1 << 20),
                0, line, sizeof line);
    assert_string_equal(line, "{\"time\":\"2000.01.01D00:00:00.000000000\",\"event\":\"answer\","
                              "\"connection\":7,\"user\":\"alice\",\"from\":\"uid 1000 pid 77\","
                              "\"id\":41,\"ms\":12.400,\"rows\":100,\"bytes\":5120,"
                              "\"memory\":1048576}\n");
    access_line(&ACCESS_ENTRY(.event = ACCESS_REFUSE, .reason = "password"), 0, line, sizeof line);
    assert_string_equal(line, "{\"time\":\"2000.01.01D00:00:00.000000000\",\"event\":\"refuse\","
                              "\"reason\":\"password\"}\n");
}

/* Texts of clients: line ends, quotes, terminal codes, what is no UTF-8, what turns the writing. */
static void test_injection(void **state)
{
    static const char evil[] = "a\"}\n{\"event\":\"login\",\"user\":\"root\"}\r\x1b[2J\\\x7f"
                               "\xC2\x9B\xE2\x80\xAE\xE2\x80\xA8\xC3\xA4\xFF\xC0\xAF\xED\xA0\x80";
    char name[300];
    (void)state;
    json_t *o =
        parsed(&ACCESS_ENTRY(.event = ACCESS_QUERY, .user = evil, .text = evil, .reason = evil));
    static const char want[] = "a\"}\n{\"event\":\"login\",\"user\":\"root\"}\r\x1b[2J\\\x7f"
                               "\xC2\x9B\xE2\x80\xAE\xE2\x80\xA8\xC3\xA4\xC3\xBF\xC3\x80\xC2\xAF"
                               "\xC3\xAD\xC2\xA0\xC2\x80";
    assert_string_equal(json_string_value(json_object_get(o, "text")), want);
    assert_string_equal(json_string_value(json_object_get(o, "user")), want);
    assert_int_equal(json_object_size(o), 5);
    json_decref(o);
    assert_null(strpbrk(line, "\x1b\x7f\r"));
    assert_null(strstr(line, "\xC2\x9B"));
    assert_null(strstr(line, "\xE2\x80\xAE"));
    assert_non_null(strstr(line, "\xC3\xA4"));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    o = parsed(&ACCESS_ENTRY(.event = ACCESS_REFUSE, .user = name));
    assert_int_equal(json_string_length(json_object_get(o, "user")), 255);
    json_decref(o);
    /* a text with a NUL in it, by its length */
    o = parsed(&ACCESS_ENTRY(.event = ACCESS_QUERY, .text = "a\0b", .text_len = 3));
    json_decref(o);
    assert_non_null(strstr(line, "\"a\\ufffdb\""));
}

/* The longest line there can be still is one, whole. */
static void test_cut(void **state)
{
    char *big = malloc(100000);
    struct address from;
    (void)state;
    address_local(&from, 1, 2);
    memset(big, 1, 99999);
    big[99999] = 0;
    json_t *o =
        parsed(&ACCESS_ENTRY(.event = ACCESS_ERROR, .connection = UINT64_MAX / 2, .user = big,
                             .from = &from, .id = INT64_MAX, .outcome = true,
                             .duration_ns = INT64_MAX, .rows = INT64_MAX, .bytes = INT64_MAX,
                             .memory = INT64_MAX, .reason = big, .text = big));
    assert_int_equal(json_string_length(json_object_get(o, "text")), ACCESS_TEXT);
    assert_true(json_is_true(json_object_get(o, "cut")));
    json_decref(o);
    for (int i = 0; i < 99999; i += 3)
        memcpy(big + i, "\xE2\x82\xAC", 3);
    o = parsed(&ACCESS_ENTRY(.event = ACCESS_QUERY, .text = big));
    assert_int_equal(json_string_length(json_object_get(o, "text")), ACCESS_TEXT / 3 * 3);
    json_decref(o);
    free(big);
}

static int lines_of(const char *date, off_t *size)
{
    char path[200], buf[ACCESS_LINE];
    int n = 0;
    struct stat st;
    snprintf(path, sizeof path, "%s/i.access.%s", dir, date);
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    assert_int_equal(fstat(fileno(f), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    *size = st.st_size;
    while (fgets(buf, sizeof buf, f)) {
        json_t *o = json_loads(buf, 0, NULL);
        assert_non_null(o);
        json_decref(o);
        n++;
    }
    fclose(f);
    unlink(path);
    return n;
}

static void test_files(void **state)
{
    uint64_t logged, lost;
    off_t size;
    (void)state;
    umask(027);
    struct access *a = access_open(dir, "i", 1000, &err);
    assert_non_null(a);
    access_tick(a, 0, 1000);
    const struct access_entry e =
        ACCESS_ENTRY(.event = ACCESS_LOGIN, .connection = 1, .user = "alice", .text = "x");
    for (int i = 0; i < 100; i++)
        access_log(a, &e);
    while (access_work(a))
        ;
    access_totals(a, &logged, &lost);
    assert_int_equal(logged + lost, 100);
    assert_true(logged >= 7 && logged <= 10);
    access_tick(a, 1, 1000);
    access_log(a, &e);
    assert_int_equal(access_work(a), 1);
    assert_int_equal(lines_of("2000.01.01", &size), logged);
    assert_true(size <= 1000);
    assert_int_equal(lines_of("2000.01.02", &size), 1);
    access_tick(a, 2, 0); /* none is kept */
    access_log(a, &e);
    assert_int_equal(access_work(a), 0);
    access_close(a);
    access_log(NULL, &e);
}

/* A thousand strangers at once: a hundred lines, and the next one says how many it stands for. */
static void test_refusals(void **state)
{
    uint64_t logged, lost;
    off_t size;
    char path[200], text[ACCESS_LINE];
    (void)state;
    struct access *a = access_open(dir, "i", 1 << 20, &err);
    for (int i = 0; i < 1000; i++)
        access_log(a, &ACCESS_ENTRY(.event = ACCESS_REFUSE, .user = "mallory", .reason = "x"));
    access_log(a, &ACCESS_ENTRY(.event = ACCESS_LOGIN, .user = "alice"));
    while (access_work(a))
        ;
    access_totals(a, &logged, &lost);
    assert_true(logged >= 101 && logged < 140); /* ten more each second */
    assert_int_equal(lost, 0);
    struct timespec tick = {0, 150000000};
    nanosleep(&tick, NULL);
    access_log(a, &ACCESS_ENTRY(.event = ACCESS_REFUSE, .reason = "x"));
    access_close(a);
    snprintf(path, sizeof path, "%s/i.access.2000.01.01", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    long long unlogged = 0, n;
    while (fgets(text, sizeof text, f)) {
        char *at = strstr(text, "\"unlogged\":");
        if (at && sscanf(at + 11, "%lld", &n) == 1)
            unlogged += n;
    }
    fclose(f);
    assert_int_equal(unlogged + (long long)logged, 1001); /* each refusal, and the login */
    assert_int_equal(lines_of("2000.01.01", &size), logged + 1);
    /* and no more than three quarters of the file */
    a = access_open(dir, "i", 2000, &err);
    for (int i = 0; i < 50; i++)
        access_log(a, &ACCESS_ENTRY(.event = ACCESS_REFUSE, .reason = "x"));
    access_log(a, &ACCESS_ENTRY(.event = ACCESS_LOGIN, .user = "alice"));
    while (access_work(a))
        ;
    access_close(a);
    f = fopen(path, "r");
    assert_non_null(f);
    bool there = false;
    while (fgets(text, sizeof text, f))
        there |= strstr(text, "alice") != NULL;
    fclose(f);
    assert_true(there);
    assert_true(lines_of("2000.01.01", &size) < 40 && size < 1700);
}

/* Nobody writes: the queue takes what fits, the rest is counted, and what was taken comes whole. */
static void test_queue(void **state)
{
    uint64_t logged, lost;
    off_t size;
    char text[3000];
    (void)state;
    struct access *a = access_open(dir, "i", 1 << 30, &err);
    memset(text, 't', sizeof text);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 600; i++)
            access_log(a, &ACCESS_ENTRY(.event = ACCESS_QUERY, .id = i, .text = text,
                                        .text_len = (size_t)(1 + i * 5 % 3000)));
        if (round < 2)
            while (access_work(a))
                ;
    }
    access_totals(a, &logged, &lost);
    assert_int_equal(lost, 0);
    for (int i = 0; i < 600; i++)
        access_log(a, &ACCESS_ENTRY(.event = ACCESS_QUERY, .text = text, .text_len = 3000));
    access_totals(a, &logged, &lost);
    assert_true(lost > 0 && lost < 600);
    uint64_t want = 2400 - lost;
    access_close(a); /* writes what waits */
    assert_int_equal(lines_of("2000.01.01", &size), want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),     cmocka_unit_test(test_injection),
        cmocka_unit_test(test_cut),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_queue),
    };
    snprintf(dir, sizeof dir, "/tmp/test_access.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return r;
}
