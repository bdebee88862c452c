/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors and feeds on hostile packets. Input: 4 bytes of options (framing, lines, limits,
 * flags), then packets: line u8, time step u8 (in 100 us), length u16 LE, bytes. A capture or any
 * other file works too: it then is one stream of odd packets.
 *
 * Beyond "no fault": the conservation rule of every line and the ledger of every session hold, the
 * window keeps its limits, and both parsers agree.
 */
#include "feed.h"
#include "core/tables.h"
#include "support/feedframings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct status *status;
static struct schema undecoded;
static uint64_t seqs, gap_seqs;

/* A sink that only counts what the runs and gap rows say. */
static void op_flush(struct rows *r)
{
    rows_close_run(r);
    const uint8_t *at = r->base;
    const struct packet_record *p;
    bool bad = false;
    while ((p = packet_hop(&at, r->at, &bad)))
        seqs += p->seqs;
    pst_must(!bad);
    r->at = r->base;
    r->records = 0;
}
static uint32_t op_intern(struct rows *r, const char *t, uint32_t n)
{
    (void)r;
    pst_must(n && n < 256 && !memchr(t, 0, n));
    return n;
}
static void op_gap(struct rows *r, const struct gap *g)
{
    (void)r;
    pst_must(g->first <= g->last && memchr(g->lines, 0, sizeof g->lines));
    gap_seqs += g->last - g->first + 1;
}
static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    (void)r;
    (void)type;
    pst_must(strlen(json) == len);
    for (uint32_t i = 0; i < len; i++)
        pst_must(json[i] >= ' ' && json[i] < 0x7f);
}
static uint64_t room;
static uint64_t op_room(struct rows *r)
{
    (void)r;
    return room;
}
static const struct rows_ops ops = {op_flush, op_intern, op_gap, op_mark, op_room};

static void check(void)
{
    const struct status_feed *f = &status->feeds[0];
    uint64_t decided = 0;
    for (unsigned i = 0; i < f->nlines; i++) {
        const struct status_line *l = &f->line[i];
        pst_must(l->messages == l->accepted + l->duplicate + l->late + l->old + l->unsequenced +
                                    l->held + l->dropped);
    }
    for (unsigned i = 0; i < status->n_sessions; i++)
        decided += status->sessions[i].next - status->sessions[i].first;
    pst_must(gap_seqs == f->gap_seqs);
    pst_must(status->n_sessions == STATUS_SESSIONS || seqs + gap_seqs - f->late_seqs == decided);
    pst_must(f->window_packets <= 32 && f->window_bytes <= 8192);
}

static void parsers_agree(const struct framing *f, const uint8_t *p, uint32_t n)
{
    static uint16_t a[FRAMING_MESSAGES + 1], b[FRAMING_MESSAGES + 1];
    struct packet_view v, w;
    framing_parse(f, p, n, &v, a);
    framing_code_generic.header(f, p, n, &w);
    if (w.kind == PACKET_DATA || w.kind == PACKET_UNSEQUENCED)
        framing_code_generic.walk(f, &w, b);
    pst_must(v.kind == w.kind && v.reason == w.reason);
    if (v.kind == PACKET_MALFORMED)
        return;
    pst_must(v.seq == w.seq && v.count == w.count && v.seqs == w.seqs && v.bytes == w.bytes);
    if (v.kind == PACKET_DATA && f->messages == MESSAGES_LENGTH)
        pst_must(a[v.count] == v.bytes && !memcmp(a, b, (v.count + 1) * sizeof *a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *stage;
    if (!status) {
        struct err e;
        status = status_create("fuzz", &e);
        stage = aligned_alloc(64, FRAME_MAX);
        pst_must(status && stage && tables_undecoded(&undecoded, &e));
        undecoded.id = 2;
    }
    if (size < 4)
        return 0;
    unsigned kind = data[0] % 18;
    struct feed_config c = {
        .name = "fuzz",
        .framing = kind < 5 ? framing_at(kind) : &test_framings[kind - 5],
        .nlines = 1 + data[1] % 3,
        .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}, {"R", LINE_RETRANSMISSION}},
        .window_count = 32,
        .window_bytes = 8192,
        .reorder_ns = data[2] & 1 ? -1 : data[2] * 1000,
        .open_gaps = 4,
        .max_sessions = 3,
        .history_bytes = 1,
        .jump_limit = data[2] & 2 ? 0 : UINT64_MAX,
        .fixed_date = data[3] & 1 ? 9000 : -1};
    memset(status->feeds, 0, sizeof status->feeds[0]);
    memset(status->sessions, 0, sizeof status->sessions[0] * status->n_sessions);
    status->n_sessions = 0;
    seqs = gap_seqs = 0;
    struct feed *f = feed_open(&c, status, 0, NULL);
    pst_must(f);
    struct rows rows = {.base = stage,
                        .at = stage,
                        .limit = stage + ROWS_FRAME_TARGET,
                        .ops = &ops,
                        .undecoded = &undecoded};
    int64_t now = 9000 * NS_PER_DAY;
    unsigned commands = data[3] >> 1;
    data += 4;
    size -= 4;
    for (unsigned n = 0; size >= 4 && n < 2000; n++) {
        unsigned line = data[0] % c.nlines;
        uint32_t len = le16(data + 2);
        now += data[1] * 100 * NS_PER_US;
        if (data[1] == 255)
            now += NS_PER_DAY / 2;
        room = data[0] & 0x80 ? 4096 : 1u << 30;
        data += 4;
        size -= 4;
        if (len > size)
            len = (uint32_t)size;
        parsers_agree(c.framing, data, len);
        feed_packet(f, line, data, len, now, CLOCK_CAPTURE, &rows);
        if (commands && n % 32 == commands % 32)
            feed_command(f, (enum feed_command)(n / 32 % 5), n % c.nlines, now, &rows);
        data += len;
        size -= len;
    }
    room = 1u << 30;
    pst_must(feed_flush(f, now, &rows));
    op_flush(&rows);
    check();
    feed_close(f);
    return 0;
}
