/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb+ logs: the published ones and real ones, cut at every byte, damaged in the middle and
 * salvaged, packed with gzip, larger than any window; written, torn, and continued.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "core/crc.h"
#include "kdb_log.h"
#include "support/data.h"

static char dir[64], path[128];
static struct io *io;
static struct err err;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/kdblogXXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    io = io_posix_create(&err);
    return io ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    io_destroy(io);
    return system(cmd);
}

/* F3 of the format page: a bulk message and a single row. */
static const char f3[] =
    "ff01000000000000000003000000f575706400f574726164650000000400000010000200000000f0d9ce1a1f000001"
    "f0d9ce1a1f00000b00020000004141504c004d5346540009000200000000000000001059400000000000006940070"
    "00200000001000000000000000200000000000000000003000000f575706400f5747261646500000004000000f0"
    "02f0d9ce1a1f0000f549424d00f7000000000000f83ff90700000000000000";

static size_t hex(const char *h, uint8_t *out)
{
    size_t n = 0;
    for (unsigned v; *h && sscanf(h, "%2x", &v) == 1; h += 2)
        out[n++] = (uint8_t)v;
    return n;
}

/* -11!(-2;f): messages and length of the good part; the verdict that ended it. */
static enum kdb_log_verdict count(struct kdb_log *l, uint64_t *messages, uint64_t *good)
{
    struct kdb_message m;
    enum kdb_log_verdict v;
    uint64_t at = KDB_LOG_HEADER, n = 0;
    while ((v = kdb_log_next(l, &m)) == KDB_LOG_MESSAGE) {
        assert_int_equal(m.number, n++);
        assert_int_equal(m.offset, at);
        at += m.bytes;
    }
    *messages = l->messages;
    *good = l->at;
    assert_int_equal(at, *good);
    return v;
}

static void published(void **state)
{
    (void)state;
    uint8_t b[512];
    struct kdb_log l;
    struct kdb_message m;
    uint64_t n, good;
    size_t size = hex("ff01000000000000", b);
    assert_true(kdb_log_open_memory(&l, b, size, &err));
    assert_int_equal(count(&l, &n, &good), KDB_LOG_END);
    assert_int_equal(n, 0);
    assert_int_equal(good, 8);
    size = hex(f3, b);
    assert_true(kdb_log_open_memory(&l, b, size, &err));
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
    assert_true(m.update && m.table_len == 5 && !memcmp(m.table, "trade", 5));
    assert_int_equal(m.data.type, KDB_LIST);
    assert_int_equal(m.data.count, 4);
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
    assert_int_equal(m.offset, 114);
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_END);
    /* "cutting 3 bytes off gives (1, 114)" */
    assert_true(kdb_log_open_memory(&l, b, size - 3, &err));
    assert_int_equal(count(&l, &n, &good), KDB_LOG_BAD);
    assert_int_equal(n, 1);
    assert_int_equal(good, 114);
    for (size_t cut = 8; cut < size; cut++) {
        assert_true(kdb_log_open_memory(&l, b, cut, &err));
        bool whole = cut == 8 || cut == 114;
        assert_int_equal(count(&l, &n, &good), whole ? KDB_LOG_END : KDB_LOG_BAD);
        assert_int_equal(n, cut >= 114);
        assert_int_equal(good, cut >= 114 ? 114 : 8);
    }
    for (size_t cut = 0; cut < 8; cut++)
        assert_false(kdb_log_open_memory(&l, b, cut, &err));
    b[2] = 1;
    assert_false(kdb_log_open_memory(&l, b, size, &err));
    assert_string_equal(err.text, "memory: no kdb+ log: it does not begin with ff 01 00");
}

/* Rows of an update of columns. */
static uint64_t rows_of(const struct kdb_message *m)
{
    struct kdb_items i;
    assert_true(m->update && kdb_items(&m->data, &i));
    return (uint64_t)kdb_object_rows(&i.item);
}

static void real(void **state)
{
    (void)state;
    static const struct {
        const char *file, *table;
        uint64_t messages, rows;
    } logs[] = {{"kdb/tplogs/trade20201006204520", "trade", 1, 10},
                {"kdb/tplogs/quote20201006204520", "quote", 1, 10},
                {"kdb/tplogs/stp1_trade20220616122504", "trade", 306, 2409}};
    DATA_OR_SKIP("real tickerplant logs");
    for (unsigned i = 0; i < PST_COUNT(logs); i++) {
        struct kdb_log l;
        struct kdb_message m;
        uint64_t rows = 0;
        assert_true(kdb_log_open(&l, io, data_path(logs[i].file), &err));
        while (kdb_log_next(&l, &m) == KDB_LOG_MESSAGE) {
            assert_memory_equal(m.table, logs[i].table, m.table_len);
            rows += rows_of(&m);
        }
        struct stat st;
        assert_int_equal(stat(data_path(logs[i].file), &st), 0);
        assert_int_equal(l.at, st.st_size);
        assert_int_equal(l.messages, logs[i].messages);
        assert_int_equal(rows, logs[i].rows);
        kdb_log_close(&l);
    }
}

/* ---- logs of our own ---- */

static size_t message(struct kdb_out *o, const char *function, uint32_t tag, uint32_t rows)
{
    size_t at = o->len;
    kdb_out_list(o, 3);
    kdb_out_symbol(o, function, strlen(function));
    kdb_out_symbol(o, "trade", 5);
    kdb_out_list(o, 2);
    size_t opened = kdb_out_open(o, PST_TIMESPAN, 0);
    for (uint32_t i = 0; i < rows; i++) {
        int64_t v = (int64_t)tag << 32 | i;
        kdb_out_bytes(o, &v, 8);
    }
    kdb_out_close(o, opened, rows);
    opened = kdb_out_open(o, PST_SYMBOL, 0);
    for (uint32_t i = 0; i < rows; i++)
        kdb_out_bytes(o, i % 3 ? "AB" : "XYZ", i % 3 ? 3 : 4);
    kdb_out_close(o, opened, rows);
    return o->len - at;
}

static uint32_t tag_of(const struct kdb_message *m)
{
    struct kdb_items i;
    assert_true(kdb_items(&m->data, &i));
    return (uint32_t)(kdb_object_long(&i.item, 0) >> 32);
}

static void make(unsigned n, uint32_t rows)
{
    struct kdb_log_writer w;
    struct kdb_out o = {0};
    assert_true(kdb_log_create(&w, io, path, &err));
    for (unsigned i = 0; i < n; i++) {
        o.len = 0;
        message(&o, "upd", i, rows);
        assert_true(kdb_log_write(&w, o.data, o.len, &err));
    }
    assert_int_equal(w.messages, n);
    assert_true(kdb_log_finish(&w, true, &err));
    kdb_out_free(&o);
}

static uint8_t *slurp(size_t *n)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint8_t *b = malloc((size_t)st.st_size + 1);
    *n = fread(b, 1, (size_t)st.st_size, f);
    fclose(f);
    return b;
}
static void spill(const uint8_t *b, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b, 1, n, f), n);
    fclose(f);
}

static void larger_than_the_window(void **state)
{
    (void)state;
    struct kdb_log l;
    struct kdb_message m;
    static const uint32_t sizes[] = {1, 700000, 3, 400000, 1, 1, 300000};
    struct kdb_log_writer w;
    struct kdb_out o = {0};
    assert_true(kdb_log_create(&w, io, path, &err));
    for (unsigned i = 0; i < PST_COUNT(sizes); i++) {
        o.len = 0;
        message(&o, ".u.upd", i, sizes[i]);
        assert_true(kdb_log_write(&w, o.data, o.len, &err));
    }
    assert_true(kdb_log_finish(&w, false, &err));
    kdb_out_free(&o);
    assert_true(kdb_log_open(&l, io, path, &err));
    for (unsigned i = 0; i < PST_COUNT(sizes); i++) {
        assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
        assert_int_equal(rows_of(&m), sizes[i]);
        assert_int_equal(tag_of(&m), i);
    }
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_END);
    kdb_log_close(&l);
}

static void packed(void **state)
{
    (void)state;
    make(200, 300);
    size_t n;
    uint8_t *b = slurp(&n);
    uint64_t messages, good;
    struct kdb_log l;
    /* two members, and zeros behind them */
    gzFile g = gzopen(path, "wb");
    gzwrite(g, b, 100000);
    gzclose(g);
    g = gzopen(path, "ab");
    gzwrite(g, b + 100000, (unsigned)(n - 100000));
    gzclose(g);
    assert_true(kdb_log_open(&l, io, path, &err));
    assert_true(l.gzip);
    assert_int_equal(count(&l, &messages, &good), KDB_LOG_END);
    assert_int_equal(messages, 200);
    assert_int_equal(good, n);
    kdb_log_close(&l);
    /* cut: what can be unpacked is a prefix, and the end is told */
    size_t z;
    uint8_t *zipped = slurp(&z);
    for (size_t cut = 40; cut < z; cut += z / 37) {
        spill(zipped, cut);
        if (!kdb_log_open(&l, io, path, &err))
            continue;
        enum kdb_log_verdict v = count(&l, &messages, &good);
        assert_int_equal(v, KDB_LOG_BAD);
        assert_true(messages < 200 && good < n);
        assert_true(strstr(l.why, "cut short") != NULL);
        kdb_log_close(&l);
    }
    zipped[z / 2] ^= 0x55;
    spill(zipped, z);
    assert_true(kdb_log_open(&l, io, path, &err));
    assert_int_equal(count(&l, &messages, &good), KDB_LOG_BAD);
    assert_string_equal(l.why, "the gzip stream is damaged");
    kdb_log_close(&l);
    free(zipped);
    free(b);
}

/*
 * One byte altered anywhere: every other message comes, in order and once, unless the altered one
 * became a sound object that runs over it, which no reader can tell.
 */
static void salvage(void **state)
{
    (void)state;
    make(12, 3);
    size_t n;
    uint8_t *b = slurp(&n);
    struct kdb_log l;
    struct kdb_message m;
    uint64_t from[13], lost = 0, swallowed = 0;
    assert_true(kdb_log_open_memory(&l, b, n, &err));
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
        from[i] = m.offset;
    }
    from[12] = n;
    static const uint8_t flips[] = {0x01, 0x80, 0xFF};
    for (size_t at = 8; at < n; at++)
        for (unsigned f = 0; f < PST_COUNT(flips); f++) {
            unsigned hit = 0, next = 0;
            uint64_t covered = 0;
            while (at >= from[hit + 1])
                hit++;
            b[at] ^= flips[f];
            assert_true(kdb_log_open_memory(&l, b, n, &err));
            for (;;) {
                enum kdb_log_verdict v = kdb_log_next(&l, &m);
                if (v == KDB_LOG_BAD) {
                    assert_true(l.at >= from[hit] && l.at <= from[12]);
                    lost++;
                    if (!kdb_log_salvage(&l))
                        break;
                    continue;
                }
                if (v != KDB_LOG_MESSAGE)
                    break;
                if (m.offset >= from[hit] && m.offset < from[hit + 1]) {
                    covered = m.offset + m.bytes; /* the altered one, or something in it */
                    continue;
                }
                if (next == hit)
                    next++;
                for (; next < 12 && m.offset != from[next]; next++) {
                    assert_true(covered > from[next]);
                    swallowed++;
                }
                assert_int_equal(m.offset, from[next]);
                assert_int_equal(tag_of(&m), next);
                next++;
            }
            assert_false(l.gave_up);
            for (next += next == hit; next < 12; next++)
                assert_true(covered > from[next]);
            b[at] ^= flips[f];
        }
    assert_true(lost > 500 && swallowed < 500);
    free(b);
}

/* A large damaged range, longer than the window, and a torn tail behind it. */
static void salvage_far(void **state)
{
    (void)state;
    make(400, 5000);
    size_t n;
    uint8_t *b = slurp(&n);
    uint64_t messages, good, seen = 0;
    struct kdb_log l;
    struct kdb_message m;
    size_t from = 8 + 80 * ((n - 8) / 400), to = n / 2;
    for (size_t i = from; i < to; i++)
        b[i] = (uint8_t)(i * 2654435761u >> 13);
    spill(b, n - 77);
    assert_true(kdb_log_open(&l, io, path, &err));
    assert_int_equal(count(&l, &messages, &good), KDB_LOG_BAD);
    assert_int_equal(messages, 80);
    while (kdb_log_salvage(&l))
        for (enum kdb_log_verdict v; (v = kdb_log_next(&l, &m)) == KDB_LOG_MESSAGE; seen++)
            assert_int_equal(tag_of(&m), 400 - 1 - (n - m.offset - 1) / ((n - 8) / 400));
    assert_int_equal(l.bad_from, good);
    assert_true(l.bad_to >= to);
    assert_int_equal(seen, 399 - (l.bad_to - 8) / ((n - 8) / 400));
    kdb_log_close(&l);
    free(b);
}

/* Hostile bytes: nothing but candidates, each of which claims the whole file. */
static void salvage_is_bounded(void **state)
{
    (void)state;
    static const uint8_t unit[] = {0, 0,    3,   0, 0, 0, 0xF5, 'u', 'p', 'd',
                                   0, 0xF5, 't', 0, 0, 0, 0,    0,   8,   0};
    size_t n = 4u << 20;
    uint8_t *b = malloc(n);
    for (size_t i = 0; i < n; i++)
        b[i] = unit[i % sizeof unit];
    memcpy(b, "\xFF\1\0\0\0\0\0\0\3", 9);
    struct kdb_log l;
    struct kdb_message m;
    assert_true(kdb_log_open_memory(&l, b, n, &err));
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_BAD);
    kdb_log_salvage(&l);
    /* long atoms that hold the head of an update whose list then runs over all that follows */
    for (size_t i = 9; i + 17 < n; i += 17) {
        b[i] = 0xFE;
        memcpy(b + i + 1, "\0\0\3\0\0\0\xF5upd\0\xF5\0\0\0\1", 16);
    }
    assert_true(kdb_log_open_memory(&l, b, n, &err));
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_BAD);
    kdb_log_salvage(&l);
    free(b);
}

static void torn_and_continued(void **state)
{
    (void)state;
    struct kdb_log_writer w;
    struct kdb_log l;
    struct kdb_out o = {0};
    uint64_t messages, good;
    size_t one = message(&o, "upd", 7, 3);
    assert_false(kdb_log_resume(&w, io, path, &err));
    assert_int_equal(err.code, -ENOENT);
    make(3, 3);
    assert_false(kdb_log_create(&w, io, path, &err));
    assert_int_equal(err.code, -EEXIST);
    size_t n;
    uint8_t *b = slurp(&n);
    uint32_t crc = crc32c(0, b + 8, 2 * one);
    for (size_t cut = 8 + 2 * one; cut < n; cut++) {
        spill(b, cut);
        assert_true(kdb_log_resume(&w, io, path, &err));
        assert_int_equal(w.messages, 2);
        assert_int_equal(w.bytes, 8 + 2 * one);
        assert_int_equal(w.crc, crc);
        assert_true(kdb_log_write(&w, o.data, o.len, &err));
        assert_true(kdb_log_finish(&w, false, &err));
        assert_true(kdb_log_open(&l, io, path, &err));
        assert_int_equal(count(&l, &messages, &good), KDB_LOG_END);
        assert_int_equal(messages, 3);
        assert_int_equal(good, n);
        kdb_log_close(&l);
    }
    spill((const uint8_t *)"no log at all", 13);
    assert_false(kdb_log_resume(&w, io, path, &err));
    free(b);
    kdb_out_free(&o);
}

static void other_calls(void **state)
{
    (void)state;
    struct kdb_out o = {0};
    struct kdb_log l;
    struct kdb_message m;
    kdb_out_bytes(&o, "\xFF\1\0\0\0\0\0\0", 8);
    kdb_out_list(&o, 2);
    kdb_out_symbol(&o, ".u.end", 6);
    kdb_out_atom(&o, PST_DATE, &(int32_t){9000});
    kdb_out_chars(&o, "exit 0", 6);
    kdb_out_list(&o, 3);
    kdb_out_lambda(&o, "", "{x}");
    kdb_out_null(&o);
    kdb_out_null(&o);
    message(&o, "myupd", 5, 2);
    kdb_out_list(&o, 3); /* the function's name as a text */
    kdb_out_chars(&o, ".u.upd", 6);
    kdb_out_symbol(&o, "t", 1);
    kdb_out_list(&o, 0);
    assert_true(kdb_log_open_memory(&l, o.data, o.len, &err));
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
    assert_false(m.update);
    assert_memory_equal(m.function, ".u.end", m.function_len);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
        assert_false(m.update);
        assert_null(m.function);
    }
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
    assert_false(m.update);
    assert_memory_equal(m.function, "myupd", m.function_len);
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
    assert_true(m.update);
    assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_END);
    kdb_out_free(&o);
}

static void names(void **state)
{
    (void)state;
    char out[KDB_LOG_PATH];
    int32_t day;
    assert_true(kdb_log_name(out, "/logs/sym", 9823));
    assert_string_equal(out, "/logs/sym2026.11.23");
    assert_true(kdb_log_date(out, &day) && day == 9823);
    assert_true(kdb_log_date("stp1_trade20220616122504", &day) && day == 8202);
    assert_true(kdb_log_date("a/b2.1/sym2026.11.23.gz", &day) && day == 9823);
    assert_false(kdb_log_date("sym2026.13.23", &day));
    assert_false(kdb_log_date("sym", &day));
    assert_false(kdb_log_date("sym20261", &day));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(published),   T(real),        T(larger_than_the_window), T(packed),
        T(salvage),     T(salvage_far), T(salvage_is_bounded),     T(torn_and_continued),
        T(other_calls), T(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
