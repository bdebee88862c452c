/* SPDX-License-Identifier: Apache-2.0 */
/* Sources in the appender: rows are taken where their source stands and nowhere else. */
#include "journal_kit.h"
#include <jansson.h>

struct side {
    struct inject q;
    struct inject_rows w;
};

static void side_new(struct kit *k, struct side *s, bool sources)
{
    struct err e;
    assert_true(inject_create(&s->q, INJECT_MIN, &e));
    struct inject_options o = {.max_new_symbols = 100000, .symbols = 20000, .sources = sources};
    assert_true(appender_add_inject(&k->app, &s->q, 1, &o, &e));
    struct inject_rows_config c = {&s->q, &k->symbols, k->schemas, k->status,
                                   20000, UINT32_MAX,  KIT_DAY};
    assert_true(inject_rows_init(&s->w, &c, &e));
}
static void side_free(struct side *s)
{
    inject_rows_fini(&s->w);
    inject_destroy(&s->q);
}

/* n rows, of trade and - every `gaps`-th one - gap, that lead the source from a to b. */
static enum inject_refusal give(struct kit *k, struct side *s, const char *source,
                                struct source_point a, struct source_point b, uint32_t n,
                                uint32_t gaps)
{
    static pst_aligned(8) uint8_t rec[65536];
    uint32_t bytes = 0;
    inject_rows_flush(&s->w);
    struct derived_record d = {.table = TABLE_DERIVED,
                               .bytes = sizeof d,
                               .source = rows_symbol(&s->w.rows, source, (uint32_t)strlen(source)),
                               .after = a.position,
                               .after_row = a.row,
                               .position = b.position,
                               .row = b.row};
    for (uint32_t i = 0; i < n; i++) {
        const struct schema *t = gaps && i % gaps == gaps - 1 ? k->gap : k->trade;
        memset(rec + bytes, 0, t->fixed);
        *(struct record *)(rec + bytes) = (struct record){t->id, t->fixed, PST_NULL_SYMBOL, i};
        for (unsigned c = 0; c < t->nsyms; c++)
            put32(rec + bytes + t->sym_offset[c], PST_NULL_SYMBOL);
        for (unsigned c = 0; c < t->ncols; c++)
            if (t->col[c].type == PST_STRING)
                put32(rec + bytes + t->col[c].offset, t->fixed);
        bytes += t->fixed;
    }
    assert_true(inject_rows_block(&s->w, rec, bytes, n, KIT_DAY, &d));
    uint64_t ticket = s->w.ticket, position;
    while (appender_take(&k->app, 4))
        ;
    assert_true(inject_taken(&s->q, ticket, &position));
    return inject_verdict(&s->q, ticket);
}

static struct source_point at(uint64_t position, uint32_t row)
{
    return source_point(position, row);
}
static void stands(struct kit *k, const char *source, struct source_point want)
{
    struct source_progress p;
    sources_where(k->app.sources, symbols_find(&k->symbols, source, (uint32_t)strlen(source)), &p);
    assert_int_equal(p.at.position, want.position);
    assert_int_equal(p.at.row, want.row);
}

static void test_only_where_it_stands(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 1000);
    struct side s;
    side_new(k, &s, true);
    assert_int_equal(give(k, &s, "a", at(0, 0), at(10, 0), 3, 0), INJECT_ACCEPTED);
    const struct frame *f = kit_find(k, FRAME_DATA);
    assert_int_equal(f->count, 3);
    struct record_walk w;
    record_walk_start(&w, f);
    assert_non_null(w.derived);
    assert_int_equal(w.derived->position, 10);
    stands(k, "a", at(10, 0));
    stands(k, "b", at(0, 0));
    uint64_t tail = ring_tail(&k->ring);
    assert_int_equal(give(k, &s, "a", at(0, 0), at(10, 0), 3, 0), INJECT_NOT_NEXT);  /* again */
    assert_int_equal(give(k, &s, "a", at(11, 0), at(12, 0), 3, 0), INJECT_NOT_NEXT); /* beyond */
    assert_int_equal(give(k, &s, "a", at(10, 0), at(10, 0), 3, 0), INJECT_NOT_NEXT); /* stays */
    assert_int_equal(give(k, &s, "a", at(10, 0), at(9, 9), 3, 0), INJECT_NOT_NEXT);  /* back */
    assert_int_equal(give(k, &s, "a", at(10, 1), at(11, 0), 3, 0), INJECT_NOT_NEXT);
    assert_int_equal(give(k, &s, "a", at(10, 0), at(1ull << 63, 0), 3, 0), INJECT_MALFORMED);
    assert_true(ring_tail(&k->ring) == tail);
    assert_int_equal(give(k, &s, "b", at(0, 0), at(0, 2), 2, 0), INJECT_ACCEPTED);
    assert_int_equal(give(k, &s, "a", at(10, 0), at(11, 0), 0, 0), INJECT_ACCEPTED); /* no rows */
    assert_int_equal(give(k, &s, "a", at(11, 0), at(11, 5), 5, 0), INJECT_ACCEPTED);
    stands(k, "a", at(11, 5));
    stands(k, "b", at(0, 2));
    side_free(&s);
    kit_free(k);
}

static void test_not_for_everyone(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 1000);
    struct side s;
    side_new(k, &s, false);
    assert_int_equal(give(k, &s, "a", at(0, 0), at(10, 0), 3, 0), INJECT_MALFORMED);
    side_free(&s);
    kit_free(k);
}

/* A batch that becomes several frames: each says how far its own rows lead, and they join. */
static void test_frames_join(void **state)
{
    (void)state;
    static uint8_t stream_of[TABLE_MAX];
    struct kit *k = kit_new(1024, 1000);
    struct side s;
    side_new(k, &s, true);
    stream_of[k->trade->id] = 1;
    k->app.cfg.stream_of = stream_of;
    assert_int_equal(give(k, &s, "a", at(5, 2), at(9, 1), 20, 0), INJECT_NOT_NEXT);
    assert_int_equal(give(k, &s, "a", at(0, 0), at(5, 2), 1, 0), INJECT_ACCEPTED);
    assert_int_equal(give(k, &s, "a", at(5, 2), at(9, 1), 20, 5), INJECT_ACCEPTED);
    struct source_point here = at(0, 0);
    uint32_t frames = 0, rows = 0;
    const struct frame *f;
    while ((f = kit_find(k, FRAME_DATA))) {
        struct record_walk w;
        record_walk_start(&w, f);
        assert_non_null(w.derived);
        assert_int_equal(w.derived->after, here.position);
        assert_int_equal(w.derived->after_row, here.row);
        here = at(w.derived->position, w.derived->row);
        uint32_t n = 0;
        while (record_walk_next(&w))
            n++;
        assert_int_equal(n, f->count);
        rows += n;
        if (frames++ && here.position == 5) /* within the batch rows are counted */
            assert_int_equal(here.row, 2 + rows - 1);
    }
    assert_int_equal(frames, 1 + 8);
    assert_int_equal(rows, 21);
    assert_true(here.position == 9 && here.row == 1);
    side_free(&s);
    kit_free(k);
}

static void test_islands(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 1000);
    struct side s;
    side_new(k, &s, true);
    struct source_progress p = {
        .at = at(10, 0), .islands = 2, .island = {{at(20, 0), at(30, 5)}, {at(40, 1), at(50, 0)}}};
    sources_restore(k->app.sources, rows_symbol(&k->app.rows, "a", 1), &p);
    assert_int_equal(give(k, &s, "a", at(10, 0), at(25, 0), 1, 0), INJECT_NOT_NEXT);
    assert_int_equal(give(k, &s, "a", at(10, 0), at(15, 0), 1, 0), INJECT_ACCEPTED);
    stands(k, "a", at(15, 0));
    assert_int_equal(give(k, &s, "a", at(15, 0), at(20, 0), 1, 0), INJECT_ACCEPTED);
    stands(k, "a", at(30, 5));
    assert_int_equal(give(k, &s, "a", at(30, 5), at(40, 1), 1, 0), INJECT_ACCEPTED);
    stands(k, "a", at(50, 0));
    assert_int_equal(give(k, &s, "a", at(50, 0), at(1000, 0), 1, 0), INJECT_ACCEPTED);
    side_free(&s);
    kit_free(k);
}

/* What the last mark of that type says of sources; NULL = nothing. */
static json_t *said(struct kit *k, unsigned want)
{
    json_t *last = NULL;
    const struct frame *f;
    while ((f = kit_find(k, FRAME_MARK))) {
        unsigned type = 0;
        uint32_t len = 0;
        const char *text = frame_mark(f, &type, &len);
        json_t *o = json_loadb(text, len, 0, NULL), *list = json_object_get(o, "sources");
        assert_non_null(o);
        if (type == want && list) {
            if (!last)
                last = json_array();
            json_array_extend(last, list);
        }
        json_decref(o);
    }
    return last;
}

static void test_marks(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 1000);
    struct side s;
    side_new(k, &s, true);
    k->app.cfg.ticks = true;
    kit_at(k, KIT_DAY * NS_PER_DAY + NS_PER_S);
    appender_due(&k->app);
    assert_null(said(k, MARK_TICK)); /* without sources ticks do not speak of them */
    struct source_progress p = {.at = at(7, 1), .islands = 1, .island = {{at(20, 0), at(30, 5)}}};
    sources_restore(k->app.sources, rows_symbol(&k->app.rows, "old", 3), &p);
    assert_int_equal(give(k, &s, "new", at(0, 0), at(10, 3), 3, 0), INJECT_ACCEPTED);
    kit_at(k, KIT_DAY * NS_PER_DAY + 2 * NS_PER_S);
    appender_due(&k->app);
    json_t *l = said(k, MARK_TICK);
    assert_int_equal(json_array_size(l), 1); /* the one that moved */
    char *text = json_dumps(l, JSON_COMPACT);
    assert_string_equal(text, "[[\"new\",10,3]]");
    free(text);
    json_decref(l);
    appender_want_states(&k->app);
    appender_states(&k->app);
    l = said(k, MARK_STATE);
    text = json_dumps(l, JSON_COMPACT);
    assert_string_equal(text, "[[\"old\",7,1,[[20,0,30,5]]],[\"new\",10,3]]");
    free(text);
    json_decref(l);
    kit_at(k, KIT_DAY * NS_PER_DAY + 3 * NS_PER_S);
    appender_due(&k->app);
    assert_null(said(k, MARK_TICK)); /* full states were written, nothing moved since */
    side_free(&s);
    kit_free(k);
}

/* More sources than the table holds: those that moved last stay, and all of them are said. */
static void test_many(void **state)
{
    (void)state;
    struct kit *k = kit_new(8192, 8000);
    struct side s;
    side_new(k, &s, true);
    k->app.cfg.ticks = true;
    for (unsigned i = 0; i < SOURCES_MAX + 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "source:%u", i);
        assert_int_equal(give(k, &s, name, at(0, 0), at(i + 1, 0), 1, 0), INJECT_ACCEPTED);
        assert_int_equal(give(k, &s, "often", at(i, 0), at(i + 1, 0), 1, 0), INJECT_ACCEPTED);
        while (kit_next(k))
            ;
        kit_drain(k);
    }
    stands(k, "often", at(SOURCES_MAX + 100, 0));
    stands(k, "source:1123", at(1124, 0));
    stands(k, "source:3", at(0, 0));
    assert_int_equal(k->app.sources->forgotten, 101);
    kit_at(k, KIT_DAY * NS_PER_DAY + NS_PER_S);
    appender_due(&k->app); /* too many for a tick: full states */
    appender_states(&k->app);
    json_t *l = said(k, MARK_STATE);
    assert_int_equal(json_array_size(l), SOURCES_MAX);
    json_decref(l);
    side_free(&s);
    kit_free(k);
}

/* source_found and source_fits against a plain model: a set of units. */
static void test_found_against_model(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (unsigned round = 0; round < 3000; round++) {
        enum { N = 40 };
        bool there[N] = {0};
        struct source_progress p = {0};
        bool room = true;
        for (unsigned i = 0; i < 12; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            unsigned a = (unsigned)(seed >> 33) % (N - 1), n = 1 + (unsigned)(seed >> 50) % 5;
            n = a + n > N ? N - a : n;
            room &= source_found(&p, at(a, 0), at(a + n, 0));
            for (unsigned x = a; x < a + n; x++)
                there[x] = true;
        }
        assert_true(room);
        unsigned first = 0;
        while (first < N && there[first])
            first++;
        assert_int_equal(p.at.position, first);
        bool known[N] = {0};
        for (unsigned x = 0; x < first; x++)
            known[x] = true;
        for (unsigned i = 0; i < p.islands; i++) {
            assert_true(p.island[i].from.position > p.at.position);
            for (uint64_t x = p.island[i].from.position; x < p.island[i].to.position; x++)
                known[x] = true;
        }
        assert_memory_equal(known, there, sizeof there);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_where_it_stands),
        cmocka_unit_test(test_not_for_everyone),
        cmocka_unit_test(test_frames_join),
        cmocka_unit_test(test_islands),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_found_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
