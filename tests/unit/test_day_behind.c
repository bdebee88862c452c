/* SPDX-License-Identifier: Apache-2.0 */
/* What memory has yet to read of the journal, across the jumps of unclean restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "control/day_behind.h"

#define LEASE (1ull << 40)

static void jumps(void **state)
{
    (void)state;
    /* two files of one run, a kill -9, a third one, another kill -9 */
    const struct day_piece p[] = {day_piece(4096, 10000, 99999), day_piece(10000, LEASE, 8192),
                                  day_piece(LEASE, LEASE + 500, 1 << 20)};
    const uint64_t start = 2 * LEASE, tail = start + 70;
    assert_int_equal(p[0].end, 10000);
    assert_int_equal(p[1].end, 18192);
    assert_int_equal(p[2].end, LEASE + 500);
    assert_int_equal(day_behind(p, 3, start, 4096, tail), 5904 + 8192 + 500 + 70);
    assert_int_equal(day_behind(p, 3, start, 12000, tail), 6192 + 500 + 70);
    assert_int_equal(day_behind(p, 3, start, 18192, tail), 570);
    assert_int_equal(day_behind(p, 3, start, LEASE + 500, tail), 70);
    assert_int_equal(day_behind(p, 3, start, start, tail), 70);
    assert_int_equal(day_behind(p, 3, start, tail, tail), 0);
    assert_int_equal(day_behind(NULL, 0, start, 0, tail), 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jumps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
