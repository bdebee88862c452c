/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out.h - where frames go, and when.
 *
 * Four sinks: nothing (--null), a pcap file with nanoseconds, raw frames on interfaces (AF_PACKET
 * past the qdisc, sendmmsg), UDP sockets. The two live ones are paced: market time maps to the wall
 * clock once, at the first frame, so an error never adds up; while a frame is more than 50 us away
 * the thread sleeps (absolute), it never spins.
 *
 * A channel is a line's way out (its interface or socket). Single threaded. A live sink's EAGAIN
 * and ENOBUFS are waited out and counted in `stalls`; other errors end the run with one sentence.
 */
#pragma once

#include "wire.h"

#include <net/if.h>

enum out_kind { OUT_NULL, OUT_PCAP, OUT_PACKET, OUT_UDP };

struct out_channel {
    char iface[IFNAMSIZ];
    int fd;
    uint8_t mac[6];
    uint32_t mtu;
    struct out_batch *batch;
};

#define OUT_CHANNELS 16

struct out {
    enum out_kind kind;
    bool paced;
    double speed; /* market seconds per second */
    struct out_channel channels[OUT_CHANNELS];
    uint32_t channel_n;
    const volatile int *stop; /* a signal's flag; waiting ends when it is set */

    int pcap_fd;
    uint8_t *pcap_buf;
    size_t pcap_len;

    bool started;
    int64_t market0, wall0;
    uint64_t packets, bytes, stalls;
    uint64_t unsent;  /* a signal came while the kernel had no room */
    int64_t late_max; /* ns: the most that a frame left after its time */
};

bool out_open_pcap(struct out *o, const char *path, struct err *e);   /* "-" = standard output */
bool out_add_packet(struct out *o, const char *iface, struct err *e); /* one more channel */
bool out_add_udp(struct out *o, const char *iface, uint8_t ttl,
                 struct err *e); /* iface may be "" */
/* One frame at market time utc (never falling). udp_at: offset of its UDP header. */
bool out_frame(struct out *o, uint32_t channel, int64_t utc, const uint8_t *frame, uint32_t len,
               uint32_t udp_at, struct err *e);
bool out_flush(struct out *o, struct err *e);
bool out_close(struct out *o, struct err *e);
/* Sleeps until the wall clock has reached market time utc (paced sinks), sending what is batched
 * first. */
bool out_wait(struct out *o, int64_t utc, struct err *e);
int64_t out_clock(void); /* CLOCK_MONOTONIC, ns */
