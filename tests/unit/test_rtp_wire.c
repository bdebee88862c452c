/* SPDX-License-Identifier: Apache-2.0 */
/* test_rtp_wire.c - messages of a penstock-rtp process: parts, READY, results, asks; hostile ones.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/rtp/rtp_wire.h"
#include "storage/kdb_object.h"

static struct err err;
static char body[WIRE_INLINE + 1];

static int take(struct rtp_whole *w, unsigned type, uint64_t id, struct rtp_part part, uint32_t n)
{
    struct wire_message m = {.body = body};
    m.head.type = (uint16_t)type;
    m.head.id = id;
    m.head.length = n + (uint32_t)sizeof part;
    memcpy(body, &part, sizeof part);
    for (uint32_t i = 0; i < n; i++)
        body[sizeof part + i] = (char)((part.at + i) * 7);
    return rtp_whole_take(w, &m, &err);
}

static void test_parts(void **state)
{
    (void)state;
    struct rtp_whole w = {0};
    const uint32_t total = 2 * RTP_PART_BYTES + 5, full = RTP_PART_BYTES;
    struct rtp_part part = {total, 0, 9, 0};
    assert_int_equal(take(&w, RTP_WIRE_LOG, 0, part, 3), 2); /* comes in no parts */
    assert_int_equal(take(&w, RTP_WIRE_UPDATE, 4, part, full), 0);
    part.at = full;
    assert_int_equal(take(&w, RTP_WIRE_UPDATE, 4, part, full), 0);
    part.at = 2 * full;
    assert_int_equal(take(&w, RTP_WIRE_UPDATE, 4, part, 5), 1);
    assert_int_equal(w.rows, 9);
    assert_int_equal(w.id, 4);
    for (uint32_t i = 0; i < total; i++)
        assert_int_equal(w.data[i], (uint8_t)(i * 7));
    part = (struct rtp_part){7, 0, 0, 0}; /* the next, in one packet */
    assert_int_equal(take(&w, RTP_WIRE_STATE, 5, part, 7), 1);
    assert_int_equal(w.total, 7);
    rtp_whole_free(&w);
}

static void refused(struct rtp_whole *w, unsigned type, uint64_t id, struct rtp_part part,
                    uint32_t n)
{
    err.text[0] = 0;
    assert_int_equal(take(w, type, id, part, n), -1);
    assert_true(*err.text && !w->data && !w->have);
}

static void test_parts_hostile(void **state)
{
    (void)state;
    const uint32_t full = RTP_PART_BYTES;
    struct rtp_whole w = {0};
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){10, 5, 0, 0}, 5);       /* no beginning */
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){0, 0, 0, 0}, 0);        /* nothing */
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){10, 0, 0, 1}, 10);      /* flags */
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){10, 0, 0, 0}, 11);      /* more than all */
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){100000, 0, 0, 0}, 100); /* crumbs */
    refused(&w, RTP_WIRE_UPDATE, 1, (struct rtp_part){RTP_RESULT_MAX + 1, 0, 0, 0}, full);
    refused(&w, RTP_WIRE_READY, 0, (struct rtp_part){RTP_READY_MAX + 1, 0, 0, 0}, full);
    for (int k = 0; k < 6; k++) { /* the second part is not the first one's */
        struct rtp_part part = {2 * full, 0, 3, 0};
        assert_int_equal(take(&w, RTP_WIRE_UPDATE, 1, part, full), 0);
        part.at = k == 0 ? full - 1 : full;
        part.total = k == 1 ? 3 * full : 2 * full;
        part.rows = k == 2 ? 4 : 3;
        refused(&w,
                k == 3   ? RTP_WIRE_STATE
                : k == 4 ? RTP_WIRE_LOG
                         : RTP_WIRE_UPDATE,
                k == 5 ? 2 : 1, part, full);
    }
    struct wire_message m = {.body = body};
    m.head.type = RTP_WIRE_UPDATE;
    m.head.length = 15;
    assert_int_equal(rtp_whole_take(&w, &m, &err), -1);
}

static void test_ready(void **state)
{
    (void)state;
    static const char good[] =
        "{\"plugins\":[],\"failed\":[],\"processors\":[{\"name\":\"o\",\"about\":\"\",\"tables\":[]"
        ",\"derived\":[{\"name\":\"trade\",\"columns\":[[\"time\",\"timestamp\"]]}]}],"
        "\"functions\":[],\"analytics\":[{\"name\":\".a.b\",\"about\":\"\",\"plugin\":\"p\","
        "\"per_user\":false,\"full\":true,\"columns\":[[\"sym\",\"symbol\"],[\"x\",\"float\"]],"
        "\"key\":[\"sym\"],\"tables\":null,\"parameters\":[{\"name\":\"syms\",\"type\":\"symbol\","
        "\"list\":true,\"default\":\"\",\"about\":\"which\"}]}]}";
    static const struct {
        const char *from, *to;
    } wrong[] = {{"\".a.b\"", "\"a b\""},
                 {"\".a.b\"", "\"9\""},
                 {"\".a.b\"", "\"a\\u0000b\""},
                 {"\"full\":true", "\"full\":1"},
                 {"\"float\"", "\"flaot\""},
                 {"\"x\"", "\"sym\""},
                 {"[\"sym\"],\"t", "[\"y\"],\"t"},
                 {"\"symbol\",\"list\"", "\"sy\",\"list\""},
                 {"\"failed\":[]", "\"failed\":{}"},
                 {"\"tables\":null", "\"tables\":[1]"},
                 {"\"functions\":[]", "\"functions\":[{\"name\":\"f\"}]"},
                 {"\"timestamp\"]", "\"timestamp\",1]"},
                 {"\"default\":\"\"", "\"default\":7"}};
    json_t *o = rtp_ready_check(good, strlen(good), &err);
    assert_non_null(o);
    json_decref(o);
    for (size_t i = 0; i < PST_COUNT(wrong); i++) {
        char text[2048];
        const char *at = strstr(good, wrong[i].from);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, wrong[i].to,
                 at + strlen(wrong[i].from));
        err.text[0] = 0;
        assert_null(rtp_ready_check(text, strlen(text), &err));
        assert_true(*err.text);
    }
    static const char sub[] = "{\"columns\":[[\"a\",\"long\"]],\"key\":[]}";
    o = rtp_subscribed_check(sub, strlen(sub), &err);
    assert_non_null(o);
    json_decref(o);
    assert_null(rtp_subscribed_check("[]", 2, &err));
}

static void test_result(void **state)
{
    (void)state;
    static const char *const names[] = {"sym", "cpu"}, *const syms[] = {"a", "b"};
    const double cpu[] = {1, 2};
    struct kdb_out o = {0};
    kdb_out_columns(&o, names, 2);
    kdb_out_symbols(&o, syms, 2);
    kdb_out_vector(&o, PST_FLOAT, 0, 2, cpu);
    assert_true(rtp_result_check(o.data, o.len, 2, &err));
    assert_false(rtp_result_check(o.data, o.len, 1, &err));
    assert_false(rtp_result_check(o.data, o.len - 1, 2, &err));
    kdb_out_bytes(&o, "", 1);
    assert_false(rtp_result_check(o.data, o.len, 2, &err));
    kdb_out_free(&o);
    kdb_out_long(&o, 5);
    assert_false(rtp_result_check(o.data, o.len, 1, &err));
    kdb_out_free(&o);
}

static void test_ask(void **state)
{
    (void)state;
    size_t n;
    struct rtp_asked a;
    uint8_t *p = rtp_ask_pack("last", "bob", "xyz", 3, &n);
    assert_non_null(p);
    assert_true(rtp_ask_view(p, n, &a));
    assert_string_equal(a.name, "last");
    assert_string_equal(a.user, "bob");
    assert_memory_equal(a.params, "xyz", 3);
    for (size_t k = 0; k < n; k++)
        assert_false(rtp_ask_view(p, k, &a));
    p[8] = 0; /* a NUL in the name */
    assert_false(rtp_ask_view(p, n, &a));
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts), cmocka_unit_test(test_parts_hostile),
        cmocka_unit_test(test_ready), cmocka_unit_test(test_result),
        cmocka_unit_test(test_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
