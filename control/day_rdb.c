/* SPDX-License-Identifier: Apache-2.0 */
/* The rdb thread: the journal's rows become columns in memory. It may stand still, be slow or be
 * rebuilt from the files: nobody waits for it, its lag is a figure. */
#include <errno.h>
#include <limits.h>
#include <sys/sysinfo.h>
#include "day_parts.h"
#include "storage/cursor.h"
#include "topo.h"
#include "wiring.h"
#include "wiring_parts.h"

#define ROUND_BYTES (1u << 20)

/* ---- callbacks of the RDB, on its thread ---- */

static unsigned calendar_of(void *arg, const struct schema *s)
{
    return wiring_calendar_of(((struct day_rdb *)arg)->d, s->name);
}

static int calendar_named(void *arg, const char *name)
{
    return wiring_calendar_named(((struct day_rdb *)arg)->d, name);
}

static bool take(void *arg, unsigned calendar, uint16_t day, uint64_t position)
{
    const struct day_rdb *r = arg;
    for (unsigned i = 0; i < r->nknown; i++)
        if (r->known[i].calendar == calendar && r->known[i].day == day)
            return position >= r->known[i].eod;
    return true;
}

static void closed(void *arg, const struct rdb_closed *c)
{
    struct day_rdb *r = arg;
    uint32_t head = load_relaxed(&r->closed_head);
    while (head - load_acquire(&r->closed_tail) >= DAY_CLOSED_RING &&
           !load_acquire(&r->thread.stop))
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (head - load_acquire(&r->closed_tail) >= DAY_CLOSED_RING)
        return; /* at the end of the process: the next start meets this mark again */
    r->closed[head % DAY_CLOSED_RING] = *c;
    store_release(&r->closed_head, head + 1); /* E1 */
}

/* All rows below `position` are counted, none above it. */
static void answer_probe(struct day_rdb *r, uint64_t position)
{
    uint64_t want = load_acquire(&r->probe_at); /* P1 */
    if (pst_likely(!want || position < want))
        return;
    store_relaxed(&r->probe_taken, load_relaxed(&r->taken));
    store_relaxed(&r->probe_refused, load_relaxed(&r->refused));
    store_relaxed(&r->probe_found, position);
    store_release(&r->probe_at, 0); /* P2 */
}

static void seen(void *arg, const struct frame *f, uint32_t taken, uint32_t refused)
{
    struct day_rdb *r = arg;
    answer_probe(r, f->position);
    if (f->kind != FRAME_DATA || f->position < r->start)
        return;
    if (PST_FAULT_HIT("rdb.row") && taken)
        taken--; /* the ledger must find it */
    store_relaxed(&r->taken, load_relaxed(&r->taken) + taken);
    if (refused)
        store_relaxed(&r->refused, load_relaxed(&r->refused) + refused);
}

bool day_rdb_next_closed(struct day_rdb *r, struct rdb_closed *out)
{
    uint32_t tail = load_relaxed(&r->closed_tail);
    if (tail == load_acquire(&r->closed_head)) /* E2 */
        return false;
    *out = r->closed[tail % DAY_CLOSED_RING];
    store_release(&r->closed_tail, tail + 1);
    return true;
}

/* ---- the loop ---- */

static void complain(struct day_rdb *r, const struct err *err)
{
    int code = err->code ? err->code : -EIO;
    if (code != load_relaxed(&r->error)) {
        if (!load_relaxed(&r->error)) /* while it stands, control may be reading it */
            snprintf(r->error_text, sizeof r->error_text, "%s", err->text);
        fprintf(stderr, "penstockd: the rdb cannot read the journal: %s; it tries again\n",
                err->text);
    }
    store_release(&r->error, code);
}

/* Every calendar has its rows of that day in the database, or has given them up. */
static bool day_is_written(const struct day_rdb *r, int32_t day)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->nknown; i++)
        n += r->known[i].day == day;
    return n >= r->calendars;
}

static bool open_cursor(struct day_rdb *r)
{
    const struct config *c = r->d->config;
    struct cursor_config cc = {.io = r->io,
                               .dirs = {c->log_directory, c->spill_directory},
                               .prefix = c->log_prefix,
                               .instance = r->d->instance_id,
                               .ring = &r->d->ring,
                               .limit = CURSOR_COMMITTED};
    struct err err = {0};
    struct cursor *x = calloc(1, sizeof *x);
    if (!x || !cursor_open(x, &cc, &err)) {
        if (!x)
            err_set(&err, -ENOMEM, "no memory");
        free(x);
        complain(r, &err);
        return false;
    }
    uint64_t from = r->start;
    for (uint32_t i = 0; i < x->files; i++)
        if (x->file[i]->header.first < from && !day_is_written(r, x->file[i]->header.day))
            from = x->file[i]->header.first;
    if (from < r->start && r->d->options.no_replay)
        fprintf(stderr,
                "penstockd: --no-replay: of the log from position %llu on only the marks are read; "
                "its rows stay out of memory\n",
                (unsigned long long)from);
    else if (from < r->start && !r->d->replay)
        fprintf(stderr,
                "penstockd: the rows in memory are rebuilt from the log, from position %llu\n",
                (unsigned long long)from);
    cursor_seek(x, from);
    r->cursor = x;
    return true;
}

/* --no-replay: of what stood in the log before this start only the marks, so that dates end. */
static enum rdb_round pass_by(struct day_rdb *r, uint32_t *frames)
{
    struct cursor *c = r->cursor;
    const struct frame *f;
    *frames = 0;
    for (uint64_t done = 0; c->position < r->start && done < ROUND_BYTES;) {
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_ERROR)
            return RDB_ROUND_ERROR;
        if (v == CURSOR_WAIT || v == CURSOR_END)
            return RDB_ROUND_IDLE;
        if (v != CURSOR_FRAME)
            continue;
        done += f->length;
        ++*frames;
        if (f->kind == FRAME_MARK)
            rdb_append(r->rdb, c->dict.schemas, f);
    }
    rdb_publish(r->rdb);
    return RDB_ROUND_MORE;
}

static int work(void *arg)
{
    struct day_rdb *r = arg;
    PST_FAULT_STALL("rdb.work");
    if (pst_unlikely(load_relaxed(&r->pause)))
        return 0;
    if (pst_unlikely(!r->cursor) && !open_cursor(r))
        return 0;
    uint32_t frames = 0;
    bool before = r->d->options.no_replay && r->cursor->position < r->start;
    enum rdb_round v =
        before ? pass_by(r, &frames) : rdb_step(r->rdb, r->cursor, ROUND_BYTES, &frames);
    if (v == RDB_ROUND_ERROR)
        complain(r, &r->cursor->err);
    else if (load_relaxed(&r->error))
        store_relaxed(&r->error, 0);
    if (pst_unlikely(!load_relaxed(&r->caught_up)) && r->cursor->position >= r->start)
        store_release(&r->caught_up, true);
    answer_probe(r, r->cursor->position);
    bool more = v != RDB_ROUND_MORE && rdb_idle(r->rdb);
    return frames || more || v == RDB_ROUND_MORE;
}

static void housekeeping(void *arg)
{
    struct day_rdb *r = arg;
    struct status *s = r->d->status;
    struct rdb_figures f;
    rdb_figures(r->rdb, &f);
    store_relaxed(&s->counter[COUNTER_RDB_FRAMES], f.frames);
    store_relaxed(&s->counter[COUNTER_RDB_ROWS], f.rows);
    store_relaxed(&s->counter[COUNTER_RDB_REFUSED], f.refused_rows);
    store_relaxed(&s->counter[COUNTER_RDB_SKIPPED], f.skipped_rows);
    store_relaxed(&s->counter[COUNTER_RDB_BAD_ROWS], f.bad_rows);
    store_relaxed(&s->counter[COUNTER_RDB_LOST], f.lost_ranges);
    store_relaxed(&s->counter[COUNTER_RDB_CUTS], f.cuts);
    store_relaxed(&s->counter[COUNTER_RDB_LAPPED], r->cursor ? r->cursor->lapped : 0);
    store_relaxed(&s->counter[COUNTER_RDB_COLD], f.cold);
}

static const struct thread_ops ops = {.work = work, .housekeeping = housekeeping};

/* ---- life ---- */

static bool list_before(struct day_rdb *r)
{
    const struct daemon *d = r->d;
    const struct recovery *x = d->wiring->recovery;
    const uint32_t n = x ? x->cursor.files : 0;
    r->before = calloc(n + 1, sizeof *r->before);
    for (uint32_t i = 0; r->before && i < n; i++) {
        const struct cursor_file *f = x->cursor.file[i];
        uint64_t next = i + 1 < n ? x->cursor.file[i + 1]->header.first : x->old_end;
        struct io_stat st = {0};
        if (d->options.hard_reset && f->header.day >= d->day)
            continue; /* set aside */
        if (r->io->ops->stat(r->io, f->path, &st) < 0)
            st.size = 0;
        r->before[r->nbefore++] = day_piece(f->header.first, next, st.size);
    }
    return r->before != NULL;
}

bool day_rdb_open(struct day_rdb *r, struct daemon *d, struct err *err)
{
    struct sysinfo si;
    uint64_t ram = sysinfo(&si) ? 0 : (uint64_t)si.totalram * si.mem_unit;
    r->d = d;
    r->start = d->ring.head->start;
    r->memory = config_rdb_bytes(d->config, ram);
    struct rdb_config rc = {.bytes = r->memory,
                            .symbols_max = (uint32_t)d->config->symbols_max,
                            .instance = d->instance_id,
                            .arg = r,
                            .calendar_of = calendar_of,
                            .calendar_named = calendar_named,
                            .take = take,
                            .closed = closed,
                            .seen = seen};
    r->io = io_posix_create(err);
    if (r->io && !list_before(r))
        return err_set(err, -ENOMEM, "no memory");
    r->rdb = r->io ? rdb_create(&rc, err) : NULL;
    return r->rdb != NULL;
}

bool day_rdb_start(struct day_rdb *r, struct err *err)
{
    const struct topo_thread *t = topo_thread("rdb");
    const struct config *c = r->d->config;
    thread_define(&r->thread, r->d->status, t->name, &ops, r, &r->d->clock,
                  c->wait == CONFIG_SLEEP ? WAIT_SLEEP : WAIT_ADAPTIVE, t->nice, (int)c->cpus.rdb);
    r->thread.idle_us = 1000;
    r->thread.pace_us = 200;
    r->thread.bell = wiring_bell(r->d, &r->d->wiring->rdb_bell, BELL_TAIL, -1);
    r->running = thread_start(&r->thread, err);
    return r->running;
}

void day_rdb_stop(struct day_rdb *r, int64_t deadline_ns)
{
    int64_t end = clock_monotonic() + deadline_ns;
    struct rdb_figures f;
    while (r->running && !load_relaxed(&r->pause)) {
        rdb_figures(r->rdb, &f);
        if (f.position >= ring_tail(&r->d->ring) || clock_monotonic() > end)
            break;
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    if (r->running)
        thread_stop(&r->thread);
    r->running = false;
}

void day_rdb_close(struct day_rdb *r)
{
    if (r->cursor)
        cursor_close(r->cursor);
    free(r->cursor);
    if (r->rdb)
        rdb_close(r->rdb);
    io_destroy(r->io);
    free(r->known);
    free(r->before);
    memset(r, 0, sizeof *r);
}
