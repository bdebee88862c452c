/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interval.h - when the intervals of the interval stream begin and end (intraday_freq, eoi_offset).
 * Pure functions; any thread.
 *
 * A trading date is divided by its own calendar. An interval begins where the date does, and
 * wherever the local clock reads midnight of the date + offset + a multiple of freq minutes; it
 * lasts until the next of these, or the date's end, so none spans an end of day. What counts is the
 * reading of the local clock, so the names of files (the local time at the interval's start) are
 * the same every day: a reading that a clock change skips ends nothing, one that comes twice ends
 * two intervals.
 *
 * Units: instants are UTC ns since 2000-01-01, days count from there; freq and offset are minutes.
 */
#pragma once

#include "calendar.h"
#include "due.h"

#define INTERVAL_DUE_MOST 4u /* entries of a date: one, and one more for each clock change */

struct interval_rule {
    int32_t freq;   /* 1 ... 1440; 0 = no intervals */
    int32_t offset; /* -1439 ... 1439 */
};

struct interval {
    int64_t from, to;
    int32_t day;    /* trading date */
    int32_t minute; /* local time of `from`, minutes after midnight */
};

/* The local clock at an instant, in whole minutes after midnight. */
uint16_t interval_minute(const struct calendar *c, int64_t utc_ns);
/* The ends of intervals inside date `day` as DUE_INTERVALS entries, in order; the date's own end,
 * which the appender adds, is none of them. shift: as in calendar_due. */
uint32_t interval_due(const struct calendar *c, const struct interval_rule *r, int32_t day,
                      int32_t shift, struct due_item *items);
/* The interval that holds an instant; day: the date as `shift` names it. */
void interval_at(const struct calendar *c, const struct interval_rule *r, int32_t shift,
                 int64_t utc_ns, struct interval *out);
