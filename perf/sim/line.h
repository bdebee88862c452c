/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.h - one line of the feed: what it does to packets on their way, and what it did.
 *
 * Order of the stages: dead range, drop list, bursty loss (Gilbert-Elliott: lossless good state,
 * lossy bad state), divergence, corruption, duplication, reorder (held until 1 … window later
 * packets of the line have gone), delay and jitter (never reorders by itself). Each line has its
 * own generator.
 *
 * Delayed packets of all lines meet in one queue (struct line_queue) and leave in the order of
 * their times.
 */
#pragma once

#include "account.h"
#include "out.h"

enum corrupt_where { CORRUPT_FRAMING, CORRUPT_ANY };

struct line_opts {
    char name[24];
    uint32_t group;
    uint16_t port, sport;
    uint32_t src;
    uint8_t ttl;
    uint16_t vlan[3];
    uint32_t vlans;
    char iface[16];
    double loss, burst, dup, reorder, corrupt;
    enum corrupt_where corrupt_where;
    uint32_t window;
    int64_t delay, jitter; /* ns; jitter = standard deviation */
    double swing;          /* chance of a packet 1 ms late */
    struct ranges drop, dead, divergent;
    bool repack, small;
    uint64_t seed; /* 0 = from --seed and the line's number */
};

/* A packet of the publisher, before lines. */
enum packet_kind { PACKET_DATA, PACKET_IDLE, PACKET_END, PACKET_UNSEQUENCED };

struct packet {
    enum packet_kind kind;
    uint32_t stream;
    uint64_t seq; /* of the first message; idle: next; packet-counting protocols: of the packet */
    uint32_t count, len;
    uint64_t last; /* sequence of the last message */
    int64_t utc;
    const uint8_t *payload;
    const uint16_t *at;      /* offsets of the message bytes */
    const uint16_t *msg_len; /* their lengths */
};

#define LINE_HELD 64

struct line_stats {
    uint64_t packets, messages, bytes, idle, end, unsequenced;
    uint64_t dropped_packets, dropped_messages, dropped_idle;
    uint64_t duplicates, reordered, corrupt, divergent, malformed;
};

#define MALFORMED_KINDS 15

struct line_held {
    uint8_t *payload;
    uint32_t len, after;
    int64_t utc;
};

struct line {
    struct line_opts o;
    uint32_t index, channel;
    enum sim_protocol protocol;
    struct wire_frame frame;
    struct rng rng;
    bool bad; /* Gilbert-Elliott state */
    int64_t last_utc;
    struct line_stats stats;
    uint64_t malformed[MALFORMED_KINDS];
    struct line_held held[LINE_HELD];
    uint32_t held_n;
    struct line_queue *queue; /* NULL: frames go straight out */
    struct out *out;
    struct err *err;
    bool failed; /* the sink has said no: err says why */
    uint8_t scratch[WIRE_PAYLOAD_MAX];
    uint8_t wire[WIRE_FRAME_MAX];
};

struct line_queue {
    struct line_late {
        int64_t utc;
        uint64_t order;
        uint32_t channel, len, udp_at;
        uint8_t *frame;
    } * heap;
    uint32_t n, cap;
    uint64_t order;
};

/* Names of the kinds of malformed packet; the first MALFORMED_L4 of them fit any sink. */
#define MALFORMED_L4 6
extern const char *const malformed_names[MALFORMED_KINDS];

void line_init(struct line *l, uint64_t seed);
/* True when the line carries the packet, intact. Records drops in the session's account. */
bool line_packet(struct line *l, const struct packet *p, struct account_session *s);
/* An extra packet, made from p but broken; it says nothing new. */
void line_malformed(struct line *l, const struct packet *p, uint32_t kind);
void line_release(struct line *l); /* lets go of all held packets */
/* Frames that are due by utc leave. */
bool queue_advance(struct line_queue *q, struct out *o, int64_t utc, struct err *e);
