/* SPDX-License-Identifier: Apache-2.0 */
/*
 * days.h - calendars as the rooms share them: which one owns a table, which dates are open.
 *
 * A calendar is an index: 0 the default one, then those of `calendars:`. Names, zones and holidays
 * stay in control; what crosses over are dates (days since 2000-01-01) and instants (UTC ns).
 *
 * struct days_owner is filled by control before threads start, constant from then on; any thread.
 * struct days_open belongs to the appender, its only writer; anybody reads it, relaxed: a change
 * of `version` says that some date was ended or the next one opened. What happened in which order
 * is told by the eod marks of the journal, not by this.
 */
#pragma once

#include "atomics.h"
#include "frame.h"

#define DAYS_CALENDARS 16u
#define DAYS_NAME      32u   /* of a calendar, with its NUL */
#define DAYS_TABLES    4096u /* as TABLE_MAX */

struct days_owner {
    uint8_t calendar[DAYS_TABLES]; /* by table id */
    unsigned n;                    /* calendars, at least 1 */
    char name[DAYS_CALENDARS][DAYS_NAME];
};

struct days_open {
    _Atomic uint32_t version;
    _Atomic uint16_t open[DAYS_CALENDARS];   /* earliest date that takes rows */
    _Atomic uint16_t newest[DAYS_CALENDARS]; /* latest one, open itself but in a late window */
};

/*
 * An eod mark {"calendar":"default","day":"2026.11.23",…}: its frame's day is the date that it
 * ends; the calendar's name goes into `name`. False: no eod mark, or it names none.
 */
static inline bool days_eod(const struct frame *f, char name[DAYS_NAME])
{
    static const char key[] = "\"calendar\":\"";
    unsigned type;
    uint32_t len, n = 0;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    if (!json || type != MARK_EOD)
        return false;
    const char *at = memmem(json, len, key, sizeof key - 1), *end = json + len;
    for (at = at ? at + sizeof key - 1 : end; at < end && *at != '"' && n < DAYS_NAME - 1;)
        name[n++] = *at++;
    name[n] = 0;
    return n && at < end && *at == '"';
}

/*
 * An eoi mark: the end of an interval of the interval stream.
 *   {"calendar":"default","day":"2026.11.23","from":STAMP,"to":STAMP,"next":"2026.11.23.0930"}
 * The interval [from, to) of trading date `day` has ended; `next` is the date and the minute that
 * the files of the one behind it carry in their names (the local time at which it starts). All
 * frames of stream 1 below the mark belong to intervals before `next`.
 */
static inline bool days_eoi(const struct frame *f, int32_t *minute)
{
    static const char key[] = "\"next\":\"";
    unsigned type;
    uint32_t len;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    const char *at = json && type == MARK_EOI ? memmem(json, len, key, sizeof key - 1) : NULL;
    if (!at || json + len - at < (ptrdiff_t)(sizeof key - 1 + 15))
        return false;
    at += sizeof key - 1 + 11; /* "YYYY.MM.DD." */
    int32_t d[4];
    for (unsigned i = 0; i < 4; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        d[i] = at[i] - '0';
    }
    *minute = (d[0] * 10 + d[1]) * 60 + d[2] * 10 + d[3];
    return d[2] < 6 && *minute < 24 * 60;
}
