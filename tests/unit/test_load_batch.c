/* SPDX-License-Identifier: Apache-2.0 */
/* What names say, and manifests; checksums against the ones of coreutils. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "load/batch.h"
#include "load/digest.h"

static void ignored(void **state)
{
    (void)state;
    static const char *const yes[] = {"",          ".hidden",    "a.tmp",           "a.csv.part",
                                      "a.partial", "a~",         ".a.swp",          "a.reason",
                                      "a.rejects", "x.filepart", "a.csv.crdownload"};
    static const char *const no[] = {"a", "tmp", "part", "a.tmpx", "a.csv", "reason", "a.parts"};
    for (unsigned i = 0; i < PST_COUNT(yes); i++)
        assert_true(load_name_ignored(yes[i]));
    for (unsigned i = 0; i < PST_COUNT(no); i++)
        assert_false(load_name_ignored(no[i]));
}

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool match;
        const char *key;
        uint32_t part, parts;
    } t[] = {
        {"*", "anything", true, "", 0, 0},
        {"*.csv", "a.csv", true, "", 0, 0},
        {"*.csv", "a.csv.gz", false, "", 0, 0},
        {"a?c", "abc", true, "", 0, 0},
        {"a?c", "ac", false, "", 0, 0},
        {"[a-c]x", "bx", true, "", 0, 0},
        {"[!a-c]x", "bx", false, "", 0, 0},
        {"[]]", "]", true, "", 0, 0},
        {"[a-]", "-", true, "", 0, 0},
        {"{batch}_{i}of{M}.csv", "us_2of3.csv", true, "us", 2, 3},
        {"{batch}_{i}of{M}.csv", "us_eq_10of12.csv", true, "us_eq", 10, 12},
        {"*{i}of{M}*", "t20240102_12of15.csv", true, "t20240102_#of#.csv", 12, 15},
        {"*{i}of{M}*", "t12of15", true, "t#of#", 12, 15},
        {"*{i}of{M}.csv", "x_of3.csv", false, "", 0, 0},
        {"{batch}-{batch}.csv", "a-b.csv", true, "a b", 0, 0},
        {"{M}parts{i}", "3parts2", true, "#parts#", 2, 3},
        {"p{i}of{M}", "p099of0100", true, "p#of#", 99, 100},
        {"p{i}of{M}", "p99999999999999999999of2", true, "p#of#", LOAD_PARTS_MAX + 1, 2},
        {"{sym}_{date}.csv", "AAPL_20240102.csv", true, "", 0, 0},
        {"{sym}_{date}.csv", "_20240102.csv", false, "", 0, 0},
        {"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false, "", 0, 0},
    };
    for (unsigned i = 0; i < PST_COUNT(t); i++) {
        struct load_named n = {0};
        bool match = load_name_match(t[i].pattern, t[i].name, &n);
        if (match != t[i].match)
            fail_msg("%s with %s: %d", t[i].pattern, t[i].name, match);
        if (!match)
            continue;
        assert_string_equal(n.key, t[i].key);
        assert_int_equal(n.part, t[i].part);
        assert_int_equal(n.parts, t[i].parts);
        assert_null(load_pattern_error(t[i].pattern));
    }
    static const char *const wrong[] = {"", "a{i", "a[", "{}", "{i}{i}", "a/b"};
    for (unsigned i = 0; i < PST_COUNT(wrong); i++)
        assert_non_null(load_pattern_error(wrong[i]));
}

/* ING-15 */
static void counted(void **state)
{
    (void)state;
    struct load_named n, other;
    char text[100];
    assert_true(load_name_counted("*.csv", "marketData_20201005_2of3.csv", &n));
    assert_string_equal(n.key, "marketData_20201005_#of#.csv");
    assert_int_equal(n.part, 2);
    assert_int_equal(n.parts, 3);
    assert_null(load_part_error(&n, text));
    assert_true(load_name_counted("*.csv", "marketData_20201005_02OF3.csv", &other));
    assert_int_equal(other.part, 2); /* the same part, in another spelling */
    assert_true(load_name_counted("*", "1of2_3of4", &n));
    assert_string_equal(n.key, "1of2_#of#");
    assert_false(load_name_counted("*.csv", "of3.csv", &n));
    assert_false(load_name_counted("*.csv", "a1of.csv", &n));
    assert_false(load_name_counted("{i}.csv", "1.csv", &n));
    assert_true(load_name_counted("{batch}.csv", "a1of1.csv", &n));
    assert_string_equal(n.key, "a1of1");
    static const char *const bad[] = {"0of3", "4of3", "1of0", "1of1000001", "9999999of10000000"};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        assert_true(load_name_counted("*", bad[i], &n));
        assert_non_null(load_part_error(&n, text));
    }
}

/* ING-16 */
static void markers(void **state)
{
    (void)state;
    struct load_named m, f;
    assert_true(load_name_marker(".done", "day1.done", &m));
    assert_string_equal(m.key, "day1");
    static const char *const yes[] = {"day1", "day1.csv", "day1_a.csv", "day1-x"};
    static const char *const no[] = {"day11.csv", "day2.csv", "xday1.csv", "day"};
    for (unsigned i = 0; i < 4; i++) {
        assert_true(load_name_match("*", yes[i], &f));
        assert_true(load_marker_covers(&m, yes[i], &f));
        assert_true(load_name_match("*", no[i], &f));
        assert_false(load_marker_covers(&m, no[i], &f));
    }
    assert_true(load_name_marker("{batch}.ok", "eu.ok", &m));
    assert_true(load_name_match("{batch}_*.csv", "eu_1.csv", &f));
    assert_true(load_marker_covers(&m, "eu_1.csv", &f));
    assert_true(load_name_match("{batch}_*.csv", "us_1.csv", &f));
    assert_false(load_marker_covers(&m, "us_1.csv", &f));
    assert_true(load_name_marker(".done", ".done", &m)); /* all files */
    assert_true(load_name_match("*", "x.csv", &f));
    assert_true(load_marker_covers(&m, "x.csv", &f));
    assert_false(load_name_marker(".done", "a.don", &m));
    /* the stem is {batch}, or what the names have in common up to its end */
    static const struct {
        const char *match, *stem, *key;
    } of[] = {{"t_{batch}_*.csv", "nov", "nov"},   {"t_{batch}_*.csv", "t_nov", "nov"},
              {"t_{batch}_*.csv", "t_", "t_"},     {"{batch}_{sym}.csv", "a_b", "a_b"},
              {"{batch}-x-{batch}.csv", "a", "a"}, {"{batch}-x-{batch}.csv", "a-x-b", "a b"},
              {"*_{batch}.csv", "eu_7", "7"},      {"t_*.csv", "t_1", NULL}};
    for (unsigned i = 0; i < PST_COUNT(of); i++) {
        snprintf(m.key, sizeof m.key, "%s", of[i].stem);
        assert_int_equal(load_marker_key(of[i].match, &m), of[i].key != NULL);
        assert_string_equal(m.key, of[i].key ? of[i].key : of[i].stem);
    }
}

static void parse(const char *text, bool good, unsigned n, const char *word)
{
    struct load_marks m;
    struct err err = {0};
    bool ok = load_marks_parse(&m, text, strlen(text), &err);
    if (ok != good)
        fail_msg("%s: %s", text, err.text);
    if (!ok) {
        if (!strstr(err.text, word))
            fail_msg("'%s' does not say '%s'", err.text, word);
        return;
    }
    assert_int_equal(m.n, n);
    load_marks_free(&m);
}

#define MD5    "d41d8cd98f00b204e9800998ecf8427e"
#define SHA256 "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

static void manifests(void **state)
{
    (void)state;
    parse(MD5 "  a.csv\n" SHA256 " *b.csv\r\n\n# text\n", true, 2, "");
    parse("MD5 (a.csv) = " MD5 "\nSHA256 (b (1).csv) = " SHA256, true, 2, "");
    parse(MD5 "  ./a.csv\n", true, 1, "");
    parse("{\"files\":[{\"name\":\"a.csv\",\"sha256\":\"" SHA256
          "\",\"size\":3},{\"name\":\"b\"}]}",
          true, 2, "");
    parse("{\"a.csv\":\"" MD5 "\",\"b.csv\":{\"size\":1}}", true, 2, "");
    parse("\xEF\xBB\xBF" MD5 "  a.csv\n", true, 1, "");
    parse("", false, 0, "no file");
    parse("hello\n", false, 0, "line 1");
    parse(MD5 "  a\n" MD5 "  ../../etc/passwd\n", false, 0, "line 2");
    parse(MD5 "  /etc/passwd\n", false, 0, "beside");
    parse(MD5 "  a\n" MD5 "  ./a\n", false, 0, "twice");
    parse("abc  a\n", false, 0, "checksum");
    parse(MD5 "  .hidden\n", false, 0, "never loaded");
    parse("{\"files\":3}", false, 0, "array");
    parse("{\"files\":[{\"size\":3}]}", false, 0, "name");
    parse("{\"files\":[{\"name\":\"a\",\"size\":-3}]}", false, 0, "wrong type");
    parse("{\"files\":[{\"name\":\"a\",\"md5\":\"12\"}]}", false, 0, "checksum");
    parse("{", false, 0, "JSON");
    struct load_marks m;
    struct err err = {0};
    assert_true(load_marks_parse(&m, SHA256 "  x", strlen(SHA256 "  x"), &err));
    assert_string_equal(m.file[0].digest + 7,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_memory_equal(m.file[0].digest, "sha256:", 7);
    assert_int_equal(m.file[0].size, UINT64_MAX);
    load_marks_free(&m);
}

/* Values: printf abc | md5sum, sha1sum, sha256sum, sha512sum. */
static void digests(void **state)
{
    (void)state;
    static const char *const abc[] = {
        "md5:900150983cd24fb0d6963f7d28e17f72", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha512:"
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3"
        "c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"};
    char text[LOAD_DIGEST_TEXT];
    struct err err = {0};
    for (unsigned i = 0; i < 4; i++) {
        assert_true(load_digest_valid(abc[i]));
        struct load_digest *d = load_digest_open(abc[i], &err);
        assert_non_null(d);
        assert_true(load_digest_add(d, "a", 1) && load_digest_add(d, "bc", 2));
        assert_true(load_digest_text(d, text, &err));
        assert_string_equal(text, abc[i]);
        load_digest_close(d);
    }
    assert_null(load_digest_open("crc:00", &err));
    assert_false(load_digest_valid("md5:12"));
    assert_false(load_digest_valid("md5:900150983CD24fb0d6963f7d28e17f72"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ignored),   cmocka_unit_test(patterns),
                                       cmocka_unit_test(counted),   cmocka_unit_test(markers),
                                       cmocka_unit_test(manifests), cmocka_unit_test(digests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
