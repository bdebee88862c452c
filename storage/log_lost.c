/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ring no longer holds and files lack: frames kept aside for the lanes (the shelf), and,
 * with log_full drop_oldest, data that is given up when the ring is full and nowhere can be
 * written. What is given up is counted per (feed, session), exactly, for control to journal it.
 */
#include "core/record.h"
#include "log_internal.h"

#define SHELF_MAX (64ull << 20)
#define SHARE     8u /* an eighth of the ring is given up at a time, when no more is free */

/* ---- the shelf ---- */

static const struct frame *ring_frame(const struct log *l, uint64_t pos)
{
    return (const struct frame *)(l->ring->data + (pos & l->ring->mask));
}

/* First kept frame at or above pos. */
static uint32_t shelf_find(const struct log *l, uint64_t pos)
{
    uint32_t low = 0, high = l->shelf_n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (l->shelf[mid]->position < pos)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct frame *log_frame(const struct log *l, uint64_t *pos, uint64_t end)
{
    if (pst_unlikely(*pos < l->gone_to)) {
        uint32_t i = shelf_find(l, *pos);
        if (i < l->shelf_n && l->shelf[i]->position < l->gone_to) {
            *pos = l->shelf[i]->position;
            return *pos < end ? l->shelf[i] : NULL;
        }
        *pos = l->gone_to;
    }
    uint64_t guard = load_relaxed(&l->ring->head->guard);
    if (pst_unlikely(*pos < guard)) /* level below durable: the ring need not hold more */
        *pos = guard;
    if (*pos >= end)
        return NULL;
    const struct frame *f = ring_frame(l, *pos);
    /* The appender made it in this process: anything else would write garbage for ever. */
    pst_must(f->position == *pos && f->length >= FRAME_HEADER && f->length <= FRAME_MAX);
    return f;
}

static bool shelf_add(struct log *l, const struct frame *f)
{
    if (l->shelf_bytes + f->length > SHELF_MAX)
        return false;
    if (l->shelf_n == l->shelf_cap) {
        uint32_t cap = l->shelf_cap ? 2 * l->shelf_cap : 256;
        struct frame **more = realloc(l->shelf, cap * sizeof *more);
        if (!more)
            return false;
        l->shelf = more;
        l->shelf_cap = cap;
    }
    struct frame *copy = malloc(f->length);
    if (!copy)
        return false;
    memcpy(copy, f, f->length);
    l->shelf[l->shelf_n++] = copy;
    l->shelf_bytes += f->length;
    return true;
}

static void shelf_clear(struct log *l)
{
    for (uint32_t i = 0; i < l->shelf_n; i++)
        free(l->shelf[i]);
    l->shelf_n = 0;
    l->shelf_bytes = 0;
}

/* ---- what is lost ---- */

static struct log_lost_session *lost_session(struct log_loss *x, uint32_t feed, uint32_t session)
{
    for (uint32_t i = x->n_sessions; i-- > 0;)
        if (x->session[i].feed == feed && x->session[i].session == session)
            return &x->session[i];
    if (!(x->n_sessions & (x->n_sessions - 1))) {
        uint32_t cap = x->n_sessions ? 2 * x->n_sessions : 1;
        struct log_lost_session *more = realloc(x->session, cap * sizeof *more);
        pst_must(more); /* a loss that nobody tells would balance falsely */
        x->session = more;
    }
    x->session[x->n_sessions] = (struct log_lost_session){.feed = feed, .session = session};
    return &x->session[x->n_sessions++];
}

static void lost_range(struct log_loss *x, struct log_lost_session *s, uint64_t first,
                       uint64_t last, uint16_t day)
{
    struct log_lost_range *r = s->newest ? &x->range[s->newest - 1] : NULL;
    if (r && r->last + 1 == first && r->day == day) {
        r->last = last;
        return;
    }
    if (!(x->n_ranges & (x->n_ranges - 1))) {
        uint32_t cap = x->n_ranges ? 2 * x->n_ranges : 1;
        struct log_lost_range *more = realloc(x->range, cap * sizeof *more);
        pst_must(more);
        x->range = more;
    }
    x->range[x->n_ranges] = (struct log_lost_range){s->feed, s->session, first, last, day};
    s->newest = ++x->n_ranges;
}

static void lose(struct log *l, const struct frame *f, bool counted)
{
    struct log_loss *x = &l->loss;
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    bool bad = false, runs = false;
    const struct packet_record *p;
    while ((p = packet_hop(&at, end, &bad))) {
        struct log_lost_session *s = lost_session(x, p->feed, p->session);
        runs = true;
        x->rows += p->rows;
        s->rows += p->rows;
        if (p->flags & (ROW_DIVERGENT | RUN_UNSEQUENCED))
            continue;
        if (p->flags & ROW_LATE) {
            s->late += p->seqs;
            continue;
        }
        /* a packet-sequenced message may go on from the frame before: its number counts once */
        const struct log_lost_range *r = s->newest ? &x->range[s->newest - 1] : NULL;
        if ((p->flags & RUN_PACKET_SEQ) && r && r->last == p->seq)
            continue;
        if (p->seqs)
            lost_range(x, s, p->seq, p->seq + p->seqs - 1, f->day);
        s->on_time += p->seqs;
    }
    if (!runs)
        x->rows += f->count;
    if (counted)
        count_undo(l, f);
}

/* Does any lane still want it? Then *n is the lane; of frames for every file, any one. */
static bool wanted(struct log *l, const struct frame *f, struct log_lane **n)
{
    for (unsigned i = 0; i < LOG_LANES; i++) {
        *n = &l->lane[i];
        if ((*n)->used && (*n)->cursor <= f->position && f->position < (*n)->close_at &&
            takes(*n, f))
            return true;
    }
    return false;
}

/* Nothing can be written anywhere: no file is open but such that were given up. */
static bool stuck(const struct log *l)
{
    bool waiting = false;
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used && !l->out[i].failed)
            return false;
    for (unsigned i = 0; i < LOG_LANES; i++)
        waiting |= l->lane[i].used && l->lane[i].retry_at;
    return waiting;
}

static void give_up(struct log *l, uint64_t room)
{
    struct ring_head *h = l->ring->head;
    uint64_t from = load_relaxed(&h->guard), pos = from, to = from + room;
    uint64_t passed = l->cfg.passed ? load_acquire(l->cfg.passed) : l->cursor; /* L6 */
    to = to < l->cursor ? to : l->cursor;
    to = to < passed ? to : passed;
    if (l->loss_state == LOSS_NONE) {
        l->loss.from = UINT64_MAX;
        l->loss.since = clock_now(l->cfg.clock);
    }
    uint64_t frames = 0, rows = l->loss.rows;
    while (pos < to) {
        const struct frame *f = ring_frame(l, pos);
        uint64_t after = pos + f->length;
        struct log_lane *n;
        if (after > to)
            break;
        if (wanted(l, f, &n)) {
            bool lost = frame_losable(f);
            if (lost && f->kind == FRAME_DATA) {
                lose(l, f, after <= n->counted);
                frames++;
                l->loss.bytes += f->length;
            }
            if (!lost && !shelf_add(l, f))
                break;
            if (lost && pos < l->loss.from)
                l->loss.from = pos;
        }
        pos = after;
    }
    if (pos == from || !ring_lost_add(l->ring, from, pos))
        return;
    l->gone_to = pos;
    l->loss.to = pos;
    l->loss.frames += frames;
    store_relaxed(&l->loss_state, LOSS_GROWING);
    count_add(l->st, LOG_GIVEN_UP, frames);
    count_add(l->st, LOG_GIVEN_UP_ROWS, l->loss.rows - rows);
    alarm_signal(l->st, ALARM_LOG_GAVE_UP);
    store_release(&h->guard, pos); /* G1 */
}

void log_relieve(struct log *l)
{
    uint32_t state = load_acquire(&l->loss_state); /* L7 */
    if (state == LOSS_TOLD) { /* the gap rows are in the journal: the levels may pass */
        free(l->loss.range);
        free(l->loss.session);
        memset(&l->loss, 0, sizeof l->loss);
        store_relaxed(&l->loss_state, LOSS_NONE);
        return;
    }
    bool nowhere = stuck(l);
    if (state == LOSS_GROWING && !nowhere) {
        for (unsigned i = 0; i < LOG_LANES; i++)
            if (l->lane[i].used && l->lane[i].out)
                store_release(&l->loss_state, LOSS_READY); /* L7 */
        return;
    }
    if (!nowhere || state > LOSS_GROWING || l->cfg.full != LOG_FULL_DROP)
        return;
    uint64_t size = ring_size(l->ring);
    uint64_t used = ring_tail(l->ring) - load_relaxed(&l->ring->head->guard);
    if (used > size - size / SHARE)
        give_up(l, size / SHARE);
}

uint64_t log_loss_cap(const struct log *l)
{
    return l->loss_state == LOSS_NONE ? UINT64_MAX : l->loss.from;
}

void log_shelf_done(struct log *l, uint64_t durable)
{
    if (!l->gone_to || durable < l->gone_to)
        return;
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used && l->lane[i].cursor < l->gone_to)
            return;
    shelf_clear(l);
    l->gone_to = 0;
}

void log_lost_free(struct log *l)
{
    shelf_clear(l);
    free(l->shelf);
    free(l->loss.range);
    free(l->loss.session);
}

/* ---- control ---- */

const struct log_loss *log_loss(const struct log *l)
{
    return load_acquire(&l->loss_state) == LOSS_READY ? &l->loss : NULL; /* L7 */
}

void log_loss_told(struct log *l)
{
    store_release(&l->loss_state, LOSS_TOLD); /* L7 */
}
