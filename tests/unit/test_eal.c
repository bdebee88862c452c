/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK as the data plane starts it, without privileges (dropped first when the test runs as root)
 * and without hugepages, on drivers that need neither: net_pcap and net_null.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/atomics.h"
#include "core/clock.h"
#include "eal.h"
#include "packet.h"
#include "port.h"

static struct clock wall;
static int cpu;
static unsigned lines;

static int64_t now(void *arg)
{
    return clock_now(arg);
}

static void log_line(void *arg, const char *line)
{
    (void)arg;
    (void)line;
    lines++;
}

static void refuses_before_starting(void **state)
{
    (void)state;
    struct err err = {0};
    struct eal_info info;
    struct eal_config bad = {.cpus = {100000}, .n_cpus = 1};
    assert_false(eal_start(&bad, &info, &err));
    assert_non_null(strstr(err.text, "lcore 100000"));
    bad = (struct eal_config){.cpus = {cpu, cpu}, .n_cpus = 2};
    assert_false(eal_start(&bad, &info, &err));
    assert_non_null(strstr(err.text, "twice"));
    struct port_config cfg = {
        .name = "A", .kind = PORT_DPDK, .device = "net_null0", .now = now, .now_arg = &wall};
    assert_null(port_open(&cfg, &err));
    assert_non_null(strstr(err.text, "not running"));
    assert_false(eal_launch(cpu, NULL, NULL, &err));
}

static void starts_without_privileges(void **state)
{
    (void)state;
    struct err err = {0};
    struct eal_info info;
    struct eal_config ec = {
        .cpus = {cpu}, .n_cpus = 1, .memory_mb = 96, .no_hugepages = true, .log = log_line};
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    if (!eal_start(&ec, &info, &err)) {
        fail_msg("%s", err.text);
    }
    printf("%s\n", info.text);
    assert_true(info.started && !info.hugepages);
    assert_int_equal(info.memory_mb, 96);
    assert_string_equal(info.iova, "VA");
    assert_true(lines > 0); /* the log went to us */
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after)); /* the control thread still floats */
    assert_false(eal_start(&ec, &info, &err));
    assert_int_equal(err.code, -EALREADY);
}

static int where(void *arg)
{
    *(int *)arg = sched_getcpu();
    cpu_set_t mine;
    sched_getaffinity(0, sizeof mine, &mine);
    return CPU_COUNT(&mine);
}

static void lcores_are_pinned(void **state)
{
    (void)state;
    struct err err = {0};
    int on = -1;
    assert_true(eal_launch(cpu, where, &on, &err));
    assert_int_equal(eal_join(cpu), 1);
    assert_int_equal(on, cpu);
    assert_false(eal_launch(cpu + 1000, where, &on, &err));
    assert_int_equal(eal_join(cpu + 1000), -ENOENT);
}

static void write_capture(const char *path, uint32_t packets)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    uint32_t head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
    fwrite(head, sizeof head, 1, f);
    for (uint32_t i = 0; i < packets; i++) {
        uint8_t b[60] = "\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01\x08\x00\x45";
        b[17] = 36; /* total length */
        b[23] = 17;
        memcpy(b + 30, "\xef\x01\x02\x03", 4);
        put16(b + 36, 0x2067); /* port 26400 */
        b[39] = 16;
        put32(b + 42, i);
        uint32_t rec[4] = {1700000000, 0, 60, 60};
        fwrite(rec, sizeof rec, 1, f);
        fwrite(b, sizeof b, 1, f);
    }
    fclose(f);
}

/* A capture file through DPDK's own driver: every packet once, in order, with times of now. */
static void net_pcap(void **state)
{
    (void)state;
    char path[] = "/tmp/penstock_eal_XXXXXX", device[200];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_capture(path, 5000);
    snprintf(device, sizeof device, "net_pcap0,rx_pcap=%s", path);
    struct err err = {0};
    struct port_config cfg = {.name = "A",
                              .kind = PORT_DPDK,
                              .device = device,
                              .rx_descriptors = 512,
                              .checksum = CHECKSUM_COUNT,
                              .want_hw_timestamp = true,
                              .now = now,
                              .now_arg = &wall};
    int64_t start = clock_now(&wall);
    struct port *port = port_open(&cfg, &err);
    if (!port) {
        fail_msg("%s", err.text);
    }
    printf("%s\n", port_describe(port));
    struct pkt p[PORT_BURST];
    uint32_t got = 0;
    for (int64_t end = clock_monotonic() + 5 * NS_PER_S; got < 5000 && clock_monotonic() < end;) {
        int n = port_rx(port, p, PORT_BURST);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++, got++) { /* a whole burst is valid together */
            struct udp_view v = {0};
            assert_int_equal(packet_parse(&p[i], &v), DROP_none);
            assert_int_equal(le32(v.payload), got);
            assert_int_equal(v.dst_port, 26400);
            assert_true(p[i].rxtime >= start && p[i].rxtime <= clock_now(&wall));
            assert_int_equal(p[i].quality, CLOCK_TSC);
        }
    }
    assert_int_equal(got, 5000);
    struct port_stats s;
    assert_true(port_stats(port, &s));
    assert_int_equal(s.rx_packets, 5000);
    assert_int_equal(s.rx_bytes, 5000 * 60);
    assert_false(s.missed_known); /* nobody counts it for this driver, and we do not pretend */
    struct port_config again = cfg;
    assert_null(port_open(&again, &err)); /* the same vdev twice */
    assert_non_null(strstr(err.text, "already in use"));
    port_close(port);
    unlink(path);
}

static _Atomic bool stop;

static int poll_port(void *arg)
{
    struct pkt p[PORT_BURST];
    uint64_t n = 0;
    while (!load_acquire(&stop) && n < 1000000) {
        n += (uint64_t)port_rx(arg, p, PORT_BURST);
    }
    return (int)n;
}

static void net_null_on_an_lcore(void **state)
{
    (void)state;
    struct err err = {0};
    struct port_config cfg = {.name = "N",
                              .kind = PORT_DPDK,
                              .device = "net_null0,size=60",
                              .lcore = cpu,
                              .now = now,
                              .now_arg = &wall};
    struct port *port = port_open(&cfg, &err);
    if (!port) {
        fail_msg("%s", err.text);
    }
    assert_true(eal_launch(cpu, poll_port, port, &err));
    assert_false(eal_launch(cpu, poll_port, port, &err));
    assert_int_equal(err.code, -EBUSY);
    int n = eal_join(cpu);
    assert_true(n >= 1000000 && n < 1000000 + PORT_BURST);
    struct port_stats s;
    assert_true(port_stats(port, &s));
    assert_int_equal(s.rx_packets, n);
    port_close(port);
}

static void refuses_bad_devices(void **state)
{
    (void)state;
    static const struct {
        const char *device, *says;
    } cases[] = {{"net_nosuch0", "net_nosuch0"},
                 {"net_af_packet9", "iface="},
                 {"net_af_packet9,iface=nosuch0", "no interface nosuch0"},
                 {"net_af_xdp9,iface=nosuch0", "no interface nosuch0"},
                 {"net_pcap9,rx_pcap=/nonexistent", "refused"},
                 {"0000:ff:1f.7", "vfio-pci"}};
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        struct err err = {0};
        struct port_config cfg = {.name = "A",
                                  .kind = PORT_DPDK,
                                  .device = cases[i].device,
                                  .now = now,
                                  .now_arg = &wall};
        assert_null(port_open(&cfg, &err));
        if (!strstr(err.text, cases[i].says) || strchr(err.text, '\n')) {
            fail_msg("%s: %s", cases[i].device, err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_before_starting), cmocka_unit_test(starts_without_privileges),
        cmocka_unit_test(lcores_are_pinned),       cmocka_unit_test(net_pcap),
        cmocka_unit_test(net_null_on_an_lcore),    cmocka_unit_test(refuses_bad_devices),
    };
    clock_init_real(&wall);
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
        printf("privileges cannot be dropped\n");
        return 1;
    }
    cpu_set_t mine;
    sched_getaffinity(0, sizeof mine, &mine);
    while (!CPU_ISSET(cpu, &mine)) {
        cpu++;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eal_stop();
    return rc;
}
