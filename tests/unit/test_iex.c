/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IEX decoder (TOPS 1.5 and 1.6, DEEP 1.0) against vectors written by hand, one a message type.
 * decodebed puts each message at the end of a guarded page.
 */
#include "support/decodebed.h"
#include "support/wire.h"

#define UNIX_NS 1499697123456789012ull /* 2017-07-10T14:32:03.456789012Z */
#define TIME    (1499697123456789012ll - 946684800ll * 1000000000)

static struct decodebed bed;

static int setup(void **s)
{
    (void)s;
    decodebed_open(&bed, "iex", 0);
    return 0;
}
static int teardown(void **s)
{
    (void)s;
    decodebed_close(&bed);
    return 0;
}

static struct wire start(char type, uint8_t flags, uint32_t len, const char *symbol)
{
    struct wire w = {.len = len};
    memset(w.b, 0xEE, sizeof w.b); /* a field that the vector forgets shows up */
    w.b[0] = (uint8_t)type;
    w.b[1] = flags;
    wire_le(&w, 2, 8, UNIX_NS);
    if (symbol)
        wire_text(&w, 10, 8, symbol);
    return w;
}

/* Decodes; shorter is refused, longer is accepted and gives the same record. */
static const struct fakerow *put(const struct wire *w, const char *table, const char *symbol)
{
    assert_int_equal(decodebed_put(&bed, w->b, w->len), DECODE_ROW);
    const struct fakerow *r = decodebed_row(&bed, table);
    assert_int_equal(r->record->time, TIME);
    TEXT_IS(&bed, r, "sym", symbol);
    size_t n = bed.f->nrows;
    for (uint32_t len = 1; len < w->len; len++)
        assert_int_equal(decodebed_put(&bed, w->b, len), DECODE_LENGTH);
    assert_int_equal(decodebed_put(&bed, w->b, w->len + 7), DECODE_ROW);
    const struct fakerow *again = decodebed_row(&bed, table);
    assert_int_equal(bed.f->nrows, n + 1);
    assert_memory_equal(again->record, again[-1].record, again->record->bytes);
    return again;
}

static void quote(void **s)
{
    (void)s;
    struct wire w = start('Q', 0xC0, 42, "ZIEXT");
    wire_le(&w, 18, 4, 9700);
    wire_le(&w, 22, 8, 990500);
    wire_le(&w, 30, 8, 990700);
    wire_le(&w, 38, 4, 4294967295u); /* beyond int */
    const struct fakerow *r = put(&w, "iex_quote", "ZIEXT");
    LONG_IS(r, "qflags", 0xC0);
    LONG_IS(r, "bidsize", 9700);
    FLOAT_IS(r, "bid", 99.05);
    FLOAT_IS(r, "ask", 99.07);
    LONG_IS(r, "asksize", 4294967295ll);
    assert_int_equal(le32((const uint8_t *)r->record + 52), 0); /* padding */
}

static void level(void **s)
{
    (void)s;
    static const char type[] = {'8', '5'}, side[] = {'B', 'S'};
    for (int i = 0; i < 2; i++) {
        struct wire w = start(type[i], 0, 30, "ABCDEFGH");
        wire_le(&w, 18, 4, 4000000000u);
        wire_le(&w, 22, 8, 10001);
        const struct fakerow *r = put(&w, "iex_level", "ABCDEFGH");
        CHAR_IS(r, "side", side[i]);
        LONG_IS(r, "eflags", 0);
        LONG_IS(r, "size", 4000000000ll);
        FLOAT_IS(r, "price", 1.0001);
        w.b[1] = 1;
        r = put(&w, "iex_level", "ABCDEFGH");
        LONG_IS(r, "eflags", 1);
    }
}

static void trades(void **s)
{
    (void)s;
    static const char type[] = {'T', 'B'};
    for (int i = 0; i < 2; i++) {
        struct wire w = start(type[i], 0xA0, 38, "ZIEXT");
        wire_le(&w, 18, 4, 100);
        wire_le(&w, 22, 8, 12345678900123ull);
        wire_le(&w, 30, 8, 429974);
        const struct fakerow *r = put(&w, "iex_trade", "ZIEXT");
        CHAR_IS(r, "type", type[i]);
        LONG_IS(r, "sflags", 0xA0);
        LONG_IS(r, "size", 100);
        FLOAT_IS(r, "price", 1234567890.0123);
        LONG_IS(r, "tradeid", 429974);
        decodebed_only(r, "type sflags size price tradeid");
    }
    struct wire w = start('X', 'M', 26, "ZIEXT");
    wire_le(&w, 18, 8, (uint64_t)-15000); /* prices are signed */
    const struct fakerow *r = put(&w, "iex_trade", "ZIEXT");
    LONG_IS(r, "sflags", 'M');
    FLOAT_IS(r, "price", -1.5);
    decodebed_only(r, "type sflags price");
    wire_le(&w, 18, 8, 1ull << 63); /* the most negative one */
    FLOAT_IS(put(&w, "iex_trade", "ZIEXT"), "price", -922337203685477.5808);
    wire_le(&w, 18, 8, 9007199254740993ull); /* 2^53 + 1 */
    FLOAT_IS(put(&w, "iex_trade", "ZIEXT"), "price", 900719925474.0993);
}

static void status(void **s)
{
    (void)s;
    struct wire w = start('S', 'O', 10, NULL);
    const struct fakerow *r = put(&w, "iex_status", "");
    CHAR_IS(r, "state", 'O');
    decodebed_only(r, "type state");

    w = start('H', 'T', 22, "ZIEXT");
    wire_text(&w, 18, 4, "MCB3");
    r = put(&w, "iex_status", "ZIEXT");
    CHAR_IS(r, "state", 'T');
    TEXT_IS(&bed, r, "reason", "MCB3");
    decodebed_only(r, "type state reason");
    wire_text(&w, 18, 4, "");
    r = put(&w, "iex_status", "ZIEXT");
    decodebed_only(r, "type state");

    w = start('P', 1, 19, "ZIEXT");
    w.b[18] = 'A';
    r = put(&w, "iex_status", "ZIEXT");
    CHAR_IS(r, "state", 1); /* the byte as it is */
    CHAR_IS(r, "detail", 'A');
    decodebed_only(r, "type state detail");

    static const char same[] = {'O', 'I', 'E'};
    for (int i = 0; i < 3; i++) {
        w = start(same[i], 'N', 18, "ZIEXT");
        r = put(&w, "iex_status", "ZIEXT");
        CHAR_IS(r, "type", same[i]);
        CHAR_IS(r, "state", 'N');
        decodebed_only(r, "type state");
    }
}

static void auction_and_directory(void **s)
{
    (void)s;
    struct wire w = start('A', 'C', 80, "ZIEXT");
    wire_le(&w, 18, 4, 100000);
    wire_le(&w, 22, 8, 990001);
    wire_le(&w, 30, 8, 990002);
    wire_le(&w, 38, 4, 3000000000u);
    w.b[42] = 'B';
    w.b[43] = 255;
    wire_le(&w, 44, 4, 4102444800u); /* 2100-01-01: beyond a signed 32-bit time */
    wire_le(&w, 48, 8, 990003);
    wire_le(&w, 56, 8, 990004);
    wire_le(&w, 64, 8, 990005);
    wire_le(&w, 72, 8, 990006);
    const struct fakerow *r = put(&w, "iex_auction", "ZIEXT");
    CHAR_IS(r, "auction", 'C');
    LONG_IS(r, "paired", 100000);
    FLOAT_IS(r, "ref", 99.0001);
    FLOAT_IS(r, "indicative", 99.0002);
    LONG_IS(r, "imbalance", 3000000000ll);
    CHAR_IS(r, "side", 'B');
    LONG_IS(r, "ext", 255);
    LONG_IS(r, "auctime", (4102444800ll - 946684800) * 1000000000);
    FLOAT_IS(r, "bookclear", 99.0003);
    FLOAT_IS(r, "collarref", 99.0004);
    FLOAT_IS(r, "low", 99.0005);
    FLOAT_IS(r, "high", 99.0006);
    wire_le(&w, 44, 4, 0);
    LONG_IS(put(&w, "iex_auction", "ZIEXT"), "auctime", PST_NULL_TIMESTAMP);

    w = start('D', 0x80, 31, "ZIEXT");
    wire_le(&w, 18, 4, 100);
    wire_le(&w, 22, 8, 990500);
    w.b[30] = 2;
    r = put(&w, "iex_directory", "ZIEXT");
    LONG_IS(r, "dflags", 0x80);
    LONG_IS(r, "roundlot", 100);
    FLOAT_IS(r, "prevclose", 99.05);
    LONG_IS(r, "luld", 2);
}

/* Every byte value as type, at a length that suits all and at length 0 and 1. */
static void every_type_byte(void **s)
{
    (void)s;
    const char *known = "SDHOPEIQTBXA85";
    struct wire w = start('Q', 0, 90, "X");
    memset(w.b + 18, 'x', sizeof w.b - 18);
    for (unsigned t = 0; t < 256; t++) {
        w.b[0] = (uint8_t)t;
        bool is = t && strchr(known, (int)t);
        assert_int_equal(decodebed_put(&bed, w.b, 90), is ? DECODE_ROW : DECODE_UNKNOWN);
        assert_int_equal(decodebed_put(&bed, w.b, 1), is ? DECODE_LENGTH : DECODE_UNKNOWN);
        assert_int_equal(bed.ops->type(w.b, 90), t);
    }
    assert_int_equal(decodebed_put(&bed, w.b, 0), DECODE_LENGTH);
    assert_int_equal(bed.ops->type(w.b, 0), PST_NULL_INT);
}

static void level_message(uint8_t flags, enum decode want, uint32_t len, char type)
{
    struct wire w = start(type, flags, 42, "AA");
    memset(w.b + 18, 0, 60);
    assert_int_equal(decodebed_put(&bed, w.b, len), want);
}

/* end_of_event stands on exactly the rows whose message says so, whatever came between; the feed's
 * own flags stay. */
static void event_flag(void **s)
{
    (void)s;
    rows_run(&bed.f->rows, &(struct run){.seq = 10, .flags = ROW_AFTER_GAP, .day = 9000});
    level_message(0, DECODE_ROW, 30, '8');
    level_message(1, DECODE_ROW, 30, '8');
    level_message(1, DECODE_ROW, 30, '5');
    level_message(0, DECODE_ROW, 30, '5');
    level_message(1, DECODE_ROW, 30, '5');
    level_message(1, DECODE_ROW, 42, 'Q'); /* bit 0 of another type means something else */
    level_message(3, DECODE_ROW, 30, '8');
    level_message(1, DECODE_LENGTH, 29, '8');
    assert_int_equal(rows_undecoded(&bed.f->rows, '8', PST_NULL_SYMBOL, (uint8_t *)"abc", 3), 3);
    level_message(1, DECODE_ROW, 30, '8');
    level_message(1, DECODE_UNKNOWN, 30, 'z');
    assert_int_equal(rows_undecoded(&bed.f->rows, 'z', PST_NULL_SYMBOL, (uint8_t *)"abc", 3), 3);
    level_message(1, DECODE_ROW, 30, '8');
    level_message(1, DECODE_LENGTH, 0, '8');
    assert_int_equal(rows_undecoded(&bed.f->rows, 0, PST_NULL_SYMBOL, (uint8_t *)"abc", 0), 0);
    static const bool end[] = {false, true,  true, false, true, false,
                               true,  false, true, false, true, false};
    fakerows_flush(bed.f);
    assert_int_equal(bed.f->nrows, PST_COUNT(end));
    for (size_t i = 0; i < PST_COUNT(end); i++) {
        const struct fakerow *r = &bed.f->row[i];
        assert_int_equal(r->packet.flags, ROW_AFTER_GAP | (end[i] ? ROW_END_OF_EVENT : 0));
        assert_int_equal(r->seq, 10 + i);
    }
    assert_int_equal(bed.f->row[1].packet.rows, 2); /* one run of two */
}

static void refused_symbols(void **s)
{
    (void)s;
    level_message(1, DECODE_ROW, 30, '8');
    bed.f->syms_max = bed.f->nsyms;
    level_message(1, DECODE_ROW, 30, '8'); /* a known one passes */
    struct wire w = start('Q', 0, 42, "NEW");
    assert_int_equal(decodebed_put(&bed, w.b, 42), DECODE_SYMBOL);
    assert_int_equal(bed.f->rows.run.flags & ROW_END_OF_EVENT, 0);
    w = start('H', 'H', 22, "AA");
    wire_text(&w, 18, 4, "T1");
    assert_int_equal(decodebed_put(&bed, w.b, 22), DECODE_SYMBOL);
    bed.f->syms_max = 100;
    assert_int_equal(decodebed_put(&bed, w.b, 22), DECODE_ROW);
    memset(w.b + 10, 0, 8); /* NUL bytes are no symbol */
    assert_int_equal(decodebed_put(&bed, w.b, 22), DECODE_SYMBOL);
    w = start('Q', 0, 42, "");
    assert_int_equal(decodebed_put(&bed, w.b, 42), DECODE_ROW); /* blank is null */
    TEXT_IS(&bed, decodebed_row(&bed, "iex_quote"), "sym", "");
}

/* Known names come from the cache, each time the right one. */
static void many_names(void **s)
{
    (void)s;
    char name[9];
    struct wire w = start('O', 'N', 18, "");
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "N%d", i % 2500);
        wire_text(&w, 10, 8, name);
        assert_int_equal(decodebed_put(&bed, w.b, 18), DECODE_ROW);
    }
    assert_int_equal(bed.f->interns, 2500);
    fakerows_flush(bed.f);
    assert_int_equal(bed.f->nrows, 10000);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "N%d", i % 2500);
        TEXT_IS(&bed, &bed.f->row[i], "sym", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(quote, setup, teardown),
        cmocka_unit_test_setup_teardown(level, setup, teardown),
        cmocka_unit_test_setup_teardown(trades, setup, teardown),
        cmocka_unit_test_setup_teardown(status, setup, teardown),
        cmocka_unit_test_setup_teardown(auction_and_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(event_flag, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_symbols, setup, teardown),
        cmocka_unit_test_setup_teardown(many_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
