/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include "core/clock.h"
#include "facts.h"

#define FLUSH_NS NS_PER_S
#define RENEW    (256ull << 10) /* an end of day makes a note of this size begin anew */
#define LARGEST  (256ull << 20)

/* {"durable":N,…,"facts":N,"next":…}: quotes in names are escaped, so the key is found once. */
bool facts_before(const struct frame *f, uint64_t *n)
{
    static const char key[] = "\"facts\":";
    unsigned type;
    uint32_t len;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    const char *at = json && type == MARK_TICK ? memmem(json, len, key, sizeof key - 1) : NULL;
    if (!at)
        return false;
    *n = 0;
    bool any = false;
    for (at += sizeof key - 1; at < json + len && *at >= '0' && *at <= '9'; at++) {
        *n = *n * 10 + (uint64_t)(*at - '0');
        any = true;
    }
    return any;
}

bool facts_is(const struct frame *f)
{
    unsigned type;
    uint32_t len;
    return f->kind == FRAME_SYMBOL || f->kind == FRAME_SCHEMA ||
           (f->kind == FRAME_MARK && !(frame_mark(f, &type, &len) && type == MARK_TICK));
}

/* ---- writing ---- */

void facts_open(struct facts_writer *w, struct io *io, const char *state_directory)
{
    *w = (struct facts_writer){.io = io, .fd = -1};
    snprintf(w->path, sizeof w->path, "%s/%s", state_directory, FACTS_NAME);
}

static void stop(struct facts_writer *w, int error)
{
    w->off = true;
    w->error = error;
    free(w->pending);
    w->pending = NULL;
    if (w->fd >= 0)
        w->io->ops->close(w->io, w->fd);
    w->fd = -1;
}

void facts_lost(struct facts_writer *w)
{
    if (!w->off)
        stop(w, 0);
}

void facts_close(struct facts_writer *w)
{
    facts_lost(w);
}

static void keep(struct facts_writer *w, const struct frame *f)
{
    if (w->bytes + f->length > w->room) {
        size_t room = 2 * w->room + f->length + 4096;
        uint8_t *p = realloc(w->pending, room);
        if (!p) {
            stop(w, -ENOMEM);
            return;
        }
        w->pending = p;
        w->room = room;
    }
    memcpy(w->pending + w->bytes, f, f->length);
    w->bytes += f->length;
}

static void flush(struct facts_writer *w, int64_t now)
{
    struct io *io = w->io;
    if (w->off)
        return;
    if (w->fd < 0)
        w->fd = io->ops->open(io, w->path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    int rc = w->fd < 0 ? w->fd : io_pwrite_all(io, w->fd, w->pending, w->bytes, w->at);
    if (rc >= 0)
        rc = io->ops->fdatasync(io, w->fd);
    if (rc < 0) {
        stop(w, rc);
        return;
    }
    w->at += w->bytes;
    w->bytes = 0;
    w->flushed = now;
}

/* The note begins with this tick. */
static void begin(struct facts_writer *w, const struct frame *tick, uint64_t n, int64_t now)
{
    if (w->fd >= 0) {
        int rc = w->io->ops->ftruncate(w->io, w->fd, 0);
        if (rc < 0) {
            stop(w, rc);
            return;
        }
    }
    w->begun = true;
    w->renew = false;
    w->at = w->bytes = 0;
    w->count = n;
    keep(w, tick);
    flush(w, now);
}

void facts_frame(struct facts_writer *w, const struct frame *f, int64_t now)
{
    uint64_t n;
    if (w->off || f->kind == FRAME_DATA || f->kind == FRAME_GAP)
        return;
    if (facts_before(f, &n)) {
        if (!w->begun || n != w->count || w->renew) {
            begin(w, f, n, now);
        } else if (w->bytes && now - w->flushed >= FLUSH_NS) {
            keep(w, f);
            flush(w, now);
        }
        return;
    }
    if (!w->begun || !facts_is(f))
        return;
    unsigned type = 0;
    uint32_t len;
    if (f->kind == FRAME_MARK)
        frame_mark(f, &type, &len);
    w->count++;
    w->renew |= type == MARK_EOD && w->at > RENEW;
    keep(w, f);
}

/* ---- reading ---- */

bool facts_load(struct facts *k, struct io *io, const char *path, uint64_t instance)
{
    *k = (struct facts){0};
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    struct io_stat st;
    uint8_t *p = NULL;
    bool read = io->ops->fstat(io, fd, &st) >= 0 && st.size >= FRAME_HEADER && st.size < LARGEST &&
                (p = aligned_alloc(64, pst_align_up(st.size, 64))) &&
                io_pread_all(io, fd, p, st.size, 0) >= 0;
    io->ops->close(io, fd);
    uint64_t count = 0, above = 0, n;
    for (size_t at = 0; read && at < st.size;) {
        const struct frame *f = (const struct frame *)(p + at);
        if (frame_check(f, st.size - at, frame_seed(instance)) != FRAME_OK || f->position < above)
            break;
        if (facts_before(f, &n)) {
            if (at && n != count)
                break;
            count = n;
            k->first = at ? k->first : f->position;
            k->last = f->position;
            k->bytes = at + f->length;
        } else if (!at || !facts_is(f)) {
            break;
        } else {
            count++;
        }
        above = f->position + f->length;
        at += f->length;
    }
    if (k->bytes)
        k->frames = p;
    else
        free(p);
    return k->bytes != 0;
}

void facts_free(struct facts *k)
{
    free(k->frames);
    *k = (struct facts){0};
}

const struct frame *facts_next(const struct facts *k, const struct frame *f)
{
    const uint8_t *at = f ? (const uint8_t *)f + f->length : k->frames;
    return at < k->frames + k->bytes ? (const struct frame *)at : NULL;
}
