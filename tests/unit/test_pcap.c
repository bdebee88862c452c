/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>

#include "core/clock.h"
#include "packet.h"
#include "pcap_read.h"
#include "port.h"
#include "support/data.h"

#define Y2000 946684800u

/* A capture under construction, in either byte order. */
struct file {
    uint8_t b[1 << 16];
    uint32_t n;
    bool big;
};

static void add(struct file *f, const void *p, size_t n)
{
    memcpy(f->b + f->n, p, n);
    f->n += (uint32_t)n;
}

static void add16(struct file *f, uint16_t v)
{
    v = f->big ? __builtin_bswap16(v) : v;
    add(f, &v, 2);
}

static void add32(struct file *f, uint32_t v)
{
    v = f->big ? __builtin_bswap32(v) : v;
    add(f, &v, 4);
}

static void pcap_header(struct file *f, uint32_t magic, uint32_t link)
{
    add32(f, magic);
    add16(f, 2);
    add16(f, 4);
    add32(f, 0);
    add32(f, 0);
    add32(f, 65535);
    add32(f, link);
}

static void pcap_record(struct file *f, uint32_t sec, uint32_t frac, const void *p, uint32_t len,
                        uint32_t wire)
{
    add32(f, sec);
    add32(f, frac);
    add32(f, len);
    add32(f, wire);
    add(f, p, len);
}

static uint32_t block_at;
static void block(struct file *f, uint32_t type)
{
    block_at = f->n;
    add32(f, type);
    add32(f, 0);
}

static void block_end(struct file *f)
{
    while (f->n % 4) {
        add(f, "", 1);
    }
    add32(f, f->n + 4 - block_at);
    memcpy(f->b + block_at + 4, f->b + f->n - 4, 4);
}

static void ng_section(struct file *f)
{
    block(f, 0x0a0d0d0a);
    add32(f, 0x1a2b3c4d);
    add16(f, 1);
    add16(f, 0);
    add32(f, ~0u);
    add32(f, ~0u);
    block_end(f);
}

static void ng_interface(struct file *f, uint16_t link, uint32_t snaplen, int tsresol,
                         int64_t offset)
{
    block(f, 1);
    add16(f, link);
    add16(f, 0);
    add32(f, snaplen);
    add16(f, 2); /* if_name, to be passed over */
    add16(f, 3);
    add(f, "eth\0", 4);
    if (tsresol >= 0) {
        add16(f, 9);
        add16(f, 1);
        add(f, (uint8_t[]){(uint8_t)tsresol, 0, 0, 0}, 4);
    }
    if (offset) {
        add16(f, 14);
        add16(f, 8);
        uint64_t v = (uint64_t)offset;
        v = f->big ? __builtin_bswap64(v) : v;
        add(f, &v, 8);
    }
    add16(f, 0);
    add16(f, 0);
    block_end(f);
}

static void ng_packet(struct file *f, uint32_t iface, uint64_t ticks, const void *p, uint32_t len,
                      uint32_t wire)
{
    block(f, 6);
    add32(f, iface);
    add32(f, (uint32_t)(ticks >> 32));
    add32(f, (uint32_t)ticks);
    add32(f, len);
    add32(f, wire);
    add(f, p, len);
    block_end(f);
}

static const uint8_t frame[60] = "\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01\x08\x00payload";
static const uint8_t datagram[] = {0x45, 0,    0,    30,   0, 0,  0,   0, 1,   17,
                                   0,    0,    10,   0,    0, 1,  239, 1, 2,   3,
                                   0x03, 0xe8, 0x67, 0x20, 0, 10, 0,   0, 'h', 'i'};

static struct pcap_reader *reader(const struct file *f)
{
    struct err err = {0};
    struct pcap_reader *r = pcap_read_memory(f->b, f->n, &err);
    if (!r) {
        fail_msg("%s", err.text);
    }
    return r;
}

static struct pcap_packet one(struct pcap_reader *r)
{
    struct pcap_packet k = {0};
    struct err err = {0};
    int rc = pcap_read_next(r, &k, &err);
    if (rc != 1) {
        fail_msg("no packet: %d %s %s", rc, err.text, pcap_read_note(r));
    }
    return k;
}

static void at_end(struct pcap_reader *r)
{
    struct pcap_packet k;
    struct err err = {0};
    assert_int_equal(pcap_read_next(r, &k, &err), 0);
    assert_string_equal(pcap_read_note(r), "");
    pcap_read_close(r);
}

static void classic_magics_and_byte_orders(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        static struct file f;
        f.n = 0;
        f.big = i & 1;
        bool ns = i & 2;
        pcap_header(&f, ns ? 0xa1b23c4d : 0xa1b2c3d4, 1);
        pcap_record(&f, Y2000 + 7, ns ? 123456789 : 123456, frame, 60, 60);
        pcap_record(&f, Y2000 - 1, 0, frame, 40, 1500); /* before 2000; cut by the snaplen */
        struct pcap_reader *r = reader(&f);
        struct pcap_packet k = one(r);
        assert_int_equal(k.time, 7 * NS_PER_S + (ns ? 123456789 : 123456000));
        assert_int_equal(k.len, 60);
        assert_memory_equal(k.data, frame, 60);
        k = one(r);
        assert_int_equal(k.time, -NS_PER_S);
        assert_int_equal(k.len, 40);
        assert_int_equal(k.wire_len, 1500);
        assert_int_equal(k.number, 2);
        assert_int_equal(pcap_read_counts(r)->snapped, 1);
        at_end(r);
    }
}

/* Two sections of different byte order, three interfaces with their own resolution and offset, each
 * kind of packet block, and blocks that are no packets. */
static void pcapng_sections_interfaces_blocks(void **state)
{
    (void)state;
    static struct file f;
    f.n = 0;
    f.big = false;
    ng_section(&f);
    ng_interface(&f, 1, 0, -1, 0);        /* µs by default */
    ng_interface(&f, 1, 48, 9, 3600);     /* ns, an hour's offset */
    ng_interface(&f, 1, 0, 0x80 | 10, 0); /* 1/1024 s */
    ng_packet(&f, 0, (Y2000 + 5ull) * 1000000 + 1, frame, 59, 60);
    ng_packet(&f, 1, (Y2000 + 5ull) * NS_PER_S + 1, frame, 48, 60);
    ng_packet(&f, 2, (Y2000 + 5ull) * 1024 + 512, frame, 60, 60);
    block(&f, 2); /* obsolete packet block: interface and drop count in one word */
    add16(&f, 1);
    add16(&f, 77);
    uint64_t t = (Y2000 + 9ull) * NS_PER_S;
    add32(&f, (uint32_t)(t >> 32));
    add32(&f, (uint32_t)t);
    add32(&f, 20);
    add32(&f, 20);
    add(&f, frame, 20);
    block_end(&f);
    block(&f, 4); /* names */
    add(&f, "junkjunk", 8);
    block_end(&f);
    block(&f, 5); /* statistics: if_drop 42 */
    add32(&f, 0);
    add32(&f, 0);
    add32(&f, 0);
    add16(&f, 5);
    add16(&f, 8);
    add32(&f, 42);
    add32(&f, 0);
    block_end(&f);
    ng_packet(&f, 3, 0, frame, 60, 60); /* no such interface: skipped, counted */
    f.big = true;
    ng_section(&f);
    ng_interface(&f, 1, 32, 6, 0);
    block(&f, 3); /* simple: no time, cut at the interface's snaplen */
    add32(&f, 60);
    add(&f, frame, 32);
    block_end(&f);
    ng_packet(&f, 0, (Y2000 + 6ull) * 1000000, frame, 32, 60);

    struct pcap_reader *r = reader(&f);
    struct pcap_packet k = one(r);
    assert_int_equal(k.time, 5 * NS_PER_S + 1000);
    assert_int_equal(k.len, 59);
    k = one(r);
    assert_int_equal(k.time, 3605 * NS_PER_S + 1);
    assert_int_equal(k.interface, 1);
    k = one(r);
    assert_int_equal(k.time, 5 * NS_PER_S + NS_PER_S / 2);
    k = one(r);
    assert_int_equal(k.time, 3609 * NS_PER_S);
    assert_int_equal(k.len, 20);
    k = one(r);
    assert_false(k.has_time);
    assert_int_equal(k.len, 32);
    assert_int_equal(k.wire_len, 60);
    assert_memory_equal(k.data, frame, 32);
    k = one(r);
    assert_int_equal(k.time, 6 * NS_PER_S);
    const struct pcap_counts *c = pcap_read_counts(r);
    assert_int_equal(c->packets, 6);
    assert_int_equal(c->other_records, 1);
    assert_int_equal(c->device_drops, 42);
    assert_int_equal(c->snapped, 4);
    struct err err = {0};
    assert_int_equal(pcap_read_next(r, &k, &err), 0);
    assert_non_null(strstr(pcap_read_note(r), "1 damaged records skipped"));
    pcap_read_close(r);
}

/* Every supported link type gives a frame that the packet parser takes. */
static void link_types_become_ethernet(void **state)
{
    (void)state;
    static const struct {
        uint16_t link;
        uint8_t head[20];
        uint32_t n;
        bool big;
    } cases[] = {
        {101, {0}, 0, false},
        {228, {0}, 0, true},
        {0, {2, 0, 0, 0}, 4, false},
        {0, {0, 0, 0, 2}, 4, true},
        {108, {0, 0, 0, 2}, 4, false},
        {113, {0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0}, 16, false},
        {276, {8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 2, 6, 1, 2, 3, 4, 5, 6, 0, 0}, 20, false},
    };
    for (size_t i = 0; i < PST_COUNT(cases) * 3; i++) {
        static struct file f;
        size_t c = i / 3;
        uint8_t body[100];
        uint32_t n = cases[c].n + sizeof datagram;
        memcpy(body, cases[c].head, cases[c].n);
        memcpy(body + cases[c].n, datagram, sizeof datagram);
        f.n = 0;
        f.big = cases[c].big;
        if (i % 3 == 0) {
            pcap_header(&f, 0xa1b2c3d4, cases[c].link);
            pcap_record(&f, 0, 0, body, n, n);
            pcap_record(&f, 0, 0, body, n, n);
        } else {
            ng_section(&f);
            ng_interface(&f, cases[c].link, 0, -1, 0);
            for (int k = 0; k < 2; k++) {
                if (i % 3 == 1) {
                    ng_packet(&f, 0, 0, body, n, n);
                } else { /* the simple block has the shortest header to be overwritten */
                    block(&f, 3);
                    add32(&f, n);
                    add(&f, body, n);
                    block_end(&f);
                }
            }
        }
        struct pcap_reader *r = reader(&f);
        for (int k = 0; k < 2; k++) {
            struct pcap_packet q = one(r);
            struct pkt p = {.data = q.data, .len = q.len, .wire_len = q.wire_len};
            struct udp_view v = {0};
            assert_int_equal(packet_parse(&p, &v), DROP_none);
            assert_int_equal(v.dst_ip, 0xef010203);
            assert_int_equal(v.payload_len, 2);
            assert_memory_equal(v.payload, "hi", 2);
            assert_int_equal(q.len, 14 + sizeof datagram);
            assert_int_equal(q.wire_len, q.len);
        }
        at_end(r);
    }
}

static void unsupported_link_type(void **state)
{
    (void)state;
    static struct file f;
    f.n = 0;
    f.big = false;
    pcap_header(&f, 0xa1b2c3d4, 127);
    struct err err = {0};
    assert_null(pcap_read_memory(f.b, f.n, &err));
    assert_non_null(strstr(err.text, "link type 127"));
    f.n = 0;
    ng_section(&f);
    ng_interface(&f, 127, 0, -1, 0);
    ng_interface(&f, 1, 0, -1, 0);
    ng_packet(&f, 0, 0, frame, 60, 60);
    ng_packet(&f, 1, 0, frame, 60, 60);
    struct pcap_reader *r = reader(&f);
    assert_int_equal(one(r).interface, 1);
    struct pcap_packet k;
    assert_int_equal(pcap_read_next(r, &k, &err), 0);
    assert_int_equal(pcap_read_counts(r)->other_link, 1);
    assert_non_null(strstr(pcap_read_note(r), "link type 127"));
    pcap_read_close(r);
}

/* Cut a file of three packets after each byte: what is whole comes out whole, what there is of the
 * last one as a cut packet, and the cut is noted. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (int ng = 0; ng < 2; ng++) {
        static struct file f;
        f.n = 0;
        f.big = false;
        uint32_t ends[4], n = 0;
        if (ng) {
            ng_section(&f);
            ng_interface(&f, 1, 0, 9, 0);
        } else {
            pcap_header(&f, 0xa1b23c4d, 1);
        }
        uint32_t start = f.n;
        for (int i = 0; i < 3; i++) {
            if (ng) {
                ng_packet(&f, 0, 1, frame, 60, 60);
            } else {
                pcap_record(&f, 0, 0, frame, 60, 60);
            }
            ends[n++] = f.n;
        }
        for (uint32_t len = start; len <= f.n; len++) {
            uint64_t want = (len >= ends[0]) + (len >= ends[1]) + (len >= ends[2]);
            bool whole = len == start || len == ends[0] || len == ends[1] || len == ends[2];
            struct err err = {0};
            struct pcap_reader *r = pcap_read_memory(f.b, len, &err);
            struct pcap_packet k;
            uint64_t got = 0, parts = 0;
            assert_non_null(r);
            int rc;
            while ((rc = pcap_read_next(r, &k, &err)) == 1) {
                assert_int_equal(k.wire_len, 60);
                assert_memory_equal(k.data, frame, k.len);
                got += k.len == 60;
                parts += k.len < 60;
            }
            assert_int_equal(rc, 0);
            /* pcapng: a packet can be whole while its block's end is missing */
            assert_true(got == want || (ng && !whole && got == want + 1));
            assert_true(parts <= (uint64_t)!whole);
            assert_int_equal(pcap_read_counts(r)->snapped, parts);
            assert_int_equal(pcap_read_counts(r)->cut, !whole);
            assert_int_equal(*pcap_read_note(r) != 0, !whole);
            pcap_read_close(r);
        }
    }
}

static void lengths_are_not_trusted(void **state)
{
    (void)state;
    static struct file f;
    struct pcap_packet k;
    struct err err = {0};
    f.n = 0;
    f.big = false;
    pcap_header(&f, 0xa1b2c3d4, 1);
    pcap_record(&f, 0, 0, frame, 60, 60);
    add32(&f, 0);
    add32(&f, 0);
    add32(&f, 0xfffffff0);
    add32(&f, 60);
    struct pcap_reader *r = reader(&f);
    (void)one(r);
    assert_int_equal(pcap_read_next(r, &k, &err), -1);
    assert_non_null(strstr(err.text, "damaged after record 1"));
    assert_int_equal(pcap_read_next(r, &k, &err), 0);
    pcap_read_close(r);

    static const uint32_t lengths[] = {0, 4, 8, 13, 0xfffffffd};
    for (size_t i = 0; i < PST_COUNT(lengths); i++) {
        f.n = 0;
        ng_section(&f);
        ng_interface(&f, 1, 0, -1, 0);
        ng_packet(&f, 0, 0, frame, 60, 60);
        add32(&f, 6);
        add32(&f, lengths[i]);
        add(&f, frame, 60);
        r = reader(&f);
        (void)one(r);
        assert_int_equal(pcap_read_next(r, &k, &err), -1);
        pcap_read_close(r);
    }
    /* A captured length beyond its block. */
    f.n = 0;
    ng_section(&f);
    ng_interface(&f, 1, 0, -1, 0);
    ng_packet(&f, 0, 0, frame, 60, 60);
    put32(f.b + block_at + 20, 61);
    r = reader(&f);
    assert_int_equal(pcap_read_next(r, &k, &err), 0);
    assert_int_equal(pcap_read_counts(r)->other_records, 1);
    pcap_read_close(r);
}

static void bad_beginnings(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(pcap_read_memory("", 0, &err));
    assert_null(pcap_read_memory("hello world, not a capture", 26, &err));
    assert_non_null(strstr(err.text, "not a capture file"));
    assert_null(pcap_read_memory("\xd4\xc3\xb2\xa1 short", 10, &err));
    assert_null(pcap_read_memory("\x0a\x0d\x0d\x0a short", 10, &err));
    assert_null(pcap_read_open("/nonexistent/file.pcap", &err));
    assert_non_null(strstr(err.text, "/nonexistent/file.pcap"));
    assert_null(pcap_read_open("/", &err)); /* a directory opens, but does not read */
    assert_true(err.text[0]);
}

/* gzip through a real file, whole and cut in the middle of the compressed stream. */
static void gzip_whole_and_cut(void **state)
{
    (void)state;
    static struct file f;
    f.n = 0;
    f.big = false;
    pcap_header(&f, 0xa1b2c3d4, 1);
    for (uint32_t i = 0; i < 700; i++) {
        uint8_t p[60];
        memcpy(p, frame, 60);
        for (int k = 14; k < 60; k++) {
            p[k] = (uint8_t)((i * 2654435761u) >> (k % 24)); /* hard to compress */
        }
        pcap_record(&f, i, 0, p, 60, 60);
    }
    char path[] = "/tmp/penstock_pcap_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    gzFile gz = gzdopen(dup(fd), "wb");
    assert_int_equal(gzwrite(gz, f.b, f.n), f.n);
    assert_int_equal(gzclose(gz), Z_OK);
    off_t size = lseek(fd, 0, SEEK_END);
    for (int cut = 0; cut < 2; cut++) {
        struct err err = {0};
        struct pcap_packet k;
        if (cut) {
            assert_int_equal(ftruncate(fd, size / 2), 0);
        }
        struct pcap_reader *r = pcap_read_open(path, &err);
        assert_non_null(r);
        int rc;
        while ((rc = pcap_read_next(r, &k, &err)) == 1) {
        }
        assert_int_equal(rc, 0);
        uint64_t got = pcap_read_counts(r)->packets;
        if (cut) {
            assert_true(got > 0 && got < 700);
            assert_int_equal(pcap_read_counts(r)->cut, 1);
            assert_non_null(strstr(pcap_read_note(r), "gzip"));
        } else {
            assert_int_equal(got, 700);
            assert_string_equal(pcap_read_note(r), "");
        }
        pcap_read_close(r);
    }
    close(fd);
    unlink(path);
}

/* ---- as ports ---- */

static void file_port(void **state)
{
    (void)state;
    static struct file f;
    f.n = 0;
    f.big = false;
    pcap_header(&f, 0xa1b23c4d, 1);
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t p[60];
        memcpy(p, frame, 60);
        p[20] = (uint8_t)i;
        pcap_record(&f, Y2000 + i, 5, p, 60, i % 10 ? 60 : 99);
    }
    f.n -= 63; /* the last record is cut within its header */
    char path[] = "/tmp/penstock_port_XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, f.b, f.n), f.n);
    close(fd);
    struct err err = {0};
    struct port_config cfg = {.name = "file", .kind = PORT_PCAP, .device = path};
    struct port *port = port_open(&cfg, &err);
    assert_non_null(port);
    struct pkt p[PORT_BURST];
    uint32_t got = 0;
    for (int n; (n = port_rx(port, p, PORT_BURST)) != PORT_END;) {
        assert_true(n > 0);
        for (int i = 0; i < n; i++, got++) { /* all of a burst are valid together */
            assert_int_equal(p[i].rxtime, got * NS_PER_S + 5);
            assert_int_equal(p[i].quality, CLOCK_CAPTURE);
            assert_int_equal(p[i].data[20], got);
            assert_int_equal(p[i].wire_len, got % 10 ? 60 : 99);
        }
    }
    assert_int_equal(got, 99);
    assert_int_equal(port_rx(port, p, PORT_BURST), PORT_END);
    struct port_stats s;
    assert_true(port_stats(port, &s));
    assert_int_equal(s.rx_packets, 99);
    assert_int_equal(s.errors, 1);
    assert_non_null(strstr(port_describe(port), "ends within a record"));
    port_close(port);
    unlink(path);
    cfg.device = "/nonexistent";
    assert_null(port_open(&cfg, &err));
}

static int64_t fixed_now(void *arg)
{
    return (*(int64_t *)arg)++;
}

static void number(void *arg, uint8_t *data, uint32_t len, uint64_t loop)
{
    (*(uint64_t *)arg)++;
    assert_int_equal(len, 20);
    data[1] = (uint8_t)loop;
}

static void memory_port(void **state)
{
    (void)state;
    uint8_t bytes[50][20];
    struct mem_packet m[50];
    for (int i = 0; i < 50; i++) {
        bytes[i][0] = (uint8_t)i;
        m[i] = (struct mem_packet){bytes[i], 20};
    }
    int64_t now = 1000;
    uint64_t patched = 0;
    struct port_config cfg = {.name = "mem",
                              .kind = PORT_MEM,
                              .now = fixed_now,
                              .now_arg = &now,
                              .packets = m,
                              .n_packets = 50,
                              .loops = 3,
                              .patch = number,
                              .patch_arg = &patched};
    struct err err = {0};
    struct port *port = port_open(&cfg, &err);
    struct pkt p[PORT_BURST];
    uint32_t got = 0;
    for (int n; (n = port_rx(port, p, PORT_BURST)) != PORT_END;) {
        for (int i = 0; i < n; i++, got++) {
            assert_int_equal(p[i].data[0], got % 50);
            assert_int_equal(p[i].data[1], got / 50);
            assert_true(p[i].rxtime >= 1000);
        }
    }
    assert_int_equal(got, 150);
    assert_int_equal(patched, 150);
    struct port_stats s;
    assert_true(port_stats(port, &s));
    assert_int_equal(s.rx_packets, 150);
    assert_int_equal(s.rx_bytes, 3000);
    port_close(port);
    cfg.loops = 0; /* for ever */
    port = port_open(&cfg, &err);
    for (int i = 0; i < 1000; i++) {
        assert_true(port_rx(port, p, PORT_BURST) > 0);
    }
    port_close(port);
    cfg.n_packets = 0;
    assert_null(port_open(&cfg, &err));
}

static void device_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int kind;
        const char *device;
    } cases[] = {{"0000:3b:00.0", PORT_DPDK, "0000:3b:00.0"},
                 {"3b:00.1", PORT_DPDK, "3b:00.1"},
                 {"net_af_packet0,iface=eth1", PORT_DPDK, "net_af_packet0,iface=eth1"},
                 {"vdev:net_null0", PORT_DPDK, "net_null0"},
                 {"pcap:a.pcap", PORT_PCAP, "a.pcap"},
                 {"socket:eth1", PORT_SOCKET, "eth1"},
                 {"socket", PORT_SOCKET, NULL},
                 {"eth1", -1, NULL},
                 {"pcap:", -1, NULL},
                 {"0000:3b:00.0x", -1, NULL},
                 {"", -1, NULL}};
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        enum port_kind kind;
        const char *device;
        struct err err = {0};
        bool ok = port_device_parse(cases[i].text, &kind, &device, &err);
        assert_int_equal(ok, cases[i].kind >= 0);
        if (!ok) {
            assert_true(err.text[0]);
        } else {
            assert_int_equal(kind, cases[i].kind);
            if (cases[i].device) {
                assert_string_equal(device, cases[i].device);
            } else {
                assert_null(device);
            }
        }
    }
}

/* ---- real captures: the figures of the manifest ---- */

static void real_counts(void **state)
{
    (void)state;
    DATA_OR_SKIP("packet counts of captures");
    static const struct {
        const char *file;
        uint64_t packets, snapped;
    } cases[] = {
        {"iex/iex_TOPS16.pcapng.gz", 13022, 0},
        {"iex/iex_example1.pcap", 3, 1}, /* pcapng by content; ends within its third packet */
        {"cboe_pitch/bats_mcastpitch_grp_useq.pcap", 42, 0},
        {"cboe_pitch/bats_mcastpitch_spin_useq.pcap", 33, 0},
        {"b3_umdf_sbe/b3_Instrument.pcap.gz", 629, 0},
        {"b3_umdf_sbe/b3_Snapshot.pcap.gz", 549, 0},
        {"deribit_sbe/deribit_sample_v1_6.pcapng", 5066, 0},
        {"hw_timestamp/exa_exa.mode.append.pcap", 36, 0},
        {"hw_timestamp/exa_exa.mode.fcs.pcap", 21, 0},
        {"hw_timestamp/exa_fusion_hpt_example.pcap", 24, 0}, /* ns magic */
        {"network/tcpdump_tcp-handshake-nano.pcap", 3, 0},   /* ns magic, cooked */
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        struct err err = {0};
        struct pcap_reader *r = pcap_read_open(data_path(cases[i].file), &err);
        struct pcap_packet k;
        if (!r) {
            fail_msg("%s", err.text);
        }
        while (pcap_read_next(r, &k, &err) == 1) {
        }
        const struct pcap_counts *c = pcap_read_counts(r);
        if (c->packets != cases[i].packets || c->snapped != cases[i].snapped ||
            c->cut != cases[i].snapped) {
            fail_msg("%s: %llu packets, %llu snapped, note \"%s\"", cases[i].file,
                     (unsigned long long)c->packets, (unsigned long long)c->snapped,
                     pcap_read_note(r));
        }
        pcap_read_close(r);
    }
    /* Times: the first packet of the IEX capture is of 2017-07-10 14:32 UTC. */
    struct err err = {0};
    struct pcap_reader *r = pcap_read_open(data_path("iex/iex_TOPS16.pcapng.gz"), &err);
    struct pcap_packet k = one(r);
    int64_t minute = (k.time / NS_PER_S + CLOCK_EPOCH_S) / 60;
    assert_int_equal(minute, 1499697120 / 60);
    pcap_read_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classic_magics_and_byte_orders),
        cmocka_unit_test(pcapng_sections_interfaces_blocks),
        cmocka_unit_test(link_types_become_ethernet),
        cmocka_unit_test(unsupported_link_type),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(lengths_are_not_trusted),
        cmocka_unit_test(bad_beginnings),
        cmocka_unit_test(gzip_whole_and_cut),
        cmocka_unit_test(file_port),
        cmocka_unit_test(memory_port),
        cmocka_unit_test(device_strings),
        cmocka_unit_test(real_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
