/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_alarm_rules.c - every threshold of the configuration, from its YAML to the alarm: just below
 * its value nothing is raised, just above it is; the values differ from the defaults on both sides.
 * Status, ring and symbols are real and moved by hand, the clock is virtual; the ledger's lag is
 * what the test says (--wrap).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "alarm_rules.h"
#include "wiring_parts.h"

static struct daemon d;
static struct alarm_rules rules;
static struct hours always;
static uint64_t behind;

uint64_t __wrap_ledger_behind(struct ledger *l);
bool __wrap_ledger_check(struct ledger *l, char *text, size_t cap);
uint64_t __wrap_ledger_behind(struct ledger *l)
{
    (void)l;
    return behind;
}
bool __wrap_ledger_check(struct ledger *l, char *text, size_t cap)
{
    (void)l, (void)text, (void)cap;
    return true;
}

static const int64_t start = 9000 * PST_DAY_NS;
static int64_t now;
static char told[ALARMS_TEXT]; /* by the alarm raised last */

static void tell(void *arg, const struct alarm_state *a, bool raised)
{
    (void)arg;
    if (raised)
        snprintf(told, sizeof told, "%s", a->text);
}

static void run(int64_t later)
{
    now += later;
    clock_set(&d.clock, now);
    alarm_rules_run(&rules, &d);
}

static int up(void **state)
{
    static const char yaml[] = "symbols_max: 2000\n"
                               "log_low_space: 5G\n"
                               "alarms:\n"
                               "  clear_after: 20s\n"
                               "  durable_lag: 3s\n"
                               "  ring_used: 25\n"
                               "  symbols_used: 40\n"
                               "  cursor_lag: 500\n"
                               "  gaps_per_minute: 4\n"
                               "  line_loss_ratio: 3\n"
                               "feeds: {f: {lines: [A, B]}}\n";
    struct err err;
    (void)state;
    memset(&d, 0, sizeof d);
    memset(&rules, 0, sizeof rules);
    behind = 0;
    now = start;
    clock_init_virtual(&d.clock, now);
    if (!config_parse("t.yaml", yaml, sizeof yaml - 1, &d.config, &err) ||
        !(d.status = status_create("t", &err)) || !(d.wiring = wiring_new()) ||
        !ring_create(&d.ring, 1 << 20, 4096, 1, false, &err) ||
        !symbols_create(&d.symbols, (uint32_t)d.config->symbols_max, &err))
        fail_msg("%s", err.text);
    static struct recovery nothing = {.empty = true};
    d.wiring->recovery = &nothing;
    alarms_init(&d.alarms, d.status, tell, NULL);
    d.ledger = (struct ledger *)&behind;
    d.nfeeds = d.status->n_feeds = 1;
    d.feeds[0].config = &d.config->feeds.at[0];
    store_release(&d.feeds[0].hours, &always);
    struct status_feed *f = &d.status->feeds[0];
    snprintf(f->name, sizeof f->name, "f");
    store_relaxed(&f->state, FEED_LIVE);
    f->nlines = 2;
    snprintf(f->line[0].name, sizeof f->line[0].name, "A");
    snprintf(f->line[1].name, sizeof f->line[1].name, "B");
    store_relaxed(&d.status->log_free, 1ull << 50);
    run(0);
    return 0;
}

static int down(void **state)
{
    (void)state;
    ring_close(&d.ring);
    symbols_close(&d.symbols);
    status_destroy(d.status);
    config_free(d.config);
    free(d.wiring);
    return 0;
}

static void raised(enum alarm code, const char *subject, bool is)
{
    if (!alarm_raised(&d.alarms, code, subject) == is)
        fail_msg("%s %s is %sraised", alarm_table[code].code, subject, is ? "not " : "");
}

static void test_log(void **state)
{
    (void)state;
    store_relaxed(&d.status->log_oldest, now + NS_PER_S);
    run(3900 * NS_PER_MS);
    raised(ALARM_LOG_LAG, "", false);
    run(200 * NS_PER_MS);
    raised(ALARM_LOG_LAG, "", true);
    raised(ALARM_LOG_STALLED, "", true);
    store_relaxed(&d.status->log_oldest, 0);
    run(0);
    run(19 * NS_PER_S); /* clear_after */
    raised(ALARM_LOG_LAG, "", true);
    run(2 * NS_PER_S);
    raised(ALARM_LOG_LAG, "", false);

    store_relaxed(&d.status->log_free, 5ull << 30);
    run(NS_PER_S);
    raised(ALARM_LOG_SPACE, "", false);
    store_relaxed(&d.status->log_free, (5ull << 30) - 1);
    run(NS_PER_S);
    raised(ALARM_LOG_SPACE, "", true);
}

static void test_memory(void **state)
{
    (void)state;
    struct ring_head *h = d.ring.head;
    uint64_t at = load_relaxed(&h->guard);
    store_release(&h->tail, at + ring_size(&d.ring) / 100 * 25);
    run(NS_PER_S);
    raised(ALARM_RING_FILLING, "", false);
    store_release(&h->tail, at + ring_size(&d.ring) / 100 * 25 + 4096);
    run(NS_PER_S);
    raised(ALARM_RING_FILLING, "", true);
    char text[16];
    for (int i = 0; i < 801; i++) {
        raised(ALARM_SYMBOLS_FILLING, "", false);
        snprintf(text, sizeof text, "S%d", i);
        uint32_t id;
        assert_int_equal(symbols_intern(&d.symbols, text, (uint32_t)strlen(text), &id),
                         SYMBOLS_NEW);
        if (i >= 799)
            run(NS_PER_S);
    }
    raised(ALARM_SYMBOLS_FILLING, "", true);
    behind = 500 * 64;
    run(NS_PER_S);
    raised(ALARM_READER_LAG, "ledger", false);
    behind = 501 * 64;
    run(NS_PER_S);
    raised(ALARM_READER_LAG, "ledger", true);
}

static void test_feed(void **state)
{
    (void)state;
    struct status_feed *f = &d.status->feeds[0];
    store_relaxed(&f->gaps, 3);
    run(NS_PER_S);
    raised(ALARM_FEED_GAP, "f", true);
    raised(ALARM_FEED_GAPS, "f", false);
    store_relaxed(&f->gaps, 4);
    run(NS_PER_S);
    raised(ALARM_FEED_GAPS, "f", true);

    static const struct {
        uint64_t a, b;
        bool raised;
    } minutes[] = {{300, 100, false}, {301, 100, true}, {99, 0, false}};
    for (unsigned i = 0; i < PST_COUNT(minutes); i++) {
        bump(&f->line[0].lost, minutes[i].a);
        bump(&f->line[1].lost, minutes[i].b);
        rules.minute_at -= 60 * NS_PER_S; /* the minute is over */
        run(30 * NS_PER_S);
        run(30 * NS_PER_S); /* past clear_after */
        raised(ALARM_LINE_IMBALANCE, "f A", minutes[i].raised);
        raised(ALARM_LINE_IMBALANCE, "f B", false);
    }
}

static void test_silent_line(void **state)
{
    (void)state;
    struct status_line *b = &d.status->feeds[0].line[1];
    store_relaxed(&b->state, LINE_SILENT);
    run(NS_PER_S);
    raised(ALARM_LINE_SILENT, "f B", true);
    assert_string_equal(told, "nothing arrived since the start; the other lines carry the feed");

    store_relaxed(&b->state, LINE_LIVE);
    store_relaxed(&b->last_rx, now);
    run(NS_PER_S);
    raised(ALARM_LINE_SILENT, "f B", false);
    store_relaxed(&b->state, LINE_SILENT);
    run(6 * NS_PER_S);
    assert_string_equal(told, "silent for 7 s; the other lines carry the feed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log, up, down),
        cmocka_unit_test_setup_teardown(test_memory, up, down),
        cmocka_unit_test_setup_teardown(test_feed, up, down),
        cmocka_unit_test_setup_teardown(test_silent_line, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
