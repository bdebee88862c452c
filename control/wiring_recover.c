/* SPDX-License-Identifier: Apache-2.0 */
/* What the state and log directories hold: lock, lease, catalogue, and where everything goes on. */
#include <errno.h>
#include <fcntl.h>
#include "calendar.h"
#include "storage/log_file.h"
#include "wiring_parts.h"

#define FIRST_POSITION 4096u /* 0 stays free: it means "none" */

struct unreadable {
    struct daemon *d;
    const char *dir;
};

/* A file of the log's names whose header is gone: recovery passes over it, people must know. */
static bool look_at(void *arg, const char *name)
{
    struct unreadable *u = arg;
    struct daemon *d = u->d;
    struct io *io = d->wiring->io;
    static _Alignas(8) uint8_t head[LOG_PREAMBLE];
    char path[4096];
    struct log_name parsed;
    struct log_file_header h;
    if (!log_name_parse(&parsed, d->config->log_prefix, name) ||
        snprintf(path, sizeof path, "%s/%s", u->dir, name) >= (int)sizeof path)
        return true;
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    int64_t n = fd < 0 ? fd : io->ops->pread(io, fd, head, sizeof head, 0);
    if (fd >= 0)
        io->ops->close(io, fd);
    bool begun = false;
    for (int64_t i = 0; i < n && !begun; i++)
        begun = head[i] != 0;
    if (!begun || log_file_header_find(&h, head, (size_t)n, 0) != LOG_HEADER_NONE)
        return true;
    fprintf(stderr,
            "penstockd: %s: both copies of its header are damaged: what it holds is not read; keep "
            "it aside\n",
            path);
    alarm_signal(d->status, ALARM_LOG_DAMAGE);
    return true;
}

static bool run_recovery(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    struct recovery_config rc = {.io = w->io,
                                 .dirs = {c->log_directory, c->spill_directory},
                                 .prefix = c->log_prefix,
                                 .instance = d->instance_id,
                                 .lease_end = lease_end(&w->lease),
                                 .check_closed = true,
                                 .closed = w->lease.closed,
                                 .symbols = &d->symbols,
                                 .schemas = d->schemas};
    w->recovery = calloc(1, sizeof *w->recovery);
    if (!w->recovery || !recovery_run(w->recovery, &rc, err))
        return err->text[0] ? false : err_set(err, -ENOMEM, "no memory for recovery");
    for (unsigned i = 0; i < CURSOR_DIRS && rc.dirs[i]; i++) {
        struct unreadable u = {d, rc.dirs[i]};
        w->io->ops->list(w->io, rc.dirs[i], look_at, &u);
    }
    const struct recovery *r = w->recovery;
    w->restarted = !r->empty && !r->clean;
    w->clean = r->clean;
    w->old_end = r->old_end;
    /* Without any log an old lease still tells what may have been shown to somebody. */
    w->start = !r->empty ? r->start : lease_end(&w->lease) ? lease_end(&w->lease) : FIRST_POSITION;
    w->last_time = r->empty ? INT64_MIN : r->last_time;
    if (!d->replay)
        d->day = r->empty || r->open_day < 0 ? calendar_day(&c->main_calendar, clock_now(&d->clock))
                                             : r->open_day;
    if (r->empty)
        return true;
    w->states = recovery_states(r, &w->states_bytes);
    fprintf(
        stderr,
        "penstockd: recovered %u files in %.0f ms: %s end at %llu, going on at %llu; %u sessions, "
        "%u symbols%s\n",
        r->files, (double)r->took / 1e6, r->clean ? "clean" : "unclean",
        (unsigned long long)r->old_end, (unsigned long long)r->start, r->sessions, r->symbols,
        r->symbols_lost ? ", some symbols lost" : "");
    if (r->torn_bytes)
        fprintf(stderr, "penstockd: %llu bytes of %u torn tails saved aside as *.torn-*\n",
                (unsigned long long)r->torn_bytes, r->torn_files);
    for (uint32_t i = 0; i < r->ranges; i++) {
        fprintf(stderr, "penstockd: positions %llu to %llu stand in no file: %s\n",
                (unsigned long long)r->range[i].from, (unsigned long long)r->range[i].to,
                r->range[i].damage ? "DAMAGE, they had been durable"
                                   : "in flight at the power cut");
        if (r->range[i].damage)
            alarm_signal(d->status, ALARM_LOG_DAMAGE);
    }
    return true;
}

bool wiring_recover(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    w->io = io_posix_create(err);
    if (!w->io)
        return false;
    if (!lock_take(&w->lock, w->io, c->state_directory, c->log_directory, c->instance, err))
        return false;
    w->locked = true;
    struct err why = {0};
    bool sound = lease_open(&w->lease, w->io, c->state_directory, &why);
    if (!sound && !w->lease.instance)
        return err_set(err, why.code, "%s", why.text);
    d->instance_id = w->lease.instance;
    if (!catalogue_open(&w->catalogue, w->io, c->state_directory, err))
        return false;
    w->catalogued = true;
    if (!run_recovery(d, err))
        return false;
    if (!sound) { /* damaged: the log's own end, two leases further, is safe */
        fprintf(stderr, "penstockd: %s; taken from the log instead\n", why.text);
        if (!lease_restore(&w->lease, w->old_end > w->start ? w->old_end : w->start, err))
            return false;
        w->start = lease_end(&w->lease);
        w->restarted = !w->recovery->empty;
        w->clean = false;
    }
    /* Nothing may be written above the lease that the state file holds. */
    return lease_renew(&w->lease, w->start, err);
}

static uint32_t symbol_id(void *arg, const char *text, uint32_t len)
{
    struct rows *r = arg;
    return rows_symbol(r, text, len);
}

/* Sessions go on where the log says; the feed makes the `down` gap at its first packet. What holes
 * in the log cost is journaled now. */
bool wiring_resume_sessions(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct recovery *r = w->recovery;
    for (uint32_t i = 0; i < r->sessions; i++) {
        const struct recovery_session *s = &r->session[i];
        struct daemon_feed *f = NULL;
        for (unsigned k = 0; k < d->nfeeds; k++)
            if (!strcmp(d->feeds[k].config->name, s->feed))
                f = &d->feeds[k];
        if (!f)
            continue; /* a feed that is no longer configured */
        struct feed_position p = {.day = s->day,
                                  .epoch = s->epoch,
                                  .first = s->first,
                                  .next = s->next,
                                  .send_time = s->send,
                                  .state = s->state == RECOVERY_LIVE    ? SESSION_LIVE
                                           : s->state == RECOVERY_ENDED ? SESSION_ENDED
                                                                        : SESSION_REPLACED};
        snprintf(p.text, sizeof p.text, "%s", s->session);
        if (!feed_resume(f->feed, &p)) {
            fprintf(stderr,
                    "penstockd: feed %s: no slot for session %s of the log: raise max_sessions\n",
                    s->feed, s->session);
            continue;
        }
        struct rows *rows = w->lcore[f->rx].rx.out;
        for (const struct recovery_piece *x = s->pieces; x; x = x->next)
            feed_resume_decoder(f->feed, &p, x->json, x->len, symbol_id, rows);
    }
    struct rows *rows = &w->appender.rows;
    for (uint32_t i = 0; i < r->sources; i++) {
        const struct recovery_source *s = &r->source[i];
        uint32_t name = rows_symbol(rows, s->name, (uint32_t)strlen(s->name));
        if (name != SYMBOL_REFUSED)
            sources_restore(w->appender.sources, name, &s->p);
    }
    if (r->sources_doubtful)
        fprintf(stderr,
                "penstockd: %u sources may send rows again that the log holds, or miss some that "
                "it lost\n",
                r->sources_doubtful);
    for (uint32_t i = 0; i < r->gaps; i++) {
        const struct recovery_gap *g = &r->gap[i];
        struct gap x = {.first = g->first,
                        .last = g->last,
                        .reason = "lost_log",
                        .time = clock_now(&d->clock),
                        .day = g->day};
        x.feed = rows_symbol(rows, g->feed, (uint32_t)strlen(g->feed));
        x.session = rows_symbol(rows, g->session, (uint32_t)strlen(g->session));
        rows->ops->gap(rows, &x);
    }
    (void)err;
    return true;
}

/* The ledger recounts from the first day of any session that is still alive. */
int32_t wiring_first_day(const struct daemon *d)
{
    int32_t day = d->day;
    const struct recovery *r = d->wiring->recovery;
    for (uint32_t i = 0; r && i < r->sessions; i++)
        if (r->session[i].state == RECOVERY_LIVE && r->session[i].day < day)
            day = r->session[i].day;
    return day;
}

/* All is durable, nothing runs: the next start may go on right here. */
void wiring_closed(struct daemon *d)
{
    struct err err;
    if (!lease_close(&d->wiring->lease, ring_tail(&d->ring), &err))
        fprintf(stderr, "penstockd: %s; the next start takes this stop for an unclean one\n",
                err.text);
}

void wiring_recover_close(struct daemon *d)
{
    struct wiring *w = d->wiring;
    if (w->recovery) {
        recovery_free(w->recovery);
        free(w->recovery);
    }
    if (w->catalogued)
        catalogue_close(&w->catalogue);
    if (w->locked)
        lock_drop(&w->lock);
    io_destroy(w->io);
}

void wiring_catalogue(struct daemon *d)
{
    static const enum catalogue_file_state states[] = {[LOG_OPENED] = CATALOGUE_OPEN,
                                                       [LOG_CLOSED] = CATALOGUE_CLOSED,
                                                       [LOG_GAVE_UP] = CATALOGUE_POISONED};
    struct wiring *w = d->wiring;
    struct log_event e;
    while (log_event_next(w->log, &e)) {
        int bad;
        if (e.type == LOG_REMOVED) {
            bad = catalogue_remove_file(&w->catalogue, e.name);
        } else {
            struct catalogue_file f = {.spilled = e.spilled,
                                       .stream = e.stream,
                                       .day = e.day,
                                       .first = e.first,
                                       .last = e.last,
                                       .state = states[e.type]};
            snprintf(f.name, sizeof f.name, "%s", e.name);
            bad = catalogue_put_file(&w->catalogue, &f);
        }
        if (e.error)
            fprintf(stderr,
                    "penstockd: log file %s was given up: %s; what was not durable goes into a "
                    "fresh one\n",
                    e.name, strerror(-e.error));
        if (bad < 0 && bad != w->catalogue_errno)
            fprintf(stderr, "penstockd: catalogue in %s: %s; it can be rebuilt from the files\n",
                    d->config->state_directory, strerror(-bad));
        w->catalogue_errno = bad < 0 ? bad : 0;
    }
}

/* Long before the lease ends: at half. A full state disk must not stop the journal at once. */
void wiring_lease(struct daemon *d)
{
    struct wiring *w = d->wiring;
    uint64_t tail = ring_tail(&d->ring);
    if (lease_end(&w->lease) > tail && lease_end(&w->lease) - tail > LEASE_BYTES / 2)
        return;
    struct err err;
    bool ok = lease_renew(&w->lease, tail, &err);
    if (!ok && !w->lease_warned)
        fprintf(stderr, "penstockd: %s\n", err.text);
    w->lease_warned = !ok;
}

bool wiring_lease_warned(const struct wiring *w)
{
    return w->lease_warned;
}
