/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures.h - what the status segment holds, as JSON for the control socket. Reads only; any figure
 * is a relaxed load of its one writer. New references.
 */
#pragma once

#include <jansson.h>
#include "core/status.h"
#include "rates.h"

json_t *figures_feed(const struct status *, const struct rates *, unsigned feed); /* with lines */
json_t *figures_line(const struct status *, const struct rates *, unsigned feed, unsigned line);
json_t *figures_sessions(const struct status *, unsigned feed);
json_t *figures_counters(const struct status *);
json_t *figures_latency(const struct status *);
json_t *figures_threads(const struct status *);
json_t *figures_ports(const struct status *, const struct rates *);

const char *feed_state_name(unsigned);
const char *line_state_name(unsigned);
const char *session_state_name(unsigned);
const char *thread_state_name(unsigned);
/* YYYY.MM.DD in a caller's buffer of 16. */
const char *figures_day(int32_t day, char out[16]);
int figures_feed_index(const struct status *, const char *name); /* -1 = none */
int figures_line_index(const struct status *, unsigned feed, const char *name);
