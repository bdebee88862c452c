/* SPDX-License-Identifier: Apache-2.0 */
/* Frames to messages, days to files, errors to later. */
#include "kdb_live.h"

#include <errno.h>
#include <limits.h>
#include "core/clock.h"
#include "kdb_live_parts.h"

#define WRITE_MOST (1u << 20)
#define SAVE_NS    NS_PER_S
#define CHECK_NS   NS_PER_S

_Atomic bool kdb_live_missed;

struct kdb_live *kdb_live_open(const struct kdb_live_config *c, struct err *err)
{
    struct kdb_live *k = calloc(1, sizeof *k);
    if (!k) {
        err_set(err, -ENOMEM, "no memory for the kdb+ log");
        return NULL;
    }
    k->cfg = *c;
    snprintf(k->directory, sizeof k->directory, "%s", c->directory);
    snprintf(k->form, sizeof k->form, "%s %s", c->timespan ? "timespan" : "timestamp",
             c->zone ? "zone" : "UTC");
    kdb_columns_init(&k->columns);
    k->columns.timespan = c->timespan;
    k->columns.zone = c->zone;
    k->log.fd = k->verify_fd = -1;
    k->at.day = k->old_day = LIVE_NO_DAY;
    pthread_mutex_init(&k->lock, NULL);
    k->point.messages = PST_NULL_LONG;
    k->figures.on = true;
    return k;
}

void kdb_live_close(struct kdb_live *k)
{
    struct err err;
    if (!k)
        return;
    if (k->log.fd >= 0 && !k->anew)
        live_save(k, &err); /* without it the next start has a second's more to do */
    kdb_log_finish(&k->log, false, &err);
    if (k->verify_fd >= 0)
        k->cfg.io->ops->close(k->cfg.io, k->verify_fd);
    if (k->open)
        cursor_close(&k->cursor);
    kdb_columns_free(&k->columns);
    kdb_out_free(&k->pending);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* ---- what others see ---- */

/* position: where a subscriber that has replayed the file goes on. */
static void publish(struct kdb_live *k, uint64_t position)
{
    pthread_mutex_lock(&k->lock);
    k->point.messages = (int64_t)k->log.messages;
    k->point.position = position;
    k->point.day = k->at.day;
    snprintf(k->point.path, sizeof k->point.path, "%s", k->log.path);
    k->ready = true;
    k->figures.ready = true;
    pthread_mutex_unlock(&k->lock);
}

static void withdraw(struct kdb_live *k)
{
    pthread_mutex_lock(&k->lock);
    k->ready = k->figures.ready = false;
    k->figures.rebuilt++;
    pthread_mutex_unlock(&k->lock);
}

static void show(struct kdb_live *k)
{
    pthread_mutex_lock(&k->lock);
    k->figures.position = k->at.position;
    k->figures.messages = k->log.messages;
    k->figures.bytes = k->log.bytes;
    k->figures.rows = k->rows;
    pthread_mutex_unlock(&k->lock);
}

static bool stopped(struct kdb_live *k, int64_t now, const struct err *err)
{
    pthread_mutex_lock(&k->lock);
    k->figures.stopped = true;
    k->figures.retries++;
    snprintf(k->figures.why, sizeof k->figures.why, "%s", err->text);
    pthread_mutex_unlock(&k->lock);
    k->retry_at = now + k->cfg.retry_ns;
    return false;
}

enum kdb_live_ready kdb_live_point(struct kdb_live *k, struct kdb_live_point *out)
{
    *out = (struct kdb_live_point){.messages = PST_NULL_LONG};
    if (!k) {
        store_relaxed(&kdb_live_missed, true);
        return KDB_LIVE_OFF;
    }
    pthread_mutex_lock(&k->lock);
    bool ready = k->ready, off = k->figures.stopped;
    if (ready)
        *out = k->point;
    pthread_mutex_unlock(&k->lock);
    return ready ? KDB_LIVE_READY : off ? KDB_LIVE_OFF : KDB_LIVE_WAIT;
}

void kdb_live_figures(struct kdb_live *k, struct kdb_live_figures *out)
{
    *out = (struct kdb_live_figures){0};
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    *out = k->figures;
    pthread_mutex_unlock(&k->lock);
}

/* ---- where it goes on ---- */

static bool all_ended(const struct kdb_live *k, int32_t day)
{
    for (unsigned i = 0; i < k->cfg.calendars; i++)
        if (k->at.ended[i] == LIVE_NO_DAY || k->at.ended[i] < day)
            return false;
    return k->cfg.calendars > 0;
}

static int32_t closed(const struct kdb_live *k)
{
    int32_t day = k->at.ended[0];
    for (unsigned i = 1; i < k->cfg.calendars; i++)
        day = k->at.ended[i] < day ? k->at.ended[i] : day;
    return day;
}

/* The file is written anew: from where its rows begin. */
static void start_anew(struct kdb_live *k)
{
    struct err err;
    withdraw(k);
    kdb_log_finish(&k->log, false, &err);
    if (k->verify_fd >= 0)
        k->cfg.io->ops->close(k->cfg.io, k->verify_fd);
    k->log.fd = k->verify_fd = -1;
    k->pending.len = 0;
    k->pending_messages = k->pending_rows = 0;
    k->roll = false;
    k->at.position = k->at.first;
    k->anew = true;
    k->state = LIVE_SEEK;
    if (k->open)
        cursor_close(&k->cursor);
    k->open = false;
    /* which calendars had ended their dates at `first` is seen again in the frames */
    for (unsigned i = 0; i < k->cfg.calendars; i++)
        if (k->at.day != LIVE_NO_DAY && k->at.ended[i] >= k->at.day)
            k->at.ended[i] = LIVE_NO_DAY;
}

static bool find(struct kdb_live *k, struct err *err)
{
    struct io *io = k->cfg.io;
    char real[PATH_MAX];
    int r = io->ops->mkdir(io, k->directory, 0755);
    if (r && r != -EEXIST)
        return err_set(err, r, "%s: %s", k->directory, strerror(-r));
    if (*k->directory != '/' && realpath(k->directory, real) && strlen(real) < sizeof k->directory)
        snprintf(k->directory, sizeof k->directory, "%s", real);
    int found = live_find(k, &k->at, err);
    if (found < 0)
        return false;
    if (!found) {
        k->at =
            (struct live_mark){.day = LIVE_NO_DAY, .first = k->cfg.first, .position = k->cfg.first};
        for (unsigned i = 0; i < DAYS_CALENDARS; i++)
            k->at.ended[i] = LIVE_NO_DAY;
        k->anew = true;
        k->state = LIVE_SEEK;
    } else if (all_ended(k, k->at.day)) { /* its end was seen; the next file was not made yet */
        k->at.first = k->at.position;
        k->at.day = LIVE_NO_DAY;
        k->anew = true;
        k->state = LIVE_SEEK;
    } else {
        k->state = LIVE_VERIFY;
    }
    return true;
}

static void verify(struct kdb_live *k)
{
    int v = live_verify(k);
    if (v > 0)
        k->state = LIVE_SEEK;
    else if (v < 0)
        start_anew(k);
}

static bool seek(struct kdb_live *k, struct err *err)
{
    struct cursor_config c = {.io = k->cfg.io,
                              .prefix = k->cfg.prefix,
                              .instance = k->cfg.instance,
                              .ring = k->cfg.ring,
                              .limit = CURSOR_DURABLE};
    memcpy(c.dirs, k->cfg.dirs, sizeof c.dirs);
    if (!k->open && !cursor_open(&k->cursor, &c, err))
        return false;
    k->open = true;
    if (k->at.position && !cursor_seek(&k->cursor, k->at.position))
        return err_set(err, k->cursor.err.code, "%s", k->cursor.err.text);
    k->at.position = k->at.position ? k->at.position : k->cursor.position;
    k->at.first = k->at.first ? k->at.first : k->at.position;
    k->pending_end = k->at.position;
    k->state = LIVE_RUN;
    return true;
}

/* ---- the file ---- */

/* What is pending, then what follows from it. */
static bool flush(struct kdb_live *k, struct err *err)
{
    if (k->pending_messages) {
        if (k->log.fd < 0 && !live_create(k, err))
            return false;
        if (!kdb_log_write_many(&k->log, k->pending.data, k->pending.len, k->pending_messages, err))
            return false;
        k->rows += k->pending_rows;
        k->pending.len = 0;
        k->pending_messages = k->pending_rows = 0;
    }
    k->at.position = k->pending_end;
    return true;
}

static bool save(struct kdb_live *k, int64_t now, struct err *err)
{
    if (k->log.fd < 0 || k->anew || k->at.position == k->saved.position)
        return true;
    k->saved_ns = now;
    return live_save(k, err);
}

/* The mark that ended the day stands below pending_end; the file is closed, the next one comes with
 * its first rows or when the journal has been read. */
static bool roll(struct kdb_live *k, struct err *err)
{
    if (k->log.fd >= 0) {
        if (k->anew && !live_complete(k, err))
            return false;
        if (!live_save(k, err) || !kdb_log_finish(&k->log, true, err))
            return false;
    }
    k->log = (struct kdb_log_writer){.fd = -1};
    k->rows = 0;
    k->old_day = k->at.day;
    k->at.day = LIVE_NO_DAY;
    k->at.first = k->at.position;
    k->anew = !k->ready; /* still reading up: under the other name as well */
    k->roll = false;
    return true;
}

/* A file for a day that has no rows yet: a replay of 0 messages wants one. */
static bool empty_file(struct kdb_live *k, struct err *err)
{
    int32_t open = k->cfg.open_day ? load_relaxed(k->cfg.open_day) : 0;
    if (k->log.fd >= 0)
        return true;
    if (k->at.day == LIVE_NO_DAY)
        k->at.day = closed(k) != LIVE_NO_DAY && open <= closed(k) ? closed(k) + 1 : open;
    return live_create(k, err);
}

/* ---- frames ---- */

static bool message(struct kdb_live *k, struct err *err)
{
    size_t was = k->pending.len;
    if (!k->columns.rows)
        return true;
    if (!kdb_columns_message(&k->columns, &k->pending, false)) {
        k->pending.len = was;
        k->pending.failed = false;
        return err_set(err, -ENOMEM, "no memory for a message of the kdb+ log");
    }
    k->pending_messages++;
    k->pending_rows += k->columns.rows;
    return true;
}

/* All of a frame's rows or, with err, none. */
static bool rows(struct kdb_live *k, const struct frame *f, struct err *err)
{
    struct record_walk w;
    const struct record *r;
    const struct schema *s = NULL, *open = NULL;
    unsigned last = TABLE_PACKET;
    size_t was = k->pending.len;
    uint64_t messages = k->pending_messages, had = k->pending_rows;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        if (r->table != last) {
            last = r->table;
            s = dictionary_schema(&k->cursor.dict, last);
        }
        if (!s)
            continue;
        if (open != s) {
            if (open && !message(k, err))
                goto back;
            open = s;
            kdb_columns_begin(&k->columns, s);
        }
        kdb_columns_add(&k->columns, &k->cursor.dict, f, r, w.packet, record_walk_seq(&w));
    }
    if (open && !message(k, err))
        goto back;
    if (k->pending_messages > messages && k->at.day == LIVE_NO_DAY)
        k->at.day = closed(k) != LIVE_NO_DAY && f->day <= closed(k) ? closed(k) + 1 : f->day;
    return true;
back:
    k->pending.len = was;
    k->pending_messages = messages;
    k->pending_rows = had;
    return false;
}

/* Does this mark end the date of the file? */
static bool ends(const struct kdb_live *k, const char *calendar, int32_t day)
{
    if (k->at.day == LIVE_NO_DAY || all_ended(k, k->at.day) || day < k->at.day)
        return false;
    for (unsigned i = 0; i < k->cfg.calendars; i++)
        if (strcmp(calendar, k->cfg.calendar[i]) &&
            (k->at.ended[i] == LIVE_NO_DAY || k->at.ended[i] < k->at.day))
            return false;
    return true;
}

/* Takes one frame whole, or with err not at all: it comes again. */
static bool take(struct kdb_live *k, const struct frame *f, struct err *err)
{
    char name[DAYS_NAME];
    uint64_t end = f->position + f->length;
    if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
        if (!rows(k, f, err))
            return false;
    if (!days_eod(f, name)) {
        k->pending_end = end;
        return true;
    }
    bool last = ends(k, name, f->day);
    if (last) {
        /* a subscriber of the day's whole file goes on at the mark: it is told the day's end */
        k->pending_end = f->position;
        if (!flush(k, err))
            return false;
        if (k->ready && k->log.fd >= 0 && !k->anew)
            publish(k, k->at.position);
        k->at.position = end;
    }
    for (unsigned i = 0; i < k->cfg.calendars; i++)
        if (!strcmp(name, k->cfg.calendar[i]) && k->at.ended[i] < f->day)
            k->at.ended[i] = f->day;
    if (k->at.day == LIVE_NO_DAY && !k->pending_messages)
        k->at.first = end;
    k->pending_end = end;
    k->roll = last;
    return true;
}

/* ---- steps ---- */

static bool read_some(struct kdb_live *k, uint64_t budget, bool *more, struct err *err)
{
    const struct frame *f;
    uint64_t read = 0;
    *more = true;
    while (read < budget) {
        if (k->roll && !roll(k, err))
            return false;
        enum cursor_verdict v = cursor_next(&k->cursor, &f);
        if (v == CURSOR_ERROR)
            return err_set(err, k->cursor.err.code, "%s", k->cursor.err.text);
        if (v == CURSOR_WAIT || v == CURSOR_END) {
            *more = false;
            return true;
        }
        if (v == CURSOR_REWOUND) { /* what the file holds beyond it is void */
            if (k->log.fd < 0 && !k->pending_messages)
                continue;
            start_anew(k);
            return true;
        }
        if (v == CURSOR_LOST) {
            pthread_mutex_lock(&k->lock);
            k->figures.lost++;
            pthread_mutex_unlock(&k->lock);
            continue;
        }
        read += f->length;
        uint64_t position = f->position;
        if (!take(k, f, err)) {
            cursor_seek(&k->cursor, position);
            return false;
        }
        if (k->pending.len > WRITE_MOST && !flush(k, err))
            return false;
    }
    return true;
}

static bool run(struct kdb_live *k, int64_t now, uint64_t budget, bool *more, struct err *err)
{
    if (k->log.fd >= 0 && now - k->checked_ns > CHECK_NS) {
        k->checked_ns = now;
        if (!live_there(k)) {
            fprintf(stderr, "penstockd: kdb_log: %s is gone: it is written anew\n", k->log.path);
            start_anew(k);
            return true;
        }
    }
    if (!read_some(k, budget, more, err))
        return false;
    if (k->state != LIVE_RUN)
        return true;
    if (!flush(k, err))
        return false;
    if (!*more) {
        if (!empty_file(k, err) || (k->anew && !live_complete(k, err)))
            return false;
        publish(k, k->at.position);
    } else if (k->ready && k->log.fd >= 0 && !k->anew) {
        publish(k, k->at.position);
    }
    return now - k->saved_ns < SAVE_NS || save(k, now, err);
}

bool kdb_live_step(struct kdb_live *k, int64_t now, uint64_t budget)
{
    struct err err = {0};
    bool more = true, ok = true;
    if (now < k->retry_at)
        return false;
    switch (k->state) {
    case LIVE_FIND:
        ok = find(k, &err);
        break;
    case LIVE_VERIFY:
        verify(k);
        break;
    case LIVE_SEEK:
        ok = seek(k, &err);
        break;
    case LIVE_RUN:
        ok = run(k, now, budget, &more, &err);
        show(k);
        break;
    }
    if (!ok)
        return stopped(k, now, &err);
    if (k->figures.stopped && k->state == LIVE_RUN) {
        pthread_mutex_lock(&k->lock);
        k->figures.stopped = false;
        pthread_mutex_unlock(&k->lock);
    }
    return more;
}
