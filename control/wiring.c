/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: ring, appender, log; what happens at an instant; start and stop. */
#include <errno.h>
#include <sys/random.h>
#include "buffer.h"
#include "disks.h"
#include "initial.h"
#include "publish/server.h"
#include "topo.h"
#include "rtp/rtp.h"
#include "upstream.h"
#include "loading.h"
#include "wiring_parts.h"

#define INJECT_CONTROL_BYTES (16ull << 20)
#define CONTROL_SYMBOLS      (1u << 18)

struct wiring *wiring_new(void)
{
    return calloc(1, sizeof(struct wiring));
}

/* ---- the journal ---- */

bool wiring_ring(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    uint64_t bytes = config_ring_bytes(c);
    bool huge = c->hugepages != CONFIG_HUGE_OFF;
    struct err why;
    return ring_create(&d->ring, bytes, 0, d->instance_id, huge, &why) ||
           (c->hugepages != CONFIG_HUGE_ON &&
            ring_create(&d->ring, bytes, 0, d->instance_id, false, &why)) ||
           err_set(err, why.code, "%s", why.text);
}

bool wiring_journal(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    ring_start(&d->ring, w->start);
    due_init(&w->due);
    wiring_owners(d);
    wiring_first_days(d);
    if (!buffers_open(d, err))
        return false;
    struct appender_config ac = {
        .divert = buffers_divert(d->buffers),
        .ring = &d->ring,
        .symbols = &d->symbols,
        .schemas = d->schemas,
        .status = d->status,
        .clock = &d->clock,
        .due = &w->due,
        .hooks = {.arg = &w->lcore[0].rx, .states = rx_states, .sessions = rx_sessions},
        .owners = &w->owners,
        .open = w->open,
        .stream_of = wiring_streams(d),
        .interval = wiring_first_interval(d),
        .last_time = w->last_time,
        .max_new_symbols = (uint32_t)c->max_new_symbols,
        .ticks = true};
    struct inject_options io = {.max_new_symbols = (uint32_t)c->max_new_symbols,
                                .symbols = CONTROL_SYMBOLS,
                                .sources = true,
                                .ends_days = true};
    struct inject_rows_config ic = {.q = &d->inject,
                                    .known = &d->symbols,
                                    .schemas = d->schemas,
                                    .status = d->status,
                                    .symbols = CONTROL_SYMBOLS,
                                    .max_new_symbols = (uint32_t)c->max_new_symbols,
                                    .days = &w->appender.days,
                                    .owners = &w->owners};
    if (!appender_init(&w->appender, &ac, err) ||
        !inject_create(&d->inject, INJECT_CONTROL_BYTES, err) ||
        !appender_add_inject(&w->appender, &d->inject, 1, &io, err) ||
        !inject_rows_init(&w->control_rows, &ic, err) || (!d->replay && !server_prepare(d, err)) ||
        !upstream_prepare(d, err) || !loading_prepare(d, err) || !rtp_prepare(d, err))
        return false;
    struct err uring = {0};
    w->log_io = io_best_create((unsigned)c->log_depth * 4, &uring);
    if (!w->log_io)
        return err_set(err, uring.code, "%s", uring.text);
    if (uring.code)
        fprintf(stderr, "penstockd: io_uring is not used: %s\n", uring.text);
    struct log_config lc = {.io = w->log_io,
                            .ring = &d->ring,
                            .symbols = &d->symbols,
                            .schemas = d->schemas,
                            .clock = &d->clock,
                            .status = d->status,
                            .directory = c->log_directory,
                            .spill = c->spill_directory,
                            .prefix = c->log_prefix,
                            .instance_name = c->instance,
                            .level = (enum log_level)c->durability,
                            .depth = (uint32_t)c->log_depth,
                            .preallocate = (uint64_t)c->log_preallocate,
                            .low_space = (uint64_t)c->log_low_space,
                            .ballast = (uint64_t)c->log_ballast,
                            .retry_ns = c->retry_interval,
                            .full = (enum log_full)c->log_full,
                            .hang_ns = c->log_timeout,
                            .passed = &w->passed,
                            .pace_ns = d->config->wait == CONFIG_SLEEP ? NS_PER_MS : 0,
                            .calendars = &w->owners,
                            .symbols_known = symbols_count(&d->symbols),
                            .states = w->states,
                            .states_bytes = w->states_bytes,
                            .interval = w->appender.interval.minute,
                            .previous = *w->previous ? w->previous : NULL};
#ifdef PST_FAULTS
    lc.buffered = getenv("PST_LOG_BUFFERED") != NULL;
#endif
    for (unsigned i = 0; i < w->owners.n; i++)
        lc.open_day[i] = w->open[i].day;
    w->log = log_create(&lc, err);
    return w->log != NULL;
}

struct inject_rows *wiring_control_rows(struct daemon *d)
{
    return &d->wiring->control_rows;
}

/* What stands first in this incarnation: the restart mark, the schemas that are new, the sessions.
 */
bool wiring_resume(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    appender_begin(&w->appender, clock_now(&d->clock));
    if (w->restarted) {
        char json[320];
        uint32_t n = recovery_restart_json(w->recovery, w->start, start_options_acts(&d->options),
                                           json, sizeof json);
        if (!appender_mark(&w->appender, MARK_RESTART, json, n, (uint16_t)d->day))
            return err_set(err, -ENOSPC, "ring: no room for the restart mark");
    }
    if (!wiring_resume_sessions(d, err))
        return false;
    for (unsigned i = 0; i < w->n_fresh; i++) {
        char *text = schema_to_json(w->fresh[i]);
        bool ok = text && appender_schema(&w->appender, text, (uint32_t)strlen(text));
        free(text);
        if (!ok)
            return err_set(err, -ENOSPC, "ring: no room for the schema of table %s",
                           w->fresh[i]->name);
    }
    if (!buffers_resume(d, err))
        return false;
    appender_want_states(&w->appender);
    wiring_missed_days(d);
    return true;
}

bool wiring_start(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct topo_thread *t = topo_thread("log");
    thread_define(&w->log_thread, d->status, t->name, &log_thread_ops, w->log, &d->clock,
                  d->config->wait == CONFIG_SLEEP ? WAIT_SLEEP : WAIT_ADAPTIVE, t->nice,
                  (int)d->config->cpus.log);
    w->log_thread.idle_us = 1000; /* idle machines should be idle */
    wiring_bells(d);
    if (d->config->publish_first) /* nobody waits for what it hands over */
        w->log_thread.pace_us = 200;
    w->log_thread.bell = wiring_bell(d, &w->log_bell, BELL_TAIL, -1);
    return thread_start(&w->log_thread, err) && initial_run(d, err) && wiring_start_rx(d, err);
}

bool wiring_drain(struct daemon *d, int64_t deadline_ns)
{
    struct wiring *w = d->wiring;
    if (!w->log || !w->log_thread.running)
        return false;
    bool ok = log_drain(w->log, deadline_ns);
    wiring_catalogue(d);
    thread_stop(&w->log_thread);
    wiring_catalogue(d);
    return ok;
}

void wiring_close(struct daemon *d)
{
    struct wiring *w = d->wiring;
    if (w->log_thread.running)
        thread_stop(&w->log_thread);
    wiring_close_ports(d);
    if (w->log)
        log_destroy(w->log);
    io_destroy(w->log_io);
    inject_rows_fini(&w->control_rows);
    if (d->inject.data)
        inject_destroy(&d->inject);
    for (unsigned i = 0; i < PST_COUNT(w->publisher); i++)
        if (w->publisher[i].data)
            inject_destroy(&w->publisher[i]);
    appender_fini(&w->appender);
    buffers_close(d);
    wiring_bells_close(w);
    wiring_recover_close(d);
    free(w->states);
    free(w);
    d->wiring = NULL;
}

void wiring_tick(struct daemon *d)
{
    struct wiring *w = d->wiring;
    int64_t now = clock_monotonic();
    wiring_extend_due(d);
    wiring_catalogue(d);
    wiring_loss(d);
    if (d->disks)
        disks_govern(d->disks);
    wiring_late_tick(d);
    uint32_t days = load_relaxed(&w->appender.days.version);
    if (days != w->control_days) {
        w->control_days = days;
        inject_rows_days(&w->control_rows, &w->appender.days);
    }
    if (now - w->second_at < NS_PER_S && w->second_at)
        return;
    w->second_at = now;
    wiring_port_tick(d);
}

uint64_t wiring_ring_bytes(const struct daemon *d, const char *ring)
{
    const struct wiring *w = d->wiring;
    if (!strcmp(ring, "journal"))
        return ring_size(&d->ring);
    if (!strcmp(ring, "inject.control"))
        return d->inject.size;
    if (!strcmp(ring, "inject.publish"))
        return w->publisher[0].size;
    if (!strcmp(ring, "inject.upstream"))
        return d->upstream && d->config->subscription_channel ? UPSTREAM_RING_BYTES : 0;
    if (!strcmp(ring, "inject.loader"))
        return loading_ring_bytes(d->loading);
    if (!strcmp(ring, "inject.rtp"))
        return rtp_ring_bytes(d);
    if (!strcmp(ring, "inject.rx"))
        return w->nlcores > 1 ? w->lcore[1].inject.size : 0;
    return sizeof w->lcore[0].rx.commands;
}

/* ---- reload: live keys only ---- */

json_t *wiring_reload(struct daemon *d, struct err *err)
{
    struct config *next;
    if (!d->config_path) {
        err_set(err, -EINVAL, "this daemon was started without a configuration file");
        return NULL;
    }
    if (!config_load(d->config_path, &next, err))
        return NULL;
    static struct config_change change[256];
    uint32_t n = config_diff(d->config, next, change, PST_COUNT(change));
    json_t *live = json_array(), *later = json_array();
    for (uint32_t i = 0; i < n && i < PST_COUNT(change); i++)
        json_array_append_new(change[i].live ? live : later, json_string(change[i].key));
    struct config *c = d->config;
    config_take_live(c, next); /* its texts live as long as `next`, which is kept */
    next->older = d->reloaded;
    d->reloaded = next;
    for (uint32_t i = 0; i < c->feeds.count; i++) {
        const struct config_feed *f = config_feed_named(next, c->feeds.at[i].name);
        if (f)
            store_release(&d->feeds[i].hours, &f->open_hours); /* H1: pairs with H2 in is_open */
    }
    char text[sizeof err->text + 160];
    struct err doors = {0}; /* the keys are in force, whatever users file and certificate are */
    bool ok = server_reloaded(d->server, &doors);
    snprintf(text, sizeof text, "%zu changes applied, %zu need a restart%s%s",
             json_array_size(live), json_array_size(later), ok ? "" : "; but ", doors.text);
    json_t *r = json_pack("{s:s,s:o,s:o}", "done", text, "applied", live, "needs_restart", later);
    if (!ok && r)
        json_object_set_new(r, "problem", json_string(doors.text));
    return r;
}
