/* SPDX-License-Identifier: Apache-2.0 */
/* Trading dates, end-of-day instants and feed hours as properties over 20 years of zone data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "calendar.h"

#define HOUR (3600 * PST_SECOND_NS)

static const char *const zones[] = {"America/New_York",    "Europe/London",     "Asia/Kolkata",
                                    "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"};
static const int32_t eods[] = {0,         30 * 60,       90 * 60,   2 * 3600 + 1800, 4 * 3600,
                               12 * 3600, 12 * 3600 + 1, 17 * 3600, 23 * 3600 + 1800};

static struct tzone *must_load(const char *name)
{
    struct err e = {0};
    struct tzone *z = tzone_load(name, &e);
    if (!z) {
        fail_msg("%s", e.text);
    }
    return z;
}

static int64_t at(const struct tzone *z, int y, int m, int d, int h, int mi)
{
    return calendar_local_instant(z, civil_days(y, m, d), h * 3600 + mi * 60);
}

static void test_every_day_ends_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(zones); i++) {
        struct tzone *z = must_load(zones[i]);
        for (size_t k = 0; k < PST_COUNT(eods); k++) {
            struct calendar c = {.zone = z, .eod_s = eods[k], .weekend = CALENDAR_WEEKEND};
            int32_t first = civil_days(2010, 1, 1), last = civil_days(2030, 1, 1), day = 0;
            int64_t t = calendar_eod(&c, first - 1);
            for (int32_t want = first; want < last; want++) {
                int64_t before = t;
                assert_int_equal(calendar_day(&c, t), want); /* the end begins the next day */
                assert_int_equal(calendar_day(&c, t - 1), want - 1);
                t = calendar_next_eod(&c, t, &day);
                assert_int_equal(day, want);
                assert_int_equal(t, calendar_eod(&c, want));
                assert_true(t > before && t - before >= 22 * HOUR && t - before <= 26 * HOUR);
                int64_t again = calendar_next_eod(&c, t - 1, &day);
                assert_true(again == t && day == want);
            }
        }
        tzone_free(z);
    }
}

/* The written definition, checked against the local clock reading wherever that is unambiguous. */
static void test_day_follows_the_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(zones); i++) {
        struct tzone *z = must_load(zones[i]);
        for (size_t k = 0; k < PST_COUNT(eods); k++) {
            struct calendar c = {.zone = z, .eod_s = eods[k]};
            int32_t previous = INT32_MIN;
            for (int64_t t = civil_days(2012, 1, 1) * PST_DAY_NS;
                 t < civil_days(2032, 1, 1) * PST_DAY_NS; t += 3 * HOUR + 7) {
                int64_t s = civil_floor_div(t, PST_SECOND_NS);
                int64_t local = s + tzone_offset(z, s + PST_EPOCH_OFFSET_S);
                int32_t day = (int32_t)civil_floor_div(local, PST_DAY_S);
                int64_t tod = civil_floor_mod(local, PST_DAY_S);
                int32_t want = eods[k] > 12 * 3600 ? day + (tod >= eods[k]) : day - (tod < eods[k]);
                int32_t got = calendar_day(&c, t);
                int64_t unix_s = s + PST_EPOCH_OFFSET_S;
                bool changes = tzone_next_change(z, unix_s - 4 * 3600) <= unix_s + 4 * 3600;
                assert_true(got == want || (changes && got >= want - 1 && got <= want + 1));
                assert_true(got >= previous);
                previous = got;
            }
        }
        tzone_free(z);
    }
}

/* ---- 2006 to 2037: rule and file, gaps and folds, dates that were left out or came twice ---- */

static const char *const many_zones[] = {
    "America/New_York",    "America/Chicago",  "Europe/London", "Asia/Tokyo",
    "Australia/Lord_Howe", "Asia/Kathmandu",   "Pacific/Apia",  "Pacific/Kiritimati",
    "America/St_Johns",    "Africa/Casablanca"};
static const int32_t many_eods[] = {
    0,      9000,                     /* 02:30: skipped or doubled by many clock changes */
    43200,                            /* the last that belongs to the date before */
    43201,  61200,  86399, -1, -5400, /* 22:30 of the day before */
    -43200, -50400,                   /* 10:00 of the day before */
    -86399};

/* What the local clock says at an instant: days since 2000 and seconds after midnight. */
static void local(const struct tzone *z, int64_t utc_ns, int32_t *day, int32_t *second)
{
    int64_t s = civil_floor_div(utc_ns, PST_SECOND_NS);
    int64_t t = s + tzone_offset(z, s + PST_EPOCH_OFFSET_S);
    *day = (int32_t)civil_floor_div(t, PST_DAY_S);
    *second = (int32_t)civil_floor_mod(t, PST_DAY_S);
}

/*
 * A virtual clock runs through 31 years and takes each end as it comes: every date has one, none is
 * passed over, and each is where the local clock says, but for readings that the clock skipped.
 */
static void test_ends_of_31_years(void **state)
{
    (void)state;
    int32_t first = civil_days(2006, 1, 1), last = civil_days(2037, 1, 1);
    for (size_t i = 0; i < PST_COUNT(many_zones); i++) {
        struct tzone *z = must_load(many_zones[i]);
        for (size_t k = 0; k < PST_COUNT(many_eods); k++) {
            struct calendar c = {
                .zone = z, .eod_s = many_eods[k], .late_window_ns = 11 * HOUR + HOUR / 2};
            int32_t eod = many_eods[k] > 43200 ? many_eods[k] - 86400 : many_eods[k];
            int64_t t = calendar_eod(&c, first - 1);
            unsigned empty = 0, odd = 0;
            for (int32_t day = first; day < last; day++) {
                int64_t end = calendar_eod(&c, day);
                int32_t got, second, upto;
                assert_true(end >= t);
                assert_true(calendar_closes(&c, day) == end + c.late_window_ns);
                if (end == t) { /* Samoa in 2011, Kiritimati has none in these years */
                    empty++;
                    continue;
                }
                /* the window of a date is over before the next one ends */
                assert_true(end - t > 21 * HOUR && end - t < 27 * HOUR);
                assert_true(end - t > c.late_window_ns);
                assert_int_equal(calendar_day(&c, t), day);
                assert_int_equal(calendar_day(&c, end - 1), day);
                assert_true(calendar_next_eod(&c, t, &upto) == end && upto >= day);
                assert_true(calendar_next_eod(&c, end - 1, &upto) == end);
                for (int32_t x = day + 1; x <= upto; x++)
                    assert_true(calendar_eod(&c, x) == end);
                local(z, end, &got, &second);
                int32_t want = day + 1, at = eod;
                if (at < 0) {
                    at += 86400;
                    want--;
                }
                if (got != want || second != at) { /* skipped: moved forward by the gap */
                    odd++;
                    int64_t unix_s = end / PST_SECOND_NS + PST_EPOCH_OFFSET_S;
                    int64_t change = tzone_next_change(z, unix_s - 25 * 3600);
                    if (change > unix_s)
                        fail_msg("%s %+d: date %d ends at local %d %d", many_zones[i], many_eods[k],
                                 day, got, second);
                } else { /* and never the second of two */
                    local(z, end - HOUR / 2, &got, &second);
                    assert_false(got == want && second == at);
                    local(z, end - HOUR, &got, &second);
                    assert_false(got == want && second == at);
                }
                t = end;
            }
            bool apia = strcmp(many_zones[i], "Pacific/Apia") == 0;
            assert_int_equal(empty, apia);
            assert_true(odd <= (apia ? 33u : 65u));
        }
        tzone_free(z);
    }
}

/* The three ways to say it agree where they overlap, and -14:00 is what no positive time can say.
 */
static void test_negative_offsets(void **state)
{
    (void)state;
    struct tzone *z = must_load("America/New_York");
    struct calendar plain = {.zone = z, .eod_s = 22 * 3600}, back = {.zone = z, .eod_s = -2 * 3600};
    for (int32_t day = civil_days(2006, 1, 1); day < civil_days(2037, 1, 1); day++) {
        assert_true(calendar_eod(&plain, day) == calendar_eod(&back, day));
        assert_true(calendar_eod(&back, day) == at(z, 2000, 1, 1 + day, 22, 0));
    }
    back.eod_s = -14 * 3600;
    assert_int_equal(calendar_day(&back, at(z, 2026, 11, 23, 9, 59)), civil_days(2026, 11, 23));
    assert_int_equal(calendar_day(&back, at(z, 2026, 11, 23, 10, 0)), civil_days(2026, 11, 24));
    back.eod_s = -1;
    assert_int_equal(calendar_day(&back, at(z, 2026, 11, 23, 23, 59)), civil_days(2026, 11, 23));
    assert_int_equal(calendar_day(&back, at(z, 2026, 11, 24, 0, 0) - PST_SECOND_NS),
                     civil_days(2026, 11, 24));
    tzone_free(z);
}

/* Holidays and weekends change no end: dates tile time, trading or not. */
static void test_holidays_change_no_end(void **state)
{
    (void)state;
    struct tzone *z = must_load("Europe/London");
    int32_t holidays[] = {civil_days(2026, 12, 25), civil_days(2026, 12, 28)};
    struct calendar c = {.zone = z, .eod_s = 3600}, h = c;
    h.weekend = CALENDAR_WEEKEND;
    h.holidays = holidays;
    h.holiday_count = 2;
    for (int32_t day = civil_days(2026, 12, 1); day < civil_days(2027, 2, 1); day++)
        assert_true(calendar_eod(&c, day) == calendar_eod(&h, day));
    tzone_free(z);
}

static void test_dst_days(void **state)
{
    (void)state;
    struct tzone *ny = must_load("America/New_York"), *sp = must_load("America/Sao_Paulo");
    struct tzone *lh = must_load("Australia/Lord_Howe"), *apia = must_load("Pacific/Apia");
    struct calendar c = {.zone = ny};
    int32_t day = civil_days(2026, 3, 8);
    assert_int_equal(calendar_eod(&c, day) - calendar_eod(&c, day - 1), 23 * HOUR);
    day = civil_days(2026, 11, 1);
    assert_int_equal(calendar_eod(&c, day) - calendar_eod(&c, day - 1), 25 * HOUR);
    c.zone = lh; /* half an hour */
    day = civil_days(2026, 4, 5);
    assert_int_equal(calendar_eod(&c, day) - calendar_eod(&c, day - 1), 24 * HOUR + HOUR / 2);
    c.zone = sp; /* midnight itself was skipped: the day began at 01:00 */
    day = civil_days(2018, 11, 4);
    assert_int_equal(calendar_eod(&c, day) - calendar_eod(&c, day - 1), 23 * HOUR);
    assert_int_equal(calendar_midnight(&c, day), (int64_t)day * PST_DAY_NS + 3 * HOUR);
    c.zone = apia; /* 2011-12-30 did not exist */
    day = civil_days(2011, 12, 30);
    int32_t got;
    assert_int_equal(calendar_eod(&c, day), calendar_eod(&c, day - 1));
    int64_t t = calendar_next_eod(&c, calendar_eod(&c, day - 2), &got);
    assert_int_equal(got, day);
    assert_int_equal(calendar_day(&c, t), day + 1);
    assert_int_equal(calendar_day(&c, t - 1), day - 1);
    tzone_free(ny);
    tzone_free(sp);
    tzone_free(lh);
    tzone_free(apia);
}

static void test_sessions_that_turn_in_the_evening(void **state)
{
    (void)state;
    struct tzone *z = must_load("America/Chicago");
    struct calendar c = {.zone = z, .eod_s = 17 * 3600};
    assert_int_equal(calendar_day(&c, at(z, 2026, 8, 23, 17, 0)), civil_days(2026, 8, 24));
    assert_int_equal(calendar_day(&c, at(z, 2026, 8, 23, 17, 0) - 1), civil_days(2026, 8, 23));
    c.eod_s = 4 * 3600;
    assert_int_equal(calendar_day(&c, at(z, 2026, 8, 24, 3, 59)), civil_days(2026, 8, 23));
    assert_int_equal(calendar_day(&c, at(z, 2026, 8, 24, 4, 0)), civil_days(2026, 8, 24));
    tzone_free(z);
}

static void test_business_days(void **state)
{
    (void)state;
    struct tzone *z = must_load("UTC");
    int32_t holidays[] = {civil_days(2026, 12, 25), civil_days(2027, 1, 1)};
    struct calendar c = {
        .zone = z, .weekend = CALENDAR_WEEKEND, .holidays = holidays, .holiday_count = 2};
    assert_false(calendar_is_business_day(&c, civil_days(2026, 12, 25)));
    assert_false(calendar_is_business_day(&c, civil_days(2026, 12, 26)));
    assert_true(calendar_is_business_day(&c, civil_days(2026, 12, 28)));
    assert_int_equal(calendar_next_business_day(&c, civil_days(2026, 12, 24)),
                     civil_days(2026, 12, 28));
    assert_int_equal(calendar_previous_business_day(&c, civil_days(2026, 12, 28)),
                     civil_days(2026, 12, 24));
    int32_t day = civil_days(2010, 1, 1);
    for (int i = 0; i < 7000; i++) { /* next and previous undo each other */
        int32_t next = calendar_next_business_day(&c, day);
        assert_true(next > day && calendar_is_business_day(&c, next));
        for (int32_t d = day + 1; d < next; d++) {
            assert_false(calendar_is_business_day(&c, d));
        }
        assert_true(!calendar_is_business_day(&c, day) ||
                    calendar_previous_business_day(&c, next) == day);
        day = next;
    }
    c.weekend = 0x7F;
    assert_int_equal(calendar_next_business_day(&c, day), day);
    tzone_free(z);
}

static struct hours must_parse(const char *text, const char *zone)
{
    struct hours h;
    struct err e;
    char name[64];
    if (!hours_parse(text, &h, name, &e)) {
        fail_msg("%s: %s", text, e.text);
    }
    assert_string_equal(name, zone);
    return h;
}

static void test_hours_text(void **state)
{
    (void)state;
    struct hours h = must_parse("Mon-Fri 04:00-20:05 America/New_York", "America/New_York");
    assert_int_equal(h.count, 1);
    assert_int_equal(h.ranges[0].days, 0x1F);
    assert_true(h.ranges[0].from_s == 14400 && h.ranges[0].to_s == 72300);
    h = must_parse("Mon,Wed 09:00-11:30,12:30-15:30; Sat-Mon 10:00-09:00", "");
    assert_int_equal(h.count, 3);
    assert_int_equal(h.ranges[1].days, 0x05);
    assert_int_equal(h.ranges[2].days, 0x61);
    assert_int_equal(h.ranges[2].to_s, 86400 + 9 * 3600);
    assert_int_equal(must_parse("always", "").count, 0);
    assert_int_equal(must_parse("00:00-24:00 UTC", "UTC").ranges[0].days, 0x7F);
    static const struct {
        const char *text, *says;
    } bad[] = {{"", "no range"},
               {"Mon-Fri", "days without times"},
               {"Mon-Fry 09:00-10:00", "\"Mon-Fry\" is neither"},
               {"Mon 9:00-10:00", "\"9:00-10:00\" is not a range"},
               {"Mon 09:00-25:00", "is not a range"},
               {"Mon 24:00-10:00", "is not a range"},
               {"Mon 09:00-10:00 UTC Tue", "the zone comes last"},
               {"always 09:00-10:00", "keep one"},
               {"Mon 09:00-10:00 Tue", "days without times"}};
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        struct err e;
        char name[64];
        assert_false(hours_parse(bad[i].text, &h, name, &e));
        if (!strstr(e.text, bad[i].says)) {
            fail_msg("%s: %s", bad[i].text, e.text);
        }
    }
}

static void test_hours_open(void **state)
{
    (void)state;
    struct tzone *z = must_load("America/New_York");
    int32_t holiday = civil_days(2026, 11, 26);
    struct hours h = must_parse("Mon-Fri 04:00-20:05", "");
    h.zone = z;
    h.holidays = &holiday;
    h.holiday_count = 1;
    assert_false(hours_open(&h, at(z, 2026, 8, 24, 3, 59)));
    assert_true(hours_open(&h, at(z, 2026, 8, 24, 4, 0)));
    assert_true(hours_open(&h, at(z, 2026, 8, 24, 20, 5) - 1));
    assert_false(hours_open(&h, at(z, 2026, 8, 24, 20, 5)));
    assert_false(hours_open(&h, at(z, 2026, 8, 22, 12, 0))); /* a Saturday */
    assert_false(hours_open(&h, at(z, 2026, 11, 26, 12, 0)));
    assert_int_equal(hours_next_change(&h, at(z, 2026, 11, 25, 20, 5)), at(z, 2026, 11, 27, 4, 0));
    assert_int_equal(hours_next_change(&h, at(z, 2026, 8, 24, 4, 0)), at(z, 2026, 8, 24, 20, 5));

    h = must_parse("Sun-Thu 17:00-16:00", ""); /* overnight, one hour off a day */
    h.zone = z;
    assert_true(hours_open(&h, at(z, 2026, 8, 28, 15, 59))); /* Friday: Thursday's range */
    assert_false(hours_open(&h, at(z, 2026, 8, 28, 16, 0)));
    assert_int_equal(hours_next_change(&h, at(z, 2026, 8, 28, 16, 0)), at(z, 2026, 8, 30, 17, 0));

    h = must_parse("daily 00:00-24:00", ""); /* adjoining ranges never close */
    h.zone = z;
    assert_int_equal(hours_next_change(&h, at(z, 2026, 3, 7, 12, 0)), INT64_MAX);
    h = must_parse("always", "");
    assert_true(hours_open(&h, 0));
    assert_int_equal(hours_next_change(&h, 0), INT64_MAX);
    tzone_free(z);
}

/* next_change finds exactly the flips that a walk in small steps sees, through clock changes too.
 */
static void test_hours_next_change(void **state)
{
    (void)state;
    static const char *const texts[] = {"Mon-Fri 04:00-20:05", "Sun-Thu 17:00-16:00",
                                        "Mon-Fri 09:00-11:30,12:30-15:00; Sat 23:00-04:00",
                                        "Sun 00:00-00:00, 01:30-02:30"};
    for (size_t i = 0; i < PST_COUNT(zones); i++) {
        struct tzone *z = must_load(zones[i]);
        int32_t holidays[] = {civil_days(2018, 2, 17), civil_days(2018, 11, 5)};
        for (size_t k = 0; k < PST_COUNT(texts); k++) {
            struct hours h = must_parse(texts[k], "");
            h.zone = z;
            h.holidays = holidays;
            h.holiday_count = 2;
            int64_t t = civil_days(2018, 1, 1) * PST_DAY_NS;
            int64_t next = hours_next_change(&h, t);
            bool open = hours_open(&h, t);
            for (int64_t step = HOUR / 12; t < civil_days(2018, 12, 31) * PST_DAY_NS; t += step) {
                while (next <= t) {
                    assert_int_not_equal(hours_open(&h, next), hours_open(&h, next - 1));
                    open = !open;
                    next = hours_next_change(&h, next);
                }
                assert_int_equal(hours_open(&h, t), open);
            }
        }
        tzone_free(z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_day_ends_once),
        cmocka_unit_test(test_day_follows_the_definition),
        cmocka_unit_test(test_ends_of_31_years),
        cmocka_unit_test(test_negative_offsets),
        cmocka_unit_test(test_holidays_change_no_end),
        cmocka_unit_test(test_dst_days),
        cmocka_unit_test(test_sessions_that_turn_in_the_evening),
        cmocka_unit_test(test_business_days),
        cmocka_unit_test(test_hours_text),
        cmocka_unit_test(test_hours_open),
        cmocka_unit_test(test_hours_next_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
