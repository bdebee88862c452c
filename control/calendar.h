/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calendar.h - trading dates, the instants at which they end, business days, and feed hours.
 *
 * Everything here is a pure function of its arguments: no clock, no allocation, no locks; any
 * thread may call it on a calendar that nobody changes. The zone and the holiday list belong to the
 * caller (normally to the configuration) and must outlive the calendar.
 *
 * Units: an instant is UTC nanoseconds since 2000-01-01; a day is days since 2000-01-01.
 *
 * The trading date. `eod_s` is the local time of day at which it turns: the roll offset.
 *   eod_s <= 12:00   instants before it still belong to the previous date: date D runs from D eod
 *                    to D+1 eod. 00:00 is the plain calendar day, 04:00 a day with a long night.
 *   eod_s >  12:00   instants at or after it already belong to the next date: D runs from D-1 eod
 *                    to D eod. 17:00 America/Chicago: Sunday evening is Monday's session.
 *   eod_s <  00:00   the same, said outright and for any hour: D begins so long before the local
 *                    midnight of D. -02:00 is 22:00 of the day before, as 22:00 is; -14:00 is
 *                    10:00 of the day before, which no positive time can say. It is a reading of
 *                    the local clock, so -02:00 is 22:00 on the day of a clock change too.
 * Weekends and holidays do not change it: every date has exactly one end, and the end of D is the
 * beginning of D+1, so days tile time whatever the clocks do. A date without trading is ended by
 * its mark like any other (what happened on a Saturday has a day to be in); without rows it makes
 * no partition. An eod that a clock change skips is moved forward by the gap; one that occurs twice
 * is the first. A date that a zone left out (Samoa jumped over 2011-12-30) is empty: it ends at the
 * instant its predecessor does.
 *
 * The late window. From the end of D to `late_window_ns` after it both D and D+1 are open: what
 * comes with a time of D still goes to D. The eod mark of D stands at the window's end
 * (calendar_closes). It is shorter than any date but an empty one.
 */
#pragma once

#include <core/base.h>
#include <core/civil.h>
#include <core/tzone.h>

#define CALENDAR_NAME_MAX 31
#define CALENDAR_WEEKEND  (1u << CIVIL_SAT | 1u << CIVIL_SUN)

struct calendar {
    char name[CALENDAR_NAME_MAX + 1];
    const struct tzone *zone;
    int32_t eod_s;           /* -86399 ... 86399: local time at which the trading date turns */
    uint32_t weekend;        /* bit CIVIL_MON ... CIVIL_SUN */
    const int32_t *holidays; /* ascending days, may be NULL when there are none */
    uint32_t holiday_count;
    int64_t late_window_ns; /* how long a date that has ended still takes rows: 0 ... 12 h */
};

/* The trading date that an instant belongs to. */
int32_t calendar_day(const struct calendar *c, int64_t utc_ns);

/* The instant at which a date ends; it is the first instant of the next one. */
int64_t calendar_eod(const struct calendar *c, int32_t day);

/* The instant at which its eod mark is due. */
int64_t calendar_closes(const struct calendar *c, int32_t day);

/* The first end of a date after utc_ns (strictly), and that date (the latest of several at once).
 */
int64_t calendar_next_eod(const struct calendar *c, int64_t utc_ns, int32_t *day);

/* The instant of local midnight that begins the civil date `day` in the calendar's zone. */
int64_t calendar_midnight(const struct calendar *c, int32_t day);

/* "Mon", "Mon-Fri", "daily" -> a set of bits CIVIL_MON ...; 0 when the word is none of these. */
uint8_t calendar_weekdays(const char *word);

/* Neither on the weekend nor a holiday. Next and previous are strictly after and before `day`. */
bool calendar_is_business_day(const struct calendar *c, int32_t day);
int32_t calendar_next_business_day(const struct calendar *c, int32_t day);
int32_t calendar_previous_business_day(const struct calendar *c, int32_t day);

/* The civil date of an instant in a zone (a session's date in its feed's zone). */
int32_t calendar_local_day(const struct tzone *zone, int64_t utc_ns);

/* tzone_to_utc for a time of day (seconds after midnight, may exceed a day) of a civil date. */
int64_t calendar_local_instant(const struct tzone *zone, int32_t day, int32_t time_s);

/*
 * Hours: when a feed is expected to speak. Text such as
 *     Mon-Fri 04:00-20:05 America/New_York
 *     Mon-Fri 09:00-11:30, 12:30-15:30 Asia/Tokyo
 *     Sun-Thu 17:00-16:00 America/Chicago        (overnight: ends on the next day)
 *     Mon-Thu 08:00-22:00; Fri 08:00-20:00       (the zone comes from elsewhere)
 *     always
 * Day names Mon ... Sun, ranges (they may wrap: Sat-Mon) and lists; `daily` is all seven. Times are
 * HH:MM[:SS]; a range includes its start and excludes its end; an end at or before the start is on
 * the next day. A range belongs to the date on which it starts, and does not open on a holiday.
 */
#define HOURS_RANGE_MAX 16

struct hours_range {
    uint8_t days;         /* bit CIVIL_MON ... CIVIL_SUN of the date on which it starts */
    int32_t from_s, to_s; /* after local midnight of that date; to_s > from_s, <= 48 h */
};

struct hours {
    const struct tzone *zone;
    const int32_t *holidays; /* ascending days */
    uint32_t holiday_count;
    uint32_t count; /* 0: always open */
    struct hours_range ranges[HOURS_RANGE_MAX];
};

/*
 * Reads the text into h->ranges and, when it names a zone, that name into zone_name (else ""). The
 * caller then sets zone and holidays. false: err says which word is wrong.
 */
bool hours_parse(const char *text, struct hours *h, char zone_name[64], struct err *err);

bool hours_open(const struct hours *h, int64_t utc_ns);

/* The first instant after utc_ns at which hours_open changes; INT64_MAX if not within 400 days. */
int64_t hours_next_change(const struct hours *h, int64_t utc_ns);
