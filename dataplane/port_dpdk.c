/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_dpdk.c - one receive queue of a DPDK device as a port.
 *
 * The mbufs of a burst are freed at the next one, which is what makes the packets valid until then.
 *
 * Two drivers sit on a kernel interface, and what they cannot say is asked of the kernel. Their
 * sockets are found among the process's descriptors: those that are new since the probe.
 *
 * net_af_packet: the driver (22.11) never reports ring overruns. PACKET_STATISTICS does; the kernel
 * zeroes it on reading, so it is summed up here (the driver does not read it). The socket also sees
 * what this host sends; a filter on the packet type ends that. PACKET_IGNORE_OUTGOING does not: the
 * socket is in a fanout group, and the kernel then asks the group. The group has the DEFRAG flag,
 * so IP fragments arrive put together and never count as fragments; what is then longer than a ring
 * frame counts as bad_ip_length. The driver puts the VLAN tag, which the kernel takes out, back
 * into the frame, always with the type 0x8100: ids are right, an outer 0x88a8 is not seen.
 *
 * net_af_xdp: XDP_STATISTICS, which is cumulative.
 *
 * What the interface itself dropped is in /proc/thread-self/net/dev (sysfs would show the network
 * namespace it was mounted in) and is handed on as if_rx_dropped and if_rx_packets.
 */
#include "eal.h"
#include "nic_clock.h"
#include "port.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/socket.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#define DESCRIPTORS 4096
/* No busy polling by system call: the kernel fills the ring in softirq, as for net_af_packet. */
#define AF_XDP_BUDGET "busy_budget=0"
/* Frames of the ring that net_af_packet shares with the kernel: 8192 x 2 KiB, and as much again for
 * sending, which the driver always maps. 16 ms at 0.5 Mpps. */
#define AF_PACKET_FRAMES 8192
#define AF_PACKET_RING   "framesz=2048,blocksz=65536,framecnt=%d"
#define FDS_MAX          256

struct port_dpdk {
    struct port port;
    uint16_t id;
    bool nic_stamps;
    int stamp_offset;
    uint64_t stamp_flag;
    int64_t (*now)(void *);
    void *now_arg;
    uint32_t n_held;
    struct rte_mbuf *held[PORT_BURST_MAX];
    _Atomic uint64_t bad_shape; /* packets in several pieces that could not be joined */
    struct nic_clock clock;

    /* control thread's */
    pst_aligned(PST_CACHELINE) bool is_vdev;
    struct rte_mempool *pool;
    int kernel_fd; /* the driver's socket, not ours to close; -1 = none */
    int kernel_domain;
    uint64_t kernel_drops;
    char iface[IF_NAMESIZE];
    uint64_t if_dropped0, if_packets0;
    char device[256]; /* as given, with what was added */
    char text[400];
};

static int rx(struct port *port, struct pkt *out, int max)
{
    struct port_dpdk *p = (struct port_dpdk *)port;
    if (p->n_held) {
        rte_pktmbuf_free_bulk(p->held, p->n_held);
    }
    uint32_t n = rte_eth_rx_burst(p->id, 0, p->held, (uint16_t)max);
    p->n_held = n;
    if (n == 0) {
        return 0;
    }
    int64_t now = p->now(p->now_arg);
    int k = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct rte_mbuf *m = p->held[i];
        if (i + 4 < n) {
            rte_prefetch0(rte_pktmbuf_mtod(p->held[i + 4], void *));
        }
        if (pst_unlikely(m->nb_segs > 1) && rte_pktmbuf_linearize(m) != 0) {
            bump(&p->bad_shape, 1);
            continue;
        }
        struct pkt *o = &out[k++];
        o->data = rte_pktmbuf_mtod(m, const uint8_t *);
        o->len = o->wire_len = rte_pktmbuf_data_len(m);
        o->rxtime = now;
        o->quality = CLOCK_TSC;
        o->flags = 0;
        uint64_t f = m->ol_flags;
        if (f & RTE_MBUF_F_RX_VLAN_STRIPPED) {
            /* A driver that puts the tag back into the bytes clears this flag (rte_vlan_insert). */
            o->flags |= PKT_VLAN_STRIPPED;
            o->vlan_tci = m->vlan_tci;
        }
        uint64_t ip = f & RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = f & RTE_MBUF_F_RX_L4_CKSUM_MASK;
        if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD) {
            o->flags |= PKT_IP_CSUM_BAD;
        }
        if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD) {
            o->flags |= PKT_UDP_CSUM_BAD;
        }
        if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD && l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
            o->flags |= PKT_CSUM_CHECKED;
        }
        if (p->nic_stamps) {
            o->quality = CLOCK_DOUBTFUL; /* NIC stamps were asked for and this one is missing */
            if (f & p->stamp_flag) {
                uint64_t ticks = *RTE_MBUF_DYNFIELD(m, p->stamp_offset, rte_mbuf_timestamp_t *);
                if (nic_clock_convert(&p->clock, ticks, &o->rxtime)) {
                    o->quality = CLOCK_NIC;
                }
            }
        }
    }
    return k;
}

/* ---- control thread ---- */

static bool device_ticks(void *arg, uint64_t *ticks)
{
    return rte_eth_read_clock(((struct port_dpdk *)arg)->id, ticks) == 0;
}

static int64_t host_utc(void *arg)
{
    struct port_dpdk *p = arg;
    return p->now(p->now_arg);
}

static bool calibrate(struct port_dpdk *p)
{
    struct nic_clock_source src = {device_ticks, host_utc, p};
    return nic_clock_update(&p->clock, &src);
}

/* Received and dropped packets of an interface, since it exists. */
static bool interface_counts(const char *iface, uint64_t *packets, uint64_t *dropped)
{
    FILE *f = fopen("/proc/thread-self/net/dev", "re");
    char line[512];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *name = line + strspn(line, " ");
        char *colon = strchr(name, ':');
        if (!colon) {
            continue;
        }
        *colon = 0;
        unsigned long long n, d;
        if (strcmp(name, iface) == 0 && sscanf(colon + 1, "%*u %llu %*u %llu", &n, &d) == 2) {
            *packets = n;
            *dropped = d;
            found = true;
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* Descriptors of sockets of `domain`; for AF_PACKET those bound to interface `index`. */
static int sockets_of(int domain, int index, int *fds, int max)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && n < max && (e = readdir(d));) {
        int fd = atoi(e->d_name), got = 0;
        socklen_t len = sizeof got;
        if (e->d_name[0] == '.' || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &got, &len) != 0 ||
            got != domain) {
            continue;
        }
        union {
            struct sockaddr any;
            struct sockaddr_ll ll;
            struct sockaddr_xdp xdp;
        } a = {0};
        len = sizeof a;
        if (domain == AF_PACKET &&
            (getsockname(fd, &a.any, &len) != 0 || a.ll.sll_ifindex != index)) {
            continue;
        }
        fds[n++] = fd;
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static int new_socket(int domain, int index, const int *before, int n_before)
{
    int fds[FDS_MAX];
    int n = sockets_of(domain, index, fds, FDS_MAX);
    for (int i = 0; i < n; i++) {
        bool old = false;
        for (int k = 0; k < n_before; k++) {
            old |= before[k] == fds[i];
        }
        if (!old) {
            return fds[i];
        }
    }
    return -1;
}

static void add_x(struct port_stats *s, const char *name, uint64_t value)
{
    if (s->nx < PORT_XSTATS_MAX) {
        snprintf(s->x[s->nx].name, sizeof s->x[s->nx].name, "%s", name);
        s->x[s->nx++].value = value;
    }
}

static void kernel_stats(struct port_dpdk *p, struct port_stats *s)
{
    if (p->kernel_domain == AF_PACKET && p->kernel_fd >= 0) {
        struct tpacket_stats t;
        socklen_t len = sizeof t;
        if (getsockopt(p->kernel_fd, SOL_PACKET, PACKET_STATISTICS, &t, &len) == 0) {
            p->kernel_drops += t.tp_drops;
        }
        s->missed = p->kernel_drops;
        s->missed_known = true;
    }
    if (p->kernel_domain == AF_XDP && p->kernel_fd >= 0) {
        struct xdp_statistics x = {0};
        socklen_t len = sizeof x;
        if (getsockopt(p->kernel_fd, SOL_XDP, XDP_STATISTICS, &x, &len) == 0) {
            s->missed = x.rx_dropped + x.rx_ring_full;
            s->missed_known = true;
            add_x(s, "xdp_rx_dropped", x.rx_dropped);
            add_x(s, "xdp_rx_ring_full", x.rx_ring_full);
            add_x(s, "xdp_fill_ring_empty", x.rx_fill_ring_empty_descs);
            add_x(s, "xdp_rx_invalid", x.rx_invalid_descs);
        }
    }
    uint64_t packets, dropped;
    if (*p->iface && interface_counts(p->iface, &packets, &dropped)) {
        add_x(s, "if_rx_packets", packets - p->if_packets0);
        add_x(s, "if_rx_dropped", dropped - p->if_dropped0);
    }
}

static bool stats(struct port *port, struct port_stats *s)
{
    struct port_dpdk *p = (struct port_dpdk *)port;
    struct rte_eth_stats e;
    *s = (struct port_stats){0};
    if (p->nic_stamps) {
        calibrate(p);
    }
    if (rte_eth_stats_get(p->id, &e) != 0) {
        return false;
    }
    s->rx_packets = e.ipackets;
    s->rx_bytes = e.ibytes;
    s->missed = e.imissed;
    s->missed_known = !p->is_vdev;
    s->nombuf = e.rx_nombuf;
    s->errors = e.ierrors + load_relaxed(&p->bad_shape);
    kernel_stats(p, s);
    struct rte_eth_xstat_name names[PORT_XSTATS_MAX];
    struct rte_eth_xstat values[PORT_XSTATS_MAX];
    int n = rte_eth_xstats_get_names(p->id, names, PORT_XSTATS_MAX);
    if (n > 0 && n <= PORT_XSTATS_MAX && rte_eth_xstats_get(p->id, values, (unsigned)n) == n) {
        for (int i = 0; i < n; i++) {
            if (values[i].value) {
                add_x(s, names[values[i].id].name, values[i].value);
            }
        }
    }
    return true;
}

static const char *describe(struct port *port)
{
    return ((struct port_dpdk *)port)->text;
}

static void close_(struct port *port)
{
    struct port_dpdk *p = (struct port_dpdk *)port;
    if (p->n_held) {
        rte_pktmbuf_free_bulk(p->held, p->n_held);
    }
    struct rte_eth_dev_info info;
    bool known = rte_eth_dev_info_get(p->id, &info) == 0;
    rte_eth_dev_stop(p->id);
    rte_eth_dev_close(p->id);
    if (known && p->is_vdev) {
        rte_dev_remove(info.device);
    }
    rte_mempool_free(p->pool);
    free(p);
}

static const struct port_ops ops = {rx, stats, describe, close_};

/* The value of `key=` in a vdev's arguments. */
static bool argument(const char *device, const char *key, char *to, size_t room)
{
    size_t n = strlen(key);
    for (const char *c = strchr(device, ','); c; c = strchr(c + 1, ',')) {
        if (strncmp(c + 1, key, n) == 0 && c[1 + n] == '=') {
            snprintf(to, room, "%.*s", (int)strcspn(c + 2 + n, ","), c + 2 + n);
            return true;
        }
    }
    return false;
}

static int say_nothing(int level, const char *format, va_list args)
{
    (void)level;
    (void)format;
    (void)args;
    return 0;
}

/* The AF_XDP driver's libraries write to stderr what they tried before they succeeded. They are
 * loaded by the driver, not linked here: hence by name, and it does not matter if they are absent.
 */
static void quiet_bpf(void)
{
    static const struct {
        const char *library, *function;
    } libs[] = {{"libbpf.so.1", "libbpf_set_print"}, {"libxdp.so.1", "libxdp_set_print"}};
    for (size_t i = 0; i < PST_COUNT(libs); i++) {
        void *h = dlopen(libs[i].library, RTLD_NOW | RTLD_NOLOAD);
        if (h) {
            void *(*set)(int (*)(int, const char *, va_list));
            *(void **)&set = dlsym(h, libs[i].function);
            if (set) {
                set(say_nothing);
            }
            dlclose(h);
        }
    }
}

/* Accepts every packet but those that this host sends. */
static struct sock_filter incoming_code[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
};
static const struct sock_fprog incoming_only = {PST_COUNT(incoming_code), incoming_code};

/* Finds a PCI device that EAL has probed, or creates the vdev. Fills id and the kernel's side. */
static bool attach(struct port_dpdk *p, const struct port_config *cfg, struct err *err)
{
    const char *dev = cfg->device;
    char name[128], value[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(dev, ","), dev);
    snprintf(p->device, sizeof p->device, "%s", dev);
    p->is_vdev = strncmp(dev, "net_", 4) == 0 || strncmp(dev, "eth_", 4) == 0;
    if (!p->is_vdev) {
        if (rte_eth_dev_get_port_by_name(name, &p->id) == 0) {
            return true;
        }
        return err_set(err, -ENODEV,
                       "port %s: DPDK has no device %s; bind it to vfio-pci (dpdk-devbind.py -b "
                       "vfio-pci %s) or check the address%s%s",
                       cfg->name, name, name, *eal_last_log() ? ". DPDK: " : "", eal_last_log());
    }
    bool packet = strstr(name, "af_packet"), xdp = strstr(name, "af_xdp");
    int index = 0, before[FDS_MAX], n_before = 0;
    if (packet || xdp) {
        if (!argument(dev, "iface", p->iface, sizeof p->iface)) {
            return err_set(err, -EINVAL, "port %s: %s needs an interface: %s,iface=eth1", cfg->name,
                           name, name);
        }
        index = (int)if_nametoindex(p->iface);
        if (index == 0) {
            return err_set(err, -ENODEV, "port %s: there is no interface %s (see ip link)",
                           cfg->name, p->iface);
        }
        p->kernel_domain = packet ? AF_PACKET : AF_XDP;
        n_before = sockets_of(p->kernel_domain, index, before, FDS_MAX);
        interface_counts(p->iface, &p->if_packets0, &p->if_dropped0);
        for (int i = 0; packet && i < n_before; i++) {
            int fanout = 0;
            socklen_t len = sizeof fanout;
            if (getsockopt(before[i], SOL_PACKET, PACKET_FANOUT, &fanout, &len) == 0 && fanout) {
                return err_set(err, -EBUSY,
                               "port %s: another net_af_packet port is on %s; the kernel would "
                               "share the packets out between the two: list all groups on one port",
                               cfg->name, p->iface);
            }
        }
    }
    if (packet && !argument(dev, "framesz", value, sizeof value) &&
        !argument(dev, "blocksz", value, sizeof value) &&
        !argument(dev, "framecnt", value, sizeof value)) {
        int frames = cfg->rx_descriptors ? cfg->rx_descriptors : AF_PACKET_FRAMES;
        snprintf(p->device, sizeof p->device, "%s," AF_PACKET_RING, dev,
                 (int)pst_align_up((uint64_t)frames, 32)); /* whole blocks */
    }
    if (xdp) {
        quiet_bpf();
        if (!argument(dev, "busy_budget", value, sizeof value)) {
            snprintf(p->device, sizeof p->device, "%s," AF_XDP_BUDGET, dev);
        }
    }
    if (rte_eth_dev_get_port_by_name(name, &p->id) == 0) {
        return err_set(err, -EEXIST, "port %s: %s is already in use; give each vdev its own number",
                       cfg->name, name);
    }
    int rc = rte_dev_probe(p->device);
    if (rc != 0 || rte_eth_dev_get_port_by_name(name, &p->id) != 0) {
        return err_set(err, rc ? rc : -ENODEV, "port %s: the driver of %s refused it: %s%s%s",
                       cfg->name, p->device, rc ? strerror(-rc) : "no device came of it",
                       *eal_last_log() ? ". DPDK: " : "", eal_last_log());
    }
    if (packet) {
        p->kernel_fd = new_socket(AF_PACKET, index, before, n_before);
        if (p->kernel_fd >= 0) {
            /* Not fatal: then what this host sends is seen, parsed and counted as not for us. */
            (void)setsockopt(p->kernel_fd, SOL_SOCKET, SO_ATTACH_FILTER, &incoming_only,
                             sizeof incoming_only);
        }
    }
    return true;
}

static bool configure(struct port_dpdk *p, const struct port_config *cfg, struct err *err)
{
    struct rte_eth_dev_info info;
    int rc = rte_eth_dev_info_get(p->id, &info);
    if (rc != 0) {
        return err_set(err, rc, "port %s: %s does not answer: %s", cfg->name, p->device,
                       strerror(-rc));
    }
    int xdp_before[FDS_MAX], n_xdp = 0;
    if (p->kernel_domain == AF_XDP) { /* its sockets are made in rx_queue_setup */
        n_xdp = sockets_of(AF_XDP, 0, xdp_before, FDS_MAX);
    }
    struct rte_eth_conf conf = {0};
    conf.rxmode.mtu = (uint32_t)(cfg->mtu ? cfg->mtu : 1500);
    if (cfg->checksum != CHECKSUM_OFF) {
        conf.rxmode.offloads |=
            info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    }
    bool stamps = cfg->want_hw_timestamp && (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP);
    if (stamps) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
        rc = rte_mbuf_dyn_rx_timestamp_register(&p->stamp_offset, &p->stamp_flag);
        if (rc != 0) {
            return err_set(err, -rte_errno,
                           "port %s: no room for time stamps in packet buffers: %s", cfg->name,
                           rte_strerror(rte_errno));
        }
    }
    /* net_af_xdp insists on as many queues for sending as for receiving. */
    uint16_t txq = p->kernel_domain == AF_XDP ? 1 : 0;
    rc = rte_eth_dev_configure(p->id, 1, txq, &conf);
    if (rc != 0) {
        return err_set(err, rc, "port %s: %s cannot be configured (mtu %u): %s%s%s", cfg->name,
                       p->device, conf.rxmode.mtu, strerror(-rc), *eal_last_log() ? ". DPDK: " : "",
                       eal_last_log());
    }
    uint16_t rxd = (uint16_t)(cfg->rx_descriptors ? cfg->rx_descriptors : DESCRIPTORS), txd = 0;
    rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rxd, &txd);
    if (rc != 0) {
        return err_set(err, rc, "port %s: %s takes no ring of %d descriptors", cfg->name, p->device,
                       cfg->rx_descriptors);
    }
    /* Enough for the ring, for AF_XDP's fill ring beside it, two bursts and the pool's cache. The
     * data room holds the largest frame: MTU, Ethernet, two tags and FCS; at least 2 KiB. */
    uint32_t room = conf.rxmode.mtu + 14 + 8 + 4;
    room = room < 2048 ? 2048 : (uint32_t)pst_align_up(room, 64);
    unsigned n = 2u * rxd + 2 * PORT_BURST_MAX + 512;
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof name, "rx_%u", p->id);
    int socket = rte_eth_dev_socket_id(p->id);
    p->pool = rte_pktmbuf_pool_create(name, n, 256, 0, (uint16_t)(room + RTE_PKTMBUF_HEADROOM),
                                      socket < 0 ? SOCKET_ID_ANY : socket);
    if (!p->pool) {
        return err_set(err, -rte_errno,
                       "port %s: no memory for %u packet buffers of %u bytes (%s); raise "
                       "dpdk memory or lower rx_descriptors",
                       cfg->name, n, room, rte_strerror(rte_errno));
    }
    rc = rte_eth_rx_queue_setup(p->id, 0, rxd, socket < 0 ? 0 : (unsigned)socket, NULL, p->pool);
    if (rc == 0 && txq) {
        rc = rte_eth_tx_queue_setup(p->id, 0, 512, socket < 0 ? 0 : (unsigned)socket, NULL);
    }
    if (rc == 0) {
        (void)rte_eth_stats_reset(p->id); /* counts of an earlier owner; not every driver can */
        rc = rte_eth_dev_start(p->id);
    }
    if (rc != 0) {
        return err_set(err, rc, "port %s: %s cannot be started: %s%s%s", cfg->name, p->device,
                       strerror(-rc), *eal_last_log() ? ". DPDK: " : "", eal_last_log());
    }
    if (p->kernel_domain == AF_XDP) {
        p->kernel_fd = new_socket(AF_XDP, 0, xdp_before, n_xdp);
    }
    rc = cfg->promiscuous ? rte_eth_promiscuous_enable(p->id) : rte_eth_allmulticast_enable(p->id);
    if (rc != 0 && rc != -ENOTSUP) {
        return err_set(err, rc, "port %s: %s cannot be set to receive %s: %s", cfg->name, p->device,
                       cfg->promiscuous ? "everything" : "all multicast", strerror(-rc));
    }
    if (stamps) {
        nic_clock_init(&p->clock, 0);
        p->nic_stamps = calibrate(p);
    }
    char link[RTE_ETH_LINK_MAX_STR_LEN] = "";
    struct rte_eth_link l;
    if (rte_eth_link_get_nowait(p->id, &l) == 0) {
        rte_eth_link_to_str(link, sizeof link, &l);
    }
    snprintf(p->text, sizeof p->text, "%s on %s, %u descriptors, %s, receive time from %s",
             info.driver_name, p->device, rxd, link,
             p->nic_stamps ? "the NIC"
             : stamps      ? "the host (the NIC stamps, but its clock cannot be read)"
                           : "the host");
    return true;
}

struct port *port_dpdk_open(const struct port_config *cfg, struct err *err)
{
    if (!eal_started()) {
        err_set(err, -EINVAL, "port %s: DPDK is not running", cfg->name);
        return NULL;
    }
    struct port_dpdk *p = aligned_alloc(PST_CACHELINE, pst_align_up(sizeof *p, PST_CACHELINE));
    if (!p) {
        err_set(err, -ENOMEM, "port %s: no memory", cfg->name);
        return NULL;
    }
    memset(p, 0, sizeof *p);
    p->port.ops = &ops;
    p->id = RTE_MAX_ETHPORTS;
    p->kernel_fd = -1;
    p->now = cfg->now;
    p->now_arg = cfg->now_arg;
    if (!attach(p, cfg, err)) {
        free(p);
        return NULL;
    }
    if (!configure(p, cfg, err)) {
        close_(&p->port);
        return NULL;
    }
    return &p->port;
}
