/* SPDX-License-Identifier: Apache-2.0 */
/* The one reader: files merged, holes, restarts, growth, seeking, the ring with a running writer.
 */
#include "core/ring.h"
#include "cursor.h"
#include "log_kit.h"

#define FIRST 0x100000ull


static struct cursor_config config(void)
{
    return (struct cursor_config){
        .io = &mem->io, .dirs = {"/l", "/spill"}, .prefix = "log", .instance = LK_INSTANCE};
}

static void expect_frame(struct cursor *c, uint64_t position)
{
    const struct frame *f = NULL;
    enum cursor_verdict v = cursor_next(c, &f);
    if (v != CURSOR_FRAME || f->position != position)
        fail_msg("want frame at %llu, got verdict %d at %llu (%s)", (unsigned long long)position, v,
                 (unsigned long long)(v == CURSOR_FRAME ? f->position : c->position), c->err.text);
    assert_int_equal(frame_check(f, f->length, frame_seed(LK_INSTANCE)), FRAME_OK);
}
static void expect(struct cursor *c, enum cursor_verdict want)
{
    const struct frame *f;
    assert_int_equal(cursor_next(c, &f), want);
}

static void merge(void **state)
{
    (void)state;
    uint64_t at[100];
    unsigned n = 0;
    struct lk daily, interval, next;
    struct err e;
    lk_start(&daily, FIRST, LK_DAY, 0);
    lk_start(&interval, FIRST, LK_DAY, 0);
    interval.h.stream = interval.stream = 1;
    interval.h.minute = 570;
    interval.len = 0; /* its headers anew, with the stream */
    lk_file_frame(&interval, LOG_FILE_HEADER, &interval.h, sizeof interval.h);
    lk_file_frame(&interval, LOG_FILE_HEADER, &interval.h, sizeof interval.h);
    /* streams take turns; every fifth frame is a mark that stands in both */
    uint64_t p = FIRST;
    for (int i = 0; i < 40; i++) {
        struct lk *k = i % 5 == 4 || i % 2 ? &daily : &interval;
        at[n++] = k->position = p;
        size_t off = i % 5 == 4 ? lk_mark(k, MARK_OPERATOR, "{}") : lk_rows(k, 1 + i % 4, i);
        p = k->position;
        if (i % 5 == 4)
            lk_copy(&interval, &daily, off);
    }
    lk_end(&interval, LOG_END_DAY);
    /* the daily file is poisoned here: its last three frames are written anew in the next one */
    uint64_t redo = at[37];
    lk_start(&next, redo, LK_DAY, 1);
    for (size_t off = LOG_PREAMBLE; off < daily.len;) {
        const struct frame *f = (const struct frame *)(daily.data + off);
        if (f->kind != FRAME_FILE && f->position >= redo)
            lk_copy(&next, &daily, off);
        off += f->length;
    }
    for (int i = 0; i < 5; i++) {
        at[n++] = next.position = p;
        lk_rows(&next, 2, 1000 + i);
        p = next.position;
    }
    lk_save(&daily, mem, "/l/log2026.11.23");
    lk_save(&interval, mem, "/l/logi.2026.11.23.0930");
    lk_save(&next, mem, "/spill/log2026.11.23.1");
    mem_put(mem, "/l/logspare.3", "x", 1);
    mem_put(mem, "/l/log2026.11.23.torn-8192", daily.data, daily.len);

    struct cursor c;
    struct cursor_config cfg = config();
    assert_true(cursor_open(&c, &cfg, &e));
    assert_int_equal(c.files, 3);
    for (unsigned i = 0; i < n; i++)
        expect_frame(&c, at[i]);
    expect(&c, CURSOR_END);
    assert_int_equal(c.lost_ranges, 0);
    assert_true(c.repeats > 0);

    /* it grows, then a new day begins */
    at[n] = next.position;
    lk_rows(&next, 3, 2000);
    lk_save(&next, mem, "/spill/log2026.11.23.1");
    expect_frame(&c, at[n++]);
    expect(&c, CURSOR_END);
    lk_end(&next, LOG_END_DAY);
    lk_save(&next, mem, "/spill/log2026.11.23.1");
    struct lk tomorrow;
    lk_start(&tomorrow, next.position, LK_DAY + 1, 0);
    at[n] = tomorrow.position;
    lk_rows(&tomorrow, 1, 3000);
    lk_save(&tomorrow, mem, "/l/log2026.11.24");
    expect_frame(&c, at[n++]);
    expect(&c, CURSOR_END);
    assert_int_equal(c.lost_ranges, 0);

    /* every start: at a frame, inside it, before all, behind all */
    for (unsigned i = 0; i < n; i++)
        for (unsigned in = 0; in < 2; in++) {
            assert_true(cursor_seek(&c, at[i] + in * 8));
            for (unsigned j = i; j < n; j++)
                expect_frame(&c, at[j]);
            expect(&c, CURSOR_END);
        }
    assert_true(cursor_seek_day(&c, LK_DAY + 1));
    expect_frame(&c, at[n - 1]);
    assert_false(cursor_seek_day(&c, LK_DAY + 2));
    assert_true(cursor_seek_end(&c));
    expect(&c, CURSOR_END);
    /* the last rows: 1 + 3 + 2 + 2 … from the end */
    assert_true(cursor_seek_last(&c, 1, NULL, NULL));
    expect_frame(&c, at[n - 1]);
    assert_true(cursor_seek_last(&c, 2, NULL, NULL));
    expect_frame(&c, at[n - 2]);
    assert_true(cursor_seek_last(&c, 5, NULL, NULL));
    expect_frame(&c, at[n - 3]);
    assert_true(cursor_seek_last(&c, 100000, NULL, NULL));
    expect_frame(&c, at[0]);
    assert_true(cursor_seek_last(&c, 0, NULL, NULL));
    expect(&c, CURSOR_END);
    cursor_close(&c);
    lk_free(&daily);
    lk_free(&interval);
    lk_free(&next);
    lk_free(&tomorrow);
}

static void holes_and_restarts(void **state)
{
    (void)state;
    struct err e;
    struct lk k, after;
    lk_start(&k, FIRST, LK_DAY, 0);
    lk_rows(&k, 2, 1);
    uint64_t a = k.position;
    size_t middle = lk_rows(&k, 2, 2);
    uint64_t b = k.position;
    lk_rows(&k, 2, 3);
    uint64_t end = k.position;
    k.data[middle + 40] ^= 1; /* damage */
    lk_save(&k, mem, "/l/log2026.11.23");
    /* an unclean stop: the journal goes on at the lease's end */
    uint64_t lease = 1ull << 40;
    lk_start(&after, lease, LK_DAY, 1);
    char json[100];
    snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"unclean\"}",
             (unsigned long long)end, (unsigned long long)lease);
    lk_mark(&after, MARK_RESTART, json);
    uint64_t first_row = after.position;
    lk_rows(&after, 1, 4);
    lk_save(&after, mem, "/l/log2026.11.23.1");

    struct cursor c;
    struct cursor_config cfg = config();
    assert_true(cursor_open(&c, &cfg, &e));
    expect_frame(&c, FIRST);
    expect(&c, CURSOR_LOST);
    assert_int_equal(c.lost_from, a);
    assert_int_equal(c.lost_to, b);
    expect_frame(&c, b);
    expect_frame(&c, lease); /* without a word: the mark's old end is where we stand */
    expect_frame(&c, first_row);
    expect(&c, CURSOR_END);
    assert_int_equal(c.damaged_ranges, 1);

    /* a reader that had seen more than was recovered */
    assert_true(cursor_seek(&c, end + 4096));
    expect(&c, CURSOR_REWOUND);
    assert_int_equal(c.rewound_old, end);
    assert_int_equal(c.rewound_new, lease);
    expect_frame(&c, lease);
    expect_frame(&c, first_row);

    /* the last frame before the restart is lost too */
    k.data[k.len - 8] ^= 1;
    lk_save(&k, mem, "/l/log2026.11.23");
    assert_true(cursor_seek(&c, FIRST));
    expect_frame(&c, FIRST);
    expect(&c, CURSOR_LOST);
    assert_int_equal(c.lost_from, a);
    assert_int_equal(c.lost_to, end);
    expect_frame(&c, lease);
    /* a file that vanished */
    cursor_close(&c);
    mem_unlink(&mem->io, "/l/log2026.11.23");
    assert_true(cursor_open(&c, &cfg, &e));
    expect_frame(&c, lease);
    assert_true(cursor_seek(&c, FIRST));
    expect(&c, CURSOR_LOST);
    assert_int_equal(c.lost_to, end);
    expect_frame(&c, lease);
    cursor_close(&c);
    lk_free(&k);
    lk_free(&after);
}

static void dictionary_on_seek(void **state)
{
    (void)state;
    struct err e;
    struct lk k;
    struct schema s;
    lk_start(&k, FIRST, LK_DAY, 0);
    assert_true(tables_gap(&s, &e));
    s.id = 2;
    char *json = schema_to_json(&s);
    lk_file_frame(&k, LOG_FILE_SCHEMA, json, (uint32_t)strlen(json));
    free(json);
    uint8_t body[64] = {0};
    put32(body, 0);
    put32(body + 4, 2);
    memcpy(body + 8, "\3ABC\1D", 6);
    lk_file_frame(&k, LOG_FILE_SYMBOLS, body, 14);
    lk_rows(&k, 2, 1);
    const char *const texts[] = {"EFG", "H"};
    lk_symbol(&k, 2, texts, 2);
    for (int i = 0; i < 2000; i++)
        lk_rows(&k, 40, i);
    const char *const late[] = {"LATE"};
    lk_symbol(&k, 4, late, 1);
    uint64_t last = k.position;
    lk_rows(&k, 1, 9);
    lk_save(&k, mem, "/l/log2026.11.23");
    struct cursor c;
    struct cursor_config cfg = config();
    assert_true(cursor_open(&c, &cfg, &e));
    assert_true(cursor_seek(&c, last));
    expect_frame(&c, last);
    uint32_t len;
    static const char *const want[] = {"ABC", "D", "EFG", "H", "LATE"};
    for (uint32_t id = 0; id < 5; id++) {
        const char *t = dictionary_text(&c.dict, id, &len);
        assert_non_null(t);
        assert_string_equal(t, want[id]);
        assert_int_equal(dictionary_find(&c.dict, want[id], len), id);
    }
    assert_null(dictionary_text(&c.dict, 5, &len));
    assert_string_equal(dictionary_text(&c.dict, PST_NULL_SYMBOL, &len), "");
    assert_int_equal(c.dict.unresolved, 1);
    assert_string_equal(dictionary_schema(&c.dict, 2)->name, "gap");
    cursor_close(&c);
    lk_free(&k);
}

/* ---- a running writer ---- */

#ifdef __SANITIZE_THREAD__
#define LIVE_BYTES (96ull << 20)
#else
#define LIVE_BYTES (256ull << 20)
#endif
#define LIVE_FILE (24ull << 20)

struct live {
    struct ring ring;
    _Atomic bool stop;
    uint64_t frames;
    int64_t deadline;
};

static void grow(struct lk *k, const char *path)
{
    int fd = mem_open(&mem->io, path, O_CREAT, 0);
    uint64_t have = mem_of(&mem->io)->file[fd].size;
    mem_pwrite(&mem->io, fd, k->data + have, k->len - have, have);
}

/* Appender and log in one: each frame goes to the ring, and in batches to files that roll. */
static void *write_live(void *arg)
{
    struct live *l = arg;
    struct ring *r = &l->ring;
    struct lk k;
    unsigned suffix = 0;
    char path[64] = "/l/log2026.11.23";
    uint32_t x = 12345;
    lk_start(&k, FIRST, LK_DAY, 0);
    size_t sent = k.len;
    while (k.position < FIRST + LIVE_BYTES && !load_acquire(&l->stop)) {
        size_t at = k.len;
        if (l->frames % 50 == 7) {
            lk_mark(&k, MARK_TICK, "{\"durable\":1}");
        } else {
            x = x * 1664525 + 1013904223;
            static uint8_t payload[65536];
            uint32_t n = 64 + (x >> 16) % 60000 / 8 * 8;
            put64(payload, l->frames);
            memset(payload + 8, (int)l->frames, 56);
            lk_frame(&k, FRAME_DATA, 0, 1, payload, n);
        }
        l->frames++;
        uint32_t len = (uint32_t)(k.len - at);
        if (ring_free(r, len + RING_RESERVE) < len + RING_RESERVE || k.len - sent > 1 << 20) {
            grow(&k, path); /* the log catches up */
            uint64_t done = k.position - len;
            store_release(&r->head->submitted, done);
            store_release(&r->head->written, done);
            store_release(&r->head->durable, done);
            store_release(&r->head->guard, done);
            sent = k.len;
        }
        assert_true(ring_free(r, len) >= len);
        ring_write(r, k.data + at, len);
        ring_publish(r);
        if (k.len > LIVE_FILE) {
            lk_end(&k, LOG_END_MOVED);
            grow(&k, path);
            store_release(&r->head->written, k.position);
            uint64_t position = k.position;
            int64_t time = k.time;
            lk_free(&k);
            lk_start(&k, position, LK_DAY, ++suffix);
            k.time = time;
            snprintf(path, sizeof path, "/l/log2026.11.23.%u", suffix);
            grow(&k, path);
            sent = k.len;
        }
    }
    lk_end(&k, LOG_END_STOP);
    grow(&k, path);
    store_release(&r->head->submitted, k.position);
    store_release(&r->head->written, k.position);
    store_release(&r->head->durable, k.position);
    store_release(&r->head->guard, k.position);
    lk_free(&k);
    return NULL;
}

static void live(enum cursor_limit limit)
{
    struct err e;
    struct live l = {0};
    assert_true(ring_create(&l.ring, RING_MIN, FIRST, LK_INSTANCE, false, &e));
    struct cursor c;
    struct cursor_config cfg = config();
    cfg.ring = &l.ring;
    cfg.limit = limit;
    assert_true(cursor_open(&c, &cfg, &e));
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    time_t deadline = t.tv_sec + 60;
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_live, &l), 0);
    uint64_t position = FIRST, n = 0, switches = 0;
    bool was_ring = false;
    while (position < FIRST + LIVE_BYTES) {
        const struct frame *f;
        enum cursor_verdict v = cursor_next(&c, &f);
        switches += c.in_ring != was_ring;
        was_ring = c.in_ring;
        if (v == CURSOR_WAIT) {
            clock_gettime(CLOCK_MONOTONIC, &t);
            if (t.tv_sec > deadline)
                fail_msg("nothing came at %llu", (unsigned long long)position);
            sched_yield();
            continue;
        }
        if (v != CURSOR_FRAME)
            fail_msg("verdict %d at %llu after %llu frames: lost %llu..%llu %s", v,
                     (unsigned long long)position, (unsigned long long)n,
                     (unsigned long long)c.lost_from, (unsigned long long)c.lost_to, c.err.text);
        assert_int_equal(f->position, position);
        assert_int_equal(frame_check(f, f->length, frame_seed(LK_INSTANCE)), FRAME_OK);
        if (n % 50 == 7)
            assert_int_equal(f->kind, FRAME_MARK);
        else
            assert_int_equal(le64(frame_payload(f)), n);
        position += f->length;
        n++;
        /* now and then let the writer run more than a ring ahead */
        if (n % 500 == 0) {
            uint64_t want = position + RING_MIN + (4 << 20);
            while (want < FIRST + LIVE_BYTES && ring_tail(&l.ring) < want) {
                clock_gettime(CLOCK_MONOTONIC, &t);
                assert_true(t.tv_sec <= deadline);
                sched_yield();
            }
        }
        if (limit == CURSOR_DURABLE)
            assert_true(position <= load_acquire(&l.ring.head->durable));
    }
    pthread_join(writer, NULL);
    assert_int_equal(n, l.frames);
    assert_true(c.lapped >= 3);
    assert_true(switches >= 6);
    assert_int_equal(c.lost_ranges, 0);
    expect(&c, CURSOR_WAIT);
    /* starting in the middle, in the ring and below it */
    for (int i = 0; i < 8; i++) {
        uint64_t from = FIRST + LIVE_BYTES / 8 * (uint64_t)i + 8;
        assert_true(cursor_seek(&c, from));
        const struct frame *f;
        assert_int_equal(cursor_next(&c, &f), CURSOR_FRAME);
        assert_true(f->position <= from && f->position + f->length > from);
        uint64_t next = f->position + f->length;
        assert_int_equal(cursor_next(&c, &f), CURSOR_FRAME);
        assert_int_equal(f->position, next);
    }
    cursor_close(&c);
    ring_close(&l.ring);
}
static void live_committed(void **state)
{
    (void)state;
    live(CURSOR_COMMITTED);
}
static void live_durable(void **state)
{
    (void)state;
    live(CURSOR_DURABLE);
}

/* A ring whose incarnation begins above what the files hold. */
static void ring_after_restart(void **state)
{
    (void)state;
    struct err e;
    struct lk k;
    lk_start(&k, FIRST, LK_DAY, 0);
    lk_rows(&k, 2, 1);
    uint64_t second = k.position;
    lk_rows(&k, 2, 1);
    uint64_t end = k.position;
    lk_save(&k, mem, "/l/log2026.11.23");
    struct ring r;
    uint64_t start = 1ull << 40;
    assert_true(ring_create(&r, RING_MIN, start, LK_INSTANCE, false, &e));
    struct cursor c;
    struct cursor_config cfg = config();
    cfg.ring = &r;
    assert_true(cursor_open(&c, &cfg, &e));
    expect_frame(&c, FIRST);
    expect_frame(&c, second);
    expect(&c, CURSOR_WAIT);
    struct lk ring;
    lk_start(&ring, start, LK_DAY, 1);
    char json[100];
    snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"unclean\"}",
             (unsigned long long)end, (unsigned long long)start);
    size_t at = lk_mark(&ring, MARK_RESTART, json);
    lk_rows(&ring, 3, 5);
    for (; at < ring.len; at += ((struct frame *)(ring.data + at))->length)
        ring_write(&r, ring.data + at, ((struct frame *)(ring.data + at))->length);
    ring_publish(&r);
    expect_frame(&c, start);
    const struct frame *f;
    assert_int_equal(cursor_next(&c, &f), CURSOR_FRAME);
    assert_int_equal(f->count, 3);
    expect(&c, CURSOR_WAIT);
    assert_true(c.in_ring);
    assert_true(cursor_seek(&c, end + 64));
    expect(&c, CURSOR_REWOUND);
    assert_int_equal(c.rewound_new, start);
    expect_frame(&c, start);
    assert_true(cursor_seek_last(&c, 5, NULL, NULL));
    expect_frame(&c, second);
    cursor_close(&c);
    ring_close(&r);
    lk_free(&k);
    lk_free(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(merge, lk_setup, lk_teardown),
        cmocka_unit_test_setup_teardown(holes_and_restarts, lk_setup, lk_teardown),
        cmocka_unit_test_setup_teardown(dictionary_on_seek, lk_setup, lk_teardown),
        cmocka_unit_test_setup_teardown(ring_after_restart, lk_setup, lk_teardown),
        cmocka_unit_test_setup_teardown(live_committed, lk_setup, lk_teardown),
        cmocka_unit_test_setup_teardown(live_durable, lk_setup, lk_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
