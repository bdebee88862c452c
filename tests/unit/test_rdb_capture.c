/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real captures in the RDB: every message of them goes through the product's decoder into frames
 * and columns; then the second decoder (support/refdecode.h) goes over the same packets, and what
 * it says is looked up with the second reader of the memory (support/rdbread.h): row for row, every
 * column, the packet's included, and every symbol's list. Neither shares anything with the product.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include "core/rows.h"
#include "core/tables.h"
#include "decoder.h"
#include "packet.h"
#include "pcap_read.h"
#include "rdb.h"
#include "refdecode.h"
#include "support/data.h"
#include "support/rdbread.h"

#define MIDNIGHT   634003200000000000ll
#define UNIX_EPOCH (-946684800ll * 1000000000)
#define DAY        9000
enum { SYMBOLS = 65536, PARTS = 16 };

/* ---- the product's side: decoder, frames, RDB ---- */

static struct bed {
    struct rows rows;
    uint8_t *frame;
    uint64_t position;
    struct schema_set *set;
    const struct decoder_ops *ops;
    struct decode_env env;
    void *state;
    struct rdb *r;
    char (*text)[256];
    uint32_t texts;
    uint64_t taken, decoded;
} bed;

static void stage(void)
{
    bed.rows.base = bed.rows.at = bed.frame + FRAME_HEADER;
    bed.rows.limit = bed.rows.base + ROWS_FRAME_TARGET;
    bed.rows.records = 0;
    bed.rows.head = NULL;
}

static void op_flush(struct rows *r)
{
    rows_close_run(r);
    if (r->records) {
        struct frame *f = (struct frame *)bed.frame;
        *f = (struct frame){.length = (uint32_t)(r->at - bed.frame),
                            .position = bed.position,
                            .time = (int64_t)bed.position,
                            .kind = FRAME_DATA,
                            .count = (uint16_t)r->records,
                            .day = r->frame_day};
        bed.position += f->length;
        bed.taken += rdb_append(bed.r, bed.set, f);
    }
    stage();
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    (void)r;
    for (uint32_t i = 0; i < bed.texts; i++)
        if (strlen(bed.text[i]) == len && !memcmp(bed.text[i], text, len))
            return i;
    if (bed.texts == SYMBOLS || len > 255)
        return SYMBOL_REFUSED;
    memcpy(bed.text[bed.texts], text, len);
    bed.text[bed.texts][len] = 0;
    return bed.texts++;
}

static const struct rows_ops sink = {.flush = op_flush, .intern = op_intern};

static void open_bed(const char *decoder)
{
    struct err err;
    memset(&bed, 0, sizeof bed);
    bed.frame = aligned_alloc(64, FRAME_MAX);
    bed.set = schema_set_new();
    bed.text = calloc(SYMBOLS, sizeof *bed.text);
    bed.ops = decoder_find(decoder);
    assert_true(bed.frame && bed.set && bed.text && bed.ops);
    bed.position = 4096;
    bed.rows.ops = &sink;
    stage();
    for (unsigned i = 0; i < bed.ops->ntables; i++) {
        const struct decoder_table *t = &bed.ops->tables[i];
        struct schema s;
        bool fresh;
        assert_true(schema_make(&s, 0, t->name, true, t->cols, t->ncols, &err));
        bed.env.table[i] = schema_set_intern(bed.set, &s, &fresh, &err);
        assert_non_null(bed.env.table[i]);
    }
    assert_true(decoder_bind(bed.ops, bed.env.table, &err));
    bed.env.midnight = MIDNIGHT;
    bed.state = calloc(1, bed.ops->state_bytes);
    bed.ops->init(bed.state);
    struct rdb_config c = {.bytes = 256 << 20, .symbols_max = SYMBOLS};
    bed.r = rdb_create(&c, &err);
    if (!bed.r)
        fail_msg("%s", err.text);
}

static void close_bed(void)
{
    rdb_close(bed.r);
    schema_set_free(bed.set);
    free(bed.frame);
    free(bed.text);
    free(bed.state);
}

/* ---- the other side ---- */

static struct refdecode ref;
static struct rdbread in;
static struct rdbread_part part[PARTS];
static uint32_t next_row[PARTS];
static const char *protocol;

static unsigned part_of(const char *table)
{
    for (unsigned i = 0; i < PARTS; i++)
        if (!strcmp(part[i].name, table))
            return i;
    fail_msg("no part of table %s", table);
    return 0;
}

static unsigned column_of(unsigned p, const char *name)
{
    for (unsigned i = 0; i < part[p].columns; i++)
        if (!strcmp(part[p].col[i].name, name))
            return i;
    fail_msg("%s has no column %s", part[p].name, name);
    return 0;
}

static const uint8_t *cell(unsigned p, const char *name, uint32_t *len)
{
    const uint8_t *at = rdbread_value(&in, &part[p], next_row[p], column_of(p, name), len);
    if (!at)
        fail_msg("%s has no row %u", part[p].name, next_row[p]);
    return at;
}

static int64_t whole(unsigned p, const char *name)
{
    uint32_t len;
    const uint8_t *at = cell(p, name, &len);
    switch (len) {
    case 1:
        return *at;
    case 4:
        return (int32_t)le32(at);
    default:
        return (int64_t)le64(at);
    }
}

static const char *text(unsigned p, const char *name)
{
    uint32_t len, id = le32(cell(p, name, &len));
    return id == 0xFFFFFFFFu ? "" : id < bed.texts ? bed.text[id] : "?";
}

static bool same(unsigned p, const struct ref_value *w)
{
    if (w->kind == 's')
        return !strcmp(text(p, w->name), w->null ? "" : w->s);
    if (w->kind == 'f') {
        double d;
        uint32_t len;
        memcpy(&d, cell(p, w->name, &len), sizeof d);
        return w->null ? d != d : d == w->f;
    }
    int64_t null = w->kind == 'c' ? ' ' : w->kind == 'i' ? INT32_MIN : INT64_MIN;
    bool is_null = w->null || (!strcmp(w->name, "auctime") && w->i == UNIX_EPOCH);
    return whole(p, w->name) == (is_null ? null : w->i);
}

/* ---- one message, in either pass ---- */

struct packet_facts {
    int64_t rxtime;
    uint64_t seq;
    uint32_t line;
    bool second; /* the pass */
};

static void message(const struct packet_facts *f, const uint8_t *m, uint32_t len)
{
    if (!f->second) {
        struct run run = {.seq = f->seq,
                          .rxtime = f->rxtime,
                          .feed = op_intern(NULL, "a feed", 6),
                          .session = op_intern(NULL, "a session", 9),
                          .line = f->line ? op_intern(NULL, "line B", 6) : PST_NULL_SYMBOL,
                          .day = DAY,
                          .quality = CLOCK_CAPTURE};
        rows_run(&bed.rows, &run);
        assert_int_equal(bed.ops->decode(bed.state, &bed.env, m, len, &bed.rows), DECODE_ROW);
        bed.decoded++;
        return;
    }
    static struct ref_row want;
    assert_int_equal(refdecode(&ref, protocol, m, len, &want), 1);
    unsigned p = part_of(want.table);
    if (strcmp(text(p, "sym"), want.sym) || whole(p, "time") != want.time ||
        whole(p, "rxtime") != f->rxtime || whole(p, "seq") != (int64_t)f->seq ||
        strcmp(text(p, "feed"), "a feed") || strcmp(text(p, "session"), "a session") ||
        strcmp(text(p, "line"), f->line ? "line B" : "") || whole(p, "flags") & ~ROW_END_OF_EVENT)
        fail_msg("%s row %u: sym, time or the packet's columns", want.table, next_row[p]);
    assert_int_equal(part[p].columns, SCHEMA_FEED_COLUMNS + want.n);
    for (unsigned i = 0; i < want.n; i++)
        if (!same(p, &want.v[i]))
            fail_msg("%s row %u: column %s", want.table, next_row[p], want.v[i].name);
    next_row[p]++;
}

/* ---- captures ---- */

static void capture(const char *path, bool second, uint64_t *seq)
{
    struct err err;
    struct pcap_reader *r = pcap_read_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    bool itch = !strcmp(protocol, "itch");
    struct pcap_packet k;
    int rc;
    while ((rc = pcap_read_next(r, &k, &err)) == 1) {
        struct pkt p = {.data = k.data, .len = k.len, .wire_len = k.len};
        struct udp_view v;
        if (packet_parse(&p, &v) != DROP_none)
            continue;
        uint32_t at = itch ? 20 : 40;
        uint32_t count = itch ? be16(v.payload + 18) : le16(v.payload + 14);
        struct packet_facts f = {
            .rxtime = (int64_t)*seq * 1000 + 7, .line = *seq % 3 == 0, .second = second};
        for (; count; count--) {
            uint32_t len = itch ? be16(v.payload + at) : le16(v.payload + at);
            f.seq = ++*seq;
            message(&f, v.payload + at + 2, len);
            at += 2 + len;
        }
    }
    assert_int_equal(rc, 0);
    pcap_read_close(r);
}

static void captures_of(const char *folder, bool second, uint64_t *seq)
{
    char path[PATH_MAX], file[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s", data_path(folder));
    struct dirent **list;
    int n = scandir(path, &list, NULL, alphasort);
    if (n < 0)
        fail_msg("no folder %s", path);
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
        if (strstr(list[i]->d_name, ".pcap"))
            capture(file, second, seq);
        free(list[i]);
    }
    free(list);
}

/* Messages with a length in front; a packet each 1 to 40 of them. */
static void length_prefixed(const char *name, bool second, uint64_t *seq)
{
    FILE *file = fopen(data_path(name), "rb");
    if (!file)
        fail_msg("capture %s is missing", data_path(name));
    uint8_t head[2], body[65536];
    struct packet_facts f = {.second = second};
    uint32_t left = 0, packets = 0;
    while (fread(head, 1, 2, file) == 2) {
        uint32_t len = be16(head);
        assert_int_equal(fread(body, 1, len, file), len);
        if (!left) {
            left = packets++ * 7 % 40 + 1;
            f.rxtime = (int64_t)*seq * 1000 + 7;
            f.line = packets % 2;
        }
        left--;
        f.seq = ++*seq;
        message(&f, body, len);
    }
    fclose(file);
}

/* Every row of every part was met, and each stands in its symbol's list, once and in order. */
static void complete(void)
{
    uint64_t rows = 0;
    for (unsigned i = 0; i < in.parts; i++) {
        assert_int_equal(next_row[i], part[i].rows);
        rows += part[i].rows;
        uint32_t *list = malloc((part[i].rows + 1) * sizeof *list), listed = 0, len;
        for (uint32_t s = 0; s <= bed.texts; s++) {
            uint32_t id = s < bed.texts ? s : 0xFFFFFFFFu;
            uint32_t n = rdbread_list(&in, &part[i], id, list, part[i].rows);
            for (uint32_t j = 0; j < n; j++) {
                assert_true(!j || list[j] > list[j - 1]);
                assert_int_equal(le32(rdbread_value(&in, &part[i], list[j], 1, &len)), id);
            }
            listed += n;
        }
        assert_int_equal(listed, part[i].rows);
        free(list);
    }
    assert_int_equal(rows, bed.decoded);
    assert_int_equal(rows, bed.taken);
    print_message("%llu rows of %u tables, %u symbols\n", (unsigned long long)rows, in.parts,
                  bed.texts);
}

static void both_passes(const char *decoder, const char *proto, void (*go)(bool, uint64_t *))
{
    uint64_t seq = 0;
    open_bed(decoder);
    protocol = proto;
    go(false, &seq);
    op_flush(&bed.rows);
    rdb_publish(bed.r);
    assert_true(refdecode_open(&ref, MIDNIGHT));
    assert_true(rdbread_open(&in, rdb_fd(bed.r)));
    memset(part, 0, sizeof part);
    memset(next_row, 0, sizeof next_row);
    assert_true(in.parts > 0 && in.parts <= PARTS);
    for (unsigned i = 0; i < in.parts; i++)
        assert_true(rdbread_part(&in, i, &part[i]));
    seq = 0;
    go(true, &seq);
    complete();
    rdbread_close(&in);
    refdecode_close(&ref);
    close_bed();
}

static void go_itch(bool second, uint64_t *seq)
{
    length_prefixed("itch50/itch_runk_locate13_10k.bin", second, seq);
    length_prefixed("itch50/itch_bbekele.itch", second, seq);
    captures_of("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0", second, seq);
    captures_of("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822", second, seq);
}
static void go_iex(bool second, uint64_t *seq)
{
    capture(data_path("iex/iex_TOPS16.pcapng.gz"), second, seq);
    captures_of("iex/omi/Deep.IexTp.v1.0", second, seq);
    captures_of("iex/omi/Tops.IexTp.v1.5", second, seq);
    capture(data_path("iex/iex_example1.pcap"), second, seq);
}

static void itch(void **state)
{
    (void)state;
    DATA_OR_SKIP("ITCH 5.0 captures");
    both_passes("itch50", "itch", go_itch);
}
static void iex(void **state)
{
    (void)state;
    DATA_OR_SKIP("IEX captures");
    both_passes("iex", "iex", go_iex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(itch), cmocka_unit_test(iex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
