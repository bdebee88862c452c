/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kdb+ column files: golden vectors of the format page both ways, every type through an
 * independent reader, real kdb+ files, compressed files, and a table of damages.
 */
#include "hdb_kit.h"
#include <math.h>
#include <sys/mman.h>
#include <zlib.h>
#include "support/data.h"
#include "support/kdbread.h"

static struct err err;
static uint8_t image[70000];

static void parse_hex(struct kdb_column *c, const char *hex)
{
    size_t n = hk_hex(hex, image);
    HK_OK(kdb_parse(c, image, n, NULL, 0, "golden", &err));
}

static void same_file(const char *path, const void *want, size_t n)
{
    size_t got;
    uint8_t *b = hk_read(path, &got);
    assert_int_equal(got, n);
    assert_memory_equal(b, want, n);
    free(b);
}
static void same_hex(const char *path, const char *hex)
{
    size_t n = hk_hex(hex, image);
    same_file(path, image, n);
}

/* ---- golden vectors F1, F4...F18 ---- */

#define F4                                                                                         \
    "ff010b000a0000004d53465400444f57004141504c0049424d00494e544300474f4f4700414d4400414947004850" \
    "510044454c4c00"
#define F5_TAIL "424152580053554e00474554474f0044420073656c6c0062757900"
#define F6      "ff010b000700000074696d650073796d0070726963650073697a650073746f7000636f6e6400657800"
#define F7      "fe200700000000000300000000000000010000000000000002000000000000000300000000000000"
#define F8      "fe200a00000000000a000000000000004e4e4e4f4f4f4f4f4f4f"
#define F9_HEAD "fe200c01000000000a00000000000000"
#define F9_ITEM "80e49cd3c8b63309"

static const char *const f4_names[] = {"MSFT", "DOW", "AAPL", "IBM", "INTC",
                                       "GOOG", "AMD", "AIG",  "HPQ", "DELL"};

struct list {
    char text[32][16];
    unsigned n;
};
static bool take(void *arg, const char *text, size_t len)
{
    struct list *l = arg;
    snprintf(l->text[l->n++], 16, "%.*s", (int)len, text);
    return l->n < 32;
}

static void symbols_golden(void **state)
{
    (void)state;
    struct list l = {0};
    size_t torn, n = hk_hex(F4, image);
    HK_OK(kdb_symbols_parse(image, n, take, &l, &torn, "F4", &err));
    assert_int_equal(l.n, 10);
    assert_int_equal(torn, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_string_equal(l.text[i], f4_names[i]);
    l.n = 0;
    n = hk_hex(F4 F5_TAIL, image); /* F5: 10 declared, 16 there */
    HK_OK(kdb_symbols_parse(image, n, take, &l, &torn, "F5", &err));
    assert_int_equal(l.n, 16);
    assert_string_equal(l.text[12], "GETGO");
    assert_string_equal(l.text[15], "buy");
    l.n = 0; /* a name that was never ended */
    HK_OK(kdb_symbols_parse(image, n - 1, take, &l, &torn, "F5", &err));
    assert_int_equal(l.n, 15);
    assert_int_equal(torn, 3);
    HK_OK(kdb_write_symbols(hk_io, hk_path("sym"), f4_names, 10, true, &err));
    same_hex(hk_path("sym"), F4);
    static const char *const f6[] = {"time", "sym", "price", "size", "stop", "cond", "ex"};
    HK_OK(kdb_write_symbols(hk_io, hk_path(".d"), f6, 7, true, &err));
    same_hex(hk_path(".d"), F6);
    n = hk_hex("ff01000000000000", image);
    assert_false(kdb_symbols_parse(image, n, take, &l, &torn, "F1", &err));
}

static void vectors_golden(void **state)
{
    (void)state;
    struct kdb_column c;
    static const int64_t one[] = {1, 2, 3};
    parse_hex(&c, F7);
    assert_int_equal(c.type, PST_LONG);
    assert_int_equal(c.rows, 3);
    assert_memory_equal(c.values, one, 24);
    kdb_close(&c);
    hk_column(hk_dir, "a", PST_LONG, one, 3, 0);
    same_hex(hk_path("a"), F7);

    parse_hex(&c, F8);
    assert_int_equal(c.type, PST_CHAR);
    assert_memory_equal(c.values, "NNNOOOOOOO", 10);
    kdb_close(&c);
    hk_column(hk_dir, "ex", PST_CHAR, "NNNOOOOOOO", 10, 0);
    same_hex(hk_path("ex"), F8);

    char f9[400] = F9_HEAD;
    int64_t times[10];
    for (int i = 0; i < 10; i++) {
        strcat(f9, F9_ITEM);
        times[i] = 663074543813584000;
    }
    parse_hex(&c, f9);
    assert_int_equal(c.attribute, 1);
    assert_memory_equal(c.values, times, 80);
    kdb_close(&c);
    hk_column(hk_dir, "time", PST_TIMESTAMP, times, 10, 1);
    same_hex(hk_path("time"), f9);

    static const struct {
        const char *hex;
        uint8_t type;
    } empty[] = {{"fe200100000000000000000000000000", PST_BOOLEAN}, /* F10 */
                 {"fe200c00000000000000000000000000", PST_TIMESTAMP},
                 {"fe200900000000000000000000000000", PST_FLOAT}};
    for (unsigned i = 0; i < 3; i++) {
        parse_hex(&c, empty[i].hex);
        assert_int_equal(c.type, empty[i].type);
        assert_int_equal(c.rows, 0);
        kdb_close(&c);
        hk_column(hk_dir, "e", empty[i].type, NULL, 0, 0);
        same_hex(hk_path("e"), empty[i].hex);
    }
    /* F11, its first three rows under a count of three */
    parse_hex(&c, "fe201000000000000300000000000000"
                  "00b864d945000000000000000000008000b08ef01b000000");
    static const int64_t spans[] = {300000000000, PST_NULL_LONG, 120000000000};
    assert_int_equal(c.type, PST_TIMESPAN);
    assert_memory_equal(c.values, spans, 24);
    kdb_close(&c);
    /* F17: a 2.x vector */
    parse_hex(&c, "ff200000203e0000060000000400000000000000010000000200000003000000");
    assert_int_equal(c.type, PST_INT);
    assert_int_equal(c.shape, KDB_OLD);
    assert_int_equal(c.rows, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(((const int32_t *)c.values)[i], i);
    kdb_close(&c);
}

static void enums_golden(void **state)
{
    (void)state;
    struct kdb_column c;
    /* F12: 32-bit */
    parse_hex(
        &c, "fe73796d0000000000000000000000000c0000000000000006000000060000000800000008000000090000"
            "000b0000000d0000003300000034000000350000002400000025000000");
    static const int64_t f12[] = {6, 6, 8, 8, 9, 11, 13, 51, 52, 53, 36, 37};
    assert_int_equal(c.type, PST_SYMBOL);
    assert_int_equal(c.shape, KDB_ENUM32);
    assert_string_equal(c.domain, "sym");
    assert_int_equal(c.rows, 12);
    assert_memory_equal(c.values, f12, sizeof f12);
    kdb_close(&c);
    put32(image + 28, 0x80000000u); /* a null index is widened to the null of 64 bits */
    HK_OK(kdb_parse(&c, image, 72, NULL, 0, "F12", &err));
    assert_true(((const int64_t *)c.values)[1] == PST_NULL_LONG);
    kdb_close(&c);
    /* F13, F14: 64-bit, put together as the page says */
    static const int64_t f13[] = {10, 10, 12, 11, 10, 11, 12, 13, 10, PST_NULL_LONG};
    memset(image, 0, 4096);
    hk_hex("fd20", image);
    hk_hex("73796d00", image + 16);
    hk_hex("fd001400000000000a00000000000000", image + 4080);
    hk_hex("0a000000000000000a000000000000000c000000000000000b00000000000000", image + 4096);
    memcpy(image + 4096 + 32, f13 + 4, 48);
    hk_hex("0000000000000080", image + 4096 + 72);
    HK_OK(kdb_parse(&c, image, 4096 + 80, NULL, 0, "F13", &err));
    assert_int_equal(c.shape, KDB_ENUM64);
    assert_string_equal(c.domain, "sym");
    assert_memory_equal(c.values, f13, 80);
    kdb_close(&c);
    hk_column(hk_dir, "src", PST_SYMBOL, f13, 10, 0);
    same_file(hk_path("src"), image, 4096 + 80);
}

static void strings_golden(void **state)
{
    (void)state;
    struct kdb_column c;
    uint8_t text[32];
    /* F15: the first three rows */
    size_t m = hk_hex("607264623160726462316072646231", text);
    size_t n = hk_hex("fe2057000000000003000000000000000500000000000000"
                      "0a000000000000000f00000000000000",
                      image);
    HK_OK(kdb_parse(&c, image, n, text, m, "F15", &err));
    assert_int_equal(c.type, PST_STRING);
    assert_int_equal(c.rows, 3);
    assert_int_equal(((const int64_t *)c.values)[1], 10);
    assert_memory_equal(c.bytes + 5, "`rdb1", 5);
    kdb_close(&c);
    static const char *const rows[] = {"`rdb1", "`rdb1", "`rdb1"};
    hk_strings(hk_dir, "proc", rows, 3);
    same_file(hk_path("proc"), image, n);
    same_file(hk_path("proc#"), text, m);
    /* nothing: q's empty list, and no text file */
    hk_strings(hk_dir, "flags", NULL, 0);
    same_hex(hk_path("flags"), "ff01000000000000");
    assert_false(hk_there(hk_path("flags#")));
    HK_OK(kdb_open(&c, AT_FDCWD, hk_path("flags"), &err));
    assert_int_equal(c.type, PST_STRING);
    assert_int_equal(c.rows, 0);
    kdb_close(&c);
    /* rows without any text: the text file must still be mappable */
    static const char *const none[] = {"", ""};
    hk_strings(hk_dir, "none", none, 2);
    same_file(hk_path("none#"), "", 1);
    HK_OK(kdb_open(&c, AT_FDCWD, hk_path("none"), &err));
    assert_int_equal(c.rows, 2);
    kdb_close(&c);
}

/* ---- every type, with nulls and infinities, through the other reader ---- */

static void every_type(void **state)
{
    (void)state;
    static const int16_t h[] = {0, 1, -1, PST_NULL_SHORT, INT16_MAX, -INT16_MAX};
    static const int32_t i[] = {0, 1, -1, PST_NULL_INT, INT32_MAX, -INT32_MAX};
    static const int64_t j[] = {0, 1, -1, PST_NULL_LONG, INT64_MAX, -INT64_MAX};
    const float e[] = {0, 1.5f, -1, NAN, INFINITY, -INFINITY};
    const double f[] = {0, 1.25, -1, NAN, INFINITY, -INFINITY};
    static const char b[] = {0, 1, 1, 0, 1, 0}, c[] = "ab xyz";
    uint8_t g[96];
    for (int k = 0; k < 96; k++)
        g[k] = (uint8_t)(k < 16 ? 0 : k * 7);
    const struct {
        uint8_t type;
        const void *values;
    } cols[] = {{PST_BOOLEAN, b}, {PST_GUID, g},     {PST_BYTE, c},      {PST_SHORT, h},
                {PST_INT, i},     {PST_LONG, j},     {PST_REAL, e},      {PST_FLOAT, f},
                {PST_CHAR, c},    {PST_SYMBOL, j},   {PST_TIMESTAMP, j}, {PST_MONTH, i},
                {PST_DATE, i},    {PST_TIMESPAN, j}, {PST_MINUTE, i},    {PST_SECOND, i},
                {PST_TIME, i}};
    char why[300];
    for (unsigned k = 0; k < PST_COUNT(cols); k++) {
        struct kdbread_col r;
        struct kdb_column o;
        hk_column(hk_dir, "v", cols[k].type, cols[k].values, 6, 0);
        if (!kdbread_column(hk_dir, "v", &r, why))
            fail_msg("%s: %s", type_name(cols[k].type), why);
        assert_int_equal(r.kind, cols[k].type);
        assert_int_equal(r.rows, 6);
        assert_int_equal(r.width, kdb_width(cols[k].type));
        assert_memory_equal(r.raw, cols[k].values, 6 * r.width);
        HK_OK(kdb_open(&o, AT_FDCWD, hk_path("v"), &err));
        assert_int_equal(o.type, cols[k].type);
        assert_memory_equal(o.values, cols[k].values, 6 * r.width);
        kdb_close(&o);
        kdbread_column_free(&r);
        assert_int_equal(kdb_file_bytes(cols[k].type, 6), kdb_row_at(cols[k].type, 6));
    }
    struct kdb_writer w;
    assert_false(kdb_write_open(&w, hk_io, hk_path("z"), 15, &err));
    assert_false(kdb_write_open(&w, hk_io, hk_path("z"), 3, &err));
}

/* Pieces in any order; large enough to be mapped. */
static void pieces(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct kdb_writer w;
    struct kdb_column c;
    int64_t *v = malloc(8 * N);
    for (int64_t i = 0; i < N; i++)
        v[i] = i * i;
    HK_OK(kdb_write_open(&w, hk_io, hk_path("big"), PST_LONG, &err));
    HK_OK(kdb_write_at(&w, N / 2, v + N / 2, N - N / 2, &err));
    HK_OK(kdb_write_at(&w, 0, v, N / 2, &err));
    HK_OK(kdb_write_close(&w, N, 1, true, &err));
    HK_OK(kdb_open(&c, AT_FDCWD, hk_path("big"), &err));
    assert_int_equal(c.rows, N);
    assert_int_equal(c.attribute, 1);
    assert_memory_equal(c.values, v, 8 * N);
    kdb_close(&c);
    HK_OK(kdb_open_head(&c, AT_FDCWD, hk_path("big"), &err));
    assert_int_equal(c.rows, N);
    assert_null(c.values);
    kdb_close(&c);
    /* a torso has no header: nobody takes it for a column */
    HK_OK(kdb_write_open(&w, hk_io, hk_path("torso"), PST_LONG, &err));
    HK_OK(kdb_write_at(&w, 0, v, 10, &err));
    kdb_write_abandon(&w);
    assert_false(kdb_open(&c, AT_FDCWD, hk_path("torso"), &err));
    assert_int_equal(err.code, -EBADMSG);
    free(v);
}

/* ---- compressed ---- */

/* A container around blocks: algorithm, bytes. */
struct packed {
    uint8_t file[300000];
    size_t n;
    uint32_t size[64], algorithm[64];
    unsigned blocks;
};
static void pack_block(struct packed *p, unsigned algorithm, const void *bytes, size_t n)
{
    if (!p->n) {
        memcpy(p->file, "kxzipped", 8);
        p->n = 8;
    }
    memcpy(p->file + p->n, bytes, n);
    p->n += n;
    p->size[p->blocks] = (uint32_t)n;
    p->algorithm[p->blocks++] = algorithm;
}
static void pack_end(struct packed *p, uint64_t plain, uint64_t block)
{
    uint8_t *t = p->file + p->n;
    memset(t, 0, 32);
    put32(t, 2);
    t[4] = 1;
    put64(t + 8, plain);
    put64(t + 16, p->n);
    put64(t + 24, block);
    for (unsigned i = 0; i < p->blocks; i++) {
        put32(t + 32 + 8 * i, p->size[i]);
        put32(t + 36 + 8 * i, p->algorithm[i]);
    }
    put64(t + 32 + 8 * p->blocks, p->blocks);
    p->n += 40 + 8 * p->blocks;
}
static struct packed pk;

static void unpack_is(const void *want, size_t n)
{
    void *plain;
    size_t len;
    HK_OK(kdb_unpack(pk.file, pk.n, &plain, &len, "packed", &err));
    assert_int_equal(len, n);
    assert_memory_equal(plain, want, n);
    assert_int_equal(munmap(plain, pst_align_up(len, 4096)), 0);
}
static bool unpack_refuses(void)
{
    void *plain;
    size_t len;
    return !kdb_unpack(pk.file, pk.n, &plain, &len, "packed", &err);
}

static void compressed(void **state)
{
    (void)state;
    /* stored blocks with the very trailer F18 (nb = 3, 64 KiB blocks) */
    uint8_t *plain = malloc(196608);
    for (unsigned i = 0; i < 196608; i++)
        plain[i] = (uint8_t)(i * 31 >> 3);
    memset(&pk, 0, sizeof pk);
    uint8_t trailer[64];
    hk_hex("0200000001000000b7ff020000000000bfff02000000000000000100000000000000010000000000"
           "0000010000000000b7ff0000000000000300000000000000",
           trailer);
    memcpy(pk.file, "kxzipped", 8);
    memcpy(pk.file + 8, plain, 0x2ffb7);
    memcpy(pk.file + 8 + 0x2ffb7, trailer, 64);
    pk.n = 8 + 0x2ffb7 + 64;
    unpack_is(plain, 0x2ffb7);
    free(plain);

    /* q IPC: published vector 80, 2000#1b compressed to 38 bytes, as the only block */
    uint8_t ipc[64], want[2006];
    size_t n =
        hk_hex("0100010026000000de070000000100d00700000101ff00ff00ff00ff00ff00ff00ff00ff00c5", ipc);
    assert_int_equal(n, 38);
    hk_hex("0100d0070000", want);
    memset(want + 6, 1, 2000);
    memset(&pk, 0, sizeof pk);
    pack_block(&pk, 1, ipc, n);
    pack_end(&pk, 2006, 4096);
    unpack_is(want, 2006);

    /* gzip (a zlib stream), two blocks, of a real column image: opens as a column */
    enum { N = 1000 };
    uint8_t col[16 + 8 * N], z[9000];
    kdb_vector_header(col, PST_LONG, 0, N);
    for (int64_t i = 0; i < N; i++)
        put64(col + 16 + 8 * i, (uint64_t)(i / 3));
    memset(&pk, 0, sizeof pk);
    for (size_t at = 0; at < sizeof col; at += 4096) {
        uLongf zn = sizeof z;
        size_t len = sizeof col - at < 4096 ? sizeof col - at : 4096;
        assert_int_equal(compress2(z, &zn, col + at, len, 9), Z_OK);
        pack_block(&pk, 2, z, zn);
    }
    pack_end(&pk, sizeof col, 4096);
    unpack_is(col, sizeof col);
    hk_write(hk_path("gz"), pk.file, pk.n);
    struct kdb_column c;
    HK_OK(kdb_open_head(&c, AT_FDCWD, hk_path("gz"), &err));
    assert_int_equal(c.rows, N);
    assert_true(c.compressed);
    kdb_close(&c);
    HK_OK(kdb_open(&c, AT_FDCWD, hk_path("gz"), &err));
    assert_memory_equal(c.values, col + 16, 8 * N);
    kdb_close(&c);

    /* LZ4: 5 literals "abcde", match 4+8 back 5, 3 literals. Snappy: literal 5, copy 12 back 5
     * twice (1-byte and 2-byte offsets cannot both hold 12: 11 and 1), literal 3 */
    static const uint8_t lz4[] = {0x58, 'a', 'b', 'c', 'd', 'e', 5, 0, 0x30, 'x', 'y', 'z'};
    memset(&pk, 0, sizeof pk);
    pack_block(&pk, 4, lz4, sizeof lz4);
    pack_end(&pk, 20, 4096);
    unpack_is("abcdeabcdeabcdeabxyz", 20);
    static const uint8_t snappy[] = {20, 4 << 2,     'a', 'b', 'c',     'd', 'e', (11 - 4) << 2 | 1,
                                     5,  0 << 2 | 2, 5,   0,   60 << 2, 2,   'x', 'y',
                                     'z'};
    memset(&pk, 0, sizeof pk);
    pack_block(&pk, 3, snappy, sizeof snappy);
    pack_end(&pk, 20, 4096);
    unpack_is("abcdeabcdeabcdeabxyz", 20);

    /* refusals: encrypted, zstd, container 3 with several blocks, each byte of the trailer lost */
    struct packed good = pk;
    pk.file[7] = 'D';
    memcpy(pk.file, "kxzippEd", 8);
    assert_true(unpack_refuses());
    assert_int_equal(err.code, -ENOTSUP);
    pk = good;
    pk.file[pk.n - 12] = 5;
    assert_true(unpack_refuses());
    assert_int_equal(err.code, -ENOTSUP);
    for (size_t cut = 1; cut < good.n - 8; cut++) {
        pk = good;
        pk.n -= cut;
        assert_true(unpack_refuses());
    }
    for (size_t i = 8; i < 8 + sizeof snappy;
         i++) { /* never beyond its bounds (ASan), mostly refused */
        pk = good;
        pk.file[i] ^= 0x55;
        void *p;
        size_t len;
        if (kdb_unpack(pk.file, pk.n, &p, &len, "packed", &err))
            munmap(p, pst_align_up(len, 4096));
    }
}

/* ---- real kdb+ ---- */

static void real_files(void **state)
{
    (void)state;
    DATA_OR_SKIP("a table written by kdb+");
    char root[300], dir[400], why[300];
    struct kdbread_table t;
    snprintf(root, sizeof root, "%.299s", data_path("kdb/hdb-2021"));
    snprintf(dir, sizeof dir, "%s/2021.01.04/quote", root);
    if (!kdbread_table(root, dir, &t, why))
        fail_msg("%s", why);
    assert_int_equal(t.ncols, 9);
    assert_int_equal(t.rows, 10);
    for (size_t i = 0; i < t.ncols; i++) {
        struct kdb_column c;
        char path[500];
        snprintf(path, sizeof path, "%s/%s", dir, t.col[i].name);
        HK_OK(kdb_open(&c, AT_FDCWD, path, &err));
        assert_int_equal(c.type, t.col[i].kind);
        assert_int_equal(c.rows, 10);
        assert_int_equal(c.attribute, t.col[i].attr);
        assert_memory_equal(c.values, t.col[i].raw, 10 * t.col[i].width);
        /* and what we would write of it is the same file */
        hk_column(hk_dir, "w", c.type, c.values, c.rows, c.attribute);
        size_t n;
        uint8_t *b = hk_read(path, &n);
        same_file(hk_path("w"), b, n);
        free(b);
        kdb_close(&c);
    }
    kdbread_table_free(&t);
}

/* ---- damage ---- */

static void damage(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *more;
        int code;
        const char *says;
    } bad[] = {
        {"", NULL, -EBADMSG, "too few"},
        {"fe20", NULL, -EBADMSG, "too few"},
        {"fe2007000000000003000000", NULL, -EBADMSG, "too few"},
        {"00000000000000000000000000000000", NULL, -EBADMSG, "no kind"},
        {"fe200700000000000400000000000000010000000000000002000000000000000300000000000000", NULL,
         -EBADMSG, "says 4 rows but has bytes for 3"},
        {"fe2007000000000003000000000000ff010000000000000002000000000000000300000000000000", NULL,
         -EBADMSG, "rows but has bytes for 3"},
        {"fe200700000000000300000000000000010000000000000002000000000000000300000000", NULL,
         -EBADMSG, "has bytes for 2"},
        {"fe200300000000000000000000000000", NULL, -EBADMSG, "type 3"},
        {"fe20ff00000000000000000000000000", NULL, -EBADMSG, "type 255"},
        {"fe200705000000000000000000000000", NULL, -EBADMSG, "attribute 5"},
        {"fe200f00000000000000000000000000", NULL, -ENOTSUP, "datetime"},
        {"fe205400000000000000000000000000", NULL, -ENOTSUP, "another type than char"},
        {F4, NULL, -ENOTSUP, "not enumerated"},
        {"ff0163000b00000000", NULL, -ENOTSUP, "serialized"},
        {"fe2057000000000002000000000000000500000000000000"
         "0400000000000000",
         "6162636465", -EBADMSG, "do not ascend"},
        {"fe2057000000000001000000000000000600000000000000", "6162636465", -EBADMSG,
         "end at byte 6"},
        {"fe205700000000000100000000000000ffffffffffffffff", "6162636465", -EBADMSG, "ascend"},
        {"fe73796d00000000000000000000000001000000000000ff06000000", NULL, -EBADMSG, "rows but"},
        {"fe73796d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d", NULL, -EBADMSG, "no kind"},
        {"fd20000000000000", NULL, -EBADMSG, "too few"},
    };
    uint8_t more[64];
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        struct kdb_column c;
        size_t n = hk_hex(bad[i].hex, image), m = bad[i].more ? hk_hex(bad[i].more, more) : 0;
        err = (struct err){0};
        if (kdb_parse(&c, image, n, bad[i].more ? more : NULL, m, "bad", &err))
            fail_msg("damage %u was taken", i);
        if (err.code != bad[i].code || !strstr(err.text, bad[i].says))
            fail_msg("damage %u: %d '%s', expected %d '%s'", i, err.code, err.text, bad[i].code,
                     bad[i].says);
    }
    static const struct {
        size_t at;
        uint8_t to;
        const char *says;
    } page[] = {{4080, 0, "damaged"},     {4082, 77, "anymap"},
                {4082, 21, "damaged"},    {16, 0, "enumeration is damaged"},
                {4088, 3, "says 3 rows"}, {4095, 0x80, "rows but"}};
    for (unsigned i = 0; i < PST_COUNT(page); i++) {
        struct kdb_column c;
        kdb_enum_header(image, 0, 2);
        memset(image + 4096, 0, 16);
        image[page[i].at] = page[i].to;
        if (kdb_parse(&c, image, 4112, NULL, 0, "bad", &err) || !strstr(err.text, page[i].says))
            fail_msg("page damage %u: '%s'", i, err.text);
    }
    struct kdb_column c;
    assert_false(kdb_open(&c, AT_FDCWD, hk_path("absent"), &err));
    assert_int_equal(err.code, -ENOENT);
    assert_false(kdb_open(&c, AT_FDCWD, hk_dir, &err));
    assert_int_equal(err.code, -ENOTSUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_golden), cmocka_unit_test(vectors_golden),
        cmocka_unit_test(enums_golden),   cmocka_unit_test(strings_golden),
        cmocka_unit_test(every_type),     cmocka_unit_test(pieces),
        cmocka_unit_test(compressed),     cmocka_unit_test(real_files),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests(tests, hk_setup, hk_teardown);
}
