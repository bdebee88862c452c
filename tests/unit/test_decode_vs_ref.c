/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoders against the second decoder (support/refdecode.h), which shares nothing with them:
 * every field of every message of every real capture, and of random messages of all types, read
 * back through the records by schema. Counts are those of the captures' manifest.
 */
#include <dirent.h>
#include "support/decodebed.h"
#include "support/data.h"
#include "refdecode.h"
#include "packet.h"
#include "pcap_read.h"

#define MIDNIGHT   634003200000000000ll
#define UNIX_EPOCH (-946684800ll * 1000000000)

struct tally {
    uint64_t rows, unknown, by_type[256];
};

static struct decodebed bed;
static struct refdecode ref;
static const char *protocol;
static struct tally tally;
static char where[64];

static void open_both(const char *decoder, const char *proto)
{
    decodebed_open(&bed, decoder, MIDNIGHT);
    assert_true(refdecode_open(&ref, MIDNIGHT));
    protocol = proto;
    memset(&tally, 0, sizeof tally);
}

static void close_both(void)
{
    decodebed_close(&bed);
    refdecode_close(&ref);
}

static void same_value(const struct fakerow *r, unsigned column, const struct ref_value *w)
{
    const struct column *c = &r->schema->col[column];
    const char *name = c->name;
    bool null = w->null;
    if (!strcmp(name, "auctime") && w->i == UNIX_EPOCH)
        null = true; /* the wire's 0 */
    bool same;
    if (null || fakerow_null(r, column))
        same = null == fakerow_null(r, column);
    else if (c->type == PST_SYMBOL)
        same = w->kind == 's' && !strcmp(fakerow_text(bed.f, r, name), w->s);
    else if (c->type == PST_FLOAT)
        same = w->kind == 'f' && fakerow_float(r, name) == w->f;
    else
        same = w->kind == type_letter(c->type) && fakerow_long(r, name) == w->i;
    if (!same)
        fail_msg("%s: %s.%s differs", where, r->schema->name, name);
}

static void compare(const uint8_t *m, uint32_t len)
{
    static struct ref_row want;
    int is = refdecode(&ref, protocol, m, len, &want);
    enum decode got = decodebed_put(&bed, m, len);
    snprintf(where, sizeof where, "%s type 0x%02x length %u row %llu", protocol, len ? m[0] : 0,
             len, (unsigned long long)tally.rows);
    if (is != 1) {
        tally.unknown++;
        assert_int_equal(got, is < 0 || !len ? DECODE_LENGTH : DECODE_UNKNOWN);
        return;
    }
    if (got != DECODE_ROW)
        fail_msg("%s: outcome %d", where, got);
    const struct fakerow *r = decodebed_row(&bed, want.table);
    if (strcmp(fakerow_text(bed.f, r, "sym"), want.sym))
        fail_msg("%s: sym %s, not %s", where, fakerow_text(bed.f, r, "sym"), want.sym);
    assert_int_equal(r->record->time, want.time);
    assert_int_equal(r->schema->ncols, SCHEMA_FEED_COLUMNS + want.n);
    for (unsigned i = 0; i < want.n; i++) {
        assert_string_equal(r->schema->col[SCHEMA_FEED_COLUMNS + i].name, want.v[i].name);
        same_value(r, SCHEMA_FEED_COLUMNS + i, &want.v[i]);
    }
    bool end = strcmp(protocol, "iex") == 0 && strchr("85", want.type) && m[1] & 1;
    assert_int_equal(!!(r->packet.flags & ROW_END_OF_EVENT), end);
    tally.rows++;
    tally.by_type[m[0]]++;
    if (bed.f->nrows >= 64)
        fakerows_clear(bed.f);
}

/* After a clear the open run is gone: say again what the rows to come have in common. */
static void compare_next(const uint8_t *m, uint32_t len)
{
    rows_run(&bed.f->rows, &(struct run){.seq = tally.rows + tally.unknown + 1, .day = 9000});
    compare(m, len);
}

static void length_prefixed(const char *name)
{
    FILE *f = fopen(data_path(name), "rb");
    if (!f)
        fail_msg("capture %s is missing", data_path(name));
    uint8_t head[2], body[65536];
    while (fread(head, 1, 2, f) == 2) {
        uint32_t len = be16(head);
        assert_int_equal(fread(body, 1, len, f), len);
        compare_next(body, len);
    }
    fclose(f);
}

/* Every message of every packet of one capture: MoldUDP64 or IEX-TP by the protocol. */
static unsigned capture(const char *path)
{
    struct err err;
    struct pcap_reader *r = pcap_read_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    bool itch = !strcmp(protocol, "itch");
    struct pcap_packet k;
    unsigned packets = 0;
    int rc;
    while ((rc = pcap_read_next(r, &k, &err)) == 1) {
        struct pkt p = {.data = k.data, .len = k.len, .wire_len = k.len}; /* also a cut packet */
        struct udp_view v;
        if (packet_parse(&p, &v) != DROP_none) {
            p.wire_len = k.wire_len;
            assert_int_equal(packet_parse(&p, &v), DROP_truncated);
            continue;
        }
        uint32_t header = itch ? 20 : 40, at = header;
        assert_true(v.payload_len >= header);
        uint32_t count = itch ? be16(v.payload + 18) : le16(v.payload + 14);
        packets++;
        for (; count; count--) {
            assert_true(at + 2 <= v.payload_len);
            uint32_t len = itch ? be16(v.payload + at) : le16(v.payload + at);
            at += 2;
            assert_true(at + len <= v.payload_len);
            compare_next(v.payload + at, len);
            at += len;
        }
        assert_int_equal(at, v.payload_len);
    }
    assert_int_equal(rc, 0);
    pcap_read_close(r);
    return packets;
}

static unsigned captures_of(const char *folder)
{
    char path[PATH_MAX], file[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s", data_path(folder));
    struct dirent **list;
    int n = scandir(path, &list, NULL, alphasort);
    if (n < 0)
        fail_msg("no folder %s", path);
    unsigned packets = 0;
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
        if (strstr(list[i]->d_name, ".pcap"))
            packets += capture(file);
        free(list[i]);
    }
    free(list);
    return packets;
}

static void tally_is(const char *want)
{
    char text[512] = "";
    for (int c = 0; c < 256; c++)
        if (tally.by_type[c])
            sprintf(text + strlen(text), "%c%llu ", c, (unsigned long long)tally.by_type[c]);
    sprintf(text + strlen(text), "unknown%llu", (unsigned long long)tally.unknown);
    assert_string_equal(text, want);
}

static void itch_files(void **s)
{
    (void)s;
    DATA_OR_SKIP("ITCH 5.0 message files");
    open_both("itch50", "itch");
    length_prefixed("itch50/itch_runk_locate13_10k.bin");
    tally_is("A4758 D4083 E849 F2 H1 L52 P240 R1 U7 X6 Y1 unknown0");
    close_both();
    open_both("itch50", "itch");
    length_prefixed("itch50/itch_bbekele.itch");
    tally_is("H3 R993 S1 Y3 unknown0");
    close_both();
}

static void itch_captures(void **s)
{
    (void)s;
    DATA_OR_SKIP("ITCH 5.0 captures");
    open_both("itch50", "itch");
    unsigned packets = captures_of("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0");
    packets += captures_of("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822");
    print_message("%u packets, %llu rows, %llu not decoded\n", packets,
                  (unsigned long long)tally.rows, (unsigned long long)tally.unknown);
    assert_int_equal(tally.unknown, 0);
    for (const char *t = "AFECXDUPQIHLSJY"; *t; t++) /* one file each */
        if (!tally.by_type[(uint8_t)*t])
            fail_msg("no message of type %c", *t);
    close_both();
}

static void iex_captures(void **s)
{
    (void)s;
    DATA_OR_SKIP("IEX captures");
    open_both("iex", "iex");
    assert_int_equal(capture(data_path("iex/iex_TOPS16.pcapng.gz")), 13022);
    assert_int_equal(tally.rows, 57674);
    tally_is("A642 B3 D10 H7803 O7801 P7802 Q27217 S6 T6390 unknown0");
    close_both();
    open_both("iex", "iex");
    captures_of("iex/omi/Deep.IexTp.v1.0");
    captures_of("iex/omi/Tops.IexTp.v1.5");
    capture(data_path("iex/iex_example1.pcap"));
    assert_int_equal(tally.unknown, 0);
    for (const char *t = "85AXODPSTH"; *t; t++) /* one file each */
        if (!tally.by_type[(uint8_t)*t])
            fail_msg("no message of type %c", *t);
    close_both();
}

/* ---- random messages ---- */

static uint64_t seed;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void random_text(uint8_t *p, unsigned width)
{
    unsigned n = (unsigned)(next() % (width + 1));
    for (unsigned i = 0; i < width; i++)
        p[i] = i < n ? (uint8_t)("ABCXYZ.-"[next() % 8]) : ' ';
    if (width == 8)
        p[0] = 'S'; /* a stock is not blank */
}

/* Where random bytes would be no sane message: text, and prices beyond 2^53, which the second
 * decoder does not round correctly. */
static void make_itch(uint8_t *m)
{
    static const char types[] = "AAAAAADDDDDDUUEECXFPQBIRLSHYVWKJhNOz";
    m[0] = (uint8_t)types[next() % (sizeof types - 1)];
    m[1] = 0;
    m[2] = (uint8_t)(next() % 40);
    unsigned at = strchr("AFP", m[0])        ? 24
                  : m[0] == 'Q'              ? 19
                  : m[0] == 'I'              ? 28
                  : m[0] == 'L'              ? 15
                  : strchr("RHYKJhNO", m[0]) ? 11
                                             : 0;
    if (at)
        random_text(m + at, 8);
    if (m[0] == 'F')
        random_text(m + 36, 4);
    if (m[0] == 'L')
        random_text(m + 11, 4);
    if (m[0] == 'H')
        random_text(m + 21, 4);
    if (m[0] == 'R')
        random_text(m + 27, 2);
    if (m[0] == 'V')
        memset(m + 11, 0, 2), memset(m + 19, 0, 2), memset(m + 27, 0, 2);
    if (m[0] == 'O')
        m[32] = 0;
}

static void make_iex(uint8_t *m)
{
    static const char types[] = "QQQQ88885555TTBXSHHIOPEADz";
    m[0] = (uint8_t)types[next() % (sizeof types - 1)];
    m[9] = 0x15; /* of the time */
    random_text(m + 10, 8);
    if (m[0] == 'H')
        random_text(m + 18, 4);
    static const uint8_t price[][2] = {{'Q', 22}, {'Q', 30}, {'8', 22}, {'5', 22}, {'T', 22},
                                       {'B', 22}, {'X', 18}, {'D', 22}, {'A', 22}, {'A', 30},
                                       {'A', 48}, {'A', 56}, {'A', 64}, {'A', 72}};
    for (unsigned i = 0; i < PST_COUNT(price); i++)
        if (price[i][0] == m[0]) { /* sign-extended 48 bits */
            uint8_t *p = m + price[i][1];
            p[6] = p[7] = p[5] & 0x80 ? 0xFF : 0;
        }
    if (m[0] == 'A' && next() % 4 == 0)
        memset(m + 44, 0, 4);
}

static void random_messages(const char *decoder, const char *proto, void (*make)(uint8_t *))
{
    open_both(decoder, proto);
    seed = 0x123456789ABCDEFull;
    for (int i = 0; i < 50000; i++) {
        uint8_t m[96];
        for (unsigned k = 0; k < sizeof m; k += 8)
            put64(m + k, next());
        make(m);
        compare_next(m, next() % 8 ? 80 + (uint32_t)(next() % 16) : (uint32_t)(next() % 80));
    }
    assert_true(tally.rows > 40000 && tally.unknown > 1000);
    close_both();
}

static void random_itch(void **s)
{
    (void)s;
    random_messages("itch50", "itch", make_itch);
}
static void random_iex(void **s)
{
    (void)s;
    random_messages("iex", "iex", make_iex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(itch_files),   cmocka_unit_test(itch_captures),
        cmocka_unit_test(iex_captures), cmocka_unit_test(random_itch),
        cmocka_unit_test(random_iex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
