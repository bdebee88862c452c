/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "nic_clock.h"

/* A card whose oscillator runs at `hz`, read over a bus that takes `read_ns` (with jitter). */
struct card {
    int64_t utc;
    double ticks_per_ns;
    uint64_t origin;
    int64_t utc0;
    int64_t read_ns;
    uint32_t noise;
    bool broken;
};

static uint64_t ticks_at(const struct card *c, int64_t utc)
{
    return c->origin + (uint64_t)((double)(utc - c->utc0) * c->ticks_per_ns);
}

static int64_t card_utc(void *arg)
{
    struct card *c = arg;
    c->noise = c->noise * 1664525u + 1013904223u;
    c->utc += c->read_ns / 2 + (int64_t)(c->noise >> 24); /* 0 to 255 ns of jitter */
    return c->utc;
}

static bool card_ticks(void *arg, uint64_t *ticks)
{
    struct card *c = arg;
    *ticks = ticks_at(c, c->utc);
    c->utc += c->read_ns / 2;
    return !c->broken;
}

static int64_t worst(struct nic_clock *n, const struct card *c, int64_t from, int64_t to)
{
    int64_t bad = 0;
    for (int64_t t = from; t < to; t += (to - from) / 100) {
        int64_t utc = 0;
        assert_true(nic_clock_convert(n, ticks_at(c, t), &utc));
        int64_t d = utc > t ? utc - t : t - utc;
        bad = d > bad ? d : bad;
    }
    return bad;
}

/* 200 s at several rates and drifts: never further off than a microsecond between readings. */
static void follows_the_card(void **state)
{
    (void)state;
    static const double hz[] = {0.35, 1.0, 1.0 + 50e-6, 0.15625 * (1 - 30e-6), 5.0};
    for (size_t i = 0; i < PST_COUNT(hz); i++) {
        struct card c = {.utc = 848000000000000000,
                         .ticks_per_ns = hz[i],
                         .read_ns = 1000,
                         .origin = i % 2 ? UINT64_MAX - 1000000 : 12345}; /* wraps early */
        c.utc0 = c.utc;
        struct nic_clock_source src = {card_ticks, card_utc, &c};
        struct nic_clock n;
        nic_clock_init(&n, 0);
        int64_t utc;
        assert_false(nic_clock_convert(&n, 1, &utc));
        assert_true(nic_clock_update(&n, &src));
        assert_false(nic_clock_convert(&n, 1, &utc)); /* one reading is no line */
        for (int s = 0; s < 200; s++) {
            c.utc += 1000000000;
            assert_true(nic_clock_update(&n, &src));
            if (s > 3) {
                assert_true(worst(&n, &c, c.utc - 1000000000, c.utc + 1000000000) < 1000);
            }
        }
    }
}

/* A step of UTC or a reset of the card: doubtful at once, right again two readings later. */
static void recovers_from_steps(void **state)
{
    (void)state;
    struct card c = {.utc = 848000000000000000, .ticks_per_ns = 1.0, .read_ns = 800, .origin = 5};
    c.utc0 = c.utc;
    struct nic_clock_source src = {card_ticks, card_utc, &c};
    struct nic_clock n;
    nic_clock_init(&n, 0);
    for (int s = 0; s < 10; s++) {
        c.utc += 1000000000;
        nic_clock_update(&n, &src);
    }
    int64_t utc;
    for (int kind = 0; kind < 2; kind++) {
        if (kind == 0) {
            c.utc0 += 3000000; /* the card now lags 3 ms, as if UTC had jumped ahead */
        } else {
            c.origin = 17; /* reset */
            c.utc0 = c.utc;
        }
        c.utc += 1000000000;
        assert_true(nic_clock_update(&n, &src));
        assert_false(nic_clock_convert(&n, ticks_at(&c, c.utc), &utc));
        for (int s = 0; s < 5; s++) {
            c.utc += 1000000000;
            assert_true(nic_clock_update(&n, &src));
        }
        assert_true(worst(&n, &c, c.utc, c.utc + 1000000000) < 2000);
    }
    c.broken = true;
    assert_false(nic_clock_update(&n, &src));
    assert_false(nic_clock_convert(&n, ticks_at(&c, c.utc), &utc));
    c.broken = false;
    for (int s = 0; s < 5; s++) {
        c.utc += 1000000000;
        assert_true(nic_clock_update(&n, &src));
    }
    assert_true(worst(&n, &c, c.utc, c.utc + 1000000000) < 2000);
}

/* A reader beside the writer never sees a mixture: both ends of the line move together. */
struct race {
    struct nic_clock n;
    _Atomic bool stop;
    uint64_t good, bad;
    struct card c;
};

static void *convert(void *arg)
{
    struct race *r = arg;
    while (!load_acquire(&r->stop)) {
        int64_t utc, want = r->c.utc0 + 500000000000;
        if (nic_clock_convert(&r->n, ticks_at(&r->c, want), &utc)) {
            r->good++;
            r->bad += utc - want > 1000000 || want - utc > 1000000;
        }
    }
    return NULL;
}

static void readers_see_whole_lines(void **state)
{
    (void)state;
    static struct race r;
    struct card w = {.utc = 848000000000000000, .ticks_per_ns = 2.0, .origin = 99, .read_ns = 500};
    w.utc0 = w.utc;
    r.c = w;
    struct nic_clock_source src = {card_ticks, card_utc, &w};
    nic_clock_init(&r.n, 0);
    for (int i = 0; i < 20; i++) {
        w.utc += 1000000000;
        nic_clock_update(&r.n, &src);
    }
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, convert, &r), 0);
    for (int i = 0; i < 20000; i++) {
        w.utc += 40000000;
        nic_clock_update(&r.n, &src);
    }
    store_release(&r.stop, true);
    pthread_join(t, NULL);
    assert_int_equal(r.bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_card),
        cmocka_unit_test(recovers_from_steps),
        cmocka_unit_test(readers_see_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
