/* SPDX-License-Identifier: Apache-2.0 */
/* Rows for people and tools: every type and null, escapes, CSV quoting, JSON that jansson reads. */
#include <jansson.h>
#include <math.h>
#include "render.h"
#include "rows_kit.h"

enum { ITCH, S1, LINE_A, AAPL, ODD, TEXTS };
static const char *const texts[TEXTS] = {"itch", "S1", "A", "AAPL", "a,\"b\"\n\x01"};

static struct dictionary d;
static struct schema quote, note, undecoded;
static struct pk pk;
static uint8_t buf[FRAME_MAX] pst_aligned(64);

/* ---- single values ---- */

static void expect_shown(uint8_t type, uint64_t bits, const char *want)
{
    char out[RENDER_VALUE];
    uint8_t p[16] = {0};
    put64(p, bits);
    uint32_t n = render_value(type, p, out);
    if (strcmp(out, want) || n != strlen(want))
        fail_msg("%s %llx: \"%s\", want \"%s\"", type_name(type), (unsigned long long)bits, out,
                 want);
    assert_int_equal(render_is_null(type, p), !*want);
}
static uint64_t float_bits(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}
static uint64_t real_bits(float v)
{
    uint32_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}

static void values(void **state)
{
    (void)state;
    const uint64_t ns = 1000000000ull, day = 86400 * ns;
    expect_shown(PST_BOOLEAN, 1, "1");
    expect_shown(PST_BOOLEAN, 0, "0");
    expect_shown(PST_BYTE, 0x1f, "0x1f");
    expect_shown(PST_SHORT, (uint16_t)-5, "-5");
    expect_shown(PST_SHORT, 0x8000, "");
    expect_shown(PST_INT, (uint32_t)-2147483647, "-2147483647");
    expect_shown(PST_INT, 0x80000000, "");
    expect_shown(PST_LONG, INT64_MAX, "9223372036854775807");
    expect_shown(PST_LONG, 1ull << 63, "");
    expect_shown(PST_REAL, real_bits(0.1f), "0.1");
    expect_shown(PST_REAL, real_bits(INFINITY), "0w");
    expect_shown(PST_REAL, PST_NULL_REAL_BITS, "");
    expect_shown(PST_FLOAT, float_bits(0.1), "0.1");
    expect_shown(PST_FLOAT, float_bits(0.1 + 0.2), "0.30000000000000004");
    expect_shown(PST_FLOAT, float_bits(-INFINITY), "-0w");
    expect_shown(PST_FLOAT, float_bits(1e300), "1e+300");
    expect_shown(PST_FLOAT, PST_NULL_FLOAT_BITS, "");
    expect_shown(PST_CHAR, 'x', "x");
    expect_shown(PST_CHAR, ' ', "");
    expect_shown(PST_TIMESTAMP, (uint64_t)LK_DAY * day + 34200 * ns + 123456789,
                 "2026.11.23D09:30:00.123456789");
    expect_shown(PST_TIMESTAMP, 1ull << 63, "");
    expect_shown(PST_DATE, LK_DAY, "2026.11.23");
    expect_shown(PST_DATE, (uint32_t)-1, "1999.12.31");
    expect_shown(PST_DATE, 0x80000000, "");
    expect_shown(PST_MONTH, 26 * 12 + 10, "2026.11");
    expect_shown(PST_MONTH, (uint32_t)-1, "1999.12");
    expect_shown(PST_MONTH, 0x80000000, "");
    expect_shown(PST_TIMESPAN, 34200 * ns, "0D09:30:00.000000000");
    expect_shown(PST_TIMESPAN, 0 - (2 * day + 1), "-2D00:00:00.000000001");
    expect_shown(PST_TIMESPAN, 1ull << 63, "");
    expect_shown(PST_MINUTE, 570, "09:30");
    expect_shown(PST_SECOND, 34200, "09:30:00");
    expect_shown(PST_TIME, 34200001, "09:30:00.001");
    expect_shown(PST_TIME, (uint32_t)-1, "-00:00:00.001");
    expect_shown(PST_TIME, INT32_MAX, "596:31:23.647");
    expect_shown(PST_TIME, 0x80000000, "");
    expect_shown(PST_SYMBOL, PST_NULL_SYMBOL, "");
    char out[RENDER_VALUE];
    uint8_t guid[16];
    for (int i = 0; i < 16; i++)
        guid[i] = (uint8_t)(i + 1);
    render_value(PST_GUID, guid, out);
    assert_string_equal(out, "01020304-0506-0708-090a-0b0c0d0e0f10");
    memset(guid, 0, sizeof guid);
    assert_true(render_is_null(PST_GUID, guid));
}

/* What stands there reads back as the same bits. */
static void floats_read_back(void **state)
{
    (void)state;
    char out[RENDER_VALUE];
    uint64_t x = 88172645463325252ull;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        double v;
        float r;
        uint32_t low = (uint32_t)x;
        memcpy(&v, &x, sizeof v);
        memcpy(&r, &low, sizeof r);
        if (isfinite(v)) {
            render_value(PST_FLOAT, (uint8_t *)&x, out);
            assert_int_equal(float_bits(strtod(out, NULL)), x);
        }
        if (isfinite(r)) {
            render_value(PST_REAL, (uint8_t *)&low, out);
            assert_int_equal(real_bits(strtof(out, NULL)), low);
        }
    }
}

/* ---- rows ---- */

static void put_string(uint8_t *row, const struct schema *s, unsigned col, const char *text,
                       uint32_t len)
{
    memcpy(row + s->fixed, text, len);
    put32(row + s->col[col].offset, s->fixed);
    put32(row + s->col[col].offset + 4, len);
}
static const struct frame *made(void)
{
    return pk_make(&pk, buf, FRAME_DATA, 4096, LK_DAY);
}
static const struct frame *quotes(void)
{
    pk_run(&pk, ITCH, S1, LINE_A, 7, ROW_LATE | ROW_BAD_TIME);
    put64(pk_row(&pk, 3, AAPL, 1, quote.fixed) + quote.col[8].offset, float_bits(1.5));
    put64(pk_row(&pk, 3, PST_NULL_SYMBOL, 2, quote.fixed) + quote.col[8].offset,
          float_bits(INFINITY));
    put64(pk_row(&pk, 3, 999, INT64_MIN, quote.fixed) + quote.col[8].offset, PST_NULL_FLOAT_BITS);
    return made();
}
static const struct frame *note_of(uint32_t sym, const char *text, uint32_t len)
{
    put_string(pk_row(&pk, 4, sym, 1, (uint16_t)pst_align8(note.fixed + len)), &note, 2, text, len);
    return made();
}

static void json_rows(void **state)
{
    (void)state;
    struct render r;
    size_t len;
    render_init(&r, RENDER_JSON);
    assert_int_equal(render_frame(&r, &d, quotes(), NULL, PST_NULL_SYMBOL), 3);
    assert_int_equal(render_frame(&r, &d, quotes(), "note", PST_NULL_SYMBOL), 0);
    assert_int_equal(render_frame(&r, &d, quotes(), "quote", AAPL), 1);
    const char *at = render_take(&r, &len);
    for (int i = 0; i < 4; i++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        json_t *o = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o);
        assert_int_equal(json_object_size(o), 2u + quote.ncols);
        assert_string_equal(json_string_value(json_object_get(o, "table")), "quote");
        assert_int_equal(json_integer_value(json_object_get(o, "position")), 4096);
        assert_int_equal(json_integer_value(json_object_get(o, "seq")), 7 + i % 3);
        assert_int_equal(json_integer_value(json_object_get(o, "flags")), ROW_LATE | ROW_BAD_TIME);
        assert_string_equal(json_string_value(json_object_get(o, "feed")), "itch");
        json_t *price = json_object_get(o, "price"), *sym = json_object_get(o, "sym");
        if (i % 3 == 0) {
            assert_true(json_real_value(price) == 1.5);
            assert_string_equal(json_string_value(sym), "AAPL");
        } else {
            assert_true(json_is_null(sym)); /* null, and an id whose text is lost */
        }
        if (i == 1)
            assert_string_equal(json_string_value(price), "0w");
        if (i == 2)
            assert_true(json_is_null(price) && json_is_null(json_object_get(o, "time")));
        json_decref(o);
        at = end + 1;
    }
    assert_int_equal(*at, 0);
    render_free(&r);
}

/* Any bytes make valid JSON, and what is UTF-8 comes back as it was. */
static void json_texts(void **state)
{
    (void)state;
    static const char *const utf[] = {
        "", "plain", "\"q\\", "tab\there\n", "\xc3\xa9\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    struct render r;
    size_t len;
    render_init(&r, RENDER_JSON);
    for (unsigned i = 0; i < PST_COUNT(utf); i++) {
        render_frame(&r, &d, note_of(AAPL, utf[i], (uint32_t)strlen(utf[i])), NULL,
                     PST_NULL_SYMBOL);
        const char *out = render_take(&r, &len);
        json_t *o = json_loadb(out, len, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(o);
        assert_string_equal(json_string_value(json_object_get(o, "text")), utf[i]);
        json_decref(o);
    }
    char raw[256];
    for (int i = 0; i < 256; i++)
        raw[i] = (char)i;
    for (int table = 0; table < 2; table++) { /* every byte, as Latin-1 */
        if (table) {
            pk_run(&pk, ITCH, S1, LINE_A, 1, 0);
            put_string(pk_row(&pk, 5, AAPL, 1, (uint16_t)(undecoded.fixed + 256)), &undecoded, 10,
                       raw, 256);
        }
        render_frame(&r, &d, table ? made() : note_of(AAPL, raw, 256), NULL, PST_NULL_SYMBOL);
        const char *out = render_take(&r, &len);
        json_t *o = json_loadb(out, len, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(o);
        json_t *t = json_object_get(o, table ? "bytes" : "text");
        const uint8_t *p = (const uint8_t *)json_string_value(t);
        assert_non_null(p);
        for (unsigned i = 0; i < 256; i++) {
            unsigned c = *p++;
            if (c >= 0x80)
                c = (c & 0x1f) << 6 | (*p++ & 0x3f);
            assert_int_equal(c, i);
        }
        json_decref(o);
    }
    /* a string outside its record is null, nothing is read */
    uint8_t *row = pk_row(&pk, 4, AAPL, 1, note.fixed);
    put32(row + note.col[2].offset, 60000);
    put32(row + note.col[2].offset + 4, 60000);
    render_frame(&r, &d, made(), NULL, PST_NULL_SYMBOL);
    assert_non_null(strstr(render_take(&r, &len), "\"text\":null}"));
    render_free(&r);
}

static void csv(void **state)
{
    (void)state;
    struct render r;
    size_t len;
    render_init(&r, RENDER_CSV);
    render_frame(&r, &d, note_of(ODD, "plain", 5), NULL, PST_NULL_SYMBOL);
    render_frame(&r, &d, note_of(PST_NULL_SYMBOL, "a,\"b\"", 5), NULL, PST_NULL_SYMBOL);
    render_frame(&r, &d, note_of(PST_NULL_SYMBOL, "x\\\xff", 3), NULL, PST_NULL_SYMBOL);
    assert_string_equal(render_take(&r, &len),
                        "time,sym,text\n"
                        "2000.01.01D00:00:00.000000001,\"a,\"\"b\"\"\\x0a\\x01\",plain\n"
                        "2000.01.01D00:00:00.000000001,,\"a,\"\"b\"\"\"\n"
                        "2000.01.01D00:00:00.000000001,,x\\\\\\xff\n");
    r.header = false;
    render_frame(&r, &d, quotes(), NULL, AAPL);
    assert_string_equal(
        render_take(&r, &len),
        "2000.01.01D00:00:00.000000001,AAPL,2000.01.01D00:00:00.000001007,itch,S1,7,"
        "A,17,1.5\n");
    render_free(&r);
}

static void text(void **state)
{
    (void)state;
    struct render r;
    size_t len;
    render_init(&r, RENDER_TEXT);
    render_frame(&r, &d, quotes(), NULL, PST_NULL_SYMBOL);
    assert_int_equal(r.len == 0 || !strchr(r.out, '7'), 1); /* held back to be aligned */
    render_flush(&r);
    const char *out = render_take(&r, &len);
    assert_non_null(strstr(out, "quote\n"));
    assert_non_null(strstr(out, "late|bad_time"));
    assert_non_null(strstr(out, "0w"));
    /* what is right-aligned ends in the header's column */
    const char *header = strstr(out, "time "), *row = strchr(header, '\n') + 1;
    const char *seq = strstr(header, "seq") + 3;
    assert_int_equal(row[seq - header - 1], '7');
    render_free(&r);
}

static void marks(void **state)
{
    (void)state;
    struct render r;
    size_t len;
    frame_build_mark(buf, MARK_TICK, "{\"durable\":5}", 13);
    struct frame *f = (struct frame *)buf;
    f->position = 4096;
    render_init(&r, RENDER_JSON);
    assert_int_equal(render_frame(&r, &d, f, NULL, PST_NULL_SYMBOL), 1);
    assert_int_equal(render_frame(&r, &d, f, "quote", PST_NULL_SYMBOL), 0);
    json_t *o = json_loads(render_take(&r, &len), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "mark")), "tick");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "data"), "durable")), 5);
    json_decref(o);
    frame_build_mark(buf, MARK_END, "", 0);
    render_frame(&r, &d, f, NULL, PST_NULL_SYMBOL);
    o = json_loads(render_take(&r, &len), 0, NULL);
    assert_true(json_is_null(json_object_get(o, "data")));
    json_decref(o);
    render_free(&r);
    render_init(&r, RENDER_CSV);
    frame_build_mark(buf, MARK_EOD, "{}", 2);
    render_frame(&r, &d, f, NULL, PST_NULL_SYMBOL);
    assert_ptr_equal(strstr(render_take(&r, &len), "# mark eod "), r.out);
    render_free(&r);
}

static int set_up(void **state)
{
    (void)state;
    static const struct column_def price[] = {{"price", PST_FLOAT}};
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"text", PST_STRING}};
    if (!dictionary_init(&d, NULL) || !schema_make(&quote, 3, "quote", true, price, 1, NULL) ||
        !schema_make(&note, 4, "note", false, cols, 3, NULL) || !tables_undecoded(&undecoded, NULL))
        return -1;
    undecoded.id = 5;
    for (uint32_t i = 0; i < TEXTS; i++)
        dictionary_teach(&d, i, texts[i], (uint32_t)strlen(texts[i]));
    return schema_set_add(d.schemas, &quote, NULL) && schema_set_add(d.schemas, &note, NULL) &&
                   schema_set_add(d.schemas, &undecoded, NULL)
               ? 0
               : -1;
}
static int tear_down(void **state)
{
    (void)state;
    dictionary_free(&d);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),    cmocka_unit_test(floats_read_back),
        cmocka_unit_test(json_rows), cmocka_unit_test(json_texts),
        cmocka_unit_test(csv),       cmocka_unit_test(text),
        cmocka_unit_test(marks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
