/* SPDX-License-Identifier: Apache-2.0 */
/* The side files: .pstmeta both ways, its sources, damages; the parted index both ways, damages. */
#include "hdb_kit.h"
#include "core/crc.h"
#include "core/tables.h"

static struct err err;

static struct hdb_meta sample(void)
{
    struct schema s;
    struct hdb_meta m;
    HK_OK(tables_gap(&s, &err));
    s.nkeys = 2;
    s.keys[0] = 1;
    s.keys[1] = 3;
    hdb_meta_init(&m, &s, 9823);
    strcpy(m.calendar, "us");
    m.rows = 123456789012;
    m.sorted = m.has_hash = m.has_times = m.captured = true;
    m.hash = (struct hash128){0x0123456789abcdef, 0xfedcba9876543210};
    m.epoch = 17;
    m.time_min = -5;
    m.time_max = INT64_MAX;
    m.written = 848534400000000001;
    struct hdb_source a = {0xDEADBEEF00000001, 0, 8812, "eod"};
    HK_OK(hdb_meta_add_source(&m, &a, &err));
    return m;
}

static void both_ways(void **state)
{
    (void)state;
    struct hdb_meta m = sample(), r;
    size_t len;
    char *text = hdb_meta_encode(&m, &len);
    assert_non_null(strstr(text, "\"date\":\"2026.11.23\""));
    assert_non_null(strstr(text, "[\"lines\",\"string\"]"));
    assert_non_null(strstr(text, "\"keys\":[\"sym\",\"session\"]"));
    assert_non_null(strstr(text, "\"hash\":\"fedcba98765432100123456789abcdef\""));
    HK_OK(hdb_meta_decode(&r, text, len, "x", &err));
    assert_memory_equal(&r, &m, sizeof m);
    free(text);
    HK_OK(hdb_meta_write(&m, hk_io, hk_dir, false, true, &err));
    int dir = open(hk_dir, O_RDONLY);
    HK_OK(hdb_meta_read(&r, dir, "x", &err));
    assert_memory_equal(&r, &m, sizeof m);
    m.rows = 7;
    m.has_hash = m.has_times = m.captured = false;
    m.hash = (struct hash128){0};
    m.time_min = m.time_max = 0;
    HK_OK(hdb_meta_write(&m, hk_io, hk_dir, true, true, &err));
    HK_OK(hdb_meta_read(&r, dir, "x", &err));
    assert_memory_equal(&r, &m, sizeof m);
    assert_false(hk_there(hk_path(".pstmeta.new")));
    unlink(hk_path(".pstmeta"));
    assert_false(hdb_meta_read(&r, dir, "x", &err));
    assert_int_equal(err.code, -ENOENT);
    close(dir);
}

static void meta_damage(void **state)
{
    (void)state;
    struct hdb_meta m = sample(), r;
    size_t len;
    char *text = hdb_meta_encode(&m, &len);
    for (size_t i = 0; i < len; i++) { /* the CRC line's own hex digits included */
        text[i] ^= 0x01;
        assert_false(hdb_meta_decode(&r, text, len, "x", &err));
        assert_int_equal(err.code, -EBADMSG);
        text[i] ^= 0x01;
        assert_false(hdb_meta_decode(&r, text, i, "x", &err));
    }
    free(text);
    /* a right CRC over wrong content */
    static const struct {
        const char *json;
        int code;
    } bad[] = {
        {"", -EBADMSG},
        {"{}", -EBADMSG},
        {"[]", -EBADMSG},
        {"{\"format\":2}", -ENOTSUP},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":-1,\"columns\":[]}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.31\",\"rows\":1,\"columns\":[]}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1}", -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[[\"a\","
         "\"blob\"]]}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[],\"keys\":"
         "[\"a\"]}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[],\"hash\":"
         "\"zz\"}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[],"
         "\"sources\":"
         "[{\"instance\":\"1\",\"first\":0,\"end\":1}]}",
         -EBADMSG},
        {"{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[],"
         "\"sources\":"
         "[{\"instance\":\"0000000000000001\",\"kind\":\"eod\",\"first\":2,\"end\":1}]}",
         -EBADMSG},
    };
    char line[600];
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        int n = snprintf(line, sizeof line, "%s\ncrc32c %08x\n", bad[i].json,
                         crc32c(0, bad[i].json, strlen(bad[i].json)));
        assert_false(hdb_meta_decode(&r, line, (size_t)n, "x", &err));
        assert_int_equal(err.code, bad[i].code);
    }
    const char *ok =
        "{\"format\":1,\"table\":\"t\",\"date\":\"2026.11.23\",\"rows\":1,\"columns\":[],"
        "\"later\":{\"what\":[1,2]}}"; /* an unknown member is passed over */
    int n = snprintf(line, sizeof line, "%s\ncrc32c %08x\n", ok, crc32c(0, ok, strlen(ok)));
    HK_OK(hdb_meta_decode(&r, line, (size_t)n, "x", &err));
    assert_int_equal(r.rows, 1);
}

static void add(struct hdb_meta *m, uint64_t instance, uint64_t first, uint64_t end,
                const char *kind)
{
    struct hdb_source s = {instance, first, end, ""};
    strcpy(s.kind, kind);
    HK_OK(hdb_meta_add_source(m, &s, &err));
}

static void sources(void **state)
{
    (void)state;
    static struct hdb_meta m;
    memset(&m, 0, sizeof m);
    assert_false(hdb_meta_covers(&m, 1, 0, 0));
    add(&m, 1, 100, 200, "eod");
    assert_true(hdb_meta_covers(&m, 1, 100, 200));
    assert_true(hdb_meta_covers(&m, 1, 150, 160));
    assert_true(hdb_meta_covers(&m, 1, 150, 150));
    assert_false(hdb_meta_covers(&m, 1, 99, 200));
    assert_false(hdb_meta_covers(&m, 1, 100, 201));
    assert_false(hdb_meta_covers(&m, 2, 100, 200));
    add(&m, 1, 300, 400, "eod");
    assert_int_equal(m.nsources, 2);
    assert_false(hdb_meta_covers(&m, 1, 100, 400));
    add(&m, 1, 200, 300, "rebuild"); /* of another kind: not joined, but covers */
    assert_int_equal(m.nsources, 3);
    assert_true(hdb_meta_covers(&m, 1, 100, 400));
    add(&m, 1, 180, 320, "eod"); /* joins both of its kind */
    assert_int_equal(m.nsources, 2);
    assert_true(hdb_meta_covers(&m, 1, 100, 400));
    add(&m, 2, 100, 400, "eod");
    assert_int_equal(m.nsources, 3);
    struct hdb_source bad = {1, 5, 4, "eod"};
    assert_false(hdb_meta_add_source(&m, &bad, &err));
    for (uint64_t i = 0; m.nsources < HDB_SOURCES_MAX; i++)
        add(&m, 3, 10 * i, 10 * i + 5, "publish");
    struct hdb_source more = {4, 0, 1, "publish"};
    assert_false(hdb_meta_add_source(&m, &more, &err));
    assert_int_equal(err.code, -E2BIG);
    add(&m, 3, 5, 10, "publish"); /* a bridge always has room */
    assert_int_equal(m.nsources, HDB_SOURCES_MAX - 1);
    /* batches are no positions, and one range however far apart they are */
    memset(&m, 0, sizeof m);
    add(&m, 1, 7, 8, "load");
    add(&m, 1, 100, 200, "eod");
    add(&m, 1, 3000, 3001, "load");
    add(&m, 1, 150, 151, "load");
    assert_int_equal(m.nsources, 2);
    assert_true(hdb_meta_covers(&m, 1, 100, 200));
    assert_false(hdb_meta_covers(&m, 1, 7, 8));
    assert_false(hdb_meta_covers(&m, 1, 100, 3001));
}

static void index_files(void **state)
{
    (void)state;
    static const struct hdb_group g[] = {{PST_NULL_LONG, 0, 2}, {7, 2, 1}, {3, 3, 5}, {40, 8, 2}};
    struct hdb_index x;
    HK_OK(hdb_index_write(hk_io, hk_dir, g, 4, 10, true, true, &err));
    int dir = open(hk_dir, O_RDONLY);
    HK_OK(hdb_index_read(&x, dir, ".pstpart", &err));
    assert_int_equal(x.ngroups, 4);
    assert_int_equal(x.rows, 10);
    assert_true(x.time_sorted);
    assert_memory_equal(x.group, g, sizeof g);
    assert_int_equal(hdb_index_find(&x, 3)->rows, 5);
    assert_int_equal(hdb_index_find(&x, PST_NULL_LONG)->rows, 2);
    assert_int_equal(hdb_index_find(&x, 40)->first, 8);
    assert_null(hdb_index_find(&x, 4));
    hdb_index_free(&x);
    size_t n;
    uint8_t *b = hk_read(hk_path(".pstpart"), &n);
    for (size_t i = 0; i < n; i++) {
        b[i] ^= 0x10;
        assert_false(hdb_index_decode(&x, b, n, "x", &err));
        assert_false(hdb_index_decode(&x, b, i, "x", &err));
        b[i] ^= 0x10;
    }
    HK_OK(hdb_index_decode(&x, b, n, "x", &err));
    hdb_index_free(&x);
    /* a right CRC over groups that leave a hole */
    put64(b + 32 + 8, 1);
    put32(b + 28, 0);
    put32(b + 28, crc32c(0, b, n));
    assert_false(hdb_index_decode(&x, b, n, "x", &err));
    free(b);
    static const struct hdb_group twice[] = {{1, 0, 2}, {2, 2, 1}, {1, 3, 1}};
    assert_false(hdb_index_write(hk_io, hk_dir, twice, 3, 4, true, true, &err));
    assert_int_equal(err.code, -EINVAL);
    HK_OK(hdb_index_write(hk_io, hk_dir, NULL, 0, 0, true, false, &err));
    HK_OK(hdb_index_read(&x, dir, ".pstpart", &err));
    assert_int_equal(x.ngroups, 0);
    hdb_index_free(&x);
    close(dir);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, hk_setup, hk_teardown)
    const struct CMUnitTest tests[] = {T(both_ways), T(meta_damage), T(sources), T(index_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
