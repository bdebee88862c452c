/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log file of any bytes. As it is: the scan ends, within its bounds, and accepts only frames
 * whose bytes stand in the file with a right CRC, in order. Then every frame that a header
 * announces is sealed anew, so that the parsers behind the CRC (dictionary, records, ledger,
 * content hash, rendering, marks) see the hostile content too.
 */
#include "content_hash.h"
#include "cursor.h"
#include "ledger_count.h"
#include "logscan.h"
#include "render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- one file in memory ---- */

struct one {
    struct io io;
    const uint8_t *data;
    size_t size;
    uint64_t read;
};

static int one_open(struct io *io, const char *path, int flags, unsigned mode)
{
    (void)io, (void)path, (void)flags, (void)mode;
    return 0;
}
static int one_close(struct io *io, int fd)
{
    (void)io, (void)fd;
    return 0;
}
static int64_t one_pread(struct io *io, int fd, void *buf, size_t len, uint64_t at)
{
    struct one *o = (struct one *)io;
    (void)fd;
    if (at >= o->size)
        return 0;
    size_t n = o->size - at < len ? (size_t)(o->size - at) : len;
    memcpy(buf, o->data + at, n);
    o->read += n;
    return (int64_t)n;
}
static int one_fstat(struct io *io, int fd, struct io_stat *st)
{
    (void)fd;
    *st = (struct io_stat){.size = ((struct one *)io)->size};
    return 0;
}
static const struct io_ops one_ops = {
    .name = "one", .open = one_open, .close = one_close, .pread = one_pread, .fstat = one_fstat};

/* ---- what reads behind the CRC ---- */

struct readers {
    struct dictionary dict;
    struct ledger_count fast, slow;
    struct content_hash hash;
    struct render render[3];
};

static void readers_open(struct readers *r)
{
    pst_must(dictionary_init(&r->dict, NULL));
    pst_must(ledger_init(&r->fast, false, NULL));
    pst_must(ledger_init(&r->slow, true, NULL));
    pst_must(content_hash_init(&r->hash, NULL));
    for (int i = 0; i < 3; i++)
        render_init(&r->render[i], (enum render_format)i);
}

static void readers_close(struct readers *r)
{
    dictionary_free(&r->dict);
    ledger_free(&r->fast);
    ledger_free(&r->slow);
    content_hash_free(&r->hash);
    for (int i = 0; i < 3; i++)
        render_free(&r->render[i]);
}

static void readers_frame(struct readers *r, const struct frame *f)
{
    uint64_t old_end, start;
    size_t len;
    dictionary_feed(&r->dict, f);
    cursor_restart_mark(f, &old_end, &start);
    ledger_frame(&r->fast, &r->dict, f);
    ledger_frame(&r->slow, &r->dict, f);
    content_hash_frame(&r->hash, &r->dict, f);
    for (int i = 0; i < 3; i++) {
        uint64_t n = render_frame(&r->render[i], &r->dict, f, NULL, PST_NULL_SYMBOL);
        pst_must(n <= f->length / sizeof(struct record) + 1);
        pst_must(!r->render[i].failed);
        render_flush(&r->render[i]);
        render_take(&r->render[i], &len);
    }
    if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
        return;
    struct record_walk w;
    const struct record *rec;
    uint64_t rows = 0;
    record_walk_start(&w, f);
    while ((rec = record_walk_next(&w))) {
        pst_must((const uint8_t *)rec + rec->bytes <= (const uint8_t *)f + f->length);
        rows++;
    }
    pst_must(rows <= f->length / sizeof(struct record));
}

/* ---- the walk ---- */

static bool skim(void *arg, const struct frame *f)
{
    pst_must(f->length <= FRAME_MAX);
    dictionary_feed(arg, f);
    return true;
}

static void walk(const uint8_t *data, size_t size, struct readers *r)
{
    struct one o = {.io.ops = &one_ops, .data = data, .size = size};
    struct logscan s;
    if (!logscan_open(&s, &o.io, "fuzz", 0, NULL))
        return;
    uint64_t steps = 0, position = s.header.first, at = 0;
    for (;;) {
        const struct frame *f;
        enum logscan_verdict v = logscan_step(&s, &f, UINT64_MAX);
        pst_must(++steps <= size / 8 + 8); /* each step consumes something */
        if (v == LOGSCAN_FRAME) {
            uint64_t from = s.offset - f->length;
            pst_must(from >= at && s.offset <= size);
            pst_must(!memcmp(data + from, f, f->length)); /* the file's own bytes, unaltered */
            pst_must(crc32c(s.seed, (const uint8_t *)f + 4, f->length - 4) == f->crc);
            pst_must(f->kind == FRAME_FILE ? f->position == s.header.first
                                           : f->position >= position);
            if (f->kind != FRAME_FILE)
                position = f->position + f->length;
            at = s.offset;
            readers_frame(r, f);
        } else if (v == LOGSCAN_DAMAGE) {
            pst_must(s.bad_from >= at && s.bad_to > s.bad_from && s.bad_to <= size);
            at = s.bad_to;
        } else {
            pst_must(v == LOGSCAN_END || v == LOGSCAN_CLEAN || v == LOGSCAN_TORN);
            if (v == LOGSCAN_TORN)
                pst_must(s.bad_from >= at && s.bad_to >= s.bad_from && s.bad_to <= size);
            break;
        }
    }
    /* windows overlap; nothing is read without end */
    pst_must(o.read <=
             64 * (uint64_t)size + 64 * (uint64_t)LOGSCAN_BUFFER + steps * LOG_BLOCK * 64);
    /* the bisections meet nothing that the walk did not */
    const struct frame *f;
    uint64_t middle = s.header.first + (position - s.header.first) / 2;
    if (logscan_find(&s, middle) && logscan_next(&s, &f) == LOGSCAN_FRAME)
        pst_must(f->kind == FRAME_FILE || f->position + f->length <= position);
    int64_t time = 0;
    enum logscan_verdict v = logscan_to_end(&s, &time);
    pst_must(v == LOGSCAN_END || v == LOGSCAN_CLEAN || v == LOGSCAN_TORN);
    pst_must(s.position <= position);
    logscan_close(&s);
    struct dictionary d;
    pst_must(dictionary_init(&d, NULL));
    logscan_skim(&o.io, "fuzz", 0, UINT64_MAX, NULL, skim, &d, NULL);
    dictionary_free(&d);
}

/* Follows the lengths that stand there and makes every CRC right, for the instance that the first
 * header names; positions rise, so that the scan takes the frames. */
static void seal_all(uint8_t *p, size_t size)
{
    if (size < LOG_PREAMBLE)
        return;
    struct log_file_header h = {.magic = LOG_MAGIC, .format = LOG_FORMAT, .instance = 7};
    h.first = le64(p + 8) % (1ull << 60) & ~7ull;
    h.day = (int32_t)le16(p + 30);
    h.minute = LOG_NO_MINUTE;
    static uint8_t head[FRAME_MAX] pst_aligned(64);
    uint32_t n = log_file_frame(head, &h, LOG_FILE_HEADER, &h, sizeof h, 0);
    memcpy(p, head, n);
    memcpy(p + LOG_BLOCK, head, n);
    uint64_t position = h.first;
    for (size_t at = LOG_PREAMBLE; at + FRAME_HEADER <= size;) {
        struct frame *f = (struct frame *)(p + at);
        uint64_t left = (size - at) & ~(uint64_t)7;
        uint32_t len = f->length & ~7u;
        if (len < FRAME_HEADER || len > FRAME_MAX || len > left)
            len = (uint32_t)(left < 4096 ? left : 4096);
        f->length = len;
        if (f->kind < FRAME_DATA || f->kind > FRAME_FILE)
            f->kind = (uint8_t)(f->kind % FRAME_FILE + 1);
        f->position = f->kind == FRAME_FILE ? h.first : position;
        position += f->kind == FRAME_FILE ? 0 : len;
        frame_seal(f, frame_seed(h.instance));
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct readers r;
    if (size > 1u << 20)
        return 0;
    readers_open(&r);
    walk(data, size, &r);
    readers_close(&r);
    uint8_t *copy = aligned_alloc(64, pst_align_up(size + 1, 64));
    pst_must(copy);
    memcpy(copy, data, size);
    seal_all(copy, size);
    readers_open(&r);
    walk(copy, size, &r);
    readers_close(&r);
    free(copy);
    return 0;
}
