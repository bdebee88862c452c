/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inject ring's protocol, on the production header (weak.h): what the appender takes is what
 * the producer put there, in order; no byte is written while the other side may read it; a ticket
 * that was taken has its position. And the mistakes that must be found.
 */
#include "weak.h"
#include "core/inject.h"

#define SIZE    32u /* two batches of two words */
#define BATCH   16u
#define BATCHES 4u

static struct inject q;
static uint64_t data[2 * SIZE / 8];
static bool ignore_full, commit_first;

static void setup(void *arg)
{
    (void)arg;
    memset(&q, 0, sizeof q);
    for (unsigned i = 0; i < PST_COUNT(data); i++)
        data[i] = 0xDEAD;
    q.data = (uint8_t *)data;
    q.size = SIZE;
    q.mask = SIZE - 1;
    weak_region(data, SIZE, true, true);
}

static void producer(void *arg)
{
    (void)arg;
    uint64_t ticket = 0, position;
    for (unsigned i = 0, tries = 0; i < BATCHES && tries < 6; tries++) {
        if (ignore_full)
            q.p_head = load_relaxed(&q.tail);
        uint8_t *p = inject_reserve(&q, BATCH);
        if (!p)
            continue;
        uint64_t words[2] = {2 * i, 2 * i + 1};
        if (commit_first)
            ticket = inject_commit(&q, BATCH);
        memcpy(p, words, BATCH);
        if (!commit_first)
            ticket = inject_commit(&q, BATCH);
        i++;
    }
    if (ticket && inject_taken(&q, ticket, &position))
        weak_check(position >= 1000 + ticket, "a ticket was taken without its position");
}

static void consumer(void *arg)
{
    (void)arg;
    uint64_t want = 0, taken = 0;
    for (unsigned tries = 0; tries < 5; tries++) {
        const uint64_t *b = (const uint64_t *)inject_peek(&q);
        if (!b)
            continue;
        weak_check(inject_ready(&q) >= BATCH, "a batch is offered in part");
        weak_check(weak_read(b) == want && weak_read(b + 1) == want + 1, "another batch's bytes");
        want += 2;
        taken += BATCH;
        inject_release(&q, BATCH, 1000 + taken);
    }
}

static int failures;

static void expect(const char *what, const struct weak_test *t, bool right)
{
    struct weak_result r = weak_explore(t);
    bool ok = right ? !r.failure && r.complete : r.failure != NULL;
    printf("%-4s %-44s %9llu executions%s  %s\n", ok ? "ok" : "FAIL", what,
           (unsigned long long)r.executions, r.complete || r.failure ? "" : " (limit)",
           r.failure ? r.failure : "all right");
    failures += !ok;
    weak_mutant = MUTANT_NONE;
    weak_mutant_at = NULL;
    ignore_full = commit_first = false;
}

int main(void)
{
    const struct weak_test t = {setup, {producer, consumer}, NULL, 3, 20000000};
    expect("producer and appender", &t, true);
    weak_mutant = MUTANT_RELAXED_STORE, weak_mutant_at = &q.tail;
    expect("tail released relaxed (I1)", &t, false);
    weak_mutant = MUTANT_RELAXED_LOAD, weak_mutant_at = &q.tail;
    expect("tail loaded relaxed (I2)", &t, false);
    weak_mutant = MUTANT_RELAXED_STORE, weak_mutant_at = &q.head;
    expect("head released relaxed (I3)", &t, false);
    weak_mutant = MUTANT_RELAXED_LOAD, weak_mutant_at = &q.head;
    expect("head loaded relaxed (I4)", &t, false);
    commit_first = true;
    expect("offered before written", &t, false);
    ignore_full = true;
    expect("a full ring not noticed", &t, false);
    return failures != 0;
}
