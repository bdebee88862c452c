/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log and reader over two streams: random frames, ends of intervals and dates; whatever is read,
 * from files alone or from files and ring in turn, is the journal as it was appended, and a damaged
 * frame is lost alone.
 */
#include "log_fixture.h"
#include "cursor.h"

static uint64_t rng;
static uint32_t rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 11) % n;
}

static int32_t minute_now, day_now;

static void end_interval(struct fix *x, int32_t minute, int32_t day)
{
    char json[200];
    snprintf(json, sizeof json,
             "{\"calendar\":\"default\",\"day\":\"2024.08.22\",\"from\":\"\",\"to\":\"\",\"next\":"
             "\"2024.08.22.%02d%02d\"}",
             minute / 60, minute % 60);
    fix_mark(x, MARK_EOI, json, day);
    minute_now = minute;
}

static void one_step(struct fix *x, unsigned *eois)
{
    switch (rnd(40)) {
    case 0:
        end_interval(x, (minute_now + 30) % 1440, day_now);
        ++*eois;
        break;
    case 1:
        if (rnd(3))
            break;
        end_interval(x, 0, day_now);
        fix_mark(x, MARK_EOD, "{\"calendar\":\"default\",\"day\":\"x\"}", day_now);
        fix_mark(x, MARK_STATE, "{\"feed\":\"f\",\"next\":1}", ++day_now);
        break;
    case 2:
        fix_mark(x, MARK_TICK, "{}", day_now);
        break;
    default:
        fix_data(x, (FRAME_HEADER + rnd(rnd(8) ? 3000 : 120000)) & ~7u,
                 rnd(3) ? STREAM_INTERVAL : STREAM_DAILY, day_now);
    }
    for (unsigned i = rnd(3); i; i--)
        fix_round(x);
}

/* Every frame from `from` on, as appended; lost: the only range that may be missing. */
static void read_back(struct fix *x, struct cursor *c, uint64_t to, const uint64_t lost[2])
{
    const struct frame *f;
    uint64_t at = c->position;
    enum cursor_verdict v;
    while (at < to) {
        v = cursor_next(c, &f);
        if (v == CURSOR_WAIT) {
            fix_round(x);
            continue;
        }
        if (v == CURSOR_LOST) {
            assert_non_null(lost);
            assert_true(c->lost_from == lost[0] && c->lost_to == lost[1]);
            at = c->lost_to;
            continue;
        }
        if (v != CURSOR_FRAME)
            fail_msg("verdict %d at start+%llu: %s", v, (unsigned long long)(at - x->start),
                     c->err.text);
        assert_true(f->position == at);
        assert_memory_equal(f, x->oracle + (at - x->start), f->length);
        at += f->length;
    }
}

static void flip(const char *dir, const char *name, uint64_t position, uint32_t seed)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    struct stat s;
    assert_true(fd >= 0 && !fstat(fd, &s));
    uint8_t *p = malloc((size_t)s.st_size);
    assert_true(read(fd, p, (size_t)s.st_size) == s.st_size);
    for (uint64_t at = 0; at + FRAME_HEADER <= (uint64_t)s.st_size;) {
        const struct frame *f = (const struct frame *)(p + at);
        if (frame_check(f, (size_t)s.st_size - at, seed) != FRAME_OK)
            break;
        if (f->kind != FRAME_FILE && f->position == position) {
            uint8_t b = p[at + f->length / 2] ^ 0x10;
            assert_true(pwrite(fd, &b, 1, (off_t)(at + f->length / 2)) == 1);
        }
        at += f->length;
    }
    free(p);
    close(fd);
}

static void both_streams(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
        unsigned eois = 0;
        rng = seed * 0x9E3779B97F4A7C15ull;
        minute_now = 570;
        day_now = FIX_DAY;
        x->cfg.interval = 570;
        x->cfg.open_day[0] = FIX_DAY;
        fix_start(x);
        fix_mark(x, MARK_STATE, "{\"feed\":\"f\",\"next\":1}", day_now);
        struct err e = {0};
        struct cursor live;
        struct cursor_config cc = {.io = x->io,
                                   .dirs = {x->dir},
                                   .prefix = "log",
                                   .instance = FIX_INSTANCE,
                                   .ring = &x->ring,
                                   .limit = CURSOR_DURABLE};
        /* a reader that is far behind, then catches up, several times: files and ring in turn */
        assert_true(cursor_open(&live, &cc, &e));
        cursor_seek(&live, x->start);
        for (unsigned lap = 0; lap < 3; lap++) {
            uint64_t until = ring_tail(&x->ring) + (lap == 1 ? 1u << 20 : 18u << 20);
            while (ring_tail(&x->ring) < until)
                one_step(x, &eois);
            assert_true(fix_settle(x, 20000));
            read_back(x, &live, ring_tail(&x->ring), NULL);
        }
        cursor_close(&live);
        assert_true(eois > 3);
        uint64_t end = ring_tail(&x->ring);
        fix_drain(x);
        /* all files: nothing is missing, each is of its stream, date and minute; ends are trimmed
         */
        struct fix_files *all = fix_read(x, end);
        unsigned intervals = 0;
        for (unsigned i = 0; i < all->n; i++) {
            struct log_name n;
            struct stat s;
            char path[600];
            assert_true(all->file[i].ended);
            assert_true(log_name_parse(&n, "log", all->file[i].name));
            assert_int_equal(n.stream, all->file[i].header.stream);
            assert_int_equal(n.minute, all->file[i].header.minute);
            intervals += n.stream == STREAM_INTERVAL;
            snprintf(path, sizeof path, "%s/%s", x->dir, all->file[i].name);
            assert_int_equal(stat(path, &s), 0);
            assert_true((uint64_t)s.st_blocks * 512 <= (uint64_t)s.st_size + 65536);
            assert_true(all->file[i].states >= 1 || all->file[i].header.first == x->start);
        }
        assert_true(intervals > 3 && intervals < all->n);
        cc.ring = NULL;
        struct cursor c;
        assert_true(cursor_open(&c, &cc, &e));
        read_back(x, &c, end, NULL);
        assert_int_equal(cursor_next(&c, &(const struct frame *){NULL}), CURSOR_END);
        cursor_close(&c);
        /* one data frame damaged in its only file */
        for (unsigned n = 0; n < 5; n++) {
            uint64_t at = x->start;
            for (unsigned skip = 50 + rnd(400);
                 skip || ((const struct frame *)(x->oracle + (at - x->start)))->kind != FRAME_DATA;
                 skip -= skip > 0)
                at += ((const struct frame *)(x->oracle + (at - x->start)))->length;
            uint64_t lost[2] = {at,
                                at + ((const struct frame *)(x->oracle + (at - x->start)))->length};
            for (unsigned i = 0; i < all->n; i++)
                flip(x->dir, all->file[i].name, at, frame_seed(FIX_INSTANCE));
            assert_true(cursor_open(&c, &cc, &e));
            read_back(x, &c, end, lost);
            cursor_close(&c);
            for (unsigned i = 0; i < all->n; i++) { /* and whole again: the same bit */
                char path[600];
                snprintf(path, sizeof path, "%s/%s", x->dir, all->file[i].name);
                int fd = open(path, O_RDWR);
                struct stat s;
                assert_true(fd >= 0 && !fstat(fd, &s));
                uint8_t *p = malloc((size_t)s.st_size);
                assert_true(read(fd, p, (size_t)s.st_size) == s.st_size);
                for (uint64_t o = 0; o + FRAME_HEADER <= (uint64_t)s.st_size;) {
                    struct frame *f = (struct frame *)(p + o);
                    if (f->length < FRAME_HEADER || f->length > FRAME_MAX)
                        break;
                    if (f->kind != FRAME_FILE && f->position == at)
                        assert_true(pwrite(fd, x->oracle + (at - x->start), f->length, (off_t)o) ==
                                    (ssize_t)f->length);
                    o += f->length;
                }
                free(p);
                close(fd);
            }
        }
        free(all->seen);
        free(all);
        fix_free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
