/* SPDX-License-Identifier: Apache-2.0 */
#include "calendar.h"

#include <ctype.h>
#include <errno.h>

#define NOON_S            (12 * 3600)
#define ALL_DAYS          0x7Fu
#define CHANGE_DAYS_AHEAD 400

/* ---- zones and days ---------------------------------------------------------------------------
 */

int32_t calendar_local_day(const struct tzone *zone, int64_t utc_ns)
{
    int64_t utc_s = civil_floor_div(utc_ns, PST_SECOND_NS);
    int64_t local = utc_s + tzone_offset(zone, utc_s + PST_EPOCH_OFFSET_S);
    return (int32_t)civil_floor_div(local, PST_DAY_S);
}

int64_t calendar_local_instant(const struct tzone *zone, int32_t day, int32_t time_s)
{
    int64_t local = day * PST_DAY_S + time_s + PST_EPOCH_OFFSET_S;
    return (tzone_to_utc(zone, local) - PST_EPOCH_OFFSET_S) * PST_SECOND_NS;
}

static bool is_holiday(const int32_t *days, uint32_t count, int32_t day)
{
    uint32_t lo = 0, hi = count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (days[mid] < day) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < count && days[lo] == day;
}

/* ---- the trading date -------------------------------------------------------------------------
 */

int64_t calendar_midnight(const struct calendar *c, int32_t day)
{
    return calendar_local_instant(c->zone, day, 0);
}

int64_t calendar_eod(const struct calendar *c, int32_t day)
{
    int32_t at = c->eod_s > NOON_S ? c->eod_s - (int32_t)PST_DAY_S : c->eod_s;
    return at < 0 ? calendar_local_instant(c->zone, day, at + (int32_t)PST_DAY_S)
                  : calendar_local_instant(c->zone, day + 1, at);
}

int64_t calendar_closes(const struct calendar *c, int32_t day)
{
    return calendar_eod(c, day) + c->late_window_ns;
}

/* Defined by calendar_eod alone, so that the two agree on days of 23, 24, 25 and 0 hours. */
int32_t calendar_day(const struct calendar *c, int64_t utc_ns)
{
    int32_t day = calendar_local_day(c->zone, utc_ns);
    while (calendar_eod(c, day - 1) > utc_ns) {
        day--;
    }
    while (calendar_eod(c, day) <= utc_ns) {
        day++;
    }
    return day;
}

int64_t calendar_next_eod(const struct calendar *c, int64_t utc_ns, int32_t *day)
{
    int32_t d = calendar_day(c, utc_ns);
    int64_t eod = calendar_eod(c, d);
    while (calendar_eod(c, d + 1) == eod) {
        d++;
    }
    *day = d;
    return eod;
}

/* ---- business days ----------------------------------------------------------------------------
 */

bool calendar_is_business_day(const struct calendar *c, int32_t day)
{
    return !(c->weekend >> civil_weekday(day) & 1) &&
           !is_holiday(c->holidays, c->holiday_count, day);
}

/* Ends: the weekend is never the whole week (else `day` comes back), and holidays are finite. */
static int32_t business_day(const struct calendar *c, int32_t day, int32_t step)
{
    if ((c->weekend & ALL_DAYS) == ALL_DAYS) {
        return day;
    }
    do {
        day += step;
    } while (!calendar_is_business_day(c, day));
    return day;
}

int32_t calendar_next_business_day(const struct calendar *c, int32_t day)
{
    return business_day(c, day, 1);
}

int32_t calendar_previous_business_day(const struct calendar *c, int32_t day)
{
    return business_day(c, day, -1);
}

/* ---- hours: text ------------------------------------------------------------------------------
 */

static int weekday_named(const char *s)
{
    static const char names[7][4] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    for (int i = 0; i < 7; i++) {
        if (strncasecmp(s, names[i], 3) == 0 && !isalpha((unsigned char)s[3])) {
            return i;
        }
    }
    return -1;
}

uint8_t calendar_weekdays(const char *word)
{
    int from = weekday_named(word), to;
    if (strcasecmp(word, "daily") == 0) {
        return ALL_DAYS;
    }
    if (from < 0) {
        return 0;
    }
    if (word[3] == 0) {
        return (uint8_t)(1u << from);
    }
    if (word[3] != '-' || (to = weekday_named(word + 4)) < 0 || word[7] != 0) {
        return 0;
    }
    unsigned set = 0;
    for (int d = from;; d = (d + 1) % 7) {
        set |= 1u << d;
        if (d == to) {
            return (uint8_t)set;
        }
    }
}

/* "HH:MM[:SS]-HH:MM[:SS]" */
static bool take_range(const char *word, struct hours_range *r)
{
    char from[16];
    const char *dash = strchr(word, '-');
    if (!dash || (size_t)(dash - word) >= sizeof from) {
        return false;
    }
    memcpy(from, word, (size_t)(dash - word));
    from[dash - word] = 0;
    if (!civil_parse_time(from, &r->from_s) || !civil_parse_time(dash + 1, &r->to_s) ||
        r->from_s == PST_DAY_S) {
        return false;
    }
    if (r->to_s <= r->from_s) {
        r->to_s += PST_DAY_S;
    }
    return true;
}

static size_t take_word(const char **p, char word[64])
{
    size_t n = 0;
    *p += strspn(*p, " \t,;");
    n = strcspn(*p, " \t,;");
    if (n > 63) {
        return 64;
    }
    memcpy(word, *p, n);
    word[n] = 0;
    *p += n;
    return n;
}

bool hours_parse(const char *text, struct hours *h, char zone_name[64], struct err *err)
{
    char word[64];
    size_t n;
    uint8_t days = 0;
    bool days_used = true, always = false;
    memset(h, 0, sizeof *h);
    zone_name[0] = 0;
    while ((n = take_word(&text, word)) > 0) {
        uint8_t set;
        if (n > 63) {
            return err_set(err, -EINVAL, "a word of hours is too long; see \"%.20s...\"", text);
        }
        if (zone_name[0]) {
            return err_set(err, -EINVAL, "\"%s\" follows the zone %s; the zone comes last", word,
                           zone_name);
        }
        if (isdigit((unsigned char)word[0])) {
            struct hours_range r = {.days = days ? days : ALL_DAYS};
            if (!take_range(word, &r)) {
                return err_set(err, -EINVAL,
                               "\"%s\" is not a range of times; write e.g. 04:00-20:05", word);
            }
            if (h->count == HOURS_RANGE_MAX) {
                return err_set(err, -EINVAL, "more than %d ranges; merge some", HOURS_RANGE_MAX);
            }
            h->ranges[h->count++] = r;
            days_used = true;
        } else if ((set = calendar_weekdays(word)) != 0) {
            days = days_used ? set : (uint8_t)(days | set);
            days_used = false;
        } else if (strcasecmp(word, "always") == 0) {
            always = true;
        } else if (h->count == 0 && !always) {
            return err_set(err, -EINVAL,
                           "\"%s\" is neither a day nor a range of times; write e.g. Mon-Fri "
                           "04:00-20:05 America/New_York",
                           word);
        } else {
            memcpy(zone_name, word, n + 1);
        }
    }
    if (!days_used) {
        return err_set(err, -EINVAL, "days without times; write e.g. Mon-Fri 04:00-20:05");
    }
    if (always == (h->count > 0)) {
        return err_set(err, -EINVAL,
                       always ? "\"always\" together with ranges; keep one of them"
                              : "no range of times; write e.g. Mon-Fri 04:00-20:05");
    }
    return true;
}

/* ---- hours: instants --------------------------------------------------------------------------
 */

static bool range_on(const struct hours *h, const struct hours_range *r, int32_t day, int64_t *from,
                     int64_t *to)
{
    if (!(r->days >> civil_weekday(day) & 1) || is_holiday(h->holidays, h->holiday_count, day)) {
        return false;
    }
    *from = calendar_local_instant(h->zone, day, r->from_s);
    *to = calendar_local_instant(h->zone, day, r->to_s);
    return *from < *to;
}

bool hours_open(const struct hours *h, int64_t utc_ns)
{
    if (h->count == 0) {
        return true;
    }
    int32_t today = calendar_local_day(h->zone, utc_ns);
    /* A range starts at most 48 h before an instant it covers; a clock change may add an hour. */
    for (int32_t day = today - 2; day <= today + 1; day++) {
        for (uint32_t i = 0; i < h->count; i++) {
            int64_t from, to;
            if (range_on(h, &h->ranges[i], day, &from, &to) && from <= utc_ns && utc_ns < to) {
                return true;
            }
        }
    }
    return false;
}

int64_t hours_next_change(const struct hours *h, int64_t utc_ns)
{
    if (h->count == 0) {
        return INT64_MAX;
    }
    bool open = hours_open(h, utc_ns);
    int32_t today = calendar_local_day(h->zone, utc_ns);
    int32_t day = today - 2, last = today + CHANGE_DAYS_AHEAD;
    int64_t at = utc_ns;
    while (day <= last) {
        /* The nearest edge after `at` among the ranges that start near `day`. */
        int64_t next = INT64_MAX;
        for (int32_t d = day; d <= day + 4; d++) {
            for (uint32_t i = 0; i < h->count; i++) {
                int64_t from, to;
                if (!range_on(h, &h->ranges[i], d, &from, &to)) {
                    continue;
                }
                if (from > at && from < next) {
                    next = from;
                }
                if (to > at && to < next) {
                    next = to;
                }
            }
        }
        if (next == INT64_MAX) {
            day++;
            continue;
        }
        if (hours_open(h, next) != open) {
            return next;
        }
        at = next;
        day = calendar_local_day(h->zone, at) - 2;
    }
    return INT64_MAX;
}
