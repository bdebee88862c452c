/* SPDX-License-Identifier: Apache-2.0 */
/* What the state and log directories hold: lock, lease, catalogue, and where everything goes on. */
#include <errno.h>
#include <fcntl.h>
#include "buffer.h"
#include "calendar.h"
#include "storage/log_file.h"
#include "wiring_parts.h"

#define FIRST_POSITION 4096u /* 0 stays free: it means "none" */

static void say(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "penstockd: %s\n", line);
}

static int32_t decide(void *arg, struct pst_range *range, char *sentence, uint32_t room)
{
    const struct function *f = &((struct daemon *)arg)->wiring->recovery_function;
    return f->f->recovery(&function_host, range, &f->args, sentence, room);
}

/* Up to where the log is known to have been durable: closed files, and where a clean stop left it.
 */
static uint64_t noted(const struct wiring *w)
{
    uint64_t to = w->lease.closed;
    for (unsigned i = 0; i < w->catalogue.nfiles; i++)
        if (w->catalogue.file[i].state == CATALOGUE_CLOSED && w->catalogue.file[i].last > to)
            to = w->catalogue.file[i].last;
    return to;
}

/* Trouble of the kind that people must look at, though the service goes on. */
static bool alarming(const struct recovery_damage *x)
{
    return (x->lost && x->was_durable && x->kind != PST_NO_HEADER) || x->kind == PST_UNREADABLE ||
           x->kind == PST_CONFLICT || (x->kind == PST_NO_HEADER && (x->error || x->was_durable));
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
                                 .schemas = d->schemas,
                                 .facts = w->facts,
                                 .noted = noted(w),
                                 .quarantine = w->quarantine,
                                 .decide = decide,
                                 .say = say,
                                 .arg = d};
    const char *function = c->log_recovery_function;
    struct err why;
    if (!function_load(&w->recovery_function, PST_FUNCTION_RECOVERY, function, &why))
        return err_set(err, why.code, "log_recovery_function: %s", why.text);
    rc.decide_all = strcmp(function, "salvage") != 0;
    snprintf(w->facts, sizeof w->facts, "%s/%s", c->state_directory, FACTS_NAME);
    snprintf(w->quarantine, sizeof w->quarantine, "%s/quarantine", c->state_directory);
    w->recovery = calloc(1, sizeof *w->recovery);
    if (!w->recovery || !recovery_run(w->recovery, &rc, err))
        return err->text[0] ? false : err_set(err, -ENOMEM, "no memory for recovery");
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
    for (uint32_t i = 0; i < r->damages; i++)
        if (alarming(&r->damage[i])) {
            alarm_signal(d->status, ALARM_LOG_DAMAGE);
            break;
        }
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
    for (uint32_t i = 0; i < r->gaps; i++)
        fprintf(stderr, "penstockd: %s %s: messages %llu to %llu were lost with the log\n",
                r->gap[i].feed, r->gap[i].session, (unsigned long long)r->gap[i].first,
                (unsigned long long)r->gap[i].last);
    return true;
}

/* Files that the start found and the catalogue does not know: a kill came before their line, or it
 * was lost. */
static void list_found(struct wiring *w)
{
    const struct cursor *c = &w->recovery->cursor;
    w->found = calloc(c->files + 1, sizeof *w->found);
    for (uint32_t i = 0; w->found && i < c->files; i++) {
        const struct log_file_header *h = &c->file[i]->header;
        const char *name = strrchr(c->file[i]->path, '/') + 1;
        if (catalogue_file(&w->catalogue, name))
            continue;
        struct catalogue_file *f = &w->found[w->nfound++];
        *f = (struct catalogue_file){.spilled = h->spilled,
                                     .stream = h->stream,
                                     .day = h->day,
                                     .first = h->first,
                                     .state = CATALOGUE_OPEN};
        snprintf(f->name, sizeof f->name, "%s", name);
    }
}

/* Every calendar that knows of that date has written it down; `database`: to the database. */
static bool written(const struct catalogue *c, int32_t day, bool *database)
{
    bool all = false;
    *database = true;
    for (unsigned i = 0; i < c->ndays; i++) {
        if (c->day[i].day != day)
            continue;
        if (c->day[i].state != DAY_WRITTEN)
            return false;
        all = true;
        *database = *database && c->day[i].database;
    }
    return all;
}

/*
 * Files that the catalogue knows and nobody has: where the log begins is nowhere else noted, so
 * that without this the loss of its first file would go unseen. Told once: the line goes from the
 * catalogue. Not told: what the database holds (retention was killed before its line, or somebody
 * archived it), buffering events' files (they change their names, and a hole in their positions
 * tells), and what truncation took away just now.
 */
static void tell_vanished(struct daemon *d)
{
    struct wiring *w = d->wiring;
    const char *dirs[] = {d->config->log_directory, d->config->spill_directory};
    bool alarm = false;
    for (unsigned i = w->catalogue.nfiles; i-- > 0 && !w->recovery->cut_files && !d->replay;) {
        const struct catalogue_file f = w->catalogue.file[i];
        struct log_name n;
        struct io_stat st;
        bool there = false, database = false;
        for (unsigned k = 0; k < 2 && dirs[k] && !there; k++) {
            char path[1200];
            snprintf(path, sizeof path, "%s/%s", dirs[k], f.name);
            int rc = w->io->ops->stat(w->io, path, &st);
            there = rc != -ENOENT && (rc < 0 || st.size > 0); /* a disk that is gone says EIO */
        }
        if (there || !log_name_parse(&n, d->config->log_prefix, f.name) || n.event[0])
            continue;
        bool saved = written(&w->catalogue, f.day, &database);
        if (!(saved && database)) {
            fprintf(stderr,
                    "penstockd: %s is gone from %s%s%s: it held the log from position %llu on%s; "
                    "put it back from a copy and start again, or go on without it\n",
                    f.name, dirs[0], dirs[1] ? " and " : "", dirs[1] ? dirs[1] : "",
                    (unsigned long long)f.first,
                    saved ? ", of a date that has ended" : ", and its date is not written yet");
            alarm = alarm || !saved;
        }
        catalogue_remove_file(&w->catalogue, f.name);
    }
    if (alarm)
        alarm_signal(d->status, ALARM_LOG_DAMAGE);
}

bool wiring_enter(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    w->io = io_posix_create(err);
    if (!w->io)
        return false;
    if (!lock_take(&w->lock, w->io, c->state_directory, c->log_directory, c->instance, err))
        return false;
    w->locked = true;
    w->lease_sound = lease_open(&w->lease, w->io, c->state_directory, &w->lease_why);
    if (!w->lease_sound && !w->lease.instance)
        return err_set(err, w->lease_why.code, "%s", w->lease_why.text);
    d->instance_id = w->lease.instance;
    if (!catalogue_open(&w->catalogue, w->io, c->state_directory, err))
        return false;
    w->catalogued = true;
    return wiring_late_open(w, err);
}

bool wiring_recover(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    if (!run_recovery(d, err))
        return false;
    tell_vanished(d);
    list_found(w);
    if (!w->lease_sound) { /* damaged: the log's own end, two leases further, is safe */
        fprintf(stderr, "penstockd: %s; taken from the log instead\n", w->lease_why.text);
        if (!lease_restore(&w->lease, w->old_end > w->start ? w->old_end : w->start, err))
            return false;
        w->start = lease_end(&w->lease);
        w->restarted = !w->recovery->empty;
        w->clean = false;
    }
    if (d->options.hard_reset && !wiring_hard_reset(d, err))
        return false;
    if (d->options.no_replay && !w->recovery->empty)
        w->restarted = true;
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
    for (uint32_t i = 0; i < r->gaps; i++)
        wiring_journal_gap(d, rows, &r->gap[i]);
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
    free(w->found);
    if (w->recovery) {
        recovery_free(w->recovery);
        free(w->recovery);
    }
    wiring_late_close(w);
    function_unload(&w->recovery_function);
    function_unload(&w->initial_function);
    if (w->catalogued)
        catalogue_close(&w->catalogue);
    if (w->locked)
        lock_drop(&w->lock);
    io_destroy(w->io);
}

bool wiring_listed(const struct daemon *d)
{
    return !d->wiring->nfound;
}

void wiring_catalogue(struct daemon *d)
{
    static const enum catalogue_file_state states[] = {[LOG_OPENED] = CATALOGUE_OPEN,
                                                       [LOG_CLOSED] = CATALOGUE_CLOSED,
                                                       [LOG_GAVE_UP] = CATALOGUE_POISONED};
    struct wiring *w = d->wiring;
    struct log_event e;
    /* one a turn: each line is synced */
    if (w->nfound && catalogue_put_file(&w->catalogue, &w->found[w->nfound - 1]) == 0)
        w->nfound--;
    while (log_event_next(w->log, &e)) {
        int bad;
        buffers_news(d, &e);
        if (e.type == LOG_RENAMED)
            continue;
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
