/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb+ serialization: every golden vector read to its value and written again byte for byte, in
 * both byte orders, cut at every length, with every byte altered; values written by hand; limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kdb_golden.h"
#include "support/guard.h"
#include "support/kdb_copy.h"

static uint8_t image[8192], big[8192];

static size_t hex_bytes(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0]; hex += 2) {
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
    }
    return n;
}

/* ---- values as text ---- */

static char shown[4096];
static size_t shown_len;

__attribute__((format(printf, 1, 2))) static void put(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    shown_len += (size_t)vsnprintf(shown + shown_len, sizeof shown - shown_len, fmt, ap);
    va_end(ap);
    assert_true(shown_len < sizeof shown);
}

static void value(const struct kdb_object *o, uint32_t i)
{
    int type = o->type < 0 ? -o->type : o->type;
    if (type == PST_REAL || type == PST_FLOAT || type == KDB_DATETIME) {
        put("%.17g", kdb_object_double(o, i));
    } else if (type == PST_GUID) {
        uint8_t g[16];
        kdb_object_copy(o, i, 1, g);
        for (unsigned k = 0; k < 16; k++)
            put("%02x", g[k]);
    } else {
        put("%lld", (long long)kdb_object_long(o, i));
    }
}

static void show(const struct kdb_object *o)
{
    static const char *const marks[] = {"", "`s#", "`u#", "`p#", "`g#"};
    struct kdb_items i;
    struct kdb_texts t;
    uint32_t len = 0;
    const char *text = kdb_object_text(o, &len);
    put("%s", marks[o->attribute]);
    if (kdb_object_null(o)) {
        put("::");
    } else if (o->type == KDB_ERROR) {
        put("'%s", text);
    } else if (o->type == -PST_SYMBOL) {
        put("`%s", text);
    } else if (o->type == PST_SYMBOL) {
        put("symbols(");
        for (bool more = kdb_texts(o, &t); more; more = kdb_texts_next(&t))
            put("`%.*s", (int)t.len, t.text);
        put(")");
    } else if (o->type == PST_CHAR) {
        put("\"%.*s\"", (int)len, text);
    } else if (o->type == -PST_CHAR) {
        put("'%c'", *text);
    } else if (o->type < 0 || (o->type > 0 && o->type < 20)) {
        put("%s%s", kdb_object_type_name(o->type), o->type < 0 ? " " : "(");
        for (uint32_t k = 0; k < o->count; k++) {
            put(k ? " " : "");
            value(o, k);
        }
        put(o->type < 0 ? "" : ")");
    } else if (o->type == KDB_LAMBDA) {
        struct kdb_object source;
        kdb_object_view(&source, o->data + strlen((const char *)o->data) + 1, o->order);
        put("lambda[%s]", (const char *)o->data);
        show(&source);
    } else if (o->type >= KDB_UNARY && o->type <= KDB_ITERATOR) {
        put("op%d:%d", o->type, o->data[0]);
    } else {
        bool dict = o->type == KDB_DICT || o->type == KDB_SORTED_DICT;
        if (o->type == KDB_LIST)
            put("(");
        else if (o->type == KDB_TABLE)
            put("flip(");
        else if (dict)
            put(o->type == KDB_DICT ? "{" : "sorted{");
        else
            put("f%d(", o->type);
        bool first = true;
        for (bool more = kdb_items(o, &i); more; more = kdb_items_next(&i)) {
            put(first ? "" : dict ? "!" : ";");
            show(&i.item);
            first = false;
        }
        put(dict ? "}" : ")");
    }
}

static const char *text_of(const uint8_t *p, size_t n, enum kdb_order order)
{
    size_t size;
    const char *why;
    struct kdb_object o;
    shown_len = 0;
    *shown = 0;
    if (kdb_object_check(p, n, order, &size, &why) != KDB_OK || size != n) {
        put("NO: %s", why);
        return shown;
    }
    kdb_object_view(&o, p, order);
    assert_ptr_equal(kdb_object_end(&o), p + n);
    show(&o);
    return shown;
}

static const char *const expected[] = {
#include "kdb_golden_values.h"
};

/* The body of golden g in `image`; 0: a compressed message. */
static size_t body(const struct golden *g)
{
    size_t n = hex_bytes(g->hex, image);
    if (g->frame) {
        struct kdb_frame f;
        const char *why;
        assert_int_equal(kdb_frame_read(&f, image, &why), KDB_OK);
        assert_int_equal(f.length, n);
        assert_int_equal(f.order, KDB_LITTLE);
        assert_int_equal(f.kind, image[1]);
        if (f.compressed)
            return 0;
        n -= KDB_FRAME;
        memmove(image, image + KDB_FRAME, n);
    }
    return n;
}

static void golden_values(void **state)
{
    (void)state;
    assert_int_equal(PST_COUNT(goldens), 108);
    const char *listing = getenv("PST_SHOW");
    assert_true(listing || PST_COUNT(expected) == 108);
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        size_t n = body(&goldens[i]);
        if (!n)
            assert_int_equal(goldens[i].number, 80);
        const char *text = n ? text_of(image, n, KDB_LITTLE) : "compressed";
        if (listing)
            printf("\"%s\", // %s\n", text, goldens[i].what);
        else if (strcmp(text, expected[i]))
            fail_msg("%d %s: %s, not %s", goldens[i].number, goldens[i].what, text, expected[i]);
    }
}

static void golden_again(void **state) /* through views and the writer, frames included */
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        const struct golden *g = &goldens[i];
        uint8_t whole[4096];
        size_t all = hex_bytes(g->hex, whole), n = body(g);
        if (!n)
            continue;
        struct kdb_object o;
        struct kdb_out out = {0};
        kdb_object_view(&o, image, KDB_LITTLE);
        size_t begun = g->frame ? kdb_frame_begin(&out, whole[1]) : 0;
        kdb_copy(&out, &o);
        assert_true(!g->frame || kdb_frame_end(&out, begun));
        assert_int_equal(out.len, all);
        assert_memory_equal(out.data, whole, all);
        kdb_out_free(&out);
    }
}

static void golden_big_endian(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        size_t n = body(&goldens[i]);
        if (!n)
            continue;
        assert_int_equal(kdb_to_big(image, big), n);
        const char *text = text_of(big, n, KDB_BIG);
        if (strcmp(text, expected[i]))
            fail_msg("%d %s: %s, not %s", goldens[i].number, goldens[i].what, text, expected[i]);
        struct kdb_object o;
        struct kdb_out out = {0};
        kdb_object_view(&o, big, KDB_BIG);
        kdb_copy(&out, &o); /* always written little endian */
        assert_int_equal(out.len, n);
        assert_memory_equal(out.data, image, n);
        kdb_out_free(&out);
    }
}

/* Every proper prefix is SHORT and wants no more than there is; nothing behind it is touched. */
static void cut_anywhere(void **state)
{
    (void)state;
    struct guard guard;
    guard_open(&guard, sizeof image);
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        size_t n = body(&goldens[i]), size;
        for (size_t cut = 0; cut < n; cut++) {
            const uint8_t *p = guard_copy(&guard, image, cut);
            assert_int_equal(kdb_object_check(p, cut, KDB_LITTLE, &size, NULL), KDB_SHORT);
            assert_true(size > cut && size <= n);
        }
    }
    guard_close(&guard);
}

static void refuse(const char *hex, enum kdb_verdict want, const char *words)
{
    size_t n = hex_bytes(hex, image), size;
    const char *why;
    assert_int_equal(kdb_object_check(image, n, KDB_LITTLE, &size, &why), want);
    if (strcmp(why, words))
        fail_msg("%s: %s, not %s", hex, why, words);
}

static void what_is_no_object(void **state)
{
    (void)state;
    refuse("03", KDB_BAD, "unknown type");
    refuse("fd", KDB_BAD, "unknown type");
    refuse("14007379", KDB_BAD, "an enumeration, which cannot be sent");
    refuse("4c", KDB_BAD, "an enumeration, which cannot be sent");
    refuse("57", KDB_BAD, "a mapped list, which cannot be sent");
    refuse("7000", KDB_BAD, "loaded code, which cannot be sent");
    refuse("71", KDB_BAD, "unknown type");
    refuse("7e", KDB_BAD, "unknown type");
    refuse("07050000000000000000000000000000", KDB_BAD, "unknown attribute");
    refuse("0700ffffffff", KDB_BAD, "a negative count");
    refuse("0700ffffff7f", KDB_BAD, "longer than 2 GiB");
    refuse("0000ffffff7f", KDB_BAD, "longer than 2 GiB");
    refuse("0000ffff0000fa01000000", KDB_SHORT, "the bytes run out");
    refuse("0b00ffffff7f6100", KDB_BAD, "longer than 2 GiB");
    refuse("0b00ffffff006100", KDB_SHORT, "the bytes run out");
    refuse("62000b", KDB_BAD, "a table without a dictionary");
    refuse("6206", KDB_BAD, "unknown attribute");
    refuse("64000b", KDB_BAD, "a lambda without a text");
    refuse("000001000000807479706500", KDB_BAD, "an error inside an object");
    refuse("68ffffffff", KDB_BAD, "a negative count");
    refuse("", KDB_SHORT, "the bytes run out");
}

static void depth(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 1000; n += n < 120 ? 17 : n < 140 ? 1 : 100) {
        struct kdb_out out = {0};
        for (unsigned i = 0; i < n; i++)
            kdb_out_list(&out, 1);
        kdb_out_null(&out);
        size_t size;
        const char *why;
        enum kdb_verdict v = kdb_object_check(out.data, out.len, KDB_LITTLE, &size, &why);
        assert_int_equal(v, n <= KDB_DEPTH ? KDB_OK : KDB_BAD);
        assert_string_equal(why, v ? "nested too deeply" : "");
        if (!v) {
            struct kdb_object o;
            kdb_object_view(&o, out.data, KDB_LITTLE);
            assert_ptr_equal(kdb_object_end(&o), out.data + out.len);
        }
        kdb_out_free(&out);
    }
}

/* What follows an object is not its own. */
static void length_is_exact(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        size_t n = body(&goldens[i]), size;
        if (!n)
            continue;
        for (unsigned tail = 0; tail < 256; tail += 5) {
            memset(image + n, (int)tail, 64);
            assert_int_equal(kdb_object_check(image, n + 64, KDB_LITTLE, &size, NULL), KDB_OK);
            assert_int_equal(size, n);
        }
    }
}

/* Golden vectors from their values, written by hand: the writer alone. */
static void same(struct kdb_out *o, int number)
{
    size_t n = hex_bytes(goldens[number - 1].hex, image), at = goldens[number - 1].frame ? 8 : 0;
    assert_false(o->failed);
    assert_int_equal(o->len, n - at);
    assert_memory_equal(o->data, image + at, n - at);
    o->len = 0;
}

static void written(void **state)
{
    (void)state;
    struct kdb_out o = {0};
    int32_t i1 = 1, two[] = {2}, three[] = {3};
    static const char *const ab[] = {"a", "b"}, *const names[] = {"a", "ab", "abc"};
    static const char *const cols[] = {"time", "sym", "price", "size", "side"};
    uint8_t guid[16] = {0x0a, 0x36, 0x90, 0x37, 0x75, 0xd3, 0xb2, 0x4d,
                        0x67, 0x21, 0x5a, 0x1d, 0x44, 0xd4, 0xbe, 0xd5};
    int64_t times[] = {34200000000000, 34200000000001}, sizes[] = {100, PST_NULL_LONG};
    uint64_t null_float = PST_NULL_FLOAT_BITS,
             prices[2] = {0x4059100000000000ull, 0x7FF8000000000000ull};
    uint32_t null_real = PST_NULL_REAL_BITS;
    kdb_out_atom(&o, PST_INT, &i1);
    same(&o, 1);
    kdb_out_vector(&o, PST_INT, 0, 1, &i1);
    same(&o, 2);
    kdb_out_columns(&o, ab, 2);
    kdb_out_vector(&o, PST_INT, 0, 1, two);
    kdb_out_vector(&o, PST_INT, 0, 1, three);
    same(&o, 8);
    kdb_out_table(&o, 1);
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, ab, 2);
    kdb_out_list(&o, 2);
    kdb_out_vector(&o, PST_INT, 3, 1, two);
    kdb_out_vector(&o, PST_INT, 0, 1, three);
    same(&o, 9);
    kdb_out_dict(&o, true);
    kdb_out_table(&o, 1);
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, ab, 1);
    kdb_out_list(&o, 1);
    kdb_out_vector(&o, PST_INT, 0, 1, two);
    kdb_out_columns(&o, ab + 1, 1);
    kdb_out_vector(&o, PST_INT, 0, 1, three);
    same(&o, 11);
    kdb_out_lambda(&o, "", "{x+y}");
    same(&o, 12);
    kdb_out_lambda(&o, "d", "{x+y}");
    same(&o, 13);
    kdb_out_atom(&o, PST_GUID, guid);
    same(&o, 15);
    kdb_out_long(&o, PST_NULL_LONG);
    same(&o, 26);
    kdb_out_atom(&o, PST_REAL, &null_real);
    same(&o, 30);
    kdb_out_atom(&o, PST_FLOAT, &null_float);
    same(&o, 34);
    kdb_out_symbol(&o, "", 0);
    same(&o, 40);
    kdb_out_list(&o, 0);
    same(&o, 52);
    kdb_out_list(&o, 3);
    for (int i = 0; i < 3; i++)
        kdb_out_null(&o);
    same(&o, 54);
    kdb_out_symbols(&o, names, 3);
    same(&o, 62);
    kdb_out_error(&o, "type");
    same(&o, 81);
    kdb_out_chars(&o, "", 0);
    same(&o, 86);
    kdb_out_chars(&o, "Hello, world!", 13);
    same(&o, 99);
    /* 107: an update, its columns appended before their length is known */
    kdb_out_list(&o, 3);
    kdb_out_symbol(&o, "upd", 3);
    kdb_out_symbol(&o, "trade", 5);
    kdb_out_columns(&o, cols, 5);
    kdb_out_vector(&o, PST_TIMESPAN, 0, 2, times);
    size_t at = kdb_out_open(&o, PST_SYMBOL, 0);
    kdb_out_bytes(&o, "AAPL\0MSFT", 10);
    kdb_out_close(&o, at, 2);
    kdb_out_vector(&o, PST_FLOAT, 0, 2, prices);
    at = kdb_out_open(&o, PST_LONG, 0);
    kdb_out_bytes(&o, sizes, sizeof sizes);
    kdb_out_close(&o, at, 2);
    kdb_out_chars(&o, "BS", 2);
    same(&o, 107);
    kdb_out_free(&o);
}

static void frames(void **state)
{
    (void)state;
    struct kdb_frame f;
    const char *why;
    static const struct {
        const char *hex, *why;
    } bad[] = {{"0200000009000000", "unknown byte order"},
               {"0103000009000000", "unknown kind of message"},
               {"0100020009000000", "unknown compression"},
               {"0100000008000000", "a message shorter than its header"},
               {"010001000b000000", "a message shorter than its header"},
               {"0100000000000080", "a message of 2 GiB or more"},
               {"0100000109000000", "a message of 2 GiB or more"}};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        hex_bytes(bad[i].hex, image);
        assert_int_equal(kdb_frame_read(&f, image, &why), KDB_BAD);
        assert_string_equal(why, bad[i].why);
    }
    hex_bytes("0001000000000011", image);
    assert_int_equal(kdb_frame_read(&f, image, &why), KDB_OK);
    assert_int_equal(f.order, KDB_BIG);
    assert_int_equal(f.kind, KDB_SYNC);
    assert_int_equal(f.length, 17);
}

static bool named(void *arg, uint32_t i, const char *name, uint32_t len, const struct kdb_object *c)
{
    char *out = arg;
    sprintf(out + strlen(out), "%u:%.*s:%s:%u ", i, (int)len, name, kdb_object_type_name(c->type),
            c->count);
    return true;
}

static void tables(void **state)
{
    (void)state;
    struct kdb_object o;
    struct kdb_table t;
    struct err err = {0};
    char out[300] = "";
    body(&goldens[98 - 1]);
    kdb_object_view(&o, image, KDB_LITTLE);
    assert_true(kdb_table_view(&t, &o, &err));
    assert_true(kdb_table_each(&t, named, out));
    assert_string_equal(out, "0:name:symbol:3 1:iq:long:3 2:fullname:list:3 ");
    assert_int_equal(t.rows, 3);
    *out = 0;
    body(&goldens[10 - 1]);
    kdb_object_view(&o, image, KDB_LITTLE);
    assert_true(kdb_table_view(&t, &o, &err));
    assert_true(kdb_table_each(&t, named, out));
    assert_string_equal(out, "0:a:int:1 1:b:int:1 ");
    assert_int_equal(t.nkeys, 1);
    body(&goldens[5 - 1]);
    kdb_object_view(&o, image, KDB_LITTLE);
    assert_false(kdb_table_view(&t, &o, &err));
    assert_string_equal(err.text, "a dictionary that is no keyed table");
    static const struct {
        const char *hex, *why;
    } bad[] = {
        {"6200630b00010000006100000002000000fa01000000fa01000000",
         "a table names 1 columns and has list of 2"},
        {"6200630b00010000006100000001000000fa01000000", "a table's column a is a int"},
        {"6200630b00020000006100620000000200000006000100000001000000060000000000",
         "a table's column b has 0 rows, the first has 1"},
        {"62006306000100000001000000000001000000060000000000",
         "a table's column names are int, no symbols"},
        {"6200630b0000000000000000000000", "a table names 0 columns and has list of 0"},
    };
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        size_t n = hex_bytes(bad[i].hex, image), size;
        assert_int_equal(kdb_object_check(image, n, KDB_LITTLE, &size, NULL), KDB_OK);
        assert_int_equal(size, n);
        kdb_object_view(&o, image, KDB_LITTLE);
        assert_false(kdb_table_view(&t, &o, &err));
        if (strcmp(err.text, bad[i].why))
            fail_msg("%s", err.text);
    }
}

static void dict_values(void **state)
{
    static const char *const keys[] = {"a", "", "bc"};
    struct kdb_out out = {0};
    struct kdb_object dict, v;
    (void)state;
    kdb_out_dict(&out, false);
    kdb_out_symbols(&out, keys, 3);
    kdb_out_list(&out, 3);
    kdb_out_long(&out, 7);
    kdb_out_null(&out);
    kdb_out_chars(&out, "text", 4);
    kdb_object_view(&dict, out.data, KDB_LITTLE);
    assert_true(kdb_dict_value(&dict, "a", &v));
    assert_int_equal(kdb_object_long(&v, 0), 7);
    assert_true(kdb_dict_value(&dict, "", &v));
    assert_true(kdb_object_null(&v));
    assert_true(kdb_dict_value(&dict, "bc", &v));
    assert_true(kdb_object_is(&v, "text"));
    assert_false(kdb_dict_value(&dict, "b", &v));
    assert_false(kdb_dict_value(&v, "bc", &v)); /* no dictionary */
    kdb_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values),
        cmocka_unit_test(golden_again),
        cmocka_unit_test(golden_big_endian),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(what_is_no_object),
        cmocka_unit_test(depth),
        cmocka_unit_test(length_is_exact),
        cmocka_unit_test(written),
        cmocka_unit_test(frames),
        cmocka_unit_test(tables),
        cmocka_unit_test(dict_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
