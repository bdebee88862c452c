/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - which queued tasks go to which free workers now: the loader's allocation as one pure
 * function. No memory, no clock, no state: who calls keeps the queues. Any thread.
 *
 * THE BUDGET, in bytes. F free memory, B buffer, L limit:
 *     F <= B       0.95 L        B < F <= 2B   1.00 L        F > 2B       1.05 L
 * rounded to the nearest integer; from it the estimates of all running tasks are taken away, floor
 * 0. L stays what is configured unless compounding is asked for:
 * load_plan_compound.
 *
 * GROUPS. Queued tasks come in groups, the most urgent first (the caller's order of priority,
 * deadline, age), each ascending by size. Groups are served in turn until workers or budget run
 * out.
 *
 * A GROUP. n = workers - pinned tasks - those given out in this round. Of all
 * windows of n tasks next to each other in ascending order, the last one whose sum is below the
 * budget (strictly); at the low end windows are shorter. Its tasks are given out largest first, so
 * that with fewer free workers than n the smallest wait. The largest goes to the free worker with
 * the most memory.
 *
 * THE LARGE WORKER: when it is idle, the largest read task of the first group that
 * has any is pinned to it; its size leaves the budget and it leaves the free list. It never takes
 * another read; index and merge tasks it takes like any worker. It too stays within the budget, or
 * runs alone.
 *
 * NO STARVATION. When nothing runs and nothing was given out, the largest task of the most
 * urgent group is given out alone even if it is not below the budget: `alone` (workers read in
 * blocks, so a file beyond the memory costs time and no memory; the caller records that). A group
 * whose largest task was passed over LOAD_PLAN_PATIENCE rounds drains: it and all less urgent
 * groups get nothing until that task fits or nothing runs. The caller counts (`skipped`): out.over
 * says for each group whether its largest stayed behind while something was given out.
 *
 * THROTTLE: nothing is given out while F < throttle.
 */
#pragma once

#include "core/base.h"

#define LOAD_PLAN_WORKERS  64u
#define LOAD_PLAN_GROUPS   64u
#define LOAD_PLAN_PATIENCE 16u

struct load_plan_worker {
    bool free;       /* live, without a task */
    bool large;      /* the large-file worker: at most one */
    bool reserved;   /* is given nothing in this round (it must be started anew first) */
    uint64_t memory; /* its limit; 0 = none */
};
struct load_plan_group {
    const uint64_t *size; /* ascending */
    unsigned n;
    bool read;        /* read-and-save tasks: the large worker's */
    unsigned skipped; /* rounds in which its largest was passed over */
};
struct load_plan_in {
    uint64_t limit, free, buffer, throttle;
    uint64_t in_flight; /* estimates of running tasks */
    unsigned running;   /* their number */
    unsigned nworkers;
    const struct load_plan_worker *worker;
    unsigned ngroups;
    const struct load_plan_group *group;
};
enum load_plan_why {
    LOAD_PLAN_GIVEN,     /* something was given out */
    LOAD_PLAN_NOTHING,   /* no task is queued */
    LOAD_PLAN_NO_WORKER, /* none is free */
    LOAD_PLAN_NO_ROOM,   /* no window fits the budget */
    LOAD_PLAN_DRAINING,  /* a task that waited too long gets the next room */
    LOAD_PLAN_THROTTLED
};
struct load_plan_given {
    unsigned group, task; /* task: index into the group's sizes */
    unsigned worker;
    bool alone, pinned;
};
struct load_plan_out {
    enum load_plan_why why;
    uint64_t budget; /* before anything was given out */
    unsigned n;      /* in order: as they should be sent */
    struct load_plan_given given[LOAD_PLAN_WORKERS];
    bool over[LOAD_PLAN_GROUPS];
};

/* The budget alone, without what is running. */
uint64_t load_plan_budget(uint64_t limit, uint64_t free, uint64_t buffer);
/* The next round's limit where limits compound: budget of this round, within [low, high]. */
uint64_t load_plan_compound(uint64_t limit, uint64_t free, uint64_t buffer, uint64_t low,
                            uint64_t high);
void load_plan(const struct load_plan_in *in, struct load_plan_out *out);

/* Static allocation: the worker of file k of n: neighbours go to the same one. */
unsigned load_plan_static(unsigned k, unsigned nfiles, unsigned nworkers);
/* taskSize as people see it: decimal megabytes, rounded. */
uint64_t load_plan_megabytes(uint64_t bytes);
