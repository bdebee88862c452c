/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "buffer.h"
#include "print.h"
#include "core/civil.h"
#include "dataplane/divert.h"
#include "day_parts.h"
#include "ledger.h"
#include "retention.h"
#include "storage/log.h"
#include "wiring.h"
#include "wiring_parts.h"

#define TICK_NS  NS_PER_S
#define RETRY_NS (600 * NS_PER_S)

/* ---- may it go? ---- */

/* Ended and written, it and all before it. */
static bool day_over(const struct day *y, int32_t day)
{
    const struct catalogue *c = y->catalogue;
    const char *first = config_calendar(y->d->config, 0)->name;
    bool known = false;
    for (unsigned i = 0; i < c->ndays; i++) {
        const struct catalogue_day *e = &c->day[i];
        if (e->day > day)
            continue;
        if (e->state != DAY_WRITTEN || !e->database)
            return false;
        known |= e->day == day && !strcmp(e->calendar, first);
    }
    for (unsigned i = 0; i < wiring_calendars(y->d); i++) {
        struct wiring_calendar w;
        wiring_calendar(y->d, i, &w);
        if (w.open <= day)
            return false;
    }
    return known;
}

/* Rows that its partitions must hold at least. */
static uint64_t rows_of(const struct day *y, int32_t day)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < y->catalogue->ndays; i++)
        if (y->catalogue->day[i].day == day)
            n += y->catalogue->day[i].rows;
    return n;
}

/* No event that is active began below it. */
static bool events_above(const struct day *y, uint64_t position)
{
    const struct divert *v = y->d->buffers ? buffers_divert(y->d->buffers) : NULL;
    for (unsigned i = 0; v && i < DIVERT_EVENTS; i++)
        if (divert_state(&v->event[i]) != DIVERT_FREE &&
            load_relaxed(&v->event[i].start) < position)
            return false;
    return true;
}

static bool newest(const struct catalogue *c, unsigned i)
{
    for (unsigned k = i + 1; k < c->nfiles; k++)
        if (c->file[k].stream == c->file[i].stream)
            return false;
    return true;
}

static bool readers_past(struct day *y, uint64_t position)
{
    struct day_rdb_figures f;
    day_rdb_figures(y, &f);
    return f.position >= position && !f.rebuild_to && ledger_past(y->d->ledger, position);
}

/* NULL: it may. */
static const char *held(struct day *y, unsigned i, int32_t before, bool *again)
{
    const struct catalogue_file *f = &y->catalogue->file[i];
    const struct ring_head *h = y->d->ring.head;
    uint64_t last = f->last ? f->last : h->start; /* a crash left it: all that it holds is below */
    if (!y->write)
        return "there is no database";
    if (!wiring_listed(y->d))
        return "the files are being listed";
    if (f->day >= before)
        return "its date is not older than that";
    if (!day_over(y, f->day))
        return "its date, or one before it, has not ended or is not written to the database";
    if (newest(y->catalogue, i) || (f->state == CATALOGUE_OPEN && f->first >= h->start))
        return "it is the newest of its stream";
    if (!events_above(y, last))
        return "a buffering event is active that began below its end";
    if (!readers_past(y, last))
        return "the ledger or the memory has not read it";
    struct day_keep *k = &y->keep;
    for (unsigned n = 0; n < PST_COUNT(k->verified); n++)
        if (k->used[n] && k->verified[n] == f->day)
            return NULL;
    if (k->wrong_until > clock_monotonic() && k->wrong == f->day)
        return "the database does not hold its date as it was written";
    if (!k->asked) {
        k->asked = true;
        k->day = f->day;
        k->rows = rows_of(y, f->day);
    }
    *again = true;
    return "its date is being verified in the database";
}

/* ---- verified ---- */

struct day_job *retention_job(struct day *y)
{
    struct day_keep *k = &y->keep;
    if (!k->asked || k->given)
        return NULL;
    struct day_job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->verify = true;
    j->slot = -1;
    j->day = k->day;
    j->rows = k->rows;
    k->given = true;
    return j;
}

void retention_verified(struct day *y, const struct day_outcome *o)
{
    struct day_keep *k = &y->keep;
    char date[CIVIL_TEXT];
    k->asked = k->given = false;
    if (!o->err.code) {
        unsigned n = k->next++ % PST_COUNT(k->verified);
        k->verified[n] = o->job->day;
        k->used[n] = true;
        return;
    }
    k->wrong = o->job->day;
    k->wrong_until = clock_monotonic() + RETRY_NS;
    fprintf(stderr, "penstockd: the log of %s stays: %s\n", civil_format(o->job->day, date),
            o->err.text);
}

/* ---- away ---- */

static uint64_t remove_file(struct day *y, const struct catalogue_file *f)
{
    struct daemon *d = y->d;
    const struct config *c = d->config;
    struct io *io = d->wiring->io;
    const char *dir = f->spilled ? c->spill_directory : c->log_directory;
    char path[4096], date[CIVIL_TEXT];
    struct io_stat s = {0};
    struct err err = {0};
    if (!dir || snprintf(path, sizeof path, "%s/%s", dir, f->name) >= (int)sizeof path)
        return 0;
    int r = io->ops->stat(io, path, &s);
    bool again = !f->spilled && r == 0 && c->log_preallocate &&
                 s.size >= (uint64_t)c->log_preallocate &&
                 s.size <= 2 * (uint64_t)c->log_preallocate &&
                 log_recycle(io, dir, c->log_prefix, f->name, &err);
    if (!again && r == 0)
        r = io->ops->unlink(io, path);
    if (r < 0 && r != -ENOENT) {
        y->keep.wrong = f->day;
        y->keep.wrong_until = clock_monotonic() + RETRY_NS;
        fprintf(stderr, "penstockd: log file %s cannot be removed: %s\n", path, strerror(-r));
        return 0;
    }
    io->ops->sync_dir(io, dir);
    catalogue_remove_file(y->catalogue, f->name);
    count_add(d->status, LOG_EXPIRED, 1);
    fprintf(stderr, "penstockd: log file %s (%s) %s: %s is in the database, verified\n", f->name,
            print_bytes((int64_t)s.size), again ? "becomes the next one" : "removed",
            civil_format(f->day, date));
    return s.size ? s.size : 1;
}

uint64_t retention_free(struct day *y, int32_t before, bool *again, const char **why)
{
    *again = false;
    *why = "there is none";
    for (unsigned i = 0; i < y->catalogue->nfiles; i++) {
        if (y->catalogue->file[i].stream > STREAM_INTERVAL)
            continue;
        *why = held(y, i, before, again);
        if (*why)
            return 0;
        const struct catalogue_file f = y->catalogue->file[i];
        return remove_file(y, &f);
    }
    return 0;
}

void retention_tick(struct day *y)
{
    int64_t now = clock_monotonic(), keep = y->d->config->log_keep;
    if (!keep || y->d->replay || now < y->keep.at)
        return;
    int32_t open = INT32_MAX;
    for (unsigned i = 0; i < wiring_calendars(y->d); i++) {
        struct wiring_calendar w;
        wiring_calendar(y->d, i, &w);
        open = w.open < open ? w.open : open;
    }
    bool again;
    const char *why;
    uint64_t bytes = retention_free(y, open - (int32_t)keep, &again, &why);
    y->keep.at = bytes ? now : now + TICK_NS; /* one file a turn of the loop */
}
