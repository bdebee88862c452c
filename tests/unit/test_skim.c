/* SPDX-License-Identifier: Apache-2.0 */
/* The small frames of a file, found without reading its rows: the same ones as by reading it all.
 */
#include "log_kit.h"
#include "logscan.h"

#define FIRST 0x4000000ull
#define PATH  "/l/log2026.11.23"


struct fact {
    uint64_t position;
    uint8_t kind;
};
struct facts {
    struct fact at[4096];
    uint32_t n;
    uint64_t tick; /* position of the last tick seen */
    uint32_t file;
    bool ordered;
};

static void take(struct facts *l, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    if (f->kind == FRAME_FILE) {
        l->file++;
        return;
    }
    if (f->kind == FRAME_MARK && frame_mark(f, &type, &len) && type == MARK_TICK) {
        l->tick = f->position;
        return;
    }
    assert_true(l->n < PST_COUNT(l->at));
    if (l->n && f->position <= l->at[l->n - 1].position)
        l->ordered = false;
    l->at[l->n++] = (struct fact){f->position, f->kind};
}

static bool skimmed(void *arg, const struct frame *f)
{
    assert_int_equal(frame_check(f, f->length, frame_seed(LK_INSTANCE)), FRAME_OK);
    take(arg, f);
    return true;
}

/* By reading everything. */
static void read_all(struct facts *l, uint64_t below)
{
    struct logscan s;
    struct err e;
    const struct frame *f;
    enum logscan_verdict v;
    *l = (struct facts){.ordered = true};
    assert_true(logscan_open(&s, &mem->io, PATH, LK_INSTANCE, &e));
    while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
        if (v == LOGSCAN_FRAME && (f->kind == FRAME_FILE || f->position < below) &&
            (f->kind == FRAME_FILE || f->kind == FRAME_SYMBOL || f->kind == FRAME_MARK))
            take(l, f);
    logscan_close(&s);
}

static void same(uint64_t below)
{
    static struct facts want, got;
    read_all(&want, below);
    got = (struct facts){.ordered = true};
    logscan_skim(&mem->io, PATH, LK_INSTANCE, below, skimmed, &got, NULL);
    assert_true(got.ordered);
    assert_int_equal(got.n, want.n);
    for (uint32_t i = 0; i < want.n; i++) {
        assert_int_equal(got.at[i].position, want.at[i].position);
        assert_int_equal(got.at[i].kind, want.at[i].kind);
    }
    assert_int_equal(got.tick, want.tick);
    assert_true(got.file >= 2);
}

static uint32_t rnd(uint32_t *x)
{
    return (*x = *x * 1664525 + 1013904223) >> 8;
}

/* 96 MiB: facts at the start, a few later, ticks every `every` frames of 4 to 60 KiB. */
static void build(struct lk *k, uint32_t seed, bool with_facts, uint32_t every, uint32_t later)
{
    static uint8_t payload[65536];
    uint32_t x = seed, id = 0;
    uint64_t facts = seed * 1000; /* a file may begin in the middle of an incarnation */
    lk_start(k, FIRST, LK_DAY, 0);
    uint64_t total = 96u << 20, next = total + 1, due = 0;
    for (uint64_t i = 0; k->len < total; i++) {
        char json[160];
        bool fact = i < 40 || (later && k->len >= next);
        if (i == 40)
            next = later ? total / (later + 1) : next;
        else if (fact && i > 40)
            next += total / (later + 1) + rnd(&x) % 1000000;
        if (fact) {
            char text[16];
            snprintf(text, sizeof text, "S%u", id);
            const char *texts[] = {text};
            if (rnd(&x) % 3)
                lk_symbol(k, id++, texts, 1);
            else
                lk_mark(k, MARK_STATE, "{\"feed\":\"f\",\"session\":\"s\"}");
            facts++;
        }
        if (i >= due && i > 20) {
            snprintf(json, sizeof json,
                     "{\"durable\":1,\"wall_minus_tsc\":-5,%s%.0llu%s\"next\":[]}",
                     with_facts ? "\"facts\":" : "", with_facts ? (unsigned long long)facts : 0,
                     with_facts ? "," : "");
            lk_mark(k, MARK_TICK, json);
            due = i + 1 + rnd(&x) % every;
        }
        lk_frame(k, FRAME_DATA, 0, 0, payload, 4096 + rnd(&x) % 57000 / 8 * 8);
    }
}

static void bisected(void **state)
{
    (void)state;
    struct lk k;
    static const uint32_t every[] = {20, 400, 2000}, later[] = {0, 1, 5};
    for (unsigned c = 0; c < 9; c++) {
        build(&k, c + 1, true, every[c % 3], later[c / 3]);
        lk_save(&k, mem, PATH);
        same(UINT64_MAX);
        same(k.position - 100000);
        same(FIRST + (k.position - FIRST) / 3);
        same(FIRST);
        if (c == 0 || c == 3) { /* it does not read what it need not */
            struct facts l = {.ordered = true};
            uint64_t before = mem->bytes_read;
            logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, skimmed, &l, NULL);
            assert_true(mem->bytes_read - before < 48u << 20);
        }
        lk_free(&k);
    }
}

/* Files of a writer without `facts`, and damaged ones: all the same frames. */
static void hopped_and_damaged(void **state)
{
    (void)state;
    struct lk k;
    build(&k, 77, false, 200, 4);
    lk_save(&k, mem, PATH);
    same(UINT64_MAX);
    same(k.position / 2);
    for (int with = 0; with < 2; with++) {
        lk_free(&k);
        build(&k, 78, with, 200, 4);
        lk_save(&k, mem, PATH);
        struct mem_file *f = mem_find(&mem->io, PATH);
        for (uint32_t i = 1; i < 12; i++)
            memset(f->data + f->size / 12 * i, 0xA5, 100);
        same(UINT64_MAX);
        memset(f->data + f->size / 2, 0, 1 << 20); /* a hole */
        same(UINT64_MAX);
        /* a small file, damaged right behind its head */
        f->size = 300000;
        memset(f->data + LOG_PREAMBLE + 200, 0x5A, 300);
        same(UINT64_MAX);
    }
    lk_free(&k);
}

static bool stop_at_three(void *arg, const struct frame *f)
{
    (void)f;
    return ++*(int *)arg < 3;
}

static void stops(void **state)
{
    (void)state;
    struct lk k;
    lk_start(&k, FIRST, LK_DAY, 0);
    for (int i = 0; i < 9; i++)
        lk_mark(&k, MARK_OPERATOR, "{}");
    lk_save(&k, mem, PATH);
    int n = 0;
    logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, stop_at_three, &n, NULL);
    assert_int_equal(n, 3);
    assert_int_equal(logscan_skim(&mem->io, "/l/none", LK_INSTANCE, 1, stop_at_three, &n, NULL), 0);
    lk_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bisected),
        cmocka_unit_test(hopped_and_damaged),
        cmocka_unit_test(stops),
    };
    return cmocka_run_group_tests(tests, lk_setup, lk_teardown);
}
