/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wiring.h - from the configuration to running parts: tables, framings, feeds, ports, lcores,
 * appender, log. The only place that knows data plane and storage at once. Control thread only.
 */
#pragma once

#include <jansson.h>
#include "daemon.h"

struct wiring;

/* Start order, each false with one sentence; wiring_close undoes what was done, in reverse. */
struct wiring *wiring_new(void);
bool wiring_enter(struct daemon *d, struct err *err);   /* lock, lease, catalogue */
bool wiring_recover(struct daemon *d, struct err *err); /* what the log holds */
bool wiring_ring(struct daemon *d, struct err *err);    /* the ring's memory */
bool wiring_eal(struct daemon *d, struct err *err);     /* DPDK, if a port wants it */
void wiring_eal_stop(void);                             /* of a start that failed */
bool wiring_tables(struct daemon *d, struct err *err);  /* built-in, decoder, declared tables */
bool wiring_lcores(struct daemon *d, struct err *err);  /* who polls what */
bool wiring_feeds(struct daemon *d, struct err *err);   /* framings, decoders, feeds with status */
bool wiring_ports(struct daemon *d, struct err *err);   /* ports, groups, joins, lcores */
bool wiring_journal(struct daemon *d, struct err *err); /* appender, log, inject rings */
bool wiring_resume(struct daemon *d, struct err *err);  /* sessions, restart mark, schemas */
int32_t wiring_first_day(const struct daemon *d);       /* of the ledger's recount */
bool wiring_start(struct daemon *d, struct err *err);   /* log thread, initial rows, rx lcores */
void wiring_stop_rx(struct daemon *d);                  /* feeds flushed, end mark written */
bool wiring_drain(struct daemon *d,
                  int64_t deadline_ns); /* log: everything durable, files closed */
void wiring_closed(struct daemon *d); /* drained: the next start may go on right here */
void wiring_close(struct daemon *d);
bool wiring_rx_ended(const struct daemon *d); /* replay: the capture has been read */

/* From the control loop: port counters, joins, due instants, lease. */
void wiring_tick(struct daemon *d);
void wiring_port_tick(struct daemon *d); /* device counters, links, joins */

unsigned wiring_rx_count(const struct wiring *w);
uint64_t wiring_ring_bytes(const struct daemon *d, const char *ring); /* topo's ring names */
const char *wiring_eal_text(const struct wiring *w);
json_t *wiring_port_stats(const struct daemon *d);

/*
 * ---- calendars and their open dates (wiring_days.c) ----
 *
 * Calendar 0 is the default one; the others follow in the order of `calendars:`. Each is at its own
 * date: `open` is the earliest date that still takes rows, `newest` the one that rows of now
 * belong to: open itself, or in the late window after its end the date behind it. A date's end
 * is its EOD mark, which the appender writes at `closes` = calendar_eod + late_window, or before
 * by wiring_end_day; each (calendar, date) has exactly one. Read from the appender, relaxed: what
 * a mark in the journal says comes first.
 */
struct wiring_calendar {
    const struct calendar *calendar; /* name, zone, eod, holidays */
    int32_t open, newest;
    int64_t ends;   /* the instant at which `open` ends: later times belong to later dates */
    int64_t closes; /* the instant at which its EOD mark is due: ends + late_window */
};
unsigned wiring_calendars(const struct daemon *d);
void wiring_calendar(const struct daemon *d, unsigned i, struct wiring_calendar *out);
int wiring_calendar_named(const struct daemon *d, const char *name); /* -1 = there is none */
/* The calendar that owns a table (any version of it, of feeds too), by name or by table id. */
unsigned wiring_calendar_of(const struct daemon *d, const char *table);
unsigned wiring_calendar_of_id(const struct daemon *d, uint16_t table);
/*
 * Ends a date of calendar i now: an EOD mark through control's inject ring, behind every row that
 * was published before. day -1: the open one. True: it is on its way; `*ticket` is asked with
 * wiring_day_ended. False: err->code is -EALREADY (that date was closed before), -EINVAL (the date
 * is not the open one, an earlier one has to be ended first) or -EAGAIN (the ring is full).
 */
bool wiring_end_day(struct daemon *d, unsigned i, int32_t day, const char *by, uint64_t *ticket,
                    struct err *err);
/* At the start: did business days of calendar i begin and end while nothing ran? */
bool wiring_missed(const struct daemon *d, unsigned i, int32_t *first, int32_t *last);
enum wiring_ended {
    WIRING_ENDING,       /* not yet */
    WIRING_ENDED,        /* the mark stands below *position */
    WIRING_ENDED_BEFORE, /* the scheduled end came first: nothing was written */
};
enum wiring_ended wiring_day_ended(struct daemon *d, uint64_t ticket, uint64_t *position);

/* verb: pause resume reset-session (line < 0), on off (line >= 0). */
bool wiring_feed_command(struct daemon *d, unsigned feed, int line, const char *verb,
                         struct err *err);
bool wiring_group_add(struct daemon *d, const char *feed, const char *line, const char *group,
                      const char *source, struct err *err);
json_t *wiring_reload(struct daemon *d, struct err *err);

/* When the last packet of a line was sent, by its own stamp (send_time of the framing), 0: unknown.
 */
int64_t wiring_sent(const struct daemon *d, unsigned feed, const struct status_line *l);
