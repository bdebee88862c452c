/* SPDX-License-Identifier: Apache-2.0 */
/* Control beside a lcore: due lists replaced while they are read, commands sent while they run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include "command.h"
#include "due.h"

static void test_sorted_stable_and_limited(void **state)
{
    (void)state;
    static struct due d;
    struct err e;
    static struct due_item items[DUE_MAX + 1];
    due_init(&d);
    assert_null(due_next(&d, INT64_MAX));
    for (unsigned i = 0; i <= DUE_MAX; i++)
        items[i] = (struct due_item){.id = i + 1, .at = (int64_t)(i * 37 % 8)};
    assert_false(due_publish(&d, items, DUE_MAX + 1, &e));
    assert_int_equal(e.code, -E2BIG);
    assert_true(due_publish(&d, items, DUE_MAX, &e));
    int64_t at = 0;
    uint64_t id = 0;
    const struct due_item *x;
    unsigned n = 0;
    while ((x = due_next(&d, 100))) {
        assert_true(x->at >= at);
        assert_true(x->at > at || x->id > id); /* entries of one instant keep their order */
        at = x->at;
        id = x->id;
        assert_ptr_equal(due_next(&d, 100), x); /* not passed: comes again */
        due_pass(&d, x);
        assert_true(due_done(&d, id));
        n++;
    }
    assert_int_equal(n, DUE_MAX);
    assert_true(due_publish(&d, NULL, 0, &e));
    assert_null(due_next(&d, INT64_MAX));
}

/* Item i is due at i. Control always offers the next few, the lcore's time runs on its own. */
#define ITEMS 20000u

struct beside {
    struct due due;
    struct command_ring commands;
    uint64_t passed, wrong;
    uint64_t commands_seen;
};

static void *lcore(void *arg)
{
    struct beside *b = arg;
    while (b->passed < ITEMS) {
        const struct due_item *x = due_next(&b->due, INT64_MAX);
        if (x) {
            b->wrong +=
                x->id != b->passed + 1 || x->at != (int64_t)x->id || x->json_len != x->id % 200;
            for (uint32_t i = 0; i < x->json_len; i++)
                b->wrong += x->json[i] != (char)x->id;
            b->passed++;
            due_pass(&b->due, x);
        }
        struct command *c = command_peek(&b->commands);
        if (c) {
            b->wrong += c->feed != (uint16_t)b->commands_seen;
            command_finish(&b->commands, c, c->feed % 3 == 0);
            b->commands_seen++;
        }
    }
    return NULL;
}

static void test_lists_and_commands_beside_a_lcore(void **state)
{
    (void)state;
    struct beside *b = aligned_alloc(64, pst_align_up(sizeof *b, 64));
    memset(b, 0, sizeof *b);
    due_init(&b->due);
    pthread_t t;
    pthread_create(&t, NULL, lcore, b);
    static struct due_item items[16];
    uint64_t first = 1, ticket = 0, answered = 0;
    while (first <= ITEMS) {
        unsigned n = 0;
        for (uint64_t id = first; id <= ITEMS && n < PST_COUNT(items); id++, n++) {
            items[n] = (struct due_item){.id = id, .at = (int64_t)id, .json_len = id % 200};
            memset(items[n].json, (int)(char)id, items[n].json_len);
        }
        due_publish(&b->due, items, n, NULL); /* may say: not yet */
        while (first <= ITEMS && due_done(&b->due, first))
            first++;
        struct command c = {.feed = (uint16_t)ticket};
        bool ok = false;
        if (ticket - answered < 8 && command_send(&b->commands, &c))
            ticket++;
        if (answered < ticket && command_done(&b->commands, answered + 1, &ok)) {
            assert_true(ok == ((uint16_t)answered % 3 == 0));
            answered++;
        }
        sched_yield();
    }
    pthread_join(t, NULL);
    assert_int_equal(b->wrong, 0);
    assert_int_equal(b->passed, ITEMS);
    assert_true(b->commands_seen > 0);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_stable_and_limited),
        cmocka_unit_test(test_lists_and_commands_beside_a_lcore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
