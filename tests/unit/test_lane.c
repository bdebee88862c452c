/* SPDX-License-Identifier: Apache-2.0 */
/* A publish thread's reader of the ring: where it begins, what it reads up to each level, what it
 * notices when the ring has passed it or the log has given frames up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include "publish/lane.h"

#define START    4096u
#define INSTANCE 7u

struct kit {
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct dictionary dict;
    struct lane lane;
    uint64_t at;
};

static void sink(void *arg, void *consumer, struct message *m)
{
    (void)arg;
    (void)consumer;
    (void)m;
}

static void open_kit(struct kit *k, enum cursor_limit limit)
{
    struct err e;
    *k = (struct kit){.at = START, .schemas = schema_set_new()};
    assert_true(ring_create(&k->ring, RING_MIN, START, INSTANCE, false, &e));
    assert_true(symbols_create(&k->symbols, 1024, &e));
    assert_true(dictionary_init(&k->dict, &e));
    struct fanout_config fc = {.dict = &k->dict, .sink = sink};
    assert_true(lane_init(&k->lane, &fc, &k->ring, &k->symbols, k->schemas, limit, &e));
}

static void close_kit(struct kit *k)
{
    lane_fini(&k->lane);
    dictionary_free(&k->dict);
    symbols_close(&k->symbols);
    schema_set_free(k->schemas);
    ring_close(&k->ring);
}

/* One frame of `len` bytes; everything before it is the log's affair no more. */
static void append(struct kit *k, uint32_t len)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    struct frame *f = (struct frame *)buf;
    memset(buf, 0, len);
    *f = (struct frame){
        .length = len, .position = k->at, .time = (int64_t)k->at, .kind = FRAME_DATA};
    frame_seal(f, frame_seed(INSTANCE));
    store_release(&k->ring.head->guard, k->at);
    ring_free(&k->ring, ring_size(&k->ring));
    ring_write(&k->ring, buf, len);
    ring_publish(&k->ring);
    k->at += len;
}

static void levels(struct kit *k, uint64_t submitted, uint64_t durable)
{
    store_release(&k->ring.head->submitted, submitted);
    store_release(&k->ring.head->durable, durable);
}

/* Levels may stand inside a frame: a lane begins and ends where frames do. */
static void test_levels(void **state)
{
    (void)state;
    struct kit k;
    uint32_t frames;
    open_kit(&k, CURSOR_SUBMITTED);
    for (int i = 0; i < 2000; i++)
        append(&k, 32 + 8 * (uint32_t)(i % 50));
    uint64_t whole = k.at;
    append(&k, 1000);
    levels(&k, whole + 500, START);
    assert_false(k.lane.awake);
    lane_wake(&k.lane);
    assert_int_equal(k.lane.position, whole);
    assert_int_equal(k.lane.before, whole);
    assert_int_equal(fanout_position(k.lane.fanout), whole);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_int_equal(frames, 0); /* its end is above the level */
    levels(&k, k.at, START);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_int_equal(frames, 1);
    assert_int_equal(k.lane.position, k.at);
    assert_int_equal(k.lane.before, whole); /* until a flush */
    lane_flush(&k.lane, 1);
    assert_int_equal(k.lane.before, k.at);
    /* As much as was asked for, and no less than a frame. */
    for (int i = 0; i < 10; i++)
        append(&k, 1000);
    levels(&k, k.at, START);
    assert_int_equal(lane_read(&k.lane, 2500, &frames), LANE_OK);
    assert_int_equal(frames, 3);
    close_kit(&k);
    /* Nothing is durable yet: it begins at the start, and waits. */
    open_kit(&k, CURSOR_DURABLE);
    append(&k, 64);
    levels(&k, k.at, START);
    lane_wake(&k.lane);
    assert_int_equal(k.lane.position, START);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_int_equal(frames, 0);
    close_kit(&k);
}

static void test_lapped(void **state)
{
    (void)state;
    struct kit k;
    uint32_t frames;
    open_kit(&k, CURSOR_COMMITTED);
    lane_wake(&k.lane);
    append(&k, 64);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_int_equal(frames, 1);
    while (k.at < START + RING_MIN + (1 << 20))
        append(&k, 65536);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_LAPPED);
    /* It goes on at the present. */
    lane_sleep(&k.lane);
    lane_wake(&k.lane);
    assert_int_equal(k.lane.position, k.at);
    append(&k, 64);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_int_equal(frames, 1);
    close_kit(&k);
}

/* What the log gave up is no part of the journal above `committed`. */
static void test_given_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct kit k;
        uint32_t frames;
        open_kit(&k, i ? CURSOR_SUBMITTED : CURSOR_COMMITTED);
        append(&k, 64);
        levels(&k, k.at, k.at);
        lane_wake(&k.lane);
        append(&k, 64);
        uint64_t from = k.at;
        append(&k, 64);
        append(&k, 64);
        assert_true(ring_lost_add(&k.ring, from, k.at));
        levels(&k, k.at, k.at);
        assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), i ? LANE_LAPPED : LANE_OK);
        assert_int_equal(frames, i ? 1 : 3);
        assert_int_equal(k.lane.position, i ? from : k.at);
        close_kit(&k);
    }
}

/* Texts and ids that were interned meanwhile are known before the frame that uses them. */
static void test_symbols(void **state)
{
    (void)state;
    struct kit k;
    uint32_t frames, id, len;
    open_kit(&k, CURSOR_COMMITTED);
    assert_int_equal(symbols_intern(&k.symbols, "AAPL", 4, &id), SYMBOLS_NEW);
    assert_true(symbols_skip(&k.symbols, 1)); /* an id whose text was lost */
    lane_wake(&k.lane);
    assert_int_equal(k.dict.next, 2);
    assert_memory_equal(dictionary_peek(&k.dict, 0, &len), "AAPL", 4);
    assert_int_equal(symbols_intern(&k.symbols, "MSFT", 4, &id), SYMBOLS_NEW);
    append(&k, 64);
    assert_int_equal(lane_read(&k.lane, 1 << 20, &frames), LANE_OK);
    assert_memory_equal(dictionary_peek(&k.dict, 2, &len), "MSFT", 4);
    close_kit(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_lapped),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_symbols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
