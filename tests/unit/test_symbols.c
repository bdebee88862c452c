/* SPDX-License-Identifier: Apache-2.0 */
/* The symbol table: dense ids, limits, other processes' view, look-ups beside the appender. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
#include "core/symbols.h"

static uint32_t name_of(char *buf, unsigned i)
{
    return (uint32_t)sprintf(buf, "%c%u.%u", 'A' + (char)(i % 26), i, i * 7919 % 1000);
}

static void test_ids_are_dense_and_stable(void **state)
{
    (void)state;
    struct symbols s;
    struct err e;
    char t[64];
    uint32_t id, n;
    assert_true(symbols_create(&s, 20000, &e));
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t len = name_of(t, i);
        assert_int_equal(symbols_find(&s, t, len), PST_NULL_SYMBOL);
        assert_int_equal(symbols_intern(&s, t, len, &id), SYMBOLS_NEW);
        assert_int_equal(id, i);
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t len = name_of(t, i);
        assert_int_equal(symbols_intern(&s, t, len, &id), SYMBOLS_OLD);
        assert_int_equal(id, i);
        assert_int_equal(symbols_find(&s, t, len), i);
        assert_memory_equal(symbols_text(&s, i, &n), t, len);
        assert_int_equal(n, len);
    }
    assert_int_equal(symbols_intern(&s, "one more", 8, &id), SYMBOLS_FULL);
    assert_int_equal(id, PST_NULL_SYMBOL);
    assert_int_equal(symbols_count(&s), 20000);
    symbols_text(&s, 20000, &n);
    assert_int_equal(n, 0);
    symbols_text(&s, PST_NULL_SYMBOL, &n);
    assert_int_equal(n, 0);
    symbols_reset(&s);
    assert_int_equal(symbols_find(&s, t, 3), PST_NULL_SYMBOL);
    assert_int_equal(symbols_intern(&s, "again", 5, &id), SYMBOLS_NEW);
    assert_int_equal(id, 0);
    symbols_close(&s);
    symbols_close(&s);
}

static void test_texts(void **state)
{
    (void)state;
    struct symbols s;
    struct err e;
    uint32_t id, n;
    char t[300];
    memset(t, 'x', sizeof t);
    assert_true(symbols_create(&s, 16, &e));
    assert_int_equal(symbols_intern(&s, "", 0, &id), SYMBOLS_OLD);
    assert_int_equal(id, PST_NULL_SYMBOL);
    assert_int_equal(symbols_intern(&s, t, 255, &id), SYMBOLS_NEW);
    assert_int_equal(symbols_intern(&s, t, 256, &id), SYMBOLS_BAD_TEXT);
    assert_int_equal(symbols_find(&s, t, 256), PST_NULL_SYMBOL);
    assert_int_equal(symbols_intern(&s, "a\0b", 3, &id), SYMBOLS_BAD_TEXT);
    assert_int_equal(symbols_intern(&s, "\xff\x01 ", 3, &id), SYMBOLS_NEW);
    assert_memory_equal(symbols_text(&s, 1, &n), "\xff\x01 ", 3);
    assert_int_equal(symbols_intern(&s, t, 254, &id), SYMBOLS_NEW); /* a prefix is another text */
    /* the text area may end before the entries do: 16 * 24 + 4096 bytes */
    unsigned full = 0;
    for (unsigned i = 3; i < 16; i++) {
        t[0] = (char)('a' + i);
        full += symbols_intern(&s, t, 255, &id) == SYMBOLS_FULL;
    }
    assert_int_equal(full, 0);
    symbols_close(&s);
    assert_false(symbols_create(&s, 1, &e));
    assert_false(symbols_create(&s, 1u << 29, &e));
}

static void test_restore(void **state)
{
    (void)state;
    struct symbols s;
    struct err e;
    assert_true(symbols_create(&s, 16, &e));
    assert_true(symbols_restore(&s, 0, "a", 1));
    assert_true(symbols_restore(&s, 1, "b", 1));
    assert_true(symbols_restore(&s, 1, "b", 1)); /* repeated frames are harmless */
    assert_false(symbols_restore(&s, 3, "d", 1));
    symbols_close(&s);
}

static void test_attach(void **state)
{
    (void)state;
    struct symbols s, o;
    struct err e;
    uint32_t id, n;
    assert_true(symbols_create(&s, 100, &e));
    assert_true(symbols_seal(&s));
    assert_true(symbols_attach(&o, dup(s.fd), &e));
    assert_int_equal(symbols_intern(&s, "late", 4, &id), SYMBOLS_NEW);
    assert_int_equal(symbols_find(&o, "late", 4), 0);
    assert_memory_equal(symbols_text(&o, 0, &n), "late", 4);
    symbols_close(&o);
    int fd = dup(0);
    assert_false(symbols_attach(&o, fd, &e));
    close(fd);
    symbols_close(&s);
}

/* Look-ups beside the appender: what is found is right, whatever is missed. */
struct beside {
    struct symbols s;
    _Atomic bool done;
    uint64_t found, wrong;
};
#define BESIDE 60000u

static void *finder(void *arg)
{
    struct beside *b = arg;
    char t[64];
    uint64_t x = 7;
    while (!load_acquire(&b->done)) {
        x = x * 6364136223846793005ull + 1;
        unsigned i = (unsigned)(x >> 33) % BESIDE;
        uint32_t n, len = name_of(t, i), id = symbols_find(&b->s, t, len);
        bool was = symbols_count(&b->s) > i;
        if (id == PST_NULL_SYMBOL) {
            (void)was; /* may have been interned since */
            continue;
        }
        const char *text = symbols_text(&b->s, id, &n);
        b->found++;
        b->wrong += id != i || n != len || memcmp(text, t, n);
    }
    return NULL;
}

static void test_finding_beside_interning(void **state)
{
    (void)state;
    struct beside *b = calloc(1, sizeof *b);
    struct err e;
    assert_true(symbols_create(&b->s, BESIDE, &e));
    pthread_t t;
    pthread_create(&t, NULL, finder, b);
    char text[64];
    uint32_t id;
    for (unsigned i = 0; i < BESIDE; i++) {
        uint32_t len = name_of(text, i);
        assert_int_equal(symbols_intern(&b->s, text, len, &id), SYMBOLS_NEW);
    }
    store_release(&b->done, true);
    pthread_join(t, NULL);
    assert_int_equal(b->wrong, 0);
    symbols_close(&b->s);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_dense_and_stable),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_finding_beside_interning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
