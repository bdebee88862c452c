/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include "logscan.h"

#define PROBES   32u
#define PATIENCE (4 * LOG_BLOCK) /* so much is asked for again, block by block */
#define AHEAD    (8ull << 20)
#define NEAR     (logscan_fine ? 4096 : 2 * LOGSCAN_WINDOW) /* what bisecting leaves to be read */

#ifdef PST_FAULTS
bool logscan_fine;
#endif

const char *logscan_verdict_name(enum logscan_verdict v)
{
    static const char *const names[] = {"frame",     "stop",   "end",  "clean end",
                                        "torn tail", "damage", "error"};
    return (unsigned)v < PST_COUNT(names) ? names[v] : "?";
}

/* ---- the window ---- */

/* One block at the end of the buffer, from a disk that does not give more at once: as it is, or as
 * bytes that are no frame. */
static int64_t one_block(struct logscan *s, uint64_t at)
{
    size_t n = s->size - at < LOG_BLOCK ? (size_t)(s->size - at) : LOG_BLOCK;
    int64_t got;
    /* a disk that does not answer takes its time each time */
    unsigned tries = s->unreadable_bytes < PATIENCE ? 0 : IO_READ_TRIES;
    do
        got = s->io->ops->pread(s->io, s->fd, s->buf + s->fill, n, at);
    while (io_read_again(got, &tries));
    if (got != -EIO)
        return got;
    if (s->unreadable_bytes >= LOGSCAN_UNREADABLE)
        return -EIO;
    s->unreadable_bytes += n;
    memset(s->buf + s->fill, 0xff, n);
    return (int64_t)n;
}

/* Makes [at, at + want) available, or as much of it as the file has. Returns the bytes at hand from
 * `at` on (may exceed want); < 0 = -errno. */
static int64_t look(struct logscan *s, uint64_t at, size_t want, const uint8_t **p)
{
    if (at >= s->base && at + want <= s->base + s->fill) {
        *p = s->buf + (at - s->base);
        return (int64_t)(s->base + s->fill - at);
    }
    uint64_t base = at & ~(uint64_t)(LOG_BLOCK - 1);
    size_t keep = 0;
    bool onward = base >= s->base && base <= s->base + s->fill;
    if (base >= s->base && base < s->base + s->fill) {
        keep = (s->base + s->fill - base) & ~(size_t)(LOG_BLOCK - 1);
        memmove(s->buf, s->buf + (base - s->base), keep);
    }
    s->base = base;
    s->fill = keep;
    s->steady = onward ? s->steady + 1 : 0;
    uint64_t next = base + LOGSCAN_BUFFER;
    if (s->steady > 2 && next + AHEAD / 2 > s->ahead && s->io->ops->ahead) {
        s->ahead = next > s->ahead || s->ahead > next + AHEAD ? next : s->ahead;
        s->io->ops->ahead(s->io, s->fd, s->ahead, AHEAD);
        s->ahead += AHEAD;
    }
    unsigned tries = 0;
    while (s->fill < LOGSCAN_BUFFER) {
        int64_t n = s->io->ops->pread(s->io, s->fd, s->buf + s->fill, LOGSCAN_BUFFER - s->fill,
                                      base + s->fill);
        if (n == -EINTR || (base + s->fill >= s->size && io_read_again(n, &tries)))
            continue;
        if (n < 0) {
            if (at + want <= base + s->fill)
                break; /* what is needed is there: the error comes when its bytes are needed */
            if (n == -EIO && base + s->fill < s->size)
                n = one_block(s, base + s->fill);
            if (n >= 0) {
                s->fill += (size_t)n;
                if (!n)
                    break;
                continue;
            }
            s->error = (int)n;
            return n;
        }
        if (n == 0)
            break;
        s->fill += (size_t)n;
        if (at + want <= base + s->fill && s->fill % LOG_BLOCK)
            break; /* the end of the file, most likely */
    }
    *p = s->buf + (at - base);
    return at < base + s->fill ? (int64_t)(base + s->fill - at) : 0;
}

int logscan_header(struct io *io, const char *path, uint64_t instance, uint8_t *buf, size_t *got,
                   struct log_file_header *h)
{
    *got = 0;
    unsigned bad = 0, tries = 0;
    int fd;
    do
        fd = io->ops->open(io, path, O_RDONLY, 0);
    while (io_read_again(fd, &tries));
    if (fd < 0)
        return fd;
    int64_t n = 0;
    for (unsigned i = 0; i < LOG_HEADER_COPIES; i++) {
        tries = 0;
        do
            n = io->ops->pread(io, fd, buf + i * LOG_BLOCK, LOG_BLOCK, i * LOG_BLOCK);
        while (io_read_again(n, &tries));
        if (n == -EIO && ++bad < LOG_HEADER_COPIES) {
            memset(buf + i * LOG_BLOCK, 0xff, LOG_BLOCK);
            n = LOG_BLOCK;
        }
        if (n > 0)
            *got += (size_t)n;
        if (n < (int64_t)LOG_BLOCK)
            break;
    }
    io->ops->close(io, fd);
    return n < 0 ? (int)n : (int)log_file_header_find(h, buf, *got, instance);
}

bool logscan_open(struct logscan *s, struct io *io, const char *path, uint64_t instance,
                  struct err *err)
{
    memset(s, 0, sizeof *s);
    s->io = io;
    unsigned tries = 0;
    do
        s->fd = io->ops->open(io, path, O_RDONLY, 0);
    while (io_read_again(s->fd, &tries));
    if (s->fd < 0)
        return err_set(err, s->fd, "%s: cannot be opened: %s", path, strerror(-s->fd));
    s->own_fd = true;
    struct io_stat st;
    int rc;
    tries = 0;
    do
        rc = io->ops->fstat(io, s->fd, &st);
    while (io_read_again(rc, &tries));
    if (rc < 0) {
        err_set(err, rc, "%s: %s", path, strerror(-rc));
        goto fail;
    }
    s->size = st.size;
    s->buf = aligned_alloc(LOG_BLOCK, LOGSCAN_BUFFER);
    if (!s->buf) {
        err_set(err, -ENOMEM, "%s: no memory to read it", path);
        goto fail;
    }
    const uint8_t *p;
    int64_t n = look(s, 0, LOG_PREAMBLE, &p);
    if (n < 0) {
        err_set(err, (int)n, "%s: cannot be read: %s", path, strerror((int)-n));
        goto fail;
    }
    s->header_verdict = log_file_header_find(&s->header, p, (size_t)n, instance);
    if (s->header_verdict == LOG_HEADER_FORMAT) {
        err_set(err, -EPROTO, "%s: has log format %u, this program reads up to %u: use a newer one",
                path, s->header.format, LOG_FORMAT);
        goto fail;
    }
    if (s->header_verdict == LOG_HEADER_NONE) {
        err_set(err, -EBADMSG, "%s: no sound header of a log file%s", path,
                instance ? " of this instance" : "");
        goto fail;
    }
    s->seed = frame_seed(s->header.instance);
    s->position = s->header.first;
    s->crc_left = 8 * (s->size < (1ull << 56) ? s->size : 1ull << 56) + (16u << 20);
    return true;
fail:
    logscan_close(s);
    return false;
}

void logscan_close(struct logscan *s)
{
    if (s->own_fd && s->fd >= 0)
        s->io->ops->close(s->io, s->fd);
    free(s->buf);
    s->buf = NULL;
    s->own_fd = false;
    s->fd = -1;
}

/* ---- frames ---- */

enum place { PLACE_FRAME, PLACE_ZERO, PLACE_STALE, PLACE_BAD };

/* Does a frame with a right CRC belong here? */
static enum place belongs(const struct logscan *s, const struct frame *f, uint64_t above)
{
    if (f->kind == FRAME_FILE)
        return f->position == s->header.first  ? PLACE_FRAME
               : f->position < s->header.first ? PLACE_STALE
                                               : PLACE_BAD;
    if (f->position < s->header.first)
        return PLACE_STALE;
    if (f->position < above || f->position > UINT64_MAX - FRAME_MAX || f->position % FRAME_ALIGN)
        return PLACE_BAD;
    return PLACE_FRAME;
}

/* A frame of this file, but the walk is beyond it: a write that went astray stands before it. */
static bool passed(const struct logscan *s, const struct frame *f, uint64_t above)
{
    return f->kind != FRAME_FILE && f->position >= s->header.first && f->position < above &&
           f->position % FRAME_ALIGN == 0;
}

static enum place judge(const struct logscan *s, const uint8_t *p, size_t n)
{
    switch (frame_check(p, n, s->seed)) {
    case FRAME_END:
        return PLACE_ZERO;
    case FRAME_OK:
        return belongs(s, (const struct frame *)p, s->position);
    default:
        return PLACE_BAD;
    }
}

static enum logscan_verdict failed(struct logscan *s, int error)
{
    s->error = error;
    return LOGSCAN_ERROR;
}

enum logscan_verdict logscan_next(struct logscan *s, const struct frame **f)
{
    const uint8_t *p;
    int64_t n = look(s, s->offset, FRAME_HEADER, &p);
    if (pst_likely(n >= (int64_t)FRAME_HEADER)) {
        uint32_t len = ((const struct frame *)p)->length;
        if (pst_unlikely(len > n) && len <= FRAME_MAX)
            n = look(s, s->offset, len, &p);
    }
    if (n < 0)
        return failed(s, (int)n);
    if (judge(s, p, (size_t)n) != PLACE_FRAME)
        return LOGSCAN_STOP;
    const struct frame *got = (const struct frame *)p;
    s->offset += got->length;
    s->crc_left += got->length;
    s->ended = false;
    if (got->kind == FRAME_FILE) {
        s->ended = log_file_end_read(&s->end, got);
    } else {
        s->position = got->position + got->length;
        s->frames++;
        s->bytes += got->length;
        s->records += got->count;
    }
    *f = got;
    return LOGSCAN_FRAME;
}

static bool all_zero(const uint8_t *p, size_t n) /* n: a multiple of 8 */
{
    uint64_t or = 0;
    for (size_t i = 0; i + 8 <= n; i += 8)
        or |= le64(p + i);
    return ! or ;
}

struct search {
    uint64_t found;    /* offset of a valid frame; UINT64_MAX = none */
    uint64_t stale;    /* offset of the first stale frame; UINT64_MAX = none */
    bool below;        /* a frame of this file stands there, of a position that was passed */
    uint64_t last_set; /* end of the last byte that is not zero, before `stale` */
    uint64_t *crc_left;
    bool gave_up;
};

/*
 * Looks for a frame of this file in [from, to) at 8-aligned places. `above`: lowest position a
 * journal frame may have. The first stale frame is noted.
 */
static int search(struct logscan *s, uint64_t from, uint64_t to, uint64_t above, struct search *r)
{
    r->found = r->stale = UINT64_MAX;
    r->last_set = from;
    r->gave_up = r->below = false;
    uint64_t at = pst_align8(from);
    while (at < to) {
        const uint8_t *p;
        int64_t got = look(s, at, LOGSCAN_WINDOW + FRAME_MAX, &p);
        if (got < 0)
            return (int)got;
        if (got < 8)
            break;
        size_t window = got > (int64_t)LOGSCAN_WINDOW ? LOGSCAN_WINDOW : (size_t)got;
        if (window > to - at)
            window = (size_t)(to - at);
        for (size_t i = 0; i + 8 <= window;) {
            if (i + 512 <= window && all_zero(p + i, 512)) {
                i += 512;
                continue;
            }
            size_t step_end = i + 512 < window ? i + 512 : window;
            for (; i + 8 <= step_end; i += 8) {
                uint64_t word = le64(p + i);
                if (word && r->stale == UINT64_MAX)
                    r->last_set = at + i + 8;
                uint32_t len = (uint32_t)(word >> 32);
                if (pst_likely(len < FRAME_HEADER || len > FRAME_MAX || len % FRAME_ALIGN))
                    continue;
                if (got - (int64_t)i < (int64_t)len)
                    continue;
                const struct frame *f = (const struct frame *)(p + i);
                if (f->kind < FRAME_DATA || f->kind > FRAME_FILE)
                    continue;
                enum place place = belongs(s, f, above);
                bool below = !r->below && passed(s, f, above);
                if (!below &&
                    (place == PLACE_BAD || (place == PLACE_STALE && r->stale != UINT64_MAX)))
                    continue;
                if (*r->crc_left < len) {
                    r->gave_up = true;
                    return 0;
                }
                *r->crc_left -= len;
                if (frame_check(f, (size_t)got - i, s->seed) != FRAME_OK)
                    continue;
                if (place == PLACE_FRAME) {
                    r->found = at + i;
                    return 0;
                }
                if (below)
                    r->below = true;
                else
                    r->stale = at + i;
            }
            if (i < step_end)
                break; /* fewer than 8 bytes left */
        }
        at += window & ~(size_t)7;
        if (window < 8)
            break;
    }
    return 0;
}

/* A header that this file's next frame could have, whatever its CRC. */
static bool begun(const struct logscan *s, const uint8_t *p, int64_t n)
{
    const struct frame *f = (const struct frame *)p;
    return n >= (int64_t)FRAME_HEADER && f->length >= FRAME_HEADER && f->length <= FRAME_MAX &&
           f->length % FRAME_ALIGN == 0 && f->kind >= FRAME_DATA && f->kind <= FRAME_FILE &&
           f->position >= s->position && f->position < s->position + (1ull << 50);
}

enum logscan_verdict logscan_resolve(struct logscan *s, uint64_t reach)
{
    const uint8_t *p;
    uint64_t at = s->offset;
    s->gave_up = s->astray = s->hole = false;
    int64_t n = look(s, at, FRAME_MAX, &p);
    if (n < 0)
        return failed(s, (int)n);
    if (n == 0)
        return s->ended ? LOGSCAN_CLEAN : LOGSCAN_END;
    enum place here = judge(s, p, (size_t)n);
    if (here == PLACE_FRAME) {
        s->bad_from = s->bad_to = at; /* a live file has grown since STOP: an empty range */
        s->before = s->position;
        return LOGSCAN_DAMAGE;
    }
    bool is_begun = here == PLACE_BAD && begun(s, p, n);
    struct search r = {.crc_left = &s->crc_left};
    uint64_t to = reach > UINT64_MAX - at ? UINT64_MAX : at + reach;
    /* the place itself was judged already; a short remainder of zeros is the end */
    int rc = search(s, at, to, s->position, &r);
    if (rc < 0)
        return failed(s, rc);
    s->gave_up = r.gave_up;
    s->bad_from = at;
    if (r.found != UINT64_MAX) {
        s->bad_to = r.found;
        s->before = s->position;
        s->hole = here != PLACE_BAD || (!is_begun && r.stale < at + FRAME_MAX);
        s->damaged_ranges++;
        s->damaged_bytes += r.found - at;
        s->offset = r.found;
        return LOGSCAN_DAMAGE;
    }
    /* In a recycled file the remainder of an old frame stands between our end and the first old
     * frame that begins behind it. */
    bool stale =
        here == PLACE_STALE || (here == PLACE_BAD && !is_begun && r.stale < at + FRAME_MAX);
    if (here == PLACE_ZERO || stale) {
        /* Zeros followed by bytes that are neither zero nor stale: a torn write beyond a hole. */
        if (stale || (r.last_set == at && !r.gave_up))
            return s->ended ? LOGSCAN_CLEAN : LOGSCAN_END;
        if (r.stale != UINT64_MAX && !r.gave_up)
            return s->ended ? LOGSCAN_CLEAN : LOGSCAN_END;
    }
    s->hole = here != PLACE_BAD;
    s->astray = r.below;
    s->bad_to = r.last_set > at ? r.last_set : at + (uint64_t)n;
    if (s->bad_to > s->size)
        s->bad_to = s->size;
    return LOGSCAN_TORN;
}

enum logscan_verdict logscan_step(struct logscan *s, const struct frame **f, uint64_t reach)
{
    enum logscan_verdict v = logscan_next(s, f);
    return v == LOGSCAN_STOP ? logscan_resolve(s, reach) : v;
}

void logscan_again(struct logscan *s)
{
    struct io_stat st;
    s->fill = 0;
    if (s->io->ops->fstat(s->io, s->fd, &st) >= 0)
        s->size = st.size;
}

void logscan_seek(struct logscan *s, uint64_t offset, uint64_t position)
{
    s->offset = offset;
    s->position = position;
    s->ended = false;
}

/* ---- bisecting ---- */

struct spot {
    uint64_t offset, position; /* of a valid journal frame */
    uint32_t length;
};

/* The first journal frame that starts in the window at `at`. */
static bool probe(struct logscan *s, uint64_t at, uint64_t above, struct spot *spot)
{
    uint64_t budget = 64u << 20;
    struct search r = {.crc_left = &budget};
    uint64_t to = at + LOGSCAN_WINDOW;
    for (;;) {
        if (at >= to || search(s, at, to, above, &r) < 0 || r.found == UINT64_MAX)
            return false;
        const uint8_t *p;
        if (look(s, r.found, FRAME_HEADER, &p) < (int64_t)FRAME_HEADER)
            return false;
        const struct frame *f = (const struct frame *)p;
        if (f->kind != FRAME_FILE) {
            *spot = (struct spot){r.found, f->position, f->length};
            return true;
        }
        at = r.found + f->length;
    }
}

/* The last journal frame found by bisection that ends at or below `position` (UINT64_MAX: the
 * last of all). *lo is left alone when there is none. */
static void bisect(struct logscan *s, uint64_t position, struct spot *lo)
{
    uint64_t from = lo->offset + lo->length, to = s->size;
    while (to > from && to - from > NEAR) {
        uint64_t mid = pst_align8(from + (to - from) / 2);
        struct spot spot;
        uint64_t above = lo->position + (lo->length > 0);
        if (probe(s, mid, above, &spot) && spot.position + spot.length <= position) {
            *lo = spot;
            from = spot.offset + spot.length;
        } else {
            to = mid;
        }
    }
}

/* A frame that the bisection could not see because of a long hole before it. */
static bool beyond(struct logscan *s, uint64_t position, struct spot *lo)
{
    uint64_t from = lo->offset + lo->length;
    if (s->size <= from + LOGSCAN_REACH)
        return false;
    uint64_t step = (s->size - from) / (PROBES + 1);
    struct spot spot;
    for (unsigned i = PROBES; i > 0; i--) {
        uint64_t at = pst_align8(from + i * step);
        if (probe(s, at, lo->position + (lo->length > 0), &spot) &&
            spot.position + spot.length <= position) {
            *lo = spot;
            return true;
        }
    }
    return false;
}

static void go_near(struct logscan *s, uint64_t position)
{
    struct spot lo = {0, s->header.first, 0};
    s->error = 0;
    do
        bisect(s, position, &lo);
    while (beyond(s, position, &lo));
    if (lo.length)
        logscan_seek(s, lo.offset, lo.position);
    else
        logscan_seek(s, 0, s->header.first);
}

bool logscan_find(struct logscan *s, uint64_t position)
{
    go_near(s, position);
    const struct frame *f;
    for (;;) {
        uint64_t at = s->offset, above = s->position;
        enum logscan_verdict v = logscan_step(s, &f, LOGSCAN_REACH);
        if (v == LOGSCAN_DAMAGE)
            continue;
        if (v != LOGSCAN_FRAME)
            return false;
        if (f->kind != FRAME_FILE && f->position + f->length > position) {
            s->frames--;
            s->bytes -= f->length;
            s->records -= f->count;
            logscan_seek(s, at, above);
            return true;
        }
    }
}

bool logscan_near(struct logscan *s, uint64_t offset, uint64_t above)
{
    struct spot spot;
    if (!probe(s, offset, above, &spot))
        return false;
    logscan_seek(s, spot.offset, spot.position);
    return true;
}

bool logscan_tail(struct logscan *s)
{
    go_near(s, UINT64_MAX);
    return !s->error;
}

enum logscan_verdict logscan_to_end(struct logscan *s, int64_t *last_time)
{
    const struct frame *f;
    enum logscan_verdict v;
    if (!logscan_tail(s))
        return LOGSCAN_ERROR;
    while ((v = logscan_step(s, &f, LOGSCAN_REACH)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
        if (v == LOGSCAN_FRAME && f->kind != FRAME_FILE)
            *last_time = f->time;
    return v;
}
