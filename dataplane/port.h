/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - where packets come from, as a small function table.
 *
 * The poll loop takes bursts from a `struct port` and never asks what is behind it: a DPDK device
 * (port_dpdk.c), a capture file (port_pcap.c), packets in memory (port_mem.c), kernel UDP sockets
 * (port_socket.c).
 *
 * Threads. `port_open` and `port_close` belong to the control thread, and DPDK ports need eal_start
 * first. `rx` belongs to the one thread that polls the port. `stats` and `describe` belong to the
 * control thread and may run beside `rx`.
 *
 * Lifetime. The packets that rx() returns, and the bytes they point at, are valid until the next
 * rx() or close() of the same port. A packet that must be kept longer is copied by whoever keeps
 * it.
 *
 * In the steady state rx() makes no system call and allocates nothing, with two exceptions that are
 * documented at their place: port_socket, and port_pcap when its buffer is refilled from the file.
 */
#pragma once

#include "core/base.h"
#include "core/record.h" /* enum clock_quality */

enum pkt_flag {
    PKT_IP_CSUM_BAD = 1 << 0,   /* the device checked and found it wrong */
    PKT_UDP_CSUM_BAD = 1 << 1,  /* likewise */
    PKT_CSUM_CHECKED = 1 << 2,  /* the device checked both: nothing left to verify */
    PKT_VLAN_STRIPPED = 1 << 3, /* the outer tag is in vlan_tci, no longer in the bytes */
};

/* One packet as received: a view, see "Lifetime". */
struct pkt {
    const uint8_t *data; /* captured bytes, from the Ethernet header on */
    uint32_t len;        /* of them */
    uint32_t wire_len;   /* length on the wire; > len when a capture's snaplen cut the packet */
    int64_t rxtime;      /* UTC ns since 2000-01-01; negative before that (capture files) */
    uint16_t vlan_tci;   /* with PKT_VLAN_STRIPPED */
    uint8_t quality;     /* enum clock_quality */
    uint8_t flags;       /* enum pkt_flag */
};
_Static_assert(sizeof(struct pkt) == 32, "two packets a cache line");

#define PORT_XSTATS_MAX 64
/* Cumulative since the port was opened, from the device or the kernel, never derived from what the
 * poll loop counted itself: the ledger compares the two. */
struct port_stats {
    uint64_t rx_packets; /* handed over by the device to the driver's queue */
    uint64_t rx_bytes;
    uint64_t missed;   /* lost for want of room in the device's or the kernel's receive ring */
    uint64_t nombuf;   /* lost for want of packet buffers */
    uint64_t errors;   /* received damaged, or in a shape that cannot be handed on */
    bool missed_known; /* false: nobody counts it here; the CLI says so instead of showing 0 */
    int nx;
    struct {
        char name[64];
        uint64_t value;
    } x[PORT_XSTATS_MAX]; /* whatever else the device counts, under its own names */
};

enum port_kind { PORT_DPDK, PORT_PCAP, PORT_MEM, PORT_SOCKET };

enum checksum_policy {
    CHECKSUM_OFF,   /* not looked at */
    CHECKSUM_COUNT, /* verified and counted, the packet is used */
    CHECKSUM_DROP,  /* verified, counted and dropped */
};

struct port_group {
    uint32_t ip; /* host byte order */
    uint16_t port;
    uint32_t source; /* source-specific join; 0 = any source */
};

/* One packet of a PORT_MEM port. */
struct mem_packet {
    uint8_t *data;
    uint32_t len;
};

#define PORT_END (-1) /* rx(): no more input; files and counted loops only */
#define PORT_BURST                                                                                 \
    32 /* what the poll loop asks for; PORT_BURST_MAX is what any port can be asked */
#define PORT_BURST_MAX 256

struct port_config {
    const char *name; /* for messages */
    enum port_kind kind;
    /* DPDK: a PCI address (0000:3b:00.0) or a vdev (net_af_packet0,iface=eth1).
     * PCAP: the file, "-" for standard input. SOCKET: interface name, or NULL for the default. */
    const char *device;
    int rx_descriptors; /* 0: 4096, or what the device has; frames of the ring of net_af_packet
                           (8192) */
    int mtu;            /* 0: 1500 */
    bool promiscuous;
    bool want_hw_timestamp; /* use the NIC's stamps where it offers them */
    int lcore;              /* the CPU that polls this port; for NUMA placement, -1 = do not care */
    enum checksum_policy checksum;
    /* The host's clock: UTC ns since 2000-01-01. Required except by PCAP. */
    int64_t (*now)(void *arg);
    void *now_arg;

    /* SOCKET: what to join and bind. */
    const struct port_group *groups;
    int n_groups;
    int rcvbuf; /* bytes; 0: 8 MiB */

    /* MEM: packets owned by the caller until close; `loops` times over them, 0 = for ever. `patch`
     * (may be NULL) is called for each packet just before it is handed out, with the number of
     * finished loops, so that sequence numbers can continue from loop to loop. */
    const struct mem_packet *packets;
    uint32_t n_packets;
    uint64_t loops;
    void (*patch)(void *arg, uint8_t *data, uint32_t len, uint64_t loop);
    void *patch_arg;
};

struct port;
struct port_ops {
    /* Up to max (<= PORT_BURST_MAX) packets; 0 = none now; PORT_END = end of input. */
    int (*rx)(struct port *, struct pkt *out, int max);
    bool (*stats)(struct port *, struct port_stats *);
    /* One line for status output: driver, device, clock, ring. Valid until close. */
    const char *(*describe)(struct port *);
    void (*close)(struct port *); /* frees the port too */
};

struct port {
    const struct port_ops *ops;
    enum port_kind kind;
    char name[64];
};

/* Opens what cfg describes. NULL: err says what, where and what to do. */
struct port *port_open(const struct port_config *cfg, struct err *err);

/* What a device string of the configuration means: a PCI address or net_..., eth_... (a DPDK vdev),
 * "pcap:FILE" or "socket:IFACE" or "socket". `*device` is the part after the prefix. */
bool port_device_parse(const char *text, enum port_kind *kind, const char **device,
                       struct err *err);

pst_inline int port_rx(struct port *p, struct pkt *out, int max)
{
    return p->ops->rx(p, out, max);
}
pst_inline bool port_stats(struct port *p, struct port_stats *s)
{
    return p->ops->stats(p, s);
}
pst_inline const char *port_describe(struct port *p)
{
    return p->ops->describe(p);
}
pst_inline void port_close(struct port *p)
{
    if (p) {
        p->ops->close(p);
    }
}

/* One for each kind; called by port_open. */
struct port *port_dpdk_open(const struct port_config *cfg, struct err *err);
struct port *port_pcap_open(const struct port_config *cfg, struct err *err);
struct port *port_mem_open(const struct port_config *cfg, struct err *err);
struct port *port_socket_open(const struct port_config *cfg, struct err *err);
