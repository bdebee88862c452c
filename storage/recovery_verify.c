/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery, behind the start: every byte of the log, and what older damage cost. */
#include "recovery_internal.h"

/* ---- what a lost range cost ---- */

/* Reads the stretch before it, so that every session's next number is known, and on behind it until
 * a tick has told where each stands. */
bool recovery_cost(const struct recovery *r, uint64_t from, uint64_t to, struct recovery_gap **gap,
                   uint32_t *gaps, bool *lost)
{
    struct recovery x = {.cfg = r->cfg, .costing = true, .open_day = -1, .closed_day = -1};
    struct cursor_config cc = recovery_cursor(r);
    const struct frame *f;
    *lost = false;
    *gaps = 0;
    *gap = NULL;
    if (!cursor_open(&x.cursor, &cc, NULL))
        return false;
    struct cursor *c = &x.cursor;
    cursor_seek(c, from > RECOVERY_WINDOW ? from - RECOVERY_WINDOW : 0);
    for (;;) {
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_END || v == CURSOR_ERROR || v == CURSOR_WAIT)
            break;
        if (v == CURSOR_LOST) {
            bool ours = c->lost_from < to && c->lost_to > from;
            *lost |= ours;
            recovery_after_loss(&x, ours); /* others are not this one's account */
        }
        if (v != CURSOR_FRAME)
            continue;
        unsigned type = 0;
        uint32_t len;
        if (f->kind == FRAME_MARK) {
            recovery_mark(&x, f);
            frame_mark(f, &type, &len);
        } else if (f->kind == FRAME_DATA || f->kind == FRAME_GAP) {
            recovery_rows(&x, f);
        }
        if (c->position > to && (!*lost || type == MARK_TICK))
            break;
    }
    recovery_read_all(&x);
    *gap = x.gap;
    *gaps = x.gaps;
    x.gap = NULL;
    x.gaps = 0;
    recovery_free(&x);
    return true;
}

/* ---- step by step ---- */

static void found(struct recovery *r, uint32_t kind, const char *path, uint64_t from, uint64_t to,
                  uint64_t first, uint64_t last)
{
    uint32_t before = r->damages;
    struct recovery_damage *d = recovery_note(r, kind, path, from, to, first, last);
    if (r->damages == before)
        return; /* the start has dealt with it */
    d->late = true;
    d->expected = kind == PST_MISSING && r->aside.to && first >= r->aside.from;
    if (kind == PST_TORN || kind == PST_UNREADABLE)
        return;
    if (recovery_known(r, d)) { /* an earlier start has */
        free(d->path);
        r->damages--;
        return;
    }
    if (d->expected) /* told, and declared lost, when it was set aside */
        return;
    if (first < r->window) /* else the start has seen what it cost */
        recovery_cost(r, first, last, &d->gap, &d->gaps, &d->lost);
    d->was_durable = d->lost; /* what is that old was, but for a hole that nobody accounted for */
}

static int by_first(const void *a, const void *b)
{
    const struct recovery_span *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Whole files that are gone: nothing reaches up to where the next one begins. */
static void missing_files(struct recovery *r)
{
    uint64_t end = r->spans ? r->span[0].first : 0;
    qsort(r->span, r->spans, sizeof *r->span, by_first);
    if (r->spans)
        end = r->span[0].first;
    for (uint32_t i = 0; i < r->spans; i++) {
        const struct recovery_span *x = &r->span[i];
        uint64_t upto = x->restart_old ? x->restart_old : x->first;
        if (upto > end)
            found(r, PST_MISSING, NULL, 0, 0, end, upto);
        if (x->end > end)
            end = x->end;
    }
    if (r->spans && r->aside.to > end)
        found(r, PST_MISSING, NULL, 0, 0, end, r->aside.to);
}

void recovery_set_aside(struct recovery *r, int32_t day)
{
    const struct cursor *c = &r->cursor;
    r->aside = (struct recovery_aside){.day = day, .from = UINT64_MAX, .to = r->old_end};
    for (uint32_t i = 0; i < c->files; i++)
        if (c->file[i]->header.day >= day && c->file[i]->header.first < r->aside.from)
            r->aside.from = c->file[i]->header.first;
}

static void close_file(struct recovery *r)
{
    r->span[r->spans - 1].end = r->verify->position;
    logscan_close(r->verify);
    free(r->verify);
    r->verify = NULL;
    r->verify_file++;
}

static void damage(struct recovery *r, const struct cursor_file *f)
{
    const struct logscan *s = r->verify;
    struct frame h;
    uint64_t last = 0;
    if (io_pread_all(r->cfg.io, s->fd, &h, sizeof h, s->bad_to) >= 0)
        last = h.position;
    found(r, s->hole ? PST_HOLE : PST_ALTERED, f->path, s->bad_from, s->bad_to, s->before, last);
}

bool recovery_verify_rest(struct recovery *r, uint64_t bytes)
{
    struct cursor *c = &r->cursor;
    uint64_t until = r->verified_bytes + bytes;
    while (r->verified_bytes < until) {
        if (!r->verify) {
            if (r->verify_file == c->files) {
                if (!r->verify_done && !r->verify_vanished)
                    missing_files(r);
                r->verify_done = true;
                return true;
            }
            struct cursor_file *f = c->file[c->files - 1 - r->verify_file];
            if (r->aside.to && f->header.day >= r->aside.day) {
                r->verify_file++; /* of its name there may be a new one, of this process */
                continue;
            }
            r->verify = malloc(sizeof *r->verify);
            if (!r->verify)
                return false;
            if (!logscan_open(r->verify, r->cfg.io, f->path, r->cfg.instance, NULL)) {
                free(r->verify); /* gone meanwhile (retention) */
                r->verify = NULL;
                r->verify_file++;
                r->verify_vanished = true;
                continue;
            }
            r->span = recovery_grow(r->span, r->spans, sizeof *r->span);
            r->span[r->spans++] = (struct recovery_span){f->header.first, f->header.first, 0};
            r->span_begun = false;
        }
        struct cursor_file *f = c->file[c->files - 1 - r->verify_file];
        const struct frame *got;
        enum logscan_verdict v = logscan_step(r->verify, &got, UINT64_MAX);
        if (v == LOGSCAN_FRAME) {
            uint64_t old, start;
            r->verified_bytes += got->length;
            r->verified_frames++;
            if (got->kind != FRAME_FILE && !r->span_begun) {
                r->span_begun = true;
                if (cursor_restart_mark(got, &old, &start))
                    r->span[r->spans - 1].restart_old = old;
            }
            continue;
        }
        if (v == LOGSCAN_DAMAGE) {
            damage(r, f);
            r->verified_bytes += r->verify->bad_to - r->verify->bad_from;
            continue;
        }
        if (v == LOGSCAN_TORN)
            found(r, PST_TORN, f->path, r->verify->bad_from, r->verify->bad_to, r->verify->position,
                  0);
        if (v == LOGSCAN_ERROR) {
            found(r, PST_UNREADABLE, f->path, r->verify->offset, r->verify->size,
                  r->verify->position, 0);
            r->damage[r->damages - 1].error = r->verify->error;
        }
        close_file(r);
    }
    return false;
}
