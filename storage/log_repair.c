/* SPDX-License-Identifier: Apache-2.0 */
#include "log_repair.h"

#include <fcntl.h>
#include "recovery_internal.h"

/* A name that is not taken: path.what, path.what.1, … */
static bool free_name(struct io *io, const char *path, const char *what, char out[4200])
{
    struct io_stat st;
    for (unsigned i = 0; i < 10000; i++) {
        char tail[24] = "";
        if (i)
            snprintf(tail, sizeof tail, ".%u", i);
        if (snprintf(out, 4200, "%.4000s.%s%s", path, what, tail) >= 4200)
            return false;
        if (io->ops->stat(io, out, &st) < 0)
            return true;
    }
    return false;
}

/* ---- headers ---- */

static bool headers(struct log_repair *r, bool act, struct err *err)
{
    struct log_file_header h;
    size_t n;
    uint8_t *buf = aligned_alloc(LOG_BLOCK, LOGSCAN_BUFFER);
    if (!buf)
        return err_set(err, -ENOMEM, "no memory");
    int v = logscan_header(r->io, r->path, r->instance, buf, &n, &h);
    bool ok = v >= 0 || err_set(err, v, "%s: cannot be read: %s", r->path, strerror(-v));
    r->header = (enum log_header_verdict)v;
    if (ok && v == LOG_HEADER_FORMAT)
        ok = err_set(err, -EPROTO,
                     "%s: has log format %u, this program reads up to %u: use a newer one", r->path,
                     h.format, LOG_FORMAT);
    if (ok && v == LOG_HEADER_NONE) {
        struct log_name name;
        int any = log_file_header_find(&h, buf, n, 0);
        if (any == LOG_HEADER_OK || any == LOG_HEADER_ONE_COPY)
            ok = err_set(err, -EXDEV, "%s: belongs to another instance: left alone", r->path);
        else if (!log_name_parse(&name, r->prefix, recovery_base(r->path)))
            ok = err_set(err, -EINVAL, "%s: its header is lost, and its name is no log file's",
                         r->path);
        else if (!r->instance)
            ok =
                err_set(err, -EBADMSG,
                        "%s: its header is lost: which instance wrote it tells a sound file beside "
                        "it; repair the directory",
                        r->path);
        else if (!recovery_origin(r->io, r->path, &name, r->instance, false, buf, &h))
            ok =
                err_set(err, -EBADMSG,
                        "%s: its header is lost and no frame of this instance is in it: nothing to "
                        "save",
                        r->path);
    }
    r->needed |= ok && v != LOG_HEADER_OK;
    if (ok && act && v != LOG_HEADER_OK) {
        ok = free_name(r->io, r->path, "header", r->aside);
        int rc = ok ? recovery_copy(r->io, r->path, 0, LOG_PREAMBLE, r->aside) : -ENAMETOOLONG;
        if (rc >= 0)
            rc = recovery_put_header(r->io, r->path, &h);
        ok = rc >= 0 ||
             err_set(err, rc, "%s: its header cannot be made anew: %s", r->path, strerror(-rc));
    }
    free(buf);
    return ok;
}

/* ---- frames ---- */

struct writer {
    struct io *io;
    int fd;
    uint8_t *buf;
    size_t fill;
    uint64_t at;
    int error;
};

static void put(struct writer *w, const void *p, size_t n)
{
    if (w->fill + n > LOGSCAN_WINDOW && !w->error) {
        w->error = io_pwrite_all(w->io, w->fd, w->buf, w->fill, w->at);
        w->at += w->fill;
        w->fill = 0;
    }
    if (!w->error)
        memcpy(w->buf + w->fill, p, n);
    w->fill += n;
}

/* The END frame's totals are those of the frames that are left. */
static void put_end(struct writer *w, const struct log_repair *r, const struct logscan *s,
                    const struct frame *f)
{
    static pst_aligned(64) uint8_t frame[FRAME_MAX];
    struct log_file_end e = s->end;
    e.frames = r->frames;
    e.bytes = r->bytes;
    uint32_t n = log_file_frame(frame, &s->header, LOG_FILE_END, &e, sizeof e, f->time);
    put(w, frame, n);
}

static bool is_header(const struct frame *f)
{
    unsigned type;
    uint32_t len;
    return log_file_body(f, &type, &len) && type == LOG_FILE_HEADER;
}

/* Walks the file; with w writes what is sound. */
static bool walk(struct log_repair *r, struct writer *w, struct err *err)
{
    struct logscan s;
    const struct frame *f;
    if (!logscan_open(&s, r->io, r->path, r->instance, err))
        return false;
    r->frames = r->records = r->bytes = r->damaged_bytes = r->lost_positions = r->torn_bytes = 0;
    r->ranges = 0;
    uint64_t position = s.position;
    bool bad = false;
    if (w) {
        static pst_aligned(64) uint8_t frame[FRAME_MAX];
        log_file_frame(frame, &s.header, LOG_FILE_HEADER, &s.header, sizeof s.header,
                       s.header.created);
        for (unsigned i = 0; i < LOG_HEADER_COPIES; i++)
            put(w, frame, LOG_BLOCK);
    }
    for (;;) {
        r->end = logscan_step(&s, &f, UINT64_MAX);
        if (r->end == LOGSCAN_DAMAGE && s.bad_to <= LOG_PREAMBLE)
            continue; /* a copy of the header */
        if (r->end == LOGSCAN_DAMAGE) {
            r->ranges++;
            r->damaged_bytes += s.bad_to - s.bad_from;
            bad = true;
            continue;
        }
        if (r->end != LOGSCAN_FRAME)
            break;
        if (f->kind == FRAME_FILE) {
            if (w && s.ended)
                put_end(w, r, &s, f);
            else if (w && !is_header(f))
                put(w, f, f->length);
            continue;
        }
        r->frames++;
        r->records += f->count;
        r->bytes += f->length;
        if (w)
            put(w, f, f->length);
        if (bad && f->position > position)
            r->lost_positions += f->position - position;
        bad = false;
        position = f->position + f->length;
    }
    bool ok = true;
    if (r->end == LOGSCAN_TORN) {
        r->torn_from = s.bad_from;
        r->torn_bytes = s.bad_to - s.bad_from;
    }
    if (s.gave_up)
        ok = err_set(err, -E2BIG,
                     "%s: what stands at byte %llu looks like too many frames to tell: "
                     "left alone",
                     r->path, (unsigned long long)s.bad_from);
    else if (r->end == LOGSCAN_ERROR)
        ok = err_set(err, s.error, "%s: cannot be read at byte %llu: %s", r->path,
                     (unsigned long long)s.offset, strerror(-s.error));
    r->needed |= r->ranges || r->torn_bytes;
    logscan_close(&s);
    return ok;
}

static int cut_tail(struct log_repair *r)
{
    char to[4200];
    snprintf(to, sizeof to, "%.4000s.torn-%llu", r->path, (unsigned long long)r->torn_from);
    int rc = recovery_copy(r->io, r->path, r->torn_from, r->torn_from + r->torn_bytes, to);
    int fd = rc >= 0 ? r->io->ops->open(r->io, r->path, O_RDWR, 0) : rc;
    if (fd < 0)
        return fd;
    rc = r->io->ops->ftruncate(r->io, fd, r->torn_from);
    if (rc >= 0)
        rc = r->io->ops->fsync(r->io, fd);
    r->io->ops->close(r->io, fd);
    strcpy(r->aside, to);
    return rc;
}

static bool rewrite(struct log_repair *r, struct err *err)
{
    char good[4200];
    struct writer w = {.io = r->io, .buf = malloc(LOGSCAN_WINDOW + FRAME_MAX)};
    snprintf(good, sizeof good, "%.4000s.good", r->path);
    w.fd = r->io->ops->open(r->io, good, O_CREAT | O_TRUNC | O_WRONLY, 0640);
    if (!w.buf || w.fd < 0) {
        free(w.buf);
        return err_set(err, w.fd < 0 ? w.fd : -ENOMEM, "%s: %s", good,
                       strerror(w.fd < 0 ? -w.fd : ENOMEM));
    }
    bool ok = walk(r, &w, err);
    if (ok && !w.error && w.fill)
        w.error = io_pwrite_all(w.io, w.fd, w.buf, w.fill, w.at);
    if (ok && !w.error)
        w.error = r->io->ops->fsync(r->io, w.fd);
    r->io->ops->close(r->io, w.fd);
    free(w.buf);
    if (ok && w.error >= 0 && !free_name(r->io, r->path, "damaged", r->aside))
        w.error = -ENAMETOOLONG;
    if (ok && w.error >= 0)
        w.error = r->io->ops->rename(r->io, r->path, r->aside);
    if (ok && w.error >= 0)
        w.error = r->io->ops->rename(r->io, good, r->path);
    if (ok && w.error >= 0)
        w.error = recovery_sync_parent(r->io, r->path);
    if (!ok || w.error < 0)
        r->io->ops->unlink(r->io, good);
    return ok && (w.error >= 0 || err_set(err, w.error, "%s: cannot be written anew: %s", r->path,
                                          strerror(-w.error)));
}

bool log_repair_file(struct log_repair *r, bool act, struct err *err)
{
    r->needed = false;
    *r->aside = 0;
    if (!headers(r, act, err))
        return false;
    if (r->header == LOG_HEADER_NONE && !act)
        return true; /* without a header nothing can be walked yet */
    if (!walk(r, NULL, err))
        return false;
    /* a header block that was healed on disk is no damage any more; one that was not, is one */
    if (!act || !r->needed)
        return true;
    if (r->ranges)
        return rewrite(r, err);
    int rc = r->torn_bytes ? cut_tail(r) : 0;
    return rc >= 0 ||
           err_set(err, rc, "%s: its torn tail cannot be cut off: %s", r->path, strerror(-rc));
}
