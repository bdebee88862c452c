/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_check.h - what must hold between keys, and what is derived from them: names that refer to
 * each other, framings that fit their header, tables that start time, sym; zones, calendar, hours,
 * instance and socket path. Called once by config_parse; errors name file, line and key.
 */
#pragma once

#include "config.h"

bool config_check(struct config *c, struct err *err);
/* Its part for the mapping `load` (config_load.c); tables and feeds are sound by then. */
bool config_check_load(const struct config *c, struct err *err);
/* Its part for `rtp` (config_rtp.c), ditto. */
bool config_check_rtp(const struct config *c, struct err *err);
