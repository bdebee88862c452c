/* SPDX-License-Identifier: Apache-2.0 */
/* Lines, gaps, sessions: each rule of feed.h and each trap of the protocols page that is its. */
#include "feed_kit.h"
#include "support/feedframings.h"
#include "support/feedwire.h"

static struct feed *feed;
static struct wire_packet pkt;
static int64_t now; /* receive time of the next packet */

#define US NS_PER_US
#define MS NS_PER_MS

static struct feed_config config(const char *framing, unsigned lines)
{
    struct feed_config c = {.name = "test",
                            .framing = test_framing(framing),
                            .nlines = lines,
                            .line = {{"A", 0}, {"B", 0}, {"C", 0}},
                            .reorder_ns = -1,
                            .fixed_date = -1};
    return c;
}

static void start_config(const struct feed_config *c)
{
    struct err e = {0};
    memset(status->feeds, 0, sizeof status->feeds);
    memset(status->sessions, 0, sizeof status->sessions);
    status->n_sessions = 0;
    fake_open(&fake);
    feed = feed_open(c, status, 0, &e);
    if (!feed)
        fail_msg("%s", e.text);
    now = 9000 * NS_PER_DAY + 10 * 3600 * NS_PER_S;
}
static void start(const char *framing, unsigned lines)
{
    struct feed_config c = config(framing, lines);
    start_config(&c);
}
static void stop(void)
{
    feed_close(feed);
    fake_close(&fake);
}

static void send(unsigned line)
{
    feed_packet(feed, line, pkt.b, pkt.n, now, CLOCK_TSC, &fake.rows);
    now += 10 * US;
}
static void mold(unsigned line, const char *session, uint64_t seq, unsigned count)
{
    wire_mold(&pkt, session, seq, count, 0);
    send(line);
}
static void wait_ns(int64_t ns)
{
    now += ns;
    feed_poll(feed, now, &fake.rows);
}

/* The output as one line: "5-9 gap:lost:10-11 12! late:10 mark:begin" */
static char said[65536];
static const char *output(void)
{
    fake_flush(&fake);
    size_t at = 0;
    said[0] = 0;
#define SAY(...) at += (size_t)snprintf(said + at, sizeof said - at, __VA_ARGS__)
    for (size_t i = 0; i < fake.n; i++) {
        const struct fake_event *e = &fake.event[i];
        if (at)
            SAY(" ");
        if (e->kind == FAKE_MARK) {
            const char *p = strstr(e->mark.json, "\"event\":\"") + 9;
            const char *s = strstr(e->mark.json, "\"session\":\"") + 11;
            SAY("%.*s(%.*s)", (int)strcspn(p, "\""), p, (int)strcspn(s, "\""), s);
        } else if (e->kind == FAKE_GAP) {
            SAY("gap:%s:%llu-%llu", e->gap.reason, (unsigned long long)e->gap.first,
                (unsigned long long)e->gap.last);
        } else {
            const struct fake_row *r = &e->row;
            if (r->flags & ROW_LATE)
                SAY("late:");
            if (r->flags & ROW_DIVERGENT)
                SAY("divergent:");
            if (r->flags & ROW_RECOVERED)
                SAY("recovered:");
            if (r->flags & ROW_AFTER_GAP)
                SAY("after:");
            if (r->seq == PST_NULL_LONG) {
                SAY("%s", fake_text(&fake, r->reason));
                continue;
            }
            int64_t to = r->seq;
            uint32_t mask = ROW_FLAG_MASK & ~(uint32_t)ROW_AFTER_GAP;
            while (i + 1 < fake.n && fake.event[i + 1].kind == FAKE_ROW &&
                   fake.event[i + 1].row.seq == to + 1 &&
                   fake.event[i + 1].row.session == r->session &&
                   (fake.event[i + 1].row.flags & mask) == (r->flags & mask) &&
                   !(fake.event[i + 1].row.flags & ROW_AFTER_GAP))
                i++, to++;
            if (to == r->seq)
                SAY("%lld", (long long)r->seq);
            else
                SAY("%lld-%lld", (long long)r->seq, (long long)to);
        }
    }
#undef SAY
    return said;
}
#define EXPECT(text) assert_string_equal(output(), text)

static struct status_line *line(unsigned i)
{
    return &status->feeds[0].line[i];
}
static struct status_session *session(unsigned i)
{
    return &status->sessions[i];
}

/* status.h: received = accepted + duplicate + late + old + unsequenced + held + dropped; and the
 * ledger of each session. */
static void conserved(void)
{
    uint64_t rows = 0, late = 0, unseq = 0, accepted = 0;
    for (unsigned i = 0; i < status->feeds[0].nlines; i++) {
        struct status_line *l = line(i);
        assert_int_equal(l->messages, l->accepted + l->duplicate + l->late + l->old +
                                          l->unsequenced + l->held + l->dropped);
        assert_int_equal(l->first, l->accepted + l->late);
        accepted += l->accepted;
        late += l->late;
        unseq += l->unsequenced;
    }
    struct status_feed *f = &status->feeds[0];
    rows = f->decoded + f->undecoded_unknown + f->undecoded_length + f->undecoded_symbol +
           f->undecoded_whole;
    assert_int_equal(f->messages, rows);
    assert_int_equal(f->messages, accepted + late + unseq);
    uint64_t decided = 0;
    for (unsigned i = 0; i < status->n_sessions; i++) {
        decided += session(i)->next - session(i)->first;
        assert_true(session(i)->high >= session(i)->next || session(i)->high == 0);
        assert_int_equal(session(i)->waiting, session(i)->high - session(i)->next);
    }
    fake_flush(&fake);
    /* What a ledger counts in the frames, against where the feed says it stands. */
    assert_int_equal(fake.seqs_total + f->gap_seqs - f->late_seqs, decided);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void test_clean_two_lines(void **state)
{
    (void)state;
    start("moldudp64", 2);
    for (uint64_t s = 1; s < 100; s += 3) {
        mold(0, "S1", s, 3);
        mold(1, "S1", s, 3);
    }
    EXPECT("begin(S1) 1-99");
    assert_int_equal(line(0)->accepted, 99);
    assert_int_equal(line(1)->duplicate, 99);
    assert_int_equal(line(1)->lag_n, 33);
    assert_int_equal(line(1)->lag_sum, 33 * 10 * US);
    assert_int_equal(session(0)->high, 100);
    assert_int_equal(line(1)->divergent, 0);
    conserved();
    /* every row is the message that has this number */
    for (size_t i = 1; i < fake.n; i++) {
        uint8_t m[64];
        uint32_t n = wire_message((uint64_t)fake.event[i].row.seq, 0, m);
        assert_int_equal(fake.event[i].row.len, n);
        assert_true(fake.event[i].row.hash == fake_hash(m, n));
        assert_string_equal(fake_text(&fake, fake.event[i].row.line), "A");
    }
    stop();
}

static void test_other_line_fills(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 10, 3); /* A lost 4-9 */
    assert_int_equal(status->feeds[0].window_packets, 1);
    assert_int_equal(session(0)->waiting, 9);
    conserved();
    mold(1, "S1", 4, 6);
    mold(1, "S1", 10, 3);
    EXPECT("begin(S1) 1-12");
    assert_int_equal(line(0)->lost, 6);
    assert_int_equal(line(1)->lost, 0);
    assert_int_equal(status->feeds[0].window_packets, 0);
    conserved();
    stop();
}

static void test_both_past_is_lost(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 10, 3);
    EXPECT("begin(S1) 1-3");
    mold(1, "S1", 10, 3); /* B is past it too: nobody is left to wait for */
    EXPECT("begin(S1) 1-3 gap:lost:4-9 after:10-12");
    assert_string_equal(fake.event[4].gap.lines, "A lost, B lost");
    assert_int_equal(line(0)->lost, 6);
    assert_int_equal(line(1)->lost, 6);
    assert_int_equal(status->feeds[0].lost_all, 6);
    assert_true(fake.event[fake.n - 1].row.flags & ROW_MAYBE_BAD_BOOK);
    mold(0, "S1", 13, 1);
    fake_flush(&fake);
    assert_true(fake.event[fake.n - 1].row.flags & ROW_MAYBE_BAD_BOOK);
    assert_false(fake.event[fake.n - 1].row.flags & ROW_AFTER_GAP);
    conserved();
    stop();
}

static void test_hold_time(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 10, 3);
    wait_ns(900 * US);
    EXPECT("begin(S1) 1-3");
    wait_ns(200 * US); /* B says nothing: a limit is a limit */
    EXPECT("begin(S1) 1-3 gap:lost:4-9 after:10-12");
    assert_string_equal(fake.event[4].gap.lines, "A lost, B behind at 4");
    conserved();
    stop();
}

static void test_single_line_reorders(void **state)
{
    (void)state;
    start("moldudp64", 1);
    mold(0, "S1", 1, 3);
    mold(0, "S1", 7, 3);
    mold(0, "S1", 4, 3); /* within window_ns: nothing is lost */
    EXPECT("begin(S1) 1-9");
    assert_int_equal(line(0)->reordered, 1);
    assert_int_equal(line(0)->lost, 0);
    mold(0, "S1", 12, 1);
    wait_ns(2 * MS);
    EXPECT("begin(S1) 1-9 gap:lost:10-11 after:12");
    assert_int_equal(line(0)->lost, 2);
    conserved();
    stop();
}

static void test_reorder_configured(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 1);
    c.reorder_ns = 0;
    start_config(&c);
    mold(0, "S1", 1, 3);
    mold(0, "S1", 7, 1); /* at once */
    EXPECT("begin(S1) 1-3 gap:lost:4-6 after:7");
    stop();
    c = config("moldudp64", 2);
    c.reorder_ns = 100 * US;
    start_config(&c);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 7, 1);
    mold(1, "S1", 7, 1);
    wait_ns(50 * US);
    EXPECT("begin(S1) 1-3");
    wait_ns(60 * US);
    EXPECT("begin(S1) 1-3 gap:lost:4-6 after:7");
    stop();
}

static void test_late(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 20, 1);
    mold(1, "S1", 20, 1); /* 4-19 lost */
    mold(1, "S1", 8, 2);  /* 8-9 come after all: the gap splits */
    mold(0, "S1", 7, 4);  /* overlaps: 7, 10 are new */
    mold(0, "S1", 8, 2);  /* and again: nothing */
    EXPECT("begin(S1) 1-3 gap:lost:4-19 after:20 late:8-9 late:7 late:10");
    assert_int_equal(status->feeds[0].late_seqs, 4);
    assert_int_equal(line(0)->late, 2);
    assert_int_equal(line(0)->duplicate, 4);
    mold(0, "S1", 2, 20); /* a retransmission of everything */
    EXPECT("begin(S1) 1-3 gap:lost:4-19 after:20 late:8-9 late:7 late:10 late:4-6 late:11-19 21");
    assert_int_equal(status->feeds[0].late_seqs, 16);
    conserved();
    stop();
}

static void test_partial_overlap(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 5);
    mold(1, "S1", 1, 2); /* B packs differently */
    mold(1, "S1", 3, 6);
    mold(0, "S1", 6, 5);
    mold(1, "S1", 9, 3);
    EXPECT("begin(S1) 1-11");
    assert_int_equal(line(0)->accepted, 7);
    assert_int_equal(line(1)->accepted, 4);
    assert_int_equal(line(0)->divergent + line(1)->divergent, 0);
    conserved();
    stop();
}

static void test_divergent(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 4);
    wire_mold(&pkt, "S1", 1, 4, 0);
    pkt.b[20 + 2 + 2] ^= 1; /* one bit of message 1 */
    send(1);
    EXPECT("begin(S1) 1-4 divergent:divergent");
    assert_int_equal(line(1)->divergent, 1);
    assert_int_equal(line(1)->duplicate, 4);
    assert_int_equal(status->feeds[0].divergent, 1);
    assert_string_equal(fake_text(&fake, fake.event[fake.n - 1].row.line), "B");
    mold(0, "S1", 5, 2);
    wire_mold(&pkt, "S1", 4, 2, 0); /* other boundaries, last message differs */
    pkt.b[pkt.n - 1] ^= 0x80;
    send(1);
    EXPECT("begin(S1) 1-4 divergent:divergent 5-6 divergent:divergent");
    conserved();
    stop();
}

static void test_three_lines(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 3);
    c.line[2].role = LINE_RETRANSMISSION;
    start_config(&c);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 6, 1);
    mold(2, "S1", 4, 1); /* the retransmission fills */
    EXPECT("begin(S1) 1-3 recovered:4");
    mold(1, "S1", 6, 1); /* A and B are past 5: C's opinion does not matter */
    EXPECT("begin(S1) 1-3 recovered:4 gap:lost:5-5 after:6");
    mold(2, "S1", 5, 1);
    EXPECT("begin(S1) 1-3 recovered:4 gap:lost:5-5 after:6 late:recovered:5");
    assert_int_equal(line(2)->lag_n, 0);
    wait_ns(60 * NS_PER_S);
    assert_int_equal(line(0)->state, LINE_SILENT);
    assert_int_equal(line(2)->state, LINE_LIVE); /* silent most of the day: no alarm */
    conserved();
    stop();
}

static void test_dead_line(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 1);
    mold(1, "S1", 1, 1);
    for (uint64_t s = 2; s < 50; s++) {
        mold(0, "S1", s, 1);
        wait_ns(100 * MS);
    }
    assert_int_equal(line(1)->state, LINE_SILENT);
    assert_int_equal(line(0)->state, LINE_LIVE);
    assert_int_equal(status->feeds[0].state, FEED_LIVE);
    mold(0, "S1", 52, 1);
    wait_ns(2 * MS);
    output();
    assert_string_equal(fake.event[fake.n - 2].gap.lines, "A lost, B silent since 10:00:00Z");
    wait_ns(4 * NS_PER_S);
    assert_int_equal(status->feeds[0].state, FEED_SILENT);
    mold(1, "S1", 53, 1);
    assert_int_equal(line(1)->state, LINE_LIVE);
    assert_int_equal(line(1)->lost, 51);
    conserved();
    stop();
}

static bool open_at_ten(void *arg, int64_t utc)
{
    (void)arg;
    int64_t t = utc - 9000 * NS_PER_DAY;
    return t >= 10 * 3600 * NS_PER_S && t < 11 * 3600 * NS_PER_S;
}

static void test_silence_within_hours(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 2);
    c.open = open_at_ten;
    start_config(&c);
    now -= 600 * NS_PER_S; /* 09:50 */
    for (; now < 9000 * NS_PER_DAY + 36001 * NS_PER_S; wait_ns(NS_PER_S)) {
        assert_int_equal(line(0)->state, LINE_WAITING);
        assert_int_not_equal(status->feeds[0].state, FEED_SILENT);
    }
    mold(0, "S1", 1, 1);
    assert_int_equal(status->feeds[0].state, FEED_LIVE);
    assert_int_equal(line(1)->state, LINE_WAITING);
    wait_ns(4 * NS_PER_S); /* B has never spoken: that is silence too */
    wait_ns(NS_PER_S);
    assert_int_equal(line(1)->state, LINE_SILENT);
    assert_int_equal(line(0)->state, LINE_SILENT);
    assert_int_equal(status->feeds[0].state, FEED_SILENT);
    assert_true(status->alarm_signal[ALARM_LINE_SILENT] >= 2);
    wait_ns(2 * 3600 * NS_PER_S);
    assert_int_equal(line(0)->state, LINE_WAITING);
    assert_int_equal(status->feeds[0].state, FEED_CLOSED);
    stop();
}

static void test_heartbeat_reveals(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 6, 0); /* the last two of a burst are missing */
    mold(1, "S1", 6, 0);
    EXPECT("begin(S1) 1-3 gap:lost:4-5");
    assert_int_equal(session(0)->next, 6);
    mold(0, "S1", 6, 1);
    EXPECT("begin(S1) 1-3 gap:lost:4-5 after:6");
    assert_int_equal(line(0)->heartbeats, 1);
    assert_int_equal(line(0)->lost, 2);
    conserved();
    stop();
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void test_before_start(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1000, 2);
    mold(1, "S1", 995, 3); /* B is a little behind: no late rows come of it */
    mold(1, "S1", 998, 2);
    wait_ns(2 * MS);
    EXPECT("begin(S1) gap:before_start:1-994 after:995-1001");
    assert_int_equal(session(0)->first, 1);
    assert_int_equal(line(0)->lost, 0);
    mold(0, "S1", 990, 2);
    EXPECT("begin(S1) gap:before_start:1-994 after:995-1001 late:990-991");
    conserved();
    stop();
}

static void test_end_and_new_session(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 3);
    mold(0, "S1", 4, 0xFFFF);
    mold(1, "S1", 4, 0xFFFF);
    mold(0, "S1", 4, 0xFFFF);
    EXPECT("begin(S1) 1-3 end(S1)");
    assert_int_equal(session(0)->state, SESSION_ENDED);
    mold(0, "S2", 1, 2); /* expected = what it says; no gap */
    mold(1, "S2", 1, 2);
    EXPECT("begin(S1) 1-3 end(S1) begin(S2) 1-2");
    mold(1, "S2", 5, 1);
    mold(0, "S2", 5, 1);
    EXPECT("begin(S1) 1-3 end(S1) begin(S2) 1-2 gap:lost:3-4 after:5");
    conserved();
    stop();
}

static void test_end_waits_for_gap(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(1, "S1", 1, 1);
    mold(1, "S1", 6, 0xFFFF);
    EXPECT("begin(S1) 1-3");
    mold(0, "S1", 4, 1);
    wait_ns(2 * MS);
    EXPECT("begin(S1) 1-4 gap:lost:5-5 end(S1)");
    conserved();
    stop();
}

static void test_old_session_lives_on(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 3);
    mold(0, "S2", 1, 2);
    mold(1, "S1", 1, 3);
    mold(1, "S1", 4, 2); /* B brings what A never did */
    mold(0, "S2", 3, 2);
    mold(1, "S2", 1, 4);
    EXPECT("begin(S1) 1-3 begin(S2) 1-2 4-5 3-4");
    assert_int_equal(session(0)->state, SESSION_REPLACED);
    conserved();
    for (int i = 0; i < 1000; i++) { /* flip-flop */
        mold(0, i & 1 ? "S1" : "S2", 5, 0);
        mold(1, i & 1 ? "S2" : "S1", i & 1 ? 5 : 6, 0);
    }
    conserved();
    assert_int_equal(status->n_sessions, 2);
    stop();
}

static void test_too_many_sessions(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 1);
    c.max_sessions = 4;
    start_config(&c);
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "S%d", i % 100);
        mold(0, name, 1, 1);
    }
    assert_int_equal(status->n_sessions, 4);
    assert_int_equal(status->feeds[0].too_many_sessions, 960);
    assert_int_equal(line(0)->ignored, 960);
    conserved();
    now += 120 * NS_PER_S; /* idle and replaced: it may leave */
    mold(0, "S99", 1, 1);
    assert_int_equal(status->n_sessions, 5);
    mold(0, "S0", 1, 1); /* comes back as another epoch: accounting stays additive */
    output();
    assert_non_null(strstr(said, "begin(S99) 1"));
    assert_non_null(strstr(said, "begin(S0#2)"));
    stop();
}

static uint64_t iex_at(unsigned line, uint64_t seq, unsigned count, uint64_t offset, uint64_t send)
{
    wire_iex(&pkt, 77, seq, count, offset, send);
    uint64_t next = offset + pkt.n - 40;
    feed_packet(feed, line, pkt.b, pkt.n, now, CLOCK_TSC, &fake.rows);
    now += 10 * US;
    return next;
}

static void test_iex_restart(void **state)
{
    (void)state;
    start("iex-tp", 2);
    uint64_t off = 0, end_off;
    for (uint64_t s = 1; s <= 30; s += 3) {
        end_off = iex_at(0, s, 3, off, 1000 + s);
        if (s < 28)
            iex_at(1, s, 3, off, 1000 + s);
        off = end_off;
    }
    /* A starts over; B has not yet delivered the old epoch's last packet */
    uint64_t o2 = iex_at(0, 1, 2, 0, 5000);
    uint64_t last;
    wire_iex(&pkt, 77, 28, 3, 0, 0);
    last = off - (pkt.n - 40);
    iex_at(1, 28, 3, last, 1028);
    iex_at(1, 31, 1, off, 1040); /* and one that A never sent: still the old epoch */
    iex_at(1, 1, 2, 0, 5000);
    uint64_t o3 = iex_at(0, 3, 2, o2, 5001);
    iex_at(1, 3, 2, o2, 5001);
    EXPECT("begin(32771:1:77) 1-30 restart(32771:1:77#2) 1-2 31 3-4");
    assert_int_equal(status->feeds[0].restarts, 1);
    assert_int_equal(status->feeds[0].gaps, 0);
    assert_int_equal(session(0)->state, SESSION_REPLACED);
    assert_int_equal(session(1)->epoch, 2);
    /* again, and the first packets are lost: believed with the second packet of a line */
    iex_at(0, 3, 1, 5, 9000);
    (void)o3;
    EXPECT("begin(32771:1:77) 1-30 restart(32771:1:77#2) 1-2 31 3-4");
    iex_at(0, 4, 1, 15, 9001);
    wait_ns(2 * MS);
    EXPECT("begin(32771:1:77) 1-30 restart(32771:1:77#2) 1-2 31 3-4 restart(32771:1:77#3) "
           "gap:before_start:1-3 after:4");
    conserved();
    stop();
}

static void test_iex_duplicate_is_no_restart(void **state)
{
    (void)state;
    start("iex-tp", 2);
    uint64_t o = iex_at(0, 1, 3, 0, 1000);
    iex_at(0, 4, 3, o, 1001);
    iex_at(0, 1, 3, 0, 1000); /* the network doubled it */
    iex_at(1, 1, 3, 0, 1000);
    EXPECT("begin(32771:1:77) 1-6");
    assert_int_equal(status->n_sessions, 1);
    conserved();
    stop();
}

static void test_day_restart_without_send_time(void **state)
{
    (void)state;
    start("cboe", 2);
    for (uint32_t s = 1; s < 100; s++) {
        wire_cboe(&pkt, 11, s, 1);
        send(0);
        send(1);
    }
    wire_cboe(&pkt, 11, 1, 1); /* the same day: an old copy, nothing more */
    send(0);
    assert_int_equal(status->n_sessions, 1);
    now += NS_PER_DAY;
    wire_cboe(&pkt, 11, 1, 1);
    send(0);
    send(1);
    wire_cboe(&pkt, 11, 2, 1);
    send(1);
    send(0);
    EXPECT("begin(11) 1-99 restart(11) 1-2");
    assert_int_equal(session(1)->day, session(0)->day + 1);
    conserved();
    stop();
}

static void test_b3_version_and_keepalive(void **state)
{
    (void)state;
    start("b3", 2);
    for (uint32_t s = 1; s < 4; s++) {
        wire_b3(&pkt, 68, 1, s, 2);
        send(0);
        send(1);
        wire_b3(&pkt, 68, 1, 0, 0); /* number 0: neither resets nor gaps anything */
        send(0);
    }
    wire_b3(&pkt, 68, 2, 1, 1);
    send(0);
    wire_b3(&pkt, 68, 2, 4, 1);
    send(0);
    wait_ns(2 * MS);
    EXPECT("begin(68:1) 1 1-2 2-3 3 begin(68:2) 1 gap:lost:2-3 after:4");
    assert_int_equal(line(0)->heartbeats, 3);
    assert_int_equal(line(1)->duplicate, 6);
    assert_int_equal(session(0)->next, 4);
    stop();
}

static void test_packets_counted(void **state)
{
    (void)state;
    start("cme", 2);
    wire_cme(&pkt, 1, 3, 46, 100);
    send(0);
    send(1);
    wire_cme(&pkt, 2, 1, 12, 101); /* a heartbeat with its own number */
    send(0);
    send(1);
    wire_cme(&pkt, 4, 2, 46, 102);
    send(0);
    send(1);
    EXPECT("begin(-) 1 1 1-2 gap:lost:3-3 after:4 4");
    assert_int_equal(line(0)->heartbeats, 1);
    assert_int_equal(fake.seqs_total, 3);
    assert_int_equal(session(0)->next, 5);
    /* a channel reset starts over; its copy on B does not start over again */
    wire_cme(&pkt, 1, 1, 4, 200);
    send(0);
    send(1);
    wire_cme(&pkt, 2, 1, 46, 201);
    send(0);
    send(1);
    EXPECT("begin(-) 1 1 1-2 gap:lost:3-3 after:4 4 reset(-#2) 1-2");
    wire_cme(&pkt, 1, 1, 4, 200); /* the network doubles the reset: no third epoch */
    send(0);
    assert_int_equal(status->n_sessions, 2);
    wire_cme(&pkt, 3, 0, 0, 202); /* a packet without a message has a number: a row says so */
    send(0);
    output();
    assert_string_equal(fake_text(&fake, fake.event[fake.n - 1].row.reason), "empty");
    assert_int_equal(fake.seqs_total + 1, session(0)->next + session(1)->next - 2);
    stop();
}

static void test_units_are_streams(void **state)
{
    (void)state;
    start("cboe", 2);
    for (uint32_t s = 1; s < 5; s++) {
        wire_cboe(&pkt, 11, s, 1);
        send(0);
        wire_cboe(&pkt, 15, 10 * s, 10);
        send(0);
        wire_cboe(&pkt, 0, 0, 1); /* number 0: symbol mapping and the like */
        send(0);
    }
    wait_ns(2 * MS);
    assert_int_equal(status->n_sessions, 3);
    assert_int_equal(session(0)->next, 5);
    assert_int_equal(session(1)->next, 50);
    assert_int_equal(session(0)->state, SESSION_LIVE); /* another unit replaces nothing */
    assert_int_equal(line(0)->unsequenced, 4);
    assert_int_equal(status->feeds[0].gap_seqs, 9); /* before_start of unit 15 */
    conserved();
    stop();
}

/* ---- limits, hostility ----------------------------------------------------------------------- */

static void test_window_limits(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 2);
    c.window_count = 8;
    start_config(&c);
    mold(0, "S1", 1, 1);
    mold(1, "S1", 1, 1);
    for (uint64_t s = 5; s < 13; s++)
        mold(0, "S1", s, 1);
    EXPECT("begin(S1) 1");
    mold(0, "S1", 13, 1); /* the ninth */
    EXPECT("begin(S1) 1 gap:lost:2-4 after:5-13");
    assert_int_equal(status->feeds[0].window_full, 1);
    conserved();
    stop();

    c = config("moldudp64", 2);
    c.window_bytes = 2048;
    start_config(&c);
    mold(0, "S1", 1, 1);
    mold(0, "S1", 3, 2000); /* larger than the window */
    EXPECT("begin(S1) 1 gap:lost:2-2 after:3-2002");
    conserved();
    stop();
}

static void test_no_room(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 1);
    mold(1, "S1", 1, 1);
    for (uint64_t s = 3; s < 10; s++)
        mold(0, "S1", s, 1);
    fake.room = 100; /* the ring is full */
    mold(1, "S1", 2, 1);
    EXPECT("begin(S1) 1-2");
    wait_ns(5 * MS);
    EXPECT("begin(S1) 1-2");
    assert_false(feed_flush(feed, now, &fake.rows));
    fake.room = 1 << 20;
    assert_true(feed_poll(feed, now, &fake.rows) > 0);
    EXPECT("begin(S1) 1-9");
    conserved();
    stop();
}

static void test_jump(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 2);
    mold(1, "S1", 1, 2);
    mold(0, "S1", 1ull << 40, 1); /* one flipped bit … */
    mold(0, "S1", 3, 2);
    wait_ns(2 * MS);
    EXPECT("begin(S1) 1-2 malformed 3-4");
    assert_int_equal(session(0)->high, 5);
    assert_int_equal(status->feeds[0].jumps, 1);
    mold(0, "S1", (1ull << 40) + 9, 1); /* … but twice is a jump */
    wait_ns(2 * MS);
    EXPECT("begin(S1) 1-2 malformed 3-4 gap:lost:5-1099511627784 after:1099511627785");
    mold(0, "S1", UINT64_MAX - 1, 1);
    mold(0, "S1", UINT64_MAX, 1); /* would run beyond 2^64 */
    mold(0, "S1", UINT64_MAX, 0);
    wait_ns(2 * MS);
    conserved();
    stop();
}

static void test_wrap(void **state)
{
    (void)state;
    start("cboe", 1);
    uint32_t s = 0xFFFFFFFA;
    for (int i = 0; i < 12; i += 3, s += 3) {
        if (s == 0)
            s++;
        wire_cboe(&pkt, 1, s, 3);
        send(0);
        wait_ns(2 * MS);
    }
    output();
    assert_int_equal(status->n_sessions, 1);
    assert_int_equal(session(0)->next, 0xFFFFFFFAull + 6 + 1 + 6);
    assert_int_equal(status->feeds[0].gaps, 2); /* before_start, and 2^32 + 0, which is no number */
    conserved();
    stop();
}

static void test_malformed_never_moves(void **state)
{
    (void)state;
    start("moldudp64", 1);
    mold(0, "S1", 1, 3);
    wire_mold(&pkt, "S1", 100, 5, 0);
    pkt.n -= 3; /* cut */
    send(0);
    wire_mold(&pkt, "S1", 100, 5, 0);
    pkt.b[19] = 4; /* fewer than there are */
    send(0);
    pkt.b[19] = 6;
    send(0);
    pkt.n = 19;
    send(0);
    pkt.n = 0;
    send(0);
    wait_ns(5 * MS);
    EXPECT("begin(S1) 1-3 malformed malformed malformed malformed malformed");
    assert_int_equal(session(0)->high, 4);
    assert_int_equal(session(0)->next, 4);
    assert_int_equal(line(0)->malformed, 5);
    wire_mold(&pkt, "S1", 100, 5, 0);
    assert_int_equal(fake.event[4].row.len, pkt.n - 3); /* kept whole */
    assert_memory_equal(fake.event[4].row.head, pkt.b, 8);
    conserved();
    stop();
}

static void test_open_gap_list_is_bounded(void **state)
{
    (void)state;
    struct feed_config c = config("moldudp64", 1);
    c.open_gaps = 4;
    c.reorder_ns = 0;
    start_config(&c);
    for (uint64_t s = 1; s < 40; s += 2)
        mold(0, "S1", s, 1); /* 2, 4, 6 … 38 lost */
    assert_int_equal(status->feeds[0].gaps, 19);
    assert_int_equal(status->feeds[0].forgotten, 15);
    mold(0, "S1", 2, 1);
    assert_int_equal(line(0)->old, 1);
    mold(0, "S1", 38, 1);
    assert_int_equal(line(0)->late, 1);
    conserved();
    stop();
}

/* ---- other framings, decoders ---------------------------------------------------------------- */

/* OPRA: no message lengths. One row stands for a block of numbers. */
static void test_opaque_blocks(void **state)
{
    (void)state;
    start("opra", 2);
    static const struct {
        unsigned line;
        uint32_t seq;
        uint8_t count;
    } all[] = {{0, 1, 5}, {1, 1, 5}, {0, 6, 3}, {0, 12, 2}, {1, 12, 2}, {1, 9, 2}};
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        memset(pkt.b, 'x', 61);
        memcpy(pkt.b,
               "\x06\x00\x3d"
               "O ",
               5);
        wire_put(pkt.b + 6, all[i].seq, 4, false);
        pkt.b[10] = all[i].count;
        pkt.b[40] = (uint8_t)all[i].seq;
        pkt.n = 61;
        send(all[i].line);
    }
    EXPECT("begin(-) 1 6 gap:lost:9-11 after:12 late:9");
    assert_int_equal(fake.event[1].row.seqs, 5);
    assert_int_equal(fake.event[1].row.len, 40);
    assert_int_equal(fake.event[5].row.seqs, 2); /* of the gap's three */
    assert_int_equal(line(0)->messages, 10);
    assert_int_equal(status->feeds[0].late_seqs, 2);
    assert_int_equal(fake.seqs_total + 3 - 2, session(0)->next - 1);
    stop();
}

static void test_numbers_in_messages(void **state)
{
    (void)state;
    start("miax-mach", 1);
    static const uint64_t seqs[] = {1, 2, 3, 6, 7, 4, 5, 8};
    memset(pkt.b, 0, 256);
    pkt.n = 0;
    for (unsigned i = 0; i < 8; i++, pkt.n += 15) {
        wire_put(pkt.b + pkt.n, seqs[i], 8, true);
        wire_put(pkt.b + pkt.n + 8, 15, 2, true);
        pkt.b[pkt.n + 10] = 3;
        pkt.b[pkt.n + 12] = (uint8_t)seqs[i];
    }
    send(0);
    EXPECT("begin(0) 1-8");
    for (unsigned i = 1; i < 9; i++)
        assert_int_equal(fake.event[i].row.head[0], i);
    conserved();
    stop();
}

static enum decode picky(void *state, const struct decode_env *env, const uint8_t *m, uint32_t len,
                         struct rows *out)
{
    (void)env;
    ++*(uint32_t *)state;
    if (m[0] % 4 == 1)
        return DECODE_UNKNOWN;
    if (m[0] % 4 == 2)
        return DECODE_LENGTH;
    if (m[0] % 8 == 3)
        return DECODE_SYMBOL;
    rows_flags(out, (out->run.flags & ~(uint32_t)ROW_END_OF_EVENT) |
                        (m[0] % 8 == 7 ? ROW_END_OF_EVENT : 0));
    uint32_t n = (uint32_t)pst_align8(16 + len);
    uint8_t *p = rows_reserve(out, n);
    memset(p, 0, n);
    *(struct record *)p = (struct record){9, (uint16_t)n, PST_NULL_SYMBOL, 0};
    memcpy(p + 16, m, len);
    rows_commit(out, n);
    return DECODE_ROW;
}
static void fresh(void *state)
{
    *(uint32_t *)state = 0;
}
static int32_t first_byte(const uint8_t *m, uint32_t len)
{
    return len ? m[0] : PST_NULL_INT;
}

/* Whatever the decoder says, each message is one row, and numbers stay right. */
static void test_decoder_outcomes(void **state)
{
    (void)state;
    static const struct decoder_ops ops = {
        .name = "picky", .state_bytes = 4, .init = fresh, .decode = picky, .type = first_byte};
    struct feed_config c = config("moldudp64", 2);
    c.decoder = &ops;
    start_config(&c);
    for (uint64_t s = 1; s < 101; s += 20) {
        mold(0, "S1", s, 20);
        mold(1, "S1", s, 20);
    }
    mold(0, "S1", 103, 1);
    mold(1, "S1", 103, 1);
    output();
    struct status_feed *f = &status->feeds[0];
    assert_int_equal(f->messages, 101);
    assert_true(f->decoded > 20 && f->undecoded_unknown > 20 && f->undecoded_length > 20 &&
                f->undecoded_symbol > 10);
    uint64_t want = 1;
    for (size_t i = 1; i < fake.n; i++) {
        const struct fake_row *r = &fake.event[i].row;
        if (fake.event[i].kind == FAKE_GAP) {
            want = 103;
            continue;
        }
        uint8_t m[64];
        wire_message(want, 0, m);
        assert_int_equal(r->seq, want++);
        assert_int_equal(r->head[0], m[0]);
        bool whole = m[0] % 4 == 1 || m[0] % 4 == 2 || m[0] % 8 == 3;
        assert_int_equal(r->table == fake.undecoded.id, whole);
        if (whole)
            assert_int_equal(r->type, m[0]);
        else
            assert_int_equal(!!(r->flags & ROW_END_OF_EVENT), m[0] % 8 == 7);
    }
    assert_int_equal(want, 104);
    conserved();
    stop();
}

#ifdef PST_FAULTS
/* Mutation: a message that never reaches the decoder is missing in the ledger. */
static void test_dropped_message_shows(void **state)
{
    (void)state;
    static const struct decoder_ops ops = {
        .name = "picky", .state_bytes = 4, .init = fresh, .decode = picky, .type = first_byte};
    struct feed_config c = config("moldudp64", 1);
    c.decoder = &ops;
    start_config(&c);
    mold(0, "S1", 1, 10);
    fake_flush(&fake);
    assert_int_equal(fake.seqs_total, 10);
    setenv("PST_FAULT_DROP", "feed.drop_message:4", 1);
    mold(0, "S1", 11, 10);
    fake_flush(&fake);
    assert_int_equal(session(0)->next - session(0)->first, 20);
    assert_int_equal(fake.seqs_total, 19);
    stop();
}
#endif

/* A packet-numbered packet whose rows fall into several runs still is one number. */
static void test_split_runs_count_once(void **state)
{
    (void)state;
    static const struct decoder_ops ops = {
        .name = "picky", .state_bytes = 4, .init = fresh, .decode = picky, .type = first_byte};
    struct feed_config c = config("cme", 1);
    c.decoder = &ops;
    start_config(&c);
    for (uint32_t s = 1; s <= 3; s++) {
        wire_cme(&pkt, s, 200, 46, s);
        for (unsigned i = 0; i < 200; i++) /* the length prefix is the first byte: vary it */
            pkt.b[12 + i * 16 + 15] = (uint8_t)i;
        send(0);
        fake.rows.limit = fake.rows.base + 2048;
    }
    output();
    assert_int_equal(fake.seqs_total, 3);
    assert_int_equal(line(0)->messages, 600);
    stop();
}

/* Trap 10: B is A minus a run in the middle and with more at the end; the union needs both. */
static void test_union_of_lines(void **state)
{
    (void)state;
    start("moldudp64", 2);
    for (uint64_t s = 1; s <= 1020; s++) {
        if (s <= 1000)
            mold(0, "S1", s, 1);
        if (s < 300 || s > 340)
            mold(1, "S1", s, 1);
    }
    EXPECT("begin(S1) 1-1020");
    assert_int_equal(line(1)->lost, 41);
    assert_int_equal(status->feeds[0].gaps, 0);
    conserved();
    stop();
}

/* Traps 11 and 12: one line, many runs of loss; heartbeats that far outnumber data. */
static void test_quiet_lossy_line(void **state)
{
    (void)state;
    start("moldudp64", 1);
    uint64_t s = 1;
    for (unsigned i = 0; i < 300; i++) {
        mold(0, "S1", s, 2);
        for (unsigned k = 0; k < 20; k++) {
            mold(0, "S1", s + 2, 0);
            wait_ns(50 * MS);
        }
        s += 2 + 1 + i % 7;  /* lost without a successor in time: the next heartbeat … */
        mold(0, "S1", s, 0); /* … tells */
        wait_ns(2 * MS);
    }
    output();
    assert_int_equal(status->feeds[0].gaps, 300);
    assert_int_equal(line(0)->heartbeats, 300 * 21);
    assert_int_equal(line(0)->state, LINE_LIVE);
    size_t rows = 0;
    for (size_t i = 0; i < fake.n; i++)
        rows += fake.event[i].kind == FAKE_ROW;
    assert_int_equal(rows, 600); /* heartbeats cost no storage */
    conserved();
    stop();
}

/* A line that slept through the restart comes back in the new epoch; a line that lags stays. */
static void test_epoch_of_each_line(void **state)
{
    (void)state;
    start("iex-tp", 3);
    uint64_t o = 0, o2 = 0;
    for (uint64_t s = 1; s <= 20; s++) {
        uint64_t n = iex_at(0, s, 1, o, 100 + s);
        iex_at(1, s, 1, o, 100 + s);
        if (s < 10)
            iex_at(2, s, 1, o, 100 + s);
        o = n;
    }
    for (uint64_t s = 1; s <= 30; s++) {
        uint64_t n = iex_at(0, s, 1, o2, 900 + s);
        if (s == 30)
            iex_at(2, s, 1, o2, 900 + s); /* C slept; number 30 lies beyond its last, 10 */
        o2 = n;
    }
    iex_at(1, 21, 1, o, 121); /* B is still before the restart */
    EXPECT("begin(32771:1:77) 1-20 restart(32771:1:77#2) 1-30 21");
    assert_int_equal(status->feeds[0].gaps, 0);
    assert_int_equal(line(2)->duplicate, 10);
    conserved();
    stop();
}

/* ---- operators, recovery --------------------------------------------------------------------- */

static void test_commands(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 2);
    mold(1, "S1", 1, 2);
    assert_true(feed_command(feed, FEED_PAUSE, 0, now, &fake.rows));
    mold(0, "S1", 3, 2);
    mold(1, "S1", 3, 2);
    assert_int_equal(status->feeds[0].state, FEED_PAUSED);
    assert_true(feed_command(feed, FEED_RESUME, 0, now, &fake.rows));
    mold(0, "S1", 5, 2);
    mold(1, "S1", 5, 2);
    EXPECT("begin(S1) 1-2 gap:paused:3-4 after:5-6");
    assert_true(feed_command(feed, FEED_LINE_OFF, 1, now, &fake.rows));
    mold(0, "S1", 9, 1);
    mold(1, "S1", 7, 1); /* ignored */
    assert_int_equal(line(1)->state, LINE_OFF);
    wait_ns(2 * MS);
    EXPECT("begin(S1) 1-2 gap:paused:3-4 after:5-6 gap:lost:7-8 after:9");
    assert_string_equal(fake.event[fake.n - 2].gap.lines, "A lost, B off");
    assert_true(feed_command(feed, FEED_LINE_ON, 1, now, &fake.rows));
    assert_false(feed_command(feed, FEED_LINE_ON, 2, now, &fake.rows));
    mold(1, "S1", 10, 1);
    assert_int_equal(line(1)->lost, 0);
    fake_clear(&fake);
    assert_true(feed_command(feed, FEED_RESET_SESSION, 0, now, &fake.rows));
    mold(1, "S1", 500, 1);
    mold(0, "S1", 500, 1);
    mold(0, "S1", 501, 1);
    EXPECT("reset(S1#2) 500-501");
    conserved();
    stop();
}

static void test_resume(void **state)
{
    (void)state;
    start("moldudp64", 2);
    struct feed_position p = {.text = "S1", .day = 9000, .epoch = 1, .first = 1, .next = 5001};
    assert_true(feed_resume(feed, &p));
    mold(0, "S1", 6000, 2);
    mold(1, "S1", 5999, 3);
    wait_ns(2 * MS);
    EXPECT("gap:down:5001-5998 after:5999-6001");
    assert_int_equal(line(0)->lost, 0);
    struct feed_position q;
    assert_true(feed_position(feed, 0, &q));
    assert_int_equal(q.next, 6002);
    assert_string_equal(q.text, "S1");
    assert_false(feed_position(feed, 1, &q));
    stop();

    start("moldudp64", 2); /* nothing was missed */
    assert_true(feed_resume(feed, &p));
    mold(0, "S1", 4999, 4);
    EXPECT("5001-5002");
    mold(0, "S1", 5004, 1);
    mold(1, "S1", 5004, 1);
    EXPECT("5001-5002 gap:lost:5003-5003 after:5004");
    stop();

    start("cboe", 1); /* the venue began another day while we were away */
    snprintf(p.text, sizeof p.text, "11");
    p.day = 8999;
    assert_true(feed_resume(feed, &p));
    wire_cboe(&pkt, 11, 1, 1);
    send(0);
    EXPECT("begin(11) 1");
    stop();

    start("iex-tp", 1); /* and here the publisher started over */
    snprintf(p.text, sizeof p.text, "32771:1:77#2");
    p.day = 9000;
    p.epoch = 2;
    p.send_time = 4000;
    assert_true(feed_resume(feed, &p));
    iex_at(0, 1, 2, 0, 5000);
    EXPECT("restart(32771:1:77#3) 1-2");
    stop();
}

static void test_state_json(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 2);
    mold(1, "S1", 1, 2);
    mold(0, "S2", 1, 1);
    struct feed_cursor c = {0};
    char buf[4096];
    uint32_t n = feed_state(feed, &c, buf, sizeof buf, NULL, NULL);
    buf[n] = 0;
    assert_string_equal(buf, "{\"feed\":\"test\",\"session\":\"S1\",\"day\":9000,\"epoch\":1,"
                             "\"first\":1,\"next\":3,\"send\":0,\"state\":\"replaced\","
                             "\"lines\":{\"A\":3,\"B\":3}}");
    n = feed_state(feed, &c, buf, sizeof buf, NULL, NULL);
    buf[n] = 0;
    assert_non_null(strstr(buf, "\"session\":\"S2\""));
    assert_int_equal(feed_state(feed, &c, buf, sizeof buf, NULL, NULL), 0);
    stop();
}

static void test_stalled(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 2);
    mold(1, "S1", 1, 2);
    feed_stalled(feed, now, "ring_full");
    mold(0, "S1", 9, 1);
    mold(1, "S1", 9, 1);
    mold(0, "S1", 11, 1);
    mold(1, "S1", 11, 1);
    EXPECT("begin(S1) 1-2 gap:ring_full:3-8 after:9 gap:lost:10-10 after:11");
    stop();
}

static void test_flush(void **state)
{
    (void)state;
    start("moldudp64", 2);
    mold(0, "S1", 1, 2);
    mold(1, "S1", 9, 1);
    mold(1, "S1", 12, 0);
    assert_true(feed_flush(feed, now, &fake.rows));
    EXPECT("begin(S1) 1-2 gap:lost:3-8 after:9 gap:lost:10-11");
    conserved();
    stop();
}

static void test_doubtful_time(void **state)
{
    (void)state;
    start("moldudp64", 1);
    wire_mold(&pkt, "S1", 1, 2, 0);
    feed_packet(feed, 0, pkt.b, pkt.n, now, CLOCK_DOUBTFUL, &fake.rows);
    fake_flush(&fake);
    assert_true(fake.event[1].row.flags & ROW_BAD_TIME);
    assert_int_equal(fake.event[1].row.quality, CLOCK_DOUBTFUL);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_two_lines),
        cmocka_unit_test(test_other_line_fills),
        cmocka_unit_test(test_both_past_is_lost),
        cmocka_unit_test(test_hold_time),
        cmocka_unit_test(test_single_line_reorders),
        cmocka_unit_test(test_reorder_configured),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_partial_overlap),
        cmocka_unit_test(test_divergent),
        cmocka_unit_test(test_three_lines),
        cmocka_unit_test(test_dead_line),
        cmocka_unit_test(test_silence_within_hours),
        cmocka_unit_test(test_heartbeat_reveals),
        cmocka_unit_test(test_before_start),
        cmocka_unit_test(test_end_and_new_session),
        cmocka_unit_test(test_end_waits_for_gap),
        cmocka_unit_test(test_old_session_lives_on),
        cmocka_unit_test(test_too_many_sessions),
        cmocka_unit_test(test_iex_restart),
        cmocka_unit_test(test_iex_duplicate_is_no_restart),
        cmocka_unit_test(test_day_restart_without_send_time),
        cmocka_unit_test(test_b3_version_and_keepalive),
        cmocka_unit_test(test_packets_counted),
        cmocka_unit_test(test_units_are_streams),
        cmocka_unit_test(test_window_limits),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_jump),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_malformed_never_moves),
        cmocka_unit_test(test_open_gap_list_is_bounded),
        cmocka_unit_test(test_opaque_blocks),
        cmocka_unit_test(test_numbers_in_messages),
        cmocka_unit_test(test_decoder_outcomes),
#ifdef PST_FAULTS
        cmocka_unit_test(test_dropped_message_shows),
#endif
        cmocka_unit_test(test_split_runs_count_once),
        cmocka_unit_test(test_union_of_lines),
        cmocka_unit_test(test_quiet_lossy_line),
        cmocka_unit_test(test_epoch_of_each_line),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_state_json),
        cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_doubtful_time),
    };
    return cmocka_run_group_tests(tests, feed_setup, feed_teardown);
}
