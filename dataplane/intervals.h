/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intervals.h - the appender's intervals: when one ends, and its eoi mark. A part
 * of appender.c, see there; the appender's thread.
 *
 * Control says where the journal stands at the start (appender_config.interval) and in the due list
 * which instants end intervals, as series of equal steps. Order within one instant: the interval,
 * then the date.
 */
#pragma once

#include "appender.h"

#define INTERVAL_JSON 384u /* at most, of an eoi mark */

/* The present interval ends at `to`; the one behind it started at `next`, at local time `minute`,
 * of date `day`. False: no room yet. */
bool interval_end(struct appender *a, int64_t to, int64_t next, uint16_t minute, uint16_t day);
/* All ends of the series at hand up to `limit`: one mark. False: no room yet. */
bool interval_step(struct appender *a, int64_t limit);
/* A DUE_INTERVALS entry has come. */
void interval_series(struct appender *a, const struct due_item *d);
/* Before the turn or the end of a date of the default calendar: its last interval ends. False: no
 * room yet. */
bool interval_last(struct appender *a, const struct due_item *d);
