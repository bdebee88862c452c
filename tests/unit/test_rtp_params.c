/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of streaming analytics: what means the same is the same bytes; sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "control/rtp/rtp_params.h"

static json_t *declared(void)
{
    return json_loads(
        "[{\"name\":\"table\",\"type\":\"symbol\",\"list\":false,\"default\":null,\"about\":\"\"},"
        "{\"name\":\"syms\",\"type\":\"symbol\",\"list\":true,\"default\":\"\",\"about\":\"\"},"
        "{\"name\":\"bar\",\"type\":\"timespan\",\"list\":false,\"default\":\"0D00:01\",\"about\":"
        "\"\"},"
        "{\"name\":\"limit\",\"type\":\"float\",\"list\":false,\"default\":\"0\",\"about\":\"\"},"
        "{\"name\":\"n\",\"type\":\"int\",\"list\":true,\"default\":\"1,2\",\"about\":\"\"},"
        "{\"name\":\"words\",\"type\":\"string\",\"list\":true,\"default\":\"\",\"about\":\"\"},"
        "{\"name\":\"on\",\"type\":\"boolean\",\"list\":false,\"default\":\"1\",\"about\":\"\"},"
        "{\"name\":\"from\",\"type\":\"timestamp\",\"list\":false,\"default\":\"\",\"about\":\"\"}"
        "]",
        0, NULL);
}

/* As a command line has it: "table=trade syms=A,B". */
static char *texts(const char *line, struct err *err)
{
    struct kdb_out o = {0};
    json_t *d = declared(), *given = json_object();
    char copy[500], *save, *word, out[600];
    snprintf(copy, sizeof copy, "%s", line);
    for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(word, '=');
        *eq = 0;
        json_object_set_new(given, word, json_string(eq + 1));
    }
    bool ok = rtp_params_texts("bars", d, given, &o, err);
    char *text = ok ? strdup(rtp_params_text(o.data, o.len, out, sizeof out)) : NULL;
    kdb_out_free(&o);
    json_decref(d);
    json_decref(given);
    return text;
}

static void from_texts(void **state)
{
    (void)state;
    struct err err;
    static const struct {
        const char *given, *is;
    } good[] = {
        {"table=trade", "table=trade syms= bar=0D00:01:00.000000000 limit=0 n=1,2 words= on=true "
                        "from="},
        {"on=false n=7 words=a\\,b,c from=2026.11.23D09:30 limit=1e3 bar=5s syms=A,B table=x",
         "table=x syms=A,B bar=0D00:00:05.000000000 limit=1000 n=7 words=a,b,c on=false "
         "from=2026.11.23D09:30:00.000000000"},
    };
    for (unsigned i = 0; i < PST_COUNT(good); i++) {
        char *text = texts(good[i].given, &err);
        if (!text)
            fail_msg("%s", err.text);
        assert_string_equal(text, good[i].is);
        free(text);
    }
    static const struct {
        const char *given, *says;
    } bad[] = {
        {"syms=A", "rank: bars: parameter table must be given, a symbol such as AAPL"},
        {"table=t bar=soon",
         "type: bars: parameter bar is a timespan such as 0D09:30:00 or 5 minutes, not soon"},
        {"table=t n=1,x", "type: bars: parameter n is a int list such as 42, not x"},
        {"table=t sym=A", "domain: bars has no parameter sym, perhaps syms; it has table symbol, "},
    };
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        char *text = texts(bad[i].given, &err);
        assert_null(text);
        if (strncmp(err.text, bad[i].says, strlen(bad[i].says) - 4) != 0)
            fail_msg("%s", err.text);
    }
}

static void head(struct kdb_out *o, const char *const *keys, uint32_t n)
{
    o->len = 0;
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, n);
    kdb_out_list(o, n);
}

static bool make(struct kdb_out *given, struct kdb_out *out, struct err *err)
{
    struct kdb_object o;
    json_t *d = declared();
    out->len = 0;
    kdb_object_view(&o, given->data, KDB_LITTLE);
    bool ok = rtp_params_make("bars", d, &o, 0, out, err);
    json_decref(d);
    return ok;
}

/* The same parameters in the ways that clients may say them. */
static void same_bytes(void **state)
{
    (void)state;
    struct kdb_out a = {0}, first = {0}, out = {0};
    struct err err = {0};
    const int64_t minute = 60 * 1000000000ll;
    head(&a, (const char *[]){"table", "bar", "n", "limit"}, 4);
    kdb_out_symbol(&a, "trade", 5);
    kdb_out_atom(&a, PST_TIMESPAN, &minute);
    kdb_out_vector(&a, PST_INT, 0, 2, (int32_t[]){1, 2});
    kdb_out_atom(&a, PST_FLOAT, (double[]){0.0});
    assert_true(make(&a, &first, &err));
    /* other order, types, a default left out */
    head(&a, (const char *[]){"limit", "n", "table"}, 3);
    kdb_out_long(&a, 0);
    kdb_out_vector(&a, PST_LONG, 0, 2, (int64_t[]){1, 2});
    kdb_out_chars(&a, "trade", 5);
    assert_true(make(&a, &out, &err));
    assert_true(out.len == first.len && !memcmp(out.data, first.data, out.len));
    /* a clock for a timespan, a general list, minus zero, ` for all, :: for not given */
    head(&a, (const char *[]){"bar", "n", "limit", "syms", "table", "from"}, 6);
    kdb_out_atom(&a, PST_SECOND, (int32_t[]){60});
    kdb_out_list(&a, 2);
    kdb_out_atom(&a, PST_SHORT, (int16_t[]){1});
    kdb_out_long(&a, 2);
    kdb_out_atom(&a, PST_FLOAT, (double[]){-0.0});
    kdb_out_symbol(&a, "", 0);
    kdb_out_symbols(&a, (const char *[]){"trade"}, 1);
    kdb_out_null(&a);
    assert_true(make(&a, &out, &err));
    assert_true(out.len == first.len && !memcmp(out.data, first.data, out.len));
    /* nothing, in whatever unit; but no other number without one */
    static const struct {
        int64_t bar;
        bool ok;
    } numbers[] = {{0, true}, {1, false}};
    for (unsigned i = 0; i < PST_COUNT(numbers); i++) {
        head(&a, (const char *[]){"table", "bar"}, 2);
        kdb_out_symbol(&a, "trade", 5);
        kdb_out_long(&a, numbers[i].bar);
        assert_int_equal(make(&a, &out, &err), numbers[i].ok);
    }
    char *zero = texts("table=trade bar=0", &err), *full = texts("table=trade bar=0D00:00", &err);
    assert_non_null(zero);
    assert_string_equal(zero, full);
    free(zero);
    free(full);
    /* collapsed: a dictionary of symbols only */
    a.len = 0;
    kdb_out_dict(&a, false);
    kdb_out_symbols(&a, (const char *[]){"syms", "table"}, 2);
    kdb_out_symbols(&a, (const char *[]){"", "trade"}, 2);
    assert_true(make(&a, &out, &err));
    assert_true(out.len == first.len && !memcmp(out.data, first.data, out.len));
    /* the order of a list's items is its own */
    head(&a, (const char *[]){"table", "n"}, 2);
    kdb_out_symbol(&a, "trade", 5);
    kdb_out_vector(&a, PST_INT, 0, 2, (int32_t[]){2, 1});
    assert_true(make(&a, &out, &err));
    assert_false(out.len == first.len && !memcmp(out.data, first.data, out.len));
    kdb_out_free(&a);
    kdb_out_free(&first);
    kdb_out_free(&out);
}

static void refused(void **state)
{
    (void)state;
    struct kdb_out a = {0}, out = {0};
    struct err err = {0};
    head(&a, (const char *[]){"table", "n"}, 2);
    kdb_out_symbol(&a, "trade", 5);
    kdb_out_long(&a, 1ll << 40);
    assert_false(make(&a, &out, &err));
    assert_string_equal(err.text,
                        "type: bars: parameter n is a int list such as 42, not 1099511627776");
    head(&a, (const char *[]){"table", "from"}, 2);
    kdb_out_symbol(&a, "trade", 5);
    kdb_out_atom(&a, PST_DATE, (int32_t[]){INT32_MAX});
    assert_false(make(&a, &out, &err)); /* 0Wd is no timestamp */
    head(&a, (const char *[]){"table", "table"}, 2);
    kdb_out_symbol(&a, "a", 1);
    kdb_out_symbol(&a, "b", 1);
    assert_false(make(&a, &out, &err));
    assert_string_equal(err.text, "domain: bars: parameter table is given twice");
    head(&a, (const char *[]){"table", "limit"}, 2);
    kdb_out_symbol(&a, "a", 1);
    kdb_out_vector(&a, PST_FLOAT, 0, 2, (double[]){1, 2});
    assert_false(make(&a, &out, &err));
    assert_string_equal(err.text, "type: bars: parameter limit is a float such as 1.5, not a float "
                                  "vector");
    a.len = 0;
    kdb_out_long(&a, 5);
    assert_false(make(&a, &out, &err));
    assert_true(strstr(err.text, "as a dictionary, e.g. `table`syms!(`trade;`A`B)") != NULL);
    kdb_out_free(&a);
    kdb_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_texts), cmocka_unit_test(same_bytes),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
