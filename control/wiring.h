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
bool wiring_recover(struct daemon *d, struct err *err); /* lock, lease, what the log holds */
bool wiring_tables(struct daemon *d, struct err *err);  /* built-in, decoder, declared tables */
bool wiring_lcores(struct daemon *d, struct err *err);  /* who polls what */
bool wiring_feeds(struct daemon *d, struct err *err);   /* framings, decoders, feeds with status */
bool wiring_ports(struct daemon *d, struct err *err);   /* EAL, ports, groups, joins, lcores */
bool wiring_journal(struct daemon *d, struct err *err); /* ring, appender, log, inject rings */
bool wiring_resume(struct daemon *d, struct err *err);  /* sessions, restart mark, schemas */
int32_t wiring_first_day(const struct daemon *d);       /* of the ledger's recount */
bool wiring_start(struct daemon *d, struct err *err);   /* log thread, then rx lcores */
void wiring_stop_rx(struct daemon *d);                  /* feeds flushed, end mark written */
bool wiring_drain(struct daemon *d,
                  int64_t deadline_ns); /* log: everything durable, files closed */
void wiring_close(struct daemon *d);
bool wiring_rx_ended(const struct daemon *d); /* replay: the capture has been read */

/* From the control loop: port counters, joins, due instants, lease. */
void wiring_tick(struct daemon *d);
void wiring_port_tick(struct daemon *d); /* device counters, links, joins */

bool wiring_lease_warned(const struct wiring *w); /* the last renewal failed */
unsigned wiring_rx_count(const struct wiring *w);
uint64_t wiring_ring_bytes(const struct daemon *d, const char *ring); /* topo's ring names */
const char *wiring_eal_text(const struct wiring *w);
json_t *wiring_port_stats(const struct daemon *d);

/* verb: pause resume reset-session (line < 0), on off (line >= 0). */
bool wiring_feed_command(struct daemon *d, unsigned feed, int line, const char *verb,
                         struct err *err);
bool wiring_group_add(struct daemon *d, const char *feed, const char *line, const char *group,
                      const char *source, struct err *err);
json_t *wiring_reload(struct daemon *d, struct err *err);
