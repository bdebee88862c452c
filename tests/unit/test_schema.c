/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: where columns lie, what is refused, JSON there and back, versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/record.h"
#include "core/tables.h"

static void test_layout(void **state)
{
    (void)state;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN},
        {"g", PST_GUID},         {"i", PST_INT},      {"s", PST_SYMBOL},
        {"f", PST_FLOAT},        {"h", PST_SHORT},    {"t", PST_STRING},
    };
    struct schema s;
    struct err e;
    assert_true(schema_make(&s, 7, "t", false, cols, PST_COUNT(cols), &e));
    static const uint16_t want[] = {8, 4, 58, 16, 48, 52, 32, 56, 40};
    for (unsigned i = 0; i < PST_COUNT(cols); i++)
        assert_int_equal(s.col[i].offset, want[i]);
    assert_int_equal(s.fixed, 64);
    assert_int_equal(s.nsyms, 1);
    assert_int_equal(s.sym_offset[0], 52);
    assert_int_equal(s.nstrings, 1);
    /* no two columns share a byte, whatever the order */
    uint8_t used[64] = {0};
    for (unsigned i = 0; i < s.ncols; i++)
        for (unsigned b = 0; b < type_width(s.col[i].type); b++)
            assert_int_equal(used[s.col[i].offset + b]++, 0);
}

static void test_feed_tables(void **state)
{
    (void)state;
    struct schema s;
    struct err e;
    assert_true(tables_undecoded(&s, &e));
    assert_int_equal(s.ncols, SCHEMA_FEED_COLUMNS + 3);
    assert_true(s.feed);
    assert_int_equal(s.col[schema_column(&s, "seq")].offset, offsetof(struct packet_record, seq));
    assert_true(s.col[schema_column(&s, "line")].packet);
    assert_false(s.col[schema_column(&s, "time")].packet);
    assert_int_equal(schema_column(&s, "nope"), -1);
    assert_int_equal(s.fixed, 16 + 8 + 4 + 4);
    assert_true(tables_gap(&s, &e));
    assert_string_equal(s.col[GAP_REASON].name, "reason");
    assert_string_equal(s.col[GAP_LINES].name, "lines");
    assert_true(tables_alarm(&s, &e));
}

static void test_refused(void **state)
{
    (void)state;
    struct schema s;
    struct err e;
    struct column_def c[SCHEMA_COLUMNS_MAX + 1] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    assert_true(schema_make(&s, 2, "t", false, c, 2, &e));
    assert_false(schema_make(&s, 2, "t", false, c, 1, &e));
    assert_false(schema_make(&s, 2, "", false, c, 2, &e));
    assert_false(schema_make(&s, 2, "a name that is far longer than any table name may be", false,
                             c, 2, &e));
    c[2] = (struct column_def){"sym", PST_INT};
    assert_false(schema_make(&s, 2, "t", false, c, 3, &e));
    assert_non_null(strstr(e.text, "twice"));
    c[2] = (struct column_def){"", PST_INT};
    assert_false(schema_make(&s, 2, "t", false, c, 3, &e));
    c[2] = (struct column_def){"x", 99};
    assert_false(schema_make(&s, 2, "t", false, c, 3, &e));
    c[0].type = PST_LONG;
    assert_false(schema_make(&s, 2, "t", false, c, 2, &e));
    c[0].type = PST_TIMESTAMP;
    static char names[SCHEMA_COLUMNS_MAX + 1][8];
    for (unsigned i = 2; i < PST_COUNT(c); i++) {
        snprintf(names[i], sizeof names[i], "c%u", i);
        c[i] = (struct column_def){names[i], PST_GUID};
    }
    assert_true(schema_make(&s, 2, "t", false, c, SCHEMA_COLUMNS_MAX, &e));
    assert_int_equal(s.fixed, 16 + 94 * 16);
    assert_false(schema_make(&s, 2, "t", false, c, SCHEMA_COLUMNS_MAX + 1, &e));
    for (unsigned i = 2; i < 2 + 33; i++)
        c[i].type = PST_SYMBOL;
    assert_true(schema_make(&s, 2, "t", false, c, 2 + 32, &e));
    assert_false(schema_make(&s, 2, "t", false, c, 2 + 33, &e));
}

static void test_json(void **state)
{
    (void)state;
    struct schema s, back;
    struct err e;
    assert_true(tables_undecoded(&s, &e));
    s.id = 9;
    s.keys[s.nkeys++] = 1;
    char *j = schema_to_json(&s);
    assert_true(schema_from_json(&back, j, strlen(j), &e));
    assert_true(schema_equal(&s, &back));
    assert_int_equal(back.id, 9);
    assert_int_equal(back.fixed, s.fixed);
    assert_int_equal(back.nkeys, 1);
    size_t n = strlen(j);
    for (size_t cut = 0; cut < n; cut++)
        assert_false(schema_from_json(&back, j, cut, &e));
    for (size_t at = 0; at < n; at++) { /* damage: an answer, never a crash */
        char keep = j[at];
        for (const char *c = "\"[]{},:0z\x80"; *c; c++) {
            j[at] = *c;
            schema_from_json(&back, j, n, &e);
        }
        j[at] = keep;
    }
    free(j);
    static const char *const bad[] = {
        "null",
        "[]",
        "{}",
        "{\"id\":1,\"table\":\"t\",\"feed\":true,\"columns\":[],\"keys\":[]}",
        "{\"id\":4096,\"table\":\"t\",\"feed\":true,\"columns\":[],\"keys\":[]}",
        "{\"id\":5,\"table\":\"t\",\"feed\":true,\"columns\":[[\"a\",\"what\"]],\"keys\":[]}",
        "{\"id\":5,\"table\":\"t\",\"feed\":true,\"columns\":[[\"a\"]],\"keys\":[]}",
        "{\"id\":5,\"table\":\"t\",\"feed\":true,\"columns\":[[\"a\",\"int\"]],\"keys\":[\"b\"]}",
        "{\"id\":5,\"table\":\"t\",\"feed\":false,\"columns\":[[\"a\",\"int\"]],\"keys\":[]}"};
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        assert_false(schema_from_json(&back, bad[i], strlen(bad[i]), &e));
}

static void test_versions(void **state)
{
    (void)state;
    struct schema_set *set = schema_set_new();
    struct schema s;
    struct err e;
    bool fresh;
    struct column_def c[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"x", PST_INT}};
    assert_true(schema_make(&s, 0, "t", false, c, 3, &e));
    const struct schema *a = schema_set_intern(set, &s, &fresh, &e);
    assert_true(fresh);
    assert_int_equal(a->id, TABLE_FIRST);
    assert_ptr_equal(schema_set_intern(set, &s, &fresh, &e), a);
    assert_false(fresh);
    c[2].type = PST_LONG;
    assert_true(schema_make(&s, 0, "t", false, c, 3, &e));
    const struct schema *b = schema_set_intern(set, &s, &fresh, &e);
    assert_true(fresh);
    assert_int_equal(b->id, TABLE_FIRST + 1);
    assert_ptr_equal(schema_set_find(set, "t"), b); /* the newest version */
    assert_ptr_equal(schema_set_get(set, a->id), a);
    assert_null(schema_set_get(set, TABLE_MAX));
    assert_null(schema_set_get(set, 0));
    assert_null(schema_set_find(set, "u"));
    s.id = a->id;
    assert_false(schema_set_add(set, &s, &e)); /* an id never names two versions */
    s.id = 1;
    assert_false(schema_set_add(set, &s, &e));
    schema_set_free(set);
}

static void test_types(void **state)
{
    (void)state;
    assert_int_equal(type_by_name("timestamp"), PST_TIMESTAMP);
    assert_int_equal(type_by_name("nope"), 0);
    assert_int_equal(type_width(PST_GUID), 16);
    assert_int_equal(type_width(3), 0);
    assert_int_equal(type_letter(PST_STRING), 'C');
    assert_string_equal(type_name(250), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),   cmocka_unit_test(test_feed_tables),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_json),
        cmocka_unit_test(test_versions), cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
