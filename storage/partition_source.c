/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "partition.h"

void wd_reader_free(struct wd_reader *r)
{
    free(r->buf[0]);
    free(r->buf[1]);
    free(r->bytes);
    memset(r, 0, sizeof *r);
}

void *wd_room(void **p, size_t *have, size_t want)
{
    if (*have < want) {
        void *n = realloc(*p, want);
        if (!n)
            return NULL;
        *p = n;
        *have = want;
    }
    return *p;
}

uint32_t wd_chunks(const struct wd_source *s)
{
    if (!s->rows)
        return 0;
    if (s->kind == WD_EXISTING || s->kind == WD_LOADED)
        return (uint32_t)((s->rows + WD_SLICE - 1) / WD_SLICE);
    return rdb_chunk_of((uint32_t)(s->rows - 1)) + 1;
}

void wd_chunk_rows(const struct wd_source *s, uint32_t k, uint64_t *first, uint32_t *rows)
{
    bool slices = s->kind == WD_EXISTING || s->kind == WD_LOADED;
    uint64_t at = slices ? (uint64_t)k * WD_SLICE : rdb_chunk_first(k);
    uint64_t room = slices ? WD_SLICE : rdb_chunk_room(k);
    *first = s->first + at;
    *rows = (uint32_t)(s->rows - at < room ? s->rows - at : room);
}

static bool from_rdb(struct wd_reader *r, const struct wd_source *s, uint32_t k, unsigned col,
                     struct wd_values *out, struct err *err)
{
    if (r->source != s || r->chunk != k) {
        r->source = NULL;
        if (!rdb_chunk_open(s->view, k, &r->rdb))
            return err_set(err, -EBADMSG, "the RDB's memory is damaged: chunk %u of table %s", k,
                           s->view->schema.name);
        r->source = s;
        r->chunk = k;
    }
    out->first = s->first + r->rdb.first;
    out->rows = r->rdb.rows;
    out->values = r->rdb.col[col];
    out->bytes = s->view->map->base;
    out->nbytes = s->view->map->bytes;
    return true;
}

static void from_log(const struct wd_source *s, uint32_t k, unsigned col, struct wd_values *out)
{
    wd_chunk_rows(s, k, &out->first, &out->rows);
    out->values = s->log->base + s->log->chunk[k][col];
    out->bytes = s->log->base;
    out->nbytes = UINT64_MAX;
}

/* ---- the existing partition ---- */

static bool cannot_read(struct err *err, const struct wd_existing *x, const char *name, int e)
{
    return err_set(err, e == -ENODATA ? -EBADMSG : e, "%s/%s: cannot be read: %s", x->path, name,
                   e == -ENODATA ? "it is shorter than its header says" : strerror(-e));
}

static int read_at(int fd, void *buf, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

/* A column in our own shape is read with pread: a file that somebody truncates must not kill the
 * daemon, as it would through a map. Other shapes are unpacked or mapped by kdb_file. */
static bool open_file(struct wd_existing *x, unsigned col, struct err *err)
{
    struct wd_file_in *f = &x->file[col];
    const char *name = x->name[col];
    if (f->open)
        return true;
    f->fd = f->bytes_fd = -1;
    uint8_t head[KDB_ENUM_HEADER];
    struct kdb_column *k = &f->column;
    if (!kdb_open_head(k, x->dir, name, err))
        return false;
    bool plain = !k->compressed && (k->shape == KDB_VECTOR || k->shape == KDB_ENUM64);
    uint64_t rows = k->rows;
    kdb_close(k);
    memset(k, 0, sizeof *k);
    if (plain) {
        struct stat st;
        f->fd = openat(x->dir, name, O_RDONLY | O_CLOEXEC);
        size_t n = x->type[col] == PST_SYMBOL ? KDB_ENUM_HEADER : KDB_VECTOR_HEADER;
        int e = f->fd < 0 || fstat(f->fd, &st) ? -errno : read_at(f->fd, head, n, 0);
        if (!e && (uint64_t)st.st_size < kdb_file_bytes(x->type[col], rows))
            e = -ENODATA;
        if (e)
            return cannot_read(err, x, name, e);
        if (x->type[col] == PST_STRING) {
            char more[SCHEMA_NAME_MAX + 2];
            snprintf(more, sizeof more, "%s#", name);
            f->bytes_fd = openat(x->dir, more, O_RDONLY | O_CLOEXEC);
            if (f->bytes_fd < 0)
                return cannot_read(err, x, more, -errno);
        }
    } else if (!kdb_open(k, x->dir, name, err)) {
        return false;
    }
    f->plain = plain;
    f->open = true;
    if (rows != x->rows)
        return err_set(err, -EBADMSG, "%s/%s: has %llu rows where the table has %llu", x->path,
                       name, (unsigned long long)rows, (unsigned long long)x->rows);
    return true;
}

bool wd_ends_check(const struct wd_values *v, const char *path, const char *name, uint64_t row,
                   struct err *err)
{
    const int64_t *end = v->values;
    int64_t at = v->start;
    for (uint32_t i = 0; i < v->rows; i++) {
        if (end[i] < at || end[i] - at > UINT16_MAX)
            return err_set(err, -EBADMSG, "%s/%s: row %llu is no string of at most 65535 bytes",
                           path, name, (unsigned long long)row + i);
        at = end[i];
    }
    return true;
}

static bool read_strings(struct wd_reader *r, struct wd_existing *x, unsigned col, bool texts,
                         uint64_t row, struct wd_values *out, struct err *err)
{
    const struct wd_file_in *f = &x->file[col];
    const int64_t *end = out->values;
    out->start = 0;
    if (row) {
        int e = read_at(f->fd, &out->start, 8, kdb_row_at(PST_STRING, row - 1));
        if (e)
            return cannot_read(err, x, x->name[col], e);
    }
    if (!wd_ends_check(out, x->path, x->name[col], row, err))
        return false;
    if (!texts || !out->rows)
        return true;
    out->nbytes = (uint64_t)(end[out->rows - 1] - out->start);
    if (!wd_room(&r->bytes, &r->bytes_room, out->nbytes + 1))
        return err_set(err, -ENOMEM, "no memory for the strings of %s", x->path);
    out->bytes = r->bytes;
    int e = read_at(f->bytes_fd, r->bytes, out->nbytes, (uint64_t)out->start);
    return !e || cannot_read(err, x, x->name[col], e);
}

static bool from_existing(struct wd_reader *r, unsigned slot, const struct wd_source *s, uint32_t k,
                          unsigned col, bool texts, struct wd_values *out, struct err *err)
{
    struct wd_existing *x = s->existing;
    uint64_t row = s->slice + (uint64_t)k * WD_SLICE;
    unsigned w = kdb_width(x->type[col]);
    out->disk = true;
    wd_chunk_rows(s, k, &out->first, &out->rows);
    if (!open_file(x, col, err))
        return false;
    const struct wd_file_in *f = &x->file[col];
    if (!f->plain) {
        out->values = (const uint8_t *)f->column.values + row * w;
        out->bytes = (const uint8_t *)f->column.bytes;
        out->nbytes = f->column.nbytes;
        if (x->type[col] == PST_STRING) {
            out->start = row ? ((const int64_t *)f->column.values)[row - 1] : 0;
            if (out->bytes)
                out->bytes += out->start;
            out->nbytes -= (uint64_t)out->start;
            return wd_ends_check(out, x->path, x->name[col], row, err);
        }
        return true;
    }
    if (!wd_room(&r->buf[slot], &r->room[slot], (size_t)WD_SLICE * 16))
        return err_set(err, -ENOMEM, "no memory to read %s", x->path);
    out->values = r->buf[slot];
    int e = read_at(f->fd, r->buf[slot], (size_t)out->rows * w, kdb_row_at(x->type[col], row));
    if (e)
        return cannot_read(err, x, x->name[col], e);
    return x->type[col] != PST_STRING || read_strings(r, x, col, texts, row, out, err);
}

bool wd_values(struct wd_reader *r, unsigned slot, const struct wd_source *s, uint32_t k,
               unsigned col, bool texts, struct wd_values *out, struct err *err)
{
    *out = (struct wd_values){.type = s->type[col]};
    if (r->seen)
        bump(r->seen, (uint64_t)WD_SLICE * type_width(s->type[col]));
    switch (s->kind) {
    case WD_RDB:
        return from_rdb(r, s, k, col, out, err);
    case WD_LOG:
        from_log(s, k, col, out);
        return true;
    case WD_LOADED:
        return wd_loaded_values(r, slot, s, k, col, texts, out, err);
    default:
        return from_existing(r, slot, s, k, col, texts, out, err);
    }
}

static bool take_name(void *arg, const char *text, size_t len)
{
    struct wd_existing *x = arg;
    if (x->ncols == SCHEMA_COLUMNS_MAX || !len || len >= SCHEMA_NAME_MAX || memchr(text, '/', len))
        return false;
    memcpy(x->name[x->ncols], text, len);
    x->name[x->ncols++][len] = 0;
    return true;
}

bool wd_existing_open(struct wd_existing *x, const char *path, struct err *err)
{
    static const uint32_t most = 1u << 20;
    memset(x, 0, sizeof *x);
    snprintf(x->path, sizeof x->path, "%s", path);
    x->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (x->dir < 0)
        return err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
    int fd = openat(x->dir, ".d", O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        err_set(err, -errno, "%s/.d: cannot be read: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    size_t len = (size_t)st.st_size, torn = 0;
    uint8_t *image = len <= most ? malloc(len + 1) : NULL;
    int e = image ? read_at(fd, image, len, 0) : -EFBIG;
    close(fd);
    bool ok = !e && kdb_symbols_parse(image, len, take_name, x, &torn, path, NULL) && !torn;
    free(image);
    if (!ok)
        return err_set(err, -EBADMSG, "%s/.d: is damaged, or names more than %u columns", path,
                       SCHEMA_COLUMNS_MAX);
    for (unsigned i = 0; i < x->ncols; i++) {
        struct kdb_column c;
        if (!kdb_open_head(&c, x->dir, x->name[i], err))
            return false;
        x->type[i] = c.type;
        if (i == 0)
            x->rows = c.rows;
        ok = c.rows == x->rows;
        kdb_close(&c);
        if (!ok)
            return err_set(err, -EBADMSG, "%s/%s: has %llu rows where column %s has %llu", path,
                           x->name[i], (unsigned long long)c.rows, x->name[0],
                           (unsigned long long)x->rows);
    }
    struct err why;
    x->has_meta = hdb_meta_read(&x->meta, x->dir, path, &why);
    return true;
}

void wd_existing_close(struct wd_existing *x)
{
    for (unsigned i = 0; i < x->ncols; i++) {
        struct wd_file_in *f = &x->file[i];
        if (f->fd > 0)
            close(f->fd);
        if (f->bytes_fd > 0)
            close(f->bytes_fd);
        if (f->open && !f->plain)
            kdb_close(&f->column);
    }
    if (x->dir > 0)
        close(x->dir);
    memset(x, 0, sizeof *x);
}
