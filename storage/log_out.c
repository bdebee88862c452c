/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One open file of the log: commit buffers, writes, levels, syncs, the clean end. Nothing here
 * knows the ring; see log_internal.h for the words.
 */
#include "log_internal.h"

#define BACKOFF_NS  (10 * NS_PER_MS) /* between attempts when the kernel has no memory */
#define BACKOFF_MAX NS_PER_S         /* then it counts as a device error */
#define SYNC_NS     NS_PER_S         /* levels async and written */

/* ---- buffers ---- */

static int buffer_take(struct log *l, struct log_out *o, uint64_t offset)
{
    pst_must(l->nfree > 0);
    int i = l->free[--l->nfree];
    struct log_write *w = &l->write[i];
    w->out = o;
    w->state = WRITE_FILLING;
    w->offset = offset;
    w->complete = 0;
    w->retry_at = w->trouble_since = 0;
    w->stuck = 0;
    return i;
}

static void buffer_free(struct log *l, struct log_write *w)
{
    w->state = WRITE_FREE;
    w->out = NULL;
    l->free[l->nfree++] = (uint16_t)(w - l->write);
}

bool out_room(const struct log *l, const struct log_out *o)
{
    (void)o;
    return l->nfree >= 3; /* a frame spans two buffers at most, a sealed tail needs one */
}

void out_start(struct log *l, struct log_out *o)
{
    o->filling = -1;
    o->submitted.pos = o->written.pos = o->durable.pos = o->header.first;
    o->next_sync = l->now + SYNC_NS;
}

/* Hands the filling buffer over as a write. after: see log_write.pos_next. */
static void seal(struct log *l, struct log_out *o, uint64_t pos_next)
{
    struct log_write *w = &l->write[o->filling];
    uint32_t used = (uint32_t)(o->fill - w->offset);
    w->length = (uint32_t)pst_align_up(used, o->block);
    memset(w->buffer + used, 0, w->length - used);
    w->end = o->fill;
    w->pos_next = pos_next;
    w->frame_time = o->last_time;
    w->state = WRITE_QUEUED;
    o->queue[(o->head + o->count++) % LOG_WRITES] = (uint16_t)o->filling;
    o->handed = o->fill;
    o->filling = -1;
    uint32_t part = used % o->block;
    if (part) { /* its last block is written again, with what follows */
        int next = buffer_take(l, o, o->fill - part);
        memcpy(l->write[next].buffer, w->buffer + used - part, part);
        o->filling = next;
    }
}

void out_append(struct log *l, struct log_out *o, const void *frame, uint32_t len, uint64_t pos,
                uint64_t after)
{
    const uint8_t *p = frame;
    while (len) {
        if (o->filling < 0)
            o->filling = buffer_take(l, o, o->fill);
        struct log_write *w = &l->write[o->filling];
        uint64_t used = o->fill - w->offset;
        uint32_t n = LOG_BUFFER - used < len ? (uint32_t)(LOG_BUFFER - used) : len;
        memcpy(w->buffer + used, p, n);
        p += n;
        len -= n;
        o->fill += n;
        if (used + n == LOG_BUFFER)
            seal(l, o, len ? pos : after);
    }
}

uint64_t out_position(const struct log_out *o, const struct log_mark *m)
{
    return m->end == o->fill && preamble_done(o) ? LOG_NOWHERE : m->pos;
}

/* ---- writes ---- */

static bool overlaps(const struct log_write *a, const struct log_write *b)
{
    return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static bool submit(struct log *l, struct log_out *o, struct log_write *w)
{
    w->op = (struct io_op){.kind = IO_WRITE,
                           .dsync = o->direct && l->cfg.level == LOG_DURABLE,
                           .fd = o->fd,
                           .buf = w->buffer + w->complete,
                           .len = w->length - w->complete,
                           .offset = w->offset + w->complete,
                           .user = w};
    struct io_op *op = &w->op;
    int r = l->io->ops->submit(l->io, &op, 1);
    if (r != 1) {
        if (r != -EAGAIN)
            out_fail(l, o, r < 0 ? r : -EIO);
        return false;
    }
    PST_FAULT("log.after_submit");
    w->state = WRITE_FLIGHT;
    w->queued_at = l->now;
    o->flights++;
    l->flights++;
    if (w->end > o->submitted.end) {
        o->submitted = (struct log_mark){w->end, w->pos_next};
        l->cut = w->pos_next > l->cut ? w->pos_next : l->cut;
        if (!l->cfg.clock->is_virtual && w->frame_time)
            hist_add(&l->st->stage[STAGE_APPEND_SUBMIT], clock_now(l->cfg.clock) - w->frame_time);
    }
    return true;
}

static bool submit_sync(struct log *l, struct log_out *o)
{
    o->sync_op = (struct io_op){.kind = IO_FDATASYNC, .fd = o->fd, .user = NULL};
    o->sync_target = o->written;
    struct io_op *op = &o->sync_op;
    if (l->io->ops->submit(l->io, &op, 1) != 1)
        return false;
    o->syncing = true;
    o->synced_at = l->now;
    o->next_sync = l->now + SYNC_NS;
    return true;
}

static void close_out(struct log *l, struct log_out *o)
{
    PST_FAULT("log.end");
    l->io->ops->ftruncate(l->io, o->fd, o->fill); /* gives preallocated space back, if it can */
    l->io->ops->close(l->io, o->fd);
    log_tell(l, o, LOG_CLOSED);
    out_drop_buffers(l, o); /* the copy of its tail block */
    o->used = false;
}

static void close_failed(struct log *l, struct log_out *o)
{
    /* What was announced as written stays until it is written elsewhere. */
    bool nothing = o->durable.pos == o->header.first &&
                   o->durable.pos >= load_relaxed(&l->ring->head->written);
    if (nothing) {
        l->io->ops->unlink(l->io, o->path);
        log_tell(l, o, LOG_REMOVED);
    } else {
        /* What may be given up later must not stand in it then: exactly what is durable stays. */
        uint64_t size = l->cfg.full == LOG_FULL_DROP && l->cfg.level == LOG_DURABLE
                            ? o->durable.end
                            : pst_align_up(o->written.end, o->block);
        if (o->alloc > size || size == o->durable.end)
            l->io->ops->ftruncate(l->io, o->fd, size);
        log_tell(l, o, LOG_GAVE_UP);
    }
    l->io->ops->close(l->io, o->fd);
    out_drop_buffers(l, o);
    o->used = false;
}

/* Appends the END frame once everything else is in. */
static void end(struct log *l, struct log_out *o)
{
    if (o->end_written || !preamble_done(o) || !out_room(l, o))
        return;
    struct log_file_end e = {.last = o->copied,
                             .frames = o->frames,
                             .bytes = o->bytes,
                             .closed = clock_now(l->cfg.clock),
                             .reason = (uint8_t)o->reason};
    uint32_t n = log_file_frame(l->scratch, &o->header, LOG_FILE_END, &e, sizeof e, o->last_time);
    out_append(l, o, l->scratch, n, o->copied, o->copied);
    o->end_written = true;
}

/* Has a write or sync been under way for longer than a disk may take? */
static bool hangs(const struct log *l, const struct log_out *o)
{
    int64_t limit = l->now - l->cfg.hang_ns;
    if (l->cfg.full == LOG_FULL_BLOCK || !l->cfg.hang_ns)
        return false;
    if (o->syncing && o->synced_at < limit)
        return true;
    for (unsigned i = 0; o->flights && i < o->count; i++) {
        const struct log_write *w = &l->write[o->queue[(o->head + i) % LOG_WRITES]];
        if (w->state == WRITE_FLIGHT && w->queued_at < limit)
            return true;
    }
    return false;
}

/* The disk took no more. What it took before is whole: synced, it need not be written once more
 * into the little room that comes. */
static int leave_full(struct log *l, struct log_out *o)
{
    if (busy_out(o))
        return 0;
    if (o->written.end > o->durable.end)
        return submit_sync(l, o);
    out_fail(l, o, o->full);
    return 1;
}

int out_step(struct log *l, struct log_out *o)
{
    int did = 0;
    if (o->failed) {
        if (!busy_out(o)) {
            close_failed(l, o);
            did = 1;
        }
        return did;
    }
    if (pst_unlikely(hangs(l, o))) {
        out_fail(l, o, -ETIMEDOUT);
        return 1;
    }
    if (pst_unlikely(o->full))
        return leave_full(l, o);
    if (o->ending)
        end(l, o);
    if (!o->count && o->fill > o->handed && l->nfree &&
        (o->ending || l->now - o->partial_at >= l->cfg.pace_ns)) {
        o->partial_at = l->now;
        seal(l, o, o->copied > o->header.first ? o->copied : o->header.first);
    }
    for (unsigned i = 0; i < o->count && o->flights < l->cfg.depth && !o->failed; i++) {
        struct log_write *w = &l->write[o->queue[(o->head + i) % LOG_WRITES]];
        if (w->state != WRITE_QUEUED)
            continue;
        const struct log_write *before =
            i ? &l->write[o->queue[(o->head + i - 1) % LOG_WRITES]] : NULL;
        if (before && before->state != WRITE_DONE && overlaps(before, w))
            break;
        if (w->retry_at > l->now)
            break;
        if (o->zeroing && w->offset < o->zero_op.offset + o->zero_op.len &&
            o->zero_op.offset < w->offset + w->length)
            break;
        log_grow(l, o, w->offset + w->length);
        if (!submit(l, o, w))
            break;
        did++;
    }
    if (o->failed)
        return 1;
    bool buffered = !o->direct && l->cfg.level == LOG_DURABLE;
    if (!o->syncing && o->written.end > o->durable.end &&
        (buffered || (l->cfg.level != LOG_DURABLE && (l->now >= o->next_sync || o->ending))))
        did += submit_sync(l, o);
    if (o->end_written && o->durable.end == o->fill && !busy_out(o)) {
        close_out(l, o);
        did++;
    }
    return did;
}

static void reached_durable(struct log *l, struct log_out *o, struct log_mark m)
{
    if (m.end <= o->durable.end)
        return;
    o->durable = m;
    PST_FAULT("log.after_durable");
    if (m.pos == o->header.first)
        return; /* only preamble: proves little */
    l->dir[o->spilled].failures = 0;
    if (!o->spilled && l->home_wait && l->now - l->home_at > l->home_wait)
        l->home_wait = 0; /* it has stayed for as long as it was waited for */
    log_sentence(l, 0);
}

void out_completed(struct log *l, struct io_op *op)
{
    struct log_write *w = op->user;
    struct log_out *o = w->out;
    int r = op->result;
    l->flights--;
    o->flights--;
    PST_FAULT("log.after_write");
    w->state = WRITE_QUEUED; /* unless it is complete */
    if (o->failed)
        return;
    if (r < 0) {
        switch (log_policy(r)) {
        case LOG_ACT_AGAIN:
            count_add(l->st, LOG_RETRY, 1);
            return;
        case LOG_ACT_SKIPPED:
            count_add(l->st, LOG_CANCELED, 1);
            return;
        case LOG_ACT_BACKOFF:
            count_add(l->st, LOG_RETRY, 1);
            w->trouble_since = w->trouble_since ? w->trouble_since : l->now;
            if (l->now - w->trouble_since > BACKOFF_MAX)
                break;
            w->retry_at = l->now + BACKOFF_NS;
            return;
        case LOG_ACT_FULL:
            o->full = r;
            return;
        default:
            break;
        }
        out_fail(l, o, r);
        return;
    }
    if ((uint32_t)r < op->len) {
        count_add(l->st, LOG_SHORT, 1);
        uint32_t whole = (uint32_t)r / o->block * o->block;
        w->complete += whole;
        w->stuck = whole ? 0 : w->stuck + 1;
        if (w->stuck > 16)
            out_fail(l, o, -EIO);
        return;
    }
    w->state = WRITE_DONE;
    count_add(l->st, LOG_WRITES, 1);
    hist_add(&l->st->stage[STAGE_LOG_WRITE], l->io->ops->monotonic(l->io) - w->queued_at);
    while (o->count && l->write[o->queue[o->head]].state == WRITE_DONE) {
        struct log_write *d = &l->write[o->queue[o->head]];
        o->head = (o->head + 1) % LOG_WRITES;
        o->count--;
        o->written = (struct log_mark){d->end, d->pos_next};
        if (!l->cfg.clock->is_virtual && d->frame_time)
            hist_add(&l->st->stage[STAGE_APPEND_DURABLE], clock_now(l->cfg.clock) - d->frame_time);
        buffer_free(l, d);
    }
    if (o->direct && l->cfg.level == LOG_DURABLE)
        reached_durable(l, o, o->written);
}

void out_synced(struct log *l, struct log_out *o)
{
    o->syncing = false;
    int r = o->sync_op.result;
    if (o->failed)
        return;
    if (r < 0) {
        enum log_action a = log_policy(r);
        if (a == LOG_ACT_AGAIN || a == LOG_ACT_SKIPPED)
            o->next_sync = 0; /* never ran: try again at once */
        else
            out_fail(l, o, r);
        return;
    }
    reached_durable(l, o, o->sync_target);
}

void out_drop_buffers(struct log *l, struct log_out *o)
{
    for (unsigned i = 0; i < l->nwrites; i++)
        if (l->write[i].out == o && l->write[i].state != WRITE_FREE)
            buffer_free(l, &l->write[i]);
    o->count = 0;
    o->filling = -1;
}
