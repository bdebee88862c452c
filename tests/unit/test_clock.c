/* SPDX-License-Identifier: Apache-2.0 */
/* The clock's discipline, against a machine whose TSC rate and wall clock the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/clock.h"

#define TRUE_HZ 2100000000.0

static uint64_t rng = 9;
static int64_t noise(int64_t amplitude)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (int64_t)((rng >> 33) % (uint64_t)(2 * amplitude + 1)) - amplitude;
}

/* ppm: error of the rate learned at start. wander: amplitude of the rate's true drift, ppm. Returns
 * the worst offset seen after the first ten seconds. */
static int64_t run(double ppm, double wander, int64_t jitter, int seconds, struct clock *c)
{
    clock_init_virtual(c, 0);
    c->is_virtual = false;
    c->use_tsc = true;
    c->rate = (uint64_t)(4294967296.0 * 1e9 / TRUE_HZ * (1 + ppm * 1e-6));
    store_relaxed(&c->mult, c->rate);
    double ticks = 0;
    int64_t worst = 0;
    for (int i = 1; i <= seconds * 10; i++) {
        double drift = i / 10 % 60 < 30 ? wander : -wander;
        ticks += TRUE_HZ / 10 * (1 + drift * 1e-6);
        int64_t utc = (int64_t)i * 100 * NS_PER_MS;
        int64_t off = utc - clock_from_ticks(c, (uint64_t)ticks);
        if (i > 100 && (off < 0 ? -off : off) > worst)
            worst = off < 0 ? -off : off;
        clock_adjust(c, (uint64_t)ticks, utc + noise(jitter));
    }
    return worst;
}

static void test_stays_near_the_wall_clock(void **state)
{
    (void)state;
    struct clock c;
    int64_t w = run(5, 0, 50, 3600, &c); /* an hour */
    assert_true(w < 2 * NS_PER_US);
    assert_int_equal(load_relaxed(&c.steps), 0);
    w = run(-400, 0, 0, 600, &c); /* a bad first guess is still being unlearned at 10 s */
    assert_true(w < 50 * NS_PER_US);
    assert_int_equal(load_relaxed(&c.steps), 0);
    w = run(0, 20, 200, 600, &c); /* chrony slewing back and forth by 40 ppm */
    assert_true(w < 50 * NS_PER_US);
    assert_int_equal(load_relaxed(&c.steps), 0);
}

static void test_a_step_is_followed_and_flagged(void **state)
{
    (void)state;
    struct clock c;
    run(0, 0, 0, 20, &c);
    int64_t now = 21 * NS_PER_S;
    clock_adjust(&c, (uint64_t)(21 * TRUE_HZ), now);
    clock_adjust(&c, (uint64_t)(21.1 * TRUE_HZ), now + 100 * NS_PER_MS + 5 * NS_PER_S);
    assert_int_equal(load_relaxed(&c.steps), 1);
    int64_t t = clock_from_ticks(&c, (uint64_t)(21.1 * TRUE_HZ));
    assert_true(t == now + 100 * NS_PER_MS + 5 * NS_PER_S);
    assert_true(clock_doubtful(&c, t));
    assert_false(clock_doubtful(&c, t + NS_PER_S + NS_PER_MS));
}

static void test_virtual_and_days(void **state)
{
    (void)state;
    struct clock c;
    clock_init_virtual(&c, 100);
    clock_set(&c, 50);
    assert_true(clock_now(&c) == 100);
    clock_set(&c, 150);
    assert_true(clock_now(&c) == 150);
    assert_int_equal(clock_day(0), 0);
    assert_int_equal(clock_day(-1), -1);
    assert_int_equal(clock_day(-NS_PER_DAY), -1);
    assert_int_equal(clock_day(NS_PER_DAY), 1);
}

static void test_real_clock_is_the_systems(void **state)
{
    (void)state;
    struct clock c;
    clock_init_real(&c);
    int64_t a = clock_system(), b = clock_now(&c), d = clock_system();
    assert_true(b > a - 5 * NS_PER_MS && b < d + 5 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stays_near_the_wall_clock),
        cmocka_unit_test(test_a_step_is_followed_and_flagged),
        cmocka_unit_test(test_virtual_and_days),
        cmocka_unit_test(test_real_clock_is_the_systems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
