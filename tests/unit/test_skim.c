/* SPDX-License-Identifier: Apache-2.0 */
/* The small frames of a file, found without reading its rows: the same ones as by reading it all.
 */
#include "core/clock.h"
#include "facts.h"
#include "log_kit.h"
#include "logscan.h"

#define FIRST 0x4000000ull
#define PATH  "/l/log2026.11.23"

struct fact {
    uint64_t position;
    uint8_t kind;
};
struct seen {
    struct fact at[4096];
    uint32_t n;
    uint64_t tick; /* position of the last tick seen */
    uint32_t file;
    bool ordered;
};

static void take(struct seen *l, const struct frame *f)
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
static void read_all(struct seen *l, uint64_t below)
{
    struct logscan s;
    struct err e;
    const struct frame *f;
    enum logscan_verdict v;
    *l = (struct seen){.ordered = true};
    assert_true(logscan_open(&s, &mem->io, PATH, LK_INSTANCE, &e));
    while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
        if (v == LOGSCAN_FRAME && (f->kind == FRAME_FILE || f->position < below) &&
            (f->kind == FRAME_FILE || f->kind == FRAME_SYMBOL || f->kind == FRAME_MARK))
            take(l, f);
    logscan_close(&s);
}

static void same_known(uint64_t below, const struct facts *known)
{
    static struct seen want, got;
    read_all(&want, below);
    got = (struct seen){.ordered = true};
    logscan_skim(&mem->io, PATH, LK_INSTANCE, below, known, skimmed, &got, NULL);
    assert_true(got.ordered);
    assert_int_equal(got.n, want.n);
    for (uint32_t i = 0; i < want.n; i++) {
        assert_int_equal(got.at[i].position, want.at[i].position);
        assert_int_equal(got.at[i].kind, want.at[i].kind);
    }
    assert_int_equal(got.tick, want.tick);
    assert_true(got.file >= 2);
}

static void same(uint64_t below)
{
    same_known(below, NULL);
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
            struct seen l = {.ordered = true};
            uint64_t before = mem->bytes_read;
            logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, NULL, skimmed, &l, NULL);
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

#define NOTE "/s/" FACTS_NAME

/* The note of the file's frames from `from` on, as the durable journal's reader writes it. */
static void note(uint64_t from, uint64_t below)
{
    struct facts_writer w;
    struct logscan s;
    struct err e;
    const struct frame *f;
    int64_t now = 0;
    facts_open(&w, &mem->io, "/s");
    assert_true(logscan_open(&s, &mem->io, PATH, LK_INSTANCE, &e));
    while (logscan_step(&s, &f, UINT64_MAX) == LOGSCAN_FRAME)
        if (f->kind != FRAME_FILE && f->position >= from && f->position < below)
            facts_frame(&w, f, now += NS_PER_MS);
    logscan_close(&s);
    assert_false(w.off);
    facts_close(&w);
}

/* What the note says is what the file says, and next to nothing of the file is read. Whatever is
 * wrong with the note, the file's facts come out. */
static void known(void **state)
{
    (void)state;
    struct lk k;
    struct facts n;
    static struct seen l;
    build(&k, 5, true, 20, 60);
    lk_save(&k, mem, PATH);
    note(0, UINT64_MAX);
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE));
    same_known(UINT64_MAX, &n);
    same_known(k.position - 100000, &n);
    same_known(FIRST + (k.position - FIRST) / 3, &n);
    uint64_t before = mem->bytes_read;
    l = (struct seen){.ordered = true};
    logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, &n, skimmed, &l, NULL);
    uint64_t with = mem->bytes_read - before;
    before = mem->bytes_read;
    l = (struct seen){.ordered = true};
    logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, NULL, skimmed, &l, NULL);
    assert_true(mem->bytes_read - before > 64u << 20 && with < 40u << 20);
    facts_free(&n);

    struct mem_file *f = mem_find(&mem->io, NOTE);
    size_t size = f->size;
    assert_false(facts_load(&n, &mem->io, NOTE, LK_INSTANCE + 1));
    uint8_t *whole = malloc(size);
    assert_non_null(whole);
    memcpy(whole, f->data, size);
    uint32_t x = 7;
    for (unsigned i = 0; i < 40; i++) { /* torn, altered, a frame that is missing in the middle */
        size_t at = rnd(&x) % size;
        memcpy(f->data, whole, size);
        f->size = size;
        if (i % 4 == 0)
            f->size = at;
        else if (i % 4 == 1)
            f->data[at] ^= (uint8_t)(1 << i % 8);
        else if (i % 4 == 2)
            memset(f->data + at, 0, size - at < 4096 ? size - at : 4096);
        else
            for (size_t o = 0;;) {
                const struct frame *g = (const struct frame *)(f->data + o);
                if (o + g->length >= at) {
                    memmove(f->data + o, f->data + o + g->length, size - o - g->length);
                    f->size -= g->length;
                    break;
                }
                o += g->length;
            }
        if (facts_load(&n, &mem->io, NOTE, LK_INSTANCE)) {
            same_known(UINT64_MAX, &n);
            facts_free(&n);
        }
    }
    free(whole);

    note(0, FIRST + (k.position - FIRST) / 2); /* its last seconds were not synced */
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE));
    same_known(UINT64_MAX, &n);
    facts_free(&n);
    note(FIRST + (k.position - FIRST) / 2, UINT64_MAX); /* it began behind the file */
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE));
    same_known(UINT64_MAX, &n);
    facts_free(&n);
    note(0, UINT64_MAX); /* and the log lost its end */
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE));
    mem_find(&mem->io, PATH)->size /= 2;
    same_known(UINT64_MAX, &n);
    lk_free(&k);
    build(&k, 6, true, 20, 60); /* another log: its ticks count otherwise */
    lk_save(&k, mem, PATH);
    same_known(UINT64_MAX, &n);
    facts_free(&n);
    lk_free(&k);
    assert_false(facts_load(&n, &mem->io, "/s/none", LK_INSTANCE));
}

static int64_t full(struct io *io, int fd, const void *buf, size_t len, uint64_t at)
{
    (void)io, (void)fd, (void)buf, (void)len, (void)at;
    return -ENOSPC;
}

/* Once a second at most; anew behind an end of day once it is large; nothing behind an error. */
static void writes(void **state)
{
    (void)state;
    static uint64_t buf[1024];
    static char text[4000];
    struct frame *f = (struct frame *)buf;
    struct facts_writer w;
    struct facts n;
    facts_open(&w, &mem->io, "/s");
    snprintf(text, sizeof text, "{\"a\":\"%*s\"}", (int)sizeof text - 20, "");
    uint64_t position = FIRST, facts = 0, began = 0;
    int64_t now = NS_PER_S;
    unsigned writes = 0;
    for (unsigned i = 0; i < 900; i++) {
        char json[64];
        bool tick = i % 3 == 0;
        snprintf(json, sizeof json, "{\"durable\":1,\"facts\":%llu}", (unsigned long long)facts);
        const char *say = tick ? json : text;
        enum mark_type type = tick ? MARK_TICK : i == 700 ? MARK_EOD : MARK_OPERATOR;
        uint32_t len = frame_build_mark(f, type, say, strlen(say));
        f->position = position;
        frame_seal(f, frame_seed(LK_INSTANCE));
        position += len;
        facts += !tick;
        uint64_t was = w.at;
        facts_frame(&w, f, now += 50 * NS_PER_MS);
        writes += w.at != was;
        if (w.at < was) {
            assert_true(i > 700 && was > 256u << 10);
            began = f->position;
        }
    }
    assert_true(writes > 30 && writes < 50);
    assert_true(began != 0);
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE));
    assert_int_equal(n.first, began);
    facts_free(&n);
    const struct io_ops *ops = mem->io.ops;
    struct io_ops failing = *ops;
    failing.pwrite = full;
    mem->io.ops = &failing;
    for (unsigned i = 0; i < 2; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"durable\":1,\"facts\":%llu}",
                 (unsigned long long)facts + i);
        frame_build_mark(f, i ? MARK_TICK : MARK_OPERATOR, i ? json : "{}", i ? strlen(json) : 2);
        f->position = position += 8192;
        frame_seal(f, frame_seed(LK_INSTANCE));
        facts_frame(&w, f, now += NS_PER_S);
    }
    mem->io.ops = ops;
    assert_true(w.off);
    assert_int_equal(w.error, -ENOSPC);
    facts_close(&w);
    assert_true(facts_load(&n, &mem->io, NOTE, LK_INSTANCE)); /* what it had is good */
    facts_free(&n);
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
    logscan_skim(&mem->io, PATH, LK_INSTANCE, UINT64_MAX, NULL, stop_at_three, &n, NULL);
    assert_int_equal(n, 3);
    assert_int_equal(
        logscan_skim(&mem->io, "/l/none", LK_INSTANCE, 1, NULL, stop_at_three, &n, NULL), 0);
    lk_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bisected), cmocka_unit_test(hopped_and_damaged),
        cmocka_unit_test(stops),    cmocka_unit_test(known),
        cmocka_unit_test(writes),
    };
    return cmocka_run_group_tests(tests, lk_setup, lk_teardown);
}
