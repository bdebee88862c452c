/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of trouble a log can be in, and what a start makes of it with each answer: every bit
 * flipped, every truncation, files gone, unreadable, foreign, twice; salvage, truncate, refuse,
 * repair. A second start always finds a sound log, or trouble that is accounted for, and changes
 * nothing.
 */
#include <malloc.h>
#include "core/sanitized.h"
#include "log_repair.h"
#include "recovery_kit.h"

#define Q "/q"

static char said[8192]; /* all lines of a start, with newlines */
static unsigned asked;

static void say(void *arg, const char *line)
{
    (void)arg;
    assert_null(strchr(line, '\n'));
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

static struct recovery_config trouble(void)
{
    struct recovery_config cfg = config();
    cfg.quarantine = Q;
    cfg.say = say;
    *said = 0;
    asked = 0;
    return cfg;
}

static void wipe(void)
{
    for (int i = 0; i < LK_FILES; i++)
        *mem->file[i].path = 0;
}

/* ---- the oracle: frames of the journal as they were written ---- */

struct wrote {
    size_t at; /* in the file */
    uint64_t position;
    uint32_t length;
    uint64_t seq, n; /* rows of S1; n 0: none */
    bool tells;      /* a tick: says where S1 stands */
    uint64_t next;
    bool symbols; /* without it S1 has no name */
};
struct small {
    struct lk k;
    struct wrote w[24];
    unsigned n;
    uint64_t durable;
};

static void wrote(struct small *s, size_t from)
{
    struct wrote *w = &s->w[s->n++];
    const struct frame *f = (const struct frame *)(s->k.data + from);
    assert_true(s->n <= PST_COUNT(s->w));
    *w = (struct wrote){.at = from, .position = f->position, .length = f->length};
}
static void rows_of(struct small *s, uint64_t seq, uint32_t n)
{
    size_t from = s->k.len;
    data(&s->k, S1, seq, n);
    wrote(s, from);
    s->w[s->n - 1].seq = seq;
    s->w[s->n - 1].n = n;
}
static void tick_of(struct small *s, uint64_t next)
{
    size_t from = s->k.len;
    s->durable = s->k.position;
    tick(&s->k, s->durable, next);
    wrote(s, from);
    s->w[s->n - 1].tells = true;
    s->w[s->n - 1].next = next;
}

/* Schemas, symbols, rows, ticks: some 1.2 KiB behind the headers. */
static void small_log(struct small *s)
{
    memset(s, 0, sizeof *s);
    lk_start(&s->k, FIRST, LK_DAY, 0);
    size_t from = s->k.len;
    lk_schema(&s->k, &gap_table);
    wrote(s, from);
    from = s->k.len;
    lk_schema(&s->k, &quote);
    wrote(s, from);
    from = s->k.len;
    lk_symbol(&s->k, 0, texts, TAUGHT);
    wrote(s, from);
    s->w[s->n - 1].symbols = true;
    rows_of(s, 1, 2);
    tick_of(s, 3);
    rows_of(s, 3, 3);
    rows_of(s, 6, 1);
    tick_of(s, 7);
    rows_of(s, 7, 2);
}

/* What recovery must say of S1 when the frames of `hit` (bits) are gone: the sequence it goes on
 * at, and the gaps that what stands behind a hole tells. */
struct verdict {
    uint64_t next;
    uint64_t gap[8][2];
    unsigned gaps, ranges;
};

static struct verdict judge(const struct small *s, uint64_t hit)
{
    struct verdict v = {0};
    bool loss = false, named = true, known = false;
    for (unsigned i = 0; i < s->n; i++) {
        const struct wrote *w = &s->w[i];
        if (hit >> i & 1) {
            v.ranges += !(i && hit >> (i - 1) & 1);
            loss = true;
            named &= !w->symbols;
            continue;
        }
        uint64_t from = w->n ? w->seq : w->tells ? w->next : 0, to = w->n ? w->seq + w->n : w->next;
        if (!from || (w->n && !named))
            continue; /* rows of a session without a name say nothing */
        /* known from before the hole, or begun in it: from 1 on */
        if (loss && from > (known ? v.next : 1)) {
            v.gap[v.gaps][0] = known ? v.next : 1;
            v.gap[v.gaps++][1] = from - 1;
        }
        loss = false;
        known = true;
        v.next = to > v.next ? to : v.next;
    }
    return v;
}

static void same(const char *what, size_t at, uint64_t got, uint64_t want)
{
    if (got != want)
        fail_msg("%s at byte %zu: %llu, not %llu; said: %s", what, at, (unsigned long long)got,
                 (unsigned long long)want, said);
}

/* Every frame but those of `hit` is read, byte for byte, and nothing else. */
static void frames_are(const struct small *s, uint64_t hit, size_t at)
{
    struct cursor c;
    struct cursor_config cc = {
        .io = &mem->io, .dirs = {"/l", "/spill"}, .prefix = "log", .instance = LK_INSTANCE};
    const struct frame *f;
    enum cursor_verdict v;
    unsigned i = 0;
    assert_true(cursor_open(&c, &cc, NULL));
    while ((v = cursor_next(&c, &f)) == CURSOR_FRAME || v == CURSOR_LOST) {
        if (v == CURSOR_LOST)
            continue;
        while (i < s->n && hit >> i & 1)
            i++;
        if (i == s->n || f->length != s->w[i].length ||
            memcmp(f, s->k.data + s->w[i].at, f->length))
            fail_msg("byte %zu: frame %u is not as it was written", at, i);
        i++;
    }
    while (i < s->n && hit >> i & 1)
        i++;
    same("frames", at, i, s->n);
    cursor_close(&c);
}

static void start_is(const struct small *s, const struct verdict *want, uint64_t end, size_t at)
{
    struct recovery r;
    struct recovery_config cfg = trouble();
    run(&r, &cfg);
    same("end", at, r.old_end, end);
    same("ranges", at, r.ranges, want->ranges);
    const struct recovery_session *one = session(&r, "S1");
    same("next", at, one ? one->next : 0, want->next);
    same("gaps", at, r.gaps, want->gaps);
    for (unsigned i = 0; i < want->gaps; i++) {
        same("gap from", at, r.gap[i].first, want->gap[i][0]);
        same("gap to", at, r.gap[i].last, want->gap[i][1]);
    }
    for (uint32_t i = 0; i < r.ranges; i++)
        same("durable", at, r.range[i].damage, r.range[i].from < r.durable);
    assert_int_equal(r.start, LEASE);
    recovery_free(&r);
    (void)s;
}

/* Every bit of a small log, one at a time. Of the headers, of which test_logscan turns every bit,
 * one in each 64 bytes; with PST_ALL=1 one of each byte. With a sanitizer, which has the same code
 * to look at each time, one bit of each byte. */
static void every_bit(void **state)
{
    (void)state;
    struct small s;
    struct snapshot *after = malloc(sizeof *after);
    assert_non_null(after);
    small_log(&s);
    size_t step = getenv("PST_ALL") ? 1 : 64;
    for (size_t at = 0; at < s.k.len; at += at < LOG_PREAMBLE ? step : 1)
        for (unsigned bit = at < LOG_PREAMBLE || PST_SANITIZED ? at % 8 : 0; bit < 8; bit++) {
            uint64_t hit = 0, end = s.k.position;
            for (unsigned i = 0; i < s.n; i++)
                hit |= (uint64_t)(at >= s.w[i].at && at < s.w[i].at + s.w[i].length) << i;
            if (hit >> (s.n - 1) & 1)
                end = s.w[s.n - 1].position;
            struct verdict want = judge(&s, hit & ~(1ull << (s.n - 1)));
            if (hit >> (s.n - 1) & 1)
                want.next =
                    s.w[s.n - 1].seq; /* a torn tail is no range: nothing stands behind it */
            lk_save(&s.k, mem, LOG);
            mem_find(&mem->io, LOG)->data[at] ^= (uint8_t)(1u << bit);
            start_is(&s, &want, end, at);
            frames_are(&s, hit, at);
            if (at < LOG_PREAMBLE) {
                if (memcmp(mem_find(&mem->io, LOG)->data, s.k.data, s.k.len))
                    fail_msg("byte %zu of a header copy was not written again", at);
                assert_non_null(mem_find(&mem->io, Q "/log2026.11.23.header"));
            } else if (hit >> (s.n - 1) & 1) {
                assert_int_equal(mem_find(&mem->io, LOG)->size, s.w[s.n - 1].at);
            }
            if (bit == at % 8) {
                snapshot_take(after);
                start_is(&s, &want, end, at);
                snapshot_same(after);
            }
            wipe();
            if (at < LOG_PREAMBLE || PST_SANITIZED)
                break;
        }
    free(after);
    lk_free(&s.k);
}

/* The file cut off at every byte: every whole frame is there, what is left of the next is saved and
 * cut off. */
static void every_length(void **state)
{
    (void)state;
    struct small s;
    struct snapshot *after = malloc(sizeof *after);
    assert_non_null(after);
    small_log(&s);
    for (size_t len = 0; len <= s.k.len; len += PST_SANITIZED ? 5 : 1) {
        struct recovery_config cfg = trouble();
        uint64_t next = 0, end = FIRST;
        size_t good = len < LOG_PREAMBLE ? LOG_BLOCK : LOG_PREAMBLE;
        unsigned torn = 0;
        for (unsigned i = 0; i < s.n && s.w[i].at + s.w[i].length <= len; i++) {
            const struct wrote *w = &s.w[i];
            next = w->n ? w->seq + w->n : w->tells ? w->next : next;
            end = w->position + w->length;
            good = w->at + w->length;
        }
        mem_put(mem, LOG, s.k.data, len);
        for (int again = 0; again < 2; again++) {
            struct recovery r;
            if (again)
                snapshot_take(after);
            run(&r, &cfg);
            if (len < LOG_BLOCK) {
                assert_true(r.empty); /* not even one header: nothing was ever in it */
            } else {
                const struct recovery_session *one = session(&r, "S1");
                same("end", len, r.old_end, end);
                same("next", len, one ? one->next : 0, next);
                same("ranges", len, r.ranges, 0);
                if (!again)
                    torn = r.torn_files;
                else
                    same("torn again", len, r.torn_files, 0);
            }
            recovery_free(&r);
        }
        snapshot_same(after);
        if (len >= LOG_BLOCK)
            same("torn", len, torn, good < len);
        same("size", len, mem_find(&mem->io, LOG)->size, torn ? good : len);
        wipe();
    }
    free(after);
    lk_free(&s.k);
}

/* ---- answers ---- */

static int32_t answer;
static struct pst_range last_range;
static char last_path[128];
static const uint8_t *gives; /* a repair: the whole file as it was */
static size_t gives_at;

static int32_t decide(void *arg, struct pst_range *range, char *sentence, uint32_t room)
{
    (void)arg;
    asked++;
    last_range = *range;
    snprintf(last_path, sizeof last_path, "%s", range->path ? range->path : "");
    assert_int_equal(range->size, sizeof *range);
    assert_true(range->bytes != NULL || !range->length || range->damage == PST_UNREADABLE);
    if (gives && range->repair)
        memcpy(range->repair, gives + gives_at + range->offset, range->length);
    if (gives)
        snprintf(sentence, room, "the function was here");
    return answer;
}

/* Three files; what is done to them; with each answer. */
struct three {
    struct lk a, b, c;
    uint64_t b_first, b_end, end;
    size_t hit; /* of the frame with rows 13, 14 in b */
    uint64_t hit_from, hit_to;
};

static void three_files(struct three *t)
{
    start(&t->a);
    data(&t->a, S1, 1, 10);
    lk_start(&t->b, t->a.position, LK_DAY, 1);
    data(&t->b, S1, 11, 2);
    t->hit = t->b.len;
    t->hit_from = t->b.position;
    data(&t->b, S1, 13, 2);
    t->hit_to = t->b.position;
    data(&t->b, S1, 15, 6);
    lk_start(&t->c, t->b.position, LK_DAY, 2);
    tick(&t->c, t->c.position, 21);
    data(&t->c, S1, 21, 10);
    t->b_first = t->a.position;
    t->b_end = t->b.position;
    t->end = t->c.position;
    lk_save(&t->a, mem, LOG);
    lk_save(&t->b, mem, LOG ".1");
    lk_save(&t->c, mem, LOG ".2");
}
static void three_free(struct three *t)
{
    lk_free(&t->a);
    lk_free(&t->b);
    lk_free(&t->c);
    wipe();
    gives = NULL;
}

static void salvage(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    three_files(&t);
    mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
    cfg.decide = decide;
    answer = PST_SALVAGE;
    for (int again = 0; again < 2; again++) {
        if (again)
            snapshot_take(&before);
        run(&r, &cfg);
        assert_int_equal(asked, 1 + again);
        assert_int_equal(last_range.damage, PST_ALTERED);
        assert_int_equal(last_range.first, t.hit_from);
        assert_int_equal(last_range.last, t.hit_to);
        assert_int_equal(last_range.offset, t.hit);
        assert_int_equal(last_range.was_durable, 1);
        assert_string_equal(last_path, LOG ".1");
        assert_int_equal(r.ranges, 1);
        assert_int_equal(r.gaps, 1);
        expect_gap(&r, 0, "S1", 13, 14);
        assert_int_equal(r.old_end, t.end);
        assert_int_equal(r.damages, 1);
        assert_true(r.damage[0].was_durable && r.damage[0].lost && r.damage[0].done);
        recovery_free(&r);
    }
    snapshot_same(&before);
    char copy[128];
    snprintf(copy, sizeof copy, Q "/log2026.11.23.1.%zu-%zu", t.hit,
             t.hit + (size_t)(t.hit_to - t.hit_from));
    struct mem_file *f = mem_find(&mem->io, copy);
    assert_non_null(f);
    assert_int_equal(f->size, t.hit_to - t.hit_from);
    assert_memory_equal(f->data, mem_find(&mem->io, LOG ".1")->data + t.hit, f->size);
    assert_non_null(strstr(said, "are damaged, copied to " Q "/log2026.11.23.1."));
    assert_non_null(strstr(said, "HAD BEEN DURABLE"));
    three_free(&t);
}

static void truncate_log(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    three_files(&t);
    mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
    cfg.decide = decide;
    cfg.decide_all = true;
    answer = PST_TRUNCATE;
    run(&r, &cfg);
    assert_int_equal(r.cut_at, t.hit_from);
    assert_int_equal(r.cut_files, 1);
    assert_int_equal(r.cut_frames, 3); /* one of b behind the damage, two of c */
    assert_int_equal(r.old_end, t.hit_from);
    assert_int_equal(r.gaps, 0);
    assert_int_equal(session(&r, "S1")->next, 13);
    assert_false(r.clean);
    char json[300];
    recovery_restart_json(&r, r.start, NULL, json, sizeof json);
    char cut[60];
    snprintf(cut, sizeof cut, "\"cut\":%llu", (unsigned long long)t.hit_from);
    assert_non_null(strstr(json, cut));
    recovery_free(&r);
    assert_int_equal(mem_find(&mem->io, LOG ".1")->size, t.hit);
    assert_null(mem_find(&mem->io, LOG ".2"));
    struct mem_file *f = mem_find(&mem->io, LOG ".2.cut");
    assert_non_null(f);
    assert_memory_equal(f->data, t.c.data, t.c.len);
    /* what is thrown away was said before it was done */
    const char *says = strstr(said, "3 frames with"), *done = strstr(said, "cut off at byte");
    assert_non_null(says);
    assert_non_null(done);
    assert_true(says < done);
    cfg = trouble();
    cfg.decide = decide;
    snapshot_take(&before);
    run(&r, &cfg);
    assert_int_equal(asked, 0);
    assert_int_equal(r.old_end, t.hit_from);
    recovery_free(&r);
    snapshot_same(&before);
    three_free(&t);

    /* a torn tail: cut off, not saved; nothing else */
    three_files(&t);
    memset(lk_room(&t.c, 100), 0x5a, 100);
    t.c.len += 100;
    lk_save(&t.c, mem, LOG ".2");
    run(&r, &cfg);
    assert_int_equal(asked, 1);
    assert_int_equal(last_range.damage, PST_TORN);
    assert_int_equal(r.old_end, t.end);
    assert_int_equal(r.cut_at, 0);
    recovery_free(&r);
    assert_int_equal(mem_find(&mem->io, LOG ".2")->size, t.c.len - 100);
    for (int i = 0; i < LK_FILES; i++)
        assert_null(strstr(mem->file[i].path, ".torn-"));
    assert_non_null(strstr(said, "thrown away, not saved"));
    three_free(&t);
}

static void refuse(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct err e = {0};
    struct recovery_config cfg = trouble();
    three_files(&t);
    mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
    memset(lk_room(&t.c, 100), 0x5a, 100); /* and a torn tail: not touched either */
    t.c.len += 100;
    lk_save(&t.c, mem, LOG ".2");
    cfg.decide = decide;
    answer = PST_REFUSE;
    snapshot_take(&before);
    assert_false(recovery_run(&r, &cfg, &e));
    assert_int_equal(e.code, RECOVERY_REFUSED);
    assert_non_null(strstr(e.text, "log2026.11.23"));
    assert_non_null(strstr(e.text, "refuses to start"));
    snapshot_same(&before);
    three_free(&t);
}

static void repair(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    three_files(&t);
    size_t hit_bytes = (size_t)(t.hit_to - t.hit_from);
    mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
    cfg.decide = decide;
    answer = PST_REPAIR;
    gives = t.b.data;
    gives_at = 0;
    run(&r, &cfg);
    assert_int_equal(asked, 1);
    assert_int_equal(r.ranges, 0);
    assert_int_equal(r.gaps, 0);
    assert_int_equal(session(&r, "S1")->next, 31);
    recovery_free(&r);
    assert_memory_equal(mem_find(&mem->io, LOG ".1")->data, t.b.data, t.b.len);
    char copy[128];
    snprintf(copy, sizeof copy, Q "/log2026.11.23.1.%zu-%zu", t.hit, t.hit + hit_bytes);
    assert_non_null(mem_find(&mem->io, copy)); /* what was there is kept */
    assert_non_null(strstr(said, "the function was here\n"));
    assert_non_null(strstr(said, "were repaired by the recovery function"));
    cfg = trouble();
    snapshot_take(&before);
    run(&r, &cfg);
    assert_int_equal(r.damages, 0);
    recovery_free(&r);
    snapshot_same(&before);

    /* frames that do not belong there are not believed: another's, half of it, one too low */
    static uint8_t wrong[3][FRAME_MAX];
    memcpy(wrong[0], t.b.data + t.hit, hit_bytes);
    frame_seal((struct frame *)wrong[0], frame_seed(LK_INSTANCE + 1));
    memcpy(wrong[1], t.b.data + t.hit, hit_bytes / 2);
    memcpy(wrong[2], t.b.data + t.hit, hit_bytes);
    ((struct frame *)wrong[2])->position -= 8;
    frame_seal((struct frame *)wrong[2], t.b.seed);
    for (int i = 0; i < 3; i++) {
        mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
        cfg = trouble();
        cfg.decide = decide;
        gives = wrong[i];
        gives_at = (size_t)0 - t.hit;
        run(&r, &cfg);
        assert_int_equal(r.ranges, 1);
        expect_gap(&r, 0, "S1", 13, 14);
        assert_non_null(strstr(said, "is no run of sound frames: not used"));
        recovery_free(&r);
        mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
        assert_memory_equal(mem_find(&mem->io, LOG ".1")->data, t.b.data, t.b.len);
    }
    three_free(&t);
}

/* ---- files ---- */

/* Each of three files gone; what the catalogue and a clean stop know of the end. */
static void unlinked(void **state)
{
    (void)state;
    static const char *const path[] = {LOG, LOG ".1", LOG ".2"};
    for (int gone = 0; gone < 3; gone++)
        for (int known = 0; known < 2; known++) {
            struct three t;
            struct recovery r;
            struct snapshot before;
            struct recovery_config cfg = trouble();
            three_files(&t);
            mem_unlink(&mem->io, path[gone]);
            cfg.noted = known ? t.end : 0;
            for (int again = 0; again < 2; again++) {
                if (again)
                    snapshot_take(&before);
                run(&r, &cfg);
                bool lost = gone == 1 || (gone == 2 && known);
                assert_int_equal(r.files, 2);
                assert_int_equal(r.old_end, gone == 2 ? t.b_end : t.end);
                assert_int_equal(r.ranges, lost);
                assert_int_equal(r.damages, lost);
                if (lost) {
                    assert_int_equal(r.damage[0].kind, PST_MISSING);
                    assert_int_equal(r.damage[0].first, gone == 1 ? t.b_first : t.b_end);
                    assert_int_equal(r.damage[0].last, gone == 1 ? t.b_end : t.end);
                    assert_true(r.damage[0].was_durable);
                    assert_non_null(strstr(said, "stand in no file: they HAD BEEN DURABLE"));
                }
                assert_int_equal(r.gaps, gone == 1);
                if (gone == 1)
                    expect_gap(&r, 0, "S1", 11, 20);
                /* symbols went with the first file: the session is told by its tick */
                assert_int_equal(session(&r, "S1")->next, gone == 0 ? 21 : gone == 2 ? 21 : 31);
                recovery_free(&r);
            }
            snapshot_same(&before);
            three_free(&t);
        }
}

/* All files gone, but something had been durable. */
static void all_gone(void **state)
{
    (void)state;
    struct recovery r;
    struct recovery_config cfg = trouble();
    cfg.noted = 70000;
    run(&r, &cfg);
    assert_true(r.empty && !r.clean);
    assert_int_equal(r.start, LEASE);
    assert_int_equal(r.damages, 1);
    assert_true(r.damage[0].was_durable);
    recovery_free(&r);
    wipe();
}

static struct io_ops broken;
static const char *closed_path;
static int broken_fd = -1;
static uint64_t broken_from, broken_to;

static int broken_open(struct io *io, const char *path, int flags, unsigned mode)
{
    if (closed_path && !strcmp(path, closed_path))
        return -EACCES;
    return mem_open(io, path, flags, mode);
}
static int64_t broken_pread(struct io *io, int fd, void *buf, size_t len, uint64_t at)
{
    if (fd == broken_fd && at < broken_to && at + len > broken_from)
        return -EIO;
    return mem_pread(io, fd, buf, len, at);
}

static unsigned refusals, requests, refuse_from;

static bool refuses(void)
{
    return ++requests > refuse_from && requests <= refuse_from + refusals;
}
static int refusing_open(struct io *io, const char *path, int flags, unsigned mode)
{
    return refuses() ? -EIO : mem_open(io, path, flags, mode);
}
static int64_t refusing_pread(struct io *io, int fd, void *buf, size_t len, uint64_t at)
{
    return refuses() ? -EIO : mem_pread(io, fd, buf, len, at);
}
static int refusing_list(struct io *io, const char *dir, bool (*fn)(void *, const char *),
                         void *arg)
{
    return refuses() ? -EIO : mem_list(io, dir, fn, arg);
}

/* The device refuses one read or two, wherever a start reads, and then gives what is there: no
 * damage. */
static void refused_once(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    static struct io_ops refusing;
    refusing = mem_ops;
    refusing.open = refusing_open;
    refusing.pread = refusing_pread;
    refusing.list = refusing_list;
    mem->io.ops = &refusing;
    three_files(&t);
    cfg.say = say;
    snapshot_take(&before);
    unsigned reads = 0;
    for (refusals = 0; refusals <= 2; refusals++)
        for (refuse_from = 0; refuse_from <= (refusals ? reads : 0); refuse_from++) {
            requests = 0;
            *said = 0;
            run(&r, &cfg);
            reads = refusals ? reads : requests;
            assert_int_equal(r.files, 3);
            assert_int_equal(r.old_end, t.end);
            assert_int_equal(r.damages, 0);
            assert_int_equal(r.gaps, 0);
            assert_int_equal(r.unsynced, 0);
            assert_string_equal(said, "");
            recovery_free(&r);
        }
    assert_true(reads > 20);
    snapshot_same(&before);
    mem->io.ops = &mem_ops;
    three_free(&t);
    wipe();
}

/* A file that may not be opened, and blocks that the disk does not give. */
static void unreadable(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    broken = mem_ops;
    broken.open = broken_open;
    broken.pread = broken_pread;
    mem->io.ops = &broken;
    three_files(&t);
    closed_path = LOG ".1";
    for (int again = 0; again < 2; again++) {
        if (again)
            snapshot_take(&before);
        cfg.say = say;
        run(&r, &cfg);
        assert_int_equal(r.files, 2);
        assert_int_equal(r.old_end, t.end);
        expect_gap(&r, 0, "S1", 11, 20);
        assert_int_equal(r.damages, 2); /* the file, and what only it held */
        assert_int_equal(r.damage[0].kind, PST_UNREADABLE);
        assert_int_equal(r.damage[0].error, -EACCES);
        assert_non_null(strstr(said, "log2026.11.23.1: cannot be read: Permission denied"));
        recovery_free(&r);
    }
    snapshot_same(&before);
    closed_path = NULL;
    three_free(&t);

    /* bad sectors in the middle of 200 KiB: only the frames in them are lost */
    struct lk k;
    start(&k);
    uint64_t seq = 1, first_hit = 0, last_hit = 0;
    broken_from = 50 * 4096;
    broken_to = 51 * 4096;
    while (k.len < 400000) {
        size_t at = k.len;
        data(&k, S1, seq, 20);
        if (at < broken_to && k.len > broken_from) {
            first_hit = first_hit ? first_hit : seq;
            last_hit = seq + 19;
        }
        seq += 20;
    }
    tick(&k, k.position, seq);
    data(&k, S1, seq, 1);
    lk_save(&k, mem, LOG);
    broken_fd = (int)(mem_find(&mem->io, LOG) - mem->file);
    for (int again = 0; again < 2; again++) {
        if (again)
            snapshot_take(&before);
        cfg = trouble();
        run(&r, &cfg);
        assert_int_equal(r.ranges, 1);
        assert_int_equal(r.gaps, 1);
        expect_gap(&r, 0, "S1", first_hit, last_hit);
        assert_int_equal(session(&r, "S1")->next, seq + 1);
        recovery_free(&r);
    }
    snapshot_same(&before);
    /* the header's first copy */
    broken_from = 0;
    broken_to = 4096;
    cfg = trouble();
    cfg.read_only = true;
    run(&r, &cfg);
    assert_int_equal(r.files, 1);
    assert_int_equal(r.old_end, k.position);
    recovery_free(&r);
    broken_fd = -1;
    mem->io.ops = &mem_ops;
    lk_free(&k);
    wipe();
}

/* Another instance's file between ours; a copy of ours with other frames for the same positions. */
static void strangers(void **state)
{
    (void)state;
    struct three t;
    struct recovery r;
    struct snapshot before;
    struct recovery_config cfg = trouble();
    struct lk other;
    three_files(&t);
    lk_start(&other, FIRST, LK_DAY, 7);
    other.h.instance = LK_INSTANCE + 9;
    other.len = 0;
    lk_file_frame(&other, LOG_FILE_HEADER, &other.h, sizeof other.h);
    lk_file_frame(&other, LOG_FILE_HEADER, &other.h, sizeof other.h);
    lk_save(&other, mem, LOG ".7");
    lk_free(&other);
    for (int again = 0; again < 2; again++) {
        snapshot_take(&before);
        run(&r, &cfg);
        assert_int_equal(r.files, 3);
        assert_int_equal(r.ranges, 0);
        assert_int_equal(r.damages, 1);
        assert_int_equal(r.damage[0].kind, PST_FOREIGN);
        assert_false(r.damage[0].was_durable);
        assert_non_null(strstr(said, "belongs to another instance"));
        recovery_free(&r);
        snapshot_same(&before);
    }
    mem_unlink(&mem->io, LOG ".7");

    /* b's positions again, in frames of another size */
    lk_start(&other, t.b_first, LK_DAY, 8);
    other.h.created++;
    data(&other, S1, 500, 1);
    data(&other, S1, 501, 7);
    other.len = LOG_PREAMBLE + (other.len - LOG_PREAMBLE);
    lk_save(&other, mem, LOG ".8");
    lk_free(&other);
    cfg = trouble();
    for (int again = 0; again < 2; again++) {
        snapshot_take(&before);
        run(&r, &cfg);
        assert_int_equal(r.files, 4);
        assert_int_equal(r.ranges, 0);
        assert_int_equal(r.old_end, t.end);
        assert_int_equal(session(&r, "S1")->next, 31);
        bool conflict = false;
        for (uint32_t i = 0; i < r.damages; i++)
            conflict |= r.damage[i].kind == PST_CONFLICT;
        assert_true(conflict);
        recovery_free(&r);
        snapshot_same(&before);
    }
    three_free(&t);
}

/* Damage below the last restart mark that came after that start. Its copy in quarantine says that
 * it is accounted for; its cost is owed until gap rows pay it. */
static void since_the_last_start(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct three t;
        struct lk d;
        struct recovery r;
        struct recovery_config cfg = trouble();
        char json[200];
        three_files(&t);
        lk_start(&d, FIRST + (1 << 20), LK_DAY, 3);
        snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"clean\"}",
                 (unsigned long long)t.end, (unsigned long long)d.position);
        lk_mark(&d, MARK_RESTART, json);
        data(&d, S1, 31, 1);
        lk_save(&d, mem, LOG ".3");
        if (gone)
            mem_unlink(&mem->io, LOG ".1");
        else
            mem_find(&mem->io, LOG ".1")->data[t.hit + 100] ^= 1;
        for (int again = 0; again < 3; again++) {
            if (again == 2) { /* paid */
                gap(&d, S1, gone ? 11 : 13, gone ? 20 : 14);
                lk_save(&d, mem, LOG ".3");
            }
            run(&r, &cfg);
            assert_int_equal(r.ranges, 0);
            assert_int_equal(r.gaps, again < 2);
            if (again < 2)
                expect_gap(&r, 0, "S1", gone ? 11 : 13, gone ? 20 : 14);
            assert_int_equal(r.damages, !again);
            if (!again) {
                assert_int_equal(r.damage[0].kind, gone ? PST_MISSING : PST_ALTERED);
                assert_int_equal(r.damage[0].first, gone ? t.b_first : t.hit_from);
                assert_int_equal(r.damage[0].last, gone ? t.b_end : t.hit_to);
                assert_true(r.damage[0].lost && r.damage[0].was_durable && r.damage[0].done);
            }
            while (!recovery_verify_rest(&r, 1 << 20))
                ;
            assert_int_equal(r.damages, !again);
            recovery_free(&r);
        }
        lk_free(&d);
        three_free(&t);
    }
}

/* Damage and a missing file far below the stretch that a start reads: found behind it, with what
 * they cost, and by no later start. A function that decides hears of them at the start. */
static void late(void **state)
{
    (void)state;
    struct lk a, b, c;
    struct recovery r;
    struct recovery_config cfg = trouble();
    static uint8_t pad[FRAME_MAX - FRAME_HEADER];
    start(&a);
    data(&a, S1, 1, 10);
    size_t hit = a.len;
    uint64_t from = a.position;
    data(&a, S1, 11, 10);
    uint64_t to = a.position;
    tick(&a, a.position, 21);
    data(&a, S1, 21, 10);
    a.data[hit + 90] ^= 16;
    lk_start(&b, a.position, LK_DAY, 1); /* never saved: unlinked */
    data(&b, S1, 31, 10);
    lk_start(&c, b.position, LK_DAY, 2);
    for (int i = 0; i < 270; i++) {
        lk_frame(&c, FRAME_PAD, 0, 0, pad, sizeof pad);
        if (i == 0)
            tick(&c, c.position, 41);
    }
    data(&c, S1, 41, 5);
    lk_save(&a, mem, LOG);
    lk_save(&c, mem, LOG ".2");
    for (int again = 0; again < 2; again++) {
        run(&r, &cfg);
        assert_int_equal(r.ranges, 0);
        assert_int_equal(r.gaps, 0);
        assert_int_equal(r.damages, 0);
        while (!recovery_verify_rest(&r, 1 << 20))
            ;
        assert_int_equal(r.damages, again ? 0 : 2);
        for (uint32_t i = 0; i < r.damages; i++) {
            struct recovery_damage *d = &r.damage[i];
            assert_true(d->late && d->lost && d->was_durable);
            assert_int_equal(d->kind, i ? PST_MISSING : PST_ALTERED);
            assert_int_equal(d->first, i ? b.h.first : from);
            assert_int_equal(d->last, i ? b.position : to);
            assert_int_equal(d->gaps, 1);
            assert_int_equal(d->gap[0].first, i ? 31 : 11);
            assert_int_equal(d->gap[0].last, i ? 40 : 20);
            assert_string_equal(d->gap[0].session, "S1");
            assert_int_equal(recovery_keep(&r, d), 0);
        }
        recovery_free(&r);
    }
    for (int i = 0; i < LK_FILES; i++)
        if (!strncmp(mem->file[i].path, Q, 2))
            *mem->file[i].path = 0;
    cfg.decide = decide;
    cfg.decide_all = true;
    answer = PST_SALVAGE;
    run(&r, &cfg);
    assert_int_equal(asked, 2);
    assert_int_equal(r.ranges, 2);
    assert_int_equal(r.gaps, 2);
    recovery_free(&r);
    lk_free(&a);
    lk_free(&b);
    lk_free(&c);
    wipe();
}

/* penstock log repair: each frame of a small log damaged in turn, a torn tail, lost headers. All
 * sound frames are in the new file, in order, and nothing else; what was there is kept, whole. */
static void repaired_files(void **state)
{
    (void)state;
    struct small s;
    small_log(&s);
    for (unsigned hit = 0; hit < s.n; hit++)
        for (int kind = 0; kind < 3; kind++) { /* 0; 1: and a torn tail; 2: and no header */
            struct log_repair r = {
                .io = &mem->io, .path = LOG, .prefix = "log", .instance = LK_INSTANCE};
            struct err e = {0};
            struct snapshot before;
            bool last = hit == s.n - 1;
            lk_save(&s.k, mem, LOG);
            struct mem_file *f = mem_find(&mem->io, LOG);
            f->data[s.w[hit].at + 40] ^= 2;
            if (kind == 1) {
                mem_size(f, s.k.len + 100);
                memset(f->data + s.k.len, 0x77, 100);
            }
            if (kind == 2)
                memset(f->data, 0x55, LOG_PREAMBLE);
            size_t size = f->size;
            uint8_t *was = malloc(size);
            assert_non_null(was);
            memcpy(was, f->data, size);
            snapshot_take(&before);
            assert_true(log_repair_file(&r, false, &e));
            assert_true(r.needed);
            snapshot_same(&before); /* looking changes nothing */
            if (!log_repair_file(&r, true, &e))
                fail_msg("frame %u kind %d: %s", hit, kind, e.text);
            assert_int_equal(r.frames, s.n - 1);
            assert_int_equal(r.ranges, !last);
            frames_are(&s, 1ull << hit, s.w[hit].at);
            if (r.ranges) {
                f = mem_find(&mem->io, LOG ".damaged");
                assert_non_null(f);
                assert_int_equal(f->size, size);
                assert_memory_equal(f->data + LOG_PREAMBLE, was + LOG_PREAMBLE,
                                    size - LOG_PREAMBLE);
            }
            if (kind == 2)
                assert_memory_equal(mem_find(&mem->io, LOG ".header")->data, was, LOG_PREAMBLE);
            snapshot_take(&before);
            assert_true(log_repair_file(&r, true, &e));
            assert_false(r.needed);
            snapshot_same(&before);
            free(was);
            wipe();
        }
    lk_free(&s.k);
}

static int set_up(void **state)
{
    pk_clear(&pk);
    gives = NULL;
    return lk_setup(state);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, lk_teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_bit),
        CASE(every_length),
        CASE(salvage),
        CASE(truncate_log),
        CASE(refuse),
        CASE(repair),
        CASE(unlinked),
        CASE(all_gone),
        CASE(refused_once),
        CASE(unreadable),
        CASE(strangers),
        CASE(late),
        CASE(since_the_last_start),
        CASE(repaired_files),
    };
    /* meson lets malloc fill what it gives: here 1.3 MiB for each file opened, some 100,000 times
     */
    mallopt(M_PERTURB, 0);
    schemas_make();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
