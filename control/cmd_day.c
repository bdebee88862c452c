/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of the day: eod, rdb, and the socket's part of `hdb rebuild`. */
#include <errno.h>
#include "core/civil.h"
#include "cmd.h"
#include "daemon.h"
#include "day.h"
#include "wiring.h"

static bool need_date(const struct cmd_request *req, unsigned i, int32_t *day, struct err *err)
{
    const char *text = cmd_arg(req, i);
    if (!text || *text == '-')
        return err_set(err, -EINVAL, "name a date, such as 2026.11.23; eod status lists them");
    return civil_parse(text, day) ||
           err_set(err, -EINVAL, "'%.40s' is no date; write 2026.11.23", text);
}

/* --calendar NAME: its index; -1 without one; -2 and err when there is none of that name. */
static int calendar_option(const struct cmd_request *req, struct err *err)
{
    const char *name = cmd_option(req, "--calendar");
    if (!name)
        return -1;
    int i = wiring_calendar_named(req->daemon, name);
    if (i < 0)
        err_set(err, -EINVAL, "no calendar '%.40s'; eod status lists them", name);
    return i < 0 ? -2 : i;
}

static json_t *done(const char *text)
{
    return json_pack("{s:s}", "done", text);
}

static json_t *marked(struct cmd_request *req, const char *text, struct err *err)
{
    if (daemon_operator_mark(req->daemon, req->peer, "eod", req->args))
        return done(text);
    err_set(err, -EAGAIN, "done, but the journal is full and holds no mark of it; repeat it");
    return NULL;
}

/* Ends a date of a calendar: the one named, else the open one, if it has begun. A date that was
 * ended before answers with what came of it, so that without a name a second run (of a script that
 * is tried again, of an operator in doubt) does not end the day after as well. */
static json_t *eod_run(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    struct wiring_calendar wc;
    char date[CIVIL_TEXT], open[CIVIL_TEXT], text[200], by[64];
    int32_t day = -1;
    bool ahead = false;
    int calendar = calendar_option(req, err);
    const char *first = cmd_arg(req, 1);
    if (calendar == -2 || (first && *first != '-' && !need_date(req, 1, &day, err)))
        return NULL;
    unsigned i = calendar < 0 ? 0 : (unsigned)calendar;
    wiring_calendar(d, i, &wc);
    if (day < 0) {
        int32_t now = calendar_day(wc.calendar, clock_now(&d->clock)) - d->day_shift;
        ahead = wc.open > now;
        day = ahead ? now : wc.open;
    }
    civil_format(day, date);
    civil_format(wc.open, open);
    json_t *was = day_state(d->days, wc.calendar->name, day);
    if (was) {
        snprintf(text, sizeof text,
                 ahead ? "%s was ended before; %s has not begun, name it to end it too"
                       : "%s was ended before",
                 date, open);
        json_object_set_new(was, "done", json_string(text));
        return was;
    }
    if (ahead) {
        err_set(err, -EALREADY, "%s has not begun in calendar %s; name it to end it all the same",
                open, wc.calendar->name);
        return NULL;
    }
    if (!cmd_flag(req, "--yes")) {
        err_set(err, -EPERM,
                "this ends %s of calendar %s now: rows that still come for it go to the next date; "
                "add --yes",
                date, wc.calendar->name);
        return NULL;
    }
    uint64_t ticket;
    snprintf(by, sizeof by, "uid %u", (unsigned)req->peer->uid);
    if (!wiring_end_day(d, i, day, by, &ticket, err))
        return NULL;
    snprintf(text, sizeof text, "ending %s of calendar %s", date, wc.calendar->name);
    json_t *o = marked(req, text, err);
    if (o) {
        json_object_set_new(o, "day", json_string(date));
        json_object_set_new(o, "calendar", json_string(wc.calendar->name));
    }
    return o;
}

json_t *cmd_eod(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0);
    int32_t day;
    if (!verb || !strcmp(verb, "status"))
        return day_json(d->days);
    bool run = !strcmp(verb, "run"), retry = !strcmp(verb, "retry"),
         cancel = !strcmp(verb, "cancel");
    if (!run && !retry && !cancel) {
        err_set(err, -EINVAL, "eod status, run, retry or cancel, not '%.40s'", verb);
        return NULL;
    }
    if (!cmd_need(req, LEVEL_OPERATE, err))
        return NULL;
    if (run)
        return eod_run(req, err);
    if (calendar_option(req, err) == -2 || !need_date(req, 1, &day, err))
        return NULL;
    const char *calendar = cmd_option(req, "--calendar");
    if (retry)
        return day_retry(d->days, calendar, day, err)
                   ? marked(req, "it is written as soon as it can be", err)
                   : NULL;
    return day_cancel(d->days, calendar, day, err)
               ? marked(req, "it stays in memory and in the log until eod retry", err)
               : NULL;
}

json_t *cmd_rdb(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0);
    if (!verb || !strcmp(verb, "status"))
        return day_rdb_json(d->days);
    bool pause = !strcmp(verb, "pause");
    if (!pause && strcmp(verb, "resume")) {
        err_set(err, -EINVAL, "rdb, rdb pause or rdb resume, not '%.40s'", verb);
        return NULL;
    }
    if (!cmd_need(req, LEVEL_ADMIN, err))
        return NULL;
    day_rdb_pause(d->days, pause);
    if (!daemon_operator_mark(d, req->peer, "rdb", req->args)) {
        err_set(err, -EAGAIN, "done, but the journal is full and holds no mark of it; repeat it");
        return NULL;
    }
    return done(pause ? "the rdb stands still; capture and log go on" : "the rdb reads on");
}

/* rebuild DATE [TABLE] [--from DIR]... [--dry-run] [--supersede] --yes; rebuild --job N */
json_t *cmd_rebuild(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *job = cmd_option(req, "--job");
    if (job) {
        json_t *o = day_job(d->days, strtoull(job, NULL, 10));
        return o ? o : json_pack("{s:b}", "running", 1);
    }
    const char *from[8];
    struct day_rebuild r = {.files = from, .dry_run = cmd_flag(req, "--dry-run")};
    r.supersede = cmd_flag(req, "--supersede");
    if (!cmd_need(req, LEVEL_ADMIN, err) || !need_date(req, 0, &r.day, err))
        return NULL;
    for (unsigned i = 1; i < json_array_size(req->args); i++) {
        const char *a = cmd_arg(req, i);
        if (a && !strcmp(a, "--from") && cmd_arg(req, i + 1) && r.nfiles < PST_COUNT(from))
            from[r.nfiles++] = cmd_arg(req, ++i);
        else if (a && *a != '-' && !r.table)
            r.table = a;
        else if (!a || (strcmp(a, "--dry-run") && strcmp(a, "--yes") && strcmp(a, "--supersede"))) {
            err_set(err, -EINVAL, "rebuild: what is '%.40s'?", a ? a : "");
            return NULL;
        }
    }
    if (!r.dry_run && !cmd_flag(req, "--yes")) {
        err_set(err, -EPERM,
                "this replaces the partition by what the log holds; --dry-run shows the counts, "
                "--yes does it");
        return NULL;
    }
    uint64_t id = day_rebuild(d->days, &r, err);
    if (!id)
        return NULL;
    if (!r.dry_run)
        daemon_operator_mark(d, req->peer, "rebuild", req->args);
    return json_pack("{s:I}", "job", (json_int_t)id);
}
