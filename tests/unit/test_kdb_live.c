/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live kdb+ log: at every point the file holds exactly the day's rows below its position; after
 * a kill at any operation, an error of any operation, lost or altered files, the bytes are those of
 * an undisturbed run. The journal is a log file in memory that grows.
 */
#include "log_kit.h"
#include "mortal_io.h"
#include "publish/kdb_live.h"

#define FIRST  0x100000ull
#define FRAMES 120
#define CUT    70 /* the frame that ends the first day */
#define SECOND 1000000000ll

struct journal {
    struct lk k;
    struct schema trade, quote;
    size_t at[FRAMES + 1]; /* bytes of the file before frame i */
    uint64_t position[FRAMES + 1];
    uint32_t rows[FRAMES + 1]; /* of all frames before it */
};
static struct journal j;
static _Atomic uint16_t open_day;

static uint32_t row(uint8_t *p, const struct schema *s, uint32_t sym, int64_t time)
{
    memset(p, 0, s->fixed);
    *(struct record *)(void *)p = (struct record){s->id, s->fixed, sym, time};
    put64(p + s->col[2].offset, (uint64_t)time * 3);
    return s->fixed;
}

/* Frames of one to five rows of two tables in turn; times count the rows. */
static void make(void)
{
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"size", PST_LONG}};
    static const char *const names[] = {"AAPL", "MSFT"};
    struct err e;
    uint32_t rows = 0;
    memset(&j, 0, sizeof j);
    assert_true(schema_make(&j.trade, 7, "trade", false, cols, 3, &e));
    assert_true(schema_make(&j.quote, 8, "quote", false, cols, 3, &e));
    lk_start(&j.k, FIRST, LK_DAY, 0);
    lk_schema(&j.k, &j.trade);
    lk_schema(&j.k, &j.quote);
    lk_symbol(&j.k, 0, names, 2);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t payload[512];
        uint32_t n = 0;
        j.at[i] = j.k.len;
        j.position[i] = j.k.position;
        j.rows[i] = rows;
        if (i == CUT) {
            lk_mark(&j.k, MARK_EOD, "{\"calendar\":\"default\",\"day\":\"2026.11.23\"}");
            j.k.day++;
        } else if (i % 7 == 3) {
            lk_mark(&j.k, MARK_TICK, "{}");
        } else {
            for (uint32_t k = 0; k < 1 + i % 5; k++, rows++)
                n += row(payload + n, (i + k) % 3 ? &j.trade : &j.quote, rows % 2,
                         LK_DAY * 86400 * SECOND + rows);
            lk_frame(&j.k, FRAME_DATA, 0, (uint16_t)(1 + i % 5), payload, n);
        }
    }
    j.at[FRAMES] = j.k.len;
    j.position[FRAMES] = j.k.position;
    j.rows[FRAMES] = rows;
}

static void journal_to(unsigned frame)
{
    mem_put(mem, "/l/log2026.11.23", j.k.data, j.at[frame]);
    store_relaxed(&open_day, (uint16_t)(LK_DAY + (frame > CUT)));
}

static struct kdb_live *live(struct io *io)
{
    struct err err;
    struct kdb_live_config c = {.io = io,
                                .dirs = {"/l"},
                                .prefix = "log",
                                .instance = LK_INSTANCE,
                                .directory = "/k",
                                .name = "sym",
                                .calendar = {"default"},
                                .calendars = 1,
                                .open_day = &open_day,
                                .retry_ns = SECOND};
    struct kdb_live *k = kdb_live_open(&c, &err);
    assert_non_null(k);
    return k;
}

/* What mortal_io leaves to the real one wants the real one's state here. */
#define PASS(ret, name, params, args)                                                              \
    static ret pass_##name params                                                                  \
    {                                                                                              \
        return mem_##name args;                                                                    \
    }
PASS(int, close, (struct io * io, int fd), (mortal_of(io)->real, fd))
PASS(int64_t, pread, (struct io * io, int fd, void *b, size_t n, uint64_t at),
     (mortal_of(io)->real, fd, b, n, at))
PASS(int, fstat, (struct io * io, int fd, struct io_stat *st), (mortal_of(io)->real, fd, st))
PASS(int, stat, (struct io * io, const char *path, struct io_stat *st),
     (mortal_of(io)->real, path, st))
PASS(int, list, (struct io * io, const char *path, bool (*fn)(void *, const char *), void *arg),
     (mortal_of(io)->real, path, fn, arg))

static struct io *mortal_memory(struct mortal_io *m, unsigned n)
{
    struct io *io = mortal_make(m, &mem->io, n);
    m->ops.close = pass_close;
    m->ops.pread = pass_pread;
    m->ops.fstat = pass_fstat;
    m->ops.stat = pass_stat;
    m->ops.list = pass_list;
    return io;
}

static int64_t now;

/* Steps until the journal's end, past any error. */
static void settle(struct kdb_live *k)
{
    struct kdb_live_point p;
    struct kdb_live_figures f;
    for (unsigned i = 0; i < 200; i++) {
        bool more = kdb_live_step(k, now, 4096);
        kdb_live_figures(k, &f);
        if (f.stopped)
            now += 2 * SECOND;
        else if (!more && kdb_live_point(k, &p) == KDB_LIVE_READY)
            return;
    }
    fail_msg("it does not settle: %s", f.why);
}

static uint32_t rows_of(const struct kdb_object *data, int64_t *time)
{
    struct kdb_items i;
    assert_int_equal(data->type, KDB_LIST);
    assert_int_equal(data->count, 3);
    assert_true(kdb_items(data, &i));
    assert_int_equal(i.item.type, PST_TIMESTAMP);
    for (uint32_t k = 0; k < i.item.count; k++, (*time)++)
        assert_int_equal(kdb_object_long(&i.item, k), *time);
    return i.item.count;
}

/* The point's messages are the rows [from, those below its position). */
static void check_point(struct kdb_live *k)
{
    struct kdb_live_point p;
    struct kdb_log l;
    struct kdb_message m;
    struct err err;
    assert_int_equal(kdb_live_point(k, &p), KDB_LIVE_READY);
    unsigned at = 0;
    while (at < FRAMES && j.position[at] < p.position)
        at++;
    if (p.position > j.position[0])
        assert_int_equal(j.position[at], p.position); /* a frame's border */
    uint32_t from = p.day > LK_DAY ? j.rows[CUT] : 0, rows = 0;
    int64_t time = LK_DAY * 86400 * SECOND + from;
    assert_true(p.day > LK_DAY ? at > CUT : at <= CUT);
    assert_string_equal(p.path, p.day > LK_DAY ? "/k/sym2026.11.24" : "/k/sym2026.11.23");
    if (!kdb_log_open(&l, &mem->io, p.path, &err))
        fail_msg("%s", err.text);
    for (int64_t n = 0; n < p.messages; n++) {
        assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
        assert_true(m.update && !strcmp(m.function, "upd"));
        rows += rows_of(&m.data, &time);
    }
    kdb_log_close(&l);
    assert_int_equal(rows, j.rows[at] - from);
}

static struct mem_file reference[2];

static void keep_reference(void)
{
    static const char *const path[] = {"/k/sym2026.11.23", "/k/sym2026.11.24"};
    for (unsigned i = 0; i < 2; i++) {
        struct mem_file *f = mem_find(&mem->io, path[i]);
        assert_non_null(f);
        reference[i] = *f;
        reference[i].data = malloc(f->size);
        memcpy(reference[i].data, f->data, f->size);
    }
}

/* Both days as in an undisturbed run, and nothing else but one sidecar. */
static void check_files(const char *what, unsigned n)
{
    unsigned others = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct mem_file *f = mem_find(&mem->io, reference[i].path);
        if (!f || f->size != reference[i].size || memcmp(f->data, reference[i].data, f->size))
            fail_msg("%s %u: %s is not what it should be", what, n, reference[i].path);
    }
    for (unsigned i = 0; i < LK_FILES; i++)
        others += !strncmp(mem->file[i].path, "/k/", 3);
    assert_true(others >= 3);
    for (unsigned i = 0; i < LK_FILES; i++)
        if (strstr(mem->file[i].path, ".before"))
            fail_msg("%s %u: %s: our own file was taken for another's", what, n, mem->file[i].path);
}

static void fresh(void)
{
    for (unsigned i = 0; i < LK_FILES; i++) {
        free(mem->file[i].data);
        mem->file[i] = (struct mem_file){0};
    }
    now += 1000 * SECOND;
}

static void points(void **state)
{
    (void)state;
    make();
    journal_to(0);
    struct kdb_live *k = live(&mem->io);
    struct kdb_live_point p;
    assert_int_equal(kdb_live_point(NULL, &p), KDB_LIVE_OFF);
    assert_int_equal(kdb_live_point(k, &p), KDB_LIVE_WAIT);
    assert_true(p.messages == PST_NULL_LONG && !*p.path);
    settle(k);
    assert_int_equal(kdb_live_point(k, &p), KDB_LIVE_READY); /* a day without rows: 0 messages */
    assert_int_equal(p.messages, 0);
    for (unsigned i = 0; i <= FRAMES; i++) {
        journal_to(i);
        settle(k);
        check_point(k);
        now += SECOND / 3;
    }
    struct kdb_live_figures f;
    kdb_live_figures(k, &f);
    assert_true(f.on && f.ready && !f.stopped && !f.rebuilt && !f.lost);
    assert_int_equal(f.position, j.position[FRAMES]);
    kdb_live_close(k);
    keep_reference();
    check_files("points", 0);
    /* a day's end that was not seen yet: its subscribers start in front of the mark */
    fresh();
    journal_to(CUT);
    k = live(&mem->io);
    settle(k);
    assert_int_equal(kdb_live_point(k, &p), KDB_LIVE_READY);
    assert_int_equal(p.position, j.position[CUT]);
    kdb_live_close(k);
    /* all at once */
    fresh();
    journal_to(FRAMES);
    k = live(&mem->io);
    settle(k);
    check_point(k);
    kdb_live_close(k);
    check_files("at once", 0);
}

/* The journal grows in three pieces; the process dies at its n-th change of a file. */
static void kills(void **state)
{
    (void)state;
    static const unsigned piece[] = {30, CUT, CUT + 1, 100, FRAMES};
    for (unsigned n = 1;; n++) {
        struct mortal_io mortal;
        struct io *io = mortal_memory(&mortal, n);
        fresh();
        struct kdb_live *k = live(io);
        for (unsigned i = 0; i < PST_COUNT(piece); i++) {
            journal_to(piece[i]);
            for (unsigned s = 0; s < 20; s++, now += SECOND / 2)
                kdb_live_step(k, now, 2048);
        }
        bool died = mortal.changes >= n;
        kdb_live_close(k);
        k = live(&mem->io);
        settle(k);
        check_point(k);
        kdb_live_close(k);
        check_files("killed at change", n);
        if (!died) {
            assert_true(n > 15);
            return;
        }
    }
}

/* The n-th change of a file fails once, as on a disk that is full for a while. */
static void errors(void **state)
{
    (void)state;
    static const unsigned piece[] = {30, CUT, CUT + 1, 100, FRAMES};
    for (unsigned n = 1;; n++) {
        struct mortal_io mortal;
        struct io *io = mortal_memory(&mortal, n);
        mortal.fail_once = true;
        mortal.fail_code = -ENOSPC;
        fresh();
        struct kdb_live *k = live(io);
        for (unsigned i = 0; i < PST_COUNT(piece); i++, now += 2 * SECOND) {
            journal_to(piece[i]);
            settle(k);
            check_point(k);
        }
        bool failed = mortal.changes >= n;
        kdb_live_close(k);
        check_files("failed at change", n);
        if (!failed) {
            assert_true(n > 15);
            return;
        }
    }
}

static void damage(void **state)
{
    (void)state;
    struct kdb_live_figures f;
    for (unsigned n = 0; n < 6; n++) {
        fresh();
        journal_to(FRAMES);
        struct kdb_live *k = live(&mem->io);
        settle(k);
        if (n == 5) { /* gone while it runs */
            mem_unlink(&mem->io, "/k/sym2026.11.24");
            now += 5 * SECOND;
            kdb_live_step(k, now, 4096);
            settle(k);
            check_point(k);
        }
        kdb_live_close(k);
        struct mem_file *file = mem_find(&mem->io, "/k/sym2026.11.24");
        struct mem_file *side = mem_find(&mem->io, "/k/.sym2026.11.24.pst");
        assert_non_null(file);
        assert_non_null(side);
        if (n == 0)
            file->data[file->size / 2] ^= 1;
        else if (n == 1)
            file->size -= 5;
        else if (n == 2)
            mem_unlink(&mem->io, file->path);
        else if (n == 3)
            side->size /= 2; /* no sidecar to be believed: what it would be is there */
        else if (n == 4)
            mem_size(file, file->size + 100); /* torn */
        k = live(&mem->io);
        settle(k);
        check_point(k);
        kdb_live_figures(k, &f);
        assert_int_equal(f.rebuilt, n < 3);
        kdb_live_close(k);
        check_files("damaged", n);
    }
}

/* What lies there under the day's name and is not ours is kept. */
static void foreign(void **state)
{
    (void)state;
    fresh();
    journal_to(30);
    mem_put(mem, "/k/sym2026.11.23", "\xff\1\0\0\0\0\0\0theirs", 14);
    struct kdb_live *k = live(&mem->io);
    settle(k);
    check_point(k);
    kdb_live_close(k);
    struct mem_file *kept = mem_find(&mem->io, "/k/sym2026.11.23.before");
    assert_non_null(kept);
    assert_int_equal(kept->size, 14);
}

/* Two calendars: the file ends with the mark of the one that ends the date last. */
static void calendars(void **state)
{
    (void)state;
    static const char *const marks[] = {"{\"calendar\":\"asia\",\"day\":\"2026.11.23\"}",
                                        "{\"calendar\":\"default\",\"day\":\"2026.11.23\"}"};
    for (unsigned order = 0; order < 2; order++) {
        struct lk k;
        uint8_t payload[64];
        uint64_t second = 0;
        fresh();
        lk_start(&k, FIRST, LK_DAY, 0);
        lk_schema(&k, &j.trade);
        lk_symbol(&k, 0, (const char *const[]){"AAPL"}, 1);
        for (uint32_t i = 0; i < 3; i++) {
            lk_frame(&k, FRAME_DATA, 0, 1, payload, row(payload, &j.trade, 0, i));
            second = k.position;
            if (i < 2)
                lk_mark(&k, MARK_EOD, marks[i ^ order]);
        }
        mem_put(mem, "/l/log2026.11.23", k.data, k.len);
        store_relaxed(&open_day, (uint16_t)(LK_DAY + 1));
        struct err err;
        struct kdb_live_config c = {.io = &mem->io,
                                    .dirs = {"/l"},
                                    .prefix = "log",
                                    .instance = LK_INSTANCE,
                                    .directory = "/k",
                                    .name = "sym",
                                    .calendar = {"default", "asia"},
                                    .calendars = 2,
                                    .open_day = &open_day,
                                    .retry_ns = SECOND};
        struct kdb_live *live2 = kdb_live_open(&c, &err);
        assert_non_null(live2);
        settle(live2);
        struct kdb_live_point p;
        assert_int_equal(kdb_live_point(live2, &p), KDB_LIVE_READY);
        assert_int_equal(p.messages, 1);
        assert_int_equal(p.position, second);
        assert_string_equal(p.path, "/k/sym2026.11.24");
        kdb_live_close(live2);
        struct kdb_log l;
        struct kdb_message m;
        assert_true(kdb_log_open(&l, &mem->io, "/k/sym2026.11.23", &err));
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_MESSAGE);
        assert_int_equal(kdb_log_next(&l, &m), KDB_LOG_END);
        kdb_log_close(&l);
        lk_free(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(points),  cmocka_unit_test(kills),
                                       cmocka_unit_test(errors),  cmocka_unit_test(damage),
                                       cmocka_unit_test(foreign), cmocka_unit_test(calendars)};
    int failed = cmocka_run_group_tests(tests, lk_setup, lk_teardown);
    lk_free(&j.k);
    for (unsigned i = 0; i < 2; i++)
        free(reference[i].data);
    return failed;
}
