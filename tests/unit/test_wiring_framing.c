/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wiring_framing.c - framings of the configuration as descriptors: all of data/framings maps,
 * the descriptions of built-in framings behave as those, what cannot be expressed is refused with
 * its line, and real captures parse to the figures that their manifest states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/packet.h"
#include "dataplane/pcap_read.h"
#include "tests/support/data.h"
#include "wiring_framing.h"

#define U(x) ((unsigned long long)(x))

static uint16_t at[FRAMING_MESSAGES + 1], at2[FRAMING_MESSAGES + 1];

static struct config *load(const char *name)
{
    char path[512];
    struct config *c;
    struct err err;
    snprintf(path, sizeof path, "%s/tests/data/framings/%s.yaml", PST_SOURCE_ROOT, name);
    if (!config_load(path, &c, &err))
        fail_msg("%s", err.text);
    assert_int_equal(c->framings.count, 1);
    return c;
}
static void map(const char *name, struct framing *f)
{
    struct err err = {0};
    bool old_eobi = !strcmp(name, "eobi_v6"); /* EOBI before v9 numbers with 4 bytes */
    struct config *c = load(old_eobi ? "eobi" : name);
    if (old_eobi)
        c->framings.at[0].seq.width = 4;
    if (!wiring_framing(c, &c->framings.at[0], f, &err))
        fail_msg("%s", err.text);
    config_free(c);
}

static const char *const all[] = {
    "aquis",    "b3_umdf",    "cme_mdp3", "coinbase", "cta",         "deribit",
    "eobi",     "ice_impact", "iextp",    "memoir",   "miax_mach",   "mold",
    "nyse_xdp", "omd",        "opra",     "optiq",    "otc_markets", "pitch",
};

/* ---- real captures -------------------------------------------------------------------------- */

struct facts {
    uint64_t udp, data, heartbeats, ends, unsequenced, malformed, idle, resets;
    uint64_t messages, first, last, breaks, streams;
};
struct stream {
    uint32_t ip;
    uint16_t port;
    uint64_t key[FRAMING_KEY_MAX / 8], next;
};

static void follow(struct facts *x, const struct framing *f, const struct udp_view *u,
                   const struct packet_view *v, uint64_t seq, uint64_t seqs, struct stream *s)
{
    for (unsigned i = 0; i <= x->streams; i++) {
        if (i == x->streams) {
            assert_true(x->streams < 64);
            s[x->streams++] = (struct stream){.ip = u->dst_ip, .port = u->dst_port, .next = seq};
            memcpy(s[i].key, v->key, sizeof s[i].key);
        }
        if (s[i].ip != u->dst_ip || s[i].port != u->dst_port ||
            memcmp(s[i].key, v->key, sizeof v->key) != 0)
            continue;
        if (v->reset || (f->seq.width < 8 && seq == f->first_seq))
            s[i].next = seq;
        x->breaks += seq != s[i].next;
        s[i].next = seq + seqs;
        return;
    }
}

static void measure(const struct framing *f, const char *relative, struct facts *x)
{
    static struct stream streams[65];
    struct err err = {0};
    struct pcap_packet p;
    memset(x, 0, sizeof *x);
    memset(streams, 0, sizeof streams);
    struct pcap_reader *r = pcap_read_open(data_path(relative), &err);
    if (!r)
        fail_msg("%s", err.text);
    int rc;
    while ((rc = pcap_read_next(r, &p, &err)) == 1) {
        struct pkt pkt = {.data = p.data, .len = p.len, .wire_len = p.wire_len};
        struct udp_view u;
        if (packet_parse(&pkt, &u) != DROP_none)
            continue;
        struct packet_view v, w;
        x->udp++;
        enum packet_kind kind = framing_parse(f, u.payload, u.payload_len, &v, at);
        /* the specialised copy and the generic one agree */
        framing_code_generic.header(f, u.payload, u.payload_len, &w);
        if (w.kind == PACKET_DATA || w.kind == PACKET_UNSEQUENCED)
            framing_code_generic.walk(f, &w, at2);
        assert_int_equal(w.kind, v.kind);
        assert_int_equal(w.seq, v.seq);
        x->data += kind == PACKET_DATA;
        x->heartbeats += kind == PACKET_HEARTBEAT;
        x->ends += kind == PACKET_END;
        x->unsequenced += kind == PACKET_UNSEQUENCED;
        x->malformed += kind == PACKET_MALFORMED;
        x->idle += v.idle;
        x->resets += v.reset;
        if (kind == PACKET_MALFORMED && getenv("PST_VERBOSE"))
            printf("%s: packet %llu is malformed: %s\n", relative, (unsigned long long)p.number,
                   framing_reason_sentence(v.reason));
        if (kind == PACKET_DATA || kind == PACKET_UNSEQUENCED)
            x->messages += v.count;
        if (kind != PACKET_DATA && kind != PACKET_HEARTBEAT)
            continue;
        struct packet_view run = v;
        for (uint32_t i = 0; f->per_message_seq && kind == PACKET_DATA && i < v.count;) {
            i = framing_run(f, &v, at, i, &run);
            follow(x, f, &u, &v, run.seq, run.seqs, streams);
            x->last = run.seq + run.seqs - 1;
        }
        if (!f->per_message_seq) {
            follow(x, f, &u, &v, v.seq, v.seqs, streams);
            if (v.seqs)
                x->last = v.seq + v.seqs - 1;
        }
        if (x->data + x->heartbeats == 1)
            x->first = v.seq;
    }
    if (rc < 0)
        fail_msg("%s: %s", relative, err.text);
    pcap_read_close(r);
}
/* The captures that are covered; a file that is missing fails. Every one: 0 malformed. */
/* clang-format off */
static const struct {
    const char *framing, *file;
    struct facts facts; /* in the order of struct facts */
} captures[] = {
    {"mold", "itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105/NlsPlus.RegShoShortSalePriceTestRestrictedIndicatorMessage.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105/NlsPlus.StockTradingActionMessage.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105/NlsPlus.SystemEventMessage.pcap", {2, 2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105/NlsPlus.TradeReportLongPriceMessage.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105/NlsPlus.TradeReportMessage.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/AddOrderNoMPID.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/AddOrderWithMPID.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/CrossTrade.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/LULDAuctionCollar.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/MarketParticipantPosition.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/NetOrderImbalanceIndicator.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/NonCrossTrade.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/OrderCancel.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/OrderDelete.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/OrderExecuted.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/OrderExecutedWithPrice.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/OrderReplace.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/RegSHORestriction.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/StockTradingAction.pcap", {5, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/SystemEvent.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/AddOrderNoMpidAttributionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14757721, 14757721, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/MarketParticipantPositionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 17861990, 17861990, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/Multiple.Packets.pcap", {2, 2, 0, 0, 0, 0, 0, 0, 39, 14764496, 19009154, 1, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/NetOrderImbalanceIndicatorMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14757919, 14757919, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/OrderDeleteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14757722, 14757722, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/OrderExecutedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14757745, 14757745, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/OrderReplaceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14757701, 14757701, 0, 1}},
    {"mold", "itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/StockTradingActionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 34147961, 34147961, 0, 1}},
    {"mold", "itch_other/asx/AddOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3775770, 3775770, 0, 1}},
    {"mold", "itch_other/asx/AnomalousOrderThresholdPublishMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3903893, 3903893, 0, 1}},
    {"mold", "itch_other/asx/CombinationOrderExecutedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3686897, 3686897, 0, 1}},
    {"mold", "itch_other/asx/CombinationSymbolDirectoryMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3474042, 3474042, 0, 1}},
    {"mold", "itch_other/asx/EquilibriumPriceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3513103, 3513103, 0, 1}},
    {"mold", "itch_other/asx/FutureSymbolDirectoryMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3467798, 3467798, 0, 1}},
    {"mold", "itch_other/asx/ImpliedOrderAddedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3512602, 3512602, 0, 1}},
    {"mold", "itch_other/asx/ImpliedOrderDeletedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3559979, 3559979, 0, 1}},
    {"mold", "itch_other/asx/OpenHighLowLastTradeAdjustmentMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3495568, 3495568, 0, 1}},
    {"mold", "itch_other/asx/OptionsSymbolDirectoryMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3473370, 3473370, 0, 1}},
    {"mold", "itch_other/asx/OrderDeletedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3649571, 3649571, 0, 1}},
    {"mold", "itch_other/asx/OrderExecutedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3530514, 3530514, 0, 1}},
    {"mold", "itch_other/asx/Seconds.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 3524316, 3524317, 0, 1}},
    {"mold", "itch_other/asx/TextMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3489795, 3489795, 0, 1}},
    {"mold", "itch_other/jnx/JnxEquities.Pts.Itch.v1.6/OrderDeletedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 25211, 25211, 0, 1}},
    {"mold", "itch_other/jnx/JnxEquities.Pts.Itch.v1.6/OrderExecutedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 33289, 33289, 0, 1}},
    {"mold", "itch_other/jnx/JnxEquities.Pts.Itch.v1.6/OrderReplacedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 12355, 12355, 0, 1}},
    {"mold", "itch_other/jnx/JnxEquities.Pts.Itch.v1.6/ShortSellingPriceRestrictionStateMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 32691, 32691, 0, 1}},
    {"mold", "itch_other/jnx/JnxEquities.Pts.Itch.v1.6/TimestampSecondsMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 36209, 36210, 0, 1}},
    {"mold", "utp/LimitUpLimitDownPriceBandMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19952117, 19952117, 0, 1}},
    {"mold", "utp/QuoteShortFormMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19819341, 19819341, 0, 1}},
    {"iextp", "iex/iex_TOPS16.pcapng.gz", {13022, 12785, 237, 0, 0, 0, 0, 0, 57674, 1, 57674, 0, 1}},
    {"iextp", "iex/iex_example1.pcap", {2, 1, 1, 0, 0, 0, 0, 0, 53, 1, 53, 0, 1}},
    {"iextp", "iex/omi/Deep.IexTp.v1.0/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1}},
    {"iextp", "iex/omi/Deep.IexTp.v1.0/PriceLevelBuyUpdateMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 355166, 355166, 0, 1}},
    {"iextp", "iex/omi/Deep.IexTp.v1.0/PriceLevelSellUpdateMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 355282, 355282, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/AuctionInformationMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 34362, 34362, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/OfficialPriceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 45626, 45626, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/OperationalHaltStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 4, 34266, 34269, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/SecurityDirectoryMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 52, 34110, 34161, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/ShortSalePriceTestStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 34270, 34270, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/SystemEventMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 35579, 35579, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/TradeReportMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 34347, 34347, 0, 1}},
    {"iextp", "iex/omi/Tops.IexTp.v1.5/TradingStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 55295, 55295, 0, 1}},
    {"pitch", "cboe_pitch/omi/Byx.Equities.DepthOfBook.Pitch.v2.41/ModifyOrderShortMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 121843, 121843, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/AddOrderShortMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 21396, 21396, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/DeleteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 21392, 21392, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/FutureInstrumentDefinitionMessage.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 21134, 0, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/ModifyOrderShortMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 22005, 22005, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/TimeMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 36444, 36445, 0, 1}},
    {"pitch", "cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6/TradingStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 16, 35934, 35949, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/AuctionCancelMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 9974447, 9974448, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/AuctionNotificationMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 10017425, 10017425, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/AuctionUpdateMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 452545, 452545, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/ComplexInstrumentDefinitionExpandedMessage.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/DeleteOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 10033418, 10033418, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/ModifyOrderShortMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 10026468, 10026468, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/OrderExecutedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 9975020, 9975020, 0, 1}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/SymbolMappingMessage.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"pitch", "cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18/TimeMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 9324070, 9324071, 0, 1}},
    {"cme_mdp3", "cme_mdp3/Mdp3.Sbe.v1.5/MdIncrementalRefreshBook.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19321375, 19321375, 0, 1}},
    {"cme_mdp3", "cme_mdp3/Mdp3.Sbe.v1.5/MdIncrementalRefreshSessionStatistics.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 6, 19345102, 19345102, 0, 1}},
    {"cme_mdp3", "cme_mdp3/Mdp3.Sbe.v1.5/MdIncrementalRefreshTradeSummary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19321415, 19321415, 0, 1}},
    {"cme_mdp3", "cme_mdp3/Mdp3.Sbe.v1.5/MdIncrementalRefreshVolume.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 19321379, 19321379, 0, 1}},
    {"cme_mdp3", "cme_mdp3/Mdp3.Sbe.v1.5/MdInstrumentDefinitionSpread.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 5, 2, 2, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Arca.Options.TopFeed.Pillar.1.2.c/HeartBeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Arca.Options.TopFeed.Pillar.1.2.c/OptionsQuoteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 663636, 663636, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Arca.Options.TopFeed.Pillar.1.2.c/SequenceNumberResetMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Bbo.Xdp.v2.3a/QuoteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19618, 19618, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Bbo.Xdp.v2.3a/SequenceNumberResetMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1}},
    {"nyse_xdp", "nyse_xdp/Bbo.Xdp.v2.3a/SymbolIndexMappingMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 2, 0, 1}},
    {"nyse_xdp", "nyse_xdp/ImbalancesFeed.Xdp.v2.1.f/ImbalanceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 11603, 11603, 0, 1}},
    {"nyse_xdp", "nyse_xdp/ImbalancesFeed.Xdp.v2.1.f/SequenceResetMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/AddOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 1243006, 1243006, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/ImbalanceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3825213, 3825213, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/OrderExecutionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 2422938, 2422938, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/ReplaceOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 2422789, 2422789, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/SecurityStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 242, 242, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/SequenceResetMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/SourceTimeReferenceMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 2008, 2008, 0, 1}},
    {"nyse_xdp", "nyse_xdp/IntegratedFeed.Xdp.v2.1/SymbolIndexMappingMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 2, 0, 1}},
    {"memoir", "memx/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 1435792, 0, 0, 1}},
    {"memoir", "memx/OrderAddedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 1371819, 1371819, 0, 1}},
    {"memoir", "memx/OrderDeletedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 1371890, 1371890, 0, 1}},
    {"memoir", "memx/OrderReducedMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 9495744, 9495744, 0, 1}},
    {"memoir", "memx/SecurityTradingStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 5420663, 5420663, 0, 1}},
    {"cta", "siac/Cqs.Cta.v1.91/LongQuoteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 19878165, 19878165, 0, 1}},
    {"cta", "siac/Cts.Cta.v1.91/IndexMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 267447, 267447, 0, 1}},
    {"cta", "siac/Cts.Cta.v1.91/LineIntegrityMessage.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 267992, 0, 0, 1}},
    {"cta", "siac/Cts.Cta.v1.91/LongTradeMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 966620, 966620, 0, 1}},
    {"cta", "siac/Cts.Cta.v1.91/ShortTradeMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 966624, 966624, 0, 1}},
    {"cta", "siac/Cts.Cta.v1.91/TradingStatusMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 999925, 999925, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/A_A_Start_of_End_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 6, 3505951, 3505956, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/A_B_End_of_End_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 8, 3508966, 3508973, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/A_C_Start_of_Start_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 16, 208, 223, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/A_D_End_of_Start_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 19, 3874, 3892, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/A_S_Symbol_Reference_Data.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/C_A_Start_of_Day.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/C_T_Line_Integrity.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/C_Z_End_of_Day.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3550016, 3550016, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/M_K_MWCB_Decline_Level_Status.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 14281, 14281, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/M_V_Fractional_Approximate_Adjusted_Volume_Market_Center.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3504153, 3504153, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/P_E_Fractional_Prior_Day_Trade_Cancel-Error.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 30564, 30564, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/P_R_Fractional_Prior_Day_Trade.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3943, 3943, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/S_A_Consolidated_Start_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 16, 208, 223, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/S_B_Participant_Start_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 16, 208, 223, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/S_P_Fractional_Participant_End_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 6, 3505951, 3505956, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/S_T_Fractional_Consolidated_End_of_Day_Summary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 6, 3505951, 3505956, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/T_E_Fractional_Trade_Cancel-Error.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 837150, 837150, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/T_R_Fractional_Long_Trade.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3893, 3893, 0, 1}},
    {"cta", "siac/Cts.Cta.v2.11.b/T_S_Trading_Status.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 203, 203, 0, 1}},
    {"opra", "siac/opra/ControlMessage.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 402622061, 0, 0, 1}},
    {"opra", "siac/opra/LongEquityAndIndexQuoteMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 402565753, 402565753, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/b3_Instrument.pcap.gz", {629, 629, 0, 0, 0, 0, 0, 0, 2515, 1, 629, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/b3_Snapshot.pcap.gz", {549, 549, 0, 0, 0, 0, 0, 0, 13461, 1, 549, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.5/PriceBand.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 4609, 4609, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.5/SecurityGroupPhase.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 3999, 3999, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.5/SecurityStatus.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 4591, 4591, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.5/Sequence.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.5/SequenceReset.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.8/SecurityDefinitionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 6, 6, 0, 1}},
    {"b3_umdf", "b3_umdf_sbe/BinaryUmdf.v1.8/Sequence.pcap", {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
    {"deribit", "deribit_sbe/deribit_sample_v1_6.pcapng", {5066, 5066, 0, 0, 0, 0, 0, 0, 5066, 6474, 7193, 0, 29}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/ExecutionSummary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 384661, 384661, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/FullOrderExecution.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 325524, 325524, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 528688, 0, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/InstrumentSummary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 532356, 532356, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/OrderAdd.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 477216, 477216, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/OrderModify.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 470411, 470411, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/PartialOrderExecution.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 2, 471655, 471655, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/ProductSummary.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 5, 532352, 532352, 0, 1}},
    {"eobi_v6", "other_exchanges/Eobi.T7.v6.0/SnapshotOrder.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 3, 260265, 260265, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/AddOrModifyMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 4, 253590, 253593, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/DeleteOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 4, 253601, 253604, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 253572, 0, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/MarketSnapShotMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 547913, 547913, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/MarketSnapshotOrderMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 9, 538704, 538712, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/MarketStatisticsMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 5, 275270, 275274, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/MessageBundleMarker.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 4, 253572, 253575, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/NewOptionsStrategyDefinintionMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 47373, 47373, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/SpecialFieldMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 7, 538715, 538721, 0, 1}},
    {"ice_impact", "other_exchanges/Mdf.iMpact.v1.1.33/TradeMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 4, 47374, 47377, 0, 1}},
    {"miax_mach", "other_exchanges/OnyxFutures.ToM.v1.0/BestBidAndOfferMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 864, 864, 0, 1}},
    {"miax_mach", "other_exchanges/OnyxFutures.ToM.v1.0/Heartbeat.pcap", {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
    {"miax_mach", "other_exchanges/OnyxFutures.ToM.v1.0/InstrumentTradingStatusNotificationMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 927, 927, 0, 1}},
    {"miax_mach", "other_exchanges/OnyxFutures.ToM.v1.0/SystemStateMessage.pcap", {1, 1, 0, 0, 0, 0, 0, 0, 1, 1026, 1026, 0, 1}},
};
/* clang-format on */

static void test_captures(void **state)
{
    (void)state;
    DATA_OR_SKIP("captures through configured framings");
    for (unsigned i = 0; i < PST_COUNT(captures); i++) {
        struct framing f;
        struct facts x;
        map(captures[i].framing, &f);
        measure(&f, captures[i].file, &x);
        if (memcmp(&x, &captures[i].facts, sizeof x) != 0)
            fail_msg("%s: udp %llu data %llu heartbeats %llu ends %llu unsequenced %llu malformed "
                     "%llu idle %llu resets %llu messages %llu first %llu last %llu breaks %llu "
                     "streams %llu",
                     captures[i].file, U(x.udp), U(x.data), U(x.heartbeats), U(x.ends),
                     U(x.unsequenced), U(x.malformed), U(x.idle), U(x.resets), U(x.messages),
                     U(x.first), U(x.last), U(x.breaks), U(x.streams));
    }
}

/* What the manifest says of whole groups of files, from the rows above that were just measured. */
static void test_manifest_sums(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        unsigned files;
        uint64_t udp, messages;
    } sums[] = {
        {"itch50/omi/", 28, 102, 139},
        {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/", 8, 9, 46},
        {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822/", 15, 71, 71},
        {"itch_other/asx/", 14, 14, 15},
        {"itch_other/jnx/", 5, 5, 6},
        {"iex/omi/Deep", 3, 3, 2},
        {"iex/omi/Tops", 8, 8, 62},
        {"cboe_pitch/omi/Futures", 7, 7, 22},
        {"cboe_pitch/omi/Options", 9, 9, 11},
        {"cboe_pitch/omi/Byx", 1, 1, 1},
        {"cme_mdp3/Mdp3.Sbe.v1.5/", 5, 5, 15},
        {"nyse_xdp/IntegratedFeed", 8, 8, 8},
        {"nyse_xdp/Bbo", 3, 3, 3},
        {"nyse_xdp/Imbalances", 2, 2, 2},
        {"nyse_xdp/Arca", 3, 3, 2},
        {"memx/", 5, 5, 4},
        {"siac/Cts.Cta.v2.11.b/", 19, 19, 0},
        {"siac/Cts.Cta.v1.91/", 5, 5, 0},
        {"siac/Cqs.Cta.v1.91/", 1, 1, 0},
        {"siac/opra/", 2, 2, 1},
        {"utp/", 2, 2, 2},
        {"b3_umdf_sbe/BinaryUmdf.v1.5/", 5, 5, 5},
        {"b3_umdf_sbe/BinaryUmdf.v1.8/", 2, 2, 2},
        {"other_exchanges/Eobi", 9, 9, 0},
        {"other_exchanges/Mdf", 10, 10, 0},
        {"other_exchanges/Onyx", 4, 4, 3},
        {"b3_umdf_sbe/b3_Instrument", 1, 629, 2515},
        {"b3_umdf_sbe/b3_Snapshot", 1, 549, 13461},
        {"deribit_sbe/", 1, 5066, 5066},
        {"iex/iex_TOPS16", 1, 13022, 57674},
    };
    for (unsigned i = 0; i < PST_COUNT(sums); i++) {
        unsigned files = 0;
        uint64_t udp = 0, messages = 0;
        for (unsigned j = 0; j < PST_COUNT(captures); j++)
            if (!strncmp(captures[j].file, sums[i].prefix, strlen(sums[i].prefix))) {
                files++;
                udp += captures[j].facts.udp;
                messages += captures[j].facts.messages;
                assert_int_equal(captures[j].facts.malformed, 0);
            }
        if (files != sums[i].files || udp != sums[i].udp ||
            (sums[i].messages && messages != sums[i].messages))
            fail_msg("%s: %u files, %llu packets, %llu messages", sums[i].prefix, files, U(udp),
                     U(messages));
    }
}

/* ---- mapping -------------------------------------------------------------------------------- */

static void test_all_map(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        struct framing f;
        struct err err = {0};
        map(all[i], &f);
        if (!framing_check(&f, &err))
            fail_msg("%s: %s", all[i], err.text);
    }
}

/* A generator of packets around a framing: sound ones, then each byte of the header disturbed. */
static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % n;
}
static void store(uint8_t *p, unsigned width, bool little, uint64_t v)
{
    for (unsigned i = 0; i < width; i++)
        p[little ? i : width - 1 - i] = (uint8_t)(v >> (8 * i));
}
static uint32_t make(const struct framing *f, uint8_t *p, unsigned messages)
{
    uint32_t n = f->messages_at ? f->messages_at : f->header;
    memset(p, 0, n);
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)('0' + rnd(10));
    uint32_t prefix = (uint32_t)f->mlen.offset + f->mlen.width;
    prefix = f->shortest > prefix ? f->shortest : prefix;
    for (unsigned i = 0; i < messages; i++) {
        uint32_t whole = prefix + rnd(40);
        for (uint32_t j = 0; j < whole; j++)
            p[n + j] = (uint8_t)rnd(256);
        store(p + n + f->mlen.offset, f->mlen.width, f->little != f->mlen_swapped,
              (uint64_t)((int64_t)whole - f->mlen_adds));
        n += whole;
    }
    store(p + f->seq.offset, f->seq.width, f->little, rnd(5) ? 1 + rnd(1000000) : 0);
    if (f->count.width)
        store(p + f->count.offset, f->count.width, f->little, messages);
    if (f->length.width)
        store(p + f->length.offset, f->length.width, f->little,
              (uint64_t)((int64_t)n - f->length_adds));
    return n;
}

static void test_built_in_equivalents_behave_alike(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"mold", "moldudp64"},
                                           {"iextp", "iex-tp"},
                                           {"pitch", "cboe"},
                                           {"cme_mdp3", "cme"},
                                           {"b3_umdf", "b3"}};
    static uint8_t p[4096];
    for (unsigned i = 0; i < PST_COUNT(pairs); i++) {
        struct framing mine;
        const struct framing *theirs = framing_find(pairs[i][1]);
        unsigned kinds[5] = {0};
        map(pairs[i][0], &mine);
        assert_non_null(theirs);
        assert_int_equal(mine.nkeys, theirs->nkeys);
        for (unsigned k = 0; k < mine.nkeys; k++)
            assert_true(mine.key[k].session == theirs->key[k].session &&
                        mine.key[k].kind == theirs->key[k].kind);
        assert_int_equal(mine.first_seq, theirs->first_seq);
        for (unsigned round = 0; round < 60000; round++) {
            struct packet_view a, b;
            uint32_t len = make(theirs, p, rnd(6));
            unsigned what = rnd(8);
            if (what == 0)
                p[rnd(len)] ^= (uint8_t)(1u << rnd(8));
            else if (what == 1)
                len = rnd(len + 1);
            else if (what == 2)
                p[len++] = 0;
            else if (what == 3 && theirs->count.width) /* end of session, or too many */
                store(p + theirs->count.offset, theirs->count.width, theirs->little, ~0ull);
            else if (what == 4 && len > 18)
                store(p + 16, 2, theirs->little, rnd(2) ? 12 : 4); /* CME's templates */
            enum packet_kind ka = framing_parse(&mine, p, len, &a, at),
                             kb = framing_parse(theirs, p, len, &b, at2);
            /* IEX-TP described by length and count: an idle header with bytes behind it is
             * malformed there and idle here; a sound sender makes neither. */
            if (i == 1 && kb == PACKET_HEARTBEAT && len != 40)
                continue;
            if (ka != kb || a.seq != b.seq || a.reset != b.reset || a.idle != b.idle ||
                a.retransmitted != b.retransmitted || a.reason != b.reason)
                fail_msg("%s round %u: kind %d %d, reason %d %d", pairs[i][0], round, ka, kb,
                         a.reason, b.reason);
            kinds[ka]++;
            if (ka == PACKET_MALFORMED)
                continue;
            assert_int_equal(a.count, b.count);
            assert_int_equal(a.seqs, b.seqs);
            assert_int_equal(a.bytes, b.bytes);
            assert_int_equal(a.offset, b.offset);
            assert_memory_equal(a.key, b.key, sizeof a.key);
            assert_ptr_equal(a.first, b.first);
            if (ka == PACKET_DATA || ka == PACKET_UNSEQUENCED)
                assert_memory_equal(at, at2, (a.count + 1) * sizeof at[0]);
            char ta[FRAMING_TEXT_MAX], tb[FRAMING_TEXT_MAX];
            framing_key_text(&mine, a.key, ta, sizeof ta);
            framing_key_text(theirs, b.key, tb, sizeof tb);
            assert_string_equal(ta, tb);
        }
        assert_true(kinds[PACKET_DATA] > 1000 && kinds[PACKET_MALFORMED] > 1000);
        assert_true(i == 3 || kinds[PACKET_HEARTBEAT] + kinds[PACKET_UNSEQUENCED] > 100);
        /* three of them even run the built-in's own copy of the parser */
        if (i == 0 || i == 2 || i == 3)
            assert_ptr_equal(framing_code(&mine), framing_code(theirs));
    }
}

static bool parse_one(const char *keys, struct framing *f, struct err *err)
{
    char yaml[2048];
    struct config *c;
    snprintf(yaml, sizeof yaml, "framings:\n  x: {%s}\n", keys);
    if (!config_parse("f.yaml", yaml, strlen(yaml), &c, err))
        return false;
    bool ok = wiring_framing(c, &c->framings.at[0], f, err);
    config_free(c);
    return ok;
}

static void test_refusals_name_file_and_line(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"header: 8, seq: {at: 0, width: 5}, counts: packets", "width 5"},
        {"header: 8, seq: {at: 0, width: 4}, count: {at: 0, width: 1, in: message}, message: "
         "{header: 4, length: {at: 0, width: 2}}",
         "lies in the message"},
        {"header: 8, seq: {at: 0, width: 4}, counts: packets, stream_key: [{at: 1, width: 2, in: "
         "message}], message: {header: 4, length: {at: 0, width: 2}}",
         "header: 0"},
        {"header: 8, seq: {at: 0, width: 4}, counts: packets, stream_key: [{at: 0, width: 7}]",
         "as: text or as: hex"},
        {"header: 8, seq: {at: 0, width: 4}, counts: packets, heartbeat: [{at: 0, width: 7, value: "
         "1}]",
         "width 7"},
        {"header: 8, seq: {at: 0, width: 4}", "counted by nobody"},
        {"header: 8, seq: {at: 0, width: 4}, padding: 1, message: {length: {at: 0, width: 2}}",
         "which is the last"},
        {"header: 8, seq: {at: 0, width: 4}, counts: packets, "
         "data: [{at: 0, value: 1, or_else: true}, {at: 0, value: 2, or_else: true}, {at: 0, "
         "value: 3, or_else: true}, {at: 0, value: 4, or_else: true}, {at: 0, value: 5, or_else: "
         "true}, {at: 0, value: 6}, {at: 0, value: 7}, {at: 0, value: 8}], "
         "reset: [{at: 0, value: 1}, {at: 0, value: 2}, {at: 0, value: 3}, {at: 0, value: 4}, {at: "
         "0, value: 5}]",
         "more than 12 conditions"},
    };
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        struct framing f;
        struct err err = {0};
        assert_false(parse_one(bad[i][0], &f, &err));
        if (!strstr(err.text, bad[i][1]) || strncmp(err.text, "f.yaml:2: framings.x", 20) != 0)
            fail_msg("case %u: %s", i, err.text);
    }
}

static enum packet_kind kind_of(const struct framing *f, const char *bytes, uint32_t len,
                                struct packet_view *v)
{
    return framing_parse(f, (const uint8_t *)bytes, len, v, at);
}

/* Conditions: all of an alternative, any of several, negated, masked. */
static void test_conditions(void **state)
{
    (void)state;
    struct framing f;
    struct err err = {0};
    struct packet_view v;
    if (!parse_one("header: 6, seq: {at: 0, width: 2}, counts: packets, "
                   "heartbeat: [{at: 2, value: 1}, {at: 3, value: 2}, {at: 2, value: 9, or_else: "
                   "true}], reset: [{at: 4, mask: 0x80, value: 0x80}], "
                   "retransmitted: [{at: 5, value: 0, negate: true}]",
                   &f, &err))
        fail_msg("%s", err.text);
    assert_int_equal(kind_of(&f, "\0\7\1\2\0\0", 6, &v), PACKET_HEARTBEAT);
    assert_int_equal(kind_of(&f, "\0\7\1\3\0\0", 6, &v), PACKET_DATA);
    assert_int_equal(kind_of(&f, "\0\7\3\2\0\0", 6, &v), PACKET_DATA);
    assert_int_equal(kind_of(&f, "\0\7\11\3\0\0", 6, &v), PACKET_HEARTBEAT);
    kind_of(&f, "\0\7\0\0\201\0", 6, &v);
    assert_true(v.reset && !v.retransmitted);
    kind_of(&f, "\0\7\0\0\1\1", 6, &v);
    assert_true(!v.reset && v.retransmitted);
}

/* What a heartbeat's number is; padding; the other byte order of a length; a fraction. */
static void test_effects_of_keys(void **state)
{
    (void)state;
    static const struct {
        const char *which;
        enum packet_kind kind;
        uint64_t seq;
        bool idle;
    } hb[] = {{"next", PACKET_HEARTBEAT, 7, false},
              {"last", PACKET_HEARTBEAT, 8, false},
              {"own", PACKET_DATA, 7, true},
              {"none", PACKET_UNSEQUENCED, 7, false}};
    struct framing f;
    struct err err = {0};
    struct packet_view v;
    char keys[512];
    for (unsigned i = 0; i < PST_COUNT(hb); i++) {
        snprintf(keys, sizeof keys,
                 "header: 4, seq: {at: 0, width: 2}, counts: packets, heartbeat: [{at: 2, value: "
                 "1}], heartbeat_seq: %s",
                 hb[i].which);
        if (!parse_one(keys, &f, &err))
            fail_msg("%s", err.text);
        assert_int_equal(kind_of(&f, "\0\7\1\0", 4, &v), hb[i].kind);
        assert_int_equal(v.seq, hb[i].seq);
        assert_int_equal(v.idle, hb[i].idle);
    }
    for (unsigned pad = 0; pad < 3; pad++) {
        snprintf(keys, sizeof keys,
                 "header: 3, seq: {at: 0, width: 2}, count: {at: 2, width: 1}, padding: %u, "
                 "message: {length: {at: 0, width: 1}}",
                 pad);
        if (!parse_one(keys, &f, &err))
            fail_msg("%s", err.text);
        assert_int_equal(kind_of(&f, "\0\7\1\2ab", 6, &v), PACKET_DATA);
        assert_int_equal(at[1], 3);
        assert_int_equal(kind_of(&f, "\0\7\1\2ab\0\0", 8, &v),
                         pad >= 2 ? PACKET_DATA : PACKET_MALFORMED);
    }
    if (!parse_one("header: 12, seq: {at: 0, width: 2}, counts: packets, send_time: {at: 4, width: "
                   "4, fraction_at: 8}, message: {header: 3, length: {at: 0, width: 2, order: le, "
                   "includes_self: true}}",
                   &f, &err))
        fail_msg("%s", err.text);
    assert_int_equal(kind_of(&f, "\0\7\0\0\0\0\0\2\0\0\0\3\4\0xx\3\0y", 19, &v), PACKET_DATA);
    assert_int_equal(v.count, 2);
    assert_int_equal(v.send_time, 2ull << 32 | 3);
    /* the text of a stream key */
    static const char *const as[][2] = {{"auto", "12849"}, {"text", "21"}, {"hex", "3231"}};
    for (unsigned i = 0; i < PST_COUNT(as); i++) {
        char text[64];
        snprintf(keys, sizeof keys,
                 "header: 6, seq: {at: 0, width: 2}, counts: packets, stream_key: [{at: 2, width: "
                 "2, as: %s}]",
                 as[i][0]);
        struct framing k;
        if (!parse_one(keys, &k, &err))
            fail_msg("%s", err.text);
        assert_int_equal(kind_of(&k,
                                 "\0\7"
                                 "21\0\0xx",
                                 8, &v),
                         PACKET_DATA);
        uint32_t n = framing_key_text(&k, v.key, text, sizeof text);
        text[n] = 0;
        assert_string_equal(text, as[i][1]);
    }
    /* shorter than message.header */
    assert_int_equal(kind_of(&f, "\0\7\0\0\0\0\0\2\0\0\0\3\2\0", 14, &v), PACKET_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_map),
        cmocka_unit_test(test_built_in_equivalents_behave_alike),
        cmocka_unit_test(test_refusals_name_file_and_line),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_effects_of_keys),
        cmocka_unit_test(test_captures),
        cmocka_unit_test(test_manifest_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
