/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: every row of the framing table, validation, stream keys, extension of numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "descriptor.h"
#include "support/feedframings.h"
#include "support/feedwire.h"
#include "support/guard.h"

static uint16_t at[FRAMING_MESSAGES + 1], at2[FRAMING_MESSAGES + 1];
static struct packet_view v;
static struct guard guard;

/* Parses with the input ending at an unreadable page, with both parsers: they must agree. */
static enum packet_kind parse(const struct framing *f, const void *bytes, uint32_t n)
{
    const uint8_t *p = guard_copy(&guard, bytes, n);
    struct packet_view w;
    enum packet_kind k = framing_parse(f, p, n, &v, at);
    framing_code_generic.header(f, p, n, &w);
    if (w.kind == PACKET_DATA || w.kind == PACKET_UNSEQUENCED)
        framing_code_generic.walk(f, &w, at2);
    assert_int_equal(w.kind, k);
    assert_int_equal(w.reason, v.reason);
    if (k != PACKET_MALFORMED) {
        assert_int_equal(w.seq, v.seq);
        assert_int_equal(w.count, v.count);
        assert_int_equal(w.seqs, v.seqs);
        assert_memory_equal(w.key, v.key, sizeof v.key);
        if (k == PACKET_DATA)
            assert_memory_equal(at, at2, (v.count + 1) * sizeof *at);
    }
    return k;
}
static const char *key(const struct framing *f)
{
    static char text[FRAMING_TEXT_MAX];
    framing_key_text(f, v.key, text, sizeof text);
    return text;
}

static void test_all_are_sound(void **state)
{
    (void)state;
    struct err e;
    unsigned n = 0;
    for (; framing_at(n); n++) {
        assert_true(framing_check(framing_at(n), &e));
        assert_ptr_equal(framing_find(framing_at(n)->name), framing_at(n));
    }
    assert_int_equal(n, 5);
    assert_null(framing_find("mould"));
    for (unsigned i = 0; i < PST_COUNT(test_framings); i++, n++)
        if (!framing_check(&test_framings[i], &e))
            fail_msg("%s", e.text);
    assert_int_equal(n, 18); /* the whole table */
}

static void test_mold(void **state)
{
    (void)state;
    const struct framing *f = framing_find("moldudp64");
    struct wire_packet p;
    wire_mold(&p, "000010059B", 77, 5, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_int_equal(v.seq, 77);
    assert_int_equal(v.count, 5);
    assert_string_equal(key(f), "000010059B");
    for (unsigned i = 0; i < 5; i++) {
        uint8_t m[64];
        uint32_t n = wire_message(77 + i, 0, m);
        assert_int_equal(at[i + 1] - at[i], n + 2);
        assert_memory_equal(v.first + at[i] + f->skip, m, n);
    }
    for (uint32_t n = 0; n < p.n; n++) /* cut anywhere: never sound, never overread */
        assert_int_equal(parse(f, p.b, n), PACKET_MALFORMED);
    p.b[p.n++] = 0;
    assert_int_equal(parse(f, p.b, p.n), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_TAIL);
    p.n--;
    p.b[19] = 6;
    assert_int_equal(parse(f, p.b, p.n), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_COUNT);
    wire_mold(&p, "S", 9, 0, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_HEARTBEAT);
    wire_mold(&p, "S", 9, 0xFFFF, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_END);
    assert_string_equal(key(f), "S");
    /* a block of length 0 is legal and has a number */
    wire_mold(&p, "S", 9, 0, 0);
    p.b[19] = 2;
    memset(p.b + 20, 0, 4);
    assert_int_equal(parse(f, p.b, 24), PACKET_DATA);
    assert_int_equal(v.count, 2);
    wire_mold(&p, "S", UINT64_MAX - 1, 3, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_SEQUENCE);
    memset(p.b, 0xFF, 10);
    assert_int_equal(parse(f, p.b, 20), PACKET_MALFORMED);
    assert_int_equal(parse(f, p.b, 0), PACKET_MALFORMED);
}

static void test_iex(void **state)
{
    (void)state;
    const struct framing *f = framing_find("iex-tp");
    struct wire_packet p;
    wire_iex(&p, 1150681088, 30, 3, 4711, 1500000000000000000ull);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.offset, 4711);
    assert_int_equal(v.send_time, 1500000000000000000ull);
    assert_string_equal(key(f), "32771:1:1150681088");
    char text[64];
    framing_channel_text(f, v.key, text, sizeof text);
    assert_string_equal(text, "32771:1");
    p.b[12]++;
    assert_int_equal(parse(f, p.b, p.n), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_LENGTH);
    wire_iex(&p, 1, 30, 0, 1, 1);
    assert_int_equal(parse(f, p.b, p.n), PACKET_HEARTBEAT);
}

static void test_cboe_cme_b3(void **state)
{
    (void)state;
    struct wire_packet p;
    const struct framing *f = framing_find("cboe");
    wire_cboe(&p, 11, 121843, 3);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_string_equal(key(f), "11");
    assert_int_equal(v.seq, 121843);
    wire_cboe(&p, 11, 0, 2);
    assert_int_equal(parse(f, p.b, p.n), PACKET_UNSEQUENCED);
    assert_int_equal(v.count, 2);
    wire_cboe(&p, 11, 5, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_HEARTBEAT);
    p.b[8] = 0; /* a message that says it is shorter than its prefix */
    wire_put(p.b, 9, 2, true);
    p.b[2] = 1;
    assert_int_equal(parse(f, p.b, 9), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_WALK);

    f = framing_find("cme");
    wire_cme(&p, 19321375, 3, 46, 99);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.seqs, 1); /* the number counts packets */
    assert_string_equal(key(f), "-");
    wire_cme(&p, 5, 1, 12, 99);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_true(v.idle);
    wire_cme(&p, 5, 1, 4, 99);
    parse(f, p.b, p.n);
    assert_true(v.reset);

    f = framing_find("b3");
    wire_b3(&p, 68, 14295, 629, 4);
    assert_int_equal(parse(f, p.b, p.n), PACKET_DATA);
    assert_string_equal(key(f), "68:14295");
    assert_int_equal(v.count, 4);
    wire_b3(&p, 68, 14295, 0, 0);
    assert_int_equal(parse(f, p.b, p.n), PACKET_UNSEQUENCED);
    assert_int_equal(v.count, 0);
}

static void test_nyse(void **state)
{
    (void)state;
    const struct framing *f = test_framing("nyse-xdp");
    uint8_t p[16 + 8] = {0};
    static const struct {
        uint8_t flag, count;
        enum packet_kind kind;
        bool reset, again;
    } all[] = {{11, 2, PACKET_DATA, false, false},       {1, 0, PACKET_HEARTBEAT, false, false},
               {12, 2, PACKET_DATA, true, false},        {13, 2, PACKET_DATA, false, true},
               {15, 2, PACKET_DATA, false, true},        {17, 2, PACKET_UNSEQUENCED, false, false},
               {20, 2, PACKET_UNSEQUENCED, false, false}};
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        uint32_t n = all[i].count ? 24 : 16;
        wire_put(p, n, 2, true);
        p[2] = all[i].flag;
        p[3] = all[i].count;
        wire_put(p + 4, 100, 4, true);
        wire_put(p + 8, 5, 4, true);
        wire_put(p + 12, 6, 4, true);
        wire_put(p + 16, 4, 2, true);
        wire_put(p + 20, 4, 2, true);
        assert_int_equal(parse(f, p, n), all[i].kind);
        assert_int_equal(v.reset, all[i].reset);
        assert_int_equal(v.retransmitted, all[i].again);
        assert_int_equal(v.send_time, 5ull << 32 | 6);
    }
}

static void test_memoir(void **state)
{
    (void)state;
    const struct framing *f = test_framing("memoir");
    uint8_t p[32] = {2, 18, 0, 0, 0, 0, 0, 0, 1,   0, 0, 0,   0,  0,
                     0, 0,  0, 7, 0, 2, 0, 1, 'x', 0, 2, 'y', 'z'};
    assert_int_equal(parse(f, p, 27), PACKET_DATA);
    assert_int_equal(v.count, 2);
    assert_int_equal(v.seq, 7);
    assert_string_equal(key(f), "256");
    assert_int_equal(parse(f, p, 18), PACKET_MALFORMED); /* type 2 without its count */
    p[0] = 0;
    assert_int_equal(parse(f, p, 18), PACKET_HEARTBEAT);
    p[0] = 1;
    assert_int_equal(parse(f, p, 18), PACKET_END);
    p[0] = 3;
    assert_int_equal(parse(f, p, 27), PACKET_MALFORMED);
    assert_int_equal(v.reason, FRAMING_KIND);
}

static void test_opra_cta(void **state)
{
    (void)state;
    const struct framing *f = test_framing("opra");
    uint8_t p[64] = {6, 0, 60, 'O', ' ', 0, 0, 0, 0, 9, 5};
    p[22] = 'q';
    assert_int_equal(parse(f, p, 60), PACKET_DATA);
    assert_int_equal(v.count, 5); /* one unit that stands for five numbers */
    assert_int_equal(v.seqs, 5);
    assert_int_equal(at[1], 60 - 21);
    assert_false(v.retransmitted);
    p[4] = 'V';
    parse(f, p, 60);
    assert_true(v.retransmitted);
    p[22] = 'H';
    p[23] = 'N';
    assert_int_equal(parse(f, p, 60), PACKET_HEARTBEAT);

    f = test_framing("cta");
    uint8_t c[64] = {2, 0, 0, 'T', 'O', 0, 0, 0x0f, 0x22, 2};
    wire_put(c + 20, 8, 2, false);
    c[22] = 'A';
    wire_put(c + 28, 11, 2, false);
    wire_put(c + 1, 40, 2, false); /* 20 + 8 + 11 and a byte to make it even */
    assert_int_equal(parse(f, c, 40), PACKET_DATA);
    assert_int_equal(v.seq, 3874);
    assert_int_equal(v.count, 2);
    assert_int_equal(v.bytes, 19);
    wire_put(c + 1, 41, 2, false);
    assert_int_equal(parse(f, c, 41), PACKET_MALFORMED);
    wire_put(c + 1, 28, 2, false);
    c[9] = 1;
    c[22] = 'C';
    c[23] = 'T';
    assert_int_equal(parse(f, c, 28), PACKET_HEARTBEAT);
    assert_int_equal(v.seq, 3875); /* it repeats the last number */
    c[23] = 'L';
    assert_int_equal(parse(f, c, 28), PACKET_DATA);
    assert_true(v.reset);
    c[22] = 'B'; /* both conditions or none */
    c[23] = 'T';
    assert_int_equal(parse(f, c, 28), PACKET_DATA);
}

static void test_numbers_in_messages(void **state)
{
    (void)state;
    const struct framing *f = test_framing("miax-mach");
    uint8_t p[64] = {0};
    static const uint64_t seqs[] = {41, 42, 50};
    uint32_t n = 0;
    for (unsigned i = 0; i < 3; i++, n += 14) {
        wire_put(p + n, seqs[i], 8, true);
        wire_put(p + n + 8, 14, 2, true);
        p[n + 10] = 3;
        p[n + 11] = 9;
    }
    assert_int_equal(parse(f, p, n), PACKET_DATA);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.seq, 41);
    assert_string_equal(key(f), "9");
    struct packet_view run;
    uint32_t i = framing_run(f, &v, at, 0, &run);
    assert_int_equal(i, 2);
    assert_int_equal(run.seq, 41);
    assert_int_equal(run.seqs, 2);
    assert_int_equal(run.bytes, 28);
    i = framing_run(f, &v, at, i, &run);
    assert_int_equal(i, 3);
    assert_int_equal(run.seq, 50);
    assert_int_equal(run.seqs, 1);
    p[10] = 0;
    assert_int_equal(parse(f, p, 14), PACKET_HEARTBEAT);
    assert_int_equal(parse(f, p, 0), PACKET_MALFORMED);

    f = test_framing("aquis");
    uint8_t a[] = {2, 'A', 7, 0, 0, 0, 5, 'x', 'B', 6, 0, 0, 0, 6};
    assert_int_equal(parse(f, a, sizeof a), PACKET_DATA);
    assert_int_equal(v.count, 2);
    assert_int_equal(v.seq, 5);
    assert_int_equal(framing_run(f, &v, at, 0, &run), 2);
    a[0] = 3;
    assert_int_equal(parse(f, a, sizeof a), PACKET_MALFORMED);
}

static void test_extend(void **state)
{
    (void)state;
    assert_int_equal(framing_extend(5, 4, 3), 5);
    assert_int_equal(framing_extend(2, 4, 0xFFFFFFFF), 0x100000002);
    assert_int_equal(framing_extend(0xFFFFFFFE, 4, 0x100000003), 0xFFFFFFFE);
    assert_int_equal(framing_extend(0xFFFFFFF0, 4, 5), 0xFFFFFFF0); /* nothing lies below 0 */
    assert_int_equal(framing_extend(1, 2, 0x1FFFF), 0x20001);
    assert_int_equal(framing_extend(7, 8, UINT64_MAX), 7);
    assert_int_equal(framing_extend(3, 1, UINT64_MAX), 3);
    for (uint64_t n = 1000; n < 1ull << 40; n = n * 3 + 1)
        for (int64_t d = -500; d < 500; d += 33)
            assert_int_equal(framing_extend((uint32_t)(n + (uint64_t)d), 4, n), n + (uint64_t)d);
}

static void test_keys(void **state)
{
    (void)state;
    struct framing f = {
        .name = "k",
        .header = 32,
        .nkeys = 3,
        .key = {{0, 8, KEY_TEXT, true}, {8, 2, KEY_HEX, false}, {10, 3, KEY_NUMBER, false}}};
    uint64_t k[4] = {0};
    memcpy(k, "  a\"\x01 b ", 8);
    memcpy((uint8_t *)k + 8, "\xab\xcd\x01\x00\x02", 5);
    char text[64];
    framing_key_text(&f, k, text, sizeof text);
    assert_string_equal(text, "a%22%01%20b:abcd:65538");
    for (uint32_t cap = 1; cap < 24; cap++) {
        memset(text, 'x', sizeof text);
        uint32_t n = framing_key_text(&f, k, text, cap);
        assert_true(n < cap);
        assert_int_equal(text[n], 0);
        assert_int_equal(text[cap], 'x');
    }
}

static void refuse(struct framing f, const char *word)
{
    struct err e = {0};
    assert_false(framing_check(&f, &e));
    if (!strstr(e.text, word))
        fail_msg("'%s' does not say '%s'", e.text, word);
}

static void test_check(void **state)
{
    (void)state;
    const struct framing m = *framing_find("moldudp64");
    struct framing f;
#define REFUSE(change, word)                                                                       \
    do {                                                                                           \
        f = m;                                                                                     \
        change;                                                                                    \
        refuse(f, word);                                                                           \
    } while (0)
    REFUSE(f.name[0] = 0, "name");
    REFUSE(f.header = 0, "header");
    REFUSE(f.header = 15, "sequence");
    REFUSE(f.seq.width = 0, "sequence");
    REFUSE(f.seq.width = 5, "5 bytes");
    REFUSE(f.count.offset = 19, "count");
    REFUSE(f.mlen.width = 0, "message length");
    REFUSE(f.key[0].offset = 11, "stream key");
    REFUSE((f.key[0].kind = KEY_NUMBER), "stream key");
    REFUSE((f.nkeys = 4, f.key[1] = f.key[2] = f.key[3] = f.key[0]), "longer");
    REFUSE(f.nkeys = 5, "pieces");
    REFUSE(f.messages_at = 10, "within the header");
    REFUSE(f.messages = 7, "unknown");
    REFUSE((f.per_message_seq = true, f.counts_packets = true), "each message");
    REFUSE((f.seq.width = 2, f.first_seq = 70000), "first sequence");
    REFUSE((f.messages = MESSAGES_OPAQUE, f.count.width = 0, f.match[0].action = 0), "count");
    REFUSE(f.count.width = 0, "matcher 1");
    REFUSE((f.match[0].test = TEST_FIELD, f.match[0].width = 2, f.match[0].value = 3), "mask");
    REFUSE(f.match[1].more = true, "another");
    REFUSE((f.tail = 1, f.count.width = 0, f.match[0].action = 0), "count");
#undef REFUSE
}

static void test_equal_gets_the_fast_copy(void **state)
{
    (void)state;
    for (unsigned i = 0; framing_at(i); i++) {
        struct framing f = *framing_at(i);
        snprintf(f.name, sizeof f.name, "mine");
        f.first_seq = 99;
        assert_ptr_equal(framing_code(&f), framing_code(framing_at(i)));
        assert_ptr_not_equal(framing_code(&f), &framing_code_generic);
        f.header++;
        assert_ptr_equal(framing_code(&f), &framing_code_generic);
    }
}

int main(void)
{
    guard_open(&guard, 65536);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_sound), cmocka_unit_test(test_mold),
        cmocka_unit_test(test_iex),           cmocka_unit_test(test_cboe_cme_b3),
        cmocka_unit_test(test_nyse),          cmocka_unit_test(test_memoir),
        cmocka_unit_test(test_opra_cta),      cmocka_unit_test(test_numbers_in_messages),
        cmocka_unit_test(test_extend),        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_check),         cmocka_unit_test(test_equal_gets_the_fast_copy),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_close(&guard);
    return failed;
}
