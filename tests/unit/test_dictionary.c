/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader learns from symbol, schema and file frames, and what it does with lies. */
#include "dictionary.h"
#include "log_kit.h"

static struct dictionary d;
static uint8_t buf[FRAME_MAX] pst_aligned(64);

static void expect_text(uint32_t id, const char *want)
{
    uint32_t len = 99;
    const char *t = dictionary_peek(&d, id, &len);
    if (!want) {
        assert_null(t);
        assert_int_equal(len, 0);
        return;
    }
    assert_non_null(t);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(t, want, len);
}

static void symbols(void **state)
{
    (void)state;
    uint32_t len;
    frame_symbol_begin(buf, DICTIONARY_PAGE - 1); /* over a page's end */
    assert_true(frame_symbol_add(buf, "AAPL", 4));
    assert_true(frame_symbol_add(buf, "a text with spaces", 18));
    frame_symbol_end(buf);
    assert_true(dictionary_feed(&d, (struct frame *)buf));
    expect_text(DICTIONARY_PAGE - 2, NULL);
    expect_text(DICTIONARY_PAGE - 1, "AAPL");
    expect_text(DICTIONARY_PAGE, "a text with spaces");
    expect_text(DICTIONARY_PAGE + 1, NULL);
    expect_text(PST_NULL_SYMBOL, "");
    expect_text(PST_NULL_SYMBOL - 1, NULL);
    assert_int_equal(d.known, 2);
    assert_int_equal(d.next, DICTIONARY_PAGE + 1);
    assert_int_equal(dictionary_find(&d, "AAPL", 4), DICTIONARY_PAGE - 1);
    assert_int_equal(dictionary_find(&d, "AAP", 3), PST_NULL_SYMBOL);
    /* only dictionary_text counts what is missing; null is not missing */
    assert_int_equal(d.unresolved, 0);
    assert_non_null(dictionary_text(&d, PST_NULL_SYMBOL, &len));
    assert_null(dictionary_text(&d, 5, &len));
    assert_int_equal(d.unresolved, 1);
    /* taught twice: the same is nothing, another text is damage and the newer one stays */
    const char *old = dictionary_peek(&d, DICTIONARY_PAGE - 1, &len);
    assert_true(dictionary_feed(&d, (struct frame *)buf));
    assert_int_equal(d.conflicts, 0);
    assert_true(dictionary_teach(&d, DICTIONARY_PAGE - 1, "MSFT", 4));
    assert_int_equal(d.conflicts, 1);
    assert_int_equal(d.known, 2);
    expect_text(DICTIONARY_PAGE - 1, "MSFT");
    assert_memory_equal(old, "AAPL", 4); /* rows may keep the pointer */
    /* what no symbol can be */
    char text[300];
    memset(text, 'x', sizeof text);
    assert_false(dictionary_teach(&d, 0, "", 0));
    assert_false(dictionary_teach(&d, 0, text, 256));
    assert_true(dictionary_teach(&d, 0, text, 255));
    assert_false(dictionary_teach(&d, DICTIONARY_PAGE * DICTIONARY_PAGES, "x", 1));
    assert_true(dictionary_teach(&d, DICTIONARY_PAGE * DICTIONARY_PAGES - 1, "x", 1));
}

/* Many texts: chunks are filled and left; every one is still there. */
static void many(void **state)
{
    (void)state;
    char text[300];
    for (uint32_t i = 0; i < 20000; i++) {
        int n = snprintf(text, sizeof text, "%0*u", 1 + (int)(i % 255), i);
        assert_true(dictionary_teach(&d, i, text, (uint32_t)(n > 255 ? 255 : n)));
    }
    for (uint32_t i = 0; i < 20000; i++) {
        int n = snprintf(text, sizeof text, "%0*u", 1 + (int)(i % 255), i);
        text[n > 255 ? 255 : n] = 0;
        expect_text(i, text);
    }
    assert_int_equal(d.known, 20000);
}

static void malformed(void **state)
{
    (void)state;
    frame_symbol_begin(buf, 3);
    assert_true(frame_symbol_add(buf, "ONE", 3));
    assert_true(frame_symbol_add(buf, "TWO", 3));
    frame_symbol_end(buf);
    put32(buf + FRAME_HEADER + 4, 2000); /* more than there are; what could be read is kept */
    assert_false(dictionary_feed(&d, (struct frame *)buf));
    expect_text(3, "ONE");
    expect_text(4, "TWO");
    assert_int_equal(d.malformed, 1);
    struct frame *f = (struct frame *)buf;
    f->length = FRAME_HEADER;
    assert_false(dictionary_feed(&d, f));
    assert_int_equal(d.malformed, 2);
    /* a schema whose length lies, or that is none */
    frame_build_schema(buf, "{}", 2);
    assert_false(dictionary_feed(&d, f));
    put32(buf + FRAME_HEADER, 4000);
    assert_false(dictionary_feed(&d, f));
    f->kind = FRAME_FILE;
    put32(buf + FRAME_HEADER + 4, 4000);
    assert_false(dictionary_feed(&d, f));
    assert_int_equal(d.malformed, 5);
    /* other kinds are nobody's business here */
    f->kind = FRAME_DATA;
    assert_true(dictionary_feed(&d, f));
    assert_int_equal(d.malformed, 5);
}

static void schemas(void **state)
{
    (void)state;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}};
    struct schema a, b;
    assert_true(schema_make(&a, 9, "trade", false, cols, 3, NULL));
    assert_true(schema_make(&b, 9, "trade", false, cols, 2, NULL));
    char *ja = schema_to_json(&a), *jb = schema_to_json(&b);
    assert_null(dictionary_schema(&d, 9));
    frame_build_schema(buf, ja, strlen(ja));
    assert_true(dictionary_feed(&d, (struct frame *)buf));
    const struct schema *kept = dictionary_schema(&d, 9);
    assert_true(schema_equal(kept, &a));
    assert_true(dictionary_feed(&d, (struct frame *)buf));
    assert_ptr_equal(dictionary_schema(&d, 9), kept); /* rows may keep the pointer */
    /* an id names one version for ever */
    frame_build_schema(buf, jb, strlen(jb));
    assert_false(dictionary_feed(&d, (struct frame *)buf));
    assert_ptr_equal(dictionary_schema(&d, 9), kept);
    assert_null(dictionary_schema(&d, TABLE_MAX));
    assert_null(dictionary_schema(&d, 65535));
    free(ja);
    free(jb);
}

/* A file's head teaches the same as the journal's frames. */
static void file_head(void **state)
{
    (void)state;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    struct schema a;
    struct lk k;
    assert_true(schema_make(&a, 4, "t", false, cols, 2, NULL));
    char *json = schema_to_json(&a);
    frame_symbol_begin(buf, 0);
    assert_true(frame_symbol_add(buf, "ZERO", 4));
    assert_true(frame_symbol_add(buf, "ONE", 3));
    frame_symbol_end(buf);
    lk_start(&k, 4096, LK_DAY, 0);
    size_t at = k.len;
    lk_file_frame(&k, LOG_FILE_SCHEMA, json, (uint32_t)strlen(json));
    size_t symbols_at = k.len;
    lk_file_frame(&k, LOG_FILE_SYMBOLS, buf + FRAME_HEADER,
                  frame_payload_bytes((struct frame *)buf));
    assert_true(dictionary_feed(&d, (const struct frame *)k.data)); /* a header teaches nothing */
    assert_true(dictionary_feed(&d, (const struct frame *)(k.data + at)));
    assert_true(dictionary_feed(&d, (const struct frame *)(k.data + symbols_at)));
    assert_true(schema_equal(dictionary_schema(&d, 4), &a));
    expect_text(0, "ZERO");
    expect_text(1, "ONE");
    expect_text(2, NULL);
    assert_int_equal(d.malformed, 0);
    free(json);
    lk_free(&k);
}

static int set_up(void **state)
{
    (void)state;
    return dictionary_init(&d, NULL) ? 0 : -1;
}
static int tear_down(void **state)
{
    (void)state;
    dictionary_free(&d);
    return 0;
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(symbols), CASE(many), CASE(malformed), CASE(schemas), CASE(file_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
