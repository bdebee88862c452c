/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's protocol, on the production header, in a memory that may show any stale value
 * (weak.h):
 *   copy     a reader that is not guarded: a copy that ring_copy calls OK holds what was written
 *   guard    the log, which reads in place: its bytes are never overwritten before it lets go
 * and the mistakes that must be found, each as a mutant of the same header.
 */
#define RING_SLACK 0u /* overwrite as soon as allowed: the tightest ring */
#include "weak.h"
#include "core/ring.h"

#define SIZE   32u /* two frames of two words */
#define FRAME  16u
#define START  8u
#define FRAMES 4u

static struct ring ring;
static struct ring_head head;
static uint64_t data[2 * SIZE / 8];
static bool publish_first, ignore_guard;

static uint64_t word_at(uint64_t pos)
{
    return 0x1000 + pos;
}

static void setup(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < PST_COUNT(data); i++)
        data[i] = 0xDEAD;
    memset(&head, 0, sizeof head);
    head.size = SIZE;
    head.checkpoint_step = 1u << 20;
    head.start = START;
    ring = (struct ring){.head = &head, .data = (uint8_t *)data, .mask = SIZE - 1};
    ring.w_tail = ring.w_below = ring.w_guard = START;
    store_relaxed(&head.tail, START);
    store_relaxed(&head.overwrite_below, START);
    store_relaxed(&head.guard, START);
    weak_region(data, SIZE, true, false);
}

static void write_one(void)
{
    uint64_t frame[2] = {word_at(ring.w_tail), word_at(ring.w_tail + 8)};
    if (publish_first) {
        ring.w_tail += FRAME;
        ring_publish(&ring);
        ring.w_tail -= FRAME;
    }
    ring_write(&ring, frame, FRAME);
    ring_publish(&ring);
}

/* ---- copy ---- */

static void writer_unguarded(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < FRAMES; i++) {
        ring.w_guard = ring.w_tail; /* the log has everything at once */
        write_one();
    }
}

static void reader(void *arg)
{
    (void)arg;
    uint64_t buf[2];
    uint64_t tail = ring_tail(&ring);
    /* every position below the tail, lapped or not: OK must mean right */
    for (uint64_t pos = START; pos < tail; pos += FRAME)
        if (ring_copy(&ring, pos, buf, FRAME) == RING_READ_OK)
            weak_check(buf[0] == word_at(pos) && buf[1] == word_at(pos + 8),
                       "a copy that passed holds other bytes");
}

/* ---- guard ---- */

static void writer_guarded(void *arg)
{
    (void)arg;
    for (unsigned i = 0, tries = 0; i < FRAMES && tries < 6; tries++) {
        if (ring_free(&ring, FRAME) < FRAME && !ignore_guard)
            continue;
        if (ignore_guard)
            ring.w_guard = ring.w_tail;
        write_one();
        i++;
    }
}

static void log_in_place(void *arg)
{
    (void)arg;
    uint64_t pos = START;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t tail = ring_tail(&ring);
        for (; pos < tail; pos += 8)
            weak_check(weak_read(ring.data + (pos & ring.mask)) == word_at(pos),
                       "the log read other bytes in place");
        store_release(&head.guard, pos); /* G1 */
    }
}

/* ---- */

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
    publish_first = ignore_guard = false;
}

int main(void)
{
    const struct weak_test copy = {setup, {writer_unguarded, reader}, NULL, 4, 20000000};
    const struct weak_test guard = {setup, {writer_guarded, log_in_place}, NULL, 4, 20000000};
    const struct weak_test all = {setup, {writer_guarded, log_in_place, reader}, NULL, 2, 20000000};

    expect("copy", &copy, true);
    expect("guard", &guard, true);
    expect("writer, log and reader", &all, true);

    weak_mutant = MUTANT_NO_RELEASE_FENCE;
    expect("without the writer's release fence (W2)", &copy, false);
    weak_mutant = MUTANT_NO_ACQUIRE_FENCE;
    expect("without the reader's acquire fence (R2)", &copy, false);
    weak_mutant = MUTANT_RELAXED_STORE, weak_mutant_at = &head.tail;
    expect("tail published relaxed (W3)", &copy, false);
    weak_mutant = MUTANT_RELAXED_LOAD, weak_mutant_at = &head.tail;
    expect("tail loaded relaxed (R1)", &copy, false);
    weak_mutant = MUTANT_LATE_STORE, weak_mutant_at = &head.overwrite_below;
    expect("overwrite_below raised after the bytes (W1)", &copy, false);
    publish_first = true;
    expect("published before written", &copy, false);
    ignore_guard = true;
    expect("guard not checked", &guard, false);
    weak_mutant = MUTANT_RELAXED_STORE, weak_mutant_at = &head.guard;
    expect("guard released relaxed (G1)", &guard, false);
    weak_mutant = MUTANT_RELAXED_LOAD, weak_mutant_at = &head.guard;
    expect("guard loaded relaxed (G2)", &guard, false);
    return failures != 0;
}
