/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a thread: their order, their ends in either order, and who owns what (the sanitizer
 * builds see what is left over). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "control/questions.h"

static void test_life(void **state)
{
    (void)state;
    struct questions q;
    struct err err = {0};
    uint64_t id;
    json_t *ask, *answer;
    questions_init(&q);
    assert_false(questions_next(&q, &id, &ask));
    uint64_t a = questions_ask(&q, json_integer(1), &err),
             b = questions_ask(&q, json_integer(2), &err);
    assert_true(a && b && a != b);
    assert_true(questions_next(&q, &id, &ask));
    assert_int_equal(id, a);
    assert_int_equal(json_integer_value(ask), 1);
    assert_true(questions_next(&q, &id, &ask));
    assert_int_equal(id, b);
    assert_false(questions_next(&q, &id, &ask));
    assert_false(questions_answer(&q, a, &answer, &err));
    /* the second first */
    questions_done(&q, b, json_string("two"), &err);
    assert_false(questions_answer(&q, a, &answer, &err));
    assert_true(questions_answer(&q, b, &answer, &err));
    assert_string_equal(json_string_value(answer), "two");
    json_decref(answer);
    assert_false(questions_answer(&q, b, &answer, &err)); /* it is gone */
    struct err why = {0};
    err_set(&why, -EBUSY, "not now");
    questions_done(&q, a, NULL, &why);
    assert_true(questions_answer(&q, a, &answer, &err));
    assert_null(answer);
    assert_int_equal(err.code, -EBUSY);
    assert_string_equal(err.text, "not now");
    questions_free(&q);
}

static void test_forgotten(void **state)
{
    (void)state;
    struct questions q;
    struct err err = {0};
    uint64_t id;
    json_t *ask, *answer;
    questions_init(&q);
    uint64_t before = questions_ask(&q, json_integer(1), &err),
             during = questions_ask(&q, json_integer(2), &err),
             behind = questions_ask(&q, json_integer(3), &err);
    questions_forget(&q, before); /* the thread has not had it, and is to act on it */
    for (int i = 0; i < 3; i++)
        assert_true(questions_next(&q, &id, &ask));
    questions_forget(&q, during);
    assert_int_equal(json_integer_value(ask), 3); /* what the thread holds stays */
    for (id = before; id <= behind; id++)
        questions_done(&q, id, json_integer(0), &err);
    questions_forget(&q, behind);
    for (id = before; id <= behind; id++)
        assert_false(questions_answer(&q, id, &answer, &err));
    assert_null(q.first);
    questions_done(&q, 99, json_integer(0), &err); /* of none: given up */
    questions_forget(&q, 99);
    assert_true(questions_ask(&q, json_integer(4), &err)); /* never answered */
    questions_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life),
                                       cmocka_unit_test(test_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
