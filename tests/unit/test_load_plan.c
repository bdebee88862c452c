/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's allocation: the white paper's figures, each gap that was closed, and properties. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "load/plan.h"

#define MB 1000000ull

static struct load_plan_worker workers[LOAD_PLAN_WORKERS];
static struct load_plan_group groups[8];
static struct load_plan_in in;
static struct load_plan_out out;

/* n workers, all free; the limit is what fits in one round. */
static void world(unsigned n, uint64_t limit)
{
    memset(workers, 0, sizeof workers);
    memset(groups, 0, sizeof groups);
    for (unsigned i = 0; i < n; i++)
        workers[i].free = true;
    in = (struct load_plan_in){.limit = limit,
                               .free = 15 * limit / 10,
                               .buffer = limit, /* factor 1.00 */
                               .nworkers = n,
                               .worker = workers,
                               .group = groups};
}
static void group(const uint64_t *size, unsigned n)
{
    groups[in.ngroups++] = (struct load_plan_group){.size = size, .n = n, .read = true};
}

/* ING-31: both tests, strict, in that order; rounded to the nearest. */
static void budget(void **state)
{
    (void)state;
    assert_int_equal(load_plan_budget(4000 * MB, 999, 1000), 3800 * MB);
    assert_int_equal(load_plan_budget(4000 * MB, 1000, 1000), 3800 * MB); /* F = B */
    assert_int_equal(load_plan_budget(4000 * MB, 1001, 1000), 4000 * MB);
    assert_int_equal(load_plan_budget(4000 * MB, 2000, 1000), 4000 * MB); /* F = 2B */
    assert_int_equal(load_plan_budget(4000 * MB, 2001, 1000), 4200 * MB);
    assert_int_equal(load_plan_budget(10, 0, 0), 10);                           /* 9.5 */
    assert_int_equal(load_plan_budget(9, 0, 0), 9);                             /* 8.55 */
    assert_int_equal(load_plan_budget(11, 0, 0), 10);                           /* 10.45 */
    assert_int_equal(load_plan_budget(30, 5, 2), 32);                           /* 31.5 */
    assert_int_equal(load_plan_budget(1000, UINT64_MAX, UINT64_MAX / 2), 1050); /* no overflow */
    assert_int_equal(load_plan_budget(1000, UINT64_MAX - 1, UINT64_MAX / 2), 1000);
    assert_int_equal(load_plan_budget(UINT64_MAX, 3, 1), INT64_MAX);
    /* GAP-10: compounding is for those who ask, and clamped */
    assert_int_equal(load_plan_compound(1000, 9, 1, 500, 1040), 1040);
    assert_int_equal(load_plan_compound(1000, 1, 9, 980, 1040), 980);
}

static void megabytes(void **state)
{
    (void)state;
    assert_int_equal(load_plan_megabytes(1800 * MB), 1800);
    assert_int_equal(load_plan_megabytes(899500000), 900);
    assert_int_equal(load_plan_megabytes(899499999), 899);
}

/* The sample: 1800, 900, 900 and three workers. */
static void paper(void **state)
{
    (void)state;
    static const uint64_t size[] = {900 * MB, 900 * MB, 1800 * MB};
    world(3, 4000 * MB);
    group(size, 3);
    load_plan(&in, &out);
    assert_int_equal(out.n, 3);
    assert_int_equal(out.given[0].task, 2); /* largest first */
    assert_int_equal(out.budget, 4000 * MB);
    /* exactly the sum is not below the budget: the two small ones go, the large one waits */
    world(3, 3600 * MB);
    group(size, 3);
    load_plan(&in, &out);
    assert_int_equal(out.n, 2);
    assert_int_equal(out.given[0].task, 1);
    assert_int_equal(out.given[1].task, 0);
    assert_true(out.over[0]);
    /* one byte more */
    world(3, 3600 * MB + 1);
    group(size, 3);
    load_plan(&in, &out);
    assert_int_equal(out.n, 3);
}

/* GAP-08: fewer free workers than the window is wide: the largest of it go. */
static void largest_first(void **state)
{
    (void)state;
    static const uint64_t size[] = {1, 2, 3, 4, 5, 6};
    world(4, 1000);
    workers[0].free = workers[1].free = false;
    in.running = 2;
    group(size, 6);
    load_plan(&in, &out);
    assert_int_equal(out.n, 2);
    assert_int_equal(out.given[0].task, 5);
    assert_int_equal(out.given[1].task, 4);
    /* the window: 4 wide, below 15 */
    world(4, 15);
    in.buffer = 10, in.free = 15;
    group(size, 6);
    load_plan(&in, &out);
    assert_int_equal(out.n, 4);
    assert_int_equal(out.given[0].task, 4); /* 2 + 3 + 4 + 5 */
    assert_int_equal(out.given[3].task, 1);
}

/* GAP-12, LDR-04: what runs is taken away, down to 0. */
static void in_flight(void **state)
{
    (void)state;
    static const uint64_t size[] = {100, 900};
    world(3, 1000);
    group(size, 2);
    in.in_flight = 850;
    in.running = 1;
    load_plan(&in, &out);
    assert_int_equal(out.budget, 150);
    assert_int_equal(out.n, 1);
    assert_int_equal(out.given[0].task, 0);
    in.in_flight = 5000;
    load_plan(&in, &out);
    assert_int_equal(out.budget, 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(out.why, LOAD_PLAN_NO_ROOM);
}

/* LDR-03, ING-34: the large worker. */
static void large_worker(void **state)
{
    (void)state;
    static const uint64_t size[] = {10, 20, 30, 600};
    world(3, 1000);
    workers[1].large = true;
    group(size, 4);
    load_plan(&in, &out);
    assert_int_equal(out.n, 3);
    assert_true(out.given[0].pinned);
    assert_int_equal(out.given[0].worker, 1);
    assert_int_equal(out.given[0].task, 3);
    assert_int_equal(out.given[1].task, 2); /* n = 3 - 1 */
    assert_int_equal(out.given[2].task, 1);
    assert_int_not_equal(out.given[1].worker, 1);
    /* busy: the rest goes on without it, and it counts as pinned */
    workers[1].free = false;
    in.running = 1;
    in.in_flight = 500;
    load_plan(&in, &out);
    assert_int_equal(out.n, 2);
    assert_int_equal(out.given[0].task, 2);
    /* index and merge tasks: it is a worker like the others */
    world(1, 1000);
    workers[0].large = true;
    group(size, 3);
    groups[0].read = false;
    load_plan(&in, &out);
    assert_int_equal(out.n, 1);
    assert_false(out.given[0].pinned);
}

/* ING-27: the largest to the worker with the most memory; 0 is without limit. */
static void memory(void **state)
{
    (void)state;
    static const uint64_t size[] = {10, 20, 30};
    world(3, 1000);
    workers[0].memory = 100;
    workers[1].memory = 300;
    workers[2].memory = 0;
    group(size, 3);
    load_plan(&in, &out);
    assert_int_equal(out.given[0].worker, 2);
    assert_int_equal(out.given[1].worker, 1);
    assert_int_equal(out.given[2].worker, 0);
    workers[2].reserved = true;
    load_plan(&in, &out);
    assert_int_equal(out.n, 2);
    assert_int_equal(out.given[0].worker, 1);
}

/* GAP-22 */
static void no_starvation(void **state)
{
    (void)state;
    static const uint64_t size[] = {5000};
    static const uint64_t mixed[] = {10, 10, 10, 995};
    world(2, 1000);
    group(size, 1);
    load_plan(&in, &out); /* beyond the budget: alone, as nothing runs */
    assert_int_equal(out.n, 1);
    assert_true(out.given[0].alone);
    in.running = 1;
    in.in_flight = 1;
    workers[0].free = false;
    load_plan(&in, &out);
    assert_int_equal(out.n, 0);
    /* passed over as long as small ones go with it … */
    world(2, 1000);
    group(mixed, 4);
    load_plan(&in, &out);
    assert_int_equal(out.n, 2);
    assert_int_equal(out.given[0].task, 2);
    assert_true(out.over[0]);
    /* … until it has waited enough */
    groups[0].skipped = LOAD_PLAN_PATIENCE;
    load_plan(&in, &out);
    assert_int_equal(out.n, 1);
    assert_int_equal(out.given[0].task, 3);
    in.running = 1;
    in.in_flight = 10;
    workers[0].free = false;
    load_plan(&in, &out);
    assert_int_equal(out.n, 0);
    assert_int_equal(out.why, LOAD_PLAN_DRAINING);
}

static void throttle(void **state)
{
    (void)state;
    static const uint64_t size[] = {5};
    world(2, 1000);
    group(size, 1);
    in.throttle = in.free + 1;
    load_plan(&in, &out);
    assert_int_equal(out.n, 0);
    assert_int_equal(out.why, LOAD_PLAN_THROTTLED);
    in.throttle = in.free;
    load_plan(&in, &out);
    assert_int_equal(out.n, 1);
}

static void fixed(void **state)
{
    (void)state;
    /* worker 1: files 1-3, worker 2: files 4-6 (ING-23) */
    for (unsigned k = 0; k < 6; k++)
        assert_int_equal(load_plan_static(k, 6, 2), k / 3);
    assert_int_equal(load_plan_static(0, 1, 4), 0);
    assert_int_equal(load_plan_static(9999, 10000, 64), 63);
}

static uint64_t rng = 1;
static uint64_t rnd(uint64_t n)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (rng >> 33) % n;
}

/* The window by definition: every position, no bisection. */
static int by_definition(const uint64_t *size, unsigned n, unsigned width, uint64_t left)
{
    int last = -1;
    for (unsigned i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < width && k <= i; k++)
            sum += size[i - k];
        if (sum < left)
            last = (int)i;
    }
    return last;
}

/* Random worlds: within the budget, no worker or task twice, largest first, the window of the
 * definition, and something always goes on. */
static void properties(void **state)
{
    (void)state;
    static uint64_t size[4][50];
    for (unsigned turn = 0; turn < 20000; turn++) {
        unsigned n = 1 + (unsigned)rnd(8);
        world(n, 1 + rnd(2000));
        for (unsigned i = 0; i < n; i++) {
            workers[i].free = rnd(3) != 0;
            workers[i].memory = rnd(5);
            in.running += !workers[i].free;
        }
        if (!rnd(3))
            workers[rnd(n)].large = true;
        in.in_flight = in.running ? rnd(1000) : 0;
        in.free = rnd(3 * in.limit);
        unsigned ng = (unsigned)rnd(4), queued = 0;
        for (unsigned g = 0; g < ng; g++) {
            unsigned m = (unsigned)rnd(50);
            uint64_t at = 0;
            for (unsigned i = 0; i < m; i++)
                size[g][i] = at += rnd(60);
            group(size[g], m);
            groups[g].read = rnd(4) != 0;
            groups[g].skipped = !rnd(8) ? LOAD_PLAN_PATIENCE : 0;
            queued += m;
        }
        load_plan(&in, &out);
        uint64_t sum = 0;
        bool used[LOAD_PLAN_WORKERS] = {0}, gone[4][50] = {{0}};
        for (unsigned i = 0; i < out.n; i++) {
            const struct load_plan_given *x = &out.given[i];
            assert_true(workers[x->worker].free && !used[x->worker]);
            assert_false(gone[x->group][x->task]);
            assert_false(workers[x->worker].large && groups[x->group].read && !x->pinned);
            used[x->worker] = gone[x->group][x->task] = true;
            sum += size[x->group][x->task];
            if (i && out.given[i - 1].group == x->group && !out.given[i - 1].pinned)
                assert_true(size[x->group][x->task] <= size[x->group][out.given[i - 1].task]);
            if (x->alone)
                assert_true(!in.running && out.n == 1);
        }
        if (out.n && !out.given[0].alone)
            assert_true(sum < out.budget);
        unsigned able = 0;
        for (unsigned i = 0; i < n; i++)
            able += workers[i].free;
        bool reads_only_for_large = false; /* the one free worker takes no such task */
        for (unsigned i = 0; i < n; i++)
            reads_only_for_large |= workers[i].large;
        if (queued && able && !in.running && !reads_only_for_large)
            assert_true(out.n > 0);
        if (queued && able && !in.running)
            assert_true(out.n > 0 || able == 1);
        /* one plain group: exactly the window */
        if (ng == 1 && groups[0].n && !groups[0].skipped && !reads_only_for_large && able) {
            int last = by_definition(size[0], groups[0].n, n, out.budget);
            if (last >= 0) {
                unsigned want = (unsigned)last + 1 < n ? (unsigned)last + 1 : n;
                want = want < able ? want : able;
                assert_int_equal(out.n, want);
                assert_int_equal(out.given[0].task, last);
            }
        }
    }
}

/* Rounds until all is done: everything gets its turn, however large, whatever else keeps coming. */
static void all_get_their_turn(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 200; turn++) {
        static uint64_t size[400];
        uint64_t left[LOAD_PLAN_WORKERS] = {0}, mine[LOAD_PLAN_WORKERS] = {0};
        unsigned n = 1 + (unsigned)rnd(4), have = 1, skipped = 0, rounds = 0;
        world(n, 1000);
        if (n > 1 && rnd(2))
            workers[0].large = true;
        uint64_t big = 500 + rnd(2000);
        size[0] = big; /* and small ones come for ever */
        bool done = false;
        while (!done && rounds++ < 2000) {
            while (have < 20) { /* in ascending order */
                uint64_t s = 1 + rnd(400);
                unsigned at = have++;
                for (; at && size[at - 1] > s; at--)
                    size[at] = size[at - 1];
                size[at] = s;
            }
            groups[0] =
                (struct load_plan_group){.size = size, .n = have, .read = true, .skipped = skipped};
            in.ngroups = 1;
            in.in_flight = in.running = 0;
            for (unsigned w = 0; w < n; w++) {
                if (left[w] && --left[w] == 0)
                    mine[w] = 0;
                workers[w].free = !left[w];
                in.running += !workers[w].free;
                in.in_flight += mine[w];
            }
            load_plan(&in, &out);
            if (out.n)
                skipped = out.over[0] ? skipped + 1 : 0;
            for (unsigned i = 0; i < out.n; i++) {
                mine[out.given[i].worker] = size[out.given[i].task];
                left[out.given[i].worker] = 1 + rnd(5);
                done |= size[out.given[i].task] == big;
                size[out.given[i].task] = UINT64_MAX;
            }
            unsigned k = 0;
            for (unsigned i = 0; i < have; i++)
                if (size[i] != UINT64_MAX)
                    size[k++] = size[i];
            have = k;
        }
        if (!done)
            fail_msg("a task of %llu starves with %u workers", (unsigned long long)big, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget),     cmocka_unit_test(megabytes),
        cmocka_unit_test(paper),      cmocka_unit_test(largest_first),
        cmocka_unit_test(in_flight),  cmocka_unit_test(large_worker),
        cmocka_unit_test(memory),     cmocka_unit_test(no_starvation),
        cmocka_unit_test(throttle),   cmocka_unit_test(fixed),
        cmocka_unit_test(properties), cmocka_unit_test(all_get_their_turn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
