/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: the logins that clients send, messages in pieces of every size, pipelined, compressed,
 * in both byte orders; limits; hostile bytes; memory that follows what came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include "core/sanitized.h"
#include "kdb/compress.h"
#include "kdb/session.h"
#include "kdb_golden.h"
#include "support/kdb_copy.h"

static const struct kdb_limits limits = {.message = 1 << 20};
static struct kdb_event e;

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0]; hex += 2) {
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
    }
    return n;
}

static void logged_in(struct kdb_session *s, const struct kdb_limits *l)
{
    kdb_session_start(s, KDB_SERVER, l);
    assert_true(kdb_session_feed(s, ":\3", 3));
    assert_int_equal(kdb_session_next(s, &e), KDB_EVENT_LOGIN);
}

/* ---- logins ---- */

static void login(const char *bytes, size_t n, const char *user, const char *password, int cap)
{
    struct kdb_session s;
    kdb_session_start(&s, KDB_SERVER, &limits);
    for (size_t i = 0; i < n; i++) { /* byte by byte */
        assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
        assert_true(kdb_session_feed(&s, bytes + i, 1));
    }
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_LOGIN);
    assert_string_equal(e.login.user, user);
    assert_string_equal(e.login.password, password);
    assert_int_equal(e.login.capability, cap);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    kdb_session_free(&s);
}

static void logins(void **state)
{
    (void)state;
    login(":\3", 3, "", "", 3);
    login("anonymous\3", 11, "anonymous", "", 3);      /* node-q */
    login("joe\3", 5, "joe", "", 3);                   /* javakdb: no colon */
    login("joe:secret\3", 12, "joe", "secret", 3);     /* everyone */
    login("joe:se:cr:et\3", 14, "joe", "se:cr:et", 3); /* colons in a password */
    login("joe:secret", 11, "joe", "secret", 0);       /* before 2.6, and qPython's second try */
    login("joe:secret\0", 11, "joe", "secret", 0);
    login("\6", 2, "", "", 6);
    login("", 1, "", "", 0);
    login("j\xc3\xb6:\xe4\xbd\xa0\1", 9, "j\xc3\xb6", "\xe4\xbd\xa0", 1);
    assert_int_equal(kdb_capability(6), 3);
    assert_int_equal(kdb_capability(3), 3);
    assert_int_equal(kdb_capability(0), 0);
}

static void login_limit(void **state)
{
    (void)state;
    struct kdb_session s;
    char bytes[KDB_LOGIN_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    kdb_session_start(&s, KDB_SERVER, &limits);
    kdb_session_feed(&s, bytes, KDB_LOGIN_MAX - 1);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    kdb_session_feed(&s, "", 1);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_LOGIN);
    assert_int_equal(strlen(e.login.user), KDB_LOGIN_MAX - 1);
    kdb_session_free(&s);
    kdb_session_start(&s, KDB_SERVER, &limits);
    kdb_session_feed(&s, bytes, KDB_LOGIN_MAX);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE);
    assert_string_equal(e.why, "a login without an end");
    kdb_session_feed(&s, "", 1);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE); /* for ever */
    kdb_session_free(&s);
}

/* A client and a server against each other. */
static void both_ends(void **state)
{
    (void)state;
    struct kdb_session server, client;
    struct kdb_out o = {0};
    uint8_t ack;
    kdb_session_start(&server, KDB_SERVER, &limits);
    kdb_session_start(&client, KDB_CLIENT, &limits);
    assert_true(kdb_login_write(&o, "joe", "a:b"));
    assert_int_equal(o.len, 9);
    kdb_session_feed(&server, o.data, o.len);
    assert_int_equal(kdb_session_next(&server, &e), KDB_EVENT_LOGIN);
    assert_string_equal(e.login.user, "joe");
    assert_string_equal(e.login.password, "a:b");
    ack = kdb_capability(e.login.capability);
    assert_int_equal(kdb_session_next(&client, &e), KDB_EVENT_MORE);
    kdb_session_feed(&client, &ack, 1);
    assert_int_equal(kdb_session_next(&client, &e), KDB_EVENT_ACCEPTED);
    assert_int_equal(e.capability, 3);
    o.len = 0;
    kdb_frame_begin(&o, KDB_RESPONSE);
    kdb_out_long(&o, 42);
    kdb_frame_end(&o, 0);
    kdb_session_feed(&client, o.data, o.len);
    assert_int_equal(kdb_session_next(&client, &e), KDB_EVENT_MESSAGE);
    assert_int_equal(e.message.kind, KDB_RESPONSE);
    assert_int_equal(kdb_object_long(&e.message.object, 0), 42);
    o.len = 0;
    char longest[KDB_LOGIN_MAX];
    memset(longest, 'p', sizeof longest);
    longest[KDB_LOGIN_MAX - 1] = 0;
    assert_false(kdb_login_write(&o, "", longest));
    longest[KDB_LOGIN_MAX - 3] = 0;
    assert_true(kdb_login_write(&o, "", longest));
    assert_int_equal(o.len, KDB_LOGIN_MAX);
    assert_false(kdb_login_write(&o, "a:b", ""));
    kdb_out_free(&o);
    kdb_session_free(&server);
    kdb_session_free(&client);
}

/* ---- messages ---- */

/* All golden frames behind each other: the same bytes come out whatever the pieces were. */
static void pieces(void **state)
{
    (void)state;
    static uint8_t all[65536];
    size_t len = 0, sizes[200], frames = 0;
    for (unsigned i = 0; i < PST_COUNT(goldens); i++)
        if (goldens[i].frame) {
            size_t n = from_hex(goldens[i].hex, all + len);
            if (all[len + 2])
                continue; /* the compressed one has its own test */
            sizes[frames++] = n;
            len += n;
        }
    assert_true(frames > 70);
    for (size_t piece = 1; piece < len + 50; piece += piece < 64 ? 1 : piece) {
        struct kdb_session s;
        struct kdb_out again = {0};
        size_t got = 0, at = 0;
        logged_in(&s, &limits);
        for (size_t from = 0; from < len; from += piece) {
            assert_true(kdb_session_feed(&s, all + from, len - from < piece ? len - from : piece));
            while (kdb_session_next(&s, &e) == KDB_EVENT_MESSAGE) {
                assert_int_equal(e.message.size, sizes[got]);
                assert_int_equal(e.message.wire, sizes[got]);
                assert_memory_equal(e.message.bytes, all + at, sizes[got]);
                again.len = 0;
                kdb_copy(&again, &e.message.object);
                assert_memory_equal(again.data, all + at + 8, sizes[got] - 8);
                at += sizes[got++];
            }
            assert_int_equal(e.kind, KDB_EVENT_MORE);
            assert_true(kdb_session_held(&s) <= 4096 + 2 * (2 * piece + 1024));
        }
        assert_int_equal(got, frames);
        assert_int_equal(kdb_session_wants(&s), 1);
        kdb_session_trim(&s);
        assert_int_equal(kdb_session_held(&s), 0);
        kdb_out_free(&again);
        kdb_session_free(&s);
    }
}

static void big_endian(void **state)
{
    (void)state;
    static uint8_t little[8192], big[8192];
    unsigned read = 0;
    for (unsigned i = 0; i < PST_COUNT(goldens); i++) {
        if (!goldens[i].frame)
            continue;
        size_t n = from_hex(goldens[i].hex, little);
        if (little[2])
            continue;
        struct kdb_session s;
        struct kdb_out again = {0};
        memcpy(big,
               (uint8_t[8]){0, little[1], 0, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
                            (uint8_t)(n >> 8), (uint8_t)n},
               8);
        assert_int_equal(kdb_to_big(little + 8, big + 8), n - 8);
        logged_in(&s, &limits);
        kdb_session_feed(&s, big, n);
        assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MESSAGE);
        kdb_copy(&again, &e.message.object);
        assert_int_equal(again.len, n - 8);
        assert_memory_equal(again.data, little + 8, n - 8);
        kdb_out_free(&again);
        kdb_session_free(&s);
        read++;
    }
    assert_true(read > 70);
}

static struct kdb_out sample(unsigned rows)
{
    struct kdb_out o = {0};
    size_t begun = kdb_frame_begin(&o, KDB_SYNC);
    size_t at = kdb_out_open(&o, PST_LONG, 0);
    for (unsigned i = 0; i < rows; i++) {
        int64_t v = i / 16;
        kdb_out_bytes(&o, &v, 8);
    }
    kdb_out_close(&o, at, rows);
    assert_true(kdb_frame_end(&o, begun));
    return o;
}

static void compressed(void **state)
{
    (void)state;
    struct kdb_out o = sample(50000);
    uint8_t *packed = malloc(kdb_compress_room(o.len));
    size_t n = kdb_compress(o.data, o.len, packed);
    struct kdb_session s;
    assert_true(n > 0);
    logged_in(&s, &limits);
    kdb_session_feed(&s, packed, n - 1);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    assert_int_equal(kdb_session_wants(&s), 1);
    assert_true(kdb_session_held(&s) <= 2 * n + 4096); /* nothing was made of it yet */
    kdb_session_feed(&s, packed + n - 1, 1);
    kdb_session_feed(&s, packed, n); /* and another behind it */
    for (unsigned k = 0; k < 2; k++) {
        assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MESSAGE);
        assert_true(e.message.compressed);
        assert_int_equal(e.message.wire, n);
        assert_int_equal(e.message.size, o.len);
        assert_int_equal(e.message.kind, KDB_SYNC);
        assert_memory_equal(e.message.bytes, o.data, o.len);
    }
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    assert_true(kdb_session_held(&s) <= 512 << 10);
    kdb_session_free(&s);
    /* the limit is one of the unpacked size */
    struct kdb_limits tight = {.message = o.len - 1};
    logged_in(&s, &tight);
    kdb_session_feed(&s, packed, n);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE);
    assert_string_equal(e.why, "a message that unpacks to more than the limit");
    assert_true(kdb_session_held(&s) <= 2 * n + 4096);
    kdb_session_free(&s);
    free(packed);
    kdb_out_free(&o);
}

/* A header that claims much takes no memory; the limit is told at once. */
static void claims(void **state)
{
    (void)state;
    struct kdb_session s;
    struct kdb_limits wide = {.message = KDB_BYTES_MAX};
    uint8_t head[8] = {1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f};
    logged_in(&s, &wide);
    kdb_session_feed(&s, head, 8);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    assert_int_equal(kdb_session_wants(&s), KDB_BYTES_MAX - 8);
    assert_true(kdb_session_held(&s) <= 4096);
    kdb_session_free(&s);
    logged_in(&s, &limits);
    put32(head + 4, (1 << 20) + 1);
    kdb_session_feed(&s, head, 8);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE);
    assert_string_equal(e.why, "a message larger than the limit");
    kdb_session_free(&s);
}

/* 100 MiB read straight into place: one piece, little beyond it, given back after. */
static void large(void **state)
{
    (void)state;
    struct kdb_session s;
    struct kdb_limits wide = {.message = KDB_BYTES_MAX};
    size_t total = 100u << 20, came = 0, room;
    uint8_t head[14] = {1, 0, 0, 0, 0, 0, 0, 0, PST_BYTE};
    put32(head + 4, (uint32_t)total);
    put32(head + 10, (uint32_t)(total - 14));
    logged_in(&s, &wide);
    while (came < total) {
        assert_true(came < 8 || kdb_session_wants(&s) == total - came);
        uint8_t *to = kdb_session_room(&s, 65536, &room);
        assert_non_null(to);
        assert_true(room >= 65536);
        size_t n = total - came < room ? total - came : room;
        if (n > 300000)
            n = 300000;
        memset(to, 7, n);
        if (!came)
            memcpy(to, head, sizeof head);
        kdb_session_took(&s, n);
        came += n;
        assert_true(kdb_session_held(&s) <= 2 * (came + 65536) + 4096);
        assert_int_equal(kdb_session_next(&s, &e),
                         came < total ? KDB_EVENT_MORE : KDB_EVENT_MESSAGE);
    }
    assert_int_equal(e.message.object.count, total - 14);
    assert_int_equal(kdb_object_long(&e.message.object, 99999999), 7);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
    assert_int_equal(kdb_session_held(&s), 0);
    kdb_session_free(&s);
}

/* The largest message there can be, and its largest vectors: byte for byte counted, none of it in
 * a type that is too narrow. The pages behind the head are never touched. */
static void largest(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        unsigned width;
    } types[] = {{PST_BYTE, 1}, {PST_SHORT, 2}, {PST_INT, 4}, {PST_LONG, 8}, {PST_GUID, 16}};
    struct kdb_limits wide = {.message = KDB_BYTES_MAX};
    for (unsigned i = 0; i < PST_COUNT(types); i++) {
        struct kdb_session s;
        size_t count = (KDB_BYTES_MAX - 14) / types[i].width, room;
        size_t total = 14 + count * types[i].width, came = 0;
        uint8_t head[14] = {1, 0, 0, 0, 0, 0, 0, 0, types[i].type};
        put32(head + 4, (uint32_t)total);
        put32(head + 10, (uint32_t)count);
        logged_in(&s, &wide);
        kdb_session_feed(&s, head, sizeof head);
        for (came = sizeof head; came < total; came += room) {
            assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
            assert_int_equal(kdb_session_wants(&s), total - came);
            assert_non_null(kdb_session_room(&s, kdb_session_wants(&s), &room));
            room = room < total - came ? room : total - came;
            room = room < 1u << 29 ? room : 1u << 29;
            kdb_session_took(&s, room);
        }
        assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MESSAGE);
        assert_int_equal(e.message.size, total);
        assert_int_equal(e.message.wire, total);
        assert_int_equal(e.message.object.count, count);
        assert_ptr_equal(kdb_object_end(&e.message.object), e.message.bytes + total);
        assert_int_equal(kdb_object_rows(&e.message.object), count);
        assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MORE);
        assert_int_equal(kdb_session_held(&s), 0);
        put32(head + 10, (uint32_t)count + 16); /* no object is that long */
        const char *why = NULL;
        size_t size = 0;
        assert_int_equal(kdb_object_check(head + 8, 6, KDB_LITTLE, &size, &why), KDB_BAD);
        kdb_session_free(&s);
    }
}

/* The same when it is written: a byte more than fits takes the message out again. */
static void largest_written(void **state)
{
    (void)state;
    if (PST_SANITIZED)
        skip();            /* their allocators touch what they give */
    mallopt(M_PERTURB, 0); /* the test runner's: it would fill them */
    for (unsigned more = 0; more < 2; more++) {
        struct kdb_out o = {0};
        kdb_out_long(&o, 1); /* of another message */
        size_t was = o.len, at = kdb_frame_begin(&o, KDB_RESPONSE);
        assert_non_null(kdb_out_room(&o, KDB_BYTES_MAX - 8 + more));
        assert_int_equal(kdb_frame_end(&o, at), !more);
        assert_int_equal(o.len, more ? was : was + KDB_BYTES_MAX);
        if (!more)
            assert_int_equal(le32(o.data + at + 4), KDB_BYTES_MAX);
        kdb_out_free(&o);
    }
}

/* ---- hostile ---- */

static void refused(const uint8_t *bytes, size_t n, const char *why)
{
    struct kdb_session s;
    logged_in(&s, &limits);
    assert_true(kdb_session_feed(&s, bytes, n));
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE);
    assert_string_equal(e.why, why);
    kdb_session_free(&s);
}

static void hostile(void **state)
{
    (void)state;
    refused((uint8_t[]){2, 0, 0, 0, 9, 0, 0, 0}, 8, "unknown byte order");
    refused((uint8_t[]){1, 3, 0, 0, 9, 0, 0, 0}, 8, "unknown kind of message");
    refused((uint8_t[]){1, 0, 2, 0, 9, 0, 0, 0}, 8, "unknown compression");
    refused((uint8_t[]){1, 0, 0, 1, 9, 0, 0, 0}, 8, "a message of 2 GiB or more");
    refused((uint8_t[]){1, 0, 0, 0, 0, 0, 0, 0x80}, 8, "a message of 2 GiB or more");
    refused((uint8_t[]){1, 0, 0, 0, 8, 0, 0, 0}, 8, "a message shorter than its header");
    refused((uint8_t[]){1, 0, 1, 0, 11, 0, 0, 0}, 8, "a message shorter than its header");
    refused((uint8_t[]){1, 0, 0, 0, 9, 0, 0, 0, 23}, 9, "an enumeration, which cannot be sent");
    refused((uint8_t[]){1, 0, 0, 0, 9, 0, 0, 0, 3}, 9, "unknown type");
    refused((uint8_t[]){1, 0, 0, 0, 10, 0, 0, 0, 0xf9, 1}, 10, "an object longer than its message");
    refused((uint8_t[]){1, 0, 0, 0, 11, 0, 0, 0, 0xff, 1, 1}, 11,
            "bytes behind a message's object");
    refused((uint8_t[]){1, 0, 1, 0, 12, 0, 0, 0, 99, 0, 0, 0}, 12,
            "an unpacked length that its bytes cannot make");
    refused((uint8_t[]){1, 0, 0, 0, 14, 0, 0, 0, 7, 0, 0xff, 0xff, 0xff, 0xff}, 14,
            "a negative count");
}

/* Exactly the limit passes, a byte more does not. */
static void exactly(void **state)
{
    (void)state;
    struct kdb_out o = sample(100);
    struct kdb_limits l = {.message = o.len};
    struct kdb_session s;
    logged_in(&s, &l);
    kdb_session_feed(&s, o.data, o.len);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_MESSAGE);
    kdb_session_free(&s);
    l.message--;
    logged_in(&s, &l);
    kdb_session_feed(&s, o.data, o.len);
    assert_int_equal(kdb_session_next(&s, &e), KDB_EVENT_HOSTILE);
    kdb_session_free(&s);
    kdb_out_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logins),     cmocka_unit_test(login_limit),
        cmocka_unit_test(both_ends),  cmocka_unit_test(pieces),
        cmocka_unit_test(big_endian), cmocka_unit_test(compressed),
        cmocka_unit_test(claims),     cmocka_unit_test(large),
        cmocka_unit_test(largest),    cmocka_unit_test(largest_written),
        cmocka_unit_test(hostile),    cmocka_unit_test(exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
