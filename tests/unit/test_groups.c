/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "groups.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static void finds_what_was_put_in(void **state)
{
    (void)state;
    struct groups g;
    struct err err = {0};
    const struct group_route r[] = {{IP(233, 54, 12, 111), 26477, 7},
                                    {IP(233, 54, 12, 111), 26478, 8},
                                    {IP(224, 0, 0, 1), 1, 0}};
    assert_true(groups_init(&g, r, 3, GROUP_NONE, &err));
    const struct group_table *t = groups_pin(&g);
    assert_int_equal(groups_find(t, r[0].ip, r[0].port), 7);
    assert_int_equal(groups_find(t, r[1].ip, r[1].port), 8);
    assert_int_equal(groups_find(t, r[2].ip, r[2].port), 0);
    assert_int_equal(groups_find(t, r[0].ip, 26479), GROUP_NONE);
    assert_int_equal(groups_find(t, r[0].ip + 1, 26477), GROUP_NONE);
    assert_int_equal(groups_find(t, 0, 0), GROUP_NONE);
    groups_fini(&g);
}

static void wildcard_takes_the_rest(void **state)
{
    (void)state;
    struct groups g;
    const struct group_route r[] = {{IP(224, 1, 1, 1), 5, 3}};
    assert_true(groups_init(&g, r, 1, 9, NULL));
    assert_int_equal(groups_find(groups_pin(&g), IP(224, 1, 1, 1), 5), 3);
    assert_int_equal(groups_find(groups_pin(&g), IP(1, 2, 3, 4), 5), 9);
    groups_fini(&g);
    assert_true(groups_init(&g, NULL, 0, GROUP_NONE, NULL));
    assert_int_equal(groups_find(groups_pin(&g), IP(1, 2, 3, 4), 5), GROUP_NONE);
    groups_fini(&g);
}

/* Consecutive groups and ports, as venues number them, at the largest size: every one is found, its
 * neighbours are not, and no probe is long. */
static void full_table(void **state)
{
    (void)state;
    static struct group_route r[GROUPS_MAX];
    struct groups g;
    for (int i = 0; i < GROUPS_MAX; i++) {
        r[i] = (struct group_route){IP(233, 0, 0, 0) + (uint32_t)(i / 4), (uint16_t)(20000 + i % 4),
                                    (uint16_t)i};
    }
    assert_true(groups_init(&g, r, GROUPS_MAX, GROUP_NONE, NULL));
    const struct group_table *t = groups_pin(&g);
    for (int i = 0; i < GROUPS_MAX; i++) {
        assert_int_equal(groups_find(t, r[i].ip, r[i].port), i);
        assert_int_equal(groups_find(t, r[i].ip, 30000), GROUP_NONE);
    }
    assert_true(t->probe_max <= 8);
    groups_fini(&g);
}

static void refuses(void **state)
{
    (void)state;
    struct groups g;
    struct err err = {0};
    const struct group_route twice[] = {{1, 2, 3}, {1, 2, 4}};
    assert_false(groups_init(&g, twice, 2, GROUP_NONE, &err));
    assert_int_equal(err.code, -EEXIST);
    assert_non_null(strstr(err.text, "0.0.0.1:2"));
    const struct group_route none[] = {{1, 2, GROUP_NONE}};
    assert_false(groups_init(&g, none, 1, GROUP_NONE, &err));
    assert_false(groups_init(&g, none, GROUPS_MAX + 1, GROUP_NONE, &err));
    assert_int_equal(err.code, -E2BIG);
}

static void replace_waits_for_the_acknowledgement(void **state)
{
    (void)state;
    struct groups g;
    struct err err = {0};
    struct group_route r = {1, 2, 3};
    assert_true(groups_init(&g, &r, 1, GROUP_NONE, &err));
    assert_true(groups_reclaim(&g));
    (void)groups_pin(&g);
    r.route = 4;
    assert_true(groups_replace(&g, &r, 1, GROUP_NONE, &err));
    assert_false(groups_reclaim(&g)); /* the owner may still be reading the old one */
    assert_false(groups_replace(&g, &r, 1, GROUP_NONE, &err));
    assert_int_equal(err.code, -EAGAIN);
    assert_int_equal(groups_find(groups_pin(&g), 1, 2), 4);
    assert_true(groups_reclaim(&g));
    assert_true(groups_replace(&g, &r, 1, GROUP_NONE, &err));
    groups_fini(&g);
}

/* A polling thread beside three hundred changes: the group that is in every table is always found, the
 * routes never go back, and no retired table is read (the sanitizers would tell). */
struct racer {
    struct groups g;
    _Atomic bool stop;
    uint64_t bad, looks;
};

static void *poll_groups(void *arg)
{
    struct racer *r = arg;
    uint16_t last = 0;
    while (!load_acquire(&r->stop)) {
        const struct group_table *t = groups_pin(&r->g);
        for (int i = 0; i < 8; i++) {
            uint16_t now = groups_find(t, 1, 2);
            r->bad += now < last || now == GROUP_NONE;
            last = now;
            r->looks++;
        }
    }
    return NULL;
}

static void changes_while_polling(void **state)
{
    (void)state;
    static struct racer r;
    struct group_route set[9] = {{1, 2, 0}};
    for (uint16_t i = 1; i < 9; i++) {
        set[i] = (struct group_route){i, 100, i};
    }
    assert_true(groups_init(&r.g, set, 9, GROUP_NONE, NULL));
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, poll_groups, &r), 0);
    int done = 0;
    while (done < 300) {
        set[0].route = (uint16_t)(done + 1);
        struct err err = {0};
        if (groups_replace(&r.g, set, 1 + done % 9, GROUP_NONE, &err)) {
            done++;
        } else {
            assert_int_equal(err.code, -EAGAIN);
            sched_yield(); /* the poller may need this CPU */
        }
    }
    store_release(&r.stop, true);
    pthread_join(t, NULL);
    assert_int_equal(r.bad, 0);
    assert_true(r.looks > 0);
    groups_fini(&r.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_put_in),
        cmocka_unit_test(wildcard_takes_the_rest),
        cmocka_unit_test(full_table),
        cmocka_unit_test(refuses),
        cmocka_unit_test(replace_waits_for_the_acknowledgement),
        cmocka_unit_test(changes_while_polling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
