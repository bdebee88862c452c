/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shown.h - the keys time_type and time_offset on their way from the daemon to the CLI. What is
 * stored and what queries compare is UTC; only texts of timestamps in what tail, gaps, log, sql and
 * call print change. The replies of attach, sql and call carry
 *   "shown": {"zone": "America/New_York", "offset_ns": -3600000000000}
 * when the configuration asks for anything but UTC; the CLI's --zone ZONE (UTC is one) wins over
 * it, and `sql --iso` is always UTC, as its Z says. Single-threaded.
 */
#pragma once

#include <jansson.h>
#include "config.h"
#include "core/tzone.h"

/* A new reference; NULL: times are shown as they are stored. */
json_t *shown_json(const struct config *c);

/* shown: such an object, or NULL. Loads the zone; false with err: there is none of that name. */
bool shown_from(struct time_shown *s, const json_t *shown, struct err *err);
bool shown_zone(struct time_shown *s, const char *zone, struct err *err);
void shown_free(struct time_shown *s);
