/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calendars in the running daemon: who owns which table, where each one stands at the start, the
 * instants at which its dates end, and ends by hand. Control computes, the appender compares.
 */
#include <errno.h>
#include "calendar_due.h"
#include "core/civil.h"
#include "upstream.h"
#include "wiring_parts.h"

#define AHEAD_MAX 32 /* dates of a calendar that the due list holds */

_Static_assert(sizeof((struct calendar *)0)->name == DAYS_NAME, "a calendar's name");
_Static_assert(2 * (CALENDAR_DUE_MOST * DAYS_CALENDARS + INTERVAL_DUE_MOST) <= DUE_MAX,
               "a list holds two dates of every calendar");

/* ---- who and where ---- */

unsigned wiring_calendars(const struct daemon *d)
{
    return config_calendars(d->config);
}

int wiring_calendar_named(const struct daemon *d, const char *name)
{
    for (unsigned i = 0; i < wiring_calendars(d); i++)
        if (!strcmp(config_calendar(d->config, i)->name, name))
            return (int)i;
    return -1;
}

unsigned wiring_calendar_of(const struct daemon *d, const char *table)
{
    return config_calendar_of(d->config, table);
}

unsigned wiring_calendar_of_id(const struct daemon *d, uint16_t table)
{
    return table < TABLE_MAX ? d->wiring->owners.calendar[table] : 0;
}

/* A replay with --date gives its dates the ends of the capture's clock. */
static int64_t ends(const struct daemon *d, unsigned i, int32_t day)
{
    return calendar_eod(config_calendar(d->config, i), day + d->day_shift);
}

void wiring_calendar(const struct daemon *d, unsigned i, struct wiring_calendar *out)
{
    const struct days_open *o = &d->wiring->appender.days;
    const struct calendar *c = config_calendar(d->config, i);
    int32_t open = load_relaxed(&o->open[i]), newest = load_relaxed(&o->newest[i]);
    *out = (struct wiring_calendar){.calendar = c,
                                    .open = open,
                                    .newest = newest < open ? open : newest,
                                    .ends = ends(d, i, open),
                                    .closes = ends(d, i, open) + c->late_window_ns};
}

bool wiring_feed_split(const struct daemon *d, const struct config_feed *f)
{
    return f->calendar != config_calendar_of(d->config, "undecoded");
}

/* Of every table version, live or not: rows of an old log have calendars too. */
void wiring_owners(struct daemon *d)
{
    struct days_owner *o = &d->wiring->owners;
    o->n = wiring_calendars(d);
    for (unsigned i = 0; i < o->n; i++)
        memcpy(o->name[i], config_calendar(d->config, i)->name, DAYS_NAME);
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        o->calendar[id] = (uint8_t)(s ? config_calendar_of(d->config, s->name) : 0);
    }
}

/* Its tables are the default calendar's now, with rows of dates that only its own marks would end.
 */
static void tell_of_gone(const struct daemon *d)
{
    const struct recovery *r = d->wiring->recovery;
    for (uint32_t i = 0; i < r->calendars; i++) {
        const struct recovery_calendar *c = &r->calendar[i];
        char from[CIVIL_TEXT], to[CIVIL_TEXT];
        if (c->open_day >= d->day || wiring_calendar_named(d, c->name) >= 0)
            continue;
        fprintf(stderr,
                "penstockd: calendar %s is no longer configured, and %s to %s had not ended in it: "
                "penstock hdb rebuild DATE writes what its tables have of them\n",
                c->name, civil_format(c->open_day, from), civil_format(d->day - 1, to));
    }
}

/*
 * A calendar goes on at the date that recovery found open in it. One that is new to the log begins
 * where the default calendar stands, which had its tables until now: what they have of dates before
 * now is then ended date by date, like dates that were missed. Without a log: the date of now.
 */
void wiring_first_days(struct daemon *d)
{
    struct wiring *w = d->wiring;
    const struct recovery *r = w->recovery;
    for (unsigned i = 0; i < wiring_calendars(d); i++) {
        const struct calendar *c = config_calendar(d->config, i);
        int32_t day = i ? recovery_open_day(r, c->name) : d->day;
        if (d->replay || r->empty)
            day = i ? calendar_day(c, clock_now(&d->clock)) - d->day_shift : d->day;
        else if (day < 0)
            day = d->day;
        day = day < 0 ? 0 : day > CIVIL_DAY_MAX ? CIVIL_DAY_MAX : day;
        w->open[i] = (struct appender_open){(uint16_t)day, ends(d, i, day - 1)};
    }
    if (!d->replay)
        tell_of_gone(d);
}

/* ---- intervals ---- */

/* Which tables go to the interval stream, every version of them. */
const uint8_t *wiring_streams(struct daemon *d)
{
    struct wiring *w = d->wiring;
    const struct config_names *t = &d->config->intraday_tables;
    if (!t->count)
        return NULL;
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        for (uint32_t i = 0; s && i < t->count; i++)
            if (!strcmp(s->name, t->at[i]))
                w->streams[id] = STREAM_INTERVAL;
    }
    return w->streams;
}

/* The interval in which the journal ended, or that of now: what ended meanwhile gets its mark. */
struct appender_interval wiring_first_interval(const struct daemon *d)
{
    const struct wiring *w = d->wiring;
    const struct interval_rule rule = config_intervals(d->config);
    int64_t now = clock_now(&d->clock);
    struct interval v;
    if (!rule.freq)
        return (struct appender_interval){0};
    interval_at(config_calendar(d->config, 0), &rule, d->day_shift,
                w->last_time > 0 && w->last_time < now ? w->last_time : now, &v);
    int32_t day = v.day < w->open[0].day ? w->open[0].day : v.day;
    return (struct appender_interval){true, v.from, (uint16_t)v.minute, (uint16_t)day};
}

/* ---- when ---- */

static const struct calendar *calendar_at(const void *config, uint32_t i)
{
    return config_calendar(config, i);
}

/* Every date has exactly one end, also those that passed while nothing ran. A list reaches equally
 * far for all calendars; it is renewed when one of them has used up half of it. */
void wiring_extend_due(struct daemon *d)
{
    static struct due_item items[DUE_MAX];
    struct wiring *w = d->wiring;
    if (upstream_chained(d))
        return; /* dates and intervals end when they end there */
    unsigned calendars = wiring_calendars(d);
    const struct interval_rule rule = config_intervals(d->config);
    int32_t ahead = calendar_due_ahead(calendars, &rule);
    ahead = ahead > AHEAD_MAX ? AHEAD_MAX : ahead;
    bool low = false;
    int32_t open[DAYS_CALENDARS] = {0};
    for (unsigned i = 0; i < calendars; i++) {
        open[i] = load_relaxed(&w->appender.days.open[i]);
        low |= open[i] + ahead / 2 >= w->due_day[i];
    }
    if (!low)
        return;
    int32_t until[DAYS_CALENDARS] = {0};
    uint32_t n = calendar_due_list(calendar_at, d->config, calendars, open, ahead, d->day_shift,
                                   &rule, items, until);
    struct err err;
    if (due_publish(&w->due, items, n, &err))
        memcpy(w->due_day, until, sizeof until);
}

/* Dates that ended while nothing ran get their marks before the first row comes. What the ring
 * cannot take yet follows when the log has made room. */
void wiring_missed_days(struct daemon *d)
{
    struct wiring *w = d->wiring;
    uint32_t before;
    int ended = 0;
    do {
        before = load_relaxed(&w->appender.days.version);
        wiring_extend_due(d);
        ended += appender_ends(&w->appender);
    } while (load_relaxed(&w->appender.days.version) != before);
    if (ended > 1 && !d->replay)
        fprintf(stderr,
                "penstockd: %d dates ended while nothing ran; each has its end in the journal\n",
                ended);
}

bool wiring_missed(const struct daemon *d, unsigned i, int32_t *first, int32_t *last)
{
    const struct wiring *w = d->wiring;
    const struct calendar *c = config_calendar(d->config, i);
    int32_t began = w->open[i].day, now = calendar_day(c, clock_now(&d->clock)) - d->day_shift;
    if (d->replay || w->recovery->empty || upstream_chained(d))
        return false;
    *first = calendar_next_business_day(c, began);
    *last = calendar_previous_business_day(c, now);
    return *first <= *last && *first > began;
}

/* ---- by hand ---- */

bool wiring_end_day(struct daemon *d, unsigned i, int32_t day, const char *by, uint64_t *ticket,
                    struct err *err)
{
    struct wiring_calendar c;
    char want[CIVIL_TEXT], open[CIVIL_TEXT], json[DUE_JSON];
    pst_must(i < wiring_calendars(d));
    wiring_calendar(d, i, &c);
    civil_format(c.open, open);
    if (day < 0)
        day = c.open;
    civil_format(day, want);
    if (day < c.open)
        return err_set(err, -EALREADY, "%s has ended already in calendar %s; %s is open", want,
                       c.calendar->name, open);
    if (day > c.open)
        return err_set(err, -EINVAL,
                       "%s cannot end in calendar %s before %s, which is open: end that first",
                       want, c.calendar->name, open);
    uint32_t n = calendar_eod_json(c.calendar, day, d->day_shift, by, json);
    if (!inject_rows_eod(&d->wiring->control_rows, json, n, i, (uint16_t)day, c.ends))
        return err_set(err, -EAGAIN, "the journal is busy; try again");
    *ticket = inject_rows_flush(&d->wiring->control_rows);
    return true;
}

enum wiring_ended wiring_day_ended(struct daemon *d, uint64_t ticket, uint64_t *position)
{
    if (!inject_taken(&d->inject, ticket, position))
        return WIRING_ENDING;
    return inject_verdict(&d->inject, ticket) ? WIRING_ENDED_BEFORE : WIRING_ENDED;
}
