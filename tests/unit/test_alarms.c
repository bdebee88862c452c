/* SPDX-License-Identifier: Apache-2.0 */
/* test_alarms.c - alarms, and the small parts beside them: tables, nearest words, rates, printing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "alarms.h"
#include "print.h"
#include "core/nearest.h"
#include "rates.h"

static struct alarms a;
static struct status *status;
static unsigned raised, cleared;
static char last_subject[ALARMS_SUBJECT];

static void journal(void *arg, const struct alarm_state *s, bool up)
{
    (void)arg;
    raised += up;
    cleared += !up;
    strcpy(last_subject, s->subject);
}
static int setup(void **state)
{
    (void)state;
    struct err err;
    status = status_create("t", &err);
    assert_non_null(status);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    status_destroy(status);
    return 0;
}
static void fresh(void)
{
    alarms_init(&a, status, journal, NULL);
    raised = cleared = 0;
}
#define S NS_PER_S

/* stderr of the calls between begin and end, as lines */
static int saved;
static FILE *tape;
static void tape_begin(void)
{
    fflush(stderr);
    tape = tmpfile();
    saved = dup(2);
    dup2(fileno(tape), 2);
}
static unsigned tape_end(void)
{
    unsigned lines = 0;
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    rewind(tape);
    for (int c; (c = fgetc(tape)) != EOF;)
        lines += c == '\n';
    fclose(tape);
    return lines;
}

static void test_raise_hold_clear(void **state)
{
    (void)state;
    fresh();
    tape_begin();
    alarm_check(&a, 100 * S, ALARM_LINE_SILENT, "itch B", true, 5 * S, "silent %d", 1);
    alarm_check(&a, 101 * S, ALARM_LINE_SILENT, "itch A", true, 5 * S, "silent");
    alarm_check(&a, 102 * S, ALARM_LINE_SILENT, "itch B", true, 5 * S, "silent %d", 2);
    assert_int_equal(a.n, 2);
    assert_int_equal(raised, 2);
    assert_int_equal(status->alarm_since[ALARM_LINE_SILENT], 100 * S); /* the oldest */
    const struct alarm_state *b = alarm_raised(&a, ALARM_LINE_SILENT, "itch B");
    assert_string_equal(b->text, "silent 2");
    assert_true(b->times == 2 && b->since == 100 * S && b->last == 102 * S);
    alarm_check(&a, 106 * S, ALARM_LINE_SILENT, "itch B", false, 5 * S, " ");
    assert_int_equal(cleared, 0); /* not gone for five seconds */
    alarm_check(&a, 107 * S, ALARM_LINE_SILENT, "itch B", false, 5 * S, " ");
    assert_int_equal(cleared, 1);
    assert_string_equal(last_subject, "itch B");
    assert_null(alarm_raised(&a, ALARM_LINE_SILENT, "itch B"));
    assert_int_equal(status->alarm_since[ALARM_LINE_SILENT], 101 * S);
    assert_int_equal(a.recent[a.n_recent - 1].cleared, 107 * S);
    alarm_check(&a, 200 * S, ALARM_LINE_SILENT, "itch A", false, 0, " ");
    assert_int_equal(status->alarm_since[ALARM_LINE_SILENT], 0);
    assert_int_equal(tape_end(), 4);
    assert_int_equal(alarms_count(&a, SEVERITY_WARN) + alarms_count(&a, SEVERITY_FAIL), 0);
}

/* A condition that flaps is journaled each time and said once: the last word in the log is true. */
static void test_flapping_is_folded(void **state)
{
    (void)state;
    fresh();
    tape_begin();
    for (int i = 0; i < 20; i++) {
        alarm_check(&a, (100 + 2 * i) * S, ALARM_LOG_SPACE, "", true, 0, "low");
        alarm_check(&a, (101 + 2 * i) * S, ALARM_LOG_SPACE, "", false, 0, " ");
    }
    assert_int_equal(tape_end(), 2);
    assert_true(raised == 20 && cleared == 20);
    tape_begin(); /* a minute later it is news again */
    alarm_check(&a, 300 * S, ALARM_LOG_SPACE, "", true, 0, "low");
    assert_int_equal(tape_end(), 1);
    assert_int_equal(a.n_recent, PST_COUNT(a.recent));
}

static void test_ack_and_full_table(void **state)
{
    (void)state;
    fresh();
    tape_begin();
    for (unsigned i = 0; i < ALARMS_OF_CODE + 3; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "f%u", i);
        alarm_check(&a, S, ALARM_FEED_GAP, subject, true, 0, "gap");
    }
    assert_int_equal(a.n, ALARMS_OF_CODE);
    assert_int_equal(a.refused, 3);
    assert_int_equal(a.more[ALARM_FEED_GAP].n, 3);
    assert_false(alarm_ack(&a, 2 * S, "no.such"));
    assert_false(alarm_ack(&a, 2 * S, "log.space"));
    assert_true(alarm_ack(&a, 2 * S, "feed.gap"));
    assert_int_equal(a.n, 0);
    assert_int_equal(cleared, ALARMS_OF_CODE);
    tape_end();
}

/* However many alarms there are, each code has room for one. */
static void test_room_for_each_code(void **state)
{
    (void)state;
    fresh();
    tape_begin();
    for (int code = ALARMS - 1; code > 0; code--)
        for (unsigned i = 0; i < ALARMS_OF_CODE; i++) {
            char subject[16];
            snprintf(subject, sizeof subject, "f%u", i);
            alarm_check(&a, S, (enum alarm)code, subject, true, 0, "holds");
        }
    alarm_check(&a, S, (enum alarm)0, "", true, 0, "holds");
    for (int code = 0; code < ALARMS; code++) {
        bool there = false;
        for (unsigned i = 0; i < a.n; i++)
            there |= (int)a.raised[i].code == code;
        assert_true(there);
    }
    assert_true(a.n <= PST_COUNT(a.raised));
    tape_end();
}

/* A subject or text that is too long is shortened between characters, and is the same one when it
 * is stated again. */
static void test_long_subjects(void **state)
{
    (void)state;
    fresh();
    tape_begin();
    char subject[3][ALARMS_SUBJECT + 300];
    for (unsigned k = 0; k < 3; k++) {
        unsigned at = 0;
        for (unsigned i = 0; i < 200; i++)
            at += (unsigned)snprintf(subject[k] + at, sizeof subject[k] - at, "\xC3\xBC");
        snprintf(subject[k] + at, sizeof subject[k] - at, "%.*s%u", (int)k, "xxx", k);
    }
    for (int64_t now = S; now < 4 * S; now += S)
        for (unsigned k = 0; k < 3; k++)
            alarm_check(&a, now, ALARM_LOAD_QUARANTINED, subject[k], true, 0, "%s%s",
                        k % 2 ? "" : "x", subject[k]);
    assert_int_equal(a.n, 3);
    assert_int_equal(raised, 3);
    for (unsigned k = 0; k < 3; k++) {
        const struct alarm_state *s = alarm_raised(&a, ALARM_LOAD_QUARANTINED, subject[k]);
        assert_non_null(s);
        json_t *j = json_pack("[s,s]", s->subject, s->text); /* UTF-8, or it is NULL */
        assert_non_null(j);
        json_decref(j);
    }
    for (unsigned k = 0; k < 3; k++)
        alarm_check(&a, 5 * S, ALARM_LOAD_QUARANTINED, subject[k], false, 0, " ");
    assert_int_equal(a.n, 0);
    tape_end();
}

/* ---- tables --------------------------------------------------------------------------------- */

static bool sentence(const char *s)
{
    size_t n = strlen(s);
    return n >= 10 && s[n - 1] == '.' && s[0] >= 'A' && s[0] <= 'Z';
}

static void test_every_alarm_is_explained(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALARMS; i++) {
        const struct alarm_info *x = &alarm_table[i];
        if (!strchr(x->code, '.') || !*x->raise || !*x->clear || !sentence(x->sentence) ||
            strlen(x->remedy) < 10)
            fail_msg("alarm %s lacks raise, clear, sentence or remedy", x->code);
        assert_int_equal(alarm_find(x->code), i); /* no code twice */
        assert_true(x->severity == SEVERITY_WARN || x->severity == SEVERITY_FAIL);
    }
    assert_int_equal(alarm_find("line.silen"), -1);
}

static void test_every_counter_and_command_has_its_sentence(void **state)
{
    (void)state;
    static const char *const counters[][3] = {
#define X(ID, name, owner, what) {name, owner, what},
#include "core/counters.def"
#undef X
    };
    static const char *const commands[][2] = {
#define X(name, level, args, what) {#name, what},
#include "cmd.def"
#undef X
    };
    assert_true(PST_COUNT(counters) > 20 && PST_COUNT(commands) > 15);
    for (unsigned i = 0; i < PST_COUNT(counters); i++) {
        if (!strchr(counters[i][0], '.') || !*counters[i][1] || strlen(counters[i][2]) < 8)
            fail_msg("counter %s lacks name, owner or sentence", counters[i][0]);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(counters[i][0], counters[j][0]);
    }
    for (unsigned i = 0; i < PST_COUNT(commands); i++) {
        if (!sentence(commands[i][1]))
            fail_msg("command %s lacks its sentence", commands[i][0]);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(commands[i][0], commands[j][0]);
    }
}

/* ---- small parts ---------------------------------------------------------------------------- */

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"status", "feeds", "feed", "ledger", "alarms", "counters"};
    assert_string_equal(nearest_word("statsu", words, 6), "status");
    assert_string_equal(nearest_word("leger", words, 6), "ledger");
    assert_string_equal(nearest_word("feed", words, 6), "feed");
    assert_string_equal(nearest_word("counter", words, 6), "counters");
    assert_null(nearest_word("publish", words, 6));
    assert_null(nearest_word("status", words, 0));
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_null(nearest_word(big, words, 6));
}

static void test_rates(void **state)
{
    (void)state;
    static struct rates r;
    store_relaxed(&status->counter[COUNTER_LOG_BYTES], 1000);
    rates_sample(&r, status);
    assert_true(r.log.per_s == 0);
    rates_sample(&r, status); /* within a second: nothing */
    assert_int_equal(r.log.last, 1000);
    store_relaxed(&status->counter[COUNTER_LOG_BYTES], 5000);
    r.at -= 2 * S; /* two seconds ago, without waiting for them */
    rates_sample(&r, status);
    assert_true(r.log.per_s > 1900 && r.log.per_s <= 2000);
}

static void test_printing(void **state)
{
    (void)state;
    assert_string_equal(print_count(0), "0");
    assert_string_equal(print_count(999), "999");
    assert_string_equal(print_count(214882107), "214,882,107");
    assert_string_equal(print_count(-1000), "-1,000");
    assert_string_equal(print_count(INT64_MIN), "-9,223,372,036,854,775,808");
    assert_string_equal(print_bytes(512), "512 B");
    assert_string_equal(print_bytes(1536), "1.5 KiB");
    assert_string_equal(print_bytes(512ll << 20), "512 MiB");
    assert_string_equal(print_duration(400000), "400.0 us");
    assert_string_equal(print_duration(42 * S), "42 s");
    assert_string_equal(print_duration(1500000000), "1.5 s");
    assert_string_equal(print_duration(22320 * S), "6h12m");
    assert_string_equal(print_duration(3 * 86400 * S), "3d00h");
    assert_string_equal(print_duration(-5 * S), "-5.0 s");
    assert_string_equal(print_duration(-5), "-5 ns");
    assert_string_equal(print_time(0), "never");
    assert_string_equal(print_time(86400 * S), "2000.01.02 00:00:00Z");
    json_t *o = json_pack("{s:i,s:f,s:s}", "i", 7, "f", 2.5, "s", "x");
    assert_int_equal(json_long(o, "i"), 7);
    assert_int_equal(json_long(o, "f"), 2);
    assert_int_equal(json_long(o, "none"), 0);
    assert_true(json_real_of(o, "f") == 2.5);
    assert_string_equal(json_text(o, "s"), "x");
    assert_string_equal(json_text(o, "i"), "");
    json_decref(o);
}

static void test_tables_align(void **state)
{
    (void)state;
    static const char *const head[] = {"name", ">count"};
    struct print_table t;
    char text[256] = "";
    fflush(stdout);
    FILE *f = tmpfile();
    int keep = dup(1);
    dup2(fileno(f), 1);
    print_table_begin(&t, 2, head);
    print_table_row(&t, "z\xC3\xBC", "7");
    print_table_row(&t, "itch", "1,234,567");
    print_table_end(&t);
    fflush(stdout);
    dup2(keep, 1);
    close(keep);
    rewind(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_string_equal(text, "name      count\nz\xC3\xBC            7\nitch  1,234,567\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise_hold_clear),
        cmocka_unit_test(test_flapping_is_folded),
        cmocka_unit_test(test_ack_and_full_table),
        cmocka_unit_test(test_room_for_each_code),
        cmocka_unit_test(test_long_subjects),
        cmocka_unit_test(test_every_alarm_is_explained),
        cmocka_unit_test(test_every_counter_and_command_has_its_sentence),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_printing),
        cmocka_unit_test(test_tables_align),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
