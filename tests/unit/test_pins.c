/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pins.c - cuts and what they hold (control/pins.h) over a real RDB: two ends of day while a
 * reader keeps the first day, slots that change hands, limits, overdue processes.
 */
#include "rdb_kit.h"
#include "day_parts.h"

static struct rk k;
static struct daemon d;
static struct day y;
static const struct schema *trade, *quote;

int64_t day_lag(const struct day *x) /* control's, elsewhere */
{
    (void)x;
    return 0;
}

static void rows(const struct schema *s, uint16_t day, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        pk_clear(&k.pk);
        rk_row(&k, s, i % 50, (int64_t)i);
        rk_append(&k, FRAME_DATA, day);
    }
    rdb_publish(k.r);
}

static int setup(void **state)
{
    (void)state;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}};
    struct err err = {0};
    memset(&d, 0, sizeof d);
    memset(&y, 0, sizeof y);
    rk_open(&k, 64, NULL);
    trade = rk_schema(&k, 5, "trade", false, cols, 3);
    quote = rk_schema(&k, 6, "quote", false, cols, 3);
    clock_init_real(&d.clock);
    assert_true(config_default(&d.config, &err));
    assert_true(ring_create(&d.ring, 1 << 20, 4096, 1, false, &err));
    y.d = &d;
    y.rdb.rdb = k.r;
    y.epoch = 7;
    store_relaxed(&y.rdb.caught_up, true);
    y.pins = pins_new(&y);
    assert_non_null(y.pins);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pins_free(y.pins);
    ring_close(&d.ring);
    config_free(d.config);
    rk_close(&k);
    return 0;
}

static struct cut *take(uint32_t process)
{
    struct err err = {0};
    struct cut *c = pins_take(y.pins, process, &err);
    if (!c)
        fail_msg("%s", err.text);
    assert_true(cut_ok(c, c->bytes));
    assert_false(cut_ok(c, c->bytes - 1));
    return c;
}

static uint32_t rows_of(const struct cut *c, const struct schema *s, int32_t day)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nparts; i++)
        n += c->part[i].table == s->id && c->part[i].day == day ? c->part[i].rows : 0;
    return n;
}

static const struct cut_day *day_of(const struct cut *c, int32_t day)
{
    for (uint32_t i = 0; i < c->ndays; i++)
        if (cut_days(c)[i].day == day)
            return &cut_days(c)[i];
    return NULL;
}

static struct rdb_day_info info(uint16_t day)
{
    static struct rdb_day_info all[RDB_DAYS];
    unsigned n = rdb_days(k.r, all);
    for (unsigned i = 0; i < n; i++)
        if (all[i].day == day)
            return all[i];
    fail_msg("day %u is not in memory", day);
    return all[0];
}

static void publish_day(uint16_t day) /* as day.c does when a partition is in the database */
{
    struct rdb_day_info i = info(day);
    y.leaving[i.slot].generation = i.generation;
    y.epoch++;
}

static void a_cut_is_what_was_there(void **state)
{
    (void)state;
    struct cut *c = take(1);
    assert_int_equal(c->nparts, 0);
    assert_int_equal(c->epoch, 7);
    assert_true(c->flags & CUT_NO_HDB);
    assert_false(c->flags & (CUT_HDB_LOADING | CUT_HDB_AWAY)); /* none is configured */
    assert_false(c->flags & (CUT_REBUILDING | CUT_INCOMPLETE | CUT_BEHIND));
    assert_int_equal(*c->root, 0);
    free(c);
    rows(trade, LK_DAY, 100);
    rows(quote, LK_DAY + 1, 10);
    y.loaded = true;
    strcpy(y.root, "/hdb");
    store_relaxed(&y.rdb.caught_up, false);
    y.rdb.start = 99;
    c = take(1);
    assert_int_equal(rows_of(c, trade, LK_DAY), 100);
    assert_int_equal(rows_of(c, quote, LK_DAY + 1), 10);
    assert_int_equal(c->ndays, 2);
    assert_int_equal(day_of(c, LK_DAY)->flags, 0);
    assert_true(c->flags & CUT_REBUILDING);
    assert_int_equal(c->rebuild_to, 99);
    assert_string_equal(c->root, "/hdb");
    rows(trade, LK_DAY, 5); /* later rows are not in it */
    assert_int_equal(rows_of(c, trade, LK_DAY), 100);
    struct cut *later = take(1);
    assert_int_equal(rows_of(later, trade, LK_DAY), 105);
    assert_true(later->serial > c->serial && later->position > c->position);
    rk_eod(&k, "{\"calendar\":\"default\"}", LK_DAY);
    rdb_publish(k.r);
    free(later);
    later = take(2);
    assert_int_equal(day_of(later, LK_DAY)->flags, CUT_DAY_CLOSED);
    free(later);
    free(c);
    assert_int_equal(pins_count(y.pins), 4);
    pins_release_all(y.pins, 1);
    assert_int_equal(pins_count(y.pins), 1);
    pins_release_all(y.pins, 2);
    assert_int_equal(pins_slots(y.pins), 0);
}

/* A reader keeps the first day over two ends of day; memory of the second goes back before it. */
static void two_ends_of_day_under_a_reader(void **state)
{
    (void)state;
    rows(trade, LK_DAY, 1000);
    struct rdb_day_info first = info(LK_DAY);
    struct cut *old = take(1);
    rk_eod(&k, "{\"calendar\":\"default\"}", LK_DAY);
    rows(trade, LK_DAY + 1, 2000);
    struct cut *before = take(2); /* closed, not yet published: still read from memory */
    assert_int_equal(rows_of(before, trade, LK_DAY), 1000);
    publish_day(LK_DAY);
    struct cut *after = take(3);
    assert_int_equal(after->epoch, 8);
    assert_int_equal(before->epoch, 7);
    assert_int_equal(rows_of(after, trade, LK_DAY), 0); /* the database has it */
    assert_null(day_of(after, LK_DAY));
    assert_int_equal(rows_of(after, trade, LK_DAY + 1), 2000);
    pins_release(y.pins, before->pin);
    assert_true(pins_slots(y.pins) >> first.slot & 1);
    rk_eod(&k, "{\"calendar\":\"default\"}", LK_DAY + 1);
    rdb_publish(k.r);
    struct rdb_day_info second = info(LK_DAY + 1);
    publish_day(LK_DAY + 1);
    pins_release(y.pins, after->pin);
    assert_false(pins_slots(y.pins) >> second.slot & 1);
    assert_true(rdb_release_day(k.r, second.slot, second.generation));
    /* the reader's rows are all there */
    struct rdb_part_view v;
    struct err err;
    assert_int_equal(old->nparts, 1);
    assert_true(rdb_part_open(rdb_map_of(k.r), old->part[0].slot, old->part[0].table,
                              (uint32_t)old->part[0].day, old->part[0].rows, &v, &err));
    assert_int_equal(v.rows, 1000);
    assert_int_equal(*(const int64_t *)rdb_value(&v, 999, 0), 999);
    pins_release(y.pins, old->pin);
    assert_int_equal(pins_slots(y.pins), 0);
    assert_true(rdb_release_day(k.r, first.slot, first.generation));
    /* the slots go to other days, which are shown at once */
    while (rdb_idle(k.r))
        ;
    rows(trade, LK_DAY + 2, 10);
    rows(quote, LK_DAY + 3, 11);
    free(after);
    after = take(3);
    assert_int_equal(rows_of(after, trade, LK_DAY + 2), 10);
    assert_int_equal(rows_of(after, quote, LK_DAY + 3), 11);
    assert_int_equal(after->nparts, 2);
    pins_release(y.pins, after->pin);
    free(old);
    free(before);
    free(after);
}

static void keeping_less(void **state)
{
    (void)state;
    rows(trade, LK_DAY, 10);
    rows(trade, LK_DAY + 1, 10);
    uint64_t one = 1ull << info(LK_DAY).slot, two = 1ull << info(LK_DAY + 1).slot;
    struct cut *c = take(1);
    assert_int_equal(pins_slots(y.pins), one | two);
    pins_keep(y.pins, c->pin, (const int32_t[]){LK_DAY + 1, LK_DAY + 9}, 2);
    assert_int_equal(pins_slots(y.pins), two);
    pins_keep(y.pins, c->pin, (const int32_t[]){LK_DAY}, 1); /* never more than before */
    assert_int_equal(pins_slots(y.pins), 0);
    pins_keep(y.pins, 12345, NULL, 0); /* unknown: nothing */
    pins_release(y.pins, 12345);
    pins_release(y.pins, 0);
    assert_int_equal(pins_count(y.pins), 1);
    pins_release(y.pins, c->pin);
    pins_release(y.pins, c->pin);
    assert_int_equal(pins_count(y.pins), 0);
    free(c);
}

static unsigned killed[8], nkilled;
static void on_overdue(void *arg, uint32_t process, const char *why)
{
    assert_string_equal(why, "too long");
    killed[nkilled++] = process;
    pins_release_all(arg, process); /* its death */
}

static void overdue_readers_are_named_once(void **state)
{
    (void)state;
    rows(trade, LK_DAY, 10);
    uint64_t slot = 1ull << info(LK_DAY).slot;
    nkilled = 0;
    free(take(4)), free(take(5)), free(take(4));
    struct cut *c = take(6);
    pins_keep(y.pins, c->pin, NULL, 0); /* reads the database only */
    assert_int_equal(pins_overdue(y.pins, slot, "too long"),
                     3); /* nobody listens: told all the same */
    assert_int_equal(pins_overdue(y.pins, slot, "too long"), 0); /* once */
    pins_release_all(y.pins, 4);
    pins_release_all(y.pins, 5);
    pins_on_overdue(y.pins, on_overdue, y.pins);
    free(take(4)), free(take(5)), free(take(4));
    assert_true(pins_overdue(y.pins, slot, "too long") >= 2);
    assert_int_equal(nkilled, 2);
    assert_int_equal(pins_slots(y.pins) & slot, 0);
    assert_int_equal(pins_count(y.pins), 1);
    free(c);
}

static void no_more_than_there_is_room_for(void **state)
{
    (void)state;
    struct err err = {0};
    rows(trade, LK_DAY, 1);
    for (unsigned i = 0; i < PINS_MAX; i++)
        free(take(i));
    assert_null(pins_take(y.pins, 1, &err));
    assert_non_null(strstr(err.text, "4096 queries"));
    pins_release_all(y.pins, 77);
    free(take(1));
    assert_int_equal(pins_count(y.pins), PINS_MAX);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_cut_is_what_was_there), CASE(two_ends_of_day_under_a_reader), CASE(keeping_less),
        CASE(overdue_readers_are_named_once), CASE(no_more_than_there_is_room_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
