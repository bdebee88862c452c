/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - the JSON of --report. Ranges are [[first, last], …], both inclusive.
 *
 *   {"program", "version", "protocol", "seed", "date", "complete": true unless a signal or error
 * ended it, "messages", "packets", "bytes", "wall_seconds", "market_first_ns", "market_last_ns",
 * "late_max_ns", "stalls", "lines": [{"name", "group", "port", "packets", "messages", "bytes",
 * "heartbeats", "end_of_session", "unsequenced", "dropped_packets", "dropped_messages",
 * "dropped_heartbeats", "duplicates", "reordered", "corrupt", "divergent", "malformed": {kind:
 * packets}}], "sessions": [{"key", "stream", "epoch", "first", "last" (0 below first: nothing),
 * "next", "messages", "bytes", "unsequenced", "checksum" (16 hex digits; truth.h: truth_hash),
 * "types": {type: n}, "symbols": {text: n}, "lost": ranges, "lines": [{"name", "dropped",
 * "corrupt", "divergent"}]}]}
 *
 * A line's "messages" are those it carried intact, its "packets" everything that left on it. What a
 * line dropped or corrupted is in the sessions; "lost" is what no line carried intact. Unsequenced
 * messages count in "messages", types and checksum (with sequence 0), not in first … last.
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
