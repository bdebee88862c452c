/* SPDX-License-Identifier: Apache-2.0 */
/* The live kdb+ log as the daemon is configured. */
#include "config.h"
#include "daemon.h"
#include "publish/kdb_live_parts.h"
#include "wiring_parts.h"

/* Where the open day begins: behind the last end that all calendars have come to. */
static uint64_t day_begin(const struct daemon *d)
{
    const struct catalogue *c = &d->wiring->catalogue;
    int32_t common = INT32_MAX;
    uint64_t at = 0;
    for (unsigned i = 0; i < config_calendars(d->config); i++) {
        int32_t last = INT32_MIN;
        for (unsigned k = 0; k < c->ndays; k++)
            if (!strcmp(c->day[k].calendar, config_calendar(d->config, i)->name) &&
                c->day[k].state != DAY_OPEN && c->day[k].eod && c->day[k].day > last)
                last = c->day[k].day;
        common = last < common ? last : common;
    }
    for (unsigned k = 0; k < c->ndays; k++)
        if (c->day[k].day == common && c->day[k].eod > at)
            at = c->day[k].eod;
    return at;
}

struct kdb_live *kdb_live_of(struct daemon *d, struct io *io, struct err *err)
{
    const struct config *c = d->config;
    *err = (struct err){0};
    if (!c->kdb_log_directory || d->replay)
        return NULL;
    struct kdb_live_config k = {.io = io,
                                .dirs = {c->log_directory, c->spill_directory},
                                .prefix = c->log_prefix,
                                .instance = d->instance_id,
                                .ring = &d->ring,
                                .directory = c->kdb_log_directory,
                                .name = c->kdb_log_name ? c->kdb_log_name : c->log_prefix,
                                .calendars = config_calendars(c),
                                .open_day = &d->wiring->appender.days.open[0],
                                .first = day_begin(d),
                                .zone = c->time_type == CONFIG_LOCAL ? c->main_calendar.zone : NULL,
                                .retry_ns = c->retry_interval};
    for (unsigned i = 0; i < k.calendars; i++)
        k.calendar[i] = config_calendar(c, i)->name;
    return kdb_live_open(&k, err);
}

void kdb_live_look(void)
{
    static bool said;
    if (said || !load_relaxed(&kdb_live_missed))
        return;
    said = true;
    fprintf(stderr, "penstockd: a client asked for .u.i and .u.L, which are (0N; null symbol) "
                    "without a kdb+ log: an RDB of q that restarts does not get the day's rows; "
                    "set kdb_log_directory\n");
}
