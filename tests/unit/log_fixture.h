/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_fixture.h - a hand-driven log under test: a ring, a fake appender that keeps a copy of all it
 * wrote (the oracle), and a reader of the files that shares nothing with storage/logscan.
 */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/record.h"
#include "core/tables.h"
#include "log.h"

#define FIX_INSTANCE 0x1122334455667788ull
#define FIX_START    (1ull << 40)
#define FIX_DAY      9000

struct fix {
    char root[128], dir[256], spill[256];
    struct ring ring;
    struct symbols symbols;
    struct clock clock;
    struct status *st;
    struct io *io;
    struct log *log;
    struct log_config cfg;
    uint8_t *oracle; /* journal bytes from start */
    size_t oracle_cap;
    uint64_t start;
    uint8_t *buf;
};

static inline void fix_rm(const char *path)
{
    char cmd[600];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", path);
    if (system(cmd) != 0)
        print_message("could not remove %s (its disk is broken)\n", path);
}

static inline void fix_ring(struct fix *x, uint64_t start)
{
    struct err e;
    x->start = start;
    assert_true(ring_create(&x->ring, RING_MIN, start, FIX_INSTANCE, false, &e));
    x->oracle_cap = 64u << 20;
    x->oracle = malloc(x->oracle_cap);
    assert_non_null(x->oracle);
}

/* base: directory on the filesystem under test */
static inline struct fix *fix_new(const char *base, enum log_level level, bool uring, bool buffered)
{
    struct err e = {0};
    struct fix *x = calloc(1, sizeof *x);
    snprintf(x->root, sizeof x->root, "%s/pstlogXXXXXX", base);
    assert_non_null(mkdtemp(x->root));
    snprintf(x->dir, sizeof x->dir, "%s/log", x->root);
    snprintf(x->spill, sizeof x->spill, "%s/spill", x->root);
    assert_int_equal(mkdir(x->dir, 0755), 0);
    clock_init_virtual(&x->clock, FIX_DAY * NS_PER_DAY);
    x->st = status_create("test", &e);
    assert_non_null(x->st);
    assert_true(symbols_create(&x->symbols, 1u << 16, &e));
    x->io = uring ? io_ring_create(64, &e) : io_posix_create(&e);
    if (!x->io)
        fail_msg("%s", e.text);
    x->buf = malloc(FRAME_MAX);
    fix_ring(x, FIX_START);
    x->cfg = (struct log_config){.io = x->io,
                                 .ring = &x->ring,
                                 .symbols = &x->symbols,
                                 .clock = &x->clock,
                                 .status = x->st,
                                 .directory = x->dir,
                                 .prefix = "log",
                                 .instance_name = "test",
                                 .level = level,
                                 .depth = 8,
                                 .preallocate = 4 << 20,
                                 .retry_ns = 20 * NS_PER_MS,
                                 .buffered = buffered};
    return x;
}

static inline void fix_start(struct fix *x)
{
    struct err e = {0};
    x->log = log_create(&x->cfg, &e);
    if (!x->log)
        fail_msg("%s", e.text);
}

static inline void fix_free(struct fix *x)
{
    if (x->log) {
        log_fini(x->log);
        log_destroy(x->log);
    }
    io_destroy(x->io);
    ring_close(&x->ring);
    symbols_close(&x->symbols);
    status_destroy(x->st);
    fix_rm(x->root);
    free(x->oracle);
    free(x->buf);
    free(x);
}

static inline int fix_round(struct fix *x)
{
    int did = log_work(x->log);
    log_housekeeping(x->log);
    return did;
}

/* Publishes the frame that stands in x->buf (length, kind, stream, day, payload set). False: the
 * ring is full. */
static inline bool fix_put(struct fix *x)
{
    struct frame *f = (struct frame *)x->buf;
    if (ring_free(&x->ring, f->length) < f->length)
        return false;
    f->position = x->ring.w_tail;
    f->time = clock_now(&x->clock);
    frame_seal(f, x->ring.head->seed);
    assert_true(f->position - x->start + f->length <= x->oracle_cap);
    memcpy(x->oracle + (f->position - x->start), f, f->length);
    ring_write(&x->ring, f, f->length);
    ring_publish(&x->ring);
    return true;
}

static inline void fix_data(struct fix *x, uint32_t length, uint8_t stream, int32_t day)
{
    struct frame *f = (struct frame *)x->buf;
    memset(f, 0, FRAME_HEADER);
    f->length = length;
    f->kind = FRAME_DATA;
    f->stream = stream;
    f->day = (uint16_t)day;
    uint64_t v = x->ring.w_tail * 0x9E3779B97F4A7C15ull;
    for (uint32_t i = FRAME_HEADER; i < length; i += 8, v = v * 6364136223846793005ull + 1)
        put64(x->buf + i, v | 2); /* table id >= 2: rows without packet records */
    for (int64_t spin = clock_monotonic() + 20 * NS_PER_S; !fix_put(x);) {
        fix_round(x);
        if (clock_monotonic() > spin)
            fail_msg("the ring stays full");
    }
}

/* One run of `seqs` sequences, rows of 64 bytes. */
static inline void fix_run(struct fix *x, uint32_t feed, uint32_t session, uint64_t seq,
                           uint32_t seqs, uint32_t flags, int32_t day)
{
    struct frame *f = (struct frame *)x->buf;
    memset(x->buf, 0, FRAME_HEADER + 64 + seqs * 64);
    f->length = FRAME_HEADER + 64 + seqs * 64;
    f->kind = FRAME_DATA;
    f->day = (uint16_t)day;
    struct packet_record *p = (struct packet_record *)(x->buf + FRAME_HEADER);
    *p = (struct packet_record){.bytes = 64,
                                .sym = PST_NULL_SYMBOL,
                                .seq = seq,
                                .feed = feed,
                                .session = session,
                                .flags = flags,
                                .rows = seqs,
                                .seqs = flags & RUN_UNSEQUENCED ? 0 : seqs,
                                .run_bytes = seqs * 64};
    for (uint32_t i = 0; i < seqs; i++)
        *(struct record *)(x->buf + FRAME_HEADER + 64 + i * 64) =
            (struct record){.table = 7, .bytes = 64, .sym = i, .time = f->time};
    assert_true(fix_put(x));
}

static inline void fix_mark(struct fix *x, enum mark_type type, const char *json, int32_t day)
{
    assert_true(frame_build_mark(x->buf, type, json, strlen(json)) > 0);
    ((struct frame *)x->buf)->day = (uint16_t)day;
    assert_true(fix_put(x));
}

static inline uint64_t fix_durable(const struct fix *x)
{
    return load_acquire(&x->ring.head->durable);
}

/* Runs the log until everything so far is durable. */
static inline bool fix_settle(struct fix *x, int64_t ms)
{
    int64_t until = clock_monotonic() + ms * NS_PER_MS;
    while (fix_durable(x) < ring_tail(&x->ring)) {
        if (!fix_round(x))
            usleep(100);
        if (clock_monotonic() > until)
            return false;
    }
    return true;
}

static inline void fix_drain(struct fix *x)
{
    int64_t until = clock_monotonic() + 10 * NS_PER_S;
    log_drain_start(x->log);
    while (!log_drained(x->log)) {
        fix_round(x);
        if (clock_monotonic() > until)
            fail_msg("drain does not end");
    }
}

/* ---- the reader ---- */

struct fix_file {
    char name[128];
    bool spilled, ended;
    struct log_file_header header;
    struct log_file_end end;
    uint64_t frames, last;
    unsigned schemas, states;
    uint32_t symbols;
    char state[8][256]; /* JSON of the states it repeats */
};
struct fix_files {
    struct fix_file file[512];
    unsigned n;
    uint8_t *seen; /* one byte per 8 journal bytes */
    uint64_t frames, repeats;
};

static inline void fix_file_frame(struct fix *x, struct fix_file *ff, const struct frame *f)
{
    unsigned type = 0;
    uint32_t len = 0;
    const uint8_t *b = log_file_body(f, &type, &len);
    assert_non_null(b);
    assert_true(f->position == ff->header.first);
    (void)x;
    if (type == LOG_FILE_SCHEMA)
        ff->schemas++;
    if (type == LOG_FILE_SYMBOLS) {
        assert_int_equal(le32(b), ff->symbols);
        ff->symbols += le32(b + 4);
    }
    if (type == LOG_FILE_STATE) {
        const struct frame *s = (const struct frame *)b;
        assert_int_equal(frame_check(s, len, frame_seed(FIX_INSTANCE)), FRAME_OK);
        assert_true(s->position < ff->header.first);
        const char *json = frame_mark(s, &type, &len);
        assert_int_equal(type, MARK_STATE);
        snprintf(ff->state[ff->states++ % 8], 256, "%.*s", (int)len, json);
    }
    if (type == LOG_FILE_END) {
        assert_true(log_file_end_read(&ff->end, f));
        ff->ended = true;
    }
}

static inline void fix_read_file(struct fix *x, struct fix_files *all, const char *dir,
                                 const char *name)
{
    char path[600];
    struct log_name n;
    if (!log_name_parse(&n, "log", name))
        return;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    struct stat s;
    assert_int_equal(fstat(fd, &s), 0);
    uint8_t *p = aligned_alloc(4096, pst_align_up((uint64_t)s.st_size + 4096, 4096));
    assert_true(read(fd, p, (size_t)s.st_size) == s.st_size);
    close(fd);
    struct fix_file ff = {0};
    if (log_file_header_find(&ff.header, p, (size_t)s.st_size, FIX_INSTANCE) == LOG_HEADER_NONE) {
        free(p);
        return; /* never begun */
    }
    assert_int_equal(ff.header.day, n.day);
    assert_int_equal(ff.header.suffix, n.suffix);
    snprintf(ff.name, sizeof ff.name, "%.127s", name);
    ff.last = ff.header.first;
    ff.spilled = ff.header.spilled;
    uint32_t seed = frame_seed(FIX_INSTANCE);
    for (uint64_t at = 0; at < (uint64_t)s.st_size;) {
        const struct frame *f = (const struct frame *)(p + at);
        if (frame_check(f, (size_t)s.st_size - at, seed) != FRAME_OK ||
            f->position < ff.header.first)
            break;
        at += f->length;
        if (f->kind == FRAME_FILE) {
            fix_file_frame(x, &ff, f);
            continue;
        }
        assert_false(ff.ended);
        assert_true(f->position >= ff.last);
        assert_true(f->stream == STREAM_EVERY || f->day == n.day);
        ff.last = f->position + f->length;
        ff.frames++;
        if (f->position < x->start)
            continue;
        uint64_t o = f->position - x->start;
        assert_true(o + f->length <= ring_tail(&x->ring) - x->start);
        assert_memory_equal(f, x->oracle + o, f->length);
        all->repeats += all->seen[o / 8];
        memset(all->seen + o / 8, 1, f->length / 8);
        all->frames++;
    }
    free(p);
    assert_true(all->n < PST_COUNT(all->file));
    all->file[all->n++] = ff;
}

static inline int fix_by_name(const void *a, const void *b)
{
    return strcmp(((const struct fix_file *)a)->name, ((const struct fix_file *)b)->name);
}

/* Reads all files; every byte of the journal below `upto` must be there, unchanged. */
static inline struct fix_files *fix_read(struct fix *x, uint64_t upto)
{
    struct fix_files *all = calloc(1, sizeof *all);
    all->seen = calloc(1, x->oracle_cap / 8 + 1);
    const char *dirs[] = {x->dir, x->spill};
    for (unsigned i = 0; i < 2; i++) {
        DIR *d = opendir(dirs[i]);
        for (const struct dirent *e; d && (e = readdir(d));)
            fix_read_file(x, all, dirs[i], e->d_name);
        if (d)
            closedir(d);
    }
    for (uint64_t p = x->start; p < upto; p += 8)
        if (!all->seen[(p - x->start) / 8])
            fail_msg("position start+%llu is in no file", (unsigned long long)(p - x->start));
    qsort(all->file, all->n, sizeof all->file[0], fix_by_name);
    return all;
}

static inline void fix_files_free(struct fix_files *f)
{
    free(f->seen);
    free(f);
}
