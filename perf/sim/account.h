/* SPDX-License-Identifier: Apache-2.0 */
/*
 * account.h - what was said and what was really sent: the counters behind --report, and the truth
 * file.
 *
 * A session is one run of sequence numbers of one stream: a new session, a restarted publisher and
 * each Cboe unit open one. `account_message` is told of every message; `account_span` of every
 * packet that a group of lines (lines that share packet boundaries) has cut, with the lines that
 * carried it. When all groups have passed a sequence its fate is known: truth is written, and what
 * no line carried is lost.
 */
#pragma once

#include "ranges.h"
#include "wire.h"

#define SIM_LINES  16
#define SIM_GROUPS SIM_LINES

struct account_line { /* of one session */
    struct ranges dropped, corrupt, divergent;
};

struct account_session {
    uint32_t stream, epoch;
    char key[40]; /* as a descriptor sees it: session text, or "session/channel", or the unit */
    uint64_t first, next, messages, bytes, unsequenced;
    uint64_t checksum;
    uint64_t types[256];
    uint64_t *names; /* [names + 1] */
    struct ranges lost;
    struct account_line line[SIM_LINES];
};

struct account_span { /* first … last left in one packet, on these lines */
    uint64_t first, last;
    uint32_t lines, flags;
    int64_t utc;
};

struct account_stream {
    struct account_session *session;
    uint64_t released; /* next sequence whose fate is not known */
    struct span_list {
        struct account_span *s;
        uint32_t head, n, cap;
    } spans[SIM_GROUPS];
    uint8_t *pending; /* truth records that wait for their lines */
    size_t pending_len, pending_cap;
};

struct account {
    struct account_session **sessions;
    uint32_t session_n, names, groups, stream_n;
    struct account_stream *streams;
    FILE *truth;
    bool truth_failed;
    uint64_t messages;
};

bool account_open(struct account *a, uint32_t streams, uint32_t groups, uint32_t names,
                  const char *truth_path, struct err *e);
/* The stream's following messages belong to a new session that begins at `first`. */
void account_session_begin(struct account *a, uint32_t stream, const char *key, uint32_t epoch,
                           uint64_t first);
void account_message(struct account *a, uint32_t stream, uint64_t seq, const struct flow_msg *m);
void account_message_out(struct account *a, uint32_t stream, uint64_t seq, const struct flow_msg *m,
                         uint32_t lines, int64_t utc); /* unsequenced: its fate is known */
void account_span(struct account *a, uint32_t stream, uint32_t group, const struct account_span *s);
bool account_close(struct account *a, struct err *e);
