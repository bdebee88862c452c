/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal side of the log thread: the scout reads every frame once (days, schemas, symbols),
 * the lanes copy what is theirs, the levels are published.
 */
#include <sys/mman.h>
#include "core/tables.h"
#include "log_internal.h"

#define ROUND_BYTES (4ull << 20) /* copied in one round by one lane */
#define REAP_MAX    64u
#define WAIT_NS     (200 * NS_PER_US)

/* Of frames that the log has not given up; the scout's. */
static const struct frame *at(const struct log *l, uint64_t pos)
{
    const struct frame *f = (const struct frame *)(l->ring->data + (pos & l->ring->mask));
    /* The appender made it in this process: anything else would write garbage for ever. */
    pst_must(f->position == pos && f->length >= FRAME_HEADER && f->length <= FRAME_MAX);
    return f;
}

/* ---- start and end ---- */

struct log *log_create(const struct log_config *cfg, struct err *err)
{
    struct log *l = calloc(1, sizeof *l);
    if (!l || cfg->depth < 1 || cfg->depth > 128) {
        free(l);
        err_set(err, -EINVAL, "log: log_depth %u: must be 1 to 128", cfg->depth);
        return NULL;
    }
    l->cfg = *cfg;
    l->io = cfg->io;
    l->ring = cfg->ring;
    l->st = cfg->status;
    l->instance = cfg->ring->head->instance;
    l->seed = cfg->ring->head->seed;
    l->cursor = l->durable = cfg->ring->head->start;
    l->dir[0].path = cfg->directory;
    l->dir[1].path = cfg->spill && *cfg->spill ? cfg->spill : NULL;
    l->spare_fd = -1;
    l->interval = cfg->interval;
    l->symbols_known = cfg->symbols_known;
    memcpy(l->open_day, cfg->open_day, sizeof l->open_day);
    l->nwrites = cfg->depth + LOG_OUTS + 8;
    l->memory = mmap(NULL, (size_t)(l->nwrites + 1) * LOG_BUFFER, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    l->scratch = malloc(FRAME_MAX);
    l->delta = calloc(LOG_DELTAS, sizeof *l->delta);
    if (l->memory == MAP_FAILED || !l->scratch || !l->delta || !tables_gap(&l->gap, err)) {
        err_set(err, -ENOMEM, "log: no memory for %u MiB of commit buffers: lower log_depth",
                l->nwrites);
        l->memory = l->memory == MAP_FAILED ? NULL : l->memory;
        log_destroy(l);
        return NULL;
    }
    madvise(l->memory, (size_t)(l->nwrites + 1) * LOG_BUFFER, MADV_HUGEPAGE);
    for (size_t i = 0; i < (size_t)l->nwrites * LOG_BUFFER; i += 4096)
        l->memory[i] = 0; /* faulted in now, not in the first burst */
    for (unsigned i = 0; i < l->nwrites; i++) {
        l->write[i].buffer = l->memory + (size_t)i * LOG_BUFFER;
        l->free[l->nfree++] = (uint16_t)i;
    }
    l->zeros = l->memory + (size_t)l->nwrites * LOG_BUFFER;
    if (cfg->previous)
        snprintf(l->previous[0], sizeof l->previous[0], "%s", cfg->previous);
    for (unsigned id = 0; cfg->schemas && id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(cfg->schemas, id);
        if (!s || id < TABLE_FIRST)
            continue;
        l->schema_json[id] = schema_to_json(s);
        l->schema_ids = id + 1;
    }
    const uint8_t *p = cfg->states, *end = p ? p + cfg->states_bytes : NULL;
    while (p && end - p >= (ptrdiff_t)FRAME_HEADER) {
        const struct frame *f = (const struct frame *)p;
        if (f->length < FRAME_HEADER || f->length > end - p)
            break;
        log_note(l, f);
        p += f->length;
    }
    return l;
}

void log_destroy(struct log *l)
{
    if (!l)
        return;
    if (l->memory)
        munmap(l->memory, (size_t)(l->nwrites + 1) * LOG_BUFFER);
    for (unsigned i = 0; i < TABLE_MAX; i++)
        free(l->schema_json[i]);
    states_free(l->states[0]);
    states_free(l->states[1]);
    log_lost_free(l);
    free(l->scratch);
    free(l->delta);
    free(l);
}

/* ---- lanes ---- */

struct log_lane *lane_find(struct log *l, uint8_t stream, int32_t day)
{
    bool any_day = stream_is_buffer(stream);
    for (unsigned i = 0; i < LOG_LANES; i++) {
        struct log_lane *n = &l->lane[i];
        if (n->used && n->close_at == LOG_NOWHERE && n->stream == stream &&
            (any_day || n->day == day))
            return n;
    }
    return NULL;
}

static bool daily_open(const struct log *l)
{
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used && l->lane[i].close_at == LOG_NOWHERE &&
            l->lane[i].stream == STREAM_DAILY)
            return true;
    return false;
}

/* False: all lanes are busy (closing ones wait for the disk); the scout waits too. */
bool lane_add(struct log *l, uint8_t stream, int32_t day, uint64_t pos)
{
    for (unsigned i = 0; i < LOG_LANES - 2; i++) /* two are kept for repairs */
        if (!l->lane[i].used) {
            l->lane[i] =
                (struct log_lane){.used = true,
                                  .stream = stream,
                                  .day = day,
                                  .minute = stream == STREAM_INTERVAL ? l->interval : LOG_NO_MINUTE,
                                  .cursor = pos,
                                  .close_at = LOG_NOWHERE,
                                  .counted = pos};
            if (stream_is_buffer(stream)) {
                const struct log_buffer *b = &l->buffer[STREAM_BUFFER - stream];
                memcpy(l->lane[i].event, b->event, sizeof b->event);
                l->lane[i].since = b->since;
            }
            return true;
        }
    return false;
}

static uint64_t slowest(const struct log *l)
{
    uint64_t low = l->cursor;
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used && l->lane[i].cursor < low)
            low = l->lane[i].cursor;
    return low;
}

/* An eod mark: the earliest day that any calendar has open behind it. */
static int32_t earliest_open(struct log *l, const struct frame *f)
{
    const struct days_owner *o = l->cfg.calendars;
    char name[DAYS_NAME];
    if (!o)
        return f->day + 1;
    uint16_t low = UINT16_MAX;
    bool named = days_eod(f, name);
    for (unsigned c = 0; c < o->n; c++) {
        if (named && !strcmp(o->name[c], name) && f->day >= l->open_day[c])
            l->open_day[c] = (uint16_t)(f->day + 1);
        if (l->open_day[c] < low)
            low = l->open_day[c];
    }
    return low;
}

/* An eod mark at pos that finds no file open, of a date without a frame of its own (missed ones,
 * many in a row): it goes into the file of the first frame behind it that is none. False: that did
 * not come yet; a tick, a state mark or the end will. Then *day is the date behind the last one. */
static bool day_behind(const struct log *l, uint64_t pos, uint64_t tail, int32_t *day)
{
    for (*day = 0; pos < tail;) {
        const struct frame *f = at(l, pos);
        unsigned type = 0;
        uint32_t len;
        bool eod = f->kind == FRAME_MARK && frame_mark(f, &type, &len) && type == MARK_EOD;
        if (!eod && f->kind != FRAME_PAD) {
            *day = f->day;
            return true;
        }
        if (eod && f->day >= *day)
            *day = f->day + 1;
        pos += f->length;
    }
    return false;
}

void lane_close(struct log *l, struct log_lane *n, enum log_end_reason reason)
{
    n->close_at = l->cursor;
    n->reason = reason;
}

/* An eod or eoi mark that the scout has just passed: whose last frame was it? */
static void roll(struct log *l, const struct frame *f, unsigned type)
{
    PST_FAULT("log.roll");
    int32_t open = type == MARK_EOD ? earliest_open(l, f) : 0;
    if (type == MARK_EOI)
        days_eoi(f, &l->interval);
    for (unsigned i = 0; i < LOG_LANES; i++) {
        struct log_lane *n = &l->lane[i];
        if (!n->used || n->close_at != LOG_NOWHERE)
            continue;
        if (type == MARK_EOD && n->day < open && !stream_is_buffer(n->stream))
            lane_close(l, n, LOG_END_DAY);
        if (type == MARK_EOI && n->stream == STREAM_INTERVAL)
            lane_close(l, n, LOG_END_INTERVAL);
    }
}

static int scout(struct log *l, uint64_t tail)
{
    int did = 0;
    uint64_t limit = (slowest(l) > l->gone_to ? slowest(l) : l->gone_to) + LOG_AHEAD;
    while (l->cursor < tail && l->cursor < limit) {
        const struct frame *f = at(l, l->cursor);
        unsigned type = 0;
        uint32_t len;
        if (f->kind != FRAME_MARK || !frame_mark(f, &type, &len))
            type = 0;
        bool turn = type == MARK_EOD || type == MARK_RESTART;
        /* Only two generations of states are kept: lanes must not be further behind than that. */
        if (pst_unlikely(turn) && slowest(l) < l->cursor)
            break;
        /* a gap row stands in its own date's file, too: that one is kept until it is written */
        bool known = f->kind == FRAME_GAP        ? lane_find(l, STREAM_DAILY, f->day) != NULL
                     : f->stream == STREAM_EVERY ? daily_open(l)
                                                 : lane_find(l, f->stream, f->day) != NULL;
        int32_t day = f->day;
        if (pst_unlikely(turn) && type == MARK_EOD && !known &&
            !day_behind(l, l->cursor, tail, &day) && !load_acquire(&l->drain)) /* L4 */
            break;
        if (!known && f->kind != FRAME_PAD &&
            !lane_add(l, f->stream == STREAM_EVERY ? STREAM_DAILY : f->stream, day, l->cursor))
            break;
        if (pst_unlikely(type == MARK_BUFFER_START) && !event_begins(l, f))
            break;
        if (pst_unlikely(f->kind != FRAME_DATA)) {
            log_note(l, f);
            if (f->kind == FRAME_GAP) /* it will stand in several files */
                count_frame(l, f);
        }
        l->cursor += f->length;
        if (pst_unlikely(type == MARK_EOD || type == MARK_EOI))
            roll(l, f, type);
        if (pst_unlikely(type == MARK_BUFFER_END))
            event_ends(l, f);
        did++;
    }
    return did;
}

/* The lane's file gets its END frame and lives on alone until it is synced. */
static void leave(struct log_lane *n, enum log_end_reason reason)
{
    n->out->lane = NULL;
    n->out->ending = true;
    n->out->reason = reason;
    n->out = NULL;
}

static int lane_step(struct log *l, struct log_lane *n)
{
    uint64_t limit = l->cursor < n->close_at ? l->cursor : n->close_at;
    int did = 0;
    if (!n->out && n->cursor < limit) {
        if (n->retry_at > l->now)
            return 0;
        if (!lane_open(l, n, false)) {
            int64_t soon = l->cfg.retry_ns / 8;
            n->retry_at = l->now + (soon < NS_PER_MS ? NS_PER_MS : soon);
            return 0;
        }
        n->retry_at = 0;
        did = 1;
    }
    struct log_out *o = n->out;
    if (o && !preamble_step(l, o))
        return did;
    uint64_t stop = n->cursor + ROUND_BYTES;
    while (o && n->cursor < limit && n->cursor < stop && out_room(l, o)) {
        uint64_t pos = n->cursor;
        const struct frame *f = log_frame(l, &pos, limit);
        if (pst_unlikely(!f)) {
            n->cursor = o->copied = limit;
            break;
        }
        uint64_t after = pos + f->length;
        if (takes(n, f) && !(f->kind == FRAME_DATA && PST_FAULT_HIT("log.drop_frame"))) {
            o->last_time = f->time;
            out_append(l, o, f, f->length, f->position, after);
            o->frames++;
            o->bytes += f->length;
            count_add(l->st, LOG_FRAMES, 1);
            count_add(l->st, LOG_BYTES, f->length);
            if (after > n->counted && f->kind == FRAME_DATA)
                count_frame(l, f);
        }
        if (after > n->counted)
            n->counted = after;
        n->cursor = o->copied = after;
        did++;
    }
    if (n->cursor >= n->close_at) {
        if (o)
            leave(n, n->reason);
        n->used = false;
        did++;
    }
    return did;
}

/* ---- completions and levels ---- */

static void completed(struct log *l, struct io_op *op)
{
    if (op->user) {
        out_completed(l, op);
        return;
    }
    if (op == &l->spare_op) {
        l->spare_busy = false;
        if (op->result < 0)
            l->spare_zeroed = l->spare_alloc; /* used as it is; a write to it will say */
        return;
    }
    for (unsigned i = 0; i < LOG_OUTS; i++) {
        struct log_out *o = &l->out[i];
        if (op == &o->sync_op) {
            out_synced(l, o);
            return;
        }
        if (op == &o->grow_op) {
            log_grown(o);
            return;
        }
        if (op == &o->zero_op) {
            o->zeroing = false;
            o->no_zero |= op->result < 0;
            return;
        }
    }
}

static int reap(struct log *l, int64_t wait_ns)
{
    struct io_op *done[REAP_MAX];
    int n = l->io->ops->reap(l->io, done, REAP_MAX, wait_ns);
    for (int i = 0; i < n; i++)
        completed(l, done[i]);
    return n > 0 ? n : 0;
}

static bool in_flight(const struct log *l)
{
    if (l->flights || l->spare_busy)
        return true;
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used && busy_out(&l->out[i]))
            return true;
    return false;
}

enum level { SUBMITTED, WRITTEN, DURABLE };

static uint64_t level_position(const struct log *l, enum level level)
{
    uint64_t low = l->cursor;
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used && l->lane[i].cursor < low)
            low = l->lane[i].cursor;
    for (unsigned i = 0; i < LOG_OUTS; i++) {
        const struct log_out *o = &l->out[i];
        if (!o->used || o->failed)
            continue;
        uint64_t p = out_position(o, level == SUBMITTED ? &o->submitted
                                     : level == WRITTEN ? &o->written
                                                        : &o->durable);
        low = p < low ? p : low;
    }
    return low;
}

static bool raise(_Atomic uint64_t *at, uint64_t v)
{
    if (v <= load_relaxed(at))
        return false;
    store_release(at, v); /* L3: pairs with the readers' acquire of the levels */
    return true;
}

static void publish(struct log *l)
{
    struct ring_head *h = l->ring->head;
    uint64_t written = level_position(l, WRITTEN), durable = level_position(l, DURABLE);
    uint64_t submitted = level_position(l, SUBMITTED), cap = log_loss_cap(l);
    /* Below level durable the ring keeps what is not synced too, while there is room: a sync that
     * fails then costs nothing, and `durable` never passes over what it concerned. */
    bool room = ring_tail(l->ring) - durable <= ring_size(l->ring) / 2;
    raise(&h->guard, l->cfg.level == LOG_DURABLE || room ? durable : written); /* G1 */
    log_shelf_done(l, durable);
    written = written < cap ? written : cap;
    durable = durable < cap ? durable : cap;
    bool moved = raise(&h->submitted, submitted < cap ? submitted : cap);
    moved |= raise(&h->written, written);
    if (durable > l->durable) {
        l->durable = durable;
        count_durable(l, durable);
        moved |= raise(&h->durable, durable);
    }
    if (moved)
        bell_board_ring(l->ring->board, BELL_LEVEL);
}

/* ---- drain ---- */

void log_drain_start(struct log *l)
{
    store_release(&l->drain, true); /* L4 */
}

bool log_drained(const struct log *l)
{
    return load_acquire(&l->drained); /* L5 */
}

bool log_drain(struct log *l, int64_t ns)
{
    int64_t until = clock_monotonic() + ns;
    log_drain_start(l);
    while (!log_drained(l)) {
        if (clock_monotonic() > until)
            return false;
        struct timespec ts = {0, 200 * 1000};
        nanosleep(&ts, NULL);
    }
    return true;
}

static void drain(struct log *l)
{
    if (!l->draining) {
        if (l->cursor < ring_tail(l->ring))
            return;
        l->draining = true;
        for (unsigned i = 0; i < LOG_LANES; i++) {
            struct log_lane *n = &l->lane[i];
            if (n->used && n->close_at == LOG_NOWHERE) {
                n->close_at = l->cursor;
                n->reason = LOG_END_STOP;
            }
        }
    }
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used)
            return;
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used)
            return;
    if (events_pending(l))
        return;
    if (l->cursor == ring_tail(l->ring))
        store_release(&l->drained, true); /* L5 */
    else
        l->draining =
            false; /* the appender had not stopped: those frames get a file of their own */
}

/* ---- the thread ---- */

int log_work(struct log *l)
{
    PST_FAULT_STALL("log.work");
    l->now = l->io->ops->monotonic(l->io);
    int did = reap(l, 0);
    did += scout(l, ring_tail(l->ring));
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used)
            did += lane_step(l, &l->lane[i]);
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used)
            did += out_step(l, &l->out[i]);
    did += events_done(l);
    publish(l);
    log_relieve(l);
    if (pst_unlikely(load_acquire(&l->drain)) && !load_relaxed(&l->drained)) /* L4 */
        drain(l);
    if (did) {
        l->busy_at = l->now;
        return did;
    }
    if (!in_flight(l))
        return 0;
    bool data = l->flights != 0;
    did = reap(l, WAIT_NS); /* nothing to do before a write completes */
    if (did)
        publish(l);
    return did + data;
}

/* Has the file's path been taken away, or can the log go home from spill? */
static void look_around(struct log *l, struct log_lane *n)
{
    struct log_out *o = n->out;
    struct io_stat mine = {0}, there = {0};
    if (!preamble_done(o) || l->io->ops->fstat(l->io, o->fd, &mine) < 0)
        return;
    int r = l->io->ops->stat(l->io, o->path, &there);
    bool astray = r == -ENOENT || r == -ENOTDIR ||
                  (r == 0 && (there.ino != mine.ino || there.dev != mine.dev));
    if (o->astray && !astray) {
        o->astray = false;
        log_sentence(l, 0);
    }
    if (astray && !mine.links) { /* deleted: what is in it will be gone with the last close */
        out_fail(l, o, -ENOENT);
        return;
    }
    uint64_t space = 0;
    bool home = o->spilled && !dir_hangs(l, 0) && l->dir[0].bad_until <= l->now &&
                l->home_at <= l->now &&
                l->io->ops->free_space(l->io, l->dir[0].path, &space) == 0 && space >= LOG_HOME;
    if (!astray && !home)
        return;
    n->out = NULL;
    if (lane_open(l, n, home && !astray)) {
        struct log_out *fresh = n->out;
        n->out = o;
        leave(n, LOG_END_MOVED);
        n->out = fresh;
    } else {
        n->out = o;
        if (astray) {
            o->astray = true;
            log_sentence(l, -ENOENT);
        }
    }
}

void log_housekeeping(struct log *l)
{
    struct ring_head *h = l->ring->head;
    l->now = l->io->ops->monotonic(l->io);
    uint64_t reached = load_relaxed(l->cfg.level == LOG_DURABLE   ? &h->durable
                                    : l->cfg.level == LOG_WRITTEN ? &h->written
                                                                  : &h->submitted);
    int64_t oldest = l->loss_state == LOSS_NONE ? 0 : l->loss.since;
    if (!oldest && reached < ring_tail(l->ring) && reached >= load_relaxed(&h->guard))
        oldest = at(l, reached)->time;
    store_relaxed(&l->st->log_oldest, oldest);
    if (l->now >= l->check_at) {
        l->check_at = l->now + l->cfg.retry_ns;
        for (unsigned i = 0; i < LOG_LANES; i++)
            if (l->lane[i].used && l->lane[i].out && !l->draining)
                look_around(l, &l->lane[i]);
    }
    if (l->now >= l->space_at && l->cfg.low_space && !dir_hangs(l, 0)) {
        uint64_t space;
        l->space_at = l->now + NS_PER_S;
        if (l->io->ops->free_space(l->io, l->cfg.directory, &space) == 0 &&
            space < l->cfg.low_space)
            alarm_signal(l->st, ALARM_LOG_SPACE);
    }
    if (!l->draining)
        log_idle(l);
}

void log_fini(struct log *l)
{
    for (unsigned i = 0; i < 1000 && in_flight(l); i++)
        reap(l, 10 * NS_PER_MS);
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used) {
            l->io->ops->close(l->io, l->out[i].fd);
            l->out[i].used = false;
        }
    if (l->spare_fd >= 0)
        l->io->ops->close(l->io, l->spare_fd);
    l->spare_fd = -1;
}

static int work(void *arg)
{
    return log_work(arg);
}
static void housekeeping(void *arg)
{
    log_housekeeping(arg);
}
static void fini(void *arg)
{
    log_fini(arg);
}
const struct thread_ops log_thread_ops = {.work = work, .housekeeping = housekeeping, .fini = fini};
