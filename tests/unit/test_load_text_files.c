/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_text_files.c - the tick files of the real captures through input and text reader: the
 * row counts of their manifest, and what a plain parser makes of the same lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "load_text_kit.h"
#include "support/data.h"

/* The file, unpacked; malloc'd, NUL behind it. */
static char *whole_file(const char *name, size_t *n)
{
    struct err err;
    struct load_input_config c = {.compression = LOAD_AUTO};
    struct load_input *in = load_input_open(data_path(name), &c, &err);
    if (!in)
        fail_msg("%s", err.text);
    char *text = NULL;
    const uint8_t *bytes;
    size_t got;
    bool last = false;
    *n = 0;
    while (!last) {
        if (!load_input_next(in, 0, &bytes, &got, &last, &err))
            fail_msg("%s", err.text);
        text = realloc(text, *n + got + 1);
        assert_non_null(text);
        memcpy(text + *n, bytes, got);
        *n += got;
    }
    load_input_close(in);
    text[*n] = 0;
    return text;
}

static void read_both(struct kit *k, const char *name, uint64_t rows, uint64_t bad, char **keep)
{
    size_t n;
    char *text = whole_file(name, &n), *first = NULL;
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
        if (!load_text_force(isa))
            continue;
        if (!kit_read(k, text, n, 0, 0, isa ? 100000 : 0, NULL))
            fail_msg("%s: %s", name, k->err.text);
        if (k->nrows != rows || k->nrejects != bad)
            fail_msg("%s: %llu rows, %llu bad\n%.500s", name, (unsigned long long)k->nrows,
                     (unsigned long long)k->nrejects, kit_rejects(k));
        if (first)
            assert_string_equal(kit_rows(k), first);
        else
            first = strdup(kit_rows(k));
    }
    free(first);
    if (keep)
        *keep = text;
    else
        free(text);
}

/* Milliseconds of New York's day, prices * 10000. */
static const struct column_def lean_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_INT},
    {"ex", PST_CHAR},        {"cond", PST_CHAR},  {"odd", PST_BOOLEAN}};
#define LEAN                                                                                       \
    ",\"header\":false,\"time\":\"day_ms\",\"zone\":\"America/New_York\","                         \
    "\"scale\":{\"price\":0.0001},\"constants\":{\"sym\":\"SPY\"},\"date\":\"%s\""

static void test_lean_trades(void **state)
{
    (void)state;
    DATA_OR_SKIP("LEAN trades");
    static const struct {
        const char *file, *date;
        uint64_t rows;
    } files[] = {{"ticks/lean_spy_20131007_trade.zip", "2013.10.07", 250918},
                 {"ticks/lean_spy_20131008_trade.zip", "2013.10.08", 453339},
                 {"ticks/lean_spy_20131009_trade.zip", "2013.10.09", 446784}};
    struct schema s;
    struct err err;
    assert_true(schema_make(&s, 7, "t", false, lean_cols, PST_COUNT(lean_cols), &err));
    for (unsigned i = 0; i < PST_COUNT(files); i++) {
        struct kit k;
        char members[400], *text;
        snprintf(members, sizeof members, LEAN, files[i].date);
        kit_open(&k, &s, members);
        k.show = i ? 1000 : 60000;
        read_both(&k, files[i].file, files[i].rows, 0, &text);
        /* New York was four hours behind on these days */
        int32_t day = 0;
        assert_true(civil_parse(files[i].date, &day));
        const char *row = kit_rows(&k);
        for (const char *p = text; *p && *row; p = strchr(p, '\n') + 1) {
            char *at, want[200], ex[4] = ".", cond[4] = ".";
            long long ms = strtoll(p, &at, 10);
            double price = strtod(at + 1, &at);
            long long size = strtoll(at + 1, &at, 10);
            if (*++at != ',')
                snprintf(ex, sizeof ex, "<%c>", *at++);
            if (*++at != ',')
                snprintf(cond, sizeof cond, "<%c>", *at++);
            int n = snprintf(want, sizeof want, "%d|%lld|<SPY>|%.17g|%lld|%s|%s|%c\n", day,
                             (long long)day * PST_DAY_NS + (ms + 4 * 3600000) * 1000000,
                             price / 10000, size, ex, cond, at[1]);
            if (memcmp(row, want, (size_t)n))
                fail_msg("%.*s, want %s", n, row, want);
            row += n;
        }
        free(text);
        kit_close(&k);
    }
}

static void test_lean_quotes(void **state)
{
    (void)state;
    DATA_OR_SKIP("LEAN quotes");
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"bid", PST_FLOAT}, {"ask", PST_FLOAT}};
    struct schema s;
    struct err err;
    struct kit k;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &err));
    kit_open(&k, &s, ",\"header\":false,\"constants\":{\"sym\":\"EURUSD\"}");
    k.show = 1;
    read_both(&k, "ticks/lean_eurusd_20140508_quote.zip", 165526, 0, NULL);
    const char *first = "5241|452822402009000000|<EURUSD>|1.3909899999999999|1.3911199999999999\n";
    assert_memory_equal(kit_rows(&k), first, strlen(first));
    kit_close(&k);
}

/* A receive time in ns, a blank, and a message as JSON. */
static void test_binance(void **state)
{
    (void)state;
    DATA_OR_SKIP("Binance messages");
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"message", PST_STRING}};
    static const struct {
        const char *file;
        uint64_t rows;
    } files[] = {{"ticks/binance_spot_btcusdt_20240808.gz", 41249},
                 {"ticks/binance_usdm_ethusdt_20240808.gz", 74655}};
    struct schema s;
    struct err err;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &err));
    for (unsigned i = 0; i < PST_COUNT(files); i++) {
        struct kit k;
        char *text;
        kit_open(&k, &s,
                 ",\"header\":false,\"separator\":\" \",\"quote\":\"\",\"rest\":true,"
                 "\"constants\":{\"sym\":\"X\"}");
        k.show = 1000;
        read_both(&k, files[i].file, files[i].rows, 0, &text);
        const char *p = text, *row = kit_rows(&k);
        char *end;
        for (unsigned r = 0; r < 1000; r++) { /* day|ns|<X>|<message> */
            long long ns = strtoll(p, &end, 10) - PST_EPOCH_OFFSET_S * PST_SECOND_NS;
            row = strchr(row, '|') + 1;
            assert_int_equal(strtoll(row, NULL, 10), ns);
            row = strchr(row, '>') + 3;
            size_t n = strcspn(++end, "\n");
            assert_memory_equal(row, end, n);
            row = strchr(row + n, '\n') + 1;
            p = end + n + 1;
        }
        free(text);
        kit_close(&k);
    }
}

/* "1618677817.061845: {json}"; a few lines say which address was connected to. */
static void test_cryptofeed(void **state)
{
    (void)state;
    DATA_OR_SKIP("cryptofeed messages");
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"message", PST_STRING}};
    static const struct {
        const char *file;
        uint64_t rows;
    } files[] = {{"ticks/cryptofeed_COINBASE.ws.28.0.gz", 9952},
                 {"ticks/cryptofeed_KRAKEN_FUTURES.ws.1.0.gz", 7179}};
    struct schema s;
    struct err err;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &err));
    for (unsigned i = 0; i < PST_COUNT(files); i++) {
        struct kit k;
        size_t n;
        uint64_t connects = 0, empty = 0;
        char *text = whole_file(files[i].file, &n);
        for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
            connects += !strncmp(p, "wss:", 4);
            empty += *p == '\n'; /* two stand at the end */
        }
        free(text);
        kit_open(&k, &s,
                 ",\"header\":false,\"separator\":\" \",\"quote\":\"\",\"rest\":true,"
                 "\"time\":\"%s.%f:\",\"constants\":{\"sym\":\"X\"}");
        assert_true(connects && connects < 100 && empty < 10);
        k.show = 1;
        read_both(&k, files[i].file, files[i].rows - connects - empty, connects, NULL);
        kit_close(&k);
    }
}

static void test_symbol_counts(void **state)
{
    (void)state;
    DATA_OR_SKIP("per-symbol counts");
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"trades", PST_LONG}, {"adds", PST_INT}};
    struct schema s;
    struct err err;
    struct kit k;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &err));
    kit_open(&k, &s,
             ",\"columns\":{\"symbol\":\"sym\",\"trades\":\"trades\",\"adds\":\"adds\",\"*\":\"-\"}"
             ",\"constants\":{\"time\":\"2019-12-30\"}");
    read_both(&k, "load_model/nasdaq_20191230_per_symbol_counts.csv", 8906, 0, NULL);
    long long trades = 0, adds = 0, t, a;
    char sym[20];
    for (const char *p = kit_rows(&k); *p; p = strchr(p, '\n') + 1) {
        assert_int_equal(sscanf(p, "%*d|%*d|<%19[^>]>|%lld|%lld", sym, &t, &a), 3);
        trades += t;
        adds += a;
    }
    assert_int_equal(trades, 7050670);
    assert_int_equal(adds, 140270523);
    kit_close(&k);
}

static void test_cross_trades(void **state)
{
    (void)state;
    DATA_OR_SKIP("cross trades");
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                             {"shares", PST_LONG},    {"price", PST_FLOAT},
                                             {"match", PST_LONG},     {"cross", PST_CHAR}};
    struct schema s;
    struct err err;
    struct kit k;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &err));
    kit_open(&k, &s,
             ",\"header\":false,\"time\":\"day_s\",\"zone\":\"America/New_York\",\"date\":"
             "\"2019.01.30\",\"columns\":[\"-\",\"-\",\"-\",\"time\",\"shares\",\"sym\",\"price\","
             "\"match\",\"cross\"]");
    read_both(&k, "load_model/nasdaq_20190130_cross_trades.csv.gz", 17430, 0, NULL);
    const char *want = "6969|602173800000564930|<FRI>|0|0|74991|<O>\n";
    assert_memory_equal(kit_rows(&k), want, strlen(want));
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lean_trades),   cmocka_unit_test(test_lean_quotes),
        cmocka_unit_test(test_binance),       cmocka_unit_test(test_cryptofeed),
        cmocka_unit_test(test_symbol_counts), cmocka_unit_test(test_cross_trades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
