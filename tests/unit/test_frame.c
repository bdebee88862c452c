/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and records: layout, CRC, what damage is recognised, and walks that never leave a frame.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/record.h"

static uint8_t buf[FRAME_MAX + 64] pst_aligned(64);

/* CRC-32C by the book (reflected, polynomial 0x1EDC6F41), not by the library. */
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t n)
{
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
    }
    return crc;
}

static void test_crc(void **state)
{
    (void)state;
    /* RFC 3720 B.4: 32 zeros give 8a9136aa, "123456789" gives e3069283 */
    uint8_t zeros[32] = {0};
    assert_int_equal(~crc32c(0xFFFFFFFFu, zeros, 32), 0x8a9136aau);
    assert_int_equal(~crc32c(0xFFFFFFFFu, "123456789", 9), 0xe3069283u);
    for (size_t n = 0; n < 300; n++)
        buf[n] = (uint8_t)(n * 37);
    for (size_t n = 0; n < 300; n += 7) {
        assert_int_equal(crc32c(12345, buf, n), crc_slow(12345, buf, n));
        assert_int_equal(crc32c(crc32c(9, buf, n / 2), buf + n / 2, n - n / 2), crc32c(9, buf, n));
    }
}

static struct frame *a_frame(uint32_t len)
{
    struct frame *f = (struct frame *)buf;
    *f = (struct frame){.length = len, .position = 800, .kind = FRAME_DATA, .count = 1, .day = 9};
    for (uint32_t i = FRAME_HEADER; i < len; i++)
        buf[i] = (uint8_t)i;
    frame_seal(f, frame_seed(77));
    return f;
}

static void test_every_damaged_bit_is_seen(void **state)
{
    (void)state;
    uint32_t seed = frame_seed(77), len = 200;
    struct frame *f = a_frame(len);
    assert_int_equal(frame_check(f, len, seed), FRAME_OK);
    assert_int_equal(frame_check(f, len, frame_seed(78)), FRAME_BAD); /* another instance's */
    for (uint32_t bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(frame_check(f, len, seed), FRAME_OK);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t avail = 0; avail < len; avail++)
        assert_int_equal(frame_check(f, avail, seed), FRAME_SHORT);
    f->length = 0;
    f->crc = 0;
    assert_int_equal(frame_check(f, len, seed), FRAME_END);
    f->length = 16;
    assert_int_equal(frame_check(f, len, seed), FRAME_BAD);
    f->length = FRAME_MAX + 8;
    assert_int_equal(frame_check(f, FRAME_MAX, seed), FRAME_BAD);
}

static void test_layout_is_the_documented_one(void **state)
{
    (void)state;
    struct frame *f = (struct frame *)buf;
    *f = (struct frame){
        0x01020304, 0x40,  0x1112131415161718, 0x2122232425262728, FRAME_GAP, 255, 0x3132,
        0x3334,     0x3536};
    static const uint8_t want[32] = {0x04, 0x03, 0x02, 0x01, 0x40, 0,    0,    0,
                                     0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                                     0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
                                     5,    255,  0x32, 0x31, 0x34, 0x33, 0x36, 0x35};
    assert_memory_equal(buf, want, 32);
}

static void test_marks_and_schemas(void **state)
{
    (void)state;
    unsigned type = 0;
    uint32_t n = 0;
    assert_int_equal(frame_build_mark(buf, MARK_EOD, "{\"a\":1}", 7), 48);
    const struct frame *f = (const struct frame *)buf;
    assert_int_equal(f->kind, FRAME_MARK);
    assert_int_equal(f->stream, STREAM_EVERY);
    assert_memory_equal(frame_mark(f, &type, &n), "{\"a\":1}", 7);
    assert_int_equal(type, MARK_EOD);
    assert_int_equal(n, 7);
    put32(buf + FRAME_HEADER + 4, 9); /* a length that lies */
    assert_null(frame_mark(f, &type, &n));
    put32(buf + FRAME_HEADER + 4, UINT32_MAX);
    assert_null(frame_mark(f, &type, &n));
    static char big[FRAME_MAX];
    assert_int_equal(frame_build_mark(buf, MARK_EOD, big, FRAME_MAX - FRAME_HEADER - 8), FRAME_MAX);
    assert_int_equal(frame_build_mark(buf, MARK_EOD, big, FRAME_MAX - FRAME_HEADER - 7), 0);
    assert_int_equal(frame_build_schema(buf, "{}", 2), 48);
    assert_memory_equal(frame_schema_json(f, &n), "{}", 2);
    assert_string_equal(mark_name(MARK_OPERATOR), "operator");
    assert_string_equal(mark_name(999), "?");
}

static bool count_text(void *arg, uint32_t id, const char *text, uint32_t len)
{
    uint32_t *n = arg;
    assert_int_equal(id, 5 + *n);
    char want[32];
    assert_int_equal(len, sprintf(want, "sym%u", *n));
    assert_memory_equal(text, want, len);
    ++*n;
    return true;
}

static bool any_text(void *arg, uint32_t id, const char *text, uint32_t len)
{
    (void)id;
    *(uint32_t *)arg += len ? (uint8_t)text[len - 1] : 0; /* touches the bytes */
    return true;
}

static void test_symbol_frames(void **state)
{
    (void)state;
    char t[32];
    uint32_t n = 0, put = 0;
    frame_symbol_begin(buf, 5);
    for (;; put++)
        if (!frame_symbol_add(buf, t, (uint32_t)sprintf(t, "sym%u", put)))
            break;
    uint32_t len = frame_symbol_end(buf);
    assert_true(len <= FRAME_MAX && len > FRAME_MAX - 64 && len % 8 == 0);
    assert_true(frame_symbols_each((struct frame *)buf, count_text, &n));
    assert_int_equal(n, put);
    frame_symbol_begin(buf, 0);
    assert_false(frame_symbol_add(buf, t, 256));
    /* damage never leads out of the frame: run it at the end of the buffer under ASan */
    frame_symbol_begin(buf, 0);
    for (unsigned i = 0; i < 3; i++)
        frame_symbol_add(buf, "abcdef", 6);
    len = frame_symbol_end(buf);
    for (uint32_t at = FRAME_HEADER; at < len; at++)
        for (unsigned v = 0; v < 256; v += 5) {
            uint8_t *copy = malloc(len);
            memcpy(copy, buf, len);
            copy[at] = (uint8_t)v;
            uint32_t sum = 0;
            frame_symbols_each((struct frame *)copy, any_text, &sum);
            free(copy);
        }
}

static void test_walk_stays_inside(void **state)
{
    (void)state;
    enum { LEN = FRAME_HEADER + 64 + 2 * 32 };
    struct frame *f = (struct frame *)buf;
    *f = (struct frame){.length = LEN, .kind = FRAME_DATA, .count = 3};
    struct packet_record *p = (struct packet_record *)(buf + FRAME_HEADER);
    *p = (struct packet_record){.bytes = 64, .seq = 7, .rows = 2, .seqs = 2, .run_bytes = 64};
    for (int i = 0; i < 2; i++)
        *(struct record *)(buf + FRAME_HEADER + 64 + 32 * i) = (struct record){9, 32, 1, 2};
    struct record_walk w;
    record_walk_start(&w, f);
    assert_non_null(record_walk_next(&w));
    assert_int_equal(record_walk_seq(&w), 7);
    assert_non_null(record_walk_next(&w));
    assert_int_equal(record_walk_seq(&w), 8);
    assert_null(record_walk_next(&w));
    assert_false(w.bad);
    p->flags = RUN_PACKET_SEQ;
    record_walk_start(&w, f);
    record_walk_next(&w);
    record_walk_next(&w);
    assert_int_equal(record_walk_seq(&w), 7);
    p->flags = RUN_UNSEQUENCED;
    assert_true(record_walk_seq(&w) == PST_NULL_LONG);
    const uint8_t *at = frame_payload(f), *end = buf + LEN;
    bool bad = false;
    assert_ptr_equal(packet_hop(&at, end, &bad), p);
    assert_null(packet_hop(&at, end, &bad));
    assert_false(bad);
    for (uint32_t i = FRAME_HEADER; i < LEN; i++)
        for (unsigned v = 0; v < 256; v += 3) {
            uint8_t *copy = malloc(LEN);
            memcpy(copy, buf, LEN);
            copy[i] = (uint8_t)v;
            record_walk_start(&w, (struct frame *)copy);
            unsigned n = 0;
            while (record_walk_next(&w))
                assert_true(++n <= LEN / 16);
            at = copy + FRAME_HEADER;
            n = 0;
            while (packet_hop(&at, copy + LEN, &bad))
                assert_true(++n <= LEN / 64);
            free(copy);
        }
}

static void test_strings_stay_inside(void **state)
{
    (void)state;
    uint8_t rec[40] pst_aligned(8) = {0};
    struct record *r = (struct record *)rec;
    r->bytes = 40;
    uint32_t n;
    put32(rec + 16, 24), put32(rec + 20, 16);
    assert_ptr_equal(record_string(r, 16, &n), rec + 24);
    put32(rec + 20, 17);
    assert_null(record_string(r, 16, &n));
    put32(rec + 16, 41), put32(rec + 20, 0);
    assert_null(record_string(r, 16, &n));
    put32(rec + 16, UINT32_MAX), put32(rec + 20, 8);
    assert_null(record_string(r, 16, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_every_damaged_bit_is_seen),
        cmocka_unit_test(test_layout_is_the_documented_one),
        cmocka_unit_test(test_marks_and_schemas),
        cmocka_unit_test(test_symbol_frames),
        cmocka_unit_test(test_walk_stays_inside),
        cmocka_unit_test(test_strings_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
