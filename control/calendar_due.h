/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calendar_due.h - the ends of a calendar's dates as entries of the due list (dataplane/due.h), and
 * the JSON of their eod marks. Pure functions; any thread.
 *
 * A date is one entry, its end; with a late window two: the turn at its end, the end when the
 * window is over. Ids name (calendar, date, kind), so that lists may overlap.
 */
#pragma once

#include "calendar.h"
#include "due.h"
#include "interval.h"

#define CALENDAR_DUE_MOST 2u /* entries of a date */

/* Date `day` of calendar number i, at most CALENDAR_DUE_MOST entries; how many. shift: what a
 * replay with --date adds to a date to find its instants on the capture's clock; else 0. */
uint32_t calendar_due(const struct calendar *c, unsigned i, int32_t day, int32_t shift,
                      struct due_item *items);

/*
 * One list of the next dates of all calendars, `ahead` of each from open[i] on, but none that is
 * due later than the last date of another one: so several lists, one behind the other, keep the
 * order of the instants. until[i]: the first date whose end is not in it. items: DUE_MAX. With
 * intervals those of calendar 0's dates stand between them.
 */
uint32_t calendar_due_list(const struct calendar *(*calendar)(const void *arg, uint32_t i),
                           const void *arg, unsigned calendars, const int32_t *open, int32_t ahead,
                           int32_t shift, const struct interval_rule *intervals,
                           struct due_item *items, int32_t *until);
/* How many dates ahead fit one list. */
int32_t calendar_due_ahead(unsigned calendars, const struct interval_rule *intervals);

/* {"calendar":"default","day":"2026.11.23","ends":"2026.11.24D05:00:00.000000000"[,"by":"…"]};
 * ends: the instant at which the date ends, late window excluded. by: NULL, or plain text. */
uint32_t calendar_eod_json(const struct calendar *c, int32_t day, int32_t shift, const char *by,
                           char json[DUE_JSON]);
