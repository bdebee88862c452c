/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables.h - the built-in tables that are no feed's own: gap, undecoded, alarm.
 * (A feed decoder declares its tables beside its code.)
 */
#pragma once

#include "schema.h"

/* gap: time (when it was declared), sym null, feed, session, first, last, reason, lines */
static const struct column_def gap_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"feed", PST_SYMBOL},   {"session", PST_SYMBOL},
    {"first", PST_LONG},     {"last", PST_LONG},  {"reason", PST_SYMBOL}, {"lines", PST_STRING},
};
enum { GAP_FEED = 2, GAP_SESSION, GAP_FIRST, GAP_LAST, GAP_REASON, GAP_LINES };

/* undecoded: the eight feed columns, then */
static const struct column_def undecoded_columns[] = {
    {"type", PST_INT}, {"reason", PST_SYMBOL}, {"bytes", PST_STRING}};

static const struct column_def alarm_columns[] = {
    {"time", PST_TIMESTAMP},  {"sym", PST_SYMBOL},   {"code", PST_SYMBOL},
    {"severity", PST_SYMBOL}, {"state", PST_SYMBOL}, {"text", PST_STRING},
};

static inline bool tables_gap(struct schema *s, struct err *err)
{
    return schema_make(s, 0, "gap", false, gap_columns, PST_COUNT(gap_columns), err);
}
static inline bool tables_undecoded(struct schema *s, struct err *err)
{
    return schema_make(s, 0, "undecoded", true, undecoded_columns, PST_COUNT(undecoded_columns),
                       err);
}
static inline bool tables_alarm(struct schema *s, struct err *err)
{
    return schema_make(s, 0, "alarm", false, alarm_columns, PST_COUNT(alarm_columns), err);
}
