/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_socket.c - multicast through the kernel's UDP, for machines where nothing else is possible.
 *
 * The one port whose rx() makes system calls: recvmmsg, without waiting. Ethernet, IP and UDP
 * headers are made in front of each datagram, so that the layers above need no second path; the
 * kernel has checked the checksums and joined fragments.
 *
 * Time: SO_TIMESTAMPNS, the kernel's stamp at its driver. Loss: sk_drops of each socket, read with
 * SO_MEMINFO by stats(). It is the number that SO_RXQ_OVFL attaches to packets, but known also when
 * no packet follows the lost ones. It includes datagrams with a wrong checksum.
 *
 * A socket takes one UDP port and up to igmp_max_memberships groups; there are as many as needed.
 * With IP_MULTICAST_ALL off each sees only the groups that it joined on this interface.
 */
#include "core/atomics.h"
#include "port.h"
#include "core/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH   64
#define HEADERS 42           /* Ethernet 14, IP 20, UDP 8 */
#define SLOT    (64 + 65536) /* headers, then the largest datagram */
#define RCVBUF  (8 << 20)
#define CONTROL 256

struct sock {
    int fd;
    uint16_t port;
};

struct port_socket {
    struct port port;
    struct sock *socks;
    int n_socks, next;
    int64_t (*now)(void *);
    void *now_arg;
    uint8_t *slots;
    struct mmsghdr msg[BATCH];
    struct iovec iov[BATCH];
    struct sockaddr_in from[BATCH];
    pst_aligned(16) uint8_t control[BATCH][CONTROL];
    _Atomic uint64_t packets, bytes, errors;
    int rcvbuf;
    char text[200];
};

/* Headers of a datagram that the kernel has already taken apart. No UDP checksum ("none"): it was
 * verified. */
static void make_headers(uint8_t *h, const struct sockaddr_in *from, uint32_t group, uint16_t port,
                         uint32_t len)
{
    memset(h, 0, HEADERS);
    h[0] = 0x01; /* 01:00:5e + the group's low 23 bits */
    h[2] = 0x5e;
    h[3] = group >> 16 & 0x7f;
    h[4] = (uint8_t)(group >> 8);
    h[5] = (uint8_t)group;
    h[12] = 0x08;
    uint8_t *ip = h + 14;
    ip[0] = 0x45;
    put16(ip + 2, htons((uint16_t)(len + 28)));
    ip[8] = 1;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, &from->sin_addr, 4);
    put32(ip + 16, htonl(group));
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) {
        sum += be16(ip + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, htons((uint16_t)~sum));
    memcpy(h + 34, &from->sin_port, 2);
    put16(h + 36, htons(port));
    put16(h + 38, htons((uint16_t)(len + 8)));
}

static bool take(struct port_socket *p, const struct sock *s, int i, struct pkt *out)
{
    struct msghdr *m = &p->msg[i].msg_hdr;
    uint32_t len = p->msg[i].msg_len, group = 0;
    *out = (struct pkt){.quality = CLOCK_DOUBTFUL};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            out->rxtime = (t.tv_sec - CLOCK_EPOCH_S) * 1000000000LL + t.tv_nsec;
            out->quality = CLOCK_TSC;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            group = ntohl(info.ipi_addr.s_addr);
        }
    }
    if ((m->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !group || len > 65507) {
        bump(&p->errors, 1);
        return false;
    }
    if (out->quality == CLOCK_DOUBTFUL) {
        out->rxtime = p->now(p->now_arg);
    }
    uint8_t *data = (uint8_t *)p->iov[i].iov_base - HEADERS;
    make_headers(data, &p->from[i], group, s->port, len);
    out->data = data;
    out->len = out->wire_len = len + HEADERS;
    out->flags = PKT_CSUM_CHECKED;
    bump(&p->packets, 1);
    bump(&p->bytes, out->len);
    return true;
}

static int rx(struct port *port, struct pkt *out, int max)
{
    struct port_socket *p = (struct port_socket *)port;
    max = max < BATCH ? max : BATCH;
    /* One socket a call, in turn, so that its slots are free until the next call. */
    for (int tried = 0; tried < p->n_socks; tried++) {
        const struct sock *s = &p->socks[p->next];
        p->next = p->next + 1 == p->n_socks ? 0 : p->next + 1;
        for (int i = 0; i < max; i++) {
            p->msg[i].msg_hdr.msg_controllen = CONTROL;
            p->msg[i].msg_hdr.msg_namelen = sizeof p->from[i];
        }
        int got = recvmmsg(s->fd, p->msg, (unsigned)max, MSG_DONTWAIT, NULL);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            bump(&p->errors, 1);
        }
        int n = 0;
        for (int i = 0; i < got; i++) {
            n += take(p, s, i, &out[n]);
        }
        if (n) {
            return n;
        }
    }
    return 0;
}

static bool stats(struct port *port, struct port_stats *s)
{
    struct port_socket *p = (struct port_socket *)port;
    *s = (struct port_stats){.rx_packets = load_relaxed(&p->packets),
                             .rx_bytes = load_relaxed(&p->bytes),
                             .errors = load_relaxed(&p->errors),
                             .missed_known = true};
    for (int i = 0; i < p->n_socks; i++) {
        uint32_t m[SK_MEMINFO_VARS] = {0};
        socklen_t len = sizeof m;
        if (getsockopt(p->socks[i].fd, SOL_SOCKET, SO_MEMINFO, m, &len) == 0) {
            s->missed += m[SK_MEMINFO_DROPS];
        } else {
            s->missed_known = false;
        }
    }
    return true;
}

static const char *describe(struct port *port)
{
    return ((struct port_socket *)port)->text;
}

static void close_(struct port *port)
{
    struct port_socket *p = (struct port_socket *)port;
    for (int i = 0; i < p->n_socks; i++) {
        close(p->socks[i].fd);
    }
    free(p->socks);
    free(p->slots);
    free(p);
}

static const struct port_ops ops = {rx, stats, describe, close_};

static bool add_socket(struct port_socket *p, const struct port_config *cfg, uint16_t port,
                       struct err *err)
{
    int one = 1, zero = 0, size = cfg->rcvbuf ? cfg->rcvbuf : RCVBUF;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set(err, -errno, "port %s: no socket: %s", cfg->name, strerror(errno));
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero) == 0 &&
              setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) == 0 &&
              bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (!ok) {
        int why = errno;
        close(fd);
        return err_set(err, -why, "port %s: UDP port %u cannot be opened: %s", cfg->name, port,
                       strerror(why));
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size); /* up to rmem_max */
    }
    socklen_t len = sizeof p->rcvbuf;
    (void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &p->rcvbuf, &len);
    p->socks[p->n_socks++] = (struct sock){fd, port};
    return true;
}

static int join(int fd, unsigned index, const struct port_group *g)
{
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(g->ip)};
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(g->source)};
    int rc;
    if (g->source) {
        struct group_source_req q = {.gsr_interface = index};
        memcpy(&q.gsr_group, &ip, sizeof ip);
        memcpy(&q.gsr_source, &source, sizeof source);
        rc = setsockopt(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &q, sizeof q);
    } else {
        struct group_req q = {.gr_interface = index};
        memcpy(&q.gr_group, &ip, sizeof ip);
        rc = setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &q, sizeof q);
    }
    return rc == 0 ? 0 : -errno;
}

/* On a socket of that UDP port which still has room, or on a new one. */
static bool add_group(struct port_socket *p, const struct port_config *cfg, unsigned index,
                      const struct port_group *g, struct err *err)
{
    int rc = -ENOBUFS;
    for (int i = 0; i < p->n_socks && rc != 0; i++) {
        if (p->socks[i].port == g->port) {
            rc = join(p->socks[i].fd, index, g);
            if (rc != 0 && rc != -ENOBUFS) {
                break;
            }
        }
    }
    if (rc == -ENOBUFS) {
        if (!add_socket(p, cfg, g->port, err)) {
            return false;
        }
        rc = join(p->socks[p->n_socks - 1].fd, index, g);
    }
    return rc == 0 ||
           err_set(err, rc, "port %s: cannot join %u.%u.%u.%u on %s: %s", cfg->name, g->ip >> 24,
                   g->ip >> 16 & 255, g->ip >> 8 & 255, g->ip & 255,
                   cfg->device ? cfg->device : "the default interface",
                   rc == -ENODEV && !cfg->device ? "no route to it; name an interface: socket:eth1"
                                                 : strerror(-rc));
}

struct port *port_socket_open(const struct port_config *cfg, struct err *err)
{
    unsigned index = cfg->device ? if_nametoindex(cfg->device) : 0;
    if (cfg->device && !index) {
        err_set(err, -ENODEV, "port %s: there is no interface %s (see ip link)", cfg->name,
                cfg->device);
        return NULL;
    }
    if (cfg->n_groups < 1) {
        err_set(err, -EINVAL, "port %s: a socket port needs at least one group to join", cfg->name);
        return NULL;
    }
    struct port_socket *p = aligned_alloc(PST_CACHELINE, pst_align_up(sizeof *p, PST_CACHELINE));
    if (!p) {
        err_set(err, -ENOMEM, "port %s: no memory", cfg->name);
        return NULL;
    }
    memset(p, 0, sizeof *p);
    p->port.ops = &ops;
    p->now = cfg->now;
    p->now_arg = cfg->now_arg;
    p->socks = calloc((size_t)cfg->n_groups, sizeof *p->socks);
    p->slots = malloc((size_t)BATCH * SLOT);
    if (!p->socks || !p->slots) {
        err_set(err, -ENOMEM, "port %s: no memory for datagrams", cfg->name);
        close_(&p->port);
        return NULL;
    }
    for (int i = 0; i < BATCH; i++) {
        p->iov[i] = (struct iovec){p->slots + (size_t)i * SLOT + 64, SLOT - 64};
        p->msg[i].msg_hdr = (struct msghdr){.msg_name = &p->from[i],
                                            .msg_iov = &p->iov[i],
                                            .msg_iovlen = 1,
                                            .msg_control = p->control[i]};
    }
    for (int i = 0; i < cfg->n_groups; i++) {
        if (!add_group(p, cfg, index, &cfg->groups[i], err)) {
            close_(&p->port);
            return NULL;
        }
    }
    snprintf(p->text, sizeof p->text,
             "kernel UDP on %s, %d groups, %d sockets, buffers of %d KiB, kernel time stamps",
             cfg->device ? cfg->device : "the default interface", cfg->n_groups, p->n_socks,
             p->rcvbuf >> 10);
    return &p->port;
}
