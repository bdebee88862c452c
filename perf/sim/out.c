/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "out.h"

#define BATCH    64
#define PCAP_BUF (1u << 20)

struct out_batch {
    uint32_t n;
    struct mmsghdr m[BATCH];
    struct iovec v[BATCH];
    struct sockaddr_in to[BATCH];
    uint8_t frame[BATCH][WIRE_FRAME_MAX];
};

int64_t out_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ---- pcap ---- */

static bool write_all(struct out *o, struct err *e)
{
    size_t at = 0;
    while (at < o->pcap_len) {
        ssize_t n = write(o->pcap_fd, o->pcap_buf + at, o->pcap_len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, -errno, "cannot write the pcap file: %s", strerror(errno));
        at += (size_t)n;
    }
    o->pcap_len = 0;
    return true;
}

bool out_open_pcap(struct out *o, const char *path, struct err *e)
{
    o->kind = OUT_PCAP;
    o->pcap_fd = strcmp(path, "-") == 0
                     ? STDOUT_FILENO
                     : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (o->pcap_fd < 0)
        return err_set(e, -errno, "cannot create %s: %s", path, strerror(errno));
    o->pcap_buf = malloc(PCAP_BUF + WIRE_FRAME_MAX + 16);
    if (!o->pcap_buf)
        return err_set(e, -ENOMEM, "no memory for the pcap buffer");
    put32(o->pcap_buf, 0xa1b23c4d); /* times in nanoseconds */
    put16(o->pcap_buf + 4, 2);
    put16(o->pcap_buf + 6, 4);
    put64(o->pcap_buf + 8, 0);
    put32(o->pcap_buf + 16, 65535);
    put32(o->pcap_buf + 20, 1); /* Ethernet */
    o->pcap_len = 24;
    return true;
}

static bool pcap_frame(struct out *o, int64_t utc, const uint8_t *frame, uint32_t len,
                       struct err *e)
{
    uint8_t *p = o->pcap_buf + o->pcap_len;
    put32(p, (uint32_t)(utc / 1000000000));
    put32(p + 4, (uint32_t)(utc % 1000000000));
    put32(p + 8, len);
    put32(p + 12, len);
    memcpy(p + 16, frame, len);
    o->pcap_len += 16 + len;
    return o->pcap_len < PCAP_BUF || write_all(o, e);
}

/* ---- live ---- */

static struct out_channel *new_channel(struct out *o, const char *iface, struct err *e)
{
    if (o->channel_n == OUT_CHANNELS) {
        err_set(e, -E2BIG, "more than %d interfaces or sockets", OUT_CHANNELS);
        return NULL;
    }
    struct out_channel *c = &o->channels[o->channel_n];
    *c = (struct out_channel){.fd = -1, .mtu = 1500};
    snprintf(c->iface, sizeof c->iface, "%s", iface);
    c->batch = calloc(1, sizeof *c->batch);
    if (!c->batch) {
        err_set(e, -ENOMEM, "no memory for a batch of frames");
        return NULL;
    }
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0,
          0); /* sleeps end within a microsecond or so of their time */
    o->channel_n++;
    return c;
}

bool out_add_packet(struct out *o, const char *iface, struct err *e)
{
    struct out_channel *c = new_channel(o, iface, e);
    struct ifreq r = {0};
    if (!c)
        return false;
    o->kind = OUT_PACKET;
    c->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return err_set(e, -errno, "cannot open a raw socket (%s): run as root or use --udp",
                       strerror(errno));
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", iface);
    if (ioctl(c->fd, SIOCGIFHWADDR, &r) < 0)
        return err_set(e, -errno, "no interface %s: %s", iface, strerror(errno));
    memcpy(c->mac, r.ifr_hwaddr.sa_data, 6);
    if (ioctl(c->fd, SIOCGIFMTU, &r) == 0)
        c->mtu = (uint32_t)r.ifr_mtu;
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(iface)};
    if (bind(c->fd, (struct sockaddr *)&a, sizeof a) < 0)
        return err_set(e, -errno, "cannot bind to %s: %s", iface, strerror(errno));
    int one = 1, size = 8 << 20;
    setsockopt(c->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return true;
}

bool out_add_udp(struct out *o, const char *iface, uint8_t ttl, struct err *e)
{
    struct out_channel *c = new_channel(o, iface, e);
    if (!c)
        return false;
    o->kind = OUT_UDP;
    c->mtu = WIRE_PAYLOAD_MAX + 28;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return err_set(e, -errno, "cannot open a UDP socket: %s", strerror(errno));
    int size = 8 << 20, hops = ttl;
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(c->fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops);
    setsockopt(c->fd, IPPROTO_IP, IP_TTL, &hops, sizeof hops);
    if (iface[0]) {
        struct ip_mreqn m = {.imr_ifindex = (int)if_nametoindex(iface)};
        if (m.imr_ifindex == 0)
            return err_set(e, -errno, "no interface %s: %s", iface, strerror(errno));
        if (setsockopt(c->fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m) < 0)
            return err_set(e, -errno, "cannot send multicast on %s: %s", iface, strerror(errno));
    }
    return true;
}

static void nap(int64_t ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static bool send_batch(struct out *o, struct out_channel *c, struct err *e)
{
    struct out_batch *b = c->batch;
    uint32_t at = 0, refused = 0;
    while (at < b->n) {
        int n = sendmmsg(c->fd, b->m + at, b->n - at, 0);
        if (n > 0) {
            at += (uint32_t)n;
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) {
            o->stalls++;
            nap(20000);
            if (*o->stop && ++refused > 1000) { /* 20 ms and more, and somebody wants the end */
                o->unsent += b->n - at;
                break;
            }
        } else {
            int code = errno;
            b->n = 0;
            return err_set(e, -code, "cannot send on %s: %s",
                           c->iface[0] ? c->iface : "the UDP socket", strerror(code));
        }
    }
    b->n = 0;
    return true;
}

bool out_flush(struct out *o, struct err *e)
{
    for (uint32_t i = 0; i < o->channel_n; i++)
        if (o->channels[i].batch->n && !send_batch(o, &o->channels[i], e))
            return false;
    return true;
}

bool out_wait(struct out *o, int64_t utc, struct err *e)
{
    if (!o->paced)
        return true;
    if (!o->started) {
        o->started = true;
        o->market0 = utc;
        o->wall0 = out_clock();
        /* A market whose time is now (--start now): its clock is the wall's, so that what a receiver
         * sees between a message's time and its arrival is the way, not our start-up. */
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        int64_t ahead = utc - (t.tv_sec * INT64_C(1000000000) + t.tv_nsec);
        if (o->speed == 1 && ahead > -2000000000 && ahead < 2000000000)
            o->wall0 += ahead;
    }
    int64_t due = o->wall0 + (int64_t)((double)(utc - o->market0) / o->speed);
    int64_t now = out_clock();
    if (due - now < 50000) {
        if (now - due > o->late_max)
            o->late_max = now - due;
        return true;
    }
    if (!out_flush(o, e))
        return false;
    struct timespec t = {due / 1000000000, due % 1000000000};
    while (!*o->stop && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
    return true;
}

bool out_frame(struct out *o, uint32_t channel, int64_t utc, const uint8_t *frame, uint32_t len,
               uint32_t udp_at, struct err *e)
{
    o->packets++;
    o->bytes += len;
    if (o->kind == OUT_NULL)
        return true;
    if (o->kind == OUT_PCAP)
        return pcap_frame(o, utc, frame, len, e);
    if (!out_wait(o, utc, e))
        return false;
    struct out_channel *c = &o->channels[channel];
    struct out_batch *b = c->batch;
    uint32_t i = b->n++, from = 0, bytes = len;
    b->m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &b->v[i], .msg_iovlen = 1}};
    if (o->kind == OUT_UDP) {
        from = udp_at + 8;
        bytes = be16(frame + udp_at + 4) - 8u;
        b->to[i] = (struct sockaddr_in){.sin_family = AF_INET};
        memcpy(&b->to[i].sin_addr, frame + udp_at - 4, 4);
        memcpy(&b->to[i].sin_port, frame + udp_at + 2, 2);
        b->m[i].msg_hdr.msg_name = &b->to[i];
        b->m[i].msg_hdr.msg_namelen = sizeof b->to[i];
    }
    memcpy(b->frame[i], frame + from, bytes);
    b->v[i] = (struct iovec){b->frame[i], bytes};
    return b->n < BATCH || send_batch(o, c, e);
}

bool out_close(struct out *o, struct err *e)
{
    bool ok = out_flush(o, e);
    if (o->kind == OUT_PCAP && o->pcap_buf) {
        ok = ok && write_all(o, e);
        if (o->pcap_fd != STDOUT_FILENO && close(o->pcap_fd) < 0 && ok)
            ok = err_set(e, -errno, "cannot finish the pcap file: %s", strerror(errno));
        free(o->pcap_buf);
        o->pcap_buf = NULL;
    }
    for (uint32_t i = 0; i < o->channel_n; i++) {
        if (o->channels[i].fd >= 0)
            close(o->channels[i].fd);
        free(o->channels[i].batch);
    }
    o->channel_n = 0;
    return ok;
}
