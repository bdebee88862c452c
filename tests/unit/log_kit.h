/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_kit.h - for tests of the reading side: files in memory behind struct io, and a small writer
 * that builds log files by hand, independent of storage/log.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include "core/io.h"
#include "core/record.h"
#include "core/schema.h"
#include "core/tables.h"
#include "log_file.h"

#define LK_INSTANCE 0x1122334455667788ull
#define LK_DAY      9823 /* 2026.11.23 */
#define LK_FILES    64

/* ---- files in memory ---- */

struct mem_file {
    char path[128]; /* "" = free */
    uint8_t *data;
    uint64_t size, room;
};

struct mem_io {
    struct io io;
    struct mem_file file[LK_FILES];
    uint64_t bytes_read, reads;
    pthread_mutex_t lock; /* a reader and a writer thread may share it */
};

static inline struct mem_io *mem_of(struct io *io)
{
    return (struct mem_io *)io;
}
static inline struct mem_file *mem_find(struct io *io, const char *path)
{
    for (int i = 0; i < LK_FILES; i++)
        if (*mem_of(io)->file[i].path && !strcmp(mem_of(io)->file[i].path, path))
            return &mem_of(io)->file[i];
    return NULL;
}
static inline void mem_size(struct mem_file *f, uint64_t size)
{
    if (size > f->room) {
        f->room = size + size / 2 + 4096;
        f->data = realloc(f->data, f->room);
        assert_non_null(f->data);
    }
    if (size > f->size)
        memset(f->data + f->size, 0, size - f->size);
    f->size = size;
}
static inline int mem_open(struct io *io, const char *path, int flags, unsigned mode)
{
    (void)mode;
    pthread_mutex_lock(&mem_of(io)->lock);
    struct mem_file *f = mem_find(io, path);
    for (int i = 0; !f && (flags & O_CREAT) && i < LK_FILES; i++)
        if (!*mem_of(io)->file[i].path) {
            f = &mem_of(io)->file[i];
            snprintf(f->path, sizeof f->path, "%s", path);
            f->size = 0;
        }
    if (f && (flags & O_TRUNC))
        f->size = 0;
    int fd = f ? (int)(f - mem_of(io)->file) : -ENOENT;
    pthread_mutex_unlock(&mem_of(io)->lock);
    return fd;
}
static inline int mem_close(struct io *io, int fd)
{
    (void)io;
    return fd < 0 ? -EBADF : 0;
}
static inline int64_t mem_pread(struct io *io, int fd, void *buf, size_t len, uint64_t at)
{
    pthread_mutex_lock(&mem_of(io)->lock);
    struct mem_file *f = &mem_of(io)->file[fd];
    uint64_t n = at >= f->size ? 0 : f->size - at < len ? f->size - at : len;
    if (n)
        memcpy(buf, f->data + at, n);
    mem_of(io)->bytes_read += n;
    mem_of(io)->reads++;
    pthread_mutex_unlock(&mem_of(io)->lock);
    return (int64_t)n;
}
static inline int64_t mem_pwrite(struct io *io, int fd, const void *buf, size_t len, uint64_t at)
{
    pthread_mutex_lock(&mem_of(io)->lock);
    struct mem_file *f = &mem_of(io)->file[fd];
    if (at + len > f->size)
        mem_size(f, at + len);
    memcpy(f->data + at, buf, len);
    pthread_mutex_unlock(&mem_of(io)->lock);
    return (int64_t)len;
}
static inline int mem_sync(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}
static inline int mem_truncate(struct io *io, int fd, uint64_t size)
{
    mem_size(&mem_of(io)->file[fd], size);
    return 0;
}
static inline int mem_fstat(struct io *io, int fd, struct io_stat *st)
{
    pthread_mutex_lock(&mem_of(io)->lock);
    *st = (struct io_stat){.size = mem_of(io)->file[fd].size, .ino = (uint64_t)fd, .links = 1};
    pthread_mutex_unlock(&mem_of(io)->lock);
    return 0;
}
static inline int mem_stat(struct io *io, const char *path, struct io_stat *st)
{
    pthread_mutex_lock(&mem_of(io)->lock);
    struct mem_file *f = mem_find(io, path);
    pthread_mutex_unlock(&mem_of(io)->lock);
    return f ? mem_fstat(io, (int)(f - mem_of(io)->file), st) : -ENOENT;
}
static inline int mem_sync_dir(struct io *io, const char *path)
{
    (void)io;
    (void)path;
    return 0;
}
static inline int mem_list(struct io *io, const char *path, bool (*fn)(void *, const char *),
                           void *arg)
{
    size_t n = strlen(path);
    char name[128];
    for (int i = 0; i < LK_FILES; i++) {
        pthread_mutex_lock(&mem_of(io)->lock);
        memcpy(name, mem_of(io)->file[i].path, sizeof name);
        pthread_mutex_unlock(&mem_of(io)->lock);
        if (*name && !strncmp(name, path, n) && name[n] == '/' && !fn(arg, name + n + 1))
            break;
    }
    return 0;
}
static inline int mem_unlink(struct io *io, const char *path)
{
    struct mem_file *f = mem_find(io, path);
    if (!f)
        return -ENOENT;
    *f->path = 0;
    return 0;
}
static inline int mem_rename(struct io *io, const char *from, const char *to)
{
    struct mem_file *f = mem_find(io, from);
    if (!f)
        return -ENOENT;
    mem_unlink(io, to);
    snprintf(f->path, sizeof f->path, "%s", to);
    return 0;
}
static inline int mem_mkdir(struct io *io, const char *path, unsigned mode)
{
    (void)io;
    (void)path;
    (void)mode;
    return 0; /* names alone make directories here */
}
static inline int64_t mem_monotonic(struct io *io)
{
    (void)io;
    return 0;
}
static const struct io_ops mem_ops = {.name = "memory",
                                      .open = mem_open,
                                      .close = mem_close,
                                      .pread = mem_pread,
                                      .pwrite = mem_pwrite,
                                      .fsync = mem_sync,
                                      .fdatasync = mem_sync,
                                      .ftruncate = mem_truncate,
                                      .fstat = mem_fstat,
                                      .stat = mem_stat,
                                      .rename = mem_rename,
                                      .unlink = mem_unlink,
                                      .mkdir = mem_mkdir,
                                      .sync_dir = mem_sync_dir,
                                      .list = mem_list,
                                      .monotonic = mem_monotonic};

static inline struct mem_io *mem_new(void)
{
    struct mem_io *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->io.ops = &mem_ops;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}
static inline void mem_free(struct mem_io *m)
{
    for (int i = 0; i < LK_FILES; i++)
        free(m->file[i].data);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
/* Makes or replaces a file. */
static inline void mem_put(struct mem_io *m, const char *path, const void *p, size_t n)
{
    int fd = mem_open(&m->io, path, O_CREAT | O_TRUNC, 0);
    assert_true(fd >= 0);
    if (n)
        mem_pwrite(&m->io, fd, p, n, 0);
}

/* ---- a log file by hand ---- */

struct lk {
    uint8_t *data;
    size_t len, room;
    struct log_file_header h;
    uint32_t seed;
    uint64_t position; /* of the next journal frame */
    int64_t time;
    uint64_t frames;
    uint8_t stream;
    uint16_t day;
};

static inline uint8_t *lk_room(struct lk *k, size_t n)
{
    if (k->len + n > k->room) {
        k->room = 2 * (k->len + n);
        k->data = realloc(k->data, k->room);
        assert_non_null(k->data);
    }
    return k->data + k->len;
}

static inline void lk_file_frame(struct lk *k, enum log_file_type type, const void *body,
                                 uint32_t n)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    uint32_t len = log_file_frame(buf, &k->h, type, body, n, k->time);
    assert_true(len > 0);
    memcpy(lk_room(k, len), buf, len);
    k->len += len;
}

/* Two headers. */
static inline void lk_start(struct lk *k, uint64_t first, int32_t day, uint32_t suffix)
{
    memset(k, 0, sizeof *k);
    k->h = (struct log_file_header){.magic = LOG_MAGIC,
                                    .format = LOG_FORMAT,
                                    .suffix = suffix,
                                    .instance = LK_INSTANCE,
                                    .epoch = first * 31 + 7,
                                    .first = first,
                                    .created = (int64_t)first,
                                    .day = day,
                                    .minute = LOG_NO_MINUTE};
    k->day = (uint16_t)day;
    k->seed = frame_seed(LK_INSTANCE);
    k->position = first;
    k->time = (int64_t)day * 86400 * 1000000000ll;
    lk_file_frame(k, LOG_FILE_HEADER, &k->h, sizeof k->h);
    lk_file_frame(k, LOG_FILE_HEADER, &k->h, sizeof k->h);
}

/* Any frame; returns its offset in the file. */
static inline size_t lk_frame(struct lk *k, uint8_t kind, uint8_t stream, uint16_t count,
                              const void *payload, uint32_t n)
{
    uint32_t len = (uint32_t)pst_align8(FRAME_HEADER + n);
    size_t at = k->len;
    uint8_t *p = lk_room(k, len);
    memset(p, 0, len);
    struct frame f = {.length = len,
                      .position = k->position,
                      .time = k->time,
                      .kind = kind,
                      .stream = stream,
                      .count = count,
                      .day = k->day};
    memcpy(p, &f, sizeof f);
    if (n)
        memcpy(p + FRAME_HEADER, payload, n);
    frame_seal((struct frame *)p, k->seed);
    k->len += len;
    k->position += len;
    k->time += 1000;
    k->frames++;
    return at;
}

static inline size_t lk_built(struct lk *k, const void *buf) /* a frame_build_... result */
{
    const struct frame *f = buf;
    return lk_frame(k, f->kind, STREAM_EVERY, 0, (const uint8_t *)buf + FRAME_HEADER,
                    f->length - FRAME_HEADER);
}
static inline size_t lk_mark(struct lk *k, enum mark_type type, const char *json)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    assert_true(frame_build_mark(buf, type, json, strlen(json)) > 0);
    return lk_built(k, buf);
}
static inline size_t lk_schema(struct lk *k, const struct schema *s)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    char *json = schema_to_json(s);
    assert_true(frame_build_schema(buf, json, strlen(json)) > 0);
    free(json);
    return lk_built(k, buf);
}
static inline size_t lk_symbol(struct lk *k, uint32_t first, const char *const *texts, uint32_t n)
{
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    frame_symbol_begin(buf, first);
    for (uint32_t i = 0; i < n; i++)
        assert_true(frame_symbol_add(buf, texts[i], (uint32_t)strlen(texts[i])));
    frame_symbol_end(buf);
    return lk_built(k, buf);
}
/* A data frame of `rows` plain rows of table 7 whose time counts up from `tag`. */
static inline size_t lk_rows(struct lk *k, uint32_t rows, int64_t tag)
{
    uint8_t payload[64 * 32];
    assert_true(rows <= 64);
    for (uint32_t i = 0; i < rows; i++) {
        struct record r = {7, 32, PST_NULL_SYMBOL, tag + i};
        memcpy(payload + 32 * i, &r, sizeof r);
        memset(payload + 32 * i + 16, (int)(tag + i), 16);
    }
    return lk_frame(k, FRAME_DATA, k->stream, (uint16_t)rows, payload, 32 * rows);
}
static inline void lk_end(struct lk *k, enum log_end_reason reason)
{
    struct log_file_end e = {
        .last = k->position, .frames = k->frames, .closed = k->time, .reason = (uint8_t)reason};
    lk_file_frame(k, LOG_FILE_END, &e, sizeof e);
}
static inline void lk_zeros(struct lk *k, size_t n)
{
    memset(lk_room(k, n), 0, n);
    k->len += n;
}
static inline void lk_block(struct lk *k) /* zeros up to the block's end */
{
    lk_zeros(k, pst_align_up(k->len, LOG_BLOCK) - k->len);
}
static inline void lk_save(const struct lk *k, struct mem_io *m, const char *path)
{
    mem_put(m, path, k->data, k->len);
}
static inline void lk_free(struct lk *k)
{
    free(k->data);
    memset(k, 0, sizeof *k);
}
/* The frame at `at` of one file again in another, as the log does with stream 255. */
static inline void lk_copy(struct lk *to, const struct lk *from, size_t at)
{
    const struct frame *f = (const struct frame *)(from->data + at);
    memcpy(lk_room(to, f->length), f, f->length);
    to->len += f->length;
    to->position = f->position + f->length;
    to->time = f->time + 1000;
}

/* The disk in memory of one test. */
static struct mem_io *mem;

static inline int lk_setup(void **state)
{
    (void)state;
    mem = mem_new();
    return 0;
}
static inline int lk_teardown(void **state)
{
    (void)state;
    mem_free(mem);
    return 0;
}
