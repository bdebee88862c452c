/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.h - the publisher: numbers messages, fills packets, keeps silence alive with heartbeats,
 * ends and begins sessions, and hands every packet to the lines.
 *
 * Lines that share packet boundaries form a group; a line with `repack` or `small` is a group of
 * its own. A packet leaves when the next message does not fit, at the end of the millisecond, and
 * before a sequence at which a line's list (drop, dead, divergent) begins or ends: such lists are
 * exact.
 *
 * Idle packets: MoldUDP64, IEX-TP, Cboe: count 0 and the next sequence; CME: template 12, which
 * takes a packet sequence; B3: sequence 0. End of session: MoldUDP64 count 0xFFFF; elsewhere idle
 * packets.
 */
#pragma once

#include "line.h"

/* What happens after message number `after` of a session (all units together: unit 1's sequence).
 */
struct publish_step {
    bool restart; /* same session id, sequence 1 again; else a new session */
    uint64_t after;
    char session[11];
};

struct publish_opts {
    enum sim_protocol protocol;
    char session[11]; /* text; IEX, B3: a number */
    uint64_t first_seq;
    uint32_t units;
    uint32_t max_payload, max_per_packet;
    int64_t heartbeat; /* ns, 0 = none */
    uint32_t end_packets;
    uint32_t unsequenced_every; /* packets; 0 = never */
    uint32_t malformed_every;
    uint32_t malformed_mask; /* kinds to cycle through */
    struct publish_step steps[8];
    uint32_t step_n;
    uint64_t
        session_end_at; /* the run ends after this sequence, unless a step begins a new session */
};

struct publish_builder {
    uint8_t buf[WIRE_PAYLOAD_MAX];
    uint16_t at[1024], msg_len[1024];
    uint32_t len, count, limit;
    uint64_t seq, offset;
};

struct publish_stream {
    uint32_t epoch;
    uint64_t next, offset;
    int64_t last_packet;
    struct publish_builder *b; /* one a group */
};

struct publish {
    struct publish_opts o;
    struct account *account;
    struct line *lines;
    uint32_t line_n;
    uint8_t session[10];
    uint32_t number; /* IEX session id, B3 sequence version */
    struct publish_stream *streams;
    uint32_t stream_n;
    struct {
        uint32_t lines; /* mask */
        bool repack, small;
    } groups[SIM_GROUPS];
    uint32_t group_n;
    uint64_t *cuts;
    uint32_t cut_n;
    uint32_t step;
    bool ended, fresh; /* fresh: a new session has begun, the flow should say its directory again */
    uint64_t packets;  /* data packets of group 0 */
    uint32_t malformed_next;
    int64_t now;
    struct rng rng;
};

bool publish_open(struct publish *p, const struct publish_opts *o, struct account *a,
                  struct line *lines, uint32_t line_n, const char *truth, uint32_t names,
                  uint64_t seed, int64_t now, struct err *e);
void publish_message(struct publish *p, int64_t utc, const struct flow_msg *m);
void publish_flush(struct publish *p);             /* the millisecond is over */
void publish_idle(struct publish *p, int64_t utc); /* heartbeats that are due before utc */
void publish_end(struct publish *p, int64_t utc, bool end_packets, uint32_t heartbeats);
void publish_close(struct publish *p);
