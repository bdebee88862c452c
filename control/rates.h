/* SPDX-License-Identifier: Apache-2.0 */
/* rates.h - messages and packets a second, from the status segment's totals. Control thread only.
 */
#pragma once

#include "core/clock.h"
#include "core/status.h"

struct rate {
    uint64_t last;
    double per_s; /* over the last full interval */
};

struct rates {
    int64_t at; /* clock_monotonic of the last sample */
    struct rate feed[STATUS_FEEDS];
    struct rate line[STATUS_FEEDS][STATUS_LINES];
    struct rate port[STATUS_PORTS];
    struct rate journal, log; /* bytes */
};

void rates_sample(struct rates *, const struct status *); /* does nothing within a second */
