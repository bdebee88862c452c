/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "packet.h"
#include "pcap_read.h"
#include "support/data.h"
#include "support/guard.h"

/* A frame under construction; the builder below is written from the RFCs, not from the parser. */
struct wire {
    uint8_t b[2048];
    uint32_t n;
};

static void add(struct wire *f, const void *p, size_t n)
{
    memcpy(f->b + f->n, p, n);
    f->n += (uint32_t)n;
}

static void add16(struct wire *f, unsigned v)
{
    add(f, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static uint16_t sum16(const uint8_t *b, size_t n, uint32_t start)
{
    uint32_t s = start;
    for (size_t i = 0; i < n; i++) {
        s += i % 2 ? b[i] : (uint32_t)b[i] << 8;
    }
    while (s > 0xffff) {
        s = (s & 0xffff) + (s >> 16);
    }
    return (uint16_t)~s;
}

struct shape {
    int vlans;
    uint16_t tpid[8], tci[8];
    int options; /* bytes, a multiple of 4 */
    unsigned flags_offset;
    int protocol;     /* 0: UDP */
    int ip_len_error; /* added to the total length */
    int udp_len_error;
    int version;
    int arista; /* 0 none, 1 64-bit, 2 48-bit, 3 unknown */
    uint32_t payload;
    uint32_t trailer;
};

static uint32_t ip_at, udp_at; /* of the last frame built */

static struct wire build(struct shape s)
{
    struct wire f = {.n = 0};
    add(&f, "\x01\x00\x5e\x36\x0c\x6f\x02\x11\x22\x33\x44\x55", 12);
    if (s.arista) {
        add16(&f, 0xd28b);
        add16(&f, 1);
        add16(&f, (unsigned)s.arista << 4 | 0x0100);
        add(&f, "\x5c\xee\xed\x57\x38\x4f\x59\xc8", s.arista == 2 ? 6 : 8);
    }
    for (int i = 0; i < s.vlans; i++) {
        add16(&f, s.tpid[i] ? s.tpid[i] : 0x8100);
        add16(&f, s.tci[i]);
    }
    add16(&f, 0x0800);
    ip_at = f.n;
    uint32_t hlen = 20 + (uint32_t)s.options, udp_len = 8 + s.payload;
    uint8_t ip[60] = {0};
    ip[0] = (uint8_t)((s.version ? s.version : 4) << 4 | hlen / 4);
    uint32_t total = hlen + udp_len + (uint32_t)s.ip_len_error;
    ip[2] = (uint8_t)(total >> 8);
    ip[3] = (uint8_t)total;
    ip[6] = (uint8_t)(s.flags_offset >> 8);
    ip[7] = (uint8_t)s.flags_offset;
    ip[8] = 16;
    ip[9] = (uint8_t)(s.protocol ? s.protocol : 17);
    memcpy(ip + 12, "\x0a\x01\x02\x03\xe9\x36\x0c\x6f", 8);
    for (int i = 0; i < s.options; i++) {
        ip[20 + i] = 1; /* no-operation */
    }
    uint16_t c = sum16(ip, hlen, 0);
    ip[10] = (uint8_t)(c >> 8);
    ip[11] = (uint8_t)c;
    add(&f, ip, hlen);
    udp_at = f.n;
    add16(&f, 51000);
    add16(&f, 26477);
    add16(&f, udp_len + (uint32_t)s.udp_len_error);
    add16(&f, 0);
    for (uint32_t i = 0; i < s.payload; i++) {
        f.b[f.n++] = (uint8_t)(i * 7 + 1);
    }
    c = sum16(f.b + udp_at, udp_len, 0x0a01 + 0x0203 + 0xe936 + 0x0c6f + 17 + udp_len);
    f.b[udp_at + 6] = (uint8_t)(c >> 8);
    f.b[udp_at + 7] = (uint8_t)c;
    memset(f.b + f.n, 0xee, s.trailer);
    f.n += s.trailer;
    return f;
}

static struct guard guard;

/* Both ways in must agree; the bytes end at an unreadable page. */
static enum drop parse_flags(const struct wire *f, uint32_t len, uint32_t wire, uint8_t flags,
                             uint16_t tci, struct udp_view *v)
{
    struct pkt p = {.data = guard_copy(&guard, f->b, len),
                    .len = len,
                    .wire_len = wire,
                    .flags = flags,
                    .vlan_tci = tci};
    struct udp_view slow = {0};
    enum drop d = packet_parse(&p, v);
    assert_int_equal(d, packet_parse_slow(&p, &slow));
    if (d == DROP_none) {
        assert_ptr_equal(v->payload, slow.payload);
        assert_int_equal(v->payload_len, slow.payload_len);
        assert_int_equal(v->vlans, slow.vlans);
    }
    return d;
}

static enum drop parse(const struct wire *f, struct udp_view *v)
{
    return parse_flags(f, f->n, f->n, 0, 0, v);
}

static void check(struct shape s, int vlans)
{
    struct udp_view v = {0};
    struct wire f = build(s);
    assert_int_equal(parse(&f, &v), DROP_none);
    assert_int_equal(v.payload_len, s.payload);
    assert_memory_equal(v.payload, f.b + udp_at + 8, s.payload);
    assert_int_equal(v.dst_ip, 0xe9360c6f);
    assert_int_equal(v.src_ip, 0x0a010203);
    assert_int_equal(v.dst_port, 26477);
    assert_int_equal(v.src_port, 51000);
    assert_int_equal(v.ip_off, ip_at);
    assert_int_equal(v.vlans, vlans);
    for (int i = 0; i < vlans; i++) {
        assert_int_equal(v.vlan[i], s.tci[i] & 0xfff);
    }
    struct pkt p = {.data = f.b, .len = f.n, .wire_len = f.n};
    assert_int_equal(packet_parse(&p, &v), DROP_none);
    assert_int_equal(packet_verify(&p, &v), DROP_none);
}

static void every_tag_depth(void **state)
{
    (void)state;
    static const uint16_t tpids[] = {0x8100, 0x88a8, 0x9100};
    for (int n = 0; n <= 4; n++) {
        for (int kind = 0; kind < 3; kind++) {
            struct shape s = {.vlans = n, .payload = 40};
            for (int i = 0; i < n; i++) {
                s.tpid[i] = tpids[(i + kind) % 3];
                s.tci[i] = (uint16_t)(0x6000 | (100 + i)); /* priority bits are not the id */
            }
            if (n <= PACKET_VLANS) {
                check(s, n);
            } else {
                struct udp_view v;
                struct wire f = build(s);
                assert_int_equal(parse(&f, &v), DROP_vlan_depth);
            }
        }
    }
}

static void stripped_tag_is_recorded(void **state)
{
    (void)state;
    struct udp_view v = {0};
    struct wire f = build((struct shape){.vlans = 1, .tci = {7}, .payload = 30});
    assert_int_equal(parse_flags(&f, f.n, f.n, PKT_VLAN_STRIPPED, 0xf08d, &v), DROP_none);
    assert_int_equal(v.vlans, 2);
    assert_int_equal(v.vlan[0], 141);
    assert_int_equal(v.vlan[1], 7);
    struct wire deep = build((struct shape){.vlans = 3, .payload = 30});
    assert_int_equal(parse_flags(&deep, deep.n, deep.n, PKT_VLAN_STRIPPED, 1, &v), DROP_vlan_depth);
}

static void options_padding_and_trailers(void **state)
{
    (void)state;
    for (int o = 0; o <= 40; o += 4) {
        check((struct shape){.options = o, .payload = 25}, 0);
        check((struct shape){.options = o, .payload = 25, .vlans = 2, .tci = {1, 2}}, 2);
    }
    for (uint32_t pad = 0; pad <= 16; pad++) {
        check((struct shape){.payload = 2, .trailer = pad}, 0);
        check((struct shape){.payload = 0, .trailer = pad, .vlans = 1, .tci = {9}}, 1);
    }
    check((struct shape){.payload = 1472}, 0);
    /* UDP shorter than the IP packet: legal, and the UDP length decides. */
    struct udp_view v = {0};
    struct wire f = build((struct shape){.payload = 20, .udp_len_error = -5});
    assert_int_equal(parse(&f, &v), DROP_none);
    assert_int_equal(v.payload_len, 15);
}

static void arista_time_headers(void **state)
{
    (void)state;
    check((struct shape){.arista = 1, .payload = 33}, 0);
    check((struct shape){.arista = 2, .payload = 33}, 0);
    check((struct shape){.arista = 1, .payload = 33, .vlans = 1, .tci = {100}}, 1);
    struct udp_view v;
    struct wire f = build((struct shape){.arista = 3, .payload = 33});
    assert_int_equal(parse(&f, &v), DROP_not_ip);
}

static void reasons(void **state)
{
    (void)state;
    static const struct {
        struct shape s;
        enum drop want;
    } cases[] = {
        {{.payload = 40, .flags_offset = 0x2000}, DROP_fragment}, /* the first of several */
        {{.payload = 40, .flags_offset = 0x2005}, DROP_fragment},
        {{.payload = 40, .flags_offset = 0x0005}, DROP_fragment}, /* the last */
        {{.payload = 40, .flags_offset = 0x4000}, DROP_none},     /* do not fragment */
        {{.payload = 40, .protocol = 6}, DROP_not_udp},
        {{.payload = 40, .protocol = 253}, DROP_not_udp},
        {{.payload = 40, .protocol = 2}, DROP_igmp},
        {{.payload = 40, .version = 6}, DROP_bad_ihl},
        {{.payload = 40, .ip_len_error = 1}, DROP_bad_ip_length},
        {{.payload = 40, .ip_len_error = -49}, DROP_bad_ip_length}, /* 19 */
        {{.payload = 40, .ip_len_error = -41}, DROP_bad_udp_length},
        {{.payload = 40, .ip_len_error = -1}, DROP_bad_udp_length},
        {{.payload = 40, .udp_len_error = 1}, DROP_bad_udp_length},
        {{.payload = 40, .udp_len_error = 1, .trailer = 50}, DROP_bad_udp_length},
        {{.payload = 40, .udp_len_error = -41}, DROP_bad_udp_length}, /* 7 */
        {{.payload = 40, .udp_len_error = -40}, DROP_none},
    };
    struct udp_view v;
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        struct wire f = build(cases[i].s);
        assert_int_equal(parse(&f, &v), cases[i].want);
        struct shape tagged = cases[i].s; /* the same below a tag */
        tagged.vlans = 1;
        f = build(tagged);
        assert_int_equal(parse(&f, &v), cases[i].want);
    }
    struct wire f = build((struct shape){.payload = 40});
    f.b[14] = 0x44; /* IHL 16 */
    assert_int_equal(parse(&f, &v), DROP_bad_ihl);
    static const struct {
        uint16_t type;
        enum drop want;
    } types[] = {{0x86dd, DROP_ipv6},   {0x0806, DROP_arp},    {0x88f7, DROP_ptp},
                 {0x88b5, DROP_not_ip}, {0x0026, DROP_not_ip}, {0x88cc, DROP_not_ip}};
    for (size_t i = 0; i < PST_COUNT(types); i++) {
        f = build((struct shape){.payload = 40});
        f.b[12] = (uint8_t)(types[i].type >> 8);
        f.b[13] = (uint8_t)types[i].type;
        assert_int_equal(parse(&f, &v), types[i].want);
    }
}

/* Cut after each byte: as a capture's snaplen does, the packet is truncated; as a runt on the wire
 * it has another reason; never does it parse, never is a byte beyond the end read. */
static void cut_at_every_byte(void **state)
{
    (void)state;
    static const struct shape shapes[] = {{.payload = 40},
                                          {.payload = 40, .vlans = 1},
                                          {.payload = 40, .vlans = 3},
                                          {.payload = 40, .options = 12},
                                          {.payload = 40, .arista = 1}};
    for (size_t i = 0; i < PST_COUNT(shapes); i++) {
        struct wire f = build(shapes[i]);
        for (uint32_t len = 0; len < f.n; len++) {
            struct udp_view v;
            assert_int_equal(parse_flags(&f, len, f.n, 0, 0, &v), DROP_truncated);
            enum drop d = parse_flags(&f, len, len, 0, 0, &v);
            assert_true(d == DROP_runt || d == DROP_bad_ip_length);
        }
    }
    /* The snaplen took only the trailer: nothing of ours is missing. */
    struct udp_view v;
    struct wire f = build((struct shape){.payload = 40, .trailer = 12});
    assert_int_equal(parse_flags(&f, f.n - 12, f.n, 0, 0, &v), DROP_none);
}

static void checksums(void **state)
{
    (void)state;
    for (uint32_t payload = 0; payload < 70; payload++) {
        struct wire f = build((struct shape){.payload = payload, .options = 4, .trailer = 9});
        struct pkt p = {.data = f.b, .len = f.n, .wire_len = f.n};
        struct udp_view v = {0};
        assert_int_equal(packet_parse(&p, &v), DROP_none);
        assert_int_equal(packet_verify(&p, &v), DROP_none);
        if (payload) {
            f.b[udp_at + 8 + payload - 1] ^= 0x10;
            assert_int_equal(packet_verify(&p, &v), DROP_bad_udp_checksum);
            p.flags = PKT_CSUM_CHECKED; /* the device knows better */
            assert_int_equal(packet_verify(&p, &v), DROP_none);
            p.flags = 0;
            put16(f.b + udp_at + 6, 0); /* "no checksum" */
            assert_int_equal(packet_verify(&p, &v), DROP_none);
        }
        f.b[ip_at + 8]++; /* TTL */
        assert_int_equal(packet_verify(&p, &v), DROP_bad_ip_checksum);
        f.b[ip_at + 8]--;
        p.flags = PKT_IP_CSUM_BAD;
        assert_int_equal(packet_verify(&p, &v), DROP_bad_ip_checksum);
        p.flags = PKT_UDP_CSUM_BAD;
        assert_int_equal(packet_verify(&p, &v), DROP_bad_udp_checksum);
    }
}

static void unrouted(void **state)
{
    (void)state;
    assert_int_equal(packet_unrouted(&(struct udp_view){.dst_ip = 0xe0000181, .dst_port = 319}),
                     DROP_ptp);
    assert_int_equal(packet_unrouted(&(struct udp_view){.dst_ip = 0xe000006b, .dst_port = 320}),
                     DROP_ptp);
    assert_int_equal(packet_unrouted(&(struct udp_view){.dst_ip = 0xe9360c6f, .dst_port = 319}),
                     DROP_wrong_group);
    assert_int_equal(packet_unrouted(&(struct udp_view){.dst_ip = 0xe0000181, .dst_port = 321}),
                     DROP_wrong_group);
}

/* The table: names are unique, usable as identifiers in JSON, and each has its sentence. */
static void drop_table(void **state)
{
    (void)state;
    for (int d = 0; d < DROP_COUNT; d++) {
        const char *name = drop_name((enum drop)d), *s = drop_sentence((enum drop)d);
        assert_true(strlen(name) > 2 &&
                    strspn(name, "abcdefghijklmnopqrstuvwxyz_6") == strlen(name));
        assert_true(strlen(s) > 20 && s[strlen(s) - 1] == '.');
        for (int e = 0; e < d; e++) {
            assert_string_not_equal(name, drop_name((enum drop)e));
        }
    }
}

/* ---- real captures ---- */

struct tally {
    uint64_t packets, by[DROP_COUNT], vlan[4096], tags[PACKET_VLANS + 1], payload, trailer8;
};

static void count_file(const char *path, struct tally *t)
{
    struct err err = {0};
    struct pcap_reader *r = pcap_read_open(path, &err);
    if (!r) {
        fail_msg("%s", err.text);
    }
    struct pcap_packet k;
    int rc;
    while ((rc = pcap_read_next(r, &k, &err)) == 1) {
        struct wire f = {.n = 0};
        struct udp_view v = {0};
        enum drop d;
        if (k.len <= sizeof f.b) {
            add(&f, k.data, k.len);
            d = parse_flags(&f, k.len, k.wire_len, 0, 0, &v);
        } else {
            struct pkt p = {.data = k.data, .len = k.len, .wire_len = k.wire_len};
            d = packet_parse(&p, &v);
        }
        t->packets++;
        t->by[d]++;
        if (d == DROP_none) {
            t->payload += v.payload_len;
            t->tags[v.vlans]++;
            for (int i = 0; i < v.vlans; i++) {
                t->vlan[v.vlan[i]]++;
            }
            t->trailer8 += k.len == (uint32_t)(v.ip_off + v.ip_hlen + 8 + v.payload_len + 8);
        }
    }
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
    pcap_read_close(r);
}

static void count_dir(const char *relative, struct tally *t)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", data_path(relative));
    DIR *d = opendir(dir);
    if (!d) {
        fail_msg("%s is missing", dir);
    }
    for (struct dirent *e; (e = readdir(d));) {
        char path[2 * PATH_MAX];
        if (strstr(e->d_name, ".pcap")) {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            count_file(path, t);
        }
    }
    closedir(d);
}

static void real_network_captures(void **state)
{
    (void)state;
    DATA_OR_SKIP("network/ and hw_timestamp/");
    static const struct {
        const char *file;
        uint64_t packets;
        enum drop want;
        uint64_t n;
    } cases[] = {
        {"network/tcpdump_IGMP_V1.pcap", 27, DROP_igmp, 27},
        {"network/tcpdump_IGMP_V2.pcap", 18, DROP_igmp, 18},
        {"network/tcpdump_igmpv3-queries.pcap", 6, DROP_igmp, 6},
        {"network/tcpdump_802.1ad_QinQ.pcap", 2, DROP_arp, 2},
        {"network/tcpdump_ipv6_jumbogram_1.pcap", 1, DROP_ipv6, 1},
        {"network/tcpdump_ptp_ethernet.pcap", 205, DROP_ptp, 205},
        {"network/tcpdump_ptp.pcap", 5, DROP_none, 5}, /* over UDP: the route decides */
        {"network/tcpdump_tcp-handshake-nano.pcap", 3, DROP_not_udp, 3},
        {"hw_timestamp/exa_exa.mode.append.pcap", 36, DROP_not_ip, 33}, /* keyframes 0x88b5 */
        {"hw_timestamp/exa_exa.mode.fcs.pcap", 21, DROP_not_ip, 18},
        {"hw_timestamp/exa_fusion_hpt_example.pcap", 24, DROP_not_udp, 20}, /* ICMP; 4 ARP */
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        struct tally t = {0};
        count_file(data_path(cases[i].file), &t);
        assert_int_equal(t.packets, cases[i].packets);
        assert_int_equal(t.by[cases[i].want], cases[i].n);
    }
    /* 16 Arista frames: eight of IPv4 (protocol 63) and eight of MPLS, half of them below a tag. */
    struct tally t = {0};
    count_file(data_path("network/tcpdump_arista_ether.pcap"), &t);
    assert_int_equal(t.packets, 16);
    assert_int_equal(t.by[DROP_not_udp], 8);
    assert_int_equal(t.by[DROP_not_ip], 8);
}

static void real_feeds(void **state)
{
    (void)state;
    DATA_OR_SKIP("itch_other/asx, itch50, iex, b3, cme");
    struct tally t = {0};
    count_dir("itch_other/asx", &t);
    assert_int_equal(t.packets, 14); /* each with 4 bytes of ticks and 4 of FCS behind it */
    assert_int_equal(t.by[DROP_none], 14);
    assert_int_equal(t.trailer8, 14);

    memset(&t, 0, sizeof t);
    count_dir("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0", &t);
    assert_true(t.packets > 0);
    assert_int_equal(t.by[DROP_none], t.packets);
    assert_int_equal(t.vlan[141], t.packets);

    memset(&t, 0, sizeof t);
    count_file(data_path("iex/iex_TOPS16.pcapng.gz"), &t);
    assert_int_equal(t.packets, 13022);
    assert_int_equal(t.by[DROP_none], 13022);

    memset(&t, 0, sizeof t);
    count_file(data_path("iex/iex_example1.pcap"), &t);
    assert_int_equal(t.packets, 3); /* the file ends within the third */
    assert_int_equal(t.by[DROP_none], 2);
    assert_int_equal(t.by[DROP_truncated], 1);

    memset(&t, 0, sizeof t);
    count_file(data_path("b3_umdf_sbe/b3_Instrument.pcap.gz"), &t);
    assert_int_equal(t.by[DROP_none], 629);

    memset(&t, 0, sizeof t);
    count_file(data_path("cboe_pitch/bats_mcastpitch_spin_useq.pcap"), &t);
    assert_int_equal(t.by[DROP_not_udp], 33);

    memset(&t, 0, sizeof t);
    count_dir("cboe_pitch/omi/Byx.Equities.DepthOfBook.Pitch.v2.41", &t);
    assert_int_equal(t.vlan[142], t.packets);
    count_dir("b3_umdf_sbe/BinaryUmdf.v1.5", &t);
    assert_int_equal(t.vlan[1877], 5);
    count_dir("cme_mdp3/Mdp3.Sbe.v1.5", &t);
    assert_int_equal(t.vlan[1635], 1);
}

static int open_guard(void **state)
{
    (void)state;
    guard_open(&guard, 4096);
    return 0;
}

static int close_guard(void **state)
{
    (void)state;
    guard_close(&guard);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tag_depth),
        cmocka_unit_test(stripped_tag_is_recorded),
        cmocka_unit_test(options_padding_and_trailers),
        cmocka_unit_test(arista_time_headers),
        cmocka_unit_test(reasons),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(checksums),
        cmocka_unit_test(unrouted),
        cmocka_unit_test(drop_table),
        cmocka_unit_test(real_network_captures),
        cmocka_unit_test(real_feeds),
    };
    return cmocka_run_group_tests(tests, open_guard, close_guard);
}
