/* SPDX-License-Identifier: Apache-2.0 */
/* The second decoder against layouts worked out by hand and against real captures. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "capture.h"
#include "refdecode.h"

#define DAY_NS INT64_C(86400000000000)

static char data_dir[512];

static bool have_data(void)
{
    const char *d = getenv("PST_DATA");
    struct stat s;
    snprintf(data_dir, sizeof data_dir, "%s", d ? d : PST_SOURCE_ROOT "/../shared/data");
    return stat(data_dir, &s) == 0;
}

#define NEED_DATA()                                                                                \
    do {                                                                                           \
        if (!have_data()) {                                                                        \
            print_message("skipped: no real captures in %s (set PST_DATA)\n", data_dir);           \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* ---- by hand: byte i of the message is i, so that a field's value names its offset ---- */

static struct refdecode dec;
static struct ref_row row;

static void counting(const char *protocol, char type, unsigned len, uint8_t *b)
{
    for (unsigned i = 0; i < len; i++)
        b[i] = (uint8_t)i;
    b[0] = (uint8_t)type;
    assert_int_equal(refdecode(&dec, protocol, b, len, &row), 1);
    assert_int_equal(refdecode(&dec, protocol, b, len + 1, &row), 1);
    struct ref_row shorter;
    assert_int_equal(refdecode(&dec, protocol, b, len - 1, &shorter), -1);
}

static const struct ref_value *field(const char *name)
{
    const struct ref_value *v = ref_field(&row, name);
    if (!v)
        fail_msg("%s has no column %s", row.table, name);
    return v;
}

static void is_int(const char *name, int64_t want)
{
    const struct ref_value *v = field(name);
    if (v->null || v->i != want)
        fail_msg("%c %s: %lld, want %lld", row.type, name, (long long)v->i, (long long)want);
}

static void is_price(const char *name, double want)
{
    const struct ref_value *v = field(name);
    if (v->null || v->f != want)
        fail_msg("%c %s: %.17g, want %.17g", row.type, name, v->f, want);
}

static void is_null(const char *name)
{
    if (!field(name)->null)
        fail_msg("%c %s: is not null", row.type, name);
}

static void itch_by_hand(void **state)
{
    (void)state;
    uint8_t b[128];
    assert_true(refdecode_open(&dec, 0));
    counting("itch", 'A', 36, b);
    assert_string_equal(row.table, "itch_order");
    assert_int_equal(row.time, 0x05060708090a);
    is_int("locate", 0x0102);
    is_int("tracking", 0x0304);
    is_int("ref", 0x0b0c0d0e0f101112);
    is_int("side", 0x13);
    is_int("shares", 0x14151617);
    is_price("price", 0x20212223 / 1e4);
    is_null("newref"), is_null("match"), is_null("printable"), is_null("mpid");
    counting("itch", 'F', 40, b);
    assert_string_equal(field("mpid")->s, "$%&'");
    counting("itch", 'E', 31, b);
    is_int("shares", 0x13141516);
    is_int("match", 0x1718191a1b1c1d1e);
    is_int("printable", 'Y');
    is_null("price"), is_null("side");
    counting("itch", 'C', 36, b);
    is_int("printable", 0x1f);
    is_price("price", 0x20212223 / 1e4);
    counting("itch", 'X', 23, b);
    is_int("shares", 0x13141516);
    counting("itch", 'D', 19, b);
    is_int("ref", 0x0b0c0d0e0f101112);
    is_null("shares");
    counting("itch", 'U', 35, b);
    is_int("ref", 0x0b0c0d0e0f101112);
    is_int("newref", 0x131415161718191a);
    is_int("shares", 0x1b1c1d1e);
    is_price("price", 0x1f202122 / 1e4);
    counting("itch", 'P', 44, b);
    assert_string_equal(row.table, "itch_trade");
    is_int("match", 0x2425262728292a2b);
    is_null("cross");
    counting("itch", 'Q', 40, b);
    is_int("shares", 0x0b0c0d0e0f101112);
    is_price("price", 0x1b1c1d1e / 1e4);
    is_int("match", 0x1f20212223242526);
    is_int("cross", 0x27);
    is_null("ref"), is_null("side");
    counting("itch", 'B', 19, b);
    is_int("match", 0x0b0c0d0e0f101112);
    is_null("price");
    counting("itch", 'I', 50, b);
    is_int("paired", 0x0b0c0d0e0f101112);
    is_int("imbalance", 0x131415161718191a);
    is_int("direction", 0x1b);
    is_price("far", 0x24252627 / 1e4);
    is_price("near", 0x28292a2b / 1e4);
    is_price("ref", 0x2c2d2e2f / 1e4);
    is_int("cross", 0x30);
    is_int("variation", 0x31);
    refdecode_close(&dec);
}

static void itch_status_by_hand(void **state)
{
    (void)state;
    uint8_t b[128];
    assert_true(refdecode_open(&dec, 1000));
    counting("itch", 'S', 12, b);
    assert_string_equal(row.table, "itch_status");
    is_int("event", 0x0b);
    is_null("state"), is_null("level1"), is_null("release"), is_null("reason");
    counting("itch", 'H', 25, b);
    is_int("state", 0x13);
    assert_memory_equal(field("reason")->s, "\x15\x16\x17\x18", 5);
    counting("itch", 'Y', 20, b);
    is_int("state", 0x13);
    counting("itch", 'L', 26, b);
    assert_memory_equal(field("mpid")->s, "\x0b\x0c\x0d\x0e", 5);
    assert_memory_equal(row.sym, "\x0f\x10\x11\x12\x13\x14\x15\x16", 9);
    is_int("primary", 0x17);
    is_int("mode", 0x18);
    is_int("state", 0x19);
    counting("itch", 'V', 35, b);
    is_price("level1", (double)0x0b0c0d0e0f101112 / 1e8);
    is_price("level2", (double)0x131415161718191a / 1e8);
    is_price("level3", (double)0x1b1c1d1e1f202122 / 1e8);
    counting("itch", 'W', 12, b);
    is_int("breach", 0x0b);
    counting("itch", 'K', 28, b);
    is_int("release", 0x13141516);
    is_int("qualifier", 0x17);
    is_price("price", 0x18191a1b / 1e4);
    counting("itch", 'J', 35, b);
    is_price("price", 0x13141516 / 1e4);
    is_price("upper", 0x1718191a / 1e4);
    is_price("lower", 0x1b1c1d1e / 1e4);
    is_int("ext", 0x1f202122);
    counting("itch", 'h', 21, b);
    is_int("market", 0x13);
    is_int("state", 0x14);
    counting("itch", 'N', 20, b);
    is_int("flag", 0x13);
    counting("itch", 'O', 48, b);
    is_int("flag", 0x13);
    is_price("low", 0x14151617 / 1e4);
    is_price("high", 0x18191a1b / 1e4);
    is_price("near", 0x1c1d1e1f / 1e4);
    is_int("neartime", 0x2021222324252627 + 1000);
    is_price("collar_low", 0x28292a2b / 1e4);
    is_price("collar_high", 0x2c2d2e2f / 1e4);
    counting("itch", 'R', 39, b);
    assert_string_equal(row.table, "itch_directory");
    is_int("category", 0x13);
    is_int("status", 0x14);
    is_int("roundlot", 0x15161718);
    is_int("roundonly", 0x19);
    is_int("class", 0x1a);
    assert_memory_equal(field("subtype")->s, "\x1b\x1c", 3);
    is_int("authenticity", 0x1d);
    is_int("threshold", 0x1e);
    is_int("ipo", 0x1f);
    assert_true(field("luld")->null); /* byte 0x20 is a space, char's null */
    is_int("etp", 0x21);
    is_int("leverage", 0x22232425);
    is_int("inverse", 0x26);
    refdecode_close(&dec);
}

static void iex_by_hand(void **state)
{
    (void)state;
    uint8_t b[128];
    const int64_t epoch = 946684800000000000;
    assert_true(refdecode_open(&dec, 0));
    counting("iex", 'Q', 42, b);
    assert_string_equal(row.table, "iex_quote");
    assert_int_equal(row.time, 0x0908070605040302 - epoch);
    assert_memory_equal(row.sym, "\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11", 9);
    is_int("qflags", 1);
    is_int("bidsize", 0x15141312);
    is_price("bid", (double)0x1d1c1b1a19181716 / 1e4);
    is_price("ask", (double)0x2524232221201f1e / 1e4);
    is_int("asksize", 0x29282726);
    counting("iex", '8', 30, b);
    is_int("side", 'B');
    is_int("size", 0x15141312);
    is_int("eflags", 1);
    counting("iex", '5', 30, b);
    is_int("side", 'S');
    is_price("price", (double)0x1d1c1b1a19181716 / 1e4);
    counting("iex", 'T', 38, b);
    is_int("type", 'T');
    is_int("tradeid", 0x2524232221201f1e);
    counting("iex", 'X', 26, b);
    is_null("size"), is_null("tradeid");
    is_price("price", (double)0x1918171615141312 / 1e4);
    counting("iex", 'P', 19, b);
    is_int("state", 1);
    is_int("detail", 0x12);
    counting("iex", 'H', 22, b);
    assert_memory_equal(field("reason")->s, "\x12\x13\x14\x15", 5);
    counting("iex", 'S', 10, b);
    is_int("state", 1);
    assert_string_equal(row.sym, "");
    counting("iex", 'A', 80, b);
    is_int("auction", 1);
    is_int("paired", 0x15141312);
    is_int("imbalance", 0x29282726);
    is_int("side", 0x2a);
    is_int("ext", 0x2b);
    is_int("auctime", 0x2f2e2d2cLL * 1000000000 - epoch);
    is_price("high", (double)0x4f4e4d4c4b4a4948 / 1e4);
    counting("iex", 'D', 31, b);
    is_int("roundlot", 0x15141312);
    is_int("luld", 0x1e);
    b[0] = '~';
    assert_int_equal(refdecode(&dec, "iex", b, 80, &row), 0);
    assert_int_equal(refdecode(&dec, "iex", b, 0, &row), 0);
    refdecode_close(&dec);
}

static void new_york(void **state)
{
    (void)state;
    const int64_t hour = INT64_C(3600000000000), d2020 = 7305 * DAY_NS;
    assert_int_equal(ref_midnight(2020, 1, 1), d2020 + 5 * hour);
    assert_int_equal(ref_midnight(2020, 3, 8), d2020 + (31 + 29 + 7) * DAY_NS + 5 * hour);
    assert_int_equal(ref_midnight(2020, 3, 9), d2020 + (31 + 29 + 8) * DAY_NS + 4 * hour);
    assert_int_equal(ref_midnight(2020, 11, 1), d2020 + 305 * DAY_NS + 4 * hour);
    assert_int_equal(ref_midnight(2020, 11, 2), d2020 + 306 * DAY_NS + 5 * hour);
}

/* ---- real data ---- */

static uint8_t *slurp(const char *name, size_t *len)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", data_dir, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    uint8_t *b = malloc(1 << 20);
    assert_non_null(b);
    *len = fread(b, 1, 1 << 20, f);
    fclose(f);
    return b;
}

static void is_count(const unsigned *n, const char *want) /* "A4758 D4083" */
{
    unsigned total = 0, sum = 0;
    for (int i = 0; i < 256; i++)
        total += n[i];
    for (const char *p = want; *p;) {
        char *end;
        unsigned k = (unsigned)strtoul(p + 1, &end, 10);
        if (n[(unsigned char)*p] != k)
            fail_msg("%c: %u, want %u", *p, n[(unsigned char)*p], k);
        sum += k;
        p = *end ? end + 1 : end;
    }
    assert_int_equal(total, sum);
}

struct live {
    int64_t ref, shares;
};

/* AAPL's book rebuilt from rows: every execution, cancel, delete and replace finds its order. */
static void real_itch_book(void **state)
{
    (void)state;
    NEED_DATA();
    size_t len, at = 0;
    uint8_t *b = slurp("itch50/itch_runk_locate13_10k.bin", &len);
    struct live *book = calloc(20000, sizeof *book);
    unsigned n[256] = {0}, orders = 0;
    int64_t last = 0;
    assert_true(refdecode_open(&dec, ref_midnight(2020, 1, 30)));
    while (at + 2 <= len) {
        unsigned size = (unsigned)b[at] << 8 | b[at + 1];
        assert_int_equal(refdecode(&dec, "itch", b + at + 2, size, &row), 1);
        at += 2 + size;
        n[(unsigned char)row.type]++;
        assert_string_equal(row.sym, "AAPL");
        is_int("locate", 13);
        assert_true(row.time >= last);
        last = row.time;
        int64_t since = row.time - dec.midnight;
        assert_true(since >= 3 * 3600 * INT64_C(1000000000) &&
                    since < 8 * 3600 * INT64_C(1000000000));
        if (strcmp(row.table, "itch_order") != 0)
            continue;
        int64_t ref = field("ref")->i;
        unsigned i = 0;
        while (i < orders && book[i].ref != ref)
            i++;
        if (row.type == 'A' || row.type == 'F') {
            assert_true(i == orders);
            assert_true(field("price")->f > 0 && field("side")->i != ' ');
            book[orders++] = (struct live){ref, field("shares")->i};
            continue;
        }
        assert_true(i < orders);
        if (row.type == 'U')
            book[i] = (struct live){field("newref")->i, field("shares")->i};
        else
            book[i].shares -= row.type == 'D' ? book[i].shares : field("shares")->i;
        assert_true(book[i].shares >= 0);
        if (book[i].shares == 0)
            book[i] = book[--orders];
    }
    is_count(n, "A4758 D4083 E849 P240 L52 U7 X6 F2 R1 H1 Y1");
    refdecode_close(&dec);
    free(book), free(b);
}

static void real_itch_directory(void **state)
{
    (void)state;
    NEED_DATA();
    size_t len, at = 0;
    unsigned n[256] = {0};
    uint8_t *b = slurp("itch50/itch_bbekele.itch", &len);
    assert_true(refdecode_open(&dec, 0));
    while (at + 2 <= len) {
        unsigned size = (unsigned)b[at] << 8 | b[at + 1];
        assert_int_equal(refdecode(&dec, "itch", b + at + 2, size, &row), 1);
        at += 2 + size;
        n[(unsigned char)row.type]++;
        if (row.type == 'R') {
            is_int("locate", (int64_t)n['R']); /* dense from 1 */
            assert_true(field("roundlot")->i >= 1 && field("roundlot")->i <= 1000);
            assert_non_null(strchr("QGSNAPZV ", (char)field("category")->i));
        }
    }
    is_count(n, "R993 H3 Y3 S1");
    refdecode_close(&dec);
    free(b);
}

/* UDP payload of a frame, or NULL. */
static const uint8_t *payload(const struct capture *c, unsigned *len)
{
    unsigned at = 12;
    const uint8_t *f = c->data;
    while (at + 2 < c->len && f[at] == 0x81 && f[at + 1] == 0)
        at += 4;
    if (at + 30 > c->len || f[at] != 8 || f[at + 1] != 0 || f[at + 11] != 17)
        return NULL;
    const uint8_t *udp = f + at + 2 + (f[at + 2] & 15) * 4;
    *len = ((unsigned)udp[4] << 8 | udp[5]) - 8;
    return udp + 8 + *len <= f + c->len ? udp + 8 : NULL;
}

static unsigned iex_file(const char *name, unsigned *n, unsigned *idle)
{
    char path[600];
    struct capture c;
    struct err e;
    unsigned len, messages = 0;
    snprintf(path, sizeof path, "%s/%s", data_dir, name);
    assert_true(capture_open(&c, path, &e));
    while (capture_next(&c, &e) > 0) {
        const uint8_t *p = payload(&c, &len);
        if (!p || len < 40 || p[0] != 1)
            continue;
        unsigned at = 40, count = le16(p + 14);
        *idle += count == 0;
        for (unsigned i = 0; i < count; i++) {
            unsigned size = le16(p + at);
            if (refdecode(&dec, "iex", p + at + 2, size, &row) != 1)
                fail_msg("%s: message %u of type %c, %u bytes", name, messages, p[at + 2], size);
            /* sent and happened within seconds of each other */
            int64_t sent = (int64_t)le64(p + 32) - 946684800000000000;
            if (row.type != 'D' && row.type != 'A')
                assert_true(llabs((long long)(sent - row.time)) < 3600 * INT64_C(1000000000));
            n[(unsigned char)row.type]++;
            messages++;
            at += 2 + size;
        }
        assert_int_equal(at, len);
    }
    capture_close(&c);
    return messages;
}

static void real_iex(void **state)
{
    (void)state;
    NEED_DATA();
    unsigned n[256] = {0}, idle = 0;
    assert_true(refdecode_open(&dec, 0));
    assert_int_equal(iex_file("iex/iex_TOPS16.pcapng.gz", n, &idle), 57674);
    assert_int_equal(idle, 237);
    is_count(n, "Q27217 H7803 P7802 O7801 T6390 A642 D10 S6 B3");
    memset(n, 0, sizeof n);
    idle = 0;
    /* the third packet is cut by the snap length: its messages are not whole */
    assert_true(iex_file("iex/iex_example1.pcap", n, &idle) > 0);
    static const struct {
        const char *file;
        char type;
    } omi[] = {{"Tops.IexTp.v1.5/AuctionInformationMessage", 'A'},
               {"Tops.IexTp.v1.5/OfficialPriceMessage", 'X'},
               {"Tops.IexTp.v1.5/OperationalHaltStatusMessage", 'O'},
               {"Tops.IexTp.v1.5/SecurityDirectoryMessage", 'D'},
               {"Tops.IexTp.v1.5/ShortSalePriceTestStatusMessage", 'P'},
               {"Tops.IexTp.v1.5/SystemEventMessage", 'S'},
               {"Tops.IexTp.v1.5/TradeReportMessage", 'T'},
               {"Tops.IexTp.v1.5/TradingStatusMessage", 'H'},
               {"Deep.IexTp.v1.0/PriceLevelBuyUpdateMessage", '8'},
               {"Deep.IexTp.v1.0/PriceLevelSellUpdateMessage", '5'}};
    for (size_t i = 0; i < sizeof omi / sizeof omi[0]; i++) {
        char name[200];
        memset(n, 0, sizeof n);
        snprintf(name, sizeof name, "iex/omi/%s.pcap", omi[i].file);
        iex_file(name, n, &idle);
        if (n[(unsigned char)omi[i].type] == 0)
            fail_msg("%s: no %c", name, omi[i].type);
    }
    refdecode_close(&dec);
}

/* Single-message captures of TotalView: each file holds the type it is named after. */
static void real_itch_packets(void **state)
{
    (void)state;
    NEED_DATA();
    static const char *const dirs[] = {"Nasdaq.Equities.TotalView.Itch.v5.0",
                                       "Nasdaq.Equities.TotalView.Itch.v5.0.20230822"};
    unsigned n[256] = {0}, files = 0;
    assert_true(refdecode_open(&dec, ref_midnight(2023, 8, 22)));
    for (int k = 0; k < 2; k++) {
        char path[900];
        snprintf(path, sizeof path, "%s/itch50/omi/%s", data_dir, dirs[k]);
        DIR *d = opendir(path);
        assert_non_null(d);
        for (struct dirent *x; (x = readdir(d));) {
            struct capture c;
            struct err e;
            unsigned len;
            if (!strstr(x->d_name, ".pcap"))
                continue;
            snprintf(path, sizeof path, "%s/itch50/omi/%s/%s", data_dir, dirs[k], x->d_name);
            assert_true(capture_open(&c, path, &e));
            while (capture_next(&c, &e) > 0) {
                const uint8_t *p = payload(&c, &len);
                if (!p)
                    continue;
                unsigned at = 20, count = (unsigned)p[18] << 8 | p[19];
                for (unsigned i = 0; i < count; i++) {
                    unsigned size = (unsigned)p[at] << 8 | p[at + 1];
                    if (refdecode(&dec, "itch", p + at + 2, size, &row) != 1)
                        fail_msg("%s: type %c, %u bytes", x->d_name, p[at + 2], size);
                    n[(unsigned char)row.type]++;
                    at += 2 + size;
                }
                assert_int_equal(at, len);
            }
            capture_close(&c);
            files++;
        }
        closedir(d);
    }
    assert_int_equal(files, 23);
    for (const char *t = "AFECXDUPQIHYLJS"; *t; t++)
        if (n[(unsigned char)*t] == 0)
            fail_msg("no %c in any file", *t);
    refdecode_close(&dec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(itch_by_hand),   cmocka_unit_test(itch_status_by_hand),
        cmocka_unit_test(iex_by_hand),    cmocka_unit_test(new_york),
        cmocka_unit_test(real_itch_book), cmocka_unit_test(real_itch_directory),
        cmocka_unit_test(real_iex),       cmocka_unit_test(real_itch_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
