/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include "cursor.h"

#define FAR (8ull << 20) /* farther ahead than this a file is bisected, not read */

/* ---- files ---- */

static void close_scan(struct cursor_file *f)
{
    if (!f->scan)
        return;
    logscan_close(f->scan);
    free(f->scan);
    f->scan = NULL;
    f->head = NULL;
    f->stopped = false;
}

static void free_file(struct cursor_file *f)
{
    close_scan(f);
    free(f->path);
    free(f);
}

struct listing {
    struct cursor *c;
    const char *dir;
    bool ok;
};

static bool known(const struct cursor *c, const char *path)
{
    for (uint32_t i = 0; i < c->files; i++)
        if (!strcmp(c->file[i]->path, path))
            return true;
    return false;
}

static bool read_header(struct cursor *c, const char *path, struct log_file_header *h)
{
    size_t n;
    int v = logscan_header(c->cfg.io, path, c->cfg.instance, c->buf, &n, h);
    if (v < 0 || n < LOG_BLOCK)
        return false; /* not begun yet, or not to be read: the next refresh looks again */
    /* Passed over it would be taken for lost: nobody reads a directory that a newer one wrote in.
     */
    if (v == LOG_HEADER_FORMAT)
        err_set(&c->err, -EPROTO,
                "%s: has log format %u, this program reads up to %u: use a newer one", path,
                h->format, LOG_FORMAT);
    return v == LOG_HEADER_OK || v == LOG_HEADER_ONE_COPY;
}

static bool add_file(struct listing *l, const char *path)
{
    struct cursor *c = l->c;
    if (known(c, path))
        return true;
    struct log_file_header h;
    c->err.code = 0;
    if (!read_header(c, path, &h))
        return c->err.code == 0 || (l->ok = false);
    if (c->files == c->file_room) {
        uint32_t room = c->file_room ? 2 * c->file_room : 32;
        struct cursor_file **grown = realloc(c->file, room * sizeof *grown);
        if (!grown)
            return l->ok = false;
        c->file = grown;
        c->file_room = room;
    }
    struct cursor_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return l->ok = false;
    }
    f->header = h;
    /* insertion sort: by first position, then as they were written */
    uint32_t at = c->files++;
    for (; at > 0; at--) {
        const struct log_file_header *o = &c->file[at - 1]->header;
        if (o->first < h.first || (o->first == h.first && o->created <= h.created))
            break;
        c->file[at] = c->file[at - 1];
    }
    c->file[at] = f;
    if (at < c->next_file)
        c->next_file = at;
    return true;
}

static bool found_name(void *arg, const char *name)
{
    struct listing *l = arg;
    struct cursor *c = l->c;
    struct log_name parsed;
    char path[CURSOR_PATH];
    if (!log_name_parse(&parsed, c->cfg.prefix, name) ||
        snprintf(path, sizeof path, "%s/%s", l->dir, name) >= (int)sizeof path)
        return true;
    return add_file(l, path);
}

bool cursor_refresh(struct cursor *c)
{
    struct listing l = {.c = c, .ok = true};
    for (unsigned i = 0; i < CURSOR_DIRS && c->cfg.dirs[i]; i++) {
        l.dir = c->cfg.dirs[i];
        unsigned tries = 0;
        int rc;
        do
            rc = c->cfg.io->ops->list(c->cfg.io, l.dir, found_name, &l);
        while (l.ok && io_read_again(rc, &tries));
        if (rc < 0 && rc != -ENOENT)
            return err_set(&c->err, rc, "%s: cannot be listed: %s", l.dir, strerror(-rc));
        if (!l.ok)
            return c->err.code ? false : err_set(&c->err, -ENOMEM, "no memory to list %s", l.dir);
    }
    for (const char *const *f = c->cfg.files; f && *f; f++)
        if (!add_file(&l, *f))
            return c->err.code ? false : err_set(&c->err, -ENOMEM, "no memory to read %s", *f);
    if (!c->cfg.instance && c->files) {
        /* mixed directories: the newest file's instance is meant */
        const struct log_file_header *newest = &c->file[0]->header;
        for (uint32_t i = 1; i < c->files; i++)
            if (c->file[i]->header.created > newest->created)
                newest = &c->file[i]->header;
        c->instance = c->cfg.instance = newest->instance;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < c->files; i++) {
            if (c->file[i]->header.instance == c->instance)
                c->file[kept++] = c->file[i];
            else
                free_file(c->file[i]);
        }
        c->files = kept;
        c->next_file = 0;
    }
    return true;
}

/* A file that nobody makes grow: ended, or of an earlier incarnation of the writer. */
static bool cannot_grow(const struct cursor *c, const struct cursor_file *f)
{
    return f->scan->ended || c->cfg.still ||
           (c->cfg.ring && f->header.first < c->cfg.ring->head->start);
}

/* Another file repeats everything of f from `position` on: a later one of its stream and day. */
static bool superseded(const struct cursor *c, const struct cursor_file *f, uint64_t position)
{
    for (uint32_t i = c->files; i-- > 0;) {
        const struct log_file_header *h = &c->file[i]->header;
        if (h->first <= f->header.first)
            return false;
        bool same = h->stream == f->header.stream && h->since == f->header.since;
        if (!stream_is_buffer(h->stream))
            same &= h->day == f->header.day && h->minute == f->header.minute;
        if (h->first <= position && same)
            return true;
    }
    return false;
}

static bool open_file(struct cursor *c, struct cursor_file *f)
{
    if (f->scan || f->done || f->bad)
        return true;
    if (superseded(c, f, c->position)) {
        f->done = true;
        return true;
    }
    f->scan = malloc(sizeof *f->scan);
    if (!f->scan)
        return err_set(&c->err, -ENOMEM, "no memory to read %s", f->path);
    if (!logscan_open(f->scan, c->cfg.io, f->path, c->instance, &c->err)) {
        f->error = c->err.code;
        free(f->scan);
        f->scan = NULL;
        /* A file that vanished (retention) leaves a lost range to report; others are an error. */
        f->bad = true;
        return f->error == -ENOENT || f->error == -EBADMSG || f->error == -EACCES ||
               f->error == -EPERM || f->error == -EIO;
    }
    return true;
}

/* A frame that begins inside what was read already: only two different files for one range of
 * positions (a copied directory) make that, or a seek into a frame. */
static bool conflicts(struct cursor *c, struct cursor_file *f, const struct frame *x)
{
    if (c->fresh || x->position >= c->position)
        return false;
    c->conflicts++;
    if (!f->conflict && c->cfg.on_conflict)
        c->cfg.on_conflict(c->cfg.arg, f, x->position);
    f->conflict = true;
    return true;
}

/* Brings f's head to the first frame that ends above c->position. */
static bool fill_head(struct cursor *c, struct cursor_file *f)
{
    struct logscan *s = f->scan;
    const struct frame *got;
    if (f->head && f->head->position + f->head->length > c->position && !conflicts(c, f, f->head))
        return true;
    if (f->head)
        c->repeats++;
    f->head = NULL;
    while (!f->stopped) {
        enum logscan_verdict v = logscan_next(s, &got);
        if (v == LOGSCAN_ERROR) {
            f->error = s->error;
            if (f->error == -EIO) { /* too many bad blocks: as if it ended here */
                c->damaged_ranges++;
                f->bad = true;
                close_scan(f);
                return true;
            }
            return err_set(&c->err, s->error, "%s: cannot be read at byte %llu: %s", f->path,
                           (unsigned long long)s->offset, strerror(-s->error));
        }
        if (v == LOGSCAN_STOP) {
            f->stopped = true;
        } else if (got->kind == FRAME_FILE) {
            dictionary_feed(&c->dict, got);
        } else if (got->position + got->length > c->position && !conflicts(c, f, got)) {
            f->head = got;
            break;
        } else if (c->position - got->position > FAR) {
            if (!logscan_find(s, c->position))
                f->stopped = true;
        } else {
            c->repeats += !c->fresh;
        }
    }
    if (f->stopped && cannot_grow(c, f) && s->ended) {
        close_scan(f);
        f->done = true;
    }
    return true;
}

/* Opens what begins at or below the lowest head (or the next file when there is none) and returns
 * the file with the lowest head. */
static bool lowest(struct cursor *c, struct cursor_file **best)
{
    *best = NULL;
    while (c->next_file < c->files && (c->file[c->next_file]->done || c->file[c->next_file]->bad))
        c->next_file++;
    for (uint32_t i = c->next_file; i < c->files; i++) {
        struct cursor_file *f = c->file[i];
        if (*best && f->header.first > (*best)->head->position)
            break;
        /* without any head so far, a file beyond the position is opened too: it may end a hole */
        if (!open_file(c, f))
            return false;
        if (!f->scan)
            continue;
        if (!fill_head(c, f))
            return false;
        if (f->head && (!*best || f->head->position < (*best)->head->position))
            *best = f;
    }
    return true;
}

/* ---- ring ---- */

static uint64_t ring_limit(const struct cursor *c)
{
    const struct ring_head *h = c->cfg.ring->head;
    switch (c->cfg.limit) {
    case CURSOR_DURABLE:
        return load_acquire(&h->durable);
    case CURSOR_SUBMITTED:
        return load_acquire(&h->submitted);
    case CURSOR_WRITTEN:
        return load_acquire(&h->written);
    default:
        return ring_tail(c->cfg.ring);
    }
}

static uint64_t ring_below(const struct cursor *c)
{
    return load_acquire(&c->cfg.ring->head->overwrite_below);
}

/* Is position p in the ring, with some room before the writer reaches it? */
/* What the log gave up is in the ring perhaps, but no longer in the journal of those who wait for
 * the log: the files say what is left of it. */
static bool given_up(const struct cursor *c, uint64_t p)
{
    return pst_unlikely(load_relaxed(&c->cfg.ring->head->lost_n)) &&
           c->cfg.limit != CURSOR_COMMITTED && ring_lost(c->cfg.ring, p, p + 1);
}

static bool ring_has(const struct cursor *c, uint64_t p, bool margin)
{
    const struct ring *r = c->cfg.ring;
    if (!r)
        return false;
    uint64_t below = ring_below(c);
    return p >= r->head->start && p <= ring_tail(r) && !given_up(c, p) &&
           p >= below + (margin && below > r->head->start ? ring_size(r) / 8 : 0);
}

/* The packet records of the data frame whose header is in c->buf. False: lapped. *whole is set when
 * they do not tile the frame and it must be read as a whole. */
static bool copy_runs(struct cursor *c, bool *whole)
{
    const struct ring *r = c->cfg.ring;
    const struct frame *f = (const struct frame *)c->buf;
    uint64_t at = c->position + FRAME_HEADER, end = c->position + f->length;
    c->nruns = 0;
    /* A derived record, of a table and a length that no other record has, heads the rows. */
    uint32_t head = 0;
    if (end - at >= sizeof(struct derived_record) &&
        ring_copy(r, at, &head, sizeof head) != RING_READ_OK)
        return false;
    if (head == (TABLE_DERIVED | (uint32_t)sizeof(struct derived_record) << 16))
        at += sizeof(struct derived_record);
    while (at < end) {
        struct packet_record *p = &c->runs[c->nruns];
        uint64_t left = end - at;
        uint32_t n = left < sizeof *p ? (uint32_t)left : (uint32_t)sizeof *p;
        if (ring_copy(r, at, p, n) != RING_READ_OK)
            return false;
        if (n < sizeof *p || p->table != TABLE_PACKET || p->bytes != sizeof *p ||
            p->run_bytes > left - sizeof *p) {
            *whole = c->nruns > 0 || n < sizeof(struct record) || p->table == TABLE_PACKET;
            return true;
        }
        c->nruns++;
        at += sizeof *p + p->run_bytes;
    }
    return true;
}

/* The frame of the ring that contains p, or the first after it. False: overtaken meanwhile. */
static bool ring_align(const struct cursor *c, uint64_t p, uint64_t *out)
{
    const struct ring *r = c->cfg.ring;
    uint64_t at = ring_checkpoint(r, p), tail = ring_tail(r);
    struct frame h;
    for (; at && at < p && at < tail; at += h.length) {
        if (ring_copy(r, at, &h, FRAME_HEADER) != RING_READ_OK || h.position != at ||
            h.length < FRAME_HEADER || h.length > FRAME_MAX)
            return false;
        if (at + h.length > p)
            break;
    }
    *out = at;
    return at != 0 || p == 0;
}

enum ring_got { RING_GOT, RING_WAIT, RING_LAPPED };

static enum ring_got ring_step(struct cursor *c, const struct frame **out)
{
    const struct ring *r = c->cfg.ring;
    struct frame *f = (struct frame *)c->buf;
    for (;;) {
        if (c->position + FRAME_HEADER > c->limit_seen) {
            c->limit_seen = ring_limit(c);
            if (c->position + FRAME_HEADER > c->limit_seen)
                return RING_WAIT;
        }
        if (given_up(c, c->position))
            return RING_LAPPED;
        if (ring_copy(r, c->position, f, FRAME_HEADER) != RING_READ_OK)
            return RING_LAPPED;
        if (f->length < FRAME_HEADER || f->length > FRAME_MAX || f->position != c->position) {
            /* not lapped, so `position` is no frame's: a caller's own number */
            uint64_t at;
            if (!ring_align(c, c->position, &at) || at == c->position)
                return RING_LAPPED;
            c->position = at;
            continue;
        }
        if (c->position + f->length > c->limit_seen) {
            c->limit_seen = ring_limit(c);
            if (c->position + f->length > c->limit_seen)
                return RING_WAIT;
        }
        bool whole = !c->cfg.headers_only || f->kind != FRAME_DATA;
        if (!whole && !copy_runs(c, &whole))
            return RING_LAPPED;
        c->have_runs = !whole;
        if (whole && ring_copy(r, c->position + FRAME_HEADER, c->buf + FRAME_HEADER,
                               f->length - FRAME_HEADER) != RING_READ_OK)
            return RING_LAPPED;
        if (f->kind != FRAME_PAD) {
            *out = f;
            return RING_GOT;
        }
        c->position += f->length;
    }
}

/* The oldest frame start that the ring still knows, above the margin. */
static uint64_t ring_oldest(const struct cursor *c)
{
    const struct ring_head *h = c->cfg.ring->head;
    uint64_t below = ring_below(c), tail = ring_tail(c->cfg.ring), step = h->checkpoint_step;
    if (below <= h->start)
        return h->start;
    for (uint64_t k = below / step + 1; k * step <= tail; k++) {
        uint64_t at = load_relaxed(&h->checkpoint[k % RING_CHECKPOINTS]);
        if (at >= below + RING_SLACK && at <= tail)
            return at;
    }
    return tail;
}

/* ---- one stream ---- */

bool cursor_restart_mark(const struct frame *f, uint64_t *old_end, uint64_t *start)
{
    unsigned type;
    uint32_t len;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    if (!json || type != MARK_RESTART)
        return false;
    json_t *o = json_loadb(json, len, 0, NULL);
    json_t *a = json_object_get(o, "old_end"), *b = json_object_get(o, "start");
    bool ok = json_is_integer(a) && json_is_integer(b);
    if (ok) {
        *old_end = (uint64_t)json_integer_value(a);
        *start = (uint64_t)json_integer_value(b);
    }
    json_decref(o);
    return ok;
}

static enum cursor_verdict lost(struct cursor *c, uint64_t to)
{
    c->lost_from = c->position;
    c->lost_to = to;
    c->lost_ranges++;
    c->lost_bytes += to - c->position;
    c->position = to;
    return CURSOR_LOST;
}

/* f is the lowest frame to be had, at or above the position. */
static enum cursor_verdict place(struct cursor *c, const struct frame *f)
{
    uint64_t old_end, start;
    if (f->position == c->position)
        return CURSOR_FRAME;
    if (f->position < c->position) { /* only after a seek into a frame */
        c->position = f->position;
        return CURSOR_FRAME;
    }
    if (!cursor_restart_mark(f, &old_end, &start) || start != f->position)
        return lost(c, f->position);
    if (c->position < old_end)
        return lost(c, old_end);
    if (c->position > old_end) {
        c->rewound_old = old_end;
        c->rewound_new = start;
        c->position = start;
        return CURSOR_REWOUND;
    }
    c->position = start;
    return CURSOR_FRAME;
}

static enum cursor_verdict take(struct cursor *c, const struct frame *f, const struct frame **out)
{
    c->fresh = false;
    if (c->position <= c->learnt_to && f->position + f->length > c->learnt_to)
        c->learnt_to = f->position + f->length;
    c->position = f->position + f->length;
    c->frames++;
    c->bytes += f->length;
    if (f->kind == FRAME_SYMBOL || f->kind == FRAME_SCHEMA)
        dictionary_feed(&c->dict, f);
    *out = f;
    return CURSOR_FRAME;
}

/* Looks again at what had stopped; with `resolve`, searches behind the stop. True: something may
 * have changed. */
static bool revive(struct cursor *c, bool resolve)
{
    bool any = false;
    for (uint32_t i = 0; i < c->files; i++) {
        struct cursor_file *f = c->file[i];
        if (!f->scan || !f->stopped)
            continue;
        if (!resolve) {
            logscan_again(f->scan);
            f->stopped = false;
            any = true;
            continue;
        }
        enum logscan_verdict v = logscan_resolve(f->scan, LOGSCAN_REACH);
        if (v == LOGSCAN_DAMAGE) {
            c->damaged_ranges++;
            if (c->cfg.on_damage && f->scan->bad_to > f->scan->bad_from)
                c->cfg.on_damage(c->cfg.arg, f);
            f->stopped = false;
            any = true;
        } else if (v != LOGSCAN_ERROR && cannot_grow(c, f)) {
            close_scan(f);
            f->done = true;
        }
    }
    return any;
}

static enum cursor_verdict files_step(struct cursor *c, const struct frame **out)
{
    const struct ring *r = c->cfg.ring;
    bool refreshed = false, resolved = false;
    for (;;) {
        /* loaded before the files are read: what lies below it is in them, or nowhere */
        uint64_t written = r ? load_acquire(&r->head->written) : UINT64_MAX;
        uint64_t limit = r ? ring_limit(c) : UINT64_MAX;
        struct cursor_file *best;
        if (!lowest(c, &best))
            return CURSOR_ERROR;
        bool next = best && best->head->position <= c->position;
        if (!next && !refreshed) {
            refreshed = true;
            if (!cursor_refresh(c))
                return CURSOR_ERROR;
            revive(c, false);
            continue;
        }
        if (!next && ring_has(c, c->position, false))
            return CURSOR_WAIT; /* the caller goes on in the ring */
        bool final = !r || (best ? best->head->position <= written : c->position < written);
        if (!next && !final)
            return CURSOR_WAIT;
        if (!next && !resolved) {
            resolved = true;
            if (revive(c, true)) {
                resolved = false; /* a further stop may follow */
                continue;
            }
        }
        if (best && (next || !r || best->head->position <= limit)) {
            const struct frame *f = best->head;
            if (r && f->position + f->length > limit)
                return CURSOR_WAIT;
            enum cursor_verdict v = place(c, f);
            if (v != CURSOR_FRAME)
                return v;
            if (f->kind == FRAME_PAD) {
                c->position = f->position + f->length;
                best->head = NULL;
                continue;
            }
            c->current = best;
            return take(c, f, out);
        }
        if (!r)
            return CURSOR_END;
        /* No file has it. Before this incarnation's first frame, that frame decides. */
        if (c->position < r->head->start && ring_below(c) <= r->head->start) {
            if (r->head->start + FRAME_HEADER > limit)
                return CURSOR_WAIT;
            if (ring_read_frame(r, r->head->start, c->buf) != RING_READ_OK)
                continue;
            enum cursor_verdict v = place(c, (const struct frame *)c->buf);
            if (v != CURSOR_FRAME)
                return v;
            return CURSOR_WAIT; /* at its start now: the caller goes on in the ring */
        }
        uint64_t to = ring_oldest(c);
        if (to <= c->position || to > limit)
            return CURSOR_WAIT;
        return lost(c, to);
    }
}

enum cursor_verdict cursor_next(struct cursor *c, const struct frame **f)
{
    c->have_runs = false;
    if (c->current) { /* its frame was the caller's until now */
        c->current->head = NULL;
        c->current = NULL;
    }
    for (;;) {
        if (c->cfg.ring && !c->in_ring && ring_has(c, c->position, true)) {
            c->in_ring = true;
            c->limit_seen = 0;
        }
        if (c->in_ring) {
            switch (ring_step(c, f)) {
            case RING_GOT:
                return take(c, *f, f);
            case RING_WAIT:
                return CURSOR_WAIT;
            case RING_LAPPED:
                c->lapped++;
                c->in_ring = false;
                c->have_runs = false;
                break;
            }
        }
        enum cursor_verdict v = files_step(c, f);
        if (v != CURSOR_WAIT || !c->cfg.ring || !ring_has(c, c->position, false))
            return v;
        c->in_ring = true;
        c->limit_seen = 0;
        if (c->position + FRAME_HEADER > ring_limit(c))
            return CURSOR_WAIT;
    }
}

/* ---- opening and seeking ---- */

bool cursor_open(struct cursor *c, const struct cursor_config *cfg, struct err *err)
{
    memset(c, 0, sizeof *c);
    c->cfg = *cfg;
    c->instance = cfg->instance;
    if (cfg->ring && !c->instance)
        c->instance = c->cfg.instance = cfg->ring->head->instance;
    c->buf = aligned_alloc(64, FRAME_MAX + 64);
    if (cfg->headers_only)
        c->runs = malloc((FRAME_MAX / sizeof *c->runs + 1) * sizeof *c->runs);
    if (!c->buf || (cfg->headers_only && !c->runs)) {
        cursor_close(c);
        return err_set(err, -ENOMEM, "no memory for a cursor");
    }
    if (!dictionary_init(&c->dict, err)) {
        cursor_close(c);
        return false;
    }
    if (!cursor_refresh(c)) {
        if (err)
            *err = c->err;
        cursor_close(c);
        return false;
    }
    if (c->files)
        c->position = c->file[0]->header.first;
    else if (cfg->ring)
        c->position = ring_oldest(c);
    c->learnt_to = c->position;
    return true;
}

void cursor_close(struct cursor *c)
{
    for (uint32_t i = 0; i < c->files; i++)
        free_file(c->file[i]);
    free(c->file);
    free(c->buf);
    free(c->runs);
    dictionary_free(&c->dict);
    memset(c, 0, sizeof *c);
}

static void start_over(struct cursor *c)
{
    for (uint32_t i = 0; i < c->files; i++) {
        close_scan(c->file[i]);
        c->file[i]->done = c->file[i]->bad = false;
    }
    c->in_ring = false;
    c->current = NULL;
    c->next_file = 0;
    c->fresh = true;
    c->limit_seen = 0;
}

static bool learn(void *arg, const struct frame *f)
{
    dictionary_feed(arg, f);
    return true;
}

/* Stream-255 frames stand in every open file: the newest file that begins below the position and
 * the newest daily one know all that was interned. Where a crash damaged their heads, those before
 * them tell, back to one that is whole. */
static void learn_below(struct cursor *c, uint64_t position)
{
    if (position <= c->learnt_to || c->cfg.no_skim)
        return;
    c->learnt_to = position;
    uint32_t n = 0;
    while (n < c->files && c->file[n]->header.first <= position)
        n++;
    uint64_t reached = 0;
    bool whole = false, daily = false;
    for (uint32_t i = n; i-- > 0 && !(whole && daily);) {
        const struct cursor_file *f = c->file[i];
        bool is_daily = f->header.stream == STREAM_DAILY, sound;
        if (i + 1 < n && whole && !is_daily)
            continue;
        uint64_t other =
            logscan_skim(c->cfg.io, f->path, c->instance, position, NULL, learn, &c->dict, &sound);
        reached = other > reached ? other : reached;
        whole |= sound;
        daily |= is_daily && sound;
    }
    /* what the files do not hold yet */
    const struct ring *r = c->cfg.ring;
    if (!r)
        return;
    uint64_t at =
        ring_has(c, reached, false) && reached >= r->head->start ? reached : ring_oldest(c);
    struct frame h;
    while (at < position && at + FRAME_HEADER <= ring_tail(r)) {
        if (ring_copy(r, at, &h, FRAME_HEADER) != RING_READ_OK || h.position != at ||
            h.length < FRAME_HEADER || h.length > FRAME_MAX)
            break;
        if ((h.kind == FRAME_SYMBOL || h.kind == FRAME_SCHEMA) &&
            ring_read_frame(r, at, c->buf) == RING_READ_OK)
            dictionary_feed(&c->dict, (const struct frame *)c->buf);
        at += h.length;
    }
}

bool cursor_seek(struct cursor *c, uint64_t position)
{
    learn_below(c, position);
    start_over(c);
    c->position = position;
    const struct ring *r = c->cfg.ring;
    if (!r || !ring_has(c, position, true))
        return true;
    uint64_t at;
    if (ring_align(c, position, &at)) {
        c->position = at;
        c->in_ring = true;
        c->fresh = false;
    }
    return true;
}

bool cursor_seek_day(struct cursor *c, int32_t day)
{
    for (uint32_t i = 0; i < c->files; i++)
        if (c->file[i]->header.day == day)
            return cursor_seek(c, c->file[i]->header.first);
    return false;
}

uint64_t cursor_files_end(struct cursor *c)
{
    uint64_t end = 0;
    int64_t time = 0;
    for (uint32_t i = 0; i < c->files; i++) {
        struct cursor_file *f = c->file[i];
        struct logscan s;
        struct err e;
        if (f->header.first > end)
            end = f->header.first;
        if (superseded(c, f, UINT64_MAX) || !logscan_open(&s, c->cfg.io, f->path, c->instance, &e))
            continue;
        logscan_to_end(&s, &time);
        if (s.position > end)
            end = s.position;
        logscan_close(&s);
    }
    return end;
}

bool cursor_seek_end(struct cursor *c)
{
    return cursor_seek(c, c->cfg.ring ? ring_limit(c) : cursor_files_end(c));
}

static uint64_t count_rows(void *arg, struct dictionary *d, const struct frame *f)
{
    (void)arg;
    (void)d;
    if (!frame_has_rows(f))
        return 0;
    struct record_walk w;
    uint64_t n = 0;
    record_walk_start(&w, f);
    for (const struct record *r; (r = record_walk_next(&w));)
        n += r->table != TABLE_DERIVED;
    return n;
}

struct mileage {
    uint64_t position, rows;
};

bool cursor_seek_last(struct cursor *c, uint64_t n,
                      uint64_t (*count)(void *arg, struct dictionary *d, const struct frame *f),
                      void *arg)
{
    uint64_t end = c->cfg.ring ? ring_limit(c) : cursor_files_end(c);
    uint64_t oldest = c->files ? c->file[0]->header.first : c->cfg.ring ? ring_oldest(c) : 0;
    bool headers_only = c->cfg.headers_only;
    if (!count)
        count = count_rows;
    learn_below(c, end);
    c->cfg.headers_only = false;
    struct mileage *list = NULL;
    size_t used = 0, room = 0;
    uint64_t total = 0, back = 1u << 20, from = end;
    bool ok = true;
    for (; ok && n; back *= 8) {
        from = end - oldest > back ? end - back : oldest;
        cursor_seek(c, from);
        used = 0;
        total = 0;
        enum cursor_verdict v;
        const struct frame *f;
        while (c->position < end) {
            v = cursor_next(c, &f);
            if (v == CURSOR_LOST || v == CURSOR_REWOUND)
                continue;
            if (v != CURSOR_FRAME)
                break;
            uint64_t rows = count(arg, &c->dict, f);
            if (!rows)
                continue;
            if (used == room) {
                room = room ? 2 * room : 256;
                struct mileage *grown = realloc(list, room * sizeof *list);
                if (!grown) {
                    ok = err_set(&c->err, -ENOMEM, "no memory to look back");
                    break;
                }
                list = grown;
            }
            list[used++] = (struct mileage){f->position, rows};
            total += rows;
        }
        if (total >= n || from == oldest)
            break;
    }
    uint64_t start = total ? list[0].position : end;
    for (size_t i = 0; i < used && total >= n; i++) {
        start = list[i].position;
        total -= list[i].rows;
    }
    free(list);
    c->cfg.headers_only = headers_only;
    return ok && cursor_seek(c, start);
}
