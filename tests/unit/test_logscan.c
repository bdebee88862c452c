/* SPDX-License-Identifier: Apache-2.0 */
/* One log file: every forged tail, every truncation, every bit; bisecting a huge file. */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "forged_tails.h"
#include "log_kit.h"
#include "logscan.h"

#define FIRST 0x4000000ull

struct seen {
    uint64_t position[256];
    uint32_t length[256], n;
    enum logscan_verdict last; /* END, CLEAN, TORN, ERROR */
    uint64_t bad_from, bad_to, damages;
    bool hole, gave_up;
    uint64_t offset;
};


static struct seen scan(const char *path)
{
    struct seen seen = {0};
    struct logscan s;
    struct err e;
    const struct frame *f;
    if (!logscan_open(&s, &mem->io, path, LK_INSTANCE, &e)) {
        seen.last = LOGSCAN_ERROR;
        return seen;
    }
    for (;;) {
        enum logscan_verdict v = logscan_step(&s, &f, UINT64_MAX);
        if (v == LOGSCAN_FRAME) {
            if (f->kind == FRAME_FILE)
                continue;
            assert_true(seen.n < 256);
            seen.position[seen.n] = f->position;
            seen.length[seen.n++] = f->length;
        } else if (v == LOGSCAN_DAMAGE) {
            assert_true(s.bad_to > s.bad_from);
            seen.damages++;
            seen.bad_from = s.bad_from;
            seen.bad_to = s.bad_to;
            seen.hole = s.hole;
        } else {
            seen.last = v;
            if (v == LOGSCAN_TORN) {
                seen.bad_from = s.bad_from;
                seen.bad_to = s.bad_to;
                seen.hole = s.hole;
            }
            seen.gave_up = s.gave_up;
            break;
        }
    }
    seen.offset = s.offset;
    logscan_close(&s);
    return seen;
}

static struct seen scan_lk(const struct lk *k)
{
    lk_save(k, mem, "/l/log2026.11.23");
    return scan("/l/log2026.11.23");
}

/* Headers, a schema frame of the file, and n frames of rows. */
static void small_log(struct lk *k, unsigned n)
{
    lk_start(k, FIRST, LK_DAY, 0);
    for (unsigned i = 0; i < n; i++)
        lk_rows(k, 1 + i % 3, i * 100);
}

static void clean_file(void **state)
{
    (void)state;
    struct lk k;
    small_log(&k, 20);
    struct seen s = scan_lk(&k);
    assert_int_equal(s.last, LOGSCAN_END);
    assert_int_equal(s.n, 20);
    lk_end(&k, LOG_END_STOP);
    s = scan_lk(&k);
    assert_int_equal(s.last, LOGSCAN_CLEAN);
    assert_int_equal(s.n, 20);
    assert_int_equal(s.position[0], FIRST);
    assert_int_equal(s.position[19] + s.length[19], k.position);
    lk_block(&k);
    lk_zeros(&k, 3 << 20);
    s = scan_lk(&k);
    assert_int_equal(s.last, LOGSCAN_CLEAN);
    /* the first header copy torn: the second serves */
    k.data[100] ^= 1;
    struct logscan sc;
    struct err e;
    lk_save(&k, mem, "/l/log2026.11.23");
    assert_true(logscan_open(&sc, &mem->io, "/l/log2026.11.23", 0, &e));
    assert_int_equal(sc.header_verdict, LOG_HEADER_ONE_COPY);
    logscan_close(&sc);
    lk_free(&k);
}

/* What a crash or a disk can leave behind the last good frame, and the exact verdict. */
static void forged_tails(void **state)
{
    (void)state;
    const enum logscan_verdict *want = forged_want;
    for (int kind = 0; kind < FORGED; kind++)
        for (int padded = 0; padded < 2; padded++) {
            struct lk k;
            small_log(&k, 12);
            uint64_t good = k.len, end = k.position;
            forge_tail(&k, (enum forged)kind, &good, &end);
            if (padded)
                lk_zeros(&k, 100000 & ~7u);
            struct seen s = scan_lk(&k);
            if (s.last != want[kind] || s.offset != good)
                fail_msg("forged %d padded %d: %s at %llu, want %s at %llu", kind, padded,
                         logscan_verdict_name(s.last), (unsigned long long)s.offset,
                         logscan_verdict_name(want[kind]), (unsigned long long)good);
            assert_int_equal(s.damages, 0);
            assert_int_equal(s.position[s.n - 1] + s.length[s.n - 1], end);
            if (s.last == LOGSCAN_TORN) {
                assert_int_equal(s.bad_from, good);
                assert_true(s.bad_to > good && s.bad_to <= k.len);
            }

            /* The same bytes with a good frame behind them are damage in the middle. */
            size_t bad_end = k.len = pst_align8(k.len);
            k.position = end + 4096;
            lk_rows(&k, 2, 7000);
            s = scan_lk(&k);
            assert_int_equal(s.last, LOGSCAN_END);
            assert_int_equal(s.damages, 1);
            assert_int_equal(s.bad_from, good);
            assert_int_equal(s.bad_to, bad_end);
            bool never_written = want[kind] == LOGSCAN_END;
            assert_int_equal(s.hole, never_written);
            assert_int_equal(s.position[s.n - 1], end + 4096);
            lk_free(&k);
        }
}

/* Every cut: the frames that are whole are there, nothing else is. */
static void truncation(void **state)
{
    (void)state;
    struct lk k;
    small_log(&k, 12);
    lk_end(&k, LOG_END_STOP);
    struct seen whole = scan_lk(&k);
    assert_int_equal(whole.last, LOGSCAN_CLEAN);
    for (size_t cut = 0; cut < k.len; cut++) {
        mem_put(mem, "/l/log2026.11.23", k.data, cut);
        struct seen s = scan("/l/log2026.11.23");
        if (cut < LOG_BLOCK) {
            assert_int_equal(s.last, LOGSCAN_ERROR);
            continue;
        }
        assert_true(s.last == LOGSCAN_END || s.last == LOGSCAN_TORN);
        size_t at = LOG_PREAMBLE;
        uint32_t n = 0;
        while (n < whole.n && at + whole.length[n] <= cut)
            at += whole.length[n++];
        assert_int_equal(s.n, n);
        if (cut >= LOG_PREAMBLE) {
            assert_int_equal(s.offset, at);
            assert_int_equal(s.last, at == cut ? LOGSCAN_END : LOGSCAN_TORN);
        }
    }
    lk_free(&k);
}

/* Every bit: all other frames are found, the altered one is not. */
static void bit_flips(void **state)
{
    (void)state;
    struct lk k;
    small_log(&k, 6);
    lk_end(&k, LOG_END_STOP);
    struct seen whole = scan_lk(&k);
    struct mem_file *f = mem_find(&mem->io, "/l/log2026.11.23");
    for (size_t byte = 0; byte < k.len; byte++)
        for (int bit = 0; bit < 8; bit++) {
            /* of the headers' padding every 16th byte will do */
            if (byte < LOG_PREAMBLE && byte % LOG_BLOCK > 600 && byte % 16)
                continue;
            f->data[byte] ^= (uint8_t)(1 << bit);
            struct seen s = scan("/l/log2026.11.23");
            f->data[byte] ^= (uint8_t)(1 << bit);
            size_t at = LOG_PREAMBLE;
            uint32_t hit = 0;
            while (hit < whole.n && (byte < at || byte >= at + whole.length[hit]))
                at += whole.length[hit++];
            if (byte < LOG_PREAMBLE)
                hit = whole.n;
            assert_int_not_equal(s.last, LOGSCAN_ERROR);
            uint32_t n = 0;
            for (uint32_t i = 0; i < whole.n; i++)
                if (i != hit) {
                    assert_int_equal(s.position[n], whole.position[i]);
                    n++;
                }
            assert_int_equal(s.n, n);
            if (hit < whole.n || byte < LOG_PREAMBLE)
                assert_int_equal(s.damages, 1);
            else
                assert_int_equal(s.last, LOGSCAN_TORN); /* the END frame itself */
        }
    lk_free(&k);
}

/* Plausible headers everywhere: the search gives up instead of hashing for hours. */
static void hostile(void **state)
{
    (void)state;
    struct lk k;
    small_log(&k, 3);
    size_t good = k.len;
    struct frame f = {
        .crc = 1, .length = FRAME_MAX, .position = k.position + 64, .kind = FRAME_DATA};
    for (int i = 0; i < 40000; i++) {
        memcpy(lk_room(&k, sizeof f), &f, sizeof f);
        k.len += sizeof f;
    }
    struct seen s = scan_lk(&k);
    assert_int_equal(s.last, LOGSCAN_TORN);
    assert_true(s.gave_up);
    assert_int_equal(s.offset, good);
    lk_free(&k);
}

/* A sparse file of 20 GB: the tail and any position within a few MiB of reading. */
static uint64_t real_bytes;
static int real_open(struct io *io, const char *path, int flags, unsigned mode)
{
    (void)io;
    int fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}
static int real_close(struct io *io, int fd)
{
    (void)io;
    return close(fd);
}
static int64_t real_pread(struct io *io, int fd, void *buf, size_t len, uint64_t at)
{
    (void)io;
    ssize_t n = pread(fd, buf, len, (off_t)at);
    real_bytes += n > 0 ? (uint64_t)n : 0;
    return n < 0 ? -errno : n;
}
static int real_fstat(struct io *io, int fd, struct io_stat *out)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    *out = (struct io_stat){.size = (uint64_t)st.st_size};
    return 0;
}
static const struct io_ops real_ops = {.name = "real",
                                       .open = real_open,
                                       .close = real_close,
                                       .pread = real_pread,
                                       .fstat = real_fstat};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void huge_file(void **state)
{
    (void)state;
    struct err e;
    struct io io = {.ops = &real_ops};
    char dir[] = "/tmp/penstock-logscan-XXXXXX", path[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log2026.11.23", dir);
    struct lk k;
    lk_start(&k, FIRST, LK_DAY, 0);
    while (k.len < 48u << 20)
        lk_rows(&k, 64, (int64_t)k.len);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, k.data, k.len, 0), k.len);
    assert_int_equal(ftruncate(fd, (off_t)20 << 30), 0);
    struct logscan s;
    assert_true(logscan_open(&s, &io, path, LK_INSTANCE, &e));
    int64_t last = 0;
    double t0 = now_ms();
    assert_true(logscan_tail(&s));
    double t1 = now_ms();
    assert_true(s.offset < k.len && k.len - s.offset < 4u << 20);
    assert_true(real_bytes < 160u << 20);
    assert_int_equal(logscan_to_end(&s, &last), LOGSCAN_END);
    assert_int_equal(s.position, k.position);
    assert_int_equal(s.offset, k.len);
    double t2 = now_ms();
    uint64_t n = k.position - FIRST;
    for (unsigned i = 0; i <= 16; i++) {
        uint64_t want = FIRST + n * i / 16;
        bool got = logscan_find(&s, want);
        assert_int_equal(got, want < k.position);
        const struct frame *f;
        if (got) {
            while (logscan_next(&s, &f) == LOGSCAN_FRAME && f->kind == FRAME_FILE)
                ;
            assert_true(f->position <= want && f->position + f->length > want);
        }
    }
    printf("          20 GB sparse: tail %.1f ms, tail and end %.1f ms, find %.1f ms\n", t1 - t0,
           t2 - t0, (now_ms() - t2) / 17);
    /* what a plain walk reaches, out of the page cache */
    logscan_seek(&s, 0, FIRST);
    const struct frame *f;
    double t3 = now_ms();
    while (logscan_next(&s, &f) == LOGSCAN_FRAME)
        ;
    printf("          walk of %.0f MiB in frames of 2 KiB: %.2f GB/s\n", (double)k.len / 0x1p20,
           (double)k.len / (now_ms() - t3) / 1e6);
    assert_int_equal(s.offset, k.len);
    logscan_close(&s);
    close(fd);
    unlink(path);
    rmdir(dir);
    lk_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_file), cmocka_unit_test(forged_tails), cmocka_unit_test(truncation),
        cmocka_unit_test(bit_flips),  cmocka_unit_test(hostile),      cmocka_unit_test(huge_file),
    };
    return cmocka_run_group_tests(tests, lk_setup, lk_teardown);
}
