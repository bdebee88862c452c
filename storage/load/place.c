/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"
#include "load/place.h"
#include "load/sources.h"

#define PIECE (1u << 18) /* integers turned at a time */
#define WALK  "walk"

static unsigned width_for(uint64_t rows)
{
    return rows < 128 ? 1 : rows < 32768 ? 2 : rows < 1ull << 31 ? 4 : 8;
}

static void boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 36);
    out[n > 0 ? n : 0] = 0;
    if (fd >= 0)
        close(fd);
}

static void narrow(const uint32_t *from, void *to, unsigned width, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v = from[i] == WD_DROPPED ? UINT64_MAX : from[i];
        memcpy((uint8_t *)to + (size_t)i * width, &v, width);
    }
}

static void widen(const void *from, uint32_t *to, unsigned width, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v = 0;
        memcpy(&v, (const uint8_t *)from + (size_t)i * width, width);
        to[i] = v == UINT64_MAX >> (64 - 8 * width) ? WD_DROPPED : (uint32_t)v;
    }
}

bool load_place_write(struct io *io, const char *dir, const struct wd_order *o,
                      struct load_place_file *f, struct err *err)
{
    char path[1300];
    snprintf(path, sizeof path, "%s/%s", dir, LOAD_INDEX_PLACE);
    *f = (struct load_place_file){.width = width_for(o->rows), .rows = o->rows};
    f->bytes = f->rows * f->width;
    boot_id(f->boot);
    int fd = io->ops->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd;
    void *piece = fd < 0 || f->width == 4 ? NULL : malloc((size_t)PIECE * f->width);
    if (fd >= 0 && f->width != 4 && !piece)
        r = -ENOMEM;
    for (uint64_t at = 0; r >= 0 && at < o->rows;) {
        uint32_t n = o->rows - at < PIECE ? (uint32_t)(o->rows - at) : PIECE;
        const void *p = o->place + at;
        if (piece) {
            narrow(o->place + at, piece, f->width, n);
            p = piece;
        }
        f->crc = crc32c(f->crc, p, (size_t)n * f->width);
        r = io_pwrite_all(io, fd, p, (size_t)n * f->width, at * f->width);
        at += n;
    }
    free(piece);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    return r >= 0 || err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
}

json_t *load_place_json(const struct load_place_file *f)
{
    return json_pack("{s:i,s:I,s:I,s:s}", "width", (int)f->width, "rows", (json_int_t)f->rows,
                     "crc", (json_int_t)f->crc, "boot", f->boot);
}

bool load_place_take(struct load_place_file *f, const json_t *o)
{
    const char *boot = json_string_value(json_object_get(o, "boot"));
    json_int_t rows = json_integer_value(json_object_get(o, "rows"));
    *f =
        (struct load_place_file){.width = (unsigned)json_integer_value(json_object_get(o, "width")),
                                 .rows = (uint64_t)rows,
                                 .crc = (uint32_t)json_integer_value(json_object_get(o, "crc"))};
    if (!boot || strlen(boot) >= sizeof f->boot || rows <= 0 || rows >= WD_DROPPED ||
        f->width != width_for(f->rows))
        return false;
    strcpy(f->boot, boot);
    f->bytes = f->rows * f->width;
    return true;
}

const uint32_t *load_place_open(const struct load_place_file *f, const char *dir, void **map,
                                struct err *err)
{
    char path[1300], boot[40];
    struct stat st;
    *map = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, LOAD_INDEX_PLACE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *p = MAP_FAILED;
    if (fd >= 0 && !fstat(fd, &st) && (uint64_t)st.st_size == f->bytes)
        p = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (p == MAP_FAILED) {
        err_set(err, -ESTALE, "%s: is not what it was: the index is made again", path);
        return NULL;
    }
    boot_id(boot);
    if (strcmp(boot, f->boot) != 0 && crc32c(0, p, f->bytes) != f->crc) {
        munmap(p, f->bytes);
        err_set(err, -ESTALE, "%s: is damaged: the index is made again", path);
        return NULL;
    }
    *map = p;
    if (f->width == 4)
        return p;
    uint32_t *wide = malloc(f->rows * sizeof *wide);
    if (!wide)
        err_set(err, -ENOMEM, "%s: no memory", path);
    for (uint64_t at = 0; wide && at < f->rows;) {
        uint32_t n = f->rows - at < PIECE ? (uint32_t)(f->rows - at) : PIECE;
        widen((const uint8_t *)p + at * f->width, wide + at, f->width, n);
        at += n;
    }
    munmap(p, f->bytes);
    *map = wide;
    return wide;
}

void load_place_close(const struct load_place_file *f, void *map)
{
    if (map && f->width == 4)
        munmap(map, f->bytes);
    else
        free(map);
}

bool load_walk_write(struct io *io, const char *dir, const struct wd_order *o, struct err *err)
{
    char path[1300];
    if (!o->walk)
        return true;
    snprintf(path, sizeof path, "%s/%s", dir, WALK);
    int fd = io->ops->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd < 0 ? fd : io_pwrite_all(io, fd, o->walk, o->nwalk * sizeof *o->walk, 0);
    if (fd >= 0) {
        int closed = io->ops->close(io, fd);
        r = r < 0 ? r : closed;
    }
    return r >= 0 || err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
}

/* Each chunk of each source once? */
static bool walk_whole(const struct wd_order *o, const struct wd_source *source, unsigned nsources)
{
    uint64_t *first = calloc(nsources + 1u, sizeof *first);
    for (unsigned i = 0; first && i < nsources; i++)
        first[i + 1] = first[i] + wd_chunks(&source[i]);
    uint8_t *seen = first ? calloc(first[nsources] + 1, 1) : NULL;
    bool ok = seen && o->nwalk == first[nsources];
    for (uint64_t i = 0; ok && i < o->nwalk; i++) {
        const struct wd_step *s = &o->walk[i];
        ok = s->source < nsources && s->chunk < first[s->source + 1] - first[s->source] &&
             !seen[first[s->source] + s->chunk]++;
    }
    free(seen);
    free(first);
    return ok;
}

bool load_walk_read(const char *dir, struct wd_order *o, const struct wd_source *source,
                    unsigned nsources, struct err *err)
{
    char path[1300];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, WALK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && !fstat(fd, &st) && st.st_size <= (off_t)(o->rows * sizeof *o->walk);
    if (ok) {
        o->nwalk = (uint64_t)st.st_size / sizeof *o->walk;
        o->walk = malloc(o->nwalk * sizeof *o->walk + 1);
        ok = o->walk && pread(fd, o->walk, (size_t)st.st_size, 0) == st.st_size &&
             walk_whole(o, source, nsources);
    }
    if (fd >= 0)
        close(fd);
    return ok || err_set(err, -ESTALE, "%s: is damaged: the index is made again", path);
}
