/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader's requests to the day, and its hold on the writedown thread: a batch that was stale
 * again and again has the database for itself until it is through, but not for ever.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "control/day_parts.h"

static struct day *y;
static struct day_write *w;
static struct ring_head *head;
static unsigned woken;

static void wake(void *arg)
{
    assert_ptr_equal(arg, &woken);
    woken++;
}

static int make(void **state)
{
    (void)state;
    y = calloc(1, sizeof *y);
    w = calloc(1, sizeof *w);
    y->d = calloc(1, sizeof *y->d);
    y->catalogue = calloc(1, sizeof *y->catalogue);
    head = calloc(1, sizeof *head);
    y->d->ring.head = head;
    y->write = w;
    y->loaded = true;
    pthread_mutex_init(&w->lock, NULL);
    day_load_init(y);
    day_load_listen(y, wake, &woken);
    store_release(&head->durable, 1000);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    day_load_fini(y);
    free(head);
    free(y->catalogue);
    free(y->d);
    free(w);
    free(y);
    return 0;
}

/* A rebuild that waits. */
static struct day_job *rebuild(void)
{
    struct day_job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->rebuild = true;
    j->slot = -1;
    return j;
}

static void held(void **state)
{
    (void)state;
    struct day_job *j = y->queue = rebuild();
    day_load_hold(y, true);
    day_give_work(y);
    assert_null(w->given);
    assert_ptr_equal(y->queue, j);
    /* nor when the batch's own request has to wait for the journal */
    struct err err;
    const struct day_load_request r = {.kind = DAY_LOAD_SYM, .position = 2000};
    assert_true(day_load_give(y, &r, &err));
    day_give_work(y);
    assert_null(w->given);
    assert_true(day_load_withdraw(y));
    day_load_hold(y, false);
    day_give_work(y);
    assert_ptr_equal(w->given, j);
    assert_null(y->queue);
    day_job_free(j);
}

static void not_for_ever(void **state)
{
    (void)state;
    struct day_job *j = y->queue = rebuild();
    day_load_hold(y, true);
    assert_true(day_load_held(y));
    assert_in_range(y->load.hold_until - clock_monotonic(), 1, DAY_LOAD_HOLD_NS);
    y->load.hold_until = clock_monotonic() - 1; /* the loader has not come back */
    assert_false(day_load_held(y));
    day_give_work(y);
    assert_ptr_equal(w->given, j);
    day_job_free(j);
}

/* One request at a time; control hurries while one waits, and only then. */
static void requests(void **state)
{
    (void)state;
    struct err err;
    struct day_load_answer a;
    struct load_move_table table = {.date = 8000};
    struct day_load_request r = {
        .kind = DAY_LOAD_MOVE, .position = 2000, .move = {.commit = 3, .table = &table, .n = 1}};
    strcpy(table.table, "trade");
    assert_false(day_hurry(y, clock_monotonic()));
    assert_true(day_load_give(y, &r, &err));
    strcpy(table.table, "gone"); /* it was copied */
    assert_string_equal(y->load.given->request.move.table[0].table, "trade");
    assert_true(day_hurry(y, clock_monotonic()));
    assert_false(day_hurry(y, clock_monotonic() + 10000000000ll));
    assert_false(day_load_give(y, &r, &err));
    assert_int_equal(err.code, -EBUSY);
    assert_false(day_load_take(y, &a));
    assert_null(day_load_job(y)); /* its position is not durable */
    assert_true(day_load_withdraw(y));
    assert_false(day_load_withdraw(y));
    /* what the writedown thread did */
    assert_true(day_load_give(y, &r, &err));
    struct day_job *j = calloc(1, sizeof *j);
    j->load = y->load.given;
    y->load.given = NULL;
    y->load.running = true;
    struct day_outcome o = {.job = j};
    err_set(&o.err, -ENOSPC, "full");
    day_load_done(y, &o);
    assert_int_equal(woken, 1);
    assert_false(day_load_withdraw(y)); /* it is done */
    assert_true(day_load_take(y, &a));
    assert_int_equal(a.kind, DAY_LOAD_MOVE);
    assert_int_equal(a.moved.verdict, LOAD_FAILED);
    assert_int_equal(a.moved.err.code, -ENOSPC);
    assert_false(day_hurry(y, clock_monotonic()));
    assert_false(day_load_take(y, &a));
    day_load_answer_free(&a);
    free(j);
    y->write = NULL;
    assert_false(day_load_give(y, &r, &err));
    assert_int_equal(err.code, -ENODEV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(held, make, forget),
        cmocka_unit_test_setup_teardown(not_for_ever, make, forget),
        cmocka_unit_test_setup_teardown(requests, make, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
