/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitration against a naive model, over random adversarial lines: bursts of loss, other packing,
 * reordering, duplicates, heartbeats, tiny windows. Plus what must hold whatever a sender does.
 */
#include "feed_kit.h"
#include "support/feedwire.h"

#define LINES 4
#define MSGS  1200
#define US    NS_PER_US

static uint64_t rng;
static uint64_t rnd(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng * 0x2545F4914F6CDD1Dull >> 11) % n;
}

/* ---- input ----------------------------------------------------------------------------------- */

struct arrival {
    int64_t rx;
    uint64_t seq;
    unsigned count, line; /* count 0 = heartbeat */
};
static struct arrival in[LINES * MSGS * 3];
static unsigned nin, nlines;
static bool sent[MSGS + 200]; /* some line delivered it */

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    return x->rx < y->rx ? -1 : x->rx > y->rx;
}

static void add(int64_t rx, unsigned line, uint64_t seq, unsigned count)
{
    in[nin++] = (struct arrival){rx, seq, count, line};
    for (unsigned i = 0; i < count; i++)
        sent[seq + i] = true;
}

static void generate(void)
{
    nin = 0;
    memset(sent, 0, sizeof sent);
    nlines = 1 + (unsigned)rnd(LINES);
    uint64_t first = rnd(3) ? 1 : 1 + rnd(100);
    for (unsigned l = 0; l < nlines; l++) {
        int64_t delay = (int64_t)rnd(rnd(4) ? 30 * US : 3000 * US);
        unsigned loss = (unsigned)rnd(30), jitter = 1 + (unsigned)rnd(rnd(2) ? 1000 : 200 * US);
        unsigned most = 1 + (unsigned)rnd(12);
        bool bad = false;
        for (uint64_t s = first; s <= MSGS;) {
            unsigned c = 1 + (unsigned)rnd(most);
            if (s + c > MSGS + 1)
                c = (unsigned)(MSGS + 1 - s);
            int64_t t = (int64_t)s * 5 * US + delay + (int64_t)rnd(jitter);
            bad = bad ? rnd(3) != 0 : rnd(100) < loss; /* loss comes in runs */
            if (!bad)
                add(t, l, s, c);
            if (!bad && rnd(40) == 0)
                add(t + (int64_t)rnd(500 * US), l, s, c); /* doubled */
            if (rnd(25) == 0)
                add(t + 1, l, s + c, 0);
            if (rnd(200) == 0)
                delay += (int64_t)rnd(2000 * US);
            s += c;
        }
        if (rnd(2))
            add((int64_t)MSGS * 5 * US + delay + 300 * US, l, MSGS + 1, 0);
    }
    qsort(in, nin, sizeof *in, by_time);
    int64_t base = 9000 * NS_PER_DAY + 3600 * NS_PER_S;
    for (unsigned i = 0; i < nin; i++) /* distinct times, so that nothing hangs on ties */
        in[i].rx = base + in[i].rx * 64 + i % 64;
    qsort(in, nin, sizeof *in, by_time);
    for (unsigned i = 1; i < nin; i++)
        if (in[i].rx <= in[i - 1].rx)
            in[i].rx = in[i - 1].rx + 1;
}

/* ---- the model: message by message, linear scans --------------------------------------------- */

enum what { ROW, LATE, GAP };
struct outcome {
    enum what what;
    uint64_t first, last;
};
static struct outcome want[MSGS * 4], got[MSGS * 4];
static unsigned nwant, ngot;

static struct {
    uint64_t next, beat;
    int64_t since, beat_rx, window;
    unsigned limit, nheld;
    bool live[LINES];
    uint64_t high[LINES];
    bool missing[MSGS + 200];
    struct arrival held[MSGS * LINES * 3];
} m;

static void m_out(enum what what, uint64_t first, uint64_t last)
{
    want[nwant++] = (struct outcome){what, first, last};
}
static int m_min(void)
{
    int best = -1;
    for (unsigned i = 0; i < m.nheld; i++)
        if (best < 0 || m.held[i].seq < m.held[best].seq)
            best = (int)i;
    return best;
}
static void m_resolve(const struct arrival *a)
{
    for (uint64_t s = a->seq; s < a->seq + a->count; s++) {
        if (s == m.next) {
            m_out(ROW, s, s);
            m.next++;
        } else if (m.missing[s]) {
            m_out(LATE, s, s);
            m.missing[s] = false;
        }
    }
}
static void m_gap(uint64_t to)
{
    m_out(GAP, m.next, to - 1);
    while (m.next < to)
        m.missing[m.next++] = true;
}
static bool m_open(void)
{
    return m.nheld || m.beat > m.next;
}
static void m_take(int i)
{
    struct arrival a = m.held[i];
    memmove(&m.held[i], &m.held[i + 1], (--m.nheld - (unsigned)i) * sizeof a);
    m_resolve(&a);
}
static void m_since(void)
{
    int i = m_min();
    m.since = i >= 0 ? m.held[i].rx : m.beat_rx;
}
static void m_settle(int64_t now, bool all)
{
    while (m_open()) {
        int i = m_min();
        uint64_t to = i >= 0 ? m.held[i].seq : UINT64_MAX;
        if (m.beat > m.next && m.beat < to)
            to = m.beat;
        if (to > m.next) {
            unsigned live = 0, past = 0;
            for (unsigned l = 0; l < nlines; l++)
                if (m.live[l])
                    live++, past += m.high[l] > m.next;
            if (!all && now - m.since < m.window && !(live >= 2 && past == live))
                return;
            m_gap(to);
        }
        while ((i = m_min()) >= 0 && m.held[i].seq <= m.next)
            m_take(i);
        m_since();
    }
}
static void m_arrive(const struct arrival *a)
{
    m_settle(a->rx, false);
    m.live[a->line] = true;
    if (a->seq + a->count > m.high[a->line])
        m.high[a->line] = a->seq + a->count;
    if (a->seq > m.next && !m_open())
        m.since = a->rx;
    if (!a->count) {
        if (a->seq > m.next && a->seq > m.beat) {
            m.beat = a->seq;
            m.beat_rx = a->rx;
        }
    } else if (a->seq > m.next) {
        while (m.nheld == m.limit) {
            int i = m_min();
            uint64_t to = m.held[i].seq < a->seq ? m.held[i].seq : a->seq;
            if (to > m.next)
                m_gap(to);
            while ((i = m_min()) >= 0 && m.held[i].seq <= m.next)
                m_take(i);
            m_since();
            if (a->seq <= m.next) {
                m_resolve(a);
                m_settle(a->rx, false);
                return;
            }
            if (!m_open())
                m.since = a->rx;
        }
        m.held[m.nheld++] = *a;
    } else {
        m_resolve(a);
    }
    m_settle(a->rx, false);
}

/* ---- the feed -------------------------------------------------------------------------------- */


static void outcomes(void)
{
    fake_flush(&fake);
    ngot = 0;
    for (size_t i = 0; i < fake.n; i++) {
        const struct fake_event *e = &fake.event[i];
        if (e->kind == FAKE_GAP)
            got[ngot++] = (struct outcome){GAP, e->gap.first, e->gap.last};
        if (e->kind != FAKE_ROW)
            continue;
        uint64_t s = (uint64_t)e->row.seq;
        got[ngot++] = (struct outcome){e->row.flags & ROW_LATE ? LATE : ROW, s, s};
        uint8_t b[64];
        uint32_t n = wire_message(s, 0, b);
        assert_int_equal(e->row.len, n);
        assert_true(e->row.hash == fake_hash(b, n));
    }
}

static void conserved(const struct status *st)
{
    const struct status_feed *f = &st->feeds[0];
    uint64_t taken = 0, decided = 0;
    for (unsigned i = 0; i < f->nlines; i++) {
        const struct status_line *l = &f->line[i];
        assert_int_equal(l->messages, l->accepted + l->duplicate + l->late + l->old +
                                          l->unsequenced + l->held + l->dropped);
        taken += l->accepted + l->late + l->unsequenced;
    }
    assert_int_equal(f->messages, taken);
    for (unsigned i = 0; i < st->n_sessions; i++) {
        decided += st->sessions[i].next - st->sessions[i].first;
        assert_int_equal(st->sessions[i].waiting, st->sessions[i].high - st->sessions[i].next);
    }
    fake_flush(&fake);
    assert_int_equal(fake.seqs_total + f->gap_seqs - f->late_seqs, decided);
}

static void clear_status(void)
{
    memset(status->feeds, 0, sizeof status->feeds);
    memset(status->sessions, 0, sizeof status->sessions);
    status->n_sessions = 0;
}

static void run_feed(const unsigned *label, unsigned limit, int64_t window)
{
    static const char *const names[] = {"A", "B", "C", "D"};
    struct feed_config c = {.name = "test",
                            .framing = framing_find("moldudp64"),
                            .nlines = nlines,
                            .reorder_ns = -1,
                            .window_count = limit,
                            .window_ns = window,
                            .silence_ns = NS_PER_DAY,
                            .open_gaps = 2 * MSGS,
                            .history_bytes = 1, /* 64 KiB */
                            .fixed_date = -1};
    for (unsigned l = 0; l < nlines; l++)
        c.line[l].name = names[l];
    clear_status();
    fake_open(&fake);
    struct err e = {0};
    struct feed *f = feed_open(&c, status, 0, &e);
    if (!f)
        fail_msg("%s", e.text);
    static struct wire_packet p;
    for (unsigned i = 0; i < nin; i++) {
        wire_mold(&p, "S", in[i].seq, in[i].count, 0);
        feed_packet(f, label[in[i].line], p.b, p.n, in[i].rx, CLOCK_TSC, &fake.rows);
        assert_true(status->feeds[0].window_packets <= limit);
        if (i % 64 == 0)
            conserved(status);
    }
    assert_true(feed_flush(f, in[nin - 1].rx + 1, &fake.rows));
    conserved(status);
    assert_int_equal(status->feeds[0].divergent, 0);
    assert_int_equal(status->feeds[0].forgotten, 0);
    outcomes();
    feed_close(f);
    fake_close(&fake);
}

static void check_outcomes(void)
{
    /* rows without `late` strictly increase; nothing twice; rows + gaps - late = all numbers */
    static uint8_t seen[MSGS + 200];
    memset(seen, 0, sizeof seen);
    uint64_t last = 0, high = 0;
    for (unsigned i = 0; i < ngot; i++) {
        const struct outcome *o = &got[i];
        if (o->what != LATE) {
            assert_true(o->first == last + 1); /* rows and gap rows tile the numbers */
            last = o->last;
        }
        if (o->what != GAP) {
            assert_int_equal(seen[o->first]++, 0);
            assert_true(sent[o->first]);
        }
    }
    for (unsigned i = 0; i < nin; i++)
        if (in[i].seq + in[i].count > high)
            high = in[i].seq + in[i].count;
    assert_int_equal(last + 1, high);
    for (uint64_t s = 1; s < high; s++) /* what any line brought is a row */
        assert_int_equal(seen[s], sent[s]);
}

static void test_model(void **state)
{
    (void)state;
    unsigned gaps = 0, late = 0, full = 0;
    for (unsigned round = 0; round < 150; round++) {
        rng = 0x9E3779B97F4A7C15ull * (round + 1);
        generate();
        if (!nin)
            continue;
        static const unsigned limits[] = {2, 5, 16, 4096};
        unsigned limit = limits[rnd(4)];
        int64_t window = (int64_t)rnd(3) * NS_PER_MS * 20 + 100 * US;
        memset(&m, 0, sizeof m);
        m.next = 1;
        m.limit = limit;
        m.window = window;
        nwant = 0;
        for (unsigned i = 0; i < nin; i++)
            m_arrive(&in[i]);
        m_settle(in[nin - 1].rx + 1, true);

        unsigned label[LINES];
        for (unsigned l = 0; l < nlines; l++)
            label[l] = l;
        run_feed(label, limit, window);
        check_outcomes();
        full += status->feeds[0].window_full != 0;
        for (unsigned i = 0; i < ngot; i++)
            gaps += got[i].what == GAP, late += got[i].what == LATE;
        for (unsigned i = 0; i < nwant && i < ngot; i++)
            if (memcmp(&want[i], &got[i], sizeof *want))
                fail_msg("round %u, outcome %u: model %d %llu-%llu, feed %d %llu-%llu", round, i,
                         want[i].what, (unsigned long long)want[i].first,
                         (unsigned long long)want[i].last, got[i].what,
                         (unsigned long long)got[i].first, (unsigned long long)got[i].last);
        assert_int_equal(nwant, ngot);

        /* the same whichever line is called A */
        for (unsigned l = 0; l < nlines; l++)
            label[l] = (l + 1 + round) % nlines;
        run_feed(label, limit, window);
        assert_int_equal(nwant, ngot);
        assert_memory_equal(want, got, nwant * sizeof *want);
    }
    /* The generator really made trouble. */
    assert_true(gaps > 2000);
    assert_true(late > 2000);
    assert_true(full > 20);
}

/* Anything at all: sessions that flip, numbers from everywhere, corrupted bytes, restarts. */
struct number {
    uint64_t session; /* symbol and day */
    uint64_t seq;
};
static int by_number(const void *a, const void *b)
{
    const struct number *x = a, *y = b;
    if (x->session != y->session)
        return x->session < y->session ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void hostile(const char *framing, unsigned round)
{
    struct feed_config c = {.name = "test",
                            .framing = framing_find(framing),
                            .nlines = 3,
                            .line = {{"A", 0}, {"B", 0}, {"R", LINE_RETRANSMISSION}},
                            .reorder_ns = round % 3 ? -1 : (int64_t)round * 10 * US,
                            .window_count = 64,
                            .window_bytes = 16384,
                            .open_gaps = 8,
                            .max_sessions = 4,
                            .jump_limit = round % 2 ? 0 : UINT64_MAX,
                            .fixed_date = -1};
    clear_status();
    fake_open(&fake);
    struct err e = {0};
    struct feed *f = feed_open(&c, status, 0, &e);
    assert_non_null(f);
    static struct wire_packet p;
    static const char *const names[] = {"S1", "S2", "S3", "S4", "S5"};
    int64_t now = 9000 * NS_PER_DAY;
    uint64_t at[5] = {1, 1, 1, 1, 1}, clock = 1000;
    for (unsigned i = 0; i < 4000; i++) {
        unsigned s = (unsigned)rnd(rnd(4) ? 2 : 5), n = (unsigned)rnd(6);
        uint64_t seq = at[s];
        switch (rnd(12)) {
        case 0:
            seq += rnd(20);
            break;
        case 1:
            seq = seq > 20 ? seq - rnd(20) : 1;
            break;
        case 2:
            seq = rnd(2) ? 1ull << 40 : rnd(UINT64_MAX);
            break;
        case 3:
            seq = UINT64_MAX - rnd(8);
            break;
        case 4:
            seq = rnd(3);
            break;
        default:
            at[s] = seq + n;
        }
        if (seq > 1ull << 62 && at[s] == seq + n)
            at[s] = 1;
        clock += rnd(10);
        if (!strcmp(framing, "moldudp64"))
            wire_mold(&p, names[s], seq, rnd(50) ? n : 0xFFFF, (uint32_t)(rnd(100) == 0));
        else if (!strcmp(framing, "iex-tp"))
            wire_iex(&p, s, seq, n, seq * 20, rnd(20) ? clock : rnd(clock));
        else if (!strcmp(framing, "cboe"))
            wire_cboe(&p, s, (uint32_t)seq, n);
        else if (!strcmp(framing, "cme"))
            wire_cme(&p, (uint32_t)seq, n, rnd(50) ? 46 : rnd(2) ? 4 : 12, clock);
        else
            wire_b3(&p, s, s, (uint32_t)seq, n);
        if (rnd(40) == 0 && p.n)
            p.b[rnd(p.n)] ^= (uint8_t)(1 << rnd(8));
        if (rnd(60) == 0)
            p.n = (uint32_t)rnd(p.n + 1);
        fake.room = rnd(30) ? 1 << 30 : rnd(20000);
        now += (int64_t)rnd(rnd(50) ? 20 * US : 5000 * US);
        if (rnd(1000) == 0)
            now += NS_PER_DAY / 3;
        feed_packet(f, (unsigned)rnd(3), p.b, p.n, now, CLOCK_TSC, &fake.rows);
        if (rnd(200) == 0)
            feed_command(f, (enum feed_command)rnd(5), (unsigned)rnd(2), now, &fake.rows);
        assert_true(status->feeds[0].window_packets <= 64);
        assert_true(status->feeds[0].window_bytes <= 16384);
    }
    fake.room = 1 << 30;
    assert_true(feed_flush(f, now, &fake.rows));
    conserved(status);
    /* strictly increasing per session, nothing twice, late ones included */
    struct number *seen = calloc(fake.n + 1, sizeof *seen);
    /* last[symbol][day]: a text comes back on another day and then counts from the start */
    uint64_t(*last)[4] = calloc(fake.nsymbols + 1, sizeof *last);
    size_t nseen = 0;
    for (size_t i = 0; i < fake.n; i++) {
        const struct fake_event *ev = &fake.event[i];
        if (ev->kind == FAKE_GAP) {
            uint64_t *l = &last[ev->gap.session][ev->gap.day - 9000];
            assert_true(ev->gap.first > *l || (ev->gap.first == 0 && *l == 0));
            assert_true(ev->gap.last >= ev->gap.first);
            *l = ev->gap.last;
        }
        if (ev->kind != FAKE_ROW || ev->row.seq == PST_NULL_LONG)
            continue;
        uint64_t q = (uint64_t)ev->row.seq, *l = &last[ev->row.session][ev->row.day - 9000];
        uint64_t key = (uint64_t)ev->row.day << 32 | ev->row.session;
        if (ev->row.seqs || !(ev->row.flags & RUN_PACKET_SEQ)) {
            if (!(ev->row.flags & RUN_PACKET_SEQ) || !nseen || seen[nseen - 1].session != key ||
                seen[nseen - 1].seq != q)
                seen[nseen++] = (struct number){key, q};
        }
        if (!(ev->row.flags & ROW_LATE)) {
            if (ev->row.flags & RUN_PACKET_SEQ ? q < *l : q <= *l && q)
                fail_msg("%s round %u: %llu behind %llu in %s", framing, round,
                         (unsigned long long)q, (unsigned long long)*l,
                         fake_text(&fake, ev->row.session));
            *l = q;
        }
    }
    qsort(seen, nseen, sizeof *seen, by_number);
    for (size_t i = 1; i < nseen; i++)
        assert_true(by_number(&seen[i - 1], &seen[i]) != 0);
    free(seen);
    free(last);
    feed_close(f);
    fake_close(&fake);
}

static void test_hostile(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 25; round++) {
        rng = 0xD1B54A32D192ED03ull * (round + 1);
        hostile(framing_at(round % 5)->name, round);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, feed_setup, feed_teardown);
}
