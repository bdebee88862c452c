/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_build.h - what the builders of views (view_memory.c, view_db.c) share. Private to them.
 */
#pragma once

#include "view.h"

struct view *view_new(const char *name, uint32_t parts); /* with `date`; nparts 0 */
bool view_add_column(struct view *v, const char *name, uint8_t type);
/* Hash over `extra`. False: no memory. */
bool view_syms_index(struct view_syms *s);
/* One block of a row list. False: no memory. */
bool view_list_add(struct view_list *l, const uint32_t *ids, uint32_t n);
/* The parted index; `run` stays the caller's, run_by_code is malloc'd for p. */
bool view_runs_set(struct view_part *p, const struct view_run *run, uint32_t n);
