/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_sources.h - what the daemon gives its query processes: sealed memory, cuts, pins. The one
 * place where queries meet the day (control/day.h). THREAD: control.
 */
#pragma once

#include <jansson.h>
#include "core/cut.h"

struct daemon;

/* Sealed segments for ATTACH: names into `names`, descriptors (not to be closed) into fds. */
unsigned query_sources_segments(struct daemon *d, json_t *names, int *fds, unsigned max);
/* The declared tables, an array of schema.h's JSON texts. */
json_t *query_sources_schemas(struct daemon *d);
/* A cut for this process, pinned until released. NULL: err. free() it when sent. */
struct cut *query_sources_cut(struct daemon *d, uint32_t process, struct err *err);
/* Whom to tell that a process keeps an ended day from leaving memory for too long. */
void query_sources_overdue(struct daemon *d,
                           void (*kill)(void *arg, uint32_t process, const char *why), void *arg);
void query_sources_release(struct daemon *d, uint32_t process);
