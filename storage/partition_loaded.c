/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "partition.h"

#define COPY_MAX (64u << 10) /* smaller files are read: ten thousand maps would be too many */

bool wd_loaded_open(struct wd_loaded *x, const char *path, uint64_t rows,
                    const char (*names)[SCHEMA_NAME_MAX], unsigned ncols, struct err *err)
{
    memset(x, 0, sizeof *x);
    if (strlen(path) >= sizeof x->path)
        return err_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
    strcpy(x->path, path);
    x->rows = rows;
    x->name = names;
    x->ncols = ncols;
    x->file = calloc(2 * (size_t)ncols + 1, sizeof *x->file);
    return x->file || err_set(err, -ENOMEM, "%s: no memory", path);
}

void wd_loaded_forget(struct wd_loaded *x)
{
    union { /* it was ours when it was made */
        const uint8_t *c;
        void *p;
    } at;
    for (unsigned i = 0; x->file && i < 2 * x->ncols; i++) {
        struct wd_loaded_file *f = &x->file[i];
        at.c = f->at;
        if (f->mapped)
            munmap(at.p, f->bytes);
        else
            free(at.p);
        *f = (struct wd_loaded_file){0};
    }
}

void wd_loaded_close(struct wd_loaded *x)
{
    wd_loaded_forget(x);
    free(x->file);
    x->file = NULL;
}

static int slurp(int fd, void *to, uint64_t n)
{
    for (uint64_t done = 0; done < n;) {
        ssize_t r = pread(fd, (uint8_t *)to + done, n - done, (off_t)done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -ENODATA;
        done += (uint64_t)r;
    }
    return 0;
}

/* want: what it must have, UINT64_MAX: whatever it has. */
static bool open_file(struct wd_loaded *x, struct wd_loaded_file *f, const char *name,
                      const char *more, uint64_t want, struct err *err)
{
    char path[1200];
    struct stat st;
    if (f->at)
        return true;
    snprintf(path, sizeof path, "%s/%s%s", x->path, name, more);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int e = fd < 0 || fstat(fd, &st) ? -errno : 0;
    void *p = NULL;
    if (!e && (!S_ISREG(st.st_mode) || (want != UINT64_MAX && (uint64_t)st.st_size != want)))
        e = -ENODATA;
    if (!e) {
        f->bytes = (uint64_t)st.st_size;
        f->mapped = f->bytes > COPY_MAX;
        p = f->mapped ? mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, fd, 0) : malloc(f->bytes + 8);
        e = p == MAP_FAILED || !p ? -errno : f->mapped ? 0 : slurp(fd, p, f->bytes);
        if (!e && f->mapped)
            madvise(p, f->bytes, MADV_SEQUENTIAL);
        if (e && !f->mapped)
            free(p);
    }
    if (fd >= 0)
        close(fd);
    if (e) {
        *f = (struct wd_loaded_file){0};
        return err_set(err, e == -ENODATA ? -EBADMSG : e, "%s: cannot be read: %s", path,
                       e == -ENODATA ? "it has not the bytes that its result says" : strerror(-e));
    }
    f->at = p;
    return true;
}

static unsigned width_of(uint8_t type)
{
    return type == PST_SYMBOL ? 4 : type == PST_STRING ? 8 : type_width(type);
}

const void *wd_loaded_flat(const struct wd_source *s, unsigned col, struct err *err)
{
    struct wd_loaded *x = s->loaded;
    struct wd_loaded_file *f = &x->file[2 * col];
    return open_file(x, f, x->name[col], "", x->rows * width_of(s->type[col]), err) ? f->at : NULL;
}

static bool strings(const struct wd_source *s, unsigned col, bool texts, uint64_t row,
                    struct wd_values *out, struct err *err)
{
    struct wd_loaded *x = s->loaded;
    struct wd_loaded_file *f = &x->file[2 * col + 1];
    const int64_t *end = out->values;
    out->disk = true;
    out->start = row ? end[-1] : 0;
    if (!wd_ends_check(out, x->path, x->name[col], row, err))
        return false;
    if (!texts)
        return true;
    if (!open_file(x, f, x->name[col], "#", UINT64_MAX, err))
        return false;
    if (out->start < 0 || (uint64_t)end[out->rows - 1] > f->bytes)
        return err_set(err, -EBADMSG, "%s/%s#: is shorter than its strings", x->path, x->name[col]);
    out->bytes = f->at + out->start;
    out->nbytes = f->bytes - (uint64_t)out->start;
    return true;
}

bool wd_loaded_values(struct wd_reader *r, unsigned slot, const struct wd_source *s, uint32_t k,
                      unsigned col, bool texts, struct wd_values *out, struct err *err)
{
    struct wd_loaded *x = s->loaded;
    uint64_t row = (uint64_t)k * WD_SLICE;
    uint8_t type = s->type[col];
    const uint8_t *base = wd_loaded_flat(s, col, err);
    if (!base)
        return false;
    wd_chunk_rows(s, k, &out->first, &out->rows);
    out->values = base + row * width_of(type);
    if (type == PST_STRING)
        return strings(s, col, texts, row, out, err);
    if (type != PST_SYMBOL)
        return true;
    uint32_t *index = wd_room(&r->buf[slot], &r->room[slot], (size_t)WD_SLICE * 16);
    const uint32_t *code = out->values;
    if (!index)
        return err_set(err, -ENOMEM, "no memory to read %s", x->path);
    for (uint32_t i = 0; i < out->rows; i++) {
        if (pst_unlikely(code[i] >= x->codes))
            return err_set(err, -EBADMSG, "%s/%s: row %llu has a code that its symbols have not",
                           x->path, x->name[col], (unsigned long long)row + i);
        index[i] = x->index[code[i]];
    }
    out->values = index;
    return true;
}
