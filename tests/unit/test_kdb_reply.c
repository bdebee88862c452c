/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers, marks and notices, byte for byte: what clients accepted where that is recorded, else
 * bytes written out by hand; and the recorded session of an r.q from its login to the end of its
 * day.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kdb/reply.h"
#include "kdb/session.h"

static struct schema trade, quote, book, note;
static struct kdb_out o;

static void schemas(void)
{
    struct err err;
    /* the recorded answer's columns; a tickerplant of q has a timespan in front */
    strcpy(trade.name, "trade");
    trade.ncols = 5;
    static const struct {
        const char *name;
        uint8_t type;
    } cols[] = {{"time", PST_TIMESPAN},
                {"sym", PST_SYMBOL},
                {"price", PST_FLOAT},
                {"size", PST_LONG},
                {"side", PST_CHAR}};
    for (unsigned i = 0; i < 5; i++) {
        strcpy(trade.col[i].name, cols[i].name);
        trade.col[i].type = cols[i].type;
    }
    static const struct column_def two[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    static const struct column_def text[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"text", PST_STRING}};
    assert_true(schema_make(&quote, 3, "quote", false, two, 2, &err));
    assert_true(schema_make(&book, 4, "book", false, two, 2, &err));
    assert_true(schema_make(&note, 5, "note", false, text, 3, &err));
    book.nkeys = 1;
    book.keys[0] = 1;
}

/* What is in o, in hex; "~" stands for the four bytes of the length, counted in what is written. */
static void bytes(const char *hex)
{
    static char got[20000], want[20000];
    const char *tilde = strchr(hex, '~');
    uint32_t n = (uint32_t)(strlen(hex) + 7) / 2;
    assert_false(o.failed);
    for (size_t i = 0; i < o.len; i++)
        snprintf(got + 2 * i, 3, "%02x", o.data[i]);
    got[2 * o.len] = 0;
    o.len = 0;
    if (tilde)
        snprintf(want, sizeof want, "%.*s%08x%s", (int)(tilde - hex), hex, __builtin_bswap32(n),
                 tilde + 1);
    assert_string_equal(got, tilde ? want : hex);
}

#define TRADE_PAIR                                                                                 \
    "000002000000f57472616465006200630b000500000074696d650073796d0070726963650073697a6500736964"   \
    "65000000050000001000000000000b04000000000900000000000700000000000a0000000000"
#define QUOTE_PAIR                                                                                 \
    "000002000000f571756f7465006200630b000200000074696d650073796d000000020000000c000000"           \
    "00000b0400000000"

/* Asks by text and shows the answer. */
static void ask(const char *text, const struct kdb_facts *f)
{
    struct kdb_out q = {0};
    struct kdb_object object;
    struct kdb_request r;
    kdb_out_chars(&q, text, strlen(text));
    kdb_object_view(&object, q.data, KDB_LITTLE);
    kdb_request_read(&object, &r);
    assert_true(kdb_answer(&o, &r, f));
    kdb_out_free(&q);
}
static void ask_call(enum kdb_call call, const struct kdb_facts *f)
{
    struct kdb_request r = {.call = call};
    assert_true(kdb_answer(&o, &r, f));
}

static const struct kdb_answer_table both[] = {{.schema = &trade, .count = 3},
                                               {.schema = &quote, .count = 4}};
static const struct kdb_facts one = {.tables = both, .ntables = 1, .messages = 5, .log = "/l/sym"};
static const struct kdb_facts two = {.tables = both, .ntables = 2, .messages = 5, .log = "/l/sym"};
static const struct kdb_facts no_log = {.tables = both, .ntables = 1, .messages = PST_NULL_LONG};

#define POINT   "000002000000f90500000000000000f53a2f6c2f73796d00"
#define NOPOINT "000002000000f90000000000000080f500"

static void shapes(void **state)
{
    (void)state;
    ask(".u.sub[`trade;`]", &one); /* golden 106, accepted by six clients */
    bytes("010200005b000000" TRADE_PAIR);
    ask(".u.sub[`;`]", &one); /* all, of one table: a list of one pair */
    bytes("01020000~000001000000" TRADE_PAIR);
    ask(".u.sub[`;`]", &two);
    bytes("01020000~000002000000" TRADE_PAIR QUOTE_PAIR);
    ask(".u.sub[`trade`quote;`]", &two);
    bytes("01020000~000002000000" TRADE_PAIR QUOTE_PAIR);
    ask("(.u.sub[`;`];.u `i`L)", &one);
    bytes("01020000~000002000000000001000000" TRADE_PAIR POINT);
    ask("(.u.sub[`trade;`];.u `i`L)", &one);
    bytes("01020000~000002000000" TRADE_PAIR POINT);
    ask("(.u.sub[`;`];.u `i`L)", &no_log);
    bytes("01020000~000002000000000001000000" TRADE_PAIR NOPOINT);
    ask("(.u.i;.u.L;.u.sub[;`]each`trade`quote)", &two); /* each over two: a list */
    bytes("01020000~000003000000f90500000000000000f53a2f6c2f73796d00000002000000" TRADE_PAIR
              QUOTE_PAIR);
}

static void point(void **state)
{
    (void)state;
    ask(".u `i`L", &one);
    bytes("01020000~" POINT);
    ask("(.u.i;.u.L)", &no_log);
    bytes("01020000~" NOPOINT);
    ask(".u.i", &one);
    bytes("01020000~f90500000000000000");
    ask(".u.L", &one);
    bytes("01020000~f53a2f6c2f73796d00");
    ask(".u.L", &no_log);
    bytes("01020000~f500");
    struct kdb_facts day = {.date = 9000};
    ask(".u.d", &day);
    bytes("01020000~f228230000");
}

static void about_tables(void **state)
{
    (void)state;
    ask("tables[]", &two);
    bytes("01020000~0b000200000074726164650071756f746500");
    ask("cols trade", &one);
    bytes("01020000~0b000500000074696d650073796d0070726963650073697a65007369646500");
    ask("count trade", &one);
    bytes("01020000~f90300000000000000");
    struct kdb_facts none = {0};
    ask("tables[]", &none);
    bytes("010200000e0000000b0000000000");
    ask("count trade", &none); /* no fact, no crash */
    bytes("01020000~806e79693a20636f756e74206973206e6f7420616e7377657265642068657265"
          "00");
    /* meta: ([c] t; f; a), as kdb+ has it */
    ask("meta trade", &one);
    bytes("01020000~63" /* keyed */
          "6200630b0001000000630000000100000"
          "00b000500000074696d650073796d0070726963650073697a65007369646500"
          "6200630b0003000000740066006100"
          "000003000000"
          "0a00050000006e73666a63"
          "0b00050000000000000000"
          "0b0005000000006700000000");
}

static void keyed_and_strings(void **state)
{
    (void)state;
    kdb_put_schema(&o, &book); /* key sym, value time */
    bytes("63"
          "6200630b000100000073796d000000010000000b0000000000"
          "6200630b000100000074696d65000000010000000c0000000000");
    kdb_put_schema(&o, &note); /* strings: an empty general list */
    bytes("6200630b000300000074696d650073796d0074657874000000030000000c00000000000b0400000000"
          "000000000000");
    kdb_put_meta(&o, &book); /* keys first */
    bytes("636200630b00010000006300000001000000"
          "0b000200000073796d0074696d6500"
          "6200630b0003000000740066006100000003000000"
          "0a0002000000"
          "7370"
          "0b00020000000000"
          "0b00020000000000");
    /* a keyed table's current rows in place of the empty one */
    static const uint8_t rows[] = {0x65, 0x00};
    struct kdb_answer_table with = {.schema = &book, .rows = rows, .rows_len = 2};
    kdb_put_pair(&o, &with);
    bytes("000002000000f5626f6f6b006500");
}

static void others(void **state)
{
    (void)state;
    static const struct kdb_facts none;
    ask_call(KDB_CALL_FLUSH, &none);
    bytes("01020000~6500");
    ask_call(KDB_CALL_UPD, &none);
    bytes("01020000~6500");
    ask_call(KDB_CALL_TORQ_TYPE, &none);
    bytes("01020000~f57365676d656e74656400");
    ask_call(KDB_CALL_PYKX_CONTEXT, &none);
    bytes("01020000~f55f70796b785f6374785f6d61726b657200");
    ask_call(KDB_CALL_PYKX_KEYS, &none);
    bytes("010200000e0000000b0000000000");
    assert_true(kdb_answer_error(&o, "type")); /* golden 68, as a response */
    bytes("010200000e000000807479706500");
    ask("trade", &none);
    assert_int_equal(o.data[8], 0x80);
    assert_non_null(strstr((char *)o.data + 9, "s)select * from trade"));
    o.len = 0;
    ask("s)select 1", &none);
    assert_string_equal((char *)o.data + 9, "nyi: sql is not answered here");
    o.len = 0;
}

static void torq(void **state)
{
    (void)state;
    struct kdb_facts f = one;
    struct kdb_request r = {.call = KDB_CALL_SUB, .shape = KDB_SHAPE_SEGMENTED};
    f.date = 9000;
    f.log_directory = "/l";
    assert_true(kdb_answer(&o, &r, &f));
    bytes(
        "01020000~"
        "630b0005000000736368656d616c697374006c6f6766696c656c69737400726f77636f756e7473006461746500"
        "6c6f6764697200"
        "000005000000"
        "000001000000" TRADE_PAIR "000001000000" POINT "630b0001000000747261646500070001000000"
        "0300000000000000"
        "f228230000"
        "f52f6c00");
    f.messages = PST_NULL_LONG; /* nothing to replay */
    r.shape = KDB_SHAPE_TORQ;
    assert_true(kdb_answer(&o, &r, &f));
    bytes(
        "01020000~"
        "630b0004000000736368656d616c697374006c6f6766696c656c69737400726f77636f756e7473006461746500"
        "000004000000"
        "000001000000" TRADE_PAIR "000000000000"
        "630b0001000000747261646500070001000000"
        "0300000000000000"
        "f228230000");
}

static void ours(void **state)
{
    (void)state;
    struct kdb_facts f = one;
    f.instance = "nyc1";
    f.position = 7;
    f.submitted = 6;
    f.written = 5;
    f.durable = 4;
    f.time = 3;
    f.id = 9;
    ask_call(KDB_CALL_PST_SUB, &f);
    bytes("01020000~"
          "630b0004000000696e7374616e636500706f736974696f6e00736368656d617300696400"
          "000004000000"
          "f56e79633100"
          "f90700000000000000"
          "000001000000" TRADE_PAIR "f90900000000000000");
    ask_call(KDB_CALL_PST_WATERMARK, &f);
    bytes("01020000~"
          "630b0005000000636f6d6d6974746564007375626d6974746564007772697474656e0064757261626c6500"
          "74696d6500"
          "000005000000"
          "f90700000000000000f90600000000000000f90500000000000000f90400000000000000"
          "f40300000000000000");
    ask_call(KDB_CALL_PST_UPD, &f);
    bytes("01020000~f90700000000000000");
}

static void marks(void **state)
{
    (void)state;
    struct kdb_notice n;
    assert_true(kdb_mark_end(&o, 9000)); /* golden 108 */
    bytes("010000001b000000000002000000f52e752e656e6400f228230000");
    assert_true(kdb_mark_eoi(&o, 5, 9));
    bytes("01000000~000002000000f52e752e656f69000c0002000000"
          "05000000000000000900000000000000");
    assert_true(kdb_mark_buffer(&o, true, "a", "", NULL, 0));
    bytes("01000000~000002000000f52e646d2e627566662e737461727400"
          "000003000000f56100f5006500");
    assert_true(kdb_mark_buffer(&o, false, "a", "p", (const uint8_t *)"\x65", 2));
    bytes("01000000~000002000000f52e646d2e627566662e656e6400"
          "000003000000f56100f570006500");
    kdb_notice_begin(&n, &o, "skipped");
    kdb_notice_long(&n, "rows", 17);
    kdb_notice_time(&n, "time", 5);
    assert_true(kdb_notice_end(&n));
    bytes("01000000~000002000000f52e7073742e6e6f7469636500"
          "630b00030000006b696e6400726f77730074696d6500"
          "000003000000f5736b697070656400f91100000000000000f40500000000000000");
}

/* r.q from its first byte: what it sent, and exactly what it got. */
static void session_of_r_q(void **state)
{
    (void)state;
    static const struct kdb_limits limits = {.message = 1 << 20};
    static const uint8_t said[] = {':', 3,   0, /* no user, capability 3 */
                                   1,   1,   0,   0,   0x24, 0,   0,   0,   0x0a, 0,   0x16, 0,
                                   0,   0,   '(', '.', 'u',  '.', 's', 'u', 'b',  '[', '`',  ';',
                                   '`', ']', ';', '`', '.',  'u', ' ', '`', 'i',  '`', 'L',  ')'};
    struct kdb_session s;
    struct kdb_event e;
    struct kdb_request r;
    kdb_session_start(&s, KDB_SERVER, &limits);
    assert_true(kdb_session_feed(&s, said, sizeof said));
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_LOGIN);
    assert_string_equal(e.login.user, "");
    kdb_out_bytes(&o, &(uint8_t){kdb_capability(e.login.capability)}, 1);
    bytes("03"); /* alone in its write */
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MESSAGE);
    assert_int_equal(e.message.kind, KDB_SYNC);
    assert_int_equal(kdb_request_read(&e.message.object, &r), KDB_CALL_SUB);
    assert_true(r.sub.tables.all && r.sub.syms.all);
    struct kdb_facts f = {.tables = both, .ntables = 2, .messages = 0, .log = "/l/sym2024.08.22"};
    assert_true(kdb_answer(&o, &r, &f));
    bytes("01020000~"
          "000002000000000002000000" TRADE_PAIR QUOTE_PAIR
          "000002000000f90000000000000000f53a2f6c2f73796d323032342e30382e323200");
    assert_true(kdb_mark_end(&o, 9000));
    bytes("010000001b000000000002000000f52e752e656e6400f228230000");
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    kdb_session_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),         cmocka_unit_test(point),
        cmocka_unit_test(about_tables),   cmocka_unit_test(keyed_and_strings),
        cmocka_unit_test(others),         cmocka_unit_test(torq),
        cmocka_unit_test(ours),           cmocka_unit_test(marks),
        cmocka_unit_test(session_of_r_q),
    };
    schemas();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kdb_out_free(&o);
    return failed;
}
