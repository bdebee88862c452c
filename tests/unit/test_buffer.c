/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of buffering events, written and read; the built-in mask `late`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/civil.h"
#include "core/event.h"
#include "core/record.h"
#include "dataplane/divert.h"
#include "functions.h"

#define T0 INT64_C(848401200000000000) /* 2026-11-19T11:00:00Z */

static bool read_text(struct event_mark *m, const char *text, uint64_t position)
{
    return event_json(m, text, (uint32_t)strlen(text), position);
}

static void marks(void **state)
{
    (void)state;
    struct divert_event e = {0};
    struct event_mark m;
    char text[512];
    static const char head[] =
        "{\"id\":-10,\"stream\":250,\"args\":{\"note\":\"a\\\",\\\"status\\\":"
        "\\\"limit\\\"\",\"status\":\"x\"}";
    uint32_t n = divert_mark(&e, head, sizeof head - 1, "started", text, sizeof text - 1);
    text[n] = 0;
    assert_true(read_text(&m, text, 777));
    assert_int_equal(m.id, -10);
    assert_int_equal(m.stream, 250);
    assert_int_equal(m.status, EVENT_STARTED);
    assert_int_equal(m.since, 777); /* it is the start mark itself */
    assert_int_equal(m.facts, sizeof head - 1);
    e.since = 555;
    n = divert_mark(&e, head, sizeof head - 1, "resumed", text, sizeof text - 1);
    text[n] = 0;
    assert_true(read_text(&m, text, 777));
    assert_int_equal(m.status, EVENT_RESUMED);
    assert_int_equal(m.since, 555);
    assert_int_equal(divert_mark(&e, head, sizeof head - 1, "resumed", text, n - 1), 0);
    static const char *const bad[] = {
        "",
        "{}",
        "{\"id\":",
        "{\"id\":1}",
        "{\"id\":1,\"stream\":254}",
        "{\"id\":1,\"stream\":0,\"status\":\"started\"}",
        "{\"id\":1,\"stream\":255,\"status\":\"started\"}",
        "{\"id\":x,\"stream\":254,\"status\":\"started\"}",
        "{\"id\":1,\"stream\":254,\"status\":\"odd\"}",
        "{\"id\":1,\"stream\":254,\"status\":\"started",
        "{\"id\":123456789012345678901,\"stream\":254,\"status\":\"started\"}",
    };
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        assert_false(read_text(&m, bad[i], 1));
}

/* ---- late ---- */

struct lot {
    struct record r[16];
    struct pst_row row[16];
    struct pst_batch b;
};
static const char *const syms[] = {"A", "AAPL", "M", "MSFT", "MZ", "N", "NVDA", "Z", "a", ""};
static const struct pst_table tables[2] = {{.name = "trade", .id = 7}, {.name = "quote", .id = 8}};

static struct pst_text text_of(const struct pst_batch *b, uint32_t id)
{
    (void)b;
    const char *t = id < PST_COUNT(syms) ? syms[id] : "";
    return (struct pst_text){t, (uint32_t)strlen(t)};
}

static uint64_t ask(const char *args, struct lot *l)
{
    struct function f;
    struct err err = {0};
    struct pst_argument list[8] = {{"started", "2026.11.19D12:00:00.000000000"}};
    struct pst_arguments all = {1, list};
    char copy[300], why[200], *rest = copy;
    void *mask = NULL;
    uint64_t bits = 0;
    snprintf(copy, sizeof copy, "%s", args);
    for (char *a; (a = strtok_r(rest, ";", &rest));) {
        char *eq = strchr(a, '=');
        *eq = 0;
        list[all.n++] = (struct pst_argument){a, eq + 1};
    }
    assert_true(function_load(&f, PST_FUNCTION_BUFFER, "late", &err));
    if (f.f->buffer.prepare(&function_host, &all, &mask, why, sizeof why)) {
        assert_true(*why);
        return UINT64_MAX;
    }
    f.f->buffer.mask(mask, &l->b, &bits);
    f.f->buffer.release(mask);
    function_unload(&f);
    return bits;
}

static void late(void **state)
{
    (void)state;
    struct lot l = {.b = {.rows = 10, .symbol = text_of}};
    l.b.row = l.row;
    /* 0-9: symbol i; even ones at 10:59:59.999999999, odd ones at 11:00; 8 has no time */
    for (uint32_t i = 0; i < 10; i++) {
        l.r[i] = (struct record){.sym = i == 9 ? PST_NULL_SYMBOL : i,
                                 .time = i == 8 ? PST_NULL_LONG : T0 - !(i % 2)};
        l.row[i] =
            (struct pst_row){.record = (const uint8_t *)&l.r[i], .table = &tables[i % 4 / 2]};
    }
    assert_int_equal(ask("cutoff=2026-11-19T11:00:00Z", &l), 0x55);
    assert_int_equal(ask("cutoff=2026.11.19D11:00:00.000000001", &l), 0x2FF);
    assert_int_equal(ask("cutoff=2026-11-19T10:59:59Z", &l), 0);
    assert_int_equal(ask("age=1h", &l), 0x55); /* before the event's start */
    assert_int_equal(ask("age=59m;from=me", &l), 0x2FF);
    assert_int_equal(ask("age=7200s", &l), 0);
    assert_int_equal(ask("age=59m;tables=trade", &l), 0x233);
    assert_int_equal(ask("age=59m;tables=trade|quote", &l), 0x2FF);
    assert_int_equal(ask("age=59m;tables=trades", &l), 0);
    assert_int_equal(ask("age=59m;syms=A..M", &l), 0x1F); /* A, AAPL, M, MSFT, MZ */
    assert_int_equal(ask("age=59m;syms=N..Z", &l), 0xE0);
    assert_int_equal(ask("age=59m;syms=A..MS", &l), 0x0F);
    assert_int_equal(ask("age=59m;syms=MSFT,Z", &l), 0x88);
    assert_int_equal(ask("age=59m;syms=A..M;tables=trade", &l), 0x13);
    for (unsigned i = 0; i < 9; i++) {
        static const char *const bad[] = {"",
                                          "cutoff=11:00",
                                          "age=1",
                                          "age=-1h",
                                          "age=1y",
                                          "age=99999999999999d",
                                          "age=1h;syms=",
                                          "age=1h;syms=..M",
                                          "age=1h;cutoff=2026-11-19T11:00:00Z"};
        assert_true(ask(bad[i], &l) == UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks), cmocka_unit_test(late)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
