/* SPDX-License-Identifier: Apache-2.0 */
/* kdb_file_write.c - the safe write subset (format page 4.11): shapes A (symbols), B, D, strings.
 */
#include <fcntl.h>
#include "core/schema.h"
#include "kdb_file.h"

void kdb_symbols_header(uint8_t out[KDB_SYMBOLS_HEADER], uint32_t count)
{
    static const uint8_t head[4] = {0xFF, 0x01, PST_SYMBOL, 0};
    memcpy(out, head, sizeof head);
    put32(out + 4, count);
}

void kdb_vector_header(uint8_t out[KDB_VECTOR_HEADER], uint8_t type, uint8_t attribute,
                       uint64_t rows)
{
    memset(out, 0, KDB_VECTOR_HEADER);
    out[0] = 0xFE;
    out[1] = 0x20;
    out[2] = type;
    out[3] = attribute;
    put64(out + 8, rows);
}

void kdb_enum_header(uint8_t out[KDB_ENUM_HEADER], uint8_t attribute, uint64_t rows)
{
    memset(out, 0, KDB_ENUM_HEADER);
    out[0] = 0xFD;
    out[1] = 0x20;
    memcpy(out + 16, "sym", 3);
    out[4080] = 0xFD;
    out[4082] = 20; /* an enumeration, whatever its domain */
    out[4083] = attribute;
    put64(out + 4088, rows);
}

unsigned kdb_width(uint8_t type)
{
    return type == PST_SYMBOL || type == PST_STRING ? 8 : type_width(type);
}

uint64_t kdb_row_at(uint8_t type, uint64_t row)
{
    return (type == PST_SYMBOL ? KDB_ENUM_HEADER : KDB_VECTOR_HEADER) + row * kdb_width(type);
}

uint64_t kdb_file_bytes(uint8_t type, uint64_t rows)
{
    return kdb_row_at(type, rows);
}

static int create(struct io *io, const char *path, struct err *err)
{
    int fd = io->ops->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        err_set(err, fd, "%s: cannot be created: %s", path, strerror(-fd));
    return fd;
}

static bool put(struct kdb_writer *w, int fd, const void *p, uint64_t n, uint64_t at,
                struct err *err)
{
    int r = io_pwrite_all(w->io, fd, p, n, at);
    return !r || err_set(err, r, "%s%s: cannot be written: %s", w->path,
                         fd == w->bytes_fd ? "#" : "", strerror(-r));
}

bool kdb_write_open(struct kdb_writer *w, struct io *io, const char *path, uint8_t type,
                    struct err *err)
{
    *w = (struct kdb_writer){.io = io, .fd = -1, .bytes_fd = -1, .type = type};
    if (!kdb_width(type))
        return err_set(err, -EINVAL, "%s: type %u is not written", path, type);
    if ((size_t)snprintf(w->path, sizeof w->path, "%s", path) >= sizeof w->path - 1)
        return err_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
    w->fd = create(io, w->path, err);
    if (w->fd >= 0 && type == PST_STRING) {
        char more[sizeof w->path + 1];
        snprintf(more, sizeof more, "%s#", w->path);
        w->bytes_fd = create(io, more, err);
    }
    if (w->fd >= 0 && (type != PST_STRING || w->bytes_fd >= 0))
        return true;
    kdb_write_abandon(w);
    return false;
}

bool kdb_write_at(struct kdb_writer *w, uint64_t row, const void *values, uint64_t n,
                  struct err *err)
{
    return put(w, w->fd, values, n * kdb_width(w->type), kdb_row_at(w->type, row), err);
}

bool kdb_write_bytes(struct kdb_writer *w, uint64_t offset, const void *bytes, uint64_t n,
                     struct err *err)
{
    return put(w, w->bytes_fd, bytes, n, offset, err);
}

static bool sync_fd(struct kdb_writer *w, int fd, struct err *err)
{
    int r = w->io->ops->fsync(w->io, fd);
    return r >= 0 || err_set(err, r, "%s: cannot be synced: %s", w->path, strerror(-r));
}

/* q keeps an empty nested column as the empty list, and maps `#`, which therefore must not be
 * empty. */
static bool close_strings(struct kdb_writer *w, uint64_t rows, struct err *err)
{
    static const uint8_t nothing[8] = {0xFF, 0x01};
    struct io_stat st = {0};
    char more[sizeof w->path + 1];
    int r;
    if (rows) {
        r = w->io->ops->fstat(w->io, w->bytes_fd, &st);
        return (r >= 0 || err_set(err, r, "%s#: %s", w->path, strerror(-r))) &&
               (st.size || put(w, w->bytes_fd, "", 1, 0, err));
    }
    snprintf(more, sizeof more, "%s#", w->path);
    r = w->io->ops->ftruncate(w->io, w->fd, sizeof nothing);
    int gone = w->io->ops->unlink(w->io, more);
    r = r < 0 ? r : gone;
    return (r >= 0 || err_set(err, r, "%s: %s", w->path, strerror(-r))) &&
           put(w, w->fd, nothing, sizeof nothing, 0, err);
}

bool kdb_write_close(struct kdb_writer *w, uint64_t rows, uint8_t attribute, bool sync,
                     struct err *err)
{
    uint8_t head[KDB_ENUM_HEADER];
    unsigned n = w->type == PST_SYMBOL ? KDB_ENUM_HEADER : KDB_VECTOR_HEADER;
    if (w->type == PST_SYMBOL)
        kdb_enum_header(head, attribute, rows);
    else
        kdb_vector_header(head, w->type, attribute, rows);
    bool strings = w->type == PST_STRING;
    bool ok = (!strings || close_strings(w, rows, err)) &&
              ((strings && !rows) || put(w, w->fd, head, n, 0, err));
    ok = ok && (!sync || sync_fd(w, w->fd, err));
    ok = ok && (!sync || !strings || !rows || sync_fd(w, w->bytes_fd, err));
    int fd = w->fd, r = 0;
    w->fd = -1;
    if (fd >= 0)
        r = w->io->ops->close(w->io, fd);
    if (ok && r < 0)
        ok = err_set(err, r, "%s: cannot be closed: %s", w->path, strerror(-r));
    kdb_write_abandon(w);
    return ok;
}

void kdb_write_abandon(struct kdb_writer *w)
{
    if (w->fd >= 0)
        w->io->ops->close(w->io, w->fd);
    if (w->bytes_fd >= 0)
        w->io->ops->close(w->io, w->bytes_fd);
    w->fd = w->bytes_fd = -1;
}

bool kdb_write_symbols(struct io *io, const char *path, const char *const *names, uint32_t count,
                       bool sync, struct err *err)
{
    size_t len = KDB_SYMBOLS_HEADER;
    for (uint32_t i = 0; i < count; i++)
        len += strlen(names[i]) + 1;
    uint8_t *image = malloc(len), *at = image;
    if (!image)
        return err_set(err, -ENOMEM, "%s: no memory", path);
    kdb_symbols_header(image, count);
    at += KDB_SYMBOLS_HEADER;
    for (uint32_t i = 0; i < count; i++)
        at = (uint8_t *)stpcpy((char *)at, names[i]) + 1;
    int fd = create(io, path, err);
    int r = fd < 0 ? 0 : io_pwrite_all(io, fd, image, len, 0);
    if (fd >= 0 && !r && sync)
        r = io->ops->fsync(io, fd);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    free(image);
    if (fd >= 0 && r < 0)
        return err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
    return fd >= 0;
}
