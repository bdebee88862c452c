/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - the JSON of --report. Ranges are [[first, last], ...], both inclusive.
 *
 * Top:      program, version, protocol, seed, date, complete (false when a signal or an error ended
 *           it), messages, packets, bytes, wall_seconds, market_first_ns, market_last_ns (UTC since
 *           1970), late_max_ns (the most that a frame left after its time), stalls (times the
 *           kernel had no room), unsent (frames counted as sent that a signal kept from a full
 *           kernel queue), lines, sessions
 * A line:   name, group, port, packets, messages, bytes, heartbeats, end_of_session, unsequenced,
 *           dropped_packets, dropped_messages, dropped_heartbeats, duplicates, reordered, corrupt,
 *           divergent, malformed {kind: packets}
 * Session:  key, stream, epoch, first, last (first - 1: nothing), next, messages, bytes,
 *           unsequenced, checksum (16 hex digits: truth_hash in truth.h), types {type: n},
 *           symbols {text: n}, lost (ranges), lines [{name, dropped, corrupt, divergent (ranges)}]
 *
 * A line's messages are those it carried intact, its packets everything that left on it. What a
 * line dropped or corrupted is in the sessions; lost is what no line carried intact. Unsequenced
 * messages count in messages, types and checksum (with sequence 0), not in first to last. Types are
 * letters for ITCH and IEX, else hexadecimal numbers. A replay's report has packets, bytes,
 * rewritten and left_out only.
 */
#pragma once

#include "opts.h"

struct report {
    const struct opts *o;
    const struct account *a;
    const struct line *lines;
    const struct flow *flow;
    const struct out *out;
    bool complete;
    double wall;
    int64_t first, last;
};

bool report_write(const struct report *r, const char *path, struct err *e);
