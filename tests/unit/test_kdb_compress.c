/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPC compression: the published sizes and bytes, both ways; a decoder written from the format page
 * anew; every cut, every altered byte, lengths that lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kdb/compress.h"
#include "support/guard.h"

/* ---- the page's decoder, word by word, for sound input ---- */

static size_t slow_decode(const uint8_t *in, uint8_t *out)
{
    uint32_t tab[256] = {0}, size = le32(in + 8);
    size_t s = 8, p = 8, d = 12, items = 0, bits = 0;
    memcpy(out, in, 8);
    out[2] = 0;
    put32(out + 4, size);
    while (s < size) {
        if (items++ % 8 == 0)
            bits = in[d++];
        size_t n = 0;
        bool match = bits & 1;
        bits >>= 1;
        if (match) {
            size_t r = tab[in[d++]];
            out[s++] = out[r++];
            out[s++] = out[r++];
            n = in[d++];
            for (size_t i = 0; i < n; i++)
                out[s + i] = out[r + i];
        } else {
            out[s++] = in[d++];
        }
        while (p < s - 1) {
            tab[out[p] ^ out[p + 1]] = (uint32_t)p;
            p++;
        }
        if (match) {
            s += n;
            p = s;
        }
    }
    return d;
}

/* ---- messages ---- */

static struct kdb_out begin(void)
{
    struct kdb_out o = {0};
    kdb_frame_begin(&o, KDB_ASYNC);
    return o;
}
static void same_symbols(struct kdb_out *o, unsigned n, const char *text)
{
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (unsigned i = 0; i < n; i++)
        kdb_out_bytes(o, text, strlen(text) + 1);
    kdb_out_close(o, at, n);
}
static void longs(struct kdb_out *o, unsigned n, int64_t first)
{
    size_t at = kdb_out_open(o, PST_LONG, 0);
    for (int64_t v = first; v < first + (int64_t)n; v++)
        kdb_out_bytes(o, &v, 8);
    kdb_out_close(o, at, n);
}

/* Compresses, checks the size, and decodes twice: with ours inside guarded bytes, with the page's.
 */
static size_t round_trip(struct kdb_out *o)
{
    assert_true(kdb_frame_end(o, 0));
    uint8_t *packed = malloc(kdb_compress_room(o->len)), *plain = malloc(o->len);
    size_t n = kdb_compress(o->data, o->len, packed), size;
    const char *why = "";
    if (n) {
        struct guard g, to;
        guard_open(&g, o->len + 4096);
        guard_open(&to, o->len + 4096);
        const uint8_t *in = guard_copy(&g, packed, n);
        assert_true(n <= kdb_compress_room(o->len));
        assert_int_equal(le32(in + 4), n);
        assert_int_equal(in[2], 1);
        assert_true(kdb_decompressed_size(in, n, KDB_BYTES_MAX, &size, &why));
        assert_int_equal(size, o->len);
        uint8_t *out = guard_copy(&to, plain, size);
        assert_true(kdb_decompress(in, n, out, size, &why));
        assert_memory_equal(out, o->data, size);
        assert_int_equal(slow_decode(in, plain), n);
        assert_memory_equal(plain, o->data, size);
        guard_close(&to);
        guard_close(&g);
    }
    free(packed);
    free(plain);
    kdb_out_free(o);
    return n;
}

/* -18!til 1000 (KxSystems docs), -18!2000#1b (kdbgo), 10000 letters (mgkdb), three of qPython's. */
static void published_sizes(void **state)
{
    (void)state;
    struct kdb_out o = begin();
    longs(&o, 1000, 0);
    assert_int_equal(o.len, 8014);
    assert_int_equal(round_trip(&o), 3276);

    o = begin();
    size_t at = kdb_out_open(&o, PST_BOOLEAN, 0);
    memset(kdb_out_room(&o, 2000), 1, 2000);
    kdb_out_close(&o, at, 2000);
    assert_int_equal(round_trip(&o), 38);

    o = begin();
    at = kdb_out_open(&o, PST_CHAR, 0);
    for (unsigned i = 0; i < 10000; i++)
        kdb_out_bytes(&o, &"abcdefghijklmnopqrstuvwxyz"[i % 26], 1);
    kdb_out_close(&o, at, 10000);
    assert_int_equal(round_trip(&o), 221);

    o = begin();
    same_symbols(&o, 1000, "q");
    assert_int_equal(round_trip(&o), 45);

    o = begin();
    kdb_out_columns(&o, (const char *const[]){"q"}, 1);
    same_symbols(&o, 1000, "q");
    assert_int_equal(round_trip(&o), 63);

    o = begin();
    kdb_out_columns(&o, (const char *const[]){"a", "b", "c"}, 3);
    longs(&o, 200, 0);
    longs(&o, 200, 25);
    same_symbols(&o, 200, "a");
    assert_int_equal(round_trip(&o), 1064);
}

/* Golden vector 80, byte for byte, both ways. */
static const uint8_t packed_ones[38] = {
    1, 0, 1,    0, 0x26, 0, 0,    0, 0xde, 7, 0,    0, 0,    1, 0,    0xd0, 7,    0, 0,
    1, 1, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0,    0xff, 0, 0xc5};

static void golden_bytes(void **state)
{
    (void)state;
    uint8_t plain[2014] = {1}, packed[1007], out[2014];
    size_t size;
    put32(plain + 4, 2014);
    plain[8] = PST_BOOLEAN;
    put32(plain + 10, 2000);
    memset(plain + 14, 1, 2000);
    assert_int_equal(kdb_compress(plain, sizeof plain, packed), sizeof packed_ones);
    assert_memory_equal(packed, packed_ones, sizeof packed_ones);
    assert_true(kdb_decompressed_size(packed_ones, sizeof packed_ones, 2014, &size, NULL));
    assert_int_equal(size, 2014);
    assert_true(kdb_decompress(packed_ones, sizeof packed_ones, out, size, NULL));
    assert_memory_equal(out, plain, size);
}

/* Random bytes of little entropy, of every small length: both decoders give the original back. */
static void any_message(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252ull;
    unsigned packed = 0;
    for (unsigned n = 20; n < 3000; n += n < 400 ? 1 : 97)
        for (unsigned letters = 1; letters < 9; letters += 3) {
            struct kdb_out o = begin();
            size_t at = kdb_out_open(&o, PST_BYTE, 0);
            for (unsigned i = 0; i < n; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                uint8_t b = (uint8_t)(x % letters) & (uint8_t)(x >> 32);
                kdb_out_bytes(&o, &b, 1);
            }
            kdb_out_close(&o, at, n);
            packed += round_trip(&o) > 0;
        }
    assert_true(packed > 250); /* of about 1,200; short and mixed ones do not get below half */
}

/* Big-endian messages keep their byte order. */
static void big_endian(void **state)
{
    (void)state;
    uint8_t plain[600] = {0}, packed[300], out[600];
    size_t size, n;
    plain[6] = 600 >> 8;
    plain[7] = 600 & 255;
    n = kdb_compress(plain, sizeof plain, packed);
    assert_true(n > 12 && n < 300);
    assert_int_equal(be32(packed + 4), n);
    assert_int_equal(be32(packed + 8), 600);
    assert_true(kdb_decompressed_size(packed, n, 600, &size, NULL));
    assert_true(kdb_decompress(packed, n, out, size, NULL));
    assert_memory_equal(out, plain, 600);
}

static void not_worth_it(void **state)
{
    (void)state;
    uint8_t plain[4096] = {1}, packed[2048];
    uint64_t x = 1;
    for (unsigned i = 8; i < sizeof plain; i++)
        plain[i] = (uint8_t)((x = x * 6364136223846793005ull + 1442695040888963407ull) >> 56);
    put32(plain + 4, sizeof plain);
    assert_int_equal(kdb_compress(plain, sizeof plain, packed), 0);
    assert_int_equal(kdb_compress(plain, 19, packed), 0);
    plain[2] = 1;
    memset(plain + 8, 0, sizeof plain - 8);
    assert_int_equal(kdb_compress(plain, sizeof plain, packed), 0);
}

/* ---- hostile ---- */

static bool unpacks(const uint8_t *in, size_t n, size_t max, const char **why)
{
    static uint8_t out[1 << 16];
    size_t size;
    return kdb_decompressed_size(in, n, max, &size, why) && size <= sizeof out &&
           kdb_decompress(in, n, out, size, why);
}

static void hostile_bytes(void **state)
{
    (void)state;
    struct guard g;
    const char *why = "";
    uint8_t m[64];
    size_t size;
    guard_open(&g, 4096);
    assert_true(unpacks(packed_ones, sizeof packed_ones, 4096, &why));
    /* cut anywhere, with a length that agrees: never sound */
    for (size_t n = 0; n < sizeof packed_ones; n++) {
        uint8_t *p = guard_copy(&g, packed_ones, n);
        if (n >= 8)
            put32(p + 4, (uint32_t)n);
        assert_false(unpacks(p, n, 4096, &why));
    }
    /* any byte altered to any value: refused, or exactly the size that it says */
    for (size_t at = 0; at < sizeof packed_ones; at++)
        for (unsigned v = 0; v < 256; v++) {
            uint8_t *p = guard_copy(&g, packed_ones, sizeof packed_ones);
            p[at] = (uint8_t)v;
            why = "";
            if (!unpacks(p, sizeof packed_ones, 1 << 16, &why) && at >= 12)
                assert_true(*why);
        }
    /* a byte more */
    memcpy(m, packed_ones, sizeof packed_ones);
    m[38] = 0;
    put32(m + 4, 39);
    assert_false(unpacks(m, 39, 4096, &why));
    assert_string_equal(why, "bytes behind the end of a compressed message");
    /* beyond the limit, beyond what the bytes can make, nothing at all */
    assert_false(unpacks(packed_ones, sizeof packed_ones, 2013, &why));
    assert_string_equal(why, "a message that unpacks to more than the limit");
    memcpy(m, packed_ones, sizeof packed_ones);
    put32(m + 8, 8 + 26 * 8 * 257 / 17);
    assert_true(kdb_decompressed_size(m, 38, KDB_BYTES_MAX, &size, &why));
    put32(m + 8, 8 + 26 * 8 * 257 / 17 + 1);
    assert_false(kdb_decompressed_size(m, 38, KDB_BYTES_MAX, &size, &why));
    assert_string_equal(why, "an unpacked length that its bytes cannot make");
    for (unsigned v = 0; v <= 8; v++) {
        put32(m + 8, v);
        assert_false(kdb_decompressed_size(m, 38, KDB_BYTES_MAX, &size, &why));
    }
    put32(m + 8, 0xFFFFFFFF);
    assert_false(kdb_decompressed_size(m, 38, SIZE_MAX, &size, &why));
    /* a reference that was never set */
    memcpy(m, packed_ones, sizeof packed_ones);
    m[12] = 1;
    assert_false(unpacks(m, 38, 4096, &why));
    assert_string_equal(why, "a compressed reference to nothing");
    guard_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_sizes), cmocka_unit_test(golden_bytes),
        cmocka_unit_test(any_message),     cmocka_unit_test(big_endian),
        cmocka_unit_test(not_worth_it),    cmocka_unit_test(hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
