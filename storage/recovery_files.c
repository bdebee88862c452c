/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery, file by file: headers, ends, what is copied. */
#include <fcntl.h>
#include "core/event.h"
#include "recovery_internal.h"

#define REBUILD_REACH LOGSCAN_REACH

const char *recovery_base(const char *path)
{
    const char *s = strrchr(path, '/');
    return s ? s + 1 : path;
}

int recovery_sync_parent(struct io *io, const char *path)
{
    char dir[CURSOR_PATH];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    return io->ops->sync_dir(io, slash ? dir : ".");
}

int recovery_copy(struct io *io, const char *from_path, uint64_t from, uint64_t to,
                  const char *to_path)
{
    int in = io->ops->open(io, from_path, O_RDONLY, 0);
    if (in < 0)
        return in;
    uint8_t *buf = malloc(LOGSCAN_WINDOW);
    int out = io->ops->open(io, to_path, O_CREAT | O_TRUNC | O_WRONLY, 0640);
    int rc = !buf ? -ENOMEM : out < 0 ? out : 0;
    for (uint64_t at = from; rc >= 0 && at < to;) {
        size_t n = to - at < LOGSCAN_WINDOW ? (size_t)(to - at) : LOGSCAN_WINDOW;
        int64_t got = io->ops->pread(io, in, buf, n, at);
        if (got == -EINTR)
            continue;
        if (got == -EIO && n > LOG_BLOCK) { /* block by block; what is not given becomes zeros */
            n = LOG_BLOCK - at % LOG_BLOCK;
            got = io->ops->pread(io, in, buf, n, at);
        }
        if (got == -EIO) {
            memset(buf, 0, n);
            got = (int64_t)n;
        }
        if (got <= 0) {
            rc = (int)got;
            break; /* 0: the file ends */
        }
        rc = io_pwrite_all(io, out, buf, (size_t)got, at - from);
        at += (uint64_t)got;
    }
    if (rc >= 0)
        rc = io->ops->fsync(io, out);
    if (out >= 0)
        io->ops->close(io, out);
    io->ops->close(io, in);
    free(buf);
    return rc >= 0 ? recovery_sync_parent(io, to_path) : rc;
}

/* ---- headers ---- */

struct survey {
    struct recovery *r;
    const char *dir;
    bool spilled, ok;
    struct err *err;
    uint8_t *buf; /* LOGSCAN_BUFFER bytes, aligned */
};

static int put_header(struct io *io, const char *path, const void *bytes, size_t n, uint64_t at)
{
    int fd = io->ops->open(io, path, O_RDWR, 0);
    if (fd < 0)
        return fd;
    int rc = io_pwrite_all(io, fd, bytes, n, at);
    if (rc >= 0)
        rc = io->ops->fsync(io, fd);
    io->ops->close(io, fd);
    return rc;
}

/* One copy is sound: the other is written again from it. */
static void heal(struct survey *v, const char *path, size_t n)
{
    struct recovery *r = v->r;
    struct log_file_header x;
    if (n < LOG_PREAMBLE || r->cfg.read_only)
        return;
    bool first = log_file_header_find(&x, v->buf, LOG_BLOCK, r->cfg.instance) != LOG_HEADER_NONE;
    uint8_t *bad = v->buf + (first ? LOG_BLOCK : 0), *good = v->buf + (first ? 0 : LOG_BLOCK);
    char aside[CURSOR_PATH + 64];
    if (r->cfg.quarantine && recovery_make_quarantine(r)) {
        snprintf(aside, sizeof aside, "%s/%s.header", r->cfg.quarantine, recovery_base(path));
        int fd = r->cfg.io->ops->open(r->cfg.io, aside, O_CREAT | O_TRUNC | O_WRONLY, 0640);
        if (fd >= 0) {
            io_pwrite_all(r->cfg.io, fd, bad, LOG_BLOCK, 0);
            r->cfg.io->ops->close(r->cfg.io, fd);
        }
    }
    int rc = put_header(r->cfg.io, path, good, LOG_BLOCK, first ? LOG_BLOCK : 0);
    recovery_say(r, "%s: one of the two copies of its header was damaged: %s%s", path,
                 rc < 0 ? "it could not be written again: " : "written again from the other",
                 rc < 0 ? strerror(-rc) : "");
}

/* A sound frame that can only be this file's: of its day, in its stream or all of them. */
static bool of_file(const struct log_name *n, const struct frame *f)
{
    if (n->day >= 0 && f->day != (uint16_t)n->day)
        return false;
    return *n->event || f->stream == n->stream || (f->kind != FRAME_FILE && f->stream == 255);
}

/* A state mark may be a copy in the body of a `state` file frame whose own head is torn: then it
 * lies below the file's first position. It is the journal's only where the journal goes on right
 * behind it. */
static bool repeated_state(const struct frame *f, size_t avail, uint32_t seed)
{
    unsigned type;
    uint32_t len;
    if (f->kind != FRAME_MARK || !frame_mark(f, &type, &len) || type != MARK_STATE)
        return false;
    const struct frame *next = (const struct frame *)((const uint8_t *)f + f->length);
    return frame_check(next, avail - f->length, seed) != FRAME_OK || next->kind == FRAME_FILE ||
           next->position != f->position + f->length;
}

/* The first frame behind the headers that tells what stood in them. */
bool recovery_origin(struct io *io, const char *path, const struct log_name *name,
                     uint64_t instance, bool spilled, uint8_t *buf, struct log_file_header *h)
{
    uint32_t seed = frame_seed(instance);
    unsigned tries = 0;
    int fd;
    do
        fd = io->ops->open(io, path, O_RDONLY, 0);
    while (io_read_again(fd, &tries));
    bool found = false;
    uint64_t work = 4 * REBUILD_REACH;
    for (uint64_t at = LOG_PREAMBLE; fd >= 0 && !found && at < REBUILD_REACH;
         at += LOGSCAN_WINDOW) {
        size_t fill = 0;
        tries = 0;
        while (fill < LOGSCAN_BUFFER) {
            int64_t n = io->ops->pread(io, fd, buf + fill, LOGSCAN_BUFFER - fill, at + fill);
            if (io_read_again(n, &tries))
                continue;
            if (n <= 0)
                break;
            fill += (size_t)n;
        }
        for (size_t i = 0; i + FRAME_HEADER <= fill && i < LOGSCAN_WINDOW && !found; i += 8) {
            const struct frame *f = (const struct frame *)(buf + i);
            if (f->length < FRAME_HEADER || f->length > FRAME_MAX || f->length % FRAME_ALIGN ||
                f->kind < FRAME_DATA || f->kind > FRAME_FILE || f->length > fill - i ||
                !f->position || !of_file(name, f) || work < f->length)
                continue;
            work -= f->length;
            if (frame_check(f, fill - i, seed) != FRAME_OK || repeated_state(f, fill - i, seed))
                continue;
            found = true;
            *h = (struct log_file_header){
                .magic = LOG_MAGIC,
                .format = LOG_FORMAT,
                .suffix = name->suffix,
                .instance = instance,
                .epoch = crc32c(seed, &f->position, 8),
                .first = f->position,
                .created = f->time,
                .day = f->day,
                .minute = name->minute,
                .stream = *name->event && f->kind == FRAME_FILE ? f->stream : name->stream,
                .spilled = spilled};
            snprintf(h->writer, sizeof h->writer, "%s", RECOVERY_WRITER);
            snprintf(h->event, sizeof h->event, "%s", name->event);
        }
        if (fill < LOGSCAN_BUFFER)
            break;
    }
    if (fd >= 0)
        io->ops->close(io, fd);
    return found;
}

/* Both copies. */
int recovery_put_header(struct io *io, const char *path, const struct log_file_header *h)
{
    uint8_t *two = aligned_alloc(64, LOG_PREAMBLE), *frame = aligned_alloc(64, FRAME_MAX);
    int rc = -ENOMEM;
    if (two && frame) {
        log_file_frame(frame, h, LOG_FILE_HEADER, h, sizeof *h, h->created);
        memcpy(two, frame, LOG_BLOCK);
        memcpy(two + LOG_BLOCK, frame, LOG_BLOCK);
        rc = put_header(io, path, two, LOG_PREAMBLE, 0);
    }
    free(two);
    free(frame);
    return rc;
}

/* Both copies are lost. */
static void rebuild(struct survey *v, const char *path, const struct log_name *name, size_t n,
                    bool begun)
{
    struct recovery *r = v->r;
    struct log_file_header h;
    bool found = recovery_origin(r->cfg.io, path, name, r->cfg.instance, v->spilled, v->buf, &h);
    if (!found && !begun)
        return; /* nothing was ever in it */
    /* A header of which the very first write was torn has nothing behind it. */
    struct recovery_damage *d = recovery_note(r, PST_NO_HEADER, path, 0, n, found ? h.first : 0, 0);
    if (d->done)
        return;
    d->was_durable = d->lost = found;
    recovery_ask(r, d);
    if (d->answer == PST_REFUSE)
        return; /* recovery_settle says so */
    d->done = true;
    if (!found) {
        recovery_say(r, "%s: it has no sound header and no frame of this instance: passed over",
                     path);
        return;
    }
    if (d->answer == PST_TRUNCATE || r->cfg.read_only) {
        recovery_say(r, "%s: both copies of its header are damaged: %s", path,
                     r->cfg.read_only ? "a start would make it anew from the frames"
                                      : "not read; what only it held counts as missing");
        return;
    }
    char aside[CURSOR_PATH + 64];
    if (r->cfg.quarantine && recovery_make_quarantine(r))
        snprintf(aside, sizeof aside, "%s/%s.header", r->cfg.quarantine, recovery_base(path));
    else
        snprintf(aside, sizeof aside, "%s.header", path);
    int rc = recovery_copy(r->cfg.io, path, 0, LOG_PREAMBLE, aside);
    if (rc >= 0)
        rc = recovery_put_header(r->cfg.io, path, &h);
    d->error = rc < 0 ? rc : 0;
    if (rc < 0)
        recovery_say(r, "%s: both copies of its header are damaged and cannot be made anew: %s",
                     path, strerror(-rc));
    else
        recovery_say(r,
                     "%s: both copies of its header were damaged: made anew from its frames, which "
                     "begin at position %llu; the old bytes are %s",
                     path, (unsigned long long)h.first, aside);
}

static bool look_at(void *arg, const char *name)
{
    struct survey *v = arg;
    struct recovery *r = v->r;
    struct log_name parsed;
    struct log_file_header h;
    char path[CURSOR_PATH];
    size_t n;
    if (!log_name_parse(&parsed, r->cfg.prefix, name) ||
        snprintf(path, sizeof path, "%s/%s", v->dir, name) >= (int)sizeof path)
        return true;
    int verdict = logscan_header(r->cfg.io, path, r->cfg.instance, v->buf, &n, &h);
    if (verdict == -ENOENT || verdict == LOG_HEADER_OK)
        return true;
    if (verdict < 0) {
        if (verdict == -EMFILE || verdict == -ENFILE || verdict == -ENOMEM)
            return v->ok = err_set(v->err, verdict, "%s: %s", path, strerror(-verdict));
        struct recovery_damage *d = recovery_note(r, PST_UNREADABLE, path, 0, 0, 0, 0);
        if (!d->done)
            d->error = verdict;
        return true;
    }
    if (verdict == LOG_HEADER_ONE_COPY) {
        heal(v, path, n);
        return true;
    }
    if (verdict != LOG_HEADER_NONE)
        return true; /* a newer format: the cursor refuses it, naming both versions */
    bool begun = false;
    for (size_t i = 0; i < n && !begun; i++)
        begun = v->buf[i] != 0;
    int any = log_file_header_find(&h, v->buf, n, 0);
    if (begun && (any == LOG_HEADER_OK || any == LOG_HEADER_ONE_COPY))
        recovery_note(r, PST_FOREIGN, path, 0, 0, 0, 0);
    else if (n == LOG_PREAMBLE) /* its first write may be lost while later ones are there */
        rebuild(v, path, &parsed, n, begun);
    return true; /* shorter than its headers: nothing was ever in it */
}

bool recovery_survey(struct recovery *r, struct err *err)
{
    struct survey v = {.r = r, .ok = true, .err = err};
    v.buf = aligned_alloc(LOG_BLOCK, LOGSCAN_BUFFER);
    if (!v.buf)
        return err_set(err, -ENOMEM, "no memory to look at the log");
    for (unsigned i = 0; i < CURSOR_DIRS && r->cfg.dirs[i] && v.ok; i++) {
        v.dir = r->cfg.dirs[i];
        v.spilled = i > 0;
        unsigned tries = 0;
        int rc;
        do /* cursor_open says why it fails */
            rc = r->cfg.io->ops->list(r->cfg.io, v.dir, look_at, &v);
        while (v.ok && io_read_again(rc, &tries));
    }
    free(v.buf);
    return v.ok;
}

/* ---- events ---- */

struct whose {
    int64_t id;
    uint64_t since;
};

static bool says_since(void *arg, const struct frame *f)
{
    struct whose *w = arg;
    struct event_mark m;
    unsigned type;
    if (event_of(f, &m, &type) && m.id == w->id)
        w->since = m.since;
    return !w->since;
}

/* Events of one id never overlap: one that began at or below h->first, and is active or has a later
 * file, is the one. Else a mark in the file itself may tell. 0: nothing does. */
static uint64_t since_of(const struct recovery *r, const struct cursor_file *f)
{
    const struct log_file_header *h = &f->header;
    struct whose w = {.id = strtoll(h->event, NULL, 10)};
    for (uint32_t i = 0; i < r->cursor.files; i++) {
        const struct log_file_header *o = &r->cursor.file[i]->header;
        if (!strcmp(o->event, h->event) && o->since <= h->first && o->first > h->first &&
            o->since > w.since)
            w.since = o->since;
    }
    for (uint32_t i = 0; i < r->events; i++)
        if (r->event[i].id == w.id && r->event[i].since <= h->first && r->event[i].since > w.since)
            w.since = r->event[i].since;
    if (!w.since)
        logscan_skim(r->cfg.io, f->path, r->cfg.instance, UINT64_MAX, NULL, says_since, &w, NULL);
    return w.since;
}

void recovery_name_events(struct recovery *r)
{
    for (uint32_t i = 0; i < r->cursor.files; i++) {
        struct cursor_file *f = r->cursor.file[i];
        struct log_file_header *h = &f->header;
        if (!h->event[0] || h->since || strcmp(h->writer, RECOVERY_WRITER) ||
            !(h->since = since_of(r, f)) || r->cfg.read_only)
            continue;
        int rc = recovery_put_header(r->cfg.io, f->path, h);
        if (rc < 0)
            recovery_say(r, "%s: its event's start cannot be written into its header: %s", f->path,
                         strerror(-rc));
        else
            recovery_say(r, "%s: belongs to event %s, which began at position %llu", f->path,
                         h->event, (unsigned long long)h->since);
    }
}

/* ---- ends ---- */

/* Files of one stream that were begun behind it. */
static unsigned newer(const struct cursor *c, uint32_t i)
{
    unsigned n = 0;
    for (uint32_t k = i + 1; k < c->files; k++)
        n += c->file[k]->header.stream == c->file[i]->header.stream;
    return n;
}

struct walked { /* frames that were read, ascending */
    uint64_t from, to;
};

/* Some frame that was read shares positions with f. */
static bool was_read(const struct walked *read, uint32_t n, const struct frame *f)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (read[mid].to > f->position)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < n && read[lo].from < f->position + f->length;
}

/* Of the frames behind the end that the walk is beyond, some stand nowhere before it: they are no
 * torn tail, and stay. The others repeat a block that was read. */
static bool unread(struct logscan *s, const struct walked *read, uint32_t n)
{
    uint64_t to = s->size - s->bad_from > LOGSCAN_REACH ? s->bad_from + LOGSCAN_REACH : s->size;
    uint64_t offset = s->offset, position = s->position;
    bool ended = s->ended, some = false;
    const struct frame *f;
    for (uint64_t at = s->bad_from; at < to && !some;) {
        if (!logscan_near(s, at, s->header.first)) {
            at += LOGSCAN_WINDOW;
            continue;
        }
        while (!some && logscan_next(s, &f) == LOGSCAN_FRAME)
            some = f->kind != FRAME_FILE && f->kind != FRAME_PAD && !was_read(read, n, f);
        at = s->offset;
    }
    logscan_seek(s, offset, position);
    s->ended = ended;
    return some;
}

/* What is cut off must not depend on where bisecting came down, and a write that went astray may
 * stand anywhere: before a tail is called torn, the last stretch of its file is walked as all
 * readers do. */
static enum logscan_verdict torn_end(struct logscan *s, int64_t *time, bool *leave)
{
    uint64_t first = s->header.first;
    struct walked *read = NULL;
    uint64_t from = s->position - first > RECOVERY_WINDOW ? s->position - RECOVERY_WINDOW : first;
    uint32_t n = 0;
    const struct frame *f;
    enum logscan_verdict v;
    if (from == first || !logscan_find(s, from))
        logscan_seek(s, 0, first);
    while ((v = logscan_step(s, &f, LOGSCAN_REACH)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE) {
        if (v == LOGSCAN_DAMAGE || f->kind == FRAME_FILE)
            continue;
        *time = f->time > *time ? f->time : *time;
        read = recovery_grow(read, n, sizeof *read);
        read[n++] = (struct walked){f->position, f->position + f->length};
    }
    *leave = v == LOGSCAN_TORN && s->astray && unread(s, read, n);
    free(read);
    return v;
}

/* Ends of all files, newest first, while the budget lasts. The newest two of each stream in any
 * case: the daily file that was open to the end may be older than a hundred of intervals. */
bool recovery_find_ends(struct recovery *r, int64_t t0, struct err *err)
{
    struct cursor *c = &r->cursor;
    for (uint32_t i = c->files; i-- > 0;) {
        struct cursor_file *f = c->file[i];
        if (c->files - i > 2 && recovery_elapsed(r, t0) > r->cfg.budget / 2 && newer(c, i) >= 2) {
            r->files_unseen++;
            r->over_budget = true;
            continue;
        }
        struct logscan s;
        struct err why = {0};
        if (!logscan_open(&s, r->cfg.io, f->path, r->cfg.instance, &why)) {
            if (why.code == -ENOMEM || why.code == -EMFILE || why.code == -ENFILE ||
                why.code == -EPROTO)
                return err_set(err, why.code, "%s", why.text);
            recovery_note(r, PST_UNREADABLE, f->path, 0, 0, f->header.first, 0)->error = why.code;
            continue;
        }
        int64_t time = INT64_MIN;
        enum logscan_verdict v = logscan_to_end(&s, &time);
        bool leave = false;
        uint64_t end = s.position;
        if (v == LOGSCAN_TORN)
            v = torn_end(&s, &time, &leave);
        end = s.position > end ? s.position : end;
        if (end > r->old_end)
            r->old_end = end;
        if (time > r->last_time)
            r->last_time = time;
        if (v == LOGSCAN_ERROR)
            recovery_note(r, PST_UNREADABLE, f->path, s.offset, s.size, s.position, 0)->error =
                s.error;
        if (v == LOGSCAN_TORN) {
            struct recovery_damage *d =
                recovery_note(r, PST_TORN, f->path, s.bad_from, s.bad_to, s.position, 0);
            d->gave_up = s.gave_up || leave;
            d->whole =
                !d->gave_up && (s.size <= s.bad_from || s.size - s.bad_from <= LOGSCAN_REACH);
            r->torn_files++;
            r->torn_bytes += s.bad_to - s.bad_from;
        }
        if (v != LOGSCAN_ERROR && !r->cfg.read_only)
            r->unsynced += r->cfg.io->ops->fsync(r->cfg.io, s.fd) < 0;
        logscan_close(&s);
    }
    return true;
}
