/* SPDX-License-Identifier: Apache-2.0 */
/* The journal ring: wrapping, laps, guard, checkpoints, and readers beside a writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
#include "core/ring.h"

static uint8_t frame_buf[FRAME_MAX + 64] pst_aligned(64);
static uint8_t copy_buf[FRAME_MAX + 64] pst_aligned(64);

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9E3779B97F4A7C15ull;
    return x ^ x >> 29;
}

/* A sealed frame whose payload is a function of its position. */
static uint32_t put(struct ring *r, uint32_t len)
{
    struct frame *f = (struct frame *)frame_buf;
    *f = (struct frame){.length = len, .position = r->w_tail, .kind = FRAME_DATA};
    uint64_t *p = (uint64_t *)(f + 1);
    for (uint32_t i = 0; i < (len - FRAME_HEADER) / 8; i++)
        p[i] = r->w_tail + i;
    frame_seal(f, r->head->seed);
    ring_write(r, f, len);
    ring_publish(r);
    return len;
}

static void test_wraps_at_every_place(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    assert_true(ring_create(&r, 1, 24, 5, false, &e));
    assert_int_equal(ring_size(&r), RING_MIN);
    uint64_t pos = 24, x = 1;
    while (pos < 3 * RING_MIN) {
        store_release(&r.head->guard, r.w_tail);
        x = mix(x + 1);
        uint32_t len = 32 + 8 * (uint32_t)(x % 30000);
        assert_true(ring_free(&r, len) >= len);
        put(&r, len);
        assert_int_equal(ring_read_frame(&r, pos, copy_buf), RING_READ_OK);
        assert_int_equal(frame_check(copy_buf, len, r.head->seed), FRAME_OK);
        assert_true(((struct frame *)copy_buf)->position == pos);
        pos += len;
        assert_true(ring_tail(&r) == pos);
    }
    ring_close(&r);
    assert_int_equal(r.fd, -1);
    ring_close(&r); /* twice is harmless */
}

static void test_room_follows_the_guard(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    assert_true(ring_create(&r, RING_MIN, 0, 5, false, &e));
    uint64_t frames = 0;
    while (ring_free(&r, 65536) >= 65536)
        put(&r, 65536), frames++;
    assert_int_equal(frames, RING_MIN / 65536);
    assert_int_equal(ring_free(&r, 8), 0);
    store_release(&r.head->guard, 64);
    assert_int_equal(ring_free(&r, 8), 64);
    store_release(&r.head->guard, 128);
    assert_int_equal(ring_free(&r, 8), 64);   /* the cached one is enough */
    assert_int_equal(ring_free(&r, 65), 128); /* now it is not */
    ring_close(&r);
}

/* A reader at any distance behind the tail: below overwrite_below it is told, above it reads. */
static void test_every_lapped_position_is_detected(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    assert_true(ring_create(&r, RING_MIN, 0, 5, false, &e));
    for (unsigned i = 0; i < 2 * RING_MIN / 4096 + 77; i++) {
        store_release(&r.head->guard, r.w_tail);
        assert_true(ring_free(&r, 4096) >= 4096);
        put(&r, 4096);
    }
    uint64_t tail = ring_tail(&r), below = load_relaxed(&r.head->overwrite_below), ok = 0;
    assert_true(tail - below <= ring_size(&r));
    assert_true(tail - below >= ring_size(&r) - RING_SLACK - 4096);
    for (uint64_t pos = 0; pos < tail; pos += 4096) {
        enum ring_read v = ring_read_frame(&r, pos, copy_buf);
        assert_int_equal(v, pos < below ? RING_READ_LAPPED : RING_READ_OK);
        if (v == RING_READ_OK) {
            ok++;
            assert_int_equal(frame_check(copy_buf, 4096, r.head->seed), FRAME_OK);
            assert_true(((struct frame *)copy_buf)->position == pos);
        }
        /* and a copy that starts inside a frame */
        assert_int_equal(ring_copy(&r, pos + 40, copy_buf, 8),
                         pos + 40 < below ? RING_READ_LAPPED : RING_READ_OK);
    }
    assert_true(ok > RING_MIN / 4096 - 20);
    ring_close(&r);
}

static void test_checkpoints_name_frame_starts(void **state)
{
    (void)state;
    struct ring r;
    struct err e;
    uint64_t start = (1ull << 40) + 8;
    assert_true(ring_create(&r, RING_MIN, start, 5, false, &e));
    static uint64_t at[200000];
    unsigned n = 0;
    uint64_t x = 3;
    while (r.w_tail < start + 3 * RING_MIN) {
        store_release(&r.head->guard, r.w_tail);
        x = mix(x);
        uint32_t len = 32 + 8 * (uint32_t)(x % 9000);
        ring_free(&r, len);
        at[n++] = r.w_tail;
        put(&r, len);
        if (n % 64 == 0) { /* somewhere in what is still there */
            uint64_t below = load_relaxed(&r.head->overwrite_below);
            uint64_t span = ring_tail(&r) - below;
            uint64_t pos = below + mix(x + 9) % span;
            uint64_t c = ring_checkpoint(&r, pos);
            if (!c)
                continue; /* nothing between below and pos is known */
            assert_true(c >= below && c <= pos);
            unsigned lo = 0, hi = n - 1;
            while (lo < hi) {
                unsigned mid = (lo + hi) / 2;
                if (at[mid] < c)
                    lo = mid + 1;
                else
                    hi = mid;
            }
            assert_true(at[lo] == c || c == r.w_tail);
            if (pos > below + (4u << 20))
                assert_true(pos - c <= 2 * r.head->checkpoint_step + FRAME_MAX);
        }
    }
    ring_close(&r);
}

static void test_attach_reads_and_refuses(void **state)
{
    (void)state;
    struct ring r, o;
    struct err e;
    assert_true(ring_create(&r, RING_MIN, 64, 5, false, &e));
    put(&r, 4096);
    assert_true(ring_seal(&r));
    assert_true(ring_attach(&o, dup(r.fd), &e));
    assert_true(ring_tail(&o) == 64 + 4096);
    assert_int_equal(ring_read_frame(&o, 64, copy_buf), RING_READ_OK);
    put(&r, 4096); /* the daemon writes on after sealing */
    assert_true(ring_tail(&o) == 64 + 8192);
    ring_close(&o);
    int fd = dup(0);
    assert_false(ring_attach(&o, fd, &e));
    assert_int_equal(o.fd, -1);
    close(fd);
    ring_close(&r);
}

/* ---- beside each other ---- */

#define STRESS_BYTES (24 * RING_MIN)

struct stress {
    struct ring ring;
    _Atomic bool done;
    uint64_t ok[2], lapped[2], bad;
    uint64_t log_frames;
};

/* No CRC from ring bytes in place: only copies are read, as every reader must. */
static void *stress_reader(void *arg)
{
    struct stress *s = ((void **)arg)[0];
    unsigned me = (unsigned)(uintptr_t)((void **)arg)[1];
    uint8_t *buf = aligned_alloc(64, FRAME_MAX + 64);
    uint64_t pos = s->ring.head->start;
    while (!load_acquire(&s->done) || pos < ring_tail(&s->ring)) {
        uint64_t tail = ring_tail(&s->ring);
        if (pos >= tail) {
            cpu_relax();
            continue;
        }
        if (ring_read_frame(&s->ring, pos, buf) != RING_READ_OK) {
            s->lapped[me]++;
            pos = ring_checkpoint(&s->ring, tail); /* go on near the end */
            if (!pos)
                pos = tail;
            continue;
        }
        struct frame *f = (struct frame *)buf;
        if (frame_check(f, f->length, s->ring.head->seed) != FRAME_OK || f->position != pos)
            s->bad++;
        s->ok[me]++;
        pos += f->length;
        if (me == 1 && s->ok[me] % 64 == 0)
            usleep(50); /* this one will be lapped */
    }
    free(buf);
    return NULL;
}

static void *stress_log(void *arg)
{
    struct stress *s = arg;
    uint64_t pos = s->ring.head->start;
    while (!load_acquire(&s->done) || pos < ring_tail(&s->ring)) {
        uint64_t tail = ring_tail(&s->ring);
        for (; pos < tail; s->log_frames++) { /* in place: guarded */
            const struct frame *f = (const struct frame *)(s->ring.data + (pos & s->ring.mask));
            if (frame_check(f, f->length, s->ring.head->seed) != FRAME_OK || f->position != pos) {
                s->bad++;
                return NULL;
            }
            pos += f->length;
            store_release(&s->ring.head->guard, pos);
        }
    }
    return NULL;
}

static void test_readers_beside_a_writer(void **state)
{
    (void)state;
    struct stress *s = calloc(1, sizeof *s);
    struct err e;
    assert_true(ring_create(&s->ring, RING_MIN, 64, 5, false, &e));
    pthread_t t[3];
    void *a0[2] = {s, (void *)0}, *a1[2] = {s, (void *)1};
    pthread_create(&t[0], NULL, stress_log, s);
    pthread_create(&t[1], NULL, stress_reader, a0);
    pthread_create(&t[2], NULL, stress_reader, a1);
    uint64_t x = 1, frames = 0;
    while (s->ring.w_tail < STRESS_BYTES) {
        x = mix(x + 1);
        uint32_t len = 32 + 8 * (uint32_t)(x % (x & 64 ? 100 : 8000));
        while (ring_free(&s->ring, len) < len)
            sched_yield();
        put(&s->ring, len);
        frames++;
    }
    store_release(&s->done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(s->bad, 0);
    assert_int_equal(s->log_frames, frames);
    assert_true(s->ok[0] > 0 && s->ok[1] > 0);
    ring_close(&s->ring);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wraps_at_every_place),
        cmocka_unit_test(test_room_follows_the_guard),
        cmocka_unit_test(test_every_lapped_position_is_detected),
        cmocka_unit_test(test_checkpoints_name_frame_starts),
        cmocka_unit_test(test_attach_reads_and_refuses),
        cmocka_unit_test(test_readers_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
