/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envelope.h - when messages happen: a profile of rates over the day, cut into slots of 1 ms, each
 * holding a heavy-tailed batch (Pareto, alpha 1.3, mean kept), so that the busiest ms is 3 to 10
 * times the mean.
 *
 *   flat    --rate messages a second, for ever
 *   burst   each second: half of --rate's messages in 50 ms of it, the rest over the other 950 ms
 *   day     TotalView's day of 2025-07-17 in New York time: quiet before 09:28, 658 k in the first
 *           second, 14 to 38 k/s, 98 k/s in 15:59, the purge at 16:00:00.1, until 20:00
 *   purge   the resting book (--resting) is built at --rate, then deleted: 75 ms at 1.43 times
 *           --rate, then at --rate
 */
#pragma once

#include "rng.h"

enum profile { PROFILE_FLAT, PROFILE_BURST, PROFILE_DAY, PROFILE_PURGE };

struct envelope {
    enum profile profile;
    double rate;        /* messages a second; day: factor on the table */
    bool smooth;        /* no heavy tail: every slot near its mean */
    int64_t now;        /* ns since the session's midnight: start of the next slot */
    int64_t end;        /* no slot begins here or later; INT64_MAX = none */
    int64_t purge_from; /* purge profile: set when the book has been built; INT64_MAX before */
    struct rng rng;
};

struct slot {
    int64_t start, width; /* ns since midnight; the batch lies in start … start + width */
    uint32_t count;
    bool purge;
};

#define ENVELOPE_SLOT_NS 1000000

/* The mean rate at a time, messages a second; *purge says whether the close is being cleared. */
double envelope_rate(const struct envelope *v, int64_t at, bool *purge);
bool envelope_next(struct envelope *v, struct slot *s); /* false: the profile is over */
