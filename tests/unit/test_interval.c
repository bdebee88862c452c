/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intervals against the definition, minute by minute: over real zones and their clock changes the
 * ends are exactly the instants at which the local clock reads midnight of the trading date +
 * offset
 * + a multiple of freq, and the ends of the dates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "interval.h"

#define MINUTE_NS (60 * PST_SECOND_NS)

static uint64_t rng = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

static int64_t local_of(const struct calendar *c, int64_t utc)
{
    int64_t s = utc / PST_SECOND_NS + PST_EPOCH_OFFSET_S;
    return utc + tzone_offset(c->zone, s) * PST_SECOND_NS;
}

static void one_day(const struct calendar *c, const struct interval_rule *r, int32_t day)
{
    struct due_item items[INTERVAL_DUE_MOST];
    int64_t start = calendar_eod(c, day - 1), end = calendar_eod(c, day), from = start;
    uint32_t n = interval_due(c, r, day, 0, items), i = 0, k = 0;
    for (int64_t t = start; t < end; t += MINUTE_NS) {
        int64_t local = local_of(c, t) - day * PST_DAY_NS - r->offset * MINUTE_NS;
        bool ends = t > start && civil_floor_mod(local, r->freq * MINUTE_NS) == 0;
        if (ends) {
            assert_true(i < n);
            const struct due_item *d = &items[i];
            assert_true(d->at + k * d->step == t);
            assert_int_equal((d->minute + k * (uint32_t)r->freq) % 1440, interval_minute(c, t));
            assert_int_equal(interval_minute(c, t),
                             civil_floor_mod(local_of(c, t), PST_DAY_NS) / MINUTE_NS);
            from = t;
            if (++k == d->count) {
                i++;
                k = 0;
            }
        }
        struct interval v;
        interval_at(c, r, 0, t + rnd(60) * PST_SECOND_NS, &v);
        assert_true(v.from == from && v.to > t && v.to <= end);
        assert_int_equal(v.day, day);
        assert_int_equal(v.minute, interval_minute(c, from));
    }
    assert_true(i == n && k == 0);
}

static void test_against_the_clock(void **state)
{
    (void)state;
    static const char *const zones[] = {"America/New_York",    "Europe/London",    "Asia/Kolkata",
                                        "Australia/Lord_Howe", "America/St_Johns", "UTC"};
    static const int32_t freqs[] = {1, 5, 7, 30, 60, 90, 120, 1440};
    for (unsigned z = 0; z < PST_COUNT(zones); z++) {
        struct err e;
        struct calendar c = {.name = "default"};
        c.zone = tzone_load(zones[z], &e);
        if (!c.zone)
            fail_msg("%s", e.text);
        int32_t spring = 9563 + 60; /* 2026.05.07: then on to the changes of that year */
        for (int64_t t = calendar_midnight(&c, spring), n = 0; n < 3; n++) {
            int64_t at = tzone_next_change(c.zone, t / PST_SECOND_NS + PST_EPOCH_OFFSET_S);
            int32_t change =
                at == INT64_MAX
                    ? spring
                    : calendar_local_day(c.zone, (at - PST_EPOCH_OFFSET_S) * PST_SECOND_NS);
            for (unsigned f = 0; f < PST_COUNT(freqs); f++) {
                struct interval_rule r = {freqs[f], (int32_t)rnd(2879) - 1439};
                c.eod_s = ((int32_t)rnd(2 * 1439) - 1439) * 60;
                for (int32_t day = change - 1; day <= change + 1; day++)
                    one_day(&c, &r, day);
            }
            if (at != INT64_MAX)
                t = (at + 1 - PST_EPOCH_OFFSET_S) * PST_SECOND_NS;
        }
        tzone_free((struct tzone *)(uintptr_t)c.zone);
    }
}

static void test_off(void **state)
{
    (void)state;
    struct err e;
    struct calendar c = {.name = "default"};
    struct due_item items[INTERVAL_DUE_MOST];
    struct interval_rule none = {0, 0}, hour = {60, -15};
    c.zone = tzone_load("UTC", &e);
    assert_non_null(c.zone);
    assert_int_equal(interval_due(&c, &none, 9000, 0, items), 0);
    assert_int_equal(interval_due(&c, &hour, 9000, 0, items), 1);
    assert_int_equal(items[0].minute, 45);
    assert_int_equal(items[0].count, 24);
    /* a replay whose dates are not those of its clock */
    struct interval v;
    interval_at(&c, &hour, 100, 9100 * PST_DAY_NS + 50 * MINUTE_NS, &v);
    assert_int_equal(v.day, 9000);
    assert_int_equal(v.minute, 45);
    assert_int_equal(interval_due(&c, &hour, 9000, 100, items), 1);
    assert_true(items[0].at == 9100 * PST_DAY_NS + 45 * MINUTE_NS);
    assert_int_equal(items[0].day, 9000);
    tzone_free((struct tzone *)(uintptr_t)c.zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_clock),
        cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
