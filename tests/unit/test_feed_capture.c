/* SPDX-License-Identifier: Apache-2.0 */
/* Real captures through packet parser, descriptor and feed, against the figures of their manifest.
 */
#include <dirent.h>
#include "feed_kit.h"
#include "packet.h"
#include "pcap_read.h"
#include "support/data.h"
#include "support/feedframings.h"

static struct feed *feed;
static int64_t last_rx;
static uint64_t udp_packets;

static void start(const char *framing, const char *decoder)
{
    static struct schema tables[DECODER_TABLES];
    struct feed_config c = {.name = "capture",
                            .framing = test_framing(framing),
                            .nlines = 1,
                            .line = {{"A", LINE_NORMAL}},
                            .reorder_ns = -1,
                            .max_sessions = 64,
                            .fixed_date = 8000};
    if (decoder) {
        c.decoder = decoder_find(decoder);
        assert_non_null(c.decoder);
        for (unsigned i = 0; i < c.decoder->ntables; i++) {
            const struct decoder_table *t = &c.decoder->tables[i];
            assert_true(schema_make(&tables[i], (uint16_t)(10 + i), t->name, true, t->cols,
                                    t->ncols, NULL));
            c.tables[i] = &tables[i];
        }
    }
    struct err e = {0};
    memset(status->feeds, 0, sizeof status->feeds);
    memset(status->sessions, 0, sizeof status->sessions);
    status->n_sessions = 0;
    fake_open(&fake);
    fake.counting = true;
    feed = feed_open(&c, status, 0, &e);
    if (!feed)
        fail_msg("%s", e.text);
    udp_packets = 0;
}

static void replay(const char *file)
{
    struct err e = {0};
    struct pcap_reader *r = pcap_read_open(data_path(file), &e);
    if (!r)
        fail_msg("%s", e.text);
    struct pcap_packet p;
    while (pcap_read_next(r, &p, &e) == 1) {
        struct pkt k = {.data = p.data, .len = p.len, .wire_len = p.wire_len, .rxtime = p.time};
        struct udp_view u;
        if (packet_parse(&k, &u) != DROP_none)
            continue;
        udp_packets++;
        last_rx = p.time;
        feed_packet(feed, 0, u.payload, u.payload_len, p.time, CLOCK_CAPTURE, &fake.rows);
    }
    pcap_read_close(r);
}

static void finish(void)
{
    assert_true(feed_flush(feed, last_rx + NS_PER_S, &fake.rows));
    fake_flush(&fake);
    const struct status_feed *f = &status->feeds[0];
    const struct status_line *l = &f->line[0];
    assert_int_equal(l->messages, l->accepted + l->duplicate + l->late + l->old + l->unsequenced);
    uint64_t decided = 0;
    for (unsigned i = 0; i < status->n_sessions; i++)
        decided += status->sessions[i].next - status->sessions[i].first;
    assert_int_equal(fake.seqs_total + f->gap_seqs - f->late_seqs, decided);
}
static void stop(void)
{
    feed_close(feed);
    fake_close(&fake);
}

struct expect {
    const char *file, *framing, *decoder;
    uint64_t packets, messages, heartbeats, next, gaps;
    unsigned sessions;
};

/* Figures of MANIFEST.md. Deribit's streams begin in mid-session: one `before_start` each, and none
 * other. The IEX example's third packet is cut by its snaplen: the packet parser keeps it away. */
static void test_sequenced(void **state)
{
    (void)state;
    DATA_OR_SKIP("sequenced captures");
    static const struct expect all[] = {
        {"iex/iex_TOPS16.pcapng.gz", "iex-tp", NULL, 13022, 57674, 237, 57675, 0, 1},
        {"iex/iex_TOPS16.pcapng.gz", "iex-tp", "iex", 13022, 57674, 237, 57675, 0, 1},
        {"iex/iex_example1.pcap", "iex-tp", "iex", 2, 53, 1, 54, 0, 1},
        {"b3_umdf_sbe/b3_Instrument.pcap.gz", "b3", NULL, 629, 2515, 0, 630, 0, 1},
        {"b3_umdf_sbe/b3_Snapshot.pcap.gz", "b3", NULL, 549, 13461, 0, 550, 0, 1},
        {"deribit_sbe/deribit_sample_v1_6.pcapng", "deribit", NULL, 5066, 5066, 0, 6867, 29, 29},
        {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/Multiple.Packets.pcap", "moldudp64",
         "itch50", 2, 39, 0, 19009155, 2, 1},
        {"siac/Cts.Cta.v2.11.b/A_D_End_of_Start_of_Day_Summary.pcap", "cta", NULL, 1, 19, 0, 3893,
         1, 1}, /* block 3874 with 19 messages is followed by 3893 */
        {"siac/Cts.Cta.v2.11.b/T_R_Fractional_Long_Trade.pcap", "cta", NULL, 1, 1, 0, 3894, 1, 1},
        {"siac/Cts.Cta.v2.11.b/C_T_Line_Integrity.pcap", "cta", NULL, 1, 0, 1, 1, 0, 1},
        {"siac/Cts.Cta.v2.11.b/C_A_Start_of_Day.pcap", "cta", NULL, 1, 1, 0, 1, 0, 1},
        {"siac/opra/LongEquityAndIndexQuoteMessage.pcap", "opra", NULL, 1, 1, 0, 402565754, 1, 1},
        {"siac/opra/ControlMessage.pcap", "opra", NULL, 1, 0, 1, 402622060, 1, 1},
        {"memx/Heartbeat.pcap", "memoir", NULL, 1, 0, 1, 1435792, 1, 1},
        {"other_exchanges/Mdf.iMpact.v1.1.33/TradeMessage.pcap", "ice-impact", NULL, 1, 4, 0, 47378,
         1, 1},
    };
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        const struct expect *x = &all[i];
        start(x->framing, x->decoder);
        replay(x->file);
        finish();
        const struct status_feed *f = &status->feeds[0];
        const struct status_line *l = &f->line[0];
        if (udp_packets != x->packets || l->messages != x->messages ||
            l->heartbeats != x->heartbeats || status->sessions[0].next != x->next ||
            f->gaps != x->gaps || status->n_sessions != x->sessions || l->malformed ||
            l->duplicate || l->old)
            fail_msg("%s: %llu packets %llu messages %llu heartbeats next %llu gaps %llu sessions "
                     "%u malformed %llu duplicate %llu lost %llu",
                     x->file, (unsigned long long)udp_packets, (unsigned long long)l->messages,
                     (unsigned long long)l->heartbeats,
                     (unsigned long long)status->sessions[0].next, (unsigned long long)f->gaps,
                     status->n_sessions, (unsigned long long)l->malformed,
                     (unsigned long long)l->duplicate, (unsigned long long)f->lost_all);
        if (x->decoder)
            assert_int_equal(f->decoded, x->messages);
        stop();
    }
}

/* Twice on two lines, the second a little behind and without every seventh packet: nothing is lost,
 * and the copies are the same bytes. */
static void test_two_lines(void **state)
{
    (void)state;
    DATA_OR_SKIP("a real capture on two lines");
    struct feed_config c = {.name = "capture",
                            .framing = framing_find("iex-tp"),
                            .nlines = 2,
                            .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}},
                            .reorder_ns = -1,
                            .fixed_date = 8000};
    start("iex-tp", NULL);
    feed_close(feed);
    struct err e = {0};
    assert_non_null(feed = feed_open(&c, status, 0, &e));
    struct pcap_reader *r = pcap_read_open(data_path("iex/iex_TOPS16.pcapng.gz"), &e);
    assert_non_null(r);
    struct pcap_packet p;
    while (pcap_read_next(r, &p, &e) == 1) {
        struct pkt k = {.data = p.data, .len = p.len, .wire_len = p.wire_len, .rxtime = p.time};
        struct udp_view u;
        if (packet_parse(&k, &u) != DROP_none)
            continue;
        unsigned a = p.number % 5 == 0; /* now A, now B comes first */
        for (unsigned i = 0; i < 2; i++)
            if (p.number % 7 != (a ^ i ? 3 : 5))
                feed_packet(feed, a ^ i, u.payload, u.payload_len, p.time + i * NS_PER_US,
                            CLOCK_CAPTURE, &fake.rows);
        last_rx = p.time;
    }
    pcap_read_close(r);
    finish();
    const struct status_feed *f = &status->feeds[0];
    assert_int_equal(f->messages, 57674);
    assert_int_equal(f->gaps, 0);
    assert_int_equal(f->divergent, 0);
    assert_int_equal(f->line[0].accepted + f->line[1].accepted, 57674);
    assert_true(f->line[0].lost > 7000 && f->line[1].lost > 7000);
    assert_int_equal(fake.seqs_total, 57674);
    stop();
}

/* Every packet of a framing's captures holds to its descriptor. */
static unsigned cover(const char *dir, const char *framing)
{
    unsigned n = 0;
    DIR *d = opendir(data_path(dir));
    if (!d)
        fail_msg("%s is missing", dir);
    struct dirent *e;
    while ((e = readdir(d))) {
        if (!strstr(e->d_name, ".pcap") || strstr(e->d_name, ".Tcp."))
            continue;
        char file[512];
        snprintf(file, sizeof file, "%s/%s", dir, e->d_name);
        start(framing, NULL);
        replay(file);
        finish();
        const struct status_line *l = &status->feeds[0].line[0];
        if (l->malformed || (udp_packets && !l->messages && !l->heartbeats))
            fail_msg("%s: %llu of %llu packets malformed", file, (unsigned long long)l->malformed,
                     (unsigned long long)udp_packets);
        n += udp_packets != 0;
        stop();
    }
    closedir(d);
    return n;
}

static void test_cover(void **state)
{
    (void)state;
    DATA_OR_SKIP("captures of single messages");
    static const struct {
        const char *dir, *framing;
    } all[] = {
        {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0", "moldudp64"},
        {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822", "moldudp64"},
        {"itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105", "moldudp64"},
        {"itch_other/asx", "moldudp64"},
        {"itch_other/jnx/JnxEquities.Pts.Itch.v1.6", "moldudp64"},
        {"utp", "moldudp64"},
        {"siac/Cts.Cta.v2.11.b", "cta"},
        {"siac/Cts.Cta.v1.91", "cta"},
        {"siac/Cqs.Cta.v1.91", "cta"},
        {"siac/opra", "opra"},
        {"memx", "memoir"},
        {"b3_umdf_sbe/BinaryUmdf.v1.5", "b3"},
        {"b3_umdf_sbe/BinaryUmdf.v1.8", "b3"},
        {"iex/omi/Tops.IexTp.v1.5", "iex-tp"},
        {"iex/omi/Deep.IexTp.v1.0", "iex-tp"},
        {"cboe_pitch/omi/Byx.Equities.DepthOfBook.Pitch.v2.41", "cboe"},
        {"cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6", "cboe"},
        {"cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18", "cboe"},
        {"cme_mdp3/Mdp3.Sbe.v1.5", "cme"},
        {"nyse_xdp/IntegratedFeed.Xdp.v2.1", "nyse-xdp"},
        {"nyse_xdp/ImbalancesFeed.Xdp.v2.1.f", "nyse-xdp"},
        {"nyse_xdp/Bbo.Xdp.v2.3a", "nyse-xdp"},
        {"nyse_xdp/Arca.Options.TopFeed.Pillar.1.2.c", "nyse-xdp"},
        {"other_exchanges/Eobi.T7.v6.0", "eobi"},
        {"other_exchanges/OnyxFutures.ToM.v1.0", "miax-mach"},
        {"other_exchanges/Mdf.iMpact.v1.1.33", "ice-impact"},
    };
    unsigned files = 0;
    for (unsigned i = 0; i < PST_COUNT(all); i++)
        files += cover(all[i].dir, all[i].framing);
    assert_true(files > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequenced),
        cmocka_unit_test(test_two_lines),
        cmocka_unit_test(test_cover),
    };
    return cmocka_run_group_tests(tests, feed_setup, feed_teardown);
}
