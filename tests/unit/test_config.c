/* SPDX-License-Identifier: Apache-2.0 */
/* Every key: sentence, default, range, example; errors with line and nearest key; reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config.h"
#include "config_keys.h"

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PST_SOURCE_ROOT
#error "meson passes PST_SOURCE_ROOT"
#endif

static struct config *must_parse(const char *text)
{
    struct config *c;
    struct err e;
    if (!config_parse("t.yaml", text, strlen(text), &c, &e)) {
        fail_msg("%s", e.text);
    }
    return c;
}

static void refuse(const char *text, const char *says)
{
    struct config *c = (struct config *)1;
    struct err e = {0};
    if (config_parse("t.yaml", text, strlen(text), &c, &e)) {
        fail_msg("accepted: %s", text);
    }
    assert_null(c);
    if (!strstr(e.text, says) || strchr(e.text, '\n') || strncmp(e.text, "t.yaml", 6) != 0) {
        fail_msg("said: %s\nwanted: %s", e.text, says);
    }
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("cannot open %s", path);
    }
    char *buf = calloc(1, 1 << 17);
    assert_non_null(buf);
    assert_true(fread(buf, 1, (1 << 17) - 1, f) > 0);
    fclose(f);
    return buf;
}

static char *yaml_of(const struct config *c)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_true(config_show_yaml(c, f));
    fclose(f);
    return text;
}

/* ---- the table --------------------------------------------------------------------------------
 */

static void test_every_key_has_its_sentence(void **state)
{
    (void)state;
    assert_true(config_key_count > 100);
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        size_t n = strlen(k->sentence);
        if (n < 15 || k->sentence[n - 1] != '.' || !isupper((unsigned char)k->sentence[0])) {
            fail_msg("%s.%s lacks its sentence: \"%s\"", config_sections[k->section].name, k->name,
                     k->sentence);
        }
        for (uint32_t j = 0; j < i; j++) {
            assert_false(config_keys[j].section == k->section &&
                         strcmp(config_keys[j].name, k->name) == 0);
        }
        assert_true(k->min <= k->max);
    }
    for (int s = 0; s < SECTION_COUNT; s++) {
        assert_true(strlen(config_sections[s].sentence) > 15);
    }
}

static void test_every_key_in_help_and_example(void **state)
{
    (void)state;
    char *help = NULL, *markdown = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&help, &n);
    config_help(f);
    fclose(f);
    f = open_memstream(&markdown, &n);
    config_markdown(f);
    fclose(f);
    char *example = slurp(PST_SOURCE_ROOT "/control/etc/penstock.yaml");
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        char word[80];
        assert_non_null(strstr(help, k->sentence));
        snprintf(word, sizeof word, "  %s  (", k->name);
        assert_non_null(strstr(help, word));
        snprintf(word, sizeof word, "| `%s` |", k->name);
        assert_non_null(strstr(markdown, word));
        snprintf(word, sizeof word, "%s:", k->name);
        /* A feed, framing or table may be named by the key before its mapping. */
        if (strcmp(k->name, "name") != 0 && !(k->flags & CONFIG_REFUSED) &&
            !strstr(example, word)) {
            fail_msg("control/etc/penstock.yaml lacks %s", k->name);
        }
    }
    char *readme = slurp(PST_SOURCE_ROOT "/README.md");
    for (uint32_t i = 0; i < config_template_count; i++) {
        char word[80];
        snprintf(word, sizeof word, "| `%s` | `%s`", config_templates[i].parameter,
                 config_templates[i].key);
        if (strcmp(config_templates[i].key, "eoi_offset") != 0 && !strstr(readme, word)) {
            fail_msg("README lacks %s", word);
        }
    }
    assert_true(config_template_count >= 23);
    free(readme);
    free(help);
    free(markdown);
    free(example);
}

/* The commented lines of the example are true: with the # removed it loads, and changes nothing. */
static void test_example(void **state)
{
    (void)state;
    struct config *c;
    struct err e;
    if (!config_load(PST_SOURCE_ROOT "/control/etc/penstock.yaml", &c, &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c->feeds.count, 1);
    assert_int_equal(c->ports.at[0].groups.at[1].group.address, 0xEF010102);
    assert_int_equal(c->ports.at[0].groups.at[1].group.port, 26400);
    assert_string_equal(c->feeds.at[0].name, "itch");
    assert_true(c->feeds.at[0].file_line > 90);
    char *text = slurp(PST_SOURCE_ROOT "/control/etc/penstock.yaml");
    char *out = text;
    for (const char *p = text; *p;) { /* "#key: ..." -> "key: ...", prose ("# ...") stays */
        const char *start = p + strspn(p, " ");
        const char *end = p + strcspn(p, "\n");
        const char *after = start + 1 + strspn(start + 1, " ");
        bool key = *start == '#' && (start[1] != ' ' || after - start > 2);
        for (; p < end; p++) {
            if (!(key && p == start)) {
                *out++ = *p;
            }
        }
        *out++ = '\n';
        p += *p == '\n';
    }
    *out = 0;
    struct config *all;
    if (!config_parse("all.yaml", text, strlen(text), &all, &e)) {
        fail_msg("%s", e.text);
    }
    assert_string_equal(all->instance, "nyc1");
    assert_int_equal(all->framings.count, 1);
    static const char *const shown[] = {"instance",
                                        "spill_directory",
                                        "control_socket",
                                        "socket_group",
                                        "database",
                                        "hdb_lockfile",
                                        "log_streamer",
                                        "ipc.users",
                                        "load.staging",
                                        "load.temporary",
                                        "load.large_worker",
                                        "load.compounding",
                                        "load.finished",
                                        "load.finished_directory",
                                        "load.quarantine_directory",
                                        "load.rejects_directory",
                                        "load.post_batch_exec",
                                        "ipc.validator",
                                        "ipc.certificate",
                                        "ipc.key",
                                        "kdb_log_directory",
                                        "kdb_log_name",
                                        "messaging_server",
                                        "publish_channel",
                                        "subscription_channel",
                                        "subscription_table_list"};
    struct config_change changes[64];
    uint32_t n = config_diff(c, all, changes, 64);
    assert_true(n < 64);
    for (uint32_t i = 0; i < n; i++) {
        /* Keys with a default show that; keys without one show an example. */
        bool example = strncmp(changes[i].key, "access.", 7) == 0 ||
                       strcmp(changes[i].key, "calendar.holidays") == 0 ||
                       strcmp(changes[i].key, "calendars.tokyo") == 0 ||
                       strncmp(changes[i].key, "feeds.itch.", 11) == 0 ||
                       strncmp(changes[i].key, "ports.left.", 11) == 0 ||
                       strncmp(changes[i].key, "framings.xdp", 12) == 0 ||
                       strncmp(changes[i].key, "views.add", 9) == 0 ||
                       strncmp(changes[i].key, "load.batches.", 13) == 0 ||
                       strncmp(changes[i].key, "load.files.", 11) == 0 ||
                       strncmp(changes[i].key, "rtp.", 4) == 0 ||
                       strcmp(changes[i].key, "tables.quote.key") == 0;
        for (size_t j = 0; j < PST_COUNT(shown); j++) {
            example |= strcmp(changes[i].key, shown[j]) == 0;
        }
        if (!example) {
            fail_msg("the example shows another value than the default: %s", changes[i].key);
        }
    }
    free(text);
    config_free(all);
    config_free(c);
}

/* For every number: its limits are accepted, one beyond is refused with the range. */
static void test_every_range(void **state)
{
    (void)state;
    int tried = 0;
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (k->kind < KIND_INT || k->kind > KIND_DURATION) {
            continue;
        }
        struct config_arena *arena = NULL;
        for (int side = 0; side < 2; side++) {
            char text[64], why[300];
            const char *unit = k->kind == KIND_DURATION ? "ns" : "";
            int64_t v, edge = side ? k->max : k->min;
            snprintf(text, sizeof text, "%lld%s", (long long)edge, unit);
            assert_true(config_value_parse(k, text, &v, &arena, why, sizeof why));
            assert_int_equal(v, edge);
            snprintf(text, sizeof text, "%lld%s", (long long)(side ? edge + 1 : edge - 1), unit);
            assert_false(config_value_parse(k, text, &v, &arena, why, sizeof why));
            assert_non_null(strstr(why, " is allowed"));
            tried++;
        }
    }
    assert_true(tried > 60);
}

/* Every key with a default reads back its own printed value. */
static void test_defaults(void **state)
{
    (void)state;
    struct config *c;
    struct err e;
    if (!config_default(&c, &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c->durability, CONFIG_DURABLE);
    assert_int_equal(c->retry_interval, PST_SECOND_NS);
    assert_int_equal(c->calendar.weekend, CALENDAR_WEEKEND);
    assert_int_equal(config_ring_bytes(c), 512u << 20);
    assert_string_equal(tzone_name(c->main_calendar.zone), "UTC");
    assert_true(strlen(c->instance) > 0);
    assert_non_null(strstr(c->control_socket, "/run/penstock/"));
    char *text = yaml_of(c);
    struct config *again;
    if (!config_parse("again.yaml", text, strlen(text), &again, &e)) {
        fail_msg("%s\n%s", e.text, text);
    }
    assert_int_equal(config_diff(c, again, NULL, 0), 0);
    free(text);
    config_free(again);
    config_free(c);
}

/* ---- values -----------------------------------------------------------------------------------
 */

static void test_values(void **state)
{
    (void)state;
    struct config *c = must_parse("retry_interval: 1.5s\n"
                                  "log_low_space: 3M\n"
                                  "log_preallocate: 1.5G\n"
                                  "peak_rate: 2.5M\n"
                                  "symbols_max: 1_000_000\n"
                                  "alarms: {durable_lag: 250ms, clock_error: 1.5us}\n"
                                  "calendar:\n"
                                  "  zone: America/Chicago\n"
                                  "  eod_time: 17:00\n"
                                  "  weekend: Fri,Sat\n"
                                  "  holidays: [2026-12-25, 20260101, 2026.12.25]\n"
                                  "socket_group: \n"
                                  "hugepages: off\n"
                                  "feeds:\n"
                                  "  x: {hours: 'Mon 09:00-10:00 Asia/Tokyo', zone: Asia/Kolkata}\n"
                                  "  y: {date: 2026-11-23}\n");
    assert_int_equal(c->retry_interval, 1500000000);
    assert_int_equal(c->log_low_space, 3 << 20);
    assert_int_equal(c->log_preallocate, 3LL << 29);
    assert_int_equal(c->peak_rate, 2500000);
    assert_int_equal(c->symbols_max, 1000000);
    assert_int_equal(c->alarms.durable_lag, 250000000);
    assert_int_equal(c->alarms.clock_error, 1500);
    assert_int_equal(c->main_calendar.eod_s, 17 * 3600);
    assert_int_equal(c->calendar.weekend, 1 << CIVIL_FRI | 1 << CIVIL_SAT);
    assert_int_equal(c->calendar.holidays.count, 2);
    assert_int_equal(c->calendar.holidays.at[0], civil_days(2026, 1, 1));
    assert_int_equal(c->main_calendar.holiday_count, 2);
    assert_null(c->socket_group);
    assert_int_equal(c->hugepages, CONFIG_HUGE_OFF);
    const struct config_feed *x = config_feed_named(c, "x"), *y = config_feed_named(c, "y");
    assert_string_equal(tzone_name(x->open_hours.zone), "Asia/Tokyo");
    assert_string_equal(tzone_name(x->tz), "Asia/Kolkata");
    assert_int_equal(x->open_hours.count, 1);
    assert_int_equal(x->date, CONFIG_UNSET);
    assert_int_equal(y->date, civil_days(2026, 11, 23));
    assert_ptr_equal(y->tz, c->main_calendar.zone);
    assert_int_equal(y->open_hours.holiday_count, 2);
    assert_null(config_feed_named(c, "z"));
    config_free(c);
    c = must_parse("ring_size: 3M\n");
    assert_int_equal(config_ring_bytes(c), 4 << 20);
    config_free(c);
    c = must_parse("rdb_memory: 33M\nexisting_partition: merge\ndatabase: /x/hdb\n");
    assert_int_equal(config_rdb_bytes(c, 1ull << 40), 128u << 20); /* four extents at least */
    assert_int_equal(c->existing_partition, CONFIG_MERGE);
    assert_string_equal(c->database, "/x/hdb");
    config_free(c);
    c = must_parse("rdb_memory: 1G\n");
    assert_int_equal(config_rdb_bytes(c, 0), 1u << 30);
    config_free(c);
    c = must_parse("");
    assert_int_equal(config_rdb_bytes(c, 8ull << 30), 4ull << 30); /* half */
    config_free(c);
    c = must_parse("peak_rate: 10M\n");
    assert_int_equal(config_ring_bytes(c), 2LL << 30);
    config_free(c);
}

static void test_short_forms(void **state)
{
    (void)state;
    struct config *c =
        must_parse("feeds:\n"
                   "  - {name: f, lines: [A, B]}\n"
                   "  - {name: g, lines: {A: normal, R: retransmission, C: }}\n"
                   "tables:\n"
                   "  quote: {columns: {time: timestamp, sym: symbol, px: float}, key: sym}\n"
                   "  empty:\n"
                   "    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}]\n");
    assert_int_equal(c->feeds.at[0].lines.count, 2);
    assert_string_equal(c->feeds.at[0].lines.at[1].name, "B");
    assert_int_equal(c->feeds.at[1].lines.count, 3);
    assert_int_equal(c->feeds.at[1].lines.at[1].role, CONFIG_LINE_RETRANSMISSION);
    assert_string_equal(c->feeds.at[1].lines.at[2].name, "C");
    assert_int_equal(c->tables.count, 2);
    assert_int_equal(c->tables.at[0].columns.at[2].type, CONFIG_FLOAT);
    assert_int_equal(config_kdb_type(CONFIG_FLOAT), 9);
    assert_int_equal(config_kdb_type(CONFIG_TIME), 19);
    assert_int_equal(config_kdb_type(CONFIG_TIMESPAN), 16);
    assert_string_equal(c->tables.at[0].key.at[0], "sym");
    config_free(c);
    struct err e;
    assert_true(config_parse("t.yaml", "", 0, &c, &e));
    config_free(c);
    assert_true(config_parse("t.yaml", "# nothing\n", 10, &c, &e));
    config_free(c);
}

/* Other names of keys: they mean the same, and `config show` knows only the key's own. */
static void test_aliases(void **state)
{
    (void)state;
    struct config *c = must_parse("time_zone: Asia/Tokyo\neod_time: 17:00\ntime_offset: -5.5\n");
    assert_string_equal(tzone_name(c->main_calendar.zone), "Asia/Tokyo");
    assert_int_equal(c->main_calendar.eod_s, 17 * 3600);
    assert_int_equal(c->time_offset, -19800 * PST_SECOND_NS);
    char *text = yaml_of(c);
    assert_non_null(strstr(text, "zone: Asia/Tokyo"));
    assert_null(strstr(text, "time_zone"));
    struct config *again = must_parse(text);
    assert_int_equal(config_diff(c, again, NULL, 0), 0);
    free(text);
    config_free(again);
    config_free(c);
    for (uint32_t i = 0; i < config_alias_count; i++) {
        assert_non_null(config_find_key(config_aliases[i].section, config_aliases[i].key));
        assert_null(config_find_key(SECTION_top, config_aliases[i].name));
    }
    for (uint32_t i = 0; i < config_template_count; i++) {
        if (!config_find_key(SECTION_top, config_templates[i].key) &&
            !config_find_alias(config_templates[i].key)) {
            fail_msg("no key %s", config_templates[i].key);
        }
    }
}

/* A key that is not effective yet is known, documented, and refused wherever it stands. */
static void test_refused(void **state)
{
    (void)state;
    int refused = 0;
    for (uint32_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        char text[100], says[160];
        if (!(k->flags & CONFIG_REFUSED)) {
            continue;
        }
        assert_int_equal(k->section, SECTION_top);
        snprintf(text, sizeof text, "\n%s: %s\n", k->name, k->def ? k->def : "x");
        snprintf(says, sizeof says, "t.yaml:2: %s: not effective in this version", k->name);
        refuse(text, says);
        refused++;
    }
    printf("%d keys are refused\n", refused);
}

/* ---- errors -----------------------------------------------------------------------------------
 */

/* Beyond loopback only with users and TLS; nothing in ipc that cannot be. */
static void test_ipc_doors(void **state)
{
    static const char *const bad[][2] = {
        {"ipc: {address: localhost}\n", "t.yaml:1: ipc.address: \"localhost\" is no address"},
        {"ipc: {address: 10.0.0.0/8}\n", "is no address"},
        {"ipc: {address: 0.0.0.0}\n", "0.0.0.0 can be reached from other machines, where everyone "
                                      "could read and publish everything; give a users file"},
        {"ipc: {address: \"::\"}\n", ":: can be reached from other machines"},
        {"ipc: {address: 192.168.1.1, certificate: /c, key: /k}\n", "give a users file"},
        {"ipc: {address: 192.168.1.1, users: /u}\n",
         "passwords would cross the network in the clear; give ipc.certificate and ipc.key, or "
         "listen on 127.0.0.1"},
        {"ipc: {address: 192.168.1.1, users: /u, certificate: /c, key: /k, tls: off}\n",
         "and tls: required"},
        {"ipc: {certificate: /c}\n", "certificate and key go together; key is missing"},
        {"ipc: {key: /c}\n", "certificate and key go together; certificate is missing"},
        {"ipc: {tls: required}\n", "required needs a certificate"},
        {"ipc: {validator: /v}\n", "give ipc.users, with scram: external"},
        {"ipc: {rdb: 5010}\n", "two of tickerplant, rdb and hdb are port 5010"},
    };
    static const char *const good[] = {
        "ipc:\n",
        "ipc: {address: 127.8.9.1}\n",
        "ipc: {address: \"::1\"}\n",
        "ipc: {rdb: 0, hdb: 0}\n",
        "ipc: {address: 0.0.0.0, users: /u, certificate: /c, key: /k, tls: required}\n",
        "ipc: {address: \"2001:db8::1\", users: /u, certificate: /c, key: /k}\n",
    };
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        refuse(bad[i][0], bad[i][1]);
    for (unsigned i = 0; i < PST_COUNT(good); i++) {
        struct config *c;
        struct err e;
        if (!config_parse("t.yaml", good[i], strlen(good[i]), &c, &e))
            fail_msg("%s: %s", good[i], e.text);
        config_free(c);
    }
}

/* Rows that a processor passes on must find their columns. */
static void test_rtp_insert(void **state)
{
#define INSERT(columns)                                                                            \
    "tables:\n"                                                                                    \
    "  t: {columns: {time: timestamp, sym: symbol, px: float, n: long}}\n"                         \
    "  u: {columns: {time: timestamp, sym: symbol, " columns "}}\n"                                \
    "rtp:\n"                                                                                       \
    "  - {name: g, plugins: [/x.so], vanilla: false, processors: [p], insert: {t: u}}\n"
    struct config *c;
    struct err e;
    (void)state;
    refuse(INSERT("bid: float"), "t.yaml:5: rtp.g.insert.t: column bid of u is not in t; give u");
    refuse(INSERT("n: int"), "rtp.g.insert.t: column n of u is of another type in t");
    if (!config_parse("t.yaml", INSERT("n: long"), strlen(INSERT("n: long")), &c, &e))
        fail_msg("%s", e.text);
    config_free(c);
}

static void test_errors_say_where_and_what(void **state)
{
    (void)state;
    refuse("\ndurabilty: async\n", "t.yaml:2: durabilty: unknown key; did you mean durability?");
    refuse("feeds:\n  itch:\n    silense: 3s\n",
           "t.yaml:3: feeds.itch.silense: unknown key; did you mean silence?");
    refuse("window_time: 1ms\n", "t.yaml:1: window_time: unknown key here; it belongs under feeds");
    refuse("qqqqqq: 1\n", "t.yaml:1: qqqqqq: unknown key; remove it");
    refuse("eodTime: 17:00\n", "t.yaml:1: eodTime: unknown key; ");
    refuse("a: 1\ndsLsInstance: b\n", "t.yaml:1: a: unknown key");
    refuse("dsLsInstance: b\n", "unknown key; the template's dsLsInstance is log_streamer here");
    refuse("time_zone: UTC\ncalendar: {zone: UTC}\n",
           "t.yaml:2: calendar.zone: already given in line 1; remove one");
    refuse("calendar: {eod_time: '17:00'}\neod_time: 17:00\n",
           "t.yaml:2: eod_time: already given in line 1; remove one");
    refuse("time_offset: 27\n", "27 is out of range; -26h ... 26h is allowed");
    refuse("time_offset: five\n", "is not a duration");
    refuse("wait: spin\nlog_depth: 4\nwait: spin\n", "t.yaml:3: wait: already given in line 1");
    refuse("durability: fast\n",
           "t.yaml:1: durability: \"fast\" is not one of async, written, durable");
    refuse("log_depth: 129\n", "t.yaml:1: log_depth: 129 is out of range; 1 ... 128 is allowed");
    refuse("log_depth: four\n", "\"four\" is not a whole number");
    refuse("log_depth: 1.5\n", "\"1.5\" is not a whole number");
    refuse("log_depth: [1]\n", "log_depth: is a list; write a single value");
    refuse("log_depth:\n", "log_depth: has no value");
    refuse("ring_size: 12Q\n", "\"12Q\" is not a size; write bytes, or 64k, 512M, 4G");
    refuse("ring_size: 99999999999999999999\n", "is not a size");
    refuse("ring_size: 9999999T\n", "is not a size");
    refuse("retry_interval: 5\n", "\"5\" is not a duration");
    refuse("retry_interval: 0.5ns\n", "is not a duration");
    refuse("retry_interval: 2h\n", "2h is out of range; 10ms ... 1h is allowed");
    refuse("calendar: {eod_time: 9:30}\n", "\"9:30\" is not a time of day");
    refuse("calendar: {eod_time: '24:00'}\n", "out of range");
    refuse("calendar: {zone: Europe/Lodnon}\n", "t.yaml:1: calendar.zone: time zone Europe/Lodnon");
    refuse("calendar: {zone: ../../etc/passwd}\n", "not a zone name");
    refuse("calendar: {weekend: Mon-Sun}\n", "is not a set of up to six weekdays");
    refuse("calendar: {holidays: [2026-02-30]}\n", "is neither a date");
    refuse("calendar: {holidays: [1999-12-25]}\n", "out of range");
    refuse("calendar: {late_window: 13h}\n", "0 ... 12h is allowed");
    refuse("calendar: {eod_time: '-24:00'}\n", "-23:59:59 ... 23:59:59 is allowed");
    refuse("calendar: {eod_time: '--02:00'}\n", "is not a time of day; write [-]HH:MM");
    refuse("calendar: 5\n", "calendar: is a single value; write its keys");
    refuse("- a\n", "t.yaml:1: is a list; write its keys");
    refuse("log_prefix: a/b\n", "\"a/b\" is not a name");
    refuse("log_prefix: \"a\\nb\"\n", "control character");
    refuse("log_prefix: \"a\\0b\"\n", "control character");
    refuse("spill_directory: /a\nlog_directory: /a\n", "spill_directory: is the log_directory");
    refuse("kdb_log_directory: /a\nlog_directory: /a\n",
           "kdb_log_directory: is a directory of our own");
    refuse("kdb_log_directory: /a\nspill_directory: /a\n",
           "kdb_log_directory: is a directory of our own");
    refuse("run_directory: /"
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           "\ninstance: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n",
           "107 bytes");

    refuse("a: &x 1\nb: *x\n", "t.yaml:1: an anchor (&name) is not supported");
    refuse("b: *x\n", "t.yaml:1: an alias (*name) is not supported");
    refuse("wait: !!str spin\n", "t.yaml:1: a tag (!name) is not supported");
    refuse("wait: spin\n---\nwait: spin\n", "a second document");
    refuse("wait: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n", "nested deeper than 16");
    refuse("wait: {\n", "not YAML");
    refuse("wait: spin\n\tx: 1\n", "t.yaml:2: not YAML");
    refuse("wait: \xff\n", "not YAML");
}

#define TWO_TABLES                                                                                 \
    "tables:\n  a: {columns: {time: timestamp, sym: symbol}}\n"                                    \
    "  bond: {columns: {time: timestamp, sym: symbol}}\n"

static void test_calendars(void **state)
{
    (void)state;
    static const char text[] =
        TWO_TABLES "calendar: {zone: America/New_York, late_window: 90m, eod_time: -02:00}\n"
                   "calendars:\n"
                   "  tokyo: {zone: Asia/Tokyo, eod_time: 17:00, holidays: [2026-11-23],\n"
                   "          tables: [bond, itch_order, itch_trade, itch_status,\n"
                   "                   itch_imbalance, itch_directory]}\n"
                   "  late: {late_window: 12h, tables: gap}\n"
                   "feeds: [{name: x, decoder: itch50}, {name: y}]\n";
    struct config *c;
    struct err e;
    if (!config_parse("t.yaml", text, sizeof text - 1, &c, &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(config_calendars(c), 3);
    assert_int_equal(config_calendar(c, 0)->eod_s, -7200);
    assert_true(config_calendar(c, 0)->late_window_ns == 5400 * PST_SECOND_NS);
    assert_string_equal(config_calendar(c, 1)->name, "tokyo");
    assert_string_equal(tzone_name(config_calendar(c, 1)->zone), "Asia/Tokyo");
    assert_false(calendar_is_business_day(config_calendar(c, 1), civil_days(2026, 11, 23)));
    assert_ptr_equal(config_calendar(c, 2)->zone, config_calendar(c, 0)->zone);
    assert_int_equal(config_calendar(c, 2)->weekend, CALENDAR_WEEKEND);
    assert_int_equal(config_calendar_of(c, "bond"), 1);
    assert_int_equal(config_calendar_of(c, "a"), 0);
    assert_int_equal(config_calendar_of(c, "gap"), 2);
    assert_int_equal(config_calendar_of(c, "undecoded"), 0);
    /* a feed follows the calendar of its tables, in zone and holidays too */
    assert_int_equal(c->feeds.at[0].calendar, 1);
    assert_ptr_equal(c->feeds.at[0].tz, config_calendar(c, 1)->zone);
    assert_int_equal(c->feeds.at[0].open_hours.holiday_count, 1);
    assert_int_equal(c->feeds.at[1].calendar, 0);
    /* what is shown loads again and means the same */
    char *shown = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&shown, &n);
    assert_true(config_show_yaml(c, f));
    fclose(f);
    assert_non_null(strstr(shown, "-02:00"));
    struct config *again;
    if (!config_parse("again.yaml", shown, n, &again, &e)) {
        fail_msg("%s", e.text);
    }
    struct config_change change[4];
    assert_int_equal(config_diff(c, again, change, 4), 0);
    config_free(again);
    config_free(c);
    free(shown);
    refuse(TWO_TABLES "calendars: {x: {tables: [bnd]}}\n",
           "t.yaml:4: calendars.x.tables: there is no table bnd; did you mean bond?");
    refuse(TWO_TABLES "calendars: {x: {tables: [a]}, y: {tables: [a]}}\n",
           "calendars.y.tables: a belongs to calendar x already, in line 4");
    refuse(TWO_TABLES "calendars: {x: {tables: [a, bond, a]}}\n",
           "calendars.x.tables: names a twice");
    refuse(TWO_TABLES "calendars: [{name: x, tables: [a]},\n {name: x, tables: [bond]}]\n",
           "t.yaml:5: calendars.x: this name is already used in line 4");
    refuse(TWO_TABLES "calendars: {default: {tables: [a]}}\n",
           "calendars.default: this is the name of the default calendar");
    refuse(TWO_TABLES "calendars: {x: {tables: []}}\n", "calendars.x.tables: names none");
    refuse(TWO_TABLES "calendars: {x: {zone: UTC}}\n", "tables is missing");
    refuse(TWO_TABLES "calendars: {x: {zone: Asia/Tokio, tables: [a]}}\n",
           "calendars.x.zone: time zone Asia/Tokio");
    refuse(TWO_TABLES "calendars: {x: {tables: [iex_quote, iex_level]}}\n",
           "calendars.x.tables: names iex_level but not iex_trade, which comes from the same "
           "decoder; name all tables iex_...");
    refuse(TWO_TABLES "calendars: {x: {tables: [a], eod: 3}}\n", "unknown key");
}

static void test_errors_between_keys(void **state)
{
    (void)state;
    refuse("feeds: [{framing: cme}]\n", "feeds[0]: name is missing");
    refuse("feeds: [{name: a}, {name: a}]\n", "feeds.a: this name is already used in line 1");
    refuse("feeds: {a: {name: b}}\n", "the name already stands before the :");
    refuse("feeds:\n  a:\n    framing: moldudp46\n",
           "t.yaml:2: feeds.a.framing: there is no framing moldudp46; did you mean moldudp64?");
    refuse("feeds: {a: {hours: Mon 9-10}}\n", "feeds.a.hours: \"9-10\" is not a range of times");
    refuse("feeds: {a: {hours: Mon 09:00-10:00 Mars/Base}}\n", "time zone Mars/Base");
    refuse("feeds: {a: {zone: Mars/Base}}\n", "feeds.a.zone: time zone Mars/Base");
    refuse("feeds: {itch: {}}\nports:\n- name: p\n  device: none\n  groups:\n"
           "  - {group: '239.1.1.1:1', feed: icth}\n",
           "t.yaml:6: ports.p.groups: there is no feed icth; did you mean itch?");
    refuse("feeds: {f: {lines: [A]}}\nports: [{name: p, device: none, groups: "
           "[{group: '239.1.1.1:1', feed: f, line: B}]}]\n",
           "feed f lists no line B; add it");
    refuse("feeds: {f: }\nports: [{name: p, device: none, groups: [{group: '239.1.1.1:1', feed: f},"
           " {group: '239.1.1.1:1', feed: f, line: B}]}]\n",
           "this group is already taken in line 2");
    refuse(
        "feeds: {f: }\nports: [{name: p, device: none, groups: [{group: '239.1.1.1', feed: f}]}]\n",
        "is not an address and port");
    refuse(
        "feeds: {f: }\nports: [{name: p, device: none, groups: [{group: '239.1.1.1:70000', feed: "
        "f}]}]\n",
        "is not an address and port");
    refuse("feeds: {f: }\nports: [{name: p, device: none, groups: [{group: '239.1.1.1:1', feed: f,"
           " source: 10.0.0.1}, {group: '239.1.1.1:1', feed: f, line: B, source: 10.0.0.2}]}]\n",
           "senders do not tell them apart");
    refuse("framings: {f: {header: 8, seq: {at: 0, width: 4}, stream_key: [{at: 0, width: 9, as: "
           "number}]}}\n",
           "at most 8");
    refuse("ports: [{name: p, device: x, membership: kernel}]\n", "membership: kernel needs");
    refuse("tables: {t: {columns: {sym: symbol, time: timestamp}}}\n", "every table starts time");
    refuse("tables: {t: {columns: {time: time, sym: symbol}}}\n", "every table starts time");
    refuse("tables: {t: }\n", "every table starts time");
    refuse("tables: {gap: {columns: {time: timestamp, sym: symbol}}}\n", "is built in");
    refuse("tables: {t: {columns: {time: timestamp, sym: symbol, x: flote}}}\n",
           "tables.t.columns.x: \"flote\" is not one of boolean, guid");
    refuse("tables: {t: {columns: {time: timestamp, sym: symbol, date: date}}}\n", "rename");
    refuse("tables: {t: {columns: {time: timestamp, sym: symbol}, key: [smy]}}\n",
           "there is no column smy; did you mean sym?");
    refuse("tables: {t: {columns: [time]}}\n", "type is missing");
    refuse("tables: {a.b: {columns: {time: timestamp, sym: symbol}}}\n", "rename it");
    refuse("framings: {cme: {header: 4, seq: {at: 0, width: 4}}}\n", "is built in");
    refuse("framings: {f: {header: 4}}\n", "seq: is missing");
    refuse("framings: {f: {seq: {at: 0, width: 4}}}\n", "header is missing");
    refuse("framings: {f: {header: 4, seq: {at: 2, width: 4}}}\n",
           "framings.f.seq: ends at byte 6, but the packet header has 4");
    refuse("framings: {f: {header: 4, seq: {at: 0, width: 9}}}\n", "0 ... 8 is allowed");
    refuse("framings: {f: {header: 4, seq: {at: 0, width: 4, in: message}}}\n",
           "the message header");
    refuse("framings: {f: {header: 4, seq: {at: 0, width: 4}, heartbeat: [{at: 0, value: 300}]}}\n",
           "does not fit in 1 bytes");
    refuse("framings: {f: {header: 4, seq: {at: 0, width: 4}, heartbeat: [{at: 0, mask: 1, value: "
           "2}]}}\n",
           "can never hold");
    refuse("framings: {f: {header: 4, seq: {at: 0, width: 4}, heartbeat: [{at: 0}]}}\n",
           "framings.f.heartbeat[0]: value is missing");
    refuse("framings: {f: {header: 8, body: 4, seq: {at: 0, width: 4}}}\n",
           "lies within the header");
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/pst-config-XXXXXX", path[128];
    struct config *c;
    struct err e;
    assert_non_null(mkdtemp(dir));
    assert_false(config_load("/nonexistent/x.yaml", &c, &e));
    assert_non_null(strstr(e.text, "cannot read the configuration: No such file"));
    assert_false(config_load(dir, &c, &e));
    assert_non_null(strstr(e.text, "not a regular file"));
    snprintf(path, sizeof path, "%s/big.yaml", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), CONFIG_FILE_MAX + 1), 0);
    fclose(f);
    assert_false(config_load(path, &c, &e));
    assert_non_null(strstr(e.text, "at most"));
    unlink(path);
    /* Holidays from a file that lies beside the configuration. */
    char holidays[128];
    snprintf(holidays, sizeof holidays, "%s/days.txt", dir);
    f = fopen(holidays, "w");
    fputs("# NYSE\n2026-12-25  # Christmas\n\n  2026.01.01\r\n", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    f = fopen(path, "w");
    fputs("calendar: {holidays: [2026-07-03, days.txt]}\n", f);
    fclose(f);
    if (!config_load(path, &c, &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c->calendar.holidays.count, 3);
    assert_int_equal(c->calendar.holidays.at[2], civil_days(2026, 12, 25));
    config_free(c);
    f = fopen(holidays, "a");
    fputs("soon\n", f);
    fclose(f);
    assert_false(config_load(path, &c, &e));
    assert_non_null(strstr(e.text, "days.txt:5: \"soon\" is not a date"));
    unlink(holidays);
    assert_false(config_load(path, &c, &e));
    assert_non_null(strstr(e.text, "c.yaml:1: calendar.holidays: \"days.txt\" is neither"));
    unlink(path);
    rmdir(dir);
}

/* ---- load -------------------------------------------------------------------------------------
 */

#define LOAD                                                                                       \
    "database: /d\ntables: {t: {columns: {time: timestamp, sym: symbol, px: float}}}\n"            \
    "feeds: {f: {decoder: itch50}, g: {}}\nload: {"

static void test_load(void **state)
{
    (void)state;
    struct config *c = must_parse("instance: x\n"), *again;
    char *text = yaml_of(c); /* shown without it, or loading that would start a loader */
    assert_int_equal(c->load.file_line, 0);
    assert_null(strstr(text, "staging"));
    free(text);
    config_free(c);
    c = must_parse(LOAD "staging: [/in], batches: {b: {match: 'a_{i}of{M}', deadline: '07:00'},"
                        " e: {match: x, by: each}}, files: {k: {match: 'a_*', table: t,"
                        " separator: tab, map: {Price: px}, scale: {px: 0.01}, nulls: [NA],"
                        " times: {time: epoch_ms}, comment: '#'}, i: {match: '*', format: itch50,"
                        " feed: f}}}\n");
    assert_int_equal(c->load.batches.at[0].deadline, 7 * 3600);
    assert_true(c->load.batches.at[1].deadline == CONFIG_UNSET);
    assert_string_equal(c->load.files.at[0].map.at[0].column, "px");
    text = yaml_of(c);
    struct err e;
    if (!config_parse("again.yaml", text, strlen(text), &again, &e))
        fail_msg("%s\n%s", e.text, text);
    assert_int_equal(config_diff(c, again, NULL, 0), 0);
    free(text);
    config_free(again);
    config_free(c);
    refuse("load:\n", "load.staging is missing");
    refuse("load: {staging: [/in]}\n", "no database to load into");
    refuse(LOAD "staging: [in]}\n", "'in' is no absolute path");
    refuse(LOAD "staging: [/d/in]}\n", "lies in database");
    refuse(LOAD "staging: [/in, /in]}\n", "given twice");
    refuse(LOAD "staging: [/in, /in/]}\n", "given twice");
    refuse(LOAD "staging: [/usr, /usr/bin/..]}\n", "given twice");
    refuse(LOAD "staging: [/in], rejects_directory: /in}\n", "loaded again");
    refuse(LOAD "staging: [/in], finished: move, finished_directory: /in//}\n", "loaded again");
    refuse(LOAD "staging: [/usr], quarantine_directory: /usr/.}\n", "loaded again");
    refuse(LOAD "staging: [/in], batches: {b: {match: 'a_{i}.csv'}}}\n", "{i} without {M}");
    refuse(LOAD "staging: [/in], batches: {b: {match: 'a_of{M}.csv'}}}\n", "{M} without {i}");
    refuse(LOAD "staging: [/in], batches: {each: {match: x}}}\n", "choose another name");
    refuse(LOAD "staging: [/in], finished_directory: /o}\n", "without finished: move");
    refuse(LOAD "staging: [/in], worker: 3}\n", "did you mean workers?");
    refuse(LOAD "staging: [/in], workers: 1, large_worker: true}\n", "no worker for other");
    refuse(LOAD "staging: [/in], large_worker_memory: 1G}\n", "there is no large worker");
    refuse(LOAD "staging: [/in], limit_min: 1G}\n", "only with compounding");
    refuse(LOAD "staging: [/in], compounding: true, limit_min: 8G}\n", "more than file_size_limit");
    refuse(LOAD "staging: [/in], batches: {b: {match: 'x{n}', by: each}}}\n", "'{n}' is unknown");
    refuse(LOAD "staging: [/in], batches: {b: {match: x, by: each, suffix: .t}}}\n",
           "trigger or manifest");
    refuse(LOAD "staging: [/in], files: {k: {match: x}}}\n", "table is missing");
    refuse(LOAD "staging: [/in], files: {k: {match: a/b, table: t}}}\n", "has no /");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: tt}}}\n", "no table tt; declare");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, map: {p: py}}}}\n",
           "no column py; did you mean px?");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, columns: [px, px]}}}\n", "twice");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, scale: {px: 0}}}}\n",
           "'0' is no number");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, time_format: date}}}\n",
           "'date' is unknown");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, date: name}}}\n", "needs {date}");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, date: today}}}\n",
           "neither time, name");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, symbol: name}}}\n", "needs {sym}");
    refuse(LOAD "staging: [/in], files: {k: {match: x, format: pcap}}}\n", "feed is missing");
    refuse(LOAD "staging: [/in], files: {k: {match: x, format: pcap, feed: g}}}\n", "no decoder");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, post_read_function: f}}}\n",
           "/dir/file.so:NAME");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, format: plugin}}}\n",
           "go together");
    refuse(LOAD "staging: [/in], files: {k: {match: x, table: t, expansion: big}}}\n",
           "neither auto nor");
    refuse("tables: {pst_x: {columns: {time: timestamp, sym: symbol}}}\n", "are our own");
    refuse("views: {pst_v: select 1}\n", "are our own");
}

/* ---- framings ---------------------------------------------------------------------------------
 */

static void test_all_framings(void **state)
{
    (void)state;
    DIR *d = opendir(PST_SOURCE_ROOT "/tests/data/framings");
    assert_non_null(d);
    int seen = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        struct config *c;
        struct err err;
        if (!strstr(e->d_name, ".yaml")) {
            continue;
        }
        snprintf(path, sizeof path, "%s/tests/data/framings/%s", PST_SOURCE_ROOT, e->d_name);
        if (!config_load(path, &c, &err)) {
            fail_msg("%s", err.text);
        }
        assert_int_equal(c->framings.count, 1);
        assert_true(c->framings.at[0].seq.width >= 4);
        if (strcmp(c->framings.at[0].name, "nyse-xdp") == 0) {
            const struct config_framing *x = config_framing_named(c, "nyse-xdp");
            assert_int_equal(x->order, CONFIG_LE);
            assert_int_equal(x->header, 16);
            assert_int_equal(x->retransmitted.count, 2);
            assert_true(x->retransmitted.at[1].or_else && !x->retransmitted.at[0].or_else);
            assert_int_equal(x->send_time.fraction_at, 12);
            assert_int_equal(x->send_time.unit, CONFIG_S);
            assert_true(x->message.length.includes_self);
        }
        char *text = yaml_of(c); /* what it prints means the same */
        struct config *again;
        if (!config_parse("again.yaml", text, strlen(text), &again, &err)) {
            fail_msg("%s\n%s", err.text, text);
        }
        assert_int_equal(config_diff(c, again, NULL, 0), 0);
        free(text);
        config_free(again);
        config_free(c);
        seen++;
    }
    closedir(d);
    assert_int_equal(seen, 18);
}

/* ---- show and reload --------------------------------------------------------------------------
 */

static void test_show_json(void **state)
{
    (void)state;
    struct config *c = must_parse("instance: x1\nfeeds: {f: {window_time: 2ms}}\n");
    json_t *j = config_show_json(c);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "instance")), "x1");
    assert_int_equal(json_integer_value(json_object_get(j, "log_depth")), 8);
    json_t *feed = json_array_get(json_object_get(j, "feeds"), 0);
    assert_string_equal(json_string_value(json_object_get(feed, "window_time")), "2ms");
    assert_true(json_is_null(json_object_get(feed, "date")));
    json_decref(j);
    config_free(c);
}

static const struct config_change *change(const struct config_change *all, uint32_t n,
                                          const char *key)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(all[i].key, key) == 0) {
            return &all[i];
        }
    }
    fail_msg("no change of %s", key);
    return NULL;
}

static void test_diff(void **state)
{
    (void)state;
    struct config *a = must_parse("feeds: {f: {silence: 3s}, g: , h: }\nlog_depth: 4\n"
                                  "access: {admin: [x]}\ncalendar: {holidays: [2026-01-01]}\n"
                                  "ports: [{name: p, device: none, groups: ["
                                  "{group: '239.0.0.1:1', feed: f}]}]\n");
    struct config *b =
        must_parse("feeds: {h: , f: {silence: 4s}, i: }\nlog_depth: 5\n"
                   "access: {admin: [y]}\ncalendar: {holidays: [2026-01-02]}\n"
                   "ports: [{name: p, device: none, groups: ["
                   "{group: '239.0.0.1:2', feed: f}, {group: '239.0.0.1:3', feed: f}]}]\n");
    struct config_change out[32];
    assert_int_equal(config_diff(a, a, out, 32), 0);
    uint32_t n = config_diff(a, b, out, 32);
    assert_int_equal(n, 8);
    assert_false(change(out, n, "feeds.f.silence")->live);
    assert_false(change(out, n, "feeds.g")->live);
    assert_false(change(out, n, "feeds.i")->live);
    assert_false(change(out, n, "log_depth")->live);
    assert_true(change(out, n, "access.admin")->live);
    assert_false(change(out, n, "calendar.holidays")->live);
    assert_false(change(out, n, "ports.p.groups[0].group")->live);
    assert_false(change(out, n, "ports.p.groups[1]")->live);
    assert_int_equal(config_diff(a, b, out, 1), 8);
    config_free(a);
    config_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_has_its_sentence),
        cmocka_unit_test(test_every_key_in_help_and_example),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_every_range),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_short_forms),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ipc_doors),
        cmocka_unit_test(test_rtp_insert),
        cmocka_unit_test(test_errors_say_where_and_what),
        cmocka_unit_test(test_calendars),
        cmocka_unit_test(test_errors_between_keys),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_all_framings),
        cmocka_unit_test(test_show_json),
        cmocka_unit_test(test_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
