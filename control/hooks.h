/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hooks.h - alarm_exec: the operator's own command, run at each raise and clear of an alarm by
 * penstock-helper (helper.h), never waited for. One that cannot be started, fails or runs longer
 * than HOOKS_TIMEOUT_MS raises alarm exec.failed (for which, and for helper.gone, it is not run).
 *
 * Arguments are passed as they stand in the configuration; there is no shell. Environment:
 * PENSTOCK_INSTANCE, PENSTOCK_ALARM (its code), PENSTOCK_STATE (raised, cleared), PENSTOCK_SEVERITY
 * (warn, fail), PENSTOCK_SUBJECT, PENSTOCK_TEXT, PENSTOCK_REMEDY.
 *
 * THREAD: control. (post_save_exec is the day's: day.h.)
 */
#pragma once

#include "core/base.h"

#define HOOKS_TIMEOUT_MS 60000

struct alarm_state;
struct daemon;

void hooks_alarm(struct daemon *d, const struct alarm_state *a, bool raised);
/* Conditions of exec.failed, helper.gone, query.restarts, plugin.failed (alarm_rules.c). */
void hooks_alarms(struct daemon *d, int64_t now);
