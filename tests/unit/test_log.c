/* SPDX-License-Identifier: Apache-2.0 */
#include "log_fixture.h"

static uint64_t rng = 88172645463325252ull;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

/* ---- names and frames ---- */

static void names(void **state)
{
    (void)state;
    char text[LOG_NAME_MAX];
    struct log_name n = {.day = 9822, .minute = LOG_NO_MINUTE}, back;
    assert_true(log_name_format(text, "log", &n));
    assert_string_equal(text, "log2026.11.22");
    n.suffix = 12;
    assert_true(log_name_format(text, "log", &n));
    assert_string_equal(text, "log2026.11.22.12");
    n = (struct log_name){.stream = 1, .day = 9822, .minute = 9 * 60 + 5, .suffix = 3};
    assert_true(log_name_format(text, "x", &n));
    assert_string_equal(text, "xi.2026.11.22.0905.3");
    assert_true(log_name_parse(&back, "x", text));
    assert_memory_equal(&back.day, &n.day, 4);
    assert_int_equal(back.minute, n.minute);
    assert_int_equal(back.suffix, 3);
    assert_int_equal(back.stream, 1);
    n = (struct log_name){.stream = STREAM_BUFFER,
                          .day = -1,
                          .minute = LOG_NO_MINUTE,
                          .event = "late-1",
                          .state = LOG_NAME_COMPLETE};
    assert_true(log_name_format(text, "nyc.1", &n));
    assert_string_equal(text, "nyc.1.late-1.buffer.complete");
    assert_true(log_name_parse(&back, "log", text));
    assert_memory_equal(&back, &n, sizeof n);
    n.suffix = 17;
    n.state = LOG_NAME_LIVE;
    assert_true(log_name_format(text, "nyc1", &n));
    assert_string_equal(text, "nyc1.late-1.buffer.17");
    assert_true(log_name_parse(&back, "log", text));
    assert_memory_equal(&back, &n, sizeof n);
    snprintf(n.event, sizeof n.event, "a.b");
    assert_false(log_name_format(text, "nyc1", &n));
    static const char *const bad[] = {"log",
                                      "nyc1.buffer",
                                      "nyc1..buffer",
                                      ".late.buffer",
                                      "nyc1.late.buffer.0",
                                      "nyc1.late.buffer.done",
                                      "nyc1.la te.buffer",
                                      "nyc1.late.buffer.complete.1",
                                      "nyc1.late.buffer.torn-8192",
                                      "log2026.13.01",
                                      "log2026.02.30",
                                      "log2026.11.22.",
                                      "log2026.11.22.0",
                                      "log2026.11.22.x",
                                      "logspare.0",
                                      "lig2026.11.22",
                                      "log2026.11.22.01",
                                      "logi.2026.11.22",
                                      "logi.2026.11.22.2460",
                                      "logballast"};
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        if (log_name_parse(&back, "log", bad[i]))
            fail_msg("%s was taken for a log file", bad[i]);
}

static void header_copies(void **state)
{
    (void)state;
    uint8_t *p = aligned_alloc(4096, FRAME_MAX);
    struct log_file_header h = {.format = LOG_FORMAT, .instance = 77, .first = 640}, back;
    memcpy(h.magic, LOG_MAGIC, 8);
    assert_int_equal(log_file_frame(p, &h, LOG_FILE_HEADER, &h, sizeof h, 1), LOG_BLOCK);
    memcpy(p + LOG_BLOCK, p, LOG_BLOCK);
    assert_int_equal(log_file_header_find(&back, p, 8192, 0), LOG_HEADER_OK);
    assert_int_equal(back.first, 640);
    assert_int_equal(log_file_header_find(&back, p, 8192, 78), LOG_HEADER_NONE);
    assert_int_equal(log_file_header_find(&back, p, 4096, 77), LOG_HEADER_ONE_COPY);
    for (unsigned i = 0; i < 4096; i++) { /* any torn byte of one copy leaves the other */
        p[i] ^= 0x40;
        assert_int_equal(log_file_header_find(&back, p, 8192, 77), LOG_HEADER_ONE_COPY);
        p[i] ^= 0x40;
        p[4096 + i] ^= 1;
        assert_int_equal(log_file_header_find(&back, p, 8192, 77), LOG_HEADER_ONE_COPY);
        p[4096 + i] ^= 1;
    }
    h.format = LOG_FORMAT + 1;
    log_file_frame(p, &h, LOG_FILE_HEADER, &h, sizeof h, 1);
    assert_int_equal(log_file_header_find(&back, p, 4096, 77), LOG_HEADER_FORMAT);
    assert_int_equal(back.format, LOG_FORMAT + 1);
    memset(p, 0, 8192);
    assert_int_equal(log_file_header_find(&back, p, 8192, 0), LOG_HEADER_NONE);
    free(p);
}

static void policy(void **state)
{
    (void)state;
    assert_int_equal(log_policy(-ENOSPC), LOG_ACT_FULL);
    assert_int_equal(log_policy(-EDQUOT), LOG_ACT_FULL);
    assert_int_equal(log_policy(-EINTR), LOG_ACT_AGAIN);
    assert_int_equal(log_policy(-ECANCELED), LOG_ACT_SKIPPED);
    assert_int_equal(log_policy(-EIO), LOG_ACT_DEVICE);
    assert_int_equal(log_policy(-EROFS), LOG_ACT_DEVICE);
    assert_int_equal(log_policy(-EFBIG), LOG_ACT_LIMIT);
    assert_int_equal(log_policy(-ENOMEM), LOG_ACT_BACKOFF);
    assert_int_equal(log_policy(-EBADF), LOG_ACT_BUG);
}

/* ---- writing ---- */

static void sizes(const char *base, enum log_level level, bool uring, bool buffered)
{
    struct fix *x = fix_new(base, level, uring, buffered);
    fix_start(x);
    /* single frames, each settled: the partial tail is written and rewritten */
    for (unsigned i = 0; i < 40; i++) {
        fix_data(x, 40 + 8 * rnd(600), 0, FIX_DAY);
        if (level == LOG_DURABLE)
            assert_true(fix_settle(x, 5000));
    }
    /* bursts of every size */
    for (unsigned i = 0; i < 400; i++) {
        uint32_t most = i % 50 == 0 ? FRAME_MAX - 32 : i % 7 ? 2000 : 70000;
        fix_data(x, 32 + 8 * (1 + rnd(most / 8)), 0, FIX_DAY);
        if (rnd(3) == 0)
            fix_round(x);
    }
    assert_true(fix_settle(x, 10000));
    assert_int_equal(load_relaxed(&x->ring.head->durable), ring_tail(&x->ring));
    assert_int_equal(load_relaxed(&x->ring.head->written), ring_tail(&x->ring));
    assert_int_equal(load_relaxed(&x->ring.head->guard), ring_tail(&x->ring));
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_int_equal(f->n, 1);
    assert_false(f->file[0].ended);
    assert_int_equal(f->repeats, 0);
    assert_int_equal(f->frames, 440);
    fix_files_free(f);
    fix_drain(x);
    f = fix_read(x, ring_tail(&x->ring));
    assert_true(f->file[0].ended);
    assert_int_equal(f->file[0].end.last, ring_tail(&x->ring));
    assert_int_equal(f->file[0].end.frames, 440);
    assert_int_equal(f->file[0].end.reason, LOG_END_STOP);
    fix_files_free(f);
    struct log_event e;
    assert_true(log_event_next(x->log, &e));
    assert_int_equal(e.type, LOG_OPENED);
    assert_int_equal(e.first, FIX_START);
    assert_true(log_event_next(x->log, &e));
    assert_int_equal(e.type, LOG_CLOSED);
    assert_int_equal(e.last, ring_tail(&x->ring));
    assert_false(log_event_next(x->log, &e));
    fix_free(x);
}

static void durable_uring(void **state)
{
    (void)state;
    sizes("/tmp", LOG_DURABLE, true, false);
}
static void durable_posix(void **state)
{
    (void)state;
    sizes("/tmp", LOG_DURABLE, false, false);
}
static void durable_buffered(void **state)
{
    (void)state;
    sizes("/dev/shm", LOG_DURABLE, false, true);
    sizes("/tmp", LOG_DURABLE, true, true);
}
static void written_level(void **state)
{
    (void)state;
    sizes("/tmp", LOG_WRITTEN, true, false);
}
static void async_level(void **state)
{
    (void)state;
    sizes("/dev/shm", LOG_ASYNC, false, false);
}

/* ---- rolls ---- */

static void rolls(void **state)
{
    (void)state;
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    struct err e;
    uint32_t id;
    fix_start(x);
    for (int32_t day = FIX_DAY; day < FIX_DAY + 5; day++) {
        char json[64], name[32];
        snprintf(json, sizeof json, "{\"feed\":\"f\",\"next\":%d}", day);
        fix_mark(x, MARK_STATE, json, day);
        snprintf(name, sizeof name, "SYM%d", day);
        assert_int_equal(symbols_intern(&x->symbols, name, (uint32_t)strlen(name), &id),
                         SYMBOLS_NEW);
        frame_symbol_begin(x->buf, id);
        assert_true(frame_symbol_add(x->buf, name, (uint32_t)strlen(name)));
        frame_symbol_end(x->buf);
        ((struct frame *)x->buf)->day = (uint16_t)day;
        assert_true(fix_put(x));
        struct schema s;
        struct column_def cols[] = {
            {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}};
        assert_true(schema_make(&s, (uint16_t)(2 + day - FIX_DAY), name, false, cols, 3, &e));
        char *text = schema_to_json(&s);
        assert_true(frame_build_schema(x->buf, text, strlen(text)) > 0);
        free(text);
        ((struct frame *)x->buf)->day = (uint16_t)day;
        assert_true(fix_put(x));
        for (unsigned i = 0; i < 20; i++)
            fix_data(x, 1000, 0, day);
        snprintf(json, sizeof json, "{\"calendar\":\"default\",\"day\":%d}", day);
        fix_mark(x, MARK_EOD, json, day);
    }
    fix_mark(x, MARK_STATE, "{\"feed\":\"f\",\"next\":1}", FIX_DAY + 5);
    assert_true(fix_settle(x, 5000));
    fix_drain(x);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_int_equal(f->n, 6);
    assert_int_equal(f->repeats, 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(f->file[i].header.day, FIX_DAY + (int)i);
        assert_true(f->file[i].ended);
        assert_int_equal(f->file[i].end.reason, LOG_END_DAY);
        assert_int_equal(f->file[i].symbols, i);
        assert_int_equal(f->file[i].schemas, i);
        assert_int_equal(f->file[i].end.frames, 24);
        if (i) {
            assert_string_equal(f->file[i].header.previous, f->file[i - 1].name);
            assert_int_equal(f->file[i].header.first, f->file[i - 1].end.last);
            char json[64];
            snprintf(json, sizeof json, "{\"feed\":\"f\",\"next\":%d}", FIX_DAY + (int)i - 1);
            assert_int_equal(f->file[i].states, 1);
            assert_string_equal(f->file[i].state[0], json);
        }
    }
    fix_files_free(f);
    fix_free(x);
}

/* Two days open at once: stream-255 frames go into both files. */
static void two_days(void **state)
{
    (void)state;
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    fix_start(x);
    for (unsigned i = 0; i < 50; i++) {
        fix_data(x, 512, 0, FIX_DAY + (int)(i & 1));
        if (i % 10 == 9)
            fix_mark(x, MARK_TICK, "{\"durable\":1}", FIX_DAY);
    }
    fix_mark(x, MARK_EOD, "{}", FIX_DAY);
    fix_data(x, 512, 0, FIX_DAY + 1);
    assert_true(fix_settle(x, 5000));
    fix_drain(x);
    struct fix_files *f = fix_read(x, ring_tail(&x->ring));
    assert_int_equal(f->n, 2);
    assert_int_equal(f->file[0].end.frames, 25 + 5 + 1);
    assert_int_equal(f->file[1].end.frames, 25 + 5 + 1 + 1);
    assert_true(f->repeats > 0);
    fix_files_free(f);
    fix_free(x);
}

/* A day's file closes when every calendar has closed that day, whichever is the last. */
static void two_calendars(void **state)
{
    (void)state;
    static const char first[] = "{\"calendar\":\"default\",\"day\":\"2024.08.22\"}";
    static const char second[] = "{\"calendar\":\"tokyo\",\"day\":\"2024.08.22\"}";
    static struct days_owner owners = {.n = 2, .name = {"default", "tokyo"}};
    for (int tokyo_first = 0; tokyo_first < 2; tokyo_first++) {
        struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
        x->cfg.calendars = &owners;
        x->cfg.open_day[0] = x->cfg.open_day[1] = FIX_DAY;
        fix_start(x);
        fix_data(x, 512, 0, FIX_DAY);
        fix_mark(x, MARK_EOD, tokyo_first ? second : first, FIX_DAY);
        fix_mark(x, MARK_EOD, "{\"calendar\":\"stranger\",\"day\":\"x\"}", FIX_DAY + 3);
        for (unsigned i = 0; i < 20; i++)
            fix_data(x, 512, 0, FIX_DAY + (int)(i & 1));
        fix_mark(x, MARK_EOD, tokyo_first ? first : second, FIX_DAY);
        fix_mark(x, MARK_TICK, "{\"durable\":1}", FIX_DAY + 1);
        fix_data(x, 512, 0, FIX_DAY + 1);
        /* one calendar two days ahead: no file closes before the other has followed */
        fix_mark(x, MARK_EOD, first, FIX_DAY + 1);
        fix_mark(x, MARK_EOD, first, FIX_DAY + 2);
        fix_data(x, 512, 0, FIX_DAY + 1);
        fix_data(x, 512, 0, FIX_DAY + 3);
        fix_mark(x, MARK_EOD, second, FIX_DAY + 1);
        fix_mark(x, MARK_EOD, second, FIX_DAY + 2);
        fix_data(x, 512, 0, FIX_DAY + 3);
        assert_true(fix_settle(x, 5000));
        struct fix_files *f = fix_read(x, ring_tail(&x->ring));
        assert_int_equal(f->n, 3);
        for (unsigned i = 0; i < 3; i++) {
            static const int day[] = {0, 1, 3};
            static const unsigned frames[] = {1 + 2 + 10 + 1, 10 + 1 + 1 + 1 + 2 + 1 + 1,
                                              1 + 2 + 1};
            assert_int_equal(f->file[i].header.day, FIX_DAY + day[i]);
            assert_int_equal(f->file[i].ended, i < 2);
            assert_int_equal(f->file[i].frames, frames[i]);
        }
        assert_int_equal(f->file[0].end.reason, LOG_END_DAY);
        fix_files_free(f);
        fix_free(x);
    }
}

/* A year without rows: its eod marks make no file each; they stand in that of the frame behind. */
static void missed_days(void **state)
{
    (void)state;
    for (int end = 0; end < 2; end++) {
        struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
        fix_start(x);
        fix_data(x, 512, 0, FIX_DAY);
        for (int day = 0; day < 365; day++)
            fix_mark(x, MARK_EOD, "{}", FIX_DAY + day);
        for (int i = 0; i < 50; i++)
            fix_round(x); /* what comes next is not known yet */
        assert_true(fix_durable(x) < ring_tail(&x->ring));
        if (end) /* nothing: they stand in the file of the date that is open now */
            fix_drain(x);
        else
            fix_mark(x, MARK_STATE, "{\"feed\":\"f\"}", FIX_DAY + 365);
        assert_true(fix_settle(x, 5000));
        struct fix_files *f = fix_read(x, ring_tail(&x->ring));
        assert_int_equal(f->repeats, 0);
        assert_int_equal(f->frames, 1 + 365 + !end);
        assert_int_equal(f->file[0].frames, 2);
        assert_true(f->file[0].ended);
        assert_int_equal(f->n, 2);
        assert_int_equal(f->file[1].header.day, FIX_DAY + 365);
        assert_int_equal(f->file[1].frames, 364 + !end);
        assert_int_equal(f->file[1].ended, end);
        fix_files_free(f);
        fix_free(x);
    }
}

static void restart_suffix(void **state)
{
    (void)state;
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    for (unsigned i = 0; i < 3; i++) {
        fix_start(x);
        fix_data(x, 800, 0, FIX_DAY);
        assert_true(fix_settle(x, 5000));
        if (i == 1)
            fix_drain(x);
        log_fini(x->log); /* without END but at i == 1: as a crash */
        log_destroy(x->log);
        x->log = NULL;
        struct fix_files *f = fix_read(x, ring_tail(&x->ring));
        assert_int_equal(f->n, i + 1);
        assert_int_equal(f->file[i].header.suffix, i);
        fix_files_free(f);
        if (i < 2) {
            uint64_t next = ring_tail(&x->ring) + (1ull << 40);
            ring_close(&x->ring);
            free(x->oracle);
            fix_ring(x, next);
        }
    }
    fix_free(x);
}

/* The mutation hook and the figures: durable counts are of what was copied. */
static void counts(void **state)
{
    (void)state;
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    fix_start(x);
    for (unsigned i = 0; i < 300; i++)
        fix_run(x, 1 + i % 3, 10 + i % 5, 1000 + i, 1 + i % 4, i % 10 == 9 ? ROW_LATE : 0, FIX_DAY);
    fix_run(x, 1, 10, 0, 6, RUN_UNSEQUENCED, FIX_DAY);
    struct schema g;
    assert_true(tables_gap(&g, NULL));
    struct frame *f = (struct frame *)x->buf;
    memset(x->buf, 0, FRAME_HEADER + g.fixed);
    f->length = FRAME_HEADER + g.fixed;
    f->kind = FRAME_GAP;
    f->stream = STREAM_EVERY;
    f->day = FIX_DAY;
    uint8_t *r = x->buf + FRAME_HEADER;
    *(struct record *)r = (struct record){.table = 5, .bytes = g.fixed};
    put64(r + g.col[GAP_FIRST].offset, 100);
    put64(r + g.col[GAP_LAST].offset, 109);
    put32(r + g.col[GAP_FEED].offset, 2);
    put32(r + g.col[GAP_SESSION].offset, 11);
    assert_true(fix_put(x));
    assert_true(fix_settle(x, 5000));
    const struct log_counts *c = log_counts(x->log);
    uint64_t durable = 0, submitted = 0, late = 0, gap = 0, unseq = 0, want = 0, want_late = 0;
    for (unsigned i = 0; i < 300; i++)
        *(i % 10 == 9 ? &want_late : &want) += 1 + i % 4;
    assert_int_equal(load_acquire(&c->n), 15);
    for (unsigned i = 0; i < 15; i++) {
        durable += load_relaxed(&c->entry[i].durable);
        submitted += load_relaxed(&c->entry[i].submitted);
        late += load_relaxed(&c->entry[i].late);
        gap += load_relaxed(&c->entry[i].gap);
        unseq += load_relaxed(&c->entry[i].unsequenced);
        if (load_relaxed(&c->entry[i].gap)) {
            assert_int_equal(c->entry[i].feed, 2);
            assert_int_equal(c->entry[i].session, 11);
        }
    }
    assert_int_equal(durable, want);
    assert_int_equal(submitted, want);
    assert_int_equal(late, want_late);
    assert_int_equal(gap, 10);
    assert_int_equal(unseq, 6);
    fix_free(x);
}

/* ---- every errno at every operation ---- */

static struct io_ops wrapped;
static int (*real_submit)(struct io *, struct io_op **, unsigned);
static int inject_at, inject_result, ops_seen;
static bool inject_sticky;

static int wrapped_submit(struct io *io, struct io_op **ops, unsigned n)
{
    int r = real_submit(io, ops, n);
    for (int i = 0; i < r; i++) {
        bool hit = ++ops_seen == inject_at || (inject_sticky && ops_seen > inject_at);
        if (hit && inject_result < 0)
            ops[i]->result = inject_result;
        else if (hit && ops[i]->kind == IO_WRITE && ops[i]->result > inject_result)
            ops[i]->result = inject_result; /* short */
    }
    return r;
}

static void injected(bool buffered, int at_op, int result, bool sticky)
{
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, buffered);
    x->cfg.preallocate = 0;
    x->cfg.retry_ns = NS_PER_MS;
    wrapped = *x->io->ops;
    real_submit = wrapped.submit;
    wrapped.submit = wrapped_submit;
    x->io->ops = &wrapped;
    inject_at = at_op;
    inject_result = result;
    inject_sticky = sticky;
    ops_seen = 0;
    fix_start(x);
    for (unsigned i = 0; i < 60; i++) {
        fix_data(x, 32 + 8 * (1 + rnd(i % 9 ? 500 : 20000)), 0, FIX_DAY);
        if (i % 4 == 0)
            fix_round(x);
    }
    if (sticky) {
        for (unsigned i = 0; i < 20; i++)
            fix_round(x);
        fix_files_free(fix_read(x, fix_durable(x)));
        inject_at = INT32_MAX;
    }
    if (!fix_settle(x, 5000))
        fail_msg("result %d at op %d: does not settle", result, at_op);
    fix_data(x, 64, 0, FIX_DAY);
    assert_true(fix_settle(x, 5000));
    fix_drain(x);
    fix_files_free(fix_read(x, ring_tail(&x->ring)));
    assert_int_equal(load_relaxed(&x->st->log_errno), 0);
    fix_free(x);
}

static void every_errno(void **state)
{
    (void)state;
    static const int results[] = {-ENOSPC, -EDQUOT, -EIO,    -EROFS,  -ENODEV,
                                  -EINTR,  -EAGAIN, -ENOMEM, -EINVAL, -ECANCELED,
                                  -EFBIG,  0,       1,       4096,    8191};
    for (unsigned b = 0; b < 2; b++)
        for (unsigned i = 0; i < PST_COUNT(results); i++)
            for (int at_op = 1; at_op <= 4; at_op *= 2) {
                injected(b, at_op, results[i], false);
                if (results[i] < 0 && at_op == 2)
                    injected(b, at_op, results[i], true);
            }
}

#ifdef PST_FAULTS
/* The mutation hook: a frame that is not copied is missing from the durable figures. */
static void drop_frame(void **state)
{
    (void)state;
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    setenv("PST_FAULT_DROP", "log.drop_frame:5", 1);
    fix_start(x);
    for (unsigned i = 0; i < 20; i++)
        fix_run(x, 1, 2, 1 + i * 3, 3, 0, FIX_DAY);
    assert_true(fix_settle(x, 5000));
    unsetenv("PST_FAULT_DROP");
    assert_int_equal(load_relaxed(&log_counts(x->log)->entry[0].durable), 57);
    struct fix_files *f = fix_read(x, x->start);
    assert_int_equal(f->frames, 19);
    fix_files_free(f);
    fix_free(x);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),          cmocka_unit_test(header_copies),
        cmocka_unit_test(policy),         cmocka_unit_test(durable_posix),
        cmocka_unit_test(durable_uring),  cmocka_unit_test(durable_buffered),
        cmocka_unit_test(written_level),  cmocka_unit_test(async_level),
        cmocka_unit_test(rolls),          cmocka_unit_test(two_days),
        cmocka_unit_test(two_calendars),  cmocka_unit_test(missed_days),
        cmocka_unit_test(restart_suffix), cmocka_unit_test(counts),
        cmocka_unit_test(every_errno),
#ifdef PST_FAULTS
        cmocka_unit_test(drop_frame),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
