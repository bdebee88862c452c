/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making files: names, directories, space ahead, the preamble, the prepared next file; and what the
 * preamble is made from (log_note).
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/random.h>
#include "core/civil.h"
#include "log_internal.h"

#define FILE_MODE   0640
#define LEAST_ALLOC (1ull << 20)
#define HOME_WAITS  64 /* retry_interval times, at most, between two returns from spill */
#define GROW_MAX    (1u << 30)
#define ZERO_AHEAD  (64ull << 20)
#define EVENT_ALLOC (64ull << 20) /* allocated at once for the file of a buffering event */

enum preamble_stage { STAGE_HEADERS, STAGE_SCHEMAS, STAGE_SYMBOLS, STAGE_STATES, STAGE_JOURNAL };

void log_sentence(struct log *l, int error)
{
    int old = load_relaxed(&l->st->log_errno);
    if (old == -error)
        return;
    store_relaxed(&l->st->log_errno, -error);
    store_relaxed(&l->st->log_error_since, error ? clock_now(l->cfg.clock) : 0);
}

void log_tell(struct log *l, const struct log_out *o, enum log_event_type type)
{
    uint64_t tail = load_relaxed(&l->event_tail);
    if (tail - load_acquire(&l->event_head) == LOG_EVENTS)
        return; /* control is far behind; the catalogue can be rebuilt from the files */
    struct log_event *e = &l->event[tail % LOG_EVENTS];
    *e = (struct log_event){.type = type,
                            .stream = o->header.stream,
                            .spilled = o->spilled,
                            .day = o->header.day,
                            .first = o->header.first,
                            .error = o->error};
    if (type == LOG_CLOSED)
        e->last = o->copied;
    else if (type != LOG_OPENED)
        e->last = o->durable.pos;
    memcpy(e->name, o->name, sizeof e->name);
    store_release(&l->event_tail, tail + 1); /* L2: pairs with log_event_next */
}

void log_tell_renamed(struct log *l, const char *from, const char *to)
{
    uint64_t tail = load_relaxed(&l->event_tail);
    if (tail - load_acquire(&l->event_head) == LOG_EVENTS)
        return;
    struct log_event *e = &l->event[tail % LOG_EVENTS];
    *e = (struct log_event){.type = LOG_RENAMED};
    snprintf(e->name, sizeof e->name, "%s", from);
    snprintf(e->to, sizeof e->to, "%s", to);
    store_release(&l->event_tail, tail + 1); /* L2 */
}

bool log_event_next(struct log *l, struct log_event *e)
{
    uint64_t head = load_relaxed(&l->event_head);
    if (load_acquire(&l->event_tail) == head) /* L2 */
        return false;
    *e = l->event[head % LOG_EVENTS];
    store_release(&l->event_head, head + 1);
    return true;
}

/* ---- what the journal said that a fresh file must repeat ---- */

static void note_schema(struct log *l, const struct frame *f)
{
    uint32_t len;
    struct schema s;
    const char *json = frame_schema_json(f, &len);
    if (!json || !schema_from_json(&s, json, len, NULL) || l->schema_json[s.id])
        return;
    l->schema_json[s.id] = strndup(json, len);
    l->schema_pos[s.id] = f->position;
    if (s.id >= l->schema_ids)
        l->schema_ids = s.id + 1u;
}

void states_free(struct log_state *s)
{
    while (s) {
        struct log_state *next = s->next;
        free(s->frame);
        free(s);
        s = next;
    }
}

static void note_state(struct log *l, const struct frame *f)
{
    struct log_state *s = calloc(1, sizeof *s);
    struct frame *copy = malloc(f->length);
    if (!s || !copy) { /* the mark stands in the journal; only a later file's copy is missing */
        free(s);
        free(copy);
        return;
    }
    if (l->states_due) {
        states_free(l->states[1]);
        l->states[1] = l->states[0];
        l->states[0] = NULL;
        l->states_due = false;
    }
    memcpy(copy, f, f->length);
    s->frame = copy;
    struct log_state **at = &l->states[0];
    while (*at)
        at = &(*at)->next;
    *at = s;
}

void log_note(struct log *l, const struct frame *f)
{
    if (f->kind == FRAME_SCHEMA)
        note_schema(l, f);
    if (f->kind == FRAME_SYMBOL && frame_payload_bytes(f) >= 8)
        l->symbols_known = le32(frame_payload(f)) + le32(frame_payload(f) + 4);
    if (f->kind == FRAME_MARK) {
        unsigned type = 0;
        uint32_t len;
        if (!frame_mark(f, &type, &len))
            return;
        if (type == MARK_EOD || type == MARK_RESTART)
            l->states_due = true;
        /* an event that began behind them stands among the states of its generation, so that a file
         * made later knows it */
        if (type == MARK_STATE || type == MARK_BUFFER_START || type == MARK_BUFFER_END)
            note_state(l, f);
    }
}

/* Symbols interned below position p: the scout may already be further. */
static uint32_t symbols_at(const struct log *l, uint64_t p)
{
    const struct frame *f;
    for (; (f = log_frame(l, &p, l->cursor)); p += f->length)
        if (f->kind == FRAME_SYMBOL)
            return le32(frame_payload(f));
    return l->symbols_known;
}

/* ---- preamble ---- */

bool preamble_done(const struct log_out *o)
{
    return o->stage == STAGE_JOURNAL;
}

static void put(struct log *l, struct log_out *o, enum log_file_type type, const void *body,
                uint32_t len)
{
    uint32_t n = log_file_frame(l->scratch, &o->header, type, body, len, o->header.created);
    if (n)
        out_append(l, o, l->scratch, n, o->header.first, o->header.first);
}

static bool put_symbols(struct log *l, struct log_out *o)
{
    uint8_t *body = l->scratch + FRAME_HEADER + 8;
    uint32_t at = 8, n = 0, len;
    if (o->stage_at >= o->symbols)
        return false;
    put32(body, o->stage_at);
    for (; o->stage_at < o->symbols; o->stage_at++, n++) {
        const char *text = symbols_text(l->cfg.symbols, o->stage_at, &len);
        if (at + 1 + len > LOG_BODY_MAX)
            break;
        body[at] = (uint8_t)len;
        memcpy(body + at + 1, text, len);
        at += 1 + len;
    }
    put32(body + 4, n);
    /* the body already stands where log_file_frame would copy it */
    uint32_t total = (uint32_t)pst_align8(FRAME_HEADER + 8ull + at);
    struct frame *f = (struct frame *)l->scratch;
    *f = (struct frame){.length = total,
                        .position = o->header.first,
                        .time = o->header.created,
                        .kind = FRAME_FILE,
                        .stream = o->header.stream,
                        .day = (uint16_t)o->header.day};
    put32(l->scratch + FRAME_HEADER, LOG_FILE_SYMBOLS);
    put32(l->scratch + FRAME_HEADER + 4, at);
    memset(body + at, 0, total - FRAME_HEADER - 8 - at);
    frame_seal(f, l->seed);
    out_append(l, o, l->scratch, total, o->header.first, o->header.first);
    return true;
}

/* The generation of states that held at the file's first position. */
static const struct log_state *states_at(const struct log *l, uint64_t first, uint32_t skip)
{
    const struct log_state *s = l->states[0];
    if (!s || s->frame->position >= first)
        s = l->states[1];
    while (s && skip--)
        s = s->next;
    return s && s->frame->position < first ? s : NULL;
}

bool preamble_step(struct log *l, struct log_out *o)
{
    while (o->stage != STAGE_JOURNAL) {
        if (!out_room(l, o))
            return false;
        switch ((enum preamble_stage)o->stage) {
        case STAGE_HEADERS:
            put(l, o, LOG_FILE_HEADER, &o->header, sizeof o->header);
            put(l, o, LOG_FILE_HEADER, &o->header, sizeof o->header);
            o->stage = STAGE_SCHEMAS;
            o->stage_at = 0;
            PST_FAULT("log.header");
            break;
        case STAGE_SCHEMAS:
            if (o->stage_at >= l->schema_ids) {
                o->stage = STAGE_SYMBOLS;
                o->stage_at = 0;
                break;
            }
            const char *json = l->schema_json[o->stage_at];
            if (json && l->schema_pos[o->stage_at] < o->header.first)
                put(l, o, LOG_FILE_SCHEMA, json, (uint32_t)strlen(json));
            o->stage_at++;
            break;
        case STAGE_SYMBOLS:
            if (!put_symbols(l, o)) {
                o->stage = STAGE_STATES;
                o->stage_at = 0;
            }
            break;
        case STAGE_STATES: {
            const struct log_state *s = states_at(l, o->header.first, o->stage_at++);
            if (s)
                put(l, o, LOG_FILE_STATE, s->frame, s->frame->length);
            else
                o->stage = STAGE_JOURNAL;
            break;
        }
        case STAGE_JOURNAL:
            break;
        }
    }
    return true;
}

/* ---- space ---- */

/* Allocates from `from`, as much of want as there is. Returns the end, or -errno when not even the
 * least fits. A filesystem that cannot allocate is no error: `from` comes back. */
static int64_t allocate(struct log *l, int fd, uint64_t from, uint64_t want)
{
    int r = 0;
    if (!want)
        return (int64_t)from;
    for (; want >= LEAST_ALLOC; want /= 2) {
        unsigned tries = 0; /* the log's thread never waits for ever */
        do
            r = l->io->ops->fallocate(l->io, fd, from, want);
        while (r == -EINTR && ++tries < 16);
        if (r == 0)
            return (int64_t)(from + want);
        if (r == -EOPNOTSUPP || r == -ENOSYS || r == -EINVAL)
            return (int64_t)from;
        if (r != -ENOSPC && r != -EDQUOT && r != -EFBIG)
            return r;
    }
    return r == -EFBIG ? (int64_t)from : r;
}

/* Bytes to allocate at once: an event's file is an uncertain thing. */
static uint64_t ahead(const struct log *l, const struct log_out *o)
{
    bool less = *o->header.event && l->cfg.preallocate > EVENT_ALLOC;
    return less ? EVENT_ALLOC : l->cfg.preallocate;
}

/* Space ahead of a file that runs out of it. Where the backend can, it is asked for early and not
 * waited for: a disk that hangs must not stop this thread. */
void log_grow(struct log *l, struct log_out *o, uint64_t need)
{
    if (o->no_alloc || o->growing || !l->cfg.preallocate)
        return;
    uint64_t from = o->alloc > o->handed ? o->alloc : pst_align_up(o->handed, o->block);
    if (!l->io->allocates) {
        if (need <= o->alloc)
            return;
        int64_t end = allocate(l, o->fd, from, ahead(l, o));
        if (end <= (int64_t)from)
            o->no_alloc = true; /* the writes will say what is wrong */
        else
            o->alloc = (uint64_t)end;
        return;
    }
    uint64_t most = ahead(l, o) < GROW_MAX ? ahead(l, o) : GROW_MAX;
    o->grow_by = o->grow_by ? o->grow_by : most;
    if (need + o->grow_by / 2 <= o->alloc)
        return;
    o->grow_op = (struct io_op){
        .kind = IO_ALLOCATE, .fd = o->fd, .len = (uint32_t)o->grow_by, .offset = from};
    struct io_op *op = &o->grow_op;
    o->growing = l->io->ops->submit(l->io, &op, 1) == 1;
}

void log_grown(struct log_out *o)
{
    int r = o->grow_op.result;
    o->growing = false;
    if (r == 0)
        o->alloc = o->grow_op.offset + o->grow_op.len;
    else if ((r == -ENOSPC || r == -EDQUOT) && o->grow_by / 2 >= LEAST_ALLOC)
        o->grow_by /= 2;
    else
        o->no_alloc = true; /* the writes will say what is wrong */
}

static void ballast_path(const struct log *l, char *path, size_t n)
{
    snprintf(path, n, "%s/%sballast", l->dir[0].path, l->cfg.prefix);
}

static void spare_path(const struct log *l, char *path, size_t n)
{
    snprintf(path, n, "%s/%sspare.0", l->dir[0].path, l->cfg.prefix);
}

/* The disk is full: what was kept for that moment goes. */
static void give_up_reserves(struct log *l)
{
    char path[1200];
    if (l->spare_fd >= 0 && !l->spare_busy) {
        l->io->ops->close(l->io, l->spare_fd);
        l->spare_fd = -1;
        spare_path(l, path, sizeof path);
        l->io->ops->unlink(l->io, path);
    }
    if (l->ballast) {
        ballast_path(l, path, sizeof path);
        l->io->ops->unlink(l->io, path);
        l->ballast = false;
    }
    l->spare_at = l->now + 10 * l->cfg.retry_ns;
}

static void blame(struct log *l, unsigned d, int error)
{
    enum log_action a = log_policy(error);
    log_sentence(l, error);
    if (a == LOG_ACT_FULL) {
        count_add(l->st, LOG_NOSPACE, 1);
        alarm_signal(l->st, ALARM_LOG_SPACE);
        if (d == 0)
            give_up_reserves(l);
    } else if (a != LOG_ACT_LIMIT)
        count_add(l->st, LOG_IO_ERROR, 1);
    struct log_dir *dir = &l->dir[d];
    /* The first device error may be one bad place: try again at once, then in intervals. A file
     * that may not grow is nobody's fault. */
    bool first = dir->failures++ == 0;
    if (a == LOG_ACT_LIMIT && dir->failures < 4)
        return;
    if (a == LOG_ACT_FULL || !first || l->dir[1].path)
        dir->bad_until = l->now + l->cfg.retry_ns;
}

void out_fail(struct log *l, struct log_out *o, int error)
{
    if (o->failed)
        return;
    o->failed = true;
    o->error = error;
    count_add(l->st, LOG_POISONED, 1);
    enum log_action a = log_policy(error);
    if (a != LOG_ACT_FULL && a != LOG_ACT_LIMIT)
        alarm_signal(l->st, ALARM_LOG_POISONED);
    blame(l, o->spilled, error);
    if (!o->spilled && l->dir[1].path) { /* it says that it has room, and has not: ever later */
        int64_t longest = HOME_WAITS * l->cfg.retry_ns;
        l->home_wait = l->home_wait ? 2 * l->home_wait : l->cfg.retry_ns;
        l->home_wait = l->home_wait < longest ? l->home_wait : longest;
        l->home_at = l->now + l->home_wait;
    }
    uint64_t from = out_position(o, &o->durable), guard = load_relaxed(&l->ring->head->guard);
    if (from == LOG_NOWHERE)
        from = o->copied;
    if (from < guard && from >= l->gone_to)
        from = guard; /* level below durable: the ring need not hold more */
    if (o->lane) {
        o->lane->cursor = from;
        o->lane->out = NULL;
        o->lane = NULL;
        return;
    }
    if (from >= o->copied)
        return; /* only the END frame is missing */
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (!l->lane[i].used) { /* a lane that repairs this range */
            l->lane[i] = (struct log_lane){.used = true,
                                           .stream = o->header.stream,
                                           .day = o->header.day,
                                           .minute = o->header.minute,
                                           .cursor = from,
                                           .close_at = o->copied,
                                           .counted = o->copied,
                                           .reason = o->reason,
                                           .since = o->header.since};
            memcpy(l->lane[i].event, o->header.event, sizeof o->header.event);
            return;
        }
    pst_must(!"log: no lane left to repair a poisoned file");
}

/* ---- opening ---- */

struct suffix_scan {
    const struct log *l;
    const struct log_file_header *h;
    uint32_t next; /* highest + 1; 0 = none */
};

static bool suffix_seen(void *arg, const char *name)
{
    struct suffix_scan *s = arg;
    struct log_name n;
    if (!log_name_parse(&n, s->l->cfg.prefix, name) || strcmp(n.event, s->h->event))
        return true;
    bool same = n.event[0] || (n.stream == s->h->stream && n.day == s->h->day &&
                               n.minute == s->h->minute);
    if (same && n.suffix >= s->next)
        s->next = n.suffix + 1;
    return true;
}

static struct log_key *key_find(struct log *l, const struct log_file_header *h)
{
    for (unsigned i = 0; i < LOG_KEYS; i++)
        if (l->key[i].used && l->key[i].stream == h->stream && l->key[i].day == h->day &&
            l->key[i].minute == h->minute && !strcmp(l->key[i].event, h->event))
            return &l->key[i];
    return NULL;
}

/* A suffix is never used twice, even if the file is gone or a directory cannot be listed. */
static void key_note(struct log *l, const struct log_file_header *h)
{
    struct log_key *k = key_find(l, h);
    if (!k)
        k = &l->key[LOG_KEYS - 1];
    memmove(&l->key[1], &l->key[0], (size_t)(k - l->key) * sizeof *k);
    l->key[0] = (struct log_key){.stream = h->stream,
                                 .used = true,
                                 .day = h->day,
                                 .minute = h->minute,
                                 .suffix = h->suffix};
    memcpy(l->key[0].event, h->event, sizeof h->event);
}

static int open_any(struct log *l, const char *path, int flags, bool *direct)
{
    int fd = -EINVAL;
    *direct = !l->cfg.buffered;
    if (*direct)
        fd = l->io->ops->open(l->io, path, flags | O_DIRECT, FILE_MODE);
    if (fd == -EINVAL) {
        *direct = false;
        /* O_CREAT may have made the file before O_DIRECT was refused */
        fd = l->io->ops->open(l->io, path, flags & ~O_EXCL, FILE_MODE);
    }
    return fd;
}

static bool take_spare(struct log *l, struct log_out *o)
{
    char path[1200];
    if (l->spare_fd < 0 || l->spare_busy)
        return false;
    spare_path(l, path, sizeof path);
    struct io_stat a, b;
    if (l->io->ops->fstat(l->io, l->spare_fd, &a) || l->io->ops->stat(l->io, path, &b) ||
        a.ino != b.ino || a.dev != b.dev || l->io->ops->rename(l->io, path, o->path)) {
        l->io->ops->close(l->io, l->spare_fd);
        l->spare_fd = -1;
        return false;
    }
    o->fd = l->spare_fd;
    o->direct = l->spare_direct;
    o->alloc = l->spare_alloc;
    o->zeroed = l->spare_zeroed;
    l->spare_fd = -1;
    l->spare_at = l->now + NS_PER_S;
    return true;
}

/* Makes the file in directory d; 0 or -errno, with nothing left behind. */
static int make(struct log *l, struct log_out *o, unsigned d)
{
    struct io *io = l->io;
    const struct log_key *known = key_find(l, &o->header);
    struct suffix_scan s = {l, &o->header, known ? known->suffix + 1 : 0};
    for (unsigned i = 0; i < 2; i++)
        if (l->dir[i].path) {
            int r = io->ops->list(io, l->dir[i].path, suffix_seen, &s);
            if (r < 0 && i == d)
                return r;
        }
    struct log_name n = {.stream = o->header.stream,
                         .day = o->header.day,
                         .minute = o->header.minute,
                         .suffix = s.next};
    bool event = *o->header.event;
    memcpy(n.event, o->header.event, sizeof n.event);
    if (!log_name_format(o->name, event ? o->header.name : l->cfg.prefix, &n))
        return -ENAMETOOLONG;
    snprintf(o->path, sizeof o->path, "%s/%s", l->dir[d].path, o->name);
    o->header.suffix = n.suffix;
    o->header.spilled = (uint8_t)d;
    o->spilled = d;
    int64_t end = 0;
    if (d != 0 || event || !take_spare(l, o)) {
        o->fd = open_any(l, o->path, O_RDWR | O_CREAT | O_EXCL, &o->direct);
        if (o->fd < 0)
            return o->fd;
        end = allocate(l, o->fd, 0, ahead(l, o));
        if (end == -ENOSPC || end == -EDQUOT) {
            io->ops->close(io, o->fd);
            io->ops->unlink(io, o->path);
            return (int)end;
        }
        o->alloc = end > 0 ? (uint64_t)end : 0;
    }
    int align = o->direct ? io->ops->dio_align(io, o->fd) : 0;
    o->block = align > (int)LOG_BLOCK ? (uint32_t)align : LOG_BLOCK;
    if (end >= 0)
        end = io->ops->fsync(io, o->fd);
    if (end >= 0)
        end = io->ops->sync_dir(io, l->dir[d].path);
    if (end < 0 || LOG_BUFFER % o->block) {
        io->ops->close(io, o->fd);
        io->ops->unlink(io, o->path);
        return end < 0 ? (int)end : -EINVAL;
    }
    key_note(l, &o->header);
    return 0;
}

bool dir_hangs(const struct log *l, unsigned d)
{
    for (unsigned i = 0; i < LOG_OUTS; i++) {
        const struct log_out *o = &l->out[i];
        if (o->used && o->failed && o->spilled == d && o->error == -ETIMEDOUT && busy_out(o))
            return true;
    }
    return false;
}

bool lane_open(struct log *l, struct log_lane *n, bool home_only)
{
    struct log_out *o = NULL;
    for (unsigned i = 0; i < LOG_OUTS && !o; i++)
        if (!l->out[i].used)
            o = &l->out[i];
    if (!o)
        return false;
    PST_FAULT("log.open");
    for (unsigned d = 0; d < (home_only ? 1u : 2u); d++) {
        if (!l->dir[d].path || l->dir[d].bad_until > l->now || dir_hangs(l, d))
            continue;
        memset(o, 0, sizeof *o);
        struct log_file_header *h = &o->header;
        memcpy(h->magic, LOG_MAGIC, 8);
        h->format = LOG_FORMAT;
        h->instance = l->instance;
        h->first = n->cursor;
        h->created = clock_now(l->cfg.clock);
        h->day = n->day;
        h->minute = n->minute;
        h->stream = n->stream;
        if (getrandom(&h->epoch, sizeof h->epoch, 0) != sizeof h->epoch)
            h->epoch = clock_ticks();
        snprintf(h->name, sizeof h->name, "%s", l->cfg.instance_name ? l->cfg.instance_name : "");
        memcpy(h->event, n->event, sizeof h->event);
        h->since = n->since;
        char *previous = stream_is_buffer(n->stream) ? l->buffer[STREAM_BUFFER - n->stream].previous
                                                     : l->previous[n->stream == STREAM_INTERVAL];
        memcpy(h->previous, previous, sizeof h->previous);
        snprintf(h->writer, sizeof h->writer, "%s", PST_VERSION);
        int r = make(l, o, d);
        if (r < 0) {
            if (!home_only) {
                count_add(l->st, LOG_RETRY, 1);
                blame(l, d, r);
            }
            l->dir[d].bad_until = l->now + l->cfg.retry_ns;
            continue;
        }
        o->used = true;
        o->lane = n;
        o->copied = n->cursor;
        o->symbols = symbols_at(l, n->cursor);
        o->stage = STAGE_HEADERS;
        n->out = o;
        out_start(l, o);
        memcpy(previous, o->name, sizeof l->previous[0]);
        count_add(l->st, LOG_FILES, 1);
        if (d == 1) {
            count_add(l->st, LOG_SPILLED, 1);
            alarm_signal(l->st, ALARM_LOG_SPILL);
        }
        snprintf(l->st->log_file, sizeof l->st->log_file, "%.255s", o->path);
        log_tell(l, o, LOG_OPENED);
        return true;
    }
    return false;
}

/* ---- when the disk is idle ---- */

static void make_spare(struct log *l)
{
    char path[1200];
    uint64_t space;
    l->spare_at = l->now + 10 * l->cfg.retry_ns;
    if (!l->cfg.preallocate || l->io->ops->free_space(l->io, l->dir[0].path, &space) < 0)
        return;
    spare_path(l, path, sizeof path);
    struct io_stat s;
    bool exists = l->io->ops->stat(l->io, path, &s) == 0;
    if (!exists && space < 2 * l->cfg.preallocate + l->cfg.low_space)
        return;
    bool direct;
    int fd = open_any(l, path, O_RDWR | O_CREAT, &direct);
    if (fd < 0)
        return;
    int64_t end = exists && s.size >= l->cfg.preallocate ? (int64_t)s.size
                                                         : allocate(l, fd, 0, l->cfg.preallocate);
    if (end <= 0 || l->io->ops->fsync(l->io, fd) < 0) {
        l->io->ops->close(l->io, fd);
        l->io->ops->unlink(l->io, path);
        return;
    }
    l->spare_fd = fd;
    l->spare_direct = direct;
    l->spare_alloc = (uint64_t)end;
    /* one that was there before (restart, recycled) has been written already */
    l->spare_zeroed = exists ? (uint64_t)end : 0;
}

static bool zero(struct log *l, struct io_op *op, int fd, uint64_t *at, uint64_t limit)
{
    uint64_t n = limit - *at < LOG_BUFFER ? limit - *at : LOG_BUFFER;
    if (n < LOG_BLOCK)
        return false;
    *op = (struct io_op){.kind = IO_WRITE,
                         .fd = fd,
                         .buf = l->zeros,
                         .len = (uint32_t)(n & ~(uint64_t)(LOG_BLOCK - 1)),
                         .offset = *at};
    if (l->io->ops->submit(l->io, &op, 1) != 1)
        return false;
    *at += op->len;
    return true;
}

void log_idle(struct log *l)
{
    if (l->flights || l->spare_busy || l->now - l->busy_at < 5 * NS_PER_MS || dir_hangs(l, 0))
        return;
    for (unsigned i = 0; i < LOG_OUTS; i++) {
        struct log_out *o = &l->out[i];
        if (!o->used || o->failed || !o->lane || o->no_zero || o->zeroing || o->block > LOG_BUFFER)
            continue;
        uint64_t from = pst_align_up(o->fill, LOG_BUFFER) + LOG_BUFFER;
        if (o->zeroed < from)
            o->zeroed = from;
        uint64_t limit = o->fill + ZERO_AHEAD < o->alloc ? o->fill + ZERO_AHEAD : o->alloc;
        limit &= ~(uint64_t)(LOG_BUFFER - 1);
        if (o->zeroed < limit && zero(l, &o->zero_op, o->fd, &o->zeroed, limit)) {
            o->zeroing = true;
            return;
        }
    }
    if (l->spare_fd < 0) {
        if (l->now >= l->spare_at && l->dir[0].bad_until <= l->now)
            make_spare(l);
    } else if (l->spare_zeroed < l->spare_alloc &&
               zero(l, &l->spare_op, l->spare_fd, &l->spare_zeroed, l->spare_alloc)) {
        l->spare_busy = true;
        return;
    }
    uint64_t space;
    if (!l->ballast && l->cfg.ballast && l->now >= l->spare_at - 5 * l->cfg.retry_ns &&
        l->io->ops->free_space(l->io, l->dir[0].path, &space) == 0 &&
        space > 4 * l->cfg.ballast + l->cfg.low_space) {
        char path[1200];
        ballast_path(l, path, sizeof path);
        int fd = l->io->ops->open(l->io, path, O_RDWR | O_CREAT, FILE_MODE);
        if (fd >= 0) {
            l->ballast = l->io->ops->fallocate(l->io, fd, 0, l->cfg.ballast) == 0;
            l->io->ops->close(l->io, fd);
        }
    }
}

bool log_recycle(struct io *io, const char *directory, const char *prefix, const char *name,
                 struct err *err)
{
    char from[1200], to[1200];
    struct log_name n;
    struct io_stat s;
    if (!log_name_parse(&n, prefix, name))
        return err_set(err, -EINVAL, "log: %s is not a log file of prefix %s", name, prefix);
    snprintf(from, sizeof from, "%s/%s", directory, name);
    snprintf(to, sizeof to, "%s/%sspare.0", directory, prefix);
    if (io->ops->stat(io, to, &s) == 0)
        return err_set(err, -EEXIST, "log: %s is already prepared", to);
    int r = io->ops->rename(io, from, to);
    if (r == 0)
        r = io->ops->sync_dir(io, directory);
    return r == 0 || err_set(err, r, "log: cannot recycle %s: %s", from, strerror(-r));
}
