/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calendars and appender together over 31 years of real zones: a virtual clock that walks, jumps
 * over nights and stands still for weeks; lists as control makes them; every date of every calendar
 * ends exactly once, in order, at its instant; and rows stand in the date of their time.
 */
#include "calendar_due.h"
#include "journal_kit.h"

#define CALENDARS 10u

static struct days_owner owners;
static const struct schema *table[CALENDARS];
static struct calendar calendar[CALENDARS];
static const struct {
    const char *zone;
    int32_t eod_s;
    int64_t window_s;
} made_of[CALENDARS] = {
    {"America/New_York", 0, 0},
    {"America/Chicago", 17 * 3600, 1800},
    {"Europe/London", 9000, 5400}, /* 02:30: skipped and doubled */
    {"Asia/Tokyo", -2 * 3600, 3600},
    {"Australia/Lord_Howe", 2 * 3600, 12 * 3600}, /* clocks change by half an hour, at 02:00 */
    {"Asia/Kathmandu", 12 * 3600, 1},
    {"Pacific/Apia", 0, 4 * 3600}, /* one date does not exist */
    {"Pacific/Apia", -14 * 3600, 0},
    {"America/St_Johns", 60, 12 * 3600}, /* clocks once changed at 00:01 */
    {"UTC", 86399, 7200},
};

static uint64_t rng = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

static struct kit *kit_of_calendars(int64_t start)
{
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    struct err e = {0};
    struct kit *k = kit_new(1024, 1000);
    struct appender_open open[CALENDARS];
    memset(&owners, 0, sizeof owners);
    owners.n = CALENDARS;
    for (unsigned i = 0; i < CALENDARS; i++) {
        struct schema s;
        struct calendar *c = &calendar[i];
        char name[16];
        snprintf(name, sizeof name, "t%u", i);
        assert_true(schema_make(&s, 0, name, false, cols, 2, &e));
        table[i] = kit_table(k, &s);
        owners.calendar[table[i]->id] = (uint8_t)i;
        snprintf(c->name, sizeof c->name, "c%u", i);
        strcpy(owners.name[i], c->name);
        c->zone = tzone_load(made_of[i].zone, &e);
        if (!c->zone)
            fail_msg("%s", e.text);
        c->eod_s = made_of[i].eod_s;
        c->late_window_ns = made_of[i].window_s * NS_PER_S;
        int32_t day = calendar_day(c, start);
        open[i] = (struct appender_open){(uint16_t)day, calendar_eod(c, day - 1)};
    }
    struct appender_config c = k->app.cfg;
    appender_fini(&k->app);
    c.owners = &owners;
    c.open = open;
    assert_true(appender_init(&k->app, &c, &e));
    k->app.cfg.open = NULL;
    clock_init_virtual(&k->clock, start);
    kit_at(k, start);
    return k;
}

static const struct interval_rule rule;

static const struct calendar *calendar_at(const void *arg, uint32_t i)
{
    return (const struct calendar *)arg + i;
}

/* What control does at each tick, lists of a few dates; then the appender, until nothing is due. */
static void end_what_is_due(struct kit *k)
{
    static struct due_item items[DUE_MAX];
    int32_t open[CALENDARS], until[CALENDARS];
    uint32_t before;
    do {
        before = load_relaxed(&k->app.days.version);
        for (unsigned i = 0; i < CALENDARS; i++)
            open[i] = load_relaxed(&k->app.days.open[i]);
        uint32_t n = calendar_due_list(calendar_at, calendar, CALENDARS, open, 4, 0, &rule, items, until);
        for (unsigned i = 0; i < CALENDARS; i++)
            assert_true(until[i] > open[i] && until[i] <= open[i] + 4);
        assert_true(due_publish(&k->due, items, n, NULL));
        appender_due(&k->app);
    } while (load_relaxed(&k->app.days.version) != before);
}

struct seen {
    int32_t open[CALENDARS]; /* as the marks say */
    uint64_t marks;
};

/* Marks since the last call: each calendar's next date, its instant in the text, in due order. */
static void read_marks(struct kit *k, struct seen *s)
{
    const struct frame *f;
    int64_t last = INT64_MIN;
    while ((f = kit_next(k))) {
        char name[DAYS_NAME], json[DUE_JSON];
        if (!days_eod(f, name))
            continue;
        unsigned i = (unsigned)(name[1] - '0'), type;
        const struct calendar *c = &calendar[i];
        uint32_t len;
        assert_int_equal(f->day, s->open[i]++);
        int64_t due = calendar_closes(c, f->day);
        assert_true(due <= clock_now(&k->clock));
        assert_true(due >= last);
        assert_true(f->time >= due); /* equal, where the journal had nothing later before it */
        last = due;
        const char *text = frame_mark(f, &type, &len);
        assert_int_equal(len, calendar_eod_json(c, f->day, 0, NULL, json));
        assert_memory_equal(text, json, len);
        s->marks++;
    }
}

static void one_row(struct kit *k, struct inject_rows *w, const struct schema *t, int64_t time)
{
    uint8_t *p = inject_rows_plain(w, t->fixed, 0);
    memset(p, 0, t->fixed);
    *(struct record *)p = (struct record){t->id, t->fixed, PST_NULL_SYMBOL, time};
    inject_rows_plain_commit(w, t->fixed);
    inject_rows_flush(w);
    assert_int_equal(appender_take(&k->app, 2), 1);
}

/* Of calendar i, at `now`: the date of its time while that is open, else the open one, counted. */
static void check_row(struct kit *k, struct inject_rows *w, unsigned i, int64_t now, int64_t time)
{
    const struct calendar *c = &calendar[i];
    uint64_t late = load_relaxed(&k->status->counter[COUNTER_APPEND_LATE_DAY]);
    int32_t today = calendar_day(c, now), of_time = calendar_day(c, time), open = today;
    while (calendar_closes(c, open - 1) > now)
        open--; /* its window is not over */
    one_row(k, w, table[i], time);
    const struct frame *f = kit_find(k, FRAME_DATA);
    int32_t want = of_time > today ? today : of_time < open ? open : of_time;
    if (f->day != want)
        fail_msg("calendar %s: now %lld, time %lld: date %d, not %d (open %d, today %d)", c->name,
                 (long long)now, (long long)time, f->day, want, open, today);
    assert_int_equal(load_relaxed(&k->status->counter[COUNTER_APPEND_LATE_DAY]) - late,
                     of_time < open);
}

static void test_31_years(void **state)
{
    (void)state;
    int64_t now = civil_days(2006, 1, 1) * PST_DAY_NS + 1,
            end = civil_days(2037, 1, 1) * PST_DAY_NS;
    struct kit *k = kit_of_calendars(now);
    struct err e;
    struct inject q;
    struct inject_rows w;
    assert_true(inject_create(&q, INJECT_MIN, &e));
    struct inject_options o = {.max_new_symbols = 1, .symbols = 16};
    assert_true(appender_add_inject(&k->app, &q, 1, &o, &e));
    struct inject_rows_config ic = {
        .q = &q, .schemas = k->schemas, .symbols = 16, .days = &k->app.days, .owners = &owners};
    assert_true(inject_rows_init(&w, &ic, &e));
    struct seen seen = {0};
    int32_t first[CALENDARS];
    for (unsigned i = 0; i < CALENDARS; i++)
        first[i] = seen.open[i] = load_relaxed(&k->app.days.open[i]);
    unsigned rows = 0;
    while (now < end) {
        unsigned i = rnd(CALENDARS);
        const struct calendar *c = &calendar[i];
        uint32_t how = rnd(40);
        if (how == 0) /* nothing runs for up to forty days */
            now += (int64_t)rnd(40) * PST_DAY_NS + rnd(1u << 30);
        else if (how < 30) /* about a day */
            now += (int64_t)rnd(30 * 3600) * NS_PER_S + rnd(1u << 30);
        else { /* to an edge of some calendar */
            int32_t day = calendar_day(c, now);
            int64_t edge = how < 35 ? calendar_eod(c, day) : calendar_closes(c, day);
            now = edge - 1 + rnd(3);
        }
        kit_at(k, now);
        end_what_is_due(k);
        read_marks(k, &seen);
        for (unsigned n = rnd(4); n; n--, rows++) {
            unsigned x = rnd(2) ? i : rnd(CALENDARS);
            int64_t edge =
                calendar_eod(&calendar[x], calendar_day(&calendar[x], now) - (int)rnd(3));
            check_row(k, &w, x, now,
                      rnd(2) ? edge - 1 + rnd(3)
                             : now + ((int64_t)rnd(200) - 150) * 600 * NS_PER_S);
        }
        kit_drain(k);
    }
    uint64_t ends = 0;
    for (unsigned i = 0; i < CALENDARS; i++) {
        const struct calendar *c = &calendar[i];
        int32_t open = seen.open[i];
        assert_int_equal(open, load_relaxed(&k->app.days.open[i]));
        assert_true(calendar_closes(c, open) > now && calendar_closes(c, open - 1) <= now);
        assert_true(open - first[i] > 11300);
        ends += (uint64_t)(open - first[i]);
    }
    assert_int_equal(seen.marks, ends);
    assert_true(rows > 10000);
    inject_rows_fini(&w);
    inject_destroy(&q);
    kit_free(k);
    for (unsigned i = 0; i < CALENDARS; i++)
        tzone_free((struct tzone *)calendar[i].zone);
}

/* A replay with --date: the dates are others, the instants those of the capture. */
static void test_shift_and_text(void **state)
{
    (void)state;
    struct err e;
    struct calendar c = {.name = "x", .late_window_ns = 60 * NS_PER_S};
    struct due_item d[CALENDAR_DUE_MOST];
    c.zone = tzone_load("UTC", &e);
    int32_t day = civil_days(2026, 11, 23);
    assert_int_equal(calendar_due(&c, 3, day, -10, d), 2);
    assert_int_equal(d[0].kind, DUE_TURN);
    assert_int_equal(d[1].kind, DUE_EOD);
    assert_true(d[0].id && d[0].id != d[1].id);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(d[i].day, day);
        assert_int_equal(d[i].calendar, 3);
        assert_true(d[i].at == (int64_t)(day - 9) * PST_DAY_NS + (i ? 60 * NS_PER_S : 0));
    }
    assert_string_equal(d[1].json, "{\"calendar\":\"x\",\"day\":\"2026.11.23\",\"ends\":"
                                   "\"2026.11.14D00:00:00.000000000\"}");
    c.late_window_ns = 0;
    assert_int_equal(calendar_due(&c, 3, day, 0, d), 1);
    assert_int_equal(d[0].kind, DUE_EOD);
    memset(c.name, 'n', sizeof c.name - 1); /* the longest text fits */
    char json[DUE_JSON];
    assert_true(calendar_eod_json(&c, 65535, 0, "uid 4294967295 and more of it", json) < DUE_JSON);
    assert_non_null(strstr(json, "\"by\":\"uid 4294967295 and m\"}"));
    tzone_free((struct tzone *)c.zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_31_years),
        cmocka_unit_test(test_shift_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
