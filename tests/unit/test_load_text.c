/* SPDX-License-Identifier: Apache-2.0 */
/* test_load_text.c - delimited text: each rule, each border, both builds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "load_text_kit.h"

static const struct column_def trade_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT},
    {"size", PST_LONG},      {"ex", PST_CHAR},    {"cond", PST_STRING},
};
static struct schema trade;

static int setup(void **state)
{
    (void)state;
    struct err err;
    assert_true(schema_make(&trade, 7, "trade", false, trade_cols, PST_COUNT(trade_cols), &err));
    return 0;
}

static void expect(struct kit *k, const char *text, const char *rows, const char *rejects)
{
    for (enum text_isa isa = TEXT_PORTABLE; isa <= TEXT_AVX2; isa++) {
        if (!load_text_force(isa))
            continue;
        if (!kit_read(k, text, strlen(text), 0, 0, 0, NULL))
            fail_msg("%s", k->err.text);
        if (rows)
            assert_string_equal(kit_rows(k), rows);
        assert_string_equal(kit_rejects(k), rejects);
    }
}

static void test_trades(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, &trade, "");
    expect(&k,
           "time,sym,price,size,ex,cond\n"
           "2024-08-08T09:30:00.123456789,AAPL,191.25,100,Q,\"@ F\"\n"
           "2024-08-08T09:30:01.5,MSFT,402,1,N,\n"
           "2024-08-08T09:31:00,GOOGLEISLONG,0.1,-5,,\"a,\"\"b\"\"\"\r\n",
           "8986|776424600123456789|<AAPL>|191.25|100|<Q>|<@ F>\n"
           "8986|776424601500000000|<MSFT>|402|1|<N>|.\n"
           "8986|776424660000000000|<GOOGLEISLONG>|0.10000000000000001|-5|.|<a,\"b\">\n",
           "");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trades),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
