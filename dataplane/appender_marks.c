/* SPDX-License-Identifier: Apache-2.0 */
/* What the appender says by itself: ends of dates, ticks, states. */
#include <errno.h>
#include "core/tables.h"
#include "batch.h"
#include "intervals.h"
#include "json_put.h"
#include "stream_cut.h"
#include "appender_parts.h"

/* ---- dates ---- */

unsigned appender_calendar_of(const struct appender *a, unsigned table)
{
    return a->cfg.owners ? a->cfg.owners->calendar[table] : 0;
}

static void days_changed(struct appender *a)
{
    const uint16_t *open = a->rows.min_day;
    a->spread = false;
    a->latest_open = open[0];
    a->latest_from = INT64_MIN;
    for (unsigned c = 0; c < a->calendars; c++) {
        a->spread |= open[c] != open[0] || a->calendar[c].newest != open[c];
        if (open[c] > a->latest_open)
            a->latest_open = open[c];
        if (a->calendar[c].from > a->latest_from)
            a->latest_from = a->calendar[c].from;
        store_relaxed(&a->days.open[c], open[c]);
        store_relaxed(&a->days.newest[c], a->calendar[c].newest);
    }
    store_relaxed(&a->days.version, load_relaxed(&a->days.version) + 1);
}

void appender_days_start(struct appender *a)
{
    const struct appender_config *cfg = &a->cfg;
    a->calendars = cfg->owners ? cfg->owners->n : 1;
    pst_must(a->calendars >= 1 && a->calendars <= DAYS_CALENDARS);
    for (unsigned c = 0; c < a->calendars; c++) {
        uint16_t day = cfg->owners ? cfg->open[c].day : cfg->open_day;
        a->rows.min_day[c] = day;
        a->calendar[c] = (struct appender_calendar){
            .from = cfg->owners ? cfg->open[c].from : INT64_MIN, .turn = INT64_MAX, .newest = day};
    }
    a->rows.undecoded_calendar = (uint8_t)appender_calendar_of(a, a->rows.undecoded->id);
    a->rows.gap_calendar = (uint8_t)appender_calendar_of(a, a->gap->id);
    days_changed(a);
}

/* The date's end is reached: from here on both are open. */
static void turn_day(struct appender *a, const struct due_item *d)
{
    struct appender_calendar *k = &a->calendar[d->calendar];
    k->newest = d->next_day ? d->next_day : (uint16_t)(d->day + 1);
    k->turn = d->at;
    days_changed(a);
}

/* Its eod mark is written. ends: the instant at which the date ended (or will have). */
void appender_end_day(struct appender *a, unsigned c, uint16_t next, int64_t ends)
{
    struct appender_calendar *k = &a->calendar[c];
    if (next > a->rows.min_day[c])
        a->rows.min_day[c] = next;
    if (k->newest <= a->rows.min_day[c]) {
        k->newest = a->rows.min_day[c];
        k->turn = INT64_MAX;
    }
    k->from = ends;
    days_changed(a);
    if (c == 0) {
        a->new_today = 0;
        for (unsigned i = 0; i < a->nsrc; i++)
            a->src[i].new_today = 0;
    }
    appender_want_states(a);
}

/* {"calendars":{"default":9823,"tokyo":9822}}: the earliest open dates, for recovery */
static void say_calendars(struct appender *a)
{
    char text[DAYS_CALENDARS * (DAYS_NAME + 16) + 32];
    struct json_put j;
    json_put_start(&j, text, sizeof text);
    json_put_lit(&j, "{\"calendars\":{");
    for (unsigned c = 0; c < a->calendars; c++) {
        const char *name = a->cfg.owners->name[c];
        if (c)
            json_put_lit(&j, ",");
        json_put_text(&j, name, strlen(name));
        json_put_lit(&j, ":");
        json_put_u64(&j, a->rows.min_day[c]);
    }
    json_put_lit(&j, "}}");
    pst_must(!j.full);
    a->calendars_said =
        appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]);
}

/* {"buffer":{…}}: an active event as its start mark has it, for recovery and whoever begins at a
 * later file. */
static bool say_events(struct appender *a)
{
    struct divert *d = a->cfg.divert;
    char start[DIVERT_TEXT + DIVERT_FACTS], text[sizeof start + 16];
    for (unsigned i = 0; d && i < DIVERT_EVENTS; i++) {
        const struct divert_event *e = &d->event[i];
        enum divert_state state = divert_state(e);
        if (state != DIVERT_ACTIVE && state != DIVERT_PASSING)
            continue;
        uint32_t n =
            divert_mark(e, e->text, e->text_len, state == DIVERT_ACTIVE ? "active" : "passthrough",
                        start, sizeof start);
        struct json_put j;
        json_put_start(&j, text, sizeof text);
        json_put_lit(&j, "{\"buffer\":");
        json_put_raw(&j, start, n);
        json_put_lit(&j, "}");
        pst_must(n && !j.full);
        if (!appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]))
            return false;
    }
    return true;
}

/* ---- marks ---- */

bool appender_mark(struct appender *a, enum mark_type type, const char *json, uint32_t len,
                   uint16_t day)
{
    if (!appender_fits(a, pst_align8(FRAME_HEADER + 8 + (uint64_t)len), true))
        return false;
    appender_op_flush(&a->rows);
    struct frame *f = (struct frame *)a->small;
    if (!frame_build_mark(f, type, json, len))
        return false;
    f->day = day;
    appender_write_frame(a, f);
    count_add(a->cfg.status, APPEND_MARKS, 1);
    return true;
}

bool appender_schema(struct appender *a, const char *json, uint32_t len)
{
    if (!appender_fits(a, pst_align8(FRAME_HEADER + 8 + (uint64_t)len), false))
        return false;
    appender_op_flush(&a->rows);
    struct frame *f = (struct frame *)a->small;
    if (!frame_build_schema(f, json, len))
        return false;
    f->day = a->rows.min_day[0];
    appender_write_frame(a, f);
    return true;
}

/* One entry: marks written, -1 = no room yet. The mark's time is its instant where the journal
 * allows it, so that a replay that jumps over a night still says when the day ended. */
static int due_write(struct appender *a, const struct due_item *d)
{
    bool eod = d->kind == DUE_EOD;
    if (d->kind == DUE_INTERVALS) {
        interval_series(a, d);
        return 0;
    }
    if (d->kind == DUE_STATE) {
        appender_want_states(a);
        return 0;
    }
    if (eod || d->kind == DUE_TURN) {
        if (d->calendar >= a->calendars || d->day < a->rows.min_day[d->calendar])
            return 0; /* it was ended by hand */
        if (!interval_last(a, d))
            return -1;
        if (!eod) {
            turn_day(a, d);
            return 0;
        }
    }
    int64_t now = a->now;
    a->now = d->at;
    bool done = appender_mark(a, eod ? MARK_EOD : MARK_EOI, d->json, d->json_len,
                              eod ? d->day : a->rows.min_day[0]);
    a->now = now;
    if (done && eod)
        appender_end_day(a, d->calendar, d->next_day ? d->next_day : (uint16_t)(d->day + 1),
                         d->ends ? d->ends : d->at);
    return done ? 1 : -1;
}

static int64_t wall_minus_tsc(const struct appender *a)
{
    const struct clock *c = a->cfg.clock;
    if (c->is_virtual || !c->use_tsc)
        return 0;
    uint64_t t = clock_ticks();
    return clock_from_ticks(c, t) -
           (int64_t)((unsigned __int128)t * (unsigned __int128)a->tsc_mult >> 32);
}

/* Those that moved since the last full states, or full states when they are many. */
static void tick_sources(struct appender *a, struct json_put *j)
{
    uint32_t at = 0;
    if (a->sources->moved > SOURCES_TICK && !a->states)
        appender_want_states(a);
    json_put_lit(j, ",\"sources\":[");
    sources_say(a->sources, a->cfg.symbols, j, &at, true, 8);
    json_put_lit(j, "]");
}

/* {"sources":[…]}: where each stands, for recovery */
static void say_sources(struct appender *a)
{
    char *text = (char *)a->small + FRAME_MAX / 2; /* the frame is built in the first half */
    for (uint32_t at = 0; at < load_relaxed(&a->sources->n);) {
        struct json_put j;
        json_put_start(&j, text, FRAME_MAX / 4);
        json_put_lit(&j, "{\"sources\":[");
        sources_say(a->sources, a->cfg.symbols, &j, &at, false, 8);
        json_put_lit(&j, "]}");
        pst_must(!j.full);
        if (!appender_mark(a, MARK_STATE, text, (uint32_t)(j.at - text), a->rows.min_day[0]))
            return;
    }
    a->sources_stated = true;
    sources_said(a->sources);
}

/* {"durable":N,"wall_minus_tsc":N,"facts":N,"next":[["feed","session",N],…],"sources":[…]} */
static bool tick(struct appender *a)
{
    struct json_put j;
    appender_op_flush(&a->rows); /* a pending symbol frame is a fact below this tick */
    char *text = (char *)a->small + FRAME_MAX / 2; /* the frame is built in the first half */
    json_put_start(&j, text, FRAME_MAX / 2 - 2 * FRAME_HEADER);
    json_put_lit(&j, "{\"durable\":");
    json_put_u64(&j, load_acquire(&a->cfg.ring->head->durable));
    json_put_lit(&j, ",\"wall_minus_tsc\":");
    json_put_i64(&j, wall_minus_tsc(a));
    json_put_lit(&j, ",\"facts\":");
    json_put_u64(&j, a->facts);
    json_put_lit(&j, ",\"next\":[");
    const struct appender_hooks *h = &a->cfg.hooks;
    const char *feed, *session;
    uint64_t next;
    int got;
    bool any = false;
    for (unsigned i = 0; h->sessions && (got = h->sessions(h->arg, i, &feed, &session, &next)) >= 0;
         i++) {
        if (!got)
            continue;
        if (any)
            json_put_lit(&j, ",");
        any = true;
        json_put_lit(&j, "[");
        json_put_text(&j, feed, strlen(feed));
        json_put_lit(&j, ",");
        json_put_text(&j, session, strlen(session));
        json_put_lit(&j, ",");
        json_put_u64(&j, next);
        json_put_lit(&j, "]");
    }
    json_put_lit(&j, "]");
    if (pst_unlikely(a->cfg.divert && a->cfg.divert->events))
        divert_say(a->cfg.divert, &j);
    if (pst_unlikely(a->sources->moved))
        tick_sources(a, &j);
    json_put_lit(&j, "}");
    uint32_t len = (uint32_t)(j.at - text);
    if (j.full || !appender_fits(a, pst_align8(FRAME_HEADER + 8 + len), false))
        return false; /* at its reserve the ring is kept for marks that cannot wait */
    struct frame *f = (struct frame *)a->small;
    frame_build_mark(f, MARK_TICK, text, len);
    f->day = a->rows.min_day[0];
    appender_write_frame(a, f);
    a->facts--; /* ticks are no facts */
    count_add(a->cfg.status, APPEND_MARKS, 1);
    return true;
}

void appender_want_states(struct appender *a)
{
    a->states = 2;
    a->calendars_said = a->sources_stated = false;
}

int appender_ends(struct appender *a)
{
    int n = 0;
    while (a->cfg.due) {
        const struct due_item *d = due_next(a->cfg.due, a->now);
        int64_t limit = d && d->at < a->now ? d->at : a->now;
        if (pst_unlikely(a->interval.at <= limit)) {
            if (!interval_step(a, limit))
                return n;
            n++;
            continue;
        }
        if (pst_likely(!d))
            return n;
        int wrote = due_write(a, d);
        if (wrote < 0)
            return n; /* comes again */
        due_pass(a->cfg.due, d);
        n += wrote;
    }
    return n;
}

int appender_due(struct appender *a)
{
    int n = appender_ends(a);
    if (pst_unlikely(a->now >= a->tick_at)) {
        a->tick_at = a->now - a->now % APPENDER_TICK + APPENDER_TICK;
        if (a->cfg.ticks)
            n += tick(a);
        if (!a->states)
            a->states = 1;
    }
    return n;
}

void appender_states(struct appender *a)
{
    if (pst_likely(!a->states) || appender_room(a) < APPENDER_STATE_ROOM)
        return;
    if (a->states == 2 && !a->calendars_said) {
        a->calendars_said = say_events(a);
        if (a->cfg.owners && a->calendars_said)
            say_calendars(a);
    }
    if (a->states == 2 && !a->sources_stated)
        say_sources(a);
    if (!a->cfg.hooks.states || !a->cfg.hooks.states(a->cfg.hooks.arg, &a->rows, a->states == 2))
        a->states = 0;
}

bool appender_end(struct appender *a, const char *reason)
{
    char text[256];
    struct json_put j;
    json_put_start(&j, text, sizeof text);
    json_put_lit(&j, "{\"reason\":");
    json_put_text(&j, reason, strlen(reason) > 100 ? 100 : strlen(reason));
    json_put_lit(&j, "}");
    return appender_mark(a, MARK_END, text, (uint32_t)(j.at - text), a->rows.min_day[0]);
}
