/* SPDX-License-Identifier: Apache-2.0 */
/* Time until a disk is full: what is allocated at once is no rate, little time foretells little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "control/disk_rate.h"

#define S  1000000000ll
#define GB 1000000000ull
#define MB 1000000ull

static struct disk_rate r;
static int64_t until;

static void steady(void **state)
{
    (void)state;
    r = (struct disk_rate){0};
    for (unsigned i = 0; i < 4 * 3600; i++) { /* 1 MB/s of 100 GB */
        disk_rate_add(&r, i * S, 100 * GB - i * MB, 0);
        double rate = disk_rate_now(&r, 0, &until);
        if (i < 5)
            assert_true(rate == 0);
        if (i < 600)
            assert_true(until == DISK_RATE_NEVER); /* 27 hours ahead */
        else
            assert_true(rate > 0.99e6 && rate < 1.01e6 && until / S > 80000 && until / S < 100500);
    }
}

static void soon(void **state)
{
    (void)state;
    r = (struct disk_rate){0};
    unsigned first = 0;
    for (unsigned i = 0; i < 90; i++) { /* full in 100 seconds: told long before ten minutes */
        disk_rate_add(&r, i * S, 100 * GB - i * GB, i * GB);
        disk_rate_now(&r, 0, &until);
        if (until != DISK_RATE_NEVER && !first)
            first = i;
    }
    assert_in_range(first, 5, 15);
    assert_in_range(until / S, 10, 12);
}

/* A start: 7 GB are allocated within seconds, 100 KB/s are written. */
static void allocated(void **state)
{
    (void)state;
    for (unsigned known = 0; known < 2; known++) { /* whether the writing is counted or not */
        r = (struct disk_rate){0};
        for (unsigned i = 0; i < 3600; i++) {
            uint64_t made = i < 7 ? i * GB : 7 * GB, wrote = i * MB / 10;
            disk_rate_add(&r, i * S, 80 * GB - made - wrote, known ? wrote : 0);
            disk_rate_now(&r, known ? 3 * GB : 0, &until);
            assert_true(i < 30 ? until > 60 * S : until > 4 * 3600 * S);
        }
        assert_true(until != DISK_RATE_NEVER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady),
        cmocka_unit_test(soon),
        cmocka_unit_test(allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
