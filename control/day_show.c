/* SPDX-License-Identifier: Apache-2.0 */
/* The day as JSON: `eod status`, the status screen. */
#include <limits.h>
#include "core/civil.h"
#include "day_parts.h"
#include "wiring.h"

static const char *step_name(const struct day *y, const struct day_entry *e)
{
    switch (e->step) {
    case DAY_STEP_OPEN:
        return "open";
    case DAY_STEP_WRITING:
        return "writing";
    case DAY_STEP_DONE:
        return e->leaving && e->slot >= 0 ? "written, read in memory" : "written";
    case DAY_STEP_WAIT:
        break;
    }
    return e->cancelled                                           ? "cancelled"
           : e->calendar == UINT_MAX                              ? "calendar not configured"
           : *e->error                                            ? "failed, waits"
           : y->write && !y->loaded                               ? "waits for the database"
           : !e->met && !load_acquire(&y->rdb.caught_up)          ? "waits for the rdb"
           : load_acquire(&y->d->ring.head->durable) < e->cat.eod ? "waits for the log"
                                                                  : "closed";
}

json_t *day_entry_json(struct day *y, const struct day_entry *e)
{
    static const char *const states[] = {"?", "open", "closed", "written"};
    char date[CIVIL_TEXT];
    json_t *o = json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:b}", "day", civil_format(e->cat.day, date),
        "calendar", e->cat.calendar, "state", states[e->cat.state], "step", step_name(y, e), "eod",
        (json_int_t)e->cat.eod, "epoch", (json_int_t)e->cat.epoch, "rows",
        (json_int_t)(e->step == DAY_STEP_DONE ? e->cat.rows : e->rdb_rows), "at",
        (json_int_t)e->cat.at, "database", e->cat.database, "in_memory", e->slot >= 0);
    if (e->rdb_flags & RDB_DAY_INCOMPLETE && e->step != DAY_STEP_DONE)
        json_object_set_new(o, "incomplete", json_true());
    if (*e->error) {
        int64_t left = e->retry_at - clock_monotonic();
        json_object_set_new(o, "error", json_string(e->error));
        json_object_set_new(o, "attempts", json_integer(e->attempts));
        json_object_set_new(o, "retry_in_ns", json_integer(left > 0 ? left : 0));
    }
    if (e->post_save[0])
        json_object_set_new(o, "post_save", json_string(e->post_save));
    if (e->step == DAY_STEP_WRITING)
        json_object_set_new(o, "progress", day_write_progress(y->write));
    if (e->result)
        json_object_set(o, "result", e->result);
    return o;
}

static json_t *rdb_json(struct day *y, bool days)
{
    struct day_rdb_figures f;
    day_rdb_figures(y, &f);
    static struct rdb_day_info info[RDB_DAYS];
    unsigned n = rdb_days(y->rdb.rdb, info);
    uint64_t rows = 0;
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++) {
        static const char *const states[] = {"free", "open", "closed", "leaving"};
        const struct rdb_day_info *s = &info[i];
        struct wiring_calendar wc;
        char date[CIVIL_TEXT];
        rows += s->rows;
        if (s->calendar >= wiring_calendars(y->d))
            continue;
        wiring_calendar(y->d, s->calendar, &wc);
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:b}", "day", civil_format(s->day, date),
                            "calendar", wc.calendar->name, "state", states[s->state & 3], "rows",
                            (json_int_t)s->rows, "refused", (json_int_t)s->refused, "bytes",
                            (json_int_t)s->bytes, "incomplete_from", (json_int_t)s->incomplete_from,
                            "published", !day_slot_shown(y, s->slot, s->generation)));
    }
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:i}", "position",
                          (json_int_t)f.position, "behind", (json_int_t)f.behind, "lag_ns",
                          (json_int_t)f.lag_ns, "rows", (json_int_t)rows, "refused",
                          (json_int_t)f.refused, "memory", (json_int_t)f.memory, "used",
                          (json_int_t)f.used, "paused", (int)load_relaxed(&y->rdb.pause),
                          "rebuild_to", (json_int_t)f.rebuild_to, "pins", (int)pins_count(y->pins));
    if (load_acquire(&y->rdb.error))
        json_object_set_new(o, "error", json_string(y->rdb.error_text));
    if (days)
        json_object_set_new(o, "days", list);
    else
        json_decref(list);
    return o;
}

static json_t *database_json(const struct day *y)
{
    if (!y->write)
        return json_null();
    json_t *o =
        json_pack("{s:s,s:b,s:I,s:I}", "root", y->root, "loaded", y->loaded, "epoch",
                  (json_int_t)y->epoch, "free", (json_int_t)load_relaxed(&y->write->free_bytes));
    if (!y->loaded && y->not_loaded.code)
        json_object_set_new(o, "error", json_string(y->not_loaded.text));
    return o;
}

static json_t *calendars_json(const struct day *y)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < wiring_calendars(y->d); i++) {
        struct wiring_calendar wc;
        char open[CIVIL_TEXT], newest[CIVIL_TEXT];
        wiring_calendar(y->d, i, &wc);
        json_array_append_new(a, json_pack("{s:s,s:s,s:s,s:I,s:I}", "calendar", wc.calendar->name,
                                           "open", civil_format(wc.open, open), "newest",
                                           civil_format(wc.newest, newest), "ends",
                                           (json_int_t)wc.ends, "closes", (json_int_t)wc.closes));
    }
    return a;
}

static json_t *days_json(struct day *y, bool unwritten)
{
    json_t *a = json_array();
    for (unsigned i = y->n; i-- > 0;)
        if (!unwritten || y->entry[i]->step != DAY_STEP_DONE)
            json_array_append_new(a, day_entry_json(y, y->entry[i]));
    return a;
}

json_t *day_json(struct day *y)
{
    return json_pack("{s:I,s:o,s:o,s:o,s:o}", "now", (json_int_t)clock_now(&y->d->clock),
                     "calendars", calendars_json(y), "days", days_json(y, false), "database",
                     database_json(y), "rdb", rdb_json(y, true));
}

json_t *day_brief(struct day *y)
{
    return json_pack("{s:o,s:o,s:o}", "rdb", rdb_json(y, false), "database", database_json(y),
                     "days", days_json(y, true));
}

json_t *day_rdb_json(struct day *y)
{
    return rdb_json(y, true);
}

json_t *day_state(struct day *y, const char *calendar, int32_t day)
{
    const struct day_entry *e = day_entry_find(y, calendar, day);
    if (e)
        return day_entry_json(y, e);
    const struct catalogue_day *c = catalogue_day(y->catalogue, calendar, day);
    if (!c || c->state == DAY_OPEN)
        return NULL;
    struct day_entry old = {.cat = *c, .slot = -1, .step = DAY_STEP_DONE};
    return day_entry_json(y, &old);
}

void day_rdb_pause(struct day *y, bool pause)
{
    store_release(&y->rdb.pause, pause);
}
