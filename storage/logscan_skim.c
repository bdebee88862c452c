/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"
#include "logscan.h"

#define CHUNK (16u << 10) /* hopping: what one header's read brings */
/* a region this small is read */
#define STEP (logscan_fine ? 8192 : 8ull << 20)
#define BLIND                                                                                      \
    (64ull << 20) /* a file whose first so many bytes hold no tick with facts is hopped            \
                   */

struct skim {
    struct logscan s;
    uint64_t position; /* frames from here on are of no interest */
    bool (*fn)(void *arg, const struct frame *f);
    void *arg;
    const struct facts *known;
    bool more, damaged;
    uint64_t reached;
};

/* The place behind a tick, and the facts that stand below it. */
struct mile {
    uint64_t offset, position, facts;
    uint64_t tick_offset, tick_position; /* where the tick begins */
};

static bool is_small(const struct frame *f)
{
    return f->kind == FRAME_FILE || f->kind == FRAME_SYMBOL || f->kind == FRAME_SCHEMA ||
           f->kind == FRAME_MARK;
}

static void visit(struct skim *k, const struct frame *f)
{
    if (f->kind != FRAME_FILE && f->position >= k->position) {
        k->more = false;
        return;
    }
    if (is_small(f))
        k->more = k->fn(k->arg, f);
    if (f->kind != FRAME_FILE && f->position + f->length > k->reached)
        k->reached = f->position + f->length;
}

/* Reads on, visiting, until the file offset `to`; with `tick`, until behind the first tick that has
 * facts. False: the end of the file, or no more is wanted. */
static bool read_on(struct skim *k, uint64_t to, struct mile *tick, bool *found)
{
    struct logscan *s = &k->s;
    const struct frame *f;
    while (k->more && s->offset < to) {
        enum logscan_verdict v = logscan_step(s, &f, LOGSCAN_REACH);
        if (v == LOGSCAN_DAMAGE) {
            k->damaged = true;
            continue;
        }
        if (v != LOGSCAN_FRAME)
            return false;
        visit(k, f);
        if (tick && facts_before(f, &tick->facts)) {
            tick->offset = s->offset;
            tick->position = s->position;
            *found = true;
            return k->more;
        }
    }
    return k->more;
}

/* The first tick with facts that begins in [from, to), as the place behind it. */
static bool tick_after(struct skim *k, uint64_t from, uint64_t to, uint64_t above, struct mile *out)
{
    struct logscan *s = &k->s;
    const struct frame *f;
    if (!logscan_near(s, from, above))
        return false;
    while (s->offset < to) {
        out->tick_offset = s->offset;
        out->tick_position = s->position;
        enum logscan_verdict v = logscan_step(s, &f, LOGSCAN_REACH);
        if (v == LOGSCAN_DAMAGE)
            continue;
        if (v != LOGSCAN_FRAME)
            return false;
        if (facts_before(f, &out->facts)) {
            out->offset = s->offset;
            out->position = s->position;
            return out->offset <= to;
        }
    }
    return false;
}

/* Visits what stands between two miles, from the left. */
static void region(struct skim *k, const struct mile *lo, const struct mile *hi)
{
    if (!k->more || lo->facts == hi->facts)
        return;
    for (uint64_t to = hi->offset; to - lo->offset > STEP;) {
        uint64_t mid = pst_align8(lo->offset + (to - lo->offset) / 2);
        struct mile tick;
        if (tick_after(k, mid, to, lo->position, &tick) && tick.offset < hi->offset) {
            region(k, lo, &tick);
            region(k, &tick, hi);
            return;
        }
        to = mid; /* no tick in the right half: look in the left one */
    }
    logscan_seek(&k->s, lo->offset, lo->position);
    read_on(k, hi->offset, NULL, NULL);
}

/* From s.offset on, header by header; what is handed out is checked. Stops at what is no header. */
static void hop(struct skim *k)
{
    struct logscan *s = &k->s;
    uint8_t *chunk = s->buf, *whole = s->buf + CHUNK;
    uint64_t at = s->offset, base = 0, fill = 0;
    s->fill = 0; /* the window is used otherwise */
    while (k->more) {
        if (at < base || at + FRAME_HEADER > base + fill) {
            int64_t n;
            unsigned tries = 0;
            do
                n = s->io->ops->pread(s->io, s->fd, chunk, CHUNK, at);
            while (io_read_again(n, &tries));
            if (n < (int64_t)FRAME_HEADER)
                break;
            base = at;
            fill = (uint64_t)n;
        }
        struct frame h;
        memcpy(&h, chunk + (at - base), sizeof h);
        if (h.length < FRAME_HEADER || h.length > FRAME_MAX || h.length % FRAME_ALIGN ||
            h.kind < FRAME_DATA || h.kind > FRAME_FILE || h.position < s->header.first ||
            (h.kind != FRAME_FILE && h.position < k->reached))
            break;
        const struct frame *f = &h;
        if (is_small(&h)) {
            f = (const struct frame *)(chunk + (at - base));
            if (at + h.length > base + fill) {
                if (io_pread_all(s->io, s->fd, whole, h.length, at) < 0)
                    break;
                f = (const struct frame *)whole;
            }
            if (frame_check(f, h.length, s->seed) != FRAME_OK)
                break;
        }
        visit(k, f);
        at += h.length;
    }
}

/* The tick `t` of the note, as it stands in the file. */
static bool find_tick(struct skim *k, const struct frame *t, struct mile *out)
{
    struct logscan *s = &k->s;
    const struct frame *f;
    if (!logscan_find(s, t->position))
        return false;
    enum logscan_verdict v = logscan_step(s, &f, LOGSCAN_REACH);
    if (v != LOGSCAN_FRAME || f->length != t->length || memcmp(f, t, t->length) != 0)
        return false;
    out->offset = s->offset;
    out->position = s->position;
    return true;
}

/*
 * Facts between two ticks of the file out of the note. It is this incarnation's and knows the file
 * where its own first tick is not above the file's, and counts the facts up to there as that does.
 * From: moves to the last tick that is in the note and at or below `to`. It has to be looked for in
 * the file only where facts stand behind it.
 */
static void take_known(struct skim *k, struct mile *from, const struct mile *to)
{
    const struct facts *known = k->known;
    const struct frame *f = NULL, *last = NULL, *begin = NULL;
    uint64_t n, facts = 0;
    if (!known || known->first >= from->position || known->last < from->position)
        return;
    while ((f = facts_next(known, f)) && f->position < to->position) {
        bool tick = facts_before(f, &n);
        if (!tick && f->position < from->position)
            facts += 1;
        else if (tick && f->position < from->position)
            facts = n;
        else if (!tick && !begin)
            begin = f;
        if (tick && f->position >= from->position)
            last = f;
    }
    if (facts != from->facts || !last)
        return;
    struct mile there = *to;
    facts_before(last, &there.facts);
    if (there.facts != to->facts && !find_tick(k, last, &there))
        return;
    for (f = begin; f && f < last && k->more; f = facts_next(known, f))
        if (!facts_before(f, &n))
            visit(k, f);
    *from = there;
}

/* What stands behind `first`, the place behind the file's first tick. */
static void bisect_rest(struct skim *k, const struct mile *first)
{
    struct logscan *s = &k->s;
    if (k->position == UINT64_MAX)
        logscan_tail(s);
    else
        logscan_find(s, k->position);
    struct mile last = *first, tick;
    uint64_t tail = s->offset;
    for (uint64_t back = STEP / 8; tail > first->offset + back; back *= 4)
        if (tick_after(k, pst_align8(tail - back), tail, first->position, &tick)) {
            last = tick;
            break;
        }
    struct mile from = *first;
    if (last.offset > first->offset)
        take_known(k, &from, &last);
    region(k, &from, &last);
    if (last.offset == first->offset)
        logscan_seek(s, last.offset, last.position);
    else
        logscan_seek(s, last.tick_offset, last.tick_position); /* the last tick is never left out */
    read_on(k, UINT64_MAX, NULL, NULL);
}

uint64_t logscan_skim(struct io *io, const char *path, uint64_t instance, uint64_t position,
                      const struct facts *known, bool (*fn)(void *arg, const struct frame *f),
                      void *arg, bool *whole)
{
    struct skim k = {.position = position, .known = known, .fn = fn, .arg = arg, .more = true};
    if (whole)
        *whole = false;
    if (!logscan_open(&k.s, io, path, instance, NULL))
        return 0;
    k.reached = k.s.header.first;
    struct mile first;
    bool found = false;
    bool on = read_on(&k, BLIND, &first, &found);
    if (on && found) {
        bisect_rest(&k, &first);
    } else if (on) {
        hop(&k);
        /* at the end, or at damage: behind that everything is read */
        if (k.more && k.reached < position && logscan_find(&k.s, k.reached))
            read_on(&k, UINT64_MAX, NULL, NULL);
    }
    if (whole)
        *whole = !k.damaged && k.reached > k.s.header.first;
    logscan_close(&k.s);
    return k.reached;
}
