/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ITCH decoder against vectors written by hand, one a message type, and against every real
 * message there is. decodebed puts each message at the end of a guarded page.
 */
#include "support/decodebed.h"
#include "support/data.h"
#include "support/wire.h"

#define MIDNIGHT 634003200000000000ll /* 2020-02-03T00:00Z: any value will do */
#define NS       34200123456789ull    /* 09:30:00.123456789 */

static struct decodebed bed;

static int setup(void **s)
{
    (void)s;
    decodebed_open(&bed, "itch50", MIDNIGHT);
    return 0;
}
static int teardown(void **s)
{
    (void)s;
    decodebed_close(&bed);
    return 0;
}

static struct wire start(char type, uint32_t len, unsigned locate)
{
    struct wire w = {.len = len};
    memset(w.b, 0xEE, sizeof w.b); /* a field that the vector forgets shows up */
    w.b[0] = (uint8_t)type;
    wire_be(&w, 1, 2, locate);
    wire_be(&w, 3, 2, 0xBEEF);
    wire_be(&w, 5, 6, NS);
    return w;
}

/* Decodes; one byte short is refused, longer is accepted and gives the same record. */
static const struct fakerow *put(const struct wire *w, const char *table)
{
    assert_int_equal(decodebed_put(&bed, w->b, w->len), DECODE_ROW);
    const struct fakerow *r = decodebed_row(&bed, table);
    assert_int_equal(r->record->time, MIDNIGHT + (int64_t)NS);
    LONG_IS(r, "locate", be16(w->b + 1));
    LONG_IS(r, "tracking", 0xBEEF);
    if (schema_column(r->schema, "type") >= 0)
        CHAR_IS(r, "type", w->b[0]);
    size_t n = bed.f->nrows;
    for (uint32_t len = 1; len < w->len; len++)
        assert_int_equal(decodebed_put(&bed, w->b, len), DECODE_LENGTH);
    assert_int_equal(decodebed_put(&bed, w->b, w->len + 7), DECODE_ROW);
    const struct fakerow *again = decodebed_row(&bed, table);
    assert_int_equal(bed.f->nrows, n + 1);
    assert_memory_equal(again->record, again[-1].record, again->record->bytes);
    return again;
}

static void directory(unsigned locate, const char *stock)
{
    struct wire w = start('R', 39, locate);
    wire_text(&w, 11, 8, stock);
    wire_text(&w, 27, 2, "");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
}

static void add_order(void **s)
{
    (void)s;
    struct wire w = start('A', 36, 13);
    wire_be(&w, 11, 8, 0x0102030405060708ull);
    w.b[19] = 'B';
    wire_be(&w, 20, 4, 4000000000u); /* beyond int */
    wire_text(&w, 24, 8, "AAPL");
    wire_be(&w, 32, 4, 3241234);
    const struct fakerow *r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "AAPL");
    CHAR_IS(r, "side", 'B');
    LONG_IS(r, "ref", 0x0102030405060708);
    LONG_IS(r, "shares", 4000000000ll);
    FLOAT_IS(r, "price", 324.1234);
    decodebed_only(r, "type side ref shares price locate tracking");
    assert_int_equal(((const uint8_t *)r->record)[71], 0); /* padding */

    w = start('F', 40, 14);
    wire_be(&w, 11, 8, 77);
    w.b[19] = 'S';
    wire_be(&w, 20, 4, 100);
    wire_text(&w, 24, 8, "BRK.A");
    wire_be(&w, 32, 4, 2000000000);
    wire_text(&w, 36, 4, "GSCO");
    r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "BRK.A");
    TEXT_IS(&bed, r, "mpid", "GSCO");
    CHAR_IS(r, "side", 'S');
    LONG_IS(r, "ref", 77);
    LONG_IS(r, "shares", 100);
    FLOAT_IS(r, "price", 200000.0);
    decodebed_only(r, "type side ref shares price mpid locate tracking");
}

static void order_events(void **s)
{
    (void)s;
    directory(9, "MSFT");
    struct wire w = start('E', 31, 9);
    wire_be(&w, 11, 8, 5);
    wire_be(&w, 19, 4, 300);
    wire_be(&w, 23, 8, 998877665544ull);
    const struct fakerow *r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "MSFT");
    LONG_IS(r, "ref", 5);
    LONG_IS(r, "shares", 300);
    LONG_IS(r, "match", 998877665544ll);
    CHAR_IS(r, "printable", 'Y');
    decodebed_only(r, "type ref shares match printable locate tracking");

    w = start('C', 36, 9);
    wire_be(&w, 11, 8, 6);
    wire_be(&w, 19, 4, 301);
    wire_be(&w, 23, 8, 42);
    w.b[31] = 'N';
    wire_be(&w, 32, 4, 1);
    r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "MSFT");
    LONG_IS(r, "ref", 6);
    LONG_IS(r, "shares", 301);
    LONG_IS(r, "match", 42);
    CHAR_IS(r, "printable", 'N');
    FLOAT_IS(r, "price", 0.0001);
    decodebed_only(r, "type ref shares price match printable locate tracking");

    w = start('X', 23, 9);
    wire_be(&w, 11, 8, 7);
    wire_be(&w, 19, 4, 50);
    r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "MSFT");
    LONG_IS(r, "ref", 7);
    LONG_IS(r, "shares", 50);
    decodebed_only(r, "type ref shares locate tracking");

    w = start('D', 19, 9);
    wire_be(&w, 11, 8, 8);
    r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "MSFT");
    LONG_IS(r, "ref", 8);
    decodebed_only(r, "type ref locate tracking");

    w = start('U', 35, 9);
    wire_be(&w, 11, 8, 8);
    wire_be(&w, 19, 8, 9);
    wire_be(&w, 27, 4, 20);
    wire_be(&w, 31, 4, 1234567);
    r = put(&w, "itch_order");
    TEXT_IS(&bed, r, "sym", "MSFT");
    LONG_IS(r, "ref", 8);
    LONG_IS(r, "newref", 9);
    LONG_IS(r, "shares", 20);
    FLOAT_IS(r, "price", 123.4567);
    decodebed_only(r, "type ref newref shares price locate tracking");
}

static void trades(void **s)
{
    (void)s;
    struct wire w = start('P', 44, 3);
    wire_be(&w, 11, 8, 0);
    w.b[19] = 'B';
    wire_be(&w, 20, 4, 10);
    wire_text(&w, 24, 8, "QQQ");
    wire_be(&w, 32, 4, 99990000);
    wire_be(&w, 36, 8, 31);
    const struct fakerow *r = put(&w, "itch_trade");
    TEXT_IS(&bed, r, "sym", "QQQ");
    CHAR_IS(r, "side", 'B');
    LONG_IS(r, "ref", 0);
    LONG_IS(r, "shares", 10);
    FLOAT_IS(r, "price", 9999.0);
    LONG_IS(r, "match", 31);
    decodebed_only(r, "type side ref shares price match locate tracking");

    w = start('Q', 40, 3);
    wire_be(&w, 11, 8, 1ull << 40);
    wire_text(&w, 19, 8, "QQQ");
    wire_be(&w, 27, 4, 2112200);
    wire_be(&w, 31, 8, 32);
    w.b[39] = 'C';
    r = put(&w, "itch_trade");
    TEXT_IS(&bed, r, "sym", "QQQ");
    LONG_IS(r, "shares", 1ll << 40);
    FLOAT_IS(r, "price", 211.22);
    LONG_IS(r, "match", 32);
    CHAR_IS(r, "cross", 'C');
    decodebed_only(r, "type shares price match cross locate tracking");

    w = start('B', 19, 3);
    wire_be(&w, 11, 8, 33);
    r = put(&w, "itch_trade");
    TEXT_IS(&bed, r, "sym", "QQQ");
    LONG_IS(r, "match", 33);
    decodebed_only(r, "type match locate tracking");
}

static void status(void **s)
{
    (void)s;
    struct wire w = start('S', 12, 0);
    w.b[11] = 'Q';
    const struct fakerow *r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "");
    CHAR_IS(r, "event", 'Q');
    decodebed_only(r, "type event locate tracking");

    w = start('H', 25, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    w.b[19] = 'H';
    wire_text(&w, 21, 4, "T1");
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    CHAR_IS(r, "state", 'H');
    TEXT_IS(&bed, r, "reason", "T1");
    decodebed_only(r, "type state reason locate tracking");
    wire_text(&w, 21, 4, "");
    r = put(&w, "itch_status");
    decodebed_only(r, "type state locate tracking");

    w = start('Y', 20, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    w.b[19] = '2';
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    CHAR_IS(r, "state", '2');
    decodebed_only(r, "type state locate tracking");

    w = start('L', 26, 4);
    wire_text(&w, 11, 4, "ETMM");
    wire_text(&w, 15, 8, "ZVZZT");
    memcpy(w.b + 23, "YNA", 3);
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    TEXT_IS(&bed, r, "mpid", "ETMM");
    CHAR_IS(r, "primary", 'Y');
    CHAR_IS(r, "mode", 'N');
    CHAR_IS(r, "state", 'A');
    decodebed_only(r, "type state mpid primary mode locate tracking");

    w = start('V', 35, 0);
    wire_be(&w, 11, 8, 286012345678ull);
    wire_be(&w, 19, 8, 9007199254740993ull); /* 2^53 + 1: not a double before the division */
    wire_be(&w, 27, 8, UINT64_MAX);
    r = put(&w, "itch_status");
    FLOAT_IS(r, "level1", 2860.12345678);
    FLOAT_IS(r, "level2", 90071992.54740993);
    FLOAT_IS(r, "level3", 184467440737.09551615);
    decodebed_only(r, "type level1 level2 level3 locate tracking");

    w = start('W', 12, 0);
    w.b[11] = '1';
    r = put(&w, "itch_status");
    CHAR_IS(r, "breach", '1');
    decodebed_only(r, "type breach locate tracking");

    w = start('K', 28, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    wire_be(&w, 19, 4, 36000);
    w.b[23] = 'A';
    wire_be(&w, 24, 4, 170000);
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    LONG_IS(r, "release", 36000);
    CHAR_IS(r, "qualifier", 'A');
    FLOAT_IS(r, "price", 17.0);
    decodebed_only(r, "type release qualifier price locate tracking");

    w = start('J', 35, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    wire_be(&w, 19, 4, 100001);
    wire_be(&w, 23, 4, 110002);
    wire_be(&w, 27, 4, 90003);
    wire_be(&w, 31, 4, 2);
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    FLOAT_IS(r, "price", 10.0001);
    FLOAT_IS(r, "upper", 11.0002);
    FLOAT_IS(r, "lower", 9.0003);
    LONG_IS(r, "ext", 2);
    decodebed_only(r, "type price upper lower ext locate tracking");

    w = start('h', 21, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    memcpy(w.b + 19, "BT", 2);
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    CHAR_IS(r, "market", 'B');
    CHAR_IS(r, "state", 'T');
    decodebed_only(r, "type state market locate tracking");

    w = start('N', 20, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    w.b[19] = 'A';
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    CHAR_IS(r, "flag", 'A');
    decodebed_only(r, "type flag locate tracking");

    w = start('O', 48, 4);
    wire_text(&w, 11, 8, "ZVZZT");
    w.b[19] = 'Y';
    wire_be(&w, 20, 4, 10000);
    wire_be(&w, 24, 4, 20000);
    wire_be(&w, 28, 4, 15000);
    wire_be(&w, 32, 8, 36000000000007ull);
    wire_be(&w, 40, 4, 13500);
    wire_be(&w, 44, 4, 16500);
    r = put(&w, "itch_status");
    TEXT_IS(&bed, r, "sym", "ZVZZT");
    CHAR_IS(r, "flag", 'Y');
    FLOAT_IS(r, "low", 1.0);
    FLOAT_IS(r, "high", 2.0);
    FLOAT_IS(r, "near", 1.5);
    LONG_IS(r, "neartime", MIDNIGHT + 36000000000007ll);
    FLOAT_IS(r, "collar_low", 1.35);
    FLOAT_IS(r, "collar_high", 1.65);
    decodebed_only(r, "type flag low high near neartime collar_low collar_high locate tracking");
}

static void imbalance_and_directory(void **s)
{
    (void)s;
    struct wire w = start('I', 50, 5);
    wire_be(&w, 11, 8, 123456789012ull);
    wire_be(&w, 19, 8, 5000);
    w.b[27] = 'B';
    wire_text(&w, 28, 8, "TSLA");
    wire_be(&w, 36, 4, 10001);
    wire_be(&w, 40, 4, 10002);
    wire_be(&w, 44, 4, 10003);
    memcpy(w.b + 48, "CL", 2);
    const struct fakerow *r = put(&w, "itch_imbalance");
    TEXT_IS(&bed, r, "sym", "TSLA");
    LONG_IS(r, "paired", 123456789012ll);
    LONG_IS(r, "imbalance", 5000);
    CHAR_IS(r, "direction", 'B');
    FLOAT_IS(r, "far", 1.0001);
    FLOAT_IS(r, "near", 1.0002);
    FLOAT_IS(r, "ref", 1.0003);
    CHAR_IS(r, "cross", 'C');
    CHAR_IS(r, "variation", 'L');

    w = start('R', 39, 6);
    wire_text(&w, 11, 8, "ABCDEFGH");
    memcpy(w.b + 19, "QN", 2);
    wire_be(&w, 21, 4, 100);
    memcpy(w.b + 25, "NCZ PN 1N", 9);
    wire_be(&w, 34, 4, 3);
    w.b[38] = 'Y';
    r = put(&w, "itch_directory");
    TEXT_IS(&bed, r, "sym", "ABCDEFGH");
    CHAR_IS(r, "category", 'Q');
    CHAR_IS(r, "status", 'N');
    LONG_IS(r, "roundlot", 100);
    CHAR_IS(r, "roundonly", 'N');
    CHAR_IS(r, "class", 'C');
    TEXT_IS(&bed, r, "subtype", "Z");
    CHAR_IS(r, "authenticity", 'P');
    CHAR_IS(r, "threshold", 'N');
    CHAR_IS(r, "ipo", ' ');
    CHAR_IS(r, "luld", '1');
    CHAR_IS(r, "etp", 'N');
    LONG_IS(r, "leverage", 3);
    CHAR_IS(r, "inverse", 'Y');
}

/* Every byte value as type, at a length that suits all and at length 0 and 1. */
static void every_type_byte(void **s)
{
    (void)s;
    const char *known = "SRHYLVWKJhAFECXDUPQBINO";
    struct wire w = start('A', 60, 1);
    memset(w.b + 11, 'x', sizeof w.b - 11);
    for (unsigned t = 0; t < 256; t++) {
        w.b[0] = (uint8_t)t;
        bool is = t && strchr(known, (int)t);
        assert_int_equal(decodebed_put(&bed, w.b, 60), is ? DECODE_ROW : DECODE_UNKNOWN);
        assert_int_equal(decodebed_put(&bed, w.b, 1), is ? DECODE_LENGTH : DECODE_UNKNOWN);
        assert_int_equal(bed.ops->type(w.b, 60), t);
    }
    assert_int_equal(decodebed_put(&bed, w.b, 0), DECODE_LENGTH);
    assert_int_equal(bed.ops->type(w.b, 0), PST_NULL_INT);
}

static const char *sym_of_delete(unsigned locate)
{
    struct wire w = start('D', 19, locate);
    wire_be(&w, 11, 8, 1);
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
    const struct fakerow *r = decodebed_row(&bed, "itch_order");
    LONG_IS(r, "locate", locate);
    return fakerow_text(bed.f, r, "sym");
}

static const char *sym_of_add(unsigned locate, const char *stock)
{
    struct wire w = start('A', 36, locate);
    wire_text(&w, 24, 8, stock);
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
    return fakerow_text(bed.f, decodebed_row(&bed, "itch_order"), "sym");
}

static void locate_map(void **s)
{
    (void)s;
    assert_string_equal(sym_of_delete(65535), ""); /* unknown: null, with its locate */
    directory(65535, "ZZZ");
    assert_string_equal(sym_of_delete(65535), "ZZZ");
    assert_string_equal(sym_of_add(65535, "YYY"), "YYY"); /* another text: the map changes */
    assert_string_equal(sym_of_delete(65535), "YYY");
    assert_string_equal(sym_of_add(7, "YYY"), "YYY"); /* learnt without a directory message */
    assert_string_equal(sym_of_delete(7), "YYY");
    assert_string_equal(sym_of_add(7, ""), ""); /* blank: null, nothing learnt or lost */
    assert_string_equal(sym_of_delete(7), "YYY");
    assert_string_equal(sym_of_add(0, "SPY"), "SPY"); /* locate 0 is about no one stock */
    assert_string_equal(sym_of_delete(0), "");
    assert_string_equal(sym_of_add(8, "A B"), "A B"); /* inner spaces belong to the text */
    assert_string_equal(sym_of_add(8, " A"), " A");
    uint32_t n = bed.f->interns;
    for (int i = 0; i < 100; i++) {
        sym_of_add(0, "SPY");
        sym_of_add(7, "YYY");
    }
    assert_int_equal(bed.f->interns, n); /* known names do not bother the sink */
    bed.ops->init(bed.state);            /* a new session knows nothing */
    assert_string_equal(sym_of_delete(7), "");
}

/* The cache of names starts anew when it is full, and stays right. */
static void many_names(void **s)
{
    (void)s;
    char name[9];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2500; i++) {
            snprintf(name, sizeof name, "N%d", i);
            assert_string_equal(sym_of_add(0, name), name);
        }
}

static void refused_symbols(void **s)
{
    (void)s;
    directory(5, "OLD");
    bed.f->syms_max = bed.f->nsyms;
    struct wire w = start('A', 36, 5);
    wire_text(&w, 24, 8, "NEW");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    assert_string_equal(sym_of_delete(5), "OLD");
    /* L: the stock is fine, the MPID is refused: the map must not have moved */
    w = start('L', 26, 6);
    wire_text(&w, 11, 4, "MPID");
    wire_text(&w, 15, 8, "OLD");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    assert_string_equal(sym_of_delete(6), "");
    w = start('F', 40, 6);
    wire_text(&w, 24, 8, "OLD");
    wire_text(&w, 36, 4, "MPID");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    w = start('H', 25, 6);
    wire_text(&w, 11, 8, "OLD");
    wire_text(&w, 21, 4, "IPO1");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    w = start('R', 39, 6);
    wire_text(&w, 11, 8, "OLD");
    wire_text(&w, 27, 2, "Q1");
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    assert_string_equal(sym_of_delete(6), "");
    /* room again: the same messages pass */
    bed.f->syms_max = 1000;
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
    assert_string_equal(sym_of_delete(6), "OLD");
    /* NUL bytes are no symbol, and eight of them do not match a free slot or an unknown locate */
    w = start('A', 36, 99);
    memset(w.b + 24, 0, 8);
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
    wire_be(&w, 1, 2, 0);
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_SYMBOL);
}

static uint32_t resolve(void *arg, const char *text, uint32_t len)
{
    struct fakerows *f = arg;
    return f->rows.ops->intern(&f->rows, text, len);
}

static const char *no_text(void *arg, uint32_t id, uint32_t *len)
{
    (void)arg;
    (void)id;
    *len = 0;
    return "";
}

static void state_marks(void **s)
{
    (void)s;
    char json[40][400], name[9];
    uint32_t len[40], n = 0, from = 0;
    assert_int_equal(bed.ops->save(bed.state, &from, json[0], 400, no_text, NULL), 0);
    assert_int_equal(from, 0);
    assert_false(bed.ops->dirty(bed.state, false));
    for (unsigned i = 1; i <= 100; i++) {
        snprintf(name, sizeof name, "S%u", i);
        directory(i * 655, name);
    }
    const char *odd = "\"\\\x01\x7F\xE9\xFF/a";
    struct wire w = start('A', 36, 2);
    memcpy(w.b + 24, odd, 8);
    assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
    assert_true(bed.ops->dirty(bed.state, true));
    assert_false(bed.ops->dirty(bed.state, false));
    do {
        memset(json[n], '#', 400);
        len[n] = bed.ops->save(bed.state, &from, json[n], 380, no_text, NULL);
        assert_in_range(len[n], 2, 380);
        assert_int_equal(json[n][380], '#');
    } while (n++ < 40 && from);
    assert_in_range(n, 3, 39);
    bed.ops->init(bed.state);
    for (uint32_t i = 0; i < n; i++)
        assert_true(bed.ops->load(bed.state, json[i], len[i], resolve, bed.f));
    assert_false(bed.ops->dirty(bed.state, false)); /* nothing that the journal does not hold */
    assert_string_equal(sym_of_delete(2), odd);
    assert_string_equal(sym_of_delete(3), "");
    for (unsigned i = 1; i <= 100; i++) {
        snprintf(name, sizeof name, "S%u", i);
        assert_string_equal(sym_of_delete(i * 655), name);
        assert_string_equal(sym_of_add(i * 655, name), name);
    }
    assert_false(bed.ops->dirty(bed.state, false)); /* the same texts again: no change */
}

static void bad_state_marks(void **s)
{
    (void)s;
    static const char *const bad[] = {
        "",
        "[]",
        "7",
        "{",
        "{\"1\":2}",
        "{\"0\":\"A\"}",
        "{\"x\":\"A\"}",
        "{\"65536\":\"A\"}",
        "{\"-1\":\"A\"}",
        "{\"1\":\"\"}",
        "{\"1\":\"   \"}",
        "{\"1\":\"ABCDEFGHI\"}",
        "{\"1\":\"\\u0100\"}",
        "{\"1\":\"\\u20ac\"}",
        "{\"5\":\"GOOD\",\"1 \":\"A\"}",
        "{\"5\":\"GOOD\",\"6\":null}",
        "{\"99999999999999999999\":\"A\"}",
    };
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        if (bed.ops->load(bed.state, bad[i], strlen(bad[i]), resolve, bed.f))
            fail_msg("accepted: %s", bad[i]);
    assert_string_equal(sym_of_delete(5), ""); /* all or nothing */
    assert_true(bed.ops->load(bed.state, "{}", 2, resolve, bed.f));
    bed.f->syms_max = bed.f->nsyms; /* a symbol that the table refuses is left unknown */
    assert_true(bed.ops->load(bed.state, "{\"5\":\"GOOD\"}", 12, resolve, bed.f));
    assert_string_equal(sym_of_delete(5), "");
}

/* Division, not multiplication by the reciprocal: compare with what strtod makes of the digits. */
static void prices_are_nearest(void **s)
{
    (void)s;
    uint64_t x = 88172645463325252ull;
    struct wire w = start('V', 35, 0);
    for (int i = 0; i < 20000; i++) {
        char digits[3][32];
        for (int k = 0; k < 3; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            uint64_t n = x >> (i + 21 * k) % 64;
            wire_be(&w, 11 + 8 * (unsigned)k, 8, n);
            snprintf(digits[k], sizeof digits[k], "%llu.%08llu",
                     (unsigned long long)(n / 100000000), (unsigned long long)(n % 100000000));
        }
        assert_int_equal(decodebed_put(&bed, w.b, w.len), DECODE_ROW);
        const struct fakerow *r = decodebed_row(&bed, "itch_status");
        FLOAT_IS(r, "level1", strtod(digits[0], NULL));
        FLOAT_IS(r, "level2", strtod(digits[1], NULL));
        FLOAT_IS(r, "level3", strtod(digits[2], NULL));
        fakerows_clear(bed.f);
        rows_run(&bed.f->rows, &(struct run){.day = 9000});
    }
    struct wire a = start('A', 36, 0);
    wire_text(&a, 24, 8, "");
    for (uint32_t n = 1; n < 4200000000u; n += 104729 * 7) {
        char digits[32];
        wire_be(&a, 32, 4, n);
        snprintf(digits, sizeof digits, "%u.%04u", n / 10000, n % 10000);
        assert_int_equal(decodebed_put(&bed, a.b, a.len), DECODE_ROW);
        FLOAT_IS(decodebed_row(&bed, "itch_order"), "price", strtod(digits, NULL));
    }
}

/* A schema that is laid out otherwise is refused, and the sentence names the column. */
static void bind_checks_layout(void **s)
{
    (void)s;
    struct err err;
    const struct decoder_table *t = &bed.ops->tables[0];
    const struct schema *tables[DECODER_TABLES];
    memcpy(tables, bed.env.table, sizeof tables);
    struct schema wrong = *tables[0];
    for (unsigned i = SCHEMA_FEED_COLUMNS; i < wrong.ncols; i++) {
        wrong = *bed.env.table[0];
        wrong.col[i].offset++;
        tables[0] = &wrong;
        assert_false(decoder_bind(bed.ops, tables, &err));
        assert_non_null(strstr(err.text, wrong.col[i].name));
        wrong = *bed.env.table[0];
        wrong.col[i].type = wrong.col[i].type == PST_LONG ? PST_FLOAT : PST_LONG;
        assert_false(decoder_bind(bed.ops, tables, &err));
    }
    assert_true(schema_make(&wrong, 5, t->name, true, t->cols, t->ncols - 1, &err));
    assert_false(decoder_bind(bed.ops, tables, &err));
    tables[0] = NULL;
    assert_false(decoder_bind(bed.ops, tables, &err));
    assert_null(decoder_find("itch"));
    assert_non_null(decoder_at(1));
    assert_null(decoder_at(2));
}

static void count_file(const char *name, const char *want)
{
    FILE *f = fopen(data_path(name), "rb");
    if (!f)
        fail_msg("capture %s is missing", data_path(name));
    uint64_t count[256] = {0}, total = 0;
    uint8_t head[2], body[65536];
    while (fread(head, 1, 2, f) == 2) {
        uint32_t len = be16(head);
        assert_int_equal(fread(body, 1, len, f), len);
        assert_int_equal(decodebed_put(&bed, body, len), DECODE_ROW);
        count[body[0]]++;
        total++;
    }
    fclose(f);
    fakerows_flush(bed.f);
    assert_int_equal(bed.f->nrows, total);
    char text[256] = "";
    for (int c = 0; c < 256; c++)
        if (count[c])
            sprintf(text + strlen(text), "%c%llu ", c, (unsigned long long)count[c]);
    assert_string_equal(text, want);
}

static void real_files(void **s)
{
    (void)s;
    DATA_OR_SKIP("ITCH 5.0 message files");
    count_file("itch50/itch_runk_locate13_10k.bin", "A4758 D4083 E849 F2 H1 L52 P240 R1 U7 X6 Y1 ");
    for (size_t i = 0; i < bed.f->nrows; i++) { /* one stock's slice: every row is AAPL's */
        const struct fakerow *r = &bed.f->row[i];
        TEXT_IS(&bed, r, "sym", "AAPL");
        LONG_IS(r, "locate", 13);
        assert_int_equal(r->seq, i + 1);
        assert_true(i == 0 || r->record->time >= r[-1].record->time);
    }
    bed.ops->init(bed.state);
    fakerows_clear(bed.f);
    rows_run(&bed.f->rows, &(struct run){.seq = 1, .day = 9000});
    count_file("itch50/itch_bbekele.itch", "H3 R993 S1 Y3 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(add_order, setup, teardown),
        cmocka_unit_test_setup_teardown(order_events, setup, teardown),
        cmocka_unit_test_setup_teardown(trades, setup, teardown),
        cmocka_unit_test_setup_teardown(status, setup, teardown),
        cmocka_unit_test_setup_teardown(imbalance_and_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(locate_map, setup, teardown),
        cmocka_unit_test_setup_teardown(many_names, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_symbols, setup, teardown),
        cmocka_unit_test_setup_teardown(state_marks, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_state_marks, setup, teardown),
        cmocka_unit_test_setup_teardown(prices_are_nearest, setup, teardown),
        cmocka_unit_test_setup_teardown(bind_checks_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(real_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
