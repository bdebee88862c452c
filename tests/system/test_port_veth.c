/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real ports on a veth pair in a network namespace of this process's own (nothing to clean up: it
 * goes when the process does). Frames are sent with an AF_PACKET socket on one end and received
 * on the other, and every one must be accounted for: received once and in order, or counted as
 * missed by the kernel. Each case is a child process, since DPDK starts once a process.
 *
 * Needs root; else it says so and is skipped (77).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "eal.h"
#include "groups.h"
#include "membership.h"
#include "packet.h"
#include "port.h"

#define CHECK(x, ...)                                                                              \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            printf("FAILED %s:%d: %s: ", __FILE__, __LINE__, #x);                                  \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define TX       "vtx"
#define RX       "vrx"
#define GROUP    0xef010203u /* 239.1.2.3 */
#define UDP_PORT 26400
#define SKIP     77

static struct clock wall;

static int64_t now(void *arg)
{
    return clock_now(arg);
}

static void log_line(void *arg, const char *line)
{
    (void)arg;
    if (getenv("PST_VERBOSE")) {
        fprintf(stderr, "%s\n", line);
    }
}

/* ---- sending ---- */

/* taps: local packet sockets see what it sends (by default raw sending passes them by) */
static int raw_socket(const char *iface, bool taps)
{
    int s = socket(AF_PACKET, SOCK_RAW, 0), bypass = !taps;
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(iface)};
    CHECK(s >= 0 && bind(s, (struct sockaddr *)&a, sizeof a) == 0, "%s", strerror(errno));
    setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass);
    return s;
}

/* Every third frame has a tag, every third two; the payload is the sequence number. */
static size_t make_frame(uint8_t *f, uint32_t seq, bool tags)
{
    size_t n = 12;
    memset(f, 0, 128);
    memcpy(f, "\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01", 12);
    for (uint32_t i = 0; tags && i < seq % 3; i++) {
        put16(f + n, htons(seq % 3 == 2 && i == 0 ? 0x88a8 : 0x8100));
        put16(f + n + 2, htons((uint16_t)(100 + i)));
        n += 4;
    }
    put16(f + n, htons(0x0800));
    uint8_t *ip = f + n + 2;
    ip[0] = 0x45;
    put16(ip + 2, htons(36));
    ip[8] = 8;
    ip[9] = 17;
    put32(ip + 12, htonl(0x0a000001));
    put32(ip + 16, htonl(GROUP));
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) {
        sum += be16(ip + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, htons((uint16_t)~sum));
    put16(ip + 20, htons(1000));
    put16(ip + 22, htons(UDP_PORT));
    put16(ip + 24, htons(16));
    put32(ip + 28, seq);
    return n + 2 + 36 < 60 ? 60 : n + 2 + 36;
}

/* Paced in small bursts, so that a reader with a ring of a few thousand frames keeps up. */
static void send_frames(int s, uint32_t from, uint32_t n, bool tags, int64_t pause_ns)
{
    for (uint32_t i = 0; i < n;) {
        uint8_t f[32][128];
        struct iovec v[32];
        struct mmsghdr m[32] = {0};
        uint32_t k = n - i < 32 ? n - i : 32;
        for (uint32_t j = 0; j < k; j++) {
            v[j] = (struct iovec){f[j], make_frame(f[j], from + i + j, tags)};
            m[j].msg_hdr = (struct msghdr){.msg_iov = &v[j], .msg_iovlen = 1};
        }
        int sent = sendmmsg(s, m, k, 0);
        CHECK(sent > 0, "%s", strerror(errno));
        i += (uint32_t)sent;
        for (int64_t t = clock_monotonic() + pause_ns; clock_monotonic() < t;) {
            sched_yield();
        }
    }
}

/* ---- receiving ---- */

struct tally {
    struct port *port;
    uint32_t want; /* first sequence not yet seen */
    uint64_t ours, tags[PACKET_VLANS + 1], out_of_order, bad, other;
    int64_t first_time;
    bool with_tags;
};

static int drain(struct tally *t)
{
    struct pkt p[PORT_BURST];
    int n = port_rx(t->port, p, PORT_BURST);
    for (int i = 0; i < n; i++) {
        struct udp_view v = {0};
        if (packet_parse(&p[i], &v) != DROP_none || v.dst_ip != GROUP || v.dst_port != UDP_PORT) {
            t->other++;
            continue;
        }
        uint32_t seq = le32(v.payload);
        t->bad += v.payload_len != 8 || packet_verify(&p[i], &v) == DROP_bad_ip_checksum;
        t->bad += v.vlans != (t->with_tags ? seq % 3 : 0) || (v.vlans && v.vlan[0] != 100) ||
                  (v.vlans == 2 && v.vlan[1] != 101);
        t->out_of_order += seq < t->want;
        t->want = seq + 1;
        t->tags[v.vlans]++;
        t->ours++;
        int64_t age = clock_now(&wall) - p[i].rxtime;
        t->bad += age < -NS_PER_MS || age > 10 * NS_PER_S || p[i].quality != CLOCK_TSC;
    }
    return n;
}

/* Until `n` of ours are here, or nothing has come for two seconds. */
static void receive(struct tally *t, uint64_t n)
{
    int64_t deadline = clock_monotonic() + 2 * NS_PER_S;
    while (t->ours < n && clock_monotonic() < deadline) {
        if (drain(t) > 0) {
            deadline = clock_monotonic() + 2 * NS_PER_S;
        }
    }
}

static void settle(struct tally *t) /* what is still in the ring */
{
    int64_t quiet = clock_monotonic() + 200 * NS_PER_MS;
    while (clock_monotonic() < quiet) {
        if (drain(t) > 0) {
            quiet = clock_monotonic() + 200 * NS_PER_MS;
        }
    }
}

static uint64_t x(const struct port_stats *s, const char *name)
{
    for (int i = 0; i < s->nx; i++) {
        if (strcmp(s->x[i].name, name) == 0) {
            return s->x[i].value;
        }
    }
    return UINT64_MAX;
}

static pid_t sender(uint32_t from, uint32_t n, bool tags, int64_t pause_ns)
{
    pid_t child = fork();
    if (child == 0) {
        send_frames(raw_socket(TX, false), from, n, tags, pause_ns);
        _exit(0);
    }
    return child;
}

static void wait_for(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "sender: status %d", status);
}

/* Clean traffic with tags; then frames that this end sends itself; then a reader that sleeps. */
static int dpdk_case(const char *device)
{
    struct err err = {0};
    struct eal_config ec = {.cpus = {0}, .n_cpus = 1, .memory_mb = 128, .log = log_line};
    struct eal_info info;
    CHECK(eal_start(&ec, &info, &err), "%s", err.text);
    struct port_config cfg = {.name = "A",
                              .kind = PORT_DPDK,
                              .device = device,
                              .promiscuous = true,
                              .now = now,
                              .now_arg = &wall};
    struct tally t = {.port = port_open(&cfg, &err), .with_tags = true};
    if (!t.port) {
        printf("skipped: %s\n", err.text);
        return SKIP;
    }
    printf("%s\n%s\n", info.text, port_describe(t.port));
    if (strstr(device, "af_packet")) { /* the kernel would split the packets between the two */
        struct port_config second = cfg;
        second.device = "net_af_packet1,iface=" RX;
        CHECK(!port_open(&second, &err) && strstr(err.text, "one port"), "%s", err.text);
    }
    const uint32_t n = 60000;
    pid_t child = sender(0, n, true, 200000);
    receive(&t, n);
    wait_for(child);
    settle(&t);
    struct port_stats s;
    CHECK(port_stats(t.port, &s), "no statistics");
    CHECK(s.missed_known, "nobody counts lost packets");
    CHECK(t.ours + s.missed == n, "%lu received, %lu missed of %u", t.ours, s.missed, n);
    CHECK(t.bad == 0 && t.out_of_order == 0, "%lu bad, %lu out of order", t.bad, t.out_of_order);
    CHECK(s.rx_packets == t.ours + t.other, "device says %lu, got %lu + %lu", s.rx_packets, t.ours,
          t.other);
    CHECK(x(&s, "if_rx_packets") >= n, "interface says %lu", x(&s, "if_rx_packets"));
    printf("clean: %lu received, %lu missed; tags 0/1/2: %lu %lu %lu\n", t.ours, s.missed,
           t.tags[0], t.tags[1], t.tags[2]);
    if (s.missed == 0) {
        CHECK(t.tags[0] == n / 3 && t.tags[1] == n / 3 && t.tags[2] == n / 3, "tags");
    }

    uint64_t before = t.ours; /* what this end sends must not come back */
    send_frames(raw_socket(RX, true), n, 100, true, 0);
    settle(&t);
    CHECK(t.ours == before, "%lu of 100 outgoing frames were received", t.ours - before);

    struct port_stats s2;
    CHECK(port_stats(t.port, &s), "no statistics");
    before = t.ours;
    t.want = 0;
    wait_for(sender(0, 40000, true, 0)); /* nobody reads meanwhile */
    settle(&t);
    CHECK(port_stats(t.port, &s2), "no statistics");
    uint64_t got = t.ours - before, missed = s2.missed - s.missed;
    CHECK(got + missed == 40000, "%lu received, %lu missed of 40000", got, missed);
    CHECK(missed > 10000 && got > 1000, "%lu received, %lu missed: no overrun", got, missed);
    CHECK(t.out_of_order == 0 && t.bad == 0, "%lu out of order, %lu bad", t.out_of_order, t.bad);
    printf("overrun: %lu received, %lu missed\n", got, missed);
    port_close(t.port);
    eal_stop();
    return 0;
}

static int socket_case(const char *unused)
{
    (void)unused;
    struct err err = {0};
    struct port_group groups[30]; /* more than one socket's worth */
    for (uint32_t i = 0; i < 30; i++) {
        groups[i] = (struct port_group){.ip = GROUP + i, .port = UDP_PORT};
    }
    struct port_config cfg = {.name = "S",
                              .kind = PORT_SOCKET,
                              .device = RX,
                              .now = now,
                              .now_arg = &wall,
                              .groups = groups,
                              .n_groups = 30};
    struct tally t = {.port = port_open(&cfg, &err)};
    CHECK(t.port, "%s", err.text);
    printf("%s\n", port_describe(t.port));
    const uint32_t n = 20000;
    pid_t child = sender(0, n, false, 200000);
    receive(&t, n);
    wait_for(child);
    struct port_stats s;
    CHECK(port_stats(t.port, &s) && s.missed_known, "no statistics");
    CHECK(t.ours + s.missed == n && t.bad == 0 && t.out_of_order == 0,
          "%lu received, %lu missed, %lu bad, %lu out of order", t.ours, s.missed, t.bad,
          t.out_of_order);
    port_close(t.port);

    cfg.rcvbuf = 64 << 10;
    t = (struct tally){.port = port_open(&cfg, &err)};
    CHECK(t.port, "%s", err.text);
    wait_for(sender(0, n, false, 0));
    settle(&t);
    CHECK(port_stats(t.port, &s), "no statistics");
    CHECK(t.ours + s.missed == n && s.missed > 0, "%lu received, %lu missed", t.ours, s.missed);
    printf("overrun: %lu received, %lu missed\n", t.ours, s.missed);
    port_close(t.port);

    cfg.device = "nosuch0";
    CHECK(!port_open(&cfg, &err) && strstr(err.text, "nosuch0"), "%s", err.text);
    return 0;
}

static int joined(uint32_t from, int n) /* how many of the groups the kernel lists for RX */
{
    FILE *f = fopen("/proc/thread-self/net/igmp", "r");
    char line[256];
    bool here = false;
    int count = 0;
    while (f && fgets(line, sizeof line, f)) {
        unsigned index, ip;
        char name[64];
        if (line[0] != '\t' && sscanf(line, "%u %63s", &index, name) == 2) {
            here = strcmp(name, RX) == 0;
        } else if (here && sscanf(line, " %x", &ip) == 1) {
            uint32_t host = ntohl(ip);
            count += host >= from && host < from + (uint32_t)n;
        }
    }
    if (f) {
        fclose(f);
    }
    return count;
}

/* IGMPv3 reports that leave RX, seen on TX, within the time. */
static int reports(int s, uint32_t group, int64_t within)
{
    int n = 0;
    for (int64_t end = clock_monotonic() + within; clock_monotonic() < end && !n;) {
        uint8_t b[2048];
        ssize_t len = recv(s, b, sizeof b, MSG_DONTWAIT);
        if (len < 14 + 24 + 8 || be16(b + 12) != 0x0800 || b[14 + 9] != 2) {
            sched_yield();
            continue;
        }
        const uint8_t *g = b + 14 + (b[14] & 15) * 4;
        for (const uint8_t *r = g + 8; g[0] == 0x22 && r + 8 <= b + len; r += 8 + 4 * be16(r + 2)) {
            n += be32(r + 4) == group && (r[0] == 4 || r[0] == 3 || r[0] == 5 || r[0] == 2);
        }
    }
    return n;
}

static int membership_case(const char *unused)
{
    (void)unused;
    struct err err = {0};
    CHECK(!membership_open(MEMBERSHIP_KERNEL, "nosuch0", &err) && strstr(err.text, "nosuch0"), "%s",
          err.text);
    int watch = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETH_P_ALL),
                            .sll_ifindex = (int)if_nametoindex(TX)};
    CHECK(watch >= 0 && bind(watch, (struct sockaddr *)&a, sizeof a) == 0, "%s", strerror(errno));

    struct membership *m = membership_open(MEMBERSHIP_KERNEL, RX, &err);
    CHECK(m, "%s", err.text);
    for (uint32_t i = 0; i < 50; i++) {
        CHECK(membership_join(m, GROUP + i, 0, &err), "%s", err.text);
    }
    CHECK(membership_join(m, GROUP, 0, &err), "%s", err.text); /* again: nothing more */
    CHECK(membership_join(m, GROUP + 60, 0x0a000001, &err), "%s", err.text);
    CHECK(membership_join(m, GROUP + 60, 0x0a000002, &err), "%s", err.text);
    CHECK(!membership_join(m, 0x0a000001, 0, &err) && strstr(err.text, "10.0.0.1"), "%s", err.text);
    CHECK(membership_count(m) == 52, "%d", membership_count(m));
    CHECK(joined(GROUP, 50) == 50, "%d of 50 joined", joined(GROUP, 50));
    CHECK(joined(GROUP + 60, 1) == 1, "source-specific group");
    CHECK(reports(watch, GROUP + 49, 2 * NS_PER_S) > 0, "no report of a join on the wire");

    CHECK(membership_poll(m, &err) == 0, "nothing had changed");
    CHECK(system("ip link set " RX " down") == 0, "ip");
    CHECK(membership_poll(m, &err) == 0, "the link is down");
    CHECK(system("ip link set " RX " up") == 0, "ip");
    while (recv(watch, (uint8_t[1]){0}, 1, MSG_DONTWAIT) >= 0) {
    }
    int n = 0;
    for (int64_t end = clock_monotonic() + 5 * NS_PER_S; n == 0 && clock_monotonic() < end;) {
        n = membership_poll(m, &err);
        sched_yield();
    }
    CHECK(n == 52, "%d rejoined: %s", n, err.text);
    CHECK(joined(GROUP, 50) == 50, "%d of 50 joined", joined(GROUP, 50));
    CHECK(reports(watch, GROUP + 3, 3 * NS_PER_S) > 0, "no report after the link came up");

    CHECK(membership_leave(m, GROUP + 10, 0, &err), "%s", err.text);
    CHECK(!membership_leave(m, GROUP + 10, 0, &err), "left twice");
    CHECK(joined(GROUP, 50) == 49, "%d joined", joined(GROUP, 50));
    membership_close(m);
    CHECK(joined(GROUP, 61) == 0, "%d left over", joined(GROUP, 61));

    m = membership_open(MEMBERSHIP_NONE, NULL, &err);
    CHECK(m && membership_join(m, GROUP, 0, &err) && membership_count(m) == 1, "%s", err.text);
    CHECK(joined(GROUP, 1) == 0, "joined in mode none");
    CHECK(membership_poll(m, &err) == 0 && membership_rejoin(m, &err) == 0, "%s", err.text);
    membership_close(m);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const char *arg);
    const char *arg;
} cases[] = {
    {"af_packet", dpdk_case, "net_af_packet0,iface=" RX},
    {"af_xdp", dpdk_case, "net_af_xdp0,iface=" RX},
    {"socket", socket_case, NULL},
    {"membership", membership_case, NULL},
};

int main(int argc, char **argv)
{
    if (geteuid() != 0) {
        printf("skipped: a network namespace needs root\n");
        return SKIP;
    }
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
        printf("skipped: no network namespace: %s\n", strerror(errno));
        return SKIP;
    }
    /* sysfs of the new namespace, which the AF_XDP driver reads. */
    (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    (void)mount("sysfs", "/sys", "sysfs", 0, NULL);
    (void)mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
    if (system("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null;"
               "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null;"
               "ip link set lo up && ip link add " TX " type veth peer name " RX " &&"
               "ip addr add 10.99.0.1/24 dev " RX " && ip link set " TX " up && ip link set " RX
               " up") != 0) {
        printf("skipped: no veth pair can be made here\n");
        return SKIP;
    }
    /* Frames from a raw socket have a source that no route leads to. */
    if (system("for f in all default " RX "; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter;"
               "done 2>/dev/null") != 0) {
        printf("rp_filter cannot be switched off: the socket case may fail\n");
    }
    clock_init_real(&wall);
    int bad = 0, skipped = 0;
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) != 0) {
            continue;
        }
        printf("== %s\n", cases[i].name);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            int rc = cases[i].run(cases[i].arg);
            fflush(stdout);
            _exit(rc);
        }
        int status;
        waitpid(child, &status, 0);
        int rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        printf("-- %s: %s\n", cases[i].name, rc == 0 ? "ok" : rc == SKIP ? "skipped" : "FAILED");
        bad += rc != 0 && rc != SKIP;
        skipped += rc == SKIP;
    }
    return bad ? 1 : skipped ? SKIP : 0;
}
