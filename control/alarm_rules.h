/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alarm_rules.h - when which alarm holds: one function over the status segment, called by control
 * every check_interval. Keeps the totals of its last call, since most rules ask "did this move?".
 */
#pragma once

#include "daemon.h"

struct alarm_rules {
    int64_t at;
    uint64_t gaps[STATUS_FEEDS], divergent[STATUS_FEEDS], undecoded[STATUS_FEEDS], errors;
    uint64_t missed[STATUS_PORTS];
    uint32_t signal[ALARMS];
    uint64_t poisoned, steps;
    /* a minute's window of line losses and gaps */
    int64_t minute_at;
    uint64_t lost[STATUS_FEEDS][STATUS_LINES], minute_gaps[STATUS_FEEDS];
    bool imbalance[STATUS_FEEDS][STATUS_LINES];
};

void alarm_rules_run(struct alarm_rules *r, struct daemon *d);
