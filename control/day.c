/* SPDX-License-Identifier: Apache-2.0 */
/* States of days, control's side: what closed, what is written, what may leave memory. */
#include <errno.h>
#include <limits.h>
#include "print.h"
#include "core/civil.h"
#include "day_parts.h"
#include "disks.h"
#include "retention.h"
#include "wiring_parts.h"

#define RETRY_MAX   (600 * NS_PER_S)
#define LOCK_WAIT   (NS_PER_S / 2) /* a verb has the database's lock */
#define RESULTS_MAX 32u
#define KEEP_DONE   64u /* written days that stay on the screen */

/* ---- entries ---- */

struct day_entry *day_entry_find(struct day *y, const char *calendar, int32_t day)
{
    for (unsigned i = 0; i < y->n; i++)
        if (y->entry[i]->cat.day == day && !strcmp(y->entry[i]->cat.calendar, calendar))
            return y->entry[i];
    return NULL;
}

static void entry_free(struct day_entry *e)
{
    json_decref(e->result);
    free(e);
}

/* Written ones beyond KEEP_DONE whose memory is gone make room; the catalogue remembers them. */
static void forget_old(struct day *y)
{
    unsigned done = 0;
    for (unsigned i = 0; i < y->n; i++)
        done += y->entry[i]->step == DAY_STEP_DONE && y->entry[i]->slot < 0;
    for (unsigned i = 0; i < y->n && (done > KEEP_DONE || y->n >= DAY_ENTRIES - 1);) {
        struct day_entry *e = y->entry[i];
        if (e->step != DAY_STEP_DONE || e->slot >= 0) {
            i++;
            continue;
        }
        entry_free(e);
        memmove(&y->entry[i], &y->entry[i + 1], (y->n - i - 1) * sizeof *y->entry);
        y->n--;
        done--;
    }
}

static struct day_entry *entry_add(struct day *y, const char *calendar, int32_t day)
{
    forget_old(y);
    struct day_entry *e = y->n < DAY_ENTRIES ? calloc(1, sizeof *e) : NULL;
    if (!e)
        return NULL;
    int index = wiring_calendar_named(y->d, calendar);
    e->calendar = index < 0 ? UINT_MAX : (unsigned)index;
    e->slot = -1;
    e->cat.day = day;
    snprintf(e->cat.calendar, sizeof e->cat.calendar, "%s", calendar);
    y->entry[y->n++] = e;
    return e;
}

static void keep(struct day *y, const struct catalogue_day *c)
{
    int r = catalogue_put_day(y->catalogue, c);
    if (r < 0 && r != y->catalogue_errno)
        fprintf(stderr,
                "penstockd: catalogue: %s; the state of day %d is not kept, a restart looks at the "
                "database itself\n",
                strerror(-r), (int)c->day);
    y->catalogue_errno = r < 0 ? r : 0;
}

static void set_state(struct day *y, struct day_entry *e, enum catalogue_day_state state)
{
    e->cat.state = state;
    e->cat.at = clock_now(&y->d->clock);
    keep(y, &e->cat);
}

/* ---- memory ---- */

static void leave(struct day *y, struct day_entry *e)
{
    if (e->slot < 0)
        return;
    y->leaving[e->slot].generation = e->generation;
    e->leaving = clock_monotonic();
    e->overdue = false;
}

/* A day may hold rows that no entry speaks of: what a restart took back. */
static void leave_void(struct day *y, const struct rdb_day_info *info, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (info[i].flags & RDB_DAY_VOID && info[i].state == RDB_DAY_CLOSED)
            y->leaving[info[i].slot].generation = info[i].generation;
}

static void release_days(struct day *y)
{
    static struct rdb_day_info info[RDB_DAYS];
    unsigned n = rdb_days(y->rdb.rdb, info);
    int64_t now = clock_monotonic();
    uint64_t pinned = pins_slots(y->pins), late = 0;
    leave_void(y, info, n);
    for (unsigned i = 0; i < n; i++) {
        const struct rdb_day_info *s = &info[i];
        if (y->leaving[s->slot].generation != s->generation || s->state != RDB_DAY_CLOSED ||
            pinned >> s->slot & 1)
            continue;
        PST_FAULT("day.release");
        if (rdb_release_day(y->rdb.rdb, s->slot, s->generation))
            bump(&y->d->status->counter[COUNTER_DAY_RELEASED], 1);
        for (unsigned k = 0; k < y->n; k++)
            if (y->entry[k]->slot == (int)s->slot && y->entry[k]->generation == s->generation) {
                y->entry[k]->slot = -1;
                y->entry[k]->leaving = 0;
            }
    }
    for (unsigned k = 0; k < y->n; k++) {
        struct day_entry *e = y->entry[k];
        if (e->leaving && e->slot >= 0 && now - e->leaving > y->d->config->pin_grace)
            late |= 1ull << e->slot;
    }
    if (late & pinned) {
        unsigned told = pins_overdue(y->pins, late & pinned,
                                     "it kept a published day in memory beyond pin_grace");
        bump(&y->d->status->counter[COUNTER_PINS_OVERDUE], told);
    }
}

/* ---- closing ---- */

static void entry_written(struct day *y, struct day_entry *e, bool database, uint64_t epoch,
                          uint64_t rows)
{
    e->cat.database = database;
    e->cat.epoch = epoch;
    e->cat.rows = rows;
    e->step = DAY_STEP_DONE;
    e->error[0] = 0;
    e->error_code = 0;
    e->attempts = 0;
    PST_FAULT("day.before_written");
    set_state(y, e, DAY_WRITTEN);
    PST_FAULT("day.written");
    leave(y, e);
}

static uint64_t refused_rows(const struct day *y, const struct rdb_closed *c)
{
    static struct rdb_day_info info[RDB_DAYS];
    unsigned n = rdb_days(y->rdb.rdb, info);
    for (unsigned i = 0; i < n; i++)
        if ((int)info[i].slot == c->slot && info[i].generation == c->generation)
            return info[i].refused;
    return 0;
}

/* The rdb thread has passed an EOD mark. */
static void take_closed(struct day *y, const struct rdb_closed *c)
{
    struct wiring_calendar wc;
    wiring_calendar(y->d, c->calendar, &wc);
    struct day_entry *e = day_entry_find(y, wc.calendar->name, c->day);
    if (!e)
        e = entry_add(y, wc.calendar->name, c->day);
    if (!e) {
        fprintf(stderr, "penstockd: too many days wait to be written; one more stays in the log\n");
        return;
    }
    bool known = e->cat.state == DAY_WRITTEN && e->cat.eod >= c->position;
    if (known && c->slot < 0)
        return; /* a mark met again while rebuilding */
    e->met = true;
    e->slot = c->slot;
    e->generation = c->generation;
    e->first = c->first;
    e->rdb_rows = c->rows;
    e->rdb_flags = c->flags;
    e->closed_rows = c->rows + refused_rows(y, c);
    if (known) {
        leave(y, e);
        return;
    }
    PST_FAULT("day.before_closed");
    if (e->cat.state != DAY_CLOSED || e->cat.eod != c->position) {
        e->cat.eod = c->position;
        set_state(y, e, DAY_CLOSED);
    }
    PST_FAULT("day.closed");
    if (e->step != DAY_STEP_WRITING)
        e->step = DAY_STEP_WAIT;
}

/* The dates that take rows now, once each in the catalogue. */
static void note_open(struct day *y)
{
    for (unsigned i = 0; i < wiring_calendars(y->d) && i < DAYS_CALENDARS; i++) {
        struct wiring_calendar wc;
        wiring_calendar(y->d, i, &wc);
        if (wc.open == y->open[i])
            continue;
        y->open[i] = wc.open;
        if (catalogue_day(y->catalogue, wc.calendar->name, wc.open))
            continue;
        struct catalogue_day c = {.day = wc.open, .state = DAY_OPEN};
        snprintf(c.calendar, sizeof c.calendar, "%s", wc.calendar->name);
        keep(y, &c);
    }
}

/* ---- writing ---- */

static bool durable(const struct day *y, uint64_t position)
{
    return load_acquire(&y->d->ring.head->durable) >= position;
}

/* May this day be written now? */
static bool ready(const struct day *y, const struct day_entry *e)
{
    return e->step == DAY_STEP_WAIT && !e->cancelled && e->calendar != UINT_MAX &&
           (e->met || load_acquire(&y->rdb.caught_up)) && durable(y, e->cat.eod) &&
           clock_monotonic() >= e->retry_at;
}

/* Nothing was in it: no partition is made. What had no room in memory is looked for in the log. */
static bool empty(const struct day *y, const struct day_entry *e)
{
    return e->met && !day_unread(y, e->cat.day) && !e->rdb_rows &&
           !(e->rdb_flags & (RDB_DAY_INCOMPLETE | RDB_DAY_VOID));
}

static void entry_failed(struct day *y, struct day_entry *e, const struct err *err)
{
    char date[CIVIL_TEXT];
    e->step = DAY_STEP_WAIT;
    int64_t wait = y->d->config->eod_retry;
    if (err->code == -ECANCELED && (e->cancelled || y->stopping))
        return;
    if (err->code == -EWOULDBLOCK && e->attempts < 1200) { /* a verb has it: ten minutes, often */
        e->attempts++;
        e->retry_at = clock_monotonic() + LOCK_WAIT;
        return;
    }
    bool news = err->code != e->error_code || !e->error[0];
    for (unsigned i = 0; i < e->attempts && wait < RETRY_MAX; i++)
        wait *= 2;
    wait = wait < RETRY_MAX ? wait : RETRY_MAX;
    e->attempts++;
    e->retry_at = clock_monotonic() + wait;
    e->error_code = err->code;
    snprintf(e->error, sizeof e->error, "%s", err->text);
    bump(&y->d->status->counter[COUNTER_DAY_FAILED], 1);
    if (news)
        fprintf(
            stderr,
            "penstockd: end of day %s (%s): not written: %s; it stays in memory and in the log, "
            "next attempt in %.1f s\n",
            civil_format(e->cat.day, date), e->cat.calendar, err->text, (double)wait / 1e9);
}

static void count_epoch(struct day *y, uint64_t epoch)
{
    if (epoch <= y->epoch)
        return;
    y->epoch = epoch;
    int r = catalogue_put_epoch(y->catalogue, epoch, y->root);
    if (r < 0)
        fprintf(stderr, "penstockd: catalogue: %s; the number of publications is not kept\n",
                strerror(-r));
}

static void rebuild_done(struct day *y, struct day_outcome *o)
{
    struct day_result *r = y->results;
    while (r && r->id != o->job->id)
        r = r->next;
    if (!r) {
        json_decref(o->result);
        return;
    }
    r->done++;
    if (o->err.code && !r->err.code)
        r->err = o->err;
    if (o->result) {
        json_object_set_new(o->result, "calendar", json_string(o->job->calendar));
        json_array_append_new(r->parts, o->result);
    }
}

static void take_outcome(struct day *y)
{
    struct day_outcome o;
    if (!y->write || !day_write_take(y->write, &o))
        return;
    struct day_entry *e = y->writing;
    y->writing = NULL;
    if (o.published)
        count_epoch(y, o.job->epoch);
    if (o.job->load) {
        day_load_done(y, &o);
    } else if (o.job->verify) {
        retention_verified(y, &o);
    } else if (o.job->rebuild) {
        rebuild_done(y, &o);
    } else if (!e) {
        json_decref(o.result);
    } else if (o.err.code) {
        json_decref(o.result);
        entry_failed(y, e, &o.err);
    } else {
        char date[CIVIL_TEXT];
        json_decref(e->result);
        e->result = o.result;
        bump(&y->d->status->counter[COUNTER_DAY_WRITTEN], 1);
        bool already = json_is_true(json_object_get(o.result, "already"));
        e->counted = !already && e->met;
        e->in = o.in;
        entry_written(y, e, true, o.published ? o.job->epoch : 0, o.rows);
        if (o.published && !already)
            day_hook(y, e);
        fprintf(stderr, "penstockd: end of day %s (%s): %llu rows in %s, %.2f s\n",
                civil_format(e->cat.day, date), e->cat.calendar, (unsigned long long)o.rows,
                y->root, json_number_value(json_object_get(o.result, "seconds")));
    }
    day_job_free(o.job);
}

static void give_eod(struct day *y, struct day_entry *e)
{
    struct err err = {0};
    struct day_job *j = day_job_eod(y, e, &err);
    if (!j) {
        entry_failed(y, e, &err);
        return;
    }
    j->epoch = y->epoch + 1;
    if (!day_write_give(y->write, j)) {
        day_job_free(j);
        return;
    }
    e->step = DAY_STEP_WRITING;
    y->writing = e;
}

void day_give_work(struct day *y)
{
    struct day_entry *next = NULL;
    for (unsigned i = 0; i < y->n; i++) {
        struct day_entry *e = y->entry[i];
        if (!ready(y, e))
            continue;
        if (!y->write || empty(y, e))
            entry_written(y, e, y->write != NULL, 0, y->write ? 0 : e->rdb_rows);
        else if (!next || e->cat.day < next->cat.day)
            next = e;
    }
    if (!y->write || !y->loaded || !day_write_idle(y->write))
        return;
    bool held = day_load_held(y);
    struct day_job *load = next && !held ? NULL : day_load_job(y);
    if (load) {
        load->epoch = y->epoch + 1;
        if (!day_write_give(y->write, load))
            day_load_undo(y, load);
    } else if (held) {
        return;
    } else if (next) {
        give_eod(y, next);
    } else if (y->queue && durable(y, y->queue->end)) {
        struct day_job *j = y->queue;
        j->epoch = y->epoch + 1;
        struct day_job *after = j->next;
        if (day_write_give(y->write, j))
            y->queue = after;
    } else {
        struct day_job *j = retention_job(y);
        if (j)
            day_write_give(y->write, j); /* it is idle */
    }
}

static void look_at_database(struct day *y)
{
    if (!y->write)
        return;
    uint64_t epoch;
    y->loaded = day_write_loaded(y->write, &y->not_loaded, &epoch);
    if (y->loaded && epoch > y->epoch)
        count_epoch(y, epoch);
}

void day_tick(struct day *y)
{
    struct rdb_closed c;
    while (day_rdb_next_closed(&y->rdb, &c))
        take_closed(y, &c);
    look_at_database(y);
    note_open(y);
    take_outcome(y);
    if (!y->stopping) {
        if (!y->d->disks || disks_answers(y->d->disks, DISK_LOG))
            retention_tick(y);
        day_give_work(y);
    }
    release_days(y);
}

/* ---- figures ---- */

/* Rows that the RDB counted when the day closed, refused ones too, and rows that went into the
 * partition: no figure is made of the other. */
bool day_ledger(struct day *y, json_t *lines)
{
    bool ok = true;
    unsigned shown = 0;
    for (unsigned i = y->n; i-- > 0 && shown < 4;) {
        const struct day_entry *e = y->entry[i];
        char text[240], name[64], date[CIVIL_TEXT];
        if (e->step != DAY_STEP_DONE || !e->counted || day_unread(y, e->cat.day))
            continue;
        int64_t diff = (int64_t)(e->closed_rows - e->in);
        snprintf(name, sizeof name, "hdb %s %s", civil_format(e->cat.day, date), e->cat.calendar);
        snprintf(text, sizeof text, "%-20s in the day %s - written %s = %s%s", name,
                 print_count((int64_t)e->closed_rows), print_count((int64_t)e->in),
                 print_count(diff), diff ? "  <- missing in the database" : "");
        json_array_append_new(lines, json_string(text));
        ok &= !diff;
        shown++;
    }
    return ok;
}

int64_t day_lag(const struct day *y)
{
    struct rdb_figures f;
    rdb_figures(y->rdb.rdb, &f);
    if (f.position >= ring_tail(&y->d->ring))
        return 0;
    int64_t lag = clock_now(&y->d->clock) - (f.time ? f.time : y->d->status->started);
    return lag > 0 ? lag : 0;
}

void day_rdb_figures(const struct day *y, struct day_rdb_figures *out)
{
    struct rdb_figures f;
    rdb_figures(y->rdb.rdb, &f);
    uint64_t tail = ring_tail(&y->d->ring);
    bool rebuilding = !load_acquire(&y->rdb.caught_up);
    *out = (struct day_rdb_figures){
        .position = f.position,
        .taken = load_relaxed(&y->rdb.taken),
        .refused = load_relaxed(&y->rdb.refused),
        .behind = day_behind(y->rdb.before, y->rdb.nbefore, y->rdb.start, f.position, tail),
        .lag_ns = day_lag(y),
        .memory = y->rdb.memory,
        .used = f.used,
        .rebuild_to = rebuilding ? y->rdb.start : 0};
}

void day_probe(struct day *y, uint64_t at)
{
    store_release(&y->rdb.probe_at, at); /* P1 */
}

bool day_probed(struct day *y, struct day_probe *out)
{
    if (load_acquire(&y->rdb.probe_at)) /* P2 */
        return false;
    out->position = load_relaxed(&y->rdb.probe_found);
    out->taken = load_relaxed(&y->rdb.probe_taken);
    out->refused = load_relaxed(&y->rdb.probe_refused);
    return true;
}

struct pins *day_pins(struct day *y)
{
    return y->pins;
}
const struct rdb *day_rdb(const struct day *y)
{
    return y->rdb.rdb;
}
const char *day_root(const struct day *y)
{
    return y->loaded ? y->root : "";
}
uint64_t day_epoch(const struct day *y)
{
    return y->epoch;
}

void day_alarms(struct day *y, struct alarms *a, int64_t now)
{
    const struct config *c = y->d->config;
    int64_t hold = c->alarms.clear_after;
    struct day_rdb_figures f;
    day_rdb_figures(y, &f);
    alarm_check(a, now, ALARM_RDB_LAG, "", f.lag_ns > c->alarms.rdb_lag, hold,
                "%s: %lld ms behind, %llu MiB of journal to read",
                f.rebuild_to                  ? "being rebuilt from the log"
                : load_relaxed(&y->rdb.pause) ? "paused by an operator"
                                              : "the rdb thread is slow",
                (long long)(f.lag_ns / NS_PER_MS), (unsigned long long)(f.behind >> 20));
    static struct rdb_day_info info[RDB_DAYS];
    unsigned n = rdb_days(y->rdb.rdb, info);
    uint64_t refused = 0;
    for (unsigned i = 0; i < n; i++)
        if (info[i].flags & RDB_DAY_INCOMPLETE)
            refused += info[i].refused ? info[i].refused : 1;
    uint64_t limit = f.memory / 100 * (uint64_t)c->alarms.rdb_used;
    alarm_check(a, now, ALARM_RDB_FULL, "", refused || f.used > limit, hold,
                "%llu of %llu MiB in use, %llu rows are in the log only",
                (unsigned long long)(f.used >> 20), (unsigned long long)(f.memory >> 20),
                (unsigned long long)refused);
    for (unsigned i = 0; i < y->n; i++) {
        const struct day_entry *e = y->entry[i];
        char subject[ALARMS_SUBJECT], date[CIVIL_TEXT];
        snprintf(subject, sizeof subject, "%s %s", civil_format(e->cat.day, date), e->cat.calendar);
        alarm_check(a, now, ALARM_WRITEDOWN_FAILED, subject, *e->error && !e->cancelled, 0, "%s",
                    e->error);
        alarm_check(a, now, ALARM_EOD_CANCELLED, subject, e->cancelled, 0,
                    "not written: cancelled by an operator");
        alarm_check(a, now, ALARM_POST_SAVE_FAILED, subject, e->post_save_failed, 0,
                    "post_save_exec failed; penstock eod status says how");
    }
    alarm_check(a, now, ALARM_HDB_NOT_LOADED, "", y->write && !y->loaded && y->not_loaded.code, 0,
                "%s", y->not_loaded.text);
    uint64_t left = y->write ? load_relaxed(&y->write->free_bytes) : 0;
    int64_t margin = alarm_raised(a, ALARM_HDB_SPACE, "") ? c->database_low_space / 10 : 0;
    alarm_check(a, now, ALARM_HDB_SPACE, "",
                left && left < (uint64_t)(c->database_low_space + margin), 0, "%llu MiB free in %s",
                (unsigned long long)(left >> 20), y->root);
    uint64_t overdue = load_relaxed(&y->d->status->counter[COUNTER_PINS_OVERDUE]);
    alarm_check(a, now, ALARM_PIN_OVERDUE, "", overdue != y->overdue_seen, 60 * NS_PER_S,
                "%llu queries were ended", (unsigned long long)overdue);
    y->overdue_seen = overdue;
}

/* ---- verbs ---- */

static bool of_operator(struct day *y, const char *calendar, int32_t day, bool cancel,
                        struct err *err)
{
    unsigned n = 0;
    char date[CIVIL_TEXT];
    for (unsigned i = 0; i < y->n; i++) {
        struct day_entry *e = y->entry[i];
        if (e->cat.day != day || (calendar && strcmp(calendar, e->cat.calendar)) ||
            e->step == DAY_STEP_DONE || e->step == DAY_STEP_OPEN)
            continue;
        n++;
        e->cancelled = cancel;
        if (!cancel) {
            e->retry_at = 0;
            e->attempts = 0;
        } else if (e->step == DAY_STEP_WRITING) {
            day_write_cancel(y->write);
        }
    }
    if (!cancel && y->write)
        store_release(&y->write->reopen, true);
    return n || err_set(err, -EINVAL, "no ended day %s waits to be written; see eod status",
                        civil_format(day, date));
}

bool day_retry(struct day *y, const char *calendar, int32_t day, struct err *err)
{
    return of_operator(y, calendar, day, false, err);
}

bool day_cancel(struct day *y, const char *calendar, int32_t day, struct err *err)
{
    return of_operator(y, calendar, day, true, err);
}

uint64_t day_rebuild(struct day *y, const struct day_rebuild *r, struct err *err)
{
    char date[CIVIL_TEXT];
    if (!y->write || (!y->loaded && y->not_loaded.code)) {
        err_set(err, -ENODEV, "%s", y->write ? y->not_loaded.text : "no database is configured");
        return 0;
    }
    struct day_result *x = calloc(1, sizeof *x);
    pst_must(x);
    x->id = ++y->next_job;
    x->parts = json_array();
    struct day_job *first = NULL, **tail = &first;
    for (unsigned i = 0; i < wiring_calendars(y->d); i++) {
        struct day_job *j = day_job_rebuild(y, r, i, err);
        if (!j && err->code != -ENOENT)
            break;
        if (!j)
            continue;
        err->code = 0;
        j->id = x->id;
        x->jobs++;
        *tail = j;
        tail = &j->next;
    }
    if (!x->jobs || (err->code && err->code != -ENOENT)) {
        while (first) {
            struct day_job *j = first;
            first = j->next;
            day_job_free(j);
        }
        if (!err->code || err->code == -ENOENT)
            err_set(err, -EINVAL, "%s has nothing to rebuild: no calendar has ended it%s%s",
                    civil_format(r->day, date), r->table ? ", or none owns table " : "",
                    r->table ? r->table : "");
        json_decref(x->parts);
        free(x);
        return 0;
    }
    struct day_job **end = &y->queue;
    while (*end)
        end = &(*end)->next;
    *end = first;
    x->next = y->results;
    y->results = x;
    unsigned n = 0;
    for (struct day_result **p = &y->results; *p;) {
        struct day_result *old = *p;
        if (++n > RESULTS_MAX && old->done == old->jobs) {
            *p = old->next;
            json_decref(old->parts);
            free(old);
        } else {
            p = &old->next;
        }
    }
    return x->id;
}

json_t *day_job(struct day *y, uint64_t id)
{
    struct day_result *r = y->results;
    while (r && r->id != id)
        r = r->next;
    if (!r)
        return json_pack("{s:s}", "error", "no such rebuild, or it was forgotten");
    if (r->done < r->jobs)
        return NULL;
    json_t *o = json_pack("{s:O}", "parts", r->parts);
    if (r->err.code)
        json_object_set_new(o, "error", json_string(r->err.text));
    return o;
}

/* ---- life ---- */

/* What the catalogue knows: written days are not taken again, closed ones are to be written. */
static bool from_catalogue(struct day *y, struct err *err)
{
    const struct catalogue *c = y->catalogue;
    y->rdb.known = calloc(c->ndays + 1, sizeof *y->rdb.known);
    if (!y->rdb.known)
        return err_set(err, -ENOMEM, "no memory for the days of the catalogue");
    for (unsigned i = 0; i < c->ndays; i++) {
        const struct catalogue_day *d = &c->day[i];
        int index = wiring_calendar_named(y->d, d->calendar);
        if (d->state == DAY_WRITTEN && index >= 0)
            y->rdb.known[y->rdb.nknown++] =
                (struct day_known){(unsigned)index, d->day, d->eod ? d->eod : UINT64_MAX};
        if (d->state == DAY_OPEN)
            continue;
        struct day_entry *e = entry_add(y, d->calendar, d->day);
        if (!e)
            return err_set(err, -ENOMEM, "no memory for the days of the catalogue");
        e->cat = *d;
        e->step = d->state == DAY_WRITTEN ? DAY_STEP_DONE : DAY_STEP_WAIT;
    }
    return true;
}

struct day *day_open(struct daemon *d, struct err *err)
{
    struct day *y = calloc(1, sizeof *y);
    if (!y) {
        err_set(err, -ENOMEM, "no memory for days");
        return NULL;
    }
    y->d = d;
    y->catalogue = &d->wiring->catalogue;
    day_load_init(y);
    y->pins = pins_new(y);
    bool ok = y->pins && day_rdb_open(&y->rdb, d, err) && from_catalogue(y, err);
    if (ok && d->config->database) {
        char *real = realpath(d->config->database, NULL);
        snprintf(y->root, sizeof y->root, "%s", real ? real : d->config->database);
        free(real);
        bool same = !strcmp(y->root, y->catalogue->root);
        y->epoch = same ? y->catalogue->epoch : 0;
        y->write = calloc(1, sizeof *y->write);
        if (y->write)
            y->write->want_epoch = !y->epoch;
        ok = y->write && day_write_open(y->write, d, rdb_map_of(y->rdb.rdb), err);
    } else if (ok && !d->replay) {
        fprintf(stderr, "penstockd: no database is configured: ended days leave memory and stay in "
                        "the log only\n");
    }
    if (!ok) {
        if (!err->text[0])
            err_set(err, -ENOMEM, "no memory for days");
        day_close(y);
        return NULL;
    }
    y->rdb.calendars = wiring_calendars(d);
    y->unread = -1;
    for (unsigned i = 0; i < wiring_calendars(d) && !d->wiring->recovery->empty; i++) {
        struct wiring_calendar wc;
        wiring_calendar(d, i, &wc);
        y->unread = wc.newest > y->unread ? wc.newest : y->unread;
    }
    return y;
}

bool day_seal(struct day *y)
{
    y->sealed = rdb_seal(y->rdb.rdb);
    return y->sealed;
}

bool day_start(struct day *y, struct err *err)
{
    return day_rdb_start(&y->rdb, err) && (!y->write || day_write_start(y->write, err));
}

bool day_finish(struct day *y)
{
    for (;;) {
        struct rdb_figures f;
        rdb_figures(y->rdb.rdb, &f);
        bool more = f.position < ring_tail(&y->d->ring), failed = false;
        day_tick(y);
        for (unsigned i = 0; i < y->n; i++) {
            failed |= *y->entry[i]->error != 0;
            more |= y->entry[i]->step != DAY_STEP_DONE;
        }
        if (failed || !more || daemon_signal || (y->not_loaded.code && !y->loaded))
            return !failed && !more;
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
}

void day_stop(struct day *y, int64_t deadline_ns)
{
    if (!y || y->stopping)
        return;
    day_rdb_stop(&y->rdb, deadline_ns);
    if (y->write)
        day_write_stop(y->write);
    y->stopping = true;
    day_tick(y);
}

void day_close(struct day *y)
{
    if (!y)
        return;
    day_write_close(y->write);
    day_rdb_close(&y->rdb);
    for (unsigned i = 0; i < y->n; i++)
        entry_free(y->entry[i]);
    while (y->queue) {
        struct day_job *j = y->queue;
        y->queue = j->next;
        day_job_free(j);
    }
    while (y->results) {
        struct day_result *r = y->results;
        y->results = r->next;
        json_decref(r->parts);
        free(r);
    }
    pins_free(y->pins);
    day_load_fini(y);
    free(y);
}
